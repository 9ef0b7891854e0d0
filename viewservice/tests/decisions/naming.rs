//! Names belong to data directories, and a data directory has one life at a time.

use standin_core::identity::StoreId;
use standin_core::message::{REPLICAS_MAX, Refusal};
use standin_viewservice::{Action, Event};

use super::rig::{REPORT_EVERY, Rig, TERM, refusals, report_replies};

#[test]
fn another_store_under_a_known_name_is_refused() {
    let mut rig = Rig::pair();
    let store = rig.id("c").store;
    rig.start("c", 1);
    rig.node("c").identity.store = StoreId(999);
    assert_eq!(refusals(&rig.report("c")), [&Refusal::NameTaken { store }]);
    rig.run(5 * TERM);
    assert_eq!(refusals(&rig.report("c")), [&Refusal::NameTaken { store }]);
}

#[test]
fn the_operator_may_give_a_lost_stores_name_to_a_new_one() {
    let mut rig = Rig::pair();
    let store = rig.id("c").store;
    let old = rig.nodes["c"].clone();
    rig.start("c", 1);
    rig.node("c").identity.store = StoreId(999);
    rig.node("c").replace = true;
    assert_eq!(
        refusals(&rig.report("c")),
        [&Refusal::NameTaken { store }],
        "the old one lives"
    );
    rig.handle(Event::Closed { conn: old.conn });
    let actions = rig.report("c");
    assert_eq!(refusals(&actions), [] as [&Refusal; 0]);
    assert_eq!(
        rig.service.state().store_of(&old.identity.name),
        Some(StoreId(999))
    );
    // The old one, should it appear again, is refused.
    rig.nodes.insert("c", old);
    rig.reconnect("c");
    let store = StoreId(999);
    assert_eq!(refusals(&rig.report("c")), [&Refusal::NameTaken { store }]);
}

#[test]
fn after_a_start_a_replacement_waits_until_the_old_store_had_time_to_report() {
    let mut rig = Rig::pair();
    let old = rig.nodes["c"].clone();
    rig.restart(TERM, 0);
    rig.start("c", 1);
    rig.node("c").identity.store = StoreId(999);
    rig.node("c").replace = true;
    assert_eq!(rig.report("c"), [], "it will ask again");
    rig.node("c").reports = false;
    rig.run(REPORT_EVERY);
    let replacement = rig.nodes.insert("c", old).unwrap();
    rig.reconnect("c");
    rig.run(2 * TERM);
    rig.nodes.insert("c", replacement);
    assert_eq!(refusals(&rig.report("c")).len(), 1, "the old one is alive");
}

#[test]
fn one_store_has_one_name() {
    let mut rig = Rig::pair();
    rig.start("d", 1);
    rig.node("d").identity.store = rig.id("c").store;
    assert_eq!(refusals(&rig.report("d")), [&Refusal::Protocol]);
}

#[test]
fn an_older_life_is_refused_once_a_newer_one_has_reported() {
    let mut rig = Rig::pair();
    let old = rig.nodes["b"].clone();
    rig.start("b", 2);
    rig.report("b");
    let new = rig.nodes.insert("b", old).unwrap();
    let actions = rig.report("b");
    assert!(matches!(
        actions.as_slice(),
        [Action::Refuse {
            refusal: Refusal::Superseded,
            ..
        }]
    ));
    let actions = rig.report("c");
    let peers = &report_replies(&actions)[0].1.peers;
    let b = peers
        .iter()
        .find(|peer| peer.identity.name == new.identity.name);
    assert_eq!(b.unwrap().identity, new.identity);
}

#[test]
fn a_copy_that_counts_to_the_same_start_is_refused() {
    let mut rig = Rig::pair();
    rig.start("b", 1);
    rig.node("b").identity.life.incarnation.nonce = 12345;
    assert_eq!(refusals(&rig.report("b")), [&Refusal::Superseded]);
}

#[test]
fn a_report_on_a_connection_that_was_replaced_since_is_ignored() {
    let mut rig = Rig::pair();
    let old = rig.nodes["b"].conn;
    rig.reconnect("b");
    rig.node("b").last = (2, 5);
    rig.report("b");
    let new = rig.nodes["b"].conn;
    rig.node("b").conn = old;
    rig.node("b").last = (2, 3);
    assert_eq!(rig.report("b"), []);
    // That the old connection closes changes nothing either.
    rig.handle(Event::Closed { conn: old });
    let status = rig.status();
    let b = &status.replicas[1];
    assert!(b.is_alive);
    assert_eq!(b.standing.unwrap().last.index.0, 5);
    rig.node("b").conn = new;
    assert_eq!(report_replies(&rig.report("b")).len(), 1);
}

#[test]
fn a_replica_whose_connection_closes_while_its_name_is_stored_is_not_taken_for_alive() {
    let mut rig = Rig::pair();
    rig.disk_is_slow = true;
    rig.start("d", 1);
    rig.report("d");
    let conn = rig.nodes["d"].conn;
    rig.handle(Event::Closed { conn });
    assert_eq!(rig.stored(), [], "nobody to answer");
    let status = rig.status();
    assert_eq!(status.replicas[3].peer.identity.name.as_str(), "d");
    assert!(!status.replicas[3].is_alive);
}

#[test]
fn a_cluster_has_a_largest_size() {
    const NAMES: [&str; REPLICAS_MAX] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p",
    ];
    let mut rig = Rig::new();
    for name in NAMES {
        rig.start(name, 1);
        assert_eq!(refusals(&rig.report(name)), [] as [&Refusal; 0]);
    }
    rig.start("q", 1);
    assert_eq!(refusals(&rig.report("q")), [&Refusal::TooManyReplicas]);
    assert!(rig.service.state().encode().len() < standin_viewservice::STATE_BYTES_MAX);
}

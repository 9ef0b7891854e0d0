//! Names belong to data directories, and a data directory has one life at a time.

use standin_core::identity::{Durability, StoreId};
use standin_core::message::{REPLICAS_MAX, Refusal};
use standin_viewservice::{Action, Event};

use super::rig::{REPORT_EVERY, Rig, TERM, accepted, holder, refusals, report_replies, stores};

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

const NAMES: [&str; REPLICAS_MAX] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p",
];

/// A pair of `a` and `b` in a cluster that knows as many names as it may; all but the pair have died.
fn full_of_dead_spares() -> Rig {
    let mut rig = Rig::pair();
    for name in &NAMES[3..] {
        rig.start(name, 1);
        rig.report(name);
    }
    for name in &NAMES[2..] {
        rig.run(10); // d is unseen a little shorter than c, and so on
        rig.kill(name);
    }
    rig
}

fn names(rig: &Rig) -> Vec<String> {
    let replicas = rig.service.state().replicas.iter();
    replicas.map(|replica| replica.name.to_string()).collect()
}

/// A report of a replica with a new name is refused, and the refusal names those that are known.
#[track_caller]
fn is_refused(rig: &mut Rig, name: &'static str) {
    rig.start(name, 1);
    rig.node(name).reports = false;
    let actions = rig.report(name);
    let [Refusal::NamesTaken { names: held }] = refusals(&actions)[..] else {
        panic!("{actions:?}");
    };
    let held: Vec<_> = held.iter().map(ToString::to_string).collect();
    assert_eq!(held, names(rig));
}

#[test]
fn a_cluster_has_a_largest_size() {
    let mut rig = Rig::new();
    for name in NAMES {
        rig.start(name, 1);
        assert_eq!(refusals(&rig.report(name)), [] as [&Refusal; 0]);
    }
    is_refused(&mut rig, "q");
    rig.run(100 * TERM);
    is_refused(&mut rig, "q"); // all are alive
    assert!(rig.service.state().encode().len() < standin_viewservice::STATE_BYTES_MAX);
}

#[test]
fn the_name_that_was_not_heard_of_for_the_longest_time_gives_way_to_a_new_one() {
    let mut rig = full_of_dead_spares();
    rig.run(9 * TERM);
    is_refused(&mut rig, "q");
    rig.run(2 * TERM);
    rig.start("q", 1);
    let actions = rig.report("q");
    assert_eq!(refusals(&actions), [] as [&Refusal; 0]);
    assert_eq!(
        stores(&actions),
        1,
        "one name goes and the other comes at once"
    );
    let known = names(&rig);
    assert_eq!(known.len(), REPLICAS_MAX);
    assert!(known.contains(&"q".to_owned()) && !known.contains(&"c".to_owned()));
    let listed = rig.status().replicas;
    let mut listed = listed
        .iter()
        .map(|replica| replica.peer.identity.name.as_str());
    assert!(!listed.any(|name| name == "c"));
    // What comes back is new to the cluster, and the next dead one makes room for it.
    rig.start("c", 2);
    assert_eq!(refusals(&rig.report("c")), [] as [&Refusal; 0]);
    assert!(!names(&rig).contains(&"d".to_owned()));
}

#[test]
fn a_view_service_that_has_just_started_gives_no_name_up() {
    let mut rig = full_of_dead_spares();
    rig.run(20 * TERM);
    rig.restart(TERM, 0);
    rig.reconnect("a");
    rig.reconnect("b");
    rig.run(9 * TERM);
    is_refused(&mut rig, "q");
    rig.run(TERM);
    rig.start("q", 1);
    assert_eq!(refusals(&rig.report("q")), [] as [&Refusal; 0]);
}

#[test]
fn a_view_service_that_was_frozen_gives_no_name_up() {
    let mut rig = full_of_dead_spares();
    rig.start("c", 2);
    rig.report("c");
    rig.freeze(20 * TERM);
    is_refused(&mut rig, "q"); // c's reports lie in a socket
}

#[test]
fn a_name_in_the_record_is_never_given_up() {
    let mut rig = full_of_dead_spares();
    rig.kill("a");
    rig.kill("b");
    for name in &NAMES[3..] {
        rig.start(name, 2);
    }
    rig.run(20 * TERM);
    rig.start("q", 1);
    assert_eq!(refusals(&rig.report("q")), [] as [&Refusal; 0]);
    assert!(!names(&rig).contains(&"c".to_owned()));
    rig.run(20 * TERM);
    is_refused(&mut rig, "r"); // though primary and backup are dead
}

#[test]
fn no_name_is_given_up_that_proves_the_record_old() {
    let mut rig = full_of_dead_spares();
    rig.start("c", 2);
    let mut ahead = rig.record().id();
    ahead.view.0 += 1;
    rig.node("c").view = Some(ahead);
    rig.report("c");
    rig.kill("c");
    rig.run(20 * TERM);
    is_refused(&mut rig, "q");
}

/// It was forgotten because it could not report; the primary hears it nevertheless.
#[test]
fn a_replica_whose_name_was_given_up_does_not_join_before_it_is_known_again() {
    let mut rig = full_of_dead_spares();
    let (a, c) = (rig.id("a"), rig.id("c"));
    let dropped = rig.record().drop_backup(&a);
    assert!(accepted(&rig.swap("a", dropped)));
    rig.run(11 * TERM);
    rig.start("q", 1);
    rig.report("q");
    assert!(!names(&rig).contains(&"c".to_owned()));
    let own = holder(&a, Durability::Os);
    let joined = rig.record().join(own, (&c, c.token(Durability::Os)));
    assert!(!accepted(&rig.swap("a", joined.clone())));
    rig.start("c", 1);
    rig.report("c");
    assert!(accepted(&rig.swap("a", joined)));
}

/// Section 7, last row: an old copy of a store that was forgotten comes back.
#[test]
fn what_a_forgotten_store_had_makes_nobody_primary() {
    let mut rig = full_of_dead_spares();
    rig.run(11 * TERM);
    rig.start("q", 1);
    rig.report("q");
    rig.node("q").reports = false;
    rig.kill("a");
    rig.kill("b");
    rig.start("c", 1);
    rig.node("c").last = (2, 1_000_000);
    rig.run(20 * TERM);
    assert!(names(&rig).contains(&"c".to_owned()));
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
}

//! What people and clients are told, above all why nobody serves.

use standin_core::identity::{BootId, Durability};
use standin_core::message::LookupReply;
use standin_viewservice::{Action, Answer, Event};

use super::rig::{Rig, TERM};

fn lookup(rig: &mut Rig) -> LookupReply {
    let conn = rig.conn();
    match rig.handle(Event::Lookup { conn }).as_slice() {
        [
            Action::Send {
                conn: to,
                answer: Answer::Lookup(reply),
            },
        ] if *to == conn => reply.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_is_led_to_the_primary_of_an_active_view() {
    let mut rig = Rig::new();
    assert_eq!(lookup(&mut rig).view, None);
    rig.start("a", 1);
    rig.report("a");
    let reply = lookup(&mut rig);
    assert_eq!((reply.view, reply.primary), (Some(rig.record().id()), None));

    let mut rig = Rig::pair();
    let reply = lookup(&mut rig);
    assert_eq!(reply.primary.as_deref(), Some("a:1"));
    assert_eq!(reply.term_ms, 1000);
    rig.kill("a");
    rig.run(TERM);
    assert_eq!(lookup(&mut rig).primary, None);

    let mut rig = Rig::pair();
    rig.restart(TERM, 0);
    assert_eq!(
        lookup(&mut rig).primary,
        None,
        "its address is not known yet"
    );
}

#[test]
fn replicas_are_listed_by_name_also_those_that_have_not_reported() {
    let mut rig = Rig::pair();
    for name in ["a", "b", "c"] {
        rig.node(name).reports = false;
    }
    rig.restart(TERM, 0);
    rig.run(100);
    rig.report("b");
    rig.run(50);
    let status = rig.status();
    let rows: Vec<_> = (status.replicas.iter())
        .map(|replica| {
            (
                replica.peer.identity.name.as_str(),
                replica.standing.is_some(),
                replica.is_alive,
                replica.peer.unseen_ms,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("a", false, false, 150),
            ("b", true, true, 50),
            ("c", false, false, 150)
        ]
    );
}

#[test]
fn where_somebody_serves_nothing_is_unavailable() {
    let mut rig = Rig::pair();
    assert_eq!(rig.status().unavailable, None);
    rig.kill("a");
    assert_eq!(rig.status().unavailable, None, "nothing shows yet");
}

#[test]
fn an_empty_cluster_says_what_to_start() {
    let mut rig = Rig::new();
    assert_eq!(
        rig.unavailable(),
        "no replica has started yet; start one with `standin replica`"
    );
}

#[test]
fn a_takeover_under_way_says_so() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.run(TERM);
    assert_eq!(
        rig.unavailable(),
        "view 3 is not active yet: b is to be its primary; it is taking over; wait a moment"
    );
    rig.node("b").trouble = Some("its log is long".to_owned());
    rig.report("b");
    assert!(rig.unavailable().ends_with("but says: its log is long"));
}

#[test]
fn a_service_that_was_away_says_how_long_it_waits() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.restart(TERM, 0);
    rig.run(400);
    assert_eq!(
        rig.unavailable(),
        "a, the primary of view 2, does not renew its lease; the view service was away and lets a \
         lease that may still be held run out; b takes over in 600 ms"
    );
}

#[test]
fn dead_holders_are_named() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.kill("b");
    rig.run(TERM);
    assert_eq!(
        rig.unavailable(),
        "a, the primary of view 2, does not renew its lease, and no replica that has every answered \
         entry is alive; start a or b (if that can never be done again, `standin recover --primary c \
         --accept-loss` goes on without what only it had)"
    );
}

#[test]
fn a_released_lone_primary_is_to_be_started_again() {
    let mut rig = Rig::solo();
    let view = rig.record().id();
    rig.release("a", view);
    rig.kill("a");
    let words = rig.unavailable();
    assert!(words.starts_with("a, the primary of view 1, has stopped, and no"));
    assert!(words.contains("; start a (if"), "{words}");
    assert_eq!(rig.lease(), None);
}

#[test]
fn where_no_holder_is_left_the_operators_way_out_is_named() {
    let mut rig = Rig::pair();
    for name in ["a", "b"] {
        rig.kill(name);
        rig.start(name, 2);
        rig.node(name).identity.life.boot = BootId(8);
    }
    rig.node("a").last = (2, 9);
    rig.report("a");
    rig.report("b");
    assert_eq!(
        rig.unavailable(),
        "a, the primary of view 2, was restarted, and no other replica has every answered entry: the \
         machine of a was rebooted, and entries were acknowledged in its page cache only; the machine \
         of b was rebooted, and entries were acknowledged in its page cache only; `standin recover \
         --primary a --accept-loss` goes on with what is left"
    );
}

#[test]
fn a_stalled_lone_primary_speaks_for_itself() {
    let mut rig = Rig::pair_at(Durability::Disk);
    rig.kill("b");
    rig.node("a").renews = false;
    rig.node("a").trouble = Some("writing its log makes no progress".to_owned());
    rig.run(TERM);
    let words = rig.unavailable();
    assert!(words.contains("start b ("), "{words}");
    assert!(
        words.contains("a is alive and says: writing its log makes no progress"),
        "{words}"
    );
}

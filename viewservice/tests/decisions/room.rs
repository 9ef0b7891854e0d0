//! A disk without room: nothing is said that is not stored, the pair goes on, and all resumes with room.

use standin_core::identity::Durability;
use standin_core::message::{Force, ForceOutcome, Lag, Room};
use standin_viewservice::{Action, Answer, Event};

use super::rig::{REPORT_EVERY, Rig, TERM, accepted, granted, stores, swap_replies};

#[test]
fn what_could_not_be_stored_is_not_said_and_the_lease_goes_on() {
    let mut rig = Rig::pair();
    rig.disk_is_full = true;
    let record = rig.record();
    let dropped = record.drop_backup(&rig.id("a"));
    let actions = rig.swap("a", dropped.clone());
    assert_eq!(stores(&actions), 1, "it was tried");
    assert_eq!(swap_replies(&actions), [], "it is neither done nor refused");
    assert_eq!(rig.record(), record);
    for _ in 0..20 {
        rig.run(REPORT_EVERY);
        assert!(granted(&rig.report("a")), "whoever serves goes on");
    }
    let trouble = rig.status().trouble.unwrap();
    assert!(trouble.contains("no room"), "{trouble}");
    assert!(trouble.contains("make room"), "{trouble}");

    rig.disk_is_full = false;
    // Also while nobody says anything.
    for name in ["a", "b", "c"] {
        rig.node(name).reports = false;
    }
    rig.run(300);
    assert_eq!(rig.status().trouble, None, "it has looked by itself");
    assert!(accepted(&rig.swap("a", dropped)));
}

#[test]
fn what_waits_while_there_turns_out_to_be_no_room_is_taken_up_then() {
    let mut rig = Rig::pair();
    let stale = rig.record();
    let joined = stale.drop_backup(&rig.id("a"));
    assert!(accepted(&rig.swap("a", joined.clone())));
    rig.disk_is_slow = true;
    rig.start("d", 1);
    assert_eq!(stores(&rig.report("d")), 1);
    assert_eq!(swap_replies(&rig.swap_from("a", stale, joined)), []);
    let why = "No space left on device".to_owned();
    let said = rig.handle(Event::NotStored { why });
    assert!(!accepted(&said), "the record is another one by now");
}

#[test]
fn a_view_service_that_could_not_store_its_first_record_looks_for_room_by_itself() {
    let mut rig = Rig::new();
    rig.disk_is_full = true;
    rig.start("a", 1);
    assert_eq!(stores(&rig.report("a")), 1);
    rig.node("a").reports = false;
    assert!(rig.status().trouble.is_some());
    rig.disk_is_full = false;
    rig.run(300);
    assert_eq!(rig.status().trouble, None);
}

#[test]
fn a_full_disk_is_not_tried_for_each_request() {
    let mut rig = Rig::pair();
    rig.disk_is_full = true;
    let dropped = rig.record().drop_backup(&rig.id("a"));
    let mut tried = 0;
    for _ in 0..100 {
        tried += stores(&rig.swap("a", dropped.clone()));
    }
    assert_eq!(tried, 1);
}

#[test]
fn who_could_not_be_deposed_may_renew_and_is_deposed_when_there_is_room() {
    let mut rig = Rig::pair();
    rig.disk_is_full = true;
    rig.node("a").renews = false;
    rig.run(3 * TERM);
    assert_eq!(rig.view(), (2, "a".to_owned(), true), "nothing was stored");
    assert_eq!(rig.lease(), None);
    // It was only away.
    rig.node("a").renews = true;
    assert!(granted(&rig.report("a")), "nobody else is primary");
    rig.node("a").renews = false;
    rig.run(2 * TERM);
    rig.disk_is_full = false;
    rig.run(TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
}

#[test]
fn an_operator_is_told_that_there_is_no_room() {
    let mut rig = Rig::pair_at(Durability::Memory);
    rig.kill("a");
    rig.kill("b");
    rig.run(TERM);
    rig.start("b", 2);
    rig.run(TERM);
    rig.disk_is_full = true;
    let conn = rig.conn();
    let force = Box::new(Force {
        primary: rig.id("b").name,
        accept_loss: true,
    });
    let actions = rig.handle(Event::Force { conn, force });
    let outcome = actions.iter().find_map(|action| match action {
        Action::Send {
            answer: Answer::Force(reply),
            ..
        } => Some(reply.outcome.clone()),
        _ => None,
    });
    let Some(ForceOutcome::Refused { reason }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("make room"), "{reason}");
}

#[test]
fn a_new_replica_is_let_in_when_there_is_room() {
    let mut rig = Rig::pair();
    rig.disk_is_full = true;
    rig.start("d", 1);
    assert_eq!(rig.report("d").len(), 1, "a store, and no answer");
    rig.disk_is_full = false;
    rig.run(TERM);
    assert!(
        rig.status()
            .replicas
            .iter()
            .any(|one| { one.peer.identity.name == rig.id("d").name && one.is_alive })
    );
}

#[test]
fn the_status_says_who_has_no_room_and_how_far_followers_are_behind() {
    let mut rig = Rig::pair();
    let mut report = rig.make_report("a", None);
    report.room = Room::Lacking;
    report.lags = vec![Lag {
        store: rig.id("b").store,
        unacknowledged_ms: 3,
        unapplied_ms: 40,
    }];
    let conn = rig.nodes["a"].conn;
    rig.handle(Event::Report {
        conn,
        report: Box::new(report),
    });
    let seen: Vec<_> = (rig.status().replicas.iter())
        .map(|one| (one.room, one.behind_ms))
        .collect();
    assert_eq!(
        seen,
        [
            (Some(Room::Lacking), Some(0)),
            (Some(Room::Enough), Some(40)),
            (Some(Room::Enough), None)
        ]
    );
}

//! Force: only where nothing else is left, and then durably before it is answered.

use standin_core::identity::{BootId, Durability};
use standin_core::message::{Force, ForceOutcome, ForceReply, RoleName};
use standin_core::view::{DataEpoch, Reason};
use standin_viewservice::{Action, Answer, Event};

use super::rig::{REPORT_EVERY, Rig, TERM, accepted, granted, stores};

fn ask(rig: &mut Rig, name: &str, accept_loss: bool) -> Vec<Action> {
    let conn = rig.conn();
    let force = Box::new(Force {
        primary: super::rig::identity(name, 1).name,
        accept_loss,
    });
    rig.handle(Event::Force { conn, force })
}

fn replies(actions: &[Action]) -> Vec<&ForceReply> {
    (actions.iter())
        .filter_map(|action| match action {
            Action::Send {
                answer: Answer::Force(reply),
                ..
            } => Some(reply),
            _ => None,
        })
        .collect()
}

/// Why it is refused.
fn refused(rig: &mut Rig, name: &str) -> String {
    let actions = ask(rig, name, true);
    assert_eq!(stores(&actions), 0, "nothing is changed");
    match replies(&actions).as_slice() {
        [
            ForceReply {
                outcome: ForceOutcome::Refused { reason },
                ..
            },
        ] => reason.clone(),
        other => panic!("{other:?}"),
    }
}

/// Both of a pair at `os` have lost their power: nobody may serve. `b` has less than it had.
fn both_lost() -> Rig {
    let mut rig = Rig::pair();
    for name in ["a", "b"] {
        rig.node(name).last = (2, 50);
        rig.node(name).commit = 40;
        rig.report(name);
    }
    rig.kill("a");
    rig.kill("b");
    rig.run(TERM + 100);
    rig.start("b", 2);
    let b = rig.node("b");
    b.identity.life.boot = BootId(8);
    b.last = (2, 30);
    b.commit = 20;
    rig.report("b");
    rig.run(3 * TERM);
    assert_eq!(rig.view().0, 2, "nobody is named");
    rig
}

#[test]
fn where_nobody_may_serve_the_named_replica_is_to_be_primary_of_a_new_data_epoch() {
    let mut rig = both_lost();
    let actions = ask(&mut rig, "b", true);
    assert_eq!(stores(&actions), 1);
    let stored = actions
        .iter()
        .position(|action| matches!(action, Action::Store { .. }));
    let answered = actions.iter().position(|action| {
        matches!(
            action,
            Action::Send {
                answer: Answer::Force(_),
                ..
            }
        )
    });
    assert!(stored < answered, "durable before it is answered");
    let replies = replies(&actions);
    let [reply] = replies.as_slice() else {
        panic!("{replies:?}");
    };
    assert!(matches!(reply.outcome, ForceOutcome::Done { .. }));
    let record = rig.record();
    assert_eq!(reply.record.as_ref(), Some(&record));
    assert_eq!(
        (record.data_epoch, record.reason),
        (DataEpoch(1), Reason::Forced)
    );
    assert!(record.primary.is(&rig.id("b")) && record.holders.len() == 1 && !record.active);
    let news = actions.iter().any(|action| {
        matches!(action, Action::Send { answer: Answer::Report(news), .. } if news.number == 0)
    });
    assert!(news, "the replicas hear of it");
    // What it had lost does not count against it any more.
    assert!(accepted(&rig.swap("b", record.activate(&rig.id("b")))));
    rig.run(REPORT_EVERY);
    assert_eq!(rig.unavailable(), "");
}

#[test]
fn a_life_of_the_named_replica_that_comes_after_is_named_in_its_turn() {
    let mut rig = both_lost();
    ask(&mut rig, "b", true);
    rig.kill("b");
    rig.start("b", 3);
    rig.node("b").identity.life.boot = BootId(8);
    rig.report("b");
    rig.run(TERM);
    let record = rig.record();
    assert!(record.primary.is(&rig.id("b")), "{record:?}");
    assert_eq!(record.data_epoch, DataEpoch(1));
}

#[test]
fn without_a_word_of_acceptance_it_says_what_would_be_lost_and_does_nothing() {
    let mut rig = both_lost();
    let actions = ask(&mut rig, "b", false);
    assert_eq!(stores(&actions), 0);
    let replies = replies(&actions);
    let [
        ForceReply {
            outcome: ForceOutcome::WouldLose { loss },
            ..
        },
    ] = replies.as_slice()
    else {
        panic!("{replies:?}");
    };
    for words in [
        "up to entry 30",
        "a has said to have more, up to entry 50",
        "make sure that a",
    ] {
        assert!(loss.contains(words), "{words}: {loss}");
    }
    assert_eq!(rig.record().data_epoch, DataEpoch(0));
}

#[test]
fn it_is_refused_where_somebody_serves_or_is_about_to() {
    let mut rig = Rig::pair();
    let words = refused(&mut rig, "b");
    assert!(words.contains("a holds the lease"), "{words}");
    rig.kill("a");
    let words = refused(&mut rig, "c");
    assert!(words.contains("a holds the lease"), "{words}");
    rig.run(TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false), "b takes over");
    let words = refused(&mut rig, "c");
    assert!(words.contains("it is taking over"), "{words}");

    let mut rig = Rig::pair();
    for name in ["a", "b", "c"] {
        rig.node(name).reports = false;
    }
    rig.restart(TERM, 0);
    rig.reconnect("c");
    rig.report("c");
    let words = refused(&mut rig, "c");
    assert!(words.contains("a lease may still be held"), "{words}");
    rig.reconnect("b");
    rig.report("b");
    let words = refused(&mut rig, "c");
    assert!(
        words.contains("nothing need be lost: the view service was away"),
        "{words}"
    );
}

#[test]
fn a_candidate_that_gets_nowhere_does_not_stand_in_the_way() {
    let mut rig = Rig::solo();
    rig.kill("a");
    rig.start("a", 2);
    rig.report("a");
    assert_eq!(rig.view(), (2, "a".to_owned(), false));
    let words = refused(&mut rig, "b");
    assert!(words.contains("it is taking over"), "{words}");
    rig.run(2 * TERM + 100);
    let words = refused(&mut rig, "a");
    assert!(words.contains("a has every answered entry"), "{words}");
    assert!(rig.unavailable().contains("recover"));
    ask(&mut rig, "b", true);
    assert!(rig.record().primary.is(&rig.id("b")));
}

#[test]
fn only_a_replica_that_runs_and_is_in_order_can_be_named() {
    let mut rig = both_lost();
    let words = refused(&mut rig, "x");
    assert!(
        words.contains("no replica x has been heard of; running: b, c"),
        "{words}"
    );
    let words = refused(&mut rig, "a");
    assert!(words.contains("a is not running; start it"), "{words}");
    rig.node("b").role = RoleName::Quarantined;
    rig.report("b");
    let words = refused(&mut rig, "b");
    assert!(words.contains("b is out of service"), "{words}");
    let mut rig = Rig::new();
    let words = refused(&mut rig, "a");
    assert!(words.contains("there is no view"), "{words}");
}

#[test]
fn an_old_copy_may_be_named_and_counts_from_there_on() {
    let mut rig = Rig::pair_at(Durability::Disk);
    for name in ["a", "b"] {
        rig.node(name).last = (2, 50);
        rig.node(name).commit = 50;
        rig.report(name);
    }
    rig.kill("a");
    rig.kill("b");
    rig.run(TERM + 100);
    rig.start("b", 2);
    rig.node("b").last = (2, 20);
    rig.node("b").commit = 20;
    rig.report("b");
    rig.run(3 * TERM);
    assert!(rig.unavailable().contains("b is an old copy"));
    ask(&mut rig, "b", true);
    rig.kill("b");
    rig.start("b", 3);
    rig.report("b");
    rig.run(TERM);
    assert!(
        rig.record().primary.is(&rig.id("b")),
        "{}",
        rig.unavailable()
    );
}

#[test]
fn it_waits_for_a_store_in_progress_and_is_judged_by_what_came_of_it() {
    let mut rig = both_lost();
    rig.disk_is_slow = true;
    assert_eq!(stores(&ask(&mut rig, "b", true)), 1);
    let actions = ask(&mut rig, "c", true);
    assert!(actions.is_empty(), "{actions:?}");
    let actions = rig.stored();
    let [first, second] = replies(&actions)[..] else {
        panic!("{actions:?}");
    };
    assert!(matches!(first.outcome, ForceOutcome::Done { .. }));
    assert!(
        matches!(second.outcome, ForceOutcome::Refused { .. }),
        "b is taking over"
    );
}

/// A lone primary that is alive and does not renew its lease.
fn stalled() -> Rig {
    let mut rig = Rig::solo();
    rig.node("a").last = (1, 50);
    rig.node("a").commit = 50;
    for name in ["b", "c"] {
        rig.node(name).last = (1, 30);
    }
    rig.run(REPORT_EVERY);
    rig.node("a").renews = false;
    rig.run(3 * TERM);
    rig
}

#[test]
fn who_has_everything_is_to_be_restarted_and_not_named() {
    let mut rig = stalled();
    let why = rig.unavailable();
    assert!(why.contains("a is alive and makes no progress"), "{why}");
    let is_named = |name| why.contains(&format!("recover --primary {name} "));
    assert!(!is_named("a") && (is_named("b") || is_named("c")), "{why}");
    let reason = refused(&mut rig, "a");
    assert!(reason.contains("restart it"), "{reason}");
    let actions = ask(&mut rig, "b", false);
    match &replies(&actions)[0].outcome {
        ForceOutcome::WouldLose { loss } => {
            assert!(
                loss.contains("restart it, and nothing need be lost"),
                "{loss}"
            );
            assert!(!loss.contains("cut off"), "it reports: {loss}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_present_primary_is_granted_no_lease_while_another_is_being_named() {
    let mut rig = stalled();
    let view = rig.record().id();
    rig.disk_is_slow = true;
    assert_eq!(stores(&ask(&mut rig, "b", true)), 1);
    assert!(
        !granted(&rig.report_renewing("a", Some(view))),
        "both would serve"
    );
    rig.disk_is_slow = false;
    rig.stored();
    assert_eq!(rig.record().data_epoch, DataEpoch(1));
    assert!(!granted(&rig.report_renewing("a", Some(view))));
}

#[test]
fn who_did_not_hear_that_it_was_done_may_ask_again() {
    let mut rig = both_lost();
    assert_eq!(stores(&ask(&mut rig, "b", true)), 1);
    let is_done = |rig: &mut Rig| {
        let actions = ask(rig, "b", true);
        assert_eq!(stores(&actions), 0, "once is enough");
        matches!(replies(&actions)[0].outcome, ForceOutcome::Done { .. })
    };
    assert!(is_done(&mut rig), "it is taking over");
    let b = rig.id("b");
    assert!(accepted(&rig.swap("b", rig.record().activate(&b))));
    rig.run(REPORT_EVERY);
    assert!(is_done(&mut rig), "it serves");
    assert!(refused(&mut rig, "c").contains("b holds the lease"));
}

#[test]
fn who_is_about_to_end_since_its_disk_failed_is_not_named() {
    let mut rig = both_lost();
    rig.tell_dead("c");
    rig.node("c").reports = false;
    let reason = refused(&mut rig, "c");
    assert!(reason.contains("the disk of c has failed"), "{reason}");
}

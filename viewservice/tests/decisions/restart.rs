//! After a start, and after its loop was away, the view service acts on proof but not on silence.

use standin_core::view::Reason;
use standin_viewservice::Event;

use super::rig::{REPORT_EVERY, Rig, TERM, granted, report_replies};

#[test]
fn a_service_that_starts_grants_at_once_and_deposes_nobody_for_a_term() {
    let mut rig = Rig::pair();
    rig.restart(TERM, 5000);
    assert!(granted(&rig.report("a")));
    assert_eq!(
        rig.view(),
        (2, "a".to_owned(), true),
        "no needless takeover"
    );

    let mut rig = Rig::pair();
    rig.kill("a");
    rig.restart(TERM, 5000);
    rig.run(TERM - 1);
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
    rig.run(1);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
}

#[test]
fn a_pair_rides_through_a_restart_of_the_service() {
    let mut rig = Rig::pair();
    rig.restart(TERM, 5000);
    rig.run(10 * TERM);
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
}

/// L3: the backup is cut off from the view service, which is restarted. Its primary must hear that
/// nobody has seen it.
#[test]
fn who_has_not_reported_since_a_start_is_unseen_since_then() {
    let mut rig = Rig::pair();
    rig.restart(TERM, 5000);
    rig.node("b").reports = false;
    rig.run(6 * TERM);
    let actions = rig.report("a");
    let (_, reply) = report_replies(&actions)[0];
    let mut peers = reply.peers.iter();
    let backup = peers.find(|peer| peer.identity.name.as_str() == "b");
    assert_eq!(backup.map(|peer| peer.unseen_ms), Some(6 * TERM));
}

#[test]
fn the_wait_lasts_for_the_longest_term_ever_granted() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.restart(100, 0);
    rig.run(TERM - 1);
    assert_eq!(
        rig.view().0,
        2,
        "the old term was longer than the configured"
    );
    rig.run(1);
    assert_eq!(rig.view().0, 3);
    assert_eq!(rig.record().term_ms, 100, "a new view has the new term");
    assert_eq!(rig.service.state().term_max_ms, 1000);

    let mut rig = Rig::pair();
    rig.kill("a");
    rig.restart(5000, 0);
    rig.run(4999);
    assert_eq!(rig.view().0, 2);
    rig.run(1);
    assert_eq!(rig.view().0, 3);
    assert_eq!(rig.service.state().term_max_ms, 5000);
}

#[test]
fn a_running_view_keeps_its_term_when_another_is_configured() {
    let mut rig = Rig::pair();
    rig.restart(5000, 0);
    rig.report("a");
    assert_eq!(rig.status().term_ms, 1000);
    assert_eq!(rig.lease(), Some(1000));
}

#[test]
fn proof_counts_also_right_after_a_start() {
    let mut rig = Rig::pair();
    rig.restart(TERM, 0);
    rig.report("b");
    let view = rig.record().id();
    rig.report("a");
    rig.release("a", view);
    assert_eq!(rig.record().reason, Reason::Released);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));

    let mut rig = Rig::pair();
    rig.restart(TERM, 0);
    rig.start("a", 2);
    rig.report("a");
    assert_eq!(rig.record().reason, Reason::PrimaryRestarted);
}

#[test]
fn an_inactive_view_is_not_moved_on_right_after_a_start() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.run(TERM);
    rig.kill("b");
    rig.start("a", 2);
    rig.restart(TERM, 60_000);
    rig.run(2 * TERM - REPORT_EVERY);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    rig.run(REPORT_EVERY);
    assert_eq!(rig.view(), (4, "a".to_owned(), false));
}

#[test]
fn a_loop_that_was_away_waits_a_full_term_before_it_deposes() {
    for first in ["deadline", "report of b"] {
        let mut rig = Rig::pair();
        rig.freeze(10 * TERM);
        // a's renewals lie unread in its connection. Whatever is handled first, a stays.
        match first {
            "deadline" => drop(rig.handle(Event::Deadline)),
            _ => drop(rig.report("b")),
        }
        assert_eq!(rig.view(), (2, "a".to_owned(), true), "{first} first");
        assert!(granted(&rig.report("a")));
        rig.run(3 * TERM);
        assert_eq!(rig.view(), (2, "a".to_owned(), true));
    }
}

#[test]
fn a_loop_that_was_away_waits_no_longer_than_that() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.freeze(10 * TERM);
    rig.handle(Event::Deadline);
    rig.run(TERM - 1);
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
    rig.run(1);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
}

#[test]
fn a_loop_that_is_a_little_late_deposes_in_time() {
    let mut rig = Rig::pair();
    rig.kill("a");
    let left = rig.lease().unwrap();
    rig.run(left - 1);
    // A quarter of a term late, no more.
    rig.freeze(TERM / 4);
    rig.handle(Event::Deadline);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
}

/// Time passes in which the view service is awake and hears nobody.
fn hear_nobody(rig: &mut Rig, millis: u64) {
    for name in ["a", "b", "c"] {
        rig.node(name).reports = false;
    }
    rig.run(millis);
}

#[test]
fn a_service_that_was_cut_off_from_all_deposes_nobody_who_is_well() {
    for terms in [1, 2, 7] {
        for first in ["a", "b", "c"] {
            let mut rig = Rig::pair();
            rig.node("a").reports = false; // its last renewal is the older one
            rig.run(REPORT_EVERY);
            hear_nobody(&mut rig, terms * TERM);
            rig.report(first);
            assert_eq!(rig.view(), (2, "a".to_owned(), true), "{first} first");
            for name in ["a", "b", "c"] {
                rig.node(name).reports = true;
            }
            rig.run(10 * TERM);
            assert_eq!(rig.view(), (2, "a".to_owned(), true), "{first} first");
        }
    }
}

#[test]
fn a_service_that_was_cut_off_from_all_waits_a_full_term_from_the_first_report_and_no_longer() {
    let mut rig = Rig::pair();
    hear_nobody(&mut rig, 7 * TERM);
    rig.kill("a");
    rig.node("b").reports = true;
    rig.report("b");
    rig.run(TERM - 1);
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
    rig.run(1);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
}

#[test]
fn a_backup_that_is_silent_for_half_a_term_after_its_primary_died_takes_over_in_time() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.run(TERM - REPORT_EVERY);
    hear_nobody(&mut rig, TERM / 2);
    assert_eq!(
        rig.view(),
        (3, "b".to_owned(), false),
        "as its lease ran out"
    );
}

#[test]
fn proof_counts_also_after_the_service_was_cut_off_from_all() {
    let mut rig = Rig::pair();
    hear_nobody(&mut rig, 7 * TERM);
    rig.report("b");
    rig.start("a", 2);
    rig.report("a");
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    assert_eq!(rig.record().reason, Reason::PrimaryRestarted);
}

#[test]
fn an_idle_loop_comes_round_eight_times_in_a_term() {
    let mut rig = Rig::pair();
    for name in ["a", "b", "c"] {
        rig.kill(name);
    }
    rig.run(10 * TERM);
    let mut rounds = 0;
    let end = rig.now_ms + TERM;
    while let Some(deadline) = rig.service.deadline()
        && deadline <= super::rig::at(end)
    {
        assert!(deadline > super::rig::at(rig.now_ms), "no spinning");
        rig.now_ms = deadline.as_nanos().div_ceil(1_000_000);
        rig.handle(Event::Deadline);
        rounds += 1;
    }
    assert!((7..=9).contains(&rounds), "{rounds}");
}

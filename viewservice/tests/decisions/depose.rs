//! Depose: each cause, who comes next, and rule R2.

use standin_core::view::{Reason, ViewNumber};
use standin_viewservice::Event;

use super::rig::{REPORT_EVERY, Rig, TERM, accepted, report_replies, stores};

#[test]
fn a_lease_that_runs_out_deposes_the_primary_for_the_living_holder() {
    let mut rig = Rig::pair();
    rig.kill("a");
    let left = rig.lease().unwrap();
    rig.run(left - 1);
    assert_eq!(
        rig.view(),
        (2, "a".to_owned(), true),
        "not a moment earlier"
    );
    rig.run(1);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    assert_eq!(rig.record().reason, Reason::LeaseExpired);
}

#[test]
fn silence_on_an_open_connection_is_silence_all_the_same() {
    let mut rig = Rig::pair();
    rig.node("a").reports = false;
    rig.run(TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
}

#[test]
fn a_closed_connection_proves_nothing() {
    let mut rig = Rig::pair();
    let conn = rig.nodes["a"].conn;
    rig.handle(Event::Closed { conn });
    rig.reconnect("a");
    rig.run(3 * TERM);
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
}

#[test]
fn a_primary_that_stops_renewing_is_deposed_though_it_reports() {
    let mut rig = Rig::pair();
    rig.node("a").renews = false;
    rig.run(TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
}

/// R2: holders shrink only at activation.
#[test]
fn the_holders_stay_until_the_next_primary_serves() {
    let mut rig = Rig::pair();
    let holders = rig.record().holders;
    rig.kill("a");
    rig.run(TERM);
    assert_eq!(rig.record().holders, holders);
    // b dies before it served: the deposed a may still come back.
    rig.kill("b");
    rig.start("a", 2);
    rig.run(2 * TERM + REPORT_EVERY);
    assert_eq!(rig.view(), (4, "a".to_owned(), false));
    assert_eq!(rig.record().holders, holders);
    let active = rig.record().activate(&rig.id("a"));
    assert!(accepted(&rig.swap("a", active)));
    assert_eq!(rig.record().holders.len(), 1);
}

#[test]
fn a_spare_never_becomes_primary() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.kill("b");
    rig.run(10 * TERM);
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
    rig.start("b", 2);
    rig.report("b");
    assert_eq!(rig.view(), (3, "b".to_owned(), false), "at once");
}

#[test]
fn a_newer_life_of_the_primarys_store_proves_it_dead_at_once() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.start("a", 2);
    let actions = rig.report("a");
    assert_eq!(stores(&actions), 1);
    assert_eq!(rig.record().reason, Reason::PrimaryRestarted);
    assert_eq!(rig.view(), (3, "b".to_owned(), false), "it holds as much");
}

#[test]
fn a_restarted_lone_primary_is_its_own_successor() {
    let mut rig = Rig::solo();
    rig.start("a", 2);
    rig.report("a");
    assert_eq!(rig.view(), (2, "a".to_owned(), false));
    assert_eq!(rig.record().primary.incarnation.start, 2);
}

#[test]
fn the_longest_log_comes_first() {
    for (a, b, expected) in [
        ((2, 9), (2, 8), "a"),
        ((2, 8), (2, 9), "b"),
        ((1, 9), (2, 3), "b"),
        ((2, 9), (2, 9), "b"),
    ] {
        let mut rig = Rig::pair();
        rig.node("a").last = a;
        rig.node("b").last = b;
        rig.report("b");
        rig.kill("a");
        rig.start("a", 2);
        rig.report("a");
        assert_eq!(rig.view().1, expected, "a {a:?}, b {b:?}");
    }
}

#[test]
fn a_candidate_that_dies_again_and_again_does_not_keep_a_healthy_one_out() {
    let mut rig = Rig::pair();
    rig.node("a").last = (2, 9);
    rig.kill("a");
    rig.start("a", 2);
    rig.report("a");
    assert_eq!(rig.view().1, "a", "its log is longer");
    rig.kill("a");
    rig.start("a", 3);
    rig.report("a");
    assert_eq!(rig.view(), (4, "b".to_owned(), false));
}

#[test]
fn if_both_die_whoever_comes_back_first_serves() {
    for first in ["a", "b"] {
        let mut rig = Rig::pair();
        rig.kill("a");
        rig.kill("b");
        rig.run(3 * TERM);
        rig.start(first, 2);
        rig.report(first);
        assert_eq!(rig.view(), (3, first.to_owned(), false));
    }
}

#[test]
fn a_backup_that_comes_back_alone_waits_for_the_primarys_lease() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.kill("b");
    rig.start("b", 2);
    rig.report("b");
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
    rig.run(TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
}

#[test]
fn a_candidate_that_does_not_activate_is_replaced_after_two_terms() {
    let mut rig = Rig::pair();
    rig.node("a").renews = false;
    rig.run(TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    rig.run(2 * TERM - REPORT_EVERY);
    assert_eq!(rig.view().0, 3);
    rig.run(REPORT_EVERY);
    assert_eq!(rig.view(), (4, "a".to_owned(), false));
    assert_eq!(rig.record().reason, Reason::NotActivated);
}

#[test]
fn the_only_living_candidate_is_left_in_peace() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.run(10 * TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false), "no view after view");
    rig.start("a", 2);
    rig.report("a");
    assert_eq!(
        rig.view(),
        (4, "a".to_owned(), false),
        "another one is tried"
    );
}

#[test]
fn a_candidate_that_restarts_gets_a_new_view() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.run(TERM);
    rig.kill("b");
    rig.start("b", 2);
    rig.report("b");
    assert_eq!(rig.view(), (4, "b".to_owned(), false));
    assert_eq!(rig.record().primary.incarnation.start, 2);
}

#[test]
fn every_connected_replica_hears_of_a_new_record() {
    let mut rig = Rig::pair();
    let view = rig.record().id();
    let actions = rig.release("a", view);
    let replies = report_replies(&actions);
    let conns: Vec<_> = replies.iter().map(|(conn, _)| *conn).collect();
    let expected: Vec<_> = rig.nodes.values().map(|node| node.conn).collect();
    assert_eq!(conns, expected);
    for (_, reply) in replies {
        assert_eq!(reply.number, 0);
        assert!(!reply.granted);
        assert_eq!(reply.record.as_ref().unwrap().view, ViewNumber(3));
        assert_eq!(reply.peers.len(), 3);
    }
}

#[test]
fn nobody_hears_of_a_new_record_before_it_is_durable() {
    let mut rig = Rig::pair();
    rig.disk_is_slow = true;
    let view = rig.record().id();
    let actions = rig.release("a", view);
    assert_eq!((actions.len(), stores(&actions)), (1, 1));
    let actions = rig.report("c");
    let [(_, reply)] = report_replies(&actions)[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(reply.record.as_ref().unwrap().view, ViewNumber(2));
    assert_eq!(report_replies(&rig.stored()).len(), 3);
}

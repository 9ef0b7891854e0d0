//! Handing over as planned: held, drained, asked, and gated until the outcome is read.

use crate::support::{Bench, TERM, identity};
use standin_core::conn::ConnId;
use standin_core::entry::{EntryKind, Index};
use standin_core::identity::Durability;
use standin_core::message::Ack;
use standin_core::time::Duration;
use standin_core::view::{Reason, ViewRecord};
use standin_primary::{Event, HandOverFailure, hand_over_max};

const B: ConnId = ConnId(1);
const JUST: Duration = Duration::from_millis(1);

/// Acknowledges everything, and that `applied` is applied.
fn ack_applied(bench: &mut Bench, applied: Index) {
    let last = bench.primary.tip().index;
    let ack = Ack {
        round: bench.round(B),
        applied,
        ..bench.ack_for(B, last)
    };
    bench.event(Event::Ack(B, &ack));
}

/// A pair whose primary was told to hand over, and which has ordered its Handover entry; that entry.
fn begun() -> (Bench, Index) {
    let mut bench = Bench::paired(Durability::Os);
    bench.event(Event::HandOver);
    let [batch] = bench.asked.appended.as_slice() else {
        panic!("{:?}", bench.asked.appended);
    };
    let kinds: Vec<_> = batch.entries().map(|entry| entry.header.kind).collect();
    assert_eq!(kinds, [EntryKind::Handover]);
    let index = batch.last();
    assert!(bench.primary.is_holding());
    (bench, index)
}

/// The same, and Hand over was asked.
fn asked() -> (Bench, ViewRecord) {
    let (mut bench, index) = begun();
    ack_applied(&mut bench, index);
    let (_, proposed) = bench.asked.swaps.pop().expect("Hand over is asked");
    assert_eq!(proposed.reason, Reason::HandedOver);
    (bench, proposed)
}

#[test]
fn it_is_asked_once_the_entry_is_applied_on_both() {
    let (mut bench, index) = begun();
    assert!(bench.asked.swaps.is_empty());
    let sends = bench.asked.sends.len();
    ack_applied(&mut bench, Index(index.0 - 1));
    assert!(bench.is_committed(index), "both have it");
    assert!(
        bench.asked.swaps.is_empty(),
        "b has not applied entry {index}, so its reply was not compared"
    );
    assert_eq!(
        bench.asked.sends.len(),
        sends + 1,
        "b is told at once that it may"
    );
    ack_applied(&mut bench, index);
    let (expected, proposed) = bench.asked.swaps.pop().expect("Hand over is asked");
    assert_eq!(proposed, expected.hand_over().expect("a pair"));
    assert!(bench.primary.is_holding(), "until the outcome is read");
}

#[test]
fn reads_that_came_before_are_answered_first() {
    let mut bench = Bench::paired(Durability::Os);
    bench.read();
    bench.event(Event::HandOver);
    let index = bench.primary.tip().index;
    bench.ack(B, index, 0);
    let ack = Ack {
        applied: index,
        ..bench.ack_for(B, index)
    };
    bench.event(Event::Ack(B, &ack));
    assert!(bench.asked.swaps.is_empty(), "the read has no answer yet");
    ack_applied(&mut bench, index);
    assert_eq!(bench.asked.answers.len(), 1);
    assert_eq!(bench.asked.swaps.len(), 1);
}

#[test]
fn a_backup_that_does_not_come_to_the_entry_is_left_and_the_primary_serves_on() {
    let (mut bench, _) = begun();
    bench.pass(TERM / 4 + JUST);
    assert_eq!(bench.asked.failures, [HandOverFailure::Behind]);
    assert!(bench.asked.swaps.is_empty() && !bench.primary.is_holding());
    assert!(
        !bench.primary.has_given_lease_back(),
        "nothing was asked, so nothing can land"
    );
    let index = bench.command();
    bench.ack_all(B);
    assert!(bench.is_committed(index));
    assert!(bench.asked.swaps.is_empty(), "it is not asked later either");
}

#[test]
fn once_it_is_asked_the_lease_is_given_back_and_a_late_grant_counts_for_nothing() {
    let (mut bench, _) = asked();
    assert!(bench.primary.has_given_lease_back());
    bench.hold_lease(TERM);
    bench.read_by_lease();
    assert!(
        bench.asked.answers.is_empty(),
        "the other one may have the lease already"
    );
}

#[test]
fn r1_no_outcome_is_fenced_by_a_drop_and_answers_wait_for_the_backup_until_it_is_read() {
    let (mut bench, _) = asked();
    bench.pass(TERM / 4 + JUST);
    let (_, again) = bench.asked.swaps.pop().expect("it is asked again");
    assert_eq!(again.reason, Reason::HandedOver);
    assert!(bench.primary.is_holding());
    bench.pass(TERM / 4);
    bench.sync_all();
    bench.pass(JUST);
    assert_eq!(bench.asked.failures, [HandOverFailure::NoOutcome]);
    let (_, fence) = bench.asked.swaps.pop().expect("a fence is asked");
    assert_eq!(fence.reason, Reason::Dropped);
    assert!(!bench.primary.is_holding() && bench.primary.has_given_lease_back());
    let index = bench.command();
    bench.sync_all();
    assert!(
        !bench.is_committed(index),
        "Hand over may have landed, or the Drop, or neither"
    );
    bench.record(&fence);
    bench.hold_lease(TERM);
    bench.sync_all();
    assert!(bench.is_committed(index));
    assert!(!bench.primary.has_given_lease_back());
}

#[test]
fn r1_what_the_view_service_turns_down_is_fenced_for_a_copy_may_be_on_its_way() {
    let (mut bench, _) = asked();
    bench.event(Event::SwapRefused);
    bench.sync_all();
    assert_eq!(bench.asked.failures, [HandOverFailure::TurnedDown]);
    let (_, fence) = bench.asked.swaps.pop().expect("a fence is asked");
    assert_eq!(fence.reason, Reason::Dropped);
}

#[test]
fn a_backup_that_is_lost_on_the_way_ends_it() {
    let (mut bench, _) = begun();
    bench.event(Event::Diverged(identity("b", 1).store));
    assert_eq!(bench.asked.failures, [HandOverFailure::BackupLost]);
    assert!(!bench.primary.is_holding());
    bench.sync_all();
    let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(drop.reason, Reason::Dropped);
}

#[test]
fn what_cannot_be_done_is_not_begun() {
    let failures = |mut bench: Bench| {
        bench.event(Event::HandOver);
        bench.asked.failures
    };
    assert_eq!(
        failures(Bench::candidate(Durability::Os)),
        [HandOverFailure::NotServing]
    );
    assert_eq!(
        failures(Bench::solo(Durability::Os)),
        [HandOverFailure::NoBackup]
    );
    let mut joining = Bench::solo(Durability::Os);
    joining.spare_in_sync("b", B);
    joining.pass(JUST);
    assert_eq!(failures(joining), [HandOverFailure::ChangeUnderWay]);
    let (under_way, _) = begun();
    assert_eq!(failures(under_way), [HandOverFailure::UnderWay]);
    let mut dropping = Bench::paired(Durability::Os);
    dropping.command();
    dropping.pass(TERM / 2 + JUST);
    assert_eq!(failures(dropping), [HandOverFailure::ChangeUnderWay]);
    let mut gone = Bench::paired(Durability::Os);
    gone.event(Event::Closed(B));
    assert_eq!(failures(gone), [HandOverFailure::NotInSync]);
}

/// `a`, to which `b` has handed view 3 over.
fn handed_to_a() -> Bench {
    let mut bench = Bench::paired(Durability::Os);
    let by_a = bench.primary.record().clone();
    let by_b = by_a
        .hand_over()
        .expect("a pair")
        .activate(&identity("b", 1));
    let record = by_b.hand_over().expect("a pair");
    bench = Bench::candidate_of(record, Durability::Os);
    assert!(bench.primary.is_taking_over_as_planned());
    bench
}

#[test]
fn whoever_is_handed_a_view_waits_for_the_old_primary_from_its_first_entry_on() {
    let mut bench = handed_to_a();
    let (expected, active) = bench.asked.swaps.pop().expect("Activate is asked at once");
    assert_eq!(active.holders, expected.holders, "both stay holders");
    assert_eq!(
        bench.asked.syncs, 0,
        "it is not alone, so nobody waits for its disk"
    );
    bench.record(&active);
    bench.hold_lease(TERM);
    bench.sync_all();
    assert!(
        !bench.primary.is_serving(),
        "b does not have its first entry"
    );
    bench.follow(B, &identity("b", 1));
    bench.ack_all(B);
    assert!(bench.primary.is_serving());
    assert!(!bench.primary.is_taking_over_as_planned());
    let index = bench.command();
    bench.sync_all();
    assert!(!bench.is_committed(index), "an answer waits for b");
    bench.ack_all(B);
    assert!(bench.is_committed(index));
}

#[test]
fn if_the_old_primary_never_follows_it_is_dropped_like_any_silent_backup() {
    let mut bench = handed_to_a();
    bench.activate();
    bench.hold_lease(Duration::from_secs(3600));
    bench.pass(TERM / 2 + JUST);
    bench.sync_all();
    bench.pass(JUST);
    let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(drop.reason, Reason::Dropped);
    bench.record(&drop);
    bench.sync_all();
    assert!(bench.primary.is_serving());
}

#[test]
fn a_backup_that_says_it_goes_is_dropped_at_once_and_is_not_taken_for_one_that_flaps() {
    let mut bench = Bench::paired(Durability::Os);
    for _ in 0..3 {
        let index = bench.command();
        let nonce = bench.ack_for(B, index).nonce;
        bench.event(Event::Leave(B, nonce + 1));
        assert!(bench.asked.swaps.is_empty(), "of another stream");
        bench.event(Event::Leave(B, nonce));
        bench.sync_all();
        let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
        assert_eq!(drop.reason, Reason::Dropped);
        assert!(!bench.is_committed(index), "R1");
        bench.record(&drop);
        bench.sync_all();
        assert!(bench.is_committed(index));
        // It is back, and is joined at once.
        let b = bench.spare_in_sync("b", B);
        bench.pass(JUST);
        bench.ack_all(B);
        let (_, join) = bench.asked.swaps.pop().expect("a Join is asked");
        bench.record(&join);
        bench.follow(B, &b);
        bench.ack_all(B);
        bench.asked = crate::support::Asked::default();
    }
}

#[test]
fn a_backup_that_goes_while_it_is_handed_over_to_ends_that() {
    let (mut bench, index) = begun();
    let nonce = bench.ack_for(B, index).nonce;
    bench.event(Event::Leave(B, nonce));
    assert_eq!(bench.asked.failures, [HandOverFailure::BackupLost]);
    bench.sync_all();
    let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(drop.reason, Reason::Dropped);
}

#[test]
fn clients_wait_no_longer_than_the_two_bounds_together() {
    let (mut bench, index) = begun();
    let since = bench.now.boot;
    bench.pass(TERM / 4 - JUST);
    ack_applied(&mut bench, index);
    while bench.primary.is_holding() {
        bench.pass(JUST);
    }
    let held = bench.now.boot.since(since);
    assert!(held <= hand_over_max(TERM), "{held:?}");
    assert!(held >= hand_over_max(TERM) - JUST * 2, "{held:?}");
}

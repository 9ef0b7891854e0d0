//! The protocol's rules R1, R3 and R7 as the primary keeps them, one test for each way to break them.

use crate::support::{Bench, TERM, identity};
use standin_core::conn::ConnId;
use standin_core::entry::{EntryKind, Index, LogTip, ViewStart};
use standin_core::identity::{BootId, ClusterId, Durability, Identity};
use standin_core::message::Consistency;
use standin_core::session::SessionLimits;
use standin_core::time::Duration;
use standin_core::view::{Reason, ViewNumber, ViewRecord};
use standin_primary::{Event, Payload};

const B: ConnId = ConnId(1);
const JUST: Duration = Duration::from_millis(1);

#[test]
fn r1_before_join_is_asked_answers_wait_for_the_spare() {
    let mut bench = Bench::solo(Durability::Os);
    bench.spare_in_sync("b", B);
    bench.pass(JUST); // the Join begins: from here on answers wait for b as well
    let index = bench.command();
    bench.sync_all();
    assert!(
        !bench.is_committed(index),
        "the Join may land before b has entry {index}"
    );
    bench.ack_all(B);
    assert!(bench.is_committed(index));
}

/// A Join has begun while one entry, which the client may have been answered, is on its way to `b`.
fn joining_with_an_entry_on_its_way() -> (Bench, Index) {
    let mut bench = Bench::candidate(Durability::Os);
    bench.activate();
    bench.hold_lease(Duration::from_secs(3600));
    bench.spare_in_sync("b", B);
    let index = bench.command();
    bench.sync_all(); // now it serves, and b is close enough
    bench.pass(JUST);
    (bench, index)
}

#[test]
fn r1_join_is_not_asked_before_the_spare_has_all_answered_entries() {
    let (mut bench, index) = joining_with_an_entry_on_its_way();
    assert!(
        bench.asked.swaps.is_empty(),
        "b does not have entry {index} yet"
    );
    bench.ack_all(B);
    let (_, proposed) = bench.asked.swaps.last().expect("a Join is asked");
    assert_eq!(proposed.reason, Reason::Joined);
}

#[test]
fn r1_while_a_join_may_have_landed_a_lone_copy_must_also_be_a_synced_copy() {
    let mut bench = Bench::solo(Durability::Os);
    bench.spare_in_sync("b", B);
    bench.pass(JUST);
    bench.ack_all(B);
    assert_eq!(bench.asked.swaps.len(), 1, "the Join is asked");
    let index = bench.command();
    bench.ack_all(B);
    assert!(
        !bench.is_committed(index),
        "if the Join is lost, this disk is the only copy"
    );
    bench.sync_all();
    assert!(bench.is_committed(index));
}

#[test]
fn r1_a_join_that_was_not_asked_yet_is_given_up_without_harm() {
    let (mut bench, _) = joining_with_an_entry_on_its_way();
    let index = bench.command();
    bench.sync_all();
    assert!(!bench.is_committed(index), "answers wait for b as well");
    bench.pass(Duration::from_millis(50)); // clients wait no longer than that
    assert!(bench.asked.swaps.is_empty());
    assert!(bench.is_committed(index));
}

#[test]
fn r1_a_join_given_up_after_it_was_asked_is_fenced_by_a_drop_before_answers_flow_alone() {
    let mut bench = Bench::solo(Durability::Os);
    bench.spare_in_sync("b", B);
    bench.pass(JUST);
    bench.ack_all(B);
    let (_, join) = bench.asked.swaps.pop().expect("a Join is asked");
    assert_eq!(join.reason, Reason::Joined);
    let index = bench.command();
    bench.sync_all();
    bench.event(Event::Closed(B));
    bench.pass(TERM / 2 + JUST);
    bench.sync_all();
    bench.pass(JUST);
    assert!(!bench.is_committed(index), "the Join may still land");
    let (expected, fence) = bench.asked.swaps.pop().expect("a fence is asked");
    assert_eq!(fence.reason, Reason::Dropped);
    assert_eq!(
        expected.view,
        ViewNumber(1),
        "the fence takes the view that the Join was for"
    );
    bench.record(&fence);
    bench.sync_all();
    assert!(bench.is_committed(index));
}

#[test]
fn r1_a_join_that_is_turned_down_is_fenced_too_and_not_asked_for_ever() {
    let mut bench = Bench::solo(Durability::Os);
    bench.spare_in_sync("b", B);
    bench.pass(JUST);
    bench.ack_all(B);
    let (_, join) = bench.asked.swaps.pop().expect("a Join is asked");
    assert_eq!(join.reason, Reason::Joined);
    bench.event(Event::SwapRefused);
    bench.sync_all();
    let (_, fence) = bench.asked.swaps.pop().expect("a fence is asked");
    assert_eq!(fence.reason, Reason::Dropped);
    let index = bench.command();
    bench.sync_all();
    assert!(
        !bench.is_committed(index),
        "a copy of the Join may still land"
    );
    bench.record(&fence);
    bench.sync_all();
    assert!(bench.is_committed(index));
}

#[test]
fn r1_a_join_that_landed_although_it_was_given_up_is_dropped_again() {
    let mut bench = Bench::solo(Durability::Os);
    bench.spare_in_sync("b", B);
    bench.pass(JUST);
    bench.ack_all(B);
    let (_, join) = bench.asked.swaps.pop().expect("a Join is asked");
    let index = bench.command();
    bench.event(Event::Closed(B));
    bench.pass(TERM / 2 + JUST);
    bench.record(&join); // what the record turns out to be
    bench.sync_all();
    assert!(
        !bench.is_committed(index),
        "b is a holder now and does not have it"
    );
    bench.asked.swaps.clear();
    bench.pass(TERM / 2 + JUST);
    bench.sync_all();
    bench.pass(JUST);
    let (expected, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(
        (expected.view, drop.reason),
        (ViewNumber(2), Reason::Dropped)
    );
    bench.record(&drop);
    bench.sync_all();
    assert!(bench.is_committed(index));
}

#[test]
fn r1_after_drop_is_asked_answers_wait_until_the_record_is_read() {
    let mut bench = Bench::paired(Durability::Os);
    let index = bench.command();
    bench.pass(TERM / 2 + JUST);
    bench.sync_all();
    bench.pass(JUST);
    let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(drop.reason, Reason::Dropped);
    assert!(!bench.is_committed(index), "the Drop may not have landed");
    // Asked again and again as long as no answer comes, and still nothing leaves.
    bench.pass(TERM / 4);
    assert_eq!(bench.asked.swaps.len(), 1);
    assert!(!bench.is_committed(index));
    bench.record(&drop);
    bench.sync_all();
    assert!(bench.is_committed(index));
}

#[test]
fn a_drop_is_asked_only_when_the_own_log_is_synced() {
    let mut bench = Bench::paired(Durability::Os);
    bench.command();
    bench.pass(TERM / 2 + JUST);
    assert!(bench.asked.swaps.is_empty(), "a lone copy is a synced copy");
    assert!(bench.asked.syncs > 0);
    bench.sync_all();
    assert_eq!(bench.asked.swaps.len(), 1);
}

#[test]
fn a_paired_primary_answers_only_what_its_backup_acknowledged() {
    let mut bench = Bench::paired(Durability::Os);
    let index = bench.command();
    bench.sync_all();
    assert!(!bench.is_committed(index));
    bench.ack_all(B);
    assert!(bench.is_committed(index));
}

#[test]
fn a_paired_primary_at_disk_waits_for_its_own_disk_too() {
    let mut bench = Bench::paired(Durability::Disk);
    let index = bench.command();
    bench.ack_all(B);
    assert!(!bench.is_committed(index));
    bench.sync_all();
    assert!(bench.is_committed(index));
}

#[test]
fn a_lone_primary_waits_for_its_own_disk_at_every_level() {
    for durability in [Durability::Memory, Durability::Os, Durability::Disk] {
        let mut bench = Bench::solo(durability);
        let index = bench.command();
        assert!(!bench.is_committed(index), "{durability}");
        bench.sync_all();
        assert!(bench.is_committed(index), "{durability}");
    }
}

#[test]
fn only_the_token_in_the_record_counts_as_the_backup() {
    let mut bench = Bench::paired(Durability::Memory);
    bench.event(Event::Closed(B));
    // The same store, restarted: what it held in memory is gone, though it has the log from disk.
    let restarted = identity("b", 2);
    bench.follow(B, &restarted);
    bench.ack_all(B);
    let index = bench.command();
    bench.ack_all(B);
    assert!(!bench.is_committed(index));

    let mut bench = Bench::paired(Durability::Os);
    bench.event(Event::Closed(B));
    bench.follow(B, &restarted);
    bench.ack_all(B);
    let index = bench.command();
    bench.ack_all(B);

    assert!(
        bench.is_committed(index),
        "at os what was acknowledged outlives the process"
    );
}

/// A later life of `b`, in the machine's boot `boot`, after one that stopped cleanly.
fn after_a_clean_stop(boot: u64) -> Identity {
    let before = identity("b", 1).life;
    let mut identity = identity("b", 2);
    identity.life.boot = BootId(boot.into());
    identity.clean_lives.push(before);
    identity
}

/// The backup comes back as `identity`: whether what it acknowledges is committed.
fn counts_as_the_backup(durability: Durability, identity: &Identity) -> bool {
    let mut bench = Bench::paired(durability);
    bench.event(Event::Closed(B));
    bench.follow(ConnId(2), identity);
    bench.ack_all(ConnId(2));
    let index = bench.command();
    bench.sync_all();
    bench.ack_all(ConnId(2));
    bench.is_committed(index)
}

#[test]
fn at_memory_what_a_later_life_acknowledges_after_a_clean_stop_commits_nothing() {
    assert!(
        !counts_as_the_backup(Durability::Memory, &after_a_clean_stop(7)),
        "the token in the record is the first life's, and outlives a crash of the second"
    );
}

#[test]
fn at_os_what_is_acknowledged_in_a_new_boot_after_a_clean_stop_commits_nothing() {
    assert!(
        !counts_as_the_backup(Durability::Os, &after_a_clean_stop(8)),
        "the token in the record is the first boot's, and outlives a power loss in the second"
    );
}

#[test]
fn at_memory_the_very_life_in_the_record_counts_on_another_connection() {
    let same_life = identity("b", 1);
    assert!(counts_as_the_backup(Durability::Memory, &same_life));
}

#[test]
fn at_os_a_later_life_in_the_same_boot_counts_as_the_backup() {
    let same_boot = after_a_clean_stop(7);
    assert!(counts_as_the_backup(Durability::Os, &same_boot));
}

#[test]
fn at_disk_any_life_of_the_store_counts_as_the_backup() {
    for boot in [7, 8] {
        let killed = Identity {
            clean_lives: Vec::new(),
            ..after_a_clean_stop(boot)
        };
        assert!(counts_as_the_backup(Durability::Disk, &killed), "{boot}");
    }
}

#[test]
fn r3_a_candidate_answers_nothing_and_asks_for_its_view_only_with_a_synced_log() {
    let bench = Bench::candidate(Durability::Os);
    assert!(!bench.primary.is_serving());
    let (_, proposed) = bench
        .asked
        .swaps
        .first()
        .expect("an empty log is synced: Activate");
    assert_eq!(proposed.reason, Reason::Activated);

    // With a log that is not on disk yet, the disk comes first.
    let mut paired = Bench::paired(Durability::Os);
    paired.command();
    let record = paired
        .primary
        .record()
        .depose(&paired.identity, Reason::LeaseExpired);
    let tip = paired.primary.tip();
    let mut bench = Bench::candidate_with_log(record, tip, paired.primary.view_starts().clone());
    bench.pass(JUST);
    assert!(bench.asked.swaps.is_empty());
    assert_eq!(
        bench.asked.syncs, 1,
        "asked for once, however long it takes"
    );
    bench.sync_all();
    assert_eq!(bench.asked.swaps.len(), 1);
}

#[test]
fn r3_an_active_primary_serves_once_its_view_start_is_committed_and_applied() {
    let mut bench = Bench::candidate(Durability::Os);
    bench.activate();
    bench.hold_lease(Duration::from_secs(10));
    assert!(
        !bench.primary.is_serving(),
        "the ViewStart is not on disk yet"
    );
    bench.sync_all();
    assert!(bench.primary.is_serving());
}

#[test]
fn r3_entries_of_earlier_views_commit_only_with_the_view_start() {
    let mut paired = Bench::paired(Durability::Os);
    let index = paired.command();
    let record = paired
        .primary
        .record()
        .depose(&paired.identity, Reason::LeaseExpired);
    let tip = paired.primary.tip();
    let mut bench = Bench::candidate_with_log(record, tip, paired.primary.view_starts().clone());
    bench.event(Event::Synced(index));
    bench.hold_lease(Duration::from_secs(10));
    bench.activate();
    bench.event(Event::Synced(index));
    assert!(
        !bench.is_committed(index),
        "the ViewStart that follows it is not on disk yet"
    );
    bench.sync_all();
    assert!(bench.is_committed(index));
}

#[test]
fn r3_every_view_begins_with_a_view_start() {
    let mut bench = Bench::paired(Durability::Os);
    bench.pass(TERM / 10); // a heartbeat leaves, and is never answered
    bench.pass(TERM / 2 + JUST);
    bench.sync_all();
    let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    bench.asked.appended.clear();
    bench.record(&drop);
    let batch = bench.asked.appended.first().expect("something is appended");
    let entry = batch.entries().next().expect("an entry");
    assert_eq!(entry.header.kind, EntryKind::ViewStart);
    assert_eq!(entry.header.view, drop.view);
}

#[test]
fn the_limits_of_a_view_are_those_that_its_primary_was_told() {
    let limits = SessionLimits {
        timeout: Duration::from_secs(7),
        sessions_max: 1_000_000,
        replies_bytes_max: 5_000_000_000,
        idle_min: Duration::from_millis(3),
    };
    let record = ViewRecord::bootstrap(ClusterId(1), &identity("a", 1), 1000);
    let mut bench = Bench::with(record, Durability::Os, LogTip::default(), |config| {
        config.session_limits = limits;
    });
    bench.activate();
    let batch = bench.asked.appended.first().expect("something is appended");
    let entry = batch.entries().next().expect("an entry");
    let start = ViewStart::decode(entry.payload).expect("a ViewStart");
    assert_eq!(start.session_limits(), limits);
}

#[test]
fn r7_a_follower_of_a_lower_view_is_refused_with_the_own_view() {
    let mut bench = Bench::paired(Durability::Os);
    let mut follow = standin_core::message::Follow {
        identity: identity("c", 1),
        view: bench.primary.record().id(),
        last: bench.primary.tip(),
        view_starts: bench.primary.view_starts().clone(),
        resp: None,
        versions: standin_core::version::VersionRange::only(1),
    };
    follow.view.view = ViewNumber(1);
    bench.event(Event::Follow(ConnId(2), &follow));
    let view = bench.primary.record().id();
    assert_eq!(bench.asked.higher_views, [(ConnId(2), view)]);
    assert!(bench.asked.resumes.is_empty());
}

#[test]
fn an_acknowledgement_of_another_view_or_stream_counts_for_nothing() {
    let mut bench = Bench::paired(Durability::Os);
    let index = bench.command();
    let good = bench.ack_for(B, index);
    let mut of_a_lower_view = good;
    of_a_lower_view.view.view = ViewNumber(1);
    let mut of_another_stream = good;
    of_another_stream.nonce ^= 1;
    for ack in [of_a_lower_view, of_another_stream] {
        bench.event(Event::Ack(B, &ack));
        assert!(!bench.is_committed(index), "{ack:?}");
    }
    bench.event(Event::Ack(B, &good));
    assert!(bench.is_committed(index));
}

#[test]
fn a_lapsed_lone_primary_answers_nothing_until_the_lease_is_granted_again() {
    let mut bench = Bench::solo(Durability::Os);
    bench.hold_lease(TERM);
    bench.pass(TERM + JUST);
    let index = bench.command();
    bench.sync_all();
    bench.read();
    assert!(!bench.is_committed(index));
    assert!(bench.asked.answers.is_empty());
    bench.hold_lease(TERM);
    assert!(bench.is_committed(index));
    assert_eq!(bench.asked.answers.len(), 1);
}

/// Nobody is gone: the spare acknowledges all that it is sent. But the view service answers nothing, so
/// the record may still be what it was.
#[test]
fn a_lapsed_lone_primary_answers_nothing_either_while_a_join_is_under_way() {
    for lapses_after in [JUST, TERM / 2] {
        let mut bench = Bench::solo(Durability::Os);
        bench.hold_lease(lapses_after);
        bench.spare_in_sync("b", B);
        bench.pass(JUST / 2);
        bench.ack_all(B);
        assert_eq!(bench.asked.swaps.len(), 1, "a Join is asked");
        bench.pass(lapses_after);
        let index = bench.command();
        bench.sync_all();
        bench.read();
        bench.ack_all(B);
        assert!(!bench.is_committed(index), "alone, and without a lease");
        assert!(bench.asked.answers.is_empty());
        bench.hold_lease(TERM);
        assert!(bench.is_committed(index));
        assert_eq!(bench.asked.answers.len(), 1);
    }
}

#[test]
fn a_lapsed_lone_primary_begins_no_join_until_the_lease_is_granted_again() {
    let mut bench = Bench::solo(Durability::Os);
    bench.hold_lease(JUST);
    bench.pass(JUST);
    bench.spare_in_sync("b", B);
    bench.pass(TERM);
    bench.ack_all(B);
    assert!(bench.asked.swaps.is_empty());
    bench.hold_lease(TERM);
    bench.ack_all(B);
    let (_, proposed) = bench.asked.swaps.pop().expect("a Join is asked");
    assert_eq!(proposed.reason, Reason::Joined);
}

#[test]
fn a_lapsed_paired_primary_goes_on_since_its_backup_vouches_for_it() {
    let mut bench = Bench::paired(Durability::Os);
    bench.hold_lease(TERM);
    let index = bench.command();
    bench.now.boot = bench.now.boot.plus(TERM * 2);
    bench.ack_all(B);
    assert!(bench.is_committed(index));
}

#[test]
fn a_read_is_confirmed_only_by_what_was_sent_after_it_came() {
    let mut bench = Bench::paired(Durability::Os);
    bench.pass(TERM / 10); // a heartbeat leaves
    let before = bench.round(B);
    bench.read();
    bench.ack(B, bench.primary.tip().index, before);
    assert!(
        bench.asked.answers.is_empty(),
        "that message left before the read came"
    );
    assert_eq!(
        bench.round(B),
        before + 1,
        "one message serves all reads that wait"
    );
    bench.ack_all(B);
    assert_eq!(bench.asked.answers.len(), 1);
}

#[test]
fn reads_that_come_together_are_answered_in_their_order() {
    let mut bench = Bench::paired(Durability::Os);
    bench.hold_lease(TERM);
    let (confirmed, lease) = (Consistency::Confirmed, Consistency::Lease);
    bench.read_together(&[lease, confirmed, lease, confirmed]);
    let ids = |bench: &Bench| -> Vec<u64> {
        let answers = bench.asked.answers.iter();
        answers.map(|query| query.waiter.id).collect()
    };
    assert_eq!(ids(&bench), [0], "the others wait for the one before them");
    bench.ack_all(B);
    assert_eq!(ids(&bench), [0, 1, 2, 3]);
}

#[test]
fn a_follower_gets_each_batch_as_it_was_ordered() {
    let mut bench = Bench::paired(Durability::Os);
    let index = bench.command();
    let (conn, _, _, payload) = bench.asked.sends.last().expect("the batch is sent at once");
    assert_eq!(*conn, B);
    let Payload::Batch(batch) = payload else {
        panic!("{payload:?}")
    };
    assert_eq!((batch.first(), batch.last()), (index, index));
    assert!(std::sync::Arc::ptr_eq(
        batch,
        bench.asked.appended.last().expect("appended")
    ));
}

#[test]
fn too_much_input_without_commit_leaves_no_room() {
    let mut bench = Bench::paired(Durability::Os);
    assert!(bench.primary.has_room());
    for _ in 0..standin_primary::PENDING_ENTRIES_MAX {
        bench.command();
    }
    assert!(!bench.primary.has_room());
    bench.ack_all(B);
    assert!(bench.primary.has_room());
    assert!(bench.primary.tip().index > Index(standin_primary::PENDING_ENTRIES_MAX));
}

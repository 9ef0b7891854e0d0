//! Rolling a version of the machine out: when the primary orders the Upgrade, and whom it turns away.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use standin_core::conn::ConnId;
use standin_core::entry::{EntryKind, Index, LogTip, Upgrade, ViewStart};
use standin_core::identity::{ClusterId, Durability};
use standin_core::message::{Room, decode_payload};
use standin_core::poison::Skip;
use standin_core::time::Duration;
use standin_core::version::{VersionRange, VersionStart, VersionStarts};
use standin_core::view::{ViewNumber, ViewRecord};
use standin_primary::Event;

use crate::support::{Asked, Bench, identity};

const B: ConnId = ConnId(1);
const C: ConnId = ConnId(2);

fn range(oldest: u32, newest: u32) -> VersionRange {
    VersionRange { oldest, newest }
}

/// A primary that serves alone, with a program of versions 1 and 2, in a log that executes version 1.
fn mixed() -> Bench {
    let record = ViewRecord::bootstrap(ClusterId(1), &identity("a", 1), 1000);
    let mut bench = Bench::with(record, Durability::Os, LogTip::default(), |config| {
        config.versions = range(1, 2);
    });
    bench.serve();
    bench
}

/// The versions that Upgrades ordered since this was last asked.
fn upgrades(bench: &mut Bench) -> Vec<u32> {
    let batches = bench.asked.appended.drain(..);
    let batches: Vec<_> = batches.collect();
    let entries = batches.iter().flat_map(|batch| batch.entries());
    let upgrades = entries.filter(|entry| entry.header.kind == EntryKind::Upgrade);
    upgrades
        .map(|entry| decode_payload::<Upgrade>(entry.payload).unwrap().version)
        .collect()
}

#[test]
fn a_new_log_begins_with_the_newest_version_of_the_first_primary() {
    let mut bench = Bench::supporting(range(1, 3));
    bench.activate();
    let entry = bench.asked.appended[0].entries().next().unwrap();
    let start = ViewStart::decode(entry.payload).unwrap();
    assert_eq!(start.machine_version, Some(3));
    assert_eq!(bench.primary.executing(), 3);
}

#[test]
fn the_upgrade_is_ordered_once_when_the_backup_supports_it_too() {
    let mut bench = mixed();
    bench.versions = range(1, 2);
    bench.pair();
    assert_eq!(upgrades(&mut bench), [], "the stream has not begun");
    bench.ack_all(B);
    assert_eq!(upgrades(&mut bench), [2]);
    assert_eq!(bench.primary.executing(), 2);
    let upgrade = bench.primary.tip().index;
    assert!(!bench.is_committed(upgrade), "the backup has it first");
    bench.ack_all(B);
    assert!(bench.is_committed(upgrade));
    bench.command();
    bench.ack_all(B);
    bench.pass(Duration::from_millis(400));
    assert_eq!(upgrades(&mut bench), []);
}

#[test]
fn nothing_is_upgraded_beyond_what_the_backup_supports_or_without_one() {
    let mut bench = mixed();
    bench.command();
    bench.pass(Duration::from_millis(400));
    assert_eq!(upgrades(&mut bench), [], "alone nobody knows of the others");
    bench.versions = range(1, 1);
    bench.pair();
    bench.ack_all(B);
    bench.command();
    bench.ack_all(B);
    assert_eq!(
        (upgrades(&mut bench), bench.primary.executing()),
        (vec![], 1)
    );
    // The backup is the newer one.
    let mut bench = Bench::solo(Durability::Os);
    bench.versions = range(1, 5);
    bench.pair();
    bench.ack_all(B);
    assert_eq!(
        (upgrades(&mut bench), bench.primary.executing()),
        (vec![], 1)
    );
}

/// At level `os` a backup that is restarted quickly is the same holder: no view begins by it.
#[test]
fn a_backup_that_comes_back_with_a_newer_program_in_the_same_view_brings_the_upgrade_about() {
    let mut bench = mixed();
    bench.pair();
    bench.ack_all(B);
    assert_eq!(upgrades(&mut bench), []);
    bench.event(Event::Closed(B));
    bench.versions = range(1, 2);
    bench.follow(C, &identity("b", 2));
    bench.ack_all(C);
    assert_eq!(upgrades(&mut bench), [2]);
    assert!(bench.asked.swaps.is_empty());
}

#[test]
fn a_spare_that_lacks_the_version_is_sent_away_before_it_gets_the_upgrade() {
    let mut bench = mixed();
    bench.versions = range(1, 2);
    bench.pair();
    bench.versions = range(1, 1);
    bench.spare_in_sync("c", C);
    assert_eq!(bench.asked.lacking, []);
    bench.asked.sends.clear();
    bench.ack_all(B);
    assert_eq!(upgrades(&mut bench), [2]);
    assert_eq!(bench.asked.lacking, [(C, 2)]);
    let sends = &bench.asked.sends;
    assert!(!sends.is_empty() && sends.iter().all(|(conn, ..)| *conn == B));

    // Nor is it let in again, or joined, until its program is newer.
    bench.follow(C, &identity("c", 1));
    assert_eq!(bench.asked.lacking, [(C, 2), (C, 2)]);
    bench.versions = range(2, 3);
    let resumes = bench.asked.resumes.len();
    bench.follow(C, &identity("c", 2));
    assert_eq!(bench.asked.resumes.len(), resumes + 1);
}

#[test]
fn a_spare_that_lacks_the_executing_version_is_not_joined() {
    let mut bench = mixed();
    bench.versions = range(2, 2);
    bench.follow(B, &identity("b", 1));
    bench.pass(Duration::from_millis(500));
    assert_eq!(bench.asked.lacking, [(B, 1)], "it is too new");
    assert!(bench.asked.swaps.is_empty());
}

/// It came back with the older program before it had the Upgrade: it comes no further, so answers must not wait for it.
#[test]
fn a_backup_that_comes_back_without_the_version_is_dropped_at_once() {
    let mut bench = mixed();
    bench.versions = range(1, 2);
    bench.pair();
    bench.ack_all(B);
    assert_eq!(upgrades(&mut bench), [2]);
    bench.event(Event::Closed(B));
    bench.asked = Asked::default();
    bench.versions = range(1, 1);
    bench.follow(C, &identity("b", 2));
    assert_eq!(bench.asked.lacking, [(C, 2)]);
    bench.sync_all();
    let (_, proposed) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(proposed.backup, None);
}

#[test]
fn no_upgrade_comes_behind_a_handover() {
    let mut bench = mixed();
    bench.pair();
    bench.ack_all(B);
    bench.event(Event::HandOver);
    bench.event(Event::Closed(B));
    bench.versions = range(1, 2);
    bench.follow(C, &identity("b", 2));
    bench.ack_all(C);
    assert_eq!(upgrades(&mut bench), []);
}

#[test]
fn an_upgrade_waits_for_room_in_the_log() {
    let mut bench = mixed();
    bench.versions = range(1, 2);
    bench.pair();
    bench.event(Event::Room(Room::Lacking));
    bench.ack_all(B);
    assert_eq!(upgrades(&mut bench), []);
    bench.event(Event::Room(Room::Enough));
    assert_eq!(upgrades(&mut bench), [2]);
}

fn start(index: u64, version: u32, is_upgrade: bool) -> VersionStart {
    let at = Skip {
        index: Index(index),
        view: ViewNumber(1),
    };
    VersionStart {
        at,
        version,
        is_upgrade,
    }
}

#[test]
fn a_version_at_which_the_machine_failed_is_not_tried_again_but_a_newer_one_is() {
    for (newest, expected) in [(2, vec![]), (3, vec![3])] {
        let mut starts = VersionStarts::default();
        starts.note(start(1, 1, false));
        starts.note(start(5, 2, true));
        starts.skip(&[start(5, 2, true).at]);
        let first = ViewRecord::bootstrap(ClusterId(1), &identity("a", 1), 1000);
        let view = ViewNumber(2);
        let record = ViewRecord { view, ..first };
        let tip = LogTip {
            index: Index(5),
            view: ViewNumber(1),
            ..LogTip::default()
        };
        let mut bench = Bench::with(record, Durability::Os, tip, |config| {
            config.view_starts = vec![(ViewNumber(1), Index(1))];
            config.versions = range(1, newest);
            config.version_starts = starts;
        });
        bench.sync_all();
        bench.serve();
        assert_eq!(bench.primary.executing(), 1);
        bench.versions = range(1, newest);
        bench.pair();
        bench.ack_all(B);
        assert_eq!(upgrades(&mut bench), expected);
    }
}

#[test]
fn whoever_cannot_execute_the_beginning_of_the_log_is_offered_a_snapshot() {
    let mut bench = mixed();
    bench.versions = range(1, 2);
    bench.pair();
    bench.ack_all(B);
    bench.ack_all(B);
    assert_eq!(bench.primary.executing(), 2);
    bench.versions = range(2, 3);
    bench.follow_from(C, &identity("c", 1), LogTip::default());
    assert_eq!(bench.asked.offers, [C]);
    let all = bench.primary.tip();
    bench.follow_from(C, &identity("c", 1), all);
    assert_eq!(bench.asked.resumes.last().unwrap().0, C);
}

//! What snapshots have to do with versions: by them one that the machine failed to go over to stays known when the log has the
//! Upgrade no more, and with them a program begins that lacks what was executed first.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use standin_core::capture::SnapshotMark;
use standin_core::conn::ConnId;
use standin_core::digest::DigestChain;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::{ClusterId, Identity};
use standin_core::message::{Follow, Seen, SnapshotOffer};
use standin_core::poison::Skip;
use standin_core::state::Replicated;
use standin_core::version::{VersionRange, VersionStart, VersionStarts};
use standin_core::view::{DataEpoch, ViewId, ViewNumber, ViewRecord};
use standin_replica::{Action, Event, KeptSnapshot, Recovered, Replica};

use crate::support::{Bench, Tally, config, identity, view};

const FAILED: u32 = 2;
/// So many followers fetch a snapshot at one time.
const READERS: usize = 16;

/// Orders entries until a snapshot is taken: what it is of, and the state's bytes.
fn snapshot(bench: &mut Bench) -> (KeptSnapshot, Vec<u8>) {
    for id in 1.. {
        bench.command(id, Seen::default());
        bench.sync();
        bench.event(Event::Deadline);
        let taken = bench.take(|action| matches!(action, Action::TakeSnapshot(..)));
        if let Some(Action::TakeSnapshot(mark, image)) = taken.into_iter().next() {
            let mut bytes = Vec::new();
            image.0.write(&mut bytes).unwrap();
            let kept = KeptSnapshot {
                mark,
                state_digest: image.0.digest(),
                state_bytes: bytes.len() as u64,
            };
            return (kept, bytes);
        }
    }
    panic!("one is due every ten entries");
}

/// A snapshot of a log in which the machine failed to go over, and the state in it.
fn after_failure() -> (KeptSnapshot, Replicated<Tally>) {
    let mut primary = Bench::primary();
    primary.open(100);
    primary.sync();
    let (mut kept, bytes) = snapshot(&mut primary);
    assert_eq!(kept.mark.failed_version, 0);
    kept.mark.failed_version = FAILED;
    let SnapshotMark {
        tip,
        reply_digest,
        machine_version,
        ..
    } = kept.mark;
    let digest = DigestChain(reply_digest);
    let state = Replicated::restore(&mut bytes.as_slice(), tip.index, digest, machine_version);
    (kept, state.unwrap())
}

/// What its next snapshot says of a version that failed, once it is primary.
fn says(bench: &mut Bench, identity: &Identity, number: u64) -> u32 {
    lead(bench, identity, number);
    snapshot(bench).0.mark.failed_version
}

/// An operator makes it primary, with what it has.
fn lead(bench: &mut Bench, identity: &Identity, number: u64) {
    let a = self::identity("a", 1);
    let mut record = ViewRecord::bootstrap(ClusterId(1), &a, 1000);
    for _ in 1..number {
        record = record.force(identity);
    }
    bench.tell(&record);
    bench.event(Event::Adopted(record.id()));
    bench.accept_swap();
    bench.sync();
    bench.actions.clear();
}

fn restarted(recovered: Recovered, state: Replicated<Tally>) -> (Bench, Identity) {
    let identity = identity("a", 2);
    let mut bench = Bench::fresh("a");
    let config = config(identity.clone(), view(1), recovered);
    bench.replica = Replica::from_state(state, config, bench.now);
    bench.event(Event::ViewServiceUp);
    (bench, identity)
}

fn recovered(kept: KeptSnapshot) -> Recovered {
    let tip = kept.mark.tip;
    Recovered {
        base: tip,
        tip,
        snapshots: vec![kept],
        view_starts: vec![(tip.view, Index(1))],
        commit: tip.index,
        synced: tip.index,
        ..Recovered::default()
    }
}

#[test]
fn a_replica_that_goes_on_from_its_own_snapshot_knows_it() {
    let (kept, state) = after_failure();
    let (mut bench, identity) = restarted(recovered(kept), state);
    assert_eq!(says(&mut bench, &identity, 2), FAILED);
}

#[test]
fn a_replica_that_was_handed_the_snapshot_knows_it() {
    let (kept, state) = after_failure();
    let b = identity("b", 1);
    let mut bench = Bench::fresh("b");
    let forced = ViewId {
        data_epoch: DataEpoch(1),
        view: ViewNumber(2),
    };
    let record = ViewRecord::bootstrap(ClusterId(1), &identity("a", 1), 1000);
    let record = record.force(&identity("a", 1));
    bench.tell(&record.activate(&identity("a", 1)));
    bench.event(Event::Adopted(forced));
    let offer = SnapshotOffer {
        view: forced,
        nonce: 5,
        mark: kept.mark,
        state_digest: kept.state_digest,
        state_bytes: kept.state_bytes,
    };
    bench.replica.install(bench.now, state, &offer);
    while bench.replica.next_action().is_some() {}
    assert_eq!(says(&mut bench, &b, 3), FAILED);
}

fn start(index: u64, version: u32, is_upgrade: bool) -> VersionStart {
    VersionStart {
        at: Skip {
            index: Index(index),
            view: ViewNumber(1),
        },
        version,
        is_upgrade,
    }
}

#[test]
fn an_upgrade_that_is_skipped_is_in_the_snapshots_behind_it() {
    let (mut kept, state) = after_failure();
    kept.mark.failed_version = 0;
    let skipped = start(5, FAILED, true);
    let mut version_starts = VersionStarts::default();
    version_starts.note(skipped);
    version_starts.skip(&[skipped.at]);
    let recovered = Recovered {
        version_starts,
        ..recovered(kept)
    };
    let (mut bench, identity) = restarted(recovered, state);
    assert_eq!(says(&mut bench, &identity, 2), FAILED);
}

#[test]
fn who_must_wait_until_others_have_fetched_a_snapshot_makes_none_be_taken() {
    let (kept, state) = after_failure();
    let mut version_starts = VersionStarts::default();
    version_starts.note(start(1, 0, false));
    version_starts.note(start(5, 1, true));
    let recovered = Recovered {
        version_starts,
        base: LogTip::default(),
        ..recovered(kept)
    };
    let (mut bench, identity) = restarted(recovered, state);
    lead(&mut bench, &identity, 2);
    bench.command(1, Seen::default());
    bench.sync();
    let names = ('b'..).take(READERS + 1).map(String::from);
    for (conn, name) in (60..).zip(names) {
        let follow = Follow {
            identity: self::identity(&name, 1),
            view: bench.replica.standing().view,
            last: LogTip::default(),
            view_starts: Vec::new(),
            resp: None,
            versions: VersionRange::only(1),
        };
        bench.event(Event::Follow(ConnId(conn), &follow));
    }
    let mut count = |wanted: fn(&Action) -> bool| bench.take(wanted).len();
    assert_eq!(count(|it| matches!(it, Action::Offer(..))), READERS);
    assert_eq!(count(|it| matches!(it, Action::CloseFollower(_))), 1);
    assert_eq!(count(|it| matches!(it, Action::TakeSnapshot(..))), 0);
}

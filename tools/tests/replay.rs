//! Replays of logs that were made by hand: what is found to differ, and what cannot be replayed.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, too, end the test by it"
)]

use std::cell::Cell;
use std::io;
use std::path::Path;

use standin_core::entry::{BatchBuilder, BatchStamp, Entry, EntryKind, Index, ViewStart};
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::machine::{Context, MachineId, StateMachine};
use standin_core::message::{Kept, encode_payload};
use standin_core::poison::Skip;
use standin_core::snapshot::SnapshotPoint;
use standin_core::state::Replicated;
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber, ViewRecord};
use standin_io::data_dir::ReplicaMeta;
use standin_io::log::{LogBase, LogConfig, SegmentIds, SegmentLog};
use standin_io::snapshots::{SnapshotIds, Snapshots};
use standin_tools::replay::logs::skips;
use standin_tools::replay::{Difference, ReplayError, ReplayOptions, Replayed, replay};

thread_local! {
    /// What a machine should not look at.
    static WORLD: Cell<u8> = const { Cell::new(0) };
}

/// Adds up bytes. At 100 it adds what the world shows, at 101 it only says that, at 102 it fails.
#[derive(Debug, Default)]
struct Wavering(u64);

impl StateMachine for Wavering {
    const NAME: &'static str = "wavering";
    const VERSION: u32 = 1;
    type Capture = u64;

    fn apply(&mut self, _: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        assert_ne!(command, [102], "it fails at 102");
        let world = u64::from(WORLD.get());
        self.0 += match command {
            [100] => world,
            _ => command.iter().map(|byte| u64::from(*byte)).sum(),
        };
        if command == [101] {
            reply.extend_from_slice(&world.to_le_bytes());
        }
    }

    fn query(&self, _: &[u8], reply: &mut Vec<u8>) {
        reply.extend_from_slice(&self.0.to_le_bytes());
    }

    fn capture(&self) -> u64 {
        self.0
    }

    fn write_capture(capture: &u64, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&capture.to_le_bytes())
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes)?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }
}

/// Another machine.
#[derive(Debug, Default)]
struct Other;

impl StateMachine for Other {
    const NAME: &'static str = "other";
    const VERSION: u32 = 1;
    type Capture = ();

    fn apply(&mut self, _: &mut Context<'_>, _: &[u8], _: &mut Vec<u8>) {}
    fn query(&self, _: &[u8], _: &mut Vec<u8>) {}
    fn capture(&self) {}
    fn write_capture((): &(), _: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }
    fn restore(_: &mut dyn io::Read) -> io::Result<Self> {
        Ok(Self)
    }
}

fn ids() -> SegmentIds {
    SegmentIds {
        cluster: ClusterId(1),
        store: StoreId(2),
        machine: MachineId::of::<Wavering>(),
    }
}

/// A data directory whose replica executed these commands, from entry 2 on, in a world that showed 1, and took snapshots
/// after these entries.
fn made(commands: &[u8], snapshots: &[u64], skips: &[Skip]) -> tempfile::TempDir {
    made_with(commands, snapshots, skips, skips)
}

/// The same, of a replica that skipped these entries while its log lists others.
fn made_with(
    commands: &[u8],
    snapshots: &[u64],
    skips: &[Skip],
    listed: &[Skip],
) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    WORLD.set(1);
    let config = LogConfig {
        segment_bytes: 4096,
        ..LogConfig::default()
    };
    let (mut log, _) = SegmentLog::open(root.path(), ids(), config).unwrap();
    let ids = SnapshotIds {
        cluster: ClusterId(1),
        machine: MachineId::of::<Wavering>(),
    };
    let store = Snapshots::open(root.path(), ids).unwrap();
    let mut state = Replicated::<Wavering>::default();
    skips.iter().for_each(|skip| state.skip(*skip));
    for place in 0..=commands.len() {
        let stamp = BatchStamp {
            view: ViewNumber(1),
            time: WallTime(place as u64),
            seed: 1,
            commit: log.tip().index,
        };
        let mut builder = BatchBuilder::new(log.tip(), stamp);
        match place.checked_sub(1) {
            None => {
                let start = start(listed);
                builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
            }
            Some(place) => {
                builder.push(EntryKind::Direct, |out| out.push(commands[place]));
            }
        }
        let batch = builder.finish().unwrap();
        log.append(&batch).unwrap();
        let entry = Entry::decode(batch.bytes()).unwrap();
        if state.apply(&entry, &mut Vec::new()).is_err() {
            break;
        }
        if snapshots.contains(&log.tip().index.0) {
            let point = SnapshotPoint {
                cluster: ClusterId(1),
                machine: MachineId::of::<Wavering>(),
                data_epoch: DataEpoch(0),
                failed_version: 0,
                tip: log.tip(),
                view_first: Index(1),
                reply_digest: state.reply_digest(),
            };
            let captured = state.capture();
            let written = store.write(store.ticket(), point, |out| captured.write(out));
            written.unwrap().unwrap();
        }
    }
    root
}

fn start(skips: &[Skip]) -> ViewStart {
    ViewStart {
        data_epoch: DataEpoch(0),
        primary: ReplicaName::new("a").unwrap(),
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: 1000,
        sessions_max: 10,
        replies_bytes_max: 1000,
        session_idle_min_ms: 10,
        skips: skips.to_vec(),
        machine_version: Some(1),
    }
}

fn verify(dir: &Path, world: u8) -> Result<Replayed<Wavering>, ReplayError> {
    WORLD.set(world);
    let options = ReplayOptions {
        until: None,
        verifies: true,
    };
    replay(dir, options, &mut |_, _| {})
}

fn differs(dir: &Path) -> Difference {
    match verify(dir, 2) {
        Err(ReplayError::Differs(difference)) => difference,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_state_or_a_reply_that_went_another_way_is_found_at_the_next_snapshot() {
    let quiet = made(&[1, 2, 3, 4, 5, 6], &[3, 5, 7], &[]);
    let replayed = verify(quiet.path(), 2).unwrap();
    assert_eq!(replayed.verified, 6);
    assert_eq!(replayed.state.applied(), Index(7));
    assert_eq!(replayed.state.machine().0, 21);

    // Entry 5 depends on the world, by its effect or by its reply.
    for (command, what) in [(100, "state's digest"), (101, "chain over all replies")] {
        let root = made(&[1, 2, 3, command, 5, 6], &[3, 6, 7], &[]);
        assert_eq!(
            verify(root.path(), 1).unwrap().verified,
            6,
            "the same world"
        );
        let difference = differs(root.path());
        assert_eq!(difference.what, what);
        assert_eq!((difference.index, difference.agreed), (Index(6), Index(3)));
        let words = difference.to_string();
        assert!(
            words.contains("after entry 3") && words.contains(".snap"),
            "{words}"
        );
    }
}

#[test]
fn what_was_skipped_is_skipped_and_a_machine_that_fails_is_named() {
    let skip = Skip {
        index: Index(3),
        view: ViewNumber(1),
    };
    let skipped = made(&[1, 102, 3], &[4], &[skip]);
    let replayed = verify(skipped.path(), 1).unwrap();
    assert_eq!((replayed.state.machine().0, replayed.verified), (4, 2));
    let failed = made(&[1, 102, 3], &[], &[]);
    let error = verify(failed.path(), 1).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("fails at entry 3: ") && words.contains("102"),
        "{words}"
    );
}

/// A meta file of a replica of this store, whose adopted record lists these skips.
fn keep_record(dir: &Path, store: StoreId, skips: &[Skip]) {
    let name = ReplicaName::new("a").unwrap();
    let mut meta = ReplicaMeta::fresh(&name, store, &MachineId::of::<Wavering>());
    let identity = Identity {
        name,
        store,
        life: Life {
            boot: BootId(1),
            incarnation: Incarnation { start: 1, nonce: 1 },
        },
        clean_lives: Vec::new(),
    };
    let mut record = ViewRecord::bootstrap(ClusterId(1), &identity, 500);
    record.skips = skips.to_vec();
    meta.adopted = record.id();
    meta.kept = Some(Kept::of(&record));
    std::fs::write(dir.join("meta"), meta.encode()).unwrap();
}

#[test]
fn what_only_the_adopted_record_says_is_skipped_is_skipped() {
    let skip = Skip {
        index: Index(3),
        view: ViewNumber(1),
    };
    // Entry 3 makes the machine fail, or only differs if it is executed. The ViewStart that listed it is lost.
    for command in [102, 2] {
        let root = made_with(&[1, command], &[3], &[skip], &[]);
        let dir = root.path();
        let accused = |why| assert!(verify(dir, 1).is_err(), "{why}");
        accused("nothing says that it was skipped");
        keep_record(dir, StoreId(3), &[skip]);
        accused("what is said of another store's log");
        std::fs::write(dir.join("meta"), b"no meta file").unwrap();
        accused("it cannot be read");
        keep_record(dir, ids().store, &[skip]);
        let replayed = verify(dir, 1).unwrap();
        assert_eq!((replayed.state.machine().0, replayed.verified), (1, 2));
        let both = skips([dir, dir], Index(3)).unwrap();
        assert_eq!(both, [skip]);
        assert_eq!(skips([dir, dir], Index(2)).unwrap(), []);
    }
}

#[test]
fn another_machine_and_what_is_not_there_are_refused() {
    let root = made(&[1, 2, 3], &[3], &[]);
    let until = |until| ReplayOptions {
        until: Some(Index(until)),
        verifies: false,
    };
    let error = replay::<Other>(root.path(), until(1), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, ReplayError::OtherMachine { .. }), "{error}");
    for index in 0..=4 {
        let replayed = replay::<Wavering>(root.path(), until(index), &mut |_, _| {}).unwrap();
        assert_eq!(replayed.state.applied(), Index(index));
        let sum = (1..index).sum::<u64>();
        assert_eq!(replayed.state.machine().0, sum);
    }
    let error = replay::<Wavering>(root.path(), until(5), &mut |_, _| {}).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("entry 5 is not there: the log ends at entry 4"),
        "{error}"
    );
}

/// Where a data directory has the snapshot of an entry.
fn snapshot_file(root: &Path, index: u64) -> std::path::PathBuf {
    root.join(format!("snapshots/{index:020}.snap"))
}

#[test]
fn a_snapshot_from_which_the_log_does_not_go_on_is_no_beginning() {
    let root = made(&[1; 200], &[100, 150], &[]);
    let other = made(&[2; 200], &[120], &[]);
    let of = SnapshotIds {
        cluster: ClusterId(1),
        machine: MachineId::of::<Wavering>(),
    };
    let listed = Snapshots::open(root.path(), of).unwrap().list().unwrap();
    let config = LogConfig {
        segment_bytes: 4096,
        base: Some(LogBase::of(&listed[1].point)),
        ..LogConfig::default()
    };
    let (mut log, _) = SegmentLog::open(root.path(), ids(), config).unwrap();
    log.forget(Index(100)).unwrap();
    assert_ne!(log.base().index, Index::ZERO, "the log has no beginning");
    drop(log);
    assert_eq!(verify(root.path(), 1).unwrap().from, Index(100));

    // Of another history, though of the same cluster and machine.
    std::fs::copy(
        snapshot_file(other.path(), 120),
        snapshot_file(root.path(), 120),
    )
    .unwrap();
    let replayed = verify(root.path(), 1).unwrap();
    assert_eq!((replayed.from, replayed.verified), (Index(100), 4));
    std::fs::remove_file(snapshot_file(root.path(), 100)).unwrap();
    let replayed = verify(root.path(), 1).unwrap();
    assert_eq!((replayed.from, replayed.verified), (Index(150), 2));
    assert_eq!(replayed.state.machine().0, 200);
    std::fs::remove_file(snapshot_file(root.path(), 150)).unwrap();
    let error = verify(root.path(), 1).unwrap_err();
    assert!(
        matches!(error, ReplayError::NoBeginning { .. })
            && error.to_string().contains("has another entry than"),
        "{error}"
    );
}

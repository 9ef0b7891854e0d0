//! What a process found when it was started again is on disk from then on, though the process that
//! wrote it died before it knew.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use standin_core::entry::{BatchBuilder, BatchStamp, EntryKind, Index};
use standin_core::identity::{ClusterId, ReplicaName, StoreId};
use standin_core::machine::MachineId;
use standin_core::random::RandomStream;
use standin_core::time::WallTime;
use standin_core::view::ViewNumber;
use standin_io::data_dir::{DataDir, create_dir_durably};
use standin_io::log::{LogConfig, SEGMENT_BYTES_MIN, SegmentIds, SegmentLog};
use standin_io::storage::Storage as _;
use standin_tools::simulate::disk::SimDisk;
use standin_viewservice::store::FileStore;

/// Writes something, the process dying after so many operations; starts again and says what was
/// found; loses power, and says what is found then.
fn found<E>(
    after: u64,
    seed: u64,
    write: impl FnOnce(&SimDisk) -> Result<(), E>,
    find: impl Fn(&SimDisk) -> u64,
) -> (u64, u64) {
    let disk = SimDisk::new();
    find(&disk); // formats it
    disk.stop(after, RandomStream::new(seed, 0));
    // It may die on the way.
    let _ = write(&disk);
    disk.kill();
    let first = find(&disk);
    disk.power_loss(&mut RandomStream::new(seed, 1));
    (first, find(&disk))
}

/// Tries every point of dying, and says what was found: the old or the new, and the same ever after.
fn try_all<E>(write: impl Fn(&SimDisk) -> Result<(), E>, find: impl Fn(&SimDisk) -> u64) {
    let mut all = std::collections::BTreeSet::new();
    for after in 0..12 {
        for seed in 0..10 {
            let (first, later) = found(after, seed, &write, &find);
            assert_eq!(first, later, "dead after {after} operations, seed {seed}");
            all.insert(first);
        }
    }
    assert_eq!(all.into_iter().collect::<Vec<_>>(), [0, 1], "old and new");
}

#[test]
fn a_view_service_that_was_started_again_does_not_lose_what_it_found() {
    let open =
        |disk: &SimDisk| FileStore::open_in(disk.clone(), Path::new("/service"), ClusterId(1));
    try_all(
        |disk| {
            let mut store = open(disk)?;
            let mut state = store.state().clone();
            state.term_max_ms = 1;
            store.store(&state)
        },
        |disk| open(disk).unwrap().state().term_max_ms.into(),
    );
}

#[test]
fn a_replica_that_was_started_again_does_not_lose_what_it_found() {
    let open = |disk: &SimDisk| {
        let name = ReplicaName::new("a").unwrap();
        let machine = MachineId::new("counter", 1).unwrap();
        let path = Path::new("/replica");
        DataDir::open_in(disk.clone(), path, &name, &machine, StoreId(1)).map(|(dir, _)| dir)
    };
    try_all(
        |disk| {
            let mut dir = open(disk).map_err(|_| ())?;
            let mut meta = dir.meta().clone();
            meta.starts = 1;
            dir.store(meta).map_err(|_| ())
        },
        |disk| open(disk).unwrap().meta().starts,
    );
}

#[test]
fn a_log_that_was_opened_again_after_a_failed_sync_does_not_lose_what_it_found() {
    let open = |disk: &SimDisk| {
        let config = LogConfig {
            segment_bytes: SEGMENT_BYTES_MIN,
            may_have_lost_writes: false,
            may_be_holder: true,
            ..LogConfig::default()
        };
        let ids = SegmentIds {
            cluster: ClusterId(1),
            store: StoreId(1),
            machine: MachineId::new("counter", 1).unwrap(),
        };
        SegmentLog::open_in(disk.clone(), Path::new("/replica"), ids, config)
    };
    for seed in 0..20 {
        let disk = SimDisk::new();
        let (mut log, _) = open(&disk).unwrap();
        let stamp = BatchStamp {
            view: ViewNumber(1),
            time: WallTime(1),
            seed: 1,
            commit: Index::ZERO,
        };
        let mut builder = BatchBuilder::new(log.tip(), stamp);
        builder.push(EntryKind::ViewStart, |out| out.extend_from_slice(&[7; 100]));
        log.append(&builder.finish().unwrap()).unwrap();
        disk.fail_sync(0, RandomStream::new(seed, 0));
        log.sync_now().unwrap_err();
        disk.kill();
        let first = open(&disk).unwrap().0.tip();
        disk.power_loss(&mut RandomStream::new(seed, 1));
        assert_eq!(open(&disk).unwrap().0.tip(), first, "seed {seed}");
    }
}

#[test]
fn a_directory_that_a_killed_process_created_is_not_lost_with_what_is_stored_in_it() {
    for after in 0..10 {
        for seed in 0..10 {
            let disk = SimDisk::new();
            disk.stop(after, RandomStream::new(seed, 0));
            // It may die on the way.
            let path = Path::new("/some/where");
            let _ = create_dir_durably(&disk, path);
            disk.kill();
            create_dir_durably(&disk, path).unwrap();
            disk.power_loss(&mut RandomStream::new(seed, 1));
            assert!(disk.is_dir(path), "dead after {after}, seed {seed}");
        }
    }
}

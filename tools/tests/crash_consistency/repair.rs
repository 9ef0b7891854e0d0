//! A damaged log that is being mended, on the same disk: wherever the process dies or the power fails, it can be
//! mended to what it was by the next start; and what is set aside is either all there or all aside.

use std::path::Path;

use standin_core::entry::{Batch, BatchBuilder, BatchStamp, EntryKind, Index, LogTip, ViewStart};
use standin_core::gap::Filling;
use standin_core::identity::{BootId, ClusterId, Durability, Incarnation, StoreId};
use standin_core::machine::MachineId;
use standin_core::message::encode_payload;
use standin_core::planted::Planted;
use standin_core::random::RandomStream;
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};
use standin_io::data_dir::DataDir;
use standin_io::log::{Damage, LogBase, LogConfig, LogError, SegmentIds, SegmentLog};
use standin_io::storage::Storage as _;
use standin_tools::simulate::disk::SimDisk;

use crate::world::{REPLICA, name};

const CONFIG: LogConfig = LogConfig {
    segment_bytes: 4096,
    may_have_lost_writes: false,
    may_be_holder: true,
    base: None,
    keeps_covered: false,
};

fn ids(store: u128) -> SegmentIds {
    SegmentIds {
        cluster: ClusterId(1),
        store: StoreId(store),
        machine: MachineId::new("counter", 1).unwrap(),
    }
}

fn batch(tip: LogTip) -> Batch {
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(tip.time.0 + 1),
        seed: 3,
        commit: tip.index,
    };
    let mut builder = BatchBuilder::new(tip, stamp);
    if tip.index == Index::ZERO {
        let start = ViewStart {
            data_epoch: DataEpoch(0),
            primary: name(),
            incarnation: Incarnation { start: 1, nonce: 1 },
            durability: Durability::Os,
            session_timeout_ms: 1,
            sessions_max: 1,
            replies_bytes_max: 1,
            session_idle_min_ms: 1,
            skips: Vec::new(),
            machine_version: Some(1),
        };
        builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
    } else {
        let length = 100 + usize::try_from(tip.index.0 % 9).unwrap() * 90;
        builder.push(EntryKind::Command, |out| {
            out.resize(out.len() + length, 0xa5)
        });
    }
    builder.finish().unwrap()
}

/// A disk with a log of several segments, all of it synced, and its entries.
fn sample() -> (SimDisk, Batch) {
    let disk = SimDisk::new();
    let (mut log, _) =
        SegmentLog::open_in(disk.clone(), Path::new(REPLICA), ids(2), CONFIG).unwrap();
    let mut bytes = Vec::new();
    while log.tip().index < Index(50) {
        let batch = batch(log.tip());
        bytes.extend_from_slice(batch.bytes());
        log.append(&batch).unwrap();
    }
    log.sync_now().unwrap();
    (disk, Batch::verify(bytes, LogTip::default()).unwrap())
}

fn segment(disk: &SimDisk, number: usize) -> std::path::PathBuf {
    let dir = Path::new(REPLICA).join("log");
    let mut names = disk.list(&dir).unwrap();
    names.sort();
    dir.join(&names[number])
}

/// Opens the log, mending it as long as that is of use.
fn mend(disk: &SimDisk, all: &Batch) -> Result<SegmentLog<SimDisk>, LogError> {
    let dir = Path::new(REPLICA);
    for _ in 0..50 {
        let error = match SegmentLog::open_in(disk.clone(), dir, ids(2), CONFIG) {
            Ok((log, _)) => return Ok(log),
            Err(error) => error,
        };
        let damage = Damage::find(disk, dir, &ids(2), CONFIG, error)?;
        if let Some(fit) = damage.fit_of_nothing() {
            damage.fill(disk, &[], fit)?;
            continue;
        }
        let gap = damage.gap.clone().expect("only entries are missing");
        let mut filling = Filling::new(gap, Planted::NONE);
        let rest = all.bytes_from(damage.last.index.next());
        let fit = filling.take(rest).unwrap().expect("it fits");
        damage.fill(disk, &filling.into_bytes(), fit)?;
    }
    panic!("it is mended again and again");
}

/// Damages a disk in one of several ways.
fn damage(disk: &SimDisk, way: u64, random: &mut RandomStream) {
    let file = segment(disk, usize::try_from(1 + random.next_u64() % 2).unwrap());
    match way % 4 {
        0 => {
            for _ in 0..=random.next_u64() % 3 {
                assert!(disk.flip_bit(&file, (160 + random.next_u64() % 3000) * 8));
            }
        }
        1 => assert!(disk.flip_bit(&file, (12 + random.next_u64() % 148) * 8)),
        2 => disk.remove(&file).unwrap(),
        _ => {
            assert!(disk.flip_bit(&file, (12 + random.next_u64() % 148) * 8));
            assert!(disk.flip_bit(&file, (160 + random.next_u64() % 100) * 8));
            disk.remove(&segment(disk, 3)).unwrap();
        }
    }
    disk.sync_dir(&Path::new(REPLICA).join("log")).unwrap();
}

#[test]
fn a_log_is_mended_though_it_dies_or_loses_power_at_any_point_of_that() {
    let (disk, all) = sample();
    let good = disk.snapshot();
    let mut interrupted = 0;
    for way in 0..24 {
        let mut random = RandomStream::new(way, 7);
        disk.restore(&good);
        damage(&disk, way, &mut random);
        let damaged = disk.snapshot();
        for after in 0.. {
            disk.restore(&damaged);
            disk.set_names_unordered(after % 2 == 0);
            disk.stop(after, RandomStream::new(way, after));
            let is_whole = mend(&disk, &all).is_ok();
            if disk.is_stopped() {
                interrupted += 1;
            }
            if random.next_u64().is_multiple_of(2) {
                disk.power_loss(&mut random);
            } else {
                disk.kill();
            }
            disk.mend();
            let log = mend(&disk, &all).unwrap();
            assert_eq!(log.tip(), all.tip(), "way {way}, {after} operations");
            let mut bytes = Vec::new();
            while bytes.len() < all.bytes().len() {
                let next = Batch::verify(bytes.clone(), LogTip::default());
                let next = next.map_or(Index::ZERO, |batch| batch.last()).next();
                bytes.extend_from_slice(&log.read(next, 5000).unwrap());
            }
            assert!(bytes == all.bytes(), "way {way}, {after} operations");
            if is_whole {
                break;
            }
        }
    }
    assert!(interrupted > 200, "{interrupted}");
}

#[test]
fn a_store_is_set_aside_as_a_whole_or_not_at_all() {
    let machine = MachineId::new("counter", 1).unwrap();
    let dir = Path::new(REPLICA);
    let open = |disk: &SimDisk, fresh: u128| {
        let opened = DataDir::open_in(disk.clone(), dir, &name(), &machine, StoreId(fresh));
        opened.map(|(dir, _)| dir)
    };
    let disk = SimDisk::new();
    let mut data = open(&disk, 2).unwrap();
    let (mut log, _) = SegmentLog::open_in(disk.clone(), dir, ids(2), CONFIG).unwrap();
    while log.tip().index < Index(50) {
        log.append(&batch(log.tip())).unwrap();
    }
    log.sync_now().unwrap();
    data.begin_life(BootId(1), 1).unwrap();
    drop((data, log));
    disk.kill();
    let good = disk.snapshot();
    let (mut kept, mut begun) = (0, 0);
    for after in 0.. {
        disk.restore(&good);
        disk.set_names_unordered(after % 2 == 0);
        let mut data = open(&disk, 3).unwrap();
        let mut random = RandomStream::new(9, after);
        disk.stop(after, RandomStream::new(8, after));
        let is_done = data.set_aside(StoreId(4)).is_ok();
        drop(data);
        if after % 3 == 0 {
            disk.kill();
        } else {
            disk.power_loss(&mut random);
        }
        disk.mend();
        let data = open(&disk, 5).unwrap();
        let store = data.meta().store;
        let (_, recovered) = SegmentLog::open_in(disk.clone(), dir, ids(store.0), CONFIG).unwrap();
        if store == StoreId(2) {
            assert!(!is_done);
            assert_eq!(recovered.tip.index, Index(50), "nothing has changed");
            kept += 1;
        } else {
            assert_eq!(recovered.tip.index, Index::ZERO);
            assert!(data.has_set_aside().unwrap());
            begun += 1;
        }
        if is_done {
            assert_eq!(store, StoreId(4));
            break;
        }
    }
    assert!(kept > 0 && begun > 1, "{kept} and {begun}");
}

#[test]
fn a_log_behind_a_snapshot_that_begins_anew_is_there_at_each_moment() {
    let (disk, all) = sample();
    let dir = Path::new(REPLICA);
    let tip = all.entries().take(20).last().unwrap().tip();
    let config = LogConfig {
        base: Some(LogBase {
            tip,
            view_first: Index(1),
            data_epoch: DataEpoch(0),
        }),
        ..CONFIG
    };
    let (mut log, _) = SegmentLog::open_in(disk.clone(), dir, ids(2), config).unwrap();
    log.forget(tip.index).unwrap();
    assert!(log.first() > Index(1));
    drop(log);
    let good = disk.snapshot();
    for after in 0.. {
        disk.restore(&good);
        let (mut log, _) = SegmentLog::open_in(disk.clone(), dir, ids(2), config).unwrap();
        disk.stop(after, RandomStream::new(5, after));
        let is_done = log.begin_anew().is_ok();
        drop(log);
        disk.power_loss(&mut RandomStream::new(6, after));
        disk.mend();
        let names = disk.list(&dir.join("log")).unwrap();
        let is_segment = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".log");
        assert!(names.iter().any(is_segment), "{after} operations");
        // The snapshots go only then.
        let config = if is_done { CONFIG } else { config };
        let (log, _) = SegmentLog::open_in(disk.clone(), dir, ids(2), config).unwrap();
        assert!(is_done != (log.tip().index >= tip.index));
        if is_done {
            break;
        }
    }
}

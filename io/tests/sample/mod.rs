//! Logs to try things on.
#![allow(dead_code)] // each test file uses some of it

pub(crate) mod snapshots;

use std::fs;
use std::path::{Path, PathBuf};

use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, Command, Entry, EntryKind, Index, LogTip,
};
use standin_core::identity::{ClusterId, StoreId};
use standin_core::machine::MachineId;
use standin_core::time::WallTime;
use standin_core::view::ViewNumber;
use standin_io::log::{LogConfig, LogError, Recovered, SegmentIds, SegmentLog};

/// The shortest segments, so that logs roll soon.
pub(crate) const CONFIG: LogConfig = LogConfig {
    segment_bytes: 4096,
    may_have_lost_writes: false,
    may_be_holder: true,
    base: None,
    keeps_covered: false,
};

/// A directory for one test, in memory if the system has such a place: these tests sync thousands of
/// times, and none of them needs a real disk for what it shows.
pub(crate) fn root() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(crate) fn ids() -> SegmentIds {
    SegmentIds {
        cluster: ClusterId(1),
        store: StoreId(2),
        machine: MachineId::new("counter", 1).unwrap(),
    }
}

pub(crate) fn try_open(dir: &Path) -> Result<(SegmentLog, Recovered), LogError> {
    SegmentLog::open(dir, ids(), CONFIG)
}

/// Opens it after a power loss.
pub(crate) fn try_open_after_loss(dir: &Path) -> Result<(SegmentLog, Recovered), LogError> {
    let config = LogConfig {
        may_have_lost_writes: true,
        ..CONFIG
    };
    SegmentLog::open(dir, ids(), config)
}

pub(crate) fn open(dir: &Path) -> (SegmentLog, Recovered) {
    try_open(dir).unwrap()
}

/// `count` entries after `tip` in `view`, with `bytes` bytes of payload each; a ViewStart first if
/// the view is new.
pub(crate) fn batch(tip: LogTip, view: u64, count: usize, bytes: usize) -> Batch {
    batch_knowing(tip.index, tip, view, count, bytes)
}

/// The same by a primary that knows the entries up to `commit` to be committed.
pub(crate) fn batch_knowing(
    commit: Index,
    tip: LogTip,
    view: u64,
    count: usize,
    bytes: usize,
) -> Batch {
    let stamp = BatchStamp {
        view: ViewNumber(view),
        time: WallTime(tip.time.0 + 1),
        seed: 42,
        commit,
    };
    let mut builder = BatchBuilder::new(tip, stamp);
    for number in 0..count {
        let kind = if number == 0 && tip.view != stamp.view {
            EntryKind::ViewStart
        } else {
            EntryKind::Command
        };
        let text = vec![0xa5; bytes];
        let command = Command {
            session: 1,
            sequence: tip.index.0 + 1,
            acknowledged: 0,
            bytes: &text,
        };
        builder.push(kind, |out| command.encode(out));
    }
    builder.finish().unwrap()
}

/// Appends `batches` batches of one to three entries in views 1, 2, .. of 20 batches each, and says
/// what the log's end was after each entry, the empty log's first.
pub(crate) fn fill(log: &mut SegmentLog, batches: usize) -> Vec<LogTip> {
    let mut tips = vec![log.tip()];
    for number in 0..batches {
        let view = u64::try_from(number / 20).unwrap() + 1;
        let batch = batch(log.tip(), view, number % 3 + 1, number * 13 % 200);
        log.append(&batch).unwrap();
        tips.extend(batch.entries().map(|entry| entry.tip()));
    }
    tips
}

/// All entries of a log, by reading it from the beginning.
pub(crate) fn contents(log: &SegmentLog) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut tip = LogTip::default();
    while tip.index < log.tip().index {
        let read = log.read(tip.index.next(), 1000).unwrap();
        let batch = Batch::verify(read, tip).unwrap();
        tip = batch.tip();
        bytes.extend_from_slice(batch.bytes());
    }
    assert_eq!(tip, log.tip());
    bytes
}

/// The end of the first entry in `bytes`.
pub(crate) fn first_index(bytes: &[u8]) -> Index {
    Entry::decode(bytes).unwrap().header.index
}

/// The segment files, in order.
pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    files
}

/// The bytes in use in a segment: up to the last that is not zero. Sample entries end in other bytes
/// than zero unless their payload is only a header.
pub(crate) fn used(bytes: &[u8]) -> usize {
    bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count()
}

//! Opening a log on real files to which something happened: either nothing is changed and it is
//! refused, or what is left is a beginning of the log, or goes on from a snapshot, and nothing that still
//! stood there and is in no snapshot is lost.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin_core::entry::{Batch, Index, LogTip};
use standin_core::identity::{ClusterId, StoreId};
use standin_core::machine::MachineId;
use standin_core::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use standin_core::view::DataEpoch;
use standin_fuzz::{Mishap, Place, any_batch};
use standin_io::log::{LogBase, LogConfig, LogError, Recovered, SegmentIds, SegmentLog};

fn open(
    dir: &Path,
    (may_have_lost_writes, may_be_holder): (bool, bool),
    base: Option<LogBase>,
) -> std::result::Result<(SegmentLog, Recovered), LogError> {
    let ids = SegmentIds {
        cluster: ClusterId(1),
        store: StoreId(2),
        machine: MachineId::new("counter", 1).expect("a good name"),
    };
    let config = LogConfig {
        segment_bytes: 4096,
        may_have_lost_writes,
        may_be_holder,
        base,
        ..LogConfig::default()
    };
    SegmentLog::open(dir, ids, config)
}

/// Every file of the log and its bytes.
fn picture(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(dir.join("log")).expect("there is a log");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("listed").path();
        let bytes = fs::read(&path).expect("readable");
        (path, bytes)
    };
    let mut files: Vec<_> = entries.map(read).collect();
    files.sort();
    files
}

/// All entries of a log, by reading it from the beginning, after what the log's end was before.
fn contents(log: &SegmentLog, before: LogTip) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut tip = before;
    while tip.index < log.tip().index {
        let read = log.read(tip.index.next(), 1000).expect("a good log reads");
        let batch = Batch::verify(read, tip).expect("what it hands out is good");
        tip = batch.tip();
        bytes.extend_from_slice(batch.bytes());
    }
    assert_eq!(tip, log.tip());
    bytes
}

/// An entry and where it stands.
struct Placed {
    file: PathBuf,
    at: usize,
    bytes: Vec<u8>,
    tip: LogTip,
    /// What was known to be committed when it was ordered.
    commit: Index,
}

/// Writes a log, and says where each entry stands.
fn write(dir: &Path, input: &mut Unstructured<'_>) -> Result<Vec<Placed>> {
    let (mut log, _) = open(dir, (false, true), None).expect("an empty directory");
    let batches = input.int_in_range(1..=8)?;
    for _ in 0..batches {
        let batch = any_batch(input, log.tip())?;
        log.append(&batch).expect("there is room");
    }
    drop(log);
    let mut entries: Vec<Placed> = Vec::new();
    for (file, bytes) in picture(dir) {
        let before = entries.last().map_or(LogTip::default(), |entry| entry.tip);
        let body = &bytes[SEGMENT_HEADER_BYTES..];
        let used = standin_core::segment::scan(body, before, |_| {}).bytes;
        for Place { bytes, tip, commit } in standin_fuzz::places(&body[..used], before) {
            entries.push(Placed {
                file: file.clone(),
                at: SEGMENT_HEADER_BYTES + bytes.start,
                bytes: body[bytes].to_vec(),
                tip,
                commit,
            });
        }
    }
    Ok(entries)
}

fn harm(dir: &Path, input: &mut Unstructured<'_>) -> Result<()> {
    for _ in 0..input.int_in_range(1..=3)? {
        let files = picture(dir);
        if files.is_empty() {
            return Ok(());
        }
        // Counted from the end, where most that can be forgiven happens.
        let from_end = input.choose_index(files.len())?;
        let (path, mut bytes) = files[files.len() - 1 - from_end].clone();
        if input.ratio(1, 16)? {
            fs::remove_file(&path).expect("removed");
            continue;
        }
        let mishap: Mishap = input.arbitrary()?;
        mishap.strike(&mut bytes);
        fs::write(&path, &bytes).expect("written");
    }
    Ok(())
}

/// A snapshot of the log at some entry, or none; then some of the first segments may be forgotten.
fn any_base(
    dir: &Path,
    entries: &[Placed],
    input: &mut Unstructured<'_>,
) -> Result<Option<LogBase>> {
    if !input.arbitrary()? {
        return Ok(None);
    }
    let tip = entries[input.choose_index(entries.len())?].tip;
    let begins_view = |entry: &&Placed| entry.tip.view == tip.view;
    let view_first = entries.iter().find(begins_view).expect("at least itself");
    let files = picture(dir);
    for (path, _) in &files[..input.choose_index(files.len())?] {
        fs::remove_file(path).expect("removed");
    }
    Ok(Some(LogBase {
        tip,
        view_first: view_first.tip.index,
        data_epoch: DataEpoch(0),
    }))
}

fn run(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let root = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let dir = root.path();
    let entries = write(dir, &mut input)?;
    let base = any_base(dir, &entries, &mut input)?;
    harm(dir, &mut input)?;
    let harmed = picture(dir);
    let may_have_lost_writes = input.arbitrary()?;
    let may_be_holder = input.arbitrary().unwrap_or(true);
    let (mut log, recovered) = match open(dir, (may_have_lost_writes, may_be_holder), base) {
        Ok(opened) => opened,
        Err(_) => {
            assert_eq!(picture(dir), harmed, "a log was changed and refused");
            return Ok(());
        }
    };
    let kept = usize::try_from(recovered.tip.index.0).expect("a short log");
    let (kept, lost) = entries.split_at(kept);
    let before = usize::try_from(log.first().0).expect("a short log") - 1;
    let covered = base.map_or(Index::ZERO, |base| base.tip.index);
    assert!(log.first() <= covered.next() && recovered.tip.index >= covered);
    let tip_before = before.checked_sub(1).map(|last| entries[last].tip);
    let read = contents(&log, tip_before.unwrap_or_default());
    let all = kept[before..].iter().flat_map(|entry| entry.bytes.clone());
    assert_eq!(read, all.collect::<Vec<u8>>(), "what was written");
    // Behind a gap in what the snapshot covers, all that is not called committed is cut off.
    let is_anew = recovered.superseded.is_some();
    let first_lost = recovered.tip.index.next();
    for entry in lost {
        let index = entry.tip.index;
        let file = harmed.iter().find(|(file, _)| *file == entry.file);
        let bytes = file.map_or(&[][..], |(_, bytes)| bytes);
        // Behind a gap that lost writes may have left, only what calls the gap committed is kept. The
        // header of a segment may be part of the gap.
        let is_behind_gap = is_anew || index > first_lost || SegmentHeader::decode(bytes).is_err();
        let is_called_committed = may_be_holder && entry.commit >= first_lost;
        if may_have_lost_writes && is_behind_gap && !is_called_committed {
            continue;
        }
        let stands = bytes.get(entry.at..entry.at + entry.bytes.len());
        assert_ne!(stands, Some(&*entry.bytes), "entry {index} was lost");
    }
    // It goes on from there, and is then good without any repair.
    let next = any_batch(&mut Unstructured::new(&[]), log.tip())?;
    log.append(&next).expect("there is room");
    drop(log);
    let (log, recovered) = open(dir, (false, true), base).expect("a repaired log is good");
    assert_eq!((log.tip(), recovered.torn), (next.tip(), None));
    assert_eq!(
        (recovered.superseded, recovered.left_over),
        (None, Vec::new())
    );
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // Input that is too short for what is drawn from it tests nothing.
    let _ = run(data);
});

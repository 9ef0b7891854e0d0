//! The log on a disk that lost or changed something: one test per row of the table in
//! `docs/format.md`, on real files.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::fs;
use std::path::{Path, PathBuf};

use crate::sample::{
    batch, batch_knowing, contents, fill, ids, open, segments, try_open, try_open_after_loss, used,
};
use standin_core::entry::{Batch, Index, LogTip};
use standin_core::identity::{ClusterId, StoreId};
use standin_core::machine::MachineId;
use standin_core::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use standin_io::log::{LogConfig, LogError, Recovered, SegmentLog, TornBy};

/// A log of several segments, and its entries.
fn sample_log() -> (tempfile::TempDir, Batch) {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    fill(&mut log, 45);
    let all = Batch::verify(contents(&log), LogTip::default()).unwrap();
    assert!(segments(root.path()).len() > 2);
    (root, all)
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

/// All files of the log and their bytes.
fn picture(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = segments(dir).into_iter();
    files
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect()
}

/// Opening must fail, name the file and a byte, and change nothing.
fn refused(dir: &Path) -> LogError {
    refused_by(dir, try_open)
}

/// The same after a power loss.
fn refused_after_loss(dir: &Path) -> LogError {
    refused_by(dir, try_open_after_loss)
}

fn refused_by(
    dir: &Path,
    open: impl FnOnce(&Path) -> Result<(SegmentLog, Recovered), LogError>,
) -> LogError {
    let before = picture(dir);
    let error = open(dir).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(".log") && text.contains("byte "), "{text}");
    assert!(!text.contains('\n'), "{text}");
    assert!(picture(dir) == before, "a refused log was changed: {text}");
    error
}

/// The header of a segment that would follow `before`.
fn header_after(before: LogTip) -> Vec<u8> {
    let ids = ids();
    let header = SegmentHeader {
        cluster: ids.cluster,
        store: ids.store,
        machine: ids.machine,
        before,
    };
    header.encode()
}

fn segment_path(dir: &Path, first: Index) -> PathBuf {
    dir.join(format!("log/{:020}.log", first.0))
}

#[test]
fn row_torn_end_at_every_byte_of_the_last_entries_is_cut_off() {
    let (root, all) = sample_log();
    let last = segments(root.path()).pop().unwrap();
    let good = fs::read(&last).unwrap();
    let header = SegmentHeader::decode(&good).unwrap();
    // Where the entries of the last segment end, and what the log's end is there.
    let mut ends = vec![(SEGMENT_HEADER_BYTES, header.before)];
    for entry in all
        .entries()
        .skip(usize::try_from(header.before.index.0).unwrap())
    {
        let at = ends.last().unwrap().0 + usize::try_from(entry.header.length).unwrap();
        ends.push((at, entry.tip()));
    }
    let end = ends.last().unwrap().0;
    let last_three = ends[ends.len() - 4].0;
    for cut in last_three..end {
        let (kept, tip) = *ends.iter().rev().find(|(at, _)| *at <= cut).unwrap();
        let mut torn = good.clone();
        torn[cut..].fill(0);
        fs::write(&last, &torn).unwrap();
        let (mut log, recovered) = open(root.path());
        // A cut whose missing bytes were zeros anyway leaves the entry whole.
        let whole = ends.iter().find(|(at, _)| *at > cut).unwrap();
        if good[cut..whole.0].iter().all(|byte| *byte == 0) {
            assert_eq!(recovered.tip, whole.1);
            continue;
        }
        assert_eq!(recovered.tip, tip, "cut at {cut}");
        let has_rest = good[kept..cut].iter().any(|byte| *byte != 0);
        assert_eq!(recovered.torn.is_some(), has_rest, "cut at {cut}");
        if let Some(torn) = recovered.torn {
            assert_eq!((torn.file, torn.at), (last.clone(), kept as u64));
        }
        // The torn bytes are gone from the file, and the log goes on over them.
        let repaired = fs::read(&last).unwrap();
        assert_eq!(repaired.len(), good.len());
        assert!(repaired[kept..].iter().all(|byte| *byte == 0));
        let next = batch(log.tip(), 9, 1, 0);
        log.append(&next).unwrap();
        drop(log);
        assert_eq!(open(root.path()).1.tip, next.tip());
    }
}

#[test]
fn row_torn_end_with_garbage_instead_of_zeros_is_cut_off() {
    let (root, all) = sample_log();
    let last = segments(root.path()).pop().unwrap();
    change(&last, |bytes| {
        let end = used(bytes);
        bytes[end + 1..end + 600].fill(0xee);
    });
    let (log, recovered) = open(root.path());
    assert!(recovered.torn.is_some());
    assert_eq!(contents(&log), all.bytes());
}

#[test]
fn row_file_that_ends_within_an_entry_is_cut_and_grown_again() {
    let (root, all) = sample_log();
    let last = segments(root.path()).pop().unwrap();
    change(&last, |bytes| bytes.truncate(used(bytes) - 1));
    let (log, recovered) = open(root.path());
    assert!(recovered.torn.is_some());
    assert_eq!(log.tip().index.next(), all.last());
    assert_eq!(
        fs::metadata(&last).unwrap().len(),
        crate::sample::CONFIG.segment_bytes
    );
}

#[test]
fn row_file_shorter_than_its_preallocation_is_grown_again() {
    let (root, all) = sample_log();
    let last = segments(root.path()).pop().unwrap();
    change(&last, |bytes| bytes.truncate(used(bytes)));
    let (log, recovered) = open(root.path());
    assert_eq!((log.tip(), recovered.torn), (all.tip(), None));
    assert_eq!(
        fs::metadata(&last).unwrap().len(),
        crate::sample::CONFIG.segment_bytes
    );
}

#[test]
fn row_bad_entry_with_a_good_one_after_it_is_damage() {
    let (root, _) = sample_log();
    let last = segments(root.path()).pop().unwrap();
    let good = fs::read(&last).unwrap();
    let second_at = SEGMENT_HEADER_BYTES + usize::from(good[SEGMENT_HEADER_BYTES]);
    for at in SEGMENT_HEADER_BYTES..second_at {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        fs::write(&last, &damaged).unwrap();
        let error = refused(root.path());
        assert!(
            matches!(&error, LogError::Damaged { file, at: 160, .. } if *file == last),
            "byte {at}: {error}"
        );
    }
}

#[test]
fn row_bad_entry_in_a_segment_that_is_not_the_last_is_damage_even_at_its_end() {
    let (root, _) = sample_log();
    let files = segments(root.path());
    let good = fs::read(&files[1]).unwrap();
    for at in SEGMENT_HEADER_BYTES..used(&good) {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        fs::write(&files[1], &damaged).unwrap();
        let error = refused(root.path());
        assert!(
            matches!(&error, LogError::Damaged { file, .. } if *file == files[1]),
            "byte {at}: {error}"
        );
    }
}

#[test]
fn row_entries_missing_at_the_end_of_a_segment_that_is_not_the_last() {
    let (root, _) = sample_log();
    let files = segments(root.path());
    change(&files[1], |bytes| bytes[SEGMENT_HEADER_BYTES..].fill(0));
    let error = refused(root.path());
    assert!(
        matches!(&error, LogError::Missing { file, .. } if *file == files[2]),
        "{error}"
    );
}

#[test]
fn row_missing_segment() {
    for number in [0, 1] {
        let (root, _) = sample_log();
        let files = segments(root.path());
        fs::remove_file(&files[number]).unwrap();
        let error = refused(root.path());
        let next = &files[number + 1];
        assert!(
            matches!(&error, LogError::Missing { file, .. } if file == next),
            "{error}"
        );
    }
}

#[test]
fn row_segment_of_another_history() {
    // The same length of log, with other contents: indexes fit, the chain does not.
    let (root, _) = sample_log();
    let files = segments(root.path());
    change(&files[1], |bytes| {
        let header = SegmentHeader::decode(bytes).unwrap();
        let other = LogTip {
            chain: header.before.chain ^ 1,
            ..header.before
        };
        bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&header_after(other));
    });
    let error = refused(root.path());
    assert!(matches!(&error, LogError::Damaged { at: 0, .. }), "{error}");
}

#[test]
fn row_segment_of_another_cluster_store_or_machine() {
    let (root, _) = sample_log();
    let others = [
        standin_io::log::SegmentIds {
            cluster: ClusterId(9),
            ..ids()
        },
        standin_io::log::SegmentIds {
            store: StoreId(9),
            ..ids()
        },
        standin_io::log::SegmentIds {
            machine: MachineId::new("kv", 1).unwrap(),
            ..ids()
        },
    ];
    let before = picture(root.path());
    for other in others {
        let error = SegmentLog::open(root.path(), other, crate::sample::CONFIG).unwrap_err();
        assert!(matches!(error, LogError::Foreign { .. }), "{error}");
        assert!(picture(root.path()) == before);
    }
    // Which versions of the machine execute its entries they say themselves.
    let newer = standin_io::log::SegmentIds {
        machine: MachineId::new("counter", 2).unwrap(),
        ..ids()
    };
    let (_, recovered) = SegmentLog::open(root.path(), newer, crate::sample::CONFIG).unwrap();
    assert_eq!(recovered.header_version, Some(1));
}

#[test]
fn row_segment_under_another_name() {
    let (root, all) = sample_log();
    let last = segments(root.path()).pop().unwrap();
    fs::rename(&last, segment_path(root.path(), all.last())).unwrap();
    let error = refused(root.path());
    assert!(matches!(error, LogError::Foreign { .. }), "{error}");
}

#[test]
fn row_damaged_header_with_entries() {
    let (root, _) = sample_log();
    for file in segments(root.path()) {
        let good = fs::read(&file).unwrap();
        for at in 0..SEGMENT_HEADER_BYTES {
            let mut damaged = good.clone();
            damaged[at] ^= 0x10;
            fs::write(&file, &damaged).unwrap();
            let error = refused(root.path());
            assert!(
                matches!(error, LogError::Header { .. }),
                "byte {at}: {error}"
            );
        }
        fs::write(&file, &good).unwrap();
    }
}

#[test]
fn row_last_segment_without_header_and_entries_is_dropped() {
    let (root, all) = sample_log();
    let path = segment_path(root.path(), all.last().next());
    let header = header_after(all.tip());
    for length in 0..SEGMENT_HEADER_BYTES {
        // Every beginning of a header, in a file of full length, and as the whole file.
        let mut file = header[..length].to_vec();
        fs::write(&path, &file).unwrap();
        assert_eq!(open(root.path()).1.tip, all.tip(), "{length} bytes");
        let is_whole = header[length..].iter().all(|byte| *byte == 0);
        assert!(!path.exists() || is_whole, "{length} bytes");
        file.resize(4096, 0);
        fs::write(&path, &file).unwrap();
        assert_eq!(open(root.path()).1.tip, all.tip(), "{length} bytes");
        assert!(!path.exists() || is_whole, "{length} bytes");
    }
}

#[test]
fn row_several_unwritten_segments_are_dropped_and_a_torn_end_before_them_is_cut() {
    let (root, all) = sample_log();
    let last = segments(root.path()).pop().unwrap();
    change(&last, |bytes| {
        let end = used(bytes);
        bytes[end - 1] = 0;
    });
    for beyond in [1, 5] {
        let path = segment_path(root.path(), Index(all.last().0 + beyond));
        fs::write(path, vec![0; 4096]).unwrap();
    }
    let (log, recovered) = open(root.path());
    assert_eq!(log.tip().index.next(), all.last());
    assert!(recovered.torn.is_some());
    assert_eq!(segments(root.path()).last(), Some(&last));
}

#[test]
fn row_unwritten_segment_behind_damage_is_left_with_it() {
    let (root, all) = sample_log();
    let path = segment_path(root.path(), all.last().next());
    fs::write(path, vec![0; 4096]).unwrap();
    change(&segments(root.path())[1], |bytes| bytes[200] ^= 1);
    let error = refused(root.path());
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
}

#[test]
fn row_header_without_entries_is_an_empty_segment() {
    let (root, all) = sample_log();
    let path = segment_path(root.path(), all.last().next());
    fs::write(&path, header_after(all.tip())).unwrap();
    let (mut log, recovered) = open(root.path());
    assert_eq!(recovered.tip, all.tip());
    let next = batch(log.tip(), 9, 2, 50);
    log.append(&next).unwrap();
    drop(log);
    assert_eq!(open(root.path()).1.tip, next.tip());
}

#[test]
fn row_the_only_segment_is_never_dropped() {
    let root = crate::sample::root();
    drop(open(root.path()));
    let file = segments(root.path()).pop().unwrap();
    fs::write(&file, vec![0; 4096]).unwrap();
    let error = refused(root.path());
    assert!(matches!(error, LogError::Header { .. }), "{error}");
    fs::rename(&file, segment_path(root.path(), Index(50))).unwrap();
    let error = refused(root.path());
    assert!(matches!(error, LogError::Header { .. }), "{error}");
}

#[test]
fn row_unknown_format_version_is_never_dropped() {
    let (root, all) = sample_log();
    let path = segment_path(root.path(), all.last().next());
    let mut header = header_after(all.tip());
    header[8] = 0xff;
    fs::write(&path, header).unwrap();
    let error = refused(root.path());
    assert!(matches!(error, LogError::Header { .. }), "{error}");
}

/// A log of several segments of a lone primary that died before it heard of its last sync: it knew
/// entries up to 10 to be committed. Says where each entry stands, too.
fn sample_of_a_lone_primary() -> (tempfile::TempDir, Batch, Vec<Place>) {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    let mut places = Vec::new();
    for number in 0..40_u64 {
        let commit = Index(number.min(KNOWN.0));
        let next = batch_knowing(commit, log.tip(), 1, 1, 300);
        log.append(&next).unwrap();
        let file = segments(root.path()).pop().unwrap();
        let end = used(&fs::read(&file).unwrap());
        places.push(Place {
            file,
            start: end - next.bytes().len(),
            end,
        });
    }
    let all = Batch::verify(contents(&log), LogTip::default()).unwrap();
    assert!(segments(root.path()).len() > 3);
    (root, all, places)
}

const KNOWN: Index = Index(10);

struct Place {
    file: PathBuf,
    start: usize,
    end: usize,
}

impl Place {
    fn lose(&self) {
        change(&self.file, |bytes| bytes[self.start..self.end].fill(0));
    }

    fn flip(&self) {
        change(&self.file, |bytes| bytes[self.start + 20] ^= 0x10);
    }
}

/// After a power loss the log must end before entry `bad`, be kept in `cut/`, and go on from there.
/// Says what it was held to be torn by.
fn torn_after_loss(dir: &Path, all: &Batch, bad: u64) -> standin_io::log::Torn {
    let (mut log, recovered) = try_open_after_loss(dir).unwrap();
    assert_eq!(log.tip().index.next(), Index(bad));
    let kept = &all.bytes()[..all.bytes().len() - all.bytes_from(Index(bad)).len()];
    assert_eq!(contents(&log), kept);
    let torn = recovered.torn.expect("something was cut off");
    let tails = fs::read_dir(dir.join("cut")).unwrap().count();
    assert_eq!(tails, 1, "what was cut off is kept");
    for file in segments(dir) {
        let length = fs::metadata(&file).unwrap().len();
        assert_eq!(length, crate::sample::CONFIG.segment_bytes);
    }
    let next = batch(log.tip(), 9, 1, 1);
    log.append(&next).unwrap();
    drop(log);
    // Nothing comes back, and there is nothing left to mend.
    let (log, recovered) = open(dir);
    assert_eq!((recovered.tip, recovered.torn), (next.tip(), None));
    assert_eq!(contents(&log), [kept, next.bytes()].concat());
    torn
}

#[test]
fn row_gap_in_what_nobody_calls_committed_is_torn_after_a_loss() {
    for bad in KNOWN.0 + 1..40 {
        let (root, all, places) = sample_of_a_lone_primary();
        let place = &places[usize::try_from(bad).unwrap() - 1];
        place.flip();
        refused(root.path());
        let torn = torn_after_loss(root.path(), &all, bad);
        assert_eq!(torn.entries, 40 - bad, "those behind the bad one");
        let lost = u64::try_from(all.bytes_from(Index(bad)).len()).unwrap();
        assert!(torn.bytes >= lost, "{} of {lost} bytes", torn.bytes);
        assert!(matches!(torn.why, TornBy::Entry(_)), "{}", torn.why);
        assert_eq!(
            (torn.file, torn.at),
            (place.file.clone(), place.start as u64)
        );
    }
}

#[test]
fn row_gap_in_what_somebody_calls_committed_stays_damage_after_a_loss() {
    for bad in 1..=KNOWN.0 {
        let (root, _, places) = sample_of_a_lone_primary();
        places[usize::try_from(bad).unwrap() - 1].flip();
        let error = refused_after_loss(root.path());
        assert!(matches!(error, LogError::Damaged { .. }), "{error}");
    }
    // Whoever says so may stand in the last segment only.
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    for number in 0..40_u64 {
        let commit = Index(if number == 39 { 5 } else { 0 });
        let next = batch_knowing(commit, log.tip(), 1, 1, 300);
        log.append(&next).unwrap();
    }
    drop(log);
    let first = segments(root.path()).remove(0);
    let length = batch_knowing(Index(0), LogTip::default(), 1, 1, 300)
        .bytes()
        .len();
    // Entry 5, then entry 6: only of the first one it is known that it was here.
    let good = fs::read(&first).unwrap();
    change(&first, |bytes| {
        bytes[SEGMENT_HEADER_BYTES + 4 * length + 20] ^= 1
    });
    refused_after_loss(root.path());
    fs::write(&first, good).unwrap();
    change(&first, |bytes| {
        bytes[SEGMENT_HEADER_BYTES + 5 * length + 20] ^= 1
    });
    let (log, _) = try_open_after_loss(root.path()).unwrap();
    assert_eq!(log.tip().index, Index(5));
}

#[test]
fn row_gap_in_what_somebody_calls_committed_is_torn_after_a_loss_if_nobody_relies_on_it() {
    let config = LogConfig {
        may_have_lost_writes: true,
        may_be_holder: false,
        ..crate::sample::CONFIG
    };
    for bad in 1..=KNOWN.0 {
        let (root, all, places) = sample_of_a_lone_primary();
        places[usize::try_from(bad).unwrap() - 1].lose();
        let (log, recovered) = SegmentLog::open(root.path(), ids(), config).unwrap();
        assert_eq!(log.tip().index.next(), Index(bad));
        let torn = recovered.torn.expect("something was cut off");
        assert_eq!(
            (torn.entries, torn.commit),
            (40 - bad, KNOWN),
            "entry {bad}"
        );
        let kept = &all.bytes()[..all.bytes().len() - all.bytes_from(Index(bad)).len()];
        assert_eq!(contents(&log), kept);
        assert_eq!(fs::read_dir(root.path().join("cut")).unwrap().count(), 1);
        drop(log);
        assert_eq!(
            open(root.path()).1.torn,
            None,
            "there is nothing left to mend"
        );
    }
    // What no lost write leaves stays damage for everybody.
    let (root, _, places) = sample_of_a_lone_primary();
    places[4].lose();
    let without_loss = LogConfig {
        may_have_lost_writes: false,
        ..config
    };
    let refused = SegmentLog::open(root.path(), ids(), without_loss).unwrap_err();
    assert!(matches!(refused, LogError::Damaged { .. }), "{refused}");
    let words = refused.to_string();
    assert!(
        words.contains("if 'standin status' shows another replica serving"),
        "{words}"
    );
}

#[test]
fn row_entries_missing_before_a_later_segment_are_torn_after_a_loss() {
    let (root, all, places) = sample_of_a_lone_primary();
    let files = segments(root.path());
    // The last entry of the second segment never came to be.
    let last = places.iter().rposition(|place| place.file == files[1]);
    let bad = last.unwrap();
    places[bad].lose();
    let error = refused(root.path());
    assert!(matches!(error, LogError::Missing { .. }), "{error}");
    let torn = torn_after_loss(root.path(), &all, bad as u64 + 1);
    assert_eq!((&torn.file, torn.at), (&files[2], 0));
    assert_eq!(torn.entries, 40 - (bad as u64 + 1));
    assert!(matches!(torn.why, TornBy::Missing { .. }), "{}", torn.why);
    assert_eq!(segments(root.path()), files[..2]);
}

#[test]
fn row_torn_end_before_a_later_segment_is_torn_after_a_loss() {
    let (root, all, places) = sample_of_a_lone_primary();
    let files = segments(root.path());
    let last = places.iter().rposition(|place| place.file == files[2]);
    let bad = last.unwrap();
    change(&files[2], |bytes| {
        bytes[places[bad].start + 60..places[bad].end].fill(0);
    });
    let error = refused(root.path());
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
    torn_after_loss(root.path(), &all, bad as u64 + 1);
}

#[test]
fn row_bytes_behind_a_segment_that_the_next_one_follows_are_damage_also_after_a_loss() {
    for number in [0, 1] {
        let root = crate::sample::root();
        let (mut log, _) = open(root.path());
        // Nothing tells that anything was committed.
        for _ in 0..45 {
            let next = batch_knowing(Index::ZERO, log.tip(), 1, 1, 400);
            log.append(&next).unwrap();
        }
        drop(log);
        let files = segments(root.path());
        assert!(files.len() > number + 1);
        change(&files[number], |bytes| {
            let end = used(bytes);
            bytes[end + 1] = 0xee;
        });
        let error = refused_after_loss(root.path());
        assert!(matches!(error, LogError::Damaged { .. }), "{error}");
        refused(root.path());
    }
}

#[test]
fn row_missing_segment_is_torn_after_a_loss_unless_it_was_committed() {
    for number in [0, 1, 2] {
        let (root, all, places) = sample_of_a_lone_primary();
        let files = segments(root.path());
        let bad = places.iter().position(|place| place.file == files[number]);
        fs::remove_file(&files[number]).unwrap();
        if number == 0 {
            refused_after_loss(root.path());
            // Not even if nothing tells what was committed.
            for file in &files[1..] {
                change(file, |bytes| bytes[SEGMENT_HEADER_BYTES..].fill(0));
            }
            let error = refused_after_loss(root.path());
            assert!(matches!(error, LogError::Missing { .. }), "{error}");
            continue;
        }
        let bad = bad.unwrap() as u64 + 1;
        assert!(bad > KNOWN.0);
        refused(root.path());
        torn_after_loss(root.path(), &all, bad);
    }
}

#[test]
fn row_bad_header_is_torn_after_a_loss_unless_it_is_the_first_or_unknown() {
    let (root, _, _) = sample_of_a_lone_primary();
    let files = segments(root.path());
    for file in &files {
        let good = fs::read(file).unwrap();
        // A version that is not known is not ours to remove.
        change(file, |bytes| bytes[8] = 0xff);
        let error = refused_after_loss(root.path());
        assert!(matches!(error, LogError::Header { .. }), "{error}");
        fs::write(file, &good).unwrap();
    }
    change(&files[0], |bytes| bytes[..SEGMENT_HEADER_BYTES].fill(0));
    let error = refused_after_loss(root.path());
    assert!(matches!(error, LogError::Header { .. }), "{error}");
    for number in [1, files.len() - 1] {
        let (root, all, places) = sample_of_a_lone_primary();
        let files = segments(root.path());
        change(&files[number], |bytes| bytes[20..30].fill(0xee));
        refused(root.path());
        let bad = places.iter().position(|place| place.file == files[number]);
        let torn = torn_after_loss(root.path(), &all, bad.unwrap() as u64 + 1);
        assert!(matches!(torn.why, TornBy::Header(_)), "{}", torn.why);
    }
}

#[test]
fn row_what_no_lost_write_leaves_stays_damage_after_a_loss() {
    // A whole entry in another's place.
    let (root, _, places) = sample_of_a_lone_primary();
    let (from, to) = (&places[38], &places[37]);
    assert_eq!(from.file, to.file);
    change(&to.file, |bytes| {
        bytes.copy_within(from.start..from.end, to.start);
    });
    let error = refused_after_loss(root.path());
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");

    // A segment of another history.
    let (root, _, _) = sample_of_a_lone_primary();
    let last = segments(root.path()).pop().unwrap();
    change(&last, |bytes| {
        let mut before = SegmentHeader::decode(bytes).unwrap().before;
        before.chain ^= 1;
        bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&header_after(before));
    });
    let error = refused_after_loss(root.path());
    assert!(matches!(error, LogError::Damaged { at: 0, .. }), "{error}");

    // A segment that begins before the one before it ends.
    let (root, _, _) = sample_of_a_lone_primary();
    let last = segments(root.path()).pop().unwrap();
    let mut before = LogTip::default();
    change(&last, |bytes| {
        before = SegmentHeader::decode(bytes).unwrap().before;
        before.index = Index(before.index.0 - 1);
        bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&header_after(before));
    });
    fs::rename(&last, segment_path(root.path(), before.index.next())).unwrap();
    let error = refused_after_loss(root.path());
    assert!(matches!(error, LogError::Missing { .. }), "{error}");

    // A segment of somebody else behind a gap.
    let (root, _, places) = sample_of_a_lone_primary();
    places[30].flip();
    let last = segments(root.path()).pop().unwrap();
    change(&last, |bytes| {
        let mut header = SegmentHeader::decode(bytes).unwrap();
        header.store = StoreId(9);
        bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode());
    });
    let error = refused_after_loss(root.path());
    assert!(matches!(error, LogError::Foreign { .. }), "{error}");
}

#[test]
fn damage_that_comes_while_the_log_is_open_is_noticed_by_reading() {
    let (root, all) = sample_log();
    let (log, _) = open(root.path());
    let file = &segments(root.path())[1];
    let good = fs::read(file).unwrap();
    let first = SegmentHeader::decode(&good).unwrap().before.index.next();
    for at in SEGMENT_HEADER_BYTES..SEGMENT_HEADER_BYTES + 56 {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        fs::write(file, &damaged).unwrap();
        let error = log.read(first, 1000).unwrap_err();
        assert!(
            matches!(error, LogError::Damaged { at: 160, .. }),
            "byte {at}: {error}"
        );
    }
    fs::write(file, &good).unwrap();
    assert_eq!(contents(&log), all.bytes());
}

#[test]
fn a_good_entry_in_the_wrong_place_is_noticed_by_reading() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    let three = batch(log.tip(), 1, 3, 50);
    log.append(&three).unwrap();
    let bytes = three.bytes().len() / 3;
    // A misdirected write: the third entry over the second.
    change(&segments(root.path())[0], |file| {
        let second = SEGMENT_HEADER_BYTES + bytes;
        file.copy_within(second + bytes..second + 2 * bytes, second);
    });
    let error = log.read(Index(2), 1).unwrap_err();
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
}

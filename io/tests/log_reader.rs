//! Reading a log for people: all that is there, while it is written as well, and clear words where it is damaged.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

mod sample;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;
use sample::{batch, contents, fill, open, segments, used};
use standin_core::entry::{Entry, EntryKind, Index, LogTip};
use standin_core::segment::SEGMENT_HEADER_BYTES;
use standin_io::log::{LogReader, ReadError};

/// All that a reader finds, up to its end or to what stops it.
struct Found {
    tips: Vec<LogTip>,
    /// Payloads, one after the other.
    bytes: Vec<u8>,
    error: Option<ReadError>,
    is_unfinished: bool,
}

fn read(dir: &Path) -> Found {
    let mut found = Found {
        tips: Vec::new(),
        bytes: Vec::new(),
        error: None,
        is_unfinished: false,
    };
    let mut reader = match LogReader::open(dir) {
        Ok(reader) => reader,
        Err(error) => {
            found.error = Some(error);
            return found;
        }
    };
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => {
                found.tips.push(entry.tip());
                found.bytes.extend_from_slice(entry.payload);
            }
            Ok(None) => break,
            Err(error) => {
                found.error = Some(error);
                break;
            }
        }
    }
    found.is_unfinished = reader.unfinished().is_some();
    found
}

/// A log of several segments, and the ends of its entries.
fn sample_log() -> (tempfile::TempDir, Vec<LogTip>) {
    let root = sample::root();
    let (mut log, _) = open(root.path());
    let tips = fill(&mut log, 45);
    assert!(segments(root.path()).len() > 2);
    (root, tips[1..].to_vec())
}

#[test]
fn all_entries_are_read_and_nothing_is_changed() {
    let root = sample::root();
    let (mut log, _) = open(root.path());
    let tips = fill(&mut log, 45);
    let whole = contents(&log);
    // While the replica has it.
    let found = read(root.path());
    assert!(found.error.is_none() && !found.is_unfinished);
    assert_eq!(found.tips, tips[1..]);
    let mut payloads = Vec::new();
    let mut rest = whole.as_slice();
    while let Ok(entry) = Entry::decode(rest) {
        payloads.extend_from_slice(entry.payload);
        rest = &rest[usize::try_from(entry.header.length).unwrap()..];
    }
    assert_eq!(found.bytes, payloads);
    let pictures = || {
        segments(root.path())
            .iter()
            .map(|it| fs::read(it).unwrap())
            .collect()
    };
    let before: Vec<Vec<u8>> = pictures();
    drop(log);
    for file in segments(root.path()) {
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&file, permissions).unwrap();
    }
    assert_eq!(read(root.path()).tips, tips[1..]);
    let after: Vec<Vec<u8>> = pictures();
    assert_eq!(before, after);
}

#[test]
fn a_log_may_be_begun_with_in_the_midst() {
    let (root, tips) = sample_log();
    let mut reader = LogReader::open(root.path()).unwrap();
    for wanted in [1, 30, 45, 60, tips.len() as u64, 5] {
        reader.go_near(Index(wanted)).unwrap();
        assert!(reader.tip().index < Index(wanted));
        let mut read = 0;
        loop {
            let entry = reader.next_entry().unwrap().unwrap();
            read += 1;
            if entry.header.index == Index(wanted) {
                assert_eq!(entry.tip(), tips[usize::try_from(wanted).unwrap() - 1]);
                break;
            }
        }
        assert!(read < 40, "{read} entries were read for entry {wanted}");
    }
    reader.go_near(Index(1 << 40)).unwrap();
    while reader.next_entry().unwrap().is_some() {}
    assert_eq!(Some(&reader.tip()), tips.last());
}

#[test]
fn a_write_that_was_cut_short_ends_the_log_and_is_told() {
    let (root, tips) = sample_log();
    let last = segments(root.path()).pop().unwrap();
    let whole = fs::read(&last).unwrap();
    let end = used(&whole);
    for cut in 1..40 {
        let mut torn = whole.clone();
        torn[end - cut..].fill(0);
        fs::write(&last, &torn).unwrap();
        let found = read(root.path());
        assert!(found.error.is_none(), "{:?}", found.error);
        assert!(found.is_unfinished, "cut by {cut}");
        assert_eq!(found.tips, tips[..tips.len() - 1]);
    }
}

#[test]
fn what_is_wrong_before_whole_entries_is_damage_also_in_the_last_segment() {
    let (root, tips) = sample_log();
    let last = segments(root.path()).pop().unwrap();
    let whole = fs::read(&last).unwrap();
    let mut damaged = whole.clone();
    damaged[SEGMENT_HEADER_BYTES + 20] ^= 1;
    fs::write(&last, &damaged).unwrap();
    let found = read(root.path());
    let text = found.error.unwrap().to_string();
    let place = format!("byte {SEGMENT_HEADER_BYTES} of {}", last.display());
    assert!(text.contains(&place) && text.contains("checksum"), "{text}");
    assert!(!found.tips.is_empty() && found.tips.len() < tips.len());
    // A whole entry in the place of another.
    let first = Entry::decode(&whole[SEGMENT_HEADER_BYTES..]).unwrap();
    let length = usize::try_from(first.header.length).unwrap();
    let from = SEGMENT_HEADER_BYTES + length;
    let mut displaced = whole[..SEGMENT_HEADER_BYTES].to_vec();
    displaced.extend_from_slice(&whole[from..]);
    fs::write(&last, &displaced).unwrap();
    let found = read(root.path());
    let text = found.error.unwrap().to_string();
    assert!(
        text.contains(&place) && text.contains("stands where"),
        "{text}"
    );
}

#[test]
fn what_is_missing_or_foreign_is_named() {
    let (root, tips) = sample_log();
    let files = segments(root.path());
    // A segment is missing.
    let second = fs::read(&files[1]).unwrap();
    fs::remove_file(&files[1]).unwrap();
    let error = read(root.path()).error.unwrap();
    let text = error.to_string();
    assert!(matches!(error, ReadError::Missing { .. }), "{text}");
    assert!(
        text.contains(&files[2].display().to_string()) && text.contains("byte 0"),
        "{text}"
    );
    // It is another log's: of another store, which stands in its header.
    let other = sample::root();
    let ids = standin_io::log::SegmentIds {
        store: standin_core::identity::StoreId(77),
        ..sample::ids()
    };
    let (mut log, _) =
        standin_io::log::SegmentLog::open(other.path(), ids, sample::CONFIG).unwrap();
    fill(&mut log, 45);
    fs::copy(&segments(other.path())[1], &files[1]).unwrap();
    let text = read(root.path()).error.unwrap().to_string();
    assert!(
        text.contains(&files[1].display().to_string()) && text.contains("store"),
        "{text}"
    );
    // It has another's name.
    fs::write(&files[1], &second).unwrap();
    fs::copy(&files[1], &files[2]).unwrap();
    let text = read(root.path()).error.unwrap().to_string();
    assert!(
        text.contains(&files[2].display().to_string()) && text.contains("named"),
        "{text}"
    );
    // There is nothing.
    let empty = sample::root();
    let text = read(empty.path()).error.unwrap().to_string();
    assert!(text.contains("no segment of a log"), "{text}");
    assert!(!tips.is_empty());
}

#[test]
fn what_is_to_be_skipped_is_known_beforehand() {
    use standin_core::entry::{BatchBuilder, BatchStamp, ViewStart};
    use standin_core::identity::{Durability, Incarnation, ReplicaName};
    use standin_core::poison::Skip;
    use standin_core::time::WallTime;
    use standin_core::view::{DataEpoch, ViewNumber};
    let root = sample::root();
    let (mut log, _) = open(root.path());
    fill(&mut log, 45);
    let skip = Skip {
        index: Index(7),
        view: ViewNumber(1),
    };
    let start = ViewStart {
        data_epoch: DataEpoch(0),
        primary: ReplicaName::new("b").unwrap(),
        incarnation: Incarnation { start: 1, nonce: 2 },
        durability: Durability::Os,
        session_timeout_ms: 1000,
        sessions_max: 10,
        replies_bytes_max: 1000,
        session_idle_min_ms: 10,
        skips: vec![skip],
        machine_version: Some(1),
    };
    let stamp = BatchStamp {
        view: ViewNumber(9),
        time: WallTime(1 << 40),
        seed: 1,
        commit: Index(3),
    };
    let mut builder = BatchBuilder::new(log.tip(), stamp);
    builder.push(EntryKind::ViewStart, |out| {
        standin_core::message::encode_payload(&start, out);
    });
    log.append(&builder.finish().unwrap()).unwrap();
    let reader = LogReader::open(root.path()).unwrap();
    assert_eq!(reader.skips().unwrap(), [skip]);
}

#[test]
fn a_log_that_is_written_meanwhile_is_read_up_to_some_entry() {
    let root = sample::root();
    let (mut log, _) = open(root.path());
    fill(&mut log, 3);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                let found = read(root.path());
                assert!(found.error.is_none(), "{:?}", found.error);
                assert!(found.tips.len() >= most, "entries are gone");
                most = found.tips.len();
            }
        });
        for _ in 0..3000 {
            log.append(&batch(log.tip(), 1, 3, 700)).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever becomes of one file: what is read is a beginning of what was written, and if it is not all of it, there
    /// are words that name the file and the place.
    #[test]
    fn damage_is_named_and_never_read(
        number in 0usize..4,
        place in any::<prop::sample::Index>(),
        change in 0u8..4,
        bit in 0u8..8,
    ) {
        let (root, tips) = sample_log();
        let files = segments(root.path());
        let file = &files[number % files.len()];
        let mut bytes = fs::read(file).unwrap();
        let used = used(&bytes);
        let at = place.index(used);
        match change {
            0 => bytes[at] ^= 1 << bit,
            1 => bytes.truncate(at),
            2 => bytes[at..used].fill(0xff),
            _ => bytes[at..(at + 64).min(used)].fill(0),
        }
        fs::write(file, &bytes).unwrap();
        let found = read(root.path());
        prop_assert!(found.tips.len() <= tips.len());
        prop_assert_eq!(&found.tips[..], &tips[..found.tips.len()]);
        let is_last = file == files.last().unwrap();
        match &found.error {
            Some(error) => {
                let text = error.to_string();
                let name = file.file_name().unwrap().to_str().unwrap();
                let next = number % files.len() + 1;
                // A whole file may be cut short without a trace but that the next goes on later.
                let names_next = files.get(next).is_some_and(|it| text.contains(it.to_str().unwrap()));
                prop_assert!(text.contains(name) || names_next, "{}: {}", name, text);
                prop_assert!(text.contains("byte "), "{}", text);
            }
            None => {
                let is_whole = found.tips.len() == tips.len();
                // A few zeros at the place of zeros, or the version of a format that is read alike.
                prop_assert!(is_whole || is_last, "entries are missing, and nobody says so");
                prop_assert!(
                    is_whole || found.is_unfinished || bytes.len() <= SEGMENT_HEADER_BYTES + at,
                    "{} of {}", found.tips.len(), tips.len()
                );
            }
        }
    }
}

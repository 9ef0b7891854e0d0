//! A damaged log is mended from another copy of it, on real files: what stands on both sides of the damage says what
//! stood there, and then all is byte for byte as it was. Or it is refused.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::fs;
use std::path::{Path, PathBuf};

use crate::sample::{CONFIG, ids, segments};
use standin_core::entry::{Batch, BatchBuilder, BatchStamp, Entry, EntryKind, Index, LogTip};
use standin_core::gap::{Filling, Fit};
use standin_core::identity::{Durability, Incarnation, ReplicaName, StoreId};
use standin_core::message::encode_payload;
use standin_core::planted::Planted;
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};
use standin_io::log::{Damage, LogBase, LogConfig, LogError, Salvage, SegmentIds, SegmentLog};
use standin_io::storage::OsStorage;

/// Longest time that a repair may take: each round mends one place.
const ROUNDS_MAX: u32 = 40;
/// What the random numbers of the entries begin with.
const SEED: u64 = 42;

/// A log whose entries are sound, what its files hold, and its end after each entry.
struct Sample {
    root: tempfile::TempDir,
    files: Vec<(PathBuf, Vec<u8>)>,
    tips: Vec<LogTip>,
    all: Batch,
}

impl Sample {
    fn new() -> Self {
        Self::with_seed(SEED)
    }

    /// Each seed is another history, whose entries are as many and as long.
    fn with_seed(seed: u64) -> Self {
        let root = crate::sample::root();
        let (mut log, _) = crate::sample::open(root.path());
        let mut tips = vec![log.tip()];
        for number in 0..40_u64 {
            let batch = batch(log.tip(), number / 15 + 1, number, seed);
            log.append(&batch).unwrap();
            tips.extend(batch.entries().map(|entry| entry.tip()));
        }
        let all = Batch::verify(crate::sample::contents(&log), LogTip::default()).unwrap();
        drop(log);
        let files = picture(root.path());
        assert!(files.len() > 3);
        Self {
            root,
            files,
            tips,
            all,
        }
    }

    fn dir(&self) -> &Path {
        self.root.path()
    }

    fn base(&self, index: usize) -> LogBase {
        let tip = self.tips[index];
        let view_first = self.tips.iter().position(|one| one.view == tip.view);
        LogBase {
            tip,
            view_first: Index(view_first.unwrap() as u64),
            data_epoch: DataEpoch(0),
        }
    }

    /// Puts all files as they were.
    fn heal(&self) {
        let _ = fs::remove_dir_all(self.dir().join("cut"));
        fs::remove_dir_all(self.dir().join("log")).unwrap();
        fs::create_dir(self.dir().join("log")).unwrap();
        for (path, bytes) in &self.files {
            fs::write(path, bytes).unwrap();
        }
    }

    /// The bytes of all entries after entry `index`.
    fn after(&self, index: Index) -> &[u8] {
        if index >= self.all.last() {
            return &[];
        }
        self.all.bytes_from(index.next())
    }

    /// Opens the log, mending it from the other copy as long as that is of use.
    fn open(&self, config: LogConfig) -> Result<(SegmentLog, u32), LogError> {
        for round in 0..ROUNDS_MAX {
            let error = match SegmentLog::open(self.dir(), ids(), config) {
                Ok((log, _)) => return Ok((log, round)),
                Err(error) => error,
            };
            let damage = Damage::find(&OsStorage, self.dir(), &ids(), config, error.clone())?;
            if let Some(fit) = damage.fit_of_nothing() {
                damage.fill(&OsStorage, &[], fit).unwrap();
                continue;
            }
            let Some(gap) = damage.gap.clone() else {
                return Err(error);
            };
            assert_eq!(
                damage.last,
                self.tips[usize::try_from(damage.last.index.0).unwrap()]
            );
            let mut filling = Filling::new(gap, Planted::NONE);
            let Ok(Some(fit)) = filling.take(self.after(damage.last.index)) else {
                return Err(error);
            };
            damage.fill(&OsStorage, &filling.into_bytes(), fit).unwrap();
        }
        panic!("it is mended again and again");
    }

    /// What it was is what it is, or is found to be damaged and is not changed. Whether it is what it was.
    fn is_mended(&self, what: &str) -> bool {
        match self.open(CONFIG) {
            Ok((log, _)) => {
                assert_eq!(log.tip(), self.all.tip(), "{what}");
                assert_eq!(crate::sample::contents(&log), self.all.bytes(), "{what}");
                true
            }
            Err(_) => false,
        }
    }
}

fn batch(tip: LogTip, view: u64, number: u64, seed: u64) -> Batch {
    let stamp = BatchStamp {
        view: ViewNumber(view),
        time: WallTime(tip.time.0 + 1),
        seed,
        commit: tip.index,
    };
    let mut builder = BatchBuilder::new(tip, stamp);
    if tip.view != stamp.view {
        let start = standin_core::entry::ViewStart {
            data_epoch: DataEpoch(0),
            primary: ReplicaName::new("a").unwrap(),
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
    }
    for _ in 0..number % 3 + 1 {
        let text = vec![0xa5; 1 + usize::try_from(number).unwrap() * 13 % 200];
        let command = standin_core::entry::Command {
            session: 1,
            sequence: number,
            acknowledged: 0,
            bytes: &text,
        };
        builder.push(EntryKind::Command, |out| command.encode(out));
    }
    builder.finish().unwrap()
}

fn picture(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = segments(dir).into_iter();
    files
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect()
}

/// Where the entries of a segment begin, and where they end.
fn places(bytes: &[u8]) -> Vec<usize> {
    let mut places = vec![160];
    while let Ok(entry) = Entry::decode(&bytes[*places.last().unwrap()..]) {
        places.push(places.last().unwrap() + 56 + entry.payload.len());
    }
    places
}

#[test]
fn a_flipped_bit_in_any_byte_that_the_log_goes_on_behind_is_mended_to_what_it_was() {
    let sample = Sample::new();
    let last = sample.files.len() - 1;
    for (number, (path, good)) in sample.files.iter().enumerate() {
        let entries = places(good);
        let last_entry = entries[entries.len() - 2];
        for at in 0..good.len() {
            // Everywhere in headers and their borders, elsewhere here and there.
            let is_of_interest = at < 300 || at % 7 == 0 || entries.contains(&at);
            if !is_of_interest || (number == last && at >= last_entry) {
                continue;
            }
            let mut bytes = good.clone();
            bytes[at] ^= 0x20;
            fs::write(path, &bytes).unwrap();
            let what = format!("byte {at} of {}", path.display());
            let is_version = (8..12).contains(&at);
            if at < 160 && !is_version {
                let error = SegmentLog::open(sample.dir(), ids(), CONFIG).unwrap_err();
                let damage = Damage::find(&OsStorage, sample.dir(), &ids(), CONFIG, error);
                assert!(damage.unwrap().fit_of_nothing().is_some(), "{what}");
            }
            assert_eq!(sample.is_mended(&what), !is_version, "{what}");
            if is_version {
                fs::write(path, good).unwrap();
            } else {
                assert!(picture(sample.dir()) == sample.files, "{what}");
            }
        }
    }
}

#[test]
fn a_segment_that_is_cut_short_anywhere_is_mended_to_what_it_was() {
    let sample = Sample::new();
    let last = sample.files.len() - 1;
    for (number, (path, good)) in sample.files.iter().enumerate().take(last) {
        for length in (0..good.len()).filter(|at| *at < 400 || at % 31 == 0) {
            fs::write(path, &good[..length]).unwrap();
            let what = format!("{} of segment {number}", length);
            assert!(sample.is_mended(&what), "{what}");
            // Zeros behind the last entry need not be there.
            if length >= *places(good).last().unwrap() {
                fs::write(path, good).unwrap();
            }
            assert!(picture(sample.dir()) == sample.files, "{what}");
        }
    }
}

#[test]
fn blocks_that_are_lost_are_mended_though_several_are() {
    let sample = Sample::new();
    for block in [64, 512, 4096] {
        for (number, (path, good)) in sample.files.iter().enumerate() {
            if number + 1 == sample.files.len() {
                continue;
            }
            for at in (0..good.len()).step_by(block) {
                let mut bytes = good.clone();
                let end = (at + block).min(bytes.len());
                bytes[at..end].fill(0);
                let damaged = bytes;
                // And one in the segment after it, or its header.
                for there in [200..240, 100..140] {
                    fs::write(path, &damaged).unwrap();
                    let next = &sample.files[number + 1];
                    let mut bytes = next.1.clone();
                    bytes[there.clone()].fill(0xee);
                    fs::write(&next.0, &bytes).unwrap();
                    let what =
                        format!("{block} bytes at {at} of segment {number}, {there:?} of the next");
                    assert!(sample.is_mended(&what), "{what}");
                    assert!(picture(sample.dir()) == sample.files, "{what}");
                }
            }
        }
    }
}

#[test]
fn missing_segments_are_made_anew() {
    let sample = Sample::new();
    let count = sample.files.len();
    for first in 0..count - 1 {
        for last in first..count - 1 {
            for (path, _) in &sample.files[first..=last] {
                fs::remove_file(path).unwrap();
            }
            let what = format!("segments {first} to {last}");
            assert!(sample.is_mended(&what), "{what}");
            for (path, bytes) in picture(sample.dir()) {
                assert!(bytes.len() == 4096, "{what}: {}", path.display());
            }
            sample.heal();
        }
    }
}

#[test]
fn a_segment_missing_with_the_end_of_the_one_before_is_made_anew() {
    let sample = Sample::new();
    let entries = places(&sample.files[0].1);
    let end = *entries.last().unwrap();
    for from in [entries[entries.len() - 3], end - 1, end + 5] {
        fs::remove_file(&sample.files[1].0).unwrap();
        let mut bytes = sample.files[0].1.clone();
        let garbage = end + 10;
        bytes[from..garbage].fill(0x77);
        fs::write(&sample.files[0].0, bytes).unwrap();
        assert!(sample.is_mended("both"), "from {from}");
        sample.heal();
    }
}

#[test]
fn misplaced_blocks_and_copies_of_other_segments_are_mended() {
    let sample = Sample::new();
    let (path, good) = &sample.files[1];
    let other = &sample.files[2].1;
    for at in (160..good.len() - 512).step_by(256) {
        let mut bytes = good.clone();
        bytes[at..at + 512].copy_from_slice(&other[at..at + 512]);
        fs::write(path, &bytes).unwrap();
        let what = format!("at {at}");
        assert!(sample.is_mended(&what), "{what}");
        assert!(picture(sample.dir()) == sample.files, "{what}");
        // A whole entry of its own, at another place.
        let places = places(good);
        let mut bytes = good.clone();
        let from = places[2];
        let length = (places[3] - from).min(good.len() - at);
        bytes.copy_within(from..from + length, at);
        fs::write(path, &bytes).unwrap();
        assert!(sample.is_mended(&what), "{what}");
        assert!(picture(sample.dir()) == sample.files, "{what}");
    }
}

#[test]
fn a_log_that_begins_behind_a_snapshot_is_mended_likewise() {
    let sample = Sample::new();
    let first = |number: usize| {
        let name = sample.files[number].0.file_stem().unwrap();
        name.to_str().unwrap().parse::<usize>().unwrap()
    };
    // The log goes on right after the snapshot, with segment 2; or the snapshot is within it.
    for index in [first(2) - 1, first(2) + 2] {
        let config = LogConfig {
            base: Some(sample.base(index)),
            ..CONFIG
        };
        for number in [2, 3] {
            let path = &sample.files[number].0;
            for at in [0, 20, 100, 158, 170, 400] {
                for (path, _) in &sample.files[..2] {
                    fs::remove_file(path).unwrap();
                }
                let mut bytes = sample.files[number].1.clone();
                bytes[at] ^= 1;
                fs::write(path, bytes).unwrap();
                let what = format!("byte {at} of segment {number} behind a snapshot at {index}");
                let is_first_header = number == 2 && at < 160 && index >= first(2);
                match sample.open(config) {
                    Ok((log, rounds)) => {
                        assert_eq!(log.tip(), sample.all.tip(), "{what}");
                        assert!(rounds > 0, "{what}");
                        // What the snapshot has is not fetched.
                        let begins_at = if is_first_header { 1 } else { first(2) };
                        assert_eq!(log.first(), Index(begins_at as u64), "{what}");
                    }
                    // Only who has all of the log could help, as here.
                    Err(error) => panic!("{what}, {is_first_header}: {error}"),
                }
                sample.heal();
            }
        }
        // The first segment behind the snapshot is gone.
        for (path, _) in &sample.files[..3] {
            fs::remove_file(path).unwrap();
        }
        let (log, _) = sample.open(config).unwrap();
        assert_eq!(log.tip(), sample.all.tip());
        assert!(log.first() <= Index(index as u64 + 1));
        drop(log);
        sample.heal();
    }
}

#[test]
fn what_stands_before_what_a_snapshot_has_is_passed_over_as_recovery_does() {
    let sample = Sample::new();
    let other = Sample::with_seed(SEED + 1);
    let begins_at = sample.files[2].0.file_stem().unwrap().to_str().unwrap();
    let begins_at: usize = begins_at.parse().unwrap();
    let config = LogConfig {
        base: Some(sample.base(begins_at - 1)),
        ..CONFIG
    };
    let rot = || {
        let (path, good) = &sample.files[3];
        let mut bytes = good.clone();
        bytes[400] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let is_mended = |what: &str| {
        let (log, rounds) = sample.open(config).unwrap();
        assert_eq!((log.tip(), rounds), (sample.all.tip(), 1), "{what}");
        assert_eq!(log.first(), Index(begins_at as u64), "{what}");
    };
    // A segment that was forgotten has come back, and those after it have not.
    rot();
    fs::remove_file(&sample.files[1].0).unwrap();
    is_mended("a segment between is missing");
    sample.heal();
    // The log of another history, as long, was to be set aside when this one began.
    rot();
    for number in [0, 1] {
        fs::write(&sample.files[number].0, &other.files[number].1).unwrap();
    }
    is_mended("another history before");
}

#[test]
fn what_another_copy_has_is_not_written_if_it_does_not_fit() {
    let sample = Sample::new();
    let (path, good) = &sample.files[1];
    let places = places(good);
    // In the midst of a segment, and its last entry, after which the next segment goes on.
    for place in [2, places.len() - 2] {
        let mut bytes = good.clone();
        bytes[places[place] + 30] ^= 1;
        fs::write(path, &bytes).unwrap();
        let error = SegmentLog::open(sample.dir(), ids(), CONFIG).unwrap_err();
        let damage = Damage::find(&OsStorage, sample.dir(), &ids(), CONFIG, error).unwrap();
        // Another history from there on: the same up to the gap, then another entry, which is as long.
        let was = Entry::decode(&good[places[place]..]).unwrap();
        let stamp = BatchStamp {
            view: was.header.view,
            time: was.header.time,
            seed: was.header.seed + 1,
            commit: was.header.commit,
        };
        let mut builder = BatchBuilder::new(damage.last, stamp);
        builder.push(was.header.kind, |out| out.extend_from_slice(was.payload));
        let other = builder.finish().unwrap();
        assert_eq!(other.bytes().len(), places[place + 1] - places[place]);
        let gap = damage.gap.clone().unwrap();
        let taken = |bytes| Filling::new(gap.clone(), Planted::NONE).take(bytes);
        assert!(!matches!(taken(other.bytes()), Ok(Some(_))), "{place}");
        let right = &good[places[place]..places[place + 1]];
        assert!(matches!(taken(right), Ok(Some(_))), "{place}");
        // Nobody has changed anything.
        assert_eq!(fs::read(path).unwrap(), bytes);
        assert_eq!(damage.fit_of_nothing(), None);
    }
}

#[test]
fn what_entries_cannot_mend_is_told_apart() {
    let sample = Sample::new();
    let other = Sample::with_seed(SEED + 1);
    let is_beyond_mending = |config: LogConfig, what: &str| {
        let error = SegmentLog::open(sample.dir(), ids(), config).unwrap_err();
        assert!(error.is_damage(), "{what}: {error}");
        let damage = Damage::find(&OsStorage, sample.dir(), &ids(), config, error).unwrap();
        assert_eq!(damage.gap, None, "{what}");
        assert_eq!(damage.fit_of_nothing(), None, "{what}");
    };
    let (path, good) = &sample.files[1];
    fs::write(path, &other.files[1].1).unwrap();
    is_beyond_mending(CONFIG, "a segment of another history");
    fs::write(path, good).unwrap();
    // The log's last entry is of a later view, so it is no log that this snapshot takes the place of.
    let index = sample.tips.iter().rposition(|tip| tip.view.0 == 2).unwrap();
    let mut base = sample.base(index);
    base.tip.chain ^= 1;
    let config = LogConfig {
        base: Some(base),
        ..CONFIG
    };
    is_beyond_mending(config, "a log that is newer than its snapshot");
}

#[test]
fn rot_behind_the_entries_of_a_segment_that_another_follows_is_mended_without_anybody() {
    let sample = Sample::new();
    let (path, good) = &sample.files[0];
    let end = *places(good).last().unwrap();
    for at in [end, end + 1, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] = 9;
        fs::write(path, &bytes).unwrap();
        let error = SegmentLog::open(sample.dir(), ids(), CONFIG).unwrap_err();
        let damage = Damage::find(&OsStorage, sample.dir(), &ids(), CONFIG, error).unwrap();
        assert_eq!(damage.fit_of_nothing(), Some(Fit::Segment));
        assert!(sample.is_mended("rot"));
        assert!(picture(sample.dir()) == sample.files);
    }
}

#[test]
fn files_of_a_later_version_and_of_somebody_else_are_left_alone() {
    let sample = Sample::new();
    let (path, good) = &sample.files[1];
    let mut later = good.clone();
    later[8] = 200;
    fs::write(path, &later).unwrap();
    let error = SegmentLog::open(sample.dir(), ids(), CONFIG).unwrap_err();
    assert!(!error.is_damage());
    let found = Damage::find(&OsStorage, sample.dir(), &ids(), CONFIG, error.clone());
    assert_eq!(found.unwrap_err().to_string(), error.to_string());
    fs::write(path, good).unwrap();
    let other = SegmentIds {
        store: StoreId(77),
        ..ids()
    };
    let error = SegmentLog::open(sample.dir(), other.clone(), CONFIG).unwrap_err();
    assert!(matches!(error, LogError::Foreign { .. }), "{error}");
    let found = Damage::find(&OsStorage, sample.dir(), &other, CONFIG, error.clone());
    assert_eq!(found.unwrap_err().to_string(), error.to_string());
    assert!(picture(sample.dir()) == sample.files);
}

#[test]
fn two_copies_that_are_damaged_at_different_places_mend_each_other() {
    let (one, other) = (Sample::new(), Sample::new());
    assert!(one.all.bytes() == other.all.bytes());
    for (number, (path, good)) in one.files.iter().enumerate().take(3) {
        for at in [0, 30, 159, 170, 300, 1000] {
            let mut bytes = good.clone();
            bytes[at] ^= 4;
            fs::write(path, &bytes).unwrap();
            // The other one is damaged everywhere else.
            for (elsewhere, (path, good)) in other.files.iter().enumerate() {
                let mut bytes = good.clone();
                let places = places(good);
                for place in &places[..places.len() - 1] {
                    let is_near = elsewhere == number && (*place <= at) && at < place + 700;
                    if !is_near {
                        bytes[place + 30] ^= 1;
                    }
                }
                fs::write(path, &bytes).unwrap();
            }
            let config = CONFIG;
            let error = SegmentLog::open(one.dir(), ids(), config).unwrap_err();
            let damage = Damage::find(&OsStorage, one.dir(), &ids(), config, error).unwrap();
            let mut salvage = Salvage::open(OsStorage, other.dir()).unwrap();
            if let Some(fit) = damage.fit_of_nothing() {
                damage.fill(&OsStorage, &[], fit).unwrap();
            } else {
                let mut filling = Filling::new(damage.gap.clone().unwrap(), Planted::NONE);
                let fit = loop {
                    let read = salvage.read(filling.end(), 100).unwrap();
                    assert!(!read.is_empty(), "byte {at} of {number}");
                    if let Some(fit) = filling.take(read).unwrap() {
                        break fit;
                    }
                };
                damage.fill(&OsStorage, &filling.into_bytes(), fit).unwrap();
            }
            assert!(picture(one.dir()) == one.files, "byte {at} of {number}");
        }
    }
}

//! Which version of the machine a mended header says a log begins with: what is known to be right, and not the newest one.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::fs;
use std::path::{Path, PathBuf};

use crate::sample::{self, CONFIG, segments};
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, Command, EntryKind, LogTip, Upgrade, ViewStart,
};
use standin_core::gap::{Filling, Fit};
use standin_core::identity::{Durability, Incarnation, ReplicaName};
use standin_core::message::encode_payload;
use standin_core::planted::Planted;
use standin_core::segment::SegmentHeader;
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};
use standin_io::log::{Damage, LogError, Recovered, SegmentIds, SegmentLog};
use standin_io::storage::OsStorage;

/// The version that the log begins with.
const OLD: u32 = 3;
/// The newest one that the data directory knows of.
const NEW: u32 = 4;
/// Where a header says its format, and which byte of it this test damages.
const AT_FORMAT: usize = 8;
const AT_VIEW: usize = 56;

/// A log of several segments, whose first views say what `said` has for them.
struct Sample {
    root: tempfile::TempDir,
    all: Batch,
}

impl Sample {
    /// It goes over to the new version where a view says one.
    fn new(said: &[Option<u32>]) -> Self {
        let root = sample::root();
        let (mut log, _) = SegmentLog::open(root.path(), ids(OLD), CONFIG).unwrap();
        for (view, version) in (1..).zip(said) {
            log.append(&batch(log.tip(), view, |builder| {
                let start = view_start(*version);
                builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
            }))
            .unwrap();
            if version.is_some() {
                let upgrade = Upgrade { version: NEW };
                log.append(&batch(log.tip(), view, |builder| {
                    builder.push(EntryKind::Upgrade, |out| encode_payload(&upgrade, out));
                }))
                .unwrap();
            }
            for _ in 0..3 {
                log.append(&batch(log.tip(), view, commands)).unwrap();
            }
        }
        let all = Batch::verify(sample::contents(&log), LogTip::default()).unwrap();
        drop(log);
        Self { root, all }
    }

    fn dir(&self) -> &Path {
        self.root.path()
    }

    fn segment(&self, number: usize) -> PathBuf {
        segments(self.dir())[number].clone()
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.segment(number)).unwrap();
        change(&mut bytes);
        fs::write(self.segment(number), bytes).unwrap();
    }

    /// Mends the one place that is damaged, by a program that knows of the new version.
    fn mend(&self) -> Result<Recovered, LogError> {
        let error = SegmentLog::open(self.dir(), ids(NEW), CONFIG).unwrap_err();
        let damage = Damage::find(&OsStorage, self.dir(), &ids(NEW), CONFIG, error)?;
        let (bytes, fit) = match damage.fit_of_nothing() {
            Some(fit) => (Vec::new(), fit),
            None => self.missing(&damage),
        };
        damage.fill(&OsStorage, &bytes, fit)?;
        let (log, recovered) = SegmentLog::open(self.dir(), ids(NEW), CONFIG)?;
        assert_eq!(sample::contents(&log), self.all.bytes());
        Ok(recovered)
    }

    /// What is missing, from another copy.
    fn missing(&self, damage: &Damage) -> (Vec<u8>, Fit) {
        let mut filling = Filling::new(damage.gap.clone().unwrap(), Planted::NONE);
        let bytes = self.all.bytes_from(damage.last.index.next());
        let fit = filling.take(bytes).unwrap().unwrap();
        (filling.into_bytes(), fit)
    }

    fn first_header(&self) -> SegmentHeader {
        SegmentHeader::decode(&fs::read(self.segment(0)).unwrap()).unwrap()
    }
}

fn ids(version: u32) -> SegmentIds {
    let ids = sample::ids();
    SegmentIds {
        machine: ids.machine.with_version(version),
        ..ids
    }
}

fn batch(tip: LogTip, view: u64, push: impl FnOnce(&mut BatchBuilder)) -> Batch {
    let stamp = BatchStamp {
        view: ViewNumber(view),
        time: WallTime(tip.time.0 + 1),
        seed: 42,
        commit: tip.index,
    };
    let mut builder = BatchBuilder::new(tip, stamp);
    push(&mut builder);
    builder.finish().unwrap()
}

fn commands(builder: &mut BatchBuilder) {
    for sequence in 1..=3 {
        let command = Command {
            session: 1,
            sequence,
            acknowledged: 0,
            bytes: &[0xa5; 700],
        };
        builder.push(EntryKind::Command, |out| command.encode(out));
    }
}

fn view_start(machine_version: Option<u32>) -> ViewStart {
    ViewStart {
        data_epoch: DataEpoch(0),
        primary: ReplicaName::new("a").unwrap(),
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: 1,
        sessions_max: 1,
        replies_bytes_max: 1,
        session_idle_min_ms: 1,
        skips: Vec::new(),
        machine_version,
    }
}

#[test]
fn the_first_view_that_says_a_version_says_that_of_the_beginning() {
    for said in [&[Some(OLD)][..], &[None, Some(OLD)]] {
        // A bad header alone, one with the first entries, and the whole segment.
        for bytes in [AT_VIEW..AT_VIEW + 1, AT_VIEW..1500, 0..usize::MAX] {
            let sample = Sample::new(said);
            sample.change(0, |file| {
                let end = bytes.end.min(file.len());
                file[bytes.start..end].fill(0xff);
            });
            let recovered = sample.mend().unwrap();
            let what = format!("{said:?}, bytes {bytes:?}");
            assert_eq!(recovered.header_version, Some(OLD), "{what}");
            assert_eq!(sample.first_header().machine.version(), OLD, "{what}");
        }
    }
}

#[test]
fn a_first_segment_that_is_missing_is_made_anew_with_the_version_that_the_log_begins_with() {
    let sample = Sample::new(&[None, Some(OLD)]);
    fs::remove_file(sample.segment(0)).unwrap();
    sample.mend().unwrap();
    assert_eq!(sample.first_header().machine.version(), OLD);
}

#[test]
fn where_no_view_says_a_version_a_header_of_an_old_format_does() {
    let sample = Sample::new(&[None, None]);
    sample.change(1, |file| file[AT_FORMAT] = 4);
    sample.change(0, |file| file[AT_VIEW] ^= 1);
    assert_eq!(sample.mend().unwrap().header_version, Some(OLD));
}

#[test]
fn what_a_view_says_behind_entries_that_are_missing_says_nothing_of_the_beginning() {
    let sample = Sample::new(&[None, Some(OLD), Some(NEW)]);
    let mut entries = sample.all.entries();
    let third = entries.find(|entry| entry.header.view == ViewNumber(3));
    let third = third.unwrap().header.index;
    let first_of = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>();
    let files = segments(sample.dir());
    let with_third = files
        .iter()
        .rposition(|it| first_of(it).unwrap() <= third.0);
    for path in &files[1..with_third.unwrap()] {
        fs::remove_file(path).unwrap();
    }
    sample.change(0, |file| file[AT_VIEW] ^= 1);
    let error = sample.mend().unwrap_err();
    assert!(
        matches!(error, LogError::BeginningUnknown { .. }),
        "{error}"
    );
}

#[test]
fn where_nothing_says_the_version_nothing_is_changed() {
    let sample = Sample::new(&[None, None]);
    sample.change(0, |file| file[AT_VIEW] ^= 1);
    let read = || {
        segments(sample.dir())
            .into_iter()
            .map(|it| fs::read(it).unwrap())
    };
    let before: Vec<Vec<u8>> = read().collect();
    let error = sample.mend().unwrap_err();
    assert!(
        matches!(&error, LogError::BeginningUnknown { file } if *file == sample.segment(0)),
        "{error}"
    );
    assert!(read().eq(before), "as it was");
    assert!(!error.is_damage() && !error.may_have_lost_writes());
}

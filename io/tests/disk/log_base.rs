//! A log that goes on from a snapshot: where it begins, what of it is forgotten, how it begins anew, and one
//! test per row about the two in the table in `docs/format.md`, on real files.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::sample::{CONFIG, batch, ids, segments, used};
use standin_core::entry::{Batch, BatchBuilder, BatchStamp, EntryKind, Index, LogTip, ViewStart};
use standin_core::identity::{Durability, Incarnation, ReplicaName, StoreId};
use standin_core::message::encode_payload;
use standin_core::segment::SEGMENT_HEADER_BYTES;
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};
use standin_io::data_dir::{DataDir, DataDirError};
use standin_io::log::{
    LogBase, LogConfig, LogError, Recovered, SegmentLog, Superseded, SupersededBy,
};
use standin_io::snapshots::Snapshots;

/// A log, and what its end was after each entry, the empty log's first.
struct Sample {
    root: tempfile::TempDir,
    tips: Vec<LogTip>,
    bytes: Vec<u8>,
}

const EPOCH: DataEpoch = DataEpoch(0);

impl Sample {
    /// Several segments of 90 entries in three views.
    fn new() -> Self {
        let root = crate::sample::root();
        let (mut log, _) = crate::sample::open(root.path());
        let tips = crate::sample::fill(&mut log, 45);
        let bytes = crate::sample::contents(&log);
        assert!(segments(root.path()).len() > 3);
        Self { root, tips, bytes }
    }

    fn dir(&self) -> &Path {
        self.root.path()
    }

    fn last(&self) -> usize {
        self.tips.len() - 1
    }

    /// A snapshot's that stands at entry `index`.
    fn base(&self, index: usize) -> LogBase {
        let tip = self.tips[index];
        let view_first = self.tips.iter().position(|one| one.view == tip.view);
        LogBase {
            tip,
            view_first: Index(view_first.unwrap() as u64),
            data_epoch: EPOCH,
        }
    }

    /// The entries from `first` on.
    fn from(&self, first: usize) -> &[u8] {
        if first > self.last() {
            return &[];
        }
        let all = Batch::verify(self.bytes.clone(), LogTip::default()).unwrap();
        let length = all.bytes_from(Index(first as u64)).len();
        &self.bytes[self.bytes.len() - length..]
    }

    /// The first entries of the segments.
    fn firsts(&self) -> Vec<usize> {
        let first = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        segments(self.dir()).into_iter().map(first).collect()
    }
}

fn config(base: LogBase) -> LogConfig {
    LogConfig {
        base: Some(base),
        ..CONFIG
    }
}

fn try_open(dir: &Path, base: LogBase) -> Result<(SegmentLog, Recovered), LogError> {
    SegmentLog::open(dir, ids(), config(base))
}

fn open(dir: &Path, base: LogBase) -> (SegmentLog, Recovered) {
    try_open(dir, base).unwrap()
}

/// All entries of a log, by reading it from its first on.
fn contents(log: &SegmentLog) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = log.first();
    while next <= log.tip().index {
        let read = log.read(next, 1000).unwrap();
        let mut rest = &read[..];
        while !rest.is_empty() {
            let entry = standin_core::entry::Entry::decode(rest).unwrap();
            assert_eq!(entry.header.index, next);
            next = next.next();
            rest = &rest[usize::try_from(entry.header.length).unwrap()..];
        }
        bytes.extend_from_slice(&read);
    }
    bytes
}

/// Every file in the log's directory and among what was cut, and its bytes.
fn picture(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in ["log", "cut"] {
        for entry in fs::read_dir(dir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            files.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    files.sort();
    files
}

/// Opening must fail, name a file, and change nothing.
fn refused(dir: &Path, config: LogConfig) -> LogError {
    let before = picture(dir);
    let error = SegmentLog::open(dir, ids(), config).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(".log") && text.contains("nothing was changed"),
        "{text}"
    );
    assert!(!text.contains('\n'), "{text}");
    assert!(picture(dir) == before, "a refused log was changed: {text}");
    error
}

/// The entries in a file in `cut/`.
fn kept(superseded: &Superseded) -> Vec<u8> {
    let path = superseded.kept.as_ref().expect("something was kept");
    fs::read(path).unwrap()[SEGMENT_HEADER_BYTES..].to_vec()
}

/// The log begins right after the snapshot, has no entry, goes on, and is good when it is opened again.
fn begins_after(base: LogBase, dir: &Path, mut log: SegmentLog, found: &Recovered) {
    assert_eq!((log.tip(), found.tip), (base.tip, base.tip));
    assert_eq!(log.first(), base.tip.index.next());
    assert_eq!(log.durable(), base.tip.index);
    assert_eq!(found.view_starts, [(base.tip.view, base.view_first)]);
    assert_eq!(
        (found.data_epoch, found.commit),
        (base.data_epoch, base.tip.index)
    );
    assert_eq!(log.read(log.first(), 100).unwrap(), []);
    let next = batch(log.tip(), 9, 3, 50);
    log.append(&next).unwrap();
    assert_eq!(log.read(log.first(), 10_000).unwrap(), next.bytes());
    // Also what follows is cut only as far as the snapshot.
    log.cut(base.tip.index).unwrap();
    assert_eq!(log.tip(), base.tip);
    log.append(&next).unwrap();
    drop(log);
    let (log, again) = open(dir, base);
    assert_eq!((again.tip, again.superseded), (next.tip(), None));
    assert_eq!(contents(&log), next.bytes());
    assert_eq!(again.left_over, Vec::<PathBuf>::new());
}

#[test]
fn row_log_without_snapshot_begins_at_entry_1() {
    let sample = Sample::new();
    let (log, found) = crate::sample::open(sample.dir());
    assert_eq!(
        (log.first(), found.tip),
        (Index(1), sample.tips[sample.last()])
    );
    assert_eq!(contents(&log), sample.bytes);
}

#[test]
fn a_whole_log_goes_on_from_a_snapshot_at_any_of_its_entries() {
    let sample = Sample::new();
    let (_, whole) = crate::sample::open(sample.dir());
    for index in 1..=sample.last() {
        let (log, found) = open(sample.dir(), sample.base(index));
        assert_eq!((log.first(), log.tip()), (Index(1), whole.tip));
        assert_eq!(found.view_starts, whole.view_starts, "{index}");
        assert_eq!(found.commit, whole.commit.max(Index(index as u64)));
        assert_eq!((found.superseded, found.left_over), (None, Vec::new()));
    }
    assert_eq!(segments(sample.dir()).len(), sample.firsts().len());
}

#[test]
fn row_earlier_segments_are_missing() {
    let sample = Sample::new();
    let firsts = sample.firsts();
    let (_, whole) = crate::sample::open(sample.dir());
    for (number, path) in segments(sample.dir()).into_iter().enumerate() {
        let first = firsts[number];
        for index in 1..=sample.last() {
            if index + 1 < first {
                let error = refused(sample.dir(), config(sample.base(index)));
                let at = (Index(index as u64), Index(first as u64 - 1));
                assert!(
                    matches!(error, LogError::Missing { expected, found, .. } if (expected, found) == at),
                    "{error}"
                );
                continue;
            }
            let (log, found) = open(sample.dir(), sample.base(index));
            assert_eq!((log.first(), found.tip), (Index(first as u64), whole.tip));
            // What begins in the log, and the view that the snapshot ends in.
            let view = sample.base(index).tip.view;
            let expected: Vec<_> = (whole.view_starts.iter().copied())
                .filter(|(one, at)| *at >= log.first() || *one == view)
                .collect();
            assert_eq!(
                found.view_starts, expected,
                "{index} of a log from {first} on"
            );
            assert_eq!(contents(&log), sample.from(first));
        }
        // Without a snapshot it is refused, unless it is whole.
        if first > 1 {
            refused(sample.dir(), CONFIG);
        }
        if number + 1 < firsts.len() {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn row_segment_missing_among_those_that_a_snapshot_covers() {
    for keeps_covered in [false, true] {
        let sample = Sample::new();
        let (files, firsts) = (segments(sample.dir()), sample.firsts());
        fs::remove_file(&files[2]).unwrap();
        for index in 1..firsts[3] - 1 {
            let error = refused(sample.dir(), config(sample.base(index)));
            assert!(matches!(error, LogError::Missing { .. }), "{error}");
        }
        let config = LogConfig {
            keeps_covered,
            ..config(sample.base(firsts[3] - 1))
        };
        let (log, found) = SegmentLog::open(sample.dir(), ids(), config).unwrap();
        assert_eq!(found.left_over, files[..2]);
        assert_eq!(contents(&log), sample.from(firsts[3]));
        assert_eq!(files[0].exists(), keeps_covered);
        assert_eq!(
            segments(sample.dir()).len(),
            firsts.len() - if keeps_covered { 1 } else { 3 }
        );
    }
}

#[test]
fn row_segment_right_after_the_snapshot_behind_others_that_end_elsewhere() {
    let first = Sample::new().firsts()[1];
    for count in [first - 3, first - 1, first + 5] {
        let sample = Sample::new();
        let old = crate::sample::root();
        let (mut log, _) = crate::sample::open(old.path());
        log.append(&batch(LogTip::default(), 1, count, 1)).unwrap();
        drop(log);
        let (files, old) = (segments(sample.dir()), segments(old.path()));
        assert_eq!(old.len(), 1);
        fs::copy(&old[0], &files[0]).unwrap();
        let (log, found) = open(sample.dir(), sample.base(first - 1));
        assert_eq!(found.left_over, files[..1], "{count}");
        assert_eq!(contents(&log), sample.from(first), "{count}");
        assert!(!files[0].exists(), "{count}");
    }
}

#[test]
fn row_log_ends_before_the_snapshot() {
    let sample = Sample::new();
    let whole = crate::sample::open(sample.dir()).1;
    // A log that was longer once: by one entry, and by many.
    for beyond in [1, 500] {
        let sample = Sample::new();
        let tip = LogTip {
            index: Index(sample.last() as u64 + beyond),
            chain: 77,
            ..whole.tip
        };
        let base = LogBase {
            tip,
            view_first: Index(1),
            data_epoch: EPOCH,
        };
        let (log, found) = open(sample.dir(), base);
        let superseded = found.superseded.clone().unwrap();
        assert_eq!(superseded.why, SupersededBy::EndsBefore(tip.index));
        assert_eq!(superseded.last, whole.tip.index);
        // What the log itself calls committed is in the snapshot. The rest is kept.
        let first_kept = usize::try_from(whole.commit.next().0).unwrap();
        assert_eq!(kept(&superseded), sample.from(first_kept));
        assert!(first_kept <= sample.last(), "something was");
        assert_eq!(segments(sample.dir()).len(), 1);
        begins_after(base, sample.dir(), log, &found);
    }
    // Of another data epoch, or where everything is to be kept: all of it.
    for (data_epoch, keeps_covered) in [(DataEpoch(1), false), (EPOCH, true)] {
        let sample = Sample::new();
        let mut base = sample.base(sample.last());
        base.tip.index.0 += 1;
        base.data_epoch = data_epoch;
        let config = LogConfig {
            keeps_covered,
            ..config(base)
        };
        let (log, found) = SegmentLog::open(sample.dir(), ids(), config).unwrap();
        assert_eq!(kept(found.superseded.as_ref().unwrap()), sample.bytes);
        begins_after(base, sample.dir(), log, &found);
    }
    // An empty one, as a replica has that has just been set up.
    let root = crate::sample::root();
    drop(crate::sample::open(root.path()));
    let base = sample.base(40);
    let (log, found) = open(root.path(), base);
    let superseded = found.superseded.clone().unwrap();
    assert_eq!((superseded.last, superseded.kept), (Index(0), None));
    begins_after(base, root.path(), log, &found);
}

#[test]
fn row_log_parts_from_the_snapshot() {
    let firsts = Sample::new().firsts();
    for index in [1, 2, 40, firsts[2] - 1, firsts[2], firsts[2] + 1, 90] {
        let sample = Sample::new();
        assert!(index <= sample.last());
        let mut base = sample.base(index);
        base.tip.chain ^= 1;
        base.tip.view = ViewNumber(9); // it is newer
        let (log, found) = open(sample.dir(), base);
        let superseded = found.superseded.clone().unwrap();
        assert_eq!(
            superseded.why,
            SupersededBy::Parts(base.tip.index),
            "{index}"
        );
        assert_eq!(kept(&superseded), sample.bytes);
        assert_eq!(segments(sample.dir()).len(), 1);
        begins_after(base, sample.dir(), log, &found);
    }
}

#[test]
fn row_log_is_newer_than_the_snapshot_and_does_not_go_on_from_it() {
    let sample = Sample::new();
    let mut parts = sample.base(30);
    parts.tip.chain ^= 1;
    let mut ends_before = sample.base(30);
    ends_before.tip.index = Index(1000);
    for base in [parts, ends_before] {
        assert!(base.tip.view < sample.tips[sample.last()].view);
        let error = refused(sample.dir(), config(base));
        assert!(matches!(error, LogError::Newer { .. }), "{error}");
    }
}

/// A batch that begins a view of a data epoch.
fn view_start(tip: LogTip, view: u64, data_epoch: u32) -> Batch {
    let stamp = BatchStamp {
        view: ViewNumber(view),
        time: WallTime(tip.time.0 + 1),
        seed: 42,
        commit: Index::ZERO,
    };
    let start = ViewStart {
        data_epoch: DataEpoch(data_epoch),
        primary: ReplicaName::new("a").unwrap(),
        incarnation: Incarnation { start: 1, nonce: 2 },
        durability: Durability::Os,
        session_timeout_ms: 1,
        sessions_max: 1,
        replies_bytes_max: 1,
        session_idle_min_ms: 1,
        skips: Vec::new(),
        machine_version: Some(1),
    };
    let mut builder = BatchBuilder::new(tip, stamp);
    builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
    builder.finish().unwrap()
}

#[test]
fn row_log_of_a_higher_data_epoch_never_gives_way() {
    let root = crate::sample::root();
    let (mut log, _) = crate::sample::open(root.path());
    log.append(&view_start(log.tip(), 1, 1)).unwrap();
    log.append(&view_start(log.tip(), 2, 2)).unwrap();
    let tip = log.tip();
    drop(log);
    let base = |data_epoch| LogBase {
        tip: LogTip {
            index: Index(50),
            ..tip
        },
        view_first: Index(2),
        data_epoch: DataEpoch(data_epoch),
    };
    let error = refused(root.path(), config(base(1)));
    assert!(matches!(error, LogError::Newer { .. }), "{error}");
    let (log, found) = open(root.path(), base(2));
    assert!(found.superseded.is_some());
    drop(log);
    // The data epoch is the snapshot's, until a view of a higher one begins behind it.
    let (mut log, found) = open(root.path(), base(2));
    assert_eq!(found.data_epoch, DataEpoch(2));
    log.append(&view_start(log.tip(), 7, 3)).unwrap();
    drop(log);
    let (_, found) = open(root.path(), base(2));
    assert_eq!(found.data_epoch, DataEpoch(3));
    let starts = [(ViewNumber(2), Index(2)), (ViewNumber(7), Index(51))];
    assert_eq!(found.view_starts, starts);
}

#[test]
fn a_torn_end_before_the_snapshot_is_cut_off_and_the_log_begins_anew() {
    let sample = Sample::new();
    let mut base = sample.base(sample.last());
    base.tip.index.0 += 10;
    let last = segments(sample.dir()).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let end = used(&bytes);
    bytes[end - 1] = 0;
    fs::write(&last, bytes).unwrap();
    let (log, found) = open(sample.dir(), base);
    assert!(found.torn.is_some());
    assert_eq!(
        found.superseded.as_ref().unwrap().last.0 + 1,
        sample.last() as u64
    );
    begins_after(base, sample.dir(), log, &found);
}

/// A log of which a power loss has left entries behind a gap: 31 is missing, and the last entry calls
/// `commit` committed. It says where the missing one was, too.
fn log_with_a_gap(commit: u64) -> Sample {
    let root = crate::sample::root();
    let (mut log, _) = crate::sample::open(root.path());
    let mut tips = vec![log.tip()];
    for number in 1..=60 {
        let known = if number == 60 { commit } else { number.min(20) };
        let next = crate::sample::batch_knowing(Index(known), log.tip(), 1, 1, 100);
        log.append(&next).unwrap();
        tips.push(log.tip());
        if number == 31 {
            let file = segments(root.path()).pop().unwrap();
            let end = used(&fs::read(&file).unwrap());
            fs::write(root.path().join("place"), format!("{end}")).unwrap();
            fs::write(root.path().join("file"), file.to_str().unwrap()).unwrap();
        }
    }
    let bytes = crate::sample::contents(&log);
    drop(log);
    let read = |name| fs::read_to_string(root.path().join(name)).unwrap();
    let (file, end): (_, usize) = (read("file"), read("place").parse().unwrap());
    let mut harmed = fs::read(&file).unwrap();
    harmed[end - 30] ^= 1;
    fs::write(file, harmed).unwrap();
    Sample { root, tips, bytes }
}

#[test]
fn row_gap_that_the_snapshot_covers_is_no_loss() {
    let after_loss = |base, may_be_holder| LogConfig {
        may_have_lost_writes: true,
        may_be_holder,
        ..config(base)
    };
    // The snapshot has what is missing, and nothing beyond it was called committed.
    let sample = log_with_a_gap(40);
    let base = sample.base(40);
    refused(sample.dir(), config(base));
    refused(sample.dir(), after_loss(sample.base(39), true));
    let config = after_loss(base, true);
    let (log, found) = SegmentLog::open(sample.dir(), ids(), config).unwrap();
    assert!(found.torn.as_ref().unwrap().entries > 0);
    let why = found.superseded.as_ref().unwrap().why;
    assert_eq!(why, SupersededBy::EndsBefore(Index(40)));
    begins_after(base, sample.dir(), log, &found);
    // The log itself goes on up to the snapshot, and the gap comes later.
    let sample = log_with_a_gap(29);
    let config = after_loss(sample.base(30), true);
    let (log, found) = SegmentLog::open(sample.dir(), ids(), config).unwrap();
    assert_eq!((log.tip(), found.superseded), (sample.tips[30], None));
    // Something beyond the snapshot was called committed: only who is no holder may be without it.
    let sample = log_with_a_gap(41);
    refused(sample.dir(), after_loss(base, true));
    let config = after_loss(sample.base(40), false);
    let (_, found) = SegmentLog::open(sample.dir(), ids(), config).unwrap();
    assert_eq!(found.torn.unwrap().commit, Index(41));
}

#[test]
fn row_damage_in_what_a_snapshot_covers_is_damage_until_it_is_moved_away() {
    let sample = Sample::new();
    let (files, firsts) = (segments(sample.dir()), sample.firsts());
    let base = sample.base(firsts[2] + 3);
    let mut bytes = fs::read(&files[1]).unwrap();
    bytes[200] ^= 1;
    fs::write(&files[1], bytes).unwrap();
    let error = refused(sample.dir(), config(base));
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
    fs::remove_file(&files[1]).unwrap();
    let (log, found) = open(sample.dir(), base);
    assert_eq!(found.left_over, files[..1]);
    assert_eq!(contents(&log), sample.from(firsts[2]));
}

fn name() -> ReplicaName {
    ReplicaName::new("a").unwrap()
}

fn open_dir(dir: &Path) -> Result<DataDir, DataDirError> {
    DataDir::open(dir, &name(), &ids().machine, StoreId(2)).map(|(dir, _)| dir)
}

/// A snapshot of the log in `sample`, at entry `index`.
fn write_snapshot(snapshots: &Snapshots, sample: &Sample, index: usize) {
    let base = sample.base(index);
    let point = crate::sample::snapshots::point_at(base.data_epoch.0, base.tip, base.view_first);
    let written = snapshots.write(snapshots.ticket(), point, |out| out.write_all(b"state"));
    assert_eq!(LogBase::of(&written.unwrap().unwrap().point), base);
}

/// A data directory with a log and snapshots at these entries.
fn data_dir_with(at: &[usize]) -> (Sample, Snapshots) {
    let root = crate::sample::root();
    let dir = open_dir(root.path()).unwrap();
    let (mut log, _) = crate::sample::open(root.path());
    let tips = crate::sample::fill(&mut log, 45);
    let bytes = crate::sample::contents(&log);
    drop((dir, log));
    let sample = Sample { root, tips, bytes };
    let snapshots = crate::sample::snapshots::open(sample.dir());
    for index in at {
        write_snapshot(&snapshots, &sample, *index);
    }
    (sample, snapshots)
}

#[test]
fn row_snapshot_without_log() {
    // It had one when the meta file was written, and it had none yet.
    for is_noted in [false, true] {
        let (sample, _) = data_dir_with(&[40]);
        if is_noted {
            let mut dir = open_dir(sample.dir()).unwrap();
            let meta = dir.meta().clone();
            dir.store(meta).unwrap();
            assert!(dir.meta().has_log);
        }
        for path in segments(sample.dir()) {
            fs::remove_file(path).unwrap();
        }
        let error = open_dir(sample.dir()).unwrap_err();
        assert!(matches!(error, DataDirError::LogLost { .. }), "{error}");
        fs::remove_dir(sample.dir().join("log")).unwrap();
        let error = open_dir(sample.dir()).unwrap_err();
        assert!(matches!(error, DataDirError::LogLost { .. }), "{error}");
    }
    // Whoever makes a directory from a snapshot makes the log that goes on from it.
    let root = crate::sample::root();
    let base = Sample::new().base(40);
    let (log, found) = open(root.path(), base);
    assert_eq!(found.superseded, None);
    begins_after(base, root.path(), log, &found);
}

/// What a start makes of it: the snapshot that it goes on from, and the log.
fn start(dir: &Path) -> (Option<LogBase>, Result<(SegmentLog, Recovered), LogError>) {
    let _dir = open_dir(dir).unwrap();
    let newest = crate::sample::snapshots::open(dir).newest().unwrap();
    let base = newest
        .snapshot
        .map(|file| LogBase::of(&file.header().point));
    let config = LogConfig { base, ..CONFIG };
    (base, SegmentLog::open(dir, ids(), config))
}

fn rot(dir: &Path, index: usize) {
    let path = crate::sample::snapshots::snapshot_path(dir, index as u64);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn row_damaged_snapshot_with_an_older_good_one_and_the_log_from_there() {
    let (sample, snapshots) = data_dir_with(&[20, 40, 60]);
    let (base, log) = start(sample.dir());
    assert_eq!(base, Some(sample.base(60)));
    let (mut log, _) = log.unwrap();
    snapshots
        .forget_before(snapshots.ticket(), Index(40))
        .unwrap();
    log.forget(Index(40)).unwrap();
    assert!(log.first() > Index(1) && log.first() <= Index(41));
    let first = usize::try_from(log.first().0).unwrap();
    drop(log);
    rot(sample.dir(), 60);
    let (base, log) = start(sample.dir());
    assert_eq!(base, Some(sample.base(40)));
    let (log, found) = log.unwrap();
    assert_eq!(
        (found.tip, found.superseded),
        (sample.tips[sample.last()], None)
    );
    assert_eq!(contents(&log), sample.from(first));
}

#[test]
fn row_damaged_only_snapshot_and_the_log_from_1_whole() {
    let (sample, _) = data_dir_with(&[40]);
    let (_, log) = start(sample.dir());
    log.unwrap();
    rot(sample.dir(), 40);
    let (base, log) = start(sample.dir());
    assert_eq!(base, None);
    assert_eq!(contents(&log.unwrap().0), sample.bytes);
}

#[test]
fn row_damaged_only_snapshot_and_the_log_forgotten() {
    let (sample, _) = data_dir_with(&[60]);
    let (_, log) = start(sample.dir());
    log.unwrap().0.forget(Index(60)).unwrap();
    rot(sample.dir(), 60);
    let (base, log) = start(sample.dir());
    assert_eq!(base, None);
    let error = log.unwrap_err();
    assert!(matches!(error, LogError::Missing { .. }), "{error}");
    // And so it stays: it never passes for a fresh one.
    refused(sample.dir(), CONFIG);
    for path in segments(sample.dir()) {
        fs::remove_file(path).unwrap();
    }
    let mut dir = fs::read_dir(sample.dir().join("snapshots")).unwrap();
    assert!(dir.any(|entry| {
        entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .ends_with(".bad")
    }));
}

#[test]
fn whole_segments_that_a_snapshot_covers_are_forgotten_and_no_others() {
    let firsts = Sample::new().firsts();
    for through in [
        0,
        1,
        firsts[1] - 2,
        firsts[1] - 1,
        firsts[1],
        firsts[3] - 1,
        90,
    ] {
        let sample = Sample::new();
        let last = sample.last();
        let (mut log, _) = crate::sample::open(sample.dir());
        log.forget(Index(through as u64)).unwrap();
        let gone = firsts[1..]
            .iter()
            .take_while(|first| **first <= through + 1);
        let first = firsts[gone.count()];
        assert_eq!(sample.firsts()[0], first, "{through}");
        assert_eq!(log.first(), Index(first as u64));
        assert_eq!(contents(&log), sample.from(first));
        let read = |from: usize| catch_unwind(AssertUnwindSafe(|| log.read(Index(from as u64), 1)));
        assert!(
            read(first).is_ok() && read(first - 1).is_err(),
            "not what is gone"
        );
        // Nothing of what the snapshot covers is ever cut.
        if through > 0 {
            let after = Index(through as u64 - 1);
            assert!(catch_unwind(AssertUnwindSafe(|| log.cut(after).is_ok())).is_err());
            assert_eq!(contents(&log), sample.from(first));
            log.cut(Index(through as u64)).unwrap();
            assert_eq!(log.tip(), sample.tips[through]);
            drop(log);
            let (log, found) = open(sample.dir(), sample.base(through));
            assert_eq!((found.tip, found.superseded), (sample.tips[through], None));
            assert!(through < last || contents(&log) == sample.from(first));
        }
    }
}

#[test]
fn nothing_is_forgotten_where_everything_is_kept_or_the_rest_is_not_on_disk() {
    let sample = Sample::new();
    let keeps = LogConfig {
        keeps_covered: true,
        ..CONFIG
    };
    let (mut log, _) = SegmentLog::open(sample.dir(), ids(), keeps).unwrap();
    log.forget(Index(90)).unwrap();
    assert_eq!(contents(&log), sample.bytes);
    drop(log);
    // The header of the segment that the log would begin with may not be on disk yet.
    let root = crate::sample::root();
    let (mut log, _) = crate::sample::open(root.path());
    crate::sample::fill(&mut log, 45);
    assert!(log.forget_request(Index(90)).is_none());
    log.sync_now().unwrap();
    let before = segments(root.path()).len();
    let request = log.forget_request(Index(90)).unwrap();
    assert_eq!(segments(root.path()).len(), before, "not before it is run");
    request.run().unwrap();
    assert_eq!(segments(root.path()).len(), 1);
}

#[test]
fn a_log_begins_anew_after_a_snapshot_that_was_received() {
    let firsts = Sample::new().firsts();
    // Far beyond the end, right behind it, and where the log has entries of its own.
    for index in [500, 91, 90, firsts[2] - 1, firsts[2], 5] {
        let sample = Sample::new();
        let (mut log, _) = crate::sample::open(sample.dir());
        let base = LogBase {
            tip: LogTip {
                index: Index(index as u64),
                view: ViewNumber(9),
                chain: 99,
                time: WallTime(1 << 40),
            },
            view_first: Index(1),
            data_epoch: DataEpoch(4),
        };
        // A sync and a segment that are under way.
        let next = batch(log.tip(), 3, 1, 50);
        log.append(&next).unwrap();
        let sync = log.sync_request().unwrap();
        let prepared = log.prepare_request().map(|request| request.run().unwrap());
        let kept = log.begin_after(base, Index::ZERO).unwrap().unwrap();
        sync.run().unwrap();
        assert_eq!(sync.complete(), None, "of entries that are gone");
        if let Some(prepared) = prepared {
            log.take_prepared(prepared);
        }
        assert_eq!(
            fs::read(kept).unwrap()[160..],
            [&sample.bytes, next.bytes()].concat()
        );
        let found = Recovered {
            tip: base.tip,
            view_starts: vec![(base.tip.view, base.view_first)],
            data_epoch: base.data_epoch,
            skips: Vec::new(),
            version_starts: standin_core::version::VersionStarts::default(),
            header_version: Some(1),
            commit: base.tip.index,
            torn: None,
            superseded: None,
            left_over: Vec::new(),
        };
        begins_after(base, sample.dir(), log, &found);
        // It rolls, forgets and cuts like any other.
        let (mut log, _) = open(sample.dir(), base);
        while segments(sample.dir()).len() < 4 {
            let next = batch(log.tip(), 9, 2, 200);
            log.append(&next).unwrap();
        }
        log.sync_now().unwrap();
        log.forget(log.tip().index).unwrap();
        assert_eq!(segments(sample.dir()).len(), 1);
        drop(log);
        let error = refused(sample.dir(), config(base));
        assert!(matches!(error, LogError::Missing { .. }), "{error}");
    }
}

#[test]
fn what_is_known_to_be_in_the_snapshot_is_not_kept_as_a_tail() {
    for (covered, first_kept) in [(0, Some(1)), (40, Some(41)), (89, Some(90)), (90, None)] {
        let sample = Sample::new();
        let (mut log, _) = crate::sample::open(sample.dir());
        let mut base = sample.base(90);
        base.tip.index = Index(200);
        let kept = log.begin_after(base, Index(covered)).unwrap();
        let bytes = kept.map(|path| fs::read(path).unwrap()[160..].to_vec());
        assert_eq!(bytes, first_kept.map(|first| sample.from(first).to_vec()));
        assert_eq!((log.tip(), log.first()), (base.tip, Index(201)));
    }
}

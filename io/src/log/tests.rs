//! What needs to reach into the log: writes and syncs that fail.

use std::fs::{self, OpenOptions};
use std::sync::mpsc::channel;
use std::time::Duration;

use standin_core::entry::{BatchBuilder, BatchStamp, EntryKind};
use standin_core::time::WallTime;
use standin_core::view::ViewNumber;

use super::*;
use crate::log_thread::{LogDone, LogThread};

const CONFIG: LogConfig = LogConfig {
    segment_bytes: SEGMENT_BYTES_MIN,
    may_have_lost_writes: false,
    may_be_holder: true,
    base: None,
    keeps_covered: false,
};

fn open(dir: &Path) -> SegmentLog {
    let ids = SegmentIds {
        cluster: ClusterId(1),
        store: StoreId(2),
        machine: MachineId::new("counter", 1).unwrap(),
    };
    SegmentLog::open(dir, ids, CONFIG).unwrap().0
}

fn batch(tip: LogTip) -> Batch {
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(1),
        seed: 2,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(tip, stamp);
    let kind = if tip.index == Index::ZERO {
        EntryKind::ViewStart
    } else {
        EntryKind::OpenSession
    };
    builder.push(kind, |out| out.extend_from_slice(&[7; 100]));
    builder.finish().unwrap()
}

/// A file that takes the place of a segment's.
fn fake(path: &str, writable: bool) -> Arc<OpenSegment<OsStorage>> {
    let file = OpenOptions::new()
        .read(true)
        .write(writable)
        .open(path)
        .unwrap();
    Arc::new(OpenSegment {
        path: PathBuf::from(path),
        file,
    })
}

#[test]
fn the_first_failed_write_is_final() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(root.path());
    let good = batch(log.tip());
    log.append(&good).unwrap();
    // A disk without room.
    let active = std::mem::replace(&mut log.active, fake("/dev/full", true));
    let next = batch(log.tip());
    let error = log.append(&next).unwrap_err();
    assert!(matches!(error, LogError::Io { .. }), "{error}");
    assert_eq!(log.tip(), good.tip());
    // There is room again, and that changes nothing.
    log.active = active;
    assert!(matches!(log.append(&next), Err(LogError::Failed)));
    assert!(matches!(log.cut(Index::ZERO), Err(LogError::Failed)));
    assert!(matches!(log.sync_now(), Err(LogError::Failed)));
    assert!(log.sync_request().is_none());
    assert_eq!(log.durable(), Index::ZERO);
    // What was there before can still be read, and is there after a restart.
    assert_eq!(log.read(Index(1), 1000).unwrap(), good.bytes());
    drop(log);
    let mut log = open(root.path());
    assert_eq!(log.tip(), good.tip());
    log.append(&next).unwrap();
}

#[test]
fn a_failed_roll_is_final() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(root.path());
    // The name that the next segment would be prepared under is taken.
    fs::create_dir(root.path().join("log/next-1")).unwrap();
    let error = loop {
        let next = batch(log.tip());
        if let Err(error) = log.append(&next) {
            break error;
        }
    };
    assert!(matches!(error, LogError::Io { .. }), "{error}");
    fs::remove_dir(root.path().join("log/next-1")).unwrap();
    let next = batch(log.tip());
    assert!(matches!(log.append(&next), Err(LogError::Failed)));
}

#[test]
fn a_failed_cut_is_final() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(root.path());
    for _ in 0..5 {
        let next = batch(log.tip());
        log.append(&next).unwrap();
    }
    fs::remove_dir(root.path().join("cut")).unwrap();
    log.cut(Index(2)).unwrap_err();
    let next = batch(log.tip());
    assert!(matches!(log.append(&next), Err(LogError::Failed)));
}

#[test]
fn a_failed_sync_is_reported_once_and_never_tried_again() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(root.path());
    let next = batch(log.tip());
    log.append(&next).unwrap();
    let (sender, wakes) = channel();
    let thread = LogThread::start(move || sender.send(()).unwrap_or_default());
    // The kernel cannot sync a device without storage.
    let active = std::mem::replace(&mut log.active, fake("/dev/null", false));
    thread.sync(log.sync_request().unwrap());
    wakes.recv_timeout(Duration::from_secs(30)).unwrap();
    // The log knows at once, before anybody has polled.
    log.active = active;
    let next = batch(log.tip());
    assert!(matches!(log.append(&next), Err(LogError::Failed)));
    let error = thread.poll().unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Io {
                doing: "syncing",
                ..
            }
        ),
        "{error}"
    );
    assert!(thread.poll().is_none());
    assert_eq!(log.durable(), Index::ZERO);
    // A request from before the failure was noticed is refused, good as its file may be. Syncs go
    // first, so it would be done before what comes after it.
    let files = vec![Arc::clone(&log.active)];
    thread.sync(SyncRequest::new(
        &OsStorage,
        files,
        None,
        Index(1),
        &log.state,
    ));
    thread.prepare(PrepareRequest {
        storage: OsStorage,
        path: root.path().join("log/next-9"),
        segment_bytes: CONFIG.segment_bytes,
        state: Arc::clone(&log.state),
    });
    wakes.recv_timeout(Duration::from_secs(30)).unwrap();
    let done = thread.poll().unwrap().unwrap();
    assert!(matches!(done, LogDone::Prepared { .. }), "{done:?}");
    assert_eq!(log.durable(), Index::ZERO);
}

#[test]
fn a_full_disk_is_asked_for_room_once_per_segment() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(root.path());
    let asked = |log: &mut SegmentLog| {
        let request = log.prepare_request()?;
        fs::create_dir(&request.path).unwrap(); // the name is taken, so that it fails
        Some(request.run().unwrap_err())
    };
    for _ in 0..3 {
        let here = log.segments.len();
        let mut times = 0;
        while log.segments.len() == here {
            let next = batch(log.tip());
            log.append(&next).unwrap();
            times += usize::from(asked(&mut log).is_some());
        }
        assert_eq!(times, 1);
    }
}

#[test]
fn a_sync_covers_every_segment_that_was_written_since_the_last_one() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(root.path());
    while log.segments.len() < 4 {
        let next = batch(log.tip());
        log.append(&next).unwrap();
    }
    let request = log.sync_request().unwrap();
    let segments: Vec<_> = log
        .segments
        .iter()
        .map(|segment| segment.path.clone())
        .collect();
    assert_eq!(request.paths(), segments);
    assert_eq!(request.dir(), Some(&*log.paths.log), "their names, too");
    // From then on only what is new.
    let next = batch(log.tip());
    log.append(&next).unwrap();
    let later = log.sync_request().unwrap();
    assert_eq!(later.paths(), [log.active.path.clone()]);
    assert_eq!(later.dir(), None);
    while log.segments.len() < 5 {
        let next = batch(log.tip());
        log.append(&next).unwrap();
    }
    let last = log.sync_request().unwrap();
    // Together they cover what each one does, each file once.
    let mut all = request;
    all.merge(later);
    assert_eq!(all.dir(), Some(&*log.paths.log));
    all.merge(last);
    let segments: Vec<_> = log
        .segments
        .iter()
        .map(|segment| segment.path.clone())
        .collect();
    assert_eq!(all.paths(), segments);
    assert_eq!(all.complete(), Some(log.tip().index));
    assert_eq!(log.sync_upkeep().map(|request| request.through()), None);
}

#[test]
fn a_cut_that_is_interrupted_leaves_a_whole_log() {
    for stop_at in 1..5 {
        let root = tempfile::tempdir().unwrap();
        let mut log = open(root.path());
        while log.segments.len() < 6 {
            let next = batch(log.tip());
            log.append(&next).unwrap();
        }
        // Removing fails where a file is gone already: what would have come after is not done, as
        // if the process had died there.
        let gone = log.segments[stop_at].clone();
        fs::remove_file(&gone.path).unwrap();
        let beyond = log.segments.drain(1..).map(|segment| segment.path);
        cut::remove_from_last(&log.storage, &log.paths.log, beyond).unwrap_err();
        drop(log);
        let log = open(root.path());
        assert_eq!(log.tip(), gone.before);
    }
}

#[test]
fn a_forgetting_that_is_interrupted_leaves_no_gap() {
    for stop_at in 0..4 {
        let root = tempfile::tempdir().unwrap();
        let mut log = open(root.path());
        while log.segments.len() < 6 {
            let next = batch(log.tip());
            log.append(&next).unwrap();
        }
        log.sync_now().unwrap();
        let paths: Vec<_> = log.segments.iter().map(|one| one.path.clone()).collect();
        let request = log.forget_request(log.tip().index).unwrap();
        // As above.
        fs::remove_file(&paths[stop_at]).unwrap();
        request.run().unwrap_err();
        let left: Vec<_> = paths.iter().map(|path| path.exists()).collect();
        let expected: Vec<_> = (0..6).map(|number| number > stop_at).collect();
        assert_eq!(left, expected);
        let next = batch(log.tip());
        assert!(matches!(log.append(&next), Err(LogError::Failed)));
    }
}

/// A log of some segments, all on disk.
fn with_segments(dir: &Path) -> SegmentLog {
    let mut log = open(dir);
    while log.segments.len() < 6 {
        let next = batch(log.tip());
        log.append(&next).unwrap();
    }
    log.sync_now().unwrap();
    log
}

/// The log that was begun anew is there, whole, and nothing of the one before.
fn check_anew(dir: &Path, mut log: SegmentLog) {
    let next = batch(log.tip());
    log.append(&next).unwrap();
    log.sync_now().unwrap();
    drop(log);
    let names = fs::read_dir(dir.join(LOG_DIR)).unwrap();
    let names: Vec<_> = names.map(|name| name.unwrap().file_name()).collect();
    assert_eq!(names, ["00000000000000000001.log"]);
    let log = open(dir);
    assert_eq!((log.first(), log.tip()), (Index(1), next.tip()));
}

#[test]
fn what_is_to_be_forgotten_is_nothing_of_a_log_that_was_begun_anew_meanwhile() {
    let root = tempfile::tempdir().unwrap();
    let mut log = with_segments(root.path());
    assert_eq!(log.first(), Index(1));
    let request = log.forget_request(log.tip().index).unwrap();
    log.begin_anew().unwrap();
    request.run().unwrap();
    check_anew(root.path(), log);
}

/// More than any disk has.
const NO_DISK_BYTES: u64 = 1 << 60;

#[test]
fn a_want_of_room_is_no_failure_and_ends_when_there_is_room() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(root.path());
    while log.segment().end < CONFIG.segment_bytes / 2 {
        log.append(&batch(log.tip())).unwrap();
    }
    let mut request = log.prepare_request().unwrap();
    request.segment_bytes = NO_DISK_BYTES;
    let path = request.path.clone();
    let error = request.run().unwrap_err();
    assert!(error.is_want_of_room(), "{error}");
    assert!(!path.exists(), "nothing is left of it");
    assert!(log.lack_room(error).unwrap().is_some());
    assert!(log.room().is_lacking);
    assert!(log.prepare_request().is_none(), "not before a pause");
    log.append(&batch(log.tip())).unwrap();

    log.retry_room();
    let segment = log.prepare_request().unwrap().run().unwrap();
    log.take_prepared(segment);
    let room = log.room();
    assert!(!room.is_lacking && room.next > 0, "{room:?}");
}

#[test]
fn what_is_left_comes_not_below_the_reserve_unnoticed() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(root.path());
    let reserve = reserve_bytes(CONFIG.segment_bytes);
    while log.room().here >= reserve {
        assert!(log.secure_room().unwrap().is_none());
        assert_eq!(log.room().next, 0, "it is the log thread's work");
        log.append(&batch(log.tip())).unwrap();
    }
    let late = log.prepare_request().unwrap();
    assert!(log.secure_room().unwrap().is_none());
    assert!(log.room().next > 0, "the log thread was too slow");
    // What it brings after all is one too many.
    let late = late.run().unwrap();
    let path = late.path.clone();
    log.take_prepared(late);
    assert!(!path.exists());
    assert!(log.room().next > 0);
}

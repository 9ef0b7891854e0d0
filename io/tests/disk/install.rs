//! A state that was fetched takes the place of what a replica has, on real files: wherever the process dies in the midst of
//! it, the next start finds what there was before, whole, or what was fetched.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use standin_core::entry::{Index, LogTip};
use standin_core::snapshot::{SnapshotHeader, SnapshotPoint, encode_snapshot};
use standin_core::time::WallTime;
use standin_core::view::ViewNumber;
use standin_io::data_dir::{DirLock, LockError};
use standin_io::install::{Finished, InstallError, finish_install, install};
use standin_io::log::{LogBase, LogConfig, SegmentLog};
use standin_io::snapshots::{Snapshots, SnapshotsError};
use standin_io::storage::{OsStorage, Storage, StorageFile};

use crate::sample::snapshots::{point_at, state_of};
use crate::sample::{CONFIG, batch, ids};

/// Real files, until the process dies: that is, so many changes later nothing works any more. What was
/// written until then is in the page cache, and stays.
#[derive(Clone, Debug)]
struct Mortal {
    changes_left: Arc<AtomicU64>,
    /// Whom the next removal tells that it begins, and who then says what came meanwhile.
    removal: Arc<Mutex<Option<Removal>>>,
    /// As long as one of these is there, there is no room.
    fills: Vec<PathBuf>,
}

type Removal = (Sender<()>, Receiver<()>);

/// How long a removal waits for what must not come meanwhile.
const MEANWHILE: Duration = Duration::from_millis(500);

impl Mortal {
    fn new(changes: u64) -> Self {
        let changes_left = Arc::new(AtomicU64::new(changes));
        let removal = Arc::default();
        Self {
            changes_left,
            removal,
            fills: Vec::new(),
        }
    }

    fn change(&self) -> io::Result<()> {
        let less = |left: u64| left.checked_sub(1);
        let left = &self.changes_left;
        let changed = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        changed.map_err(|_| io::Error::other("the process is dead"))?;
        Ok(())
    }

    fn file(&self, file: File) -> MortalFile {
        let of = self.clone();
        MortalFile { file, of }
    }
}

#[derive(Debug)]
struct MortalFile {
    file: File,
    of: Mortal,
}

impl Storage for Mortal {
    type File = MortalFile;
    type Lock = DirLock;

    fn open(&self, path: &Path) -> io::Result<MortalFile> {
        Ok(self.file(OsStorage.open(path)?))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<MortalFile> {
        Ok(self.file(OsStorage.open_to_read(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<MortalFile> {
        self.change()?;
        Ok(self.file(OsStorage.create(path)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<MortalFile> {
        self.change()?;
        Ok(self.file(OsStorage.create_new(path)?))
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        OsStorage.read(path, bytes_max)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        OsStorage.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        let removal = self.removal.lock().unwrap().take();
        if let Some((begins, meanwhile)) = removal {
            begins.send(()).unwrap();
            let came = meanwhile.recv_timeout(MEANWHILE);
            assert!(came.is_err(), "before {} was removed", path.display());
        }
        OsStorage.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        OsStorage.list(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        OsStorage.exists(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        OsStorage.is_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        OsStorage.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        OsStorage.sync_dir(path)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        if self.fills.iter().any(|path| path.exists()) {
            return Ok(0);
        }
        OsStorage.free_bytes(dir)
    }

    fn lock(&self, dir: &Path) -> Result<DirLock, LockError> {
        OsStorage.lock(dir)
    }
}

impl StorageFile for MortalFile {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        StorageFile::read_exact_at(&self.file, buffer, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Err(error) = self.of.change() {
            // The last write may have come halfway.
            StorageFile::write_all_at(&self.file, &bytes[..bytes.len() / 2], at)?;
            return Err(error);
        }
        StorageFile::write_all_at(&self.file, bytes, at)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.of.change()?;
        StorageFile::set_len(&self.file, length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.of.change()?;
        StorageFile::allocate(&self.file, length)
    }

    fn length(&self) -> io::Result<u64> {
        StorageFile::length(&self.file)
    }

    fn drop_cache(&self) -> io::Result<()> {
        StorageFile::drop_cache(&self.file)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.of.change()?;
        StorageFile::sync_data(&self.file)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.of.change()?;
        StorageFile::sync_all(&self.file)
    }
}

/// What the replica has: views 5 to 7 of data epoch 1, snapshots as of entries 40 and 80, and the log from the
/// first of them on.
fn prepare(dir: &Path) -> LogTip {
    let (mut log, _) = crate::sample::open(dir);
    let snapshots = crate::sample::snapshots::open(dir);
    for number in 0..90 {
        let next = batch(log.tip(), 5 + number / 40, 1, 150);
        log.append(&next).unwrap();
        if [40, 80].contains(&log.tip().index.0) {
            log.sync_now().unwrap();
            let point = point_at(1, log.tip(), Index(1));
            let state = state_of(log.tip().index.0, 300);
            let written = snapshots.write(snapshots.ticket(), point, |out| out.write_all(&state));
            written.unwrap();
        }
    }
    log.sync_now().unwrap();
    log.forget(Index(40)).unwrap();
    assert!(log.first() > Index(1), "the beginning is gone");
    log.tip()
}

/// A snapshot as of `index`, of another history.
fn fetched(data_epoch: u32, view: u64, index: u64) -> SnapshotPoint {
    let tip = LogTip {
        index: Index(index),
        view: ViewNumber(view),
        chain: 77,
        time: WallTime(1 << 40),
    };
    point_at(data_epoch, tip, Index(1))
}

/// Puts what was fetched in its place; the process dies after so many changes. Says whether it did.
fn install_until(dir: &Path, point: &SnapshotPoint, changes: u64) -> bool {
    let storage = Mortal::new(u64::MAX);
    let snapshots = open_snapshots(&storage, dir);
    let base = snapshots.newest().unwrap().snapshot.unwrap();
    let base = LogBase::of(&base.header().point);
    let config = LogConfig {
        base: Some(base),
        ..CONFIG
    };
    let (mut log, _) = SegmentLog::open_in(storage.clone(), dir, ids(), config).unwrap();
    let bytes = encode_snapshot(point.clone(), &state_of(point.tip.index.0, 200));
    let header = SnapshotHeader::decode(&bytes).unwrap();
    let mut receiving = snapshots.receive(&header).unwrap();
    let at = usize::try_from(receiving.at()).unwrap();
    receiving.put(receiving.at(), &bytes[at..]).unwrap();
    let checked = receiving.check().unwrap();
    storage.changes_left.store(changes, Ordering::Relaxed);
    let installed = install(&snapshots, &mut log, checked, Index::ZERO);
    installed.is_err()
}

fn open_snapshots(storage: &Mortal, dir: &Path) -> Snapshots<Mortal> {
    Snapshots::open_in(storage.clone(), dir, crate::sample::snapshots::ids()).unwrap()
}

/// What a start does before it opens the log; dies after so many changes.
fn begin_start(dir: &Path, changes: u64) -> Result<Finished, InstallError> {
    let storage = Mortal::new(u64::MAX);
    let snapshots = open_snapshots(&storage, dir);
    storage.changes_left.store(changes, Ordering::Relaxed);
    finish_install(&storage, dir, &snapshots, &ids(), CONFIG)
}

/// A start finds the one or the other, and both as they should be. Says whether it is what was fetched.
fn check(dir: &Path, own: LogTip, point: &SnapshotPoint) -> bool {
    begin_start(dir, u64::MAX).unwrap();
    let snapshots = crate::sample::snapshots::open(dir);
    let newest = snapshots.newest().unwrap();
    assert!(newest.damaged.is_empty(), "{:?}", newest.damaged);
    let newest = newest.snapshot.unwrap();
    let base = LogBase::of(&newest.header().point);
    let config = LogConfig {
        base: Some(base),
        ..CONFIG
    };
    let (log, recovered) = SegmentLog::open(dir, ids(), config).unwrap();
    assert_eq!(recovered.superseded, None);
    let mut state = Vec::new();
    newest.state().unwrap().read_to_end(&mut state).unwrap();
    let index = base.tip.index;
    let is_fetched = newest.header().point == *point;
    let names = fs::read_dir(dir.join("snapshots")).unwrap();
    let names = names.map(|name| name.unwrap().file_name().into_string().unwrap());
    let count = names.filter(|name| name.ends_with(".snap")).count();
    if is_fetched {
        assert_eq!(state, state_of(index.0, 200));
        assert_eq!((log.tip(), count), (point.tip, 1));
        let kept = fs::read_dir(dir.join("cut")).unwrap().count();
        assert!(kept > 0, "the log is kept for people");
    } else {
        assert_eq!((index, state), (Index(80), state_of(80, 300)));
        assert_eq!((log.tip(), count), (own, 2));
        log.read(Index(81), 1000).unwrap();
    }
    is_fetched
}

/// Of a later entry, in the midst of the log, where there is a snapshot already, and before its beginning; in a later data
/// epoch and, as after takeovers that were forced, in an earlier one and of a lower view.
#[test]
fn a_process_that_dies_as_it_puts_what_was_fetched_in_its_place_is_followed_by_one_that_goes_on() {
    for (data_epoch, view) in [(2, 9), (1, 6), (1, 3), (0, 3)] {
        for index in [500, 90, 80, 50, 40, 7] {
            let point = fetched(data_epoch, view, index);
            let (mut is_dead, mut changes, mut outcomes) = (true, 0, [0, 0]);
            while is_dead {
                // The next start dies, too, ever later, until it does not.
                for later in 0.. {
                    let root = crate::sample::root();
                    let dir = root.path();
                    let own = prepare(dir);
                    is_dead = install_until(dir, &point, changes);
                    let has_died_again = begin_start(dir, later).is_err();
                    let first = check(dir, own, &point);
                    outcomes[usize::from(first)] += 1;
                    assert_eq!(check(dir, own, &point), first, "a second start");
                    if !has_died_again {
                        break;
                    }
                }
                changes += 1;
            }
            assert!(outcomes[0] > 1 && outcomes[1] > 10, "{index}: {outcomes:?}");
        }
    }
}

/// Has the process die as soon as what was fetched counts, and says where that is.
fn place_only(dir: &Path, point: &SnapshotPoint) -> PathBuf {
    let path = dir.join(format!("snapshots/{:020}.placed", point.tip.index.0));
    let mut changes = 0;
    while !path.exists() {
        assert!(install_until(dir, point, changes));
        changes += 1;
    }
    path
}

fn flip_last_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

/// It is set aside like any other, and what was there before goes on: also if it can be read well later, since by then
/// more was logged.
#[test]
fn a_fetched_snapshot_that_was_once_damaged_before_the_log_has_begun_anew_never_counts_again() {
    let root = crate::sample::root();
    let dir = root.path();
    let own = prepare(dir);
    let point = fetched(0, 3, 50);
    let path = place_only(dir, &point);
    flip_last_bit(&path);
    let finished = begin_start(dir, u64::MAX).unwrap();
    assert_eq!((finished.index, finished.damaged.len()), (None, 1));
    let aside = &finished.damaged[0].file;
    assert_eq!(
        (finished.damaged[0].index, path.exists()),
        (Index(50), false)
    );
    flip_last_bit(aside);
    assert!(!check(dir, own, &point));
}

/// Which would be to judge it by another read than the one that is relied upon.
#[test]
fn a_fetched_snapshot_that_is_not_in_its_place_is_never_the_newest() {
    let root = crate::sample::root();
    let dir = root.path();
    prepare(dir);
    let path = place_only(dir, &fetched(2, 9, 500));
    let snapshots = crate::sample::snapshots::open(dir);
    let newest = snapshots.newest().unwrap().snapshot.unwrap();
    assert_eq!(newest.header().point.tip.index, Index(80));
    assert_eq!(snapshots.list().unwrap().len(), 2);
    assert!(path.exists());
}

/// It may count.
#[test]
fn a_fetched_snapshot_of_a_later_version_stays_where_it_is() {
    let root = crate::sample::root();
    let dir = root.path();
    prepare(dir);
    let path = place_only(dir, &fetched(2, 9, 500));
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 99;
    fs::write(&path, bytes).unwrap();
    let error = begin_start(dir, u64::MAX).unwrap_err();
    let is_version = matches!(
        error,
        InstallError::Snapshots(SnapshotsError::Version { .. })
    );
    assert!(is_version && path.exists(), "{error}");
}

/// Wherever the process dies as it makes room.
#[test]
fn what_was_fetched_gets_its_place_where_only_the_snapshots_that_it_replaces_leave_no_room() {
    let point = fetched(2, 9, 500);
    let (mut has_died, mut changes) = (true, 0);
    while has_died {
        let root = crate::sample::root();
        let dir = root.path();
        let own = prepare(dir);
        place_only(dir, &point);
        let mut storage = Mortal::new(u64::MAX);
        storage.fills = [40, 80]
            .map(|index| dir.join(format!("snapshots/{index:020}.snap")))
            .to_vec();
        let snapshots = open_snapshots(&storage, dir);
        storage.changes_left.store(changes, Ordering::Relaxed);
        let finished = finish_install(&storage, dir, &snapshots, &ids(), CONFIG);
        has_died = finished.is_err();
        assert!(check(dir, own, &point));
        assert!(changes < 100, "{finished:?}");
        changes += 1;
    }
    assert!(changes > 4, "{changes}");
}

/// The next start may find room.
#[test]
fn what_was_fetched_waits_for_its_place_where_there_is_no_room() {
    let root = crate::sample::root();
    let dir = root.path();
    let own = prepare(dir);
    let point = fetched(2, 9, 500);
    place_only(dir, &point);
    let mut storage = Mortal::new(u64::MAX);
    storage.fills = vec![dir.to_owned()];
    for _ in 0..2 {
        let snapshots = open_snapshots(&storage, dir);
        let error = finish_install(&storage, dir, &snapshots, &ids(), CONFIG).unwrap_err();
        let is_roomless = matches!(&error, InstallError::Log(error) if error.is_want_of_room());
        assert!(is_roomless, "{error}");
    }
    assert!(check(dir, own, &point));
}

/// A segment that a snapshot covers may have the name that the log begins anew with.
#[test]
fn a_log_is_not_begun_anew_while_another_thread_removes_a_segment() {
    let root = crate::sample::root();
    let dir = root.path();
    let storage = Mortal::new(u64::MAX);
    let (mut log, _) = SegmentLog::open_in(storage.clone(), dir, ids(), CONFIG).unwrap();
    for _ in 0..90 {
        let next = batch(log.tip(), 5, 1, 150);
        log.append(&next).unwrap();
    }
    log.sync_now().unwrap();
    let request = log.forget_request(Index(90)).unwrap();
    let ((begins, begun), (came, meanwhile)) = (channel(), channel());
    *storage.removal.lock().unwrap() = Some((begins, meanwhile));
    let forgetting = thread::spawn(|| request.run());
    begun.recv().unwrap();
    log.begin_anew().unwrap();
    // Nobody listens any more if it came when it should.
    let _ = came.send(());
    forgetting.join().unwrap().unwrap();
    let next = batch(log.tip(), 6, 1, 150);
    log.append(&next).unwrap();
    log.sync_now().unwrap();
    drop(log);
    let (log, _) = crate::sample::open(dir);
    assert_eq!((log.first(), log.tip()), (Index(1), next.tip()));
}

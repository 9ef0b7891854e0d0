//! Snapshots that leave a data directory, and data directories that are made of one.

use std::io;
use std::path::{Path, PathBuf};

use standin_core::identity::{ReplicaName, StoreId};
use standin_core::view::ViewId;

use super::{SnapshotFile, SnapshotIds, Snapshots, SnapshotsError, file};
use crate::data_dir::{
    DataDir, DataDirError, PLACED_SUFFIX, SNAPSHOT_SUFFIX, SNAPSHOTS_DIR, create_dir_durably,
};
use crate::log::{LogBase, LogConfig, LogError, SegmentIds, SegmentLog};
use crate::storage::{OsStorage, Storage, StorageFile};

/// How much is copied at a time, in bytes.
const COPY_BYTES: usize = 1 << 20;
/// How often to look again for a snapshot, if the replica that runs removes what was just listed.
const LOOKS_MAX: u32 = 10;
/// How the name of a data directory ends that is being made of a snapshot.
const RESTORING_SUFFIX: &str = ".restoring";

impl<S: Storage> SnapshotFile<S> {
    /// [`SnapshotFile::open`], on a given storage.
    fn open_in(storage: &S, path: &Path) -> Result<Self, SnapshotsError> {
        let opened = storage.open(path);
        let file = opened.map_err(SnapshotsError::io("opening", path))?;
        let header = file::read_header(&file, path)?;
        let header = header.map_err(SnapshotsError::unsound(path))?;
        Ok(Self::new(path.to_owned(), file, header))
    }
}

impl SnapshotFile {
    /// The snapshot in the file at `path`, whatever its name. Reads the header only.
    ///
    /// # Errors
    /// [`SnapshotsError`] if there is no snapshot's header.
    pub fn open(path: &Path) -> Result<Self, SnapshotsError> {
        Self::open_in(&OsStorage, path)
    }

    /// Copies it to `to`, where nothing may be: written beside as `to` + `.tmp`, synced, read back and checked, then
    /// renamed and the directory synced.
    ///
    /// # Errors
    /// [`SnapshotsError`]; nothing is left at `to` then.
    pub fn copy_to(&self, to: &Path) -> Result<Self, SnapshotsError> {
        if OsStorage.exists(to) {
            let error = io::ErrorKind::AlreadyExists.into();
            return Err(SnapshotsError::io("creating", to)(error));
        }
        let beside = with_suffix(to, ".tmp");
        let copied = self.copy_beside(&beside, to);
        if copied.is_err() {
            // Best effort: it is of no use, and takes room.
            let _ = OsStorage.remove(&beside);
        }
        copied
    }

    fn copy_beside(&self, beside: &Path, to: &Path) -> Result<Self, SnapshotsError> {
        let created = OsStorage.create(beside);
        let copy = created.map_err(SnapshotsError::io("creating", beside))?;
        let mut at = 0;
        while at < self.bytes() {
            let bytes = self.read_at(at, COPY_BYTES)?;
            let written = copy.write_all_at(&bytes, at);
            written.map_err(SnapshotsError::io("writing", beside))?;
            at += bytes.len() as u64;
        }
        let copy = Self::new(beside.to_owned(), copy, self.header().clone());
        copy.verify()?;
        let renamed = OsStorage.rename(beside, to);
        renamed.map_err(SnapshotsError::io("naming", to))?;
        let synced = OsStorage.sync_dir(directory_of(to));
        synced.map_err(SnapshotsError::io("syncing the directory of", to))?;
        Ok(copy.renamed(to.to_owned()))
    }
}

/// All snapshots in data directory `dir` that have a good header, oldest first, and what is wrong with others. Whether
/// they are whole is not known. Changes nothing, so the replica may run meanwhile.
///
/// # Errors
/// As of [`Snapshots::newest`].
pub fn all_in<S: Storage>(
    storage: S,
    dir: &Path,
    ids: &SnapshotIds,
) -> Result<FilesAndFlaws<S>, SnapshotsError> {
    look(storage, dir, ids, all_of)
}

/// Snapshots, and what is wrong with others.
type FilesAndFlaws<S> = (Vec<SnapshotFile<S>>, Vec<SnapshotsError>);

fn all_of<S: Storage>(snapshots: &Snapshots<S>) -> Result<FilesAndFlaws<S>, SnapshotsError> {
    let (paths, damaged) = listed(snapshots)?;
    let open = |path: &PathBuf| SnapshotFile::open_in(&snapshots.storage, path);
    let files = paths.iter().map(open);
    Ok((files.collect::<Result<_, _>>()?, damaged))
}

/// The newest whole snapshot in data directory `dir`, and what is wrong with newer ones. Changes nothing, so the
/// replica may run meanwhile.
///
/// # Errors
/// As of [`Snapshots::newest`].
pub fn newest_in(
    dir: &Path,
    ids: &SnapshotIds,
) -> Result<(Option<SnapshotFile>, Vec<SnapshotsError>), SnapshotsError> {
    look(OsStorage, dir, ids, newest_of)
}

/// Looks at the snapshots, anew if one is gone that was there a moment ago.
fn look<S: Storage, T>(
    storage: S,
    dir: &Path,
    ids: &SnapshotIds,
    find: fn(&Snapshots<S>) -> Result<T, SnapshotsError>,
) -> Result<T, SnapshotsError> {
    let snapshots = Snapshots {
        storage,
        dir: dir.join(SNAPSHOTS_DIR),
        ids: ids.clone(),
        generation: std::sync::Arc::default(),
    };
    for _ in 1..LOOKS_MAX {
        match find(&snapshots) {
            Err(error) if is_gone(&error) => {}
            found => return found,
        }
    }
    find(&snapshots)
}

/// The files with a good header, oldest first, and what is wrong with others.
fn listed<S: Storage>(
    snapshots: &Snapshots<S>,
) -> Result<(Vec<PathBuf>, Vec<SnapshotsError>), SnapshotsError> {
    if !snapshots.storage.is_dir(&snapshots.dir) {
        return Ok((Vec::new(), Vec::new()));
    }
    // One that was placed counts, whichever it is of.
    let listed = snapshots.list_by_header(&[SNAPSHOT_SUFFIX, PLACED_SUFFIX])?;
    let damaged = listed.bad.into_iter();
    let damaged = damaged.map(|(_, path, error)| SnapshotsError::unsound(&path)(error));
    let good = listed.good.into_iter().map(|(_, path)| path);
    Ok((good.collect(), damaged.collect()))
}

fn newest_of(
    snapshots: &Snapshots,
) -> Result<(Option<SnapshotFile>, Vec<SnapshotsError>), SnapshotsError> {
    let (paths, mut damaged) = listed(snapshots)?;
    for path in paths.into_iter().rev() {
        let file = SnapshotFile::open(&path)?;
        match file.verify() {
            Ok(()) => return Ok((Some(file), damaged)),
            Err(error @ SnapshotsError::Unsound { .. }) => damaged.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok((None, damaged))
}

fn is_gone(error: &SnapshotsError) -> bool {
    matches!(error, SnapshotsError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Why no data directory was made of a snapshot. Nothing is there then that was not before, but what
/// [`RestoreError::LeftOver`] tells of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is something.
    #[error("{0} is there and not empty; name a directory that is not there yet")]
    NotEmpty(PathBuf),
    /// An earlier attempt was interrupted.
    #[error("{0} was left by an attempt that was interrupted; remove it and try again")]
    LeftOver(PathBuf),
    /// The snapshot is not whole, or cannot be copied.
    #[error(transparent)]
    Snapshot(#[from] SnapshotsError),
    /// The directory cannot be formatted.
    #[error(transparent)]
    Dir(#[from] DataDirError),
    /// The log cannot be begun.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The operating system says no.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl RestoreError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// Makes `dir`, which may be empty or not there at all, the data directory of a replica that has the state in
/// `snapshot` and no entry after it, as store `store`. It is made beside and renamed, so it is whole or not there.
/// Since the store is new it is no holder of anything: the replica catches up from a primary, or is named by an
/// operator's Force (`protocol.md` sections 2 and 7).
///
/// # Errors
/// [`RestoreError`].
pub fn restore_data_dir(
    snapshot: &SnapshotFile,
    dir: &Path,
    name: &ReplicaName,
    store: StoreId,
) -> Result<(), RestoreError> {
    let is_empty = |path: &Path| OsStorage.list(path).is_ok_and(|names| names.is_empty());
    if OsStorage.exists(dir) && !(OsStorage.is_dir(dir) && is_empty(dir)) {
        return Err(RestoreError::NotEmpty(dir.to_owned()));
    }
    let beside = with_suffix(dir, RESTORING_SUFFIX);
    if OsStorage.exists(&beside) {
        return Err(RestoreError::LeftOver(beside));
    }
    snapshot.verify()?;
    let made = make_data_dir(snapshot, &beside, name, store);
    let placed = made.and_then(|()| {
        std::fs::rename(&beside, dir).map_err(RestoreError::io("renaming to", dir))?;
        let synced = OsStorage.sync_dir(directory_of(dir));
        synced.map_err(RestoreError::io("syncing the directory of", dir))
    });
    if placed.is_err() {
        // Best effort; if it stays, the next attempt names it.
        let _ = std::fs::remove_dir_all(&beside);
    }
    placed
}

fn make_data_dir(
    snapshot: &SnapshotFile,
    dir: &Path,
    name: &ReplicaName,
    store: StoreId,
) -> Result<(), RestoreError> {
    let point = &snapshot.header().point;
    let (mut data, _) = DataDir::open(dir, name, &point.machine, store)?;
    let snapshots = dir.join(SNAPSHOTS_DIR);
    create_dir_durably(&OsStorage, &snapshots).map_err(RestoreError::io("creating", &snapshots))?;
    let file = format!("{:020}{SNAPSHOT_SUFFIX}", point.tip.index.0);
    snapshot.copy_to(&snapshots.join(file))?;
    let ids = SegmentIds {
        cluster: point.cluster,
        store,
        machine: point.machine.clone(),
    };
    let config = LogConfig {
        base: Some(LogBase::of(point)),
        ..LogConfig::default()
    };
    SegmentLog::open(dir, ids, config)?;
    let mut meta = data.meta().clone();
    meta.cluster = Some(point.cluster);
    meta.machine = point.machine.clone();
    meta.adopted = ViewId {
        data_epoch: point.data_epoch,
        view: point.tip.view,
    };
    let stored = data.store(meta);
    stored.map_err(RestoreError::io("writing the meta file in", dir))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory that `path` stands in; that of a bare name is the current one.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

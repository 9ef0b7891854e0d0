//! Snapshot files: `DIR/snapshots/`, each named by the entry that its state stands at.
//!
//! [`Snapshots`] lists, writes, receives and removes them. A file is written under another name, synced,
//! renamed, and the directory synced, so what has the name of a snapshot was whole once; that it still is
//! is seen by reading all of it. Nothing here holds more of a snapshot in memory than a block.
//! `docs/format.md` has the bytes, and what is made of each kind of damage. All of it waits for the disk.

mod archive;
mod error;
mod file;
mod keeping;
mod receiving;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use standin_core::entry::Index;
use standin_core::identity::ClusterId;
use standin_core::machine::MachineId;
use standin_core::snapshot::{
    SnapshotError, SnapshotFlaw, SnapshotHeader, SnapshotPoint, SnapshotWriter,
};

pub use archive::{RestoreError, all_in, newest_in, restore_data_dir};
use error::SYNCING;
pub use error::SnapshotsError;
pub use file::SnapshotFile;
pub use keeping::{Ticket, mark_of};
pub use receiving::{Checked, PieceSync, Receiving};

use crate::data_dir::{SNAPSHOT_SUFFIX, SNAPSHOTS_DIR, create_dir_durably};
use crate::storage::{OsStorage, Storage, StorageFile};

/// Most damaged snapshots that are kept for people; the lowest index goes first.
pub const DAMAGED_SNAPSHOTS_MAX: usize = 2;

/// Bytes of a snapshot that may wait in the page cache to be written to the disk: were it all of them, the sync at
/// the end would keep the disk from the log, and so those who wait for the log, for seconds.
const UNSYNCED_BYTES_MAX: u64 = 8 << 20;

/// How the name of a snapshot ends that is being written.
const WRITING_SUFFIX: &str = ".tmp";
/// How the name of a snapshot ends that is being received.
const RECEIVING_SUFFIX: &str = ".part";
/// How the name of a snapshot ends that is being removed.
const OLD_SUFFIX: &str = ".old";
/// How the name of a snapshot ends that was found to be damaged.
const DAMAGED_SUFFIX: &str = ".bad";

/// Whose snapshots they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotIds {
    /// The cluster.
    pub cluster: ClusterId,
    /// The state machine. Its version says nothing: each snapshot's own does.
    pub machine: MachineId,
}

/// A snapshot that was found to be damaged, and was set aside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot of entry {index} is damaged: {error}; it is kept as {file}")]
pub struct Damaged {
    /// The entry that it is named by.
    pub index: Index,
    /// Where it is now.
    pub file: PathBuf,
    /// What is wrong with it.
    pub error: SnapshotError,
}

/// What [`Snapshots::newest`] found, or [`Snapshots::placed`].
#[derive(Debug)]
pub struct Newest<S: Storage = OsStorage> {
    /// The newest snapshot that is whole.
    pub snapshot: Option<SnapshotFile<S>>,
    /// Newer ones that are not, and others that do not even have a good header.
    pub damaged: Vec<Damaged>,
}

/// Snapshot files, by what their headers say.
#[derive(Debug, Default)]
struct Listed {
    /// Those with a good header, oldest first.
    good: Vec<(SnapshotHeader, PathBuf)>,
    /// Those with a damaged one: the index in the name, and what is wrong.
    bad: Vec<(Index, PathBuf, SnapshotError)>,
}

/// The snapshots of one replica. Clones are handles to the same directory.
#[derive(Clone, Debug)]
pub struct Snapshots<S: Storage = OsStorage> {
    storage: S,
    dir: PathBuf,
    ids: SnapshotIds,
    /// See [`Snapshots::discard`].
    generation: Arc<Mutex<u64>>,
}

impl Snapshots {
    /// [`Snapshots::open_in`] the operating system's files.
    ///
    /// # Errors
    /// See there.
    pub fn open(dir: &Path, ids: SnapshotIds) -> Result<Self, SnapshotsError> {
        Self::open_in(OsStorage, dir, ids)
    }
}

impl<S: Storage> Snapshots<S> {
    /// Opens the snapshots in data directory `dir`, whose lock is held, and removes what was being
    /// written or removed when a process died. What was being received stays, see [`Snapshots::receive`].
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open_in(storage: S, dir: &Path, ids: SnapshotIds) -> Result<Self, SnapshotsError> {
        let dir = dir.join(SNAPSHOTS_DIR);
        create_dir_durably(&storage, &dir).map_err(SnapshotsError::io("creating", &dir))?;
        let snapshots = Self {
            storage,
            dir,
            ids,
            generation: Arc::default(),
        };
        for suffix in [WRITING_SUFFIX, OLD_SUFFIX] {
            for (_, path) in snapshots.list_names(suffix)? {
                snapshots.remove(&path)?;
            }
        }
        Ok(snapshots)
    }

    /// Finds the newest snapshot that is whole: of the highest data epoch, and in that of the highest
    /// index. Reads all of it. A damaged one is renamed aside, for people, and the one before is tried. One that was
    /// placed is none of them: what is to become of it is settled before ([`crate::install::finish_install`]).
    ///
    /// # Errors
    /// [`SnapshotsError`] if one is not this replica's, or of an unknown format: nothing is changed then.
    /// Else those of the file system.
    pub fn newest(&self) -> Result<Newest<S>, SnapshotsError> {
        let mut damaged = Vec::new();
        let listed = self.list_by_header(&[SNAPSHOT_SUFFIX])?;
        for (index, path, error) in listed.bad {
            damaged.push(self.set_aside(index, &path, error)?);
        }
        for (header, path) in listed.good.into_iter().rev() {
            let file = self.open_file(&path)?;
            match file::verify(&file, &path)? {
                Ok(_) => {
                    self.sync_dir()?;
                    let snapshot = Some(SnapshotFile::new(path, file, header));
                    return Ok(Newest { snapshot, damaged });
                }
                Err(error) => {
                    damaged.push(self.set_aside(header.point.tip.index, &path, error)?);
                }
            }
        }
        Ok(Newest {
            snapshot: None,
            damaged,
        })
    }

    /// The headers of all snapshots, oldest first, as [`Snapshots::newest`] would try them from the last
    /// to the first. Whether they are whole is not known, and damaged headers are left out.
    ///
    /// # Errors
    /// As of [`Snapshots::newest`].
    pub fn list(&self) -> Result<Vec<SnapshotHeader>, SnapshotsError> {
        let good = self.list_by_header(&[SNAPSHOT_SUFFIX])?.good;
        Ok(good.into_iter().map(|(header, _)| header).collect())
    }

    /// Writes the snapshot of the state at `point`, whose bytes `state` writes. When this returns, it is
    /// on disk; otherwise nothing is left of it. `None`: all snapshots were let go of since there was this ticket, and
    /// this one with them. May be called on another thread, one at a time.
    ///
    /// # Errors
    /// [`SnapshotsError::Io`] if it cannot be written.
    ///
    /// # Panics
    /// If `point` is impossible or another's.
    pub fn write(
        &self,
        ticket: Ticket,
        point: SnapshotPoint,
        state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Option<SnapshotHeader>, SnapshotsError> {
        assert_eq!(point.cluster, self.ids.cluster, "a snapshot of ours");
        let machine = self.ids.machine.name();
        assert_eq!(point.machine.name(), machine, "a snapshot of ours");
        let beside = self.path(point.tip.index, WRITING_SUFFIX);
        let written = self.write_beside(&beside, point, state);
        let named = written.and_then(|header| {
            let now = self.generation();
            if ticket != Ticket(*now) {
                self.remove(&beside)?;
                return Ok(None);
            }
            self.name(&beside, &header)?;
            Ok(Some(header))
        });
        named.inspect_err(|_| {
            // Best effort, so that a full disk gets its room back; the next start removes it, too.
            let _ = self.storage.remove(&beside);
        })
    }

    fn write_beside(
        &self,
        path: &Path,
        point: SnapshotPoint,
        state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<SnapshotHeader, SnapshotsError> {
        let failed = || SnapshotsError::io("writing", path);
        let file = self.storage.create(path).map_err(failed())?;
        let out = FileWriter::new(&file);
        let mut writer = SnapshotWriter::new(out).map_err(failed())?;
        state(&mut writer).map_err(failed())?;
        let (header, _) = writer.finish(point).map_err(failed())?;
        file.write_all_at(&header.encode(), 0).map_err(failed())?;
        file.sync_all().map_err(SnapshotsError::io(SYNCING, path))?;
        Ok(header)
    }

    /// Receives the snapshot that begins with `header`, in pieces. If some of that very snapshot came
    /// before, also in another life, what is good of it is kept: [`Receiving::at`] says how much. What
    /// there is of others is removed.
    ///
    /// # Errors
    /// [`SnapshotsError::Foreign`] if it is of another cluster or machine. Else those of the file system.
    pub fn receive(&self, header: &SnapshotHeader) -> Result<Receiving<S>, SnapshotsError> {
        let wanted = self.path(header.point.tip.index, RECEIVING_SUFFIX);
        self.check_ours(header, header.point.tip.index, &wanted)?;
        for (_, path) in self.list_names(RECEIVING_SUFFIX)? {
            if path != wanted {
                self.remove(&path)?;
            }
        }
        Receiving::begin(self.clone(), wanted, header.clone())
    }

    /// All snapshots whose names end so, by what their headers say. Those of a later suffix count before the others.
    fn list_by_header(&self, suffixes: &[&str]) -> Result<Listed, SnapshotsError> {
        let mut listed = Listed::default();
        for suffix in suffixes {
            let before = listed.good.len();
            for (index, path) in self.list_names(suffix)? {
                let file = self.open_file(&path)?;
                match file::read_header(&file, &path)? {
                    Ok(header) => {
                        self.check_ours(&header, index, &path)?;
                        listed.good.push((header, path));
                    }
                    Err(error) => {
                        let error = of_known_version(&path, error)?;
                        listed.bad.push((index, path, error));
                    }
                }
            }
            let order = |header: &SnapshotHeader| (header.point.data_epoch, header.point.tip.index);
            listed.good[before..].sort_by_key(|(header, _)| order(header));
        }
        Ok(listed)
    }

    fn check_ours(
        &self,
        header: &SnapshotHeader,
        index: Index,
        path: &Path,
    ) -> Result<(), SnapshotsError> {
        let point = &header.point;
        let what = if point.cluster != self.ids.cluster {
            format!("it belongs to cluster {}", point.cluster)
        } else if point.machine.name() != self.ids.machine.name() {
            format!("it belongs to the machine {}", point.machine)
        } else if point.tip.index != index {
            format!("it is of entry {}, not as it is named", point.tip.index)
        } else {
            return Ok(());
        };
        let file = path.to_owned();
        Err(SnapshotsError::Foreign { file, what })
    }

    /// Renames a damaged snapshot aside. The oldest of those make room.
    fn set_aside(
        &self,
        index: Index,
        path: &Path,
        error: SnapshotError,
    ) -> Result<Damaged, SnapshotsError> {
        let file = self.path(index, DAMAGED_SUFFIX);
        let renamed = self.storage.rename(path, &file);
        renamed.map_err(SnapshotsError::io("setting aside", path))?;
        let aside = self.list_names(DAMAGED_SUFFIX)?;
        let surplus = aside.len().saturating_sub(DAMAGED_SNAPSHOTS_MAX);
        let others = aside.iter().filter(|(_, other)| *other != file);
        for (_, path) in others.take(surplus) {
            self.remove(path)?;
        }
        self.sync_dir()?;
        Ok(Damaged { index, file, error })
    }

    /// Gives a file that is on disk the name of a snapshot, durably.
    fn name(&self, beside: &Path, header: &SnapshotHeader) -> Result<PathBuf, SnapshotsError> {
        let path = self.path(header.point.tip.index, SNAPSHOT_SUFFIX);
        self.rename(beside, &path)?;
        Ok(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), SnapshotsError> {
        let renamed = self.storage.rename(from, to);
        renamed.map_err(SnapshotsError::io("naming", to))?;
        self.sync_dir()
    }

    fn path(&self, index: Index, suffix: &str) -> PathBuf {
        self.dir.join(format!("{:020}{suffix}", index.0))
    }

    /// The files whose names are an index and this suffix, in order.
    fn list_names(&self, suffix: &str) -> Result<Vec<(Index, PathBuf)>, SnapshotsError> {
        let listed = self.storage.list(&self.dir);
        let mut found = Vec::new();
        for name in listed.map_err(SnapshotsError::io("listing", &self.dir))? {
            let digits = name.to_str().and_then(|name| name.strip_suffix(suffix));
            let index = digits.and_then(crate::log::index_of_digits);
            if let Some(index) = index {
                found.push((index, self.dir.join(name)));
            }
        }
        found.sort();
        Ok(found)
    }

    fn open_file(&self, path: &Path) -> Result<S::File, SnapshotsError> {
        let opened = self.storage.open(path);
        opened.map_err(SnapshotsError::io("opening", path))
    }

    fn remove(&self, path: &Path) -> Result<(), SnapshotsError> {
        let removed = self.storage.remove(path);
        removed.map_err(SnapshotsError::io("removing", path))
    }

    fn sync_dir(&self) -> Result<(), SnapshotsError> {
        let synced = self.storage.sync_dir(&self.dir);
        synced.map_err(SnapshotsError::io(SYNCING, &self.dir))
    }
}

/// A flaw that is ours to judge: an unknown version is not; but version 0 never was.
fn of_known_version(path: &Path, error: SnapshotError) -> Result<SnapshotError, SnapshotsError> {
    if let source @ SnapshotFlaw::Version(1..) = error.flaw {
        let file = path.to_owned();
        return Err(SnapshotsError::Version { file, source });
    }
    Ok(error)
}

/// A file, as a stream from its beginning on, which is synced as it grows.
struct FileWriter<'a, F> {
    file: &'a F,
    at: u64,
    synced: u64,
}

impl<'a, F> FileWriter<'a, F> {
    fn new(file: &'a F) -> Self {
        Self {
            file,
            at: 0,
            synced: 0,
        }
    }
}

impl<F: StorageFile> Write for FileWriter<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += u64::try_from(bytes.len()).expect("no buffer is longer");
        if self.at - self.synced >= UNSYNCED_BYTES_MAX {
            // Unlike a write for which there was no room, one that fails here is final.
            self.file.sync_data().map_err(io::Error::other)?;
            self.synced = self.at;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

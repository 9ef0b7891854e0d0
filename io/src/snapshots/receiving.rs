//! Receiving a snapshot in pieces.

use std::path::PathBuf;
use std::sync::Arc;

use standin_core::snapshot::{SnapshotHeader, SnapshotReader};

use super::error::SYNCING;
use super::{SnapshotFile, Snapshots, SnapshotsError, UNSYNCED_BYTES_MAX, file};
use crate::storage::{OsStorage, Storage, StorageFile};

/// A snapshot of which a beginning has come. Dropping it keeps that: [`Snapshots::receive`] goes on where
/// it ended.
#[derive(Debug)]
pub struct Receiving<S: Storage = OsStorage> {
    snapshots: Snapshots<S>,
    path: PathBuf,
    file: Arc<S::File>,
    header: SnapshotHeader,
    /// Has seen all that was written, and checks what comes.
    reader: SnapshotReader,
    /// Where it ended when it was last to be synced, in bytes.
    sync_asked: u64,
}

impl<S: Storage> Receiving<S> {
    /// Goes on with what is there of the snapshot with this header, or begins.
    pub(super) fn begin(
        snapshots: Snapshots<S>,
        path: PathBuf,
        header: SnapshotHeader,
    ) -> Result<Self, SnapshotsError> {
        if snapshots.storage.exists(&path) {
            let opened = snapshots.storage.open(&path);
            let file = opened.map_err(SnapshotsError::io("opening", &path))?;
            // What was written and not synced may be gone in part, so it is read, not believed.
            let (mut reader, _) = file::scan(&file, &path)?;
            reader.forget_partial();
            if reader.header() == Some(&header) {
                let cut = file.set_len(reader.good());
                cut.map_err(SnapshotsError::io("cutting", &path))?;
                return Ok(Self {
                    snapshots,
                    path,
                    file: Arc::new(file),
                    header,
                    sync_asked: reader.good(),
                    reader,
                });
            }
        }
        let created = snapshots.storage.create(&path);
        let mut begun = Self {
            file: Arc::new(created.map_err(SnapshotsError::io("creating", &path))?),
            snapshots,
            path,
            reader: SnapshotReader::new(),
            header,
            sync_asked: 0,
        };
        begun.put(0, &begun.header.encode())?;
        Ok(begun)
    }

    /// The header of the snapshot.
    #[must_use]
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Where the next piece must begin, in bytes.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.reader.taken()
    }

    /// Whether everything has come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.reader.is_whole()
    }

    /// Takes in the piece that begins at byte `at`: into the page cache, without waiting for the disk.
    ///
    /// # Errors
    /// [`SnapshotsError::Offset`] if it does not begin at [`Receiving::at`]; nothing was changed then.
    /// [`SnapshotsError::Unsound`] if it is not good: from the new `at` on the bytes are to come again.
    /// Else [`SnapshotsError::Io`].
    pub fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), SnapshotsError> {
        if at != self.at() {
            return Err(SnapshotsError::Offset {
                file: self.path.clone(),
                expected: self.at(),
                found: at,
            });
        }
        let good = file::take_all(&mut self.reader, bytes);
        let written = self.file.write_all_at(bytes, at);
        written.map_err(SnapshotsError::io("writing", &self.path))?;
        good.map_err(|error| {
            self.reader.forget_partial();
            SnapshotsError::unsound(&self.path)(error)
        })
    }

    /// What is to be synced now, beside the loop, so that the page cache never holds much of it; `None` if little
    /// has come since the last one.
    pub fn sync_request(&mut self) -> Option<PieceSync<S>> {
        let at = self.at();
        if at.saturating_sub(self.sync_asked) < UNSYNCED_BYTES_MAX {
            return None;
        }
        self.sync_asked = at;
        Some(PieceSync {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
        })
    }

    /// Ends it: syncs the file and reads all of it back from the disk. It counts as a snapshot when
    /// [`Snapshots::place`] has named it. Waits for the disk.
    ///
    /// # Errors
    /// [`SnapshotsError::Unsound`] if it is not whole; what there is of it is removed if the disk has not
    /// kept what came. Else [`SnapshotsError::Io`].
    pub fn check(self) -> Result<Checked<S>, SnapshotsError> {
        if !self.is_whole() {
            let error = self.reader.finish().expect_err("it is not whole");
            return Err(SnapshotsError::unsound(&self.path)(error));
        }
        // A piece that was not good may have reached beyond the end.
        let cut = self.file.set_len(self.header.file_bytes());
        cut.map_err(SnapshotsError::io("cutting", &self.path))?;
        if let Err(error) = file::verify(&*self.file, &self.path)? {
            let removed = self.snapshots.storage.remove(&self.path);
            removed.map_err(SnapshotsError::io("removing", &self.path))?;
            return Err(SnapshotsError::unsound(&self.path)(error));
        }
        Ok(Checked(SnapshotFile::new(
            self.path,
            self.file,
            self.header,
        )))
    }
}

/// What came of a snapshot, to be synced.
#[derive(Debug)]
pub struct PieceSync<S: Storage = OsStorage> {
    path: PathBuf,
    file: Arc<S::File>,
}

impl<S: Storage> PieceSync<S> {
    /// Waits for the disk.
    ///
    /// # Errors
    /// [`SnapshotsError::Io`].
    pub fn run(self) -> Result<(), SnapshotsError> {
        let synced = self.file.sync_data();
        synced.map_err(SnapshotsError::io(SYNCING, &self.path))
    }
}

/// A snapshot that was received, is whole, and is on disk under another name.
#[derive(Debug)]
pub struct Checked<S: Storage = OsStorage>(SnapshotFile<S>);

impl<S: Storage> Checked<S> {
    /// The snapshot.
    #[must_use]
    pub fn file(&self) -> &SnapshotFile<S> {
        &self.0
    }

    pub(super) fn into_file(self) -> SnapshotFile<S> {
        self.0
    }
}

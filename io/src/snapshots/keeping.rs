//! Which snapshots stay: letting go of some, of all, and putting one in the place of all.

use std::sync::MutexGuard;

use standin_core::capture::SnapshotMark;
use standin_core::entry::Index;
use standin_core::snapshot::{SnapshotHeader, SnapshotPoint};

use super::{Checked, Newest, OLD_SUFFIX, SnapshotFile, Snapshots, SnapshotsError};
use crate::data_dir::{PLACED_SUFFIX, SNAPSHOT_SUFFIX};
use crate::storage::Storage;

impl<S: Storage> Snapshots<S> {
    /// A place in the log, as the header of a snapshot of this replica says it.
    #[must_use]
    pub fn point_of(&self, mark: SnapshotMark) -> SnapshotPoint {
        SnapshotPoint {
            cluster: self.ids.cluster,
            machine: self.ids.machine.with_version(mark.machine_version),
            failed_version: mark.failed_version,
            data_epoch: mark.data_epoch,
            tip: mark.tip,
            view_first: mark.view_first,
            reply_digest: standin_core::digest::DigestChain(mark.reply_digest),
        }
    }

    /// The snapshot as of this entry, if there is one. That it is whole is not checked: it is for others, who do.
    ///
    /// # Errors
    /// As of [`Snapshots::newest`].
    pub fn file_of(&self, index: Index) -> Result<Option<SnapshotFile<S>>, SnapshotsError> {
        let path = self.path(index, SNAPSHOT_SUFFIX);
        if !self.storage.exists(&path) {
            return Ok(None);
        }
        let file = self.open_file(&path)?;
        let header = super::file::read_header(&file, &path)?;
        Ok(header
            .ok()
            .map(|header| SnapshotFile::new(path, file, header)))
    }

    /// Removes the snapshots of entries before `index`, unless all were let go of since there was this ticket. May be
    /// called on another thread: to remove a large file takes the file system tens of milliseconds.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn forget_before(&self, ticket: Ticket, index: Index) -> Result<(), SnapshotsError> {
        let mut removed = Vec::new();
        {
            let now = self.generation();
            if ticket != Ticket(*now) {
                return Ok(());
            }
            // A name is given back quickly: it may be wanted for another snapshot as soon as the lock is.
            for (of, path) in self.list_names(SNAPSHOT_SUFFIX)? {
                if of < index {
                    let old = self.path(of, OLD_SUFFIX);
                    let renamed = self.storage.rename(&path, &old);
                    renamed.map_err(SnapshotsError::io("renaming", &path))?;
                    removed.push(old);
                }
            }
        }
        for path in &removed {
            self.remove(path)?;
        }
        if !removed.is_empty() {
            self.sync_dir()?;
        }
        Ok(())
    }

    /// Removes all snapshots: they are of a history that counts no more. One that is being written on another
    /// thread, or is going to be, comes to nothing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn discard(&self) -> Result<(), SnapshotsError> {
        *self.generation() += 1;
        self.remove_all()?;
        Ok(())
    }

    /// Names a snapshot that was received as the one that counts, whatever others there are: until it is settled, a start that
    /// finds it goes on with what follows ([`crate::install`]). One that is being written on another thread comes to
    /// nothing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn place(&self, checked: Checked<S>) -> Result<SnapshotFile<S>, SnapshotsError> {
        *self.generation() += 1;
        let file = checked.into_file();
        let path = self.path(file.header().point.tip.index, PLACED_SUFFIX);
        self.rename(file.path(), &path)?;
        Ok(file.renamed(path))
    }

    /// The snapshot that was placed and not settled, if it is whole. Reads all of it. A damaged one is renamed aside, for
    /// people: under its name it would count as soon as it was read well, whatever came to be in the log until then.
    ///
    /// # Errors
    /// As of [`Snapshots::newest`].
    pub fn placed(&self) -> Result<Newest<S>, SnapshotsError> {
        let mut damaged = Vec::new();
        while let Some((index, path)) = self.list_names(PLACED_SUFFIX)?.pop() {
            let file = self.open_file(&path)?;
            match super::file::verify(&file, &path)? {
                Ok(header) => {
                    self.check_ours(&header, index, &path)?;
                    // Its name, too, must be on the disk before anything else goes.
                    self.sync_dir()?;
                    let snapshot = Some(SnapshotFile::new(path, file, header));
                    return Ok(Newest { snapshot, damaged });
                }
                Err(error) => {
                    let error = super::of_known_version(&path, error)?;
                    damaged.push(self.set_aside(index, &path, error)?);
                }
            }
        }
        Ok(Newest {
            snapshot: None,
            damaged,
        })
    }

    /// Removes all snapshots but the one that was placed, which has superseded them, though the log may not go on after
    /// it yet: there is no room for that otherwise. Says whether there were any.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn make_room_for(&self, placed: &SnapshotFile<S>) -> Result<bool, SnapshotsError> {
        assert!(
            self.storage.exists(placed.path()),
            "it counts, and is there"
        );
        self.remove_all()
    }

    /// Removes all snapshots but the one that was placed, after which the log goes on, and gives that its usual name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn settle(&self, placed: SnapshotFile<S>) -> Result<SnapshotFile<S>, SnapshotsError> {
        self.remove_all()?;
        let path = self.path(placed.header().point.tip.index, SNAPSHOT_SUFFIX);
        self.rename(placed.path(), &path)?;
        Ok(placed.renamed(path))
    }

    /// The right to write a snapshot of the state as it is now, and to remove older ones, as long as those are not let
    /// go of.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        Ticket(*self.generation())
    }

    /// Says whether there were any.
    fn remove_all(&self) -> Result<bool, SnapshotsError> {
        let names = self.list_names(SNAPSHOT_SUFFIX)?;
        for (_, path) in &names {
            self.remove(path)?;
        }
        if !names.is_empty() {
            self.sync_dir()?;
        }
        Ok(!names.is_empty())
    }

    /// How often all snapshots were let go of. Held while a snapshot gets its name.
    pub(super) fn generation(&self) -> MutexGuard<'_, u64> {
        self.generation
            .lock()
            .expect("nothing panics while it holds this")
    }
}

/// What [`Snapshots::write`] and [`Snapshots::forget_before`] need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub(super) u64);

/// What a snapshot that was read tells of it, in the words of the log's end.
pub fn mark_of(header: &SnapshotHeader) -> SnapshotMark {
    let point = &header.point;
    SnapshotMark {
        data_epoch: point.data_epoch,
        tip: point.tip,
        view_first: point.view_first,
        reply_digest: point.reply_digest.0,
        machine_version: point.machine.version(),
        failed_version: point.failed_version,
    }
}

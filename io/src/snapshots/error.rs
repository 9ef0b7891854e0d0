//! What can go wrong with snapshots.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use standin_core::snapshot::{SnapshotError, SnapshotFlaw};

use crate::storage::is_want_of_room;

/// Why a snapshot cannot be used, written or received.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotsError {
    /// The operating system says no.
    #[error("{doing} {file}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file or directory.
        file: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// A snapshot belongs to another cluster or machine, or its name is not its own.
    #[error(
        "{file} is no snapshot of this replica: {what}; nothing was changed; move the file away if it was put there by mistake"
    )]
    Foreign {
        /// The snapshot file.
        file: PathBuf,
        /// What is not ours, in words.
        what: String,
    },
    /// A snapshot was written by a version that this one does not read.
    #[error(
        "{file} cannot be read: {source}; nothing was changed; run the version that wrote it, or move the file away to go on without it"
    )]
    Version {
        /// The snapshot file.
        file: PathBuf,
        /// Which version it is.
        source: SnapshotFlaw,
    },
    /// The bytes of a snapshot that is being received, or was read from a file, are bad.
    #[error("{file} is no whole snapshot: {source}")]
    Unsound {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where.
        source: SnapshotError,
    },
    /// A piece of a snapshot that is being received does not continue what came before.
    #[error("a piece of {file} came for byte {found}, and byte {expected} is next")]
    Offset {
        /// The file.
        file: PathBuf,
        /// Where the next piece must begin, in bytes.
        expected: u64,
        /// Where it began, in bytes.
        found: u64,
    },
}

/// What was attempted when a sync fails.
pub(super) const SYNCING: &str = "syncing";

impl SnapshotsError {
    /// Whether the disk failed, so that other writes that were not synced may be gone as well:
    /// [`crate::data_dir::DataDir::note_disk_failure`] must know. A lack of room, if it is not a sync that
    /// reports it, and damage that is found take nothing away.
    #[must_use]
    pub fn may_have_lost_writes(&self) -> bool {
        match self {
            Self::Io { doing, source, .. } => *doing == SYNCING || !is_want_of_room(source),
            Self::Foreign { .. }
            | Self::Version { .. }
            | Self::Unsound { .. }
            | Self::Offset { .. } => false,
        }
    }

    /// Wraps what the operating system said about `file`.
    pub(super) fn io(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            file: file.to_owned(),
            source: Arc::new(source),
        }
    }

    /// Wraps what was found in the bytes of `file`.
    pub(super) fn unsound(file: &Path) -> impl FnOnce(SnapshotError) -> Self {
        move |source| Self::Unsound {
            file: file.to_owned(),
            source,
        }
    }
}

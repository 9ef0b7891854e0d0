//! What can go wrong with a log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use standin_core::entry::{EntryError, Index};
use standin_core::segment::SegmentError;
use standin_core::view::ViewNumber;

use super::SupersededBy;
use crate::storage::is_want_of_room;

/// Why the log cannot be used, or not any further.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system says no.
    #[error("the log cannot go on: {doing} {file}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file or directory.
        file: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// An earlier failure was final.
    #[error("the log refuses further work: an earlier write or sync failed; restart the replica")]
    Failed,
    /// An entry is bad though the log goes on after it. It is never cut off or skipped.
    #[error(
        "the log is damaged at byte {at} of {file}: {source}; nothing was changed, for this may be the only copy of what was answered; if 'standin status' shows another replica serving, set the data directory aside and start with an empty --data and --replace"
    )]
    Damaged {
        /// The segment file.
        file: PathBuf,
        /// Where, in bytes from the beginning of the file.
        at: u64,
        /// What is wrong there.
        source: EntryError,
    },
    /// A segment's header is bad.
    #[error(
        "the log is damaged at byte 0 of {file}: {source}; nothing was changed, for this may be the only copy of what was answered; if 'standin status' shows another replica serving, set the data directory aside and start with an empty --data and --replace"
    )]
    Header {
        /// The segment file.
        file: PathBuf,
        /// What is wrong with it.
        source: SegmentError,
    },
    /// A segment does not continue the one before it.
    #[error(
        "the log is incomplete before byte 0 of {file}: that segment continues after entry {found}, but the log or the snapshot before it ends at entry {expected}; nothing was changed; restore what is missing, or, if 'standin status' shows another replica serving, set the data directory aside and start with an empty --data and --replace"
    )]
    Missing {
        /// The segment file that does not fit.
        file: PathBuf,
        /// The last entry before it, in the log or in the snapshot that it is to go on from.
        expected: Index,
        /// The entry that it says it continues after.
        found: Index,
    },
    /// The log is newer than the snapshot that it should go on from, and does not.
    #[error(
        "the log does not go on from the newest whole snapshot: {why}, and though its last entry, in {file}, is of view {view}, the snapshot's is of view {snapshot_view}; nothing was changed; restore the snapshot that is missing, or, if 'standin status' shows another replica serving, set the data directory aside and start with an empty --data and --replace"
    )]
    Newer {
        /// The log's last segment file.
        file: PathBuf,
        /// How it does not fit.
        why: SupersededBy,
        /// The view of the log's last entry.
        view: ViewNumber,
        /// The view of the snapshot's.
        snapshot_view: ViewNumber,
    },
    /// The header of the log's first segment is bad, the entries do not say what it said, and neither does another
    /// header: those of log formats 1 to 4 do.
    #[error(
        "the header of {file} is bad and cannot be made anew: nothing says which version of the machine the log's first entries were made for; nothing was changed; if 'standin status' shows another replica serving, set the data directory aside and start with an empty --data and --replace"
    )]
    BeginningUnknown {
        /// The segment file.
        file: PathBuf,
    },
    /// A segment belongs to another cluster, store or machine, or its name is not its own.
    #[error(
        "{file} is not of this log (byte 0): {what}; nothing was changed; move the file away if it was put there by mistake"
    )]
    Foreign {
        /// The segment file.
        file: PathBuf,
        /// What is not ours, in words.
        what: String,
    },
}

/// What was attempted when a sync of the log fails.
pub(super) const SYNCING: &str = "syncing";

impl LogError {
    /// Whether what was written before, and not synced, may be gone with this failure:
    /// [`crate::data_dir::DataDir::note_disk_failure`] must know. A lack of room, if it is not a sync
    /// that reports it, and damage that is found take nothing away.
    #[must_use]
    pub fn may_have_lost_writes(&self) -> bool {
        match self {
            Self::Failed => true,
            Self::Io { doing, source, .. } => *doing == SYNCING || !is_want_of_room(source),
            Self::Damaged { .. }
            | Self::Header { .. }
            | Self::Missing { .. }
            | Self::Newer { .. }
            | Self::BeginningUnknown { .. }
            | Self::Foreign { .. } => false,
        }
    }

    /// Whether something in the log is damaged or missing: another copy of it may have that, or take its place. Files
    /// of a later version, and of somebody else, are not.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Header { source, .. } => !matches!(source, SegmentError::Version(1..)),
            Self::Damaged { .. } | Self::Missing { .. } | Self::Newer { .. } => true,
            Self::Io { .. }
            | Self::Failed
            | Self::BeginningUnknown { .. }
            | Self::Foreign { .. } => false,
        }
    }

    /// Whether there is no room, and nothing else is wrong: what was to be written is not there, and all that
    /// was before is. A sync that says so is a failed sync.
    #[must_use]
    pub fn is_want_of_room(&self) -> bool {
        matches!(self, Self::Io { doing, source, .. }
            if *doing != SYNCING && is_want_of_room(source))
    }

    /// Wraps what the operating system said about `file`.
    pub(crate) fn io(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            file: file.to_owned(),
            source: Arc::new(source),
        }
    }
}

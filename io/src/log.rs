//! The log: preallocated segment files, appended by one writer.
//!
//! [`SegmentLog`] lives on the event loop. Appending copies into the page cache and never waits for
//! the disk; what waits goes through [`crate::log_thread::LogThread`]. `docs/format.md` has the
//! bytes, and what recovery makes of each kind of damage.

mod error;
mod sync;

use std::path::Path;
use std::path::PathBuf;

use standin_core::entry::{Batch, EntryError, Index, LogTip, ViewStarts};
use standin_core::identity::{ClusterId, StoreId};
use standin_core::machine::MachineId;

pub use error::LogError;
pub use sync::{PrepareRequest, PreparedSegment, SyncRequest};

/// Length to which a segment file is preallocated unless configured otherwise, in bytes.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Shortest segment that may be configured, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 4096;
/// Most cut tails that are kept in `cut/`; the oldest goes first.
pub const CUT_TAILS_MAX: usize = 16;

/// What every segment's header repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentIds {
    /// The cluster whose inputs these are.
    pub cluster: ClusterId,
    /// The data directory's store.
    pub store: StoreId,
    /// The state machine that the inputs are for.
    pub machine: MachineId,
}

/// How the log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// Length to which segment files are preallocated, in bytes; at least [`SEGMENT_BYTES_MIN`].
    pub segment_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

/// A last write that was cut short, and has been cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment file.
    pub file: PathBuf,
    /// Where the bad bytes began, in bytes from the beginning of the file.
    pub at: u64,
    /// What was wrong with them.
    pub why: EntryError,
}

/// What recovery found.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The log's end.
    pub tip: LogTip,
    /// The views in the log, and where they begin.
    pub view_starts: ViewStarts,
    /// The highest commit index that an entry names.
    pub commit: Index,
    /// The torn end that was cut off, if there was one.
    pub torn: Option<Torn>,
}

/// The log of one replica.
#[derive(Debug)]
pub struct SegmentLog {
    tip: LogTip,
}

impl SegmentLog {
    /// Opens the log in data directory `dir` (segments in `dir/log/`), reading and checking all of
    /// it; an absent log is created. When this returns, everything recovered is on disk.
    ///
    /// # Errors
    /// [`LogError`] if it is damaged, incomplete or another's (see the table in `docs/format.md`).
    /// Nothing is then changed.
    pub fn open(
        dir: &Path,
        ids: SegmentIds,
        config: LogConfig,
    ) -> Result<(Self, Recovered), LogError> {
        let _ = (dir, ids, config);
        unimplemented!()
    }

    /// The log's end.
    #[must_use]
    pub fn tip(&self) -> LogTip {
        self.tip
    }

    /// Everything up to here is known to be on disk.
    #[must_use]
    pub fn durable(&self) -> Index {
        unimplemented!()
    }

    /// Appends a batch: into the page cache, without waiting for the disk.
    ///
    /// # Errors
    /// [`LogError`] if the write fails. The first failure is final: every later call fails.
    ///
    /// # Panics
    /// If the batch does not follow the log's end.
    pub fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        let _ = batch;
        unimplemented!()
    }

    /// Whole encoded entries from `from` on: at least one if there is one, else about `bytes_max`
    /// bytes at most; empty if `from` lies beyond the end. Entries are checked before they are
    /// handed out.
    ///
    /// # Errors
    /// [`LogError`] if they cannot be read or are damaged.
    pub fn read(&self, from: Index, bytes_max: usize) -> Result<Vec<u8>, LogError> {
        let _ = (from, bytes_max);
        unimplemented!()
    }

    /// Removes everything after `after`, durably: when this returns, the rest is on disk and what
    /// was removed can never come back. The removed tail is kept as a file in `dir/cut/`. Syncs that
    /// are still under way are not reported any more. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError`] if it fails, which is final.
    pub fn cut(&mut self, after: Index) -> Result<LogTip, LogError> {
        let _ = after;
        unimplemented!()
    }

    /// What must be synced for everything appended so far to be on disk, to be handed to
    /// [`crate::log_thread::LogThread::sync`]; `None` if that has been asked for already.
    pub fn sync_request(&mut self) -> Option<SyncRequest> {
        unimplemented!()
    }

    /// Syncs everything appended so far. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError`] if it fails, which is final.
    pub fn sync_now(&mut self) -> Result<(), LogError> {
        unimplemented!()
    }

    /// Takes the segment file that the log thread has prepared.
    pub fn take_prepared(&mut self, segment: PreparedSegment) {
        let _ = segment;
        unimplemented!()
    }
}

//! The log thread: does for the log what waits for the disk.

use standin_core::entry::Index;

use crate::log::{LogError, PreparedSegment, SegmentLog, SyncRequest};

/// Something that the log thread has done.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogDone {
    /// Everything up to this entry is on disk.
    Synced {
        /// The last entry that is.
        through: Index,
    },
    /// The next segment file is ready: hand it to [`SegmentLog::take_prepared`].
    Prepared {
        /// The file.
        segment: PreparedSegment,
    },
    /// The next segment file could not be prepared, probably for want of room. The log goes on until
    /// the segment in use is full; an append then tries once more and its failure is final.
    NoRoom {
        /// What went wrong.
        error: LogError,
    },
}

/// The thread that syncs segment files and prepares new ones.
#[derive(Debug)]
pub struct LogThread {}

impl LogThread {
    /// Starts the thread. It calls `waker` whenever there is something to [`LogThread::poll`].
    #[must_use]
    pub fn start(waker: impl Fn() + Send + 'static) -> Self {
        let _ = waker;
        unimplemented!()
    }

    /// Asks for a sync. Requests that come while one is under way are served together by the next.
    /// After a failure nothing more is done.
    pub fn sync(&self, request: SyncRequest) {
        let _ = request;
        unimplemented!()
    }

    /// Asks for what the log needs at every durability level: the next segment file ahead of time, and
    /// a sync of segments that are full. To be called after appends; does nothing most of the time.
    pub fn upkeep(&self, log: &mut SegmentLog) {
        let _ = log;
        unimplemented!()
    }

    /// The next thing that is done. An error is final and comes once: from then on the log refuses
    /// every append.
    pub fn poll(&self) -> Option<Result<LogDone, LogError>> {
        unimplemented!()
    }
}

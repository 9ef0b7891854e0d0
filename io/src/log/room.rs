//! Whether there is room for more log, and what is done to have it in time.
//!
//! The next segment gets its room while the one in use still has plenty, so that a want of room is known
//! before anything fails for it: it is a condition, not a failed write. Until it ends, what is left of
//! the segment in use takes entries, and whoever decides what is appended keeps [`reserve_bytes`] of that for
//! what cannot be put off.

use standin_core::entry::Index;

use super::{ENTRIES_AT, LogError, PreparedSegment, SegmentLog, segment_file};
use crate::storage::Storage;

/// One in so many parts of a segment is the reserve.
const RESERVE_PARTS: u64 = 4;

/// How many bytes of a segment of this length, in bytes, are kept for what a change of view needs when there is
/// no room for another.
#[must_use]
pub fn reserve_bytes(segment_bytes: u64) -> u64 {
    segment_bytes / RESERVE_PARTS
}

/// What may be appended before the disk must be asked for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRoom {
    /// The entry before the segment in use, which tells it from others.
    pub segment: Index,
    /// Bytes of entries that the segment in use still takes.
    pub here: u64,
    /// Bytes of entries that the next segment takes; 0 if it is not ready.
    pub next: u64,
    /// There was no room for the next segment when it was last tried.
    pub is_lacking: bool,
}

impl<S: Storage> SegmentLog<S> {
    /// What may be appended now. A batch is appended to one segment as a whole: what it leaves of the segment
    /// in use when it does not fit there is not used.
    #[must_use]
    pub fn room(&self) -> LogRoom {
        let bytes = self.config.segment_bytes;
        LogRoom {
            segment: self.segment().before.index,
            here: bytes.saturating_sub(self.segment().end),
            next: self.next.as_ref().map_or(0, |_| bytes - ENTRIES_AT),
            is_lacking: self.is_room_lacking,
        }
    }

    /// Sees to it that what is left does not come to be less than the reserve without anybody knowing: makes
    /// the next segment at once, if it is time for that and the log thread has not. To be called after appends.
    /// `Some`: there is no room for it, and why. Waits for the disk if the disk is slower than the log.
    ///
    /// # Errors
    /// [`LogError`] if it fails for something else than a want of room, which is final.
    pub fn secure_room(&mut self) -> Result<Option<LogError>, LogError> {
        let is_urgent = self.room().here < reserve_bytes(self.config.segment_bytes);
        if !is_urgent || self.next.is_some() || self.is_room_lacking || self.state.is_failed() {
            return Ok(None);
        }
        let path = self.next_path();
        match segment_file::create(&self.storage, &path, self.config.segment_bytes) {
            Ok(file) => {
                self.next = Some(PreparedSegment { path, file });
                Ok(None)
            }
            Err(error) => self.lack_room(error),
        }
    }

    /// Takes note that the next segment could not be prepared. `None`: it is there by now.
    ///
    /// # Errors
    /// The error itself if it is of something else than a want of room: that is final.
    pub fn lack_room(&mut self, error: LogError) -> Result<Option<LogError>, LogError> {
        if !error.is_want_of_room() {
            self.state.fail();
            return Err(error);
        }
        if self.next.is_some() {
            return Ok(None);
        }
        self.is_room_lacking = true;
        Ok(Some(error))
    }

    /// Lets [`SegmentLog::prepare_request`] ask once more, after a pause, for what there was no room for. If
    /// it is not wanted any more, since the log was cut, there is no want of room.
    pub fn retry_room(&mut self) {
        self.next_asked_in = None;
        if self.segment().end < self.config.segment_bytes / 2 {
            self.is_room_lacking = false;
        }
    }

    /// Takes the segment file that the log thread has prepared.
    pub fn take_prepared(&mut self, segment: PreparedSegment<S>) {
        self.state.set_preparing(false);
        self.is_room_lacking = false;
        if self.next.is_some() {
            // It was made on the spot meanwhile. Best effort: the next start removes it, too.
            let _ = self.storage.remove(&segment.path);
        } else {
            self.next = Some(segment);
        }
    }
}

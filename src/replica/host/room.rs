//! Room for the log: what the disk says of it, and when it is asked again.

use standin_core::machine::StateMachine;
use standin_core::time::Now;
use standin_io::log::{LogError, SegmentLog};
use standin_io::log_thread::ROOM_RETRY;
use standin_replica::LogRoom;

use super::{FollowUp, Host};
use crate::replica::ReplicaError;

impl<M: StateMachine> Host<M> {
    /// The log ends elsewhere than before: what is left of its last segment may be too little already.
    pub(super) fn begin_room(&mut self, now: Now) {
        self.room_retry_at = Some(now.boot);
        self.follow_ups.push_back(FollowUp::Room);
    }

    /// Sees to what the log needs after appends.
    pub(super) fn secure_room(&mut self, now: Now) -> Result<(), ReplicaError> {
        self.log_thread.upkeep(&mut self.log);
        let error = self.log.secure_room()?;
        self.lack_room(now, error);
        Ok(())
    }

    /// There is no room for the next segment, if an error says so: that is tried again after a pause.
    pub(super) fn lack_room(&mut self, now: Now, error: Option<LogError>) {
        if let Some(error) = error {
            self.no_room = Some(error.to_string());
            self.close_mark();
            self.room_retry_at = Some(now.boot.plus(ROOM_RETRY));
        }
    }

    /// Marks no more entries in this life. Where a file system writes each page to another place, a page without room for that
    /// is a signal when it is stored to, and that would end the process.
    fn close_mark(&mut self) {
        let Some(mark) = self.mark.take() else {
            return;
        };
        match mark.close() {
            Ok(()) => log::info!(
                "for want of room no entry is marked any more before it is applied: one that kills this process \
                 will not be known"
            ),
            Err(error) => log::warn!("the mark file cannot be removed: {error}"),
        }
    }

    /// Looks whether there is room for the next segment, if it is time for one.
    pub(super) fn retry_room(&mut self, now: Now) -> Result<(), ReplicaError> {
        self.room_retry_at = None;
        self.log.retry_room();
        self.secure_room(now)?;
        self.tell_room(now)
    }

    /// Has the core told of the room for the log, if that is not what it can know by itself.
    pub(super) fn note_room(&mut self) {
        let room = self.log.room();
        let is = (room.segment, room.next > 0, room.is_lacking);
        if std::mem::replace(&mut self.room_told, is) != is {
            self.follow_ups.push_back(FollowUp::Room);
        }
    }

    pub(super) fn tell_room(&mut self, now: Now) -> Result<(), ReplicaError> {
        self.note_room();
        self.carry_out(now)
    }
}

pub(super) fn room_of(log: &SegmentLog) -> LogRoom {
    let room = log.room();
    LogRoom {
        here: room.here,
        next: room.next,
        is_lacking: room.is_lacking,
    }
}

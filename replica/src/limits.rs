//! How much is held in memory at one time, and how much is done for one event.

use standin_core::message::SNAPSHOT_PIECE_BYTES_MAX;

use crate::answers::ANSWERS_BYTES_MAX;
use crate::apply::{APPLY_ENTRIES_MAX, READ_BYTES};
use crate::recent::RECENT_BYTES_MAX;
use crate::room::ROOM_RESERVE_BYTES;

/// The bounds of a replica. Others than the default ones are for tests, which could not fill those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Those of its queues while it is primary.
    pub primary: standin_primary::Limits,
    /// See [`ANSWERS_BYTES_MAX`].
    pub answers_bytes_max: usize,
    /// Bytes of the newest batches that are kept in memory, at most (and one batch more).
    pub recent_bytes_max: usize,
    /// Entries applied in one wake-up, at most.
    pub apply_entries_max: u64,
    /// Bytes of log that are read at a time to be applied.
    pub log_read_bytes: usize,
    /// Longest piece of a snapshot that is asked for at a time, in bytes: 1 to [`SNAPSHOT_PIECE_BYTES_MAX`].
    pub snapshot_piece_bytes: u32,
    /// Bytes of the log's last segment that are kept for what a change of view needs, when there is no room for
    /// another.
    pub room_reserve_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            primary: standin_primary::Limits::default(),
            answers_bytes_max: ANSWERS_BYTES_MAX,
            recent_bytes_max: RECENT_BYTES_MAX,
            apply_entries_max: APPLY_ENTRIES_MAX,
            log_read_bytes: READ_BYTES,
            snapshot_piece_bytes: SNAPSHOT_PIECE_BYTES_MAX,
            room_reserve_bytes: ROOM_RESERVE_BYTES,
        }
    }
}

//! How much may wait at one time, and in which pieces the log is read.

/// Entries that are ordered and not yet applied, at most; beyond it no more input is taken.
pub const PENDING_ENTRIES_MAX: u64 = 1 << 16;
/// Bytes of such entries, at most.
pub const PENDING_BYTES_MAX: usize = 16 << 20;
/// Most reads that wait at one time.
pub const READS_MAX: usize = 1 << 16;
/// Most bytes of such reads (and one read more).
pub const READS_BYTES_MAX: usize = 16 << 20;
/// Bytes of log that are read for a follower in one wake-up: as much as takes it and this primary some milliseconds.
pub const LOG_READ_BYTES: usize = 256 << 10;

/// The bounds of a primary's queues. Others than the default ones are for tests, which could not fill
/// those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`PENDING_ENTRIES_MAX`].
    pub pending_entries_max: u64,
    /// See [`PENDING_BYTES_MAX`].
    pub pending_bytes_max: usize,
    /// See [`READS_MAX`].
    pub reads_max: usize,
    /// See [`READS_BYTES_MAX`].
    pub reads_bytes_max: usize,
    /// See [`LOG_READ_BYTES`].
    pub log_read_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending_entries_max: PENDING_ENTRIES_MAX,
            pending_bytes_max: PENDING_BYTES_MAX,
            reads_max: READS_MAX,
            reads_bytes_max: READS_BYTES_MAX,
            log_read_bytes: LOG_READ_BYTES,
        }
    }
}

/// What waits at a primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Entries that are ordered and not yet applied.
    pub entries: u64,
    /// Bytes of such entries.
    pub entries_bytes: usize,
    /// Reads that are to be confirmed.
    pub reads: usize,
    /// Bytes of such reads.
    pub reads_bytes: usize,
}

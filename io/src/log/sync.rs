//! What the log asks of the log thread.

/// Files to sync, and the entry through which the log is then on disk.
#[must_use = "what is not handed to the log thread is not synced"]
#[derive(Debug)]
pub struct SyncRequest {}

/// Please create the next segment file.
#[must_use = "what is not handed to the log thread is not done"]
#[derive(Debug)]
pub struct PrepareRequest {}

/// A segment file, created and preallocated, that waits for its turn.
#[derive(Debug)]
pub struct PreparedSegment {}

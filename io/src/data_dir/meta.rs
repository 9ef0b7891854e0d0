//! The meta file's format: a 24-byte header and a postcard payload.

use serde::{Deserialize, Serialize};
use standin_core::identity::{CLEAN_LIVES_MAX, ClusterId, Life, ReplicaName, StoreId};
use standin_core::machine::MachineId;
use standin_core::view::ViewId;

/// Version of the meta file's format.
pub const META_FORMAT_VERSION: u32 = 1;
/// Longest quarantine reason that is kept, in bytes; more is cut off.
pub const QUARANTINE_BYTES_MAX: usize = 1024;
/// Longest meta file, in bytes: no more is read or written.
pub const META_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the meta file's header.
pub const META_HEADER_BYTES: usize = 24;

const MAGIC: &[u8; 8] = b"STANMETA";
const AT_VERSION: usize = 8;
const AT_CHECKSUM: usize = 12;
const AT_LENGTH: usize = 16;
const AT_RESERVED: usize = 20;

/// What a replica must remember across restarts. Field order is the format: append, never reorder,
/// and raise [`META_FORMAT_VERSION`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaMeta {
    /// The cluster that the store belongs to; `None` until it has met a view service.
    pub cluster: Option<ClusterId>,
    /// The replica's name.
    pub name: ReplicaName,
    /// The store, drawn when the directory was formatted.
    pub store: StoreId,
    /// The state machine whose inputs the log holds.
    pub machine: MachineId,
    /// How many times the store was started. Never falls.
    pub starts: u64,
    /// The highest view this replica has adopted. Never falls (`protocol.md` R5, S7).
    pub adopted: ViewId,
    /// The life that runs or ran last; `None` before the first.
    pub life: Option<Life>,
    /// Earlier lives that ended with everything on disk, oldest first; at most [`CLEAN_LIVES_MAX`].
    pub clean_lives: Vec<Life>,
    /// Set by a clean stop, moved into `clean_lives` by the next start.
    pub clean_stop: Option<Life>,
    /// Why the replica may not serve until an operator has looked at it; at most
    /// [`QUARANTINE_BYTES_MAX`].
    pub quarantine: Option<String>,
    /// There was a log when this was written. A directory that says so and has none lost it.
    pub has_log: bool,
}

/// What is wrong with a meta file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaError {
    /// The magic bytes are others.
    #[error("it does not begin as a meta file of Standin does")]
    Magic,
    /// Written by a version that this one does not read.
    #[error("its format is {0}, and this version reads format {META_FORMAT_VERSION}")]
    Version(u32),
    /// Shorter or longer than it says, or than is possible.
    #[error("its length is wrong")]
    Length,
    /// The checksum does not match.
    #[error("its checksum does not match its bytes")]
    Checksum,
    /// A field holds what it may not.
    #[error("it holds an impossible value")]
    Field,
}

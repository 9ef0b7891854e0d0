//! A replica's data directory: its lock, its meta file, and the place of its log.
//!
//! `DIR/lock` is held as long as the process lives; `DIR/meta` says whose directory this is and what
//! must survive a restart; `DIR/log/` and `DIR/cut/` belong to [`crate::log`]. `docs/format.md` has
//! the bytes.

mod lock;
mod meta;
mod replace;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use standin_core::identity::{BootId, Identity, Incarnation, Life, ReplicaName, StoreId};
use standin_core::machine::MachineId;

pub use lock::{DirLock, LockError};
pub use meta::{META_FORMAT_VERSION, MetaError, QUARANTINE_BYTES_MAX, ReplicaMeta};
pub use replace::{create_dir_durably, replace_file, sync_dir};

/// The directory of log segments inside a data directory.
pub const LOG_DIR: &str = "log";
/// The directory of tails that were cut off the log, inside a data directory.
pub const CUT_DIR: &str = "cut";
const META_FILE: &str = "meta";
const LOCK_FILE: &str = "lock";
/// What may stand in a directory that has not been formatted: our own lock, a meta file whose
/// formatting was interrupted, and what `mkfs` leaves at the root of a file system.
const UNFORMATTED_MAY_HOLD: [&str; 3] = [LOCK_FILE, "meta.new", "lost+found"];

/// Why a data directory cannot be used. Each is one line: what, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process has it.
    #[error(
        "cannot use data directory {path}: {holder} holds it; stop that process or choose another --data"
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who holds it, in words.
        holder: String,
    },
    /// It belongs to a replica with another name.
    #[error(
        "cannot use data directory {path}: it belongs to replica {theirs}, not {ours}; start it with --name {theirs} or choose another --data"
    )]
    OtherName {
        /// The directory.
        path: PathBuf,
        /// The name in it.
        theirs: ReplicaName,
        /// The name it was opened for.
        ours: ReplicaName,
    },
    /// It belongs to another state machine, or another version of it.
    #[error(
        "cannot use data directory {path}: it holds the log of {theirs}, and this is {ours}; run the machine it belongs to or choose another --data"
    )]
    OtherMachine {
        /// The directory.
        path: PathBuf,
        /// The machine in it.
        theirs: MachineId,
        /// The machine it was opened for.
        ours: MachineId,
    },
    /// It holds files, but no meta file.
    #[error(
        "cannot use data directory {path}: it holds {found} but no meta file, so it is not a data directory or lost its meta file; choose an empty --data"
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// The meta file cannot be understood.
    #[error(
        "cannot use data directory {path}: its meta file is bad: {source}; set the directory aside and start with an empty --data and --replace"
    )]
    BadMeta {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        source: MetaError,
    },
    /// It had a log, and the log is gone.
    #[error(
        "cannot use data directory {path}: it had a log up to view {view} at least, and {path}/log is empty; restore the log, or start with an empty --data and --replace"
    )]
    LogLost {
        /// The directory.
        path: PathBuf,
        /// The highest view it has adopted.
        view: standin_core::view::ViewId,
    },
    /// The operating system says no.
    #[error("cannot use data directory {path}: {doing}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What was attempted.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A replica's data directory, held exclusively while this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// What is on disk.
    meta: ReplicaMeta,
    /// A write of the meta file failed: what is on disk is unknown, and nothing more is written.
    is_failed: bool,
    _lock: DirLock,
}

impl DataDir {
    /// Opens the data directory at `path`, creating and formatting it as store `fresh_store` if it
    /// is absent or empty. The flag says whether it was formatted just now.
    ///
    /// # Errors
    /// [`DataDirError`] if it is held by another process, is not this replica's, or is damaged.
    pub fn open(
        path: &Path,
        name: &ReplicaName,
        machine: &MachineId,
        fresh_store: StoreId,
    ) -> Result<(Self, bool), DataDirError> {
        let _ = (path, name, machine, fresh_store);
        unimplemented!()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its meta file says.
    #[must_use]
    pub fn meta(&self) -> &ReplicaMeta {
        &self.meta
    }

    /// Replaces the meta file; on disk when this returns. Waits for the disk.
    ///
    /// # Errors
    /// Those of the file system. The first is final: every later call fails.
    ///
    /// # Panics
    /// If name, store or machine differ, or the adopted view, the count of starts or the cluster
    /// would go back: that is a bug of the caller's (`protocol.md` S7).
    pub fn store(&mut self, meta: ReplicaMeta) -> io::Result<()> {
        let _ = meta;
        unimplemented!()
    }

    /// Begins a process life: counts the start durably and says who this replica is now.
    ///
    /// # Errors
    /// Those of [`DataDir::store`].
    pub fn begin_life(&mut self, boot: BootId, nonce: u64) -> io::Result<Identity> {
        let _ = (boot, nonce);
        unimplemented!()
    }

    /// Ends the life cleanly: its tokens live on. The log must have been synced before
    /// ([`crate::log::SegmentLog::sync_now`]) and must not be written after.
    ///
    /// # Errors
    /// Those of [`DataDir::store`].
    pub fn note_clean_stop(&mut self) -> io::Result<()> {
        unimplemented!()
    }
}

/// The machine's boot, as the kernel names it.
///
/// # Errors
/// Those of reading `/proc/sys/kernel/random/boot_id`, and `InvalidData` if it holds no UUID.
pub fn boot_id() -> io::Result<BootId> {
    unimplemented!()
}

//! The lock on a data directory: one process at a time.

use std::fs::File;
use std::io;
use std::path::Path;

/// An exclusive lock on a directory, held while this value lives. The kernel lets it go when the
/// process dies, however it dies.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Why a directory cannot be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds it; its process id, if it could be read.
    #[error("another process holds it")]
    Held {
        /// The process id in the lock file.
        pid: Option<u32>,
    },
    /// The operating system says no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl DirLock {
    /// Takes the lock on the directory at `dir`, which must exist, through the file `lock` in it.
    ///
    /// # Errors
    /// [`LockError`] if another process holds it or the file cannot be opened.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let _ = dir;
        unimplemented!()
    }
}

//! The lock on a data directory: one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

/// The lock file's name.
pub(super) const LOCK_FILE: &str = "lock";

/// Longest process id that is read from a lock file, in bytes.
const PID_BYTES_MAX: u64 = 16;

/// An exclusive lock on a directory, held while this value lives. The kernel lets it go when the
/// process dies, however it dies.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

/// Why a directory cannot be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds it.
    #[error("{} holds it", holder(*.pid))]
    Held {
        /// The process id in the lock file, if it could be read.
        pid: Option<u32>,
    },
    /// The operating system says no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Who holds a lock, in words.
pub(super) fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

impl DirLock {
    /// Takes the lock on the directory at `dir`, which must exist, through the file `lock` in it.
    ///
    /// # Errors
    /// [`LockError`] if another process holds it or the file cannot be opened.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&mut file);
                return Err(LockError::Held { pid });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // Only for the message that another process shows to people: the lock is what counts.
        file.set_len(0)?;
        file.write_all(std::process::id().to_string().as_bytes())?;
        Ok(Self { file })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing the file would do, but for a child that another thread is about to start: between
        // fork and exec it has the file, too, and would keep the lock a moment longer. If it fails,
        // closing remains.
        let _ = self.file.unlock();
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.parse().ok()
}

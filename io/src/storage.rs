//! The file operations that the log, the data directory and the view service's state are built from.
//!
//! They name [`Storage`] instead of the file system so that a simulator can run the very same code on
//! a disk that loses power. [`OsStorage`] is the real one.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise, posix_fallocate};
use nix::sys::statvfs::statvfs;

use crate::data_dir::{DirLock, LockError};

/// A file system, as far as we need one. What is assumed of it stands in `docs/format.md`.
///
/// Cloning gives another handle to the same files.
pub trait Storage: Clone + Debug + Send + Sync + 'static {
    /// An open file.
    type File: StorageFile;
    /// An exclusive lock, held while it lives.
    type Lock: Debug + Send + Sync + 'static;

    /// Opens the file at `path`, which must exist, for reading and writing.
    ///
    /// # Errors
    /// Those of the file system.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens the file at `path`, which must exist, for reading alone.
    ///
    /// # Errors
    /// Those of the file system.
    fn open_to_read(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens the file at `path` for reading and writing, created or emptied.
    ///
    /// # Errors
    /// Those of the file system.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Creates the file at `path` for reading and writing; it must not exist.
    ///
    /// # Errors
    /// Those of the file system.
    fn create_new(&self, path: &Path) -> io::Result<Self::File>;

    /// The bytes of the file at `path`, the first `bytes_max` of them.
    ///
    /// # Errors
    /// Those of the file system.
    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// Gives the file at `from` the name `to` in the same directory, in place of what had it.
    ///
    /// # Errors
    /// Those of the file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the file at `path`.
    ///
    /// # Errors
    /// Those of the file system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in the directory `dir`, in no order.
    ///
    /// # Errors
    /// Those of the file system.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;

    /// Whether there is anything at `path`. What cannot be looked at counts as absent.
    fn exists(&self, path: &Path) -> bool;

    /// Whether there is a directory at `path`. What cannot be looked at counts as absent.
    fn is_dir(&self, path: &Path) -> bool;

    /// Creates a directory at `path`, whose parent must exist.
    ///
    /// # Errors
    /// Those of the file system; `AlreadyExists` if there is anything at `path`.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Syncs a directory: names created, renamed or removed in it are then on disk. Waits for the
    /// disk.
    ///
    /// # Errors
    /// Those of the file system.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// How many bytes the file system of the directory at `dir` has free, as far as it says so. Quotas it does not
    /// know: only an attempt tells whether there is room.
    ///
    /// # Errors
    /// Those of the file system.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Takes the lock on the directory at `dir`, which must exist.
    ///
    /// # Errors
    /// [`LockError`] if another process holds it or the system says no.
    fn lock(&self, dir: &Path) -> Result<Self::Lock, LockError>;
}

/// An open file of a [`Storage`].
pub trait StorageFile: Debug + Send + Sync + 'static {
    /// Fills `buffer` from byte `at` on.
    ///
    /// # Errors
    /// Those of the file system; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;

    /// Writes `bytes` from byte `at` on: into the page cache, without waiting for the disk.
    ///
    /// # Errors
    /// Those of the file system. Some of the bytes may have been written then.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Truncates the file, or extends it by zeros, to `length` bytes.
    ///
    /// # Errors
    /// Those of the file system.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Reserves room for `length` bytes, which read as zeros where nothing was written. A longer file
    /// stays as it is.
    ///
    /// # Errors
    /// Those of the file system.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// Those of the file system.
    fn length(&self) -> io::Result<u64>;

    /// Has the page cache let go of what it has of the file and believes to be on disk: it is read from
    /// the disk itself then.
    ///
    /// # Errors
    /// Those of the file system.
    fn drop_cache(&self) -> io::Result<()>;

    /// Waits until the file's bytes and its length are on disk.
    ///
    /// # Errors
    /// Those of the file system. What is on disk is then unknown.
    fn sync_data(&self) -> io::Result<()>;

    /// Waits until the file's bytes, its length and everything else about it but its name are on disk.
    ///
    /// # Errors
    /// Those of the file system. What is on disk is then unknown.
    fn sync_all(&self) -> io::Result<()>;
}

/// Whether an error says that there is no room, on the disk or in a quota.
#[must_use]
pub fn is_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OsStorage;

impl Storage for OsStorage {
    type File = File;
    type Lock = DirLock;

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn open_to_read(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        options.open(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).open(path)
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len().min(bytes_max);
        let mut buffer = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        file.take(bytes_max).read_to_end(&mut buffer)?;
        Ok(buffer)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let found = statvfs(dir)?;
        // One that counts no blocks has no end that it knows of.
        if found.blocks() == 0 {
            return Ok(u64::MAX);
        }
        Ok(found
            .fragment_size()
            .saturating_mul(found.blocks_available()))
    }

    fn lock(&self, dir: &Path) -> Result<DirLock, LockError> {
        DirLock::take(dir)
    }
}

impl StorageFile for File {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, at)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let length = i64::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        loop {
            match posix_fallocate(self, 0, length) {
                Ok(()) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn drop_cache(&self) -> io::Result<()> {
        posix_fadvise(self, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_all()
    }
}

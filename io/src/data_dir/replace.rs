//! Files and directories that are on disk when the call returns.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces the file at `path` by `bytes`, so that a crash leaves either the old or the new one:
/// written beside as `path` + `.new`, synced, renamed, directory synced. Waits for the disk.
///
/// # Errors
/// Those of the file system. What is on disk is then either file.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    // The name must not come to stand for bytes that are not there yet.
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_dir(parent(path))
}

/// Creates the directory at `path` and its missing parents, and syncs the directories they were
/// created in.
///
/// # Errors
/// Those of the file system. That it exists already is none.
pub fn create_dir_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    create_dir_durably(parent(path))?;
    match fs::create_dir(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        // "File exists" would not say what is wrong.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(io::ErrorKind::NotADirectory.into())
        }
        Err(error) => Err(error),
    }
}

/// Syncs a directory: names created, renamed or removed in it are then on disk.
///
/// # Errors
/// Those of the file system.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory that `path` stands in; that of a bare name is the current one.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

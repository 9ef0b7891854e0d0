//! Files and directories that are on disk when the call returns.

use std::io;
use std::path::Path;

/// Replaces the file at `path` by `bytes`, so that a crash leaves either the old or the new one:
/// written beside as `path` + `.new`, synced, renamed, directory synced. Waits for the disk.
///
/// # Errors
/// Those of the file system. What is on disk is then either file.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = (path, bytes);
    unimplemented!()
}

/// Creates the directory at `path` and its missing parents, and syncs the directories they were
/// created in.
///
/// # Errors
/// Those of the file system. That it exists already is none.
pub fn create_dir_durably(path: &Path) -> io::Result<()> {
    let _ = path;
    unimplemented!()
}

/// Syncs a directory: names created, renamed or removed in it are then on disk.
///
/// # Errors
/// Those of the file system.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    let _ = path;
    unimplemented!()
}

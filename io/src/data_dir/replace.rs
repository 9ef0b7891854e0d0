//! Files and directories that are on disk when the call returns.

use std::io;
use std::path::{Path, PathBuf};

use crate::storage::{Storage, StorageFile, is_want_of_room};

/// Replaces the file at `path` by `bytes`, so that a crash leaves either the old or the new one:
/// written beside as `path` + `.new`, synced, renamed, directory synced. Waits for the disk.
///
/// # Errors
/// Those of the file system. What is on disk is then either file; if the error is a want of room
/// ([`is_want_of_room`]), the old one, and nothing is wrong with the disk.
pub fn replace_file(storage: &impl Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = storage.create(&beside).and_then(|file| {
        file.write_all_at(bytes, 0)?;
        Ok(file)
    });
    let file = written.inspect_err(|error| {
        if is_want_of_room(error) {
            // Best effort: what it has got is of use to others, or to the next try.
            let _ = storage.remove(&beside);
        }
    })?;
    // The name must not come to stand for bytes that are not there yet.
    file.sync_all().map_err(failed_sync)?;
    storage.rename(&beside, path)?;
    storage.sync_dir(parent(path)).map_err(failed_sync)
}

/// A sync that fails for want of room is a failed sync: nobody may take it for a mere want of room.
fn failed_sync(error: io::Error) -> io::Error {
    if is_want_of_room(&error) {
        return io::Error::other(format!("a sync failed: {error}"));
    }
    error
}

/// Creates the directory at `path` and its missing parents, and syncs the directories they were
/// created in, also that of one that exists: whoever created it may have died before its name was on
/// disk, and with the name everything in it would go.
///
/// # Errors
/// Those of the file system. That it exists already is none.
pub fn create_dir_durably(storage: &impl Storage, path: &Path) -> io::Result<()> {
    if storage.is_dir(path) {
        return match storage.sync_dir(parent(path)) {
            // We did not create it there, then.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        };
    }
    create_dir_durably(storage, parent(path))?;
    match storage.create_dir(path) {
        Ok(()) => storage.sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && storage.is_dir(path) => {
            Ok(())
        }
        // "File exists" would not say what is wrong.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(io::ErrorKind::NotADirectory.into())
        }
        Err(error) => Err(error),
    }
}

/// The directory that `path` stands in; that of a bare name is the current one.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

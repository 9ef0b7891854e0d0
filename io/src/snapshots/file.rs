//! One snapshot file: read as a whole, as the state in it, and in pieces.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use standin_core::snapshot::{
    SNAPSHOT_HEADER_BYTES, SnapshotError, SnapshotFlaw, SnapshotHeader, SnapshotReader, StateReader,
};

use super::SnapshotsError;
use super::error::SYNCING;
use crate::storage::{OsStorage, Storage, StorageFile};

/// How much of a file is read at a time, in bytes.
const READ_BYTES: usize = 256 << 10;

/// A snapshot file that was found to be whole.
///
/// It stays readable, at least under a usual operating system, when the file is removed meanwhile.
#[derive(Debug)]
pub struct SnapshotFile<S: Storage = OsStorage> {
    path: PathBuf,
    file: Arc<S::File>,
    header: SnapshotHeader,
}

impl<S: Storage> SnapshotFile<S> {
    pub(super) fn new(
        path: PathBuf,
        file: impl Into<Arc<S::File>>,
        header: SnapshotHeader,
    ) -> Self {
        Self {
            path,
            file: file.into(),
            header,
        }
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    pub(super) fn renamed(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.header.file_bytes()
    }

    /// Reads all of it, from the disk itself.
    ///
    /// # Errors
    /// [`SnapshotsError::Unsound`] if it is not whole. Else those of the file system.
    pub fn verify(&self) -> Result<(), SnapshotsError> {
        let outcome = verify(&*self.file, &self.path)?;
        outcome.map_err(SnapshotsError::unsound(&self.path))?;
        Ok(())
    }

    /// The state in it, as a stream that is checked once more as it is read.
    ///
    /// # Errors
    /// Those of the file system, and `InvalidData` if it is not whole any more.
    pub fn state(&self) -> io::Result<StateReader<impl Read>> {
        StateReader::new(FileReader::new(&*self.file, self.bytes()))
    }

    /// Its bytes from byte `at` on, `bytes_max` of them at most: to be sent to another replica, which
    /// checks them. Empty beyond the end.
    ///
    /// # Errors
    /// [`SnapshotsError`] if they cannot be read.
    pub fn read_at(&self, at: u64, bytes_max: usize) -> Result<Vec<u8>, SnapshotsError> {
        let left = usize::try_from(self.bytes().saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(bytes_max)];
        let read = self.file.read_exact_at(&mut bytes, at);
        read.map_err(SnapshotsError::io("reading", &self.path))?;
        Ok(bytes)
    }
}

/// A file, as a stream from its beginning on.
#[derive(Debug)]
struct FileReader<'a, F> {
    file: &'a F,
    at: u64,
    end: u64,
}

impl<'a, F: StorageFile> FileReader<'a, F> {
    fn new(file: &'a F, end: u64) -> Self {
        Self { file, at: 0, end }
    }
}

impl<F: StorageFile> Read for FileReader<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        self.file.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += u64::try_from(count).expect("a buffer is short");
        Ok(count)
    }
}

/// Reads a header. `Ok(Err(_))`: it could be read, and is none.
pub(super) fn read_header(
    file: &impl StorageFile,
    path: &Path,
) -> Result<Result<SnapshotHeader, SnapshotError>, SnapshotsError> {
    let failed = || SnapshotsError::io("reading", path);
    let length = file.length().map_err(failed())?;
    if length < u64::try_from(SNAPSHOT_HEADER_BYTES).expect("it is short") {
        let flaw = SnapshotFlaw::Short;
        return Ok(Err(SnapshotError { at: length, flaw }));
    }
    let mut bytes = [0; SNAPSHOT_HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0).map_err(failed())?;
    Ok(SnapshotHeader::decode(&bytes).map_err(|flaw| SnapshotError { at: 0, flaw }))
}

/// Reads all of a file from the disk itself, and says whether it is a whole snapshot. What was put there
/// by other means may not be on the disk yet, and is synced first.
pub(super) fn verify(
    file: &impl StorageFile,
    path: &Path,
) -> Result<Result<SnapshotHeader, SnapshotError>, SnapshotsError> {
    file.sync_all().map_err(SnapshotsError::io(SYNCING, path))?;
    let dropped = file.drop_cache();
    dropped.map_err(SnapshotsError::io("reading anew", path))?;
    let (reader, outcome) = scan(file, path)?;
    Ok(outcome.and_then(|()| reader.finish()))
}

/// Reads a file up to its end, or to the first thing that is bad in it.
pub(super) fn scan(
    file: &impl StorageFile,
    path: &Path,
) -> Result<(SnapshotReader, Result<(), SnapshotError>), SnapshotsError> {
    let failed = || SnapshotsError::io("reading", path);
    let end = file.length().map_err(failed())?;
    let mut reader = SnapshotReader::new();
    let mut bytes = FileReader::new(file, end);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = bytes.read(&mut buffer).map_err(failed())?;
        if count == 0 {
            return Ok((reader, Ok(())));
        }
        if let Err(error) = take_all(&mut reader, &buffer[..count]) {
            return Ok((reader, Err(error)));
        }
    }
}

/// Hands bytes to a reader that is not asked for the state in them.
pub(super) fn take_all(reader: &mut SnapshotReader, mut bytes: &[u8]) -> Result<(), SnapshotError> {
    while reader.next(&mut bytes)?.is_some() {}
    Ok(())
}

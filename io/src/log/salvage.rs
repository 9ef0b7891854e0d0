//! Reading what there is of a log that is damaged, for another replica whose log is damaged elsewhere.

use std::path::{Path, PathBuf};

use standin_core::entry::{ENTRY_HEADER_BYTES, Entry, Index, LogTip};
use standin_core::segment::{SegmentHeader, used};

use super::LogError;
use super::recovery::list;
use super::segment_file::HEADER_BYTES;
use crate::data_dir::LOG_DIR;
use crate::storage::Storage;

/// What there is of a log, damaged as it is.
#[derive(Debug)]
pub struct Salvage<S> {
    storage: S,
    files: Vec<(Index, PathBuf)>,
    /// The segment that was read last: pieces are asked for one after the other.
    read: Option<(PathBuf, Vec<u8>)>,
}

impl<S: Storage> Salvage<S> {
    /// Of the log in data directory `dir`.
    ///
    /// # Errors
    /// If the files cannot be listed.
    pub fn open(storage: S, dir: &Path) -> Result<Self, LogError> {
        let dir = dir.join(LOG_DIR);
        let files = match storage.is_dir(&dir) {
            true => list(&storage, &dir)?,
            false => Vec::new(), // all of it is lost
        };
        Ok(Self {
            storage,
            files,
            read: None,
        })
    }

    /// Whole encoded entries that go on after this one, if it is here: at least one if there is one, about
    /// `bytes_max` bytes at most. What is damaged is not here.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(&mut self, after: LogTip, bytes_max: usize) -> Result<&[u8], LogError> {
        let Some(bytes) = self.segment(after.index.next())? else {
            return Ok(&[]);
        };
        let Some(start) = place_behind(bytes, after) else {
            return Ok(&[]);
        };
        let (mut at, mut tip) = (start, after);
        while let Ok(entry) = Entry::decode(&bytes[at..]) {
            let next = at + ENTRY_HEADER_BYTES + entry.payload.len();
            let is_full = at > start && next - start > bytes_max;
            if is_full || tip.check_next(&entry).is_err() {
                break;
            }
            (at, tip) = (next, entry.tip());
        }
        Ok(&bytes[start..at])
    }

    /// The bytes of the segment that has entry `index`, or should.
    fn segment(&mut self, index: Index) -> Result<Option<&[u8]>, LogError> {
        let beyond = self.files.partition_point(|(first, _)| *first <= index);
        let Some(number) = beyond.checked_sub(1) else {
            return Ok(None);
        };
        let path = &self.files[number].1;
        if self.read.as_ref().is_none_or(|(read, _)| read != path) {
            let bytes = self.storage.read(path, u64::MAX);
            let bytes = bytes.map_err(LogError::io("reading", path))?;
            self.read = Some((path.clone(), bytes));
        }
        Ok(self.read.as_ref().map(|(_, bytes)| &bytes[..]))
    }
}

/// Where what goes on after an entry begins in the bytes of a segment, if that entry is there, or is what the segment
/// goes on after.
fn place_behind(bytes: &[u8], after: LogTip) -> Option<usize> {
    let is_it =
        |tip: LogTip| (tip.index, tip.view, tip.chain) == (after.index, after.view, after.chain);
    if SegmentHeader::decode(bytes).is_ok_and(|header| is_it(header.before)) {
        return Some(HEADER_BYTES);
    }
    let mut at = HEADER_BYTES;
    let end = used(bytes);
    while at < end {
        let Ok(entry) = Entry::decode(&bytes[at..]) else {
            at += 1;
            continue;
        };
        let next = at + ENTRY_HEADER_BYTES + entry.payload.len();
        if is_it(entry.tip()) {
            return Some(next);
        }
        if at == HEADER_BYTES && after.check_next(&entry).is_ok() {
            return Some(at); // its header is damaged
        }
        at = next;
    }
    None
}

//! What a replica's disk has of the log, as its process reads it.

use standin_io::log::{LogError, SegmentLog};

use crate::simulate::disk::SimDisk;
use crate::simulate::truth::entries;

/// All that there is of the log, which hands out a segment at a time.
pub(super) fn read_all(log: &SegmentLog<SimDisk>) -> Result<Vec<u8>, LogError> {
    let mut whole = Vec::new();
    let mut next = log.base().index.next();
    while next <= log.tip().index {
        let bytes = log.read(next, usize::MAX)?;
        let last = entries(&bytes).last();
        next = last.map_or(next, |(entry, _)| entry.header.index.next());
        whole.extend_from_slice(&bytes);
    }
    Ok(whole)
}

//! What a replica's disk has of the log, and what a replay of that comes to.

use standin_core::entry::{EntryKind, ViewStart};
use standin_core::state::Replicated;
use standin_io::log::{LogError, SegmentLog};

use super::Node;
use super::images::restore;
use crate::simulate::disk::SimDisk;
use crate::simulate::truth::entries;
use crate::simulate::watched::{Subject, Watched};

impl<M: Subject> Node<M> {
    /// Replays the log, from a snapshot if there is one, up to where the replica has applied it, and compares.
    pub(crate) fn replay(&self) -> Result<(), String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let applied = self.replica.state().applied();
        let mut state = Replicated::<Watched<M>>::default();
        let snapshots = &self.images.snapshots;
        let listed = snapshots.list().map_err(|error| words(&error))?;
        let base = self.log.base().index;
        let mut why = "no snapshot".to_owned();
        let usable = listed.iter().map(|one| one.point.tip.index);
        for index in usable.filter(|index| *index >= base) {
            let file = snapshots.file_of(index).map_err(|error| words(&error))?;
            // One that has rotted is of no use, and the next one may be.
            match file.map(|file| restore(&file, &self.falsehood)) {
                Some(Ok(restored)) => {
                    state = restored;
                    break;
                }
                Some(Err(error)) => why = error.to_string(),
                None => why = format!("the snapshot of entry {index} cannot be read"),
            }
        }
        if state.applied() < base {
            return Err(format!(
                "there is nothing to begin a replay with before entry {base}: {why}"
            ));
        }
        let bytes = read_all(&self.log).map_err(|error| error.to_string())?;
        let mut reply = Vec::new();
        // What is skipped stands in ViewStarts that come later.
        let starts = entries(&bytes).map(|(entry, _)| entry);
        let starts = starts.filter(|entry| entry.header.kind == EntryKind::ViewStart);
        let starts = starts.filter_map(|entry| ViewStart::decode(entry.payload));
        for skip in starts.flat_map(|start| start.skips) {
            state.skip(skip);
        }
        for (entry, _) in entries(&bytes) {
            if entry.header.index <= state.applied() {
                continue;
            }
            if entry.header.index > applied {
                break;
            }
            reply.clear();
            let applied = state.apply(&entry, &mut reply);
            applied.map_err(|fault| format!("a replay fails at entry {}", fault.skip))?;
        }
        if state.state_digest() != self.replica.state().state_digest() {
            return Err(format!(
                "a replay up to entry {applied} comes to another state"
            ));
        }
        Ok(())
    }
}

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

//! What must be on the disk, and what may be.

use standin_core::entry::{Batch, Entry, Index, LogTip};

/// A number that only rises: what was durably stored, and what an interrupted store may have left.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rising {
    pub(crate) stored: u64,
    pub(crate) tried: u64,
}

impl Rising {
    /// Takes note of what was found after a restart, which from then on is relied upon.
    pub(crate) fn found(&mut self, what: &str, number: u64) {
        assert!(number >= self.stored, "{what} fell to {number}: {self:?}");
        assert!(number <= self.tried, "{what} {number} never was: {self:?}");
        self.stored = number;
        self.tried = number;
    }
}

/// The log as it should be.
#[derive(Debug)]
pub(crate) struct ShadowLog {
    /// The entries, also those whose writing failed: they may be there in part.
    entries: Vec<Vec<u8>>,
    /// The log's end after so many entries.
    tips: Vec<LogTip>,
    /// So many entries are known to be on disk and to stay there.
    pub(crate) synced: usize,
    /// So many are on disk, though a cut that is under way may be removing some.
    ///
    /// Invariant: `synced <= reached`.
    pub(crate) reached: usize,
}

impl ShadowLog {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            tips: vec![LogTip::default()],
            synced: 0,
            reached: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn append(&mut self, batch: &Batch) {
        for entry in batch.entries() {
            let bytes = batch.bytes_from(entry.header.index);
            let length = usize::try_from(entry.header.length).unwrap();
            self.entries.push(bytes[..length].to_vec());
            self.tips.push(entry.tip());
        }
    }

    pub(crate) fn note_synced(&mut self, through: Index) {
        self.synced = self.synced.max(count(through));
        self.reached = self.reached.max(self.synced);
        assert!(self.synced <= self.len(), "synced beyond the end");
    }

    /// The entries after `after` are about to go: from here on they may be there or not.
    pub(crate) fn begin_cut(&mut self, after: usize) {
        self.synced = self.synced.min(after);
    }

    /// Only the first `count` entries are left, and those are on disk.
    pub(crate) fn shorten(&mut self, count: usize) {
        self.entries.truncate(count);
        self.tips.truncate(count + 1);
        self.synced = count;
        self.reached = count;
    }

    /// What was found by a restart is on disk, and nothing else is there.
    pub(crate) fn found(&mut self, tip: LogTip) {
        let found = count(tip.index);
        assert!(
            found >= self.synced,
            "{found} entries of {} are left, {} were synced",
            self.len(),
            self.synced
        );
        assert!(found <= self.len(), "{found} entries of {}", self.len());
        assert_eq!(tip, self.tips[found], "the log's end is another");
        self.shorten(found);
    }

    /// The entries from the one after `before` on, `count` of them.
    pub(crate) fn bytes(&self, before: usize, count: usize) -> Vec<u8> {
        self.entries[before..before + count].concat()
    }

    /// How many of our entries stand at the beginning of `bytes`, after the first `before`.
    pub(crate) fn matching(&self, bytes: &[u8], before: usize) -> usize {
        let mut at = 0;
        let entries = self.entries[before..].iter();
        entries
            .take_while(|entry| {
                let is_there = bytes[at..].starts_with(entry);
                at += entry.len();
                is_there
            })
            .count()
    }
}

/// A log's length in entries.
pub(crate) fn count(through: Index) -> usize {
    usize::try_from(through.0).unwrap()
}

/// The number of whole entries in `bytes`.
pub(crate) fn entries_in(bytes: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = Entry::decode(rest).unwrap().header.length;
        rest = &rest[usize::try_from(length).unwrap()..];
        count += 1;
    }
    count
}

//! The newest batches, kept in memory until the first that comes after they were applied: what is applied next is nearly
//! always here.

use std::collections::VecDeque;
use std::sync::Arc;

use standin_core::entry::{Batch, Index};

/// Bytes of batches that are kept, at most (and one batch more): what waits to be applied fits twice over.
pub(crate) const RECENT_BYTES_MAX: usize = 32 << 20;

/// A window over the end of the log.
#[derive(Clone, Debug)]
pub(crate) struct RecentLog {
    bytes_max: usize,
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
}

impl RecentLog {
    /// Keeps at most so many bytes, and one batch more.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            batches: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the batch that follows all others, and lets go of those that are `applied`: their memory is used again
    /// while the caches have it.
    pub(crate) fn push(&mut self, batch: Arc<Batch>, applied: Index) {
        if let Some(last) = self.batches.back() {
            assert_eq!(
                last.last().next(),
                batch.first(),
                "batches follow each other"
            );
        }
        self.bytes += batch.bytes().len();
        self.batches.push_back(batch);
        while let Some(oldest) = self.batches.front()
            && (oldest.last() <= applied || self.bytes > self.bytes_max && self.batches.len() > 1)
        {
            self.bytes -= oldest.bytes().len();
            self.batches.pop_front();
        }
    }

    /// The batch that holds `index`, if it is still here.
    pub(crate) fn find(&self, index: Index) -> Option<&Arc<Batch>> {
        let at = self.batches.partition_point(|batch| batch.last() < index);
        self.batches.get(at).filter(|batch| batch.first() <= index)
    }

    /// The log was cut: nothing in here counts any more.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }
}

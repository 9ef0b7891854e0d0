//! A file: in the page cache, on the platter, and what lies between the two.

use standin_core::random::RandomStream;

use super::content::{Content, offset};
use super::{DiskCounts, below};

/// Something that was done to a file's bytes or its length.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { at: u64, bytes: Vec<u8> },
    SetLength(u64),
    Allocate(u64),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { at, bytes } => content.write(bytes, *at),
            Self::SetLength(length) => content.set_length(*length),
            Self::Allocate(length) => content.set_length(content.length().max(*length)),
        }
    }

    /// The file's length afterwards if it was `length` before.
    pub(super) fn length_after(&self, length: u64) -> u64 {
        match self {
            Self::Write { at, bytes } => length.max(at + offset(bytes.len())),
            Self::SetLength(length) => *length,
            Self::Allocate(least) => length.max(*least),
        }
    }
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// What reads see.
    cached: Content,
    /// What a power loss leaves.
    pub(super) platter: Content,
    /// What was done since the last sync, in order.
    ///
    /// `cached` is `platter` with these applied, unless it `is_stale`.
    pub(super) pending: Vec<Change>,
    /// The page cache has something that the platter has not and will not get, or the reverse.
    pub(super) is_stale: bool,
}

impl File {
    pub(super) fn cached(&self) -> &Content {
        &self.cached
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.platter);
        }
    }

    /// A sync that fails: each pending write reaches the platter or is forgotten.
    pub(super) fn fail_sync(&mut self, random: &mut RandomStream, counts: &mut DiskCounts) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { .. } if below(random, 2) == 0 => {
                    counts.writes_forgotten += 1;
                    self.is_stale = true;
                }
                Change::Write { .. } => change.apply(&mut self.platter),
                Change::SetLength(_) | Change::Allocate(_) => self.pending.push(change),
            }
        }
        if below(random, 2) == 0 {
            self.evict();
        }
    }

    /// What the page cache has and the platter will not get is seen no more.
    pub(super) fn evict(&mut self) {
        if !std::mem::replace(&mut self.is_stale, false) {
            return;
        }
        self.cached = self.platter.clone();
        for change in &self.pending {
            change.apply(&mut self.cached);
        }
    }

    /// The copy of this file that a reader would make, on a platter.
    pub(super) fn copied(&self) -> Self {
        Self {
            cached: self.cached.clone(),
            platter: self.cached.clone(),
            pending: Vec::new(),
            is_stale: false,
        }
    }
}

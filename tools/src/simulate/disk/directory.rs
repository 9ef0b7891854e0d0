//! A directory: its names in the page cache, on the platter, and what lies between the two.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use standin_core::random::RandomStream;

use super::content::offset;
use super::nodes::NodeId;
use super::{DiskCounts, below};

/// Names, and what they stand for.
pub(super) type Names = BTreeMap<OsString, NodeId>;

/// Something that was done to names: a creation, a removal, or with both parts a rename.
#[derive(Clone, Debug)]
struct NameChange {
    removed: Option<OsString>,
    named: Option<(OsString, NodeId)>,
}

impl NameChange {
    fn apply(self, names: &mut Names) {
        if let Some(name) = self.removed {
            names.remove(&name);
        }
        names.extend(self.named);
    }
}

/// One directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    cached: Names,
    platter: Names,
    /// What was done since the last sync, in order. Invariant: `cached` is `platter` with these
    /// applied.
    pending: Vec<NameChange>,
}

impl Directory {
    pub(super) fn names(&self) -> &Names {
        &self.cached
    }

    pub(super) fn find(&self, name: &OsStr) -> Option<NodeId> {
        self.cached.get(name).copied()
    }

    pub(super) fn add(&mut self, name: &OsStr, node: NodeId) {
        self.change(None, Some((name.to_owned(), node)));
    }

    pub(super) fn remove(&mut self, name: &OsStr) {
        self.change(Some(name.to_owned()), None);
    }

    pub(super) fn rename(&mut self, from: &OsStr, to: &OsStr, node: NodeId) {
        self.change(Some(from.to_owned()), Some((to.to_owned(), node)));
    }

    fn change(&mut self, removed: Option<OsString>, named: Option<(OsString, NodeId)>) {
        let change = NameChange { removed, named };
        change.clone().apply(&mut self.cached);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.platter);
        }
    }

    /// The page cache is gone. Of what was pending a beginning is kept, or any part of it.
    pub(super) fn lose_power(
        &mut self,
        are_unordered: bool,
        random: &mut RandomStream,
        counts: &mut DiskCounts,
    ) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            let kept = below(random, offset(pending.len()) + 1);
            for (number, change) in (0..).zip(pending) {
                let is_kept = if are_unordered {
                    below(random, 2) == 0
                } else {
                    number < kept
                };
                if is_kept {
                    change.apply(&mut self.platter);
                } else {
                    counts.names_lost += 1;
                }
            }
        }
        self.cached = self.platter.clone();
    }

    /// Everything that has a name here, had one or may get one back.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let pending = self
            .pending
            .iter()
            .filter_map(|change| change.named.as_ref())
            .map(|(_, node)| node);
        self.cached
            .values()
            .chain(self.platter.values())
            .chain(pending)
            .copied()
    }

    /// The copy of this directory that a reader would make, on a platter.
    pub(super) fn copied(&self) -> Self {
        Self {
            cached: self.cached.clone(),
            platter: self.cached.clone(),
            pending: Vec::new(),
        }
    }
}

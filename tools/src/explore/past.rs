//! What has happened, as far as a rule asks for it. It belongs to the state: two states with another
//! past are not the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use standin_core::entry::{Batch, Index};
use standin_core::identity::{Incarnation, Token};
use standin_core::message::{Ack, ReplyStatus, Seen, Standing, Swap};
use standin_core::view::{Member, ViewId, ViewNumber, ViewRecord};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Open,
    /// A command that appends this number to the journal.
    Write(u8),
    /// A confirmed read.
    Read,
}

/// A request, and the longest list that had been answered when it was made.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) wish: Wish,
    pub(super) floor: Arc<[u8]>,
}

/// An answer that leaves a replica.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) asked: Asked,
    pub(super) status: ReplyStatus,
    pub(super) seen: Seen,
    pub(super) bytes: Vec<u8>,
    pub(super) standing: Standing,
}

/// Something that one step brought about.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    Appended {
        host: usize,
        batch: Arc<Batch>,
        is_primary: bool,
    },
    Cut {
        host: usize,
        after: Index,
        standing: Standing,
        /// Index and hash of what was cut.
        removed: Vec<(Index, u64)>,
    },
    Adopted {
        host: usize,
        before: ViewId,
        view: ViewId,
    },
    Acked {
        host: usize,
        ack: Ack,
        adopted: ViewId,
    },
    Proposed(Box<Swap>),
    Answered {
        host: usize,
        answered: Box<Answered>,
    },
    Quarantined {
        host: usize,
        why: String,
    },
    Turned {
        host: usize,
        before: Standing,
        after: Standing,
        journal: Vec<u8>,
    },
    Recorded {
        before: Option<Box<ViewRecord>>,
        after: Box<ViewRecord>,
    },
}

/// What the rules remember.
#[derive(Clone, Debug)]
pub(super) struct Past {
    /// Which life began each view, and with which entry.
    pub(super) begun: BTreeMap<ViewNumber, (usize, Incarnation, Index)>,
    /// The hash of the log that ends with each (index, view).
    pub(super) made: BTreeMap<(u64, u64), u64>,
    /// The log that was answered at each index, and the lowest view in which it was.
    pub(super) answered: BTreeMap<u64, (u64, ViewId)>,
    /// The longest list of calls that was answered.
    pub(super) longest: Arc<[u8]>,
    /// What each call was answered.
    pub(super) replies: BTreeMap<u8, Vec<u8>>,
    /// What was acknowledged under each token.
    pub(super) acknowledged: BTreeMap<Token, u64>,
    /// Swaps that may still land.
    pub(super) proposed: Vec<Swap>,
    /// How far the primary of each view has applied.
    pub(super) applied_in: BTreeMap<ViewId, Index>,
    /// The chain over the replies at each applied index.
    pub(super) digests: BTreeMap<u64, u128>,
    /// The log up to each entry that was applied anywhere.
    pub(super) applied: BTreeMap<u64, u64>,
    /// The primary of each view that was recorded active.
    pub(super) active: BTreeMap<ViewId, Member>,
    /// The view that each replica activated last.
    pub(super) activated: Vec<Option<ViewNumber>>,
    /// Takeovers from one replica by another.
    pub(super) takeovers: u32,
}

impl Past {
    pub(super) fn new(replicas: usize) -> Self {
        Self {
            begun: BTreeMap::new(),
            made: BTreeMap::new(),
            answered: BTreeMap::new(),
            longest: Arc::from([]),
            replies: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            proposed: Vec::new(),
            applied_in: BTreeMap::new(),
            digests: BTreeMap::new(),
            applied: BTreeMap::new(),
            active: BTreeMap::new(),
            activated: vec![None; replicas],
            takeovers: 0,
        }
    }

    /// The newest answered entry, and the log that ends with it.
    pub(super) fn answered_last(&self) -> Option<(Index, u64)> {
        let (index, (hash, _)) = self.answered.last_key_value()?;
        Some((Index(*index), *hash))
    }

    /// The newest entry that was answered in a view below `view`.
    pub(super) fn answered_below(&self, view: ViewNumber) -> Option<(Index, u64)> {
        let mut newest_first = self.answered.iter().rev();
        let (index, (hash, _)) = newest_first.find(|(_, (_, answered))| answered.view < view)?;
        Some((Index(*index), *hash))
    }
}

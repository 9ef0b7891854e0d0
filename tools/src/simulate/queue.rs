//! What will happen, in the order of virtual time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use standin_core::time::Instant;
use standin_core::view::Member;

use super::network::Arrival;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Coming {
    /// The first packet of a connection arrives.
    Knock(usize),
    /// A connection should have come about by now.
    DialTimeout(usize),
    /// Something arrives at an end of a connection.
    Arrive(usize, usize, Arrival),
    /// An end of a connection hears that it is broken.
    Break(usize, usize),
    /// A process runs: its loop comes round. Of which life.
    Turn(usize, u64),
    /// What a turn sends leaves, if the process still lives. Of which life.
    Leave(usize, u64),
    /// The log thread of a replica is done with a sync. Of which life.
    SyncDone(usize, u64),
    /// A process is started.
    Start(usize),
    /// The parent of a replica's process says that this life has died; until when it tries to.
    Proof(Member, Instant),
    /// There is room on a disk again.
    Room(usize),
    /// Something goes wrong.
    Fault,
    /// Nothing more goes wrong, but for what stays broken.
    Heal,
    /// A script goes on.
    Script,
}

#[derive(Debug)]
struct Item {
    at: Instant,
    number: u64,
    coming: Coming,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap hands out its greatest, and the earliest is wanted.
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// What will happen. Of two things at one moment the one that was put in first comes first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Item>,
    number: u64,
}

impl Queue {
    /// Lets something happen at `at`.
    pub(crate) fn at(&mut self, at: Instant, coming: Coming) {
        self.number += 1;
        let number = self.number;
        self.heap.push(Item { at, number, coming });
    }

    /// The next thing, and when it happens.
    pub(crate) fn pop(&mut self) -> Option<(Instant, Coming)> {
        self.heap.pop().map(|item| (item.at, item.coming))
    }
}

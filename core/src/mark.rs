//! The mark "applying i" (`protocol.md` section 12): which entry the machine was executing when a process died.
//!
//! A machine that panics is caught ([`crate::poison`]). One that aborts, overflows its stack or takes all memory
//! ends the process, and nobody is left to say at which entry. So before each entry it is marked where that survives
//! the process, and the next life of the replica reads how the one before has ended. One death proves nothing:
//! somebody may have killed the process just then. Two at one entry are put down to the entry, if besides
//! nobody can have answered it; the view service decides that.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entry::{Index, LogTip, ViewStarts};
use crate::identity::{CLEAN_LIVES_MAX, Identity};
use crate::poison::Skip;

/// So many deaths at one entry are the entry's doing.
pub const FATAL_DEATHS: u32 = 2;

/// Is told of each entry that the machine executes, right before and right after.
///
/// On the path of every entry: what it does must cost next to nothing.
pub trait ApplyMark: fmt::Debug + Send + Sync {
    /// The machine begins to execute this entry, or the next command in it.
    fn begin(&self, entry: Skip);
    /// The machine has returned from it, or has panicked. If an entry's commands were all executed before, it was not begun.
    fn end(&self);
}

/// What a mark says of the life that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastEntry {
    /// The last entry that the machine was given; all before it were applied.
    pub entry: Skip,
    /// The machine never returned from it: the process died meanwhile, and nothing of the entry was answered.
    pub is_inside: bool,
}

/// An entry at which processes of one data directory died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FatalEntry {
    /// The entry.
    pub entry: Skip,
    /// The start (see [`crate::identity::Incarnation`]) of the first life that died at it. No life of this data
    /// directory from that one on, up to but not including the one that says so, has applied the entry.
    pub since: u64,
    /// How many of them died at it; at least 1.
    pub deaths: u32,
}

impl FatalEntry {
    /// Whether it can be true at all.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.since > 0 && self.deaths > 0 && self.entry.index > Index::ZERO
    }

    /// What is known once a life has ended: that was the life with start `start`, and this is what was known before it.
    /// `last` is what its mark says; `None`: nothing is known of how far it came.
    #[must_use]
    pub fn after(
        before: Option<Self>,
        start: u64,
        last: Option<Ended>,
        log: MarkedLog<'_>,
    ) -> Option<Self> {
        let last = match last? {
            Ended::Idle => return before,
            // What is no entry of the log is no word of one: a mark may rot like any file.
            Ended::At(last) => LastEntry {
                is_inside: last.is_inside && log.has(last.entry),
                ..last
            },
        };
        let fresh = last.is_inside.then_some(Self {
            entry: last.entry,
            since: start,
            deaths: 1,
        });
        match before {
            Some(before) if before.entry == last.entry && last.is_inside => Some(Self {
                deaths: before.deaths.saturating_add(1),
                ..before
            }),
            // It was on its way there. That it died earlier, at an entry that was applied before, is another matter.
            Some(before) if last.entry.index < before.entry.index => Some(before),
            // It has applied the entry, or there is another one in its place.
            Some(_) | None => fresh,
        }
    }
}

/// The log in which the entries are that a mark names.
#[derive(Clone, Copy, Debug)]
pub struct MarkedLog<'a> {
    /// The entry before its first.
    pub base: LogTip,
    /// Its end.
    pub tip: LogTip,
    /// Where views begin in it, that of `base` included.
    pub view_starts: &'a ViewStarts,
}

impl MarkedLog<'_> {
    /// Whether it has the entry.
    fn has(&self, entry: Skip) -> bool {
        let mut views = self.view_starts.iter().rev();
        let view = views.find(|(_, first)| *first <= entry.index);
        self.base.index < entry.index
            && entry.index <= self.tip.index
            && view.is_some_and(|(view, _)| *view == entry.view)
    }
}

/// How a life ended whose mark can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its machine was given nothing.
    Idle,
    /// This was the last that it was given.
    At(LastEntry),
}

/// Replica to view service: earlier lives of mine died at an entry, and none since then has applied it.
///
/// Said before each report until the record shows that the entry is skipped, or this life has applied it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fatal {
    /// Who says so. What is said is true of the lives before this one.
    pub identity: Identity,
    /// What happened.
    pub fatal: FatalEntry,
}

impl Fatal {
    /// Whether it is no longer than it may be, and can be true. What a sender of ours says always is and can.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.identity.clean_lives.len() <= CLEAN_LIVES_MAX
            && self.fatal.is_sound()
            && self.fatal.since < self.identity.life.incarnation.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ViewNumber;

    /// A log of the entries 6 to 20, of view 2 but for the first two.
    fn after(before: Option<FatalEntry>, start: u64, last: Option<Ended>) -> Option<FatalEntry> {
        let tip = |index, view| LogTip {
            index: Index(index),
            view: ViewNumber(view),
            ..LogTip::default()
        };
        let view_starts = vec![(ViewNumber(1), Index(3)), (ViewNumber(2), Index(8))];
        let log = MarkedLog {
            base: tip(5, 1),
            tip: tip(20, 2),
            view_starts: &view_starts,
        };
        FatalEntry::after(before, start, last, log)
    }

    fn entry(index: u64) -> Skip {
        Skip {
            index: Index(index),
            view: ViewNumber(2),
        }
    }

    fn inside(index: u64) -> Option<Ended> {
        Some(Ended::At(LastEntry {
            entry: entry(index),
            is_inside: true,
        }))
    }

    fn behind(index: u64) -> Option<Ended> {
        Some(Ended::At(LastEntry {
            entry: entry(index),
            is_inside: false,
        }))
    }

    fn fatal(index: u64, since: u64, deaths: u32) -> Option<FatalEntry> {
        Some(FatalEntry {
            entry: entry(index),
            since,
            deaths,
        })
    }

    #[test]
    fn deaths_at_one_entry_are_counted() {
        assert_eq!(after(None, 4, inside(9)), fatal(9, 4, 1));
        let twice = after(fatal(9, 4, 1), 5, inside(9));
        assert_eq!(twice, fatal(9, 4, 2));
        let before_it_came_there = after(twice, 6, inside(8));
        assert_eq!(before_it_came_there, twice);
        assert_eq!(after(twice, 6, behind(8)), twice);
        assert_eq!(after(twice, 6, Some(Ended::Idle)), twice);
    }

    #[test]
    fn an_entry_that_was_applied_after_a_death_begins_anew() {
        assert_eq!(after(fatal(9, 4, 1), 5, behind(9)), None);
        assert_eq!(after(fatal(9, 4, 1), 5, behind(12)), None);
        let another = after(fatal(9, 4, 1), 5, inside(12));
        assert_eq!(another, fatal(12, 5, 1));
    }

    #[test]
    fn a_life_of_which_nothing_is_known_may_have_applied_it() {
        assert_eq!(after(fatal(9, 4, 2), 6, None), None);
        assert_eq!(after(None, 6, None), None);
    }

    #[test]
    fn what_is_no_entry_of_the_log_is_no_word_of_one() {
        assert_eq!(after(None, 4, inside(20)), fatal(20, 4, 1));
        assert_eq!(after(None, 4, inside(21)), None, "behind its end");
        assert_eq!(after(None, 4, inside(7)), None, "of another view");
        assert_eq!(after(None, 4, inside(5)), None, "before its beginning");
        let before = fatal(9, 4, 1);
        assert_eq!(after(before, 5, inside(21)), None, "it came past it");
        assert_eq!(after(before, 5, inside(7)), before);
    }

    #[test]
    fn another_entry_with_that_index_is_another_entry() {
        let mut other = fatal(9, 4, 1);
        other.as_mut().unwrap().entry.view = ViewNumber(1);
        assert_eq!(after(other, 5, inside(9)), fatal(9, 5, 1));
    }
}

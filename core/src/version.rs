//! Versions of a machine: which ones a program supports, and which one a log executes where.
//!
//! All replicas execute one and the same version at an entry, whatever newer ones their programs have: it is part
//! of the replicated state, and changes only by an entry (`protocol.md` section 12).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entry::Index;
use crate::machine::StateMachine;
use crate::poison::Skip;

/// The versions of its machine that a program supports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The oldest one.
    pub oldest: u32,
    /// The newest one. Invariant: not below `oldest`; of a range that is none, nothing is supported.
    pub newest: u32,
}

impl VersionRange {
    /// A single one.
    #[must_use]
    pub const fn only(version: u32) -> Self {
        Self {
            oldest: version,
            newest: version,
        }
    }

    /// Those that `M` supports.
    #[must_use]
    pub const fn of<M: StateMachine>() -> Self {
        const {
            assert!(
                M::OLDEST_VERSION <= M::VERSION,
                "StateMachine::OLDEST_VERSION must not be above VERSION"
            );
        }
        Self {
            oldest: M::OLDEST_VERSION,
            newest: M::VERSION,
        }
    }

    /// Whether it is supported.
    #[must_use]
    pub const fn contains(self, version: u32) -> bool {
        self.oldest <= version && version <= self.newest
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.oldest == self.newest {
            true => write!(f, "version {}", self.oldest),
            false => write!(f, "versions {} to {}", self.oldest, self.newest),
        }
    }
}

/// Which version of its machine a replica executes, and which ones its program supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStanding {
    /// The version that the next entry is executed by.
    pub executing: u32,
    /// What the program supports.
    pub supported: VersionRange,
}

/// An entry that says which version is executed from it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionStart {
    /// The entry.
    pub at: Skip,
    /// The version.
    pub version: u32,
    /// It is an Upgrade: before it an older one is executed. Otherwise it is a ViewStart, and the same one is.
    pub is_upgrade: bool,
}

/// Where in a log versions begin, as far as the log says so.
///
/// Invariant: indexes rise, and so do the versions of those that are not skipped. An Upgrade that is skipped changes
/// nothing, and stays here only so that it is not tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionStarts {
    /// Each with whether it is skipped.
    starts: Vec<(VersionStart, bool)>,
    /// Versions of Upgrades that were skipped, and that the log has no more. Snapshots say the newest one.
    failed: BTreeSet<u32>,
}

impl VersionStarts {
    /// Takes in what an entry of the log says. What is known already is not kept twice.
    pub fn note(&mut self, start: VersionStart) {
        let is_new = match self.starts.last() {
            None => true,
            Some((last, _)) => {
                let is_newer = self.executing().is_none_or(|it| start.version > it);
                start.is_upgrade && is_newer && start.at.index > last.at.index
            }
        };
        if is_new {
            self.starts.push((start, false));
        }
    }

    /// Takes note of entries that are skipped.
    pub fn skip(&mut self, skips: &[Skip]) {
        for (start, is_skipped) in &mut self.starts {
            *is_skipped |= start.is_upgrade && skips.contains(&start.at);
        }
    }

    /// The log was cut after this entry.
    pub fn cut(&mut self, after: Index) {
        self.starts.retain(|(start, _)| start.at.index <= after);
    }

    /// Entries up to this one are gone, and a snapshot has them. What is executed after it stays known.
    pub fn forget(&mut self, base: Index) {
        let executed = self.at(base).copied();
        let gone = self.starts.iter().take_while(|(it, _)| it.at.index <= base);
        let failed = gone.filter(|(_, is_skipped)| *is_skipped);
        self.failed.extend(failed.map(|(it, _)| it.version));
        self.starts
            .retain(|(start, _)| start.at.index > base || Some(start) == executed.as_ref());
    }

    /// The newest version that the machine failed to go over to up to `index`, where it executes `executed`: for a snapshot of
    /// that entry. 0: none that is newer.
    #[must_use]
    pub fn failed_through(&self, index: Index, executed: u32) -> u32 {
        let skipped = self.starts.iter().filter(|(_, is_skipped)| *is_skipped);
        let until = skipped.take_while(|(start, _)| start.at.index <= index);
        let failed = until.map(|(start, _)| start.version);
        let newest = failed.chain(self.failed.iter().copied()).max();
        newest.filter(|newest| *newest > executed).unwrap_or(0)
    }

    /// A snapshot before the log's beginning says this of versions that failed; 0: nothing.
    pub fn remember_failed(&mut self, version: u32) {
        if version != 0 {
            self.failed.insert(version);
        }
    }

    /// The version that the log's first entry says it begins with; `None`: it says nothing, or is not there.
    #[must_use]
    pub fn beginning(&self) -> Option<u32> {
        let (first, _) = self.starts.first()?;
        (first.at.index == Index(1)).then_some(first.version)
    }

    /// The version at the log's end; `None`: the log does not say.
    #[must_use]
    pub fn executing(&self) -> Option<u32> {
        self.at(Index(u64::MAX)).map(|start| start.version)
    }

    /// Whether the machine failed when it was to go over to this version: it is not tried again. That is known as long as the
    /// log has it, and after that of the newest one such by the snapshot, and of others until the process ends.
    #[must_use]
    pub fn has_failed(&self, version: u32) -> bool {
        let mut starts = self.starts.iter();
        let is_skipped = starts.any(|(start, is_skipped)| *is_skipped && start.version == version);
        is_skipped || self.failed.contains(&version)
    }

    /// From where on a program that supports `range` can execute what follows `common`, if it cannot do so from there
    /// on: it needs a snapshot of that entry or a later one. `None`: it can.
    ///
    /// A log that begins without saying its version is of a program that knew of none, and so did all that had it. Others
    /// cannot know.
    #[must_use]
    pub fn needs_snapshot_of(&self, range: VersionRange, common: Index) -> Option<Index> {
        let known = || self.starts.iter().filter(|(_, is_skipped)| !is_skipped);
        let (first, _) = known().next()?;
        if common == Index::ZERO && first.at.index > Index(1) {
            return Some(first.at.index);
        }
        let next = self.at(common.next()).map_or(range.oldest, |it| it.version);
        if next >= range.oldest {
            return None;
        }
        let mut starts = known().map(|(start, _)| start);
        let start = starts.find(|start| start.version >= range.oldest);
        start.map(|start| start.at.index)
    }

    /// What says which version is executed after `index` was applied. What a ViewStart says of a log that begins
    /// before it holds from the beginning.
    fn at(&self, index: Index) -> Option<&VersionStart> {
        let known = self.starts.iter().filter(|(_, is_skipped)| !is_skipped);
        let mut starts = known.map(|(start, _)| start);
        let first = starts.next()?;
        if first.is_upgrade && first.at.index > index {
            return None;
        }
        let later = starts.take_while(|start| start.at.index <= index);
        Some(later.last().unwrap_or(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ViewNumber;

    fn start(index: u64, version: u32, is_upgrade: bool) -> VersionStart {
        VersionStart {
            at: Skip {
                index: Index(index),
                view: ViewNumber(1),
            },
            version,
            is_upgrade,
        }
    }

    fn log(starts: &[(u64, u32, bool)]) -> VersionStarts {
        let mut log = VersionStarts::default();
        for (index, version, is_upgrade) in starts {
            log.note(start(*index, *version, *is_upgrade));
        }
        log
    }

    fn range(oldest: u32, newest: u32) -> VersionRange {
        VersionRange { oldest, newest }
    }

    #[test]
    fn the_last_upgrade_that_is_not_skipped_says_what_is_executed() {
        let mut starts = log(&[(1, 1, false), (5, 1, false), (9, 2, true), (20, 4, true)]);
        assert_eq!(starts.executing(), Some(4));
        starts.skip(&[start(20, 4, true).at]);
        assert_eq!(starts.executing(), Some(2));
        assert!(starts.has_failed(4) && !starts.has_failed(3));
        // The views that follow say what is executed, which is less.
        starts.note(start(21, 2, false));
        assert_eq!(starts.executing(), Some(2));
        starts.cut(Index(10));
        assert_eq!(starts.executing(), Some(2));
        assert!(!starts.has_failed(4), "it is not in this log");
        starts.cut(Index(9));
        assert_eq!(starts.executing(), Some(2), "the Upgrade is still there");
        starts.cut(Index(8));
        assert_eq!(starts.executing(), Some(1));
        assert_eq!(log(&[]).executing(), None);
    }

    #[test]
    fn an_upgrade_to_what_is_executed_or_to_less_changes_nothing() {
        let starts = log(&[(1, 1, false), (9, 4, true), (20, 3, true), (30, 4, true)]);
        assert_eq!(starts, log(&[(1, 1, false), (9, 4, true)]));
        assert_eq!(starts.executing(), Some(4));
    }

    #[test]
    fn a_version_that_failed_stays_known_when_its_entry_is_gone_and_a_lower_one_may_follow() {
        let mut starts = log(&[(1, 1, false), (9, 2, true), (20, 4, true)]);
        starts.skip(&[start(20, 4, true).at]);
        starts.note(start(30, 3, true));
        assert_eq!(starts.executing(), Some(3));
        starts.forget(Index(25));
        assert!(starts.has_failed(4) && !starts.has_failed(2));
        assert_eq!(starts.executing(), Some(3));
    }

    #[test]
    fn a_snapshot_says_the_newest_version_that_failed_before_it_and_is_newer_than_what_is_executed()
    {
        let mut starts = log(&[(1, 1, false), (9, 4, true)]);
        starts.skip(&[start(9, 4, true).at]);
        starts.note(start(20, 3, true));
        starts.skip(&[start(20, 3, true).at]);
        let failed = |starts: &VersionStarts, index| starts.failed_through(Index(index), 1);
        assert_eq!([8, 9, 30].map(|index| failed(&starts, index)), [0, 4, 4]);
        starts.forget(Index(15));
        assert_eq!(failed(&starts, 30), 4, "the log has it no more");
        assert_eq!(starts.failed_through(Index(30), 4), 0, "it is past that");
        let mut later = VersionStarts::default();
        later.remember_failed(0);
        assert_eq!(later, VersionStarts::default());
        later.remember_failed(4);
        assert!(later.has_failed(4) && !later.has_failed(3));
        assert_eq!(failed(&later, 30), 4, "and the next snapshot says it again");
    }

    #[test]
    fn what_is_executed_stays_known_when_the_log_before_it_is_gone() {
        let mut starts = log(&[(1, 1, false), (9, 2, true), (20, 3, true)]);
        starts.forget(Index(15));
        assert_eq!(starts, log(&[(9, 2, true), (20, 3, true)]));
        starts.forget(Index(30));
        assert_eq!(starts, log(&[(20, 3, true)]));
        assert_eq!(starts.executing(), Some(3));
    }

    #[test]
    fn a_program_is_fed_from_the_log_only_where_it_supports_what_was_executed() {
        let starts = log(&[(1, 1, false), (9, 2, true), (20, 3, true)]);
        let needs = |range, common| starts.needs_snapshot_of(range, Index(common));
        assert_eq!(needs(range(1, 3), 0), None);
        assert_eq!(needs(range(2, 3), 0), Some(Index(9)));
        assert_eq!(needs(range(2, 3), 7), Some(Index(9)));
        assert_eq!(needs(range(2, 3), 8), None, "the next entry is the Upgrade");
        assert_eq!(needs(range(3, 5), 8), Some(Index(20)));
        assert_eq!(needs(range(3, 5), 19), None);
    }

    #[test]
    fn nobody_is_fed_a_beginning_that_does_not_say_its_version() {
        let starts = log(&[(70, 2, false)]);
        let needs = |common| starts.needs_snapshot_of(range(1, 2), Index(common));
        assert_eq!(needs(0), Some(Index(70)));
        assert_eq!(needs(1), None, "what has some of it knows");
        let needs = |common| starts.needs_snapshot_of(range(3, 3), Index(common));
        assert_eq!(
            needs(5),
            None,
            "there is no such entry; it is refused otherwise"
        );
    }
}

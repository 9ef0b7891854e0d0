//! Entries that kill the process that applies them (`protocol.md` section 12): when one is skipped.
//!
//! A machine that panics says itself that nothing of the entry was answered. A process that died says nothing; its
//! next life reads in the mark at which entry that was. Two things must be known before the entry may be skipped.
//! It must be the entry's doing: [`FATAL_DEATHS`] deaths at it, whoever died, and nobody who came past it. And
//! nothing of it may have been answered: only a primary of an active view answers, so each one that has served since the
//! entry was ordered must be known not to have applied it. What kills one replica need not kill another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standin_core::identity::{Identity, StoreId};
use standin_core::mark::{FATAL_DEATHS, Fatal, FatalEntry};
use standin_core::planted::{Bug, Planted};
use standin_core::poison::Skip;
use standin_core::view::{ViewNumber, ViewRecord};

use crate::stored::StoredState;

/// Most tenures that are kept. Those before are not known any more, and what was ordered then is not skipped.
pub(crate) const TENURES_MAX: usize = 16;

/// Lives of one data directory that served one after the other, with nobody else in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    /// The view in which the first of them began to serve.
    pub from: ViewNumber,
    /// Their data directory.
    pub store: StoreId,
    /// The start of the first of them (see [`standin_core::identity::Incarnation`]).
    pub first: u64,
    /// The start of the last of them; at least `first`.
    pub last: u64,
}

/// Takes down that the primary of a record serves; the record is active.
pub(crate) fn note_tenure(tenures: &mut Vec<Tenure>, record: &ViewRecord) {
    let holder = record
        .holders
        .iter()
        .find(|holder| holder.name == record.primary.name);
    let Some(store) = holder.map(|holder| holder.token.store()) else {
        return; // a primary is always a holder
    };
    let start = record.primary.incarnation.start;
    if tenures
        .last()
        .is_some_and(|it| it.store == store && it.last == start)
    {
        return;
    }
    if tenures.len() == TENURES_MAX {
        make_room(tenures);
    }
    tenures.push(Tenure {
        from: record.view,
        store,
        first: start,
        last: start,
    });
}

/// The newest lives that stand for one data directory are put together, so that whoever dies at an entry again
/// and again does not push out the one that ordered it. Otherwise the oldest is forgotten.
fn make_room(tenures: &mut Vec<Tenure>) {
    let pair = (1..tenures.len())
        .rev()
        .find(|at| tenures[*at - 1].store == tenures[*at].store);
    match pair {
        Some(at) => {
            let later = tenures.remove(at);
            tenures[at - 1].last = later.last;
        }
        None => drop(tenures.remove(0)),
    }
}

/// What replicas have said of entries at which their processes died, the last of each data directory. In memory alone:
/// they go on saying it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fatalities(BTreeMap<StoreId, Told>);

/// What a life said of those before it.
#[derive(Clone, Copy, Debug)]
struct Told {
    fatal: FatalEntry,
    by: u64,
}

impl Told {
    /// Whether it vouches that none of these lives has applied the entry.
    fn covers(&self, tenure: &Tenure) -> bool {
        self.fatal.since <= tenure.first && tenure.last < self.by
    }
}

impl Fatalities {
    /// Takes in what a replica says, whose name belongs to its data directory.
    pub(crate) fn note(&mut self, state: &StoredState, identity: &Identity, fatal: FatalEntry) {
        // Of whoever has no name any more nothing is kept, so there are no more than names.
        self.0
            .retain(|store, _| state.replicas.iter().any(|it| it.store == *store));
        let by = identity.life.incarnation.start;
        let is_older = |told: &Told| told.by > by;
        if !self.0.get(&identity.store).is_some_and(is_older) {
            self.0.insert(identity.store, Told { fatal, by });
        }
    }

    /// Whether an entry kills whoever applies it, and nothing of it was answered.
    fn are_enough(&self, entry: Skip, tenures: &[Tenure], planted: Planted) -> bool {
        let told = || self.0.iter().filter(|(_, told)| told.fatal.entry == entry);
        let deaths: u32 = told()
            .map(|(_, told)| told.fatal.deaths)
            .fold(0, u32::saturating_add);
        let wanted = match planted.has(Bug::OneDeathSkips) {
            true => 1,
            false => FATAL_DEATHS,
        };
        let ordered = tenures.iter().rposition(|it| it.from <= entry.view);
        let Some(ordered) = ordered else {
            return false; // nobody knows any more who that was
        };
        let is_covered = |tenure: &Tenure| {
            let told = told().find(|(store, _)| **store == tenure.store);
            told.is_some_and(|(_, told)| told.covers(tenure))
        };
        let suspects = &tenures[ordered..];
        let suspects = match planted.has(Bug::SuspectsIgnored) {
            true => &suspects[suspects.len() - 1..],
            false => suspects,
        };
        deaths >= wanted && suspects.iter().all(is_covered)
    }
}

impl StoredState {
    /// The state that a replica's word of deaths at an entry brings about, once it is taken in; `None` if it changes
    /// nothing.
    pub(crate) fn with_fatal(
        &self,
        fatal: &Fatal,
        fatalities: &Fatalities,
        planted: Planted,
    ) -> Option<Self> {
        let entry = fatal.fatal.entry;
        let is_granted = |record: &ViewRecord| record.skips.contains(&entry);
        // One at a time. Whoever says so says it again.
        let is_news = self.poison.is_none() && !self.record.as_ref().is_some_and(is_granted);
        let is_proven = is_news && fatalities.are_enough(entry, &self.tenures, planted);
        is_proven.then(|| Self {
            poison: Some(entry),
            ..self.clone()
        })
    }
}

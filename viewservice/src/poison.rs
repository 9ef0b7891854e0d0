//! Entries that make the machine fail: from the primary that failed to the one that skips them
//! (`protocol.md` section 12).
//!
//! A primary whose machine fails at an entry has answered nothing of it, and nobody else applies it before a
//! primary has. So the next one may skip it, if nobody has served in between. Who is told so here is the
//! candidate, by the record that names it: what it must not apply is known before it may.

use standin_core::entry::Index;
use standin_core::message::{Poisoned, Report};
use standin_core::planted::{Bug, Planted};
use standin_core::poison::{SKIPS_MAX, Skip};
use standin_core::view::{Member, ViewRecord};

use crate::fatal::note_tenure;
use crate::stored::StoredState;

impl StoredState {
    /// Keeps who serves. What is known of the primary before is settled then: by the record, or because the
    /// one that serves now found out for itself.
    pub(crate) fn note_service(&mut self) {
        let Some(record) = self.record.as_ref().filter(|record| record.active) else {
            return;
        };
        note_tenure(&mut self.tenures, record);
        if self.served.as_ref() != Some(&record.primary) {
            self.served = Some(record.primary.clone());
            self.poison = None;
        }
    }

    /// The state that somebody's word of a failed machine brings about; `None` if it changes nothing. It counts
    /// only of the life that served last: any other has been followed by one that found out for itself.
    pub(crate) fn with_poison(&self, poisoned: &Poisoned) -> Option<Self> {
        let identity = &poisoned.identity;
        let failed = Member {
            name: identity.name.clone(),
            incarnation: poisoned.poison.life,
        };
        let skip = poisoned.poison.skip;
        let is_granted = |record: &ViewRecord| record.skips.contains(&skip);
        let is_news = self.served.as_ref() == Some(&failed)
            && self.store_of(&identity.name) == Some(identity.store)
            && self.poison != Some(skip)
            && !self.record.as_ref().is_some_and(is_granted);
        is_news.then(|| Self {
            poison: Some(skip),
            ..self.clone()
        })
    }

    /// What the primary of `next`, which comes after the present record, must skip.
    pub(crate) fn grant_skips(&mut self, mut next: ViewRecord, known: &Progress, planted: Planted) {
        // They are kept as long as there is room: a replica that an operator names may have an older log.
        if self.poison.is_some()
            && next.skips.len() == SKIPS_MAX
            && let Some(record) = &self.record
            && let Some(at) = next
                .skips
                .iter()
                .position(|it| known.has_logged(record, *it))
        {
            next.skips.remove(at);
        }
        if next.skips.len() < SKIPS_MAX
            && !planted.has(Bug::SkipForgotten)
            && let Some(skip) = self.poison.take()
        {
            next.skips.push(skip);
        }
        self.record = Some(next);
    }
}

/// How far the primary of an active view is known to have applied its log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Option<(Member, Index)>);

impl Progress {
    /// Takes in where the sender of a report stands, if it is the primary.
    pub(crate) fn note(&mut self, record: Option<&ViewRecord>, report: &Report) {
        let record = record.filter(|it| it.active && it.primary.is(&report.identity));
        if let Some(record) = record.filter(|it| it.id() == report.standing.view) {
            self.0 = Some((record.primary.clone(), report.standing.applied));
        }
    }

    /// Whether the ViewStart that lists a skipped entry is known to be committed: then every log that counts has
    /// it, for the primary commits what comes before its ViewStart only together with that.
    fn has_logged(&self, record: &ViewRecord, skip: Skip) -> bool {
        let known = self.0.as_ref().filter(|_| record.active);
        known.is_some_and(|(primary, applied)| *primary == record.primary && *applied >= skip.index)
    }
}

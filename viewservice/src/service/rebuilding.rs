//! A view service that has lost its record, and waits for an operator to have it made again from what the
//! replicas know. Until then it grants nothing and names nobody.

use std::collections::BTreeMap;

use standin_core::conn::ConnId;
use standin_core::identity::{ClusterId, Identity, ReplicaName};
use standin_core::message::{ForceOutcome, Rebuild, Refusal, Witness};
use standin_core::time::{Duration, Instant, Now};
use standin_core::view::{Reason, ViewRecord};

use super::{StoreCause, ViewService};
use crate::lease::LeaseTerm;
use crate::rebuild::{self, Heard};
use crate::roster::{Life, Roster, millis};
use crate::stored::StoredState;

/// What the replicas have told of the record.
///
/// Invariant: one of each name that the roster knows, at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Testimony {
    /// Random, for the number of the view.
    seed: u64,
    witnesses: BTreeMap<ReplicaName, Witness>,
}

impl Testimony {
    /// Those that live, each with what its present life has told of the view in which it stands.
    pub(crate) fn heard<'a>(
        &'a self,
        roster: &'a Roster,
        (now, term): (Instant, Duration),
    ) -> Vec<Heard<'a>> {
        let living = roster.iter().filter(|replica| replica.is_alive(now, term));
        let heard = living.map(|replica| {
            let witness = self.witnesses.get(&replica.identity.name);
            let is_current = |witness: &&Witness| {
                witness.identity == replica.identity && witness.adopted == replica.standing.view
            };
            Heard {
                replica,
                witness: witness.filter(is_current),
            }
        });
        heard.collect()
    }
}

impl ViewService {
    /// A view service that has no record, though there was one: it waits until [`Event::Rebuild`] has it made
    /// again. It belongs to whatever cluster the replicas belong to. `seed` is random: no other view service that makes
    /// the same record again may have the same.
    ///
    /// [`Event::Rebuild`]: crate::Event::Rebuild
    #[must_use]
    pub fn rebuilding(term: LeaseTerm, now: Instant, seed: u64) -> Self {
        let mut service = Self::new(StoredState::new(ClusterId(0)), term, now);
        service.testimony = Some(Testimony {
            seed,
            ..Testimony::default()
        });
        service
    }

    /// Whether it waits for its record to be made again.
    #[must_use]
    pub fn is_rebuilding(&self) -> bool {
        self.testimony.is_some()
    }

    /// Whether the data directory of somebody who reports has reported under another name: nothing is registered
    /// here yet that would tell.
    pub(super) fn is_other_name_waiting(&self, identity: &Identity) -> bool {
        let known = self.roster.by_store(identity.store);
        self.is_rebuilding() && known.is_some_and(|known| known.identity.name != identity.name)
    }

    pub(super) fn on_witness(&mut self, conn: ConnId, witness: Box<Witness>) {
        let is_sound = witness.is_bounded()
            && witness.kept.as_ref().is_none_or(|kept| {
                kept.record.id() == witness.adopted && LeaseTerm::is_possible(kept.record.term_ms)
            });
        if !is_sound {
            return self.refuse(conn, Refusal::Protocol);
        }
        let is_current = self.roster.life(&witness.identity, conn) == Life::Current
            && (self.roster.by_name(&witness.identity.name))
                .is_some_and(|replica| replica.identity == witness.identity);
        if let Some(testimony) = self.testimony.as_mut().filter(|_| is_current) {
            let name = witness.identity.name.clone();
            testimony.witnesses.insert(name, *witness);
        }
    }

    pub(super) fn on_rebuild(&mut self, now: Now, conn: ConnId, wish: &Rebuild) {
        // What is being stored is what an earlier wish has brought about: it is answered when that is asked again.
        if self.storing.is_some() {
            let reason = "the view service has too much to do; try again".to_owned();
            return self.answer_force(conn, ForceOutcome::Refused { reason });
        }
        match self.rebuilt(now, wish) {
            Ok((record, words)) => {
                let state = self.state_of(now, record);
                self.store(state, StoreCause::Rebuild(Some((conn, words))));
            }
            Err(outcome) => self.answer_force(conn, outcome),
        }
    }

    /// The record that a wish brings about, and what there is to say of it.
    fn rebuilt(&self, now: Now, wish: &Rebuild) -> Result<(ViewRecord, String), ForceOutcome> {
        let refused = |reason| Err(ForceOutcome::Refused { reason });
        let Some(testimony) = &self.testimony else {
            return Err(self.rebuilt_before());
        };
        let heard = testimony.heard(&self.roster, (now.boot, self.view_term()));
        if let Some(left) = self.lease_may_be_held_for(now.boot, &heard) {
            let left = millis(left);
            return refused(format!(
                "a lease that the view service before this one granted may still be held, for {left} ms at \
                 most; try again then"
            ));
        }
        let why = match rebuild::certain(&wish.replicas, &heard, (testimony.seed, self.planted)) {
            Ok(record) => {
                let words = format!(
                    "{} goes on as primary from view {}, and nothing is lost, unless an operator has forced a \
                     takeover of which nobody heard here knows",
                    record.primary.name, record.view
                );
                return Ok((record, words));
            }
            Err(why) => why,
        };
        let Some(name) = &wish.primary else {
            return refused(why);
        };
        let Some(chosen) = heard.iter().find(|it| it.replica.identity.name == *name) else {
            return refused(format!(
                "{name} is not heard here: start it, or name another"
            ));
        };
        if chosen.replica.is_quarantined() {
            return refused(format!("{name} is out of service; name another"));
        }
        let last = chosen.replica.standing.last;
        let loss = format!(
            "it cannot be known for certain what was answered: {why}; {name} goes on with the log that it has, \
             up to entry {} (view {}), and whatever else was answered is lost; make sure that nobody who is not \
             heard here can be reached by clients",
            last.index, last.view
        );
        match rebuild::forced(chosen, &heard, testimony.seed) {
            Err(reason) => refused(reason),
            Ok(_) if !wish.accept_loss => Err(ForceOutcome::WouldLose { loss }),
            Ok(record) => Ok((record, loss)),
        }
    }

    /// Whoever asks again may not have heard that it was done.
    fn rebuilt_before(&self) -> ForceOutcome {
        let record = self.state.record.as_ref();
        match record.filter(|_| self.was_rebuilt) {
            Some(record) => ForceOutcome::Done {
                loss: format!("nothing more was done: it was made again before, and is at view {}", record.id()),
            },
            None => ForceOutcome::Refused {
                reason: match record {
                    Some(record) => format!("it has its record, of view {}", record.id()),
                    None => "it was not started with --rebuild, and may have another cluster's replicas to come: \
                             stop it, and start it with --rebuild on an empty --data"
                        .to_owned(),
                },
            },
        }
    }

    /// What is left of the time for which a lease may be held that was granted before this process began.
    fn lease_may_be_held_for(&self, now: Instant, heard: &[Heard<'_>]) -> Option<Duration> {
        let longest = self.term.millis().max(rebuild::longest_term_ms(heard));
        let until = self
            .started_at
            .plus(Duration::from_millis(u64::from(longest)));
        (now < until).then(|| until.since(now))
    }

    /// The whole state that goes with a record that is made again: those who are heard are known.
    fn state_of(&self, now: Now, record: ViewRecord) -> StoredState {
        let mut state = StoredState::new(record.cluster);
        let living =
            |replica: &&crate::roster::Replica| replica.is_alive(now.boot, self.view_term());
        for replica in self.roster.iter().filter(living) {
            state.register(&replica.identity.name, replica.identity.store);
        }
        let testimony = self.testimony.as_ref();
        let heard = testimony.map(|it| it.heard(&self.roster, (now.boot, self.view_term())));
        state.term_max_ms = rebuild::longest_term_ms(&heard.unwrap_or_default());
        state.record = Some(ViewRecord {
            term_ms: self.term.millis(),
            ..record
        });
        state
    }

    /// The record was lost, and is there again.
    pub(super) fn end_rebuilding(&mut self) {
        self.testimony = None;
        self.was_rebuilt = true;
        let record = self.state.record.as_ref();
        let reason = record.map(|record| record.reason);
        assert!(matches!(reason, Some(Reason::Rebuilt | Reason::Forced)));
        self.remark = Some("earlier views are not known: the view record was lost".to_owned());
    }
}

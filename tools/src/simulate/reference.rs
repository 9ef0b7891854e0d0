//! One replica more, that nothing ever happens to: it applies each entry that anybody applied, once.

use std::collections::BTreeMap;

use standin_core::entry::{Entry, Index};
use standin_core::message::ReplyStatus;
use standin_core::state::Replicated;
use standin_core::view::ViewRecord;

use super::truth::{Link, Truth};
use super::watched::{Subject, Watched};

/// What applying an entry came to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) status: ReplyStatus,
    pub(crate) reply: Vec<u8>,
    pub(crate) reply_digest: u128,
}

/// What a request of a session came to.
#[derive(Clone, Debug)]
pub(crate) struct Executed {
    /// The entry at which it took effect.
    pub(crate) index: Index,
    pub(crate) status: ReplyStatus,
    pub(crate) reply: Vec<u8>,
}

/// The state after all that was ever applied, and the outcome of each entry.
#[derive(Debug)]
pub(crate) struct Reference<M> {
    state: Replicated<Watched<M>>,
    outcomes: Vec<Outcome>,
    /// What each request of a session came to when it took effect.
    executed: BTreeMap<(u64, u64), Executed>,
}

impl<M: Subject> Default for Reference<M> {
    fn default() -> Self {
        Self {
            state: Replicated::default(),
            outcomes: Vec::new(),
            executed: BTreeMap::new(),
        }
    }
}

impl<M: Subject> Reference<M> {
    /// Follows a replica that has applied its log up to `through`.
    ///
    /// # Errors
    /// If it applied another entry than somebody did before at the same index, or one that nobody
    /// ever ordered.
    pub(crate) fn follow(
        &mut self,
        truth: &Truth,
        host: usize,
        through: Index,
    ) -> Result<(), String> {
        let through = usize::try_from(through.0).expect("a log in memory");
        let log = &truth.replicas[host].log;
        if through > log.len() {
            return Err(format!(
                "it applied entry {through} of a log of {}",
                log.len()
            ));
        }
        if let Some(last) = through.checked_sub(1)
            && let Some(outcome) = self.outcomes.get(last)
            && outcome.hash != log[last].hash
        {
            return Err(format!(
                "entry {through} differs from the one applied elsewhere"
            ));
        }
        let from = self.outcomes.len();
        let links = log.iter().take(through).skip(from);
        self.extend(truth, links.map(Link::place))
    }

    fn extend(
        &mut self,
        truth: &Truth,
        places: impl Iterator<Item = (Index, u64)>,
    ) -> Result<(), String> {
        for (index, hash) in places {
            // Not before it is applied: a record that is lost may have listed one that nobody has heard of.
            for skip in truth.skips.iter().filter(|skip| skip.index == index) {
                self.state.skip(*skip);
            }
            let Some(bytes) = truth.made.get(&(index.0, hash)) else {
                return Err(format!("entry {index} was never ordered by a primary"));
            };
            let entry = Entry::decode(bytes).expect("a primary made it");
            let mut reply = Vec::new();
            let status = self.state.apply(&entry, &mut reply).map_err(|fault| {
                format!(
                    "entry {} was applied, and makes the machine fail",
                    fault.skip
                )
            })?;
            let commands = entry.commands().zip(entry.replies(status, &reply));
            for (command, told) in commands {
                if matches!(told.status, ReplyStatus::Done | ReplyStatus::Skipped) {
                    let request = (command.session, command.sequence);
                    let executed = Executed {
                        index,
                        status: told.status,
                        reply: told.bytes.to_vec(),
                    };
                    self.executed.entry(request).or_insert(executed);
                }
            }
            self.outcomes.push(Outcome {
                hash,
                status,
                reply,
                reply_digest: self.state.reply_digest().0,
            });
        }
        Ok(())
    }

    /// An operator forces a takeover: only what the primary of `after` has on its platter goes on. The rest
    /// is as if it had never been applied.
    pub(crate) fn rewind(&mut self, truth: &Truth, after: &ViewRecord) {
        let links = truth.kept_by(after);
        let both = links.iter().zip(&self.outcomes);
        let kept = both
            .take_while(|(link, outcome)| link.hash == outcome.hash)
            .count();
        *self = Self::default();
        self.extend(truth, links[..kept].iter().map(Link::place))
            .expect("it was applied before");
    }

    /// The outcome of the entry at `index`.
    pub(crate) fn outcome(&self, index: Index) -> Option<&Outcome> {
        let place = usize::try_from(index.0.checked_sub(1)?).ok()?;
        self.outcomes.get(place)
    }

    /// What a request of a session came to, and at which entry.
    pub(crate) fn executed(&self, session: u64, sequence: u64) -> Option<&Executed> {
        self.executed.get(&(session, sequence))
    }

    /// The digest of the state after the entry at `index`; `None` if nobody has applied that.
    pub(crate) fn state_digest_at(&self, truth: &Truth, index: Index) -> Option<u128> {
        if index == self.state.applied() {
            return (!self.state.is_poisoned()).then(|| self.state.state_digest());
        }
        let through = usize::try_from(index.0).expect("a log in memory");
        let outcomes = self.outcomes.get(..through)?.iter();
        let places = (1..).map(Index).zip(outcomes.map(|outcome| outcome.hash));
        let mut again = Self::default();
        let applied = again.extend(truth, places);
        applied.expect("it was applied before");
        Some(again.state.state_digest())
    }

    /// The state after all that was applied anywhere.
    pub(crate) fn state(&self) -> &Replicated<Watched<M>> {
        &self.state
    }
}

//! An entry at which processes of this replica died: what is told of it (`protocol.md` section 12).
//!
//! Whether it is skipped the view service decides, for that takes what every replica knows that has served since
//! the entry was ordered. Until then this replica goes on as if nothing were known: if it comes to be primary it
//! applies the entry, and perhaps dies once more.

use standin_core::entry::Index;
use standin_core::machine::StateMachine;
use standin_core::mark::{Fatal, FatalEntry};
use standin_core::poison::Skip;

use crate::event::{Action, Level};
use crate::replica::Replica;

/// What is known of such an entry, as long as this life lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    fatal: FatalEntry,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nobody knows yet. It is told.
    Open,
    /// It is skipped.
    Skipped,
    /// Somebody has applied it.
    Applied,
}

impl Suspect {
    pub(crate) fn new(fatal: FatalEntry) -> Self {
        Self {
            fatal,
            outcome: Outcome::Open,
        }
    }

    fn deaths(&self) -> String {
        let FatalEntry { entry, deaths, .. } = self.fatal;
        let times = match deaths {
            1 => "once".to_owned(),
            2 => "twice".to_owned(),
            more => format!("{more} times"),
        };
        format!("its process died {times} while the machine applied entry {entry}")
    }
}

impl<M: StateMachine> Replica<M> {
    /// Tells the view service, before each report, as long as it is not known what becomes of it.
    pub(crate) fn tell_fatal(&mut self) {
        let is_applied = |index: Index| index <= self.known_applied.max(self.state.applied());
        let open = self.suspect.filter(|it| it.outcome == Outcome::Open);
        let Some(suspect) = open else {
            return;
        };
        if is_applied(suspect.fatal.entry.index) {
            return self.conclude(Outcome::Applied);
        }
        let fatal = Fatal {
            identity: self.config.identity.clone(),
            fatal: suspect.fatal,
        };
        self.actions.push_back(Action::Fatal(Box::new(fatal)));
    }

    /// Takes note of entries that are skipped now.
    pub(crate) fn conclude_skipped(&mut self, skips: &[Skip]) {
        let is_it = |suspect: Suspect| skips.contains(&suspect.fatal.entry);
        if self.suspect.is_some_and(is_it) {
            self.conclude(Outcome::Skipped);
        }
    }

    fn conclude(&mut self, outcome: Outcome) {
        let Some(suspect) = &mut self.suspect else {
            return;
        };
        if suspect.outcome == outcome {
            return;
        }
        suspect.outcome = outcome;
        let (deaths, level) = (suspect.deaths(), Level::Warn);
        let text = match outcome {
            Outcome::Skipped => format!("{deaths}: it is skipped from now on"),
            Outcome::Open | Outcome::Applied => format!("{deaths}, and it was applied since"),
        };
        self.actions.push_back(Action::Log(level, text));
    }

    /// What people are told of it, in the status of this life. It keeps nobody from promoting this replica.
    pub(crate) fn fatality(&self) -> Option<String> {
        let suspect = self.suspect.as_ref()?;
        let deaths = suspect.deaths();
        match suspect.outcome {
            Outcome::Open => Some(format!(
                "{deaths}; if it was not killed by somebody, the entry is skipped once each replica that has \
                 served since has said that it did not apply it: start those that are away"
            )),
            Outcome::Skipped => Some(format!(
                "{deaths}: nothing of it was answered, and it is skipped"
            )),
            Outcome::Applied => None,
        }
    }
}

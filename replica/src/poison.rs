//! An entry that makes the machine fail, and entries that are skipped for that (`protocol.md` section 12).
//!
//! What is left of the machine's state after a failure is worth nothing. So this life of the replica ends as
//! one: it notes the entry durably, then gives its role up, tells the view service, and does nothing more.
//! The next life makes the state anew from the log, in which the entry is skipped by then.

use standin_core::machine::StateMachine;
use standin_core::message::Poisoned;
use standin_core::planted::Bug;
use standin_core::poison::{LOG_SKIPS_MAX, MachineFault, Poison, SKIPS_MAX, Skip};
use standin_core::time::Now;

use crate::event::{Action, Level};
use crate::replica::{Replica, Role};

/// A failure of the machine that others are to hear of.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) poison: Poison,
    /// It is noted durably: only then may anything follow from it.
    pub(crate) is_noted: bool,
}

pub(crate) fn too_many_skips() -> String {
    format!("more than {LOG_SKIPS_MAX} entries of its log made the machine fail")
}

impl<M: StateMachine> Replica<M> {
    /// Takes note of entries that are skipped, before they are applied. Once somebody skips an entry,
    /// everybody does, for good: the view service has it in the record until the log has it.
    pub(crate) fn learn_skips(&mut self, skips: &[Skip]) {
        self.log.version_starts.skip(skips);
        for skip in skips {
            if !self.log.skips.insert(*skip) {
                continue;
            }
            if self.log.skips.len() > LOG_SKIPS_MAX {
                return self.quarantine(&too_many_skips());
            }
            if !self.state.is_poisoned() && !self.planted.has(Bug::SkipsUnread) {
                self.state.skip(*skip);
            }
        }
        self.conclude_skipped(skips);
        let is_settled = |failure: &mut Failure| skips.contains(&failure.poison.skip);
        self.failure.take_if(is_settled);
    }

    /// The same of what a ViewStart in the log lists.
    pub(crate) fn read_skips(&mut self, skips: &[Skip]) {
        self.learn_skips(skips);
        self.log.skips_listed.extend(skips);
    }

    /// What the ViewStart of a view that begins with this log must list: what is skipped and no ViewStart in it
    /// says so. If there is more than one can list the newest come first: the others were skipped by an earlier
    /// primary, so the log of whoever holds has the ViewStart that lists them.
    pub(crate) fn unlisted_skips(&self) -> Vec<Skip> {
        let unlisted = self.log.skips.difference(&self.log.skips_listed);
        let mut newest: Vec<Skip> = unlisted.copied().collect();
        newest.drain(..newest.len().saturating_sub(SKIPS_MAX));
        newest
    }

    /// The machine has failed at an entry. Nothing is applied, asked or digested any more; what was answered
    /// before in this event may still leave. The role ends when the failure is noted.
    pub(crate) fn machine_failed(&mut self, fault: MachineFault) {
        let MachineFault { skip, words } = fault;
        let text = format!("entry {skip} made the machine fail: {words}");
        self.actions.push_back(Action::Log(Level::Error, text));
        let poison = Poison {
            skip,
            life: self.config.identity.life.incarnation,
            words,
        };
        self.actions.push_back(Action::NotePoison(poison.clone()));
        self.failure = Some(Failure {
            poison,
            is_noted: false,
        });
    }

    pub(crate) fn on_poison_noted(&mut self, now: Now) {
        let Some(failure) = &mut self.failure else {
            return; // its log is full of such entries, and it is out of service for good
        };
        failure.is_noted = true;
        let Poison { skip, words, .. } = &failure.poison;
        if skip.index <= self.known_applied {
            // To skip it now would undo what may have been answered.
            let why = format!(
                "entry {skip} makes the machine fail here ({words}), and another replica has applied it: \
                 the machine is not deterministic, or one of the two copies is wrong"
            );
            self.failure = None;
            return self.quarantine(&why);
        }
        let trouble = format!(
            "entry {skip} made the machine fail ({words}): nothing of it was answered, and it is skipped \
             from now on; restart this replica, and it comes back"
        );
        self.end_role();
        self.role = Role::Quarantined;
        self.trouble = Some(trouble);
        // It says so, and gives its lease back by that.
        self.dialog.hurry(now.boot);
    }

    /// Tells the view service, before each report, of a failure that is not known to be dealt with.
    pub(crate) fn tell_failure(&mut self) {
        if let Some(failure) = self.failure.as_ref().filter(|failure| failure.is_noted) {
            let poisoned = Poisoned {
                identity: self.config.identity.clone(),
                poison: failure.poison.clone(),
            };
            self.actions.push_back(Action::Poisoned(Box::new(poisoned)));
        }
    }
}

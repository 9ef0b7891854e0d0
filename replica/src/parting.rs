//! Two replicas have parted: they came to different replies or states from the same entries (`protocol.md` section 12).
//!
//! Which of them is wrong nobody here can know. The primary drops the other, both keep what shows at which entry it was,
//! and both say so, with the commands that find it, for as long as it lasts.

use std::collections::BTreeSet;

use standin_core::entry::Index;
use standin_core::evidence::Evidence;
use standin_core::identity::StoreId;
use standin_core::machine::StateMachine;
use standin_core::time::Now;
use standin_primary as primary;

use crate::event::{Action, Level};
use crate::replica::{Replica, Role};

/// In all words that say how to find the entry.
pub const FINDS_THE_ENTRY: &str = "finds the entry";

/// In these words, before its name, the data directory of another replica: where it is only people know.
pub const DIR_OF: &str = "DIR_OF_";

/// What is known of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parting {
    /// What people are told as long as this primary keeps somebody out.
    pub(crate) words: Option<String>,
    /// Whom it keeps out. One for each name that there is, at most.
    pub(crate) names: BTreeSet<String>,
    /// How often that was found in this life.
    pub(crate) count: u64,
    /// The last entry that was applied when evidence was kept.
    kept_at: Option<Index>,
}

impl<M: StateMachine> Replica<M> {
    /// A follower's replies or states differ from this replica's. `what` says which, and of which entry.
    pub(crate) fn on_parted(&mut self, now: Now, store: StoreId, what: &str) {
        let Role::Primary(primary) = &self.role else {
            return;
        };
        let name = primary.name_of(store).map(ToString::to_string);
        let name = name.unwrap_or_else(|| format!("the replica with data directory {store}"));
        let words = format!(
            "{name} has come to {what} than this replica from the same entries: the machine is not deterministic (see \
             docs/determinism.md), or one of the two is damaged; {name} is dropped, and both logs are kept for comparison; {}",
            self.commands(&format!("{DIR_OF}{}", short(&name)), &name)
        );
        self.actions
            .push_back(Action::Log(Level::Error, words.clone()));
        self.parting.words = Some(words);
        self.parting.names.insert(name);
        self.parting.count += 1;
        self.snapshots.keep_all();
        self.keep_evidence();
        self.tell_primary(now, primary::Event::Diverged(store));
        self.warn_if_followers_are_not_taken();
    }

    /// The commands that find the entry, with this replica's data directory and the other's.
    pub(crate) fn commands(&self, other_dir: &str, other: &str) -> String {
        let own = match self.config.data_dir.as_str() {
            "" => "DIR",
            dir => dir,
        };
        let program = &self.config.program;
        format!(
            "`{program} replay --diff {own} {other_dir}` {FINDS_THE_ENTRY} ({other_dir}: the data directory of {other}), and \
             `{program} replay {own} --verify` tells whether this one comes to the same again"
        )
    }

    /// Has written down what is remembered of replies and states: once for each entry at which it stands.
    pub(crate) fn keep_evidence(&mut self) {
        let applied = self.state.applied();
        if self.parting.kept_at == Some(applied) || self.state.is_poisoned() {
            return;
        }
        self.parting.kept_at = Some(applied);
        let (before, chain, replies) = self.replies.evidence();
        let evidence = Evidence {
            store: self.config.identity.store,
            before,
            chain,
            replies,
            states: self.snapshots.recorded().collect(),
        };
        self.actions
            .push_back(Action::KeepEvidence(Box::new(evidence)));
    }

    /// This primary's role has ended, and with it what it knew of others.
    pub(crate) fn forget_parting(&mut self) {
        self.parting.words = None;
        self.parting.names.clear();
        self.snapshots.keep_as_usual();
    }
}

/// A name as part of a word in capitals.
fn short(name: &str) -> &str {
    match name.contains(' ') {
        true => "OTHER",
        false => name,
    }
}

//! Two replicas have parted: they came to different replies or states from the same entries (`protocol.md` section 12).
//!
//! Which of them is wrong nobody here can know. The primary drops the other, both keep what shows at which entry it was,
//! and both say so, with the commands that find it, for as long as it lasts.

use std::collections::BTreeMap;

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
    /// The data directories that this primary keeps out, whose they are, and what people are told. The primary takes no more
    /// followers long before there are many.
    parted: BTreeMap<StoreId, (String, String)>,
    /// The last of them.
    last: Option<StoreId>,
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
        self.parting.parted.insert(store, (name, words));
        self.parting.last = Some(store);
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

    /// Whether another data directory follows in the place of the one that was found to have parted, and is not kept out itself.
    fn is_replaced(&self, store: StoreId, name: &str) -> bool {
        self.followers().any(|other| {
            other.name.as_str() == name
                && other.store != store
                && !self.parting.parted.contains_key(&other.store)
        })
    }

    /// The names of the replicas that this primary keeps out.
    pub(crate) fn kept_out(&self) -> impl Iterator<Item = &String> {
        let parted = self.parting.parted.iter();
        let left = parted.filter(|(store, (name, _))| !self.is_replaced(**store, name));
        left.map(|(_, (name, _))| name)
    }

    /// What people are told of the last one, as long as it is kept out.
    pub(crate) fn parted_words(&self) -> Option<&String> {
        let store = self.parting.last?;
        let (name, words) = self.parting.parted.get(&store)?;
        (!self.is_replaced(store, name)).then_some(words)
    }

    /// This primary's role has ended, and with it what it knew of others.
    pub(crate) fn forget_parting(&mut self) {
        self.parting.parted.clear();
        self.parting.last = None;
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

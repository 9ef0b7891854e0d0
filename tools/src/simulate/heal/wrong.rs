//! A replica whose machine has replied wrongly, when the faults have ended (`protocol.md` section 12).

use standin_core::entry::Index;
use standin_core::identity::StoreId;
use standin_core::view::ViewRecord;

use super::Healing;
use crate::simulate::fact::Fact;
use crate::simulate::truth::Truly;
use crate::simulate::watched::Subject;
use crate::simulate::world::{Process, World};

impl<M: Subject> World<M> {
    /// Who has replied wrongly stays as it is; who was about to does not.
    pub(super) fn draw_wrong(&mut self) -> Option<usize> {
        let truth = &self.checks.truth;
        let mut replicas = truth.replicas.iter();
        if let Some(host) = replicas.position(|one| truth.has_erred(one)) {
            return Some(host);
        }
        let mut replicas = truth.replicas.iter().enumerate();
        let has_strayed = replicas.find_map(|(host, one)| {
            let has = truth.has_strayed(one) || self.strays_untold(host);
            has.then_some(host)
        });
        if has_strayed.is_some() {
            return has_strayed;
        }
        // It may come back in the right one, by an older copy of its disk: the primary that has found it does not
        // take its store back.
        let mut replicas = truth.replicas.iter();
        let is_found = |one: &Truly| {
            let store = one.store();
            store.is_some_and(|store| self.has_primary_found(store))
        };
        if let Some(host) = replicas.position(is_found) {
            return Some(host);
        }
        let from = Index(u64::MAX);
        let mut replicas = self.checks.truth.replicas.iter();
        if let Some(host) = replicas.position(|one| one.wrong_from.is_some()) {
            self.machine(host).falsehood.begin(from);
            self.observe(&Fact::Falsified { host, from });
        }
        let mut replicas = self.checks.truth.replicas.iter();
        if let Some(host) = replicas.position(|one| one.strays_from.is_some()) {
            self.machine(host).falsehood.begin_straying(from);
            self.observe(&Fact::StraysFrom { host, from });
        }
        None
    }

    /// Whether a replica's state is another than it should be, also if its loop has not come round since it started.
    fn strays_untold(&self, host: usize) -> bool {
        let Process::Replica(node) = &self.hosts[host].process else {
            return false;
        };
        let state = node.replica.state();
        !state.is_poisoned() && state.machine().has_strayed()
    }

    /// Whether all that a replica has replied is right; `None` if it does not run.
    pub(super) fn is_right(&self, host: usize) -> Option<bool> {
        let Process::Replica(node) = &self.hosts[host].process else {
            return None;
        };
        let state = node.replica.state();
        let outcome = self.checks.reference.outcome(state.applied());
        Some(outcome.is_none_or(|outcome| outcome.reply_digest == state.reply_digest().0))
    }

    /// Whether a pair goes on in which one has replied wrongly.
    pub(super) fn does_pair_differ(&self) -> bool {
        let Some(record) = self.checks.truth.record.as_ref().filter(|it| it.active) else {
            return false;
        };
        let backup = record.backup.as_ref().and_then(|it| self.host_of(it));
        let pair = self.host_of(&record.primary).zip(backup);
        let are_right = pair.and_then(|(one, other)| self.is_right(one).zip(self.is_right(other)));
        are_right.is_some_and(|(one, other)| one != other)
    }

    /// Whether a pair goes on though the primary was told of a state of the backup's that differs from its own.
    fn do_states_differ(&self) -> bool {
        let Some(record) = self.checks.truth.record.as_ref().filter(|it| it.active) else {
            return false;
        };
        let holders = record.holders.iter();
        let mut backups = holders.filter(|holder| holder.name != record.primary.name);
        backups.any(|holder| self.has_primary_found(holder.token.store()))
    }

    /// Whether the present primary was told of a state of a store that differs from its own.
    fn has_primary_found(&self, store: StoreId) -> bool {
        let record = self.checks.truth.record.as_ref();
        let primary = record.and_then(|record| self.host_of(&record.primary));
        match primary.map(|host| &self.hosts[host].process) {
            Some(Process::Replica(node)) => node.has_found_differing(store),
            _ => false,
        }
    }

    /// Whether a replica that is wrong leads, or alone may: then it serves, and nobody can know.
    pub(super) fn may_wrong_lead(&self, wrong: usize, record: &ViewRecord) -> bool {
        let holders = record.holders.iter();
        let mut able = holders.filter_map(|holder| self.is_able(holder));
        record.primary.name == self.machines[wrong].name || able.all(|host| host == wrong)
    }

    /// Replies that differ within a pair are found at the next acknowledgement, and end it.
    pub(super) fn look_at_replies(&mut self, healing: &mut Healing) {
        // Nobody can be dropped as long as there is no record.
        if self.is_rebuilding() {
            healing.differs_since = None;
            return;
        }
        let what = if self.does_pair_differ() {
            "primary and backup go on together, and one has replied wrongly"
        } else if self.do_states_differ() {
            "primary and backup go on together, and their states were found to differ"
        } else {
            healing.differs_since = None;
            return;
        };
        let since = *healing.differs_since.get_or_insert(self.now);
        if self.now.since(since) > self.plan.term * 3 {
            self.checks.fail("S10", what.to_owned());
        }
    }
}

//! The operator who forces a takeover (`protocol.md` section 7), when the faults have ended or amid them.

use standin_core::identity::StoreId;
use standin_core::message::{ForceOutcome, RoleName};
use standin_core::time::Duration;
use standin_core::view::{Holder, ViewId, ViewRecord};

use super::{Demand, Healing, Health};
use crate::simulate::draw::Draw as _;
use crate::simulate::node::Node;
use crate::simulate::truth::Truly;
use crate::simulate::watched::Subject;
use crate::simulate::world::{Process, World};

/// What came of an operator's wish to force a takeover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    Done,
    Refused(String),
    /// No replica runs that could be named.
    NobodyToName,
}

impl<M: Subject> World<M> {
    /// The operator accepts the loss, and then all must come right.
    pub(super) fn recover_after_healing(&mut self, healing: &mut Healing, health: &Health) {
        match self.recover() {
            Recovery::Done => {
                let limit = health.term * 3 + Duration::from_secs(1);
                healing.demand = Demand::Serve;
                healing.at = self.now;
                healing.serves_by = self.now.plus(limit);
                healing.is_forced = true;
                self.ask_anew();
            }
            // A view service that was just started waits, and a replica may be on its way up.
            Recovery::Refused(_) if self.now < healing.at.plus(health.term * 12) => {}
            Recovery::Refused(reason) => {
                let what = format!("no takeover can be forced: {reason}; {}", health.words);
                self.checks.fail("S18", what);
            }
            Recovery::NobodyToName => self.finish(false),
        }
    }

    /// The operator has the lost record made again, and then all must come right. Where that is refused for good,
    /// it must be said why, and it is done whatever is lost.
    pub(super) fn rebuild_after_healing(&mut self, healing: &mut Healing, health: &Health) {
        let is_patient = self.now < healing.at.plus(health.term * 12 + Duration::from_secs(1));
        // What was stored as the view service died is there when it is started again.
        let mut came = match self.is_rebuilding() {
            true => self.rebuild(None),
            false => Recovery::Done,
        };
        if !is_patient && came != Recovery::Done {
            let why = self.ask_service().and_then(|status| status.unavailable);
            if why.is_none_or(|why| !why.contains("standin recover --rebuild")) {
                let what = format!("the record is lost, and nobody says so: {}", health.words);
                return self.checks.fail("S18", what);
            }
            if self.must_be_rebuilt() {
                let came = match &came {
                    Recovery::Refused(reason) => reason.as_str(),
                    Recovery::Done | Recovery::NobodyToName => "no replica runs",
                };
                let what = format!(
                    "nothing is in doubt, and the record cannot be made again: {came}; {}",
                    health.words
                );
                return self.checks.fail("L1", what);
            }
            // One that has been in no view does not know of which cluster it is.
            let has_view = |host: &usize| {
                let standing = self.checks.truth.replicas[*host].standing;
                standing.is_some_and(|standing| standing.view > ViewId::default())
            };
            let Some(host) = self.survivors().into_iter().find(has_view) else {
                return self.finish(false);
            };
            if let Err((property, what)) = self.compare_history() {
                return self.checks.fail(property, what);
            }
            came = self.rebuild(Some(self.machines[host].name.clone()));
            healing.is_forced |= came == Recovery::Done;
        }
        match came {
            Recovery::Done => {
                healing.demand = match healing.is_forced {
                    true => Demand::Serve,
                    false => self.demand(healing.broken),
                };
                healing.at = self.now;
                healing.serves_by = self.now.plus(health.term * 5 + Duration::from_secs(1));
                self.ask_anew();
            }
            // Who was named may just have died.
            Recovery::Refused(reason) if self.now > healing.at.plus(health.term * 24) => {
                let what = format!(
                    "the record cannot be made again: {reason}; {}",
                    health.words
                );
                self.checks.fail("S18", what);
            }
            Recovery::Refused(_) | Recovery::NobodyToName => {}
        }
    }

    /// Whether all replicas run, and none has lost anything of what any record has relied on: neither the lost one nor the
    /// newest that anybody has adopted, which is all that is known of it.
    fn must_be_rebuilt(&self) -> bool {
        let truth = &self.checks.truth;
        let are_whole = truth.replicas.iter().all(|one| {
            one.is_running && !one.is_doubtful() && !one.is_quarantined() && one.has_lost_nothing()
        });
        let is_there = |store: &StoreId| {
            let mut identities = truth
                .replicas
                .iter()
                .filter_map(|one| one.identity.as_ref());
            identities.any(|identity| identity.store == *store)
        };
        // Before anybody was in a view there is nothing to make again.
        let has_view = |one: &Truly| one.standing.is_some_and(|it| it.view > ViewId::default());
        let are_whole = are_whole && truth.replicas.iter().any(has_view);
        // A disk that was replaced may have been a holder's by the record that they know of.
        let are_whole = are_whole && truth.known_stores.iter().all(is_there);
        // A life that ended cleanly, but for want of room for the mark that says so, does not know that it did.
        let knows = |holder: &Holder| {
            let host = self.is_able(holder);
            let identity = host.and_then(|host| truth.replicas[host].identity.as_ref());
            identity.is_some_and(|identity| identity.satisfies(holder.token))
        };
        let stand = |record: &ViewRecord| record.holders.iter().all(knows);
        let views = truth.replicas.iter().filter_map(|one| one.standing);
        let newest = views.map(|standing| standing.view).max();
        let newest = newest.and_then(|view| truth.records.get(&view));
        are_whole && truth.record.as_ref().is_some_and(stand) && newest.is_some_and(stand)
    }

    /// Whether nobody may serve by the rules, whatever is started again: no holder's token stands.
    pub(crate) fn is_lost(&self) -> bool {
        let truth = &self.checks.truth;
        truth.record.as_ref().is_some_and(|record| {
            record.holders.iter().all(|holder| {
                let found = truth.holder(holder);
                found.is_some_and(|(_, one)| !one.is_tampered() && !one.satisfies(holder.token))
            })
        })
    }

    /// An operator forces a takeover, naming any replica that runs.
    pub(crate) fn recover(&mut self) -> Recovery {
        let fit = self.survivors();
        if fit.is_empty() {
            return Recovery::NobodyToName;
        }
        let host = *self.random.pick(&fit);
        // What was answered until now is judged as it was; what is lost of it is left out from here on.
        if let Err((property, what)) = self.compare_history() {
            self.checks.fail(property, what);
        }
        self.force(host)
    }

    /// The replicas that run and may be named.
    fn survivors(&self) -> Vec<usize> {
        let is_fit = |(host, node): (usize, &Node<M>)| {
            let is_tampered = self.checks.truth.replicas[host].is_tampered();
            let is_quarantined = node.replica.role_name() == RoleName::Quarantined;
            // Who is about to set its log aside has nothing a moment later.
            let log_epoch = self.checks.truth.log_epoch(host);
            let is_outdated = self.plan.is_operator_careless
                && log_epoch < self.checks.truth.replicas[host].data_epoch;
            let is_out = is_quarantined || is_outdated || self.is_broken_for_good(host);
            (!is_tampered && !is_out).then_some(host)
        };
        self.nodes().into_iter().filter_map(is_fit).collect()
    }

    /// An operator names this replica.
    pub(crate) fn force(&mut self, host: usize) -> Recovery {
        let name = self.machines[host].name.clone();
        // Though nobody may say that it was done.
        self.forced.insert(host);
        self.trace
            .remark(self.now, || format!("the operator names {name}"));
        let mut reply = None;
        self.with_process(self.plan.service(), |process, stage| {
            if let Process::Service(service) = process {
                reply = service.force(stage, &name)?;
            }
            Ok(())
        });
        match reply.map(|reply| reply.outcome) {
            Some(ForceOutcome::Done { .. }) => Recovery::Done,
            Some(ForceOutcome::WouldLose { loss }) => Recovery::Refused(loss),
            Some(ForceOutcome::Refused { reason }) => Recovery::Refused(reason),
            None => Recovery::Refused("the view service is down".to_owned()),
        }
    }
}

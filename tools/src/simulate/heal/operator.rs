//! The operator who forces a takeover (`protocol.md` section 7), when the faults have ended or amid them.

use standin_core::message::{ForceOutcome, RoleName};
use standin_core::time::Duration;

use super::{Demand, Healing, Health};
use crate::simulate::draw::Draw as _;
use crate::simulate::node::Node;
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
        let fit: Vec<usize> = self.nodes().into_iter().filter_map(is_fit).collect();
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

    /// An operator names this replica.
    pub(crate) fn force(&mut self, host: usize) -> Recovery {
        let name = self.machines[host].name.clone();
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

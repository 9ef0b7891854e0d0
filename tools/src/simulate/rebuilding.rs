//! The view service loses its disk for good, and an operator has the record made again from what the replicas
//! know (`protocol.md` section 11).

use standin_core::identity::ReplicaName;
use standin_core::message::{ForceOutcome, Rebuild};
use standin_core::time::Duration;
use standin_core::view::Reason;

use super::draw::Draw as _;
use super::fact::Fact;
use super::fault::FaultKind;
use super::heal::Recovery;
use super::marks::Mark;
use super::watched::Subject;
use super::world::{Process, World};

impl<M: Subject> World<M> {
    /// The view service's machine is lost with its disk, and another one is started in its place, on an empty
    /// disk and without a record.
    pub(crate) fn lose_record(&mut self, length: Duration) -> bool {
        let record = self.checks.truth.record.as_ref();
        // What an operator was promised by a Force that nobody has read yet is theirs to ask for again; what the
        // checks know of it they cannot take back.
        if record.is_none_or(|record| record.reason == Reason::Forced) || self.is_rebuilding() {
            return false;
        }
        let service = self.plan.service();
        if self.hosts[service].is_up() {
            self.kill(service, true);
        }
        self.service_disk.wipe();
        self.is_record_lost = true;
        self.observe(&Fact::RecordLost);
        // Often what takes one machine takes others along, and they stay away for longer.
        let pair = self.pair();
        if self.random.chance(500)
            && let Some(first) = pair.first().copied()
        {
            let both = self.random.chance(300);
            let lose_power = self.random.chance(300);
            let hosts = if both { pair } else { vec![first] };
            self.kill_for(&hosts, lose_power, length * 2 + self.plan.term * 2);
        }
        self.start_at(service, self.now.plus(length));
        true
    }

    /// Whether the record is lost and not there again.
    pub(crate) fn is_rebuilding(&self) -> bool {
        self.is_record_lost && !self.checks.truth.is_rebuilt
    }

    /// An operator has the record made again, naming all replicas, or only those that the status says are heard. With `primary`: whatever is lost by it.
    pub(crate) fn rebuild(&mut self, primary: Option<ReplicaName>) -> Recovery {
        let machines = self.machines.iter().zip(&self.checks.truth.replicas);
        let known = machines.filter(|(_, replica)| replica.identity.is_some());
        let mut replicas: Vec<_> = known.map(|(machine, _)| machine.name.clone()).collect();
        if self.random.chance(500)
            && let Some(status) = self.ask_service()
        {
            let heard = status.replicas.into_iter().filter(|it| it.is_alive);
            replicas = heard.map(|it| it.peer.identity.name).collect();
        }
        let wish = Rebuild {
            replicas,
            accept_loss: primary.is_some(),
            primary,
        };
        self.trace
            .remark(self.now, || format!("the operator rebuilds: {wish:?}"));
        let mut reply = None;
        self.with_process(self.plan.service(), |process, stage| {
            if let Process::Service(service) = process {
                reply = service.rebuild(stage, &wish)?;
            }
            Ok(())
        });
        let outcome = reply.map(|reply| reply.outcome);
        self.trace
            .remark(self.now, || format!("the operator hears: {outcome:?}"));
        match outcome {
            Some(ForceOutcome::Done { .. }) => {
                self.marks.reach(Mark::Rebuilt);
                Recovery::Done
            }
            Some(ForceOutcome::WouldLose { loss }) => Recovery::Refused(loss),
            Some(ForceOutcome::Refused { reason }) => {
                self.marks.reach(Mark::RebuildRefused);
                Recovery::Refused(reason)
            }
            None => Recovery::Refused("the view service is down".to_owned()),
        }
    }

    /// Amid the faults an operator tries now and then.
    pub(crate) fn rebuild_now_and_then(&mut self) {
        if self.is_rebuilding() && self.plan.faults.contains(&FaultKind::RecordLost) {
            self.rebuild(None);
        }
    }
}

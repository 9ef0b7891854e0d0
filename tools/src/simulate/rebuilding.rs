//! The view service loses its disk for good, and an operator has the record made again from what the replicas
//! know (`protocol.md` section 11).

use standin_core::identity::ReplicaName;
use standin_core::message::{ForceOutcome, Rebuild};
use standin_core::time::Duration;
use standin_core::view::Reason;

use super::draw::Draw as _;
use super::fact::Fact;
use super::fault::FaultKind;
use super::heal::{Broken, Healing, Health, Recovery};
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

    /// An operator has the record made again, naming all replicas, or only those that the status says are heard and those
    /// whom they have named before, in forcing a takeover: these may have served alone since. With `primary`: whatever is
    /// lost by it.
    pub(crate) fn rebuild(&mut self, primary: Option<ReplicaName>) -> Recovery {
        let hosts = 0..self.plan.replicas;
        let known: Vec<usize> = hosts
            .filter(|host| self.checks.truth.replicas[*host].identity.is_some())
            .collect();
        let name = |host: &usize| self.machines[*host].name.clone();
        let mut replicas: Vec<_> = known.iter().map(name).collect();
        let forced: Vec<_> = (known.iter().filter(|host| self.forced.contains(host)))
            .map(name)
            .collect();
        if self.random.chance(500)
            && let Some(status) = self.ask_service()
        {
            let heard = status.replicas.into_iter().filter(|it| it.is_alive);
            replicas = heard.map(|it| it.peer.identity.name).collect();
            replicas.extend(forced);
            replicas.sort_unstable();
            replicas.dedup();
        }
        if let Some(name) = &primary {
            let mut machines = self.machines.iter();
            let host = machines.position(|machine| machine.name == *name);
            self.forced.extend(host);
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
                let machines = self.machines.iter().enumerate();
                let left_out = machines.filter(|(_, it)| !wish.replicas.contains(&it.name));
                self.left_out = left_out.map(|(host, _)| host).collect();
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

    /// Whether a replica that was left out when the record was made again is ahead of it. It had adopted a record
    /// that had been made again before, of which nobody else knows and which was lost, too: the known limit. If the view
    /// service never hears it again, it is merely broken, and the others must come right.
    pub(crate) fn is_left_out_ahead(&self, healing: &Healing) -> bool {
        let Some(record) = &self.checks.truth.record else {
            return false;
        };
        let mut left_out = self.left_out.iter();
        left_out.any(|host| {
            let replica = &self.checks.truth.replicas[*host];
            let is_ahead = (replica.standing).is_some_and(|standing| standing.view > record.id());
            let is_unheard = match healing.broken {
                Some((broken, how)) if broken == *host => {
                    use Broken::{Isolated, Mute, Paused, Unseen};
                    matches!(how, Isolated | Mute | Paused | Unseen)
                        && !self.checks.truth.has_reported_beyond(replica, record.id())
                }
                _ => false,
            };
            replica.is_running && is_ahead && !is_unheard
        })
    }

    /// Then the view service must say that it cannot go on, and nothing more is demanded.
    pub(crate) fn look_at_left_out(&mut self, healing: &Healing, health: &Health) {
        if self.now < healing.at.plus(health.term * 6 + Duration::from_secs(1)) {
            return;
        }
        let why = self.ask_service().and_then(|status| status.unavailable);
        if why.is_none_or(|why| !why.contains("old copy") || !why.contains("--rebuild")) {
            let what = format!("a replica is ahead, and nobody says so: {}", health.words);
            return self.checks.fail("S18", what);
        }
        self.marks.reach(Mark::LeftOutAhead);
        self.finish(false);
    }

    /// Amid the faults an operator tries now and then.
    pub(crate) fn rebuild_now_and_then(&mut self) {
        if self.is_rebuilding() && self.plan.faults.contains(&FaultKind::RecordLost) {
            self.rebuild(None);
        }
    }
}

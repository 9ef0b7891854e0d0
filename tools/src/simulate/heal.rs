//! After the faults: a core of the cluster is healed, the rest stays broken for good, and then
//! everything must come right again within limits (`protocol.md` sections 13 and 14).

mod demands;
mod duty;
mod health;
mod last_look;
mod operator;
mod rollout;
mod wrong;

use standin_core::entry::Index;
use standin_core::identity::Durability;
use standin_core::message::StatusReply;
use standin_core::time::{Duration, Instant};
use standin_core::view::{Holder, ViewId};
use standin_io::net::NetLimits;

use super::check::{l1, l2, l3, l4, l5, s18};
use super::clock::RATE_TRUE;
use super::draw::Draw as _;
use super::fact::Fact;
use super::marks::Mark;
use super::queue::Coming;
use super::watched::Subject;
use super::world::{Host, Process, World};
use crate::cluster::Outline;

pub(crate) use demands::Demands;
pub(crate) use duty::Duty;
pub(crate) use health::Health;
pub(crate) use operator::Recovery;

/// Calls that each client makes once the faults have ended.
const CALLS: u32 = 3;
/// How often machines may fail once the faults have ended: at the commands that were under way, of each of which a
/// primary and the one after it may know nothing yet.
const FAILURES_MAX: u32 = 24;
/// How long a damaged log may take to be mended, besides some lease terms: those who are asked may be silent, and all
/// are asked again in time.
const MENDING_MAX: Duration = Duration::from_secs(30);
/// How long those are tried: longer than anything may take.
const PATIENCE: Duration = Duration::from_secs(100);

/// What stays wrong with one replica for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Its machine is off.
    Off,
    /// Its process stands still.
    Paused,
    /// Nothing gets to it or from it.
    Isolated,
    /// Nothing gets from it to others.
    Mute,
    /// Nothing gets from others to it.
    Deaf,
    /// Its disk never finishes a sync.
    StalledDisk,
    /// Nothing passes between it and the view service.
    Unseen,
    /// Its machine has replied wrongly.
    Wrong,
}

impl Broken {
    /// What is wrong with it, in words.
    fn words(self) -> &'static str {
        match self {
            Self::Off => "is off",
            Self::Paused => "stands still",
            Self::Isolated => "is cut off from all others",
            Self::Mute => "is not heard by anybody",
            Self::Deaf => "hears nobody",
            Self::StalledDisk => "has a disk that hangs",
            Self::Unseen => "is cut off from the view service",
            Self::Wrong => "has replied wrongly",
        }
    }
}

/// What is demanded of a healed cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// A holder that is whole is in the core: it must serve.
    Serve,
    /// No holder is left: it must say so.
    SayWhy,
    /// The record is lost: it must be made again, or it must be said why not.
    Rebuild,
    /// Only holders whose disks were tampered with, or a primary whose replies are wrong: whatever it
    /// does beyond that must be right.
    Nothing,
}

/// How far healing is.
#[derive(Debug)]
pub(crate) struct Healing {
    pub(crate) at: Instant,
    pub(crate) broken: Option<(usize, Broken)>,
    pub(crate) demand: Demand,
    /// A primary must be active by then.
    pub(crate) serves_by: Instant,
    pub(crate) has_served: bool,
    /// Everything was well at this moment, in this view, after so many steps.
    pub(crate) settled: Option<(Instant, ViewId, u64)>,
    /// How often something changed after all.
    pub(crate) changes: u32,
    /// What is to be done about who is broken, in which view, at which last acknowledged entry, and
    /// since when that is so.
    pub(crate) duty: Option<(Duty, ViewId, Index, Instant)>,
    /// Since when a pair goes on in which one has replied wrongly.
    pub(crate) differs_since: Option<Instant>,
    /// Nobody could serve, and an operator has forced a takeover.
    pub(crate) is_forced: bool,
    /// How often replicas were restarted since whose machine had failed.
    pub(crate) restarts: u32,
}

impl<M: Subject> World<M> {
    pub(crate) fn is_healed(&self) -> bool {
        self.healing.is_some()
    }

    pub(crate) fn is_broken_for_good(&self, host: usize) -> bool {
        let broken = self.healing.as_ref().and_then(|healing| healing.broken);
        broken.is_some_and(|(one, how)| one == host && how == Broken::Off)
    }

    /// Whether something stays wrong with a replica for good.
    pub(crate) fn is_broken(&self, host: usize) -> bool {
        let broken = self.healing.as_ref().and_then(|healing| healing.broken);
        broken.is_some_and(|(one, _)| one == host)
    }

    /// Whether the record names a replica's disk among the holders.
    pub(crate) fn is_needed(&self, host: usize) -> bool {
        let identity = self.checks.truth.replicas[host].identity.as_ref();
        let (Some(record), Some(identity)) = (&self.checks.truth.record, identity) else {
            return true;
        };
        let mut holders = record.holders.iter();
        holders.any(|holder| holder.token.store() == identity.store)
    }

    /// Whether another holder than this replica runs, and nothing is wrong with it.
    pub(crate) fn has_other_holder(&self, host: usize) -> bool {
        let Some(record) = &self.checks.truth.record else {
            return false;
        };
        let holders = record.holders.iter();
        let mut others = holders.filter_map(|holder| self.is_able(holder));
        others.any(|other| {
            let it = &self.hosts[other];
            let is_whole = !self.checks.truth.replicas[other].is_tampered() && !it.is_disk_spoilt;
            other != host && it.is_up() && is_whole
        })
    }

    /// Whether a holder could serve by the rules: its token stands, and nothing is wrong with it.
    fn is_able(&self, holder: &Holder) -> Option<usize> {
        let (host, replica) = self.checks.truth.holder(holder)?;
        let is_mending = matches!(self.hosts[host].process, Process::Mending(_));
        let is_fit =
            self.machines[host].unfit.is_none() && !replica.is_quarantined() && !is_mending;
        (is_fit && replica.satisfies(holder.token)).then_some(host)
    }

    /// The faults end.
    pub(crate) fn on_heal(&mut self) {
        self.end_faults();
        self.renew_idle();
        self.restart_poisoned(None);
        self.operate();
        let wrong = self.draw_wrong();
        let broken = match wrong {
            Some(host) => Some((host, Broken::Wrong)),
            // Whoever might know of a later record must be heard.
            None => self.draw_broken().filter(|_| !self.is_rebuilding()),
        };
        if let Some((host, how)) = broken {
            self.break_for_good(host, how);
        }
        let demand = if self.is_rebuilding() {
            Demand::Rebuild
        } else {
            self.demand(broken)
        };
        let mut limit = self.plan.term + Duration::from_secs(1);
        let record = self.checks.truth.record.clone();
        let is_candidate_gone =
            record.is_some_and(|record| !record.active && self.host_of(&record.primary).is_none());
        // Who is broken now may be named before anybody can know; from an inactive view it moves on
        // after two terms.
        if is_candidate_gone || broken.is_some() {
            limit += self.plan.term * 2;
        }
        let is_failed = |host: &Host<M>| matches!(host.process, Process::Failed(_));
        if self.hosts.iter().any(is_failed) {
            // It ends as soon as it was heard; its next process is let in once it has noted why not, so
            // that only the one after that may serve.
            limit += self.plan.term * 2;
        }
        if matches!(broken, Some((_, Broken::StalledDisk))) {
            // A primary that gets on with nothing for a term stops renewing; but first a client must ask
            // something of it, though it may have to find out that its connection is half-open.
            limit += self.plan.term + NetLimits::default().peer_silence_timeout * 2;
        }
        self.healing = Some(Healing {
            at: self.now,
            broken,
            demand,
            serves_by: self.now.plus(limit),
            has_served: false,
            settled: None,
            changes: 0,
            duty: None,
            differs_since: None,
            is_forced: false,
            restarts: 0,
        });
        self.trace.remark(self.now, || {
            format!("healed, but for {broken:?}: {demand:?}")
        });
        if demand == Demand::SayWhy {
            self.marks.reach(Mark::Lost);
        }
        self.observe(&Fact::Healed);
        for host in 0..self.hosts.len() {
            self.start_at(host, self.now);
        }
        self.ask_anew();
        self.queue
            .at(self.now.plus(self.plan.term / 4), Coming::Script);
    }

    fn end_faults(&mut self) {
        let now = self.now;
        self.network.unblock_all(now);
        for machine in &self.machines {
            machine.falsehood.doom.spare();
        }
        for host in 0..self.hosts.len() {
            self.go_on(host);
            let it = &mut self.hosts[host];
            it.slow.0 = now;
            it.slow_disk.0 = now;
            it.slow_apply.0 = now;
            if it.thaws.take().is_some() || !self.plan.are_clocks_bounded {
                self.set_clock_rate(host, RATE_TRUE);
            }
            if host > self.plan.service() {
                continue;
            }
            self.disk(host).mend();
            let is_failed = matches!(self.hosts[host].process, Process::Failed(_));
            if self.hosts[host].is_disk_spoilt && !is_failed {
                if self.hosts[host].is_up() {
                    self.kill(host, false);
                }
                self.disk(host).kill();
            }
        }
    }

    /// The operator replaces what cannot be mended and is not needed.
    fn operate(&mut self) {
        for host in 0..self.plan.replicas {
            let is_quarantined = self.checks.truth.replicas[host].is_quarantined();
            let is_unfit = self.machines[host].unfit.is_some() || is_quarantined;
            if is_unfit && !self.is_needed(host) {
                self.replace_disk(host, Duration::ZERO);
            }
        }
    }

    /// Who stays broken, and how: nobody who is needed.
    fn draw_broken(&mut self) -> Option<(usize, Broken)> {
        let is_one = self.random.chance(600);
        let first = usize::try_from(self.random.below(self.plan.replicas as u64)).ok()?;
        let how = *self.random.pick(&[
            Broken::Off,
            Broken::Paused,
            Broken::Isolated,
            Broken::Mute,
            Broken::Deaf,
            Broken::StalledDisk,
            Broken::Unseen,
        ]);
        // Only at `disk` does anybody wait for a disk that stalls.
        let how = match how {
            Broken::StalledDisk if self.plan.durability != Durability::Disk => Broken::Paused,
            how => how,
        };
        let record = self.checks.truth.record.as_ref().filter(|_| is_one)?;
        let able = record.holders.iter();
        let able: Vec<usize> = able.filter_map(|holder| self.is_able(holder)).collect();
        let is_whole = |host: &usize| !self.checks.truth.replicas[*host].is_doubtful();
        let is_spared = |host: &usize| able.iter().any(|other| other != host && is_whole(other));
        let hosts = (0..self.plan.replicas).map(|at| (first + at) % self.plan.replicas);
        hosts.into_iter().find(is_spared).map(|host| (host, how))
    }

    fn break_for_good(&mut self, host: usize, how: Broken) {
        let never = Instant::from_nanos(u64::MAX / 2);
        let others = (0..self.hosts.len()).filter(|other| *other != host);
        match how {
            Broken::Off => {
                if self.hosts[host].is_up() {
                    self.kill(host, true);
                }
                self.hosts[host].is_on = false;
            }
            Broken::Wrong => {}
            Broken::Paused => self.pause(host, never),
            Broken::Isolated | Broken::Mute | Broken::Deaf => {
                for other in others {
                    if how != Broken::Deaf {
                        self.block(host, other, never);
                    }
                    if how != Broken::Mute {
                        self.block(other, host, never);
                    }
                }
            }
            Broken::StalledDisk => {
                self.hosts[host].slow_disk = (never, Duration::from_secs(100_000));
            }
            Broken::Unseen => {
                self.block(host, self.plan.service(), never);
                self.block(self.plan.service(), host, never);
            }
        }
    }

    fn demand(&self, broken: Option<(usize, Broken)>) -> Demand {
        let Some(record) = &self.checks.truth.record else {
            return Demand::Serve;
        };
        if let Some((wrong, Broken::Wrong)) = broken
            && self.may_wrong_lead(wrong, record)
        {
            return Demand::Nothing;
        }
        if self.checks.truth.is_wrong_handed_on {
            return Demand::Nothing;
        }
        let replicas = &self.checks.truth.replicas;
        let holders = record.holders.iter();
        // A disk that was put back may be any that it ever was, until it is read; and of what failed
        // and was not told, nobody knows.
        let is_unsure = replicas
            .iter()
            .any(|one| one.is_unread() || one.is_failure_untold());
        let mut able = holders
            .filter_map(|holder| self.is_able(holder).map(|host| (host, holder)))
            .filter(|(host, _)| broken.is_none_or(|(broken, _)| broken != *host))
            .peekable();
        if able.peek().is_none() && !is_unsure {
            return Demand::SayWhy;
        }
        // A life whose end was clean but for the mark that says so does not know that it was.
        let knows = |(host, holder): (usize, &Holder)| {
            let replica = &replicas[host];
            let identity = replica.identity.as_ref();
            let says_so = identity.is_some_and(|identity| identity.satisfies(holder.token));
            !replica.is_doubtful() && says_so && (replica.is_running || !replica.is_end_unsure)
        };
        if able.any(knows) {
            Demand::Serve
        } else {
            Demand::Nothing
        }
    }

    /// Whether bits of the disk of a holder in the record may be wrong.
    fn is_holder_rotten(&self) -> bool {
        let truth = &self.checks.truth;
        let mut holders = truth.record.iter().flat_map(|record| &record.holders);
        holders.any(|holder| {
            let replica = truth.holder(holder);
            replica.is_some_and(|(_, replica)| replica.is_rotten())
        })
    }

    /// Looks how far things are, again and again, and ends the run.
    pub(crate) fn look_after_healing(&mut self) {
        let broken = self.healing.as_ref().and_then(|healing| healing.broken);
        let could_serve = self.is_healed() && self.demand(broken) == Demand::Serve;
        let has_restarted = self.is_healed() && self.restart_poisoned(None);
        self.renew_left_behind();
        let Some(mut healing) = self.healing.take() else {
            return;
        };
        if has_restarted && healing.demand == Demand::Serve && could_serve {
            // At `memory` what it acknowledged dies with its process, and the other holder may be the one that is
            // broken for good.
            healing.demand = self.demand(broken);
        }
        if has_restarted && healing.restarts < FAILURES_MAX {
            healing.restarts += 1;
            // A command that was under way as the faults ended has made a machine fail since. All that is
            // demanded is demanded from here on, with time for one more takeover.
            healing.at = self.now;
            healing.serves_by = self.now.plus(self.plan.term * 5 + Duration::from_secs(1));
            healing.settled = None;
            healing.duty = None;
            self.ask_anew();
        }
        self.queue
            .at(self.now.plus(self.plan.term / 4), Coming::Script);
        let health = self.health(&healing);
        self.look_at_replies(&mut healing);
        self.look_at(&mut healing, &health);
        self.healing = Some(healing);
    }

    fn look_at(&mut self, healing: &mut Healing, health: &Health) {
        if healing.demand == Demand::Rebuild {
            return self.rebuild_after_healing(healing, health);
        }
        if self.is_left_out_ahead(healing) {
            return self.look_at_left_out(healing, health);
        }
        if healing.demand != Demand::Serve {
            return self.look_at_lost(healing, health);
        }
        healing.has_served |= health.is_served;
        // One whose log has rotten may have come to be the one holder, and may have found out since.
        let demand = self.demand(healing.broken);
        if demand == Demand::SayWhy && self.is_holder_rotten() {
            healing.demand = demand;
            return;
        }
        let is_only_tampered = demand == Demand::Nothing;
        if is_only_tampered || (!healing.has_served && self.is_taken_along(healing)) {
            healing.demand = Demand::Nothing;
            return;
        }
        healing.duty = self.duty(healing, health.record.as_ref());
        if health.are_calls_done && self.is_unnoticed(healing, health.record.as_ref()) {
            return self.finish(true);
        }
        if l4::is_restless(healing, health) {
            healing.settled = None;
            healing.changes += 1;
        }
        let verdicts = [
            ("L1", l1::look(healing, health)),
            ("L4", l4::look(healing, health)),
            ("L3", l3::look(healing, health)),
            ("L2", l2::look(healing, health)),
            ("L5", l5::look(healing, health)),
        ];
        for (property, verdict) in verdicts {
            if let Err(what) = verdict {
                let says = match self.ask_service() {
                    Some(status) => format!("the view service says: {}", Outline(&status)),
                    None => "the view service is away".to_owned(),
                };
                return self.checks.fail(property, format!("{what}; {says}"));
            }
        }
        if let Some(what) = self.is_left_damaged(healing, health) {
            return self.checks.fail("L2", what);
        }
        let is_well = health.is_served
            && !self.is_any_mending(healing)
            && health.are_calls_done
            && health.is_even
            && !health.has_broken_role
            && healing.differs_since.is_none()
            && (health.is_paired || !health.can_pair);
        match (&healing.settled, &health.record) {
            (None, Some(record)) if is_well => {
                healing.settled = Some((self.now, record.id(), health.steps));
            }
            (Some((since, ..)), _) if self.now >= since.plus(l4::QUIET_TERMS * health.term) => {
                self.finish(true);
            }
            _ => {}
        }
    }

    /// The replicas of the core whose logs are damaged.
    fn mending_of_core<'a>(&'a self, healing: &'a Healing) -> impl Iterator<Item = usize> + 'a {
        let is_broken = |host: usize| healing.broken.is_some_and(|(broken, _)| broken == host);
        let hosts = self.hosts.iter().enumerate();
        hosts.filter_map(move |(host, it)| {
            let is_mending = matches!(it.process, Process::Mending(_));
            (is_mending && !is_broken(host)).then_some(host)
        })
    }

    fn is_any_mending(&self, healing: &Healing) -> bool {
        self.mending_of_core(healing).next().is_some()
    }

    /// A damaged log must be mended in time, or set aside, where a primary serves.
    fn is_left_damaged(&self, healing: &Healing, health: &Health) -> Option<String> {
        let limit = MENDING_MAX + health.term * 12;
        if self.now.since(healing.at) < limit {
            return None;
        }
        let host = self.mending_of_core(healing).next()?;
        let Process::Mending(mending) = &self.hosts[host].process else {
            return None;
        };
        Some(format!(
            "the log of host {host} is still damaged after entry {}; {}",
            mending.last(),
            health.words
        ))
    }

    /// Whether what was under way when the faults ended has made the replica that is broken for good
    /// the one holder.
    fn is_taken_along(&self, healing: &Healing) -> bool {
        // What was asked for by then may land at any time later.
        let early = healing.at.plus(self.plan.term / 2);
        let asked_at = self.checks.truth.record_asked_at();
        let is_early = self.now <= early || asked_at.is_some_and(|at| at <= early);
        // A primary whose disk hangs may not know yet when it drops a backup that was restarted.
        let is_unaware = matches!(healing.broken, Some((_, Broken::StalledDisk)));
        // So may the Join of a life that has ended.
        let late_join = self.checks.truth.late_join_at;
        let is_late_join = late_join.is_some_and(|at| at >= healing.at);
        (is_early || is_unaware || is_late_join) && self.demand(healing.broken) != Demand::Serve
    }

    /// Nobody can serve by the rules: the view service must say so, and why.
    fn look_at_lost(&mut self, healing: &mut Healing, health: &Health) {
        let waited = self.now.since(healing.at);
        if waited < self.plan.term * 6 + Duration::from_secs(1) {
            return;
        }
        // What the view service wrote as it died may have been a record that has a holder after all.
        if self.demand(healing.broken) != Demand::SayWhy {
            healing.demand = Demand::Nothing;
        }
        let status = self.ask_service();
        let why = status.and_then(|status| status.unavailable);
        if healing.demand == Demand::SayWhy
            && let Some(record) = &health.record
            && let Err(what) = s18::explain(record, why.as_deref())
        {
            return self.checks.fail(
                "S18",
                format!("nobody can serve, and {what}: {}", health.words),
            );
        }
        // Who is cut off for good may still be heard by somebody.
        let is_clear = matches!(healing.broken, None | Some((_, Broken::Off)));
        if healing.demand == Demand::SayWhy && is_clear && !self.nodes().is_empty() {
            return self.recover_after_healing(healing, health);
        }
        self.finish(false);
    }

    /// The clients begin to make the calls that must be answered.
    fn ask_anew(&mut self) {
        for host in 0..self.hosts.len() {
            self.with_process(host, |process, _| {
                if let Process::Client(caller) = process {
                    caller.heal(CALLS, PATIENCE);
                }
                Ok(())
            });
        }
    }

    /// What the view service says to somebody who asks how everybody is.
    pub(crate) fn ask_service(&mut self) -> Option<StatusReply> {
        let mut status = None;
        self.with_process(self.plan.service(), |process, stage| {
            if let Process::Service(service) = process {
                status = service.status(stage)?;
            }
            Ok(())
        });
        status
    }
}

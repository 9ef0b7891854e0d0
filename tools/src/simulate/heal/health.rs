//! What can be seen of a cluster that was healed.

use standin_core::entry::Index;
use standin_core::message::{RoleName, Standing};
use standin_core::time::{Duration, Instant};
use standin_core::view::ViewRecord;

use super::{Broken, Healing};
use crate::simulate::truth::Truly;
use crate::simulate::watched::Subject;
use crate::simulate::world::{Process, World};

/// What can be seen of a cluster that was healed.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) now: Instant,
    pub(crate) term: Duration,
    /// What a limit that the protocol sets is exceeded by at most: messages, syncs, turns, and the time
    /// between two looks.
    pub(crate) slack: Duration,
    pub(crate) record: Option<ViewRecord>,
    /// A replica of the core is the active primary.
    pub(crate) is_served: bool,
    /// Primary and backup are of the core, and hold.
    pub(crate) is_paired: bool,
    /// The core has two replicas that can be a pair.
    pub(crate) can_pair: bool,
    /// All calls have returned.
    pub(crate) are_calls_done: bool,
    /// All replicas of the core have applied the same.
    pub(crate) is_even: bool,
    /// A replica that is broken for good is in a role.
    pub(crate) has_broken_role: bool,
    pub(crate) has_candidate: bool,
    pub(crate) steps: u64,
    pub(crate) hosts: u64,
    pub(crate) words: String,
}

impl Health {
    /// What keeps it from being well, in words.
    pub(crate) fn lacking(&self, healing: &Healing) -> String {
        let causes = [
            (!self.is_served, "nobody serves"),
            (!self.are_calls_done, "calls of clients have not returned"),
            (
                !self.is_even,
                "the replicas have not applied the same entries",
            ),
            (
                self.has_broken_role,
                "one that is broken for good has a role",
            ),
            (
                healing.differs_since.is_some(),
                "two that differ are a pair",
            ),
            (self.can_pair && !self.is_paired, "there is no pair"),
        ];
        let causes = causes.iter().filter(|(is_so, _)| *is_so);
        let causes: Vec<&str> = causes.map(|(_, words)| *words).collect();
        match causes.is_empty() {
            true => "a damaged log is not mended".to_owned(),
            false => causes.join(", "),
        }
    }
}

impl<M: Subject> World<M> {
    pub(super) fn health(&self, healing: &Healing) -> Health {
        let record = self.checks.truth.record.clone();
        let is_broken = |host: usize| healing.broken.is_some_and(|(broken, _)| broken == host);
        let nodes = self.nodes();
        let core: Vec<_> = nodes
            .iter()
            .filter(|(host, _)| !is_broken(**host))
            .collect();
        let standings: Vec<_> = core
            .iter()
            .map(|(host, node)| (**host, node.replica.standing()))
            .collect();
        let is_fit = |role: RoleName| role != RoleName::Quarantined;
        // A backup that was restarted goes on as the holder that its token says it is.
        let pair = record.as_ref().map(|record| {
            let holders = record.holders.iter();
            let backups = holders.filter(|holder| holder.name != record.primary.name);
            let backups = backups.map(|holder| {
                let found = self.checks.truth.holder(holder);
                // What a disk that was put back is worth nobody can know, but it may be the backup.
                let stands =
                    |one: &(usize, &Truly)| one.1.satisfies(holder.token) || one.1.may_lack();
                found.filter(stands).map(|(host, _)| host)
            });
            let primary = self.host_of(&record.primary);
            std::iter::once(primary).chain(backups).collect::<Vec<_>>()
        });
        // What it replied wrongly to may have gone with its log.
        let is_out = |host: usize| {
            let is_wrong = matches!(healing.broken, Some((_, Broken::Wrong)));
            is_broken(host) && !(is_wrong && self.is_right(host) == Some(true))
        };
        let is_of_core = |host: &Option<usize>| host.is_some_and(|host| !is_out(host));
        let primary = record
            .as_ref()
            .filter(|record| record.active)
            .and_then(|record| self.host_of(&record.primary));
        let is_served = standings
            .iter()
            .any(|(host, standing)| Some(*host) == primary && standing.role == RoleName::Primary);
        let is_paired = record.as_ref().is_some_and(|record| {
            let pair = pair.as_deref().unwrap_or_default();
            record.active && pair.len() == 2 && pair.iter().all(is_of_core)
        });
        let mut applied = standings
            .iter()
            .filter(|(_, standing)| is_fit(standing.role))
            .map(|(_, standing)| (standing.applied, standing.last.index));
        let first = applied.next().unwrap_or((Index::ZERO, Index::ZERO));
        let callers = self.hosts.iter().filter_map(|host| match &host.process {
            Process::Client(caller) => Some(caller),
            _ => None,
        });
        Health {
            now: self.now,
            term: self.plan.term,
            slack: self.plan.term / 2 + self.plan.latency * 10 + self.plan.sync_time * 10,
            is_served,
            is_paired,
            can_pair: self.fit_of_core(&is_broken) >= 2,
            are_calls_done: callers.clone().all(|caller| caller.is_done()),
            is_even: first.0 == first.1 && applied.all(|it| it == first),
            has_broken_role: pair.iter().flatten().flatten().any(|host| is_out(*host)),
            has_candidate: standings
                .iter()
                .any(|(_, standing)| standing.role == RoleName::Candidate),
            steps: self.steps,
            hosts: self.hosts.len() as u64,
            words: words(record.as_ref(), healing, &standings),
            record,
        }
    }

    /// How many replicas of the core run, or would if they were started.
    fn fit_of_core(&self, is_broken: &dyn Fn(usize) -> bool) -> usize {
        let fit = (0..self.plan.replicas).filter(|host| {
            let is_quarantined = self.checks.truth.replicas[*host].is_quarantined();
            !is_broken(*host) && !is_quarantined && self.machines[*host].unfit.is_none()
        });
        fit.count()
    }
}

/// The state of things, for people.
fn words(
    record: Option<&ViewRecord>,
    healing: &Healing,
    standings: &[(usize, Standing)],
) -> String {
    let mut words = match healing.broken {
        Some((host, how)) => format!("h{host} {} for good", how.words()),
        None => "nothing is broken any more".to_owned(),
    };
    match record {
        Some(record) => {
            let backup = record.backup.as_ref().map(|member| member.name.to_string());
            let holders = record.holders.iter().map(|holder| holder.name.to_string());
            let holders: Vec<String> = holders.collect();
            words += &format!(
                "; view {} ({}) of {} with {}, holders {}",
                record.id(),
                if record.active { "active" } else { "inactive" },
                record.primary.name,
                backup.map_or("no backup".to_owned(), |name| format!("backup {name}")),
                holders.join(" and ")
            );
        }
        None => words += "; no view yet",
    }
    for (host, it) in standings {
        words += &format!(
            "; h{host} is {} in view {}, its log ends at entry {}, committed {}, applied {}",
            it.role.word(),
            it.view,
            it.last.index,
            it.commit,
            it.applied
        );
    }
    words
}

//! The steps that the demo is made of: start, wait, look.

use standin_core::message::{RoleName, StatusReply};
use standin_core::time::Duration;
use standin_core::view::{ViewId, ViewRecord};
use standin_io::clock;
use standin_replica::{DIR_OF, FINDS_THE_ENTRY};

use super::copies::{self, Copy};
use super::crowd::Crowd;
use super::error::ShowError;
use super::machine::DemoMachine;
use super::show::{REPLICAS, Show, is_in_full};
use crate::cluster::{self, ClusterError, Outline};

/// How long each step may take before the demo gives up.
pub(super) const STEP_PATIENCE: Duration = Duration::from_secs(20);
/// How long a single question may take.
const ASK_PATIENCE: Duration = Duration::from_secs(1);
/// How long the clients work undisturbed before a pull that is told in full.
const PEACE_LONG: Duration = Duration::from_millis(1000);
/// How long they do before another.
const PEACE_SHORT: Duration = Duration::from_millis(200);
/// Each pull comes a little later after the pair is complete than the one before, in a cycle, so that
/// they hit different moments between two renewals of the lease.
const SHIFT: Duration = Duration::from_millis(37);
const SHIFTS: u32 = 8;

/// Who is what, while there is a complete pair.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) view: ViewId,
    pub(super) primary: String,
    pub(super) backup: String,
}

impl Pair {
    fn of(status: &StatusReply) -> Option<Self> {
        let record = status.record.as_ref().filter(|record| record.active)?;
        Some(Self {
            view: record.id(),
            primary: record.primary.name.to_string(),
            backup: record.backup.as_ref()?.name.to_string(),
        })
    }
}

impl Show<'_> {
    /// All replicas' copies, once all have executed the same entries; as they are, if they do not
    /// get there.
    pub(super) fn level_copies(&mut self) -> Result<Vec<Copy>, ShowError> {
        let mut seen = Vec::new();
        let level = self.until("the replicas to have executed the same entries", |show| {
            let copies = REPLICAS.iter().map(|name| show.copy(name));
            let copies: Option<Vec<Copy>> = copies.collect::<Result<_, _>>()?;
            let Some(copies) = copies else {
                return Ok(None);
            };
            seen.clone_from(&copies);
            Ok(copies::are_level(&copies).then_some(copies))
        });
        match level {
            Err(ShowError::Cluster(ClusterError::InVain { .. })) if !seen.is_empty() => Ok(seen),
            other => other,
        }
    }

    fn copy(&self, name: &str) -> Result<Option<Copy>, ShowError> {
        let Ok(inspected) = self.cluster.inspect(name) else {
            return Ok(None);
        };
        let DemoMachine::Numbers(numbers) = self.machine else {
            let read = (inspected.standing.applied, Vec::new());
            return Ok(Copy::new(&inspected, read));
        };
        let read =
            copies::read(numbers, self.cluster.address(name)?, ASK_PATIENCE).map_err(|source| {
                ShowError::Io {
                    doing: "ask a replica",
                    source,
                }
            })?;
        Ok(read.and_then(|read| Copy::new(&inspected, read)))
    }

    /// Lets the clients work undisturbed for a while.
    pub(super) fn peace(&mut self, nth: u32) -> Result<(), ShowError> {
        let peace = if is_in_full(nth) {
            PEACE_LONG
        } else {
            PEACE_SHORT
        };
        let end = cluster::after(peace + SHIFT * (nth % SHIFTS));
        self.until("time to pass", |_| Ok((clock::boot() >= end).then_some(())))
    }

    pub(super) fn start(&mut self, name: &str) -> Result<(), ShowError> {
        self.cluster.spawn(name)?;
        self.until("a process to be ready", |show| {
            Ok(show.cluster.is_ready(name)?.then_some(()))
        })
    }

    pub(super) fn until_pair(&mut self) -> Result<Pair, ShowError> {
        self.until("a primary with a backup", |show| {
            Ok(show.status()?.as_ref().and_then(Pair::of))
        })
    }

    /// The status, if it can be had; an error if replicas have parted: then nothing that is waited for will come.
    fn status(&self) -> Result<Option<StatusReply>, ShowError> {
        let status = self.cluster.status().ok();
        let replicas = status.iter().flat_map(|status| &status.replicas);
        let mut troubles = replicas.filter_map(|replica| {
            let words = replica.trouble.as_ref()?;
            Some((replica.peer.identity.name.to_string(), words))
        });
        let found = troubles.find(|(_, words)| words.contains(FINDS_THE_ENTRY));
        let Some((says, words)) = found else {
            return Ok(status);
        };
        let is_named = |name: &&&str| words.contains(&format!("{DIR_OF}{name}"));
        let named = REPLICAS.iter().find(is_named).map(ToString::to_string);
        // Who is not let in by the primary does not name it.
        let record = status.as_ref().and_then(|status| status.record.as_ref());
        let primary = || record.map(|record| record.primary.name.to_string());
        let other = named.or_else(primary).unwrap_or_default();
        let words = words.clone();
        Err(ShowError::Parted { says, other, words })
    }

    /// Waits for another primary than `dead`: its name and its view.
    pub(super) fn until_taken_over(&mut self, dead: &str) -> Result<(String, ViewId), ShowError> {
        let is_other = |record: &ViewRecord| record.active && record.primary.name.as_str() != dead;
        self.until("the backup to take over", |show| {
            let record = show.status()?.and_then(|status| status.record);
            let record = record.filter(is_other);
            Ok(record.map(|record| (record.primary.name.to_string(), record.id())))
        })
    }

    /// Waits until every client has an answer of `view` or a later one.
    pub(super) fn until_answered(&mut self, view: ViewId) -> Result<(), ShowError> {
        self.until("answers for every client", |show| {
            Ok(show.crowd().has_seen(view).then_some(()))
        })
    }

    /// Waits until a replica that was started is backup or spare and has executed what the primary
    /// had executed by now.
    pub(super) fn until_follows(&mut self, name: &str) -> Result<RoleName, ShowError> {
        let primary = self.until_pair()?.primary;
        let target = self.until("the primary's own account", |show| {
            Ok(show
                .cluster
                .inspect(&primary)
                .ok()
                .map(|reply| reply.standing.applied))
        })?;
        self.until("a replica to catch up", |show| {
            let standing = show.cluster.inspect(name).ok().map(|reply| reply.standing);
            let standing = standing.filter(|standing| {
                let follows = matches!(standing.role, RoleName::Backup | RoleName::Spare);
                follows && standing.applied >= target
            });
            Ok(standing.map(|standing| standing.role))
        })
    }

    /// Looks again and again until there is something to see, while nothing has gone wrong.
    pub(super) fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Result<Option<T>, ShowError>,
    ) -> Result<T, ShowError> {
        let end = cluster::after(STEP_PATIENCE);
        loop {
            self.check()?;
            if let Some(seen) = look(self)? {
                return Ok(seen);
            }
            if clock::boot() >= end {
                let seen = match self.cluster.status() {
                    Ok(status) => Outline(&status).to_string(),
                    Err(error) => error.to_string(),
                };
                let what = what.to_owned();
                return Err(ClusterError::InVain {
                    what,
                    waited: STEP_PATIENCE,
                    seen,
                }
                .into());
            }
            cluster::pause();
        }
    }

    fn check(&mut self) -> Result<(), ShowError> {
        let signal = self.signals.next();
        match signal.map_err(|source| ShowError::Io {
            doing: "look for signals",
            source,
        })? {
            Some(signal) => return Err(ShowError::Interrupted(signal)),
            None => self.cluster.check()?,
        }
        match &mut self.crowd {
            Some(crowd) => Ok(crowd.check()?),
            None => Ok(()),
        }
    }

    pub(super) fn crowd(&self) -> &Crowd {
        self.crowd.as_ref().expect("the clients were started")
    }

    pub(super) fn pid_of(&self, name: &str) -> String {
        let pid = self.cluster.pid(name);
        pid.map_or_else(|| "no process".to_owned(), |pid| format!("process {pid}"))
    }
}

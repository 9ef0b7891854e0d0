//! A plug is pulled while clients count, and answers are counted over time.

use std::path::Path;

use standin_core::identity::Durability;
use standin_core::message::{RoleName, StatusReply};
use standin_core::time::{Duration, Instant};
use standin_core::view::ViewId;
use standin_io::clock;
use standin_io::signals::Signals;

use super::super::BenchError;
use super::figures::Failover;
use crate::cluster::{self, Cluster, ClusterConfig, ClusterError};
use crate::demo::Crowd;

/// As many clients as the demo has, each with one request in flight.
const CLIENTS: usize = 4;
/// How long they work before anything is drawn.
const WARM_UP: Duration = Duration::from_secs(1);
/// How much is drawn before the pull.
const BEFORE: Duration = Duration::from_millis(1500);
/// How much is drawn after it, at least: a lease, and as long again in peace.
const AFTER: Duration = Duration::from_millis(3500);
/// How much is drawn after everybody is answered again, at least.
const PEACE: Duration = Duration::from_secs(1);
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it takes, about: starting and stopping included.
pub(super) const SECONDS: u64 = 10;

/// Runs three replicas, kills the primary's processes, and tells what clients saw.
pub(super) fn run(
    program: &Path,
    durability: Durability,
    signals: &Signals,
) -> Result<Failover, BenchError> {
    let config = ClusterConfig {
        durability,
        machine: "kv".to_owned(),
        heeds_signals: true,
        ..ClusterConfig::new(program)
    };
    let lease = config.lease;
    let mut cluster = Cluster::new(config)?;
    cluster.start_all(&["a", "b", "c"])?;
    let status = cluster.wait_for("a primary, a backup and a spare", PATIENCE, is_complete)?;
    let record = status.record.expect("it is complete");
    let crowd = Crowd::noting_times(&cluster.view_services()?, CLIENTS)?;
    let mut scene = Scene {
        crowd,
        cluster,
        signals,
    };
    scene.until("every client's first answer", |crowd| {
        crowd.has_seen(record.id())
    })?;
    scene.pass(clock::boot().plus(WARM_UP + BEFORE))?;
    let pulled = clock::boot();
    scene.cluster.kill(record.primary.name.as_str())?;
    let next = ViewId {
        view: record.view.next(),
        ..record.id()
    };
    scene.until("answers after the takeover", |crowd| crowd.has_seen(next))?;
    // A whole number of bins, however long it took.
    let after = clock::boot().plus(PEACE).since(pulled).max(AFTER);
    let tenths = u32::try_from(after.as_millis().div_ceil(100)).expect("patience is short");
    let after = Duration::from_millis(100) * tenths;
    scene.pass(pulled.plus(after))?;
    let words = format!(
        "lease {} s, durability {durability}, a spare beside the pair, {CLIENTS} clients in sessions with one request each",
        lease.as_secs_f64()
    );
    let answered = scene.end()?;
    Ok(Failover::new(words, pulled, &answered, BEFORE, after))
}

fn is_complete(status: &StatusReply) -> bool {
    let record = status.record.as_ref();
    let is_pair = record.is_some_and(|record| record.active && record.backup.is_some());
    let mut standings = status
        .replicas
        .iter()
        .filter_map(|replica| replica.standing);
    is_pair && standings.any(|standing| standing.role == RoleName::Spare)
}

/// The cluster and its clients.
struct Scene<'a> {
    /// Declared before the cluster: they stop before it goes.
    crowd: Crowd,
    cluster: Cluster,
    signals: &'a Signals,
}

impl Scene<'_> {
    fn check(&mut self) -> Result<(), BenchError> {
        if self.signals.next().map_err(BenchError::Signals)?.is_some() {
            return Err(BenchError::Interrupted);
        }
        self.cluster.check()?;
        Ok(self.crowd.check()?)
    }

    /// Lets time pass.
    fn pass(&mut self, end: Instant) -> Result<(), BenchError> {
        while clock::boot() < end {
            self.check()?;
            cluster::pause();
        }
        Ok(())
    }

    fn until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&Crowd) -> bool,
    ) -> Result<(), BenchError> {
        let end = cluster::after(PATIENCE);
        while !is_so(&self.crowd) {
            self.check()?;
            if clock::boot() >= end {
                let error = ClusterError::InVain {
                    what: what.to_owned(),
                    waited: PATIENCE,
                    seen: "clients that wait".to_owned(),
                };
                return Err(error.into());
            }
            cluster::pause();
        }
        Ok(())
    }

    /// Stops the clients, and tells when they were answered.
    fn end(self) -> Result<Vec<Instant>, BenchError> {
        self.crowd.stop();
        let end = cluster::after(PATIENCE);
        while !self.crowd.has_stopped() && clock::boot() < end {
            if self.signals.next().map_err(BenchError::Signals)?.is_some() {
                return Err(BenchError::Interrupted);
            }
            cluster::pause();
        }
        Ok(self.crowd.times()?)
    }
}

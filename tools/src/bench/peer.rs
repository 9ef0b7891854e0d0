//! The services that are measured, as processes.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use mio::unix::pipe::Receiver;
use standin_core::identity::Durability;
use standin_core::message::{Consistency, StatusReply};
use standin_core::time::Duration;
use standin_io::clock;
use standin_io::signals::Signals;

use super::BenchError;
use super::etcd::Etcd;
use super::redis::{Redis, RedisKind};
use super::work::{Asked, Memory, Wait};
use crate::cluster::{self, Cluster, ClusterConfig, Directory, PARENT_VARIABLE, READY_PATIENCE};
use crate::load::{self, Expected, LoadError, Work};

/// How long Standin may take until a primary has a backup.
const PAIR_PATIENCE: Duration = Duration::from_secs(30);

/// The lease term. It does not count for speed; a long one keeps a busy machine, on which a replica may
/// not run for half a second, from ending the measurement by a drop of the backup.
const LEASE: Duration = Duration::from_secs(5);

/// A service under measurement. Its processes end with it.
#[derive(Debug)]
pub(super) enum Peer {
    Relay(Relay),
    Standin(Box<Standin>),
    Redis(Redis),
    Etcd(Etcd),
    /// No service, but the disk under the others: its directory.
    Disk(Directory),
}

/// How clients speak to Standin or to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Redis's protocol, straight to the primary.
    Resp,
    /// The native protocol, each connection in a session.
    Native,
}

/// The floor's two processes.
#[derive(Debug)]
pub(super) struct Relay {
    name: &'static str,
    protocol: Protocol,
    /// Dropped in this order: the front ends first, so that it does not miss its echo.
    front: Process,
    _echo: Process,
}

/// What of Standin is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct StandinKind {
    pub(super) name: &'static str,
    pub(super) durability: Durability,
    pub(super) protocol: Protocol,
    /// It has no backup.
    pub(super) is_solo: bool,
    /// What reads rest on.
    pub(super) consistency: Consistency,
    /// For how many microseconds replicas look for something to do before they sleep, if not as long as they do by themselves.
    pub(super) busy_poll: Option<u64>,
}

/// A database on a primary and a backup, or on a primary alone, and their view service.
#[derive(Debug)]
pub(super) struct Standin {
    kind: StandinKind,
    cluster: Cluster,
    /// The view before the load.
    before: String,
}

impl Peer {
    /// The relay; `busy_poll`: its processes look for something to do for so many microseconds before they sleep.
    pub(super) fn relay(
        name: &'static str,
        program: &Path,
        protocol: Protocol,
        busy_poll: u64,
        signals: &Signals,
    ) -> Result<Self, BenchError> {
        let busy_poll = busy_poll.to_string();
        let polling = ["--busy-poll", &busy_poll];
        let echo = Process::start(program, "relay-echo", &polling, signals)?;
        let mut arguments = vec!["--echo", &echo.address];
        arguments.extend(polling);
        if protocol == Protocol::Resp {
            arguments.push("--resp");
        }
        let front = Process::start(program, "relay-front", &arguments, signals)?;
        Ok(Self::Relay(Relay {
            name,
            protocol,
            front,
            _echo: echo,
        }))
    }

    pub(super) fn standin(kind: StandinKind, program: &Path) -> Result<Self, BenchError> {
        let mut cluster = Cluster::new(ClusterConfig {
            lease: LEASE,
            durability: kind.durability,
            machine: "kv".to_owned(),
            // Over the native protocol, too: keys are set over Redis's before anything is measured.
            serves_resp: true,
            replica_arguments: kind.replica_arguments(),
            heeds_signals: true,
            ..ClusterConfig::new(program)
        })?;
        cluster.start_all(if kind.is_solo { &["a"] } else { &["a", "b"] })?;
        Ok(Self::Standin(Box::new(Standin {
            kind,
            cluster,
            before: String::new(),
        })))
    }

    pub(super) fn redis(
        kind: RedisKind,
        clients: u64,
        signals: &Signals,
    ) -> Result<Self, BenchError> {
        Redis::start(kind, clients, signals).map(Self::Redis)
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Relay(relay) => relay.name,
            Self::Standin(standin) => standin.kind.name,
            Self::Redis(redis) => redis.name(),
            Self::Etcd(_) => "etcd",
            Self::Disk(_) => "fdatasync",
        }
    }

    /// What clients ask it for.
    pub(super) fn work(&self, asked: &Asked) -> Work {
        match self {
            Self::Redis(redis) => asked.resp(redis.wait(), Memory::Kept),
            Self::Relay(Relay { protocol, .. }) => match protocol {
                Protocol::Resp => asked.resp(Wait::None, Memory::None),
                Protocol::Native => asked.native(Consistency::Confirmed, Memory::None),
            },
            Self::Standin(standin) => match standin.kind.protocol {
                Protocol::Resp => asked.resp(Wait::None, Memory::Kept),
                Protocol::Native => asked.native(standin.kind.consistency, Memory::Kept),
            },
            Self::Etcd(_) => asked.etcd(),
            Self::Disk(directory) => Work::Syncs(directory.path().to_owned()),
        }
    }

    /// Sets all keys, if they must be there before anything is measured.
    pub(super) fn fill(&mut self, asked: &Asked, signals: &Signals) -> Result<(), BenchError> {
        let Some(value) = asked.first_value() else {
            return Ok(());
        };
        let address = match self {
            Self::Relay(_) | Self::Disk(_) => return Ok(()),
            Self::Etcd(etcd) => return etcd.fill(asked, &value, signals),
            Self::Redis(redis) => redis.address(),
            Self::Standin(standin) => {
                let primary = standin.primary()?;
                standin.cluster.resp_address(&primary)?.to_owned()
            }
        };
        let request = asked.filling(value);
        let filled = load::fill(&address, &request, Expected::Done, asked.keys, signals);
        filled.map_err(|error| match error {
            LoadError::Interrupted => BenchError::Interrupted,
            error => BenchError::Fill {
                service: self.name(),
                reason: error.to_string(),
            },
        })
    }

    /// Whether there is somebody to connect to.
    pub(super) fn is_service(&self) -> bool {
        !matches!(self, Self::Disk(_))
    }

    /// Bytes of memory (VmRSS) of the process that serves clients.
    pub(super) fn resident_bytes(&mut self) -> Result<u64, BenchError> {
        let pid = match self {
            Self::Relay(relay) => Some(relay.front.child.id()),
            Self::Redis(redis) => Some(redis.pid()),
            Self::Etcd(etcd) => Some(etcd.pid()),
            Self::Disk(_) => None,
            Self::Standin(standin) => {
                let primary = standin.primary()?;
                standin.cluster.pid(&primary)
            }
        };
        pid.and_then(resident_bytes)
            .ok_or_else(|| BenchError::NoMemory(self.name()))
    }

    /// Waits until the service is whole; returns where it is reached.
    pub(super) fn begin(&mut self) -> Result<String, BenchError> {
        match self {
            Self::Relay(relay) => Ok(relay.front.address.clone()),
            Self::Redis(redis) => Ok(redis.address()),
            Self::Standin(standin) => standin.begin(),
            Self::Etcd(etcd) => Ok(etcd.address()),
            Self::Disk(directory) => Ok(directory.path().display().to_string()),
        }
    }

    /// Checks that the service was whole all the time: a primary that had dropped its backup would
    /// have been measured without replication.
    pub(super) fn end(&mut self, signals: &Signals) -> Result<(), BenchError> {
        match self {
            Self::Relay(_) | Self::Redis(_) | Self::Disk(_) => Ok(()),
            Self::Standin(standin) => standin.end(),
            Self::Etcd(etcd) => etcd.check(signals),
        }
    }
}

impl StandinKind {
    fn replica_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some(micros) = self.busy_poll {
            arguments.push(format!("--busy-poll={micros}"));
        }
        if self.consistency == Consistency::Lease {
            arguments.push("--resp-reads=lease".to_owned());
        }
        arguments
    }
}

impl Standin {
    fn status(&mut self) -> Result<StatusReply, BenchError> {
        let status = match self.kind.is_solo {
            true => self.cluster.wait_for_primary(PAIR_PATIENCE),
            false => self.cluster.wait_for_pair(PAIR_PATIENCE),
        };
        Ok(status?)
    }

    /// The name of the primary, once there is one and the cluster is whole.
    fn primary(&mut self) -> Result<String, BenchError> {
        let status = self.status()?;
        self.before = view_of(&status);
        let record = status
            .record
            .as_ref()
            .expect("a primary stands in a record");
        Ok(record.primary.name.as_str().to_owned())
    }

    fn begin(&mut self) -> Result<String, BenchError> {
        let primary = self.primary()?;
        let address = match self.kind.protocol {
            Protocol::Resp => self.cluster.resp_address(&primary)?,
            Protocol::Native => self.cluster.address(&primary)?,
        };
        Ok(address.to_owned())
    }

    fn end(&mut self) -> Result<(), BenchError> {
        let after = view_of(&self.status()?);
        if after == self.before {
            return Ok(());
        }
        Err(BenchError::ViewChanged {
            before: self.before.clone(),
            after,
        })
    }
}

fn view_of(status: &StatusReply) -> String {
    let Some(record) = &status.record else {
        return "none".to_owned();
    };
    let backup = record
        .backup
        .as_ref()
        .map_or("none", |backup| backup.name.as_str());
    let primary = record.primary.name.as_str();
    format!("view {} of {primary} and {backup}", record.view)
}

/// What a process has in memory, in bytes.
fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line?.trim().strip_suffix(" kB")?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

/// One process that says `ready .. ADDRESS` and is killed when this is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(
        program: &Path,
        verb: &'static str,
        arguments: &[&str],
        signals: &Signals,
    ) -> Result<Self, BenchError> {
        let mut child = Command::new(program)
            .arg(verb)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .env(PARENT_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // An interrupt from the terminal is for the benchmark alone, which then ends this.
            .process_group(0)
            .spawn()
            .map_err(|source| BenchError::Spawn {
                what: verb,
                program: program.to_owned(),
                source,
            })?;
        let output = child.stdout.take().expect("its output is a pipe");
        // Owned before it is waited for: however that ends, the process is ended.
        let mut process = Self {
            child,
            address: String::new(),
        };
        let address = wait_for_address(output, signals)?;
        process.address = address.ok_or(BenchError::NotReady(verb))?;
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the `ready` line of a process that was just started; `None` if it ends before, or
/// says nothing for too long.
fn wait_for_address(output: ChildStdout, signals: &Signals) -> Result<Option<String>, BenchError> {
    let mut output = Receiver::from(output);
    if output.set_nonblocking(true).is_err() {
        return Ok(None);
    }
    let end = cluster::after(READY_PATIENCE);
    let mut text = String::new();
    while clock::boot() < end {
        if signals.next().map_err(BenchError::Signals)?.is_some() {
            return Err(BenchError::Interrupted);
        }
        let ended = match output.read_to_string(&mut text) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Ok(_) | Err(_) => true,
        };
        if let Some(address) = cluster::ready_address(&text) {
            return Ok(Some(address.to_owned()));
        }
        if ended {
            break;
        }
        cluster::pause();
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_told_how_to_answer_reads_and_how_long_to_look_for_events() {
        let plain = StandinKind {
            name: "standin",
            durability: Durability::Os,
            protocol: Protocol::Resp,
            is_solo: false,
            consistency: Consistency::Confirmed,
            busy_poll: None,
        };
        assert!(plain.replica_arguments().is_empty());
        let other = StandinKind {
            consistency: Consistency::Lease,
            busy_poll: Some(0),
            ..plain
        };
        assert_eq!(
            other.replica_arguments(),
            ["--busy-poll=0", "--resp-reads=lease"]
        );
    }

    #[test]
    fn memory_is_that_of_the_process_that_is_asked_for() {
        let own = resident_bytes(std::process::id()).unwrap();
        assert!(own > 100 << 10, "{own}");
        // The kernel's own threads have none, and no id is that high.
        assert_eq!(resident_bytes(u32::MAX), None);
    }
}

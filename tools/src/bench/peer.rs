//! The services that are measured, as processes.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use mio::unix::pipe::Receiver;
use standin_core::identity::Durability;
use standin_core::message::StatusReply;
use standin_core::time::Duration;
use standin_io::clock;
use standin_io::signals::Signals;

use super::BenchError;
use super::redis::{Redis, RedisKind};
use super::work::{Request, Wait};
use crate::cluster::{self, Cluster, ClusterConfig, PARENT_VARIABLE, READY_PATIENCE};
use crate::load::Work;

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
    protocol: Protocol,
    address: String,
    /// Dropped in this order: the front ends first, so that it does not miss its echo.
    _front: Process,
    _echo: Process,
}

/// A database on a primary and a backup, or on a primary alone, and their view service.
#[derive(Debug)]
pub(super) struct Standin {
    name: &'static str,
    protocol: Protocol,
    is_solo: bool,
    cluster: Cluster,
    /// The view before the load.
    before: String,
}

impl Peer {
    pub(super) fn relay(
        program: &Path,
        protocol: Protocol,
        signals: &Signals,
    ) -> Result<Self, BenchError> {
        let echo = Process::start(program, "relay-echo", &[], signals)?;
        let mut arguments = vec!["--echo", &echo.address];
        if protocol == Protocol::Resp {
            arguments.push("--resp");
        }
        let front = Process::start(program, "relay-front", &arguments, signals)?;
        Ok(Self::Relay(Relay {
            protocol,
            address: front.address.clone(),
            _front: front,
            _echo: echo,
        }))
    }

    pub(super) fn standin(
        name: &'static str,
        program: &Path,
        durability: Durability,
        protocol: Protocol,
        is_solo: bool,
    ) -> Result<Self, BenchError> {
        let mut cluster = Cluster::new(ClusterConfig {
            lease: LEASE,
            durability,
            machine: "kv".to_owned(),
            serves_resp: protocol == Protocol::Resp,
            heeds_signals: true,
            ..ClusterConfig::new(program)
        })?;
        cluster.start_all(if is_solo { &["a"] } else { &["a", "b"] })?;
        Ok(Self::Standin(Box::new(Standin {
            name,
            protocol,
            is_solo,
            cluster,
            before: String::new(),
        })))
    }

    pub(super) fn redis(kind: RedisKind, signals: &Signals) -> Result<Self, BenchError> {
        Redis::start(kind, signals).map(Self::Redis)
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Relay(_) => "relay",
            Self::Standin(standin) => standin.name,
            Self::Redis(redis) => redis.name(),
        }
    }

    /// What clients ask it for.
    pub(super) fn work(&self, request: Request) -> Work {
        match self {
            Self::Redis(redis) => request.resp(redis.wait()),
            Self::Relay(Relay { protocol, .. }) => protocol.work(request),
            Self::Standin(standin) => standin.protocol.work(request),
        }
    }

    /// Waits until the service is whole; returns where it is reached.
    pub(super) fn begin(&mut self) -> Result<String, BenchError> {
        match self {
            Self::Relay(relay) => Ok(relay.address.clone()),
            Self::Redis(redis) => Ok(redis.address()),
            Self::Standin(standin) => standin.begin(),
        }
    }

    /// Checks that the service was whole all the time: a primary that had dropped its backup would
    /// have been measured without replication.
    pub(super) fn end(&mut self) -> Result<(), BenchError> {
        match self {
            Self::Relay(_) | Self::Redis(_) => Ok(()),
            Self::Standin(standin) => standin.end(),
        }
    }
}

impl Protocol {
    fn work(self, request: Request) -> Work {
        match self {
            Self::Resp => request.resp(Wait::None),
            Self::Native => request.native(),
        }
    }
}

impl Standin {
    fn status(&mut self) -> Result<StatusReply, BenchError> {
        let status = match self.is_solo {
            true => self.cluster.wait_for_primary(PAIR_PATIENCE),
            false => self.cluster.wait_for_pair(PAIR_PATIENCE),
        };
        Ok(status?)
    }

    fn begin(&mut self) -> Result<String, BenchError> {
        let status = self.status()?;
        self.before = view_of(&status);
        let record = status
            .record
            .as_ref()
            .expect("a primary stands in a record");
        let primary = record.primary.name.as_str();
        let address = match self.protocol {
            Protocol::Resp => self.cluster.resp_address(primary)?,
            Protocol::Native => self.cluster.address(primary)?,
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

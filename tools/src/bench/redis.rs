//! Redis, as it is installed: alone, with a replica, with what it can do for durability.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use standin_io::clock;
use standin_io::signals::Signals;

use super::BenchError;
use super::work::Wait;
use crate::cluster::{self, Directory, PARENT_VARIABLE, READY_PATIENCE};

/// The program.
const SERVER: &str = "redis-server";
/// How often another port is tried: somebody else may take one between it is found and used.
const PORTS_TRIED: u32 = 5;
/// So many clients it has room for unless it is told otherwise, less some that are not under load.
const CLIENTS: u64 = 10_000 - CLIENTS_MORE;
/// Its replica, and who asks how it is.
const CLIENTS_MORE: u64 = 32;
/// How long a server may take to answer one question.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// What of Redis is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RedisKind {
    pub(super) name: &'static str,
    /// It has a replica.
    pub(super) has_replica: bool,
    /// Each command is followed by `WAIT 1 0`.
    pub(super) wait: Wait,
    /// `appendfsync always`, on each server.
    pub(super) is_durable: bool,
}

/// A primary, and perhaps a replica. They end with this.
#[derive(Debug)]
pub(super) struct Redis {
    kind: RedisKind,
    primary: Server,
    _replica: Option<Server>,
}

#[derive(Debug)]
struct Server {
    child: Child,
    port: u16,
    /// Declared after the process: that ends before it goes.
    _directory: Directory,
}

impl Redis {
    /// With room for so many clients, if it would have less.
    pub(super) fn start(
        kind: RedisKind,
        clients: u64,
        signals: &Signals,
    ) -> Result<Self, BenchError> {
        let is_durable = kind.is_durable;
        let primary = Server::start(is_durable, None, clients, signals)?;
        let replica = kind
            .has_replica
            .then(|| Server::start(is_durable, Some(primary.port), 0, signals));
        let replica = replica.transpose()?;
        if kind.has_replica {
            primary.await_replica(signals)?;
        }
        Ok(Self {
            kind,
            primary,
            _replica: replica,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.kind.name
    }

    pub(super) fn wait(&self) -> Wait {
        self.kind.wait
    }

    pub(super) fn pid(&self) -> u32 {
        self.primary.child.id()
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.primary.port)
    }
}

/// The version of the program that is installed.
pub(super) fn version() -> Result<String, BenchError> {
    let output = Command::new(SERVER).arg("--version").output();
    let output = output.map_err(BenchError::NoRedis)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split(' ').find_map(|word| word.strip_prefix("v="));
    Ok(version.unwrap_or("of unknown version").to_owned())
}

impl Server {
    fn start(
        is_durable: bool,
        replica_of: Option<u16>,
        clients: u64,
        signals: &Signals,
    ) -> Result<Self, BenchError> {
        for _ in 0..PORTS_TRIED {
            let mut server = Self::spawn(is_durable, replica_of, clients)?;
            if server.is_up(signals)? {
                return Ok(server);
            }
        }
        Err(BenchError::NotReady(SERVER))
    }

    fn spawn(is_durable: bool, replica_of: Option<u16>, clients: u64) -> Result<Self, BenchError> {
        let failed = |source| BenchError::Spawn {
            what: SERVER,
            program: PathBuf::from(SERVER),
            source,
        };
        let port = free_port().map_err(failed)?;
        let directory = Directory::temporary()?;
        // It becomes Redis, and ends with this process.
        let program = std::env::current_exe().map_err(BenchError::Program)?;
        let mut command = Command::new(program);
        command.args(["bound-exec", SERVER, "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--port", &port.to_string()]);
        command.arg("--dir").arg(directory.path());
        if clients > CLIENTS {
            command.args(["--maxclients", &(clients + CLIENTS_MORE).to_string()]);
        }
        if is_durable {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        if let Some(primary) = replica_of {
            command.args(["--replicaof", "127.0.0.1", &primary.to_string()]);
        } else {
            command.args(["--repl-diskless-sync-delay", "0"]);
        }
        let child = command
            .env(PARENT_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Self {
            child,
            port,
            _directory: directory,
        })
    }

    /// Whether it comes to answer; false if it ends first.
    fn is_up(&mut self, signals: &Signals) -> Result<bool, BenchError> {
        let end = cluster::after(READY_PATIENCE);
        while clock::boot() < end {
            heed(signals)?;
            if self
                .ask("PING")
                .is_ok_and(|answer| answer.starts_with("+PONG"))
            {
                // Another one may have taken the port before.
                return Ok(matches!(self.child.try_wait(), Ok(None)));
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Ok(false);
            }
            cluster::pause();
        }
        Err(BenchError::NotReady(SERVER))
    }

    fn await_replica(&self, signals: &Signals) -> Result<(), BenchError> {
        let end = cluster::after(READY_PATIENCE);
        while clock::boot() < end {
            heed(signals)?;
            let told = self.ask("INFO replication").unwrap_or_default();
            if told.contains("state=online") {
                return Ok(());
            }
            cluster::pause();
        }
        Err(BenchError::NotReady("the replica of redis-server"))
    }

    /// The first bytes of its answer to an inline request.
    fn ask(&self, request: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
        // It hangs up behind the answer.
        stream.write_all(format!("{request}\r\nQUIT\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub(super) fn heed(signals: &Signals) -> Result<(), BenchError> {
    match signals.next().map_err(BenchError::Signals)? {
        Some(_) => Err(BenchError::Interrupted),
        None => Ok(()),
    }
}

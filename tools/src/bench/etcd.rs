//! Three members of etcd, as it is installed.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use standin_core::time::Duration;
use standin_io::clock;
use standin_io::signals::Signals;

use super::BenchError;
use super::redis::heed;
use super::work::{Asked, post, put_body};
use crate::cluster::{self, Directory, PARENT_VARIABLE};
use crate::load::{HttpReply, REVISION};

/// The program.
const SERVER: &str = "etcd";
/// How many members there are: the fewest that go on when one of them dies.
const MEMBERS: usize = 3;
/// How often other ports are tried: somebody else may take one between it is found and used.
const PORTS_TRIED: u32 = 5;
/// How long the members may take to agree on a leader.
const LEADER_PATIENCE: Duration = Duration::from_secs(30);
/// How long a member may take to answer one question.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// Most puts in one transaction, as etcd has it unless it is told otherwise.
const PUTS_MAX: u64 = 128;
/// Most bytes of values in one transaction: a request has 1.5 MiB at most.
const PUT_BYTES_MAX: usize = 512 << 10;

/// A cluster of etcd. It ends with this.
#[derive(Debug)]
pub(super) struct Etcd {
    members: Vec<Member>,
    /// The place of the one that leads.
    leader: usize,
}

#[derive(Debug)]
struct Member {
    child: Child,
    port: u16,
    /// Declared after the process: that ends before it goes.
    _directory: Directory,
}

/// That the program can be run.
pub(super) fn find() -> Result<(), BenchError> {
    let output = Command::new(SERVER).arg("--version").output();
    output.map(|_| ()).map_err(BenchError::NoEtcd)
}

impl Etcd {
    pub(super) fn start(signals: &Signals) -> Result<Self, BenchError> {
        for _ in 0..PORTS_TRIED {
            let mut etcd = Self {
                members: spawn()?,
                leader: 0,
            };
            if let Some(leader) = etcd.await_leader(signals)? {
                etcd.leader = leader;
                return Ok(etcd);
            }
        }
        Err(BenchError::NotReady(SERVER))
    }

    /// The leader, once all members agree on it; `None` if one of them ends first.
    fn await_leader(&mut self, signals: &Signals) -> Result<Option<usize>, BenchError> {
        let end = cluster::after(LEADER_PATIENCE);
        while clock::boot() < end {
            heed(signals)?;
            if !self.members.iter_mut().all(Member::is_running) {
                return Ok(None);
            }
            if let Some(leader) = self.agreed_leader() {
                return Ok(Some(leader));
            }
            cluster::pause();
        }
        Err(BenchError::NotReady("a leader of etcd"))
    }

    fn agreed_leader(&self) -> Option<usize> {
        let states: Option<Vec<_>> = self.members.iter().map(Member::state).collect();
        agreed(&states?)
    }

    /// Where the leader answers, which it must be still.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.leading().port)
    }

    pub(super) fn pid(&self) -> u32 {
        self.leading().child.id()
    }

    fn leading(&self) -> &Member {
        &self.members[self.leader]
    }

    /// Checks that the same member leads as in the beginning.
    pub(super) fn check(&mut self, signals: &Signals) -> Result<(), BenchError> {
        match self.await_leader(signals)? {
            Some(leader) if leader == self.leader => Ok(()),
            _ => Err(BenchError::LeaderChanged),
        }
    }

    /// Puts `value` at all keys.
    pub(super) fn fill(
        &self,
        asked: &Asked,
        value: &[u8],
        signals: &Signals,
    ) -> Result<(), BenchError> {
        let fit = PUT_BYTES_MAX / value.len().max(1);
        let puts_max = PUTS_MAX.min(u64::try_from(fit).unwrap_or(u64::MAX).max(1));
        let mut begun = 0;
        while begun < asked.keys {
            heed(signals)?;
            let end = asked.keys.min(begun + puts_max);
            let puts: Vec<String> = (begun..end)
                .map(|number| format!("{{\"requestPut\":{}}}", put_body(number, value)))
                .collect();
            let body = format!("{{\"success\":[{}]}}", puts.join(","));
            let answer = self.leading().ask("/v3/kv/txn", &body);
            answer.map_err(|error| BenchError::Fill {
                service: SERVER,
                reason: error.to_string(),
            })?;
            begun = end;
        }
        Ok(())
    }
}

/// What a member says of itself: its id, and the leader's as far as it knows.
type State = (String, String);

/// The place of the leader, if all say the same and it is one of them.
fn agreed(states: &[State]) -> Option<usize> {
    let (_, leader) = states.first()?;
    let is_agreed = states.iter().all(|(_, other)| other == leader);
    let place = states.iter().position(|(id, _)| id == leader);
    place.filter(|_| is_agreed)
}

fn spawn() -> Result<Vec<Member>, BenchError> {
    let failed = |source| BenchError::Spawn {
        what: SERVER,
        program: PathBuf::from(SERVER),
        source,
    };
    let ports = free_ports(2 * MEMBERS).map_err(failed)?;
    let (clients, peers) = ports.split_at(MEMBERS);
    let url = |port: &u16| format!("http://127.0.0.1:{port}");
    let cluster: Vec<String> = (0..MEMBERS)
        .map(|at| format!("m{at}={}", url(&peers[at])))
        .collect();
    let cluster = cluster.join(",");
    // It becomes etcd, and ends with this process.
    let program = std::env::current_exe().map_err(BenchError::Program)?;
    let mut members = Vec::new();
    for (at, port) in clients.iter().enumerate() {
        let directory = Directory::temporary()?;
        let mut command = Command::new(&program);
        command.args(["bound-exec", SERVER, "--name", &format!("m{at}")]);
        command.arg("--data-dir").arg(directory.path());
        for flag in ["--listen-client-urls", "--advertise-client-urls"] {
            command.args([flag, &url(port)]);
        }
        for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
            command.args([flag, &url(&peers[at])]);
        }
        command.args(["--initial-cluster", &cluster]);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(variable);
            }
        }
        let child = command
            .env(PARENT_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // It tells much, and nothing that concerns who measures it.
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        members.push(Member {
            child,
            port: *port,
            _directory: directory,
        });
    }
    Ok(members)
}

impl Member {
    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `None` as long as it does not say.
    fn state(&self) -> Option<State> {
        let status = self.ask("/v3/maintenance/status", "{}").ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some((
            text(&status["header"]["member_id"])?,
            text(&status["leader"])?,
        ))
    }

    /// The answer to a request, which must be a good one.
    fn ask(&self, path: &str, body: &str) -> io::Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
        stream.write_all(&post(path, body))?;
        let mut bytes = Vec::new();
        let mut scratch = [0; 16 << 10];
        loop {
            let count = stream.read(&mut scratch)?;
            bytes.extend_from_slice(&scratch[..count]);
            if let Some(reply) = HttpReply::parse(&bytes).map_err(io::Error::other)? {
                reply.check(REVISION).map_err(io::Error::other)?;
                return Ok(serde_json::from_slice(&reply.body)?);
            }
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that nobody listens on, each another one.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let held: io::Result<Vec<TcpListener>> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    held?
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_one_of_the_members_whom_all_name() {
        let states = |leaders: [&str; 3]| {
            let ids = ["1", "2", "3"].into_iter().zip(leaders);
            ids.map(|(id, leader)| (id.to_owned(), leader.to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(agreed(&states(["2", "2", "2"])), Some(1));
        assert_eq!(agreed(&states(["2", "2", "3"])), None);
        assert_eq!(agreed(&states(["0", "0", "0"])), None);
        assert_eq!(agreed(&[]), None);
    }
}

//! Clients that speak RESP to a replica: its log executes their commands, and its state answers their queries.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process;

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::ReplicaName;
use standin_core::machine::StateMachine;
use standin_core::message::{Consistency, DirectRequest, QueryRequest, Reply, ReplyStatus, Seen};
use standin_core::time::{Instant, Now};
use standin_io::net::Net;
use standin_io::{clock, entropy};
use standin_kv::conversation::{
    Follower, Host as Surroundings, Info, KeyspaceInfo, Node, Place, Role, node_id,
};
use standin_kv::line::Kind;
use standin_replica::{Replica, Request, RequestBody};
use standin_resp::Version;
use standin_resp::writer::ReplyWriter;

use crate::front::{Counts, Front, memory_bytes};

/// How a replica serves clients that speak RESP.
#[derive(Clone, Debug)]
pub struct RespConfig {
    /// Where it listens, `HOST:PORT`; port 0 means any.
    pub listen: String,
    /// Where clients reach it, if that differs from where it listens.
    pub advertise: Option<String>,
    /// What clients have to say first, if they have to.
    pub password: Option<Vec<u8>>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Resp<M> {
    front: Front,
    facts: Facts<M>,
    /// Clients that have input in this wake-up.
    heard: Vec<ConnId>,
    /// Used again for each answer that is an error.
    error: Vec<u8>,
}

/// What stays the same as long as the process runs.
#[derive(Debug)]
struct Facts<M> {
    name: ReplicaName,
    /// Where clients reach it.
    host: String,
    port: u16,
    password: Option<Vec<u8>>,
    run_id: String,
    started: Instant,
    clients_max: usize,
    keyspace: fn(&M) -> Vec<KeyspaceInfo>,
}

/// What a conversation may know of a replica.
struct Seat<'a, M> {
    replica: &'a Replica<M>,
    facts: &'a Facts<M>,
    counts: Counts,
    now: Now,
}

impl<M: StateMachine> Resp<M> {
    /// Serves those who come in at `listens_on`, and were told to come to `address`, `HOST:PORT`.
    pub(super) fn new(
        name: ReplicaName,
        listens_on: SocketAddr,
        address: &str,
        password: Option<Vec<u8>>,
        clients_max: usize,
        keyspace: fn(&M) -> Vec<KeyspaceInfo>,
    ) -> Self {
        let started = clock::boot();
        let (host, port) = host_and_port(address);
        let life = format!("{name} {}", entropy::u64());
        let facts = Facts {
            name,
            host,
            port,
            password,
            run_id: node_id(&life),
            started,
            clients_max,
            keyspace,
        };
        Self {
            front: Front::new(listens_on),
            facts,
            heard: Vec::new(),
            error: Vec::new(),
        }
    }

    /// A plain connection has input.
    pub(super) fn heard(&mut self, conn: ConnId) {
        self.heard.push(conn);
    }

    /// A connection is gone. Says whether it was one of these.
    pub(super) fn closed(&mut self, conn: ConnId) -> bool {
        self.heard.retain(|heard| *heard != conn);
        self.front.closed(conn)
    }

    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.front.has(conn)
    }

    /// When it has something to do; `may_take` says whether requests are taken now.
    pub(super) fn deadline(&self, may_take: bool) -> Option<Instant> {
        let now = clock::boot();
        let deadline = self.front.deadline(now);
        deadline.filter(|&at| may_take || at > now)
    }

    /// Takes what clients have said, within bounds: see [`Resp::requests`].
    pub(super) fn take(&mut self, replica: &Replica<M>, net: &mut Net, now: Now) {
        let seat = Seat {
            replica,
            facts: &self.facts,
            counts: self.front.counts(),
            now,
        };
        if replica.has_room() {
            self.front.take(net, &self.heard, &seat, now.boot);
        } else {
            // Those who are ready have time; those with input are told of again.
            self.front.take_nothing();
        }
        self.heard.clear();
    }

    /// Answers those who wait for what they wrote to be on another replica, if it is.
    pub(super) fn settle(&mut self, replica: &Replica<M>, net: &mut Net, now: Now) {
        let backups = i64::from(replica.is_paired());
        let may_wait = replica.takes_requests();
        self.front.settle(net, now.boot, backups, may_wait);
    }

    /// Everybody who is served.
    pub(super) fn conns(&self) -> impl Iterator<Item = &ConnId> {
        self.front.conns()
    }

    /// What was given out by the last [`Resp::take`].
    pub(super) fn requests(&self) -> impl Iterator<Item = Request<'_>> {
        // Nobody asks later for an answer that was lost on the way, and a client that has seen a higher view does not
        // say so: what it is answered is confirmed in any case.
        let seen = Seen::default();
        self.front.tasks().map(move |task| Request {
            conn: task.conn,
            body: match task.kind {
                Kind::Command => RequestBody::Direct(DirectRequest {
                    id: task.id,
                    seen,
                    bytes: task.bytes,
                }),
                Kind::Query => RequestBody::Query(QueryRequest {
                    id: task.id,
                    seen,
                    consistency: Consistency::Confirmed,
                    bytes: task.bytes,
                }),
            },
        })
    }

    /// Hands in the answer to a request.
    pub(super) fn answer(&mut self, net: &mut Net, conn: ConnId, reply: &Reply<'_>) {
        if reply.status == ReplyStatus::Done {
            return self.front.answer(net, conn, reply.id, reply.bytes);
        }
        self.error.clear();
        write_error(reply, &mut self.error);
        self.front.answer(net, conn, reply.id, &self.error);
    }
}

/// Says why a command or query was not done, or that nobody knows whether it was.
fn write_error(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let words = String::from_utf8_lossy(reply.bytes);
    let mut text = String::new();
    let _ = match reply.status {
        ReplyStatus::NotPrimary => write!(
            text,
            "TRYAGAIN nothing was done: this replica is not the primary, or not yet"
        ),
        ReplyStatus::Overloaded => {
            write!(text, "TRYAGAIN nothing was done: too much is waiting here")
        }
        ReplyStatus::OutcomeUnknown => write!(
            text,
            "ERR the outcome is unknown: this replica is no longer the primary, and the command may or may not be \
             executed by the next one; look at the data before you repeat it"
        ),
        ReplyStatus::Skipped => {
            let index = reply
                .bytes
                .try_into()
                .map_or(Index::ZERO, |bytes| Index(u64::from_le_bytes(bytes)));
            write!(
                text,
                "ERR nothing was done: the database fails at this command, which is entry {index} of the log and is skipped"
            )
        }
        ReplyStatus::NoRoom => write!(text, "MISCONF nothing was done: {words}"),
        ReplyStatus::Refused => write!(text, "ERR nothing was done: {words}"),
        ReplyStatus::Done
        | ReplyStatus::SessionUnknown
        | ReplyStatus::SequenceGap
        | ReplyStatus::SequenceAcknowledged
        | ReplyStatus::AnswerLost => write!(
            text,
            "ERR the outcome is unknown: {:?} answers what was not asked",
            reply.status
        ),
    };
    // An error looks the same in both versions.
    ReplyWriter::new(out, Version::default()).error(text);
}

/// The parts of `HOST:PORT`. An IPv6 address loses its brackets, as Redis shows it.
fn host_and_port(address: &str) -> (String, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), port.parse().unwrap_or(0))
}

impl<M: StateMachine> Surroundings for Seat<'_, M> {
    fn password(&self) -> Option<&[u8]> {
        self.facts.password.as_deref()
    }

    fn place(&self) -> Place<'_> {
        if self.replica.takes_requests() {
            return Place::Here;
        }
        match self.replica.primary_resp() {
            // It is primary, and cannot serve yet.
            Some(_) if self.is_named_primary() => Place::Nowhere,
            Some(address) => Place::At(address),
            None => Place::Nowhere,
        }
    }

    fn nodes(&self) -> Option<Vec<Node>> {
        let standing = self.replica.standing();
        let is_primary = self.is_named_primary();
        let mut nodes = vec![Node {
            id: node_id(&self.facts.name.to_string()),
            host: self.facts.host.clone(),
            port: self.facts.port,
            is_primary,
            is_myself: true,
            is_alive: true,
            index: standing.last.index.0,
        }];
        let node = |name: &ReplicaName, address: &str, is_primary, index: u64| {
            let (host, port) = host_and_port(address);
            Node {
                id: node_id(&name.to_string()),
                host,
                port,
                is_primary,
                is_myself: false,
                is_alive: true,
                index,
            }
        };
        if is_primary {
            for follower in self.replica.followers() {
                if let Some(address) = follower.resp {
                    let index = follower.acknowledged.0;
                    nodes.push(node(follower.name, address, false, index));
                }
            }
        } else if let (Some(record), Some(address)) =
            (self.replica.record(), self.replica.primary_resp())
        {
            let index = standing.commit.0;
            nodes.push(node(&record.primary.name, address, true, index));
        }
        Some(nodes)
    }

    fn view(&self) -> u64 {
        self.replica.standing().view.view.0
    }

    fn role(&self) -> Role {
        let index = self.replica.standing().last.index.0;
        if self.is_named_primary() {
            let followers = self.replica.followers().filter_map(|follower| {
                let (host, port) = host_and_port(follower.resp?);
                let index = follower.acknowledged.0;
                Some(Follower { host, port, index })
            });
            return Role::Primary {
                index,
                followers: followers.collect(),
            };
        }
        let address = self.replica.primary_resp();
        let (host, port) = host_and_port(address.unwrap_or_default());
        Role::Follower {
            host,
            port,
            is_connected: address.is_some(),
            index,
        }
    }

    fn info(&self) -> Info {
        let Counts {
            clients,
            accepted,
            bytes_in,
            bytes_out,
            requests,
        } = self.counts;
        Info {
            program_version: env!("CARGO_PKG_VERSION").into(),
            process_id: process::id(),
            run_id: self.facts.run_id.clone(),
            port: self.facts.port,
            time_us: self.now.wall.0 / 1_000,
            uptime_s: self.now.boot.since(self.facts.started).as_secs(),
            clients,
            clients_max: self.facts.clients_max as u64,
            memory_bytes: memory_bytes(),
            connections_accepted: accepted,
            requests,
            bytes_in,
            bytes_out,
            keyspace: match self.replica.state().is_poisoned() {
                // The machine has failed, and has no state any more.
                true => Vec::new(),
                false => (self.facts.keyspace)(self.replica.state().machine()),
            },
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("port", self.facts.port.to_string()),
            ("maxclients", self.facts.clients_max.to_string()),
        ]
    }
}

impl<M: StateMachine> Seat<'_, M> {
    fn is_named_primary(&self) -> bool {
        let record = self.replica.record();
        record.is_some_and(|record| record.primary.name == self.facts.name)
    }
}

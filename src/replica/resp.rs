//! Clients that speak RESP to a replica: its log executes their commands, and its state answers their queries.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process;

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::ReplicaName;
use standin_core::machine::StateMachine;
use standin_core::message::{
    Consistency, DirectRequest, QueryRequest, REPLICAS_MAX, Reply, ReplyStatus, Seen,
};
use standin_core::time::{Duration, Instant, Now};
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

/// For how long another replica counts as heard of lately, and is named to clients of a cluster.
const LATELY: Duration = Duration::from_secs(60);

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
    others: Others,
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

/// The other replicas that this one has followed, or that have followed it. Right after a takeover nobody follows, and
/// the new primary is not known by those that will: clients of a cluster that ask then, and were told of nobody else,
/// would give up, or not find the next primary.
#[derive(Debug, Default)]
struct Others {
    /// At most [`REPLICAS_MAX`].
    all: BTreeMap<ReplicaName, Other>,
    /// Whom of them this replica followed last, unless it was primary itself since then.
    primary: Option<ReplicaName>,
}

/// Where another replica answers clients, and when that was last so.
#[derive(Debug)]
struct Other {
    address: String,
    seen: Instant,
}

impl Others {
    fn see(&mut self, name: &ReplicaName, address: &str, now: Instant) {
        if let Some(other) = self.all.get_mut(name) {
            other.seen = now;
            if other.address != address {
                address.clone_into(&mut other.address);
            }
            return;
        }
        if self.all.len() >= REPLICAS_MAX {
            let oldest = self.all.iter().min_by_key(|(_, other)| other.seen);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| self.all.remove(&name));
        }
        let address = address.to_owned();
        self.all.insert(name.clone(), Other { address, seen: now });
    }

    /// Looks at who is there now.
    fn look<M: StateMachine>(&mut self, replica: &Replica<M>, own: &ReplicaName, now: Instant) {
        let Some(primary) = replica.record().map(|record| &record.primary.name) else {
            return;
        };
        if primary == own {
            self.primary = None;
            for follower in replica.followers() {
                if let Some(address) = follower.resp {
                    self.see(follower.name, address, now);
                }
            }
        } else if let Some(address) = replica.primary_resp() {
            self.see(primary, address, now);
            if self.primary.as_ref() != Some(primary) {
                self.primary = Some(primary.clone());
            }
        }
    }
}

/// What a conversation may know of a replica.
struct Seat<'a, M> {
    replica: &'a Replica<M>,
    facts: &'a Facts<M>,
    others: &'a Others,
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
            others: Others::default(),
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
        self.others.look(replica, &self.facts.name, now.boot);
        let seat = Seat {
            replica,
            facts: &self.facts,
            others: &self.others,
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

    /// Answers those who wait for what they wrote to be on another replica, if it is; and has those taken who wait for a
    /// primary, if it is known.
    pub(super) fn settle(&mut self, replica: &Replica<M>, net: &mut Net, now: Now) {
        let backups = i64::from(replica.is_paired());
        let may_wait = replica.takes_requests();
        self.front.settle(net, now.boot, backups, may_wait);
        let is_known = is_in_touch(replica);
        self.front.settle_seekers(net, now.boot, is_known);
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
            "CLUSTERDOWN nothing was done: this replica is not the primary, or not yet"
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

/// Whether it is known for certain who executes commands.
fn is_in_touch<M: StateMachine>(replica: &Replica<M>) -> bool {
    replica.takes_requests() || replica.primary_resp().is_some() && replica.is_in_touch()
}

/// Whether the replica of this name is the primary of the view that it knows.
fn is_named_primary<M: StateMachine>(replica: &Replica<M>, own: &ReplicaName) -> bool {
    replica
        .record()
        .is_some_and(|record| record.primary.name == *own)
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
            Some(_) if is_named_primary(self.replica, &self.facts.name) => Place::Nowhere,
            Some(address) => Place::At(address),
            None => Place::Nowhere,
        }
    }

    fn is_in_touch(&self) -> bool {
        is_in_touch(self.replica)
    }

    fn nodes(&self) -> Option<Vec<Node>> {
        let standing = self.replica.standing();
        let is_primary = is_named_primary(self.replica, &self.facts.name);
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
        let has_primary = nodes.iter().any(|node| node.is_primary);
        for (name, other) in &self.others.all {
            let id = node_id(&name.to_string());
            if nodes.iter().all(|node| node.id != id) {
                // As in Redis, the last primary is named until there is another.
                let is_primary = !has_primary && self.others.primary.as_ref() == Some(name);
                nodes.push(Node {
                    is_alive: self.now.boot.since(other.seen) < LATELY,
                    ..node(name, &other.address, is_primary, 0)
                });
            }
        }
        Some(nodes)
    }

    fn view(&self) -> u64 {
        self.replica.standing().view.view.0
    }

    fn role(&self) -> Role {
        let index = self.replica.standing().last.index.0;
        if is_named_primary(self.replica, &self.facts.name) {
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
            is_connected: self.replica.is_in_touch(),
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

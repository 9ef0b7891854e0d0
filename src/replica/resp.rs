//! Clients that speak RESP to a replica: its log executes their commands, and its state answers their queries.

mod others;
mod seat;

use std::fmt::Write as _;
use std::net::SocketAddr;

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::ReplicaName;
use standin_core::machine::StateMachine;
use standin_core::message::{Consistency, DirectRequest, QueryRequest, Reply, ReplyStatus, Seen};
use standin_core::time::{Instant, Now};
use standin_io::clock;
use standin_io::net::Net;
use standin_kv::conversation::KeyspaceInfo;
use standin_kv::line::Kind;
use standin_replica::{Replica, Request, RequestBody};
use standin_resp::Version;
use standin_resp::writer::ReplyWriter;

use crate::front::{Facts, Front, Task};
use others::Others;
use seat::{Own, Seat, host_and_port, is_in_touch};

/// How a replica serves clients that speak RESP.
#[derive(Clone, Debug)]
pub struct RespConfig {
    /// Where it listens, `HOST:PORT`; port 0 means any.
    pub listen: String,
    /// Where clients reach it, if that differs from where it listens.
    pub advertise: Option<String>,
    /// What clients have to say first, if they have to.
    pub password: Option<Vec<u8>>,
    /// What the answers to reads rest on: the backup's confirmation, or the lease alone, and so on clocks.
    pub reads: Consistency,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Resp<M> {
    front: Front,
    own: Own<M>,
    others: Others,
    /// Clients that have input in this wake-up.
    heard: Vec<ConnId>,
    /// What the answers to reads rest on.
    reads: Consistency,
    /// Used again for each answer that is an error.
    error: Vec<u8>,
}

impl<M: StateMachine> Resp<M> {
    /// Serves those who come in at `listens_on`, and were told to come to `address`, `HOST:PORT`.
    pub(super) fn new(
        name: ReplicaName,
        listens_on: SocketAddr,
        address: &str,
        config: &RespConfig,
        clients_max: usize,
        keyspace: fn(&M) -> Vec<KeyspaceInfo>,
    ) -> Self {
        let password = config.password.clone();
        let (host, port) = host_and_port(address);
        let facts = Facts::new(&name.to_string(), port, password, clients_max);
        let own = Own {
            name,
            host,
            facts,
            keyspace,
        };
        Self {
            front: Front::new(listens_on, true),
            own,
            others: Others::default(),
            heard: Vec::new(),
            reads: config.reads,
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
        self.others.look(replica, &self.own.name, now.boot);
        let seat = Seat {
            replica,
            own: &self.own,
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
    pub(super) fn requests(&self) -> impl ExactSizeIterator<Item = Request<'_>> {
        let reads = self.reads;
        self.front.tasks().map(move |task| Request {
            conn: task.conn,
            body: body(&task, reads),
        })
    }

    /// Hands in the answers to some requests of one client.
    pub(super) fn answer<'a>(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        replies: impl Iterator<Item = Reply<'a>>,
    ) {
        let error = &mut self.error;
        self.front.answer_all(net, conn, |answering| {
            for reply in replies {
                if reply.status == ReplyStatus::Done {
                    answering.give(reply.id, reply.bytes);
                    continue;
                }
                error.clear();
                write_error(&reply, error);
                answering.give(reply.id, error);
            }
        });
    }
}

/// What the replica is asked for a client's command, or for its read.
fn body<'a>(task: &Task<'a>, reads: Consistency) -> RequestBody<'a> {
    // Nobody asks later for an answer that was lost on the way, and a client that has seen a higher view does not say so.
    let seen = Seen::default();
    let Task { id, bytes, .. } = *task;
    match task.kind {
        Kind::Command => RequestBody::Direct(DirectRequest { id, seen, bytes }),
        Kind::Query => {
            let query = QueryRequest {
                id,
                seen,
                consistency: reads,
                bytes,
            };
            RequestBody::Queries(query, task.requests)
        }
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
                "ERR nothing was done: the database fails at this command, or at one that came with it, in entry {index} of the log, which is skipped"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rest_on_what_was_asked_for_and_commands_on_the_log() {
        for reads in [Consistency::Confirmed, Consistency::Lease] {
            let task = |kind, bytes| Task {
                conn: ConnId(1),
                id: 7,
                kind,
                requests: 3,
                bytes,
            };
            match body(&task(Kind::Query, b"get"), reads) {
                RequestBody::Queries(query, 3) => {
                    assert_eq!((query.id, query.bytes), (7, b"get".as_slice()));
                    assert_eq!(query.consistency, reads);
                }
                other => panic!("{other:?}"),
            }
            let command = body(&task(Kind::Command, b"set"), reads);
            assert!(matches!(command, RequestBody::Direct(_)), "{command:?}");
        }
    }
}

//! Clients that speak RESP: their connections, and what each of them has under way.
//!
//! A [`Front`] takes requests from plain connections, gives out what is to be executed, and puts the answers back
//! in their order. Who executes them is its host's: a replica's own log, or sessions with whoever is primary.

mod facts;
#[cfg(test)]
mod tests;
mod waits;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use standin_core::conn::ConnId;
use standin_core::time::{Duration, Instant, earliest};
use standin_io::net::{Net, OUTPUT_BYTES_HIGH, READ_BYTES_PER_POLL};
use standin_kv::call::REPLY_BYTES_MAX;
use standin_kv::conversation::{Ask, ClientChoice, Conversation, Host};
use standin_kv::line::{Kind, Line, REPLY_BYTES_PER_TAKE, Stop, Work};
use standin_resp::writer::ReplyWriter;

use waits::{Verdict, Waits};

pub(crate) use facts::Facts;

/// Most requests taken in one wake-up. Those with input share them evenly, and whoever had none comes first in the
/// next.
const REQUESTS_PER_WAKE_UP: usize = 4096;
/// Most requests taken of one connection when so many have input that an even share would be less.
const REQUESTS_PER_CONN_MIN: usize = 16;
/// Bytes of what is given out after which nothing more is taken in one wake-up.
const BYTES_PER_WAKE_UP: usize = READ_BYTES_PER_POLL;
/// Bytes that all clients together have held on their behalf: commands of transactions, keys that are watched,
/// replies that wait for others. Beyond that, whoever holds the most is closed.
const HELD_BYTES_MAX: usize = 256 << 20;
/// A list of clients counts as one request for so many clients that it is made of.
const CLIENTS_PER_REQUEST: usize = 4;
/// For how long a request that needs to know who is primary waits while nobody is known to be: a takeover seldom takes
/// longer. Clients that were told at once that there is none, or of one that is dead, would have used up their attempts
/// before the next is there.
const SEEKS_MAX: Duration = Duration::from_secs(1);

/// All clients that speak RESP.
#[derive(Debug)]
pub(crate) struct Front {
    /// Where it listens.
    listens_on: SocketAddr,
    /// Several queries of a client are given out as one: the answer may be as long as all of theirs.
    joins_queries: bool,
    clients: BTreeMap<ConnId, Client>,
    counts: Counts,
    /// What is given out in this wake-up.
    work: Work,
    /// Whose each of it is.
    owners: Vec<ConnId>,
    /// Clients that have something to be taken without more input.
    ready: Vec<ConnId>,
    waits: Waits,
    /// Clients whose next request waits for a primary. Some may be gone.
    seekers: Vec<ConnId>,
    /// What all clients have held on their behalf.
    held_bytes: usize,
    /// Used again for each client.
    replies: Vec<u8>,
}

/// One client.
#[derive(Debug)]
struct Client {
    line: Line,
    since: Instant,
    heard_at: Instant,
    /// Its input is paused until something is answered.
    is_blocked: bool,
    /// Until when its next request waits for a primary, if it does.
    seeks_until: Option<Instant>,
    held_bytes: usize,
}

/// What has been counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Clients that are there now.
    pub(crate) clients: u64,
    /// All that ever were.
    pub(crate) accepted: u64,
    /// Bytes that came from them.
    pub(crate) bytes_in: u64,
    /// Bytes that went to them.
    pub(crate) bytes_out: u64,
    /// Requests that were taken.
    pub(crate) requests: u64,
}

/// Something that is to be executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    /// Whose it is.
    pub(crate) conn: ConnId,
    /// Its number among those of the same client.
    pub(crate) id: u64,
    /// How it is to be executed.
    pub(crate) kind: Kind,
    /// How many requests it is of.
    pub(crate) requests: usize,
    /// What the machine is given.
    pub(crate) bytes: &'a [u8],
}

/// Takes the answers of one client.
#[derive(Debug)]
pub(crate) struct Answering<'a> {
    line: &'a mut Line,
    out: &'a mut Vec<u8>,
}

impl Answering<'_> {
    /// What the client gets for what was given out under this number.
    pub(crate) fn give(&mut self, id: u64, reply: &[u8]) {
        self.line.answer(id, reply, self.out);
    }
}

impl Front {
    pub(crate) fn new(listens_on: SocketAddr, joins_queries: bool) -> Self {
        Self {
            listens_on,
            joins_queries,
            clients: BTreeMap::new(),
            counts: Counts::default(),
            work: Work::default(),
            owners: Vec::new(),
            ready: Vec::new(),
            waits: Waits::default(),
            seekers: Vec::new(),
            held_bytes: 0,
            replies: Vec::new(),
        }
    }

    /// Where it listens.
    pub(crate) fn listens_on(&self) -> SocketAddr {
        self.listens_on
    }

    /// Takes nothing more of anybody: each is closed once it has the answers to what is under way.
    pub(crate) fn end(&mut self, net: &mut Net) {
        self.ready.clear();
        for (conn, client) in &mut self.clients {
            client.line.end();
            if client.line.is_over() {
                net.close_when_sent(*conn);
            }
        }
    }

    /// What has been counted.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            clients: self.clients.len() as u64,
            ..self.counts
        }
    }

    /// When it has something to do, if nothing comes before.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        if !self.ready.is_empty() {
            return Some(now);
        }
        let seekers = self.seekers.iter();
        let seeks_until = seekers.filter_map(|conn| self.clients.get(conn)?.seeks_until);
        earliest(self.waits.deadline(), seeks_until.min())
    }

    /// Whether somebody waits for others to have what was written: see [`Front::settle`].
    pub(crate) fn has_waits(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Takes what these connections, which are plain and have input, have said; and what others have still to say.
    /// What comes of it is given out as [`Front::tasks`].
    pub(crate) fn take(&mut self, net: &mut Net, conns: &[ConnId], host: &dyn Host, now: Instant) {
        self.work.clear();
        self.owners.clear();
        let mut all = std::mem::take(&mut self.ready);
        let ready = all.len();
        all.extend_from_slice(conns);
        let share = REQUESTS_PER_WAKE_UP / all.len().max(1);
        let share = share.max(REQUESTS_PER_CONN_MIN);
        let mut left = REQUESTS_PER_WAKE_UP;
        let mut served = 0;
        for &conn in &all {
            served += 1;
            let most = share.min(left);
            left -= self.take_of(net, conn, most, host, now);
            if left == 0 || self.work.bytes.len() >= BYTES_PER_WAKE_UP {
                break;
            }
        }
        // Those with input are told of again in any case.
        self.ready.extend(all.drain(served.min(ready)..ready));
        self.relieve(net);
    }

    /// Takes nothing in this wake-up.
    pub(crate) fn take_nothing(&mut self) {
        self.work.clear();
        self.owners.clear();
    }

    /// What was given out by the last [`Front::take`], in the order in which it was asked for.
    pub(crate) fn tasks(&self) -> impl ExactSizeIterator<Item = Task<'_>> {
        let given = self.work.given.iter().zip(&self.owners);
        given.map(|(given, &conn)| Task {
            conn,
            id: given.id,
            kind: given.kind,
            requests: given.requests,
            bytes: &self.work.bytes[given.range.clone()],
        })
    }

    /// Whether a connection is a client's.
    pub(crate) fn has(&self, conn: ConnId) -> bool {
        self.clients.contains_key(&conn)
    }

    /// All connections of clients.
    pub(crate) fn conns(&self) -> impl Iterator<Item = &ConnId> {
        self.clients.keys()
    }

    /// Hands in what the client gets for what was given out under this number. It may be gone.
    pub(crate) fn answer(&mut self, net: &mut Net, conn: ConnId, id: u64, reply: &[u8]) {
        self.answer_all(net, conn, |answering| answering.give(id, reply));
    }

    /// Hands in several answers of one client. It may be gone.
    pub(crate) fn answer_all(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        answer: impl FnOnce(&mut Answering<'_>),
    ) {
        let Some(client) = self.clients.get_mut(&conn) else {
            return;
        };
        let mut sent = 0;
        net.send(conn, |out| {
            let before = out.len();
            let line = &mut client.line;
            answer(&mut Answering { line, out });
            sent = out.len() - before;
        });
        self.counts.bytes_out += sent as u64;
        net.owe(conn, client.line.is_waiting());
        let held = client.line.held_bytes();
        self.held_bytes = self.held_bytes - client.held_bytes + held;
        client.held_bytes = held;
        if client.line.is_over() {
            net.close_when_sent(conn);
        } else if client.is_blocked && client.line.may_take() {
            client.is_blocked = false;
            net.pause_input(conn, false);
            self.ready.push(conn);
        }
    }

    /// Forgets a connection that is gone. Says whether it was a client's.
    pub(crate) fn closed(&mut self, conn: ConnId) -> bool {
        let Some(client) = self.clients.remove(&conn) else {
            return false;
        };
        self.held_bytes -= client.held_bytes;
        true
    }

    /// Answers those who wait for `replicas` besides this process to have what they wrote, if there are so many or their
    /// time is over; all of them if it `may_wait` no longer.
    pub(crate) fn settle(&mut self, net: &mut Net, now: Instant, replicas: i64, may_wait: bool) {
        let mut waits = std::mem::take(&mut self.waits);
        waits.settle(now, |wait, is_late| {
            let Some(client) = self.clients.get(&wait.conn) else {
                return Verdict::Done;
            };
            if !client.line.is_next(wait.id) {
                return Verdict::Early;
            }
            if !is_late && may_wait && wait.replicas > replicas {
                if net.has_hung_up(wait.conn) {
                    // As in Redis: it may be gone, and nobody knows how long this takes.
                    net.close_when_sent(wait.conn);
                    return Verdict::Done;
                }
                return Verdict::Waits;
            }
            let mut reply = Vec::new();
            let mut writer = ReplyWriter::new(&mut reply, client.line.conversation().version());
            match may_wait {
                true => writer.integer(replicas),
                false => writer.error(
                    "UNBLOCKED force unblock from blocking operation, this replica is not the primary any more",
                ),
            }
            self.answer(net, wait.conn, wait.id, &reply);
            Verdict::Done
        });
        self.waits = waits;
    }

    /// Has those taken that wait for a primary if it `is_known` now, or their time is over.
    pub(crate) fn settle_seekers(&mut self, net: &mut Net, now: Instant, is_known: bool) {
        let clients = &mut self.clients;
        let ready = &mut self.ready;
        self.seekers.retain(|conn| {
            let Some(client) = clients.get_mut(conn) else {
                return false;
            };
            if !is_known {
                if client.seeks_until.is_some_and(|until| now < until) {
                    return true;
                }
                client.line.stop_seeking();
            }
            client.seeks_until = None;
            client.is_blocked = false;
            net.pause_input(*conn, false);
            ready.push(*conn);
            false
        });
    }

    /// Takes at most so many requests of one client, and says how many they were.
    fn take_of(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        most: usize,
        host: &dyn Host,
        now: Instant,
    ) -> usize {
        // It may have gone since it was ready or heard, by what another one asked for.
        if !net.may_speak(conn) {
            return 0;
        }
        if !self.clients.contains_key(&conn) {
            let Some(peer) = net.peer_addr(conn) else {
                return 0;
            };
            self.welcome(conn, peer, host, now);
        }
        // Whoever does not read is not listened to either. Its input is told of again once it has read; what was held back
        // is not, and is given out.
        let most = match net.output_bytes(conn) < OUTPUT_BYTES_HIGH {
            true => most,
            false => 0,
        };
        let mut left = most;
        let mut requests = 0;
        let mut replies = std::mem::take(&mut self.replies);
        replies.clear();
        loop {
            let client = self.clients.get_mut(&conn).expect("it is there");
            client.heard_at = now;
            let left_before = left;
            let (consumed, stop) = client.line.take(
                net.input(conn),
                &mut left,
                host,
                &mut replies,
                &mut self.work,
            );
            requests += left_before - left;
            self.owners.resize(self.work.given.len(), conn);
            self.counts.bytes_in += consumed as u64;
            net.consume(conn, consumed);
            match stop {
                Stop::Hungry => {
                    if !net.await_more(conn) {
                        client.line.end();
                    }
                }
                Stop::Sated => {}
                // It may hear of its answers yet; that its input is over is nothing new.
                Stop::Ended => _ = net.await_more(conn),
                Stop::Blocked => {
                    client.is_blocked = true;
                    net.pause_input(conn, true);
                }
                Stop::NoPrimary => {
                    if client.seeks_until.is_none() {
                        client.seeks_until = Some(now.plus(SEEKS_MAX));
                        self.seekers.push(conn);
                    }
                    client.is_blocked = true;
                    net.pause_input(conn, true);
                }
                Stop::Ask(id, ask) => {
                    if !matches!(ask, Ask::Wait { .. }) {
                        left = left.saturating_sub(self.clients.len() / CLIENTS_PER_REQUEST);
                    }
                    if self.answer_ask(net, conn, id, ask, now, &mut replies) {
                        if replies.len() < REPLY_BYTES_PER_TAKE {
                            continue;
                        }
                        break;
                    }
                    let client = self.clients.get_mut(&conn).expect("it is there");
                    client.is_blocked = true;
                    net.pause_input(conn, true);
                }
            }
            break;
        }
        if !replies.is_empty() {
            self.counts.bytes_out += replies.len() as u64;
            net.send(conn, |out| out.extend_from_slice(&replies));
        }
        replies.shrink_to(REPLY_BYTES_PER_TAKE);
        self.replies = replies;
        let client = self.clients.get_mut(&conn).expect("it is there");
        net.owe(
            conn,
            client.line.is_waiting() || client.seeks_until.is_some(),
        );
        let held = client.line.held_bytes();
        self.held_bytes = self.held_bytes - client.held_bytes + held;
        client.held_bytes = held;
        if client.line.is_over() {
            net.close_when_sent(conn);
        }
        self.counts.requests += requests as u64;
        most - left
    }

    fn welcome(&mut self, conn: ConnId, peer: SocketAddr, host: &dyn Host, now: Instant) {
        self.counts.accepted += 1;
        let local = self.listens_on.to_string();
        let conversation = Conversation::new(self.counts.accepted, peer.to_string(), local, host);
        let client = Client {
            line: Line::new(conversation, self.joins_queries),
            since: now,
            heard_at: now,
            is_blocked: false,
            seeks_until: None,
            held_bytes: 0,
        };
        self.clients.insert(conn, client);
    }

    /// Answers what one client asks about the others. False: that takes its time.
    fn answer_ask(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        id: u64,
        ask: Ask,
        now: Instant,
        replies: &mut Vec<u8>,
    ) -> bool {
        let mut reply = Vec::new();
        let version = self.clients[&conn].line.conversation().version();
        let mut writer = ReplyWriter::new(&mut reply, version);
        match ask {
            Ask::Wait {
                replicas,
                timeout_ms,
            } => {
                let timeout = Duration::from_millis(timeout_ms);
                self.waits.add(conn, id, replicas, timeout);
                return false;
            }
            Ask::Clients(choice) => {
                let mut text = String::new();
                for (_, client) in self.chosen(&choice) {
                    let age = now.since(client.since).as_secs();
                    let idle = now.since(client.heard_at).as_secs();
                    text.push_str(&client.line.conversation().line(age, idle));
                    if text.len() > REPLY_BYTES_MAX {
                        break;
                    }
                }
                match text.len() <= REPLY_BYTES_MAX {
                    true => writer.verbatim(*b"txt", text),
                    false => writer.error("ERR the list of clients is longer than a reply may be"),
                }
            }
            Ask::Kill { choice, is_one } => {
                let killed: Vec<ConnId> = self.chosen(&choice).map(|(conn, _)| conn).collect();
                match (is_one, killed.is_empty()) {
                    (false, _) => writer.count(killed.len()),
                    (true, true) => writer.error("ERR No such client"),
                    (true, false) => writer.ok(),
                }
                for &other in killed.iter().filter(|other| **other != conn) {
                    net.close(other);
                }
                if killed.contains(&conn) {
                    let client = self.clients.get_mut(&conn).expect("it asks");
                    client.line.end();
                }
            }
        }
        let client = self.clients.get_mut(&conn).expect("it asks");
        client.line.answer(id, &reply, replies);
        true
    }

    fn chosen(&self, choice: &ClientChoice) -> impl Iterator<Item = (ConnId, &Client)> {
        let all = self.clients.iter();
        all.filter(|(_, client)| choice.includes(client.line.conversation()))
            .map(|(conn, client)| (*conn, client))
    }

    /// Closes whoever has the most held on its behalf, as long as it is too much altogether.
    fn relieve(&mut self, net: &mut Net) {
        while self.held_bytes > HELD_BYTES_MAX {
            let most = self.clients.iter_mut();
            let Some((&conn, client)) = most.max_by_key(|(_, client)| client.held_bytes) else {
                return;
            };
            log::warn!(
                "client {} at {conn} is closed: all clients together hold {} bytes in transactions and replies, \
                 {} of them its own",
                client.line.conversation().id(),
                self.held_bytes,
                client.held_bytes
            );
            self.held_bytes -= std::mem::take(&mut client.held_bytes);
            net.close(conn);
        }
    }
}

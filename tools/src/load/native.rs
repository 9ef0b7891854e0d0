//! Clients that speak the native protocol, each in a session of its own.

use std::collections::BTreeMap;

use standin_core::conn::ConnId;
use standin_core::frame::Frame;
use standin_core::message::{
    CommandRequest, CommandRequests, Consistency, Message as _, OpenSession, Party, QueryRequest,
    QueryRequests, Replies, Reply, ReplyStatus, SEVERAL_MAX, Seen,
};
use standin_core::time::Instant;
use standin_io::clock;
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};
use standin_io::signals::Signals;

use super::request::Source;
use super::{DEPTH_MAX, Expected, LoadConfig, LoadError, LoadResult, OPEN_TIMEOUT, Request, Run};

/// Most connections that are being made at the same time: a service has room for few that have not said hello yet.
pub(super) const OPENING_MAX: usize = 64;

/// Slots for send times: one for each command that may be in flight.
const SLOTS: usize = 16;
const _: () = assert!(SLOTS as u64 == DEPTH_MAX && SLOTS <= SEVERAL_MAX);

/// What requests are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Commands, in the connection's session.
    Command,
    /// Queries that are answered like that.
    Query(Consistency, Expected),
}

/// Puts load on a service, `depth` requests in flight on each connection.
pub(super) fn run(
    config: &LoadConfig,
    request: &Request,
    kind: Kind,
    depth: u64,
) -> Result<LoadResult, LoadError> {
    let mut load = Load::new(config, request, kind, depth)?;
    load.open()?;
    load.drive()
}

/// One connection and its session.
#[derive(Debug)]
struct Client {
    session: u64,
    /// Sequence number of the last reply; all before it have come too, since order is checked.
    ///
    /// Invariant: while running, requests up to `answered + depth` have been sent.
    answered: u64,
    /// When each request in flight was sent; request `n` has slot `n % SLOTS`.
    sent_at: [Instant; SLOTS],
    /// As far as the service has shown itself.
    seen: Seen,
}

impl Client {
    fn new(session: u64) -> Self {
        Self {
            session,
            answered: 0,
            sent_at: [Instant::ZERO; SLOTS],
            seen: Seen::default(),
        }
    }

    /// Takes the next reply and returns when its request was sent.
    fn take_reply(&mut self, kind: Kind, reply: &Reply<'_>) -> Result<Instant, String> {
        let expected = self.answered + 1;
        if reply.id != expected {
            return Err(format!("reply {} came where {expected} should", reply.id));
        }
        if reply.status != ReplyStatus::Done {
            return Err(format!(
                "request {expected} was answered {:?}",
                reply.status
            ));
        }
        if let Kind::Query(_, fit) = kind
            && !fit.fits(reply.bytes)
        {
            return Err(format!(
                "query {expected} was answered '{}'",
                reply.bytes.trim_ascii_end().escape_ascii()
            ));
        }
        self.answered = expected;
        self.seen = reply.seen;
        Ok(self.sent_at[slot(expected)])
    }

    /// Appends `count` requests, the first of which has the number `first`.
    fn send(
        &mut self,
        kind: Kind,
        first: u64,
        count: usize,
        source: &mut Source<'_>,
        now: Instant,
        out: &mut Vec<u8>,
    ) {
        for sequence in (first..).take(count) {
            self.sent_at[slot(sequence)] = now;
        }
        let write = |_, out: &mut Vec<u8>| out.extend_from_slice(source.draw());
        match kind {
            Kind::Command => {
                let first = CommandRequest {
                    id: first,
                    seen: self.seen,
                    session: self.session,
                    sequence: first,
                    acknowledged: self.answered,
                    bytes: &[],
                };
                CommandRequests::encode(&first, count, write, out);
            }
            Kind::Query(consistency, _) => {
                let first = QueryRequest {
                    id: first,
                    seen: self.seen,
                    consistency,
                    bytes: &[],
                };
                QueryRequests::encode(&first, count, write, out);
            }
        }
    }
}

fn slot(sequence: u64) -> usize {
    usize::try_from(sequence % DEPTH_MAX).expect("less than the number of slots")
}

#[derive(Debug)]
struct Load<'a> {
    config: &'a LoadConfig,
    source: Source<'a>,
    kind: Kind,
    depth: u64,
    net: Net,
    clients: BTreeMap<ConnId, Client>,
    run: Run,
}

impl<'a> Load<'a> {
    fn new(
        config: &'a LoadConfig,
        request: &'a Request,
        kind: Kind,
        depth: u64,
    ) -> Result<Self, LoadError> {
        let mut net = Net::new(NetConfig {
            party: Party::Client,
            cluster: None,
            machine: None,
            limits: NetLimits::default(),
        })?;
        if config.heeds_signals {
            net.watch_signals(Signals::block()?)?;
        }
        Ok(Self {
            config,
            source: Source::new(request),
            kind,
            depth,
            net,
            clients: BTreeMap::new(),
            run: Run::new(config, clock::boot()),
        })
    }

    /// Makes all connections, and opens a session on each.
    fn open(&mut self) -> Result<(), LoadError> {
        let end = clock::boot().plus(OPEN_TIMEOUT);
        let wanted = self.config.wanted();
        let mut begun = 0;
        let mut events = Vec::new();
        while self.clients.len() < wanted {
            while begun < wanted && begun < self.clients.len() + OPENING_MAX {
                let address = &self.config.address;
                self.net.connect(address, clock::boot(), OPEN_TIMEOUT);
                begun += 1;
            }
            let now = self.net.poll(Some(end), &mut events)?.boot;
            for event in events.drain(..) {
                if matches!(event, NetEvent::Signal(_)) {
                    return Err(LoadError::Interrupted);
                }
                self.on_opening_event(&event)
                    .map_err(|reason| self.config.not_open(self.clients.len(), reason))?;
            }
            if now >= end && self.clients.len() < wanted {
                let reason = "no answer came in time".to_owned();
                return Err(self.config.not_open(self.clients.len(), reason));
            }
        }
        Ok(())
    }

    fn on_opening_event(&mut self, event: &NetEvent) -> Result<(), String> {
        match event {
            NetEvent::Ready { conn, .. } => {
                let open = OpenSession {
                    id: 0,
                    seen: Seen::default(),
                };
                self.net.send(*conn, |out| open.encode(out));
            }
            NetEvent::Input { conn } => {
                let mut bytes = 0;
                for frame in self.net.frames(*conn) {
                    bytes += frame.len();
                    self.clients.insert(*conn, Client::new(session_of(&frame)?));
                }
                self.net.consume(*conn, bytes);
            }
            NetEvent::Closed { reason, .. } => return Err(reason.to_string()),
            NetEvent::Woken | NetEvent::Signal(_) => {}
        }
        Ok(())
    }

    /// Fills every connection, then answers each reply with the next request until time is up.
    fn drive(mut self) -> Result<LoadResult, LoadError> {
        let mut now = clock::boot();
        let ids: Vec<ConnId> = self.clients.keys().copied().collect();
        for conn in ids {
            self.send(conn, 1, now);
        }
        self.run = Run::new(self.config, now);
        let mut events = Vec::new();
        while self.run.goes_on(now) {
            let next = self.run.deadline();
            now = self.net.poll(Some(next), &mut events)?.boot;
            for event in events.drain(..) {
                if matches!(event, NetEvent::Signal(_)) {
                    return Err(LoadError::Interrupted);
                }
                self.on_event(now, event);
            }
            if self.clients.is_empty() {
                return Err(self.config.lost(self.run));
            }
        }
        Ok(self.run.result(now))
    }

    fn on_event(&mut self, now: Instant, event: NetEvent) {
        match event {
            NetEvent::Input { conn } => self.on_replies(now, conn),
            NetEvent::Closed { conn, reason } => {
                if self.clients.remove(&conn).is_some() {
                    self.run.recorder.fail(reason.to_string());
                }
            }
            NetEvent::Ready { .. } | NetEvent::Woken | NetEvent::Signal(_) => {}
        }
    }

    fn on_replies(&mut self, now: Instant, conn: ConnId) {
        let Some(client) = self.clients.get_mut(&conn) else {
            return;
        };
        let first_unsent = client.answered + self.depth + 1;
        let mut bytes = 0;
        for frame in self.net.frames(conn) {
            bytes += frame.len();
            let taken = Replies::decode(&frame).map_err(|error| error.to_string());
            let taken = taken.and_then(|replies| {
                replies.iter().try_for_each(|reply| {
                    let sent_at = client.take_reply(self.kind, &reply)?;
                    self.run.recorder.record(now.since(sent_at));
                    Ok(())
                })
            });
            if let Err(reason) = taken {
                self.run.recorder.fail(reason);
                self.clients.remove(&conn);
                self.net.close(conn);
                return;
            }
        }
        self.net.consume(conn, bytes);
        self.send(conn, first_unsent, now);
    }

    /// Sends from request `first` on until `depth` are in flight.
    fn send(&mut self, conn: ConnId, first: u64, now: Instant) {
        let Some(client) = self.clients.get_mut(&conn) else {
            return;
        };
        let count = (client.answered + self.depth + 1).saturating_sub(first);
        let count = usize::try_from(count).expect("no more than may be in flight");
        if count > 0 {
            let (kind, source) = (self.kind, &mut self.source);
            self.net.send(conn, |out| {
                client.send(kind, first, count, source, now, out)
            });
            // At once, as the client of one connection would: what came for others waits.
            self.net.flush();
        }
    }
}

/// The session that the reply to [`OpenSession`] names.
fn session_of(frame: &Frame<'_>) -> Result<u64, String> {
    let reply = Reply::decode(frame).map_err(|error| error.to_string())?;
    if reply.status != ReplyStatus::Done {
        return Err(format!("the service answered {:?}", reply.status));
    }
    let id = reply.bytes.try_into().map_err(|_| {
        let count = reply.bytes.len();
        format!("a session's id of {count} bytes came")
    })?;
    Ok(u64::from_le_bytes(id))
}

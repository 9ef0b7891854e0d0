//! A load generator: clients in a closed loop over the native protocol, all on one thread.
//!
//! [`run`] opens one session for each connection and keeps a fixed number of commands in flight in
//! it: a command is sent when the reply of an earlier one has come, never before. Latency is counted
//! from the wake-up in which a command was sent to the one in which its reply was read, so the
//! generator's own work is inside it. It knows nothing of failover: whatever it measures must stand.

use std::collections::BTreeMap;
use std::io;

use hdrhistogram::Histogram;
use standin_core::conn::ConnId;
use standin_core::frame::Frame;
use standin_core::message::{
    CommandRequest, Message as _, OpenSession, Party, Reply, ReplyStatus, Seen,
};
use standin_core::session::SESSION_WINDOW;
use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};
use standin_io::signals::Signals;

/// Most connections of one run.
pub const CONNECTIONS_MAX: u32 = 4096;
/// Most commands in flight on one connection: a session's window.
pub const DEPTH_MAX: u64 = SESSION_WINDOW;
/// How long all connections together may take to be made and to have a session.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest latency that the histogram tells apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;
/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 3;
/// Slots for send times: one for each command that may be in flight.
const SLOTS: usize = 16;
const _: () = assert!(SLOTS as u64 == DEPTH_MAX);

/// What to put on a service.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// Where the service listens, `HOST:PORT`.
    pub address: String,
    /// Connections, each with a session: 1 to [`CONNECTIONS_MAX`].
    pub connections: u32,
    /// Commands in flight on each connection: 1 to [`DEPTH_MAX`].
    pub depth: u64,
    /// How long to run before counting begins.
    pub warm_up: Duration,
    /// How long to count.
    pub measured: Duration,
    /// The command, in the machine's own encoding: the same each time.
    pub command: Vec<u8>,
    /// End early on the signals that ask a process to stop, which are then blocked in the calling
    /// thread for good.
    pub heeds_signals: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadResult {
    /// Commands answered while counting.
    pub requests: u64,
    /// How long that was, in seconds.
    pub seconds: f64,
    /// Commands answered per second.
    pub throughput: f64,
    /// Half of the commands were answered within so many microseconds.
    pub p50_us: u64,
    /// 99 of 100 were.
    pub p99_us: u64,
    /// 999 of 1000 were.
    pub p999_us: u64,
    /// All of them were.
    pub max_us: u64,
    /// Replies that were not what was asked for, and connections that were lost. A connection is not
    /// used after its first.
    pub errors: u64,
    /// The first of them, in words.
    pub first_error: Option<String>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The numbers asked for are out of range.
    #[error(
        "{connections} connections with {depth} in flight cannot be measured: use 1 to \
         {CONNECTIONS_MAX} connections and 1 to {DEPTH_MAX} in flight on each"
    )]
    Range {
        /// The connections asked for.
        connections: u32,
        /// The commands in flight asked for.
        depth: u64,
    },
    /// Not every connection got its session in time.
    #[error("{opened} of {wanted} sessions could be opened at {address} ({reason})")]
    Open {
        /// Where.
        address: String,
        /// Sessions that were opened.
        opened: usize,
        /// Sessions that were wanted.
        wanted: usize,
        /// What went wrong.
        reason: String,
    },
    /// No connection is left to measure with.
    #[error("every connection to {address} failed, the first because {reason}")]
    Lost {
        /// Where.
        address: String,
        /// Why the first one did.
        reason: String,
    },
    /// The process was told to stop.
    #[error("interrupted")]
    Interrupted,
    /// This machine refused something: sockets, descriptors, memory.
    #[error("the load generator cannot go on: {0}")]
    Local(#[from] io::Error),
}

/// Puts load on a service and measures.
///
/// # Errors
/// [`LoadError`] if it cannot be begun, or no connection survives.
pub fn run(config: &LoadConfig) -> Result<LoadResult, LoadError> {
    let is_in_range = (1..=CONNECTIONS_MAX).contains(&config.connections)
        && (1..=DEPTH_MAX).contains(&config.depth);
    if !is_in_range {
        return Err(LoadError::Range {
            connections: config.connections,
            depth: config.depth,
        });
    }
    let mut load = Load::new(config)?;
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
    fn take_reply(&mut self, frame: &Frame<'_>) -> Result<Instant, String> {
        let reply = Reply::decode(frame).map_err(|error| error.to_string())?;
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
        self.answered = expected;
        self.seen = reply.seen;
        Ok(self.sent_at[slot(expected)])
    }

    /// Appends request `sequence`.
    fn send(&mut self, sequence: u64, command: &[u8], now: Instant, out: &mut Vec<u8>) {
        self.sent_at[slot(sequence)] = now;
        let request = CommandRequest {
            id: sequence,
            seen: self.seen,
            session: self.session,
            sequence,
            acknowledged: self.answered,
            bytes: command,
        };
        request.encode(out);
    }
}

fn slot(sequence: u64) -> usize {
    usize::try_from(sequence % DEPTH_MAX).expect("less than the number of slots")
}

/// Counts, once it is told to.
#[derive(Debug)]
struct Recorder {
    is_counting: bool,
    requests: u64,
    latencies: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
}

impl Recorder {
    fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS)
            .expect("the bounds are constants that fit");
        Self {
            is_counting: false,
            requests: 0,
            latencies,
            errors: 0,
            first_error: None,
        }
    }

    fn record(&mut self, latency: Duration) {
        if self.is_counting {
            self.requests += 1;
            let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US);
            self.latencies.saturating_record(micros);
        }
    }

    fn fail(&mut self, reason: String) {
        self.errors += 1;
        self.first_error.get_or_insert(reason);
    }

    fn result(self, elapsed: Duration) -> LoadResult {
        let seconds = elapsed.as_secs_f64();
        LoadResult {
            requests: self.requests,
            seconds,
            throughput: self.requests as f64 / seconds.max(f64::MIN_POSITIVE),
            p50_us: self.latencies.value_at_quantile(0.5),
            p99_us: self.latencies.value_at_quantile(0.99),
            p999_us: self.latencies.value_at_quantile(0.999),
            max_us: self.latencies.max(),
            errors: self.errors,
            first_error: self.first_error,
        }
    }
}

#[derive(Debug)]
struct Load<'a> {
    config: &'a LoadConfig,
    net: Net,
    clients: BTreeMap<ConnId, Client>,
    recorder: Recorder,
}

impl<'a> Load<'a> {
    fn new(config: &'a LoadConfig) -> Result<Self, LoadError> {
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
            net,
            clients: BTreeMap::new(),
            recorder: Recorder::new(),
        })
    }

    /// Makes all connections, and opens a session on each.
    fn open(&mut self) -> Result<(), LoadError> {
        let begin = clock::boot();
        let end = begin.plus(OPEN_TIMEOUT);
        let wanted = usize::try_from(self.config.connections).expect("checked against its maximum");
        for _ in 0..wanted {
            self.net.connect(&self.config.address, begin, OPEN_TIMEOUT);
        }
        let mut events = Vec::new();
        while self.clients.len() < wanted {
            let now = self.net.poll(Some(end), &mut events)?.boot;
            for event in events.drain(..) {
                if matches!(event, NetEvent::Signal(_)) {
                    return Err(LoadError::Interrupted);
                }
                self.on_opening_event(&event)
                    .map_err(|reason| self.not_open(reason))?;
            }
            if now >= end && self.clients.len() < wanted {
                return Err(self.not_open("no answer came in time".to_owned()));
            }
        }
        Ok(())
    }

    fn not_open(&self, reason: String) -> LoadError {
        LoadError::Open {
            address: self.config.address.clone(),
            opened: self.clients.len(),
            wanted: usize::try_from(self.config.connections).unwrap_or(usize::MAX),
            reason,
        }
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

    /// Fills every connection, then answers each reply with the next command until time is up.
    fn drive(mut self) -> Result<LoadResult, LoadError> {
        let mut now = clock::boot();
        let ids: Vec<ConnId> = self.clients.keys().copied().collect();
        for conn in ids {
            self.send(conn, 1, now);
        }
        let mut begin = now.plus(self.config.warm_up);
        let mut end = begin.plus(self.config.measured);
        let mut events = Vec::new();
        while now < end {
            let next = if self.recorder.is_counting {
                end
            } else {
                begin
            };
            now = self.net.poll(Some(next), &mut events)?.boot;
            for event in events.drain(..) {
                if matches!(event, NetEvent::Signal(_)) {
                    return Err(LoadError::Interrupted);
                }
                self.on_event(now, event);
            }
            if self.clients.is_empty() {
                return Err(LoadError::Lost {
                    address: self.config.address.clone(),
                    reason: self.recorder.first_error.unwrap_or_default(),
                });
            }
            if !self.recorder.is_counting && now >= begin {
                self.recorder.is_counting = true;
                begin = now;
                end = now.plus(self.config.measured);
            }
        }
        Ok(self.recorder.result(now.since(begin)))
    }

    fn on_event(&mut self, now: Instant, event: NetEvent) {
        match event {
            NetEvent::Input { conn } => self.on_replies(now, conn),
            NetEvent::Closed { conn, reason } => {
                if self.clients.remove(&conn).is_some() {
                    self.recorder.fail(reason.to_string());
                }
            }
            NetEvent::Ready { .. } | NetEvent::Woken | NetEvent::Signal(_) => {}
        }
    }

    fn on_replies(&mut self, now: Instant, conn: ConnId) {
        let Some(client) = self.clients.get_mut(&conn) else {
            return;
        };
        let first_unsent = client.answered + self.config.depth + 1;
        let mut bytes = 0;
        for frame in self.net.frames(conn) {
            bytes += frame.len();
            match client.take_reply(&frame) {
                Ok(sent_at) => self.recorder.record(now.since(sent_at)),
                Err(reason) => {
                    self.recorder.fail(reason);
                    self.clients.remove(&conn);
                    self.net.close(conn);
                    return;
                }
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
        let last = client.answered + self.config.depth;
        let command = &self.config.command;
        self.net.send(conn, |out| {
            for sequence in first..=last {
                client.send(sequence, command, now, out);
            }
        });
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

#[cfg(test)]
mod tests;

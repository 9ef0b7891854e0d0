//! Framed connections over one event loop.
//!
//! [`Net`] owns the sockets of a process: it listens, connects, shakes hands, checks frames and
//! buffers both directions within bounds. It decides nothing about what the frames say.
//!
//! # Run loop
//! Call [`Net::poll`], handle its events (read [`Net::frames`], then [`Net::consume`] them, and
//! [`Net::send`] answers), call [`Net::flush`] once, repeat. Events may be spurious: `poll` may
//! return without any.

mod buffer;
mod busy;
mod conn;
mod end;
mod event;
mod input;
mod limits;
mod open;
mod output;
mod resolve;
mod share;
mod socket;
#[cfg(test)]
mod tests;
mod wait;
mod warnings;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Waker};
use standin_core::frame::Frame;
use standin_core::identity::ClusterId;
use standin_core::machine::MachineId;
use standin_core::message::{Message as _, Party, Refusal};
use standin_core::time::{Duration, Instant};

use crate::clock;
use crate::questions::{Asked, Asker, questions};
use crate::signals::Signals;
use crate::stop::Stop;
use buffer::Pool;
use busy::BusyPoll;
use conn::{Conn, Stage, Table};
use open::Listener;
use resolve::Resolver;
use share::Share;
use warnings::Warnings;

pub use busy::{BUSY_POLL_MICROS, BUSY_POLL_MICROS_MAX};
pub use event::{CloseReason, NetEvent};
pub use limits::*;
pub use standin_core::conn::ConnId;

/// Most readiness events taken from the kernel at once; the rest come with the next wake-up.
const READINESS_EVENTS_MAX: usize = 1024;

/// Who this side is, and its bounds.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// What this process is.
    pub party: Party,
    /// The cluster it belongs to, if it knows.
    pub cluster: Option<ClusterId>,
    /// The machine it runs, if it is a replica.
    pub machine: Option<MachineId>,
    /// The bounds.
    pub limits: NetLimits,
}

/// The sockets of a process and the loop that waits for them.
#[derive(Debug)]
pub struct Net {
    config: NetConfig,
    poll: Poll,
    /// What the kernel said last; kept for its memory.
    readiness: Events,
    waker: Arc<Waker>,
    resolver: Resolver,
    signals: Option<Signals>,
    stop: Option<Stop>,
    listeners: Vec<Listener>,
    /// No connection is accepted before this moment: the process is out of file descriptors.
    accept_after: Option<Instant>,

    conns: Table,
    /// Accepted connections without a hello; ids rise, so the first is the oldest.
    handshaking: BTreeSet<ConnId>,
    /// Refused connections that are still being told why, also the oldest first.
    lingering: BTreeSet<ConnId>,
    /// Accepted connections of clients.
    clients: Share,
    /// Accepted connections of replicas.
    replicas: Share,
    /// When to look at which connection's deadline; at most one entry for each.
    timers: BTreeSet<(Instant, ConnId)>,
    /// Sockets that may have bytes, in the order in which they get their turn.
    to_read: VecDeque<ConnId>,
    /// Connections with unsent bytes.
    dirty: Vec<ConnId>,
    /// Connections with whole frames, reported until these are consumed.
    with_input: Vec<ConnId>,
    /// Connections that have ended but have whole frames left.
    ended: Vec<ConnId>,
    /// Ends that the next poll reports.
    closed: Vec<(ConnId, CloseReason)>,
    is_client_input_paused: bool,
    /// Clients that had something to say while they were paused together. Some may be gone.
    held_back: Vec<ConnId>,
    /// The cluster of whoever was turned away last for being of another one.
    stranger: Option<ClusterId>,

    pool: Pool,
    /// Where every socket is read into; what came is then copied to its connection.
    scratch: Vec<u8>,
    warnings: Warnings,
    busy_poll: BusyPoll,
    /// How often [`Net::poll`] was called.
    wake_ups: u64,
    /// The boot clock after the last sleep.
    now: Instant,
}

/// The whole frames that are buffered of one connection, oldest first.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let frame = Frame::decode_again(self.rest)?;
        self.rest = &self.rest[frame.len()..];
        Some(frame)
    }
}

impl Net {
    /// Makes an event loop without connections.
    ///
    /// # Errors
    /// When the kernel gives no more file descriptors.
    pub fn new(config: NetConfig) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), wait::WAKER)?);
        Ok(Self {
            poll,
            resolver: Resolver::new(Arc::clone(&waker)),
            waker,
            readiness: Events::with_capacity(READINESS_EVENTS_MAX),
            signals: None,
            stop: None,
            listeners: Vec::new(),
            accept_after: None,
            conns: Table::default(),
            handshaking: BTreeSet::new(),
            lingering: BTreeSet::new(),
            clients: Share::default(),
            replicas: Share::default(),
            timers: BTreeSet::new(),
            to_read: VecDeque::new(),
            dirty: Vec::new(),
            with_input: Vec::new(),
            ended: Vec::new(),
            closed: Vec::new(),
            is_client_input_paused: false,
            held_back: Vec::new(),
            stranger: None,
            pool: Pool::default(),
            scratch: vec![0; config.limits.read_bytes_per_conn],
            warnings: Warnings::new(),
            busy_poll: BusyPoll::new(Duration::ZERO),
            wake_ups: 0,
            now: clock::boot(),
            config,
        })
    }

    /// Looks for something to report again and again for so long before each sleep, as long as that mostly pays: to
    /// be woken takes time, too. Other threads may run meanwhile; the processor does not rest. Zero, as it is at
    /// first: never.
    pub fn set_busy_poll(&mut self, most: Duration) {
        self.busy_poll = BusyPoll::new(most);
    }

    /// Accepts connections at an address from now on, and returns the address: port 0 means any.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        self.bind(addr, false)
    }

    /// The same for those who speak another protocol: there is no handshake and there are no frames. Such a connection has
    /// a place among clients, and is not reported before it has said something: all that arrives is its input
    /// ([`Net::input`]).
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn listen_plain(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        self.bind(addr, true)
    }

    /// Accepts no more connections from now on. Those that are there stay.
    pub fn stop_listening(&mut self) {
        self.listeners.clear();
    }

    fn bind(&mut self, addr: SocketAddr, is_plain: bool) -> io::Result<SocketAddr> {
        // Binds with SO_REUSEADDR, so that a restarted process need not wait for old connections.
        let mut socket = mio::net::TcpListener::bind(addr)?;
        socket::widen_backlog(&socket)?;
        let bound = socket.local_addr()?;
        let token = wait::listener_token(self.listeners.len());
        let registry = self.poll.registry();
        registry.register(&mut socket, token, Interest::READABLE)?;
        self.listeners.push(Listener::new(socket, is_plain));
        Ok(bound)
    }

    /// Begins to connect to `HOST:PORT`. Does not block: a name is looked up by the operating system on
    /// a thread of its own, and several connections to the same name wait for the same answer.
    ///
    /// The handshake must be done within `timeout`, looking up the name included. Success shows as
    /// [`NetEvent::Ready`], failure as [`NetEvent::Closed`]. What is sent before that follows the hello.
    pub fn connect(&mut self, addr: &str, now: Instant, timeout: Duration) -> ConnId {
        self.open(addr, now, timeout)
    }

    /// What other threads use to make [`Net::poll`] return with [`NetEvent::Woken`].
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// What other threads ask this loop by, and what it looks at on [`NetEvent::Woken`]. At most `waiting_max` questions
    /// wait at a time.
    #[must_use]
    pub fn questions<T>(&self, waiting_max: usize) -> (Asker<T>, Asked<T>) {
        questions(waiting_max, self.waker())
    }

    /// Reports signals as [`NetEvent::Signal`] from now on.
    ///
    /// # Errors
    /// When the kernel does not let the loop wait for them.
    pub fn watch_signals(&mut self, signals: Signals) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        let fd = signals.as_raw_fd();
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd), wait::SIGNALS, Interest::READABLE)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Reports it as [`NetEvent::Signal`], too, when `stop` is asked for.
    pub fn watch_stop(&mut self, stop: Stop) {
        stop.wake_with(self.waker());
        self.stop = Some(stop);
    }

    /// Names the cluster in every handshake from now on.
    pub fn set_cluster(&mut self, cluster: ClusterId) {
        self.config.cluster = Some(cluster);
    }

    /// The cluster of the replica that was turned away last since this was asked, because it is of another one.
    pub fn take_stranger(&mut self) -> Option<ClusterId> {
        self.stranger.take()
    }

    /// Lets `write` append whole frames to a connection's output. Nothing is sent before
    /// [`Net::flush`] or [`Net::poll`]. False: the connection is gone, and `write` was not called or
    /// what it wrote was dropped.
    ///
    /// To a client, each call answers one of its frames: one that waits for no answer is the first to
    /// give way when there are too many.
    pub fn send(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.send_answers(conn, 1, write)
    }

    /// The same, where what `write` appends answers so many frames.
    pub fn send_answers(
        &mut self,
        conn: ConnId,
        answers: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some(found) = self.conns.get_mut(conn).filter(|found| found.is_open()) else {
            return false;
        };
        write(found.output.tail(&mut self.pool));
        if !found.is_dirty && !found.output.is_empty() {
            found.is_dirty = true;
            self.dirty.push(conn);
        }
        found.answers_owed = found.answers_owed.saturating_sub(answers);
        let bytes = found.output.len();
        self.recount(conn);
        if bytes > self.config.limits.output_bytes_max {
            self.finish(conn, CloseReason::OutputFull { bytes });
            return false;
        }
        self.relieve_kind_of(conn);
        self.conns.get(conn).is_some_and(Conn::is_open)
    }

    /// Drops bytes from the front of a connection's input: the sum of `frame.len()` of the frames
    /// that are done with.
    pub fn consume(&mut self, conn: ConnId, bytes: usize) {
        let Some(found) = self.conns.get_mut(conn) else {
            return;
        };
        // Refusing it has dropped them already.
        if matches!(found.stage, Stage::Lingering) {
            return;
        }
        assert!(bytes <= found.whole, "{bytes} bytes of {}", found.whole);
        found.whole -= bytes;
        found.waits_since = self.wake_ups + 1;
        found.input.consume(bytes, &mut self.pool);
        self.recount(conn);
        self.queue_read(conn);
    }

    /// Stops or continues reading and reporting a connection's input. Nothing is lost meanwhile.
    pub fn pause_input(&mut self, conn: ConnId, paused: bool) {
        if let Some(found) = self.conns.get_mut(conn) {
            found.is_paused = paused;
            self.release(conn);
        }
    }

    /// Stops or continues reading and reporting the input of all accepted connections whose hello
    /// said [`Party::Client`], those to come included.
    pub fn pause_client_input(&mut self, paused: bool) {
        let was_paused = std::mem::replace(&mut self.is_client_input_paused, paused);
        if paused || !was_paused {
            return;
        }
        // Those alone, and not all clients: an overloaded owner pauses and continues with every wake-up.
        let mut held_back = std::mem::take(&mut self.held_back);
        for id in held_back.drain(..) {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.is_held_back = false;
                self.release(id);
            }
        }
        self.held_back = held_back;
    }

    /// Says why to the other side, and closes the connection once that is sent.
    pub fn refuse(&mut self, conn: ConnId, refusal: Refusal) {
        let may_be_told = |found: &&mut Conn| found.is_open() && found.is_connected();
        let Some(found) = self.conns.get_mut(conn).filter(may_be_told) else {
            return self.close(conn);
        };
        if found.output.len() >= self.config.limits.output_bytes_high {
            // It does not read. What it is refused for would wait behind all that.
            return self.drop_conn(conn, CloseReason::RefusedHere(refusal));
        }
        refusal.encode(found.output.tail(&mut self.pool));
        if !found.is_dirty {
            found.is_dirty = true;
            self.dirty.push(conn);
        }
        self.linger(conn, CloseReason::RefusedHere(refusal));
    }

    /// Closes a connection at once; what is unsent is dropped, and so is what is not consumed.
    pub fn close(&mut self, conn: ConnId) {
        let Some(found) = self.conns.get(conn) else {
            return;
        };
        match found.stage {
            // Gone for the owner already, who may still hold its id: leave it to be told why.
            Stage::Lingering => {}
            Stage::Resolving(_) | Stage::Connecting(_) | Stage::AwaitHello | Stage::Ready => {
                self.drop_conn(conn, CloseReason::Here);
            }
        }
    }

    /// The whole frames that are buffered of a connection, without consuming them; none if it is
    /// gone. Their checksums have been checked.
    #[must_use]
    pub fn frames(&self, conn: ConnId) -> Frames<'_> {
        let rest = match self.conns.get(conn) {
            Some(found) => &found.input.as_slice()[..found.whole],
            None => &[],
        };
        Frames { rest }
    }

    /// Whether a connection came by [`Net::listen_plain`].
    #[must_use]
    pub fn is_plain(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(|found| found.is_plain)
    }

    /// Whether a connection is there, so that something can be sent on it.
    #[must_use]
    pub fn is_there(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(Conn::is_open)
    }

    /// Whether a plain connection is still there to say something: it may have been closed, which is reported by the next
    /// poll only.
    #[must_use]
    pub fn may_speak(&self, conn: ConnId) -> bool {
        let is_lingering = |found: &Conn| matches!(found.stage, Stage::Lingering);
        let found = self.conns.get(conn);
        found.is_some_and(|found| found.is_plain && !is_lingering(found))
    }

    /// All that has arrived of a plain connection and was not consumed; nothing if it is gone.
    #[must_use]
    pub fn input(&self, conn: ConnId) -> &[u8] {
        let plain = self.conns.get(conn).filter(|found| found.is_plain);
        plain.map_or(&[], |found| &found.input.as_slice()[..found.whole])
    }

    /// What is left of a plain connection's input is the beginning of something: it is reported again once more has
    /// come, and may grow up to [`PLAIN_INPUT_BYTES_MAX`]. False: nothing more will come. The connection stays, to be
    /// answered on, until it is closed.
    pub fn await_more(&mut self, conn: ConnId) -> bool {
        let Some(found) = self.conns.get_mut(conn).filter(|found| found.is_plain) else {
            return false;
        };
        if found.end.is_some() {
            found.whole = 0; // of what has begun nothing comes any more
            return false;
        }
        if found.is_input_over {
            found.awaits_more = true; // in vain
            return false;
        }
        found.awaits_more = found.whole > 0;
        self.queue_read(conn);
        true
    }

    /// Closes a connection once what was sent on it has left. What it says meanwhile is dropped.
    pub fn close_when_sent(&mut self, conn: ConnId) {
        if self.output_bytes(conn) == 0 {
            return self.close(conn);
        }
        // Before it lingers: of those there are only so many, and others may have to go.
        self.write_socket(conn);
        if !self.conns.get(conn).is_some_and(Conn::is_open) {
            return self.close(conn);
        }
        self.linger(conn, CloseReason::Here);
        if self.output_bytes(conn) == 0 {
            self.end_lingering_output(conn);
        }
    }

    /// Whether more is to come for a plain connection than what was sent: if so, it keeps its place though others want
    /// one.
    pub fn owe(&mut self, conn: ConnId, is_owed: bool) {
        if let Some(found) = self.conns.get_mut(conn).filter(|found| found.is_plain) {
            found.answers_owed = u64::from(is_owed);
        }
    }

    /// Whether the other side has closed its direction of a connection. What it said before may not be read yet.
    #[must_use]
    pub fn has_hung_up(&self, conn: ConnId) -> bool {
        self.conns
            .get(conn)
            .is_some_and(|found| found.is_end_hinted)
    }

    /// Unsent bytes of a connection; zero if it is gone.
    #[must_use]
    pub fn output_bytes(&self, conn: ConnId) -> usize {
        self.conns.get(conn).map_or(0, |found| found.output.len())
    }

    /// Connections that are open or being opened, those included whose handshake is not done.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.conns.len() - self.ended.len()
    }

    /// The other side's address, if the connection has one.
    #[must_use]
    pub fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        self.conns.get(conn)?.peer
    }
}

/// The parts that the modules below share.
impl Net {
    /// Whether a connection's input is neither read nor reported at the moment.
    fn is_held(&self, conn: &Conn) -> bool {
        // Only a client's input is held for its output: it makes us answer. A replica's input says
        // what has arrived and so makes the output shorter; and were the connecting side held too,
        // both could wait for the other for ever.
        let is_output_high = conn.output.len() >= self.config.limits.output_bytes_high;
        conn.is_paused || conn.is_client() && (self.is_client_input_paused || is_output_high)
    }

    /// Continues with what was kept waiting, if nothing holds the connection any more.
    fn release(&mut self, id: ConnId) {
        self.queue_read(id);
        self.list_input(id);
    }

    /// Queues a socket to be read, if it may be.
    fn queue_read(&mut self, id: ConnId) {
        if !self.conns.get(id).is_some_and(|conn| self.may_read(conn)) {
            self.hold_back(id);
        } else if let Some(conn) = self.conns.get_mut(id)
            && !conn.is_queued
        {
            conn.is_queued = true;
            self.to_read.push_back(id);
        }
    }

    /// Lists a connection as having whole frames, if it has and they may be reported.
    fn list_input(&mut self, id: ConnId) {
        if !self.conns.get(id).is_some_and(|conn| self.may_report(conn)) {
            self.hold_back(id);
        } else if let Some(conn) = self.conns.get_mut(id)
            && !conn.is_listed
        {
            conn.is_listed = true;
            self.with_input.push(id);
        }
    }

    /// Notes a connection that may not be read or reported now, if that may be because all clients are paused.
    fn hold_back(&mut self, id: ConnId) {
        if !self.is_client_input_paused {
            return;
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let has_something = conn.is_readable || conn.whole > 0 || conn.is_input_over;
        if !conn.is_client() || !has_something || conn.is_held_back {
            return;
        }
        conn.is_held_back = true;
        self.held_back.push(id);
        // Clients may come and go for as long as the pause lasts.
        if self.held_back.len() > 2 * self.conns.len() {
            let conns = &self.conns;
            self.held_back.retain(|&id| conns.get(id).is_some());
        }
    }

    fn may_read(&self, conn: &Conn) -> bool {
        // The owner is behind; what it has not consumed is bounded by this.
        let has_room = conn.whole < self.config.limits.read_bytes_per_conn
            || (conn.awaits_more && conn.whole < self.config.limits.plain_input_bytes_max);
        conn.is_readable
            && conn.is_connected()
            && has_room
            && conn.stream.is_some()
            && !self.is_held(conn)
    }

    fn may_report(&self, conn: &Conn) -> bool {
        let has_news = conn.whole > 0 || conn.is_input_over;
        has_news && !conn.awaits_more && !self.is_held(conn)
    }
}

//! Connections between simulated processes.
//!
//! A connection is TCP's: what arrives, arrives in order and whole; what was under way when it breaks
//! is lost from some point on. So messages are lost with their connection, come twice because they
//! are sent again over another, and overtake each other only across connections. A link between two
//! hosts can be blocked in one direction or both: what is sent waits, as TCP would send it again, or
//! the connection breaks. A half-open connection lets nothing through and tells nobody.

use standin_core::conn::ConnId;
use standin_core::message::{Party, Refusal};
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant};
use standin_io::net::NetLimits;

use super::draw::Draw as _;
use super::queue::{Coming, Queue};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Something that a host's kernel has for its process.
#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    /// Somebody connects.
    Accepted(Party),
    /// The connection that was asked for is ready.
    Ready,
    /// A frame.
    Frame(Vec<u8>),
    /// The connection is gone; the other side may have said why.
    Closed(Option<Refusal>),
    /// Another thread of the process has woken the loop.
    Woken,
    /// A frame of the parent of a replica's process, over a connection that is otherwise not looked at.
    Proof(Vec<u8>),
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
struct End {
    host: usize,
    /// The life of the process that has it.
    life: u64,
    /// The name under which that process knows the connection; `None`: it was not accepted yet.
    id: Option<ConnId>,
    is_open: bool,
    /// When the last thing that was sent to this end arrives.
    last: Instant,
    /// Nothing that arrives at this end later than this does arrive.
    cut_at: Instant,
}

#[derive(Clone, Debug)]
struct Conn {
    ends: [End; 2],
    party: Party,
    is_ready: bool,
}

/// All connections, and what is wrong with the links under them.
#[derive(Debug)]
pub(crate) struct Network {
    conns: Vec<Conn>,
    /// Where each name of a connection leads: the connection and its end.
    names: Vec<(usize, usize)>,
    /// By sender and receiver: nothing gets through before.
    blocked_until: Vec<Vec<Instant>>,
    /// The usual time of a message on its way.
    latency: Duration,
    /// Until when messages take much longer, and how much.
    slow: (Instant, Duration),
    /// Until when so many messages in a thousand are damaged on their way.
    damage: (Instant, u64),
    /// How long a kernel keeps up a connection whose other side is not heard of.
    silence: Duration,
    random: RandomStream,
    pub(crate) damaged: u64,
}

const NEVER: Instant = Instant::from_nanos(u64::MAX);

impl Network {
    pub(crate) fn new(hosts: usize, latency: Duration, random: RandomStream) -> Self {
        Self {
            conns: Vec::new(),
            names: Vec::new(),
            blocked_until: vec![vec![Instant::ZERO; hosts]; hosts],
            latency,
            slow: (Instant::ZERO, Duration::ZERO),
            damage: (Instant::ZERO, 0),
            silence: NetLimits::default().peer_silence_timeout,
            random,
            damaged: 0,
        }
    }

    fn name(&mut self, conn: usize, end: usize) -> ConnId {
        self.names.push((conn, end));
        ConnId(self.names.len() as u64 - 1)
    }

    /// A connection that `from` wants to `to`; it begins to come about with [`Network::knock`].
    pub(crate) fn dial(&mut self, from: (usize, u64), to: usize, party: Party) -> ConnId {
        let end = |host, life| End {
            host,
            life,
            id: None,
            is_open: true,
            last: Instant::ZERO,
            cut_at: NEVER,
        };
        self.conns.push(Conn {
            ends: [end(from.0, from.1), end(to, 0)],
            party,
            is_ready: false,
        });
        let conn = self.conns.len() - 1;
        let id = self.name(conn, 0);
        self.conns[conn].ends[0].id = Some(id);
        id
    }

    /// The first packet of a connection leaves.
    pub(crate) fn knock(&mut self, id: ConnId, now: Instant, queue: &mut Queue) {
        let (conn, _) = self.names[place(id)];
        let at = self.arrival(conn, 1, now);
        queue.at(at, Coming::Knock(conn));
        queue.at(now.plus(CONNECT_TIMEOUT), Coming::DialTimeout(conn));
    }

    /// It arrives. `life` is that of the process there; `None`: nobody listens, though the machine is
    /// on. The name of the connection for that process.
    pub(crate) fn on_knock(
        &mut self,
        conn: usize,
        life: Option<u64>,
        now: Instant,
        queue: &mut Queue,
    ) -> Option<(usize, ConnId, Party)> {
        if self.is_cut(conn, 1, now) {
            return None;
        }
        let Some(life) = life else {
            self.conns[conn].ends[1].is_open = false;
            self.tell_closed(conn, 0, None, now, queue);
            return None;
        };
        let id = self.name(conn, 1);
        let end = &mut self.conns[conn].ends[1];
        (end.life, end.id) = (life, Some(id));
        Some((end.host, id, self.conns[conn].party))
    }

    /// The process that was called has taken the connection and says so.
    pub(crate) fn accept(&mut self, id: ConnId, now: Instant, queue: &mut Queue) {
        let (conn, _) = self.names[place(id)];
        let at = self.arrival(conn, 0, now);
        queue.at(at, Coming::Arrive(conn, 0, Arrival::Ready));
    }

    /// A connection that did not come about in time: the process that wanted it gives it up by itself.
    pub(crate) fn on_dial_timeout(
        &mut self,
        conn: usize,
        life: Option<u64>,
    ) -> Option<(usize, ConnId, Arrival)> {
        if self.conns[conn].is_ready {
            return None;
        }
        self.on_break(conn, 0, life)
    }

    /// A frame leaves.
    pub(crate) fn send(&mut self, id: ConnId, mut frame: Vec<u8>, now: Instant, queue: &mut Queue) {
        let (conn, end) = self.names[place(id)];
        if !self.conns[conn].ends[end].is_open {
            return;
        }
        if now < self.damage.0 && self.random.chance(self.damage.1) {
            let bit = usize::try_from(self.random.below(frame.len() as u64 * 8)).expect("short");
            frame[bit / 8] ^= 1 << (bit % 8);
            self.damaged += 1;
        }
        let at = self.arrival(conn, 1 - end, now);
        queue.at(at, Coming::Arrive(conn, 1 - end, Arrival::Frame(frame)));
    }

    /// One side closes a connection.
    pub(crate) fn close(
        &mut self,
        id: ConnId,
        why: Option<Refusal>,
        now: Instant,
        queue: &mut Queue,
    ) {
        let (conn, end) = self.names[place(id)];
        if std::mem::replace(&mut self.conns[conn].ends[end].is_open, false) {
            let at = self.arrival(conn, 1 - end, now);
            queue.at(at, Coming::Arrive(conn, 1 - end, Arrival::Closed(why)));
        }
    }

    /// Something arrives at an end. What the process there gets of it, if anything.
    pub(crate) fn on_arrive(
        &mut self,
        (conn, end): (usize, usize),
        arrival: Arrival,
        host: HostState,
        now: Instant,
        queue: &mut Queue,
    ) -> Option<(usize, ConnId, Arrival)> {
        if self.is_cut(conn, end, now) {
            return None;
        }
        let here = self.conns[conn].ends[end];
        let is_alive = host.life == Some(here.life);
        if !here.is_open || !is_alive {
            // The kernel of a machine that is on says that nobody is there any more.
            if host.is_on && matches!(arrival, Arrival::Frame(_)) {
                self.tell_closed(conn, 1 - end, None, now, queue);
            }
            return None;
        }
        match arrival {
            Arrival::Ready => self.conns[conn].is_ready = true,
            Arrival::Closed(_) => self.conns[conn].ends[end].is_open = false,
            Arrival::Accepted(_) | Arrival::Frame(_) | Arrival::Woken | Arrival::Proof(_) => {}
        }
        Some((here.host, here.id?, arrival))
    }

    /// A process has ended: its kernel closes what it had open.
    pub(crate) fn close_all_of(&mut self, host: usize, life: u64, now: Instant, queue: &mut Queue) {
        for (conn, end) in self.open_ends(host, life) {
            self.conns[conn].ends[end].is_open = false;
            let at = self.arrival(conn, 1 - end, now);
            queue.at(at, Coming::Arrive(conn, 1 - end, Arrival::Closed(None)));
        }
    }

    /// A machine is off: nobody says anything, and the other ends find out by and by.
    pub(crate) fn forget_all_of(
        &mut self,
        host: usize,
        life: u64,
        now: Instant,
        queue: &mut Queue,
    ) {
        for (conn, end) in self.open_ends(host, life) {
            self.conns[conn].ends[end].is_open = false;
            queue.at(now.plus(self.silence), Coming::Break(conn, 1 - end));
        }
    }

    fn open_ends(&self, host: usize, life: u64) -> Vec<(usize, usize)> {
        let is_its = |end: &End| end.host == host && end.life == life && end.is_open;
        let ends = self
            .conns
            .iter()
            .enumerate()
            .flat_map(|(conn, it)| [(conn, 0, it.ends[0]), (conn, 1, it.ends[1])]);
        ends.filter(|(_, _, end)| end.id.is_some() && is_its(end))
            .map(|(conn, end, _)| (conn, end))
            .collect()
    }

    /// Connections of a host that are open at both ends.
    pub(crate) fn whole_conns_of(&self, host: usize) -> Vec<usize> {
        let is_whole = |conn: &Conn| conn.ends.iter().all(|end| end.is_open && end.id.is_some());
        let conns = self.conns.iter().enumerate();
        conns
            .filter(|(_, conn)| is_whole(conn) && conn.ends.iter().any(|end| end.host == host))
            .map(|(at, _)| at)
            .collect()
    }

    /// Breaks a connection: what is under way is lost from some moment on, in each direction. Each end
    /// may hear of it, late (half-open), or never.
    pub(crate) fn break_conn(&mut self, conn: usize, now: Instant, queue: &mut Queue) {
        // Something in between goes on acknowledging for the other side: no kernel ever finds out.
        let is_never_told = self.random.chance(100);
        for end in [0, 1] {
            let grace = self.random.between(Duration::ZERO, self.latency * 2);
            self.conns[conn].ends[end].cut_at = now.plus(grace);
            if is_never_told {
                continue;
            }
            // Half-open: the kernel gives the connection up only when all its probes went unheard.
            let wait = if self.random.chance(700) {
                grace
            } else {
                self.silence
            };
            queue.at(now.plus(wait), Coming::Break(conn, end));
        }
    }

    /// An end hears that its connection is broken.
    pub(crate) fn on_break(
        &mut self,
        conn: usize,
        end: usize,
        life: Option<u64>,
    ) -> Option<(usize, ConnId, Arrival)> {
        let here = &mut self.conns[conn].ends[end];
        if !here.is_open || life != Some(here.life) {
            return None;
        }
        here.is_open = false;
        Some((here.host, here.id?, Arrival::Closed(None)))
    }

    /// The host that an end of a connection is at.
    pub(crate) fn host_of(&self, conn: usize, end: usize) -> usize {
        self.conns[conn].ends[end].host
    }

    /// Blocks one direction of a link. If it takes long the kernels give up the connections over it.
    pub(crate) fn block(
        &mut self,
        (from, to): (usize, usize),
        until: Instant,
        now: Instant,
        queue: &mut Queue,
    ) {
        let blocked = &mut self.blocked_until[from][to];
        *blocked = until.max(*blocked);
        if until <= now.plus(self.silence) {
            return;
        }
        let is_over = |conn: &Conn| {
            let hosts = [conn.ends[0].host, conn.ends[1].host];
            hosts == [from, to] || hosts == [to, from]
        };
        for (at, conn) in self.conns.iter().enumerate() {
            for end in [0, 1] {
                if is_over(conn) && conn.ends[end].is_open {
                    queue.at(now.plus(self.silence), Coming::Break(at, end));
                }
            }
        }
    }

    /// Lets everything through again that is not blocked for good.
    pub(crate) fn unblock_all(&mut self, now: Instant) {
        for until in self.blocked_until.iter_mut().flatten() {
            *until = (*until).min(now);
        }
        self.slow.0 = now;
        self.damage.0 = now;
    }

    /// Messages take up to so much longer for a while.
    pub(crate) fn slow_down(&mut self, until: Instant, by: Duration) {
        self.slow = (until, by);
    }

    /// So many messages in a thousand come to harm for a while.
    pub(crate) fn set_damage(&mut self, until: Instant, per_mille: u64) {
        self.damage = (until, per_mille);
    }

    fn is_cut(&self, conn: usize, end: usize, now: Instant) -> bool {
        now > self.conns[conn].ends[end].cut_at
    }

    fn tell_closed(
        &mut self,
        conn: usize,
        end: usize,
        why: Option<Refusal>,
        now: Instant,
        queue: &mut Queue,
    ) {
        let at = self.arrival(conn, end, now);
        queue.at(at, Coming::Arrive(conn, end, Arrival::Closed(why)));
    }

    /// When something that is sent to an end now arrives there: after all before it.
    fn arrival(&mut self, conn: usize, end: usize, now: Instant) -> Instant {
        let (from, to) = (
            self.conns[conn].ends[1 - end].host,
            self.conns[conn].ends[end].host,
        );
        let blocked = self.blocked_until[from][to];
        let start = if blocked > now {
            // Sent again and again with longer and longer pauses: what a link held up comes late, and
            // may come after what a new connection brings.
            blocked.plus(self.random.between(Duration::ZERO, blocked.since(now)))
        } else {
            now
        };
        let mut wait = self.random.between(self.latency / 2, self.latency * 3 / 2);
        if now < self.slow.0 {
            wait += self.random.between(Duration::ZERO, self.slow.1);
        }
        let last = &mut self.conns[conn].ends[end].last;
        *last = start.plus(wait).max(*last);
        *last
    }
}

/// A host as its network sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostState {
    /// The machine is on.
    pub(crate) is_on: bool,
    /// The life of the process that runs there, if one does.
    pub(crate) life: Option<u64>,
}

fn place(id: ConnId) -> usize {
    usize::try_from(id.0).expect("a place in memory")
}

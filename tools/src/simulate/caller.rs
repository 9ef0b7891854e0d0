//! A client's process in the simulator: the real [`ClientCore`], and somebody who makes calls.

use std::collections::{BTreeMap, VecDeque};

use standin_client::{
    Action, Answer, ClientCore, ClientError, ConnectionId, Consistency, CoreConfig, Event, Request,
    Trouble, ViewServices, WithoutRoom, Work,
};
use standin_core::conn::ConnId;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
use standin_core::message::{
    CommandRequest, CommandRequests, Lookup, LookupReply, Message as _, Party, Refusal, Replies,
    Reply, ReplyStatus,
};
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant, earliest};

use super::direct::Directs;
use super::draw::Draw as _;
use super::fact::{End, Fact};
use super::marks::Mark;
use super::network::Arrival;
use super::plan::Plan;
use super::stage::{Stage, address_of, host_at};
use super::watched::{Subject, command, split};

/// Frames of commands that are remembered, to be sent again by somebody else.
const REMEMBERED_MAX: usize = 8;

/// Longest time that a client thinks before its next call if it is in a hurry.
const HASTE: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    ViewService,
    Replica,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    connection: ConnectionId,
    conn: ConnId,
    side: Side,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Caller {
    core: ClientCore,
    client: usize,
    /// It makes no calls but reads of this kind.
    reads_alone: Option<Consistency>,
    viewservice: usize,
    links: Vec<Link>,
    /// Calls that have not returned, by the core's number for the request.
    open: BTreeMap<u64, u64>,
    made: u64,
    /// Calls that are still to be made.
    pub(crate) remaining: u32,
    next_at: Instant,
    /// How long a call may take, at least and at most.
    patience: (Duration, Duration),
    calls_open: usize,
    pause: Duration,
    /// How long it falls silent now and then.
    silence: Duration,
    /// Connections that the fault of sending again made, and what is to go over them.
    stray: Vec<(ConnId, Vec<u8>)>,
    /// The frames of commands that are open, by call, as they were sent last.
    sent: BTreeMap<u64, Vec<u8>>,
    /// What it was answered last.
    last_reply: Option<Vec<u8>>,
    /// The frames of commands that were answered.
    remembered: VecDeque<Vec<u8>>,
    /// Its next command is one that makes the machine fail, in this way; 0 if it is not.
    poison_next: u64,
    /// On which hosts its next command ends the process, as bits of the call's number.
    next_deadly: u64,
    /// Commands of it that belong to no session, and the replica that it asked last.
    directs: Directs,
    replica: Option<usize>,
    /// So many calls had been made when the faults ended.
    made_before_healing: Option<u64>,
    /// How a call that was made after that failed.
    pub(crate) failed_since_healing: Option<String>,
}

impl Caller {
    pub(crate) fn new(client: usize, plan: &Plan, now: Instant, random: &mut RandomStream) -> Self {
        let addresses = address_of(plan.service());
        let config = CoreConfig {
            view_services: ViewServices::parse(&addresses).expect("an address"),
            jitter_seed: random.next_u64(),
            without_room: WithoutRoom::Wait,
        };
        Self {
            core: ClientCore::new(config),
            client,
            reads_alone: draw_reads_alone(client, random),
            viewservice: plan.service(),
            links: Vec::new(),
            open: BTreeMap::new(),
            made: 0,
            remaining: plan.calls.unwrap_or(u32::MAX),
            next_at: now,
            patience: (plan.term / 2, plan.term * 8),
            calls_open: plan.calls_open,
            pause: plan.pause,
            silence: plan.silence(),
            stray: Vec::new(),
            sent: BTreeMap::new(),
            last_reply: None,
            remembered: VecDeque::new(),
            poison_next: 0,
            next_deadly: 0,
            directs: Directs::new(plan.seed, client, plan.term * 2),
            replica: None,
            made_before_healing: None,
            failed_since_healing: None,
        }
    }

    /// Whether it makes no calls but reads.
    pub(crate) fn only_reads(&self) -> bool {
        self.reads_alone.is_some()
    }

    /// From here on calls must be answered: some more are made, patiently.
    pub(crate) fn heal(&mut self, calls: u32, patience: Duration) {
        self.remaining = calls;
        self.patience = (patience, patience);
        self.directs.end();
        self.made_before_healing = Some(self.made);
        (self.poison_next, self.next_deadly) = (0, 0);
    }

    /// Its next command is to make the machine fail, in this way; false if it makes none.
    pub(crate) fn poison_next(&mut self, how: u64) -> bool {
        let makes_one = self.reads_alone.is_none() && self.remaining > 0;
        self.poison_next = if makes_one { how } else { 0 };
        makes_one
    }

    /// Its next command is to end the processes on the hosts that these bits name; false if it makes none.
    pub(crate) fn doom_next(&mut self, deadly: u64) -> bool {
        let makes_any = self.reads_alone.is_none() && self.remaining > 0;
        self.next_deadly = if makes_any { deadly } else { 0 };
        makes_any
    }

    /// Whether everything that was to be asked has been, and has returned.
    pub(crate) fn is_done(&self) -> bool {
        self.remaining == 0 && self.open.is_empty()
    }

    pub(crate) fn turn<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        arrivals: &mut VecDeque<(ConnId, Arrival)>,
    ) {
        let now = stage.read_clock().boot;
        for (conn, arrival) in arrivals.drain(..) {
            self.on_arrival(stage, now, conn, arrival);
        }
        if self.core.deadline().is_some_and(|at| at <= now) {
            self.handle(stage, now, Event::Deadline);
        }
        self.directs.expire(stage, now);
        while self.remaining > 0 && self.open.len() < self.calls_open && now >= self.next_at {
            self.call(stage, now);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let wants_to = self.remaining > 0 && self.open.len() < self.calls_open;
        let own = earliest(self.directs.deadline(), wants_to.then_some(self.next_at));
        earliest(self.core.deadline(), own)
    }

    /// Somebody sends a command again that this client sent once, long after.
    pub(crate) fn send_again<M: Subject>(&mut self, stage: &mut Stage<'_, M>, to: usize) -> bool {
        let Some(frame) = self.remembered.pop_front() else {
            return false;
        };
        let conn = stage.dial(to, Party::Client);
        self.stray.push((conn, frame));
        true
    }

    fn call<M: Subject>(&mut self, stage: &mut Stage<'_, M>, now: Instant) {
        self.remaining -= 1;
        self.made += 1;
        let id = self.made;
        let mut call = (self.client as u64) << 32 | id;
        let work = match stage.random.below(20) {
            _ if let Some(kind) = self.reads_alone => query::<M>(stage.random, kind),
            0..14 => {
                call |= std::mem::take(&mut self.next_deadly);
                call |= std::mem::take(&mut self.poison_next);
                let drawn = M::draw_command(stage.random, self.last_reply.as_deref());
                Work::Command(command(call, &drawn))
            }
            14..18 => query::<M>(stage.random, Consistency::Confirmed),
            18 => query::<M>(stage.random, Consistency::Lease),
            _ => query::<M>(stage.random, Consistency::Stale),
        };
        let (input, asked) = match &work {
            Work::Command(bytes) => (bytes.as_slice(), None),
            Work::Query { bytes, consistency } => (bytes.as_slice(), Some(*consistency)),
            Work::CloseSession => (&[][..], None),
        };
        stage.saw(&Fact::Called {
            call,
            client: self.client,
            input,
            asked,
        });
        self.open.insert(id, call);
        self.next_at = now.plus(self.think(stage.random));
        let patience = stage.random.between(self.patience.0, self.patience.1);
        let request = Request {
            id,
            deadline: now.plus(patience),
            work,
        };
        self.handle(stage, now, Event::Submit(request));
        self.directs.beside_call(stage, now, self.replica);
    }

    /// How long it waits before its next call.
    fn think(&self, random: &mut RandomStream) -> Duration {
        match random.below(100) {
            0..3 => self.silence,
            3..30 => random.between(Duration::ZERO, self.pause.min(HASTE)),
            _ => random.between(Duration::ZERO, self.pause),
        }
    }

    fn handle<M: Subject>(&mut self, stage: &mut Stage<'_, M>, now: Instant, event: Event<'_>) {
        if !matches!(event, Event::Submit(_)) {
            let (at, host) = (stage.now, stage.host);
            stage.trace.line(at, host, || format!("{event:?}"));
        }
        self.core.handle(now, event);
        while let Some(action) = self.core.next_action() {
            let (at, host) = (stage.now, stage.host);
            stage.trace.line(at, host, || format!("{action:?}"));
            match action {
                Action::ConnectViewService { connection, .. } => {
                    let conn = stage.dial(self.viewservice, Party::Client);
                    self.add(connection, conn, Side::ViewService);
                }
                Action::ConnectReplica {
                    connection,
                    address,
                } => {
                    let to = host_at(&address).expect("only our addresses are handed out");
                    self.replica = Some(to);
                    let conn = stage.dial(to, Party::Client);
                    self.add(connection, conn, Side::Replica);
                }
                Action::SendLookup { connection } => {
                    if let Some(link) = self.link_of(connection) {
                        stage.send(link.conn, |out| Lookup.encode(out));
                    }
                }
                Action::Send { connection, bytes } => self.send(stage, connection, &bytes),
                Action::CloseViewService { connection } | Action::CloseReplica { connection } => {
                    if let Some(link) = self.link_of(connection) {
                        stage.close(link.conn, None);
                        self.links.retain(|other| other.connection != connection);
                    }
                }
                Action::Complete { id, result } => self.complete(stage, id, &result),
            }
        }
    }

    /// Sends whole frames, of which there may be several.
    fn send<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        connection: ConnectionId,
        bytes: &[u8],
    ) {
        let Some(link) = self.link_of(connection) else {
            return;
        };
        let mut rest = bytes;
        while let Ok(Some(frame)) = Frame::decode(rest, FRAME_PAYLOAD_BYTES_MAX) {
            let (one, after) = rest.split_at(frame.len());
            self.note_sent(&frame);
            stage.send(link.conn, |out| out.extend_from_slice(one));
            rest = after;
        }
        assert!(rest.is_empty(), "a client sends whole frames");
    }

    /// Keeps each command in this frame as it would be by itself: it may be sent again when nobody waits for it any more.
    fn note_sent(&mut self, frame: &Frame<'_>) {
        let mut keep = |request: CommandRequest<'_>| {
            if let Some((call, _)) = split(request.bytes) {
                let mut bytes = Vec::new();
                request.encode(&mut bytes);
                self.sent.insert(call, bytes);
            }
        };
        match frame.kind {
            FrameKind::Command => CommandRequest::decode(frame).into_iter().for_each(keep),
            FrameKind::Commands => {
                let several = CommandRequests::decode(frame).expect("our own commands are sound");
                several.iter().for_each(&mut keep);
            }
            _ => {}
        }
    }

    fn complete<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        id: u64,
        result: &Result<Answer, ClientError>,
    ) {
        let call = self.open.remove(&id).expect("it was submitted");
        // One whose sender was told that it was not executed is not under way any more.
        let sent = self.sent.remove(&call);
        if result.is_ok() {
            self.remembered.extend(sent);
            if self.remembered.len() > REMEMBERED_MAX {
                self.remembered.pop_front();
            }
        }
        if let Ok(answer) = result {
            self.last_reply = Some(answer.bytes.clone());
        }
        let end = match result {
            Ok(answer) => End::Answered(&answer.bytes, answer.seen),
            Err(ClientError::OutcomeUnknown { .. }) => End::Unknown,
            Err(_) => End::NotExecuted,
        };
        let is_new = self.made_before_healing.is_some_and(|before| id > before);
        if let Err(error) = result
            && is_new
            && !is_allowed(error)
        {
            self.failed_since_healing.get_or_insert(error.to_string());
        }
        stage.saw(&Fact::Returned { call, end });
    }

    fn on_arrival<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Instant,
        conn: ConnId,
        arrival: Arrival,
    ) {
        if self.directs.on_arrival(stage, conn, &arrival) {
            return;
        }
        if let Some(at) = self.stray.iter().position(|(stray, _)| *stray == conn) {
            match arrival {
                Arrival::Ready => {
                    let frame = std::mem::take(&mut self.stray[at].1);
                    stage.send(conn, |out| *out = frame);
                }
                Arrival::Frame(bytes) => tell_stray(stage, &bytes),
                _ => {}
            }
            return;
        }
        let Some(link) = self.links.iter().find(|link| link.conn == conn).copied() else {
            return;
        };
        let connection = link.connection;
        match arrival {
            Arrival::Ready if link.side == Side::ViewService => {
                self.handle(stage, now, Event::ViewServiceConnected { connection });
            }
            Arrival::Ready => self.handle(stage, now, Event::ReplicaConnected { connection }),
            Arrival::Frame(bytes) => self.on_frame(stage, now, link, &bytes),
            Arrival::Closed(refusal) => {
                // A damaged frame is answered with a refusal, which a client takes for good.
                let refusal = refusal.filter(|refusal| *refusal != Refusal::Protocol);
                self.close(stage, now, link, refusal);
            }
            Arrival::Accepted(_) | Arrival::Woken | Arrival::Proof(_) => {
                unreachable!("nobody calls or wakes a client")
            }
        }
    }

    fn close<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Instant,
        link: Link,
        refusal: Option<Refusal>,
    ) {
        let connection = link.connection;
        self.links.retain(|other| other.conn != link.conn);
        let event = match link.side {
            Side::ViewService => Event::ViewServiceClosed {
                connection,
                refusal,
            },
            Side::Replica => Event::ReplicaClosed {
                connection,
                refusal,
            },
        };
        self.handle(stage, now, event);
    }

    fn on_frame<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Instant,
        link: Link,
        bytes: &[u8],
    ) {
        let connection = link.connection;
        let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX).ok().flatten();
        match (link.side, frame) {
            (Side::ViewService, Some(frame)) => {
                if let Ok(reply) = LookupReply::decode(&frame) {
                    return self.handle(stage, now, Event::Found { connection, reply });
                }
            }
            (Side::Replica, Some(frame)) => {
                if let Ok(replies) = Replies::decode(&frame) {
                    let event = Event::Replies {
                        connection,
                        replies,
                    };
                    return self.handle(stage, now, event);
                }
            }
            (_, None) => {}
        }
        stage.close(link.conn, None);
        self.close(stage, now, link, None);
    }

    fn add(&mut self, connection: ConnectionId, conn: ConnId, side: Side) {
        self.links.push(Link {
            connection,
            conn,
            side,
        });
    }

    fn link_of(&self, connection: ConnectionId) -> Option<Link> {
        let mut links = self.links.iter();
        links.find(|link| link.connection == connection).copied()
    }
}

/// Whether a call may end so though nothing is wrong any more: what became of it was in a session that
/// has expired, or is not remembered any more.
fn is_allowed(error: &ClientError) -> bool {
    match error {
        // What an operator has accepted, the clients are told.
        ClientError::AnswerLost { .. } | ClientError::Skipped { .. } => true,
        ClientError::OutcomeUnknown { trouble, .. } => matches!(
            trouble,
            Trouble::SessionExpired | Trouble::OutcomeForgotten { .. } | Trouble::AnswerLost { .. }
        ),
        _ => false,
    }
}

/// What came of a command that was sent again.
fn tell_stray<M: Subject>(stage: &mut Stage<'_, M>, bytes: &[u8]) {
    let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX).ok().flatten();
    let reply = frame.as_ref().and_then(|frame| Reply::decode(frame).ok());
    match reply.map(|reply| reply.status) {
        Some(ReplyStatus::Done) => stage.mark(Mark::SentAgain),
        Some(ReplyStatus::SessionUnknown) => stage.mark(Mark::SentAfterExpiry),
        _ => {}
    }
}

/// What else than all kinds of calls a client makes. One that writes soon finds out that its primary is
/// none any more; one that only reads stays with it for as long as it is answered.
fn draw_reads_alone(client: usize, random: &mut RandomStream) -> Option<Consistency> {
    let kinds = [
        None,
        None,
        Some(Consistency::Confirmed),
        Some(Consistency::Lease),
    ];
    let drawn = *random.pick(&kinds);
    drawn.filter(|_| client > 0)
}

fn query<M: Subject>(random: &mut RandomStream, consistency: Consistency) -> Work {
    Work::Query {
        bytes: M::draw_query(random),
        consistency,
    }
}

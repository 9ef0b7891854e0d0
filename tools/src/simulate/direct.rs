//! Commands that belong to no session, as somebody sends them who speaks straight to one replica: over a connection of
//! its own each, once.

use std::collections::BTreeMap;

use standin_core::conn::ConnId;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame};
use standin_core::message::{DirectRequest, Party, Reply, ReplyStatus, Seen};
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant};

use super::draw::Draw as _;
use super::fact::{End, Fact};
use super::marks::Mark;
use super::network::Arrival;
use super::stage::Stage;
use super::watched::{Subject, command};

/// In so many of a thousand runs there are any, and then so many of a thousand calls have one beside them.
const RUNS_PER_MILLE: u64 = 300;
const CALLS_PER_MILLE: u64 = 150;
/// Tells their numbers from those of other calls of the same client.
const DIRECT: u64 = 1 << 31;

/// Those of one client that are under way.
#[derive(Debug)]
pub(crate) struct Directs {
    client: usize,
    per_mille: u64,
    patience: Duration,
    random: RandomStream,
    open: BTreeMap<ConnId, Open>,
    made: u64,
}

#[derive(Debug)]
struct Open {
    call: u64,
    frame: Vec<u8>,
    /// It has left.
    is_sent: bool,
    /// Nobody waits for it any longer.
    until: Instant,
}

impl Directs {
    pub(crate) fn new(seed: u64, client: usize, patience: Duration) -> Self {
        let are_any = RandomStream::new(seed, 13).chance(RUNS_PER_MILLE);
        Self {
            client,
            per_mille: if are_any { CALLS_PER_MILLE } else { 0 },
            patience,
            random: RandomStream::new(seed, 1300 + client as u64),
            open: BTreeMap::new(),
            made: 0,
        }
    }

    /// No more are made.
    pub(crate) fn end(&mut self) {
        self.per_mille = 0;
    }

    /// When the first of them is waited for no longer.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.open.values().map(|open| open.until).min()
    }

    /// A call is made, and now and then one of these to the same replica.
    pub(crate) fn beside_call<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        now: Instant,
        to: Option<usize>,
    ) {
        let Some(to) = to.filter(|_| self.random.chance(self.per_mille)) else {
            return;
        };
        self.made += 1;
        let call = (self.client as u64) << 32 | DIRECT | self.made;
        let bytes = command(call, &M::draw_command(&mut self.random, None));
        stage.saw(&Fact::Called {
            call,
            client: self.client,
            input: &bytes,
            asked: None,
        });
        let request = DirectRequest {
            id: call,
            seen: Seen::default(),
            bytes: &bytes,
        };
        let mut frame = Vec::new();
        request.encode(&mut frame);
        let open = Open {
            call,
            frame,
            is_sent: false,
            until: now.plus(self.patience),
        };
        self.open.insert(stage.dial(to, Party::Client), open);
    }

    /// Takes in what came over one of their connections; false if it is none of theirs.
    pub(crate) fn on_arrival<M: Subject>(
        &mut self,
        stage: &mut Stage<'_, M>,
        conn: ConnId,
        arrival: &Arrival,
    ) -> bool {
        let Some(open) = self.open.get_mut(&conn) else {
            return false;
        };
        match arrival {
            Arrival::Ready => {
                let frame = std::mem::take(&mut open.frame);
                open.is_sent = true;
                stage.send(conn, |out| *out = frame);
            }
            Arrival::Frame(bytes) => {
                stage.close(conn, None);
                let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX).ok().flatten();
                let reply = frame.as_ref().and_then(|frame| Reply::decode(frame).ok());
                let end = reply.map_or(End::Unknown, |reply| end_of(&reply));
                self.finish(stage, conn, end);
            }
            _ => self.give_up(stage, conn),
        }
        true
    }

    /// Those that have taken too long are waited for no longer.
    pub(crate) fn expire<M: Subject>(&mut self, stage: &mut Stage<'_, M>, now: Instant) {
        let is_late = |(conn, open): (&ConnId, &Open)| (open.until <= now).then_some(*conn);
        let late: Vec<ConnId> = self.open.iter().filter_map(is_late).collect();
        for conn in late {
            stage.close(conn, None);
            self.give_up(stage, conn);
        }
    }

    fn give_up<M: Subject>(&mut self, stage: &mut Stage<'_, M>, conn: ConnId) {
        let is_sent = self.open.get(&conn).is_some_and(|open| open.is_sent);
        let end = if is_sent {
            End::Unknown
        } else {
            End::NotExecuted
        };
        self.finish(stage, conn, end);
    }

    fn finish<M: Subject>(&mut self, stage: &mut Stage<'_, M>, conn: ConnId, end: End<'_>) {
        let Some(open) = self.open.remove(&conn) else {
            return;
        };
        match end {
            End::Answered(..) => stage.mark(Mark::DirectDone),
            End::Unknown => stage.mark(Mark::DirectUnknown),
            End::NotExecuted => {}
        }
        let call = open.call;
        stage.saw(&Fact::Returned { call, end });
    }
}

fn end_of<'a>(reply: &Reply<'a>) -> End<'a> {
    match reply.status {
        ReplyStatus::Done => End::Answered(reply.bytes, reply.seen),
        ReplyStatus::OutcomeUnknown => End::Unknown,
        _ => End::NotExecuted,
    }
}

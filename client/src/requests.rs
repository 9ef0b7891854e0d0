//! The requests without an answer, their sessions and their sequence numbers (`protocol.md`
//! section 9).
//!
//! A command is numbered when it is first sent, and keeps session and number until it is known
//! whether it was executed: that is what makes a repeat harmless.

use std::collections::VecDeque;

use standin_core::message::{
    CloseSession, CommandRequest, CommandRequests, Consistency, Message, OpenSession, QueryRequest,
    QueryRequests, SEVERAL_BYTES_MAX, SEVERAL_MAX, Seen,
};
use standin_core::random::RandomStream;
use standin_core::session::SESSION_WINDOW;
use standin_core::time::{Instant, earliest};

use crate::backoff::Backoff;

/// Most requests of one client that may be without an answer; more are refused.
pub const REQUESTS_MAX: usize = 64;

/// The deadline of a request that waits for its answer as long as it takes.
pub const NO_DEADLINE: Instant = Instant::from_nanos(u64::MAX);

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Execute this command of the machine, once.
    Command(Vec<u8>),
    /// Answer this query of the machine.
    Query {
        /// The machine's query.
        bytes: Vec<u8>,
        /// How fresh the state must be.
        consistency: Consistency,
    },
    /// Close the session, once all requests before this one have an answer.
    CloseSession,
}

impl Work {
    /// What the machine is given.
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Command(bytes) | Self::Query { bytes, .. } => bytes,
            Self::CloseSession => &[],
        }
    }
}

/// A request of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The user's number for it; comes back with its outcome.
    pub id: u64,
    /// When it ends without an answer at the latest; [`NO_DEADLINE`]: never.
    pub deadline: Instant,
    /// What it asks for.
    pub work: Work,
}

/// A request's place in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    session: u64,
    sequence: u64,
}

/// One sending of a request, to which no reply has come yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Names this very sending, so that a late reply to an earlier one is not taken for its own.
    wire_id: u64,
    pub(crate) sent: Instant,
    /// What was sent along as seen: the answer must not be older.
    pub(crate) seen: Seen,
}

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) request: Request,
    pub(crate) begun: Instant,
    number: Option<Number>,
    attempt: Option<Attempt>,
    /// Not sent again before this moment.
    not_before: Instant,
    backoff: Backoff,
    /// How many times it was sent.
    pub(crate) attempts: u32,
    /// A sending of this command ended without a reply that rules its execution out.
    ///
    /// Never set for queries: they change nothing.
    is_possibly_executed: bool,
}

impl Pending {
    fn is_query(&self) -> bool {
        matches!(self.request.work, Work::Query { .. })
    }

    fn is_command(&self) -> bool {
        matches!(self.request.work, Work::Command(_))
    }

    /// Whether a command may have been executed, or may yet be.
    pub(crate) fn is_possibly_executed(&self) -> bool {
        self.is_possibly_executed || (self.is_command() && self.attempt.is_some())
    }

    /// Whether a sending of it awaits a reply.
    pub(crate) fn is_sent(&self) -> bool {
        self.attempt.is_some()
    }

    /// The sending that was open got no reply that says what became of it.
    pub(crate) fn attempt_lost(&mut self) {
        self.is_possibly_executed = self.is_possibly_executed();
        self.attempt = None;
    }

    /// The sending that was just answered ended without ruling out that it was executed.
    pub(crate) fn outcome_lost(&mut self) {
        self.is_possibly_executed = self.is_command();
    }

    fn forget_number(&mut self) {
        assert!(!self.is_possibly_executed, "its number still counts");
        self.number = None;
        self.attempt = None;
    }

    pub(crate) fn put_off(&mut self, now: Instant, random: &mut RandomStream) {
        self.not_before = self.backoff.next_later(now, random);
    }
}

/// How a command's number ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Executed, and answered.
    Answered,
    /// Not executed, and never will be: every sending was answered so.
    NotExecuted,
    /// Unknown, or the session is of no more use.
    Unknown,
}

/// What a reply answers.
#[derive(Debug)]
pub(crate) enum Answered {
    /// The opening of a session, sent thus.
    Opening(Attempt),
    /// The request at this place in the queue, sent thus.
    Request(usize, Attempt),
}

/// The session that new commands are numbered in.
#[derive(Debug)]
struct Session {
    id: u64,
    sequence_next: u64,
}

/// The session that is being opened.
#[derive(Debug, Default)]
struct Opening {
    attempt: Option<Attempt>,
    not_before: Instant,
    backoff: Backoff,
}

/// All requests without an answer, in the order in which they were submitted.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    queue: VecDeque<Pending>,
    session: Option<Session>,
    opening: Opening,
    wire_id_last: u64,
}

impl Requests {
    /// Takes a request; gives it back if there are too many.
    pub(crate) fn submit(&mut self, now: Instant, request: Request) -> Result<(), Request> {
        if self.queue.len() == REQUESTS_MAX {
            return Err(request);
        }
        self.queue.push_back(Pending {
            request,
            begun: now,
            number: None,
            attempt: None,
            not_before: now,
            backoff: Backoff::default(),
            attempts: 0,
            is_possibly_executed: false,
        });
        Ok(())
    }

    /// Appends all frames that may be sent now.
    pub(crate) fn send(&mut self, now: Instant, seen: Seen, out: &mut Vec<u8>) {
        // Those that go, in order: their places in the queue.
        let mut going = Vec::new();
        // A command that must wait holds up the ones behind it: they would arrive as a gap.
        let mut commands_may_go = true;
        for at in 0..self.queue.len() {
            let pending = &self.queue[at];
            if pending.attempt.is_some() {
                continue;
            }
            let is_due = pending.not_before <= now;
            if pending.is_query() {
                if is_due {
                    going.push(at);
                }
            } else if commands_may_go && is_due && self.may_go(at, now, seen, out) {
                going.push(at);
            } else {
                commands_may_go = false;
            }
        }
        let mut rest = going.as_slice();
        while !rest.is_empty() {
            let (together, after) = rest.split_at(self.count_together(rest));
            self.send_together(together, now, seen, out);
            rest = after;
        }
    }

    /// How many of those at these places, from the first on, share a frame.
    fn count_together(&self, going: &[usize]) -> usize {
        let first = &self.queue[going[0]];
        let mut bytes = 0;
        let belongs = |(distance, at): &(u64, &usize)| {
            let pending = &self.queue[**at];
            bytes += pending.request.work.bytes().len();
            let is_alike = match (&first.request.work, &pending.request.work) {
                (Work::Command(_), Work::Command(_)) => {
                    let follows = |it: Number| Number {
                        sequence: it.sequence + distance,
                        ..it
                    };
                    pending.number == first.number.map(follows)
                }
                (
                    Work::Query { consistency, .. },
                    Work::Query {
                        consistency: other, ..
                    },
                ) => consistency == other,
                _ => false,
            };
            is_alike && bytes <= SEVERAL_BYTES_MAX
        };
        let together = (0..).zip(going).take(SEVERAL_MAX).take_while(belongs);
        together.count().max(1)
    }

    /// Whether the command, or the closing of the session, at this place can be sent. Numbers a
    /// command, and opens a session for it first if there is none.
    fn may_go(&mut self, at: usize, now: Instant, seen: Seen, out: &mut Vec<u8>) -> bool {
        if !self.queue[at].is_command() {
            return at == 0 && self.session.is_some();
        }
        if self.queue[at].number.is_some() {
            return true;
        }
        let Some(session) = &self.session else {
            self.open_session(now, seen, out);
            return false;
        };
        let (id, sequence) = (session.id, session.sequence_next);
        if sequence - self.acknowledged(id) > SESSION_WINDOW {
            return false;
        }
        self.queue[at].number = Some(Number {
            session: id,
            sequence,
        });
        self.session = Some(Session {
            id,
            sequence_next: sequence + 1,
        });
        true
    }

    fn open_session(&mut self, now: Instant, seen: Seen, out: &mut Vec<u8>) {
        if self.opening.attempt.is_none() && self.opening.not_before <= now {
            let attempt = self.attempt(now, seen);
            self.opening.attempt = Some(attempt);
            let id = attempt.wire_id;
            OpenSession { id, seen }.encode(out);
        }
    }

    fn attempt(&mut self, sent: Instant, seen: Seen) -> Attempt {
        self.wire_id_last += 1;
        Attempt {
            wire_id: self.wire_id_last,
            sent,
            seen,
        }
    }

    /// Appends the frame for those at these places, which are [together](Self::count_together).
    fn send_together(&mut self, places: &[usize], now: Instant, seen: Seen, out: &mut Vec<u8>) {
        let id = self.wire_id_last + 1;
        for at in places {
            let attempt = self.attempt(now, seen);
            let pending = &mut self.queue[*at];
            pending.attempt = Some(attempt);
            pending.attempts = pending.attempts.saturating_add(1);
        }
        let first = &self.queue[places[0]];
        let write = |at: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(self.queue[places[at]].request.work.bytes());
        };
        match &first.request.work {
            Work::Command(bytes) => {
                let number = first.number.expect("numbered before it is sent");
                let command = CommandRequest {
                    id,
                    seen,
                    session: number.session,
                    sequence: number.sequence,
                    acknowledged: self.acknowledged(number.session),
                    bytes,
                };
                match places.len() {
                    1 => command.encode(out),
                    count => CommandRequests::encode(&command, count, write, out),
                }
            }
            Work::Query { bytes, consistency } => {
                let query = QueryRequest {
                    id,
                    seen,
                    consistency: *consistency,
                    bytes,
                };
                match places.len() {
                    1 => query.encode(out),
                    count => QueryRequests::encode(&query, count, write, out),
                }
            }
            Work::CloseSession => {
                let session = self.session.as_ref().expect("checked by may_go").id;
                CloseSession { id, seen, session }.encode(out);
            }
        }
    }

    /// The highest number of a session up to which no reply is waited for.
    fn acknowledged(&self, session: u64) -> u64 {
        let numbers = self.queue.iter().filter_map(|pending| pending.number);
        let first_open = numbers
            .filter(|number| number.session == session)
            .map(|number| number.sequence)
            .next();
        let current = self.session.as_ref().filter(|open| open.id == session);
        let next = first_open.or(current.map(|open| open.sequence_next));
        next.map_or(0, |next| next - 1)
    }

    /// Which sending a reply answers, if it is one that still waits. The sending is over then.
    pub(crate) fn answered(&mut self, wire_id: u64) -> Option<Answered> {
        let is_it = |attempt: &Attempt| attempt.wire_id == wire_id;
        if let Some(attempt) = self.opening.attempt.take_if(|attempt| is_it(attempt)) {
            return Some(Answered::Opening(attempt));
        }
        self.queue.iter_mut().enumerate().find_map(|(at, pending)| {
            let attempt = pending.attempt.take_if(|attempt| is_it(attempt))?;
            Some(Answered::Request(at, attempt))
        })
    }

    /// The session that was asked for is open. `false`, and it is not taken, if commands are numbered
    /// in one of that id: no replica gives an id twice, and a second count would give commands
    /// numbers that others have.
    pub(crate) fn session_opened(&mut self, id: u64) -> bool {
        let mut numbers = self.queue.iter().filter_map(|pending| pending.number);
        if numbers.any(|number| number.session == id) {
            return false;
        }
        self.opening = Opening {
            not_before: self.opening.not_before,
            ..Opening::default()
        };
        self.session = Some(Session {
            id,
            sequence_next: 1,
        });
        true
    }

    /// There is no session any more.
    pub(crate) fn session_gone(&mut self) {
        self.session = None;
    }

    /// No session could be opened just now.
    pub(crate) fn put_off_opening(&mut self, now: Instant, random: &mut RandomStream) {
        self.opening.not_before = self.opening.backoff.next_later(now, random);
    }

    /// The command at this place was certainly not executed in its session, which is unknown, or
    /// can't execute it any more: it is numbered anew in another one, and so are those behind it in that session,
    /// which executes in order. They keep their order thus.
    pub(crate) fn renumber(&mut self, at: usize) {
        if let Some(number) = self.queue[at].number {
            self.end_session_at(number);
        }
        self.queue[at].forget_number();
    }

    /// Whether a command before this one in its session still waits, so that this one is out of turn
    /// only for now.
    pub(crate) fn is_behind_another(&self, at: usize) -> bool {
        let number = self.queue[at].number;
        self.queue.iter().take(at).any(|earlier| {
            let pair = (earlier.number, number);
            matches!(pair, (Some(earlier), Some(this)) if earlier.session == this.session)
        })
    }

    /// Whether the command at this place is numbered in the session that new commands get.
    pub(crate) fn is_in_current_session(&self, at: usize) -> bool {
        let pair = (self.queue[at].number, &self.session);
        matches!(pair, (Some(number), Some(session)) if number.session == session.id)
    }

    /// The connection is gone, and with it all replies that were on their way.
    pub(crate) fn connection_lost(&mut self) {
        self.opening.attempt = None;
        for pending in &mut self.queue {
            pending.attempt_lost();
        }
    }

    /// Takes the request at this place out.
    pub(crate) fn finish(&mut self, at: usize, end: End) -> Pending {
        let pending = self.queue.remove(at).expect("the place is in the queue");
        if let Some(number) = pending.number {
            match end {
                End::Answered => {}
                End::NotExecuted => self.free(number),
                End::Unknown => self.retire(number.session),
            }
        }
        if pending.request.work == Work::CloseSession {
            self.session = None;
        }
        pending
    }

    /// A number was given, but nothing was or will be executed under it. The session executes in
    /// order, so nothing behind it will be executed in that session either.
    fn free(&mut self, number: Number) {
        let is_last = |open: &&mut Session| {
            open.id == number.session && open.sequence_next == number.sequence + 1
        };
        if let Some(session) = self.session.as_mut().filter(is_last) {
            session.sequence_next = number.sequence;
            return;
        }
        // Later numbers were sent, and copies of them may still be on their way: were this number
        // used again, such a copy could be executed beside the repeat. So the session ends here.
        self.end_session_at(number);
    }

    /// No command with this number or a later one of its session was executed or ever will be.
    fn end_session_at(&mut self, number: Number) {
        self.retire(number.session);
        for later in &mut self.queue {
            let is_behind = later.number.is_some_and(|later| {
                later.session == number.session && later.sequence > number.sequence
            });
            if is_behind {
                later.is_possibly_executed = false;
                later.forget_number();
            }
        }
    }

    /// No new command is numbered in this session.
    fn retire(&mut self, session: u64) {
        self.session.take_if(|open| open.id == session);
    }

    /// The first request whose deadline has come.
    pub(crate) fn expired(&self, now: Instant) -> Option<usize> {
        let mut queue = self.queue.iter();
        queue.position(|pending| pending.request.deadline <= now)
    }

    /// The first command that waits for a session to be opened.
    pub(crate) fn first_without_number(&self) -> Option<usize> {
        let mut queue = self.queue.iter();
        queue.position(|pending| pending.is_command() && pending.number.is_none())
    }

    /// Whether the first request is to close a session, and there is none.
    pub(crate) fn has_nothing_to_close(&self) -> bool {
        let first = self.queue.front();
        self.session.is_none()
            && first.is_some_and(|first| first.request.work == Work::CloseSession)
    }

    /// The request at this place.
    pub(crate) fn at(&mut self, at: usize) -> &mut Pending {
        &mut self.queue[at]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The session that new commands are numbered in.
    pub(crate) fn session(&self) -> Option<u64> {
        self.session.as_ref().map(|session| session.id)
    }

    /// When the oldest sending without a reply was sent.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        let sendings = self.queue.iter().filter_map(|pending| pending.attempt);
        let oldest = sendings.map(|attempt| attempt.sent).min();
        earliest(oldest, self.opening.attempt.map(|attempt| attempt.sent))
    }

    /// When the first deadline comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.queue.iter().map(|pending| pending.request.deadline);
        deadlines.min().filter(|deadline| *deadline < NO_DEADLINE)
    }

    /// When something that was put off beyond `now` may be sent.
    pub(crate) fn put_off_until(&self, now: Instant) -> Option<Instant> {
        let unsent = self.queue.iter().filter(|pending| !pending.is_sent());
        let moments = unsent.map(|pending| pending.not_before);
        let opening = self.opening.not_before;
        moments
            .chain(std::iter::once(opening))
            .filter(|moment| *moment > now)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
    use standin_core::message::requests_in;

    use super::*;

    const SESSION: u64 = 7;

    fn with(works: Vec<Work>) -> Requests {
        let mut requests = Requests::default();
        assert!(requests.session_opened(SESSION));
        for (id, work) in (0..).zip(works) {
            let request = Request {
                id,
                deadline: NO_DEADLINE,
                work,
            };
            requests.submit(Instant::ZERO, request).unwrap();
        }
        requests
    }

    /// The kinds of all frames that go now, and how many requests are in each.
    fn sent(requests: &mut Requests) -> Vec<(FrameKind, u64)> {
        let mut bytes = Vec::new();
        requests.send(Instant::ZERO, Seen::default(), &mut bytes);
        let mut rest = bytes.as_slice();
        let mut sent = Vec::new();
        while !rest.is_empty() {
            let frame = Frame::decode(rest, FRAME_PAYLOAD_BYTES_MAX)
                .unwrap()
                .unwrap();
            sent.push((frame.kind, requests_in(&frame)));
            rest = &rest[frame.len()..];
        }
        sent
    }

    fn command(length: usize) -> Work {
        Work::Command(vec![b'c'; length])
    }

    fn query(consistency: Consistency) -> Work {
        Work::Query {
            bytes: b"q".to_vec(),
            consistency,
        }
    }

    #[test]
    fn requests_that_go_together_share_a_frame_if_they_are_alike_and_short() {
        let mut works = vec![
            command(1),
            command(2),
            query(Consistency::Confirmed),
            query(Consistency::Confirmed),
            query(Consistency::Stale),
            command(SEVERAL_BYTES_MAX + 1),
            command(SEVERAL_BYTES_MAX),
            command(1),
            command(1),
        ];
        let mut requests = with(works.clone());
        let expected = [
            (FrameKind::Commands, 2),
            (FrameKind::Queries, 2),
            (FrameKind::Query, 1),
            (FrameKind::Command, 1),
            (FrameKind::Command, 1),
            (FrameKind::Commands, 2),
        ];
        assert_eq!(sent(&mut requests), expected);
        assert_eq!(sent(&mut requests), [], "each of them is on its way");

        works = vec![query(Consistency::Lease); SEVERAL_MAX + 1];
        let expected = [(FrameKind::Queries, 16), (FrameKind::Query, 1)];
        assert_eq!(sent(&mut with(works)), expected);
    }

    #[test]
    fn what_is_sent_again_shares_a_frame_only_with_what_follows_it() {
        let mut requests = with((0..4).map(|_| command(1)).collect());
        assert_eq!(sent(&mut requests), [(FrameKind::Commands, 4)]);
        // Numbers 1, 2 and 4 got no answer; 3 is still waited for.
        for at in [0, 1, 3] {
            requests.queue[at].attempt_lost();
        }
        let expected = [(FrameKind::Commands, 2), (FrameKind::Command, 1)];
        assert_eq!(sent(&mut requests), expected);
        let ids: Vec<u64> = (requests.queue.iter())
            .map(|pending| pending.attempt.unwrap().wire_id)
            .collect();
        assert_eq!(ids, [5, 6, 3, 7], "each sending has a number of its own");
    }
}

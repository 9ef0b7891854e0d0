//! The line to one client: its bytes in, what is to be executed out, and the replies in order.
//!
//! A [`Line`] is a [`Conversation`] with what a connection has under way. Whoever hosts it hands in what has
//! arrived, has what the line gives out ([`Work`]) executed or asked, and hands in the answers in whatever order
//! they come. The line keeps the two promises that a conversation wants:
//! - Replies leave in the order of the requests. One that is known early waits for those before it.
//! - A query sees what was executed before it on this connection, and nothing that comes after it: commands and
//!   queries are not under way at the same time. One kind waits until all of the other are answered.
//!
//! What a client sends in one go is mostly a run of short commands. They are given out as one, a transaction without watches,
//! so that one entry of the log, one checksum and one turn of the machine are enough for all of them; and so are queries,
//! where an answer may be as long as all of theirs.

use std::collections::VecDeque;
use std::ops::Range;

use standin_resp::request::{ProtocolError, RequestParser};
use standin_resp::writer::ReplyWriter;

use crate::arguments::Run;
use crate::conversation::{Ask, Conversation, Host, Step, Then};

/// Most requests of one connection that are under way. More are not taken before some are answered.
pub const IN_FLIGHT_MAX: usize = 1024;
/// The same for queries, whose answers may all be as long as a reply may be: so many fit into what may be unsent to a
/// client that reads.
pub const QUERIES_IN_FLIGHT_MAX: usize = 60;
/// Bytes of replies that wait for others before them, from which on no more requests are taken.
pub const WAITING_REPLY_BYTES_MAX: usize = 64 << 10;
/// Bytes of replies after which nothing more is taken at once: some are long and cheap to ask for.
pub const REPLY_BYTES_PER_TAKE: usize = 256 << 10;

/// Requests under way that room is kept for while none is.
const SLOTS_KEPT: usize = 64;

/// How something is to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As an entry of the log.
    Command,
    /// By asking the machine, which is not changed by it.
    Query,
}

/// Something that is to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// By which its answer is handed in.
    pub id: u64,
    /// How.
    pub kind: Kind,
    /// Where in the work's bytes it is.
    pub range: Range<usize>,
    /// How many requests it is of: each of them may be answered at the length that a reply may have.
    pub requests: usize,
}

/// What lines give out.
#[derive(Debug, Default)]
pub struct Work {
    /// In the order in which it was asked for.
    pub given: Vec<Given>,
    /// The bytes of all.
    pub bytes: Vec<u8>,
}

impl Work {
    /// Forgets all, keeping the room.
    pub fn clear(&mut self) {
        self.given.clear();
        self.bytes.clear();
    }
}

/// Where a line has stopped taking requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// What is left, if anything is, is the beginning of a request.
    Hungry,
    /// So many were taken as it was allowed, or they were answered at such length.
    Sated,
    /// Nothing more is taken before something is answered.
    Blocked,
    /// What becomes of the request that is next depends on who is primary, which is not known for certain. It stays in
    /// the input, and is to be taken once that is known, or after [`Line::stop_seeking`].
    NoPrimary,
    /// The host is to answer this, under this number. Nothing more is taken until then.
    Ask(u64, Ask),
    /// The client is gone or has to go: nothing more is ever taken. See [`Line::is_over`].
    Ended,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Line {
    conversation: Conversation,
    parser: RequestParser,
    /// The number of the first slot.
    first: u64,
    /// What is under way, oldest first; the first is not answered yet.
    slots: VecDeque<Slot>,
    /// How many of the slots have no answer.
    unanswered: usize,
    /// How many requests the slots are of.
    requests: usize,
    /// What those are, if there are any.
    kind: Kind,
    /// What was taken last, and has to wait until the other kind is answered.
    held_back: Option<(Taken, Vec<u8>)>,
    /// The last slot's answer is to be heard by the conversation.
    hears: bool,
    /// The last slot's answer is the host's.
    asks: bool,
    /// Bytes of replies in the slots.
    waiting_bytes: usize,
    /// Where replies are written that are to wait in a slot. In between it owns no memory.
    aside: Vec<u8>,
    /// A request has waited long enough for a primary. Others do not, before one was known again.
    has_sought: bool,
    /// Several queries are given out as one.
    joins_queries: bool,
    is_ended: bool,
}

/// Something that was taken, to be given out.
#[derive(Clone, Copy, Debug)]
struct Taken {
    kind: Kind,
    then: Then,
    arguments: usize,
}

/// A request that is under way, or several that are answered as one. Mostly its answer comes first and nothing is to
/// follow it, so that nothing is kept with it.
#[derive(Debug)]
struct Slot {
    requests: usize,
    kept: Option<Box<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    answer: Option<Vec<u8>>,
    /// Replies to the requests between this one and the next that is under way.
    after: Vec<u8>,
}

impl Slot {
    fn kept(&mut self) -> &mut Kept {
        self.kept.get_or_insert_default()
    }

    fn is_answered(&self) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| kept.answer.is_some())
    }

    fn take_answer(&mut self) -> Option<Vec<u8>> {
        self.kept.as_mut()?.answer.take()
    }
}

impl Line {
    /// A line that has heard nothing yet. Where an answer may be as long as a reply may be and no longer, each query must be
    /// given out by itself.
    #[must_use]
    pub fn new(conversation: Conversation, joins_queries: bool) -> Self {
        Self {
            conversation,
            parser: RequestParser::new(),
            first: 0,
            slots: VecDeque::new(),
            unanswered: 0,
            requests: 0,
            kind: Kind::Command,
            held_back: None,
            hears: false,
            asks: false,
            waiting_bytes: 0,
            aside: Vec::new(),
            has_sought: false,
            joins_queries,
            is_ended: false,
        }
    }

    /// The conversation.
    #[must_use]
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Takes requests from the front of `input`, `most` of them at most, which is counted down. Replies that can
    /// leave are appended to `replies`, and what is to be executed to `work`. Says how many bytes are done with,
    /// and why it stopped. What is not done with must stand at the front of the next call's input.
    ///
    /// Something may have been held back: after an answer that makes [`Line::may_take`] true this has to be called
    /// even if nothing has arrived.
    pub fn take(
        &mut self,
        input: &[u8],
        most: &mut usize,
        host: &dyn Host,
        replies: &mut Vec<u8>,
        work: &mut Work,
    ) -> (usize, Stop) {
        let mut consumed = 0;
        let mut run = None;
        let replies_before = replies.len();
        loop {
            if self.is_ended {
                return (input.len(), Stop::Ended);
            }
            if !self.may_take() {
                return (consumed, Stop::Blocked);
            }
            if let Some(held_back) = self.held_back.take() {
                run = self.give_held_back(held_back, work);
                continue;
            }
            if *most == 0 || replies.len() - replies_before >= REPLY_BYTES_PER_TAKE {
                return (consumed, Stop::Sated);
            }
            let limits = self.conversation.limits();
            // Looked at where it is: to move what was just written takes longer than to write it.
            let parsed = self.parser.parse(&input[consumed..], &limits);
            let request = match &parsed {
                Ok(Some(request)) => request,
                Ok(None) => return (consumed, Stop::Hungry),
                Err(error) => {
                    let error = *error;
                    self.refuse(error, replies);
                    continue;
                }
            };
            if host.is_in_touch() {
                self.has_sought = false;
            } else if !self.has_sought && self.conversation.needs_primary(request) {
                return (consumed, Stop::NoPrimary);
            }
            consumed += request.consumed();
            *most -= 1;
            let now = match self.slots.is_empty() {
                true => &mut *replies,
                false => &mut self.aside,
            };
            let (bytes_at, arguments) = (work.bytes.len(), request.len());
            let step = self.conversation.take(request, host, now, &mut work.bytes);
            self.keep_aside();
            match step {
                // Its reply comes between those before it and those after it.
                Step::Replied => run = None,
                Step::Order(then) => {
                    let kind = Kind::Command;
                    let taken = Taken {
                        kind,
                        then,
                        arguments,
                    };
                    self.give(taken, bytes_at, &mut run, work);
                }
                Step::Query(then) => {
                    let kind = Kind::Query;
                    let taken = Taken {
                        kind,
                        then,
                        arguments,
                    };
                    self.give(taken, bytes_at, &mut run, work);
                }
                Step::Ask(ask) => {
                    self.asks = true;
                    return (consumed, Stop::Ask(self.open_slot(), *ask));
                }
                Step::Close => self.is_ended = true,
            }
        }
    }

    /// Takes the answer to what was given out or asked under this number. Replies that can leave now are appended.
    ///
    /// # Panics
    /// When nothing with that number is under way: the host's bug.
    pub fn answer(&mut self, id: u64, answer: &[u8], replies: &mut Vec<u8>) {
        let at = usize::try_from(id - self.first).expect("few are under way");
        assert!(
            self.slots.get(at).is_some_and(|slot| !slot.is_answered()),
            "request {id} is not under way"
        );
        self.unanswered -= 1;
        let is_last = at + 1 == self.slots.len();
        if is_last {
            self.asks = false;
        }
        let mut heard = Vec::new();
        let reply = match is_last && std::mem::take(&mut self.hears) {
            true => {
                self.conversation.hear(answer, &mut heard);
                &heard
            }
            false => {
                let requests = self.slots[at].requests;
                of_each(requests, answer, &mut heard)
            }
        };
        if at > 0 {
            self.waiting_bytes += reply.len();
            self.slots[at].kept().answer = Some(reply.to_vec());
            return;
        }
        replies.extend_from_slice(reply);
        self.pop(replies);
        while let Some(reply) = self.slots.front_mut().and_then(Slot::take_answer) {
            self.waiting_bytes -= reply.len();
            replies.extend_from_slice(&reply);
            self.pop(replies);
        }
        if self.slots.is_empty() {
            // It may be long before there are so many again, and there may be thousands of such connections.
            self.slots.shrink_to(SLOTS_KEPT);
        }
    }

    /// Has requests taken even if it is not known who is primary, until it is known.
    pub fn stop_seeking(&mut self) {
        self.has_sought = true;
    }

    /// Takes nothing more from now on: what was given out is answered yet, and that is all.
    pub fn end(&mut self) {
        self.is_ended = true;
        if self.held_back.take().is_some() {
            // It was not given out, and is not.
            self.hears = false;
            self.unanswered -= 1;
            let slot = self.slots.pop_back().expect("it has one");
            self.requests -= slot.requests;
            self.waiting_bytes -= slot.kept.map_or(0, |kept| kept.after.len());
        }
    }

    /// Whether another request would be taken, or something that was held back be given out.
    #[must_use]
    pub fn may_take(&self) -> bool {
        if self.held_back.is_some() {
            // It has a slot of its own.
            return self.unanswered == 1;
        }
        let is_full = match self.kind {
            Kind::Query if self.unanswered > 0 => self.requests >= QUERIES_IN_FLIGHT_MAX,
            Kind::Query | Kind::Command => self.requests >= IN_FLIGHT_MAX,
        };
        !self.hears
            && !self.asks
            && !self.is_ended
            && !is_full
            && self.waiting_bytes < WAITING_REPLY_BYTES_MAX
    }

    /// Whether all that came before what has this number is answered.
    #[must_use]
    pub fn is_next(&self, id: u64) -> bool {
        self.first == id && !self.slots.is_empty()
    }

    /// Whether anything is under way.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Whether the last reply that there will ever be has been written: the connection is to be closed once it
    /// has left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_ended && self.slots.is_empty()
    }

    /// Bytes that it holds on behalf of the client.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let held_back = self.held_back.as_ref().map_or(0, |(_, bytes)| bytes.len());
        self.conversation.held_bytes() + self.waiting_bytes + held_back
    }

    /// The connection is out of step, and is told so before it ends.
    fn refuse(&mut self, error: ProtocolError, replies: &mut Vec<u8>) {
        self.is_ended = true;
        let version = self.conversation.version();
        let now = match self.slots.is_empty() {
            true => replies,
            false => &mut self.aside,
        };
        error.write(&mut ReplyWriter::new(now, version));
        self.keep_aside();
    }

    /// Gives out what stands at the end of the work's bytes, or holds it back. If it may be, it is made one with what was
    /// given out last: `run`.
    fn give(&mut self, taken: Taken, from: usize, run: &mut Option<Run>, work: &mut Work) {
        self.hears = taken.then == Then::Hear;
        if self.unanswered > 0 && taken.kind != self.kind {
            self.held_back = Some((taken, work.bytes[from..].to_vec()));
            work.bytes.truncate(from);
            self.open_slot();
            return;
        }
        let joins = taken.then == Then::Join;
        if let Some(joined) = run.as_mut().filter(|_| joins)
            && joined.join(&mut work.bytes, from, taken.arguments)
        {
            let given = work.given.last_mut().expect("the run was given out");
            given.range.end = work.bytes.len();
            given.requests += 1;
            let slot = self.slots.back_mut().expect("it has a slot");
            slot.requests += 1;
            self.requests += 1;
            return;
        }
        self.open_slot();
        *run = self.give_last(taken, from, work);
    }

    fn give_held_back(&mut self, (taken, bytes): (Taken, Vec<u8>), work: &mut Work) -> Option<Run> {
        let from = work.bytes.len();
        work.bytes.extend_from_slice(&bytes);
        self.give_last(taken, from, work)
    }

    /// Gives out what was taken last, for which the last slot is. Others may join it, if a run is returned.
    fn give_last(&mut self, taken: Taken, from: usize, work: &mut Work) -> Option<Run> {
        let kind = taken.kind;
        self.kind = kind;
        let id = self.first + self.slots.len() as u64 - 1;
        let range = from..work.bytes.len();
        work.given.push(Given {
            id,
            kind,
            range,
            requests: 1,
        });
        match taken.then {
            Then::Join if kind == Kind::Query && !self.joins_queries => None,
            Then::Join => Run::begin(&work.bytes, from, taken.arguments),
            Then::Pass | Then::Hear => None,
        }
    }

    /// Makes a slot for what is under way from now on, and returns its number.
    fn open_slot(&mut self) -> u64 {
        let id = self.first + self.slots.len() as u64;
        self.slots.push_back(Slot {
            requests: 1,
            kept: None,
        });
        self.requests += 1;
        self.unanswered += 1;
        id
    }

    /// Drops the first slot, which is answered.
    fn pop(&mut self, replies: &mut Vec<u8>) {
        let slot = self.slots.pop_front().expect("there is one");
        self.first += 1;
        self.requests -= slot.requests;
        if let Some(kept) = slot.kept {
            self.waiting_bytes -= kept.after.len();
            replies.extend_from_slice(&kept.after);
        }
    }

    /// Keeps what was written aside with the last slot.
    fn keep_aside(&mut self) {
        if !self.aside.is_empty() {
            self.waiting_bytes += self.aside.len();
            let last = self.slots.back_mut().expect("there is one to wait for");
            let after = &mut last.kept().after;
            let aside = std::mem::take(&mut self.aside);
            match after.is_empty() {
                true => *after = aside,
                false => after.extend_from_slice(&aside),
            }
        }
    }
}

/// The replies to so many requests that were executed as one: what was done is answered by an array of them, whose head
/// no client is to see; in place of it an error may come, which is each one's. `out` is used if it is needed.
fn of_each<'a>(requests: usize, answer: &'a [u8], out: &'a mut Vec<u8>) -> &'a [u8] {
    if requests == 1 {
        return answer;
    }
    if answer.starts_with(b"*") {
        let head = answer.iter().position(|&byte| byte == b'\n');
        return &answer[head.map_or(0, |end| end + 1)..];
    }
    for _ in 0..requests {
        out.extend_from_slice(answer);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{Info, Node, Place, Role};

    struct Alone;

    impl Host for Alone {
        fn password(&self) -> Option<&[u8]> {
            None
        }

        fn place(&self) -> Place<'_> {
            Place::Here
        }

        fn is_in_touch(&self) -> bool {
            true
        }

        fn nodes(&self) -> Option<Vec<Node>> {
            None
        }

        fn view(&self) -> u64 {
            1
        }

        fn role(&self) -> Role {
            unreachable!("nobody asks")
        }

        fn info(&self) -> Info {
            unreachable!("nobody asks")
        }

        fn settings(&self) -> Vec<(&'static str, String)> {
            Vec::new()
        }
    }

    #[test]
    fn a_line_with_nothing_under_way_keeps_little_room_for_what_was() {
        let conversation = Conversation::new(1, String::new(), String::new(), &Alone);
        let mut line = Line::new(conversation, true);
        let (mut replies, mut work) = (Vec::new(), Work::default());
        let input = b"DEL key\r\n".repeat(IN_FLIGHT_MAX);
        for _ in 0..2 {
            let mut most = IN_FLIGHT_MAX;
            work.clear();
            line.take(&input, &mut most, &Alone, &mut replies, &mut work);
            assert_eq!(work.given.len(), IN_FLIGHT_MAX);
            assert!(line.slots.capacity() >= IN_FLIGHT_MAX);
            for given in &work.given {
                line.answer(given.id, b":1\r\n", &mut replies);
            }
            assert!(line.slots.capacity() <= SLOTS_KEPT * 2);
        }
        assert_eq!(replies.len(), 2 * IN_FLIGHT_MAX * b":1\r\n".len());
    }
}

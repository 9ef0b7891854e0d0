//! Requests as they come in and answers as they go out.

use std::ops::Range;

use standin_core::conn::ConnId;
use standin_core::message::{
    CloseSession, CommandRequest, DirectRequest, OpenSession, QueryRequest, Reply, ReplyStatus,
    Seen,
};
use standin_core::time::Instant;

/// Bytes of answers that one event may bring about, and one answer, or the answers to queries that are one or to the commands of one
/// entry, more: they are in memory all at
/// once before the first is sent. Beyond it reads are done with the next event, stale ones are turned away,
/// and entries are applied later.
pub const ANSWERS_BYTES_MAX: usize = 16 << 20;

/// One request of a client.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The connection that it came on.
    pub conn: ConnId,
    /// What is asked.
    pub body: RequestBody<'a>,
}

/// What a client asks.
#[derive(Clone, Copy, Debug)]
pub enum RequestBody<'a> {
    /// Open a session.
    Open(OpenSession),
    /// Close a session.
    Close(CloseSession),
    /// Execute a command.
    Command(CommandRequest<'a>),
    /// Execute a command that belongs to no session.
    Direct(DirectRequest<'a>),
    /// Answer a query.
    Query(QueryRequest<'a>),
    /// Answer so many queries that the machine takes as one: the answer may be as long as theirs together. It does not leave
    /// the process as one message, which would have no room for it.
    Queries(QueryRequest<'a>, usize),
}

impl RequestBody<'_> {
    /// The client's number for the request, and how far it has seen.
    #[must_use]
    pub fn id_and_seen(&self) -> (u64, Seen) {
        match self {
            Self::Open(open) => (open.id, open.seen),
            Self::Close(close) => (close.id, close.seen),
            Self::Command(command) => (command.id, command.seen),
            Self::Direct(direct) => (direct.id, direct.seen),
            Self::Query(query) | Self::Queries(query, _) => (query.id, query.seen),
        }
    }
}

/// One answer; its bytes lie in the [`Answers`] that holds it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The client's connection.
    pub conn: ConnId,
    /// The client's number for the request.
    pub id: u64,
    /// How it went.
    pub status: ReplyStatus,
    /// View and index as of which it is answered.
    pub seen: Seen,
    /// Whether the primary is solo.
    pub is_solo: bool,
    /// A read that rests on the lease: the clock must be read again, after the state was, and the
    /// answer may leave only before this moment (`protocol.md` section 5; the other order is wrong
    /// if the process is paused in between).
    pub valid_until: Option<Instant>,
    bytes: Range<usize>,
}

/// The answers that one event brought about.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    items: Vec<Answer>,
    bytes: Vec<u8>,
}

/// Answers that follow each other and go to the same connection.
#[derive(Clone, Copy, Debug)]
pub struct AnswerRun<'a> {
    /// Never empty.
    items: &'a [Answer],
    bytes: &'a [u8],
}

impl<'a> AnswerRun<'a> {
    /// The client's connection.
    #[must_use]
    pub fn conn(&self) -> ConnId {
        self.items[0].conn
    }

    /// How many they are: at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Each answer as the message to be sent, with [`Answer::valid_until`].
    pub fn iter(&self) -> impl Iterator<Item = (Option<Instant>, Reply<'a>)> + use<'a> {
        let Self { items, bytes } = *self;
        let replies = items.iter().map(|answer| answer.reply(bytes));
        items.iter().map(|answer| answer.valid_until).zip(replies)
    }
}

impl Answer {
    /// The message to be sent; `bytes` are those of all answers.
    fn reply<'a>(&self, bytes: &'a [u8]) -> Reply<'a> {
        Reply {
            id: self.id,
            status: self.status,
            seen: self.seen,
            is_solo: self.is_solo,
            bytes: &bytes[self.bytes.clone()],
        }
    }
}

impl Answers {
    /// Each answer as the message to be sent, with the answer itself.
    pub fn iter(&self) -> impl Iterator<Item = (&Answer, Reply<'_>)> {
        let items = self.items.iter();
        items.map(|answer| (answer, answer.reply(&self.bytes)))
    }

    /// All answers, in order, those for the same connection together where they follow each other: what a client
    /// sends at once mostly is answered at once.
    pub fn runs(&self) -> impl Iterator<Item = AnswerRun<'_>> {
        let runs = self.items.chunk_by(|one, next| one.conn == next.conn);
        runs.map(|items| AnswerRun {
            items,
            bytes: &self.bytes,
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets all, keeping the room.
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
    }

    /// The bytes of all answers.
    #[must_use]
    pub fn bytes_count(&self) -> usize {
        self.bytes.len()
    }

    /// Where the bytes of the next answer go.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Adds an answer whose bytes were appended from `from` on.
    pub(crate) fn push(&mut self, head: AnswerHead, from: usize) {
        self.push_range(head, from..self.bytes.len());
    }

    /// Adds an answer whose bytes are these of those that were appended.
    pub(crate) fn push_range(&mut self, head: AnswerHead, bytes: Range<usize>) {
        self.items.push(Answer {
            conn: head.conn,
            id: head.id,
            status: head.status,
            seen: head.seen,
            is_solo: head.is_solo,
            valid_until: head.valid_until,
            bytes,
        });
    }
}

/// All of an answer but its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerHead {
    pub(crate) conn: ConnId,
    pub(crate) id: u64,
    pub(crate) status: ReplyStatus,
    pub(crate) seen: Seen,
    pub(crate) is_solo: bool,
    pub(crate) valid_until: Option<Instant>,
}

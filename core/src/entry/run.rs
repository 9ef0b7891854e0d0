//! Runs: several commands of one session in one entry.
//!
//! A client that does not wait for each answer sends many commands at once. In an entry of its own each of them would cost a
//! header, a checksum and a place in the chain over the replies, on both replicas; together they cost that once. Each is
//! still a request of the session: admitted, remembered and answered by itself.

use std::iter;

use crate::bytes::{put_u32, u32_at, u64_at};
use crate::message::ReplyStatus;

use super::{COMMAND_BYTES_MAX, COMMAND_HEADER_BYTES, Command, Entry, EntryKind};

/// Most commands of a run.
pub const RUN_COMMANDS_MAX: usize = 16;
/// Longest command that is made part of a run, in bytes, and most bytes of all of a run's commands together: of longer
/// ones the entry costs little.
pub const RUN_BYTES_MAX: usize = 4 << 10;
/// Bytes before each command: its length.
const LENGTH_BYTES: usize = 4;
/// Bytes before each reply: its status and its length.
const REPLY_HEADER_BYTES: usize = 5;
/// Most bytes of the reply to an entry.
pub const ENTRY_REPLY_BYTES_MAX: usize =
    RUN_COMMANDS_MAX * (COMMAND_BYTES_MAX + REPLY_HEADER_BYTES);

/// Payload of a [`EntryKind::Run`](super::EntryKind::Run): what the session's commands share, as in a [`Command`], then the
/// length and the bytes of each. Their numbers follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// The session.
    pub session: u64,
    /// The first command's number in the session, from 1.
    pub sequence: u64,
    /// The client has the replies of all requests up to this one.
    pub acknowledged: u64,
    /// The commands with their lengths: whole ones, and at least one.
    bytes: &'a [u8],
}

impl<'a> Run<'a> {
    /// Appends the encoded form of these commands: of one session, with numbers that follow each other. What the last one
    /// acknowledges the client has, so that the run acknowledges it.
    ///
    /// # Panics
    /// If there is none.
    pub fn encode(commands: &[Command<'_>], out: &mut Vec<u8>) {
        let (first, last) = (&commands[0], &commands[commands.len() - 1]);
        let head = Command {
            acknowledged: last.acknowledged,
            bytes: &[],
            ..*first
        };
        head.encode(out);
        for command in commands {
            let length = u32::try_from(command.bytes.len()).expect("a run's commands are short");
            put_u32(out, length);
            out.extend_from_slice(command.bytes);
        }
    }

    /// How long the encoded form is, in bytes, of so many commands with so many bytes together.
    #[must_use]
    pub fn encoded_bytes(commands: usize, bytes: usize) -> usize {
        COMMAND_HEADER_BYTES + commands * LENGTH_BYTES + bytes
    }

    /// Reads the encoded form.
    #[must_use]
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        let (head, bytes) = payload.split_at_checked(COMMAND_HEADER_BYTES)?;
        let run = Self {
            session: u64_at(head, 0),
            sequence: u64_at(head, 8),
            acknowledged: u64_at(head, 16),
            bytes,
        };
        let mut rest = bytes;
        let mut count = 0;
        while !rest.is_empty() {
            (_, rest) = split_command(rest)?;
            count += 1;
        }
        // The largest number is none that anything could follow.
        let last = run.sequence.checked_add(count);
        let is_sound = (1..=RUN_COMMANDS_MAX as u64).contains(&count) && last.is_some();
        is_sound.then_some(run)
    }

    /// The commands, in order.
    pub fn commands(&self) -> impl Iterator<Item = Command<'a>> + use<'a> {
        let Self {
            session,
            sequence,
            acknowledged,
            bytes,
        } = *self;
        let mut rest = bytes;
        let pieces = iter::from_fn(move || {
            let (bytes, after) = split_command(rest)?;
            rest = after;
            Some(bytes)
        });
        (sequence..)
            .zip(pieces)
            .map(move |(sequence, bytes)| Command {
                session,
                sequence,
                acknowledged,
                bytes,
            })
    }
}

/// The first command, and what follows it; `None` if it is cut short or there is none.
fn split_command(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(LENGTH_BYTES)?;
    rest.split_at_checked(u32_at(head, 0) as usize)
}

/// One reply in the reply to a [`Run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunReply<'a> {
    /// How the command went.
    pub status: ReplyStatus,
    /// What its client gets.
    pub bytes: &'a [u8],
}

/// The replies to the commands of a [`Run`], in order: of each its status, its length and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RunReplies<'a>(&'a [u8]);

impl<'a> RunReplies<'a> {
    /// Those in the reply to a whole entry.
    #[must_use]
    pub fn of(reply: &'a [u8]) -> Self {
        Self(reply)
    }

    /// Bytes that those which are to come take, heads included.
    #[must_use]
    pub fn rest(&self) -> usize {
        self.0.len()
    }

    /// Makes room for the head of the next reply, whose bytes are to be appended. Returns where it is.
    pub(crate) fn begin(out: &mut Vec<u8>) -> usize {
        let at = out.len();
        out.extend_from_slice(&[0; REPLY_HEADER_BYTES]);
        at
    }

    /// The reply that was begun at `at` ends here.
    pub(crate) fn end(out: &mut [u8], at: usize, status: ReplyStatus) {
        let length = out.len() - at - REPLY_HEADER_BYTES;
        let length = u32::try_from(length).expect("a reply's length is bounded");
        out[at] = status as u8;
        out[at + 1..at + REPLY_HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    }
}

/// Ends early where the bytes are no such replies.
impl<'a> Iterator for RunReplies<'a> {
    type Item = RunReply<'a>;

    fn next(&mut self) -> Option<RunReply<'a>> {
        let (head, rest) = self.0.split_at_checked(REPLY_HEADER_BYTES)?;
        let status = ReplyStatus::from_u8(head[0])?;
        let (bytes, rest) = rest.split_at_checked(u32_at(head, 1) as usize)?;
        self.0 = rest;
        Some(RunReply { status, bytes })
    }
}

impl<'a> Entry<'a> {
    /// The commands of sessions that it holds: one, those of a run, or none.
    pub fn commands(&self) -> impl Iterator<Item = Command<'a>> + use<'a> {
        let (one, run) = match self.header.kind {
            EntryKind::Command => (Command::decode(self.payload), None),
            EntryKind::Run => (None, Run::decode(self.payload)),
            _ => (None, None),
        };
        one.into_iter()
            .chain(run.into_iter().flat_map(|run| run.commands()))
    }

    /// Each reply to what it holds, in the order of its [commands](Entry::commands), if it came to `status` and `reply`: those
    /// of a run, or this one.
    pub fn replies<'r>(
        &self,
        status: ReplyStatus,
        reply: &'r [u8],
    ) -> impl Iterator<Item = RunReply<'r>> + use<'r> {
        let is_run = self.header.kind == EntryKind::Run;
        let one = (!is_run).then_some(RunReply {
            status,
            bytes: reply,
        });
        let of_run = RunReplies::of(if is_run { reply } else { &[] });
        one.into_iter().chain(of_run)
    }
}

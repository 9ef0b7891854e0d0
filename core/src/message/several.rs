//! Several requests of a client in one frame, and several outcomes.
//!
//! A client that does not wait for each answer sends many requests at once, and gets many answers at once. In a frame of its own
//! each of them costs a header, a checksum and the same fields as the one before; together they cost that once. They mean
//! what they would mean each by itself.

use std::iter;

use super::hot::{
    COMMAND_REQUEST_BYTES, QUERY_REQUEST_BYTES, REPLY_BYTES, command_head, put_command_head,
    put_query_head, put_reply_head, query_head, reply_head, split,
};
use super::{CommandRequest, DecodeError, QueryRequest, Reply, ReplyStatus};
use crate::bytes::u32_at;
use crate::entry::RunReplies;
use crate::frame::{Frame, FrameKind, encode_frame};

/// Most requests, or outcomes, in one frame.
pub const SEVERAL_MAX: usize = 16;
/// Bytes of requests, or outcomes, that are put into one frame, at most; longer ones go by themselves. For whoever writes: any that
/// fit into a frame are read.
pub const SEVERAL_BYTES_MAX: usize = 16 << 10;
/// Bytes before each request: its length.
const LENGTH_BYTES: usize = 4;

/// Client to replica: commands of a session. Their numbers follow each other, in the session and among the client's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandRequests<'a> {
    /// The first one; instead of its bytes, all of them with their lengths.
    first: CommandRequest<'a>,
    count: u64,
}

/// Client to replica: queries. Their numbers among the client's requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryRequests<'a> {
    /// The first one; instead of its bytes, all of them with their lengths.
    first: QueryRequest<'a>,
    count: u64,
}

/// Replica to client: the outcomes of requests whose numbers follow each other, as of the same entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replies<'a> {
    /// The first one; instead of its bytes, all of them with status and length.
    first: Reply<'a>,
    count: u64,
}

impl<'a> CommandRequests<'a> {
    /// Appends `count` commands as a whole frame. `first` is the first one but for its bytes; `write` appends those of each,
    /// which it is told the number of, from 0.
    ///
    /// # Panics
    /// If there are none, or more than [`SEVERAL_MAX`].
    pub fn encode(
        first: &CommandRequest<'_>,
        count: usize,
        write: impl FnMut(usize, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        encode_frame(out, FrameKind::Commands, |out| {
            put_command_head(first, out);
            put_pieces(count, write, out);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is cut short, holds none or more than [`SEVERAL_MAX`], or numbers beyond the largest.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let error = DecodeError { kind: frame.kind };
        let (head, bytes) = split(frame, COMMAND_REQUEST_BYTES)?;
        let first = command_head(head, bytes);
        let count = count_pieces(bytes).ok_or(error)?;
        let ends = first
            .id
            .checked_add(count - 1)
            .zip(first.sequence.checked_add(count - 1));
        ends.map(|_| Self { first, count }).ok_or(error)
    }

    /// The client's number for the first one.
    #[must_use]
    pub fn first_id(&self) -> u64 {
        self.first.id
    }

    /// Each command as it would be by itself.
    pub fn iter(&self) -> impl Iterator<Item = CommandRequest<'a>> + use<'a> {
        let first = self.first;
        (0..)
            .zip(pieces(first.bytes))
            .map(move |(at, bytes)| CommandRequest {
                id: first.id + at,
                sequence: first.sequence + at,
                bytes,
                ..first
            })
    }
}

impl<'a> QueryRequests<'a> {
    /// Appends `count` queries as a whole frame. `first` is the first one but for its bytes; `write` appends those of each,
    /// which it is told the number of, from 0.
    ///
    /// # Panics
    /// If there are none, or more than [`SEVERAL_MAX`].
    pub fn encode(
        first: &QueryRequest<'_>,
        count: usize,
        write: impl FnMut(usize, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        encode_frame(out, FrameKind::Queries, |out| {
            put_query_head(first, out);
            put_pieces(count, write, out);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is cut short, names an unknown consistency, holds none or more than [`SEVERAL_MAX`], or
    /// numbers beyond the largest.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let error = DecodeError { kind: frame.kind };
        let (head, bytes) = split(frame, QUERY_REQUEST_BYTES)?;
        let first = query_head(head, bytes).ok_or(error)?;
        let count = count_pieces(bytes).ok_or(error)?;
        let end = first.id.checked_add(count - 1);
        end.map(|_| Self { first, count }).ok_or(error)
    }

    /// The client's number for the first one.
    #[must_use]
    pub fn first_id(&self) -> u64 {
        self.first.id
    }

    /// Each query as it would be by itself.
    pub fn iter(&self) -> impl Iterator<Item = QueryRequest<'a>> + use<'a> {
        let first = self.first;
        (0..)
            .zip(pieces(first.bytes))
            .map(move |(at, bytes)| QueryRequest {
                id: first.id + at,
                bytes,
                ..first
            })
    }
}

impl<'a> Replies<'a> {
    fn encode(replies: &[Reply<'_>], out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Replies, |out| {
            // What stands where one reply has its status means nothing.
            let status = ReplyStatus::Done;
            put_reply_head(
                &Reply {
                    status,
                    ..replies[0]
                },
                out,
            );
            for reply in replies {
                let at = RunReplies::begin(out);
                out.extend_from_slice(reply.bytes);
                RunReplies::end(out, at, reply.status);
            }
        });
    }

    /// Reads the message from a frame that holds one reply or several.
    ///
    /// # Errors
    /// [`DecodeError`] if it is a frame of another kind, the payload is cut short, a field has an unknown value, or there are none or
    /// more than [`SEVERAL_MAX`].
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let error = DecodeError { kind: frame.kind };
        if frame.kind == FrameKind::Reply {
            let first = Reply::decode(frame)?;
            return Ok(Self { first, count: 1 });
        }
        if frame.kind != FrameKind::Replies {
            return Err(error);
        }
        let (head, bytes) = split(frame, REPLY_BYTES)?;
        let first = reply_head(head, bytes).ok_or(error)?;
        let mut replies = RunReplies::of(bytes);
        let count = replies.by_ref().take(SEVERAL_MAX).count() as u64;
        let is_whole = replies.rest() == 0 && (2..=SEVERAL_MAX as u64).contains(&count);
        // Of none there is no last one to have a number.
        let is_sound = is_whole
            && first.status == ReplyStatus::Done
            && first.id.checked_add(count - 1).is_some();
        is_sound.then_some(Self { first, count }).ok_or(error)
    }

    /// Each reply as it would be by itself.
    pub fn iter(&self) -> impl Iterator<Item = Reply<'a>> + use<'a> {
        let first = self.first;
        let alone = (self.count == 1).then_some(first);
        let several = RunReplies::of(if self.count == 1 { &[] } else { first.bytes });
        let several = (0..).zip(several).map(move |(at, reply)| Reply {
            id: first.id + at,
            status: reply.status,
            bytes: reply.bytes,
            ..first
        });
        alone.into_iter().chain(several)
    }
}

/// Appends replies to one client as whole frames: those whose numbers follow each other, as of the same entry, share one.
pub fn encode_replies<'a>(replies: impl Iterator<Item = Reply<'a>>, out: &mut Vec<u8>) {
    let mut replies = replies.peekable();
    while let Some(first) = replies.next() {
        let mut group = [first; SEVERAL_MAX];
        let (mut count, mut bytes) = (1, first.bytes.len());
        while count < SEVERAL_MAX
            && let Some(next) = replies.peek()
            && next.id.checked_sub(first.id) == Some(count as u64)
            && (next.seen, next.is_solo) == (first.seen, first.is_solo)
            && bytes + next.bytes.len() <= SEVERAL_BYTES_MAX
        {
            bytes += next.bytes.len();
            group[count] = *next;
            count += 1;
            replies.next();
        }
        match count {
            1 => first.encode(out),
            _ => Replies::encode(&group[..count], out),
        }
    }
}

/// How many requests a client's frame holds that was received whole: those of one that is no good count as one.
#[must_use]
pub fn requests_in(frame: &Frame<'_>) -> u64 {
    match frame.kind {
        FrameKind::Commands => CommandRequests::decode(frame).map_or(1, |it| it.count),
        FrameKind::Queries => QueryRequests::decode(frame).map_or(1, |it| it.count),
        _ => 1,
    }
}

fn put_pieces(count: usize, mut write: impl FnMut(usize, &mut Vec<u8>), out: &mut Vec<u8>) {
    assert!((1..=SEVERAL_MAX).contains(&count), "{count} requests");
    for number in 0..count {
        let at = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        write(number, out);
        let length = out.len() - at - LENGTH_BYTES;
        let length = u32::try_from(length).expect("frames are bounded");
        out[at..at + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    }
}

fn pieces<'a>(mut bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    iter::from_fn(move || {
        let (piece, rest) = split_piece(bytes)?;
        bytes = rest;
        Some(piece)
    })
}

/// How many there are, if all are whole, and it is a number that is allowed.
fn count_pieces(mut bytes: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !bytes.is_empty() && count <= SEVERAL_MAX as u64 {
        (_, bytes) = split_piece(bytes)?;
        count += 1;
    }
    (1..=SEVERAL_MAX as u64).contains(&count).then_some(count)
}

fn split_piece(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(LENGTH_BYTES)?;
    rest.split_at_checked(u32_at(head, 0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Index;
    use crate::frame::FRAME_PAYLOAD_BYTES_MAX;
    use crate::message::{Consistency, Seen};

    fn seen(index: u64) -> Seen {
        Seen {
            index: Index(index),
            ..Seen::default()
        }
    }

    fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
        let mut frames = Vec::new();
        while let Some(frame) = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX).unwrap() {
            bytes = &bytes[frame.len()..];
            frames.push(frame);
        }
        frames
    }

    fn command(id: u64, sequence: u64, bytes: &[u8]) -> CommandRequest<'_> {
        CommandRequest {
            id,
            seen: seen(4),
            session: 5,
            sequence,
            acknowledged: 2,
            bytes,
        }
    }

    fn pieces_of(number: usize) -> Vec<u8> {
        vec![b'x'; number % 3]
    }

    fn encode_commands(id: u64, sequence: u64, count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let write = |number, out: &mut Vec<u8>| out.extend(pieces_of(number));
        CommandRequests::encode(&command(id, sequence, b"ignored"), count, write, &mut out);
        out
    }

    #[test]
    fn several_requests_read_back_as_they_would_be_alone() {
        let bytes = encode_commands(7, 3, SEVERAL_MAX);
        let frame = frames(&bytes)[0];
        let commands = CommandRequests::decode(&frame).unwrap();
        assert_eq!(requests_in(&frame), SEVERAL_MAX as u64);
        let expected: Vec<Vec<u8>> = (0..SEVERAL_MAX).map(pieces_of).collect();
        let expected = (0..)
            .zip(&expected)
            .map(|(at, bytes)| command(7 + at, 3 + at, bytes));
        assert!(commands.iter().eq(expected));

        let query = |id, bytes| QueryRequest {
            id,
            seen: seen(4),
            consistency: Consistency::Lease,
            bytes,
        };
        let mut out = Vec::new();
        let write = |number: usize, out: &mut Vec<u8>| out.extend([b'q'; 2].iter().take(number));
        QueryRequests::encode(&query(9, b""), 3, write, &mut out);
        let frame = frames(&out)[0];
        let queries = QueryRequests::decode(&frame).unwrap();
        assert_eq!(requests_in(&frame), 3);
        assert!(
            queries
                .iter()
                .eq([query(9, b""), query(10, b"q"), query(11, b"qq")])
        );
    }

    #[test]
    fn requests_that_are_cut_short_too_many_or_beyond_all_numbers_are_refused() {
        let good = encode_commands(1, 1, 3);
        let payload = frames(&good)[0].payload;
        let is_read = |payload: &[u8]| {
            let kind = FrameKind::Commands;
            CommandRequests::decode(&Frame { kind, payload }).is_ok()
        };
        // Whole up to the end of each.
        let whole: Vec<usize> = (0..=payload.len())
            .filter(|end| is_read(&payload[..*end]))
            .collect();
        assert_eq!(
            whole,
            [
                COMMAND_REQUEST_BYTES + 4,
                COMMAND_REQUEST_BYTES + 9,
                payload.len()
            ]
        );
        let mut many = payload.to_vec();
        many.extend([0; LENGTH_BYTES].repeat(SEVERAL_MAX - 3));
        assert!(is_read(&many));
        many.extend([0; LENGTH_BYTES]);
        assert!(!is_read(&many));
        for (id, sequence) in [(u64::MAX, 1), (1, u64::MAX)] {
            assert!(!is_read(
                frames(&encode_commands(id, sequence, 2))[0].payload
            ));
            assert!(is_read(
                frames(&encode_commands(id - 1, sequence - 1, 2))[0].payload
            ));
        }
    }

    #[test]
    fn replies_share_a_frame_if_they_follow_each_other_as_of_the_same_entry() {
        let long = vec![b'y'; SEVERAL_BYTES_MAX];
        let reply = |id, index, status, bytes| Reply {
            id,
            status,
            seen: seen(index),
            is_solo: false,
            bytes,
        };
        let done = ReplyStatus::Done;
        let mut replies = vec![
            reply(1, 7, done, b"a".as_slice()),
            reply(2, 7, ReplyStatus::SequenceGap, b""),
            // Of another entry, out of order, of a primary that is alone, a long one.
            reply(3, 8, done, b"c"),
            reply(5, 8, done, b"d"),
            Reply {
                is_solo: true,
                ..reply(6, 8, done, b"e")
            },
            reply(7, 8, done, &long),
            reply(8, 8, done, b"f"),
        ];
        replies.extend((9..40).map(|id| reply(id, 8, done, b"g")));
        let mut out = Vec::new();
        encode_replies(replies.iter().copied(), &mut out);
        let mut read = Vec::new();
        let mut counts = Vec::new();
        for frame in frames(&out) {
            let several = Replies::decode(&frame).unwrap();
            counts.push(several.iter().count());
            read.extend(several.iter());
        }
        assert_eq!(read, replies);
        assert_eq!(counts, [2, 1, 1, 1, 1, 16, 16]);

        let two = &frames(&out)[0].payload;
        let is_read = |payload: &[u8]| {
            let kind = FrameKind::Replies;
            Replies::decode(&Frame { kind, payload }).is_ok()
        };
        assert!(is_read(two));
        assert!((0..two.len()).all(|end| !is_read(&two[..end])));
        let kind = FrameKind::Command;
        assert!(Replies::decode(&Frame { kind, payload: two }).is_err());
    }
}

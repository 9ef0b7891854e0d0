//! The messages of the hot path: fixed little-endian fields, and bytes that are borrowed.

use super::{Consistency, DecodeError, Room, Seen};
use crate::bytes::{put_u32, put_u64, put_u128, u32_at, u64_at, u128_at};
use crate::entry::Index;
use crate::frame::{Frame, FrameKind, encode_frame};
use crate::view::{DataEpoch, ViewId, ViewNumber};

fn put_seen(out: &mut Vec<u8>, seen: Seen) {
    put_u64(out, seen.view.view.0);
    put_u64(out, seen.index.0);
    put_u32(out, seen.view.data_epoch.0);
}

fn seen_at(bytes: &[u8], at: usize) -> Seen {
    Seen {
        view: ViewId {
            view: ViewNumber(u64_at(bytes, at)),
            data_epoch: DataEpoch(u32_at(bytes, at + 16)),
        },
        index: Index(u64_at(bytes, at + 8)),
    }
}

/// Client to replica: a command within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandRequest<'a> {
    /// The client's number for this request; comes back in the reply.
    pub id: u64,
    /// How far the client has seen.
    pub seen: Seen,
    /// The session.
    pub session: u64,
    /// The request's number in the session, from 1.
    pub sequence: u64,
    /// The client has the replies of all requests up to this one.
    pub acknowledged: u64,
    /// The machine's command.
    pub bytes: &'a [u8],
}

pub(super) const COMMAND_REQUEST_BYTES: usize = 52;

pub(super) fn put_command_head(request: &CommandRequest<'_>, out: &mut Vec<u8>) {
    put_u64(out, request.id);
    put_u64(out, request.session);
    put_u64(out, request.sequence);
    put_u64(out, request.acknowledged);
    put_seen(out, request.seen);
}

/// `head` has [`COMMAND_REQUEST_BYTES`].
pub(super) fn command_head<'a>(head: &[u8], bytes: &'a [u8]) -> CommandRequest<'a> {
    CommandRequest {
        id: u64_at(head, 0),
        session: u64_at(head, 8),
        sequence: u64_at(head, 16),
        acknowledged: u64_at(head, 24),
        seen: seen_at(head, 32),
        bytes,
    }
}

impl<'a> CommandRequest<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Command, |out| {
            put_command_head(self, out);
            out.extend_from_slice(self.bytes);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is too short.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let (head, bytes) = split(frame, COMMAND_REQUEST_BYTES)?;
        Ok(command_head(head, bytes))
    }
}

/// Client to replica: a command that belongs to no session. It is executed at most once for each time that it is
/// sent; whoever gets no answer does not know whether it was, and nobody can ask later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectRequest<'a> {
    /// The client's number for this request; comes back in the reply.
    pub id: u64,
    /// How far the client has seen.
    pub seen: Seen,
    /// The machine's command.
    pub bytes: &'a [u8],
}

const DIRECT_REQUEST_BYTES: usize = 28;

impl<'a> DirectRequest<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Direct, |out| {
            put_u64(out, self.id);
            put_seen(out, self.seen);
            out.extend_from_slice(self.bytes);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is too short.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let (head, bytes) = split(frame, DIRECT_REQUEST_BYTES)?;
        Ok(Self {
            id: u64_at(head, 0),
            seen: seen_at(head, 8),
            bytes,
        })
    }
}

/// Client to replica: a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryRequest<'a> {
    /// The client's number for this request; comes back in the reply.
    pub id: u64,
    /// How far the client has seen.
    pub seen: Seen,
    /// How fresh the state must be.
    pub consistency: Consistency,
    /// The machine's query.
    pub bytes: &'a [u8],
}

pub(super) const QUERY_REQUEST_BYTES: usize = 29;

pub(super) fn put_query_head(request: &QueryRequest<'_>, out: &mut Vec<u8>) {
    put_u64(out, request.id);
    put_seen(out, request.seen);
    out.push(request.consistency as u8);
}

/// `head` has [`QUERY_REQUEST_BYTES`]. `None`: it names an unknown consistency.
pub(super) fn query_head<'a>(head: &[u8], bytes: &'a [u8]) -> Option<QueryRequest<'a>> {
    Some(QueryRequest {
        id: u64_at(head, 0),
        seen: seen_at(head, 8),
        consistency: Consistency::from_u8(head[28])?,
        bytes,
    })
}

impl<'a> QueryRequest<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Query, |out| {
            put_query_head(self, out);
            out.extend_from_slice(self.bytes);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is too short or names an unknown consistency.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let (head, bytes) = split(frame, QUERY_REQUEST_BYTES)?;
        query_head(head, bytes).ok_or(DecodeError { kind: frame.kind })
    }
}

pub(super) fn split<'a>(frame: &Frame<'a>, at: usize) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    frame
        .payload
        .split_at_checked(at)
        .ok_or(DecodeError { kind: frame.kind })
}

/// How a request went. The numbers are the format: append, never reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyStatus {
    /// Done; the bytes are the machine's reply.
    Done = 0,
    /// This replica does not serve; nothing was done. The bytes are the primary's address, or empty.
    NotPrimary = 1,
    /// The request was ordered, but this replica lost its role before it knew the outcome: the
    /// request may or may not be executed by the next primary. Repeat it with the same session and
    /// sequence number. The bytes are the primary's address, or empty.
    OutcomeUnknown = 2,
    /// The session is unknown or has expired; nothing was done.
    SessionUnknown = 3,
    /// The sequence number is not the next; nothing was done.
    SequenceGap = 4,
    /// Executed before, and the reply is no longer kept.
    SequenceAcknowledged = 5,
    /// A limit is exceeded; nothing was done. The bytes say which, in words.
    Refused = 6,
    /// Too much is waiting; nothing was done. Try again later.
    Overloaded = 7,
    /// An operator forced a takeover, and the last answer that the client has may not be in the log
    /// that goes on; nothing was done. What the client says to have seen makes it known; with what
    /// this reply names as seen, and in another session, the client may go on.
    AnswerLost = 8,
    /// The command made the machine fail: its entry was skipped, and nothing of it took effect, nor ever
    /// will. The bytes are the entry's index, a little-endian u64.
    Skipped = 9,
    /// The logs of the primary, or of it and its backup, have no room for another entry; nothing was done. Try
    /// again later. The bytes say whose, and what to do, in words.
    NoRoom = 10,
}

impl ReplyStatus {
    /// The status with this number, if there is one.
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Done,
            1 => Self::NotPrimary,
            2 => Self::OutcomeUnknown,
            3 => Self::SessionUnknown,
            4 => Self::SequenceGap,
            5 => Self::SequenceAcknowledged,
            6 => Self::Refused,
            7 => Self::Overloaded,
            8 => Self::AnswerLost,
            9 => Self::Skipped,
            10 => Self::NoRoom,
            _ => return None,
        })
    }
}

/// Replica to client: the outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The client's number for the request.
    pub id: u64,
    /// How it went.
    pub status: ReplyStatus,
    /// The view of the replica that answers, and the index as of which it does.
    pub seen: Seen,
    /// The primary is solo: its disk holds the only copy.
    pub is_solo: bool,
    /// What the status says they are.
    pub bytes: &'a [u8],
}

pub(super) const REPLY_BYTES: usize = 32;
const REPLY_FLAG_SOLO: u8 = 1;

pub(super) fn put_reply_head(reply: &Reply<'_>, out: &mut Vec<u8>) {
    put_u64(out, reply.id);
    put_seen(out, reply.seen);
    out.push(reply.status as u8);
    out.push(if reply.is_solo { REPLY_FLAG_SOLO } else { 0 });
    out.extend_from_slice(&[0; 2]);
}

/// `head` has [`REPLY_BYTES`]. `None`: a field has an unknown value.
pub(super) fn reply_head<'a>(head: &[u8], bytes: &'a [u8]) -> Option<Reply<'a>> {
    let status = ReplyStatus::from_u8(head[28])?;
    if head[29] > REPLY_FLAG_SOLO || head[30..] != [0, 0] {
        return None;
    }
    Some(Reply {
        id: u64_at(head, 0),
        status,
        seen: seen_at(head, 8),
        is_solo: head[29] == REPLY_FLAG_SOLO,
        bytes,
    })
}

impl<'a> Reply<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Reply, |out| {
            put_reply_head(self, out);
            out.extend_from_slice(self.bytes);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is too short or a field has an unknown value.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let (head, bytes) = split(frame, REPLY_BYTES)?;
        reply_head(head, bytes).ok_or(DecodeError { kind: frame.kind })
    }
}

/// Primary to follower: entries, or none for a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    /// The stream's name, from [`super::Resume`].
    pub nonce: u64,
    /// The primary's view. Entries of earlier views may be inside.
    pub view: ViewId,
    /// Rises with every message of the stream; the acknowledgement repeats the highest that came.
    pub round: u64,
    /// What the primary has applied, so what the follower may.
    pub commit: Index,
    /// Encoded entries, following those sent before.
    pub bytes: &'a [u8],
}

const ENTRIES_BYTES: usize = 36;

impl<'a> Entries<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Entries, |out| {
            put_u64(out, self.nonce);
            put_u64(out, self.view.view.0);
            put_u64(out, self.round);
            put_u64(out, self.commit.0);
            put_u32(out, self.view.data_epoch.0);
            out.extend_from_slice(self.bytes);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is too short.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let (head, bytes) = split(frame, ENTRIES_BYTES)?;
        Ok(Self {
            nonce: u64_at(head, 0),
            view: ViewId {
                view: ViewNumber(u64_at(head, 8)),
                data_epoch: DataEpoch(u32_at(head, 32)),
            },
            round: u64_at(head, 16),
            commit: Index(u64_at(head, 24)),
            bytes,
        })
    }
}

/// Follower to primary: what I have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The stream's name, from [`super::Resume`].
    pub nonce: u64,
    /// The view that the follower has adopted; the stream's.
    pub view: ViewId,
    /// The highest round that came.
    pub round: u64,
    /// Everything up to here is as durable as the stream's level says.
    pub durable: Index,
    /// Everything up to here is applied.
    pub applied: Index,
    /// The chain over the replies up to `applied`.
    pub reply_digest: u128,
    /// Whether its log has room. Since protocol version 4.
    pub room: Room,
}

const ACK_BYTES: usize = 64;

impl Ack {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Ack, |out| {
            put_u64(out, self.nonce);
            put_u64(out, self.view.view.0);
            put_u64(out, self.round);
            put_u64(out, self.durable.0);
            put_u64(out, self.applied.0);
            put_u128(out, self.reply_digest);
            put_u32(out, self.view.data_epoch.0);
            out.push(self.room as u8);
            out.extend_from_slice(&[0; 3]);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload has another length or a field has an unknown value.
    pub fn decode(frame: &Frame<'_>) -> Result<Self, DecodeError> {
        let (head, rest) = split(frame, ACK_BYTES)?;
        let error = DecodeError { kind: frame.kind };
        let room = Room::from_u8(head[60]).ok_or(error)?;
        if !rest.is_empty() || head[61..] != [0; 3] {
            return Err(error);
        }
        Ok(Self {
            room,
            nonce: u64_at(head, 0),
            view: ViewId {
                view: ViewNumber(u64_at(head, 8)),
                data_epoch: DataEpoch(u32_at(head, 56)),
            },
            round: u64_at(head, 16),
            durable: Index(u64_at(head, 24)),
            applied: Index(u64_at(head, 32)),
            reply_digest: u128_at(head, 40),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FRAME_PAYLOAD_BYTES_MAX;

    fn view() -> ViewId {
        ViewId {
            data_epoch: DataEpoch(2),
            view: ViewNumber(3),
        }
    }

    fn seen() -> Seen {
        Seen {
            view: view(),
            index: Index(4),
        }
    }

    fn round_trip(encoded: &[u8], check: impl Fn(&Frame<'_>)) {
        let frame = Frame::decode(encoded, FRAME_PAYLOAD_BYTES_MAX)
            .unwrap()
            .unwrap();
        check(&frame);
    }

    #[test]
    fn the_messages_of_the_hot_path_read_back() {
        let command = CommandRequest {
            id: 1,
            seen: seen(),
            session: 5,
            sequence: 6,
            acknowledged: 7,
            bytes: b"x",
        };
        let mut out = Vec::new();
        command.encode(&mut out);
        round_trip(&out, |frame| {
            assert_eq!(CommandRequest::decode(frame), Ok(command))
        });

        let direct = DirectRequest {
            id: 2,
            seen: seen(),
            bytes: b"d",
        };
        out.clear();
        direct.encode(&mut out);
        round_trip(&out, |frame| {
            assert_eq!(DirectRequest::decode(frame), Ok(direct))
        });

        let query = QueryRequest {
            id: 1,
            seen: seen(),
            consistency: Consistency::Stale,
            bytes: b"q",
        };
        out.clear();
        query.encode(&mut out);
        round_trip(&out, |frame| {
            assert_eq!(QueryRequest::decode(frame), Ok(query))
        });

        let reply = Reply {
            id: 1,
            status: ReplyStatus::SequenceGap,
            seen: seen(),
            is_solo: true,
            bytes: b"r",
        };
        out.clear();
        reply.encode(&mut out);
        round_trip(&out, |frame| assert_eq!(Reply::decode(frame), Ok(reply)));

        let entries = Entries {
            nonce: 9,
            view: view(),
            round: 8,
            commit: Index(7),
            bytes: b"entries",
        };
        out.clear();
        entries.encode(&mut out);
        round_trip(&out, |frame| {
            assert_eq!(Entries::decode(frame), Ok(entries))
        });

        let ack = Ack {
            nonce: 9,
            view: view(),
            round: 8,
            durable: Index(7),
            applied: Index(6),
            reply_digest: u128::MAX - 5,
            room: Room::Out,
        };
        out.clear();
        ack.encode(&mut out);
        round_trip(&out, |frame| assert_eq!(Ack::decode(frame), Ok(ack)));
    }
}

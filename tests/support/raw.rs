//! A client without any sense: frames over a plain socket, to one replica, whatever that is by now.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use standin::machines::counter::{decode_reply, encode_add, encode_get};
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
use standin_core::message::{
    CommandRequest, Consistency, Hello, Message as _, OpenSession, Party, QueryRequest, Replies,
    ReplyStatus, Seen,
};
use standin_core::time::{Duration, Instant};
use standin_io::clock;

use super::{PATIENCE, sure};

/// How long one read of the socket waits.
const READ_WAIT: Duration = Duration::from_millis(20);

/// A reply that came.
#[derive(Clone, Debug)]
pub(crate) struct RawReply {
    pub(crate) status: ReplyStatus,
    pub(crate) seen: Seen,
    pub(crate) bytes: Vec<u8>,
    /// When it was read from the socket.
    pub(crate) at: Instant,
}

impl RawReply {
    /// The counter's value, if the request was done.
    pub(crate) fn value(&self) -> Option<i64> {
        if self.status != ReplyStatus::Done {
            return None;
        }
        match decode_reply(&self.bytes) {
            Some(Ok(value)) => Some(value),
            reply => panic!("the counter answered with {reply:?}"),
        }
    }
}

/// A command's place in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) session: u64,
    pub(crate) sequence: u64,
}

/// A connection to one replica.
#[derive(Debug)]
pub(crate) struct RawClient {
    stream: TcpStream,
    input: Vec<u8>,
    id_last: u64,
    replies: BTreeMap<u64, RawReply>,
    is_closed: bool,
}

impl RawClient {
    /// Connects and says hello, without waiting for the other side's: a frozen process still has
    /// connections made to it.
    pub(crate) fn connect(address: &str) -> Self {
        let stream = sure(TcpStream::connect(address));
        sure(stream.set_nodelay(true));
        sure(stream.set_read_timeout(Some(READ_WAIT)));
        let mut client = Self {
            stream,
            input: Vec::new(),
            id_last: 0,
            replies: BTreeMap::new(),
            is_closed: false,
        };
        let mut out = Vec::new();
        Hello::new(Party::Client, None, None).encode(&mut out);
        client.send(&out);
        client
    }

    /// Asks for the value; the number of the request.
    pub(crate) fn ask(&mut self, consistency: Consistency) -> u64 {
        self.query(consistency, &encode_get())
    }

    fn query(&mut self, consistency: Consistency, bytes: &[u8]) -> u64 {
        let id = self.next_id();
        let query = QueryRequest {
            id,
            seen: Seen::default(),
            consistency,
            bytes,
        };
        let mut out = Vec::new();
        query.encode(&mut out);
        self.send(&out);
        id
    }

    /// Asks something long that the counter has no answer to; the number of the request.
    pub(crate) fn ask_nonsense(&mut self, length: usize) -> u64 {
        self.query(Consistency::Confirmed, &vec![0; length])
    }

    /// Asks for a session; the number of the request.
    pub(crate) fn ask_for_session(&mut self) -> u64 {
        let id = self.next_id();
        let mut out = Vec::new();
        let seen = Seen::default();
        OpenSession { id, seen }.encode(&mut out);
        self.send(&out);
        id
    }

    /// Opens a session: its first place. `None` if this replica is no primary.
    pub(crate) fn open_session(&mut self) -> Option<Place> {
        let id = self.ask_for_session();
        let reply = self.reply(id, PATIENCE)?;
        if reply.status != ReplyStatus::Done {
            return None;
        }
        let session: [u8; 8] = sure(reply.bytes.try_into().map_err(|_| "no session id"));
        Some(Place {
            session: u64::from_le_bytes(session),
            sequence: 1,
        })
    }

    /// Sends an add of 1; the number of the request.
    pub(crate) fn add(&mut self, place: Place) -> u64 {
        self.command(place, &encode_add(1))
    }

    /// Sends a command; the number of the request.
    pub(crate) fn command(&mut self, place: Place, bytes: &[u8]) -> u64 {
        let id = self.next_id();
        let command = CommandRequest {
            id,
            seen: Seen::default(),
            session: place.session,
            sequence: place.sequence,
            acknowledged: place.sequence - 1,
            bytes,
        };
        let mut out = Vec::new();
        command.encode(&mut out);
        self.send(&out);
        id
    }

    /// The reply to a request; `None` if the connection was closed without one, or `patience` is
    /// over.
    pub(crate) fn reply(&mut self, id: u64, patience: Duration) -> Option<RawReply> {
        let end = clock::boot().plus(patience);
        loop {
            if let Some(reply) = self.replies.get(&id) {
                return Some(reply.clone());
            }
            if self.is_closed || clock::boot() >= end {
                return None;
            }
            self.read();
        }
    }

    /// Whether the other side has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn next_id(&mut self) -> u64 {
        self.id_last += 1;
        self.id_last
    }

    fn send(&mut self, bytes: &[u8]) {
        // What is sent to one that has gone shows when the answer is read.
        self.is_closed |= self.stream.write_all(bytes).is_err();
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.is_closed = true,
            Ok(count) => self.input.extend_from_slice(&bytes[..count]),
            Err(error) => {
                let kinds = [
                    ErrorKind::WouldBlock,
                    ErrorKind::TimedOut,
                    ErrorKind::Interrupted,
                ];
                self.is_closed |= !kinds.contains(&error.kind());
            }
        }
        let at = clock::boot();
        let mut taken = 0;
        while let Some(frame) = sure(Frame::decode(&self.input[taken..], FRAME_PAYLOAD_BYTES_MAX)) {
            taken += frame.len();
            if !matches!(frame.kind, FrameKind::Reply | FrameKind::Replies) {
                continue; // the other side's hello, or why it closes the connection
            }
            for reply in sure(Replies::decode(&frame)).iter() {
                let raw = RawReply {
                    status: reply.status,
                    seen: reply.seen,
                    bytes: reply.bytes.to_vec(),
                    at,
                };
                let before = self.replies.insert(reply.id, raw);
                assert!(
                    before.is_none(),
                    "request {} was answered twice: {before:?}",
                    reply.id
                );
            }
        }
        self.input.drain(..taken);
    }
}

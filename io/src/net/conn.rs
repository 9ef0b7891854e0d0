//! One connection, and the table of them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;
use slab::Slab;
use standin_core::conn::ConnId;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
use standin_core::message::{Message as _, Refusal, requests_in};
use standin_core::time::Instant;

use super::buffer::Buffer;
use super::event::CloseReason;
use super::share::{Kind, Place};

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// The addresses that this name stands for are being looked up.
    Resolving(String),
    /// The kernel is connecting; these addresses are tried next should it fail.
    Connecting(VecDeque<SocketAddr>),
    /// Connected; the other side's first frame has not arrived.
    AwaitHello,
    /// The handshake is done.
    Ready,
    /// Refused, and gone for the owner: what it is told is still being sent, what it says is dropped.
    Lingering,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    /// `None` once it has ended and only its last frames are kept.
    pub(super) stream: Option<TcpStream>,
    pub(super) peer: Option<SocketAddr>,
    /// The other side connected to this one.
    pub(super) is_accepted: bool,
    /// It speaks another protocol: all that arrives is input.
    pub(super) is_plain: bool,
    /// Its owner has looked at its input, and needs more of it. Only if it is plain.
    pub(super) awaits_more: bool,
    /// Its place among its kind: from its hello on, if it was accepted.
    pub(super) place: Option<Place>,
    pub(super) stage: Stage,

    /// When bytes last came, or it was made.
    pub(super) heard_at: Instant,
    /// It has sent a whole frame since its hello.
    pub(super) has_spoken: bool,
    /// Requests of a client that no [`super::Net::send`] has answered.
    pub(super) answers_owed: u64,

    /// The kernel may have bytes for us: nothing has shown the contrary since it last said so.
    pub(super) is_readable: bool,
    /// The kernel may have room for bytes of ours.
    pub(super) is_writable: bool,
    /// The kernel hinted that the other side has stopped sending. A short read is then no proof that
    /// nothing is left: the end itself is still to be read, and no further hint would come.
    pub(super) is_end_hinted: bool,
    /// The other side, which speaks another protocol, has said all it will say, and may still hear.
    pub(super) is_input_over: bool,
    /// Writing failed. What can still be read is read (it may say why), then the connection ends.
    pub(super) broken: Option<io::Error>,

    /// The owner has paused it.
    pub(super) is_paused: bool,
    /// Its id stands in the queue of sockets to read.
    pub(super) is_queued: bool,
    /// Its id stands in the list of those with unsent bytes.
    pub(super) is_dirty: bool,
    /// Its id stands in the list of those with whole frames.
    pub(super) is_listed: bool,
    /// Its id stands in the list of those that wait until clients are not paused any more.
    pub(super) is_held_back: bool,

    pub(super) input: Buffer,
    /// Bytes at the front of `input` that are whole, checked frames. Invariant: at most its length.
    pub(super) whole: usize,
    /// The wake-up since which its whole frames wait: the one in which they came or, if some were
    /// consumed since, the one after that.
    pub(super) waits_since: u64,
    pub(super) output: Buffer,

    /// When the present stage, or the frame that has begun, must be done.
    pub(super) deadline: Option<Instant>,
    /// The connection's entry in the set of timers. Invariant: not later than `deadline`.
    pub(super) armed: Option<Instant>,
    /// Why it has ended. Reported when its last frames are consumed.
    pub(super) end: Option<CloseReason>,
}

impl Conn {
    pub(super) fn new(id: ConnId, is_accepted: bool, stage: Stage, now: Instant) -> Self {
        Self {
            id,
            stream: None,
            peer: None,
            is_accepted,
            is_plain: false,
            awaits_more: false,
            place: None,
            stage,
            heard_at: now,
            has_spoken: false,
            answers_owed: 0,
            is_readable: false,
            is_writable: false,
            is_end_hinted: false,
            is_input_over: false,
            broken: None,
            is_paused: false,
            is_queued: false,
            is_dirty: false,
            is_listed: false,
            is_held_back: false,
            input: Buffer::default(),
            whole: 0,
            waits_since: 0,
            output: Buffer::default(),
            deadline: None,
            armed: None,
            end: None,
        }
    }

    /// Whether it was accepted and its hello said that it is a client.
    pub(super) fn is_client(&self) -> bool {
        self.place.is_some_and(|place| place.kind == Kind::Client)
    }

    /// Whether its owner knows of it, so that its end must be reported.
    pub(super) fn is_known(&self) -> bool {
        match self.stage {
            Stage::Ready => true,
            Stage::Resolving(_) | Stage::Connecting(_) | Stage::AwaitHello => !self.is_accepted,
            Stage::Lingering => false,
        }
    }

    /// Whether there is another side yet.
    pub(super) fn is_connected(&self) -> bool {
        !matches!(self.stage, Stage::Resolving(_) | Stage::Connecting(_))
    }

    /// Whether the owner may still send on it.
    pub(super) fn is_open(&self) -> bool {
        self.end.is_none() && !matches!(self.stage, Stage::Lingering)
    }

    /// Whether its owner, who knows of it, is to be told that its input is over before it is closed.
    pub(super) fn may_still_hear(&self) -> bool {
        let is_served = self.has_spoken && matches!(self.stage, Stage::Ready);
        self.is_plain && is_served && !self.is_input_over && self.broken.is_none()
    }

    /// Checks what has arrived behind the whole frames, each frame once.
    pub(super) fn check_input(&mut self) -> Result<(), CloseReason> {
        if self.is_plain {
            self.whole = self.input.len();
            self.awaits_more = false;
            self.has_spoken = true;
            self.answers_owed = 1;
            return Ok(());
        }
        let bytes = self.input.as_slice();
        while let Some(frame) = Frame::decode(&bytes[self.whole..], FRAME_PAYLOAD_BYTES_MAX)? {
            match frame.kind {
                FrameKind::Hello => return Err(CloseReason::OutOfPlace),
                FrameKind::Refusal => return Err(refused_by_peer(&frame)),
                _ => {
                    self.whole += frame.len();
                    self.has_spoken = true;
                    self.answers_owed += requests_in(&frame);
                }
            }
        }
        Ok(())
    }
}

/// The reason that a refusal gives. One that this version cannot read is a refusal all the same.
pub(super) fn refused_by_peer(frame: &Frame<'_>) -> CloseReason {
    CloseReason::RefusedByPeer(Refusal::decode(frame).unwrap_or(Refusal::Protocol))
}

/// Bits of a connection's id that are its place in the table.
const PLACE_BITS: u32 = 20;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const _: () = assert!(super::CONNECTIONS_MAX as u64 <= PLACE_MASK);

/// All connections, each in a place that is used again once it is gone. Ids are not: they carry a
/// number that rises with every connection.
#[derive(Debug, Default)]
pub(super) struct Table {
    conns: Slab<Conn>,
    connections_made: u64,
}

impl Table {
    pub(super) fn insert(&mut self, is_accepted: bool, stage: Stage, now: Instant) -> ConnId {
        let entry = self.conns.vacant_entry();
        let place = u64::try_from(entry.key()).expect("a place fits");
        assert!(place <= PLACE_MASK, "{place} connections are too many");
        self.connections_made += 1;
        let id = ConnId((self.connections_made << PLACE_BITS) | place);
        entry.insert(Conn::new(id, is_accepted, stage, now));
        id
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(place(id)).filter(|conn| conn.id == id)
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(place(id)).filter(|conn| conn.id == id)
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        self.get(id)?;
        self.conns.try_remove(place(id))
    }

    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    /// The connections whose names are being looked up, each with its name.
    pub(super) fn resolving(&self) -> Vec<(ConnId, String)> {
        let resolving = self.conns.iter().filter_map(|(_, conn)| match &conn.stage {
            Stage::Resolving(name) => Some((conn.id, name.clone())),
            Stage::Connecting(_) | Stage::AwaitHello | Stage::Ready | Stage::Lingering => None,
        });
        resolving.collect()
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.conns.iter().map(|(_, conn)| conn.id)
    }
}

fn place(id: ConnId) -> usize {
    usize::try_from(id.0 & PLACE_MASK).expect("a place fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_never_hits_a_place_that_is_used_again() {
        let mut table = Table::default();
        let first = table.insert(true, Stage::Ready, Instant::ZERO);
        assert!(table.remove(first).is_some());
        let second = table.insert(true, Stage::Ready, Instant::ZERO);
        assert_eq!(place(first), place(second));
        assert!(second > first);
        assert!(table.get(first).is_none() && table.get_mut(first).is_none());
        assert!(table.remove(first).is_none());
        assert_eq!((table.get(second).unwrap().id, table.len()), (second, 1));
    }
}

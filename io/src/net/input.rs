//! Reading sockets, and the handshake.

use std::io::{self, Read as _};

use standin_core::conn::ConnId;
use standin_core::frame::{Frame, FrameKind, HELLO_PAYLOAD_BYTES_MAX};
use standin_core::identity::ClusterId;
use standin_core::message::{Hello, Message as _, PROTOCOL_VERSION, Party, Refusal};

use super::Net;
use super::conn::{Conn, Stage, refused_by_peer};
use super::event::{CloseReason, NetEvent};

/// What came of reading a socket once.
enum ReadOutcome {
    /// This many bytes came.
    Bytes(usize),
    /// Nothing came, and nothing is wrong.
    Nothing,
    /// The connection has ended.
    End(CloseReason),
}

/// What the first frame of the other side was.
enum FirstFrame {
    Incomplete,
    /// A hello that fits, and its length with its header.
    Good(Hello, usize),
    Unfit(Refusal),
    /// The hello of a replica of another cluster.
    Stranger(ClusterId, Refusal),
    End(CloseReason),
}

impl Net {
    /// Reads each socket in the queue at most once; what the bounds leave over stays queued.
    pub(super) fn read_queued(&mut self, events: &mut Vec<NetEvent>) {
        let mut budget = self.config.limits.read_bytes_per_poll;
        for _ in 0..self.to_read.len() {
            if budget == 0 {
                return;
            }
            let Some(id) = self.to_read.pop_front() else {
                return;
            };
            let Some(conn) = self.conns.get_mut(id) else {
                continue;
            };
            conn.is_queued = false;
            if self.conns.get(id).is_some_and(|conn| self.may_read(conn)) {
                budget -= self.read_socket(id, budget, events);
            } else {
                self.hold_back(id);
            }
        }
    }

    fn read_socket(&mut self, id: ConnId, budget: usize, events: &mut Vec<NetEvent>) -> usize {
        let limit = self.scratch.len().min(budget);
        let Some(conn) = self.conns.get_mut(id) else {
            return 0;
        };
        match read_once(conn, &mut self.scratch[..limit]) {
            ReadOutcome::End(CloseReason::Peer) if conn.may_still_hear() => {
                conn.is_input_over = true;
                conn.is_readable = false;
                conn.awaits_more = false;
                self.list_input(id);
                0
            }
            ReadOutcome::End(reason) => {
                self.finish(id, reason);
                0
            }
            ReadOutcome::Nothing => {
                self.queue_read(id);
                0
            }
            ReadOutcome::Bytes(count) => {
                conn.heard_at = self.now;
                if !matches!(conn.stage, Stage::Lingering) {
                    let bytes = &self.scratch[..count];
                    conn.input.tail(&mut self.pool).extend_from_slice(bytes);
                    self.check_input(id, events);
                    self.recount(id);
                    self.relieve_kind_of(id);
                }
                self.queue_read(id);
                count
            }
        }
    }

    /// Judges what has arrived, and keeps the time of a frame that has begun.
    fn check_input(&mut self, id: ConnId, events: &mut Vec<NetEvent>) {
        self.check_first_frame(id, events);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if !matches!(conn.stage, Stage::Ready) {
            return;
        }
        let whole_before = conn.whole;
        if let Err(reason) = conn.check_input() {
            self.finish(id, reason);
            return;
        }
        if whole_before == 0 {
            conn.waits_since = self.wake_ups;
        }
        let has_begun = conn.input.len() > conn.whole;
        let has_moved = conn.whole > whole_before || conn.deadline.is_none();
        if !has_begun {
            conn.deadline = None;
        } else if has_moved {
            let timeout = self.config.limits.partial_frame_timeout;
            self.set_deadline(id, self.now.plus(timeout));
        }
        self.list_input(id);
    }

    fn check_first_frame(&mut self, id: ConnId, events: &mut Vec<NetEvent>) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if !matches!(conn.stage, Stage::AwaitHello) {
            return;
        }
        match self.first_frame(conn) {
            FirstFrame::Incomplete => {}
            FirstFrame::Good(hello, bytes) => self.greet(id, hello, bytes, events),
            FirstFrame::Unfit(refusal) => self.refuse(id, refusal),
            FirstFrame::Stranger(theirs, refusal) => {
                self.stranger = Some(theirs);
                self.refuse(id, refusal);
            }
            FirstFrame::End(reason) => self.finish(id, reason),
        }
    }

    fn first_frame(&self, conn: &Conn) -> FirstFrame {
        let frame = match Frame::decode(conn.input.as_slice(), HELLO_PAYLOAD_BYTES_MAX) {
            Ok(Some(frame)) => frame,
            Ok(None) => return FirstFrame::Incomplete,
            Err(error) => return FirstFrame::End(CloseReason::BadFrame(error)),
        };
        match frame.kind {
            FrameKind::Hello => {}
            FrameKind::Refusal => return FirstFrame::End(refused_by_peer(&frame)),
            _ => return FirstFrame::End(CloseReason::OutOfPlace),
        }
        // Another version's hello may have other fields.
        let Ok(hello) = Hello::decode(&frame) else {
            let ours = PROTOCOL_VERSION;
            return FirstFrame::Unfit(Refusal::Version { ours });
        };
        match hello.check(self.config.cluster, self.config.machine.as_ref()) {
            Ok(()) => FirstFrame::Good(hello, frame.len()),
            Err(refusal) => match (&refusal, hello.party, hello.cluster) {
                (Refusal::OtherCluster { .. }, Party::Replica, Some(theirs)) => {
                    FirstFrame::Stranger(theirs, refusal)
                }
                _ => FirstFrame::Unfit(refusal),
            },
        }
    }

    /// Completes the handshake with a side whose hello fits.
    fn greet(&mut self, id: ConnId, hello: Hello, bytes: usize, events: &mut Vec<NetEvent>) {
        let is_accepted = self.conns.get(id).is_some_and(|conn| conn.is_accepted);
        if is_accepted && !self.take_place(id, hello.party) {
            self.refuse(id, Refusal::Busy);
            return;
        }
        let own_hello = self.own_hello();
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.input.consume(bytes, &mut self.pool);
        conn.stage = Stage::Ready;
        conn.deadline = None;
        if is_accepted {
            own_hello.encode(conn.output.tail(&mut self.pool));
        }
        self.handshaking.remove(&id);
        self.mark_dirty(id);
        self.recount(id);
        events.push(NetEvent::Ready {
            conn: id,
            hello,
            peer_is_accepted: is_accepted,
        });
    }
}

fn read_once(conn: &mut Conn, scratch: &mut [u8]) -> ReadOutcome {
    let Some(stream) = &mut conn.stream else {
        return ReadOutcome::Nothing;
    };
    match stream.read(scratch) {
        Ok(0) => ReadOutcome::End(CloseReason::Peer),
        Ok(count) => {
            // A short read has emptied the socket: saves the read that would say so.
            let is_short = count < scratch.len();
            conn.is_readable = !is_short || conn.is_end_hinted || conn.broken.is_some();
            ReadOutcome::Bytes(count)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => ReadOutcome::Nothing,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            conn.is_readable = false;
            match conn.broken.take() {
                Some(error) => ReadOutcome::End(CloseReason::Failed(error)),
                None => ReadOutcome::Nothing,
            }
        }
        Err(error) => ReadOutcome::End(CloseReason::Failed(error)),
    }
}

//! Plain sockets that say whatever they like.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
use standin_core::message::{Message, Refusal};
use standin_core::random::RandomStream;

use crate::PATIENCE;
use crate::samples::frame_of;

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct End {
    /// All that came and was not taken before.
    pub(crate) received: Vec<u8>,
    pub(crate) after: Duration,
}

impl End {
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let frame = Frame::decode(&self.received, FRAME_PAYLOAD_BYTES_MAX).ok()??;
        Refusal::decode(&frame).ok()
    }
}

/// A plain socket on the wrong side of the law.
pub(crate) struct Stranger {
    pub(crate) stream: TcpStream,
    pub(crate) begun: Instant,
    pub(crate) received: Vec<u8>,
}

impl Stranger {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            begun: Instant::now(),
            received: Vec::new(),
        }
    }

    /// Sends bytes; that the other side may have closed meanwhile shows elsewhere.
    pub(crate) fn throw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn say(&mut self, message: &impl Message) {
        self.throw(&frame_of(message));
    }

    /// Waits for one more frame; `None` if the connection ends before.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        let begun = Instant::now();
        loop {
            let frame = Frame::decode(&self.received, FRAME_PAYLOAD_BYTES_MAX).unwrap();
            if let Some(frame) = frame {
                let (heard, bytes) = ((frame.kind, frame.payload.to_vec()), frame.len());
                self.received.drain(..bytes);
                return Some(heard);
            }
            assert!(begun.elapsed() < PATIENCE, "nothing was answered");
            if self.is_over() {
                return None;
            }
        }
    }

    #[track_caller]
    pub(crate) fn hear_message<M: Message>(&mut self) -> M {
        let (kind, payload) = self.hear().expect("the connection has ended");
        let frame = Frame {
            kind,
            payload: &payload,
        };
        M::decode(&frame).unwrap_or_else(|error| panic!("{kind:?}: {error}"))
    }

    /// Waits a moment for bytes, or the end.
    pub(crate) fn is_over(&mut self) -> bool {
        self.stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        self.read_once()
    }

    /// Looks whether the connection has ended.
    pub(crate) fn is_over_now(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let is_over = self.read_once();
        self.stream.set_nonblocking(false).unwrap();
        is_over
    }

    pub(crate) fn read_once(&mut self) -> bool {
        let mut bytes = [0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => true,
            Ok(count) => {
                self.received.extend_from_slice(&bytes[..count]);
                false
            }
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
            ),
        }
    }

    /// Waits until the other side closes the connection.
    #[track_caller]
    pub(crate) fn is_closed(&mut self, why: &str) -> End {
        let begun = Instant::now();
        while !self.is_over() {
            assert!(begun.elapsed() < PATIENCE, "still open: {why}");
        }
        End {
            received: std::mem::take(&mut self.received),
            after: self.begun.elapsed(),
        }
    }

    /// Sends until the other side takes no more for a while; how many bytes it took, `most` at most.
    pub(crate) fn stuff(&mut self, bytes: &[u8], most: usize) -> usize {
        let patience = Some(Duration::from_millis(1500));
        self.stream.set_write_timeout(patience).unwrap();
        let mut taken = 0;
        let mut rest = bytes;
        while taken < most {
            match self.stream.write(rest) {
                Ok(count) => {
                    taken += count;
                    rest = &rest[count..];
                    if rest.is_empty() {
                        rest = bytes;
                    }
                }
                Err(_) => break,
            }
        }
        taken
    }
}

pub(crate) fn random_bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut stream = RandomStream::new(seed, 1);
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        bytes.extend_from_slice(&stream.next_u64().to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// A frame's header as it stands on the wire, whatever it says.
pub(crate) fn header(length: u32, kind: u16, reserved: u16) -> Vec<u8> {
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&reserved.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

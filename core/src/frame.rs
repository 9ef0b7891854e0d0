//! Framing: what stands around every message on a connection.
//!
//! A frame is a 12-byte header (payload length, kind, reserved, checksum) and a payload. The first
//! frame in each direction is a Hello; until it has arrived a much smaller length is allowed.

use crate::bytes::{u16_at, u32_at};
use crate::entry::BATCH_BYTES_MAX;

/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 12;
/// Longest payload of a frame once the handshake is done, in bytes.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = BATCH_BYTES_MAX + 4096;
/// Longest payload of the first frame in each direction, in bytes.
pub const HELLO_PAYLOAD_BYTES_MAX: usize = 1024;

const AT_LENGTH: usize = 0;
const AT_KIND: usize = 4;
const AT_RESERVED: usize = 6;
const AT_CHECKSUM: usize = 8;

macro_rules! frame_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a frame's payload is. The numbers are the format: append, never reuse.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FrameKind {
            $($(#[$doc])* $name = $number,)*
        }

        impl FrameKind {
            fn from_u16(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

frame_kinds! {
    /// Who speaks, and which versions: the first frame in each direction.
    Hello = 1,
    /// Why the connection is being closed.
    Refusal = 2,
    /// Replica to view service: still here, and please renew.
    Report = 10,
    /// View service to replica: the record, and whether the lease was renewed.
    ReportReply = 11,
    /// Replica to view service: please swap the record.
    Swap = 12,
    /// View service to replica: whether it was swapped, and the record.
    SwapReply = 13,
    /// Replica to view service: I give my lease back.
    Release = 14,
    /// Client to view service: who is primary?
    Lookup = 15,
    /// View service to client: this one.
    LookupReply = 16,
    /// Anyone to view service: how is everybody?
    StatusRequest = 17,
    /// View service to anyone.
    StatusReply = 18,
    /// Replica to view service: my disk failed, and with it this token.
    TokenDead = 19,
    /// View service to replica: that is kept durably.
    TokenDeadReply = 20,
    /// Operator to view service: make this replica primary, whatever is lost by it.
    Force = 21,
    /// View service to operator.
    ForceReply = 22,
    /// Operator to primary: hand over to your backup.
    Switchover = 23,
    /// Primary to operator.
    SwitchoverReply = 24,
    /// Follower to primary: this process is about to stop, wait for me no longer.
    Leave = 25,
    /// Replica to a view service without a record: here is what I know of it.
    Witness = 26,
    /// A replica's parent process to view service: that life has died, I have reaped it.
    Died = 27,
    /// View service to a replica's parent process: so I have heard.
    DiedReply = 28,
    /// Replica to view service: this entry makes the machine fail; I answered nothing of it.
    Poisoned = 29,
    /// Follower to primary: let me follow; this is my log.
    Follow = 30,
    /// Primary to follower: continue after this entry.
    Resume = 31,
    /// Primary to follower: entries, or a heartbeat.
    Entries = 32,
    /// Follower to primary: what I have.
    Ack = 33,
    /// Either: I know a higher view than yours.
    HigherView = 34,
    /// Primary to follower: the entries that you lack are gone; fetch this snapshot.
    SnapshotOffer = 35,
    /// Follower to primary: send me this piece of it.
    SnapshotRead = 36,
    /// Primary to follower: a piece of a snapshot.
    SnapshotPiece = 37,
    /// Follower to primary: my state's digest at a snapshot.
    StateDigest = 38,
    /// A replica whose log is damaged to another: send me the entries after this one.
    EntriesRead = 39,
    /// A replica to one whose log is damaged.
    EntriesPiece = 40,
    /// Anyone to view service: which views were there?
    HistoryRequest = 41,
    /// View service to anyone.
    HistoryReply = 42,
    /// Operator to a view service without a record: make it again from what these replicas know.
    Rebuild = 43,
    /// Replica to view service: processes of mine died at this entry, and none has applied it.
    Fatal = 44,
    /// Client to replica: open a session.
    OpenSession = 50,
    /// Client to replica: close a session.
    CloseSession = 51,
    /// Client to replica: a command within a session.
    Command = 52,
    /// Client to replica: a query.
    Query = 53,
    /// Replica to client: the outcome of a request.
    Reply = 54,
    /// Anyone to replica: what is your state?
    Inspect = 55,
    /// Replica to anyone.
    InspectReply = 56,
    /// Client to replica: a command that belongs to no session.
    Direct = 57,
    /// Client to replica: several commands of a session.
    Commands = 58,
    /// Client to replica: several queries.
    Queries = 59,
    /// Replica to client: the outcomes of several requests.
    Replies = 60,
}

/// Why bytes are no frame. The connection they came on is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length field is above what is allowed here.
    #[error("a frame of {length} bytes; at most {max} are allowed here")]
    Length {
        /// The length that the header claims.
        length: u32,
        /// The longest that is allowed.
        max: usize,
    },
    /// A kind that this version does not know.
    #[error("frame kind {0} is unknown")]
    Kind(u16),
    /// Reserved bytes are not zero.
    #[error("a frame's reserved bytes are not zero")]
    Reserved,
    /// The checksum does not match.
    #[error("a frame's checksum does not match its bytes")]
    Checksum,
}

/// One whole frame, borrowed from a connection's input buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at the beginning of `bytes`, whose payload may have `payload_bytes_max`
    /// bytes. `None`: more bytes are needed.
    ///
    /// The header is judged as soon as it is whole, before anything is awaited or allocated for it.
    ///
    /// # Errors
    /// [`FrameError`] if this cannot become a frame.
    pub fn decode(bytes: &'a [u8], payload_bytes_max: usize) -> Result<Option<Self>, FrameError> {
        if bytes.len() < FRAME_HEADER_BYTES {
            return Ok(None);
        }
        let length = u32_at(bytes, AT_LENGTH);
        let too_long = FrameError::Length {
            length,
            max: payload_bytes_max,
        };
        let payload_bytes = usize::try_from(length).map_err(|_| too_long)?;
        if payload_bytes > payload_bytes_max {
            return Err(too_long);
        }
        let number = u16_at(bytes, AT_KIND);
        let kind = FrameKind::from_u16(number).ok_or(FrameError::Kind(number))?;
        if u16_at(bytes, AT_RESERVED) != 0 {
            return Err(FrameError::Reserved);
        }
        let end = FRAME_HEADER_BYTES + payload_bytes;
        let Some(payload) = bytes.get(FRAME_HEADER_BYTES..end) else {
            return Ok(None);
        };
        if checksum(&bytes[..AT_CHECKSUM], payload) != u32_at(bytes, AT_CHECKSUM) {
            return Err(FrameError::Checksum);
        }
        Ok(Some(Self { kind, payload }))
    }

    /// Reads the first frame of bytes that [`Frame::decode`] has accepted before, without computing
    /// its checksum again. `None` if there is no whole frame.
    #[must_use]
    pub fn decode_again(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < FRAME_HEADER_BYTES {
            return None;
        }
        let payload_bytes = usize::try_from(u32_at(bytes, AT_LENGTH)).ok()?;
        let payload = bytes[FRAME_HEADER_BYTES..].get(..payload_bytes)?;
        let kind = FrameKind::from_u16(u16_at(bytes, AT_KIND))?;
        Some(Self { kind, payload })
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn len(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload.len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

/// Appends a frame whose payload `write` produces.
pub fn encode_frame(out: &mut Vec<u8>, kind: FrameKind, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    write(out);
    let frame = &mut out[start..];
    let payload_bytes = frame.len() - FRAME_HEADER_BYTES;
    assert!(
        payload_bytes <= FRAME_PAYLOAD_BYTES_MAX,
        "a {kind:?} of {payload_bytes} bytes"
    );
    let length = u32::try_from(payload_bytes).expect("payloads are bounded");
    frame[AT_LENGTH..AT_KIND].copy_from_slice(&length.to_le_bytes());
    frame[AT_KIND..AT_RESERVED].copy_from_slice(&(kind as u16).to_le_bytes());
    let (header, payload) = frame.split_at(FRAME_HEADER_BYTES);
    let checksum = checksum(&header[..AT_CHECKSUM], payload);
    frame[AT_CHECKSUM..FRAME_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, FrameKind::Query, |out| {
            out.extend_from_slice(b"payload")
        });
        bytes
    }

    #[test]
    fn a_frame_reads_back_and_waits_for_its_end() {
        let bytes = sample();
        let frame = Frame::decode(&bytes, 100).unwrap().unwrap();
        assert_eq!(
            (frame.kind, frame.payload),
            (FrameKind::Query, b"payload".as_slice())
        );
        assert_eq!(frame.len(), bytes.len());
        let again = Frame::decode_again(&bytes).unwrap();
        assert_eq!((again.kind, again.payload), (frame.kind, frame.payload));
        for length in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..length], 100).unwrap().is_none());
            assert!(Frame::decode_again(&bytes[..length]).is_none());
        }
    }

    #[test]
    fn a_bad_header_is_refused_before_its_payload_arrives() {
        let mut huge = sample();
        huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let refused = Frame::decode(&huge[..FRAME_HEADER_BYTES], 100).unwrap_err();
        assert_eq!(
            refused,
            FrameError::Length {
                length: u32::MAX,
                max: 100
            }
        );
        let mut unknown = sample();
        unknown[AT_KIND] = 0xee;
        assert_eq!(
            Frame::decode(&unknown, 100).unwrap_err(),
            FrameError::Kind(0xee)
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = sample();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let result = Frame::decode(&damaged, 100);
            assert!(!matches!(result, Ok(Some(_))), "bit {bit}");
        }
    }
}

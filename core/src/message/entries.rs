//! The messages by which a replica whose log is damaged asks any other one for what is missing (`protocol.md`
//! section 12).
//!
//! They are no stream: each piece is asked for, of whatever copy of the log has it, whatever its role is. What makes
//! the entries right is that they fit into the gap on both of its sides ([`crate::gap`]), not who sends them.

use serde::{Deserialize, Serialize};

use super::DecodeError;
use super::hot::split;
use crate::bytes::{put_u64, u64_at};
use crate::entry::{ENTRY_BYTES_MAX, Index, LogTip};
use crate::frame::{Frame, FrameKind, encode_frame};

/// Most bytes of entries that are sent at a time: any entry fits.
pub const ENTRIES_PIECE_BYTES_MAX: usize = ENTRY_BYTES_MAX;

/// Replica to replica: send me entries of your log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntriesRead {
    /// Those that go on after this one. A log that has another one there, or begins behind it, has none.
    pub after: LogTip,
}

/// Replica to replica: entries of my log, as many as there are, up to [`ENTRIES_PIECE_BYTES_MAX`] bytes. None: my log
/// does not have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntriesPiece<'a> {
    /// The entry that they go on after.
    pub after: Index,
    /// Whole encoded entries.
    pub bytes: &'a [u8],
}

const PIECE_BYTES: usize = 8;

impl<'a> EntriesPiece<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::EntriesPiece, |out| {
            put_u64(out, self.after.0);
            out.extend_from_slice(self.bytes);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is too short.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let (head, bytes) = split(frame, PIECE_BYTES)?;
        Ok(Self {
            after: Index(u64_at(head, 0)),
            bytes,
        })
    }
}

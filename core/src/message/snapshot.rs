//! The messages by which a follower fetches a snapshot, and by which states are compared.
//!
//! The follower asks for each piece, so a stream that breaks off goes on where it was, and no more is under way
//! than it can take (`protocol.md` section 8).

use serde::{Deserialize, Serialize};

use super::DecodeError;
use super::hot::split;
use crate::bytes::{put_u64, u64_at};
use crate::capture::SnapshotMark;
use crate::entry::Index;
use crate::frame::{Frame, FrameKind, encode_frame};
use crate::snapshot::{SNAPSHOT_STATE_BYTES_MAX, file_bytes};
use crate::view::ViewId;

/// Longest piece of a snapshot that is sent at a time, in bytes.
pub const SNAPSHOT_PIECE_BYTES_MAX: u32 = 256 << 10;

/// Primary to follower: the entries that you lack are gone; this snapshot has what they did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotOffer {
    /// The primary's view.
    pub view: ViewId,
    /// Names the exchange: what follows repeats it.
    pub nonce: u64,
    /// What the snapshot is of.
    pub mark: SnapshotMark,
    /// The digest of the state in it.
    pub state_digest: u128,
    /// Length of the state in it, in bytes.
    pub state_bytes: u64,
}

impl SnapshotOffer {
    /// Length of the snapshot's file, in bytes; `None`: there is none of such a state.
    #[must_use]
    pub fn file_bytes(&self) -> Option<u64> {
        (self.state_bytes <= SNAPSHOT_STATE_BYTES_MAX && self.mark.is_sound())
            .then(|| file_bytes(self.state_bytes))
    }
}

/// Follower to primary: send me this piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRead {
    /// From the offer.
    pub nonce: u64,
    /// The entry that the snapshot is as of.
    pub index: Index,
    /// Where the piece begins, in bytes from the beginning of the file.
    pub offset: u64,
    /// How long it is, in bytes; at most [`SNAPSHOT_PIECE_BYTES_MAX`]. Shorter at the file's end.
    pub length: u32,
}

/// Primary to follower: a piece of the snapshot. An empty one: it is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPiece<'a> {
    /// From the offer.
    pub nonce: u64,
    /// The entry that the snapshot is as of.
    pub index: Index,
    /// Where the piece begins.
    pub offset: u64,
    /// The piece.
    pub bytes: &'a [u8],
}

const PIECE_BYTES: usize = 24;

impl<'a> SnapshotPiece<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::SnapshotPiece, |out| {
            put_u64(out, self.nonce);
            put_u64(out, self.index.0);
            put_u64(out, self.offset);
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
            nonce: u64_at(head, 0),
            index: Index(u64_at(head, 8)),
            offset: u64_at(head, 16),
            bytes,
        })
    }
}

/// Follower to primary: this is my state as of an entry at which both take snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDigest {
    /// The stream's name, from [`super::Resume`].
    pub nonce: u64,
    /// The view that the follower has adopted; the stream's.
    pub view: ViewId,
    /// The entry.
    pub index: Index,
    /// The digest of the whole state after it.
    pub digest: u128,
}

//! What a replica remembers of its latest replies and states, for people who look for the entry at which two replicas
//! parted.
//!
//! A log has what was put in, not what came out. So each replica remembers the outcome of its latest entries in memory, and
//! writes it to its data directory when it is found that another's differs. `docs/format.md` has the bytes.

use crate::bytes::{put_u32, put_u64, put_u128, u16_at, u32_at, u64_at, u128_at};
use crate::digest::DigestChain;
use crate::entry::{ENTRY_REPLY_BYTES_MAX, Index};
use crate::identity::StoreId;

/// Version of the format.
pub const EVIDENCE_FORMAT_VERSION: u32 = 1;
/// Replies in it, at most.
pub const EVIDENCE_REPLIES_MAX: usize = 1 << 16;
/// Digests of states in it, at most.
pub const EVIDENCE_STATES_MAX: usize = 64;
/// How much of a reply is kept, at most, in bytes.
pub const REPLY_KEPT_BYTES_MAX: usize = 512;

const MAGIC: &[u8; 8] = b"STANEVID";
const AT_VERSION: usize = 8;
const AT_CHECKSUM: usize = 12;
const AT_STORE: usize = 16;
const AT_BEFORE: usize = 32;
const AT_CHAIN: usize = 40;
const AT_REPLIES: usize = 56;
const AT_STATES: usize = 60;
const HEADER_BYTES: usize = 64;
const REPLY_BYTES: usize = 24;
const STATE_BYTES: usize = 40;

/// What an entry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptReply {
    /// The chain over all replies, up to this one.
    pub chain: DigestChain,
    /// The status, as a number ([`crate::message::ReplyStatus`]).
    pub status: u8,
    /// Bytes of the whole reply: at most [`ENTRY_REPLY_BYTES_MAX`].
    pub length: u32,
    /// Its first bytes, [`REPLY_KEPT_BYTES_MAX`] at most; `None`: they are not remembered any more.
    pub bytes: Option<Vec<u8>>,
}

/// The digests after an entry, as a snapshot of this replica has recorded them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedState {
    /// The entry.
    pub index: Index,
    /// The chain over all replies up to there.
    pub reply_digest: u128,
    /// The digest of the state after it.
    pub state_digest: u128,
}

/// What a replica remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Its data directory.
    pub store: StoreId,
    /// The entry before the first that is remembered.
    pub before: Index,
    /// The chain over all replies up to there.
    pub chain: DigestChain,
    /// One for each entry from there on. [`EVIDENCE_REPLIES_MAX`] at most.
    pub replies: Vec<KeptReply>,
    /// Of the latest snapshots, in the order of their entries. [`EVIDENCE_STATES_MAX`] at most.
    pub states: Vec<RecordedState>,
}

/// Why bytes are no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// They do not begin as such a file does.
    #[error("it does not begin as evidence does")]
    Magic,
    /// Another version wrote it.
    #[error("its format version is {0}, and this program knows {EVIDENCE_FORMAT_VERSION}")]
    Version(u32),
    /// They are not what was written.
    #[error("its checksum is wrong")]
    Checksum,
    /// They cannot have been written.
    #[error("it is not what a replica writes")]
    Unsound,
}

impl Evidence {
    /// The last entry of which there is a reply; the one before the first if there is none.
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.before.0 + self.replies.len() as u64)
    }

    /// The chain over all replies up to an entry, if it is remembered.
    #[must_use]
    pub fn chain_at(&self, index: Index) -> Option<DigestChain> {
        match index == self.before {
            true => Some(self.chain),
            false => self.reply(index).map(|kept| kept.chain),
        }
    }

    /// What an entry came to, if it is remembered.
    #[must_use]
    pub fn reply(&self, index: Index) -> Option<&KeptReply> {
        let place = index.0.checked_sub(self.before.0)?.checked_sub(1)?;
        self.replies.get(usize::try_from(place).ok()?)
    }

    /// The bytes of it.
    ///
    /// # Panics
    /// If it has more than may be.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.is_sound(), "evidence within its bounds");
        let mut out = Vec::with_capacity(HEADER_BYTES + self.replies.len() * REPLY_BYTES * 2);
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, EVIDENCE_FORMAT_VERSION);
        put_u32(&mut out, 0);
        put_u128(&mut out, self.store.0);
        put_u64(&mut out, self.before.0);
        put_u128(&mut out, self.chain.0);
        put_u32(&mut out, count(self.replies.len()));
        put_u32(&mut out, count(self.states.len()));
        for state in &self.states {
            put_u64(&mut out, state.index.0);
            put_u128(&mut out, state.reply_digest);
            put_u128(&mut out, state.state_digest);
        }
        for reply in &self.replies {
            let bytes = reply.bytes.as_deref();
            put_u128(&mut out, reply.chain.0);
            put_u32(&mut out, reply.length);
            let kept = u16::try_from(bytes.unwrap_or_default().len()).expect("512 at most");
            out.extend_from_slice(&kept.to_le_bytes());
            out.push(reply.status);
            out.push(u8::from(bytes.is_some()));
            out.extend_from_slice(bytes.unwrap_or_default());
        }
        let checksum = crc32fast::hash(&out[AT_STORE..]);
        out[AT_CHECKSUM..AT_STORE].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads it back.
    ///
    /// # Errors
    /// [`EvidenceError`] if the bytes are not what [`Evidence::encode`] makes.
    pub fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
            return Err(EvidenceError::Magic);
        }
        let version = u32_at(bytes, AT_VERSION);
        if version != EVIDENCE_FORMAT_VERSION {
            return Err(EvidenceError::Version(version));
        }
        if u32_at(bytes, AT_CHECKSUM) != crc32fast::hash(&bytes[AT_STORE..]) {
            return Err(EvidenceError::Checksum);
        }
        let mut rest = &bytes[HEADER_BYTES..];
        let replies = u32_at(bytes, AT_REPLIES) as usize;
        let states = u32_at(bytes, AT_STATES) as usize;
        if replies > EVIDENCE_REPLIES_MAX || states > EVIDENCE_STATES_MAX {
            return Err(EvidenceError::Unsound);
        }
        let states = (0..states).map(|_| take_state(&mut rest));
        let states = states.collect::<Option<_>>();
        let replies = (0..replies).map(|_| take_reply(&mut rest));
        let evidence = Self {
            store: StoreId(u128_at(bytes, AT_STORE)),
            before: Index(u64_at(bytes, AT_BEFORE)),
            chain: DigestChain(u128_at(bytes, AT_CHAIN)),
            states: states.ok_or(EvidenceError::Unsound)?,
            replies: replies
                .collect::<Option<_>>()
                .ok_or(EvidenceError::Unsound)?,
        };
        match rest.is_empty() && evidence.is_sound() {
            true => Ok(evidence),
            false => Err(EvidenceError::Unsound),
        }
    }

    /// Whether it is within its bounds, and can be true.
    fn is_sound(&self) -> bool {
        let rises = |pair: &[RecordedState]| pair[0].index < pair[1].index;
        self.replies.len() <= EVIDENCE_REPLIES_MAX
            && self.states.len() <= EVIDENCE_STATES_MAX
            && self.states.windows(2).all(rises)
            && self
                .before
                .0
                .checked_add(self.replies.len() as u64)
                .is_some()
            && self.replies.iter().all(KeptReply::is_sound)
    }
}

impl KeptReply {
    fn is_sound(&self) -> bool {
        let whole = self.length as usize;
        let is_prefix = |kept: &Vec<u8>| kept.len() == whole.min(REPLY_KEPT_BYTES_MAX);
        whole <= ENTRY_REPLY_BYTES_MAX && self.bytes.as_ref().is_none_or(is_prefix)
    }

    /// The whole reply, if it is remembered.
    #[must_use]
    pub fn whole(&self) -> Option<&[u8]> {
        let bytes = self.bytes.as_deref()?;
        (bytes.len() == self.length as usize).then_some(bytes)
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("it is within its bound")
}

fn take_state(rest: &mut &[u8]) -> Option<RecordedState> {
    let (state, behind) = rest.split_at_checked(STATE_BYTES)?;
    *rest = behind;
    Some(RecordedState {
        index: Index(u64_at(state, 0)),
        reply_digest: u128_at(state, 8),
        state_digest: u128_at(state, 24),
    })
}

fn take_reply(rest: &mut &[u8]) -> Option<KeptReply> {
    let (head, behind) = rest.split_at_checked(REPLY_BYTES)?;
    let (kept, behind) = behind.split_at_checked(usize::from(u16_at(head, 20)))?;
    *rest = behind;
    let bytes = match head[23] {
        0 if kept.is_empty() => None,
        1 => Some(kept.to_vec()),
        _ => return None,
    };
    Some(KeptReply {
        chain: DigestChain(u128_at(head, 0)),
        length: u32_at(head, 16),
        status: head[22],
        bytes,
    })
}

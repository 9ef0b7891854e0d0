//! A reply that a session keeps, for its client may ask for it again.

use std::sync::Arc;

use super::Verdict;

/// Longest reply that is kept in its place, in bytes. It makes a kept reply 32 bytes long.
const SHORT_REPLY_BYTES_MAX: usize = 30;

/// A reply that is kept. Most are short, and keeping those allocates nothing.
#[derive(Clone, Debug)]
pub(super) enum KeptReply {
    Short {
        length: u8,
        bytes: [u8; SHORT_REPLY_BYTES_MAX],
    },
    /// Shared with the captures that were taken since, so that to copy a session copies no long reply.
    Long(Arc<[u8]>),
    /// The request made the machine fail and was skipped: the index of its entry.
    Skipped(u64),
}

impl KeptReply {
    /// The reply without bytes.
    pub(super) const EMPTY: Self = Self::Short {
        length: 0,
        bytes: [0; SHORT_REPLY_BYTES_MAX],
    };

    pub(super) fn new(reply: &[u8]) -> Self {
        let mut kept = Self::EMPTY;
        kept.fill(reply);
        kept
    }

    /// Makes an empty one this reply, where it stands: to move what was just written has the processor wait.
    pub(super) fn fill(&mut self, reply: &[u8]) {
        if let Self::Short { length, bytes } = self
            && let Ok(count) = u8::try_from(reply.len())
            && let Some(place) = bytes.get_mut(..reply.len())
        {
            place.copy_from_slice(reply);
            *length = count;
        } else {
            *self = Self::Long(reply.into());
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
            Self::Skipped(_) => &[],
        }
    }

    pub(super) fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Short { .. } | Self::Long(_) => Verdict::Repeat(self.bytes()),
            Self::Skipped(index) => Verdict::RepeatSkipped(*index),
        }
    }
}

//! What a replica lacks: room on its disk, and time.

use serde::{Deserialize, Serialize};

use crate::identity::StoreId;

/// How much room a replica has for more log. The order is that of want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Room {
    /// Nothing is wanting: the next segment has its room, or was not needed yet.
    #[default]
    Enough = 0,
    /// There was no room for the next segment. What is left of the one in use still takes entries.
    Lacking = 1,
    /// The same, and what is left is kept for what a change of view needs.
    Out = 2,
}

impl Room {
    pub(super) fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Enough,
            1 => Self::Lacking,
            2 => Self::Out,
            _ => return None,
        })
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Enough => "enough",
            Self::Lacking => "lacking",
            Self::Out => "out",
        }
    }
}

/// How far a follower is behind its primary in time, as the primary sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// The follower's data directory.
    pub store: StoreId,
    /// How long ago that was sent which it has not acknowledged, in milliseconds; 0 if there is nothing.
    pub unacknowledged_ms: u64,
    /// How long ago that was sent which it may apply, and has not, in milliseconds; 0 if there is nothing.
    pub unapplied_ms: u64,
}

impl Lag {
    /// The greater of the two.
    #[must_use]
    pub fn behind_ms(self) -> u64 {
        self.unacknowledged_ms.max(self.unapplied_ms)
    }
}

//! The proof of a death: a replica's parent process has reaped it (`protocol.md` section 3).

use serde::{Deserialize, Serialize};

use crate::view::Member;

/// In a [`Peer`](super::Peer), how long a life has not been seen that is known to have died, in
/// milliseconds.
pub const UNSEEN_DEAD_MS: u64 = u64::MAX;

/// A replica's parent process to view service: this life has died.
///
/// Only a wait status makes it true. A closed connection or silence does not, and neither does the
/// death of another life of that replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Died {
    /// The life.
    pub member: Member,
}

/// View service to a replica's parent process: the death is known. What follows from it is done, or
/// will be as soon as it can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiedReply {
    /// The life, as it was told.
    pub member: Member,
}

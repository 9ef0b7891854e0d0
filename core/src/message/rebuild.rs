//! How a lost view record is made again from what the replicas know (`standin recover --rebuild`).

use serde::{Deserialize, Serialize};

use super::REPLICAS_MAX;
use crate::entry::LogTip;
use crate::identity::{CLEAN_LIVES_MAX, Identity, ReplicaName, StoreId, Token};
use crate::poison::SKIPS_MAX;
use crate::view::{ViewId, ViewRecord};

/// What a replica keeps durably of a view that it has adopted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The record, as the replica had read it when it kept this.
    pub record: ViewRecord,
    /// The replicas for which it has asked, as this view's primary, for a Join: that may have landed, though it did
    /// not read so. At most [`REPLICAS_MAX`].
    pub joins: Vec<JoinAsked>,
}

/// A replica for which a Join was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAsked {
    /// Its name, for people.
    pub name: ReplicaName,
    /// Its data directory.
    pub store: StoreId,
}

impl Kept {
    /// What is kept of a view when it is adopted.
    #[must_use]
    pub fn of(record: &ViewRecord) -> Self {
        Self {
            record: record.clone(),
            joins: Vec::new(),
        }
    }

    /// Whether it is no longer than it may be.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.record.skips.len() <= SKIPS_MAX
            && matches!(self.record.holders.len(), 1 | 2)
            && self.joins.len() <= REPLICAS_MAX
    }
}

/// Replica to a view service that says that there is no record: here is what I know of it.
///
/// Sent after each report that is answered without a record, by a replica that has adopted a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Who knows it.
    pub identity: Identity,
    /// The highest view that it has adopted.
    pub adopted: ViewId,
    /// What it has kept of that view; `None` if its data directory is of a version that did not keep it, and it has
    /// not read the record in this life.
    pub kept: Option<Kept>,
    /// The token under which it is a holder in that view, or may be: its disk's from when it has asked for an
    /// Activate, and synced its log before.
    pub holds: Option<Token>,
    /// The end of its log.
    pub last: LogTip,
}

impl Witness {
    /// Whether it is no longer than it may be. What a sender of ours says always is.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.identity.clean_lives.len() <= CLEAN_LIVES_MAX
            && self.kept.as_ref().is_none_or(Kept::is_bounded)
    }
}

/// Operator to a view service without a record: make it again from what these replicas know. A
/// [`ForceReply`](super::ForceReply) answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuild {
    /// All replicas that the cluster has.
    pub replicas: Vec<ReplicaName>,
    /// Where the record cannot be made again for certain: who is to go on with what it has, whatever is lost.
    pub primary: Option<ReplicaName>,
    /// Whether to do that. Otherwise the answer says what would be lost, and nothing is done.
    pub accept_loss: bool,
}

impl Rebuild {
    /// Whether it is no longer than it may be.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.replicas.len() <= REPLICAS_MAX
    }
}

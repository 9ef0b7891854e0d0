//! What the view service keeps durably, and its form in a file. `docs/format.md` has the drawing.

use serde::{Deserialize, Serialize};
use standin_core::identity::{ClusterId, ReplicaName, StoreId, Token};
use standin_core::message::{REPLICAS_MAX, TokenDead, decode_payload};
use standin_core::poison::{SKIPS_MAX, Skip};
use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewNumber, ViewRecord};

use crate::fatal::{TENURES_MAX, Tenure};
use crate::framed::{FileKind, FrameError};
use crate::lease::LEASE_TERM_MAX;

/// Version of the file's format. Older ones are read, too.
pub const STATE_FORMAT_VERSION: u32 = 5;
/// Most dead tokens that are kept: the newest of each replica, and those that the record names.
pub(crate) const DEAD_TOKENS_MAX: usize = REPLICAS_MAX + 2;
/// Longest file, header included, in bytes.
pub const STATE_BYTES_MAX: usize = 64 << 10;

const KIND: FileKind = FileKind {
    magic: b"STANDVSV",
    version: STATE_FORMAT_VERSION,
    bytes_max: STATE_BYTES_MAX,
};

/// Everything that the view service must know after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredState {
    /// The cluster, drawn when the data directory was formatted.
    pub cluster: ClusterId,
    /// The view record; `None` before the first view.
    pub record: Option<ViewRecord>,
    /// The replicas that the cluster knows, in the order of their names. No two share a name or a
    /// store.
    pub replicas: Vec<Registered>,
    /// Longest lease term that was ever granted, in milliseconds.
    pub term_max_ms: u32,
    /// Tokens (store, boot) that died with a disk whose replica could not write that down itself. No
    /// life in such a boot counts, as long as it is that boot for it. At most one of each replica, and two more. Since
    /// version 2; none before.
    pub dead_tokens: Vec<TokenDead>,
    /// The life of a replica that was the primary of an active view last; `None` if that is not known. Since
    /// version 3.
    pub served: Option<Member>,
    /// The entry that made its machine fail, of which it has answered nothing. `None` once the record shows that
    /// it is skipped, or somebody else has served. Since version 3.
    pub poison: Option<Skip>,
    /// Who has served, oldest first, as far back as there is room; at most 16. Since version 5; of an earlier file none
    /// is known.
    pub tenures: Vec<Tenure>,
}

/// What came before version 3.
#[derive(Deserialize)]
struct StoredState2 {
    cluster: ClusterId,
    record: Option<ViewRecord2>,
    replicas: Vec<Registered>,
    term_max_ms: u32,
    dead_tokens: Vec<TokenDead>,
}

/// The record before version 3: it listed no skips.
#[derive(Deserialize)]
struct ViewRecord2 {
    cluster: ClusterId,
    data_epoch: DataEpoch,
    view: ViewNumber,
    primary: Member,
    backup: Option<Member>,
    holders: Vec<Holder>,
    active: bool,
    term_ms: u32,
    reason: Reason,
}

impl From<ViewRecord2> for ViewRecord {
    fn from(record: ViewRecord2) -> Self {
        Self {
            cluster: record.cluster,
            data_epoch: record.data_epoch,
            view: record.view,
            primary: record.primary,
            backup: record.backup,
            holders: record.holders,
            active: record.active,
            term_ms: record.term_ms,
            reason: record.reason,
            skips: Vec::new(),
        }
    }
}

impl From<StoredState2> for StoredState {
    fn from(state: StoredState2) -> Self {
        let mut state = Self {
            cluster: state.cluster,
            record: state.record.map(ViewRecord::from),
            replicas: state.replicas,
            term_max_ms: state.term_max_ms,
            dead_tokens: state.dead_tokens,
            served: None,
            poison: None,
            tenures: Vec::new(),
        };
        state.note_service();
        state
    }
}

/// A replica's name and the data directory that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The name.
    pub name: ReplicaName,
    /// The data directory.
    pub store: StoreId,
}

/// Why bytes are no state of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file has another length than its header says, or none that it may have.
    #[error("it is cut short or too long")]
    Length,
    /// The magic bytes are others.
    #[error("it is no view service's file")]
    Magic,
    /// Written by a version that this one does not read.
    #[error("its format {0} is unknown; this version reads formats 1 to {STATE_FORMAT_VERSION}")]
    Version(u32),
    /// The bytes are not those that were written.
    #[error("its checksum does not match")]
    Checksum,
    /// A field holds what it may not.
    #[error("it holds an impossible value")]
    Field,
}

impl StoredState {
    /// The state of a cluster that has had no view yet.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            record: None,
            replicas: Vec::new(),
            term_max_ms: 0,
            dead_tokens: Vec::new(),
            served: None,
            poison: None,
            tenures: Vec::new(),
        }
    }

    /// Whether its replica has said of a token that it is dead.
    #[must_use]
    pub fn is_dead(&self, token: Token) -> bool {
        let mut dead = self.dead_tokens.iter();
        dead.any(|dead| dead.token() == token)
    }

    /// Takes note that a token is dead.
    ///
    /// Of the other dead tokens of its store only those are kept that the record names: a machine is never
    /// in an earlier boot again, so no other can be named any more. One of a store that has no name and
    /// is no holder counts for nothing anyway.
    pub(crate) fn add_dead(&mut self, dead: TokenDead) {
        let (record, replicas) = (self.record.as_ref(), &self.replicas);
        let is_named = |it: &TokenDead| {
            let mut holders = record.iter().flat_map(|record| &record.holders);
            holders.any(|holder| holder.token == it.token())
        };
        let is_known = |it: &TokenDead| replicas.iter().any(|replica| replica.store == it.store);
        self.dead_tokens
            .retain(|it| is_named(it) || (is_known(it) && it.store != dead.store));
        if (is_named(&dead) || is_known(&dead)) && !self.dead_tokens.contains(&dead) {
            self.dead_tokens.push(dead);
        }
    }

    /// The store that a name belongs to.
    #[must_use]
    pub fn store_of(&self, name: &ReplicaName) -> Option<StoreId> {
        self.replicas
            .iter()
            .find(|replica| replica.name == *name)
            .map(|replica| replica.store)
    }

    /// Gives a name to a store.
    pub(crate) fn register(&mut self, name: &ReplicaName, store: StoreId) {
        let replicas = &mut self.replicas;
        match replicas.binary_search_by(|replica| replica.name.cmp(name)) {
            Ok(at) => replicas[at].store = store,
            Err(at) => {
                let name = name.clone();
                replicas.insert(at, Registered { name, store });
            }
        }
    }

    /// The whole file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.is_valid(), "about to write {self:?}");
        KIND.encode(self)
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`StateError`] if it is none, damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let (version, payload) = KIND.check(bytes)?;
        let state = match version {
            // What was appended since, as it is when nothing happened: no dead tokens.
            1 => decode_payload::<StoredState2>(&[payload, &[0]].concat()).map(Self::from),
            2 => decode_payload::<StoredState2>(payload).map(Self::from),
            // No tenures.
            3 | 4 => decode_payload::<Self>(&[payload, &[0]].concat()),
            _ => decode_payload::<Self>(payload),
        };
        state.filter(Self::is_valid).ok_or(StateError::Field)
    }

    fn is_valid(&self) -> bool {
        let are_different = self.replicas.iter().enumerate().all(|(at, replica)| {
            self.replicas[..at]
                .iter()
                .all(|other| other.name < replica.name && other.store != replica.store)
        });
        let record_is_valid = self.record.as_ref().is_none_or(|record| {
            record.cluster == self.cluster
                && record.skips.len() <= SKIPS_MAX
                && matches!(record.holders.len(), 1 | 2)
                && record.term_ms > 0
                && record.term_ms <= self.term_max_ms
        });
        self.replicas.len() <= REPLICAS_MAX
            && self.dead_tokens.len() <= DEAD_TOKENS_MAX
            && self.tenures.len() <= TENURES_MAX
            && self.tenures.iter().all(|it| it.first <= it.last)
            && u128::from(self.term_max_ms) <= LEASE_TERM_MAX.as_millis()
            && are_different
            && record_is_valid
    }
}

impl From<FrameError> for StateError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Length => Self::Length,
            FrameError::Magic => Self::Magic,
            FrameError::Version(version) => Self::Version(version),
            FrameError::Checksum => Self::Checksum,
        }
    }
}

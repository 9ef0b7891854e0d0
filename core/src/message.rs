//! Every message that parties exchange.
//!
//! Messages off the hot path are postcard-encoded structs; those on it (Command, Reply, Entries,
//! Ack) and pieces of snapshots have fixed little-endian fields and borrow their bytes. Field and variant order is the format:
//! append, never reorder, and raise [`PROTOCOL_VERSION`].

mod death;
mod entries;
mod history;
mod hot;
mod rebuild;
mod room;
mod several;
mod snapshot;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::entry::{Index, LogTip};
use crate::frame::{Frame, FrameKind, encode_frame};
use crate::identity::{
    BootId, CLEAN_LIVES_MAX, ClusterId, Durability, Identity, Incarnation, ReplicaName, StoreId,
    Token,
};
use crate::machine::MachineId;
use crate::mark::Fatal;
use crate::poison::{FAULT_WORDS_BYTES_MAX, LOG_SKIPS_MAX, Poison, Skip};
use crate::time::WallTime;
use crate::version::{VersionRange, VersionStanding};
use crate::view::{ViewId, ViewNumber, ViewRecord};

pub use crate::address::ADDRESS_BYTES_MAX;
pub use death::{Died, DiedReply, UNSEEN_DEAD_MS};
pub use entries::{ENTRIES_PIECE_BYTES_MAX, EntriesPiece, EntriesRead};
pub use history::{HISTORY_VIEWS_MAX, HistoryReply, HistoryRequest, PastView};
pub use hot::{Ack, CommandRequest, DirectRequest, Entries, QueryRequest, Reply, ReplyStatus};
pub use rebuild::{JoinAsked, Kept, Rebuild, Witness};
pub use room::{Lag, Room};
pub use several::{
    CommandRequests, QueryRequests, Replies, SEVERAL_BYTES_MAX, SEVERAL_MAX, encode_replies,
    requests_in,
};
pub use snapshot::{
    SNAPSHOT_PIECE_BYTES_MAX, SnapshotOffer, SnapshotPiece, SnapshotRead, StateDigest,
};

/// Version of everything that crosses a connection. Others are refused.
pub const PROTOCOL_VERSION: u32 = 8;
/// Most views that a [`Follow`] lists; the newest are listed.
pub const FOLLOW_VIEWS_MAX: usize = 4096;
/// Most replicas of a cluster.
pub const REPLICAS_MAX: usize = 16;

const HELLO_MAGIC: [u8; 8] = *b"STANDIN\0";

/// Why a payload is not the message that its frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {kind:?} message does not decode")]
pub struct DecodeError {
    /// The kind of the frame.
    pub kind: FrameKind,
}

/// A message that is encoded with postcard.
pub trait Message: Serialize + DeserializeOwned {
    /// The kind of frame that carries it.
    const KIND: FrameKind;

    /// Appends the message as a whole frame.
    fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, Self::KIND, |out| encode_payload(self, out));
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload does not hold exactly one such message.
    fn decode(frame: &Frame<'_>) -> Result<Self, DecodeError> {
        let error = DecodeError { kind: frame.kind };
        if frame.kind != Self::KIND {
            return Err(error);
        }
        decode_payload(frame.payload).ok_or(error)
    }
}

/// Appends the postcard form of a value.
pub fn encode_payload<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    struct Append<'a>(&'a mut Vec<u8>);
    impl postcard::ser_flavors::Flavor for Append<'_> {
        type Output = ();
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
    postcard::serialize_with_flavor(value, Append(out)).expect("writing to memory cannot fail");
}

/// Reads a postcard value that fills the payload exactly.
#[must_use]
pub fn decode_payload<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Some(value),
        Ok(_) | Err(_) => None,
    }
}

macro_rules! messages {
    ($($name:ident)*) => {
        $(impl Message for $name {
            const KIND: FrameKind = FrameKind::$name;
        })*
    };
}

messages! {
    Hello Refusal Report ReportReply Swap SwapReply Release Lookup LookupReply StatusRequest
    StatusReply TokenDead TokenDeadReply Force ForceReply Switchover SwitchoverReply Leave Died DiedReply HistoryRequest HistoryReply Poisoned Fatal Follow Resume HigherView OpenSession CloseSession
    Inspect InspectReply Witness Rebuild SnapshotOffer SnapshotRead StateDigest EntriesRead
}

/// What kind of party opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Party {
    /// A client, or a command that asks.
    Client,
    /// A replica.
    Replica,
    /// The view service.
    ViewService,
}

impl Party {
    /// The words for it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Replica => "replica",
            Self::ViewService => "view service",
        }
    }
}

/// The first frame in each direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    magic: [u8; 8],
    /// [`PROTOCOL_VERSION`] of the sender.
    pub version: u32,
    /// Who speaks.
    pub party: Party,
    /// The cluster that the sender belongs to; `None` if it does not know yet.
    pub cluster: Option<ClusterId>,
    /// A replica's machine.
    pub machine: Option<MachineId>,
}

impl Hello {
    /// A hello of this version.
    #[must_use]
    pub fn new(party: Party, cluster: Option<ClusterId>, machine: Option<MachineId>) -> Self {
        Self {
            magic: HELLO_MAGIC,
            version: PROTOCOL_VERSION,
            party,
            cluster,
            machine,
        }
    }

    /// Checks the other side's hello against one's own cluster and machine.
    ///
    /// # Errors
    /// [`Refusal`] to be sent before the connection is closed.
    pub fn check(
        &self,
        cluster: Option<ClusterId>,
        machine: Option<&MachineId>,
    ) -> Result<(), Refusal> {
        if self.magic != HELLO_MAGIC || self.version != PROTOCOL_VERSION {
            return Err(Refusal::Version {
                ours: PROTOCOL_VERSION,
            });
        }
        if let (Some(ours), Some(theirs)) = (cluster, self.cluster)
            && ours != theirs
        {
            return Err(Refusal::OtherCluster { ours });
        }
        // Which versions two replicas have in common they find out when one asks to follow the other.
        if let (Some(ours), Some(theirs)) = (machine, &self.machine)
            && ours.name() != theirs.name()
        {
            return Err(Refusal::OtherMachine { ours: ours.clone() });
        }
        Ok(())
    }
}

/// Why a connection is closed by the side that says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Another version of the protocol.
    #[error("the other side speaks protocol version {ours}, this one {PROTOCOL_VERSION}")]
    Version {
        /// The refusing side's version.
        ours: u32,
    },
    /// Another cluster.
    #[error("the other side belongs to another cluster ({ours})")]
    OtherCluster {
        /// The refusing side's cluster.
        ours: ClusterId,
    },
    /// Another machine.
    #[error("the other side runs the machine {ours}")]
    OtherMachine {
        /// The refusing side's machine.
        ours: MachineId,
    },
    /// The replica's name belongs to another data directory.
    #[error("the name is taken by a replica with another data directory ({store})")]
    NameTaken {
        /// The store that has the name.
        store: StoreId,
    },
    /// The cluster has as many replicas as it may.
    #[error("the cluster has {REPLICAS_MAX} replicas already")]
    TooManyReplicas,
    /// What was sent does not belong here.
    #[error("the other side did not understand what it was sent")]
    Protocol,
    /// Too many connections.
    #[error("the other side has too many connections")]
    Busy,
    /// Another life of the same data directory has reported, and this one is not a later one.
    #[error("another process has been started on this data directory, or on a copy of it, since")]
    Superseded,
    /// The view service knows as many replicas as a cluster may have, and none of them can be forgotten.
    #[error(
        "the cluster has {REPLICAS_MAX} replicas already ({}), and none that nothing rests on has \
         been away for long enough to give its name up",
        listed(names)
    )]
    NamesTaken {
        /// Their names.
        names: Vec<ReplicaName>,
    },
    /// The primary does not stream to this replica: its replies, or those of too many others, differed.
    #[error(
        "replies to the same entries differed, or the states after them, so the copy of one of the two is wrong"
    )]
    RepliesDiffer,
    /// In this boot of its machine the replica's disk failed, as an earlier process has said.
    #[error(
        "its disk failed in this boot of its machine, and its data directory does not say so yet"
    )]
    TokenDead,
    /// The primary executes a version of the machine that this replica does not support. Since protocol version 6.
    #[error("the primary's machine executes version {executing}")]
    MachineVersion {
        /// The version.
        executing: u32,
    },
}

fn listed(names: &[ReplicaName]) -> String {
    let names: Vec<&str> = names.iter().map(ReplicaName::as_str).collect();
    names[..names.len().min(REPLICAS_MAX)].join(", ")
}

/// What a replica is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoleName {
    /// The primary of an active view.
    Primary,
    /// The primary of an inactive view, on its way to take over.
    Candidate,
    /// The backup.
    Backup,
    /// In no role yet.
    Spare,
    /// Out of service until an operator has looked at it.
    Quarantined,
}

impl RoleName {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Candidate => "candidate",
            Self::Backup => "backup",
            Self::Spare => "spare",
            Self::Quarantined => "quarantined",
        }
    }
}

/// Where a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The view it has adopted.
    pub view: ViewId,
    /// What it is.
    pub role: RoleName,
    /// The end of its log.
    pub last: LogTip,
    /// What it knows to be committed.
    pub commit: Index,
    /// What it has applied.
    pub applied: Index,
    /// The chain over its replies at `applied`.
    pub reply_digest: u128,
}

/// Replica to view service: still here, and please renew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Rises with each report and swap on a connection; comes back in the reply.
    pub number: u64,
    /// Who reports.
    pub identity: Identity,
    /// Where others reach it.
    pub address: String,
    /// Where it stands.
    pub standing: Standing,
    /// The view whose lease is to be renewed; `None`: not asked for.
    pub renew: Option<ViewId>,
    /// The operator said that this new store takes over the name of a lost one.
    pub replace: bool,
    /// What keeps it from serving, in words, if anything.
    pub trouble: Option<String>,
    /// Whether its log has room. Since protocol version 4.
    pub room: Room,
    /// Of a primary: how far its followers are behind; at most [`REPLICAS_MAX`]. Since protocol version 4.
    pub lags: Vec<Lag>,
    /// The versions of its machine; `None` while it does not execute anything. Since protocol version 6.
    pub versions: Option<VersionStanding>,
}

/// A replica as the view service knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Who it is.
    pub identity: Identity,
    /// Where it is reached.
    pub address: String,
    /// How long ago it was last heard of, in milliseconds; [`UNSEEN_DEAD_MS`] if that life has died.
    pub unseen_ms: u64,
}

/// View service to replica: an answer to a report (with its number), or news (number 0) whenever the
/// record changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportReply {
    /// The report's number; 0 if this answers none.
    pub number: u64,
    /// The record; `None` before the first view.
    pub record: Option<ViewRecord>,
    /// Whether the renewal asked for was granted, for the record's `term_ms` from now.
    pub granted: bool,
    /// The view service's wall clock.
    pub wall: WallTime,
    /// All replicas that the view service knows.
    pub peers: Vec<Peer>,
}

/// Replica to view service: please swap the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// Rises with each report and swap on a connection; comes back in the reply.
    pub number: u64,
    /// Who asks.
    pub identity: Identity,
    /// The record as the asker knows it.
    pub expected: ViewRecord,
    /// What it shall become.
    pub proposed: ViewRecord,
}

/// View service to replica: the outcome of a swap. Sent when the record is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapReply {
    /// The swap's number.
    pub number: u64,
    /// Whether the record became what was proposed. Activate also renews the lease.
    pub accepted: bool,
    /// The record as it is now.
    pub record: Option<ViewRecord>,
    /// The view service's wall clock.
    pub wall: WallTime,
}

/// Replica to view service: I give my lease back and will answer nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Who gives it back.
    pub identity: Identity,
    /// The view it was for.
    pub view: ViewId,
}

/// Replica to view service: an entry made the machine fail in this or an earlier life of mine, which was
/// primary, and answered nothing of it. If that life still has the lease, it gives it back by this.
///
/// Said with each report until the record shows that the entry is skipped, or somebody else has served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poisoned {
    /// Who says so.
    pub identity: Identity,
    /// What happened.
    pub poison: Poison,
}

impl Poisoned {
    /// Whether its words are no longer than they may be. What a sender of ours says always is.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.poison.words.len() <= FAULT_WORDS_BYTES_MAX
            && self.identity.clean_lives.len() <= CLEAN_LIVES_MAX
    }
}

/// Replica to view service: the disk failed, so the token (store, boot) is dead, and I could not write
/// that down myself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenDead {
    /// The data directory.
    pub store: StoreId,
    /// The boot of its machine in which it failed.
    pub boot: BootId,
}

impl TokenDead {
    /// The token.
    #[must_use]
    pub fn token(self) -> Token {
        Token::Os {
            store: self.store,
            boot: self.boot,
        }
    }
}

/// View service to replica: it is kept durably that this token is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenDeadReply {
    /// The token, as it was told.
    pub dead: TokenDead,
}

/// Client to view service: who is primary?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup;

/// View service to client: the answer to a [`Lookup`]; and, over the same connection, news of every other
/// primary that takes over from then on, unasked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupReply {
    /// The record's view; `None` before the first.
    pub view: Option<ViewId>,
    /// The primary's address, if the view is active and the address known.
    pub primary: Option<String>,
    /// The lease term, in milliseconds.
    pub term_ms: u32,
}

/// Anyone to view service: how is everybody?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRequest;

/// One replica in a [`StatusReply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// As the view service knows it.
    pub peer: Peer,
    /// Its own last word; `None` if it has not reported since the view service started.
    pub standing: Option<Standing>,
    /// Whether it was heard of within a lease term.
    pub is_alive: bool,
    /// What it said keeps it from serving.
    pub trouble: Option<String>,
    /// Whether its log has room, by its own last word. Since protocol version 4.
    pub room: Option<Room>,
    /// How long ago the primary sent what this replica has not acknowledged or not applied yet, in milliseconds,
    /// by the primary's last word; `None` if the primary does not say. Since protocol version 4.
    pub behind_ms: Option<u64>,
    /// The versions of its machine, by its own last word. Since protocol version 6.
    pub versions: Option<VersionStanding>,
}

/// View service to anyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// The cluster.
    pub cluster: ClusterId,
    /// The record; `None` before the first view.
    pub record: Option<ViewRecord>,
    /// The lease term, in milliseconds.
    pub term_ms: u32,
    /// What is left of the lease, in milliseconds; `None` if nobody holds it.
    pub lease_remaining_ms: Option<u64>,
    /// The replicas, by name.
    pub replicas: Vec<ReplicaStatus>,
    /// Why nobody can serve and what to do about it, in words.
    pub unavailable: Option<String>,
    /// What is wrong with the view service itself and what to do about it, in words. Since protocol version 4.
    pub trouble: Option<String>,
}

/// Operator to view service: make this replica primary, though it may lack what was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Force {
    /// Which one.
    pub primary: ReplicaName,
    /// Whether to do it. Otherwise the answer says what would be lost, and nothing is done.
    pub accept_loss: bool,
}

/// View service to operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForceReply {
    /// What came of it.
    pub outcome: ForceOutcome,
    /// The record as it is now, durably.
    pub record: Option<ViewRecord>,
}

/// What came of a [`Force`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForceOutcome {
    /// The record names the replica.
    Done {
        /// What is lost by it, as far as anybody knows, in words.
        loss: String,
    },
    /// Nothing was done: it was not said that loss is accepted.
    WouldLose {
        /// What would be lost, as far as anybody knows, in words.
        loss: String,
    },
    /// Nothing was done, and would not be if loss were accepted.
    Refused {
        /// Why, and what to do instead, in words.
        reason: String,
    },
}

/// Operator to primary: hand over to your backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switchover {
    /// Whom to hand over to; `None`: to the backup, whoever that is.
    pub to: Option<ReplicaName>,
}

/// Primary to operator, once the outcome is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SwitchoverReply {
    /// The new primary serves.
    Done {
        /// The view that began with it.
        view: ViewId,
        /// The new primary.
        primary: ReplicaName,
        /// Its backup, which was primary before.
        backup: ReplicaName,
    },
    /// This replica is not the primary, or not yet.
    NotPrimary,
    /// The primary is who it was, and serves.
    Refused {
        /// Why, and what to do about it, in words.
        reason: String,
    },
    /// Nobody knows yet who the primary will be.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

/// Follower to primary: this process is about to stop. Sent by a backup, so that answers wait for it no
/// longer than the Drop takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// The stream's name, from its [`Resume`].
    pub nonce: u64,
}

/// Follower to primary: let me follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// Who follows.
    pub identity: Identity,
    /// The view it has adopted.
    pub view: ViewId,
    /// The end of its log.
    pub last: LogTip,
    /// The views in its log and where they begin: the newest [`FOLLOW_VIEWS_MAX`], in order.
    pub view_starts: Vec<(ViewNumber, Index)>,
    /// Where it answers Redis clients; `None`: nowhere. Since protocol version 5.
    pub resp: Option<Address>,
    /// The versions of the machine that it supports. Since protocol version 6.
    pub versions: VersionRange,
}

impl Follow {
    /// Whether it lists no more than it may. What a sender of ours says always does.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.view_starts.len() <= FOLLOW_VIEWS_MAX
            && self.identity.clean_lives.len() <= CLEAN_LIVES_MAX
    }
}

/// Primary to follower: this is the last entry that we have in common; what you have beyond it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The primary's view.
    pub view: ViewId,
    /// Names this stream: acknowledgements repeat it.
    pub nonce: u64,
    /// The entry in common; index 0 if there is none.
    pub common: LogTip,
    /// How durable an entry must be before it is acknowledged.
    pub durability: Durability,
    /// A follower that is silent for this long is dropped, in milliseconds.
    pub silence_ms: u32,
    /// Entries that are skipped: the follower may have them, or get them, before the ViewStart that lists them. At
    /// most [`LOG_SKIPS_MAX`]. Since protocol version 3.
    pub skips: Vec<Skip>,
    /// Where the primary answers Redis clients; `None`: nowhere. Since protocol version 5.
    pub resp: Option<Address>,
}

impl Resume {
    /// Whether it lists no more than it may.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.skips.len() <= LOG_SKIPS_MAX
    }
}

/// Either side of a stream: I know a higher view than the one you speak in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HigherView {
    /// The view that the sender has adopted.
    pub view: ViewId,
}

/// How far a client has seen: it accepts nothing lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seen {
    /// Data epoch and view.
    pub view: ViewId,
    /// Index.
    pub index: Index,
}

/// Client to replica: open a session. The reply's bytes are its id, a little-endian u64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The client's number for this request; comes back in the reply.
    pub id: u64,
    /// How far the client has seen.
    pub seen: Seen,
}

/// Client to replica: close a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseSession {
    /// The client's number for this request; comes back in the reply.
    pub id: u64,
    /// How far the client has seen.
    pub seen: Seen,
    /// The session.
    pub session: u64,
}

/// How fresh the state must be that a query is answered from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// Linearizable without a clock: the backup confirms that this primary still is one.
    #[default]
    Confirmed,
    /// Linearizable as long as clock rates are in bounds.
    Lease,
    /// From any replica, as of the index that the reply names.
    Stale,
}

impl Consistency {
    pub(super) fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Confirmed,
            1 => Self::Lease,
            2 => Self::Stale,
            _ => return None,
        })
    }
}

/// Anyone to replica: what is your state?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspect;

/// Replica to anyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectReply {
    /// Its name.
    pub name: ReplicaName,
    /// Its life.
    pub incarnation: Incarnation,
    /// Where it stands. What it has applied, and the chain over its replies, may be as of a moment ago:
    /// when the digest was made.
    pub standing: Standing,
    /// The digest of its whole state at `standing.applied`.
    pub state_digest: u128,
    /// Open sessions at `standing.applied`.
    pub sessions: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FRAME_PAYLOAD_BYTES_MAX;
    use crate::view::DataEpoch;

    fn view() -> ViewId {
        ViewId {
            data_epoch: DataEpoch(2),
            view: ViewNumber(3),
        }
    }

    fn round_trip(encoded: &[u8], check: impl Fn(&Frame<'_>)) {
        let frame = Frame::decode(encoded, FRAME_PAYLOAD_BYTES_MAX)
            .unwrap()
            .unwrap();
        check(&frame);
    }

    #[test]
    fn a_message_with_something_behind_it_is_refused() {
        let mut out = Vec::new();
        encode_frame(&mut out, FrameKind::HigherView, |out| {
            encode_payload(&HigherView { view: view() }, out);
            out.push(0);
        });
        round_trip(&out, |frame| assert!(HigherView::decode(frame).is_err()));
    }

    #[test]
    fn a_machine_of_no_possible_name_is_refused_before_anybody_prints_it() {
        for name in [&b"a\nb"[..], b"", &[b'a'; 33]] {
            let mut out = Vec::new();
            encode_frame(&mut out, FrameKind::Refusal, |out| {
                out.push(2); // OtherMachine
                out.push(u8::try_from(name.len()).unwrap());
                out.extend_from_slice(name);
                out.push(1);
            });
            round_trip(&out, |frame| assert!(Refusal::decode(frame).is_err()));
        }
    }

    #[test]
    fn a_hello_is_checked_for_version_cluster_and_machine() {
        let machine = MachineId::new("counter", 1).unwrap();
        let hello = Hello::new(Party::Replica, Some(ClusterId(1)), Some(machine.clone()));
        assert_eq!(hello.check(Some(ClusterId(1)), Some(&machine)), Ok(()));
        assert_eq!(hello.check(None, None), Ok(()));
        let refused = hello.check(Some(ClusterId(2)), None);
        assert_eq!(refused, Err(Refusal::OtherCluster { ours: ClusterId(2) }));
        let newer = MachineId::new("counter", 2).unwrap();
        assert_eq!(hello.check(None, Some(&newer)), Ok(()));
        let other = MachineId::new("abacus", 1).unwrap();
        assert!(hello.check(None, Some(&other)).is_err());
        let mut newer = hello;
        newer.version += 1;
        assert!(matches!(
            newer.check(None, None),
            Err(Refusal::Version { .. })
        ));
    }
}

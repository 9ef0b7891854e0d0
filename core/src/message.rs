//! Every message that parties exchange.
//!
//! Messages off the hot path are postcard-encoded structs; the four on it (Command, Reply, Entries,
//! Ack) have fixed little-endian fields and borrow their bytes. Field and variant order is the format:
//! append, never reorder, and raise [`PROTOCOL_VERSION`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bytes::{put_u32, put_u64, put_u128, u32_at, u64_at, u128_at};
use crate::entry::{Index, LogTip};
use crate::frame::{Frame, FrameKind, encode_frame};
use crate::identity::{ClusterId, Durability, Identity, Incarnation, ReplicaName, StoreId};
use crate::machine::MachineId;
use crate::time::WallTime;
use crate::view::{DataEpoch, ViewId, ViewNumber, ViewRecord};

/// Version of everything that crosses a connection. Others are refused.
pub const PROTOCOL_VERSION: u32 = 1;
/// Most views that a [`Follow`] lists; the newest are listed.
pub const FOLLOW_VIEWS_MAX: usize = 4096;
/// Most replicas of a cluster.
pub const REPLICAS_MAX: usize = 16;
/// Longest address (`HOST:PORT`), in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;

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
    StatusReply Follow Resume HigherView OpenSession CloseSession Inspect InspectReply
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
        if let (Some(ours), Some(theirs)) = (machine, &self.machine)
            && ours != theirs
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
    /// Another machine, or another version of it.
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
}

/// A replica as the view service knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Who it is.
    pub identity: Identity,
    /// Where it is reached.
    pub address: String,
    /// How long ago it was last heard of, in milliseconds.
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

/// Client to view service: who is primary?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup;

/// View service to client.
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
}

/// Primary to follower: this is the last entry that we have in common; what you have beyond it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Confirmed,
            1 => Self::Lease,
            2 => Self::Stale,
            _ => return None,
        })
    }
}

fn put_seen(out: &mut Vec<u8>, seen: Seen) {
    put_u64(out, seen.view.view.0);
    put_u64(out, seen.index.0);
    put_u32(out, seen.view.data_epoch.0);
}

fn seen_at(bytes: &[u8], at: usize) -> Seen {
    Seen {
        view: ViewId {
            view: ViewNumber(u64_at(bytes, at)),
            data_epoch: DataEpoch(u32_at(bytes, at + 16)),
        },
        index: Index(u64_at(bytes, at + 8)),
    }
}

/// Client to replica: a command within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandRequest<'a> {
    /// The client's number for this request; comes back in the reply.
    pub id: u64,
    /// How far the client has seen.
    pub seen: Seen,
    /// The session.
    pub session: u64,
    /// The request's number in the session, from 1.
    pub sequence: u64,
    /// The client has the replies of all requests up to this one.
    pub acknowledged: u64,
    /// The machine's command.
    pub bytes: &'a [u8],
}

const COMMAND_REQUEST_BYTES: usize = 52;

impl<'a> CommandRequest<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Command, |out| {
            put_u64(out, self.id);
            put_u64(out, self.session);
            put_u64(out, self.sequence);
            put_u64(out, self.acknowledged);
            put_seen(out, self.seen);
            out.extend_from_slice(self.bytes);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is too short.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let (head, bytes) = split(frame, COMMAND_REQUEST_BYTES)?;
        Ok(Self {
            id: u64_at(head, 0),
            session: u64_at(head, 8),
            sequence: u64_at(head, 16),
            acknowledged: u64_at(head, 24),
            seen: seen_at(head, 32),
            bytes,
        })
    }
}

/// Client to replica: a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryRequest<'a> {
    /// The client's number for this request; comes back in the reply.
    pub id: u64,
    /// How far the client has seen.
    pub seen: Seen,
    /// How fresh the state must be.
    pub consistency: Consistency,
    /// The machine's query.
    pub bytes: &'a [u8],
}

const QUERY_REQUEST_BYTES: usize = 29;

impl<'a> QueryRequest<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Query, |out| {
            put_u64(out, self.id);
            put_seen(out, self.seen);
            out.push(self.consistency as u8);
            out.extend_from_slice(self.bytes);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is too short or names an unknown consistency.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let (head, bytes) = split(frame, QUERY_REQUEST_BYTES)?;
        let consistency = Consistency::from_u8(head[28]).ok_or(DecodeError { kind: frame.kind })?;
        Ok(Self {
            id: u64_at(head, 0),
            seen: seen_at(head, 8),
            consistency,
            bytes,
        })
    }
}

fn split<'a>(frame: &Frame<'a>, at: usize) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    frame
        .payload
        .split_at_checked(at)
        .ok_or(DecodeError { kind: frame.kind })
}

/// How a request went. The numbers are the format: append, never reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyStatus {
    /// Done; the bytes are the machine's reply.
    Done = 0,
    /// This replica does not serve; nothing was done. The bytes are the primary's address, or empty.
    NotPrimary = 1,
    /// The request was ordered, but this replica lost its role before it knew the outcome: the
    /// request may or may not be executed by the next primary. Repeat it with the same session and
    /// sequence number. The bytes are the primary's address, or empty.
    OutcomeUnknown = 2,
    /// The session is unknown or has expired; nothing was done.
    SessionUnknown = 3,
    /// The sequence number is not the next; nothing was done.
    SequenceGap = 4,
    /// Executed before, and the reply is no longer kept.
    SequenceAcknowledged = 5,
    /// A limit is exceeded; nothing was done. The bytes say which, in words.
    Refused = 6,
    /// Too much is waiting; nothing was done. Try again later.
    Overloaded = 7,
}

impl ReplyStatus {
    fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Done,
            1 => Self::NotPrimary,
            2 => Self::OutcomeUnknown,
            3 => Self::SessionUnknown,
            4 => Self::SequenceGap,
            5 => Self::SequenceAcknowledged,
            6 => Self::Refused,
            7 => Self::Overloaded,
            _ => return None,
        })
    }
}

/// Replica to client: the outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The client's number for the request.
    pub id: u64,
    /// How it went.
    pub status: ReplyStatus,
    /// The view of the replica that answers, and the index as of which it does.
    pub seen: Seen,
    /// The primary is solo: its disk holds the only copy.
    pub is_solo: bool,
    /// What the status says they are.
    pub bytes: &'a [u8],
}

const REPLY_BYTES: usize = 32;
const REPLY_FLAG_SOLO: u8 = 1;

impl<'a> Reply<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Reply, |out| {
            put_u64(out, self.id);
            put_seen(out, self.seen);
            out.push(self.status as u8);
            out.push(if self.is_solo { REPLY_FLAG_SOLO } else { 0 });
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(self.bytes);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is too short or a field has an unknown value.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let error = DecodeError { kind: frame.kind };
        let (head, bytes) = split(frame, REPLY_BYTES)?;
        let status = ReplyStatus::from_u8(head[28]).ok_or(error)?;
        if head[29] > REPLY_FLAG_SOLO || head[30..] != [0, 0] {
            return Err(error);
        }
        let is_solo = head[29] == REPLY_FLAG_SOLO;
        Ok(Self {
            id: u64_at(head, 0),
            status,
            seen: seen_at(head, 8),
            is_solo,
            bytes,
        })
    }
}

/// Primary to follower: entries, or none for a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    /// The stream's name, from [`Resume`].
    pub nonce: u64,
    /// The primary's view. Entries of earlier views may be inside.
    pub view: ViewId,
    /// Rises with every message of the stream; the acknowledgement repeats the highest that came.
    pub round: u64,
    /// What the primary has applied, so what the follower may.
    pub commit: Index,
    /// Encoded entries, following those sent before.
    pub bytes: &'a [u8],
}

const ENTRIES_BYTES: usize = 36;

impl<'a> Entries<'a> {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Entries, |out| {
            put_u64(out, self.nonce);
            put_u64(out, self.view.view.0);
            put_u64(out, self.round);
            put_u64(out, self.commit.0);
            put_u32(out, self.view.data_epoch.0);
            out.extend_from_slice(self.bytes);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload is too short.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let (head, bytes) = split(frame, ENTRIES_BYTES)?;
        Ok(Self {
            nonce: u64_at(head, 0),
            view: ViewId {
                view: ViewNumber(u64_at(head, 8)),
                data_epoch: DataEpoch(u32_at(head, 32)),
            },
            round: u64_at(head, 16),
            commit: Index(u64_at(head, 24)),
            bytes,
        })
    }
}

/// Follower to primary: what I have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The stream's name, from [`Resume`].
    pub nonce: u64,
    /// The view that the follower has adopted; the stream's.
    pub view: ViewId,
    /// The highest round that came.
    pub round: u64,
    /// Everything up to here is as durable as the stream's level says.
    pub durable: Index,
    /// Everything up to here is applied.
    pub applied: Index,
    /// The chain over the replies up to `applied`.
    pub reply_digest: u128,
}

const ACK_BYTES: usize = 60;

impl Ack {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_frame(out, FrameKind::Ack, |out| {
            put_u64(out, self.nonce);
            put_u64(out, self.view.view.0);
            put_u64(out, self.round);
            put_u64(out, self.durable.0);
            put_u64(out, self.applied.0);
            put_u128(out, self.reply_digest);
            put_u32(out, self.view.data_epoch.0);
        });
    }

    /// Reads the message from a frame of its kind.
    ///
    /// # Errors
    /// [`DecodeError`] if the payload has another length.
    pub fn decode(frame: &Frame<'_>) -> Result<Self, DecodeError> {
        let (head, rest) = split(frame, ACK_BYTES)?;
        if !rest.is_empty() {
            return Err(DecodeError { kind: frame.kind });
        }
        Ok(Self {
            nonce: u64_at(head, 0),
            view: ViewId {
                view: ViewNumber(u64_at(head, 8)),
                data_epoch: DataEpoch(u32_at(head, 56)),
            },
            round: u64_at(head, 16),
            durable: Index(u64_at(head, 24)),
            applied: Index(u64_at(head, 32)),
            reply_digest: u128_at(head, 40),
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
    /// Where it stands.
    pub standing: Standing,
    /// The digest of its whole state at `standing.applied`.
    pub state_digest: u128,
    /// Open sessions.
    pub sessions: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FRAME_PAYLOAD_BYTES_MAX;

    fn view() -> ViewId {
        ViewId {
            data_epoch: DataEpoch(2),
            view: ViewNumber(3),
        }
    }

    fn seen() -> Seen {
        Seen {
            view: view(),
            index: Index(4),
        }
    }

    fn round_trip(encoded: &[u8], check: impl Fn(&Frame<'_>)) {
        let frame = Frame::decode(encoded, FRAME_PAYLOAD_BYTES_MAX)
            .unwrap()
            .unwrap();
        check(&frame);
    }

    #[test]
    fn the_messages_of_the_hot_path_read_back() {
        let command = CommandRequest {
            id: 1,
            seen: seen(),
            session: 5,
            sequence: 6,
            acknowledged: 7,
            bytes: b"x",
        };
        let mut out = Vec::new();
        command.encode(&mut out);
        round_trip(&out, |frame| {
            assert_eq!(CommandRequest::decode(frame), Ok(command))
        });

        let query = QueryRequest {
            id: 1,
            seen: seen(),
            consistency: Consistency::Stale,
            bytes: b"q",
        };
        out.clear();
        query.encode(&mut out);
        round_trip(&out, |frame| {
            assert_eq!(QueryRequest::decode(frame), Ok(query))
        });

        let reply = Reply {
            id: 1,
            status: ReplyStatus::SequenceGap,
            seen: seen(),
            is_solo: true,
            bytes: b"r",
        };
        out.clear();
        reply.encode(&mut out);
        round_trip(&out, |frame| assert_eq!(Reply::decode(frame), Ok(reply)));

        let entries = Entries {
            nonce: 9,
            view: view(),
            round: 8,
            commit: Index(7),
            bytes: b"entries",
        };
        out.clear();
        entries.encode(&mut out);
        round_trip(&out, |frame| {
            assert_eq!(Entries::decode(frame), Ok(entries))
        });

        let ack = Ack {
            nonce: 9,
            view: view(),
            round: 8,
            durable: Index(7),
            applied: Index(6),
            reply_digest: u128::MAX - 5,
        };
        out.clear();
        ack.encode(&mut out);
        round_trip(&out, |frame| assert_eq!(Ack::decode(frame), Ok(ack)));
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
    fn a_hello_is_checked_for_version_cluster_and_machine() {
        let machine = MachineId::new("counter", 1).unwrap();
        let hello = Hello::new(Party::Replica, Some(ClusterId(1)), Some(machine.clone()));
        assert_eq!(hello.check(Some(ClusterId(1)), Some(&machine)), Ok(()));
        assert_eq!(hello.check(None, None), Ok(()));
        let refused = hello.check(Some(ClusterId(2)), None);
        assert_eq!(refused, Err(Refusal::OtherCluster { ours: ClusterId(2) }));
        let other = MachineId::new("counter", 2).unwrap();
        assert!(hello.check(None, Some(&other)).is_err());
        let mut newer = hello;
        newer.version += 1;
        assert!(matches!(
            newer.check(None, None),
            Err(Refusal::Version { .. })
        ));
    }
}

//! What a replica is told, and what it has done: everything that goes in and comes out.

use std::sync::Arc;

use standin_core::capture::SnapshotMark;
use standin_core::conn::ConnId;
use standin_core::entry::{Batch, Index, LogTip};
use standin_core::evidence::Evidence;
use standin_core::identity::Token;
use standin_core::mark::Fatal;
use standin_core::message::{
    Ack, Entries, EntriesRead, Follow, HigherView, InspectReply, Kept, Leave, Poisoned, Refusal,
    Release, Report, ReportReply, Resume, SnapshotOffer, SnapshotPiece, SnapshotRead, StateDigest,
    Swap, SwapReply, Switchover, SwitchoverReply, Witness,
};
use standin_core::poison::Poison;
use standin_core::view::ViewId;
use standin_primary::Payload;

use crate::answers::Request;
use crate::room::LogRoom;
use crate::snapshots::{KeptSnapshot, SharedImage};

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The deadline that was asked for has come.
    Deadline,
    /// All input of this wake-up was handed in.
    Flush,
    /// What was to be said to other replicas has left, after [`Event::Flush`]: what is committed is applied now, while they
    /// work on it, and clients are answered. Once in each wake-up.
    Apply,
    /// A connection to the view service is ready.
    ViewServiceUp,
    /// That connection is gone.
    ViewServiceDown,
    /// The view service answers a report, or has news.
    ReportReply(&'a ReportReply),
    /// The view service answers a swap.
    SwapReply(&'a SwapReply),
    /// Requests of clients, all of one wake-up.
    Requests(&'a [Request<'a>]),
    /// The connection that [`Action::Dial`] asked for is ready.
    Dialled(ConnId),
    /// That connection is gone, or never came about.
    DialClosed,
    /// The same, and the replica there has said why.
    DialRefused(&'a Refusal),
    /// The primary that this replica follows says where the logs part.
    Resume(ConnId, &'a Resume),
    /// The primary that this replica follows sends entries.
    Entries(ConnId, &'a Entries<'a>),
    /// The primary that this replica follows offers a snapshot.
    Offer(ConnId, &'a SnapshotOffer),
    /// The answer to [`Action::BeginFetch`]: so many bytes of the snapshot are here already.
    FetchBegun(u64),
    /// The primary that this replica follows sends a piece of a snapshot.
    Piece(ConnId, &'a SnapshotPiece<'a>),
    /// The answer to [`Action::CheckFetched`]: the snapshot as of this entry is what was offered, or is not.
    Fetched(Index, bool),
    /// The snapshot of [`Action::TakeSnapshot`] is durable.
    SnapshotTaken(KeptSnapshot),
    /// There is no room for it; what was attempted, and what is wrong.
    SnapshotFailed(&'a str),
    /// The answer to [`Action::Digest`].
    Digested(u128),
    /// The answer to [`Action::Forget`]: the log goes from right after this entry on.
    Forgotten(LogTip),
    /// A follower asks for a piece of a snapshot.
    SnapshotRead(ConnId, &'a SnapshotRead),
    /// A follower tells of its state.
    StateDigest(ConnId, &'a StateDigest),
    /// A replica whose log is damaged asks for entries.
    EntriesRead(ConnId, &'a EntriesRead),
    /// A follower asks to follow.
    Follow(ConnId, &'a Follow),
    /// A follower acknowledges.
    Ack(ConnId, &'a Ack),
    /// The other side of a stream knows a higher view.
    HigherView(HigherView),
    /// A connection that was accepted is gone.
    Closed(ConnId),
    /// Someone asks for this replica's state.
    Inspect(ConnId),
    /// An operator asks this primary to hand over; [`Action::Switched`] answers.
    Switchover(ConnId, &'a Switchover),
    /// A follower is about to stop.
    FollowerLeaves(ConnId, Leave),
    /// The process is to stop soon: hand over first, or tell the primary. [`Replica::has_left`](crate::Replica::has_left) says when
    /// [`Event::Stop`] may come without anybody waiting for this replica.
    Leave,
    /// Everything up to here is in the page cache.
    Written(Index),
    /// Everything up to here is on the disk.
    Synced(Index),
    /// What may be appended to the log: when it was opened, cut or begun anew, and whenever it has come to be more or
    /// less by something else than what was appended since. What the disk said, if there is no room.
    Room(LogRoom, Option<&'a str>),
    /// The answer to [`Action::ReadLog`].
    LogRead(ReadFor, Vec<u8>),
    /// The log was cut durably: this is its end.
    Cut(LogTip),
    /// The view that [`Action::Adopt`] named is kept durably.
    Adopted(ViewId),
    /// What [`Action::NotePoison`] named is kept durably.
    PoisonNoted,
    /// The process is to end: give the lease back and answer nothing more.
    Stop,
}

/// What a piece of the log is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFor {
    /// To be applied here.
    Apply,
    /// To be compared with the primary's.
    Check,
    /// To be sent to a follower.
    Follower(ConnId),
    /// To be sent to a replica whose log is damaged, which has the log up to this entry. What cannot be read is
    /// nothing.
    Lend(ConnId, LogTip),
}

/// How much people should care about a line in the log output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Part of a normal life.
    Info,
    /// Something should be looked at.
    Warn,
    /// Something must be looked at.
    Error,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send to the view service.
    Report(Box<Report>),
    /// Send to the view service.
    Swap(Box<Swap>),
    /// Send to the view service.
    Release(Box<Release>),
    /// The view service does not answer: connect anew, to another address if there is one.
    RedialViewService,
    /// Keep this view durably as the highest that was adopted, and the token under which its record names this
    /// replica as a holder, or may come to name it before it reads so; [`Event::Adopted`] tells when it is. The view may be the one that was adopted
    /// before: then it is only to be done before what follows. With them goes what is to be told of that view
    /// if the view service should lose its record; `None`: it is not known, for an earlier version did not keep it.
    Adopt(ViewId, Option<Token>, Option<Box<Kept>>),
    /// Keep durably that an entry made the machine fail; [`Event::PoisonNoted`] tells when it is.
    NotePoison(Poison),
    /// Send to the view service.
    Poisoned(Box<Poisoned>),
    /// Send to the view service.
    Fatal(Box<Fatal>),
    /// Send to the view service.
    Witness(Box<Witness>),
    /// Keep durably that this replica is out of service, and why.
    Quarantine(String),
    /// Append to the log; [`Event::Written`] tells when it is in the page cache.
    Append(Arc<Batch>),
    /// Make all that was appended durable; [`Event::Synced`] tells when it is.
    Sync,
    /// Read entries from an index on, at most about so many bytes; [`Event::LogRead`] answers.
    ReadLog(ReadFor, Index, usize),
    /// Remove everything after this index, durably; [`Event::Cut`] tells when it is done.
    Cut(Index),
    /// Write this state as a snapshot, beside the loop; [`Event::SnapshotTaken`] tells when it is durable,
    /// [`Event::SnapshotFailed`] that there is no room.
    TakeSnapshot(SnapshotMark, SharedImage),
    /// Digest this state, beside the loop; [`Event::Digested`] answers.
    Digest(SharedImage),
    /// Keep this in the data directory, beside the loop, for people: another replica has come to something else.
    KeepEvidence(Box<Evidence>),
    /// Remove the snapshots before the one of this entry, and the log up to there; [`Event::Forgotten`] tells
    /// what is left of it.
    Forget(Index),
    /// Read a piece of a snapshot and send it to a follower; an empty one if it is not there.
    ReadSnapshot(ConnId, SnapshotRead),
    /// Make ready to keep this snapshot; [`Event::FetchBegun`] tells how much of it is here from earlier.
    BeginFetch(Box<SnapshotOffer>),
    /// Keep a piece of it, which begins here.
    StorePiece(u64, Vec<u8>),
    /// All of it is here: read it, beside the loop; [`Event::Fetched`] tells whether it is whole.
    CheckFetched,
    /// Let this snapshot, which was fetched and is whole, take the place of all other snapshots and of the
    /// log, durably; then call [`Replica::install`](crate::Replica::install).
    Install(Box<SnapshotOffer>),
    /// Connect to the primary at this address.
    Dial(String),
    /// Close the connection to the primary.
    Hang,
    /// Send to the primary.
    Follow(ConnId, Box<Follow>),
    /// Send to the primary.
    Ack(ConnId, Ack),
    /// Send to the primary.
    SnapshotRead(ConnId, SnapshotRead),
    /// Send to the primary.
    StateDigest(ConnId, StateDigest),
    /// Send to a replica whose log is damaged: these entries, which go on after that one.
    EntriesPiece(ConnId, Index, Vec<u8>),
    /// Send to a follower.
    Resume(ConnId, Resume),
    /// Send to a follower.
    Offer(ConnId, Box<SnapshotOffer>),
    /// Send to a follower.
    Entries {
        /// Its connection.
        conn: ConnId,
        /// The stream's name.
        nonce: u64,
        /// The view.
        view: ViewId,
        /// The message's number in the stream.
        round: u64,
        /// What may be applied.
        commit: Index,
        /// The entries.
        payload: Payload,
    },
    /// Send to the other side of a stream.
    HigherView(ConnId, ViewId),
    /// Close a follower's connection.
    CloseFollower(ConnId),
    /// Say why, then close a follower's connection.
    RefuseFollower(ConnId, Refusal),
    /// Send to whoever asked.
    Inspected(ConnId, Box<InspectReply>),
    /// Send to whoever asked.
    Switched(ConnId, Box<SwitchoverReply>),
    /// Send to the primary.
    Leave(ConnId, Leave),
    /// Tell people.
    Log(Level, String),
}

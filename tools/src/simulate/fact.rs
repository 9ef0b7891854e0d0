//! What happens in a run, as the checkers see it.

use standin_core::entry::{Batch, Index, LogTip};
use standin_core::identity::{Identity, StoreId};
use standin_core::message::{Ack, Consistency, ReplyStatus, Seen, Standing, Swap, TokenDead};
use standin_core::poison::Skip;
use standin_core::time::Instant;
use standin_core::view::{ViewId, ViewRecord};

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A session to be opened.
    Open,
    /// A session to be closed.
    Close,
    /// A command.
    Command {
        /// Its session.
        session: u64,
        /// Its number in the session.
        sequence: u64,
    },
    /// A command that belongs to no session.
    Direct,
    /// A query.
    Read(Consistency),
}

impl Asked {
    /// It, in words.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Open => "the opening of a session".to_owned(),
            Self::Close => "the end of a session".to_owned(),
            Self::Command { session, sequence } => {
                format!("command {sequence} of session {session}")
            }
            Self::Direct => "a command without a session".to_owned(),
            Self::Read(_) => "a query".to_owned(),
        }
    }
}

/// An answer that leaves a replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) host: usize,
    pub(crate) asked: Asked,
    /// The query, if it was one.
    pub(crate) query: &'a [u8],
    pub(crate) status: ReplyStatus,
    pub(crate) seen: Seen,
    pub(crate) bytes: &'a [u8],
    /// Where the replica stands as it answers.
    pub(crate) standing: Standing,
    /// Whether, by its own clock, it held the lease as it came to the answer.
    pub(crate) has_lease: bool,
}

impl Answered<'_> {
    /// What it tells of the outcome, if it tells any: that its entry was executed, with this reply, or skipped.
    pub(crate) fn outcome(&self) -> Option<(ReplyStatus, Vec<u8>)> {
        let is_told = matches!(self.status, ReplyStatus::Done | ReplyStatus::Skipped);
        is_told.then(|| (self.status, self.bytes.to_vec()))
    }
}

/// How a call of a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End<'a> {
    /// With the machine's reply.
    Answered(&'a [u8], Seen),
    /// Not executed, the client says, and never will be.
    NotExecuted,
    /// Nobody knows.
    Unknown,
}

/// Who has heard of a disk failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nobody: the log thread is still at it.
    Not,
    /// The process, which could not note it in the data directory.
    Unnoted,
    /// The process, and every later one by the data directory.
    Noted,
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fact<'a> {
    /// A replica's process began, with what it has on disk.
    Started {
        host: usize,
        identity: &'a Identity,
        adopted: ViewId,
        /// The entry up to which it has a snapshot, and the digest of the state in it.
        snapshot: Option<(Index, u128)>,
        /// The entry before the first in its log.
        base: LogTip,
        /// All that it has of the log.
        log: &'a [u8],
    },
    /// A replica writes a snapshot as of an entry: from now on it may have it.
    SnapshotTaken {
        host: usize,
        tip: LogTip,
        state_digest: u128,
    },
    /// A replica goes on from a snapshot that it fetched, in place of its log.
    Installed {
        host: usize,
        tip: LogTip,
        state_digest: u128,
        /// Where it stood before.
        standing: Standing,
    },
    /// A process ended, with its machine's power or without: it was killed, or ended by itself.
    Ended {
        host: usize,
        lost_power: bool,
        is_killed: bool,
    },
    /// A replica that is about to stop has its whole log on the platter, and writes no more to it.
    AllSynced { host: usize },
    /// A replica's disk was replaced by an empty one.
    Wiped { host: usize },
    /// An older copy of a replica's disk was put back, which is of this store, if of any.
    Restored { host: usize, store: Option<StoreId> },
    /// Something on a replica's disk is damaged: one bit, or a whole block.
    Rotted { host: usize, is_bit: bool },
    /// From here on a replica's machine replies wrongly.
    Falsified { host: usize, from: Index },
    /// From here on the state of a replica's machine comes to be another.
    StraysFrom { host: usize, from: Index },
    /// A replica goes on in a state that is another than it should be, or no longer does.
    Strayed { host: usize, has: bool },
    /// A replica appended to its log: as primary, or as a follower.
    Appended {
        host: usize,
        batch: &'a Batch,
        is_primary: bool,
    },
    /// Everything up to here is on a replica's platter.
    Synced { host: usize, through: Index },
    /// A replica's disk failed, and may have forgotten what the page cache had.
    DiskFailed { host: usize, heard: Heard },
    /// The view service knows a data directory, durably. Nobody counts on one that it does not know.
    Known { store: StoreId },
    /// The view service keeps durably that a token died with its disk.
    TokenKept { dead: TokenDead },
    /// A replica cut its log.
    Cut {
        host: usize,
        after: Index,
        standing: Standing,
    },
    /// A replica has a view durably.
    Adopted { host: usize, view: ViewId },
    /// A replica's machine failed at an entry.
    Poisoned { host: usize, skip: Skip },
    /// A replica's process died while its machine executed an entry.
    DiedAt { entry: Skip },
    /// A replica put itself out of service.
    Quarantined { host: usize, why: &'a str },
    /// A replica could not start from its own disk.
    Unstartable { host: usize, why: &'a str },
    /// A process has begun that only seeks what its log lacks.
    Mending { identity: &'a Identity },
    /// A replica writes these entries where its log lacks what goes on after that entry.
    Filled {
        host: usize,
        after: Index,
        bytes: &'a [u8],
    },
    /// A replica sets its damaged log aside, by the record of this view, to go on as another store.
    DamagedSetAside {
        host: usize,
        view: ViewId,
        store: StoreId,
    },
    /// A replica acknowledged.
    Acked { host: usize, ack: &'a Ack },
    /// A swap left its sender.
    Proposed { swap: &'a Swap },
    /// The view service's process began.
    ServiceStarted,
    /// The view service hears from a replica.
    Reported {
        identity: &'a Identity,
        standing: Standing,
    },
    /// The record changed, durably.
    Recorded {
        before: Option<&'a ViewRecord>,
        after: &'a ViewRecord,
    },
    /// A primary has committed more.
    Committed {
        host: usize,
        standing: Standing,
        /// Whether, by its own clock, it held the lease as it did.
        has_lease: bool,
    },
    /// A replica has applied up to here, and the chain over its replies.
    Applied {
        host: usize,
        through: Index,
        reply_digest: u128,
    },
    /// A replica answers.
    Answered(Answered<'a>),
    /// A replica's loop came round.
    Turned {
        host: usize,
        standing: Standing,
        /// Until when, in true time, it believes to hold the lease.
        lease_until: Option<Instant>,
        /// Where it says that the primary answers Redis clients.
        primary_resp: Option<&'a str>,
    },
    /// A client makes a call.
    Called {
        call: u64,
        client: usize,
        input: &'a [u8],
        asked: Option<Consistency>,
    },
    /// A call ended.
    Returned { call: u64, end: End<'a> },
    /// The view service has lost all that it kept.
    RecordLost,
    /// Nothing more goes wrong, but for what stays broken.
    Healed,
}

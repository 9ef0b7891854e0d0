//! The replica's decisions: adopting views, switching roles, applying, answering.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use standin_backup as backup;
use standin_core::capture::SnapshotMark;
use standin_core::conn::ConnId;
use standin_core::digest::DigestChain;
use standin_core::entry::{Batch, Index, LogTip, ViewStarts};
use standin_core::evidence::Evidence;
use standin_core::identity::{Durability, Identity, Token};
use standin_core::machine::StateMachine;
use standin_core::mark::{ApplyMark, Fatal, FatalEntry};
use standin_core::message::{
    Ack, Entries, EntriesRead, Follow, HigherView, InspectReply, Kept, Leave, Poisoned, Refusal,
    Release, Report, ReportReply, Resume, RoleName, SnapshotOffer, SnapshotPiece, SnapshotRead,
    Standing, StateDigest, Swap, SwapReply, Switchover, SwitchoverReply, Witness,
};
use standin_core::planted::{Bug, Planted};
use standin_core::poison::{LOG_SKIPS_MAX, Poison, Skip};
use standin_core::session::SessionLimits;
use standin_core::state::Replicated;
use standin_core::time::{Duration, Instant, Now, earliest};
use standin_core::version::{VersionRange, VersionStarts};
use standin_core::view::{DataEpoch, ViewId, ViewRecord};
use standin_primary as primary;
use standin_primary::{Payload, Primary};

use crate::answers::{Answers, Request};
use crate::clients::Inspected;
use crate::dialog::{Dialog, term_of};
use crate::fatal::Suspect;
use crate::handover::{Held, Leaving, Planned};
use crate::limits::Limits;
use crate::pace::ApplyPace;
use crate::parting::Parting;
use crate::poison::{Failure, too_many_skips};
use crate::reads::ReadyReads;
use crate::recent::RecentLog;
use crate::replies::ReplyLog;
use crate::resp::RespAddresses;
use crate::roles::RoleEvent;
use crate::room::{LogRoom, RoomWatch};
use crate::snapshots::{KeptSnapshot, SharedImage, SnapshotConfig, Snapshots};

/// A primary whose view is active lets clients wait for so long before it sends them away, as it does while it
/// does not serve: mostly it serves a few milliseconds later, and they would have to find it again.
const RISE_PATIENCE: Duration = Duration::from_millis(100);

/// What the log held when it was opened, and what snapshots there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The entry before its first, which a snapshot has; index 0 if it is whole.
    pub base: LogTip,
    /// Its end.
    pub tip: LogTip,
    /// Where views begin in it.
    pub view_starts: ViewStarts,
    /// The data epoch of its newest view.
    pub data_epoch: DataEpoch,
    /// The entries that its ViewStarts skip, though they come before them.
    pub skips: Vec<Skip>,
    /// Where versions of the machine begin in it; skips need not be taken into account.
    pub version_starts: VersionStarts,
    /// The highest commit index that an entry names: everything up to there was committed, and applied by the
    /// primary that ordered the entry.
    pub commit: Index,
    /// The highest entry that was committed and is not there any more, as those say that were cut off behind
    /// it; 0 if nothing says so.
    pub lost: Index,
    /// Everything up to here is certainly on the disk.
    pub synced: Index,
    /// The snapshots in the data directory, oldest first.
    pub snapshots: Vec<KeptSnapshot>,
}

/// What a replica is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is.
    pub identity: Identity,
    /// Where others reach it.
    pub address: String,
    /// Where its data directory is, as people type it: for words only. Empty: they say `DIR`.
    pub data_dir: String,
    /// What its program is called, for words that name a command.
    pub program: String,
    /// The durability level when it is primary.
    pub durability: Durability,
    /// The versions of the machine that its program supports. Invariant: `M` supports them all, and what it goes on from
    /// is executed by one of them.
    pub versions: VersionRange,
    /// The limits of sessions when it is primary.
    pub session_limits: SessionLimits,
    /// Random, for the seeds of batches and the names of streams.
    pub seed: u64,
    /// The view that it adopted durably in an earlier life.
    pub adopted: ViewId,
    /// The token that went with it: see [`Action::Adopt`].
    pub holds: Option<Token>,
    /// What is kept of that view; `None` if an earlier version did not keep it.
    pub kept: Option<Kept>,
    /// What the log held.
    pub recovered: Recovered,
    /// The operator said that this new store takes over the name of a lost one.
    pub replace: bool,
    /// Why it was put out of service in an earlier life, if it was.
    pub quarantine: Option<String>,
    /// The last entry that made the machine fail, in an earlier life.
    pub poison: Option<Poison>,
    /// The entry at which earlier lives died, and which none of them has applied.
    pub fatal: Option<FatalEntry>,
    /// How much is held in memory, and done at one time.
    pub limits: Limits,
    /// When snapshots are taken.
    pub snapshots: SnapshotConfig,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The deadline that was asked for has come.
    Deadline,
    /// All input of this wake-up was handed in.
    Flush,
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
    /// The process is to stop soon: hand over first, or tell the primary. [`Replica::has_left`] says when
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
    /// log, durably; then call [`Replica::install`].
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

#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Follows, or waits for somebody to follow.
    Backup(Box<backup::Backup>),
    /// Candidate or primary.
    Primary(Box<Primary>),
    /// A higher view is being adopted: the old role has ended, the new one has not begun.
    Between,
    /// Out of service until an operator has looked at it.
    Quarantined,
}

/// The log as far as decisions need it, kept whole while roles change.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// The entry before the first; a snapshot has what was up to there.
    pub(crate) base: LogTip,
    pub(crate) tip: LogTip,
    pub(crate) view_starts: ViewStarts,
    pub(crate) version_starts: VersionStarts,
    /// The data epoch whose log it is. In a higher one it counts for nothing, unless this replica is named
    /// to go on with it.
    pub(crate) data_epoch: DataEpoch,
    pub(crate) written: Index,
    pub(crate) synced: Index,
    pub(crate) commit: Index,
    /// Entries that are skipped, as far as is known. Invariant: at most [`standin_core::poison::LOG_SKIPS_MAX`].
    pub(crate) skips: BTreeSet<Skip>,
    /// Those of them that a ViewStart of this log lists.
    pub(crate) skips_listed: BTreeSet<Skip>,
}

/// Watches that work gets on: a stalled replica must not keep its lease (`protocol.md` section 3).
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) at: Instant,
    pub(crate) mark: (Index, Index),
    pub(crate) sync_asked: Index,
}

/// One replica.
#[derive(Clone, Debug)]
pub struct Replica<M> {
    pub(crate) config: Config,
    pub(crate) state: Replicated<M>,
    pub(crate) role: Role,
    /// The record as last read, if its view is adopted.
    pub(crate) record: Option<ViewRecord>,
    /// The highest view adopted durably. Never falls, across crashes (S7).
    pub(crate) adopted: ViewId,
    /// The token under which the record names it as a holder, or may come to, kept durably with the view.
    pub(crate) holds: Option<Token>,
    /// What is kept durably with them.
    pub(crate) kept: Option<Kept>,
    /// It may be a holder by its disk without having read so, by what it acknowledges or has asked for.
    pub(crate) may_hold_by_disk: bool,
    /// The record whose view is being made durable.
    pub(crate) adopting: Option<ViewRecord>,
    pub(crate) dialog: Dialog,
    pub(crate) resp: RespAddresses,
    pub(crate) log: Log,
    pub(crate) recent: RecentLog,
    pub(crate) replies: ReplyLog,
    pub(crate) parting: Parting,
    /// What another replica, or an earlier life, is known to have applied.
    pub(crate) known_applied: Index,
    /// The machine has failed, in this life or an earlier one, and it is not known what came of that.
    pub(crate) failure: Option<Failure>,
    /// Earlier lives died at an entry.
    pub(crate) suspect: Option<Suspect>,
    pub(crate) snapshots: Snapshots,
    pub(crate) room: RoomWatch,
    /// What was last told of the state: to digest all of it takes time, and is often asked for again.
    pub(crate) inspected: Option<Inspected>,
    /// What is being digested, and who waits for it.
    pub(crate) inspecting: Option<(Inspected, Vec<ConnId>)>,
    pub(crate) progress: Progress,
    /// How much is applied in one wake-up.
    pub(crate) pace: ApplyPace,
    /// No more than up to here may be applied just now.
    pub(crate) apply_until: Index,
    /// When as much has been applied at a time as may be, by the work clock.
    pub(crate) apply_deadline: Instant,
    /// A piece of the log is being read to be applied.
    pub(crate) is_reading: bool,
    /// Timers up to this entry were ordered and are not all applied yet.
    pub(crate) timers_through: Index,
    pub(crate) timer_at: Option<Instant>,
    /// Since when its view is active and it does not serve yet.
    pub(crate) rising_since: Option<Instant>,
    /// Clients need not be sent away: it serves in a moment.
    pub(crate) serves_soon: bool,
    pub(crate) is_stopping: bool,
    /// Requests that wait until it is clear who is primary.
    pub(crate) held: Held,
    /// A switchover that was begun here.
    pub(crate) planned: Option<Planned>,
    /// The process is about to stop.
    pub(crate) leaving: Option<Leaving>,
    /// Bytes appended since a sync was last asked for.
    pub(crate) unsynced_bytes: usize,
    pub(crate) trouble: Option<String>,
    /// The trouble that the primary does not want it as a follower, until it does.
    pub(crate) refused: Option<String>,
    pub(crate) planted: Planted,
    pub(crate) answers: Answers,
    pub(crate) ready: ReadyReads,
    pub(crate) work_clock: fn() -> Instant,
    pub(crate) actions: VecDeque<Action>,
}

impl<M: StateMachine> Replica<M> {
    /// A replica at the start of its process.
    #[must_use]
    pub fn new(config: Config, now: Now) -> Self {
        Self::from_state(Replicated::default(), config, now)
    }

    /// The same with a state that a snapshot held, or that is at its beginning around some machine.
    #[must_use]
    pub fn from_state(state: Replicated<M>, config: Config, now: Now) -> Self {
        let recovered = config.recovered.clone();
        let limits = config.limits;
        let (applied, reply_digest) = (state.applied(), state.reply_digest());
        assert!(
            (recovered.base.index..=recovered.tip.index).contains(&applied),
            "the log has what follows the state"
        );
        let newest = recovered.snapshots.last();
        let data_epoch = newest.map_or(DataEpoch::default(), |newest| newest.mark.data_epoch);
        let snapshots = Snapshots::new(config.snapshots, &recovered.snapshots, data_epoch);
        let mut version_starts = recovered.version_starts;
        version_starts.remember_failed(newest.map_or(0, |newest| newest.mark.failed_version));
        let log = Log {
            base: recovered.base,
            tip: recovered.tip,
            view_starts: recovered.view_starts,
            version_starts,
            data_epoch: recovered.data_epoch,
            written: recovered.tip.index,
            synced: recovered.synced,
            commit: recovered.commit.max(applied),
            skips: BTreeSet::new(),
            skips_listed: BTreeSet::new(),
        };
        let progress = Progress {
            at: now.boot,
            mark: (Index::ZERO, Index::ZERO),
            sync_asked: Index::ZERO,
        };
        let has_too_many = recovered.skips.len() > LOG_SKIPS_MAX;
        let quarantine = config.quarantine.clone();
        let quarantine = quarantine.or_else(|| has_too_many.then(too_many_skips));
        let role = match &quarantine {
            Some(_) => Role::Quarantined,
            None => Role::Between,
        };
        let failure = config.poison.clone().map(|poison| Failure {
            poison,
            is_noted: true,
        });
        let open = (config.fatal).filter(|it| !recovered.skips.contains(&it.entry));
        let suspect = open.map(Suspect::new);
        let mut replica = Self {
            adopted: config.adopted,
            holds: config.holds,
            kept: config.kept.clone(),
            may_hold_by_disk: false,
            trouble: quarantine,
            config,
            state,
            snapshots,
            role,
            record: None,
            adopting: None,
            dialog: Dialog::new(),
            resp: RespAddresses::default(),
            log,
            recent: RecentLog::new(limits.recent_bytes_max),
            replies: ReplyLog::beginning(applied, reply_digest),
            parting: Parting::default(),
            known_applied: recovered.commit.max(applied),
            failure,
            suspect,
            room: RoomWatch::default(),
            inspected: None,
            inspecting: None,
            progress,
            pace: ApplyPace::new(now.boot),
            apply_until: Index::ZERO,
            apply_deadline: Instant::ZERO,
            is_reading: false,
            timers_through: Index::ZERO,
            timer_at: None,
            rising_since: None,
            serves_soon: false,
            is_stopping: false,
            held: Held::default(),
            planned: None,
            leaving: None,
            unsynced_bytes: 0,
            refused: None,
            planted: Planted::default(),
            answers: Answers::default(),
            ready: ReadyReads::default(),
            work_clock: || Instant::ZERO,
            actions: VecDeque::new(),
        };
        // Before anything is applied.
        let known = recovered.skips.len().min(LOG_SKIPS_MAX);
        replica.read_skips(&recovered.skips[..known]);
        replica
    }

    /// From now on `mark` is told of each entry that the machine executes.
    pub fn mark_with(&mut self, mark: Arc<dyn ApplyMark>) {
        self.state.mark_with(mark);
    }

    /// Plants a bug, right after the replica was made.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
        self.state.plant(planted);
        if planted.has(Bug::ViewForgotten) {
            self.adopted = ViewId::default();
        }
    }

    /// Takes in one event. All actions of the one before must have been taken.
    pub fn handle(&mut self, now: Now, event: Event<'_>) {
        assert!(
            self.actions.is_empty(),
            "take all actions before the next event"
        );
        self.keep_pace(now.boot, &event);
        match event {
            Event::Deadline => self.tell_role(now, RoleEvent::Deadline),
            Event::Flush => self.tell_role(now, RoleEvent::Flush),
            Event::ViewServiceUp => self.dialog.up(now.boot, self.term()),
            Event::ViewServiceDown => self.dialog.down(),
            Event::ReportReply(reply) => self.on_report_reply(now, reply),
            Event::SwapReply(reply) => self.on_swap_reply(now, reply),
            Event::Requests(requests) => self.on_requests(now, requests),
            Event::Dialled(conn) => self.tell_backup(now, backup::Event::Connected(conn)),
            Event::DialClosed => self.tell_backup(now, backup::Event::Closed),
            Event::DialRefused(refusal) => self.on_dial_refused(now, refusal),
            Event::Resume(conn, resume) => {
                self.on_accepted();
                if resume.view == self.adopted {
                    self.learn_skips(&resume.skips);
                    self.learn_resp(resume);
                }
                if resume.durability == Durability::Disk && resume.view == self.adopted {
                    // A Join that names its disk may land before it reads of it.
                    self.keep_that_disk_may_hold();
                }
                self.tell_backup(now, backup::Event::Resume(conn, resume));
            }
            Event::Entries(conn, entries) => {
                if self.takes_batch(now, entries.bytes.len()) {
                    self.tell_backup(now, backup::Event::Entries(conn, entries));
                }
            }
            Event::Offer(conn, offer) => {
                self.on_accepted();
                self.tell_backup(now, backup::Event::Offer(conn, offer));
            }
            Event::FetchBegun(have) => self.tell_backup(now, backup::Event::FetchBegun(have)),
            Event::Piece(conn, piece) => self.tell_backup(now, backup::Event::Piece(conn, piece)),
            Event::Fetched(index, is_whole) => {
                self.tell_backup(now, backup::Event::Fetched(index, is_whole));
            }
            Event::SnapshotTaken(taken) => self.on_snapshot_taken(now, taken),
            Event::SnapshotFailed(why) => self.on_snapshot_failed(why),
            Event::Digested(digest) => self.on_digested(digest),
            Event::Forgotten(base) => self.on_forgotten(now, base),
            Event::SnapshotRead(conn, read) => self.on_snapshot_read(conn, read),
            Event::StateDigest(conn, told) => self.on_state_digest(now, conn, told),
            Event::EntriesRead(conn, read) => self.on_entries_read(conn, read),
            Event::Follow(conn, follow) => self.on_follow(now, conn, follow),
            Event::Ack(conn, ack) => self.on_ack(now, conn, ack),
            Event::HigherView(higher) => self.on_higher_view(now, higher.view),
            Event::Closed(conn) => {
                self.on_reader_closed(conn, now.boot);
                self.tell_primary(now, primary::Event::Closed(conn));
            }
            Event::Inspect(conn) => self.on_inspect(now.boot, conn),
            Event::Written(through) => {
                self.log.written = self.log.written.max(through);
                self.tell_role(now, RoleEvent::Written(through));
            }
            Event::Synced(through) => {
                self.log.synced = self.log.synced.max(through);
                self.tell_role(now, RoleEvent::Synced(through));
            }
            Event::Room(room, why) => self.on_room(room, why),
            Event::LogRead(read, bytes) => self.on_log_read(now, read, bytes),
            Event::Cut(tip) => self.on_cut(now, tip),
            Event::Adopted(view) => self.on_adopted(now, view),
            Event::Switchover(conn, request) => self.on_switchover(now, conn, request),
            Event::FollowerLeaves(conn, leave) => {
                self.tell_primary(now, primary::Event::Leave(conn, leave.nonce));
            }
            Event::Leave => self.on_leave(now),
            Event::PoisonNoted => self.on_poison_noted(now),
            Event::Stop => self.on_stop(now),
        }
        self.apply_committed(now);
        self.look_after_room(now);
        self.look_after_handover(now);
        self.fire_timers(now);
        self.watch_progress(now.boot);
        self.watch_rise(now.boot);
        self.report_if_due(now);
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Exchanges the answers that have come about for an empty `answers`.
    pub fn take_answers(&mut self, answers: &mut Answers) {
        assert!(answers.is_empty(), "hand in an empty one");
        self.answer_reads(|_| true);
        std::mem::swap(&mut self.answers, answers);
    }

    /// When [`Event::Deadline`] is wanted at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.wants_to_apply() || self.pace.is_measuring() || !self.ready.is_empty() {
            return Some(Instant::ZERO);
        }
        let role = match &self.role {
            Role::Backup(backup) => backup.deadline(),
            Role::Primary(primary) => {
                let rise = self.rising_since.filter(|_| self.serves_soon);
                let rise = rise.map(|since| since.plus(RISE_PATIENCE));
                earliest(earliest(primary.deadline(), self.timer_at), rise)
            }
            Role::Between | Role::Quarantined => None,
        };
        let role = earliest(role, self.handover_deadline());
        earliest(role, self.dialog.deadline(self.term()))
    }

    /// Whether requests of clients should be read at all: there is room for what they bring.
    #[must_use]
    pub fn has_room(&self) -> bool {
        match &self.role {
            _ if self.held.is_on() => false,
            // One that does not serve answers at once, that it does not, unless it is about to.
            Role::Primary(primary) if !primary.is_serving() => !self.serves_soon,
            Role::Primary(primary) => primary.has_room() && self.ready.has_room(),
            Role::Backup(_) | Role::Between | Role::Quarantined => true,
        }
    }

    /// Notices how long clients, who were told of the new primary as soon as its view was active, wait for
    /// its first entry to be committed and its log to be applied.
    fn watch_rise(&mut self, now: Instant) {
        let is_rising = matches!(&self.role,
            Role::Primary(primary) if primary.is_active() && !primary.is_serving());
        let since = is_rising.then(|| self.rising_since.unwrap_or(now));
        self.serves_soon = since.is_some_and(|since| now < since.plus(RISE_PATIENCE));
        self.rising_since = since;
    }

    /// Where this replica stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let standing = Standing {
            view: self.adopted,
            role: self.role_name(),
            last: self.log.tip,
            commit: self.log.commit,
            applied: self.state.applied(),
            reply_digest: self.state.reply_digest().0,
        };
        if !self.is_log_outdated() {
            return standing;
        }
        // In this data epoch nothing of it is known to be committed.
        Standing {
            commit: Index::ZERO,
            applied: Index::ZERO,
            reply_digest: DigestChain::default().0,
            ..standing
        }
    }

    /// Whether the log is one of a lower data epoch than the adopted view's: a forced takeover has put an
    /// end to it. Nothing more of it is applied, and it is set aside for the new one (section 7).
    pub(crate) fn is_log_outdated(&self) -> bool {
        self.log.tip.index > Index::ZERO
            && self.log.data_epoch < self.adopted.data_epoch
            && !self.planted.has(Bug::EpochForgotten)
    }

    /// What it is.
    #[must_use]
    pub fn role_name(&self) -> RoleName {
        let identity = &self.config.identity;
        let is_named_backup = self.record.as_ref().is_some_and(|record| {
            record.active
                && record
                    .backup
                    .as_ref()
                    .is_some_and(|member| member.name == identity.name)
                && record.is_holder(identity)
        });
        match &self.role {
            Role::Primary(primary) if primary.is_active() => RoleName::Primary,
            Role::Primary(_) => RoleName::Candidate,
            Role::Quarantined => RoleName::Quarantined,
            Role::Backup(_) if is_named_backup => RoleName::Backup,
            Role::Backup(_) | Role::Between => RoleName::Spare,
        }
    }

    /// What waits here as at a primary, if it is one; and the bytes of the newest batches in memory.
    #[must_use]
    pub fn queues(&self) -> (primary::Queues, usize) {
        let mut queues = match &self.role {
            Role::Primary(primary) => primary.queues(),
            Role::Backup(_) | Role::Between | Role::Quarantined => primary::Queues::default(),
        };
        let (reads, bytes) = self.ready.held();
        queues.reads += reads;
        queues.reads_bytes += bytes;
        (queues, self.recent.bytes())
    }

    /// Requests of clients that are held until it is clear who is primary, and their bytes.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        self.held.count()
    }

    /// Whether the answers of one event are as many as may be.
    pub(crate) fn is_answer_full(&self) -> bool {
        self.answers.bytes_count() >= self.config.limits.answers_bytes_max
    }

    /// The record as last read, if its view is adopted.
    #[must_use]
    pub fn record(&self) -> Option<&ViewRecord> {
        self.record.as_ref()
    }

    /// Until when, on its own boot clock, it may act as the one primary that holds the lease; `None`:
    /// it is not primary, or was never granted it.
    #[must_use]
    pub fn lease_until(&self) -> Option<Instant> {
        match &self.role {
            Role::Primary(primary) if primary.is_active() => self.dialog.lease.until(self.adopted),
            _ => None,
        }
    }

    /// What keeps it from serving, in words.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The replicated state.
    #[must_use]
    pub fn state(&self) -> &Replicated<M> {
        &self.state
    }

    pub(crate) fn term(&self) -> Duration {
        term_of(self.record.as_ref())
    }
}

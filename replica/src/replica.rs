//! The replica's decisions: adopting views, switching roles, applying, answering.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use standin_backup as backup;
use standin_core::conn::ConnId;
use standin_core::digest::DigestChain;
use standin_core::entry::{Index, LogTip, ViewStarts};
use standin_core::identity::{Durability, Identity, Token};
use standin_core::machine::StateMachine;
use standin_core::mark::{ApplyMark, FatalEntry};
use standin_core::message::{Kept, RoleName, Standing};
use standin_core::planted::{Bug, Planted};
use standin_core::poison::{LOG_SKIPS_MAX, Poison, Skip};
use standin_core::session::SessionLimits;
use standin_core::state::Replicated;
use standin_core::time::{Duration, Instant, Now, earliest};
use standin_core::version::{VersionRange, VersionStarts};
use standin_core::view::{DataEpoch, ViewId, ViewRecord};
use standin_primary as primary;
use standin_primary::Primary;

use crate::answers::Answers;
use crate::clients::Inspected;
use crate::dialog::{Dialog, term_of};
use crate::event::{Action, Event};
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
use crate::room::RoomWatch;
use crate::snapshots::{KeptSnapshot, SnapshotConfig, Snapshots};

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
        // A Join that names an earlier life may land yet, until a higher view, or the refusal of an own move, says that it
        // cannot.
        let store = config.identity.store;
        let may_hold_by_disk = config.holds == Some(Token::Disk { store });
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
            may_hold_by_disk,
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
            Event::Apply => self.apply_committed(now),
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

//! The primary's decisions, one event at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use standin_core::clock::LoggedClock;
use standin_core::conn::ConnId;
use standin_core::entry::{
    BATCH_BYTES_MAX, Batch, BatchBuilder, BatchStamp, Command, ENTRY_BYTES_MAX, EntryKind, Index,
    LogTip, TimerFired, ViewStart, ViewStarts,
};
use standin_core::identity::{Durability, Identity, ReplicaName, StoreId};
use standin_core::message::{Ack, Consistency, Follow, Lag, Refusal, Resume, Room, encode_payload};
use standin_core::planted::{Bug, Planted};
use standin_core::poison::Skip;
use standin_core::random::RandomStream;
use standin_core::session::SessionLimits;
use standin_core::time::{Duration, Instant, Now, WallTime, earliest};
use standin_core::version::{VersionRange, VersionStarts};
use standin_core::view::{ViewId, ViewRecord};

use crate::follower::Follower;
use crate::gate::{Flapping, Gate, JOIN_WAIT_MAX, PendingSwap};
use crate::handover::{HandOver, HandOverFailure};
use crate::inputs::{entry_bytes, push_input, push_run, run_length};
use crate::limits::{Limits, Queues};
use crate::reads::Reads;
use crate::slowness::Slowness;

/// What a primary is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica.
    pub identity: Identity,
    /// The record that names it as the primary of an inactive view, already adopted durably.
    pub record: ViewRecord,
    /// The durability level of the pair.
    pub durability: Durability,
    /// Limits to write into each ViewStart.
    pub session_limits: SessionLimits,
    /// The entry before the first in the log, which a snapshot has; index 0 if the log is whole.
    pub base: LogTip,
    /// The end of the log.
    pub tip: LogTip,
    /// Where views begin in the log.
    pub view_starts: ViewStarts,
    /// Entries that are skipped, to be listed in each ViewStart; at most [`standin_core::poison::SKIPS_MAX`].
    pub skips: Vec<Skip>,
    /// The versions of the machine that this replica's program supports.
    pub versions: VersionRange,
    /// Where versions begin in the log.
    pub version_starts: VersionStarts,
    /// The version that is executed, if the log does not say: of the state that it goes on from, or the one that a new log
    /// begins with.
    pub began_with: u32,
    /// Everything up to here is in the page cache.
    pub written: Index,
    /// Everything up to here is on the disk.
    pub synced: Index,
    /// Everything up to here is known to be committed.
    pub commit: Index,
    /// Everything up to here is applied.
    pub applied: Index,
    /// For the seeds of batches and the names of streams.
    pub seed: u64,
    /// How much may wait at one time.
    pub limits: Limits,
    /// Which commands of a session may share an entry.
    pub shares_entry: fn(&[u8]) -> bool,
    /// Whether the own log has room.
    pub room: Room,
}

/// An input to be ordered.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A client opens a session.
    Open(Waiter),
    /// A client closes a session.
    Close(Waiter, u64),
    /// A client's command.
    Command(Waiter, Command<'a>),
    /// A command that belongs to no session.
    Direct(Waiter, &'a [u8]),
    /// A timer that is due.
    Timer(TimerFired),
}

/// Who waits for the outcome of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The client's connection.
    pub conn: ConnId,
    /// The client's number for the request.
    pub id: u64,
}

/// A query that waits or is ready to be asked of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// How many queries it is of: so many times the longest reply may be the answer.
    pub count: usize,
    /// Who asks.
    pub waiter: Waiter,
    /// How fresh the state must be.
    pub consistency: Consistency,
    /// The machine's query.
    pub bytes: Vec<u8>,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The deadline that was asked for has come.
    Deadline,
    /// Inputs of one wake-up, to become one batch.
    Inputs(&'a [Input<'a>]),
    /// Reads of one wake-up that must be confirmed, if there [is room](Primary::has_queue_room): they may come on top of
    /// [`crate::READS_MAX`].
    Reads(Vec<Query>),
    /// All input of this wake-up was handed in: what was put off to be sent once is due.
    Flush,
    /// A follower asks to follow.
    Follow(ConnId, &'a Follow),
    /// A follower acknowledges.
    Ack(ConnId, &'a Ack),
    /// The replies or the state of this store differ from this replica's: it is wrong, or this one is.
    Diverged(StoreId),
    /// A connection is gone.
    Closed(ConnId),
    /// The answer to [`Action::ReadLog`]: entries that follow `before`; none if they are not there.
    LogRead(ConnId, Vec<u8>),
    /// Everything up to here is in the page cache.
    Written(Index),
    /// Everything up to here is on the disk.
    Synced(Index),
    /// Everything up to here is applied.
    Applied(Index),
    /// Whether the own log has room.
    Room(Room),
    /// The log goes from right after this entry on; a snapshot has what was before.
    Forgotten(LogTip),
    /// The record as the view service has it; if its view is higher, it was adopted durably.
    Record(&'a ViewRecord, WallTime),
    /// The view service turned the last swap down, and the record is as it was.
    SwapRefused,
    /// Until when the lease is held; `None`: it is not.
    Lease(Option<Instant>),
    /// How long the backup has not been seen by a view service that this primary was heard by.
    BackupUnseen(Duration),
    /// The life that the record names as backup has died: its parent process has reaped it.
    BackupDied,
    /// Hand over to the backup. If that cannot be done, [`Action::HandOverFailed`] says so; if it is done,
    /// the role ends.
    HandOver,
    /// A follower, of this stream, is about to stop.
    Leave(ConnId, u64),
}

/// Entries on their way to a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// None: a heartbeat, a round for reads, or the commit index by itself.
    Nothing,
    /// A batch as it was ordered.
    Batch(Arc<Batch>),
    /// A piece of the log.
    Bytes(Vec<u8>),
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Append to the log; [`Event::Written`] tells when it is in the page cache.
    Append(Arc<Batch>),
    /// Make all that was appended durable; [`Event::Synced`] tells when it is.
    Sync,
    /// Send entries.
    Send {
        /// The follower's connection.
        conn: ConnId,
        /// The stream's name.
        nonce: u64,
        /// The present view.
        view: ViewId,
        /// Number of this message in the stream.
        round: u64,
        /// What is applied here, so may be there.
        commit: Index,
        /// The entries.
        payload: Payload,
    },
    /// Tell a follower where its log and this one part.
    Resume(ConnId, Resume),
    /// Offer this store, which asks to follow, a snapshot under this name, of this entry or a later one: the log has no
    /// longer what it lacks, or its program cannot execute that.
    Offer(ConnId, StoreId, u64, Index),
    /// Tell a follower of a lower view that there is a higher one.
    HigherView(ConnId, ViewId),
    /// Close a follower's connection.
    CloseFollower(ConnId),
    /// Say why, then close a follower's connection.
    RefuseFollower(ConnId, Refusal),
    /// Read entries from this index on, at most about so many bytes; [`Event::LogRead`] answers.
    ReadLog {
        /// For whom.
        conn: ConnId,
        /// The first entry to read.
        from: Index,
        /// About how many bytes; at least one entry.
        bytes_max: usize,
    },
    /// Everything up to here is committed: apply it.
    Commit(Index),
    /// Ask the machine each of these and answer, in this order.
    Answer(Vec<Query>),
    /// Ask the view service to swap the record.
    Swap {
        /// What the record is believed to be.
        expected: Box<ViewRecord>,
        /// What it shall become.
        proposed: Box<ViewRecord>,
    },
    /// Ask the view service what the record is.
    ReadRecord,
    /// This backup is dropped since it is so far behind, again and again: people should know.
    TooSlow(ReplicaName, Lag),
    /// The primary does not hand over, and takes input again.
    HandOverFailed(HandOverFailure),
}

/// How far this primary has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its view is inactive: the log is being synced, then Activate is asked (rule R3).
    Candidate,
    /// Its view is active. Answers leave once this index, its first ViewStart, is applied.
    Active { serves_from: Index },
}

/// A replica in the primary's role, from the moment its view was adopted.
#[derive(Clone, Debug)]
pub struct Primary {
    pub(crate) identity: Identity,
    pub(crate) durability: Durability,
    pub(crate) session_limits: SessionLimits,
    pub(crate) limits: Limits,
    shares_entry: fn(&[u8]) -> bool,
    /// The record as last read. Invariant: its primary is this incarnation.
    pub(crate) record: ViewRecord,
    pub(crate) stage: Stage,
    pub(crate) gate: Gate,
    /// The swap that was decided on, until the record shows its outcome.
    pub(crate) swap: Option<PendingSwap>,
    /// A switchover under way.
    pub(crate) hand_over: Option<HandOver>,
    /// Hand over was asked in this view, so the lease is another's already, for all that is known here.
    pub(crate) has_given_lease_back: bool,
    pub(crate) flapping: Flapping,
    pub(crate) slowness: Slowness,
    /// Whether the own log has room.
    pub(crate) room: Room,
    pub(crate) join_at: Instant,
    /// Stores whose replies differed: not to be joined again. Invariant: at most
    /// [`crate::EXCLUDED_STORES_MAX`].
    pub(crate) excluded: BTreeSet<StoreId>,
    /// Since when the gate's backup has had no stream; counts as its silence.
    pub(crate) gate_alone_since: Instant,
    /// What that backup had acknowledged on its last stream.
    pub(crate) gate_acked_before: Index,
    /// What that backup had acknowledged when the record came to name it.
    pub(crate) gate_joined_with: Index,
    /// Joins given up before they were asked, since the last view began.
    pub(crate) joins_in_vain: u32,
    /// When the next event was wanted at the latest: one that comes much later finds that this
    /// process was away.
    pub(crate) expected_at: Option<Instant>,

    pub(crate) base: LogTip,
    pub(crate) tip: LogTip,
    pub(crate) view_starts: ViewStarts,
    pub(crate) skips: Vec<Skip>,
    pub(crate) program: VersionRange,
    pub(crate) version_starts: VersionStarts,
    pub(crate) began_with: u32,
    pub(crate) written: Index,
    pub(crate) synced: Index,
    /// Index of this view's ViewStart: entries of earlier views commit with it.
    pub(crate) view_start: Index,
    pub(crate) commit: Index,
    pub(crate) applied: Index,
    pub(crate) is_sync_wanted: bool,
    /// A sync was asked for up to here; it is not asked for twice.
    sync_asked: Index,
    /// Batches not yet applied, by last index and size.
    pub(crate) pending: VecDeque<(Index, usize)>,
    pub(crate) pending_bytes: usize,
    /// Bytes of entries that were ordered in this wake-up.
    pub(crate) ordered_bytes: usize,
    pub(crate) waiting: VecDeque<(Index, Waiter)>,
    pub(crate) reads: Reads,

    pub(crate) followers: BTreeMap<ConnId, Follower>,
    /// Requests to follow in a view that this replica has not adopted yet.
    pub(crate) early: BTreeMap<ConnId, Follow>,
    pub(crate) clock: Option<LoggedClock>,
    pub(crate) wall_of_viewservice: WallTime,
    /// Until when the lease is held. Invariant: after each event it is not past.
    pub(crate) lease_until: Option<Instant>,
    pub(crate) seeds: RandomStream,
    pub(crate) planted: Planted,
    pub(crate) actions: VecDeque<Action>,
}

impl Primary {
    /// The candidate of an inactive view that was adopted durably.
    #[must_use]
    pub fn candidate(config: Config, now: Now) -> Self {
        assert!(
            config.record.primary.is(&config.identity),
            "the record names somebody else"
        );
        assert!(
            !config.record.active,
            "rule R4: an active view is not taken up again"
        );
        let mut primary = Self {
            durability: config.durability,
            session_limits: config.session_limits,
            limits: config.limits,
            shares_entry: config.shares_entry,
            seeds: RandomStream::new(config.seed, config.record.view.0),
            identity: config.identity,
            record: config.record,
            stage: Stage::Candidate,
            gate: Gate::Solo,
            swap: None,
            hand_over: None,
            has_given_lease_back: false,
            flapping: Flapping::default(),
            slowness: Slowness::default(),
            room: config.room,
            join_at: Instant::ZERO,
            excluded: BTreeSet::new(),
            gate_alone_since: now.boot,
            gate_acked_before: Index::ZERO,
            gate_joined_with: Index::ZERO,
            joins_in_vain: 0,
            expected_at: None,
            base: config.base,
            tip: config.tip,
            view_starts: config.view_starts,
            skips: config.skips,
            program: config.versions,
            version_starts: config.version_starts,
            began_with: config.began_with,
            written: config.written,
            synced: config.synced,
            view_start: Index(u64::MAX),
            commit: config.commit,
            applied: config.applied,
            is_sync_wanted: false,
            sync_asked: config.synced,
            pending: VecDeque::new(),
            pending_bytes: 0,
            ordered_bytes: 0,
            waiting: VecDeque::new(),
            reads: Reads::default(),
            followers: BTreeMap::new(),
            early: BTreeMap::new(),
            clock: None,
            wall_of_viewservice: WallTime::default(),
            lease_until: None,
            planted: Planted::default(),
            actions: VecDeque::new(),
        };
        let proposed = primary.record.activate(&primary.identity);
        primary.ask(proposed);
        primary.finish(now.boot);
        primary
    }

    /// Plants a bug.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// Takes in one event. All actions of the one before must have been taken.
    pub fn handle(&mut self, now: Now, event: Event<'_>) {
        assert!(
            self.actions.is_empty(),
            "take all actions before the next event"
        );
        self.notice_absence(now.boot);
        match event {
            Event::Deadline => {}
            Event::Flush => {
                self.begin_feeding();
                self.send_read_round(now.boot);
            }
            Event::Inputs(inputs) => self.on_inputs(now, inputs),
            Event::Reads(queries) => self.on_reads(queries),
            Event::Follow(conn, follow) => self.on_follow(conn, follow, now.boot),
            Event::Ack(conn, ack) => self.on_ack(conn, ack, now.boot),
            Event::Diverged(store) => self.on_diverged(store, now.boot),
            Event::Closed(conn) => self.on_closed(conn, now.boot),
            Event::LogRead(conn, bytes) => self.on_log_read(conn, bytes, now.boot),
            Event::Written(through) => self.written = self.written.max(through),
            Event::Synced(through) => self.on_synced(through),
            Event::Applied(through) => self.on_applied(through),
            Event::Room(room) => self.room = room,
            Event::Forgotten(base) => self.on_forgotten(base),
            Event::Record(record, wall) => self.on_record(now, record, wall),
            Event::SwapRefused => self.on_swap_refused(now.boot),
            Event::Lease(until) => {
                self.lease_until = until.filter(|_| !self.has_given_lease_back);
            }
            Event::BackupUnseen(unseen) => self.on_backup_unseen(unseen, now.boot),
            Event::BackupDied => self.on_backup_died(now.boot),
            Event::HandOver => self.on_hand_over(now),
            Event::Leave(conn, nonce) => self.on_leave(conn, nonce, now.boot),
        }
        self.lease_until = self.lease_until.filter(|until| now.boot < *until);
        self.watch_pace(now.boot);
        self.watch_gate(now.boot);
        self.watch_room(now.boot);
        self.consider_upgrade(now);
        self.advance(now.boot);
        self.feed_followers(now.boot);
        self.confirm_reads(now.boot);
        self.continue_hand_over(now.boot);
        self.finish(now.boot);
    }

    /// What each event ends with: a sync that several parts asked for is asked once.
    fn finish(&mut self, now: Instant) {
        self.pursue_swap(now);
        if std::mem::take(&mut self.is_sync_wanted) && self.sync_asked < self.tip.index {
            self.sync_asked = self.tip.index;
            self.actions.push_back(Action::Sync);
        }
        self.expected_at = self.deadline();
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Event::Deadline`] is wanted at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let mut deadline = self.hand_over_deadline(self.silence_ends());
        if let Some(swap) = &self.swap {
            let asked = swap.asked_at.map(|at| at.plus(self.term() / 4));
            deadline = earliest(deadline, asked);
        }
        match &self.gate {
            Gate::Joining(joining) if !joining.is_asked => {
                deadline = earliest(deadline, Some(joining.since.plus(JOIN_WAIT_MAX)));
            }
            Gate::Solo
                if self.is_serving() && self.swap.is_none() && self.lease_until.is_some() =>
            {
                deadline = earliest(deadline, self.join_tried_at());
            }
            Gate::Solo | Gate::Paired { .. } | Gate::Joining(_) => {}
        }
        let beats = self.streaming().map(|follower| self.beat_at(follower));
        earliest(earliest(deadline, beats.min()), self.feed_at())
    }

    /// Takes the waiter for the outcome of the entry at `index`, which was just applied.
    pub fn take_waiter(&mut self, index: Index) -> Option<Waiter> {
        match self.waiting.front() {
            Some((waiting, waiter)) if *waiting == index => {
                let waiter = *waiter;
                self.waiting.pop_front();
                Some(waiter)
            }
            _ => None,
        }
    }

    /// Ends the role: everybody who waits for an entry, whose outcome is unknown, and everybody who
    /// waits for a read, which simply was not done.
    pub fn step_down(mut self) -> (Vec<Waiter>, Vec<Query>) {
        let waiters = self.waiting.iter().map(|(_, waiter)| *waiter).collect();
        (waiters, self.reads.take_all().collect())
    }

    /// Whether requests are taken: the view is active and its ViewStart applied (rule R3).
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Active { serves_from }
            if self.applied >= serves_from || self.planted.has(Bug::ServesEarly))
    }

    /// Whether the view is active.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.stage != Stage::Candidate
    }

    /// Whether there is room for more input, and whoever is waited for has got on far enough.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.has_queue_room() && self.is_backup_ready()
    }

    /// Whether there is room for more input in the queues: a read needs nothing else.
    #[must_use]
    pub fn has_queue_room(&self) -> bool {
        let (limits, queues) = (&self.limits, self.queues());
        queues.entries < limits.pending_entries_max
            && queues.entries_bytes < limits.pending_bytes_max
            && queues.reads < limits.reads_max
            && queues.reads_bytes < limits.reads_bytes_max
    }

    /// What waits just now.
    #[must_use]
    pub fn queues(&self) -> Queues {
        Queues {
            entries: self.tip.index.0 - self.applied.0,
            entries_bytes: self.pending_bytes,
            reads: self.reads.count(),
            reads_bytes: self.reads.bytes(),
        }
    }

    /// Whether what came on `conn` is of the stream there.
    #[must_use]
    pub fn has_stream(&self, conn: ConnId, nonce: u64, view: ViewId) -> bool {
        let stream = self.followers.get(&conn);
        stream.is_some_and(|follower| follower.nonce == nonce) && view == self.record.id()
    }

    /// The store whose stream is on `conn`.
    #[must_use]
    pub fn store_of(&self, conn: ConnId) -> Option<StoreId> {
        let stream = self.followers.get(&conn);
        stream.map(|follower| follower.identity.store)
    }

    /// Whether this primary answers without a backup.
    #[must_use]
    pub fn is_solo(&self) -> bool {
        self.record.backup.is_none()
    }

    /// The record as last read.
    #[must_use]
    pub fn record(&self) -> &ViewRecord {
        &self.record
    }

    /// What is committed.
    #[must_use]
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// The end of the log.
    #[must_use]
    pub fn tip(&self) -> LogTip {
        self.tip
    }

    /// Where views begin in the log.
    #[must_use]
    pub fn view_starts(&self) -> &ViewStarts {
        &self.view_starts
    }

    /// The logged time that an entry ordered now would have; `None` before the view is active.
    pub fn logged_time(&mut self, now: Now) -> Option<WallTime> {
        self.clock.as_mut().map(|clock| clock.read(now))
    }

    pub(crate) fn on_inputs(&mut self, now: Now, inputs: &[Input<'_>]) {
        assert!(self.is_active(), "only an active primary orders");
        assert!(!self.is_holding(), "nothing is ordered after a Handover");
        // Reads that came before this batch are confirmed by the acknowledgement of its message.
        if let Some(round) = self.gate_follower().map(|follower| follower.round_sent + 1) {
            self.reads.assign_round(round);
        }
        let mut builder = self.builder(now);
        builder.reserve(inputs.iter().map(entry_bytes).sum());
        let mut rest = inputs;
        while !rest.is_empty() {
            if builder.len() + ENTRY_BYTES_MAX > BATCH_BYTES_MAX {
                self.order(builder, now.boot);
                builder = self.builder(now);
            }
            let (run, after) = rest.split_at(run_length(rest, self.shares_entry));
            rest = after;
            let index = match run {
                [input] => push_input(&mut builder, input),
                run => push_run(&mut builder, run),
            };
            let waiters = run.iter().filter_map(Input::waiter);
            self.waiting.extend(waiters.map(|waiter| (index, waiter)));
        }
        self.order(builder, now.boot);
    }

    pub(crate) fn builder(&mut self, now: Now) -> BatchBuilder {
        let clock = self.clock.as_mut().expect("an active primary has a clock");
        let mut tip = self.tip;
        if self.planted.has(Bug::TimeFalls) {
            tip.time = WallTime::default();
        }
        let time = clock.read(now).max(tip.time);
        let stamp = BatchStamp {
            view: self.record.view,
            time,
            seed: self.seeds.next_u64(),
            // A replica that knows this from its log alone applies that far when it is started again: no
            // further than the primary has (section 4.5).
            commit: self.applied,
        };
        BatchBuilder::new(tip, stamp)
    }

    /// Appends a batch and sends it at once to every follower that has all before it.
    pub(crate) fn order(&mut self, builder: BatchBuilder, now: Instant) {
        let Some(batch) = builder.finish() else {
            return;
        };
        self.tip = batch.tip();
        self.view_starts.extend_from_slice(batch.view_starts());
        for start in batch.version_starts() {
            self.version_starts.note(start);
        }
        self.pending.push_back((batch.last(), batch.bytes().len()));
        self.pending_bytes += batch.bytes().len();
        self.ordered_bytes += batch.bytes().len();
        let batch = Arc::new(batch);
        self.actions.push_back(Action::Append(Arc::clone(&batch)));
        let is_paired = matches!(self.gate, Gate::Paired { .. }) && !self.is_dropping();
        if self.durability == Durability::Disk || !is_paired {
            self.is_sync_wanted = true;
        }
        let (view, commit) = (self.record.id(), self.applied);
        for follower in self
            .followers
            .values_mut()
            .filter(|f| f.takes_live(batch.first()))
        {
            let round = follower.sending(batch.last(), batch.bytes().len(), commit, now);
            self.actions.push_back(Action::Send {
                conn: follower.conn,
                nonce: follower.nonce,
                view,
                round,
                commit,
                payload: Payload::Batch(Arc::clone(&batch)),
            });
        }
    }

    /// Begins the record's view in the log. Every view does, also by Join and Drop (rule R3).
    pub(crate) fn start_view(&mut self, now: Now) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let limits = self.session_limits;
        let start = ViewStart {
            data_epoch: self.record.data_epoch,
            primary: self.identity.name.clone(),
            incarnation: self.identity.life.incarnation,
            durability: self.durability,
            session_timeout_ms: millis(limits.timeout),
            sessions_max: limits.sessions_max,
            replies_bytes_max: limits.replies_bytes_max,
            session_idle_min_ms: millis(limits.idle_min),
            skips: self.listed(),
            machine_version: Some(self.executing()),
        };
        let mut builder = self.builder(now);
        self.view_start = builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
        self.order(builder, now.boot);
    }

    /// The entries that this view skips, for its ViewStart.
    fn listed(&self) -> Vec<Skip> {
        if self.planted.has(Bug::SkipUnlisted) {
            return Vec::new();
        }
        self.skips.clone()
    }

    /// Whether a Drop was decided on. It may land as soon as it is asked.
    pub(crate) fn is_dropping(&self) -> bool {
        self.swap
            .as_ref()
            .is_some_and(|swap| swap.proposed.backup.is_none())
    }

    pub(crate) fn on_synced(&mut self, through: Index) {
        self.written = self.written.max(through);
        self.synced = self.synced.max(through);
    }

    /// What is durable here at the level of the pair.
    pub(crate) fn durable(&self) -> Index {
        match self.durability {
            Durability::Memory => self.tip.index,
            Durability::Os => self.written,
            Durability::Disk => self.synced,
        }
    }

    /// Commits what the gate lets through (`protocol.md` sections 4.3 and 4.7).
    pub(crate) fn advance(&mut self, now: Instant) {
        if !self.is_active() {
            return;
        }
        let is_asked = matches!(&self.gate, Gate::Joining(joining) if joining.is_asked);
        let through = match &self.gate {
            _ if self.is_alone_without_lease(now) => Index::ZERO,
            Gate::Solo if self.planted.has(Bug::LoneCopyUnsynced) => self.durable(),
            Gate::Solo => self.synced,
            Gate::Paired { .. } if self.planted.has(Bug::AnswersUngated) => self.durable(),
            Gate::Joining(_) if self.planted.has(Bug::JoinUngated) && is_asked => self.synced,
            Gate::Paired { .. } if self.planted.has(Bug::DropUngated) && self.is_dropping() => {
                self.synced
            }
            // A Drop that was asked may have landed: then this disk is the only copy that counts.
            Gate::Paired { .. } if self.is_dropping() => self.synced.min(self.gate_acked()),
            Gate::Paired { .. } => self.durable().min(self.gate_acked()),
            Gate::Joining(_) => self.synced.min(self.gate_acked()),
        };
        // Entries of earlier views commit only together with this view's first.
        if through > self.commit && through >= self.view_start {
            self.commit = through;
            self.actions.push_back(Action::Commit(through));
        }
    }

    pub(crate) fn on_applied(&mut self, through: Index) {
        self.applied = self.applied.max(through);
        assert!(
            self.applied <= self.commit,
            "only what is committed is applied"
        );
        while let Some((last, bytes)) = self.pending.front()
            && *last <= self.applied
        {
            self.pending_bytes -= bytes;
            self.pending.pop_front();
        }
    }

    pub(crate) fn is_lease_held(&self, now: Instant) -> bool {
        self.lease_until.is_some_and(|until| now < until)
    }

    /// The grantor's term.
    pub(crate) fn term(&self) -> Duration {
        Duration::from_millis(u64::from(self.record.term_ms))
    }
}

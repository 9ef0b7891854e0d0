//! The primary's decisions, one event at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use standin_core::clock::{JUMP_MAX, LoggedClock};
use standin_core::conn::ConnId;
use standin_core::entry::{
    BATCH_BYTES_MAX, Batch, BatchBuilder, BatchStamp, Command, ENTRY_BYTES_MAX, Entry, EntryKind,
    Index, LogTip, TimerFired, ViewStart, ViewStarts,
};
use standin_core::identity::{Durability, Identity, StoreId, Token};
use standin_core::message::{Ack, Consistency, Follow, REPLICAS_MAX, Resume, encode_payload};
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant, Now, WallTime, earliest};
use standin_core::view::{Holder, ViewId, ViewRecord};

use crate::follower::{Follower, Phase, common_entry};
use crate::gate::{
    Flapping, Gate, JOIN_LAG_BYTES_MAX, JOIN_RETRY, JOIN_WAIT_MAX, Joining, PendingSwap,
};
use crate::reads::{Confirmation, Reads};

/// Entries that are ordered and not yet applied, at most; beyond it no more input is taken.
pub const PENDING_ENTRIES_MAX: u64 = 1 << 16;
/// Bytes of such entries, at most.
pub const PENDING_BYTES_MAX: usize = 16 << 20;
/// A commit that no batch carries to the followers is sent by itself after so long.
const COMMIT_IDLE: Duration = Duration::from_millis(10);

/// What a primary is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica.
    pub identity: Identity,
    /// The record that names it as the primary of an inactive view, already adopted durably.
    pub record: ViewRecord,
    /// The durability level of the pair.
    pub durability: Durability,
    /// Limits to write into each ViewStart: a session's timeout.
    pub session_timeout: Duration,
    /// Limits to write into each ViewStart: most sessions.
    pub sessions_max: u32,
    /// The end of the log.
    pub tip: LogTip,
    /// Where views begin in the log.
    pub view_starts: ViewStarts,
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
    /// A read that must be confirmed. More than [`crate::READS_MAX`] must not be handed in.
    Read(Query),
    /// All input of this wake-up was handed in: what was put off to be sent once is due.
    Flush,
    /// A follower asks to follow.
    Follow(ConnId, &'a Follow),
    /// A follower acknowledges.
    Ack(ConnId, &'a Ack),
    /// A follower's replies differ from this replica's: it is wrong, or this one is.
    Diverged(ConnId),
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
    /// The record as the view service has it; if its view is higher, it was adopted durably.
    Record(&'a ViewRecord, WallTime),
    /// Until when the lease is held; `None`: it is not.
    Lease(Option<Instant>),
    /// How long the backup has not been seen by the view service.
    BackupUnseen(Duration),
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
    /// Tell a follower of a lower view that there is a higher one.
    HigherView(ConnId, ViewId),
    /// Close a follower's connection.
    CloseFollower(ConnId),
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
    /// Ask the machine and answer.
    Answer(Query),
    /// Ask the view service to swap the record.
    Swap {
        /// What the record is believed to be.
        expected: Box<ViewRecord>,
        /// What it shall become.
        proposed: Box<ViewRecord>,
    },
    /// Ask the view service what the record is.
    ReadRecord,
}

/// How far this primary has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its view is inactive: the log is being synced, then Activate is asked (rule R3).
    Candidate,
    /// Its view is active. Answers leave once this index, its first ViewStart, is applied.
    Active { serves_from: Index },
}

/// A replica in the primary's role, from the moment its view was adopted.
#[derive(Debug)]
pub struct Primary {
    identity: Identity,
    durability: Durability,
    session_timeout: Duration,
    sessions_max: u32,
    /// The record as last read. Invariant: its primary is this incarnation.
    record: ViewRecord,
    stage: Stage,
    gate: Gate,
    /// The swap that was decided on, until the record shows its outcome.
    swap: Option<PendingSwap>,
    flapping: Flapping,
    join_at: Instant,
    /// Stores whose replies differed: not to be joined again.
    excluded: BTreeSet<StoreId>,
    /// Since when the gate's backup has had no stream; counts as its silence.
    gate_alone_since: Instant,

    tip: LogTip,
    view_starts: ViewStarts,
    written: Index,
    synced: Index,
    /// Index of this view's ViewStart: entries of earlier views commit with it.
    view_start: Index,
    commit: Index,
    applied: Index,
    is_sync_wanted: bool,
    /// Batches not yet applied, by last index and size.
    pending: VecDeque<(Index, usize)>,
    pending_bytes: usize,
    waiting: VecDeque<(Index, Waiter)>,
    reads: Reads,

    followers: BTreeMap<ConnId, Follower>,
    /// Requests to follow in a view that this replica has not adopted yet.
    early: BTreeMap<ConnId, Follow>,
    clock: Option<LoggedClock>,
    wall_of_viewservice: WallTime,
    lease_until: Option<Instant>,
    seeds: RandomStream,
    actions: VecDeque<Action>,
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
            session_timeout: config.session_timeout,
            sessions_max: config.sessions_max,
            seeds: RandomStream::new(config.seed, config.record.view.0),
            identity: config.identity,
            record: config.record,
            stage: Stage::Candidate,
            gate: Gate::Solo,
            swap: None,
            flapping: Flapping::default(),
            join_at: Instant::ZERO,
            excluded: BTreeSet::new(),
            gate_alone_since: now.boot,
            tip: config.tip,
            view_starts: config.view_starts,
            written: config.written,
            synced: config.synced,
            view_start: Index(u64::MAX),
            commit: config.commit,
            applied: config.applied,
            is_sync_wanted: false,
            pending: VecDeque::new(),
            pending_bytes: 0,
            waiting: VecDeque::new(),
            reads: Reads::default(),
            followers: BTreeMap::new(),
            early: BTreeMap::new(),
            clock: None,
            wall_of_viewservice: WallTime::default(),
            lease_until: None,
            actions: VecDeque::new(),
        };
        let proposed = primary.record.activate(&primary.identity);
        primary.ask(proposed, now.boot);
        primary
    }

    /// Takes in one event. All actions of the one before must have been taken.
    pub fn handle(&mut self, now: Now, event: Event<'_>) {
        assert!(
            self.actions.is_empty(),
            "take all actions before the next event"
        );
        match event {
            Event::Deadline => {}
            Event::Flush => self.send_read_round(now.boot),
            Event::Inputs(inputs) => self.on_inputs(now, inputs),
            Event::Read(query) => self.reads.push(query, self.commit),
            Event::Follow(conn, follow) => self.on_follow(conn, follow, now.boot),
            Event::Ack(conn, ack) => self.on_ack(conn, ack, now.boot),
            Event::Diverged(conn) => self.on_diverged(conn, now.boot),
            Event::Closed(conn) => self.on_closed(conn, now.boot),
            Event::LogRead(conn, bytes) => self.on_log_read(conn, bytes, now.boot),
            Event::Written(through) => self.written = self.written.max(through),
            Event::Synced(through) => self.on_synced(through),
            Event::Applied(through) => self.on_applied(through),
            Event::Record(record, wall) => self.on_record(now, record, wall),
            Event::Lease(until) => self.lease_until = until,
            Event::BackupUnseen(unseen) => self.on_backup_unseen(unseen, now.boot),
        }
        self.watch_gate(now.boot);
        self.pursue_swap(now.boot);
        self.advance(now.boot);
        self.feed_followers(now.boot);
        self.confirm_reads(now.boot);
        if self.is_sync_wanted && self.synced < self.tip.index {
            self.actions.push_back(Action::Sync);
        }
        self.is_sync_wanted = false;
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Event::Deadline`] is wanted at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let mut deadline = self.silence_ends();
        if let Some(swap) = &self.swap {
            let asked = swap.asked_at.map(|at| at.plus(self.term() / 4));
            deadline = earliest(deadline, asked);
        }
        match &self.gate {
            Gate::Joining(joining) if !joining.is_asked => {
                deadline = earliest(deadline, Some(joining.since.plus(JOIN_WAIT_MAX)));
            }
            Gate::Solo if self.is_serving() && self.swap.is_none() => {
                deadline = earliest(deadline, self.join_tried_at());
            }
            Gate::Solo | Gate::Paired { .. } | Gate::Joining(_) => {}
        }
        let beats = self.streaming().map(|follower| self.beat_at(follower));
        earliest(deadline, beats.min())
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
        matches!(self.stage, Stage::Active { serves_from } if self.applied >= serves_from)
    }

    /// Whether the view is active.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.stage != Stage::Candidate
    }

    /// Whether there is room for more input.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.tip.index.0 - self.applied.0 < PENDING_ENTRIES_MAX
            && self.pending_bytes < PENDING_BYTES_MAX
            && !self.reads.is_full()
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

    // Ordering.

    fn on_inputs(&mut self, now: Now, inputs: &[Input<'_>]) {
        assert!(self.is_active(), "only an active primary orders");
        // Reads that came before this batch are confirmed by the acknowledgement of its message.
        if let Some(round) = self.gate_follower().map(|follower| follower.round_sent + 1) {
            self.reads.assign_round(round);
        }
        let mut builder = self.builder(now);
        for input in inputs {
            if builder.len() + ENTRY_BYTES_MAX > BATCH_BYTES_MAX {
                self.order(builder, now.boot);
                builder = self.builder(now);
            }
            let (index, waiter) = push_input(&mut builder, input);
            if let Some(waiter) = waiter {
                self.waiting.push_back((index, waiter));
            }
        }
        self.order(builder, now.boot);
    }

    fn builder(&mut self, now: Now) -> BatchBuilder {
        let clock = self.clock.as_mut().expect("an active primary has a clock");
        let time = clock.read(now).max(self.tip.time);
        let stamp = BatchStamp {
            view: self.record.view,
            time,
            seed: self.seeds.next_u64(),
            commit: self.commit,
        };
        BatchBuilder::new(self.tip, stamp)
    }

    /// Appends a batch and sends it at once to every follower that has all before it.
    fn order(&mut self, builder: BatchBuilder, now: Instant) {
        let Some(batch) = builder.finish() else {
            return;
        };
        self.tip = batch.tip();
        self.view_starts.extend_from_slice(batch.view_starts());
        self.pending.push_back((batch.last(), batch.bytes().len()));
        self.pending_bytes += batch.bytes().len();
        let batch = Arc::new(batch);
        self.actions.push_back(Action::Append(Arc::clone(&batch)));
        if self.durability == Durability::Disk || !matches!(self.gate, Gate::Paired { .. }) {
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
    fn start_view(&mut self, now: Now) {
        let start = ViewStart {
            data_epoch: self.record.data_epoch,
            primary: self.identity.name.clone(),
            incarnation: self.identity.life.incarnation,
            durability: self.durability,
            session_timeout_ms: u64::try_from(self.session_timeout.as_millis()).unwrap_or(u64::MAX),
            sessions_max: self.sessions_max,
        };
        let mut builder = self.builder(now);
        self.view_start = builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
        self.order(builder, now.boot);
    }

    // Durability and commit.

    fn on_synced(&mut self, through: Index) {
        self.written = self.written.max(through);
        self.synced = self.synced.max(through);
    }

    /// What is durable here at the level of the pair.
    fn durable(&self) -> Index {
        match self.durability {
            Durability::Memory => self.tip.index,
            Durability::Os => self.written,
            Durability::Disk => self.synced,
        }
    }

    /// Commits what the gate lets through (`protocol.md` sections 4.3 and 4.7).
    fn advance(&mut self, now: Instant) {
        if !self.is_active() {
            return;
        }
        let through = match &self.gate {
            Gate::Solo if self.is_lease_held(now) => self.synced,
            Gate::Solo => Index::ZERO,
            Gate::Paired { .. } => self.durable().min(self.gate_acked()),
            Gate::Joining(_) => self.synced.min(self.gate_acked()),
        };
        // Entries of earlier views commit only together with this view's first.
        if through > self.commit && through >= self.view_start {
            self.commit = through;
            self.actions.push_back(Action::Commit(through));
        }
    }

    fn on_applied(&mut self, through: Index) {
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

    fn is_lease_held(&self, now: Instant) -> bool {
        self.lease_until.is_some_and(|until| now < until)
    }

    /// The grantor's term.
    fn term(&self) -> Duration {
        Duration::from_millis(u64::from(self.record.term_ms))
    }

    // The gate.

    /// The follower that answers wait for, if it has a stream in this view.
    fn gate_follower(&self) -> Option<&Follower> {
        match &self.gate {
            Gate::Solo => None,
            // Only under the token in the record do acknowledgements count (section 2): a store
            // that lost what it acknowledged is another holder, though its name is the same.
            Gate::Paired { backup } => self
                .followers
                .values()
                .find(|follower| backup.is(&follower.identity)),
            Gate::Joining(joining) => self.followers.get(&joining.conn),
        }
    }

    fn gate_acked(&self) -> Index {
        self.gate_follower()
            .map_or(Index::ZERO, |follower| follower.acked)
    }

    /// A backup that gets on with nothing for this long is dropped (section 6).
    fn silence_max(&self) -> Duration {
        self.term() / 2
    }

    fn silence_ends(&self) -> Option<Instant> {
        let is_watched = match &self.gate {
            Gate::Solo => false,
            Gate::Paired { .. } => true,
            Gate::Joining(joining) => joining.is_asked,
        };
        // A Drop that was decided on is pursued by itself.
        if !is_watched
            || self
                .swap
                .as_ref()
                .is_some_and(|swap| swap.proposed.backup.is_none())
        {
            return None;
        }
        match self.gate_follower() {
            Some(follower) => follower.silent_at(self.silence_max()),
            None => Some(self.gate_alone_since.plus(self.silence_max())),
        }
    }

    /// Drops a silent backup, gives up a Join that takes too long, begins one that can succeed.
    fn watch_gate(&mut self, now: Instant) {
        if !self.is_active() {
            return;
        }
        if self.silence_ends().is_some_and(|at| now >= at) {
            self.drop_backup(now);
        }
        match &self.gate {
            Gate::Solo => self.consider_join(now),
            Gate::Paired { .. } => {}
            Gate::Joining(joining) if !joining.is_asked => self.continue_join(now),
            Gate::Joining(_) => {}
        }
    }

    /// Decides on a Drop. Until the record is read the gate stays as it is (rule R1). It is also the
    /// fence for a Join that was asked and given up: it may still land, unless this lands first.
    fn drop_backup(&mut self, now: Instant) {
        let store = match &self.gate {
            Gate::Solo => return,
            Gate::Paired { backup } => backup.token.store(),
            Gate::Joining(joining) => joining.identity.store,
        };
        self.flapping.dropped(store, now);
        let proposed = self.record.drop_backup(&self.identity);
        self.ask(proposed, now);
    }

    fn on_backup_unseen(&mut self, unseen: Duration, now: Instant) {
        let is_dropping = self.swap.is_some();
        if matches!(self.gate, Gate::Paired { .. }) && !is_dropping && unseen > self.term() * 5 {
            self.drop_backup(now);
        }
    }

    fn join_tried_at(&self) -> Option<Instant> {
        let waits = self
            .candidates()
            .map(|follower| self.flapping.join_at(follower.identity.store));
        waits.min().map(|at| at.max(self.join_at))
    }

    fn candidates(&self) -> impl Iterator<Item = &Follower> {
        self.followers.values().filter(|follower| {
            follower.is_caught_up(self.tip.index, JOIN_LAG_BYTES_MAX)
                && !self.excluded.contains(&follower.identity.store)
        })
    }

    /// First half of a Join: answers begin to wait for the spare before anything is asked (R1).
    fn consider_join(&mut self, now: Instant) {
        if self.swap.is_some() || !self.is_serving() || now < self.join_at {
            return;
        }
        let spare = self
            .candidates()
            .filter(|follower| now >= self.flapping.join_at(follower.identity.store))
            .min_by_key(|follower| &follower.identity.name);
        let Some(spare) = spare else { return };
        self.gate = Gate::Joining(Joining {
            conn: spare.conn,
            identity: spare.identity.clone(),
            token: spare.identity.token(self.durability),
            barrier: self.tip.index,
            since: now,
            is_asked: false,
        });
        self.reads.forget_rounds();
    }

    /// Second half: once the spare has all that may have been answered without it, ask.
    fn continue_join(&mut self, now: Instant) {
        let Gate::Joining(joining) = &self.gate else {
            return;
        };
        let stream = self.followers.get(&joining.conn);
        let is_in_sync = stream.is_some_and(|follower| follower.acked >= joining.barrier);
        let is_late = now >= joining.since.plus(JOIN_WAIT_MAX);
        if is_in_sync {
            let own = Holder {
                name: self.identity.name.clone(),
                token: self.identity.token(self.durability),
            };
            let proposed = self.record.join(own, (&joining.identity, joining.token));
            if let Gate::Joining(joining) = &mut self.gate {
                joining.is_asked = true;
            }
            self.gate_alone_since = now;
            self.ask(proposed, now);
        } else if is_late || stream.is_none() {
            // Nothing was asked yet, so nothing can land: answers may flow alone again.
            self.gate = Gate::Solo;
            self.join_at = now.plus(JOIN_RETRY);
            self.reads.forget_rounds();
        }
    }

    // The record.

    /// Decides on a swap. Every swap that makes this the lone holder waits for the own disk.
    fn ask(&mut self, proposed: ViewRecord, now: Instant) {
        let is_alone = proposed
            .holders
            .iter()
            .all(|holder| matches!(holder.token, Token::Disk { .. }) && holder.is(&self.identity));
        let after_sync = if is_alone {
            self.tip.index
        } else {
            Index::ZERO
        };
        self.is_sync_wanted |= is_alone;
        self.swap = Some(PendingSwap {
            proposed,
            after_sync,
            asked_at: None,
        });
        self.pursue_swap(now);
    }

    fn pursue_swap(&mut self, now: Instant) {
        let again = self.term() / 4;
        let synced = self.synced;
        let Some(swap) = &mut self.swap else { return };
        if synced < swap.after_sync {
            self.is_sync_wanted = true;
            return;
        }
        if swap.asked_at.is_some_and(|at| now < at.plus(again)) {
            return;
        }
        swap.asked_at = Some(now);
        self.actions.push_back(Action::Swap {
            expected: Box::new(self.record.clone()),
            proposed: Box::new(swap.proposed.clone()),
        });
    }

    fn on_record(&mut self, now: Now, record: &ViewRecord, wall: WallTime) {
        assert!(
            record.primary.is(&self.identity),
            "the role ends before such a record comes"
        );
        self.wall_of_viewservice = wall;
        if *record == self.record {
            return; // an outstanding swap has not landed yet, and is asked again in time
        }
        assert!(record.id() >= self.record.id(), "views rise");
        let is_first = self.stage == Stage::Candidate;
        self.record = record.clone();
        if !record.active {
            return;
        }
        self.swap = None;
        self.gate_alone_since = now.boot;
        self.gate = match record
            .holders
            .iter()
            .find(|holder| !holder.is(&self.identity))
        {
            Some(backup) => Gate::Paired {
                backup: backup.clone(),
            },
            None => Gate::Solo,
        };
        self.reads.forget_rounds();
        if is_first {
            let ceiling = self.wall_of_viewservice.plus(JUMP_MAX);
            self.clock = Some(LoggedClock::new(now, self.tip.time, Some(ceiling)));
        }
        // Streams belong to a view: followers ask anew in this one.
        self.followers.clear();
        self.start_view(now);
        if is_first {
            self.stage = Stage::Active {
                serves_from: self.view_start,
            };
        }
        for (conn, follow) in std::mem::take(&mut self.early) {
            self.on_follow(conn, &follow, now.boot);
        }
    }

    // Followers.

    fn on_follow(&mut self, conn: ConnId, follow: &Follow, now: Instant) {
        let view = self.record.id();
        if follow.view < view {
            self.actions.push_back(Action::HigherView(conn, view));
            return;
        }
        if follow.view > view || !self.is_active() {
            if self.early.len() < REPLICAS_MAX || self.early.contains_key(&conn) {
                self.early.insert(conn, follow.clone());
            }
            if follow.view > view {
                // It has heard of this replica's own next view before this replica has.
                self.actions.push_back(Action::ReadRecord);
            }
            return;
        }
        let ours = (&self.view_starts, self.tip.index);
        let common = common_entry(ours.0, ours.1, &follow.view_starts, follow.last.index);
        let is_new = self.followers.contains_key(&conn) || self.followers.len() < REPLICAS_MAX;
        let (Some(common), true) = (common, is_new) else {
            self.actions.push_back(Action::CloseFollower(conn));
            return;
        };
        // Of one store only the newest stream counts: the older connection is dead.
        self.followers
            .retain(|_, other| other.identity.store != follow.identity.store);
        self.reads.forget_rounds();
        let nonce = self.seeds.next_u64();
        self.followers
            .insert(conn, Follower::new(conn, follow, nonce, common, now));
        let follower = &self.followers[&conn];
        match follower.resume_point(self.tip) {
            Some(tip) => self.resume(conn, tip, now),
            None => {
                self.actions.push_back(Action::ReadLog {
                    conn,
                    from: common,
                    bytes_max: 1,
                });
            }
        }
    }

    fn resume(&mut self, conn: ConnId, common: LogTip, now: Instant) {
        let silence_ms = u32::try_from(self.silence_max().as_millis()).unwrap_or(u32::MAX);
        let Some(follower) = self.followers.get_mut(&conn) else {
            return;
        };
        follower.phase = Phase::Matching;
        follower.progress_at = now;
        let resume = Resume {
            view: self.record.id(),
            nonce: follower.nonce,
            common,
            durability: self.durability,
            silence_ms,
        };
        self.actions.push_back(Action::Resume(conn, resume));
    }

    fn on_log_read(&mut self, conn: ConnId, bytes: Vec<u8>, now: Instant) {
        let Some(follower) = self.followers.get_mut(&conn) else {
            return;
        };
        if follower.phase == Phase::LookingUp {
            match Entry::decode(&bytes) {
                Ok(entry) if entry.header.index == follower.common => {
                    let tip = entry.tip();
                    self.resume(conn, tip, now);
                }
                _ => self.close_follower(conn),
            }
            return;
        }
        follower.is_reading = false;
        let Some(through) = last_index(&bytes, follower.next) else {
            return;
        };
        let commit = self.applied;
        let round = follower.sending(through, bytes.len(), commit, now);
        self.actions.push_back(Action::Send {
            conn,
            nonce: follower.nonce,
            view: self.record.id(),
            round,
            commit,
            payload: Payload::Bytes(bytes),
        });
    }

    fn on_ack(&mut self, conn: ConnId, ack: &Ack, now: Instant) {
        let Some(follower) = self.followers.get_mut(&conn) else {
            return;
        };
        if ack.nonce != follower.nonce || ack.view != self.record.id() {
            return; // of an earlier stream on the same connection, or of an earlier view
        }
        if !follower.acknowledge(ack, now) {
            self.close_follower(conn);
        }
    }

    fn on_diverged(&mut self, conn: ConnId, now: Instant) {
        let Some(follower) = self.followers.get(&conn) else {
            return;
        };
        let is_gate = self.gate_follower().is_some_and(|gate| gate.conn == conn);
        self.excluded.insert(follower.identity.store);
        self.close_follower(conn);
        if is_gate {
            self.drop_backup(now);
        }
    }

    fn close_follower(&mut self, conn: ConnId) {
        self.followers.remove(&conn);
        self.actions.push_back(Action::CloseFollower(conn));
    }

    fn on_closed(&mut self, conn: ConnId, now: Instant) {
        self.early.remove(&conn);
        let is_gate = self.gate_follower().is_some_and(|gate| gate.conn == conn);
        if let Some(follower) = self.followers.remove(&conn)
            && is_gate
        {
            self.gate_alone_since = if follower.is_outstanding() {
                follower.progress_at
            } else {
                now
            };
            self.reads.forget_rounds();
        }
    }

    fn beat_at(&self, follower: &Follower) -> Instant {
        let is_commit_new = follower.commit_sent < self.applied;
        let wait = if is_commit_new {
            COMMIT_IDLE
        } else {
            self.term() / 10
        };
        follower.sent_at.plus(wait)
    }

    fn streaming(&self) -> impl Iterator<Item = &Follower> {
        self.followers
            .values()
            .filter(|follower| follower.phase == Phase::Streaming)
    }

    /// Sends followers what they lack, and heartbeats.
    fn feed_followers(&mut self, now: Instant) {
        let mut due = Vec::new();
        for follower in self.followers.values_mut() {
            if follower.wants_log(self.tip.index) {
                follower.is_reading = true;
                let (conn, from) = (follower.conn, follower.next);
                self.actions.push_back(Action::ReadLog {
                    conn,
                    from,
                    bytes_max: 1 << 20,
                });
            }
        }
        due.extend(
            self.streaming()
                .filter(|f| now >= self.beat_at(f))
                .map(|f| f.conn),
        );
        for conn in due {
            self.send_nothing(conn, now);
        }
    }

    /// One round for all reads that came since the last message to the gate's follower.
    fn send_read_round(&mut self, now: Instant) {
        let Some(gate) = self.gate_follower() else {
            return;
        };
        let (conn, round, phase) = (gate.conn, gate.round_sent + 1, gate.phase);
        if self.reads.assign_round(round) && phase == Phase::Streaming {
            self.send_nothing(conn, now);
        }
    }

    /// A message without entries: a heartbeat, a round for reads, the commit index by itself.
    fn send_nothing(&mut self, conn: ConnId, now: Instant) {
        let (view, commit) = (self.record.id(), self.applied);
        let Some(follower) = self.followers.get_mut(&conn) else {
            return;
        };
        let round = follower.sending(Index::ZERO, 0, commit, now);
        let nonce = follower.nonce;
        let payload = Payload::Nothing;
        self.actions.push_back(Action::Send {
            conn,
            nonce,
            view,
            round,
            commit,
            payload,
        });
    }

    fn confirm_reads(&mut self, now: Instant) {
        if !self.is_active() {
            return;
        }
        let lease_is_held = self.is_lease_held(now);
        let confirmation = match &self.gate {
            Gate::Solo if lease_is_held => Confirmation::Solo,
            Gate::Solo => Confirmation::None,
            Gate::Paired { .. } | Gate::Joining(_) => {
                let acked = self
                    .gate_follower()
                    .map_or(0, |follower| follower.round_acked);
                Confirmation::Round {
                    acked,
                    lease_is_held,
                }
            }
        };
        let mut ready = Vec::new();
        self.reads
            .take_ready(confirmation, self.applied, &mut ready);
        self.actions.extend(ready.into_iter().map(Action::Answer));
    }
}

/// Encodes one input; its index and who waits for it.
fn push_input(builder: &mut BatchBuilder, input: &Input<'_>) -> (Index, Option<Waiter>) {
    match input {
        Input::Open(waiter) => (builder.push(EntryKind::OpenSession, |_| {}), Some(*waiter)),
        Input::Close(waiter, session) => {
            let close = standin_core::entry::CloseSession { session: *session };
            let index = builder.push(EntryKind::CloseSession, |out| encode_payload(&close, out));
            (index, Some(*waiter))
        }
        Input::Command(waiter, command) => (
            builder.push(EntryKind::Command, |out| command.encode(out)),
            Some(*waiter),
        ),
        Input::Timer(fired) => (
            builder.push(EntryKind::Timer, |out| encode_payload(fired, out)),
            None,
        ),
    }
}

/// Index of the last entry in `bytes` if the first is `first`.
fn last_index(bytes: &[u8], first: Index) -> Option<Index> {
    let mut rest = bytes;
    let mut expected = first;
    while !rest.is_empty() {
        let entry = Entry::decode(rest)
            .ok()
            .filter(|entry| entry.header.index == expected)?;
        expected = expected.next();
        rest = &rest[standin_core::entry::ENTRY_HEADER_BYTES + entry.payload.len()..];
    }
    (expected > first).then(|| Index(expected.0 - 1))
}

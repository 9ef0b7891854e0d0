//! The log as decisions need it: appending, applying what is committed in bounded pieces, timers.

use std::sync::Arc;

use standin_backup as backup;
use standin_core::digest::DigestChain;
use standin_core::entry::{Batch, ENTRY_HEADER_BYTES, Entry, EntryKind, Index, LogTip, RunReplies};
use standin_core::machine::StateMachine;
use standin_core::message::{ReplyStatus, Seen};
use standin_core::planted::Bug;
use standin_core::state::Replicated;
use standin_core::time::{Duration, Instant, Now};
use standin_core::version::VersionStarts;
use standin_primary as primary;
use standin_primary::{Input, Waiter};

use crate::answers::AnswerHead;
use crate::event::{Action, Event, Level, ReadFor};
use crate::pace::slice_of;
use crate::replica::{Replica, Role};
use crate::replies::ReplyLog;

/// Timers that become entries of one batch, at most.
const TIMERS_PER_BATCH: usize = 1024;
/// Bytes of log that are read at a time.
pub(crate) const READ_BYTES: usize = 1 << 20;
/// Bytes that are appended before they are synced though no answer waits for it, so that what a lone
/// primary must sync before it goes on alone stays small.
const UNSYNCED_BYTES_MAX: usize = 8 << 20;

/// Entries applied in one wake-up, at most, however quick they are: renewals must not wait for a long replay.
pub(crate) const APPLY_ENTRIES_MAX: u64 = 8192;
/// Entries whose payloads are so long together are prefetched before they are applied: enough that what some dozens of short
/// commands need is waited for together, and few enough that it is still in the nearest caches when their turn comes.
const PREFETCH_BYTES: usize = 1 << 10;
/// As much of the log is read for each entry that may be applied, and [`APPLY_READ_BYTES_MIN`] at least.
const APPLY_READ_BYTES_PER_ENTRY: usize = 256;
const APPLY_READ_BYTES_MIN: usize = 4 << 10;

impl<M: StateMachine> Replica<M> {
    pub(crate) fn append(&mut self, batch: Arc<Batch>) {
        self.log.tip = batch.tip();
        self.log.view_starts.extend_from_slice(batch.view_starts());
        self.read_skips(&batch.skips());
        self.note_versions(&batch);
        self.recent.push(Arc::clone(&batch), self.state.applied());
        self.unsynced_bytes += batch.bytes().len();
        self.room.take(batch.bytes().len());
        self.actions.push_back(Action::Append(batch));
        if self.unsynced_bytes > UNSYNCED_BYTES_MAX {
            self.unsynced_bytes = 0;
            self.actions.push_back(Action::Sync);
        }
    }

    pub(crate) fn sync(&mut self) {
        self.progress.sync_asked = self.log.tip.index;
        self.unsynced_bytes = 0;
        self.actions.push_back(Action::Sync);
    }

    pub(crate) fn on_cut(&mut self, now: Now, tip: LogTip) {
        let is_set_aside = self.is_log_outdated() && tip == LogTip::default();
        if is_set_aside {
            self.begin_data_epoch();
        }
        assert!(
            self.state.applied() <= tip.index,
            "S9: nothing applied is cut"
        );
        self.log.tip = tip;
        self.log
            .view_starts
            .retain(|(_, first)| *first <= tip.index);
        self.log.version_starts.cut(tip.index);
        // What of it went is not known: it is listed again.
        self.log.skips_listed.clear();
        self.log.written = tip.index;
        self.log.synced = tip.index;
        self.progress.sync_asked = self.progress.sync_asked.min(tip.index);
        self.recent.clear();
        let text = if is_set_aside {
            format!(
                "set the log aside: an operator forced a takeover, and view {} begins a new data epoch; \
                 what the primary has is fetched anew",
                self.adopted
            )
        } else {
            format!(
                "cut the log after entry {}: the primary never had the rest",
                tip.index
            )
        };
        self.actions.push_back(Action::Log(Level::Info, text));
        self.tell_backup(now, backup::Event::Cut(tip));
    }

    /// The log of an earlier data epoch was set aside as a whole, and with it goes the state that came of it.
    fn begin_data_epoch(&mut self) {
        self.state.exchange(Replicated::default());
        #[cfg(feature = "planted-bugs")]
        self.state.plant(self.planted);
        for skip in &self.log.skips {
            self.state.skip(*skip);
        }
        self.known_applied = Index::ZERO;
        self.replies = ReplyLog::beginning(Index::ZERO, DigestChain::default());
        self.inspected = None;
        self.snapshots.begin_anew();
        self.log.base = LogTip::default();
        self.log.version_starts = VersionStarts::default();
        self.log.commit = Index::ZERO;
        self.log.data_epoch = self.adopted.data_epoch;
        self.config.recovered.lost = Index::ZERO;
    }

    pub(crate) fn on_log_read(&mut self, now: Now, read: ReadFor, bytes: Vec<u8>) {
        match read {
            ReadFor::Follower(conn) => {
                self.tell_primary(now, primary::Event::LogRead(conn, bytes));
            }
            ReadFor::Lend(conn, after) => self.on_lent(conn, after, bytes),
            ReadFor::Check => self.tell_backup(now, backup::Event::LogRead(bytes)),
            ReadFor::Apply => {
                self.is_reading = false;
                if self.is_log_outdated() {
                    return;
                }
                let before = self.state.applied();
                self.begin_to_apply();
                self.apply_bytes(&bytes);
                self.count_applied(before);
                self.tell_applied(now);
                self.apply_committed(now);
            }
        }
    }

    pub(crate) fn wants_to_apply(&self) -> bool {
        self.state.applied() < self.log.commit
            && !self.is_reading
            && !matches!(self.role, Role::Quarantined)
            && !self.state.is_poisoned()
            && !self.is_log_outdated()
    }

    /// Applies what is committed, in order and in pieces.
    pub(crate) fn apply_committed(&mut self, now: Now) {
        if !self.wants_to_apply() {
            return;
        }
        let before = self.state.applied();
        self.begin_to_apply();
        while self.wants_to_apply() && self.may_apply() {
            let next = self.state.applied().next();
            let Some(batch) = self.recent.find(next).map(Arc::clone) else {
                self.is_reading = true;
                let left = usize::try_from(self.pace.left()).unwrap_or(usize::MAX);
                let bytes = left.saturating_mul(APPLY_READ_BYTES_PER_ENTRY);
                let bytes = bytes.max(APPLY_READ_BYTES_MIN);
                self.actions.push_back(Action::ReadLog(
                    ReadFor::Apply,
                    next,
                    bytes.min(self.config.limits.log_read_bytes),
                ));
                break;
            };
            self.apply_batch(&batch);
        }
        self.count_applied(before);
        if self.state.applied() > before {
            self.tell_applied(now);
        }
    }

    /// Before anything comes of an event: how much may be applied.
    pub(crate) fn keep_pace(&mut self, now: Instant, event: &Event<'_>) {
        let piece_max = self.config.limits.apply_entries_max;
        let took = self.pace.happens(now, self.term(), piece_max);
        if let (Some(took), Role::Primary(primary)) = (took, &mut self.role) {
            primary.note_own_pace(took, now);
        }
        if matches!(event, Event::Deadline) {
            self.pace.deadline_came(piece_max);
        }
    }

    fn begin_to_apply(&mut self) {
        self.apply_until = Index(self.state.applied().0.saturating_add(self.pace.left()));
        self.apply_deadline = (self.work_clock)().plus(slice_of(self.term()));
    }

    /// Whether more may be applied in this wake-up.
    fn may_apply(&self) -> bool {
        self.state.applied() < self.apply_until && !self.is_answer_full()
    }

    fn count_applied(&mut self, before: Index) {
        let entries = self.state.applied().0.saturating_sub(before.0);
        self.pace.applied(entries, self.wants_to_apply());
    }

    pub(crate) fn apply_batch(&mut self, batch: &Batch) {
        let mut entries = batch.entries();
        let mut prefetched = Index::ZERO;
        loop {
            let ahead = entries.clone();
            let Some(entry) = entries.next() else {
                return;
            };
            if entry.header.index > self.log.commit || !self.may_apply() {
                return;
            }
            if entry.header.index > prefetched.max(self.state.applied()) {
                prefetched = self.prefetch(ahead);
            }
            if !self.apply_entry(&entry) {
                return;
            }
        }
    }

    /// Prefetches the first of these entries; says up to which one.
    fn prefetch<'e>(&self, entries: impl Iterator<Item = Entry<'e>> + Clone) -> Index {
        let (mut last, mut count, mut bytes) = (Index::ZERO, 0, 0);
        for entry in entries.clone() {
            if bytes >= PREFETCH_BYTES {
                break;
            }
            bytes += entry.payload.len();
            last = entry.header.index;
            count += 1;
        }
        self.state.prefetch(entries.take(count));
        last
    }

    /// Applies entries that were read back from the log.
    pub(crate) fn apply_bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.state.applied() < self.log.commit && self.may_apply() {
            let Ok(entry) = Entry::decode(rest) else {
                return self.quarantine("an entry of its log can no longer be read");
            };
            if !self.apply_entry(&entry) {
                return;
            }
            rest = &rest[ENTRY_HEADER_BYTES + entry.payload.len()..];
        }
    }

    /// Applies an entry; `false` if the machine failed at it.
    fn apply_entry(&mut self, entry: &Entry<'_>) -> bool {
        let index = entry.header.index;
        if index <= self.state.applied() {
            return true; // the batch began before
        }
        let from = self.answers.bytes().len();
        let version = self.state.version();
        let status = match self.state.apply(entry, self.answers.bytes()) {
            Ok(status) => status,
            Err(fault) => {
                self.machine_failed(fault);
                return false;
            }
        };
        let chain = self.state.reply_digest();
        let reply = &self.answers.bytes()[from..];
        self.replies.push(index, chain, status, reply);
        self.tell_upgrade(entry, version);
        if (self.work_clock)() >= self.apply_deadline {
            // A machine that was quick until now may have become slow.
            self.apply_until = index;
            self.pace.spend();
        }
        match entry.header.kind {
            EntryKind::Run => self.answer_run(index, from),
            _ => self.answer_entry(index, status, from),
        }
        self.snapshot_if_due(entry);
        true
    }

    /// Answers whoever waits for the entry at `index`, whose reply is the last that was appended, from `from` on.
    fn answer_entry(&mut self, index: Index, status: ReplyStatus, from: usize) {
        match self.take_waiter(index) {
            Some((waiter, is_solo)) => {
                let head = self.head_of(waiter, index, status, is_solo);
                self.answers.push(head, from);
            }
            None => self.answers.bytes().truncate(from),
        }
    }

    /// The same for a run: whoever waits for each of its commands.
    fn answer_run(&mut self, index: Index, from: usize) {
        let end = self.answers.bytes_count();
        let mut at = from;
        let mut is_awaited = false;
        while let Some((waiter, is_solo)) = self.take_waiter(index) {
            is_awaited = true;
            let mut replies = RunReplies::of(&self.answers.bytes()[at..end]);
            let reply = replies.next().expect("each command of a run has a reply");
            let (status, length) = (reply.status, reply.bytes.len());
            let after = end - replies.rest();
            let head = self.head_of(waiter, index, status, is_solo);
            self.answers.push_range(head, after - length..after);
            if !self.planted.has(Bug::RunMisanswered) {
                at = after;
            }
        }
        if !is_awaited {
            self.answers.bytes().truncate(from);
        }
    }

    /// The next who waits for this entry, and whether this is a primary without a backup.
    fn take_waiter(&mut self, index: Index) -> Option<(Waiter, bool)> {
        let Role::Primary(primary) = &mut self.role else {
            return None;
        };
        let waiter = primary.take_waiter(index)?;
        Some((waiter, primary.is_solo()))
    }

    fn head_of(
        &self,
        waiter: Waiter,
        index: Index,
        status: ReplyStatus,
        is_solo: bool,
    ) -> AnswerHead {
        AnswerHead {
            conn: waiter.conn,
            id: waiter.id,
            status,
            seen: Seen {
                view: self.adopted,
                index,
            },
            is_solo,
            valid_until: None,
        }
    }

    pub(crate) fn tell_applied(&mut self, now: Now) {
        let (applied, digest) = (self.state.applied(), self.state.reply_digest().0);
        match &self.role {
            Role::Primary(_) => self.tell_primary(now, primary::Event::Applied(applied)),
            Role::Backup(_) => self.tell_backup(now, backup::Event::Applied(applied, digest)),
            Role::Between | Role::Quarantined => {}
        }
    }

    pub(crate) fn fire_timers(&mut self, now: Now) {
        self.timer_at = None;
        if self.state.is_poisoned() || !self.has_room_for_timers() {
            return; // until there is room
        }
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let takes_input = primary.is_serving() && !primary.is_holding();
        let (Some(next), true) = (self.state.timer_next(), takes_input) else {
            return;
        };
        let Some(time) = primary.logged_time(now) else {
            return;
        };
        let time = match time {
            _ if self.planted.has(Bug::TimerEarly) => time.plus(Duration::from_millis(50)),
            time => time,
        };
        if next > time {
            self.timer_at = Some(now.boot.plus(next.since(time)));
            return;
        }
        if self.state.applied() < self.timers_through || !primary.has_room() {
            return; // those that are due now may have been ordered already
        }
        let due = self.state.timers_due(time, TIMERS_PER_BATCH);
        let inputs: Vec<Input<'_>> = due.into_iter().map(Input::Timer).collect();
        self.tell_primary(now, primary::Event::Inputs(&inputs));
        self.timers_through = self.log.tip.index;
    }

    pub(crate) fn watch_progress(&mut self, now: Instant) {
        let mark = (self.log.synced, self.state.applied());
        let waits_for_disk = self.progress.sync_asked > self.log.synced;
        let waits_for_machine = self.state.applied() < self.log.commit;
        if self.progress.mark != mark || !(waits_for_disk || waits_for_machine) {
            self.progress.mark = mark;
            self.progress.at = now;
        }
    }

    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        now.since(self.progress.at) > self.term()
    }
}

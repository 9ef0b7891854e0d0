//! Snapshots: when they are taken, what of the log goes then, and handing them to followers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use standin_backup as backup;
use standin_core::capture::{Image, SnapshotMark};
use standin_core::conn::ConnId;
use standin_core::entry::{
    ENTRY_HEADER_BYTES, Entry, EntryKind, Index, LogTip, ViewStart, forget_views,
};
use standin_core::evidence::{EVIDENCE_STATES_MAX, RecordedState};
use standin_core::identity::StoreId;
use standin_core::machine::StateMachine;
use standin_core::message::{
    REPLICAS_MAX, SNAPSHOT_PIECE_BYTES_MAX, SnapshotOffer, SnapshotRead, StateDigest,
};
use standin_core::planted::Bug;
use standin_core::state::Replicated;
use standin_core::time::{Duration, Instant, Now};
use standin_core::version::VersionStarts;
use standin_core::view::DataEpoch;
use standin_primary as primary;

use crate::event::{Action, Level};
use crate::replica::{Log, Replica, Role};
use crate::replies::ReplyLog;

/// Snapshots that are kept: if the newest one rots, there is one before it, and the log from there on.
const SNAPSHOTS_KEPT: usize = 2;
/// Snapshots back to which the log is kept at most for followers that are behind. Who comes later fetches a newer
/// snapshot.
pub const SNAPSHOTS_PINNED_MAX: usize = 8;
/// How long a snapshot is kept for a follower that lost its connection while it fetched it.
const READER_GONE_MAX: Duration = Duration::from_secs(10);
/// How often one snapshot is offered to a follower whose connection breaks, before a newer one is.
const OFFERS_MAX: u32 = 16;
/// Followers that fetch a snapshot at one time, or did so a short time ago, at most.
const READERS_MAX: usize = 16;

/// Stores of which is kept what they told of their state: as many as a cluster has replicas.
const TOLD_MAX: usize = REPLICAS_MAX;

/// When snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// Whenever an index that this divides was applied, so at the same entries everywhere. 0: never.
    pub every: u64,
    /// Also when so many bytes of log were applied since the last one.
    pub log_bytes: u64,
    /// Also when there is no room for more log: what a snapshot covers goes then.
    pub makes_room: bool,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            every: 1_000_000,
            log_bytes: 1 << 30,
            makes_room: true,
        }
    }
}

/// A snapshot that is whole and durable in the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptSnapshot {
    /// What it is of.
    pub mark: SnapshotMark,
    /// The digest of the state in it.
    pub state_digest: u128,
    /// Length of that state, in bytes.
    pub state_bytes: u64,
}

impl KeptSnapshot {
    fn index(&self) -> Index {
        self.mark.tip.index
    }

    fn recorded(&self) -> RecordedState {
        RecordedState {
            index: self.index(),
            reply_digest: self.mark.reply_digest,
            state_digest: self.state_digest,
        }
    }
}

/// A captured state on its way to where it is written or digested.
#[derive(Clone, Debug)]
pub struct SharedImage(pub Arc<dyn Image>);

impl PartialEq for SharedImage {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedImage {}

/// A follower that fetches a snapshot.
#[derive(Clone, Copy, Debug)]
struct Reader {
    store: StoreId,
    nonce: u64,
    index: Index,
    /// How often it was offered this one.
    offers: u32,
    /// Its connection is gone since then.
    gone_at: Option<Instant>,
}

/// What a replica knows of its snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    config: SnapshotConfig,
    /// Bytes of log that were applied since the last one was captured.
    bytes: u64,
    /// The data epoch of the newest ViewStart that was applied.
    data_epoch: DataEpoch,
    /// One is wanted, for there is no room for more log.
    is_wanted: bool,
    /// The one that is being written.
    taking: Option<SnapshotMark>,
    /// Those in the data directory, oldest first.
    kept: VecDeque<KeptSnapshot>,
    /// What followers told of their state at an entry for which this one's digest is not made yet: of each store the
    /// newest, whatever becomes of its connection and of the view. [`TOLD_MAX`] at most.
    told: BTreeMap<StoreId, (Index, u128)>,
    /// What the latest snapshots recorded, also of those that are gone. [`EVIDENCE_STATES_MAX`] at most.
    recorded: VecDeque<RecordedState>,
    /// None is let go of: they show at which entry another replica has parted from this one.
    keeps_all: bool,
    readers: BTreeMap<ConnId, Reader>,
}

impl Snapshots {
    pub(crate) fn new(
        config: SnapshotConfig,
        kept: &[KeptSnapshot],
        data_epoch: DataEpoch,
    ) -> Self {
        let recorded = kept.iter().map(KeptSnapshot::recorded);
        Self {
            config,
            bytes: 0,
            data_epoch,
            is_wanted: false,
            taking: None,
            recorded: recorded.collect(),
            keeps_all: false,
            kept: kept.iter().copied().collect(),
            told: BTreeMap::new(),
            readers: BTreeMap::new(),
        }
    }

    /// The newest one: of which entry, and the digest of the state in it.
    pub(crate) fn newest_digest(&self) -> Option<(Index, u128)> {
        let newest = self.kept.back();
        newest.map(|newest| (newest.index(), newest.state_digest))
    }

    /// What the latest ones recorded, in order.
    pub(crate) fn recorded(&self) -> impl Iterator<Item = RecordedState> {
        let surplus = self.recorded.len().saturating_sub(EVIDENCE_STATES_MAX);
        self.recorded.iter().skip(surplus).copied()
    }

    /// From now on none is let go of, and no log, as long as there is room.
    pub(crate) fn keep_all(&mut self) {
        self.keeps_all = true;
    }

    /// They are let go of again.
    pub(crate) fn keep_as_usual(&mut self) {
        self.keeps_all = false;
    }

    fn add(&mut self, taken: KeptSnapshot) {
        self.kept.push_back(taken);
        self.recorded.push_back(taken.recorded());
        if self.recorded.len() > EVIDENCE_STATES_MAX {
            self.recorded.pop_front();
        }
    }

    /// State and log begin anew at their beginning: those there were are set aside.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self::new(self.config, &[], DataEpoch::default());
    }

    /// Takes in an entry that was applied; says whether a snapshot is due after it.
    fn is_due_after(&mut self, entry: &Entry<'_>) -> bool {
        self.bytes += (ENTRY_HEADER_BYTES + entry.payload.len()) as u64;
        if entry.header.kind == EntryKind::ViewStart
            && let Some(start) = ViewStart::decode(entry.payload)
        {
            self.data_epoch = start.data_epoch;
        }
        let SnapshotConfig {
            every, log_bytes, ..
        } = self.config;
        let is_due = self.is_wanted
            || entry.header.index.0.checked_rem(every) == Some(0)
            || (every > 0 && self.bytes >= log_bytes);
        // One at a time: if they take longer than they are apart, there are fewer.
        is_due && self.taking.is_none()
    }

    /// There is no room for more log.
    pub(crate) fn want_for_room(&mut self) {
        self.is_wanted = self.config.makes_room && self.config.every > 0;
        // To serve comes before to find out.
        self.keeps_all = false;
    }

    /// The snapshot from which on state and log are kept: so that two are there, and no follower that is not
    /// too far behind is left without what it needs.
    fn keep_from(&self, needs_from: Option<Index>) -> Option<usize> {
        let newest = self.kept.len().checked_sub(SNAPSHOTS_KEPT)?;
        let oldest = self.kept.len().saturating_sub(SNAPSHOTS_PINNED_MAX);
        let readers = self.readers.values().map(|reader| reader.index);
        // It needs the log from there on, so a snapshot of the entry before at most.
        let needs_from = needs_from.map(|index| Index(index.0.saturating_sub(1)));
        let wanted = match readers.chain(needs_from).min() {
            None => Some(newest),
            Some(pinned) => {
                let before = self.kept.partition_point(|kept| kept.index() <= pinned);
                before.checked_sub(1).map(|at| at.min(newest))
            }
        };
        match wanted {
            None if oldest == 0 => None,
            wanted => Some(wanted.unwrap_or(0).max(oldest)),
        }
    }
}

impl<M: StateMachine> Replica<M> {
    /// Takes a snapshot if one is due after this entry, which was just applied.
    pub(crate) fn snapshot_if_due(&mut self, entry: &Entry<'_>) {
        if !self.snapshots.is_due_after(entry) {
            return;
        }
        self.take_snapshot(entry.tip());
    }

    /// Takes a snapshot if one is wanted to make room; all up to the log's end, `tip`, is applied.
    pub(crate) fn snapshot_if_wanted(&mut self, tip: LogTip) {
        let newest = self.snapshots.kept.back().map(KeptSnapshot::index);
        let is_new = newest.is_none_or(|newest| newest < tip.index);
        if self.snapshots.is_wanted && self.snapshots.taking.is_none() && is_new {
            self.take_snapshot(tip);
        }
    }

    fn take_snapshot(&mut self, tip: LogTip) {
        self.snapshots.is_wanted = false;
        let index = tip.index;
        let starts = &self.log.view_starts;
        let at = starts.partition_point(|(_, first)| *first <= index);
        let Some((_, view_first)) = at.checked_sub(1).map(|at| starts[at]) else {
            return; // a log without a ViewStart: nobody but a test has one
        };
        let machine_version = self.state.version();
        let is_misrecorded = self.planted.has(Bug::ChainMisrecorded);
        let starts = &self.log.version_starts;
        let mark = SnapshotMark {
            data_epoch: self.snapshots.data_epoch,
            tip,
            view_first,
            reply_digest: self.state.reply_digest().0 ^ u128::from(is_misrecorded),
            machine_version,
            failed_version: starts.failed_through(index, machine_version),
        };
        self.snapshots.bytes = 0;
        self.snapshots.taking = Some(mark);
        let image = SharedImage(Arc::new(self.state.capture()));
        self.actions.push_back(Action::TakeSnapshot(mark, image));
    }

    /// The snapshot that was being taken is durable.
    pub(crate) fn on_snapshot_taken(&mut self, now: Now, taken: KeptSnapshot) {
        if self.snapshots.taking.take() != Some(taken.mark) {
            return; // the state has become another since: the host has removed it with the rest
        }
        self.snapshots.add(taken);
        let (index, digest) = (taken.index(), taken.state_digest);
        self.tell_backup(now, backup::Event::StateDigest(index, digest));
        self.compare_states(now);
        self.forget_covered(now.boot);
    }

    /// There was no room for it. There may be for the next one; meanwhile the log goes on growing.
    pub(crate) fn on_snapshot_failed(&mut self, why: &str) {
        self.snapshots.taking = None;
        let text = format!("{why}; the log is kept until there is room for one");
        self.actions.push_back(Action::Log(Level::Warn, text));
    }

    /// A follower tells of its state.
    pub(crate) fn on_state_digest(&mut self, now: Now, conn: ConnId, told: &StateDigest) {
        let Some(store) = self.store_of_stream(conn, told.nonce, told.view) else {
            return;
        };
        let all = &mut self.snapshots.told;
        all.insert(store, (told.index, told.digest));
        if all.len() > TOLD_MAX {
            // The oldest is the least likely to be compared yet.
            let oldest = all.iter().min_by_key(|(_, (index, _))| *index);
            let oldest = oldest.map(|(store, _)| *store);
            all.retain(|store, _| Some(*store) != oldest);
        }
        self.compare_states(now);
    }

    /// Compares what followers told with the digests of this replica's snapshots (`protocol.md` section 12).
    fn compare_states(&mut self, now: Now) {
        let newest = self
            .snapshots
            .kept
            .back()
            .map_or(Index::ZERO, KeptSnapshot::index);
        let mut differing = Vec::new();
        let kept = &self.snapshots.kept;
        self.snapshots.told.retain(|store, (index, digest)| {
            let own = kept.iter().find(|kept| kept.index() == *index);
            if own.is_some_and(|own| own.state_digest != *digest)
                && !self.planted.has(Bug::StatesUncompared)
            {
                differing.push((*store, *index));
            }
            // Of an entry at which none was taken here, or none is kept any more, nothing can be said.
            own.is_none() && *index > newest
        });
        for (store, index) in differing {
            let what = format!("another state after entry {index}");
            self.on_parted(now, store, &what);
        }
    }

    /// Lets go of snapshots, and of the log before them, that nobody needs any more.
    fn forget_covered(&mut self, now: Instant) {
        if self.snapshots.keeps_all {
            return;
        }
        self.snapshots.readers.retain(|_, reader| {
            reader
                .gone_at
                .is_none_or(|at| now < at.plus(READER_GONE_MAX))
        });
        let needs_from = match &self.role {
            Role::Primary(primary) => primary.needs_from(),
            Role::Backup(_) | Role::Between | Role::Quarantined => None,
        };
        let needs_from = needs_from.filter(|_| !self.planted.has(Bug::ForgottenUnderFollower));
        let Some(from) = self.snapshots.keep_from(needs_from) else {
            return;
        };
        self.snapshots.kept.drain(..from);
        let Some(oldest) = self.snapshots.kept.front() else {
            return;
        };
        let index = if self.planted.has(Bug::ForgottenBeyondSnapshot) {
            self.state.applied()
        } else {
            oldest.index()
        };
        self.actions.push_back(Action::Forget(index));
    }

    /// The log begins right after `base` now.
    pub(crate) fn on_forgotten(&mut self, now: Now, base: LogTip) {
        assert!(
            base.index <= self.state.applied(),
            "S9: only what a snapshot covers is forgotten"
        );
        self.log.base = base;
        forget_views(&mut self.log.view_starts, base);
        self.log.version_starts.forget(base.index);
        self.tell_primary(now, primary::Event::Forgotten(base));
    }

    /// Offers a follower a snapshot, since the log has no longer what it lacks: the newest, or the one that it had
    /// begun to fetch when its connection broke; or another, if that one is of no use. One of the entry `from` or a later
    /// one: if there is none, one is wanted.
    pub(crate) fn offer(&mut self, conn: ConnId, store: StoreId, nonce: u64, from: Index) {
        // A replica that started from a snapshot without a log behind the one before still has that one, and no log that
        // goes on from it: whoever fetched it would have to be offered another at once.
        let base = self.log.base.index;
        let Snapshots {
            kept,
            readers,
            is_wanted,
            ..
        } = &mut self.snapshots;
        let mut begun = None;
        readers.retain(|_, reader| {
            let is_it = reader.store == store;
            if is_it {
                begun = Some((reader.index, reader.offers));
            }
            !is_it
        });
        let newest = kept.back().filter(|newest| newest.index() >= from);
        let (Some(newest), true) = (newest, readers.len() < READERS_MAX) else {
            *is_wanted |= newest.is_none() && from > Index::ZERO;
            self.actions.push_back(Action::CloseFollower(conn));
            return self.snapshot_at_once();
        };
        // One that it cannot make use of is not offered for ever: it may have rotted here. If there is none newer, then
        // the one before, from which on the log is kept, too; and a new one is wanted.
        let useless = begun.filter(|(_, offers)| *offers >= OFFERS_MAX);
        let begun = begun.filter(|(index, _)| useless.is_none() && *index >= from);
        let begun = begun.and_then(|(index, offers)| {
            let it = kept.iter().find(|kept| kept.index() == index)?;
            Some((it, offers))
        });
        let other = useless.and_then(|(index, _)| {
            let mut older = kept.iter().rev().filter(|kept| kept.index() < index);
            let older = older.next().filter(|older| older.index() >= base.max(from));
            older.filter(|_| newest.index() == index)
        });
        *is_wanted |= useless.is_some_and(|(index, _)| index == newest.index());
        let (offered, offers) = begun.unwrap_or((other.unwrap_or(newest), 0));
        let reader = Reader {
            store,
            nonce,
            index: offered.index(),
            offers: offers + 1,
            gone_at: None,
        };
        readers.insert(conn, reader);
        let offer = SnapshotOffer {
            view: self.adopted,
            nonce,
            mark: offered.mark,
            state_digest: offered.state_digest,
            state_bytes: offered.state_bytes,
        };
        self.actions.push_back(Action::Offer(conn, Box::new(offer)));
        self.snapshot_at_once();
    }

    /// Takes a snapshot that is wanted, if nothing is under way: there need not be another entry for a long time.
    fn snapshot_at_once(&mut self) {
        if self.state.applied() == self.log.tip.index && !self.state.is_poisoned() {
            self.snapshot_if_wanted(self.log.tip);
        }
    }

    /// A follower asks for a piece of the snapshot that it was offered.
    pub(crate) fn on_snapshot_read(&mut self, conn: ConnId, read: &SnapshotRead) {
        let is_offered = self.snapshots.readers.get(&conn).is_some_and(|reader| {
            reader.nonce == read.nonce && reader.index == read.index && reader.gone_at.is_none()
        });
        if is_offered && read.length <= SNAPSHOT_PIECE_BYTES_MAX {
            self.actions.push_back(Action::ReadSnapshot(conn, *read));
        } else {
            self.actions.push_back(Action::CloseFollower(conn));
        }
    }

    /// A connection is gone that may have been a follower's.
    pub(crate) fn on_reader_closed(&mut self, conn: ConnId, now: Instant) {
        if let Some(reader) = self.snapshots.readers.get_mut(&conn) {
            reader.gone_at.get_or_insert(now);
        }
    }

    /// Goes on from a snapshot that was fetched, after [`Action::Install`] was carried out: the log is empty, and
    /// its next entry is the one after the snapshot's. All actions of the event before must have been taken.
    pub fn install(&mut self, now: Now, state: Replicated<M>, offer: &SnapshotOffer) {
        assert!(
            self.actions.is_empty(),
            "take all actions before the next event"
        );
        let mark = offer.mark;
        assert_eq!(state.applied(), mark.tip.index, "it is of that entry");
        if self.is_log_outdated() {
            // That was of entries of an earlier data epoch. What stands at their indexes now is something else.
            self.known_applied = Index::ZERO;
        }
        self.end_role();
        self.state.exchange(state);
        #[cfg(feature = "planted-bugs")]
        self.state.plant(self.planted);
        self.replies = ReplyLog::beginning(mark.tip.index, self.state.reply_digest());
        self.inspected = None;
        self.recent.clear();
        let mut version_starts = VersionStarts::default();
        version_starts.remember_failed(mark.failed_version);
        self.log = Log {
            base: mark.tip,
            tip: mark.tip,
            view_starts: vec![(mark.tip.view, mark.view_first)],
            // The state says which one is executed, until the log does.
            version_starts,
            // The primary goes on from it in this data epoch, whichever it was taken in.
            data_epoch: self.adopted.data_epoch,
            written: mark.tip.index,
            synced: mark.tip.index,
            commit: mark.tip.index,
            skips: std::mem::take(&mut self.log.skips),
            skips_listed: BTreeSet::new(),
        };
        for skip in &self.log.skips {
            self.state.skip(*skip);
        }
        self.known_applied = self.known_applied.max(mark.tip.index);
        self.progress.sync_asked = Index::ZERO;
        self.unsynced_bytes = 0;
        self.config.recovered.lost = Index::ZERO;
        let kept = KeptSnapshot {
            mark,
            state_digest: offer.state_digest,
            state_bytes: offer.state_bytes,
        };
        self.snapshots = Snapshots::new(self.snapshots.config, &[kept], mark.data_epoch);
        let text = format!(
            "fetched the state as of entry {} from the primary: {} bytes",
            mark.tip.index, offer.state_bytes
        );
        self.actions.push_back(Action::Log(Level::Info, text));
        if !matches!(self.role, Role::Quarantined) {
            self.follow(now);
        }
    }
}

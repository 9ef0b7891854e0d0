//! The follower's decisions, one event at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use standin_core::conn::ConnId;
use standin_core::entry::{Batch, Entry, Index, LogTip, ViewStarts};
use standin_core::identity::{Durability, Identity};
use standin_core::message::{
    Ack, Entries, FOLLOW_VIEWS_MAX, Follow, Resume, Room, SnapshotOffer, SnapshotPiece,
    SnapshotRead, StateDigest,
};
use standin_core::planted::{Bug, Planted};
use standin_core::poison::Skip;
use standin_core::time::{Duration, Instant, Now};
use standin_core::version::{VersionRange, VersionStart};
use standin_core::view::ViewId;

use crate::fetch::Fetch;

/// How long after a connection to the primary failed the next is tried. Doubles each time.
const DIAL_RETRY: Duration = Duration::from_millis(25);
/// The longest time between two tries.
pub(crate) const DIAL_RETRY_MAX: Duration = Duration::from_secs(1);
/// How long the primary may take to say where the logs part: it may have to activate its view first.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(2);

/// What a follower is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica.
    pub identity: Identity,
    /// The view it has adopted durably.
    pub view: ViewId,
    /// Where the view's primary is reached; `None` while there is none to follow.
    pub primary: Option<String>,
    /// The entry before the first in the log, which a snapshot has; index 0 if the log is whole.
    pub base: LogTip,
    /// The end of the log.
    pub tip: LogTip,
    /// Where views begin in the log.
    pub view_starts: ViewStarts,
    /// The versions of the machine that this replica's program supports.
    pub versions: VersionRange,
    /// The log is of a lower data epoch than the view: nothing of it counts, and it is set aside as soon as
    /// there is a primary to follow. Nothing is then committed or applied.
    pub is_log_outdated: bool,
    /// Everything up to here is in the page cache.
    pub written: Index,
    /// Everything up to here is on the disk.
    pub synced: Index,
    /// Everything up to here is known to be committed.
    pub commit: Index,
    /// Everything up to here is applied.
    pub applied: Index,
    /// The chain over the replies up to `applied`.
    pub reply_digest: u128,
    /// Longest piece of a snapshot to ask for at a time, in bytes: 1 to
    /// [`standin_core::message::SNAPSHOT_PIECE_BYTES_MAX`].
    pub piece_bytes: u32,
    /// Whether the log has room.
    pub room: Room,
    /// The entry of the newest snapshot, and the digest of the state in it.
    pub state_digest: Option<(Index, u128)>,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The deadline that was asked for has come.
    Deadline,
    /// All input of this wake-up was handed in: acknowledgements leave once.
    Flush,
    /// Where the view's primary is reached now.
    Primary(Option<String>),
    /// The connection that [`Action::Dial`] asked for is ready.
    Connected(ConnId),
    /// That connection is gone, or never came about.
    Closed,
    /// The primary says where the two logs part.
    Resume(ConnId, &'a Resume),
    /// The primary sends entries.
    Entries(ConnId, &'a Entries<'a>),
    /// The primary offers a snapshot, since it has no longer what this log lacks.
    Offer(ConnId, &'a SnapshotOffer),
    /// The answer to [`Action::BeginFetch`]: so many bytes of the snapshot are here already.
    FetchBegun(u64),
    /// The primary sends a piece of the snapshot.
    Piece(ConnId, &'a SnapshotPiece<'a>),
    /// The answer to [`Action::CheckFetched`]: the snapshot as of this entry is what was offered, or is not.
    Fetched(Index, bool),
    /// A snapshot was taken here: the entry, and the digest of the state after it.
    StateDigest(Index, u128),
    /// The answer to [`Action::ReadLog`].
    LogRead(Vec<u8>),
    /// The log was cut durably: this is its end.
    Cut(LogTip),
    /// Everything up to here is in the page cache.
    Written(Index),
    /// Everything up to here is on the disk.
    Synced(Index),
    /// Everything up to here is applied, and the chain over the replies.
    Applied(Index, u128),
    /// Whether the log has room.
    Room(Room),
    /// The process is about to stop.
    Leave,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to the primary.
    Dial(String),
    /// Close the connection to the primary.
    Hang,
    /// Ask to follow.
    Follow(ConnId, Box<Follow>),
    /// Acknowledge.
    Ack(ConnId, Ack),
    /// Say that there is a higher view than the one the other side speaks in.
    HigherView(ConnId, ViewId),
    /// Say that this process is about to stop, on the stream of that name.
    Leave(ConnId, u64),
    /// Append to the log; [`Event::Written`] tells when it is in the page cache.
    Append(Arc<Batch>),
    /// Make all that was appended durable; [`Event::Synced`] tells when it is.
    Sync,
    /// Read the entry at this index; [`Event::LogRead`] answers.
    ReadLog(Index),
    /// Remove everything after this index from the log, durably; [`Event::Cut`] tells when it is done.
    Cut(Index),
    /// Everything up to here may be applied.
    Commit(Index),
    /// Make ready to keep this snapshot; [`Event::FetchBegun`] tells how much of it is here from earlier.
    BeginFetch(Box<SnapshotOffer>),
    /// Ask for a piece of it.
    SnapshotRead(ConnId, SnapshotRead),
    /// Keep a piece of it, which begins here.
    StorePiece(u64, Vec<u8>),
    /// All of it is here: read it, beside the loop; [`Event::Fetched`] tells whether it is whole.
    CheckFetched,
    /// Go on from that snapshot: it takes the place of state and log, durably. The role is then taken up anew.
    Install(Box<SnapshotOffer>),
    /// Tell the primary.
    StateDigest(ConnId, StateDigest),
    /// Ask the view service what the record is.
    ReadRecord,
    /// The primary sends an entry from which on a version of the machine is executed that this program does not support. The
    /// log goes up to the entry before it, and nothing more is taken until the primary sends something else.
    LacksVersion(VersionStart),
    /// This replica's log contradicts the primary's: it must not go on until somebody has looked.
    Quarantine(String),
}

#[derive(Clone, Debug)]
pub(crate) enum Link {
    /// Not connected; when to dial.
    Idle(Instant),
    /// Dialled; no answer yet.
    Dialling,
    /// Asked to follow, at this moment.
    Asked(ConnId, Instant),
    /// The primary named an entry in common that is not this log's end: checking it before the cut.
    Checking(ConnId, Resume),
    /// What the primary never had is being cut off.
    Cutting(ConnId, Resume),
    /// A snapshot is being fetched.
    Fetching(Fetch),
    /// Entries flow.
    Streaming(Stream),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    conn: ConnId,
    nonce: u64,
    durability: Durability,
    round: u64,
    silence_max: Duration,
    heard_at: Instant,
}

/// A replica that follows a primary, in one view that it has adopted durably (rule R5).
#[derive(Clone, Debug)]
pub struct Backup {
    identity: Identity,
    view: ViewId,
    primary: Option<String>,
    pub(crate) link: Link,
    /// How long to wait after the next failed try.
    pub(crate) retry: Duration,
    base: LogTip,
    tip: LogTip,
    view_starts: ViewStarts,
    pub(crate) versions: VersionRange,
    /// The entries that the primary says are skipped.
    pub(crate) skips: Vec<Skip>,
    /// The log is still the one of an earlier data epoch.
    is_log_outdated: bool,
    written: Index,
    synced: Index,
    pub(crate) commit: Index,
    pub(crate) applied: Index,
    reply_digest: u128,
    pub(crate) piece_bytes: u32,
    room: Room,
    /// Of the newest snapshot: each primary that is followed is told it (`protocol.md` section 12), also if none
    /// was followed when it was taken.
    state_digest: Option<(Index, u128)>,
    /// What the primary last said is committed: also what has not come here yet.
    committed_there: Index,
    /// The last acknowledgement that was sent on this stream.
    acked: Option<Ack>,
    is_sync_wanted: bool,
    /// A sync was asked for up to here; it is not asked for twice.
    sync_asked: Index,
    planted: Planted,
    pub(crate) actions: VecDeque<Action>,
}

impl Backup {
    /// A follower in an adopted view.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            identity: config.identity,
            view: config.view,
            primary: config.primary,
            link: Link::Idle(now),
            retry: DIAL_RETRY,
            base: config.base,
            tip: config.tip,
            view_starts: config.view_starts,
            versions: config.versions,
            skips: Vec::new(),
            is_log_outdated: config.is_log_outdated,
            written: config.written,
            synced: config.synced,
            commit: config.commit,
            applied: config.applied,
            reply_digest: config.reply_digest,
            piece_bytes: config.piece_bytes,
            room: config.room,
            state_digest: config.state_digest,
            committed_there: Index::ZERO,
            acked: None,
            is_sync_wanted: false,
            sync_asked: config.synced,
            planted: Planted::default(),
            actions: VecDeque::new(),
        }
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
        let now = now.boot;
        match event {
            Event::Deadline => {}
            Event::Flush => self.acknowledge(),
            Event::Primary(address) => self.on_primary(address, now),
            Event::Connected(conn) => self.on_connected(conn, now),
            Event::Closed => self.wait(now),
            Event::Resume(conn, resume) => self.on_resume(conn, resume, now),
            Event::Entries(conn, entries) => self.on_entries(conn, entries, now),
            Event::Offer(conn, offer) => self.on_offer(conn, offer, now),
            Event::FetchBegun(have) => self.on_fetch_begun(have, now),
            Event::Piece(conn, piece) => self.on_piece(conn, piece, now),
            Event::Fetched(index, is_whole) => self.on_fetched(index, is_whole, now),
            Event::StateDigest(index, digest) => {
                self.state_digest = Some((index, digest));
                self.tell_digest();
            }
            Event::LogRead(bytes) => self.on_log_read(&bytes),
            Event::Cut(tip) => self.on_cut(tip, now),
            Event::Written(through) => self.written = self.written.max(through),
            Event::Synced(through) => {
                self.synced = self.synced.max(through);
                self.written = self.written.max(through);
            }
            Event::Applied(through, digest) => {
                assert!(through <= self.commit, "only what is committed is applied");
                (self.applied, self.reply_digest) = (through, digest);
                self.tell_caught_up();
            }
            Event::Room(room) => self.room = room,
            Event::Leave => {
                if let Link::Streaming(stream) = &self.link {
                    self.actions
                        .push_back(Action::Leave(stream.conn, stream.nonce));
                }
            }
        }
        self.keep_link(now);
        if std::mem::take(&mut self.is_sync_wanted) && self.sync_asked < self.tip.index {
            self.sync_asked = self.tip.index;
            self.actions.push_back(Action::Sync);
        }
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Event::Deadline`] is wanted at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.link {
            Link::Idle(at) => self.primary.as_ref().map(|_| *at),
            Link::Asked(_, at) => Some(at.plus(FOLLOW_PATIENCE)),
            Link::Streaming(stream) => Some(stream.silent_at()),
            Link::Fetching(fetch) => fetch.deadline(),
            Link::Dialling | Link::Checking(..) | Link::Cutting(..) => None,
        }
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

    /// What is known to be committed.
    #[must_use]
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// What the primary last said is committed: also what has not come here yet.
    #[must_use]
    pub fn committed_there(&self) -> Index {
        self.committed_there
    }

    /// Whether entries flow.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        matches!(self.link, Link::Streaming(_))
    }

    /// Whether the primary has answered on the connection that is there now.
    #[must_use]
    pub fn is_in_touch(&self) -> bool {
        !matches!(self.link, Link::Idle(_) | Link::Dialling | Link::Asked(..))
    }

    fn on_primary(&mut self, address: Option<String>, now: Instant) {
        if self.primary == address {
            return;
        }
        self.primary = address;
        self.retry = DIAL_RETRY;
        self.hang(now);
        // Nothing has failed: whoever has just become primary may be waiting for this one.
        self.link = Link::Idle(now);
    }

    /// Dials when it is time; gives up a stream that has gone silent, for a connection may die
    /// without a sign.
    fn keep_link(&mut self, now: Instant) {
        match &self.link {
            Link::Idle(at) if now >= *at => {
                if let Some(primary) = &self.primary {
                    self.actions.push_back(Action::Dial(primary.clone()));
                    self.link = Link::Dialling;
                }
            }
            Link::Asked(_, at) if now >= at.plus(FOLLOW_PATIENCE) => self.hang(now),
            Link::Streaming(stream) if now >= stream.silent_at() => self.hang(now),
            Link::Fetching(fetch) if fetch.deadline().is_some_and(|at| now >= at) => self.hang(now),
            Link::Idle(_)
            | Link::Dialling
            | Link::Asked(..)
            | Link::Checking(..)
            | Link::Cutting(..)
            | Link::Fetching(_)
            | Link::Streaming(_) => {}
        }
    }

    pub(crate) fn hang(&mut self, now: Instant) {
        if !matches!(self.link, Link::Idle(_)) {
            self.actions.push_back(Action::Hang);
        }
        self.wait(now);
    }

    /// Waits before the next try, longer each time until entries flow.
    fn wait(&mut self, now: Instant) {
        self.link = Link::Idle(now.plus(self.retry));
        self.retry = (self.retry * 2).min(DIAL_RETRY_MAX);
    }

    fn on_connected(&mut self, conn: ConnId, now: Instant) {
        if !matches!(self.link, Link::Dialling) {
            return; // hung up meanwhile
        }
        let listed = self.view_starts.len().saturating_sub(FOLLOW_VIEWS_MAX);
        let (last, view_starts) = if self.is_log_outdated {
            (LogTip::default(), Vec::new())
        } else {
            (self.tip, self.view_starts[listed..].to_vec())
        };
        let follow = Follow {
            identity: self.identity.clone(),
            view: self.view,
            last,
            view_starts,
            // Whoever listens there adds it.
            resp: None,
            versions: self.versions,
        };
        self.actions
            .push_back(Action::Follow(conn, Box::new(follow)));
        self.link = Link::Asked(conn, now);
    }

    /// Whether a message of `view` may be acted on. What comes from a lower view is refused with
    /// one's own (rule R7); a higher one must be adopted first, from the record (rule R5).
    pub(crate) fn accepts(&mut self, conn: ConnId, view: ViewId) -> bool {
        if view < self.view {
            self.actions.push_back(Action::HigherView(conn, self.view));
        } else if view > self.view {
            self.actions.push_back(Action::ReadRecord);
        }
        view == self.view
    }

    fn on_resume(&mut self, conn: ConnId, resume: &Resume, now: Instant) {
        if !matches!(self.link, Link::Asked(asked, _) if asked == conn)
            || !self.accepts(conn, resume.view)
        {
            return;
        }
        let common = resume.common;
        if common.index == Index::ZERO && common != LogTip::default() {
            return self.hang(now); // nothing comes before the first entry
        }
        if self.is_log_outdated {
            if common.index > Index::ZERO {
                return self.hang(now); // it was told of nothing in common
            }
            return self.cut(conn, resume.clone());
        }
        if common.index == self.tip.index {
            if common == self.tip {
                self.begin(conn, resume, now);
            } else {
                self.quarantine(common.index, "has another checksum in the primary's log");
            }
        } else if common.index > self.tip.index {
            self.hang(now);
        } else if common.index <= self.base.index {
            // What lies there is committed, and so it is in the primary's log, if both are right.
            if common == self.base || self.planted.has(Bug::CutBelowSnapshot) {
                self.cut(conn, resume.clone());
            } else {
                let what = "is committed here and differs or is missing in the primary's log";
                self.quarantine(common.index.max(Index(1)), what);
            }
        } else {
            self.actions.push_back(Action::ReadLog(common.index));
            self.link = Link::Checking(conn, resume.clone());
        }
    }

    fn on_log_read(&mut self, bytes: &[u8]) {
        let Link::Checking(conn, resume) = &self.link else {
            return;
        };
        let (conn, resume) = (*conn, resume.clone());
        match Entry::decode(bytes) {
            Ok(entry) if entry.tip() == resume.common => self.cut(conn, resume),
            Ok(_) | Err(_) => self.quarantine(
                resume.common.index,
                "differs from the entry at that place in the primary's log",
            ),
        }
    }

    /// Cuts what the primary never had, or all of an outdated log: only an active primary of a higher view causes that, and
    /// never at or below what is committed or applied (S9).
    fn cut(&mut self, conn: ConnId, resume: Resume) {
        let after = resume.common.index;
        let first_cut_view = self
            .view_starts
            .iter()
            .rev()
            .find(|(_, first)| *first <= after.next());
        let is_of_this_view = first_cut_view.is_some_and(|(view, _)| *view >= self.view.view);
        if self.planted.has(Bug::CutTooFar) || self.planted.has(Bug::CutBelowSnapshot) {
            self.actions.push_back(Action::Cut(after));
            self.link = Link::Cutting(conn, resume);
        } else if after < self.commit.max(self.applied) {
            self.quarantine(
                after.next(),
                "is committed here and missing in the primary's log",
            );
        } else if is_of_this_view {
            self.quarantine(
                after.next(),
                "is of the primary's own view and missing in its log",
            );
        } else {
            self.actions.push_back(Action::Cut(after));
            self.link = Link::Cutting(conn, resume);
        }
    }

    fn on_cut(&mut self, tip: LogTip, now: Instant) {
        self.is_log_outdated &= tip.index > Index::ZERO;
        // The snapshots go with a log that was outdated. Nothing else is cut that is in one.
        self.state_digest = self.state_digest.filter(|(of, _)| *of <= tip.index);
        self.tip = tip;
        self.view_starts.retain(|(_, first)| *first <= tip.index);
        self.written = self.written.min(tip.index);
        self.synced = tip.index;
        self.sync_asked = tip.index;
        if let Link::Cutting(conn, resume) = &self.link {
            let (conn, resume) = (*conn, resume.clone());
            assert_eq!(tip, resume.common, "the cut leaves what both have");
            self.begin(conn, &resume, now);
        }
    }

    pub(crate) fn quarantine(&mut self, index: Index, what: &str) {
        let words = format!("entry {index} of this replica's log {what}");
        self.actions.push_back(Action::Quarantine(words));
        self.link = Link::Idle(Instant::from_nanos(u64::MAX));
        self.primary = None;
    }

    fn begin(&mut self, conn: ConnId, resume: &Resume, now: Instant) {
        let silence_max = Duration::from_millis(u64::from(resume.silence_ms)).max(DIAL_RETRY) * 2;
        self.link = Link::Streaming(Stream {
            conn,
            nonce: resume.nonce,
            durability: resume.durability,
            round: 0,
            silence_max,
            heard_at: now,
        });
        self.retry = DIAL_RETRY;
        self.skips.clone_from(&resume.skips);
        self.acked = None;
        self.tell_digest();
        self.is_sync_wanted |= resume.durability == Durability::Disk;
    }

    fn on_entries(&mut self, conn: ConnId, entries: &Entries<'_>, now: Instant) {
        if !self.accepts(conn, entries.view) {
            return;
        }
        let Link::Streaming(stream) = &mut self.link else {
            return;
        };
        if stream.conn != conn || stream.nonce != entries.nonce {
            return;
        }
        stream.round = stream.round.max(entries.round);
        stream.heard_at = now;
        self.committed_there = entries.commit;
        let durability = stream.durability;
        if !entries.bytes.is_empty() {
            // The same bytes that were checked are appended: nothing is encoded again.
            match Batch::verify(entries.bytes.to_vec(), self.tip) {
                Ok(batch) if batch.entries().all(|entry| entry.has_sound_payload()) => {
                    if let Some(lacking) = self.lacking(&batch) {
                        return self.stop_before(lacking, &batch, durability, now);
                    }
                    self.append(batch, durability);
                }
                // What does not continue the chain was damaged on the way, or is of another
                // history: following anew finds out which.
                Ok(_) | Err(_) => return self.hang(now),
            }
        }
        let commit = match entries.commit {
            _ if self.planted.has(Bug::AppliedEarly) => self.tip.index,
            commit => commit.min(self.tip.index),
        };
        if commit > self.commit {
            self.commit = commit;
            self.actions.push_back(Action::Commit(commit));
        }
    }

    pub(crate) fn append(&mut self, batch: Batch, durability: Durability) {
        self.tip = batch.tip();
        self.view_starts.extend_from_slice(batch.view_starts());
        self.actions.push_back(Action::Append(Arc::new(batch)));
        self.is_sync_wanted |= durability == Durability::Disk;
    }

    fn tell_digest(&mut self) {
        if let (Link::Streaming(stream), Some((index, digest))) = (&self.link, self.state_digest) {
            let told = StateDigest {
                nonce: stream.nonce,
                view: self.view,
                index,
                digest,
            };
            self.actions
                .push_back(Action::StateDigest(stream.conn, told));
        }
    }

    /// Acknowledges what is new since the last time: once per wake-up, before anything is applied.
    fn acknowledge(&mut self) {
        let Some(ack) = self.next_ack() else {
            return;
        };
        let is_news = self.acked.is_none_or(|last| {
            (last.durable, last.round, last.room) != (ack.durable, ack.round, ack.room)
        });
        if is_news {
            self.send_ack(ack);
        }
    }

    /// Tells that the whole log has been applied. While entries keep coming, what is applied is behind its end, and the
    /// next acknowledgement tells how far it has come.
    fn tell_caught_up(&mut self) {
        if let Some(ack) = self.next_ack()
            && self.acked.is_some_and(|last| ack.applied > last.applied)
            && ack.applied == self.tip.index
        {
            self.send_ack(ack);
        }
    }

    fn next_ack(&self) -> Option<Ack> {
        let Link::Streaming(stream) = &self.link else {
            return None;
        };
        let durable = match stream.durability {
            _ if self.planted.has(Bug::AcknowledgedEarly) => self.tip.index,
            Durability::Memory => self.tip.index,
            Durability::Os => self.written,
            Durability::Disk => self.synced,
        };
        Some(Ack {
            nonce: stream.nonce,
            view: self.view,
            round: stream.round,
            durable,
            applied: self.applied,
            reply_digest: self.reply_digest,
            room: self.room,
        })
    }

    fn send_ack(&mut self, ack: Ack) {
        if let Link::Streaming(stream) = &self.link {
            self.actions.push_back(Action::Ack(stream.conn, ack));
            self.acked = Some(ack);
        }
    }
}

impl Stream {
    fn silent_at(&self) -> Instant {
        self.heard_at.plus(self.silence_max)
    }
}

//! Streams of entries to followers: where they begin, what goes out, what comes back.

use standin_core::address::Address;
use standin_core::conn::ConnId;
use standin_core::entry::{ENTRY_HEADER_BYTES, Entry, Index, LogTip, forget_views};
use standin_core::identity::{ReplicaName, StoreId};
use standin_core::message::{Ack, Follow, Lag, REPLICAS_MAX, Refusal, Resume};
use standin_core::planted::Bug;
use standin_core::time::{Duration, Instant};

use crate::follower::{Follower, Phase, common_entry, is_sound};
use crate::primary::{Action, Payload, Primary};

/// A commit that no batch carries to the followers is sent by itself after so long.
const COMMIT_IDLE: Duration = Duration::from_millis(10);

/// Most stores that are kept out because their replies differed: as many as a cluster has replicas.
///
/// Once so many differ it is rather this replica that is wrong, or somebody is making stores up. Then
/// no follower is taken in any more, until this role ends: forgetting one of them instead could let
/// a wrong copy become the backup. At worst this primary goes on alone.
pub const EXCLUDED_STORES_MAX: usize = REPLICAS_MAX;

/// A replica that follows this primary, in the present view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following<'a> {
    /// Its connection.
    pub conn: ConnId,
    /// Its name.
    pub name: &'a ReplicaName,
    /// Its data directory.
    pub store: StoreId,
    /// Where it answers Redis clients, `HOST:PORT`; `None`: nowhere.
    pub resp: Option<&'a str>,
    /// The last entry that it has acknowledged on this stream; 0: none yet.
    pub acknowledged: Index,
    /// It is the life that the record names as backup.
    pub is_backup: bool,
}

impl Primary {
    pub(crate) fn on_follow(&mut self, conn: ConnId, follow: &Follow, now: Instant) {
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
        let theirs = (&follow.view_starts, follow.last.index);
        let common = is_sound(theirs.0, theirs.1)
            .then(|| common_entry(&self.view_starts, self.tip.index, theirs.0, theirs.1))
            .map(|common| match common {
                _ if self.planted.has(Bug::CutTooFar) => Index(common.0.saturating_sub(3)),
                // As if the log went on from it, below where the follower's does.
                _ if self.planted.has(Bug::CutBelowSnapshot)
                    && theirs.0.first().is_some_and(|(_, first)| *first > Index(1)) =>
                {
                    self.base.index.max(Index(common.0.saturating_sub(30)))
                }
                common => common,
            });
        let is_new = self.followers.contains_key(&conn) || self.followers.len() < REPLICAS_MAX;
        // One whose replies differed must be looked at by people.
        if self.excluded.contains(&follow.identity.store) || !self.takes_followers() {
            return self.refuse_follower(conn);
        }
        if self.lacks_version(conn, follow, now) {
            return;
        }
        // A copy of this replica's own data directory is no second replica, and one of its own name can
        // never be its backup.
        let is_other = follow.identity.store != self.identity.store
            && follow.identity.name != self.identity.name;
        let (Some(common), true) = (common, is_new && is_other) else {
            self.actions.push_back(Action::CloseFollower(conn));
            return;
        };
        let silence = self.gate_silence(&follow.identity, now);
        // Of one store only the newest stream counts: the older connection is dead. It is closed, so
        // that what it never read does not pile up.
        let is_older =
            |other: &&Follower| other.identity.store == follow.identity.store && other.conn != conn;
        let older = self.followers.values().filter(is_older);
        for conn in older.map(|other| other.conn).collect::<Vec<_>>() {
            self.close_follower(conn);
        }
        self.reads.forget_rounds();
        if self.planted.has(Bug::JoinedWhileFetching) && common < self.base.index {
            let nonce = self.seeds.next_u64();
            let mut follower = Follower::new(conn, follow, nonce, common, (self.applied, now));
            follower.pretend(self.tip.index);
            self.followers.insert(conn, follower);
            return;
        }
        let beyond = self.needs_snapshot_of(follow, common);
        if common < self.base.index || beyond.is_some() {
            self.followers.remove(&conn);
            if let Some(silence) = silence {
                (self.gate_alone_since, self.gate_acked_before) = silence;
            }
            let (store, nonce) = (follow.identity.store, self.seeds.next_u64());
            let from = beyond.unwrap_or(Index::ZERO);
            let offer = Action::Offer(conn, store, nonce, from);
            return self.actions.push_back(offer);
        }
        let nonce = self.seeds.next_u64();
        let mut follower = Follower::new(conn, follow, nonce, common, (self.applied, now));
        if let Some((since, acked_before)) = silence {
            follower.inherit(since, acked_before);
            self.notice_loss(acked_before, follow.last.index, now);
        }
        let resume_point = follower.resume_point(self.base, self.tip);
        self.followers.insert(conn, follower);
        match resume_point {
            Some(tip) => self.resume(conn, tip),
            None => {
                self.actions.push_back(Action::ReadLog {
                    conn,
                    from: common,
                    bytes_max: 1,
                });
            }
        }
    }

    pub(crate) fn resume(&mut self, conn: ConnId, common: LogTip) {
        let silence_ms = u32::try_from(self.silence_max().as_millis()).unwrap_or(u32::MAX);
        let Some(follower) = self.followers.get_mut(&conn) else {
            return;
        };
        follower.phase = Phase::Matching;
        let resume = Resume {
            view: self.record.id(),
            nonce: follower.nonce,
            common,
            durability: self.durability,
            silence_ms,
            // Whoever has the whole log adds them.
            skips: Vec::new(),
            // Whoever listens there adds it.
            resp: None,
        };
        self.actions.push_back(Action::Resume(conn, resume));
    }

    pub(crate) fn on_log_read(&mut self, conn: ConnId, bytes: Vec<u8>, now: Instant) {
        let Some(follower) = self.followers.get_mut(&conn) else {
            return;
        };
        if follower.phase == Phase::LookingUp {
            match Entry::decode(&bytes) {
                Ok(entry) if entry.header.index == follower.common => {
                    let tip = entry.tip();
                    self.resume(conn, tip);
                }
                _ => self.close_follower(conn),
            }
            return;
        }
        follower.is_reading = false;
        if let Some((fed, _)) = &mut follower.fed {
            *fed += bytes.len();
        }
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

    pub(crate) fn on_ack(&mut self, conn: ConnId, ack: &Ack, now: Instant) {
        if !self.has_stream(conn, ack.nonce, ack.view) {
            return; // of an earlier stream on the same connection, or of an earlier view
        }
        let Some(follower) = self.followers.get_mut(&conn) else {
            return;
        };
        if !follower.acknowledge(ack, self.tip.index, now) {
            self.close_follower(conn);
        }
    }

    /// What a store has come to differs. Its connection may be another by now, or gone: it is the store that answers must
    /// not wait for, and that is not taken in again.
    pub(crate) fn on_diverged(&mut self, store: StoreId, now: Instant) {
        // Beyond the bound it need not be remembered: nobody comes back.
        if self.takes_followers() {
            self.excluded.insert(store);
        }
        let of_store = |follower: &&Follower| follower.identity.store == store;
        let streams = self.followers.values().filter(of_store);
        for conn in streams.map(|stream| stream.conn).collect::<Vec<_>>() {
            self.refuse_follower(conn);
        }
        if self.gate_store() == Some(store) && !self.is_dropping() {
            self.drop_backup(now);
        }
    }

    /// The name of the replica with this store, if it follows or is the backup.
    #[must_use]
    pub fn name_of(&self, store: StoreId) -> Option<&ReplicaName> {
        let mut followers = self.followers.values();
        let follower = followers.find(|follower| follower.identity.store == store);
        let name = follower.map(|follower| &follower.identity.name);
        let backup = self.record.backup.as_ref();
        let backup = backup.filter(|_| self.gate_store() == Some(store));
        name.or_else(|| backup.map(|backup| &backup.name))
    }

    /// Whether followers are taken in at all: not once [`EXCLUDED_STORES_MAX`] stores have differed.
    #[must_use]
    pub fn takes_followers(&self) -> bool {
        self.excluded.len() < EXCLUDED_STORES_MAX
    }

    pub(crate) fn close_follower(&mut self, conn: ConnId) {
        self.followers.remove(&conn);
        self.actions.push_back(Action::CloseFollower(conn));
    }

    /// Tells a follower that its replies, or those of too many others, differed from this primary's.
    fn refuse_follower(&mut self, conn: ConnId) {
        self.followers.remove(&conn);
        let refusal = Refusal::RepliesDiffer;
        self.actions
            .push_back(Action::RefuseFollower(conn, refusal));
    }

    pub(crate) fn on_closed(&mut self, conn: ConnId, now: Instant) {
        self.early.remove(&conn);
        let is_gate = self.gate_follower().is_some_and(|gate| gate.conn == conn);
        if let Some(follower) = self.followers.remove(&conn)
            && is_gate
        {
            self.gate_alone_since = follower.silent_since(now);
            self.gate_acked_before = follower.best();
            self.reads.forget_rounds();
        }
    }

    /// Entries up to `base` are gone. Who had not got that far follows anew, and is offered a snapshot.
    pub(crate) fn on_forgotten(&mut self, base: LogTip) {
        if self.planted.has(Bug::ForgottenUnderFollower) {
            return;
        }
        self.base = base;
        forget_views(&mut self.view_starts, base);
        self.version_starts.forget(base.index);
        let is_behind = |follower: &&Follower| follower.next <= base.index;
        let behind = self.followers.values().filter(is_behind);
        for conn in behind.map(|follower| follower.conn).collect::<Vec<_>>() {
            self.close_follower(conn);
        }
    }

    /// The lowest entry that some follower still needs from the log, to be sent or looked up.
    #[must_use]
    pub fn needs_from(&self) -> Option<Index> {
        let needs = self
            .followers
            .values()
            .map(|follower| match follower.phase {
                Phase::LookingUp => follower.common,
                Phase::Matching | Phase::Streaming => follower.next,
            });
        needs.min()
    }

    /// Who follows, in the order of their connections: whoever has asked to, and was not sent away or offered a
    /// snapshot. At most [`REPLICAS_MAX`].
    pub fn following(&self) -> impl Iterator<Item = Following<'_>> {
        let backup = self.record.backup.as_ref();
        self.followers.values().map(move |follower| Following {
            conn: follower.conn,
            name: &follower.identity.name,
            store: follower.identity.store,
            resp: follower.resp.as_ref().map(Address::as_str),
            acknowledged: follower.acked,
            is_backup: backup.is_some_and(|backup| backup.is(&follower.identity)),
        })
    }

    /// Whether the backup whose acknowledgements gate what is answered was heard of so recently. If so this primary answers
    /// also while the view service is away.
    #[must_use]
    pub fn hears_backup(&self, now: Instant, within: Duration) -> bool {
        let gate = self.gate_follower();
        gate.is_some_and(|gate| gate.unheard(now) <= within)
    }

    /// How far each follower is behind, in time.
    pub fn lags(&self, now: Instant) -> impl Iterator<Item = Lag> + '_ {
        self.streaming().map(move |follower| follower.lag(now))
    }

    pub(crate) fn beat_at(&self, follower: &Follower) -> Instant {
        let is_commit_new = follower.commit_sent < self.applied;
        let wait = if is_commit_new || self.is_awaited_for_hand_over(follower) {
            COMMIT_IDLE
        } else {
            self.term() / 10
        };
        follower.sent_at.plus(wait)
    }

    pub(crate) fn streaming(&self) -> impl Iterator<Item = &Follower> {
        self.followers
            .values()
            .filter(|follower| follower.phase == Phase::Streaming)
    }

    /// A wake-up ends: from here on followers are fed anew.
    pub(crate) fn begin_feeding(&mut self) {
        for follower in self.followers.values_mut() {
            follower.fed = None;
        }
        self.ordered_bytes = 0;
    }

    /// Bytes of log that one follower may be sent in a wake-up. More than what comes to be ordered meanwhile, or one
    /// that is behind would never catch up.
    fn feed_bytes_max(&self) -> usize {
        self.limits.log_read_bytes + 2 * self.ordered_bytes
    }

    /// When a follower is to be fed again that was fed in this wake-up and still lacks something: at once.
    pub(crate) fn feed_at(&self) -> Option<Instant> {
        let hungry = self
            .followers
            .values()
            .filter(|follower| follower.wants_log(self.tip.index));
        hungry.filter_map(|follower| Some(follower.fed?.1)).min()
    }

    /// Sends followers what they lack, and heartbeats. Of the log no more than a little in one wake-up: to read a
    /// whole window of it would keep those who are served waiting.
    pub(crate) fn feed_followers(&mut self, now: Instant) {
        let mut due = Vec::new();
        let bytes_max = self.feed_bytes_max();
        for follower in self.followers.values_mut() {
            let fed = follower.fed.map_or(0, |(bytes, _)| bytes);
            if fed < bytes_max && follower.wants_log(self.tip.index) {
                follower.is_reading = true;
                follower.fed = Some((fed, now));
                let (conn, from) = (follower.conn, follower.next);
                self.actions.push_back(Action::ReadLog {
                    conn,
                    from,
                    bytes_max: self.limits.log_read_bytes,
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

    /// A message without entries: a heartbeat, a round for reads, the commit index by itself.
    pub(crate) fn send_nothing(&mut self, conn: ConnId, now: Instant) {
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
        rest = &rest[ENTRY_HEADER_BYTES + entry.payload.len()..];
    }
    (expected > first).then(|| Index(expected.0 - 1))
}

//! Sessions: each request takes effect exactly once (`protocol.md` section 9).
//!
//! The table is replicated state. Everything in it is decided when an entry is applied, from logged
//! time alone, so it is the same on every replica and in every replay. After Liskov and Cowling 2012
//! (the client table), with a window of several requests in flight.

mod activity;
mod captured;
mod kept;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::time::{Duration, WallTime};

use activity::{Activity, Place};
use kept::KeptReply;

pub(crate) use captured::CapturedSessions;

/// Requests of one session that may be without an acknowledged reply at one time.
pub const SESSION_WINDOW: u64 = 16;
/// Most sessions that are kept, unless a ViewStart says otherwise.
pub const SESSIONS_MAX: u32 = 100_000;
/// The highest such limit that a replica can be told to set as primary; the lowest is 1. What stands in a ViewStart is applied as it
/// stands there.
pub const SESSIONS_MAX_LIMIT: u32 = 1_000_000;
/// A session without a request for so long expires, unless a ViewStart says otherwise.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes of the replies that all sessions together keep, unless a ViewStart says otherwise.
pub const KEPT_REPLIES_BYTES_MAX: u64 = 256 << 20;
/// A session that was active within this time is not pushed out by one that is opened, unless a
/// ViewStart says otherwise.
pub const SESSION_IDLE_MIN: Duration = Duration::from_secs(10);

/// The limits of a view. They stand in its ViewStart, so that they are the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// A session without a request for so long expires.
    pub timeout: Duration,
    /// Most sessions that are kept; the least recently active goes first.
    pub sessions_max: u32,
    /// Bytes of the replies that all sessions together keep. Beyond it, of the sessions that keep more
    /// than an equal share the least recently active goes first. That of the command that was just
    /// executed stays, so the last of them may go beyond it by what one session's window holds.
    pub replies_bytes_max: u64,
    /// A session that was active within this time is not pushed out by one that is opened: the open
    /// is refused instead. So whoever opens sessions without end takes them from nobody who works.
    pub idle_min: Duration,
}

impl SessionLimits {
    /// The default limits, but for how many sessions are kept.
    #[must_use]
    pub fn with_sessions_max(sessions_max: u32) -> Self {
        Self {
            sessions_max,
            ..Self::default()
        }
    }

    /// What a session's replies may take without it being pushed out for their sake.
    fn replies_bytes_share(&self) -> u64 {
        self.replies_bytes_max / u64::from(self.sessions_max.max(1))
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            timeout: SESSION_TIMEOUT,
            sessions_max: SESSIONS_MAX,
            replies_bytes_max: KEPT_REPLIES_BYTES_MAX,
            idle_min: SESSION_IDLE_MIN,
        }
    }
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The next in its session: execute it, then [`SessionTable::remember`] the reply.
    Execute,
    /// Executed before: this is the reply it had.
    Repeat(&'a [u8]),
    /// Skipped before: the index of its entry.
    RepeatSkipped(u64),
    /// Must not be executed.
    Refuse(SessionError),
}

/// What a request came to that was decided before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptOutcome<'a> {
    /// It was executed: the machine's reply.
    Reply(&'a [u8]),
    /// It made the machine fail and was skipped: the index of its entry.
    Skipped(u64),
}

/// Why a request is not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The session is unknown: never opened, closed, expired, or pushed out by newer ones.
    #[error("the session is unknown or has expired")]
    Unknown,
    /// A request before this one is missing, or more than [`SESSION_WINDOW`] are in flight.
    #[error("the request's sequence number is not the next, or beyond the window")]
    Gap,
    /// Executed before, and its reply was acknowledged, so it is no longer kept.
    #[error("the request was executed before and its reply was acknowledged")]
    Acknowledged,
}

#[derive(Clone, Debug)]
struct Session {
    /// The sequence number to execute next; the first is 1.
    next: u64,
    /// Replies of the requests before `next`, oldest first, from the first not acknowledged on.
    ///
    /// Invariant: `replies.len() <= SESSION_WINDOW` and `< next`.
    replies: VecDeque<KeptReply>,
    /// Bytes of those replies.
    replies_bytes: u64,
    /// Logged time of the last request.
    last_active: WallTime,
    /// Rank in the order of activity; key in `SessionTable::greedy`.
    rank: u64,
}

/// Session ids by the rank of their last activity.
type Order = BTreeMap<u64, u64>;

/// All open sessions.
#[derive(Clone, Debug, Default)]
pub struct SessionTable {
    /// All sessions in order of last activity: the first one expires or is pushed out first. They are shared with the
    /// captures that were taken since: a session is copied when it changes.
    ///
    /// Invariant: in the order of their ranks. Since logged time never falls, `last_active` does not fall along it
    /// either.
    sessions: Activity<Arc<Session>>,
    /// Where each of them is, by its id.
    ///
    /// Invariant: exactly one element for each session.
    places: BTreeMap<u64, Place>,
    /// Those of them that keep more bytes of replies than their share: the first one is pushed out
    /// first if all replies together are too many. Sessions that keep little are in nobody's way.
    greedy: Order,
    /// Bytes of all replies that are kept.
    ///
    /// Invariant: within `limits.replies_bytes_max`, but for a single greedy session.
    replies_bytes: u64,
    rank_next: u64,
    /// No session expires up to this moment, so that most entries need not look. Says nothing that
    /// the other fields do not.
    none_expires_through: WallTime,
    /// A ViewStart counts as activity for all: nobody could send requests during a takeover.
    active_since: WallTime,
    limits: SessionLimits,
}

impl SessionTable {
    /// A view starts at `now` with these limits.
    pub fn start_view(&mut self, now: WallTime, limits: SessionLimits) {
        self.active_since = now;
        self.none_expires_through = WallTime::default();
        self.limits = SessionLimits {
            sessions_max: limits.sessions_max.max(1),
            ..limits
        };
        self.make_room(self.limits.sessions_max);
        let share = self.limits.replies_bytes_share();
        let greedy = self.sessions.iter();
        self.greedy = greedy
            .filter(|(_, session)| session.replies_bytes > share)
            .map(|(id, session)| (session.rank, id))
            .collect();
        self.shed_replies();
    }

    /// Forgets the sessions that have expired by `now`. To be called for every entry, first.
    pub fn expire(&mut self, now: WallTime) {
        if now <= self.none_expires_through {
            return;
        }
        while let Some((id, last_active)) = self.least_recently_active() {
            if now.since(last_active) <= self.limits.timeout {
                // Those behind it, and those to come, were and will be active later.
                self.none_expires_through = last_active.plus(self.limits.timeout);
                return;
            }
            self.close(id);
        }
    }

    /// Opens session `id`, the index of the entry that opens it. `false`: there is no room, since all
    /// others were active a short time ago.
    pub fn open(&mut self, id: u64, now: WallTime) -> bool {
        let is_full = self.sessions.len() as u64 >= u64::from(self.limits.sessions_max);
        if is_full
            && let Some((_, last_active)) = self.least_recently_active()
            && now.since(last_active) < self.limits.idle_min
        {
            return false;
        }
        self.make_room(self.limits.sessions_max - 1);
        let rank = self.rank_next;
        self.rank_next += 1;
        let session = Session {
            next: 1,
            replies: VecDeque::new(),
            replies_bytes: 0,
            last_active: now,
            rank,
        };
        let place = self.sessions.push(id, Arc::new(session));
        let replaced = self.places.insert(id, place);
        assert!(replaced.is_none(), "session {id} opened twice");
        true
    }

    /// Closes session `id`; says whether it was open.
    pub fn close(&mut self, id: u64) -> bool {
        let closed = self.places.remove(&id);
        if let Some(place) = closed {
            let session = self.sessions.remove(place);
            self.greedy.remove(&session.rank);
            self.replies_bytes -= session.replies_bytes;
        }
        closed.is_some()
    }

    /// Decides about request `sequence` of session `id`, whose client has all replies up to
    /// `acknowledged`. Counts as activity at `now`, also if the request is refused.
    pub fn admit(
        &mut self,
        id: u64,
        sequence: u64,
        acknowledged: u64,
        now: WallTime,
    ) -> Verdict<'_> {
        let Some(place) = self.place_of(id) else {
            return Verdict::Refuse(SessionError::Unknown);
        };
        let is_moved = self.sessions.renew(place);
        let session = Arc::make_mut(self.sessions.get_mut(place));
        session.last_active = now;
        if is_moved {
            self.greedy.remove(&session.rank);
            session.rank = self.rank_next;
            self.rank_next += 1;
        }
        self.replies_bytes -= session.forget(acknowledged);
        if session.replies_bytes > self.limits.replies_bytes_share() {
            self.greedy.insert(session.rank, id);
        } else {
            self.greedy.remove(&session.rank);
        }
        session.judge(sequence)
    }

    /// Keeps the reply of the request that was just executed. If all replies together are too many
    /// then, other sessions are given up: a session without a reply that its client may still ask for
    /// would be worse than none.
    pub fn remember(&mut self, id: u64, sequence: u64, reply: &[u8]) {
        self.keep(id, sequence, |kept| kept.fill(reply));
    }

    /// Keeps that the request that was just admitted was skipped, with entry `index`: whoever sends it
    /// again is told so again.
    pub fn remember_skipped(&mut self, id: u64, sequence: u64, index: u64) {
        self.keep(id, sequence, |kept| *kept = KeptReply::Skipped(index));
    }

    fn keep(&mut self, id: u64, sequence: u64, put: impl FnOnce(&mut KeptReply)) {
        let last = self.sessions.last().filter(|(last, _)| *last == id);
        let (_, place) = last.expect("it was just admitted");
        let session = Arc::make_mut(self.sessions.get_mut(place));
        assert_eq!(sequence, session.next, "only the next request is executed");
        assert!(
            (session.replies.len() as u64) < SESSION_WINDOW,
            "judged to be in the window"
        );
        session.next += 1;
        session.replies.push_back(KeptReply::EMPTY);
        let kept = session.replies.back_mut().expect("it is there");
        put(kept);
        let bytes = kept.bytes().len() as u64;
        session.replies_bytes += bytes;
        self.replies_bytes += bytes;
        if session.replies_bytes > self.limits.replies_bytes_share() {
            self.greedy.insert(session.rank, id);
        }
        self.shed_replies();
    }

    /// Whether session `id` is open.
    #[must_use]
    pub fn is_open(&self, id: u64) -> bool {
        self.places.contains_key(&id)
    }

    /// The reply that request `sequence` of session `id` had, if it is kept. Changes nothing.
    ///
    /// # Errors
    /// [`SessionError::Unknown`] if the session is not open.
    pub fn kept_reply(
        &self,
        id: u64,
        sequence: u64,
    ) -> Result<Option<KeptOutcome<'_>>, SessionError> {
        let place = self.place_of(id).ok_or(SessionError::Unknown)?;
        Ok(match self.sessions.get(place).judge(sequence) {
            Verdict::Repeat(reply) => Some(KeptOutcome::Reply(reply)),
            Verdict::RepeatSkipped(index) => Some(KeptOutcome::Skipped(index)),
            Verdict::Execute | Verdict::Refuse(_) => None,
        })
    }

    /// The number of the next request that session `id` executes; `None` if it is not open.
    #[must_use]
    pub fn next_sequence(&self, id: u64) -> Option<u64> {
        Some(self.sessions.get(self.place_of(id)?).next)
    }

    /// Number of open sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a session is. The one that was active last is found at once: requests often come in runs.
    fn place_of(&self, id: u64) -> Option<Place> {
        let last = self.sessions.last().filter(|(last, _)| *last == id);
        let place = last.map(|(_, place)| place);
        place.or_else(|| self.places.get(&id).copied())
    }

    /// The session that expires or is pushed out first, and when it was last active.
    fn least_recently_active(&self) -> Option<(u64, WallTime)> {
        let (id, session) = self.sessions.first()?;
        Some((id, session.last_active.max(self.active_since)))
    }

    /// Pushes out the least recently active sessions until at most `most` are left.
    fn make_room(&mut self, most: u32) {
        while self.sessions.len() as u64 > u64::from(most)
            && let Some((id, _)) = self.least_recently_active()
        {
            self.close(id);
        }
    }

    /// Pushes out greedy sessions until the replies that are kept are few enough, or one is left.
    fn shed_replies(&mut self) {
        while self.replies_bytes > self.limits.replies_bytes_max
            && self.greedy.len() > 1
            && let Some((_, id)) = self.greedy.pop_first()
        {
            self.close(id);
        }
    }
}

impl Session {
    /// Drops the replies that the client says it has; how many bytes that frees.
    fn forget(&mut self, acknowledged: u64) -> u64 {
        let count = acknowledged
            .saturating_add(1)
            .saturating_sub(self.first_kept());
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let count = count.min(self.replies.len());
        if count == 0 {
            return 0;
        }
        let forgotten = self.replies.iter().take(count);
        let freed = forgotten.map(|reply| reply.bytes().len() as u64).sum();
        self.replies.drain(..count);
        self.replies_bytes -= freed;
        freed
    }

    fn first_kept(&self) -> u64 {
        self.next - self.replies.len() as u64
    }

    fn judge(&self, sequence: u64) -> Verdict<'_> {
        if sequence == self.next && (self.replies.len() as u64) < SESSION_WINDOW {
            return Verdict::Execute;
        }
        if sequence >= self.next || sequence == 0 {
            return Verdict::Refuse(SessionError::Gap);
        }
        let place = sequence
            .checked_sub(self.first_kept())
            .and_then(|at| usize::try_from(at).ok());
        match place {
            Some(place) => self.replies[place].verdict(),
            None => Verdict::Refuse(SessionError::Acknowledged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> WallTime {
        WallTime(seconds * SECOND)
    }

    fn limits(timeout: Duration, sessions_max: u32) -> SessionLimits {
        SessionLimits {
            timeout,
            sessions_max,
            idle_min: Duration::ZERO,
            ..SessionLimits::default()
        }
    }

    fn execute(table: &mut SessionTable, id: u64, sequence: u64, acknowledged: u64) {
        let verdict = table.admit(id, sequence, acknowledged, at(1));
        assert_eq!(verdict, Verdict::Execute, "request {sequence}");
        table.remember(id, sequence, &sequence.to_le_bytes());
    }

    #[test]
    fn a_repeat_gets_the_kept_reply_and_is_not_executed() {
        let mut table = SessionTable::default();
        table.open(5, at(0));
        execute(&mut table, 5, 1, 0);
        execute(&mut table, 5, 2, 0);
        let reply = 1u64.to_le_bytes();
        assert_eq!(table.admit(5, 1, 0, at(1)), Verdict::Repeat(&reply));
    }

    #[test]
    fn a_reply_of_any_length_is_kept_as_it_was() {
        let mut table = SessionTable::default();
        table.open(5, at(0));
        for (sequence, length) in (1..).zip([0u32, 1, 29, 30, 31, 255, 256, 5000]) {
            let reply: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            assert_eq!(table.admit(5, sequence, 0, at(1)), Verdict::Execute);
            table.remember(5, sequence, &reply);
            let repeat = table.admit(5, sequence, 0, at(1));
            assert_eq!(repeat, Verdict::Repeat(&reply), "{length} bytes");
        }
        assert_eq!(size_of::<KeptReply>(), 32);
    }

    #[test]
    fn a_gap_an_acknowledged_and_an_unknown_request_are_never_executed() {
        let mut table = SessionTable::default();
        table.open(5, at(0));
        execute(&mut table, 5, 1, 0);
        execute(&mut table, 5, 2, 1);
        let refused =
            |table: &mut SessionTable, id, sequence| match table.admit(id, sequence, 1, at(1)) {
                Verdict::Refuse(error) => Some(error),
                _ => None,
            };
        assert_eq!(refused(&mut table, 5, 4), Some(SessionError::Gap));
        assert_eq!(refused(&mut table, 5, 0), Some(SessionError::Gap));
        assert_eq!(refused(&mut table, 5, 1), Some(SessionError::Acknowledged));
        assert_eq!(refused(&mut table, 6, 1), Some(SessionError::Unknown));
        assert!(table.close(5));
        assert_eq!(refused(&mut table, 5, 3), Some(SessionError::Unknown));
    }

    #[test]
    fn a_skipped_request_counts_as_one_that_was_executed() {
        let (mut skipped, mut executed) = (SessionTable::default(), SessionTable::default());
        for table in [&mut skipped, &mut executed] {
            table.open(5, at(0));
            assert_eq!(table.admit(5, 1, 0, at(1)), Verdict::Execute);
        }
        skipped.remember_skipped(5, 1, 77);
        executed.remember(5, 1, &[]);
        let bytes = |table: &SessionTable| {
            let mut bytes = Vec::new();
            table.capture().write(&mut bytes).unwrap();
            bytes
        };
        let written = bytes(&skipped);
        assert_ne!(written, bytes(&executed));
        let mut skipped = SessionTable::restore(&mut written.as_slice()).unwrap();
        assert_eq!(bytes(&skipped), written);
        assert_eq!(skipped.admit(5, 1, 0, at(1)), Verdict::RepeatSkipped(77));
        assert_eq!(skipped.kept_reply(5, 1), Ok(Some(KeptOutcome::Skipped(77))));
        execute(&mut skipped, 5, 2, 1);
        let acknowledged = skipped.admit(5, 1, 1, at(1));
        let error = SessionError::Acknowledged;
        assert_eq!(acknowledged, Verdict::Refuse(error));
    }

    #[test]
    fn the_window_bounds_the_replies_that_are_kept() {
        let mut table = SessionTable::default();
        table.open(5, at(0));
        for sequence in 1..=SESSION_WINDOW {
            execute(&mut table, 5, sequence, 0);
        }
        let beyond = table.admit(5, SESSION_WINDOW + 1, 0, at(1));
        assert_eq!(beyond, Verdict::Refuse(SessionError::Gap));
        execute(&mut table, 5, SESSION_WINDOW + 1, 1);
    }

    #[test]
    fn expiry_goes_by_logged_time_and_a_view_start_counts_as_activity() {
        let mut table = SessionTable::default();
        table.start_view(at(0), limits(Duration::from_secs(10), 100));
        table.open(5, at(0));
        table.open(6, at(5));
        table.expire(at(10));
        assert_eq!(table.len(), 2);
        table.expire(at(11));
        assert_eq!(
            table.len(),
            1,
            "only the first has been silent for over ten seconds"
        );
        table.start_view(at(15), limits(Duration::from_secs(10), 100));
        table.expire(at(25));
        assert_eq!(table.len(), 1);
        table.expire(at(26));
        assert!(table.is_empty());
    }

    #[test]
    fn a_session_that_was_active_does_not_expire_with_the_one_that_was_the_oldest() {
        let mut table = SessionTable::default();
        table.start_view(at(0), limits(Duration::from_secs(10), 100));
        table.open(5, at(0));
        table.open(6, at(0));
        table.expire(at(1));
        assert_eq!(table.admit(5, 1, 0, at(8)), Verdict::Execute);
        table.expire(at(11));
        assert_eq!(table.len(), 1);
        assert!(table.close(5));
        table.open(7, at(11));
        table.expire(at(21));
        assert_eq!(table.len(), 1);
        table.expire(at(22));
        assert!(table.is_empty());
        table.open(8, at(23));
        table.expire(at(23));
        table.start_view(at(24), limits(Duration::from_secs(1), 100));
        table.expire(at(26));
        assert!(table.is_empty(), "a shorter timeout counts at once");
    }

    #[test]
    fn the_least_recently_active_goes_first() {
        let mut table = SessionTable::default();
        table.start_view(at(0), limits(Duration::from_secs(10), 2));
        table.open(1, at(1));
        table.open(2, at(2));
        execute(&mut table, 1, 1, 0);
        table.open(3, at(3));
        let refused = table.admit(2, 1, 0, at(3));
        assert_eq!(refused, Verdict::Refuse(SessionError::Unknown));
        execute(&mut table, 1, 2, 1);
    }

    /// Executes the next request of a session, with a reply of so many bytes.
    fn reply_with(table: &mut SessionTable, id: u64, sequence: u64, bytes: usize) {
        let verdict = table.admit(id, sequence, 0, at(1));
        assert_eq!(verdict, Verdict::Execute, "request {sequence} of {id}");
        table.remember(id, sequence, &vec![7; bytes]);
        table.check();
    }

    fn table_with_replies_of(replies_bytes_max: u64) -> SessionTable {
        let mut table = SessionTable::default();
        let limits = SessionLimits {
            replies_bytes_max,
            ..limits(Duration::from_secs(600), 10)
        };
        table.start_view(at(0), limits);
        for id in 1..=10 {
            assert!(table.open(id, at(0)));
        }
        table
    }

    impl SessionTable {
        /// What is kept along the way is what one comes to by looking at everything.
        fn check(&self) {
            let bytes_of = |session: &Arc<Session>| -> u64 {
                let replies = session.replies.iter();
                replies.map(|reply| reply.bytes().len() as u64).sum()
            };
            assert_eq!(self.places.len(), self.sessions.len());
            let ranks = self.sessions.in_order().map(|(_, session)| session.rank);
            assert!(ranks.is_sorted_by(|one, next| one < next), "they rise");
            let sessions = self.sessions.iter().map(|(_, session)| session);
            assert_eq!(sessions.map(bytes_of).sum::<u64>(), self.replies_bytes);
            let share = self.limits.replies_bytes_share();
            let greedy = self.sessions.iter();
            let greedy: Order = greedy
                .filter(|(_, session)| bytes_of(session) > share)
                .map(|(id, session)| (session.rank, id))
                .collect();
            assert_eq!(greedy, self.greedy);
            assert!(self.replies_bytes <= self.limits.replies_bytes_max || greedy.len() == 1);
        }
    }

    #[test]
    fn replies_that_are_too_many_cost_the_least_recently_active_of_the_greedy_its_session() {
        let mut table = table_with_replies_of(1000);
        reply_with(&mut table, 1, 1, 100); // an equal share
        reply_with(&mut table, 2, 1, 101);
        reply_with(&mut table, 3, 1, 400);
        reply_with(&mut table, 4, 1, 390);
        assert_eq!(table.len(), 10);
        reply_with(&mut table, 5, 1, 10);
        assert!(!table.is_open(2), "it kept more than its share");
        assert_eq!(table.len(), 9);
        let unknown = table.admit(2, 1, 0, at(1));
        assert_eq!(
            unknown,
            Verdict::Refuse(SessionError::Unknown),
            "nor is it executed again"
        );
        let kept = table.kept_reply(1, 1);
        assert_eq!(kept, Ok(Some(KeptOutcome::Reply(&[7; 100]))));
        assert_eq!(table.kept_reply(1, 2), Ok(None), "it is the next");
        assert_eq!(table.kept_reply(2, 1), Err(SessionError::Unknown));
    }

    #[test]
    fn the_session_before_the_one_that_was_active_last_goes_on_when_that_has_ended() {
        let mut table = table_with_replies_of(1000);
        reply_with(&mut table, 1, 1, 101);
        reply_with(&mut table, 2, 1, 101);
        assert!(table.close(2));
        table.check();
        // It is the last one now, and greedy.
        reply_with(&mut table, 1, 2, 101);
        assert!(table.open(11, at(1)));
        table.check();
        reply_with(&mut table, 1, 3, 101);
        reply_with(&mut table, 3, 1, 699);
        assert!(!table.is_open(1), "it was active before");
        reply_with(&mut table, 4, 1, 1);
        assert_eq!(table.len(), 9);
    }

    #[test]
    fn tables_that_differ_in_one_kept_reply_show_it() {
        let shown = |reply: &[u8]| {
            let mut table = SessionTable::default();
            table.open(5, at(0));
            assert_eq!(table.admit(5, 1, 0, at(1)), Verdict::Execute);
            table.remember(5, 1, reply);
            format!("{table:?}")
        };
        assert_ne!(shown(b"a"), shown(b"b"));
        assert_eq!(shown(b"a"), shown(b"a"));
    }

    #[test]
    fn replies_that_were_acknowledged_do_not_count() {
        let mut table = table_with_replies_of(1000);
        reply_with(&mut table, 1, 1, 600);
        assert_eq!(table.admit(1, 2, 1, at(1)), Verdict::Execute);
        table.remember(1, 2, &[]);
        table.check();
        reply_with(&mut table, 2, 1, 600);
        assert_eq!(table.len(), 10);
        assert!(table.close(2));
        table.check();
        reply_with(&mut table, 3, 1, 1000);
        assert_eq!(table.len(), 9);
    }

    #[test]
    fn the_session_that_is_being_answered_keeps_its_reply() {
        let mut table = table_with_replies_of(1000);
        for sequence in 1..=SESSION_WINDOW {
            reply_with(&mut table, 7, sequence, 500);
        }
        let kept = table.kept_reply(7, 1);
        assert_eq!(kept, Ok(Some(KeptOutcome::Reply(&[7; 500]))));
        assert_eq!(table.len(), 10, "nobody else has anything to give");
        reply_with(&mut table, 8, 1, 101);
        assert!(!table.is_open(7));
    }

    #[test]
    fn a_view_that_allows_fewer_replies_begins_by_giving_some_up() {
        let mut table = table_with_replies_of(1000);
        reply_with(&mut table, 1, 1, 90);
        reply_with(&mut table, 2, 1, 90);
        let limits = SessionLimits {
            replies_bytes_max: 100,
            ..table.limits
        };
        table.start_view(at(2), limits);
        table.check();
        assert!(!table.is_open(1) && table.is_open(2));
    }

    #[test]
    fn a_view_that_allows_fewer_sessions_begins_by_ending_the_least_recently_active() {
        let mut table = table_with_replies_of(1000);
        execute(&mut table, 3, 1, 0);
        let fewer = limits(Duration::from_secs(600), 2);
        table.start_view(at(2), fewer);
        assert_eq!(table.len(), 2);
        assert!(table.is_open(3) && table.is_open(10));
        // One that allows more again brings nobody back.
        table.start_view(at(3), limits(Duration::from_secs(600), 10));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn as_many_sessions_as_a_replica_can_be_told_are_kept_captured_and_restored() {
        let mut table = SessionTable::default();
        let most = limits(Duration::from_secs(600), SESSIONS_MAX_LIMIT);
        table.start_view(at(0), most);
        let ids = 1..=u64::from(SESSIONS_MAX_LIMIT);
        assert!(ids.clone().all(|id| table.open(id, at(0))));
        execute(&mut table, 1, 1, 0);
        let mut bytes = Vec::new();
        table.capture().write(&mut bytes).unwrap();
        let mut restored = SessionTable::restore(&mut &bytes[..]).unwrap();
        for table in [&mut table, &mut restored] {
            assert!(table.open(ids.end() + 1, at(2)));
            assert_eq!(table.len(), SESSIONS_MAX_LIMIT as usize);
            assert!(table.is_open(1) && !table.is_open(2));
        }
    }

    #[test]
    fn an_open_pushes_nobody_out_who_was_active_a_short_time_ago() {
        let mut table = SessionTable::default();
        let limits = SessionLimits {
            idle_min: Duration::from_secs(10),
            ..limits(Duration::from_secs(600), 2)
        };
        table.start_view(at(0), limits);
        assert!(table.open(1, at(0)) && table.open(2, at(5)));
        assert!(!table.open(3, at(9)), "the other two are at work");
        assert_eq!(table.len(), 2);
        assert!(table.open(4, at(10)));
        assert!(!table.is_open(1) && table.is_open(2));
        table.start_view(at(20), limits);
        assert!(
            !table.open(5, at(29)),
            "a view that starts counts as activity"
        );
        assert!(table.open(6, at(30)));
    }
}

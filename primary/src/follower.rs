//! One stream of entries to a follower, and the entry at which it begins.

use std::collections::VecDeque;

use standin_core::address::Address;
use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::Identity;
use standin_core::message::{Ack, Follow, Lag, Room};
use standin_core::time::{Duration, Instant};
use standin_core::version::VersionRange;
use standin_core::view::ViewNumber;

/// Bytes sent to a follower and not yet acknowledged, at most. Beyond it the stream pauses and later
/// goes on from the log.
pub const FOLLOWER_WINDOW_BYTES_MAX: usize = 32 << 20;

/// Commits of which it is remembered when a follower was told, at most. With more, every second is forgotten.
const COMMITS_MAX: usize = 1024;

/// The newest entry that two logs have in common, found from where views begin in each.
///
/// Entries of one view are created by one replica in one order (S2, S3), so two logs that both have
/// entries of a view agree up to the end of the shorter one's. The largest view in both is the one
/// to look at: going on in the one log to a higher view, and in the other to another, they part
/// (`protocol.md` section 8; the idea of cutting by epoch is Kafka's KIP-101).
///
/// If the logs disagree about where that view begins, one of them is wrong and neither may be cut. It is
/// then the place where it begins first: there the one log has an entry of that view and the other one
/// of a lower view, so the follower finds the two entries different, says so and quarantines itself.
#[must_use]
pub fn common_entry(
    ours: &[(ViewNumber, Index)],
    our_last: Index,
    theirs: &[(ViewNumber, Index)],
    their_last: Index,
) -> Index {
    let end_of = |starts: &[(ViewNumber, Index)], at: usize, last: Index| {
        starts
            .get(at + 1)
            .map_or(last, |(_, first)| Index(first.0 - 1))
    };
    for (at, (view, first)) in theirs.iter().enumerate().rev() {
        if let Ok(ours_at) = ours.binary_search_by_key(view, |(view, _)| *view) {
            let end = end_of(ours, ours_at, our_last).min(end_of(theirs, at, their_last));
            let our_first = ours[ours_at].1;
            return if our_first == *first {
                end
            } else {
                our_first.min(*first)
            };
        }
    }
    Index::ZERO
}

/// Whether a list of views is one that a log can have: both rise, and all lie in the log.
pub(crate) fn is_sound(view_starts: &[(ViewNumber, Index)], last: Index) -> bool {
    let rises = view_starts
        .windows(2)
        .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
    let is_within = |(_, first): &(ViewNumber, Index)| (Index(1)..=last).contains(first);
    rises && view_starts.iter().all(is_within)
}

/// How long a follower takes for what it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// To acknowledge it.
    pub(crate) acknowledged: Duration,
    /// To apply it, since it may.
    pub(crate) applied: Duration,
}

impl Pace {
    /// The slower of the two.
    pub(crate) fn slower(self) -> Duration {
        self.acknowledged.max(self.applied)
    }

    /// The slower of each.
    pub(crate) fn or_slower(self, other: Self) -> Self {
        Self {
            acknowledged: self.acknowledged.max(other.acknowledged),
            applied: self.applied.max(other.applied),
        }
    }
}

/// What a follower applies in a while, and what its primary does.
#[derive(Clone, Copy, Debug)]
struct Race {
    began: Instant,
    /// What the primary had applied then, and what the follower; none before it has said anything.
    start: Option<(Index, Index)>,
    /// In the while before, it applied four fifths of what the primary did, or more.
    is_quick: bool,
}

/// How far a stream has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The chain value of the entry in common is being looked up in the log.
    LookingUp,
    /// Resume was sent; the follower cuts what it must and then acknowledges.
    Matching,
    /// Entries flow.
    Streaming,
}

/// A stream of entries to one follower, in the primary's present view.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    pub(crate) conn: ConnId,
    pub(crate) identity: Identity,
    /// Where it answers Redis clients.
    pub(crate) resp: Option<Address>,
    /// The versions of the machine that it supports.
    pub(crate) versions: VersionRange,
    /// Names the stream; an acknowledgement with another nonce is of an earlier one.
    pub(crate) nonce: u64,
    pub(crate) phase: Phase,
    /// The entry that both logs have in common.
    pub(crate) common: Index,
    /// The next entry to send. Invariant: `acked < next` once streaming.
    pub(crate) next: Index,
    /// Everything up to here is durable at the follower, at the level of the pair.
    pub(crate) acked: Index,
    /// Everything up to here is applied at the follower.
    pub(crate) applied: Index,
    pub(crate) round_sent: u64,
    pub(crate) round_acked: u64,
    /// What the last message said is committed.
    pub(crate) commit_sent: Index,
    pub(crate) sent_at: Instant,
    /// Last time that it got on: it acknowledged something new, or everything.
    pub(crate) progress_at: Instant,
    /// When it last said anything.
    heard_at: Instant,
    /// It gets on only beyond this, what it had acknowledged on its last stream: coming back again
    /// and again is no progress.
    acked_before: Index,
    /// Whether its log has room, by its last acknowledgement.
    pub(crate) room: Room,
    /// A piece of the log is being read for it.
    pub(crate) is_reading: bool,
    /// Bytes of log that were read for it in this wake-up, and when the last piece was asked for.
    pub(crate) fed: Option<(usize, Instant)>,
    /// Sizes of messages on their way, each with its last index and when it was sent.
    in_flight: VecDeque<(Index, usize, Instant)>,
    in_flight_bytes: usize,
    /// What it was told to be committed and has not applied, each with when it was told. Invariant: at most
    /// [`COMMITS_MAX`]; one may stand for some that were told after it.
    unapplied: VecDeque<(Index, Instant)>,
    /// What the primary had applied when this stream was asked for. One that has to catch up with that is behind, and
    /// nobody knows by how much time.
    applied_before: Index,
    /// It is not far behind, in time: as of the last event.
    pub(crate) keeps_up: bool,
    /// How long that took which it has done since this was last asked.
    done: Option<Pace>,
    /// How it applies, compared with its primary.
    race: Race,
}

impl Follower {
    pub(crate) fn new(
        conn: ConnId,
        follow: &Follow,
        nonce: u64,
        common: Index,
        (applied, now): (Index, Instant),
    ) -> Self {
        Self {
            conn,
            identity: follow.identity.clone(),
            resp: follow.resp.clone(),
            versions: follow.versions,
            nonce,
            phase: Phase::LookingUp,
            common,
            next: common.next(),
            acked: Index::ZERO,
            applied: Index::ZERO,
            round_sent: 0,
            round_acked: 0,
            commit_sent: Index::ZERO,
            sent_at: now,
            progress_at: now,
            heard_at: now,
            acked_before: Index::ZERO,
            room: Room::Enough,
            is_reading: false,
            fed: None,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            unapplied: VecDeque::new(),
            applied_before: applied,
            keeps_up: false,
            done: None,
            race: Race {
                began: now,
                start: None,
                is_quick: false,
            },
        }
    }

    /// The backup that answers wait for begins a new stream: its silence goes on where it was.
    pub(crate) fn inherit(&mut self, progress_at: Instant, acked_before: Index) {
        self.progress_at = progress_at;
        self.acked_before = acked_before;
    }

    /// Since when it has owed something without getting on; `now` if it owes nothing.
    pub(crate) fn silent_since(&self, now: Instant) -> Instant {
        if self.is_outstanding() {
            self.progress_at
        } else {
            now
        }
    }

    /// How long it has said nothing.
    pub(crate) fn unheard(&self, now: Instant) -> Duration {
        now.since(self.heard_at)
    }

    /// The highest entry that it is known to have.
    pub(crate) fn best(&self) -> Index {
        self.acked.max(self.acked_before)
    }

    /// Whether it takes a batch that begins at `first` as it is ordered, without a look at the log.
    pub(crate) fn takes_live(&self, first: Index) -> bool {
        self.phase == Phase::Streaming
            && !self.is_reading
            && self.next == first
            && self.has_window()
    }

    /// Whether a piece of the log up to `last` should be read for it now.
    pub(crate) fn wants_log(&self, last: Index) -> bool {
        self.phase == Phase::Streaming && !self.is_reading && self.next <= last && self.has_window()
    }

    fn has_window(&self) -> bool {
        self.in_flight_bytes < FOLLOWER_WINDOW_BYTES_MAX
    }

    /// Whether all up to `last` was sent and little of it is still on its way.
    pub(crate) fn is_caught_up(&self, last: Index, in_flight_bytes_max: usize) -> bool {
        self.phase == Phase::Streaming
            && self.next > last
            && self.in_flight_bytes <= in_flight_bytes_max
    }

    /// A message with entries up to `through` (none if it is below `next`) goes out; its round.
    pub(crate) fn sending(
        &mut self,
        through: Index,
        bytes: usize,
        commit: Index,
        now: Instant,
    ) -> u64 {
        if !self.is_outstanding() {
            // The silence that counts begins when there is something to say.
            self.progress_at = now;
        }
        if through >= self.next {
            self.next = through.next();
            self.in_flight.push_back((through, bytes, now));
            self.in_flight_bytes += bytes;
        }
        self.round_sent += 1;
        self.note_commit(commit, now);
        self.commit_sent = commit;
        self.sent_at = now;
        self.round_sent
    }

    fn note_commit(&mut self, commit: Index, now: Instant) {
        // It can apply no more than it has.
        let commit = commit.min(Index(self.next.0 - 1));
        let told = self
            .unapplied
            .back()
            .map_or(self.applied, |(told, _)| *told);
        if commit <= told {
            return;
        }
        if self.unapplied.len() >= COMMITS_MAX {
            self.forget_every_second();
        }
        self.unapplied.push_back((commit, now));
    }

    /// Of two commits that were told one after the other the first comes to stand for both: as if what came
    /// with the second had been told as early, so it is never taken for less far behind than it is.
    fn forget_every_second(&mut self) {
        let told: Vec<_> = self.unapplied.drain(..).collect();
        let both = told.chunks(2).map(|pair| {
            let (_, since) = pair[0];
            let (commit, _) = pair[pair.len() - 1];
            (commit, since)
        });
        self.unapplied.extend(both);
    }

    /// How far it is behind, in time.
    pub(crate) fn lag(&self, now: Instant) -> Lag {
        self.lag_of(self.pace(now))
    }

    pub(crate) fn lag_of(&self, pace: Pace) -> Lag {
        let millis = |lag: Duration| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        Lag {
            store: self.identity.store,
            unacknowledged_ms: millis(pace.acknowledged),
            unapplied_ms: millis(pace.applied),
        }
    }

    /// Whether it has applied what was there to be applied when its stream began.
    pub(crate) fn has_applied_what_was_there(&self) -> bool {
        self.applied >= self.applied_before
    }

    /// How long that took which it has acknowledged or applied since this was last asked; `None`: it has done
    /// nothing.
    pub(crate) fn take_done(&mut self) -> Option<Pace> {
        self.done.take()
    }

    /// How long that takes already which is under way.
    pub(crate) fn pace(&self, now: Instant) -> Pace {
        let age = |since: Option<Instant>| since.map_or(Duration::ZERO, |since| now.since(since));
        Pace {
            acknowledged: age(self.unacknowledged_since()),
            applied: age(self.unapplied_since()),
        }
    }

    /// Its primary has applied up to here: looks who is quicker, each `length`.
    pub(crate) fn race(&mut self, primary: Index, now: Instant, length: Duration) {
        if now.since(self.race.began) < length {
            return;
        }
        let is_quick = self.race.start.is_some_and(|(primary_start, start)| {
            let by_primary = primary.0.saturating_sub(primary_start.0);
            let done = self.applied.0.saturating_sub(start.0);
            done > 0 && done.saturating_mul(5) >= by_primary.saturating_mul(4)
        });
        let is_heard = self.phase == Phase::Streaming;
        self.race = Race {
            began: now,
            start: is_heard.then_some((primary, self.applied)),
            is_quick,
        };
    }

    /// Whether it applies nearly as quickly as its primary, or more so.
    pub(crate) fn is_quick(&self) -> bool {
        self.race.is_quick
    }

    /// This process was away, so how long that takes which is under way is not known: it counts from now.
    pub(crate) fn excuse(&mut self, now: Instant) {
        (self.progress_at, self.heard_at) = (now, now);
        self.in_flight.iter_mut().for_each(|(.., sent)| *sent = now);
        self.unapplied.iter_mut().for_each(|(_, told)| *told = now);
    }

    /// When the oldest entries were sent that it has not acknowledged.
    pub(crate) fn unacknowledged_since(&self) -> Option<Instant> {
        self.in_flight.front().map(|(.., sent)| *sent)
    }

    /// When it was told of the oldest commit that it has not applied.
    pub(crate) fn unapplied_since(&self) -> Option<Instant> {
        self.unapplied.front().map(|(_, told)| *told)
    }

    /// Whether it owes an acknowledgement.
    pub(crate) fn is_outstanding(&self) -> bool {
        self.phase != Phase::Streaming
            || self.round_acked < self.round_sent
            || self.acked.next() < self.next
    }

    /// Takes an acknowledgement of this stream, from a log that ends at `last`; `false` if it claims
    /// what was never sent.
    pub(crate) fn acknowledge(&mut self, ack: &Ack, last: Index, now: Instant) -> bool {
        let is_possible = ack.durable < self.next && ack.round <= self.round_sent;
        if self.phase == Phase::LookingUp || !is_possible {
            return false;
        }
        if ack.durable > self.best() || ack.durable >= last {
            self.progress_at = now;
        }
        self.heard_at = now;
        self.phase = Phase::Streaming;
        self.room = ack.room;
        self.acked = self.acked.max(ack.durable);
        self.applied = self.applied.max(ack.applied);
        self.round_acked = self.round_acked.max(ack.round);
        while let Some((commit, told)) = self.unapplied.front()
            && *commit <= self.applied
        {
            let done = self.done.get_or_insert_default();
            done.applied = done.applied.max(now.since(*told));
            self.unapplied.pop_front();
        }
        while let Some((through, bytes, sent)) = self.in_flight.front()
            && *through <= self.acked
        {
            let done = self.done.get_or_insert_default();
            done.acknowledged = done.acknowledged.max(now.since(*sent));
            self.in_flight_bytes -= bytes;
            self.in_flight.pop_front();
        }
        true
    }

    /// When it will have been silent for `limit`; `None` while it owes nothing.
    pub(crate) fn silent_at(&self, limit: Duration) -> Option<Instant> {
        self.is_outstanding().then(|| self.progress_at.plus(limit))
    }

    /// Passes for one that has everything.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn pretend(&mut self, last: Index) {
        self.phase = Phase::Streaming;
        self.acked = last;
        self.next = last.next();
        self.applied_before = Index::ZERO;
    }

    #[cfg(not(feature = "planted-bugs"))]
    pub(crate) fn pretend(&mut self, _last: Index) {}

    /// The entry in common as it stands in a log that goes from after `base` to `tip`; `None`: it must be
    /// looked up.
    pub(crate) fn resume_point(&self, base: LogTip, tip: LogTip) -> Option<LogTip> {
        [base, tip]
            .into_iter()
            .find(|known| known.index == self.common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(list: &[(u64, u64)]) -> Vec<(ViewNumber, Index)> {
        list.iter()
            .map(|(view, index)| (ViewNumber(*view), Index(*index)))
            .collect()
    }

    fn common(ours: &[(u64, u64)], our_last: u64, theirs: &[(u64, u64)], their_last: u64) -> u64 {
        common_entry(
            &starts(ours),
            Index(our_last),
            &starts(theirs),
            Index(their_last),
        )
        .0
    }

    #[test]
    fn logs_that_disagree_about_where_a_view_begins_are_compared_where_it_begins_first() {
        assert_eq!(common(&[(1, 1), (2, 5)], 9, &[(1, 1), (2, 6)], 9), 5);
        assert_eq!(common(&[(1, 1), (2, 6)], 9, &[(1, 1), (2, 5)], 5), 5);
        assert_eq!(common(&[(1, 1), (2, 5), (3, 8)], 9, &[(2, 7)], 20), 5);
    }

    #[test]
    fn the_entry_in_common_is_the_end_of_the_newest_view_in_both() {
        assert_eq!(common(&[], 0, &[], 0), 0);
        assert_eq!(common(&[(1, 1)], 9, &[], 0), 0);
        assert_eq!(
            common(&[(1, 1)], 9, &[(1, 1)], 5),
            5,
            "a follower that is behind"
        );
        assert_eq!(common(&[(1, 1), (2, 6)], 9, &[(1, 1)], 5), 5);
        assert_eq!(
            common(&[(1, 1), (3, 6)], 9, &[(1, 1)], 8),
            5,
            "a tail of view 1 to be cut"
        );
        // The follower went on alone in view 2, which the primary never saw.
        assert_eq!(common(&[(1, 1), (3, 6)], 9, &[(1, 1), (2, 4)], 8), 3);
        assert_eq!(
            common(&[(1, 1), (2, 4), (5, 7)], 9, &[(1, 1), (2, 4), (3, 6)], 20),
            5
        );
    }
}

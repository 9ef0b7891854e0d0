//! A backup that is too slow: it acknowledges, and applies, but later than it should. First less is admitted for its
//! sake; if that does not help, it is done without.
//!
//! How far it is behind is measured in time, not in entries: how long ago the oldest thing was sent that it has not
//! acknowledged, or the oldest that it was told it may apply and has not. The first is what clients wait for, the second
//! what they would wait for in a takeover. Silence is another matter, with a limit of its own (`gate.rs`): what is
//! looked at here is one that always answers, and never in time.

use std::cmp::Reverse;

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::planted::{Bug, Planted};
use standin_core::time::{Duration, Instant};

use crate::follower::{Follower, Pace, Phase};
use crate::gate::{Gate, JOIN_LAG_BYTES_MAX};
use crate::primary::{Action, Primary};

/// A backup that is behind by more than this part of a term is waited for: less is admitted meanwhile. So is a spare that
/// could be joined but for that.
const WAITED_FOR_TERM_PARTS: u32 = 8;
const WAITED_FOR_MIN: Duration = Duration::from_millis(50);
/// It is not if nothing was heard of it for this part of a term. A round goes out each tenth of one.
const HEARD_TERM_PARTS: u32 = 4;
/// One that is behind by more than this part of a term is slow. A single sync or pause may last as long.
///
/// So is one that is waited for more than [a third](WAITED_PARTS) of the time: it never falls far behind, for it holds
/// clients back.
const SLOW_TERM_PARTS: u32 = 4;
const SLOW_MIN: Duration = Duration::from_millis(100);
/// So many times as long as this primary takes for what it applies between two looks at its input is allowed on top: what it
/// is told is read that much later, and what the next message tells of is told with that.
const OWN_PIECES: u32 = 3;
/// While it is waited for, half of what it does is let in; so one that does four fifths of what is asked of it, or more,
/// is waited for less than this part of the time, and stays.
const WAITED_PARTS: u32 = 3;
/// A term is looked at in so many parts: in each the backup was slow, or did what it did in time, or had
/// nothing to do.
const PARTS_PER_TERM: u32 = 2;
/// It is dropped after so many parts in which it was slow, two terms. Each in which it did what it did in time counts
/// against one of them: so a pause now and then is forgiven, and one good moment among many bad ones is not enough.
const SLOW_PARTS_MAX: u32 = 4;

/// What is known of the pace of the backup that answers wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slowness {
    /// When the present part of a term began.
    part_began: Instant,
    /// In this part it was slow.
    was_slow: bool,
    /// For how long of this part it was waited for, up to the last look.
    waited: Duration,
    looked_at: Instant,
    /// It was waited for as of then, and so until the next look.
    was_waited_for: bool,
    /// In this part it got on with something.
    got_on: bool,
    /// Parts in which it was slow, less those in which it was not. Invariant: at most [`SLOW_PARTS_MAX`].
    slow_parts: u32,
    /// The slowest that it was since it was not slow.
    worst: Pace,
    /// It is waited for.
    waited_for: Option<WaitedFor>,
    /// Something was heard of it a moment ago.
    is_heard: bool,
    /// How long this primary takes for what it applies at a time: the longest in the last term, and when that was.
    own: (Duration, Instant),
    /// Backups dropped for it.
    pub(crate) drops: u64,
}

/// How things stood when a follower came to be waited for.
#[derive(Clone, Copy, Debug)]
struct WaitedFor {
    /// Its stream.
    conn: ConnId,
    /// Entries that it had not applied.
    backlog: u64,
    /// What it had applied.
    applied: Index,
}

impl WaitedFor {
    /// Entries that it may have before it at most, once it has applied all up to `applied`: one is let in for two that
    /// it does, so that clients are served on and it catches up.
    fn backlog_max(&self, applied: Index) -> u64 {
        let done = applied.0.saturating_sub(self.applied.0);
        self.backlog.saturating_sub(done / 2).max(1)
    }
}

impl Slowness {
    /// Another backup, or the same one in another view. What is said of the one before does not count.
    pub(crate) fn begin_anew(&mut self, now: Instant) {
        *self = Self {
            part_began: now,
            looked_at: now,
            drops: self.drops,
            own: self.own,
            ..Self::default()
        };
    }

    /// This process was away: how long anything took meanwhile is not known.
    pub(crate) fn excuse(&mut self, now: Instant) {
        (self.part_began, self.looked_at) = (now, now);
        (self.was_slow, self.got_on) = (false, false);
        self.waited = Duration::ZERO;
    }

    /// Takes in how long that takes already which the backup has still to do, and how long that took which it has
    /// done since the last look.
    fn look(
        &mut self,
        now: Instant,
        pace: Pace,
        done: Option<Pace>,
        term: Duration,
        planted: Planted,
    ) {
        let slower = done.unwrap_or_default().or_slower(pace);
        if slower.slower() > self.slow(now, term) || planted.has(Bug::QuickDropped) {
            self.was_slow = true;
            self.worst = self.worst.or_slower(slower);
        }
        self.got_on |= done.is_some();
        let since = std::mem::replace(&mut self.looked_at, now);
        // Not by how things stand now: there is more to look at when it is not waited for, or has just got on.
        let is_waited_for = pace.slower() > self.waited_for(now, term);
        if std::mem::replace(&mut self.was_waited_for, is_waited_for) {
            self.waited += now.since(since);
        }
        let part = now.since(self.part_began);
        if part < term / PARTS_PER_TERM {
            return;
        }
        if self.waited > part / WAITED_PARTS {
            self.was_slow = true;
            self.worst = self.worst.or_slower(slower);
        }
        self.slow_parts = match (self.was_slow, self.got_on) {
            (true, _) => (self.slow_parts + 1).min(SLOW_PARTS_MAX),
            (false, true) => self.slow_parts.saturating_sub(1),
            (false, false) => self.slow_parts,
        };
        if self.slow_parts == 0 {
            self.worst = Pace::default();
        }
        self.excuse(now);
    }

    /// There is nobody to look at just now.
    fn look_away(&mut self, now: Instant) {
        (self.looked_at, self.was_waited_for) = (now, false);
    }

    /// How long this primary took for what it applied at a time.
    fn note_own(&mut self, took: Duration, now: Instant, term: Duration) {
        let (longest, at) = self.own;
        if took >= longest || now.since(at) > term {
            // Longer than that it was away, which is excused as a whole.
            self.own = (took.min(term / SLOW_TERM_PARTS), now);
        }
    }

    fn allowed(&self, now: Instant, term: Duration) -> Duration {
        let (longest, at) = self.own;
        if now.since(at) > term {
            return Duration::ZERO;
        }
        longest * OWN_PIECES
    }

    /// One that is behind by more is slow.
    fn slow(&self, now: Instant, term: Duration) -> Duration {
        (term / SLOW_TERM_PARTS).max(SLOW_MIN) + self.allowed(now, term)
    }

    /// One that is behind by more is waited for.
    fn waited_for(&self, now: Instant, term: Duration) -> Duration {
        (term / WAITED_FOR_TERM_PARTS).max(WAITED_FOR_MIN) + self.allowed(now, term)
    }

    fn is_too_slow(&self) -> bool {
        self.slow_parts >= SLOW_PARTS_MAX
    }
}

/// How a primary's backup gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupPace {
    /// It is waited for: entries that were ordered and that it has not applied, and how many of them there should be at
    /// most before more are taken in.
    pub waited_for: Option<(u64, u64)>,
    /// The stream of whoever is waited for.
    pub waits_on: Option<ConnId>,
    /// Backups that this primary has dropped since they were too slow.
    pub drops: u64,
    /// The backup is just being changed, or this primary does not serve.
    pub is_changing: bool,
    /// It has a stream.
    pub is_heard: bool,
}

impl Primary {
    /// Looks at the pace of the backup, and drops it if it is too slow. The followers' are looked at too: who may be
    /// joined depends on it.
    pub(crate) fn watch_pace(&mut self, now: Instant) {
        let term = self.term();
        let (slow, applied) = (self.slowness.slow(now, term), self.applied);
        for follower in self.followers.values_mut() {
            follower.keeps_up =
                follower.has_applied_what_was_there() && follower.pace(now).slower() <= slow;
            follower.race(applied, now, term / PARTS_PER_TERM);
        }
        match &self.gate {
            Gate::Paired { .. } if self.is_serving() => self.watch_backup(now),
            Gate::Solo if self.is_serving() => {
                self.slowness.look_away(now);
                let spare = self.spare_to_wait_for(now).map(|spare| spare.conn);
                self.wait_for(spare, now);
            }
            Gate::Paired { .. } | Gate::Solo | Gate::Joining(_) => {
                self.slowness.look_away(now);
                self.slowness.waited_for = None;
            }
        }
    }

    fn watch_backup(&mut self, now: Instant) {
        let term = self.term();
        let conn = self.gate_follower().map(|gate| gate.conn);
        let gate = conn.and_then(|conn| self.followers.get_mut(&conn));
        let Some(gate) = gate.filter(|gate| gate.phase == Phase::Streaming) else {
            self.slowness.look_away(now);
            self.slowness.waited_for = None;
            return;
        };
        let (pace, done) = (gate.pace(now), gate.take_done());
        self.slowness.look(now, pace, done, term, self.planted);
        let is_behind = pace.slower() > self.slowness.waited_for(now, term);
        self.wait_for(conn.filter(|_| is_behind), now);
        let is_changing = self.swap.is_some() || self.hand_over.is_some();
        // While the view service is not heard, nothing could come of it.
        let can_drop = !is_changing && self.lease_until.is_some();
        if self.slowness.is_too_slow() && can_drop && !self.planted.has(Bug::SlowKept) {
            self.drop_slow_backup(now);
        }
    }

    /// While this primary is alone: who has its whole log, applies nearly as quickly as it does, and only has more to
    /// apply than it should have to be joined. As long as no less is admitted it might never come to have less.
    fn spare_to_wait_for(&self, now: Instant) -> Option<&Follower> {
        if self.candidates().next().is_some() {
            return None;
        }
        let behind = self.followers.values().filter(|follower| {
            follower.is_caught_up(self.tip.index, JOIN_LAG_BYTES_MAX)
                && follower.is_quick()
                && self.may_join(follower)
                && !self.excluded.contains(&follower.identity.store)
                && now >= self.flapping.join_at(follower.identity.store)
        });
        behind.max_by_key(|follower| (follower.applied, Reverse(&follower.identity.name)))
    }

    /// From now on this follower is waited for, as long as it is named here.
    fn wait_for(&mut self, conn: Option<ConnId>, now: Instant) {
        let follower = conn.and_then(|conn| self.followers.get(&conn));
        let Some(follower) = follower else {
            self.slowness.waited_for = None;
            return;
        };
        let heard_max = self.term() / HEARD_TERM_PARTS;
        // One that says nothing is soon heard or done without, and whoever asks nothing of it is served meanwhile.
        self.slowness.is_heard =
            follower.unheard(now) <= heard_max && !self.planted.has(Bug::SpeakerUnheard);
        let same = self.slowness.waited_for;
        let same = same.filter(|waited_for| waited_for.conn == follower.conn);
        self.slowness.waited_for = same.or(Some(WaitedFor {
            conn: follower.conn,
            backlog: self.tip.index.0.saturating_sub(follower.applied.0),
            applied: follower.applied,
        }));
    }

    /// How long this primary, or the machine that it runs, took for what it applied at a time.
    pub fn note_own_pace(&mut self, took: Duration, now: Instant) {
        let term = self.term();
        self.slowness.note_own(took, now, term);
    }

    fn drop_slow_backup(&mut self, now: Instant) {
        if let Some(gate) = self.gate_follower() {
            let (name, store) = (gate.identity.name.clone(), gate.identity.store);
            let lag = gate.lag_of(self.slowness.worst);
            self.actions.push_back(Action::TooSlow(name, lag));
            // It waits before its next Join also if it was dropped only once: it will not have become faster.
            self.flapping.slow(store, now);
        }
        self.slowness.drops += 1;
        self.slowness.begin_anew(now);
        self.drop_backup(now);
    }

    /// Whether whoever is waited for has got on far enough that more may be admitted.
    pub(crate) fn is_backup_ready(&self) -> bool {
        let Some((backlog, backlog_max)) = self.backlog() else {
            return true;
        };
        !self.slowness.is_heard || backlog < backlog_max || self.planted.has(Bug::SlowAdmitted)
    }

    /// Entries that whoever is waited for has not applied, and how many of them there should be at most before more are
    /// taken in.
    fn backlog(&self) -> Option<(u64, u64)> {
        let waited_for = self.slowness.waited_for?;
        let applied = self.followers.get(&waited_for.conn)?.applied;
        let backlog = self.tip.index.0.saturating_sub(applied.0);
        Some((backlog, waited_for.backlog_max(applied)))
    }

    /// What is known of the pace of the backup, for whoever watches this primary.
    #[must_use]
    pub fn backup_pace(&self) -> BackupPace {
        let gate = self.gate_follower();
        BackupPace {
            waited_for: self.backlog(),
            waits_on: self.slowness.waited_for.map(|waited_for| waited_for.conn),
            drops: self.slowness.drops,
            is_changing: self.swap.is_some() || self.hand_over.is_some() || !self.is_serving(),
            is_heard: gate.is_some_and(|gate| gate.phase == Phase::Streaming),
        }
    }

    /// Whether the backup is too far behind to apply a Handover entry in time, which is short if the lease is.
    pub(crate) fn is_slow(&self, follower: &Follower, now: Instant) -> bool {
        let term = self.term();
        follower.pace(now).slower() > term / SLOW_TERM_PARTS + self.slowness.allowed(now, term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(1);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Looks every 10 ms for `length`, with what `at` says of each moment, in milliseconds since the beginning: how long
    /// the oldest takes that is still to be applied, and how long that took which is done.
    fn looked_at(length: u64, at: impl Fn(u64) -> (u64, Option<u64>)) -> Slowness {
        looked_at_in(TERM, length, at)
    }

    /// The same at another term.
    fn looked_at_in(
        term: Duration,
        length: u64,
        at: impl Fn(u64) -> (u64, Option<u64>),
    ) -> Slowness {
        let applied_in = |took: u64| Pace {
            applied: millis(took),
            ..Pace::default()
        };
        let mut slowness = Slowness::default();
        for moment in (0..length).step_by(10) {
            let (takes, done_in) = at(moment);
            let now = Instant::ZERO.plus(millis(moment));
            slowness.look(
                now,
                applied_in(takes),
                done_in.map(applied_in),
                term,
                Planted::NONE,
            );
        }
        slowness
    }

    #[test]
    fn two_terms_of_being_behind_are_too_much_and_less_is_not() {
        assert!(looked_at(2500, |_| (251, None)).is_too_slow());
        assert!(!looked_at(1900, |_| (9999, None)).is_too_slow());
        assert!(!looked_at(100_000, |_| (125, Some(125))).is_too_slow());
    }

    #[test]
    fn however_short_the_lease_what_a_slow_disk_takes_drops_nobody() {
        let term = millis(200);
        // Behind all the time, and at one moment in each half of a term.
        let always = |lag| looked_at_in(term, 10_000, move |_| (lag, Some(10)));
        let at_moments = |lag| {
            looked_at_in(term, 10_000, move |moment| match moment % 100 {
                50 => (0, Some(lag)),
                _ => (0, Some(10)),
            })
        };
        assert!(!always(50).is_too_slow() && always(51).is_too_slow());
        assert!(!at_moments(100).is_too_slow() && at_moments(101).is_too_slow());
    }

    #[test]
    fn pauses_now_and_then_are_forgiven() {
        let pauses = looked_at(600_000, |moment| match moment % 2000 {
            since @ 0..450 => (since, None),
            450..460 => (0, Some(450)),
            _ => (5, Some(5)),
        });
        assert!(!pauses.is_too_slow());
    }

    #[test]
    fn one_that_is_waited_for_much_of_the_time_is_too_slow_though_it_never_is_far_behind() {
        let share = |slow_of_ten: u64| {
            looked_at(60_000, move |moment| match moment / 10 % 10 {
                tenth if tenth < slow_of_ten => (130, Some(10)),
                _ => (100, Some(10)),
            })
        };
        assert!(share(7).is_too_slow());
        assert!(!share(3).is_too_slow());
    }

    #[test]
    fn one_that_is_quick_between_slow_moments_is_too_slow() {
        // Every sync takes 300 ms: never silent, and between two of them nothing is owed for a moment.
        let syncs = looked_at(5000, |moment| match moment % 300 {
            0 => (0, Some(300)),
            since if since < 50 => (0, Some(10)),
            since => (since, None),
        });
        assert!(syncs.is_too_slow());
    }

    #[test]
    fn one_that_has_nothing_to_do_is_not_judged() {
        // A request every ten terms, each of which it makes wait too long.
        let seldom = looked_at(45_000, |moment| match moment % 10_000 {
            300 => (0, Some(300)),
            _ => (0, None),
        });
        assert!(seldom.is_too_slow(), "five of five were late");
    }

    #[test]
    fn one_entry_is_let_in_for_two_that_are_done_and_never_none_for_all() {
        let waited_for = WaitedFor {
            conn: ConnId(1),
            backlog: 100,
            applied: Index(50),
        };
        assert_eq!(waited_for.backlog_max(Index(50)), 100);
        assert_eq!(waited_for.backlog_max(Index(70)), 90);
        assert_eq!(waited_for.backlog_max(Index(500)), 1);
    }
}

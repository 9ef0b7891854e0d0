//! A backup that is too slow: it acknowledges, and applies, but later than it should. First less is admitted for its
//! sake; if that does not help, it is done without.
//!
//! How far it is behind is measured in time, not in entries: how long ago the oldest thing was sent that it has not
//! acknowledged, or the oldest that it was told it may apply and has not. The first is what clients wait for, the second
//! what they would wait for in a takeover. Silence is another matter, with a limit of its own (`gate.rs`): what is
//! looked at here is one that always answers, and never in time.

use standin_core::entry::Index;
use standin_core::planted::Bug;
use standin_core::time::{Duration, Instant};

use crate::follower::{Follower, Pace, Phase};
use crate::gate::Gate;
use crate::primary::{Action, Primary};

/// A backup that is behind by more than this part of a term is waited for: less is admitted meanwhile.
const WAITED_FOR_TERM_PARTS: u32 = 8;
/// It is not if nothing was heard of it for this part of a term. A round goes out each tenth of one.
const HEARD_TERM_PARTS: u32 = 6;
/// One that is behind by more than this part of a term is slow. A single sync or pause may last as long.
///
/// So is one that is waited for more than [a third](WAITED_PARTS) of the time: it never falls far behind, for it holds
/// clients back.
const SLOW_TERM_PARTS: u32 = 4;
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
    /// Backups dropped for it.
    pub(crate) drops: u64,
}

/// How things stood when a backup came to be waited for.
#[derive(Clone, Copy, Debug)]
struct WaitedFor {
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
    fn look(&mut self, now: Instant, pace: Pace, done: Option<Pace>, term: Duration) {
        let slower = done.unwrap_or_default().or_slower(pace);
        if slower.slower() > term / SLOW_TERM_PARTS {
            self.was_slow = true;
            self.worst = self.worst.or_slower(slower);
        }
        self.got_on |= done.is_some();
        let since = std::mem::replace(&mut self.looked_at, now);
        // Not by how things stand now: there is more to look at when it is not waited for, or has just got on.
        let is_waited_for = pace.slower() > term / WAITED_FOR_TERM_PARTS;
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
        for follower in self.followers.values_mut() {
            follower.keeps_up = follower.has_applied_what_was_there()
                && follower.pace(now).slower() <= term / SLOW_TERM_PARTS;
        }
        let is_watched = matches!(self.gate, Gate::Paired { .. }) && self.is_serving();
        let conn = self.gate_follower().map(|gate| gate.conn);
        let gate = conn.and_then(|conn| self.followers.get_mut(&conn));
        let Some(gate) = gate.filter(|gate| is_watched && gate.phase == Phase::Streaming) else {
            self.slowness.waited_for = None;
            return;
        };
        let (pace, done) = (gate.pace(now), gate.take_done());
        let is_heard = gate.unheard(now) <= term / HEARD_TERM_PARTS;
        let waited_for = WaitedFor {
            backlog: self.tip.index.0.saturating_sub(gate.applied.0),
            applied: gate.applied,
        };
        // One that says nothing is soon heard or done without, and whoever asks nothing of it is served meanwhile.
        if pace.slower() > term / WAITED_FOR_TERM_PARTS && is_heard {
            self.slowness.waited_for.get_or_insert(waited_for);
        } else {
            self.slowness.waited_for = None;
        }
        self.slowness.look(now, pace, done, term);
        let is_changing = self.swap.is_some() || self.hand_over.is_some();
        if self.slowness.is_too_slow() && !is_changing && !self.planted.has(Bug::SlowKept) {
            self.drop_slow_backup(now);
        }
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

    /// Whether the backup, if it is waited for, has got on far enough that more may be admitted.
    pub(crate) fn is_backup_ready(&self) -> bool {
        let Some(waited_for) = &self.slowness.waited_for else {
            return true;
        };
        if self.planted.has(Bug::SlowAdmitted) {
            return true;
        }
        let applied = self
            .gate_follower()
            .map_or(Index::ZERO, |gate| gate.applied);
        let backlog = self.tip.index.0.saturating_sub(applied.0);
        backlog < waited_for.backlog_max(applied)
    }

    /// What is known of the pace of the backup, for whoever watches this primary.
    #[must_use]
    pub fn backup_pace(&self) -> BackupPace {
        let gate = self.gate_follower();
        let applied = gate.map_or(Index::ZERO, |gate| gate.applied);
        BackupPace {
            waited_for: self.slowness.waited_for.map(|waited_for| {
                let backlog = self.tip.index.0.saturating_sub(applied.0);
                (backlog, waited_for.backlog_max(applied))
            }),
            drops: self.slowness.drops,
            is_changing: self.swap.is_some() || self.hand_over.is_some() || !self.is_serving(),
            is_heard: gate.is_some_and(|gate| gate.phase == Phase::Streaming),
        }
    }

    /// Whether the backup is too far behind to apply a Handover entry in time.
    pub(crate) fn is_slow(&self, follower: &Follower, now: Instant) -> bool {
        follower.pace(now).slower() > self.term() / SLOW_TERM_PARTS
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
        let applied_in = |took: u64| Pace {
            applied: millis(took),
            ..Pace::default()
        };
        let mut slowness = Slowness::default();
        for moment in (0..length).step_by(10) {
            let (takes, done_in) = at(moment);
            let now = Instant::ZERO.plus(millis(moment));
            slowness.look(now, applied_in(takes), done_in.map(applied_in), TERM);
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
            backlog: 100,
            applied: Index(50),
        };
        assert_eq!(waited_for.backlog_max(Index(50)), 100);
        assert_eq!(waited_for.backlog_max(Index(70)), 90);
        assert_eq!(waited_for.backlog_max(Index(500)), 1);
    }
}

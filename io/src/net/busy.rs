//! Waiting without sleep, for a bounded time.
//!
//! To fall asleep and to be woken takes longer than most of what a loop under load waits for: on a virtual machine
//! several times as long as the message itself. So a loop may look again and again instead, and give way to whoever
//! else wants its processor in between. It does so only as long as that mostly pays: a loop with little to do sleeps.
//!
//! Whoever gives way is not woken when something comes: it waits until the others have had enough, which are milliseconds
//! with one that never rests. Where that happens again and again it is better to sleep, since whoever is woken soon has a
//! processor.

use standin_core::time::{Duration, Instant};

/// How long a replica under load looks for something to do, again and again, before it sleeps. What it waits for then
/// is mostly a message that is under way on the same network, and to be woken for it takes as long. In microseconds.
pub const BUSY_POLL_MICROS: u64 = 200;
/// The longest such time, in microseconds.
pub const BUSY_POLL_MICROS_MAX: u64 = 10_000;

/// Waits that were short, less those that were long, are counted up to here; half of it turns it on.
const BALANCE_MAX: u8 = 32;
/// A long wait counts as so many short ones: to look in vain costs more than it saves otherwise. So what comes at long
/// intervals, each time with an answer soon after, as a heartbeat does, keeps nobody awake.
const LONG_WAIT: u8 = 4;
/// A sleep takes so much longer than what is waited for, at most, as the end of it is what is known.
const WAKE_UP: Duration = Duration::from_micros(50);

/// To be without a processor for so long, after giving way, is to be kept from it: most that give up theirs by themselves
/// do so sooner.
const CROWDED: Duration = Duration::from_millis(1);
/// Whoever is kept so often within [`CROWDED_WITHIN`] rests. Beside others that rest now and then it happens about twice a
/// second, and to rest would cost more than it saves; beside one that never does it is 20 to 60 times.
const CROWDED_TIMES: u32 = 4;
/// See there.
const CROWDED_WITHIN: Duration = Duration::from_millis(100);
/// For how long nobody looks again and again then, at least.
const REST_MIN: Duration = Duration::from_millis(100);
/// The same, at most: it doubles each time that it happens again as soon as that is over.
const REST_MAX: Duration = Duration::from_secs(10);

/// What a wait came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Something came while it was looked for.
    Awake,
    /// Something came while the thread slept.
    Asleep,
    /// Nothing came in time.
    Nothing,
}

/// Whether to look again and again, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct BusyPoll {
    most: Duration,
    balance: u8,
    /// How often it was kept from its processor since then.
    crowded: u32,
    crowded_since: Instant,
    /// Sleeps until then, as it was kept from its processor too often.
    rests_until: Instant,
    /// How long that rest is.
    rest: Duration,
}

impl BusyPoll {
    /// Looks for so long at most before each sleep; zero: never.
    pub(super) fn new(most: Duration) -> Self {
        Self {
            most,
            balance: 0,
            crowded: 0,
            crowded_since: Instant::ZERO,
            rests_until: Instant::ZERO,
            rest: Duration::ZERO,
        }
    }

    /// For how long to look, from `now` on, before a sleep that ends after `timeout` at the latest; zero: not at all.
    pub(super) fn window(&self, now: Instant, timeout: Option<Duration>) -> Duration {
        match self.balance * 2 >= BALANCE_MAX && now >= self.rests_until {
            true => timeout.map_or(self.most, |timeout| timeout.min(self.most)),
            false => Duration::ZERO,
        }
    }

    /// It looked, gave way, and had its processor back after so long, all in all. Says whether it was kept from it.
    pub(super) fn gave_way(&mut self, now: Instant, away: Duration) -> bool {
        if away < CROWDED {
            return false;
        }
        if now > self.crowded_since.plus(CROWDED_WITHIN) {
            (self.crowded, self.crowded_since) = (0, now);
        }
        self.crowded += 1;
        if self.crowded >= CROWDED_TIMES {
            let is_again = now <= self.rests_until.plus(self.rest);
            self.rest = match is_again {
                true => (self.rest * 2).clamp(REST_MIN, REST_MAX),
                false => REST_MIN,
            };
            self.rests_until = now.plus(self.rest);
            self.crowded = 0;
        }
        true
    }

    /// A wait has ended after so long.
    pub(super) fn waited(&mut self, time: Duration, found: Found) {
        if self.most.is_zero() {
            return;
        }
        let wake_up = match found {
            Found::Asleep => WAKE_UP,
            Found::Awake | Found::Nothing => Duration::ZERO,
        };
        match (found, time <= self.most + wake_up) {
            // A deadline ended it: that says nothing.
            (Found::Nothing, true) => {}
            (_, true) => self.balance = (self.balance + 1).min(BALANCE_MAX),
            (_, false) => self.balance = self.balance.saturating_sub(LONG_WAIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(100);
    const SHORT: Duration = Duration::from_micros(10);
    const LONG: Duration = Duration::from_millis(1);

    fn after(waits: &[(Duration, Found)]) -> Duration {
        let mut busy = BusyPoll::new(MOST);
        waits
            .iter()
            .for_each(|(time, found)| busy.waited(*time, *found));
        busy.window(Instant::ZERO, None)
    }

    #[test]
    fn only_a_loop_that_mostly_waits_for_a_short_time_looks_again_and_again() {
        assert_eq!(after(&[]), Duration::ZERO);
        assert_eq!(after(&[(LONG, Found::Asleep); 100]), Duration::ZERO);
        assert_eq!(after(&[(SHORT, Found::Asleep); 100]), MOST);
        let beats = [(SHORT, Found::Awake), (LONG, Found::Asleep)].repeat(100);
        assert_eq!(after(&beats), Duration::ZERO);
        let busy_then_beats = [[(SHORT, Found::Awake); 200].to_vec(), beats].concat();
        assert_eq!(after(&busy_then_beats), Duration::ZERO, "heartbeats alone");
        let busy_then_idle = |long| {
            let mut waits = vec![(SHORT, Found::Awake); 100];
            waits.extend(vec![(LONG, Found::Asleep); long]);
            after(&waits)
        };
        assert_eq!(busy_then_idle(1), MOST, "one pause is no reason to sleep");
        assert_eq!(busy_then_idle(usize::from(BALANCE_MAX)), Duration::ZERO);
    }

    #[test]
    fn whoever_is_kept_from_its_processor_again_and_again_sleeps() {
        let mut busy = BusyPoll::new(MOST);
        (0..100).for_each(|_| busy.waited(SHORT, Found::Awake));
        let at = |millis| Instant::ZERO.plus(Duration::from_millis(millis));
        let looks = |busy: &BusyPoll, millis| !busy.window(at(millis), None).is_zero();
        let kept = |busy: &mut BusyPoll, millis| {
            (0..CROWDED_TIMES).for_each(|_| assert!(busy.gave_way(at(millis), CROWDED)));
        };
        assert!(!busy.gave_way(at(1000), SHORT) && looks(&busy, 1000));
        // Now and then is no reason.
        for now in (1000..2000).step_by(40) {
            assert!(busy.gave_way(at(now), CROWDED) && looks(&busy, now));
        }
        kept(&mut busy, 3000);
        assert!(!looks(&busy, 3099) && looks(&busy, 3100));
        // As soon as it looks again: twice as long, and so on to the longest.
        kept(&mut busy, 3110);
        assert!(!looks(&busy, 3309) && looks(&busy, 3310));
        let mut now = 3310;
        for _ in 0..10 {
            kept(&mut busy, now);
            assert!(!looks(&busy, now));
            while !looks(&busy, now) {
                now += 100;
            }
        }
        kept(&mut busy, now);
        let end = now + 10_000;
        assert!(!looks(&busy, end - 1) && looks(&busy, end));
        // Not for as long as it rested: that is forgotten.
        kept(&mut busy, end + 10_001);
        assert!(!looks(&busy, end + 10_100) && looks(&busy, end + 10_101));
    }

    #[test]
    fn what_came_in_time_but_for_the_sleep_counts_as_short() {
        assert_eq!(after(&[(MOST + WAKE_UP, Found::Asleep); 100]), MOST);
        assert_eq!(
            after(&[(MOST + WAKE_UP, Found::Awake); 100]),
            Duration::ZERO
        );
        assert_eq!(
            after(&[(SHORT, Found::Nothing); 100]),
            Duration::ZERO,
            "nothing came"
        );
    }

    #[test]
    fn a_deadline_is_not_looked_past_and_zero_turns_it_off() {
        let mut busy = BusyPoll::new(MOST);
        (0..100).for_each(|_| busy.waited(SHORT, Found::Awake));
        assert_eq!(busy.window(Instant::ZERO, Some(SHORT)), SHORT);
        assert_eq!(busy.window(Instant::ZERO, Some(LONG)), MOST);
        let mut off = BusyPoll::new(Duration::ZERO);
        (0..100).for_each(|_| off.waited(Duration::ZERO, Found::Asleep));
        assert_eq!(off.window(Instant::ZERO, None), Duration::ZERO);
    }
}

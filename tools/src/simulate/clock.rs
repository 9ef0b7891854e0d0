//! The clocks of a simulated machine: they run at a rate of their own, step, and stand still.

use standin_core::time::{Duration, Instant, Now, WallTime, nanos};

/// Parts in which a clock's rate is counted: this many are the rate of true time.
pub(crate) const RATE_TRUE: u64 = 1_000_000;
/// True wall time when a run begins, in nanoseconds since 1970.
const WALL_START: u64 = 1_800_000_000_000_000_000;

/// A machine's boot clock and wall clock as functions of true time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Since this moment of true time the boot clock has run evenly from `local`.
    since: Instant,
    local: u64,
    /// Nanoseconds of the boot clock in a million of true time; 0 while it stands still.
    rate: u64,
    /// What the wall clock is ahead of true time (or behind), in nanoseconds.
    wall_ahead: i64,
}

impl Clock {
    /// A clock that shows `local` at true time `now`.
    pub(crate) fn new(now: Instant, local: u64, rate: u64, wall_ahead: i64) -> Self {
        Self {
            since: now,
            local,
            rate,
            wall_ahead,
        }
    }

    /// The boot clock at true time `now`.
    pub(crate) fn boot(&self, now: Instant) -> Instant {
        let passed = u128::from(nanos(now.since(self.since)));
        let local = passed * u128::from(self.rate) / u128::from(RATE_TRUE);
        let local = u64::try_from(local).unwrap_or(u64::MAX);
        Instant::from_nanos(self.local.saturating_add(local))
    }

    /// Both clocks at true time `now`.
    pub(crate) fn read(&self, now: Instant) -> Now {
        let wall = WALL_START + now.as_nanos();
        Now {
            boot: self.boot(now),
            wall: WallTime(wall.saturating_add_signed(self.wall_ahead)),
        }
    }

    /// The first moment of true time at which the boot clock shows `boot`, not before `now`.
    pub(crate) fn when(&self, boot: Instant, now: Instant) -> Instant {
        let ahead = u128::from(boot.as_nanos().saturating_sub(self.local));
        if self.rate == 0 {
            return now.plus(Duration::from_secs(3600));
        }
        let passed = (ahead * u128::from(RATE_TRUE)).div_ceil(u128::from(self.rate));
        let passed = Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX));
        self.since.plus(passed).max(now)
    }

    /// From `now` on the boot clock runs at another rate.
    pub(crate) fn set_rate(&mut self, now: Instant, rate: u64) {
        self.local = self.boot(now).as_nanos();
        self.since = now;
        self.rate = rate;
    }

    /// The rate it runs at.
    pub(crate) fn rate(&self) -> u64 {
        self.rate
    }

    /// The wall clock steps.
    pub(crate) fn step_wall(&mut self, by: i64) {
        self.wall_ahead = self.wall_ahead.saturating_add(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_found_at_the_first_moment_that_shows_it() {
        let at = Instant::from_nanos;
        for rate in [RATE_TRUE, 950_000, 1_050_000, 2_000_000, 333_333] {
            let mut clock = Clock::new(at(1000), 5_000, rate, 0);
            clock.set_rate(at(500_000), rate);
            for boot in [1_500_000, 2_000_001, 123_456_789] {
                let when = clock.when(at(boot), at(1000));
                assert!(clock.boot(when) >= at(boot), "rate {rate}, {boot}");
                let before = at(when.as_nanos() - 1);
                assert!(clock.boot(before) < at(boot), "rate {rate}, {boot}");
            }
        }
    }
}

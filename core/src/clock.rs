//! Logged time: the wall clock as the machine sees it (`protocol.md` section 10).

use crate::time::{Duration, Now, WallTime, nanos};

/// How far the first time of a view may lie beyond the view service's wall clock: one bad clock must
/// not poison logged time, which never runs backwards.
pub const JUMP_MAX: Duration = Duration::from_secs(60);

/// Follows the wall clock by slewing on the boot clock: at most 10 % faster or slower, never back.
#[derive(Clone, Copy, Debug)]
pub struct LoggedClock {
    estimate: WallTime,
    at: Now,
}

impl LoggedClock {
    /// Starts at the wall clock, though not beyond `ceiling`, and not before `floor`, the time of
    /// the log's last entry.
    #[must_use]
    pub fn new(now: Now, floor: WallTime, ceiling: Option<WallTime>) -> Self {
        let start = ceiling.map_or(now.wall, |ceiling| now.wall.min(ceiling));
        Self {
            estimate: start.max(floor),
            at: now,
        }
    }

    /// The time to write into the log now.
    pub fn read(&mut self, now: Now) -> WallTime {
        let elapsed = nanos(now.boot.since(self.at.boot));
        let steady = self.estimate.0.saturating_add(elapsed);
        let slack = elapsed / 10;
        let estimate = now
            .wall
            .0
            .clamp(steady.saturating_sub(slack), steady.saturating_add(slack));
        self.estimate = self.estimate.max(WallTime(estimate));
        self.at = now;
        self.estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    const SECOND: u64 = 1_000_000_000;

    fn now(boot: u64, wall: u64) -> Now {
        Now {
            boot: Instant::from_nanos(boot * SECOND),
            wall: WallTime(wall * SECOND),
        }
    }

    #[test]
    fn a_stepping_wall_clock_is_followed_by_slewing() {
        let mut clock = LoggedClock::new(now(0, 1000), WallTime(0), None);
        assert_eq!(clock.read(now(10, 1010)), WallTime(1010 * SECOND));
        // An hour ahead: at most a tenth faster.
        assert_eq!(clock.read(now(20, 4620)), WallTime(1021 * SECOND));
        // An hour back: at most a tenth slower, and never backwards.
        assert_eq!(clock.read(now(30, 0)), WallTime(1030 * SECOND));
        assert_eq!(clock.read(now(30, 0)), WallTime(1030 * SECOND));
    }

    #[test]
    fn a_new_view_neither_falls_behind_the_log_nor_jumps_beyond_the_ceiling() {
        let floor = WallTime(2000 * SECOND);
        let mut behind = LoggedClock::new(now(0, 1000), floor, None);
        assert_eq!(behind.read(now(0, 1000)), floor);
        let ceiling = WallTime(1060 * SECOND);
        let mut ahead = LoggedClock::new(now(0, 9999), WallTime(0), Some(ceiling));
        assert_eq!(ahead.read(now(0, 9999)), ceiling);
    }
}

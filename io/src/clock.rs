//! The machine's clocks, read once per wake-up.

use nix::time::{ClockId, clock_gettime};
use standin_core::time::{Duration, Instant, Now, WallTime, nanos};

/// Reads both clocks: `CLOCK_BOOTTIME`, which also counts a suspend, and `CLOCK_REALTIME`.
#[must_use]
pub fn read() -> Now {
    Now {
        boot: boot(),
        wall: WallTime(read_nanos(ClockId::CLOCK_REALTIME)),
    }
}

/// Reads the boot clock alone.
#[must_use]
pub fn boot() -> Instant {
    Instant::from_nanos(read_nanos(ClockId::CLOCK_BOOTTIME))
}

/// Reads a clock that costs little and moves in steps of some milliseconds, to see how long work takes.
#[must_use]
pub fn coarse() -> Instant {
    Instant::from_nanos(read_nanos(ClockId::CLOCK_MONOTONIC_COARSE))
}

/// A wall clock set to before 1970 reads as 1970.
fn read_nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("Linux has both clocks");
    let Ok(seconds) = u64::try_from(time.tv_sec()) else {
        return 0;
    };
    let subsec_nanos = u32::try_from(time.tv_nsec()).expect("less than a second");
    nanos(Duration::new(seconds, subsec_nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_never_runs_back_and_the_wall_clock_is_in_this_century() {
        let mut last = read();
        for _ in 0..1000 {
            let now = read();
            assert!(now.boot >= last.boot);
            last = now;
        }
        let year_2020 = WallTime(1_577_836_800_000_000_000);
        assert!(last.wall > year_2020);
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let ours = read().boot.since(Instant::ZERO).as_secs_f64();
        assert!((ours - seconds).abs() < 5.0, "{ours} against {seconds}");
    }
}

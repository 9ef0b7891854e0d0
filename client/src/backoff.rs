//! How long to wait before asking again: longer each time, with full jitter.

use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant, nanos};

/// The second attempt comes within this, and each further one within twice the time before.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(20);
/// No attempt is put off for longer than this.
pub const BACKOFF_MAX: Duration = Duration::from_millis(100);
/// No attempt but the first comes sooner than this: full jitter alone may draw zero again and again.
pub const BACKOFF_MIN: Duration = Duration::from_millis(1);

/// Attempts without success. Many clients that lost one primary at one moment must not come back at
/// one moment, so each draws its own waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The moment of the next attempt: at once after success, later with each failure.
    pub(crate) fn next(&mut self, now: Instant, random: &mut RandomStream) -> Instant {
        let doublings = self.failures.saturating_sub(1).min(8);
        let is_first = self.failures == 0;
        self.failures = self.failures.saturating_add(1);
        if is_first {
            return now;
        }
        let cap = (BACKOFF_FIRST * (1 << doublings)).min(BACKOFF_MAX);
        let jitter = Duration::from_nanos(random.next_u64() % nanos(cap));
        now.plus(jitter.max(BACKOFF_MIN))
    }

    /// Like [`Backoff::next`], though never at once.
    pub(crate) fn next_later(&mut self, now: Instant, random: &mut RandomStream) -> Instant {
        self.failures = self.failures.max(1);
        self.next(now, random)
    }

    /// Something went well.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let mut random = RandomStream::new(1, 0);
        let now = Instant::from_nanos(5);
        let mut backoff = Backoff::default();
        assert_eq!(
            backoff.next(now, &mut random),
            now,
            "the first comes at once"
        );
        let waits: Vec<Duration> = (0..1000)
            .map(|_| backoff.next(now, &mut random).since(now))
            .collect();
        assert!(waits[0] < BACKOFF_FIRST);
        assert!(
            waits
                .iter()
                .all(|wait| (BACKOFF_MIN..BACKOFF_MAX).contains(wait))
        );
        assert!(waits.iter().any(|wait| *wait > BACKOFF_MAX / 2));
        assert!(waits.iter().any(|wait| *wait < BACKOFF_FIRST));
        backoff.succeeded();
        assert_eq!(backoff.next(now, &mut random), now);
    }
}

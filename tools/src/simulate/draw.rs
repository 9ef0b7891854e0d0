//! Drawing from a seed.

use standin_core::random::RandomStream;
use standin_core::time::{Duration, nanos};

/// What else is drawn from a [`RandomStream`].
pub(crate) trait Draw {
    /// True with a chance of `per_mille` in 1000.
    fn chance(&mut self, per_mille: u64) -> bool;

    /// A duration of at least `least` and less than `most` (or `least`).
    fn between(&mut self, least: Duration, most: Duration) -> Duration;

    /// One of some things.
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T;
}

impl Draw for RandomStream {
    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = nanos(most.saturating_sub(least)).max(1);
        least + Duration::from_nanos(self.below(span))
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = self.below(from.len() as u64);
        &from[usize::try_from(place).expect("a place in memory")]
    }
}

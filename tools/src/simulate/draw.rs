//! Drawing from a seed.

use standin_core::random::RandomStream;
use standin_core::time::{Duration, nanos};

/// What is drawn from a [`RandomStream`].
pub(crate) trait Draw {
    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64;

    /// True with a chance of `per_mille` in 1000.
    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// A duration of at least `least` and less than `most` (or `least`).
    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = nanos(most.saturating_sub(least)).max(1);
        least + Duration::from_nanos(self.below(span))
    }

    /// One of some things.
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = self.below(from.len() as u64);
        &from[usize::try_from(place).expect("a place in memory")]
    }
}

impl Draw for RandomStream {
    fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }
}

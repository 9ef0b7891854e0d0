//! How much is applied before the loop comes round again: what takes a small part of a lease term, and not so many
//! entries whatever they take. A machine whose entries take long would keep its replica from acknowledging, and from
//! being heard at all.

use standin_core::time::{Duration, Instant};

/// Entries applied in one wake-up as long as nothing is known of how long they take.
const FIRST_PIECE: u64 = 8;
/// A piece of which this part or more is applied is measured: the loop comes round at once. What is not measured is so
/// little, compared to what was, that it may have become slow unnoticed.
const MEASURED_PARTS: u64 = 2;
/// A piece of which this part or less is needed becomes smaller by and by, so that one that was found good for a quick
/// machine is not used when it has become slow.
const UNUSED_PARTS: u64 = 4;
const SHRINK_PARTS: u64 = 16;
/// What is applied in one wake-up should take no more than this part of a term.
const TERM_PARTS: u32 = 50;

/// How long a replica may be busy with one thing before the loop comes round.
pub(crate) fn slice_of(term: Duration) -> Duration {
    term / TERM_PARTS
}

/// How much is applied in one wake-up.
#[derive(Clone, Debug)]
pub(crate) struct ApplyPace {
    /// Entries applied in one wake-up, at most. Invariant: 1 or more.
    piece: u64,
    /// What is left of them.
    left: u64,
    /// Entries applied since `since`.
    done: u64,
    since: Instant,
    /// The loop comes round at once, so that the time since then is what they took.
    is_measuring: bool,
    /// A deadline has come since `since`.
    is_still: bool,
}

impl ApplyPace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            piece: FIRST_PIECE,
            left: FIRST_PIECE,
            done: 0,
            since: now,
            is_measuring: false,
            is_still: false,
        }
    }

    /// Something happens. All that does so in one wake-up does it at one time. How long the last piece took, if that
    /// was measured.
    pub(crate) fn happens(
        &mut self,
        now: Instant,
        term: Duration,
        piece_max: u64,
    ) -> Option<Duration> {
        let mut measured = None;
        if now > self.since {
            if self.is_measuring {
                let took = now.since(self.since);
                self.adapt(took, slice_of(term));
                measured = Some(took);
            } else if (1..self.piece / UNUSED_PARTS).contains(&self.done) {
                let shrunk = self.piece - self.piece / SHRINK_PARTS;
                self.piece = shrunk.max(FIRST_PIECE);
            }
            (self.done, self.since) = (0, now);
            (self.is_measuring, self.is_still) = (false, false);
            self.refill(piece_max);
        }
        measured
    }

    fn refill(&mut self, piece_max: u64) {
        self.piece = self.piece.min(piece_max);
        self.left = self.piece;
    }

    /// A deadline has come. The second one at one time is of another wake-up: the clock stands still, so nothing can be
    /// measured, but more may be applied.
    pub(crate) fn deadline_came(&mut self, piece_max: u64) {
        if std::mem::replace(&mut self.is_still, true) {
            self.is_measuring = false;
            self.refill(piece_max);
        }
    }

    fn adapt(&mut self, took: Duration, target: Duration) {
        let fitting = u128::from(self.done) * target.as_nanos() / took.as_nanos().max(1);
        let fitting = u64::try_from(fitting).unwrap_or(u64::MAX);
        self.piece = fitting.clamp(1, self.piece.saturating_mul(2));
    }

    /// The time of this wake-up.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// It has taken as long as it may: no more in this wake-up.
    pub(crate) fn spend(&mut self) {
        self.left = 0;
    }

    /// Entries that may still be applied.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// So many were applied. Whether there are `more` tells whether the loop comes round at once.
    pub(crate) fn applied(&mut self, entries: u64, more: bool) {
        self.left = self.left.saturating_sub(entries);
        self.done += entries;
        let is_much = self.done >= (self.piece / MEASURED_PARTS).max(1);
        self.is_measuring = self.done > 0 && (more || is_much);
    }

    /// Whether the loop should come round at once though nothing is left to do.
    pub(crate) fn is_measuring(&self) -> bool {
        self.is_measuring
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(1);
    const MAX: u64 = 8192;

    /// Applies a backlog without end, at so many microseconds for each entry: what is applied in each of so many
    /// wake-ups.
    fn pieces(pace: &mut ApplyPace, now: &mut Instant, micros: u64, wake_ups: usize) -> Vec<u64> {
        let pieces = (0..wake_ups).map(|_| {
            pace.happens(*now, TERM, MAX);
            let piece = pace.left();
            pace.applied(piece, true);
            *now = now.plus(Duration::from_micros(piece * micros));
            piece
        });
        pieces.collect()
    }

    #[test]
    fn a_slow_machine_is_given_as_many_entries_as_it_applies_in_a_fiftieth_of_a_term() {
        let mut now = Instant::ZERO;
        let mut pace = ApplyPace::new(now);
        assert_eq!(pieces(&mut pace, &mut now, 1000, 5), [8, 16, 20, 20, 20]);
        assert_eq!(pieces(&mut pace, &mut now, 200_000, 3)[1..], [1, 1]);
        assert_eq!(
            pieces(&mut pace, &mut now, 1, 20).last(),
            Some(&MAX),
            "it has become quick again"
        );
    }

    #[test]
    fn many_entries_are_measured_also_if_they_were_all() {
        let mut now = Instant::ZERO;
        let mut pace = ApplyPace::new(now);
        let _ = pieces(&mut pace, &mut now, 1, 20);
        pace.happens(now, TERM, MAX);
        pace.applied(5000, false);
        assert!(pace.is_measuring());
        pace.happens(now.plus(TERM * 5), TERM, MAX);
        assert_eq!(pace.left(), 20);
        pace.applied(9, false);
        assert!(
            !pace.is_measuring(),
            "a few tell nothing, and are not waited for"
        );
        pace.happens(now.plus(TERM * 100), TERM, MAX);
        assert_eq!(pace.left(), 20, "the loop had nothing to do meanwhile");
    }

    #[test]
    fn one_that_was_quick_is_not_given_much_at_once_when_little_was_needed_for_long() {
        let mut now = Instant::ZERO;
        let mut pace = ApplyPace::new(now);
        let _ = pieces(&mut pace, &mut now, 1, 20);
        for _ in 0..200 {
            now = now.plus(TERM);
            pace.happens(now, TERM, MAX);
            pace.applied(10, false);
        }
        assert!((20..=50).contains(&pace.left()), "{}", pace.left());
    }

    #[test]
    fn a_clock_that_stands_still_measures_nothing_and_ends() {
        let mut pace = ApplyPace::new(Instant::ZERO);
        pace.applied(8, false);
        pace.deadline_came(MAX);
        assert!(
            pace.is_measuring(),
            "of the wake-up in which they were applied"
        );
        assert_eq!(pace.left(), 0);
        pace.deadline_came(MAX);
        assert!(!pace.is_measuring());
        assert_eq!(pace.left(), FIRST_PIECE, "it gets on all the same");
    }
}

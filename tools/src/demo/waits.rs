//! How long a client waited when the primary died.

use standin_core::time::{Duration, Instant};
use standin_core::view::ViewId;

/// The last answer of one client, and its longest wait for a new view.
///
/// A pull is not timed by the clock of the one who pulls: answers that the dead primary has sent may
/// still be on their way then. What counts is the time from a client's last answer of one view to its
/// first of a later one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waits {
    /// When the last answer came, and the view it was of.
    last: Option<(Instant, ViewId)>,
    /// The longest time between two answers of different views since [`Waits::forget`].
    longest: Duration,
}

impl Waits {
    /// An answer of `view` came.
    pub(super) fn answered(&mut self, now: Instant, view: ViewId) {
        if let Some((before, view_before)) = self.last
            && view > view_before
        {
            self.longest = self.longest.max(now.since(before));
        }
        self.last = Some((now, view));
    }

    /// Starts over, before the next pull.
    pub(super) fn forget(&mut self) {
        self.longest = Duration::ZERO;
    }

    /// Whether an answer of `view` or of a later one has come.
    pub(super) fn has_seen(&self, view: ViewId) -> bool {
        self.last.is_some_and(|(_, last)| last >= view)
    }

    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use standin_core::view::{DataEpoch, ViewNumber};

    fn at(millis: u64) -> Instant {
        Instant::ZERO.plus(Duration::from_millis(millis))
    }

    fn view(number: u64) -> ViewId {
        ViewId {
            data_epoch: DataEpoch(0),
            view: ViewNumber(number),
        }
    }

    #[test]
    fn the_wait_is_from_the_last_answer_of_the_old_view_to_the_first_of_a_new_one() {
        let mut waits = Waits::default();
        waits.answered(at(100), view(3));
        waits.answered(at(110), view(3));
        waits.forget();
        // The primary is killed at 115; an answer of its is still under way.
        waits.answered(at(117), view(3));
        assert!(!waits.has_seen(view(4)));
        waits.answered(at(1_050), view(4));
        assert!(waits.has_seen(view(4)));
        // The spare joins: a view of its own, and a short wait that does not count.
        waits.answered(at(1_080), view(5));
        assert_eq!(waits.longest(), Duration::from_millis(933));
    }

    #[test]
    fn a_wait_within_a_view_or_before_the_first_answer_is_none() {
        let mut waits = Waits::default();
        assert!(!waits.has_seen(view(0)));
        waits.answered(at(5_000), view(1));
        waits.answered(at(9_000), view(1));
        assert_eq!(waits.longest(), Duration::ZERO);
        waits.answered(at(9_100), view(2));
        waits.forget();
        assert_eq!(waits.longest(), Duration::ZERO);
    }
}

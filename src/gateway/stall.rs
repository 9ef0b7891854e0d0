//! Notices that clients wait for long, so that somebody is told why.

use standin_core::time::{Duration, Instant};

/// How long nothing is answered before that is told: longer than a takeover should take.
const TOLD_AFTER: Duration = Duration::from_secs(5);

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Clients have been waiting for so long, and go on waiting.
    Begun(Duration),
    /// It is over, after so long.
    Over(Duration),
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// When something was answered last while others waited, or the first began to wait.
    since: Option<Instant>,
    is_told: bool,
}

impl Stall {
    /// Looks whether clients wait, and whether any was answered since the last look.
    pub(super) fn look(&mut self, now: Instant, is_waiting: bool, is_moving: bool) -> Option<Word> {
        if is_moving || !is_waiting {
            let since = self.since.take();
            self.since = is_waiting.then_some(now);
            let was_told = std::mem::take(&mut self.is_told);
            return since
                .filter(|_| was_told)
                .map(|since| Word::Over(now.since(since)));
        }
        let waited = now.since(*self.since.get_or_insert(now));
        let is_long = waited >= TOLD_AFTER && !self.is_told;
        self.is_told |= is_long;
        is_long.then_some(Word::Begun(waited))
    }

    /// When there is something to tell, if nothing is answered before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let since = self.since.filter(|_| !self.is_told);
        since.map(|since| since.plus(TOLD_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.plus(Duration::from_secs(100 + seconds))
    }

    #[test]
    fn a_long_wait_is_told_once_and_so_is_its_end() {
        let mut stall = Stall::default();
        assert_eq!(stall.look(at(0), false, false), None);
        assert_eq!(stall.deadline(), None, "nobody waits");
        assert_eq!(stall.look(at(1), true, false), None);
        assert_eq!(stall.look(at(4), true, true), None, "one was answered");
        assert_eq!(stall.deadline(), Some(at(9)));
        assert_eq!(stall.look(at(8), true, false), None);
        let begun = Word::Begun(TOLD_AFTER);
        assert_eq!(stall.look(at(9), true, false), Some(begun));
        assert_eq!(stall.deadline(), None);
        assert_eq!(stall.look(at(20), true, false), None, "it is told already");
        let over = Word::Over(Duration::from_secs(26));
        assert_eq!(stall.look(at(30), true, true), Some(over));
        assert_eq!(stall.look(at(31), false, true), None);
    }
}

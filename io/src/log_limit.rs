//! Keeps a flood of like log lines short.

use standin_core::time::{Duration, Instant};

/// How long a window of [`LogLimit`] lasts.
pub const LOG_LIMIT_WINDOW: Duration = Duration::from_secs(1);

/// Lets a number of lines through per [`LOG_LIMIT_WINDOW`], and counts those it holds back so that
/// one line can stand for them.
#[derive(Debug)]
pub struct LogLimit {
    lines_max: u32,
    /// When the present window ends; `None` before the first line.
    window_end: Option<Instant>,
    /// Lines let through in the present window. Invariant: `lines <= lines_max`.
    lines: u32,
    /// Lines held back of which nothing has been said yet.
    held_back: u64,
}

impl LogLimit {
    /// Lets at most `lines_max` lines through per window.
    #[must_use]
    pub fn new(lines_max: u32) -> Self {
        Self {
            lines_max,
            window_end: None,
            lines: 0,
            held_back: 0,
        }
    }

    /// Whether a line may be written now; counts it if not.
    pub fn admit(&mut self, now: Instant) -> bool {
        if self.window_end.is_none_or(|end| now >= end) {
            self.window_end = Some(now.plus(LOG_LIMIT_WINDOW));
            self.lines = 0;
        }
        if self.lines == self.lines_max {
            self.held_back += 1;
            return false;
        }
        self.lines += 1;
        true
    }

    /// Once the window is over: how many lines were held back, if any. They are forgotten then.
    pub fn take_held_back(&mut self, now: Instant) -> Option<u64> {
        if now < self.deadline()? {
            return None;
        }
        Some(std::mem::take(&mut self.held_back))
    }

    /// When [`Self::take_held_back`] is worth asking.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.window_end.filter(|_| self.held_back > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_and_summed_up_after_the_window() {
        let mut limit = LogLimit::new(3);
        let start = Instant::from_nanos(5);
        let admitted = (0..10).filter(|_| limit.admit(start)).count();
        assert_eq!(admitted, 3);
        let end = start.plus(LOG_LIMIT_WINDOW);
        assert_eq!(limit.deadline(), Some(end));
        assert_eq!(limit.take_held_back(start), None);
        assert_eq!(limit.take_held_back(end), Some(7));
        assert_eq!(limit.take_held_back(end), None);
        assert_eq!(limit.deadline(), None);
        assert!(limit.admit(end), "a new window");
    }

    #[test]
    fn what_was_held_back_is_not_forgotten_when_lines_go_on() {
        let mut limit = LogLimit::new(1);
        let start = Instant::ZERO;
        assert!(limit.admit(start) && !limit.admit(start));
        let next = start.plus(LOG_LIMIT_WINDOW);
        assert!(limit.admit(next) && !limit.admit(next));
        assert_eq!(limit.take_held_back(next.plus(LOG_LIMIT_WINDOW)), Some(2));
    }
}

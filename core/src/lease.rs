//! The holder's side of the lease (`protocol.md` section 3).
//!
//! The holder counts its term from a clock read *before* it sent the renewal, the grantor from when
//! it processed it, and the holder's term is shorter. So as long as the rates of the two clocks
//! differ by less than the ratio of the terms, the holder stops first.

use std::collections::VecDeque;

use crate::time::{Duration, Instant};
use crate::view::ViewId;

/// Most renewals without an answer that are remembered.
const RENEWALS_MAX: usize = 64;

/// The holder's term for a grantor's term.
#[must_use]
pub fn holder_term(grantor_term: Duration) -> Duration {
    grantor_term * 9 / 10
}

/// What a replica knows of the lease it holds.
#[derive(Clone, Debug)]
pub struct LeaseHolder {
    /// Renewals on their way: number, view, and the clock before sending.
    sent: VecDeque<(u64, ViewId, Instant)>,
    /// The view for which the lease is held, and until when.
    held: Option<(ViewId, Instant)>,
}

impl LeaseHolder {
    /// Holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sent: VecDeque::new(),
            held: None,
        }
    }

    /// A renewal for `view` is about to be sent; `now` was read before.
    pub fn sent(&mut self, number: u64, view: ViewId, now: Instant) {
        if self.sent.len() == RENEWALS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((number, view, now));
    }

    /// Counts what is on its way from now, the moment of the reply.
    #[cfg(feature = "planted-bugs")]
    pub fn forget_sending(&mut self, now: Instant) {
        for (_, _, at) in &mut self.sent {
            *at = now;
        }
    }

    /// Renewal `number` was granted for the grantor's `term`.
    pub fn granted(&mut self, number: u64, term: Duration) {
        while let Some((sent, view, at)) = self.sent.pop_front() {
            if sent < number {
                continue;
            }
            if sent > number {
                self.sent.push_front((sent, view, at));
                return;
            }
            let until = at.plus(holder_term(term));
            self.held = match self.held {
                Some((held, end)) if held == view => Some((view, end.max(until))),
                // Asked for before this primary's own Join or Drop changed the view.
                Some((held, end)) if held > view => Some((held, end)),
                _ => Some((view, until)),
            };
            return;
        }
    }

    /// Whether the lease for `view` is held at `now`.
    #[must_use]
    pub fn is_held(&self, view: ViewId, now: Instant) -> bool {
        self.held
            .is_some_and(|(held, until)| held == view && now < until)
    }

    /// Until when the lease for `view` is held, also if that is past.
    #[must_use]
    pub fn until(&self, view: ViewId) -> Option<Instant> {
        self.held
            .filter(|(held, _)| *held == view)
            .map(|(_, until)| until)
    }

    /// Gives the lease back: what was granted counts no more, nor does what is on its way.
    pub fn give_back(&mut self) {
        self.sent.clear();
        self.held = None;
    }

    /// A view change that this primary brought about itself (Join, Drop): the lease goes on, since
    /// the grantor, too, carries it over.
    pub fn carry_over(&mut self, from: ViewId, to: ViewId) {
        if let Some((held, until)) = self.held
            && held == from
        {
            self.held = Some((to, until));
        }
    }
}

impl Default for LeaseHolder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{DataEpoch, ViewNumber};

    const TERM: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn view(number: u64) -> ViewId {
        ViewId {
            data_epoch: DataEpoch(0),
            view: ViewNumber(number),
        }
    }

    #[test]
    fn the_term_counts_from_before_the_renewal_was_sent() {
        let mut lease = LeaseHolder::new();
        lease.sent(1, view(3), at(0));
        lease.sent(2, view(3), at(500));
        assert!(!lease.is_held(view(3), at(1)), "not before it is granted");
        lease.granted(1, TERM);
        assert!(lease.is_held(view(3), at(899)));
        assert!(!lease.is_held(view(3), at(900)));
        assert!(!lease.is_held(view(4), at(1)), "a lease is for one view");
        lease.granted(2, TERM);
        assert!(lease.is_held(view(3), at(1399)));
    }

    #[test]
    fn a_lease_that_was_given_back_is_not_granted_by_an_answer_that_comes_late() {
        let mut lease = LeaseHolder::new();
        lease.sent(1, view(3), at(0));
        lease.sent(2, view(3), at(100));
        lease.granted(1, TERM);
        lease.give_back();
        assert_eq!(lease.until(view(3)), None);
        lease.granted(2, TERM);
        assert_eq!(lease.until(view(3)), None);
        lease.sent(3, view(4), at(200));
        lease.granted(3, TERM);
        assert!(lease.is_held(view(4), at(300)));
    }

    #[test]
    fn an_unknown_or_repeated_grant_changes_nothing() {
        let mut lease = LeaseHolder::new();
        lease.sent(5, view(1), at(0));
        lease.granted(4, TERM);
        assert!(!lease.is_held(view(1), at(1)));
        lease.granted(5, TERM);
        lease.granted(5, TERM);
        assert_eq!(lease.until(view(1)), Some(at(900)));
    }
}

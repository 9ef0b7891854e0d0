//! The lease as its grantor sees it (`protocol.md` section 3), and when silence counts for nothing.

use standin_core::time::{Duration, Instant, earliest};

/// Shortest lease term that may be configured.
pub const LEASE_TERM_MIN: Duration = Duration::from_millis(100);
/// Longest lease term that may be configured.
pub const LEASE_TERM_MAX: Duration = Duration::from_secs(60);

/// The loop comes round this often in a term, so that it notices when it was away.
const TICKS_IN_TERM: u32 = 8;
/// A loop that comes round later than this part of a term was away.
const LATE_PART_OF_TERM: u32 = 4;
/// Replicas report five times in a term. A view service that has heard none at all for this part of a
/// term is cut off itself, as far as it can tell.
const DEAF_PART_OF_TERM: u32 = 2;

/// A lease term: whole milliseconds from [`LEASE_TERM_MIN`] to [`LEASE_TERM_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseTerm {
    millis: u32,
}

/// Why a duration is no lease term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a lease of {given:?} is not possible: it lasts from {LEASE_TERM_MIN:?} to {LEASE_TERM_MAX:?}, \
     in whole milliseconds"
)]
pub struct LeaseTermError {
    given: Duration,
}

impl LeaseTerm {
    /// Checks and takes a term.
    ///
    /// # Errors
    /// [`LeaseTermError`] if it is too short, too long or not in whole milliseconds.
    pub fn new(term: Duration) -> Result<Self, LeaseTermError> {
        let error = LeaseTermError { given: term };
        let millis = u32::try_from(term.as_millis()).map_err(|_| error)?;
        let is_whole = Duration::from_millis(u64::from(millis)) == term;
        if is_whole && (LEASE_TERM_MIN..=LEASE_TERM_MAX).contains(&term) {
            Ok(Self { millis })
        } else {
            Err(error)
        }
    }

    /// Whether a term of so many milliseconds can be.
    pub(crate) fn is_possible(millis: u32) -> bool {
        Self::new(Duration::from_millis(u64::from(millis))).is_ok()
    }

    /// The term in milliseconds.
    #[must_use]
    pub fn millis(self) -> u32 {
        self.millis
    }

    /// The term.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.millis))
    }
}

/// The grantor's clocks: what it has granted, and from when on it may act on silence.
#[derive(Clone, Debug)]
pub(crate) struct Grantor {
    /// When the lease of the record's primary runs out; `None`: this process granted none to it.
    until: Option<Instant>,
    /// Before this, silence proves nothing: the grantor was itself away, and what was sent to it
    /// meanwhile, or granted by the process before it, may not be known yet.
    hold_until: Instant,
    /// Since when no replica at all has been heard, as far as that tells of them: not while the loop
    /// was away, and not before this process started.
    silent_since: Instant,
    /// When the loop is to come round next; `None` while there is no view to watch over.
    tick_due: Option<Instant>,
}

impl Grantor {
    /// A grantor that starts and may have granted terms of up to `longest` in an earlier life.
    pub(crate) fn new(now: Instant, longest: Duration) -> Self {
        Self {
            until: None,
            hold_until: now.plus(longest),
            silent_since: now,
            tick_due: None,
        }
    }

    /// To be called first at every event: notices that the loop was away.
    pub(crate) fn observe(&mut self, now: Instant, term: Duration) {
        let Some(due) = self.tick_due else { return };
        if now > due.plus(term / LATE_PART_OF_TERM) {
            // Renewals may lie in socket buffers, unread. A full term lets them all come in.
            self.hold(now, term);
            self.silent_since = now;
            self.watch(now, term);
        }
    }

    /// A replica is heard. If none was for long, it was the view service that was cut off, and the
    /// others are given a term to be heard again, as after a start: a pair may have gone on without
    /// it, and that its backup is the first to come through says nothing against its primary.
    pub(crate) fn heard(&mut self, now: Instant, term: Duration) {
        if self.is_deaf(now, term) {
            self.hold(now, term);
        }
        self.silent_since = now;
    }

    /// Whether so little is heard that nobody's silence says anything.
    fn is_deaf(&self, now: Instant, term: Duration) -> bool {
        now > self.silent_since.plus(term / DEAF_PART_OF_TERM)
    }

    /// Silence proves nothing for a term.
    fn hold(&mut self, now: Instant, term: Duration) {
        self.hold_until = self.hold_until.max(now.plus(term));
    }

    /// The loop came round; it is to do so again soon.
    pub(crate) fn watch(&mut self, now: Instant, term: Duration) {
        self.tick_due = Some(now.plus(term / TICKS_IN_TERM));
    }

    /// The record's primary has the lease for `term` from now.
    pub(crate) fn grant(&mut self, now: Instant, term: Duration) {
        let until = now.plus(term);
        self.until = Some(self.until.map_or(until, |before| before.max(until)));
    }

    /// Nothing is granted to whom the record names now.
    pub(crate) fn start_over(&mut self) {
        self.until = None;
    }

    /// What is left of the lease.
    pub(crate) fn remaining(&self, now: Instant) -> Option<Duration> {
        self.until
            .filter(|until| now < *until)
            .map(|until| until.since(now))
    }

    /// Whether silence proves nothing yet, and for how long.
    pub(crate) fn hold_remaining(&self, now: Instant) -> Option<Duration> {
        (now < self.hold_until).then(|| self.hold_until.since(now))
    }

    /// Whether nobody can hold a lease any more, as far as clocks can tell, and the silence of who
    /// held it says something.
    pub(crate) fn is_out(&self, now: Instant, term: Duration) -> bool {
        self.remaining(now).is_none()
            && self.hold_remaining(now).is_none()
            && !self.is_deaf(now, term)
    }

    /// When to look again, after `now`.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let later = |at: Option<Instant>| at.filter(|at| *at > now);
        let tick = self.tick_due?;
        earliest(
            Some(tick),
            earliest(later(self.until), later(Some(self.hold_until))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn terms_are_checked() {
        for good in [100, 1000, 60_000] {
            assert!(LeaseTerm::new(Duration::from_millis(good)).is_ok());
        }
        for bad in [0, 99, 60_001] {
            assert!(LeaseTerm::new(Duration::from_millis(bad)).is_err());
        }
        let error = LeaseTerm::new(Duration::from_micros(100_500)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a lease of 100.5ms is not possible: it lasts from 100ms to 60s, in whole milliseconds"
        );
        assert!(LeaseTerm::new(Duration::MAX).is_err());
    }

    #[test]
    fn a_late_loop_waits_a_full_term_once() {
        let mut grantor = Grantor::new(at(0), TERM);
        grantor.watch(at(0), TERM);
        grantor.observe(at(125 + 250), TERM);
        assert_eq!(grantor.hold_remaining(at(1000)), None, "just in time");
        grantor.observe(at(125 + 251), TERM);
        assert_eq!(
            grantor.hold_remaining(at(1000)),
            Some(Duration::from_millis(376))
        );
        grantor.observe(at(400), TERM);
        assert_eq!(grantor.hold_remaining(at(1376)), None, "counted once");
    }

    #[test]
    fn a_passed_deadline_is_not_named_again() {
        let mut grantor = Grantor::new(at(0), TERM);
        assert_eq!(grantor.deadline(at(0)), None);
        grantor.watch(at(0), TERM);
        grantor.grant(at(0), TERM);
        grantor.watch(at(990), TERM);
        assert_eq!(grantor.deadline(at(990)), Some(at(1000)));
        assert_eq!(grantor.deadline(at(1000)), Some(at(1115)));
    }
}

//! The dialog with the view service: reports, renewals and swaps, each with its number.

use std::collections::VecDeque;

use standin_core::lease::LeaseHolder;
use standin_core::message::Peer;
use standin_core::time::{Duration, Instant, WallTime};
use standin_core::view::{Member, Reason, ViewId, ViewRecord};

/// The term that is assumed before the record has told the real one.
const TERM_ASSUMED: Duration = Duration::from_secs(1);
/// How long after a report that somebody's word of a higher view brought about the next such leaves.
const WORDS_PAUSE: Duration = Duration::from_millis(5);

/// What a replica knows of the view service, and through it.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) is_up: bool,
    number: u64,
    /// Reports and swaps without an answer, with the time they were sent.
    unanswered: VecDeque<(u64, Instant)>,
    /// When it was last heard of.
    heard_at: Instant,
    /// Since when it has been heard without a gap of a term.
    heard_since: Instant,
    report_at: Instant,
    /// For when a report was last wanted because of somebody's word.
    hurried_at: Option<Instant>,
    /// The swap on its way: number, and whether it is an Activate, which renews the lease too.
    swap: Option<(u64, bool)>,
    pub(crate) lease: LeaseHolder,
    pub(crate) peers: Vec<Peer>,
    pub(crate) wall: WallTime,
}

impl Dialog {
    pub(crate) fn new() -> Self {
        Self {
            is_up: false,
            number: 0,
            unanswered: VecDeque::new(),
            heard_at: Instant::ZERO,
            heard_since: Instant::ZERO,
            report_at: Instant::ZERO,
            hurried_at: None,
            swap: None,
            lease: LeaseHolder::new(),
            peers: Vec::new(),
            wall: WallTime::default(),
        }
    }

    pub(crate) fn up(&mut self, now: Instant, term: Duration) {
        self.is_up = true;
        self.heard(now, term);
        self.report_at = now;
    }

    pub(crate) fn down(&mut self) {
        self.is_up = false;
        self.unanswered.clear();
        self.swap = None;
    }

    /// Wants the next report at once.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.report_at = now;
    }

    /// Wants the next report at once, for somebody's word. However often that is said, and by whom,
    /// reports stay few.
    pub(crate) fn hurry_for_a_word(&mut self, now: Instant) {
        let at = match self.hurried_at {
            Some(at) if at > now => return, // it is about to leave
            Some(at) => now.max(at.plus(WORDS_PAUSE)),
            None => now,
        };
        self.hurried_at = Some(at);
        self.report_at = self.report_at.min(at);
    }

    pub(crate) fn is_report_due(&self, now: Instant) -> bool {
        self.is_up && now >= self.report_at
    }

    /// The number of a report that leaves now, which asks to renew the lease for `renew`.
    pub(crate) fn report(&mut self, now: Instant, renew: Option<ViewId>, term: Duration) -> u64 {
        self.report_at = now.plus((term / 5).max(Duration::from_millis(10)));
        let number = self.next_number(now);
        if let Some(view) = renew {
            self.lease.sent(number, view, now);
        }
        number
    }

    /// The number of a swap that leaves now.
    pub(crate) fn swap(&mut self, now: Instant, proposed: &ViewRecord) -> u64 {
        let number = self.next_number(now);
        let is_activate = proposed.reason == Reason::Activated;
        if is_activate {
            self.lease.sent(number, proposed.id(), now);
        }
        self.swap = Some((number, is_activate));
        number
    }

    fn next_number(&mut self, now: Instant) -> u64 {
        self.number += 1;
        self.unanswered.push_back((self.number, now));
        self.number
    }

    /// An answer came; all before it were answered too, for they are answered in order.
    pub(crate) fn answered(&mut self, number: u64, now: Instant, term: Duration) {
        self.heard(now, term);
        self.unanswered.retain(|(sent, _)| *sent > number);
    }

    fn heard(&mut self, now: Instant, term: Duration) {
        if now > self.heard_at.plus(term) {
            self.heard_since = now;
        }
        self.heard_at = now;
    }

    /// How long the view service has not seen another replica, as far as that tells of that replica:
    /// while it was not heard here either, it may be the view service that was cut off.
    pub(crate) fn unseen(&self, told: Duration, now: Instant) -> Duration {
        told.min(now.since(self.heard_since))
    }

    /// Takes over who there is. A view service that was just started knows only who has reported since:
    /// where `primary`, a life of a replica, was last reached is still true.
    pub(crate) fn note_peers(&mut self, peers: &[Peer], primary: Option<&Member>) {
        let is_primary = |peer: &Peer| primary.is_some_and(|it| it.is(&peer.identity));
        let known = self.peers.iter().find(|peer| is_primary(peer)).cloned();
        self.peers = peers.to_vec();
        if !self.peers.iter().any(is_primary) {
            self.peers.extend(known);
        }
    }

    /// Whether this is the number of the swap that was sent last and is not answered yet.
    pub(crate) fn is_newest_swap(&self, number: u64) -> bool {
        self.swap.is_some_and(|(sent, _)| sent == number)
    }

    /// A swap was answered; whether it was an Activate.
    pub(crate) fn swap_answered(&mut self, number: u64, now: Instant, term: Duration) -> bool {
        self.answered(number, now, term);
        match self.swap {
            Some((sent, is_activate)) if sent == number => {
                self.swap = None;
                is_activate
            }
            _ => false,
        }
    }

    /// When the view service will have been silent for too long: half a term, so that there is time
    /// to ask again over another connection before the lease runs out.
    pub(crate) fn silent_at(&self, term: Duration) -> Option<Instant> {
        self.unanswered.front().map(|(_, sent)| sent.plus(term / 2))
    }

    /// Whether the view service has been silent for a while, though not so long yet that another
    /// connection is tried. What counts is when it was heard, not how old a report is that has no
    /// answer: one that answers late, but steadily, is heard every fifth of a term.
    pub(crate) fn is_unanswered(&self, now: Instant, term: Duration) -> bool {
        !self.unanswered.is_empty() && now >= self.heard_at.plus(term / 4)
    }

    pub(crate) fn deadline(&self, term: Duration) -> Option<Instant> {
        if !self.is_up {
            return None;
        }
        Some(
            self.silent_at(term)
                .map_or(self.report_at, |at| at.min(self.report_at)),
        )
    }
}

/// The lease term of a record.
pub(crate) fn term_of(record: Option<&ViewRecord>) -> Duration {
    record.map_or(TERM_ASSUMED, |record| {
        Duration::from_millis(u64::from(record.term_ms))
    })
}

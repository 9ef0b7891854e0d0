//! Handing over to the backup as planned (`protocol.md` section 6): hold, order a Handover entry, wait until
//! it is applied on both, ask for the swap, and be gated until its outcome is read.
//!
//! What is held is not held here: whoever hosts this role takes no new input while
//! [`Primary::is_holding`] says so.

use standin_core::entry::{EntryKind, Handover, Index};
use standin_core::message::encode_payload;
use standin_core::planted::Bug;
use standin_core::time::{Duration, Instant, Now, earliest};
use standin_core::view::Reason;

use crate::follower::{Follower, Phase};
use crate::gate::{Gate, JOIN_LAG_BYTES_MAX};
use crate::primary::{Action, Primary};

/// A backup that has not applied the Handover entry after this part of a term is not handed over to: clients
/// wait meanwhile. Less than the silence after which it would be dropped.
const BACKUP_WAIT_TERM_PARTS: u32 = 4;
/// If the view service has not said what came of it after this part of a term, Hand over is fenced by a Drop.
/// Twice the time after which the swap is asked again.
const OUTCOME_WAIT_TERM_PARTS: u32 = 2;

/// Why a primary does not hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOverFailure {
    /// It does not serve.
    NotServing,
    /// There is nobody to hand over to.
    NoBackup,
    /// The backup is just being changed.
    ChangeUnderWay,
    /// It is handing over already.
    UnderWay,
    /// The backup does not have everything that was ordered.
    NotInSync,
    /// The log of the backup has no room.
    NoRoom,
    /// The backup did not apply the Handover entry in time. Nothing was asked.
    Behind,
    /// The backup was given up before anything was asked.
    BackupLost,
    /// The view service turned Hand over down. It is fenced.
    TurnedDown,
    /// The outcome is not known: Hand over may have landed. It is fenced.
    NoOutcome,
}

impl HandOverFailure {
    /// Whether this replica goes on as primary, for certain. Otherwise the record will tell.
    #[must_use]
    pub fn is_certain(self) -> bool {
        !matches!(self, Self::TurnedDown | Self::NoOutcome)
    }

    /// What is wrong and what to do, in words that follow "because".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NotServing => "the primary does not serve yet; try again in a moment",
            Self::NoBackup => {
                "there is no backup; start another replica, or wait until one has caught up"
            }
            Self::ChangeUnderWay => "the backup is just being changed; try again in a moment",
            Self::UnderWay => "a switchover is under way already; ask for the status",
            Self::NotInSync => "the backup is not in sync; try again in a moment",
            Self::NoRoom => {
                "the backup has no room for more log; make room on its disk, and try again"
            }
            Self::Behind => {
                "the backup did not catch up in time; try again when there is less to do, or look at the \
                 backup's machine"
            }
            Self::BackupLost => "the backup was lost on the way; try again when there is one again",
            Self::TurnedDown => {
                "the view service did not allow it, for it does not hear the backup; try again when there is \
                 a backup again"
            }
            Self::NoOutcome => {
                "the view service did not answer in time, or the backup was lost on the way; try again when \
                 there is a backup again"
            }
        }
    }
}

/// A switchover under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandOver {
    /// The Handover entry. Invariant: nothing is ordered after it while this lasts.
    index: Index,
    since: Instant,
    /// When Hand over was first asked: from here on it may land at any time.
    asked_at: Option<Instant>,
}

impl Primary {
    /// Whether no new input may be handed in: it would have to be drained too.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.hand_over.is_some()
    }

    /// Whether the lease was given back, since Hand over was asked, and is not to be asked for before the
    /// outcome is read.
    #[must_use]
    pub fn has_given_lease_back(&self) -> bool {
        self.has_given_lease_back
    }

    /// Whether this primary was handed a view that it does not serve in yet: its backup is about to follow.
    #[must_use]
    pub fn is_taking_over_as_planned(&self) -> bool {
        self.record.backup.is_some() && !self.is_serving()
    }

    pub(crate) fn on_hand_over(&mut self, now: Now) {
        match self.hand_over_failure(now.boot) {
            Some(failure) => self.actions.push_back(Action::HandOverFailed(failure)),
            None => self.begin_hand_over(now),
        }
    }

    fn hand_over_failure(&self, now: Instant) -> Option<HandOverFailure> {
        let is_in_sync = |follower: &Follower| {
            follower.phase == Phase::Streaming
                && follower.is_caught_up(self.tip.index, JOIN_LAG_BYTES_MAX)
        };
        Some(match &self.gate {
            _ if !self.is_serving() => HandOverFailure::NotServing,
            _ if self.hand_over.is_some() => HandOverFailure::UnderWay,
            Gate::Solo => HandOverFailure::NoBackup,
            Gate::Joining(_) => HandOverFailure::ChangeUnderWay,
            Gate::Paired { .. } if self.swap.is_some() => HandOverFailure::ChangeUnderWay,
            Gate::Paired { .. } if !self.gate_follower().is_some_and(is_in_sync) => {
                HandOverFailure::NotInSync
            }
            Gate::Paired { .. } if self.is_backup_roomless() => HandOverFailure::NoRoom,
            // Clients would be held in vain.
            Gate::Paired { .. } if self.gate_follower().is_some_and(|it| self.is_slow(it, now)) => {
                HandOverFailure::Behind
            }
            Gate::Paired { .. } => return None,
        })
    }

    fn begin_hand_over(&mut self, now: Now) {
        let backup = self.record.backup.as_ref().expect("a pair has a backup");
        let handover = Handover {
            to: backup.name.clone(),
        };
        if let Some(round) = self.gate_follower().map(|follower| follower.round_sent + 1) {
            self.reads.assign_round(round);
        }
        let mut builder = self.builder(now);
        let index = builder.push(EntryKind::Handover, |out| encode_payload(&handover, out));
        self.order(builder, now.boot);
        self.hand_over = Some(HandOver {
            index,
            since: now.boot,
            asked_at: None,
        });
    }

    /// Asks for the swap as soon as everything is drained; gives up what takes too long.
    pub(crate) fn continue_hand_over(&mut self, now: Instant) {
        let (Some(hand_over), Some(ends_at)) = (self.hand_over, self.hand_over_ends()) else {
            return;
        };
        let is_late = now >= ends_at;
        if hand_over.asked_at.is_some() {
            if is_late {
                self.drop_backup(now);
            }
        } else if self.is_drained(hand_over.index) || self.planted.has(Bug::HandsOverUndrained) {
            self.ask_to_hand_over(now);
        } else if is_late {
            self.end_hand_over(HandOverFailure::Behind);
        } else if let Some(gate) = self.gate_follower()
            && gate.phase == Phase::Streaming
            && self.applied >= hand_over.index
            && gate.commit_sent < hand_over.index
        {
            // Without it the backup would apply the entry only with the next heartbeat.
            let conn = gate.conn;
            self.send_nothing(conn, now);
        }
    }

    /// Whether everything up to the Handover entry is answered here and applied on both. The chain over the
    /// replies that came with the acknowledgement was compared by whoever applies.
    fn is_drained(&self, index: Index) -> bool {
        let is_there = |follower: &Follower| follower.acked >= index && follower.applied >= index;
        self.applied >= index
            && self.reads.count() == 0
            && self.gate_follower().is_some_and(is_there)
    }

    fn ask_to_hand_over(&mut self, now: Instant) {
        let Some(proposed) = self.record.hand_over() else {
            return self.end_hand_over(HandOverFailure::NoBackup);
        };
        if let Some(hand_over) = &mut self.hand_over {
            hand_over.asked_at = Some(now);
        }
        // The other one may have a lease of its own from here on (section 3).
        if !self.planted.has(Bug::HandOverLeased) {
            self.has_given_lease_back = true;
            self.lease_until = None;
        }
        self.ask(proposed);
    }

    /// Hand over was turned down. A copy of it may still be on its way, so it is fenced.
    pub(crate) fn on_hand_over_refused(&mut self, now: Instant) {
        self.end_hand_over(HandOverFailure::TurnedDown);
        self.drop_backup(now);
    }

    /// The backup is about to be dropped, whatever for.
    pub(crate) fn stop_handing_over(&mut self) {
        let is_asked = self.hand_over.is_some_and(|it| it.asked_at.is_some());
        self.end_hand_over(if is_asked {
            HandOverFailure::NoOutcome
        } else {
            HandOverFailure::BackupLost
        });
    }

    /// Input is taken again: nothing was asked, or it is fenced, and answers wait for the backup until the
    /// record is read.
    fn end_hand_over(&mut self, failure: HandOverFailure) {
        if self.hand_over.take().is_some() {
            self.actions.push_back(Action::HandOverFailed(failure));
        }
    }

    /// Whether a swap under way is Hand over.
    pub(crate) fn is_asked_to_hand_over(&self) -> bool {
        let swap = self.swap.as_ref();
        swap.is_some_and(|swap| swap.proposed.reason == Reason::HandedOver)
    }

    /// Whether the backup has still to say that it has applied the Handover entry.
    pub(crate) fn is_awaited_for_hand_over(&self, follower: &Follower) -> bool {
        self.hand_over.is_some_and(|hand_over| {
            hand_over.asked_at.is_none()
                && self.applied >= hand_over.index
                && follower.applied < hand_over.index
        })
    }

    fn hand_over_ends(&self) -> Option<Instant> {
        let hand_over = self.hand_over?;
        Some(match hand_over.asked_at {
            Some(at) => at.plus(self.term() / OUTCOME_WAIT_TERM_PARTS),
            None => hand_over.since.plus(self.term() / BACKUP_WAIT_TERM_PARTS),
        })
    }

    pub(crate) fn hand_over_deadline(&self, deadline: Option<Instant>) -> Option<Instant> {
        earliest(deadline, self.hand_over_ends())
    }
}

/// How long clients may be kept waiting by a switchover of a primary whose term this is, until it serves
/// again or is primary no more.
#[must_use]
pub fn hand_over_max(term: Duration) -> Duration {
    term / BACKUP_WAIT_TERM_PARTS + term / OUTCOME_WAIT_TERM_PARTS
}

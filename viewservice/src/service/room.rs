//! A disk without room: what cannot be stored is not said, and is tried again until there is room.

use standin_core::message::ForceOutcome;
use standin_core::time::{Duration, Instant, Now};

use super::{StoreCause, ViewService};

/// How long after there was no room for a state storing is tried again.
pub const STORE_RETRY: Duration = Duration::from_millis(250);

/// That there is no room.
#[derive(Clone, Debug)]
pub(super) struct NoRoom {
    /// What the disk said, in words.
    why: String,
    /// When storing may be tried again.
    retry_at: Instant,
}

impl NoRoom {
    pub(super) fn words(&self) -> String {
        format!(
            "its disk has no room ({}), so nobody can take over, join or be dropped, while whoever serves goes \
             on; make room there, and it goes on by itself",
            self.why
        )
    }
}

impl ViewService {
    /// The disk had no room for the state: what was stored before stands. Whoever asked for a change asks again,
    /// but for an operator, who is told.
    pub(super) fn on_not_stored(&mut self, now: Now, why: String) {
        let storing = self.storing.take().expect("something was being stored");
        let retry_at = self.now.plus(STORE_RETRY);
        self.no_room = Some(NoRoom { why, retry_at });
        self.give_up_storing(storing.cause);
        self.go_on_waiting(now);
    }

    /// Whether nothing is to be stored now, for there was no room a moment ago.
    pub(super) fn waits_for_room(&self) -> bool {
        let no_room = self.no_room.as_ref();
        no_room.is_some_and(|no_room| self.now < no_room.retry_at)
    }

    pub(super) fn give_up_storing(&mut self, cause: StoreCause) {
        let (StoreCause::Force(Some((conn, _))) | StoreCause::Rebuild(Some((conn, _)))) = cause
        else {
            return;
        };
        let Some(no_room) = &self.no_room else {
            return;
        };
        let reason = format!("of the view service: {}", no_room.words());
        self.answer_force(conn, ForceOutcome::Refused { reason });
    }

    /// Stores once more what is stored, to see whether there is room again.
    pub(super) fn look_for_room(&mut self) {
        if self.no_room.is_none() || self.storing.is_some() || self.waits_for_room() {
            return;
        }
        if self.is_rebuilding() {
            // Nothing is stored that could be once more: the operator asks again.
            self.no_room = None;
        } else {
            self.store(self.state.clone(), StoreCause::Look);
        }
    }

    pub(super) fn room_deadline(&self) -> Option<Instant> {
        let is_idle = self.storing.is_none();
        let no_room = self.no_room.as_ref().filter(|_| is_idle);
        no_room.map(|no_room| no_room.retry_at)
    }
}

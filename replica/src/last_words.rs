//! What a replica still has to say once its disk has failed and it could not even write that down.
//!
//! What it acknowledged out of the page cache may be gone, and its next process, in the same boot of the
//! machine, would not know. So this one does not end before the view service keeps it durably.

use standin_core::frame::{Frame, FrameKind};
use standin_core::message::{DecodeError, Message as _, TokenDead, TokenDeadReply};
use standin_core::time::{Duration, Instant};

/// How long an answer is waited for before another connection is tried.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells the view service that a token is dead, until it is known to be kept there.
///
/// Driven as every decision core: one event, then actions until there is none, then the deadline.
#[derive(Clone, Debug)]
pub struct LastWords {
    dead: TokenDead,
    /// Until when an answer is awaited; `None`: there is no connection to say it over.
    patient_until: Option<Instant>,
    action: Option<LastAction>,
}

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastAction {
    /// Send to the view service.
    Tell(TokenDead),
    /// The view service does not answer: connect anew, to another address if there is one.
    Redial,
    /// All is said: the process may end.
    End,
}

impl LastWords {
    /// The words of a replica whose token is dead. There is no connection to the view service yet.
    #[must_use]
    pub fn new(dead: TokenDead) -> Self {
        Self {
            dead,
            patient_until: None,
            action: None,
        }
    }

    /// A connection to the view service is ready.
    pub fn on_up(&mut self, now: Instant) {
        self.patient_until = Some(now.plus(PATIENCE));
        self.act(LastAction::Tell(self.dead));
    }

    /// That connection is gone.
    pub fn on_down(&mut self) {
        self.patient_until = None;
    }

    /// The view service says something.
    ///
    /// # Errors
    /// [`DecodeError`] if it cannot be read; the connection is then of no further use.
    pub fn on_frame(&mut self, frame: &Frame<'_>) -> Result<(), DecodeError> {
        // News of the record come, too, and change nothing any more.
        if frame.kind == FrameKind::TokenDeadReply
            && TokenDeadReply::decode(frame)?.dead == self.dead
        {
            self.act(LastAction::End);
        }
        Ok(())
    }

    /// The deadline has come.
    pub fn on_deadline(&mut self, now: Instant) {
        if self.patient_until.is_some_and(|until| now >= until) {
            self.patient_until = None;
            self.act(LastAction::Redial);
        }
    }

    fn act(&mut self, action: LastAction) {
        let before = self.action;
        assert!(
            before.is_none_or(|before| before == action),
            "{before:?} was not taken before {action:?}"
        );
        self.action = Some(action);
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn next_action(&mut self) -> Option<LastAction> {
        self.action.take()
    }

    /// When [`LastWords::on_deadline`] is wanted at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.patient_until
    }
}

#[cfg(test)]
mod tests {
    use standin_core::frame::FRAME_PAYLOAD_BYTES_MAX;
    use standin_core::identity::{BootId, StoreId};

    use super::*;

    const NOW: Instant = Instant::from_nanos(1);

    fn dead(boot: u128) -> TokenDead {
        TokenDead {
            store: StoreId(1),
            boot: BootId(boot),
        }
    }

    fn hear(words: &mut LastWords, dead: TokenDead) -> Option<LastAction> {
        let mut bytes = Vec::new();
        TokenDeadReply { dead }.encode(&mut bytes);
        let frame = Frame::decode(&bytes, FRAME_PAYLOAD_BYTES_MAX).unwrap();
        words.on_frame(&frame.unwrap()).unwrap();
        words.next_action()
    }

    #[test]
    fn it_is_said_until_it_is_known_to_be_kept() {
        let mut words = LastWords::new(dead(7));
        assert_eq!(words.deadline(), None);
        for _ in 0..3 {
            words.on_up(NOW);
            assert_eq!(words.next_action(), Some(LastAction::Tell(dead(7))));
            words.on_down();
            assert_eq!(words.deadline(), None);
        }
        words.on_up(NOW);
        assert_eq!(words.next_action(), Some(LastAction::Tell(dead(7))));
        assert_eq!(hear(&mut words, dead(8)), None, "of another boot");
        assert_eq!(hear(&mut words, dead(7)), Some(LastAction::End));
    }

    #[test]
    fn another_connection_is_tried_when_no_answer_comes() {
        let mut words = LastWords::new(dead(7));
        words.on_up(NOW);
        words.next_action();
        let until = words.deadline().unwrap();
        words.on_deadline(NOW);
        assert_eq!(words.next_action(), None, "not yet");
        words.on_deadline(until);
        assert_eq!(words.next_action(), Some(LastAction::Redial));
        words.on_up(until);
        assert_eq!(words.next_action(), Some(LastAction::Tell(dead(7))));
    }
}

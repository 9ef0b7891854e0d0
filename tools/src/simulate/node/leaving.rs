//! What an operator does with a replica that is well: switch over, stop it.

use standin_core::message::Switchover;
use standin_replica::Event;

use super::{Death, Node, OPERATOR};
use crate::simulate::stage::Stage;
use crate::simulate::watched::Subject;

impl<M: Subject> Node<M> {
    /// An operator asks this replica, whatever it is, to hand over.
    pub(crate) fn switch_over(&mut self, stage: &mut Stage<'_, M>) -> Result<(), Death> {
        let wanted = Switchover { to: None };
        let now = stage.read_clock();
        self.handle(stage, now, Event::Switchover(OPERATOR, &wanted))
            .map_err(|death| self.give_up(death, stage))
    }

    /// The process is told to stop, and may hand over first.
    pub(crate) fn leave(&mut self, stage: &mut Stage<'_, M>) -> Result<(), Death> {
        let now = stage.read_clock();
        self.handle(stage, now, Event::Leave)
            .and_then(|()| self.stop_if_left(stage))
            .map_err(|death| self.give_up(death, stage))
    }

    pub(super) fn stop_if_left(&mut self, stage: &mut Stage<'_, M>) -> Result<(), Death> {
        if self.replica.has_left() {
            return self.stop_cleanly(stage);
        }
        Ok(())
    }
}

//! A primary whose machine failed.

use standin_core::conn::ConnId;
use standin_core::message::Poisoned;
use standin_core::time::Now;

use super::{Request, StoreCause, ViewService};

impl ViewService {
    /// The machine of a primary failed, and with that its role ended. The entry is kept before anybody else
    /// is named.
    pub(super) fn on_poisoned(&mut self, now: Now, conn: ConnId, poisoned: Box<Poisoned>) {
        if self.storing.is_some() {
            return self.wait(now, conn, Request::Poisoned(poisoned));
        }
        match self.state.with_poison(&poisoned) {
            Some(state) => self.store(state, StoreCause::Poisoned(poisoned)),
            None => self.end_poisoned(&poisoned),
        }
    }

    /// The life in which a machine failed answers nothing more, whatever is still under way.
    pub(super) fn end_poisoned(&mut self, poisoned: &Poisoned) {
        let Some(record) = &self.state.record else {
            return;
        };
        let identity = &poisoned.identity;
        let has_failed = identity.life.incarnation == poisoned.poison.life;
        if has_failed && record.active && record.primary.is(identity) {
            self.released = Some((record.id(), record.primary.clone()));
        }
    }
}

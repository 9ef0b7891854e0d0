//! Processes that died at an entry.

use standin_core::conn::ConnId;
use standin_core::mark::Fatal;
use standin_core::time::Now;

use super::{Request, StoreCause, ViewService};

impl ViewService {
    /// Earlier lives of a replica died at an entry. If that makes it certain that it must be skipped, that is kept
    /// before anybody else is named.
    pub(super) fn on_fatal(&mut self, now: Now, conn: ConnId, fatal: Box<Fatal>) {
        if self.storing.is_some() {
            return self.wait(now, conn, Request::Fatal(fatal));
        }
        let identity = &fatal.identity;
        if self.state.store_of(&identity.name) != Some(identity.store) {
            return; // it has not been let in
        }
        self.fatalities.note(&self.state, identity, fatal.fatal);
        let state = self
            .state
            .with_fatal(&fatal, &self.fatalities, self.planted);
        if let Some(state) = state {
            self.store(state, StoreCause::Fatal);
        }
    }
}

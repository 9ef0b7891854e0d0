//! Who is primary? Whoever asked once is told of the next one unasked: else a takeover would take as long
//! for clients as it takes them to ask again.

use std::collections::BTreeSet;

use standin_core::conn::ConnId;
use standin_core::message::LookupReply;
use standin_core::view::ViewRecord;

use super::ViewService;
use crate::event::Answer;

/// Most connections that are told of a new primary. Beyond it the oldest has to ask again.
pub const LOOKERS_MAX: usize = 1024;

/// Connections over which somebody asked who is primary.
///
/// Invariant: at most [`LOOKERS_MAX`].
#[derive(Clone, Debug, Default)]
pub(super) struct Lookers {
    conns: BTreeSet<ConnId>,
}

impl Lookers {
    fn note(&mut self, conn: ConnId) {
        self.conns.insert(conn);
        if self.conns.len() > LOOKERS_MAX {
            self.conns.pop_first();
        }
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }
}

impl ViewService {
    pub(super) fn on_lookup(&mut self, conn: ConnId) {
        self.lookers.note(conn);
        let reply = self.lookup_reply();
        self.send(conn, Answer::Lookup(reply));
    }

    /// The record has changed: another primary may serve now.
    pub(super) fn tell_lookers(&mut self, before: Option<&ViewRecord>) {
        let was_inactive = before.is_some_and(|before| !before.active);
        let is_active = (self.state.record.as_ref()).is_some_and(|record| record.active);
        if !was_inactive || !is_active {
            return;
        }
        let news = self.lookup_reply();
        for conn in self.lookers.conns.clone() {
            self.send(conn, Answer::Lookup(news.clone()));
        }
    }

    fn lookup_reply(&self) -> LookupReply {
        let record = self.state.record.as_ref();
        let serves = |record: &&ViewRecord| record.active && !self.has_died(record);
        let primary = record.filter(serves).and_then(|record| {
            let replica = self.roster.by_name(&record.primary.name)?;
            let is_it = record.primary.is(&replica.identity);
            is_it.then(|| replica.address.clone())
        });
        LookupReply {
            view: record.map(ViewRecord::id),
            primary,
            term_ms: self.view_term_ms(),
        }
    }
}

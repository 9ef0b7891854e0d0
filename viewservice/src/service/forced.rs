//! An operator forces a takeover (`protocol.md` section 2).

use standin_core::conn::ConnId;
use standin_core::message::{Force, ForceOutcome, ForceReply};
use standin_core::time::Now;
use standin_core::view::ViewRecord;

use super::{StoreCause, ViewService};
use crate::event::Answer;
use crate::force;
use crate::waiting::Request;

impl ViewService {
    /// The one change of the record that makes somebody primary who need not have what was answered.
    pub(super) fn on_force(&mut self, now: Now, conn: ConnId, force: Box<Force>) {
        if self.storing.is_some() {
            return self.wait(now, conn, Request::Force(force));
        }
        let facts = self.facts(now.boot);
        let chosen = force::chosen(&facts, &force.primary);
        let (chosen, record) = match (chosen, &self.state.record) {
            (Ok(chosen), Some(record)) => (chosen, record),
            (Ok(_), None) => unreachable!("without a view nobody is chosen"),
            (Err(reason), record) => {
                let done = record
                    .as_ref()
                    .and_then(|it| force::done_before(it, &force.primary));
                let outcome = match done.filter(|_| force.accept_loss) {
                    Some(loss) => ForceOutcome::Done { loss },
                    None => ForceOutcome::Refused { reason },
                };
                return self.answer_force(conn, outcome);
            }
        };
        let loss = force::loss(record, chosen, &facts);
        if !force.accept_loss {
            return self.answer_force(conn, ForceOutcome::WouldLose { loss });
        }
        let next = ViewRecord {
            term_ms: self.term.millis(),
            ..record.force(&chosen.identity)
        };
        let mut state = self.state.clone();
        state.grant_skips(next, &self.progress, self.planted);
        self.store(state, StoreCause::Force(Some((conn, loss))));
    }

    pub(super) fn answer_force(&mut self, conn: ConnId, outcome: ForceOutcome) {
        let record = self.state.record.clone();
        self.send(conn, Answer::Force(ForceReply { outcome, record }));
    }
}

//! The views that there were, for people who look back.

use standin_core::conn::ConnId;
use standin_core::message::{HistoryReply, PastView};
use standin_core::time::Now;
use standin_core::view::ViewRecord;

use super::ViewService;
use crate::event::{Action, Answer};
use crate::history::History;
use crate::roster::millis;

impl ViewService {
    /// Goes on with what a process before this one has noted, right after the view service was made.
    /// `remark` says what is missing, in words, if something went wrong.
    #[must_use]
    pub fn with_history(mut self, history: History, remark: Option<String>) -> Self {
        self.history = history;
        self.remark = remark;
        let Some(record) = &self.state.record else {
            // Of another cluster, or of one that has lost its record: none of it was here.
            self.history = History::default();
            return self;
        };
        let noted = self.history.newest().map(|newest| newest.view);
        if noted != Some(record.id()) {
            let seen = past_view(record);
            self.history.begin(seen);
        } else if let Some(newest) = self.history.newest_mut() {
            newest.is_active |= record.active;
        }
        self
    }

    /// The views that there were.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn on_history_request(&mut self, conn: ConnId) {
        let reply = HistoryReply {
            views: self.history.views().cloned().collect(),
            remark: self.remark.clone(),
        };
        self.send(conn, Answer::History(reply));
    }

    /// The record has changed, and it is about to be noted when the lease was renewed last.
    pub(super) fn note_view(&mut self, now: Now, before: Option<&ViewRecord>) {
        let record = self
            .state
            .record
            .as_ref()
            .expect("a record is never removed");
        let is_activated = record.active && before.is_some_and(|before| !before.active);
        if before.map(ViewRecord::id) == Some(record.id()) {
            if let Some(newest) = self.history.newest_mut().filter(|_| is_activated) {
                newest.is_active = true;
                let served = self.served_at.filter(|_| newest.view == record.id());
                newest.gap_ms = served.map(|served| millis(now.boot.since(served)));
            }
        } else {
            self.history.begin(PastView {
                began: Some(now.wall),
                ..past_view(record)
            });
        }
    }

    /// Has the history kept, once nobody waits for anything: a takeover under way comes first.
    pub(super) fn keep_history(&mut self) {
        let is_settled = (self.state.record.as_ref()).is_some_and(|record| record.active);
        if is_settled {
            let history = self.history.clone();
            self.actions.push_back(Action::KeepHistory { history });
        }
    }
}

/// A record as part of a history, of whose beginning nothing is known.
fn past_view(record: &ViewRecord) -> PastView {
    PastView {
        view: record.id(),
        began: None,
        primary: record.primary.name.clone(),
        backup: record.backup.as_ref().map(|backup| backup.name.clone()),
        cause: record.reason,
        is_active: record.active,
        gap_ms: None,
    }
}

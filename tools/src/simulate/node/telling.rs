//! What a replica's shell tells the checkers of how it stands, as they cannot see it from outside.

use standin_core::message::RoleName;
use standin_core::time::{Instant, Now};
use standin_core::view::ViewRecord;

use super::Node;
use crate::simulate::fact::Fact;
use crate::simulate::stage::Stage;
use crate::simulate::watched::Subject;

impl<M: Subject> Node<M> {
    pub(super) fn tell_standing(&mut self, stage: &mut Stage<'_, M>) {
        let sessions = self.replica.state().session_count();
        let held = self.replica.held();
        let leads = matches!(
            self.replica.role_name(),
            RoleName::Primary | RoleName::Candidate
        );
        let view = self.replica.record().filter(|_| leads);
        let view = view.map(ViewRecord::id);
        let queues = self.replica.queues();
        if let Err(what) = self.bounds.look(view, queues, held, sessions) {
            stage
                .checks
                .fail("L5", format!("host {}: {what}", stage.host));
        }
        let until = self.replica.lease_until();
        let lease_until = until.map(|until| stage.clock.when(until, Instant::ZERO));
        stage.saw(&Fact::Turned {
            host: stage.host,
            standing: self.replica.standing(),
            lease_until,
            primary_resp: self.replica.primary_resp(),
        });
    }

    pub(super) fn has_lease(&self, now: Now) -> bool {
        let until = self.replica.lease_until();
        until.is_some_and(|until| now.boot < until)
    }

    pub(super) fn tell_commit(&mut self, stage: &mut Stage<'_, M>, now: Now) {
        let standing = self.replica.standing();
        if standing.commit <= self.commit_told {
            return;
        }
        self.commit_told = standing.commit;
        if standing.role == RoleName::Primary {
            stage.saw(&Fact::Committed {
                host: stage.host,
                standing,
                has_lease: self.has_lease(now),
            });
        }
    }

    pub(super) fn tell_applied(&mut self, stage: &mut Stage<'_, M>) {
        self.tell_strayed(stage);
        let through = self.replica.standing().applied;
        // It begins anew when a log of an earlier data epoch is set aside.
        self.applied_told = self.applied_told.min(through);
        if through > self.applied_told {
            let before = std::mem::replace(&mut self.applied_told, through);
            self.take_time(stage, before, through);
            stage.saw(&Fact::Applied {
                host: stage.host,
                through,
                reply_digest: self.replica.state().reply_digest().0,
            });
        }
    }
}

//! A process has died, and its parent, which has reaped it, says so (`protocol.md` section 3).

use standin_core::conn::ConnId;
use standin_core::message::{Died, DiedReply};
#[cfg(feature = "planted-bugs")]
use standin_core::planted::Bug;
use standin_core::time::Now;
use standin_core::view::{Member, ViewRecord};

use super::ViewService;
use crate::event::Answer;

impl ViewService {
    /// Takes note of a death, which may have happened long ago, and be told more than once.
    ///
    /// It is kept in memory alone. What a restart forgets is found out as it was before: by silence.
    pub(super) fn on_died(&mut self, now: Now, conn: ConnId, died: Died) {
        let member = self.mourned(died.member.clone());
        let record = self.state.record.as_ref();
        let is_backup = record.is_some_and(|record| record.backup.as_ref() == Some(&member));
        if record.is_some_and(|record| record.primary == member) {
            self.died = Some(member.clone());
        }
        let is_news = self.roster.died(&member);
        self.send(
            conn,
            Answer::Died(DiedReply {
                member: died.member,
            }),
        );
        if is_news && is_backup {
            // Its primary need not wait for it any more.
            self.push(now);
        }
    }

    /// Whose death it is.
    #[cfg_attr(
        not(feature = "planted-bugs"),
        expect(clippy::unused_self, reason = "without bugs it is as it was told")
    )]
    fn mourned(&self, member: Member) -> Member {
        #[cfg(feature = "planted-bugs")]
        if self.planted.has(Bug::DeathMistaken)
            && let Some(record) = &self.state.record
            && record.primary.name == member.name
        {
            return record.primary.clone();
        }
        member
    }

    /// Whether the very life that a record names as its primary has died.
    pub(super) fn has_died(&self, record: &ViewRecord) -> bool {
        let newest = self.roster.by_name(&record.primary.name);
        let newest = newest.filter(|replica| record.primary.is(&replica.identity));
        self.died.as_ref() == Some(&record.primary)
            || newest.is_some_and(|replica| replica.has_died())
    }
}

//! S13: only an active primary answers (labelled stale reads aside).
//!
//! One that is alone in the record is primary only while it holds the lease (section 3): without it
//! nothing is committed and no read confirmed. What was committed before may still be answered (section
//! 4.6). Its own clock decides, so this holds however clocks run.

use std::collections::BTreeMap;

use standin_core::entry::Index;
use standin_core::message::{Consistency, ReplyStatus, RoleName, Standing};
use standin_core::view::{Member, ViewId, ViewNumber, ViewRecord};

use super::{Check, Verdict};
use crate::simulate::fact::{Answered, Asked, Fact};
use crate::simulate::plan::Plan;
use crate::simulate::truth::{Truly, Truth};

/// Who speaks, and from which entry on each replica may.
#[derive(Debug)]
pub(crate) struct Speaking {
    /// The primary of each view that was recorded active.
    active: BTreeMap<ViewId, Member>,
    /// The view that each replica activated last.
    activated: Vec<Option<ViewNumber>>,
    /// Where views begin.
    starts: BTreeMap<ViewNumber, Index>,
}

impl Speaking {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            active: BTreeMap::new(),
            activated: vec![None; plan.replicas],
            starts: BTreeMap::new(),
        }
    }

    /// Rule R3: a replica answers nothing before the ViewStart of the view that it activated is
    /// applied.
    fn has_begun(&self, host: usize, standing: &Standing) -> bool {
        let start = self.activated[host].and_then(|view| self.starts.get(&view));
        start.is_some_and(|start| *start <= standing.applied)
    }
}

/// Whether a replica, as it knows itself, is alone in the record.
fn is_alone(truth: &Truth, host: usize, standing: &Standing) -> bool {
    let identity = truth.replicas[host].identity.as_ref();
    let is_it = |record: &&ViewRecord| {
        record.id() == standing.view && identity.is_some_and(|it| record.primary.is(it))
    };
    let record = truth.record.as_ref().filter(is_it);
    record.is_some_and(|record| record.active && record.backup.is_none())
}

impl Check for Speaking {
    const PROPERTY: &'static str = "S13";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Recorded { before, after } if after.active => {
                self.active.insert(after.id(), after.primary.clone());
                if before.is_none_or(|before| before.active) {
                    return Ok(());
                }
                let lives = |one: &Truly| {
                    let identity = one.identity.as_ref();
                    identity.is_some_and(|identity| after.primary.is(identity))
                };
                if let Some(host) = truth.replicas.iter().position(lives) {
                    self.activated[host] = Some(after.view);
                }
            }
            Fact::Appended {
                batch,
                is_primary: true,
                ..
            } => self.starts.extend(batch.view_starts().iter().copied()),
            Fact::Answered(answered) if !is_allowed_to_all(answered) => {
                let (host, standing) = (answered.host, &answered.standing);
                // The record of its view was active once, with this very life as its primary.
                let own = truth.replicas[host].identity.as_ref();
                let primary = self.active.get(&standing.view);
                let is_recorded = own.zip(primary).is_some_and(|(own, it)| it.is(own));
                let is_primary = standing.role == RoleName::Primary;
                if !is_primary || !is_recorded || !self.has_begun(host, standing) {
                    return Err(format!("host {host} answers as {standing:?}"));
                }
                if is_read(answered) && !answered.has_lease && is_alone(truth, host, standing) {
                    return Err(format!("host {host}, alone, reads without its lease"));
                }
            }
            Fact::Committed {
                host,
                standing,
                has_lease: false,
            } if is_alone(truth, *host, standing) => {
                let commit = standing.commit;
                return Err(format!(
                    "host {host}, alone, commits up to {commit} without its lease"
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A read that was answered from the state.
fn is_read(answered: &Answered<'_>) -> bool {
    answered.status == ReplyStatus::Done && matches!(answered.asked, Asked::Read(_))
}

/// A stale read, or a refusal after which nothing has happened.
fn is_allowed_to_all(answered: &Answered<'_>) -> bool {
    let is_refusal = match answered.status {
        ReplyStatus::NotPrimary
        | ReplyStatus::OutcomeUnknown
        | ReplyStatus::Refused
        | ReplyStatus::Overloaded
        | ReplyStatus::NoRoom => true,
        ReplyStatus::Done
        | ReplyStatus::SessionUnknown
        | ReplyStatus::SequenceGap
        | ReplyStatus::SequenceAcknowledged
        | ReplyStatus::AnswerLost
        | ReplyStatus::Skipped => false,
    };
    is_refusal || answered.asked == Asked::Read(Consistency::Stale)
}

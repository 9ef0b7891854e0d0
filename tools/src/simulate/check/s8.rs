//! S8: commit never falls; applied <= commit <= last; backup's applied <= primary's applied in a view.

use standin_core::message::{RoleName, Standing};
use standin_core::view::ViewId;
use std::collections::BTreeMap;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// Where each replica stood last, and how far the primary of each view has applied.
#[derive(Debug)]
pub(crate) struct Commits {
    last: Vec<Option<Standing>>,
    primaries: BTreeMap<ViewId, u64>,
}

impl Commits {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            last: vec![None; plan.replicas],
            primaries: BTreeMap::new(),
        }
    }
}

impl Check for Commits {
    const PROPERTY: &'static str = "S8";

    fn look(&mut self, _truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Started { host, .. } => self.last[*host] = None,
            // Before the end of its turn, in which it may die, the primary may have told of it.
            Fact::Applied { host, through, .. } => {
                let last = self.last[*host].filter(|last| last.role == RoleName::Primary);
                if let Some(last) = last {
                    let applied = self.primaries.entry(last.view).or_default();
                    *applied = through.0.max(*applied);
                }
            }
            Fact::Turned { host, standing, .. } => {
                let (applied, commit) = (standing.applied, standing.commit);
                if applied > commit || commit > standing.last.index {
                    return Err(format!("host {host} stands at {standing:?}"));
                }
                let before = self.last[*host].replace(*standing);
                // A log of an earlier data epoch counts for nothing in the next.
                let before =
                    before.filter(|before| before.view.data_epoch == standing.view.data_epoch);
                if before.is_some_and(|before| commit < before.commit || applied < before.applied) {
                    return Err(format!(
                        "host {host} went back from {before:?} to {standing:?}"
                    ));
                }
                match standing.role {
                    RoleName::Primary => {
                        let known = self.primaries.entry(standing.view).or_default();
                        *known = applied.0.max(*known);
                    }
                    RoleName::Backup => {
                        let primary = self.primaries.get(&standing.view);
                        // What it applied in an earlier view was the earlier primary's to allow.
                        let is_new = before.is_some_and(|before| {
                            before.role == RoleName::Backup
                                && before.view == standing.view
                                && before.applied < applied
                        });
                        if is_new && primary.is_some_and(|primary| applied.0 > *primary) {
                            return Err(format!(
                                "backup {host} has applied {applied}, its primary {primary:?}"
                            ));
                        }
                    }
                    RoleName::Candidate | RoleName::Spare | RoleName::Quarantined => {}
                }
            }
            _ => {}
        }
        Ok(())
    }
}

//! S1: the view rises by one per change (Activate keeps it); no incarnation starts a view twice.

use std::collections::{BTreeMap, BTreeSet};

use standin_core::entry::EntryKind;
use standin_core::identity::Incarnation;
use standin_core::view::ViewNumber;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// Which life began which view.
#[derive(Debug)]
pub(crate) struct Views {
    begun: BTreeMap<ViewNumber, (usize, Incarnation)>,
    /// The views that there were.
    recorded: BTreeSet<ViewNumber>,
    /// The record is lost.
    is_lost: bool,
}

impl Views {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self {
            begun: BTreeMap::new(),
            recorded: BTreeSet::new(),
            is_lost: false,
        }
    }
}

impl Check for Views {
    const PROPERTY: &'static str = "S1";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Recorded { before, after } => {
                let (was, is_active) = before.map_or((ViewNumber(0), false), |before| {
                    (before.view, before.active)
                });
                let is_activate = after.view == was && after.active && !is_active;
                // Nobody knows how far a record came that was lost, but no number may be used again.
                let is_new = self.recorded.insert(after.view);
                let is_rebuilt = std::mem::take(&mut self.is_lost) && is_new;
                if after.view == was.next() || is_activate || is_rebuilt {
                    Ok(())
                } else {
                    Err(format!("view {} came after {was}", after.view))
                }
            }
            Fact::RecordLost => {
                self.is_lost = true;
                Ok(())
            }
            Fact::Appended {
                host,
                batch,
                is_primary: true,
            } => {
                let Some(identity) = &truth.replicas[*host].identity else {
                    return Err(format!("host {host} orders before it has started"));
                };
                let life = (*host, identity.life.incarnation);
                for entry in batch.entries() {
                    if entry.header.kind != EntryKind::ViewStart {
                        continue;
                    }
                    let view = entry.header.view;
                    if let Some(first) = self.begun.insert(view, life) {
                        return Err(format!("view {view} was begun by {first:?} and {life:?}"));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

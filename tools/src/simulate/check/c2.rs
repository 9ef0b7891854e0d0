//! C2: lease reads are linearizable (clock rates in bounds, no hidden pause).

use std::collections::BTreeMap;

use standin_core::message::Consistency;

use super::s12::{Place, place};
use super::{Check, Verdict};
use crate::simulate::fact::{End, Fact};
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// Open calls, with the highest index that had been answered when each was made.
#[derive(Debug)]
pub(crate) struct LeaseReads {
    are_clocks_bounded: bool,
    open: BTreeMap<u64, (Place, Option<Consistency>)>,
    returned: Place,
}

impl LeaseReads {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            are_clocks_bounded: plan.are_clocks_bounded,
            open: BTreeMap::new(),
            returned: Place::default(),
        }
    }
}

impl Check for LeaseReads {
    const PROPERTY: &'static str = "C2";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Called { call, asked, .. } => {
                self.open.insert(*call, (self.returned, *asked));
            }
            Fact::Returned { call, end } => {
                let (Some((floor, asked)), End::Answered(_, seen)) = (self.open.remove(call), end)
                else {
                    return Ok(());
                };
                let is_watched = self.are_clocks_bounded && !truth.is_given_up(seen);
                if asked == Some(Consistency::Stale) || !is_watched {
                    return Ok(());
                }
                if asked == Some(Consistency::Lease) && place(seen) < floor {
                    return Err(format!(
                        "lease read {call} came to entry {}, and {} had been answered before",
                        seen.index, floor.1
                    ));
                }
                self.returned = self.returned.max(place(seen));
            }
            _ => {}
        }
        Ok(())
    }
}

//! C1: at most one valid lease at any instant (clock rates in bounds, no hidden pause).

use standin_core::time::Instant;

use super::{Check, Verdict};
use crate::simulate::fact::{Fact, Heard};
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// Until when, in true time, each replica believes to hold the lease.
#[derive(Debug)]
pub(crate) struct Leases {
    are_clocks_bounded: bool,
    until: Vec<Option<Instant>>,
}

impl Leases {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            are_clocks_bounded: plan.are_clocks_bounded,
            until: vec![None; plan.replicas],
        }
    }
}

impl Check for Leases {
    const PROPERTY: &'static str = "C1";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Ended { host, .. } if *host < self.until.len() => self.until[*host] = None,
            // Its process may stay for a while, and answers nobody any more.
            Fact::DiskFailed {
                host,
                heard: Heard::Unnoted | Heard::Noted,
            } => self.until[*host] = None,
            Fact::Turned {
                host, lease_until, ..
            } => {
                self.until[*host] = *lease_until;
                let is_valid = |until: &Option<Instant>| until.is_some_and(|it| truth.now < it);
                let count = self.until.iter().filter(|until| is_valid(until)).count();
                if count > 1 && self.are_clocks_bounded {
                    return Err(format!(
                        "{count} leases are valid at once: {:?}",
                        self.until
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

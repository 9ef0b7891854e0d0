//! S18: damage or lost holders end in "unavailable, and why", never in a wrong answer.
//!
//! Wrong answers are what the other properties look for, and the end of a run demands the "why". Here
//! it is watched that nobody goes out of service without a cause.

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// That only what was damaged is treated as damaged.
#[derive(Debug)]
pub(crate) struct Quarantines;

impl Quarantines {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self
    }
}

impl Check for Quarantines {
    const PROPERTY: &'static str = "S18";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Quarantined { host, why } | Fact::Unstartable { host, why } => {
                let replica = &truth.replicas[*host];
                // A power loss may take any part of what a pair at `memory` or `os` had committed: then it is
                // no holder any more, and comes back with what is left.
                let has_cause = replica.is_tampered();
                if has_cause {
                    return Ok(());
                }
                Err(format!(
                    "host {host} goes out of service without a cause: {why}"
                ))
            }
            _ => Ok(()),
        }
    }
}

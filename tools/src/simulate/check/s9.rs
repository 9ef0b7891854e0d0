//! S9: a cut removes nothing committed, applied or snapshotted.

use standin_core::entry::Index;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// That cuts remove only what nobody ever applied, and so nobody answered.
#[derive(Debug)]
pub(crate) struct Cuts;

impl Cuts {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self
    }
}

impl Check for Cuts {
    const PROPERTY: &'static str = "S9";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        let Fact::Cut {
            host,
            after,
            standing,
        } = fact
        else {
            return Ok(());
        };
        // A log of an earlier data epoch is set aside as a whole.
        if truth.log_epoch(*host) < standing.view.data_epoch && *after == Index::ZERO {
            return Ok(());
        }
        if *after < standing.commit || *after < standing.applied {
            return Err(format!(
                "host {host} cuts after {after} and stands at {standing:?}"
            ));
        }
        let first = usize::try_from(after.0).expect("a log in memory");
        for link in truth.replicas[*host].log.iter().skip(first) {
            let index = link.header.index;
            if truth.is_applied(index, link.hash) {
                return Err(format!(
                    "host {host} cuts entry {index}, which was applied somewhere"
                ));
            }
        }
        Ok(())
    }
}

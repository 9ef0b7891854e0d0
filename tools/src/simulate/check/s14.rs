//! S14: only holders become primary, except by Force, which raises the data epoch.

use standin_core::view::Holder;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::{Truly, Truth};

/// That whoever is named holds what was answered.
#[derive(Debug)]
pub(crate) struct Promoting;

impl Promoting {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self
    }
}

impl Check for Promoting {
    const PROPERTY: &'static str = "S14";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        let Fact::Recorded {
            before: Some(before),
            after,
        } = fact
        else {
            return Ok(());
        };
        if after.primary == before.primary || after.data_epoch > before.data_epoch {
            return Ok(());
        }
        let is_it = |one: &&Truly| {
            let identity = one.identity.as_ref();
            one.is_running && identity.is_some_and(|identity| after.primary.is(identity))
        };
        // A process that has ended since it was last heard of is named in vain and does no harm; of a
        // disk that was put back not everything can be known; and of one that failed nothing, if the
        // process has not heard of it yet or was killed before it could say so.
        let Some(replica) = truth.replicas.iter().find(is_it) else {
            return Ok(());
        };
        let stands = |holder: &Holder| replica.satisfies(holder.token);
        if before.holders.iter().any(stands) || replica.may_lack() {
            Ok(())
        } else {
            Err(format!(
                "{} becomes primary of view {} and is no holder of {:?}",
                after.primary.name, after.view, before.holders
            ))
        }
    }
}

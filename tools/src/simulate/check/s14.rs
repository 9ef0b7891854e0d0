//! S14: only holders become primary, except by Force, which raises the data epoch.

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

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
        let is_true_holder = before.holders.iter().any(|holder| {
            truth.holder(holder).is_some_and(|(_, replica)| {
                let is_named = |life: &&standin_core::identity::Identity| after.primary.is(life);
                let identity = replica.identity.as_ref().filter(is_named);
                identity.is_some() && replica.satisfies(holder.token)
            })
        });
        // A process that has ended since it was last heard of is named in vain and does no harm: what
        // counts is that nothing but a holder's very life or a later one can take the name up.
        let is_named_holder = before
            .holders
            .iter()
            .any(|holder| holder.name == after.primary.name);
        let lives = |identity: &standin_core::identity::Identity| after.primary.is(identity);
        let is_living = truth
            .replicas
            .iter()
            .any(|one| one.is_running && one.identity.as_ref().is_some_and(lives));
        if is_true_holder || (is_named_holder && !is_living) {
            Ok(())
        } else {
            Err(format!(
                "{} becomes primary of view {} and is no holder of {:?}",
                after.primary.name, after.view, before.holders
            ))
        }
    }
}

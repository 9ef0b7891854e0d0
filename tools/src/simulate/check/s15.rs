//! S15: while B is a holder or a Join for B may land: nothing answered beyond B's acknowledgement.

use std::collections::BTreeMap;

use standin_core::identity::StoreId;
use standin_core::message::{ReplyStatus, Swap};
use standin_core::view::Holder;

use super::{Check, Verdict};
use crate::simulate::fact::{Answered, Asked, Fact};
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// What each store has acknowledged, and which Joins may still land.
#[derive(Debug)]
pub(crate) struct Gating {
    acknowledged: BTreeMap<StoreId, u64>,
    proposed: Vec<Swap>,
}

impl Gating {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self {
            acknowledged: BTreeMap::new(),
            proposed: Vec::new(),
        }
    }

    fn check(&self, truth: &Truth, answered: &Answered<'_>) -> Verdict {
        let Some(record) = &truth.record else {
            return Err("something is answered before there is a view".to_owned());
        };
        // Of a record that names somebody else as primary nothing follows for this one: what it has
        // committed before stays true (section 4.6), and S4 watches over the rest.
        let own = truth.replicas[answered.host].identity.as_ref();
        let Some(own) = own.filter(|own| record.active && record.primary.is(own)) else {
            return Ok(());
        };
        let joins = self.proposed.iter().filter(|swap| swap.expected == *record);
        let waits_for = record
            .holders
            .iter()
            .chain(joins.flat_map(|swap| &swap.proposed.holders));
        let index = answered.seen.index;
        for holder in waits_for.filter(|holder| holder.token.store() != own.store) {
            if !self.has_acknowledged(truth, holder, index.0) {
                return Err(format!(
                    "host {} answers entry {index}, which {} has not acknowledged",
                    answered.host, holder.name
                ));
            }
        }
        Ok(())
    }

    fn has_acknowledged(&self, truth: &Truth, holder: &Holder, index: u64) -> bool {
        let acknowledged = self.acknowledged.get(&holder.token.store());
        let is_dead = truth
            .holder(holder)
            .is_some_and(|(_, replica)| !replica.satisfies(holder.token));
        is_dead || acknowledged.is_some_and(|through| *through >= index)
    }
}

impl Check for Gating {
    const PROPERTY: &'static str = "S15";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Acked { host, ack } => {
                if let Some(identity) = &truth.replicas[*host].identity {
                    let through = self.acknowledged.entry(identity.store).or_default();
                    *through = ack.durable.0.max(*through);
                }
            }
            Fact::Cut { host, after, .. } => {
                if let Some(identity) = &truth.replicas[*host].identity
                    && let Some(through) = self.acknowledged.get_mut(&identity.store)
                {
                    *through = after.0.min(*through);
                }
            }
            Fact::Proposed { swap, .. } => self.proposed.push((*swap).clone()),
            Fact::Recorded { after, .. } => {
                self.proposed.retain(|swap| swap.expected == **after);
            }
            Fact::Answered(answered)
                if answered.status == ReplyStatus::Done
                    && !matches!(answered.asked, Asked::Read(_)) =>
            {
                return self.check(truth, answered);
            }
            _ => {}
        }
        Ok(())
    }
}

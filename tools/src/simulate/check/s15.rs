//! S15: while B is a holder or a Join for B may land: nothing answered beyond B's acknowledgement.

use std::collections::BTreeMap;

use standin_core::identity::{Durability, Token};
use standin_core::message::{ReplyStatus, Swap};

use super::{Check, Verdict};
use crate::simulate::fact::{Answered, Asked, Fact};
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// What was acknowledged under each token, and which Joins may still land.
#[derive(Debug)]
pub(crate) struct Gating {
    durability: Durability,
    acknowledged: BTreeMap<Token, u64>,
    proposed: Vec<Swap>,
}

impl Gating {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            durability: plan.durability,
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
            // Only what was acknowledged under this very token counts (section 2), and also if the
            // token has died meanwhile.
            let acknowledged = self.acknowledged.get(&holder.token);
            if acknowledged.is_none_or(|through| *through < index.0) {
                return Err(format!(
                    "host {} answers entry {index}, which {} has not acknowledged",
                    answered.host, holder.name
                ));
            }
        }
        Ok(())
    }
}

impl Check for Gating {
    const PROPERTY: &'static str = "S15";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Acked { host, ack } => {
                if let Some(identity) = &truth.replicas[*host].identity {
                    let token = identity.token(self.durability);
                    let through = self.acknowledged.entry(token).or_default();
                    *through = ack.durable.0.max(*through);
                }
            }
            Fact::Cut { host, after, .. } => {
                if let Some(identity) = &truth.replicas[*host].identity {
                    for (token, through) in &mut self.acknowledged {
                        if token.store() == identity.store {
                            *through = after.0.min(*through);
                        }
                    }
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

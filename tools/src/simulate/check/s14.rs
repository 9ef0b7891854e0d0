//! S14: only holders become primary, except by Force, which raises the data epoch. And nobody is asked to
//! take a view over who has not applied the entry that says so (section 6).

use standin_core::entry::EntryKind;
use standin_core::message::Swap;
use standin_core::view::{Holder, Reason, ViewRecord};

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::{Truly, Truth};

/// That whoever is named holds what was answered.
#[derive(Debug)]
pub(crate) struct Promoting {
    /// The record from which Hand over was asked last. Asked again, the other one may be another by then.
    handed_over: Option<ViewRecord>,
}

impl Promoting {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self { handed_over: None }
    }

    fn hand_over(&mut self, truth: &Truth, swap: &Swap) -> Verdict {
        if self.handed_over.as_ref() == Some(&swap.expected) {
            return Ok(());
        }
        self.handed_over = Some(swap.expected.clone());
        let running = truth.replicas.iter().filter(|one| one.is_running);
        let mut running = running.filter_map(|one| Some((one.identity.as_ref()?, one)));
        let from = running.clone().find(|(one, _)| swap.identity == **one);
        let to = running.find(|(one, _)| swap.proposed.primary.is(one));
        // A process that has ended since is asked for in vain and does no harm.
        let (Some((_, from)), Some((_, to))) = (from, to) else {
            return Ok(());
        };
        let mut log = from.log.iter().rev();
        let entry = log.find(|link| link.header.kind == EntryKind::Handover);
        let entry = entry.filter(|link| link.header.view == swap.expected.view);
        let has_applied = entry.is_some_and(|entry| {
            let index = entry.header.index;
            to.link(index, false) == Some(entry)
                && to
                    .standing
                    .is_some_and(|standing| standing.applied >= index)
        });
        if has_applied {
            Ok(())
        } else {
            Err(format!(
                "{} asks to hand over to {}, which has not applied {entry:?}",
                swap.expected.primary.name, swap.proposed.primary.name
            ))
        }
    }
}

impl Check for Promoting {
    const PROPERTY: &'static str = "S14";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        if let Fact::Proposed { swap } = fact
            && swap.proposed.reason == Reason::HandedOver
        {
            return self.hand_over(truth, swap);
        }
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
        // Who held when a record was lost may have changed since anybody acted on one; that whoever is named has
        // what was answered S4 sees.
        if after.reason == Reason::Rebuilt {
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

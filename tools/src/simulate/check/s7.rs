//! S7: a replica acknowledges only its adopted view; that never falls, across crashes.

use standin_core::identity::StoreId;
use standin_core::view::ViewId;
use std::collections::BTreeMap;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// The highest view that each store has durably.
#[derive(Debug)]
pub(crate) struct Adopting {
    adopted: BTreeMap<StoreId, ViewId>,
}

impl Adopting {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self {
            adopted: BTreeMap::new(),
        }
    }

    fn of(&self, truth: &Truth, host: usize) -> Option<(StoreId, ViewId)> {
        let store = truth.replicas[host].identity.as_ref()?.store;
        Some((store, self.adopted.get(&store).copied().unwrap_or_default()))
    }
}

impl Check for Adopting {
    const PROPERTY: &'static str = "S7";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Started {
                host,
                identity,
                adopted,
                ..
            } => {
                let before = self.adopted.insert(identity.store, *adopted);
                let may_lack = truth.replicas[*host].may_lack();
                match before {
                    Some(before) if *adopted < before && !may_lack => Err(format!(
                        "host {host} starts with view {adopted} and had adopted {before}"
                    )),
                    _ => Ok(()),
                }
            }
            Fact::Adopted { host, view } => match self.of(truth, *host) {
                Some((store, before)) if *view >= before => {
                    self.adopted.insert(store, *view);
                    Ok(())
                }
                before => Err(format!("host {host} adopts {view} after {before:?}")),
            },
            Fact::Acked { host, ack } => match self.of(truth, *host) {
                Some((_, adopted)) if adopted == ack.view => Ok(()),
                adopted => Err(format!(
                    "host {host} acknowledges in view {} and has adopted {adopted:?}",
                    ack.view
                )),
            },
            _ => Ok(()),
        }
    }
}

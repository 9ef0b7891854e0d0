//! Where a follower sends Redis clients is where the primary of its view answers them: that very life, or nowhere. Of the
//! interface, not of the protocol.

use standin_core::message::RoleName;
use standin_core::view::ViewId;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::stage::resp_of;
use crate::simulate::truth::Truth;

/// Where each replica sent clients last, and in which view.
#[derive(Debug)]
pub(crate) struct Redirects(Vec<Option<(ViewId, String)>>);

impl Redirects {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self(vec![None; plan.replicas])
    }
}

impl Check for Redirects {
    const PROPERTY: &'static str = "RESP";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        let Fact::Turned {
            host,
            standing,
            primary_resp: Some(told),
            ..
        } = fact
        else {
            return Ok(());
        };
        let leads = matches!(standing.role, RoleName::Primary | RoleName::Candidate);
        let before = self.0[*host].as_ref();
        if leads || before.is_some_and(|(view, to)| *view == standing.view && to == told) {
            return Ok(());
        }
        self.0[*host] = Some((standing.view, (*told).to_owned()));
        let record = truth.records.get(&standing.view);
        let primary = record.map(|record| resp_of(&record.primary));
        match primary {
            Some(primary) if primary.as_str() == *told => Ok(()),
            primary => Err(format!(
                "host {host} sends clients to {told} in view {}, whose primary answers at {primary:?}",
                standing.view
            )),
        }
    }
}

//! S6: no index is answered with two different entries (same data epoch).

use standin_core::message::ReplyStatus;

use super::{Check, Verdict};
use crate::simulate::fact::{Asked, Fact};
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// That an index stands for one entry.
#[derive(Debug)]
pub(crate) struct Answers;

impl Answers {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self
    }
}

impl Check for Answers {
    const PROPERTY: &'static str = "S6";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        let Fact::Answered(answered) = fact else {
            return Ok(());
        };
        let is_read = matches!(answered.asked, Asked::Read(_));
        // S6 is about one data epoch.
        if answered.status != ReplyStatus::Done || is_read || !truth.is_of_data_epoch(answered.host)
        {
            return Ok(());
        }
        let index = answered.seen.index;
        let link = truth.replicas[answered.host].link(index, false);
        match (link, truth.answered.get(&index.0)) {
            (Some(link), Some(before)) if link.hash != *before => Err(format!(
                "index {index} is answered by host {} with another entry than before",
                answered.host
            )),
            _ => Ok(()),
        }
    }
}

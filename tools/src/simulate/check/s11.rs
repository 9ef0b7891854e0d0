//! S11: a (session, seq) takes effect at most once, and once if answered; a repeat gets the same reply.
//!
//! That nothing took effect twice is seen by the [`crate::simulate::watched::Watched`] machine of the
//! reference, and that all that was answered did, at the end of a run.

use super::{Check, Verdict};
use crate::simulate::fact::{Asked, Fact};
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// That a repeat gets the same reply.
#[derive(Debug)]
pub(crate) struct Repeats;

impl Repeats {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self
    }
}

impl Check for Repeats {
    const PROPERTY: &'static str = "S11";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        let Fact::Answered(answered) = fact else {
            return Ok(());
        };
        let Asked::Command { session, sequence } = answered.asked else {
            return Ok(());
        };
        let Some(outcome) = answered.outcome() else {
            return Ok(());
        };
        if !truth.is_of_data_epoch(answered.host) {
            return Ok(()); // another one's session may have that number by now
        }
        // The first wrong answer of all may be a repeat.
        let is_falsified = truth.is_falsified || truth.is_wrong(answered.host, answered.seen.index);
        match truth.replies.get(&(session, sequence)) {
            Some(before) if *before != outcome && !is_falsified => Err(format!(
                "request {sequence} of session {session} gets two different replies"
            )),
            _ => Ok(()),
        }
    }
}

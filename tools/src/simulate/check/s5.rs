//! S5: an active primary has every entry answered in lower views, at the same index (same data epoch).

use standin_core::entry::EntryKind;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// That a primary inherits all that was answered.
#[derive(Debug)]
pub(crate) struct Inheriting;

impl Inheriting {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self
    }
}

impl Check for Inheriting {
    const PROPERTY: &'static str = "S5";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        let Fact::Appended {
            host,
            batch,
            is_primary: true,
        } = fact
        else {
            return Ok(());
        };
        let start = batch
            .entries()
            .find(|entry| entry.header.kind == EntryKind::ViewStart);
        let Some(start) = start else {
            return Ok(());
        };
        let view = start.header.view;
        let lower = truth.answered_in.iter().filter(|(of, _)| of.view < view);
        let Some((index, hash)) = lower.map(|(_, last)| *last).max() else {
            return Ok(());
        };
        match truth.replicas[*host].link(index, false) {
            Some(link) if link.hash == hash => Ok(()),
            _ => Err(format!(
                "host {host} begins view {view} without entry {index}, which was answered"
            )),
        }
    }
}

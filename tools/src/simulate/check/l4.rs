//! L4: no role in between lasts for ever; view changes cease.

use super::Verdict;
use crate::simulate::heal::{Healing, Health};

/// Once everything is well it stays as it is for so many terms, at least.
pub(crate) const QUIET_TERMS: u32 = 4;

pub(crate) fn look(healing: &Healing, health: &Health) -> Verdict {
    let Some((since, view, _)) = healing.settled else {
        return Ok(());
    };
    let is_same = health
        .record
        .as_ref()
        .is_some_and(|record| record.id() == view);
    if is_same && !health.has_candidate {
        return Ok(());
    }
    let quiet = health.now.since(since);
    Err(format!(
        "{quiet:?} after all was well the view changes: {}",
        health.words
    ))
}

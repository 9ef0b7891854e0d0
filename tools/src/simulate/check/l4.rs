//! L4: no role in between lasts for ever; view changes cease.

use super::{Verdict, l2};
use crate::simulate::heal::{Healing, Health};

/// Once everything is well it stays as it is for so many terms, at least.
pub(crate) const QUIET_TERMS: u32 = 4;

/// Whether something has changed since everything was well: then that was too early.
pub(crate) fn is_restless(healing: &Healing, health: &Health) -> bool {
    healing.settled.is_some_and(|(_, view, _)| {
        let mut record = health.record.iter();
        health.has_candidate || !record.any(|record| record.id() == view)
    })
}

pub(crate) fn look(healing: &Healing, health: &Health) -> Verdict {
    let waited = health.now.since(healing.at);
    if waited < l2::WITHIN || healing.changes == 0 || healing.settled.is_some() {
        return Ok(());
    }
    Err(format!(
        "after {waited:?} views go on changing, {} times since all was well: {}",
        healing.changes, health.words
    ))
}

//! L2: a second replica: paired, all calls return.

use standin_core::time::Duration;

use super::Verdict;
use crate::simulate::heal::{Healing, Health};

/// A backup that was dropped again and again waits up to a minute before it may join.
pub(crate) const WITHIN: Duration = Duration::from_secs(75);

pub(crate) fn look(healing: &Healing, health: &Health) -> Verdict {
    let waited = health.now.since(healing.at);
    if waited < WITHIN || healing.settled.is_some() {
        return Ok(());
    }
    let lacking = health.lacking(healing);
    Err(format!(
        "{waited:?} after the faults have ended {lacking}: {}",
        health.words
    ))
}

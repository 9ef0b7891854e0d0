//! L5: bounds held.

use standin_primary::PENDING_ENTRIES_MAX;

use super::Verdict;
use crate::simulate::heal::{Healing, Health};

/// Things that happen in a term of a cluster that nobody asks anything, for each host: reports,
/// heartbeats and their answers.
const STEPS_PER_TERM_MAX: u64 = 400;

pub(crate) fn look(healing: &Healing, health: &Health) -> Verdict {
    if health.backlog > PENDING_ENTRIES_MAX {
        return Err(format!("{} entries wait to be applied", health.backlog));
    }
    let Some((since, _, before)) = healing.settled else {
        return Ok(());
    };
    let terms = health.now.since(since).as_nanos() / health.term.as_nanos();
    let terms = u64::try_from(terms).unwrap_or(u64::MAX).saturating_add(1);
    let steps = health.steps - before;
    if steps > STEPS_PER_TERM_MAX * terms * health.hosts {
        return Err(format!("{steps} things happened in {terms} quiet terms"));
    }
    Ok(())
}

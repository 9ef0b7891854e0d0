//! L3: a stalled backup is dropped, a stalled primary deposed, in their limits.
//!
//! The limits are those of the protocol's sections 3 and 6. What is added is what one step takes until
//! another party hears of it.

use standin_core::time::Duration;

use super::Verdict;
use crate::simulate::heal::{Duty, Healing, Health};

/// How long a duty may wait.
fn limit(duty: Duty, term: Duration) -> Duration {
    match duty {
        Duty::DropSilent => term / 2,
        // Some of another one goes by until the primary hears of it.
        Duty::DropUnseen => term * 6,
        // The lease runs out; a view service that was away has let a whole one run out before.
        Duty::DeposeSilent => term * 2,
        // And for a term it may get on with nothing and still renew.
        Duty::DeposeStalled => term * 3,
    }
}

pub(crate) fn look(healing: &Healing, health: &Health) -> Verdict {
    let Some((duty, _, _, since)) = healing.duty else {
        return Ok(());
    };
    // Clocks run up to 4 % slow, and one looks every quarter of a term.
    let limit = limit(duty, health.term);
    let limit = limit + limit / 10 + health.slack;
    let waited = health.now.since(since);
    if waited <= limit {
        return Ok(());
    }
    Err(format!(
        "{} since {waited:?}, and was within {limit:?}: {}",
        duty.words(),
        health.words
    ))
}

//! L3: a stalled backup is dropped, a stalled primary deposed, in their limits.

use super::Verdict;
use crate::simulate::heal::{Healing, Health};

pub(crate) fn look(healing: &Healing, health: &Health) -> Verdict {
    if healing.broken.is_none() || !health.has_broken_role {
        return Ok(());
    }
    Err(format!(
        "who is broken for good still has a role: {}",
        health.words
    ))
}

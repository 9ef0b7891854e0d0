//! L3: a stalled backup is dropped, a stalled primary deposed, in their limits.

use super::Verdict;
use crate::simulate::heal::{Broken, Healing, Health};

pub(crate) fn look(healing: &Healing, health: &Health) -> Verdict {
    // A disk that never syncs harms nobody who need not wait for it.
    let is_harmless = matches!(healing.broken, None | Some((_, Broken::StalledDisk)));
    if is_harmless || !health.has_broken_role {
        return Ok(());
    }
    Err(format!(
        "who is broken for good still has a role: {}",
        health.words
    ))
}

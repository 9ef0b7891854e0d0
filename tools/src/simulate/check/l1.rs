//! L1: a holder, the view service and a path: active primary within Tg + 1 s.
//!
//! If the faults end in a view whose candidate stays dead, that view is moved on after two terms more.

use super::Verdict;
use crate::simulate::heal::{Healing, Health};

pub(crate) fn look(healing: &Healing, health: &Health) -> Verdict {
    if healing.has_served || health.now <= healing.serves_by {
        return Ok(());
    }
    let waited = health.now.since(healing.at);
    Err(format!(
        "{waited:?} after the faults have ended there is no active primary: {}",
        health.words
    ))
}

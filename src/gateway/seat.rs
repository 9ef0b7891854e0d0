//! What a conversation may know of a gateway.

use standin_client::Seen;
use standin_core::time::Now;
use standin_kv::conversation::{Host, Info, Node, Place, Role};

use crate::front::{Counts, Facts};

/// The gateway at one moment.
pub(super) struct Seat<'a> {
    pub(super) facts: &'a Facts,
    pub(super) counts: Counts,
    /// The highest view and entry that it was answered from.
    pub(super) seen: Seen,
    pub(super) now: Now,
}

impl Host for Seat<'_> {
    fn password(&self) -> Option<&[u8]> {
        self.facts.password.as_deref()
    }

    /// Wherever the primary is: what is given out finds it.
    fn place(&self) -> Place<'_> {
        Place::Here
    }

    fn is_in_touch(&self) -> bool {
        true
    }

    fn nodes(&self) -> Option<Vec<Node>> {
        None
    }

    fn view(&self) -> u64 {
        self.seen.view.view.0
    }

    fn role(&self) -> Role {
        Role::Primary {
            index: self.seen.index.0,
            followers: Vec::new(),
        }
    }

    fn info(&self) -> Info {
        // It holds no keys itself.
        self.facts.info(self.counts, self.now, Vec::new())
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        self.facts.settings()
    }
}

//! S17: nothing corrupt, of another cluster or of a lower data epoch is applied.
//!
//! The [`crate::simulate::reference::Reference`] applies no entry but one that a primary made; here it
//! is watched that nothing else even comes into a log.

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::{Link, Truth, entries, next_link};

/// That what is in a log is what was ordered.
#[derive(Debug)]
pub(crate) struct Sound;

impl Sound {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self
    }
}

impl Check for Sound {
    const PROPERTY: &'static str = "S17";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        let (host, bytes, mut log): (_, _, Vec<Link>) = match fact {
            Fact::Started {
                host, base, log, ..
            } => {
                let trunk = truth.trunk(*base);
                if trunk.len() as u64 != base.index.0 {
                    return Err(format!(
                        "host {host} starts from entry {}, and nobody ever had a snapshot of it",
                        base.index
                    ));
                }
                (*host, *log, trunk.last().copied().into_iter().collect())
            }
            Fact::Appended {
                host,
                batch,
                is_primary: false,
            } => {
                let last = truth.replicas[*host].log.last();
                (*host, batch.bytes(), last.copied().into_iter().collect())
            }
            _ => return Ok(()),
        };
        for (entry, bytes) in entries(bytes) {
            let link = next_link(&log, &entry, bytes);
            let index = link.header.index;
            if !truth.made.contains_key(&(index.0, link.hash)) {
                return Err(format!("entry {index} of host {host} was never ordered"));
            }
            log = vec![link];
        }
        Ok(())
    }
}

//! S3: equal (index, view) in two logs: equal logs up to there.

use std::collections::BTreeMap;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::{Link, Truth, entries, next_link};

/// The hash over the log that ends with each (index, view) that any log ever had.
#[derive(Debug)]
pub(crate) struct Matching {
    hashes: BTreeMap<(u64, u64), u64>,
}

impl Matching {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self {
            hashes: BTreeMap::new(),
        }
    }

    fn compare(&mut self, host: usize, before: &[Link], bytes: &[u8]) -> Verdict {
        let mut last: Vec<Link> = before.last().copied().into_iter().collect();
        for (entry, bytes) in entries(bytes) {
            let link = next_link(&last, &entry, bytes);
            let (index, view) = (link.header.index, link.header.view);
            let known = *self.hashes.entry((index.0, view.0)).or_insert(link.hash);
            if known != link.hash {
                return Err(format!(
                    "the log of host {host} differs from another one up to entry {index} of view {view}"
                ));
            }
            last = vec![link];
        }
        Ok(())
    }
}

impl Check for Matching {
    const PROPERTY: &'static str = "S3";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Appended { host, batch, .. } => {
                self.compare(*host, &truth.replicas[*host].log, batch.bytes())
            }
            Fact::Started {
                host, base, log, ..
            } => self.compare(*host, truth.trunk(*base), log),
            _ => Ok(()),
        }
    }
}

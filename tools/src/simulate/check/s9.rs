//! S9: a cut removes nothing committed, applied or snapshotted.

use standin_core::entry::{Index, LogTip};
use standin_core::message::Standing;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// That cuts remove only what nobody ever applied, and so nobody answered.
#[derive(Debug)]
pub(crate) struct Cuts;

impl Cuts {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self
    }
}

impl Cuts {
    fn look_at_installed(truth: &Truth, host: usize, tip: LogTip, standing: &Standing) -> Verdict {
        let trunk = truth.trunk(tip);
        if trunk.is_empty() {
            return Err(format!(
                "host {host} goes on from entry {}, and nobody ever had a snapshot of it",
                tip.index
            ));
        }
        if truth.log_epoch(host) < standing.view.data_epoch {
            return Ok(());
        }
        let log = &truth.replicas[host].log;
        let parts_at = trunk
            .iter()
            .zip(log)
            .take_while(|(one, other)| one == other);
        let parts_at = parts_at.count();
        for link in log.iter().skip(parts_at) {
            let index = link.header.index;
            if index <= standing.commit || truth.is_applied(index, link.hash) {
                return Err(format!(
                    "host {host} gives up entry {index}, which was committed, for a snapshot as of entry {}",
                    tip.index
                ));
            }
        }
        Ok(())
    }
}

impl Check for Cuts {
    const PROPERTY: &'static str = "S9";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        let (host, after, standing) = match fact {
            Fact::Cut {
                host,
                after,
                standing,
            } => (host, after, standing),
            // What a snapshot has is not removed, if it is of the same history.
            Fact::Installed {
                host,
                tip,
                standing,
                ..
            } => return Self::look_at_installed(truth, *host, *tip, standing),
            _ => return Ok(()),
        };
        // A log of an earlier data epoch is set aside as a whole.
        if truth.log_epoch(*host) < standing.view.data_epoch && *after == Index::ZERO {
            return Ok(());
        }
        if *after < standing.commit || *after < standing.applied {
            return Err(format!(
                "host {host} cuts after {after} and stands at {standing:?}"
            ));
        }
        let first = usize::try_from(after.0).expect("a log in memory");
        for link in truth.replicas[*host].log.iter().skip(first) {
            let index = link.header.index;
            if truth.is_applied(index, link.hash) {
                return Err(format!(
                    "host {host} cuts entry {index}, which was applied somewhere"
                ));
            }
        }
        Ok(())
    }
}

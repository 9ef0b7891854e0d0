//! S16: logged time never falls; no timer early; expiry identical everywhere.
//!
//! Sessions are part of the state that S10 compares, so that they expire alike everywhere is seen
//! there.

use standin_core::entry::{EntryKind, TimerFired};
use standin_core::message::decode_payload;
use standin_core::time::WallTime;

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::{Truth, entries};

/// The times in the log.
#[derive(Debug)]
pub(crate) struct Time;

impl Time {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self
    }
}

impl Check for Time {
    const PROPERTY: &'static str = "S16";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        let Fact::Appended { host, batch, .. } = fact else {
            return Ok(());
        };
        let last = truth.replicas[*host].log.last();
        let mut time = last.map_or(WallTime::default(), |link| link.header.time);
        for (entry, _) in entries(batch.bytes()) {
            let index = entry.header.index;
            if entry.header.time < time {
                return Err(format!("time falls at entry {index} of host {host}"));
            }
            time = entry.header.time;
            if entry.header.kind == EntryKind::Timer {
                let fired: Option<TimerFired> = decode_payload(entry.payload);
                if fired.is_none_or(|fired| fired.deadline > time) {
                    return Err(format!(
                        "entry {index} is a timer that was not due: {fired:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

//! S12: the clients' history is linearizable.
//!
//! The log is the order: an answer must be what the reference came to at or before the entry that it
//! names (a read: right after it). What remains is real time: whatever
//! had returned before a call was made must lie before it. Machines that can be described as
//! registers are also checked without a look at the log, at the end of a run.

use standin_core::entry::Index;
use standin_core::message::{Consistency, ReplyStatus, Seen};
use standin_core::view::DataEpoch;
use std::collections::BTreeMap;

use super::{Check, Verdict};
use crate::simulate::fact::{Answered, Asked, End, Fact};
use crate::simulate::plan::Plan;
use crate::simulate::reference::Reference;
use crate::simulate::truth::Truth;
use crate::simulate::watched::Subject;

/// Holds an answer against the outcome in the reference.
pub(crate) fn compare<M: Subject>(reference: &Reference<M>, answered: &Answered<'_>) -> Verdict {
    if !matches!(answered.status, ReplyStatus::Done | ReplyStatus::Skipped) {
        return Ok(());
    }
    let index = answered.seen.index;
    if let Asked::Read(_) = answered.asked {
        if index != reference.state().applied() {
            return Ok(()); // the state of another moment; S10 vouches for it
        }
        let mut reply = Vec::new();
        let asked = reference.state().query(answered.query, &mut reply);
        return if asked.is_ok() && reply == answered.bytes {
            Ok(())
        } else {
            Err(format!(
                "a read at entry {index} is answered from another state"
            ))
        };
    }
    let outcome = match answered.asked {
        // A repeat is answered with the outcome of the first entry, whatever came in between.
        Asked::Command { session, sequence } => {
            let executed = reference.executed(session, sequence);
            executed
                .filter(|executed| executed.index <= index)
                .map(|executed| (executed.status, executed.reply.as_slice()))
        }
        Asked::Open | Asked::Direct => reference
            .outcome(index)
            .map(|outcome| (outcome.status, outcome.reply.as_slice())),
        // A session that is gone already needs no entry to be closed.
        Asked::Close | Asked::Read(_) => return Ok(()),
    };
    match outcome {
        Some((status, reply)) if status == answered.status && reply == answered.bytes => Ok(()),
        outcome => {
            let told = M::reply_words(answered.bytes);
            let told = format!("{:?} {told}", answered.status);
            let expected = outcome.map_or_else(
                || "no entry up to there is of it".to_owned(),
                |(status, reply)| {
                    let reply = M::reply_words(reply);
                    format!("the log leads to {status:?} {reply}")
                },
            );
            Err(format!(
                "host {} answers {} at entry {index} with {told}, and {expected}",
                answered.host,
                answered.asked.words(),
            ))
        }
    }
}

/// How far an answer is: a data epoch begins anew where the one before may have been further.
pub(super) type Place = (DataEpoch, Index);

pub(super) fn place(seen: &Seen) -> Place {
    (seen.view.data_epoch, seen.index)
}

/// Calls that are open, with the highest index that had been answered when each was made.
#[derive(Debug)]
pub(crate) struct RealTime {
    open: BTreeMap<u64, (Place, Option<Consistency>)>,
    returned: Place,
}

impl RealTime {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self {
            open: BTreeMap::new(),
            returned: Place::default(),
        }
    }
}

impl Check for RealTime {
    const PROPERTY: &'static str = "S12";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Called { call, asked, .. } => {
                self.open.insert(*call, (self.returned, *asked));
                Ok(())
            }
            Fact::Returned { call, end } => {
                let Some((floor, asked)) = self.open.remove(call) else {
                    return Err(format!("call {call} returned twice"));
                };
                let End::Answered(_, seen) = end else {
                    return Ok(());
                };
                if truth.is_given_up(seen) {
                    return Ok(());
                }
                let is_late = match asked {
                    // A command has an entry of its own.
                    None => place(seen) <= floor,
                    Some(Consistency::Confirmed) => place(seen) < floor,
                    // Lease reads are C2's, and stale ones promise nothing.
                    Some(Consistency::Lease | Consistency::Stale) => return Ok(()),
                };
                if is_late {
                    let what = match asked {
                        None => "command",
                        Some(_) => "query",
                    };
                    return Err(format!(
                        "call {call}, a {what}, came to entry {}, and {} had been answered \
                         before it was made",
                        seen.index, floor.1
                    ));
                }
                self.returned = self.returned.max(place(seen));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

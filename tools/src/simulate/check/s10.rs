//! S10: equal applied index: equal state and reply digests, also after restore and replay.
//!
//! Every replica is held against the [`Reference`] whenever it has applied something; the digests of
//! whole states are compared at the end of a run, and with those of a replay.

use super::Violation;
use crate::simulate::fact::Fact;
use crate::simulate::reference::Reference;
use crate::simulate::truth::Truth;
use crate::simulate::watched::Subject;

pub(crate) fn look<M: Subject>(
    reference: &mut Reference<M>,
    truth: &Truth,
    fact: &Fact<'_>,
) -> Result<(), Violation> {
    let fail = |what| Violation {
        property: "S10",
        what,
    };
    match fact {
        Fact::Applied {
            host,
            through,
            reply_digest,
        } => {
            // What is still applied of a data epoch that is over goes with it.
            if !truth.is_of_data_epoch(*host) {
                return Ok(());
            }
            reference
                .follow(truth, *host, *through)
                .map_err(|what| fail(format!("host {host}: {what}")))?;
            let outcome = reference.outcome(*through);
            if outcome.is_some_and(|outcome| outcome.reply_digest != *reply_digest) {
                return Err(fail(format!(
                    "the replies of host {host} up to entry {through} differ from the reference's"
                )));
            }
            if let Some(call) = reference.state().machine().twice() {
                return Err(Violation {
                    property: "S11",
                    what: format!("call {call} took effect twice"),
                });
            }
            Ok(())
        }
        Fact::Answered(answered) if truth.is_of_data_epoch(answered.host) => {
            super::s12::compare(reference, answered).map_err(|what| Violation {
                property: "S12",
                what,
            })
        }
        _ => Ok(()),
    }
}

//! S10: equal applied index: equal state and reply digests, also after restore and replay.
//!
//! Every replica is held against the [`Reference`] whenever it has applied something; the digests of
//! whole states are compared at the end of a run, and with those of a replay.

use super::Violation;
use crate::simulate::fact::Fact;
use crate::simulate::reference::Reference;
use crate::simulate::truth::Truth;
use crate::simulate::watched::Subject;

/// Whether a replica's replies up to what it has applied differ from the reference's.
pub(crate) fn differs<M: Subject>(reference: &Reference<M>, fact: &Fact<'_>) -> bool {
    let Fact::Applied {
        through,
        reply_digest,
        ..
    } = fact
    else {
        return false;
    };
    let outcome = reference.outcome(*through);
    outcome.is_some_and(|outcome| outcome.reply_digest != *reply_digest)
}

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
        // What is still applied of a data epoch that is over goes with it.
        Fact::Applied { host, .. } if !truth.is_of_data_epoch(*host) => Ok(()),
        Fact::Applied { host, through, .. } => {
            reference
                .follow(truth, *host, *through)
                .map_err(|what| fail(format!("host {host}: {what}")))?;
            if differs(reference, fact) && !truth.is_wrong(*host, *through) {
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
        Fact::Answered(answered) if !truth.is_of_data_epoch(answered.host) => Ok(()),
        // What a primary answers whose machine is wrong nobody else sees before the client does.
        Fact::Answered(answered) if truth.is_wrong(answered.host, answered.seen.index) => Ok(()),
        Fact::Answered(answered) => {
            super::s12::compare(reference, answered).map_err(|what| Violation {
                property: "S12",
                what,
            })
        }
        _ => Ok(()),
    }
}

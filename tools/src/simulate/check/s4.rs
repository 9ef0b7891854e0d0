//! S4: every answered entry is, within its durability level, in the log of every holder in the record.

use standin_core::identity::Token;
use standin_core::message::ReplyStatus;
use standin_core::view::ViewRecord;

use super::{Check, Verdict};
use crate::simulate::fact::{Asked, Fact};
use crate::simulate::plan::Plan;
use crate::simulate::truth::Truth;

/// That holders hold.
#[derive(Debug)]
pub(crate) struct Holding;

impl Holding {
    pub(crate) fn new(_plan: &Plan) -> Self {
        Self
    }

    /// All that was answered is at all holders of `record` whose token still stands.
    fn hold(truth: &Truth, record: &ViewRecord) -> Verdict {
        let Some((index, hash)) = truth.answered_last() else {
            return Ok(());
        };
        for holder in &record.holders {
            let Some((host, replica)) = truth.holder(holder) else {
                continue;
            };
            if replica.may_lack() || !replica.satisfies(holder.token) {
                continue;
            }
            let is_on_disk = matches!(holder.token, Token::Disk { .. });
            let link = replica.link(index, is_on_disk);
            if link.is_none_or(|link| link.hash != hash) {
                return Err(format!(
                    "entry {index} was answered, and holder {} (host {host}, {:?}) lacks it in view {}",
                    holder.name, holder.token, record.view
                ));
            }
        }
        Ok(())
    }
}

impl Check for Holding {
    const PROPERTY: &'static str = "S4";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Recorded { after, .. } => Self::hold(truth, after),
            // These come after what they may have changed: a start, a cut, a lost page cache, and an
            // answer of the turn that ends.
            Fact::Turned { .. } | Fact::Ended { .. } => truth
                .record
                .as_ref()
                .map_or(Ok(()), |record| Self::hold(truth, record)),
            Fact::Answered(answered)
                if answered.status == ReplyStatus::Done
                    && !matches!(answered.asked, Asked::Read(_)) =>
            {
                let own = truth.replicas[answered.host].link(answered.seen.index, false);
                match own {
                    Some(_) => Ok(()),
                    None => Err(format!(
                        "host {} answers entry {}, which is not in its log",
                        answered.host, answered.seen.index
                    )),
                }
            }
            _ => Ok(()),
        }
    }
}

//! S18: damage or lost holders end in "unavailable, and why", never in a wrong answer.
//!
//! Wrong answers are what the other properties look for, and the end of a run demands the "why". Here
//! it is watched that nobody goes out of service without a cause.

use std::collections::{BTreeMap, BTreeSet};

use standin_core::entry::Index;
use standin_core::identity::Durability;
use standin_core::poison::Skip;
use standin_core::view::{Holder, Member, ViewId, ViewRecord};

use super::{Check, Verdict};
use crate::simulate::fact::Fact;
use crate::simulate::plan::Plan;
use crate::simulate::truth::{Truth, entries, next_link};

/// Whether words that say why nobody serves are of use: they name every holder in the record, and what
/// the operator can do.
pub(crate) fn explain(record: &ViewRecord, why: Option<&str>) -> Verdict {
    let Some(why) = why else {
        return Err("nobody says why".to_owned());
    };
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let words: Vec<&str> = why.split(|letter| !is_of_name(letter)).collect();
    for holder in &record.holders {
        if !words.contains(&holder.name.as_str()) {
            return Err(format!("nothing is said of {}: {why:?}", holder.name));
        }
    }
    if words.contains(&"start") || why.contains("standin recover --primary ") {
        Ok(())
    } else {
        Err(format!("nobody says what to do: {why:?}"))
    }
}

/// That only what was damaged is treated as damaged.
#[derive(Debug)]
pub(crate) struct Quarantines {
    is_at_disk: bool,
    /// The record of each view, as it was last.
    records: BTreeMap<ViewId, ViewRecord>,
    /// Lives that only seek what their log lacks.
    mending: Vec<Member>,
    /// Entries at which a machine has failed.
    failed: BTreeSet<Skip>,
    /// How often processes died at an entry.
    deaths: BTreeMap<Skip, u32>,
}

impl Quarantines {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            is_at_disk: plan.durability == Durability::Disk,
            records: BTreeMap::new(),
            mending: Vec::new(),
            failed: BTreeSet::new(),
            deaths: BTreeMap::new(),
        }
    }
}

impl Check for Quarantines {
    const PROPERTY: &'static str = "S18";

    fn look(&mut self, truth: &Truth, fact: &Fact<'_>) -> Verdict {
        match fact {
            Fact::Quarantined { host, why } | Fact::Unstartable { host, why } => {
                let replica = &truth.replicas[*host];
                // A power loss may take any part of what a pair at `memory` or `os` had committed: then it is
                // no holder any more, and comes back with what is left. The known limits: of a disk failure
                // that was not noted recovery does not know; and a follower at `disk` does not know whether
                // a Join has made it a holder.
                let is_holder = truth.record.as_ref().is_some_and(|record| {
                    let mut holders = record.holders.iter();
                    holders.any(|holder| {
                        let found = truth.holder(holder);
                        found.is_some_and(|(at, it)| at == *host && it.satisfies(holder.token))
                    })
                });
                let is_follower = self.is_at_disk && replica.has_lost_cache && !is_holder;
                let is_left = (replica.is_failure_unnoted || is_follower)
                    && matches!(fact, Fact::Unstartable { .. });
                let has_cause = replica.is_tampered() || is_left;
                if has_cause {
                    return Ok(());
                }
                Err(format!(
                    "host {host} goes out of service without a cause: {why}"
                ))
            }
            Fact::Mending { identity, .. } => {
                self.mending.push(Member::of(identity));
                Ok(())
            }
            Fact::Poisoned { skip, .. } => {
                self.failed.insert(*skip);
                Ok(())
            }
            Fact::DiedAt { entry, .. } => {
                *self.deaths.entry(*entry).or_default() += 1;
                Ok(())
            }
            Fact::Recorded { after, .. } => {
                let deaths = |skip: &Skip| self.deaths.get(skip).copied().unwrap_or_default();
                let is_hasty = |skip: &&Skip| !self.failed.contains(*skip) && deaths(skip) < 2;
                if let Some(skip) = after.skips.iter().find(is_hasty) {
                    return Err(format!(
                        "entry {skip} is skipped after {} deaths at it",
                        deaths(skip)
                    ));
                }
                self.records.insert(after.id(), (*after).clone());
                if self.mending.contains(&after.primary) {
                    let name = &after.primary.name;
                    return Err(format!("{name} is named, whose log is damaged"));
                }
                Ok(())
            }
            Fact::DamagedSetAside { host, view, store } => {
                let is_of_store = |holder: &Holder| holder.token.store() == *store;
                let does_without =
                    |record: &ViewRecord| record.active && !record.holders.iter().any(is_of_store);
                if self.records.get(view).is_some_and(does_without) {
                    return Ok(());
                }
                Err(format!(
                    "host {host} sets its log aside, and view {view} counts on it"
                ))
            }
            Fact::Filled { host, after, bytes } => was_there(truth, *host, *after, bytes),
            _ => Ok(()),
        }
    }
}

/// Whether entries that are written where a log lacked some are those that it had there.
fn was_there(truth: &Truth, host: usize, after: Index, bytes: &[u8]) -> Verdict {
    let replica = &truth.replicas[host];
    // Nobody knows what an older copy had.
    if replica.may_lack() || replica.is_unread() {
        return Ok(());
    }
    let before = usize::try_from(after.0).expect("a log in memory");
    let Some(had) = replica.log.get(..before) else {
        return Ok(());
    };
    let mut log = had.to_vec();
    for (entry, bytes) in entries(bytes) {
        let link = next_link(&log, &entry, bytes);
        let index = entry.header.index;
        if replica.log.get(log.len()).is_some_and(|was| *was != link) {
            return Err(format!(
                "host {host} had another entry {index} than the one that is put in its place"
            ));
        }
        log.push(link);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use standin_core::identity::{ClusterId, Incarnation, ReplicaName, StoreId, Token};
    use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewNumber};

    use super::*;

    fn record() -> ViewRecord {
        let name = |name: &str| ReplicaName::new(name.to_owned()).expect("a name");
        let holder = |of: &str, store| Holder {
            name: name(of),
            token: Token::Disk {
                store: StoreId(store),
            },
        };
        ViewRecord {
            cluster: ClusterId(1),
            data_epoch: DataEpoch(0),
            view: ViewNumber(2),
            primary: Member {
                name: name("x"),
                incarnation: Incarnation { start: 1, nonce: 1 },
            },
            backup: None,
            holders: vec![holder("x", 1), holder("y-2", 2)],
            active: true,
            term_ms: 500,
            reason: Reason::Joined,
            skips: Vec::new(),
        }
    }

    #[test]
    fn words_are_of_use_if_they_name_all_holders_and_what_to_do() {
        let explain = |why| explain(&record(), why).is_ok();
        assert!(explain(Some("x and y-2 are silent; start x or y-2")));
        assert!(explain(Some(
            "x is an old copy; y-2 too; `standin recover --primary z --accept-loss` goes on"
        )));
        assert!(!explain(None));
        assert!(!explain(Some("nobody can serve at the moment, sorry")));
        assert!(!explain(Some("x is silent; start x, or y, or 2")));
        assert!(!explain(Some("x and y-2 are out of service")));
    }
}

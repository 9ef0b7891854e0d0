//! The other replicas, as long as they are remembered.

use std::collections::BTreeMap;

use standin_core::identity::ReplicaName;
use standin_core::machine::StateMachine;
use standin_core::message::REPLICAS_MAX;
use standin_core::time::Instant;
use standin_replica::Replica;

/// The other replicas that this one has followed, or that have followed it. Right after a takeover nobody follows, and
/// the new primary is not known by those that will: clients of a cluster that ask then, and were told of nobody else,
/// would give up, or not find the next primary.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// At most [`REPLICAS_MAX`].
    pub(super) all: BTreeMap<ReplicaName, Other>,
    /// Whom of them this replica followed last, unless it was primary itself since then.
    pub(super) primary: Option<ReplicaName>,
}

/// Where another replica answers clients, and when that was last so.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) address: String,
    pub(super) seen: Instant,
}

impl Others {
    fn see(&mut self, name: &ReplicaName, address: &str, now: Instant) {
        // Whoever was there before is not there any more.
        self.all
            .retain(|known, other| known == name || other.address != address);
        if let Some(other) = self.all.get_mut(name) {
            other.seen = now;
            if other.address != address {
                address.clone_into(&mut other.address);
            }
            return;
        }
        if self.all.len() >= REPLICAS_MAX {
            let oldest = self.all.iter().min_by_key(|(_, other)| other.seen);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| self.all.remove(&name));
        }
        let address = address.to_owned();
        self.all.insert(name.clone(), Other { address, seen: now });
    }

    /// Looks at who is there now.
    pub(super) fn look<M: StateMachine>(
        &mut self,
        replica: &Replica<M>,
        own: &ReplicaName,
        now: Instant,
    ) {
        let Some(primary) = replica.record().map(|record| &record.primary.name) else {
            return;
        };
        if primary == own {
            self.primary = None;
            for follower in replica.followers() {
                if let Some(address) = follower.resp {
                    self.see(follower.name, address, now);
                }
            }
        } else if let Some(address) = replica.primary_resp() {
            self.see(primary, address, now);
            if self.primary.as_ref() != Some(primary) {
                self.primary = Some(primary.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ReplicaName {
        ReplicaName::new(text).unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn known(others: &Others) -> Vec<(String, &str)> {
        let all = others.all.iter();
        all.map(|(name, other)| (name.to_string(), other.address.as_str()))
            .collect()
    }

    #[test]
    fn each_has_one_address_and_each_address_one_replica() {
        let mut others = Others::default();
        others.see(&name("b"), "127.0.0.1:1", at(1));
        others.see(&name("b"), "127.0.0.1:2", at(2));
        others.see(&name("c"), "127.0.0.1:3", at(3));
        let two = [
            ("b".to_owned(), "127.0.0.1:2"),
            ("c".to_owned(), "127.0.0.1:3"),
        ];
        assert_eq!(known(&others), two);
        // Somebody came in the place of b.
        others.see(&name("d"), "127.0.0.1:2", at(4));
        let two = [
            ("c".to_owned(), "127.0.0.1:3"),
            ("d".to_owned(), "127.0.0.1:2"),
        ];
        assert_eq!(known(&others), two);
    }

    #[test]
    fn whoever_was_seen_longest_ago_is_forgotten_first() {
        let mut others = Others::default();
        let count = u64::try_from(REPLICAS_MAX).unwrap();
        for number in 0..count {
            let address = format!("127.0.0.1:{number}");
            others.see(&name(&format!("r{number}")), &address, at(number));
        }
        others.see(&name("r0"), "127.0.0.1:0", at(count));
        others.see(&name("late"), "127.0.0.1:9999", at(count + 1));
        assert_eq!(others.all.len(), REPLICAS_MAX);
        assert!(others.all.contains_key(&name("r0")), "it was seen again");
        assert!(!others.all.contains_key(&name("r1")));
    }
}

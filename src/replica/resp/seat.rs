//! What a conversation may know of a replica.

use standin_core::identity::ReplicaName;
use standin_core::machine::StateMachine;
use standin_core::time::{Duration, Now};
use standin_kv::conversation::{Follower, Host, Info, KeyspaceInfo, Node, Place, Role, node_id};
use standin_replica::Replica;

use super::others::Others;
use crate::front::{Counts, Facts};

/// For how long another replica counts as heard of lately, and is named to clients of a cluster.
const LATELY: Duration = Duration::from_secs(60);

/// A replica at one moment.
pub(super) struct Seat<'a, M> {
    pub(super) replica: &'a Replica<M>,
    pub(super) own: &'a Own<M>,
    pub(super) others: &'a Others,
    pub(super) counts: Counts,
    pub(super) now: Now,
}

/// What stays the same as long as the process runs.
#[derive(Debug)]
pub(super) struct Own<M> {
    pub(super) name: ReplicaName,
    /// Where clients reach it.
    pub(super) host: String,
    pub(super) facts: Facts,
    pub(super) keyspace: fn(&M) -> Vec<KeyspaceInfo>,
}

impl<M: StateMachine> Host for Seat<'_, M> {
    fn password(&self) -> Option<&[u8]> {
        self.own.facts.password.as_deref()
    }

    fn place(&self) -> Place<'_> {
        if self.replica.takes_requests() {
            return Place::Here;
        }
        match self.replica.primary_resp() {
            // It is primary, and cannot serve yet.
            Some(_) if is_named_primary(self.replica, &self.own.name) => Place::Nowhere,
            Some(address) => Place::At(address),
            None => Place::Nowhere,
        }
    }

    fn is_in_touch(&self) -> bool {
        is_in_touch(self.replica)
    }

    fn nodes(&self) -> Option<Vec<Node>> {
        let standing = self.replica.standing();
        let is_primary = is_named_primary(self.replica, &self.own.name);
        let mut nodes = vec![Node {
            id: node_id(&self.own.name.to_string()),
            host: self.own.host.clone(),
            port: self.own.facts.port,
            is_primary,
            is_myself: true,
            is_alive: true,
            index: standing.last.index.0,
        }];
        let node = |name: &ReplicaName, address: &str, is_primary, index: u64| {
            let (host, port) = host_and_port(address);
            Node {
                id: node_id(&name.to_string()),
                host,
                port,
                is_primary,
                is_myself: false,
                is_alive: true,
                index,
            }
        };
        if is_primary {
            for follower in self.replica.followers() {
                if let Some(address) = follower.resp {
                    let index = follower.acknowledged.0;
                    nodes.push(node(follower.name, address, false, index));
                }
            }
        } else if let (Some(record), Some(address)) =
            (self.replica.record(), self.replica.primary_resp())
        {
            let index = standing.commit.0;
            nodes.push(Node {
                is_alive: self.replica.is_in_touch(),
                ..node(&record.primary.name, address, true, index)
            });
        }
        let has_primary = nodes.iter().any(|node| node.is_primary);
        for (name, other) in &self.others.all {
            // As in Redis, the last primary is named until there is another.
            let is_primary = !has_primary && self.others.primary.as_ref() == Some(name);
            let other = Node {
                is_alive: self.now.boot.since(other.seen) < LATELY,
                ..node(name, &other.address, is_primary, 0)
            };
            let is_new = |node: &Node| {
                let is_there = (&node.host, node.port) == (&other.host, other.port);
                node.id != other.id && !is_there
            };
            if nodes.iter().all(is_new) {
                nodes.push(other);
            }
        }
        Some(nodes)
    }

    fn view(&self) -> u64 {
        self.replica.standing().view.view.0
    }

    fn role(&self) -> Role {
        let index = self.replica.standing().last.index.0;
        if is_named_primary(self.replica, &self.own.name) {
            let followers = self.replica.followers().filter_map(|follower| {
                let (host, port) = host_and_port(follower.resp?);
                let index = follower.acknowledged.0;
                Some(Follower { host, port, index })
            });
            return Role::Primary {
                index,
                followers: followers.collect(),
            };
        }
        let address = self.replica.primary_resp();
        let (host, port) = host_and_port(address.unwrap_or_default());
        Role::Follower {
            host,
            port,
            is_connected: self.replica.is_in_touch(),
            index,
        }
    }

    fn info(&self) -> Info {
        let keyspace = match self.replica.state().is_poisoned() {
            // The machine has failed, and has no state any more.
            true => Vec::new(),
            false => (self.own.keyspace)(self.replica.state().machine()),
        };
        self.own.facts.info(self.counts, self.now, keyspace)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        self.own.facts.settings()
    }
}

/// Whether it is known for certain who executes commands.
pub(super) fn is_in_touch<M: StateMachine>(replica: &Replica<M>) -> bool {
    replica.takes_requests() || replica.primary_resp().is_some() && replica.is_in_touch()
}

/// Whether the replica of this name is the primary of the view that it knows.
fn is_named_primary<M: StateMachine>(replica: &Replica<M>, own: &ReplicaName) -> bool {
    replica
        .record()
        .is_some_and(|record| record.primary.name == *own)
}

/// The parts of `HOST:PORT`. An IPv6 address loses its brackets, as Redis shows it.
pub(super) fn host_and_port(address: &str) -> (String, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), port.parse().unwrap_or(0))
}

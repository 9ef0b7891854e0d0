//! Taking what a step brought about into the past, once the rules have looked at it.

use standin_core::entry::Index;
use standin_core::identity::{Identity, Life, ReplicaName};
use standin_core::message::{ReplyStatus, RoleName};
use standin_core::view::Reason;

use super::cluster::Cluster;
use super::links::name_of;
use super::node::store_of;
use super::past::{Answered, Fact, Past, Wish};
use super::rules::places;

/// Takes a fact into the past.
pub(super) fn note(cluster: &mut Cluster, fact: &Fact) {
    let made = match fact {
        Fact::Appended { host, batch, .. } => places(cluster, *host, batch),
        _ => Vec::new(),
    };
    let answered_hash = match fact {
        Fact::Answered { host, answered } => {
            let disk = &cluster.nodes[*host].disk;
            disk.hash_at(answered.seen.index, false)
        }
        _ => None,
    };
    let applied: Vec<(u64, u64)> = match fact {
        Fact::Turned { host, after, .. } => {
            let disk = &cluster.nodes[*host].disk;
            let known = cluster.past.applied.last_key_value();
            let new = known.map_or(0, |(index, _)| *index) + 1..=after.applied.0;
            new.filter_map(|index| Some((index, disk.hash_at(Index(index), false)?)))
                .collect()
        }
        _ => Vec::new(),
    };
    let durability = cluster.bounds.durability;
    let token_of = |(host, life): (usize, Life)| {
        let identity = Identity {
            name: ReplicaName::new(name_of(host)).expect("a letter is a name"),
            store: store_of(host),
            life,
            clean_lives: Vec::new(),
        };
        identity.token(durability)
    };
    let acked_under = match fact {
        Fact::Acked { host, .. } => cluster.nodes[*host]
            .disk
            .life
            .map(|life| token_of((*host, life))),
        _ => None,
    };
    let lives: Vec<_> = cluster.nodes.iter().map(|node| node.disk.life).collect();
    let past = cluster.past.edit();
    match fact {
        Fact::Appended {
            host,
            batch,
            is_primary,
        } => {
            past.made.extend(made);
            if let (true, Some(life)) = (is_primary, lives[*host]) {
                for (view, first) in batch.view_starts() {
                    past.begun.insert(*view, (*host, life.incarnation, *first));
                }
            }
        }
        Fact::Cut { host, after, .. } => {
            for (token, through) in &mut past.acknowledged {
                if token.store() == store_of(*host) {
                    *through = after.0.min(*through);
                }
            }
        }
        Fact::Acked { ack, .. } => {
            if let Some(token) = acked_under {
                let through = past.acknowledged.entry(token).or_default();
                *through = ack.durable.0.max(*through);
            }
        }
        Fact::Proposed(swap) if swap.proposed.reason == Reason::Joined => {
            past.proposed
                .retain(|other| other.proposed != swap.proposed);
            past.proposed.push((**swap).clone());
        }
        Fact::Answered { answered, .. } => note_answer(past, answered, answered_hash),
        Fact::Turned { host: _, after, .. } => {
            past.digests.insert(after.applied.0, after.reply_digest);
            past.applied.extend(applied);
            if after.role == RoleName::Primary {
                past.applied_in.insert(after.view, after.applied);
            }
        }
        Fact::Recorded { before, after } => {
            past.proposed.retain(|swap| swap.expected == **after);
            if after.active {
                past.active.insert(after.id(), after.primary.clone());
            }
            let host = (0..lives.len()).find(|at| name_of(*at) == after.primary.name.as_str());
            let host = host.expect("the primary is one of us");
            if let Some(before) = before {
                if after.active && !before.active {
                    past.activated[host] = Some(after.view);
                }
                past.takeovers += u32::from(before.primary.name != after.primary.name);
            }
        }
        Fact::Adopted { .. } | Fact::Proposed(_) | Fact::Quarantined { .. } => {}
    }
}

fn note_answer(past: &mut Past, answered: &Answered, hash: Option<u64>) {
    if answered.status != ReplyStatus::Done {
        return;
    }
    if let Wish::Write(call) = answered.asked.wish {
        past.replies.insert(call, answered.bytes.clone());
    }
    if answered.asked.wish != Wish::Read
        && let Some(hash) = hash
    {
        let index = answered.seen.index.0;
        let first = past
            .answered
            .entry(index)
            .or_insert((hash, answered.seen.view));
        first.1 = first.1.min(answered.seen.view);
    }
    if answered.asked.wish != Wish::Open && answered.bytes.len() > past.longest.len() {
        past.longest = answered.bytes.as_slice().into();
    }
}

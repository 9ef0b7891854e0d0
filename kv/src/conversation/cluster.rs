//! How clients find the primary: as in a cluster of Redis that has one shard, with all slots.

use standin_resp::request::Request;
use standin_resp::writer::ReplyWriter;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::subcommands::{self, Subcommand, row};
use super::{Host, Node, Place, Step, Taking};
use crate::call::{Outcome, Refusal};
use crate::table::Spec;

/// How many slots keys are spread over: all of them are where the primary is.
pub const SLOTS: u16 = 16_384;

const DISABLED: Refusal = Refusal::of("ERR This instance has cluster support disabled");
const DOWN: Refusal = Refusal::of("CLUSTERDOWN The cluster is down");

const SUBCOMMANDS: &[Subcommand] = &[
    row("info", 2, "", "Return information about the cluster."),
    row("keyslot", 3, "<key>", "Return the hash slot for <key>."),
    row(
        "links",
        2,
        "",
        "Return the links between nodes: there is none of this kind.",
    ),
    row("myid", 2, "", "Return the node id."),
    row("nodes", 2, "", "Return the nodes, a line each."),
    row(
        "replicas",
        3,
        "<node-id>",
        "Return the nodes that follow <node-id>.",
    ),
    row("shards", 2, "", "Return the one shard and its nodes."),
    row("slaves", 3, "<node-id>", "The same as REPLICAS."),
    row("slots", 2, "", "Return the range of slots and its nodes."),
];

/// CRC-16 with the polynomial 0x1021, as Redis has it.
const CRC_TABLE: [u16; 256] = crc_table();

#[expect(clippy::cast_possible_truncation, reason = "below 256")]
const fn crc_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

/// The slot of a key. If it has something between the first `{` and the next `}`, that alone counts.
#[must_use]
pub fn key_slot(key: &[u8]) -> u16 {
    let tag = || {
        let open = key.iter().position(|byte| *byte == b'{')?;
        let inside = &key[open + 1..];
        let close = inside.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &inside[..close])
    };
    let hashed = tag().unwrap_or(key);
    let crc = hashed.iter().fold(0u16, |crc, byte| {
        (crc << 8) ^ CRC_TABLE[usize::from(crc >> 8) ^ usize::from(*byte)]
    });
    crc % SLOTS
}

/// The 40 hexadecimal digits that a replica's name stands for, among those of this cluster.
#[must_use]
pub fn node_id(name: &str) -> String {
    let bytes = name.as_bytes();
    let more = xxh3_64_with_seed(bytes, 1) >> 32;
    format!("{:032x}{more:08x}", xxh3_128(bytes))
}

/// Where in a request the keys are.
pub(super) fn keys<'r>(spec: &Spec, request: &Request<'r>) -> Vec<&'r [u8]> {
    let numbered = |at: usize| {
        let number = request
            .argument(at)
            .and_then(|it| std::str::from_utf8(it).ok());
        let count = number.and_then(|it| it.parse().ok()).unwrap_or(0);
        request.iter().skip(at + 1).take(count)
    };
    match spec.name {
        "zunion" | "zinter" | "zdiff" | "zintercard" | "sintercard" | "lmpop" | "zmpop" => {
            numbered(1).collect()
        }
        "zunionstore" | "zinterstore" | "zdiffstore" => {
            request.argument(1).into_iter().chain(numbered(2)).collect()
        }
        "object" => request.argument(2).into_iter().collect(),
        _ => {
            let places = spec.key_places(request.len());
            places.filter_map(|at| request.argument(at)).collect()
        }
    }
}

/// The slot of the first key of a request, if it has keys.
pub(super) fn slot_of(spec: &Spec, request: &Request<'_>) -> Option<u16> {
    keys(spec, request).first().map(|key| key_slot(key))
}

/// Whether a request with CLUSTER asks which replica is primary.
pub(super) fn names_primary(request: &Request<'_>) -> bool {
    let name = request.argument(1).unwrap_or_default();
    ["nodes", "shards", "slots"]
        .iter()
        .any(|it| name.eq_ignore_ascii_case(it.as_bytes()))
}

/// Sends a client elsewhere whose command is not executed here.
pub(super) fn check_place(spec: &Spec, request: &Request<'_>, host: &dyn Host) -> Outcome {
    match host.place() {
        Place::Here => Ok(()),
        _ => check_place_of_slot(slot_of(spec, request).unwrap_or(0), host),
    }
}

/// The same where the slot is known.
pub(super) fn check_place_of_slot(slot: u16, host: &dyn Host) -> Outcome {
    match host.place() {
        Place::Here => Ok(()),
        Place::At(addr) => Err(Refusal::quoting(format!("MOVED {slot} {addr}").into())),
        Place::Nowhere => Err(DOWN),
    }
}

/// READONLY, READWRITE, ASKING: whoever follows the primary answers no reads in any case.
pub(super) fn mode(taking: &mut Taking<'_, '_>) -> Outcome<Step> {
    match taking.host.nodes() {
        Some(_) => taking.ok(),
        None => Err(DISABLED),
    }
}

pub(super) fn cluster(taking: &mut Taking<'_, '_>) -> Outcome<Step> {
    let name = subcommands::find("cluster", SUBCOMMANDS, taking)?;
    if name == "help" {
        return Ok(Step::Replied);
    }
    let mut nodes = taking.host.nodes().ok_or(DISABLED)?;
    // The primary is named first, whatever order the host has.
    nodes.sort_by_key(|node| !node.is_primary);
    let primary = nodes.iter().find(|node| node.is_primary);
    let view = taking.host.view();
    match name {
        "info" => taking.reply.verbatim(*b"txt", info(&nodes, view)),
        "keyslot" => {
            let slot = key_slot(taking.at(2));
            taking.reply.integer(i64::from(slot));
        }
        "links" => taking.reply.array(0),
        "myid" => {
            let myself = nodes.iter().find(|node| node.is_myself);
            let id = myself.map_or("", |node| &node.id);
            taking.reply.bulk(id);
        }
        "nodes" => {
            let lines: String = nodes
                .iter()
                .map(|node| line(node, primary, view) + "\n")
                .collect();
            taking.reply.verbatim(*b"txt", lines);
        }
        "replicas" | "slaves" => {
            let id = taking.at(2);
            let Some(asked) = nodes.iter().find(|node| node.id.as_bytes() == id) else {
                return Err(Refusal::quoting([b"ERR Unknown node ", id].concat()));
            };
            if !asked.is_primary {
                return Err(Refusal::of("ERR The specified node is not a master"));
            }
            let followers = || nodes.iter().filter(|node| !node.is_primary);
            taking.reply.array(followers().count());
            followers().for_each(|node| taking.reply.bulk(line(node, primary, view)));
        }
        "shards" => shards(&nodes, &mut taking.reply),
        _ => slots(&nodes, primary, &mut taking.reply),
    }
    Ok(Step::Replied)
}

fn info(nodes: &[Node], view: u64) -> String {
    let is_up = nodes.iter().any(|node| node.is_primary);
    let slots = if is_up { SLOTS } else { 0 };
    format!(
        "cluster_state:{}\r\ncluster_slots_assigned:{slots}\r\ncluster_slots_ok:{slots}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{}\r\ncluster_size:1\r\n\
         cluster_current_epoch:{view}\r\ncluster_my_epoch:{view}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n",
        if is_up { "ok" } else { "fail" },
        nodes.len(),
    )
}

/// A line of CLUSTER NODES. The nodes have no bus of their own, so that its port is 0.
fn line(node: &Node, primary: Option<&Node>, view: u64) -> String {
    let myself = if node.is_myself { "myself," } else { "" };
    let failed = if node.is_alive { "" } else { ",fail" };
    let part = if node.is_primary { "master" } else { "slave" };
    let follows = match primary {
        Some(primary) if !node.is_primary => &primary.id,
        _ => "-",
    };
    let link = if node.is_alive {
        "connected"
    } else {
        "disconnected"
    };
    let slots = if node.is_primary { " 0-16383" } else { "" };
    format!(
        "{} {}:{}@0 {myself}{part}{failed} {follows} 0 0 {view} {link}{slots}",
        node.id, node.host, node.port
    )
}

fn slots(nodes: &[Node], primary: Option<&Node>, reply: &mut ReplyWriter<'_>) {
    if primary.is_none() {
        reply.array(0);
        return;
    }
    // Those that are not there are left out, as in Redis.
    let listed = || nodes.iter().filter(|node| node.is_primary || node.is_alive);
    reply.array(1);
    reply.array(2 + listed().count());
    reply.integer(0);
    reply.integer(i64::from(SLOTS - 1));
    for node in listed() {
        reply.array(4);
        reply.bulk(&node.host);
        reply.integer(i64::from(node.port));
        reply.bulk(&node.id);
        reply.map(0);
    }
}

fn shards(nodes: &[Node], reply: &mut ReplyWriter<'_>) {
    reply.array(1);
    reply.map(2);
    reply.bulk("slots");
    match nodes.iter().any(|node| node.is_primary) {
        true => {
            reply.array(2);
            reply.integer(0);
            reply.integer(i64::from(SLOTS - 1));
        }
        false => reply.array(0),
    }
    reply.bulk("nodes");
    reply.array(nodes.len());
    for node in nodes {
        reply.map(7);
        reply.bulk("id");
        reply.bulk(&node.id);
        reply.bulk("port");
        reply.integer(i64::from(node.port));
        reply.bulk("ip");
        reply.bulk(&node.host);
        reply.bulk("endpoint");
        reply.bulk(&node.host);
        reply.bulk("role");
        reply.bulk(if node.is_primary { "master" } else { "replica" });
        reply.bulk("replication-offset");
        reply.integer(i64::try_from(node.index).unwrap_or(i64::MAX));
        reply.bulk("health");
        reply.bulk(if node.is_alive { "online" } else { "fail" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // From the specification of Redis Cluster, and from a server.
        assert_eq!(key_slot(b"123456789"), 0x31c3 % SLOTS);
        assert_eq!(key_slot(b"a{b}"), 3300);
        assert_eq!(key_slot(b"b"), 3300);
        // An empty tag is none: all of the key counts.
        assert_eq!(key_slot(b"foo{}{bar}"), 8363);
        assert_eq!(key_slot(b"foo{{bar}}zap"), key_slot(b"{bar"));
        assert_eq!(key_slot(b"foo{bar}{zap}"), key_slot(b"bar"));
        assert_eq!(key_slot(b""), 0);
    }

    #[test]
    fn names_of_nodes_have_40_digits_and_differ() {
        let ids: Vec<String> = ["a", "b", "c", ""]
            .iter()
            .map(|name| node_id(name))
            .collect();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(id.len(), 40);
            assert!(id.bytes().all(|digit| digit.is_ascii_hexdigit()));
            assert!(!ids[..at].contains(id));
        }
    }
}

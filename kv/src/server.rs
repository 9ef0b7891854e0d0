//! What clients ask about the server and the cluster rather than about keys: the shapes of these replies, around
//! facts that only a connection's host knows.

use standin_resp::number::parse_integer;
use standin_resp::request::Request;
use standin_resp::writer::ReplyWriter;

use crate::call::Refusal;
use crate::commands::keys::unknown_subcommand;
use crate::glob;
use crate::table::{self, Handler, Spec};

/// Slots of a cluster. All of them are one shard's.
pub const SLOTS: u16 = 16_384;

/// A replica, as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Forty hexadecimal digits.
    pub id: String,
    /// The host that clients reach it by.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The index of the last entry that it has.
    pub index: u64,
    /// Whether it is heard of.
    pub is_online: bool,
}

/// What a host knows, when somebody asks.
pub trait Facts {
    /// The primary, if there is one now.
    fn primary(&self) -> Option<Node>;
    /// All others that may be named to clients.
    fn others(&self) -> Vec<Node>;
    /// The id of the replica that is asked.
    fn own_id(&self) -> String;
    /// The number of the view.
    fn view(&self) -> u64;
    /// How many replicas besides the primary have all that was answered.
    fn in_sync(&self) -> usize;
    /// The sections of INFO, each a title (`Server`) and lines of `name:value`, in order.
    fn info(&self) -> Vec<(&'static str, Vec<(String, String)>)>;
    /// The parameters that CONFIG GET knows, by name.
    fn parameters(&self) -> Vec<(String, String)>;
    /// The lines of CLIENT LIST.
    fn clients(&self) -> Vec<String>;
}

/// Answers a request that [`crate::conversation::Next::Host`] has named, but for AUTH and HELLO, which take a
/// host that knows a password.
///
/// # Errors
/// The request is wrong, or not for this function.
pub fn answer(
    request: Request<'_>,
    facts: &dyn Facts,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), Refusal> {
    let name = request.argument(0).unwrap_or_default().to_ascii_lowercase();
    match name.as_slice() {
        b"info" => info(request, facts, reply),
        b"role" => role(facts, reply),
        b"wait" => return wait(request, facts, reply),
        b"cluster" => return cluster(request, facts, reply),
        b"config" => return config(request, facts, reply),
        b"client" => {
            let mut text = facts.clients().join("\n");
            text.push('\n');
            reply.verbatim(*b"txt", text);
        }
        _ => return Err(Refusal::of("ERR this is not answered here")),
    }
    Ok(())
}

fn info(request: Request<'_>, facts: &dyn Facts, reply: &mut ReplyWriter<'_>) {
    let is_wanted = |title: &str| {
        let every: [&[u8]; 3] = [b"all", b"default", b"everything"];
        let is_named = |word: &[u8]| {
            word.eq_ignore_ascii_case(title.as_bytes())
                || every.iter().any(|it| word.eq_ignore_ascii_case(it))
        };
        request.len() == 1 || request.iter().skip(1).any(is_named)
    };
    let mut text = String::new();
    for (title, lines) in facts.info() {
        if !is_wanted(title) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        text.push_str(&format!("# {title}\r\n"));
        for (name, value) in lines {
            text.push_str(&format!("{name}:{value}\r\n"));
        }
    }
    reply.verbatim(*b"txt", text);
}

fn role(facts: &dyn Facts, reply: &mut ReplyWriter<'_>) {
    let own_id = facts.own_id();
    let (primary, others) = (facts.primary(), facts.others());
    if let Some(primary) = primary.as_ref().filter(|it| it.id == own_id) {
        reply.array(3);
        reply.bulk("master");
        reply.integer(signed(primary.index));
        reply.array(others.len());
        for other in others {
            reply.array(3);
            reply.bulk(other.host);
            reply.bulk(other.port.to_string());
            reply.bulk(other.index.to_string());
        }
        return;
    }
    let own = others.iter().find(|other| other.id == own_id);
    let is_connected = primary.as_ref().is_some_and(|it| it.is_online);
    reply.array(5);
    reply.bulk("slave");
    reply.bulk(primary.as_ref().map_or("", |it| it.host.as_str()));
    reply.integer(primary.as_ref().map_or(0, |it| i64::from(it.port)));
    reply.bulk(if is_connected { "connected" } else { "connect" });
    reply.integer(signed(own.map_or(0, |it| it.index)));
}

fn signed(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// Whatever was answered before is on all of them already, so there is nothing to wait for.
fn wait(
    request: Request<'_>,
    facts: &dyn Facts,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), Refusal> {
    let number = |place: usize| {
        let text = request.argument(place).unwrap_or_default();
        parse_integer(text).ok_or(Refusal::NOT_INTEGER)
    };
    number(1)?;
    if number(2)? < 0 {
        return Err(Refusal::of("ERR timeout is negative"));
    }
    reply.count(facts.in_sync());
    Ok(())
}

fn config(
    request: Request<'_>,
    facts: &dyn Facts,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), Refusal> {
    let word = request.argument(1).unwrap_or_default();
    if !word.eq_ignore_ascii_case(b"get") {
        return Err(unknown_subcommand("CONFIG", word));
    }
    if request.len() < 3 {
        return Err(Refusal::arity("config|get"));
    }
    let is_asked_for = |name: &str| {
        let mut patterns = request.iter().skip(2);
        patterns.any(|it| glob::is_match(&it.to_ascii_lowercase(), name.as_bytes()))
    };
    let mut found = facts.parameters();
    found.retain(|(name, _)| is_asked_for(name));
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name);
        reply.bulk(value);
    }
    Ok(())
}

fn cluster(
    request: Request<'_>,
    facts: &dyn Facts,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), Refusal> {
    let word = request.argument(1).unwrap_or_default();
    let lower = word.to_ascii_lowercase();
    let arguments = if lower == b"keyslot" { 3 } else { 2 };
    let known: [&[u8]; 6] = [b"slots", b"shards", b"nodes", b"info", b"myid", b"keyslot"];
    if !known.contains(&lower.as_slice()) {
        return Err(unknown_subcommand("CLUSTER", word));
    }
    if request.len() != arguments {
        let name = format!("cluster|{}", String::from_utf8_lossy(&lower));
        return Err(Refusal::arity(&name));
    }
    match lower.as_slice() {
        b"slots" => cluster_slots(facts, reply),
        b"shards" => cluster_shards(facts, reply),
        b"nodes" => reply.verbatim(*b"txt", cluster_nodes(facts)),
        b"info" => reply.verbatim(*b"txt", cluster_info(facts)),
        b"myid" => reply.bulk(facts.own_id()),
        _ => {
            let key = request.argument(2).unwrap_or_default();
            reply.integer(i64::from(key_slot(key)));
        }
    }
    Ok(())
}

fn cluster_slots(facts: &dyn Facts, reply: &mut ReplyWriter<'_>) {
    let Some(primary) = facts.primary() else {
        return reply.array(0);
    };
    let mut nodes = vec![primary];
    nodes.extend(facts.others().into_iter().filter(|it| it.is_online));
    reply.array(1);
    reply.array(2 + nodes.len());
    reply.integer(0);
    reply.integer(i64::from(SLOTS - 1));
    for node in nodes {
        reply.array(4);
        reply.bulk(node.host);
        reply.integer(i64::from(node.port));
        reply.bulk(node.id);
        reply.array(0);
    }
}

fn cluster_shards(facts: &dyn Facts, reply: &mut ReplyWriter<'_>) {
    let primary = facts.primary().map(|node| (node, "master"));
    let others = facts.others().into_iter().map(|node| (node, "replica"));
    let nodes: Vec<(Node, &str)> = primary.into_iter().chain(others).collect();
    reply.array(1);
    reply.map(2);
    reply.bulk("slots");
    reply.array(2);
    reply.integer(0);
    reply.integer(i64::from(SLOTS - 1));
    reply.bulk("nodes");
    reply.array(nodes.len());
    for (node, role) in nodes {
        reply.map(7);
        reply.bulk("id");
        reply.bulk(node.id);
        reply.bulk("port");
        reply.integer(i64::from(node.port));
        reply.bulk("ip");
        reply.bulk(&node.host);
        reply.bulk("endpoint");
        reply.bulk(node.host);
        reply.bulk("role");
        reply.bulk(role);
        reply.bulk("replication-offset");
        reply.integer(signed(node.index));
        reply.bulk("health");
        reply.bulk(if node.is_online { "online" } else { "fail" });
    }
}

fn cluster_nodes(facts: &dyn Facts) -> String {
    let own = facts.own_id();
    let view = facts.view();
    let primary = facts.primary();
    let leader = primary.as_ref().map_or("-".to_owned(), |it| it.id.clone());
    let line = |node: &Node, role: &str, leader: &str, slots: String| {
        let me = if node.id == own { "myself," } else { "" };
        let fail = if node.is_online { "" } else { ",fail" };
        let link = if node.is_online {
            "connected"
        } else {
            "disconnected"
        };
        // The port behind the @ is that of Redis's own bus, which there is none of.
        let (id, host, port) = (&node.id, &node.host, node.port);
        format!("{id} {host}:{port}@0 {me}{role}{fail} {leader} 0 0 {view} {link}{slots}\n")
    };
    let mut text = String::new();
    if let Some(primary) = &primary {
        text += &line(primary, "master", "-", format!(" 0-{}", SLOTS - 1));
    }
    for other in facts.others() {
        text += &line(&other, "slave", &leader, String::new());
    }
    text
}

fn cluster_info(facts: &dyn Facts) -> String {
    let primary = facts.primary();
    let state = if primary.is_some() { "ok" } else { "fail" };
    let known = usize::from(primary.is_some()) + facts.others().len();
    let view = facts.view();
    format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{known}\r\n\
         cluster_size:1\r\ncluster_current_epoch:{view}\r\ncluster_my_epoch:{view}\r\n"
    )
}

/// The slot of a key: CRC-16 (XMODEM) of the key, or of what is between its first braces, if anything is.
#[must_use]
pub fn key_slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then_some(&rest[..close])
    });
    let checksum = tag.unwrap_or(key).iter().fold(0_u16, |checksum, byte| {
        (0..8).fold(checksum ^ (u16::from(*byte) << 8), |it, _| {
            it << 1 ^ if it & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    });
    checksum % SLOTS
}

/// Answers COMMAND: COUNT, LIST, INFO, DOCS or, without a subcommand, all of INFO.
pub(crate) fn command(request: Request<'_>, reply: &mut ReplyWriter<'_>) -> Result<(), Refusal> {
    let exists = |spec: &&'static Spec| !matches!(spec.handler, Handler::Missing);
    let all: Vec<&'static Spec> = table::all().filter(exists).collect();
    let Some(word) = request.argument(1) else {
        reply.array(all.len());
        all.iter().for_each(|spec| command_info(spec, reply));
        return Ok(());
    };
    let named = |place: usize| {
        let names = request.iter().skip(place);
        names.map(|name| table::find(name).filter(exists))
    };
    match word.to_ascii_lowercase().as_slice() {
        b"count" if request.len() == 2 => reply.count(all.len()),
        b"count" => return Err(Refusal::arity("command|count")),
        b"list" if request.len() == 2 => {
            reply.array(all.len());
            all.iter().for_each(|spec| reply.bulk(spec.name));
        }
        b"info" if request.len() == 2 => {
            reply.array(all.len());
            all.iter().for_each(|spec| command_info(spec, reply));
        }
        b"info" => {
            reply.array(request.len() - 2);
            for spec in named(2) {
                match spec {
                    Some(spec) => command_info(spec, reply),
                    None => reply.null_array(),
                }
            }
        }
        b"docs" => {
            let specs: Vec<&Spec> = match request.len() {
                2 => all,
                _ => named(2).flatten().collect(),
            };
            reply.map(specs.len());
            for spec in specs {
                reply.bulk(spec.name);
                reply.map(3);
                reply.bulk("summary");
                reply.bulk("As in Redis 7");
                reply.bulk("since");
                reply.bulk("0.1.0");
                reply.bulk("group");
                reply.bulk(group(spec));
            }
        }
        _ => return Err(unknown_subcommand("COMMAND", word)),
    }
    Ok(())
}

/// The group of COMMAND DOCS that a command is in.
fn group(spec: &Spec) -> &'static str {
    let groups = [
        ("string", "string"),
        ("hash", "hash"),
        ("list", "list"),
        ("sortedset", "sorted-set"),
        ("set", "set"),
        ("transaction", "transactions"),
        ("connection", "connection"),
        ("keyspace", "generic"),
    ];
    let is_in = |category: &str| spec.categories.split(' ').any(|it| it == category);
    let found = groups.iter().find(|(category, _)| is_in(category));
    found.map_or("server", |(_, group)| group)
}

fn command_info(spec: &Spec, reply: &mut ReplyWriter<'_>) {
    let words = |text: &'static str| text.split(' ').filter(|word| !word.is_empty());
    reply.array(10);
    reply.bulk(spec.name);
    reply.integer(i64::from(spec.arity));
    reply.set(words(spec.flags).count());
    words(spec.flags).for_each(|flag| reply.simple(flag));
    spec.keys
        .iter()
        .for_each(|place| reply.integer(i64::from(*place)));
    reply.set(words(spec.categories).count());
    words(spec.categories).for_each(|category| reply.simple(format!("@{category}")));
    // Tips, key specifications and subcommands: what is above says where the keys are.
    reply.set(0);
    reply.set(0);
    reply.array(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(key_slot(b"foo"), 12_182);
        assert_eq!(key_slot(b"123456789"), 12_739);
        assert_eq!(key_slot(b"{foo}.bar"), 12_182);
        assert_eq!(key_slot(b"a{foo}b{bar}"), 12_182);
        assert_ne!(key_slot(b"{}foo"), 12_182);
        assert_eq!(key_slot(b""), 0);
    }
}

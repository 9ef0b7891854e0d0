//! INFO and ROLE: what a process says of itself, in the words of Redis.

use std::fmt::Write as _;

use super::handshake::REDIS_VERSION;
use super::{Host, Info, Role, Step, Taking};
use crate::call::Outcome;

/// Sections in the order in which they are shown.
const SECTIONS: [&str; 9] = [
    "Server",
    "Clients",
    "Memory",
    "Persistence",
    "Stats",
    "Replication",
    "Modules",
    "Cluster",
    "Keyspace",
];

pub(super) fn info(taking: &mut Taking<'_, '_>) -> Outcome<Step> {
    taking.check_names()?;
    let asked: Vec<String> = taking
        .request
        .iter()
        .skip(1)
        .map(|word| String::from_utf8_lossy(word).to_ascii_lowercase())
        .collect();
    let is_all = |word: &String| ["all", "default", "everything"].contains(&&**word);
    let is_asked = |section: &str| {
        asked.is_empty()
            || asked
                .iter()
                .any(|word| is_all(word) || section.eq_ignore_ascii_case(word))
    };
    let facts = taking.host.info();
    let mut text = String::new();
    for section in SECTIONS.into_iter().filter(|section| is_asked(section)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _ = write!(text, "# {section}\r\n");
        write_section(section, &facts, taking.host, &mut text);
    }
    taking.reply.verbatim(*b"txt", text);
    Ok(Step::Replied)
}

fn write_section(section: &str, facts: &Info, host: &dyn Host, text: &mut String) {
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(text, "{name}:{value}\r\n");
    };
    let is_cluster = host.nodes().is_some();
    match section {
        "Server" => {
            line("redis_version", &REDIS_VERSION);
            line(
                "redis_mode",
                &if is_cluster { "cluster" } else { "standalone" },
            );
            line("standin_version", &facts.program_version);
            line("arch_bits", &usize::BITS);
            line("process_id", &facts.process_id);
            line("run_id", &facts.run_id);
            line("tcp_port", &facts.port);
            line("server_time_usec", &facts.time_us);
            line("uptime_in_seconds", &facts.uptime_s);
            line("uptime_in_days", &(facts.uptime_s / 86_400));
        }
        "Clients" => {
            line("connected_clients", &facts.clients);
            line("maxclients", &facts.clients_max);
            line("blocked_clients", &0);
            line("tracking_clients", &0);
        }
        "Memory" => {
            line("used_memory", &facts.memory_bytes);
            line("used_memory_rss", &facts.memory_bytes);
            line("maxmemory", &0);
            line("maxmemory_policy", &"noeviction");
        }
        "Persistence" => {
            line("loading", &0);
            line("async_loading", &0);
            line("rdb_bgsave_in_progress", &0);
            line("aof_enabled", &1);
            line("aof_rewrite_in_progress", &0);
        }
        "Stats" => {
            line("total_connections_received", &facts.connections_accepted);
            line("total_commands_processed", &facts.requests);
            line("total_net_input_bytes", &facts.bytes_in);
            line("total_net_output_bytes", &facts.bytes_out);
        }
        "Replication" => replication(&host.role(), text),
        "Cluster" => line("cluster_enabled", &u8::from(is_cluster)),
        "Keyspace" => {
            for held in &facts.keyspace {
                let (keys, expires) = (held.keys, held.keys_with_deadline);
                line(
                    &format!("db{}", held.database),
                    &format_args!("keys={keys},expires={expires},avg_ttl=0"),
                );
            }
        }
        _ => {}
    }
}

fn replication(role: &Role, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = match role {
        Role::Primary { index, followers } => {
            let _ = write!(
                text,
                "role:master\r\nconnected_slaves:{}\r\n",
                followers.len()
            );
            for (number, follower) in followers.iter().enumerate() {
                let _ = write!(
                    text,
                    "slave{number}:ip={},port={},state=online,offset={},lag=0\r\n",
                    follower.host, follower.port, follower.index
                );
            }
            write!(text, "master_repl_offset:{index}\r\n")
        }
        Role::Follower {
            host,
            port,
            is_connected,
            index,
        } => {
            let link = if *is_connected { "up" } else { "down" };
            write!(
                text,
                "role:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\nmaster_link_status:{link}\r\n\
                 master_sync_in_progress:0\r\nslave_repl_offset:{index}\r\nslave_priority:100\r\n\
                 slave_read_only:1\r\nconnected_slaves:0\r\nmaster_repl_offset:{index}\r\n"
            )
        }
    };
}

pub(super) fn role(taking: &mut Taking<'_, '_>) -> Outcome<Step> {
    let number = |index: u64| i64::try_from(index).unwrap_or(i64::MAX);
    let reply = &mut taking.reply;
    match taking.host.role() {
        Role::Primary { index, followers } => {
            reply.array(3);
            reply.bulk("master");
            reply.integer(number(index));
            reply.array(followers.len());
            for follower in followers {
                reply.array(3);
                reply.bulk(&follower.host);
                reply.bulk(follower.port.to_string());
                reply.bulk(follower.index.to_string());
            }
        }
        Role::Follower {
            host,
            port,
            is_connected,
            index,
        } => {
            reply.array(5);
            reply.bulk("slave");
            reply.bulk(host);
            reply.integer(i64::from(port));
            reply.bulk(if is_connected { "connected" } else { "connect" });
            reply.integer(number(index));
        }
    }
    Ok(Step::Replied)
}

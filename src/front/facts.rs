//! What a process that serves Redis clients tells of itself.

use std::{fs, process};

use standin_core::time::{Instant, Now};
use standin_io::{clock, entropy};
use standin_kv::conversation::{Info, KeyspaceInfo, node_id};

use super::Counts;

/// What stays the same as long as the process runs.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Where clients reach it.
    pub(crate) port: u16,
    /// What clients have to say first, if they have to.
    pub(crate) password: Option<Vec<u8>>,
    run_id: String,
    started: Instant,
    clients_max: usize,
}

impl Facts {
    /// Those of a process that starts now; `what` it is, for its number.
    pub(crate) fn new(
        what: &str,
        port: u16,
        password: Option<Vec<u8>>,
        clients_max: usize,
    ) -> Self {
        Self {
            port,
            password,
            run_id: node_id(&format!("{what} {}", entropy::u64())),
            started: clock::boot(),
            clients_max,
        }
    }

    /// What INFO shows.
    pub(crate) fn info(&self, counts: Counts, now: Now, keyspace: Vec<KeyspaceInfo>) -> Info {
        let Counts {
            clients,
            accepted,
            bytes_in,
            bytes_out,
            requests,
        } = counts;
        Info {
            program_version: env!("CARGO_PKG_VERSION").into(),
            process_id: process::id(),
            run_id: self.run_id.clone(),
            port: self.port,
            time_us: now.wall.0 / 1_000,
            uptime_s: now.boot.since(self.started).as_secs(),
            clients,
            clients_max: self.clients_max as u64,
            memory_bytes: memory_bytes(),
            connections_accepted: accepted,
            requests,
            bytes_in,
            bytes_out,
            keyspace,
        }
    }

    /// Settings that CONFIG GET shows.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("port", self.port.to_string()),
            ("maxclients", self.clients_max.to_string()),
        ]
    }
}

/// Memory that this process takes; 0 if the system does not say.
fn memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

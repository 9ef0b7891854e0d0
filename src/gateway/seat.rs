//! What a conversation may know of a gateway.

use std::process;

use standin_client::Seen;
use standin_core::time::{Instant, Now};
use standin_kv::conversation::{Host, Info, Node, Place, Role};

use crate::front::{Counts, memory_bytes};

/// What stays the same as long as the process runs.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) port: u16,
    pub(super) password: Option<Vec<u8>>,
    pub(super) run_id: String,
    pub(super) started: Instant,
    pub(super) clients_max: usize,
}

/// The gateway at one moment.
pub(super) struct Seat<'a> {
    pub(super) facts: &'a Facts,
    pub(super) counts: Counts,
    /// The highest view and entry that it was answered from.
    pub(super) seen: Seen,
    pub(super) now: Now,
}

impl Host for Seat<'_> {
    fn password(&self) -> Option<&[u8]> {
        self.facts.password.as_deref()
    }

    /// Wherever the primary is: what is given out finds it.
    fn is_in_touch(&self) -> bool {
        true
    }

    fn place(&self) -> Place<'_> {
        Place::Here
    }

    fn nodes(&self) -> Option<Vec<Node>> {
        None
    }

    fn view(&self) -> u64 {
        self.seen.view.view.0
    }

    fn role(&self) -> Role {
        Role::Primary {
            index: self.seen.index.0,
            followers: Vec::new(),
        }
    }

    fn info(&self) -> Info {
        let Counts {
            clients,
            accepted,
            bytes_in,
            bytes_out,
            requests,
        } = self.counts;
        Info {
            program_version: env!("CARGO_PKG_VERSION").into(),
            process_id: process::id(),
            run_id: self.facts.run_id.clone(),
            port: self.facts.port,
            time_us: self.now.wall.0 / 1_000,
            uptime_s: self.now.boot.since(self.facts.started).as_secs(),
            clients,
            clients_max: self.facts.clients_max as u64,
            memory_bytes: memory_bytes(),
            connections_accepted: accepted,
            requests,
            bytes_in,
            bytes_out,
            // It holds none itself.
            keyspace: Vec::new(),
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("port", self.facts.port.to_string()),
            ("maxclients", self.facts.clients_max.to_string()),
        ]
    }
}

//! What a conversation has to know of the process that it runs in.

use crate::KeyValue;
use crate::keyspace::DatabaseId;

/// What the host of a conversation knows. Everything here is answered from what is at hand; what has to be waited
/// for is an [`Ask`](super::Ask).
pub trait Host {
    /// The password that clients have to give, if they have to.
    fn password(&self) -> Option<&[u8]>;

    /// Who executes commands now.
    fn place(&self) -> Place<'_>;

    /// Whether that is known for certain. False while the primary is not heard of: requests that depend on it are worth
    /// holding up until it is, or until there is another.
    fn is_in_touch(&self) -> bool;

    /// All replicas, if clients are to find the primary themselves, as in a cluster of Redis with one shard;
    /// `None` if they talk to this process whatever happens.
    fn nodes(&self) -> Option<Vec<Node>>;

    /// The number of the view, which clients of a cluster are told is its epoch.
    fn view(&self) -> u64;

    /// What part this process has in replication.
    fn role(&self) -> Role;

    /// What people want to know of the process.
    fn info(&self) -> Info;

    /// Settings that CONFIG GET shows beside the ones that are the same everywhere: names in lower case.
    fn settings(&self) -> Vec<(&'static str, String)>;
}

/// Who executes commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// This process, or it knows how to have it done.
    Here,
    /// Whoever is at this address, `HOST:PORT`.
    At(&'a str),
    /// Nobody that is known of.
    Nowhere,
}

/// A replica, as clients of a cluster are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// 40 hexadecimal digits: see [`node_id`](super::node_id).
    pub id: String,
    /// Where clients reach it.
    pub host: String,
    /// Its port there.
    pub port: u16,
    /// It is the primary.
    pub is_primary: bool,
    /// It is this process.
    pub is_myself: bool,
    /// It was heard of lately.
    pub is_alive: bool,
    /// The last entry that it is known to have.
    pub index: u64,
}

/// What part a process has in replication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is the primary.
    Primary {
        /// The last entry that it has.
        index: u64,
        /// Who follows it.
        followers: Vec<Follower>,
    },
    /// It follows a primary.
    Follower {
        /// Where clients reach the primary.
        host: String,
        /// Its port there.
        port: u16,
        /// It follows now.
        is_connected: bool,
        /// The last entry that it has.
        index: u64,
    },
}

/// Somebody who follows a primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Where clients reach it.
    pub host: String,
    /// Its port there.
    pub port: u16,
    /// The last entry that it is known to have.
    pub index: u64,
}

/// What people want to know of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The program's version.
    pub program_version: String,
    /// The process's number.
    pub process_id: u32,
    /// What tells this run of the process from any other: 40 hexadecimal digits.
    pub run_id: String,
    /// Where it listens.
    pub port: u16,
    /// Its clock, in microseconds since 1970.
    pub time_us: u64,
    /// How long it has been running, in seconds.
    pub uptime_s: u64,
    /// Clients that are connected.
    pub clients: u64,
    /// Clients that may be connected at once.
    pub clients_max: u64,
    /// Memory that the process takes, in bytes.
    pub memory_bytes: u64,
    /// Connections that were accepted.
    pub connections_accepted: u64,
    /// Requests that were taken.
    pub requests: u64,
    /// Bytes that came from clients.
    pub bytes_in: u64,
    /// Bytes that went to clients.
    pub bytes_out: u64,
    /// Databases that hold something.
    pub keyspace: Vec<KeyspaceInfo>,
}

impl KeyspaceInfo {
    /// What the databases of a machine hold that hold something.
    #[must_use]
    pub fn of(machine: &KeyValue) -> Vec<Self> {
        let keys = machine.keys();
        let all = DatabaseId::all().map(|database| Self {
            database: database.number(),
            keys: keys.len(database) as u64,
            keys_with_deadline: keys.deadlines_len(database) as u64,
        });
        all.filter(|info| info.keys > 0).collect()
    }
}

/// What a database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyspaceInfo {
    /// Its number.
    pub database: u8,
    /// How many keys it has.
    pub keys: u64,
    /// How many of them have a deadline.
    pub keys_with_deadline: u64,
}

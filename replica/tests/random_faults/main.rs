//! Three replicas, a view service and clients in virtual time, among faults drawn from a seed.
//!
//! The decision cores are the real ones; this file is the shell around them. Connections deliver in
//! order, late, or end; how much they deliver before is drawn. Processes are killed (what is in the
//! page cache stays), lose power (it goes), stop cleanly or pause. Then the faults end, all but at
//! most one replica come back, and everything must work again.
#![allow(clippy::disallowed_methods, reason = "a test reads which seeds to run")]
#![allow(clippy::print_stderr, reason = "a test tells which seed failed")]

mod checks;
mod clients;
mod faults;
mod journal;
mod network;
mod replicas;
mod service;

use std::collections::{BTreeMap, VecDeque};

use standin_core::conn::ConnId;
use standin_core::entry::{Entry, Index, LogTip};
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::message::{
    Ack, CommandRequest, Consistency, Entries, Follow, HigherView, OpenSession, QueryRequest,
    Release, ReplyStatus, Report, ReportReply, Resume, Seen, Swap, SwapReply,
};
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant, Now, WallTime};
use standin_core::view::ViewId;
use standin_primary::Payload;
use standin_replica::{Action, Answers, Config, Event, Recovered, Replica, Request, RequestBody};
use standin_viewservice::{self as vs, LeaseTerm, StoredState, ViewService};

use journal::Journal;

const REPLICAS: usize = 3;
const VIEW_SERVICE: usize = REPLICAS;
const CLIENTS: usize = 4;
const PARTIES: usize = REPLICAS + 1 + CLIENTS;
const TERM: Duration = Duration::from_secs(1);
const FAULTS_END: Duration = Duration::from_secs(8);
/// Faults end, and within this every request is answered: a term and a second, and what clients and
/// dead connections lose until they try again.
const SERVES_WITHIN: Duration = Duration::from_secs(6);
/// A backup that was dropped again and again waits up to a minute before it may join.
const PAIRED_WITHIN: Duration = Duration::from_secs(75);
const STEPS_AT_ONE_MOMENT_MAX: u32 = 5000;

/// What crosses a connection.
#[derive(Clone, Debug)]
enum Wire {
    Opened,
    Closed,
    ToViewService(ToViewService),
    ReportReply(Box<ReportReply>),
    SwapReply(Box<SwapReply>),
    Follow(Box<Follow>),
    Resume(Resume),
    Entries(u64, ViewId, u64, Index, Vec<u8>),
    Ack(Ack),
    HigherView(ViewId),
    Ask(Ask),
    Reply(u64, ReplyStatus, Seen, Vec<u8>),
}

#[derive(Clone, Debug)]
enum ToViewService {
    Report(Box<Report>),
    Swap(Box<Swap>),
    Release(Box<Release>),
}

/// A client's request: `id` is the attempt, `op` what is asked.
#[derive(Clone, Copy, Debug)]
struct Ask {
    id: u64,
    op: Op,
    session: u64,
    sequence: u64,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Open,
    Add(u64),
    Get(Consistency),
}

/// Something that will happen.
#[derive(Debug)]
enum Coming {
    Deliver(ConnId, usize, Wire),
    /// A deadline of that life of a party.
    Wake(usize, u64),
    Synced(usize, u64, Index),
    Stored(u64),
    Redial(usize, u64),
    /// A client's attempt has taken too long, or may be made anew.
    Retry(usize, u64),
    Start(usize),
    Fault,
    Heal,
}

#[derive(Debug)]
struct Conn {
    ends: [usize; 2],
    lives: [u64; 2],
    is_open: [bool; 2],
    /// Cut off: what is sent is lost, and what is under way too if the second is set.
    is_cut: bool,
    is_lossy: bool,
    last: [Instant; 2],
}

struct Node {
    replica: Option<Replica<Journal>>,
    /// Entries in the page cache; so many of them are on disk.
    log: Vec<Vec<u8>>,
    synced: usize,
    cuts: u64,
    adopted: ViewId,
    boot: u64,
    clean_lives: Vec<Life>,
    life: Life,
    viewservice: Option<ConnId>,
    dial: Option<ConnId>,
    follow_ups: VecDeque<FollowUp>,
    quarantine: Option<String>,
}

enum FollowUp {
    Written(Index),
    LogRead(standin_replica::ReadFor, Vec<u8>),
    Cut(LogTip),
    Adopted(ViewId),
}

#[derive(Default)]
struct Client {
    conn: Option<ConnId>,
    target: usize,
    ask: Option<Ask>,
    session: u64,
    sequence: u64,
    seen: Seen,
    attempt: u64,
    /// The highest value that anybody had been told when the request, or this attempt, was made.
    floor: u64,
    is_done: bool,
    is_last: bool,
}

struct World {
    seed: u64,
    random: RandomStream,
    now: Instant,
    coming: BTreeMap<(Instant, u64), Coming>,
    coming_number: u64,
    steps: u32,
    durability: Durability,
    conns: BTreeMap<ConnId, Conn>,
    conn_number: u64,
    lives: [u64; PARTIES],
    wakes: [Option<Instant>; PARTIES],
    paused_until: [Instant; PARTIES],
    blocked_until: [[Instant; PARTIES]; PARTIES],
    nodes: Vec<Node>,
    service: Option<ViewService>,
    stored: StoredState,
    storing: Option<StoredState>,
    clients: Vec<Client>,
    adds: u64,
    told: u64,
    acknowledged: BTreeMap<u64, u64>,
    answered_by: BTreeMap<ViewId, (usize, u64)>,
    healed_at: Option<Instant>,
    dead_for_good: Option<usize>,
    trace: bool,
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = RandomStream::new(seed, 7);
        let durability = match random.next_u64() % 4 {
            0 => Durability::Memory,
            1 | 2 => Durability::Os,
            _ => Durability::Disk,
        };
        let node = |_| Node {
            replica: None,
            log: Vec::new(),
            synced: 0,
            cuts: 0,
            adopted: ViewId::default(),
            boot: 0,
            clean_lives: Vec::new(),
            life: Life {
                boot: BootId(0),
                incarnation: Incarnation { start: 0, nonce: 0 },
            },
            viewservice: None,
            dial: None,
            follow_ups: VecDeque::new(),
            quarantine: None,
        };
        let mut world = Self {
            seed,
            random,
            now: Instant::from_nanos(1_000_000_000),
            coming: BTreeMap::new(),
            coming_number: 0,
            steps: 0,
            durability,
            conns: BTreeMap::new(),
            conn_number: 0,
            lives: [0; PARTIES],
            wakes: [None; PARTIES],
            paused_until: [Instant::ZERO; PARTIES],
            blocked_until: [[Instant::ZERO; PARTIES]; PARTIES],
            nodes: (0..REPLICAS).map(node).collect(),
            service: None,
            stored: StoredState::new(ClusterId(1)),
            storing: None,
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            adds: 0,
            told: 0,
            acknowledged: BTreeMap::new(),
            answered_by: BTreeMap::new(),
            healed_at: None,
            dead_for_good: None,
            trace: std::env::var("TRACE").is_ok(),
        };
        for party in 0..=VIEW_SERVICE {
            world.after(millis(party as u64), Coming::Start(party));
        }
        for client in 0..CLIENTS {
            world.clients[client].target = client % REPLICAS;
            world.after(millis(300), Coming::Retry(client, 0));
        }
        world.after(millis(1000), Coming::Fault);
        world.after(FAULTS_END, Coming::Heal);
        world
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    fn after(&mut self, wait: Duration, coming: Coming) {
        self.at(self.now.plus(wait), coming);
    }

    fn at(&mut self, at: Instant, coming: Coming) {
        self.coming_number += 1;
        self.coming
            .insert((at.max(self.now), self.coming_number), coming);
    }

    fn log(&self, text: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>9.3} {}", self.now.as_nanos() as f64 / 1e9, text());
        }
    }

    fn clock(&self) -> Now {
        let wall = WallTime(1_700_000_000_000_000_000 + self.now.as_nanos());
        Now {
            boot: self.now,
            wall,
        }
    }

    /// Runs until nothing more is asked for.
    fn run(&mut self) {
        while let Some(((at, number), coming)) = self.coming.pop_first() {
            let party = match &coming {
                Coming::Deliver(conn, end, _) => self.conns.get(conn).map(|conn| conn.ends[*end]),
                Coming::Wake(party, _) => Some(*party),
                Coming::Synced(party, ..) | Coming::Redial(party, _) => Some(*party),
                Coming::Stored(_) => Some(VIEW_SERVICE),
                _ => None,
            };
            if let Some(until) = party.map(|party| self.paused_until[party])
                && until > at
            {
                self.coming.insert((until, number), coming);
                continue;
            }
            self.steps = if at == self.now { self.steps + 1 } else { 0 };
            assert!(self.steps < STEPS_AT_ONE_MOMENT_MAX, "it spins: {coming:?}");
            self.now = at;
            self.happen(coming);
            if let Some(healed_at) = self.healed_at {
                if self.is_settled() {
                    return;
                }
                let waited = self.now.since(healed_at);
                let serves = self.clients.iter().all(|client| client.is_done);
                assert!(
                    serves || waited < SERVES_WITHIN || self.is_lost(),
                    "L1: {}",
                    self.state()
                );
                assert!(
                    waited < PAIRED_WITHIN || self.is_lost(),
                    "L2: {}",
                    self.state()
                );
                if waited >= PAIRED_WITHIN {
                    return;
                }
            }
        }
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::Deliver(id, end, wire) => self.on_deliver(id, end, wire),
            Coming::Wake(party, life) => {
                if self.lives[party] == life && self.wakes[party] == Some(self.now) {
                    self.wakes[party] = None;
                }
                if self.lives[party] != life {
                } else if party == VIEW_SERVICE {
                    self.at_service(vs::Event::Deadline);
                } else {
                    self.at_node(party, Event::Deadline);
                }
            }
            Coming::Synced(node, cuts, through) => {
                if self.nodes[node].cuts == cuts && self.nodes[node].replica.is_some() {
                    let synced = usize::try_from(through.0).expect("small");
                    self.nodes[node].synced = self.nodes[node].synced.max(synced);
                    self.at_node(node, Event::Synced(through));
                }
            }
            Coming::Stored(life) => {
                if self.lives[VIEW_SERVICE] == life
                    && let Some(state) = self.storing.take()
                {
                    self.stored = state;
                    self.at_service(vs::Event::Stored);
                }
            }
            Coming::Redial(node, life) => {
                if self.lives[node] == life && self.nodes[node].viewservice.is_none() {
                    self.nodes[node].viewservice = Some(self.connect(node, VIEW_SERVICE));
                }
            }
            Coming::Retry(client, attempt) => {
                if self.clients[client].attempt == attempt {
                    self.try_again(client);
                }
            }
            Coming::Start(party) => self.start(party),
            Coming::Fault => self.fault(),
            Coming::Heal => self.heal(),
        }
    }
}

fn run(seed: u64) -> (usize, bool) {
    let mut world = World::new(seed);
    world.run();
    world.check();
    (world.acknowledged.len(), world.is_lost())
}

#[test]
fn nothing_answered_is_lost_and_service_returns() {
    let number = |name, default| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (first, count) = (number("SEED", 1), number("SEEDS", 200u64));
    let (mut answered, mut lost, mut failed) = (0, 0, 0);
    for seed in first..first + count {
        match std::panic::catch_unwind(|| run(seed)) {
            Ok((one, is_lost)) => {
                answered += one;
                lost += u64::from(is_lost);
            }
            Err(_) => {
                failed += 1;
                eprintln!("^^^ seed {seed}");
            }
        }
    }
    eprintln!("{answered} answered, {lost} lost by the rules, {failed} failed of {count}");
    assert_eq!(failed, 0);
}

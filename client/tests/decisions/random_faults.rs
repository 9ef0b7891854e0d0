//! A client among replicas that come and go, and a network that loses, delays and delivers late.
//!
//! The replicas share one session table, as if every entry were committed at once: what is tested
//! here is the client's half of "exactly once, or honest about it". Frames are still executed after
//! the client has closed the connection they came on.

use std::collections::{BTreeMap, BTreeSet};

use standin_client::{ConnectionId, Event, Work};
use standin_core::entry::Index;
use standin_core::message::{LookupReply, Reply, ReplyStatus, Seen};
use standin_core::random::RandomStream;
use standin_core::session::{SessionError, SessionTable, Verdict};
use standin_core::time::{Duration, Instant, WallTime};

use crate::harness::{Ended, Harness, Said, Sent, TIMEOUT, What, view};

const REPLICAS: [&str; 3] = ["a:1", "b:1", "c:1"];
const SEEDS: u64 = 500;
const REQUESTS: u64 = 60;

/// Something that will happen.
#[derive(Debug)]
enum Coming {
    ViewServiceConnected(u64),
    ViewServiceClosed(u64),
    Found(u64, LookupReply),
    Connected(u64),
    Closed(u64),
    AtReplica(u64, Sent),
    Reply(u64, ReplyStatus, Seen, u64, Vec<u8>),
}

#[derive(Debug, Default)]
struct Connection {
    replica: usize,
    /// The first thing that goes wrong on it is the last that happens on it.
    is_broken: bool,
    is_closed_by_client: bool,
    /// What was sent last arrives then: later frames and replies don't overtake.
    last: Instant,
}

struct World {
    seed: u64,
    client: Harness,
    random: RandomStream,
    coming: BTreeMap<(Instant, u64), Coming>,
    coming_number: u64,
    connections: BTreeMap<u64, Connection>,
    table: SessionTable,
    index: u64,
    view: u64,
    primary: usize,
    /// How many times each command was executed.
    executed: BTreeMap<Vec<u8>, u32>,
    deadlines: BTreeMap<u64, Instant>,
    commands: BTreeSet<u64>,
    ended: BTreeMap<u64, Option<Ended>>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            client: Harness::new("vs:1,vs:2"),
            random: RandomStream::new(seed, 1),
            coming: BTreeMap::new(),
            coming_number: 0,
            connections: BTreeMap::new(),
            table: SessionTable::default(),
            index: 0,
            view: 1,
            primary: 0,
            executed: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            commands: BTreeSet::new(),
            ended: BTreeMap::new(),
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.next_u64() % 100 < percent
    }

    /// Mostly short, sometimes longer than anyone's patience.
    fn delay(&mut self) -> Duration {
        let most_ms = if self.chance(5) { 2000 } else { 5 };
        Duration::from_micros(self.random.next_u64() % (most_ms * 1000) + 1)
    }

    fn later(&mut self, at: Instant, coming: Coming) {
        self.coming_number += 1;
        self.coming.insert((at, self.coming_number), coming);
    }

    fn on_connection(&mut self, connection: u64, coming: Coming) {
        let delay = self.delay();
        let now = self.client.now;
        let state = self.connections.get_mut(&connection).expect("was opened");
        state.last = state.last.max(now.plus(delay));
        let at = state.last;
        self.later(at, coming);
    }

    fn run(&mut self) {
        for id in 0..REQUESTS {
            // Often several at once, sometimes after a while.
            if self.chance(30) {
                let pause = Duration::from_millis(self.random.next_u64() % 1000);
                self.run_until(self.client.now.plus(pause));
            }
            let work = if self.chance(80) {
                self.commands.insert(id);
                Work::Command(format!("c{id}").into_bytes())
            } else {
                let bytes = format!("q{id}").into_bytes();
                let consistency = standin_client::Consistency::Confirmed;
                Work::Query { bytes, consistency }
            };
            self.deadlines.insert(id, self.client.now.plus(TIMEOUT));
            let said = self.client.submit(id, work);
            self.carry_out(said);
        }
        self.run_until(self.client.now.plus(TIMEOUT * 3));
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            let coming = self.coming.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.client.core.deadline();
            let next = standin_core::time::earliest(coming, deadline);
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.client.now = self.client.now.max(next);
            if self.chance(1) {
                self.view += 1;
                self.primary = (self.primary + 1) % REPLICAS.len();
            }
            let said = if coming == Some(next) {
                let (_, coming) = self.coming.pop_first().expect("just looked at");
                self.happen(coming)
            } else {
                self.client.handle(Event::Deadline)
            };
            self.carry_out(said);
        }
        self.client.now = self.client.now.max(end);
    }

    fn happen(&mut self, coming: Coming) -> Vec<Said> {
        match coming {
            Coming::ViewServiceConnected(connection) => {
                self.client.view_service_connected(connection)
            }
            Coming::ViewServiceClosed(connection) => self.client.view_service_closed(connection),
            Coming::Found(connection, reply) => {
                let connection = ConnectionId(connection);
                self.client.handle(Event::Found { connection, reply })
            }
            Coming::Connected(connection) => self.client.connected(connection),
            Coming::Closed(connection) => self.client.closed(connection),
            Coming::AtReplica(connection, sent) => {
                self.at_replica(connection, &sent);
                Vec::new()
            }
            Coming::Reply(connection, status, seen, id, bytes) => {
                let state = &self.connections[&connection];
                if state.is_broken || state.is_closed_by_client {
                    return Vec::new();
                }
                let connection = ConnectionId(connection);
                let reply = Reply {
                    id,
                    status,
                    seen,
                    is_solo: false,
                    bytes: &bytes,
                };
                self.client.handle(Event::Reply { connection, reply })
            }
        }
    }

    fn at_replica(&mut self, connection: u64, sent: &Sent) {
        let replica = self.connections[&connection].replica;
        let (status, bytes) = if replica == self.primary {
            self.execute(sent)
        } else {
            let hint = match self.random.next_u64() % 4 {
                0 => REPLICAS[(replica + 1) % REPLICAS.len()],
                1 => "",
                _ => REPLICAS[self.primary],
            };
            (ReplyStatus::NotPrimary, hint.as_bytes().to_vec())
        };
        let is_silent = self.chance(3);
        if !is_silent {
            let seen = Seen {
                view: view(self.view),
                index: Index(self.index),
            };
            let reply = Coming::Reply(connection, status, seen, sent.id, bytes);
            self.on_connection(connection, reply);
        }
        if self.chance(2) {
            self.break_connection(connection);
        }
    }

    fn execute(&mut self, sent: &Sent) -> (ReplyStatus, Vec<u8>) {
        if self.chance(3) {
            return (ReplyStatus::Overloaded, Vec::new());
        }
        if self.chance(1) {
            return (ReplyStatus::Refused, Vec::new());
        }
        self.index += 1;
        let time = WallTime(0);
        match &sent.what {
            What::Open => {
                self.table.open(self.index, time);
                (ReplyStatus::Done, self.index.to_le_bytes().to_vec())
            }
            What::Close { session } => {
                self.table.close(*session);
                (ReplyStatus::Done, Vec::new())
            }
            What::Query { bytes, .. } => (ReplyStatus::Done, bytes.clone()),
            What::Command {
                session,
                sequence,
                acknowledged,
                bytes,
            } => {
                if self.chance(1) {
                    self.table.close(*session);
                }
                let verdict = self.table.admit(*session, *sequence, *acknowledged, time);
                let status = match verdict {
                    Verdict::Execute => {
                        *self.executed.entry(bytes.clone()).or_default() += 1;
                        self.table.remember(*session, *sequence, bytes);
                        ReplyStatus::Done
                    }
                    Verdict::Repeat(kept) => return (ReplyStatus::Done, kept.to_vec()),
                    Verdict::RepeatSkipped(_) => unreachable!("nothing is skipped here"),
                    Verdict::Refuse(SessionError::Unknown) => ReplyStatus::SessionUnknown,
                    Verdict::Refuse(SessionError::Gap) => ReplyStatus::SequenceGap,
                    Verdict::Refuse(SessionError::Acknowledged) => {
                        ReplyStatus::SequenceAcknowledged
                    }
                };
                if status == ReplyStatus::Done && self.chance(2) {
                    return (ReplyStatus::OutcomeUnknown, Vec::new());
                }
                (status, bytes.clone())
            }
        }
    }

    fn break_connection(&mut self, connection: u64) {
        let state = self.connections.get_mut(&connection).expect("was opened");
        if state.is_broken {
            return;
        }
        state.is_broken = true;
        // Half of them the client never hears of.
        if self.chance(50) {
            self.on_connection(connection, Coming::Closed(connection));
        }
    }

    fn carry_out(&mut self, said: Vec<Said>) {
        for said in said {
            match said {
                Said::ConnectViewService(connection, _) => {
                    self.connections.insert(connection, Connection::default());
                    match self.random.next_u64() % 10 {
                        0 => {}
                        1 => self.on_connection(connection, Coming::ViewServiceClosed(connection)),
                        _ => {
                            self.on_connection(
                                connection,
                                Coming::ViewServiceConnected(connection),
                            );
                        }
                    }
                }
                Said::Lookup(connection) => self.on_lookup(connection),
                Said::CloseViewService(_) => {}
                Said::Connect(connection, address) => self.on_connect(connection, &address),
                Said::Close(connection) => {
                    let state = self.connections.get_mut(&connection).expect("was opened");
                    state.is_closed_by_client = true;
                }
                Said::Send(connection, frames) => {
                    for frame in frames {
                        if !self.connections[&connection].is_broken {
                            self.on_connection(connection, Coming::AtReplica(connection, frame));
                        }
                    }
                }
                Said::Answered(id, bytes) => {
                    assert_eq!(bytes[1..], *id.to_string().as_bytes(), "another's answer");
                    self.end(id, None);
                }
                Said::Failed(id, ended) => self.end(id, Some(ended)),
            }
        }
    }

    fn on_lookup(&mut self, connection: u64) {
        if self.chance(5) {
            return;
        }
        let is_active = self.chance(80);
        let reply = LookupReply {
            view: Some(view(self.view)),
            primary: is_active.then(|| REPLICAS[self.primary].to_owned()),
            term_ms: 1000,
        };
        self.on_connection(connection, Coming::Found(connection, reply));
    }

    fn on_connect(&mut self, connection: u64, address: &str) {
        let replica = REPLICAS.iter().position(|known| *known == address);
        let state = Connection {
            replica: replica.expect("one of the three"),
            ..Connection::default()
        };
        self.connections.insert(connection, state);
        match self.random.next_u64() % 10 {
            0 => {}
            1 => self.on_connection(connection, Coming::Closed(connection)),
            _ => self.on_connection(connection, Coming::Connected(connection)),
        }
    }

    fn end(&mut self, id: u64, ended: Option<Ended>) {
        assert!(
            self.client.now <= self.deadlines[&id],
            "request {id} ended late"
        );
        let before = self.ended.insert(id, ended);
        assert_eq!(before, None, "seed {}: request {id} ended twice", self.seed);
    }

    /// Holds what the client said against what was done, after everything has arrived.
    fn audit(&self) {
        assert_eq!(
            self.ended.len() as u64,
            REQUESTS,
            "seed {}: every request ends",
            self.seed
        );
        for (id, ended) in &self.ended {
            let command = format!("c{id}").into_bytes();
            let times = self.executed.get(&command).copied().unwrap_or(0);
            let may_be = match ended {
                _ if !self.commands.contains(id) => 0..=0,
                None => 1..=1,
                Some(Ended::OutcomeUnknown) => 0..=1,
                Some(_) => 0..=0,
            };
            assert!(
                may_be.contains(&times),
                "seed {}: request {id} ended as {ended:?}: executed {times} times",
                self.seed
            );
        }
    }
}

#[test]
fn what_the_client_says_of_a_request_is_what_became_of_it() {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        world.run();
        world.audit();
        for ended in world.ended.values() {
            *counts.entry(format!("{ended:?}")).or_default() += 1;
        }
    }
    let count = |ended: &str| counts.get(ended).copied().unwrap_or(0);
    // The faults must neither spare everything nor smother everything.
    assert!(count("None") > 5000, "{counts:?}");
    assert!(count("Some(OutcomeUnknown)") > 50, "{counts:?}");
    assert!(count("Some(Refused)") > 50, "{counts:?}");
    assert!(count("Some(Unavailable)") > 0, "{counts:?}");
}

//! The state of everything, and the step that follows from it by default.

use standin_core::conn::ConnId;
use standin_core::message::RoleName;
use standin_core::time::{Duration, Instant, Now, WallTime};

use super::Bounds;
use super::TERM;
use super::client::Client;
use super::fingerprint::{Part, fingerprint};
use super::links::{Conn, Hold, Letter, Links, Party};
use super::node::{Arrival, Node, Stage};
use super::past::{Fact, Past, Wish};
use super::rules::{self, Broken};
use super::service::Service;

/// What goes by when nothing else is left to do. A quarter of a term is the longest time after which
/// a loop that comes round late does not yet take itself to have been away.
const QUARTER: Duration = Duration::from_secs(TERM.as_secs() / 4);
const _: () = assert!(TERM.as_secs().is_multiple_of(4) && TERM.subsec_nanos() == 0);
/// A cluster does not begin at time zero.
const BEGINNING: Duration = Duration::from_secs(1000);
/// What the wall clock said when the boot clock was at zero.
const WALL_AT_ZERO: u64 = 1_700_000_000_000_000_000;
/// Loops that come round in one instant, more than any run needs.
const TICKS_MAX: u32 = 200;

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// The oldest letter to one end of a connection arrives.
    Deliver { conn: ConnId, at: usize },
    /// A replica's disk is done with a sync.
    SyncDone(usize),
    /// A process's deadline has come.
    ComeRound(Party),
    /// A client makes a call.
    Call(usize),
    /// What was held back until nothing else was left is held back no longer.
    Release,
    /// A quarter of a term goes by.
    Elapse,
}

/// Faults of one process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// Until when nothing reaches it or leaves it but what is a client's.
    pub(super) isolated: Hold,
    /// Until when its process does not run, though it is not dead.
    pub(super) paused: Hold,
    /// Until when its disk does not finish a sync.
    pub(super) slow: Hold,
    /// When its dead process is started again.
    pub(super) down: Hold,
}

impl Trouble {
    fn holds(&mut self) -> [&mut Hold; 3] {
        [&mut self.isolated, &mut self.paused, &mut self.slow]
    }
}

/// The state of everything.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) bounds: Bounds,
    /// Quarters of a term that have gone by.
    pub(super) elapsed: u32,
    /// Of them, those before the part that is explored.
    pub(super) began: u32,
    ticks: u32,
    pub(super) service: Part<Service>,
    pub(super) nodes: Vec<Part<Node>>,
    pub(super) links: Links,
    pub(super) client: Client,
    pub(super) past: Part<Past>,
    /// Of the replicas, then of the view service.
    pub(super) troubles: Vec<Trouble>,
}

impl Cluster {
    /// Empty disks; every process has just been started.
    pub(super) fn new(bounds: Bounds, script: &[Wish]) -> Self {
        let mut cluster = Self {
            bounds,
            elapsed: 0,
            began: 0,
            ticks: 0,
            service: Part::new(Service::new(bounds.planted, now_at(0))),
            nodes: vec![Part::new(Node::new()); bounds.replicas],
            links: Links::new(),
            client: Client::new(script),
            past: Part::new(Past::new(bounds.replicas)),
            troubles: vec![Trouble::default(); bounds.replicas + 1],
        };
        for host in 0..bounds.replicas {
            cluster.start(host);
        }
        cluster
    }

    /// 128 bits that two different states hardly share.
    pub(super) fn print(&self) -> u128 {
        let nodes: Vec<u128> = self.nodes.iter().map(Part::print).collect();
        let shared = (self.service.print(), self.past.print(), nodes);
        let own = (self.elapsed, self.ticks, &self.troubles);
        fingerprint(&(shared, own, &self.links, &self.client))
    }

    pub(super) fn now(&self) -> Now {
        now_at(self.elapsed)
    }

    pub(super) fn trouble(&mut self, party: Party) -> &mut Trouble {
        let place = self.place(party);
        &mut self.troubles[place]
    }

    fn place(&self, party: Party) -> usize {
        match party {
            Party::Replica(host) => host,
            Party::Service => self.bounds.replicas,
            Party::Client => unreachable!("clients have no troubles of their own"),
        }
    }

    pub(super) fn is_primary(&self, host: usize) -> bool {
        let process = self.nodes[host].process.as_ref();
        process.is_some_and(|process| process.replica.role_name() == RoleName::Primary)
    }

    pub(super) fn is_up(&self, host: usize) -> bool {
        self.nodes[host].process.is_some()
    }

    /// The replica that the view service names as the primary that serves.
    pub(super) fn named(&self) -> Option<usize> {
        let record = self.service.stored.record.as_ref()?;
        let is_it = |host: &usize| super::links::name_of(*host) == record.primary.name.as_str();
        (0..self.bounds.replicas)
            .find(is_it)
            .filter(|_| record.active)
    }

    /// Whether what is on its way to one end does not arrive for now.
    fn is_blocked(&self, conn: &Conn, at: usize) -> bool {
        let (to, from) = (conn.ends[at].party, conn.ends[1 - at].party);
        let is_paused =
            |party| party != Party::Client && self.troubles[self.place(party)].paused.is_on();
        let is_isolated = |party| {
            to != Party::Client
                && from != Party::Client
                && self.troubles[self.place(party)].isolated.is_on()
        };
        conn.ends[at].hold.is_on() || is_paused(to) || is_isolated(to) || is_isolated(from)
    }

    /// What happens next if nothing deviates; `None` at the end of the run.
    pub(super) fn next(&self) -> Option<Task> {
        for conn in &self.links.conns {
            for at in [1, 0] {
                if !conn.ends[at].letters.is_empty() && !self.is_blocked(conn, at) {
                    return Some(Task::Deliver { conn: conn.id, at });
                }
            }
        }
        let runs = |host: usize| !self.troubles[host].paused.is_on();
        for host in 0..self.bounds.replicas {
            let process = self.nodes[host].process.as_ref();
            let is_syncing = process.is_some_and(|process| process.syncing.is_some());
            if is_syncing && !self.troubles[host].slow.is_on() && runs(host) {
                return Some(Task::SyncDone(host));
            }
        }
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= self.now().boot);
        if is_due(self.service.deadline()) && runs(self.bounds.replicas) {
            return Some(Task::ComeRound(Party::Service));
        }
        for host in 0..self.bounds.replicas {
            if is_due(self.nodes[host].deadline()) && runs(host) {
                return Some(Task::ComeRound(Party::Replica(host)));
            }
        }
        if let Some(call) = self.client.due(self.elapsed, self.named().is_some()) {
            return Some(Task::Call(call));
        }
        if self.has_held() {
            return Some(Task::Release);
        }
        (self.elapsed < self.began + self.bounds.horizon).then_some(Task::Elapse)
    }

    /// Whether a deviation may still come.
    pub(super) fn is_in_window(&self) -> bool {
        self.elapsed < self.began + self.bounds.window
    }

    fn has_held(&self) -> bool {
        let is_held = |hold: &Hold| *hold == Hold::UntilQuiet;
        let mut ends = self.links.conns.iter().flat_map(|conn| &conn.ends);
        ends.any(|end| is_held(&end.hold)) || self.troubles.iter().any(|it| is_held(&it.slow))
    }

    /// Carries a task out, and holds what came of it against the rules.
    pub(super) fn step(&mut self, task: Task) -> Result<(), Broken> {
        let facts = self.carry_out(task)?;
        rules::look(self, &facts)
    }

    /// Carries a task out; what came of it.
    pub(super) fn carry_out(&mut self, task: Task) -> Result<Vec<Fact>, Broken> {
        let mut facts = Vec::new();
        match task {
            Task::Deliver { conn, at } => self.deliver(conn, at, &mut facts),
            Task::SyncDone(host) => self.turn(host, Arrival::SyncDone, &mut facts),
            Task::ComeRound(party) => {
                self.ticks += 1;
                if self.ticks > TICKS_MAX {
                    return Err(Broken::new("L4", format!("the loop of {party} spins")));
                }
                match party {
                    Party::Replica(host) => self.turn(host, Arrival::Deadline, &mut facts),
                    _ => {
                        let now = self.now();
                        let to = (&mut self.links, &mut facts);
                        self.service.edit().on_deadline(now, to);
                    }
                }
            }
            Task::Call(call) => self.call(call),
            Task::Release => self.release(),
            Task::Elapse => self.elapse(),
        }
        Ok(facts)
    }

    fn deliver(&mut self, conn: ConnId, at: usize, facts: &mut Vec<Fact>) {
        let Some((party, letter)) = self.links.take(conn, at) else {
            return;
        };
        match party {
            Party::Service => {
                let now = self.now();
                let to = (&mut self.links, facts);
                self.service.edit().on_letter(now, to, conn, &letter);
            }
            Party::Replica(host) => {
                let asked = match &letter {
                    Letter::Frame(_) => self.client.asked(conn).cloned(),
                    Letter::Ready | Letter::Closed => None,
                };
                let arrival = match asked {
                    Some(asked) => Arrival::Asked(conn, letter, asked),
                    None => Arrival::Letter(conn, letter),
                };
                self.turn(host, arrival, facts);
            }
            Party::Client => {
                self.client.on_letter(conn, &letter, self.elapsed);
                self.links.forget(conn);
            }
        }
    }

    fn turn(&mut self, host: usize, arrival: Arrival, facts: &mut Vec<Fact>) {
        self.on_stage(host, facts, |node, stage| node.turn(stage, arrival));
    }

    pub(super) fn on_stage(
        &mut self,
        host: usize,
        facts: &mut Vec<Fact>,
        play: impl FnOnce(&mut Node, &mut Stage<'_>),
    ) {
        let are_up: Vec<bool> = (0..self.bounds.replicas).map(|at| self.is_up(at)).collect();
        let mut stage = Stage {
            host,
            now: self.now(),
            links: &mut self.links,
            are_up: &are_up,
            facts,
        };
        play(self.nodes[host].edit(), &mut stage);
    }

    pub(super) fn start(&mut self, host: usize) {
        let (bounds, now) = (self.bounds, self.now());
        self.nodes[host].edit().start(host, bounds, now);
        self.troubles[host].down = Hold::No;
    }

    pub(super) fn call(&mut self, call: usize) {
        let target = self.client.target(call, self.named());
        let is_up = self.is_up(target);
        let conn = self
            .links
            .dial(Party::Client, Party::Replica(target), is_up);
        let longest = self.past.longest.clone();
        let frame = self
            .client
            .ask(call, (conn, target), self.elapsed, &longest);
        self.links.send(Party::Client, conn, &frame);
    }

    fn release(&mut self) {
        let ends = self.links.conns.iter_mut().flat_map(|conn| &mut conn.ends);
        let slow = self.troubles.iter_mut().map(|trouble| &mut trouble.slow);
        for hold in ends.map(|end| &mut end.hold).chain(slow) {
            if *hold == Hold::UntilQuiet {
                *hold = Hold::No;
            }
        }
    }

    fn elapse(&mut self) {
        self.elapsed += 1;
        self.ticks = 0;
        let elapsed = self.elapsed;
        for end in self.links.conns.iter_mut().flat_map(|conn| &mut conn.ends) {
            end.hold.expire(elapsed);
        }
        for trouble in &mut self.troubles {
            for hold in trouble.holds() {
                hold.expire(elapsed);
            }
        }
        for host in 0..self.bounds.replicas {
            if matches!(self.troubles[host].down, Hold::Until(at) if at <= elapsed) {
                self.start(host);
            }
        }
    }
}

fn now_at(elapsed: u32) -> Now {
    let boot = Instant::ZERO.plus(BEGINNING).plus(QUARTER * elapsed);
    Now {
        boot,
        wall: WallTime(WALL_AT_ZERO + boot.as_nanos()),
    }
}

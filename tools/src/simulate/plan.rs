//! What a run is like: drawn once, from the seed alone.
//!
//! Each kind of fault is in a run or is not, so that some runs have many of few kinds: faults that
//! meet in one run would hide each other if every run had all (Groce et al. 2012, "Swarm testing").

use standin_core::identity::Durability;
use standin_core::machine::{StateMachine, VersionRange};
use standin_core::planted::Planted;
use standin_core::random::RandomStream;
use standin_core::session::{KEPT_REPLIES_BYTES_MAX, SessionLimits};
use standin_core::time::{Duration, Instant};
use standin_replica::{Limits, SnapshotConfig};

use super::clock::RATE_TRUE;
use super::draw::Draw as _;
use super::fault::FaultKind;

/// When a run begins, in true time.
pub(crate) const START: Instant = Instant::from_nanos(1_000_000_000);

/// What a clock's rate may be off true time, in parts per million: any two are then so close to each
/// other that a holder's term ends before its grantor's.
const RATE_OFF_MAX: u64 = 49_900;

/// More than a client makes in most runs.
const CALLS_TO_SHRINK_FROM: u32 = 64;

/// What one seed runs under.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Replicas, spares included: 2 to 4.
    pub replicas: usize,
    /// Clients.
    pub clients: usize,
    /// The durability level of all replicas.
    pub durability: Durability,
    /// The lease term.
    pub term: Duration,
    /// The limits of sessions.
    pub session_limits: SessionLimits,
    /// The usual time of a message on its way.
    pub latency: Duration,
    /// The usual time of a sync.
    pub sync_time: Duration,
    /// Most calls of each client before the faults end; `None`: as many as there is time for.
    pub calls: Option<u32>,
    /// Calls that a client has open at one time, at most.
    pub calls_open: usize,
    /// Longest time a client thinks before its next call.
    pub pause: Duration,
    /// How long things go wrong.
    pub faults_for: Duration,
    /// Longest time between two faults.
    pub fault_pause: Duration,
    /// Longest time that a fault lasts, or a process is away.
    pub fault_length: Duration,
    /// The kinds of fault that this run has.
    pub faults: Vec<FaultKind>,
    /// The bounds of the replicas' queues.
    pub limits: Limits,
    /// When snapshots are taken.
    pub snapshots: SnapshotConfig,
    /// The rates of the machines' boot clocks, in parts per million of true time.
    pub clock_rates: Vec<u64>,
    /// The rates are as close to each other as the lease asks for, and no pause is hidden.
    pub are_clocks_bounded: bool,
    /// An operator forces a takeover wherever the view service lets them, though a pair that is merely cut off
    /// may go on.
    pub is_operator_careless: bool,
    /// The bug that all parties have: none, but in tests of this simulator.
    pub planted: Planted,
}

/// A machine is slow only if it is asked for more than it can do, and how slow it is shows only if not all that is asked
/// waits for it: about so many calls are open in runs in which machines are slow and nothing else is wrong ..
const SLOW_CALLS_OPEN: usize = 6;
/// .. and each client would begin so many in a term, at least.
const SLOW_CALLS_PER_TERM: u32 = 400;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut random = RandomStream::new(seed, 1);
        let random = &mut random;
        let mut limits = RandomStream::new(seed, 6);
        let replicas = *random.pick(&[2, 3, 3, 3, 3, 4]);
        let clients = 1 + usize::try_from(random.below(4)).expect("small");
        let term = Duration::from_millis(*random.pick(&[200, 300, 500, 1000]));
        let are_clocks_bounded = random.chance(800);
        let hosts = replicas + 1 + clients;
        let rate = |random: &mut RandomStream| {
            if are_clocks_bounded {
                // Half of all clocks run at an end of what is allowed: there leases are at their tightest.
                match random.below(4) {
                    0 => RATE_TRUE - RATE_OFF_MAX,
                    1 => RATE_TRUE + RATE_OFF_MAX,
                    _ => RATE_TRUE - RATE_OFF_MAX + random.below(RATE_OFF_MAX * 2),
                }
            } else {
                *random.pick(&[RATE_TRUE / 3, RATE_TRUE / 2, RATE_TRUE, RATE_TRUE * 2])
            }
        };
        let clock_rates = (0..hosts).map(|_| rate(random)).collect();
        let faults_for = term * *random.pick(&[4, 6, 10]);
        // Kinds that came later draw from a stream of their own: nothing else of a seed's plan changes.
        let mut later = RandomStream::new(seed, 7);
        let loses_record = RandomStream::new(seed, 8).chance(150);
        let is_deadly = RandomStream::new(seed, 9).chance(150);
        let poisons_timer = RandomStream::new(seed, 10).chance(250);
        let strays = RandomStream::new(seed, 11).chance(500);
        let rolls_out = RandomStream::new(seed, 14).chance(250);
        let mut slow = RandomStream::new(seed, 12);
        let has_slow_machines = slow.chance(120);
        // Who is slow stays in its role only as long as little else goes wrong.
        let is_only_slow = has_slow_machines && slow.chance(600);
        let faults: Vec<FaultKind> = FaultKind::ALL
            .into_iter()
            .filter(|kind| {
                match *kind {
                    FaultKind::RecordLost => return loses_record && !is_only_slow,
                    FaultKind::Deadly => return is_deadly && !is_only_slow,
                    FaultKind::PoisonTimer => return poisons_timer && !is_only_slow,
                    FaultKind::StateStrays => return strays && !is_only_slow,
                    FaultKind::SlowApply => return has_slow_machines,
                    FaultKind::Rollout => return rolls_out && !is_only_slow,
                    _ => {}
                }
                let random = if *kind < FaultKind::Switchover {
                    &mut *random
                } else {
                    &mut later
                };
                let is_drawn = random.chance(500) && (!are_clocks_bounded || kind.keeps_clocks());
                is_drawn && !is_only_slow && (!has_slow_machines || slow.chance(250))
            })
            .collect();
        let mut plan = Self {
            seed,
            replicas,
            clients,
            durability: *random.pick(&[
                Durability::Memory,
                Durability::Os,
                Durability::Os,
                Durability::Disk,
            ]),
            term,
            session_limits: SessionLimits {
                timeout: *random.pick(&[term * 3, Duration::from_secs(600)]),
                sessions_max: *random.pick(&[2, 1000, 1000]),
                replies_bytes_max: *limits.pick(&[32, 32, KEPT_REPLIES_BYTES_MAX]),
                idle_min: *limits.pick(&[Duration::ZERO, term / 8]),
            },
            latency: Duration::from_micros(*random.pick(&[50, 200, 1000, 5000])),
            sync_time: Duration::from_micros(*random.pick(&[100, 1000, 8000])),
            calls: None,
            calls_open: *random.pick(&[1, 1, 3]),
            // Calls are spread over the whole run: whatever goes wrong meets some.
            pause: (term * 3 + faults_for) / *random.pick(&[8, 20, 50]),
            faults_for,
            fault_pause: *random.pick(&[term / 8, term / 2, term * 2]),
            fault_length: *random.pick(&[term / 2, term * 3 / 2, term * 3]),
            faults,
            limits: draw_limits(random),
            snapshots: SnapshotConfig {
                every: *limits.pick(&[0, 3, 10, 40]),
                log_bytes: *limits.pick(&[2000, 1 << 30, 1 << 30]),
                makes_room: true,
            },
            clock_rates,
            are_clocks_bounded,
            is_operator_careless: limits.chance(100),
            planted: Planted::default(),
        };
        if is_only_slow {
            plan.calls_open = SLOW_CALLS_OPEN.div_ceil(clients);
            plan.pause = term / SLOW_CALLS_PER_TERM;
            plan.faults_for = term * 10;
            plan.fault_pause = term * 2;
            plan.limits = Limits::default();
            // Nobody is slow in some: then nobody may be taken for it.
            if slow.chance(200) {
                plan.faults.clear();
            }
        } else if has_slow_machines {
            plan.pause /= 5;
        }
        plan
    }

    /// A plan in which nothing goes wrong by itself, for scenarios.
    pub(crate) fn quiet(replicas: usize, durability: Durability) -> Self {
        let term = Duration::from_millis(500);
        let mut plan = Self {
            seed: 0,
            replicas,
            clients: 1,
            durability,
            term,
            session_limits: SessionLimits {
                sessions_max: 1000,
                ..SessionLimits::default()
            },
            latency: Duration::from_micros(200),
            sync_time: Duration::from_millis(1),
            calls: Some(0),
            calls_open: 1,
            pause: Duration::from_millis(2),
            faults_for: Duration::ZERO,
            fault_pause: term,
            fault_length: term,
            faults: Vec::new(),
            limits: Limits::default(),
            snapshots: SnapshotConfig::default(),
            clock_rates: Vec::new(),
            are_clocks_bounded: true,
            is_operator_careless: false,
            planted: Planted::default(),
        };
        plan.set_clients(1);
        plan
    }

    /// Changes the number of clients.
    pub(crate) fn set_clients(&mut self, clients: usize) {
        self.clients = clients;
        self.clock_rates.resize(self.hosts(), RATE_TRUE);
    }

    /// A plan that is smaller in one respect, for each respect: the ways to shrink a failure.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        for at in 0..self.faults.len() {
            let mut plan = self.clone();
            plan.faults.remove(at);
            plans.push(plan);
        }
        let with = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            plan
        };
        if self.clients > 1 {
            plans.push(with(&|plan| plan.set_clients(self.clients - 1)));
        }
        let fewer = self.calls.map_or(CALLS_TO_SHRINK_FROM, |calls| calls / 2);
        if fewer > 0 {
            plans.push(with(&|plan| plan.calls = Some(fewer)));
        }
        if self.calls_open > 1 {
            plans.push(with(&|plan| plan.calls_open = 1));
        }
        plans
    }

    /// The flags of `standin simulate` that say how this plan differs from the one of its seed.
    #[must_use]
    pub fn flags(&self) -> String {
        let drawn = Self::draw(self.seed);
        let mut flags = format!("--seed {}", self.seed);
        if self.faults != drawn.faults {
            let names: Vec<String> = self.faults.iter().map(|kind| kind.name()).collect();
            let names = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(",")
            };
            flags += &format!(" --faults {names}");
        }
        if self.clients != drawn.clients {
            flags += &format!(" --clients {}", self.clients);
        }
        if let Some(calls) = self.calls {
            flags += &format!(" --calls {calls}");
        }
        if self.calls_open != drawn.calls_open {
            flags += &format!(" --calls-open {}", self.calls_open);
        }
        flags
    }

    /// The versions of the machine that the program supports with which replicas begin.
    pub(crate) fn first_program<M: StateMachine>(&self) -> VersionRange {
        match self.faults.contains(&FaultKind::Rollout) {
            true => VersionRange::only(M::OLDEST_VERSION),
            false => VersionRange::of::<M>(),
        }
    }

    /// How long a client falls silent now and then: until its session has expired, if any does in a run.
    pub(crate) fn silence(&self) -> Duration {
        if self.session_limits.timeout < self.term * 10 {
            self.session_limits.timeout * 4 / 3
        } else {
            self.pause
        }
    }

    /// When the faults end.
    pub(crate) fn heals_at(&self) -> Instant {
        START.plus(self.term * 3 + self.faults_for)
    }

    /// Number of hosts: replicas, the view service, clients.
    pub(crate) fn hosts(&self) -> usize {
        self.replicas + 1 + self.clients
    }

    /// The host of the view service; replicas come before it, clients after it.
    pub(crate) fn service(&self) -> usize {
        self.replicas
    }
}

/// Bounds as they are in earnest, or some of them so small that a run meets them.
fn draw_limits(random: &mut RandomStream) -> Limits {
    let mut limits = Limits::default();
    if random.chance(500) {
        return limits;
    }
    let primary = &mut limits.primary;
    primary.pending_entries_max = *random.pick(&[1, 4, primary.pending_entries_max]);
    primary.pending_bytes_max = *random.pick(&[1, 500, primary.pending_bytes_max]);
    primary.reads_max = *random.pick(&[1, 2, primary.reads_max]);
    primary.reads_bytes_max = *random.pick(&[1, 20, primary.reads_bytes_max]);
    primary.log_read_bytes = *random.pick(&[1, 300, primary.log_read_bytes]);
    limits.answers_bytes_max = *random.pick(&[1, 30, limits.answers_bytes_max]);
    limits.recent_bytes_max = *random.pick(&[1, 1000, limits.recent_bytes_max]);
    limits.apply_entries_max = *random.pick(&[1, 3, limits.apply_entries_max]);
    limits.log_read_bytes = *random.pick(&[1, 300, limits.log_read_bytes]);
    limits.snapshot_piece_bytes = *random.pick(&[50, 300, limits.snapshot_piece_bytes]);
    limits
}

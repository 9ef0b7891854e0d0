//! A whole cluster in virtual time.
//!
//! Hosts are machines with a clock, a disk and a process: replicas first, then the view service, then
//! clients. A process runs in turns, as its loop would come round: it takes in what has arrived, does
//! what is due, and what it sends leaves when the turn ends. Between turns a host may be paused or
//! slow; in the midst of one it may die.

mod finding;

use std::collections::{BTreeSet, VecDeque};

use standin_core::conn::ConnId;
use standin_core::identity::{ClusterId, ReplicaName};
use standin_core::message::{Refusal, TokenDead};
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant};

use super::caller::Caller;
use super::check::{Checks, Violation};
use super::clock::Clock;
use super::disk::SimDisk;
use super::doom::Doom;
use super::draw::Draw as _;
use super::fact::Fact;
use super::failed::Failed;
use super::fault::{FaultCounts, FaultKind, OldDisk};
use super::heal::Healing;
use super::marks::Marks;
use super::mending::Mending;
use super::mourning::Mourning;
use super::network::{Arrival, HostState, Network};
use super::node::{Death, Machine, Node};
use super::plan::{Plan, START};
use super::queue::{Coming, Queue};
use super::record::Recorder;
use super::service::Service;
use super::stage::{Output, Stage, Watchers, observe};
use super::trace::Trace;
use super::watched::{Falsehood, Subject};

/// Things that may happen at one moment before the run is taken to spin, besides one for each entry that a replica had
/// in its log before: one that was slow applies what is left, in pieces that may be as small as one entry.
const STEPS_AT_ONE_MOMENT: usize = 20_000;

/// Stands where no connection is meant.
pub(super) const NO_CONN: ConnId = ConnId(u64::MAX);

/// What runs on a host.
#[derive(Debug)]
pub(crate) enum Process<M> {
    /// Nothing.
    None,
    Replica(Box<Node<M>>),
    /// A replica whose disk failed, and which has only that left to say.
    Failed(Box<Failed>),
    /// A replica whose log is damaged, and which seeks what is missing.
    Mending(Box<Mending>),
    Service(Box<Service>),
    Client(Box<Caller>),
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Host<M> {
    pub(crate) clock: Clock,
    pub(crate) process: Process<M>,
    /// Counts starts and ends of processes.
    pub(crate) life: u64,
    pub(crate) is_on: bool,
    pub(crate) paused_until: Instant,
    /// When a frozen clock runs on, and at which rate.
    pub(crate) thaws: Option<(Instant, u64)>,
    /// Until when turns take up to so much longer.
    pub(crate) slow: (Instant, Duration),
    /// Until when syncs take up to so much longer.
    pub(crate) slow_disk: (Instant, Duration),
    /// Until when each entry takes so long to be applied.
    pub(crate) slow_apply: (Instant, Duration),
    /// A fault of the disk is still to come.
    pub(crate) is_disk_spoilt: bool,
    arrivals: VecDeque<(ConnId, Arrival)>,
    turn_at: Option<Instant>,
    busy_until: Instant,
    /// What the turn that is under way sends when it ends.
    leaving: VecDeque<Vec<Output>>,
    start_at: Option<Instant>,
}

impl<M> Host<M> {
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self.process, Process::None)
    }
}

/// How much longer something takes as long as it does.
fn while_it_lasts((until, longer): (Instant, Duration), now: Instant) -> Duration {
    if now < until { longer } else { Duration::ZERO }
}

/// The cluster, and everything around it.
#[derive(Debug)]
pub(crate) struct World<M> {
    pub(crate) plan: Plan,
    pub(crate) now: Instant,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) random: RandomStream,
    pub(crate) hosts: Vec<Host<M>>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) service_disk: SimDisk,
    pub(crate) checks: Checks<M>,
    pub(crate) marks: Marks,
    pub(crate) faults: FaultCounts,
    pub(crate) trace: Trace,
    pub(crate) recorder: Recorder,
    pub(crate) healing: Option<Healing>,
    pub(crate) old_disk: Option<OldDisk>,
    /// The view service's disk was lost: from then on it is started to have its record made again.
    pub(crate) is_record_lost: bool,
    /// The replicas that were not named when it was made again last.
    pub(crate) left_out: Vec<usize>,
    /// Those whom operators have named as they forced a takeover.
    pub(crate) forced: BTreeSet<usize>,
    pub(crate) mourning: Mourning,
    /// How often a process died in the midst of an entry.
    pub(crate) died_at_entry: u32,
    pub(crate) steps: u64,
    steps_at_once: usize,
    /// As many as there may be.
    steps_at_once_max: usize,
    forks: u64,
    cluster: ClusterId,
    pub(crate) is_over: bool,
}

impl<M: Subject> World<M> {
    /// A cluster whose processes start by themselves, and which faults then befall.
    pub(crate) fn new(plan: Plan, is_traced: bool) -> Self {
        let mut world = Self::unstarted(plan, is_traced);
        for host in 0..world.plan.hosts() {
            let wait = world.random.between(Duration::ZERO, world.plan.term);
            world.start_at(host, world.now.plus(wait));
        }
        world
    }

    /// A cluster in which nothing happens by itself.
    pub(crate) fn still(plan: Plan) -> Self {
        Self::unstarted(plan, false).without_parents()
    }

    fn unstarted(plan: Plan, is_traced: bool) -> Self {
        let mut random = RandomStream::new(plan.seed, 2);
        let now = START;
        let mut world = Self {
            now,
            queue: Queue::default(),
            network: Network::new(plan.hosts(), plan.latency, RandomStream::new(plan.seed, 3)),
            hosts: Vec::new(),
            machines: Vec::new(),
            service_disk: SimDisk::new(),
            checks: Checks::new(&plan),
            marks: Marks::of(&plan),
            faults: FaultCounts::default(),
            trace: Trace::new(is_traced),
            recorder: Recorder::default(),
            healing: None,
            old_disk: None,
            is_record_lost: false,
            left_out: Vec::new(),
            forced: BTreeSet::new(),
            mourning: Mourning::new(plan.seed),
            died_at_entry: 0,
            steps: 0,
            steps_at_once: 0,
            steps_at_once_max: STEPS_AT_ONE_MOMENT,
            forks: 0,
            cluster: ClusterId(u128::from(random.next_u64())),
            is_over: false,
            random,
            plan,
        };
        world.build();
        world
    }

    fn build(&mut self) {
        for host in 0..self.plan.hosts() {
            let local = 5_000_000_000 + self.random.below(1_000_000_000_000);
            let ahead = i64::try_from(self.random.below(2_000_000_000)).expect("small");
            let rate = self.plan.clock_rates[host];
            let clock = Clock::new(self.now, local, rate, ahead - 1_000_000_000);
            self.hosts.push(Host {
                clock,
                process: Process::None,
                life: 0,
                is_on: true,
                paused_until: Instant::ZERO,
                thaws: None,
                slow: (Instant::ZERO, Duration::ZERO),
                slow_disk: (Instant::ZERO, Duration::ZERO),
                slow_apply: (Instant::ZERO, Duration::ZERO),
                is_disk_spoilt: false,
                arrivals: VecDeque::new(),
                turn_at: None,
                busy_until: Instant::ZERO,
                leaving: VecDeque::new(),
                start_at: None,
            });
        }
        self.service_disk
            .set_names_unordered(self.random.chance(500));
        for host in 0..self.plan.replicas {
            let disk = SimDisk::new();
            disk.set_names_unordered(self.random.chance(500));
            let name = char::from(b'a' + u8::try_from(host).expect("few replicas"));
            self.machines.push(Machine {
                name: ReplicaName::new(name.to_string()).expect("a letter is a name"),
                disk,
                boot: 1,
                replace: false,
                falsehood: Falsehood::with(Doom::of(host)),
                program: self.plan.first_program::<M>(),
                unfit: None,
            });
        }
    }

    /// Runs until everything is checked, or something is wrong.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        let first_fault = self.random.between(self.plan.term / 2, self.plan.term * 3);
        self.queue.at(self.now.plus(first_fault), Coming::Fault);
        let heals_at = self.plan.heals_at();
        self.queue.at(heals_at, Coming::Heal);
        while let Some((at, coming)) = self.queue.pop() {
            self.step(at, coming);
            if let Some(violation) = &self.checks.violation {
                return Err(violation.clone());
            }
            if let Some(limit) = self.checks.beyond_help {
                self.marks.reach(limit);
                return Ok(());
            }
            if self.is_over {
                return Ok(());
            }
        }
        unreachable!("healing asks for more until it is over")
    }

    /// Lets something happen.
    pub(crate) fn step(&mut self, at: Instant, coming: Coming) {
        self.steps += 1;
        if at == self.now {
            self.steps_at_once += 1;
        } else {
            self.steps_at_once = 0;
            let logs = self.checks.truth.replicas.iter().map(|one| one.log.len());
            self.steps_at_once_max = STEPS_AT_ONE_MOMENT + logs.sum::<usize>();
        }
        if self.steps_at_once > self.steps_at_once_max {
            self.checks.fail(
                "L4",
                format!("nothing moves on, the same comes again and again: {coming:?}"),
            );
        }
        self.now = at;
        match coming {
            Coming::Knock(conn) => self.on_knock(conn),
            Coming::DialTimeout(conn) => {
                let life = self.state_of(self.network.host_of(conn, 0)).life;
                let arrived = self.network.on_dial_timeout(conn, life);
                self.arrived(arrived);
            }
            Coming::Arrive(conn, end, arrival) => {
                let state = self.state_of(self.network.host_of(conn, end));
                let arrived =
                    self.network
                        .on_arrive((conn, end), arrival, state, at, &mut self.queue);
                self.arrived(arrived);
            }
            Coming::Break(conn, end) => {
                let life = self.state_of(self.network.host_of(conn, end)).life;
                let arrived = self.network.on_break(conn, end, life);
                self.arrived(arrived);
            }
            Coming::Turn(host, life) => self.on_turn(host, life),
            Coming::Leave(host, life) => self.on_leave(host, life),
            Coming::SyncDone(host, life) => self.on_sync_done(host, life),
            Coming::Start(host) => self.on_start(host),
            Coming::Proof(member, until) => self.on_proof(member, until),
            Coming::Room(host) => self.on_room(host),
            Coming::Fault => self.on_fault(),
            Coming::Heal => self.on_heal(),
            Coming::Script => self.on_script(),
        }
    }

    fn state_of(&self, host: usize) -> HostState {
        let host = &self.hosts[host];
        HostState {
            is_on: host.is_on,
            life: host.is_up().then_some(host.life),
        }
    }

    fn on_knock(&mut self, conn: usize) {
        let state = self.state_of(self.network.host_of(conn, 1));
        if !state.is_on {
            return; // nobody answers; the caller gives up in time
        }
        let knocked = self
            .network
            .on_knock(conn, state.life, self.now, &mut self.queue);
        if let Some((host, id, party)) = knocked {
            self.arrived(Some((host, id, Arrival::Accepted(party))));
        }
    }

    pub(super) fn arrived(&mut self, arrived: Option<(usize, ConnId, Arrival)>) {
        if let Some((host, id, arrival)) = arrived {
            self.hosts[host].arrivals.push_back((id, arrival));
            // The kernel takes a moment to wake a process, in which more may arrive.
            let wait = self
                .random
                .between(Duration::ZERO, Duration::from_micros(60));
            self.wake(host, self.now.plus(wait));
        }
    }

    /// The process of a host runs at `at`, or earlier.
    fn wake(&mut self, host: usize, at: Instant) {
        let it = &mut self.hosts[host];
        let at = at.max(it.busy_until).max(self.now);
        if it.turn_at.is_none_or(|before| at < before) {
            it.turn_at = Some(at);
            self.queue.at(at, Coming::Turn(host, it.life));
        }
    }

    /// A process that stands still goes on now. So does one that is in the midst of a slow turn or a slow
    /// sync: both end now.
    pub(crate) fn go_on(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        it.paused_until = it.paused_until.min(self.now);
        it.busy_until = it.busy_until.min(self.now);
        let (life, leaving) = (it.life, it.leaving.len());
        for _ in 0..leaving {
            self.queue.at(self.now, Coming::Leave(host, life));
        }
        self.queue.at(self.now, Coming::SyncDone(host, life));
        self.wake(host, self.now);
    }

    fn on_turn(&mut self, host: usize, life: u64) {
        let it = &mut self.hosts[host];
        if it.life != life || it.turn_at != Some(self.now) {
            return;
        }
        it.turn_at = None;
        if it.paused_until > self.now {
            return self.wake(host, self.hosts[host].paused_until);
        }
        if it.busy_until > self.now {
            return self.wake(host, self.hosts[host].busy_until);
        }
        let mut arrivals = std::mem::take(&mut it.arrivals);
        self.with_process(host, |process, stage| match process {
            Process::None => Ok(()),
            Process::Replica(node) => node.turn(stage, &mut arrivals),
            Process::Failed(failed) => failed.turn(stage, &mut arrivals),
            Process::Mending(mending) => mending.turn(stage, &mut arrivals),
            Process::Service(service) => service.turn(stage, &mut arrivals),
            Process::Client(caller) => {
                caller.turn(stage, &mut arrivals);
                Ok(())
            }
        });
    }

    fn on_sync_done(&mut self, host: usize, life: u64) {
        let it = &self.hosts[host];
        if it.life != life {
            return;
        }
        // The log thread stands still with its process.
        if it.paused_until > self.now {
            let at = it.paused_until;
            return self.queue.at(at, Coming::SyncDone(host, life));
        }
        self.arrived(Some((host, NO_CONN, Arrival::Woken)));
    }

    /// Lets the process of a host do something, and sees to what comes of it.
    pub(crate) fn with_process(
        &mut self,
        host: usize,
        act: impl FnOnce(&mut Process<M>, &mut Stage<'_, M>) -> Result<(), Death>,
    ) {
        let mut process = std::mem::replace(&mut self.hosts[host].process, Process::None);
        let mut stage = self.stage(host);
        let died = act(&mut process, &mut stage).err();
        let (outputs, waited) = (stage.outputs, stage.waited);
        let (sync_started, join_asked) = (stage.sync_started, stage.join_asked);
        let hand_over_asked = stage.hand_over_asked;
        let it = &mut self.hosts[host];
        it.process = process;
        let slow = while_it_lasts(it.slow, self.now);
        let busy = waited + self.random.between(Duration::ZERO, slow);
        if let Some(death) = died {
            return self.on_death(host, death, outputs);
        }
        let it = &mut self.hosts[host];
        it.busy_until = it.busy_until.max(self.now.plus(busy));
        if sync_started {
            let wait = self.sync_wait(host);
            let life = self.hosts[host].life;
            self.queue
                .at(self.now.plus(wait), Coming::SyncDone(host, life));
        }
        if join_asked {
            self.harry(host, FaultKind::JoinHarried);
        }
        if hand_over_asked {
            self.harry(host, FaultKind::HandOverHarried);
        }
        self.send_after(host, outputs);
        self.wake_at_deadline(host);
    }

    fn stage(&mut self, host: usize) -> Stage<'_, M> {
        let it = &self.hosts[host];
        Stage {
            host,
            life: it.life,
            now: self.now,
            clock: it.clock,
            waited: Duration::ZERO,
            slow: while_it_lasts(it.slow, self.now),
            sync_time: self.plan.sync_time + while_it_lasts(it.slow_disk, self.now),
            apply_time: while_it_lasts(it.slow_apply, self.now),
            network: &mut self.network,
            random: &mut self.random,
            checks: &mut self.checks,
            marks: &mut self.marks,
            trace: &mut self.trace,
            recorder: &mut self.recorder,
            outputs: Vec::new(),
            sync_started: false,
            join_asked: false,
            hand_over_asked: false,
        }
    }

    fn sync_wait(&mut self, host: usize) -> Duration {
        let slow = while_it_lasts(self.hosts[host].slow_disk, self.now);
        self.random
            .between(self.plan.sync_time / 2, (self.plan.sync_time + slow) * 2)
    }

    /// What a turn sends leaves when the turn ends.
    fn send_after(&mut self, host: usize, outputs: Vec<Output>) {
        if outputs.is_empty() {
            return;
        }
        let it = &mut self.hosts[host];
        if it.busy_until <= self.now && it.leaving.is_empty() {
            return self.send_all(outputs);
        }
        it.leaving.push_back(outputs);
        let (at, life) = (it.busy_until.max(self.now), it.life);
        self.queue.at(at, Coming::Leave(host, life));
    }

    fn on_leave(&mut self, host: usize, life: u64) {
        let it = &mut self.hosts[host];
        if it.life != life {
            return;
        }
        // A process that stands still in the midst of a turn sends when it goes on.
        if it.paused_until > self.now {
            let at = it.paused_until;
            return self.queue.at(at, Coming::Leave(host, life));
        }
        if let Some(outputs) = it.leaving.pop_front() {
            self.send_all(outputs);
        }
    }

    fn send_all(&mut self, outputs: Vec<Output>) {
        let (network, now, queue) = (&mut self.network, self.now, &mut self.queue);
        for output in outputs {
            match output {
                Output::Knock(conn) => network.knock(conn, now, queue),
                Output::Accept(conn) => network.accept(conn, now, queue),
                Output::Send(conn, frame) => network.send(conn, frame, now, queue),
                Output::Close(conn, why) => network.close(conn, why, now, queue),
            }
        }
    }

    fn wake_at_deadline(&mut self, host: usize) {
        let it = &self.hosts[host];
        let deadline = match &it.process {
            Process::None => None,
            Process::Replica(node) => node.deadline(),
            Process::Failed(failed) => failed.deadline(),
            Process::Mending(mending) => mending.deadline(),
            Process::Service(service) => service.deadline(),
            Process::Client(caller) => caller.deadline(),
        };
        if let Some(boot) = deadline {
            // A poll rounds up, to whole milliseconds.
            let at = it.clock.when(boot, self.now);
            let at = if at > self.now {
                at.plus(Duration::from_micros(500))
            } else {
                at
            };
            self.wake(host, at);
        }
    }

    /// A process of a host is started at `at`, unless one runs by then.
    pub(crate) fn start_at(&mut self, host: usize, at: Instant) {
        let it = &mut self.hosts[host];
        if it
            .start_at
            .is_none_or(|before| before <= self.now || at < before)
        {
            it.start_at = Some(at);
        }
        self.queue.at(at, Coming::Start(host));
    }

    fn on_start(&mut self, host: usize) {
        if self.hosts[host].is_up() || self.is_broken_for_good(host) {
            return;
        }
        let unfit = self
            .machines
            .get(host)
            .and_then(|machine| machine.unfit.as_ref());
        if unfit.is_some() {
            return;
        }
        self.hosts[host].life += 1;
        let it = &mut self.hosts[host];
        (it.is_on, it.turn_at) = (true, None);
        it.busy_until = self.now;
        it.arrivals.clear();
        let started = self.begin(host);
        match started {
            Ok(process) => {
                self.hosts[host].process = process;
                self.wake(host, self.now);
            }
            Err(death) => self.on_death(host, death, Vec::new()),
        }
    }

    fn begin(&mut self, host: usize) -> Result<Process<M>, Death> {
        let (plan, cluster) = (self.plan.clone(), self.cluster);
        if host == plan.service() {
            let disk = self.service_disk.clone();
            let cluster = (!self.is_record_lost).then_some(cluster);
            let mut stage = self.stage(host);
            return Service::start(&disk, &plan, cluster, &mut stage)
                .map(|service| Process::Service(Box::new(service)));
        }
        if host > plan.service() {
            let client = host - plan.service() - 1;
            let now = self.hosts[host].clock.boot(self.now);
            let caller = Caller::new(client, &plan, now, &mut self.random);
            return Ok(Process::Client(Box::new(caller)));
        }
        let machines = std::mem::take(&mut self.machines);
        let mut stage = self.stage(host);
        let node = Node::start(&machines[host], &plan, cluster, &mut stage);
        self.machines = machines;
        node
    }

    /// A process has ended by itself, in the midst of a turn.
    fn on_death(&mut self, host: usize, mut death: Death, mut outputs: Vec<Output>) {
        if let Death::Disk { unnoted, .. } = &mut death
            && let Some(dead) = unnoted.take()
        {
            self.send_all(outputs);
            return self.fail(host, dead, death);
        }
        self.trace.line(self.now, host, || format!("ends: {death}"));
        if !matches!(death, Death::Stopped | Death::Left) {
            // Some of what it had sent may have left before.
            let left = usize::try_from(self.random.below(outputs.len() as u64 + 1)).expect("few");
            outputs.truncate(left);
        }
        while let Some(outputs) = self.hosts[host].leaving.pop_front() {
            self.send_all(outputs);
        }
        self.send_all(outputs);
        let was_stopped = self.disk(host).is_stopped();
        match death {
            Death::Mended => self.go_on_mended(host),
            Death::Stopped => self.end(host, false, was_stopped),
            Death::Left => {
                self.end(host, false, was_stopped);
                self.come_back(host);
            }
            Death::Unfit(why) => {
                self.end(host, false, was_stopped);
                if host < self.plan.replicas {
                    self.observe(&Fact::Unstartable { host, why: &why });
                    self.machines[host].unfit = Some(why);
                } else {
                    self.checks
                        .fail("S18", format!("the view service cannot start: {why}"));
                }
            }
            Death::AtEntry(_) => {
                self.end(host, false, true);
                self.died_at_entry += 1;
                self.restart_soon(host);
            }
            Death::Disk { .. } => {
                let lose_power = was_stopped && self.random.chance(500);
                self.end(host, lose_power, was_stopped);
                self.restart_soon(host);
            }
            Death::Refused(Refusal::NameTaken { store }) => {
                self.end(host, false, was_stopped);
                let why = format!("its name belongs to store {store}");
                self.machines[host].unfit = Some(why);
            }
            Death::Refused(_) => {
                self.end(host, false, was_stopped);
                let wait = self.random.between(self.plan.term / 8, self.plan.term);
                self.start_at(host, self.now.plus(wait));
            }
        }
    }

    /// Somebody starts whatever has ended by itself.
    fn restart_soon(&mut self, host: usize) {
        let within = if self.is_healed() {
            self.plan.term / 8
        } else {
            self.plan.fault_length
        };
        let wait = self.random.between(Duration::ZERO, within);
        self.start_at(host, self.now.plus(wait));
    }

    /// The process of a replica stays only to tell the view service that its disk failed.
    fn fail(&mut self, host: usize, dead: TokenDead, death: Death) {
        self.trace.line(self.now, host, || {
            format!("only has to tell that {dead:?}: {death}")
        });
        self.clear(host);
        self.network
            .close_all_of(host, self.hosts[host].life, self.now, &mut self.queue);
        let it = &mut self.hosts[host];
        it.life += 1;
        it.process = Process::Failed(Box::new(Failed::new(dead, self.plan.service(), death)));
        self.wake(host, self.now);
    }

    /// The process of a replica has mended its log, and begins as if it had just been started.
    fn go_on_mended(&mut self, host: usize) {
        self.clear(host);
        self.network
            .close_all_of(host, self.hosts[host].life, self.now, &mut self.queue);
        self.hosts[host].life += 1;
        self.start_at(host, self.now);
    }

    /// Nothing is under way any more in the process of a host.
    fn clear(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        it.process = Process::None;
        it.arrivals.clear();
        it.leaving.clear();
        it.turn_at = None;
    }

    /// Kills the process of a host, with the power of its machine or without.
    pub(crate) fn kill(&mut self, host: usize, lose_power: bool) {
        self.trace.line(self.now, host, || {
            if lose_power {
                "loses power"
            } else {
                "is killed"
            }
            .to_owned()
        });
        self.end(host, lose_power, true);
    }

    /// Tells a replica to stop.
    pub(crate) fn stop(&mut self, host: usize) {
        self.with_process(host, |process, stage| match process {
            Process::Replica(node) => node.stop(stage),
            Process::Mending(_) => Mending::stop(),
            // One that has only its last words left is told in vain.
            _ => Ok(()),
        });
    }

    fn end(&mut self, host: usize, lose_power: bool, is_killed: bool) {
        self.mourn(host, lose_power);
        self.clear(host);
        let it = &mut self.hosts[host];
        it.paused_until = it.paused_until.min(self.now);
        let life = it.life;
        it.is_disk_spoilt = false;
        if lose_power {
            it.is_on = false;
            self.network
                .forget_all_of(host, life, self.now, &mut self.queue);
        } else {
            self.network
                .close_all_of(host, life, self.now, &mut self.queue);
        }
        self.hosts[host].life += 1;
        let mut random = self.fork();
        let disk = self.disk(host);
        if lose_power {
            disk.power_loss(&mut random);
        } else {
            disk.kill();
        }
        if let Some(machine) = self.machines.get_mut(host) {
            machine.boot += u64::from(lose_power);
        }
        self.observe(&Fact::Ended {
            host,
            lost_power: lose_power,
            is_killed,
        });
    }

    /// A stream of random numbers of its own, drawn from the seed.
    pub(crate) fn fork(&mut self) -> RandomStream {
        self.forks += 1;
        RandomStream::new(self.random.next_u64(), self.forks)
    }

    pub(crate) fn observe(&mut self, fact: &Fact<'_>) {
        let watchers = Watchers {
            checks: &mut self.checks,
            marks: &mut self.marks,
            trace: &mut self.trace,
            recorder: &mut self.recorder,
        };
        observe(self.now, watchers, fact);
    }

    /// Blocks one direction of a link.
    pub(crate) fn block(&mut self, from: usize, to: usize, until: Instant) {
        self.network
            .block((from, to), until, self.now, &mut self.queue);
    }

    /// From here on a host's clock runs at another rate.
    pub(crate) fn set_clock_rate(&mut self, host: usize, rate: u64) {
        self.hosts[host].clock.set_rate(self.now, rate);
        self.wake_at_deadline(host);
    }

    /// Frozen clocks run on, and healing looks how far things are.
    fn on_script(&mut self) {
        for host in 0..self.hosts.len() {
            if let Some((at, rate)) = self.hosts[host].thaws
                && at <= self.now
            {
                self.hosts[host].thaws = None;
                self.set_clock_rate(host, rate);
            }
        }
        self.look_after_healing();
    }
}

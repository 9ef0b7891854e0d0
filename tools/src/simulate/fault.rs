//! What goes wrong.

use std::fmt;
use std::path::Path;

use standin_client::SILENCE_PATIENCE;
use standin_core::entry::Index;
use standin_core::identity::StoreId;
use standin_core::message::RoleName;
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant};

use super::clock::RATE_TRUE;
use super::disk::Snapshot;
use super::doom::deadly;
use super::draw::Draw as _;
use super::fact::Fact;
use super::marks::Mark;
use super::node::Node;
use super::queue::Coming;
use super::truth::Truly;
use super::watched::{Falsehood, POISONOUS, POISONOUS_TIMER, Subject};
use super::world::{Process, World};

/// Where a replica keeps room for its meta file.
pub(crate) const BALLAST: &str = "/data/ballast";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $words:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FaultKind {
            $($(#[$doc])* $name,)*
        }

        impl FaultKind {
            /// Its name on the command line.
            #[must_use]
            pub fn name(self) -> String {
                let mut name = String::new();
                for letter in format!("{self:?}").chars() {
                    if letter.is_uppercase() && !name.is_empty() {
                        name.push('-');
                    }
                    name.extend(letter.to_lowercase());
                }
                name
            }

            /// All kinds.
            pub const ALL: [Self; [$($words),*].len()] = [$(Self::$name),*];

            /// What it is, in words.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

kinds! {
    /// A replica's process is killed; what is in the page cache stays.
    Kill: "a replica is killed",
    /// Primary and backup at the same moment.
    KillBoth: "primary and backup are killed at once",
    /// A replica's machine loses power.
    PowerLoss: "a replica loses power",
    /// Primary and backup at the same moment.
    PowerLossBoth: "primary and backup lose power at once",
    /// A replica is told to stop.
    CleanStop: "a replica is stopped cleanly",
    /// A process dies in the midst of what it does on the disk, also while it recovers.
    CrashAtWrite: "a process dies in the midst of a write",
    /// The view service is killed.
    ServiceKill: "the view service is killed",
    /// The view service's machine loses power.
    ServicePowerLoss: "the view service loses power",
    /// A process stands still; its clock runs on.
    Pause: "a process stands still",
    /// A process and its clock stand still, as in a paused virtual machine.
    PauseFrozen: "a machine stands still, its clock too",
    /// Every turn of a process takes long.
    SlowProcess: "a process is slow",
    /// Nothing passes between two hosts.
    Partition: "two hosts are parted",
    /// Nothing passes from one host to another.
    OneWay: "one direction of a link is blocked",
    /// A host is cut off from all others.
    Isolate: "a host is isolated",
    /// A primary hears nobody but clients, which still reach it.
    CutOff: "a primary is cut off from all but the clients",
    /// Connections of a host break, some half-open.
    BreakConns: "connections break or are half-open",
    /// Messages take long.
    SlowLinks: "messages are slow",
    /// Bits flip in messages.
    DamagedFrames: "messages are damaged",
    /// Syncs take long.
    SlowDisk: "a disk is slow",
    /// A sync fails.
    FailedSync: "a sync fails",
    /// A write fails.
    FailedWrite: "a write fails",
    /// No room is left on a disk.
    FullDisk: "a disk is full",
    /// Bits rot on the disk of a replica: never the last good copy.
    Rot: "a log rots",
    /// A block lands at another place of a replica's disk: never the last good copy.
    Misdirected: "a block lands at another place",
    /// A disk is replaced by an empty one.
    DiskReplaced: "a disk is replaced",
    /// An older copy of a disk is put back.
    DiskRestored: "an older copy of a disk is put back",
    /// A boot clock runs at another rate, out of bounds.
    ClockRate: "a clock runs wild",
    /// A wall clock steps.
    WallStep: "a wall clock steps",
    /// A client's command comes again over another connection.
    SentAgain: "an old command is sent again",
    /// The machine of one replica replies wrongly from some entry on, and that stays so.
    WrongReplica: "a replica replies wrongly",
    /// The primary is cut off from all others at the moment at which it asks for a Join.
    JoinHarried: "a primary is cut off as it asks for a Join",
    /// An operator asks for a switchover, whatever else is going on.
    Switchover: "an operator asks for a switchover",
    /// The primary is cut off from all others at the moment at which it asks to hand over.
    HandOverHarried: "a primary is cut off as it asks to hand over",
    /// A client's command makes the machine fail, on every replica.
    Poison: "a command makes the machine fail",
    /// The view service's disk is lost for good; an operator has its record made again.
    RecordLost: "the view service loses its record for good",
    /// A client's command ends the process of whoever executes it, on all or on some machines; or somebody kills a
    /// process in the midst of an entry.
    Deadly: "a process dies in the midst of an entry",
    /// A client's command sets a timer that makes the machine fail as it fires, on every replica.
    PoisonTimer: "a timer makes the machine fail",
    /// The state of one replica comes to be another from some entry on, and that stays so.
    StateStrays: "the state of a replica comes to be another, and no reply does",
    /// Each entry takes a replica's machine long, mostly the backup's.
    SlowApply: "a machine is slow",
    /// Replicas begin with an old program, and one is started again with a newer one, which supports more versions of
    /// the state machine.
    Rollout: "a replica is started with a newer program",
}

impl FaultKind {
    /// Whether clocks stay within the bounds that leases ask for.
    #[must_use]
    pub fn keeps_clocks(self) -> bool {
        !matches!(self, Self::PauseFrozen | Self::ClockRate)
    }
}

/// How often each kind of fault took effect.
#[derive(Clone, Debug)]
pub struct FaultCounts {
    counts: [u64; FaultKind::ALL.len()],
}

impl Default for FaultCounts {
    fn default() -> Self {
        Self {
            counts: [0; FaultKind::ALL.len()],
        }
    }
}

impl FaultCounts {
    /// How often a kind of fault took effect.
    #[must_use]
    pub fn count(&self, kind: FaultKind) -> u64 {
        self.counts[kind as usize]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    pub(crate) fn happened(&mut self, kind: FaultKind) {
        self.counts[kind as usize] += 1;
    }
}

/// A copy of a replica's disk that may be put back later.
pub(crate) struct OldDisk {
    host: usize,
    /// The store that the disk had then, if any.
    store: Option<StoreId>,
    snapshot: Snapshot,
}

impl fmt::Debug for OldDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OldDisk of {}", self.host)
    }
}

impl<M: Subject> World<M> {
    /// Something goes wrong, and later something else.
    pub(crate) fn on_fault(&mut self) {
        if self.is_healed() {
            return;
        }
        if self.plan.faults.is_empty() {
            return;
        }
        // Now and then somebody looks, and accepts the loss; or does not look.
        let is_careless = self.plan.is_operator_careless;
        if (is_careless && self.random.chance(900)) || (self.is_lost() && self.random.chance(300)) {
            self.recover();
        }
        self.restart_poisoned(Some(self.plan.fault_length));
        self.rebuild_now_and_then();
        // What is to happen as a view is handed over needs views that are.
        let is_harried = self.plan.faults.contains(&FaultKind::HandOverHarried);
        if is_harried && self.random.chance(300) && self.switch_over(0) {
            self.faults.happened(FaultKind::Switchover);
        }
        let kind = *self.random.pick(&self.plan.faults);
        let length = self.random.between(Duration::ZERO, self.plan.fault_length);
        let replica = usize::try_from(self.random.below(self.plan.replicas as u64)).expect("small");
        self.trace.remark(self.now, || {
            format!("fault: {}, at h{replica}, {length:?}", kind.words())
        });
        if self.inflict(kind, replica, length) {
            self.faults.happened(kind);
        }
        self.mourn_again(kind);
        let wait = self
            .random
            .between(Duration::from_millis(1), self.plan.fault_pause);
        self.queue.at(self.now.plus(wait), Coming::Fault);
    }

    /// Lets a fault happen; false if it makes no sense just now.
    pub(crate) fn inflict(&mut self, kind: FaultKind, replica: usize, length: Duration) -> bool {
        let until = self.now.plus(length);
        let service = self.plan.service();
        let any = usize::try_from(self.random.below(self.hosts.len() as u64)).expect("small");
        // Clients are hit less often than those whose trouble is of interest.
        let party = if any > service && self.random.chance(700) {
            replica
        } else {
            any
        };
        let others = self.random.below(self.hosts.len() as u64 - 1);
        let other = usize::try_from(others).expect("small");
        let other = other + usize::from(other >= party);
        let is_up = |world: &Self, host: usize| world.hosts[host].is_up();
        match kind {
            FaultKind::Kill => return self.kill_for(&[replica], false, length),
            FaultKind::PowerLoss => return self.kill_for(&[replica], true, length),
            FaultKind::KillBoth => {
                let pair = self.pair();
                return self.kill_for(&pair, false, length);
            }
            FaultKind::PowerLossBoth => {
                let pair = self.pair();
                return self.kill_for(&pair, true, length);
            }
            FaultKind::CleanStop => return self.stop_for(replica, length),
            FaultKind::CrashAtWrite => return self.crash_soon(party.min(service)),
            FaultKind::ServiceKill => return self.kill_for(&[service], false, length),
            FaultKind::ServicePowerLoss => return self.kill_for(&[service], true, length),
            FaultKind::Pause => {
                self.pause(party, until);
                return is_up(self, party);
            }
            FaultKind::PauseFrozen => return self.freeze(party.min(service), length),
            FaultKind::SlowProcess => {
                let slow = self.random.between(Duration::ZERO, self.plan.term / 4);
                self.hosts[party].slow = (until, slow);
                return is_up(self, party);
            }
            FaultKind::Partition => {
                self.block(party, other, until);
                self.block(other, party, until);
            }
            FaultKind::OneWay => self.block(party, other, until),
            FaultKind::Isolate => {
                for other in 0..self.hosts.len() {
                    self.block(party, other, until);
                    self.block(other, party, until);
                }
            }
            FaultKind::CutOff => return self.cut_off(until.plus(self.plan.term)),
            FaultKind::BreakConns => {
                let mut has_broken = false;
                for conn in self.network.whole_conns_of(party) {
                    if self.random.chance(500) {
                        self.network.break_conn(conn, self.now, &mut self.queue);
                        has_broken = true;
                    }
                }
                return has_broken;
            }
            FaultKind::SlowLinks => {
                let by = self.random.between(Duration::ZERO, self.plan.term / 3);
                self.network.slow_down(until, by);
            }
            FaultKind::DamagedFrames => {
                let per_mille = self.random.below(40);
                self.network.set_damage(until, per_mille);
                return false; // counted message by message
            }
            FaultKind::SlowDisk => {
                let slow = self.random.between(Duration::ZERO, self.plan.term);
                self.hosts[party.min(service)].slow_disk = (until, slow);
                return is_up(self, party.min(service));
            }
            FaultKind::FailedSync | FaultKind::FailedWrite | FaultKind::FullDisk => {
                let host = if self.random.chance(200) {
                    service
                } else {
                    replica
                };
                return self.spoil_disk(kind, host, length);
            }
            FaultKind::Rot | FaultKind::Misdirected => return self.damage(kind, replica),
            FaultKind::DiskReplaced => return self.replace_disk(replica, length),
            FaultKind::DiskRestored => return self.restore_disk(replica, length),
            FaultKind::ClockRate => {
                let rate = *self
                    .random
                    .pick(&[RATE_TRUE / 4, RATE_TRUE / 2, RATE_TRUE * 3]);
                self.set_clock_rate(party, rate);
            }
            FaultKind::WallStep => {
                let seconds = i64::try_from(self.random.below(7200)).expect("small") - 3600;
                self.hosts[party].clock.step_wall(seconds * 1_000_000_000);
            }
            FaultKind::SentAgain => return self.send_again(replica),
            FaultKind::WrongReplica => return self.falsify(replica),
            FaultKind::StateStrays => return self.stray(replica),
            FaultKind::Switchover => return self.switch_over(replica),
            // They come when the swap is asked: see `harry`.
            FaultKind::JoinHarried | FaultKind::HandOverHarried => return false,
            FaultKind::Poison => return self.poison(POISONOUS),
            FaultKind::PoisonTimer => return self.poison(POISONOUS_TIMER),
            FaultKind::RecordLost => return self.lose_record(length),
            FaultKind::Deadly => return self.doom(replica),
            FaultKind::SlowApply => return self.slow_down_machine(replica, length),
            FaultKind::Rollout => return self.renew(replica, length),
        }
        true
    }

    /// From here on each entry takes a machine long, for several terms: that of the backup, or any.
    fn slow_down_machine(&mut self, replica: usize, length: Duration) -> bool {
        let backup = self.pair().get(1).copied();
        let host = backup
            .filter(|_| self.random.chance(800))
            .unwrap_or(replica);
        let entry = self.plan.term / *self.random.pick(&[10, 20, 40, 80, 160]);
        let until = self.now.plus(length * 2 + self.plan.term * 3);
        self.hosts[host].slow_apply = (until, entry);
        self.hosts[host].is_up()
    }

    /// The next command of some client is poisonous, in this way.
    fn poison(&mut self, how: u64) -> bool {
        let client = self.random.below(self.plan.clients as u64);
        let client = usize::try_from(client).expect("few clients");
        let host = self.plan.service() + 1 + client;
        match &mut self.hosts[host].process {
            Process::Client(caller) => caller.poison_next(how),
            _ => false,
        }
    }

    /// The next command of some client ends the process of whoever executes it; or that of one replica ends so at
    /// whatever it executes next, for somebody kills it.
    fn doom(&mut self, replica: usize) -> bool {
        let client = self.random.below(self.plan.clients as u64);
        let client = usize::try_from(client).expect("few clients");
        let host = self.plan.service() + 1 + client;
        if self.random.chance(300) {
            self.machines[replica].falsehood.doom.await_next();
        } else if let Process::Client(caller) = &mut self.hosts[host].process {
            caller.doom_next(deadly(&mut self.random));
        }
        false // counted when it takes effect
    }

    /// The operator restarts replicas whose machine has failed: now and then, or all of them at once. Whether
    /// there were any.
    pub(crate) fn restart_poisoned(&mut self, within: Option<Duration>) -> bool {
        let is_poisoned = |(host, node): (usize, &Node<M>)| {
            let is_out = node.replica.role_name() == RoleName::Quarantined;
            let is_left = self.is_broken(host);
            (is_out && !is_left && node.replica.state().is_poisoned()).then_some(host)
        };
        let poisoned: Vec<usize> = self.nodes().into_iter().filter_map(is_poisoned).collect();
        let mut are_any = false;
        for host in poisoned {
            if within.is_none() || self.random.chance(300) {
                are_any = true;
                self.kill_for(&[host], false, within.unwrap_or(Duration::ZERO));
            }
        }
        are_any
    }

    /// The hosts of the present primary and backup.
    pub(crate) fn pair(&self) -> Vec<usize> {
        let Some(record) = &self.checks.truth.record else {
            return Vec::new();
        };
        let members = std::iter::once(&record.primary).chain(&record.backup);
        members.filter_map(|member| self.host_of(member)).collect()
    }

    /// Cuts the primary off from replicas and the view service, for long enough to be deposed. Some
    /// stand still as it begins: when they go on, all they find is what had arrived before.
    fn cut_off(&mut self, until: Instant) -> bool {
        let Some(&primary) = self.pair().first() else {
            return false;
        };
        // Some outsleep their lease, the takeover after it, and the patience of clients, who write
        // elsewhere by then.
        let mut until = until;
        let stands_still = self.random.chance(500);
        if stands_still {
            let long = self.plan.term * 2 + SILENCE_PATIENCE;
            let longest = *self.random.pick(&[self.plan.term, long, long]);
            let still = self.random.between(Duration::ZERO, longest);
            self.pause(primary, self.now.plus(still));
            until = until.max(self.now.plus(still + self.plan.term / 2));
        }
        let service = self.plan.service();
        for other in 0..=service {
            self.block(primary, other, until);
            self.block(other, primary, until);
        }
        // Some clients do not hear either that another one is primary by then, and stay with this one: of a primary that
        // stands still mostly those who only read, so that others have written elsewhere before it is asked again.
        for client in service + 1..self.hosts.len() {
            let stays = match &self.hosts[client].process {
                Process::Client(caller) if stands_still && caller.only_reads() => true,
                _ => self.random.chance(if stands_still { 200 } else { 500 }),
            };
            if stays {
                self.block(service, client, until);
            }
        }
        true
    }

    /// Kills processes at once, and starts them again after `length` or later.
    pub(crate) fn kill_for(&mut self, hosts: &[usize], lose_power: bool, length: Duration) -> bool {
        let mut has_happened = false;
        for host in hosts {
            if self.hosts[*host].is_up() {
                self.kill(*host, lose_power);
                has_happened = true;
            }
        }
        for host in hosts {
            let more = self.random.between(Duration::ZERO, length);
            self.start_at(*host, self.now.plus(length + more));
        }
        has_happened
    }

    pub(crate) fn stop_for(&mut self, host: usize, length: Duration) -> bool {
        let is_up = self.hosts[host].is_up() && self.hosts[host].paused_until <= self.now;
        if is_up {
            if self.random.chance(500) {
                self.leave(host);
            } else {
                self.stop(host); // told twice, as it were
            }
            if self.hosts[host].is_up() {
                // It is still handing over, or its disk failed meanwhile, and it has still to say so.
                return true;
            }
            // Many are back before anybody misses them, some after a reboot of their machine.
            let away = if self.random.chance(500) {
                length / 8
            } else {
                length
            };
            self.machine(host).boot += u64::from(self.random.chance(300));
            self.start_at(host, self.now.plus(away));
        }
        is_up
    }

    /// A process stands still while its clock runs.
    pub(crate) fn pause(&mut self, host: usize, until: Instant) {
        let paused = &mut self.hosts[host].paused_until;
        *paused = until.max(*paused);
    }

    /// A machine stands still with its clock.
    fn freeze(&mut self, host: usize, length: Duration) -> bool {
        let until = self.now.plus(length);
        let rate = self.hosts[host].clock.rate();
        let can_freeze = rate > 0 && self.hosts[host].paused_until <= self.now;
        if can_freeze {
            self.set_clock_rate(host, 0);
            self.hosts[host].thaws = Some((until, rate));
            self.pause(host, until);
            self.queue.at(until, Coming::Script);
        }
        can_freeze && self.hosts[host].is_up()
    }

    /// The process dies after some operations on its disk from here.
    fn crash_soon(&mut self, host: usize) -> bool {
        let after = self.random.below(30);
        let random = self.fork();
        self.disk(host).stop(after, random);
        self.hosts[host].is_disk_spoilt = true;
        false // counted when it takes effect
    }

    /// Others take all the room on a disk, for a while or until the faults end; or on those of all replicas, which
    /// then are one file system. Some take also what a replica keeps for its meta file.
    fn fill_disk(&mut self, host: usize, length: Duration, mut random: RandomStream) -> bool {
        let is_shared = host < self.plan.replicas && random.chance(500);
        let hosts = if is_shared {
            0..self.plan.replicas
        } else {
            host..host + 1
        };
        let passes = random.chance(500);
        for host in hosts {
            let disk = self.disk(host);
            if random.chance(500) {
                disk.lose_file(Path::new(BALLAST));
            }
            disk.set_capacity(Some(disk.used()));
            if passes {
                self.queue.at(self.now.plus(length * 4), Coming::Room(host));
            }
        }
        false // counted when it takes effect
    }

    /// There is room on a disk again.
    pub(crate) fn on_room(&mut self, host: usize) {
        self.disk(host).set_capacity(None);
    }

    fn spoil_disk(&mut self, kind: FaultKind, host: usize, length: Duration) -> bool {
        let after = self.random.below(20);
        let random = self.fork();
        let disk = self.disk(host);
        match kind {
            FaultKind::FailedSync => disk.fail_sync(after, random),
            FaultKind::FailedWrite => disk.fail_write(after),
            _ => return self.fill_disk(host, length, random),
        }
        self.hosts[host].is_disk_spoilt = true;
        false // counted when it takes effect
    }

    /// How often each kind of fault took effect in the whole run.
    pub(crate) fn effects(&self) -> FaultCounts {
        let mut effects = self.faults.clone();
        let disks = self.machines.iter().map(|machine| &machine.disk);
        for disk in disks.chain([&self.service_disk]) {
            let counts = disk.counts();
            let mut more = |kind: FaultKind, count: u64| effects.counts[kind as usize] += count;
            more(FaultKind::CrashAtWrite, counts.stops);
            more(FaultKind::FailedSync, counts.syncs_failed);
            more(
                FaultKind::FailedWrite,
                counts.writes_failed - counts.rooms_lacked,
            );
            more(FaultKind::FullDisk, counts.times_full);
        }
        effects.counts[FaultKind::Deadly as usize] = u64::from(self.died_at_entry);
        effects.counts[FaultKind::DamagedFrames as usize] = self.network.damaged;
        effects.counts[FaultKind::WrongReplica as usize] = self.checks.truth.erred.len() as u64;
        effects.counts[FaultKind::StateStrays as usize] = self.checks.truth.strayed.len() as u64;
        effects
    }

    /// What stands on a disk is damaged, but never the last good copy.
    fn damage(&mut self, kind: FaultKind, host: usize) -> bool {
        if self.is_needed(host) && !self.has_other_holder(host) {
            return false;
        }
        let mut random = self.fork();
        let disk = self.disk(host);
        let place = match kind {
            FaultKind::Rot => disk.flip_any_bit(&mut random).map(|(path, _)| path),
            _ => disk.misdirect_any(&mut random),
        };
        if place.is_some() {
            let is_bit = kind == FaultKind::Rot;
            self.observe(&Fact::Rotted { host, is_bit });
        }
        place.is_some()
    }

    /// One machine replies wrongly from here on; two would agree with each other.
    fn falsify(&mut self, host: usize) -> bool {
        if !self.are_all_right() {
            return false;
        }
        let last = self.checks.truth.applied.len() as u64;
        let from = Index(last + 1 + self.random.below(10));
        self.machine(host).falsehood.begin(from);
        self.observe(&Fact::Falsified { host, from });
        false // counted when it takes effect
    }

    /// The same of the state of one machine, which no reply shows.
    fn stray(&mut self, host: usize) -> bool {
        if !self.are_all_right() {
            return false;
        }
        let last = self.checks.truth.applied.len() as u64;
        let from = Index(last + 1 + self.random.below(4));
        self.machine(host).falsehood.begin_straying(from);
        self.observe(&Fact::StraysFrom { host, from });
        false // counted when it takes effect
    }

    /// Whether there is something to be wrong with, and no replica has been wrong yet.
    fn are_all_right(&self) -> bool {
        let truth = &self.checks.truth;
        let is_right = |one: &Truly| one.wrong_from.is_none() && one.strays_from.is_none();
        // A store that has been wrong may come back though its disk was replaced.
        let is_first = truth.replicas.iter().all(is_right)
            && truth.erred.is_empty()
            && truth.strayed.is_empty();
        !truth.applied.is_empty() && is_first
    }

    /// A disk is lost, and an operator starts the replica on a new one under its name.
    pub(crate) fn replace_disk(&mut self, host: usize, length: Duration) -> bool {
        let replica = self.checks.truth.replicas[host].clone();
        self.marks
            .tampered(&self.checks.truth, &replica, Mark::HolderReplaced);
        if self.hosts[host].is_up() {
            self.kill(host, true);
        }
        self.disk(host).wipe();
        self.observe(&Fact::Wiped { host });
        let machine = self.machine(host);
        machine.replace = true;
        machine.falsehood = Falsehood::with(machine.falsehood.doom.clone());
        machine.unfit = None;
        self.start_at(host, self.now.plus(length));
        true
    }

    /// Keeps a copy of a disk, or puts one back that was kept.
    fn restore_disk(&mut self, host: usize, length: Duration) -> bool {
        let Some(old) = self.old_disk.take() else {
            let snapshot = self.disk(host).snapshot();
            self.old_disk = Some(OldDisk {
                host,
                store: self.checks.truth.replicas[host].store(),
                snapshot,
            });
            return false;
        };
        let host = old.host;
        let replica = self.checks.truth.replicas[host].clone();
        self.marks
            .tampered(&self.checks.truth, &replica, Mark::HolderRestored);
        if self.hosts[host].is_up() {
            self.kill(host, true);
        }
        self.disk(host).restore(&old.snapshot);
        self.observe(&Fact::Restored {
            host,
            store: old.store,
        });
        let machine = self.machine(host);
        machine.unfit = None;
        machine.replace = false;
        self.start_at(host, self.now.plus(length));
        true
    }

    fn send_again(&mut self, to: usize) -> bool {
        // Only a primary does more than send it away.
        let to = match self.pair().first() {
            Some(primary) if self.random.chance(700) => *primary,
            _ => to,
        };
        let client = self.plan.service() + 1;
        let clients = self.plan.clients as u64;
        let host = client + usize::try_from(self.random.below(clients)).expect("small");
        let mut is_sent = false;
        self.with_process(host, |process, stage| {
            if let Process::Client(caller) = process {
                is_sent = caller.send_again(stage, to);
            }
            Ok(())
        });
        is_sent
    }
}

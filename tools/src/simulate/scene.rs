//! Scenarios: a cluster in virtual time to which things happen as a test says, under all checkers.
//!
//! A scenario has a few verbs (`kill`, `start`, `cut_off`, `call` ..) and waits for conditions, never
//! for a time. Replicas are named `a`, `b`, ..; `a` starts first and is the first primary. Whatever
//! happens, every property is watched at every step; [`Scene::end`] compares states and calls.

mod tamper;

use std::path::Path;

use standin_core::identity::Durability;
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant};
use standin_core::view::{Reason, ViewId, ViewRecord};

use super::disk::Snapshot;
use super::doom::deadly_on;
use super::fault::BALLAST;
use super::heal::Recovery;
use super::marks::Mark;
use super::plan::Plan;
use super::watched::Subject;
use super::world::{Process, World};

/// Virtual time within which whatever a scenario waits for must come about.
const WITHIN: Duration = Duration::from_secs(90);

/// A cluster to which things happen.
#[derive(Debug)]
pub struct Scene<M> {
    world: World<M>,
}

impl<M: Subject> Scene<M> {
    /// A cluster of so many replicas, all of them started, with a pair and one client.
    #[must_use]
    pub fn new(replicas: usize, durability: Durability) -> Self {
        let mut scene = Self {
            world: World::still(Plan::quiet(replicas, durability)),
        };
        let now = scene.world.now;
        scene.world.start_at(scene.world.plan.service(), now);
        for replica in 0..replicas {
            let after = Duration::from_millis(10 * replica as u64);
            scene.world.start_at(replica, now.plus(after));
        }
        scene.world.start_at(scene.world.plan.service() + 1, now);
        scene.until("a pair", |scene| scene.backup().is_some());
        scene
    }

    fn host(&self, name: &str) -> usize {
        let mut machines = self.world.machines.iter();
        let found = machines.position(|machine| machine.name.as_str() == name);
        found.expect("the scenario names a replica that it has")
    }

    /// Lets the next thing happen.
    ///
    /// # Panics
    /// If a property does not hold any more.
    fn step(&mut self) {
        let (at, coming) = self.world.queue.pop().expect("processes go on for ever");
        self.world.step(at, coming);
        if let Some(violation) = &self.world.checks.violation {
            panic!("{violation}");
        }
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// If it does not come about, or a property does not hold any more.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = self.world.now.plus(WITHIN);
        while !is_so(self) {
            self.step();
            let record = self.world.checks.truth.record.as_ref();
            assert!(
                self.world.now < end,
                "{what} does not come about: {record:?}"
            );
        }
    }

    /// Lets time go by, for scenarios in which nothing may happen.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.world.now.plus(time);
        while self.world.now < end {
            self.step();
        }
    }

    /// True time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.world.now
    }

    /// The lease term.
    #[must_use]
    pub fn term(&self) -> Duration {
        self.world.plan.term
    }

    /// The active primary, if its process runs.
    #[must_use]
    pub fn primary(&self) -> Option<String> {
        let record = self.world.checks.truth.record.as_ref()?;
        let host = self.world.host_of(&record.primary)?;
        let role = self.world.checks.truth.replicas[host].standing?.role;
        let is_primary = record.active && role == standin_core::message::RoleName::Primary;
        is_primary.then(|| record.primary.name.to_string())
    }

    /// The replica that the record names as backup.
    #[must_use]
    pub fn backup(&self) -> Option<String> {
        let record = self.world.checks.truth.record.as_ref()?;
        record.backup.as_ref().map(|backup| backup.name.to_string())
    }

    /// The view of the record.
    #[must_use]
    pub fn view(&self) -> Option<ViewId> {
        let record = self.world.checks.truth.record.as_ref();
        record.map(ViewRecord::id)
    }

    /// Whether a replica has adopted the view of the record.
    #[must_use]
    pub fn has_adopted(&self, name: &str) -> bool {
        let standing = self.world.checks.truth.replicas[self.host(name)].standing;
        standing.map(|standing| standing.view) == self.view()
    }

    /// The candidate of an inactive view.
    #[must_use]
    pub fn candidate(&self) -> Option<String> {
        let record = self.world.checks.truth.record.as_ref()?;
        (!record.active).then(|| record.primary.name.to_string())
    }

    /// Waits for a primary.
    pub fn until_primary(&mut self, name: &str) {
        self.until(&format!("primary {name}"), |scene| {
            scene.primary().as_deref() == Some(name)
        });
    }

    /// Waits for a backup.
    pub fn until_backup(&mut self, name: &str) {
        self.until(&format!("backup {name}"), |scene| {
            scene.backup().as_deref() == Some(name)
        });
    }

    /// Waits until the record names no backup.
    pub fn until_alone(&mut self) {
        self.until("a lone primary", |scene| {
            scene.primary().is_some() && scene.backup().is_none()
        });
    }

    /// Waits until the view service says that nobody can serve, in words that hold these, and makes
    /// sure that it stays so for a while.
    pub fn until_unavailable(&mut self, words: &str) {
        let end = self.world.now.plus(WITHIN);
        loop {
            self.run_for(self.term());
            let status = self.world.ask_service();
            let says = status
                .and_then(|status| status.unavailable)
                .unwrap_or_default();
            if says.contains(words) {
                break;
            }
            assert!(
                self.world.now < end,
                "it is said {says:?}, and not {words:?}"
            );
        }
        self.run_for(self.term() * 5);
        assert_eq!(self.primary(), None, "nobody may serve");
    }

    /// The operator names a replica and accepts loss; the reason if it is refused.
    ///
    /// # Errors
    /// The reason in words.
    pub fn recover(&mut self, name: &str) -> Result<(), String> {
        match self.world.force(self.host(name)) {
            Recovery::Done => Ok(()),
            Recovery::Refused(reason) => Err(reason),
            Recovery::NobodyToName => unreachable!("somebody is named"),
        }
    }

    /// The data epoch of the record.
    #[must_use]
    pub fn data_epoch(&self) -> u32 {
        let record = self.world.checks.truth.record.as_ref();
        record.map_or(0, |record| record.data_epoch.0)
    }

    /// How often the client heard that what it was answered may be lost.
    #[must_use]
    pub fn answers_lost(&self) -> u64 {
        self.world.marks.count(Mark::AnswerLost)
    }

    /// How often a log of an earlier data epoch was set aside.
    #[must_use]
    pub fn logs_set_aside(&self) -> u64 {
        self.world.marks.count(Mark::SetAside)
    }

    /// The client makes a call, and is answered.
    pub fn call(&mut self) {
        let client = self.world.plan.service() + 1;
        self.world.with_process(client, |process, _| {
            if let Process::Client(caller) = process {
                caller.heal(1, WITHIN);
            }
            Ok(())
        });
        self.until("an answer", |scene| scene.is_client_done());
        let failed = self.world.failed_call();
        assert_eq!(failed, None, "the call is answered");
    }

    /// The client makes calls until one was a command: a read tells nothing of who has what.
    pub fn command(&mut self) {
        let before = self.world.checks.truth.answered_last();
        while self.world.checks.truth.answered_last() == before {
            self.call();
        }
    }

    /// The client sends a command that ends the process of whoever executes it on one of these machines, and
    /// hears what came of it. Whoever has ended is started again.
    pub fn deadly_command(&mut self, names: &[&str]) {
        let hosts: Vec<usize> = names.iter().map(|name| self.host(name)).collect();
        let before = self.deaths();
        let client = self.world.plan.service() + 1;
        while self.deaths() == before {
            self.world.with_process(client, |process, _| {
                if let Process::Client(caller) = process {
                    caller.heal(1, WITHIN);
                    caller.doom_next(deadly_on(&hosts));
                }
                Ok(())
            });
            self.until("an outcome", |scene| scene.is_client_done());
            let failed = self.world.failed_call();
            assert_eq!(failed, None, "it was answered or skipped");
            // What is deadly for a follower is so after it was answered.
            self.run_for(self.term() / 2);
        }
    }

    /// How often a process died in the midst of an entry.
    #[must_use]
    pub fn deaths(&self) -> u32 {
        self.world.died_at_entry
    }

    /// How many entries are skipped, or ever were.
    #[must_use]
    pub fn skips(&self) -> usize {
        self.world.checks.truth.skips.len()
    }

    /// No entry is deadly any more, on any machine.
    pub fn spare(&mut self) {
        for machine in &self.world.machines {
            machine.falsehood.doom.spare();
        }
    }

    fn is_client_done(&self) -> bool {
        let client = &self.world.hosts[self.world.plan.service() + 1].process;
        matches!(client, Process::Client(caller) if caller.is_done())
    }

    /// Kills a replica's process; what is in the page cache stays.
    pub fn kill(&mut self, name: &str) {
        self.world.kill(self.host(name), false);
    }

    /// A replica's machine loses power.
    pub fn lose_power(&mut self, name: &str) {
        self.world.kill(self.host(name), true);
    }

    /// Tells a replica to stop, and waits until it has.
    pub fn stop(&mut self, name: &str) {
        self.world.stop(self.host(name));
    }

    /// An operator asks a replica to hand over.
    pub fn switch_over(&mut self, name: &str) {
        let host = self.host(name);
        self.world
            .with_process(host, |process, stage| match process {
                Process::Replica(node) => node.switch_over(stage),
                _ => Ok(()),
            });
    }

    /// Whether the record's view is one that was handed over and is not active yet.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        let record = self.world.checks.truth.record.as_ref();
        record.is_some_and(|record| record.reason == Reason::HandedOver && !record.active)
    }

    /// Tells a replica to stop, which hands over or says that it goes before it does; and waits until it
    /// has. It comes back by itself.
    pub fn leave(&mut self, name: &str) {
        let host = self.host(name);
        let life = self.world.hosts[host].life;
        self.world.leave(host);
        self.until(&format!("{name} to leave"), |scene| {
            scene.world.hosts[host].life > life
        });
    }

    /// A replica's machine, whose process has ended, is booted anew.
    pub fn reboot(&mut self, name: &str) {
        let host = self.host(name);
        assert!(!self.world.hosts[host].is_up(), "{name} still runs");
        self.world.kill(host, true);
    }

    /// Starts a replica.
    pub fn start(&mut self, name: &str) {
        let host = self.host(name);
        self.world.start_at(host, self.world.now);
        self.until(&format!("{name} up"), |scene| {
            scene.world.hosts[host].is_up()
        });
    }

    /// Starts a replica whose log may have a gap that it must take for damage. Whether it came up.
    pub fn start_or_be_refused(&mut self, name: &str) -> bool {
        let host = self.host(name);
        self.world.start_at(host, self.world.now);
        self.until(&format!("{name} up, or refused"), |scene| {
            scene.world.hosts[host].is_up()
        });
        !self.is_mending(name)
    }

    /// Whether a replica's process only seeks what its damaged log lacks.
    #[must_use]
    pub fn is_mending(&self, name: &str) -> bool {
        let process = &self.world.hosts[self.host(name)].process;
        matches!(process, Process::Mending(_))
    }

    /// How often a damaged log was mended from another replica, and how often one was set aside.
    #[must_use]
    pub fn mended(&self) -> (u64, u64) {
        let marks = &self.world.marks;
        (
            marks.count(Mark::Mended),
            marks.count(Mark::DamagedSetAside),
        )
    }

    /// The first segment of a replica's log is gone.
    pub fn lose_log(&mut self, name: &str) {
        use standin_io::storage::Storage as _;
        let host = self.host(name);
        let disk = self.world.disk(host);
        let dir = Path::new("/data/log");
        for file in disk.list(dir).expect("it has a log") {
            disk.remove(&dir.join(file)).expect("it is there");
        }
        disk.sync_dir(dir).expect("a disk that works");
        self.world.observe(&super::fact::Fact::Rotted {
            host,
            is_bit: false,
        });
    }

    /// The lowest bit of a byte in a replica's log flips.
    pub fn rot(&mut self, name: &str, byte: u64) {
        let host = self.host(name);
        let path = Path::new("/data/log/00000000000000000001.log");
        assert!(
            self.world.disk(host).flip_bit(path, byte * 8),
            "{name} has that byte"
        );
        self.world
            .observe(&super::fact::Fact::Rotted { host, is_bit: true });
    }

    /// Kills the view service and starts it again.
    pub fn restart_view_service(&mut self) {
        let service = self.world.plan.service();
        self.world.kill(service, false);
        self.world.start_at(service, self.world.now);
    }

    /// A replica stands still for so long.
    pub fn pause(&mut self, name: &str, time: Duration) {
        self.world.pause(self.host(name), self.world.now.plus(time));
    }

    /// From here on nothing gets from a replica to anybody else, or the other way, or both.
    pub fn cut_off(&mut self, name: &str, from_it: bool, to_it: bool) {
        let never = Instant::from_nanos(u64::MAX / 2);
        let host = self.host(name);
        for other in (0..self.world.hosts.len()).filter(|other| *other != host) {
            if from_it {
                self.world.block(host, other, never);
            }
            if to_it {
                self.world.block(other, host, never);
            }
        }
    }

    /// From here on nothing gets from a replica to the view service, nor the other way.
    pub fn cut_from_service(&mut self, name: &str) {
        let never = Instant::from_nanos(u64::MAX / 2);
        let (host, service) = (self.host(name), self.world.plan.service());
        self.world.block(host, service, never);
        self.world.block(service, host, never);
    }

    /// All links let everything through again.
    pub fn mend_links(&mut self) {
        self.world.network.unblock_all(self.world.now);
    }

    /// From here on a replica's syncs take for ever.
    pub fn stall_disk(&mut self, name: &str) {
        let host = self.host(name);
        let never = Instant::from_nanos(u64::MAX / 2);
        self.world.hosts[host].slow_disk = (never, Duration::from_secs(100_000));
    }

    /// A replica's disk has no room left, and its next sync fails: it forgets what it was given, as drawn,
    /// and does not even take a note of that.
    pub fn fail_sync_without_a_note(&mut self, name: &str, draw: u64) {
        let disk = self.world.disk(self.host(name));
        disk.fail_sync(0, RandomStream::new(draw, 0));
        disk.lose_file(Path::new(BALLAST));
        disk.set_capacity(Some(disk.used()));
    }

    /// A replica's disk is well again.
    pub fn mend_disk(&mut self, name: &str) {
        self.world.disk(self.host(name)).mend();
    }

    /// Whether a replica's process only stays to tell the view service that its disk failed.
    #[must_use]
    pub fn is_failed(&self, name: &str) -> bool {
        let process = &self.world.hosts[self.host(name)].process;
        matches!(process, Process::Failed(_))
    }

    /// A replica's disk is replaced by an empty one, which takes over its name when it starts.
    pub fn replace_disk(&mut self, name: &str) {
        let host = self.host(name);
        self.world.replace_disk(host, WITHIN * 10);
    }

    /// A copy of a replica's disk, to be put back later.
    #[must_use]
    pub fn copy_disk(&self, name: &str) -> Snapshot {
        self.world.disk(self.host(name)).snapshot()
    }

    /// Puts a copy of a replica's disk back; its process must have ended.
    pub fn put_back(&mut self, name: &str, copy: &Snapshot) {
        let host = self.host(name);
        self.world.disk(host).restore(copy);
        // It is of the disk that the replica has had all along.
        let store = self.world.checks.truth.replicas[host].store();
        self.world
            .observe(&super::fact::Fact::Restored { host, store });
    }

    /// Compares the states of all replicas and what the client was told.
    ///
    /// # Panics
    /// If a property does not hold.
    pub fn end(mut self) {
        self.world.finish(true);
        if let Some(violation) = &self.world.checks.violation {
            panic!("{violation}");
        }
    }
}

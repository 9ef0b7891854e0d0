//! The one that breaks things and puts them right again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_tools::cluster::{POLL_PAUSE, VIEW_SERVICE};

use crate::disks::Disks;
use crate::network::{Network, Trouble};
use crate::party::{CLIENTS, Direction, REPLICAS, links};
use crate::plan::{Kind, Plan};
use crate::support::load::Load;
use crate::support::scene::{Pair, Scene, names, replica};
use crate::support::{PATIENCE, ms, sure};

/// What can be wrong at the same time.
const AT_ONCE_MAX: usize = 2;
/// Half of the times when much is wrong nothing new goes wrong until somebody was answered, but not for longer: whether
/// the service comes back at all is looked at in the end.
const CALM_MAX: Duration = Duration::from_secs(4);
/// For so long after there is room again a process may still end for what it could not write before.
const ROOM_GRACE: Duration = Duration::from_millis(500);
/// Bytes in a second on a slow link.
const SLOW: Range<u32> = 2_000..200_000;

/// The machine fails when this is added.
const UNLUCKY: &str = "13";

/// Where a file says which version wrote it. One that says a version unknown here is a newer program's, and left alone.
const VERSION: Range<usize> = 8..12;

/// How to put something right again.
#[derive(Clone, Debug)]
enum Remedy {
    Start(Vec<&'static str>),
    /// It was asked to stop: wait until it has, then start it.
    StartStopped(&'static str),
    /// Its parent was left to end by itself.
    StartDead(&'static str),
    Resume(&'static str),
    Heal(Vec<Direction>),
    MakeRoom(&'static str),
    /// There is room again, and it may be just about to end for want of it: then it is started.
    GetOver(&'static str),
    /// The view service has no record: an operator has it made again.
    Rebuild,
    /// Nothing is wrong.
    Nothing,
}

/// Something that is wrong.
#[derive(Clone, Debug)]
struct Wrong {
    until: Instant,
    remedy: Remedy,
}

impl Wrong {
    fn has_process(&self, name: &str) -> bool {
        match &self.remedy {
            Remedy::Start(names) => names.contains(&name),
            Remedy::StartStopped(one)
            | Remedy::StartDead(one)
            | Remedy::Resume(one)
            | Remedy::MakeRoom(one)
            | Remedy::GetOver(one) => *one == name,
            Remedy::Rebuild => name == VIEW_SERVICE,
            Remedy::Heal(_) | Remedy::Nothing => false,
        }
    }

    fn has_link(&self, link: Direction) -> bool {
        match &self.remedy {
            Remedy::Heal(directions) => {
                directions.contains(&link) || directions.contains(&link.back())
            }
            _ => false,
        }
    }
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kinds: BTreeMap<Kind, u32>,
    /// How often there was a pair when something went wrong.
    pub(crate) with_pair: u32,
    /// How often two things were wrong at once.
    pub(crate) together: u32,
    /// How often a switchover was carried out.
    pub(crate) switched: u32,
    /// How often a client was told that its input was skipped.
    pub(crate) skipped: u32,
    /// How many snapshots were copied and found whole.
    pub(crate) copied: u32,
}

impl Tally {
    pub(crate) fn total(&self) -> u32 {
        self.kinds.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.kinds {
            writeln!(f, "  {kind:32} {count:5}")?;
        }
        let Self {
            with_pair,
            together,
            switched,
            skipped,
            copied,
            ..
        } = self;
        let total = self.total();
        write!(
            f,
            "  {total} in all, {with_pair} while there was a pair, {together} while something else \
             was wrong; {switched} changed places, {skipped} inputs skipped, {copied} snapshots copied"
        )
    }
}

/// Breaks processes and the network.
pub(crate) struct Nemesis<'a> {
    pub(crate) scene: &'a mut Scene,
    pub(crate) network: &'a mut dyn Network,
    pub(crate) load: &'a Load,
    disks: Option<&'a Disks>,
    pub(crate) plan: Plan,
    pub(crate) tally: Tally,
    /// What was done when, for people.
    pub(crate) diary: &'a mut Vec<String>,
    wrong: Vec<Wrong>,
    /// What was drawn and could not be done yet.
    drawn: Option<Kind>,
    /// When the next may go wrong at the earliest.
    next: Instant,
    /// Not before somebody was answered who asked after this.
    calm_since: Option<Instant>,
    /// Those whose directory was removed once: to start with an empty one under their name takes a word.
    replaced: BTreeSet<&'static str>,
    /// Those whose directory was removed, and that have not been ready since.
    emptied: BTreeSet<&'static str>,
    record_lost_at: Instant,
    /// Those that have ended because their disk is full.
    mourned: BTreeSet<&'static str>,
    /// When to look again for those that an input has put out of service.
    nurse_at: Instant,
}

impl<'a> Nemesis<'a> {
    pub(crate) fn new(
        scene: &'a mut Scene,
        network: &'a mut dyn Network,
        load: &'a Load,
        disks: Option<&'a Disks>,
        plan: Plan,
        diary: &'a mut Vec<String>,
    ) -> Self {
        Self {
            scene,
            network,
            load,
            disks,
            plan,
            tally: Tally::default(),
            diary,
            wrong: Vec::new(),
            drawn: None,
            next: clock::boot(),
            calm_since: None,
            replaced: BTreeSet::new(),
            emptied: BTreeSet::new(),
            record_lost_at: clock::boot(),
            mourned: BTreeSet::new(),
            nurse_at: clock::boot(),
        }
    }

    /// Breaks things for so long, and at least for so many rounds of all kinds; then puts right
    /// whatever is still wrong.
    pub(crate) fn run(&mut self, length: Duration, rounds: u32) {
        let end = clock::boot().plus(length);
        loop {
            let is_enough = self.plan.rounds > rounds
                || (self.plan.rounds == rounds && self.plan.is_round_over());
            if clock::boot() >= end && is_enough && self.drawn.is_none() {
                break;
            }
            self.mourn_the_full();
            self.note_filled();
            sure(self.scene.check());
            self.put_right(false);
            self.nurse();
            if self.wrong.len() < AT_ONCE_MAX && self.is_time() {
                self.break_something();
            }
            std::thread::sleep(POLL_PAUSE);
        }
        let end = clock::boot().plus(PATIENCE);
        while !self.wrong.is_empty() {
            self.mourn_the_full();
            self.put_right(true);
            self.nurse();
            assert!(
                clock::boot() < end,
                "it cannot be put right: {:?}",
                self.wrong
            );
            std::thread::sleep(POLL_PAUSE);
        }
        self.nurse_all();
    }

    fn is_time(&mut self) -> bool {
        let now = clock::boot();
        if let Some(since) = self.calm_since
            && now < since.plus(CALM_MAX)
            && self.load.any_answer_since(since).is_none()
        {
            return false;
        }
        self.calm_since = None;
        now >= self.next
    }

    fn break_something(&mut self) {
        let kind = self.drawn.take().unwrap_or_else(|| self.plan.next_kind());
        let mut length = self.plan.length(self.scene.lease());
        if kind == Kind::Isolate {
            // Long enough for another to take over, and to answer while this one is still cut off.
            length += self.scene.lease();
        }
        let pair = self.pair();
        let Some(remedy) = self.carry_out(kind, pair.as_ref()) else {
            // What it needs is broken already: that is put right first.
            self.drawn = Some(kind);
            self.next = self
                .wrong
                .iter()
                .map(|one| one.until)
                .max()
                .unwrap_or(self.next);
            return;
        };
        *self.tally.kinds.entry(kind).or_default() += 1;
        self.tally.with_pair += u32::from(pair.is_some());
        self.tally.together += u32::from(!self.wrong.is_empty());
        let roles = pair.map_or("no pair".to_owned(), |pair| {
            format!("primary {}, backup {}", pair.primary, pair.backup)
        });
        self.note(&format!("{kind} for {}: {remedy:?}; {roles}", ms(length)));
        let until = clock::boot().plus(length);
        self.wrong.push(Wrong { until, remedy });
        // What goes wrong together within less than the time in which one of a pair is dropped for
        // its silence is the hardest to get right.
        let rest = if self.plan.flip() {
            self.plan.between(0, 40)
        } else {
            self.plan.between(40, 250)
        };
        self.next = clock::boot().plus(self.scene.lease() * rest / 100);
        if self.plan.flip() && self.wrong.len() == AT_ONCE_MAX {
            self.calm_since = Some(until);
        }
    }

    fn carry_out(&mut self, kind: Kind, pair: Option<&Pair>) -> Option<Remedy> {
        match kind {
            Kind::KillReplica => {
                let name = self.pick_process(&REPLICAS, pair)?;
                self.kill(vec![name])
            }
            Kind::KillServing => {
                let name = self.pick_process(&REPLICAS, pair)?;
                // It may not have a child yet.
                self.scene.kill_serving(name).ok()?;
                Some(Remedy::StartDead(name))
            }
            Kind::Switchover => self.switch_over(pair),
            Kind::LoseDisk => self.lose_disk(pair),
            Kind::Rot => self.rot(pair),
            Kind::Poison => self.poison(pair),
            Kind::CopySnapshot => self.copy_snapshot(),
            Kind::FillDisk => self.fill_disk(pair),
            Kind::LoseRecord => self.lose_record(pair),
            Kind::KillViewService => {
                let name = self.pick_process(&[VIEW_SERVICE], pair)?;
                self.kill(vec![name])
            }
            Kind::KillBoth => self.kill_both(pair),
            Kind::StopCleanly => self.stop_cleanly(pair),
            Kind::FreezeReplica => self.freeze(&REPLICAS, pair),
            Kind::FreezeViewService => self.freeze(&[VIEW_SERVICE], pair),
            Kind::CutBothWays => self.afflict(Trouble::Cut, true, pair),
            Kind::CutOneWay => self.afflict(Trouble::Cut, false, pair),
            Kind::Isolate => self.isolate(pair),
            Kind::HalfOpen => self.afflict(Trouble::HalfOpen, true, pair),
            Kind::Reset => self.afflict(Trouble::Reset, true, pair),
            Kind::Delay => {
                let percent = self.plan.between(5, 120);
                let delay = self.scene.lease() * percent / 100;
                self.afflict(Trouble::Delay(delay), true, pair)
            }
            Kind::Slow => {
                let rate = self.plan.between(SLOW.start, SLOW.end);
                self.afflict(Trouble::Slow(rate), true, pair)
            }
        }
    }

    fn kill(&mut self, names: Vec<&'static str>) -> Option<Remedy> {
        sure(self.scene.kill_together(&names));
        Some(Remedy::Start(names))
    }

    /// Has primary and backup change places, which a pair that is all right does.
    fn switch_over(&mut self, pair: Option<&Pair>) -> Option<Remedy> {
        pair?;
        let ran = self.scene.cli(&["switchover", "--timeout", "1s"]);
        assert!(matches!(ran.status, Some(0 | 1 | 3)), "{ran:?}");
        self.tally.switched += u32::from(ran.status == Some(0));
        Some(Remedy::Nothing)
    }

    /// Sends what makes the machine fail. It is never done: skipped, or nobody knows.
    fn poison(&mut self, pair: Option<&Pair>) -> Option<Remedy> {
        pair?;
        let ran = self
            .scene
            .cli(&["client", "--timeout", "1s", "counter", "add", UNLUCKY]);
        assert!(matches!(ran.status, Some(1 | 3)), "{ran:?}");
        self.tally.skipped += u32::from(ran.status == Some(1));
        Some(Remedy::Nothing)
    }

    /// Takes its directory from a replica on which nobody relies.
    fn lose_disk(&mut self, pair: Option<&Pair>) -> Option<Remedy> {
        let spare = self.kill_spare(pair)?;
        self.empty(spare);
        self.replaced.insert(spare);
        self.emptied.insert(spare);
        Some(Remedy::Start(vec![spare]))
    }

    /// Removes all that a process has kept.
    fn empty(&self, name: &str) {
        for entry in sure(fs::read_dir(self.scene.directory().join(name))) {
            let entry = sure(entry);
            let is_dir = sure(entry.file_type()).is_dir();
            let remove = if is_dir {
                fs::remove_dir_all
            } else {
                fs::remove_file
            };
            sure(remove(entry.path()));
        }
    }

    /// Whoever has been told of its cluster has something to lose.
    fn note_filled(&mut self) {
        let scene = &mut *self.scene;
        (self.emptied).retain(|name| !scene.is_ready(name).is_ok_and(|is_ready| is_ready));
    }

    /// Takes all the room on the disk of a replica, or of the view service.
    fn fill_disk(&mut self, pair: Option<&Pair>) -> Option<Remedy> {
        let name = if self.plan.between(0, 4) == 0 {
            *self.whole(&[VIEW_SERVICE]).first()?
        } else {
            self.pick_process(&REPLICAS, pair)?
        };
        sure(self.scene.let_end(name, true));
        self.disks.expect("only where there are some").fill(name);
        Some(Remedy::MakeRoom(name))
    }

    fn mourn_the_full(&mut self) {
        let full = self.wrong.iter().filter_map(|one| match one.remedy {
            Remedy::MakeRoom(name) | Remedy::GetOver(name) => Some(name),
            _ => None,
        });
        for name in full.collect::<Vec<_>>() {
            self.mourn(name);
        }
    }

    /// One whose disk is full may end, and says why.
    fn mourn(&mut self, name: &'static str) {
        if self.scene.is_running(name) || !self.mourned.insert(name) {
            return;
        }
        let words = self.scene.last_words(name);
        let says_why = ["No space left", "no storage space"]
            .iter()
            .any(|why| words.contains(why));
        assert!(says_why, "{name} has ended: {words}");
        self.note(&format!("{name} has ended for want of room"));
    }

    /// Takes the view service with all that it has kept. Another one is started in its place, to have the record made
    /// again. Only of a pair that is whole: else who has everything may be one who was never heard of.
    fn lose_record(&mut self, pair: Option<&Pair>) -> Option<Remedy> {
        pair?;
        let name = *self.whole(&[VIEW_SERVICE]).first()?;
        sure(self.scene.kill(name));
        self.record_lost_at = clock::boot();
        self.empty(name);
        sure(self.scene.spawn_with(name, &["--rebuild"]));
        if let Some(pid) = self.scene.pid(name) {
            self.network.started(name, pid);
        }
        Some(Remedy::Rebuild)
    }

    /// Asks once for the record to be made again; says whether it was. It is not while somebody is not heard, or a
    /// lease may still be held.
    fn rebuild(&mut self) -> bool {
        self.note_filled();
        // As a person would who knows whose disk is new: that one knows nothing.
        let known = REPLICAS
            .into_iter()
            .filter(|name| !self.emptied.contains(name));
        let known = known.collect::<Vec<_>>().join(",");
        let ran = self.scene.cli(&["recover", "--rebuild", &known]);
        assert!(matches!(ran.status, Some(0 | 1 | 3)), "{ran:?}");
        if ran.status != Some(0) {
            let lost_at = self.record_lost_at;
            assert!(clock::boot() < lost_at.plus(PATIENCE), "in vain: {ran:?}");
            self.note(&format!("no record yet: {}", ran.stderr.trim()));
        }
        ran.status == Some(0)
    }

    /// Changes a bit of a log or a snapshot of a replica on which nobody relies.
    fn rot(&mut self, pair: Option<&Pair>) -> Option<Remedy> {
        let spare = self.kill_spare(pair)?;
        let directory = self.scene.directory().join(spare);
        let rooms = ["log", "snapshots"].map(|room| fs::read_dir(directory.join(room)));
        let files = rooms.into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = files.map(|entry| sure(entry).path()).collect();
        files.sort();
        if let Some(file) = self.plan.pick(&files) {
            let mut bytes = sure(fs::read(&file));
            let places = (0..bytes.len()).filter(|at| !VERSION.contains(at));
            let places: Vec<usize> = places.collect();
            if let Some(at) = self.plan.pick(&places) {
                bytes[at] ^= 1 << self.plan.between(0, 8);
                sure(fs::write(&file, bytes));
                self.note(&format!("byte {at} of {} rots", file.display()));
            }
        }
        Some(Remedy::Start(vec![spare]))
    }

    /// Kills a replica on which nobody relies.
    fn kill_spare(&mut self, pair: Option<&Pair>) -> Option<&'static str> {
        let pair = pair?;
        let is_in_pair = |name: &&str| [pair.primary.as_str(), pair.backup.as_str()].contains(name);
        let spares = REPLICAS.into_iter().filter(|name| !is_in_pair(name));
        let spares: Vec<&'static str> = spares.collect();
        let spare = *self.whole(&spares).first()?;
        sure(self.scene.kill(spare));
        // It may have become the backup in that moment. If it is about to, the primary has everything.
        let record = self.scene.status().ok().and_then(|status| status.record);
        if record.is_none_or(|record| names(&record).contains(&spare)) {
            self.start(spare);
            return None;
        }
        Some(spare)
    }

    /// Copies a replica's newest snapshot, whatever the replica does meanwhile.
    fn copy_snapshot(&mut self) -> Option<Remedy> {
        let name = self.plan.pick(&self.whole(&REPLICAS))?;
        let directory = self.scene.directory().join(name);
        let copy = self.scene.directory().join("copy.snap");
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let saved = self
            .scene
            .cli(&["snapshot", "save", &text(&directory), &text(&copy)]);
        if saved.status != Some(0) {
            let is_early = ["has no snapshot", "is no data directory"];
            let is_early = is_early.iter().any(|words| saved.stderr.contains(words));
            assert!(is_early, "{saved:?}");
            return Some(Remedy::Nothing);
        }
        let verified = self.scene.cli(&["snapshot", "verify", &text(&copy)]);
        assert_eq!(verified.status, Some(0), "{verified:?}");
        sure(fs::remove_file(&copy));
        self.tally.copied += 1;
        Some(Remedy::Nothing)
    }

    /// Starts again who has failed at an input, as a person would who reads `standin status`. Whoever else is out
    /// of service stays so, and is found in the end. Says whether all is well.
    fn nurse(&mut self) -> bool {
        let is_heard =
            |one: &Wrong| !one.has_process(VIEW_SERVICE) || matches!(one.remedy, Remedy::Rebuild);
        if clock::boot() < self.nurse_at || !self.wrong.iter().all(is_heard) {
            return false;
        }
        self.nurse_at = clock::boot().plus(self.scene.lease());
        let Ok(status) = self.scene.status() else {
            return false;
        };
        let mut is_well = true;
        for name in self.whole(&REPLICAS) {
            let Some(one) = replica(&status, name).filter(|one| one.is_alive) else {
                is_well = false;
                continue;
            };
            let trouble = one.trouble.as_deref().unwrap_or_default();
            if !trouble.contains("made the machine fail") || !self.scene.is_running(name) {
                continue;
            }
            is_well = false;
            self.note(&format!("start {name} again, for an input {trouble}"));
            sure(self.scene.terminate(name));
            let ended = sure(self.scene.wait(name, PATIENCE));
            assert!(ended.success(), "{name} did not stop cleanly: {ended}");
            self.start(name);
        }
        is_well
    }

    fn nurse_all(&mut self) {
        let end = clock::boot().plus(PATIENCE);
        while !self.nurse() {
            assert!(clock::boot() < end, "not all came back");
            std::thread::sleep(POLL_PAUSE);
        }
    }

    /// Kills the pair, or any two replicas if there is none.
    fn kill_both(&mut self, pair: Option<&Pair>) -> Option<Remedy> {
        let whole = self.whole(&REPLICAS);
        let is_in_pair =
            |name: &&str| pair.is_none_or(|pair| pair.primary == **name || pair.backup == **name);
        let mut both: Vec<&'static str> =
            whole.into_iter().filter(|name| is_in_pair(name)).collect();
        while both.len() > 2 {
            let out = self.plan.pick(&both)?;
            both.retain(|name| *name != out);
        }
        if both.len() < 2 {
            return None;
        }
        self.kill(both)
    }

    fn stop_cleanly(&mut self, pair: Option<&Pair>) -> Option<Remedy> {
        let mut ready = vec![VIEW_SERVICE];
        ready.extend(REPLICAS);
        // Before it is ready a process may not yet know how to stop cleanly.
        ready.retain(|name| self.scene.is_ready(name).is_ok_and(|is_ready| is_ready));
        let name = self.pick_process(&ready, pair)?;
        sure(self.scene.terminate(name));
        Some(Remedy::StartStopped(name))
    }

    fn freeze(&mut self, among: &[&'static str], pair: Option<&Pair>) -> Option<Remedy> {
        let name = self.pick_process(among, pair)?;
        sure(self.scene.pause(name));
        Some(Remedy::Resume(name))
    }

    /// Breaks a link, half of the times the one in a pair.
    fn afflict(
        &mut self,
        trouble: Trouble,
        is_both_ways: bool,
        pair: Option<&Pair>,
    ) -> Option<Remedy> {
        let mut free = links();
        free.retain(|link| !self.wrong.iter().any(|one| one.has_link(*link)));
        let is_in_pair = |link: &Direction| {
            pair.is_some_and(|pair| {
                let names = [pair.primary.as_str(), pair.backup.as_str()];
                names.contains(&link.from) && names.contains(&link.to)
            })
        };
        let of_pair = free.iter().copied().find(is_in_pair);
        let link = match of_pair.filter(|_| self.plan.flip()) {
            Some(link) => link,
            None => self.plan.pick(&free)?,
        };
        let there = if self.plan.flip() { link } else { link.back() };
        let directions = if is_both_ways {
            vec![there, there.back()]
        } else {
            vec![there]
        };
        for direction in &directions {
            self.network.afflict(*direction, trouble);
        }
        Some(Remedy::Heal(directions))
    }

    /// Cuts a replica off from the view service and the other replicas, but not from the clients: one
    /// that was primary goes on being asked.
    fn isolate(&mut self, pair: Option<&Pair>) -> Option<Remedy> {
        let name = self.pick_process(&REPLICAS, pair)?;
        let mut cut = links();
        cut.retain(|link| [link.from, link.to].contains(&name) && link.from != CLIENTS);
        let is_broken = |link: &Direction| self.wrong.iter().any(|one| one.has_link(*link));
        if cut.iter().any(is_broken) {
            return None;
        }
        let directions: Vec<_> = cut.iter().flat_map(|link| [*link, link.back()]).collect();
        for direction in &directions {
            self.network.afflict(*direction, Trouble::Cut);
        }
        Some(Remedy::Heal(directions))
    }

    /// One of these processes that nothing is wrong with; half of the times the primary of a pair, if
    /// it is one of them.
    fn pick_process(
        &mut self,
        among: &[&'static str],
        pair: Option<&Pair>,
    ) -> Option<&'static str> {
        let whole = self.whole(among);
        let is_primary = |name: &&str| pair.is_some_and(|pair| pair.primary == **name);
        let primary = whole.iter().copied().find(is_primary);
        match primary.filter(|_| self.plan.flip()) {
            Some(primary) => Some(primary),
            None => self.plan.pick(&whole),
        }
    }

    fn whole(&self, among: &[&'static str]) -> Vec<&'static str> {
        let is_whole = |name: &&str| !self.wrong.iter().any(|one| one.has_process(name));
        among
            .iter()
            .copied()
            .filter(|name| is_whole(name))
            .collect()
    }

    /// The pair as the view service has it, if it says so at once.
    fn pair(&self) -> Option<Pair> {
        if self.whole(&[VIEW_SERVICE]).is_empty() {
            return None;
        }
        let record = self.scene.status().ok()?.record?;
        Pair::of(&record)
    }

    fn put_right(&mut self, is_all: bool) {
        let now = clock::boot();
        let all = std::mem::take(&mut self.wrong);
        let is_due =
            |one: &Wrong| one.until <= now || (is_all && !matches!(one.remedy, Remedy::GetOver(_)));
        let (due, left) = all.into_iter().partition(is_due);
        self.wrong = left;
        for one in due {
            if matches!(one.remedy, Remedy::Rebuild) && !self.rebuild() {
                let until = now.plus(self.scene.lease());
                self.wrong.push(Wrong { until, ..one });
                continue;
            }
            self.note(&format!("put right: {:?}", one.remedy));
            match one.remedy {
                Remedy::Start(names) => names.iter().for_each(|name| self.start(name)),
                Remedy::StartStopped(name) => {
                    let status = sure(self.scene.wait(name, PATIENCE));
                    assert!(status.success(), "{name} did not stop cleanly: {status}");
                    self.start(name);
                }
                Remedy::StartDead(name) => {
                    sure(self.scene.wait(name, PATIENCE));
                    self.start(name);
                }
                Remedy::Nothing | Remedy::Rebuild => {}
                Remedy::MakeRoom(name) => {
                    self.mourn(name);
                    self.disks.expect("one of them is full").make_room(name);
                    let until = now.plus(ROOM_GRACE);
                    let remedy = Remedy::GetOver(name);
                    self.wrong.push(Wrong { until, remedy });
                }
                Remedy::GetOver(name) => {
                    self.mourn(name);
                    if self.mourned.remove(name) {
                        self.start(name);
                    } else {
                        sure(self.scene.let_end(name, false));
                    }
                }
                Remedy::Resume(name) => sure(self.scene.resume(name)),
                Remedy::Heal(directions) => {
                    for direction in directions {
                        self.network.heal(direction);
                    }
                }
            }
        }
    }

    fn start(&mut self, name: &'static str) {
        let more: &[&str] = match self.replaced.contains(name) {
            true => &["--replace"],
            false => &[],
        };
        sure(self.scene.spawn_with(name, more));
        if let Some(pid) = self.scene.pid(name) {
            self.network.started(name, pid);
        }
    }

    fn note(&mut self, what: &str) {
        let now = clock::boot().as_nanos() / 1000;
        self.diary.push(format!("{now} us: {what}"));
    }
}

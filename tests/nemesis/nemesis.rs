//! The one that breaks things and puts them right again.

use std::collections::BTreeMap;
use std::fmt;

use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_tools::cluster::{POLL_PAUSE, VIEW_SERVICE};

use crate::network::{Network, Trouble};
use crate::party::{CLIENTS, Direction, REPLICAS, links};
use crate::plan::{Kind, Plan};
use crate::support::load::Load;
use crate::support::scene::{Pair, Scene};
use crate::support::{PATIENCE, ms, sure};

/// What can be wrong at the same time.
const AT_ONCE_MAX: usize = 2;
/// Half of the times when much is wrong nothing new goes wrong until somebody was answered, but not for longer: whether
/// the service comes back at all is looked at in the end.
const CALM_MAX: Duration = Duration::from_secs(4);
/// Bytes in a second on a slow link.
const SLOW: std::ops::Range<u32> = 2_000..200_000;

/// How to put something right again.
#[derive(Clone, Debug)]
enum Remedy {
    Start(Vec<&'static str>),
    /// It was asked to stop: wait until it has, then start it.
    StartStopped(&'static str),
    Resume(&'static str),
    Heal(Vec<Direction>),
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
            Remedy::StartStopped(one) | Remedy::Resume(one) => *one == name,
            Remedy::Heal(_) => false,
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
            ..
        } = self;
        let total = self.total();
        write!(
            f,
            "  {total} in all, {with_pair} while there was a pair, {together} while something else \
             was wrong"
        )
    }
}

/// Breaks processes and the network.
pub(crate) struct Nemesis<'a> {
    pub(crate) scene: &'a mut Scene,
    pub(crate) network: &'a mut dyn Network,
    pub(crate) load: &'a Load,
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
}

impl<'a> Nemesis<'a> {
    pub(crate) fn new(
        scene: &'a mut Scene,
        network: &'a mut dyn Network,
        load: &'a Load,
        plan: Plan,
        diary: &'a mut Vec<String>,
    ) -> Self {
        Self {
            scene,
            network,
            load,
            plan,
            tally: Tally::default(),
            diary,
            wrong: Vec::new(),
            drawn: None,
            next: clock::boot(),
            calm_since: None,
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
            sure(self.scene.check());
            self.put_right(false);
            if self.wrong.len() < AT_ONCE_MAX && self.is_time() {
                self.break_something();
            }
            std::thread::sleep(POLL_PAUSE);
        }
        self.put_right(true);
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
        let (due, left) = all.into_iter().partition(|one| is_all || one.until <= now);
        self.wrong = left;
        for one in due {
            self.note(&format!("put right: {:?}", one.remedy));
            match one.remedy {
                Remedy::Start(names) => names.iter().for_each(|name| self.start(name)),
                Remedy::StartStopped(name) => {
                    let status = sure(self.scene.wait(name, PATIENCE));
                    assert!(status.success(), "{name} did not stop cleanly: {status}");
                    self.start(name);
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
        sure(self.scene.spawn(name));
        if let Some(pid) = self.scene.pid(name) {
            self.network.started(name, pid);
        }
    }

    fn note(&mut self, what: &str) {
        let now = clock::boot().as_nanos() / 1000;
        self.diary.push(format!("{now} us: {what}"));
    }
}

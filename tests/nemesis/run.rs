//! One run, from a seed to the verdict.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use standin_client::{Consistency, ViewServices};
use standin_core::time::Duration;
use standin_io::entropy;
use standin_tools::cluster::{ClusterConfig, VIEW_SERVICE};

use crate::disks::Disks;
use crate::nemesis::{Nemesis, Tally};
use crate::network::{Network, Trouble};
use crate::party::REPLICAS;
use crate::plan::{Kind, Plan};
use crate::support::counter_history::History;
use crate::support::load::{Load, LoadConfig};
use crate::support::scene::Scene;
use crate::support::{example, sure, tell};
use crate::verdict;

const SECONDS_VARIABLE: &str = "STANDIN_NEMESIS_SECONDS";
const SEED_VARIABLE: &str = "STANDIN_NEMESIS_SEED";
const SECONDS_DEFAULT: u64 = 60;
/// A run goes on until each kind of fault had its turn once for each so many seconds, however slow
/// the machine is.
const SECONDS_PER_ROUND: u64 = 30;
const LEASE: Duration = Duration::from_millis(300);
/// Snapshots are taken every few seconds, and the log before them goes.
const REPLICA_ARGUMENTS: [&str; 4] = ["--snapshot-every", "1000", "--segment-bytes", "65536"];
/// Clients give up in the midst of a fault, so that there are calls without an outcome, and go on.
const LOAD: LoadConfig = LoadConfig {
    clients: 6,
    timeout: Duration::from_millis(500),
    readers: 2,
    reads: &[Consistency::Confirmed],
    rest: Duration::from_millis(5),
};

/// What a run is made of, and what is kept of it if it fails.
struct Run {
    title: &'static str,
    seed: u64,
    /// Data directories, logs, diary and history.
    directory: PathBuf,
    diary: Vec<String>,
    history: History,
    load: Option<Load>,
    disks: Option<Disks>,
}

impl Run {
    fn new(title: &'static str) -> Self {
        let seed = number(SEED_VARIABLE).unwrap_or_else(entropy::u64);
        let name = format!(
            "standin-nemesis-{}-{seed:x}-{}",
            std::process::id(),
            title.len()
        );
        Self {
            title,
            seed,
            directory: std::env::temp_dir().join(name),
            diary: Vec::new(),
            history: History::default(),
            load: None,
            disks: Disks::mount(),
        }
    }

    fn write_down(&self) {
        let mut history = String::new();
        for operation in &self.history.operations {
            let _infallible = writeln!(history, "{operation}");
        }
        let files = [
            ("history.txt", history),
            ("diary.txt", self.diary.join("\n")),
        ];
        for (name, text) in files {
            if let Err(error) = fs::write(self.directory.join(name), text) {
                tell(format_args!("cannot write {name}: {error}"));
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if let Some(load) = &self.load {
            self.history = load.history().clone();
        }
        self.write_down();
        if let Some(disks) = &self.disks {
            disks.keep(&self.directory);
        }
        tell(format_args!(
            "{}: failed with {SEED_VARIABLE}={}; data directories, logs, history.txt and diary.txt \
             are kept in {}",
            self.title,
            self.seed,
            self.directory.display()
        ));
    }
}

/// A number from the environment.
fn number<T: FromStr<Err: Display>>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(error) => panic!("{variable} is {text:?}: {error}"),
    }
}

/// The kinds of faults that can be brought about here.
fn kinds(network: &dyn Network, disks: Option<&Disks>) -> Vec<Kind> {
    let can = |kind: &Kind| match kind {
        Kind::CutBothWays | Kind::CutOneWay | Kind::Isolate => network.can(Trouble::Cut),
        Kind::HalfOpen => network.can(Trouble::HalfOpen),
        Kind::Delay => network.can(Trouble::Delay(LEASE)),
        Kind::Slow => network.can(Trouble::Slow(1)),
        Kind::Reset => network.can(Trouble::Reset),
        Kind::FillDisk => disks.is_some(),
        Kind::KillReplica
        | Kind::KillViewService
        | Kind::KillBoth
        | Kind::StopCleanly
        | Kind::FreezeReplica
        | Kind::FreezeViewService
        | Kind::KillServing
        | Kind::Switchover
        | Kind::LoseDisk
        | Kind::Rot
        | Kind::Poison
        | Kind::CopySnapshot
        | Kind::LoseRecord => true,
    };
    Kind::ALL.into_iter().filter(can).collect()
}

/// Breaks things for a while, and judges what clients saw who read like this.
pub(crate) fn run(
    title: &'static str,
    mut network: Box<dyn Network>,
    reads: &'static [Consistency],
) {
    let seconds: u64 = number(SECONDS_VARIABLE).unwrap_or(SECONDS_DEFAULT);
    let rounds = u32::try_from(seconds / SECONDS_PER_ROUND)
        .unwrap_or(u32::MAX)
        .max(1);
    // Declared before the scene: the processes end before the last words are said.
    let mut run = Run::new(title);
    let seed = run.seed;
    tell(format_args!(
        "{title}: {SEED_VARIABLE}={seed} {SECONDS_VARIABLE}={seconds}"
    ));
    let mut scene = start(&run, network.as_mut());
    let view_services = sure(ViewServices::parse(&network.view_service()));
    run.load = Some(Load::start(&view_services, LoadConfig { reads, ..LOAD }));
    let load = run.load.as_ref().expect("it was just started");
    scene.until_pair();
    scene.until_answers(load);

    let disks = run.disks.as_ref();
    let kinds = kinds(network.as_ref(), disks);
    let plan = Plan::new(seed, kinds.clone());
    let diary = &mut run.diary;
    let mut nemesis = Nemesis::new(&mut scene, network.as_mut(), load, disks, plan, diary);
    nemesis.run(Duration::from_secs(seconds), rounds);
    let tally = std::mem::take(&mut nemesis.tally);
    tell(format_args!("{title}: what went wrong:\n{tally}"));
    demand_all_kinds(&tally, &kinds, rounds);

    scene.until_pair();
    scene.until_answers(load);
    judge(run, scene, network.as_ref());
}

fn start(run: &Run, network: &mut dyn Network) -> Scene {
    let names = || REPLICAS.into_iter().chain([VIEW_SERVICE]);
    let placements = names().map(|name| (name.to_owned(), network.placement(name)));
    let config = ClusterConfig {
        lease: LEASE,
        keep: Some(run.directory.clone()),
        placements: placements.collect::<BTreeMap<_, _>>(),
        // A counter that fails at one number.
        machine: "brittle".to_owned(),
        replica_arguments: REPLICA_ARGUMENTS.map(str::to_owned).to_vec(),
        ..ClusterConfig::new(example("brittle"))
    };
    let mut scene = Scene::with(run.title, config);
    if let Some(disks) = &run.disks {
        disks.place(scene.directory());
    }
    for name in [VIEW_SERVICE].into_iter().chain(REPLICAS) {
        sure(scene.spawn(name));
        let pid = scene.pid(name).expect("it was just started");
        network.started(name, pid);
        scene.until("a process to be ready", |scene| {
            sure(scene.is_ready(name)).then_some(())
        });
        network.reached_at(name, sure(scene.address(name)));
    }
    scene
}

fn demand_all_kinds(tally: &Tally, kinds: &[Kind], rounds: u32) {
    for kind in kinds {
        let count = tally.kinds.get(kind).copied().unwrap_or(0);
        assert!(
            count >= rounds,
            "{kind} came {count} times in {rounds} rounds"
        );
    }
}

fn judge(mut run: Run, mut scene: Scene, network: &dyn Network) {
    let title = run.title;
    let load = run.load.take().expect("it runs until now");
    run.history = load.stop();
    let failed = run.history.failures().count();
    let fetched = fetched(&scene);
    assert!(fetched > 0, "nobody who had nothing was sent a state");
    verdict::demand_linearizable(&run.history);
    let (history, summary) = scene.audit_history(run.history.clone());
    run.history = history;
    // Once more, with what was read in the very end.
    verdict::demand_linearizable(&run.history);
    verdict::demand_equal_digests(&mut scene, REPLICAS.len());
    tell(format_args!(
        "{title}: {} operations, {failed} without an answer: {summary}; linearizable; {fetched} states fetched; {}",
        run.history.operations.len(),
        network.account()
    ));
    drop(scene);
    sure(fs::remove_dir_all(&run.directory));
}

/// How often a replica was sent a whole state instead of entries, by their logs.
fn fetched(scene: &Scene) -> usize {
    let logs = REPLICAS.map(|name| sure(fs::read_to_string(scene.log_path(name))));
    let lines = logs.iter().flat_map(|log| log.lines());
    lines
        .filter(|line| line.contains("fetched the state"))
        .count()
}

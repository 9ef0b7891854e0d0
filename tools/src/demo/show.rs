//! What is done, in order: set up, pull plugs, audit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use standin_client::{Client, ClientConfig, Consistency};
use standin_core::message::RoleName;
use standin_core::time::Duration;
use standin_core::view::ViewId;
use standin_io::signals::Signals;

use super::DemoArgs;
use super::audit::{Audit, audit_all};
use super::crowd::{Crowd, Figures, Told};
use super::error::{ShowError, finds_the_entry};
use super::machine::{DemoMachine, Numbers};
use super::report::Outcome;
use super::steps::{Pair, STEP_PATIENCE};
use super::story::{Seconds, Story, count};
use crate::cluster::{Cluster, ClusterConfig, VIEW_SERVICE};
use crate::output;
use crate::simulate::Subject;

/// The audit says that something is wrong.
const EXIT_NO: u8 = 1;

/// The replicas, in the order in which they are started.
pub(super) const REPLICAS: [&str; 3] = ["a", "b", "c"];
/// How long a primary that is not heard of stays primary.
const LEASE: Duration = Duration::from_secs(1);
/// How many entries there are between snapshots of a machine of which nothing is known.
const SNAPSHOT_EVERY: &str = "1000";
/// So many pulls are told in full, and the clients get a moment of peace before each; further ones
/// are told in a line, and follow quickly.
const PULLS_IN_FULL: u32 = 3;

/// What is going to happen.
fn introduction(machine: DemoMachine) -> String {
    let request = machine.request();
    let noun = machine.noun();
    let load = match machine {
        DemoMachine::Numbers(Numbers::Counter) => "add to the counter",
        DemoMachine::Numbers(Numbers::Kv) => "add to numbers in it",
        DemoMachine::Own(_) => "send commands",
    };
    format!(
        "\
Three replicas of a {noun} run as processes of their own: a, b and c. One of them, the primary,
answers the clients, but not before a second one, the backup, has the same input; the third is a
spare. Then the primary is killed, without warning, while clients {load}. In the end we
look whether any {request} that was answered is missing, and whether any was executed twice.
"
    )
}

/// Runs the demo, tells its story on standard output, and returns the exit status.
///
/// To be called from the main thread while it is the only one: it takes over the signals that
/// ask it to stop, and its processes die with the thread that started them.
pub fn run<M: Subject>(args: &DemoArgs) -> u8 {
    let machine = DemoMachine::of::<M>(&args.machine);
    let story = Story::begin();
    let ended = Signals::block()
        .map_err(|source| ShowError::Io {
            doing: "take over signals",
            source,
        })
        .and_then(|signals| play(args, machine, &story, signals));
    match ended {
        Ok(outcome) => {
            outcome.tell(&story);
            tell_what_is_kept(args, &story, &outcome);
            if args.json {
                story.print(&outcome.json());
            }
            let written = output::written(story.end());
            if outcome.is_good() { written } else { EXIT_NO }
        }
        Err(error) => {
            explain(args, &story, &error);
            error.exit_status()
        }
    }
}

/// Says why there is no audit.
fn explain(args: &DemoArgs, story: &Story, error: &ShowError) {
    match error {
        ShowError::Interrupted(_) => {
            let what_is_left = match &args.keep {
                Some(path) => format!("the data directories and logs are in {}", path.display()),
                None => "nothing is left behind".to_owned(),
            };
            story.tell(&format!(
                "Interrupted: all processes are stopped, and {what_is_left}."
            ));
        }
        ShowError::Keep(_) => output::error(format_args!("cannot run the demo: {error}")),
        _ => {
            let (what, details) = error.told(args.keep.as_deref());
            output::error_with(format_args!("the demo could not go on: {what}"), &details);
        }
    }
}

/// Says what can be looked at, if anything can or must be.
fn tell_what_is_kept(args: &DemoArgs, story: &Story, outcome: &Outcome) {
    match &args.keep {
        Some(dir) => {
            let dir = dir.as_path();
            story.print(&format!(
                "The data directories and logs are in {}.",
                dir.display()
            ));
            if let Some(names) = outcome.differing() {
                finds_the_entry(dir, names)
                    .iter()
                    .for_each(|line| story.print(line));
            }
        }
        None if !outcome.is_good() => {
            story.print("Run it with --keep DIR to keep the data directories and logs in DIR.");
        }
        None => {}
    }
}

/// Everything up to the audit. When this returns, all processes are gone and so is what they kept.
fn play(
    args: &DemoArgs,
    machine: DemoMachine,
    story: &Story,
    signals: Signals,
) -> Result<Outcome, ShowError> {
    allow_descriptors();
    let program = std::env::current_exe().map_err(|source| ShowError::Io {
        doing: "find this program's file",
        source,
    })?;
    let config = ClusterConfig {
        lease: LEASE,
        durability: args.durability,
        machine: machine.name().to_owned(),
        replica_arguments: match machine {
            DemoMachine::Numbers(_) => Vec::new(),
            // The audit is a replay of it, and states are to be compared on the way.
            DemoMachine::Own(_) => ["--keep-log", "--snapshot-every", SNAPSHOT_EVERY]
                .map(str::to_owned)
                .to_vec(),
        },
        keep: args.keep.clone(),
        ..ClusterConfig::new(program)
    };
    let cluster = Cluster::new(config).map_err(|error| match &args.keep {
        Some(_) => ShowError::Keep(error),
        None => error.into(),
    })?;
    let mut show = Show {
        args,
        machine,
        story,
        signals,
        cluster,
        crowd: None,
        gaps: Vec::new(),
    };
    show.set_up()?;
    for nth in 1..=args.plugs {
        show.pull(nth)?;
    }
    show.close()
}

/// Each client has a few descriptors: many clients may need more than a process has by default.
fn allow_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        log::warn!("cannot raise the limit of open files: {error}");
    }
}

/// A demo under way.
pub(super) struct Show<'a> {
    args: &'a DemoArgs,
    pub(super) machine: DemoMachine,
    story: &'a Story,
    pub(super) signals: Signals,
    pub(super) cluster: Cluster,
    /// The clients, while they work.
    pub(super) crowd: Option<Crowd>,
    /// For each pull, the longest wait that a client saw.
    gaps: Vec<Duration>,
}

impl Show<'_> {
    fn set_up(&mut self) -> Result<(), ShowError> {
        let story = self.story;
        story.heading(&format!(
            "STANDIN DEMO: a {} that goes on when its machine dies\n",
            self.machine.noun()
        ));
        story.print(&introduction(self.machine));
        self.start(VIEW_SERVICE)?;
        let pid = self.pid_of(VIEW_SERVICE);
        story.tell(&format!(
            "The view service runs ({pid}). It decides who is primary, and lends that role for {} at \
             a time: the lease.",
            Seconds(LEASE)
        ));
        for name in &REPLICAS[..2] {
            self.start(name)?;
            story.tell(&format!("Replica {name} runs ({}).", self.pid_of(name)));
        }
        let pair = self.until_pair()?;
        story.tell(&format!(
            "{} is the primary and {} its backup: from now on nobody is answered before both have \
             the input.",
            pair.primary, pair.backup
        ));
        self.start(REPLICAS[2])?;
        self.until_follows(REPLICAS[2])?;
        story.tell(&format!(
            "Replica {} runs ({}). It is the spare: it keeps up, and nobody waits for it.",
            REPLICAS[2],
            self.pid_of(REPLICAS[2])
        ));
        let clients = usize::try_from(self.args.clients).expect("at most 256");
        let view_services = self.cluster.view_services()?;
        self.crowd = Some(Crowd::start(self.machine, &view_services, clients)?);
        self.until_answered(pair.view)?;
        story.tell(&format!(
            "{} to {}, each again as soon as it has its answer.\n",
            if clients == 1 {
                "1 client begins"
            } else {
                "The clients begin"
            },
            match self.machine {
                DemoMachine::Numbers(Numbers::Counter) => "add 1 to the counter".to_owned(),
                DemoMachine::Numbers(numbers) => {
                    format!("add 1 to each of {} numbers in turn", numbers.numbers())
                }
                DemoMachine::Own(_) => "send commands that the machine draws".to_owned(),
            }
        ));
        Ok(())
    }

    /// One pull, and everything back in its place.
    fn pull(&mut self, nth: u32) -> Result<(), ShowError> {
        self.peace(nth)?;
        let before = self.until_pair()?;
        let dead = before.primary.as_str();
        let pid = self.pid_of(dead);
        self.crowd().forget_waits();
        self.cluster.kill(dead)?;
        let plug = format!("PLUG {nth} OF {}", self.args.plugs);
        if is_in_full(nth) {
            let answered = count(self.crowd().acknowledged(), self.machine.request());
            self.story.shout(&format!(
                "{plug}: {dead}, the primary, is killed, with the process beside it that would tell of \
                 its death (kill -9, {pid}). {answered} are answered so far."
            ));
        }
        let (successor, view) = self.until_taken_over(dead)?;
        self.detail(
            nth,
            &format!(
                "Nobody could tell, as when a machine loses power: {dead} was not heard of for a whole \
                 lease. {successor}, its backup, has every answered {} and stands in as primary (view \
                 {}).",
                self.machine.request(),
                view.view
            ),
        );
        let gap = self.measure_gap(nth, view)?;
        self.start(dead)?;
        let pid = self.pid_of(dead);
        self.detail(
            nth,
            &format!(
                "{dead} is plugged back in ({pid}), with the data that it had when it was killed."
            ),
        );
        let after = self.until_pair()?;
        let role = self.until_follows(dead)?;
        if is_in_full(nth) {
            self.tell_recovery(&before, &after, role);
        } else {
            self.story.tell(&format!(
                "{plug}: {dead} killed, {successor} stood in, nobody waited longer than {}; {dead} is \
                 back.",
                Seconds(gap)
            ));
        }
        Ok(())
    }

    /// Waits until every client is answered in `view`: the longest wait that one of them had.
    fn measure_gap(&mut self, nth: u32, view: ViewId) -> Result<Duration, ShowError> {
        self.until_answered(view)?;
        let gap = self.crowd().longest_wait();
        self.gaps.push(gap);
        self.detail(
            nth,
            &format!(
                "All clients are answered again. The one that waited longest waited {}; none saw an \
                 error.",
                Seconds(gap)
            ),
        );
        Ok(gap)
    }

    /// Tells what only a pull that is told in full has room for.
    fn detail(&self, nth: u32, text: &str) {
        if is_in_full(nth) {
            self.story.tell(text);
        }
    }

    fn tell_recovery(&self, before: &Pair, after: &Pair, role: RoleName) {
        let dead = &before.primary;
        if after.backup == *dead {
            self.story.tell(&format!(
                "{dead} has caught up and is the backup: every answered {} is on two replicas \
                 again.\n",
                self.machine.request()
            ));
            return;
        }
        self.story.tell(&format!(
            "{} is the backup now: every answered {} is on two replicas again. {dead} has caught up \
             and is the {}.\n",
            after.backup,
            self.machine.request(),
            role.word()
        ));
    }

    /// Stops the clients and holds their answers against every replica's copy.
    fn close(mut self) -> Result<Outcome, ShowError> {
        self.peace(1)?;
        let (told, figures) = self.stop_clients()?;
        self.story.tell("The clients have stopped.");
        let values = match self.machine {
            DemoMachine::Numbers(numbers) => self.final_values(numbers)?,
            DemoMachine::Own(_) => Vec::new(),
        };
        let copies = self.level_copies()?;
        let audit = self.audit(&told, &values)?;
        Ok(Outcome {
            machine: self.machine,
            audit,
            values,
            gaps: self.gaps,
            copies,
            figures,
            clients: self.args.clients,
            lease: LEASE,
            elapsed: self.story.elapsed(),
        })
    }

    /// Holds what was told against the final values, or against the primary's log.
    fn audit(&mut self, told: &Told, values: &[u64]) -> Result<Audit, ShowError> {
        match (self.machine, told) {
            (DemoMachine::Own(own), Told::Own(records)) => {
                let primary = self.until_pair()?.primary;
                let dir = self.cluster.directory().join(&primary);
                Ok((own.audit)(&dir, records)?)
            }
            (_, Told::Numbers(tallies)) => Ok(audit_all(tallies, values)),
            (DemoMachine::Numbers(_), Told::Own(_)) => unreachable!("it has numbers"),
        }
    }

    fn stop_clients(&mut self) -> Result<(Told, Figures), ShowError> {
        let crowd = self.crowd.take().expect("the clients were started");
        crowd.stop();
        self.until("the clients to stop", |_| {
            Ok(crowd.has_stopped().then_some(()))
        })?;
        Ok(crowd.join()?)
    }

    /// The values that the primary answers, confirmed by its backup.
    fn final_values(&mut self, numbers: Numbers) -> Result<Vec<u64>, ShowError> {
        let config = ClientConfig {
            timeout: STEP_PATIENCE,
        };
        let mut client = Client::new(self.cluster.view_services()?, config)?;
        let answer = client.query(&numbers.get(), Consistency::Confirmed)?;
        numbers.values(&answer.bytes).ok_or(ShowError::Answer)
    }
}

/// Whether the pull with this number, from 1, is told in full.
pub(super) fn is_in_full(nth: u32) -> bool {
    nth <= PULLS_IN_FULL
}

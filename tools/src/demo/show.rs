//! What is done, in order: set up, pull plugs, audit.

use std::io::{self, Write};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use standin_client::{Client, ClientConfig, ClientError, Consistency};
use standin_core::message::{RoleName, StatusReply};
use standin_core::time::Duration;
use standin_core::view::{ViewId, ViewRecord};
use standin_io::clock;
use standin_io::signals::Signals;

use super::DemoArgs;
use super::audit::Tally;
use super::copies::{self, Copy};
use super::counter;
use super::crowd::{Crowd, CrowdError, Figures};
use super::report::Outcome;
use super::story::{Seconds, Story, count};
use crate::cluster::{self, Cluster, ClusterConfig, ClusterError, Outline, VIEW_SERVICE};

/// The replicas, in the order in which they are started.
const REPLICAS: [&str; 3] = ["a", "b", "c"];
/// How long a primary that is not heard of stays primary.
const LEASE: Duration = Duration::from_secs(1);
/// How long each step may take before the demo gives up.
const STEP_PATIENCE: Duration = Duration::from_secs(20);
/// How long a single question may take.
const ASK_PATIENCE: Duration = Duration::from_secs(1);
/// So many pulls are told in full, and the clients get a moment of peace before each; further ones
/// are told in a line, and follow quickly.
const PULLS_IN_FULL: u32 = 3;
/// How long the clients work undisturbed before a pull that is told in full.
const PEACE_LONG: Duration = Duration::from_millis(1000);
/// How long they do before another.
const PEACE_SHORT: Duration = Duration::from_millis(200);
/// Each pull comes a little later after the pair is complete than the one before, in a cycle, so that
/// they hit different moments between two renewals of the lease.
const SHIFT: Duration = Duration::from_millis(37);
const SHIFTS: u32 = 8;

/// Why the show did not go on.
#[derive(Debug, thiserror::Error)]
enum ShowError {
    #[error("interrupted")]
    Interrupted(i32),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("a client gave up: {0}")]
    Crowd(#[from] CrowdError),
    #[error("cannot read the final value: {0}")]
    Read(#[from] ClientError),
    #[error("the counter answered something that is no value")]
    Answer,
    #[error("cannot {doing}: {source}")]
    Io {
        doing: &'static str,
        source: io::Error,
    },
}

impl ShowError {
    fn exit_status(&self) -> u8 {
        match self {
            // As a shell has it for what a signal ended.
            Self::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::Cluster(ClusterError::NotEmpty { .. }) => 2,
            Self::Crowd(CrowdError::Client(error)) | Self::Read(error) => client_exit(error),
            Self::Crowd(CrowdError::Answer) | Self::Answer => 1,
            Self::Cluster(_) | Self::Crowd(CrowdError::Thread(_)) | Self::Io { .. } => 3,
        }
    }
}

/// A refusal is an answer, and the wrong one; everything else is a service that was not reached.
fn client_exit(error: &ClientError) -> u8 {
    let is_refusal = matches!(
        error,
        ClientError::Refused { .. }
            | ClientError::OtherCluster { .. }
            | ClientError::Protocol { .. }
    );
    if is_refusal { 1 } else { 3 }
}

/// Runs the demo, tells its story on standard output, and returns the exit status.
///
/// To be called from the main thread while it is the only one: it takes over SIGINT and SIGTERM, and
/// its processes die with the thread that started them.
pub fn run(args: &DemoArgs) -> u8 {
    let story = Story::begin();
    let ended = Signals::block()
        .map_err(|source| ShowError::Io {
            doing: "take over signals",
            source,
        })
        .and_then(|signals| play(args, &story, signals));
    match ended {
        Ok(outcome) => {
            outcome.tell(&story);
            if let Some(path) = &args.keep {
                story.print(&format!(
                    "The data directories and logs are in {}.",
                    path.display()
                ));
            }
            if args.json {
                story.print(&outcome.json());
            }
            u8::from(!outcome.is_good())
        }
        Err(error @ ShowError::Interrupted(_)) => {
            story.tell("Interrupted. All processes are stopped, and nothing is left behind.");
            error.exit_status()
        }
        Err(error) => {
            let _ = writeln!(
                io::stderr().lock(),
                "standin: the demo could not go on: {error}; with --keep DIR the logs stay in DIR"
            );
            error.exit_status()
        }
    }
}

/// Everything up to the audit. When this returns, all processes are gone and so is what they kept.
fn play(args: &DemoArgs, story: &Story, signals: Signals) -> Result<Outcome, ShowError> {
    allow_descriptors();
    let program = std::env::current_exe().map_err(|source| ShowError::Io {
        doing: "find this program's file",
        source,
    })?;
    let config = ClusterConfig {
        lease: LEASE,
        durability: args.durability,
        keep: args.keep.clone(),
        ..ClusterConfig::new(program)
    };
    let cluster = Cluster::new(config)?;
    let mut show = Show {
        args,
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

struct Show<'a> {
    args: &'a DemoArgs,
    story: &'a Story,
    signals: Signals,
    cluster: Cluster,
    crowd: Option<Crowd>,
    /// For each pull, the longest wait that a client saw.
    gaps: Vec<Duration>,
}

/// Who is what, while there is a complete pair.
#[derive(Debug)]
struct Pair {
    view: ViewId,
    primary: String,
    backup: String,
}

impl Pair {
    fn of(status: &StatusReply) -> Option<Self> {
        let record = status.record.as_ref().filter(|record| record.active)?;
        Some(Self {
            view: record.id(),
            primary: record.primary.name.to_string(),
            backup: record.backup.as_ref()?.name.to_string(),
        })
    }
}

impl Show<'_> {
    fn set_up(&mut self) -> Result<(), ShowError> {
        let story = self.story;
        story.heading("STANDIN DEMO: a counter that goes on counting when its machine dies\n");
        story.print(INTRODUCTION);
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
        self.crowd = Some(Crowd::start(&self.cluster.view_services()?, clients)?);
        self.until_answered(pair.view)?;
        story.tell(&format!(
            "{} to add 1 to the counter, each again as soon as it has its answer.\n",
            if clients == 1 {
                "1 client begins"
            } else {
                "The clients begin"
            }
        ));
        Ok(())
    }

    /// One pull, and everything back in its place.
    fn pull(&mut self, nth: u32) -> Result<(), ShowError> {
        let is_in_full = nth <= PULLS_IN_FULL;
        self.peace(nth)?;
        let before = self.until_pair()?;
        let dead = before.primary.as_str();
        let pid = self.pid_of(dead);
        self.crowd().forget_waits();
        self.cluster.kill(dead)?;
        let plug = format!("PLUG {nth} OF {}", self.args.plugs);
        if is_in_full {
            let answered = count(self.crowd().acknowledged(), "add");
            self.story.shout(&format!(
                "{plug}: {dead}, the primary, is killed (kill -9, {pid}). {answered} are answered so \
                 far."
            ));
        }
        let (successor, view) = self.until_taken_over(dead)?;
        if is_in_full {
            self.story.tell(&format!(
                "{dead} was not heard of for a whole lease. {successor}, its backup, has every \
                 answered add and stands in as primary (view {}).",
                view.view
            ));
        }
        self.until_answered(view)?;
        let gap = self.crowd().longest_wait();
        self.gaps.push(gap);
        if is_in_full {
            self.story.tell(&format!(
                "All clients are answered again. The one that waited longest waited {}; none saw an \
                 error.",
                Seconds(gap)
            ));
        }
        self.start(dead)?;
        if is_in_full {
            self.story.tell(&format!(
                "{dead} is plugged back in ({}), with the data that it had when it was killed.",
                self.pid_of(dead)
            ));
        }
        let after = self.until_pair()?;
        let role = self.until_follows(dead)?;
        if is_in_full {
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

    fn tell_recovery(&self, before: &Pair, after: &Pair, role: RoleName) {
        let dead = &before.primary;
        if after.backup == *dead {
            self.story.tell(&format!(
                "{dead} has caught up and is the backup: every answered add is on two replicas \
                 again.\n"
            ));
            return;
        }
        self.story.tell(&format!(
            "{} is the backup now: every answered add is on two replicas again. {dead} has caught up \
             and is the {}.\n",
            after.backup,
            role.word()
        ));
    }

    /// Stops the clients and holds their answers against every replica's copy.
    fn close(mut self) -> Result<Outcome, ShowError> {
        self.peace(1)?;
        let (tally, figures) = self.stop_clients()?;
        self.story.tell("The clients have stopped.");
        let value = self.final_value()?;
        let copies = self.level_copies()?;
        Ok(Outcome {
            audit: tally.audit(value),
            gaps: self.gaps,
            copies,
            figures,
            clients: self.args.clients,
            lease: LEASE,
            elapsed: self.story.elapsed(),
        })
    }

    fn stop_clients(&mut self) -> Result<(Tally, Figures), ShowError> {
        let crowd = self.crowd.take().expect("the clients were started");
        crowd.stop();
        self.until("the clients to stop", |_| {
            Ok(crowd.has_stopped().then_some(()))
        })?;
        Ok(crowd.join()?)
    }

    /// The value that the primary answers, confirmed by its backup.
    fn final_value(&mut self) -> Result<u64, ShowError> {
        let config = ClientConfig {
            timeout: STEP_PATIENCE,
        };
        let mut client = Client::new(self.cluster.view_services()?, config)?;
        let answer = client.query(&counter::get(), Consistency::Confirmed)?;
        counter::value(&answer.bytes).ok_or(ShowError::Answer)
    }

    /// All replicas' copies, once all have executed the same entries; as they are, if they do not
    /// get there.
    fn level_copies(&mut self) -> Result<Vec<Copy>, ShowError> {
        let mut seen = Vec::new();
        let level = self.until("the replicas to have executed the same entries", |show| {
            let copies = REPLICAS.iter().map(|name| show.copy(name));
            let copies: Option<Vec<Copy>> = copies.collect::<Result<_, _>>()?;
            let Some(copies) = copies else {
                return Ok(None);
            };
            seen.clone_from(&copies);
            Ok(copies::are_level(&copies).then_some(copies))
        });
        match level {
            Err(ShowError::Cluster(ClusterError::InVain { .. })) if !seen.is_empty() => Ok(seen),
            other => other,
        }
    }

    fn copy(&self, name: &str) -> Result<Option<Copy>, ShowError> {
        let Ok(inspected) = self.cluster.inspect(name) else {
            return Ok(None);
        };
        let read = copies::read(self.cluster.address(name)?, ASK_PATIENCE).map_err(|source| {
            ShowError::Io {
                doing: "ask a replica",
                source,
            }
        })?;
        Ok(read.and_then(|read| Copy::new(&inspected, read)))
    }

    /// Lets the clients work undisturbed for a while.
    fn peace(&mut self, nth: u32) -> Result<(), ShowError> {
        let peace = if nth <= PULLS_IN_FULL {
            PEACE_LONG
        } else {
            PEACE_SHORT
        };
        let end = cluster::after(peace + SHIFT * (nth % SHIFTS));
        self.until("time to pass", |_| Ok((clock::boot() >= end).then_some(())))
    }

    fn start(&mut self, name: &str) -> Result<(), ShowError> {
        self.cluster.spawn(name)?;
        self.until("a process to be ready", |show| {
            Ok(show.cluster.is_ready(name)?.then_some(()))
        })
    }

    fn until_pair(&mut self) -> Result<Pair, ShowError> {
        self.until("a primary with a backup", |show| {
            Ok(show.cluster.status().ok().as_ref().and_then(Pair::of))
        })
    }

    /// Waits for another primary than `dead`: its name and its view.
    fn until_taken_over(&mut self, dead: &str) -> Result<(String, ViewId), ShowError> {
        let is_other = |record: &ViewRecord| record.active && record.primary.name.as_str() != dead;
        self.until("the backup to take over", |show| {
            let record = show.cluster.status().ok().and_then(|status| status.record);
            let record = record.filter(is_other);
            Ok(record.map(|record| (record.primary.name.to_string(), record.id())))
        })
    }

    /// Waits until every client has an answer of `view` or a later one.
    fn until_answered(&mut self, view: ViewId) -> Result<(), ShowError> {
        self.until("answers for every client", |show| {
            Ok(show.crowd().has_seen(view).then_some(()))
        })
    }

    /// Waits until a replica that was started is backup or spare and has executed what the primary
    /// had executed by now.
    fn until_follows(&mut self, name: &str) -> Result<RoleName, ShowError> {
        let primary = self.until_pair()?.primary;
        let target = self.until("the primary's own account", |show| {
            Ok(show
                .cluster
                .inspect(&primary)
                .ok()
                .map(|reply| reply.standing.applied))
        })?;
        self.until("a replica to catch up", |show| {
            let standing = show.cluster.inspect(name).ok().map(|reply| reply.standing);
            let standing = standing.filter(|standing| {
                let follows = matches!(standing.role, RoleName::Backup | RoleName::Spare);
                follows && standing.applied >= target
            });
            Ok(standing.map(|standing| standing.role))
        })
    }

    /// Looks again and again until there is something to see, while nothing has gone wrong.
    fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Result<Option<T>, ShowError>,
    ) -> Result<T, ShowError> {
        let end = cluster::after(STEP_PATIENCE);
        loop {
            self.check()?;
            if let Some(seen) = look(self)? {
                return Ok(seen);
            }
            if clock::boot() >= end {
                let seen = match self.cluster.status() {
                    Ok(status) => Outline(&status).to_string(),
                    Err(error) => error.to_string(),
                };
                let what = what.to_owned();
                return Err(ClusterError::InVain {
                    what,
                    waited: STEP_PATIENCE,
                    seen,
                }
                .into());
            }
            cluster::pause();
        }
    }

    fn check(&mut self) -> Result<(), ShowError> {
        let signal = self.signals.next();
        match signal.map_err(|source| ShowError::Io {
            doing: "look for signals",
            source,
        })? {
            Some(signal) => return Err(ShowError::Interrupted(signal)),
            None => self.cluster.check()?,
        }
        match &mut self.crowd {
            Some(crowd) => Ok(crowd.check()?),
            None => Ok(()),
        }
    }

    fn crowd(&self) -> &Crowd {
        self.crowd.as_ref().expect("the clients were started")
    }

    fn pid_of(&self, name: &str) -> String {
        let pid = self.cluster.pid(name);
        pid.map_or_else(|| "no process".to_owned(), |pid| format!("process {pid}"))
    }
}

const INTRODUCTION: &str = "\
Three replicas of a counter run as processes of their own: a, b and c. One of them, the primary,
answers the clients, but not before a second one, the backup, has the same input; the third is a
spare. Then the primary is killed, without warning, while clients add to the counter. In the end we
look whether any add that was answered is missing, and whether any was executed twice.
";

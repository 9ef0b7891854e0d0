//! `standin replay`: a state made again from a replica's data directory; with `--diff`, two of them compared.

mod diff;
mod run;

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;
use standin_core::entry::Index;
use standin_core::machine::StateMachine;
use standin_core::time::Duration;
use standin_io::clock;
use standin_io::log::LogReader;
use standin_tools::replay::{ReplayError, ReplayOptions, Replayed, replay};

use super::{EXIT_MISUSED, EXIT_NO, output};
use crate::machines::{counter::Counter, kv::KeyValue};

pub(crate) use run::{RunArgs, run as run_one};

/// The arguments of `standin replay`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  standin replay data-a --verify\n  standin replay data-a --until 100 --query 'counter get'\n  \
    standin replay --diff data-a data-b\n\n\
    Applies the entries of the log to a new state and prints what that comes to. With --keep-log a log goes back to the \
    first entry; else the replay begins with the oldest snapshot that the log goes on from. Changes nothing; the replica \
    may run. --verify also compares each digest that was recorded on the way: by snapshots, and of replies when replicas parted.\n\n\
    --diff compares two replicas' directories: their logs, what they recorded of replies and states, and replays of what lies \
    between the last record that agrees and the first that does not, in processes of their own. It names the first entry \
    whose reply or state differs, or says that the replays differ among themselves. The machine's own program must be the \
    same.\n\n\
    Exit status: 0 done, or the same; 1 it cannot be done, a digest differs or with --verify none was recorded, or the two \
    differ; 2 misused."
)]
pub(crate) struct ReplayArgs {
    /// Data directory of a replica
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Data directory of another replica, for --diff
    #[arg(value_name = "OTHER_DIR")]
    other: Option<PathBuf>,
    /// Compare two data directories
    #[arg(long, env = "STANDIN_DIFF", value_parser = BoolishValueParser::new(),
        conflicts_with_all = ["until", "verify", "query"])]
    diff: bool,
    /// With --diff: how often two replays are compared, at most, before they count as the same
    #[arg(long, env = "STANDIN_ATTEMPTS", value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    attempts: u32,
    /// Last entry to apply; all of them if it is not given
    #[arg(long, env = "STANDIN_UNTIL", value_name = "INDEX")]
    until: Option<u64>,
    /// Compare recorded digests on the way
    #[arg(long, env = "STANDIN_VERIFY", value_parser = BoolishValueParser::new())]
    verify: bool,
    /// Ask the machine then: 'counter get', 'kv get K', or what a machine of your own knows
    #[arg(long, env = "STANDIN_QUERY", value_name = "QUERY")]
    query: Option<String>,
    /// Print JSON, on one line
    #[arg(long, env = "STANDIN_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

/// What `--json` prints. The fields are a promise; more may be added.
#[derive(Debug, PartialEq, Serialize)]
struct Account {
    machine: &'static str,
    /// The last entry that was applied.
    index: u64,
    view: u64,
    /// Of all replies, as in the status.
    digest: String,
    state_digest: String,
    /// What the replay began after: zero, or the entry of a snapshot.
    from: u64,
    seconds: f64,
    entries_per_second: f64,
    /// How many recorded digests were compared.
    verified: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// Why nothing was verified, where nothing else is wrong.
const NOTHING_RECORDED: &str = "no digest was recorded on the way, so nothing was compared; each snapshot records some (start \
    the replica with a smaller --snapshot-every)";

/// Why there is no result, and the exit status.
type Failure = (u8, String);

/// Replays what the data directory has.
pub(crate) fn run<M: StateMachine>(args: &ReplayArgs) -> u8 {
    // Not left to clap: it would ask for the one also where the other comes from the environment, and says no.
    match (args.diff, &args.other) {
        (true, Some(other)) => return diff::run::<M>([&args.dir, other], args.attempts, args.json),
        (false, None) => {}
        (true, None) => return misused("--diff compares two directories: name OTHER_DIR as well"),
        (false, Some(_)) => return misused("two directories are compared with --diff"),
    }
    match replay_known::<M>(args) {
        Ok(account) => {
            let written = output::line(format_args!("{}", account.render(args.json)));
            if account.verified != Some(0) {
                return written;
            }
            let dir = args.dir.display();
            output::error(format_args!(
                "cannot verify the replay of {dir}: {NOTHING_RECORDED}"
            ));
            EXIT_NO
        }
        Err((status, why)) => {
            let dir = args.dir.display();
            output::error(format_args!("cannot replay {dir}: {why}"));
            status
        }
    }
}

fn misused(why: &str) -> u8 {
    let program = output::program();
    output::error(format_args!("{why}; see '{program} replay --help'"));
    EXIT_MISUSED
}

/// By the machine whose log it is.
fn replay_known<M: StateMachine>(args: &ReplayArgs) -> Result<Account, Failure> {
    let reader = LogReader::open(&args.dir).map_err(|error| (EXIT_NO, error.to_string()))?;
    match reader.header().machine.name() {
        name if name == M::NAME => replay_as::<M>(args),
        Counter::NAME => replay_as::<Counter>(args),
        KeyValue::NAME => replay_as::<KeyValue>(args),
        name => Err(unknown_machine(name)),
    }
}

fn unknown_machine(name: &str) -> Failure {
    let why = format!("the log is of the machine {name}, which this program does not have");
    (EXIT_NO, why)
}

fn replay_as<M: StateMachine>(args: &ReplayArgs) -> Result<Account, Failure> {
    let query = args.query.as_deref().map(|words| parse::<M>(words));
    let query = query.transpose()?;
    let options = ReplayOptions {
        until: args.until.map(Index),
        verifies: args.verify,
    };
    let mut progress = Progress::default();
    let begun = clock::boot();
    let outcome = replay::<M>(&args.dir, options, &mut |index, percent| {
        progress.show(index, percent);
    });
    progress.clear();
    let replayed = outcome.map_err(|error| (EXIT_NO, failure_words(&error, &args.dir)))?;
    let took = clock::boot().since(begun);
    tell_unfinished(&args.dir, &replayed);
    let answer = query.map(|query| {
        let mut reply = Vec::new();
        let asked = replayed.state.query(&query, &mut reply);
        asked.map_err(|words| (EXIT_NO, format!("the machine fails at the query: {words}")))?;
        Ok(M::reply_words(&reply))
    });
    let answer = answer.transpose()?;
    Ok(Account::of(&replayed, took, args.verify, answer))
}

/// What is wrong; and, if a digest differs, how the entry is found: one log and one replay do not have it.
fn failure_words(error: &ReplayError, dir: &Path) -> String {
    let ReplayError::Differs(difference) = error else {
        return error.to_string();
    };
    let (first, last) = (difference.agreed.next(), difference.index);
    let which = match first == last {
        true => format!("{last}"),
        false => format!("one of {first} to {last}"),
    };
    let (program, dir) = (output::program(), dir.display());
    format!(
        "{error}; either the machine is not deterministic (docs/determinism.md has the usual reasons), or this is not the program \
         that recorded it, or one of the files is damaged; the first entry that differs is {which}, and `{program} replay --diff \
         {dir} OTHER_DIR` finds it, with OTHER_DIR that of a replica that recorded another digest, or a copy of this one"
    )
}

/// The machine's query; its name may stand before it.
fn parse<M: StateMachine>(words: &str) -> Result<Vec<u8>, Failure> {
    let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
    let query = if first == M::NAME { rest } else { words };
    M::parse_query(query).map_err(|why| {
        let name = M::NAME;
        (
            EXIT_MISUSED,
            format!("the machine {name} has no query '{words}': {why}"),
        )
    })
}

fn tell_unfinished<M>(dir: &Path, replayed: &Replayed<M>) {
    if let Some(unfinished) = &replayed.unfinished {
        output::error(format_args!(
            "{}: behind its last entry {unfinished}; a replica that runs may be at it",
            dir.display()
        ));
    }
}

impl Account {
    fn of<M: StateMachine>(
        replayed: &Replayed<M>,
        took: Duration,
        verifies: bool,
        answer: Option<String>,
    ) -> Self {
        let index = replayed.state.applied();
        let seconds = took.as_secs_f64();
        let entries = (index.0 - replayed.from.0) as f64;
        Self {
            machine: M::NAME,
            index: index.0,
            view: replayed.view.0,
            digest: format!("{:032x}", replayed.state.reply_digest().0),
            state_digest: format!("{:032x}", replayed.state.state_digest()),
            from: replayed.from.0,
            seconds,
            entries_per_second: entries / seconds.max(f64::MIN_POSITIVE),
            verified: verifies.then_some(replayed.verified),
            answer,
        }
    }

    fn render(&self, is_json: bool) -> String {
        if is_json {
            return serde_json::to_string(self).expect("names and numbers become JSON");
        }
        let Self {
            index,
            view,
            digest,
            state_digest,
            from,
            seconds,
            ..
        } = self;
        let begins = match from {
            0 => "the first entry".to_owned(),
            from => format!("the snapshot of entry {from}"),
        };
        let rate = self.entries_per_second;
        let mut text = format!(
            "index {index} of view {view}, digest of all replies {digest}, of the state {state_digest}\nfrom {begins}: {} entries \
             in {seconds:.3} s, {rate:.0} per second",
            index - from
        );
        let _infallible = match self.verified {
            Some(0) => write!(text, "\nverified: nothing"),
            Some(verified) => write!(text, "\nverified: {verified} recorded digests are the same"),
            None => Ok(()),
        };
        if let Some(answer) = &self.answer {
            let _infallible = write!(text, "\n{answer}");
        }
        text
    }
}

/// How far it is, for people who watch.
#[derive(Debug, Default)]
struct Progress {
    is_shown: bool,
}

impl Progress {
    fn show(&mut self, index: Index, percent: u64) {
        let mut err = std::io::stderr();
        if err.is_terminal() {
            self.is_shown = write!(err, "\rentry {index}, {percent} % of the log").is_ok();
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(std::io::stderr(), "\r{:60}\r", "");
        }
    }
}

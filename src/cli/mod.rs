//! The command line: `standin` and its verbs.

mod client;
pub mod duration;
mod gateway;
mod history;
mod log;
mod moment;
mod program;
mod recover;
mod replay;
mod serve;
mod snapshot;
mod status;
mod switchover;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches as _, Parser, Subcommand};
use standin_client::AskError;
use standin_core::machine::StateMachine;
use standin_tools::simulate::Subject;
use standin_tools::{bench, cluster, demo, output, relay, simulate};

use crate::machines::{self, counter::Counter};

/// It was done and the answer is no: refused, or a verification failed.
pub(crate) const EXIT_NO: u8 = 1;
/// The command was misused.
pub(crate) const EXIT_MISUSED: u8 = 2;
/// The service could not be reached in time.
pub(crate) const EXIT_UNREACHED: u8 = 3;

/// Keeps a deterministic service running when its machine dies.
#[derive(Debug, Parser)]
#[command(
    name = "standin",
    version,
    disable_help_subcommand = true,
    after_help = "Example:\n  standin demo\n\nSee 'standin COMMAND --help' for each command."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a service on this machine, pull its primary's plug, audit the outcome
    Demo(demo::DemoArgs),
    /// Run the view service, the authority on who is primary
    Viewservice(serve::ViewserviceArgs),
    /// Run one replica
    Replica(serve::ReplicaArgs),
    /// Serve Redis clients, wherever the primary is
    Gateway(gateway::GatewayArgs),
    /// Send a command or a query to the replicated service
    Client(client::ClientArgs),
    /// Show the view, the lease and every replica
    Status(status::StatusArgs),
    /// Let the backup take the primary's place, while the service goes on
    Switchover(switchover::SwitchoverArgs),
    /// List the views that there were, and how long nobody served in between
    History(history::HistoryArgs),
    /// Make a replica primary though it may lack what was answered
    Recover(recover::RecoverArgs),
    /// List the entries of a replica's log
    Log(log::LogArgs),
    /// Make the state again from a replica's log, and compare what was recorded
    Replay(replay::ReplayArgs),
    /// Run one of the replays that are compared
    #[command(hide = true)]
    ReplayRun(replay::RunArgs),
    /// Copy a snapshot out of a data directory, check one, make a data directory of one
    Snapshot(snapshot::SnapshotArgs),
    /// Measure throughput and latency, and those of other services in the same run
    Bench(bench::BenchArgs),
    /// Run whole clusters in virtual time under faults, and check that every rule holds
    Simulate(simulate::SimulateArgs),
    /// Run the first process of the benchmark's relay
    #[command(hide = true)]
    RelayFront(relay::FrontArgs),
    /// Run the second process of the benchmark's relay
    #[command(hide = true)]
    RelayEcho(relay::EchoArgs),
    /// Become another program that the benchmark measures, and that ends with it
    #[command(hide = true)]
    BoundExec(cluster::BoundExecArgs),
}

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    main_with::<Counter>()
}

/// The same in a program that brings a machine of its own: it is what `--machine` means where it is not given, and the demo,
/// the simulator, `client command` and `client query` use it.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # use standin::{Context, Machine, RandomStream};
/// # #[derive(Clone, Default, Serialize, Deserialize)]
/// # struct Visits(u64);
/// # impl Machine for Visits {
/// #     const NAME: &'static str = "visits";
/// #     const VERSION: u32 = 1;
/// #     type Command = u64;
/// #     type Query = ();
/// #     type Reply = u64;
/// #     fn apply(&mut self, _: &mut Context<'_>, n: u64) -> u64 { self.0 += n; self.0 }
/// #     fn query(&self, (): ()) -> u64 { self.0 }
/// #     fn draw_command(random: &mut RandomStream, _last: Option<&u64>) -> u64 { random.below(9) }
/// #     fn draw_query(_: &mut RandomStream) {}
/// # }
/// fn main() -> std::process::ExitCode {
///     standin::cli::main_with::<Visits>()
/// }
/// ```
#[must_use]
pub fn main_with<M: Subject>() -> ExitCode {
    if machines::is_own::<M>() {
        output::name_program(program::name());
    }
    cluster::die_with_parent_if_asked();
    let parsed = program::command_line::<M>()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return misused::<M>(&error),
    };
    // Info for what runs, so that a person sees what happens; only problems for what asks.
    let level = match &cli.command {
        Command::Viewservice(_) | Command::Replica(_) | Command::Gateway(_) => "info",
        Command::Demo(_)
        | Command::Client(_)
        | Command::Status(_)
        | Command::Switchover(_)
        | Command::History(_)
        | Command::Recover(_)
        | Command::Log(_)
        | Command::Replay(_)
        | Command::ReplayRun(_)
        | Command::Snapshot(_)
        | Command::Bench(_) => "error",
        Command::Simulate(_) => "off",
        Command::RelayFront(_) | Command::RelayEcho(_) | Command::BoundExec(_) => "error",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level))
        .format_timestamp_millis()
        .init();
    let status = match cli.command {
        Command::Demo(args) => demo::run::<M>(&args),
        Command::Viewservice(args) => serve::viewservice(args),
        Command::Replica(args) => serve::replica::<M>(args),
        Command::Gateway(args) => gateway::run(args),
        Command::Client(args) => client::run::<M>(args),
        Command::Status(args) => status::run(args),
        Command::Switchover(args) => switchover::run(&args),
        Command::History(args) => history::run(args),
        Command::Recover(args) => recover::run(args),
        Command::Log(args) => log::run::<M>(&args),
        Command::Replay(args) => replay::run::<M>(&args),
        Command::ReplayRun(args) => replay::run_one::<M>(&args),
        Command::Snapshot(args) => snapshot::run::<M>(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Simulate(args) if machines::is_own::<M>() => simulate::command::<M>(&args),
        Command::Simulate(args) => simulate::command::<simulate::Ledger>(&args),
        Command::RelayFront(args) => relay::run_front(&args),
        Command::RelayEcho(args) => relay::run_echo(&args),
        Command::BoundExec(args) => cluster::bound_exec(&args),
    };
    ExitCode::from(status)
}

/// Help and version go to standard output and are no misuse; an error is one line and exit status 2.
fn misused<M: StateMachine>(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let text = error.render().to_string();
        return ExitCode::from(output::line(format_args!("{}", text.trim_end())));
    }
    let line = program::command_line::<M>();
    let words: Vec<OsString> = std::env::args_os().collect();
    output::error(format_args!("{}", misuse_words(error, &words, line)));
    ExitCode::from(EXIT_MISUSED)
}

/// The line with which arguments are refused, of which the first is the program's name; `None` if
/// they name a command, or ask for help. Runs nothing.
pub fn misuse<I>(arguments: I) -> Option<String>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let words: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let error = Cli::try_parse_from(&words).err()?;
    let is_misuse = error.use_stderr();
    let line = || misuse_words(&error, &words, Cli::command());
    is_misuse.then(|| output::error_line(format_args!("{}", line())))
}

/// What is wrong with the `words` that were typed, and where to read how it is done right.
fn misuse_words(error: &clap::Error, words: &[OsString], line: clap::Command) -> String {
    let text = error.render().to_string();
    let (path, commands) = misused_command(&text, words, line);
    let what = match error.kind() {
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("'{path}' needs a command: {commands}")
        }
        ErrorKind::InvalidSubcommand => {
            format!("{}: choose from {commands}", first_paragraph(&text))
        }
        _ => first_paragraph(&text),
    };
    format!("{what}; see '{path} --help'")
}

/// What clap says is wrong, without the usage and the tips that follow it.
fn first_paragraph(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    let what: Vec<&str> = lines.map(str::trim).collect();
    let what = what.join(" ");
    what.strip_prefix("error: ").unwrap_or(&what).to_owned()
}

/// The command that an error of clap's is about, as it is typed, and the commands that it has: both
/// found by the usage line, or in what was typed if the error has none.
fn misused_command(text: &str, typed: &[OsString], line: clap::Command) -> (String, String) {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    let words: Vec<&str> = match usage {
        Some(usage) => usage.split(' ').skip(1).collect(),
        None => typed
            .iter()
            .skip(1)
            .filter_map(|word| word.to_str())
            .collect(),
    };
    let mut path = line.get_name().to_owned();
    let mut command = line;
    for word in words {
        let Some(next) = command.find_subcommand(word).cloned() else {
            // Flags that a command takes stand between it and its own commands.
            continue;
        };
        path = format!("{path} {word}");
        command = next;
    }
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let names: Vec<&str> = shown.map(clap::Command::get_name).collect();
    (path, names.join(", "))
}

/// Says why the view service told nothing, and gives the exit status for it.
fn not_told(error: &AskError) -> u8 {
    output::error(format_args!("{error}"));
    match error {
        AskError::Address(_) => EXIT_MISUSED,
        AskError::Refused { .. } | AskError::OtherParty { .. } | AskError::Protocol { .. } => {
            EXIT_NO
        }
        _ => EXIT_UNREACHED,
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    /// Every command that is shown, with its own flags.
    fn commands(root: &clap::Command) -> Vec<clap::Command> {
        let mut all = vec![root.clone()];
        for command in root.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            all.extend(commands(command));
        }
        all
    }

    fn flags(command: &clap::Command) -> impl Iterator<Item = (&Arg, &str)> {
        let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
        flags.filter_map(|arg| Some((arg, arg.get_long()?)))
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        let mut seen = 0;
        for command in commands(&Cli::command()) {
            for (flag, long) in flags(&command) {
                let name = format!("STANDIN_{}", long.to_uppercase().replace('-', "_"));
                let variable = flag.get_env().and_then(|variable| variable.to_str());
                let verb = command.get_name();
                assert_eq!(variable, Some(name.as_str()), "{verb} --{long}");
                seen += 1;
            }
        }
        assert!(seen > 30, "only {seen} flags were looked at");
    }

    #[test]
    fn the_variable_of_a_flag_without_a_value_says_yes_or_no_and_nothing_else() {
        let mut seen = 0;
        for command in commands(&Cli::command()) {
            for (flag, long) in flags(&command) {
                if !matches!(flag.get_action(), ArgAction::SetTrue) {
                    continue;
                }
                // A value from the environment is read as one behind the flag would be.
                let id = flag.get_id().as_str().to_owned();
                let taker = command
                    .clone()
                    .mut_arg(id, |arg| arg.action(ArgAction::Set).default_value(None));
                let is_refused = |value: &str| {
                    let line = [taker.get_name(), &format!("--{long}={value}")].map(str::to_owned);
                    let error = taker.clone().try_get_matches_from(line).err();
                    let kinds = [ErrorKind::InvalidValue, ErrorKind::ValueValidation];
                    error.is_some_and(|error| kinds.contains(&error.kind()))
                };
                let verb = command.get_name();
                for word in ["1", "true", "yes", "on", "0", "false", "no", "off"] {
                    assert!(!is_refused(word), "{verb} --{long}: {word}");
                }
                for word in ["", "2", "nonsense"] {
                    assert!(is_refused(word), "{verb} --{long}: '{word}'");
                }
                seen += 1;
            }
        }
        assert!(seen >= 7, "only {seen} flags were looked at");
    }
}

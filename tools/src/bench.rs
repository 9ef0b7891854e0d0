//! `standin bench`: Standin against other services, in one run, under the same load.
//!
//! Every service runs as processes of its own on loopback. Rounds are interleaved (each service once,
//! then each once more), so that what else happens on the machine meets all of them, and of the
//! rounds the medians are told.

mod peer;
mod report;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_io::signals::Signals;

use crate::cluster::ClusterError;
use crate::load::{self, CONNECTIONS_MAX, DEPTH_MAX, LoadConfig, LoadError, LoadResult};
use crate::output;
use peer::Peer;
use report::{Report, Shape};

/// It was measured, and what came out does not count.
const EXIT_NO: u8 = 1;
/// The command was misused.
const EXIT_MISUSED: u8 = 2;
/// A service could not be reached in time.
const EXIT_UNREACHED: u8 = 3;

/// How long a service is put under load before counting begins.
const WARM_UP: Duration = Duration::from_secs(1);
/// What is measured unless something else is asked for: a busy service, and a single waiting client.
const SHAPES: [Shape; 2] = [
    Shape {
        connections: 50,
        depth: 16,
    },
    Shape {
        connections: 1,
        depth: 1,
    },
];

/// What a replica is asked to do.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The state machine, as `--machine` has it.
    pub machine: String,
    /// A command, in the machine's own encoding.
    pub command: Vec<u8>,
    /// Bytes of the machine's reply to it, so that a relay's replies have the same size.
    pub reply_bytes: u32,
}

/// The arguments of `standin bench`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  standin bench --against relay")]
pub struct BenchArgs {
    /// What else to measure in the same run, separated by commas
    #[arg(long, env = "STANDIN_AGAINST", value_delimiter = ',')]
    against: Vec<Against>,
    /// Client connections; 50 x 16 and 1 x 1 are measured if neither number is given
    #[arg(long, env = "STANDIN_CONNECTIONS", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: Option<u32>,
    /// Commands in flight on each connection
    #[arg(long, env = "STANDIN_DEPTH", value_parser = clap::value_parser!(u64).range(1..=DEPTH_MAX))]
    depth: Option<u64>,
    /// Seconds that are counted in each round
    #[arg(long, env = "STANDIN_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Rounds, of which the medians are told
    #[arg(long, env = "STANDIN_ROUNDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// When a write counts as safe: in memory, in the page cache, or on the disk, of both replicas
    #[arg(long, env = "STANDIN_DURABILITY", default_value = "os", value_parser = durability)]
    durability: Durability,
    /// Print one line of JSON
    #[arg(long, env = "STANDIN_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

/// What Standin can be measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    /// The floor: a process that forwards to a second one and answers on its echo
    Relay,
    /// Redis without a replica
    Redis,
    /// Redis with a replica and WAIT 1 after each command
    RedisWait,
}

fn durability(text: &str) -> Result<Durability, &'static str> {
    text.parse()
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(
        "cannot measure against {0}: this version has no client for Redis; use --against relay"
    )]
    NotYet(&'static str),
    #[error("cannot tell where this program is, to start it again as a service: {0}")]
    Program(#[source] io::Error),
    #[error("cannot start {what} as {}: {source}", program.display())]
    Spawn {
        what: &'static str,
        program: PathBuf,
        source: io::Error,
    },
    #[error("{0} ended or hung before it was ready; RUST_LOG=debug may tell why")]
    NotReady(&'static str),
    #[error(transparent)]
    Cluster(ClusterError),
    #[error("cannot look for signals: {0}")]
    Signals(#[source] io::Error),
    #[error("{service} could not be measured: {source}")]
    Load {
        service: &'static str,
        source: LoadError,
    },
    #[error(
        "{service} answered {errors} requests wrongly or not at all, so its figures do not count; \
         the first: {first}"
    )]
    Wrong {
        service: &'static str,
        errors: u64,
        first: String,
    },
    #[error(
        "the view changed while Standin was measured ({before} before, {after} after), so its \
         figures do not count; try again on a quieter machine"
    )]
    ViewChanged { before: String, after: String },
    #[error("interrupted; nothing was measured to the end")]
    Interrupted,
}

impl From<ClusterError> for BenchError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Interrupted => Self::Interrupted,
            error => Self::Cluster(error),
        }
    }
}

impl BenchError {
    fn exit_status(&self) -> u8 {
        match self {
            Self::NotYet(_) => EXIT_MISUSED,
            Self::Load {
                source: LoadError::Open { .. },
                ..
            } => EXIT_UNREACHED,
            Self::Cluster(ClusterError::InVain { .. }) | Self::NotReady(_) => EXIT_UNREACHED,
            _ => EXIT_NO,
        }
    }
}

/// Measures, prints the figures and returns the exit status.
#[must_use]
pub fn run(args: &BenchArgs, workload: &Workload) -> u8 {
    match measure(args, workload) {
        Ok(report) if args.json => output::line(format_args!("{}", report.json())),
        Ok(report) => output::line(format_args!("{}", report.table())),
        Err(error) => {
            output::error(format_args!("{error}"));
            error.exit_status()
        }
    }
}

fn measure(args: &BenchArgs, workload: &Workload) -> Result<Report, BenchError> {
    for against in &args.against {
        match against {
            Against::Relay => {}
            Against::Redis => return Err(BenchError::NotYet("redis")),
            Against::RedisWait => return Err(BenchError::NotYet("redis-wait")),
        }
    }
    // From now on an interrupt ends every wait, and what was started is ended and removed on the way
    // out instead of being left behind.
    let signals = Signals::block().map_err(BenchError::Signals)?;
    let program = std::env::current_exe().map_err(BenchError::Program)?;
    let mut peers = Vec::new();
    if args.against.contains(&Against::Relay) {
        peers.push(Peer::relay(&program, workload, &signals)?);
    }
    peers.push(Peer::standin(program, args.durability, workload)?);
    let shapes = shapes(args);
    let names: Vec<_> = peers.iter().map(Peer::name).collect();
    let mut report = Report::new(args.durability, args.seconds, args.rounds, &shapes, &names);
    for (at, shape) in shapes.iter().enumerate() {
        for round in 1..=args.rounds {
            for peer in &mut peers {
                progress(peer.name(), *shape, round, args.rounds);
                let result = measure_once(peer, *shape, args.seconds, workload)?;
                report.add(at, peer.name(), &result);
            }
        }
    }
    Ok(report)
}

fn shapes(args: &BenchArgs) -> Vec<Shape> {
    if args.connections.is_none() && args.depth.is_none() {
        return SHAPES.to_vec();
    }
    let [busy, _] = SHAPES;
    vec![Shape {
        connections: args.connections.unwrap_or(busy.connections),
        depth: args.depth.unwrap_or(busy.depth),
    }]
}

fn measure_once(
    peer: &mut Peer,
    shape: Shape,
    seconds: u64,
    workload: &Workload,
) -> Result<LoadResult, BenchError> {
    let service = peer.name();
    let address = peer.begin()?;
    let config = LoadConfig {
        address,
        connections: shape.connections,
        depth: shape.depth,
        warm_up: WARM_UP,
        measured: Duration::from_secs(seconds),
        command: workload.command.clone(),
        heeds_signals: true,
    };
    let result = load::run(&config).map_err(|source| match source {
        LoadError::Interrupted => BenchError::Interrupted,
        source => BenchError::Load { service, source },
    })?;
    if result.errors > 0 {
        return Err(BenchError::Wrong {
            service,
            errors: result.errors,
            first: result.first_error.unwrap_or_default(),
        });
    }
    peer.end()?;
    Ok(result)
}

/// Says on a terminal what is going on.
fn progress(service: &str, shape: Shape, round: u32, rounds: u32) {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        // A line that is erased first; losing it loses nothing.
        let _ = write!(
            err,
            "\r\x1b[K{shape}: round {round} of {rounds}: {service}\r"
        );
    }
}

#[cfg(test)]
mod tests;

//! `standin bench`: Standin against other services, in one run, under the same load.
//!
//! Every service runs as processes of its own on loopback. Rounds are interleaved (each service once,
//! then each once more), so that what else happens on the machine meets all of them, and of the
//! rounds the medians are told.

mod peer;
mod plot;
mod redis;
mod report;
mod work;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_io::signals::Signals;

use crate::cluster::ClusterError;
use crate::demo::CrowdError;
use crate::load::{
    self, CONNECTIONS_MAX, DEPTH_MAX, LoadConfig, LoadError, LoadResult, Pace, RATE_MAX,
};
use crate::output;
use peer::{Peer, Protocol};
use plot::Plot;
use redis::RedisKind;
use report::{Report, Shape};
use work::{Request, Wait};

/// It was measured, and what came out does not count.
const EXIT_NO: u8 = 1;
/// The command was misused.
const EXIT_MISUSED: u8 = 2;
/// A service could not be reached in time.
const EXIT_UNREACHED: u8 = 3;

/// How long a service is put under load before counting begins.
const WARM_UP: Duration = Duration::from_secs(1);
/// What is measured unless something else is asked for: a busy service, many waiting clients, and a single one.
const SHAPES: [Shape; 3] = [
    Shape {
        connections: 50,
        pace: Pace::Closed(16),
    },
    Shape {
        connections: 50,
        pace: Pace::Closed(1),
    },
    Shape {
        connections: 1,
        pace: Pace::Closed(1),
    },
];

/// The arguments of `standin bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  standin bench --against relay,redis,redis-wait --rounds 5\n\n\
    Clients speak Redis's protocol, straight to the primary, unless --protocol says otherwise. Redis is measured as it is \
    installed (redis-server). Nothing else should run on the machine.\n\n\
    Each service takes --rounds times (--seconds + 1) s for each load. With --plot throughput is also drawn against 1, 2, 5, 10, 20, \
    50, 100, 200 and 500 connections (--connections ends this sooner), which takes as long for each of them, and then a \
    primary's plug is pulled, within 10 s: three services take 10 min instead of 3 with what is asked for by default."
)]
pub struct BenchArgs {
    /// What else to measure in the same run, separated by commas
    #[arg(long, env = "STANDIN_AGAINST", value_delimiter = ',')]
    against: Vec<Against>,
    /// What clients ask for
    #[arg(long, env = "STANDIN_REQUEST", value_enum, default_value_t)]
    request: Request,
    /// How clients speak to Standin and to the relay
    #[arg(long, env = "STANDIN_PROTOCOL", value_enum, default_value_t)]
    protocol: Spoken,
    /// Client connections; 50 x 16, 50 x 1 and 1 x 1 are measured if neither number is given
    #[arg(long, env = "STANDIN_CONNECTIONS", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: Option<u32>,
    /// Requests in flight on each connection
    #[arg(long, env = "STANDIN_DEPTH", value_parser = clap::value_parser!(u64).range(1..=DEPTH_MAX))]
    depth: Option<u64>,
    /// An open loop instead: so many requests are due in each second, on all connections together
    #[arg(long, env = "STANDIN_RATE", conflicts_with = "depth", value_parser = clap::value_parser!(u64).range(1..=RATE_MAX))]
    rate: Option<u64>,
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
    /// Also draw it, as SVG: throughput against connections, latencies, and a pulled plug
    #[arg(
        long,
        env = "STANDIN_PLOT",
        value_name = "FILE",
        conflicts_with = "rate"
    )]
    plot: Option<PathBuf>,
}

/// How clients speak to Standin and to the relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Spoken {
    /// Redis's protocol
    #[default]
    Resp,
    /// The native protocol, each connection in a session: each command is executed exactly once
    Native,
}

/// What Standin can be measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Against {
    /// The floor: a process that forwards to a second one and answers on its echo
    Relay,
    /// Standin over its native protocol, with sessions
    Native,
    /// Standin without a backup
    Solo,
    /// Redis without a replica
    Redis,
    /// Redis with a replica, which it does not wait for
    RedisReplica,
    /// Redis with a replica and WAIT 1 after each command
    RedisWait,
    /// Redis that syncs its file after each command (appendfsync always)
    RedisAlways,
    /// Redis with a replica, WAIT 1 after each command, and both sync their files
    RedisWaitAlways,
}

impl Against {
    fn of_redis(self) -> Option<RedisKind> {
        let (name, has_replica, wait, is_durable) = match self {
            Self::Redis => ("redis", false, Wait::None, false),
            Self::RedisReplica => ("redis-replica", true, Wait::None, false),
            Self::RedisWait => ("redis-wait", true, Wait::One, false),
            Self::RedisAlways => ("redis-always", false, Wait::None, true),
            Self::RedisWaitAlways => ("redis-wait-always", true, Wait::One, true),
            Self::Relay | Self::Native | Self::Solo => return None,
        };
        Some(RedisKind {
            name,
            has_replica,
            wait,
            is_durable,
        })
    }
}

fn durability(text: &str) -> Result<Durability, &'static str> {
    text.parse()
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(
        "cannot measure against Redis: redis-server cannot be run: {0}; install it (apt-get install redis-server), or \
         leave it out of --against"
    )]
    NoRedis(#[source] io::Error),
    #[error("cannot measure {0} over the native protocol; use --protocol resp")]
    Spoken(&'static str),
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
    #[error("cannot draw to {}: {source}; name a file in a directory that you may write to", path.display())]
    NoPlot { path: PathBuf, source: io::Error },
    #[error("the drawing cannot be written: {0}")]
    PlotNotWritten(#[source] io::Error),
    #[error("the clients of a pulled plug: {0}")]
    Crowd(#[from] CrowdError),
    #[error("the figures are whole, but {} was not drawn: {source}", path.display())]
    NotDrawn {
        path: PathBuf,
        source: Box<BenchError>,
    },
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
            Self::NotDrawn { source, .. } => source.exit_status(),
            Self::NoRedis(_) | Self::Spoken(_) | Self::NoPlot { .. } => EXIT_MISUSED,
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
pub fn run(args: &BenchArgs) -> u8 {
    let told = |error: BenchError| {
        output::error(format_args!("{error}"));
        error.exit_status()
    };
    match measure(args) {
        Ok((report, drawn)) => {
            let text = if args.json {
                report.json()
            } else {
                report.table()
            };
            let printed = output::line(format_args!("{text}"));
            drawn.map_or_else(told, |()| printed)
        }
        Err(error) => told(error),
    }
}

/// The figures, and whether they are drawn, if that was asked for.
fn measure(args: &BenchArgs) -> Result<(Report, Result<(), BenchError>), BenchError> {
    check(args)?;
    // From now on an interrupt ends every wait, and what was started is ended and removed on the way
    // out instead of being left behind.
    let signals = Signals::block().map_err(BenchError::Signals)?;
    let mut plot = args.plot.as_deref().map(Plot::begin).transpose()?;
    let mut peers = peers(args, &signals)?;
    let shapes = shapes(args);
    let names: Vec<_> = peers.iter().map(Peer::name).collect();
    let mut report = Report::new(args.durability, args.seconds, args.rounds, &shapes, &names);
    for (at, shape) in shapes.iter().enumerate() {
        for round in 1..=args.rounds {
            for peer in &mut peers {
                progress(peer.name(), *shape, round, args.rounds);
                let result = measure_once(peer, *shape, args)?;
                report.add(at, peer.name(), &result);
                if let Some(plot) = &mut plot {
                    plot.add(*shape, peer.name(), &result);
                }
            }
        }
    }
    let drawn = plot.map_or(Ok(()), |plot| plot.finish(peers, args, &signals));
    Ok((report, drawn))
}

/// What can be known to be in vain before anything is started.
fn check(args: &BenchArgs) -> Result<(), BenchError> {
    let is_native = args.protocol == Spoken::Native || args.against.contains(&Against::Native);
    if is_native && args.request == Request::Get {
        return Err(BenchError::Spoken("reads"));
    }
    if is_native && args.rate.is_some() {
        return Err(BenchError::Spoken("a fixed rate"));
    }
    if args.against.iter().any(|it| it.of_redis().is_some()) {
        redis::version()?;
    }
    Ok(())
}

/// All that is measured, Standin itself as the last.
fn peers(args: &BenchArgs, signals: &Signals) -> Result<Vec<Peer>, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::Program)?;
    let protocol = match args.protocol {
        Spoken::Resp => Protocol::Resp,
        Spoken::Native => Protocol::Native,
    };
    let standin =
        |name, protocol, is_solo| Peer::standin(name, &program, args.durability, protocol, is_solo);
    let against: BTreeSet<Against> = args.against.iter().copied().collect();
    let mut peers = Vec::new();
    for against in against {
        peers.push(match against {
            Against::Relay => Peer::relay(&program, protocol, signals)?,
            Against::Native => standin("native", Protocol::Native, false)?,
            Against::Solo => standin("solo", protocol, true)?,
            of_redis => {
                let kind = of_redis.of_redis().expect("all others are named above");
                Peer::redis(kind, signals)?
            }
        });
    }
    peers.push(standin("standin", protocol, false)?);
    Ok(peers)
}

fn shapes(args: &BenchArgs) -> Vec<Shape> {
    let [busy, ..] = SHAPES;
    let connections = args.connections.unwrap_or(busy.connections);
    let pace = match (args.rate, args.depth) {
        (Some(rate), _) => Pace::Open(rate),
        (None, Some(depth)) => Pace::Closed(depth),
        (None, None) if args.connections.is_none() => return SHAPES.to_vec(),
        (None, None) => busy.pace,
    };
    vec![Shape { connections, pace }]
}

fn measure_once(peer: &mut Peer, shape: Shape, args: &BenchArgs) -> Result<LoadResult, BenchError> {
    let service = peer.name();
    let address = peer.begin()?;
    let config = LoadConfig {
        address,
        connections: shape.connections,
        pace: shape.pace,
        warm_up: WARM_UP,
        measured: Duration::from_secs(args.seconds),
        work: peer.work(args.request),
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

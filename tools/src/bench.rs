//! `standin bench`: Standin against other services, in one run, under the same load.
//!
//! Every service runs as processes of its own on loopback. Rounds are interleaved (each service once,
//! then each once more), so that what else happens on the machine meets all of them, and of the
//! rounds the medians are told.

mod etcd;
mod peer;
mod plot;
mod redis;
mod report;
mod work;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use standin_core::identity::Durability;
use standin_core::message::Consistency;
use standin_core::time::Duration;
use standin_io::net::{BUSY_POLL_MICROS, BUSY_POLL_MICROS_MAX};
use standin_io::signals::Signals;

use crate::cluster::{ClusterError, Directory};
use crate::demo::CrowdError;
use crate::load::{
    self, CONNECTIONS_MAX, DEPTH_MAX, IDLE_MAX, Idle, LoadConfig, LoadError, LoadResult, Pace,
    RATE_MAX,
};
use crate::output;
use etcd::Etcd;
use peer::{Peer, Protocol, StandinKind};
use plot::Plot;
use redis::RedisKind;
use report::{IdleMemory, Report, Shape};
use work::{Asked, KEYS_MAX, Request, VALUE_BYTES, VALUE_BYTES_MAX, Wait};

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
    Clients speak Redis's protocol, straight to the primary, unless --protocol says otherwise. Redis and etcd are measured as \
    they are installed (redis-server, etcd); etcd is asked through its JSON gateway, to put where others count. Nothing else should \
    run on the machine.\n\n\
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
    /// Keys, of which each request has one drawn at random; if there are several, all are set first
    #[arg(long, env = "STANDIN_KEYS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=KEYS_MAX))]
    keys: u64,
    /// Bytes of each value, with --request set or get [default: 16]
    #[arg(long, env = "STANDIN_VALUE_BYTES", value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=i64::from(VALUE_BYTES_MAX)))]
    value_bytes: Option<u32>,
    /// Client connections; 50 x 16, 50 x 1 and 1 x 1 are measured if neither number is given
    #[arg(long, env = "STANDIN_CONNECTIONS", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: Option<u32>,
    /// Requests in flight on each connection
    #[arg(long, env = "STANDIN_DEPTH", value_parser = clap::value_parser!(u64).range(1..=DEPTH_MAX))]
    depth: Option<u64>,
    /// An open loop instead: so many requests are due in each second, on all connections together
    #[arg(long, env = "STANDIN_RATE", conflicts_with = "depth", value_parser = clap::value_parser!(u64).range(1..=RATE_MAX))]
    rate: Option<u64>,
    /// More connections to each service, which say nothing; what memory they cost it is told
    #[arg(long, env = "STANDIN_IDLE", value_name = "CONNECTIONS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=i64::from(IDLE_MAX)))]
    idle: u32,
    /// Seconds that are counted in each round
    #[arg(long, env = "STANDIN_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Rounds, of which the medians are told
    #[arg(long, env = "STANDIN_ROUNDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// When a write counts as safe: in memory, in the page cache, or on the disk, of both replicas
    #[arg(long, env = "STANDIN_DURABILITY", default_value = "os", value_parser = durability)]
    durability: Durability,
    /// For how many microseconds Standin's replicas (and relay-polling) look for something to do before they sleep [default: 200]
    #[arg(long, env = "STANDIN_BUSY_POLL", value_name = "MICROSECONDS", value_parser = clap::value_parser!(u64).range(..=BUSY_POLL_MICROS_MAX))]
    busy_poll: Option<u64>,
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
    /// The floor that looks for something to do before it sleeps, as Standin does
    RelayPolling,
    /// What the disk takes: writes of 4 KiB to a preallocated file, each synced before the next
    Fdatasync,
    /// Standin over its native protocol, with sessions
    Native,
    /// Standin without a backup
    Solo,
    /// Standin at durability memory, whatever --durability says
    StandinMemory,
    /// Standin at durability os
    StandinOs,
    /// Standin at durability disk
    StandinDisk,
    /// Standin whose reads rest on its lease alone; with --request get
    Lease,
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
    /// Three members of etcd, through the JSON gateway of their leader; it syncs what it is told to put
    Etcd,
}

impl Against {
    fn of_redis(self) -> Option<RedisKind> {
        let (name, has_replica, wait, is_durable) = match self {
            Self::Redis => ("redis", false, Wait::None, false),
            Self::RedisReplica => ("redis-replica", true, Wait::None, false),
            Self::RedisWait => ("redis-wait", true, Wait::One, false),
            Self::RedisAlways => ("redis-always", false, Wait::None, true),
            Self::RedisWaitAlways => ("redis-wait-always", true, Wait::One, true),
            _ => return None,
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
    #[error(
        "cannot measure against etcd: it cannot be run: {0}; install it (apt-get install etcd-server), or leave it out of \
         --against"
    )]
    NoEtcd(#[source] io::Error),
    #[error("cannot measure {0} over the native protocol; use --protocol resp")]
    Spoken(&'static str),
    #[error("cannot measure {what}; {instead}")]
    Unfit {
        what: &'static str,
        instead: &'static str,
    },
    #[error(transparent)]
    TooMuch(LoadError),
    #[error("the keys could not be set in {service} before it is measured: {reason}")]
    Fill {
        service: &'static str,
        reason: String,
    },
    #[error("cannot tell how much memory {0} has: its process does not stand in /proc")]
    NoMemory(&'static str),
    #[error(
        "another member of etcd leads, or none, since it was measured, so its figures do not count; try again on a quieter \
         machine"
    )]
    LeaderChanged,
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
            Self::NoRedis(_)
            | Self::NoEtcd(_)
            | Self::Spoken(_)
            | Self::Unfit { .. }
            | Self::NoPlot { .. }
            | Self::TooMuch(_) => EXIT_MISUSED,
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
    let asked = asked(args);
    let names: Vec<_> = peers.iter().map(Peer::name).collect();
    let mut report = Report::new(
        args.durability,
        args.seconds,
        args.rounds,
        asked,
        &shapes,
        &names,
    );
    let mut idles = Vec::new();
    for peer in &mut peers {
        progress(format_args!("made ready: {}", peer.name()));
        peer.fill(&asked, &signals)?;
        if args.idle > 0 && peer.is_service() {
            let (idle, memory) = open_idle(peer, args.idle, &asked, &signals)?;
            report.add_idle(memory);
            idles.push((peer.name(), idle));
        }
    }
    for (at, shape) in shapes.iter().enumerate() {
        for round in 1..=args.rounds {
            for peer in &mut peers {
                let (service, rounds) = (peer.name(), args.rounds);
                progress(format_args!(
                    "{shape}: round {round} of {rounds}: {service}"
                ));
                let result = measure_once(peer, *shape, args, &signals)?;
                report.add(at, peer.name(), &result);
                if let Some(plot) = &mut plot {
                    plot.add(*shape, peer.name(), &result);
                }
            }
            for (service, idle) in &mut idles {
                idle.check().map_err(load_error(service))?;
            }
        }
    }
    let drawn = plot.map_or(Ok(()), |plot| plot.finish(peers, args, &signals));
    Ok((report, drawn))
}

/// Makes connections to a service that will say nothing, and sees what memory they take there.
fn open_idle(
    peer: &mut Peer,
    connections: u32,
    asked: &Asked,
    signals: &Signals,
) -> Result<(Idle, IdleMemory), BenchError> {
    let service = peer.name();
    let address = peer.begin()?;
    let before_bytes = peer.resident_bytes()?;
    let idle = Idle::open(&address, connections, &peer.work(asked), signals);
    let idle = idle.map_err(load_error(service))?;
    let memory = IdleMemory {
        service,
        connections,
        before_bytes,
        after_bytes: peer.resident_bytes()?,
    };
    Ok((idle, memory))
}

fn load_error(service: &'static str) -> impl Fn(LoadError) -> BenchError {
    move |source| match source {
        LoadError::Interrupted => BenchError::Interrupted,
        source => BenchError::Load { service, source },
    }
}

/// What can be known to be in vain before anything is started.
fn check(args: &BenchArgs) -> Result<(), BenchError> {
    let has = |against| args.against.contains(&against);
    let is_native = args.protocol == Spoken::Native || has(Against::Native);
    if is_native && args.rate.is_some() {
        return Err(BenchError::Spoken("a fixed rate"));
    }
    let unfit = |what, instead| Err(BenchError::Unfit { what, instead });
    if args.rate.is_some() && has(Against::Etcd) {
        return unfit("etcd at a fixed rate", "leave out --rate, or etcd");
    }
    if args.rate.is_some() && has(Against::Fdatasync) {
        return unfit(
            "fdatasync at a fixed rate",
            "leave out --rate, or fdatasync",
        );
    }
    if args.request != Request::Get && has(Against::Lease) {
        return unfit("writes that rest on a lease", "use --request get");
    }
    if args.request == Request::Incr && args.value_bytes.is_some() {
        return unfit(
            "numbers of so many bytes",
            "use --request set or get, or leave out --value-bytes",
        );
    }
    // Before anything is started: what is started has the same limit.
    let sockets = connections_of_each(args);
    if sockets > CONNECTIONS_MAX.into() {
        return Err(BenchError::TooMuch(LoadError::TooMany { wanted: sockets }));
    }
    let services = u64::try_from(args.against.len()).expect("it is a short list") + 1;
    let wanted = sockets + u64::from(args.idle) * services;
    load::secure_descriptors(wanted).map_err(BenchError::TooMuch)?;
    if args.against.iter().any(|it| it.of_redis().is_some()) {
        redis::version()?;
    }
    if has(Against::Etcd) {
        etcd::find()?;
    }
    Ok(())
}

/// So many connections a service has under load, at most.
fn connections_of_each(args: &BenchArgs) -> u64 {
    let is_etcd = args.against.contains(&Against::Etcd);
    let each = shapes(args).into_iter().map(|shape| match shape.pace {
        Pace::Closed(depth) if is_etcd => u64::from(shape.connections) * depth,
        _ => shape.connections.into(),
    });
    each.max().unwrap_or(0)
}

fn asked(args: &BenchArgs) -> Asked {
    Asked {
        request: args.request,
        keys: args.keys,
        value_bytes: args.value_bytes.unwrap_or(VALUE_BYTES),
    }
}

/// All that is measured, Standin itself as the last.
fn peers(args: &BenchArgs, signals: &Signals) -> Result<Vec<Peer>, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::Program)?;
    let protocol = match args.protocol {
        Spoken::Resp => Protocol::Resp,
        Spoken::Native => Protocol::Native,
    };
    let subject = StandinKind {
        name: "standin",
        durability: args.durability,
        protocol,
        is_solo: false,
        consistency: Consistency::Confirmed,
        busy_poll: args.busy_poll,
    };
    let at = |name, durability| StandinKind {
        name,
        durability,
        ..subject
    };
    let clients = connections_of_each(args) + u64::from(args.idle);
    let standin = |kind| Peer::standin(kind, &program);
    let relay = |name, busy_poll| Peer::relay(name, &program, protocol, busy_poll, signals);
    let against: BTreeSet<Against> = args.against.iter().copied().collect();
    let mut peers = Vec::new();
    for against in against {
        peers.push(match against {
            Against::Relay => relay("relay", 0)?,
            Against::RelayPolling => {
                relay("relay-polling", args.busy_poll.unwrap_or(BUSY_POLL_MICROS))?
            }
            Against::Fdatasync => Peer::Disk(Directory::temporary()?),
            Against::Native => standin(StandinKind {
                name: "native",
                protocol: Protocol::Native,
                ..subject
            })?,
            Against::Solo => standin(StandinKind {
                name: "solo",
                is_solo: true,
                ..subject
            })?,
            Against::StandinMemory => standin(at("standin-memory", Durability::Memory))?,
            Against::StandinOs => standin(at("standin-os", Durability::Os))?,
            Against::StandinDisk => standin(at("standin-disk", Durability::Disk))?,
            Against::Lease => standin(StandinKind {
                name: "lease",
                consistency: Consistency::Lease,
                ..subject
            })?,
            Against::Etcd => Peer::Etcd(Etcd::start(signals)?),
            of_redis => {
                let kind = of_redis.of_redis().expect("all others are named above");
                Peer::redis(kind, clients, signals)?
            }
        });
    }
    peers.push(standin(subject)?);
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

fn measure_once(
    peer: &mut Peer,
    shape: Shape,
    args: &BenchArgs,
    signals: &Signals,
) -> Result<LoadResult, BenchError> {
    let service = peer.name();
    let address = peer.begin()?;
    let config = LoadConfig {
        address,
        connections: shape.connections,
        pace: shape.pace,
        warm_up: WARM_UP,
        measured: Duration::from_secs(args.seconds),
        work: peer.work(&asked(args)),
        heeds_signals: true,
    };
    let result = load::run(&config).map_err(load_error(service))?;
    if result.errors > 0 {
        return Err(BenchError::Wrong {
            service,
            errors: result.errors,
            first: result.first_error.unwrap_or_default(),
        });
    }
    peer.end(signals)?;
    Ok(result)
}

/// Says on a terminal what is going on.
fn progress(what: fmt::Arguments<'_>) {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        // A line that is erased first; losing it loses nothing.
        let _ = write!(err, "\r\x1b[K{what}\r");
    }
}

#[cfg(test)]
mod tests;

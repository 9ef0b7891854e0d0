//! `standin viewservice` and `standin replica`: what runs in the foreground.

use std::io;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use standin_client::{ViewServices, check_address};
use standin_core::identity::{Durability, ReplicaName};
use standin_core::machine::StateMachine;
use standin_core::message::Consistency;
use standin_core::session::SessionLimits;
use standin_core::time::Duration;
use standin_io::log::{SEGMENT_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use standin_viewservice::LeaseTerm;
use standin_viewservice::daemon::{self, DaemonConfig, HttpConfig};

use super::{EXIT_MISUSED, EXIT_NO, duration, output};
use crate::http;
use crate::machines::{counter::Counter, kv::KeyValue};
use crate::replica::{
    self, BUSY_POLL_MICROS, BUSY_POLL_MICROS_MAX, Listening, ParentLink, ReplicaConfig,
    ReplicaError, RespConfig, SESSIONS_MAX, SESSIONS_MAX_LIMIT, SnapshotConfig, parent,
};

/// The arguments of `standin viewservice`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  standin viewservice --listen 127.0.0.1:7000 --data vs\n\n\
    If its data directory is lost or damaged: make sure that no process runs on it and that it never comes back; \
    start with --rebuild on an empty --data, at the same address; start every replica; and have the record made \
    again by 'standin recover --rebuild'."
)]
pub(crate) struct ViewserviceArgs {
    /// Address to listen on, HOST:PORT; port 0 means any
    #[arg(long, env = "STANDIN_LISTEN", value_name = "ADDR", value_parser = listen_address)]
    listen: String,
    /// Directory that keeps the view record
    #[arg(long, env = "STANDIN_DATA", value_name = "DIR")]
    data: PathBuf,
    /// How long a primary that is not heard of stays primary
    #[arg(long, env = "STANDIN_LEASE", default_value = "1s", value_parser = lease_term)]
    lease: Duration,
    /// Address on which HTTP is served, HOST:PORT: /livez, /readyz, /status and /metrics
    #[arg(long, env = "STANDIN_HTTP", value_name = "ADDR", value_parser = listen_address)]
    http: Option<String>,
    /// The view record is lost: wait until 'standin recover --rebuild' makes it again
    #[arg(long, env = "STANDIN_REBUILD", value_parser = BoolishValueParser::new())]
    rebuild: bool,
}

/// The arguments of `standin replica`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  standin replica --name a --listen 127.0.0.1:7101 \
                        --viewservice 127.0.0.1:7000 --data a --machine counter"
)]
pub(crate) struct ReplicaArgs {
    /// Name of this replica, unique in the cluster
    #[arg(long, env = "STANDIN_NAME")]
    name: ReplicaName,
    /// Address to listen on, HOST:PORT; port 0 means any
    #[arg(long, env = "STANDIN_LISTEN", value_name = "ADDR", value_parser = listen_address)]
    listen: String,
    /// Address at which others reach this replica, if it is not the one it listens on
    #[arg(long, env = "STANDIN_ADVERTISE", value_name = "ADDR", value_parser = reached_address)]
    advertise: Option<String>,
    /// Address of the view service; several are separated by commas
    #[arg(long, env = "STANDIN_VIEWSERVICE", value_name = "ADDR")]
    viewservice: ViewServices,
    /// Directory that keeps this replica's log
    #[arg(long, env = "STANDIN_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The state machine to run
    // The names that may be given are added by `main_with`.
    #[arg(long, env = "STANDIN_MACHINE")]
    machine: String,
    /// Address on which Redis clients are served, HOST:PORT; only with --machine kv
    #[arg(long, env = "STANDIN_RESP", value_name = "ADDR", value_parser = listen_address)]
    resp: Option<String>,
    /// Address at which Redis clients reach this replica, if that differs
    #[arg(long, env = "STANDIN_RESP_ADVERTISE", value_name = "ADDR", value_parser = reached_address, requires = "resp")]
    resp_advertise: Option<String>,
    /// What the answers to reads of Redis clients rest on: the backup, which confirms that this is still the primary, or the
    /// lease alone, which is quicker and trusts clocks
    #[arg(
        long,
        env = "STANDIN_RESP_READS",
        value_enum,
        default_value_t,
        requires = "resp"
    )]
    resp_reads: RespReads,
    /// Address on which HTTP is served, HOST:PORT: /livez, /readyz, /primary, /backup, /replica?max_behind=N, /status and
    /// /metrics
    #[arg(long, env = "STANDIN_HTTP", value_name = "ADDR", value_parser = listen_address)]
    http: Option<String>,
    /// Password that Redis clients have to give (AUTH); better in the environment than here
    #[arg(
        long,
        env = "STANDIN_RESP_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true,
        requires = "resp"
    )]
    resp_password: Option<String>,
    /// When a write counts as safe: in memory, in the page cache, or on the disk, of both replicas
    #[arg(long, env = "STANDIN_DURABILITY", default_value = "os", value_parser = durability)]
    durability: Durability,
    /// Take over the name of a replica whose data directory is lost
    #[arg(long, env = "STANDIN_REPLACE", value_parser = BoolishValueParser::new())]
    replace: bool,
    /// Run as one process, without one beside it that tells the view service at once if it dies
    #[arg(long, env = "STANDIN_NO_PARENT", value_parser = BoolishValueParser::new())]
    no_parent: bool,
    /// Take a snapshot of the state after so many entries, and let go of the log before it; 0: never
    #[arg(long, env = "STANDIN_SNAPSHOT_EVERY", value_name = "ENTRIES", default_value_t = SnapshotConfig::default().every)]
    snapshot_every: u64,
    /// Length of a file of the log; what snapshots cover goes file by file, and so much room is taken ahead of time
    #[arg(long, env = "STANDIN_SEGMENT_BYTES", value_name = "BYTES", default_value_t = SEGMENT_BYTES, value_parser = clap::value_parser!(u64).range(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX))]
    segment_bytes: u64,
    /// Keep the log that snapshots cover, for replay from the start
    #[arg(long, env = "STANDIN_KEEP_LOG", value_parser = BoolishValueParser::new())]
    keep_log: bool,
    /// Under load, look for something to do for so many microseconds before each sleep; 0: never
    #[arg(long, env = "STANDIN_BUSY_POLL", value_name = "MICROSECONDS", default_value_t = BUSY_POLL_MICROS, value_parser = clap::value_parser!(u64).range(..=BUSY_POLL_MICROS_MAX))]
    busy_poll: u64,
    /// Most sessions of clients in the views that this replica leads; to be the same at each replica, since a takeover by one that
    /// allows fewer ends some
    #[arg(long, env = "STANDIN_SESSIONS_MAX", value_name = "SESSIONS", default_value_t = SESSIONS_MAX, value_parser = clap::value_parser!(u32).range(1..=i64::from(SESSIONS_MAX_LIMIT)))]
    sessions_max: u32,
}

/// What the answers to reads of Redis clients rest on.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum RespReads {
    /// The backup confirms each that this is still the primary; no clock is trusted
    #[default]
    Confirmed,
    /// The lease, and so that clocks run as they should
    Lease,
}

impl RespReads {
    fn consistency(self) -> Consistency {
        match self {
            Self::Confirmed => Consistency::Confirmed,
            Self::Lease => Consistency::Lease,
        }
    }
}

fn durability(text: &str) -> Result<Durability, &'static str> {
    text.parse()
}

/// HOST:PORT to listen on, where port 0 means any. Whether it is one of this machine's shows later.
pub(super) fn listen_address(text: &str) -> Result<String, &'static str> {
    let named = text
        .strip_suffix(":0")
        .map_or_else(|| text.to_owned(), |host| format!("{host}:1"));
    check_address(&named)
        .map(|()| text.to_owned())
        .map_err(|_| "write HOST:PORT, such as 127.0.0.1:7000; port 0 means any free one")
}

fn reached_address(text: &str) -> Result<String, &'static str> {
    check_address(text)
        .map(|()| text.to_owned())
        .map_err(|_| "write HOST:PORT, such as 192.0.2.1:7000")
}

fn lease_term(text: &str) -> Result<Duration, String> {
    let term = duration::parse(text).map_err(|error| error.to_string())?;
    let term = LeaseTerm::new(term).map_err(|error| error.to_string())?;
    Ok(term.duration())
}

/// Runs the view service until it is told to stop.
pub(crate) fn viewservice(args: ViewserviceArgs) -> u8 {
    let config = DaemonConfig {
        listen: args.listen,
        data: args.data,
        lease: args.lease,
        rebuild: args.rebuild,
        http: args.http.map(|listen| HttpConfig {
            listen,
            answer: |request, cluster| http::viewservice::answer(request, cluster),
            patience: http::LOOP_PATIENCE,
        }),
        on_ready: Box::new(|listening| {
            // First, so that whoever waits for the other line has both.
            if let Some(http) = listening.http {
                ready(&format!("http viewservice {http}"));
            }
            ready(&format!("ready viewservice {}", listening.address));
        }),
    };
    ended(daemon::run(config).map_err(|error| (EXIT_NO, error.to_string())))
}

/// Runs a replica of one of our machines, or of `M`, until it is told to stop.
pub(crate) fn replica<M: StateMachine>(args: ReplicaArgs) -> u8 {
    let parent = match ParentLink::find() {
        Ok(parent) => parent,
        Err(why) => return ended(Err((EXIT_NO, format!("cannot run a replica: {why}")))),
    };
    if parent.is_none() && !args.no_parent {
        match parent::run(args.viewservice.as_slice()) {
            Ok(status) => return status,
            Err(why) => log::warn!(
                "this replica runs without a parent process ({why}): if it is killed, a takeover waits \
                 for its lease to run out"
            ),
        }
    }
    let config = ReplicaConfig {
        advertise: args.advertise,
        replace: args.replace,
        parent,
        snapshots: SnapshotConfig {
            every: args.snapshot_every,
            ..SnapshotConfig::default()
        },
        segment_bytes: args.segment_bytes,
        keep_log: args.keep_log,
        http: args.http,
        busy_poll: Duration::from_micros(args.busy_poll),
        session_limits: SessionLimits::with_sessions_max(args.sessions_max),
        ..ReplicaConfig::new(
            args.name,
            args.listen,
            args.viewservice,
            args.data,
            args.durability,
        )
    };
    let name = config.name.clone();
    let on_ready = move |listening: Listening| {
        let Listening {
            address,
            resp,
            http,
        } = listening;
        // First, so that whoever waits for the last line has all.
        if let Some(http) = http {
            ready(&format!("http replica {name} {http}"));
        }
        if let Some(resp) = resp {
            ready(&format!("resp replica {name} {resp}"));
        }
        ready(&format!("ready replica {name} {address}"));
    };
    let resp = args.resp.map(|listen| RespConfig {
        listen,
        advertise: args.resp_advertise,
        password: args.resp_password.map(String::into_bytes),
        reads: args.resp_reads.consistency(),
    });
    let result = match (args.machine.as_str(), resp) {
        (KeyValue::NAME, Some(resp)) => replica::run_with_resp(&config, &resp, on_ready),
        (name, Some(_)) => {
            let why = format!(
                "cannot serve Redis clients: --resp goes with --machine {}, and not with {name}",
                KeyValue::NAME
            );
            return ended(Err((EXIT_MISUSED, why)));
        }
        (name, None) if name == M::NAME => replica::run::<M>(&config, on_ready),
        (Counter::NAME, None) => replica::run::<Counter>(&config, on_ready),
        (KeyValue::NAME, None) => replica::run::<KeyValue>(&config, on_ready),
        (name, None) => unreachable!("{name} is not among the names that may be given"),
    };
    ended(result.map_err(|error| (exit_status(&error), error.to_string())))
}

/// Says that it serves. That is so whether or not the line can be written.
pub(super) fn ready(line: &str) {
    if let Err(error) = output::write(format!("{line}\n"))
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        output::error(format_args!(
            "ready, but '{line}' cannot be written to standard output: {error}; check where the \
             output goes"
        ));
    }
}

fn exit_status(error: &ReplicaError) -> u8 {
    match error {
        ReplicaError::Unreachable { .. } => EXIT_MISUSED,
        _ => EXIT_NO,
    }
}

pub(super) fn ended(result: Result<(), (u8, String)>) -> u8 {
    match result {
        Ok(()) => 0,
        Err((status, error)) => {
            output::error(format_args!("{error}"));
            status
        }
    }
}

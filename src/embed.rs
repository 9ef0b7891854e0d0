//! A replica inside a program of one's own.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use standin_client::{AddressError, ViewServices};
use standin_core::identity::{Durability, ReplicaName};
use standin_core::machine::StateMachine;
use standin_core::session::SessionLimits;
use standin_core::time::Duration;
use standin_io::stop::Stop;

use crate::replica::{
    self, BUSY_POLL_MICROS, Listening, ReplicaConfig, ReplicaError, SESSIONS_MAX, SnapshotConfig,
};

/// A replica inside a program of one's own: [`Replica::builder`] says what it is to be, [`ReplicaBuilder::run`] runs it.
///
/// [`crate::cli::main_with`] is the shorter way to a program that is nothing else. Here the program has the command line, the
/// log (crate `log`) and the other threads to itself. Unlike `standin replica` it has no process beside it that tells
/// the view service at once if it dies: a takeover waits for its lease to run out.
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
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// standin::Replica::builder()
///     .machine::<Visits>()
///     .name("a")
///     .listen("127.0.0.1:7101")
///     .viewservice("127.0.0.1:7000")
///     .data("data/a")
///     .on_ready(|listening| println!("serving at {}", listening.address))
///     .run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Replica;

impl Replica {
    /// A replica of which nothing is said yet.
    #[must_use]
    pub fn builder() -> ReplicaBuilder<NoMachine> {
        ReplicaBuilder {
            name: None,
            listen: None,
            viewservice: None,
            data: None,
            advertise: None,
            durability: Durability::default(),
            snapshot_every: SnapshotConfig::default().every,
            keep_log: false,
            replace: false,
            takes_signals: true,
            http: None,
            busy_poll: Duration::from_micros(BUSY_POLL_MICROS),
            sessions_max: SESSIONS_MAX,
            stop: Stop::default(),
            on_ready: Box::new(|_| {}),
            machine: PhantomData,
        }
    }
}

/// The machine of a [`ReplicaBuilder`] that has not been told which one it is.
#[derive(Clone, Copy, Debug)]
pub struct NoMachine;

/// Why a replica was not run to its clean end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Something must be said that was not. Nothing was begun.
    #[error("a replica needs {what}: call {method} before run")]
    Missing {
        /// What.
        what: &'static str,
        /// What says it.
        method: &'static str,
    },
    /// The name is none. Nothing was begun.
    #[error("'{name}' is no name for a replica: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The view service's addresses are none. Nothing was begun.
    #[error(transparent)]
    ViewService(#[from] AddressError),
    /// It could not start, or could not go on.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
}

/// What a replica is to be. Made by [`Replica::builder`].
pub struct ReplicaBuilder<M> {
    name: Option<String>,
    listen: Option<String>,
    viewservice: Option<String>,
    data: Option<PathBuf>,
    advertise: Option<String>,
    durability: Durability,
    snapshot_every: u64,
    keep_log: bool,
    replace: bool,
    takes_signals: bool,
    http: Option<String>,
    busy_poll: Duration,
    sessions_max: u32,
    stop: Stop,
    on_ready: Box<dyn FnOnce(Listening) + Send>,
    machine: PhantomData<fn() -> M>,
}

impl<M> fmt::Debug for ReplicaBuilder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaBuilder")
            .field("name", &self.name)
            .field("listen", &self.listen)
            .field("viewservice", &self.viewservice)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl<M> ReplicaBuilder<M> {
    /// The state machine: a [`crate::Machine`] or a [`StateMachine`]. It begins as its `Default`, on each replica alike, so
    /// its type is all that is said.
    #[must_use]
    pub fn machine<N: StateMachine>(self) -> ReplicaBuilder<N> {
        ReplicaBuilder {
            name: self.name,
            listen: self.listen,
            viewservice: self.viewservice,
            data: self.data,
            advertise: self.advertise,
            durability: self.durability,
            snapshot_every: self.snapshot_every,
            keep_log: self.keep_log,
            replace: self.replace,
            takes_signals: self.takes_signals,
            http: self.http,
            busy_poll: self.busy_poll,
            sessions_max: self.sessions_max,
            stop: self.stop,
            on_ready: self.on_ready,
            machine: PhantomData,
        }
    }

    /// Its name, unique in the cluster. Needed.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Where it listens, HOST:PORT; port 0 means any. Needed.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// Where the view service is, HOST:PORT; several are separated by commas. Needed.
    #[must_use]
    pub fn viewservice(mut self, addresses: &str) -> Self {
        self.viewservice = Some(addresses.to_owned());
        self
    }

    /// Its data directory, which it makes if there is none. Needed.
    #[must_use]
    pub fn data(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data = Some(dir.into());
        self
    }

    /// Where others reach it, if that differs from where it listens.
    #[must_use]
    pub fn advertise(mut self, address: &str) -> Self {
        self.advertise = Some(address.to_owned());
        self
    }

    /// When a write counts as safe while it is primary; [`Durability::Os`] if nothing is said.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// A snapshot is taken after so many entries; 0: never.
    #[must_use]
    pub fn snapshot_every(mut self, entries: u64) -> Self {
        self.snapshot_every = entries;
        self
    }

    /// Keep the log that snapshots cover, for replay from the start.
    #[must_use]
    pub fn keep_log(mut self, keeps: bool) -> Self {
        self.keep_log = keeps;
        self
    }

    /// Take over the name of a replica whose data directory is lost.
    #[must_use]
    pub fn replace(mut self, replaces: bool) -> Self {
        self.replace = replaces;
        self
    }

    /// Whether SIGTERM, SIGINT and SIGHUP stop it, which they do if nothing is said. They are then blocked in the thread that
    /// calls [`ReplicaBuilder::run`], which must be the first to do so: a signal that finds another thread ends the process.
    #[must_use]
    pub fn takes_signals(mut self, takes: bool) -> Self {
        self.takes_signals = takes;
        self
    }

    /// Where it serves HTTP, `HOST:PORT`, port 0 for any free one: `/livez`, `/readyz`, `/primary`, `/backup`, `/replica`,
    /// `/status` and `/metrics`. Nowhere if nothing is said.
    #[must_use]
    pub fn http(mut self, address: &str) -> Self {
        self.http = Some(address.to_owned());
        self
    }

    /// How long it looks for something to do before each sleep while it is under load, which costs processor time and saves
    /// the time that it takes to be woken: 200 us if nothing is said, 10 ms at most, zero for never.
    #[must_use]
    pub fn busy_poll(mut self, most: Duration) -> Self {
        self.busy_poll = most;
        self
    }

    /// Most sessions of clients in the views that it leads: 100,000 if nothing is said, from 1 to 1,000,000; what is below or above
    /// counts as the nearest of them. To be the same at each replica: a takeover by one that allows fewer ends the sessions that
    /// were active longest ago.
    #[must_use]
    pub fn sessions_max(mut self, most: u32) -> Self {
        self.sessions_max = most;
        self
    }

    /// What asks it to stop: `run` then hands over to the backup, if it is primary, and returns. For one replica alone.
    #[must_use]
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Is called with the addresses that it listens on once the view service has accepted it.
    #[must_use]
    pub fn on_ready(mut self, call: impl FnOnce(Listening) + Send + 'static) -> Self {
        self.on_ready = Box::new(call);
        self
    }
}

impl<M: StateMachine> ReplicaBuilder<M> {
    /// Runs it on this thread until it is asked to stop or cannot go on.
    ///
    /// # Errors
    /// [`BuildError`] if something is missing or wrong, if it cannot start, or if its disk fails.
    pub fn run(self) -> Result<(), BuildError> {
        let needed = |value, what, method| {
            let missing = BuildError::Missing { what, method };
            Option::ok_or(value, missing)
        };
        let name = needed(self.name, "a name", "name")?;
        let listen = needed(self.listen, "an address to listen on", "listen")?;
        let viewservice = needed(
            self.viewservice,
            "the view service's address",
            "viewservice",
        )?;
        let missing = BuildError::Missing {
            what: "a data directory",
            method: "data",
        };
        let data = self.data.ok_or(missing)?;
        let name: ReplicaName = name.parse().map_err(|why| BuildError::Name {
            name: name.clone(),
            why: format!("{why}"),
        })?;
        let viewservice = ViewServices::parse(&viewservice)?;
        let config = ReplicaConfig {
            advertise: self.advertise,
            replace: self.replace,
            snapshots: SnapshotConfig {
                every: self.snapshot_every,
                ..SnapshotConfig::default()
            },
            keep_log: self.keep_log,
            takes_signals: self.takes_signals,
            http: self.http,
            busy_poll: self.busy_poll,
            session_limits: SessionLimits::with_sessions_max(self.sessions_max),
            stop: self.stop,
            ..ReplicaConfig::new(name, listen, viewservice, data, self.durability)
        };
        Ok(replica::run::<M>(&config, self.on_ready)?)
    }
}

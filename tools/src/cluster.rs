//! Real processes on loopback, to be broken on purpose: a view service and replicas, each with its own
//! data directory, killed, frozen and started again under the same address.
//!
//! A [`Cluster`] owns its processes: when it is dropped they are killed and reaped, and its directory
//! is removed unless it is to be kept. Should the process that owns it be killed itself, the kernel
//! kills the others ([`die_with_parent_if_asked`]), provided that the thread that started them lives
//! until then: the kernel takes the end of the *thread* for the end of the parent. Start processes
//! from the main thread, or from one that lives as long as the cluster does.

mod directory;
mod error;
mod family;
mod outline;
mod parent;
mod placement;
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use nix::sys::signal::Signal;
use standin_client::{AskError, ViewServices};
use standin_core::identity::Durability;
use standin_core::message::{InspectReply, StatusReply};
use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_io::signals::Signals;

pub(crate) use directory::Directory;
pub use error::ClusterError;
pub use family::{children_of, kill_family};
pub use outline::Outline;
pub use parent::{BoundExecArgs, PARENT_VARIABLE, bound_exec, die_with_parent_if_asked};
pub use placement::Placement;
pub(crate) use process::ready_address;
use process::{Process, ProcessConfig};

/// The name under which a cluster knows its view service; no replica may have it.
pub const VIEW_SERVICE: &str = "viewservice";
/// How long a process may take from its start to its `ready` line.
pub const READY_PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait before a condition is looked at again.
pub const POLL_PAUSE: Duration = Duration::from_millis(5);
/// How long one question may take.
const ASK_PATIENCE: Duration = Duration::from_secs(1);

/// What a cluster consists of.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The `standin` binary.
    pub program: PathBuf,
    /// The lease term that the view service grants.
    pub lease: Duration,
    /// The durability level of all replicas.
    pub durability: Durability,
    /// The state machine of all replicas, as `--machine` has it.
    pub machine: String,
    /// Whether replicas serve clients that speak RESP, each on a port of its own: see [`Cluster::resp_address`].
    pub serves_resp: bool,
    /// Whether all processes serve HTTP, each on a port of its own: see [`Cluster::http_address`].
    pub serves_http: bool,
    /// More arguments for each replica.
    pub replica_arguments: Vec<String>,
    /// Where the data directories and logs go, and stay. It must be empty, or not exist. `None`: a
    /// new directory for temporary files, which is removed in the end.
    pub keep: Option<PathBuf>,
    /// Where processes stand, by name; those that are not named, plainly on loopback.
    pub placements: BTreeMap<String, Placement>,
    /// Let the signals that ask a process to stop end every wait with [`ClusterError::Interrupted`]. They
    /// are then blocked in the calling thread for good, and it is the owner's part to heed them between
    /// waits.
    pub heeds_signals: bool,
}

impl ClusterConfig {
    /// A cluster of counters with a lease of one second, at the default durability level, in a
    /// temporary directory.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            lease: Duration::from_secs(1),
            durability: Durability::default(),
            machine: "counter".to_owned(),
            serves_resp: false,
            serves_http: false,
            replica_arguments: Vec::new(),
            keep: None,
            placements: BTreeMap::new(),
            heeds_signals: false,
        }
    }
}

/// A view service and replicas as processes of their own.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    /// All that were ever started, by name. Declared before the directory: they end before it goes.
    processes: BTreeMap<String, Process>,
    directory: Directory,
    /// What interrupts waits, if anything does.
    signals: Option<Signals>,
}

impl Cluster {
    /// A cluster in which nothing runs yet.
    ///
    /// # Errors
    /// [`ClusterError::NotEmpty`], [`ClusterError::File`] and [`ClusterError::Signals`].
    pub fn new(config: ClusterConfig) -> Result<Self, ClusterError> {
        let signals = config.heeds_signals.then(Signals::block).transpose();
        let signals = signals.map_err(ClusterError::Signals)?;
        let directory = match &config.keep {
            Some(path) => Directory::kept(path)?,
            None => Directory::temporary()?,
        };
        Ok(Self {
            config,
            processes: BTreeMap::new(),
            directory,
            signals,
        })
    }

    /// Starts a process, [`VIEW_SERVICE`] or a replica of that name, without waiting for it. One that
    /// ran before comes back at its address and with its data. The view service comes first, since
    /// the replicas must be told its address.
    ///
    /// # Errors
    /// [`ClusterError::Running`], [`ClusterError::Spawn`], [`ClusterError::File`]; and
    /// [`ClusterError::NoAddress`] for a replica if the view service has never been ready.
    pub fn spawn(&mut self, name: &str) -> Result<(), ClusterError> {
        self.spawn_with(name, &[])
    }

    /// The same, with arguments for this one life.
    ///
    /// # Errors
    /// Those of [`Cluster::spawn`].
    pub fn spawn_with(&mut self, name: &str, more: &[&str]) -> Result<(), ClusterError> {
        let placement = self.config.placements.get(name).cloned();
        let placement = placement.unwrap_or_default();
        let view_service = match name {
            VIEW_SERVICE => "",
            _ => self.address(VIEW_SERVICE)?,
        };
        let arguments = placement::arguments(&self.config, name, &placement, view_service);
        let process = self.processes.entry(name.to_owned()).or_insert_with(|| {
            Process::new(ProcessConfig {
                name: name.to_owned(),
                program: self.config.program.clone(),
                arguments,
                placement,
                serves_resp: self.config.serves_resp && name != VIEW_SERVICE,
                serves_http: self.config.serves_http,
                directory: self.directory.path().to_owned(),
            })
        });
        process.spawn(more)
    }

    /// From its next life on a process is started with one more argument. One that was never started is left alone.
    pub fn add_argument(&mut self, name: &str, argument: &str) {
        if let Some(process) = self.processes.get_mut(name) {
            process.add_argument(argument);
        }
    }

    /// From its next life on a process runs another program. One that was never started is left alone.
    pub fn set_program(&mut self, name: &str, program: &Path) {
        if let Some(process) = self.processes.get_mut(name) {
            process.set_program(program);
        }
    }

    /// Whether a process that was started has said that it is ready.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`], [`ClusterError::Ended`] and [`ClusterError::File`].
    pub fn is_ready(&mut self, name: &str) -> Result<bool, ClusterError> {
        self.process(name)?.is_ready()
    }

    /// Starts a process and waits until it is ready.
    ///
    /// # Errors
    /// Those of [`Cluster::spawn`] and [`Cluster::is_ready`], and [`ClusterError::InVain`] after
    /// [`READY_PATIENCE`].
    pub fn start(&mut self, name: &str) -> Result<(), ClusterError> {
        self.spawn(name)?;
        let end = after(READY_PATIENCE);
        while !self.is_ready(name)? {
            if clock::boot() >= end {
                return Err(ClusterError::InVain {
                    what: format!("{name} to be ready"),
                    waited: READY_PATIENCE,
                    seen: self.process(name)?.last_words(),
                });
            }
            self.wait_a_little()?;
        }
        Ok(())
    }

    /// Starts the view service and then each of `replicas`, waiting for each.
    ///
    /// # Errors
    /// Those of [`Cluster::start`].
    pub fn start_all(&mut self, replicas: &[&str]) -> Result<(), ClusterError> {
        self.start(VIEW_SERVICE)?;
        replicas.iter().try_for_each(|name| self.start(name))
    }

    /// Pulls the plug: kills all processes of a party at once (SIGKILL), frozen or not. When this returns,
    /// they are dead.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`] and [`ClusterError::Control`].
    pub fn kill(&mut self, name: &str) -> Result<(), ClusterError> {
        self.kill_together(&[name])
    }

    /// Kills several processes as a power failure would: all are signalled before the first is
    /// reaped.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`] and [`ClusterError::Control`].
    pub fn kill_together(&mut self, names: &[&str]) -> Result<(), ClusterError> {
        for name in names {
            self.process(name)?.kill()?;
        }
        names.iter().try_for_each(|name| self.process(name)?.reap())
    }

    /// Kills the process that serves (SIGKILL) and leaves its parent alone, which sees it and ends then.
    /// Waits for neither.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`] and [`ClusterError::Control`].
    pub fn kill_serving(&mut self, name: &str) -> Result<(), ClusterError> {
        self.process(name)?.signal_serving(Signal::SIGKILL, "kill")
    }

    /// Kills a process if it still runs, starts it again and waits until it is ready.
    ///
    /// # Errors
    /// Those of [`Cluster::kill`] and [`Cluster::start`].
    pub fn restart(&mut self, name: &str) -> Result<(), ClusterError> {
        if self.process(name)?.is_running()? {
            self.kill(name)?;
        }
        self.start(name)
    }

    /// Freezes the process that serves (SIGSTOP): it keeps its sockets and its memory and does nothing.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`] and [`ClusterError::Control`].
    pub fn pause(&mut self, name: &str) -> Result<(), ClusterError> {
        self.process(name)?
            .signal_serving(Signal::SIGSTOP, "freeze")
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`] and [`ClusterError::Control`].
    pub fn resume(&mut self, name: &str) -> Result<(), ClusterError> {
        self.process(name)?
            .signal_serving(Signal::SIGCONT, "resume")
    }

    /// Asks a process to stop cleanly (SIGTERM), without waiting for it.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`] and [`ClusterError::Control`].
    pub fn terminate(&mut self, name: &str) -> Result<(), ClusterError> {
        self.process(name)?.signal(Signal::SIGTERM, "stop")
    }

    /// Waits for a process to end.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`], [`ClusterError::Control`], and [`ClusterError::InVain`] if it
    /// still runs after `patience`.
    pub fn wait(&mut self, name: &str, patience: Duration) -> Result<ExitStatus, ClusterError> {
        let end = after(patience);
        loop {
            if let Some(status) = self.process(name)?.exit_status()? {
                return Ok(status);
            }
            if clock::boot() >= end {
                return Err(ClusterError::InVain {
                    what: format!("{name} to end"),
                    waited: patience,
                    seen: self.process(name)?.last_words(),
                });
            }
            self.wait_a_little()?;
        }
    }

    /// Whether a process runs: it was started, and has not ended. A frozen one runs.
    #[must_use]
    pub fn is_running(&mut self, name: &str) -> bool {
        let process = self.processes.get_mut(name);
        process.is_some_and(|process| process.is_running().unwrap_or(false))
    }

    /// Finds a process that has ended although it was neither killed nor asked to stop here.
    ///
    /// # Errors
    /// [`ClusterError::Ended`] if there is one, [`ClusterError::Control`].
    pub fn check(&mut self) -> Result<(), ClusterError> {
        self.processes.values_mut().try_for_each(Process::check)
    }

    /// Says whether a process may end by itself from now on, in this life: [`Cluster::check`] does not find it then.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`] if it was never started.
    pub fn let_end(&mut self, name: &str, may_end: bool) -> Result<(), ClusterError> {
        self.process(name)?.set_may_end(may_end);
        Ok(())
    }

    /// Where a process listens, `HOST:PORT`: the same in all its lives.
    ///
    /// # Errors
    /// [`ClusterError::NoAddress`] if it has never been ready.
    pub fn address(&self, name: &str) -> Result<&str, ClusterError> {
        let address = self.processes.get(name).and_then(Process::address);
        address.ok_or_else(|| ClusterError::NoAddress {
            name: name.to_owned(),
        })
    }

    /// Where a replica serves clients that speak RESP.
    ///
    /// # Errors
    /// [`ClusterError::NoAddress`] if it does not, or has never been ready.
    pub fn resp_address(&self, name: &str) -> Result<&str, ClusterError> {
        let address = self.processes.get(name).and_then(Process::resp_address);
        address.ok_or_else(|| ClusterError::NoAddress {
            name: name.to_owned(),
        })
    }

    /// Where a process serves HTTP.
    ///
    /// # Errors
    /// [`ClusterError::NoAddress`] if it does not, or has never been ready.
    pub fn http_address(&self, name: &str) -> Result<&str, ClusterError> {
        let address = self.processes.get(name).and_then(Process::http_address);
        address.ok_or_else(|| ClusterError::NoAddress {
            name: name.to_owned(),
        })
    }

    /// The view service's address, as clients need it.
    ///
    /// # Errors
    /// [`ClusterError::NoAddress`] if it has never been ready.
    pub fn view_services(&self) -> Result<ViewServices, ClusterError> {
        let address = self.address(VIEW_SERVICE)?;
        Ok(ViewServices::parse(address).map_err(AskError::from)?)
    }

    /// The id of the process that serves, while it has not been reaped; until it has begun, that of its
    /// parent.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.processes.get(name).and_then(Process::serving_pid)
    }

    /// The view service's account of all replicas.
    ///
    /// # Errors
    /// [`ClusterError::NoAddress`] and [`ClusterError::Ask`], the latter after a second.
    pub fn status(&self) -> Result<StatusReply, ClusterError> {
        Ok(standin_client::status(
            &self.view_services()?,
            ASK_PATIENCE,
        )?)
    }

    /// A replica's own account of itself.
    ///
    /// # Errors
    /// [`ClusterError::NoAddress`] and [`ClusterError::Ask`], the latter after a second.
    pub fn inspect(&self, name: &str) -> Result<InspectReply, ClusterError> {
        Ok(standin_client::inspect(self.address(name)?, ASK_PATIENCE)?)
    }

    /// Asks for the status until `condition` holds of it, and returns it. A view service that does
    /// not answer is asked again.
    ///
    /// # Errors
    /// [`ClusterError::InVain`] if `patience` is over before, with `what` and the last status.
    pub fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        mut condition: impl FnMut(&StatusReply) -> bool,
    ) -> Result<StatusReply, ClusterError> {
        let end = after(patience);
        loop {
            let status = self.status();
            if let Ok(status) = &status
                && condition(status)
            {
                return Ok(status.clone());
            }
            if clock::boot() >= end {
                return Err(ClusterError::InVain {
                    what: what.to_owned(),
                    waited: patience,
                    seen: match &status {
                        Ok(status) => Outline(status).to_string(),
                        Err(error) => error.to_string(),
                    },
                });
            }
            self.wait_a_little()?;
        }
    }

    /// Waits until there is an active primary, with a backup or without.
    ///
    /// # Errors
    /// [`ClusterError::InVain`].
    pub fn wait_for_primary(&self, patience: Duration) -> Result<StatusReply, ClusterError> {
        self.wait_for("a primary", patience, |status| {
            let record = status.record.as_ref();
            record.is_some_and(|record| record.active)
        })
    }

    /// Waits until a primary serves and has a backup.
    ///
    /// # Errors
    /// [`ClusterError::InVain`].
    pub fn wait_for_pair(&self, patience: Duration) -> Result<StatusReply, ClusterError> {
        self.wait_for("a primary with a backup", patience, |status| {
            let record = status.record.as_ref();
            record.is_some_and(|record| record.active && record.backup.is_some())
        })
    }

    /// Where everything is kept: `NAME/` is a process's data directory, `NAME.log` its log.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file with the log (standard error) of all lives of a process.
    #[must_use]
    pub fn log_path(&self, name: &str) -> PathBuf {
        process::log_path(self.directory.path(), name)
    }

    /// The names of all processes that were ever started, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.processes.keys().map(String::as_str)
    }

    /// The last lines of a process's log, in one line.
    #[must_use]
    pub fn last_words(&self, name: &str) -> String {
        self.processes
            .get(name)
            .map(Process::last_words)
            .unwrap_or_default()
    }

    /// Lets a little time pass before a condition is looked at again.
    fn wait_a_little(&self) -> Result<(), ClusterError> {
        pause();
        let signals = self.signals.as_ref();
        match signals.map_or(Ok(None), Signals::next) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(ClusterError::Interrupted),
            Err(source) => Err(ClusterError::Signals(source)),
        }
    }

    fn process(&mut self, name: &str) -> Result<&mut Process, ClusterError> {
        let process = self.processes.get_mut(name);
        process.ok_or_else(|| ClusterError::NotRunning {
            name: name.to_owned(),
        })
    }
}

/// Lets a little time pass before a condition is looked at again.
pub(crate) fn pause() {
    std::thread::sleep(POLL_PAUSE);
}

/// The moment `patience` from now.
pub(crate) fn after(patience: Duration) -> Instant {
    clock::boot().plus(patience)
}

//! The process that hosts one replica: its event loop, its disk, its sockets.
//!
//! [`run`] owns what `standin_replica::Replica` decides about. It polls, turns readiness into events,
//! carries out actions, and decides nothing about the protocol itself.

mod host;
mod http;
mod images;
mod intake;
mod last_words;
mod panics;
pub mod parent;
mod repair;
mod resp;
mod start;
mod will;

use std::path::PathBuf;

use standin_client::ViewServices;
use standin_core::identity::{Durability, ReplicaName};
use standin_core::machine::VersionRange;
use standin_core::message::{Party, Refusal};
use standin_core::session::SessionLimits;
use standin_core::time::Duration;
use standin_io::data_dir::{DataDir, DataDirError};
use standin_io::install::InstallError;
use standin_io::log::{LogError, SEGMENT_BYTES};
use standin_io::snapshots::SnapshotsError;
use standin_io::stop::Stop;
use standin_io::storage::is_want_of_room;

pub use resp::RespConfig;
pub use standin_core::session::{SESSIONS_MAX, SESSIONS_MAX_LIMIT};
pub use standin_io::net::{BUSY_POLL_MICROS, BUSY_POLL_MICROS_MAX};
pub use standin_replica::SnapshotConfig;
pub use start::{Listening, run, run_with_resp};
pub use will::ParentLink;

/// How a replica is to run.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// Its name.
    pub name: ReplicaName,
    /// Where it listens, `HOST:PORT`; port 0 means any.
    pub listen: String,
    /// Where others reach it, if that differs from where it listens.
    pub advertise: Option<String>,
    /// Addresses of the view service, tried in turn.
    pub viewservice: ViewServices,
    /// Its data directory.
    pub data: PathBuf,
    /// The durability level when it is primary.
    pub durability: Durability,
    /// The limits of sessions in the views that it leads. [`SESSIONS_MAX_LIMIT`] sessions at most, and more counts as that; 0 counts
    /// as 1.
    pub session_limits: SessionLimits,
    /// Length to which log segments are preallocated, in bytes.
    pub segment_bytes: u64,
    /// Take over the name of a replica whose data directory is lost.
    pub replace: bool,
    /// The process that waits for the end of this one, to tell the view service of it, if there is one.
    pub parent: Option<ParentLink>,
    /// When snapshots are taken.
    pub snapshots: SnapshotConfig,
    /// Keep the log that snapshots cover, for replay from the start.
    pub keep_log: bool,
    /// Take over SIGTERM, SIGINT and SIGHUP, to stop when one comes. They must not have other threads to go to: see
    /// [`standin_io::signals::Signals::block`].
    pub takes_signals: bool,
    /// Where HTTP is served, `HOST:PORT`, if it is; port 0 means any.
    pub http: Option<String>,
    /// How long to look for something to do before each sleep, while there is much: see [`BUSY_POLL_MICROS`]; [`BUSY_POLL_MICROS_MAX`] at
    /// most, and more counts as that.
    pub busy_poll: Duration,
    /// What asks this replica to stop from within its process.
    pub stop: Stop,
}

impl ReplicaConfig {
    /// A replica with the default limits.
    #[must_use]
    pub fn new(
        name: ReplicaName,
        listen: String,
        viewservice: ViewServices,
        data: PathBuf,
        durability: Durability,
    ) -> Self {
        Self {
            name,
            listen,
            advertise: None,
            viewservice,
            data,
            durability,
            session_limits: SessionLimits::default(),
            segment_bytes: SEGMENT_BYTES,
            replace: false,
            parent: None,
            snapshots: SnapshotConfig::default(),
            keep_log: false,
            takes_signals: true,
            http: None,
            busy_poll: Duration::from_micros(BUSY_POLL_MICROS),
            stop: Stop::default(),
        }
    }
}

/// Why a replica's process ended, or never began.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another {flag} address")]
    Listen {
        /// The address.
        address: String,
        /// What names it.
        flag: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Others could not reach an address that means all of a machine's. Nothing was touched.
    #[error(
        "cannot tell others to reach this replica at {address}: name a reachable address with \
         {flag} HOST:PORT"
    )]
    Unreachable {
        /// The address that they would be told.
        address: String,
        /// What names another one.
        flag: &'static str,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log cannot be used or can no longer be written. The first such failure is final.
    #[error(
        "{0}; this replica stops, so that nothing is acknowledged that the disk does not have{advice}",
        advice = advice(.0.is_want_of_room())
    )]
    Log(#[from] LogError),
    /// The snapshots cannot be used, or the disk failed under them. The first such failure is final.
    #[error("the snapshots cannot be used: {0}; this replica stops")]
    Snapshots(#[from] SnapshotsError),
    /// A snapshot is whole, and the machine does not take the state in it.
    #[error(
        "the state in {file} cannot be restored: {source}; run the version of the machine that wrote it"
    )]
    Restore {
        /// The snapshot file.
        file: PathBuf,
        /// What the machine said.
        source: std::io::Error,
    },
    /// Entries of the log are executed by a version of the machine that this program does not support. Nothing was done but
    /// what each start does: a torn end is cut, an installation that was begun is finished.
    #[error(
        "cannot use data directory {}: entries of its log are executed by version {executing} of the machine, and this \
         program supports {supported}; start a program that supports version {executing}, or choose another --data",
        path.display()
    )]
    MachineVersion {
        /// The directory.
        path: PathBuf,
        /// The version.
        executing: u32,
        /// What this program supports.
        supported: VersionRange,
    },
    /// The data directory can no longer be written. The first such failure is final.
    #[error(
        "cannot go on: {doing}: {source}; this replica stops{}",
        advice(is_want_of_room(source))
    )]
    Meta {
        /// What was attempted.
        doing: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The disk failed, and not even that could be written down.
    #[error(
        "{failure}; that the disk failed could not be noted in the data directory: {source}; reboot \
         the machine before this replica is started again, or it may pass for having what the disk lost"
    )]
    Unnoted {
        /// The failure.
        failure: Box<ReplicaError>,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// What is said to be the view service is not.
    #[error(
        "cannot join a cluster: {address} is a {}, not a view service; give --viewservice the view \
         service's address",
        party.words()
    )]
    NoViewService {
        /// The address.
        address: String,
        /// What it is.
        party: Party,
    },
    /// The disk failed, which could not be written down, so the view service keeps it.
    #[error(
        "{failure}; that the disk failed could not be noted in the data directory: {source}; the view \
         service keeps it, so this replica can be started again"
    )]
    Told {
        /// The failure.
        failure: Box<ReplicaError>,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The view service refuses this replica for good.
    #[error("the view service at {address} refuses this replica: {refusal}; {advice}")]
    Refused {
        /// The view service's address.
        address: String,
        /// What it said.
        refusal: Refusal,
        /// What to do about it.
        advice: &'static str,
    },
    /// The operating system refused something that a replica cannot do without.
    #[error("cannot go on: {doing}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// What to do about a disk that is full.
fn advice(is_full: bool) -> &'static str {
    if is_full {
        "; make room on the disk of its data directory and start it again"
    } else {
        ""
    }
}

impl From<InstallError> for ReplicaError {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Log(error) => error.into(),
            InstallError::Snapshots(error) => error.into(),
        }
    }
}

impl ReplicaError {
    /// Notes in the data directory that the disk failed, if this says so.
    pub(crate) fn noted(self, dir: &mut DataDir) -> Self {
        if !self.may_have_lost_writes() {
            return self;
        }
        match dir.note_disk_failure() {
            Ok(()) => self,
            Err(source) => Self::Unnoted {
                failure: Box::new(self),
                source,
            },
        }
    }

    /// Whether what was written before, and not synced, may be gone with this failure.
    pub(crate) fn may_have_lost_writes(&self) -> bool {
        match self {
            Self::Log(error) => error.may_have_lost_writes(),
            Self::Snapshots(error) => error.may_have_lost_writes(),
            Self::Meta { source, .. } => !is_want_of_room(source),
            // The disk failed under an earlier process, which could not note it.
            Self::Refused { refusal, .. } => *refusal == Refusal::TokenDead,
            _ => false,
        }
    }

    /// Whether the disk does not do what a replica needs of it, so that this process ends.
    pub(crate) fn is_of_disk(&self) -> bool {
        matches!(self, Self::Log(_) | Self::Meta { .. } | Self::Snapshots(_))
    }

    pub(crate) fn meta(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Meta { doing, source }
    }

    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

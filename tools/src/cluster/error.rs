//! What can go wrong with a cluster.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use standin_client::AskError;
use standin_core::time::Duration;

/// Why something could not be done to a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The directory to be kept has something in it.
    #[error("{} is not empty; name a directory that is empty or does not exist", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A directory or file cannot be made or read.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The directory or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The binary cannot be started.
    #[error("cannot start {name} with {}: {source}", program.display())]
    Spawn {
        /// Which process.
        name: String,
        /// The binary.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A process ended although nobody asked it to.
    #[error("{name} ended by itself ({status}); its last words: {words}")]
    Ended {
        /// Which process.
        name: String,
        /// How.
        status: ExitStatus,
        /// The end of its log.
        words: String,
    },
    /// No process of that name runs.
    #[error("{name} does not run")]
    NotRunning {
        /// The name.
        name: String,
    },
    /// A process of that name runs already.
    #[error("{name} runs already")]
    Running {
        /// The name.
        name: String,
    },
    /// A process has never been ready, so its address is not known.
    #[error("{name} has not been started yet")]
    NoAddress {
        /// The name.
        name: String,
    },
    /// The operating system refused to signal or to wait for a process.
    #[error("cannot {doing} {name}: {source}")]
    Control {
        /// What was attempted.
        doing: &'static str,
        /// Which process.
        name: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A condition did not come true in time.
    #[error("waited {waited:?} in vain for {what}; the last that was seen: {seen}")]
    InVain {
        /// The condition, in words.
        what: String,
        /// How long.
        waited: Duration,
        /// The last account of the cluster, in words.
        seen: String,
    },
    /// This process was told to stop.
    #[error("interrupted")]
    Interrupted,
    /// Signals cannot be waited for.
    #[error("cannot look for signals: {0}")]
    Signals(#[source] io::Error),
    /// A question has no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
}

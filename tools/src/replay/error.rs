//! Why a state cannot be made again, and where it comes to be another.

use std::path::PathBuf;

use standin_core::entry::Index;
use standin_core::machine::{MachineId, VersionRange};
use standin_core::poison::MachineFault;
use standin_io::evidence::EvidenceFileError;
use standin_io::log::ReadError;
use standin_io::snapshots::SnapshotsError;

/// Why a state cannot be made again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotsError),
    /// Evidence cannot be read.
    #[error(transparent)]
    Evidence(#[from] EvidenceFileError),
    /// The log is another machine's.
    #[error("the log is of {found}, and what should replay it is {expected}")]
    OtherMachine {
        /// What should replay it.
        expected: MachineId,
        /// Whose log it is.
        found: MachineId,
    },
    /// The beginning is missing.
    #[error(
        "the log begins at entry {first}, and there is no whole snapshot to begin with: {why}; a replica with --keep-log keeps all of its log"
    )]
    NoBeginning {
        /// The log's first entry.
        first: Index,
        /// What there is instead of a snapshot.
        why: String,
    },
    /// The state at that entry cannot be made any more.
    #[error(
        "entry {until} comes before what there is: the oldest whole snapshot is of entry {from}; a replica with --keep-log keeps all of its log"
    )]
    TooEarly {
        /// What was asked for.
        until: Index,
        /// The first entry whose state can be made.
        from: Index,
    },
    /// The log is shorter.
    #[error("entry {until} is not there: the log ends at entry {last}")]
    TooLate {
        /// What was asked for.
        until: Index,
        /// The log's last entry.
        last: Index,
    },
    /// The machine fails at an entry.
    #[error("the machine fails at entry {}: {}; nothing in its directory says that it was skipped", .0.skip.index, .0.words)]
    Fault(MachineFault),
    /// The program does not have the version of the machine that executes an entry.
    #[error(
        "entry {index} is executed by version {version} of the machine, and this program supports {supported}"
    )]
    LacksVersion {
        /// The entry.
        index: Index,
        /// The version.
        version: u32,
        /// What this program supports.
        supported: VersionRange,
    },
    /// A snapshot's state cannot be read.
    #[error("{file} is whole, but the machine cannot read the state in it: {source}")]
    Unreadable {
        /// The snapshot.
        file: PathBuf,
        /// What the machine says.
        source: std::io::Error,
    },
    /// What was recorded is not what the replay comes to.
    #[error("{0}")]
    Differs(Difference),
}

impl ReplayError {
    /// Whether something was there a moment ago and is not any more.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Log(error) => matches!(error, ReadError::Gone(_)),
            Self::Snapshot(SnapshotsError::Io { source, .. }) => {
                source.kind() == std::io::ErrorKind::NotFound
            }
            _ => false,
        }
    }
}

/// A digest that was recorded, and that the replay does not come to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {what} of entry {index} is {found:032x}, and {file} recorded {recorded:032x}: what was applied after entry {agreed} went another way when it was recorded"
)]
pub struct Difference {
    /// Which digest.
    pub what: &'static str,
    /// After which entry.
    pub index: Index,
    /// Where it was recorded.
    pub file: PathBuf,
    /// What was recorded.
    pub recorded: u128,
    /// What the replay comes to.
    pub found: u128,
    /// The last entry at which all was as it was recorded; or that the replay began after.
    pub agreed: Index,
}

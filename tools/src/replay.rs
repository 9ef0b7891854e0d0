//! A state made again from what a replica has on its disk: its log, from the first entry on or from a snapshot.
//!
//! Nothing is changed, no lock is taken, and the replica may run. In memory is the state, and a window of the log.

use std::path::{Path, PathBuf};

use standin_core::digest::DigestChain;
use standin_core::entry::Index;
use standin_core::machine::{MachineId, StateMachine};
use standin_core::poison::MachineFault;
use standin_core::snapshot::SnapshotHeader;
use standin_core::state::Replicated;
use standin_core::view::ViewNumber;
use standin_io::log::{LogReader, ReadError, Unfinished};
use standin_io::snapshots::{SnapshotFile, SnapshotIds, SnapshotsError, all_in};

/// How often it is told how far a replay has come: once in so many entries.
const TOLD_EVERY: u64 = 100_000;

/// How often a replay is begun, if a replica that runs lets go of what it was about to read.
const ATTEMPTS_MAX: usize = 10;

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
    #[error("the machine fails at entry {}: {}; the log does not say that it was skipped", .0.skip.index, .0.words)]
    Fault(MachineFault),
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
    fn is_gone(&self) -> bool {
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

/// What is asked of a replay.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayOptions {
    /// The last entry to be applied; `None`: all there are.
    pub until: Option<Index>,
    /// All digests that were recorded on the way are held against the replay's.
    pub verifies: bool,
}

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed<M> {
    /// The state.
    pub state: Replicated<M>,
    /// What it began after: zero, or the entry of a snapshot.
    pub from: Index,
    /// The view of the last entry.
    pub view: ViewNumber,
    /// Recorded digests that were compared, and agreed: of states and of replies.
    pub verified: u64,
    /// What stands behind the log's last entry.
    pub unfinished: Option<Unfinished>,
}

/// Makes the state again from the data directory `dir`. `tell` hears from time to time which entry was applied, and what
/// part of the log's bytes was read, in percent.
///
/// # Errors
/// [`ReplayError`].
pub fn replay<M: StateMachine>(
    dir: &Path,
    options: ReplayOptions,
    tell: &mut dyn FnMut(Index, u64),
) -> Result<Replayed<M>, ReplayError> {
    for _ in 1..ATTEMPTS_MAX {
        match replay_once(dir, options, tell) {
            Err(error) if error.is_gone() => {}
            outcome => return outcome,
        }
    }
    replay_once(dir, options, tell)
}

fn replay_once<M: StateMachine>(
    dir: &Path,
    options: ReplayOptions,
    tell: &mut dyn FnMut(Index, u64),
) -> Result<Replayed<M>, ReplayError> {
    let mut reader = LogReader::open(dir)?;
    let header = reader.header();
    let expected = MachineId::of::<M>();
    if header.machine != expected {
        return Err(ReplayError::OtherMachine {
            expected,
            found: header.machine.clone(),
        });
    }
    let ids = SnapshotIds {
        cluster: header.cluster,
        machine: header.machine.clone(),
    };
    let (snapshots, damaged) = all_in(dir, &ids)?;
    let mut state = begin::<M>(&reader, &snapshots, &damaged)?;
    let from = state.applied();
    if let Some(until) = options.until.filter(|until| *until < from) {
        return Err(ReplayError::TooEarly { until, from });
    }
    for skip in reader.skips()? {
        state.skip(skip);
    }
    let recorded = snapshots.iter().filter(|_| options.verifies);
    let mut recorded = recorded
        .filter(|it| it.header().point.tip.index >= from)
        .peekable();
    let mut replayed = Replayed {
        view: reader.tip().view,
        state,
        from,
        verified: 0,
        unfinished: None,
    };
    let mut agreed = from;
    reader.go_near(from.next())?;
    let mut reply = Vec::new();
    loop {
        let applied = replayed.state.applied();
        while let Some(file) = recorded.next_if(|it| it.header().point.tip.index <= applied) {
            replayed.verified += compare(&replayed.state, file, agreed)?;
            agreed = applied;
        }
        if options.until == Some(applied) {
            return Ok(replayed);
        }
        let Some(entry) = reader.next_entry()? else {
            break;
        };
        if entry.header.index <= applied {
            continue;
        }
        reply.clear();
        let done = replayed.state.apply(&entry, &mut reply);
        done.map_err(ReplayError::Fault)?;
        replayed.view = entry.header.view;
        let index = entry.header.index;
        if index.0.is_multiple_of(TOLD_EVERY) {
            let (read, all) = reader.position();
            tell(index, read * 100 / all.max(1));
        }
    }
    if let Some(until) = options.until {
        let last = replayed.state.applied();
        return Err(ReplayError::TooLate { until, last });
    }
    replayed.unfinished = reader.unfinished().cloned();
    Ok(replayed)
}

/// The state before the log's first entry, or that of the oldest snapshot from which the log goes on.
fn begin<M: StateMachine>(
    reader: &LogReader,
    snapshots: &[SnapshotFile],
    damaged: &[SnapshotsError],
) -> Result<Replicated<M>, ReplayError> {
    let before = reader.tip().index;
    if before == Index::ZERO {
        return Ok(Replicated::default());
    }
    let mut why = match damaged.last() {
        Some(error) => error.to_string(),
        None => "there is none that it goes on from".to_owned(),
    };
    let usable = snapshots
        .iter()
        .filter(|it| it.header().point.tip.index >= before);
    for file in usable {
        match file.verify() {
            Ok(()) => return restore(file),
            Err(error @ SnapshotsError::Unsound { .. }) => why = error.to_string(),
            Err(error) => return Err(error.into()),
        }
    }
    let first = before.next();
    Err(ReplayError::NoBeginning { first, why })
}

fn restore<M: StateMachine>(file: &SnapshotFile) -> Result<Replicated<M>, ReplayError> {
    let unreadable = |source| ReplayError::Unreadable {
        file: file.path().to_owned(),
        source,
    };
    let point = &file.header().point;
    let digest = DigestChain(point.reply_digest.0);
    let mut input = file.state().map_err(unreadable)?;
    Replicated::restore(&mut input, point.tip.index, digest).map_err(unreadable)
}

/// Holds the state against what a snapshot recorded of the same entry; how much of it was compared.
fn compare<M: StateMachine>(
    state: &Replicated<M>,
    file: &SnapshotFile,
    agreed: Index,
) -> Result<u64, ReplayError> {
    let SnapshotHeader {
        point,
        state_digest,
        ..
    } = file.header();
    let pairs = [
        (
            "chain over all replies",
            point.reply_digest.0,
            state.reply_digest().0,
        ),
        ("state's digest", *state_digest, state.state_digest()),
    ];
    for (what, recorded, found) in pairs {
        if recorded != found {
            return Err(ReplayError::Differs(Difference {
                what,
                index: point.tip.index,
                file: file.path().to_owned(),
                recorded,
                found,
                agreed,
            }));
        }
    }
    Ok(pairs.len() as u64)
}

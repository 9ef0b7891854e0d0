//! A state made again from what a replica has on its disk: its log, from the first entry on or from a snapshot.
//!
//! Nothing is changed, no lock is taken, and the replica may run. In memory is the state, and a window of the log.

mod begin;
pub mod children;
pub mod diff;
mod error;
pub mod logs;
mod records;
pub mod run;
pub mod search;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use standin_core::entry::{Entry, Index, LogTip};
use standin_core::evidence::Evidence;
use standin_core::machine::{MachineId, StateMachine};
use standin_core::mark::ApplyMark;
use standin_core::message::ReplyStatus;
use standin_core::poison::Skip;
use standin_core::state::Replicated;
use standin_core::view::ViewNumber;
use standin_io::evidence::evidence_in;
use standin_io::log::{LogReader, Unfinished};
use standin_io::snapshots::{SnapshotFile, SnapshotIds, SnapshotsError, all_in};
use standin_io::storage::{OsStorage, Storage};

use begin::{begin, begin_at};
pub use error::{Difference, ReplayError};
use logs::skips_in;

/// How often it is told how far a replay has come: once in so many entries.
const TOLD_EVERY: u64 = 100_000;

/// How often a replay is begun, if a replica that runs lets go of what it was about to read.
const ATTEMPTS_MAX: usize = 10;

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
    let mut replay = Replay::open(dir, options.verifies)?;
    replay.run(options.until, tell)?;
    Ok(replay.into_replayed())
}

/// A replay, entry by entry.
///
/// While a replica writes the log it may let go of what is about to be read: an error of [`Replay::open`] or
/// [`Replay::advance`] can then be another one the next time. [`replay`] tries again by itself.
#[derive(Debug)]
pub struct Replay<M, S: Storage = OsStorage> {
    /// Has read just what was applied.
    reader: LogReader<S>,
    state: Replicated<M>,
    from: Index,
    /// The version of the machine in the log's oldest header.
    begins_with: u32,
    /// Of the last entry.
    view: ViewNumber,
    /// Snapshots whose digests are still to be compared, by their entries.
    recorded: VecDeque<SnapshotFile<S>>,
    /// The last entry at which all was as it was recorded; or `from`.
    agreed: Index,
    verified: u64,
    /// Replies that the replica remembered when another's were found to differ, and from which it has compared some.
    evidence: Vec<Evidence>,
    /// To the last entry; used again for each, so that nothing is allocated for one.
    reply: Vec<u8>,
}

/// The log of the data directory `dir`, its snapshots, and what is wrong with others. All are of the machine `M`.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn sources<M: StateMachine, S: Storage>(
    storage: &S,
    dir: &Path,
) -> Result<(LogReader<S>, Vec<SnapshotFile<S>>, Vec<SnapshotsError>), ReplayError> {
    let reader = LogReader::open_in(storage.clone(), dir)?;
    let header = reader.header();
    let expected = MachineId::of::<M>();
    if header.machine.name() != expected.name() {
        return Err(ReplayError::OtherMachine {
            expected,
            found: header.machine.clone(),
        });
    }
    let ids = SnapshotIds {
        cluster: header.cluster,
        machine: header.machine.clone(),
    };
    let (snapshots, damaged) = all_in(storage.clone(), dir, &ids)?;
    Ok((reader, snapshots, damaged))
}

/// An entry that was applied.
#[derive(Debug)]
pub struct Step<'a> {
    /// The entry.
    pub entry: Entry<'a>,
    /// How it went.
    pub status: ReplyStatus,
    /// The reply to it.
    pub reply: &'a [u8],
}

impl<M: StateMachine> Replay<M> {
    /// Begins before the first entry that is in the data directory `dir`, or with the oldest snapshot from which the log
    /// goes on. If it `verifies`, all digests that were recorded are held against the replay's on the way.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn open(dir: &Path, verifies: bool) -> Result<Self, ReplayError> {
        let mut replay = Self::open_in(&OsStorage, dir, verifies)?;
        if verifies {
            let (evidence, _damaged) = evidence_in(dir)?;
            let store = replay.reader.header().store;
            replay.evidence = evidence
                .into_iter()
                .filter(|it| it.store == store)
                .collect();
        }
        Ok(replay)
    }

    /// Begins before the first entry if `from` is zero, else with the snapshot of this entry, of those that are in the data
    /// directory `dir`. It skips just these entries, whatever the log says, and nothing that was recorded is compared.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn open_at(dir: &Path, from: Index, skips: &[Skip]) -> Result<Self, ReplayError> {
        let (mut reader, snapshots, _) = sources::<M, _>(&OsStorage, dir)?;
        let state = begin_at::<M, _>(&mut reader, &snapshots, from)?;
        Self::with(reader, state, skips, VecDeque::new())
    }
}

impl<M: StateMachine, S: Storage> Replay<M, S> {
    /// [`Replay::open`], on a given storage.
    ///
    /// # Errors
    /// As there.
    pub fn open_in(storage: &S, dir: &Path, verifies: bool) -> Result<Self, ReplayError> {
        let (mut reader, snapshots, damaged) = sources::<M, S>(storage, dir)?;
        let state = begin::<M, S>(&mut reader, &snapshots, &damaged)?;
        let from = state.applied();
        let index_of = |file: &SnapshotFile<S>| file.header().point.tip.index;
        let recorded = snapshots.into_iter().filter(|_| verifies);
        let mut recorded: Vec<_> = recorded.filter(|file| index_of(file) >= from).collect();
        recorded.sort_by_key(index_of);
        let skips = skips_in(storage, dir, &reader)?;
        Self::with(reader, state, &skips, recorded.into())
    }

    /// Goes on with a state, which the reader is at, skips these entries, and compares these snapshots on the way.
    fn with(
        reader: LogReader<S>,
        mut state: Replicated<M>,
        skips: &[Skip],
        recorded: VecDeque<SnapshotFile<S>>,
    ) -> Result<Self, ReplayError> {
        for skip in skips {
            state.skip(*skip);
        }
        let from = state.applied();
        let mut replay = Self {
            begins_with: reader.header().machine.version(),
            view: reader.tip().view,
            reader,
            state,
            from,
            recorded,
            agreed: from,
            verified: 0,
            evidence: Vec::new(),
            reply: Vec::new(),
        };
        replay.compare()?;
        Ok(replay)
    }

    /// From now on `mark` is told of each entry that the machine executes.
    pub fn mark_with(&mut self, mark: Arc<dyn ApplyMark>) {
        self.state.mark_with(mark);
    }

    /// Applies the next entry; `None` if there is none.
    ///
    /// # Errors
    /// [`ReplayError`]. After a fault of the machine, nothing more can be done with the state.
    pub fn advance(&mut self) -> Result<Option<Step<'_>>, ReplayError> {
        let Some(entry) = self.reader.next_entry()? else {
            return Ok(None);
        };
        begin::begin_or_go_on(&mut self.state, &entry, self.begins_with)?;
        self.reply.clear();
        let applied = self.state.apply(&entry, &mut self.reply);
        let status = applied.map_err(ReplayError::Fault)?;
        self.view = entry.header.view;
        self.verified += begin::compare_replies(&self.state, &self.evidence, self.agreed)?;
        if !self.recorded.is_empty() {
            let tip = entry.tip();
            let agreed = &mut self.agreed;
            self.verified += begin::compare(&self.state, tip, &mut self.recorded, agreed)?;
        }
        Ok(Some(Step {
            entry,
            status,
            reply: &self.reply,
        }))
    }

    /// Applies all entries up to `until`.
    ///
    /// # Errors
    /// [`ReplayError`]; [`ReplayError::TooEarly`] and [`ReplayError::TooLate`] if that entry is not there.
    ///
    /// # Panics
    /// If one after it was applied: a replay does not go back.
    pub fn go_to(&mut self, until: Index) -> Result<(), ReplayError> {
        self.run(Some(until), &mut |_, _| {})
    }

    fn run(
        &mut self,
        until: Option<Index>,
        tell: &mut dyn FnMut(Index, u64),
    ) -> Result<(), ReplayError> {
        if let Some(until) = until {
            let from = self.from;
            if until < from {
                return Err(ReplayError::TooEarly { until, from });
            }
            assert!(until >= self.state.applied(), "a replay does not go back");
        }
        while until != Some(self.state.applied()) {
            let Some(step) = self.advance()? else {
                break;
            };
            let index = step.entry.header.index;
            if index.0.is_multiple_of(TOLD_EVERY) {
                let (read, all) = self.reader.position();
                tell(index, read * 100 / all.max(1));
            }
        }
        let last = self.state.applied();
        match until {
            Some(until) if until != last => Err(ReplayError::TooLate { until, last }),
            _ => Ok(()),
        }
    }

    fn compare(&mut self) -> Result<(), ReplayError> {
        let tip = self.reader.tip();
        let agreed = &mut self.agreed;
        self.verified += begin::compare(&self.state, tip, &mut self.recorded, agreed)?;
        Ok(())
    }

    /// The state as it is after the last entry that was applied.
    #[must_use]
    pub fn state(&self) -> &Replicated<M> {
        &self.state
    }

    /// What it began after: zero, or the entry of a snapshot.
    #[must_use]
    pub fn from(&self) -> Index {
        self.from
    }

    /// The last entry that was read. It comes before [`Replay::from`] if the log ends before that.
    #[must_use]
    pub fn tip(&self) -> LogTip {
        self.reader.tip()
    }

    /// What stands behind the log's last entry, once that was applied and nothing more was found.
    #[must_use]
    pub fn unfinished(&self) -> Option<&Unfinished> {
        self.reader.unfinished()
    }

    fn into_replayed(self) -> Replayed<M> {
        Replayed {
            state: self.state,
            from: self.from,
            view: self.view,
            verified: self.verified,
            unfinished: self.reader.unfinished().cloned(),
        }
    }
}

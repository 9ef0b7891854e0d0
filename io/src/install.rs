//! Putting a state that was fetched in the place of what a replica has: its snapshots and its log.
//!
//! Which snapshot is the newest does not say which counts: after an operator has forced a takeover the state that is
//! fetched may be of an earlier entry, or of an earlier data epoch, than one's own. So a snapshot that takes the place of
//! all others has a name of its own until it has, and a start that finds one goes on where the process before it
//! ended. Wherever that was: what is found is the state before, whole, or the one that was fetched.

use std::path::{Path, PathBuf};

use standin_core::entry::Index;

use crate::log::{self, LogBase, LogConfig, LogError, SegmentIds, SegmentLog};
use crate::snapshots::{Checked, Damaged, SnapshotFile, Snapshots, SnapshotsError};
use crate::storage::Storage;

/// Why a state could not be put in its place.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InstallError {
    /// The log could not be begun anew.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshots could not be changed.
    #[error(transparent)]
    Snapshots(#[from] SnapshotsError),
}

/// What a start made of a state that was to take the place of what the replica had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// The entry it is of, if there was one: it is in its place now.
    pub index: Option<Index>,
    /// One that was found to be damaged, and set aside: what there was before goes on.
    pub damaged: Vec<Damaged>,
}

/// Puts a snapshot that was received in the place of all others, and begins the log anew right after it. Waits for the disk.
///
/// Entries of the log are kept for people in `dir/cut/`, but for those up to `covered`, which are known to be in the
/// snapshot: zero if the log is of another data epoch. Says where. In this order:
///
/// 1. the entries are copied;
/// 2. the snapshot gets the name that says that it counts: from here on the next start goes on with what follows;
/// 3. the log begins anew;
/// 4. the other snapshots go, and the one that counts gets its usual name.
///
/// # Errors
/// [`InstallError`] if it fails, which is final for the process.
pub fn install<S: Storage>(
    snapshots: &Snapshots<S>,
    log: &mut SegmentLog<S>,
    checked: Checked<S>,
    covered: Index,
) -> Result<(SnapshotFile<S>, Option<PathBuf>), InstallError> {
    let base = LogBase::of(&checked.file().header().point);
    let kept = log.keep_for_people(base, covered)?;
    let placed = snapshots.place(checked)?;
    log.begin_behind(base)?;
    let settled = snapshots.settle(placed)?;
    Ok((settled, kept))
}

/// Goes on with what a process before this one has begun, if one has: before the newest snapshot is looked for, and the
/// log is opened. `dir` is the data directory, whose lock is held. Waits for the disk.
///
/// If the snapshot that counts is damaged it is set aside like any other, and that is all: it never counts again.
///
/// The log's first segment is made before what it replaces is removed. Where there is no room for that, the snapshots that are
/// superseded go first, and it is tried once more.
///
/// # Errors
/// [`InstallError`] if it fails, which is final for the process. A later start goes on; it fails like this one as long as
/// there is no room for a segment.
pub fn finish_install<S: Storage>(
    storage: &S,
    dir: &Path,
    snapshots: &Snapshots<S>,
    ids: &SegmentIds,
    config: LogConfig,
) -> Result<Finished, InstallError> {
    let found = snapshots.placed()?;
    let mut finished = Finished {
        index: None,
        damaged: found.damaged,
    };
    let Some(placed) = found.snapshot else {
        return Ok(finished);
    };
    let base = LogBase::of(&placed.header().point);
    let config = LogConfig {
        base: Some(base),
        ..config
    };
    let begin = || log::begin_behind(storage, dir, ids, config);
    match begin() {
        Err(error) if error.is_want_of_room() && snapshots.make_room_for(&placed)? => begin()?,
        begun => begun?,
    }
    snapshots.settle(placed)?;
    finished.index = Some(base.tip.index);
    Ok(finished)
}

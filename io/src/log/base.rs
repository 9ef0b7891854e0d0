//! A log that goes on from a snapshot: where it begins, what of it may be forgotten, and how it begins anew.
//!
//! Each change is made in an order that survives a crash at any point, given that the snapshot is on disk
//! before the first step: what is left is always a log that recovery can tell from a damaged one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use standin_core::entry::{Index, LogTip, ViewStarts};
use standin_core::snapshot::SnapshotPoint;
use standin_core::version::VersionStarts;
use standin_core::view::DataEpoch;

use super::cut::{self, Tail};
use super::recovery::{self, Found};
use super::segment_file::{self, OpenSegment, Segment};
use super::sync::SyncState;
use super::{LogConfig, LogError, Paths, SegmentIds, SegmentLog, sync_log_dir};
use crate::storage::{OsStorage, Storage, StorageFile};

/// Where a log goes on: the state up to here is in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBase {
    /// The last entry that is in the snapshot.
    pub tip: LogTip,
    /// The first entry of that entry's view.
    pub view_first: Index,
    /// The data epoch of the newest view up to there.
    pub data_epoch: DataEpoch,
}

impl LogBase {
    /// That of a snapshot.
    #[must_use]
    pub fn of(point: &SnapshotPoint) -> Self {
        Self {
            tip: point.tip,
            view_first: point.view_first,
            data_epoch: point.data_epoch,
        }
    }

    /// Everything up to here is committed: only what is gets into a snapshot.
    #[must_use]
    pub fn commit(&self) -> Index {
        self.tip.index
    }

    fn view_starts(&self) -> ViewStarts {
        vec![(self.tip.view, self.view_first)]
    }
}

/// A log that did not go on from the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// Why it did not.
    pub why: SupersededBy,
    /// Its last entry.
    pub last: Index,
    /// Where its entries are kept, for people; without those that it called committed, if they are of the
    /// snapshot's data epoch and so are in the snapshot. `None` if there are no others.
    pub kept: Option<PathBuf>,
}

/// Why a log does not go on from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SupersededBy {
    /// It ends before.
    #[error("it ends before the snapshot at entry {0}")]
    EndsBefore(Index),
    /// It has another entry where the snapshot stands.
    #[error("it parts from the snapshot at entry {0}")]
    Parts(Index),
}

/// Whether a log that was read goes on from the snapshot; if not, why.
///
/// Only a log that is not newer gives way: in one data epoch no later view lacks what is committed, and
/// a later data epoch has the higher views. So a log of a higher view than the snapshot that does
/// not go on from it means that a newer snapshot is missing.
pub(super) fn judge(found: &Found, base: LogBase) -> Result<Option<SupersededBy>, LogError> {
    let Some(segment) = found.segments.last() else {
        return Ok(None); // a new log
    };
    let at = base.tip.index;
    let why = match found.at_base {
        Some(tip) if tip == base.tip => return Ok(None),
        Some(_) => SupersededBy::Parts(at),
        None => SupersededBy::EndsBefore(at),
    };
    let recovered = &found.recovered;
    if recovered.tip.view > base.tip.view || recovered.data_epoch > base.data_epoch {
        return Err(LogError::Newer {
            file: segment.path.clone(),
            why,
            view: recovered.tip.view,
            snapshot_view: base.tip.view,
        });
    }
    Ok(Some(why))
}

/// Adds what the snapshot says to what was found in a log that goes on from it.
pub(super) fn join(found: &mut Found, base: LogBase) {
    let first = (found.segments.first()).map_or(base.tip.index, |one| one.before.index);
    let recovered = &mut found.recovered;
    recovered.commit = recovered.commit.max(base.commit());
    recovered.data_epoch = recovered.data_epoch.max(base.data_epoch);
    // If the snapshot's view begins in the log, it was found there.
    if base.view_first <= first {
        recovered.view_starts.splice(0..0, base.view_starts());
    }
}

/// Sets a log aside that does not go on from the snapshot, and begins a new one.
pub(super) fn supersede<S: Storage>(
    storage: &S,
    paths: &Paths,
    ids: &SegmentIds,
    config: LogConfig,
    found: &mut Found,
    (base, why): (LogBase, SupersededBy),
) -> Result<(), LogError> {
    let recovered = &mut found.recovered;
    let last = recovered.tip.index;
    let is_same_history = recovered.data_epoch == base.data_epoch;
    let is_prefix = matches!(why, SupersededBy::EndsBefore(_)) && is_same_history;
    let covered = if is_prefix && !config.keeps_covered {
        recovered.commit
    } else {
        Index::ZERO
    };
    let anew = Anew {
        storage,
        paths,
        ids,
        config,
        base,
    };
    let kept = anew.set_aside(&found.segments, covered, last)?;
    let old = found.segments.drain(..).map(|segment| segment.path);
    let old = found.left_over.drain(..).chain(old).collect();
    let segment = anew.begin(old, paths.log.join(format!("{}0", super::NEXT_PREFIX)))?;
    found.segments = vec![segment];
    recovered.tip = base.tip;
    recovered.view_starts = base.view_starts();
    recovered.version_starts = VersionStarts::default();
    recovered.data_epoch = base.data_epoch;
    recovered.commit = base.commit();
    recovered.superseded = Some(Superseded { why, last, kept });
    Ok(())
}

/// What it takes to begin a log anew, right after a snapshot that is on disk.
struct Anew<'a, S> {
    storage: &'a S,
    paths: &'a Paths,
    ids: &'a SegmentIds,
    config: LogConfig,
    base: LogBase,
}

impl<S: Storage> Anew<'_, S> {
    /// Keeps the entries of a log that ends with `last`, for people, but for those up to `covered`.
    fn set_aside(
        &self,
        segments: &[Segment],
        covered: Index,
        last: Index,
    ) -> Result<Option<PathBuf>, LogError> {
        let covered = covered.min(self.base.tip.index);
        let after = covered.max(segments[0].before.index);
        if after >= last {
            return Ok(None);
        }
        let tail = Tail::find(self.storage, segments, after)?;
        let kept = tail.save(self.storage, self.paths, self.ids, segments, last)?;
        Ok(Some(kept))
    }

    /// Begins the log anew, in place of the segment files `old`, which are given in their order. The new
    /// segment is made at `beside`.
    ///
    /// There is a log at each moment, so that the directory never looks as if it had lost it. First go, the
    /// last one first, the old segments that would stand behind the new one: what is left is a beginning
    /// of the old log, which recovery supersedes. Then the new segment gets its name, in place of an old one
    /// if one begins at the same entry: from then on recovery begins with it, for its header
    /// says that it continues right after the snapshot. What is left of the old log has lower names, and goes.
    ///
    /// Where the whole old log would stand behind, its first segment stays until then: with the snapshot that it goes on
    /// from, which is still there, it is a beginning of the old log.
    fn begin(&self, old: Vec<PathBuf>, beside: PathBuf) -> Result<Segment, LogError> {
        let (storage, log) = (self.storage, &self.paths.log);
        let first = self.base.tip.index.next();
        let path = log.join(segment_file::segment_name(first));
        let failed = || LogError::io("beginning anew", &path);
        let file = segment_file::create(storage, &beside, self.config.segment_bytes)?;
        let header = segment_file::header(self.ids, self.base.tip);
        file.write_all_at(&header, 0).map_err(failed())?;
        file.sync_all().map_err(failed())?;
        let split = old.partition_point(|old| *old < path);
        let is_kept = split == 0 && old.first().is_some_and(|first| *first != path);
        let (before, from) = old.split_at(split + usize::from(is_kept));
        let behind = from.iter().filter(|old| **old != path);
        cut::remove_from_last(storage, log, behind.cloned())?;
        storage.rename(&beside, &path).map_err(failed())?;
        sync_log_dir(storage, log)?;
        cut::remove_from_last(storage, log, before.iter().cloned())?;
        Ok(Segment::new(path.clone(), self.base.tip))
    }
}

impl<S: Storage> SegmentLog<S> {
    /// Sets the whole log aside and begins a new one right after a snapshot. What is on disk when this returns, cannot come
    /// back otherwise. Syncs that are still under way are not reported any more. Waits for the disk.
    ///
    /// Entries are kept for people in `dir/cut/`, but for those up to `covered`, which are known to be in the
    /// snapshot: zero if the log is of another data epoch or parts from the snapshot. Says where.
    ///
    /// The snapshot must be on disk, and be the one that the next start goes on from: so it is as part of
    /// [`crate::install::install`].
    ///
    /// # Errors
    /// [`LogError`] if it fails, which is final.
    pub fn begin_after(
        &mut self,
        base: LogBase,
        covered: Index,
    ) -> Result<Option<PathBuf>, LogError> {
        let kept = self.keep_for_people(base, covered)?;
        self.begin_behind(base)?;
        Ok(kept)
    }

    /// The first half of [`SegmentLog::begin_after`]: nothing of the log is changed yet.
    pub(crate) fn keep_for_people(
        &mut self,
        base: LogBase,
        covered: Index,
    ) -> Result<Option<PathBuf>, LogError> {
        self.check_usable()?;
        let anew = self.anew(base);
        let kept = anew.set_aside(&self.segments, covered, self.tip.index);
        kept.inspect_err(|_| self.state.fail())
    }

    /// The second half.
    pub(crate) fn begin_behind(&mut self, base: LogBase) -> Result<(), LogError> {
        self.check_usable()?;
        let begun = self.try_begin_behind(base);
        begun.inspect_err(|_| self.state.fail())
    }

    /// Sets the whole log aside and begins a new one at entry 1, as after an operator forced a takeover. What
    /// snapshots there are must go then. Says where the entries are kept.
    ///
    /// # Errors
    /// [`LogError`] if it fails, which is final.
    pub fn begin_anew(&mut self) -> Result<Option<PathBuf>, LogError> {
        let base = LogBase {
            tip: LogTip::default(),
            view_first: Index::ZERO,
            data_epoch: DataEpoch::default(),
        };
        self.begin_after(base, Index::ZERO)
    }

    fn anew(&self, base: LogBase) -> Anew<'_, S> {
        Anew {
            storage: &self.storage,
            paths: &self.paths,
            ids: &self.ids,
            config: self.config,
            base,
        }
    }

    fn try_begin_behind(&mut self, base: LogBase) -> Result<(), LogError> {
        let beside = self.next_path();
        // From here on a sync that is under way speaks of entries that are being removed.
        self.state.count_cut();
        let state = Arc::clone(&self.state);
        let mut beginnings = state.beginnings();
        // From here on what was to be forgotten is not touched: it goes here, and its names may be used again.
        *beginnings += 1;
        let old = recovery::list(&self.storage, &self.paths.log)?;
        let old = old.into_iter().map(|(_, path)| path).collect();
        let segment = self.anew(base).begin(old, beside)?;
        drop(beginnings);
        self.active = OpenSegment::open(&self.storage, &segment.path)?;
        self.segments = vec![segment];
        self.sealed.clear();
        self.next_asked_in = None;
        self.is_room_lacking = false;
        self.tip = base.tip;
        self.requested = base.tip.index;
        self.state.set_durable(base.tip.index);
        self.covered = base.tip.index;
        Ok(())
    }

    /// Forgets whole segments of entries up to `through`, all of which must be in a snapshot that is on disk.
    /// Their files are removed by the request, which may be run on another thread. `None` if there is nothing to forget, or
    /// [`LogConfig::keeps_covered`].
    pub fn forget_request(&mut self, through: Index) -> Option<ForgetRequest<S>> {
        assert!(
            through <= self.tip.index,
            "a snapshot is of what was logged"
        );
        self.covered = self.covered.max(through);
        if self.config.keeps_covered || self.state.is_failed() {
            return None;
        }
        // The segment that the log will begin with must be on disk: without its header it would be
        // taken for damaged.
        let durable = self.state.durable();
        let begins = |next: &Segment| next.before.index <= through && next.before.index < durable;
        let count = self.segments[1..].iter().take_while(|next| begins(next));
        let count = count.count();
        let gone = self.segments.drain(..count).map(|segment| segment.path);
        let paths: Vec<PathBuf> = gone.collect();
        (!paths.is_empty()).then(|| ForgetRequest {
            storage: self.storage.clone(),
            dir: self.paths.log.clone(),
            paths,
            beginnings: *self.state.beginnings(),
            state: Arc::clone(&self.state),
        })
    }

    /// Does what [`SegmentLog::forget_request`] asks for, at once. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError`] if it fails, which is final.
    pub fn forget(&mut self, through: Index) -> Result<(), LogError> {
        self.check_usable()?;
        let request = self.forget_request(through);
        request.map_or(Ok(()), ForgetRequest::run)
    }
}

/// Begins the log in data directory `dir` right after the snapshot [`LogConfig::base`], whatever is left of the one there
/// was: its entries were kept for people before. May be done again.
pub(crate) fn begin_behind<S: Storage>(
    storage: &S,
    dir: &Path,
    ids: &SegmentIds,
    config: LogConfig,
) -> Result<(), LogError> {
    let paths = Paths::of(storage, dir)?;
    let old = recovery::list(storage, &paths.log)?;
    recovery::remove_prepared(storage, &paths.log)?;
    let anew = Anew {
        storage,
        paths: &paths,
        ids,
        config,
        base: config.base.expect("there is a snapshot to begin behind"),
    };
    let old = old.into_iter().map(|(_, path)| path).collect();
    anew.begin(old, paths.log.join(format!("{}0", super::NEXT_PREFIX)))?;
    Ok(())
}

/// Please remove segments that a snapshot covers.
#[must_use = "what is not run is not removed"]
#[derive(Debug)]
pub struct ForgetRequest<S: Storage = OsStorage> {
    storage: S,
    dir: PathBuf,
    /// In the order in which they go.
    paths: Vec<PathBuf>,
    /// How often the log had been begun anew when the request was made.
    beginnings: u64,
    state: Arc<SyncState>,
}

impl<S: Storage> ForgetRequest<S> {
    /// Does it: the oldest first. What a crash leaves may have a gap, if names do not reach the disk in
    /// order: then it is left over, and the next start removes it. Once the log was begun anew nothing more is removed:
    /// that has done it, and what has such a name now is of the new log. (A cut changes nothing: none goes back behind
    /// what a snapshot covers.) Waits for the disk.
    ///
    /// # Errors
    /// [`LogError`] if it fails, which is final.
    pub fn run(self) -> Result<(), LogError> {
        let run = || {
            for path in &self.paths {
                // For each of them: who begins anew waits for one at most.
                let beginnings = self.state.beginnings();
                if *beginnings != self.beginnings {
                    return Ok(());
                }
                let removed = self.storage.remove(path);
                removed.map_err(LogError::io("removing", path))?;
            }
            sync_log_dir(&self.storage, &self.dir)
        };
        run().inspect_err(|_| self.state.fail())
    }
}

//! The log: preallocated segment files, appended by one writer.
//!
//! [`SegmentLog`] lives on the event loop. Appending copies into the page cache and never waits for
//! the disk; what waits goes through [`crate::log_thread::LogThread`]. `docs/format.md` has the
//! bytes, and what recovery makes of each kind of damage.

mod base;
mod cut;
mod error;
mod reader;
mod recovery;
mod repair;
mod room;
mod salvage;
mod segment_file;
mod sync;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use standin_core::entry::{Batch, EntryError, Index, LogTip, ViewStarts};
use standin_core::identity::{ClusterId, StoreId};
use standin_core::machine::MachineId;
use standin_core::poison::Skip;
use standin_core::segment::SegmentError;
use standin_core::version::VersionStarts;
use standin_core::view::DataEpoch;

pub(crate) use base::begin_behind;
pub use base::{ForgetRequest, LogBase, Superseded, SupersededBy};
pub use error::LogError;
pub use reader::{LogReader, ReadError, Unfinished};
pub use repair::Damage;
pub use room::{LogRoom, reserve_bytes};
pub use salvage::Salvage;
pub(crate) use segment_file::index_of_digits;
use segment_file::{ENTRIES_AT, OpenSegment, Segment};
use sync::SyncState;
pub use sync::{PrepareRequest, PreparedSegment, SyncRequest};

use crate::data_dir::{CUT_DIR, LOG_DIR, create_dir_durably};
use crate::storage::{OsStorage, Storage, StorageFile};

/// Length to which a segment file is preallocated unless configured otherwise, in bytes.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Shortest segment that may be configured, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 4096;
/// Longest length that segment files should be preallocated to, in bytes: what is forgotten goes file by file.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Most cut tails that are kept in `cut/`; the oldest goes first.
pub const CUT_TAILS_MAX: usize = 16;

/// The beginning of the name of a segment file that is being prepared. Recovery removes such files.
const NEXT_PREFIX: &str = "next-";
/// A batch up to this size is remembered by its first entry alone, in bytes.
const SMALL_BATCH_BYTES: usize = 64 << 10;

/// What every segment's header repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentIds {
    /// The cluster whose inputs these are.
    pub cluster: ClusterId,
    /// The data directory's store.
    pub store: StoreId,
    /// The state machine that the inputs are for.
    pub machine: MachineId,
}

/// How the log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// Length to which segment files are preallocated, in bytes; at least [`SEGMENT_BYTES_MIN`].
    pub segment_bytes: u64,
    /// Since the log was last open, writes that were not synced may have been lost, each by itself:
    /// [`crate::data_dir::DataDir::may_have_lost_writes`] knows. A gap in what nobody knew to be
    /// committed is then a torn end; otherwise it is damage.
    pub may_have_lost_writes: bool,
    /// Others may rely on this log: [`crate::data_dir::DataDir::may_be_holder`] knows. Otherwise a gap that
    /// lost writes have left is a torn end also if what is missing had been committed: it is not here any
    /// more, nobody takes this copy for one that has it, and it is fetched from a primary.
    pub may_be_holder: bool,
    /// The state up to here is in a snapshot that was found to be whole ([`crate::snapshots`]): the log may
    /// begin anywhere up to the entry after it, and goes on from it.
    pub base: Option<LogBase>,
    /// Entries that a snapshot covers are kept all the same, for replay: [`SegmentLog::forget`] does
    /// nothing.
    pub keeps_covered: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            may_have_lost_writes: false,
            may_be_holder: true,
            base: None,
            keeps_covered: false,
        }
    }
}

/// The log's end, which was not synced and did not reach the disk whole, and has been cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment file.
    pub file: PathBuf,
    /// Where the bad bytes began, in bytes from the beginning of the file.
    pub at: u64,
    /// What was wrong with them.
    pub why: TornBy,
    /// How many bytes were cut off, in all segments.
    pub bytes: u64,
    /// How many whole entries are among them.
    pub entries: u64,
    /// The highest entry that one of them calls committed. If the log ends before it, committed entries are
    /// lost here.
    pub commit: Index,
}

/// Where a log that did not reach the disk whole breaks off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TornBy {
    /// At an entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// At a segment's header.
    #[error(transparent)]
    Header(#[from] SegmentError),
    /// Before a segment that goes on later.
    #[error("it continues after entry {found}, and entries before that are missing")]
    Missing {
        /// The entry that it says it continues after.
        found: Index,
    },
}

/// What recovery found.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The log's end.
    pub tip: LogTip,
    /// The views that begin in the log, and where, and the view that the snapshot before it ends in. The
    /// log's first entries may be of a view that began before it; that one is not listed then, unless it
    /// is the snapshot's.
    pub view_starts: ViewStarts,
    /// The data epoch of the newest of them; the first one if there is none.
    pub data_epoch: DataEpoch,
    /// The entries that its ViewStarts skip.
    pub skips: Vec<Skip>,
    /// Where versions of the machine begin in it; skips are not taken into account.
    pub version_starts: VersionStarts,
    /// The machine's version in the header of the first segment that was found. Of a log that does not say itself which
    /// version it begins with it is that one.
    pub header_version: Option<u32>,
    /// The highest commit index that an entry names, or the snapshot's index if that is higher.
    pub commit: Index,
    /// The torn end that was cut off, if there was one.
    pub torn: Option<Torn>,
    /// The log that did not go on from the snapshot, if it was so: it was set aside, and a new one begins.
    pub superseded: Option<Superseded>,
    /// Segment files in front of a gap, which a crash had left of what a snapshot covers. They were
    /// removed, or are left alone where [`LogConfig::keeps_covered`].
    pub left_over: Vec<PathBuf>,
}

/// Where the log's files are.
#[derive(Clone, Debug)]
struct Paths {
    /// The segments.
    log: PathBuf,
    /// Tails that were cut off.
    cut: PathBuf,
}

impl Paths {
    /// Those in data directory `dir`, which are there then.
    fn of(storage: &impl Storage, dir: &Path) -> Result<Self, LogError> {
        let paths = Self {
            log: dir.join(LOG_DIR),
            cut: dir.join(CUT_DIR),
        };
        for dir in [&paths.log, &paths.cut] {
            create_dir_durably(storage, dir).map_err(LogError::io("creating", dir))?;
        }
        Ok(paths)
    }
}

/// A full segment that may not be on disk yet.
#[derive(Debug)]
struct Sealed<S: Storage> {
    file: Arc<OpenSegment<S>>,
    /// Its last entry.
    last: Index,
    /// A sync of it has been asked for.
    is_requested: bool,
}

/// The log of one replica.
#[derive(Debug)]
pub struct SegmentLog<S: Storage = OsStorage> {
    storage: S,
    paths: Paths,
    ids: SegmentIds,
    config: LogConfig,
    /// All segments, in order; the last is the one in use. Never empty.
    segments: Vec<Segment>,
    /// The file of the segment in use.
    active: Arc<OpenSegment<S>>,
    /// Full segments whose entries are not all known to be on disk. Bounded by
    /// [`SegmentLog::upkeep`], which has them synced at every durability level.
    sealed: Vec<Sealed<S>>,
    /// The next segment file, if it is ready.
    next: Option<PreparedSegment<S>>,
    /// The segment in which the next one was last asked for, by the entry before it: it is asked
    /// for once per segment, so that a full disk is not asked again and again.
    next_asked_in: Option<Index>,
    /// There was no room for the next one when it was last tried.
    is_room_lacking: bool,
    /// Numbers the files that are being prepared, so that no two share a name.
    prepared_count: u64,
    tip: LogTip,
    /// A sync was asked for through this entry. Invariant: `durable <= requested <= tip.index`.
    requested: Index,
    /// A segment was named since a sync was last asked for.
    is_dir_dirty: bool,
    /// A snapshot covers everything up to here, so nothing of it is ever cut (`protocol.md` S9).
    covered: Index,
    state: Arc<SyncState>,
}

impl SegmentLog {
    /// [`SegmentLog::open_in`] the operating system's files.
    ///
    /// # Errors
    /// See there.
    ///
    /// # Panics
    /// If `config` is out of bounds.
    pub fn open(
        dir: &Path,
        ids: SegmentIds,
        config: LogConfig,
    ) -> Result<(Self, Recovered), LogError> {
        Self::open_in(OsStorage, dir, ids, config)
    }
}

impl<S: Storage> SegmentLog<S> {
    /// Opens the log in data directory `dir` (segments in `dir/log/`), reading and checking all of
    /// it; an absent log is created. When this returns, everything recovered is on disk.
    ///
    /// # Errors
    /// [`LogError`] if it is damaged, incomplete or another's (see the table in `docs/format.md`).
    /// Nothing is then changed.
    ///
    /// # Panics
    /// If `config` is out of bounds.
    pub fn open_in(
        storage: S,
        dir: &Path,
        ids: SegmentIds,
        config: LogConfig,
    ) -> Result<(Self, Recovered), LogError> {
        assert!(config.segment_bytes >= SEGMENT_BYTES_MIN);
        let paths = Paths::of(&storage, dir)?;
        let found = recovery::recover(&storage, &paths, &ids, config)?;
        let recovered = found.recovered;
        let log = Self {
            active: OpenSegment::open(&storage, &found.segments[found.segments.len() - 1].path)?,
            storage,
            segments: found.segments,
            sealed: Vec::new(),
            next: None,
            next_asked_in: None,
            is_room_lacking: false,
            prepared_count: 0,
            tip: recovered.tip,
            requested: recovered.tip.index,
            is_dir_dirty: false,
            covered: config.base.map_or(Index::ZERO, |base| base.tip.index),
            state: Arc::new(SyncState::new(recovered.tip.index)),
            paths,
            ids,
            config,
        };
        Ok((log, recovered))
    }

    /// Appends a batch: into the page cache, without waiting for the disk.
    ///
    /// # Errors
    /// [`LogError`] if the write fails. The first failure is final: every later call fails.
    ///
    /// # Panics
    /// If the batch does not follow the log's end.
    pub fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        self.check_follows(batch);
        self.check_usable()?;
        self.try_append(batch).inspect_err(|_| self.state.fail())
    }

    fn check_follows(&self, batch: &Batch) {
        let first = batch.entries().next().expect("a batch is never empty");
        assert_eq!(first.header.index, self.tip.index.next(), "next entry");
        assert_eq!(first.header.chain, self.tip.chain, "chain of checksums");
    }

    fn check_usable(&self) -> Result<(), LogError> {
        if self.state.is_failed() {
            return Err(LogError::Failed);
        }
        Ok(())
    }

    fn try_append(&mut self, batch: &Batch) -> Result<(), LogError> {
        let bytes = batch.bytes();
        let length = u64::try_from(bytes.len()).expect("a batch is short");
        let end = self.segment().end;
        // A batch never spans segments. One that is longer than a whole segment makes its segment
        // longer.
        if end > ENTRIES_AT && end + length > self.config.segment_bytes {
            self.roll()?;
        }
        let end = self.segment().end;
        self.active
            .file
            .write_all_at(bytes, end)
            .map_err(LogError::io("writing", &self.active.path))?;
        self.extend(batch);
        self.tip = batch.tip();
        Ok(())
    }

    /// Takes note of a batch that was written to the segment in use.
    fn extend(&mut self, batch: &Batch) {
        let last = self.segments.len() - 1;
        let segment = &mut self.segments[last];
        if batch.bytes().len() <= SMALL_BATCH_BYTES {
            segment.extend(batch.first(), batch.bytes().len());
            return;
        }
        for entry in batch.entries() {
            let bytes = usize::try_from(entry.header.length).expect("an entry is short");
            segment.extend(entry.header.index, bytes);
        }
    }

    /// Goes on in a new segment.
    fn roll(&mut self) -> Result<(), LogError> {
        let ready = match self.next.take() {
            Some(ready) => ready,
            // The disk is slower than the log. The file that is being prepared has another name and
            // serves the roll after this one.
            None => {
                let path = self.next_path();
                let file = segment_file::create(&self.storage, &path, self.config.segment_bytes)?;
                PreparedSegment { path, file }
            }
        };
        let first = self.tip.index.next();
        let path = self.paths.log.join(segment_file::segment_name(first));
        ready
            .file
            .write_all_at(&segment_file::header(&self.ids, self.tip), 0)
            .map_err(LogError::io("writing", &ready.path))?;
        self.storage
            .rename(&ready.path, &path)
            .map_err(LogError::io("naming", &path))?;
        self.is_dir_dirty = true;
        let file = ready.file;
        let opened = Arc::new(OpenSegment {
            path: path.clone(),
            file,
        });
        self.sealed.push(Sealed {
            file: std::mem::replace(&mut self.active, opened),
            last: self.tip.index,
            is_requested: false,
        });
        self.segments.push(Segment::new(path, self.tip));
        Ok(())
    }

    fn next_path(&mut self) -> PathBuf {
        self.prepared_count += 1;
        let name = format!("{NEXT_PREFIX}{}", self.prepared_count);
        self.paths.log.join(name)
    }

    /// Removes everything after `after`, durably: when this returns, the rest is on disk and what
    /// was removed can never come back. The removed tail is kept as a file in `dir/cut/`. Syncs that
    /// are still under way are not reported any more. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError`] if it fails, which is final.
    ///
    /// # Panics
    /// If a snapshot covers what would be cut.
    pub fn cut(&mut self, after: Index) -> Result<LogTip, LogError> {
        assert!(
            after >= self.covered,
            "cutting after {after}, and a snapshot covers entries up to {}",
            self.covered
        );
        self.check_usable()?;
        if after < self.tip.index {
            cut::cut(self, after).inspect_err(|_| self.state.fail())?;
        }
        self.sync_now()?;
        Ok(self.tip)
    }

    /// The log's end.
    #[must_use]
    pub fn tip(&self) -> LogTip {
        self.tip
    }

    /// The entry before the first that the log has, or will have; index 0 if it is whole.
    #[must_use]
    pub fn base(&self) -> LogTip {
        self.segments[0].before
    }

    /// The first entry that the log has, or will have. Those before it are in a snapshot alone.
    #[must_use]
    pub fn first(&self) -> Index {
        self.segments[0].before.index.next()
    }

    /// Everything up to here is known to be on disk.
    #[must_use]
    pub fn durable(&self) -> Index {
        self.state.durable()
    }

    /// Whole encoded entries from `from` on: at least one if there is one, else about `bytes_max`
    /// bytes at most; empty if `from` lies beyond the end. Entries are checked before they are
    /// handed out.
    ///
    /// # Errors
    /// [`LogError`] if they cannot be read or are damaged.
    ///
    /// # Panics
    /// If `from` lies before [`SegmentLog::first`].
    pub fn read(&self, from: Index, bytes_max: usize) -> Result<Vec<u8>, LogError> {
        assert!(
            from >= self.first(),
            "entry {from} is not in a log that begins at {}",
            self.first()
        );
        if from > self.tip.index {
            return Ok(Vec::new());
        }
        let number = self.segment_of(from);
        let segment = &self.segments[number];
        let entries = if number + 1 == self.segments.len() {
            segment.read(&self.active.file, from, bytes_max)?
        } else {
            let opened = OpenSegment::open(&self.storage, &segment.path)?;
            segment.read(&opened.file, from, bytes_max)?
        };
        Ok(entries.bytes)
    }

    /// The number of the segment that holds entry `index`, or will.
    fn segment_of(&self, index: Index) -> usize {
        segment_file::segment_of(&self.segments, index)
    }

    /// The segment in use.
    fn segment(&self) -> &Segment {
        self.segments.last().expect("there is always a segment")
    }
}

/// Syncs the log's directory.
fn sync_log_dir(storage: &impl Storage, dir: &Path) -> Result<(), LogError> {
    storage
        .sync_dir(dir)
        .map_err(LogError::io(error::SYNCING, dir))
}

#[cfg(test)]
mod tests;

//! Getting the log to disk: what it asks of the log thread, and what the two share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use standin_core::entry::Index;

use super::segment_file::{self, OpenSegment};
use super::{LogError, SegmentLog, sync_log_dir};
use crate::storage::{OsStorage, Storage, StorageFile};

/// What the log and its requests have in common.
///
/// `is_failed` is set by whoever fails, on either thread. The numbers are written on the log's own
/// thread only, where [`crate::log_thread::LogThread::poll`] is called too.
#[derive(Debug)]
pub(crate) struct SyncState {
    is_failed: AtomicBool,
    /// Everything up to here is on disk.
    durable: AtomicU64,
    /// How often the log was cut. A sync that was asked for before a cut must not be reported after
    /// it: its entries may be others by now.
    cuts: AtomicU64,
    /// How often the log was begun anew. Held while it is, and while a segment that a snapshot covers is removed: the
    /// one that the log begins anew with may have its name.
    beginnings: Mutex<u64>,
    /// A segment file is being prepared, or waits to be taken.
    is_preparing: AtomicBool,
}

impl SyncState {
    pub(super) fn new(durable: Index) -> Self {
        Self {
            is_failed: AtomicBool::new(false),
            durable: AtomicU64::new(durable.0),
            cuts: AtomicU64::new(0),
            beginnings: Mutex::new(0),
            is_preparing: AtomicBool::new(false),
        }
    }

    pub(super) fn is_failed(&self) -> bool {
        self.is_failed.load(Ordering::Acquire)
    }

    pub(crate) fn fail(&self) {
        self.is_failed.store(true, Ordering::Release);
    }

    pub(super) fn durable(&self) -> Index {
        Index(self.durable.load(Ordering::Acquire))
    }

    pub(super) fn set_durable(&self, through: Index) {
        self.durable.store(through.0, Ordering::Release);
    }

    pub(super) fn count_cut(&self) {
        self.cuts.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn is_preparing(&self) -> bool {
        self.is_preparing.load(Ordering::Acquire)
    }

    pub(super) fn set_preparing(&self, is_preparing: bool) {
        self.is_preparing.store(is_preparing, Ordering::Release);
    }

    pub(super) fn beginnings(&self) -> MutexGuard<'_, u64> {
        self.beginnings
            .lock()
            .expect("nothing panics while it holds this")
    }

    fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }
}

impl<S: Storage> SegmentLog<S> {
    /// What must be synced for everything appended so far to be on disk, to be handed to
    /// [`crate::log_thread::LogThread::sync`]; `None` if that has been asked for already.
    pub fn sync_request(&mut self) -> Option<SyncRequest<S>> {
        let durable = self.state.durable();
        self.sealed.retain(|sealed| sealed.last > durable);
        if self.state.is_failed() || self.requested == self.tip.index {
            return None;
        }
        let mut files = Vec::with_capacity(1);
        for sealed in self.sealed.iter_mut().filter(|one| !one.is_requested) {
            sealed.is_requested = true;
            files.push(Arc::clone(&sealed.file));
        }
        files.push(Arc::clone(&self.active));
        let is_dir_dirty = std::mem::replace(&mut self.is_dir_dirty, false);
        let dir = is_dir_dirty.then(|| self.paths.log.clone());
        self.requested = self.tip.index;
        Some(SyncRequest::new(
            &self.storage,
            files,
            dir,
            self.tip.index,
            &self.state,
        ))
    }

    /// Syncs everything appended so far. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError`] if it fails, which is final.
    pub fn sync_now(&mut self) -> Result<(), LogError> {
        self.check_usable()?;
        // Also what the log thread is at: it may not be done.
        let files = self.sealed.iter().map(|sealed| &sealed.file);
        let files = files.chain([&self.active]).map(Arc::clone).collect();
        let dir = Some(self.paths.log.clone());
        let request = SyncRequest::new(&self.storage, files, dir, self.tip.index, &self.state);
        request.run()?;
        request.complete().expect("the log was not cut meanwhile");
        self.sealed.clear();
        self.requested = self.tip.index;
        self.is_dir_dirty = false;
        Ok(())
    }

    /// What is to be done at every durability level: sync full segments, so that neither they nor
    /// what a power failure may take grow without bound.
    pub fn sync_upkeep(&mut self) -> Option<SyncRequest<S>> {
        let is_waiting = self.sealed.iter().any(|sealed| !sealed.is_requested);
        is_waiting.then(|| self.sync_request()).flatten()
    }

    /// The request for the next segment file, if it is time for one.
    pub fn prepare_request(&mut self) -> Option<PrepareRequest<S>> {
        let here = self.segment().before.index;
        let is_served = self.next.is_some() || self.state.is_preparing();
        if is_served || self.next_asked_in == Some(here) || self.state.is_failed() {
            return None;
        }
        // Not before the segment is half full: an idle replica does not take room for two.
        if self.segment().end < self.config.segment_bytes / 2 {
            return None;
        }
        self.next_asked_in = Some(here);
        self.state.set_preparing(true);
        Some(PrepareRequest {
            storage: self.storage.clone(),
            path: self.next_path(),
            segment_bytes: self.config.segment_bytes,
            state: Arc::clone(&self.state),
        })
    }
}

/// Files to sync, and the entry through which the log is then on disk.
#[must_use = "what is not handed to the log thread is not synced"]
#[derive(Debug)]
pub struct SyncRequest<S: Storage = OsStorage> {
    storage: S,
    files: Vec<Arc<OpenSegment<S>>>,
    /// The log's directory, if a segment's name in it may not be on disk yet.
    dir: Option<PathBuf>,
    through: Index,
    /// Cuts before the request was made.
    cuts: u64,
    state: Arc<SyncState>,
}

impl<S: Storage> SyncRequest<S> {
    pub(super) fn new(
        storage: &S,
        files: Vec<Arc<OpenSegment<S>>>,
        dir: Option<PathBuf>,
        through: Index,
        state: &Arc<SyncState>,
    ) -> Self {
        Self {
            storage: storage.clone(),
            files,
            dir,
            through,
            cuts: state.cuts(),
            state: Arc::clone(state),
        }
    }

    /// The last entry that is on disk once this is done.
    #[must_use]
    pub fn through(&self) -> Index {
        self.through
    }

    #[cfg(test)]
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files
            .iter()
            .map(|segment| segment.path.clone())
            .collect()
    }

    #[cfg(test)]
    pub(super) fn dir(&self) -> Option<&std::path::Path> {
        self.dir.as_deref()
    }

    /// Takes in a request that was made later: one round of syncs then serves both.
    pub fn merge(&mut self, later: Self) {
        for file in later.files {
            if !self.files.iter().any(|known| Arc::ptr_eq(known, &file)) {
                self.files.push(file);
            }
        }
        self.dir = later.dir.or(self.dir.take());
        self.through = later.through;
        self.cuts = later.cuts;
    }

    /// Does it. Waits for the disk.
    ///
    /// The directory comes last: an entry counts as on disk only when its file's name is, too.
    ///
    /// # Errors
    /// [`LogError`] if a sync fails, which is final.
    pub fn run(&self) -> Result<(), LogError> {
        let run = || {
            for file in &self.files {
                file.sync()?;
            }
            self.dir
                .as_deref()
                .map_or(Ok(()), |dir| sync_log_dir(&self.storage, dir))
        };
        run().inspect_err(|_| self.state.fail())
    }

    /// Takes note, on the log's own thread, that it is done. `None` if the log was cut meanwhile.
    pub fn complete(self) -> Option<Index> {
        if self.cuts != self.state.cuts() {
            return None;
        }
        self.state
            .set_durable(self.through.max(self.state.durable()));
        Some(self.through)
    }
}

/// Please create the next segment file.
#[must_use = "what is not handed to the log thread is not done"]
#[derive(Debug)]
pub struct PrepareRequest<S: Storage = OsStorage> {
    pub(super) storage: S,
    pub(super) path: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) state: Arc<SyncState>,
}

impl<S: Storage> PrepareRequest<S> {
    /// Does it. Waits for the disk.
    ///
    /// # Errors
    /// [`LogError`]; if it is one of a want of room ([`LogError::is_want_of_room`]), the log goes on, see
    /// [`crate::log_thread::LogDone::NoRoom`].
    pub fn run(self) -> Result<PreparedSegment<S>, LogError> {
        let create = || {
            let file = segment_file::create(&self.storage, &self.path, self.segment_bytes)?;
            file.sync_all().map_err(|error| {
                // Best effort: the next start removes it, too.
                let _ = self.storage.remove(&self.path);
                LogError::io("making room for", &self.path)(error)
            })?;
            Ok(file)
        };
        let file = create().inspect_err(|_| self.state.set_preparing(false))?;
        let path = self.path;
        Ok(PreparedSegment { path, file })
    }
}

/// A segment file, created and preallocated, that waits for its turn under a name of its own.
#[derive(Debug)]
pub struct PreparedSegment<S: Storage = OsStorage> {
    pub(super) path: PathBuf,
    pub(super) file: S::File,
}

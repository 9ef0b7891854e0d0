//! The view service's data directory: a lock, one small file, and a mark that there is one.
//!
//! `DIR/lock` is held while the process lives, `DIR/state` holds [`StoredState`] and is replaced as a
//! whole, `DIR/cluster` names the cluster and is written once, after the first state. `DIR/history` is for
//! people who look back, and nothing rests on it. A directory
//! that has the mark and no state has lost it, and never passes for a new one.

use std::io;
use std::path::{Path, PathBuf};

use standin_core::identity::ClusterId;
use standin_core::view::ViewRecord;
use standin_io::data_dir::{LockError, create_dir_durably, replace_file};
use standin_io::storage::{OsStorage, Storage, is_want_of_room};

use crate::history::{HISTORY_BYTES_MAX, History};
use crate::stored::{STATE_BYTES_MAX, StateError, StoredState};

const LOCK_FILE: &str = "lock";
const STATE_FILE: &str = "state";
const CLUSTER_FILE: &str = "cluster";
const HISTORY_FILE: &str = "history";
/// What may stand in a directory that has not been formatted: our own lock, a state whose writing was
/// cut short, and what `mkfs` leaves at the root of a file system.
const UNFORMATTED_MAY_HOLD: [&str; 3] = [LOCK_FILE, "state.new", "lost+found"];

/// Why the view service's data directory cannot be used. Each is one line: what, why, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "cannot use data directory {path}: {source}; stop that process or choose another --data"
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who holds it.
        source: LockError,
    },
    /// It holds files, but not those of a view service.
    #[error(
        "cannot use data directory {path}: it holds {found} but no state, so it is not a view \
         service's; choose an empty --data"
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// It was a view service's, and its state is gone.
    #[error(
        "cannot use data directory {path}: its state file is gone, and with it who may be primary; \
         put {path}/state back, or, if it is lost for good, start with --rebuild on an empty --data, and then \
         `standin recover --rebuild NAMES`"
    )]
    Lost {
        /// The directory.
        path: PathBuf,
    },
    /// The state file cannot be understood.
    #[error(
        "cannot use data directory {path}: its state file is bad: {source}; start with --rebuild on an \
         empty --data, and then `standin recover --rebuild NAMES`; an older copy of it is no help"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        source: StateError,
    },
    /// There is no room. What was stored before stands, and storing may be tried again.
    #[error(
        "no room in data directory {path} for a new record: {source}; make room on that disk, and the \
         view service goes on by itself"
    )]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An earlier write failed, so what is on disk is unknown.
    #[error("cannot write to data directory {path}: an earlier write failed; start again")]
    Failed {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system says no.
    #[error(
        "cannot use data directory {path}: {doing}: {source}; mend that or choose another --data"
    )]
    Io {
        /// The directory.
        path: PathBuf,
        /// What was attempted.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

/// The stored state, and the directory that it is in, held exclusively while this value lives.
#[derive(Debug)]
pub struct FileStore<S: Storage = OsStorage> {
    storage: S,
    path: PathBuf,
    /// What is on disk.
    state: StoredState,
    /// It has a state on disk. Otherwise the first one that is stored formats it.
    is_formatted: bool,
    /// A write failed: what is on disk is unknown, and nothing more is written.
    is_failed: bool,
    _lock: S::Lock,
}

impl FileStore {
    /// [`FileStore::open_in`] the operating system's files.
    ///
    /// # Errors
    /// See there.
    pub fn open(path: &Path, fresh: ClusterId) -> Result<Self, StoreError> {
        Self::open_in(OsStorage, path, fresh)
    }

    /// [`FileStore::open_unformatted_in`] the operating system's files.
    ///
    /// # Errors
    /// See there.
    pub fn open_unformatted(path: &Path) -> Result<Self, StoreError> {
        Self::open_unformatted_in(OsStorage, path)
    }
}

impl<S: Storage> FileStore<S> {
    /// Opens the data directory at `path`. One that is absent or empty is created and formatted for
    /// the cluster `fresh`.
    ///
    /// # Errors
    /// [`StoreError`] if it is held by another process, is something else's, or is damaged.
    pub fn open_in(storage: S, path: &Path, fresh: ClusterId) -> Result<Self, StoreError> {
        let mut store = Self::open_unformatted_in(storage, path)?;
        if !store.is_formatted {
            store.state = StoredState::new(fresh);
            let state = store.state.clone();
            store.store(&state)?;
        }
        Ok(store)
    }

    /// Opens the data directory at `path`, and formats none: one that is absent or empty is only created. What is
    /// stored first formats it, for the cluster that is in it.
    ///
    /// # Errors
    /// [`StoreError`] if it is held by another process, is something else's, or is damaged.
    pub fn open_unformatted_in(storage: S, path: &Path) -> Result<Self, StoreError> {
        let io = |doing| io_error(path, doing);
        create_dir_durably(&storage, path).map_err(io("creating it"))?;
        // Nothing is written, not even a lock file, into a directory that is someone else's. One that
        // has a lock file may be one that is being formatted.
        if !storage.exists(&path.join(STATE_FILE)) && !storage.exists(&path.join(LOCK_FILE)) {
            check_unformatted(&storage, path)?;
        }
        let lock = storage.lock(path).map_err(|source| match source {
            LockError::Io(source) => io("locking it")(source),
            source => StoreError::Held {
                path: path.to_owned(),
                source,
            },
        })?;
        let bytes = read_state(&storage, path).map_err(io("reading its state file"))?;
        let state = match bytes {
            Some(bytes) => {
                let state = StoredState::decode(&bytes);
                Some(state.map_err(|source| StoreError::Damaged {
                    path: path.to_owned(),
                    source,
                })?)
            }
            None => {
                check_unformatted(&storage, path)?;
                None
            }
        };
        let mut store = Self {
            storage,
            path: path.to_owned(),
            is_formatted: state.is_some(),
            state: state.unwrap_or_else(|| StoredState::new(ClusterId(0))),
            is_failed: false,
            _lock: lock,
        };
        if store.is_formatted && !store.storage.exists(&path.join(CLUSTER_FILE)) {
            let state = store.state.clone();
            store.is_formatted = false;
            store.store(&state)?;
        }
        Ok(store)
    }

    /// Replaces the stored state; on disk when this returns. Waits for the disk.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`], after which it may be tried again. Any other of the file system is final: every
    /// later call fails.
    ///
    /// # Panics
    /// If the cluster differs or the view would fall: that is a bug of the caller's.
    pub fn store(&mut self, state: &StoredState) -> Result<(), StoreError> {
        if self.is_failed {
            let path = self.path.clone();
            return Err(StoreError::Failed { path });
        }
        let view = |state: &StoredState| state.record.as_ref().map(ViewRecord::id);
        if self.is_formatted {
            assert_eq!(state.cluster, self.state.cluster, "the cluster stays");
        }
        assert!(
            view(state) >= view(&self.state),
            "the view never falls: {:?} after {:?}",
            view(state),
            view(&self.state)
        );
        // Until the write is known to be done.
        self.is_failed = true;
        let path = self.path.join(STATE_FILE);
        match replace_file(&self.storage, &path, &state.encode()) {
            Err(source) if is_want_of_room(&source) => {
                self.is_failed = false;
                let path = self.path.clone();
                return Err(StoreError::NoRoom { path, source });
            }
            replaced => replaced.map_err(io_error(&self.path, "writing its state file"))?,
        }
        if !self.is_formatted {
            // Only after the state: a mark alone means that the state was lost.
            let text = format!("{}\n", state.cluster);
            replace_file(
                &self.storage,
                &self.path.join(CLUSTER_FILE),
                text.as_bytes(),
            )
            .map_err(io_error(&self.path, "writing its cluster file"))?;
            self.is_formatted = true;
        }
        self.is_failed = false;
        self.state = state.clone();
        Ok(())
    }

    /// The views that were noted beside the state, and what is missing and why, in words, if something went wrong.
    /// Whatever is wrong with that file, the record is served.
    #[must_use]
    pub fn history(&self) -> (History, Option<String>) {
        let path = self.path.join(HISTORY_FILE);
        let bytes_max = u64::try_from(HISTORY_BYTES_MAX).expect("it is small") + 1;
        let lost = |why: &str| {
            let remark = format!("earlier views are not known: {} {why}", path.display());
            (History::default(), Some(remark))
        };
        let history = match self.storage.read(&path, bytes_max) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match self.state.record {
                    Some(_) => lost("is not there"),
                    None => (History::default(), None),
                };
            }
            Err(error) => return lost(&format!("cannot be read: {error}")),
            Ok(bytes) => match History::decode(&bytes) {
                Ok(history) => history,
                Err(error) => return lost(&format!("is bad: {error}")),
            },
        };
        let view = self.state.record.as_ref().map(ViewRecord::id);
        if history.ends_by(view.unwrap_or_default()) {
            (history, None)
        } else {
            lost("speaks of later views than there were")
        }
    }

    /// Replaces what was noted beside the state. Waits for the disk. The state is not touched, whatever comes
    /// of it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep_history(&mut self, history: &History) -> io::Result<()> {
        replace_file(
            &self.storage,
            &self.path.join(HISTORY_FILE),
            &history.encode(),
        )
    }

    /// Whether there is a state on disk.
    #[must_use]
    pub fn is_formatted(&self) -> bool {
        self.is_formatted
    }

    /// What is stored. Of a directory that is not formatted: no cluster's beginning.
    #[must_use]
    pub fn state(&self) -> &StoredState {
        &self.state
    }
}

/// The state file's bytes, but not many more than it may have; `None` if there is no such file. On
/// disk when this returns: the process that wrote the file may have died before its name was.
fn read_state(storage: &impl Storage, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let bytes_max = u64::try_from(STATE_BYTES_MAX).expect("it is small") + 1;
    match storage.read(&path.join(STATE_FILE), bytes_max) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => {
            let bytes = bytes?;
            storage.sync_dir(path)?;
            Ok(Some(bytes))
        }
    }
}

/// Checks that a directory without a state never had one, and is nobody else's.
fn check_unformatted(storage: &impl Storage, path: &Path) -> Result<(), StoreError> {
    let io = |doing| io_error(path, doing);
    if storage.exists(&path.join(CLUSTER_FILE)) {
        let path = path.to_owned();
        return Err(StoreError::Lost { path });
    }
    for name in storage.list(path).map_err(io("listing it"))? {
        if UNFORMATTED_MAY_HOLD.iter().all(|may| name != *may) {
            return Err(StoreError::NotOurs {
                path: path.to_owned(),
                found: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        path,
        doing,
        source,
    }
}

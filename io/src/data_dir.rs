//! A replica's data directory: its lock, its meta file, and the place of its log.
//!
//! `DIR/lock` is held as long as the process lives; `DIR/meta` says whose directory this is and what
//! must survive a restart; `DIR/log/` and `DIR/cut/` belong to [`crate::log`], `DIR/snapshots/` to
//! [`crate::snapshots`]. `docs/format.md` has the bytes.

mod aside;
mod lock;
mod meta;
mod replace;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use standin_core::identity::{BootId, Identity, Incarnation, Life, ReplicaName, StoreId};
use standin_core::machine::MachineId;
use standin_core::mark::FatalEntry;
use standin_core::view::ViewId;

pub(crate) use aside::ASIDE_SUFFIX;
pub use aside::STORES_ASIDE_MAX;
pub use lock::{DirLock, LockError};
pub use meta::{
    META_BYTES_MAX, META_FORMAT_VERSION, META_HEADER_BYTES, MetaError, QUARANTINE_BYTES_MAX,
    ReplicaMeta,
};
pub use replace::{create_dir_durably, replace_file};

use crate::storage::{OsStorage, Storage, StorageFile, is_want_of_room};

/// The directory of log segments inside a data directory.
pub const LOG_DIR: &str = "log";
/// The directory of tails that were cut off the log, inside a data directory.
pub const CUT_DIR: &str = "cut";
/// The directory of snapshots inside a data directory.
pub const SNAPSHOTS_DIR: &str = "snapshots";
/// How the name of a segment file ends.
pub(crate) const SEGMENT_SUFFIX: &str = ".log";
/// How the name of a snapshot file ends.
pub(crate) const SNAPSHOT_SUFFIX: &str = ".snap";
/// How the name of a snapshot ends that takes the place of all others, until it has.
pub(crate) const PLACED_SUFFIX: &str = ".placed";
const META_FILE: &str = "meta";
/// Room that is kept for the meta file when there is no other.
const BALLAST_FILE: &str = "ballast";
/// How much that is, in bytes: the meta file is replaced by one beside it, which takes a few blocks.
const BALLAST_BYTES: u64 = 64 << 10;
/// What may stand in a directory that has not been formatted: our own lock, a meta file whose
/// formatting was interrupted, and what `mkfs` leaves at the root of a file system.
const UNFORMATTED_MAY_HOLD: [&str; 3] = [lock::LOCK_FILE, "meta.new", "lost+found"];

/// Why a data directory cannot be used. Each is one line: what, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process has it.
    #[error(
        "cannot use data directory {path}: {holder} holds it; stop that process or choose another --data"
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who holds it, in words.
        holder: String,
    },
    /// It belongs to a replica with another name.
    #[error(
        "cannot use data directory {path}: it belongs to replica {theirs}, not {ours}; start it with --name {theirs} or choose another --data"
    )]
    OtherName {
        /// The directory.
        path: PathBuf,
        /// The name in it.
        theirs: ReplicaName,
        /// The name it was opened for.
        ours: ReplicaName,
    },
    /// It belongs to another state machine.
    #[error(
        "cannot use data directory {path}: it holds the log of the machine {}, and this is {}; run the machine it belongs to or choose another --data",
        theirs.name(),
        ours.name()
    )]
    OtherMachine {
        /// The directory.
        path: PathBuf,
        /// The machine in it.
        theirs: MachineId,
        /// The machine it was opened for.
        ours: MachineId,
    },
    /// A newer version of the machine than this program has was executed in it, be it before an operator forced a takeover to a
    /// replica that had not come so far.
    #[error(
        "cannot use data directory {path}: {theirs} was executed in it, and this program supports no version above {newest}; start a program that supports version {}, or set the directory aside and start with an empty --data and --replace",
        theirs.version()
    )]
    NewerMachine {
        /// The directory.
        path: PathBuf,
        /// The machine in it, in the newest version that was executed.
        theirs: MachineId,
        /// The newest version that this program supports.
        newest: u32,
    },
    /// It holds files, but no meta file.
    #[error(
        "cannot use data directory {path}: it holds {found} but no meta file, so it is not a data directory or lost its meta file; choose an empty --data"
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// The meta file cannot be understood.
    #[error(
        "cannot use data directory {path}: its meta file is bad: {source}; if 'standin status' shows another replica serving, set the directory aside and start with an empty --data and --replace"
    )]
    BadMeta {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        source: MetaError,
    },
    /// It had a log, and the log is gone.
    #[error(
        "cannot use data directory {path}: it had a log up to view {view} at least, and {path}/log is empty; restore the log, or, if 'standin status' shows another replica serving, start with an empty --data and --replace"
    )]
    LogLost {
        /// The directory.
        path: PathBuf,
        /// The highest view it has adopted.
        view: ViewId,
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

/// A replica's data directory, held exclusively while this value lives.
#[derive(Debug)]
pub struct DataDir<S: Storage = OsStorage> {
    storage: S,
    path: PathBuf,
    /// What is on disk.
    meta: ReplicaMeta,
    /// A write of the meta file failed: what is on disk is unknown, and nothing more is written.
    is_failed: bool,
    _lock: S::Lock,
}

impl DataDir {
    /// What the meta file in `path` says, also if another process holds the directory; `None` if it is not formatted.
    ///
    /// # Errors
    /// [`DataDirError`] if it is damaged, or cannot be read.
    pub fn look(path: &Path) -> Result<Option<ReplicaMeta>, DataDirError> {
        Self::look_in(&OsStorage, path)
    }

    /// [`DataDir::open_in`] the operating system's files.
    ///
    /// # Errors
    /// See there.
    pub fn open(
        path: &Path,
        name: &ReplicaName,
        machine: &MachineId,
        fresh_store: StoreId,
    ) -> Result<(Self, bool), DataDirError> {
        Self::open_in(OsStorage, path, name, machine, fresh_store)
    }
}

impl<S: Storage> DataDir<S> {
    /// [`DataDir::look`], on a given storage.
    ///
    /// # Errors
    /// As there.
    pub fn look_in(storage: &S, path: &Path) -> Result<Option<ReplicaMeta>, DataDirError> {
        let bytes_max = u64::try_from(META_BYTES_MAX).expect("it is small") + 1;
        let bytes = match storage.read(&path.join(META_FILE), bytes_max) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(DataDirError::Io {
                    path: path.to_owned(),
                    doing: "reading its meta file",
                    source,
                });
            }
        };
        let meta = ReplicaMeta::decode(&bytes).map_err(|source| DataDirError::BadMeta {
            path: path.to_owned(),
            source,
        })?;
        Ok(Some(meta))
    }

    /// Opens the data directory at `path`, creating and formatting it as store `fresh_store` if it
    /// is absent or empty. The flag says whether it was formatted just now. `machine` is the program's, in the newest
    /// version that it supports.
    ///
    /// # Errors
    /// [`DataDirError`] if it is held by another process, is not this replica's, or is damaged.
    pub fn open_in(
        storage: S,
        path: &Path,
        name: &ReplicaName,
        machine: &MachineId,
        fresh_store: StoreId,
    ) -> Result<(Self, bool), DataDirError> {
        let (dir, is_fresh) = Self::open_without_log(storage, path, name, machine, fresh_store)?;
        dir.check_log()?;
        Ok((dir, is_fresh))
    }

    /// The same, also if the directory has lost its log, which [`DataDir::check_log`] tells.
    ///
    /// # Errors
    /// Those of [`DataDir::open_in`].
    pub fn open_without_log(
        storage: S,
        path: &Path,
        name: &ReplicaName,
        machine: &MachineId,
        fresh_store: StoreId,
    ) -> Result<(Self, bool), DataDirError> {
        let failed = |doing| {
            move |source| DataDirError::Io {
                path: path.to_owned(),
                doing,
                source,
            }
        };
        create_dir_durably(&storage, path).map_err(failed("creating it"))?;
        // Nothing is written, not even a lock file, into a directory that is someone else's.
        if !storage.exists(&path.join(META_FILE)) {
            refuse_foreign_files(&storage, path)?;
        }
        let lock = storage.lock(path).map_err(|error| match error {
            LockError::Held { pid } => DataDirError::Held {
                path: path.to_owned(),
                holder: lock::holder(pid),
            },
            LockError::Io(source) => failed("locking it")(source),
        })?;
        let found = Self::look_in(&storage, path)?;
        let is_fresh = found.is_none();
        if !is_fresh {
            // The process that wrote the meta file may have died before its name was on disk.
            storage.sync_dir(path).map_err(failed("syncing it"))?;
        }
        // Which version will be executed is not known yet: whoever is primary says it.
        let fresh = machine.with_version(0);
        let meta = found.unwrap_or_else(|| ReplicaMeta::fresh(name, fresh_store, &fresh));
        let mut dir = Self {
            storage,
            path: path.to_owned(),
            meta,
            is_failed: false,
            _lock: lock,
        };
        if is_fresh {
            let meta = dir.meta.clone();
            dir.store(meta).map_err(failed("formatting it"))?;
        } else {
            dir.check_owner(name, machine)?;
            let finished = dir.finish_setting_aside(fresh_store);
            finished.map_err(failed("setting its log aside"))?;
        }
        Ok((dir, is_fresh))
    }

    fn check_owner(&self, name: &ReplicaName, machine: &MachineId) -> Result<(), DataDirError> {
        if self.meta.name != *name {
            return Err(DataDirError::OtherName {
                path: self.path.clone(),
                theirs: self.meta.name.clone(),
                ours: name.clone(),
            });
        }
        let (path, theirs) = (self.path.clone(), self.meta.machine.clone());
        if theirs.name() != machine.name() {
            let ours = machine.clone();
            return Err(DataDirError::OtherMachine { path, theirs, ours });
        }
        let newest = machine.version();
        if theirs.version() > newest {
            return Err(DataDirError::NewerMachine {
                path,
                theirs,
                newest,
            });
        }
        Ok(())
    }

    /// A directory that lost its log must not pass for one that never had any. A snapshot alone is no
    /// substitute: entries after it may have been answered. (Where a log is begun anew after a snapshot,
    /// there is one at each moment.)
    ///
    /// # Errors
    /// [`DataDirError::LogLost`].
    pub fn check_log(&self) -> Result<(), DataDirError> {
        let had_log = self.meta.has_log || has_snapshots(&self.storage, &self.path);
        if had_log && !has_segments(&self.storage, &self.path) {
            return Err(DataDirError::LogLost {
                path: self.path.clone(),
                view: self.meta.adopted,
            });
        }
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its meta file says.
    #[must_use]
    pub fn meta(&self) -> &ReplicaMeta {
        &self.meta
    }

    /// Replaces the meta file; on disk when this returns. Waits for the disk. A quarantine's reason
    /// is cut to [`QUARANTINE_BYTES_MAX`], and `has_log` is set once there is a log.
    ///
    /// # Errors
    /// Those of the file system. The first is final: every later call fails.
    ///
    /// # Panics
    /// If name, store, machine or a known cluster change, or the adopted view, the machine's version or the count of
    /// starts would go back: that is a bug of the caller's (`protocol.md` S7).
    pub fn store(&mut self, meta: ReplicaMeta) -> io::Result<()> {
        let old = &self.meta;
        assert_eq!(meta.name, old.name, "a store keeps its name");
        assert_eq!(meta.store, old.store, "a store keeps its id");
        assert_eq!(
            meta.machine.name(),
            old.machine.name(),
            "a store keeps its machine"
        );
        assert!(
            meta.machine.version() >= old.machine.version(),
            "the version that is executed only rises"
        );
        assert!(
            old.cluster.is_none() || meta.cluster == old.cluster,
            "a store stays in its cluster"
        );
        assert!(meta.starts >= old.starts, "starts only rise");
        assert!(
            meta.disk_failures >= old.disk_failures,
            "failures stay noted"
        );
        assert!(
            meta.adopted >= old.adopted,
            "view {} after {} was adopted",
            meta.adopted,
            old.adopted
        );
        if self.is_failed {
            return Err(io::Error::other(
                "an earlier write of the meta file failed; restart the replica",
            ));
        }
        // Until it is known to be done it counts as failed.
        self.is_failed = true;
        let has_log = meta.has_log || has_segments(&self.storage, &self.path);
        self.replace(ReplicaMeta { has_log, ..meta })?;
        self.is_failed = false;
        Ok(())
    }

    fn replace(&mut self, mut meta: ReplicaMeta) -> io::Result<()> {
        meta.bound_quarantine();
        let (path, bytes) = (self.path.join(META_FILE), meta.encode());
        let mut replaced = replace_file(&self.storage, &path, &bytes);
        // On a full disk a view must be adopted all the same, or nobody could take over, or even hand over.
        if replaced.as_ref().is_err_and(is_want_of_room) && self.drop_ballast() {
            replaced = replace_file(&self.storage, &path, &bytes);
        }
        replaced?;
        self.meta = meta;
        Ok(())
    }

    fn drop_ballast(&self) -> bool {
        let removed = self.storage.remove(&self.path.join(BALLAST_FILE));
        // A file system may give the room back only with the name.
        removed.is_ok() && self.storage.sync_dir(&self.path).is_ok()
    }

    /// Keeps some room for the meta file, in a file of its own, as long as there is any: a full disk then does not
    /// keep this replica from adopting a view. To be called when the process begins and when there is
    /// room again. Nothing rests on it, and nothing comes of it if there is no room now.
    pub fn keep_ballast(&self) {
        let path = self.path.join(BALLAST_FILE);
        if self.storage.exists(&path) {
            return;
        }
        let made = self.storage.create_new(&path);
        if made.and_then(|file| file.allocate(BALLAST_BYTES)).is_err() {
            // It would pass for one that is whole.
            let _ = self.storage.remove(&path);
        }
    }

    /// Whether of what was written before, and not synced, some may be gone: there was no clean stop,
    /// and the machine was rebooted since, or a disk failure was noted. To be asked before
    /// [`DataDir::begin_life`].
    #[must_use]
    pub fn may_have_lost_writes(&self, boot: BootId) -> bool {
        self.meta.may_have_lost_writes(boot)
    }

    /// Whether others may rely on what was acknowledged here: by the record that the replica read last it is
    /// a holder, and its token does not die with the life that begins now. To be asked before
    /// [`DataDir::begin_life`].
    #[must_use]
    pub fn may_be_holder(&self, boot: BootId) -> bool {
        self.meta.may_be_holder(boot)
    }

    /// Takes note that the disk failed under this process: what it acknowledged out of the page cache
    /// may be gone. From now on lives count as those of another boot of the machine, so that the tokens
    /// of the earlier ones die. The process must end now: [`DataDir::store`] fails from here on.
    ///
    /// It is tried also after a failed write of the meta file. That write is not repeated: another file
    /// is written, of what was known to be stored before and this note. Whether there is a log by now is
    /// not noted with it: one whose making failed may be gone as well.
    ///
    /// # Errors
    /// Those of the file system: the note may then not be on disk.
    pub fn note_disk_failure(&mut self) -> io::Result<()> {
        self.is_failed = true;
        let mut meta = self.meta.clone();
        meta.disk_failures += 1;
        self.replace(meta)
    }

    /// Begins a process life in this boot of the machine: counts the start durably and says who this
    /// replica is now.
    ///
    /// # Errors
    /// Those of [`DataDir::store`].
    pub fn begin_life(&mut self, boot: BootId, nonce: u64) -> io::Result<Identity> {
        self.begin_life_after(boot, nonce, None)
    }

    /// The same, after lives that died at this entry, as their marks say: that is kept in the same step, so that no
    /// death is counted twice.
    ///
    /// # Errors
    /// Those of [`DataDir::store`].
    pub fn begin_life_after(
        &mut self,
        boot: BootId,
        nonce: u64,
        fatal: Option<FatalEntry>,
    ) -> io::Result<Identity> {
        let mut meta = self.meta.clone();
        let life = meta.begin_life(boot, nonce);
        meta.fatal = fatal;
        self.store(meta)?;
        Ok(Identity {
            name: self.meta.name.clone(),
            store: self.meta.store,
            life,
            clean_lives: self.meta.clean_lives.clone(),
        })
    }

    /// Begins the life of a process that only seeks what the log lacks: it is counted, so that it is known that the
    /// one before has ended, and acknowledges nothing. What is known of that one stays, for when the log is read.
    ///
    /// # Errors
    /// Those of [`DataDir::store`].
    pub fn begin_repair(&mut self, boot: BootId, nonce: u64) -> io::Result<Identity> {
        let mut meta = self.meta.clone();
        meta.starts += 1;
        self.store(meta)?;
        let start = self.meta.starts;
        Ok(Identity {
            name: self.meta.name.clone(),
            store: self.meta.store,
            life: Life {
                boot: self.meta.boot(boot),
                incarnation: Incarnation { start, nonce },
            },
            clean_lives: Vec::new(),
        })
    }

    /// Ends the life cleanly: its tokens live on. The log must have been synced before
    /// ([`crate::log::SegmentLog::sync_now`]) and must not be written after.
    ///
    /// # Errors
    /// Those of [`DataDir::store`].
    pub fn note_clean_stop(&mut self) -> io::Result<()> {
        let mut meta = self.meta.clone();
        meta.clean_stop = meta.life;
        self.store(meta)
    }
}

fn refuse_foreign_files(storage: &impl Storage, path: &Path) -> Result<(), DataDirError> {
    let failed = |source| DataDirError::Io {
        path: path.to_owned(),
        doing: "listing it",
        source,
    };
    for name in storage.list(path).map_err(failed)? {
        if !UNFORMATTED_MAY_HOLD.iter().any(|known| name == *known) {
            return Err(DataDirError::NotOurs {
                path: path.to_owned(),
                found: name.display().to_string(),
            });
        }
    }
    Ok(())
}

/// Whether there is a log. One that cannot be listed counts as none.
fn has_segments(storage: &impl Storage, path: &Path) -> bool {
    has_files(storage, &path.join(LOG_DIR), SEGMENT_SUFFIX)
}

/// Whether there are snapshots. They are written of what was logged, and received by whoever has a log.
fn has_snapshots(storage: &impl Storage, path: &Path) -> bool {
    let dir = path.join(SNAPSHOTS_DIR);
    let has = |suffix| has_files(storage, &dir, suffix);
    has(SNAPSHOT_SUFFIX) || has(PLACED_SUFFIX)
}

fn has_files(storage: &impl Storage, dir: &Path, suffix: &str) -> bool {
    let is_one = |name: &OsString| name.to_string_lossy().ends_with(suffix);
    let names = storage.list(dir);
    names.is_ok_and(|names| names.iter().any(is_one))
}

/// The machine's boot, as the kernel names it.
///
/// # Errors
/// Those of reading `/proc/sys/kernel/random/boot_id`, and `InvalidData` if it holds no UUID.
pub fn boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    match u128::from_str_radix(&digits, 16) {
        Ok(id) if digits.len() == 32 => Ok(BootId(id)),
        Ok(_) | Err(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel's boot id is no UUID",
        )),
    }
}

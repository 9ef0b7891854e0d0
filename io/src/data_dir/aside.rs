//! Setting a store's log and snapshots aside: the directory goes on as another, empty store.
//!
//! The files keep their places and get other names, so no time and no room is needed, and people find them there:
//! `N.log` becomes `N.log.START-STORE.aside`, with the count of starts and the store's id. The first file that has its new
//! name decides it: if a crash comes in between, the next start sees a file that was set aside of the very store that the
//! meta file names, and goes on. Last comes the meta file, with a new store: no token of the old one lives on.

use std::io;
use std::path::{Path, PathBuf};

use standin_core::identity::StoreId;

use super::{
    DataDir, LOG_DIR, PLACED_SUFFIX, ReplicaMeta, SEGMENT_SUFFIX, SNAPSHOT_SUFFIX, SNAPSHOTS_DIR,
    create_dir_durably, has_files,
};
use crate::storage::Storage;

/// How the name of a file ends that was set aside.
pub(crate) const ASIDE_SUFFIX: &str = ".aside";
/// Stores whose files are kept when they were set aside; those of the oldest go first.
pub const STORES_ASIDE_MAX: usize = 2;

/// A store whose files were set aside, as their names tell: when, by the count of starts, and which.
type Aside = (u64, StoreId);

impl<S: Storage> DataDir<S> {
    /// Sets the log and the snapshots aside, for people, and goes on as the empty store `fresh`. All of it is on disk
    /// when this returns. Files of somebody else, and those of damaged snapshots, stay where they are. Nobody may have
    /// the log open. Waits for the disk.
    ///
    /// # Errors
    /// Those of the file system. The first is final: every later write of the meta file fails. The next start goes on
    /// with what was begun.
    pub fn set_aside(&mut self, fresh: StoreId) -> io::Result<()> {
        if self.is_failed {
            return Err(io::Error::other(
                "an earlier write of the meta file failed; restart the replica",
            ));
        }
        self.is_failed = true;
        let old = (self.meta.starts, self.meta.store);
        self.forget_asides(old.1)?;
        let tag = format!(".{:010}-{:032x}{ASIDE_SUFFIX}", old.0, old.1.0);
        let mut count = 0;
        for (dir, suffix) in self.places() {
            create_dir_durably(&self.storage, &dir)?;
            for path in files(&self.storage, &dir, suffix)? {
                let mut name = path.clone().into_os_string();
                name.push(&tag);
                self.storage.rename(&path, Path::new(&name))?;
                count += 1;
            }
            self.storage.sync_dir(&dir)?;
        }
        if count == 0 {
            // It had lost all of them. That this store is another one's successor must be known all the same.
            let dir = self.path.join(LOG_DIR);
            self.storage.create(&dir.join(format!("nothing{tag}")))?;
            self.storage.sync_dir(&dir)?;
        }
        let meta = self.meta.clone();
        self.replace(ReplicaMeta {
            store: fresh,
            life: None,
            clean_lives: Vec::new(),
            clean_stop: None,
            has_log: false,
            holds: None,
            ..meta
        })?;
        self.is_failed = false;
        Ok(())
    }

    /// Goes on with what a crash has interrupted.
    pub(super) fn finish_setting_aside(&mut self, fresh: StoreId) -> io::Result<()> {
        let store = self.meta.store;
        let is_begun = self.asides()?.iter().any(|(_, aside)| *aside == store);
        if is_begun {
            self.set_aside(fresh)?;
        }
        Ok(())
    }

    /// Whether this store is one that has taken the place of another, whose log was set aside, in this directory.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn has_set_aside(&self) -> io::Result<bool> {
        Ok(!self.asides()?.is_empty())
    }

    /// The places of what is set aside: directories, and how the names of its files end.
    fn places(&self) -> [(PathBuf, &'static str); 3] {
        [
            (self.path.join(LOG_DIR), SEGMENT_SUFFIX),
            (self.path.join(SNAPSHOTS_DIR), SNAPSHOT_SUFFIX),
            (self.path.join(SNAPSHOTS_DIR), PLACED_SUFFIX),
        ]
    }

    /// What was set aside, the oldest first.
    fn asides(&self) -> io::Result<Vec<Aside>> {
        let mut found = Vec::new();
        for (dir, _) in self.places() {
            for path in files(&self.storage, &dir, ASIDE_SUFFIX)? {
                found.extend(aside_of(&path));
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Removes what was set aside first, so that there is room for one more store, `next`.
    fn forget_asides(&self, next: StoreId) -> io::Result<()> {
        let mut asides = self.asides()?;
        asides.retain(|(_, store)| *store != next);
        let count = asides.len().saturating_sub(STORES_ASIDE_MAX - 1);
        for aside in &asides[..count] {
            for (dir, _) in self.places() {
                for path in files(&self.storage, &dir, ASIDE_SUFFIX)? {
                    if aside_of(&path) == Some(*aside) {
                        self.storage.remove(&path)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The files in a directory whose names end so, in order; none if there is no directory.
fn files(storage: &impl Storage, dir: &Path, suffix: &str) -> io::Result<Vec<PathBuf>> {
    if !has_files(storage, dir, suffix) {
        return Ok(Vec::new());
    }
    let names = storage.list(dir)?.into_iter();
    let names = names.filter(|name| name.to_string_lossy().ends_with(suffix));
    let mut files: Vec<PathBuf> = names.map(|name| dir.join(name)).collect();
    files.sort();
    Ok(files)
}

/// What the name of a file that was set aside says.
fn aside_of(path: &Path) -> Option<Aside> {
    let name = path.file_name()?.to_str()?;
    let (_, tag) = name.strip_suffix(ASIDE_SUFFIX)?.rsplit_once('.')?;
    let (start, store) = tag.split_once('-')?;
    let store = u128::from_str_radix(store, 16).ok()?;
    Some((start.parse().ok()?, StoreId(store)))
}

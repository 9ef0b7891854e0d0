//! The disk as the code that runs on it sees it.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use standin_io::data_dir::LockError;
use standin_io::storage::{Storage, StorageFile};

use super::SimDisk;
use super::nodes::NodeId;

/// An open file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    node: NodeId,
    /// The process life that opened it.
    life: u64,
}

/// A lock on a directory of a [`SimDisk`].
#[derive(Debug)]
pub struct SimLock {
    disk: SimDisk,
    node: NodeId,
    /// The process life that took it.
    life: u64,
}

impl SimDisk {
    fn opened(&self, node: NodeId) -> SimFile {
        SimFile {
            disk: self.clone(),
            node,
            life: self.state().life(),
        }
    }
}

impl Storage for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let node = self.state().open(path)?;
        Ok(self.opened(node))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<SimFile> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        let node = self.state().create(path)?;
        Ok(self.opened(node))
    }

    fn create_new(&self, path: &Path) -> io::Result<SimFile> {
        let node = self.state().create_new(path)?;
        Ok(self.opened(node))
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.state().read_all(path, bytes_max)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.state().list(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        self.state().exists(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.state().is_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.state().create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state().sync_dir(path)
    }

    /// It does not say, as with quotas: an attempt must tell.
    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn lock(&self, dir: &Path) -> Result<SimLock, LockError> {
        let mut state = self.state();
        let Some(node) = state.lock(dir)? else {
            return Err(LockError::Held { pid: None });
        };
        Ok(SimLock {
            disk: self.clone(),
            node,
            life: state.life(),
        })
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        // The death of the process let the lock go, and another may have it by now.
        if state.life() == self.life {
            state.unlock(self.node);
        }
    }
}

impl StorageFile for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let state = self.disk.state();
        state.check_life(self.life)?;
        state.read(self.node, buffer, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_life(self.life)?;
        state.write(self.node, bytes, at)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_life(self.life)?;
        state.set_length(self.node, length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_life(self.life)?;
        state.allocate(self.node, length)
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check_life(self.life)?;
        state.length(self.node)
    }

    fn drop_cache(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_life(self.life)?;
        state.drop_cache(self.node)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_life(self.life)?;
        state.sync(self.node)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

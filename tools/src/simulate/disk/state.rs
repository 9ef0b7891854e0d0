//! A disk's files and directories, the faults that wait for it, and what each operation does.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use standin_core::random::RandomStream;

use super::content::{offset, position};
use super::directory::Directory;
use super::file::{Change, File};
use super::nodes::{Node, NodeId, Nodes};
use super::{DiskCounts, Lie, below};

/// A disk.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) nodes: Nodes,
    /// Counts the deaths of the process, so that files that a dead one had open are known.
    pub(super) life: u64,
    /// The directories on which the process holds a lock.
    pub(super) locked: BTreeSet<NodeId>,
    pub(super) capacity: Option<u64>,
    /// That there is no room has been noticed.
    is_found_full: bool,
    pub(super) are_names_unordered: bool,
    pub(super) lie: Option<Lie>,
    /// Operations that are still carried out before the process dies, and what to draw from then.
    pub(super) stop: Option<(u64, RandomStream)>,
    pub(super) is_stopped: bool,
    /// Syncs that still succeed before one fails, and what to draw from then.
    pub(super) sync_failure: Option<(u64, RandomStream)>,
    /// Writes that still succeed before one fails.
    pub(super) write_failure: Option<u64>,
    pub(super) counts: DiskCounts,
}

impl State {
    fn check_alive(&self) -> io::Result<()> {
        if self.is_stopped {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(())
    }

    /// Begins an operation that changes something. Fails if this is where the process dies.
    fn begin(&mut self) -> io::Result<()> {
        self.check_alive()?;
        self.counts.operations += 1;
        match &mut self.stop {
            Some((0, _)) => {
                self.is_stopped = true;
                self.counts.stops += 1;
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        self.check_alive()
    }

    /// Up to which length a file may grow.
    fn length_max(&self, length: u64) -> u64 {
        let room = |capacity: u64| capacity.saturating_sub(self.used());
        self.capacity
            .map_or(u64::MAX, |capacity| length + room(capacity))
    }

    pub(super) fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
        self.is_found_full = false;
    }

    fn lack_room(&mut self) {
        self.counts.writes_failed += 1;
        self.counts.rooms_lacked += 1;
        self.counts.times_full += u64::from(!std::mem::replace(&mut self.is_found_full, true));
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    pub(super) fn check_life(&self, life: u64) -> io::Result<()> {
        if life != self.life {
            return Err(io::Error::other("the process that had this open is dead"));
        }
        self.check_alive()
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<NodeId> {
        self.check_alive()?;
        let node = self.nodes.find(path)?;
        self.nodes.file(node).map(|_| node)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<NodeId> {
        match self.nodes.find(path) {
            Err(_) => self.create_new(path),
            Ok(node) => {
                self.begin()?;
                self.nodes.file_mut(node)?.change(Change::SetLength(0));
                Ok(node)
            }
        }
    }

    pub(super) fn create_new(&mut self, path: &Path) -> io::Result<NodeId> {
        self.add(path, Node::File(File::default()))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.add(path, Node::Directory(Directory::default()))
            .map(|_| ())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        self.begin()?;
        let (parent, name) = self.place(path)?;
        if self.nodes.directory(parent)?.find(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = self.nodes.add(node);
        self.nodes.directory_mut(parent)?.add(name, node);
        Ok(node)
    }

    /// The directory of `path`, and its name there.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(NodeId, &'a OsStr)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::AlreadyExists.into());
        };
        let parent = self.nodes.find(parent)?;
        self.nodes.directory(parent)?;
        Ok((parent, name))
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin()?;
        let node = self.nodes.find(from)?;
        let ((directory, from), (target, to)) = (self.place(from)?, self.place(to)?);
        if directory != target {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let directory = self.nodes.directory(directory)?;
        if let Some(replaced) = directory.find(to) {
            self.nodes.file(replaced)?;
        }
        self.nodes.directory_mut(target)?.rename(from, to, node);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.begin()?;
        let node = self.nodes.find(path)?;
        self.nodes.file(node)?;
        let (parent, name) = self.place(path)?;
        self.nodes.directory_mut(parent)?.remove(name);
        Ok(())
    }

    /// Somebody else removes a file.
    pub(super) fn lose_file(&mut self, path: &Path) {
        let Ok((parent, name)) = self.place(path) else {
            return;
        };
        if self.nodes.find(path).is_ok()
            && let Ok(directory) = self.nodes.directory_mut(parent)
        {
            directory.remove(name);
        }
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.check_alive()?;
        let node = self.nodes.find(path)?;
        Ok(self
            .nodes
            .directory(node)?
            .names()
            .keys()
            .cloned()
            .collect())
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        let node = self.nodes.find(path);
        node.is_ok_and(|node| self.nodes.directory(node).is_ok())
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.nodes.find(path).is_ok()
    }

    pub(super) fn read_all(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let node = self.open(path)?;
        Ok(self.nodes.file(node)?.cached().beginning(bytes_max))
    }

    pub(super) fn read(&self, node: NodeId, buffer: &mut [u8], at: u64) -> io::Result<()> {
        if !self.nodes.file(node)?.cached().read(buffer, at) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    pub(super) fn length(&self, node: NodeId) -> io::Result<u64> {
        Ok(self.nodes.file(node)?.cached().length())
    }

    pub(super) fn drop_cache(&mut self, node: NodeId) -> io::Result<()> {
        self.nodes.file_mut(node)?.evict();
        Ok(())
    }

    pub(super) fn write(&mut self, node: NodeId, bytes: &[u8], at: u64) -> io::Result<()> {
        self.counts.writes += 1;
        let (kept, result) = self.admit_write(node, bytes, at);
        if kept > 0 {
            let bytes = bytes[..kept].to_vec();
            self.nodes
                .file_mut(node)?
                .change(Change::Write { at, bytes });
        }
        result
    }

    /// How much of a write is carried out, and what comes of it.
    fn admit_write(&mut self, node: NodeId, bytes: &[u8], at: u64) -> (usize, io::Result<()>) {
        if let Err(error) = self.begin() {
            let Some((_, mut random)) = self.stop.take() else {
                return (0, Err(error));
            };
            self.counts.writes_torn += 1;
            let kept = below(&mut random, offset(bytes.len()) + 1);
            return (position(kept), Err(error));
        }
        match &mut self.write_failure {
            Some(0) => {
                self.write_failure = None;
                self.counts.writes_failed += 1;
                return (0, Err(broken()));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let length = self.length(node).unwrap_or_default();
        let room = self.length_max(length).saturating_sub(at);
        if room < offset(bytes.len()) {
            self.lack_room();
            return (position(room), Err(io::ErrorKind::StorageFull.into()));
        }
        (bytes.len(), Ok(()))
    }

    pub(super) fn set_length(&mut self, node: NodeId, length: u64) -> io::Result<()> {
        self.begin()?;
        self.nodes.file_mut(node)?.change(Change::SetLength(length));
        Ok(())
    }

    pub(super) fn allocate(&mut self, node: NodeId, length: u64) -> io::Result<()> {
        self.begin()?;
        if length > self.length_max(self.length(node)?) {
            self.lack_room();
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.nodes.file_mut(node)?.change(Change::Allocate(length));
        Ok(())
    }

    pub(super) fn sync(&mut self, node: NodeId) -> io::Result<()> {
        self.begin()?;
        if let Some(mut random) = self.failing_sync() {
            let file = self.nodes.file_mut(node)?;
            file.fail_sync(&mut random, &mut self.counts);
            return Err(broken());
        }
        if self.lie != Some(Lie::Bytes) {
            self.nodes.file_mut(node)?.sync();
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.begin()?;
        let node = self.nodes.find(path)?;
        if self.failing_sync().is_some() {
            return Err(broken());
        }
        if self.lie != Some(Lie::Names) {
            self.nodes.directory_mut(node)?.sync();
        }
        Ok(())
    }

    /// What a sync that fails draws from, if this one does.
    fn failing_sync(&mut self) -> Option<RandomStream> {
        match &mut self.sync_failure {
            Some((0, _)) => {
                self.counts.syncs_failed += 1;
                return self.sync_failure.take().map(|(_, random)| random);
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        self.counts.syncs += 1;
        None
    }

    /// Takes the lock on a directory. `None`: it is held.
    pub(super) fn lock(&mut self, path: &Path) -> io::Result<Option<NodeId>> {
        self.check_alive()?;
        let node = self.nodes.find(path)?;
        let file = path.join(LOCK_FILE);
        if !self.exists(&file) {
            self.create_new(&file)?;
        }
        Ok(self.locked.insert(node).then_some(node))
    }

    pub(super) fn unlock(&mut self, node: NodeId) {
        self.locked.remove(&node);
    }
}

/// The file through which the real lock is taken.
const LOCK_FILE: &str = "lock";

/// What a disk says that is broken.
fn broken() -> io::Error {
    const EIO: i32 = 5;
    io::Error::from_raw_os_error(EIO)
}

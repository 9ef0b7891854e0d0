//! All files and directories of a disk, the faults that wait for it, and what each operation does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use standin_core::random::RandomStream;

use super::content::{offset, position};
use super::directory::Directory;
use super::file::{Change, File};
use super::{DiskCounts, SECTOR_BYTES, below};

/// Names a file or a directory, whatever it is called.
pub(super) type NodeId = u64;
const ROOT: NodeId = 0;

#[derive(Clone, Debug)]
enum Node {
    File(File),
    Directory(Directory),
}

/// Everything that is on a disk.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    by_id: BTreeMap<NodeId, Node>,
    /// The last id that was given away. None is used twice.
    last: NodeId,
}

impl Default for Nodes {
    fn default() -> Self {
        let root = Node::Directory(Directory::default());
        Self {
            by_id: BTreeMap::from([(ROOT, root)]),
            last: ROOT,
        }
    }
}

impl Nodes {
    fn add(&mut self, node: Node) -> NodeId {
        self.last += 1;
        self.by_id.insert(self.last, node);
        self.last
    }

    fn file(&self, node: NodeId) -> io::Result<&File> {
        match &self.by_id[&node] {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn file_mut(&mut self, node: NodeId) -> io::Result<&mut File> {
        match self.by_id.get_mut(&node) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn directory(&self, node: NodeId) -> io::Result<&Directory> {
        match &self.by_id[&node] {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn directory_mut(&mut self, node: NodeId) -> io::Result<&mut Directory> {
        match self.by_id.get_mut(&node) {
            Some(Node::Directory(directory)) => Ok(directory),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    let found = self.directory(node)?.find(name);
                    node = found.ok_or(io::ErrorKind::NotFound)?;
                }
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(io::ErrorKind::Unsupported.into());
                }
            }
        }
        Ok(node)
    }

    /// All files that have a name, in the order of their paths.
    fn files(&self) -> Vec<(PathBuf, NodeId)> {
        let mut found = Vec::new();
        let mut directories = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, node)) = directories.pop() {
            let Ok(directory) = self.directory(node) else {
                found.push((path, node));
                continue;
            };
            let names = directory.names().iter().rev();
            directories.extend(names.map(|(name, node)| (path.join(name), *node)));
        }
        found
    }

    /// Lets go of what no name leads to any more, and no name that may come back.
    fn collect(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut waiting = vec![ROOT];
        while let Some(node) = waiting.pop() {
            if let Ok(directory) = self.directory(node) {
                waiting.extend(directory.nodes().filter(|node| reached.insert(*node)));
            }
        }
        self.by_id.retain(|node, _| reached.contains(node));
    }
}

/// A disk.
#[derive(Debug, Default)]
pub(super) struct State {
    nodes: Nodes,
    /// Counts the deaths of the process, so that files that a dead one had open are known.
    life: u64,
    /// The directories on which the process holds a lock.
    locked: BTreeSet<NodeId>,
    pub(super) capacity: Option<u64>,
    pub(super) are_names_unordered: bool,
    /// Operations that are still carried out before the process dies, and what to draw from then.
    stop: Option<(u64, RandomStream)>,
    is_stopped: bool,
    /// Syncs that still succeed before one fails, and what to draw from then.
    sync_failure: Option<(u64, RandomStream)>,
    /// Writes that still succeed before one fails.
    write_failure: Option<u64>,
    pub(super) counts: DiskCounts,
}

/// What the simulator does to a disk.
impl State {
    fn end_life(&mut self) {
        self.life += 1;
        self.locked.clear();
        self.stop = None;
        self.is_stopped = false;
        self.nodes.collect();
    }

    pub(super) fn kill(&mut self) {
        self.end_life();
    }

    pub(super) fn power_loss(&mut self, random: &mut RandomStream) {
        self.counts.power_losses += 1;
        for node in self.nodes.by_id.values_mut() {
            match node {
                Node::File(file) => file.lose_power(random, &mut self.counts),
                Node::Directory(directory) => {
                    directory.lose_power(self.are_names_unordered, random, &mut self.counts);
                }
            }
        }
        self.end_life();
    }

    pub(super) fn evict(&mut self) {
        for node in self.nodes.by_id.values_mut() {
            if let Node::File(file) = node {
                file.evict();
            }
        }
    }

    pub(super) fn stop(&mut self, after: u64, random: RandomStream) {
        self.stop = Some((after, random));
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    pub(super) fn fail_sync(&mut self, after: u64, random: RandomStream) {
        self.sync_failure = Some((after, random));
    }

    pub(super) fn fail_write(&mut self, after: u64) {
        self.write_failure = Some(after);
    }

    pub(super) fn used(&self) -> u64 {
        let lengths = self.nodes.files().into_iter().map(|(_, node)| {
            let file = self.nodes.file(node);
            file.map_or(0, |file| file.cached().length())
        });
        lengths.sum()
    }

    pub(super) fn flip_bit(&mut self, path: &Path, bit: u64) -> bool {
        let node = self.nodes.find(path);
        let Ok(file) = node.and_then(|node| self.nodes.file_mut(node)) else {
            return false;
        };
        if !file.platter.flip_bit(bit) {
            return false;
        }
        file.evict();
        self.counts.bits_flipped += 1;
        true
    }

    pub(super) fn flip_any_bit(&mut self, random: &mut RandomStream) -> Option<(PathBuf, u64)> {
        let mut places = self.nodes.files();
        // Preallocated zeros rot, too, but not as often as there are many of them.
        let bits = |node: NodeId| {
            let platter = &self
                .nodes
                .file(node)
                .expect("only files are listed")
                .platter;
            platter.length().min(platter.written() + SECTOR_BYTES) * 8
        };
        places.retain(|(_, node)| bits(*node) > 0);
        let total = places.iter().map(|(_, node)| bits(*node)).sum();
        if total == 0 {
            return None;
        }
        let mut bit = below(random, total);
        for (path, node) in places {
            if bit < bits(node) {
                let is_flipped = self.flip_bit(&path, bit);
                assert!(is_flipped, "bit {bit} of {}", path.display());
                return Some((path, bit));
            }
            bit -= bits(node);
        }
        unreachable!("the bit lies within the total")
    }

    pub(super) fn snapshot(&self) -> Nodes {
        let copied = |node: &Node| match node {
            Node::File(file) => Node::File(file.copied()),
            Node::Directory(directory) => Node::Directory(directory.copied()),
        };
        let by_id = self.nodes.by_id.iter();
        let mut nodes = Nodes {
            by_id: by_id.map(|(id, node)| (*id, copied(node))).collect(),
            last: self.nodes.last,
        };
        nodes.collect();
        nodes
    }

    pub(super) fn replace(&mut self, nodes: Nodes) {
        self.nodes = nodes;
        self.end_life();
    }
}

/// What a process does with a disk.
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
            Some((0, _)) => self.is_stopped = true,
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
            self.counts.writes_failed += 1;
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
            self.counts.writes_failed += 1;
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
        self.nodes.file_mut(node)?.sync();
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.begin()?;
        let node = self.nodes.find(path)?;
        if self.failing_sync().is_some() {
            return Err(broken());
        }
        self.nodes.directory_mut(node)?.sync();
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

//! Everything that is on a disk, and the paths that lead to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::directory::Directory;
use super::file::File;

/// Names a file or a directory, whatever it is called.
pub(super) type NodeId = u64;
const ROOT: NodeId = 0;

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(File),
    Directory(Directory),
}

/// Everything that is on a disk.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    pub(super) by_id: BTreeMap<NodeId, Node>,
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
    pub(super) fn add(&mut self, node: Node) -> NodeId {
        self.last += 1;
        self.by_id.insert(self.last, node);
        self.last
    }

    pub(super) fn file(&self, node: NodeId) -> io::Result<&File> {
        match &self.by_id[&node] {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn file_mut(&mut self, node: NodeId) -> io::Result<&mut File> {
        match self.by_id.get_mut(&node) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn directory(&self, node: NodeId) -> io::Result<&Directory> {
        match &self.by_id[&node] {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn directory_mut(&mut self, node: NodeId) -> io::Result<&mut Directory> {
        match self.by_id.get_mut(&node) {
            Some(Node::Directory(directory)) => Ok(directory),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
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
    pub(super) fn files(&self) -> Vec<(PathBuf, NodeId)> {
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
    pub(super) fn collect(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut waiting = vec![ROOT];
        while let Some(node) = waiting.pop() {
            if let Ok(directory) = self.directory(node) {
                waiting.extend(directory.nodes().filter(|node| reached.insert(*node)));
            }
        }
        self.by_id.retain(|node, _| reached.contains(node));
    }
    /// The copy that a reader would make, on a platter.
    pub(super) fn copied(&self) -> Self {
        let copied = |node: &Node| match node {
            Node::File(file) => Node::File(file.copied()),
            Node::Directory(directory) => Node::Directory(directory.copied()),
        };
        let by_id = self.by_id.iter();
        let mut nodes = Self {
            by_id: by_id.map(|(id, node)| (*id, copied(node))).collect(),
            last: self.last,
        };
        nodes.collect();
        nodes
    }
}

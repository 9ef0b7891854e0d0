//! What the simulator does to a disk.

use std::path::{Path, PathBuf};

use standin_core::random::RandomStream;

use super::content::{offset, position};
use super::nodes::{Node, NodeId, Nodes};
use super::state::State;
use super::{SECTOR_BYTES, below};

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

    pub(super) fn mend(&mut self) {
        self.stop = None;
        self.sync_failure = None;
        self.write_failure = None;
        self.capacity = None;
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
        file.is_stale = true;
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

    pub(super) fn misdirect_any(&mut self, random: &mut RandomStream) -> Option<PathBuf> {
        let mut places = self.nodes.files();
        let sectors = |node: NodeId| {
            let file = self.nodes.file(node).expect("only files are listed");
            let (written, length) = (file.platter.written(), file.platter.length());
            let written = written / SECTOR_BYTES;
            (written, (length / SECTOR_BYTES).min(written + 4))
        };
        places.retain(|(_, node)| sectors(*node).0 > 0 && sectors(*node).1 > 1);
        let place = below(random, offset(places.len()).max(1));
        let (path, node) = places.into_iter().nth(position(place))?;
        let (written, all) = sectors(node);
        let from = below(random, written);
        let to = (from + 1 + below(random, all - 1)) % all;
        let file = self.nodes.file_mut(node).expect("only files are listed");
        file.platter.misdirect(from, to);
        file.is_stale = true;
        file.evict();
        self.counts.writes_misdirected += 1;
        Some(path)
    }

    pub(super) fn snapshot(&self) -> Nodes {
        self.nodes.copied()
    }

    pub(super) fn replace(&mut self, nodes: Nodes) {
        self.nodes = nodes;
        self.end_life();
    }
}

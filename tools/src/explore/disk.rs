//! A replica's disk: what its log and its data directory come to, without files.
//!
//! Written entries are in the page cache, synced ones on the platter; a power loss keeps the latter
//! alone. What is kept of a view or a life is durable at once, as the data directory promises.

use std::fmt;
use std::sync::Arc;

use standin_core::entry::{
    Batch, ENTRY_HEADER_BYTES, Entry, EntryHeader, EntryKind, Index, LogTip,
};
use standin_core::identity::{BootId, Incarnation, Life, Token};
use standin_core::version::VersionStarts;
use standin_core::view::{DataEpoch, ViewId};
use standin_replica::Recovered;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// An entry of a log.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) header: EntryHeader,
    pub(super) tip: LogTip,
    /// Over it and all before it.
    pub(super) hash: u64,
    bytes: Arc<[u8]>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.fmt(f)
    }
}

/// One disk, and the machine that it is in.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// Counts the machine's boots.
    boot: u64,
    pub(super) log: Vec<Kept>,
    /// So many entries are on the platter.
    pub(super) synced: usize,
    pub(super) adopted: ViewId,
    /// The token that was kept with it.
    pub(super) holds: Option<Token>,
    starts: u64,
    /// The life that is running, or ended last.
    pub(super) life: Option<Life>,
    is_clean: bool,
    pub(super) clean_lives: Vec<Life>,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            boot: 1,
            log: Vec::new(),
            synced: 0,
            adopted: ViewId::default(),
            holds: None,
            starts: 0,
            life: None,
            is_clean: false,
            clean_lives: Vec::new(),
        }
    }

    /// A process begins on it: what it finds was synced before it is relied upon.
    pub(super) fn begin_life(&mut self, host: usize) -> Life {
        let boot = BootId((u128::from(self.boot) << 104) | ((host as u128) << 96));
        if let Some(ended) = self.life {
            if std::mem::take(&mut self.is_clean) {
                self.clean_lives.push(ended);
            } else if ended.boot != boot {
                // What it had in the page cache alone is gone, and with it the boot's word.
                self.clean_lives.retain(|life| life.boot != ended.boot);
            }
        }
        self.starts += 1;
        let incarnation = Incarnation {
            start: self.starts,
            nonce: self.starts * 16 + host as u64,
        };
        let life = Life { boot, incarnation };
        self.life = Some(life);
        self.synced = self.log.len();
        life
    }

    pub(super) fn recovered(&self) -> Recovered {
        let view_starts = self
            .log
            .iter()
            .filter(|kept| kept.header.kind == EntryKind::ViewStart)
            .map(|kept| (kept.header.view, kept.header.index))
            .collect();
        let mut version_starts = VersionStarts::default();
        for kept in &self.log {
            let entry = Entry::decode(&kept.bytes).expect("it was decoded before");
            if let Some(start) = entry.version_start() {
                version_starts.note(start);
            }
        }
        let commits = self.log.iter().map(|kept| kept.header.commit);
        Recovered {
            base: LogTip::default(),
            snapshots: Vec::new(),
            tip: self.tip(),
            view_starts,
            version_starts,
            skips: Vec::new(),        // no machine fails here
            data_epoch: DataEpoch(0), // nobody forces a takeover here
            commit: commits.max().unwrap_or_default(),
            lost: Index::ZERO,
            synced: self.tip().index,
        }
    }

    pub(super) fn tip(&self) -> LogTip {
        self.log.last().map_or(LogTip::default(), |kept| kept.tip)
    }

    pub(super) fn append(&mut self, batch: &Batch) {
        let mut rest = batch.bytes();
        for entry in batch.entries() {
            let (bytes, after) = rest.split_at(ENTRY_HEADER_BYTES + entry.payload.len());
            rest = after;
            self.push(&entry, bytes);
        }
    }

    fn push(&mut self, entry: &Entry<'_>, bytes: &[u8]) {
        let tip = self.tip();
        assert_eq!(tip.check_next(entry), Ok(()), "the log goes on");
        let before = self.log.last().map_or(0, |kept| kept.hash);
        self.log.push(Kept {
            header: entry.header,
            tip: entry.tip(),
            hash: xxh3_64_with_seed(bytes, before),
            bytes: bytes.into(),
        });
    }

    /// Entries from an index on, at most about so many bytes.
    pub(super) fn read(&self, from: Index, bytes_max: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for kept in self.log.iter().filter(|kept| kept.header.index >= from) {
            if !bytes.is_empty() && bytes.len() + kept.bytes.len() > bytes_max {
                break;
            }
            bytes.extend_from_slice(&kept.bytes);
        }
        bytes
    }

    /// Removes what comes after an index, durably.
    pub(super) fn cut(&mut self, after: Index) -> LogTip {
        self.log.retain(|kept| kept.header.index <= after);
        self.synced = self.log.len();
        self.tip()
    }

    /// The process ended cleanly: everything is on the platter, and a mark says so.
    pub(super) fn note_clean_stop(&mut self) {
        self.synced = self.log.len();
        self.is_clean = true;
    }

    /// The power goes, and comes back; that the machine was booted is noticed, or not.
    pub(super) fn lose_power(&mut self, is_noticed: bool) {
        self.log.truncate(self.synced);
        if let Some(lost) = self.life.filter(|_| !self.is_clean) {
            self.clean_lives.retain(|life| life.boot != lost.boot);
        }
        self.boot += u64::from(is_noticed);
    }

    /// The hash of the log up to `index`, if it has that entry: on the platter if `is_on_disk`.
    pub(super) fn hash_at(&self, index: Index, is_on_disk: bool) -> Option<u64> {
        let place = usize::try_from(index.0.checked_sub(1)?).ok()?;
        let certain = if is_on_disk {
            self.synced
        } else {
            self.log.len()
        };
        self.log
            .get(place)
            .filter(|_| place < certain)
            .map(|kept| kept.hash)
    }

    /// Whether what was acknowledged under `token`, a token of this store, is still here. Asked of
    /// the world and not of the data directory: a power loss tells on the token at once.
    pub(super) fn stands_for(&self, token: Token, is_running: bool) -> bool {
        let Some(life) = self.life else { return false };
        let ended = self.is_clean.then_some(life);
        let mut clean = self.clean_lives.iter().chain(&ended).copied();
        match token {
            Token::Disk { .. } => true,
            Token::Memory { incarnation, .. } => {
                (is_running && life.incarnation == incarnation)
                    || clean.any(|life| life.incarnation == incarnation)
            }
            Token::Os { boot, .. } => {
                let is_this_boot = boot.0 >> 104 == u128::from(self.boot);
                is_this_boot || clean.any(|life| life.boot == boot)
            }
        }
    }
}

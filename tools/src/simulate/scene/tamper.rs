//! What somebody does to a log behind the back of its replica, and of the checkers: they must find it.

use std::path::{Path, PathBuf};

use standin_core::entry::{BatchBuilder, BatchStamp, ENTRY_HEADER_BYTES, Entry, LogTip};
use standin_core::segment::SegmentHeader;
use standin_io::storage::{Storage as _, StorageFile as _};

use super::Scene;
use crate::simulate::check::Violation;
use crate::simulate::watched::Subject;

/// Where entries begin in a segment, in bytes.
const ENTRIES_AT: usize = 160;

/// The last entry of a log.
#[derive(Debug)]
struct Last {
    file: PathBuf,
    at: usize,
    /// The entry before it.
    before: LogTip,
    bytes: Vec<u8>,
}

impl<M: Subject> Scene<M> {
    /// Another entry stands in the place of the last of a replica's log: all its checksums are right, and it would
    /// follow. No primary has ordered it.
    ///
    /// # Panics
    /// If there is no entry.
    pub fn exchange_last_entry(&self, name: &str) {
        let last = self.last_entry(name);
        let entry = Entry::decode(&last.bytes).expect("it was found");
        let stamp = BatchStamp {
            view: entry.header.view,
            time: entry.header.time,
            seed: entry.header.seed,
            commit: entry.header.commit,
        };
        let mut payload = entry.payload.to_vec();
        *payload.last_mut().expect("a command is not empty") ^= 1;
        let mut batch = BatchBuilder::new(last.before, stamp);
        batch.push(entry.header.kind, |out| out.extend_from_slice(&payload));
        let batch = batch.finish().expect("there is an entry");
        self.write(name, &last, batch.bytes());
    }

    /// The last entry of a replica's log is gone, as if it had never been written.
    ///
    /// # Panics
    /// If there is none.
    pub fn lose_last_entry(&self, name: &str) {
        let last = self.last_entry(name);
        self.write(name, &last, &vec![0; last.bytes.len()]);
    }

    /// What does not hold as everything is looked at in the end.
    #[must_use]
    pub fn last_look(mut self) -> Option<Violation> {
        self.world.finish(true);
        self.world.checks.violation
    }

    fn write(&self, name: &str, last: &Last, bytes: &[u8]) {
        let disk = self.world.disk(self.host(name));
        let file = disk.open(&last.file).expect("it is there");
        let written = file.write_all_at(bytes, last.at as u64);
        written.expect("a disk that works");
    }

    fn last_entry(&self, name: &str) -> Last {
        let disk = self.world.disk(self.host(name));
        let dir = Path::new("/data/log");
        let names = disk.list(dir).expect("it has a log");
        let mut files: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
        files.sort();
        let found = files.iter().rev().find_map(|file| {
            let whole = disk.read(file, u64::MAX).expect("it is there");
            let mut tip = SegmentHeader::decode(&whole).expect("it is sound").before;
            let (mut at, mut last) = (ENTRIES_AT, None);
            while let Ok(entry) = Entry::decode(&whole[at..]) {
                let end = at + ENTRY_HEADER_BYTES + entry.payload.len();
                last = Some(Last {
                    file: file.clone(),
                    at,
                    before: tip,
                    bytes: whole[at..end].to_vec(),
                });
                (tip, at) = (entry.tip(), end);
            }
            last
        });
        found.expect("the log has an entry")
    }
}

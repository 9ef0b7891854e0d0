//! No service, but what the disk takes: small writes, each of which is synced before the next.

use std::path::{Path, PathBuf};

use standin_io::clock;
use standin_io::log::SEGMENT_BYTES;
use standin_io::signals::Signals;
use standin_io::storage::{OsStorage, Storage, StorageFile as _};

use super::{LoadConfig, LoadError, LoadResult, Run};

/// Bytes of each write: a small batch of the log's.
const BLOCK: [u8; 4096] = [0x5a; 4096];

/// A file like one of the log's: preallocated, and written from its beginning to its end.
#[derive(Debug)]
struct Blocks {
    directory: PathBuf,
    file: <OsStorage as Storage>::File,
    written: u64,
}

impl Blocks {
    fn new(directory: &Path) -> Result<Self, LoadError> {
        let path = path(directory);
        let file = OsStorage.create_new(&path)?;
        file.allocate(SEGMENT_BYTES)?;
        file.sync_all()?;
        OsStorage.sync_dir(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            file,
            written: 0,
        })
    }

    fn is_full(&self) -> bool {
        self.written == SEGMENT_BYTES
    }

    fn append(&mut self) -> Result<(), LoadError> {
        self.file.write_all_at(&BLOCK, self.written)?;
        self.file.sync_data()?;
        self.written += u64::try_from(BLOCK.len()).expect("it is a constant");
        Ok(())
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // Best effort: the directory goes, too.
        let _ = OsStorage.remove(&path(&self.directory));
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("blocks")
}

/// Writes and syncs in `directory` until time is up.
pub(super) fn run(config: &LoadConfig, directory: &Path) -> Result<LoadResult, LoadError> {
    let signals = config.heeds_signals.then(Signals::block).transpose()?;
    let mut blocks = Blocks::new(directory)?;
    let mut now = clock::boot();
    let mut run = Run::new(config, now);
    while run.goes_on(now) {
        let stop = signals.as_ref().map(Signals::next).transpose()?;
        if stop.flatten().is_some() {
            return Err(LoadError::Interrupted);
        }
        if blocks.is_full() {
            // The log has its next file made ready by another thread, so this is in no latency.
            drop(blocks);
            blocks = Blocks::new(directory)?;
        }
        let begun = clock::boot();
        blocks.append()?;
        now = clock::boot();
        run.recorder.record(now.since(begun));
    }
    Ok(run.result(now))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn blocks_follow_one_another_in_room_that_was_there_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut blocks = Blocks::new(directory.path()).unwrap();
        let path = path(directory.path());
        let allocated = || fs::metadata(&path).unwrap().blocks();
        let before = allocated();
        assert!(before * 512 >= SEGMENT_BYTES);
        blocks.append().unwrap();
        blocks.append().unwrap();
        assert_eq!(allocated(), before);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes[..2 * BLOCK.len()], [BLOCK; 2].concat());
        assert!(bytes[2 * BLOCK.len()..].iter().all(|byte| *byte == 0));
        assert!(!blocks.is_full());
        blocks.written = SEGMENT_BYTES;
        assert!(blocks.is_full());
        drop(blocks);
        assert!(!path.exists());
    }
}

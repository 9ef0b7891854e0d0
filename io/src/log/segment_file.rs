//! One segment: its file, and what is known of it in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use standin_core::entry::{ENTRY_HEADER_BYTES, Entry, Index, LogTip};
use standin_core::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

use super::error::SYNCING;
use super::{LogError, SegmentIds};
use crate::data_dir::SEGMENT_SUFFIX;
use crate::storage::{Storage, StorageFile};

/// Where entries begin in a segment file, in bytes.
pub(super) const HEADER_BYTES: usize = SEGMENT_HEADER_BYTES;
/// The same, as a file offset.
pub(super) const ENTRIES_AT: u64 = 160;
const _: () = assert!(HEADER_BYTES == 160);

/// One position is remembered per so many bytes of a segment: a read scans no further than that, and
/// a terabyte of log costs 256 MiB of memory.
const POSITION_STRIDE_BYTES: u64 = 64 << 10;

/// The name of the segment whose first entry is `first`.
pub(super) fn segment_name(first: Index) -> String {
    format!("{:020}{SEGMENT_SUFFIX}", first.0)
}

/// The first entry of the segment with this file name, if it is one.
pub(super) fn first_of_name(name: &str) -> Option<Index> {
    name.strip_suffix(SEGMENT_SUFFIX).and_then(index_of_digits)
}

/// The index in the 20 digits that a segment's or a snapshot's name begins with.
pub(crate) fn index_of_digits(digits: &str) -> Option<Index> {
    let is_plain = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_plain.then(|| digits.parse().ok().map(Index)).flatten()
}

/// A segment file that is open for writing, shared with the log thread.
#[derive(Debug)]
pub(crate) struct OpenSegment<S: Storage> {
    pub(crate) path: PathBuf,
    pub(crate) file: S::File,
}

impl<S: Storage> OpenSegment<S> {
    /// Opens an existing segment file.
    pub(super) fn open(storage: &S, path: &Path) -> Result<Arc<Self>, LogError> {
        let file = storage.open(path).map_err(LogError::io("opening", path))?;
        let path = path.to_owned();
        Ok(Arc::new(Self { path, file }))
    }

    /// Waits until the file's bytes are on disk.
    pub(crate) fn sync(&self) -> Result<(), LogError> {
        self.file
            .sync_data()
            .map_err(LogError::io(SYNCING, &self.path))
    }

    /// Removes everything from byte `end` on, durably: what stands there afterwards is zeros, up to
    /// `segment_bytes`.
    pub(super) fn truncate(&self, end: u64, segment_bytes: u64) -> Result<(), LogError> {
        let failed = || LogError::io("cutting", &self.path);
        self.file.set_len(end).map_err(failed())?;
        // Synced before it grows again, so that no order of writing back can bring the old bytes up.
        self.file.sync_all().map_err(failed())?;
        self.file.allocate(segment_bytes).map_err(failed())?;
        self.file.sync_all().map_err(failed())
    }
}

/// Creates a preallocated file without a header at `path`.
pub(super) fn create<S: Storage>(
    storage: &S,
    path: &Path,
    bytes: u64,
) -> Result<S::File, LogError> {
    let failed = || LogError::io("making room for", path);
    // Asked for first: an attempt that fails takes for a moment all that others could have had.
    let dir = path.parent().expect("a segment is in a directory");
    if storage.free_bytes(dir).map_err(failed())? < bytes {
        return Err(failed()(std::io::ErrorKind::StorageFull.into()));
    }
    let file = storage.create_new(path).map_err(failed())?;
    file.allocate(bytes).map_err(|error| {
        // Best effort: the name is not one that recovery takes for a segment.
        let _ = storage.remove(path);
        failed()(error)
    })?;
    Ok(file)
}

/// The header of a segment that follows `before`.
pub(super) fn header(ids: &SegmentIds, before: LogTip) -> Vec<u8> {
    let header = SegmentHeader {
        cluster: ids.cluster,
        store: ids.store,
        machine: ids.machine.clone(),
        before,
    };
    header.encode()
}

/// What is known of one segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Its file.
    pub(super) path: PathBuf,
    /// The log's end before it.
    pub(super) before: LogTip,
    /// Bytes in use, from the beginning of the file. Zeros follow.
    pub(super) end: u64,
    /// Where some of the entries begin: index and byte, both rising, at most one per
    /// [`POSITION_STRIDE_BYTES`]. Has the first entry as soon as there is one.
    positions: Vec<(Index, u64)>,
}

impl Segment {
    pub(super) fn new(path: PathBuf, before: LogTip) -> Self {
        Self {
            path,
            before,
            end: ENTRIES_AT,
            positions: Vec::new(),
        }
    }

    /// Takes note of an entry of `bytes` bytes (or several) that begins at the segment's end.
    pub(super) fn extend(&mut self, index: Index, bytes: usize) {
        let is_due = self
            .positions
            .last()
            .is_none_or(|(_, at)| self.end - at >= POSITION_STRIDE_BYTES);
        if is_due {
            self.positions.push((index, self.end));
        }
        self.end += u64::try_from(bytes).expect("a batch is short");
    }

    /// Takes note that everything from byte `end` on is gone.
    pub(super) fn cut(&mut self, end: u64) {
        self.end = end;
        self.positions.retain(|(_, at)| *at < end);
    }

    /// Reads whole entries from `from` on, which must be in the segment: at least that one, and
    /// about `bytes_max` bytes at most.
    pub(super) fn read(
        &self,
        file: &impl StorageFile,
        from: Index,
        bytes_max: usize,
    ) -> Result<Entries, LogError> {
        let found = self.positions.partition_point(|(index, _)| *index <= from);
        let (mut index, mut at) = self.positions[found - 1];
        let mut buffer = Window::new(self, file, at);
        while index < from {
            at += u64::try_from(buffer.entry(index, at)?).expect("an entry is short");
            index = index.next();
        }
        let mut entries = Entries {
            at,
            bytes: Vec::new(),
        };
        while at < self.end {
            let length = buffer.entry(index, at)?;
            if !entries.bytes.is_empty() && entries.bytes.len() + length > bytes_max {
                break;
            }
            entries.bytes.extend_from_slice(buffer.bytes(at, length));
            at += u64::try_from(length).expect("an entry is short");
            index = index.next();
        }
        Ok(entries)
    }
}

/// The number of the segment that holds entry `index`, or will: the first for an entry before it.
pub(super) fn segment_of(segments: &[Segment], index: Index) -> usize {
    let beyond = segments.partition_point(|segment| segment.before.index < index);
    beyond.saturating_sub(1)
}

/// Entries that were read, and where they begin in their file.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
}

/// How much of a segment is read at a time, in bytes, unless an entry is longer.
const WINDOW_BYTES: u64 = 128 << 10;

/// The part of a segment file that is in memory during a read.
struct Window<'a, F> {
    segment: &'a Segment,
    file: &'a F,
    /// Where the bytes begin in the file.
    at: u64,
    bytes: Vec<u8>,
}

impl<'a, F: StorageFile> Window<'a, F> {
    fn new(segment: &'a Segment, file: &'a F, at: u64) -> Self {
        Self {
            segment,
            file,
            at,
            bytes: Vec::new(),
        }
    }

    /// Checks the entry at byte `at`, which should have this index, and says how long it is.
    fn entry(&mut self, index: Index, at: u64) -> Result<usize, LogError> {
        use standin_core::entry::EntryError;
        let damaged = |source| LogError::Damaged {
            file: self.segment.path.clone(),
            at,
            source,
        };
        let mut read = Entry::decode(self.from(at)).map(|entry| entry.header);
        if read == Err(EntryError::Short) {
            let longest = standin_core::entry::ENTRY_BYTES_MAX;
            self.load(at, WINDOW_BYTES)?;
            if Entry::decode(self.from(at)).is_err() {
                self.load(at, u64::try_from(longest).expect("it is a constant"))?;
            }
            read = Entry::decode(self.from(at)).map(|entry| entry.header);
        }
        let header = read.map_err(damaged)?;
        if header.index != index {
            return Err(damaged(EntryError::Index {
                expected: index,
                found: header.index,
            }));
        }
        let length = usize::try_from(header.length).expect("an entry is short");
        debug_assert!(length >= ENTRY_HEADER_BYTES);
        Ok(length)
    }

    fn load(&mut self, at: u64, bytes: u64) -> Result<(), LogError> {
        let bytes = bytes.min(self.segment.end - at);
        self.at = at;
        self.bytes.clear();
        self.bytes
            .resize(usize::try_from(bytes).expect("a window is small"), 0);
        self.file
            .read_exact_at(&mut self.bytes, at)
            .map_err(LogError::io("reading", &self.segment.path))
    }

    /// What is in memory from byte `at` of the file on.
    fn from(&self, at: u64) -> &[u8] {
        let skip = usize::try_from(at - self.at).expect("a window is small");
        self.bytes.get(skip..).unwrap_or_default()
    }

    fn bytes(&self, at: u64, length: usize) -> &[u8] {
        &self.from(at)[..length]
    }
}

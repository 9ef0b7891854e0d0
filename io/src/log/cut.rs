//! Cutting the log: removing a tail that was never answered (`protocol.md` section 8).
//!
//! The order survives a crash at any point: first the tail is saved for people; then whole segments
//! go, the last one first, each one durably before the next, so that what is left is always a
//! beginning of the log; then a shorter copy takes the place of the segment that holds the new end.
//! Until that is on disk the log is merely longer, and will be cut again.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use standin_core::entry::{Entry, Index, LogTip};

use super::segment_file::{self, OpenSegment, Segment};
use super::{CUT_TAILS_MAX, LogError, Paths, SegmentIds, SegmentLog, sync_log_dir};
use crate::data_dir::SEGMENT_SUFFIX;
use crate::storage::{Storage, StorageFile};

/// How much is copied at a time, in bytes.
const COPY_BYTES: u64 = 1 << 20;

/// Some bytes of a segment file.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) path: PathBuf,
    pub(super) bytes: Range<u64>,
}

impl Piece {
    pub(super) fn new(path: &Path, start: u64, end: usize) -> Self {
        let end = u64::try_from(end).expect("a file is no longer than that");
        Self {
            path: path.to_owned(),
            bytes: start..end,
        }
    }
}

/// Cuts off everything after `after`, which lies before the log's end.
pub(super) fn cut<S: Storage>(log: &mut SegmentLog<S>, after: Index) -> Result<(), LogError> {
    let tail = Tail::find(&log.storage, &log.segments, after)?;
    let last = log.tip.index;
    tail.save(&log.storage, &log.paths, &log.ids, &log.segments, last)?;
    let Tail { tip, target, end } = tail;
    // From here on a sync that is under way speaks of entries that are being removed.
    log.state.count_cut();
    log.state.set_durable(log.state.durable().min(after));
    let beyond = log.segments.drain(target + 1..);
    let beyond = beyond.map(|segment| segment.path);
    remove_from_last(&log.storage, &log.paths.log, beyond)?;
    let beside = log.next_path();
    let path = log.segments[target].path.clone();
    let file = shorten(&log.storage, &path, end, &beside, log.config.segment_bytes)?;
    log.active = Arc::new(OpenSegment { path, file });
    log.segments[target].cut(end);
    log.sealed.retain(|sealed| sealed.last < after);
    // It may have been asked for in that segment before, and used.
    log.next_asked_in = None;
    log.tip = tip;
    log.requested = log.requested.min(after);
    Ok(())
}

/// Removes segments, given in their order, the last one first and each durably before the next: a log
/// without its last segments is whole, a log without one in the middle is damaged.
pub(super) fn remove_from_last(
    storage: &impl Storage,
    dir: &Path,
    paths: impl DoubleEndedIterator<Item = PathBuf>,
) -> Result<(), LogError> {
    for path in paths.rev() {
        storage
            .remove(&path)
            .map_err(LogError::io("removing", &path))?;
        sync_log_dir(storage, dir)?;
    }
    Ok(())
}

/// Puts a copy of the first `end` bytes of the segment at `path` in its place, and zeros behind them.
/// The copy is made at `beside`.
///
/// Truncating it would not do: a file system may zero the rest of the block in which the file then
/// ends before the shorter length is on disk. A power loss in between would leave a hole with whole
/// entries behind it, which is damage.
pub(super) fn shorten<S: Storage>(
    storage: &S,
    path: &Path,
    end: u64,
    beside: &Path,
    segment_bytes: u64,
) -> Result<S::File, LogError> {
    let failed = || LogError::io("cutting", path);
    let file = segment_file::create(storage, beside, segment_bytes)?;
    copy(storage, path, 0..end, &file, 0)?;
    file.sync_all().map_err(failed())?;
    storage.rename(beside, path).map_err(failed())?;
    let dir = path.parent().expect("a segment is in a directory");
    sync_log_dir(storage, dir)?;
    Ok(file)
}

/// What stands behind an entry of a log.
pub(super) struct Tail {
    /// The log's end if that entry were its last.
    pub(super) tip: LogTip,
    /// The number of the segment with that entry in it, and the byte at which the entry ends.
    pub(super) target: usize,
    pub(super) end: u64,
}

impl Tail {
    /// What stands behind entry `after`; behind the one before the log's first, all of it.
    pub(super) fn find<S: Storage>(
        storage: &S,
        segments: &[Segment],
        after: Index,
    ) -> Result<Self, LogError> {
        let target = segment_file::segment_of(segments, after);
        let segment = &segments[target];
        if after == segment.before.index {
            return Ok(Self {
                tip: segment.before,
                target,
                end: segment_file::ENTRIES_AT,
            });
        }
        let opened = OpenSegment::open(storage, &segment.path)?;
        let found = segment.read(&opened.file, after, 0)?;
        let tip = Entry::decode(&found.bytes)
            .expect("what was read was checked")
            .tip();
        let length = u64::try_from(found.bytes.len()).expect("an entry is short");
        Ok(Self {
            tip,
            target,
            end: found.at + length,
        })
    }

    /// Keeps it, up to the log's last entry, as a segment file of its own, and says where.
    pub(super) fn save<S: Storage>(
        &self,
        storage: &S,
        paths: &Paths,
        ids: &SegmentIds,
        segments: &[Segment],
        last: Index,
    ) -> Result<PathBuf, LogError> {
        let mut from = self.end;
        let mut pieces = Vec::with_capacity(segments.len() - self.target);
        for segment in &segments[self.target..] {
            pieces.push(Piece {
                path: segment.path.clone(),
                bytes: from..segment.end,
            });
            from = segment_file::ENTRIES_AT;
        }
        let name = format!("{}-{last}", self.tip.index.next());
        let header = segment_file::header(ids, self.tip);
        keep(storage, paths, &name, &header, &pieces)
    }
}

/// Keeps pieces of segments behind a header, as a file of its own in `cut/`, and says where; the oldest
/// ones make room.
pub(super) fn keep(
    storage: &impl Storage,
    paths: &Paths,
    name: &str,
    header: &[u8],
    pieces: &[Piece],
) -> Result<PathBuf, LogError> {
    let dir = &paths.cut;
    let failed = || LogError::io("saving a cut tail in", dir);
    let mut kept = list_tails(storage, dir).map_err(failed())?;
    let number = kept.last().map_or(1, |(number, _)| number + 1);
    while kept.len() >= CUT_TAILS_MAX {
        let (_, name) = kept.remove(0);
        storage.remove(&dir.join(name)).map_err(failed())?;
    }
    let path = dir.join(format!("{number:06}-{name}{SEGMENT_SUFFIX}"));
    let out = storage.create(&path).map_err(failed())?;
    out.write_all_at(header, 0).map_err(failed())?;
    let mut to = segment_file::ENTRIES_AT;
    for piece in pieces {
        copy(storage, &piece.path, piece.bytes.clone(), &out, to)?;
        to += piece.bytes.end - piece.bytes.start;
    }
    out.sync_all().map_err(failed())?;
    sync_log_dir(storage, dir)?;
    Ok(path)
}

/// Copies some of a file's bytes to byte `to` of `out`.
fn copy<S: Storage>(
    storage: &S,
    path: &Path,
    from: Range<u64>,
    out: &S::File,
    to: u64,
) -> Result<(), LogError> {
    let failed = || LogError::io("copying a part of", path);
    let file = storage.open(path).map_err(failed())?;
    let mut at = from.start;
    while at < from.end {
        let bytes = COPY_BYTES.min(from.end - at);
        let mut buffer = vec![0; usize::try_from(bytes).expect("it is a constant")];
        file.read_exact_at(&mut buffer, at).map_err(failed())?;
        out.write_all_at(&buffer, to + (at - from.start))
            .map_err(failed())?;
        at += bytes;
    }
    Ok(())
}

/// The tails that are kept: their numbers and names, oldest first.
fn list_tails(storage: &impl Storage, dir: &Path) -> io::Result<Vec<(u64, String)>> {
    let mut tails = Vec::new();
    for name in storage.list(dir)? {
        let Ok(name) = name.into_string() else {
            continue;
        };
        let number = name.split('-').next().and_then(|text| text.parse().ok());
        if let Some(number) = number.filter(|_| name.ends_with(SEGMENT_SUFFIX)) {
            tails.push((number, name));
        }
    }
    tails.sort();
    Ok(tails)
}

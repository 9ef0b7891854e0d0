//! Cutting the log: removing a tail that was never answered (`protocol.md` section 8).
//!
//! The order survives a crash at any point: first the tail is saved for people; then whole segments
//! go, the last one first, each one durably before the next, so that what is left is always a
//! beginning of the log; then a shorter copy takes the place of the segment that holds the new end.
//! Until that is on disk the log is merely longer, and will be cut again.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use standin_core::entry::{Entry, Index, LogTip};

use super::segment_file::{self, OpenSegment, Segment};
use super::{CUT_TAILS_MAX, LogError, SegmentLog, sync_log_dir};
use crate::data_dir::SEGMENT_SUFFIX;
use crate::storage::{Storage, StorageFile};

/// How much is copied at a time, in bytes.
const COPY_BYTES: u64 = 1 << 20;

/// Cuts off everything after `after`, which lies before the log's end.
pub(super) fn cut<S: Storage>(log: &mut SegmentLog<S>, after: Index) -> Result<(), LogError> {
    let (tip, end) = find_end(log, after)?;
    let target = log.segment_of(after);
    save_tail(log, tip, target, end)?;
    // From here on a sync that is under way speaks of entries that are being removed.
    log.state.count_cut();
    log.state.set_durable(log.state.durable().min(after));
    remove_beyond(log, target)?;
    log.active = shorten(log, target, end)?;
    log.segments[target].cut(end);
    log.sealed.retain(|sealed| sealed.last < after);
    log.tip = tip;
    log.requested = log.requested.min(after);
    Ok(())
}

/// Removes the segments behind `target`, the last one first and each durably before the next: a log
/// without its last segments is whole, a log without one in the middle is damaged.
pub(super) fn remove_beyond<S: Storage>(
    log: &mut SegmentLog<S>,
    target: usize,
) -> Result<(), LogError> {
    for segment in log.segments.drain(target + 1..).rev() {
        log.storage
            .remove(&segment.path)
            .map_err(LogError::io("removing", &segment.path))?;
        sync_log_dir(&log.storage, &log.paths.log)?;
    }
    Ok(())
}

/// Puts a copy of the segment's first `end` bytes in its place, and zeros behind them. The sync that ends
/// every cut puts its name on disk.
///
/// Truncating it would not do: a file system may zero the rest of the block in which the file then
/// ends before the shorter length is on disk. A power loss in between would leave a hole with whole
/// entries behind it, which is damage.
fn shorten<S: Storage>(
    log: &mut SegmentLog<S>,
    target: usize,
    end: u64,
) -> Result<Arc<OpenSegment<S>>, LogError> {
    let beside = log.next_path();
    let segment = &log.segments[target];
    let failed = || LogError::io("cutting", &segment.path);
    let file = segment_file::create(&log.storage, &beside, log.config.segment_bytes)?;
    copy(&log.storage, segment, 0..end, &file, 0)?;
    file.sync_all().map_err(failed())?;
    log.storage
        .rename(&beside, &segment.path)
        .map_err(failed())?;
    let path = segment.path.clone();
    Ok(Arc::new(OpenSegment { path, file }))
}

/// The log's end if `after` were its last entry, and the byte at which that entry's segment then
/// ends.
fn find_end<S: Storage>(log: &SegmentLog<S>, after: Index) -> Result<(LogTip, u64), LogError> {
    let segment = &log.segments[log.segment_of(after)];
    if after == Index::ZERO {
        return Ok((LogTip::default(), segment_file::ENTRIES_AT));
    }
    let opened = OpenSegment::open(&log.storage, &segment.path)?;
    let found = segment.read(&opened.file, after, 0)?;
    let tip = Entry::decode(&found.bytes)
        .expect("what was read was checked")
        .tip();
    let length = u64::try_from(found.bytes.len()).expect("an entry is short");
    Ok((tip, found.at + length))
}

/// Keeps what will be cut off, as a segment file of its own that follows `tip`.
fn save_tail<S: Storage>(
    log: &SegmentLog<S>,
    tip: LogTip,
    target: usize,
    end: u64,
) -> Result<(), LogError> {
    let dir = &log.paths.cut;
    let failed = || LogError::io("saving a cut tail in", dir);
    let mut kept = list_tails(&log.storage, dir).map_err(failed())?;
    let number = kept.last().map_or(1, |(number, _)| number + 1);
    while kept.len() >= CUT_TAILS_MAX {
        let (_, name) = kept.remove(0);
        log.storage.remove(&dir.join(name)).map_err(failed())?;
    }
    let (first, last) = (tip.index.next(), log.tip.index);
    let path = dir.join(format!("{number:06}-{first}-{last}{SEGMENT_SUFFIX}"));
    let out = log.storage.create(&path).map_err(failed())?;
    out.write_all_at(&segment_file::header(&log.ids, tip), 0)
        .map_err(failed())?;
    let mut to = segment_file::ENTRIES_AT;
    for (number, segment) in log.segments.iter().enumerate().skip(target) {
        let from = if number == target {
            end
        } else {
            segment_file::ENTRIES_AT
        };
        copy(&log.storage, segment, from..segment.end, &out, to)?;
        to += segment.end - from;
    }
    out.sync_all().map_err(failed())?;
    sync_log_dir(&log.storage, dir)
}

/// Copies some of a segment's bytes to byte `to` of `out`.
fn copy<S: Storage>(
    storage: &S,
    segment: &Segment,
    from: Range<u64>,
    out: &S::File,
    to: u64,
) -> Result<(), LogError> {
    let failed = || LogError::io("copying a part of", &segment.path);
    let file = storage.open(&segment.path).map_err(failed())?;
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

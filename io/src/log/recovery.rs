//! Recovery: what a log that is found on disk is worth.
//!
//! First everything is read and judged, by the table in `docs/format.md`; only when the verdict is
//! that the log is good, or good but for its very end, is anything changed.

use std::path::{Path, PathBuf};

use standin_core::entry::{EntryError, Index, LogTip, ViewStarts};
use standin_core::segment::{ScanEnd, SegmentError, SegmentHeader, scan};

use super::segment_file::{self, OpenSegment, Segment};
use super::{LogConfig, LogError, NEXT_PREFIX, Paths, Recovered, SegmentIds, Torn, sync_log_dir};
use crate::storage::{Storage, StorageFile};

/// A log that was found to be good, and what is known of it.
pub(super) struct Found {
    pub(super) segments: Vec<Segment>,
    pub(super) recovered: Recovered,
}

/// Reads the log, repairs its end if need be, and syncs it.
pub(super) fn recover(
    storage: &impl Storage,
    paths: &Paths,
    ids: &SegmentIds,
    config: LogConfig,
) -> Result<Found, LogError> {
    let mut files = list(storage, &paths.log)?;
    let dropped = drop_unwritten(storage, &mut files)?;
    let mut found = read_all(storage, &files, ids)?;
    for path in &dropped {
        storage
            .remove(path)
            .map_err(LogError::io("removing", path))?;
    }
    remove_prepared(storage, &paths.log)?;
    if found.segments.is_empty() {
        found
            .segments
            .push(create_first(storage, paths, ids, config)?);
    }
    mend_end(storage, &found, config)?;
    sync_log_dir(storage, &paths.log)?;
    Ok(found)
}

/// Makes the last segment end as a log ends: in zeros, up to its full length.
fn mend_end(storage: &impl Storage, found: &Found, config: LogConfig) -> Result<(), LogError> {
    let segment = found.segments.last().expect("there is always a segment");
    let opened = OpenSegment::open(storage, &segment.path)?;
    let length = opened.file.length();
    let length = length.map_err(LogError::io("reading", &segment.path))?;
    // A crash while a torn end was being cut off may have left the file shorter than it should be.
    if found.recovered.torn.is_some() || length < config.segment_bytes {
        opened.truncate(segment.end, config.segment_bytes)?;
    }
    Ok(())
}

/// The segment files, in order.
fn list(storage: &impl Storage, dir: &Path) -> Result<Vec<(Index, PathBuf)>, LogError> {
    let failed = || LogError::io("listing", dir);
    let mut files = Vec::new();
    for name in storage.list(dir).map_err(failed())? {
        let first = name.to_str().and_then(segment_file::first_of_name);
        if let Some(first) = first {
            files.push((first, dir.join(name)));
        }
    }
    files.sort();
    Ok(files)
}

/// Takes segments off the end that never came to be: named, but without a whole header and without
/// a whole entry. They were made by a roll whose bytes the disk never saw. The first file is never
/// one: the header of a log's first segment is on disk before it is named, and a log must not come
/// to look as if it had never been.
fn drop_unwritten(
    storage: &impl Storage,
    files: &mut Vec<(Index, PathBuf)>,
) -> Result<Vec<PathBuf>, LogError> {
    let mut dropped = Vec::new();
    while let [_, .., (_, path)] = files.as_slice() {
        let bytes = read(storage, path)?;
        if !is_unwritten(&bytes) {
            break;
        }
        dropped.extend(files.pop().map(|(_, path)| path));
    }
    Ok(dropped)
}

fn is_unwritten(bytes: &[u8]) -> bool {
    let is_torn_header = match SegmentHeader::decode(bytes) {
        Ok(_) => false,
        // Version 0 never was: the bytes of the version are missing. Any other is a version that we
        // don't know, and not ours to remove.
        Err(SegmentError::Version(version)) => version == 0,
        Err(_) => true,
    };
    let entries = bytes.get(segment_file::HEADER_BYTES..).unwrap_or_default();
    let scan = scan(entries, LogTip::default(), |_| {});
    is_torn_header && scan.bytes == 0 && !matches!(scan.end, ScanEnd::Damaged(_))
}

/// Reads a segment from the disk itself. What a process wrote before it died is synced first; what a
/// failed sync forgot is still in the page cache, looking as if it were on disk, though no later sync
/// will write it.
fn read(storage: &impl Storage, path: &Path) -> Result<Vec<u8>, LogError> {
    let opened = OpenSegment::open(storage, path)?;
    opened.sync()?;
    let dropped = opened.file.drop_cache();
    dropped.map_err(LogError::io("reading anew", path))?;
    storage
        .read(path, u64::MAX)
        .map_err(LogError::io("reading", path))
}

/// Reads and judges all segments.
fn read_all(
    storage: &impl Storage,
    files: &[(Index, PathBuf)],
    ids: &SegmentIds,
) -> Result<Found, LogError> {
    let mut found = Found {
        segments: Vec::with_capacity(files.len()),
        recovered: Recovered {
            tip: LogTip::default(),
            view_starts: ViewStarts::new(),
            commit: Index::ZERO,
            torn: None,
        },
    };
    for (first, path) in files {
        // Nothing may follow a torn end.
        if let Some(torn) = &found.recovered.torn {
            return Err(LogError::Damaged {
                file: torn.file.clone(),
                at: torn.at,
                source: torn.why,
            });
        }
        let bytes = read(storage, path)?;
        check_header(path, &bytes, *first, ids, found.recovered.tip)?;
        read_entries(path, &bytes[segment_file::HEADER_BYTES..], &mut found)?;
    }
    Ok(found)
}

/// Checks that the segment is ours and continues the log.
fn check_header(
    path: &Path,
    bytes: &[u8],
    first: Index,
    ids: &SegmentIds,
    tip: LogTip,
) -> Result<(), LogError> {
    let header = SegmentHeader::decode(bytes).map_err(|source| LogError::Header {
        file: path.to_owned(),
        source,
    })?;
    let foreign = |what| {
        Err(LogError::Foreign {
            file: path.to_owned(),
            what,
        })
    };
    if header.cluster != ids.cluster {
        return foreign(format!("it belongs to cluster {}", header.cluster));
    }
    if header.store != ids.store {
        return foreign(format!("it belongs to store {}", header.store));
    }
    if header.machine != ids.machine {
        return foreign(format!("it belongs to the machine {}", header.machine));
    }
    let before = header.before;
    if before.index.next() != first {
        let begins = before.index.next();
        return foreign(format!("it begins at entry {begins}, not as it is named"));
    }
    if before.index != tip.index {
        return Err(LogError::Missing {
            file: path.to_owned(),
            expected: tip.index,
            found: before.index,
        });
    }
    if before != tip {
        return Err(LogError::Damaged {
            file: path.to_owned(),
            at: 0,
            source: EntryError::Chain(first),
        });
    }
    Ok(())
}

/// Reads the entries of a segment onto what was found before it.
fn read_entries(path: &Path, bytes: &[u8], found: &mut Found) -> Result<(), LogError> {
    let recovered = &mut found.recovered;
    let mut segment = Segment::new(path.to_owned(), recovered.tip);
    let scan = scan(bytes, recovered.tip, |entry| {
        let length = usize::try_from(entry.header.length).expect("an entry is short");
        segment.extend(entry.header.index, length);
        if entry.header.view > recovered.tip.view {
            recovered
                .view_starts
                .push((entry.header.view, entry.header.index));
        }
        recovered.tip = entry.tip();
    });
    recovered.commit = recovered.commit.max(scan.commit);
    match scan.end {
        ScanEnd::Clean => {}
        ScanEnd::Torn(why) => {
            recovered.torn = Some(Torn {
                file: path.to_owned(),
                at: segment.end,
                why,
            });
        }
        ScanEnd::Damaged(source) => {
            return Err(LogError::Damaged {
                file: path.to_owned(),
                at: segment.end,
                source,
            });
        }
    }
    found.segments.push(segment);
    Ok(())
}

/// Makes the first segment of a log. It gets its name when its header is on disk.
fn create_first(
    storage: &impl Storage,
    paths: &Paths,
    ids: &SegmentIds,
    config: LogConfig,
) -> Result<Segment, LogError> {
    let tip = LogTip::default();
    let beside = paths.log.join(format!("{NEXT_PREFIX}0"));
    let path = paths.log.join(segment_file::segment_name(tip.index.next()));
    let file = segment_file::create(storage, &beside, config.segment_bytes)?;
    let failed = || LogError::io("creating", &path);
    file.write_all_at(&segment_file::header(ids, tip), 0)
        .map_err(failed())?;
    file.sync_all().map_err(failed())?;
    storage.rename(&beside, &path).map_err(failed())?;
    Ok(Segment::new(path.clone(), tip))
}

/// Removes segment files that were being prepared.
fn remove_prepared(storage: &impl Storage, dir: &Path) -> Result<(), LogError> {
    for name in storage.list(dir).map_err(LogError::io("listing", dir))? {
        if name.to_string_lossy().starts_with(NEXT_PREFIX) {
            let path = dir.join(name);
            storage
                .remove(&path)
                .map_err(LogError::io("removing", &path))?;
        }
    }
    Ok(())
}

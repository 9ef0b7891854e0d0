//! Recovery: what a log that is found on disk is worth.
//!
//! First everything is read and judged, by the table in `docs/format.md`; only when the verdict is
//! that the log is good, or good but for its very end, is anything changed.

use std::path::{Path, PathBuf};

use standin_core::entry::{EntryError, Index, LogTip, ViewStart, ViewStarts};
use standin_core::poison::Skip;
use standin_core::segment::{ScanEnd, SegmentError, SegmentHeader, Stranded, scan, used};
use standin_core::version::VersionStarts;
use standin_core::view::DataEpoch;

use super::base::{self, LogBase};
use super::cut::{self, Piece};
use super::segment_file::{self, OpenSegment, Segment};
use super::{
    LogConfig, LogError, NEXT_PREFIX, Paths, Recovered, SegmentIds, Torn, TornBy, sync_log_dir,
};
use crate::storage::{Storage, StorageFile};

/// A log that was found to be good, and what is known of it.
pub(super) struct Found {
    pub(super) segments: Vec<Segment>,
    pub(super) recovered: Recovered,
    /// The log's end at the entry that the snapshot stands at, if the log has it or begins there.
    pub(super) at_base: Option<LogTip>,
    /// Segment files in front of a gap in what the snapshot covers.
    pub(super) left_over: Vec<PathBuf>,
    /// Where the log ends before its time.
    flaw: Option<Flaw>,
}

/// The first thing that does not fit, and what stands behind it.
#[derive(Debug)]
struct Flaw {
    torn: Torn,
    /// What is wrong if it is no torn end.
    damage: LogError,
    stranded: Stranded,
    /// The bytes behind the log's end that are in use: in its last segment, then in those that follow.
    pieces: Vec<Piece>,
    /// More follows than a single write that was cut short can leave.
    is_gap: bool,
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
    let mut found = read_all(storage, &files, ids, config.base)?;
    judge(&mut found, config)?;
    let superseded = match config.base {
        Some(base) => base::judge(&found, base)?.map(|why| (base, why)),
        None => None,
    };
    for path in &dropped {
        storage
            .remove(path)
            .map_err(LogError::io("removing", path))?;
    }
    remove_prepared(storage, &paths.log)?;
    if found.segments.is_empty() {
        let first = create_first(storage, paths, ids, config)?;
        found.recovered.tip = first.before;
        found.segments.push(first);
    }
    match found.flaw.take().filter(|flaw| flaw.is_gap) {
        Some(flaw) => cut_off(storage, paths, ids, config, &found, flaw)?,
        None => mend_end(storage, &found, config)?,
    }
    match superseded {
        Some(by) => base::supersede(storage, paths, ids, config, &mut found, by)?,
        None => go_on(storage, &mut found, config)?,
    }
    sync_log_dir(storage, &paths.log)?;
    Ok(found)
}

/// Goes on with the log that was found.
fn go_on(storage: &impl Storage, found: &mut Found, config: LogConfig) -> Result<(), LogError> {
    let Some(base) = config.base else {
        return Ok(());
    };
    base::join(found, base);
    found.recovered.left_over.clone_from(&found.left_over);
    if config.keeps_covered {
        return Ok(());
    }
    // In any order: none of them joins the log.
    for path in &found.left_over {
        let removed = storage.remove(path);
        removed.map_err(LogError::io("removing", path))?;
    }
    Ok(())
}

/// Tells a torn end from damage.
///
/// Of writes that were not synced a power loss leaves what it likes, also later ones without earlier
/// ones. What tells such a gap from damage is that nobody behind it calls the first missing entry
/// committed: what a lone primary, or a pair at level `disk`, calls committed was synced before. An entry
/// that is called committed was here, and is lost. A pair at `os` or `memory` calls committed what it has not
/// synced; but the tokens of such a replica have died with what it lost, so that nobody relies on it.
///
/// What is missing is not lost as far as the snapshot has it.
fn judge(found: &mut Found, config: LogConfig) -> Result<(), LogError> {
    let Some(flaw) = &found.flaw else {
        return Ok(());
    };
    let covered = config.base.map_or(Index::ZERO, |base| base.tip.index);
    let first = found.recovered.tip.index.max(covered).next();
    let is_called_committed = flaw.stranded.commit >= first;
    let is_torn = !flaw.is_gap
        || (config.may_have_lost_writes && !(is_called_committed && config.may_be_holder));
    if !is_torn {
        return Err(flaw.damage.clone());
    }
    let lengths = flaw
        .pieces
        .iter()
        .map(|piece| piece.bytes.end - piece.bytes.start);
    found.recovered.torn = Some(Torn {
        bytes: lengths.sum(),
        entries: flaw.stranded.entries,
        commit: flaw.stranded.commit,
        ..flaw.torn.clone()
    });
    Ok(())
}

/// Cuts off what stands behind a gap, in the order in which a cut is made: a crash leaves the same gap,
/// with less behind it.
fn cut_off<S: Storage>(
    storage: &S,
    paths: &Paths,
    ids: &SegmentIds,
    config: LogConfig,
    found: &Found,
    flaw: Flaw,
) -> Result<(), LogError> {
    let segment = found.segments.last().expect("a gap is behind a segment");
    let tip = found.recovered.tip;
    let name = format!("{}-torn", tip.index.next());
    cut::keep(
        storage,
        paths,
        &name,
        &segment_file::header(ids, tip),
        &flaw.pieces,
    )?;
    let beyond = flaw.pieces.into_iter().map(|piece| piece.path);
    let beyond = beyond.filter(|path| *path != segment.path);
    cut::remove_from_last(storage, &paths.log, beyond)?;
    let beside = paths.log.join(format!("{NEXT_PREFIX}0"));
    cut::shorten(
        storage,
        &segment.path,
        segment.end,
        &beside,
        config.segment_bytes,
    )?;
    Ok(())
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
pub(super) fn list(storage: &impl Storage, dir: &Path) -> Result<Vec<(Index, PathBuf)>, LogError> {
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
pub(super) fn drop_unwritten(
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

pub(super) fn is_unwritten(bytes: &[u8]) -> bool {
    let is_torn_header = match SegmentHeader::decode(bytes) {
        Ok(_) => false,
        // Version 0 never was: the bytes of the version are missing. Any other is a version that we
        // don't know, and not ours to remove.
        Err(SegmentError::Version(version)) => version == 0,
        Err(_) => true,
    };
    let entries = bytes.get(segment_file::HEADER_BYTES..).unwrap_or_default();
    let scan = scan(entries, LogTip::default(), |_| {});
    is_torn_header && scan.bytes == 0 && matches!(scan.end, ScanEnd::Clean | ScanEnd::Torn(_))
}

/// Reads a segment from the disk itself. What a process wrote before it died is synced first; what a
/// failed sync forgot is still in the page cache, looking as if it were on disk, though no later sync
/// will write it.
pub(super) fn read(storage: &impl Storage, path: &Path) -> Result<Vec<u8>, LogError> {
    let opened = OpenSegment::open(storage, path)?;
    opened.sync()?;
    let dropped = opened.file.drop_cache();
    dropped.map_err(LogError::io("reading anew", path))?;
    storage
        .read(path, u64::MAX)
        .map_err(LogError::io("reading", path))
}

/// Reads all segments: what fits onto the log, and from the first flaw on what is left behind it.
fn read_all(
    storage: &impl Storage,
    files: &[(Index, PathBuf)],
    ids: &SegmentIds,
    base: Option<LogBase>,
) -> Result<Found, LogError> {
    let mut found = Found {
        segments: Vec::with_capacity(files.len()),
        recovered: Recovered {
            tip: LogTip::default(),
            view_starts: ViewStarts::new(),
            data_epoch: DataEpoch(0),
            skips: Vec::new(),
            version_starts: VersionStarts::default(),
            header_version: None,
            commit: Index::ZERO,
            torn: None,
            superseded: None,
            left_over: Vec::new(),
        },
        at_base: None,
        left_over: Vec::new(),
        flaw: None,
    };
    for (number, (first, path)) in files.iter().enumerate() {
        let bytes = read(storage, path)?;
        let header = read_header(path, &bytes, *first, ids)?;
        if let (Ok(header), Some(base)) = (&header, base) {
            let before = files[..number].iter().map(|(_, path)| path);
            begin_at(header.before, base, before, &mut found);
        }
        let goes_on = header
            .as_ref()
            .is_ok_and(|header| header.before == found.recovered.tip);
        if let Ok(header) = &header {
            let version = &mut found.recovered.header_version;
            version.get_or_insert(header.machine.version());
        }
        match &found.flaw {
            None => found.flaw = check_header(path, header, *first, &found, base)?,
            // Nothing is missing before this segment, so what stands there is no lost write's.
            Some(flaw) if goes_on => return Err(flaw.damage.clone()),
            Some(_) => {}
        }
        let entries = bytes.get(segment_file::HEADER_BYTES..).unwrap_or_default();
        match &mut found.flaw {
            None => read_entries(path, entries, base, &mut found)?,
            Some(flaw) => {
                let tip = found.recovered.tip;
                flaw.stranded = flaw.stranded.and(Stranded::find(entries, tip));
                flaw.is_gap = true;
                flaw.pieces.push(Piece::new(path, 0, used(&bytes)));
            }
        }
    }
    Ok(found)
}

/// Begins with a segment that does not continue those before it, if nothing is missing all the same,
/// since a snapshot has it. There are two such:
///
/// - One that continues after a later entry, up to the snapshot's. So it is if segments were forgotten and
///   a crash brought an older one back, or if someone took one away. All entries of the segments before it
///   come before its first, so the snapshot has them.
/// - One that continues right after the snapshot, whatever the log before it has there. That is where a log
///   began anew, and before it got its name the old one was set aside.
fn begin_at<'a>(
    before: LogTip,
    base: LogBase,
    files: impl Iterator<Item = &'a PathBuf>,
    found: &mut Found,
) {
    let tip = found.recovered.tip;
    let is_later = before.index > tip.index && before.index <= base.tip.index;
    let begins_anew = before == base.tip && before != tip;
    // Where something is wrong before it, people are to look.
    if found.flaw.is_some() || !(is_later || begins_anew) {
        return;
    }
    found.left_over = files.cloned().collect();
    found.segments.clear();
    let recovered = &mut found.recovered;
    recovered.tip = before;
    recovered.view_starts.clear();
    recovered.data_epoch = DataEpoch(0);
    recovered.version_starts = VersionStarts::default();
    recovered.commit = Index::ZERO;
    found.at_base = (before.index == base.tip.index).then_some(before);
}

/// Reads the segment's header, if it is whole, and checks that it is ours.
pub(super) fn read_header(
    path: &Path,
    bytes: &[u8],
    first: Index,
    ids: &SegmentIds,
) -> Result<Result<SegmentHeader, SegmentError>, LogError> {
    let header = match SegmentHeader::decode(bytes) {
        Ok(header) => header,
        // Not ours to judge; but version 0 never was.
        Err(source @ SegmentError::Version(1..)) => {
            let file = path.to_owned();
            return Err(LogError::Header { file, source });
        }
        Err(error) => return Ok(Err(error)),
    };
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
    if header.machine.name() != ids.machine.name() {
        return foreign(format!("it belongs to the machine {}", header.machine));
    }
    let begins = header.before.index.next();
    if begins != first {
        return foreign(format!("it begins at entry {begins}, not as it is named"));
    }
    Ok(Ok(header))
}

/// Checks that the segment continues the log. A flaw is what a lost write may have left.
fn check_header(
    path: &Path,
    header: Result<SegmentHeader, SegmentError>,
    first: Index,
    found: &Found,
    base: Option<LogBase>,
) -> Result<Option<Flaw>, LogError> {
    let tip = found.recovered.tip;
    let file = path.to_owned();
    let (why, damage) = match header {
        Err(source) => {
            let why = TornBy::Header(source.clone());
            (why, LogError::Header { file, source })
        }
        Ok(header) if header.before == tip => return Ok(None),
        // Not a later place in the same log, but the same place in another.
        Ok(header) if header.before.index == tip.index => {
            let source = EntryError::Chain(first);
            return Err(LogError::Damaged {
                file,
                at: 0,
                source,
            });
        }
        Ok(header) => {
            let covered = base.map_or(Index::ZERO, |base| base.tip.index);
            let is_first = found.segments.is_empty();
            let found = header.before.index;
            let expected = if is_first { covered } else { tip.index };
            let missing = LogError::Missing {
                file,
                expected,
                found,
            };
            if found < expected {
                return Err(missing);
            }
            (TornBy::Missing { found }, missing)
        }
    };
    // What a log begins with is on disk before anything follows it.
    if found.segments.is_empty() {
        return Err(damage);
    }
    Ok(Some(Flaw::new(path, 0, why, damage)))
}

impl Flaw {
    fn new(path: &Path, at: u64, why: TornBy, damage: LogError) -> Self {
        Self {
            torn: Torn {
                file: path.to_owned(),
                at,
                why,
                bytes: 0,
                entries: 0,
                commit: Index::ZERO,
            },
            damage,
            stranded: Stranded::default(),
            pieces: Vec::new(),
            is_gap: false,
        }
    }
}

/// Reads the entries of a segment onto what was found before it.
fn read_entries(
    path: &Path,
    bytes: &[u8],
    base: Option<LogBase>,
    found: &mut Found,
) -> Result<(), LogError> {
    let base = base.map(|base| base.tip.index);
    let recovered = &mut found.recovered;
    let mut segment = Segment::new(path.to_owned(), recovered.tip);
    let scan = scan(bytes, recovered.tip, |entry| {
        let length = usize::try_from(entry.header.length).expect("an entry is short");
        segment.extend(entry.header.index, length);
        if entry.header.view > recovered.tip.view {
            recovered
                .view_starts
                .push((entry.header.view, entry.header.index));
            let start = ViewStart::decode(entry.payload);
            if let Some(start) = start {
                recovered.data_epoch = recovered.data_epoch.max(start.data_epoch);
                let is_new = |skip: &Skip| !recovered.skips.contains(skip);
                let new: Vec<Skip> = start.skips.into_iter().filter(is_new).collect();
                recovered.skips.extend(new);
            }
        }
        if let Some(start) = entry.version_start() {
            recovered.version_starts.note(start);
        }
        recovered.tip = entry.tip();
        if base == Some(recovered.tip.index) {
            found.at_base = Some(recovered.tip);
        }
    });
    recovered.commit = recovered.commit.max(scan.commit);
    let damage = |source| LogError::Damaged {
        file: path.to_owned(),
        at: segment.end,
        source,
    };
    let (why, stranded) = match scan.end {
        ScanEnd::Clean => (None, Stranded::default()),
        ScanEnd::Torn(why) => (Some(why), Stranded::default()),
        ScanEnd::Gap(why, stranded) => (Some(why), stranded),
        ScanEnd::Damaged(why) => return Err(damage(why)),
    };
    if let Some(why) = why {
        let mut flaw = Flaw::new(path, segment.end, TornBy::Entry(why), damage(why));
        flaw.is_gap = stranded.entries > 0;
        flaw.stranded = stranded;
        let end = segment_file::HEADER_BYTES + used(bytes);
        flaw.pieces.push(Piece::new(path, segment.end, end));
        found.flaw = Some(flaw);
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
    let tip = config.base.map_or(LogTip::default(), |base| base.tip);
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
pub(super) fn remove_prepared(storage: &impl Storage, dir: &Path) -> Result<(), LogError> {
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

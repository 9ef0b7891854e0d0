//! Repair: what exactly is missing in a damaged log, and putting it back.
//!
//! Recovery refuses such a log and changes nothing. Here the first place that is damaged is looked at once more, for
//! what stands on both of its sides; and what fits between is written there, or what is left is put in order if nothing
//! is missing. Then the log is opened again from the disk, as if nothing had been: recovery alone says that it is good.

use std::path::{Path, PathBuf};

use standin_core::entry::{ENTRY_HEADER_BYTES, Entry, Index, LogTip};
use standin_core::gap::{Fit, Gap, NextSegment};
use standin_core::segment::{ScanEnd, SegmentHeader, scan, single_version, used};

use super::recovery::{drop_unwritten, list, read, read_header};
use super::segment_file::{self, ENTRIES_AT, HEADER_BYTES, OpenSegment};
use super::{LogBase, LogConfig, LogError, NEXT_PREFIX, SegmentIds, sync_log_dir};
use crate::data_dir::LOG_DIR;
use crate::storage::{Storage, StorageFile};

/// The first place at which a log is damaged.
#[derive(Clone, Debug)]
pub struct Damage {
    /// The last entry before it.
    pub last: LogTip,
    /// What is missing; `None` if entries cannot mend it.
    pub gap: Option<Gap>,
    place: Place,
    dir: PathBuf,
    ids: SegmentIds,
    segment_bytes: u64,
}

/// Where what is missing is to stand.
#[derive(Clone, Debug)]
enum Place {
    /// In this segment file from this byte on.
    At {
        path: PathBuf,
        byte: u64,
        /// Its header is bad. A good one says that the segment goes on after this.
        header: Option<LogTip>,
    },
    /// In segments that are not there.
    Nowhere,
}

impl Damage {
    /// Looks for it in the log of data directory `dir`, which [`super::SegmentLog::open_in`] has refused, saying `error`.
    /// Changes nothing.
    ///
    /// # Errors
    /// `error` itself if it is none that another copy of the log could mend, or that of reading the files.
    pub fn find<S: Storage>(
        storage: &S,
        dir: &Path,
        ids: &SegmentIds,
        config: LogConfig,
        error: LogError,
    ) -> Result<Self, LogError> {
        if !error.is_damage() {
            return Err(error);
        }
        let dir = dir.join(LOG_DIR);
        let mut files = list(storage, &dir)?;
        drop_unwritten(storage, &mut files)?;
        let mut search = Search {
            storage,
            files: &files,
            ids,
            base: config.base,
            tip: LogTip::default(),
            last_end: None,
        };
        let found = search.find()?;
        let (gap, place) = match found {
            Some((gap, place)) => (Some(gap).filter(Gap::can_be_filled), place),
            None => (None, Place::Nowhere),
        };
        Ok(Self {
            last: search.tip,
            gap,
            place,
            dir,
            ids: ids.clone(),
            segment_bytes: config.segment_bytes,
        })
    }

    /// How nothing at all fits, if it does: no entry is missing, and only what stands around the entries is
    /// damaged.
    #[must_use]
    pub fn fit_of_nothing(&self) -> Option<Fit> {
        self.gap.as_ref()?.fit(0, self.last)
    }

    /// Writes these entries where they are missing, durably. They must fill the gap and fit so. If it dies in
    /// between, less is missing, or as much, and it is done again.
    ///
    /// # Errors
    /// [`LogError`] if it fails; [`LogError::BeginningUnknown`], and nothing was changed, if the log's first header is
    /// missing, and nothing says which version of the machine should stand in it.
    pub fn fill<S: Storage>(&self, storage: &S, bytes: &[u8], fit: Fit) -> Result<(), LogError> {
        let ids = self.ids(storage, bytes)?;
        let mut rest = bytes;
        let mut end = self.last;
        if let Place::At { path, byte, header } = &self.place {
            let opened = OpenSegment::open(storage, path)?;
            let failed = || LogError::io("writing what was missing in", path);
            let length = opened.file.length().map_err(failed())?;
            if length < self.segment_bytes {
                opened.file.allocate(self.segment_bytes).map_err(failed())?;
            }
            let room = length.max(self.segment_bytes).saturating_sub(*byte);
            let here;
            (here, rest, end) = split(rest, end, room);
            let here_bytes = here.len() as u64;
            opened.file.write_all_at(here, *byte).map_err(failed())?;
            if let Some(before) = header {
                let header = segment_file::header(&ids, *before);
                opened.file.write_all_at(&header, 0).map_err(failed())?;
            }
            opened.sync()?;
            if fit == Fit::Segment {
                // Only now: until then what stands there tells that something is wrong.
                clear(storage, path, &opened, byte + here_bytes)?;
            }
        }
        while !rest.is_empty() {
            let room = self.segment_bytes - ENTRIES_AT;
            let (mut here, mut after, mut then) = split(rest, end, room);
            if here.is_empty() {
                // One entry that is longer than a whole segment makes its segment longer.
                let length = Entry::decode(rest).map(|entry| entry.payload.len());
                let length = length.expect("a run holds whole entries") + ENTRY_HEADER_BYTES;
                (here, after, then) = split(rest, end, length as u64);
            }
            self.add_segment(storage, &ids, end, here)?;
            (rest, end) = (after, then);
        }
        Ok(())
    }

    /// What stands in headers that are made anew. Only of the log's first one the machine's version counts, and only
    /// there is it another than the newest that is known: the one that the log begins with.
    fn ids<S: Storage>(&self, storage: &S, filled: &[u8]) -> Result<SegmentIds, LogError> {
        let mut ids = self.ids.clone();
        let is_first = match &self.place {
            Place::At { header, .. } => *header == Some(LogTip::default()),
            Place::Nowhere => self.last == LogTip::default(),
        };
        if is_first {
            let version = self.begins_with(storage, filled)?;
            ids.machine = ids.machine.with_version(version);
        }
        Ok(ids)
    }

    /// The version of the machine that the log begins with: its first ViewStart that says one says it, if nothing is missing
    /// before it once these entries are there. A header of a format that knew only one version says it as well.
    fn begins_with<S: Storage>(&self, storage: &S, filled: &[u8]) -> Result<u32, LogError> {
        let mut said = None;
        let mut note = |entry: &Entry<'_>| said = said.or_else(|| entry.version_start());
        let mut tip = scan(filled, LogTip::default(), &mut note).tip;
        let mut single = None;
        for (first, path) in list(storage, &self.dir)? {
            let bytes = read(storage, &path)?;
            single = single.or_else(|| single_version(&bytes));
            let header = SegmentHeader::decode(&bytes).ok();
            let begins_at = match (header, first) {
                (None, Index(1)) => HEADER_BYTES + filled.len(),
                (Some(header), _) if header.before == tip => HEADER_BYTES,
                _ => continue,
            };
            let entries = bytes.get(begins_at..).unwrap_or_default();
            tip = scan(entries, tip, &mut note).tip;
        }
        let said = said.filter(|start| !start.is_upgrade);
        let version = said.map(|start| start.version).or(single);
        version.ok_or_else(|| LogError::BeginningUnknown {
            file: self.dir.join(segment_file::segment_name(Index(1))),
        })
    }

    /// Adds a segment that goes on after `before`. It gets its name when all of it is on disk.
    fn add_segment<S: Storage>(
        &self,
        storage: &S,
        ids: &SegmentIds,
        before: LogTip,
        bytes: &[u8],
    ) -> Result<(), LogError> {
        let beside = self.dir.join(format!("{NEXT_PREFIX}0"));
        let path = self
            .dir
            .join(segment_file::segment_name(before.index.next()));
        let failed = || LogError::io("making anew", &path);
        if storage.exists(&beside) {
            storage.remove(&beside).map_err(failed())?;
        }
        let file = segment_file::create(storage, &beside, self.segment_bytes)?;
        let header = segment_file::header(ids, before);
        file.write_all_at(&header, 0).map_err(failed())?;
        file.write_all_at(bytes, ENTRIES_AT).map_err(failed())?;
        file.sync_all().map_err(failed())?;
        storage.rename(&beside, &path).map_err(failed())?;
        sync_log_dir(storage, &self.dir)
    }
}

/// Makes all zeros of a segment file from byte `from` on, durably.
fn clear<S: Storage>(
    storage: &S,
    path: &Path,
    opened: &OpenSegment<S>,
    from: u64,
) -> Result<(), LogError> {
    let failed = || LogError::io("clearing the end of", path);
    let bytes = storage.read(path, u64::MAX).map_err(failed())?;
    let start = usize::try_from(from).map_or(bytes.len(), |from| from.min(bytes.len()));
    let zeros = vec![0; used(&bytes[start..])];
    opened.file.write_all_at(&zeros, from).map_err(failed())?;
    opened.sync()
}

/// The first entries of a run that have room, the others, and the log's end after the first ones.
fn split(bytes: &[u8], before: LogTip, room: u64) -> (&[u8], &[u8], LogTip) {
    let (mut at, mut end) = (0, before);
    while let Ok(entry) = Entry::decode(&bytes[at..]) {
        let next = at + ENTRY_HEADER_BYTES + entry.payload.len();
        if next as u64 > room {
            break;
        }
        (at, end) = (next, entry.tip());
    }
    let (here, rest) = bytes.split_at(at);
    (here, rest, end)
}

/// Goes through the segments up to the first thing that does not fit, as recovery does.
struct Search<'a, S> {
    storage: &'a S,
    files: &'a [(Index, PathBuf)],
    ids: &'a SegmentIds,
    base: Option<LogBase>,
    /// The log's end so far.
    tip: LogTip,
    /// The segment before, and where its entries end.
    last_end: Option<(PathBuf, u64)>,
}

impl<S: Storage> Search<'_, S> {
    fn find(&mut self) -> Result<Option<(Gap, Place)>, LogError> {
        for (number, (first, path)) in self.files.iter().enumerate() {
            let bytes = read(self.storage, path)?;
            let header = read_header(path, &bytes, *first, self.ids)?.ok();
            if let Some(found) = self.before_segment(number, *first, header.as_ref(), &bytes)? {
                return Ok(found);
            }
            let entries = bytes.get(HEADER_BYTES..).unwrap_or_default();
            let scan = scan(entries, self.tip, |_| {});
            self.tip = scan.tip;
            let end = ENTRIES_AT + scan.bytes as u64;
            let is_last = number + 1 == self.files.len();
            match scan.end {
                ScanEnd::Clean => {}
                // The last write: recovery has cut it off, or what is wrong is something else.
                ScanEnd::Torn(_) if is_last => {}
                ScanEnd::Torn(_) | ScanEnd::Gap(..) | ScanEnd::Damaged(_) => {
                    let next = self.next_segment(number)?;
                    let gap = Gap::find(scan.tip, &entries[scan.bytes..], next);
                    let place = Place::At {
                        path: path.clone(),
                        byte: end,
                        header: None,
                    };
                    return Ok(Some((gap, place)));
                }
            }
            self.last_end = Some((path.clone(), end));
        }
        Ok(None)
    }

    /// Looks at what is before the entries of a segment. `None`: they go on after what was read.
    fn before_segment(
        &mut self,
        number: usize,
        first: Index,
        header: Option<&SegmentHeader>,
        bytes: &[u8],
    ) -> Result<Option<Option<(Gap, Place)>>, LogError> {
        let is_first = self.last_end.is_none();
        if let (true, Some(base)) = (is_first, self.base)
            && header.is_none_or(|header| header.before.index >= base.tip.index)
            && first > base.tip.index
        {
            // What comes before is in the snapshot.
            self.tip = base.tip;
        }
        let Some(header) = header else {
            return self.bad_header(number, first, bytes).map(Some);
        };
        let before = header.before;
        if before == self.tip {
            return Ok(None);
        }
        if let Some(base) = self.base {
            let is_later = before.index > self.tip.index && before.index <= base.tip.index;
            let begins_anew = before == base.tip;
            if is_later || begins_anew {
                self.tip = before;
                self.last_end = None;
                return Ok(None);
            }
        }
        if before.index <= self.tip.index {
            return Ok(Some(None)); // of another history
        }
        let gap = Gap::find(self.tip, &[], NextSegment::After(before));
        Ok(Some(Some((gap, self.place_behind()))))
    }

    /// Right behind the entries of the segment before.
    fn place_behind(&self) -> Place {
        match &self.last_end {
            Some((path, byte)) => Place::At {
                path: path.clone(),
                byte: *byte,
                header: None,
            },
            None => Place::Nowhere,
        }
    }

    fn bad_header(
        &self,
        number: usize,
        first: Index,
        bytes: &[u8],
    ) -> Result<Option<(Gap, Place)>, LogError> {
        let entries = bytes.get(HEADER_BYTES..).unwrap_or_default();
        if first == self.tip.index.next() {
            let next = self.next_segment(number)?;
            let gap = Gap::find(self.tip, entries, next);
            let place = Place::At {
                path: self.files[number].1.clone(),
                byte: ENTRIES_AT,
                header: Some(self.tip),
            };
            return Ok(Some((gap, place)));
        }
        // Its first entry says what it goes on after, as the header did.
        let entry = first_entry(entries, first).filter(|_| first > self.tip.index);
        Ok(entry.map(|next| (Gap::find(self.tip, &[], next), self.place_behind())))
    }

    /// What the segment after this one goes on after.
    fn next_segment(&self, number: usize) -> Result<NextSegment, LogError> {
        let Some((first, path)) = self.files.get(number + 1) else {
            return Ok(NextSegment::Unknown);
        };
        let bytes = read(self.storage, path)?;
        if let Ok(header) = read_header(path, &bytes, *first, self.ids)? {
            return Ok(NextSegment::After(header.before));
        }
        let entries = bytes.get(HEADER_BYTES..).unwrap_or_default();
        Ok(first_entry(entries, *first).unwrap_or(NextSegment::Unknown))
    }
}

fn first_entry(entries: &[u8], first: Index) -> Option<NextSegment> {
    let entry = Entry::decode(entries).ok()?;
    let is_it = entry.header.index == first;
    is_it.then_some(NextSegment::With(entry.header))
}

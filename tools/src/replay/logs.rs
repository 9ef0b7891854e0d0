//! Two logs side by side: the first entry at which they are not the same.
//!
//! Each entry's checksum vouches for all before it, so two logs that agree at an entry agree up to there. What is read is
//! the last segment of each, and, if they differ, a few more in between.

use std::cmp::min;
use std::path::{Path, PathBuf};

use standin_core::entry::{Entry, EntryHeader, Index, LogTip};
use standin_core::poison::Skip;
use standin_core::segment::SegmentHeader;
use standin_io::data_dir::DataDir;
use standin_io::log::{LogReader, ReadError};
use standin_io::storage::{OsStorage, Storage};

/// So few entries are read side by side, rather than halved further: half a segment is read for each halving.
const SIDE_BY_SIDE: u64 = 1 << 16;

/// An entry, apart from its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundEntry {
    /// Its header.
    pub header: EntryHeader,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl FoundEntry {
    /// As it stands in a log.
    #[must_use]
    pub fn entry(&self) -> Entry<'_> {
        Entry {
            header: self.header,
            payload: &self.payload,
        }
    }
}

/// What a log has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Whose it is.
    pub header: SegmentHeader,
    /// The entry before its first.
    pub before: Index,
    /// Its last entry.
    pub last: Index,
}

/// What comparing two logs came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logs {
    /// They have the same entries from the first to the second of these, as far as both have any.
    Same {
        /// The entry before the first that both have.
        before: Index,
        /// The last that both have.
        last: Index,
    },
    /// They have no entry in common: one begins where the other has ended.
    Apart,
    /// They part.
    Part {
        /// The first entry that both have and that is not the same.
        entries: Box<[FoundEntry; 2]>,
        /// Whether all before it are the same. Else they have parted before what both have.
        is_first: bool,
    },
}

/// What the log in the data directory `dir` has.
///
/// # Errors
/// [`ReadError`].
pub fn extent(dir: &Path) -> Result<Extent, ReadError> {
    let mut reader = LogReader::open(dir)?;
    let before = reader.tip().index;
    reader.go_near(Index(u64::MAX))?;
    while reader.next_entry()?.is_some() {}
    Ok(Extent {
        header: reader.header().clone(),
        before,
        last: reader.tip().index,
    })
}

/// Compares the logs in two data directories, whose extents these are.
///
/// # Errors
/// [`ReadError`].
pub fn compare(dirs: [&Path; 2], extents: [&Extent; 2]) -> Result<Logs, ReadError> {
    let before = extents[0].before.max(extents[1].before);
    let last = min(extents[0].last, extents[1].last);
    if before > last || (before == last && before > Index::ZERO) {
        return Ok(Logs::Apart);
    }
    let mut pair = Pair::open(dirs)?;
    if pair.is_same_at(last)? {
        return Ok(Logs::Same { before, last });
    }
    let is_first = pair.is_same_at(before)?;
    // Invariant: they differ at `high`. At `low` they agree, or it is before all that both have.
    let (mut low, mut high) = (before, last);
    while is_first && high.0 - low.0 > SIDE_BY_SIDE {
        let middle = Index(low.0 + (high.0 - low.0) / 2);
        match pair.is_same_at(middle)? {
            true => low = middle,
            false => high = middle,
        }
    }
    let entries = Box::new(pair.first_difference(low)?);
    Ok(Logs::Part { entries, is_first })
}

/// The entry at `index`.
///
/// # Errors
/// [`ReadError`].
pub fn entry_at(dir: &Path, index: Index) -> Result<Option<FoundEntry>, ReadError> {
    let mut reader = LogReader::open(dir)?;
    find(&mut reader, index)
}

/// The entries up to `until` that are skipped by what either directory says; both logs have the same ones up to there.
///
/// A replica whose machine failed at an entry may have ended before the view began that skips it, so that its log does not
/// say so: the other's does. A skip names one entry for ever ([`Skip`]), so it is meant wherever that entry stands.
///
/// # Errors
/// [`ReadError`].
pub fn skips(dirs: [&Path; 2], until: Index) -> Result<Vec<Skip>, ReadError> {
    let mut skips = Vec::new();
    for dir in dirs {
        skips.extend(skips_in(&OsStorage, dir, &LogReader::open(dir)?)?);
    }
    skips.retain(|it| it.index <= until);
    skips.sort_unstable();
    skips.dedup();
    Ok(skips)
}

/// The entries that are skipped by what a data directory says: by the ViewStarts of its log, and by the record that its
/// replica has adopted last. A loss of power may take a ViewStart that was not synced yet and leave a snapshot of the state
/// after the skipped entry; the record was durable before.
pub(super) fn skips_in<S: Storage>(
    storage: &S,
    dir: &Path,
    reader: &LogReader<S>,
) -> Result<Vec<Skip>, ReadError> {
    let mut skips = reader.skips()?;
    // One that cannot be read says nothing: a log is evidence without it, too.
    let meta = DataDir::look_in(storage, dir).ok().flatten();
    let meta = meta.filter(|meta| meta.store == reader.header().store);
    let kept = meta.and_then(|meta| meta.kept);
    skips.extend(kept.into_iter().flat_map(|kept| kept.record.skips));
    Ok(skips)
}

/// Two logs, and where they are.
struct Pair([LogReader; 2], [PathBuf; 2]);

impl Pair {
    fn open(dirs: [&Path; 2]) -> Result<Self, ReadError> {
        let readers = [LogReader::open(dirs[0])?, LogReader::open(dirs[1])?];
        Ok(Self(readers, dirs.map(Path::to_owned)))
    }

    fn is_same_at(&mut self, index: Index) -> Result<bool, ReadError> {
        let [one, other] = &mut self.0;
        Ok(tip_at(one, index)? == tip_at(other, index)?)
    }

    /// The first entry behind `after` that is not the same; there is one.
    fn first_difference(&mut self, after: Index) -> Result<[FoundEntry; 2], ReadError> {
        let [one, other] = &mut self.0;
        let mut both = (find(one, after.next())?, find(other, after.next())?);
        loop {
            // Both were read up to an entry that is not the same, but a replica may have cut its log since.
            let gone = |side: usize| ReadError::Gone(self.1[side].clone());
            let (first, second) = match both {
                (Some(first), Some(second)) => (first, second),
                (None, _) => return Err(gone(0)),
                (_, None) => return Err(gone(1)),
            };
            if first != second {
                return Ok([first, second]);
            }
            both = (one.next_entry()?.map(found), other.next_entry()?.map(found));
        }
    }
}

fn tip_at(reader: &mut LogReader, index: Index) -> Result<Option<LogTip>, ReadError> {
    let before = reader.header().before;
    if index == before.index {
        return Ok(Some(before));
    }
    Ok(find(reader, index)?.map(|found| found.entry().tip()))
}

fn find(reader: &mut LogReader, index: Index) -> Result<Option<FoundEntry>, ReadError> {
    reader.go_near(index)?;
    while let Some(entry) = reader.next_entry()? {
        if entry.header.index == index {
            return Ok(Some(found(entry)));
        }
    }
    Ok(None)
}

fn found(entry: Entry<'_>) -> FoundEntry {
    FoundEntry {
        header: entry.header,
        payload: entry.payload.to_vec(),
    }
}

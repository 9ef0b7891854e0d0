//! Reading a log from one end to the other, for people: it changes nothing, takes no lock, and may be done while a
//! replica writes to the log.
//!
//! What is in memory is a window of the segment that is being read, however long the log is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use standin_core::entry::{
    ENTRY_BYTES_MAX, ENTRY_HEADER_BYTES, Entry, EntryError, EntryHeader, EntryKind, Index, LogTip,
    ViewStart,
};
use standin_core::poison::Skip;
use standin_core::segment::{SegmentError, SegmentHeader, Stranded, used};

use super::LogError;
use super::recovery::{is_unwritten, list};
use super::segment_file::ENTRIES_AT;
use crate::data_dir::LOG_DIR;
use crate::storage::{OsStorage, Storage, StorageFile};

/// How much of a segment is in memory, in bytes.
const WINDOW_BYTES: usize = 2 << 20;
const _: () = assert!(WINDOW_BYTES >= ENTRY_BYTES_MAX, "each entry fits");
/// How often bytes that are no entry are read again if they were others the time before: somebody writes there.
const LOOKS_MAX: usize = 100;

/// Why a log cannot be read, or not any further.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system says no.
    #[error("{doing} {file}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file or directory.
        file: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// There is no log.
    #[error(
        "{0} has no segment of a log: name the data directory of a replica, of which log/ is a part"
    )]
    NoLog(PathBuf),
    /// A segment's header is bad.
    #[error("the log is damaged at byte 0 of {file}: {source}")]
    Header {
        /// The segment file.
        file: PathBuf,
        /// What is wrong with it.
        source: SegmentError,
    },
    /// A segment belongs to another cluster, store or machine than the first, or its name is not its own.
    #[error("{file} is not of this log (byte 0): {what}")]
    Foreign {
        /// The segment file.
        file: PathBuf,
        /// What is another's, in words.
        what: String,
    },
    /// A segment does not continue the one before it.
    #[error(
        "the log is incomplete before byte 0 of {file}: that segment continues after entry {found}, but the one before it ends at entry {expected}"
    )]
    Missing {
        /// The segment file that does not fit.
        file: PathBuf,
        /// The last entry before it.
        expected: Index,
        /// The entry that it says it continues after.
        found: Index,
    },
    /// An entry is bad though the log goes on after it.
    #[error("the log is damaged at byte {at} of {file}, behind entry {last}: {source}")]
    Damaged {
        /// The segment file.
        file: PathBuf,
        /// Where, in bytes from the beginning of the file.
        at: u64,
        /// The last good entry.
        last: Index,
        /// What is wrong there.
        source: EntryError,
    },
    /// A segment was there and is not any more.
    #[error("{0} was let go of while the log was read, since a snapshot covers it: begin again")]
    Gone(PathBuf),
}

impl From<LogError> for ReadError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Io {
                doing,
                file,
                source,
            } => Self::Io {
                doing,
                file,
                source,
            },
            other => unreachable!("listing files says nothing else: {other}"),
        }
    }
}

impl ReadError {
    fn io(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            file: file.to_owned(),
            source: Arc::new(source),
        }
    }
}

/// Bytes behind a log's last entry that are no whole entry: what a write leaves that was cut short, or is under way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the last write is not whole: byte {at} of {file}: {why}")]
pub struct Unfinished {
    /// The segment file.
    pub file: PathBuf,
    /// Where, in bytes from the beginning of the file.
    pub at: u64,
    /// What is wrong there.
    pub why: EntryError,
}

/// A log, entry by entry. It ends where the log ended when the last of its segments was come to; segments that are
/// begun later are not read.
#[derive(Debug)]
pub struct LogReader<S: Storage = OsStorage> {
    storage: S,
    files: Vec<(Index, PathBuf)>,
    /// Of these, in bytes.
    lengths: Vec<u64>,
    /// Of the first segment.
    header: SegmentHeader,
    /// How many segments have been begun.
    begun: usize,
    segment: Option<Open<S::File>>,
    tip: LogTip,
    unfinished: Option<Unfinished>,
}

/// The segment that is being read.
#[derive(Debug)]
struct Open<F> {
    path: PathBuf,
    file: F,
    /// Where the next entry begins in the file.
    at: u64,
    /// Where the window begins in the file.
    window_at: u64,
    window: Vec<u8>,
    /// The memory of the window before, to be filled again.
    spare: Vec<u8>,
}

impl LogReader {
    /// The log in the data directory `dir`.
    ///
    /// # Errors
    /// [`ReadError`] if there is none, or its first segment cannot be read.
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        Self::open_in(OsStorage, dir)
    }
}

impl<S: Storage> LogReader<S> {
    /// [`LogReader::open`], on a given storage.
    ///
    /// # Errors
    /// As there.
    pub fn open_in(storage: S, dir: &Path) -> Result<Self, ReadError> {
        let log = dir.join(LOG_DIR);
        if !storage.is_dir(&log) {
            return Err(ReadError::NoLog(dir.to_owned()));
        }
        let mut files = list(&storage, &log)?;
        let (first, path) = files
            .first()
            .ok_or_else(|| ReadError::NoLog(dir.to_owned()))?;
        let bytes = storage.read(path, ENTRIES_AT).map_err(opening(path))?;
        let header = decode_header(path, &bytes, *first)?;
        // The last ones may have got their names and nothing else.
        while let [_, .., (_, path)] = files.as_slice() {
            let bytes = storage.read(path, ENTRIES_AT).map_err(opening(path))?;
            if SegmentHeader::decode(&bytes).is_ok() || !is_unwritten(&read_whole(&storage, path)?)
            {
                break;
            }
            files.pop();
        }
        let length = |(_, path): &(Index, PathBuf)| {
            let file = storage.open_to_read(path).map_err(opening(path))?;
            file.length().map_err(ReadError::io("reading", path))
        };
        Ok(Self {
            lengths: files.iter().map(length).collect::<Result<_, _>>()?,
            storage,
            files,
            tip: header.before,
            header,
            begun: 0,
            segment: None,
            unfinished: None,
        })
    }

    /// What the first segment says of itself.
    #[must_use]
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The last entry that was read; before the first, what the log goes on after.
    #[must_use]
    pub fn tip(&self) -> LogTip {
        self.tip
    }

    /// What stands behind the last entry, once the end was come to.
    #[must_use]
    pub fn unfinished(&self) -> Option<&Unfinished> {
        self.unfinished.as_ref()
    }

    /// How many bytes of the log's files were passed, and how many there are.
    #[must_use]
    pub fn position(&self) -> (u64, u64) {
        let begun = self.lengths.iter().take(self.begun).sum::<u64>();
        let open = self.segment.as_ref().map_or(0, |segment| {
            self.lengths[self.begun - 1].saturating_sub(segment.at)
        });
        (begun - open, self.lengths.iter().sum())
    }

    /// Goes to the segment that entry `index` is in, if it is in any: entries before it may come first.
    ///
    /// # Errors
    /// [`ReadError`] if that segment cannot be read.
    pub fn go_near(&mut self, index: Index) -> Result<(), ReadError> {
        let beyond = self.files.partition_point(|(first, _)| *first <= index);
        let number = beyond.saturating_sub(1);
        let (first, path) = &self.files[number];
        let bytes = self.storage.read(path, ENTRIES_AT).map_err(opening(path))?;
        self.tip = decode_header(path, &bytes, *first)?.before;
        self.begun = number;
        self.segment = None;
        self.unfinished = None;
        Ok(())
    }

    /// What the log says is to be skipped, wherever it says so: to be known before anything is applied. What cannot be
    /// read is left out, since whoever reads the entries comes upon it.
    ///
    /// # Errors
    /// [`ReadError`] if a file cannot be read.
    pub fn skips(&self) -> Result<Vec<Skip>, ReadError> {
        let mut reader = Self {
            storage: self.storage.clone(),
            files: self.files.clone(),
            lengths: self.lengths.clone(),
            header: self.header.clone(),
            begun: 0,
            segment: None,
            tip: self.header.before,
            unfinished: None,
        };
        let mut skips = Vec::new();
        loop {
            match reader.next_entry() {
                Ok(Some(entry)) if entry.header.kind == EntryKind::ViewStart => {
                    let start = ViewStart::decode(entry.payload);
                    skips.extend(start.into_iter().flat_map(|start| start.skips));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(skips),
                Err(error @ (ReadError::Io { .. } | ReadError::Gone(_))) => return Err(error),
                Err(_) => return Ok(skips),
            }
        }
    }

    /// The next entry; `None` at the log's end.
    ///
    /// # Errors
    /// [`ReadError`]: what comes next cannot be read, or is no entry that follows.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        let header = loop {
            if self.segment.is_none() && !self.begin_segment()? {
                return Ok(None);
            }
            match self.look()? {
                Some(header) => break header,
                None if self.unfinished.is_some() => return Ok(None),
                None => self.segment = None,
            }
        };
        let segment = self.segment.as_mut().expect("it was looked at");
        let payload = &segment.pass(header.length)[ENTRY_HEADER_BYTES..];
        let entry = Entry { header, payload };
        self.tip = entry.tip();
        Ok(Some(entry))
    }

    /// Begins with the next segment; false if there is none.
    fn begin_segment(&mut self) -> Result<bool, ReadError> {
        let Some((first, path)) = self.files.get(self.begun) else {
            return Ok(false);
        };
        let segment = Open::new(&self.storage, path)?;
        let header = decode_header(path, &segment.window, *first)?;
        if let Some(what) = foreign(&header, &self.header) {
            return Err(ReadError::Foreign {
                file: path.clone(),
                what,
            });
        }
        let (expected, found) = (self.tip.index, header.before.index);
        if header.before != self.tip {
            return Err(match found == expected {
                // The same place in another log.
                true => ReadError::Damaged {
                    file: path.clone(),
                    at: 0,
                    last: expected,
                    source: EntryError::Chain(*first),
                },
                false => ReadError::Missing {
                    file: path.clone(),
                    expected,
                    found,
                },
            });
        }
        self.begun += 1;
        self.segment = Some(segment);
        Ok(true)
    }

    /// The header of the entry that comes next in the segment; `None` at its end.
    fn look(&mut self) -> Result<Option<EntryHeader>, ReadError> {
        let tip = self.tip;
        let segment = self.segment.as_mut().expect("one is being read");
        let mut found = segment.header(tip);
        let mut looks = 0;
        while let Err(error) = found {
            // It may only lie beyond the window; or somebody writes there, and is soon done.
            let is_changed = segment.load()?;
            found = segment.header(tip);
            looks += 1;
            if found == Err(error) && !is_changed || looks == LOOKS_MAX {
                break;
            }
        }
        match found {
            Ok(header) => Ok(Some(header)),
            Err(error) => self.judge(error),
        }
    }

    /// Tells an end from damage.
    fn judge(&mut self, source: EntryError) -> Result<Option<EntryHeader>, ReadError> {
        let is_last = self.begun == self.files.len();
        let segment = self.segment.as_ref().expect("one is being read");
        if segment.is_unused()? {
            return Ok(None);
        }
        let rest = segment.rest()?;
        // One that is whole and in the wrong place is nothing that a write leaves which was cut short.
        let is_cut_short = is_last
            && Entry::decode(&rest).is_err()
            && Stranded::find(&rest[1..], self.tip).entries == 0;
        let (file, at) = (segment.path.clone(), segment.at);
        if is_cut_short {
            let why = source;
            self.unfinished = Some(Unfinished { file, at, why });
            return Ok(None);
        }
        Err(ReadError::Damaged {
            file,
            at,
            last: self.tip.index,
            source,
        })
    }
}

impl<F: StorageFile> Open<F> {
    /// A segment whose header is in the window.
    fn new<S: Storage<File = F>>(storage: &S, path: &Path) -> Result<Self, ReadError> {
        let mut segment = Self {
            file: storage.open_to_read(path).map_err(opening(path))?,
            path: path.to_owned(),
            at: 0,
            window_at: 0,
            window: Vec::new(),
            spare: Vec::new(),
        };
        segment.load()?;
        segment.at = ENTRIES_AT;
        Ok(segment)
    }

    /// What is in the window from where the next entry begins.
    fn ahead(&self) -> &[u8] {
        let offset = usize::try_from(self.at - self.window_at).expect("it is in memory");
        self.window.get(offset..).unwrap_or_default()
    }

    /// Goes on behind an entry of so many bytes, and returns it.
    fn pass(&mut self, length: u32) -> &[u8] {
        let offset = usize::try_from(self.at - self.window_at).expect("it is in memory");
        let end = offset + usize::try_from(length).expect("an entry is short");
        self.at += u64::from(length);
        &self.window[offset..end]
    }

    /// The entry that begins in the window, if it follows `tip`.
    fn header(&self, tip: LogTip) -> Result<EntryHeader, EntryError> {
        let entry = Entry::decode(self.ahead())?;
        tip.check_next(&entry)?;
        Ok(entry.header)
    }

    /// Reads the window anew, from where the next entry begins; whether anything in it was not there before.
    fn load(&mut self) -> Result<bool, ReadError> {
        let left = self.length()?.saturating_sub(self.at);
        let bytes = window_bytes(left);
        let mut window = std::mem::take(&mut self.spare);
        window.resize(bytes, 0);
        self.file
            .read_exact_at(&mut window, self.at)
            .map_err(ReadError::io("reading", &self.path))?;
        let is_changed = self.ahead() != window;
        self.spare = std::mem::replace(&mut self.window, window);
        self.window_at = self.at;
        Ok(is_changed)
    }

    fn length(&self) -> Result<u64, ReadError> {
        let length = self.file.length();
        length.map_err(ReadError::io("reading", &self.path))
    }

    /// Whether nothing but zeros follows.
    fn is_unused(&self) -> Result<bool, ReadError> {
        let end = self.length()?;
        let mut at = self.at;
        let mut piece = vec![0; window_bytes(end.saturating_sub(at))];
        while at < end {
            let bytes = window_bytes(end - at);
            let piece = &mut piece[..bytes];
            self.file
                .read_exact_at(piece, at)
                .map_err(ReadError::io("reading", &self.path))?;
            if used(piece) > 0 {
                return Ok(false);
            }
            at += bytes as u64;
        }
        Ok(true)
    }

    /// All that follows in the segment.
    fn rest(&self) -> Result<Vec<u8>, ReadError> {
        let left = self.length()?.saturating_sub(self.at);
        let mut rest = vec![0; usize::try_from(left).expect("a segment fits into memory")];
        self.file
            .read_exact_at(&mut rest, self.at)
            .map_err(ReadError::io("reading", &self.path))?;
        Ok(rest)
    }
}

/// How much is read at once if there are so many bytes left.
fn window_bytes(left: u64) -> usize {
    usize::try_from(left).map_or(WINDOW_BYTES, |left| left.min(WINDOW_BYTES))
}

/// What the system said when a segment was to be opened that was there a moment ago.
fn opening(path: &Path) -> impl FnOnce(io::Error) -> ReadError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => ReadError::Gone(path),
        _ => ReadError::io("opening", &path)(source),
    }
}

fn read_whole(storage: &impl Storage, path: &Path) -> Result<Vec<u8>, ReadError> {
    storage.read(path, u64::MAX).map_err(opening(path))
}

/// A segment's header, which must be the one that its file is named after.
fn decode_header(path: &Path, bytes: &[u8], first: Index) -> Result<SegmentHeader, ReadError> {
    let header = SegmentHeader::decode(bytes).map_err(|source| ReadError::Header {
        file: path.to_owned(),
        source,
    })?;
    let begins = header.before.index.next();
    if begins == first {
        return Ok(header);
    }
    Err(ReadError::Foreign {
        file: path.to_owned(),
        what: format!("it begins at entry {begins}, not as it is named"),
    })
}

/// In what a segment is another's than the first, if it is.
fn foreign(header: &SegmentHeader, first: &SegmentHeader) -> Option<String> {
    if header.cluster != first.cluster {
        return Some(format!("it belongs to cluster {}", header.cluster));
    }
    if header.store != first.store {
        return Some(format!("it belongs to store {}", header.store));
    }
    let is_other = header.machine.name() != first.machine.name();
    is_other.then(|| format!("it belongs to the machine {}", header.machine))
}

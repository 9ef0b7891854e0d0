//! A gap in a log: entries that are damaged or gone though the log goes on behind them, and what may fill it.
//!
//! Every entry names the checksum of the one before it. So what stood in a gap is determined by what stands on
//! both of its sides: a run of entries that goes on after the last good one, and after which what stands behind
//! goes on, at the very byte at which it does, is what was there, whoever sends it (`protocol.md` section 12).

use crate::entry::{ENTRY_HEADER_BYTES, Entry, EntryError, EntryHeader, Index, LogTip};
use crate::planted::{Bug, Planted};
use crate::segment::used;

/// Most bytes of entries that a gap may lack: more are not kept in memory until it is known whether they fit.
pub const GAP_BYTES_MAX: usize = 128 << 20;
/// Whole entries behind a gap that are looked at, at most. What a damaged entry carried may look like entries, too.
pub const BEHIND_MAX: usize = 4096;

/// What the segment after the one that a gap is in goes on after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextSegment {
    /// There is none, or nothing of it says.
    Unknown,
    /// This end of the log: its header says so.
    After(LogTip),
    /// Its header is bad, and this is its first entry.
    With(EntryHeader),
}

/// Entries that are missing in the middle of a log, or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last good entry before them.
    before: LogTip,
    /// Whole entries that stand behind in the same segment: how many bytes after the gap's beginning, and the
    /// header. Rising; at most [`BEHIND_MAX`].
    behind: Vec<(usize, EntryHeader)>,
    next: NextSegment,
}

/// How a run of entries fits into a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// An entry of the same segment goes on right behind it.
    Within,
    /// The next segment goes on after it: nothing may stand behind it in its own.
    Segment,
}

impl Gap {
    /// The gap behind `before`, where `rest` is what stands in its segment from the first byte of the first
    /// missing entry on.
    #[must_use]
    pub fn find(before: LogTip, rest: &[u8], next: NextSegment) -> Self {
        let mut behind = Vec::new();
        let mut at = 0;
        let end = used(rest);
        while at < end && behind.len() < BEHIND_MAX {
            // Every byte is tried: what was damaged may be a length.
            if let Ok(entry) = Entry::decode(&rest[at..])
                && entry.header.index > before.index
            {
                behind.push((at, entry.header));
                at += ENTRY_HEADER_BYTES + entry.payload.len();
            } else {
                at += 1;
            }
        }
        Self {
            before,
            behind,
            next,
        }
    }

    /// The last good entry before it.
    #[must_use]
    pub fn before(&self) -> LogTip {
        self.before
    }

    /// Whether anything stands behind it that tells what fits: nothing does if only a bad end is left.
    #[must_use]
    pub fn can_be_filled(&self) -> bool {
        !self.behind.is_empty() || self.next != NextSegment::Unknown
    }

    /// The last entry that it may lack, as far as what stands behind tells.
    #[must_use]
    pub fn last(&self) -> Index {
        let behind = self.behind.iter().map(|(_, header)| header.index);
        let next = match self.next {
            NextSegment::Unknown => None,
            NextSegment::After(tip) => Some(tip.index.next()),
            NextSegment::With(header) => Some(header.index),
        };
        let first = behind.chain(next).max().unwrap_or(Index::ZERO);
        Index(first.0.saturating_sub(1))
    }

    /// Whether the log goes on behind a run of entries that has so many bytes and this end; an empty run ends
    /// with the last good entry.
    #[must_use]
    pub fn fit(&self, bytes: usize, end: LogTip) -> Option<Fit> {
        let follows = |header: EntryHeader| {
            let entry = Entry {
                header,
                payload: &[],
            };
            end.check_next(&entry).is_ok()
        };
        let at = self.behind.binary_search_by_key(&bytes, |(at, _)| *at);
        if at.is_ok_and(|at| follows(self.behind[at].1)) {
            return Some(Fit::Within);
        }
        let is_segment = match self.next {
            NextSegment::Unknown => false,
            NextSegment::After(tip) => tip == end,
            NextSegment::With(header) => follows(header),
        };
        is_segment.then_some(Fit::Segment)
    }
}

/// Why entries do not fill a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FillingError {
    /// One of them is damaged or does not follow the one before.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// One of them holds what no entry of its kind does.
    #[error("entry {0} holds what no entry of its kind does")]
    Payload(Index),
    /// They go beyond what is missing, and what stands behind does not go on after any of them.
    #[error("what stands behind does not go on after entry {0}")]
    Unfit(Index),
    /// They are more than [`GAP_BYTES_MAX`] bytes.
    #[error("more than {GAP_BYTES_MAX} bytes are missing")]
    TooLong,
}

/// Entries that somebody sends for a gap, up to where they fit.
#[derive(Clone, Debug)]
pub struct Filling {
    gap: Gap,
    bytes: Vec<u8>,
    end: LogTip,
    planted: Planted,
}

impl Filling {
    /// Nothing yet.
    #[must_use]
    pub fn new(gap: Gap, planted: Planted) -> Self {
        Self {
            end: gap.before,
            gap,
            bytes: Vec::new(),
            planted,
        }
    }

    /// Its last entry: what is wanted next goes on after it.
    #[must_use]
    pub fn end(&self) -> LogTip {
        self.end
    }

    /// Takes whole encoded entries that go on after [`Filling::end`]. `Some`: with one of them the gap is filled, and
    /// what is behind that one is not wanted.
    ///
    /// # Errors
    /// [`FillingError`] if they cannot be what is missing. Nothing more of that sender's is of use.
    pub fn take(&mut self, mut rest: &[u8]) -> Result<Option<Fit>, FillingError> {
        while !rest.is_empty() {
            let entry = Entry::decode(rest)?;
            self.end.check_next(&entry)?;
            if !entry.has_sound_payload() {
                return Err(FillingError::Payload(entry.header.index));
            }
            let (whole, after) = rest.split_at(ENTRY_HEADER_BYTES + entry.payload.len());
            if self.bytes.len() + whole.len() > GAP_BYTES_MAX {
                return Err(FillingError::TooLong);
            }
            self.bytes.extend_from_slice(whole);
            self.end = entry.tip();
            rest = after;
            if let Some(fit) = self.gap.fit(self.bytes.len(), self.end) {
                return Ok(Some(fit));
            }
            if self.end.index >= self.gap.last() {
                if self.planted.has(Bug::UnfitTaken) {
                    return Ok(Some(Fit::Within));
                }
                return Err(FillingError::Unfit(self.end.index));
            }
        }
        Ok(None)
    }

    /// The entries.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests;

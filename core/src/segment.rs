//! The segment file format: a header block, then entries, then zeros up to the preallocated length.
//!
//! This module reads and writes bytes; files are `standin-io`'s. `docs/format.md` has the drawing.

use crate::bytes::{put_u32, put_u64, put_u128, u32_at, u64_at, u128_at};
use crate::entry::{ENTRY_HEADER_BYTES, Entry, EntryError, Index, LogTip};
use crate::identity::{ClusterId, StoreId};
use crate::machine::MachineId;
use crate::time::WallTime;
use crate::view::ViewNumber;

/// Bytes of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 160;
/// Version of the log's format: segments, headers and entries.
pub const LOG_FORMAT_VERSION: u32 = 6;
/// The first one in which the version that is executed may change.
const VERSIONED_LOG_FORMAT: u32 = 5;

const MAGIC: &[u8; 8] = b"STANDLOG";
const AT_VERSION: usize = 8;
const AT_CHECKSUM: usize = 12;
const AT_CLUSTER: usize = 16;
const AT_STORE: usize = 32;
const AT_FIRST: usize = 48;
const AT_VIEW_BEFORE: usize = 56;
const AT_TIME_BEFORE: usize = 64;
const AT_CHAIN_BEFORE: usize = 72;
const AT_MACHINE_VERSION: usize = 76;
const AT_NAME_LENGTH: usize = 80;
const AT_NAME: usize = 84;
const NAME_BYTES: usize = crate::machine::MACHINE_NAME_BYTES_MAX;
const AT_RESERVED: usize = AT_NAME + NAME_BYTES;
const _: () = assert!(AT_RESERVED <= SEGMENT_HEADER_BYTES);

/// What stands at the head of every segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cluster whose inputs these are.
    pub cluster: ClusterId,
    /// The data directory that the segment was written for.
    pub store: StoreId,
    /// The state machine that the inputs are for. Up to log format 4 its version is the one that executes all
    /// entries; since, it is the newest one that was known to be executed when the log was opened, and which version executes
    /// an entry stands in ViewStarts and Upgrades.
    pub machine: MachineId,
    /// The end of the log before this segment: its first entry has the next index.
    pub before: LogTip,
}

/// Why bytes are no segment of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Fewer bytes than a header has.
    #[error("the file ends within its header")]
    Short,
    /// The magic bytes are others.
    #[error("this is no Standin log segment")]
    Magic,
    /// Written by a version that this one does not read.
    #[error("log format {0} is unknown; this version reads formats 1 to {LOG_FORMAT_VERSION}")]
    Version(u32),
    /// The header is damaged.
    #[error("the header's checksum does not match")]
    Checksum,
    /// A field holds what it may not.
    #[error("the header holds an impossible value")]
    Field,
}

impl SegmentHeader {
    /// The encoded header, [`SEGMENT_HEADER_BYTES`] long.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let name = self.machine.name();
        let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, LOG_FORMAT_VERSION);
        put_u32(&mut out, 0); // checksum, filled in below
        put_u128(&mut out, self.cluster.0);
        put_u128(&mut out, self.store.0);
        put_u64(&mut out, self.before.index.next().0);
        put_u64(&mut out, self.before.view.0);
        put_u64(&mut out, self.before.time.0);
        put_u32(&mut out, self.before.chain);
        put_u32(&mut out, self.machine.version());
        put_u32(
            &mut out,
            u32::try_from(name.len()).expect("machine names are short"),
        );
        out.extend_from_slice(name.as_bytes());
        out.resize(SEGMENT_HEADER_BYTES, 0);
        let checksum = crc32fast::hash(&out[AT_CLUSTER..]);
        out[AT_CHECKSUM..AT_CLUSTER].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a header from the beginning of a segment.
    ///
    /// # Errors
    /// [`SegmentError`] if it is none, damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentError> {
        let bytes = bytes
            .get(..SEGMENT_HEADER_BYTES)
            .ok_or(SegmentError::Short)?;
        if &bytes[..AT_VERSION] != MAGIC {
            return Err(SegmentError::Magic);
        }
        let version = u32_at(bytes, AT_VERSION);
        if !(1..=LOG_FORMAT_VERSION).contains(&version) {
            return Err(SegmentError::Version(version));
        }
        if crc32fast::hash(&bytes[AT_CLUSTER..]) != u32_at(bytes, AT_CHECKSUM) {
            return Err(SegmentError::Checksum);
        }
        let name_length = usize::try_from(u32_at(bytes, AT_NAME_LENGTH)).unwrap_or(usize::MAX);
        let name = bytes[AT_NAME..AT_RESERVED]
            .get(..name_length)
            .ok_or(SegmentError::Field)?;
        // Behind the name, and behind its field, there are only zeros.
        if bytes[AT_NAME + name_length..].iter().any(|byte| *byte != 0) {
            return Err(SegmentError::Field);
        }
        let name = std::str::from_utf8(name).map_err(|_| SegmentError::Field)?;
        let machine =
            MachineId::new(name, u32_at(bytes, AT_MACHINE_VERSION)).ok_or(SegmentError::Field)?;
        let first = u64_at(bytes, AT_FIRST);
        let before = LogTip {
            index: Index(first.checked_sub(1).ok_or(SegmentError::Field)?),
            view: ViewNumber(u64_at(bytes, AT_VIEW_BEFORE)),
            chain: u32_at(bytes, AT_CHAIN_BEFORE),
            time: WallTime(u64_at(bytes, AT_TIME_BEFORE)),
        };
        Ok(Self {
            cluster: ClusterId(u128_at(bytes, AT_CLUSTER)),
            store: StoreId(u128_at(bytes, AT_STORE)),
            machine,
            before,
        })
    }
}

/// The version of the machine that executes all of a log, if these bytes begin with a sound header of a format that knew
/// only one: those before format 5.
#[must_use]
pub fn single_version(bytes: &[u8]) -> Option<u32> {
    let header = SegmentHeader::decode(bytes).ok()?;
    let knew_one = u32_at(bytes, AT_VERSION) < VERSIONED_LOG_FORMAT;
    knew_one.then(|| header.machine.version())
}

/// How the entries of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanEnd {
    /// Nothing but zeros follows, or nothing at all.
    Clean,
    /// The last write was cut short: what follows holds no whole entry.
    Torn(EntryError),
    /// An entry is bad or missing although whole ones of a higher index stand behind it. That is
    /// damage, unless writes that were not synced may have been lost: those may be lost in any order.
    Gap(EntryError, Stranded),
    /// A whole entry stands where another should. No lost write leaves that: it must never be cut off
    /// or skipped (`protocol.md` section 12).
    Damaged(EntryError),
}

/// Whole entries that stand behind a bad one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stranded {
    /// How many there are.
    pub entries: u64,
    /// The highest commit index that one of them names.
    pub commit: Index,
}

impl Stranded {
    /// Looks for whole entries of a log that goes on after `tip`, at every byte of `bytes`.
    #[must_use]
    pub fn find(bytes: &[u8], tip: LogTip) -> Self {
        let mut found = Self::default();
        let mut at = 0;
        let end = used(bytes);
        while at < end {
            match Entry::decode(&bytes[at..]) {
                Ok(entry) if is_later(&entry, tip) => {
                    found.entries += 1;
                    found.commit = found.commit.max(entry.header.commit);
                    // What a whole entry carries is a client's, even if it looks like an entry.
                    at += ENTRY_HEADER_BYTES + entry.payload.len();
                }
                Ok(_) | Err(_) => at += 1,
            }
        }
        found
    }

    /// Those of two places together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            commit: self.commit.max(other.commit),
        }
    }
}

fn is_later(entry: &Entry<'_>, tip: LogTip) -> bool {
    let header = &entry.header;
    header.index > tip.index && header.view >= tip.view && header.time >= tip.time
}

/// What reading through a segment's entries found.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// The log's end after the last good entry.
    pub tip: LogTip,
    /// Bytes of good entries, from the end of the header.
    pub bytes: usize,
    /// The highest commit index that an entry names.
    pub commit: Index,
    /// What stands behind the last good entry.
    pub end: ScanEnd,
}

/// Reads the entries in `bytes` (a segment without its header) that follow `before`, handing each
/// good one to `visit`.
pub fn scan(bytes: &[u8], before: LogTip, mut visit: impl FnMut(&Entry<'_>)) -> Scan {
    let mut scan = Scan {
        tip: before,
        bytes: 0,
        commit: Index::ZERO,
        end: ScanEnd::Clean,
    };
    loop {
        let rest = &bytes[scan.bytes..];
        let next =
            Entry::decode(rest).and_then(|entry| scan.tip.check_next(&entry).map(|()| entry));
        match next {
            Ok(entry) => {
                visit(&entry);
                scan.tip = entry.tip();
                scan.commit = scan.commit.max(entry.header.commit);
                scan.bytes += entry.payload.len() + ENTRY_HEADER_BYTES;
            }
            Err(error) => {
                scan.end = classify(rest, scan.tip, error);
                return scan;
            }
        }
    }
}

/// Tells a clean end from a torn one, from a gap, and from damage.
fn classify(rest: &[u8], tip: LogTip, error: EntryError) -> ScanEnd {
    if used(rest) == 0 {
        return ScanEnd::Clean;
    }
    // The first bad entry itself may be whole and only out of place: that is no torn write.
    if Entry::decode(rest).is_ok() {
        return ScanEnd::Damaged(error);
    }
    match Stranded::find(&rest[1..], tip) {
        Stranded { entries: 0, .. } => ScanEnd::Torn(error),
        stranded => ScanEnd::Gap(error, stranded),
    }
}

/// How many bytes there are up to the last that is not zero.
///
/// Compares block by block, since the unused part of a segment is long and read at every start.
#[must_use]
pub fn used(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut end = bytes.len();
    while end > 0 {
        let block = &bytes[end.saturating_sub(ZEROS.len())..end];
        if block != &ZEROS[..block.len()] {
            return end - block.iter().rev().take_while(|byte| **byte == 0).count();
        }
        end -= block.len();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Batch, BatchBuilder, BatchStamp, EntryKind};

    fn header() -> SegmentHeader {
        SegmentHeader {
            cluster: ClusterId(1),
            store: StoreId(2),
            machine: MachineId::new("counter", 1).unwrap(),
            before: LogTip::default(),
        }
    }

    fn batch() -> Batch {
        let stamp = BatchStamp {
            view: ViewNumber(1),
            time: WallTime(5),
            seed: 9,
            commit: Index(u64::MAX), // ends in bytes other than zero, so that every cut shows
        };
        let mut builder = BatchBuilder::new(LogTip::default(), stamp);
        builder.push(EntryKind::ViewStart, |out| out.extend_from_slice(&[1; 20]));
        for _ in 0..3 {
            builder.push(EntryKind::OpenSession, |_| {});
        }
        builder.finish().unwrap()
    }

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_noticed() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // The version says only whether this one reads it: entries of all that it does are read alike.
            let is_known = (1..=LOG_FORMAT_VERSION).contains(&u32_at(&damaged, AT_VERSION));
            let is_version = (AT_VERSION..AT_CHECKSUM).contains(&(bit / 8));
            let is_alike = is_version && is_known;
            let is_refused = SegmentHeader::decode(&damaged).is_err();
            assert_eq!(is_refused, !is_alike, "bit {bit}");
        }
    }

    #[test]
    fn a_clean_end_is_told_from_a_torn_one_and_from_damage() {
        let batch = batch();
        let whole = batch.bytes();
        let mut padded = whole.to_vec();
        padded.resize(whole.len() + 100, 0);
        let found = scan(&padded, LogTip::default(), |_| {});
        assert_eq!((found.tip, found.bytes), (batch.tip(), whole.len()));
        assert_eq!(found.end, ScanEnd::Clean);

        let last_entry_at = whole.len() - batch.bytes_from(Index(4)).len();
        for cut in last_entry_at + 1..whole.len() {
            let mut torn = whole[..cut].to_vec();
            torn.resize(padded.len(), 0);
            let found = scan(&torn, LogTip::default(), |_| {});
            assert_eq!(found.tip.index, Index(3), "cut at {cut}");
            assert!(
                matches!(found.end, ScanEnd::Torn(_)),
                "cut at {cut}: {:?}",
                found.end
            );
        }
        for at in 0..last_entry_at {
            let mut damaged = padded.clone();
            damaged[at] ^= 0x40;
            let found = scan(&damaged, LogTip::default(), |_| {});
            let ScanEnd::Gap(_, stranded) = found.end else {
                panic!("byte {at}: {:?}", found.end);
            };
            assert_eq!(stranded.entries, 3 - found.tip.index.0, "byte {at}");
            assert_eq!(stranded.commit, Index(u64::MAX), "byte {at}");
        }
    }

    #[test]
    fn a_whole_entry_is_seen_behind_a_bad_one_whatever_its_length() {
        for bytes in 190..210 {
            let stamp = BatchStamp {
                view: ViewNumber(1),
                time: WallTime(5),
                seed: 9,
                commit: Index(0),
            };
            let mut builder = BatchBuilder::new(LogTip::default(), stamp);
            builder.push(EntryKind::ViewStart, |out| out.extend_from_slice(&[1; 20]));
            builder.push(EntryKind::Command, |out| out.resize(out.len() + bytes, 0));
            let mut damaged = builder.finish().unwrap().bytes().to_vec();
            damaged[60] ^= 1;
            let found = scan(&damaged, LogTip::default(), |_| {});
            assert!(
                matches!(found.end, ScanEnd::Gap(_, Stranded { entries: 1, .. })),
                "{bytes}: {:?}",
                found.end
            );
        }
    }
    #[test]
    fn a_whole_entry_behind_a_bad_one_is_found_whatever_its_length() {
        // Some lengths end in a zero byte, as what is not written does.
        for payload in (0..600).chain([(1 << 16) - 56, (1 << 20) - 56]) {
            let stamp = BatchStamp {
                view: ViewNumber(1),
                time: WallTime(5),
                seed: 9,
                commit: Index::ZERO,
            };
            let mut builder = BatchBuilder::new(LogTip::default(), stamp);
            builder.push(EntryKind::ViewStart, |out| out.extend_from_slice(&[1; 20]));
            builder.push(EntryKind::Command, |out| out.resize(out.len() + payload, 7));
            let batch = builder.finish().unwrap();
            let mut damaged = batch.bytes().to_vec();
            damaged[60] ^= 1; // in the first entry's payload
            let found = scan(&damaged, LogTip::default(), |_| {});
            assert!(
                matches!(found.end, ScanEnd::Gap(EntryError::Checksum, _)),
                "{payload} bytes of payload: {:?}",
                found.end
            );
        }
    }

    #[test]
    fn an_entry_that_a_client_sent_within_a_command_is_no_entry() {
        let inner = batch();
        let mut builder = BatchBuilder::new(
            LogTip::default(),
            BatchStamp {
                view: ViewNumber(1),
                time: WallTime(5),
                seed: 9,
                commit: Index(0),
            },
        );
        builder.push(EntryKind::ViewStart, |out| out.extend_from_slice(&[1; 20]));
        builder.push(EntryKind::Command, |out| {
            out.extend_from_slice(inner.bytes());
        });
        let mut damaged = builder.finish().unwrap().bytes().to_vec();
        damaged[60] ^= 1;
        let found = scan(&damaged, LogTip::default(), |_| {});
        let stranded = Stranded {
            entries: 1,
            commit: Index(0),
        };
        assert!(
            matches!(found.end, ScanEnd::Gap(_, all) if all == stranded),
            "{:?}",
            found.end
        );
    }
}

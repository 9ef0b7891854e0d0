//! Entries: the ordered inputs that make up the log, and batches of them.
//!
//! An entry is encoded once, by the primary that orders it. The same bytes go into both logs and over
//! the wire. `docs/format.md` draws the layout; the golden files in `tests/golden/` hold it still.

mod run;
mod view_start;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bytes::{put_u32, put_u64, u32_at, u64_at};
use crate::digest::digest;
use crate::identity::ReplicaName;
use crate::message::decode_payload;
use crate::poison::Skip;
use crate::time::WallTime;
use crate::version::VersionStart;
use crate::view::ViewNumber;

pub use run::{ENTRY_REPLY_BYTES_MAX, RUN_BYTES_MAX, RUN_COMMANDS_MAX, Run, RunReplies, RunReply};
pub use view_start::ViewStart;

/// Position of an entry in the log. The first entry has 1; 0 stands before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Index(pub u64);

impl Index {
    /// The index before the first entry.
    pub const ZERO: Self = Self(0);

    /// The following index.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Longest command, query or reply of a machine, in bytes.
pub const COMMAND_BYTES_MAX: usize = 1 << 20;
/// Longest entry, header included, in bytes.
pub const ENTRY_BYTES_MAX: usize = COMMAND_BYTES_MAX + 4096;
/// A batch is closed before it grows beyond this, in bytes.
pub const BATCH_BYTES_MAX: usize = 2 << 20;
const _: () = assert!(BATCH_BYTES_MAX >= ENTRY_BYTES_MAX);

/// Bytes before an entry's payload.
pub const ENTRY_HEADER_BYTES: usize = 56;
/// Bytes before a command's own bytes in the payload of a [`EntryKind::Command`].
pub const COMMAND_HEADER_BYTES: usize = 24;

const AT_LENGTH: usize = 0;
const AT_CHECKSUM: usize = 4;
const AT_CHAIN: usize = 8;
const AT_KIND: usize = 12;
const AT_RESERVED: usize = 13;
const AT_VIEW: usize = 16;
const AT_INDEX: usize = 24;
const AT_TIME: usize = 32;
const AT_SEED: usize = 40;
const AT_COMMIT: usize = 48;
const _: () = assert!(AT_COMMIT + 8 == ENTRY_HEADER_BYTES);

/// What an entry is. The numbers are the format: append, never reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The first entry of a view ([`ViewStart`]).
    ViewStart = 1,
    /// A client opens a session; its id is this entry's index.
    OpenSession = 2,
    /// A client closes its session ([`CloseSession`]).
    CloseSession = 3,
    /// A client's command ([`Command`]).
    Command = 4,
    /// A timer of the machine is due ([`TimerFired`]).
    Timer = 5,
    /// The primary is about to hand over ([`Handover`]). Since log format 2.
    Handover = 6,
    /// A command that belongs to no session; the payload is the machine's bytes. Since log format 4.
    Direct = 7,
    /// The machine's executing version changes ([`Upgrade`]). Since log format 5.
    Upgrade = 8,
    /// Several commands of one session ([`Run`]). Since log format 6.
    Run = 9,
}

impl EntryKind {
    fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::ViewStart,
            2 => Self::OpenSession,
            3 => Self::CloseSession,
            4 => Self::Command,
            5 => Self::Timer,
            6 => Self::Handover,
            7 => Self::Direct,
            8 => Self::Upgrade,
            9 => Self::Run,
            _ => return None,
        })
    }
}

/// What stands before an entry's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// Header and payload, in bytes.
    pub length: u32,
    /// CRC-32 of everything after this field, so of `chain` too: it vouches for all entries before.
    pub checksum: u32,
    /// The checksum of the entry before; 0 for the first.
    pub chain: u32,
    /// What the payload is.
    pub kind: EntryKind,
    /// The view in which a primary ordered it.
    pub view: ViewNumber,
    /// Its place in the log.
    pub index: Index,
    /// Logged time: what the machine sees as now. Never falls.
    pub time: WallTime,
    /// The batch's random seed. The machine's random numbers come from it and the index.
    pub seed: u64,
    /// What was known to be committed when the entry was ordered.
    pub commit: Index,
}

/// One entry, borrowed from the bytes it was decoded from.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The header.
    pub header: EntryHeader,
    /// The payload, as its kind defines it.
    pub payload: &'a [u8],
}

/// Payload of a [`EntryKind::CloseSession`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseSession {
    /// The session to close.
    pub session: u64,
}

/// Payload of a [`EntryKind::Timer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerFired {
    /// The machine's own number for the timer.
    pub id: u64,
    /// When it was due. A timer that was set anew meanwhile has another deadline, and this entry
    /// then does nothing.
    pub deadline: WallTime,
}

/// Payload of a [`EntryKind::Handover`]: the last entry before a planned change of the primary, unless that
/// came to nothing. It changes nothing in the state; that both replicas applied it with the same chain
/// over their replies is what the primary waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The backup that is to be primary.
    pub to: ReplicaName,
}

/// Payload of a [`EntryKind::Upgrade`]: all later entries are executed by another version of the machine. The primary
/// orders it when its backup supports that version as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The version, above the one that is executed up to here.
    pub version: u32,
}

/// Payload of a [`EntryKind::Command`]: fixed little-endian fields, then the machine's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Command<'a> {
    /// The session.
    pub session: u64,
    /// The request's number in the session, from 1.
    pub sequence: u64,
    /// The client has the replies of all requests up to this one.
    pub acknowledged: u64,
    /// The machine's command.
    pub bytes: &'a [u8],
}

impl<'a> Command<'a> {
    /// Appends the encoded form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.session);
        put_u64(out, self.sequence);
        put_u64(out, self.acknowledged);
        out.extend_from_slice(self.bytes);
    }

    /// Reads the encoded form.
    #[must_use]
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        let (head, bytes) = payload.split_at_checked(COMMAND_HEADER_BYTES)?;
        Some(Self {
            session: u64_at(head, 0),
            sequence: u64_at(head, 8),
            acknowledged: u64_at(head, 16),
            bytes,
        })
    }
}

/// What is wrong with bytes that should be an entry that follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The length field is below a header's or above [`ENTRY_BYTES_MAX`].
    #[error("an entry's length of {0} bytes is out of range")]
    Length(u32),
    /// The bytes end within the entry.
    #[error("an entry ends early")]
    Short,
    /// The checksum does not match.
    #[error("an entry's checksum does not match its bytes")]
    Checksum,
    /// The kind is none that this version knows.
    #[error("entry kind {0} is unknown")]
    Kind(u8),
    /// Reserved bytes are not zero.
    #[error("an entry's reserved bytes are not zero")]
    Reserved,
    /// The chain field is not the checksum of the entry before.
    #[error("entry {0} does not continue the chain of checksums")]
    Chain(Index),
    /// The index is not the next.
    #[error("entry {found} stands where {expected} should")]
    Index {
        /// The index that should stand there.
        expected: Index,
        /// The one that does.
        found: Index,
    },
    /// View or time are lower than those of the entry before.
    #[error("entry {0} has a lower view or time than the one before it")]
    Backwards(Index),
    /// A view begins with something else than a ViewStart.
    #[error("entry {0} begins a view but is no ViewStart")]
    NoViewStart(Index),
}

impl<'a> Entry<'a> {
    /// Reads the entry at the beginning of `bytes` and checks its own checksum, not its place.
    ///
    /// # Errors
    /// [`EntryError`] if the bytes are not a whole, undamaged entry.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let length = entry_length(bytes)?;
        let whole = bytes.get(..length).ok_or(EntryError::Short)?;
        if crc32fast::hash(&whole[AT_CHAIN..]) != u32_at(whole, AT_CHECKSUM) {
            return Err(EntryError::Checksum);
        }
        Self::parse(whole)
    }

    /// Whether the payload decodes, which whoever applies the entry relies on. A replica asks before
    /// it takes an entry from another one into its log.
    #[must_use]
    pub fn has_sound_payload(&self) -> bool {
        match self.header.kind {
            EntryKind::ViewStart => ViewStart::decode(self.payload).is_some(),
            EntryKind::OpenSession => self.payload.is_empty(),
            EntryKind::CloseSession => decode_payload::<CloseSession>(self.payload).is_some(),
            EntryKind::Command => self.payload.len() >= COMMAND_HEADER_BYTES,
            EntryKind::Timer => decode_payload::<TimerFired>(self.payload).is_some(),
            EntryKind::Handover => decode_payload::<Handover>(self.payload).is_some(),
            EntryKind::Direct => true, // what it means the machine says
            EntryKind::Upgrade => decode_payload::<Upgrade>(self.payload).is_some(),
            EntryKind::Run => Run::decode(self.payload).is_some(),
        }
    }

    /// What it says of the machine's version, if it says something.
    #[must_use]
    pub fn version_start(&self) -> Option<VersionStart> {
        let is_upgrade = self.header.kind == EntryKind::Upgrade;
        let version = match self.header.kind {
            EntryKind::ViewStart => ViewStart::decode(self.payload)?.machine_version?,
            EntryKind::Upgrade => decode_payload::<Upgrade>(self.payload)?.version,
            EntryKind::OpenSession
            | EntryKind::CloseSession
            | EntryKind::Command
            | EntryKind::Timer
            | EntryKind::Handover
            | EntryKind::Direct
            | EntryKind::Run => return None,
        };
        let Self { header, .. } = self;
        let (index, view) = (header.index, header.view);
        Some(VersionStart {
            at: Skip { index, view },
            version,
            is_upgrade,
        })
    }

    /// Reads one whole entry whose checksum was verified before.
    fn parse(whole: &'a [u8]) -> Result<Self, EntryError> {
        if whole[AT_RESERVED..AT_VIEW].iter().any(|byte| *byte != 0) {
            return Err(EntryError::Reserved);
        }
        let kind = EntryKind::from_u8(whole[AT_KIND]).ok_or(EntryError::Kind(whole[AT_KIND]))?;
        let header = EntryHeader {
            length: u32_at(whole, AT_LENGTH),
            checksum: u32_at(whole, AT_CHECKSUM),
            chain: u32_at(whole, AT_CHAIN),
            kind,
            view: ViewNumber(u64_at(whole, AT_VIEW)),
            index: Index(u64_at(whole, AT_INDEX)),
            time: WallTime(u64_at(whole, AT_TIME)),
            seed: u64_at(whole, AT_SEED),
            commit: Index(u64_at(whole, AT_COMMIT)),
        };
        Ok(Self {
            header,
            payload: &whole[ENTRY_HEADER_BYTES..],
        })
    }

    /// The log's end if this is its last entry.
    #[must_use]
    pub fn tip(&self) -> LogTip {
        LogTip {
            index: self.header.index,
            view: self.header.view,
            chain: self.header.checksum,
            time: self.header.time,
        }
    }
}

/// The length field of the entry at the beginning of `bytes`, if it is in range.
fn entry_length(bytes: &[u8]) -> Result<usize, EntryError> {
    if bytes.len() < ENTRY_HEADER_BYTES {
        return Err(EntryError::Short);
    }
    let length = u32_at(bytes, AT_LENGTH);
    match usize::try_from(length) {
        Ok(length) if (ENTRY_HEADER_BYTES..=ENTRY_BYTES_MAX).contains(&length) => Ok(length),
        _ => Err(EntryError::Length(length)),
    }
}

/// The end of a log: what the next entry must follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTip {
    /// Index of the last entry; 0 in an empty log.
    pub index: Index,
    /// Its view.
    pub view: ViewNumber,
    /// Its checksum.
    pub chain: u32,
    /// Its logged time.
    pub time: WallTime,
}

impl LogTip {
    /// Checks that `entry` may follow this end.
    ///
    /// # Errors
    /// [`EntryError`] says what does not fit.
    pub fn check_next(&self, entry: &Entry<'_>) -> Result<(), EntryError> {
        let header = &entry.header;
        if header.index != self.index.next() {
            return Err(EntryError::Index {
                expected: self.index.next(),
                found: header.index,
            });
        }
        if header.chain != self.chain {
            return Err(EntryError::Chain(header.index));
        }
        if header.view < self.view || header.time < self.time {
            return Err(EntryError::Backwards(header.index));
        }
        let begins_view = header.view > self.view;
        if begins_view != (header.kind == EntryKind::ViewStart) {
            return Err(EntryError::NoViewStart(header.index));
        }
        Ok(())
    }
}

/// The first entry of each view in a log, in order.
pub type ViewStarts = Vec<(ViewNumber, Index)>;

/// Leaves those views out that end at or before `base`, but for the one of `base` itself: a log that goes on
/// right after it has nothing of them any more.
pub fn forget_views(view_starts: &mut ViewStarts, base: LogTip) {
    let through = view_starts.partition_point(|(_, first)| *first <= base.index);
    view_starts.drain(..through.saturating_sub(1));
}

/// Consecutive entries, encoded. What is appended, sent and acknowledged as one.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    first: Index,
    tip: LogTip,
    view_starts: ViewStarts,
    /// An Upgrade is among them.
    has_upgrade: bool,
    bytes: Vec<u8>,
}

/// Two batches look the same only if they are: the exploration tells states apart by this form.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Batch({}..={} of view {}, chain {:08x}, {} bytes with digest {:032x})",
            self.first,
            self.tip.index,
            self.tip.view,
            self.tip.chain,
            self.bytes.len(),
            digest(&self.bytes)
        )
    }
}

impl Batch {
    /// Takes bytes that should hold whole entries that follow `before`, checking each one.
    ///
    /// # Errors
    /// [`EntryError`] of the first entry that is damaged or out of place; [`EntryError::Short`] if
    /// there is none at all.
    pub fn verify(bytes: Vec<u8>, before: LogTip) -> Result<Self, EntryError> {
        let mut tip = before;
        let mut view_starts = ViewStarts::new();
        let mut has_upgrade = false;
        let mut rest = bytes.as_slice();
        if rest.is_empty() {
            return Err(EntryError::Short);
        }
        while !rest.is_empty() {
            let entry = Entry::decode(rest)?;
            tip.check_next(&entry)?;
            if entry.header.kind == EntryKind::ViewStart {
                view_starts.push((entry.header.view, entry.header.index));
            }
            has_upgrade |= entry.header.kind == EntryKind::Upgrade;
            tip = entry.tip();
            rest = &rest[ENTRY_HEADER_BYTES + entry.payload.len()..];
        }
        Ok(Self {
            first: before.index.next(),
            tip,
            view_starts,
            has_upgrade,
            bytes,
        })
    }

    /// Index of the first entry.
    #[must_use]
    pub fn first(&self) -> Index {
        self.first
    }

    /// Index of the last entry.
    #[must_use]
    pub fn last(&self) -> Index {
        self.tip.index
    }

    /// The end of a log whose last batch this is.
    #[must_use]
    pub fn tip(&self) -> LogTip {
        self.tip
    }

    /// The views that begin in this batch.
    #[must_use]
    pub fn view_starts(&self) -> &[(ViewNumber, Index)] {
        &self.view_starts
    }

    /// The entries that views which begin in this batch skip.
    #[must_use]
    pub fn skips(&self) -> Vec<Skip> {
        if self.view_starts.is_empty() {
            return Vec::new();
        }
        let starts = (self.entries()).filter(|entry| entry.header.kind == EntryKind::ViewStart);
        let starts = starts.filter_map(|entry| ViewStart::decode(entry.payload));
        starts.flat_map(|start| start.skips).collect()
    }

    /// What its entries say of the machine's version.
    #[must_use]
    pub fn version_starts(&self) -> Vec<VersionStart> {
        if self.view_starts.is_empty() && !self.has_upgrade {
            return Vec::new();
        }
        let starts = self.entries();
        starts.filter_map(|entry| entry.version_start()).collect()
    }

    /// The encoded entries.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> + Clone {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let length = entry_length(rest).expect("a batch holds whole entries");
            let (whole, after) = rest.split_at(length);
            rest = after;
            Some(Entry::parse(whole).expect("a batch holds entries that were checked"))
        })
    }

    /// The encoded entries from `index` on, which must lie within the batch.
    #[must_use]
    pub fn bytes_from(&self, index: Index) -> &[u8] {
        assert!(
            self.first <= index && index <= self.last(),
            "{index} is not in {self:?}"
        );
        let mut rest = self.bytes.as_slice();
        for _ in self.first.0..index.0 {
            let length = entry_length(rest).expect("a batch holds whole entries");
            rest = &rest[length..];
        }
        rest
    }
}

/// What all entries of one batch share besides their view.
#[derive(Clone, Copy, Debug)]
pub struct BatchStamp {
    /// The view they are ordered in.
    pub view: ViewNumber,
    /// Their logged time.
    pub time: WallTime,
    /// Their random seed.
    pub seed: u64,
    /// What is committed when they are ordered.
    pub commit: Index,
}

/// Encodes entries one after another into a [`Batch`].
#[derive(Debug)]
pub struct BatchBuilder {
    stamp: BatchStamp,
    batch: Batch,
}

impl BatchBuilder {
    /// Starts a batch that follows `before`.
    #[must_use]
    pub fn new(before: LogTip, stamp: BatchStamp) -> Self {
        assert!(
            stamp.view >= before.view,
            "view {} after {}",
            stamp.view,
            before.view
        );
        assert!(stamp.time >= before.time, "logged time must not fall");
        let batch = Batch {
            first: before.index.next(),
            tip: before,
            view_starts: ViewStarts::new(),
            has_upgrade: false,
            bytes: Vec::new(),
        };
        Self { stamp, batch }
    }

    /// Makes room for so many bytes at once, up to what a batch may have.
    pub fn reserve(&mut self, bytes: usize) {
        let bytes = bytes.min(BATCH_BYTES_MAX.saturating_sub(self.len()));
        self.batch.bytes.reserve_exact(bytes);
    }

    /// Appends one entry, whose payload `write` produces, and says which index it has.
    pub fn push(&mut self, kind: EntryKind, write: impl FnOnce(&mut Vec<u8>)) -> Index {
        let bytes = &mut self.batch.bytes;
        let start = bytes.len();
        let index = self.batch.tip.index.next();
        put_u64(bytes, 0); // length and checksum, filled in below
        put_u32(bytes, self.batch.tip.chain);
        put_u32(bytes, kind as u32);
        put_u64(bytes, self.stamp.view.0);
        put_u64(bytes, index.0);
        put_u64(bytes, self.stamp.time.0);
        put_u64(bytes, self.stamp.seed);
        put_u64(bytes, self.stamp.commit.0);
        write(bytes);
        let entry = &mut bytes[start..];
        let length = u32::try_from(entry.len()).expect("payloads are bounded");
        assert!(entry.len() <= ENTRY_BYTES_MAX, "an entry of {length} bytes");
        let checksum = crc32fast::hash(&entry[AT_CHAIN..]);
        entry[AT_LENGTH..AT_CHECKSUM].copy_from_slice(&length.to_le_bytes());
        entry[AT_CHECKSUM..AT_CHAIN].copy_from_slice(&checksum.to_le_bytes());
        if kind == EntryKind::ViewStart {
            self.batch.view_starts.push((self.stamp.view, index));
        }
        self.batch.has_upgrade |= kind == EntryKind::Upgrade;
        self.batch.tip = LogTip {
            index,
            view: self.stamp.view,
            chain: checksum,
            time: self.stamp.time,
        };
        index
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.bytes.len()
    }

    /// Whether nothing was pushed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.bytes.is_empty()
    }

    /// The batch, unless it is empty.
    #[must_use]
    pub fn finish(self) -> Option<Batch> {
        (!self.is_empty()).then_some(self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(view: u64) -> BatchStamp {
        BatchStamp {
            view: ViewNumber(view),
            time: WallTime(1000 * view),
            seed: 42,
            commit: Index::ZERO,
        }
    }

    fn sample() -> Batch {
        let mut builder = BatchBuilder::new(LogTip::default(), stamp(1));
        builder.push(EntryKind::ViewStart, |out| out.extend_from_slice(b"start"));
        builder.push(EntryKind::OpenSession, |_| {});
        let command = Command {
            session: 2,
            sequence: 1,
            acknowledged: 0,
            bytes: b"add",
        };
        builder.push(EntryKind::Command, |out| command.encode(out));
        builder.finish().unwrap()
    }

    #[test]
    fn a_batch_reads_back_as_it_was_built() {
        let batch = sample();
        let verified = Batch::verify(batch.bytes().to_vec(), LogTip::default()).unwrap();
        assert_eq!(verified, batch);
        assert_eq!((batch.first(), batch.last()), (Index(1), Index(3)));
        assert_eq!(batch.view_starts(), [(ViewNumber(1), Index(1))]);
        let third = batch.entries().nth(2).unwrap();
        assert_eq!(Command::decode(third.payload).unwrap().bytes, b"add");
        let tail = batch.bytes_from(Index(3));
        assert_eq!(Entry::decode(tail).unwrap().header.index, Index(3));
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let bytes = sample().bytes().to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                Batch::verify(damaged, LogTip::default()).is_err(),
                "bit {bit}"
            );
        }
        let lengths: Vec<usize> = sample()
            .entries()
            .scan(0, |end, entry| {
                *end += ENTRY_HEADER_BYTES + entry.payload.len();
                Some(*end)
            })
            .collect();
        for length in 0..bytes.len() {
            let is_whole = lengths.contains(&length);
            let result = Batch::verify(bytes[..length].to_vec(), LogTip::default());
            assert_eq!(result.is_ok(), is_whole, "{length} bytes");
        }
    }

    #[test]
    fn an_entry_out_of_place_is_refused() {
        let batch = sample();
        let check = |before| Batch::verify(batch.bytes().to_vec(), before).unwrap_err();
        let elsewhere = LogTip {
            index: Index(5),
            ..LogTip::default()
        };
        assert_eq!(
            check(elsewhere),
            EntryError::Index {
                expected: Index(6),
                found: Index(1)
            }
        );
        let other_chain = LogTip {
            chain: 1,
            ..LogTip::default()
        };
        assert_eq!(check(other_chain), EntryError::Chain(Index(1)));
        let later = LogTip {
            time: WallTime(u64::MAX),
            ..LogTip::default()
        };
        assert_eq!(check(later), EntryError::Backwards(Index(1)));
        let same_view = LogTip {
            view: ViewNumber(1),
            ..LogTip::default()
        };
        assert_eq!(check(same_view), EntryError::NoViewStart(Index(1)));
    }
}

//! What the fuzz targets share: bytes made fit for the checks that stand before the interesting ones,
//! and logs that are good until they are changed.

pub mod parties;
pub mod words;

use std::ops::Range;

use arbitrary::{Result, Unstructured};
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, Command, ENTRY_BYTES_MAX, ENTRY_HEADER_BYTES, EntryKind,
    Index, LogTip, Run,
};
use standin_core::frame::FRAME_HEADER_BYTES;
use standin_core::time::WallTime;
use standin_core::view::ViewNumber;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn put_u32_at(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Gives each frame in `bytes` the checksum that it should have.
pub fn seal_frames(mut bytes: &mut [u8]) {
    while bytes.len() >= FRAME_HEADER_BYTES {
        let end = FRAME_HEADER_BYTES + u32_at(bytes, 0) as usize;
        let Some((frame, rest)) = bytes.split_at_mut_checked(end) else {
            return;
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&frame[..8]);
        hasher.update(&frame[FRAME_HEADER_BYTES..]);
        put_u32_at(frame, 8, hasher.finalize());
        bytes = rest;
    }
}

/// Gives each entry in `bytes` the chain and the checksum that it should have after `chain`.
pub fn seal_entries(mut bytes: &mut [u8], mut chain: u32) {
    while bytes.len() >= ENTRY_HEADER_BYTES {
        let length = u32_at(bytes, 0) as usize;
        if !(ENTRY_HEADER_BYTES..=ENTRY_BYTES_MAX).contains(&length) {
            return;
        }
        let Some((entry, rest)) = bytes.split_at_mut_checked(length) else {
            return;
        };
        put_u32_at(entry, 8, chain);
        chain = crc32fast::hash(&entry[8..]);
        put_u32_at(entry, 4, chain);
        bytes = rest;
    }
}

/// The end of a log. Indexes and views rise by one, so that no log gets near the end of their range.
pub fn any_tip(input: &mut Unstructured<'_>) -> Result<LogTip> {
    Ok(LogTip {
        index: Index(input.arbitrary::<u64>()? / 2),
        view: ViewNumber(input.arbitrary::<u64>()? / 2),
        chain: input.arbitrary()?,
        time: WallTime(input.arbitrary()?),
    })
}

/// A batch that follows `before`: up to eight entries, and a new view now and then.
///
/// The lengths of entries are drawn from the input, so that those come up that look like nothing,
/// byte by byte, or like another entry.
pub fn any_batch(input: &mut Unstructured<'_>, before: LogTip) -> Result<Batch> {
    let begins_view = before.view == ViewNumber(0) || input.ratio(1, 4)?;
    let stamp = BatchStamp {
        view: if begins_view {
            before.view.next()
        } else {
            before.view
        },
        time: WallTime(
            before
                .time
                .0
                .saturating_add(input.arbitrary::<u8>()?.into()),
        ),
        seed: input.arbitrary::<u8>()?.into(),
        commit: Index(
            before
                .index
                .0
                .saturating_sub(input.arbitrary::<u8>()?.into()),
        ),
    };
    let mut builder = BatchBuilder::new(before, stamp);
    for number in 0..input.int_in_range(1..=8)? {
        let kind = if begins_view && number == 0 {
            EntryKind::ViewStart
        } else {
            EntryKind::Command
        };
        let text = vec![input.arbitrary()?; input.int_in_range(0..=500)?];
        let command = Command {
            session: input.arbitrary::<u8>()?.into(),
            sequence: input.arbitrary::<u8>()?.into(),
            acknowledged: 0,
            bytes: &text,
        };
        let next = Command {
            sequence: command.sequence + 1,
            ..command
        };
        if kind == EntryKind::Command && input.arbitrary()? {
            builder.push(EntryKind::Run, |out| Run::encode(&[command, next], out));
        } else {
            builder.push(kind, |out| command.encode(out));
        }
    }
    Ok(builder.finish().expect("it has an entry"))
}

/// Where an entry stands.
pub struct Place {
    pub bytes: Range<usize>,
    /// The log's end after it.
    pub tip: LogTip,
    /// What was known to be committed when it was ordered.
    pub commit: Index,
}

/// Where each entry of `bytes` stands.
pub fn places(bytes: &[u8], before: LogTip) -> Vec<Place> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let batch = Batch::verify(bytes.to_vec(), before).expect("these are good entries");
    let mut end = 0;
    let place = |entry: standin_core::entry::Entry<'_>| {
        let start = end;
        end += entry.header.length as usize;
        Place {
            bytes: start..end,
            tip: entry.tip(),
            commit: entry.header.commit,
        }
    };
    batch.entries().map(place).collect()
}

/// Something that happens to bytes on a disk.
#[derive(Clone, Debug, arbitrary::Arbitrary)]
pub enum Mishap {
    /// One byte becomes another.
    Flip(u16, u8),
    /// Bytes become zeros.
    Zero(u16, u16),
    /// The rest becomes zeros, as where nothing was written.
    Blank(u16),
    /// The rest is not there.
    Truncate(u16),
    /// Bytes stand in another place as well.
    Copy(u16, u16, u16),
}

impl Mishap {
    /// Lets it happen. Positions beyond the end wrap round.
    pub fn strike(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        let at = |position: u16| usize::from(position) % length;
        let until = |start: usize, count: u16| (start + usize::from(count)).min(length);
        match *self {
            Self::Flip(position, bits) => bytes[at(position)] ^= bits,
            Self::Zero(position, count) => {
                let start = at(position);
                bytes[start..until(start, count)].fill(0);
            }
            Self::Blank(position) => bytes[at(position)..].fill(0),
            Self::Truncate(position) => bytes.truncate(at(position)),
            Self::Copy(from, count, to) => {
                let (from, to) = (at(from), at(to));
                let end = until(from, count).min(from + length - to);
                bytes.copy_within(from..end, to);
            }
        }
    }

    /// Whether it only takes the end away, as a write that was cut short does.
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::Blank(_) | Self::Truncate(_))
    }
}

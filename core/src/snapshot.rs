//! The snapshot format: a header, the state's bytes in blocks, an end mark.
//!
//! This module reads and writes bytes; files are `standin-io`'s. `docs/format.md` has the drawing.
//!
//! The state comes as a stream, so its length and digest are known only at the end, and they stand in
//! the header all the same: whoever receives a snapshot in pieces knows from the first one how long it
//! will be. [`SnapshotWriter`] leaves room for the header, and whoever writes the file fills it in last.

use std::io::{self, Read, Write};

use crate::bytes::{put_u32, put_u64, put_u128, u32_at, u64_at, u128_at};
use crate::digest::{DigestChain, Digester};
use crate::entry::{Index, LogTip};
use crate::identity::ClusterId;
use crate::machine::MachineId;
use crate::time::WallTime;
use crate::view::{DataEpoch, ViewNumber};

/// Bytes of a snapshot's header.
pub const SNAPSHOT_HEADER_BYTES: usize = 192;
/// Version of the snapshot's format: header, blocks and end mark.
pub const SNAPSHOT_FORMAT_VERSION: u32 = 1;
/// Bytes of the state in one block. Only the last one has fewer.
pub const SNAPSHOT_BLOCK_BYTES: usize = 256 << 10;
/// Longest state, in bytes.
pub const SNAPSHOT_STATE_BYTES_MAX: u64 = 1 << 40;
/// Bytes before a block's own bytes, and of the end mark.
pub const SNAPSHOT_BLOCK_HEADER_BYTES: usize = 8;

const MAGIC: &[u8; 8] = b"STANSNAP";
const AT_VERSION: usize = 8;
const AT_CHECKSUM: usize = 12;
const AT_CLUSTER: usize = 16;
const AT_INDEX: usize = 32;
const AT_VIEW: usize = 40;
const AT_TIME: usize = 48;
const AT_CHAIN: usize = 56;
const AT_DATA_EPOCH: usize = 60;
const AT_VIEW_FIRST: usize = 64;
const AT_REPLY_DIGEST: usize = 72;
const AT_STATE_DIGEST: usize = 88;
const AT_STATE_BYTES: usize = 104;
const AT_MACHINE_VERSION: usize = 112;
const AT_NAME_LENGTH: usize = 116;
const AT_NAME: usize = 120;
const NAME_BYTES: usize = crate::machine::MACHINE_NAME_BYTES_MAX;
/// Zero but for a version that the machine failed to go over to, and so in all that was written before there were such.
const AT_FAILED_VERSION: usize = AT_NAME + NAME_BYTES;
const AT_RESERVED: usize = AT_FAILED_VERSION + 4;
const _: () = assert!(AT_RESERVED <= SNAPSHOT_HEADER_BYTES);

const AT_BLOCK_CHECKSUM: usize = 4;

/// Where in the log a state stands, and whose it is. Known when the state is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// The cluster whose state it is.
    pub cluster: ClusterId,
    /// The state machine, and the version of it that is executed after `tip`: it wrote the state's bytes.
    pub machine: MachineId,
    /// The newest version that the machine failed to go over to up to `tip`, if it is newer than that one; else 0.
    pub failed_version: u32,
    /// The data epoch of the newest view at or before `tip`.
    pub data_epoch: DataEpoch,
    /// The last entry that was applied: the log goes on right after it. Its index is at least 1.
    pub tip: LogTip,
    /// The first entry of the view that `tip` is of. Invariant: `1 <= view_first <= tip.index`.
    pub view_first: Index,
    /// The chain over all replies up to `tip`.
    pub reply_digest: DigestChain,
}

/// What stands at the head of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Where in the log the state stands.
    pub point: SnapshotPoint,
    /// The digest of the state's bytes ([`crate::digest::digest`]).
    pub state_digest: u128,
    /// How many bytes the state has; at most [`SNAPSHOT_STATE_BYTES_MAX`].
    pub state_bytes: u64,
}

/// How many bytes the whole snapshot of a state of this length has, header and end mark included.
#[must_use]
pub fn file_bytes(state_bytes: u64) -> u64 {
    let overhead = u64_of(SNAPSHOT_BLOCK_HEADER_BYTES);
    let blocks = state_bytes.div_ceil(u64_of(SNAPSHOT_BLOCK_BYTES));
    u64_of(SNAPSHOT_HEADER_BYTES) + state_bytes + (blocks + 1) * overhead
}

/// Where bytes are no snapshot of this version, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at} {flaw}")]
pub struct SnapshotError {
    /// Where the part begins that is bad, or where the bytes end, from the snapshot's beginning.
    pub at: u64,
    /// What is wrong there.
    pub flaw: SnapshotFlaw,
}

/// What is wrong with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotFlaw {
    /// The magic bytes are others. They are zeros if the writer did not come to its end.
    #[error("it does not begin as a snapshot does")]
    Magic,
    /// Written by a version that this one does not read.
    #[error(
        "its format is {0}, which is unknown; this version reads format {SNAPSHOT_FORMAT_VERSION}"
    )]
    Version(u32),
    /// The header is damaged.
    #[error("the header's checksum does not match")]
    HeaderChecksum,
    /// A field of the header holds what it may not.
    #[error("the header holds an impossible value")]
    Field,
    /// A block has another length than the header's length of the state leaves for it.
    #[error("a block says that it has {found} bytes and should have {expected}")]
    BlockLength {
        /// The length that it should have, in bytes.
        expected: u32,
        /// The length that it says it has, in bytes.
        found: u32,
    },
    /// A block, or the one before it, is damaged.
    #[error("a block's checksum does not match")]
    BlockChecksum,
    /// The end mark is damaged, or of another snapshot.
    #[error("the end mark's checksum does not match")]
    EndMark,
    /// All blocks are whole, and yet together they are not the state that the header names.
    #[error("the state's digest is not the one in the header")]
    StateDigest,
    /// The bytes end before the end mark.
    #[error("it ends early")]
    Short,
    /// Bytes follow the end mark.
    #[error("more follows after its end")]
    Long,
}

impl SnapshotHeader {
    /// How many bytes the whole snapshot has, header and end mark included.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        file_bytes(self.state_bytes)
    }

    /// The encoded header, [`SNAPSHOT_HEADER_BYTES`] long.
    ///
    /// # Panics
    /// If a field is out of its range.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.is_possible(), "an impossible snapshot: {self:?}");
        let point = &self.point;
        let name = point.machine.name();
        let mut out = Vec::with_capacity(SNAPSHOT_HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, SNAPSHOT_FORMAT_VERSION);
        put_u32(&mut out, 0); // checksum, filled in below
        put_u128(&mut out, point.cluster.0);
        put_u64(&mut out, point.tip.index.0);
        put_u64(&mut out, point.tip.view.0);
        put_u64(&mut out, point.tip.time.0);
        put_u32(&mut out, point.tip.chain);
        put_u32(&mut out, point.data_epoch.0);
        put_u64(&mut out, point.view_first.0);
        put_u128(&mut out, point.reply_digest.0);
        put_u128(&mut out, self.state_digest);
        put_u64(&mut out, self.state_bytes);
        put_u32(&mut out, point.machine.version());
        put_u32(
            &mut out,
            u32::try_from(name.len()).expect("machine names are short"),
        );
        out.extend_from_slice(name.as_bytes());
        out.resize(AT_FAILED_VERSION, 0);
        put_u32(&mut out, point.failed_version);
        out.resize(SNAPSHOT_HEADER_BYTES, 0);
        let checksum = crc32fast::hash(&out[AT_CLUSTER..]);
        out[AT_CHECKSUM..AT_CLUSTER].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a header from the beginning of a snapshot.
    ///
    /// # Errors
    /// [`SnapshotFlaw`] if it is none, damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotFlaw> {
        let bytes = bytes
            .get(..SNAPSHOT_HEADER_BYTES)
            .ok_or(SnapshotFlaw::Short)?;
        if &bytes[..AT_VERSION] != MAGIC {
            return Err(SnapshotFlaw::Magic);
        }
        let version = u32_at(bytes, AT_VERSION);
        if version != SNAPSHOT_FORMAT_VERSION {
            return Err(SnapshotFlaw::Version(version));
        }
        if crc32fast::hash(&bytes[AT_CLUSTER..]) != u32_at(bytes, AT_CHECKSUM) {
            return Err(SnapshotFlaw::HeaderChecksum);
        }
        let name_length = usize::try_from(u32_at(bytes, AT_NAME_LENGTH)).unwrap_or(usize::MAX);
        let (name, behind) = bytes[AT_NAME..AT_FAILED_VERSION]
            .split_at_checked(name_length)
            .ok_or(SnapshotFlaw::Field)?;
        let reserved = &bytes[AT_RESERVED..];
        if behind.iter().chain(reserved).any(|byte| *byte != 0) {
            return Err(SnapshotFlaw::Field);
        }
        let name = std::str::from_utf8(name).map_err(|_| SnapshotFlaw::Field)?;
        let version = u32_at(bytes, AT_MACHINE_VERSION);
        let point = SnapshotPoint {
            cluster: ClusterId(u128_at(bytes, AT_CLUSTER)),
            machine: MachineId::new(name, version).ok_or(SnapshotFlaw::Field)?,
            failed_version: u32_at(bytes, AT_FAILED_VERSION),
            data_epoch: DataEpoch(u32_at(bytes, AT_DATA_EPOCH)),
            tip: LogTip {
                index: Index(u64_at(bytes, AT_INDEX)),
                view: ViewNumber(u64_at(bytes, AT_VIEW)),
                chain: u32_at(bytes, AT_CHAIN),
                time: WallTime(u64_at(bytes, AT_TIME)),
            },
            view_first: Index(u64_at(bytes, AT_VIEW_FIRST)),
            reply_digest: DigestChain(u128_at(bytes, AT_REPLY_DIGEST)),
        };
        let header = Self {
            point,
            state_digest: u128_at(bytes, AT_STATE_DIGEST),
            state_bytes: u64_at(bytes, AT_STATE_BYTES),
        };
        header
            .is_possible()
            .then_some(header)
            .ok_or(SnapshotFlaw::Field)
    }

    /// Whether every field is in its range. An index is at least one below the highest number, so that
    /// the log can go on.
    fn is_possible(&self) -> bool {
        let point = &self.point;
        let has_failed = point.failed_version != 0;
        (1..=point.tip.index.0).contains(&point.view_first.0)
            && (!has_failed || point.failed_version > point.machine.version())
            && point.tip.index.0 < u64::MAX
            && point.tip.view > ViewNumber(0)
            && self.state_bytes <= SNAPSHOT_STATE_BYTES_MAX
    }
}

/// A block's length and checksum, or the end mark's for a block without bytes.
///
/// The checksum covers the one before it, so that one vouches for all blocks before: a block that
/// stands in another's place, or is of another snapshot, does not fit.
fn block_header(before: u32, bytes: &[u8]) -> [u8; SNAPSHOT_BLOCK_HEADER_BYTES] {
    let length = u32::try_from(bytes.len()).expect("a block is short");
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(bytes);
    let mut out = [0; SNAPSHOT_BLOCK_HEADER_BYTES];
    out[..AT_BLOCK_CHECKSUM].copy_from_slice(&length.to_le_bytes());
    out[AT_BLOCK_CHECKSUM..].copy_from_slice(&hasher.finalize().to_le_bytes());
    out
}

/// The end mark: no bytes, and a checksum that covers the last block's and the header's.
fn end_mark(last: u32, header: &[u8]) -> [u8; SNAPSHOT_BLOCK_HEADER_BYTES] {
    let header = u32_at(header, AT_CHECKSUM);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&last.to_le_bytes());
    hasher.update(&header.to_le_bytes());
    let mut out = [0; SNAPSHOT_BLOCK_HEADER_BYTES];
    out[AT_BLOCK_CHECKSUM..].copy_from_slice(&hasher.finalize().to_le_bytes());
    out
}

/// Writes a snapshot: takes the state's bytes as they come ([`Write`]), and hands whole blocks to `out`.
/// Never holds more than one block.
#[derive(Debug)]
pub struct SnapshotWriter<W> {
    out: W,
    /// The block that is being filled.
    block: Vec<u8>,
    /// The checksum of the block before it; 0 before the first.
    chain: u32,
    state_bytes: u64,
    digest: Digester,
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins a snapshot: zeros go to `out` where its header will stand.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&[0; SNAPSHOT_HEADER_BYTES])?;
        Ok(Self {
            out,
            block: Vec::new(),
            chain: 0,
            state_bytes: 0,
            digest: Digester::default(),
        })
    }

    /// Ends the snapshot. What is left to do is to put [`SnapshotHeader::encode`] in place of the zeros
    /// that `out` was given first.
    ///
    /// # Errors
    /// Those of `out`.
    ///
    /// # Panics
    /// If `point` is impossible.
    pub fn finish(mut self, point: SnapshotPoint) -> io::Result<(SnapshotHeader, W)> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        let header = SnapshotHeader {
            point,
            state_digest: self.digest.finish(),
            state_bytes: self.state_bytes,
        };
        let mark = end_mark(self.chain, &header.encode());
        self.out.write_all(&mark)?;
        Ok((header, self.out))
    }

    fn write_block(&mut self) -> io::Result<()> {
        let head = block_header(self.chain, &self.block);
        self.out.write_all(&head)?;
        self.out.write_all(&self.block)?;
        self.chain = u32_at(&head, AT_BLOCK_CHECKSUM);
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for SnapshotWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = SNAPSHOT_BLOCK_BYTES - self.block.len();
        let taken = &bytes[..room.min(bytes.len())];
        if self.state_bytes + u64_of(taken.len()) > SNAPSHOT_STATE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.block.extend_from_slice(taken);
        self.digest.bytes(taken);
        self.state_bytes += u64_of(taken.len());
        if self.block.len() == SNAPSHOT_BLOCK_BYTES {
            self.write_block()?;
        }
        Ok(taken.len())
    }

    /// Only what is a whole block has been handed on: the rest goes with [`SnapshotWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A snapshot in memory.
///
/// # Panics
/// If `point` is impossible or the state too long.
#[must_use]
pub fn encode_snapshot(point: SnapshotPoint, state: &[u8]) -> Vec<u8> {
    let all = SnapshotWriter::new(Vec::new()).and_then(|mut writer| {
        writer.write_all(state)?;
        let (header, mut out) = writer.finish(point)?;
        out[..SNAPSHOT_HEADER_BYTES].copy_from_slice(&header.encode());
        Ok(out)
    });
    all.expect("a vector takes whatever it is given")
}

/// Reads a snapshot: takes its bytes as they come, and hands out those of the state, block by block,
/// each checked before it is handed out.
///
/// Only [`SnapshotReader::finish`] says that it was the whole of it. Holds one block at most, and
/// allocates no more than has come.
#[derive(Debug, Default)]
pub struct SnapshotReader {
    /// The part that has not come whole yet: the header, a block with its header, or the end mark.
    part: Vec<u8>,
    /// `part` was handed out, and makes room for the next one.
    is_handed_out: bool,
    /// Where `part` begins in the snapshot, in bytes.
    at: u64,
    header: Option<SnapshotHeader>,
    /// The header's bytes, for the end mark.
    header_bytes: Vec<u8>,
    /// The checksum of the last block.
    chain: u32,
    /// Bytes of the state so far.
    state_bytes: u64,
    digest: Digester,
    is_whole: bool,
}

impl SnapshotReader {
    /// Nothing has been read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes off the beginning of `bytes` until the next part of the state is whole, and hands that
    /// out; `None` if all bytes were taken and more are needed, or if there is no more.
    ///
    /// # Errors
    /// [`SnapshotError`] says what is wrong and where. Nothing more may be read then.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<&[u8]>, SnapshotError> {
        loop {
            if self.is_handed_out {
                self.advance();
            }
            if self.is_whole {
                let is_end = bytes.is_empty();
                return is_end
                    .then_some(None)
                    .ok_or_else(|| self.error(SnapshotFlaw::Long));
            }
            let wanted = self.part_bytes() - self.part.len();
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.part.extend_from_slice(taken);
            *bytes = rest;
            if taken.len() < wanted {
                return Ok(None);
            }
            if self.take_part().map_err(|flaw| self.error(flaw))? {
                return Ok(Some(&self.part[SNAPSHOT_BLOCK_HEADER_BYTES..]));
            }
        }
    }

    fn error(&self, flaw: SnapshotFlaw) -> SnapshotError {
        SnapshotError { at: self.at, flaw }
    }

    /// Goes on to the part after this one.
    fn advance(&mut self) {
        self.at += u64_of(self.part.len());
        self.part.clear();
        self.is_handed_out = false;
    }

    /// Bytes of the state in the block that comes next; 0 if the end mark does.
    fn block_bytes(&self) -> usize {
        let Some(header) = &self.header else {
            return 0;
        };
        let left = header.state_bytes - self.state_bytes;
        usize::try_from(left).map_or(SNAPSHOT_BLOCK_BYTES, |left| left.min(SNAPSHOT_BLOCK_BYTES))
    }

    /// How long the part is that comes next.
    fn part_bytes(&self) -> usize {
        match &self.header {
            None => SNAPSHOT_HEADER_BYTES,
            Some(_) => SNAPSHOT_BLOCK_HEADER_BYTES + self.block_bytes(),
        }
    }

    /// Checks the part that has come. Whether it is a block of the state.
    fn take_part(&mut self) -> Result<bool, SnapshotFlaw> {
        let expected = self.block_bytes();
        let is_block = match &self.header {
            None => {
                self.header = Some(SnapshotHeader::decode(&self.part)?);
                self.header_bytes.clone_from(&self.part);
                self.advance();
                return Ok(false);
            }
            Some(_) => expected > 0,
        };
        let (head, bytes) = self.part.split_at(SNAPSHOT_BLOCK_HEADER_BYTES);
        let found = u32_at(head, 0);
        let expected = u32::try_from(expected).expect("a block is short");
        if found != expected {
            return Err(SnapshotFlaw::BlockLength { expected, found });
        }
        if !is_block {
            self.check_end()?;
            self.advance();
            self.is_whole = true;
            return Ok(false);
        }
        if *head != block_header(self.chain, bytes) {
            return Err(SnapshotFlaw::BlockChecksum);
        }
        self.chain = u32_at(head, AT_BLOCK_CHECKSUM);
        self.digest.bytes(bytes);
        self.state_bytes += u64_of(bytes.len());
        self.is_handed_out = true;
        Ok(true)
    }

    fn check_end(&self) -> Result<(), SnapshotFlaw> {
        if self.part != end_mark(self.chain, &self.header_bytes) {
            return Err(SnapshotFlaw::EndMark);
        }
        let digest = self.header.as_ref().map(|header| header.state_digest);
        if digest != Some(self.digest.finish()) {
            return Err(SnapshotFlaw::StateDigest);
        }
        Ok(())
    }

    /// The header, once it has come.
    #[must_use]
    pub fn header(&self) -> Option<&SnapshotHeader> {
        self.header.as_ref()
    }

    /// Everything before this byte was read and is good: reading can go on from here, in a new reader
    /// that was given everything before it.
    #[must_use]
    pub fn good(&self) -> u64 {
        let handed_out = if self.is_handed_out {
            self.part.len()
        } else {
            0
        };
        self.at + u64_of(handed_out)
    }

    /// How many bytes were taken, good ones and those of a part that is not whole yet.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.at + u64_of(self.part.len())
    }

    /// Forgets the part that is not whole yet, or that was found to be bad: from [`SnapshotReader::good`]
    /// on the bytes are to come again.
    pub fn forget_partial(&mut self) {
        if !self.is_handed_out {
            self.part.clear();
        }
    }

    /// Whether the end mark was read: nothing is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// There are no more bytes: was that the whole snapshot?
    ///
    /// # Errors
    /// [`SnapshotFlaw::Short`], and where it ends.
    pub fn finish(self) -> Result<SnapshotHeader, SnapshotError> {
        let short = self.short();
        let header = self.header.filter(|_| self.is_whole);
        header.ok_or(short)
    }

    /// The error if there is no more than what was read.
    fn short(&self) -> SnapshotError {
        SnapshotError {
            at: self.taken(),
            flaw: SnapshotFlaw::Short,
        }
    }
}

/// The state in a snapshot, as a stream that is checked as it is read: a [`Read`] of it ends well only
/// if the whole snapshot was good. Errors about the snapshot are of kind `InvalidData` and carry a
/// [`SnapshotError`].
#[derive(Debug)]
pub struct StateReader<R> {
    input: R,
    reader: SnapshotReader,
    /// What was read of the input, and from where on it was not taken yet.
    raw: Vec<u8>,
    raw_at: usize,
    /// The block that is being handed out, and how much of it was.
    block: Vec<u8>,
    block_at: usize,
}

/// How much of the input is read at a time, in bytes.
const RAW_BYTES: usize = 64 << 10;

impl<R: Read> StateReader<R> {
    /// Reads the header of the snapshot that `input` begins with.
    ///
    /// # Errors
    /// Those of `input`, and [`SnapshotError`].
    pub fn new(input: R) -> io::Result<Self> {
        let mut state = Self {
            input,
            reader: SnapshotReader::new(),
            raw: Vec::new(),
            raw_at: 0,
            block: Vec::new(),
            block_at: 0,
        };
        state.load()?;
        Ok(state)
    }

    /// The snapshot's header.
    #[must_use]
    pub fn header(&self) -> &SnapshotHeader {
        self.reader.header().expect("it was read first")
    }

    /// Reads the rest, and says whether it was good: for who does not read the state up to its end.
    ///
    /// # Errors
    /// Those of the input, and [`SnapshotError`].
    pub fn finish(mut self) -> io::Result<SnapshotHeader> {
        while self.load()? {}
        Ok(self.header().clone())
    }

    /// Reads the next block. `false` if there is none, since all was read and is good.
    fn load(&mut self) -> io::Result<bool> {
        self.block.clear();
        self.block_at = 0;
        loop {
            let mut rest = &self.raw[self.raw_at..];
            let before = rest.len();
            if let Some(block) = self.reader.next(&mut rest).map_err(invalid)? {
                self.block.extend_from_slice(block);
            }
            self.raw_at += before - rest.len();
            if !self.block.is_empty() {
                return Ok(true);
            }
            self.raw.resize(RAW_BYTES, 0);
            self.raw_at = 0;
            let read = read_some(&mut self.input, &mut self.raw);
            self.raw.truncate(*read.as_ref().unwrap_or(&0));
            if read? == 0 {
                let is_whole = self.reader.is_whole();
                let short = self.reader.short();
                return is_whole.then_some(false).ok_or_else(|| invalid(short));
            }
        }
    }
}

fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn invalid(error: SnapshotError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<R: Read> Read for StateReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.block_at == self.block.len() && !self.load()?) {
            return Ok(0);
        }
        let left = &self.block[self.block_at..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.block_at += count;
        Ok(count)
    }
}

fn u64_of(length: usize) -> u64 {
    u64::try_from(length).expect("no length is longer")
}

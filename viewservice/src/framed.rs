//! What stands around each file of the view service: magic bytes, version, length, checksum.
//! `docs/format.md` has the drawing.

use serde::Serialize;
use standin_core::message::encode_payload;

const AT_VERSION: usize = 8;
const AT_LENGTH: usize = 12;
const AT_CHECKSUM: usize = 16;
const HEADER_BYTES: usize = 20;

/// One kind of file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileKind {
    pub(crate) magic: &'static [u8; 8],
    /// The version that is written; it and those before it are read.
    pub(crate) version: u32,
    /// Longest file, header included, in bytes.
    pub(crate) bytes_max: usize,
}

/// Why bytes are no file of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// Another length than the header says, or none that it may have.
    Length,
    /// The magic bytes are others.
    Magic,
    /// A version that is not read.
    Version(u32),
    /// The bytes are not those that were written.
    Checksum,
}

impl FileKind {
    /// The whole file.
    pub(crate) fn encode(&self, content: &impl Serialize) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        encode_payload(content, &mut out);
        assert!(out.len() <= self.bytes_max, "{} bytes", out.len());
        let length = u32::try_from(out.len() - HEADER_BYTES).expect("what is kept is bounded");
        out[..AT_VERSION].copy_from_slice(self.magic);
        out[AT_VERSION..AT_LENGTH].copy_from_slice(&self.version.to_le_bytes());
        out[AT_LENGTH..AT_CHECKSUM].copy_from_slice(&length.to_le_bytes());
        let checksum = checksum(&out);
        out[AT_CHECKSUM..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// The version of a whole file, and what it holds.
    pub(crate) fn check<'a>(&self, bytes: &'a [u8]) -> Result<(u32, &'a [u8]), FrameError> {
        if bytes.len() < HEADER_BYTES || bytes.len() > self.bytes_max {
            return Err(FrameError::Length);
        }
        if &bytes[..AT_VERSION] != self.magic {
            return Err(FrameError::Magic);
        }
        let version = u32_at(bytes, AT_VERSION);
        if !(1..=self.version).contains(&version) {
            return Err(FrameError::Version(version));
        }
        if usize::try_from(u32_at(bytes, AT_LENGTH)) != Ok(bytes.len() - HEADER_BYTES) {
            return Err(FrameError::Length);
        }
        if checksum(bytes) != u32_at(bytes, AT_CHECKSUM) {
            return Err(FrameError::Checksum);
        }
        Ok((version, &bytes[HEADER_BYTES..]))
    }
}

/// Over everything but the checksum itself.
fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..AT_CHECKSUM]);
    hasher.update(&bytes[HEADER_BYTES..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

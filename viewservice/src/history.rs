//! The views that there were: a bounded list, and its form in a file. `docs/format.md` has the drawing.
//!
//! Nothing rests on it. The file is written when there is time, and one that is lost or damaged is told of
//! and begun anew.

use std::collections::VecDeque;

use standin_core::message::{HISTORY_VIEWS_MAX, PastView, decode_payload, encode_payload};

/// Version of the file's format.
pub const HISTORY_FORMAT_VERSION: u32 = 1;
/// Longest file, header included, in bytes.
pub const HISTORY_BYTES_MAX: usize = 128 << 10;

const MAGIC: &[u8; 8] = b"STANDHIS";
const AT_VERSION: usize = 8;
const AT_LENGTH: usize = 12;
const AT_CHECKSUM: usize = 16;
const HEADER_BYTES: usize = 20;

/// The newest views, oldest first.
///
/// Invariant: their numbers rise, and there are at most [`HISTORY_VIEWS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    views: VecDeque<PastView>,
}

/// Why bytes are no history of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The file has another length than its header says, or none that it may have.
    #[error("it is cut short or too long")]
    Length,
    /// The magic bytes are others.
    #[error("it is no history of views")]
    Magic,
    /// Written by a version that this one does not read.
    #[error("its format {0} is unknown; this version reads format {HISTORY_FORMAT_VERSION}")]
    Version(u32),
    /// The bytes are not those that were written.
    #[error("its checksum does not match")]
    Checksum,
    /// A field holds what it may not.
    #[error("it holds an impossible value")]
    Field,
}

impl History {
    /// The views, oldest first.
    pub fn views(&self) -> impl Iterator<Item = &PastView> {
        self.views.iter()
    }

    /// The newest view.
    #[must_use]
    pub fn newest(&self) -> Option<&PastView> {
        self.views.back()
    }

    /// Takes note of a view that has begun. What it has of views that are not lower is another cluster's, or
    /// of a state that was put back since: it goes.
    pub(crate) fn begin(&mut self, view: PastView) {
        self.views.retain(|before| before.view < view.view);
        self.views.push_back(view);
        if self.views.len() > HISTORY_VIEWS_MAX {
            self.views.pop_front();
        }
    }

    /// The newest view, to be completed.
    pub(crate) fn newest_mut(&mut self) -> Option<&mut PastView> {
        self.views.back_mut()
    }

    /// Whether it speaks of no view above `view`.
    pub(crate) fn ends_by(&self, view: standin_core::view::ViewId) -> bool {
        self.newest().is_none_or(|newest| newest.view <= view)
    }

    /// The whole file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        encode_payload(&Vec::from_iter(&self.views), &mut out);
        assert!(out.len() <= HISTORY_BYTES_MAX, "{} bytes", out.len());
        let length = u32::try_from(out.len() - HEADER_BYTES).expect("the history is bounded");
        out[..AT_VERSION].copy_from_slice(MAGIC);
        out[AT_VERSION..AT_LENGTH].copy_from_slice(&HISTORY_FORMAT_VERSION.to_le_bytes());
        out[AT_LENGTH..AT_CHECKSUM].copy_from_slice(&length.to_le_bytes());
        let checksum = checksum(&out);
        out[AT_CHECKSUM..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`HistoryError`] if it is none, damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, HistoryError> {
        if bytes.len() < HEADER_BYTES || bytes.len() > HISTORY_BYTES_MAX {
            return Err(HistoryError::Length);
        }
        if &bytes[..AT_VERSION] != MAGIC {
            return Err(HistoryError::Magic);
        }
        let version = u32_at(bytes, AT_VERSION);
        if version != HISTORY_FORMAT_VERSION {
            return Err(HistoryError::Version(version));
        }
        if usize::try_from(u32_at(bytes, AT_LENGTH)) != Ok(bytes.len() - HEADER_BYTES) {
            return Err(HistoryError::Length);
        }
        if checksum(bytes) != u32_at(bytes, AT_CHECKSUM) {
            return Err(HistoryError::Checksum);
        }
        let views: Vec<PastView> =
            decode_payload(&bytes[HEADER_BYTES..]).ok_or(HistoryError::Field)?;
        let rises = views.windows(2).all(|two| two[0].view < two[1].view);
        if views.len() > HISTORY_VIEWS_MAX || !rises {
            return Err(HistoryError::Field);
        }
        Ok(Self {
            views: views.into(),
        })
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

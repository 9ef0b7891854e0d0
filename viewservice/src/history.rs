//! The views that there were: a bounded list, and its form in a file. `docs/format.md` has the drawing.
//!
//! Nothing rests on it. The file is written when there is time, and one that is lost or damaged is told of
//! and begun anew.

use std::collections::VecDeque;

use standin_core::message::{HISTORY_VIEWS_MAX, PastView, decode_payload};

use crate::framed::{FileKind, FrameError};

/// Version of the file's format.
pub const HISTORY_FORMAT_VERSION: u32 = 1;
/// Longest file, header included, in bytes.
pub const HISTORY_BYTES_MAX: usize = 128 << 10;

const KIND: FileKind = FileKind {
    magic: b"STANDHIS",
    version: HISTORY_FORMAT_VERSION,
    bytes_max: HISTORY_BYTES_MAX,
};

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
        KIND.encode(&Vec::from_iter(&self.views))
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`HistoryError`] if it is none, damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, HistoryError> {
        let (_, payload) = KIND.check(bytes)?;
        let views: Vec<PastView> = decode_payload(payload).ok_or(HistoryError::Field)?;
        let rises = views.windows(2).all(|two| two[0].view < two[1].view);
        if views.len() > HISTORY_VIEWS_MAX || !rises {
            return Err(HistoryError::Field);
        }
        Ok(Self {
            views: views.into(),
        })
    }
}

impl From<FrameError> for HistoryError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Length => Self::Length,
            FrameError::Magic => Self::Magic,
            FrameError::Version(version) => Self::Version(version),
            FrameError::Checksum => Self::Checksum,
        }
    }
}

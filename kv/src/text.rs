//! Strings of bytes, as keys, members and values: short ones in place, long ones shared.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Longest string that is held in place, in bytes.
const INLINE_BYTES_MAX: usize = 22;

/// A string of bytes, cheap to clone: 24 bytes, and nothing else for up to 22 of them.
#[derive(Clone)]
pub struct Text(Form);

#[derive(Clone)]
enum Form {
    Inline {
        length: u8,
        bytes: [u8; INLINE_BYTES_MAX],
    },
    Shared(Arc<[u8]>),
    /// One that was changed in place, and has room to grow.
    Grown(Arc<Vec<u8>>),
}

const _: () = assert!(size_of::<Text>() == 24);

impl Text {
    /// A copy of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE_BYTES_MAX {
            return Self(Form::Shared(bytes.into()));
        }
        let mut inline = [0; INLINE_BYTES_MAX];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self(Form::Inline {
            #[expect(clippy::cast_possible_truncation, reason = "22 at most")]
            length: bytes.len() as u8,
            bytes: inline,
        })
    }

    /// These bytes, as a string that was changed in place ([`Text::is_grown`]).
    #[must_use]
    pub fn grown(bytes: Vec<u8>) -> Self {
        Self(Form::Grown(Arc::new(bytes)))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Form::Shared(bytes) => bytes,
            Form::Grown(bytes) => bytes,
        }
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it was changed in place, which Redis calls `raw` however short it is.
    #[must_use]
    pub fn is_grown(&self) -> bool {
        matches!(self.0, Form::Grown(_))
    }

    /// The bytes, to be changed in place. From now on [`Text::is_grown`].
    pub fn grow(&mut self) -> &mut Vec<u8> {
        if !self.is_grown() {
            self.0 = Form::Grown(Arc::new(self.as_bytes().to_vec()));
        }
        match &mut self.0 {
            Form::Grown(bytes) => Arc::make_mut(bytes),
            Form::Inline { .. } | Form::Shared(_) => unreachable!("it has grown above"),
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_the_same_whatever_its_form() {
        for length in 0..60_u8 {
            let bytes: Vec<u8> = (0..length).collect();
            let text = Text::new(&bytes);
            let mut grown = text.clone();
            grown.grow().push(200);
            assert_eq!(text.as_bytes(), bytes);
            assert!(grown.is_grown() && !text.is_grown());
            assert!(grown > text);
            grown.grow().pop();
            assert_eq!(grown, text);
            let kept = grown.clone();
            grown.grow().clear();
            assert_eq!((kept.len(), grown.len()), (bytes.len(), 0));
        }
    }
}

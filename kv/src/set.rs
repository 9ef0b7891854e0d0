//! Sets: as values.

use std::io;

use crate::capture::invalid;
use crate::value::StringBytes;

/// There are no sets yet: no command makes one, so no value of this type can exist.
#[derive(Clone, Debug)]
pub enum Set {}

impl Set {
    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match *self {}
    }

    /// What OBJECT ENCODING answers.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match *self {}
    }

    /// Whether this is one of its elements.
    #[must_use]
    pub fn contains(&self, _: &[u8]) -> bool {
        match *self {}
    }

    /// All elements.
    pub fn iter(&self) -> std::iter::Empty<StringBytes<'_>> {
        match *self {}
    }

    pub(crate) fn write(&self, _: &mut dyn io::Write) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn read(_: &mut dyn io::Read) -> io::Result<Self> {
        Err(invalid(
            "it holds one of the sets, which this version does not have",
        ))
    }
}

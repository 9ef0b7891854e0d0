//! What stands under a key: a string, or a collection.

use std::io;
use std::sync::Arc;

use standin_resp::number::{Decimal, parse_integer};

use crate::hash::Hash;
use crate::list::List;
use crate::set::Set;
use crate::sorted::Sorted;
use crate::text::Text;

/// Longest string whose encoding Redis calls `embstr`, in bytes.
const EMBEDDED_BYTES_MAX: usize = 44;

/// A value of one of the five types. A clone takes no time to speak of: collections are shared until one of
/// the two is changed.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string that is an integer in its one usual form.
    Integer(i64),
    /// Any other string.
    Text(Text),
    /// A list.
    List(Arc<List>),
    /// A set.
    Set(Arc<Set>),
    /// A sorted set.
    Sorted(Arc<Sorted>),
    /// A hash.
    Hash(Arc<Hash>),
}

const _: () = assert!(size_of::<Value>() == 24);

/// The five types, as TYPE names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `string`
    String,
    /// `list`
    List,
    /// `set`
    Set,
    /// `zset`
    Sorted,
    /// `hash`
    Hash,
}

impl Kind {
    /// The name that TYPE answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Sorted => "zset",
            Self::Hash => "hash",
        }
    }
}

impl Value {
    /// A string as SET and its like store it: as an integer if it is one.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        match parse_integer(bytes) {
            Some(number) => Self::Integer(number),
            None => Self::Text(Text::new(bytes)),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Integer(_) | Self::Text(_) => Kind::String,
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
            Self::Sorted(_) => Kind::Sorted,
            Self::Hash(_) => Kind::Hash,
        }
    }

    /// What OBJECT ENCODING answers.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Integer(_) => "int",
            Self::Text(text) if text.is_grown() || text.len() > EMBEDDED_BYTES_MAX => "raw",
            Self::Text(_) => "embstr",
            Self::List(list) => list.encoding(),
            Self::Set(set) => set.encoding(),
            Self::Sorted(sorted) => sorted.encoding(),
            Self::Hash(hash) => hash.encoding(),
        }
    }

    /// How many parts have to be dropped one by one when this value goes.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Integer(_) | Self::Text(_) => 1,
            Self::List(list) => list.len(),
            Self::Set(set) => set.len(),
            Self::Sorted(sorted) => sorted.len(),
            Self::Hash(hash) => hash.len(),
        }
    }

    /// The bytes of a string; `None` of a collection.
    #[must_use]
    pub fn string(&self) -> Option<StringBytes<'_>> {
        match self {
            Self::Integer(number) => Some(StringBytes::Integer(Decimal::new(*number))),
            Self::Text(text) => Some(StringBytes::Text(text.as_bytes())),
            Self::List(_) | Self::Set(_) | Self::Sorted(_) | Self::Hash(_) => None,
        }
    }

    pub(crate) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        use crate::capture::{write_bytes, write_u8};
        match self {
            Self::Integer(number) => {
                write_u8(out, TAG_INTEGER)?;
                out.write_all(&number.to_le_bytes())
            }
            Self::Text(text) => {
                write_u8(out, if text.is_grown() { TAG_GROWN } else { TAG_TEXT })?;
                write_bytes(out, text.as_bytes())
            }
            Self::List(list) => {
                write_u8(out, TAG_LIST)?;
                list.write(out)
            }
            Self::Set(set) => {
                write_u8(out, TAG_SET)?;
                set.write(out)
            }
            Self::Sorted(sorted) => {
                write_u8(out, TAG_SORTED)?;
                sorted.write(out)
            }
            Self::Hash(hash) => {
                write_u8(out, TAG_HASH)?;
                hash.write(out)
            }
        }
    }

    pub(crate) fn read(input: &mut dyn io::Read) -> io::Result<Self> {
        use crate::capture::{invalid, read_bytes, read_i64, read_u8};
        Ok(match read_u8(input)? {
            TAG_INTEGER => Self::Integer(read_i64(input)?),
            TAG_TEXT => Self::Text(Text::new(&read_bytes(input)?)),
            TAG_GROWN => Self::Text(Text::grown(read_bytes(input)?)),
            TAG_LIST => Self::List(Arc::new(List::read(input)?)),
            TAG_SET => Self::Set(Arc::new(Set::read(input)?)),
            TAG_SORTED => Self::Sorted(Arc::new(Sorted::read(input)?)),
            TAG_HASH => Self::Hash(Arc::new(Hash::read(input)?)),
            _ => return Err(invalid("a value is of a type that does not exist")),
        })
    }
}

// Part of the format of captures: append, never reuse.
const TAG_INTEGER: u8 = 1;
const TAG_TEXT: u8 = 2;
const TAG_GROWN: u8 = 3;
const TAG_LIST: u8 = 4;
const TAG_SET: u8 = 5;
const TAG_SORTED: u8 = 6;
const TAG_HASH: u8 = 7;

/// The bytes of a string, those of an integer made on the spot.
#[derive(Debug)]
pub enum StringBytes<'a> {
    /// Of an integer.
    Integer(Decimal),
    /// Of any other string.
    Text(&'a [u8]),
}

impl StringBytes<'_> {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Integer(decimal) => decimal.as_bytes(),
            Self::Text(bytes) => bytes,
        }
    }
}

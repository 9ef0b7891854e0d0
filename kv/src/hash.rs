//! Hashes: fields, each with a value.
//!
//! A small one is a row of pairs in the order they came in, as in Redis, which calls it a listpack; a large one
//! is a table. A hash that has become a table stays one, however few fields are left.

use std::io;
use std::sync::Arc;

use crate::capture::{
    invalid, read_bytes, read_count, read_u8, write_bytes, write_count, write_u8,
};
use crate::directory::Iter;
use crate::members::{InOrder, Key, Members};
use crate::text::Text;
use crate::value::Value;

/// Most fields of a small hash, as Redis has it if it isn't told (`hash-max-listpack-entries`).
pub const SMALL_FIELDS_MAX: usize = 512;
/// Longest field and longest value of a small hash, in bytes (`hash-max-listpack-value`).
pub const SMALL_BYTES_MAX: usize = 64;

// Part of the format of captures: append, never reuse.
const FORM_SMALL: u8 = 1;
const FORM_LARGE: u8 = 2;

/// A field and its value.
type Pair = (Text, Text);

/// Fields, each with a value.
#[derive(Clone, Debug)]
pub struct Hash(Form);

#[derive(Clone, Debug)]
enum Form {
    /// In the order they came in.
    ///
    /// Invariant: no more than [`SMALL_FIELDS_MAX`], none longer than [`SMALL_BYTES_MAX`].
    Small(Vec<Pair>),
    Large(Members<Pair>),
}

impl Default for Hash {
    fn default() -> Self {
        Self(Form::Small(Vec::new()))
    }
}

/// Whether this may stand in a small hash.
fn is_short(bytes: &[u8]) -> bool {
    bytes.len() <= SMALL_BYTES_MAX
}

fn place_of(pairs: &[Pair], field: &[u8]) -> Option<usize> {
    pairs.iter().position(|(it, _)| it.as_bytes() == field)
}

impl Hash {
    /// How many fields it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Small(pairs) => pairs.len(),
            Form::Large(members) => members.len(),
        }
    }

    /// Whether it has none. Then its key goes too: no key holds an empty hash.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING answers.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Small(_) => "listpack",
            Form::Large(_) => "hashtable",
        }
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, field: &[u8]) -> Option<&Text> {
        match &self.0 {
            Form::Small(pairs) => place_of(pairs, field).map(|place| &pairs[place].1),
            Form::Large(members) => members.get(Key::new(field)).map(|(_, value)| value),
        }
    }

    /// Gives a field a value; whether the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        if !(is_short(field) && is_short(value)) {
            self.enlarge();
        }
        let is_new = match &mut self.0 {
            Form::Small(pairs) => match place_of(pairs, field) {
                Some(place) => {
                    pairs[place].1 = Text::new(value);
                    false
                }
                None => {
                    if pairs.len() == pairs.capacity() {
                        // Doubling would leave a third of it unused, and most hashes are of few fields.
                        pairs.reserve_exact(1 + pairs.len() / 4);
                    }
                    pairs.push((Text::new(field), Text::new(value)));
                    true
                }
            },
            Form::Large(members) => {
                let pair = (Text::new(field), Text::new(value));
                members.insert(Key::new(field), pair).is_none()
            }
        };
        if self.len() > SMALL_FIELDS_MAX {
            self.enlarge();
        }
        is_new
    }

    /// Takes a field out; whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.0 {
            Form::Small(pairs) => {
                let place = place_of(pairs, field);
                if let Some(place) = place {
                    pairs.remove(place);
                }
                place.is_some()
            }
            Form::Large(members) => members.remove(Key::new(field)).is_some(),
        }
    }

    /// Makes a table of it, unless it is one.
    fn enlarge(&mut self) {
        let Form::Small(pairs) = &mut self.0 else {
            return;
        };
        let mut members = Members::default();
        for pair in std::mem::take(pairs) {
            let field = pair.0.clone();
            members.insert(Key::new(field.as_bytes()), pair);
        }
        self.0 = Form::Large(members);
    }

    /// The pair that has `place` others before it.
    #[must_use]
    pub fn nth(&self, place: usize) -> Option<(&Text, &Text)> {
        let pair = match &self.0 {
            Form::Small(pairs) => pairs.get(place),
            Form::Large(members) => members.nth(place),
        };
        pair.map(|(field, value)| (field, value))
    }

    /// All pairs, in the order in which replies have them.
    #[must_use]
    pub fn iter(&self) -> Pairs<'_> {
        match &self.0 {
            Form::Small(pairs) => Pairs::Small(pairs.iter()),
            Form::Large(members) => Pairs::Large(members.iter()),
        }
    }

    /// One step of a walk: see [`Members::scan`]. A small hash is handed out whole, as in Redis.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut take: impl FnMut(&'a Text, &'a Text, bool) -> bool,
    ) -> u64 {
        match &self.0 {
            Form::Small(pairs) => {
                pairs.iter().for_each(|(field, value)| {
                    take(field, value, true);
                });
                0
            }
            Form::Large(members) => members.scan(cursor, count, |(field, value), must| {
                take(field, value, must)
            }),
        }
    }

    pub(crate) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let form = match &self.0 {
            Form::Small(_) => FORM_SMALL,
            Form::Large(_) => FORM_LARGE,
        };
        write_u8(out, form)?;
        write_count(out, self.len())?;
        for (field, value) in self.iter() {
            write_bytes(out, field.as_bytes())?;
            write_bytes(out, value.as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn read(input: &mut dyn io::Read) -> io::Result<Self> {
        let form = read_u8(input)?;
        let count = read_count(input)?;
        if count == 0 {
            return Err(invalid("a hash has no fields"));
        }
        match form {
            FORM_SMALL => read_small(input, count),
            FORM_LARGE => read_large(input, count),
            _ => Err(invalid("a hash is of a form that does not exist")),
        }
    }
}

fn read_pair(input: &mut dyn io::Read) -> io::Result<Pair> {
    let field = Text::new(&read_bytes(input)?);
    Ok((field, Text::new(&read_bytes(input)?)))
}

fn read_small(input: &mut dyn io::Read, count: u64) -> io::Result<Hash> {
    let count = usize::try_from(count).ok();
    let count = count.filter(|count| *count <= SMALL_FIELDS_MAX);
    let count = count.ok_or_else(|| invalid("a small hash has too many fields"))?;
    let mut pairs: Vec<Pair> = Vec::with_capacity(count);
    for _ in 0..count {
        let pair = read_pair(input)?;
        if !(is_short(pair.0.as_bytes()) && is_short(pair.1.as_bytes())) {
            return Err(invalid("a small hash has a field that is too long"));
        }
        pairs.push(pair);
    }
    let mut fields: Vec<&Text> = pairs.iter().map(|(field, _)| field).collect();
    fields.sort_unstable();
    if fields.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid("a hash has a field twice"));
    }
    Ok(Hash(Form::Small(pairs)))
}

fn read_large(input: &mut dyn io::Read, count: u64) -> io::Result<Hash> {
    let mut members = InOrder::default();
    for _ in 0..count {
        let pushed = members.push(read_pair(input)?);
        pushed.map_err(|_| invalid("the fields of a hash are out of order"))?;
    }
    Ok(Hash(Form::Large(members.finish())))
}

/// The pairs of a hash. See [`Hash::iter`].
#[derive(Debug)]
pub enum Pairs<'a> {
    /// Of a small one.
    Small(std::slice::Iter<'a, (Text, Text)>),
    /// Of a large one.
    Large(Iter<'a, (Text, Text)>),
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a Text, &'a Text);

    fn next(&mut self) -> Option<Self::Item> {
        let pair = match self {
            Self::Small(pairs) => pairs.next(),
            Self::Large(pairs) => pairs.next().map(|(_, pair)| pair),
        };
        pair.map(|(field, value)| (field, value))
    }
}

impl Value {
    /// The hash, if it is one.
    #[must_use]
    pub fn as_hash(&self) -> Option<&Hash> {
        match self {
            Self::Hash(hash) => Some(hash),
            Self::Integer(_) | Self::Text(_) | Self::List(_) | Self::Set(_) | Self::Sorted(_) => {
                None
            }
        }
    }

    /// The hash to be changed, if it is one: a copy of its own if it is shared.
    pub fn as_hash_mut(&mut self) -> Option<&mut Hash> {
        match self {
            Self::Hash(hash) => Some(Arc::make_mut(hash)),
            Self::Integer(_) | Self::Text(_) | Self::List(_) | Self::Set(_) | Self::Sorted(_) => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(hash: &Hash) -> Vec<u8> {
        let mut bytes = Vec::new();
        hash.write(&mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> io::Result<Hash> {
        let mut input = bytes;
        let hash = Hash::read(&mut input)?;
        assert!(input.is_empty(), "all of it is read");
        Ok(hash)
    }

    fn of_fields(count: usize) -> Hash {
        let mut hash = Hash::default();
        for number in 0..count {
            assert!(hash.set(format!("f{number}").as_bytes(), b"v"));
        }
        hash
    }

    #[test]
    fn it_is_small_up_to_its_limits_and_never_again_beyond() {
        let mut hash = of_fields(SMALL_FIELDS_MAX);
        assert!(!hash.set(b"f7", &[b'x'; SMALL_BYTES_MAX]));
        assert_eq!(hash.encoding(), "listpack");
        let order = hash.iter().map(|(field, _)| field.as_bytes());
        assert!(order.eq((0..512).map(|it| format!("f{it}").into_bytes())));
        assert!(hash.set(b"one more", b""));
        assert_eq!(hash.encoding(), "hashtable");
        for number in 0..SMALL_FIELDS_MAX {
            assert!(hash.remove(format!("f{number}").as_bytes()));
        }
        assert_eq!((hash.len(), hash.encoding()), (1, "hashtable"));
        for (field, value) in [(SMALL_BYTES_MAX + 1, 1), (1, SMALL_BYTES_MAX + 1)] {
            let mut hash = of_fields(3);
            hash.set(&vec![b'x'; field], &vec![b'y'; value]);
            assert_eq!((hash.len(), hash.encoding()), (4, "hashtable"));
        }
    }

    #[test]
    fn each_form_reads_back_as_it_was_written_and_no_piece_of_it_does() {
        for count in [1, 20, SMALL_FIELDS_MAX, SMALL_FIELDS_MAX + 1, 2000] {
            let bytes = written(&of_fields(count));
            assert_eq!(written(&read(&bytes).unwrap()), bytes);
            for length in (0..bytes.len()).step_by(1 + bytes.len() / 99) {
                assert!(read(&bytes[..length]).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn what_no_hash_can_be_is_refused() {
        let pair = |bytes: &mut Vec<u8>, field: &[u8], value: &[u8]| {
            write_bytes(bytes, field).unwrap();
            write_bytes(bytes, value).unwrap();
        };
        let head = |form, count: u64| [&[form][..], &count.to_le_bytes()].concat();
        assert!(read(&head(FORM_SMALL, 0)).is_err());
        assert!(read(&head(FORM_LARGE, 0)).is_err());
        assert!(read(&head(FORM_LARGE, u64::MAX)).is_err());
        for form in [FORM_SMALL, FORM_LARGE] {
            let mut twice = head(form, 2);
            pair(&mut twice, b"f", b"1");
            pair(&mut twice, b"f", b"2");
            assert!(read(&twice).is_err(), "a field twice");
        }
        let mut long = head(FORM_SMALL, 1);
        pair(&mut long, b"f", &[b'x'; SMALL_BYTES_MAX + 1]);
        assert!(read(&long).is_err());
        long[0] = FORM_LARGE;
        assert!(read(&long).is_ok());
        long[0] = 3;
        assert!(read(&long).is_err());
        let mut many = head(FORM_SMALL, 513);
        (0..513).for_each(|it| pair(&mut many, format!("{it}").as_bytes(), b""));
        assert!(read(&many).is_err());
    }
}

//! Sets: members, each once.
//!
//! One of integers alone is a sorted row of them while it is small, as in Redis, which calls it an intset; any
//! other is a table. A set that has become a table stays one, but for a SPOP that takes most of it.

use std::io;
use std::sync::Arc;

use standin_resp::number::{Decimal, parse_integer};

use crate::capture::{
    invalid, read_bytes, read_count, read_i64, read_u8, write_bytes, write_count, write_u8,
};
use crate::directory::Iter;
use crate::members::{InOrder, Key, Members};
use crate::text::Text;
use crate::value::{StringBytes, Value};

/// Most members of a set of integers, as Redis has it if it isn't told (`set-max-intset-entries`).
pub const INTEGERS_MAX: usize = 512;

// Part of the format of captures: append, never reuse.
const FORM_INTEGERS: u8 = 1;
const FORM_TABLE: u8 = 2;

/// Members, each once.
#[derive(Clone, Debug)]
pub struct Set(Form);

#[derive(Clone, Debug)]
enum Form {
    /// In order.
    ///
    /// Invariant: no more than [`INTEGERS_MAX`], each greater than the one before it.
    Integers(Vec<i64>),
    Table(Members<Text>),
}

impl Default for Set {
    fn default() -> Self {
        Self(Form::Integers(Vec::new()))
    }
}

impl Set {
    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Integers(numbers) => numbers.len(),
            Form::Table(members) => members.len(),
        }
    }

    /// Whether it has none. Then its key goes too: no key holds an empty set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is a row of integers.
    #[must_use]
    pub fn is_integers(&self) -> bool {
        matches!(self.0, Form::Integers(_))
    }

    /// What OBJECT ENCODING answers.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Integers(_) => "intset",
            Form::Table(_) => "hashtable",
        }
    }

    /// Whether it has this member.
    #[must_use]
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Form::Integers(numbers) => {
                parse_integer(member).is_some_and(|number| numbers.binary_search(&number).is_ok())
            }
            Form::Table(members) => members.get(Key::new(member)).is_some(),
        }
    }

    /// Puts a member in; whether it is new.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if let Form::Integers(numbers) = &mut self.0 {
            if let Some(number) = parse_integer(member) {
                let Err(place) = numbers.binary_search(&number) else {
                    return false;
                };
                if numbers.len() == numbers.capacity() {
                    numbers.reserve_exact(2 + numbers.len() / 4);
                }
                numbers.insert(place, number);
                if numbers.len() > INTEGERS_MAX {
                    self.enlarge();
                }
                return true;
            }
            self.enlarge();
        }
        match &mut self.0 {
            Form::Integers(_) => unreachable!("it is a table by now"),
            Form::Table(members) => {
                let old = members.insert(Key::new(member), Text::new(member));
                old.is_none()
            }
        }
    }

    /// Takes a member out; whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Integers(numbers) => {
                let place = parse_integer(member).and_then(|it| numbers.binary_search(&it).ok());
                if let Some(place) = place {
                    numbers.remove(place);
                }
                place.is_some()
            }
            Form::Table(members) => members.remove(Key::new(member)).is_some(),
        }
    }

    /// Takes the member out that has `place` others before it.
    pub fn remove_at(&mut self, place: usize) {
        match &mut self.0 {
            Form::Integers(numbers) => {
                numbers.remove(place);
            }
            Form::Table(members) => {
                members.remove_at(place);
            }
        }
    }

    /// Makes a row of integers of it if that is what it would be, had its members just come in.
    pub(crate) fn renew(&mut self) {
        let Form::Table(members) = &self.0 else {
            return;
        };
        if members.len() > INTEGERS_MAX {
            return;
        }
        let numbers = (members.iter()).map(|(_, member)| parse_integer(member.as_bytes()));
        if let Some(mut numbers) = numbers.collect::<Option<Vec<i64>>>() {
            numbers.sort_unstable();
            self.0 = Form::Integers(numbers);
        }
    }

    /// Makes a table of it, unless it is one.
    pub(crate) fn enlarge(&mut self) {
        let Form::Integers(numbers) = &self.0 else {
            return;
        };
        let mut members = Members::default();
        for number in numbers {
            let decimal = Decimal::new(*number);
            let bytes = decimal.as_bytes();
            members.insert(Key::new(bytes), Text::new(bytes));
        }
        self.0 = Form::Table(members);
    }

    /// The member that has `place` others before it.
    #[must_use]
    pub fn nth(&self, place: usize) -> Option<StringBytes<'_>> {
        match &self.0 {
            Form::Integers(numbers) => numbers.get(place).map(|it| integer_bytes(*it)),
            Form::Table(members) => members
                .nth(place)
                .map(|it| StringBytes::Text(it.as_bytes())),
        }
    }

    /// All members, in the order in which replies have them.
    #[must_use]
    pub fn iter(&self) -> Elements<'_> {
        match &self.0 {
            Form::Integers(numbers) => Elements::Integers(numbers.iter()),
            Form::Table(members) => Elements::Table(members.iter()),
        }
    }

    /// One step of a walk: see [`Members::scan`]. A row of integers is handed out whole, as in Redis.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut take: impl FnMut(StringBytes<'a>, bool) -> bool,
    ) -> u64 {
        match &self.0 {
            Form::Integers(_) => {
                self.iter().for_each(|member| {
                    take(member, true);
                });
                0
            }
            Form::Table(members) => members.scan(cursor, count, |text, must| {
                take(StringBytes::Text(text.as_bytes()), must)
            }),
        }
    }

    pub(crate) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        match &self.0 {
            Form::Integers(numbers) => {
                write_u8(out, FORM_INTEGERS)?;
                write_count(out, numbers.len())?;
                numbers
                    .iter()
                    .try_for_each(|number| out.write_all(&number.to_le_bytes()))
            }
            Form::Table(members) => {
                write_u8(out, FORM_TABLE)?;
                write_count(out, members.len())?;
                members
                    .iter()
                    .try_for_each(|(_, member)| write_bytes(out, member.as_bytes()))
            }
        }
    }

    pub(crate) fn read(input: &mut dyn io::Read) -> io::Result<Self> {
        let form = read_u8(input)?;
        let count = read_count(input)?;
        if count == 0 {
            return Err(invalid("a set has no members"));
        }
        match form {
            FORM_INTEGERS => read_integers(input, count),
            FORM_TABLE => read_table(input, count),
            _ => Err(invalid("a set is of a form that does not exist")),
        }
    }
}

fn integer_bytes(number: i64) -> StringBytes<'static> {
    StringBytes::Integer(Decimal::new(number))
}

fn read_integers(input: &mut dyn io::Read, count: u64) -> io::Result<Set> {
    let count = usize::try_from(count).ok();
    let count = count.filter(|count| *count <= INTEGERS_MAX);
    let count = count.ok_or_else(|| invalid("a set of integers has too many members"))?;
    let mut numbers: Vec<i64> = Vec::with_capacity(count);
    for _ in 0..count {
        let number = read_i64(input)?;
        if numbers.last().is_some_and(|last| *last >= number) {
            return Err(invalid("the members of a set are out of order"));
        }
        numbers.push(number);
    }
    Ok(Set(Form::Integers(numbers)))
}

fn read_table(input: &mut dyn io::Read, count: u64) -> io::Result<Set> {
    let mut members = InOrder::default();
    for _ in 0..count {
        let pushed = members.push(Text::new(&read_bytes(input)?));
        pushed.map_err(|_| invalid("the members of a set are out of order"))?;
    }
    Ok(Set(Form::Table(members.finish())))
}

/// The members of a set. See [`Set::iter`].
#[derive(Debug)]
pub enum Elements<'a> {
    /// Of a row of integers.
    Integers(std::slice::Iter<'a, i64>),
    /// Of a table.
    Table(Iter<'a, Text>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = StringBytes<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Integers(numbers) => numbers.next().map(|it| integer_bytes(*it)),
            Self::Table(members) => members
                .next()
                .map(|(_, it)| StringBytes::Text(it.as_bytes())),
        }
    }
}

impl Value {
    /// The set, if it is one.
    #[must_use]
    pub fn as_set(&self) -> Option<&Set> {
        match self {
            Self::Set(set) => Some(set),
            Self::Integer(_) | Self::Text(_) | Self::List(_) | Self::Sorted(_) | Self::Hash(_) => {
                None
            }
        }
    }

    /// The set to be changed, if it is one: a copy of its own if it is shared.
    pub fn as_set_mut(&mut self) -> Option<&mut Set> {
        match self {
            Self::Set(set) => Some(Arc::make_mut(set)),
            Self::Integer(_) | Self::Text(_) | Self::List(_) | Self::Sorted(_) | Self::Hash(_) => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(set: &Set) -> Vec<u8> {
        let mut bytes = Vec::new();
        set.write(&mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> io::Result<Set> {
        let mut input = bytes;
        let set = Set::read(&mut input)?;
        assert!(input.is_empty(), "all of it is read");
        Ok(set)
    }

    fn of_integers(numbers: impl Iterator<Item = i64>) -> Set {
        let mut set = Set::default();
        for number in numbers {
            assert!(set.insert(number.to_string().as_bytes()));
        }
        set
    }

    fn members(set: &Set) -> Vec<Vec<u8>> {
        set.iter().map(|it| it.as_bytes().to_vec()).collect()
    }

    #[test]
    fn integers_stand_in_order_up_to_their_limit_and_a_table_stays_one() {
        let mut set = of_integers((-256..256).rev());
        assert_eq!(set.encoding(), "intset");
        let sorted = (-256..256).map(|it: i64| it.to_string().into_bytes());
        assert!(members(&set).into_iter().eq(sorted));
        assert!(set.contains(b"-7") && !set.contains(b"-07") && !set.contains(b"256"));
        assert!(!set.insert(b"0") && set.is_integers());
        assert!(set.insert(b"256"));
        assert_eq!((set.len(), set.encoding()), (513, "hashtable"));
        for number in -256..256 {
            assert!(set.remove(number.to_string().as_bytes()));
        }
        assert_eq!(
            (members(&set), set.is_integers()),
            (vec![b"256".to_vec()], false)
        );
        let mut set = of_integers(0..3);
        assert!(set.insert(b"00"));
        assert_eq!((set.len(), set.encoding()), (4, "hashtable"));
    }

    #[test]
    fn each_form_reads_back_as_it_was_written_and_no_piece_of_it_does() {
        let mut words = of_integers(0..1);
        words.insert(b"word");
        let sets = [
            of_integers(0..1),
            of_integers(-200..312),
            of_integers(0..2000),
            words,
        ];
        for set in sets {
            let bytes = written(&set);
            let again = read(&bytes).unwrap();
            assert_eq!(written(&again), bytes);
            assert_eq!(again.encoding(), set.encoding());
            for length in (0..bytes.len()).step_by(1 + bytes.len() / 99) {
                assert!(read(&bytes[..length]).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn what_no_set_can_be_is_refused() {
        let integers = |count: u64, numbers: &[i64]| {
            let mut bytes = [&[FORM_INTEGERS][..], &count.to_le_bytes()].concat();
            numbers.iter().for_each(|it| bytes.extend(it.to_le_bytes()));
            bytes
        };
        assert!(read(&integers(2, &[-1, 1])).is_ok());
        assert!(read(&integers(0, &[])).is_err());
        assert!(read(&integers(2, &[1, 1])).is_err());
        assert!(read(&integers(2, &[1, -1])).is_err());
        let many: Vec<i64> = (0..513).collect();
        assert!(read(&integers(513, &many)).is_err());
        let mut table = written(&of_integers(0..600));
        table[0] = 3;
        assert!(read(&table).is_err());
        let mut twice = [&[FORM_TABLE][..], &2u64.to_le_bytes()].concat();
        (0..2).for_each(|_| write_bytes(&mut twice, b"a").unwrap());
        assert!(read(&twice).is_err());
    }
}

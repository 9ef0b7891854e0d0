//! Lists: as values.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::capture::{invalid, read_bytes, read_count, write_bytes, write_count};
use crate::keyspace::drop_value;
use crate::text::Text;
use crate::tree::{Iter, IterBack, Tree};
use crate::value::Value;

/// One end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its head.
    Left,
    /// Its tail.
    Right,
}

/// Elements in a row. A short list is one node of the tree and nothing else; either end and any place are
/// found in O(log n).
#[derive(Clone, Debug, Default)]
pub struct List(Tree<(), Text>);

impl List {
    /// Puts an element at one end.
    pub fn push(&mut self, end: End, element: &[u8]) {
        let place = match end {
            End::Left => 0,
            End::Right => self.0.len(),
        };
        self.insert(place, element);
    }

    /// Puts an element in so that `place` others stand before it.
    pub fn insert(&mut self, place: usize, element: &[u8]) {
        self.0.insert_at(place, (), Text::new(element));
    }

    /// Puts an element in the place of another; whether there is such a place.
    pub fn set(&mut self, place: usize, element: &[u8]) -> bool {
        if place >= self.0.len() {
            return false;
        }
        let found = self.0.nth_mut(place);
        *found.expect("it has so many elements") = Text::new(element);
        true
    }

    /// Takes the element out that has `place` others before it.
    pub fn remove(&mut self, place: usize) -> Option<Text> {
        if place >= self.0.len() {
            return None;
        }
        self.0.remove_at(place).map(|((), element)| element)
    }

    /// Takes the elements out that stand in these places, which must exist.
    pub fn remove_range(&mut self, range: Range<usize>) {
        let rest = self.0.len() - range.len();
        if range.len() <= rest {
            for _ in range.clone() {
                self.0.remove_at(range.start);
            }
            return;
        }
        // Less work than to take the others out.
        let mut kept = Self::default();
        let before = self.iter_from(0).take(range.start);
        for element in before.chain(self.iter_from(range.end)) {
            kept.0.push((), element.clone());
        }
        let old = std::mem::replace(self, kept);
        drop_value(Value::List(Arc::new(old)));
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none, which no list under a key is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The element that has `place` others before it.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Text> {
        self.0.nth(place).map(|((), element)| element)
    }

    /// The elements in order, from the one on that has `place` others before it.
    pub fn iter_from(&self, place: usize) -> Elements<'_> {
        Elements(Way::Up(self.0.iter_from(place)))
    }

    /// The elements in reverse order, from the one on that has `place` others before it.
    pub fn iter_back_from(&self, place: usize) -> Elements<'_> {
        Elements(Way::Down(self.0.iter_back_from(place)))
    }

    /// The first `count` elements, seen from one end.
    pub fn iter_end(&self, end: End, count: usize) -> impl Iterator<Item = &Text> {
        let elements = match end {
            End::Left => self.iter_from(0),
            End::Right => self.iter_back_from(self.len().saturating_sub(1)),
        };
        elements.take(count)
    }

    /// The places of the first `count` elements, seen from one end.
    #[must_use]
    pub fn places(&self, end: End, count: usize) -> Range<usize> {
        let count = count.min(self.len());
        match end {
            End::Left => 0..count,
            End::Right => self.len() - count..self.len(),
        }
    }

    /// What OBJECT ENCODING answers: in Redis 7.0 the same of every list.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        "quicklist"
    }

    pub(crate) fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        write_count(out, self.len())?;
        for element in self.iter_from(0) {
            write_bytes(out, element.as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn read(input: &mut dyn io::Read) -> io::Result<Self> {
        let mut list = Self::default();
        for _ in 0..read_count(input)? {
            list.push(End::Right, &read_bytes(input)?);
        }
        match list.is_empty() {
            false => Ok(list),
            true => Err(invalid("a list has no elements")),
        }
    }
}

/// Elements of a list, one after the other.
#[derive(Debug)]
pub struct Elements<'a>(Way<'a>);

#[derive(Debug)]
enum Way<'a> {
    Up(Iter<'a, (), Text>),
    Down(IterBack<'a, (), Text>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a Text;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match &mut self.0 {
            Way::Up(iter) => iter.next(),
            Way::Down(iter) => iter.next(),
        };
        next.map(|((), element)| element)
    }
}

impl Value {
    /// The list, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&List> {
        match self {
            Self::List(list) => Some(list),
            Self::Integer(_) | Self::Text(_) | Self::Set(_) | Self::Sorted(_) | Self::Hash(_) => {
                None
            }
        }
    }

    /// The list, if it is one, to be changed.
    pub fn as_list_mut(&mut self) -> Option<&mut List> {
        match self {
            Self::List(list) => Some(Arc::make_mut(list)),
            Self::Integer(_) | Self::Text(_) | Self::Set(_) | Self::Sorted(_) | Self::Hash(_) => {
                None
            }
        }
    }
}

//! The directory against a sorted vector: whatever is done to it, however its hashes lie, and clones that must not change.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod model;

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use model::{Modelled, step, walk};
use standin_kv::directory::Directory;

/// How the hashes of numbers lie.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// All over, as hashes do.
    Evenly,
    /// In the order of the numbers, close together: all bits before the last ones are the same.
    Close,
    /// In the order of the numbers, far apart.
    InOrder,
    /// Many numbers have the same one, and all first bits are the same.
    Alike,
}

impl Lie {
    fn hash(self, number: u16) -> u64 {
        let number = u64::from(number);
        match self {
            Self::Evenly => number
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_right(29)
                .wrapping_mul(0xbf58_476d_1ce4_e5b9),
            Self::Close => 0x1234_5678_0000_0000 + number,
            Self::InOrder => number << 48,
            Self::Alike => u64::MAX - number % 7,
        }
    }
}

fn lie() -> impl Strategy<Value = Lie> {
    prop_oneof![
        Just(Lie::Evenly),
        Just(Lie::Close),
        Just(Lie::InOrder),
        Just(Lie::Alike)
    ]
}

/// Hash, number, and what changes.
type Item = (u64, u16, u32);

/// A directory, and the vector that it must be like.
#[derive(Clone)]
struct Pair {
    lie: Lie,
    directory: Directory<Item>,
    model: Vec<Item>,
}

impl Pair {
    fn new(lie: Lie) -> Self {
        Self {
            lie,
            directory: Directory::default(),
            model: Vec::new(),
        }
    }

    fn find(&self, number: u16) -> Result<usize, usize> {
        let sought = (self.lie.hash(number), number);
        self.model
            .binary_search_by_key(&sought, |(hash, number, _)| (*hash, *number))
    }

    /// Whatever is prefetched, nothing comes of it; and one that is there is looked at.
    fn prefetch(&self) {
        let sought: Vec<u64> = self.model.iter().step_by(9).map(|it| it.0).collect();
        let seen = RefCell::new(BTreeSet::new());
        self.directory.prefetch(&sought, |item| {
            assert!(self.model.binary_search(item).is_ok());
            seen.borrow_mut().insert(item.0);
        });
        if matches!(self.lie, Lie::Evenly) {
            // Where many have the same first bits, a bucket is a tree of several nodes, and no further than its first.
            assert_eq!(seen.into_inner(), sought.iter().copied().collect());
        }
        self.directory.prefetch(&[0, 1, u64::MAX], |_| {});
    }
}

impl Modelled for Pair {
    fn len(&self) -> usize {
        self.model.len()
    }

    fn insert(&mut self, number: u16, value: u32) {
        let hash = self.lie.hash(number);
        let item = (hash, number, value);
        let old = self
            .directory
            .insert(hash, item, |(_, it, _)| it.cmp(&number));
        let expected = match self.find(number) {
            Ok(at) => Some(std::mem::replace(&mut self.model[at], item)),
            Err(at) => {
                self.model.insert(at, item);
                None
            }
        };
        assert_eq!(old, expected);
    }

    fn remove(&mut self, number: u16) {
        let hash = self.lie.hash(number);
        let removed = self.directory.remove(hash, |(_, it, _)| it.cmp(&number));
        let expected = self.find(number).ok().map(|at| self.model.remove(at));
        assert_eq!(removed, expected);
    }

    fn change(&mut self, place: usize, value: u32) {
        let item = &mut self.model[place];
        let (hash, number, _) = *item;
        let found = self.directory.get_mut(hash, |(_, it, _)| it.cmp(&number));
        let found = found.unwrap();
        assert_eq!(found, item);
        (found.2, item.2) = (value, value);
    }

    fn remove_at(&mut self, place: usize) {
        let (hash, removed) = self.directory.remove_at(place).unwrap();
        assert_eq!(removed, self.model.remove(place));
        assert_eq!(removed.0, hash);
    }

    fn check(&self) {
        self.prefetch();
        assert_eq!(self.directory.len(), self.model.len());
        assert_eq!(self.directory.is_empty(), self.model.is_empty());
        let whole = self.directory.iter();
        assert!(whole.eq(self.model.iter().map(|it| (it.0, it))));
        for place in (0..self.model.len()).step_by(101) {
            let item = &self.model[place];
            assert_eq!(self.directory.nth(place), Some((item.0, item)));
            let found = self.directory.get(item.0, |(_, it, _)| it.cmp(&item.1));
            assert_eq!(found, Some(item));
        }
        for hash in [0, 1, u64::MAX - 3, u64::MAX].into_iter().chain(
            (0..60_000)
                .step_by(1777)
                .map(|number| self.lie.hash(number)),
        ) {
            let first = self.model.partition_point(|it| it.0 < hash);
            let rest = self.directory.iter_from(hash).map(|(_, item)| item);
            assert!(rest.eq(&self.model[first..]));
        }
        for number in (0..60_000).step_by(777) {
            let hash = self.lie.hash(number);
            let found = self.directory.get(hash, |(_, it, _)| it.cmp(&number));
            assert_eq!(found, self.find(number).ok().map(|at| &self.model[at]));
        }
        for place in [self.model.len(), usize::MAX] {
            assert_eq!(self.directory.nth(place), None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_directory_is_like_a_sorted_vector(lie in lie(), steps in vec(step(6000, 30_000), 1..40)) {
        walk(Pair::new(lie), &steps);
    }
}

/// More than one level has buckets for, and how they go.
#[test]
fn a_level_below_a_level_comes_and_goes() {
    let mix = |number: u64| {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let mut directory = Directory::default();
    // A level has 512 places, and a bucket 63 items at most.
    let numbers = 0..512 * 64 * 3;
    for number in numbers.clone() {
        let hash = mix(number);
        assert_eq!(directory.insert(hash, hash, |it| it.cmp(&hash)), None);
    }
    assert!(directory.iter().map(|(hash, _)| hash).is_sorted());
    let clone = directory.clone();
    for number in numbers.clone() {
        let hash = mix(number);
        assert_eq!(directory.remove(hash, |it| it.cmp(&hash)), Some(hash));
    }
    assert!(directory.is_empty() && directory.iter().next().is_none());
    assert_eq!(clone.len() as u64, numbers.end);
    for number in numbers {
        let hash = mix(number);
        assert_eq!(clone.get(hash, |it| it.cmp(&hash)), Some(&hash));
    }
}

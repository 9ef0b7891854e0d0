//! A persistent table in the order of hashes: extendible hashing, nested.
//!
//! Items stand in *buckets*, each a [`Tree`] that is mostly one node. Which bucket is told by the first bits of a hash: a
//! *level* is an array that the next bits are a place in. A bucket that is shared by several places is divided when it
//! is full, by the next bit; if it has one place only, the array doubles first (Fagin, Nievergelt, Pippenger, Strong:
//! Extendible Hashing, 1979). An array that may not grow any more has a level of its own below the place instead. So
//! ten million items are reached by way of two arrays, each of which is read at one place; a tree of nodes like the buckets
//! has three on the way, which are searched.
//!
//! Arrays and buckets stand behind [`Arc`], as the nodes of a [`Tree`] do: a clone costs one count, and what changes afterwards
//! copies what is still shared on its way. Buckets become fewer as items go; an array keeps its length until so few are
//! left below it that it becomes a bucket.

use std::cmp::Ordering;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use crate::tree::{self, Bounds, NODE_ITEMS_MAX, Tree};

/// Most bits that a level is a place for. More would make an array slower to copy for the first change after a clone.
const LEVEL_BITS_MAX: u32 = 9;
/// An array doubles only while there are so many items for each of its places: else hashes do not lie evenly, and a
/// bucket that is too full grows as a tree.
const ITEMS_PER_PLACE_MIN: usize = 16;
/// Two neighbours with no more items than this together become one bucket, and so does a level.
const BUCKET_ITEMS_FEW: usize = NODE_ITEMS_MAX / 3;
/// How many items are sought side by side: enough that a processor always waits for as much memory as it can.
const PREFETCH_GROUP: usize = 32;
/// Bits of a hash.
const HASH_BITS: u32 = u64::BITS;

/// Items in the order of their hashes, and among those of equal hash in an order that the caller's comparison decides.
/// See the [module](self).
pub struct Directory<T> {
    root: Place<T>,
}

/// What stands at a place of an array.
enum Place<T> {
    /// It belongs to the bucket at a place before it.
    Shared,
    Bucket {
        /// It has two to the power of this places: this one, and those behind it.
        shared_bits: u8,
        items: Tree<u64, T>,
    },
    Level {
        /// How many items are below.
        count: usize,
        level: Arc<Level<T>>,
    },
}

/// An array of places, as many as a power of two.
struct Level<T> {
    places: Vec<Place<T>>,
}

/// A hash, and how many of its first bits have led to some place.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    hash: u64,
    bits: u32,
}

impl Prefix {
    /// The least hash that begins with these bits.
    fn low(self) -> u64 {
        self.hash & !self.rest()
    }

    /// The other bits.
    fn rest(self) -> u64 {
        u64::MAX.checked_shr(self.bits).unwrap_or(0)
    }

    /// What all hashes that begin with these bits lie between.
    fn bounds(self) -> Bounds<u64> {
        Bounds::between(self.low(), self.low() | self.rest())
    }

    /// The least hash of the upper half of those that begin with these bits. Precondition: they are not all.
    fn middle(self) -> u64 {
        self.low() | 1 << (HASH_BITS - 1 - self.bits)
    }
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Shared => Self::Shared,
            Self::Bucket { shared_bits, items } => Self::Bucket {
                shared_bits: *shared_bits,
                items: items.clone(),
            },
            Self::Level { count, level } => Self::Level {
                count: *count,
                level: Arc::clone(level),
            },
        }
    }
}

impl<T> Clone for Level<T> {
    fn clone(&self) -> Self {
        Self {
            places: self.places.clone(),
        }
    }
}

impl<T> Clone for Directory<T> {
    /// Takes no time to speak of, whatever it holds.
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
        }
    }
}

impl<T: Clone> Default for Directory<T> {
    fn default() -> Self {
        Self {
            root: Place::bucket(0, Tree::default()),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Directory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T> Place<T> {
    fn bucket(shared_bits: u8, items: Tree<u64, T>) -> Self {
        Self::Bucket { shared_bits, items }
    }

    fn len(&self) -> usize {
        match self {
            Self::Shared => 0,
            Self::Bucket { items, .. } => items.len(),
            Self::Level { count, .. } => *count,
        }
    }
}

impl<T> Level<T> {
    fn bits(&self) -> u32 {
        self.places.len().trailing_zeros()
    }

    /// Where the bucket begins that `at` is a place of, or the level that stands there.
    fn owner(&self, mut at: usize) -> usize {
        let mut bit = 1;
        while matches!(self.places[at], Place::Shared) {
            at &= !bit;
            bit <<= 1;
        }
        at
    }

    /// The place that the bits behind those that lead to this level are for.
    fn index_of(&self, Prefix { hash, bits }: Prefix) -> usize {
        let at = (hash << bits) >> (HASH_BITS - self.bits());
        usize::try_from(at).expect("a level has few bits")
    }

    /// What that place belongs to, and what leads to it.
    fn below(&self, prefix: Prefix) -> (usize, Prefix) {
        let at = self.owner(self.index_of(prefix));
        let bits = prefix.bits + self.bits() - self.shared_bits(at);
        (at, Prefix { bits, ..prefix })
    }

    fn shared_bits(&self, at: usize) -> u32 {
        match self.places[at] {
            Place::Bucket { shared_bits, .. } => u32::from(shared_bits),
            Place::Shared | Place::Level { .. } => 0,
        }
    }

    /// Where buckets and levels stand, in order.
    fn owners(&self) -> impl Iterator<Item = usize> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let at = (next < self.places.len()).then_some(next)?;
            next += 1 << self.shared_bits(at);
            Some(at)
        })
    }
}

/// How far a search has come.
struct Search<'a, T> {
    place: &'a Place<T>,
    /// What has led there.
    prefix: Prefix,
}

impl<T> Clone for Search<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Search<'_, T> {}

impl<'a, T> Search<'a, T> {
    fn new(directory: &'a Directory<T>, hash: u64) -> Self {
        Self {
            place: &directory.root,
            prefix: Prefix { hash, bits: 0 },
        }
    }

    /// Goes down by one level, unless it has come to a bucket.
    fn step(&mut self) {
        if let Place::Level { level, .. } = self.place {
            let (at, below) = level.below(self.prefix);
            self.place = &level.places[at];
            self.prefix = below;
        }
    }

    /// The bucket, once it has come to one.
    fn bucket(&self) -> Option<&'a Tree<u64, T>> {
        match self.place {
            Place::Bucket { items, .. } => Some(items),
            Place::Shared | Place::Level { .. } => None,
        }
    }
}

impl<T: Clone> Place<T> {
    /// `prefix` leads here. Hands back what was there instead.
    fn insert(&mut self, prefix: Prefix, item: T, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        match self {
            Self::Shared => unreachable!("an owner is no shared place"),
            Self::Bucket { items, .. } => {
                items.insert_within(prefix.bounds(), prefix.hash, item, compare)
            }
            Self::Level { count, level } => {
                let old = Arc::make_mut(level).insert(prefix, item, compare, *count);
                *count += usize::from(old.is_none());
                old
            }
        }
    }

    fn remove(&mut self, prefix: Prefix, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        let removed = match self {
            Self::Shared => unreachable!("an owner is no shared place"),
            Self::Bucket { items, .. } => {
                items.remove_within(prefix.bounds(), prefix.hash, compare)
            }
            Self::Level { count, level } => {
                let removed = Arc::make_mut(level).remove(prefix, compare);
                *count -= usize::from(removed.is_some());
                removed
            }
        };
        self.collapse();
        removed
    }

    fn remove_at(&mut self, place: usize) -> Option<(u64, T)> {
        let removed = match self {
            Self::Shared => None,
            Self::Bucket { items, .. } => items.remove_at(place),
            Self::Level { count, level } => {
                let removed = Arc::make_mut(level).remove_at(place);
                *count -= usize::from(removed.is_some());
                removed
            }
        };
        self.collapse();
        removed
    }

    /// A level with few items becomes a bucket.
    fn collapse(&mut self) {
        if let Self::Level { count, level } = self
            && *count <= BUCKET_ITEMS_FEW
        {
            let mut items = Tree::default();
            for (hash, item) in Iter::of(&level.places) {
                items.push(hash, item.clone());
            }
            *self = Self::bucket(0, items);
        }
    }

    /// A bucket that is not shared and is full becomes a level. `prefix` leads here.
    fn deepen(&mut self, prefix: Prefix) {
        let Self::Bucket { items, .. } = self else {
            return;
        };
        if items.len() < NODE_ITEMS_MAX || prefix.bits == HASH_BITS {
            return;
        }
        let count = items.len();
        let items = std::mem::take(items);
        let mut level = Level {
            places: vec![Self::bucket(1, items), Self::Shared],
        };
        level.divide(prefix, count);
        *self = Self::Level {
            count,
            level: Arc::new(level),
        };
    }
}

impl<T: Clone> Level<T> {
    /// `prefix` leads to this level, which has `count` items before.
    fn insert(
        &mut self,
        prefix: Prefix,
        item: T,
        compare: impl Fn(&T) -> Ordering,
        count: usize,
    ) -> Option<T> {
        let (at, below) = self.below(prefix);
        let old = self.places[at].insert(below, item, compare);
        if old.is_none() {
            self.divide(prefix, count + 1);
        }
        old
    }

    /// Divides the bucket of a hash if it is full, and its halves if need be. `prefix` leads to this level, which has
    /// `count` items.
    fn divide(&mut self, prefix: Prefix, count: usize) {
        let (at, below) = self.below(prefix);
        let (shared_bits, items) = match &mut self.places[at] {
            Place::Bucket { shared_bits, items } if items.len() >= NODE_ITEMS_MAX => {
                (shared_bits, items)
            }
            Place::Bucket { .. } | Place::Shared | Place::Level { .. } => return,
        };
        if let Some(fewer) = shared_bits.checked_sub(1) {
            *shared_bits = fewer;
            let middle = below.middle();
            let upper = items.split_off(items.partition_point(|it, _| it < middle));
            self.places[at + (1 << fewer)] = Place::bucket(fewer, upper);
            for hash in [below.low(), middle] {
                self.divide(Prefix { hash, ..prefix }, count);
            }
        } else if self.bits() == LEVEL_BITS_MAX {
            self.places[at].deepen(below);
        } else if below.bits < HASH_BITS && count >= self.places.len() * ITEMS_PER_PLACE_MIN {
            self.double();
            self.divide(prefix, count);
        }
    }

    /// Each place becomes two: what belonged to one belongs to both.
    fn double(&mut self) {
        let mut places = Vec::with_capacity(self.places.len() * 2);
        for place in self.places.drain(..) {
            match place {
                Place::Bucket { shared_bits, items } => {
                    places.extend([Place::bucket(shared_bits + 1, items), Place::Shared]);
                }
                Place::Shared => places.extend([Place::Shared, Place::Shared]),
                Place::Level { .. } => unreachable!("only below an array that grows no more"),
            }
        }
        self.places = places;
    }

    fn remove(&mut self, prefix: Prefix, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        let (at, below) = self.below(prefix);
        let removed = self.places[at].remove(below, compare);
        self.unite(at);
        removed
    }

    fn remove_at(&mut self, mut place: usize) -> Option<(u64, T)> {
        let at = self.owners().find(|at| {
            let count = self.places[*at].len();
            let is_here = place < count;
            place -= if is_here { 0 } else { count };
            is_here
        })?;
        let removed = self.places[at].remove_at(place);
        self.unite(at);
        removed
    }

    /// Makes one bucket of the one at `at` and its neighbour, while both together have few items.
    fn unite(&mut self, mut at: usize) {
        while let Place::Bucket { shared_bits, items } = &self.places[at] {
            let (bits, count) = (*shared_bits, items.len());
            let other = at ^ (1 << bits);
            let (lower, upper) = (at.min(other), at.max(other));
            match self.places.get(other) {
                Some(Place::Bucket { shared_bits, items })
                    if *shared_bits == bits && count + items.len() <= BUCKET_ITEMS_FEW => {}
                _ => return,
            }
            let upper = std::mem::replace(&mut self.places[upper], Place::Shared);
            if let (Place::Bucket { shared_bits, items }, Place::Bucket { items: more, .. }) =
                (&mut self.places[lower], upper)
            {
                *shared_bits += 1;
                for (hash, item) in more.iter() {
                    items.push(hash, item.clone());
                }
            }
            at = lower;
        }
    }
}

impl<T> Directory<T> {
    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.root.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item that `compare` (item against what is sought) finds equal among those of this hash.
    pub fn get(&self, hash: u64, compare: impl Fn(&T) -> Ordering) -> Option<&T> {
        let mut search = Search::new(self, hash);
        loop {
            if let Some(items) = search.bucket() {
                return items.get_within(search.prefix.bounds(), hash, compare);
            }
            search.step();
        }
    }

    /// Brings into the caches what searches for the first items of these hashes will look at; `look` does so for what
    /// belongs to such an item. It has no other effect.
    ///
    /// One search waits for memory at every step, since what it reads is where the next one goes. Those of a group
    /// go down side by side here, and wait together.
    pub fn prefetch(&self, hashes: &[u64], look: impl Fn(&T)) {
        for hashes in hashes.chunks(PREFETCH_GROUP) {
            let mut searches = [Search::new(self, 0); PREFETCH_GROUP];
            let searches = &mut searches[..hashes.len()];
            for (search, hash) in searches.iter_mut().zip(hashes) {
                search.prefix.hash = *hash;
            }
            while searches.iter().any(|it| it.bucket().is_none()) {
                for search in &*searches {
                    if let Place::Level { level, .. } = search.place {
                        black_box(level.places.len());
                    }
                }
                // Without a decision about what is read: one that is guessed wrong would end what is under way.
                for Search { place, prefix } in &*searches {
                    if let Place::Level { level, .. } = place {
                        black_box(std::mem::discriminant(
                            &level.places[level.index_of(*prefix)],
                        ));
                    }
                }
                searches.iter_mut().for_each(Search::step);
            }
            for search in &*searches {
                if let Some(items) = search.bucket() {
                    items.look(search.prefix.bounds(), search.prefix.hash);
                }
            }
            let mut found = [None; PREFETCH_GROUP];
            for (search, found) in searches.iter().zip(&mut found) {
                let Search { prefix, .. } = search;
                let items = search.bucket();
                *found = items.and_then(|items| items.passed(prefix.bounds(), prefix.hash));
            }
            found.into_iter().flatten().for_each(&look);
        }
    }

    /// The item that has `place` others before it.
    #[must_use]
    pub fn nth(&self, mut place: usize) -> Option<(u64, &T)> {
        let mut level = match &self.root {
            Place::Level { level, .. } => level,
            Place::Bucket { items, .. } => return items.nth(place),
            Place::Shared => return None,
        };
        'down: loop {
            for at in level.owners() {
                match &level.places[at] {
                    below if place >= below.len() => place -= below.len(),
                    Place::Level { level: below, .. } => {
                        level = below;
                        continue 'down;
                    }
                    Place::Bucket { items, .. } => return items.nth(place),
                    Place::Shared => {}
                }
            }
            return None;
        }
    }

    /// All items in order, with their hashes.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::of(std::slice::from_ref(&self.root))
    }

    /// The items in order, with their hashes, from the first one on whose hash is not less than this one.
    #[must_use]
    pub fn iter_from(&self, hash: u64) -> Iter<'_, T> {
        let mut path = Vec::new();
        let mut search = Search::new(self, hash);
        loop {
            match search.place {
                Place::Level { level, .. } => {
                    let (at, _) = level.below(search.prefix);
                    path.push(level.places[at + 1..].iter());
                }
                Place::Bucket { items, .. } => {
                    let first = items.partition_point(|it, _| it < hash);
                    let bucket = Some(items.iter_from(first));
                    return Iter { path, bucket };
                }
                Place::Shared => return Iter { path, bucket: None },
            }
            search.step();
        }
    }
}

impl<T: Clone> Directory<T> {
    /// Like [`Directory::get`], to be changed in place: but not so that its order changes.
    ///
    /// Copies what is shared on the way even if there is no such item.
    pub fn get_mut(&mut self, hash: u64, compare: impl Fn(&T) -> Ordering) -> Option<&mut T> {
        let mut place = &mut self.root;
        let mut prefix = Prefix { hash, bits: 0 };
        loop {
            match place {
                Place::Shared => return None,
                Place::Bucket { items, .. } => {
                    return items.get_mut_within(prefix.bounds(), hash, compare);
                }
                Place::Level { level, .. } => {
                    let level = Arc::make_mut(level);
                    let (at, below) = level.below(prefix);
                    place = &mut level.places[at];
                    prefix = below;
                }
            }
        }
    }

    /// Puts an item in where `compare` (an item of the table against the new one) says; one that is equal is
    /// replaced and handed back.
    pub fn insert(&mut self, hash: u64, item: T, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        let prefix = Prefix { hash, bits: 0 };
        let old = self.root.insert(prefix, item, compare);
        if old.is_none() {
            self.root.deepen(prefix);
        }
        old
    }

    /// Takes the item out that compares as equal.
    pub fn remove(&mut self, hash: u64, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        self.root.remove(Prefix { hash, bits: 0 }, compare)
    }

    /// Takes the item out that has `place` others before it.
    pub fn remove_at(&mut self, place: usize) -> Option<(u64, T)> {
        self.root.remove_at(place)
    }
}

/// Items in order, with their hashes. See [`Directory::iter`].
pub struct Iter<'a, T> {
    /// What is left of each array on the way down.
    path: Vec<std::slice::Iter<'a, Place<T>>>,
    bucket: Option<tree::Iter<'a, u64, T>>,
}

impl<'a, T> Iter<'a, T> {
    fn of(places: &'a [Place<T>]) -> Self {
        Self {
            path: vec![places.iter()],
            bucket: None,
        }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (u64, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(next) = self.bucket.as_mut().and_then(Iterator::next) {
                return Some(next);
            }
            match self.path.last_mut()?.next() {
                None => _ = self.path.pop(),
                Some(Place::Shared) => {}
                Some(Place::Bucket { items, .. }) => self.bucket = Some(items.iter()),
                Some(Place::Level { level, .. }) => self.path.push(level.places.iter()),
            }
        }
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a directory is made of.
    #[derive(Debug, Default)]
    struct Shape {
        buckets: usize,
        /// Buckets that are full, or of more than one node.
        trees: usize,
        places: usize,
        levels_deep: usize,
    }

    impl Shape {
        fn of<T>(directory: &Directory<T>) -> Self {
            let mut shape = Self::default();
            shape.add(&directory.root, 0);
            shape
        }

        fn add<T>(&mut self, place: &Place<T>, levels: usize) {
            self.places += 1;
            match place {
                Place::Shared => {}
                Place::Bucket { items, .. } => {
                    self.buckets += 1;
                    self.trees += usize::from(items.len() >= NODE_ITEMS_MAX);
                    self.levels_deep = self.levels_deep.max(levels);
                }
                Place::Level { level, .. } => {
                    for place in &level.places {
                        self.add(place, levels + 1);
                    }
                }
            }
        }
    }

    fn filled(hashes: impl Iterator<Item = u64>) -> Directory<u64> {
        let mut directory = Directory::default();
        for hash in hashes {
            directory.insert(hash, hash, |it| it.cmp(&hash));
        }
        directory
    }

    fn mixed(number: u64) -> u64 {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    const COUNT: usize = 200_000;

    #[test]
    fn hashes_that_lie_evenly_are_two_levels_deep_in_buckets_of_one_node() {
        let numbers = || 0..COUNT as u64;
        let mut sorted: Vec<u64> = numbers().map(mixed).collect();
        sorted.sort_unstable();
        // Those that come in order fill a bucket before there are enough for more places; it is divided with the next one
        // that comes to it.
        for (directory, trees) in [
            (filled(numbers().map(mixed)), 0),
            (filled(sorted.into_iter()), COUNT / 64 / 100),
        ] {
            let shape = Shape::of(&directory);
            assert_eq!(shape.levels_deep, 2, "{shape:?}");
            assert!(shape.trees <= trees, "{shape:?}");
            assert!(shape.buckets < COUNT / 32 * 3 / 2, "{shape:?}");
            assert!(shape.places < shape.buckets * 5, "{shape:?}");
        }
    }

    #[test]
    fn hashes_that_lie_close_do_not_make_more_places_than_there_are_items() {
        // The first bits of all are the same, then of 64 each.
        let close = filled((0..COUNT as u64).map(|number| 0x1234_5678 << 32 | number));
        let clusters =
            filled((0..COUNT as u64).map(|number| mixed(number / 64) | (63 - number % 64)));
        for shape in [Shape::of(&close), Shape::of(&clusters)] {
            assert!(shape.places < COUNT / 4, "{shape:?}");
        }
    }

    #[test]
    fn what_has_few_items_left_is_one_bucket_again() {
        let mut directory = filled((0..COUNT as u64).map(mixed));
        while directory.len() > BUCKET_ITEMS_FEW {
            // Now from here, now from there.
            let place = mixed(directory.len() as u64) % directory.len() as u64;
            directory
                .remove_at(usize::try_from(place).unwrap())
                .unwrap();
        }
        let shape = Shape::of(&directory);
        assert_eq!((shape.buckets, shape.places), (1, 1), "{shape:?}");
    }

    #[test]
    fn neighbours_with_few_items_become_one_bucket() {
        let mut directory = filled((0..COUNT as u64).map(mixed));
        let before = Shape::of(&directory);
        for number in 0..COUNT as u64 / 20 * 19 {
            let hash = mixed(number);
            directory.remove(hash, |it| it.cmp(&hash));
        }
        let shape = Shape::of(&directory);
        assert!(
            shape.buckets < before.buckets / 4,
            "{shape:?} of {before:?}"
        );
        assert!(directory.iter().map(|(hash, _)| hash).is_sorted());
    }
}

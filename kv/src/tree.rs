//! A persistent counted B-tree: ordered, with ranks, in place while nobody else holds it.
//!
//! Nodes stand behind [`Arc`]. A clone of a tree shares all of them and costs no more than one count; what
//! changes afterwards copies the nodes on its way that are still shared, and changes all others where they
//! are. Each inner node knows how many items lie below each of its children, so the nth item and an item's
//! rank are found in O(log n).
//!
//! An item has a *major*, a small number that most comparisons get by with (the hash of a key, a deadline, a
//! score's bits; nothing at all, `()`, in a list), kept densely beside the items; among items of equal major
//! the caller's comparison decides. Whoever hands in different orders for one tree gets nonsense, but no panic.

mod iter;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

pub use iter::{Iter, IterBack};

/// Most items in one node. More make a node slower to copy for the first change after a clone; fewer make
/// the tree higher.
pub(crate) const NODE_ITEMS_MAX: usize = 64;
/// A node with fewer items than this takes some from its neighbour, or becomes one with it.
const NODE_ITEMS_FEW: usize = NODE_ITEMS_MAX / 4;
/// By how much a node's room grows: doubling it would leave a third of the memory unused.
const NODE_ROOM_STEP: usize = NODE_ITEMS_MAX / 8;
/// How far around the place where a major should stand it is sought first: what that reads is in two or three cache lines.
const REACH: usize = 4;

/// What the order of a tree begins with.
pub trait Major: Copy + Ord + Default + fmt::Debug {
    /// Before how many of `count` majors it stands if those lie evenly between `low` and `high`: 0 to `count`. A search
    /// begins there, and finds the same wherever that is; `None` where nothing is known.
    fn expected_place(self, low: Option<Self>, high: Option<Self>, count: usize) -> Option<usize> {
        let _ = (low, high, count);
        None
    }
}

impl Major for () {}

impl Major for u64 {
    /// As hashes lie: evenly.
    fn expected_place(self, low: Option<Self>, high: Option<Self>, count: usize) -> Option<usize> {
        let (low, high) = (low?, high?);
        let whole = high.saturating_sub(low);
        // The first 32 bits are exact enough, and no product of them is too long.
        let shift = (Self::BITS / 2).saturating_sub(whole.leading_zeros());
        let part = self.saturating_sub(low) >> shift;
        let place = part.saturating_mul(count as u64) / (whole >> shift).max(1);
        Some(usize::try_from(place).map_or(count, |place| place.min(count)))
    }
}

/// An ordered sequence of items that is cheap to clone. See the [module](self).
pub struct Tree<M, T> {
    root: Arc<Node<M, T>>,
    count: usize,
}

/// What a search reads first stands first, as one cache line.
#[derive(Clone)]
#[repr(C)]
struct Node<M, T> {
    /// Invariant: never more than [`NODE_ITEMS_MAX`]; at least one, except in the root.
    items: Vec<T>,
    /// None in a leaf; else one more than there are items, each between its neighbours in order.
    children: Vec<Child<M, T>>,
    /// Of the first `items.len()` items; the rest means nothing.
    majors: [M; NODE_ITEMS_MAX],
}

struct Child<M, T> {
    /// How many items are in `node` and below.
    count: usize,
    node: Arc<Node<M, T>>,
}

impl<M, T> Clone for Child<M, T> {
    fn clone(&self) -> Self {
        Self {
            count: self.count,
            node: Arc::clone(&self.node),
        }
    }
}

impl<M, T> Clone for Tree<M, T> {
    /// Takes no time to speak of, whatever the tree holds.
    fn clone(&self) -> Self {
        Self {
            root: Arc::clone(&self.root),
            count: self.count,
        }
    }
}

impl<M: Major, T: Clone> Default for Tree<M, T> {
    fn default() -> Self {
        Self {
            root: Arc::new(Node::leaf()),
            count: 0,
        }
    }
}

impl<M: Major, T: fmt::Debug> fmt::Debug for Tree<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The way to one item: what to do at each node on it.
trait Way<M, T> {
    /// `Ok` of the item's place in this node, or `Err` of the child below which it is; in a leaf `Err` says
    /// where it would have to be.
    fn step(&mut self, node: &Node<M, T>) -> Result<usize, usize>;
}

/// What all majors of a node lie between; `None`: nothing is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds<M> {
    low: Option<M>,
    high: Option<M>,
}

impl<M: Major> Bounds<M> {
    const NONE: Self = Self {
        low: None,
        high: None,
    };

    /// Both of them included.
    pub(crate) fn between(low: M, high: M) -> Self {
        Self {
            low: Some(low),
            high: Some(high),
        }
    }

    /// Of the child at `place` of a node that has these.
    fn below<T>(self, node: &Node<M, T>, place: usize) -> Self {
        let majors = &node.majors[..node.items.len()];
        let before = place.checked_sub(1).and_then(|before| majors.get(before));
        Self {
            low: before.copied().or(self.low),
            high: majors.get(place).copied().or(self.high),
        }
    }
}

/// The way to the item that compares as equal.
struct Search<M, F> {
    major: M,
    compare: F,
    /// Of the node that comes next.
    bounds: Bounds<M>,
}

impl<M: Major, F> Search<M, F> {
    fn new(major: M, compare: F) -> Self {
        Self::within(Bounds::NONE, major, compare)
    }

    fn within(bounds: Bounds<M>, major: M, compare: F) -> Self {
        Self {
            major,
            compare,
            bounds,
        }
    }
}

impl<M: Major, T, F: Fn(&T) -> Ordering> Way<M, T> for Search<M, F> {
    fn step(&mut self, node: &Node<M, T>) -> Result<usize, usize> {
        let majors = &node.majors[..node.items.len()];
        let first = node.place_of(self.major, self.bounds);
        let found = match majors.get(first) == Some(&self.major) {
            true => {
                // Mostly it is one, and the majors far behind it are nowhere near.
                let equal = match majors.get(first + 1) == Some(&self.major) {
                    true => majors[first..].partition_point(|major| *major == self.major),
                    false => 1,
                };
                let found = node.items[first..first + equal].binary_search_by(&self.compare);
                found.map(|at| first + at).map_err(|at| first + at)
            }
            false => Err(first),
        };
        if let Err(place) = found {
            self.bounds = self.bounds.below(node, place);
        }
        found
    }
}

/// The way to the nth item.
struct At(usize);

impl<M, T> Way<M, T> for At {
    fn step(&mut self, node: &Node<M, T>) -> Result<usize, usize> {
        if node.children.is_empty() {
            return match self.0 < node.items.len() {
                true => Ok(self.0),
                false => Err(self.0),
            };
        }
        for (place, child) in node.children[..node.items.len()].iter().enumerate() {
            match self.0.cmp(&child.count) {
                Ordering::Less => return Err(place),
                Ordering::Equal => return Ok(place),
                Ordering::Greater => self.0 -= child.count + 1,
            }
        }
        Err(node.items.len())
    }
}

/// The way to the place before the nth item, where a new one may be put; never `Ok`.
struct Before(usize);

impl<M, T> Way<M, T> for Before {
    fn step(&mut self, node: &Node<M, T>) -> Result<usize, usize> {
        if node.children.is_empty() {
            return Err(self.0);
        }
        for (place, child) in node.children[..node.items.len()].iter().enumerate() {
            if self.0 <= child.count {
                return Err(place);
            }
            self.0 -= child.count + 1;
        }
        Err(node.items.len())
    }
}

/// The way to the last item.
struct Last;

impl<M, T> Way<M, T> for Last {
    fn step(&mut self, node: &Node<M, T>) -> Result<usize, usize> {
        match node.children.is_empty() {
            true => node.items.len().checked_sub(1).ok_or(0),
            false => Err(node.items.len()),
        }
    }
}

/// What comes of putting an item into a node.
enum Put<M, T> {
    Done,
    /// There was an equal one.
    Replaced(T),
    /// The node was full, and has handed its upper half over.
    Split {
        major: M,
        middle: T,
        upper: Child<M, T>,
    },
}

impl<M: Major, T> Node<M, T> {
    fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// How many majors are less than this one.
    fn place_of(&self, major: M, bounds: Bounds<M>) -> usize {
        let majors = &self.majors[..self.items.len()];
        let is_less = |it: &M| *it < major;
        let Some(place) = major.expected_place(bounds.low, bounds.high, majors.len()) else {
            return majors.partition_point(is_less);
        };
        let mut reach = REACH;
        loop {
            let low = place.saturating_sub(reach);
            let high = (place + reach).min(majors.len());
            let is_above = low == 0 || is_less(&majors[low - 1]);
            if is_above && !majors.get(high).is_some_and(is_less) {
                return low + majors[low..high].partition_point(is_less);
            }
            reach *= 4;
        }
    }
}

impl<M: Major, T: Clone> Node<M, T> {
    fn leaf() -> Self {
        Self {
            majors: [M::default(); NODE_ITEMS_MAX],
            items: Vec::new(),
            children: Vec::new(),
        }
    }

    fn count(&self) -> usize {
        self.items.len() + self.children.iter().map(|it| it.count).sum::<usize>()
    }

    fn put(&mut self, place: usize, major: M, item: T) {
        let count = self.items.len();
        self.majors.copy_within(place..count, place + 1);
        self.majors[place] = major;
        if count == self.items.capacity() {
            self.items.reserve_exact(NODE_ROOM_STEP);
        }
        self.items.insert(place, item);
    }

    fn take(&mut self, place: usize) -> (M, T) {
        let major = self.majors[place];
        self.majors.copy_within(place + 1..self.items.len(), place);
        (major, self.items.remove(place))
    }

    /// Divides a full node before something is put at `place`: (major, item) in the middle, and what is above.
    fn split(&mut self, place: usize) -> (M, T, Self) {
        // Whoever fills a tree from one end to the other gets full nodes rather than half empty ones.
        let middle = match place {
            0 => 1,
            place if place == self.items.len() => self.items.len() - 2,
            _ => self.items.len() / 2,
        };
        let mut upper = Self::leaf();
        upper.majors[..self.items.len() - middle - 1]
            .copy_from_slice(&self.majors[middle + 1..self.items.len()]);
        upper.items = self.items.split_off(middle + 1);
        if !self.is_leaf() {
            upper.children = self.children.split_off(middle + 1);
        }
        let item = self.items.pop().expect("the middle of a full node");
        self.items.shrink_to(self.items.len() + NODE_ROOM_STEP);
        (self.majors[middle], item, upper)
    }

    /// Puts an item at `place`, and `right` (in an inner node) to the right of it.
    fn add(&mut self, place: usize, major: M, item: T, right: Option<Child<M, T>>) -> Put<M, T> {
        if self.items.len() < NODE_ITEMS_MAX {
            self.put(place, major, item);
            if let Some(right) = right {
                self.children.insert(place + 1, right);
            }
            return Put::Done;
        }
        let (middle_major, middle, mut upper) = self.split(place);
        let lower_count = self.items.len();
        let (half, place) = match place <= lower_count {
            true => (&mut *self, place),
            false => (&mut upper, place - lower_count - 1),
        };
        half.put(place, major, item);
        if let Some(right) = right {
            half.children.insert(place + 1, right);
        }
        Put::Split {
            major: middle_major,
            middle,
            upper: Child {
                count: upper.count(),
                node: Arc::new(upper),
            },
        }
    }

    fn insert(&mut self, way: &mut impl Way<M, T>, major: M, item: T) -> Put<M, T> {
        let place = match way.step(self) {
            Ok(place) => return Put::Replaced(std::mem::replace(&mut self.items[place], item)),
            Err(place) => place,
        };
        if self.is_leaf() {
            return self.add(place, major, item, None);
        }
        let child = &mut self.children[place];
        match Arc::make_mut(&mut child.node).insert(way, major, item) {
            Put::Done => {
                child.count += 1;
                Put::Done
            }
            Put::Split {
                major,
                middle,
                upper,
            } => {
                child.count -= upper.count; // one was put below, and the middle is taken out
                self.add(place, major, middle, Some(upper))
            }
            replaced @ Put::Replaced(_) => replaced,
        }
    }

    fn remove(&mut self, way: &mut impl Way<M, T>) -> Option<(M, T)> {
        let place = match way.step(self) {
            Ok(place) if self.is_leaf() => return Some(self.take(place)),
            Ok(place) => {
                // The last item of the child before it takes its place.
                let child = &mut self.children[place];
                let (major, item) = Arc::make_mut(&mut child.node).remove(&mut Last)?;
                child.count -= 1;
                let removed = (
                    std::mem::replace(&mut self.majors[place], major),
                    std::mem::replace(&mut self.items[place], item),
                );
                self.fill(place);
                return Some(removed);
            }
            Err(_) if self.is_leaf() => return None,
            Err(place) => place,
        };
        let child = &mut self.children[place];
        let removed = Arc::make_mut(&mut child.node).remove(way)?;
        child.count -= 1;
        self.fill(place);
        Some(removed)
    }

    /// Sees to it that the child at `place`, which has lost an item, does not have too few.
    fn fill(&mut self, place: usize) {
        if self.children[place].node.items.len() >= NODE_ITEMS_FEW {
            return;
        }
        let left = place.saturating_sub(1);
        let total =
            (self.children[left].node.items.len()) + (self.children[left + 1].node.items.len()) + 1;
        if total <= NODE_ITEMS_MAX {
            self.merge(left);
        } else if left == place {
            self.move_down(left);
        } else {
            self.move_up(left);
        }
    }

    /// Makes one of the children at `left` and right of it, with the item between them.
    fn merge(&mut self, left: usize) {
        let (major, item) = self.take(left);
        let mut upper = self.children.remove(left + 1);
        let lower = &mut self.children[left];
        lower.count += 1 + upper.count;
        let lower = Arc::make_mut(&mut lower.node);
        let upper = Arc::make_mut(&mut upper.node);
        let count = lower.items.len();
        lower.majors[count] = major;
        lower.majors[count + 1..=count + upper.items.len()]
            .copy_from_slice(&upper.majors[..upper.items.len()]);
        lower.items.reserve_exact(1 + upper.items.len());
        lower.items.push(item);
        lower.items.append(&mut upper.items);
        lower.children.append(&mut upper.children);
    }

    /// Moves one item from the right of the child at `left` to its end.
    fn move_down(&mut self, left: usize) {
        let (lower, upper) = self.pair(left);
        let from = Arc::make_mut(&mut upper.node);
        let (major, item) = from.take(0);
        let moved = (!from.is_leaf()).then(|| from.children.remove(0));
        let weight = 1 + moved.as_ref().map_or(0, |it| it.count);
        upper.count -= weight;
        lower.count += weight;
        let major = std::mem::replace(&mut self.majors[left], major);
        let item = std::mem::replace(&mut self.items[left], item);
        let to = Arc::make_mut(&mut self.children[left].node);
        to.put(to.items.len(), major, item);
        to.children.extend(moved);
    }

    /// Moves one item from the end of the child at `left` to the right of it.
    fn move_up(&mut self, left: usize) {
        let (lower, upper) = self.pair(left);
        let from = Arc::make_mut(&mut lower.node);
        let (major, item) = from.take(from.items.len() - 1);
        let moved = from.children.pop();
        let weight = 1 + moved.as_ref().map_or(0, |it| it.count);
        lower.count -= weight;
        upper.count += weight;
        let major = std::mem::replace(&mut self.majors[left], major);
        let item = std::mem::replace(&mut self.items[left], item);
        let to = Arc::make_mut(&mut self.children[left + 1].node);
        to.put(0, major, item);
        if let Some(moved) = moved {
            to.children.insert(0, moved);
        }
    }

    fn pair(&mut self, left: usize) -> (&mut Child<M, T>, &mut Child<M, T>) {
        let (lower, upper) = self.children.split_at_mut(left + 1);
        (&mut lower[left], &mut upper[0])
    }
}

impl<M: Major, T> Tree<M, T> {
    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn find(&self, way: &mut impl Way<M, T>) -> Option<(M, &T)> {
        let mut node = &*self.root;
        loop {
            match way.step(node) {
                Ok(place) => return Some((node.majors[place], &node.items[place])),
                Err(place) => node = &node.children.get(place)?.node,
            }
        }
    }

    /// The item that `compare` (item against what is sought) finds equal among those of this major, where all majors are
    /// known to lie within `bounds`.
    pub(crate) fn get_within(
        &self,
        bounds: Bounds<M>,
        major: M,
        compare: impl Fn(&T) -> Ordering,
    ) -> Option<&T> {
        self.find(&mut Search::within(bounds, major, compare))
            .map(|(_, item)| item)
    }

    /// Reads what a search for this major reads first, so that it comes from memory. Nothing of it depends on anything
    /// else that is read, as long as the tree is one node.
    pub(crate) fn look(&self, bounds: Bounds<M>, major: M) {
        black_box(self.root.items.len());
        let count = self.count.min(NODE_ITEMS_MAX);
        if let Some(place) = major.expected_place(bounds.low, bounds.high, count) {
            for at in [place.saturating_sub(REACH + 1), place, place + REACH] {
                black_box(self.root.majors.get(at).copied());
            }
        }
    }

    /// The item of the uppermost node that a search for this major comes to or passes.
    pub(crate) fn passed(&self, bounds: Bounds<M>, major: M) -> Option<&T> {
        self.root.items.get(self.root.place_of(major, bounds))
    }

    /// The item that has `place` others before it.
    #[must_use]
    pub fn nth(&self, place: usize) -> Option<(M, &T)> {
        self.find(&mut At(place))
    }

    /// The first item.
    #[must_use]
    pub fn first(&self) -> Option<(M, &T)> {
        self.nth(0)
    }

    /// How many items stand before the one that compares as equal; where it would stand if there is none.
    ///
    /// # Errors
    /// There is none.
    pub fn rank(&self, major: M, compare: impl Fn(&T) -> Ordering) -> Result<usize, usize> {
        let mut search = Search::new(major, compare);
        let mut node = &*self.root;
        let mut before = 0;
        loop {
            let step = search.step(node);
            let place = step.unwrap_or_else(|place| place);
            let through = match step {
                Ok(place) => (place + 1).min(node.children.len()),
                Err(place) => place.min(node.children.len()),
            };
            before += place
                + node.children[..through]
                    .iter()
                    .map(|it| it.count)
                    .sum::<usize>();
            match (step, node.children.get(place)) {
                (Ok(_), _) => return Ok(before),
                (Err(_), None) => return Err(before),
                (Err(_), Some(child)) => node = &child.node,
            }
        }
    }

    /// How many items stand before the first one of which `is_before` does not hold. It must hold of some at
    /// the beginning, and of no others.
    pub fn partition_point(&self, is_before: impl Fn(M, &T) -> bool) -> usize {
        let mut node = &*self.root;
        let mut before = 0;
        loop {
            let (mut low, mut high) = (0, node.items.len());
            while low < high {
                let middle = usize::midpoint(low, high);
                match is_before(node.majors[middle], &node.items[middle]) {
                    true => low = middle + 1,
                    false => high = middle,
                }
            }
            let through = low.min(node.children.len());
            let below = node.children[..through].iter().map(|it| it.count);
            before += low + below.sum::<usize>();
            match node.children.get(low) {
                Some(child) => node = &child.node,
                None => return before,
            }
        }
    }

    /// All items in order.
    pub fn iter(&self) -> Iter<'_, M, T> {
        self.iter_from(0)
    }

    /// The items in order, from the one on that has `place` others before it.
    pub fn iter_from(&self, place: usize) -> Iter<'_, M, T> {
        let mut path = Vec::new();
        let mut node = &*self.root;
        let mut rest = place;
        loop {
            let step = Before(rest).place(node);
            path.push((node, step.0));
            rest = step.1;
            match node.children.get(step.0) {
                Some(child) => node = &child.node,
                None => return Iter { path },
            }
        }
    }

    /// The items in reverse order, from the one on that has `place` others before it.
    pub fn iter_back_from(&self, place: usize) -> IterBack<'_, M, T> {
        // The place between it and the next one: what stands before it comes first.
        let Iter { path } = self.iter_from(place.saturating_add(1).min(self.count));
        IterBack { path }
    }
}

impl Before {
    /// The place in this node, and what is left to go below it.
    fn place<M, T>(mut self, node: &Node<M, T>) -> (usize, usize) {
        let step = self.step(node);
        let place = step.unwrap_or_else(|place| place);
        (place.min(node.items.len()), self.0)
    }
}

impl<M: Major, T: Clone> Tree<M, T> {
    /// Like [`Tree::get_within`], to be changed in place: but not so that its order changes.
    ///
    /// Copies nodes that are shared even if there is no such item.
    pub(crate) fn get_mut_within(
        &mut self,
        bounds: Bounds<M>,
        major: M,
        compare: impl Fn(&T) -> Ordering,
    ) -> Option<&mut T> {
        self.find_mut(&mut Search::within(bounds, major, compare))
    }

    /// Like [`Tree::nth`], to be changed in place: but not so that its order changes.
    pub fn nth_mut(&mut self, place: usize) -> Option<&mut T> {
        self.find_mut(&mut At(place))
    }

    fn find_mut(&mut self, way: &mut impl Way<M, T>) -> Option<&mut T> {
        let mut node = Arc::make_mut(&mut self.root);
        loop {
            match way.step(node) {
                Ok(place) => return Some(&mut node.items[place]),
                Err(place) => node = Arc::make_mut(&mut node.children.get_mut(place)?.node),
            }
        }
    }

    /// Puts an item in where `compare` (an item of the tree against the new one) says; one that is equal is
    /// replaced and handed back.
    pub fn insert(&mut self, major: M, item: T, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        self.insert_on(&mut Search::new(major, compare), major, item)
    }

    /// Like [`Tree::insert`], where all majors are known to lie within `bounds`.
    pub(crate) fn insert_within(
        &mut self,
        bounds: Bounds<M>,
        major: M,
        item: T,
        compare: impl Fn(&T) -> Ordering,
    ) -> Option<T> {
        self.insert_on(&mut Search::within(bounds, major, compare), major, item)
    }

    /// Puts an item in so that `place` others stand before it; at the end if there are fewer. Where the tree
    /// has an order, it must fit in there.
    pub fn insert_at(&mut self, place: usize, major: M, item: T) {
        self.insert_on(&mut Before(place.min(self.count)), major, item);
    }

    /// Puts an item at the end. Where the tree has an order, it must fit in there.
    pub fn push(&mut self, major: M, item: T) {
        self.insert_at(self.count, major, item);
    }

    fn insert_on(&mut self, way: &mut impl Way<M, T>, major: M, item: T) -> Option<T> {
        let root = Arc::make_mut(&mut self.root);
        match root.insert(way, major, item) {
            Put::Replaced(old) => return Some(old),
            Put::Done => {}
            Put::Split {
                major,
                middle,
                upper,
            } => {
                let mut top = Node::leaf();
                top.put(0, major, middle);
                let lower = std::mem::replace(&mut self.root, Arc::new(Node::leaf()));
                top.children.push(Child {
                    count: self.count - upper.count,
                    node: lower,
                });
                top.children.push(upper);
                self.root = Arc::new(top);
            }
        }
        self.count += 1;
        None
    }

    /// Takes the item out that compares as equal.
    pub fn remove(&mut self, major: M, compare: impl Fn(&T) -> Ordering) -> Option<T> {
        self.remove_on(&mut Search::new(major, compare))
            .map(|(_, item)| item)
    }

    /// Like [`Tree::remove`], where all majors are known to lie within `bounds`.
    pub(crate) fn remove_within(
        &mut self,
        bounds: Bounds<M>,
        major: M,
        compare: impl Fn(&T) -> Ordering,
    ) -> Option<T> {
        self.remove_on(&mut Search::within(bounds, major, compare))
            .map(|(_, item)| item)
    }

    /// Takes out all items that have `place` others or more before them. Takes time in proportion to how many there are,
    /// unless the tree is one node, or all stand on one side.
    pub(crate) fn split_off(&mut self, place: usize) -> Self {
        if place == 0 {
            return std::mem::take(self);
        }
        if place >= self.count {
            return Self::default();
        }
        let mut upper = Self::default();
        if self.root.is_leaf() {
            let lower = Arc::make_mut(&mut self.root);
            let node = Arc::make_mut(&mut upper.root);
            node.majors[..lower.items.len() - place]
                .copy_from_slice(&lower.majors[place..lower.items.len()]);
            node.items = lower.items.split_off(place);
            lower.items.shrink_to(place + NODE_ROOM_STEP);
            upper.count = node.items.len();
            self.count = place;
            return upper;
        }
        let mut lower = Self::default();
        for (at, (major, item)) in self.iter().enumerate() {
            let half = if at < place { &mut lower } else { &mut upper };
            half.push(major, item.clone());
        }
        *self = lower;
        upper
    }

    /// Takes the item out that has `place` others before it.
    pub fn remove_at(&mut self, place: usize) -> Option<(M, T)> {
        self.remove_on(&mut At(place))
    }

    fn remove_on(&mut self, way: &mut impl Way<M, T>) -> Option<(M, T)> {
        let root = Arc::make_mut(&mut self.root);
        let removed = root.remove(way)?;
        self.count -= 1;
        if root.items.is_empty()
            && let Some(only) = root.children.pop()
        {
            self.root = only.node;
        }
        Some(removed)
    }
}

//! The tree against plain vectors: whatever is done to it, and clones that must not change.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod model;

use proptest::collection::vec;
use proptest::prelude::*;

use model::{Modelled, step, walk};
use standin_kv::tree::Tree;

/// An item: its major is a function of its number under which many are alike.
type Item = (u16, u32);

fn major(number: u16) -> u64 {
    u64::from(number / 300)
}

/// A tree, and the vector that it must be like.
#[derive(Clone, Default)]
struct Pair {
    tree: Tree<u64, Item>,
    model: Vec<Item>,
}

impl Pair {
    fn find(&self, number: u16) -> Result<usize, usize> {
        self.model.binary_search_by_key(&number, |item| item.0)
    }
}

impl Modelled for Pair {
    fn len(&self) -> usize {
        self.model.len()
    }

    fn insert(&mut self, number: u16, value: u32) {
        let old = (self.tree).insert(major(number), (number, value), |it| it.0.cmp(&number));
        let expected = match self.find(number) {
            Ok(at) => Some(std::mem::replace(&mut self.model[at], (number, value))),
            Err(at) => {
                self.model.insert(at, (number, value));
                None
            }
        };
        assert_eq!(old, expected);
    }

    fn remove(&mut self, number: u16) {
        let removed = (self.tree).remove(major(number), |it| it.0.cmp(&number));
        let expected = self.find(number).ok().map(|at| self.model.remove(at));
        assert_eq!(removed, expected);
    }

    fn change(&mut self, place: usize, value: u32) {
        self.tree.nth_mut(place).unwrap().1 = value;
        self.model[place].1 = value;
    }

    fn remove_at(&mut self, place: usize) {
        let (removed_major, removed) = self.tree.remove_at(place).unwrap();
        assert_eq!(removed, self.model.remove(place));
        assert_eq!(removed_major, major(removed.0));
    }

    fn check(&self) {
        assert_eq!(self.tree.len(), self.model.len());
        let items: Vec<Item> = self.tree.iter().map(|(_, item)| *item).collect();
        assert_eq!(items, self.model);
        assert!(self.tree.iter().all(|(at, item)| at == major(item.0)));
        for place in [0, 1, self.model.len() / 3, self.model.len()] {
            let forth = self.tree.iter_from(place).map(|(_, item)| item);
            assert!(forth.eq(&self.model[place.min(self.model.len())..]));
            let back = self.tree.iter_back_from(place).map(|(_, item)| item);
            let end = (place + 1).min(self.model.len());
            assert!(back.eq(self.model[..end].iter().rev()));
        }
        for at in (0..self.model.len()).step_by(7) {
            let item = self.model[at];
            assert_eq!(self.tree.nth(at), Some((major(item.0), &item)));
            let number = item.0;
            let rank = self.tree.rank(major(number), |it| it.0.cmp(&number));
            assert_eq!(rank, Ok(at));
        }
        for number in (0..60_000).step_by(1777) {
            let rank = self.tree.rank(major(number), |it| it.0.cmp(&number));
            assert_eq!(rank, self.find(number));
            let (Ok(place) | Err(place)) = self.find(number);
            let before = self.tree.partition_point(|_, item| item.0 < number);
            assert_eq!(before, place);
        }
        assert_eq!(self.tree.nth(self.model.len()), None);
        assert_eq!(self.tree.nth(usize::MAX), None);
        assert_eq!(self.tree.first().map(|(_, it)| it), self.model.first());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_ordered_tree_is_like_a_sorted_vector(steps in vec(step(600, 900), 1..80)) {
        walk(Pair::default(), &steps);
    }

    #[test]
    fn a_list_is_like_a_vector(
        steps in vec((any::<prop::sample::Index>(), 0..5u8, 0..300u16), 1..60)
    ) {
        let mut tree: Tree<(), u32> = Tree::default();
        let mut model: Vec<u32> = Vec::new();
        let mut next = 0;
        for (at, kind, count) in steps {
            for _ in 0..count {
                next += 1;
                let within = at.index(model.len() + 1);
                match kind {
                    0 => { tree.push((), next); model.push(next); }
                    1 => { tree.insert_at(0, (), next); model.insert(0, next); }
                    2 => { tree.insert_at(within, (), next); model.insert(within, next); }
                    3 => {
                        let expected = (within < model.len()).then(|| model.remove(within));
                        prop_assert_eq!(tree.remove_at(within).map(|(_, it)| it), expected);
                    }
                    _ => {
                        if let Some(item) = tree.nth_mut(within) {
                            *item += 1_000_000;
                            model[within] += 1_000_000;
                        }
                    }
                }
            }
        }
        prop_assert!(tree.iter().map(|(_, it)| it).eq(&model));
        prop_assert_eq!(tree.len(), model.len());
        for place in 0..model.len() {
            prop_assert_eq!(tree.nth(place).map(|(_, it)| it), model.get(place));
        }
    }
}

//! The tree against plain vectors: whatever is done to it, and clones that must not change.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use proptest::collection::vec;
use proptest::prelude::*;

use standin_kv::tree::Tree;

/// What may be done to an ordered tree.
#[derive(Clone, Debug)]
enum Step {
    Insert(u16),
    Remove(u16),
    Change(prop::sample::Index),
    RemoveAt(prop::sample::Index),
    /// Many at once, in order, from here on.
    Run(u16, u16),
    /// Takes so many out from here on.
    Cut(u16, u16),
    Clone,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<u16>().prop_map(Step::Insert),
        4 => any::<u16>().prop_map(Step::Remove),
        2 => any::<prop::sample::Index>().prop_map(Step::Change),
        3 => any::<prop::sample::Index>().prop_map(Step::RemoveAt),
        2 => (any::<u16>(), 0..600u16).prop_map(|(from, count)| Step::Run(from, count)),
        2 => (any::<u16>(), 0..900u16).prop_map(|(from, count)| Step::Cut(from, count)),
        1 => Just(Step::Clone),
    ]
}

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

    fn take(&mut self, step: &Step, value: u32) {
        match step {
            Step::Insert(number) => self.insert(*number, value),
            Step::Remove(number) => self.remove(*number),
            Step::Change(at) => {
                if !self.model.is_empty() {
                    let at = at.index(self.model.len());
                    self.tree.nth_mut(at).unwrap().1 = value;
                    self.model[at].1 = value;
                }
            }
            Step::RemoveAt(at) => {
                if !self.model.is_empty() {
                    let at = at.index(self.model.len());
                    let (removed_major, removed) = self.tree.remove_at(at).unwrap();
                    assert_eq!(removed, self.model.remove(at));
                    assert_eq!(removed_major, major(removed.0));
                }
            }
            Step::Run(from, count) => {
                for number in *from..from.saturating_add(*count) {
                    self.insert(number, value);
                }
            }
            Step::Cut(from, count) => {
                for number in *from..from.saturating_add(*count) {
                    self.remove(number);
                }
            }
            Step::Clone => unreachable!("whoever runs the steps clones"),
        }
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
    fn an_ordered_tree_is_like_a_sorted_vector(steps in vec(step(), 1..80)) {
        let mut pair = Pair::default();
        let mut clones = Vec::new();
        for (value, step) in (0..).zip(&steps) {
            match step {
                Step::Clone => clones.push(pair.clone()),
                step => pair.take(step, value),
            }
        }
        pair.check();
        for clone in &clones {
            clone.check();
        }
        // A clone goes on by itself as well.
        if let Some(mut clone) = clones.pop() {
            for step in steps.iter().filter(|step| !matches!(step, Step::Clone)) {
                clone.take(step, u32::MAX);
            }
            clone.check();
            pair.check();
        }
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

//! What is done to a structure and to the vector that it must be like, and to clones, which must not change meanwhile.

use proptest::prelude::*;
use proptest::sample::Index;

/// What may be done.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Insert(u16),
    Remove(u16),
    Change(Index),
    RemoveAt(Index),
    /// Many at once, from here on.
    Run(u16, u16),
    /// Takes so many out from here on.
    Cut(u16, u16),
    Clone,
}

/// A step, of at most so many at once.
pub(crate) fn step(run: u16, cut: u16) -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => any::<u16>().prop_map(Step::Insert),
        4 => any::<u16>().prop_map(Step::Remove),
        2 => any::<Index>().prop_map(Step::Change),
        3 => any::<Index>().prop_map(Step::RemoveAt),
        3 => (any::<u16>(), 0..run).prop_map(|(from, count)| Step::Run(from, count)),
        2 => (any::<u16>(), 0..cut).prop_map(|(from, count)| Step::Cut(from, count)),
        1 => Just(Step::Clone),
    ]
}

/// A structure together with its vector. Each panics if the two are not alike.
pub(crate) trait Modelled: Clone {
    fn len(&self) -> usize;
    fn insert(&mut self, number: u16, value: u32);
    fn remove(&mut self, number: u16);
    fn change(&mut self, place: usize, value: u32);
    fn remove_at(&mut self, place: usize);
    fn check(&self);
}

fn take(pair: &mut impl Modelled, step: &Step, value: u32) {
    match step {
        Step::Insert(number) => pair.insert(*number, value),
        Step::Remove(number) => pair.remove(*number),
        Step::Change(at) if pair.len() > 0 => pair.change(at.index(pair.len()), value),
        Step::RemoveAt(at) if pair.len() > 0 => pair.remove_at(at.index(pair.len())),
        Step::Run(from, count) => {
            (*from..from.saturating_add(*count)).for_each(|number| pair.insert(number, value));
        }
        Step::Cut(from, count) => {
            (*from..from.saturating_add(*count)).for_each(|number| pair.remove(number));
        }
        Step::Change(_) | Step::RemoveAt(_) | Step::Clone => {}
    }
}

/// Takes all steps, and checks what has come of it.
pub(crate) fn walk(mut pair: impl Modelled, steps: &[Step]) {
    let mut clones = Vec::new();
    for (value, step) in (0..).zip(steps) {
        if matches!(step, Step::Clone) {
            clones.push(pair.clone());
        }
        take(&mut pair, step, value);
    }
    pair.check();
    for clone in &clones {
        clone.check();
    }
    // A clone goes on by itself as well.
    if let Some(mut clone) = clones.pop() {
        for step in steps {
            take(&mut clone, step, u32::MAX);
        }
        clone.check();
        pair.check();
    }
}

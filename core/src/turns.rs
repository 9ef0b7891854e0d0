//! Queues of several parties, who come in turn.

use std::collections::{BTreeMap, VecDeque};

/// What waits of each party, oldest first, and whose turn it is.
#[derive(Clone, Debug)]
pub struct Turns<K, T> {
    /// None is empty.
    queues: BTreeMap<K, VecDeque<T>>,
    /// All that have a queue, in the order of their turns; but for whoever has the turn now.
    order: VecDeque<K>,
    current: Option<K>,
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            order: VecDeque::new(),
            current: None,
        }
    }
}

impl<K: Copy + Ord, T> Turns<K, T> {
    /// Adds something of a party's, behind all else of it.
    pub fn push(&mut self, party: K, item: T) {
        let queue = self.queues.entry(party).or_default();
        if queue.is_empty() && self.current != Some(party) {
            self.order.push_back(party);
        }
        queue.push_back(item);
    }

    /// Begins the turn of the next party. It has to be [ended](Turns::end_turn).
    pub fn begin_turn(&mut self) -> Option<K> {
        self.current = self.order.pop_front();
        self.current
    }

    /// The next thing of the party whose turn it is.
    pub fn next_of(&mut self, party: K) -> Option<T> {
        self.queues.get_mut(&party)?.pop_front()
    }

    /// Ends a party's turn: its next comes after those of all others.
    pub fn end_turn(&mut self, party: K) {
        self.current = None;
        match self.queues.get(&party).map(VecDeque::is_empty) {
            Some(true) => _ = self.queues.remove(&party),
            Some(false) => self.order.push_back(party),
            None => {}
        }
    }

    /// One thing of whoever's turn it is, which ends with that.
    pub fn pop(&mut self) -> Option<T> {
        let party = self.begin_turn()?;
        let item = self.next_of(party);
        self.end_turn(party);
        item
    }

    /// Takes all of the party whose turn it is, and ends its turn.
    pub fn take_all(&mut self, party: K) -> VecDeque<T> {
        self.current = None;
        self.queues.remove(&party).unwrap_or_default()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_come_in_turn_and_each_in_its_order() {
        let mut turns = Turns::default();
        for (party, item) in [(1, 'a'), (1, 'b'), (1, 'c'), (2, 'd'), (3, 'e'), (2, 'f')] {
            turns.push(party, item);
        }
        let taken: String = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(taken, "adebfc");
        assert!(turns.is_empty());
    }

    #[test]
    fn whoever_has_more_after_its_turn_comes_last() {
        let mut turns = Turns::default();
        turns.push(1, 'a');
        turns.push(1, 'b');
        turns.push(2, 'c');
        let party = turns.begin_turn().unwrap();
        assert_eq!(turns.next_of(party), Some('a'));
        assert_eq!(turns.next_of(party), Some('b'));
        turns.push(1, 'b');
        turns.push(1, 'd');
        turns.end_turn(party);
        assert_eq!(turns.begin_turn(), Some(2));
        assert_eq!(turns.take_all(2), ['c']);
        let taken: String = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(taken, "bd");
    }
}

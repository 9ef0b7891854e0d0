//! A table of keys in the order of their hashes: the same order on every replica, whatever led to it.

use std::cmp::Ordering;
use std::fmt;
use std::hint::black_box;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::directory::{Directory, Iter};
use crate::text::Text;

/// Seed of the hash that keys are ordered by. Part of the format: cursors of SCAN and captures rest on it.
const HASH_SEED: u64 = 0x7374_616e_6469_6e00;

/// A key together with its hash, which is computed once for each command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The key itself.
    pub bytes: &'a [u8],
    /// Its place in the order, before all others of the same hash that are greater as bytes.
    pub hash: u64,
}

impl<'a> Key<'a> {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            hash: xxh3_64_with_seed(bytes, HASH_SEED),
        }
    }
}

/// What stands in [`Members`]: anything that has a key.
pub trait Member: Clone {
    /// Its key, which never changes.
    fn key(&self) -> &[u8];
}

impl Member for Text {
    fn key(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<V: Clone> Member for (Text, V) {
    fn key(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Members, each under its key, ordered by (hash of the key, key). A clone takes no time to speak of.
pub struct Members<T>(Directory<T>);

impl<T> Clone for Members<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Member> Default for Members<T> {
    fn default() -> Self {
        Self(Directory::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Members<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn by_key<T: Member>(key: &[u8]) -> impl Fn(&T) -> Ordering {
    move |item| item.key().cmp(key)
}

impl<T: Member> Members<T> {
    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The member of this key.
    #[must_use]
    pub fn get(&self, key: Key<'_>) -> Option<&T> {
        self.0.get(key.hash, by_key(key.bytes))
    }

    /// Brings into the caches what is looked at when the members of the keys with these hashes are sought. It has no other
    /// effect.
    pub fn prefetch(&self, hashes: &[u64]) {
        self.0.prefetch(hashes, |item| {
            black_box(item.key().first().copied());
        });
    }

    /// The member of this key, to be changed in all but its key.
    pub fn get_mut(&mut self, key: Key<'_>) -> Option<&mut T> {
        self.0.get_mut(key.hash, by_key(key.bytes))
    }

    /// Puts a member in, whose key `key` is. One of the same key is replaced, and handed back.
    pub fn insert(&mut self, key: Key<'_>, member: T) -> Option<T> {
        debug_assert_eq!(key.bytes, member.key(), "a member under another's key");
        self.0.insert(key.hash, member, by_key(key.bytes))
    }

    /// Takes the member of this key out.
    pub fn remove(&mut self, key: Key<'_>) -> Option<T> {
        self.0.remove(key.hash, by_key(key.bytes))
    }

    /// The member that has `place` others before it.
    #[must_use]
    pub fn nth(&self, place: usize) -> Option<&T> {
        self.0.nth(place).map(|(_, item)| item)
    }

    /// Takes the member out that has `place` others before it.
    pub fn remove_at(&mut self, place: usize) -> Option<T> {
        self.0.remove_at(place).map(|(_, item)| item)
    }

    /// All members with their hashes, in order.
    pub fn iter(&self) -> Iter<'_, T> {
        self.0.iter()
    }

    /// One step of a walk over all members, as SCAN and its like make it: hands about `count` members from
    /// `cursor` on to `take`, and says where to go on; 0 when all were handed out.
    ///
    /// `take` says whether it has taken the member. If it has not, since it has no room, the step ends before that
    /// one; where it is told `true` it must have room, as the step may not end there.
    ///
    /// A cursor is the hash of the member that comes next, and members of equal hash go together. So whoever
    /// is there from the beginning of a walk to its end is handed out exactly once, whatever happens to others.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut take: impl FnMut(&'a T, bool) -> bool,
    ) -> u64 {
        let mut last = None;
        for (done, (hash, item)) in self.0.iter_from(cursor).enumerate() {
            // At least one is handed out, else no walk would come to an end.
            let may_end = last.is_some_and(|last| last != hash);
            if may_end && (done >= count || !take(item, false)) {
                return hash;
            }
            if !may_end {
                take(item, true);
            }
            last = Some(hash);
        }
        0
    }
}

/// Puts members together that come in order, as they stand in captures.
#[derive(Debug)]
pub struct InOrder<T> {
    members: Members<T>,
    /// The last one that came, with its hash: it is put in when the next one has been compared with it.
    last: Option<(u64, T)>,
}

impl<T: Member> Default for InOrder<T> {
    fn default() -> Self {
        Self {
            members: Members::default(),
            last: None,
        }
    }
}

impl<T: Member> InOrder<T> {
    /// Takes the next member, whose key must come after all others: hands it back if it does not.
    ///
    /// # Errors
    /// It does not come after all others.
    pub fn push(&mut self, member: T) -> Result<(), T> {
        let Key { hash, bytes } = Key::new(member.key());
        if let Some((last_hash, last)) = &self.last
            && (*last_hash, last.key()) >= (hash, bytes)
        {
            return Err(member);
        }
        self.settle();
        self.last = Some((hash, member));
        Ok(())
    }

    /// All that came.
    #[must_use]
    pub fn finish(mut self) -> Members<T> {
        self.settle();
        self.members
    }

    fn settle(&mut self) {
        if let Some((hash, last)) = self.last.take() {
            self.members.0.insert(hash, last, |_| Ordering::Less);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn members(numbers: impl Iterator<Item = u32>) -> Members<Text> {
        let mut members = Members::default();
        for number in numbers {
            let key = number.to_string();
            members.insert(Key::new(key.as_bytes()), Text::new(key.as_bytes()));
        }
        members
    }

    #[test]
    fn the_order_does_not_depend_on_what_led_to_it() {
        let forth = members(0..1000);
        let mut back = members((0..2000).rev());
        for number in 1000..2000 {
            let key = number.to_string();
            assert!(back.remove(Key::new(key.as_bytes())).is_some());
        }
        assert!(forth.iter().eq(back.iter()));
    }

    #[test]
    fn a_walk_hands_out_everyone_who_is_there_throughout() {
        let mut table = members(0..1000);
        let mut seen = BTreeSet::new();
        let (mut cursor, mut step) = (0, 0);
        loop {
            let mut taken = 0;
            cursor = table.scan(cursor, 7, |text, must| {
                // Every fourth step has room for few.
                if step % 4 == 3 && taken >= 2 && !must {
                    return false;
                }
                taken += 1;
                assert!(seen.insert(text.clone()), "{text:?} was handed out twice");
                true
            });
            assert!((1..=7).contains(&taken));
            if cursor == 0 {
                break;
            }
            // What changes meanwhile: odd numbers go, others come.
            let gone = (2 * step + 1).to_string();
            table.remove(Key::new(gone.as_bytes()));
            let new = (5000 + step).to_string();
            table.insert(Key::new(new.as_bytes()), Text::new(new.as_bytes()));
            step += 1;
        }
        for number in (0..1000).step_by(2) {
            assert!(seen.contains(number.to_string().as_bytes()), "{number}");
        }
    }

    #[test]
    fn what_comes_in_order_is_taken_and_nothing_else() {
        let sorted = members(0..500);
        let mut again = InOrder::default();
        for (at, (_, member)) in sorted.iter().enumerate() {
            assert_eq!(again.push(member.clone()), Ok(()));
            assert_eq!(again.push(member.clone()), Err(member.clone()), "twice");
            if let Some(before) = at.checked_sub(1).and_then(|before| sorted.nth(before)) {
                assert_eq!(again.push(before.clone()), Err(before.clone()), "back");
            }
        }
        assert!(again.finish().iter().eq(sorted.iter()));
        assert!(InOrder::<Text>::default().finish().is_empty());
    }

    #[test]
    fn the_hash_is_held_still() {
        assert_eq!(Key::new(b"").hash, 4_303_537_348_519_423_296);
        assert_eq!(Key::new(b"key").hash, 5_250_399_580_970_007_307);
    }
}

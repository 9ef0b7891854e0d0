//! Which session was active longest ago: a list through all of them, in which each moves to the end when it is active.

use std::fmt;

use slab::Slab;

/// No link.
const NONE: usize = usize::MAX;

/// Where a session stands in the list. Of no meaning but to the list, so nobody sees it: tables that are alike in
/// everything else are alike.
#[derive(Clone, Copy)]
pub(super) struct Place(usize);

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// Sessions with their ids, the one that was active longest ago first. To move one takes a few steps, however many there
/// are, and no allocation.
#[derive(Clone)]
pub(super) struct Activity<T> {
    links: Slab<Link<T>>,
    first: usize,
    last: usize,
}

#[derive(Clone)]
struct Link<T> {
    id: u64,
    session: T,
    before: usize,
    after: usize,
}

impl<T> Default for Activity<T> {
    fn default() -> Self {
        Self {
            links: Slab::new(),
            first: NONE,
            last: NONE,
        }
    }
}

impl<T> Activity<T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// All of them, in no particular order. Places that are vacant are passed, too.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.links.iter().map(|(_, link)| (link.id, &link.session))
    }

    /// All of them, the one that was active longest ago first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (u64, &T)> {
        let first = self.links.get(self.first);
        let all = std::iter::successors(first, |link| self.links.get(link.after));
        all.map(|link| (link.id, &link.session))
    }

    /// The session that was active longest ago.
    pub(super) fn first(&self) -> Option<(u64, &T)> {
        let first = self.links.get(self.first)?;
        Some((first.id, &first.session))
    }

    /// The session that was active last.
    pub(super) fn last(&self) -> Option<(u64, Place)> {
        let last = self.links.get(self.last)?;
        Some((last.id, Place(self.last)))
    }

    /// The session in a place.
    pub(super) fn get(&self, Place(at): Place) -> &T {
        &self.links[at].session
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, Place(at): Place) -> &mut T {
        &mut self.links[at].session
    }

    /// Adds a session at the end.
    pub(super) fn push(&mut self, id: u64, session: T) -> Place {
        let link = Link {
            id,
            session,
            before: NONE,
            after: NONE,
        };
        let at = self.links.insert(link);
        self.tie_to_end(at);
        Place(at)
    }

    /// Moves a session to the end; says whether it was not there yet.
    pub(super) fn renew(&mut self, Place(at): Place) -> bool {
        let is_moved = self.last != at;
        if is_moved {
            self.untie(at);
            self.tie_to_end(at);
        }
        is_moved
    }

    /// Removes a session.
    pub(super) fn remove(&mut self, Place(at): Place) -> T {
        self.untie(at);
        let removed = self.links.remove(at);
        if self.links.is_empty() {
            // Those that are vacant would be walked through for ever.
            self.links = Slab::new();
        }
        removed.session
    }

    fn tie_to_end(&mut self, at: usize) {
        let before = std::mem::replace(&mut self.last, at);
        match self.links.get_mut(before) {
            Some(link) => link.after = at,
            None => self.first = at,
        }
        let link = &mut self.links[at];
        (link.before, link.after) = (before, NONE);
    }

    fn untie(&mut self, at: usize) {
        let Link { before, after, .. } = self.links[at];
        match self.links.get_mut(before) {
            Some(link) => link.after = after,
            None => self.first = after,
        }
        match self.links.get_mut(after) {
            Some(link) => link.before = before,
            None => self.last = before,
        }
    }
}

/// All of them in their order, by their ids, and nothing else: whoever compares states by what they show must see each
/// difference of a session, and none of places.
impl<T: fmt::Debug> fmt::Debug for Activity<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.in_order()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RandomStream;

    #[test]
    fn it_does_what_a_plain_list_does() {
        let mut random = RandomStream::new(1, 0);
        let mut activity = Activity::default();
        let mut plain: Vec<(u32, Place)> = Vec::new();
        for session in 0..20_000 {
            let at = |random: &mut RandomStream, plain: &[_]| {
                usize::try_from(random.below(plain.len() as u64)).expect("small")
            };
            // Now more are added, now more are removed, down to none.
            let adds = if session / 100 % 2 == 0 { 6 } else { 1 };
            match random.below(10) {
                way if way < adds || plain.is_empty() => {
                    let place = activity.push(session.into(), -i64::from(session));
                    plain.push((session, place));
                }
                way if way < 8 => {
                    let at = at(&mut random, &plain);
                    let is_last = at + 1 == plain.len();
                    let moved = plain.remove(at);
                    assert_eq!(activity.renew(moved.1), !is_last);
                    plain.push(moved);
                }
                _ => {
                    let (id, place) = plain.remove(at(&mut random, &plain));
                    assert_eq!(activity.remove(place), -i64::from(id));
                }
            }
            let ids: Vec<u64> = plain.iter().map(|(id, _)| u64::from(*id)).collect();
            let first = activity.first().map(|(id, _)| id);
            let last = activity.last().map(|(id, _)| id);
            assert_eq!((first, last), (ids.first().copied(), ids.last().copied()));
            let in_order = activity.in_order().map(|(id, _)| id);
            assert!(in_order.eq(ids.iter().copied()));
        }
    }
}

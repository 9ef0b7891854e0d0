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

/// Session ids, the one that was active longest ago first. To move one takes a few steps, however many there are, and
/// no allocation.
#[derive(Clone)]
pub(super) struct Activity {
    links: Slab<Link>,
    first: usize,
    last: usize,
}

#[derive(Clone)]
struct Link {
    session: u64,
    before: usize,
    after: usize,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            links: Slab::new(),
            first: NONE,
            last: NONE,
        }
    }
}

impl Activity {
    /// The session that was active longest ago.
    pub(super) fn first(&self) -> Option<u64> {
        self.links.get(self.first).map(|link| link.session)
    }

    /// Adds a session at the end.
    pub(super) fn push(&mut self, session: u64) -> Place {
        let link = Link {
            session,
            before: NONE,
            after: NONE,
        };
        let at = self.links.insert(link);
        self.tie_to_end(at);
        Place(at)
    }

    /// Moves a session to the end.
    pub(super) fn renew(&mut self, Place(at): Place) {
        if self.last != at {
            self.untie(at);
            self.tie_to_end(at);
        }
    }

    /// Removes a session.
    pub(super) fn remove(&mut self, Place(at): Place) {
        self.untie(at);
        self.links.remove(at);
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

/// The ids in their order.
impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.links.get(self.first);
        let all = std::iter::successors(first, |link| self.links.get(link.after));
        f.debug_list()
            .entries(all.map(|link| link.session))
            .finish()
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
        let mut plain: Vec<(u64, Place)> = Vec::new();
        for session in 0..20_000 {
            let at = |random: &mut RandomStream, plain: &[_]| {
                usize::try_from(random.below(plain.len() as u64)).expect("small")
            };
            // Now more are added, now more are removed, down to none.
            let adds = if session / 100 % 2 == 0 { 6 } else { 1 };
            match random.below(10) {
                way if way < adds || plain.is_empty() => {
                    plain.push((session, activity.push(session)));
                }
                way if way < 8 => {
                    let moved = plain.remove(at(&mut random, &plain));
                    activity.renew(moved.1);
                    plain.push(moved);
                }
                _ => {
                    let (_, place) = plain.remove(at(&mut random, &plain));
                    activity.remove(place);
                }
            }
            let ids: Vec<u64> = plain.iter().map(|(id, _)| *id).collect();
            assert_eq!(activity.first(), ids.first().copied());
            assert_eq!(format!("{activity:?}"), format!("{ids:?}"));
        }
    }
}

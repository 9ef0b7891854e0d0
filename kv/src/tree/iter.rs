//! Walks over the items of a tree, in order and back.

use std::fmt;

use super::{Major, Node};

/// Items in order. See [`Tree::iter`](super::Tree::iter).
pub struct Iter<'a, M, T> {
    /// Each node on the way down, and the place of the item in it that comes next, once what is below the
    /// child of the same place has been handed out.
    pub(super) path: Vec<(&'a Node<M, T>, usize)>,
}

impl<'a, M: Major, T> Iterator for Iter<'a, M, T> {
    type Item = (M, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, place) = self.path.last_mut()?;
            if *place == node.items.len() {
                self.path.pop();
                continue;
            }
            let (node, at) = (*node, *place);
            *place += 1;
            let mut below = node.children.get(at + 1);
            while let Some(child) = below {
                self.path.push((&child.node, 0));
                below = child.node.children.first();
            }
            return Some((node.majors[at], &node.items[at]));
        }
    }
}

/// Items in reverse order. See [`Tree::iter_back_from`](super::Tree::iter_back_from).
pub struct IterBack<'a, M, T> {
    /// Each node on the way down, and the place behind the item in it that comes next, once what is below the
    /// child of that place has been handed out.
    pub(super) path: Vec<(&'a Node<M, T>, usize)>,
}

impl<'a, M: Major, T> Iterator for IterBack<'a, M, T> {
    type Item = (M, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, place) = self.path.last_mut()?;
            let Some(at) = place.checked_sub(1) else {
                self.path.pop();
                continue;
            };
            *place = at;
            let node = *node;
            let mut below = node.children.get(at);
            while let Some(child) = below {
                self.path.push((&child.node, child.node.items.len()));
                below = child.node.children.last();
            }
            return Some((node.majors[at], &node.items[at]));
        }
    }
}

impl<M: Major, T> fmt::Debug for Iter<'_, M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

impl<M: Major, T> fmt::Debug for IterBack<'_, M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IterBack").finish_non_exhaustive()
    }
}

//! States by their fingerprint: 128 bits over all that is in them.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};

use xxhash_rust::xxh3::xxh3_128;

thread_local! {
    /// Where a value is written out to be hashed: in one piece, since its text comes in thousands of little ones.
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The fingerprint of a value: over its debug form, which all our plain structs derive, so that no
/// field is forgotten.
pub(super) fn fingerprint(value: &impl fmt::Debug) -> u128 {
    TEXT.with_borrow_mut(|text| {
        text.clear();
        write!(text, "{value:?}").expect("a string takes everything");
        xxh3_128(text.as_bytes())
    })
}

/// A part of a state, shared by all states in which it is the same, with its fingerprint.
#[derive(Debug)]
pub(super) struct Part<T>(Arc<Sealed<T>>);

#[derive(Debug)]
struct Sealed<T> {
    value: T,
    print: OnceLock<u128>,
}

impl<T: Clone> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self::new(self.value.clone())
    }
}

impl<T> Sealed<T> {
    fn new(value: T) -> Self {
        Self {
            value,
            print: OnceLock::new(),
        }
    }
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + fmt::Debug> Part<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Arc::new(Sealed::new(value)))
    }

    /// The part, to be changed: it is no longer shared.
    pub(super) fn edit(&mut self) -> &mut T {
        let sealed = Arc::make_mut(&mut self.0);
        sealed.print = OnceLock::new();
        &mut sealed.value
    }

    pub(super) fn print(&self) -> u128 {
        *self.0.print.get_or_init(|| fingerprint(&self.0.value))
    }
}

impl<T> std::ops::Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

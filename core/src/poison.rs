//! Poisoned input: an entry that makes the machine fail (`protocol.md` section 12).
//!
//! The primary applies an entry before anybody else does (section 4.5) and answers after that. So where
//! the machine fails at an entry, nothing of it was answered, and it can be skipped everywhere: its reply
//! is an error that names it.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::entry::Index;
use crate::identity::Incarnation;
use crate::view::ViewNumber;

/// Most skipped entries that a record, and so a ViewStart, lists.
pub const SKIPS_MAX: usize = 16;
/// Most skipped entries that a replica knows of its log. One to which there are more puts itself out of service.
pub const LOG_SKIPS_MAX: usize = 1024;
/// Longest account of how a machine failed, in bytes; the rest is cut off.
pub const FAULT_WORDS_BYTES_MAX: usize = 200;

/// An entry that is skipped. Within a view an index is used once, and view numbers are never used again,
/// also by forced takeovers: so it names one entry for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skip {
    /// Its index.
    pub index: Index,
    /// The view in which it was ordered.
    pub view: ViewNumber,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (view {})", self.index, self.view)
    }
}

/// The machine failed at an entry, in one life of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poison {
    /// The entry.
    pub skip: Skip,
    /// The life that ended there: it has applied what comes before the entry, and nothing after.
    pub life: Incarnation,
    /// How it failed, in words; at most [`FAULT_WORDS_BYTES_MAX`].
    pub words: String,
}

/// How the machine failed. What is left of its state is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineFault {
    /// The entry that was being applied.
    pub skip: Skip,
    /// What went wrong, in words.
    pub words: String,
}

/// Calls a machine. It may panic: that is its fault, and nobody else's.
///
/// What it leaves behind must not be looked at again if it may have changed anything (hence the
/// assertion of unwind safety). Nothing of Standin's own that could panic belongs in here: an assertion
/// of ours has to end the process.
pub(crate) fn call<T>(machine: impl FnOnce() -> T) -> Result<T, String> {
    IS_CALLED.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(machine));
    IS_CALLED.set(false);
    outcome.map_err(panic_words)
}

thread_local! {
    static IS_CALLED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in the midst of a machine's code. For a process's panic hook, which may otherwise take
/// longer over a backtrace than a lease lasts: a panic of the machine's is dealt with, and no reason to end.
#[must_use]
pub fn is_machine_called() -> bool {
    IS_CALLED.get()
}

/// What a panic said.
fn panic_words(payload: Box<dyn Any + Send>) -> String {
    let said = payload.downcast_ref::<&'static str>().copied();
    let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let words = match said {
        Some(said) => format!("it panicked: {}", fault_words(said)),
        None => "it panicked".to_owned(),
    };
    // Whatever else was thrown may panic again when it is dropped.
    mem::forget(payload);
    words
}

/// Words of a machine's as they may be kept and printed: short, and on one line.
#[must_use]
pub fn fault_words(said: &str) -> String {
    let bytes_max = FAULT_WORDS_BYTES_MAX - "it panicked: ".len();
    let said = said.replace(char::is_control, " ");
    said[..said.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::panic::{panic_any, resume_unwind};

    use super::*;

    #[test]
    fn what_a_panic_said_is_kept_short_and_on_one_line() {
        let said = call(|| resume_unwind(Box::new("a\nb")));
        assert_eq!(said, Err::<(), _>("it panicked: a b".to_owned()));
        let said = call(|| resume_unwind(Box::new("ä".repeat(500)))).map(|()| 0);
        let words = said.unwrap_err();
        assert!(words.len() <= FAULT_WORDS_BYTES_MAX && words.len() > FAULT_WORDS_BYTES_MAX - 3);
        assert_eq!(call(|| 7), Ok(7));
    }

    #[test]
    fn what_was_thrown_is_not_dropped() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let said = call(|| panic_any(Bomb)).map(|()| 0);
        assert_eq!(said, Err("it panicked".to_owned()));
    }
}

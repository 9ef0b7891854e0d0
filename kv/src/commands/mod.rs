//! The commands, a file for each family: its rows of the table, and what executes them.
//!
//! A row whose handler is missing is a command that does not exist yet. To make it exist: the type of its value
//! ([`crate::hash`], [`crate::list`], [`crate::set`], [`crate::sorted`]) with its `len`, `encoding`, `write` and
//! `read`; a function of [`crate::call::Read`] or [`crate::call::Write`]; its name in the row. A handler refuses
//! before it changes anything. It takes a key's value by `call.get(key)` or `call.get_mut(key)`, and whatever it
//! changes in place it marks as changed, or WATCH does not see it; a collection that has become empty it removes.

mod algebra;
pub(crate) mod bounds;
pub(crate) mod connection;
pub(crate) mod expiry;
pub(crate) mod hashes;
pub(crate) mod keys;
pub(crate) mod lists;
mod picks;
pub(crate) mod scan;
pub(crate) mod sets;
pub(crate) mod sorted;
pub(crate) mod sorted_many;
pub(crate) mod sorted_range;
pub(crate) mod strings;

pub(crate) use scan::{Found, ScanOptions};

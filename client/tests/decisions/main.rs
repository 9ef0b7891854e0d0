//! Decision steps of the client core: one event in, the whole list of actions out.

mod forced;
mod harness;
mod outcomes;
mod pipelining;
mod random_faults;
mod routing;
mod sessions;
mod stale_answers;

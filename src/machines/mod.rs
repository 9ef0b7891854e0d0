//! The state machines that come with Standin.

pub mod counter;
pub mod kv;

use standin_core::machine::StateMachine;

use counter::Counter;
use kv::KeyValue;

/// The names of all machines that a program knows which brings `M`, each once.
pub(crate) fn names<M: StateMachine>() -> Vec<&'static str> {
    let mut names = vec![Counter::NAME, KeyValue::NAME];
    if !names.contains(&M::NAME) {
        names.push(M::NAME);
    }
    names
}

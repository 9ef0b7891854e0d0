//! The state machines that come with Standin.

pub mod counter;
pub mod kv;

use standin_core::machine::{StateMachine, bytes_in_words};

use counter::Counter;
use kv::KeyValue;

/// Whether `M` is none of those that come with Standin.
pub(crate) fn is_own<M: StateMachine>() -> bool {
    ![Counter::NAME, KeyValue::NAME].contains(&M::NAME)
}

/// The names of all machines that a program knows which brings `M`, each once.
pub(crate) fn names<M: StateMachine>() -> Vec<&'static str> {
    let mut names = vec![Counter::NAME, KeyValue::NAME];
    if is_own::<M>() {
        names.push(M::NAME);
    }
    names
}

/// How commands of the machine of this name are put in words, in a program that brings `M`.
pub(crate) fn command_words<M: StateMachine>(name: &str) -> fn(&[u8]) -> String {
    match name {
        name if name == M::NAME => M::command_words,
        Counter::NAME => Counter::command_words,
        KeyValue::NAME => KeyValue::command_words,
        _ => bytes_in_words,
    }
}

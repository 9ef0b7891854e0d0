//! A state machine that can be put under load by whoever knows nothing of it: the demo and the simulator.

use crate::machine::typed::{decode_reply, encode};
use crate::machine::{Machine, StateMachine, Successor, Versions};
use crate::random::RandomStream;

/// A state machine that the simulator and the demo can put under load. Each [`Machine`] is one.
///
/// The commands and queries of a simulation are drawn from its seed, so a failure comes back with it.
pub trait Subject: StateMachine {
    /// A command that a client sends, who was answered `last` before, if that is known.
    fn draw_command(random: &mut RandomStream, last: Option<&[u8]>) -> Vec<u8>;

    /// A query that a client sends.
    fn draw_query(random: &mut RandomStream) -> Vec<u8>;

    /// What a call means to somebody who knows the machine only from outside, if it can be put as
    /// one to a register: the history of all calls is then checked for linearizability without a
    /// look at the log. `reply` is `None` if the outcome is unknown.
    #[must_use]
    fn as_register(_input: &[u8], _is_query: bool, _reply: Option<&[u8]>) -> Option<RegisterCall> {
        None
    }
}

/// A call as one to a register, and its outcome if that is known.
pub type RegisterCall = (RegisterInput<u64, u64>, Option<RegisterOutput<u64>>);

/// What can be asked of a register; `None` stands for one that is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegisterInput<Key, Value> {
    /// Say the value.
    Get(Key),
    /// Take this value.
    Set(Key, Option<Value>),
    /// Take the value `new` if the present one is `old`.
    CompareAndSet {
        /// Whose value.
        key: Key,
        /// What must be there.
        old: Option<Value>,
        /// What is there afterwards.
        new: Option<Value>,
    },
}

/// What a register answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegisterOutput<Value> {
    /// To a get: the value.
    Value(Option<Value>),
    /// To a set.
    Done,
    /// To a compare-and-set: whether the old value was there.
    Swapped(bool),
}

impl<M: Machine> Subject for M {
    fn draw_command(random: &mut RandomStream, last: Option<&[u8]>) -> Vec<u8> {
        let last = last.and_then(|reply| decode_reply::<M>(reply)?.ok());
        encode::<M, _>(&<M as Machine>::draw_command(random, last.as_ref()))
    }

    fn draw_query(random: &mut RandomStream) -> Vec<u8> {
        encode::<M, _>(&<M as Machine>::draw_query(random))
    }
}

/// It is sent what clients of the new machine send.
impl<Old: StateMachine, New: Successor<Old> + Subject> Subject for Versions<Old, New> {
    fn draw_command(random: &mut RandomStream, last: Option<&[u8]>) -> Vec<u8> {
        New::draw_command(random, last)
    }

    fn draw_query(random: &mut RandomStream) -> Vec<u8> {
        New::draw_query(random)
    }
}

//! Machines that histories are held against.

use std::fmt::Debug;
use std::marker::PhantomData;

pub use standin_core::subject::{RegisterInput, RegisterOutput};

use super::Model;

/// A counter that begins at zero and only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter;

/// What a [`Counter`] can be asked. It answers with its value, to an add with the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CounterInput {
    /// Add this much.
    Add(u64),
    /// Say the value.
    Get,
}

impl CounterInput {
    /// What the counter rises by.
    const fn amount(self) -> u64 {
        match self {
            Self::Add(amount) => amount,
            Self::Get => 0,
        }
    }
}

impl Model for Counter {
    type Key = ();
    type State = u64;
    type Input = CounterInput;
    type Output = u64;

    fn key(&self, _input: &CounterInput) {}

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, state: &u64, input: &CounterInput, output: Option<&u64>) -> Option<u64> {
        let next = state.checked_add(input.amount())?;
        output.is_none_or(|output| *output == next).then_some(next)
    }

    fn only_reads(&self, input: &CounterInput, _output: &u64) -> bool {
        input.amount() == 0
    }

    fn may_reach(&self, state: &u64, input: &CounterInput, output: &u64) -> bool {
        // It never falls, so a value that lies behind it is never seen again.
        let next = state.checked_add(input.amount());
        next.is_some_and(|next| next <= *output)
    }
}

/// Registers with keys, each empty in the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Registers<Key, Value> {
    of: PhantomData<(Key, Value)>,
}

impl<Key, Value> Registers<Key, Value> {
    /// Registers for keys and values of these types.
    #[must_use]
    pub const fn new() -> Self {
        Self { of: PhantomData }
    }
}

impl<Key, Value> Default for Registers<Key, Value> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Key: Ord + Clone + Debug, Value: Ord + Clone + Debug> Model for Registers<Key, Value> {
    type Key = Key;
    type State = Option<Value>;
    type Input = RegisterInput<Key, Value>;
    type Output = RegisterOutput<Value>;

    fn key(&self, input: &Self::Input) -> Key {
        match input {
            RegisterInput::Get(key)
            | RegisterInput::Set(key, _)
            | RegisterInput::CompareAndSet { key, .. } => key.clone(),
        }
    }

    fn initial(&self) -> Option<Value> {
        None
    }

    fn step(
        &self,
        state: &Option<Value>,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Option<Value>> {
        let (next, answer) = match input {
            RegisterInput::Get(_) => (state, RegisterOutput::Value(state.clone())),
            RegisterInput::Set(_, value) => (value, RegisterOutput::Done),
            RegisterInput::CompareAndSet { old, new, .. } if old == state => {
                (new, RegisterOutput::Swapped(true))
            }
            RegisterInput::CompareAndSet { .. } => (state, RegisterOutput::Swapped(false)),
        };
        let fits = output.is_none_or(|output| *output == answer);
        fits.then(|| next.clone())
    }

    fn only_reads(&self, input: &Self::Input, output: &Self::Output) -> bool {
        match (input, output) {
            (RegisterInput::Get(_), _) => true,
            (RegisterInput::Set(..), _) => false,
            (RegisterInput::CompareAndSet { old, new, .. }, output) => {
                old == new || *output == RegisterOutput::Swapped(false)
            }
        }
    }
}

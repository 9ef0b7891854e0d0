//! The same verdict as stateright's tester, which was written by others and searches in another way,
//! on thousands of small histories of which many are not linearizable.

use standin_tools::history::{
    Call, Counter, CounterInput, Model, Outcome, RegisterInput, RegisterOutput, Registers, check,
};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use crate::generate::{Dice, Shape, history};

const SEEDS: u64 = 6000;
/// Fewer would not show that both kinds were compared.
const EACH_KIND_MIN: u64 = 1000;
const KEY: u8 = 0;

/// A machine: the state and the answer that an input leads to.
type Execute<M> =
    fn(&<M as Model>::State, &<M as Model>::Input) -> (<M as Model>::State, <M as Model>::Output);

/// A model as stateright wants one: a machine that executes.
#[derive(Clone)]
struct Reference<M: Model> {
    state: M::State,
    execute: Execute<M>,
}

impl<M: Model<Output: PartialEq>> SequentialSpec for Reference<M> {
    type Op = M::Input;
    type Ret = M::Output;

    fn invoke(&mut self, op: &M::Input) -> M::Output {
        let (state, output) = (self.execute)(&self.state, op);
        self.state = state;
        output
    }
}

/// These two say once more, in another way, what the machines do: a mistake in a model would show.
fn count(state: &u64, input: &CounterInput) -> (u64, u64) {
    let next = match input {
        CounterInput::Add(amount) => state + amount,
        CounterInput::Get => *state,
    };
    (next, next)
}

fn keep(state: &Option<u8>, input: &RegisterInput<u8, u8>) -> (Option<u8>, RegisterOutput<u8>) {
    match *input {
        RegisterInput::Get(_) => (*state, RegisterOutput::Value(*state)),
        RegisterInput::Set(_, value) => (value, RegisterOutput::Done),
        RegisterInput::CompareAndSet { old, new, .. } => {
            if *state == old {
                (new, RegisterOutput::Swapped(true))
            } else {
                (*state, RegisterOutput::Swapped(false))
            }
        }
    }
}

/// A moment of the history, in the order in which stateright is told.
enum Moment<'a, I, O> {
    Call { thread: u64, input: &'a I },
    Return { thread: u64, output: &'a O },
}

fn theirs<M>(calls: &[Call<M::Input, M::Output>], reference: Reference<M>) -> bool
where
    M: Model<Input: Clone, Output: Clone + PartialEq> + Clone,
{
    let mut moments = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        // A thread with a call without an end can make no other, so each of those gets its own.
        let thread = match call.outcome {
            Outcome::Answered { .. } => call.client,
            Outcome::Unknown => 1000 + index as u64,
        };
        let input = &call.input;
        moments.push((call.called, Moment::Call { thread, input }));
        if let Outcome::Answered { at, output } = &call.outcome {
            moments.push((*at, Moment::Return { thread, output }));
        }
    }
    moments.sort_by_key(|(at, _)| *at);
    let mut tester = LinearizabilityTester::new(reference);
    for (_, moment) in moments {
        let told = match moment {
            Moment::Call { thread, input } => tester.on_invoke(thread, input.clone()).err(),
            Moment::Return { thread, output } => tester.on_return(thread, output.clone()).err(),
        };
        assert_eq!(told, None, "a history of the generator's is well-formed");
    }
    tester.is_consistent()
}

/// Compares the verdicts, over all seeds; `spoil` makes another answer.
fn compare<M>(
    model: &M,
    draw: fn(&mut Dice) -> M::Input,
    execute: Execute<M>,
    spoil: fn(&mut Dice, &M::Output) -> M::Output,
) where
    M: Model<Input: Clone, Output: Clone + PartialEq> + Clone,
{
    let mut kinds = [0; 2];
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let shape = Shape {
            clients: 2 + usize::try_from(dice.below(3)).expect("small"),
            calls: 3 + usize::try_from(dice.below(8)).expect("small"),
            unknown: dice.below(40),
        };
        let answer = |state: &M::State, input: &M::Input| execute(state, input).1;
        let mut calls = history(&mut dice, shape, model, draw, answer);
        let is_spoilt = dice.percent(70);
        if is_spoilt {
            let place = usize::try_from(dice.below(calls.len() as u64)).expect("small");
            if let Outcome::Answered { output, .. } = &mut calls[place].outcome {
                *output = spoil(&mut dice, output);
            }
        }
        let reference = Reference {
            state: model.initial(),
            execute,
        };
        let theirs = theirs::<M>(&calls, reference);
        let ours = check(model, &calls);
        assert_eq!(
            ours.is_linearizable(),
            theirs,
            "seed {seed}: {ours}\n{calls:#?}"
        );
        assert!(theirs || is_spoilt, "seed {seed}: a machine's own history");
        kinds[usize::from(theirs)] += 1;
    }
    assert!(
        kinds.iter().all(|count| *count >= EACH_KIND_MIN),
        "{kinds:?}"
    );
}

#[test]
fn counters_get_the_same_verdict() {
    let draw = |dice: &mut Dice| match dice.below(3) {
        0 => CounterInput::Get,
        _ => CounterInput::Add(1 + dice.below(2)),
    };
    let spoil = |dice: &mut Dice, output: &u64| (output + dice.below(3)).saturating_sub(1);
    compare(&Counter, draw, count, spoil);
}

fn small_value(dice: &mut Dice) -> Option<u8> {
    let value = u8::try_from(dice.below(4)).ok();
    value.filter(|value| *value > 0)
}

#[test]
fn registers_get_the_same_verdict() {
    let draw = |dice: &mut Dice| match dice.below(4) {
        0 | 1 => RegisterInput::Get(KEY),
        2 => RegisterInput::Set(KEY, small_value(dice)),
        _ => RegisterInput::CompareAndSet {
            key: KEY,
            old: small_value(dice),
            new: small_value(dice),
        },
    };
    let spoil = |dice: &mut Dice, output: &RegisterOutput<u8>| match output {
        RegisterOutput::Value(_) => RegisterOutput::Value(u8::try_from(dice.below(4)).ok()),
        RegisterOutput::Done => RegisterOutput::Done,
        RegisterOutput::Swapped(is_swapped) => RegisterOutput::Swapped(!is_swapped),
    };
    compare(&Registers::new(), draw, keep, spoil);
}

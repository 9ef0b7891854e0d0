//! Histories as long as real runs make them are decided within the limits.

use std::cell::Cell;

use standin_tools::history::{
    Call, Counter, CounterInput, Limits, Model, Outcome, RegisterInput, RegisterOutput, Registers,
    Verdict, check_within,
};

use crate::generate::{Dice, Shape, history};

const LONG: Shape = Shape {
    clients: 8,
    calls: 40_000,
    unknown: 2,
};
/// Steps for each call: nearly all of a counter's order is forced. No figure about time, which would
/// rest on the machine's speed.
const STEPS_PER_CALL: u64 = 1000;
/// Fewer than there are calls: what is kept of a history that is right grows with it, and does not count.
const CONFIGURATIONS_MAX: usize = 10_000;

fn limits() -> Limits {
    Limits {
        steps_max: LONG.calls as u64 * STEPS_PER_CALL,
        configurations_max: CONFIGURATIONS_MAX,
    }
}

fn long_counter(amounts: u64) -> Vec<Call<CounterInput, u64>> {
    let draw = |dice: &mut Dice| match dice.below(3) {
        0 => CounterInput::Get,
        _ => CounterInput::Add(1 + dice.below(amounts)),
    };
    let answer = |state: &u64, input: &CounterInput| {
        let step = Counter.step(state, input, None);
        step.expect("far from the end of the numbers")
    };
    history(&mut Dice::new(7), LONG, &Counter, draw, answer)
}

/// What a register answers.
fn keep<Key>(state: &Option<u64>, input: &RegisterInput<Key, u64>) -> RegisterOutput<u64> {
    match input {
        RegisterInput::Get(_) => RegisterOutput::Value(*state),
        RegisterInput::Set(..) => RegisterOutput::Done,
        RegisterInput::CompareAndSet { old, .. } => RegisterOutput::Swapped(old == state),
    }
}

#[test]
fn tens_of_thousands_of_adds_and_gets_are_decided() {
    for amounts in [1, 4] {
        let calls = long_counter(amounts);
        let verdict = check_within(&Counter, &calls, limits());
        assert_eq!(verdict, Verdict::Linearizable);
    }
}

#[test]
fn one_stale_read_among_tens_of_thousands_of_calls_is_found() {
    let mut calls = long_counter(1);
    let late = calls
        .iter()
        .rposition(|call| call.input == CounterInput::Get && call.outcome != Outcome::Unknown);
    let late = late.expect("some of the gets were answered");
    // All of its calls that run at the same time can have raised it by no more than that.
    let behind = LONG.clients as u64 + 1;
    if let Outcome::Answered { output, .. } = &mut calls[late].outcome {
        *output -= behind;
    }
    match check_within(&Counter, &calls, limits()) {
        Verdict::NotLinearizable(misfit) => assert_eq!(misfit.call, late, "{}", misfit.words),
        verdict => panic!("{verdict}"),
    }
}

/// A register with few values says little about what came before, so many orders are to be kept in mind.
fn draw_small_register(dice: &mut Dice) -> RegisterInput<u8, u64> {
    let value = |dice: &mut Dice| Some(dice.below(4));
    match dice.below(4) {
        0 => RegisterInput::Get(0),
        1 | 2 => RegisterInput::Set(0, value(dice)),
        _ => RegisterInput::CompareAndSet {
            key: 0,
            old: value(dice),
            new: value(dice),
        },
    }
}

#[test]
fn thousands_of_calls_of_which_many_run_at_a_time_are_decided() {
    let model = Registers::<u8, u64>::new();
    for clients in [16, 24, 32] {
        let shape = Shape {
            clients,
            calls: 4000,
            unknown: 0,
        };
        let mut dice = Dice::new(clients as u64);
        let calls = history(&mut dice, shape, &model, draw_small_register, keep);
        let verdict = check_within(&model, &calls, Limits::DEFAULT);
        assert_eq!(verdict, Verdict::Linearizable, "{clients} clients");
    }
}

#[test]
fn many_keys_with_many_calls_without_an_outcome_are_decided() {
    let model = Registers::<u64, u64>::new();
    let mut calls = Vec::new();
    // The generator knows one state only, so each key gets a history of its own.
    for key in 0..30 {
        let shape = Shape {
            calls: 400,
            unknown: 5,
            ..LONG
        };
        let draw = |dice: &mut Dice| match dice.below(4) {
            0 | 1 => RegisterInput::Get(key),
            2 => RegisterInput::Set(key, Some(dice.below(1000))),
            _ => RegisterInput::CompareAndSet {
                key,
                old: Some(dice.below(4)),
                new: Some(dice.below(4)),
            },
        };
        calls.extend(history(&mut Dice::new(key), shape, &model, draw, keep));
    }
    let verdict = check_within(&model, &calls, Limits::DEFAULT);
    assert_eq!(verdict, Verdict::Linearizable);
}

#[test]
fn too_many_that_run_at_one_time_are_given_up() {
    // A list of who runs as each returns would be long.
    let crowd = |n: u64| Call::answered(n, 0, 1 + n, CounterInput::Add(1), n + 1);
    let crowd: Vec<_> = (0..3000).map(crowd).collect();
    let limits = Limits {
        steps_max: u64::MAX,
        configurations_max: 1000,
    };
    let verdict = check_within(&Counter, &crowd, limits);
    assert!(matches!(verdict, Verdict::NotDecided(_)), "{verdict}");
}

/// A register that counts how often it was asked what follows.
struct Counted {
    register: Registers<u8, u64>,
    steps: Cell<u64>,
}

impl Model for Counted {
    type Key = u8;
    type State = Option<u64>;
    type Input = RegisterInput<u8, u64>;
    type Output = RegisterOutput<u64>;

    fn key(&self, input: &Self::Input) -> u8 {
        self.register.key(input)
    }

    fn initial(&self) -> Option<u64> {
        self.register.initial()
    }

    fn step(
        &self,
        state: &Option<u64>,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Option<u64>> {
        self.steps.set(self.steps.get() + 1);
        self.register.step(state, input, output)
    }
}

#[test]
fn comparisons_count_as_work() {
    // Many ways lead to each state, none better than the others: most of the work is to compare them.
    let mut calls = Vec::new();
    for (old, new) in (0..10).flat_map(|old| (0..10).map(move |new| (old, new))) {
        let (old, new) = (Some(old), Some(new));
        let input = RegisterInput::CompareAndSet { key: 0, old, new };
        calls.push(Call::unknown(1, 0, input));
    }
    let (set, done) = (RegisterInput::Set(0, Some(0)), RegisterOutput::Done);
    calls.push(Call::answered(2, 1, 2, set, done));
    let never = RegisterOutput::Value(Some(77));
    calls.push(Call::answered(2, 3, 4, RegisterInput::Get(0), never));
    let limits = Limits {
        steps_max: 1_000_000,
        configurations_max: 3_000,
    };
    let model = Counted {
        register: Registers::new(),
        steps: Cell::new(0),
    };
    let verdict = check_within(&model, &calls, limits);
    assert!(matches!(verdict, Verdict::NotDecided(_)), "{verdict}");
    let steps = model.steps.get();
    assert!(steps < limits.steps_max / 10, "{steps}");
}

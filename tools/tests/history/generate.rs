//! Histories as clients of one machine would see them, from a seed; and the same with one answer
//! spoilt.

use standin_core::random::RandomStream;
use standin_tools::history::{Call, Model};

/// Chances out of a hundred.
pub(crate) const HUNDRED: u64 = 100;

/// Random numbers from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(RandomStream);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(RandomStream::new(seed, 0))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(HUNDRED) < chance
    }
}

/// What a history is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) clients: usize,
    pub(crate) calls: usize,
    /// How many calls out of a hundred end without an outcome.
    pub(crate) unknown: u64,
}

/// A call under way.
#[derive(Clone, Debug)]
struct Running<Input, Output> {
    call: usize,
    input: Input,
    is_unknown: bool,
    output: Option<Output>,
}

/// Calls that one machine executed one at a time. `draw` makes an input, `execute` is the machine.
pub(crate) fn history<M: Model>(
    dice: &mut Dice,
    shape: Shape,
    model: &M,
    draw: impl Fn(&mut Dice) -> M::Input,
    execute: impl Fn(&M::State, &M::Input) -> M::Output,
) -> Vec<Call<M::Input, M::Output>>
where
    M::Input: Clone,
    M::Output: Clone,
{
    let mut calls: Vec<Call<M::Input, M::Output>> = Vec::new();
    let mut running: Vec<Option<Running<M::Input, M::Output>>> = vec![None; shape.clients];
    // Calls that their clients gave up, and that may still be executed.
    let mut adrift: Vec<M::Input> = Vec::new();
    let mut state = model.initial();
    let mut now = 0;
    while calls.len() < shape.calls || running.iter().any(Option::is_some) {
        now += 1;
        if !adrift.is_empty() && dice.percent(5) {
            let place = usize::try_from(dice.below(adrift.len() as u64)).expect("a place");
            let input = adrift.swap_remove(place);
            state = model.step(&state, &input, None).unwrap_or(state);
        }
        let client = usize::try_from(dice.below(shape.clients as u64)).expect("a client");
        match running[client].take() {
            None if calls.len() < shape.calls => {
                let input = draw(dice);
                running[client] = Some(Running {
                    call: calls.len(),
                    input: input.clone(),
                    is_unknown: dice.percent(shape.unknown),
                    output: None,
                });
                calls.push(Call::unknown(client as u64, now, input));
            }
            None => {}
            Some(one) if one.is_unknown => adrift.push(one.input),
            Some(mut one) => match one.output.take() {
                None => {
                    let output = execute(&state, &one.input);
                    let next = model.step(&state, &one.input, Some(&output));
                    state = next.expect("a machine's own answer fits");
                    one.output = Some(output);
                    running[client] = Some(one);
                }
                Some(output) => {
                    let called = calls[one.call].called;
                    calls[one.call] = Call::answered(client as u64, called, now, one.input, output);
                }
            },
        }
    }
    calls
}

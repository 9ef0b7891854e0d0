//! Whether what clients saw can have come from one copy of a machine: linearizability.
//!
//! A history is a set of [`Call`]s, each with the moment at which it was made and how it ended. It is
//! linearizable if every call can be given one moment between its beginning and its end so that a
//! machine which executes them in that order, one at a time, gives the answers that were seen (Herlihy,
//! Wing 1990). A call whose outcome is unknown may take effect at any moment after it was made, or
//! never. [`check`] decides that; what the machine does, a [`Model`] says. It touches nothing: no
//! clock, no file, no chance, and it goes the same way each time.
//!
//! # How
//! The search is that of Wing and Gong (1993), "Testing and verifying concurrent objects", made
//! bearable by what later work found:
//! - Calls with different keys are judged apart, which is enough since linearizability is local
//!   (Horn, Kroening 2015, "Faster linearizability checking via P-compositionality").
//! - Nothing is placed before it must be (Lowe 2017, "Testing for linearizability": just-in-time
//!   linearization). The history is walked through in time; only when a call returns must it have a
//!   place, and then only calls that were made by then can stand before it. All that matters then is
//!   the *configuration*: the state of the machine, which of the calls that still run have been placed,
//!   and which of those without an outcome. Each is visited once, which is the memory that Lowe adds
//!   to Wing and Gong's search.
//! - One order is followed for as long as it explains what comes, calls in the order of their returns
//!   first, which is nearly that of their execution. So a history that is linearizable is mostly gone
//!   through once, however many calls run at a time; to go through all configurations is left to those
//!   that are not.
//! - Calls with equal input and without an outcome are all alike, so only how many of them were used
//!   is kept, not which. And a configuration that reached the same state with fewer of them can do
//!   whatever one with more can, so the latter is not visited after the former.
//! - A call that only reads ([`Model::only_reads`]) is placed as soon as its answer is right: later it
//!   could do no more.
//! - A configuration in which a running call's answer, which is known here, cannot come any more
//!   ([`Model::may_reach`]) is dropped at once.
//!
//! The problem is hard in general (Gibbons, Korach 1997), so the work is bounded by [`Limits`], and
//! [`Verdict::NotDecided`] says that a bound was met. That is no pass.
//!
//! ```
//! use standin_tools::history::{Call, Counter, CounterInput::{Add, Get}, Verdict, check};
//!
//! let mut calls = vec![
//!     Call::answered(1, 0, 10, Add(1), 1),
//!     Call::answered(2, 5, 20, Get, 0), // began before the add had ended
//! ];
//! assert_eq!(check(&Counter, &calls), Verdict::Linearizable);
//! calls.push(Call::answered(2, 21, 30, Get, 0)); // and this one did not
//! assert!(matches!(check(&Counter, &calls), Verdict::NotLinearizable(_)));
//! ```

mod models;
mod search;

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write as _};

pub use models::{Counter, CounterInput, RegisterInput, RegisterOutput, Registers};
use search::{Found, Search};

/// Calls shown before and after the one that has no place.
const SHOWN_EACH_SIDE: usize = 6;
/// States shown that the machine can have been in.
const STATES_SHOWN: usize = 4;

/// What a machine does: the specification that a history is held against.
pub trait Model {
    /// What parts the machine into independent ones: `()` if nothing does.
    type Key: Ord + Debug;
    /// The machine's state, or that of the part that one key names.
    type State: Clone + Ord + Debug;
    /// What is asked of it.
    type Input: Ord + Debug;
    /// What it answers.
    type Output: Debug;

    /// The part that an input touches. It may touch no other.
    fn key(&self, input: &Self::Input) -> Self::Key;

    /// The state of each part in the beginning.
    fn initial(&self) -> Self::State;

    /// The state after `input` was executed in `state`, if it can be answered with `output` there.
    /// Without an output any answer will do.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// Whether `input`, answered with `output`, leaves the machine as it is in whatever state that may be. A hint that
    /// saves work: "no" is never wrong, "yes" must be certain.
    fn only_reads(&self, _input: &Self::Input, _output: &Self::Output) -> bool {
        false
    }

    /// Whether `input` may be answered with `output` in `state`, or in one that follows from it by
    /// whatever other inputs. A hint that saves work: "yes" is never wrong, "no" must be certain.
    fn may_reach(
        &self,
        _state: &Self::State,
        _input: &Self::Input,
        _output: &Self::Output,
    ) -> bool {
        true
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<Output> {
    /// With this answer.
    Answered {
        /// After the answer was there, on the clock of [`Call::called`].
        at: u64,
        /// The answer.
        output: Output,
    },
    /// It may have been executed, or may be later, or never will.
    Unknown,
}

/// One call, as its client saw it. One that was certainly not executed is not part of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<Input, Output> {
    /// Who called; for people only.
    pub client: u64,
    /// Before anything of it was sent. Any clock will do that all clients share: nanoseconds, or the
    /// number of an event. A call that was made at the very moment at which another returned counts
    /// as made before; where that happens a clock that numbers events is the sharper one.
    pub called: u64,
    /// What was asked.
    pub input: Input,
    /// How it ended.
    pub outcome: Outcome<Output>,
}

impl<Input, Output> Call<Input, Output> {
    /// A call that was answered.
    pub const fn answered(client: u64, called: u64, at: u64, input: Input, output: Output) -> Self {
        Self {
            client,
            called,
            input,
            outcome: Outcome::Answered { at, output },
        }
    }

    /// A call whose outcome is unknown.
    pub const fn unknown(client: u64, called: u64, input: Input) -> Self {
        Self {
            client,
            called,
            input,
            outcome: Outcome::Unknown,
        }
    }
}

impl<Input: Debug, Output: Debug> fmt::Display for Call<Input, Output> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            called,
            input,
            outcome,
        } = self;
        write!(f, "client {client}, {called}..")?;
        match outcome {
            Outcome::Answered { at, output } => write!(f, "{at}: {input:?} -> {output:?}"),
            Outcome::Unknown => write!(f, ": {input:?} -> outcome unknown"),
        }
    }
}

/// How much work one key may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps of the model that may be tried in all, and comparisons of configurations. It bounds the time.
    pub steps_max: u64,
    /// Configurations that may be kept besides one for each call. It bounds the memory, beside that of the history.
    pub configurations_max: usize,
}

impl Limits {
    /// What [`check`] allows: some minutes at worst, and some hundred megabytes besides about a kilobyte for each call.
    pub const DEFAULT: Self = Self {
        steps_max: 100_000_000,
        configurations_max: 500_000,
    };
}

/// What a history amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// One copy of the machine can have shown it.
    Linearizable,
    /// No order of the calls explains all answers.
    NotLinearizable(Misfit),
    /// A limit was met before it was known. That is no pass.
    NotDecided(Limit),
}

impl Verdict {
    /// Whether it was shown to be linearizable.
    #[must_use]
    pub const fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable)
    }
}

/// The first call for which there is no place, of those with its key.
///
/// Everything that had returned before some moment can be explained. It returned next, or ran then and has an answer that
/// cannot come any more. The fault itself may lie with what returned before or ran then, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Its place in the history as it was handed in.
    pub call: usize,
    /// The call, the states that the machine can have been in, and the calls around it.
    pub words: String,
}

/// The limit that was met, and how far the search had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The first call to return that had no place yet, by its place in the history as it was handed in.
    pub call: usize,
    /// What was allowed.
    pub limits: Limits,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::NotLinearizable(misfit) => write!(f, "not linearizable: {}", misfit.words),
            Self::NotDecided(Limit { call, limits }) => {
                write!(f, "not decided: gave up at call {call} with {limits:?}")
            }
        }
    }
}

/// Judges a history, within [`Limits::DEFAULT`] for each key. The calls may be in any order.
pub fn check<M: Model>(model: &M, calls: &[Call<M::Input, M::Output>]) -> Verdict {
    check_within(model, calls, Limits::DEFAULT)
}

/// Judges a history within these limits for each key.
pub fn check_within<M: Model>(
    model: &M,
    calls: &[Call<M::Input, M::Output>],
    limits: Limits,
) -> Verdict {
    let mut parts: BTreeMap<M::Key, Vec<usize>> = BTreeMap::new();
    for (index, call) in calls.iter().enumerate() {
        parts.entry(model.key(&call.input)).or_default().push(index);
    }
    let mut undecided = None;
    for (key, part) in parts {
        match Search::new(model, calls, &part, limits).run() {
            Found::Order => {}
            Found::NoOrder { call, states } => {
                let words = in_words(&key, calls, &part, call, &states);
                return Verdict::NotLinearizable(Misfit { call, words });
            }
            // Another key may still show that the history is wrong.
            Found::Limit { call } => {
                undecided.get_or_insert(Limit { call, limits });
            }
        }
    }
    undecided.map_or(Verdict::Linearizable, Verdict::NotDecided)
}

fn in_words<K: Debug, S: Debug, I: Debug, O: Debug>(
    key: &K,
    calls: &[Call<I, O>],
    part: &[usize],
    misfit: usize,
    states: &[S],
) -> String {
    let mut words = format!("nothing explains call {misfit} ({})", calls[misfit]);
    let shown = &states[..states.len().min(STATES_SHOWN)];
    let more = states.len() - shown.len();
    let _infallible = write!(
        words,
        "; key {key:?}; before it the state was one of {shown:?}"
    );
    if more > 0 {
        let _infallible = write!(words, " and {more} more");
    }
    let mut part = part.to_vec();
    part.sort_by_key(|index| calls[*index].called);
    let place = part.iter().position(|index| *index == misfit).unwrap_or(0);
    let from = place.saturating_sub(SHOWN_EACH_SIDE);
    let to = part.len().min(place + SHOWN_EACH_SIDE + 1);
    for index in &part[from..to] {
        let mark = if *index == misfit { '>' } else { ' ' };
        let _infallible = write!(words, "\n{mark} {index}: {}", calls[*index]);
    }
    words
}

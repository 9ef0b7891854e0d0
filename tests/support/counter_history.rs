//! What clients of a counter saw, and whether a counter that is one and never forgets can have shown
//! it to them.
//!
//! With `add 1` and `get` alone, linearizability can be decided exactly and fast. The answer to an add
//! is its place in the one order of all adds, and the answer to a get says after which add it comes.
//! An add without an answer may have any place that is free, or none. So the history is linearizable
//! if and only if
//! - no two adds have the same place,
//! - whatever was answered before an operation was begun lies below that operation in the order, and
//! - the places that no answered add has, up to the highest that was seen, can be given to adds
//!   without an answer, each to one that was not begun after something at or above that place was
//!   answered.

use std::collections::BTreeSet;
use std::fmt;

use standin_core::time::{Duration, Instant};
use standin_core::view::ViewId;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `add 1`.
    Add,
    /// `get`, confirmed or by lease: both promise the newest value.
    Get,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With this value, answered in this view.
    Value(i64, ViewId),
    /// It may or may not have been executed, or may yet be.
    Unknown,
    /// It was certainly not executed, and never will be; why.
    NotExecuted(String),
}

/// One operation as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) client: usize,
    pub(crate) kind: Kind,
    /// Before anything of it was sent.
    pub(crate) invoked: Instant,
    /// After its outcome was known.
    pub(crate) returned: Instant,
    pub(crate) outcome: Outcome,
}

impl Operation {
    pub(crate) fn value(&self) -> Option<i64> {
        match self.outcome {
            Outcome::Value(value, _) => Some(value),
            Outcome::Unknown | Outcome::NotExecuted(_) => None,
        }
    }

    pub(crate) fn view(&self) -> Option<ViewId> {
        match self.outcome {
            Outcome::Value(_, view) => Some(view),
            Outcome::Unknown | Outcome::NotExecuted(_) => None,
        }
    }

    fn is_unknown_add(&self) -> bool {
        self.kind == Kind::Add && self.outcome == Outcome::Unknown
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} of client {}, begun at {} us, ended at {} us: {:?}",
            self.kind,
            self.client,
            self.invoked.as_nanos() / 1000,
            self.returned.as_nanos() / 1000,
            self.outcome
        )
    }
}

/// All operations, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) operations: Vec<Operation>,
}

/// What a history amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Adds that were answered.
    pub(crate) adds: usize,
    /// Gets that were answered.
    pub(crate) gets: usize,
    /// Adds whose outcome is unknown.
    pub(crate) unknown: usize,
    /// The highest value that was seen.
    pub(crate) highest: i64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            adds,
            gets,
            unknown,
            highest,
        } = self;
        write!(
            f,
            "{adds} adds and {gets} gets answered, {unknown} adds unknown, highest value {highest}"
        )
    }
}

impl History {
    pub(crate) fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Whether a counter that began at zero can have answered like this. The error names what
    /// cannot be.
    pub(crate) fn check(&self) -> Result<Summary, String> {
        let summary = self.summary();
        let places = self.places()?;
        let begun = summary.adds + summary.unknown;
        if i64::try_from(begun).is_ok_and(|begun| summary.highest > begun) {
            let highest = summary.highest;
            return Err(format!(
                "the value {highest} was seen, but only {begun} adds were begun: one ran twice"
            ));
        }
        let floors = self.check_order()?;
        check_gaps(&places, summary.highest, &floors)?;
        Ok(summary)
    }

    /// Operations that ended without having been executed.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &Operation> {
        let failed = |operation: &&Operation| operation.value().is_none();
        self.operations.iter().filter(failed)
    }

    /// The longest time that any of the first `clients` clients was without an answer and that ended
    /// in this span of time.
    pub(crate) fn longest_wait(&self, clients: usize, from: Instant, to: Instant) -> Duration {
        let wait_of = |client| {
            let answers = self.answers_of(client);
            let ended = |pair: &&[Instant]| pair[1] > from && pair[1] <= to;
            let pairs = answers.windows(2).filter(ended);
            pairs.map(|pair| pair[1].since(pair[0])).max()
        };
        (0..clients).filter_map(wait_of).max().unwrap_or_default()
    }

    fn answers_of(&self, client: usize) -> Vec<Instant> {
        let of_client = self.operations.iter().filter(|op| op.client == client);
        let answered = of_client.filter(|op| op.value().is_some());
        answered.map(|op| op.returned).collect()
    }

    fn summary(&self) -> Summary {
        let count = |is_it: &dyn Fn(&Operation) -> bool| {
            self.operations.iter().filter(|op| is_it(op)).count()
        };
        let values = self.operations.iter().filter_map(Operation::value);
        Summary {
            adds: count(&|op| op.kind == Kind::Add && op.value().is_some()),
            gets: count(&|op| op.kind == Kind::Get && op.value().is_some()),
            unknown: count(&Operation::is_unknown_add),
            highest: values.max().unwrap_or(0),
        }
    }

    /// The places of the answered adds.
    fn places(&self) -> Result<BTreeSet<i64>, String> {
        let mut places = BTreeSet::new();
        for add in self.operations.iter().filter(|op| op.kind == Kind::Add) {
            let Some(value) = add.value() else { continue };
            if value < 1 {
                return Err(format!("an add was answered with {value}: {add}"));
            }
            if !places.insert(value) {
                return Err(format!("two adds were answered with {value}: {add}"));
            }
        }
        Ok(places)
    }

    /// Checks that nothing was answered with less than was answered before it was begun, and returns
    /// what was answered before each add without an answer was begun.
    fn check_order(&self) -> Result<Vec<i64>, String> {
        let mut begun: Vec<&Operation> = self.operations.iter().collect();
        begun.sort_by_key(|op| op.invoked);
        let mut ended: Vec<&Operation> = begun.clone();
        ended.retain(|op| op.value().is_some());
        ended.sort_by_key(|op| op.returned);
        let mut ended = ended.into_iter().peekable();
        let mut highest: Option<&Operation> = None;
        let mut floors = Vec::new();
        for op in begun {
            while let Some(before) = ended.next_if(|before| before.returned < op.invoked) {
                if before.value() > highest.and_then(Operation::value) {
                    highest = Some(before);
                }
            }
            let floor = highest.and_then(Operation::value).unwrap_or(0);
            if op.is_unknown_add() {
                floors.push(floor);
            }
            let is_below = op.value().is_some_and(|value| match op.kind {
                Kind::Add => value <= floor,
                Kind::Get => value < floor,
            });
            if let (true, Some(before)) = (is_below, highest) {
                return Err(format!("out of order: {op}; and yet before it: {before}"));
            }
            if op.value().is_some_and(|value| value < 0) {
                return Err(format!("a negative value: {op}"));
            }
        }
        Ok(floors)
    }
}

/// Checks that the places up to `highest` that no answered add has can be given to the adds without
/// an answer; each may have any place above its floor.
fn check_gaps(places: &BTreeSet<i64>, highest: i64, floors: &[i64]) -> Result<(), String> {
    let mut floors = floors.to_vec();
    floors.sort_unstable();
    let mut floors = floors.into_iter();
    for gap in (1..=highest).filter(|place| !places.contains(place)) {
        // The lowest floors go to the lowest gaps: an add that may fill a gap may fill any above it.
        if floors.next().is_none_or(|floor| floor >= gap) {
            return Err(format!(
                "the counter reached {highest}, but no add that was begun in time can have brought \
                 it to {gap}: one ran twice, or a lost one's place was taken"
            ));
        }
    }
    Ok(())
}

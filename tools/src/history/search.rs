//! The search for an order, through the calls of one key.

use std::collections::{BTreeMap, BTreeSet};

use super::{Call, Limits, Model, Outcome, STATES_SHOWN};

/// How many calls that run as others return may be kept in mind, for each configuration that may be.
const PAIRS_PER_CONFIGURATION: usize = 32;

/// What the search came to.
#[derive(Debug)]
pub(super) enum Found<State> {
    /// An order that explains all answers.
    Order,
    /// There is none in which this call has a place; the states the machine can have been in before.
    NoOrder { call: usize, states: Vec<State> },
    /// A limit was met; the return of this call was the furthest that was come to.
    Limit { call: usize },
}

/// Calls without an outcome that have been placed: how many of each kind. Kinds with none are left
/// out, so that equal ones compare as equal.
type Used = BTreeMap<usize, u32>;

/// A point that the machine may have reached: all that the past has to say about the future.
#[derive(Clone, Debug)]
struct Configuration<State> {
    /// How many of the returns have their place.
    returned: usize,
    state: State,
    /// The calls that have been placed although they have not returned yet.
    early: BTreeSet<usize>,
    used: Used,
}

/// Configurations that were come to, but for those that others made needless.
#[derive(Debug)]
struct Seen<State> {
    found: BTreeMap<(usize, State, BTreeSet<usize>), Vec<Used>>,
    count: usize,
    /// How often two were compared.
    compared: u64,
}

impl<State: Clone + Ord> Seen<State> {
    const fn new() -> Self {
        Self {
            found: BTreeMap::new(),
            count: 0,
            compared: 0,
        }
    }

    /// Adds one; false if one that is there already can do whatever it can.
    fn insert(&mut self, new: &Configuration<State>) -> bool {
        let key = (new.returned, new.state.clone(), new.early.clone());
        let alike = self.found.entry(key).or_default();
        self.compared += alike.len() as u64;
        if alike.iter().any(|used| is_within(used, &new.used)) {
            return false;
        }
        alike.push(new.used.clone());
        self.count += 1;
        true
    }
}

/// Whether `less` has used nothing that `more` has not.
fn is_within(less: &Used, more: &Used) -> bool {
    less.iter()
        .all(|(kind, count)| more.get(kind).is_some_and(|other| count <= other))
}

/// Calls without an outcome that ask the same.
#[derive(Debug)]
struct Kind<'a, Input> {
    input: &'a Input,
    /// For each of them, how many of the other calls had returned when it was made.
    made: Vec<usize>,
}

/// A moment of the history. The order of the variants counts: of what happens at one moment, calls
/// come first, so that they count as made before the others returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Called { call: usize },
    Returned { call: usize },
}

/// A return, when its call must have a place.
#[derive(Debug)]
struct Return {
    call: usize,
    /// The other calls that run then, in the order in which they return.
    others: Vec<usize>,
}

/// A configuration, and how far its followers have been tried.
#[derive(Debug)]
struct Visit<State> {
    configuration: Configuration<State>,
    next: usize,
}

/// What one choice at a configuration comes to.
#[derive(Debug)]
enum Choice<State> {
    Leads(Configuration<State>),
    /// The answer would be another, or the call has its place already.
    DoesNotFit,
    /// All choices have been tried.
    NoneLeft,
}

/// The most returns that have had a place.
#[derive(Debug)]
struct Furthest<State> {
    returned: usize,
    /// The states in which they had; of those from which nothing follows, a few.
    states: BTreeSet<State>,
    /// A call whose answer could not come any more in one of those.
    lost: Option<usize>,
}

/// A walk through the calls of one key.
#[derive(Debug)]
pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Input, M::Output>],
    returns: Vec<Return>,
    kinds: Vec<Kind<'a, M::Input>>,
    seen: Seen<M::State>,
    furthest: Furthest<M::State>,
    steps: u64,
    limits: Limits,
    /// How many configurations may be kept: see [`Limits::configurations_max`].
    room: usize,
    /// So many run at one time, with so many others in all, that this return is not come to.
    crowded_at: Option<usize>,
}

impl<'a, M: Model> Search<'a, M> {
    pub(super) fn new(
        model: &'a M,
        calls: &'a [Call<M::Input, M::Output>],
        part: &[usize],
        limits: Limits,
    ) -> Self {
        let mut search = Self {
            model,
            calls,
            returns: Vec::new(),
            kinds: Vec::new(),
            seen: Seen::new(),
            furthest: Furthest {
                returned: 0,
                states: BTreeSet::new(),
                lost: None,
            },
            steps: 0,
            limits,
            room: limits.configurations_max.saturating_add(part.len()),
            crowded_at: None,
        };
        search.walk(part);
        search
    }

    /// Goes through the history in time, and notes what is under way at each return.
    fn walk(&mut self, part: &[usize]) {
        let mut events = Vec::new();
        for &call in part {
            let Call {
                called, outcome, ..
            } = &self.calls[call];
            events.push((*called, Event::Called { call }));
            if let Outcome::Answered { at, .. } = outcome {
                assert!(
                    at >= called,
                    "call {call} returned at {at}, before {called}"
                );
                events.push((*at, Event::Returned { call }));
            }
        }
        events.sort_unstable();
        let mut known: BTreeMap<&M::Input, usize> = BTreeMap::new();
        // By the time of their return.
        let mut running = BTreeSet::new();
        let mut pairs = 0;
        for (now, event) in events {
            match event {
                Event::Called { call } => match &self.calls[call] {
                    Call {
                        outcome: Outcome::Answered { at, .. },
                        ..
                    } => {
                        running.insert((*at, call));
                    }
                    Call { input, .. } => {
                        let kind = *known.entry(input).or_insert_with(|| {
                            let made = Vec::new();
                            self.kinds.push(Kind { input, made });
                            self.kinds.len() - 1
                        });
                        self.kinds[kind].made.push(self.returns.len());
                    }
                },
                Event::Returned { call } => {
                    running.remove(&(now, call));
                    pairs += running.len();
                    if pairs > self.room.saturating_mul(PAIRS_PER_CONFIGURATION) {
                        self.crowded_at = Some(call);
                        return;
                    }
                    let others = running.iter().map(|(_, other)| *other).collect();
                    self.returns.push(Return { call, others });
                }
            }
        }
    }

    /// Follows one order for as long as it explains what comes, and turns back where it does not.
    pub(super) fn run(mut self) -> Found<M::State> {
        if let Some(call) = self.crowded_at {
            return Found::Limit { call };
        }
        let first = Configuration {
            returned: 0,
            state: self.model.initial(),
            early: BTreeSet::new(),
            used: Used::new(),
        };
        let mut path = Vec::new();
        let mut new = Some(first);
        loop {
            if let Some(mut configuration) = new.take()
                && self.is_worth_a_visit(&mut configuration)
            {
                if configuration.returned == self.returns.len() {
                    return Found::Order;
                }
                let next = 0;
                path.push(Visit {
                    configuration,
                    next,
                });
            }
            let furthest = self.returns[self.furthest.returned].call;
            let Some(visit) = path.last_mut() else {
                let Furthest { states, lost, .. } = self.furthest;
                return Found::NoOrder {
                    call: lost.unwrap_or(furthest),
                    states: states.into_iter().collect(),
                };
            };
            self.steps += 1;
            let steps = self.steps + self.seen.compared;
            if steps > self.limits.steps_max || self.seen.count > self.room {
                return Found::Limit { call: furthest };
            }
            match self.choose(&visit.configuration, visit.next) {
                Choice::Leads(follower) => new = Some(follower),
                Choice::DoesNotFit => {}
                Choice::NoneLeft => {
                    path.pop();
                    continue;
                }
            }
            visit.next += 1;
        }
    }

    /// Calls that change nothing and whose answers are right now are placed now. Where they have their place later in an
    /// order that explains all, they can have it here as well, for nothing else notices.
    fn place_readers(&mut self, one: &mut Configuration<M::State>) {
        while let Some(Return { call, others }) = self.returns.get(one.returned) {
            // They are looked at here, and once more for those whose answer cannot come any more.
            self.steps += 2 * others.len() as u64;
            for &reader in others.iter().chain([call]) {
                let (input, output) = self.answered(reader);
                if self.model.only_reads(input, output)
                    && self.model.step(&one.state, input, Some(output)).is_some()
                {
                    one.early.insert(reader);
                }
            }
            if !one.early.remove(call) {
                return;
            }
            one.returned += 1;
        }
    }

    /// Notes a configuration; false if it leads to nothing, or to nothing new.
    fn is_worth_a_visit(&mut self, new: &mut Configuration<M::State>) -> bool {
        self.place_readers(new);
        let lost = self.lost(new);
        let is_worth_it = lost.is_none() && self.seen.insert(new);
        if new.returned > self.furthest.returned {
            self.furthest = Furthest {
                returned: new.returned,
                states: BTreeSet::new(),
                lost: None,
            };
        }
        let furthest = &mut self.furthest;
        if new.returned == furthest.returned {
            if is_worth_it || furthest.states.len() < STATES_SHOWN {
                furthest.states.insert(new.state.clone());
            }
            furthest.lost = furthest.lost.or(lost);
        }
        is_worth_it
    }

    /// The next call to be placed is the one that returns next, or another that runs, sooner returns first, or, last,
    /// one without an outcome.
    fn choose(&self, one: &Configuration<M::State>, choice: usize) -> Choice<M::State> {
        let Return { call, others } = &self.returns[one.returned];
        let next = if choice == 0 {
            self.place(one, *call).map(|mut next| {
                next.returned += 1;
                next
            })
        } else if let Some(&other) = others.get(choice - 1) {
            let may_be_placed = !one.early.contains(&other);
            let next = may_be_placed.then(|| self.place(one, other)).flatten();
            next.map(|mut next| {
                next.early.insert(other);
                next
            })
        } else {
            let kind = choice - 1 - others.len();
            if kind == self.kinds.len() {
                return Choice::NoneLeft;
            }
            self.use_one(one, kind)
        };
        next.map_or(Choice::DoesNotFit, Choice::Leads)
    }

    /// Executes a call of a kind without an outcome, if one has been made that was not executed.
    fn use_one(
        &self,
        one: &Configuration<M::State>,
        kind: usize,
    ) -> Option<Configuration<M::State>> {
        let Kind { input, made } = &self.kinds[kind];
        let made = made.partition_point(|at| *at <= one.returned);
        let used = one.used.get(&kind).copied().unwrap_or(0);
        if used as usize >= made {
            return None;
        }
        let state = self.model.step(&one.state, input, None)?;
        let mut next = Configuration {
            state,
            ..one.clone()
        };
        next.used.insert(kind, used + 1);
        Some(next)
    }

    /// Executes an answered call.
    fn place(&self, one: &Configuration<M::State>, call: usize) -> Option<Configuration<M::State>> {
        let (input, output) = self.answered(call);
        let state = self.model.step(&one.state, input, Some(output))?;
        Some(Configuration {
            state,
            ..one.clone()
        })
    }

    /// A call that runs and whose answer cannot come any more.
    fn lost(&self, one: &Configuration<M::State>) -> Option<usize> {
        let Return { call, others } = self.returns.get(one.returned)?;
        let mut left = others.iter().chain([call]);
        let found = left.find(|call| {
            let (input, output) = self.answered(**call);
            !one.early.contains(call) && !self.model.may_reach(&one.state, input, output)
        });
        found.copied()
    }

    fn answered(&self, call: usize) -> (&M::Input, &M::Output) {
        let Call { input, outcome, .. } = &self.calls[call];
        match outcome {
            Outcome::Answered { output, .. } => (input, output),
            Outcome::Unknown => unreachable!("only calls that return run"),
        }
    }
}

//! The search for an order, through the calls of one key.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Call, Limits, Model, Outcome};

/// What the search came to.
#[derive(Debug)]
pub(super) enum Found<State> {
    /// An order that explains all answers.
    Order,
    /// There is none from the return of this call on; the states the machine can have been in before.
    NoOrder { call: usize, states: Vec<State> },
    /// A limit was met at the return of this call.
    Limit { call: usize },
}

/// A limit was met.
#[derive(Debug)]
struct LimitMet;

/// Calls without an outcome that have been placed: how many of each kind. Kinds with none are left
/// out, so that equal ones compare as equal.
type Used = BTreeMap<usize, u32>;

/// A point that the machine may have reached: all that the past has to say about the future.
#[derive(Clone, Debug)]
struct Configuration<State> {
    state: State,
    /// The calls that have been placed although they had not returned yet.
    early: BTreeSet<usize>,
    used: Used,
}

/// Configurations, each kept once, and none that another makes needless.
#[derive(Debug)]
struct Configurations<State> {
    found: BTreeMap<(State, BTreeSet<usize>), Vec<Used>>,
    count: usize,
}

impl<State: Clone + Ord> Configurations<State> {
    const fn new() -> Self {
        Self {
            found: BTreeMap::new(),
            count: 0,
        }
    }

    /// Adds one; false if one that is there already can do whatever it can.
    fn insert(&mut self, new: &Configuration<State>) -> bool {
        let key = (new.state.clone(), new.early.clone());
        let alike = self.found.entry(key).or_default();
        if alike.iter().any(|used| is_within(used, &new.used)) {
            return false;
        }
        let before = alike.len();
        alike.retain(|used| !is_within(&new.used, used));
        self.count -= before - alike.len();
        alike.push(new.used.clone());
        self.count += 1;
        true
    }

    fn into_all(self) -> impl Iterator<Item = Configuration<State>> {
        self.found.into_iter().flat_map(|((state, early), alike)| {
            alike.into_iter().map(move |used| Configuration {
                state: state.clone(),
                early: early.clone(),
                used,
            })
        })
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
    /// How many were made by now.
    made: u32,
}

/// A moment of the history. The order of the variants counts: of what happens at one moment, calls
/// come first, so that they count as made before the others returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Called { call: usize },
    Returned { call: usize },
}

/// A walk through the calls of one key, in time.
#[derive(Debug)]
pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Input, M::Output>],
    events: Vec<(u64, Event)>,
    kinds: Vec<Kind<'a, M::Input>>,
    /// For each call without an outcome, its place in `kinds`.
    kind_of: BTreeMap<usize, usize>,
    /// Calls that were made, have not returned by now, and will.
    running: BTreeSet<usize>,
    steps: u64,
    limits: Limits,
}

impl<'a, M: Model> Search<'a, M> {
    pub(super) fn new(
        model: &'a M,
        calls: &'a [Call<M::Input, M::Output>],
        part: &[usize],
        limits: Limits,
    ) -> Self {
        let mut events = Vec::new();
        let mut kinds = Vec::new();
        let mut kind_of = BTreeMap::new();
        let mut known: BTreeMap<&M::Input, usize> = BTreeMap::new();
        for &call in part {
            let Call {
                called,
                input,
                outcome,
                ..
            } = &calls[call];
            events.push((*called, Event::Called { call }));
            match outcome {
                Outcome::Answered { at, .. } => {
                    assert!(
                        at >= called,
                        "call {call} returned at {at}, before {called}"
                    );
                    events.push((*at, Event::Returned { call }));
                }
                Outcome::Unknown => {
                    let kind = *known.entry(input).or_insert_with(|| {
                        kinds.push(Kind { input, made: 0 });
                        kinds.len() - 1
                    });
                    kind_of.insert(call, kind);
                }
            }
        }
        events.sort_unstable();
        Self {
            model,
            calls,
            events,
            kinds,
            kind_of,
            running: BTreeSet::new(),
            steps: 0,
            limits,
        }
    }

    pub(super) fn run(mut self) -> Found<M::State> {
        let mut present = Configurations::new();
        present.insert(&Configuration {
            state: self.model.initial(),
            early: BTreeSet::new(),
            used: Used::new(),
        });
        for (_, event) in std::mem::take(&mut self.events) {
            let call = match event {
                Event::Called { call } => {
                    self.on_called(call);
                    continue;
                }
                Event::Returned { call } => call,
            };
            let before: Vec<_> = present.into_all().collect();
            present = match self.place(call, &before) {
                Ok(next) => next,
                Err(LimitMet) => return Found::Limit { call },
            };
            if present.count == 0 {
                let states: BTreeSet<_> = before.into_iter().map(|one| one.state).collect();
                let states = states.into_iter().collect();
                return Found::NoOrder { call, states };
            }
            self.running.remove(&call);
        }
        Found::Order
    }

    fn on_called(&mut self, call: usize) {
        match self.kind_of.get(&call) {
            Some(kind) => self.kinds[*kind].made += 1,
            None => {
                self.running.insert(call);
            }
        }
    }

    /// What can be so once `call` has returned: it was placed before, or it is placed now, perhaps
    /// after others that run.
    fn place(
        &mut self,
        call: usize,
        before: &[Configuration<M::State>],
    ) -> Result<Configurations<M::State>, LimitMet> {
        let mut placed = Configurations::new();
        let mut seen = Configurations::new();
        let mut to_do = VecDeque::new();
        for one in before {
            let mut one = one.clone();
            if one.early.remove(&call) {
                placed.insert(&one);
            } else if seen.insert(&one) {
                to_do.push_back(one);
            }
        }
        while let Some(one) = to_do.pop_front() {
            if placed.count + seen.count > self.limits.configurations_max {
                return Err(LimitMet);
            }
            if let Some(state) = self.step(&one.state, call)? {
                let next = Configuration {
                    state,
                    ..one.clone()
                };
                if !self.is_doomed(&next, Some(call)) {
                    placed.insert(&next);
                }
            }
            for next in self.followers(&one, call)? {
                if !self.is_doomed(&next, None) && seen.insert(&next) {
                    to_do.push_back(next);
                }
            }
        }
        Ok(placed)
    }

    /// What follows from `one` by a single call other than `call`.
    fn followers(
        &mut self,
        one: &Configuration<M::State>,
        call: usize,
    ) -> Result<Vec<Configuration<M::State>>, LimitMet> {
        let mut followers = Vec::new();
        let others: Vec<usize> = self.running.difference(&one.early).copied().collect();
        for other in others.into_iter().filter(|other| *other != call) {
            if let Some(state) = self.step(&one.state, other)? {
                let mut next = Configuration {
                    state,
                    ..one.clone()
                };
                next.early.insert(other);
                followers.push(next);
            }
        }
        for kind in 0..self.kinds.len() {
            let Kind { input, made } = self.kinds[kind];
            if one.used.get(&kind).copied().unwrap_or(0) >= made {
                continue;
            }
            self.count_step()?;
            if let Some(state) = self.model.step(&one.state, input, None) {
                let mut next = Configuration {
                    state,
                    ..one.clone()
                };
                *next.used.entry(kind).or_default() += 1;
                followers.push(next);
            }
        }
        Ok(followers)
    }

    /// Whether a running call's answer cannot come any more. `placed` has come.
    fn is_doomed(&self, one: &Configuration<M::State>, placed: Option<usize>) -> bool {
        let mut left = self.running.iter().filter(|&call| Some(*call) != placed);
        left.any(|call| !one.early.contains(call) && !self.may_reach(&one.state, *call))
    }

    fn may_reach(&self, state: &M::State, call: usize) -> bool {
        let Call { input, outcome, .. } = &self.calls[call];
        match outcome {
            Outcome::Answered { output, .. } => self.model.may_reach(state, input, output),
            Outcome::Unknown => true,
        }
    }

    fn step(&mut self, state: &M::State, call: usize) -> Result<Option<M::State>, LimitMet> {
        self.count_step()?;
        let Call { input, outcome, .. } = &self.calls[call];
        let output = match outcome {
            Outcome::Answered { output, .. } => Some(output),
            Outcome::Unknown => None,
        };
        Ok(self.model.step(state, input, output))
    }

    fn count_step(&mut self) -> Result<(), LimitMet> {
        self.steps += 1;
        if self.steps > self.limits.steps_max {
            return Err(LimitMet);
        }
        Ok(())
    }
}

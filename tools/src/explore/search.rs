//! The search: all runs with no deviation, then all with one, with two and so on.
//!
//! A state that was seen before is not followed again: whoever saw it first had no more deviations
//! behind him, so no fewer before him. States are compared at every step while deviations may still
//! come, and in the part of a run after its last one (most of the work by far) only where a quarter
//! of a term begins, since nothing branches off in between.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cluster::{Cluster, Task};
use super::deviation::{Deviation, deviations};
use super::past::Wish;
use super::rules::{self, Broken};
use super::{Bounds, Counterexample, Outcome, words};

const SCRIPT: [Wish; 5] = [
    Wish::Open,
    Wish::Write(1),
    Wish::Read,
    Wish::Write(2),
    Wish::Read,
];
/// A cluster that has not paired after so many quarters never will.
const PAIRING_MAX: u32 = 40;
/// Parts of the set of states seen, so that two threads seldom want the same.
const SHARDS: usize = 64;

/// Where a run left the default: after so many steps since the last time, with this.
type Trail = Vec<(u32, Deviation)>;

/// A run to be followed: it goes on from a known state.
#[derive(Clone, Debug)]
struct Start {
    base: Arc<Cluster>,
    steps: u32,
    deviation: Option<Deviation>,
    trail: Trail,
    /// Steps and deviations before `base`.
    depth: u32,
}

/// Which states were seen.
struct Seen(Vec<Mutex<BTreeSet<u128>>>);

impl Seen {
    fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    fn is_new(&self, print: u128) -> bool {
        let shard = usize::try_from(print % SHARDS as u128).expect("below 64");
        lock(&self.0[shard]).insert(print)
    }

    /// How many of these are not among `others`.
    fn beyond(&self, others: &Self) -> u64 {
        let shards = self.0.iter().zip(&others.0);
        let beyond = shards.map(|(own, others)| lock(own).difference(&lock(others)).count() as u64);
        beyond.sum()
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|shard| lock(shard).len() as u64).sum()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run that broke a rule, before it is put in words.
#[derive(Clone, Debug)]
struct Failure {
    trail: Trail,
    steps: u32,
    depth: u32,
    broken: Broken,
}

/// Explores everything within the bounds, on so many threads; stops at the number of deviations at
/// which a rule is broken.
///
/// # Panics
/// If a cluster in which nothing goes wrong does not come to be a pair.
#[must_use]
pub fn explore(bounds: Bounds, threads: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let begin = match beginning(bounds) {
        Ok(begin) => Arc::new(begin),
        Err(counterexample) => {
            outcome.counterexample = Some(counterexample);
            return outcome;
        }
    };
    let (seen, seen_last) = (Seen::new(), Seen::new());
    let mut starts = vec![Start {
        base: Arc::clone(&begin),
        steps: 0,
        deviation: None,
        trail: Vec::new(),
        depth: 0,
    }];
    for used in 0..bounds.deviations.max(1) {
        let layer = Layer {
            seen: &seen,
            seen_last: &seen_last,
            left: bounds.deviations - used,
            starts: &starts,
            taken: AtomicUsize::new(0),
        };
        let mut found = layer.explore(threads);
        outcome.add(&found.outcome);
        found.starts.sort_by(|a, b| a.trail.cmp(&b.trail));
        let shortest = |it: &Failure| (it.trail.len(), it.depth);
        if let Some(failure) = found.failures.into_iter().min_by_key(shortest) {
            outcome.counterexample = Some(retell(&begin, &failure));
            break;
        }
        starts = found.starts;
    }
    outcome.states = seen.len() + seen_last.beyond(&seen);
    outcome
}

/// The state in which the exploration begins.
fn beginning(bounds: Bounds) -> Result<Cluster, Counterexample> {
    let mut cluster = Cluster::new(bounds, &SCRIPT);
    if bounds.from_nothing {
        return Ok(cluster);
    }
    let mut lines = Vec::new();
    let mut paired_at = None;
    loop {
        cluster.began = cluster.elapsed;
        let task = match cluster.next() {
            // The session is open; the script goes on once there is a pair and all is quiet.
            Some(Task::Call(1)) if paired_at.is_some_and(|at| cluster.elapsed > at) => {
                return Ok(cluster);
            }
            Some(Task::Call(1)) | None => Task::Elapse,
            Some(task) => task,
        };
        lines.push(words::task(&cluster, task));
        if let Err(broken) = attempt(&mut cluster, |it| it.step(task)) {
            return Err(counterexample(&broken, lines, 0));
        }
        let record = cluster.service.stored.record.as_ref();
        if record.is_some_and(|record| record.backup.is_some()) {
            paired_at.get_or_insert(cluster.elapsed);
        }
        assert!(cluster.elapsed < PAIRING_MAX, "no pair: {lines:#?}");
    }
}

/// All runs with the same number of deviations so far.
struct Layer<'a> {
    seen: &'a Seen,
    /// States seen after the last deviation: from them no run branches off.
    seen_last: &'a Seen,
    /// Deviations that may still come.
    left: usize,
    starts: &'a [Start],
    taken: AtomicUsize,
}

#[derive(Default)]
struct Found {
    outcome: Outcome,
    starts: Vec<Start>,
    failures: Vec<Failure>,
}

/// A run on its way.
struct Run {
    cluster: Cluster,
    trail: Trail,
    /// Steps since the last deviation.
    steps: u32,
    depth: u32,
}

impl Run {
    fn deviate(&mut self, deviation: Deviation, found: &mut Found) -> Result<(), Broken> {
        self.depth += 1;
        found.outcome.transitions += 1;
        attempt(&mut self.cluster, |it| it.deviate(deviation))
    }

    fn step(&mut self, task: Task, found: &mut Found) -> Result<(), Broken> {
        self.steps += 1;
        self.depth += 1;
        found.outcome.transitions += 1;
        attempt(&mut self.cluster, |it| it.step(task))
    }
}

impl Layer<'_> {
    fn explore(&self, threads: usize) -> Found {
        let mut all = Found::default();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.work())).collect();
            for worker in workers {
                let found = worker.join().expect("a worker ends with what it found");
                all.outcome.add(&found.outcome);
                all.starts.extend(found.starts);
                all.failures.extend(found.failures);
            }
        });
        all
    }

    fn work(&self) -> Found {
        let mut found = Found::default();
        while let Some(start) = self.starts.get(self.taken.fetch_add(1, Ordering::Relaxed)) {
            let mut run = Run {
                cluster: (*start.base).clone(),
                trail: start.trail.clone(),
                steps: 0,
                depth: start.depth + start.steps,
            };
            for _ in 0..start.steps {
                let task = run.cluster.next().expect("it went on before");
                run.cluster.step(task).expect("nothing was broken before");
            }
            let begun = match start.deviation {
                Some(deviation) => run.deviate(deviation, &mut found),
                None => Ok(()),
            };
            self.follow(run, begun, self.left, &mut found);
        }
        found
    }

    /// Follows a run by default to its end, or to a state that was seen before.
    fn follow(&self, mut run: Run, begun: Result<(), Broken>, left: usize, found: &mut Found) {
        let (base, depth) = (Arc::new(run.cluster.clone()), run.depth);
        let seen = if left == 0 { self.seen_last } else { self.seen };
        let mut outcome = begun;
        let mut is_boundary = true;
        loop {
            found.outcome.depth = found.outcome.depth.max(run.depth);
            if let Err(broken) = outcome {
                found.failures.push(Failure {
                    trail: run.trail,
                    steps: run.steps,
                    depth: run.depth,
                    broken,
                });
                return;
            }
            let branches = left > 0 && run.cluster.is_in_window();
            if (branches || is_boundary) && !seen.is_new(run.cluster.print()) {
                return;
            }
            let Some(task) = run.cluster.next() else {
                found.outcome.end(&run.cluster);
                return;
            };
            if branches {
                for deviation in deviations(&run.cluster, task) {
                    self.branch(&run, (&base, depth), (deviation, left - 1), found);
                }
            }
            outcome = run.step(task, found);
            is_boundary = task == Task::Elapse;
        }
    }

    /// A run branches off. Those in which nothing more can branch off are followed at once; the others
    /// wait for their layer.
    fn branch(
        &self,
        run: &Run,
        (base, depth): (&Arc<Cluster>, u32),
        (deviation, left): (Deviation, usize),
        found: &mut Found,
    ) {
        let mut trail = run.trail.clone();
        trail.push((run.steps, deviation));
        if left > 0 {
            found.starts.push(Start {
                base: Arc::clone(base),
                steps: run.steps,
                deviation: Some(deviation),
                trail,
                depth,
            });
            return;
        }
        let mut run = Run {
            cluster: run.cluster.clone(),
            trail,
            steps: 0,
            depth: run.depth,
        };
        let begun = run.deviate(deviation, found);
        self.follow(run, begun, left, found);
    }
}

impl Outcome {
    fn add(&mut self, other: &Self) {
        self.transitions += other.transitions;
        self.depth = self.depth.max(other.depth);
        self.ends += other.ends;
        self.ends_answered += other.ends_answered;
        self.ends_stuck += other.ends_stuck;
        self.ends_taken_over += other.ends_taken_over;
        self.view_max = self.view_max.max(other.view_max);
    }

    fn end(&mut self, cluster: &Cluster) {
        self.ends += 1;
        let is_done = cluster.client.is_done();
        self.ends_answered += u64::from(is_done);
        self.ends_stuck += u64::from(!is_done && rules::has_holder(cluster));
        self.ends_taken_over += u64::from(cluster.past.takeovers > 0);
        let record = cluster.service.stored.record.as_ref();
        let view = record.map_or(0, |record| record.view.0);
        self.view_max = self.view_max.max(view);
    }
}

/// Does something in which a core may find its own assertion broken.
fn attempt(
    cluster: &mut Cluster,
    act: impl FnOnce(&mut Cluster) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let outcome = catch_unwind(AssertUnwindSafe(|| act(cluster)));
    outcome.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        let what = text.unwrap_or_else(|| "a panic without words".to_owned());
        Err(Broken::new("an assertion", what))
    })
}

/// Runs a failure once more, in words.
fn retell(begin: &Cluster, failure: &Failure) -> Counterexample {
    let mut cluster = begin.clone();
    let mut lines = Vec::new();
    let legs = failure
        .trail
        .iter()
        .map(|(steps, deviation)| (*steps, Some(*deviation)));
    for (steps, deviation) in legs.chain([(failure.steps, None)]) {
        for _ in 0..steps {
            let Some(task) = cluster.next() else { break };
            lines.push(words::task(&cluster, task));
            let _ = attempt(&mut cluster, |it| {
                let facts = it.carry_out(task)?;
                let told = facts.iter().filter_map(words::fact);
                lines.extend(told.map(|line| format!("    {line}")));
                rules::look(it, &facts)
            });
        }
        if let Some(deviation) = deviation {
            lines.push(format!("* {}", words::deviation(&cluster, deviation)));
            let _ = attempt(&mut cluster, |it| it.deviate(deviation));
        }
    }
    counterexample(&failure.broken, lines, failure.trail.len())
}

fn counterexample(broken: &Broken, lines: Vec<String>, deviations: usize) -> Counterexample {
    Counterexample {
        rule: broken.rule,
        what: broken.what.clone(),
        lines,
        deviations,
    }
}

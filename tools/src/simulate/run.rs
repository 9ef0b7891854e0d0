//! Running one seed, or many.

use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use super::check::Violation;
use super::fault::FaultCounts;
use super::heal::Demands;
use super::marks::Marks;
use super::plan::Plan;
use super::watched::Subject;
use super::world::World;

/// What one run came to, if all held.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Things that happened.
    pub steps: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that ended otherwise, or not at all.
    pub unanswered: u64,
    /// Virtual time, in nanoseconds.
    pub nanos: u64,
    /// Situations that were reached.
    pub marks: Marks,
    /// Faults that took effect.
    pub faults: FaultCounts,
    /// What was demanded once they had ended.
    pub(crate) demands: Demands,
    /// Messages that were damaged on their way.
    pub damaged: u64,
}

/// A run in which something did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What did not hold.
    pub violation: Violation,
    /// The line of code that panicked, if one did.
    pub place: Option<String>,
    /// When, in virtual nanoseconds.
    pub nanos: u64,
}

impl fmt::Display for Failure {
    #[allow(clippy::cast_precision_loss, reason = "seconds for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { property, what } = &self.violation;
        let (seed, seconds) = (self.seed, self.nanos as f64 / 1e9);
        let demands = self.violation.demands();
        write!(
            f,
            "seed {seed} breaks {property} ({demands}) at {seconds:.6} s: {what}"
        )
    }
}

/// What many runs came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs that were asked for.
    pub asked: u64,
    /// Runs that were made: fewer, if enough failed.
    pub runs: u64,
    /// All those together in which everything held.
    pub all: Outcome,
    /// Those in which something did not hold, by seed.
    pub failures: Vec<Failure>,
}

impl Summary {
    /// For tests: everything held.
    ///
    /// # Panics
    /// In words, if something did not.
    #[track_caller]
    pub fn assert_holds(&self) {
        let failures: Vec<String> = self.failures.iter().map(ToString::to_string).collect();
        let (count, runs, asked) = (failures.len(), self.runs, self.asked);
        assert!(
            failures.is_empty(),
            "{count} of the {runs} seeds that were run failed, of {asked}; the program's `simulate --seed N --trace trace.txt` \
             runs one again; docs/determinism.md tells what S1 and the like mean, and what breaks S10:\n{}",
            failures.join("\n")
        );
    }

    pub(crate) fn add(&mut self, result: Result<Outcome, Failure>) {
        self.runs += 1;
        match result {
            Ok(outcome) => {
                self.all.steps += outcome.steps;
                self.all.answered += outcome.answered;
                self.all.unanswered += outcome.unanswered;
                self.all.nanos += outcome.nanos;
                self.all.damaged += outcome.damaged;
                self.all.marks.add(&outcome.marks);
                self.all.faults.add(&outcome.faults);
                self.all.demands.add(outcome.demands);
            }
            Err(failure) => self.failures.push(failure),
        }
    }
}

/// Runs one seed.
///
/// # Errors
/// [`Failure`] tells which property did not hold.
pub fn run<M: Subject>(seed: u64) -> Result<Outcome, Failure> {
    run_plan::<M>(Plan::draw(seed), false).0
}

/// Runs one seed with a bug in all parties, to see whether it is found. Nothing is said of an assertion that does not hold:
/// it is a finding like any other, and there are many.
///
/// # Errors
/// [`Failure`] tells which property did not hold.
#[cfg(feature = "planted-bugs")]
pub fn run_planted<M: Subject>(
    seed: u64,
    planted: standin_core::planted::Planted,
) -> Result<Outcome, Failure> {
    let plan = Plan {
        planted,
        ..Plan::draw(seed)
    };
    IS_QUIET.set(true);
    let (result, _) = run_plan::<M>(plan, false);
    IS_QUIET.set(false);
    result
}

/// Makes a run that fails smaller, as long as the same property does not hold, or the same assertion:
/// fewer kinds of fault, clients and calls. What it comes to is `plan` itself if no smaller one fails so; `None` if the plan's
/// run does not fail.
#[must_use]
pub fn shrink<M: Subject>(plan: Plan) -> Option<(Plan, Failure)> {
    let mut smallest = plan;
    let mut failure = run_plan::<M>(smallest.clone(), false).0.err()?;
    let is_same = |one: &Failure, other: &Failure| {
        one.violation.property == other.violation.property && one.place == other.place
    };
    loop {
        let found = smallest.smaller().into_iter().find_map(|plan| {
            let failed = run_plan::<M>(plan.clone(), false).0.err()?;
            is_same(&failed, &failure).then_some((plan, failed))
        });
        match found {
            Some(found) => (smallest, failure) = found,
            None => return Some((smallest, failure)),
        }
    }
}

/// Runs one plan and keeps its trace: the same, byte for byte, each time.
pub fn run_traced<M: Subject>(plan: Plan) -> (Result<Outcome, Failure>, String) {
    let (result, lines) = run_plan::<M>(plan, true);
    (result, lines.unwrap_or_default())
}

fn run_plan<M: Subject>(plan: Plan, is_traced: bool) -> (Result<Outcome, Failure>, Option<String>) {
    let seed = plan.seed;
    let mut world = World::<M>::new(plan, is_traced);
    // An assertion of the code under test that does not hold is a failure like any other.
    watch_panics();
    PLACE.take();
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let nanos = world.now.as_nanos();
    let mut place = None;
    let result = match ran {
        Ok(Ok(())) => Ok(()),
        Ok(Err(violation)) => Err(violation),
        // What was seen before it in the same turn is its cause.
        Err(panic) => Err(world.checks.violation.take().unwrap_or_else(|| {
            place = PLACE.take();
            let at = place.as_deref().unwrap_or("an unknown place");
            Violation {
                property: "assertion",
                what: format!("{} (at {at})", words_of(&*panic)),
            }
        })),
    };
    let result = match result {
        Ok(()) => {
            let (answered, unanswered) = world.recorder.counts();
            let faults = world.effects();
            Ok(Outcome {
                steps: world.steps,
                answered,
                unanswered,
                nanos,
                marks: world.marks,
                faults,
                demands: Demands::of(world.healing.as_ref()),
                damaged: world.network.damaged,
            })
        }
        Err(violation) => {
            world.trace.remark(world.now, || violation.to_string());
            Err(Failure {
                seed,
                violation,
                place,
                nanos,
            })
        }
    };
    (result, world.trace.into_lines())
}

thread_local! {
    /// Where this thread panicked last.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
    /// Whether nothing is said of a panic of this thread.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// From here on it is known where a thread panicked. What was done about a panic before is still done, unless that thread is
/// to be quiet. This is the only hook of the simulator's: two that are put in place at the same time can lose one another.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PLACE.set(info.location().map(ToString::to_string));
            if !IS_QUIET.get() {
                before(info);
            }
        }));
    });
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

/// Runs `count` seeds from `first` on, on as many threads as the machine has cores. `progress` is told
/// how many are done. Ends early once `failures_max` have failed.
pub fn run_many<M: Subject>(
    first: u64,
    count: u64,
    failures_max: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Summary {
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let is_enough = AtomicBool::new(false);
    let summary = Mutex::new(Summary {
        asked: count,
        ..Summary::default()
    });
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_enough.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    let result = run::<M>(first.wrapping_add(at));
                    let mut summary = summary.lock().expect("nobody panics with it");
                    summary.add(result);
                    if summary.failures.len() >= failures_max {
                        is_enough.store(true, Ordering::Relaxed);
                    }
                    drop(summary);
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("nobody panicked with it");
    summary.failures.sort_by_key(|failure| failure.seed);
    summary
}

//! An exhaustive look at a small cluster: every run of the real decision cores with at most so many
//! deviations from the run in which nothing goes wrong.
//!
//! The simulator draws long runs of large clusters from a seed; this one leaves nothing to chance and
//! pays for it with size. A state is the cores of two or three replicas and of
//! the view service, their disks, what is on its way between them, and two clients with a short
//! script. From each state exactly one step follows *by default*; besides, a **deviation** may
//! come first: a message held back, a connection lost, a crash, a pause and so on (all of them in
//! `deviation.rs`). [`explore`] tries every deviation before every step, and again in each run that
//! this leads to, up to [`Bounds::deviations`] in one run (the idea is Emmi, Qadeer and Rakamaric 2011,
//! "Delay-bounded scheduling"). Runs that come to the same state are followed once.
//!
//! Time is no clock but a step: when nothing else is left to do, a quarter of a lease term goes by for
//! everybody at once.
//!
//! It touches nothing: no file, no socket, no clock; threads only to use several cores.

mod client;
mod cluster;
mod deviation;
mod disk;
mod fingerprint;
mod journal;
mod links;
mod node;
mod notes;
mod past;
mod rules;
mod search;
mod service;
mod words;

use std::fmt;

use standin_core::identity::Durability;
use standin_core::planted::Planted;
use standin_core::time::Duration;

pub use search::explore;

/// The lease term. Long, so that retries after some milliseconds are over before a quarter is.
const TERM: Duration = Duration::from_secs(4);

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Replicas: a pair, and with three a spare.
    pub replicas: usize,
    /// The durability level.
    pub durability: Durability,
    /// Deviations in one run, at most.
    pub deviations: usize,
    /// Deviations come before so many quarters of a lease term have gone by.
    pub window: u32,
    /// A run ends after so many quarters of a lease term.
    pub horizon: u32,
    /// Begins with empty disks, not with a pair.
    pub from_nothing: bool,
    /// A machine that lost its power seems not to have been booted since, so its replica still counts
    /// as a holder of what was in the page cache. No rule survives that: the search must find it.
    pub boots_look_alike: bool,
    /// A bug in the cores, which the search must find.
    pub planted: Planted,
}

/// What an exploration came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Different states that were kept and compared.
    pub states: u64,
    /// Steps and deviations that were carried out.
    pub transitions: u64,
    /// The longest run, in steps and deviations.
    pub depth: u32,
    /// Runs that were followed to the end.
    pub ends: u64,
    /// Of these, those at whose end all calls of the clients were answered.
    pub ends_answered: u64,
    /// Of these, those at whose end some were not, though there was a holder that could serve.
    pub ends_stuck: u64,
    /// Of these, those in which a replica took over from another.
    pub ends_taken_over: u64,
    /// The highest view of any run.
    pub view_max: u64,
    /// The shortest run that broke a rule: fewest deviations, then fewest steps.
    pub counterexample: Option<Counterexample>,
}

/// A run that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The rule, by its name in the protocol.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
    /// What happened, line by line.
    pub lines: Vec<String>,
    /// Deviations in it.
    pub deviations: usize,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "{} is broken: {}", self.rule, self.what)
    }
}

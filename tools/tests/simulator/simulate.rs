//! The simulator: that every rule holds for many seeds, that they reach what they should, that a run
//! can be made again, and that it sees what is wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use standin_core::machine::{Context, StateMachine};
use standin_core::random::RandomStream;
use standin_tools::simulate::{Ledger, Mark, Plan, Subject, run, run_many, run_traced, shrink};

/// Seeds of one run of the tests. Their first is named by `STANDIN_SIMULATE_FROM`, so that other runs
/// can try others.
const SEEDS: u64 = 1000;

fn first_seed() -> u64 {
    let named = std::env::var("STANDIN_SIMULATE_FROM");
    named.map_or(1, |text| {
        text.parse().expect("STANDIN_SIMULATE_FROM is a number")
    })
}

#[test]
fn every_rule_holds_and_every_situation_is_reached() {
    let summary = run_many::<Ledger>(first_seed(), SEEDS, 5, &|_| {});
    let failures: Vec<String> = summary
        .failures
        .iter()
        .map(|failure| {
            format!(
                "standin simulate --seed {}: {}",
                failure.seed, failure.violation
            )
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let missing: Vec<&str> = summary.all.marks.missing().map(Mark::words).collect();
    assert_eq!(
        missing,
        Vec::<&str>::new(),
        "never reached in {SEEDS} seeds"
    );
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in first_seed()..first_seed() + 20 {
        let (first, lines) = run_traced::<Ledger>(Plan::draw(seed));
        let (second, lines_again) = run_traced::<Ledger>(Plan::draw(seed));
        assert!(lines.lines().count() > 50, "seed {seed} has a trace");
        assert!(lines == lines_again, "seed {seed} went two ways");
        assert_eq!(first.unwrap().steps, second.unwrap().steps, "seed {seed}");
    }
}

/// Replies with a number that is another in every process, or here: in every call.
#[derive(Debug, Default)]
struct Moody {
    calls: u64,
}

static MOOD: AtomicU64 = AtomicU64::new(0);

impl StateMachine for Moody {
    const NAME: &'static str = "moody";
    const VERSION: u32 = 1;
    type Capture = u64;

    fn apply(&mut self, _ctx: &mut Context<'_>, _command: &[u8], reply: &mut Vec<u8>) {
        self.calls += 1;
        reply.extend_from_slice(&MOOD.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    }

    fn query(&self, _query: &[u8], reply: &mut Vec<u8>) {
        reply.extend_from_slice(&self.calls.to_le_bytes());
    }

    fn capture(&self) -> u64 {
        self.calls
    }

    fn write_capture(capture: &u64, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&capture.to_le_bytes())
    }

    fn restore(input: &mut dyn Read) -> io::Result<Self> {
        let mut calls = [0; 8];
        input.read_exact(&mut calls)?;
        Ok(Self {
            calls: u64::from_le_bytes(calls),
        })
    }
}

impl Subject for Moody {
    fn draw_command(_random: &mut RandomStream, _last: Option<&[u8]>) -> Vec<u8> {
        vec![1]
    }

    fn draw_query(_random: &mut RandomStream) -> Vec<u8> {
        vec![2]
    }
}

#[test]
fn a_machine_that_is_not_deterministic_is_found_at_once() {
    let failure = run::<Moody>(1).unwrap_err();
    assert!(
        ["S10", "S12", "S18"].contains(&failure.violation.property),
        "{}",
        failure.violation
    );
}

#[test]
fn a_run_of_many_that_fail_ends_early_and_says_how_many_were_asked_for() {
    let summary = run_many::<Moody>(1, 500, 2, &|_| {});
    assert_eq!(summary.asked, 500);
    assert!((2..100).contains(&summary.runs), "{} runs", summary.runs);
    assert!(summary.failures.len() as u64 <= summary.runs);
    let told = summary.failures[0].to_string();
    let demands = summary.failures[0].violation.demands();
    assert!(told.contains(&format!(" ({demands}) at ")), "{told}");
}

#[test]
fn a_failure_is_made_smaller() {
    let plan = Plan::draw(2);
    let (smallest, failure) = shrink::<Moody>(plan.clone()).unwrap();
    assert!(smallest.faults.len() < plan.faults.len(), "{smallest:?}");
    assert_eq!(
        smallest.faults,
        [],
        "no fault is needed: {}",
        failure.violation
    );
    assert!(
        shrink::<Ledger>(plan).is_none(),
        "what holds is not made smaller"
    );
}

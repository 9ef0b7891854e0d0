//! The real decision cores of a small cluster, in every run with at most so many deviations from the
//! run in which nothing goes wrong. docs/testing.md says what a deviation is.

#![expect(
    clippy::print_stdout,
    reason = "the figures and the story are for people"
)]

use std::time::Instant;

use standin_core::identity::Durability;
use standin_core::planted::{Bug, Planted};
use standin_tools::explore::{Bounds, Outcome, explore};

const PAIR: Bounds = Bounds {
    replicas: 3,
    durability: Durability::Os,
    deviations: 1,
    window: 5,
    horizon: 16,
    from_nothing: false,
    boots_look_alike: false,
    planted: Planted::NONE,
};

const FROM_NOTHING: Bounds = Bounds {
    window: 8,
    horizon: 18,
    from_nothing: true,
    ..PAIR
};

const LEVELS: [Durability; 3] = [Durability::Memory, Durability::Os, Durability::Disk];

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Explores, tells the figures, and demands that no rule was broken and that much was seen.
fn hold(bounds: Bounds) -> Outcome {
    let began = Instant::now();
    let outcome = explore(bounds, threads());
    println!("{bounds:?}\n{outcome:?}\nin {:.1?}", began.elapsed());
    if let Some(counterexample) = &outcome.counterexample {
        panic!("{counterexample}");
    }
    assert!(outcome.ends_taken_over > 0, "nobody ever took over");
    // Everything that was lost has come back by then. Only if no holder is left nobody may serve, and
    // at level `disk` there always is one.
    assert_eq!(outcome.ends_stuck, 0, "calls left unanswered");
    if bounds.durability == Durability::Disk {
        assert_eq!(outcome.ends_answered, outcome.ends, "calls left unanswered");
    }
    outcome
}

/// A number from the environment, for a wider look than the usual one.
fn asked_for<T: std::str::FromStr>(variable: &str, usual: T) -> T {
    let text = std::env::var(variable).ok();
    text.map_or(usual, |text| match text.parse() {
        Ok(number) => number,
        Err(_) => panic!("{variable} is {text}, and should be a number"),
    })
}

#[test]
fn one_deviation_before_any_step_of_a_pair_breaks_no_rule() {
    for durability in LEVELS {
        hold(Bounds { durability, ..PAIR });
    }
}

#[test]
fn one_deviation_before_any_step_from_empty_disks_on_breaks_no_rule() {
    for durability in LEVELS {
        hold(Bounds {
            durability,
            ..FROM_NOTHING
        });
    }
}

#[test]
fn more_deviations_in_a_shorter_time_break_no_rule() {
    for durability in [Durability::Os, Durability::Disk] {
        hold(Bounds {
            durability,
            deviations: asked_for("STANDIN_EXPLORE_DEVIATIONS", 2),
            window: asked_for("STANDIN_EXPLORE_WINDOW", 1),
            ..PAIR
        });
    }
}

#[test]
fn what_is_found_does_not_depend_on_the_threads() {
    let bounds = Bounds { window: 2, ..PAIR };
    assert_eq!(explore(bounds, 1), explore(bounds, 2));
}

#[test]
fn a_power_loss_that_nobody_notices_is_found_and_its_story_is_told() {
    let bounds = Bounds {
        boots_look_alike: true,
        ..PAIR
    };
    let outcome = explore(bounds, threads());
    let counterexample = outcome.counterexample.expect("an entry is lost");
    println!("{counterexample}");
    assert_eq!(counterexample.rule, "S4");
    assert_eq!(counterexample.deviations, 1, "one power loss is enough");
    let is_told = |line: &String| line.contains("loses its power");
    assert!(counterexample.lines.iter().any(is_told));
}

/// Bugs that so small a cluster and so few deviations can show: what each is found by, and how few
/// deviations it takes.
#[test]
fn planted_bugs_are_found_with_as_few_deviations_as_they_take() {
    let memory = Bounds {
        durability: Durability::Memory,
        ..PAIR
    };
    let disk = Bounds {
        durability: Durability::Disk,
        ..PAIR
    };
    // Without a spare, which would join before the next answer leaves.
    let alone = Bounds {
        replicas: 2,
        ..PAIR
    };
    let twice = Bounds {
        deviations: 2,
        window: 1,
        ..PAIR
    };
    let cases = [
        (Bug::AnswersUngated, PAIR, "S15", 0),
        (Bug::AcknowledgedEarly, disk, "S4", 0),
        (Bug::AppliedEarly, PAIR, "S8", 0),
        (Bug::ViewUnsynced, PAIR, "S7", 0),
        (Bug::DropUngated, PAIR, "S15", 1),
        (Bug::JoinUnfenced, FROM_NOTHING, "S15", 1),
        (Bug::SpareUnsynced, PAIR, "S4", 1),
        (Bug::NonHolderPromoted, memory, "S14", 1),
        (Bug::ViewResumed, PAIR, "an assertion", 1),
        (Bug::ViewForgotten, PAIR, "S7", 1),
        (Bug::ReadsUnconfirmed, PAIR, "S12", 1),
        (Bug::RestartedPromoted, memory, "S14", 1),
        (Bug::RepeatExecuted, PAIR, "S11", 1),
        (Bug::ActivateUnsynced, PAIR, "S4", 1),
        (Bug::DropUnsynced, PAIR, "S4", 1),
        (Bug::LoneCopyUnsynced, alone, "S4", 1),
        (Bug::ServesEarly, twice, "S13", 2),
    ];
    for (bug, bounds, rule, deviations) in cases {
        let planted = Planted::new(bug);
        let began = Instant::now();
        let outcome = explore(Bounds { planted, ..bounds }, threads());
        let found = outcome.counterexample.map(|it| (it.rule, it.deviations));
        println!(
            "{bug:?}: {found:?}, {} states, {:.1?}",
            outcome.states,
            began.elapsed()
        );
        assert_eq!(found, Some((rule, deviations)), "{bug:?}");
    }
}

//! The harness is tested too: the checker of histories must accept what a counter can show and
//! refuse everything else.

#[allow(dead_code, reason = "only the checker is under test here")]
mod counter_history;

use counter_history::{History, Kind, Operation, Outcome};
use standin_core::time::{Duration, Instant};
use standin_core::view::ViewId;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Operations by client, kind, begin, end and value; without a value its outcome is unknown.
fn history(operations: &[(usize, Kind, u64, u64, Option<i64>)]) -> History {
    let mut history = History::default();
    for &(client, kind, invoked, returned, value) in operations {
        history.push(Operation {
            client,
            kind,
            invoked: at(invoked),
            returned: at(returned),
            outcome: value.map_or(Outcome::Unknown, |value| {
                Outcome::Value(value, ViewId::default())
            }),
        });
    }
    history
}

fn is_fine(operations: &[(usize, Kind, u64, u64, Option<i64>)]) -> bool {
    history(operations).check().is_ok()
}

use Kind::{Add, Get};

#[test]
fn what_a_counter_can_show_is_accepted() {
    assert!(is_fine(&[]));
    let concurrent = [(0, Add, 0, 10, Some(2)), (1, Add, 0, 10, Some(1))];
    assert!(is_fine(&concurrent));
    let read_in_between = [
        (0, Add, 0, 10, Some(1)),
        (1, Get, 5, 20, Some(0)),
        (1, Get, 21, 22, Some(1)),
        (0, Add, 11, 30, Some(2)),
        (2, Get, 12, 29, Some(2)),
    ];
    assert!(is_fine(&read_in_between));
}

#[test]
fn an_add_without_an_answer_may_count_or_not() {
    let unknown = (1, Add, 5, 6, None);
    assert!(is_fine(&[
        (0, Add, 0, 1, Some(1)),
        unknown,
        (0, Get, 7, 8, Some(1))
    ]));
    assert!(is_fine(&[
        (0, Add, 0, 1, Some(1)),
        unknown,
        (0, Get, 7, 8, Some(2))
    ]));
    // It takes effect long after its client gave up.
    assert!(is_fine(&[
        (0, Add, 0, 1, Some(1)),
        unknown,
        (0, Get, 7, 8, Some(1)),
        (0, Add, 9, 10, Some(3))
    ]));
    let too_many = [unknown, (0, Add, 7, 8, Some(3))];
    assert!(!is_fine(&too_many), "one add cannot count twice");
    let too_late = [
        (0, Add, 0, 1, Some(2)),
        (1, Add, 2, 3, None),
        (1, Add, 2, 3, None),
    ];
    assert!(
        !is_fine(&too_late),
        "an add cannot count before it is begun"
    );
}

#[test]
fn a_doubled_a_lost_and_a_stale_answer_are_found() {
    let doubled = [(0, Add, 0, 1, Some(1)), (1, Add, 2, 3, Some(3))];
    assert!(!is_fine(&doubled), "the place 2 was taken by nobody");
    let lost = [(0, Add, 0, 1, Some(1)), (1, Add, 2, 3, Some(1))];
    assert!(!is_fine(&lost), "the first add was forgotten");
    let lost_and_read = [(0, Add, 0, 1, Some(1)), (1, Get, 2, 3, Some(0))];
    assert!(!is_fine(&lost_and_read));
    let stale = [
        (0, Add, 0, 1, Some(1)),
        (0, Add, 2, 3, Some(2)),
        (1, Get, 4, 5, Some(1)),
    ];
    assert!(!is_fine(&stale));
    let back = [
        (0, Add, 0, 90, Some(1)),
        (1, Get, 1, 2, Some(1)),
        (1, Get, 3, 4, Some(0)),
    ];
    assert!(!is_fine(&back), "what was read once stays");
    let early = [(1, Get, 0, 1, Some(1)), (0, Add, 2, 3, Some(1))];
    assert!(!is_fine(&early), "an add was seen before it was begun");
}

#[test]
fn the_longest_wait_is_that_of_any_client() {
    let seen = history(&[
        (0, Add, 0, 10, Some(1)),
        (1, Add, 0, 11, Some(2)),
        (0, Add, 11, 500, Some(3)),
        (1, Add, 12, 900, Some(4)),
        (0, Add, 501, 510, Some(5)),
        (1, Add, 901, 5000, Some(6)),
    ]);
    assert_eq!(seen.longest_wait(2, at(20), at(1000)).as_millis(), 889);
    assert_eq!(
        seen.longest_wait(2, at(5001), at(6000)),
        Duration::from_millis(0)
    );
    let summary = seen.check().expect("nothing is wrong with it");
    assert_eq!((summary.adds, summary.gets, summary.highest), (6, 0, 6));
}

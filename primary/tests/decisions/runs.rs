//! Which commands share an entry.

use standin_core::conn::ConnId;
use standin_core::entry::{Command, RUN_BYTES_MAX, RUN_COMMANDS_MAX};
use standin_core::identity::Durability;
use standin_primary::{Event, Input, Waiter};

use crate::support::Bench;

/// Session, sequence number, and how many bytes.
type Row = (u64, u64, usize);

/// How many commands each entry has that these become.
fn entries(shares_entry: fn(&[u8]) -> bool, rows: &[Row]) -> Vec<usize> {
    let mut bench = Bench::sharing(Durability::Os, shares_entry);
    let text = vec![b'x'; RUN_BYTES_MAX + 1];
    let inputs: Vec<Input<'_>> = (1..)
        .zip(rows)
        .map(|(id, &(session, sequence, length))| {
            let conn = ConnId(session);
            let command = Command {
                session,
                sequence,
                acknowledged: 0,
                bytes: &text[..length],
            };
            Input::Command(Waiter { conn, id }, command)
        })
        .collect();
    let first = bench.primary.tip().index.next();
    bench.event(Event::Inputs(&inputs));
    let last = bench.primary.tip().index;
    // Whoever waits for an entry waits for one command of it, in their order.
    let mut ids = 1..;
    (first.0..=last.0)
        .map(|index| {
            let waiters =
                std::iter::from_fn(|| bench.primary.take_waiter(standin_core::entry::Index(index)));
            waiters
                .map(|waiter| assert_eq!(Some(waiter.id), ids.next()))
                .count()
        })
        .collect()
}

#[test]
fn short_commands_of_a_session_whose_numbers_follow_each_other_share_an_entry() {
    let max = RUN_COMMANDS_MAX;
    let many: Vec<Row> = (1..=2 * max as u64 + 3).map(|it| (1, it, 1)).collect();
    for (rows, expected) in [
        (&[(1, 1, 1), (1, 2, 1), (1, 3, 1)][..], vec![3]),
        (&[(1, 1, 1), (2, 1, 1), (2, 2, 1), (1, 2, 1)], vec![1, 2, 1]),
        (&[(1, 1, 1), (1, 1, 1), (1, 2, 1)], vec![1, 2]),
        (&[(1, 1, 1), (1, 3, 1), (1, 2, 1)], vec![1, 1, 1]),
        (&[(1, 1, RUN_BYTES_MAX), (1, 2, 1)], vec![1, 1]),
        (
            &[(1, 1, RUN_BYTES_MAX - 1), (1, 2, 1), (1, 3, 1)],
            vec![2, 1],
        ),
        (
            &[(1, 1, RUN_BYTES_MAX + 1), (1, 2, 1), (1, 3, 1)],
            vec![1, 2],
        ),
        (&[(1, u64::MAX - 1, 1), (1, u64::MAX, 1)], vec![1, 1]),
        (&many, vec![max, max, 3]),
    ] {
        assert_eq!(entries(|_| true, rows), expected, "{rows:?}");
        assert_eq!(entries(|_| false, rows), vec![1; rows.len()]);
    }
    let rows = [(1, 1, 1), (1, 2, 1), (1, 3, 2), (1, 4, 1), (1, 5, 1)];
    let but_one = entries(|command| command.len() == 1, &rows);
    assert_eq!(but_one, [2, 1, 2], "the machine says which");
}

#[test]
fn the_machine_is_not_asked_about_a_command_that_stands_alone() {
    let max = RUN_BYTES_MAX;
    for rows in [
        &[(1, 1, 1)][..],
        &[(1, 1, 1), (2, 1, 1), (1, 2, 1)],
        &[(1, 1, 1), (1, 1, 1), (1, 3, 1)],
        &[(1, 1, max), (1, 2, 1), (2, 1, 1)],
        &[(1, u64::MAX - 1, 1), (1, u64::MAX, 1)],
    ] {
        let asked = |_: &[u8]| panic!("the machine is asked");
        assert_eq!(entries(asked, rows), vec![1; rows.len()], "{rows:?}");
    }
}

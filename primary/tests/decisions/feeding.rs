//! Entries from the log for a follower that is behind, while others are served.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use standin_core::conn::ConnId;
use standin_core::entry::Batch;
use standin_core::identity::Durability;
use standin_primary::{Event, LOG_READ_BYTES};

use crate::support::{Bench, identity};

const C: ConnId = ConnId(3);
/// Two such entries are less than may be read in one wake-up, and three are more.
const COMMAND_BYTES: usize = LOG_READ_BYTES * 2 / 5;
const ENTRIES: u64 = 20;

/// A lone primary that has ordered many entries since a follower came.
fn behind() -> Bench {
    let mut bench = Bench::solo(Durability::Os);
    let have = bench.primary.tip().index;
    bench.follow(C, &identity("c", 1));
    for _ in 0..ENTRIES {
        bench.command_of(&[7; COMMAND_BYTES]);
        bench.sync_all();
    }
    bench.event(Event::Flush);
    bench.ack(C, have, 0);
    bench
}

/// Reads the log whenever that is asked for, an entry at a time, until it is asked for no more; how many entries.
fn read_on(bench: &mut Bench) -> u64 {
    let mut read = 0;
    while let Some((conn, from)) = bench.asked.log_reads.pop() {
        let holds = |batch: &&Arc<Batch>| batch.last() == from;
        let batch = bench.asked.appended.iter().find(holds).unwrap().clone();
        bench.event(Event::LogRead(conn, batch.bytes().to_vec()));
        read += 1;
    }
    read
}

#[test]
fn a_follower_that_is_behind_is_fed_a_little_in_each_wake_up() {
    let mut bench = behind();
    assert_eq!(read_on(&mut bench), 3, "until it is enough");
    let at = bench.primary.deadline().unwrap();
    assert!(at <= bench.now.boot, "and the loop comes round at once");
    bench.event(Event::Deadline);
    assert_eq!(
        read_on(&mut bench),
        0,
        "whatever else there is in this wake-up"
    );
    let mut wake_ups = 1;
    while wake_ups * 3 < ENTRIES {
        bench.event(Event::Flush);
        read_on(&mut bench);
        wake_ups += 1;
    }
    assert_eq!(
        bench.primary.needs_from(),
        Some(bench.primary.tip().index.next()),
        "all was sent"
    );
    assert!(
        bench.primary.deadline().unwrap() > bench.now.boot,
        "it rests"
    );
}

#[test]
fn it_is_fed_more_than_what_comes_to_be_ordered_meanwhile() {
    let mut bench = behind();
    read_on(&mut bench);
    bench.event(Event::Flush);
    read_on(&mut bench);
    for _ in 0..4 {
        bench.command_of(&[7; COMMAND_BYTES]);
        bench.sync_all();
    }
    assert!(read_on(&mut bench) > 4, "so it comes nearer");
}

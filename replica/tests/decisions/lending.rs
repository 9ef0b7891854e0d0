//! Entries for a replica whose log is damaged: whoever has them sends them, and nobody sends others.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use standin_core::conn::ConnId;
use standin_core::entry::{Batch, BatchBuilder, BatchStamp, EntryKind, Index, LogTip};
use standin_core::message::{ENTRIES_PIECE_BYTES_MAX, EntriesRead, RoleName};
use standin_core::time::WallTime;
use standin_core::view::ViewNumber;
use standin_replica::{Action, Event, ReadFor, Recovered};

use crate::support::*;

/// A replica of three entries, the first of which a snapshot has.
fn with_entries() -> (Bench, Batch, LogTip) {
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(5),
        seed: 9,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(LogTip::default(), stamp);
    builder.push(EntryKind::ViewStart, |out| out.push(0));
    builder.push(EntryKind::OpenSession, |_| {});
    builder.push(EntryKind::OpenSession, |_| {});
    let log = builder.finish().unwrap();
    let recovered = Recovered {
        tip: log.tip(),
        ..Recovered::default()
    };
    let first = log.entries().next().unwrap().tip();
    (Bench::new(identity("a", 1), view(1), recovered), log, first)
}

fn lent(bench: &mut Bench) -> Vec<u8> {
    let sent = bench.take(|action| matches!(action, Action::EntriesPiece(..)));
    match &sent[..] {
        [Action::EntriesPiece(ConnId(9), _, bytes)] => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_has_the_entries_that_another_lacks_sends_them_whatever_its_role() {
    let (mut bench, log, first) = with_entries();
    assert_eq!(bench.replica.role_name(), RoleName::Spare);
    let conn = ConnId(9);
    bench.event(Event::EntriesRead(conn, &EntriesRead { after: first }));
    let reads = bench.take(|action| matches!(action, Action::ReadLog(ReadFor::Lend(..), ..)));
    let [Action::ReadLog(read, from, _)] = reads[..] else {
        panic!("{reads:?}");
    };
    assert_eq!(from, Index(1), "with the one that they go on after");
    bench.event(Event::LogRead(read, log.bytes().to_vec()));
    assert_eq!(lent(&mut bench), log.bytes_from(Index(2)));
    // From the beginning of the log on there is none before.
    let after = LogTip::default();
    bench.event(Event::EntriesRead(conn, &EntriesRead { after }));
    let reads = bench.take(|action| matches!(action, Action::ReadLog(ReadFor::Lend(..), ..)));
    let [Action::ReadLog(read, Index(1), _)] = reads[..] else {
        panic!("{reads:?}");
    };
    bench.event(Event::LogRead(read, log.bytes().to_vec()));
    assert_eq!(lent(&mut bench), log.bytes());
}

#[test]
fn who_has_another_entry_there_or_none_says_so() {
    let (mut bench, log, first) = with_entries();
    let conn = ConnId(9);
    let other = LogTip {
        chain: first.chain ^ 1,
        ..first
    };
    bench.event(Event::EntriesRead(conn, &EntriesRead { after: other }));
    let read = ReadFor::Lend(conn, other);
    bench.event(Event::LogRead(read, log.bytes().to_vec()));
    assert_eq!(lent(&mut bench), b"");
    let absent = [
        log.tip(),
        LogTip {
            index: Index(8),
            ..first
        },
        LogTip {
            chain: 3,
            ..LogTip::default()
        },
    ];
    for after in absent {
        bench.event(Event::EntriesRead(conn, &EntriesRead { after }));
        assert_eq!(lent(&mut bench), b"", "{after:?}");
    }
    // It has another view, whatever else is the same.
    let other = LogTip {
        view: ViewNumber(2),
        ..first
    };
    let read = ReadFor::Lend(conn, other);
    bench.event(Event::LogRead(read, log.bytes().to_vec()));
    assert_eq!(lent(&mut bench), b"");
    // It was cut off meanwhile, or cannot be read.
    bench.event(Event::LogRead(ReadFor::Lend(conn, first), Vec::new()));
    assert_eq!(lent(&mut bench), b"");
}

#[test]
fn what_is_sent_is_whole_entries_that_a_piece_has_room_for() {
    let (mut bench, log, first) = with_entries();
    let conn = ConnId(9);
    let after = LogTip::default();
    // What was read may end in the midst of one.
    let cut = &log.bytes()[..log.bytes().len() - 1];
    bench.event(Event::LogRead(ReadFor::Lend(conn, after), cut.to_vec()));
    let third = log.bytes_from(Index(3)).len();
    assert_eq!(lent(&mut bench), &log.bytes()[..log.bytes().len() - third]);
    // What is read has the entry that they go on after, too, so it may be more than a piece.
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(5),
        seed: 9,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(first, stamp);
    for _ in 0..3 {
        builder.push(EntryKind::Command, |out| {
            out.resize(out.len() + ENTRIES_PIECE_BYTES_MAX / 2 - 100, 7);
        });
    }
    let long = builder.finish().unwrap();
    let read = ReadFor::Lend(conn, first);
    bench.event(Event::LogRead(read, long.bytes().to_vec()));
    let third = long.bytes_from(Index(4)).len();
    assert_eq!(lent(&mut bench).len(), long.bytes().len() - third);
}

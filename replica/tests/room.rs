//! Room for the log: what is refused and in which words, that reads go on, and that a snapshot is tried (section 12).

mod support;

use standin_core::message::{Consistency, QueryRequest, ReplyStatus, Room, Seen};
use standin_replica::{Action, Event, LogRoom, ROOM_RESERVE_BYTES, Request, RequestBody};
use support::*;

/// What the disk says.
const WHY: &str = "No space left on device";

/// A log whose segment in use has so many bytes left beyond what is a little less than the reserve.
fn room(left: u64, is_lacking: bool) -> LogRoom {
    LogRoom {
        here: ROOM_RESERVE_BYTES - 1 + left,
        next: 0,
        is_lacking,
    }
}

/// A serving primary with an open session.
fn with_session() -> Bench {
    let mut bench = Bench::primary();
    bench.open(1);
    bench.sync();
    bench.answers.clear();
    bench.replies.clear();
    bench
}

fn statuses(bench: &mut Bench) -> Vec<ReplyStatus> {
    let answers = bench.answers.drain(..);
    answers.map(|(_, status, _)| status).collect()
}

#[test]
fn without_room_writes_are_refused_in_words_and_reads_go_on() {
    let mut bench = with_session();
    bench.event(Event::Room(room(0, true), Some(WHY)));
    bench.appended.clear();
    bench.command(1, Seen::default());
    bench.open(2);
    assert_eq!(statuses(&mut bench), [ReplyStatus::NoRoom; 2]);
    assert!(bench.appended.is_empty(), "nothing was ordered");
    let words = String::from_utf8(bench.replies[0].clone()).expect("words");
    assert!(words.contains("a, the primary, has no room"), "{words}");
    assert!(words.contains("make room on its disk"), "{words}");
    let report = bench.last_report();
    assert_eq!(report.room, Room::Out);
    let trouble = report.trouble.expect("it says so");
    assert!(trouble.contains(WHY), "{trouble}");

    let query = RequestBody::Query(QueryRequest {
        id: 3,
        seen: Seen::default(),
        consistency: Consistency::Stale,
        bytes: b"",
    });
    bench.event(Event::Requests(&[Request {
        conn: CLIENT,
        body: query,
    }]));
    assert_eq!(statuses(&mut bench), [ReplyStatus::Done]);

    bench.event(Event::Room(room(1000, false), None));
    bench.command(1, Seen::default());
    bench.sync();
    assert_eq!(statuses(&mut bench), [ReplyStatus::Done]);
}

#[test]
fn what_is_left_beyond_the_reserve_is_used_and_nothing_overtakes_what_is_refused() {
    let mut bench = with_session();
    bench.event(Event::Room(room(200, true), Some(WHY)));
    assert_eq!(bench.replica.room(), Room::Lacking);
    bench.command(1, Seen::default());
    bench.sync();
    assert_eq!(statuses(&mut bench), [ReplyStatus::Done], "it fits");
    bench.command_of(2, Seen::default(), &[7; 1000]);
    assert_eq!(statuses(&mut bench), [ReplyStatus::NoRoom]);
    assert_eq!(
        bench.replica.room(),
        Room::Out,
        "from now on all are refused"
    );
    bench.command(3, Seen::default());
    assert_eq!(statuses(&mut bench), [ReplyStatus::NoRoom]);
}

#[test]
fn a_snapshot_is_taken_for_it_may_make_room() {
    let mut bench = with_session();
    bench.take(|action| matches!(action, Action::TakeSnapshot(..)));
    bench.event(Event::Room(room(0, true), Some(WHY)));
    let taken = bench.take(|action| matches!(action, Action::TakeSnapshot(..)));
    assert_eq!(taken.len(), 1, "though nothing more is applied");
    bench.event(Event::SnapshotFailed("no room for it either"));
    bench.event(Event::Deadline);
    let again = bench.take(|action| matches!(action, Action::TakeSnapshot(..)));
    assert_eq!(again.len(), 0, "not again at once");
}

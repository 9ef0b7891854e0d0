//! Room for the log: what is refused and in which words, that reads go on, and that a snapshot is tried (section 12).

use crate::support::*;
use standin_core::conn::ConnId;
use standin_core::entry::{
    BatchBuilder, BatchStamp, COMMAND_HEADER_BYTES, ENTRY_HEADER_BYTES, EntryKind, Index, LogTip,
};
use standin_core::identity::{ClusterId, Durability};
use standin_core::message::{
    CommandRequest, Entries, ReplyStatus, Resume, Room, Seen, encode_payload,
};
use standin_core::time::{Duration, WallTime};
use standin_core::view::ViewRecord;
use standin_replica::{Action, Event, LogRoom, ROOM_RESERVE_BYTES, Request, RequestBody};

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

    assert_eq!(bench.ask_stale(), ReplyStatus::Done);
    bench.answers.clear();

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
    // What was refused before there was room is forgotten when there is want of it again.
    bench.event(Event::Room(room(200, false), None));
    bench.event(Event::Room(room(200, true), Some(WHY)));
    assert_eq!(bench.replica.room(), Room::Lacking);
}

/// Commands that come in one wake-up, each of so many bytes.
fn commands(bench: &mut Bench, lengths: &[usize]) {
    let bytes = [7; 1000];
    let requests = (1..).zip(lengths).map(|(id, length)| {
        let command = CommandRequest {
            id,
            seen: Seen::default(),
            session: 2,
            sequence: id,
            acknowledged: 0,
            bytes: &bytes[..*length],
        };
        let body = RequestBody::Command(command);
        Request { conn: CLIENT, body }
    });
    let requests: Vec<_> = requests.collect();
    bench.event(Event::Requests(&requests));
    bench.sync();
}

#[test]
fn what_comes_in_one_wake_up_is_taken_as_long_as_there_is_room_for_all_of_it() {
    let one = (ENTRY_HEADER_BYTES + COMMAND_HEADER_BYTES + 1) as u64;
    let (done, no_room) = (ReplyStatus::Done, ReplyStatus::NoRoom);
    let mut bench = with_session();
    bench.event(Event::Room(room(2 * one, true), Some(WHY)));
    commands(&mut bench, &[1, 1]);
    assert_eq!(statuses(&mut bench), [no_room, done], "one byte is lacking");
    let mut bench = with_session();
    bench.event(Event::Room(room(2 * one + 1, true), Some(WHY)));
    commands(&mut bench, &[1, 1]);
    assert_eq!(statuses(&mut bench), [done; 2]);
    let mut bench = with_session();
    bench.event(Event::Room(room(2 * one, true), Some(WHY)));
    commands(&mut bench, &[1000, 1]);
    assert_eq!(statuses(&mut bench), [no_room; 2], "nothing overtakes");
}

#[test]
fn timers_wait_until_there_is_room() {
    let mut bench = with_session();
    bench.event(Event::Room(room(1000, true), Some(WHY)));
    bench.command_of(1, Seen::default(), TIMER);
    bench.command_of(2, Seen::default(), &[7; 1000]);
    assert_eq!(bench.replica.room(), Room::Out, "something was refused");
    bench.sync();
    bench.appended.clear();
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(100));
    bench.now.wall = bench.now.wall.plus(Duration::from_millis(100));
    bench.event(Event::Deadline);
    assert_eq!(bench.appended.len(), 0);
    bench.event(Event::Room(room(1000, false), None));
    bench.event(Event::Deadline);
    let kinds: Vec<_> = (bench.appended.iter())
        .flat_map(|batch| batch.entries().map(|entry| entry.header.kind))
        .collect();
    assert_eq!(kinds, [EntryKind::Timer]);
}

#[test]
fn a_follower_says_that_it_lacks_room_and_takes_nothing_that_has_none() {
    let mut bench = Bench::fresh("b");
    let a = identity("a", 1);
    let record = ViewRecord::bootstrap(ClusterId(1), &a, 1000).activate(&a);
    bench.tell(&record);
    bench.adopted(1);
    let primary = ConnId(1);
    let follow = |bench: &mut Bench, common: LogTip| {
        let dials = bench.take(|action| matches!(action, Action::Dial(_)));
        assert_eq!(dials, [Action::Dial("address of a".to_owned())]);
        bench.event(Event::Dialled(primary));
        let resume = Resume {
            view: view(1),
            nonce: 1,
            common,
            durability: Durability::Os,
            silence_ms: 500,
            skips: Vec::new(),
            resp: None,
        };
        bench.event(Event::Resume(primary, &resume));
    };
    follow(&mut bench, LogTip::default());
    let stamp = BatchStamp {
        view: view(1).view,
        time: WallTime(1),
        seed: 1,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(LogTip::default(), stamp);
    builder.push(EntryKind::ViewStart, |out| {
        encode_payload(&view_start(), out)
    });
    builder.push(EntryKind::OpenSession, |_| {});
    let log = builder.finish().expect("two entries");
    let first = log.entries().next().expect("two").tip();
    let send = |bench: &mut Bench, bytes| {
        let entries = Entries {
            nonce: 1,
            view: view(1),
            round: 1,
            commit: Index::ZERO,
            bytes,
        };
        bench.event(Event::Entries(primary, &entries));
        bench.event(Event::Flush);
    };
    let lacking = |here| LogRoom {
        here,
        next: 0,
        is_lacking: true,
    };
    bench.event(Event::Room(lacking(2 * ROOM_RESERVE_BYTES), Some(WHY)));
    bench.actions.clear();
    let rest = log.bytes_from(Index(2));
    send(&mut bench, &log.bytes()[..log.bytes().len() - rest.len()]);
    let acks = bench.take(|action| matches!(action, Action::Ack(..)));
    let Some(Action::Ack(_, ack)) = acks.last() else {
        panic!("{:?}", bench.actions);
    };
    assert_eq!((ack.durable, ack.room), (Index(1), Room::Lacking));
    // Half of the reserve is left to it.
    bench.event(Event::Room(lacking(ROOM_RESERVE_BYTES / 2), None));
    bench.actions.clear();
    send(&mut bench, rest);
    assert_eq!(
        bench.replica.standing().last,
        first,
        "it takes nothing more"
    );
    let is_hung_up = |action: &Action| *action == Action::Hang;
    assert_eq!(bench.take(is_hung_up).len(), 1);
    bench.event(Event::DialClosed);
    bench.tell(&record);
    bench.now.boot = bench.now.boot.plus(Duration::from_secs(3));
    bench.event(Event::Deadline);
    let is_dial = |action: &Action| matches!(action, Action::Dial(_));
    assert_eq!(bench.take(is_dial), [], "not before there is room");
    bench.event(Event::Room(room(1000, false), None));
    follow(&mut bench, first);
    send(&mut bench, rest);
    assert_eq!(bench.replica.standing().last, log.tip());
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

//! What is answered when it is asked, and what only when it is applied (`protocol.md` section 9).

use std::cell::Cell;

use crate::support::*;
use standin_core::conn::ConnId;
use standin_core::entry::{COMMAND_BYTES_MAX, Index};
use standin_core::identity::ClusterId;
use standin_core::message::{
    CloseSession, CommandRequest, Consistency, DirectRequest, QueryRequest, ReplyStatus, Seen,
};
use standin_core::time::{Duration, Instant};
use standin_core::view::ViewRecord;
use standin_replica::{ANSWERS_BYTES_MAX, Action, Answers, Event, Request, RequestBody};

/// The session that the first opening makes: the entry before it begins the view.
const SESSION: u64 = 2;

/// A serving primary with an open session, and nothing left to look at.
fn with_session() -> Bench {
    let mut bench = Bench::primary();
    bench.open(1);
    bench.sync();
    assert_eq!(bench.take_answers(), [(1, ReplyStatus::Done)]);
    bench.take(|action| matches!(action, Action::Append(_)));
    bench
}

fn command(session: u64, sequence: u64, bytes: &[u8]) -> CommandRequest<'_> {
    CommandRequest {
        id: 100 * session + sequence,
        seen: Seen::default(),
        session,
        sequence,
        acknowledged: 0,
        bytes,
    }
}

trait Ask {
    fn ask(&mut self, bodies: &[RequestBody<'_>]);
    fn ask_command(&mut self, session: u64, sequence: u64);
    fn take_answers(&mut self) -> Vec<(u64, ReplyStatus)>;
    /// Lets it do what it wants to do now.
    fn until_quiet(&mut self);
    /// How many batches were appended since this was last asked.
    fn appended(&mut self) -> usize;
}

impl Ask for Bench {
    fn ask(&mut self, bodies: &[RequestBody<'_>]) {
        let request = |&body| Request { conn: CLIENT, body };
        let requests: Vec<_> = bodies.iter().map(request).collect();
        self.event(Event::Requests(&requests));
    }

    fn ask_command(&mut self, session: u64, sequence: u64) {
        self.ask(&[RequestBody::Command(command(session, sequence, b"x"))]);
    }

    fn until_quiet(&mut self) {
        while self
            .replica
            .deadline()
            .is_some_and(|at| at <= self.now.boot)
        {
            self.event(Event::Deadline);
        }
    }

    fn take_answers(&mut self) -> Vec<(u64, ReplyStatus)> {
        let answers = self.answers.drain(..);
        answers.map(|(id, status, _)| (id, status)).collect()
    }

    fn appended(&mut self) -> usize {
        self.take(|action| matches!(action, Action::Append(_)))
            .len()
    }
}

#[test]
fn a_command_of_a_session_that_never_was_is_answered_and_not_logged() {
    let mut bench = with_session();
    for session in [0, 1, 3, 500, u64::MAX] {
        let request = CommandRequest {
            id: 9,
            session,
            ..command(SESSION, 1, b"x")
        };
        bench.ask(&[RequestBody::Command(request)]);
        assert_eq!(bench.take_answers(), [(9, ReplyStatus::SessionUnknown)]);
        assert_eq!(bench.appended(), 0, "session {session}");
    }
}

#[test]
fn a_command_without_a_session_is_ordered_each_time_that_it_comes() {
    let mut bench = Bench::primary();
    let direct = |bytes| {
        RequestBody::Direct(DirectRequest {
            id: 7,
            seen: Seen::default(),
            bytes,
        })
    };
    bench.ask(&[direct(b"x"), direct(b"x")]);
    assert_eq!(bench.take_answers(), [], "not synced");
    bench.sync();
    assert_eq!(bench.take_answers(), [(7, ReplyStatus::Done); 2]);
    assert_eq!(bench.replies[0], 1_u64.to_le_bytes());
    assert_eq!(bench.replies[1], 2_u64.to_le_bytes());
    assert_eq!(bench.appended(), 1);
    bench.ask(&[direct(&vec![0; COMMAND_BYTES_MAX + 1])]);
    assert_eq!(bench.take_answers(), [(7, ReplyStatus::Refused)]);
    assert_eq!(bench.appended(), 0);
}

#[test]
fn a_command_of_a_session_whose_opening_is_not_applied_is_ordered_behind_it() {
    let mut bench = Bench::primary();
    bench.open(1);
    assert_eq!(bench.take_answers(), [], "not synced");
    bench.ask_command(SESSION, 1);
    assert_eq!(bench.take_answers(), []);
    bench.sync();
    let executed = (100 * SESSION + 1, ReplyStatus::Done);
    assert_eq!(bench.take_answers(), [(1, ReplyStatus::Done), executed]);
}

#[test]
fn a_command_behind_the_closing_of_its_session_is_decided_when_it_is_applied() {
    let mut bench = with_session();
    let close = CloseSession {
        id: 7,
        seen: Seen::default(),
        session: SESSION,
    };
    bench.ask(&[RequestBody::Close(close)]);
    bench.ask_command(SESSION, 1);
    assert_eq!(bench.take_answers(), []);
    assert_eq!(bench.appended(), 2);
    bench.sync();
    let refused = (100 * SESSION + 1, ReplyStatus::SessionUnknown);
    assert_eq!(bench.take_answers(), [(7, ReplyStatus::Done), refused]);
    // From now on it is known: neither makes an entry.
    bench.ask_command(SESSION, 1);
    bench.ask(&[RequestBody::Close(close)]);
    assert_eq!(bench.take_answers(), [refused, (7, ReplyStatus::Done)]);
    assert_eq!(bench.appended(), 0);
}

#[test]
fn a_repeat_has_its_kept_reply_at_once_and_the_next_command_is_still_the_next() {
    let mut bench = with_session();
    bench.ask_command(SESSION, 1);
    bench.ask_command(SESSION, 1);
    assert_eq!(bench.appended(), 2, "the first is not applied yet");
    bench.sync();
    let (first, last) = (bench.replies[1].clone(), bench.replies[2].clone());
    assert_eq!(first, last);
    bench.take_answers();
    bench.ask_command(SESSION, 1);
    assert_eq!(bench.take_answers(), [(201, ReplyStatus::Done)]);
    assert_eq!(bench.replies[3], first);
    assert_eq!(bench.appended(), 0);
    // A gap may be filled by what is ordered already, so it says nothing here.
    bench.ask_command(SESSION, 2);
    bench.ask_command(SESSION, 3);
    bench.sync();
    let done = |id| (id, ReplyStatus::Done);
    assert_eq!(bench.take_answers(), [done(202), done(203)]);
    assert_eq!(bench.replies[5], 3u64.to_le_bytes());
}

#[test]
fn r7_a_client_of_a_higher_view_is_not_told_that_its_session_is_unknown() {
    let mut bench = with_session();
    // Opened in view 3, at an index that this deposed primary has not reached, or (after a forced
    // takeover) has used for something else.
    for session in [500, 1] {
        let seen = Seen {
            view: view(3),
            index: Index(600),
        };
        let request = CommandRequest {
            seen,
            ..command(session, 1, b"x")
        };
        let close = CloseSession {
            id: 5,
            seen,
            session,
        };
        bench.ask(&[RequestBody::Command(request), RequestBody::Close(close)]);
        let statuses = bench.take_answers().into_iter().map(|(_, status)| status);
        assert!(statuses.eq([ReplyStatus::NotPrimary; 2]));
    }
}

#[test]
fn r7_a_client_is_sent_away_whose_session_is_of_a_higher_data_epoch() {
    let mut bench = with_session();
    let mut forced = view(1);
    forced.data_epoch.0 += 1;
    let request = CommandRequest {
        seen: Seen {
            view: forced,
            index: Index(1),
        },
        ..command(1, 1, b"x")
    };
    bench.ask(&[RequestBody::Command(request)]);
    assert_eq!(bench.take_answers(), [(101, ReplyStatus::NotPrimary)]);
}

#[test]
fn a_candidate_and_a_spare_tell_nobody_that_a_session_is_unknown() {
    let mut spare = Bench::fresh("a");
    spare.ask_command(0, 1);
    assert_eq!(spare.take_answers(), [(1, ReplyStatus::NotPrimary)]);
    let record = ViewRecord::bootstrap(ClusterId(1), &identity("a", 1), 1000);
    spare.tell(&record);
    spare.adopted(1);
    spare.ask_command(0, 1);
    assert_eq!(spare.take_answers(), [(1, ReplyStatus::NotPrimary)]);
    spare.accept_swap();
    spare.ask_command(0, 1);
    let answers = spare.take_answers();
    assert_eq!(
        answers,
        [(1, ReplyStatus::NotPrimary)],
        "its ViewStart is not committed"
    );
}

#[test]
fn the_answers_of_one_event_are_bounded_in_bytes() {
    let mut bench = with_session();
    let query = QueryRequest {
        id: 5,
        seen: Seen::default(),
        consistency: Consistency::Stale,
        bytes: b"big",
    };
    bench.ask(&[RequestBody::Query(query); 40]);
    let answers = bench.take_answers();
    let done = |(_, status): &&(u64, ReplyStatus)| *status == ReplyStatus::Done;
    assert_eq!(answers.iter().filter(done).count(), ANSWERS_BYTES_MAX / BIG);
    assert!(answers.contains(&(5, ReplyStatus::Overloaded)));
    // What the primary reads is read later, and nobody is turned away.
    let query = QueryRequest {
        consistency: Consistency::Confirmed,
        ..query
    };
    bench.ask(&[RequestBody::Query(query); 40]);
    bench.until_quiet();
    assert_eq!(bench.take_answers(), [(5, ReplyStatus::Done); 40]);
    // Commands all have their answer, but not at once.
    for round in 0..3 {
        let commands: Vec<_> = (1..=16)
            .map(|at| {
                let request = CommandRequest {
                    acknowledged: 16 * round,
                    ..command(SESSION, 16 * round + at, b"big")
                };
                RequestBody::Command(request)
            })
            .collect();
        bench.ask(&commands);
    }
    bench.sync();
    bench.until_quiet();
    let answers = bench.take_answers();
    assert_eq!(answers.iter().filter(done).count(), 48);
    assert!(bench.answers_bytes_most <= ANSWERS_BYTES_MAX + BIG);
}

#[test]
fn repeats_among_new_commands_of_several_sessions_are_told_from_them() {
    const OTHER: u64 = SESSION + 1;
    const UNKNOWN: u64 = 1;
    let mut bench = with_session();
    bench.open(2);
    for (session, sequence) in [(SESSION, 1), (SESSION, 2), (OTHER, 1)] {
        bench.ask_command(session, sequence);
    }
    bench.sync();
    bench.take_answers();
    let asked = [
        (SESSION, 3),
        (SESSION, 1),
        (UNKNOWN, 9),
        (OTHER, 1),
        (SESSION, 2),
        (OTHER, 2),
    ];
    bench.ask(
        &asked.map(|(session, sequence)| RequestBody::Command(command(session, sequence, b"x"))),
    );
    let id = |session, sequence| command(session, sequence, b"x").id;
    let at_once = [
        (id(SESSION, 1), ReplyStatus::Done),
        (id(UNKNOWN, 9), ReplyStatus::SessionUnknown),
        (id(OTHER, 1), ReplyStatus::Done),
        (id(SESSION, 2), ReplyStatus::Done),
    ];
    assert_eq!(bench.take_answers(), at_once);
    bench.sync();
    let ordered = [(SESSION, 3), (OTHER, 2)];
    let ordered = ordered.map(|(session, sequence)| (id(session, sequence), ReplyStatus::Done));
    assert_eq!(bench.take_answers(), ordered);
}

/// What is left of it when a wake-up ends is done in a later one, and the lease may be over by then.
#[test]
fn a_lone_primary_reads_within_its_lease_alone() {
    let valid_until = |bench: &mut Bench| {
        let body = read(5);
        let request = Request { conn: CLIENT, body };
        bench.replica.handle(bench.now, Event::Requests(&[request]));
        let mut answers = Answers::default();
        bench.replica.take_answers(&mut answers);
        let (answer, _) = answers.iter().next().expect("it is read at once");
        answer.valid_until
    };
    let mut bench = Bench::primary();
    let lease_until = bench.replica.lease_until();
    assert!(lease_until.is_some());
    assert_eq!(valid_until(&mut bench), lease_until);
}

fn read(id: u64) -> RequestBody<'static> {
    RequestBody::Query(QueryRequest {
        id,
        seen: Seen::default(),
        consistency: Consistency::Confirmed,
        bytes: b"big",
    })
}

#[test]
fn clients_come_in_turn_with_what_they_read() {
    const OTHER: ConnId = ConnId(CLIENT.0 + 1);
    const READS: usize = 4 * ANSWERS_BYTES_MAX / BIG;
    let mut bench = Bench::primary();
    let mut requests = vec![
        Request {
            conn: CLIENT,
            body: read(5)
        };
        READS
    ];
    requests.push(Request {
        conn: OTHER,
        body: read(6),
    });
    bench.event(Event::Requests(&requests));
    let first = bench.take_answers();
    assert!(first.contains(&(6, ReplyStatus::Done)), "{first:?}");
    assert!(first.len() < READS, "not all at once: {}", first.len());
    // Of one that has gone nothing more is read.
    bench.replica.answer_reads(|conn| conn != CLIENT);
    bench.until_quiet();
    assert_eq!(bench.take_answers(), []);
}

#[test]
fn what_takes_long_is_done_in_portions() {
    thread_local! {
        static WORKED: Cell<u64> = const { Cell::new(0) };
    }
    /// Whoever looks at it has worked for a second since the last time.
    fn clock() -> Instant {
        WORKED.set(WORKED.get() + 1);
        Instant::ZERO.plus(Duration::from_secs(WORKED.get()))
    }
    let mut bench = Bench::primary();
    bench.replica.set_work_clock(clock);
    let direct = |id| {
        RequestBody::Direct(DirectRequest {
            id,
            seen: Seen::default(),
            bytes: b"x",
        })
    };
    bench.ask(&[read(1), read(2), read(3)]);
    bench.ask(&[direct(11), direct(12), direct(13)]);
    bench.sync();
    let mut portions = vec![bench.take_answers().len()];
    while portions.iter().sum::<usize>() < 6 {
        assert!(
            bench
                .replica
                .deadline()
                .is_some_and(|at| at <= bench.now.boot)
        );
        bench.now.boot = bench.now.boot.plus(Duration::from_millis(1));
        bench.event(Event::Deadline);
        portions.push(bench.take_answers().len());
        assert!(portions.len() < 20, "{portions:?}");
    }
    assert!(portions.iter().all(|portion| *portion <= 2), "{portions:?}");
}

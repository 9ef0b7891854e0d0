//! A line whose work is done out of step answers like one whose requests are done one by one.

use proptest::prelude::*;
use standin_kv::arguments::{RUN_COMMANDS_MAX, command};
use standin_kv::conversation::{Ask, Conversation};
use standin_kv::keyspace::DatabaseId;
use standin_kv::line::{
    Given, IN_FLIGHT_MAX, Kind, Line, QUERIES_IN_FLIGHT_MAX, REPLY_BYTES_PER_TAKE, Stop,
    WAITING_REPLY_BYTES_MAX, Work,
};

use standin_resp::Version;

use crate::support::{Client, Server, answer_ask};

/// Requests of few keys, so that the order shows.
const REQUESTS: [&str; 24] = [
    "SET a 1",
    "SET a 2 GET",
    "INCR a",
    "INCR l",
    "GET a",
    "GET l",
    "STRLEN a",
    "APPEND a x",
    "LPUSH l a",
    "LRANGE l 0 -1",
    "PING",
    "ECHO between",
    "SELECT 1",
    "SELECT 0",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH a",
    "UNWATCH",
    "CLIENT LIST",
    "WAIT 0 1",
    "HELLO 3",
    "NOSUCH a",
    "",
];

/// Whoever hosts one line, and does things late.
struct Late {
    server: Server,
    line: Line,
    input: Vec<u8>,
    said: Vec<u8>,
    /// Given out, and not yet executed.
    waiting: Vec<(Given, Vec<u8>)>,
    /// Executed, and not yet handed in.
    done: Vec<(u64, Vec<u8>)>,
    /// Not answered yet.
    asked: Option<(u64, Ask)>,
}

impl Late {
    fn new() -> Late {
        let server = Server::default();
        let conversation = Conversation::new(
            1,
            "127.0.0.1:5000".into(),
            "127.0.0.1:6379".into(),
            &server.facts,
        );
        Late {
            server,
            line: Line::new(conversation, true),
            input: Vec::new(),
            said: Vec::new(),
            waiting: Vec::new(),
            done: Vec::new(),
            asked: None,
        }
    }

    fn take(&mut self, mut most: usize) -> Stop {
        let mut work = Work::default();
        let (consumed, stop) = self.line.take(
            &self.input,
            &mut most,
            &self.server.facts,
            &mut self.said,
            &mut work,
        );
        self.input.drain(..consumed);
        for given in work.given {
            let bytes = work.bytes[given.range.clone()].to_vec();
            self.waiting.push((given, bytes));
        }
        let kinds = |kind| self.waiting.iter().any(|(given, _)| given.kind == kind);
        assert!(!(kinds(Kind::Command) && kinds(Kind::Query)));
        if let Stop::Ask(id, ask) = &stop {
            assert!(self.asked.is_none());
            self.asked = Some((*id, ask.clone()));
        }
        stop
    }

    /// Commands in their order; of queries, any.
    fn execute(&mut self, which: usize) {
        if self.waiting.is_empty() {
            return;
        }
        let at = match self.waiting[0].0.kind {
            Kind::Command => 0,
            Kind::Query => which % self.waiting.len(),
        };
        let (given, bytes) = self.waiting.remove(at);
        let answer = self.server.execute(given.kind == Kind::Command, &bytes);
        self.done.push((given.id, answer));
    }

    fn hand_in(&mut self, which: usize) {
        if let Some((id, ask)) = self.asked.take_if(|_| which.is_multiple_of(3)) {
            let mut answer = Vec::new();
            answer_ask(self.line.conversation(), ask, &mut answer);
            self.line.answer(id, &answer, &mut self.said);
        } else if !self.done.is_empty() {
            let (id, answer) = self.done.remove(which % self.done.len());
            self.line.answer(id, &answer, &mut self.said);
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.done.is_empty() && self.asked.is_none()
    }
}

proptest! {
    #[test]
    fn whatever_is_late_the_replies_are_the_same(
        requests in prop::collection::vec(0..REQUESTS.len(), 1..60),
        steps in prop::collection::vec((0..4u8, 0..100usize), 200),
        ends in prop::sample::select(vec!["", "QUIT\r\n", "*1\r\n:1\r\n"]),
    ) {
        let mut bytes: Vec<u8> = Vec::new();
        for request in requests {
            bytes.extend(REQUESTS[request].bytes().chain(*b"\r\n"));
        }
        bytes.extend(ends.bytes());
        let mut server = Server::default();
        let expected = Client::new(1, &server).say(&mut server, &bytes);

        let mut late = Late::new();
        let mut unsent = &bytes[..];
        // After those, all in turn.
        let all = (0..4).map(|step| (step, 99)).cycle();
        let mut steps = steps.into_iter().chain(all).take(10_000);
        loop {
            let (step, number) = steps.next().expect("it comes to an end");
            match step {
                0 => {
                    let (now, later) = unsent.split_at(number.min(unsent.len()));
                    late.input.extend(now);
                    unsent = later;
                }
                1 => {
                    let stop = late.take(1 + number % 40);
                    if unsent.is_empty() && late.is_idle() && late.input.is_empty()
                        && matches!(stop, Stop::Hungry | Stop::Ended)
                    {
                        break;
                    }
                    prop_assert!(stop != Stop::Blocked || !late.is_idle());
                }
                2 => late.execute(number),
                _ => late.hand_in(number),
            }
        }
        prop_assert_eq!(
            String::from_utf8_lossy(&late.said),
            String::from_utf8_lossy(&expected)
        );
        prop_assert_eq!(late.line.is_over(), !ends.is_empty());
        prop_assert!(!late.line.is_waiting());
    }
}

#[test]
fn a_client_may_have_so_many_requests_under_way_and_no_more() {
    for (request, most) in [
        ("INCR a\r\n", IN_FLIGHT_MAX),
        ("GET a\r\n", QUERIES_IN_FLIGHT_MAX),
    ] {
        let mut late = Late::new();
        let more = 20;
        late.input = request.repeat(most + more).into();
        assert_eq!(late.take(usize::MAX), Stop::Blocked);
        assert_eq!(late.waiting.len(), most.div_ceil(RUN_COMMANDS_MAX));
        assert_eq!(late.input.len(), more * request.len());
        late.execute(0);
        late.hand_in(1);
        assert!(late.line.may_take());
        assert_eq!(late.take(usize::MAX), Stop::Blocked);
        assert_eq!(late.input.len(), (more - RUN_COMMANDS_MAX) * request.len());
        let replies = late.said.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(replies, RUN_COMMANDS_MAX);
    }
}

#[test]
fn short_requests_that_follow_each_other_are_given_out_as_one() {
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    let set = format!("SET a {}\r\n", "x".repeat(3_000));
    for (input, given, said) in [
        // All of one kind.
        (
            "INCR a\r\nSET b 1\r\nLPUSH a 1\r\nAPPEND b 2\r\n",
            1,
            format!(":1\r\n+OK\r\n{wrong}:2\r\n"),
        ),
        (
            "GET a\r\nSTRLEN a\r\nEXISTS a a\r\n",
            1,
            "$-1\r\n:0\r\n:0\r\n".into(),
        ),
        (
            "SET a 1\r\nGET a\r\nGET a\r\nINCR a\r\nINCR a\r\n",
            3,
            "+OK\r\n$1\r\n1\r\n$1\r\n1\r\n:2\r\n:3\r\n".into(),
        ),
        // What is answered in between, or at length, or changes how others are answered.
        (
            "INCR a\r\nPING\r\nINCR a\r\n",
            2,
            ":1\r\n+PONG\r\n:2\r\n".into(),
        ),
        ("INCR a\r\nNOSUCH\r\nINCR a\r\n", 2, String::new()),
        (
            "INCR a\r\nSET a 7 GET\r\nINCR a\r\n",
            3,
            ":1\r\n$1\r\n1\r\n:8\r\n".into(),
        ),
        (
            "INCR a\r\nSET a 7 EX 9\r\nINCR a\r\n",
            1,
            ":1\r\n+OK\r\n:8\r\n".into(),
        ),
        (
            "INCR a\r\nSELECT 1\r\nINCR a\r\n",
            2,
            ":1\r\n+OK\r\n:1\r\n".into(),
        ),
        (
            "INCR a\r\nMULTI\r\nINCR a\r\nEXEC\r\nINCR a\r\n",
            3,
            ":1\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n:3\r\n".into(),
        ),
        // Some are too long together.
        (&set.repeat(4), 4, "+OK\r\n".repeat(4)),
    ] {
        let mut late = Late::new();
        late.input = input.into();
        let mut count = 0;
        while late.take(usize::MAX) != Stop::Hungry {
            count += late.waiting.len();
            while !late.is_idle() {
                late.execute(0);
                late.hand_in(1);
            }
        }
        count += late.waiting.len();
        while !late.is_idle() {
            late.execute(0);
            late.hand_in(1);
        }
        assert_eq!(count, given, "{input}");
        if !said.is_empty() {
            assert_eq!(String::from_utf8_lossy(&late.said), said, "{input}");
        }
    }
}

#[test]
fn an_error_in_place_of_an_answer_is_for_each_of_those_that_were_given_out_as_one() {
    let mut late = Late::new();
    late.input = b"INCR a\r\nINCR a\r\nPING\r\nINCR a\r\nINCR a\r\nINCR a\r\n".to_vec();
    assert_eq!(late.take(usize::MAX), Stop::Hungry);
    let ids: Vec<u64> = late.waiting.iter().map(|(given, _)| given.id).collect();
    // The later one first.
    for id in ids.iter().rev() {
        late.line.answer(*id, b"-TRYAGAIN\r\n", &mut late.said);
    }
    let again = |times| "-TRYAGAIN\r\n".repeat(times);
    let expected = format!("{}+PONG\r\n{}", again(2), again(3));
    assert_eq!(String::from_utf8_lossy(&late.said), expected);
    assert!(!late.line.is_waiting());
    assert_eq!(late.line.held_bytes(), 0);
}

#[test]
fn replies_that_wait_are_bounded() {
    let mut late = Late::new();
    let words = "x".repeat(10_000);
    late.input = b"INCR a\r\n".to_vec();
    late.input
        .extend(format!("ECHO {words}\r\n").repeat(100).bytes());
    assert_eq!(late.take(usize::MAX), Stop::Blocked);
    let held = late.line.held_bytes();
    let bounds = WAITING_REPLY_BYTES_MAX..WAITING_REPLY_BYTES_MAX + 11_000;
    assert!(bounds.contains(&held), "{held}");
    late.execute(0);
    late.hand_in(1);
    // What can leave at once is not made all at once either.
    let mut takes = 0;
    while late.take(usize::MAX) == Stop::Sated {
        takes += 1;
    }
    let bytes = late.said.len();
    assert_eq!(takes, (bytes - held) / REPLY_BYTES_PER_TAKE);
    assert_eq!(late.line.held_bytes(), 0);
    assert_eq!(
        late.said.len(),
        4 + 100 * (10_000 + b"$10000\r\n\r\n".len())
    );
}

#[test]
fn a_query_waits_for_the_commands_before_it_and_commands_for_the_query() {
    let mut late = Late::new();
    late.input = b"SET a 1\r\nGET a\r\nSET a 2\r\nGET a\r\n".to_vec();
    for (kind, waits) in [
        (Kind::Command, 1),
        (Kind::Query, 1),
        (Kind::Command, 1),
        (Kind::Query, 1),
    ] {
        let _ = late.take(usize::MAX);
        let kinds: Vec<Kind> = late.waiting.iter().map(|(given, _)| given.kind).collect();
        assert_eq!(kinds, vec![kind; waits]);
        late.execute(0);
        late.hand_in(1);
    }
    assert_eq!(late.said, b"+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n");
}

#[test]
fn what_is_asked_of_the_host_is_answered_in_its_place() {
    let mut late = Late::new();
    late.input = b"INCR a\r\nWAIT 1 0\r\nPING\r\n".to_vec();
    assert!(matches!(
        late.take(usize::MAX),
        Stop::Ask(1, Ask::Wait { .. })
    ));
    assert!(!late.line.is_next(1));
    late.execute(0);
    late.hand_in(1);
    assert!(late.line.is_next(1));
    assert_eq!(late.take(usize::MAX), Stop::Blocked);
    late.hand_in(0);
    assert_eq!(late.take(usize::MAX), Stop::Hungry);
    assert_eq!(late.said, b":1\r\n:0\r\n+PONG\r\n");
}

#[test]
fn a_transaction_that_was_not_executed_selects_no_database() {
    let mut late = Late::new();
    late.input = b"MULTI\r\nSELECT 5\r\nSET a 1\r\nEXEC\r\nSET b 1\r\n".to_vec();
    assert_eq!(late.take(usize::MAX), Stop::Blocked);
    let (given, _) = late.waiting.remove(0);
    late.line
        .answer(given.id, b"-TRYAGAIN nothing was done\r\n", &mut late.said);
    assert_eq!(late.take(usize::MAX), Stop::Hungry);
    let set = command(
        Version::default(),
        DatabaseId::default(),
        &["SET", "b", "1"],
    );
    assert_eq!(late.waiting[0].1, set);
}

#[test]
fn a_transaction_whose_reply_is_too_long_was_executed_and_selects_its_database() {
    let mut late = Late::new();
    let large = "x".repeat(700_000);
    late.input = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$700000\r\n{large}\r\n").into();
    late.input
        .extend_from_slice(b"MULTI\r\nGET a\r\nGET a\r\nSELECT 5\r\nEXEC\r\n");
    assert_eq!(late.take(usize::MAX), Stop::Blocked);
    for _ in 0..2 {
        late.execute(0);
        late.hand_in(1);
    }
    let words = String::from_utf8_lossy(&late.said);
    assert!(words.ends_with("would be longer than 1 MiB\r\n"), "{words}");
    late.input = b"CLIENT INFO\r\n".to_vec();
    late.said.clear();
    assert!(matches!(late.take(usize::MAX), Stop::Ask(..)));
    late.hand_in(0);
    let words = String::from_utf8_lossy(&late.said);
    assert!(words.contains(" db=5 "), "{words}");
}

#[test]
fn what_depends_on_the_primary_waits_until_it_is_known() {
    let mut late = Late::new();
    late.server.facts.is_lost = true;
    late.input = b"PING\r\nGET a\r\nSET a 1\r\n".to_vec();
    for _ in 0..2 {
        assert_eq!(late.take(usize::MAX), Stop::NoPrimary);
        assert_eq!(late.input, b"GET a\r\nSET a 1\r\n");
    }
    late.server.facts.is_lost = false;
    assert_eq!(late.take(1), Stop::Sated);
    assert_eq!(late.waiting.len(), 1);
    late.execute(0);
    late.hand_in(1);
    // One that has waited long enough is told, and so are those after it.
    late.server.facts.is_lost = true;
    late.server.facts.elsewhere = Some(String::new());
    late.input.extend_from_slice(b"SET a 1\r\n");
    assert_eq!(late.take(usize::MAX), Stop::NoPrimary);
    late.line.stop_seeking();
    assert_eq!(late.take(usize::MAX), Stop::Hungry);
    let down = "-CLUSTERDOWN The cluster is down\r\n".repeat(2);
    assert_eq!(late.said, format!("+PONG\r\n$-1\r\n{down}").as_bytes());
    // When the primary was known in between, the next one waits again.
    late.server.facts.is_lost = false;
    late.input = b"PING\r\n".to_vec();
    assert_eq!(late.take(usize::MAX), Stop::Hungry);
    late.server.facts.is_lost = true;
    late.input = b"SET a 1\r\n".to_vec();
    assert_eq!(late.take(usize::MAX), Stop::NoPrimary);
}

#[test]
fn only_what_depends_on_the_primary_waits() {
    for (input, waits) in [
        ("SET a 1", true),
        ("get a", true),
        ("TIME", true),
        ("SPOP a", true),
        ("WATCH a", true),
        ("WAIT 0 0", true),
        ("CLUSTER SLOTS", true),
        ("cluster shards", true),
        ("CLUSTER NODES", true),
        ("CLUSTER MYID", false),
        ("CLUSTER KEYSLOT a", false),
        ("PING", false),
        ("SELECT 1", false),
        ("MULTI", false),
        ("CLIENT ID", false),
        ("GET", false),
        ("NOSUCH a", false),
    ] {
        let mut late = Late::new();
        late.server.facts.is_lost = true;
        late.input = format!("{input}\r\n").into_bytes();
        let stop = late.take(usize::MAX);
        assert_eq!(stop == Stop::NoPrimary, waits, "{input}: {stop:?}");
    }
    // A transaction that was begun goes on once the primary is known.
    let mut late = Late::new();
    late.input = b"MULTI\r\nINCR a\r\nEXEC\r\n".to_vec();
    assert_eq!(late.take(2), Stop::Sated);
    late.server.facts.is_lost = true;
    assert_eq!(late.take(usize::MAX), Stop::NoPrimary);
    late.server.facts.is_lost = false;
    assert_eq!(late.take(usize::MAX), Stop::Hungry);
    late.execute(0);
    late.hand_in(1);
    assert_eq!(late.said, b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
}

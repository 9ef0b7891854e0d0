//! One connection's side of the talk, with a machine behind it as a host has it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use standin_core::machine::StateMachine as _;
use standin_kv::conversation::{Conversation, Next, Output, Terms, WATCHES_MAX};
use standin_resp::request::{Limits, RequestParser};
use support::Shop;

/// A host of several conversations around one machine.
#[derive(Default)]
struct Host {
    shop: Shop,
    asked: Vec<&'static str>,
}

impl Host {
    /// Hands a line in, and returns what the client reads.
    fn say(&mut self, who: &mut Conversation, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let mut input = format!("*{}\r\n", words.len());
        for word in words {
            input.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let mut parser = RequestParser::new();
        let request = parser.parse(input.as_bytes(), &Limits::default());
        let request = request.unwrap().expect("a whole request");
        let (mut reply, mut bytes) = (Vec::new(), Vec::new());
        let mut output = Output {
            reply: &mut reply,
            bytes: &mut bytes,
        };
        let next = who.take(request, &mut output);
        let mut answer = Vec::new();
        match next {
            Next::Query | Next::QueryFirst => self.shop.machine.query(&bytes, &mut answer),
            Next::Command | Next::CommandFirst => answer = self.shop.apply(&bytes),
            Next::Reply => {}
            Next::Close => reply.extend_from_slice(b"(closed)"),
            Next::Host(name) => {
                self.asked.push(name);
                reply.extend_from_slice(b"(host)");
            }
        }
        assert_eq!(
            who.is_waiting(),
            matches!(next, Next::QueryFirst | Next::CommandFirst)
        );
        match who.is_waiting() {
            true => who.answered(&answer, &mut reply),
            false => reply.extend_from_slice(&answer),
        }
        String::from_utf8(reply).unwrap()
    }

    /// Lines and what is answered to each.
    fn hold(&mut self, who: &mut Conversation, talk: &[(&str, &str)]) {
        for (line, expected) in talk {
            assert_eq!(self.say(who, line), *expected, "{line}");
        }
    }
}

fn client(id: u64) -> Conversation {
    Conversation::new(id, Terms::default())
}

#[test]
fn a_connection_answers_what_is_its_own() {
    let mut host = Host::default();
    let who = &mut client(7);
    host.hold(
        who,
        &[
            ("PING", "+PONG\r\n"),
            ("ping hi", "$2\r\nhi\r\n"),
            (
                "PING a b",
                "-ERR wrong number of arguments for 'ping' command\r\n",
            ),
            ("ECHO x", "$1\r\nx\r\n"),
            ("CLIENT ID", ":7\r\n"),
            ("CLIENT GETNAME", "$-1\r\n"),
            ("CLIENT SETNAME me", "+OK\r\n"),
            ("client getname", "$2\r\nme\r\n"),
            ("CLIENT SETINFO lib-name redis-py", "+OK\r\n"),
            ("CLIENT NO-EVICT on", "+OK\r\n"),
            (
                "CLIENT ID x",
                "-ERR wrong number of arguments for 'client|id' command\r\n",
            ),
            ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
            (
                "HELLO 3 nosuch",
                "-ERR Syntax error in HELLO option 'nosuch'\r\n",
            ),
            ("SELECT 16", "-ERR DB index is out of range\r\n"),
            ("SELECT 1", "+OK\r\n"),
            ("SET k v", "+OK\r\n"),
            ("SELECT 0", "+OK\r\n"),
            ("GET k", "$-1\r\n"),
            ("INFO", "(host)"),
            ("CLUSTER SLOTS", "(host)"),
            ("CLIENT LIST", "(host)"),
            (
                "nosuch",
                "-ERR unknown command 'nosuch', with args beginning with: \r\n",
            ),
        ],
    );
    assert_eq!(host.asked, ["info", "cluster", "client"]);
    let hello = host.say(who, "HELLO 3 SETNAME you");
    assert!(
        hello.starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"),
        "{hello}"
    );
    host.hold(
        who,
        &[
            ("CLIENT GETNAME", "$3\r\nyou\r\n"),
            ("GET k", "_\r\n"),
            ("RESET", "+RESET\r\n"),
            ("GET k", "$-1\r\n"),
            ("QUIT", "+OK\r\n(closed)"),
        ],
    );
}

#[test]
fn nobody_says_anything_before_the_password() {
    let mut host = Host::default();
    let mut who = Conversation::new(
        1,
        Terms {
            wants_password: true,
            is_cluster: true,
        },
    );
    host.hold(
        &mut who,
        &[
            ("GET k", "-NOAUTH Authentication required.\r\n"),
            ("PING", "-NOAUTH Authentication required.\r\n"),
            ("AUTH secret", "(host)"),
        ],
    );
    assert!(
        host.say(&mut who, "HELLO 3")
            .starts_with("-NOAUTH HELLO must be called")
    );
    who.admit();
    host.hold(&mut who, &[("GET k", "$-1\r\n"), ("RESET", "+RESET\r\n")]);
    host.hold(
        &mut who,
        &[("GET k", "-NOAUTH Authentication required.\r\n")],
    );
}

#[test]
fn a_transaction_is_executed_as_one_unless_what_it_watches_has_changed() {
    let mut host = Host::default();
    let (a, b) = (&mut client(1), &mut client(2));
    host.hold(
        a,
        &[
            ("EXEC", "-ERR EXEC without MULTI\r\n"),
            ("DISCARD", "-ERR DISCARD without MULTI\r\n"),
            ("WATCH k k", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("MULTI", "-ERR MULTI calls can not be nested\r\n"),
            ("WATCH k", "-ERR WATCH inside MULTI is not allowed\r\n"),
            ("INCR k", "+QUEUED\r\n"),
            ("PING", "+QUEUED\r\n"),
            ("EXEC", "*2\r\n:1\r\n+PONG\r\n"),
            ("WATCH k", "+OK\r\n"),
        ],
    );
    host.hold(b, &[("INCR k", ":2\r\n")]);
    host.hold(
        a,
        &[
            ("WATCH k", "+OK\r\n"), // the first look counts
            ("MULTI", "+OK\r\n"),
            ("INCR k", "+QUEUED\r\n"),
            ("EXEC", "*-1\r\n"),
            ("MULTI", "+OK\r\n"),
            ("INCR k", "+QUEUED\r\n"),
            ("EXEC", "*1\r\n:3\r\n"),
            ("WATCH k", "+OK\r\n"),
            ("UNWATCH", "+OK\r\n"),
        ],
    );
    host.hold(b, &[("SET k 10", "+OK\r\n")]);
    host.hold(
        a,
        &[
            ("MULTI", "+OK\r\n"),
            ("INCR k", "+QUEUED\r\n"),
            (
                "GET",
                "-ERR wrong number of arguments for 'get' command\r\n",
            ),
            (
                "EXEC",
                "-EXECABORT Transaction discarded because of previous errors.\r\n",
            ),
            ("GET k", "$2\r\n10\r\n"),
            ("MULTI", "+OK\r\n"),
            ("INCR k", "+QUEUED\r\n"),
            ("DISCARD", "+OK\r\n"),
            ("GET k", "$2\r\n10\r\n"),
        ],
    );
}

#[test]
fn what_a_transaction_selects_is_selected_once_it_was_executed() {
    let mut host = Host::default();
    let (a, b) = (&mut client(1), &mut client(2));
    host.hold(
        a,
        &[
            ("MULTI", "+OK\r\n"),
            ("SELECT 3", "+QUEUED\r\n"),
            ("SET k three", "+QUEUED\r\n"),
            ("EXEC", "*2\r\n+OK\r\n+OK\r\n"),
            ("GET k", "$5\r\nthree\r\n"),
            ("WATCH k", "+OK\r\n"),
        ],
    );
    host.hold(b, &[("SELECT 3", "+OK\r\n"), ("SET k changed", "+OK\r\n")]);
    host.hold(
        a,
        &[
            ("MULTI", "+OK\r\n"),
            ("SELECT 5", "+QUEUED\r\n"),
            ("EXEC", "*-1\r\n"),
            ("GET k", "$7\r\nchanged\r\n"),
            ("WATCH k", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("SELECT 5", "+QUEUED\r\n"),
            ("EXEC", "*1\r\n+OK\r\n"),
            ("GET k", "$-1\r\n"),
        ],
    );
}

#[test]
fn what_a_conversation_holds_is_bounded() {
    let mut host = Host::default();
    let who = &mut client(1);
    for number in 0..WATCHES_MAX {
        assert_eq!(host.say(who, &format!("WATCH k{number}")), "+OK\r\n");
    }
    let refused = "-ERR too many keys are watched: at most 1024 at a time\r\n";
    assert_eq!(host.say(who, "WATCH one-more"), refused);
    assert_eq!(host.say(who, "MULTI"), "+OK\r\n");
    let long = format!("SET k {}", "v".repeat(300_000));
    for _ in 0..3 {
        assert_eq!(host.say(who, &long), "+QUEUED\r\n");
    }
    let refused = "-ERR the transaction would be longer than 1 MiB: make several of it\r\n";
    assert_eq!(host.say(who, &long), refused);
    assert!(host.say(who, "EXEC").starts_with("-EXECABORT"));
    assert_eq!(host.say(who, "GET k"), "$-1\r\n");
}

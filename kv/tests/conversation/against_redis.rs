//! The same lines are said to a real redis-server and to a conversation before our machine: the replies must be
//! the same bytes. Each script is run in both versions of the protocol.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use standin_kv::conversation::Step;
use standin_kv::table;
use standin_resp::reply::Reply;

use crate::redis::{Redis, Talk};
use crate::support::{Client, Server};

/// Two connections to either server.
struct Pair {
    server: Server,
    ours: [Client; 2],
    theirs: [Talk; 2],
}

impl Pair {
    fn new(redis: &Redis, server: Server) -> Pair {
        let mut theirs = [redis.talk(), redis.talk()];
        let password = server.facts.password.clone();
        // The numbers of connections are in some replies.
        let ours = [0, 1].map(|at: usize| {
            let said = match &password {
                None => theirs[at].say(b"CLIENT ID\r\n").unwrap(),
                // It would have to give it for that; the scripts that need one ask for no number.
                Some(_) => b":0\r\n".to_vec(),
            };
            let Ok(Some((Reply::Integer(id), _))) = Reply::parse(&said) else {
                panic!("{}", said.escape_ascii());
            };
            Client::new(u64::try_from(id).unwrap(), &server)
        });
        Pair {
            server,
            ours,
            theirs,
        }
    }

    /// Says a line on both, and holds that the replies are the same. A line that begins with `2:` is said by the
    /// second client.
    fn say(&mut self, line: &str) {
        let (at, said) = match line.strip_prefix("2:") {
            Some(line) => (1, line),
            None => (0, line),
        };
        let ours = self.ours[at].line(&mut self.server, said);
        let theirs = self.theirs[at].say(format!("{said}\r\n").as_bytes());
        let theirs = theirs.map(|reply| String::from_utf8(reply).unwrap());
        let expected = theirs.as_deref().unwrap_or("closed");
        let ours = match (ours.is_empty(), self.ours[at].is_closed) {
            (true, true) => "closed",
            _ => &ours,
        };
        if said.starts_with("CONFIG GET ") {
            // The order is that of a hash table.
            assert_eq!(pairs(ours), pairs(expected), "{line}");
        } else {
            assert_eq!(ours, expected, "{line}");
        }
        if self.ours[at].is_closed && theirs.is_some() {
            assert!(self.theirs[at].is_closed(), "{line}");
        }
    }
}

/// Settings, by their names, and what kind of reply they came in.
fn pairs(reply: &str) -> (char, BTreeMap<Vec<u8>, Vec<u8>>) {
    let kind = reply.chars().next().unwrap();
    let (parsed, _) = Reply::parse(reply.as_bytes()).unwrap().unwrap();
    let text = |reply: &Reply| reply.text().unwrap().to_vec();
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = match &parsed {
        Reply::Map(pairs) => pairs
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        Reply::Array(items) => items
            .chunks(2)
            .map(|it| (text(&it[0]), text(&it[1])))
            .collect(),
        _ => return ('-', [(text(&parsed), Vec::new())].into()),
    };
    let count = pairs.len();
    let pairs = BTreeMap::from_iter(pairs);
    assert_eq!(pairs.len(), count, "one name came twice");
    (kind, pairs)
}

/// Runs scripts, each on connections and a state of its own, in both versions.
fn run(test: &str, scripts: &[&[&str]]) {
    let Some(redis) = Redis::start(test, &[]) else {
        return;
    };
    for script in scripts {
        for hello in ["HELLO 2", "HELLO 3"] {
            redis.talk().say(b"FLUSHALL\r\n").unwrap();
            let mut pair = Pair::new(&redis, Server::default());
            pair.say(hello);
            script.iter().for_each(|line| pair.say(line));
        }
    }
}

#[test]
fn hello_auth_and_reset() {
    let hello: &[&str] = &[
        "HELLO",
        "HELLO 2",
        "HELLO x",
        "HELLO 4",
        "HELLO 99999999999999999999",
        "HELLO 3 FOO",
        "HELLO 3 AUTH a",
        "HELLO 3 AUTH default x",
        "HELLO 3 AUTH foo x",
        "HELLO 3 SETNAME \"a b\"",
        "HELLO 3 setname ab",
        "CLIENT GETNAME",
        "HELLO 2 SETNAME",
        "HELLO 2 auth default x SETNAME cd",
        "CLIENT GETNAME",
        "HELLO 3 SETNAME ef FOO",
        "CLIENT GETNAME",
        "PING",
    ];
    let auth: &[&str] = &[
        "AUTH x",
        "AUTH default x",
        "AUTH foo x",
        "AUTH a b c",
        "AUTH",
    ];
    let reset: &[&str] = &[
        "SELECT 1",
        "SET a 1",
        "CLIENT SETNAME x",
        "WATCH a",
        "MULTI",
        "RESET",
        "EXEC",
        "CLIENT GETNAME",
        "GET a",
        "HELLO",
        "RESET x",
        "QUIT",
    ];
    run("hello_auth_and_reset", &[hello, auth, reset]);
}

#[test]
fn a_password_has_to_be_given_first() {
    let test = "a_password_has_to_be_given_first";
    let Some(redis) = Redis::start(test, &["--requirepass", "secret"]) else {
        return;
    };
    let scripts: [&[&str]; 5] = [
        &[
            "PING",
            "GET a",
            "FOO",
            "GET",
            "MULTI",
            "EXEC",
            "CLIENT ID",
            "COMMAND COUNT",
            "INFO",
            "SELECT 1",
            "HELLO",
            "HELLO 3",
            "HELLO x",
            "HELLO 3 SETNAME a",
            "HELLO 3 AUTH default wrong",
            "AUTH wrong",
            "AUTH default wrong",
            "AUTH foo secret",
            "AUTH secre",
            "AUTH secret1",
            "AUTH secret",
            "PING",
            "CLIENT GETNAME",
            "AUTH wrong",
            "PING",
            "RESET",
            "PING",
        ],
        &["AUTH default secret", "PING", "QUIT"],
        &["RESET", "QUIT"],
        &["*11"],
        &["AUTH secret", "MULTI", "AUTH secret x y", "DISCARD"],
    ];
    for script in scripts {
        let mut server = Server::default();
        server.facts.password = Some(b"secret".to_vec());
        let mut pair = Pair::new(&redis, server);
        for line in script {
            // AUTH in a transaction is queued by Redis, and refused by us.
            if *line != "AUTH secret x y" {
                pair.say(line);
            }
        }
    }
}

#[test]
fn transactions() {
    run(
        "transactions",
        &[
            &[
                "MULTI", "EXEC", "EXEC", "DISCARD", "MULTI", "MULTI", "SET a 1", "EXEC", "GET a",
            ],
            &[
                "MULTI",
                "INCR a",
                "GET a",
                "PING",
                "PING x",
                "ECHO y",
                "SET b \"x y\"",
                "EXEC",
                "GET b",
            ],
            &["MULTI", "SET a 1", "DISCARD", "GET a", "EXEC"],
            &["MULTI", "GET", "SET a 1", "EXEC", "GET a", "EXEC"],
            &["MULTI", "FOO bar", "SET a 1", "EXEC", "GET a"],
            &["MULTI", "WATCH a", "SET a 1", "EXEC"],
            &[
                "MULTI",
                "DISCARD x",
                "EXEC",
                "MULTI",
                "EXEC x",
                "EXEC",
                "EXEC x",
                "MULTI x",
                "EXEC",
            ],
            &[
                "SET a x", "MULTI", "INCR a", "SET b 2", "PING a b", "EXEC", "GET b",
            ],
            &["MULTI", "QUIT"],
            &["MULTI", "RESET", "EXEC"],
            &["MULTI", "UNWATCH", "EXEC"],
            &["MULTI", "PING a b", "EXEC"],
        ],
    );
}

#[test]
fn selected_databases() {
    run(
        "selected_databases",
        &[
            &[
                "SELECT 16",
                "SELECT a",
                "SELECT -1",
                "SELECT 99999999999",
                "SELECT",
                "SELECT 1 2",
                "SELECT 15",
                "SET a 1",
                "SELECT 0",
                "GET a",
            ],
            &[
                "MULTI",
                "SELECT 3",
                "SET a 3",
                "SELECT 99",
                "SET b 3",
                "EXEC",
                "GET a",
                "GET b",
                "SELECT 0",
                "GET a",
            ],
            &[
                "WATCH k", "MULTI", "SELECT 3", "EXEC", "SET a 3", "SELECT 0", "GET a",
            ],
            &[
                "WATCH k",
                "2:SET k 1",
                "MULTI",
                "SELECT 3",
                "EXEC",
                "SET a 0",
                "SELECT 0",
                "GET a",
            ],
            &[
                "MULTI", "SELECT 3", "DISCARD", "SET a 0", "SELECT 0", "GET a",
            ],
            &[
                "MULTI", "SELECT 3", "FOO", "EXEC", "SET a 0", "SELECT 0", "GET a",
            ],
        ],
    );
}

#[test]
fn watched_keys() {
    run(
        "watched_keys",
        &[
            &["WATCH", "WATCH a b", "MULTI", "SET a 1", "EXEC"],
            &[
                "WATCH a",
                "2:SET a 1",
                "MULTI",
                "SET a 2",
                "EXEC",
                "GET a",
                "MULTI",
                "SET a 2",
                "EXEC",
            ],
            &["SET a 1", "WATCH a", "2:SET a 1", "MULTI", "EXEC"],
            &["SET a 1", "WATCH a", "2:DEL a", "MULTI", "EXEC"],
            &["SET a 1", "WATCH a", "2:SET b 1", "MULTI", "EXEC"],
            &["WATCH a", "2:SET a 1", "2:DEL a", "MULTI", "PING", "EXEC"],
            &["WATCH a", "2:SET a 1", "UNWATCH", "MULTI", "PING", "EXEC"],
            &[
                "WATCH a",
                "2:SET a 1",
                "MULTI",
                "DISCARD",
                "MULTI",
                "PING",
                "EXEC",
            ],
            &["WATCH a", "2:SET a 1", "WATCH a", "MULTI", "PING", "EXEC"],
            &[
                "WATCH a",
                "WATCH a b a",
                "2:SET b 1",
                "MULTI",
                "PING",
                "EXEC",
            ],
            &["WATCH a", "SET a 1", "MULTI", "PING", "EXEC"],
            &[
                "WATCH a",
                "SELECT 1",
                "2:SELECT 1",
                "2:SET a 1",
                "MULTI",
                "PING",
                "EXEC",
            ],
            &["WATCH a", "SELECT 1", "2:SET a 1", "MULTI", "PING", "EXEC"],
            &["WATCH a", "2:FLUSHALL", "MULTI", "PING", "EXEC"],
            &["SET a 1", "WATCH a", "2:FLUSHALL", "MULTI", "PING", "EXEC"],
            &["WATCH a", "2:SET a 1", "EXEC", "MULTI", "PING", "EXEC"],
            &[
                "WATCH a",
                "2:SET a 1",
                "MULTI",
                "FOO",
                "EXEC",
                "MULTI",
                "PING",
                "EXEC",
            ],
            &["WATCH a", "2:SET a 1", "RESET", "MULTI", "PING", "EXEC"],
        ],
    );
}

#[test]
fn what_a_client_says_of_itself() {
    run(
        "what_a_client_says_of_itself",
        &[&[
            "CLIENT",
            "CLIENT FOO",
            "CLIENT foo bar",
            "CLIENT SETNAME",
            "CLIENT SETNAME a b",
            "CLIENT ID",
            "CLIENT ID x",
            "CLIENT GETNAME",
            "CLIENT SETNAME \"a\\x01\"",
            "CLIENT SETNAME \"a\\xff\"",
            "CLIENT SETNAME ab",
            "CLIENT GETNAME",
            "CLIENT SETNAME \"\"",
            "CLIENT GETNAME",
            "CLIENT NO-EVICT on",
            "CLIENT NO-EVICT x",
            "CLIENT REPLY ON",
            "CLIENT REPLY x",
            "CLIENT GETREDIR",
            "CLIENT TRACKINGINFO",
            "CLIENT TRACKING off",
            "CLIENT TRACKING foo",
            "CLIENT UNBLOCK 4444",
            "CLIENT UNBLOCK x",
            "CLIENT UNBLOCK 4444 foo",
            "CLIENT UNBLOCK 4444 timeout",
            "CLIENT KILL 1.2.3.4:5",
            "CLIENT KILL ID 9999",
            "CLIENT KILL ID x",
            "CLIENT KILL ID 0",
            "CLIENT KILL FOO 1",
            "CLIENT KILL TYPE foo",
            "CLIENT KILL USER foo",
            "CLIENT KILL SKIPME maybe",
            "CLIENT KILL ID 9999 SKIPME no",
            "CLIENT KILL ID",
            "CLIENT KILL ID 9 ADDR",
            "CLIENT KILL TYPE pubsub",
            "CLIENT KILL ADDR 1.2.3.4:5 LADDR x",
            "CLIENT LIST TYPE x",
            "CLIENT LIST ID 1 2 x",
            "CLIENT LIST FOO",
            "CLIENT LIST ID",
            "CLIENT LIST TYPE master",
            "CLIENT LIST ID 9999",
            "CLIENT LIST TYPE normal x",
            "client info x",
            "CLIENT MAINT_NOTIFICATIONS ON",
        ]],
    );
}

#[test]
fn what_a_server_says_of_itself() {
    run(
        "what_a_server_says_of_itself",
        &[
            &[
                "CONFIG",
                "CONFIG GET",
                "CONFIG GET save",
                "CONFIG GET SAVE",
                "CONFIG GET Save s?ve save",
                "CONFIG GET nosuch",
                "CONFIG SET",
                "CONFIG SET a",
                "CONFIG SET a b",
                "CONFIG SET databases 17",
                "CONFIG SET a b c",
                "CONFIG RESETSTAT",
                "CONFIG REWRITE",
                "CONFIG FOO",
                "CONFIG GET databases",
                "CONFIG GET maxmemory maxmemory-policy nosuch",
                "CONFIG GET *-max-*list*-entries",
                "CONFIG GET *-max-*list*-value",
                "CONFIG GET set-max-intset-entries",
                "CONFIG GET timeout notify-keyspace-events",
                "CONFIG GET list-max-*",
            ],
            &[
                "ROLE",
                "ROLE x",
                "INFO foo",
                "INFO a b",
                "INFO cluster",
                "INFO CLUSTER x",
                "INFO modules cluster",
            ],
            &[
                "WAIT 0 10",
                "WAIT 1 1",
                "WAIT a 1",
                "WAIT 1 a",
                "WAIT 1 -1",
                "WAIT 1",
                "WAIT -1 0",
            ],
            &[
                "CLUSTER INFO",
                "CLUSTER FOO",
                "CLUSTER",
                "CLUSTER KEYSLOT a",
                "CLUSTER KEYSLOT",
                "READONLY",
                "READWRITE",
                "ASKING",
                "READONLY x",
            ],
            &[
                "COMMAND FOO",
                "COMMAND COUNT x",
                "COMMAND GETKEYS",
                "COMMAND GETKEYS get",
                "COMMAND GETKEYS get a",
                "COMMAND GETKEYS get a b",
                "COMMAND GETKEYS mset a 1 b 2",
                "COMMAND GETKEYS foo a",
                "COMMAND GETKEYS ping a",
                "COMMAND GETKEYS del a b c",
                "COMMAND GETKEYS object encoding a",
                "COMMAND LIST FILTERBY MODULE a",
                "COMMAND LIST FILTERBY ACLCAT nosuch",
                "COMMAND LIST FOO",
                "COMMAND LIST FILTERBY",
                "COMMAND LIST FILTERBY FOO x",
                "COMMAND LIST FILTERBY PATTERN GETRANG*",
                "COMMAND DOCS nosuch",
                "COMMAND INFO nosuch",
            ],
            &[
                "PING",
                "PING a",
                "PING a b",
                "ping \"\"",
                "ECHO",
                "ECHO a",
                "echo a b",
                "QUIT",
            ],
            &["QUIT x"],
            &["POST / HTTP/1.1"],
            &["host: x"],
            &["\r\nPING", "\r\n\r\n*0\r\nPING"],
            &[
                "\"\" a",
                "foo a b \"c d\"",
                "\"a\\nb\" \"c\\rd\"",
                "GET",
                "SET a",
                "nosuch",
            ],
        ],
    );
}

/// What two clients say in turns: each line is drawn from these.
const SAID: [&str; 33] = [
    "MULTI",
    "MULTI",
    "MULTI",
    "EXEC",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH a",
    "WATCH b a",
    "WATCH c",
    "UNWATCH",
    "SELECT 0",
    "SELECT 1",
    "SELECT 99",
    "SET a 1",
    "SET b 2",
    "SET a x",
    "INCR a",
    "INCR c",
    "DEL a",
    "DEL a b",
    "GET a",
    "GET b",
    "MGET a b c",
    "FLUSHDB",
    "FLUSHALL",
    "GET",
    "NOSUCH",
    "PING",
    "ECHO x",
    "RESET",
    "CLIENT GETNAME",
    "EXISTS a b c",
];

#[test]
fn whatever_two_clients_say_is_answered_alike() {
    let test = "whatever_two_clients_say_is_answered_alike";
    let Some(redis) = Redis::start(test, &[]) else {
        return;
    };
    let lines = vec((0..SAID.len(), any::<bool>()), 1..40);
    let versions = (any::<bool>(), any::<bool>());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(400));
    let outcome = runner.run(&(versions, lines), |((first, second), lines)| {
        redis.talk().say(b"FLUSHALL\r\n").unwrap();
        let mut pair = Pair::new(&redis, Server::default());
        let hello = |is_new| if is_new { "HELLO 3" } else { "HELLO 2" };
        pair.say(hello(first));
        pair.say(&format!("2:{}", hello(second)));
        let mut queues = [false; 2];
        for (at, is_second) in lines {
            let said = SAID[at];
            let queues = &mut queues[usize::from(is_second)];
            match said {
                "MULTI" => *queues = true,
                "EXEC" | "DISCARD" | "RESET" => *queues = false,
                // Redis queues it, and we refuse it.
                "CLIENT GETNAME" if *queues => continue,
                _ => {}
            }
            pair.say(&format!("{}{said}", if is_second { "2:" } else { "" }));
        }
        Ok(())
    });
    outcome.expect("both say the same");
}

/// The table of commands, as COMMAND INFO shows it: all that a cluster's client finds keys by.
#[test]
fn commands_are_described_as_redis_describes_them() {
    let test = "commands_are_described_as_redis_describes_them";
    let Some(redis) = Redis::start(test, &[]) else {
        return;
    };
    let mut pair = Pair::new(&redis, Server::default());
    let mut differing = Vec::new();
    for spec in table::all() {
        let line = format!("COMMAND INFO {}\r\n", spec.name);
        let ours = pair.ours[0].say(&mut pair.server, line.as_bytes());
        let theirs = pair.theirs[0].say(line.as_bytes()).unwrap();
        let described = |reply: &[u8]| -> Option<Vec<Reply>> {
            let Ok(Some((Reply::Array(mut commands), _))) = Reply::parse(reply) else {
                panic!("{}", reply.escape_ascii());
            };
            match commands.pop() {
                Some(Reply::Array(mut parts)) if commands.is_empty() => {
                    assert_eq!(parts.len(), 10);
                    // Tips, key specifications and subcommands are left out.
                    parts.truncate(7);
                    let last = parts.len() - 1;
                    for at in [2, last] {
                        // The order says nothing.
                        if let Reply::Array(words) = &mut parts[at] {
                            words.sort_by_key(|word| word.text().unwrap().to_vec());
                        }
                    }
                    Some(parts)
                }
                Some(reply) if reply.is_null() => None,
                other => panic!("{other:?}"),
            }
        };
        match (described(&ours), described(&theirs)) {
            // Not written yet.
            (None, _) => {}
            (ours, theirs) if ours == theirs => {}
            (ours, theirs) => {
                differing.push(format!("{}: {ours:?}, in Redis {theirs:?}", spec.name))
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// CLIENT LIST and INFO have what tools look for, in Redis's words.
#[test]
fn lists_for_people_have_the_fields_of_redis() {
    let test = "lists_for_people_have_the_fields_of_redis";
    let Some(redis) = Redis::start(test, &[]) else {
        return;
    };
    let mut pair = Pair::new(&redis, Server::default());
    for line in ["CLIENT SETNAME me", "SELECT 3", "MULTI", "DISCARD"] {
        pair.say(line);
    }
    let fields = |line: &[u8]| -> BTreeMap<String, String> {
        let text = String::from_utf8(line.to_vec()).unwrap();
        let words = text
            .split(' ')
            .filter_map(|word| word.trim().split_once('='));
        words
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let (ours, theirs) = both(&mut pair, "CLIENT LIST");
    let (ours, theirs) = (
        fields(&ours),
        fields(theirs.split(|byte| *byte == b'\n').next().unwrap()),
    );
    for name in theirs.keys() {
        assert!(ours.contains_key(name), "{name}");
    }
    for name in ["id", "name", "db", "multi", "cmd", "user", "resp", "redir"] {
        assert_eq!(ours.get(name), theirs.get(name), "{name}");
    }
    let (ours, theirs) = both(&mut pair, "INFO");
    let names = |text: Vec<u8>| -> Vec<String> {
        let text = String::from_utf8(text).unwrap();
        let names = text.lines().filter_map(|line| line.split(':').next());
        names.map(str::to_owned).collect()
    };
    let (ours, theirs) = (names(ours), names(theirs));
    let foreign = ["standin_version", "db3"];
    for name in ours.iter().filter(|name| !foreign.contains(&&***name)) {
        assert!(theirs.contains(name), "{name}");
    }
}

/// The texts that both answer a line with.
fn both(pair: &mut Pair, line: &str) -> (Vec<u8>, Vec<u8>) {
    let bytes = format!("{line}\r\n");
    let ours = pair.ours[0].say(&mut pair.server, bytes.as_bytes());
    assert!(matches!(pair.ours[0].step, Step::Replied | Step::Ask(_)));
    let theirs = pair.theirs[0].say(bytes.as_bytes()).unwrap();
    let text = |reply: &[u8]| {
        let (reply, _) = Reply::parse(reply).unwrap().unwrap();
        reply.text().unwrap().to_vec()
    };
    (text(&ours), text(&theirs))
}

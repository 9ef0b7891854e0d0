//! Pipelines of everything: all families and what is none, transactions and watched keys, all databases, both
//! versions of the protocol, on two connections that take turns.

use standin_kv::keyspace::{DatabaseId, Deadline, Keyspace, Sight};
use standin_kv::members::Key;
use standin_kv::value::Value;

use crate::both::{Request, words};
use crate::chance::Chance;
use crate::pair::Pair;
use crate::redis::Redis;
use crate::rule::Rule;
use crate::tally::Tally;
use crate::{SEEDS, connection, hello, mixture, seeds, tell_count, version_of};

/// Pipelines in each sequence.
const PIPELINES: usize = 40;

/// What a connection has said so far.
#[derive(Default)]
struct Speaker {
    is_queuing: bool,
}

impl Speaker {
    /// Says one thing more, or some that belong together.
    fn say(&mut self, chance: &mut Chance, said: &mut Vec<Request>) {
        match (self.is_queuing, chance.below(120)) {
            (false, 0..6) => {
                self.is_queuing = true;
                said.push(words("MULTI"));
            }
            (false, 6..14) => {
                chance.favour(mixture::KEYS, 0..mixture::KEYS);
                let mut watch = words("WATCH");
                watch.extend((0..chance.below(5)).map(|_| chance.key()));
                said.push(watch);
            }
            (false, 14) => said.push(words(chance.of(&[
                "EXEC",
                "DISCARD",
                "UNWATCH",
                "UNWATCH x",
                "EXEC x",
            ]))),
            (false, 15..18) => said.push(connection::request(chance)),
            (true, 0..14) => {
                self.is_queuing = false;
                said.push(words("EXEC"));
            }
            (true, 14..16) => {
                self.is_queuing = false;
                said.push(words("DISCARD"));
            }
            (true, 16) => {
                let line = chance.of(&[
                    "MULTI",
                    "WATCH a",
                    "UNWATCH",
                    "UNWATCH",
                    "MULTI x",
                    "EXEC x",
                    "DISCARD x",
                    "RESET",
                    "RESET x",
                ]);
                // Also the one that is refused ends it.
                self.is_queuing = !matches!(line, "EXEC x" | "RESET");
                said.push(words(line));
            }
            // The first one most of the time, so that there is much in one of them.
            (_, 20..26) => {
                let database = chance.below(16) * chance.below(2) * chance.below(2);
                said.push(words(&format!("SELECT {database}")));
            }
            _ => command(mixture::request(chance), said),
        }
    }
}

/// A command, and what keeps both servers in step after it.
fn command(mut request: Request, said: &mut Vec<Request>) {
    let key = request.get(1).cloned().unwrap_or_default();
    let touch = vec![b"TTL".to_vec(), key.clone()];
    match Rule::of(&request) {
        // All at once: where one server's walk stands says nothing to the other.
        Rule::Walk(..) => {
            request.extend([b"COUNT".to_vec(), b"10000".to_vec()]);
            said.push(request);
        }
        Rule::Picked if request[0].eq_ignore_ascii_case(b"spop") => {
            said.extend([request, vec![b"DEL".to_vec(), key]]);
        }
        // It may be gone at once: then it counts until somebody comes upon it.
        _ if request[0].eq_ignore_ascii_case(b"set") && request.len() > 3 => {
            said.extend([request, touch]);
        }
        _ => said.push(request),
    }
}

#[test]
fn pipelines_of_everything_answer_as_in_redis() {
    let Some(redis) = Redis::start("pipelines", &[]) else {
        return;
    };
    let keys: Vec<String> = mixture::all_keys().collect();
    let mut tally = Tally::default();
    for seed in 1..=seeds() {
        let mut chance = Chance::new(5_000 + seed);
        let mut pair = Pair::new(&redis, format!("pipelines, seed {seed}"));
        pair.tally = tally;
        let mut speakers = [Speaker::default(), Speaker::default()];
        pair.say(0, &[hello(version_of(seed))]);
        pair.say(1, &[hello(version_of(seed / 2))]);
        for _ in 0..PIPELINES {
            let at = chance.below(2);
            let mut said = Vec::new();
            for _ in 0..1 + chance.below(60) {
                speakers[at].say(&mut chance, &mut said);
            }
            pair.say(at, &said);
            pair.hold_that_none_is_soon();
        }
        pair.compare_states(&keys);
        pair.quit(1);
        tally = pair.tally;
    }
    // Fewer sequences than there are if nothing is said may leave some things out.
    if seeds() >= SEEDS {
        tally.judge();
    }
    tell_count("pipelines");
}

/// What comes about by chance too seldom: whose turn it is, then what is said.
const SCRIPTS: &[&[(usize, &str)]] = &[
    // A key that came and is gone again, though nobody has come upon it.
    &[
        (0, "WATCH k"),
        (1, "SET k v PXAT 1"),
        (0, "MULTI"),
        (0, "PING"),
        (0, "EXEC"),
    ],
    // One that was gone before it was watched.
    &[
        (1, "SET k v PXAT 1"),
        (0, "WATCH k"),
        (1, "GET k"),
        (1, "DEL k"),
        (0, "MULTI"),
        (0, "PING"),
        (0, "EXEC"),
    ],
    &[
        (1, "SET k v PXAT 1"),
        (0, "WATCH k"),
        (1, "SET k v PXAT 2"),
        (0, "MULTI"),
        (0, "PING"),
        (0, "EXEC"),
    ],
    &[
        (1, "SET k v"),
        (0, "WATCH k"),
        (1, "GETEX k PXAT 1"),
        (0, "MULTI"),
        (0, "DBSIZE"),
        (0, "EXEC"),
    ],
];

#[test]
fn what_is_watched_and_gone_is_as_in_redis() {
    let options = ["--enable-debug-command", "yes"];
    let Some(redis) = Redis::start("scripts", &options) else {
        return;
    };
    // What nobody comes upon stays.
    redis.talk().ask(&words("DEBUG SET-ACTIVE-EXPIRE 0"));
    for (script, number) in SCRIPTS.iter().zip(1..) {
        let mut pair = Pair::new(&redis, format!("script {number}"));
        for (at, line) in *script {
            pair.say(*at, &[words(line)]);
        }
    }
}

/// Two keys in one slot of the table of removals can make EXEC answer null where Redis executes. So that a
/// comparison does not come upon that, no two of the keys that are used are in one, in whatever databases.
#[test]
fn no_two_keys_share_a_slot_of_removals() {
    let names: Vec<(DatabaseId, String)> = DatabaseId::all()
        .flat_map(|database| mixture::all_keys().map(move |key| (database, key)))
        .collect();
    let mut keyspace = Keyspace::default();
    for (place, (database, name)) in names.iter().enumerate() {
        let index = place as u64 + 1;
        let key = Key::new(name.as_bytes());
        keyspace.begin(0, index);
        keyspace.put(*database, key, Value::Integer(1), Deadline::Never);
        keyspace.discard(*database, key);
        let before = Sight {
            is_present: false,
            index: index - 1,
        };
        for (other_database, other) in &names {
            let is_it = (other_database, other) == (database, name);
            let is_as_seen =
                keyspace.is_as_seen(*other_database, Key::new(other.as_bytes()), before);
            assert_eq!(is_as_seen, !is_it, "{name} and {other}");
        }
    }
}

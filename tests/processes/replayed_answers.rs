//! What clients were answered is what a replay of the log comes to: each answer to a query as of the entry that it names
//! itself, and each reply to a command. With real processes, and a primary that is killed in the midst of it.
//!
//! `STANDIN_REPLAYED_ANSWERS` says as of how many different entries each machine answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use standin::machines::counter::{Counter, encode_add};
use standin::machines::kv::{KeyValue, arguments};
use standin_client::{Client, ClientConfig, ViewServices};
use standin_core::entry::Index;
use standin_core::machine::StateMachine;
use standin_core::message::{Consistency, ReplyStatus};
use standin_core::random::RandomStream;
use standin_core::time::Duration;
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;
use standin_tools::cluster::ClusterConfig;
use standin_tools::replay::{Replay, ReplayOptions, replay};

use crate::support::cli::{self, STANDIN};
use crate::support::scene::Scene;
use crate::support::{PATIENCE, sure, tell};

const LEASE: Duration = Duration::from_secs(1);
/// Different entries as of which each of the two machines answers, unless the variable says otherwise.
const ENTRIES: usize = 10_000;
const CLIENTS: u64 = 4;
/// Keys of the database.
const KEYS: u64 = 5;
/// So many answers are asked for once more by `standin replay`, of each machine.
const BY_COMMAND: usize = 15;

/// An answer to a query.
#[derive(Clone, Debug)]
struct Told {
    index: Index,
    words: String,
    reply: Vec<u8>,
}

/// A reply to a command; there is no other command of the same bytes.
#[derive(Clone, Debug)]
struct Done {
    command: Vec<u8>,
    reply: Vec<u8>,
    /// As of when it was given: the command's own entry, or a later one if it was sent again.
    seen: Index,
}

/// What clients heard.
#[derive(Debug, Default)]
struct Heard {
    told: Vec<Told>,
    done: Vec<Done>,
    /// The entries as of which queries were answered.
    indexes: BTreeSet<Index>,
}

/// A machine, and what its clients ask for.
trait Asked: StateMachine {
    /// A command that depends on all that came before; `number` is in no other one.
    fn a_command(random: &mut RandomStream, number: u64) -> Vec<u8>;

    /// A query, as people type it.
    fn a_query(random: &mut RandomStream) -> String;
}

impl Asked for Counter {
    fn a_command(_: &mut RandomStream, number: u64) -> Vec<u8> {
        encode_add(i64::try_from(number).expect("few")).to_vec()
    }

    fn a_query(_: &mut RandomStream) -> String {
        "get".to_owned()
    }
}

impl Asked for KeyValue {
    fn a_command(random: &mut RandomStream, number: u64) -> Vec<u8> {
        let key = format!("key:{}", random.next_u64() % KEYS);
        let list = format!("list:{}", random.next_u64() % KEYS);
        let number = number.to_string();
        let words: &[&str] = match random.next_u64() % 4 {
            0 => &["RPUSH", &list, &number],
            1 => &["SET", &key, &number],
            _ => &["INCRBY", &key, &number],
        };
        arguments::command(Version::default(), DatabaseId::default(), words)
    }

    fn a_query(random: &mut RandomStream) -> String {
        let key = random.next_u64() % KEYS;
        match random.next_u64() % 8 {
            0 => format!("LLEN list:{key}"),
            1 => format!("LINDEX list:{key} -1"),
            2 => format!("get key:{key}"),
            _ => "MGET key:0 key:1 key:2 key:3 key:4".to_owned(),
        }
    }
}

fn parse<M: StateMachine>(words: &str) -> Vec<u8> {
    M::parse_query(words).expect("the machine has that query")
}

/// One client: a command and a query in turns, until there are answers enough.
fn work<M: Asked>(view_services: &ViewServices, which: u64, goal: usize, heard: &Mutex<Heard>) {
    let config = ClientConfig { timeout: PATIENCE };
    let mut client = sure(Client::new(view_services.clone(), config));
    let mut random = RandomStream::new(1, which);
    for number in 1.. {
        let command = M::a_command(&mut random, number * CLIENTS + which);
        let done = sure(client.command(&command));
        let words = M::a_query(&mut random);
        let consistency = match number % 3 {
            0 => Consistency::Lease,
            1 => Consistency::Stale,
            _ => Consistency::Confirmed,
        };
        let told = sure(client.query(&parse::<M>(&words), consistency));
        let mut heard = heard.lock().expect("nobody panics with it");
        heard.done.push(Done {
            command,
            reply: done.bytes,
            seen: done.seen.index,
        });
        heard.indexes.insert(told.seen.index);
        heard.told.push(Told {
            index: told.seen.index,
            words,
            reply: told.bytes,
        });
        if heard.indexes.len() >= goal {
            return;
        }
    }
}

/// Clients work, and in the midst of it the primary is killed and comes back later.
fn hear<M: Asked>(scene: &mut Scene, goal: usize) -> Heard {
    let heard = Mutex::new(Heard::default());
    let view_services = sure(scene.view_services());
    std::thread::scope(|scope| {
        for which in 0..CLIENTS {
            let (view_services, heard) = (&view_services, &heard);
            scope.spawn(move || work::<M>(view_services, which, goal, heard));
        }
        let count = || heard.lock().map_or(goal, |heard| heard.indexes.len());
        scene.until("a third of the answers", |_| {
            (count() >= goal / 3).then_some(())
        });
        let (pair, _) = scene.kill_one(|pair| &pair.primary);
        scene.until("two thirds of the answers", |_| {
            (count() >= goal * 2 / 3).then_some(())
        });
        sure(scene.start(&pair.primary));
        scene.until_pair();
    });
    heard.into_inner().expect("nobody panicked with it")
}

/// Asks on the way what clients asked; how many answers another entry would have given away.
fn compare_answers<M: StateMachine>(dir: &Path, heard: &Heard) -> usize {
    let mut told: Vec<&Told> = heard.told.iter().collect();
    told.sort_by_key(|told| told.index);
    let mut replay = sure(Replay::<M>::open(dir, false));
    assert_eq!(replay.from(), Index::ZERO, "the whole log is there");
    let mut given_away = 0;
    for told in told {
        let query = parse::<M>(&told.words);
        let ask = |replay: &Replay<M>| {
            let mut reply = Vec::new();
            sure(replay.state().query(&query, &mut reply));
            reply
        };
        let before = ask(&replay);
        sure(replay.go_to(told.index));
        let now = ask(&replay);
        assert!(
            now == told.reply,
            "{:?} as of entry {}: a client was answered {}, a replay of {} answers {}",
            told.words,
            told.index,
            M::reply_words(&told.reply),
            dir.display(),
            M::reply_words(&now)
        );
        given_away += usize::from(before != now);
    }
    given_away
}

/// Holds each reply to a command against what its entry comes to; how many were given as of just that entry.
fn compare_replies<M: StateMachine>(dir: &Path, heard: &Heard) -> usize {
    let mut replies = BTreeMap::new();
    let mut replay = sure(Replay::<M>::open(dir, false));
    while let Some(step) = sure(replay.advance()) {
        let told = step.entry.replies(step.status, step.reply);
        for (command, told) in step.entry.commands().zip(told) {
            if told.status != ReplyStatus::Done {
                continue;
            }
            let executed = (step.entry.header.index, told.bytes.to_vec());
            // What comes again is not executed again.
            let first = replies.entry(command.bytes.to_vec());
            let first = first.or_insert_with(|| executed.clone());
            assert_eq!(first.1, executed.1, "the same reply again");
        }
    }
    let mut exact = 0;
    for done in &heard.done {
        let found = replies.get(&done.command);
        let (index, reply) = found.expect("what was answered is in the log");
        assert!(
            *reply == done.reply && *index <= done.seen,
            "{} at entry {index}: a client was answered {} as of entry {}, a replay of {} replies {}",
            M::command_words(&done.command),
            M::reply_words(&done.reply),
            done.seen,
            dir.display(),
            M::reply_words(reply)
        );
        exact += usize::from(*index == done.seen);
    }
    exact
}

/// The same by the command that people use, each time from the log's first entry on.
fn compare_by_command<M: StateMachine>(dir: &Path, heard: &Heard) {
    let mut random = RandomStream::new(2, 1);
    let dir = dir.display().to_string();
    for _ in 0..BY_COMMAND {
        let drawn = random.next_u64() % heard.told.len() as u64;
        let told = &heard.told[usize::try_from(drawn).expect("few")];
        let (until, query) = (told.index.to_string(), told.words.clone());
        let words = ["replay", &dir, "--until", &until, "--query", &query];
        let ran = cli::run("127.0.0.1:1", &[&words[..], &["--json"]].concat());
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
        let account: serde_json::Value = sure(serde_json::from_str(&ran.stdout));
        assert_eq!(account["index"], told.index.0);
        assert_eq!(account["answer"], M::reply_words(&told.reply), "{told:?}");
    }
}

fn replays_are_what_clients_heard<M: Asked>() {
    let goal = std::env::var("STANDIN_REPLAYED_ANSWERS");
    let goal = goal.map_or(ENTRIES, |goal| sure(goal.parse()));
    let words = "--keep-log --snapshot-every 500 --segment-bytes 262144";
    let config = ClusterConfig {
        lease: LEASE,
        machine: M::NAME.to_owned(),
        replica_arguments: words.split(' ').map(str::to_owned).collect(),
        ..ClusterConfig::new(STANDIN)
    };
    let mut scene = Scene::with("replayed answers", config);
    sure(scene.start_all(&["a", "b"]));
    scene.until_pair();
    let heard = hear::<M>(&mut scene, goal);
    scene.until_agreement();
    assert!(heard.indexes.len() >= goal);
    for name in ["a", "b"] {
        let dir = scene.directory().join(name);
        let given_away = compare_answers::<M>(&dir, &heard);
        let exact = compare_replies::<M>(&dir, &heard);
        // A replay that is an entry off would be seen by most of it.
        let (told, done) = (heard.told.len(), heard.done.len());
        assert!(given_away > goal / 3, "{given_away} of {goal}");
        assert!(exact > done / 2, "{exact} of {done}");
        let options = ReplayOptions {
            verifies: true,
            ..ReplayOptions::default()
        };
        let replayed = scene.until("a snapshot to have recorded digests", |_| {
            let replayed = sure(replay::<M>(&dir, options, &mut |_, _| {}));
            (replayed.verified > 0).then_some(replayed)
        });
        tell(format_args!(
            "{} {name}: {} entries, {told} answers as of {} entries ({given_away} differ from the one before), {done} replies \
             ({exact} as of their own entries), {} recorded digests",
            M::NAME,
            replayed.state.applied(),
            heard.indexes.len(),
            replayed.verified
        ));
    }
    compare_by_command::<M>(&scene.directory().join("b"), &heard);
}

#[test]
fn what_clients_of_the_counter_heard_is_what_replays_come_to() {
    replays_are_what_clients_heard::<Counter>();
}

#[test]
fn what_clients_of_the_database_heard_is_what_replays_come_to() {
    replays_are_what_clients_heard::<KeyValue>();
}

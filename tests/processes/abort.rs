//! An input that takes the whole process with it (`protocol.md` section 12): an abort, a stack that overflows, a
//! timer that does it. Whoever applies it dies, and is started again by a supervisor, until the service goes on without
//! it; the client hears which entry it was. And what kills processes without being any entry's doing makes nobody skip one.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use standin::machines::counter::{decode_reply, encode_add, encode_get};
use standin_client::{Client, ClientConfig, ClientError, Consistency};
use standin_core::identity::Durability;
use standin_core::message::StatusReply;
use standin_core::time::Duration;
use standin_io::clock;
use standin_tools::cluster::{ClusterConfig, POLL_PAUSE, VIEW_SERVICE};

use crate::support::load::LoadConfig;
use crate::support::scene::{Pair, Scene, replica};
use crate::support::{PATIENCE, example, sure, tell};

const LEASE: Duration = Duration::from_millis(500);

/// What `examples/brittle.rs` dies of when it is added.
const DEADLY: i64 = -13_001;
const BOTTOMLESS: i64 = -13_002;
const DOOMED: i64 = -13_003;
/// What it takes 700 ms over.
const SLOW: i64 = -13_004;
/// What it takes a millisecond over, and does nothing else.
const IDLE: i64 = -13_005;
/// A lease that outlasts that.
const LEASE_OF_THE_SLOW: Duration = Duration::from_secs(3);

/// Kills of a replica's processes in the test that wants nobody to be put out of service for them.
const KILLS: u64 = 24;

fn scene(title: &str, replicas: &[&str], arguments: &[&str]) -> Scene {
    scene_with(LEASE, title, replicas, arguments)
}

fn scene_with(lease: Duration, title: &str, replicas: &[&str], arguments: &[&str]) -> Scene {
    let config = ClusterConfig {
        lease,
        durability: Durability::Os,
        machine: "brittle".to_owned(),
        replica_arguments: arguments.iter().map(ToString::to_string).collect(),
        ..ClusterConfig::new(example("brittle"))
    };
    let mut scene = Scene::with(title, config);
    sure(scene.start_all(replicas));
    scene
}

/// Starts whoever has ended, as a supervisor would, and counts that.
fn supervise(scene: &mut Scene, deaths: &mut BTreeMap<String, u32>) {
    let names: Vec<String> = scene.names().map(str::to_owned).collect();
    for name in names.iter().filter(|name| *name != VIEW_SERVICE) {
        if !scene.is_running(name) {
            sure(scene.wait(name, PATIENCE));
            sure(scene.spawn(name));
            *deaths.entry(name.clone()).or_default() += 1;
        }
    }
}

/// Supervises until the status shows something.
#[track_caller]
fn supervise_until<T>(
    scene: &mut Scene,
    deaths: &mut BTreeMap<String, u32>,
    what: &str,
    mut look: impl FnMut(Option<&StatusReply>) -> Option<T>,
) -> T {
    let end = clock::boot().plus(PATIENCE);
    loop {
        supervise(scene, deaths);
        let status = scene.status().ok();
        if let Some(seen) = look(status.as_ref()) {
            return seen;
        }
        assert!(
            clock::boot() < end,
            "waited in vain for {what}; {deaths:?}; {status:?}"
        );
        thread::sleep(POLL_PAUSE);
    }
}

/// A primary with a backup, both alive.
fn living_pair(status: Option<&StatusReply>) -> Option<Pair> {
    let status = status?;
    let pair = status.record.as_ref().and_then(Pair::of)?;
    let is_alive = |name| replica(status, name).is_some_and(|one| one.is_alive);
    (is_alive(&pair.primary) && is_alive(&pair.backup)).then_some(pair)
}

type Asked = JoinHandle<Result<standin_client::Answer, ClientError>>;

fn add(scene: &Scene, number: i64) -> Asked {
    let config = ClientConfig { timeout: PATIENCE };
    let mut client = sure(Client::new(sure(scene.view_services()), config));
    thread::spawn(move || client.command(&encode_add(number)))
}

fn get(scene: &Scene) -> i64 {
    let config = ClientConfig { timeout: PATIENCE };
    let mut client = sure(Client::new(sure(scene.view_services()), config));
    let answer = sure(client.query(&encode_get(), Consistency::Confirmed));
    let value = decode_reply(&answer.bytes).expect("a reply of the counter's");
    sure(value)
}

/// A client that has the machine do nothing, again and again, and counts the answers.
fn idle_until(scene: &Scene, is_over: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let config = ClientConfig { timeout: PATIENCE };
    let mut client = sure(Client::new(sure(scene.view_services()), config));
    let is_over = Arc::clone(is_over);
    thread::spawn(move || {
        let mut answers = 0;
        while !is_over.load(Ordering::Relaxed) {
            sure(client.command(&encode_add(IDLE)));
            answers += 1;
        }
        answers
    })
}

/// All that replicas have said in their logs.
fn said(scene: &Scene) -> String {
    let replicas = scene.names().filter(|name| *name != VIEW_SERVICE);
    let read = |name| fs::read_to_string(scene.log_path(name)).unwrap_or_default();
    replicas.map(read).collect()
}

/// Kills and starts each of them: whoever replays the log skips the entry, too.
fn replay_everywhere(scene: &mut Scene, replicas: &[&str]) {
    for name in replicas {
        sure(scene.kill(name));
        sure(scene.start(name));
        scene.until_pair();
    }
    scene.until_agreement();
}

#[test]
fn a_command_that_aborts_three_replicas_is_skipped_and_its_client_told_so() {
    let replicas = ["a", "b", "c"];
    let mut scene = scene("an abort", &replicas, &[]);
    let load = scene.load(LoadConfig::default());
    scene.until_pair();
    scene.until_answers(&load);
    let mut deaths = BTreeMap::new();
    let asked = add(&scene, DEADLY);
    supervise_until(&mut scene, &mut deaths, "an answer", |_| {
        asked.is_finished().then_some(())
    });
    let outcome = asked.join().expect("the client does not panic");
    let ClientError::Skipped { entry } = outcome.expect_err("it kills who executes it") else {
        panic!("it was not skipped");
    };
    let count: u32 = deaths.values().sum();
    tell(format_args!("entry {entry} was skipped after {deaths:?}"));
    assert!(count >= 2, "one death proves nothing: {deaths:?}");

    // Who died at it says so, in the life in which it was decided.
    let words = format!("while the machine applied entry {entry} ");
    supervise_until(
        &mut scene,
        &mut deaths,
        "words of what happened",
        |status| {
            let mut replicas = status?.replicas.iter();
            let is_told = |told: &str| told.contains(&words) && told.contains("it is skipped");
            replicas
                .any(|one| one.trouble.as_deref().is_some_and(is_told))
                .then_some(())
        },
    );
    let shown = scene.cli(&["status"]).stdout;
    assert!(shown.contains(&words), "{shown}");
    supervise_until(&mut scene, &mut deaths, "a pair", living_pair);
    scene.until_answers(&load);
    scene.audit(load);
    replay_everywhere(&mut scene, &replicas);
}

#[test]
fn a_stack_that_overflows_in_a_lone_primary_is_survived_by_two_restarts() {
    let mut scene = scene("a stack overflow all alone", &["a"], &[]);
    sure(add(&scene, 5).join().expect("it does not panic"));
    let mut deaths = BTreeMap::new();
    let asked = add(&scene, BOTTOMLESS);
    supervise_until(&mut scene, &mut deaths, "an answer", |_| {
        asked.is_finished().then_some(())
    });
    let outcome = asked.join().expect("the client does not panic");
    assert!(
        matches!(outcome, Err(ClientError::Skipped { .. })),
        "{outcome:?}"
    );
    assert_eq!(deaths["a"], 2, "it died twice, and no more");
    assert_eq!(get(&scene), 5, "nothing of it took effect");
    // The log tells for ever.
    sure(scene.kill("a"));
    sure(scene.kill(VIEW_SERVICE));
    sure(scene.start(VIEW_SERVICE));
    sure(scene.start("a"));
    assert_eq!(get(&scene), 5);
}

#[test]
fn a_timer_that_aborts_the_process_is_taken_from_the_list_and_its_command_stands() {
    let replicas = ["a", "b", "c"];
    let mut scene = scene(
        "a timer that aborts",
        &replicas,
        &["--snapshot-every", "50"],
    );
    let load = scene.load(LoadConfig::default());
    scene.until_pair();
    scene.until_answers(&load);
    let mut deaths = BTreeMap::new();
    sure(
        add(&scene, DOOMED)
            .join()
            .expect("the client does not panic"),
    );
    // Set off by time alone, whoever is primary by then.
    supervise_until(
        &mut scene,
        &mut deaths,
        "the entry to be skipped",
        |status| {
            let record = status?.record.as_ref()?;
            (!record.skips.is_empty() && record.active).then_some(())
        },
    );
    supervise_until(&mut scene, &mut deaths, "a pair", living_pair);
    scene.until_answers(&load);
    assert!(deaths.values().sum::<u32>() >= 2, "{deaths:?}");
    // What the load added is there, beside what was added once.
    let history = load.stop();
    let failures: Vec<String> = history.failures().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    scene.until_agreement();
    replay_everywhere(&mut scene, &replicas);
}

#[test]
fn replicas_that_are_killed_again_and_again_under_load_make_nobody_skip_anything() {
    let replicas = ["a", "b", "c"];
    let mut scene = scene("many kills", &replicas, &["--snapshot-every", "200"]);
    let load = scene.load(LoadConfig::default());
    // Something is always being executed, so that kills meet it.
    let is_over = Arc::new(AtomicBool::new(false));
    let idle = (0..4).map(|_| idle_until(&scene, &is_over));
    let idle: Vec<JoinHandle<u64>> = idle.collect();
    for kill in 0..KILLS {
        let pair = scene.until_pair();
        scene.until_answers(&load);
        // The primary is the one in whose machine something is always going on.
        let victim = match kill % 3 {
            2 => pair.backup,
            _ => pair.primary,
        };
        sure(scene.kill(&victim));
        sure(scene.start(&victim));
    }
    scene.until_pair();
    scene.until_answers(&load);
    is_over.store(true, Ordering::Relaxed);
    for client in idle {
        assert!(client.join().expect("none of it was skipped") > 0);
    }
    scene.until_record("nothing to be skipped", |record| {
        record.skips.is_empty().then_some(())
    });
    scene.audit(load);
    let said = said(&scene);
    assert!(!said.contains("it is skipped"), "{said}");
    let marked = said.matches("the machine was applying entry").count();
    tell(format_args!(
        "{KILLS} kills, and {marked} starts that found a mark inside an entry"
    ));
    assert!(marked > 0, "no kill has met an entry");
}

/// Whether the mark file of a replica says that its machine is in the midst of an entry.
fn is_executing(scene: &Scene, name: &str) -> bool {
    let path = scene.directory().join(name).join("mark");
    fs::read(path).is_ok_and(|mark| mark.get(64).is_some_and(|place| place & 1 == 1))
}

/// Kills whoever is in the midst of a slow entry; returns its name. Not `dead`, whose mark is that of the life before
/// until it has started again.
#[track_caller]
fn kill_in_the_midst(scene: &mut Scene, dead: &str) -> String {
    let victim = scene.until("a slow entry to be executed", |scene| {
        let names: Vec<String> = scene.names().map(str::to_owned).collect();
        let mut replicas = names
            .into_iter()
            .filter(|name| name != VIEW_SERVICE && name != dead);
        replicas.find(|name| is_executing(scene, name))
    });
    sure(scene.kill(&victim));
    sure(scene.spawn(&victim));
    victim
}

#[test]
fn a_slow_entry_whose_executor_is_killed_once_is_executed_and_one_whose_two_are_is_skipped() {
    let replicas = ["a", "b", "c"];
    let title = "a slow entry and an impatient operator";
    let mut scene = scene_with(LEASE_OF_THE_SLOW, title, &replicas, &[]);
    scene.until_pair();
    let asked = add(&scene, SLOW);
    kill_in_the_midst(&mut scene, "");
    scene.until("an answer", |_| asked.is_finished().then_some(()));
    sure(asked.join().expect("the client does not panic"));
    assert_eq!(get(&scene), SLOW);
    scene.until_pair();
    // Followers take their time over it, too.
    scene.until_agreement();

    let asked = add(&scene, SLOW);
    let first = kill_in_the_midst(&mut scene, "");
    kill_in_the_midst(&mut scene, &first);
    scene.until("an answer", |_| asked.is_finished().then_some(()));
    let outcome = asked.join().expect("the client does not panic");
    assert!(
        matches!(outcome, Err(ClientError::Skipped { .. })),
        "{outcome:?}"
    );
    assert_eq!(get(&scene), SLOW, "once");
    scene.until_pair();
    replay_everywhere(&mut scene, &replicas);
}

//! Replicas of the database whose wall clocks are hours apart, under random operations of all kinds: primary, backup,
//! a replay of the log and a replica that begins with a snapshot come to the same state, bit for bit.
//!
//! `STANDIN_KV_OPERATIONS` says how many operations; `KV_SEED` which; `STANDIN_FAKETIME`, where libfaketime is that is
//! to set clocks wrong instead of the library that is built here.

mod evidence;
mod feed;
mod operations;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use standin::machines::kv::KeyValue;
use standin_core::digest::DigestChain;
use standin_core::entry::{Index, LogTip};
use standin_core::state::Replicated;
use standin_core::time::{Duration, WallTime};
use standin_io::clock;
use standin_io::snapshots::SnapshotFile;
use standin_kv::table::{Handler, Way, all};
use standin_tools::cluster::{ClusterConfig, Placement, VIEW_SERVICE};

use evidence::{Reader, ask_state, dump, replay};
use feed::{Progress, converse, flood};
use support::cli::STANDIN;
use support::scene::Scene;
use support::{sure, tell};

const LEASE: Duration = Duration::from_secs(1);
/// The variable with the path of libfaketime.
const FAKETIME: &str = "STANDIN_FAKETIME";
/// Operations, unless the variable says otherwise.
const OPERATIONS: u64 = 200_000;
/// Snapshots that are taken on the way, about.
const SNAPSHOTS: u64 = 8;
/// By how much each replica's wall clock is wrong, in seconds. The first primary's is behind, so that time jumps
/// when the second one takes over; the third one's is behind again, and must not take it back.
const OFFSETS_S: [(&str, i64); 4] = [
    ("a", -5 * 3600),
    ("b", 3 * 3600 + 17),
    ("c", -90 * 60),
    ("d", 26 * 3600),
];
/// How much time must jump at least, in nanoseconds.
const JUMP_NANOS_MIN: u64 = 4 * 3600 * 1_000_000_000;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => sure(text.parse()),
        Err(_) => default,
    }
}

/// Builds the library that sets a process's wall clock wrong.
fn clock_library() -> PathBuf {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kv_determinism");
    sure(std::fs::create_dir_all(&build));
    let library = build.join("wall_clock.so");
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/kv_determinism/wall_clock.c"
    );
    let mut compiler = Command::new("cc");
    compiler.args([
        "-shared", "-fPIC", "-O1", "-Wall", "-Werror", source, "-ldl", "-o",
    ]);
    let built = sure(compiler.arg(&library).status());
    assert!(built.success(), "{source} does not build");
    library
}

fn config(snapshot_every: u64) -> ClusterConfig {
    let faketime = std::env::var(FAKETIME);
    let library = faketime.unwrap_or_else(|_| clock_library().display().to_string());
    let placement = |offset: i64| Placement {
        launcher: vec![
            "env".to_owned(),
            format!("LD_PRELOAD={library}"),
            format!("WALL_CLOCK_OFFSET_S={offset}"),
            // The same in libfaketime's words, which leaves steady clocks and files alone.
            format!("FAKETIME={offset:+}s"),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ],
        ..Placement::default()
    };
    let words = ["--keep-log", "--snapshot-every"];
    let mut arguments: Vec<String> = words.map(str::to_owned).to_vec();
    arguments.push(snapshot_every.to_string());
    ClusterConfig {
        lease: LEASE,
        machine: "kv".to_owned(),
        replica_arguments: arguments,
        placements: OFFSETS_S
            .map(|(name, offset)| (name.to_owned(), placement(offset)))
            .into(),
        ..ClusterConfig::new(STANDIN)
    }
}

#[test]
fn whatever_may_change_the_state_or_needs_time_or_chance_is_among_the_operations() {
    for spec in all() {
        let is_ordered = matches!(spec.way, Way::Write | Way::Entry);
        if is_ordered && matches!(spec.handler, Handler::Read(_) | Handler::Write(_)) {
            assert!(operations::is_among_them(spec.name), "{}", spec.name);
        }
    }
}

#[test]
fn primary_backup_replay_and_a_restored_replica_are_the_same_whatever_their_clocks_say() {
    let goal = number("STANDIN_KV_OPERATIONS", OPERATIONS);
    let seed = number("KV_SEED", 1);
    tell(format_args!("{goal} operations, KV_SEED={seed}"));
    let mut scene = Scene::with("determinism of the database", config(goal / SNAPSHOTS));
    sure(scene.start_all(&["a", "b", "c"]));
    scene.until_pair();

    let begun = clock::boot();
    let progress = Arc::new(Progress::default());
    let clients = load(&scene, seed, goal, &progress);
    // From one clock to another as planned, and then by a death.
    until_answered(&mut scene, &progress, goal / 3);
    hand_over(&mut scene);
    until_answered(&mut scene, &progress, goal * 2 / 3);
    let (pair, _) = scene.kill_one(|pair| &pair.primary);
    sure(scene.start(&pair.primary));
    until_answered(&mut scene, &progress, goal);
    let elapsed = clock::boot().since(begun);
    progress.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no client panics");
    }
    scene.until_pair();
    judge_load(&progress, elapsed.as_secs_f64());

    // One replica more, from a snapshot.
    let directory = scene.directory().to_owned();
    let file = directory.join("saved.snap");
    let [saved, d] = [&file, &directory.join("d")].map(|path| path.display().to_string());
    let a = directory.join("a");
    for words in [
        vec![
            "snapshot",
            "save",
            a.to_str().expect("a test's path is text"),
            &saved,
        ],
        vec!["snapshot", "verify", &saved],
        vec!["snapshot", "restore", &saved, &d],
    ] {
        let ran = scene.cli(&words);
        assert_eq!(ran.status, Some(0), "{ran:?}");
    }
    sure(scene.start("d"));
    let log = sure(std::fs::read_to_string(scene.log_path("d")));
    assert!(log.contains("going on from the snapshot of entry"), "{log}");

    let (applied, digest, text) = until_same_dumps(&mut scene);

    // The log of each, from its first entry.
    for name in ["a", "b", "c"] {
        let mut state = Replicated::<KeyValue>::default();
        let dir = directory.join(name);
        let replayed = replay(&dir, &mut state, LogTip::default(), applied);
        assert_eq!(
            state.state_digest(),
            digest,
            "a replay of the log of {name}"
        );
        let replayed_text = dump(&mut |questions| ask_state(&state, questions));
        assert_same(
            &text,
            &replayed_text,
            &format!("a replay of the log of {name}"),
        );
        judge_replay(&replayed);
        tell(format_args!(
            "replayed {} entries of {name}, {} timers among them",
            replayed.entries, replayed.fired
        ));
    }

    // The snapshot, and what follows it in a log.
    let snapshot = sure(SnapshotFile::open(&file));
    let point = &snapshot.header().point;
    let chain = DigestChain(point.reply_digest.0);
    let state = Replicated::restore(&mut sure(snapshot.state()), point.tip.index, chain, 1);
    let mut state: Replicated<KeyValue> = sure(state);
    replay(&a, &mut state, point.tip, applied);
    assert_eq!(
        state.state_digest(),
        digest,
        "a snapshot and what follows it"
    );
    let restored_text = dump(&mut |questions| ask_state(&state, questions));
    assert_same(&text, &restored_text, "a snapshot and what follows it");
    tell(format_args!(
        "the same: four replicas, three replays, a snapshot and what follows; {} keys, digest {digest:032x}",
        text.lines().count()
    ));
}

fn load(
    scene: &Scene,
    seed: u64,
    goal: u64,
    progress: &Arc<Progress>,
) -> Vec<thread::JoinHandle<()>> {
    let view_services = sure(scene.view_services());
    let mut threads = Vec::new();
    let (services, shared) = (view_services.clone(), Arc::clone(progress));
    threads.push(thread::spawn(move || {
        flood(&services, seed, goal, &shared);
    }));
    let shared = Arc::clone(progress);
    threads.push(thread::spawn(move || {
        converse(&view_services, !seed, &shared);
    }));
    threads
}

/// Has the primary hand over. A busy machine may have parted the pair just then; another try is made.
fn hand_over(scene: &mut Scene) {
    scene.until("a switchover", |scene| {
        let status = scene.status().ok()?;
        let troubles = status.replicas.iter().map(|one| one.trouble.as_deref());
        let trouble = troubles.flatten().next();
        assert_eq!(trouble, None, "a replica does not follow");
        (scene.cli(&["switchover"]).status == Some(0)).then_some(())
    });
}

fn until_answered(scene: &mut Scene, progress: &Progress, count: u64) {
    let mut last = (progress.answered.load(Ordering::Relaxed), clock::boot());
    // As long as it goes on, it may take as long as it takes.
    loop {
        let target = count.min(last.0 + 20_000);
        scene.until(&format!("{target} answers"), |_| {
            let failure = progress.failure.lock().expect("nobody panics with it");
            assert_eq!(*failure, None, "a client gave up");
            (progress.answered.load(Ordering::Relaxed) >= target).then_some(())
        });
        last = (progress.answered.load(Ordering::Relaxed), clock::boot());
        if last.0 >= count {
            return;
        }
    }
}

/// The load was one: most of it was done, and transactions went both ways.
fn judge_load(progress: &Progress, seconds: f64) {
    let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    let (answered, denied) = (count(&progress.answered), count(&progress.denied));
    assert!(denied * 3 < answered, "{denied} of {answered} were denied");
    assert!(denied > 0, "nothing was denied");
    let (executed, prevented) = (count(&progress.executed), count(&progress.prevented));
    assert!(executed > 0 && prevented > 0, "{executed}, {prevented}");
    let rate = answered as f64 / seconds;
    tell(format_args!(
        "{answered} operations answered in {seconds:.1} s ({rate:.0} a second), {denied} with an error; \
         {executed} watched transactions executed, {prevented} not"
    ));
}

/// Time came from one clock after the other, and never went back (which `replay` checks).
fn judge_replay(replayed: &evidence::Replayed) {
    let (first, last) = (replayed.views[0], replayed.views[replayed.views.len() - 1]);
    let now = clock::read().wall;
    assert!(first.0 + JUMP_NANOS_MIN < now.0, "a's clock was not used");
    assert!(
        last.since(first) >= Duration::from_nanos(JUMP_NANOS_MIN),
        "time did not jump: {first:?}, {last:?}"
    );
    let ceiling = WallTime(now.0).plus(Duration::from_secs(60 + 3600));
    assert!(last < ceiling, "b's clock was believed");
    assert!(replayed.fired > 0, "no timer fired");
}

/// Waits for a moment in which all have applied the same and are dumped: the dumps must be the same, and so the
/// digests. Returns the index, the digest and the dump.
fn until_same_dumps(scene: &mut Scene) -> (Index, u128, String) {
    scene.until("a quiet moment", |scene| {
        let before = standings(scene)?;
        let (_, first) = before.first_key_value()?;
        let mut dumps = BTreeMap::new();
        for name in before.keys() {
            let mut reader = Reader::connect(sure(scene.address(name)));
            dumps.insert(name.clone(), dump(&mut |questions| reader.ask(questions)));
            // A timer may have fired since the digest was made.
            if reader.moment()? != first.0 {
                return None;
            }
        }
        for (name, standing) in &before {
            assert_eq!(standing, first, "{name} has come to another state");
        }
        let (first_name, text) = dumps.first_key_value()?;
        for (name, other) in &dumps {
            assert_same(text, other, &format!("{first_name} and {name}"));
        }
        Some((first.0, first.1, text.clone()))
    })
}

/// For each replica what it has applied, and the digests of its state and its replies; `None` unless all have applied
/// the same.
fn standings(scene: &mut Scene) -> Option<BTreeMap<String, (Index, u128, u128)>> {
    let names: Vec<String> = scene.names().map(str::to_owned).collect();
    let mut standings = BTreeMap::new();
    for name in names.into_iter().filter(|name| name != VIEW_SERVICE) {
        let copy = scene.inspect(&name).ok()?;
        let standing = &copy.standing;
        let told = (standing.applied, copy.state_digest, standing.reply_digest);
        standings.insert(name, told);
    }
    let applied = standings.first_key_value()?.1.0;
    let is_level = standings.values().all(|told| told.0 == applied);
    is_level.then_some(standings)
}

#[track_caller]
fn assert_same(one: &str, other: &str, what: &str) {
    let differs = one
        .lines()
        .zip(other.lines())
        .find(|(one, other)| one != other);
    assert_eq!(differs, None, "{what}");
    assert_eq!(one.lines().count(), other.lines().count(), "{what}");
}

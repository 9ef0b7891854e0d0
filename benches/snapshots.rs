//! What snapshots cost those who are served meanwhile: `cargo bench --bench snapshots -- pauses`, and `-- joining`.
//!
//! It prints; it judges nothing, for how long something takes is the machine's doing as well.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

mod common;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use standin_core::time::Duration;
use standin_io::clock;
use standin_tools::cluster::ClusterConfig;
use standin_tools::load::{LoadResult, Work};

use common::{ClosedLoad, beside, open_sessions, resident_kib, session_of, take, told};
use support::raw::{Place, RawClient};
use support::scene::{Scene, replica};
use support::{example, ms, sure, tell};

/// Keys of the table.
const KEYS: u64 = 1_000_000;
/// Keys that one command fills.
const KEYS_AT_ONCE: u64 = 1_000;
/// Sessions beside those of the loads: together nearly as many as there can be.
const SESSIONS: u64 = 99_000;
/// Bytes of each value, in a table of many keys and in one that weighs 1 GiB.
const VALUE_BYTES: u64 = 64;
const VALUE_BYTES_LARGE: u64 = 1 << 10;
/// More entries than any measurement makes.
const NEVER: u64 = 1 << 40;
/// What a replica does unless it is told otherwise.
const DEFAULT_EVERY: u64 = 1_000_000;
/// Often enough that hardly a moment passes without one being taken.
const OFTEN: u64 = 100_000;
const ROUNDS: usize = 3;
/// How long to wait before files or processes are looked at again.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// How snapshots are named, and the segment that a log begins with as long as nothing was forgotten.
const SNAPSHOT_ENDING: &str = ".snap";
const FIRST_SEGMENT: &str = "00000000000000000001.log";
/// Entries by which a follower may lag that has joined.
const NEAR: u64 = 10_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_asked_for = |name: &str| words.iter().any(|word| word == name);
    let seconds = words.iter().find_map(|word| word.parse().ok());
    match () {
        () if is_asked_for("pauses") => pauses(&[NEVER, DEFAULT_EVERY], seconds.unwrap_or(20)),
        () if is_asked_for("often") => pauses(&[NEVER, OFTEN], seconds.unwrap_or(20)),
        () if is_asked_for("space") => space(seconds.unwrap_or(360)),
        () if is_asked_for("joining") => joining(seconds.unwrap_or(60)),
        () => tell("say what to measure: pauses, often, space or joining, and how many seconds"),
    }
}

/// A pair of tables, and the client that fills them.
fn pair(title: &str, every: u64, value_bytes: u64) -> (Scene, String) {
    let words = ["--snapshot-every".to_owned(), every.to_string()];
    let config = ClusterConfig {
        machine: "ballast".to_owned(),
        lease: Duration::from_secs(5),
        replica_arguments: words.to_vec(),
        ..ClusterConfig::new(example("ballast"))
    };
    let mut scene = Scene::with(title, config);
    sure(scene.start_all(&["a", "b"]));
    let pair = scene.until_pair();
    let address = sure(scene.address(&pair.primary)).to_owned();
    fill(&address, value_bytes);
    (scene, address)
}

/// Fills the table, and leaves sessions that have each done something.
fn fill(address: &str, value_bytes: u64) {
    let mut client = RawClient::connect(address);
    let opening = client.ask_for_session();
    let session = session_of(&take(&mut client, opening));
    for (sequence, from) in (1..).zip((0..KEYS).step_by(sure(usize::try_from(KEYS_AT_ONCE)))) {
        let mut command = vec![1];
        for number in [from, from + KEYS_AT_ONCE, value_bytes] {
            command.extend_from_slice(&number.to_le_bytes());
        }
        let id = client.command(Place { session, sequence }, &command);
        take(&mut client, id);
    }
    open_sessions(&mut client, SESSIONS, &put(value_bytes));
}

/// A value of that length for some key.
fn put(value_bytes: u64) -> Vec<u8> {
    let mut command = vec![3];
    command.extend_from_slice(&KEYS.to_le_bytes());
    command.extend_from_slice(&value_bytes.to_le_bytes());
    command
}

fn load(
    address: &str,
    connections: usize,
    depth: u64,
    seconds: u64,
    value_bytes: u64,
) -> LoadResult {
    let load = ClosedLoad {
        address,
        connections,
        depth,
        warm_up: Duration::from_secs(1),
        seconds,
        work: Work::Native(put(value_bytes).into()),
    };
    load.run()
}

/// Names and bytes of all files below a directory.
fn files(directory: &Path) -> Vec<(String, u64)> {
    let listed = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files = Vec::new();
    for entry in listed {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => files.extend(self::files(&entry.path())),
            Ok(metadata) => files.push((
                entry.file_name().to_string_lossy().into_owned(),
                metadata.blocks() * 512,
            )),
            Err(_) => {} // just removed
        }
    }
    files
}

fn pauses(apart: &[u64], seconds: u64) {
    for round in 1..=ROUNDS {
        for &every in apart {
            let (scene, address) = pair("pauses", every, VALUE_BYTES);
            let directory = scene.directory().join("a/snapshots");
            let mut seen = BTreeSet::new();
            let result = beside(
                LOOK_PAUSE,
                || seen.extend(snapshot_names(&directory)),
                || load(&address, 50, 16, seconds, VALUE_BYTES),
            );
            tell(format_args!(
                "round {round}, {} snapshots: {}",
                seen.len(),
                told(&result)
            ));
        }
    }
}

/// The data directory of each replica under full load.
fn space(seconds: u64) {
    let (scene, address) = pair("space", DEFAULT_EVERY, VALUE_BYTES);
    let directories = ["a", "b"].map(|name| scene.directory().join(name));
    let mut most = Vec::new();
    let mib = |directory: &Path| {
        let bytes: u64 = files(directory).into_iter().map(|(_, bytes)| bytes).sum();
        bytes >> 20
    };
    for minute in 1..=seconds.div_ceil(60) {
        let mut peak = [0; 2];
        let look = || {
            for (peak, directory) in peak.iter_mut().zip(&directories) {
                *peak = mib(directory).max(*peak);
            }
        };
        let result = beside(LOOK_PAUSE, look, || load(&address, 50, 16, 60, VALUE_BYTES));
        let entries = sure(scene.inspect("a")).standing.applied;
        tell(format_args!(
            "minute {minute}: entry {entries}, at most {peak:?} MiB, {}",
            told(&result)
        ));
        most.push(peak);
    }
    tell(format_args!("at most {:?} MiB", most.iter().max()));
}

/// Whether `c` is as far as those who serve, as the backup if it is waited for.
fn has_joined(scene: &Scene, is_waited_for: bool) -> bool {
    let Ok(status) = scene.status() else {
        return false;
    };
    let record = status.record.as_ref();
    let backup = record.and_then(|record| record.backup.as_ref());
    let last = |name: &str| Some(replica(&status, name)?.standing.as_ref()?.last.index.0);
    let is_near = last("c")
        .zip(last("a"))
        .is_some_and(|(c, a)| c > 0 && c + NEAR >= a);
    is_near && (!is_waited_for || backup.is_some_and(|backup| backup.name.as_str() == "c"))
}

/// What clients feel when a replica that has nothing fetches 1 GiB: as a spare beside a pair, and as the one that
/// a lone primary waits for; and what memory it takes the primary until it has joined.
fn joining(seconds: u64) {
    for is_alone in [false, true] {
        let (mut scene, address) = pair("joining", DEFAULT_EVERY, VALUE_BYTES_LARGE);
        let log = scene.directory().join("a/log");
        while files(&log).iter().any(|(name, _)| *name == FIRST_SEGMENT) {
            load(&address, 50, 16, 5, VALUE_BYTES_LARGE);
        }
        if is_alone {
            sure(scene.kill("b"));
            scene.until_record("a primary alone", |record| {
                record.backup.is_none().then_some(())
            });
        }
        let pid = scene.pid("a").expect("it runs");
        let snapshots = scene.directory().join("a/snapshots");
        for joins in [false, true] {
            // While a snapshot is written, what is overwritten is kept as well: here that is not to be seen.
            let old = snapshot_names(&snapshots);
            while snapshot_names(&snapshots).is_subset(&old) {
                load(&address, 16, 1, 1, VALUE_BYTES_LARGE);
            }
            let before = snapshot_names(&snapshots);
            if joins {
                sure(scene.spawn("c"));
            }
            let (begun, mut peak, mut joined) = (clock::boot(), 0, None);
            let mut is_before_next = true;
            let look = || {
                is_before_next &= names(&snapshots).is_subset(&before);
                if is_before_next && joined.is_none() {
                    peak = (resident_kib(pid) >> 10).max(peak);
                }
                if joins && joined.is_none() && has_joined(&scene, is_alone) {
                    joined = Some(clock::boot().since(begun));
                }
            };
            let result = beside(LOOK_PAUSE, look, || {
                load(&address, 16, 1, seconds, VALUE_BYTES_LARGE)
            });
            tell(format_args!(
                "{}, {}: {}, {peak} MiB",
                if is_alone { "alone" } else { "a pair" },
                match joined {
                    Some(after) => format!("joined after {}", ms(after)),
                    None => format!("joined by {}", if joins { "nobody yet" } else { "nobody" }),
                },
                told(&result)
            ));
        }
    }
}

/// The files in a directory.
fn names(directory: &Path) -> BTreeSet<String> {
    files(directory).into_iter().map(|(name, _)| name).collect()
}

/// The snapshots in a directory.
fn snapshot_names(directory: &Path) -> BTreeSet<String> {
    let mut names = names(directory);
    names.retain(|name| name.ends_with(SNAPSHOT_ENDING));
    names
}

//! Damage on a replica's disk: mended from another replica, or set aside and fetched anew, or told, with the way
//! out. Real processes, whose files are damaged while they are down.

use std::fs;
use std::path::{Path, PathBuf};

use standin_core::entry::{ENTRY_HEADER_BYTES, Entry};
use standin_core::identity::Durability;
use standin_core::message::RoleName;
use standin_core::time::Duration;
use standin_io::clock;
use standin_tools::cluster::ClusterConfig;

use crate::support::cli::STANDIN;
use crate::support::load::{Load, LoadConfig};
use crate::support::scene::{Pair, Scene, names, replica, role};
use crate::support::{PATIENCE, sure, tell};

const LEASE: Duration = Duration::from_millis(500);
/// How long it is watched that nothing happens, in lease terms.
const TERMS_WATCHED: u32 = 4;
/// Entries that a log has before it is damaged.
const ENTRIES_MIN: u64 = 30;

/// Two replicas under load, with some entries in their logs.
fn begin(title: &str, durability: Durability) -> (Scene, Load, Pair) {
    let mut scene = Scene::start(title, LEASE, durability, &["a", "b"]);
    let load = scene.load(LoadConfig::default());
    let pair = scene.until_pair();
    scene.until_answers(&load);
    until_entries(&mut scene, &pair.backup);
    (scene, load, pair)
}

/// Waits until a replica's log has enough entries to be damaged.
#[track_caller]
fn until_entries(scene: &mut Scene, name: &str) {
    scene.until_status("some entries", |status| {
        let standing = replica(status, name)?.standing?;
        (standing.last.index.0 > ENTRIES_MIN).then_some(())
    });
}

fn directory(scene: &Scene, name: &str) -> PathBuf {
    scene.directory().join(name)
}

/// The segments of a replica's log, in order.
fn segments(scene: &Scene, name: &str) -> Vec<PathBuf> {
    let dir = directory(scene, name).join("log");
    let mut files: Vec<PathBuf> = sure(fs::read_dir(dir)).map(|it| sure(it).path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "log"));
    files.sort();
    files
}

/// Where the entries of a segment begin, and where they end.
fn places(bytes: &[u8]) -> Vec<usize> {
    let mut places = vec![160];
    while let Ok(entry) = Entry::decode(&bytes[places[places.len() - 1]..]) {
        places.push(places[places.len() - 1] + ENTRY_HEADER_BYTES + entry.payload.len());
    }
    places
}

/// Flips a bit in so many entries of a replica's first segment, from the entry at that place on.
fn rot(scene: &Scene, name: &str, from: usize, count: usize) {
    let path = &segments(scene, name)[0];
    let mut bytes = sure(fs::read(path));
    let places = places(&bytes);
    assert!(places.len() > from + count + 3, "{} entries", places.len());
    for place in &places[from..from + count] {
        bytes[place + 40] ^= 1;
    }
    sure(fs::write(path, bytes));
}

/// What a replica has said of itself to the view service, until it holds these words.
#[track_caller]
fn until_trouble(scene: &mut Scene, name: &str, words: &[&str]) -> String {
    scene.until_status(&format!("{name} to say {words:?}"), |status| {
        let trouble = replica(status, name)?.trouble.clone()?;
        let is_all = words.iter().all(|words| trouble.contains(words));
        (is_all && role(status, name) == Some(RoleName::Quarantined)).then_some(trouble)
    })
}

/// Waits until a replica that runs is one that serves or waits for its turn.
#[track_caller]
fn until_in_service(scene: &mut Scene, name: &str) {
    scene.until_status(&format!("{name} to be in service"), |status| {
        role(status, name).filter(|role| *role != RoleName::Quarantined)
    });
}

fn log_of(scene: &Scene, name: &str) -> String {
    sure(fs::read_to_string(scene.log_path(name)))
}

/// The bytes in use of the first segment.
fn entries_of(scene: &Scene, name: &str) -> Vec<u8> {
    let bytes = sure(fs::read(&segments(scene, name)[0]));
    let end = *places(&bytes).last().expect("one at least");
    bytes[160..end].to_vec()
}

#[test]
fn a_backups_damaged_entries_are_fetched_from_the_primary_and_are_what_they_were() {
    let (mut scene, load, pair) = begin("rot at the backup", Durability::Os);
    sure(scene.kill(&pair.backup));
    let before = entries_of(&scene, &pair.backup);
    rot(&scene, &pair.backup, 10, 3);
    rot(&scene, &pair.backup, 2, 1);
    assert!(entries_of(&scene, &pair.backup).len() < before.len());
    sure(scene.start(&pair.backup));
    let after = entries_of(&scene, &pair.backup);
    assert!(after.starts_with(&before), "all is as it was");
    let log = log_of(&scene, &pair.backup);
    assert_eq!(log.matches("has sent what is missing").count(), 2, "{log}");
    scene.until_pair();
    scene.audit(load);
}

#[test]
fn a_primary_comes_back_damaged_and_is_mended_by_the_one_that_took_over() {
    let (mut scene, load, pair) = begin("rot at the primary", Durability::Disk);
    sure(scene.kill(&pair.primary));
    rot(&scene, &pair.primary, 1, 4);
    sure(scene.start(&pair.primary));
    scene.until_pair();
    scene.audit(load);
}

#[test]
fn both_are_damaged_at_different_places_and_mend_each_other() {
    let (mut scene, load, pair) = begin("rot at both", Durability::Os);
    sure(scene.kill_together(&[&pair.primary, &pair.backup]));
    rot(&scene, &pair.primary, 2, 2);
    rot(&scene, &pair.backup, 6, 2);
    let record = scene.record_after_death(&["a", "b"]);
    sure(scene.spawn(&pair.primary));
    // With nobody to ask it waits, and says so; nobody serves.
    until_trouble(
        &mut scene,
        &pair.primary,
        &["after entry", "no other replica runs that could have"],
    );
    if names(&record).len() == 2 {
        let why = scene.until_status("the reason", |status| status.unavailable.clone());
        assert!(why.contains(&format!("start {}", pair.backup)), "{why}");
    }
    sure(scene.spawn(&pair.backup));
    for name in ["a", "b"] {
        until_in_service(&mut scene, name);
    }
    scene.until_pair();
    scene.audit(load);
}

#[test]
fn a_lone_copy_that_is_damaged_is_left_as_it_is_and_says_why_until_it_is_told_to_stop() {
    let mut scene = Scene::start("rot at a lone replica", LEASE, Durability::Os, &["a"]);
    let load = scene.load(LoadConfig::default());
    scene.until_answers(&load);
    until_entries(&mut scene, "a");
    sure(scene.kill("a"));
    let good = sure(fs::read(&segments(&scene, "a")[0]));
    rot(&scene, "a", 3, 1);
    let damaged = sure(fs::read(&segments(&scene, "a")[0]));
    sure(scene.spawn("a"));
    let trouble = until_trouble(
        &mut scene,
        "a",
        &["counts on this replica", "standin recover"],
    );
    tell(&trouble);
    let end = clock::boot().plus(LEASE * TERMS_WATCHED);
    scene.until("some terms to pass", |scene| {
        assert!(!sure(scene.is_ready("a")));
        (clock::boot() >= end).then_some(())
    });
    let why = scene.until_status("the reason", |status| status.unavailable.clone());
    assert!(
        why.contains("a is out of service: the log is damaged at byte"),
        "{why}"
    );
    let log = log_of(&scene, "a");
    assert_eq!(log.matches("this replica cannot serve").count(), 1, "{log}");
    sure(scene.terminate("a"));
    assert!(sure(scene.wait("a", PATIENCE)).success());
    assert!(sure(fs::read(&segments(&scene, "a")[0])) == damaged);
    // The way out: what was lost is put back.
    sure(fs::write(&segments(&scene, "a")[0], good));
    sure(scene.start("a"));
    scene.until_answers(&load);
    scene.audit(load);
}

/// The files that were set aside in a replica's directory.
fn set_aside(scene: &Scene, name: &str) -> usize {
    let dir = directory(scene, name).join("log");
    let names = sure(fs::read_dir(dir)).map(|it| sure(it).file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".aside"))
        .count()
}

#[test]
fn a_log_that_is_lost_is_fetched_anew_once_the_primary_does_without_it() {
    let (mut scene, load, pair) = begin("a lost log", Durability::Disk);
    sure(scene.kill(&pair.backup));
    let store = |scene: &Scene| {
        let status = scene.status().ok()?;
        replica(&status, &pair.backup).map(|one| one.peer.identity.store)
    };
    let before = scene.until("the store", |scene| store(scene));
    sure(fs::remove_dir_all(
        directory(&scene, &pair.backup).join("log"),
    ));
    sure(scene.start(&pair.backup));
    scene.until_pair();
    let after = scene.until("the store", |scene| store(scene));
    assert_ne!(before, after, "no token of the store lives on");
    assert_eq!(set_aside(&scene, &pair.backup), 1);
    // From now on it is a directory like any other.
    sure(scene.restart(&pair.backup));
    scene.until_pair();
    scene.audit(load);
}

#[test]
fn the_last_holder_that_lost_its_log_waits_and_a_forced_takeover_is_the_way_out() {
    let mut scene = Scene::start("all lost", LEASE, Durability::Os, &["a", "b"]);
    let pair = scene.until_pair();
    sure(scene.kill(&pair.backup));
    scene.until_record("the primary to be alone", |record| {
        (record.active && names(record) == [pair.primary.as_str()]).then_some(())
    });
    sure(scene.kill(&pair.primary));
    sure(fs::remove_dir_all(
        directory(&scene, &pair.primary).join("log"),
    ));
    sure(scene.spawn(&pair.primary));
    until_trouble(
        &mut scene,
        &pair.primary,
        &["had a log", "counts on this replica"],
    );
    sure(scene.start(&pair.backup));
    let end = clock::boot().plus(LEASE * TERMS_WATCHED);
    scene.until("some terms to pass", |scene| {
        let status = sure(scene.status());
        assert!(status.lease_remaining_ms.is_none(), "nobody may serve");
        (clock::boot() >= end).then_some(())
    });
    let arguments = ["recover", "--primary", &pair.backup, "--accept-loss"];
    let recovered = scene.until("the takeover to be granted", |scene| {
        let ran = scene.cli(&arguments);
        (ran.status == Some(0)).then_some(ran)
    });
    tell(recovered.stdout.trim());
    // Now nobody counts on the other one any more, and it joins anew.
    scene.until_pair();
    assert_eq!(set_aside(&scene, &pair.primary), 1);
}

#[test]
fn a_bad_meta_file_ends_it_in_one_line_and_replace_is_the_way_out() {
    let config = ClusterConfig {
        lease: LEASE,
        // To a directory that has the name already it makes no difference.
        replica_arguments: vec!["--replace".to_owned()],
        ..ClusterConfig::new(STANDIN)
    };
    let mut scene = Scene::with("a bad meta file", config);
    sure(scene.start_all(&["a", "b"]));
    let load = scene.load(LoadConfig::default());
    let pair = scene.until_pair();
    sure(scene.kill(&pair.backup));
    let dir = directory(&scene, &pair.backup);
    let mut meta = sure(fs::read(dir.join("meta")));
    let last = meta.len() - 1;
    meta[last] ^= 1;
    sure(fs::write(dir.join("meta"), meta));
    sure(scene.spawn(&pair.backup));
    let status = sure(scene.wait(&pair.backup, PATIENCE));
    assert!(!status.success());
    let words = scene.last_words(&pair.backup);
    assert!(
        words.contains("its meta file is bad: its checksum"),
        "{words}"
    );
    assert!(words.contains("--replace"), "{words}");
    sure(fs::rename(&dir, dir.with_extension("old")));
    sure(scene.start(&pair.backup));
    scene.until_pair();
    scene.audit(load);
}

/// A cluster whose logs give way to snapshots.
fn with_snapshots(title: &str) -> (Scene, Load, Pair) {
    let words = ["--snapshot-every".to_owned(), "64".to_owned()];
    let config = ClusterConfig {
        lease: LEASE,
        replica_arguments: words.to_vec(),
        ..ClusterConfig::new(STANDIN)
    };
    let mut scene = Scene::with(title, config);
    sure(scene.start_all(&["a", "b"]));
    let load = scene.load(LoadConfig::default());
    let pair = scene.until_pair();
    scene.until("some snapshots", |scene| {
        let dir = directory(scene, &pair.backup).join("snapshots");
        let count = fs::read_dir(dir).map_or(0, Iterator::count);
        (count >= 2).then_some(())
    });
    (scene, load, pair)
}

fn rot_all_snapshots(dir: &Path) {
    for file in sure(fs::read_dir(dir.join("snapshots"))) {
        let path = sure(file).path();
        let mut bytes = sure(fs::read(&path));
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        sure(fs::write(path, bytes));
    }
}

#[test]
fn with_all_snapshots_rotten_the_log_serves_if_it_is_whole_and_both_rotten_it_joins_anew() {
    let (mut scene, load, pair) = with_snapshots("rot in snapshots");
    sure(scene.kill(&pair.backup));
    rot_all_snapshots(&directory(&scene, &pair.backup));
    sure(scene.start(&pair.backup));
    let pair = scene.until_pair();
    // And with the log's header rotten, whose rest is in one segment.
    sure(scene.kill(&pair.backup));
    rot_all_snapshots(&directory(&scene, &pair.backup));
    let path = segments(&scene, &pair.backup)[0].clone();
    let mut bytes = sure(fs::read(&path));
    bytes[50] ^= 1;
    sure(fs::write(path, bytes));
    sure(scene.start(&pair.backup));
    scene.until_pair();
    scene.audit(load);
}

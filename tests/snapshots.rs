//! Snapshots with real processes: taken while the service serves, started from, and handed to a spare that
//! has nothing, over a connection that breaks.

mod support;

use std::fs;

use standin_client::{Client, ClientConfig, Consistency};
use standin_core::message::InspectReply;
use standin_core::time::Duration;
use standin_tools::cluster::ClusterConfig;

use support::scene::{Pair, Scene};
use support::{example, sure, tell};

/// Bytes of each value that fills the log and the state.
const VALUE_BYTES: usize = 64 << 10;

/// A cluster of tables, with a snapshot every so many entries.
fn tables(title: &str, every: u64) -> Scene {
    let words = ["--snapshot-every".to_owned(), every.to_string()];
    let config = ClusterConfig {
        machine: "ballast".to_owned(),
        lease: Duration::from_millis(500),
        replica_arguments: words.to_vec(),
        ..ClusterConfig::new(example("ballast"))
    };
    Scene::with(title, config)
}

fn client(scene: &Scene) -> Client {
    sure(Client::new(
        sure(scene.view_services()),
        ClientConfig::default(),
    ))
}

/// A value of its own for each key.
fn value(key: u64) -> Vec<u8> {
    let mut value = key.to_le_bytes().to_vec();
    value.resize(VALUE_BYTES, 7);
    value
}

fn put(client: &mut Client, key: u64) {
    let mut command = vec![2];
    command.extend_from_slice(&key.to_le_bytes());
    command.extend_from_slice(&value(key));
    sure(client.command(&command));
}

fn check(client: &mut Client, keys: std::ops::Range<u64>) {
    for key in keys {
        let answer = sure(client.query(&key.to_le_bytes(), Consistency::Confirmed));
        assert!(answer.bytes == value(key), "key {key}");
    }
}

/// The files of a replica's data directory in one of its rooms, by the index in their names.
fn files(scene: &Scene, name: &str, room: &str) -> Vec<u64> {
    let listed = fs::read_dir(scene.directory().join(name).join(room));
    let names = listed
        .into_iter()
        .flatten()
        .map(|entry| sure(entry).file_name());
    let indexes = names.filter_map(|name| {
        let name = name.to_str()?;
        name.split('.').next()?.parse().ok()
    });
    let mut indexes: Vec<u64> = indexes.collect();
    indexes.sort_unstable();
    indexes
}

/// Puts values until both logs have lost their beginnings: until a snapshot was taken in a later segment, however
/// long the ones before took.
fn fill_until_forgotten(scene: &mut Scene, client: &mut Client) {
    scene.until("what is covered goes", |scene| {
        (0..100).for_each(|key| put(client, key % 10));
        let is_begun_late = |name: &&str| files(scene, name, "log")[0] > 1;
        ["a", "b"].iter().all(is_begun_late).then_some(())
    });
}

fn inspected(scene: &mut Scene, names: &[&str]) -> Vec<InspectReply> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    scene.until("replicas that agree", |scene| {
        // One that puts a state that was fetched in its place answers a little later.
        let all = names.iter().map(|name| scene.inspect(name).ok());
        let all: Vec<_> = all.collect::<Option<_>>()?;
        let at = |one: &InspectReply| (one.standing.applied, one.state_digest);
        let is_at_rest = all
            .iter()
            .all(|one| at(one) == at(&all[0]) && one.standing.applied == one.standing.last.index);
        is_at_rest.then_some(all)
    })
}

#[test]
fn state_and_log_stay_small_and_a_replica_starts_from_its_snapshot() {
    let mut scene = tables("snapshots", 100);
    sure(scene.start_all(&["a", "b"]));
    scene.until_pair();
    let mut client = client(&scene);
    fill_until_forgotten(&mut scene, &mut client);
    for name in ["a", "b"] {
        let snapshots = files(&scene, name, "snapshots");
        let segments = files(&scene, name, "log");
        tell(format_args!(
            "{name}: snapshots {snapshots:?}, segments from {segments:?}"
        ));
        assert!(
            (1..=3).contains(&snapshots.len()),
            "one may be being written"
        );
    }
    let before = inspected(&mut scene, &["a", "b"]);

    sure(scene.kill_together(&["a", "b"]));
    sure(scene.start("a"));
    sure(scene.start("b"));
    scene.until_pair();
    check(&mut client, 0..10);
    for name in ["a", "b"] {
        let log = sure(fs::read_to_string(scene.log_path(name)));
        assert!(log.contains("going on from the snapshot of entry"), "{log}");
    }
    put(&mut client, 10);
    let after = inspected(&mut scene, &["a", "b"]);
    assert!(after[0].standing.applied > before[0].standing.applied);
}

/// How much of the snapshot that a replica fetches has come.
fn fetched_bytes(scene: &Scene, name: &str) -> u64 {
    let listed = fs::read_dir(scene.directory().join(name).join("snapshots"));
    let files = listed.into_iter().flatten().map(sure);
    let parts = files.filter(|file| file.file_name().to_string_lossy().ends_with(".part"));
    parts
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum()
}

#[test]
fn a_spare_with_nothing_fetches_the_state_and_goes_on_where_it_was_interrupted() {
    const STATE_BYTES: u64 = 128 << 20;
    let mut scene = tables("fetching", 100);
    sure(scene.start_all(&["a", "b"]));
    scene.until_pair();
    let mut client = client(&scene);
    let mut fill = vec![1];
    for number in [1 << 32, (1 << 32) + STATE_BYTES / (1 << 20), 1 << 20] {
        fill.extend_from_slice(&u64::to_le_bytes(number));
    }
    sure(client.command(&fill));
    fill_until_forgotten(&mut scene, &mut client);

    sure(scene.spawn("c"));
    scene.until("a part is here", |scene| {
        (fetched_bytes(scene, "c") > 8 << 20).then_some(())
    });
    sure(scene.kill("c"));
    let part = fetched_bytes(&scene, "c");
    assert!(part < STATE_BYTES, "it was killed in the midst of it");
    put(&mut client, 10);
    sure(scene.start("c"));
    let all = inspected(&mut scene, &["a", "b", "c"]);
    assert!(
        all.iter()
            .all(|one| one.state_digest == all[0].state_digest)
    );
    let log = sure(fs::read_to_string(scene.log_path("c")));
    let begun: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("fetching the state"))
        .collect();
    tell(format_args!("{begun:#?}"));
    assert!(begun.len() >= 2, "{log}");
    assert!(
        begun
            .iter()
            .any(|line| !line.contains("of which 192 are here")),
        "what came before the kill was not asked for again: {begun:#?}"
    );
    check(&mut client, 0..11);

    // And it is as good as the others: the next two to die leave it alone with everything.
    let pair = scene.until_pair();
    sure(scene.kill(&pair.backup));
    scene.until_record("c is the backup", |record| {
        Pair::of(record).filter(|pair| pair.backup == "c")
    });
    sure(scene.kill(&pair.primary));
    put(&mut client, 11);
    check(&mut client, 0..12);
}

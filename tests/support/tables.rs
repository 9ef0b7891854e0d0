//! Clusters of tables (`examples/ballast.rs`), whose state and log weigh something.

use std::fs;

use standin_client::{Client, ClientConfig, Consistency};
use standin_core::time::Duration;
use standin_tools::cluster::ClusterConfig;

use super::scene::Scene;
use super::{example, sure};

/// Bytes of each value that fills the log and the state.
const VALUE_BYTES: usize = 64 << 10;

/// A cluster of tables, with a snapshot every so many entries, in which nothing runs yet.
pub(crate) fn tables(title: &str, every: u64) -> Scene {
    Scene::with(title, config(every))
}

/// What such a cluster consists of.
pub(crate) fn config(every: u64) -> ClusterConfig {
    let words = ["--snapshot-every".to_owned(), every.to_string()];
    ClusterConfig {
        machine: "ballast".to_owned(),
        lease: Duration::from_millis(500),
        replica_arguments: words.to_vec(),
        ..ClusterConfig::new(example("ballast"))
    }
}

pub(crate) fn client(scene: &Scene) -> Client {
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

pub(crate) fn put(client: &mut Client, key: u64) {
    let mut command = vec![2];
    command.extend_from_slice(&key.to_le_bytes());
    command.extend_from_slice(&value(key));
    sure(client.command(&command));
}

pub(crate) fn check(client: &mut Client, keys: std::ops::Range<u64>) {
    for key in keys {
        let answer = sure(client.query(&key.to_le_bytes(), Consistency::Confirmed));
        assert!(answer.bytes == value(key), "key {key}");
    }
}

/// The files of a replica's data directory in one of its rooms, by the index in their names.
pub(crate) fn files(scene: &Scene, name: &str, room: &str) -> Vec<u64> {
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
pub(crate) fn fill_until_forgotten(scene: &mut Scene, client: &mut Client) {
    scene.until("what is covered goes", |scene| {
        (0..100).for_each(|key| put(client, key % 10));
        let is_begun_late = |name: &&str| files(scene, name, "log")[0] > 1;
        ["a", "b"].iter().all(is_begun_late).then_some(())
    });
}

/// Makes the state weigh that much, and no more than a few bytes of log.
pub(crate) fn weigh(client: &mut Client, bytes: u64) {
    let mut fill = vec![1];
    for number in [1 << 32, (1 << 32) + bytes / (1 << 20), 1 << 20] {
        fill.extend_from_slice(&u64::to_le_bytes(number));
    }
    sure(client.command(&fill));
}

/// How much of the snapshot that a replica fetches has come.
pub(crate) fn fetched_bytes(scene: &Scene, name: &str) -> u64 {
    let listed = fs::read_dir(scene.directory().join(name).join("snapshots"));
    let files = listed.into_iter().flatten().map(sure);
    let parts = files.filter(|file| file.file_name().to_string_lossy().ends_with(".part"));
    parts
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum()
}

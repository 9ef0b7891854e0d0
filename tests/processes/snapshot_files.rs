//! `standin snapshot`: copied from a replica that runs, checked, and made a data directory again.

use std::fs;
use std::path::Path;

use serde_json::Value;
use standin_core::time::Duration;
use standin_tools::cluster::ClusterConfig;

use crate::support::cli::{Ran, STANDIN};
use crate::support::scene::Scene;
use crate::support::sure;

const LEASE: Duration = Duration::from_millis(500);
/// How often the counter is added to.
const ADDS: u64 = 50;

fn counters(title: &str, every: u64) -> Scene {
    let words = ["--snapshot-every".to_owned(), every.to_string()];
    let config = ClusterConfig {
        lease: LEASE,
        replica_arguments: words.to_vec(),
        ..ClusterConfig::new(STANDIN)
    };
    let mut scene = Scene::with(title, config);
    sure(scene.start_all(&["a", "b"]));
    scene.until_pair();
    scene
}

fn snapshot(words: &[&str]) -> Ran {
    let mut line = vec!["snapshot"];
    line.extend(words);
    crate::support::cli::run("", &line)
}

fn done(words: &[&str]) -> String {
    let ran = snapshot(words);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    ran.stdout
}

/// It is refused, in one line that holds these words.
fn refused(words: &[&str], why: &str) {
    let ran = snapshot(words);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains(why), "{ran:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a test's path is text")
}

/// The entries as of which a replica has snapshots, the oldest first.
fn snapshots_in(data: &Path) -> Vec<u64> {
    let listed = fs::read_dir(data.join("snapshots"));
    let names = listed.into_iter().flatten().map(|file| sure(file).path());
    let snapshots = names.filter(|path| path.extension().is_some_and(|it| it == "snap"));
    let mut indexes: Vec<u64> = snapshots
        .filter_map(|path| path.file_stem()?.to_str()?.parse().ok())
        .collect();
    indexes.sort_unstable();
    indexes
}

fn add(scene: &Scene) -> u64 {
    let ran = scene.cli(&["client", "counter", "add"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    sure(ran.stdout.trim().parse())
}

#[test]
fn one_is_saved_from_a_replica_that_runs_and_a_replica_starts_from_it() {
    let mut scene = counters("saved", 20);
    let directory = scene.directory().to_owned();
    let [a, file, other] = ["a", "saved.snap", "other.snap"].map(|name| directory.join(name));
    for _ in 0..ADDS {
        add(&scene);
    }
    let newest = scene.until("two snapshots", |_| {
        let names = snapshots_in(&a);
        (names.len() >= 2).then(|| names[names.len() - 1])
    });
    done(&["save", text(&a), text(&file)]);
    let words = done(&["verify", text(&file)]);
    assert!(words.starts_with("whole: "), "{words}");
    assert!(
        words.trim_end().ends_with("; the machine restores it"),
        "{words}"
    );
    let account: Value = sure(serde_json::from_str(&done(&[
        "inspect",
        text(&file),
        "--json",
    ])));
    assert_eq!(account["machine"]["name"], "counter");
    let index = account["index"].as_u64();
    assert!(index.is_some_and(|index| index % 20 == 0 && index >= newest));
    assert_eq!(
        account["file_bytes"].as_u64(),
        Some(sure(fs::metadata(&file)).len())
    );

    // What is there stays.
    refused(&["save", text(&a), text(&file)], "exists");
    refused(&["restore", text(&file), text(&a)], "name a directory");
    refused(
        &["save", text(&directory), text(&other)],
        "no data directory",
    );

    // Each byte counts; that each does is tested where the format is.
    let good = sure(fs::read(&file));
    for at in (0..good.len()).step_by(29) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        sure(fs::write(&other, &bad));
        refused(&["verify", text(&other)], "other.snap");
        sure(fs::write(&other, &good[..at]));
        refused(&["verify", text(&other)], "other.snap");
    }
    refused(
        &["restore", text(&other), text(&directory.join("c"))],
        "other.snap",
    );

    // It goes on from there: what follows comes as a suffix of the log.
    let c = directory.join("c");
    done(&["restore", text(&file), text(&c)]);
    sure(scene.start("c"));
    scene.until_agreement();
    let log = sure(fs::read_to_string(scene.log_path("c")));
    assert!(log.contains("going on from the snapshot of entry"), "{log}");
    assert!(!log.contains("fetching the state"), "{log}");
    assert!(!log.contains("does not go on"), "{log}");

    // With nobody else left, an operator may have it serve.
    sure(scene.kill_together(&["a", "b", "c"]));
    done(&["restore", text(&file), text(&directory.join("d"))]);
    sure(scene.spawn("d"));
    scene.until("d to be named", |scene| {
        let ran = scene.cli(&["recover", "--primary", "d", "--accept-loss"]);
        (ran.status == Some(0)).then_some(())
    });
    let value = scene.until("an answer", |scene| {
        let ran = scene.cli(&["client", "counter", "get"]);
        ran.stdout.trim().parse::<u64>().ok()
    });
    assert!((1..=ADDS).contains(&value), "{value}");
    assert_eq!(add(&scene), value + 1);
}

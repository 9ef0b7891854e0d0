//! `standin replay`: what is on a replica's disk leads to the state that it had, and to what its clients were answered.

use serde_json::Value;
use standin::machines::counter::CounterClient;
use standin_client::ClientConfig;
use standin_core::time::Duration;
use standin_tools::cluster::{ClusterConfig, VIEW_SERVICE};

use crate::support::cli::{self, Ran, STANDIN};
use crate::support::scene::Scene;
use crate::support::sure;

/// No takeover comes in between, however slow the machine is.
const LEASE: Duration = Duration::from_secs(10);

fn start(title: &str, arguments: &[&str]) -> Scene {
    let config = ClusterConfig {
        lease: LEASE,
        replica_arguments: arguments.iter().map(ToString::to_string).collect(),
        ..ClusterConfig::new(STANDIN)
    };
    let mut scene = Scene::with(title, config);
    sure(scene.start_all(&["a", "b"]));
    scene.until_pair();
    scene
}

fn counter(scene: &Scene) -> CounterClient {
    let address = sure(scene.address(VIEW_SERVICE));
    sure(CounterClient::connect(address, ClientConfig::default()))
}

/// Needs no view service.
fn standin(arguments: &[&str]) -> Ran {
    cli::run("127.0.0.1:1", arguments)
}

fn dir(scene: &Scene, name: &str) -> String {
    scene.directory().join(name).display().to_string()
}

fn json(arguments: &[&str]) -> Vec<Value> {
    let ran = standin(&[arguments, &["--json"]].concat());
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    let lines = ran.stdout.lines();
    lines.map(|line| sure(serde_json::from_str(line))).collect()
}

fn replay(dir: &str, arguments: &[&str]) -> Value {
    json(&[&["replay", dir], arguments].concat()).remove(0)
}

#[test]
fn a_log_that_is_kept_leads_to_the_state_and_to_every_answer() {
    let mut scene = start("a replay", &["--keep-log", "--snapshot-every", "10"]);
    let mut client = counter(&scene);
    let answers: Vec<i64> = (1..=60).map(|number| sure(client.add(number))).collect();
    scene.until_agreement();
    let mut replays = Vec::new();
    // While they run.
    for name in ["a", "b"] {
        let replayed = replay(&dir(&scene, name), &["--verify", "--query", "counter get"]);
        let inspected = sure(scene.inspect(name));
        assert_eq!(replayed["index"], inspected.standing.applied.0);
        let state_digest = format!("{:032x}", inspected.state_digest);
        assert_eq!(replayed["state_digest"], state_digest);
        // The same in the status, once it is as of now.
        scene.until("the status to have the digest of the replay", |scene| {
            let status: Value = sure(serde_json::from_str(
                &scene.cli(&["status", "--json"]).stdout,
            ));
            let mut all = status["replicas"].as_array()?.iter();
            let told = all.find(|it| it["name"] == name)?;
            (told["digest"] == replayed["digest"]).then_some(())
        });
        assert_eq!(replayed["from"], 0);
        assert_eq!(replayed["answer"], answers[59].to_string());
        // Each snapshot has recorded two digests. Two are kept, and while one is written no other is taken.
        let verified = replayed["verified"].as_u64();
        assert!(matches!(verified, Some(2 | 4)), "{replayed}");
        replays.push((replayed["digest"].clone(), state_digest));
    }
    assert_eq!(replays[0], replays[1]);

    // As of each entry the answer that was given.
    let a = dir(&scene, "a");
    let log = json(&["log", &a]);
    let adds = log.iter().filter(|row| row["kind"] == "command");
    for (row, answer) in adds.zip(&answers).step_by(7) {
        let until = row["index"].to_string();
        let replayed = replay(&a, &["--until", &until, "--query", "get"]);
        assert_eq!(replayed["index"], row["index"]);
        assert_eq!(replayed["answer"], answer.to_string());
    }

    // For people, and what cannot be done.
    let ran = standin(&["replay", &a, "--verify", "--query", "counter get"]);
    assert_eq!(ran.status, Some(0));
    let digest = replays[0].0.as_str().expect("digits");
    let words = [
        "from the first entry",
        "recorded digests are the same",
        digest,
        "1830",
    ];
    assert!(
        words.iter().all(|word| ran.stdout.contains(word)),
        "{}",
        ran.stdout
    );
    // No snapshot is of one of the first two entries.
    let ran = standin(&["replay", &a, "--until", "2", "--verify"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.stdout.ends_with("verified: nothing\n"), "{ran:?}");
    assert!(
        ran.stderr.contains("no digest was recorded on the way") && ran.stderr.lines().count() == 1,
        "{ran:?}"
    );
    for (arguments, status, words) in [
        (
            &["--until", "100000"][..],
            1,
            "entry 100000 is not there: the log ends at entry",
        ),
        (&["--query", "counter put"], 2, "has no query 'counter put'"),
        (&["--until", "x"], 2, "--until"),
    ] {
        let ran = standin(&[&["replay", &a], arguments].concat());
        assert_eq!(ran.status, Some(status), "{}", ran.stderr);
        assert!(
            ran.stderr.contains(words) && ran.stderr.lines().count() == 1,
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_log_without_its_beginning_is_replayed_from_a_snapshot() {
    let arguments = ["--snapshot-every", "10", "--segment-bytes", "4096"];
    let mut scene = start("a replay from a snapshot", &arguments);
    let mut client = counter(&scene);
    let a = dir(&scene, "a");
    let mut sum = 0;
    let replayed = scene.until("the log to be let go of", |_| {
        for _ in 0..50 {
            sum = sure(client.add(1));
        }
        let replayed = replay(&a, &["--verify", "--query", "get"]);
        (replayed["from"] != 0).then_some(replayed)
    });
    assert!(replayed["verified"].as_u64() >= Some(2), "{replayed}");
    scene.until_agreement();
    assert_eq!(replay(&a, &["--query", "get"])["answer"], sum.to_string());
    let ran = standin(&["replay", &a, "--until", "1"]);
    assert_eq!(ran.status, Some(1));
    assert!(
        ran.stderr.contains("the oldest whole snapshot is of entry"),
        "{}",
        ran.stderr
    );
}

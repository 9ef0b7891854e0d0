//! `standin client kv` against replicas of the database: what it prints, and that a write happens once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use standin::client::ClientConfig;
use standin::machines::kv::{KvClient, KvError};
use standin_core::time::Duration;
use standin_tools::cluster::VIEW_SERVICE;

use crate::support::cli::{Ran, STANDIN};
use crate::support::scene::Scene;
use crate::support::{PATIENCE, sure};

const LEASE: Duration = Duration::from_millis(500);

fn kv(scene: &Scene, words: &[&str]) -> Ran {
    let mut line = vec!["client", "--timeout", "60s", "kv"];
    line.extend(words);
    scene.cli(&line)
}

#[track_caller]
fn prints(scene: &Scene, words: &[&str], text: &str) {
    let ran = kv(scene, words);
    assert_eq!(
        (ran.status, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(0), text, ""),
        "kv {words:?}"
    );
}

/// It is denied, in one line that holds this; nothing is printed.
#[track_caller]
fn denied(scene: &Scene, words: &[&str], why: &str) {
    let ran = kv(scene, words);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains(why), "{ran:?}");
}

fn client(scene: &Scene) -> KvClient {
    let address = sure(scene.address(VIEW_SERVICE));
    sure(KvClient::connect(
        address,
        ClientConfig { timeout: PATIENCE },
    ))
}

#[test]
fn what_is_asked_on_the_command_line_is_answered_as_promised() {
    let scene = Scene::databases("kv on the command line", LEASE, &["a", "b"]);
    denied(&scene, &["get", "k"], "there is no key 'k'");
    prints(&scene, &["set", "k", "-v w"], "OK\n");
    prints(&scene, &["get", "k"], "-v w\n");
    prints(&scene, &["set", "empty", ""], "OK\n");
    prints(&scene, &["get", "empty"], "\n");
    prints(&scene, &["incr", "n"], "1\n");
    prints(&scene, &["incr", "n", "-3"], "-2\n");
    prints(&scene, &["get", "n"], "-2\n");
    denied(
        &scene,
        &["incr", "k"],
        "the database refused: ERR value is not an integer",
    );
    prints(&scene, &["del", "k", "n", "none"], "2\n");
    denied(&scene, &["get", "k"], "there is no key");

    let mut kv_client = client(&scene);
    sure(kv_client.command(&[b"LPUSH", b"list", b"x"]));
    denied(
        &scene,
        &["get", "list"],
        "WRONGTYPE Operation against a key holding the wrong kind of value",
    );
    denied(&scene, &["incr", "list"], "WRONGTYPE");
    sure(kv_client.into_client().close());

    // Bytes that are no text come back as they went in.
    let bytes = OsStr::from_bytes(b"\xff\x01 \r\n");
    let run = |verb: &[&OsStr]| {
        let output = Command::new(STANDIN)
            .args(["client", "--viewservice"])
            .arg(sure(scene.address(VIEW_SERVICE)))
            .args(["--timeout", "60s", "kv"])
            .args(verb)
            .stdin(Stdio::null())
            .output();
        let output = sure(output);
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    assert_eq!(run(&[OsStr::new("set"), bytes, bytes]), b"OK\n");
    assert_eq!(run(&[OsStr::new("get"), bytes]), b"\xff\x01 \r\n\n");

    // Each machine knows whose words these are.
    let ran = scene.cli(&["client", "counter", "get"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("which machine"), "{ran:?}");
    let ran = scene.cli(&["client", "counter", "add"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
}

#[test]
fn a_database_goes_on_through_deaths_and_switchovers_and_each_increment_counts_once() {
    let mut scene = Scene::databases("a database that goes on", LEASE, &["a", "b", "c"]);
    let mut kv_client = client(&scene);
    sure(kv_client.set(b"text", b"kept"));
    for round in 0..3_i64 {
        for n in 1..=20 {
            assert_eq!(sure(kv_client.incr(b"n", 2)), 2 * (20 * round + n));
        }
        // Once as planned, and twice not.
        if round == 1 {
            let ran = scene.cli(&["switchover"]);
            assert_eq!(ran.status, Some(0), "{ran:?}");
        } else {
            let (pair, _) = scene.kill_one(|pair| &pair.primary);
            sure(scene.start(&pair.primary));
        }
        scene.until_pair();
    }
    assert_eq!(
        sure(kv_client.get(b"n")).as_deref(),
        Some(b"120".as_slice())
    );
    assert_eq!(
        sure(kv_client.get(b"text")).as_deref(),
        Some(b"kept".as_slice())
    );
    assert!(matches!(
        kv_client.incr(b"text", 1),
        Err(KvError::Refused(why)) if why.starts_with("ERR value is not an integer")
    ));
    sure(kv_client.into_client().close());
    scene.until_agreement();
    let history = scene.cli(&["history"]);
    assert!(history.stdout.contains("handed over"), "{history:?}");
    let status = scene.cli(&["status"]);
    assert_eq!(status.status, Some(0), "{status:?}");
}

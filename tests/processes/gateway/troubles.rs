//! What clients of a gateway see when the service is in trouble.

use std::os::unix::fs::symlink;

use standin_core::identity::Durability;
use standin_resp::reply::Reply;
use standin_tools::cluster::ClusterConfig;

use super::client::Gateway;
use super::{LEASE, start, start_with};
use crate::support::cli::STANDIN;
use crate::support::resp::{put, text};
use crate::support::scene::Scene;
use crate::support::sure;
use crate::support::tmpfs::Tmpfs;

/// Room for the first segment of a log, for the next one, and for little else.
const DISK_BYTES: u64 = 12 << 20;
const VALUE_BYTES: usize = 64 << 10;

#[test]
fn without_room_writes_are_refused_and_reads_go_on_until_there_is_room() {
    let Some(disk) = Tmpfs::mount(DISK_BYTES) else {
        return;
    };
    let config = ClusterConfig {
        lease: LEASE,
        machine: "kv".to_owned(),
        replica_arguments: ["--segment-bytes", "4194304"].map(str::to_owned).to_vec(),
        ..ClusterConfig::new(STANDIN)
    };
    let mut scene = Scene::with("a gateway without room", config);
    sure(symlink(disk.path(), scene.directory().join("a")));
    sure(scene.start_all(&["a"]));
    let gateway = Gateway::start(&scene);
    let mut client = gateway.connect();
    let value = "x".repeat(VALUE_BYTES);
    assert_eq!(client.integer(&["RPUSH", "list", &value]), 1);
    disk.fill();
    let mut pushed = 1;
    let refusal = loop {
        match client.ask(&["RPUSH", "list", &value]) {
            Reply::Integer(length) => {
                pushed += 1;
                assert_eq!(length, pushed);
            }
            refusal => break refusal,
        }
    };
    let words = text(&refusal);
    assert!(words.starts_with("MISCONF nothing was done: "), "{words}");
    assert!(words.contains("make room on its disk"), "{words}");
    assert_eq!(client.integer(&["LLEN", "list"]), pushed, "it is read");
    disk.make_room();
    let length = scene.until("a write to be taken again", |_| {
        match client.ask(&["RPUSH", "list", "last"]) {
            Reply::Integer(length) => Some(length),
            _ => None,
        }
    });
    assert_eq!(length, pushed + 1, "nothing was done that was refused");
}

#[test]
fn after_a_forced_takeover_a_client_is_told_that_answers_may_be_lost() {
    let mut scene = start_with("a forced takeover", &["a", "b"]);
    let gateway = Gateway::start(&scene);
    let mut client = gateway.connect();
    assert_eq!(client.integer(&["INCR", "count"]), 1);
    let (pair, _) = scene.kill_one(|pair| &pair.backup);
    // Nobody else has this.
    assert_eq!(client.integer(&["INCR", "count"]), 2);
    sure(scene.kill(&pair.primary));
    sure(scene.spawn(&pair.backup));
    let arguments = ["recover", "--primary", &pair.backup, "--accept-loss"];
    scene.until("the takeover to be granted", |scene| {
        (scene.cli(&arguments).status == Some(0)).then_some(())
    });
    let told = client.ask(&["INCR", "count"]);
    let words = text(&told);
    assert!(
        words.starts_with("ERR nothing was done: an operator forced a takeover"),
        "{words}"
    );
    // It was there when there was one.
    assert_eq!(text(&client.call(&["GET", "count"])), "1");
    assert_eq!(client.integer(&["INCR", "count"]), 2);
}

#[test]
fn a_session_is_closed_when_no_command_has_come_for_some_time() {
    let mut scene = start("an idle gateway");
    let gateway = Gateway::start(&scene);
    let mut client = gateway.connect();
    assert_eq!(client.integer(&["INCR", "count"]), 1);
    let pair = scene.until_pair();
    let sessions = |scene: &Scene| sure(scene.inspect(&pair.primary)).sessions;
    assert_eq!(sessions(&scene), 1);
    scene.until(
        "the session to be closed, though there are queries",
        |scene| {
            assert_eq!(text(&client.call(&["GET", "count"])), "1");
            (sessions(scene) == 0).then_some(())
        },
    );
    assert_eq!(
        client.integer(&["INCR", "count"]),
        2,
        "another one is opened"
    );
}

#[test]
fn a_client_that_leaves_in_the_midst_of_its_commands_disturbs_nobody() {
    const SENT: i64 = 1_000;
    let mut scene = start("leaving");
    let gateway = Gateway::start(&scene);
    let mut other = gateway.connect();
    for _ in 0..10 {
        let mut client = gateway.connect();
        let mut bytes = Vec::new();
        for _ in 0..SENT {
            put(&mut bytes, &["INCR", "count"]);
        }
        client.send(&bytes);
        assert!(matches!(client.reply(), Reply::Integer(_)));
        drop(client);
        assert!(other.integer(&["INCR", "other"]) > 0);
    }
    scene.until("all of them to be gone", |_| {
        let list = other.call(&["CLIENT", "LIST"]);
        (text(&list).lines().count() == 1).then_some(())
    });
    assert_eq!(other.integer(&["INCR", "other"]), 11);
    let count = other.integer(&["INCR", "count"]);
    assert!((10..=10 * SENT + 1).contains(&count), "{count}");
}

#[test]
fn replicas_of_another_machine_are_named_as_such() {
    let scene = Scene::start("another machine", LEASE, Durability::Os, &["a"]);
    let gateway = Gateway::start(&scene);
    let mut client = gateway.connect();
    let refusal = client.ask(&["SET", "k", "v"]);
    let words = text(&refusal);
    assert!(words.starts_with("ERR nothing was done: "), "{words}");
    assert!(words.contains("the machine counter"), "{words}");
}

#[test]
fn people_are_told_why_clients_wait_for_long() {
    let mut scene = start_with("a long wait", &["a", "b"]);
    let gateway = Gateway::start(&scene);
    let mut client = gateway.connect();
    assert_eq!(client.integer(&["INCR", "count"]), 1);
    sure(scene.kill_together(&["a", "b"]));
    let mut bytes = Vec::new();
    put(&mut bytes, &["INCR", "count"]);
    client.send(&bytes);
    let told = |_: &mut Scene| {
        let log = gateway.log();
        let line = log
            .lines()
            .find(|line| line.contains("no client was answered for"));
        line.map(str::to_owned)
    };
    let line = scene.until("it to be told", told);
    assert!(
        line.contains(": the ") && line.ends_with("; they wait on"),
        "{line}"
    );
    sure(scene.start("a"));
    sure(scene.start("b"));
    assert_eq!(client.reply(), Reply::Integer(2));
    assert_eq!(gateway.log().matches("no client was answered").count(), 1);
}

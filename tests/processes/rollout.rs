//! A new version of a machine is rolled out: each replica is started anew with the new program, one after the other, and
//! the service goes over by itself. No client sees an error, nothing is lost or done twice, and all copies agree.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use standin::machines::counter::{decode_reply, encode_add, encode_get};
use standin_client::{Client, ClientConfig, Consistency};
use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_tools::cluster::{ClusterConfig, VIEW_SERVICE};

use crate::support::load::LoadConfig;
use crate::support::scene::{Scene, replica};
use crate::support::{PATIENCE, example, sure};

const LEASE: Duration = Duration::from_secs(1);
/// No takeover comes in between, however slow the machine is.
const LONG_LEASE: Duration = Duration::from_secs(10);

/// What `examples/tariff/v2.rs` understands and version 1 does not.
const FARE: [u8; 1] = [4];
const PAYMENTS: [u8; 1] = [5];

fn set_fare(fare: i64) -> Vec<u8> {
    [&[3][..], &fare.to_le_bytes()].concat()
}

struct Programs {
    old: PathBuf,
    new: PathBuf,
}

/// A scene in which all replicas run the old program, and both programs.
fn start(title: &str, lease: Duration, replicas: &[&str], arguments: &[&str]) -> (Scene, Programs) {
    let programs = Programs {
        old: example("tariff_v1"),
        new: example("tariff_v2"),
    };
    let config = ClusterConfig {
        lease,
        durability: Durability::Os,
        machine: "tariff".to_owned(),
        replica_arguments: arguments.iter().map(ToString::to_string).collect(),
        ..ClusterConfig::new(programs.old.clone())
    };
    let mut scene = Scene::with(title, config);
    sure(scene.start_all(replicas));
    scene.until_pair();
    (scene, programs)
}

fn client(scene: &Scene) -> Client {
    let config = ClientConfig { timeout: PATIENCE };
    sure(Client::new(sure(scene.view_services()), config))
}

/// The value of an answer; what the machine says if it does not know what it was asked.
fn value(bytes: &[u8]) -> Result<i64, String> {
    decode_reply(bytes).expect("a reply of the machine's")
}

fn ask(client: &mut Client, query: &[u8]) -> Result<i64, String> {
    value(&sure(client.query(query, Consistency::Confirmed)).bytes)
}

fn tell(client: &mut Client, command: &[u8]) -> Result<i64, String> {
    value(&sure(client.command(command)).bytes)
}

/// Stops a replica, as an operator does, and starts it with the new program.
fn renew(scene: &mut Scene, name: &str, programs: &Programs) {
    sure(scene.terminate(name));
    let status = sure(scene.wait(name, PATIENCE));
    assert!(status.success(), "{name}: {status}");
    scene.set_program(name, &programs.new);
    sure(scene.start(name));
}

/// The version of its machine that a replica executes, and the range that it supports, as the status has them.
fn versions(scene: &Scene, name: &str) -> Value {
    let told: Value = sure(serde_json::from_str(
        &scene.cli(&["status", "--json"]).stdout,
    ));
    let replicas = told["replicas"].as_array().expect("a list");
    let replica = replicas.iter().find(|replica| replica["name"] == name);
    let replica = replica.expect("the status has it");
    json!([replica["machine_version"], replica["machine_versions"]])
}

fn log_of(scene: &Scene, name: &str) -> String {
    fs::read_to_string(scene.log_path(name)).unwrap_or_default()
}

/// Whether a replica has gone over to version 2.
fn has_gone_over(scene: &Scene, name: &str) -> bool {
    log_of(scene, name).contains("executes version 2")
}

/// What all replicas have said must be nothing of two copies that differ.
fn check_logs(scene: &Scene) {
    for name in scene.names().filter(|name| *name != VIEW_SERVICE) {
        let log = log_of(scene, name);
        for word in ["differ", "quarantine", "panicked", "wrong"] {
            assert!(!log.contains(word), "{name} says '{word}': {log}");
        }
    }
}

/// Runs a program on its own: it needs no view service.
fn run(program: &PathBuf, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.env_remove("STANDIN_VIEWSERVICE");
    sure(command.output())
}

fn replay(program: &PathBuf, dir: &str) -> Result<Value, String> {
    let ran = run(program, &["replay", dir, "--verify", "--json"]);
    match ran.status.code() {
        Some(0) => Ok(sure(serde_json::from_slice(&ran.stdout))),
        _ => Err(String::from_utf8_lossy(&ran.stderr).into_owned()),
    }
}

/// All of the log leads to the state that each replica has, and only with a program that has both versions.
fn check_replays(scene: &Scene, replicas: &[&str], programs: &Programs) {
    for name in replicas {
        let dir = scene.directory().join(name).display().to_string();
        let replayed = sure(replay(&programs.new, &dir));
        let inspected = sure(scene.inspect(name));
        assert_eq!(replayed["from"], 0, "{name}");
        assert_eq!(replayed["index"], inspected.standing.applied.0, "{name}");
        let digest = format!("{:032x}", inspected.state_digest);
        assert_eq!(replayed["state_digest"], digest, "{name}");
        let digest = format!("{:032x}", inspected.standing.reply_digest);
        assert_eq!(replayed["digest"], digest, "{name}");

        let shown = run(&programs.old, &["log", &dir, "--json"]);
        let shown = String::from_utf8_lossy(&shown.stdout);
        let lines = shown.lines().map(|line| sure(serde_json::from_str(line)));
        let upgrades: Vec<Value> = lines.filter(|it: &Value| it["kind"] == "upgrade").collect();
        let [upgrade] = &upgrades[..] else {
            panic!("{name}: {upgrades:?}");
        };
        assert_eq!(upgrade["input"], "to version 2 of the machine");
        let error = replay(&programs.old, &dir).expect_err("it lacks the version");
        let words = format!(
            "entry {} is executed by version 2 of the machine, and this program supports version 1",
            upgrade["index"]
        );
        assert!(error.contains(&words), "{name}: {error}");
    }
}

/// A replica of the old program comes no more to what executes the new version.
fn check_refusal(scene: &mut Scene, name: &str, programs: &Programs) {
    sure(scene.terminate(name));
    sure(scene.wait(name, PATIENCE));
    let before = log_of(scene, name).len();
    scene.set_program(name, &programs.old);
    sure(scene.spawn(name));
    sure(scene.let_end(name, true));
    let status = sure(scene.wait(name, PATIENCE));
    assert!(!status.success());
    let log = log_of(scene, name).split_off(before);
    assert_eq!(log.lines().count(), 1, "{log}");
    let words = "tariff version 2 was executed in it, and this program supports no version above 1; start a program \
                 that supports version 2";
    assert!(log.contains(words), "{log}");
    // With the new one it goes on.
    scene.set_program(name, &programs.new);
    sure(scene.start(name));
}

#[test]
fn three_replicas_go_over_to_a_new_version_under_load() {
    let names = ["a", "b", "c"];
    let arguments = ["--keep-log", "--snapshot-every", "50"];
    let (mut scene, programs) = start("rollout", LEASE, &names, &arguments);
    let load = scene.load(LoadConfig::default());
    scene.until_answers(&load);
    let mut client = client(&scene);

    let pair = scene.until_pair();
    let spare = names
        .iter()
        .find(|name| **name != pair.primary && **name != pair.backup);
    let spare = (*spare.expect("there are three")).to_owned();
    let mut order = vec![spare, pair.backup, pair.primary];
    let last = order.pop().expect("the primary is the last");
    for name in order {
        renew(&mut scene, &name, &programs);
        scene.until_pair();
        scene.until_answers(&load);
    }
    // It hands over as it is told to stop.
    renew(&mut scene, &last, &programs);
    scene.until("the new version to be executed", |_| {
        ask(&mut client, &FARE).ok()
    });
    assert_eq!(tell(&mut client, &set_fare(7)), Ok(0));
    scene.until_answers(&load);
    assert_eq!(ask(&mut client, &FARE), Ok(7));
    assert!(ask(&mut client, &PAYMENTS).is_ok_and(|payments| payments > 0));

    scene.audit(load);
    for name in names {
        scene.until("each to go over", |scene| {
            has_gone_over(scene, name).then_some(())
        });
    }
    check_logs(&scene);
    check_replays(&scene, &names, &programs);
    let pair = scene.until_pair();
    let spare = names
        .iter()
        .find(|name| **name != pair.primary && **name != pair.backup);
    check_refusal(&mut scene, spare.expect("there are three"), &programs);
}

#[test]
fn two_replicas_go_over_and_agree_at_every_step() {
    let names = ["a", "b"];
    let arguments = ["--keep-log", "--snapshot-every", "10"];
    let (mut scene, programs) = start("pair", LONG_LEASE, &names, &arguments);
    let mut client = client(&scene);
    let mut paid = 0;
    let mut pay = |scene: &mut Scene, client: &mut Client| {
        for _ in 0..25 {
            paid += 3;
            assert_eq!(tell(client, &encode_add(3)), Ok(paid));
        }
        assert_eq!(ask(client, &encode_get()), Ok(paid));
        scene.until_agreement();
        check_logs(scene);
    };
    pay(&mut scene, &mut client);

    // The backup first. Both execute version 1, the one by the new program.
    let pair = scene.until_pair();
    renew(&mut scene, &pair.backup, &programs);
    let again = scene.until_pair();
    assert_eq!(again.primary, pair.primary);
    pay(&mut scene, &mut client);
    assert!(ask(&mut client, &FARE).is_err(), "nobody has gone over");
    assert!(tell(&mut client, &set_fare(7)).is_err());

    // The new program leads, and executes version 1 as well.
    let ran = scene.cli(&["switchover", "--timeout", "100s"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    pay(&mut scene, &mut client);
    assert!(ask(&mut client, &FARE).is_err(), "nobody has gone over");
    assert!(names.iter().all(|name| !has_gone_over(&scene, name)));
    assert_eq!(versions(&scene, &pair.backup), json!([1, [1, 2]]));
    assert_eq!(versions(&scene, &pair.primary), json!([1, [1, 1]]));
    let shown = scene.cli(&["status"]).stdout;
    let words = format!("; {} executes 1, supports 1 to 2", pair.backup);
    assert!(shown.contains(&words), "{shown}");

    // The last one: whatever view that comes to, they go over.
    renew(&mut scene, &pair.primary, &programs);
    scene.until("the new version to be executed", |_| {
        ask(&mut client, &FARE).ok()
    });
    assert_eq!(tell(&mut client, &set_fare(7)), Ok(0));
    assert_eq!(ask(&mut client, &FARE), Ok(7));
    pay(&mut scene, &mut client);
    assert_eq!(ask(&mut client, &PAYMENTS), Ok(25));
    for name in names {
        scene.until("the status to say so", |scene| {
            (versions(scene, name) == json!([2, [1, 2]])).then_some(())
        });
    }
    check_replays(&scene, &names, &programs);
    let pair = scene.until_pair();
    check_refusal(&mut scene, &pair.backup, &programs);
    scene.until_pair();
    pay(&mut scene, &mut client);
}

/// A spare whose program was forgotten: it stops where the others go over, says which program it needs, and goes on from
/// there with that.
#[test]
fn a_spare_with_the_old_program_stops_says_why_and_goes_on_with_the_new_one() {
    let names = ["a", "b", "c"];
    let (mut scene, programs) = start("forgotten", LONG_LEASE, &names, &["--keep-log"]);
    let mut client = client(&scene);
    let pair = scene.until_pair();
    let spare = names
        .iter()
        .find(|name| **name != pair.primary && **name != pair.backup);
    let spare = *spare.expect("there are three");
    // The spare is to stay one: it takes the place of whoever is gone for long.
    renew(&mut scene, &pair.backup, &programs);
    scene.until(
        "the backup to be one again, or the spare in its place",
        |scene| scene.status().ok()?.record?.backup,
    );
    let pair = scene.until_pair();
    let forgotten = match has_new_program(&scene, &pair.backup) {
        true => spare.to_owned(),
        false => pair.backup.clone(),
    };
    let last = names
        .iter()
        .find(|name| **name != forgotten && !has_new_program(&scene, name));
    renew(
        &mut scene,
        last.expect("one has the old program still"),
        &programs,
    );
    // Two have the new program; as soon as they are the pair, the third is left behind.
    while ask(&mut client, &FARE).is_err() {
        let pair = scene.until_pair();
        if pair.backup == forgotten {
            sure(scene.terminate(&forgotten));
            sure(scene.wait(&forgotten, PATIENCE));
            scene.until("the others to go over", |_| ask(&mut client, &FARE).ok());
            sure(scene.start(&forgotten));
        } else if pair.primary == forgotten {
            let ran = scene.cli(&["switchover", "--timeout", "100s"]);
            assert!(matches!(ran.status, Some(0 | 1 | 3)), "{ran:?}");
        }
    }
    for _ in 0..10 {
        sure(tell(&mut client, &encode_add(1)));
    }
    let words = "the primary's machine executes version 2, and this program supports version 1: start the replica with \
                 one that supports version 2, and it goes on";
    scene.until_status("the status to say what is wrong", |status| {
        let trouble = replica(status, &forgotten)?.trouble.clone()?;
        trouble.contains(words).then_some(())
    });
    assert_eq!(
        log_of(&scene, &forgotten).matches(words).count(),
        1,
        "people are told once"
    );
    let pair = scene.until_pair();
    assert!(pair.primary != forgotten && pair.backup != forgotten);
    check_logs(&scene);

    renew(&mut scene, &forgotten, &programs);
    scene.until_agreement();
    assert!(has_gone_over(&scene, &forgotten), "by the very entry");
    scene.until_status("the trouble to be over", |status| {
        replica(status, &forgotten)?.trouble.is_none().then_some(())
    });
}

/// Whether a replica runs the new program.
fn has_new_program(scene: &Scene, name: &str) -> bool {
    let pid = scene.pid(name).expect("it runs");
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|program| program.ends_with("tariff_v2"))
}

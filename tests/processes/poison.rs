//! An input that makes a user's own machine panic (`protocol.md` section 12): the client hears which entry it
//! was, the service goes on without it, and whoever failed comes back by a restart.

use standin::machines::counter::encode_add;
use standin_client::{Client, ClientConfig, ClientError, Consistency};
use standin_core::identity::Durability;
use standin_core::message::RoleName;
use standin_core::time::Duration;
use standin_tools::cluster::{ClusterConfig, VIEW_SERVICE};

use crate::support::cli::run_program;
use crate::support::load::LoadConfig;
use crate::support::scene::{Scene, replica, role};
use crate::support::{PATIENCE, example, sure};

const LEASE: Duration = Duration::from_millis(500);
const UNLUCKY: i64 = 13;

fn scene(title: &str, replicas: &[&str]) -> Scene {
    let config = ClusterConfig {
        lease: LEASE,
        durability: Durability::Os,
        machine: "brittle".to_owned(),
        ..ClusterConfig::new(example("brittle"))
    };
    let mut scene = Scene::with(title, config);
    sure(scene.start_all(replicas));
    scene
}

/// The entry that a client's error names.
fn entry_in(words: &str) -> u64 {
    let (_, rest) = words.split_once("entry ").expect("it names the entry");
    let (entry, rest) = rest.split_once(' ').expect("and goes on");
    assert!(
        rest.starts_with("made the machine fail and was skipped"),
        "{words}"
    );
    sure(entry.parse())
}

#[test]
fn a_command_that_makes_the_machine_panic_is_skipped_and_its_client_told_so() {
    let mut scene = scene("a panic in a pair", &["a", "b", "c"]);
    let load = scene.load(LoadConfig::default());
    let pair = scene.until_pair();
    scene.until_answers(&load);

    // The error names the entry, and it is the answer "no".
    let ran = scene.cli(&["client", "--timeout", "60s", "counter", "add", "13"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    let entry = entry_in(&ran.stderr);
    assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{ran:?}");

    // Others go on in a later view; who failed is out of service and says why.
    scene.until_answers(&load);
    scene.until_status("the failed primary to say what happened", |status| {
        let record = status.record.as_ref()?;
        let failed = replica(status, &pair.primary)?;
        let words = failed.trouble.as_deref()?;
        let is_told = words.contains(&format!("entry {entry} ")) && words.contains("13 is unlucky");
        let is_out = role(status, &pair.primary) == Some(RoleName::Quarantined);
        let is_past = record.view > pair.view && record.primary.name.as_str() != pair.primary;
        (is_told && is_out && is_past).then_some(())
    });
    let said = scene.cli(&["status"]);
    assert!(said.stdout.contains("quarantined"), "{said:?}");
    assert!(said.stdout.contains("made the machine fail"), "{said:?}");

    // A restart makes its state anew, without the entry: in the end all are the same.
    sure(scene.terminate(&pair.primary));
    sure(scene.wait(&pair.primary, PATIENCE));
    sure(scene.start(&pair.primary));
    scene.until_status("it to be in service again", |status| {
        let role = role(status, &pair.primary)?;
        matches!(role, RoleName::Spare | RoleName::Backup).then_some(())
    });
    scene.audit(load);

    // So does whoever replays the log from the beginning: each is killed and comes back by its own log.
    for name in ["a", "b", "c"] {
        sure(scene.kill(name));
        sure(scene.start(name));
        scene.until_pair();
    }
    scene.until_agreement();
}

/// The log of the one that failed ends before the view that skips the entry: only the other's says so.
#[test]
fn a_comparison_of_the_one_that_failed_with_the_one_that_goes_on_says_the_same() {
    let mut scene = scene("a panic, and a comparison", &["a", "b"]);
    let pair = scene.until_pair();
    for (words, status) in [("5", 0), ("13", 1), ("7", 0)] {
        let ran = scene.cli(&["client", "--timeout", "60s", "counter", "add", words]);
        assert_eq!(ran.status, Some(status), "{ran:?}");
    }
    scene.until_status("the failed primary to be out of service", |status| {
        (role(status, &pair.primary) == Some(RoleName::Quarantined)).then_some(())
    });
    let dir = |name: &str| scene.directory().join(name).display().to_string();
    let [failed, other] = [dir(&pair.primary), dir(&pair.backup)];
    for (one, other) in [(&failed, &other), (&other, &failed)] {
        let arguments = ["replay", "--diff", one, other, "--json"];
        let view_service = sure(scene.address(VIEW_SERVICE));
        let ran = run_program(&example("brittle"), view_service, &arguments);
        let told: serde_json::Value = sure(serde_json::from_str(&ran.stdout));
        let is_same = told["same"] == true && ran.status == Some(0);
        assert!(is_same && told["pairs"] == 1, "{ran:?}");
    }
}

#[test]
fn a_lone_primary_whose_machine_panics_says_why_nobody_serves_and_comes_back_by_a_restart() {
    let mut scene = scene("a panic all alone", &["a"]);
    let config = ClientConfig { timeout: PATIENCE };
    let mut client = sure(Client::new(sure(scene.view_services()), config));
    sure(client.command(&encode_add(1)));
    let asked = std::thread::spawn(move || {
        let outcome = client.command(&encode_add(UNLUCKY));
        (client, outcome)
    });
    scene.until_status("words that say what to do", |status| {
        let why = status.unavailable.as_ref()?;
        let is_told = why.contains("13 is unlucky") && why.contains("restart this replica");
        is_told.then_some(())
    });
    sure(scene.kill("a"));
    sure(scene.start("a"));
    let (mut client, outcome) = asked.join().expect("the client does not panic");
    let ClientError::Skipped { entry } = outcome.expect_err("it makes the machine fail") else {
        panic!("it was not skipped");
    };
    assert!(entry.0 > 2, "{entry}");
    let answer = sure(client.command(&encode_add(2)));
    let sum = standin::machines::counter::decode_reply(&answer.bytes);
    assert_eq!(sum, Some(Ok(3)), "nothing of it took effect");
    let status = sure(scene.status());
    assert_eq!(status.unavailable, None);

    // The view service forgets nothing either, and the log tells for ever.
    sure(scene.kill(VIEW_SERVICE));
    sure(scene.start(VIEW_SERVICE));
    sure(scene.kill("a"));
    sure(scene.start("a"));
    assert!(client.command(&encode_add(0)).is_ok());
}

#[test]
fn a_query_that_makes_the_machine_panic_costs_its_client_an_answer_and_nobody_else_anything() {
    let mut scene = scene("a panic in a query", &["a", "b"]);
    let pair = scene.until_pair();
    let config = ClientConfig { timeout: PATIENCE };
    let mut client = sure(Client::new(sure(scene.view_services()), config));
    for consistency in [Consistency::Confirmed, Consistency::Lease] {
        let refused = client.query(&encode_add(UNLUCKY), consistency);
        let refused = refused.expect_err("it panics").to_string();
        assert!(refused.contains("that is no question"), "{refused}");
    }
    sure(client.command(&encode_add(1)));
    assert_eq!(scene.until_pair(), pair);
}

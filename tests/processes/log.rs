//! `standin log`: what people see of a replica's log, while the replica runs and afterwards.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use standin::machines::counter::CounterClient;
use standin::machines::kv::KvClient;
use standin_client::ClientConfig;
use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_tools::cluster::VIEW_SERVICE;

use crate::support::cli::{self, Ran};
use crate::support::scene::Scene;
use crate::support::sure;

/// No takeover comes in between, however slow the machine is.
const LEASE: Duration = Duration::from_secs(10);

fn dir(scene: &Scene, name: &str) -> String {
    scene.directory().join(name).display().to_string()
}

/// Needs no view service.
fn standin(arguments: &[&str]) -> Ran {
    cli::run("127.0.0.1:1", arguments)
}

fn log(arguments: &[&str]) -> Ran {
    let ran = standin(&[&["log"], arguments].concat());
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr, "");
    ran
}

fn rows(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| sure(serde_json::from_str(line)))
        .collect()
}

/// Kind and input of each.
fn inputs(rows: &[Value]) -> Vec<(&str, &str)> {
    rows.iter()
        .map(|row| {
            (
                row["kind"].as_str().unwrap_or_default(),
                row["input"].as_str().unwrap_or_default(),
            )
        })
        .collect()
}

fn counter(scene: &Scene) -> CounterClient {
    let address = sure(scene.address(VIEW_SERVICE));
    sure(CounterClient::connect(address, ClientConfig::default()))
}

#[test]
fn each_entry_is_a_line_in_the_words_of_its_machine_and_the_same_on_both() {
    let mut scene = Scene::start("a log", LEASE, Durability::Os, &["a", "b"]);
    let pair = scene.until_pair();
    let mut client = counter(&scene);
    for number in 1..=20 {
        sure(client.add(number));
    }
    sure(client.into_client().close());
    scene.until_agreement();
    let (primary, backup) = (dir(&scene, &pair.primary), dir(&scene, &pair.backup));

    let shown = rows(&log(&[&primary, "--json"]).stdout);
    assert_eq!(shown, rows(&log(&[&backup, "--json"]).stdout), "equal logs");
    for (place, row) in shown.iter().enumerate() {
        assert_eq!(row["index"], place + 1);
    }
    let said = inputs(&shown);
    let start = format!("primary {}, level os", pair.primary);
    assert_eq!(said[0], ("view", start.as_str()));
    let adds: Vec<&(&str, &str)> = said.iter().filter(|(kind, _)| *kind == "command").collect();
    let wanted: Vec<String> = (1..=20).map(|number| format!("add {number}")).collect();
    assert!(
        adds.iter()
            .map(|(_, input)| *input)
            .eq(wanted.iter().map(String::as_str))
    );
    let opened = shown
        .iter()
        .find(|row| row["kind"] == "open")
        .expect("a session");
    let closed = shown
        .iter()
        .find(|row| row["kind"] == "close")
        .expect("its end");
    assert_eq!(opened["session"], opened["index"]);
    assert_eq!(opened["session"], closed["session"]);
    let commands = shown.iter().filter(|row| row["kind"] == "command");
    for (command, sequence) in commands.zip(1..) {
        assert_eq!(command["session"], opened["session"]);
        assert_eq!(command["sequence"], sequence);
        assert!(
            command["time"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
    }

    // The same for people.
    let lines = log(&[&primary]).stdout;
    assert_eq!(lines.lines().count(), shown.len());
    for (line, row) in lines.lines().zip(&shown) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], row["index"].to_string());
        assert_eq!(words[2], row["time"].as_str().expect("a text"));
        assert!(
            line.ends_with(row["input"].as_str().expect("a text")),
            "{line}"
        );
    }
    let some = log(&[&primary, "--from", "3", "--to", "5"]).stdout;
    let three: Vec<&str> = lines.lines().skip(2).take(3).collect();
    assert_eq!(some.lines().collect::<Vec<_>>(), three);
    assert_eq!(log(&[&primary, "--from", "1000000"]).stdout, "");

    // When nobody runs any more.
    sure(scene.kill_together(&["a", "b"]));
    assert_eq!(log(&[&primary]).stdout, lines);
}

#[test]
fn a_database_tells_what_its_clients_said() {
    let mut scene = Scene::databases("a log of a database", LEASE, &["a"]);
    let address = sure(scene.address(VIEW_SERVICE));
    let mut client = sure(KvClient::connect(address, ClientConfig::default()));
    sure(client.set(b"a b", b"1"));
    sure(client.incr(b"a b", 41));
    let shown = rows(&log(&[&dir(&scene, "a"), "--json"]).stdout);
    let said = inputs(&shown);
    assert!(said.contains(&("command", r#"SET "a b" 1"#)), "{said:?}");
    assert!(
        said.contains(&("command", r#"INCRBY "a b" 41"#)),
        "{said:?}"
    );
    sure(scene.kill("a"));
}

#[test]
fn a_log_that_is_damaged_is_shown_up_to_there_and_the_place_is_named() {
    let mut scene = Scene::start("a damaged log", LEASE, Durability::Os, &["a"]);
    let mut client = counter(&scene);
    for number in 1..=20 {
        sure(client.add(number));
    }
    sure(scene.kill("a"));
    let dir = dir(&scene, "a");
    let whole = log(&[&dir]).stdout;
    let mut files: Vec<PathBuf> = sure(fs::read_dir(scene.directory().join("a/log")))
        .map(|entry| sure(entry).path())
        .filter(|path| path.extension().is_some_and(|it| it == "log"))
        .collect();
    files.sort();
    let mut bytes = sure(fs::read(&files[0]));
    bytes[600] ^= 1;
    sure(fs::write(&files[0], &bytes));
    let ran = standin(&["log", &dir]);
    assert_eq!(ran.status, Some(1));
    assert!(whole.starts_with(&ran.stdout) && !ran.stdout.is_empty());
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    let name = files[0].display().to_string();
    assert!(
        ran.stderr.contains(&name) && ran.stderr.contains("damaged at byte "),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_is_no_log_or_no_range_is_refused_in_a_line() {
    let empty = sure(tempfile::tempdir());
    let empty = empty.path().display().to_string();
    for (arguments, status, words) in [
        (&["log", &empty][..], 1, "has no segment of a log"),
        (&["log", "no-such-directory"], 1, "has no segment of a log"),
        (
            &["log", &empty, "--from", "5", "--to", "4"],
            2,
            "--from comes after --to",
        ),
        (&["log", &empty, "--from", "x"], 2, "--from"),
        (&["log"], 2, "DIR"),
    ] {
        let ran = standin(arguments);
        assert_eq!(ran.status, Some(status), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
    }
}

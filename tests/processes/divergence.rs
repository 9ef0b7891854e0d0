//! Machines that are broken on purpose (`examples/broken`): two replicas come to something else from the same entries. That is
//! caught while they run, people are told, nothing that shows it goes, and `replay --diff` names the entry.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use standin_client::{Client, ClientConfig};
use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_tools::cluster::{ClusterConfig, Placement};

use crate::support::cli::Ran;
use crate::support::http::metric;
use crate::support::scene::{Pair, Scene, replica};
use crate::support::{PATIENCE, example, sure, tell};

/// No takeover comes in between, however slow the machine is.
const LEASE: Duration = Duration::from_secs(10);
/// A snapshot after so many entries.
const EVERY: u64 = 20;

/// A command that goes well on every machine, and after which the state is as large as before.
const HARMLESS: &str = "shares put 1";

/// What one replica of each pair has in its environment, and the other has not.
const DECIMAL: &str = "PRICES_DECIMAL=,";

/// A pair of replicas, and a client of theirs.
struct Stage {
    scene: Scene,
    program: PathBuf,
    pair: Pair,
    client: Client,
}

impl Stage {
    fn start(title: &str) -> Self {
        let program = example("broken");
        let launcher = ["env", DECIMAL].map(str::to_owned).to_vec();
        let placement = Placement {
            launcher,
            ..Placement::default()
        };
        let config = ClusterConfig {
            lease: LEASE,
            durability: Durability::Os,
            machine: "broken".to_owned(),
            serves_http: true,
            replica_arguments: ["--snapshot-every", &EVERY.to_string()]
                .map(str::to_owned)
                .to_vec(),
            placements: [("b".to_owned(), placement)].into(),
            ..ClusterConfig::new(&program)
        };
        let mut scene = Scene::with(title, config);
        sure(scene.start_all(&["a", "b"]));
        let pair = scene.until_pair();
        let config = ClientConfig { timeout: PATIENCE };
        let client = sure(Client::new(sure(scene.view_services()), config));
        Self {
            scene,
            program,
            pair,
            client,
        }
    }

    /// Has a command executed; its entry and its reply.
    fn command(&mut self, words: &str) -> (u64, String) {
        let answer = sure(self.client.command(words.as_bytes()));
        let reply = String::from_utf8(answer.bytes);
        (answer.seen.index.0, sure(reply))
    }

    /// Has harmless commands executed, one after the other, until something is there to be seen.
    #[track_caller]
    fn pass_until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let end = standin_io::clock::boot().plus(PATIENCE);
        loop {
            self.command(HARMLESS);
            if let Some(seen) = look(self) {
                return seen;
            }
            let is_late = standin_io::clock::boot() >= end;
            assert!(!is_late, "waited in vain for {what}");
        }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.scene.directory().join(name)
    }

    /// The entries of which a replica has a snapshot.
    fn snapshots(&self, name: &str) -> BTreeSet<u64> {
        let files = fs::read_dir(self.dir(name).join("snapshots"));
        let files = files.into_iter().flatten().flatten();
        let index = |file: fs::DirEntry| {
            let name = file.file_name();
            let digits = name.to_str()?.strip_suffix(".snap")?;
            digits.parse().ok()
        };
        files.filter_map(index).collect()
    }

    /// Those of which both have one.
    fn common_snapshots(&self) -> BTreeSet<u64> {
        &self.snapshots("a") & &self.snapshots("b")
    }

    /// Runs a command of the program, with one more variable in its environment.
    fn run(&self, arguments: &[&str], variable: Option<(&str, &str)>) -> Ran {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STANDIN_") {
                command.env_remove(name);
            }
        }
        let begun = standin_io::clock::boot();
        let output = command
            .args(arguments)
            .envs(variable)
            .stdin(Stdio::null())
            .output();
        let output = sure(output);
        Ran {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: standin_io::clock::boot().since(begun),
        }
    }

    fn diff(&self, variable: Option<(&str, &str)>) -> Value {
        let [a, b] = ["a", "b"].map(|name| self.dir(name).display().to_string());
        let ran = self.run(&["replay", "--diff", &a, &b, "--json"], variable);
        assert_eq!(ran.stderr, "");
        let told: Value = sure(serde_json::from_str(&ran.stdout));
        let expected = if told["same"] == true { 0 } else { 1 };
        assert_eq!(ran.status, Some(expected), "{told}");
        told
    }

    /// What people see of it, once the primary has dropped the backup: in the status, in its JSON, in both logs and in the
    /// primary's metrics.
    fn until_told(&mut self, what: &str) {
        let Pair {
            primary, backup, ..
        } = self.pair.clone();
        let [own, other] = [&primary, &backup].map(|name| self.dir(name).display().to_string());
        let commands = [
            format!("`broken replay --diff {own} DIR_OF_{backup}`"),
            format!("`broken replay {own} --verify`"),
        ];
        let (is_alone, told) = (format!("{primary} alone"), what.to_owned());
        let words = commands.clone();
        self.scene.until_status(&is_alone, |status| {
            let record = status.record.as_ref()?;
            let trouble = |name: &str| replica(status, name)?.trouble.clone();
            let first = trouble(&primary)?;
            let second = trouble(&backup)?;
            let is_told = first.contains(&told) && words.iter().all(|words| first.contains(words));
            let is_told_too = second.contains("replies to the same entries differed")
                && second.contains(&format!("`broken replay --diff {other} DIR_OF_PRIMARY`"));
            (record.backup.is_none() && is_told && is_told_too).then_some(())
        });
        let shown = self.scene.cli(&["status"]).stdout;
        assert!(shown.contains(&commands[0]), "{shown}");
        let json = self.scene.cli(&["status", "--json"]).stdout;
        assert!(json.contains(&commands[0]), "{json}");
        let metrics = sure(self.scene.http_address(&primary));
        let parted = format!("standin_parted{{replica=\"{backup}\"}}");
        assert_eq!(metric(metrics, &parted), Some(1.0));
        assert!(metric(metrics, "standin_partings_total") >= Some(1.0));
        for name in [&primary, &backup] {
            let log = sure(fs::read_to_string(self.scene.log_path(name)));
            assert!(log.contains("broken replay --diff"), "{name}: {log}");
        }
        for name in ["a", "b"] {
            let dir = self.dir(name).join("evidence");
            self.scene
                .until("evidence", |_| has_file(&dir).then_some(()));
        }
    }
}

fn has_file(dir: &Path) -> bool {
    let mut files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.any(|file| file.file_name().to_string_lossy().ends_with(".evidence"))
}

/// The commands that go before the bug, so that there is something to go wrong.
const BEFORE: [(&str, &[&str]); 5] = [
    (
        "votes",
        &[
            "votes for ann",
            "votes for bob",
            "votes for cid",
            "votes for dan",
            "votes for eve",
            "votes for flo",
            "votes for gus",
            "votes for hal",
            "votes for ida",
            "votes for jon",
        ],
    ),
    ("visits", &["visits note ann", "visits note bob"]),
    ("shares", &["shares put 100"]),
    ("prices", &["prices add 250", "prices add 125"]),
    ("seats", &["seats take ann", "seats take bob"]),
];

/// Begins with what goes well, until both have a snapshot of the same entry.
fn begin(machine: &str) -> Stage {
    let mut stage = Stage::start(&format!("a broken machine: {machine}"));
    let before = BEFORE.iter().find(|(name, _)| *name == machine);
    let (_, before) = before.expect("it has some");
    for words in *before {
        stage.command(words);
    }
    stage.pass_until("a snapshot of both", |stage| {
        (!stage.common_snapshots().is_empty()).then_some(())
    });
    stage
}

/// A bug that shows in a reply: the next acknowledgement shows it.
fn shows_in_the_reply(machine: &str, bug: &str) {
    let mut stage = begin(machine);
    let (index, answered) = stage.command(bug);
    stage.until_told("other replies up to entry");
    let told = stage.diff(None);
    tell(format_args!("{told:#}"));
    assert_eq!(told["index"], index, "{told}");
    assert_eq!(
        (told["what"].as_str(), told["by"].as_str()),
        (Some("reply"), Some("replies"))
    );
    assert_eq!(told["entries"][0]["input"], bug);
    let primary = usize::from(stage.pair.primary == "b");
    let replies = [&told["replies"][primary], &told["replies"][1 - primary]];
    assert_eq!(*replies[0], answered, "what its client was told");
    assert_ne!(replies[0], replies[1]);

    // The service goes on, over many snapshots, and nothing that shows it goes.
    stage.go_on();
    let later = stage.diff(None);
    assert_eq!(later["index"], index, "{later}");
    stage.until_told("other replies up to entry");
    // Also when nobody runs.
    sure(stage.scene.kill("a"));
    sure(stage.scene.kill("b"));
    let later = stage.diff(None);
    assert_eq!(
        (&later["index"], &later["replies"]),
        (&told["index"], &told["replies"])
    );
    let [a, b] = ["a", "b"].map(|name| stage.dir(name).display().to_string());
    let text = stage.run(&["replay", "--diff", &a, &b], None);
    tell(&text.stdout);
    assert_eq!(text.status, Some(1));
    assert!(
        text.stdout
            .starts_with(&format!("different: a reply, from entry {index} on\n"))
    );
    assert!(text.stdout.contains(&answered), "{}", text.stdout);
    if machine == "visits" {
        // No replay comes to the same clock again: one log, with what its replica remembered, is enough.
        let ran = stage.run(&["replay", &a, "--verify"], None);
        assert_eq!(ran.status, Some(1), "{ran:?}");
        let words = format!("the first entry that differs is {index}, and `broken replay --diff");
        assert!(ran.stderr.contains(&words), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("the machine is not deterministic"),
            "{}",
            ran.stderr
        );
    }
}

impl Stage {
    /// Has commands executed until the primary has taken several more snapshots. What it had stays.
    fn go_on(&mut self) {
        let primary = self.pair.primary.clone();
        let before = self.snapshots(&primary);
        let newest = before.last().copied().unwrap_or_default();
        self.pass_until("more snapshots", |stage| {
            let newest_now = stage.snapshots(&primary).last().copied()?;
            (newest_now >= newest + 3 * EVERY).then_some(())
        });
        let gone = &before - &self.snapshots(&primary);
        assert!(gone.is_empty(), "{gone:?}");
    }
}

/// A bug that shows in the state alone: the next snapshot of both shows it. The entry, and that of the snapshot.
fn shows_in_the_state(machine: &str, bug: &str) -> (Stage, u64, u64) {
    let mut stage = begin(machine);
    let (index, answered) = stage.command(bug);
    assert_eq!(answered, "done");
    let primary = stage.pair.primary.clone();
    let words = "another state after entry ";
    let found: u64 = stage.pass_until("people to be told", |stage| {
        let status = stage.scene.status().ok()?;
        let trouble = replica(&status, &primary)?.trouble.clone()?;
        let (_, rest) = trouble.split_once(words)?;
        rest.split(' ').next()?.parse().ok()
    });
    stage.until_told(&format!("{words}{found}"));
    assert!(found >= index && found.is_multiple_of(EVERY), "{found}");
    let mut after = stage
        .common_snapshots()
        .into_iter()
        .filter(|it| *it >= index);
    assert_eq!(after.next(), Some(found), "the first that both took");
    (stage, index, found)
}

fn state_is_found(machine: &str, bug: &str) {
    let (mut stage, index, _) = shows_in_the_state(machine, bug);
    let told = stage.diff(None);
    tell(format_args!("{told:#}"));
    assert_eq!(told["index"], index, "{told}");
    assert_eq!(
        (told["what"].as_str(), told["by"].as_str()),
        (Some("state"), Some("replays"))
    );
    assert_eq!(told["entries"][0]["input"], bug);
    let parts = told["parts"].as_array().expect("the machine tells them");
    assert_eq!(parts.len(), 1, "{told}");
    let name = parts[0]["name"].as_str().expect("a name");
    assert!(name.starts_with(machine), "{name}");
    assert_eq!(told["unlike_through"], index, "{told}");
    let [a, b] = ["a", "b"].map(|name| stage.dir(name).display().to_string());
    let text = stage.run(&["replay", "--diff", &a, &b], None).stdout;
    let words = format!("which differ among themselves from entry {index} on: the machine is not");
    assert!(text.contains(&words), "{text}");
    assert!(!text.contains("went another way"), "{text}");
    stage.go_on();
    let later = stage.diff(None);
    assert_eq!(later["index"], index, "{later}");
}

#[test]
fn the_order_of_a_hash_map_in_a_reply() {
    shows_in_the_reply("votes", "votes ranking");
}

#[test]
fn the_order_of_a_hash_map_in_the_state() {
    state_is_found("votes", "votes close");
}

#[test]
fn the_wall_clock_in_a_reply() {
    shows_in_the_reply("visits", "visits stamp");
}

#[test]
fn the_wall_clock_in_the_state() {
    state_is_found("visits", "visits open");
}

#[test]
fn a_race_between_threads_in_a_reply() {
    shows_in_the_reply("shares", "shares split");
}

#[test]
fn a_race_between_threads_in_the_state() {
    state_is_found("shares", "shares settle");
}

#[test]
fn an_address_in_a_reply() {
    shows_in_the_reply("seats", "seats find");
}

#[test]
fn an_address_in_the_state() {
    state_is_found("seats", "seats sort");
}

#[test]
fn a_setting_of_one_machine_in_a_reply_which_no_replay_shows() {
    shows_in_the_reply("prices", "prices total");
}

#[test]
fn a_setting_of_one_machine_in_the_state_is_found_in_that_machines_environment() {
    let (stage, index, found) = shows_in_the_state("prices", "prices print");
    // Here replays do not differ: what is known is between which snapshots, what parted, and who was it.
    let told = stage.diff(None);
    tell(format_args!("{told:#}"));
    assert_eq!(told["index"], Value::Null, "{told}");
    assert!(
        told["after"].as_u64().is_some_and(|after| after < index),
        "{told}"
    );
    assert_eq!(told["through"], found);
    assert_eq!(
        (told["what"].as_str(), told["by"].as_str()),
        (Some("state"), Some("snapshots"))
    );
    assert_eq!(
        told["confirmed"],
        serde_json::json!([true, false]),
        "{told}"
    );
    assert_eq!(told["parts_of"], "directories");
    assert_eq!(told["parts"][0]["name"], "prices printed");
    assert_eq!(
        told["parts"][0]["values"],
        serde_json::json!(["3.75", "3,75"])
    );
    let [a, b] = ["a", "b"].map(|name| stage.dir(name).display().to_string());
    let text = stage.run(&["replay", "--diff", &a, &b], None);
    tell(&text.stdout);
    let words = format!("they come to what {a} recorded, so it was {b} that went another way");
    assert!(text.stdout.contains(&words), "{}", text.stdout);

    let told = stage.diff(Some(("PRICES_DECIMAL", ",")));
    assert_eq!(
        (&told["index"], told["by"].as_str()),
        (&index.into(), Some("replays")),
        "{told}"
    );
    assert_eq!(told["confirmed"], serde_json::json!([true, true]));
}

#[test]
fn two_that_are_the_same_are_said_to_be() {
    let mut stage = begin("votes");
    stage.scene.until_agreement();
    let told = stage.diff(None);
    assert_eq!(
        (&told["same"], &told["index"]),
        (&true.into(), &Value::Null),
        "{told}"
    );
    assert!(told["compared"].as_u64() >= Some(1), "{told}");
    let [a, b] = ["a", "b"].map(|name| stage.dir(name).display().to_string());
    let text = stage.run(&["replay", "--diff", &a, &b], None);
    tell(&text.stdout);
    assert_eq!(
        (text.status, text.stdout.starts_with("the same: ")),
        (Some(0), true)
    );
    for (arguments, words) in [
        (&["replay", "--diff", &a][..], "OTHER_DIR"),
        (&["replay", &a, &b], "--diff"),
        (&["replay", "--diff", &a, &b, "--verify"], "--verify"),
    ] {
        let ran = stage.run(arguments, None);
        assert_eq!(ran.status, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}

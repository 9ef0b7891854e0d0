//! A program with a machine of its own has the whole command line for it: `examples/visits.rs` and its like.

use std::process::Command;

use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_tools::cluster::ClusterConfig;

use crate::support::scene::Scene;
use crate::support::{example, sure};

const LEASE: Duration = Duration::from_secs(10);

/// What the example of this name prints on standard output and on standard error, and its exit status.
fn run_to_end(name: &str, arguments: &[&str]) -> (String, String, Option<i32>) {
    let ended = sure(Command::new(example(name)).args(arguments).output());
    let [out, err] =
        [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (out, err, ended.status.code())
}

/// What the example of this name prints on standard output, and its exit status.
fn run(name: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let (out, _, status) = run_to_end(name, arguments);
    (out, status)
}

/// Pulls a plug on the example of this name: all that was answered is found in the log.
fn is_clean(name: &str) {
    let (story, status) = run(name, &["demo", "--plugs", "1", "--json"]);
    let line = story.lines().last().unwrap_or_default();
    assert_eq!(status, Some(0), "{story}");
    let json: serde_json::Value = sure(serde_json::from_str(line));
    assert_eq!(json["lost"], 0, "{line}");
    assert_eq!(json["executed_twice"], 0, "{line}");
    assert_eq!(json["replicas_agree"], true, "{line}");
    assert_eq!(json["acknowledged"], json["value"], "{line}");
    assert!(json["value"].as_u64() > Some(0), "{line}");
}

#[test]
fn the_demo_of_a_counter_with_a_timer_is_clean() {
    is_clean("visits");
}

#[test]
fn the_demo_of_an_order_book_is_clean() {
    is_clean("orders");
}

#[test]
fn the_demo_of_a_job_queue_is_clean() {
    is_clean("jobs");
}

#[test]
fn the_simulator_runs_it_and_says_how_a_failure_comes_back() {
    let (said, status) = run("jobs", &["simulate", "--seeds", "20"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.starts_with("20 seeds, 0 failed"), "{said}");
}

#[test]
fn the_simulator_ends_with_the_failures_of_a_broken_machine_and_says_how_they_come_back() {
    let (said, _, status) = run_to_end("broken", &["simulate", "--seeds", "300"]);
    assert_eq!(status, Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    let words = "these were enough, and the others of the 300 that were asked for were not run";
    assert!(last.contains(words), "{said}");
    let (count, rest) = last.split_once(" of ").expect("it counts them");
    let count: usize = sure(count.parse());
    let (runs, _) = rest.split_once(" seed").expect("and the others");
    let runs: usize = sure(runs.parse());
    assert!((10..100).contains(&count) && runs >= count, "{last}");
    let first = format!("{runs} seeds, {count} failed");
    assert!(said.starts_with(&first), "{said}");
    let told = |it: &&str| it.starts_with("seed ") && it.contains(" breaks ");
    assert_eq!(said.lines().filter(told).count(), 3, "{said}");
    let repeats = said.matches("\n  broken simulate --seed ").count();
    assert_eq!(repeats, 3, "{said}");
    let more = said
        .lines()
        .find_map(|it| it.strip_prefix("and likewise with --seed "));
    let more = more.unwrap_or_default().split(", ").count();
    assert_eq!(more, count - 3, "{said}");
    let demand = "breaks S10 (the same entries lead to the same replies and the same state) at";
    assert!(said.contains(demand), "{said}");
}

#[test]
fn the_demo_of_a_broken_machine_says_how_the_entry_is_found() {
    let (_, said, status) = run_to_end("broken", &["demo", "--plugs", "1"]);
    assert_eq!(status, Some(1), "{said}");
    let begins = "broken: the demo could not go on: the replicas have parted: ";
    let first = said.lines().next().unwrap_or_default();
    assert!(first.starts_with(begins) && first.len() < 300, "{said}");
    assert!(said.contains("\n  run it with --keep DIR"), "{said}");
    assert!(said.contains("\n  `broken replay --diff DIR/"), "{said}");
    let gone = std::env::temp_dir().join("standin-");
    assert!(!said.contains(&gone.display().to_string()), "{said}");

    let root = sure(tempfile::tempdir());
    let kept = root.path().join("kept");
    let kept = kept.to_str().expect("a path of plain characters");
    let (_, said, status) = run_to_end("broken", &["demo", "--plugs", "1", "--keep", kept]);
    assert_eq!(status, Some(1), "{said}");
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("  `broken "));
    let line = line.and_then(|line| line.strip_suffix("` finds the entry"));
    let words: Vec<&str> = line.unwrap_or_default().split(' ').collect();
    assert_eq!(words.len(), 4, "{said}");
    assert!(words[2] != words[3] && words[3].starts_with(kept), "{said}");
    // It is up to the bug whether a replay shows it; what is printed works as it is.
    let (compared, failed, _) = run_to_end("broken", &words);
    assert!(!compared.is_empty() && failed.is_empty(), "{failed}");
}

#[test]
fn help_is_that_of_the_program_and_names_no_other_machine() {
    for verb in ["demo", "replica", "client", "replay", "simulate", "status"] {
        let (help, status) = run("visits", &[verb, "--help"]);
        assert_eq!(status, Some(0), "{verb}");
        assert!(help.contains(&format!("\n  visits {verb}")), "{help}");
        let examples = help.split("Example").nth(1).unwrap_or_default();
        assert!(!examples.contains("standin "), "{help}");
        for other in ["counter", "kv", "gateway", "Redis"] {
            assert!(!help.contains(other), "{verb} tells of {other}: {help}");
        }
    }
    let (help, _) = run("visits", &["replica", "--help"]);
    assert!(help.contains("[default: visits]"), "{help}");
    let (help, _) = run("visits", &["--help"]);
    assert!(!help.contains("gateway"), "{help}");
}

#[test]
fn commands_and_queries_are_given_in_words_and_found_again_in_the_log() {
    let config = ClusterConfig {
        lease: LEASE,
        durability: Durability::Os,
        machine: "visits".to_owned(),
        replica_arguments: vec!["--keep-log".to_owned()],
        ..ClusterConfig::new(example("visits"))
    };
    let mut scene = Scene::with("a machine of one's own", config);
    sure(scene.start_all(&["a", "b"]));
    scene.until_pair();
    let client = |words: &[&str]| {
        let services = sure(scene.view_services()).as_slice().join(",");
        let mut all = vec![
            "client",
            "--viewservice",
            services.as_str(),
            "--timeout",
            "60s",
        ];
        all.extend(words);
        let ended = sure(Command::new(example("visits")).args(all).output());
        let said = [ended.stdout, ended.stderr].concat();
        (
            String::from_utf8_lossy(&said).into_owned(),
            ended.status.code(),
        )
    };
    assert_eq!(client(&["command", "Add(2)"]), ("2\n".to_owned(), Some(0)));
    assert_eq!(
        client(&["command", "Add(40)"]),
        ("42\n".to_owned(), Some(0))
    );
    assert_eq!(client(&["query", "()"]), ("42\n".to_owned(), Some(0)));
    for (words, why) in [
        (
            ["command", "Add(-1)"],
            "the machine visits has no command 'Add(-1)': 1:",
        ),
        (["command", "Subtract(1)"], "Subtract"),
        (
            ["query", "Count"],
            "the machine visits has no query 'Count'",
        ),
    ] {
        let (said, status) = client(&words);
        assert!(said.starts_with("visits: ") && said.contains(why), "{said}");
        assert_eq!((said.lines().count(), status), (1, Some(2)), "{said}");
    }
    let dir = scene.directory().join("a");
    let dir = dir.to_str().expect("a path of plain characters");
    let (log, status) = run("visits", &["log", dir]);
    assert_eq!(status, Some(0), "{log}");
    assert!(
        log.contains(" Add(2)\n") && log.contains(" Add(40)\n"),
        "{log}"
    );
    let first = log.lines().find(|line| line.ends_with(" Add(2)"));
    let first = first.and_then(|line| line.split_whitespace().next());
    let first = first.expect("the line begins with the index");
    let (said, status) = run(
        "visits",
        &["replay", dir, "--until", first, "--query", "()"],
    );
    assert_eq!(
        (said.lines().last(), status),
        (Some("2"), Some(0)),
        "{said}"
    );
}

/// The lines of a program that do something.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//"))
}

#[test]
fn the_program_in_the_readme_is_the_example() {
    let readme = include_str!("../../README.md");
    let shown = readme.split("```rust\n").nth(1);
    let shown = shown.and_then(|rest| rest.split("```").next());
    let mut example = code(include_str!("../../examples/visits.rs"));
    let mut count = 0;
    for line in code(shown.expect("the README shows a machine")) {
        assert!(
            example.any(|it| it == line),
            "not in the example, or not there: {line}"
        );
        count += 1;
    }
    assert!(count > 40, "{count} lines");
}

//! `standin demo` as a process: what it says, and what it leaves behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standin_io::signals::is_ignored;

/// Far longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much longer than a lease a client may wait on a machine with much else to do. What is promised
/// is far less, and `.ci/takeovers` looks at that.
const LATE_MS_MAX: u64 = 4000;

fn demo(directory: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_standin"))
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Whether a process runs whose arguments name `directory`.
fn is_in_use(directory: &Path) -> bool {
    let wanted = directory.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|arguments| String::from_utf8_lossy(&arguments).contains(wanted))
}

fn wait_until_unused(directory: &Path) {
    let end = Instant::now() + PATIENCE;
    while is_in_use(directory) {
        assert!(Instant::now() < end, "a process was left behind");
        thread::yield_now();
    }
}

/// Waits for the first plug to be pulled, then sends a signal; the exit status.
fn interrupt(child: &mut Child, directory: &Path, signal: Signal) -> Option<i32> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pulled = lines
        .by_ref()
        .flatten()
        .find(|line| line.contains("PLUG 1"));
    assert!(pulled.is_some(), "no plug was pulled");
    assert!(is_in_use(directory), "its processes are not seen");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    lines.for_each(drop);
    child.wait().unwrap().code()
}

#[test]
fn the_audit_of_a_counter_finds_nothing_lost_and_nothing_is_left_behind() {
    let story = is_clean(&["--plugs", "2", "--clients", "4", "--json"]);
    assert!(story.contains("(primary)"), "{story}");
}

#[test]
fn the_audit_of_a_database_finds_nothing_lost_and_nothing_is_left_behind() {
    let kv = [
        "--machine",
        "kv",
        "--plugs",
        "2",
        "--clients",
        "4",
        "--json",
    ];
    let story = is_clean(&kv);
    assert!(story.contains("each of 8 numbers"), "{story}");
}

/// Runs a demo with two plugs, which must end well; returns its story.
fn is_clean(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let child = demo(directory.path(), arguments);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["plugs"], &last["lost"]),
        (&2.into(), &0.into()),
        "{last}"
    );
    assert_eq!(last["executed_twice"], 0, "{last}");
    assert_eq!(last["replicas_agree"], true, "{last}");
    assert_eq!(last["value"], last["acknowledged"], "{last}");
    assert!(last["value"].as_u64().unwrap() > 0, "{last}");
    let gaps = last["gaps_ms"].as_array().unwrap();
    assert_eq!(gaps.len(), 2, "{last}");
    let gap_ms_max = last["lease_ms"].as_u64().unwrap() + LATE_MS_MAX;
    for gap in gaps {
        assert!(gap.as_u64().unwrap() < gap_ms_max, "{last}");
    }
    assert_eq!(last["digest"].as_str().unwrap().len(), 32, "{last}");
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        0,
        "files were left behind"
    );
    assert!(!is_in_use(directory.path()), "a process was left behind");
    text
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    // SIGHUP comes when the terminal is closed.
    for (signal, status) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ] {
        // As where `nohup` started the tests: what they start ignores it, too.
        if is_ignored(signal).unwrap() {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut child = demo(directory.path(), &["--plugs", "50"]);
        assert_eq!(
            interrupt(&mut child, directory.path(), signal),
            Some(status)
        );
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            0,
            "files were left behind"
        );
        assert!(!is_in_use(directory.path()), "a process was left behind");
    }
}

#[test]
fn a_killed_demo_takes_its_processes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = demo(directory.path(), &["--plugs", "50"]);
    assert_eq!(
        interrupt(&mut child, directory.path(), Signal::SIGKILL),
        None
    );
    wait_until_unused(directory.path());
}

#[test]
fn an_outcome_that_cannot_be_written_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let output = Command::new(env!("CARGO_BIN_EXE_standin"))
        .args(["demo", "--plugs", "1", "--json"])
        .env("TMPDIR", directory.path())
        .stdout(full.unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("No space left"), "{error}");
}

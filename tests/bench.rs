//! `standin bench`, with real processes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standin_io::signals::is_ignored;

/// Far longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn bench(arguments: &[&str]) -> Output {
    command(arguments)
        .output()
        .expect("the binary was built for this test")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standin"));
    command.arg("bench").args(arguments);
    // Flags may also be given as environment variables, and these tests mean their own.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("STANDIN_") {
            command.env_remove(variable);
        }
    }
    command
}

/// A child of the process `parent` that was started with the word `verb`.
fn child_of(parent: u32, verb: &str) -> Option<Pid> {
    let is_it = |directory: &Path| {
        let status = fs::read_to_string(directory.join("status")).unwrap_or_default();
        let line = fs::read_to_string(directory.join("cmdline")).unwrap_or_default();
        let is_child = status.contains(&format!("\nPPid:\t{parent}\n"));
        is_child && line.split('\0').nth(1) == Some(verb)
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let found = processes.map(|entry| entry.path()).find(|path| is_it(path));
    Some(Pid::from_raw(
        found?.file_name()?.to_str()?.parse().unwrap(),
    ))
}

/// Looks again and again until there is something to see; kills the benchmark if there never is.
fn until<T>(bench: &mut Child, what: &str, mut look: impl FnMut(&mut Child) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look(bench) {
            return seen;
        }
        if Instant::now() >= end {
            bench.kill().unwrap();
            panic!("waited in vain for {what}");
        }
        thread::yield_now();
    }
}

#[test]
fn an_interrupt_ends_it_whatever_it_waits_for_and_leaves_nothing_behind() {
    for (hangs, signal) in [
        ("relay-echo", Signal::SIGINT),
        ("viewservice", Signal::SIGTERM),
        ("viewservice", Signal::SIGHUP),
    ] {
        // As where `nohup` started the tests: what they start ignores it, too.
        if is_ignored(signal).unwrap() {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let drawing = directory.path().join("drawing.svg");
        let mut bench = command(&["--against", "relay", "--plot"])
            .arg(drawing)
            .env("TMPDIR", directory.path())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("err")).unwrap())
            .spawn()
            .unwrap();
        let id = bench.id();
        let service = until(&mut bench, hangs, |_| child_of(id, hangs));
        // Frozen as it starts, or a little later: it is waited for either way.
        kill(service, Signal::SIGSTOP).unwrap();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
        let status = until(&mut bench, "the end", |bench| bench.try_wait().unwrap());
        let error = fs::read_to_string(directory.path().join("err")).unwrap();
        assert_eq!(
            status.code(),
            Some(1),
            "{hangs}, {signal}: {status} {error}"
        );
        assert!(error.contains("interrupted"), "{hangs}, {signal}: {error}");
        let left = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 1, "{hangs}, {signal}: files were left behind");
        assert!(kill(service, None).is_err(), "{hangs} was left behind");
    }
}

#[test]
fn figures_that_cannot_be_written_are_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let short = ["--connections", "1", "--seconds", "1", "--rounds", "1"];
    let output = command(&short)
        .stdout(full.unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("No space left"), "{error}");
}

#[test]
fn standin_and_the_relay_are_measured_in_one_run() {
    let arguments = [
        "--against",
        "relay",
        "--connections",
        "3",
        "--depth",
        "4",
        "--seconds",
        "1",
        "--rounds",
        "1",
        "--json",
    ];
    let output = bench(&arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let shape = &report["shapes"][0];
    assert_eq!(
        (&shape["connections"], &shape["depth"]),
        (&3.into(), &4.into())
    );
    for service in ["relay", "standin"] {
        let medians = &shape["medians"][service];
        assert!(medians["throughput"].as_f64().unwrap() > 0.0, "{text}");
        assert!(
            medians["p50_us"].as_u64() <= medians["p99_us"].as_u64(),
            "{text}"
        );
    }
    assert!(
        shape["ratios"][0]["median"].as_f64().unwrap() > 0.0,
        "{text}"
    );
}

/// Whether it is one element of XML: tags in pairs, values in quotes, and no signs in the text that mean something.
fn is_well_formed(text: &str) -> bool {
    let mut open = Vec::new();
    let mut elements = 0;
    let is_text = |text: &str| {
        let entities = ["lt;", "gt;", "amp;", "quot;", "apos;"];
        let mut after = text.split('&').skip(1);
        !text.contains('>') && after.all(|rest| entities.iter().any(|it| rest.starts_with(it)))
    };
    for piece in text.split('<').skip(1) {
        let Some((tag, text)) = piece.split_once('>') else {
            return false;
        };
        let is_outside = open.is_empty();
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else {
            elements += usize::from(is_outside);
            let words = tag.trim_end_matches('/');
            let (name, values) = words.split_once(' ').unwrap_or((words, ""));
            // What is outside of quotes ends with `=` each time, and nothing follows the last.
            let parts: Vec<&str> = values.split('"').collect();
            let (last, parts) = parts.split_last().unwrap();
            let mut pairs = parts.chunks(2);
            if !last.trim().is_empty()
                || !pairs.all(|pair| pair.len() == 2 && pair[0].ends_with('=') && is_text(pair[1]))
            {
                return false;
            }
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        if !is_text(text) || (open.is_empty() && !text.trim().is_empty()) {
            return false;
        }
    }
    open.is_empty() && elements == 1
}

#[test]
fn what_is_well_formed_is_told_from_what_is_not() {
    assert!(is_well_formed(
        "<a b=\"1\" c=\"&lt;\"><d/>text &amp; more</a>\n"
    ));
    for bad in [
        "",
        "text",
        "<a>",
        "<a></b>",
        "<a/><a/>",
        "<a>&</a>",
        "<a b=1/>",
        "<a b=\"1/>",
        "</a>",
        "<a/>text",
        "<a",
        "<a b=\"&\"/>",
    ] {
        assert!(!is_well_formed(bad), "{bad}");
    }
}

#[test]
fn what_was_measured_is_drawn_beside_the_figures() {
    let directory = tempfile::tempdir().unwrap();
    let drawing = directory.path().join("drawing.svg");
    let short = ["--connections", "2", "--depth", "2", "--seconds", "1"];
    let output = command(&short)
        .args(["--against", "relay", "--rounds", "1", "--json", "--plot"])
        .arg(&drawing)
        .env("TMPDIR", directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["shapes"].as_array().unwrap().len(), 1, "{report}");
    let svg = fs::read_to_string(&drawing).unwrap();
    assert!(svg.starts_with("<svg ") && is_well_formed(&svg), "{svg}");
    for words in [
        "(a) Throughput",
        "(b) Latency",
        "2 connections x 2 in flight",
        "(c) The primary",
        "plug pulled",
        "ms without an answer",
        "relay",
        "standin",
        "Durability of Standin: os",
    ] {
        assert!(svg.contains(words), "{words}: {svg}");
    }
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 1, "files were left behind beside the drawing");
}

#[test]
fn a_drawing_that_cannot_be_written_is_refused_before_anything_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("none").join("drawing.svg");
    for bad in [nowhere.as_path(), directory.path(), Path::new("/dev/null")] {
        let output = command(&["--plot"]).arg(bad).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert_eq!(
            (output.stdout.len(), error.lines().count()),
            (0, 1),
            "{error}"
        );
        let name = bad.to_str().unwrap();
        assert!(
            error.contains(name) && error.contains("name a file"),
            "{error}"
        );
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn redis_is_measured_as_it_is_installed_and_leaves_nothing_behind() {
    if std::env::var_os("STANDIN_WITHOUT_REDIS").is_some() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let short = ["--connections", "2", "--depth", "2", "--seconds", "1"];
    let output = command(&short)
        .args(["--against", "redis-wait,native", "--rounds", "1", "--json"])
        .env("TMPDIR", directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    for service in ["redis-wait", "native", "standin"] {
        let throughput = &report["shapes"][0]["medians"][service]["throughput"];
        assert!(throughput.as_f64().unwrap() > 0.0, "{text}");
    }
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 0, "files were left behind");
}

/// The report of a short run that must succeed and leave nothing behind.
#[track_caller]
fn report(arguments: &[&str]) -> serde_json::Value {
    let directory = tempfile::tempdir().unwrap();
    let short = ["--connections", "2", "--depth", "2", "--seconds", "1"];
    let output = command(&short)
        .args(["--rounds", "1", "--json"])
        .args(arguments)
        .env("TMPDIR", directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 0, "files were left behind");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_measured(report: &serde_json::Value, services: &[&str]) {
    let medians = report["shapes"][0]["medians"].as_object().unwrap();
    let mut measured: Vec<_> = medians.keys().map(String::as_str).collect();
    measured.sort_unstable();
    let mut expected = services.to_vec();
    expected.sort_unstable();
    assert_eq!(measured, expected);
    for (service, medians) in medians {
        assert!(medians["throughput"].as_f64().unwrap() > 0.0, "{service}");
    }
}

#[test]
fn reads_of_many_keys_are_measured_beside_idle_connections() {
    let services = ["relay", "relay-polling", "native", "lease", "standin"];
    let report = report(&[
        "--against=relay,relay-polling,native,lease",
        "--request=get",
        "--keys=1000",
        "--value-bytes=100",
        "--idle=100",
        "--busy-poll=50",
    ]);
    assert_measured(&report, &services);
    assert_eq!(
        (&report["request"], &report["keys"], &report["value_bytes"]),
        (&"get".into(), &1000.into(), &100.into())
    );
    let idle = report["idle"].as_array().unwrap();
    let names: Vec<_> = idle.iter().map(|idle| idle["service"].as_str()).collect();
    assert_eq!(names, services.map(Some));
    for service in idle {
        assert_eq!(service["connections"], 100);
        assert!(service["before_bytes"].as_u64().unwrap() > 0, "{service}");
        assert!(service["per_connection_bytes"].is_u64(), "{service}");
    }
}

#[test]
fn reads_over_the_native_protocol_are_measured_with_the_relay_beside() {
    let arguments = [
        "--protocol=native",
        "--request=get",
        "--against=relay,lease",
    ];
    assert_measured(&report(&arguments), &["relay", "lease", "standin"]);
}

#[test]
fn all_levels_of_durability_are_measured_in_one_run_with_the_disk_beside() {
    let report = report(&[
        "--against=standin-memory,standin-os,standin-disk,fdatasync",
        "--request=set",
        "--keys=3",
    ]);
    let levels = ["standin-memory", "standin-os", "standin-disk"];
    assert_measured(&report, &[&levels[..], &["fdatasync", "standin"]].concat());
}

#[test]
fn etcd_is_measured_as_it_is_installed_and_leaves_nothing_behind() {
    if std::env::var_os("STANDIN_WITHOUT_ETCD").is_some() {
        return;
    }
    // More keys than fit a transaction.
    let reads = ["--against=etcd", "--request=get", "--keys=300"];
    assert_measured(&report(&reads), &["etcd", "standin"]);
    let report = report(&["--against=etcd", "--idle=10"]);
    assert_measured(&report, &["etcd", "standin"]);
    assert_eq!(report["idle"][0]["service"], "etcd");
}

#[test]
fn without_etcd_it_says_what_to_install() {
    let output = command(&["--against", "etcd"]).env("PATH", "").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("apt-get install etcd-server"), "{error}");
}

#[test]
fn without_redis_it_says_what_to_install() {
    let output = command(&["--against", "redis"]).env("PATH", "").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("apt-get install redis-server"), "{error}");
}

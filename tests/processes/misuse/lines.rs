//! Command lines, variables and results: what a process says without a service.

use std::fs;
use std::io;
use std::path::Path;

use nix::sys::signal::Signal;
use standin_tools::cluster::{Cluster, ClusterConfig, PARENT_VARIABLE, VIEW_SERVICE};

use super::process::*;

const VIEW_SERVICE_LINE: &str = "viewservice --listen 127.0.0.1:0 --data unused";
const REPLICA_LINE: &str = "replica --name a --listen 127.0.0.1:0 --viewservice 127.0.0.1:1 \
                            --data unused --machine counter";
const CLIENT_LINE: &str = "client --viewservice 127.0.0.1:1";
const STATUS_LINE: &str = "status --viewservice 127.0.0.1:1";

/// Command lines without a meaning: what is typed, and what the one line must name.
const MEANINGLESS: [(&str, &[&str]); 32] = [
    ("", &["needs a command", "viewservice", "replica", "demo"]),
    ("frobnicate", &["'frobnicate'", "choose from", "replica"]),
    ("--frobnicate", &["'--frobnicate'", "--help"]),
    (
        "viewservice",
        &["--listen", "--data", "'standin viewservice --help'"],
    ),
    ("viewservice --listen 127.0.0.1:0", &["--data"]),
    (
        "viewservice --listen nonsense --data x",
        &["'nonsense'", "--listen", "HOST:PORT"],
    ),
    (
        "viewservice --listen 127.0.0.1 --data x",
        &["'127.0.0.1'", "HOST:PORT"],
    ),
    (
        "viewservice --listen 127.0.0.1:99999 --data x",
        &["'127.0.0.1:99999'", "HOST:PORT"],
    ),
    (
        "viewservice --listen :7000 --data x",
        &["':7000'", "HOST:PORT"],
    ),
    (
        "replica",
        &["--name", "--listen", "--viewservice", "--data", "--machine"],
    ),
    (
        "replica --name a --frob",
        &["'--frob'", "'standin replica --help'"],
    ),
    ("client counter get", &["--viewservice"]),
    (
        "client --viewservice 127.0.0.1 counter get",
        &["'127.0.0.1'", "HOST:PORT"],
    ),
    (
        "client --viewservice 127.0.0.1:99999 counter get",
        &["'127.0.0.1:99999'", "HOST:PORT"],
    ),
    (
        "client --viewservice 127.0.0.1:0 counter get",
        &["'127.0.0.1:0'", "HOST:PORT"],
    ),
    ("client --viewservice h:1, counter get", &["HOST:PORT"]),
    ("status", &["--viewservice", "'standin status --help'"]),
    (
        "status --viewservice nonsense",
        &["'nonsense'", "HOST:PORT"],
    ),
    ("demo --plugs 0", &["'0'", "--plugs", "1..=1000"]),
    (
        "demo --plugs many",
        &["'many'", "--plugs", "'standin demo --help'"],
    ),
    ("demo --clients 257", &["'257'", "--clients", "1..=256"]),
    ("demo --machine sql", &["'sql'", "counter, kv"]),
    (
        "demo --durability paper",
        &["'paper'", "memory, os and disk"],
    ),
    ("demo extra", &["'extra'"]),
    ("bench --connections 0", &["'0'", "--connections"]),
    (
        "bench --plot x.svg --rate 5",
        &["--plot", "--rate", "'standin bench --help'"],
    ),
    ("help", &["'help'", "'standin --help'"]),
    (
        "client --viewservice 127.0.0.1:1",
        &["'standin client' needs a command", "counter, kv"],
    ),
    (
        "client --viewservice 127.0.0.1:1 counter",
        &["needs a command", "add, get"],
    ),
    (
        "client --viewservice 127.0.0.1:1 counter multiply 2",
        &["'multiply'", "add, get"],
    ),
    (
        "client --viewservice 127.0.0.1:1 kv",
        &["needs a command", "get, set, del, incr"],
    ),
    (
        "client --viewservice 127.0.0.1:1 kv hset k f v",
        &["'hset'", "get, set, del, incr"],
    ),
];

/// Flags that make a meaningful line meaningless.
const MEANINGLESS_FLAGS: [(&str, &str, &[&str]); 31] = [
    (
        VIEW_SERVICE_LINE,
        "--lease 0ms",
        &["'0ms'", "--lease", "1ms"],
    ),
    (
        VIEW_SERVICE_LINE,
        "--lease 1h",
        &["'1h'", "--lease", "250ms or 2s"],
    ),
    (
        VIEW_SERVICE_LINE,
        "--lease 10ms",
        &["10ms", "--lease", "100ms"],
    ),
    (VIEW_SERVICE_LINE, "--lease 61s", &["61s", "--lease", "60s"]),
    (
        VIEW_SERVICE_LINE,
        "--lease 5000000s",
        &["'5000000s'", "3600s"],
    ),
    (
        VIEW_SERVICE_LINE,
        "--lease soon",
        &["'soon'", "250ms or 2s"],
    ),
    (
        VIEW_SERVICE_LINE,
        "--listen 127.0.0.1:1",
        &["--listen", "multiple times"],
    ),
    (
        REPLICA_LINE,
        "--durability paper",
        &["'paper'", "memory, os and disk"],
    ),
    (
        REPLICA_LINE,
        "--advertise nonsense",
        &["'nonsense'", "--advertise", "HOST:PORT"],
    ),
    (
        REPLICA_LINE,
        "--advertise 127.0.0.1:0",
        &["'127.0.0.1:0'", "--advertise"],
    ),
    (
        REPLICA_LINE,
        "--snapshot-every frob",
        &["'frob'", "--snapshot-every"],
    ),
    (
        REPLICA_LINE,
        "--busy-poll 10001",
        &["'10001'", "--busy-poll", "0..=10000"],
    ),
    (
        REPLICA_LINE,
        "--sessions-max 1000001",
        &["'1000001'", "--sessions-max", "1..=1000000"],
    ),
    (
        REPLICA_LINE,
        "--sessions-max 0",
        &["'0'", "--sessions-max", "1..=1000000"],
    ),
    (
        REPLICA_LINE,
        "--resp 127.0.0.1:0 --resp-reads stale",
        &["'stale'", "--resp-reads", "confirmed, lease"],
    ),
    (REPLICA_LINE, "extra", &["'extra'"]),
    (
        CLIENT_LINE,
        "--timeout 5 counter get",
        &["'5'", "--timeout", "250ms or 2s"],
    ),
    (
        CLIENT_LINE,
        "--timeout 0s counter get",
        &["'0s'", "--timeout", "1ms"],
    ),
    (CLIENT_LINE, "--timeout=-1s counter get", &["--timeout"]),
    (
        CLIENT_LINE,
        "queue get x",
        &["'queue'", "counter, kv", "'standin client --help'"],
    ),
    (CLIENT_LINE, "counter add one", &["'one'"]),
    (
        CLIENT_LINE,
        "counter add 9223372036854775808",
        &["'9223372036854775808'", "too large"],
    ),
    (
        CLIENT_LINE,
        "counter add -9223372036854775809",
        &["'-9223372036854775809'", "too small"],
    ),
    (CLIENT_LINE, "counter add 1.5", &["'1.5'"]),
    (CLIENT_LINE, "counter get 1", &["'1'"]),
    (CLIENT_LINE, "kv get a b", &["'b'"]),
    (CLIENT_LINE, "kv set a", &["<V>"]),
    (CLIENT_LINE, "kv incr a 1.5", &["'1.5'"]),
    (STATUS_LINE, "--expect backup", &["--name"]),
    (
        STATUS_LINE,
        "--name a --expect king",
        &["'king'", "primary, backup, spare"],
    ),
    (
        STATUS_LINE,
        "--name a --expect backup --json",
        &["--expect", "--json"],
    ),
];

#[test]
fn a_line_without_a_meaning_is_misuse_and_the_wrong_part_is_named() {
    for (line, words) in MEANINGLESS {
        goes_wrong(line, MISUSED, words);
    }
    for (line, flag, words) in MEANINGLESS_FLAGS {
        goes_wrong(&format!("{line} {flag}"), MISUSED, words);
    }
    for (name, words) in [("A", "'A'"), ("-", "'-'"), ("a.b", "'a.b'")] {
        let line = replica_line(name, NOBODY, "unused").replace("--name ", "--name=");
        goes_wrong(&line, MISUSED, &[words, "a-z"]);
    }
    for machine in ["KV", "sql", "Counter"] {
        let line = replica_line("a", NOBODY, "unused").replace("machine counter", "machine x");
        let line = line.replace("machine x", &format!("machine {machine}"));
        goes_wrong(&line, MISUSED, &[machine, "possible values: counter"]);
    }
    for viewservice in ["nonsense", "127.0.0.1", "127.0.0.1:99999", ",", "h:1,h"] {
        let line = replica_line("a", viewservice, "unused");
        goes_wrong(&line, MISUSED, &["--viewservice", "HOST:PORT"]);
    }
    assert!(
        !Path::new("unused").exists(),
        "a misused command makes no directory"
    );
}

#[test]
fn a_bad_environment_variable_is_misuse_and_a_good_one_counts() {
    let ended = start_with("status", &[("STANDIN_VIEWSERVICE", "nonsense")]).end();
    assert_eq!(ended.status, Some(MISUSED), "{ended:?}");
    is_one_line("status", &ended.err, &["'nonsense'", "HOST:PORT"]);
    let set = [("STANDIN_VIEWSERVICE", NOBODY), ("STANDIN_TIMEOUT", "10ms")];
    let ended = start_with("status", &set).end();
    assert_eq!(ended.status, Some(NOT_REACHED), "{ended:?}");
    is_one_line("status", &ended.err, &[NOBODY, "10ms"]);
}

#[test]
fn a_variable_that_says_no_is_as_good_as_none() {
    let status = format!("{STATUS_LINE} --timeout 10ms --name a --expect backup");
    for (variable, line) in [
        ("STANDIN_JSON", status.as_str()),
        ("STANDIN_WATCH", status.as_str()),
        ("STANDIN_JSON", "simulate --seeds 1"),
        ("STANDIN_SHRINK", "simulate --seeds 1"),
        ("STANDIN_JSON", "bench --against native --rate 5"),
        ("STANDIN_JSON", "demo --keep /proc/standin"),
        (
            "STANDIN_REPLACE",
            "replica --name a --listen 192.0.2.1:0 --viewservice h:1 --data /proc/x --machine counter",
        ),
        (
            "STANDIN_NO_PARENT",
            "replica --name a --listen 192.0.2.1:0 --viewservice h:1 --data /proc/x --machine counter",
        ),
    ] {
        let without = start(line).end();
        for no in ["0", "false", "no"] {
            let with = start_with(line, &[("RUST_LOG", "off"), (variable, no)]).end();
            assert_eq!(
                (with.status, with.out, with.err),
                (without.status, without.out.clone(), without.err.clone()),
                "{variable}={no} standin {line}"
            );
        }
    }
}

#[test]
fn a_parent_that_is_none_is_named_with_the_variable_that_names_it() {
    for parent in ["1x", "", "4194305"] {
        let ended = start_with("--version", &[(PARENT_VARIABLE, parent)]).end();
        assert_eq!(
            (ended.status, ended.out.as_str()),
            (Some(NO), ""),
            "{parent}"
        );
        let own = std::process::id().to_string();
        let quoted = format!("'{parent}'");
        is_one_line(
            "--version",
            &ended.err,
            &["unset STANDIN_DIE_WITH_PARENT", &quoted, &own],
        );
    }
}

#[test]
fn a_replica_that_takes_itself_for_a_child_and_is_none_says_which_variable_to_unset() {
    let own = std::process::id();
    let bad_pipe = format!("{own},987654");
    for (value, words) in [
        ("", "is ''"),
        ("1x,3", "is '1x,3'"),
        ("3", "is '3'"),
        ("4194305,3", "process 4194305"),
        (bad_pipe.as_str(), "/proc/self/fd/987654"),
    ] {
        let ended = start_with(REPLICA_LINE, &[("STANDIN_REPLICA_PARENT", value)]).end();
        assert_eq!(ended.status, Some(NO), "{ended:?}");
        is_one_line(REPLICA_LINE, &ended.err, &["STANDIN_REPLICA_PARENT", words]);
        assert!(!Path::new("unused").exists(), "nothing is touched");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_told_unless_its_reader_has_gone() {
    let config = ClusterConfig::new(STANDIN);
    let mut cluster = Cluster::new(config).unwrap();
    cluster.start_all(&["a"]).unwrap();
    let service = cluster.address(VIEW_SERVICE).unwrap();
    for line in [
        "--help",
        "--version",
        "client counter --help",
        &format!("client --viewservice {service} --timeout 20s counter add 1"),
        &format!("client --viewservice {service} --timeout 20s counter get"),
        &format!("status --viewservice {service}"),
        &format!("status --viewservice {service} --json"),
        &format!("status --viewservice {service} --watch"),
        &format!("status --viewservice {service} --watch --json"),
        "simulate --seeds 1",
        "simulate --seeds 1 --json",
        "simulate --seed 1 --shrink",
    ] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let ended = start_to(full.into(), line).end();
        assert_eq!(ended.status, Some(NO), "standin {line}: {ended:?}");
        let words = [
            "cannot write the result",
            "No space left",
            "where the output goes",
        ];
        is_one_line(line, &ended.err, &words);

        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let ended = start_to(writer.into(), line).end();
        assert_eq!(
            (ended.status, ended.err.as_str()),
            (Some(0), ""),
            "standin {line}"
        );
    }
}

#[test]
fn a_service_whose_ready_line_cannot_be_written_says_so_and_serves() {
    let (_dir, path) = scratch();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let line = viewservice_line("127.0.0.1:0", &path("vs"));
    let service = start_to(full.into(), &line);
    let address = until("a word about the line", || {
        let err = service.err();
        let (_, rest) = err.split_once("'ready viewservice ")?;
        Some(rest.split_once('\'')?.0.to_owned())
    });
    let status = start(&format!("status --viewservice {address}")).end();
    assert_eq!(status.status, Some(0), "{status:?}");
    service.signal(Signal::SIGTERM);
    let ended = service.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    is_one_line(
        &line,
        &ended.err,
        &["ready", "No space left", "where the output goes"],
    );
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands = [
        "demo",
        "viewservice",
        "replica",
        "client",
        "status",
        "bench",
    ];
    let verbs = [
        "client counter",
        "client counter add",
        "client counter get",
        "client kv",
        "client kv get",
        "client kv set",
        "client kv del",
        "client kv incr",
    ];
    for command in [""].iter().chain(&commands).chain(&verbs) {
        let ended = start(&format!("{command} --help")).end();
        assert_eq!(
            (ended.status, ended.err.as_str()),
            (Some(0), ""),
            "{command}"
        );
        let example = format!("Example:\n  standin {}", command.split(' ').next().unwrap());
        assert!(ended.out.contains(&example), "{command}: {}", ended.out);
        assert!(ended.out.contains("Usage: standin"), "{command}");
    }
    let all = start("--help").end().out;
    for command in commands {
        assert!(
            all.contains(&format!("\n  {command} ")),
            "no {command} in {all}"
        );
    }
    let version = start("--version").end();
    assert_eq!(version.status, Some(0));
    assert_eq!(
        version.out,
        concat!("standin ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

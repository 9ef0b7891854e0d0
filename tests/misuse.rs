//! What people type wrong: each misuse gets one clear line and the right exit status.
//!
//! Exit status 2: the command was misused. 1: it was done, and the answer is no. 3: the service could
//! not be reached in time. The logs are switched off here, so what stands on standard error is all
//! that a person is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standin_core::identity::{ReplicaName, StoreId};
use standin_core::machine::MachineId;
use standin_io::data_dir::DataDir;
use standin_io::signals::is_ignored;
use standin_tools::cluster::{Cluster, ClusterConfig, PARENT_VARIABLE, VIEW_SERVICE};

/// How long to wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long after its time limit a command may end, on a machine with much else to do.
const LATE_MAX: Duration = Duration::from_secs(5);

/// A port of the loopback address that nobody listens on: it is reserved for TCP port multiplexing.
const NOBODY: &str = "127.0.0.1:1";

const STANDIN: &str = env!("CARGO_BIN_EXE_standin");

const MISUSED: i32 = 2;
const NO: i32 = 1;
const NOT_REACHED: i32 = 3;

/// What a command that has ended leaves.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    out: String,
    err: String,
    took: Duration,
}

/// A running `standin`, killed when it is dropped.
struct Running {
    line: String,
    child: Child,
    begun: Instant,
    _dir: Option<tempfile::TempDir>,
    out: PathBuf,
    err: PathBuf,
}

/// Starts `standin` with a line of arguments, which have no spaces in them.
fn start(line: &str) -> Running {
    start_with(line, &[("RUST_LOG", "off")])
}

fn start_with(line: &str, variables: &[(&str, &str)]) -> Running {
    launch(Command::new(STANDIN), line, variables, None)
}

/// Starts `standin` with its standard output somewhere else than in a file of its own.
fn start_to(out: Stdio, line: &str) -> Running {
    launch(
        Command::new(STANDIN),
        line,
        &[("RUST_LOG", "off")],
        Some(out),
    )
}

fn launch(
    mut command: Command,
    line: &str,
    variables: &[(&str, &str)],
    to: Option<Stdio>,
) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let file = fs::File::create(&out).unwrap();
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STANDIN_") {
            command.env_remove(name);
        }
    }
    let begun = Instant::now();
    let child = command
        .args(line.split_whitespace())
        .env(PARENT_VARIABLE, std::process::id().to_string())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(to.unwrap_or_else(|| file.into()))
        .stderr(fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    Running {
        line: line.to_owned(),
        child,
        begun,
        _dir: Some(dir),
        out,
        err,
    }
}

impl Running {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    fn end(mut self) -> Ended {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Ended {
                    status: status.code(),
                    out: self.out(),
                    err: self.err(),
                    took: self.begun.elapsed(),
                };
            }
            assert!(
                asked.elapsed() < PATIENCE,
                "'standin {}' goes on: {:?} {:?}",
                self.line,
                self.out(),
                self.err()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until it says that it is ready, and returns the address that it listens on.
    #[track_caller]
    fn ready(&mut self) -> String {
        until("a ready line", || {
            assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.err());
            let out = self.out();
            let line = out.strip_suffix('\n')?.lines().last()?;
            Some(line.strip_prefix("ready ")?.rsplit(' ').next()?.to_owned())
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until there is something to see.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a line that goes wrong: it prints no result, and one line with all of `words`.
#[track_caller]
fn goes_wrong(line: &str, status: i32, words: &[&str]) -> Ended {
    let ended = start(line).end();
    assert_eq!(ended.status, Some(status), "standin {line}: {ended:?}");
    assert_eq!(ended.out, "", "standin {line}");
    is_one_line(line, &ended.err, words);
    ended
}

#[track_caller]
fn is_one_line(line: &str, err: &str, words: &[&str]) {
    let text = err.strip_suffix('\n').unwrap_or_default();
    let is_one = text.starts_with("standin: ") && !text.contains(['\n', '\r', '\x1b']);
    assert!(is_one, "standin {line}: not one line of ours: {err:?}");
    for word in words {
        assert!(text.contains(word), "standin {line}: no '{word}' in {text}");
    }
}

/// A directory for data, and the text of a path in it.
fn scratch() -> (tempfile::TempDir, impl Fn(&str) -> String) {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_owned();
    (dir, move |name: &str| text(&base.join(name)))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn viewservice_line(listen: &str, data: &str) -> String {
    format!("viewservice --listen {listen} --data {data}")
}

fn replica_line(name: &str, viewservice: &str, data: &str) -> String {
    format!(
        "replica --name {name} --listen 127.0.0.1:0 --viewservice {viewservice} --data {data} \
         --machine counter"
    )
}

const VIEW_SERVICE_LINE: &str = "viewservice --listen 127.0.0.1:0 --data unused";
const REPLICA_LINE: &str = "replica --name a --listen 127.0.0.1:0 --viewservice 127.0.0.1:1 \
                            --data unused --machine counter";
const CLIENT_LINE: &str = "client --viewservice 127.0.0.1:1";
const STATUS_LINE: &str = "status --viewservice 127.0.0.1:1";

/// Command lines without a meaning: what is typed, and what the one line must name.
const MEANINGLESS: [(&str, &[&str]); 29] = [
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
    ("demo --plugs many", &["'many'", "--plugs"]),
    ("demo --clients 257", &["'257'", "--clients", "1..=256"]),
    ("demo --machine kv", &["'kv'", "counter"]),
    (
        "demo --durability paper",
        &["'paper'", "memory, os and disk"],
    ),
    ("demo extra", &["'extra'"]),
    ("bench --connections 0", &["'0'", "--connections"]),
    ("help", &["'help'", "'standin --help'"]),
    (
        "client --viewservice 127.0.0.1:1",
        &["'standin client' needs a command", "counter"],
    ),
    (
        "client --viewservice 127.0.0.1:1 counter",
        &["needs a command", "add, get"],
    ),
    (
        "client --viewservice 127.0.0.1:1 counter multiply 2",
        &["'multiply'", "add, get"],
    ),
];

/// Flags that make a meaningful line meaningless.
const MEANINGLESS_FLAGS: [(&str, &str, &[&str]); 24] = [
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
        &["'--snapshot-every'"],
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
        "kv get x",
        &["'kv'", "counter", "'standin client --help'"],
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
    for machine in ["kv", "sql", "Counter"] {
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
        ("STANDIN_JSON", "bench --against redis"),
        ("STANDIN_JSON", "demo --keep /proc/standin"),
        (
            "STANDIN_REPLACE",
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
    let verbs = ["client counter", "client counter add", "client counter get"];
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

#[test]
fn a_service_that_is_not_there_is_reported_when_the_time_is_over() {
    // One that refuses connections, and one that takes them and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    for (address, verb) in [
        (NOBODY, "client counter add 1"),
        (NOBODY, "client counter get"),
        (NOBODY, "status"),
        (NOBODY, "status --name a --expect backup"),
        (&silent, "client counter add 1"),
        (&silent, "status"),
        ("name.invalid:7000", "status"),
    ] {
        let asked = Duration::from_millis(700);
        let (command, rest) = verb.split_once(' ').unwrap_or((verb, ""));
        let line = format!("{command} --viewservice {address} --timeout 700ms {rest}");
        let ended = goes_wrong(&line, NOT_REACHED, &[address, "700ms", "check"]);
        assert!(
            ended.took >= asked,
            "{line}: gave up after {:?}",
            ended.took
        );
        assert!(
            ended.took < asked + LATE_MAX,
            "{line}: took {:?}",
            ended.took
        );
        if verb.contains("add") {
            assert!(ended.err.contains("nothing was executed"), "{}", ended.err);
        }
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_refused_and_left_alone() {
    let (_dir, path) = scratch();
    fs::write(path("file"), b"text").unwrap();
    fs::create_dir(path("foreign")).unwrap();
    fs::write(path("foreign/photo.jpg"), b"photo").unwrap();
    let (file, foreign) = (path("file"), path("foreign"));
    let below = path("file/below");
    let unwritable = "/proc/standin-data";
    for (data, words) in [
        (file.as_str(), ["not a directory", "--data"]),
        (below.as_str(), ["not a directory", "--data"]),
        (foreign.as_str(), ["photo.jpg", "choose an empty --data"]),
        (unwritable, ["creating it", "choose another --data"]),
    ] {
        for line in [
            viewservice_line("127.0.0.1:0", data),
            replica_line("a", NOBODY, data),
        ] {
            goes_wrong(&line, NO, &[&[data], words.as_slice()].concat());
        }
    }
    let left: Vec<_> = fs::read_dir(&foreign).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::read(&file).unwrap(), b"text");

    // Ours, but another party's.
    let vs = path("vs");
    let mut service = start(&viewservice_line("127.0.0.1:0", &vs));
    let address = service.ready();
    let a = path("a");
    let mut replica = start(&replica_line("a", &address, &a));
    replica.ready();
    let pid = service.child.id().to_string();
    goes_wrong(
        &viewservice_line("127.0.0.1:0", &vs),
        NO,
        &[&vs, "holds it", &pid],
    );
    let pid = replica.child.id().to_string();
    goes_wrong(
        &replica_line("a", &address, &a),
        NO,
        &[&a, "holds it", &pid],
    );
    drop((service, replica));
    goes_wrong(
        &viewservice_line("127.0.0.1:0", &a),
        NO,
        &[&a, "not a view service's"],
    );
    goes_wrong(
        &replica_line("a", &address, &vs),
        NO,
        &[&vs, "choose an empty --data"],
    );
    let words = [a.as_str(), "belongs to replica a, not b", "--name a"];
    goes_wrong(&replica_line("b", &address, &a), NO, &words);
}

#[test]
fn a_replica_that_the_cluster_refuses_ends_and_says_what_to_do() {
    let (_dir, path) = scratch();
    let mut first = start(&viewservice_line("127.0.0.1:0", &path("first")));
    let mut second = start(&viewservice_line("127.0.0.1:0", &path("second")));
    let (first_address, second_address) = (first.ready(), second.ready());
    let mut replica = start(&replica_line("a", &first_address, &path("a")));
    replica.ready();
    until("the first view", || {
        let line = format!("status --viewservice {first_address} --name a --expect primary");
        (start(&line).end().status == Some(0)).then_some(())
    });

    // None of them says that it is ready before.
    let taken = replica_line("a", &first_address, &path("other"));
    goes_wrong(&taken, NO, &["name is taken", "--name", "--replace"]);

    drop(replica);
    let stray = replica_line("a", &second_address, &path("a"));
    let words = [second_address.as_str(), "another cluster", "--data"];
    goes_wrong(&stray, NO, &words);
}

#[test]
fn a_replica_that_is_given_a_replica_as_view_service_ends_and_says_so() {
    let (_dir, path) = scratch();
    let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
    let right = service.ready();
    let mut a = start(&replica_line("a", &right, &path("a")));
    let wrong = a.ready();
    let line = |view_service: &str| replica_line("b", view_service, &path("b"));
    let words = [wrong.as_str(), "is a replica", "--viewservice"];
    goes_wrong(&line(&wrong), NO, &words);
    // Its directory belongs to no cluster yet: a view service of another one takes it.
    let mut other = start(&viewservice_line("127.0.0.1:0", &path("other")));
    let right = other.ready();
    let mut c = start(&replica_line("c", &right, &path("c")));
    let wrong = c.ready();
    start(&line(&right)).ready();
    // Nor does it stay if it belongs to one.
    let words = [wrong.as_str(), "is a replica", "--viewservice"];
    goes_wrong(&line(&wrong), NO, &words);
}

#[test]
fn a_replica_that_was_accepted_outlives_whoever_is_taken_for_its_view_service() {
    let (_dir, path) = scratch();
    let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
    let address = service.ready();
    let debug = [("RUST_LOG", "debug")];
    let mut fellow = start_with(&replica_line("b", &address, &path("b")), &debug);
    let addresses = format!("{address},{}", fellow.ready());
    let line = replica_line("a", &addresses, &path("a"));
    let mut a = start_with(&line, &[("RUST_LOG", "info")]);
    a.ready();
    let mut other = start(&viewservice_line("127.0.0.1:0", &path("other")));
    let line = replica_line("x", &other.ready(), &path("x")).replace("127.0.0.1:0", &address);
    drop(service);

    // A replica of another cluster listens where the view service did, and one of its own where
    // it is told that another may be.
    let mut stray = start_with(&line, &debug);
    stray.ready();
    for (who, words) in [(&stray, "another cluster"), (&fellow, "connection from")] {
        until("a to come along", || {
            who.err().contains(words).then_some(())
        });
    }
    drop(stray);
    let mut service = start(&viewservice_line(&address, &path("vs")));
    service.ready();
    until("the replica to be back", || {
        let line = format!("status --viewservice {address} --json");
        let status = start(&line).end().out;
        let is_alive = status.matches("\"alive\":true").count() == 2;
        (is_alive && status.contains("\"name\":\"a\"")).then_some(())
    });
    let err = a.err();
    assert_eq!(err.matches("no view service at").count(), 1, "{err}");
}

#[test]
fn a_replica_is_ready_when_the_view_service_has_accepted_it_also_when_it_comes_back() {
    let (_dir, path) = scratch();
    let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
    let address = service.ready();
    let line = replica_line("a", &address, &path("a"));
    start(&line).ready();
    drop(service);
    let mut again = start_with(&line, &[("RUST_LOG", "info")]);
    let waiting = format!("no view service at {address}");
    until("a word about the view service", || {
        again.err().contains(&waiting).then_some(())
    });
    assert_eq!(again.out(), "", "it is not ready");
    let mut service = start(&viewservice_line(&address, &path("vs")));
    service.ready();
    again.ready();
}

#[test]
fn an_address_that_cannot_be_listened_on_is_refused() {
    let (_dir, path) = scratch();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = holder.local_addr().unwrap().to_string();
    // Reserved for documentation, so no machine has it; and a name that can never exist.
    for (address, word) in [
        (held.as_str(), "in use"),
        ("192.0.2.1:0", ""),
        ("name.invalid:0", ""),
    ] {
        let line = viewservice_line(address, &path("vs"));
        goes_wrong(&line, NO, &["cannot listen on", address, word, "--listen"]);
        let line = replica_line("a", NOBODY, &path("a"));
        let line = line.replace("127.0.0.1:0", address);
        goes_wrong(&line, NO, &["cannot listen on", address, word, "--listen"]);
    }
}

#[test]
fn an_address_that_others_cannot_reach_is_misuse_and_nothing_is_touched() {
    let (_dir, path) = scratch();
    let data = path("a");
    let good = replica_line("a", NOBODY, &data);
    for (line, address) in [
        (good.replace("127.0.0.1:0", "0.0.0.0:0"), "0.0.0.0:0"),
        (good.replace("127.0.0.1:0", "[::]:0"), "[::]:0"),
        (format!("{good} --advertise 0.0.0.0:5"), "0.0.0.0:5"),
        (format!("{good} --advertise [::]:5"), "[::]:5"),
    ] {
        goes_wrong(&line, MISUSED, &[address, "--advertise HOST:PORT"]);
        assert!(!Path::new(&data).exists(), "{line}");
    }
}

#[test]
fn a_new_replica_waits_for_its_view_service_and_says_so_once() {
    let (_dir, path) = scratch();
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap().to_string();
    drop(place);
    let line = replica_line("a", &address, &path("a"));
    let mut replica = start_with(&line, &[("RUST_LOG", "info")]);
    let waiting = format!("no view service at {address}");
    until("a word about the view service", || {
        replica.err().contains(&waiting).then_some(())
    });
    assert_eq!(replica.out(), "", "it is not ready");
    let mut service = start(&viewservice_line(&address, &path("vs")));
    service.ready();
    replica.ready();
    until("the replica to serve", || {
        let line = format!("status --viewservice {address} --name a --expect primary");
        (start(&line).end().status == Some(0)).then_some(())
    });
    let err = replica.err();
    assert_eq!(err.matches(&waiting).count(), 1, "{err}");

    // One that waits can be told to stop.
    let line = replica_line("b", NOBODY, &path("b"));
    let waits = start_with(&line, &[("RUST_LOG", "info")]);
    until("a word about the view service", || {
        waits.err().contains("no view").then_some(())
    });
    waits.signal(Signal::SIGTERM);
    assert_eq!(waits.end().status, Some(0));
}

#[test]
fn what_the_counter_and_the_status_deny_is_told_by_exit_status_1() {
    let config = ClusterConfig::new(STANDIN);
    let mut cluster = Cluster::new(config).unwrap();
    cluster.start_all(&["a"]).unwrap();
    let service = cluster.address(VIEW_SERVICE).unwrap().to_owned();
    let client = format!("client --viewservice {service} --timeout 20s counter");
    let add = |n: &str| start(&format!("{client} add {n}")).end();
    let max = add(&i64::MAX.to_string());
    assert_eq!(
        (max.status, max.out.as_str()),
        (Some(0), "9223372036854775807\n"),
        "{max:?}"
    );
    goes_wrong(
        &format!("{client} add 1"),
        NO,
        &["refused", "64-bit", "unchanged"],
    );
    assert_eq!(add("-9223372036854775808").out, "-1\n");
    let get = start(&format!("{client} get")).end();
    assert_eq!((get.status, get.out.as_str()), (Some(0), "-1\n"), "{get:?}");

    let status = format!("status --viewservice {service}");
    let expected = start(&format!("{status} --name a --expect primary")).end();
    assert_eq!(
        (expected.status, expected.out, expected.err),
        (Some(0), String::new(), String::new())
    );
    goes_wrong(
        &format!("{status} --name a --expect spare"),
        NO,
        &["a is primary, not spare"],
    );
    goes_wrong(
        &format!("{status} --name z --expect spare"),
        NO,
        &["no replica of that name"],
    );
    // A replica is no view service, and says so.
    let replica = cluster.address("a").unwrap();
    goes_wrong(
        &format!("status --viewservice {replica}"),
        NO,
        &[replica, "check the address"],
    );
}

#[test]
fn a_process_that_is_told_to_stop_does_so_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // As where `nohup` started the tests: what they start ignores it, too.
        if is_ignored(signal).unwrap() {
            continue;
        }
        let (_dir, path) = scratch();
        let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
        let address = service.ready();
        let mut a = start(&replica_line("a", &address, &path("a")));
        a.ready();
        let status = format!("status --viewservice {address} --name");
        let is = |name: &str, role: &str| {
            until("a role", || {
                let line = format!("{status} {name} --expect {role}");
                (start(&line).end().status == Some(0)).then_some(())
            });
        };
        is("a", "primary");
        let mut b = start(&replica_line("b", &address, &path("b")));
        b.ready();
        is("b", "backup");
        for process in [a, b, service] {
            let asked = Instant::now();
            process.signal(signal);
            let line = process.line.clone();
            let ended = process.end();
            assert_eq!(ended.status, Some(0), "{signal}: {line}: {ended:?}");
            assert_eq!(ended.err, "", "{line}");
            assert!(
                asked.elapsed() < LATE_MAX,
                "{line} took {:?}",
                asked.elapsed()
            );
        }
    }
}

#[test]
fn a_service_that_nohup_started_outlives_its_terminal() {
    let (_dir, path) = scratch();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", STANDIN]);
    let line = viewservice_line("127.0.0.1:0", &path("vs"));
    let mut service = launch(shell, &line, &[("RUST_LOG", "info")], None);
    service.ready();
    service.signal(Signal::SIGHUP);
    service.signal(Signal::SIGTERM);
    // Had it taken the first, it would have stopped on that: signals are told in order of number.
    let ended = service.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.err.contains("stopping on signal 15"), "{}", ended.err);
}

#[test]
fn a_replica_that_is_out_of_service_says_so_when_it_is_started() {
    let (_dir, path) = scratch();
    let mut service = start(&viewservice_line("127.0.0.1:0", &path("vs")));
    let address = service.ready();
    let data = path("a");
    drop({
        let mut replica = start(&replica_line("a", &address, &data));
        replica.ready();
        replica
    });
    let why = "quarantined: its log contradicts the primary's; start with an empty --data";
    let machine = MachineId::new("counter", 1).unwrap();
    let name = ReplicaName::new("a").unwrap();
    let opened = DataDir::open(Path::new(&data), &name, &machine, StoreId(1));
    let (mut dir, _) = opened.unwrap();
    let mut meta = dir.meta().clone();
    meta.quarantine = Some(why.to_owned());
    dir.store(meta).unwrap();
    drop(dir);
    let mut replica = start_with(&replica_line("a", &address, &data), &[("RUST_LOG", "warn")]);
    replica.ready();
    let err = replica.err();
    assert!(err.contains("out of service") && err.contains(why), "{err}");
    until("the status to show it", || {
        let status = start(&format!("status --viewservice {address}")).end();
        status.out.contains(why).then_some(())
    });
}

//! Programs and libraries that people use with Redis, as they come from Debian and PyPI.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::{address, start};
use crate::support::python::{python, script};
use crate::support::sure;

/// Requests of each of redis-benchmark's tests.
const BENCHMARK_REQUESTS: &str = "2000";

/// Runs a program with this input to its end; `package` is where it comes from.
#[track_caller]
fn run(command: &mut Command, package: &str, input: &[u8]) -> Output {
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let spawned = command.spawn();
    let mut child = spawned.unwrap_or_else(|error| {
        panic!("{command:?} cannot be run ({error}): apt-get install {package}")
    });
    let mut stdin = child.stdin.take().expect("it is piped");
    sure(stdin.write_all(input));
    drop(stdin);
    sure(child.wait_with_output())
}

/// A program of Redis that is to talk to this address.
fn redis(program: &str, address: &str) -> Command {
    let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
    let mut command = Command::new(program);
    command.args(["-h", host, "-p", port]);
    command
}

fn words(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn redis_cli_talks_to_the_primary_and_finds_it_from_the_backup() {
    let mut scene = start("redis-cli", &["a", "b"]);
    let pair = scene.until_pair();
    let primary = address(&scene, &pair.primary);
    let cases: [(&[&str], &str); 8] = [
        (&["set", "a", "1"], "OK\n"),
        (&["-n", "3", "get", "a"], "\n"),
        (&["incr", "a"], "2\n"),
        (&["-3", "incrbyfloat", "a", "0.5"], "2.5\n"),
        (&["-3", "config", "get", "databases"], "databases 16\n"),
        (
            &["nosuch"],
            "ERR unknown command 'nosuch', with args beginning with: \n\n",
        ),
        (&["--no-raw", "client", "getname"], "(nil)\n"),
        (&["wait", "1", "0"], "1\n"),
    ];
    for (arguments, expected) in cases {
        let mut command = redis("redis-cli", &primary);
        let output = run(command.args(arguments), "redis-tools", b"");
        assert_eq!(words(&output), expected, "{arguments:?}");
    }
    let lines = b"multi\nset b 1\nget b\nexec\nselect 2\nclient setname me\nclient getname\n";
    let output = run(&mut redis("redis-cli", &primary), "redis-tools", lines);
    assert_eq!(words(&output), "OK\nQUEUED\nQUEUED\nOK\n1\nOK\nOK\nme\n");
    // With `-c` it follows what a replica that isn't primary says.
    let mut command = redis("redis-cli", &address(&scene, &pair.backup));
    let output = run(command.args(["-c", "get", "a"]), "redis-tools", b"");
    assert_eq!(words(&output), "2.5\n");
}

#[test]
fn redis_cli_fills_the_database_from_a_pipe() {
    const REQUESTS: usize = 20_000;
    let mut scene = start("redis-cli --pipe", &["a", "b"]);
    let pair = scene.until_pair();
    let primary = address(&scene, &pair.primary);
    let mut input = Vec::new();
    for number in 0..REQUESTS {
        input.extend_from_slice(format!("SET key:{number} \"value {number}\"\r\n").as_bytes());
    }
    let mut command = redis("redis-cli", &primary);
    let said = words(&run(command.arg("--pipe"), "redis-tools", &input));
    assert!(said.contains("errors: 0, replies: 20000"), "{said}");
    let mut command = redis("redis-cli", &primary);
    let said = words(&run(command.arg("dbsize"), "redis-tools", b""));
    assert_eq!(said, "20000\n");
}

#[test]
fn redis_benchmark_runs_all_of_its_tests() {
    let mut scene = start("redis-benchmark", &["a", "b"]);
    let pair = scene.until_pair();
    let primary = address(&scene, &pair.primary);
    let mut command = redis("redis-benchmark", &primary);
    command.args(["-n", BENCHMARK_REQUESTS, "-c", "5", "-P", "16", "--csv"]);
    let output = run(&mut command, "redis-tools", b"");
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    for test in [
        "PING_INLINE",
        "PING_MBULK",
        "SET",
        "GET",
        "INCR",
        "LPUSH",
        "RPUSH",
        "LPOP",
        "RPOP",
        "SADD",
        "HSET",
        "SPOP",
        "ZADD",
        "ZPOPMIN",
        "LRANGE_100",
        "LRANGE_300",
        "LRANGE_500",
        "LRANGE_600",
        "MSET (10 keys)",
    ] {
        let begins = |line: &str| {
            let rest = line
                .strip_prefix('"')
                .and_then(|line| line.strip_prefix(test));
            rest.is_some_and(|rest| rest.starts_with(['"', ' ']))
        };
        assert!(said.lines().any(begins), "{test} in {said}");
    }
    assert!(
        !said.contains("rror") && !said.contains("WARNING"),
        "{said}"
    );
}

#[test]
fn redis_py_works_unchanged_in_both_versions() {
    let python = python();
    let mut scene = start("redis-py", &["a", "b"]);
    let pair = scene.until_pair();
    let mut command = Command::new(python);
    command.arg(script("plain.py"));
    command.arg(address(&scene, &pair.primary));
    command.arg(address(&scene, &pair.backup));
    let output = run(&mut command, "python3-venv", b"");
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(words(&output), "all of it is as with Redis\n");
}

#[test]
fn the_client_of_perl_works_unchanged() {
    let mut found = Command::new("perl");
    let found = run(found.args(["-MRedis", "-e", "1"]), "perl", b"");
    assert!(
        found.status.success(),
        "this test needs Perl's Redis client: apt-get install libredis-perl"
    );
    let mut scene = start("perl", &["a", "b"]);
    let pair = scene.until_pair();
    let primary = address(&scene, &pair.primary);
    let mut command = Command::new("perl");
    command.arg(script("plain.pl")).arg(primary);
    let output = run(&mut command, "libredis-perl", b"");
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(words(&output), "all of it is as with Redis\n");
}

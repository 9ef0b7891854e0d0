//! Programs that people use with Redis talk to conversations before our machine, over a socket.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests that run programs"
)]

#[path = "conversation/support.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use support::{Client, Server};
use tempfile::TempDir;

/// The variable that says that there need be no Redis.
const WITHOUT_REDIS: &str = "STANDIN_WITHOUT_REDIS";

/// Serves whoever connects, until the test's process ends.
struct Service {
    dir: TempDir,
}

impl Service {
    fn start() -> Service {
        let dir = TempDir::new().unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let server = Arc::new(Mutex::new(Server::default()));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (server, id) = (Arc::clone(&server), number as u64 + 1);
                let stream = stream.unwrap();
                thread::spawn(move || serve(stream, id, &server));
            }
        });
        Service { dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Runs a program against it; `None` where the environment says that there need be none.
    fn run(&self, test: &str, program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
        if std::env::var_os(WITHOUT_REDIS).is_some() {
            eprintln!("{test}: {program} is not run, as {WITHOUT_REDIS} demands");
            return None;
        }
        let spawned = Command::new(program)
            .arg("-s")
            .arg(self.socket())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            panic!(
                "{test}: {program} cannot be started ({error}): install Redis 7 (`apt-get install redis-server`), \
                 or set {WITHOUT_REDIS} to do without"
            )
        });
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).unwrap();
        drop(stdin);
        Some(child.wait_with_output().unwrap())
    }
}

fn serve(mut stream: UnixStream, id: u64, server: &Mutex<Server>) {
    let mut client = Client::new(id, &server.lock().unwrap());
    let mut piece = vec![0; 1 << 16];
    while !client.is_closed {
        let count = match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let said = client.say(&mut server.lock().unwrap(), &piece[..count]);
        if stream.write_all(&said).is_err() {
            return;
        }
    }
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn redis_cli_talks_in_both_versions() {
    let test = "redis_cli_talks_in_both_versions";
    let service = Service::start();
    let cases: [(&[&str], &str); 8] = [
        (&["set", "a", "1"], "OK\n"),
        (&["-n", "3", "get", "a"], "\n"),
        (&["incr", "a"], "2\n"),
        (&["-3", "incrbyfloat", "a", "0.5"], "2.5\n"),
        (&["-2", "config", "get", "save"], "save\n\n"),
        (&["-3", "config", "get", "databases"], "databases 16\n"),
        (
            &["nosuch"],
            "ERR unknown command 'nosuch', with args beginning with: \n\n",
        ),
        (&["--no-raw", "client", "getname"], "(nil)\n"),
    ];
    for (arguments, expected) in cases {
        let Some(output) = service.run(test, "redis-cli", arguments, b"") else {
            return;
        };
        assert_eq!(text(&output), expected, "{arguments:?}");
    }
    // What it says by itself before what it is told.
    let lines = b"multi\nset b 1\nget b\nexec\nselect 2\nclient setname me\nclient getname\ncommand docs get\n";
    let Some(output) = service.run(test, "redis-cli", &[], lines) else {
        return;
    };
    let expected = "OK\nQUEUED\nQUEUED\nOK\n1\nOK\nOK\nme\nget\ngroup\nstring\n";
    assert_eq!(text(&output), expected);
}

#[test]
fn redis_cli_fills_the_database_from_a_pipe() {
    let test = "redis_cli_fills_the_database_from_a_pipe";
    let service = Service::start();
    let mut input = Vec::new();
    for number in 0..20_000 {
        if number % 2 == 0 {
            input.extend_from_slice(format!("SET key:{number} \"value {number}\"\r\n").as_bytes());
        } else {
            let key = format!("key:{number}");
            let request = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$1\r\nx\r\n", key.len());
            input.extend_from_slice(request.as_bytes());
        }
    }
    let Some(output) = service.run(test, "redis-cli", &["--pipe"], &input) else {
        return;
    };
    let said = text(&output);
    assert!(said.contains("errors: 0, replies: 20000"), "{said}");
    let output = service.run(test, "redis-cli", &["dbsize"], b"").unwrap();
    assert_eq!(text(&output), "20000\n");
}

#[test]
fn redis_benchmark_runs() {
    let test = "redis_benchmark_runs";
    let service = Service::start();
    let tests = [
        "-t",
        "ping_inline,ping_mbulk,set,get,incr,mset",
        "-n",
        "2000",
        "-c",
        "5",
        "-P",
        "16",
        "--csv",
    ];
    let Some(output) = service.run(test, "redis-benchmark", &tests, b"") else {
        return;
    };
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for line in [
        "PING_INLINE",
        "PING_MBULK",
        "\"SET\"",
        "\"GET\"",
        "\"INCR\"",
        "MSET (10 keys)",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    assert!(
        !said.contains("rror") && !said.contains("WARNING"),
        "{said}"
    );
}

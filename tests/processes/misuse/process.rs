//! A `standin` that a line of arguments starts, and what it leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standin_tools::cluster::{PARENT_VARIABLE, kill_family};

/// How long to wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long after its time limit a command may end, on a machine with much else to do.
pub(crate) const LATE_MAX: Duration = Duration::from_secs(5);

/// A port of the loopback address that nobody listens on: it is reserved for TCP port multiplexing.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

pub(crate) const STANDIN: &str = env!("CARGO_BIN_EXE_standin");

pub(crate) const MISUSED: i32 = 2;
pub(crate) const NO: i32 = 1;
pub(crate) const NOT_REACHED: i32 = 3;

/// What a command that has ended leaves.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

/// A running `standin`, killed when it is dropped.
pub(crate) struct Running {
    pub(crate) line: String,
    pub(crate) child: Child,
    begun: Instant,
    _dir: Option<tempfile::TempDir>,
    out: PathBuf,
    err: PathBuf,
}

/// Starts `standin` with a line of arguments, which have no spaces in them.
pub(crate) fn start(line: &str) -> Running {
    start_with(line, &[("RUST_LOG", "off")])
}

pub(crate) fn start_with(line: &str, variables: &[(&str, &str)]) -> Running {
    launch(Command::new(STANDIN), line, variables, None)
}

/// Starts `standin` with its standard output somewhere else than in a file of its own.
pub(crate) fn start_to(out: Stdio, line: &str) -> Running {
    launch(
        Command::new(STANDIN),
        line,
        &[("RUST_LOG", "off")],
        Some(out),
    )
}

pub(crate) fn launch(
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
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    pub(crate) fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
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
    pub(crate) fn ready(&mut self) -> String {
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
        // It fails only if it has ended already.
        let _ = kill_family(&mut self.child);
    }
}

/// Looks again and again until there is something to see.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
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
pub(crate) fn goes_wrong(line: &str, status: i32, words: &[&str]) -> Ended {
    let ended = start(line).end();
    assert_eq!(ended.status, Some(status), "standin {line}: {ended:?}");
    assert_eq!(ended.out, "", "standin {line}");
    is_one_line(line, &ended.err, words);
    ended
}

#[track_caller]
pub(crate) fn is_one_line(line: &str, err: &str, words: &[&str]) {
    let text = err.strip_suffix('\n').unwrap_or_default();
    let is_one = text.starts_with("standin: ") && !text.contains(['\n', '\r', '\x1b']);
    assert!(is_one, "standin {line}: not one line of ours: {err:?}");
    for word in words {
        assert!(text.contains(word), "standin {line}: no '{word}' in {text}");
    }
}

/// A directory for data, and the text of a path in it.
pub(crate) fn scratch() -> (tempfile::TempDir, impl Fn(&str) -> String) {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_owned();
    (dir, move |name: &str| text(&base.join(name)))
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

pub(crate) fn viewservice_line(listen: &str, data: &str) -> String {
    format!("viewservice --listen {listen} --data {data}")
}

pub(crate) fn replica_line(name: &str, viewservice: &str, data: &str) -> String {
    format!(
        "replica --name {name} --listen 127.0.0.1:0 --viewservice {viewservice} --data {data} \
         --machine counter"
    )
}

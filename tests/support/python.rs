//! Python with the Redis client that most programs in it use.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread::{self, JoinHandle};

use super::scene::Scene;
use super::{sure, tell};

/// The version that is asked of the package index, unless `STANDIN_REDIS_PY` names another.
const REDIS_PY: &str = "8.1.0";

/// A Python that has redis-py: an environment of its own, made once for each target directory.
pub(crate) fn python() -> &'static Path {
    static PYTHON: LazyLock<PathBuf> = LazyLock::new(prepare);
    &PYTHON
}

fn prepare() -> PathBuf {
    let version = env::var("STANDIN_REDIS_PY");
    let package = format!("redis=={}", version.as_deref().unwrap_or(REDIS_PY));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&package);
    let python = directory.join("bin/python");
    let has_it = |python: &Path| {
        let mut command = Command::new(python);
        command.args(["-c", "import redis"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !has_it(&python) {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&directory));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", &package]));
    }
    python
}

#[track_caller]
fn run(command: &mut Command) {
    let what = format!("{command:?}");
    let advice = "this test needs Python 3 with venv and pip, and a package index: \
                  apt-get install python3-venv";
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let words = [output.stdout, output.stderr].concat();
            let words = String::from_utf8_lossy(&words).replace('\n', " ");
            panic!("{what} failed: {words}; {advice}");
        }
        Err(error) => panic!("{what} cannot be run: {error}; {advice}"),
    }
}

/// Where a script for a client library is.
pub(crate) fn script(name: &str) -> PathBuf {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    clients.join(name)
}

/// Clients of redis-py that go on until they are told to stop, and say a line whenever each of them has had more answers.
#[derive(Debug)]
pub(crate) struct Clients {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    reading: JoinHandle<()>,
}

impl Clients {
    /// Starts a script with these addresses.
    #[track_caller]
    pub(crate) fn start(name: &str, addresses: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        let mut command = Command::new(python());
        command.arg(script(name)).args(addresses);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = sure(command.spawn());
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let (tell_lines, lines) = mpsc::channel();
        let reading = thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                // The test may have failed.
                let _ = tell_lines.send(sure(line));
            }
        });
        Self {
            child,
            stdin,
            lines,
            reading,
        }
    }

    /// Waits until each has been answered something that it asked from now on.
    #[track_caller]
    pub(crate) fn until_answers(&self, scene: &mut Scene) {
        while self.lines.try_recv().is_ok() {}
        // One may have been on its way; the next tells of answers that came after it.
        for _ in 0..2 {
            scene.until("answers for redis-py", |_| match self.lines.try_recv() {
                Ok(line) => Some(line),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => panic!("the clients have ended"),
            });
        }
    }

    /// Stops them, and shows what they found; it has to be good.
    #[track_caller]
    pub(crate) fn end(mut self, title: &str) {
        // They end when their input does.
        drop(self.stdin);
        let status = sure(self.child.wait());
        self.reading.join().expect("its lines were read");
        let last = self.lines.try_iter().last().unwrap_or_default();
        tell(format_args!("{title}: {last}"));
        assert!(status.success(), "{last}");
    }
}

//! Python with the Redis client that most programs in it use.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

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

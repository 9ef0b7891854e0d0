//! What the tests that break real processes share: a scene to break, a load on it, the history that
//! the load's clients saw, and the checker that judges it.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::print_stdout,
    reason = "measured gaps are shown by `cargo test -- --nocapture`"
)]

pub(crate) mod cli;
pub(crate) mod counter_history;
pub(crate) mod embedded;
pub(crate) mod http;
pub(crate) mod idle;
pub(crate) mod load;
pub(crate) mod python;
pub(crate) mod raw;
pub(crate) mod resp;
pub(crate) mod scene;
pub(crate) mod tables;
pub(crate) mod tmpfs;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use standin_core::planted::Planted;
use standin_core::time::Duration;

/// How long anything may take that should come about at all. No test measures with it: it only ends
/// one that would wait for ever, also on a machine that is very busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// What a wait may last beyond the lease terms that it is made of. Far more than it should be, since
/// the machine may be busy with other tests; the figures that count are printed, and `.ci/takeovers`
/// judges those of a release build.
pub(crate) const SLACK: Duration = Duration::from_secs(20);

/// The value, or the end of the test with the error's own words.
#[track_caller]
pub(crate) fn sure<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// Does it again if a signal breaks it off: the system itself does not take up a read or a write that has
/// a time limit, not even after a stop and a continuation of the whole process (signal(7)).
pub(crate) fn uninterrupted<T>(mut one: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match one() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Prints a line for people.
pub(crate) fn tell(text: impl Display) {
    println!("{text}");
}

/// A duration in whole milliseconds, for people.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

/// One of the project's examples. Cargo builds them along with all tests, but not with one alone.
pub(crate) fn example(name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = built.entry(name.to_owned());
    path.or_insert_with(|| build_example(name)).clone()
}

/// Asks for it with the features that this test was built with, or all that both are made of is compiled once more.
fn build_example(name: &str) -> PathBuf {
    let program = sure(std::env::current_exe());
    let profile = program.parent().and_then(Path::parent);
    let profile = profile.expect("tests are built into TARGET/PROFILE/deps");
    let target = profile.parent().expect("tests are built into TARGET");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", name]);
    if Planted::IS_POSSIBLE {
        build.arg("--workspace");
    }
    if profile.ends_with("release") {
        build.arg("--release");
    }
    build.arg("--target-dir").arg(target);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(sure(build.status()).success(), "{name} does not build");
    profile.join("examples").join(name)
}

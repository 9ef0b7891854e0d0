//! The binary's own commands, run as a person would.

use std::path::Path;
use std::process::{Command, Stdio};

use standin_core::time::Duration;
use standin_io::clock;

use super::sure;

/// The binary under test.
pub(crate) const STANDIN: &str = env!("CARGO_BIN_EXE_standin");

/// What a command did.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// The exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// The number that it printed; it must have printed one, and have ended well.
    #[track_caller]
    pub(crate) fn number(&self) -> i64 {
        assert_eq!(self.status, Some(0), "{self:?}");
        match self.stdout.trim().parse() {
            Ok(number) => number,
            Err(error) => panic!("no number ({error}): {self:?}"),
        }
    }
}

/// Runs a command, asking this view service, to its end.
pub(crate) fn run(view_service: &str, arguments: &[&str]) -> Ran {
    run_program(Path::new(STANDIN), view_service, arguments)
}

/// Runs a command of a program with a machine of its own, asking this view service, to its end.
pub(crate) fn run_program(program: &Path, view_service: &str, arguments: &[&str]) -> Ran {
    let begun = clock::boot();
    let mut command = Command::new(program);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("STANDIN_") {
            command.env_remove(variable);
        }
    }
    let output = command
        .args(arguments)
        .env("STANDIN_VIEWSERVICE", view_service)
        .stdin(Stdio::null())
        .output();
    let output = sure(output);
    Ran {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: clock::boot().since(begun),
    }
}

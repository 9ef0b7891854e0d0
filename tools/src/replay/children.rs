//! Pairs of replays in processes of their own, so that what differs between processes can show.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use standin_core::poison::Skip;

use super::run::{Point, RunRequest};
use super::search::Runs;

/// What the second process of each pair finds in its environment besides [`KEPT`]: it is to be unlike this one's.
const OTHER_ENVIRONMENT: [(&str, &str); 3] = [
    ("TZ", "Asia/Kathmandu"),
    ("LANG", "tr_TR.UTF-8"),
    ("LC_ALL", "tr_TR.UTF-8"),
];
/// What it keeps of this one's: without these it might not start at all.
const KEPT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "RUST_BACKTRACE"];

/// Why a pair could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The process could not be started, or waited for.
    #[error("cannot run a replay in a process of its own: {0}")]
    Io(#[from] io::Error),
    /// It did not come to its end.
    #[error("a replay in a process of its own ended with {status}: {words}")]
    Failed {
        /// How it ended.
        status: String,
        /// What it said.
        words: String,
    },
    /// What it told is no result.
    #[error("a replay in a process of its own told what is no result: {0}")]
    Told(#[from] serde_json::Error),
}

/// Runs pairs as processes of a program that has the command `replay-run`.
#[derive(Clone, Debug)]
pub struct ChildRuns {
    program: PathBuf,
}

impl ChildRuns {
    /// As processes of the program that runs.
    ///
    /// # Errors
    /// If it cannot be found.
    pub fn new() -> Result<Self, ChildError> {
        let program = env::current_exe()?;
        Ok(Self { program })
    }

    fn start(&self, request: &RunRequest, is_other: bool) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        if is_other {
            command.env_clear();
            let kept = KEPT
                .iter()
                .filter_map(|name| Some((name, env::var_os(name)?)));
            command.envs(kept).envs(OTHER_ENVIRONMENT);
        }
        command
            .arg("replay-run")
            .arg(&request.dir)
            .args(["--from", &request.from.to_string()])
            .args(["--after", &request.after.to_string()])
            .args(["--until", &request.until.to_string()])
            .args(["--step", &request.step.to_string()])
            .args(skip_arguments(&request.skips))
            .args(request.tells_parts.then_some("--parts"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

impl Runs for ChildRuns {
    type Error = ChildError;

    fn pair(&mut self, requests: [&RunRequest; 2]) -> Result<[Vec<Point>; 2], ChildError> {
        let mut one = self.start(requests[0], false)?;
        // Both at a time. Each tells of itself at its end; what the one tells waits in its pipe meanwhile.
        let other = self.start(requests[1], true);
        let other = match other {
            Ok(child) => child,
            Err(error) => {
                // It is of no use without the other.
                let _ = one.kill();
                let _ = one.wait();
                return Err(error.into());
            }
        };
        let (one, other) = (one.wait_with_output(), other.wait_with_output());
        Ok([points(&one?)?, points(&other?)?])
    }
}

/// Each as `--skip INDEX:VIEW`.
fn skip_arguments(skips: &[Skip]) -> impl Iterator<Item = String> {
    let words = |it: &Skip| ["--skip".to_owned(), format!("{}:{}", it.index, it.view)];
    skips.iter().flat_map(words)
}

fn points(output: &Output) -> Result<Vec<Point>, ChildError> {
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let words: Vec<&str> = words.split_whitespace().collect();
        return Err(ChildError::Failed {
            status: output.status.to_string(),
            words: words.join(" "),
        });
    }
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    Ok(lines
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()?)
}

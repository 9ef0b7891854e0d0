//! What can keep the demo from its audit.

use std::io;
use std::path::Path;

use standin_client::ClientError;

use super::crowd::CrowdError;
use crate::cluster::ClusterError;
use crate::output;
use crate::replay::ReplayError;

/// Why the show did not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShowError {
    #[error("interrupted")]
    Interrupted(i32),
    #[error("the directory to keep things in cannot be used: {0}")]
    Keep(ClusterError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("a client gave up: {0}")]
    Crowd(#[from] CrowdError),
    #[error("cannot read the final value: {0}")]
    Read(#[from] ClientError),
    #[error("a replica answered something that is no number")]
    Answer,
    #[error("the replicas have parted: {says} says that {}", cause(words))]
    Parted {
        /// Who found it.
        says: String,
        /// The other one.
        other: String,
        /// What the one says.
        words: String,
    },
    #[error("cannot replay the primary's log: {0}")]
    Replay(#[from] ReplayError),
    #[error("cannot {doing}: {source}")]
    Io {
        doing: &'static str,
        source: io::Error,
    },
}

/// What is wrong. How to find the entry stands behind it, for people who know where the directories are.
fn cause(words: &str) -> &str {
    words.split(';').next().unwrap_or_default()
}

impl ShowError {
    /// What is wrong, in a line, and what there is to be said of it besides, each in one of its own. The data directories
    /// are kept in `kept`; `None`: they are gone.
    pub(super) fn told(&self, kept: Option<&Path>) -> (String, Vec<String>) {
        let (what, mut details) = match self {
            Self::Cluster(ClusterError::InVain { what, waited, seen }) => {
                let seen = seen.split("; ").map(|words| format!("seen last: {words}"));
                (
                    format!("waited {waited:?} in vain for {what}"),
                    seen.collect(),
                )
            }
            Self::Cluster(ClusterError::Ended {
                name,
                status,
                words,
            }) => {
                let words = words.lines().map(|line| format!("its last words: {line}"));
                (
                    format!("{name} ended by itself ({status})"),
                    words.collect(),
                )
            }
            _ => (self.to_string(), Vec::new()),
        };
        details.push(match kept {
            Some(dir) => format!("the data directories and logs are in {}", dir.display()),
            None => {
                "run it with --keep DIR to keep the data directories and logs in DIR".to_owned()
            }
        });
        if let Self::Parted { says, other, .. } = self {
            let dir = kept.unwrap_or_else(|| Path::new("DIR"));
            details.extend(finds_the_entry(dir, [says, other]));
        }
        (what, details)
    }

    pub(super) fn exit_status(&self) -> u8 {
        match self {
            // As a shell has it for what a signal ended.
            Self::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::Keep(_) => 2,
            Self::Crowd(CrowdError::Client(error)) | Self::Read(error) => client_exit(error),
            Self::Crowd(CrowdError::Answer)
            | Self::Answer
            | Self::Parted { .. }
            | Self::Replay(_) => 1,
            Self::Cluster(_) | Self::Crowd(CrowdError::Thread(_)) | Self::Io { .. } => 3,
        }
    }
}

/// How it is found at which entry two replicas parted, whose data directories are in `dir`.
pub(super) fn finds_the_entry(dir: &Path, names: [&str; 2]) -> [String; 2] {
    let program = output::program();
    let [one, other] = names.map(|name| dir.join(name));
    let (one, other) = (one.display(), other.display());
    [
        format!("`{program} replay --diff {one} {other}` finds the entry"),
        format!("`{program} replay {one} --verify` tells whether that one comes to the same again"),
    ]
}

/// A refusal is an answer, and the wrong one; everything else is a service that was not reached.
fn client_exit(error: &ClientError) -> u8 {
    let is_refusal = matches!(
        error,
        ClientError::Refused { .. }
            | ClientError::OtherCluster { .. }
            | ClientError::OtherParty { .. }
            | ClientError::Protocol { .. }
    );
    if is_refusal { 1 } else { 3 }
}

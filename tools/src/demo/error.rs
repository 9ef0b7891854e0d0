//! What can keep the demo from its audit.

use std::io;

use standin_client::ClientError;

use super::crowd::CrowdError;
use crate::cluster::ClusterError;
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
    #[error("the replicas have parted: {0}")]
    Parted(String),
    #[error("cannot replay the primary's log: {0}")]
    Replay(#[from] ReplayError),
    #[error("cannot {doing}: {source}")]
    Io {
        doing: &'static str,
        source: io::Error,
    },
}

impl ShowError {
    pub(super) fn exit_status(&self) -> u8 {
        match self {
            // As a shell has it for what a signal ended.
            Self::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::Keep(_) => 2,
            Self::Crowd(CrowdError::Client(error)) | Self::Read(error) => client_exit(error),
            Self::Crowd(CrowdError::Answer) | Self::Answer | Self::Parted(_) | Self::Replay(_) => 1,
            Self::Cluster(_) | Self::Crowd(CrowdError::Thread(_)) | Self::Io { .. } => 3,
        }
    }
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

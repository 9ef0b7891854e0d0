//! How a replica's process ends, and what it notes before when its disk failed.

use std::fmt;
use std::io;

use standin_core::identity::BootId;
use standin_core::message::{Refusal, TokenDead};
#[cfg(feature = "planted-bugs")]
use standin_core::planted::Bug;
use standin_core::poison::Skip;
use standin_io::data_dir::DataDir;
use standin_io::log::LogError;
use standin_io::storage::is_want_of_room;

use crate::simulate::disk::SimDisk;
use crate::simulate::fact::{Fact, Heard};
use crate::simulate::plan::Plan;
use crate::simulate::stage::Stage;
use crate::simulate::watched::Subject;

/// Why a process ended or never began.
#[derive(Debug)]
pub(crate) enum Death {
    /// The disk failed, or the process was killed while it worked on it.
    Disk {
        why: String,
        /// What was written before may be gone, though nothing else has happened.
        may_have_lost_writes: bool,
        /// The token that died with it, if that could not be noted: the process stays until the view
        /// service has been told.
        unnoted: Option<TokenDead>,
    },
    /// It found its own disk unfit.
    Unfit(String),
    /// It has mended what was damaged on its disk, and goes on as another process would.
    Mended,
    /// It died while its machine executed an entry.
    AtEntry(Skip),
    /// The view service does not want it.
    Refused(Refusal),
    /// It was told to stop, and did so cleanly.
    Stopped,
    /// The same, but it handed over first, or said that it goes.
    Left,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { why, .. } | Self::Unfit(why) => f.write_str(why),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::AtEntry(entry) => write!(f, "died in the midst of entry {entry}"),
            Self::Mended => f.write_str("has mended its log"),
            Self::Stopped => f.write_str("stopped"),
            Self::Left => f.write_str("stopped, and was not waited for"),
        }
    }
}

impl Death {
    /// The disk failed or is full, or the process was killed while it worked on it.
    pub(crate) fn disk(why: String, may_have_lost_writes: bool) -> Self {
        Self::Disk {
            why,
            may_have_lost_writes,
            unnoted: None,
        }
    }

    /// Whether what was written before, and not synced, may be gone.
    pub(super) fn may_have_lost_writes(&self) -> bool {
        match self {
            Self::Disk {
                may_have_lost_writes,
                ..
            } => *may_have_lost_writes,
            // The disk failed under an earlier process, which could not note it.
            Self::Refused(refusal) => *refusal == Refusal::TokenDead,
            Self::AtEntry(_) | Self::Unfit(_) | Self::Mended | Self::Stopped | Self::Left => false,
        }
    }
}

/// The data directory cannot be written.
pub(crate) fn dir_failed(error: io::Error) -> Death {
    Death::disk(error.to_string(), !is_want_of_room(&error))
}

/// The log cannot be written or read.
pub(crate) fn log_failed(error: LogError) -> Death {
    Death::disk(error.to_string(), error.may_have_lost_writes())
}

/// What the process does when its disk fails, before it ends: it takes note, so that the tokens of what
/// it acknowledged out of the page cache die. A process that is killed at the disk notes nothing.
pub(crate) fn note_failure<M: Subject>(
    disk: &SimDisk,
    dir: &mut DataDir<SimDisk>,
    boot: BootId,
    mut death: Death,
    plan: &Plan,
    stage: &mut Stage<'_, M>,
) -> Death {
    if !death.may_have_lost_writes() || disk.is_stopped() {
        return death;
    }
    let forgets = forgets_failures(plan);
    let is_noted = !forgets && dir.note_disk_failure().is_ok();
    let host = stage.host;
    if disk.is_stopped() {
        let heard = Heard::Not;
        stage.saw(&Fact::DiskFailed { host, heard });
        return death;
    }
    if let Death::Disk { unnoted, .. } = &mut death
        && !is_noted
        && !forgets
    {
        let store = dir.meta().store;
        *unnoted = Some(TokenDead { store, boot });
    }
    let heard = if is_noted {
        Heard::Noted
    } else {
        Heard::Unnoted
    };
    stage.saw(&Fact::DiskFailed { host, heard });
    death
}

/// Whether a disk failure is neither noted nor told to anybody.
#[cfg_attr(not(feature = "planted-bugs"), expect(unused_variables))]
fn forgets_failures(plan: &Plan) -> bool {
    #[cfg(feature = "planted-bugs")]
    return plan.planted.has(Bug::DiskFailureUnnoted);
    #[cfg(not(feature = "planted-bugs"))]
    false
}

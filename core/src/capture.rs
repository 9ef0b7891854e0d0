//! The replicated state at one moment, and the bytes that it is written as.
//!
//! They are the body of a snapshot, and the state digest is made of them. Fields are little-endian and have a
//! fixed order: sessions, timers, then the machine's own bytes to the end. docs/format.md has them all.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::digest::{DigestChain, Digester};
use crate::entry::{Index, LogTip};
use crate::machine::StateMachine;
use crate::session::CapturedSessions;
use crate::time::WallTime;
use crate::view::DataEpoch;

/// Bytes that a machine and its sessions may write in small pieces before they are passed on.
const BUFFER_BYTES: usize = 64 << 10;

/// Where in the log a state stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMark {
    /// The data epoch of the newest view at or before `tip`.
    pub data_epoch: DataEpoch,
    /// The last entry that was applied: the log goes on right after it.
    pub tip: LogTip,
    /// The first entry of the view that `tip` is of. Invariant: `1 <= view_first <= tip.index`.
    pub view_first: Index,
    /// The chain over all replies up to `tip`.
    pub reply_digest: u128,
    /// The version of the machine that is executed after `tip`. Since protocol version 6.
    pub machine_version: u32,
    /// The newest version that the machine failed to go over to up to `tip`, if it is newer than that one; else 0. Nobody
    /// tries it again. Since protocol version 6.
    pub failed_version: u32,
}

impl SnapshotMark {
    /// Whether it can be true at all.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let has_failed = self.failed_version != 0;
        (Index(1)..=self.tip.index).contains(&self.view_first)
            && (!has_failed || self.failed_version > self.machine_version)
    }
}

/// A captured state, whatever the machine.
pub trait Image: fmt::Debug + Send + Sync {
    /// See [`Captured::write`].
    ///
    /// # Errors
    /// Those of `out`.
    fn write(&self, out: &mut dyn io::Write) -> io::Result<()>;

    /// See [`Captured::digest`].
    fn digest(&self) -> u128;
}

impl<M: StateMachine> Image for Captured<M> {
    fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        Self::write(self, out)
    }

    fn digest(&self) -> u128 {
        Self::digest(self)
    }
}

/// The whole state as of one entry, apart from the state that goes on changing.
///
/// Made by [`crate::state::Replicated::capture`]; restored by [`crate::state::Replicated::restore`].
pub struct Captured<M: StateMachine> {
    pub(crate) machine: M::Capture,
    pub(crate) sessions: CapturedSessions,
    pub(crate) timers: Vec<(WallTime, u64)>,
    pub(crate) applied: Index,
    pub(crate) reply_digest: DigestChain,
    pub(crate) version: u32,
}

impl<M: StateMachine> Captured<M> {
    /// The last entry that was applied.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The chain over all replies up to there.
    #[must_use]
    pub fn reply_digest(&self) -> DigestChain {
        self.reply_digest
    }

    /// The version of the machine that was executed: what is written is only to be read as of that one.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Number of open sessions.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Writes the state: equal bytes for equal states. Takes time in proportion to the state.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let mut out = io::BufWriter::with_capacity(BUFFER_BYTES, out);
        self.sessions.write(&mut out)?;
        write_u64(&mut out, self.timers.len() as u64)?;
        for (deadline, id) in &self.timers {
            write_u64(&mut out, deadline.0)?;
            write_u64(&mut out, *id)?;
        }
        M::write_capture(&self.machine, &mut out)?;
        io::Write::flush(&mut out)
    }

    /// The digest of what [`Captured::write`] writes. Takes time in proportion to the state.
    ///
    /// # Panics
    /// If the machine's `write_capture` fails by itself.
    #[must_use]
    pub fn digest(&self) -> u128 {
        let mut digester = Digester::default();
        self.write(&mut digester)
            .expect("writing to a digester cannot fail");
        digester.finish()
    }
}

impl<M: StateMachine> fmt::Debug for Captured<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("machine", &M::NAME)
            .field("sessions", &self.sessions.len())
            .field("timers", &self.timers.len())
            .field("applied", &self.applied)
            .field("reply_digest", &self.reply_digest)
            .finish()
    }
}

pub(crate) fn write_u64(out: &mut dyn io::Write, number: u64) -> io::Result<()> {
    out.write_all(&number.to_le_bytes())
}

pub(crate) fn write_u32(out: &mut dyn io::Write, number: u32) -> io::Result<()> {
    out.write_all(&number.to_le_bytes())
}

pub(crate) fn read_u64(input: &mut dyn io::Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

pub(crate) fn read_u32(input: &mut dyn io::Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Reads a number of things, which is no more than `most`.
pub(crate) fn read_count(input: &mut dyn io::Read, most: u64) -> io::Result<u64> {
    check_count(read_u64(input)?, most)
}

/// A number of things, if it is no more than `most`.
pub(crate) fn check_count(count: u64, most: u64) -> io::Result<u64> {
    if count > most {
        return Err(invalid("it tells of more than may be"));
    }
    Ok(count)
}

/// The bytes are no state.
pub(crate) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

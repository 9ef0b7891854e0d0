//! The payload of a ViewStart, in all versions of the log's format.

use serde::{Deserialize, Serialize};

use crate::identity::{Durability, Incarnation, ReplicaName};
use crate::message::decode_payload;
use crate::poison::{SKIPS_MAX, Skip};
use crate::session::SessionLimits;
use crate::time::Duration;
use crate::view::DataEpoch;

/// Payload of a [`super::EntryKind::ViewStart`]: who leads the view, and under which limits.
///
/// Limits stand in the log and not in flags, so that every replica and every replay uses the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewStart {
    /// The data epoch of the view.
    pub data_epoch: DataEpoch,
    /// The view's primary.
    pub primary: ReplicaName,
    /// The life of the primary.
    pub incarnation: Incarnation,
    /// The durability level of the view's pair.
    pub durability: Durability,
    /// A session without a request for so long expires, in milliseconds.
    pub session_timeout_ms: u64,
    /// Most sessions that are kept; the least recently active goes first.
    pub sessions_max: u32,
    /// Bytes of the replies that all sessions together keep. Since log format 2.
    pub replies_bytes_max: u64,
    /// A session that was active within this time is not pushed out by one that is opened, in
    /// milliseconds. Since log format 2.
    pub session_idle_min_ms: u64,
    /// Entries before this one that are skipped, since they make the machine fail; at most [`SKIPS_MAX`]. To be
    /// read before any of them is applied. Since log format 3.
    pub skips: Vec<Skip>,
    /// The version of the machine that is executed here. In a log's first entry it is the one that the log begins
    /// with; in others it is the one that is executed anyway, and is read by whoever does not have what comes before.
    /// Since log format 5; before, there was one version, and the headers of segments and snapshots say it.
    pub machine_version: Option<u32>,
}

/// What the payload begins with in all log formats; log format 1 has no more. Each later one has put fields behind it.
#[derive(Deserialize)]
struct Beginning {
    data_epoch: DataEpoch,
    primary: ReplicaName,
    incarnation: Incarnation,
    durability: Durability,
    session_timeout_ms: u64,
    sessions_max: u32,
}

/// What log format 2 put behind it.
#[derive(Deserialize)]
struct Limits {
    replies_bytes_max: u64,
    session_idle_min_ms: u64,
}

impl Limits {
    /// As it was before there were any.
    const NONE: Self = Self {
        replies_bytes_max: u64::MAX,
        session_idle_min_ms: 0,
    };
}

impl Beginning {
    /// The payload of a format that had no versions of the machine.
    fn with(self, limits: Limits, skips: Vec<Skip>) -> ViewStart {
        ViewStart {
            data_epoch: self.data_epoch,
            primary: self.primary,
            incarnation: self.incarnation,
            durability: self.durability,
            session_timeout_ms: self.session_timeout_ms,
            sessions_max: self.sessions_max,
            replies_bytes_max: limits.replies_bytes_max,
            session_idle_min_ms: limits.session_idle_min_ms,
            skips,
            machine_version: None,
        }
    }
}

impl ViewStart {
    /// Reads the encoded form, also that of log formats 3 and 4, which knew one version of the machine, of log format 2,
    /// which knew no skips, and of log format 1, which knew no limits but the first two: each is applied as
    /// it was then.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let format_3 = || {
            let (beginning, limits, skips): (Beginning, _, _) = decode_payload(payload)?;
            Some(beginning.with(limits, skips))
        };
        let format_2 = || {
            let (beginning, limits): (Beginning, _) = decode_payload(payload)?;
            Some(beginning.with(limits, Vec::new()))
        };
        let format_1 = || {
            let beginning: Beginning = decode_payload(payload)?;
            Some(beginning.with(Limits::NONE, Vec::new()))
        };
        let start = decode_payload(payload).or_else(format_3);
        let start = start.or_else(format_2).or_else(format_1);
        start.filter(|start: &Self| start.skips.len() <= SKIPS_MAX)
    }

    /// Its limits for sessions.
    #[must_use]
    pub fn session_limits(&self) -> SessionLimits {
        SessionLimits {
            timeout: Duration::from_millis(self.session_timeout_ms),
            sessions_max: self.sessions_max,
            replies_bytes_max: self.replies_bytes_max,
            idle_min: Duration::from_millis(self.session_idle_min_ms),
        }
    }
}

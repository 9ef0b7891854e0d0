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

/// The payload of log formats 3 and 4.
#[derive(Deserialize)]
struct ViewStart3 {
    data_epoch: DataEpoch,
    primary: ReplicaName,
    incarnation: Incarnation,
    durability: Durability,
    session_timeout_ms: u64,
    sessions_max: u32,
    replies_bytes_max: u64,
    session_idle_min_ms: u64,
    skips: Vec<Skip>,
}

/// The payload of log format 2.
#[derive(Deserialize)]
struct ViewStart2 {
    data_epoch: DataEpoch,
    primary: ReplicaName,
    incarnation: Incarnation,
    durability: Durability,
    session_timeout_ms: u64,
    sessions_max: u32,
    replies_bytes_max: u64,
    session_idle_min_ms: u64,
}

/// The payload of log format 1.
#[derive(Deserialize)]
struct ViewStart1 {
    data_epoch: DataEpoch,
    primary: ReplicaName,
    incarnation: Incarnation,
    durability: Durability,
    session_timeout_ms: u64,
    sessions_max: u32,
}

impl ViewStart {
    /// Reads the encoded form, also that of log format 3, which knew one version of the machine, of log format 2,
    /// which knew no skips, and of log format 1, which knew no limits but the first two: each is applied as
    /// it was then.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let start = decode_payload(payload)
            .or_else(|| Self::decode_3(payload))
            .or_else(|| Self::decode_2(payload))
            .or_else(|| Self::decode_1(payload));
        start.filter(|start: &Self| start.skips.len() <= SKIPS_MAX)
    }

    fn decode_3(payload: &[u8]) -> Option<Self> {
        let start: ViewStart3 = decode_payload(payload)?;
        Some(Self {
            data_epoch: start.data_epoch,
            primary: start.primary,
            incarnation: start.incarnation,
            durability: start.durability,
            session_timeout_ms: start.session_timeout_ms,
            sessions_max: start.sessions_max,
            replies_bytes_max: start.replies_bytes_max,
            session_idle_min_ms: start.session_idle_min_ms,
            skips: start.skips,
            machine_version: None,
        })
    }

    fn decode_2(payload: &[u8]) -> Option<Self> {
        let start: ViewStart2 = decode_payload(payload)?;
        Some(Self {
            data_epoch: start.data_epoch,
            primary: start.primary,
            incarnation: start.incarnation,
            durability: start.durability,
            session_timeout_ms: start.session_timeout_ms,
            sessions_max: start.sessions_max,
            replies_bytes_max: start.replies_bytes_max,
            session_idle_min_ms: start.session_idle_min_ms,
            skips: Vec::new(),
            machine_version: None,
        })
    }

    fn decode_1(payload: &[u8]) -> Option<Self> {
        let start: ViewStart1 = decode_payload(payload)?;
        Some(Self {
            data_epoch: start.data_epoch,
            primary: start.primary,
            incarnation: start.incarnation,
            durability: start.durability,
            session_timeout_ms: start.session_timeout_ms,
            sessions_max: start.sessions_max,
            replies_bytes_max: u64::MAX,
            session_idle_min_ms: 0,
            skips: Vec::new(),
            machine_version: None,
        })
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

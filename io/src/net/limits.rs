//! Every bound of a [`super::Net`], by name.

use std::io;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Most open connections of one event loop.
pub const CONNECTIONS_MAX: usize = 16_384;
/// File descriptors that connections leave to a process for its own files and connections.
pub const DESCRIPTORS_RESERVED: usize = 64;
/// Most accepted connections that have not said hello yet; the oldest gives way to the newest.
pub const HANDSHAKING_MAX: usize = 256;
/// How long an accepted connection may take to say hello.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a frame that has begun may take to become whole.
pub const PARTIAL_FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes read from one connection per wake-up.
pub const READ_BYTES_PER_CONN: usize = 256 << 10;
/// Most bytes read from all connections per wake-up.
pub const READ_BYTES_PER_POLL: usize = 4 << 20;
/// Most unsent bytes of one connection; one that needs more is closed as too slow.
pub const OUTPUT_BYTES_MAX: usize = 64 << 20;
/// Unsent bytes of a connection from which on its input is not read until they are fewer.
pub const OUTPUT_BYTES_HIGH: usize = 1 << 20;
/// How long a connection that was refused may take to read why.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a peer's host may acknowledge nothing, not even a probe, before the connection fails.
pub const PEER_SILENCE_TIMEOUT: Duration = Duration::from_secs(10);

/// The bounds of one [`super::Net`]. The defaults are the constants of this module; tests set others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetLimits {
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`HANDSHAKING_MAX`].
    pub handshaking_max: usize,
    /// See [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// See [`PARTIAL_FRAME_TIMEOUT`].
    pub partial_frame_timeout: Duration,
    /// See [`READ_BYTES_PER_CONN`].
    pub read_bytes_per_conn: usize,
    /// See [`READ_BYTES_PER_POLL`].
    pub read_bytes_per_poll: usize,
    /// See [`OUTPUT_BYTES_MAX`].
    pub output_bytes_max: usize,
    /// See [`OUTPUT_BYTES_HIGH`].
    pub output_bytes_high: usize,
    /// See [`LINGER_TIMEOUT`].
    pub linger_timeout: Duration,
    /// See [`PEER_SILENCE_TIMEOUT`].
    pub peer_silence_timeout: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            handshaking_max: HANDSHAKING_MAX,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            partial_frame_timeout: PARTIAL_FRAME_TIMEOUT,
            read_bytes_per_conn: READ_BYTES_PER_CONN,
            read_bytes_per_poll: READ_BYTES_PER_POLL,
            output_bytes_max: OUTPUT_BYTES_MAX,
            output_bytes_high: OUTPUT_BYTES_HIGH,
            linger_timeout: LINGER_TIMEOUT,
            peer_silence_timeout: PEER_SILENCE_TIMEOUT,
        }
    }
}

impl NetLimits {
    /// Raises this process's limit of open descriptors as far as it may, and lowers
    /// `connections_max` so that connections leave [`DESCRIPTORS_RESERVED`] of them: a process that
    /// finds none left when it must open a file has to stop.
    ///
    /// # Errors
    /// When the operating system does not tell the limit.
    pub fn within_descriptors(mut self) -> io::Result<Self> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let descriptors = usize::try_from(hard).unwrap_or(usize::MAX);
        let left = descriptors.saturating_sub(DESCRIPTORS_RESERVED).max(1);
        self.connections_max = self.connections_max.min(left);
        Ok(self)
    }
}

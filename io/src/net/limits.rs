//! Every bound of a [`super::Net`], by name.

use std::io;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::http::HTTP_SOCKETS_MAX;

// Places. Anybody may connect and claim to be anything, so each kind of accepted connection has a
// number of places of its own, and a newcomer that finds none left takes the place of one of its own
// kind: strangers who say that they are clients never keep a replica out, nor the other way round.
// The connections that this side makes take no place: it makes few.

/// Most accepted connections that have not said hello yet; the oldest gives way to the newest.
pub const HANDSHAKING_MAX: usize = 256;
/// Most connections of clients. The one that has been silent the longest, among those that wait for no
/// answer and have none to read, gives way to a newcomer; a client connects again when it must.
pub const CLIENT_CONNECTIONS_MAX: usize = 16_000;
/// Most accepted connections of replicas: four for each replica that a cluster may have. The one that
/// has been silent the longest, among those that have said nothing since their hello, gives way to a
/// newcomer: a replica speaks as soon as it may, and goes on speaking.
pub const REPLICA_CONNECTIONS_MAX: usize = 64;
/// How long a connection may be silent before it gives way though it waits for an answer, or has
/// spoken, as a last resort: what it waits for does not come, or nobody is there to read it.
pub const ENGAGED_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Most connections that were refused and are still being told why; the oldest is closed first.
pub const LINGERING_MAX: usize = 64;
/// Most accepted connections of one event loop: the sum of the above.
pub const CONNECTIONS_MAX: usize =
    CLIENT_CONNECTIONS_MAX + REPLICA_CONNECTIONS_MAX + HANDSHAKING_MAX + LINGERING_MAX;
/// File descriptors that connections leave to a process for its own files and connections, and for HTTP's.
pub const DESCRIPTORS_RESERVED: usize = 64 + HTTP_SOCKETS_MAX;

// Memory. These count bytes in buffers; a buffer that grows may own twice as much.

/// Most bytes from clients, all together, that wait to become whole frames or to be consumed. Beyond
/// it the frames that began first are given up with their connections until a quarter of it is free.
pub const CLIENT_INPUT_BYTES_MAX: usize = 64 << 20;
/// The same for accepted connections of replicas, who send little on them.
pub const REPLICA_INPUT_BYTES_MAX: usize = 16 << 20;
/// Most unsent bytes to clients, all together. Beyond it the connections with the most are closed
/// until a quarter of it is free.
pub const CLIENT_OUTPUT_BYTES_MAX: usize = 256 << 20;
/// The same for accepted connections of replicas: all that a primary may have on its way to as many
/// followers as there may be, and a quarter more.
pub const REPLICA_OUTPUT_BYTES_MAX: usize = 640 << 20;
/// How long an accepted connection may take to say hello.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a frame that has begun may take to become whole.
pub const PARTIAL_FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes read from one connection per wake-up.
pub const READ_BYTES_PER_CONN: usize = 256 << 10;
/// Most bytes of a plain connection that are kept until what has begun there is whole.
pub const PLAIN_INPUT_BYTES_MAX: usize = 4 << 20;
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
/// The same for an accepted connection of a client: nobody here waits for it, and to probe thousands of them as often as
/// replicas would take a machine more than what the others ask for. What it may leave unread meanwhile is bounded.
pub const CLIENT_SILENCE_TIMEOUT: Duration = Duration::from_secs(120);

/// What the accepted connections of one kind of party may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareLimits {
    /// See [`CLIENT_CONNECTIONS_MAX`] and [`REPLICA_CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`CLIENT_INPUT_BYTES_MAX`] and [`REPLICA_INPUT_BYTES_MAX`].
    pub input_bytes_max: usize,
    /// See [`CLIENT_OUTPUT_BYTES_MAX`] and [`REPLICA_OUTPUT_BYTES_MAX`].
    pub output_bytes_max: usize,
}

/// The bounds of one [`super::Net`]. The defaults are the constants of this module; tests set others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetLimits {
    /// What clients may take.
    pub clients: ShareLimits,
    /// What replicas that connected to this side may take.
    pub replicas: ShareLimits,
    /// See [`ENGAGED_SILENCE_MAX`].
    pub engaged_silence_max: Duration,
    /// See [`LINGERING_MAX`].
    pub lingering_max: usize,
    /// See [`HANDSHAKING_MAX`].
    pub handshaking_max: usize,
    /// See [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// See [`PARTIAL_FRAME_TIMEOUT`].
    pub partial_frame_timeout: Duration,
    /// See [`READ_BYTES_PER_CONN`].
    pub read_bytes_per_conn: usize,
    /// See [`PLAIN_INPUT_BYTES_MAX`].
    pub plain_input_bytes_max: usize,
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
    /// See [`CLIENT_SILENCE_TIMEOUT`].
    pub client_silence_timeout: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            clients: ShareLimits {
                connections_max: CLIENT_CONNECTIONS_MAX,
                input_bytes_max: CLIENT_INPUT_BYTES_MAX,
                output_bytes_max: CLIENT_OUTPUT_BYTES_MAX,
            },
            replicas: ShareLimits {
                connections_max: REPLICA_CONNECTIONS_MAX,
                input_bytes_max: REPLICA_INPUT_BYTES_MAX,
                output_bytes_max: REPLICA_OUTPUT_BYTES_MAX,
            },
            engaged_silence_max: ENGAGED_SILENCE_MAX,
            lingering_max: LINGERING_MAX,
            handshaking_max: HANDSHAKING_MAX,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            partial_frame_timeout: PARTIAL_FRAME_TIMEOUT,
            read_bytes_per_conn: READ_BYTES_PER_CONN,
            plain_input_bytes_max: PLAIN_INPUT_BYTES_MAX,
            read_bytes_per_poll: READ_BYTES_PER_POLL,
            output_bytes_max: OUTPUT_BYTES_MAX,
            output_bytes_high: OUTPUT_BYTES_HIGH,
            linger_timeout: LINGER_TIMEOUT,
            peer_silence_timeout: PEER_SILENCE_TIMEOUT,
            client_silence_timeout: CLIENT_SILENCE_TIMEOUT,
        }
    }
}

impl NetLimits {
    /// Raises this process's limit of open descriptors as far as it may, and lowers the numbers of
    /// places so that connections leave [`DESCRIPTORS_RESERVED`] of them: a process that finds none
    /// left when it must open a file has to stop.
    ///
    /// # Errors
    /// When the operating system does not tell the limit.
    pub fn within_descriptors(mut self) -> io::Result<Self> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let descriptors = usize::try_from(hard).unwrap_or(usize::MAX);
        if let Some(words) = self.share_out_descriptors(descriptors) {
            log::warn!("{words}");
        }
        Ok(self)
    }

    /// Lowers the numbers of places so that a process with so many descriptors has some left. Says so if clients have fewer.
    fn share_out_descriptors(&mut self, descriptors: usize) -> Option<String> {
        let wanted = self.clients.connections_max;
        let needed = self.places() + DESCRIPTORS_RESERVED;
        self.share_out(descriptors.saturating_sub(DESCRIPTORS_RESERVED));
        let left = self.clients.connections_max;
        (left < wanted).then(|| {
            format!(
                "the limit of open files is {descriptors}, so there is room for {left} connections of clients at a time \
                 instead of {wanted}; with a limit of {needed} there is for all (ulimit -Hn, or LimitNOFILE of systemd)"
            )
        })
    }

    /// Places of all kinds.
    fn places(&self) -> usize {
        let kinds = self.clients.connections_max + self.replicas.connections_max;
        kinds + self.handshaking_max + self.lingering_max
    }

    /// Lowers the numbers of places so that they are `most` in sum, but one of each kind at least.
    /// Replicas and hellos keep theirs as long as that takes no more than a quarter each.
    fn share_out(&mut self, most: usize) {
        let quarter = (most / 4).max(1);
        self.replicas.connections_max = self.replicas.connections_max.min(quarter);
        self.handshaking_max = self.handshaking_max.min(quarter);
        self.lingering_max = self.lingering_max.min((quarter / 2).max(1));
        let others = self.replicas.connections_max + self.handshaking_max + self.lingering_max;
        let left = most.saturating_sub(others).max(1);
        self.clients.connections_max = self.clients.connections_max.min(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_leave_places_for_every_kind() {
        for most in [8, 100, 192, 960, 16_383, 16_384, 1_000_000] {
            let mut limits = NetLimits::default();
            limits.share_out(most);
            let places = [
                limits.clients.connections_max,
                limits.replicas.connections_max,
                limits.handshaking_max,
                limits.lingering_max,
            ];
            assert!(
                places.iter().all(|&places| places > 0),
                "{most}: {places:?}"
            );
            assert!(places.iter().sum::<usize>() <= most, "{most}: {places:?}");
        }
        let mut limits = NetLimits::default();
        limits.share_out(CONNECTIONS_MAX);
        assert_eq!(limits, NetLimits::default());
    }

    #[test]
    fn it_is_said_if_there_are_fewer_descriptors_than_places() {
        let enough = CONNECTIONS_MAX + DESCRIPTORS_RESERVED;
        let mut limits = NetLimits::default();
        assert_eq!(limits.share_out_descriptors(enough), None);
        assert_eq!(limits, NetLimits::default());
        let words = limits.share_out_descriptors(1_024).expect("it is too few");
        let left = limits.clients.connections_max;
        for number in [1_024, left, CLIENT_CONNECTIONS_MAX, enough] {
            assert!(words.contains(&number.to_string()), "{number}: {words}");
        }
        assert!(left >= 500, "{left}");
    }
}

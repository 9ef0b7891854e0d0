//! A load generator: many clients on one thread, over the native protocol, Redis's or HTTP.
//!
//! In a *closed* loop a fixed number of requests is in flight on each connection: one is sent when the reply of an earlier one
//! has come, never before, and its latency is counted from the wake-up in which it was sent to the one in which its reply
//! was read, so the generator's own work is inside it. In an *open* loop requests are due at a fixed rate, whatever has been answered,
//! and latency is counted from the moment at which a request was due: what a service keeps waiting, and what the
//! generator sends late, shows. It knows nothing of failover: whatever it measures must stand.

mod fill;
mod http;
mod idle;
mod native;
mod request;
mod stream;
mod syncs;

use std::io;
use std::path::PathBuf;

use hdrhistogram::Histogram;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use standin_core::message::Consistency;
use standin_core::session::SESSION_WINDOW;
use standin_core::time::{Duration, Instant};

pub use fill::fill;
pub use http::{HttpReply, REVISION};
pub use idle::{IDLE_MAX, Idle};
pub use request::{KEY_BYTES, KeyForm, Request, base64, key};

/// Most connections of one run.
pub const CONNECTIONS_MAX: u32 = 10_000;
/// Most requests in flight on one connection: a session's window.
pub const DEPTH_MAX: u64 = SESSION_WINDOW;
/// Most requests that are due in a second.
pub const RATE_MAX: u64 = 100_000_000;
/// How long all connections together may take to be made and to have a session.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Descriptors that this process needs for other things than connections.
const DESCRIPTORS_RESERVED: u64 = 64;
/// Longest latency that the histogram tells apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;
/// Significant decimal digits of a latency.
const LATENCY_DIGITS: u8 = 3;

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As many are in flight on each connection: 1 to [`DEPTH_MAX`].
    Closed(u64),
    /// As many are due in each second, on all connections together, at equal distances: 1 to [`RATE_MAX`]. Over Redis's protocol
    /// alone: a session's window would hold requests back that are due.
    Open(u64),
}

/// What is asked for, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Over the native protocol: this command in the machine's own encoding, in a session for each connection.
    Native(Request),
    /// Over the native protocol: this query in the machine's own encoding.
    Query {
        /// The query.
        request: Request,
        /// What the answer is to rest on.
        consistency: Consistency,
        /// What the machine's answer must be, which is one of Redis's protocol.
        expected: Expected,
    },
    /// Over Redis's protocol, version 2: these bytes, which are answered by one reply for each that is expected here. A request
    /// may be several commands of Redis's, of which all must have been answered.
    Resp(Request, Vec<Expected>),
    /// Over HTTP 1.1, to etcd's JSON gateway: these bytes, which are answered with status 200 and a body that has these words. On each connection one request is in flight, so a depth of D on C connections is C times D connections.
    Http(Request, &'static str),
    /// No service: in this directory, writes of 4 KiB to a preallocated file, as the log has them, each synced (`fdatasync`)
    /// before the next one. The address is not used.
    Syncs(PathBuf),
}

impl From<Vec<u8>> for Request {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

/// What a reply of Redis's must be, or else it is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything but an error.
    Done,
    /// An integer above zero: so many replicas have it, says `WAIT`.
    Positive,
    /// A string of so many bytes.
    String(usize),
}

impl Expected {
    fn fits(self, reply: &[u8]) -> bool {
        match self {
            Self::Done => reply.first() != Some(&b'-'),
            Self::Positive => {
                let number = reply.strip_prefix(b":").map(<[u8]>::trim_ascii_end);
                number.is_some_and(|digits| digits != b"0" && digits.first() != Some(&b'-'))
            }
            Self::String(bytes) => {
                let length = reply.strip_prefix(b"$").unwrap_or_default();
                let end = length.iter().position(|byte| *byte == b'\r').unwrap_or(0);
                let length = str::from_utf8(&length[..end]).ok();
                length.and_then(|digits| digits.parse().ok()) == Some(bytes)
            }
        }
    }
}

/// What to put on a service.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// Where the service listens, `HOST:PORT`.
    pub address: String,
    /// Connections: 1 to [`CONNECTIONS_MAX`].
    pub connections: u32,
    /// When requests are sent.
    pub pace: Pace,
    /// How long to run before counting begins.
    pub warm_up: Duration,
    /// How long to count.
    pub measured: Duration,
    /// The request.
    pub work: Work,
    /// End early on the signals that ask a process to stop, which are then blocked in the calling
    /// thread for good.
    pub heeds_signals: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadResult {
    /// Requests answered while counting.
    pub requests: u64,
    /// How long that was, in seconds.
    pub seconds: f64,
    /// Requests answered per second.
    pub throughput: f64,
    /// Half of the requests were answered within so many microseconds.
    pub p50_us: u64,
    /// 99 of 100 were.
    pub p99_us: u64,
    /// 999 of 1000 were.
    pub p999_us: u64,
    /// All of them were.
    pub max_us: u64,
    /// How long each of them took, in microseconds.
    pub latencies: Histogram<u64>,
    /// Replies that were not what was asked for, and connections that were lost. A connection is not
    /// used after its first.
    pub errors: u64,
    /// The first of them, in words.
    pub first_error: Option<String>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The numbers asked for are out of range.
    #[error(
        "{connections} connections and {pace:?} cannot be measured: use 1 to {CONNECTIONS_MAX} connections, 1 to \
         {DEPTH_MAX} in flight on each, or 1 to {RATE_MAX} a second"
    )]
    Range {
        /// The connections asked for.
        connections: u32,
        /// The pace asked for.
        pace: Pace,
    },
    /// A session's window would hold requests back that are due.
    #[error("a fixed rate cannot be measured over the native protocol: use Redis's")]
    OpenNative,
    /// With one request in flight on a connection, those that are due would be held back.
    #[error("a fixed rate cannot be measured over HTTP: use Redis's protocol")]
    OpenHttp,
    /// Over HTTP each request in flight needs a connection.
    #[error(
        "{wanted} requests in flight over HTTP need as many connections, and {CONNECTIONS_MAX} are the most; use fewer \
         connections, or a lower depth"
    )]
    TooMany {
        /// So many.
        wanted: u64,
    },
    /// A service did not keep the connections that say nothing.
    #[error(
        "{lost} of {count} idle connections to {address} were closed by the service: it keeps fewer; ask for fewer"
    )]
    IdleLost {
        /// Where.
        address: String,
        /// So many were closed.
        lost: usize,
        /// So many there were.
        count: usize,
    },
    /// This process may not open as many files as there are to be connections.
    #[error(
        "{wanted} connections need {needed} file descriptors, and this process may have {limit}; ask for fewer, or raise \
         the limit (ulimit -Hn)"
    )]
    Descriptors {
        /// Connections that were wanted.
        wanted: u64,
        /// Descriptors that they need.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// The service is slower than the rate asked for, and the requests that wait become too many.
    #[error(
        "{address} does not keep up: {waiting} requests wait for their answers; use a lower rate"
    )]
    TooFast {
        /// Where.
        address: String,
        /// So many.
        waiting: usize,
    },
    /// Not every connection could be used in time.
    #[error("{opened} of {wanted} connections could be opened at {address} ({reason})")]
    Open {
        /// Where.
        address: String,
        /// Connections that were opened.
        opened: usize,
        /// Connections that were wanted.
        wanted: usize,
        /// What went wrong.
        reason: String,
    },
    /// No connection is left to measure with.
    #[error("every connection to {address} failed, the first because {reason}")]
    Lost {
        /// Where.
        address: String,
        /// Why the first one did.
        reason: String,
    },
    /// The process was told to stop.
    #[error("interrupted")]
    Interrupted,
    /// This machine refused something: sockets, descriptors, memory.
    #[error("the load generator cannot go on: {0}")]
    Local(#[from] io::Error),
}

/// Puts load on a service and measures.
///
/// # Errors
/// [`LoadError`] if it cannot be begun, or no connection survives.
pub fn run(config: &LoadConfig) -> Result<LoadResult, LoadError> {
    let is_paced = match config.pace {
        Pace::Closed(depth) => (1..=DEPTH_MAX).contains(&depth),
        Pace::Open(rate) => (1..=RATE_MAX).contains(&rate),
    };
    if !is_paced || !(1..=CONNECTIONS_MAX).contains(&config.connections) {
        return Err(LoadError::Range {
            connections: config.connections,
            pace: config.pace,
        });
    }
    secure_descriptors(config.connections.into())?;
    match (&config.work, config.pace) {
        (Work::Native(request), Pace::Closed(depth)) => {
            native::run(config, request, native::Kind::Command, depth)
        }
        (
            Work::Query {
                request,
                consistency,
                expected,
            },
            Pace::Closed(depth),
        ) => native::run(
            config,
            request,
            native::Kind::Query(*consistency, *expected),
            depth,
        ),
        (Work::Native(_) | Work::Query { .. }, Pace::Open(_)) => Err(LoadError::OpenNative),
        (Work::Resp(request, expected), pace) => {
            stream::run(config, request, stream::Language::Resp(expected), pace)
        }
        (Work::Http(request, words), Pace::Closed(depth)) => {
            let config = config.spread(depth)?;
            stream::run(&config, request, stream::Language::Http(words), config.pace)
        }
        (Work::Http(..), Pace::Open(_)) => Err(LoadError::OpenHttp),
        (Work::Syncs(directory), _) => syncs::run(config, directory),
    }
}

/// Raises this process's limit of open files so that it can have so many connections, and as many as it may.
///
/// # Errors
/// [`LoadError::Descriptors`] if the hard limit does not allow it.
pub fn secure_descriptors(connections: u64) -> Result<(), LoadError> {
    let needed = connections + DESCRIPTORS_RESERVED;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(io::Error::from)?;
    if needed > hard {
        return Err(LoadError::Descriptors {
            wanted: connections,
            needed,
            limit: hard,
        });
    }
    if needed > soft {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(io::Error::from)?;
    }
    Ok(())
}

impl LoadConfig {
    fn wanted(&self) -> usize {
        usize::try_from(self.connections).expect("checked against its maximum")
    }

    /// The same load with one request in flight on each connection.
    fn spread(&self, depth: u64) -> Result<Self, LoadError> {
        let wanted = u64::from(self.connections) * depth;
        let connections = u32::try_from(wanted)
            .ok()
            .filter(|connections| *connections <= CONNECTIONS_MAX)
            .ok_or(LoadError::TooMany { wanted })?;
        secure_descriptors(wanted)?;
        Ok(Self {
            connections,
            pace: Pace::Closed(1),
            ..self.clone()
        })
    }

    fn not_open(&self, opened: usize, reason: String) -> LoadError {
        LoadError::Open {
            address: self.address.clone(),
            opened,
            wanted: self.wanted(),
            reason,
        }
    }

    fn lost(&self, run: Run) -> LoadError {
        LoadError::Lost {
            address: self.address.clone(),
            reason: run.recorder.first_error.unwrap_or_default(),
        }
    }
}

/// The time of a run: a warm-up, and then what is counted.
#[derive(Debug)]
struct Run {
    recorder: Recorder,
    measured: Duration,
    /// When counting begins, or began.
    begin: Instant,
    end: Instant,
}

impl Run {
    fn new(config: &LoadConfig, now: Instant) -> Self {
        let begin = now.plus(config.warm_up);
        Self {
            recorder: Recorder::new(),
            measured: config.measured,
            begin,
            end: begin.plus(config.measured),
        }
    }

    /// When [`Run::goes_on`] has something to do, at the latest.
    fn deadline(&self) -> Instant {
        match self.recorder.is_counting {
            true => self.end,
            false => self.begin,
        }
    }

    /// Begins to count when the warm-up is over. False: time is up.
    fn goes_on(&mut self, now: Instant) -> bool {
        if !self.recorder.is_counting && now >= self.begin {
            self.recorder.is_counting = true;
            // From now, since the warm-up may have ended late, and what was answered then is not counted.
            self.begin = now;
            self.end = now.plus(self.measured);
        }
        now < self.end
    }

    fn result(self, now: Instant) -> LoadResult {
        self.recorder.result(now.since(self.begin))
    }
}

/// Counts, once it is told to.
#[derive(Debug)]
struct Recorder {
    is_counting: bool,
    requests: u64,
    latencies: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
}

impl Recorder {
    fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS)
            .expect("the bounds are constants that fit");
        Self {
            is_counting: false,
            requests: 0,
            latencies,
            errors: 0,
            first_error: None,
        }
    }

    fn record(&mut self, latency: Duration) {
        if self.is_counting {
            self.requests += 1;
            let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US);
            self.latencies.saturating_record(micros);
        }
    }

    fn fail(&mut self, reason: String) {
        self.errors += 1;
        self.first_error.get_or_insert(reason);
    }

    fn result(self, elapsed: Duration) -> LoadResult {
        let seconds = elapsed.as_secs_f64();
        LoadResult {
            requests: self.requests,
            seconds,
            throughput: self.requests as f64 / seconds.max(f64::MIN_POSITIVE),
            p50_us: self.latencies.value_at_quantile(0.5),
            p99_us: self.latencies.value_at_quantile(0.99),
            p999_us: self.latencies.value_at_quantile(0.999),
            max_us: self.latencies.max(),
            latencies: self.latencies,
            errors: self.errors,
            first_error: self.first_error,
        }
    }
}

#[cfg(test)]
mod tests;

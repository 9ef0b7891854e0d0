//! What becomes of throughput, memory and time as something grows, one thing at a time: `cargo bench --bench growth --
//! keys`, `values`, `connections`, `idle`, `sessions`, `log`.
//!
//! A pair of databases, as processes of their own. It prints; it judges nothing, for how fast something is is the machine's
//! doing as well. What joining and snapshots cost those who are served is measured by `--bench snapshots`.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

mod common;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread;

use standin::machines::kv::arguments;
use standin_core::random::RandomStream;
use standin_core::session::SESSIONS_MAX_LIMIT;
use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;
use standin_tools::cluster::ClusterConfig;
use standin_tools::load::{Expected, LoadResult, Work};

use common::{ClosedLoad, beside, open_sessions, resident_kib, told};
use support::cli::STANDIN;
use support::idle::{self, KINDS, Past, Protocol};
use support::raw::RawClient;
use support::resp::{RespClient, put};
use support::scene::Scene;
use support::{PATIENCE, ms, sure, tell};

/// Connections that ask, and what each has in flight in a pipelined load.
const ACTIVE: usize = 50;
const DEPTH: usize = 16;
/// Bytes that all of them together have in flight, at most.
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// Bytes of a key.
const KEY_BYTES: usize = 16;
/// Keys that one request fills.
const KEYS_AT_ONCE: u64 = 500;
/// Such requests in flight.
const REQUESTS_AT_ONCE: usize = 16;
const KEYS: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
const SMALL_VALUE_BYTES: usize = 16;
const VALUE_BYTES: [usize; 7] = [16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10];
/// Keys among which large values are spread: what they all hold fits into memory.
const VALUE_KEYS: u64 = 10_000;
const CONNECTIONS: [usize; 6] = [1, 10, 100, 1_000, 5_000, 10_000];
/// Idle connections beside those that ask, where both are compared.
const IDLE: usize = 5_000;
const ROUNDS: usize = 5;
/// How long a load runs before it counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// What is asked again and again where it does not matter what.
const INCR: [&[u8]; 2] = [b"INCR", b"counter:00000000"];
/// Nearly as many sessions as there can be at most, and fewer: the loads have some, too.
const SESSIONS: [u64; 4] = [1_000, 10_000, 100_000, 999_000];
/// Entries between snapshots where one is to fall into each measurement, and where none is.
const SOON: u64 = 400_000;
const NEVER: u64 = 1 << 40;
/// How large the log grows, unless it is said.
const LOG_GIB: u64 = 20;
/// Values with which it does.
const LOG_VALUE_BYTES: usize = 64 << 10;
/// How long small commands are measured after each step.
const SMALL_SECONDS: u64 = 2;
/// How a replica keeps all of its log and starts from nothing else.
const KEEPS_ALL: [&str; 3] = ["--keep-log", "--snapshot-every", "0"];
/// How long to wait before files or processes are looked at again.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// How long allocators and sockets get to settle before memory is looked at.
const SETTLE: Duration = Duration::from_millis(500);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_asked_for = |name: &str| words.iter().any(|word| word == name);
    let number = words.iter().find_map(|word| word.parse().ok());
    let mut kinds = KINDS.to_vec();
    if is_asked_for("resp") || is_asked_for("native") {
        kinds.retain(|(protocol, _)| match protocol {
            Protocol::Resp => is_asked_for("resp"),
            Protocol::Native => is_asked_for("native"),
        });
    }
    match () {
        () if is_asked_for("keys") => keys(number.unwrap_or(5)),
        () if is_asked_for("values") => values(number.unwrap_or(5)),
        () if is_asked_for("connections") => connections(&kinds, number.unwrap_or(3)),
        () if is_asked_for("idle") && is_asked_for("asleep") => {
            beside_idle(&kinds, number.unwrap_or(3), &["--busy-poll", "0"]);
        }
        () if is_asked_for("idle") => beside_idle(&kinds, number.unwrap_or(3), &[]),
        () if is_asked_for("sessions") => sessions(number.unwrap_or(5)),
        () if is_asked_for("log") => log(number.unwrap_or(LOG_GIB)),
        () => tell(
            "say what is to grow: keys, values, connections, idle (asleep), of both protocols or resp or native, sessions or log; and how many seconds each load lasts, or GiB the log has",
        ),
    }
}

/// A pair of databases, of which `a` is the primary.
struct Databases {
    scene: Scene,
    resp: String,
    native: String,
}

impl Databases {
    fn start(title: &str, arguments: &[&str]) -> Self {
        let config = ClusterConfig {
            machine: "kv".to_owned(),
            serves_resp: true,
            lease: Duration::from_secs(5),
            replica_arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            ..ClusterConfig::new(STANDIN)
        };
        let mut scene = Scene::with(title, config);
        sure(scene.start_all(&["a"]));
        scene.until_record("a primary", |record| record.active.then_some(()));
        sure(scene.start("b"));
        scene.until_pair();
        Self::of(scene)
    }

    /// The same after a load: what the process takes to serve at all is there before it is looked at.
    fn start_asked(title: &str, arguments: &[&str], protocol: Protocol, seconds: u64) -> Self {
        let databases = Self::start(title, arguments);
        load(databases.address(protocol), protocol, DEPTH as u64, seconds);
        databases
    }

    fn of(scene: Scene) -> Self {
        let resp = sure(scene.resp_address("a")).to_owned();
        let native = sure(scene.address("a")).to_owned();
        Self {
            scene,
            resp,
            native,
        }
    }

    fn address(&self, protocol: Protocol) -> &str {
        match protocol {
            Protocol::Resp => &self.resp,
            Protocol::Native => &self.native,
        }
    }

    /// Processor time of the thread of the primary that serves.
    fn processor_time(&self) -> Duration {
        processor_time(self.scene.pid("a").expect("it runs"))
    }

    /// Resident memory of the primary, in KiB.
    fn resident_kib(&self) -> u64 {
        resident_kib(self.scene.pid("a").expect("it runs"))
    }
}

fn seconds_since(begun: Instant) -> f64 {
    clock::boot().since(begun).as_secs_f64()
}

fn key(number: u64) -> String {
    format!("{number:0KEY_BYTES$}")
}

/// A request about one key, which is another one each time.
struct Request {
    bytes: Vec<u8>,
    key_at: usize,
    keys: u64,
    random: RandomStream,
}

impl Request {
    /// `SET` of one of so many keys.
    fn set(keys: u64, value: &[u8]) -> Self {
        let mut bytes = Vec::new();
        put(&mut bytes, &[b"SET", key(0).as_bytes(), value]);
        Self::of(bytes, keys)
    }

    /// `INCR` of one of so many keys, none of which is one that [`Request::set`] has.
    fn incr(keys: u64) -> Self {
        let mut bytes = Vec::new();
        put(
            &mut bytes,
            &[b"INCR".to_vec(), [&b"n"[..], key(0).as_bytes()].concat()],
        );
        Self::of(bytes, keys)
    }

    fn of(bytes: Vec<u8>, keys: u64) -> Self {
        let is_key = |bytes: &[u8]| bytes == key(0).as_bytes();
        let key_at = bytes.windows(KEY_BYTES).position(is_key);
        Self {
            bytes,
            key_at: key_at.expect("it has one"),
            keys,
            random: RandomStream::new(keys, 0),
        }
    }

    /// Appends the next one.
    fn put(&mut self, out: &mut Vec<u8>) {
        let mut number = self.random.below(self.keys);
        for digit in self.bytes[self.key_at..][..KEY_BYTES].iter_mut().rev() {
            *digit = b"0123456789"[sure(usize::try_from(number % 10))];
            number /= 10;
        }
        out.extend_from_slice(&self.bytes);
    }
}

/// What a load of requests that differ came to.
struct Figures {
    per_second: f64,
    p50_us: u128,
    p99_us: u128,
    /// Processor time of the primary for each.
    each_us: f64,
}

impl Figures {
    fn told(&self, what: &str, depth: usize) -> String {
        format!(
            "{:.0} {what}/s, {depth} of them at once p50 {} us, p99 {} us, {:.2} us of the primary's time for each",
            self.per_second, self.p50_us, self.p99_us, self.each_us
        )
    }
}

/// Requests that differ, until so many seconds are over or `is_over`, each answered in one line: on each connection
/// `depth` of them are sent at once, and the next ones when all are answered. Latency is that of so many.
fn traffic(
    databases: &Databases,
    depth: usize,
    is_over: impl Fn(Duration) -> bool,
    mut request: Request,
) -> Figures {
    let mut streams: Vec<TcpStream> = (0..ACTIVE)
        .map(|_| {
            let stream = sure(TcpStream::connect(&databases.resp));
            sure(stream.set_nodelay(true));
            sure(stream.set_read_timeout(Some(PATIENCE)));
            stream
        })
        .collect();
    let mut sent_at = vec![Instant::ZERO; ACTIVE];
    let mut output = Vec::new();
    let mut input = vec![0; 64 << 10];
    let mut latencies = Vec::new();
    let processor_before = databases.processor_time();
    let begun = clock::boot();
    let mut answered = 0;
    for round in 0.. {
        let ends = is_over(clock::boot().since(begun));
        for (stream, sent_at) in streams.iter_mut().zip(&mut sent_at) {
            let mut left = if round > 0 { depth } else { 0 };
            while left > 0 {
                let count = sure(stream.read(&mut input));
                let replies = &input[..count];
                assert!(count > 0 && !replies.contains(&b'-'), "no error comes");
                let replies = replies.iter().filter(|byte| **byte == b'\n').count();
                left -= replies;
                answered += replies;
            }
            if round > 0 {
                latencies.push(clock::boot().since(*sent_at).as_micros());
            }
            if ends {
                continue;
            }
            output.clear();
            (0..depth).for_each(|_| request.put(&mut output));
            *sent_at = clock::boot();
            sure(stream.write_all(&output));
        }
        if ends {
            break;
        }
    }
    let seconds = seconds_since(begun);
    let took = databases.processor_time().saturating_sub(processor_before);
    latencies.sort_unstable();
    let at = |hundredths: usize| latencies[(latencies.len() - 1) * hundredths / 100];
    Figures {
        per_second: answered as f64 / seconds,
        p50_us: at(50),
        p99_us: at(99),
        each_us: took.as_secs_f64() * 1e6 / answered.max(1) as f64,
    }
}

/// The same for so many seconds.
fn traffic_for(databases: &Databases, depth: usize, seconds: u64, request: Request) -> Figures {
    let most = Duration::from_secs(seconds);
    traffic(databases, depth, |elapsed| elapsed >= most, request)
}

/// A value for each key from `from` up to `to`.
fn fill(address: &str, from: u64, to: u64, value: &[u8]) {
    let mut numbers = from..to;
    let mut client = RespClient::connect(address);
    while !numbers.is_empty() {
        let mut requests = Vec::new();
        let mut sent = 0;
        while sent < REQUESTS_AT_ONCE && !numbers.is_empty() {
            let keys: Vec<String> = numbers
                .by_ref()
                .take(sure(usize::try_from(KEYS_AT_ONCE)))
                .map(key)
                .collect();
            let mut words = vec![&b"MSET"[..]];
            for key in &keys {
                words.extend([key.as_bytes(), value]);
            }
            put(&mut requests, &words);
            sent += 1;
        }
        client.send(&requests);
        (0..sent).for_each(|_| assert!(!client.reply().is_error()));
    }
}

fn keys(seconds: u64) {
    let databases = Databases::start("keys", &[]);
    let value = [b'x'; SMALL_VALUE_BYTES];
    // What the process takes to serve at all is there before it is looked at.
    traffic_for(&databases, DEPTH, seconds, Request::set(1, &value));
    let empty = databases.resident_kib();
    tell(format_args!("hardly any key: {} MiB", empty >> 10));
    let mut filled = 0;
    for keys in KEYS {
        let begun = clock::boot();
        fill(&databases.resp, filled, keys, &value);
        let filled_in = seconds_since(begun);
        filled = keys;
        let request = Request::set(keys, &value);
        let figures = traffic_for(&databases, DEPTH, seconds, request);
        let resident = databases.resident_kib();
        tell(format_args!(
            "{keys} keys (filled in {filled_in:.1} s): {}; {} MiB, {} bytes for each key",
            figures.told("SET", DEPTH),
            resident >> 10,
            (resident.saturating_sub(empty) << 10) / keys
        ));
    }
}

fn values(seconds: u64) {
    for value_bytes in VALUE_BYTES {
        let databases = Databases::start("values", &[]);
        let value = vec![b'x'; value_bytes];
        let depth = DEPTH.min(IN_FLIGHT_BYTES_MAX / ACTIVE / value_bytes).max(1);
        let request = Request::set(VALUE_KEYS, &value);
        let figures = traffic_for(&databases, depth, seconds, request);
        tell(format_args!(
            "{value_bytes} bytes: {}, {:.1} MB/s; {} MiB",
            figures.told("SET", depth),
            figures.per_second * value_bytes as f64 / 1e6,
            databases.resident_kib() >> 10
        ));
    }
}

/// Connections that say nothing any more.
struct Idle {
    streams: Vec<TcpStream>,
}

impl Idle {
    /// Opens so many more.
    fn add(&mut self, databases: &Databases, kind: (Protocol, Past), count: usize) {
        let address = databases.address(kind.0);
        self.streams
            .extend((0..count).map(|_| idle::connect(address, kind)));
        // Those that have said nothing were accepted before this one, which is answered.
        RespClient::connect(&databases.resp).call(&["PING"]);
        thread::sleep(SETTLE);
    }
}

fn load(address: &str, protocol: Protocol, depth: u64, seconds: u64) -> LoadResult {
    load_after(WARM_UP, address, protocol, ACTIVE, depth, seconds)
}

fn load_after(
    warm_up: Duration,
    address: &str,
    protocol: Protocol,
    active: usize,
    depth: u64,
    seconds: u64,
) -> LoadResult {
    let mut request = Vec::new();
    put(&mut request, &INCR);
    let work = match protocol {
        Protocol::Resp => Work::Resp(request.into(), vec![Expected::Done]),
        Protocol::Native => Work::Native(incr().into()),
    };
    let load = ClosedLoad {
        address,
        connections: active,
        depth,
        warm_up,
        seconds,
        work,
    };
    load.run()
}

/// [`INCR`] as a command of the machine's.
fn incr() -> Vec<u8> {
    arguments::command(Version::Resp2, DatabaseId::default(), &INCR)
}

/// More and more connections, of which [`ACTIVE`] ask.
fn connections(kinds: &[(Protocol, Past)], seconds: u64) {
    for &(protocol, past) in kinds {
        let databases = Databases::start_asked("connections", &[], protocol, seconds);
        thread::sleep(SETTLE);
        let address = databases.address(protocol);
        let before = databases.resident_kib();
        let mut idle = Idle {
            streams: Vec::new(),
        };
        for all in CONNECTIONS {
            let active = all.min(ACTIVE);
            let wanted = all - active;
            let missing = wanted - idle.streams.len();
            let begun = clock::boot();
            idle.add(&databases, (protocol, past), missing);
            let opened_in = clock::boot().since(begun);
            let resident = databases.resident_kib();
            let each = (resident.saturating_sub(before) << 10) / (wanted.max(1) as u64);
            for depth in [DEPTH as u64, 1] {
                let result = load_after(WARM_UP, address, protocol, active, depth, seconds);
                tell(format_args!(
                    "{protocol:?}, {past:?}, {all} connections (the last {missing} within {}), {active} x {depth}: {}; {} \
                     MiB, {each} bytes for each idle one",
                    ms(opened_in),
                    told(&result),
                    resident >> 10
                ));
            }
        }
    }
}

/// Processor time that a process's first thread has taken, which in a replica is the one that serves.
fn processor_time(pid: u32) -> Duration {
    let told = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let nanos = told
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// A load, and how much processor time of the primary each of its requests took.
fn costed(
    databases: &Databases,
    protocol: Protocol,
    depth: u64,
    seconds: u64,
) -> (LoadResult, f64) {
    let before = databases.processor_time();
    let result = load_after(
        Duration::ZERO,
        databases.address(protocol),
        protocol,
        ACTIVE,
        depth,
        seconds,
    );
    let took = databases.processor_time().saturating_sub(before);
    let each = took.as_secs_f64() * 1e6 / result.requests.max(1) as f64;
    (result, each)
}

/// With and without [`IDLE`] idle connections, in turns. If nobody looks for events without sleeping, the processor time
/// tells what they cost even on a machine that has other things to do.
fn beside_idle(kinds: &[(Protocol, Past)], seconds: u64, arguments: &[&str]) {
    // To ask much on thousands of connections, again and again, would take long.
    let quick = |kind: &&(Protocol, Past)| kind.1 != Past::AskedLarge;
    for &(protocol, past) in kinds.iter().filter(quick) {
        let databases = Databases::start_asked("idle", arguments, protocol, seconds);
        for depth in [DEPTH as u64, 1] {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let without = costed(&databases, protocol, depth, seconds);
                let mut idle = Idle {
                    streams: Vec::new(),
                };
                idle.add(&databases, (protocol, past), IDLE);
                let with = costed(&databases, protocol, depth, seconds);
                drop(idle);
                thread::sleep(SETTLE);
                rounds.push((without, with));
            }
            let ratios = |of: fn(&(LoadResult, f64)) -> f64| {
                let mut ratios: Vec<f64> = rounds
                    .iter()
                    .map(|(without, with)| of(with) / of(without))
                    .collect();
                ratios.sort_by(f64::total_cmp);
                let (middle, last) = (ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
                format!("{middle:.3} ({:.3} to {last:.3})", ratios[0])
            };
            let (without, with) = &rounds[0];
            tell(format_args!(
                "{protocol:?}, {past:?}, {ACTIVE} x {depth}, beside {IDLE} idle ones: {} of throughput, {} of the primary's \
                 time for each request; the first round without: {}, {:.2} us; with: {}, {:.2} us",
                ratios(|(result, _)| result.throughput),
                ratios(|(_, each)| *each),
                told(&without.0),
                without.1,
                told(&with.0),
                with.1
            ));
        }
    }
}

/// How long files were being written in a directory, as far as it was looked at.
#[derive(Default)]
struct Writing {
    since: Option<Instant>,
    took: Vec<Duration>,
    names: BTreeSet<String>,
}

impl Writing {
    fn look(&mut self, directory: &Path) {
        let listed = fs::read_dir(directory).into_iter().flatten().flatten();
        let names = listed.map(|entry| entry.file_name().to_string_lossy().into_owned());
        self.names = names.collect();
        let is_writing = self.names.iter().any(|name| name.ends_with(".tmp"));
        let now = clock::boot();
        match (is_writing, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(since)) => {
                self.took.push(now.since(since));
                self.since = None;
            }
            _ => {}
        }
    }
}

fn sessions(seconds: u64) {
    for every in [NEVER, SOON] {
        let every = every.to_string();
        let arguments = [
            "--snapshot-every",
            &every,
            "--sessions-max",
            &SESSIONS_MAX_LIMIT.to_string(),
        ];
        let databases = Databases::start_asked("sessions", &arguments, Protocol::Native, seconds);
        thread::sleep(SETTLE);
        let address = databases.address(Protocol::Native);
        let before = databases.resident_kib();
        let directory = databases.scene.directory().join("a/snapshots");
        let mut opened = 0;
        for sessions in SESSIONS {
            let begun = clock::boot();
            open_sessions(&mut RawClient::connect(address), sessions - opened, &incr());
            let opened_in = seconds_since(begun);
            opened = sessions;
            let resident = databases.resident_kib();
            let mut writing = Writing::default();
            let result = beside(
                LOOK_PAUSE,
                || writing.look(&directory),
                || load(address, Protocol::Native, DEPTH as u64, seconds),
            );
            tell(format_args!(
                "snapshots every {every} entries, {sessions} sessions (the last within {opened_in:.1} s), {} MiB, {} bytes \
                 for each: {}; snapshots were written for {:?}",
                resident >> 10,
                (resident.saturating_sub(before) << 10) / sessions,
                told(&result),
                writing.took
            ));
        }
    }
}

/// Bytes of all files in a directory, as far as they are there.
fn bytes_of(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let listed = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = listed.filter_map(|entry| entry.metadata().ok());
    files.map(|file| file.blocks() * 512).sum()
}

/// A log that grows, at a primary that keeps all of it beside a backup that does not; and a start with it.
fn log(gib: u64) {
    let often = (1_u64 << 30) / LOG_VALUE_BYTES as u64;
    let often = often.to_string();
    let config = ClusterConfig {
        machine: "kv".to_owned(),
        serves_resp: true,
        lease: Duration::from_secs(5),
        ..ClusterConfig::new(STANDIN)
    };
    let mut scene = Scene::with("log", config);
    sure(scene.start_all(&[]));
    sure(scene.spawn_with("a", &KEEPS_ALL));
    scene.until("a", |scene| sure(scene.is_ready("a")).then_some(()));
    scene.until_record("a primary", |record| record.active.then_some(()));
    sure(scene.spawn_with("b", &["--snapshot-every", &often]));
    scene.until("b", |scene| sure(scene.is_ready("b")).then_some(()));
    scene.until_pair();
    let mut databases = Databases::of(scene);
    let directory = databases.scene.directory().join("a/log");
    let value = vec![b'x'; LOG_VALUE_BYTES];
    let depth = IN_FLIGHT_BYTES_MAX / ACTIVE / LOG_VALUE_BYTES;
    for step in 1..=gib {
        let enough = step << 30;
        let begun = clock::boot();
        let figures = traffic(
            &databases,
            depth,
            |_| bytes_of(&directory) >= enough,
            Request::set(VALUE_KEYS / 10, &value),
        );
        let of_small = traffic_for(&databases, DEPTH, SMALL_SECONDS, Request::incr(VALUE_KEYS));
        tell(format_args!(
            "up to {step} GiB within {:.1} s: {}; then {}; {} MiB",
            seconds_since(begun),
            figures.told("SET", depth),
            of_small.told("INCR", DEPTH),
            databases.resident_kib() >> 10
        ));
    }
    sure(databases.scene.kill("b"));
    sure(databases.scene.kill("a"));
    let begun = clock::boot();
    sure(databases.scene.spawn_with("a", &KEEPS_ALL));
    let mut most = 0;
    databases.scene.until("a start", |scene| {
        most = scene.pid("a").map_or(0, resident_kib).max(most);
        let status = scene.status().ok()?;
        let one = support::scene::replica(&status, "a")?;
        let standing = one.standing.as_ref()?;
        (one.is_alive && standing.last.index.0 > 0).then_some(())
    });
    tell(format_args!(
        "killed and started again with {} MiB of log: it reports after {:.1} s",
        bytes_of(&directory) >> 20,
        seconds_since(begun)
    ));
    databases
        .scene
        .until_record("a primary", |record| record.active.then_some(()));
    let mut client = RespClient::connect(sure(databases.scene.resp_address("a")));
    // It may be about to serve, and says so until then.
    let answer = databases.scene.until("an answer", |_| {
        let answer = client.ask(&["DBSIZE"]);
        (!answer.is_error()).then_some(answer)
    });
    tell(format_args!(
        "and answers after {:.1} s ({answer:?}); at most {} MiB until it reported, {} MiB then",
        seconds_since(begun),
        most >> 10,
        databases.resident_kib() >> 10
    ));
}

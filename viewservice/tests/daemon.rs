//! The view service as a real process with real sockets, signals and clocks.
//!
//! Without the usual harness: the daemon wants a process whose every thread blocks its signals, so
//! this binary starts itself again as one.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "this is the test harness, too")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests of a shell"
)]

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use standin_core::entry::{Index, LogTip};
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::message::{
    Hello, Lookup, LookupReply, Message, Party, Refusal, Report, ReportReply, RoleName, Room,
    Standing, StatusReply, StatusRequest, Swap, SwapReply,
};
use standin_core::view::{Holder, Reason, ViewId, ViewRecord};
use standin_io::signals::is_ignored;
use standin_viewservice::daemon::{DaemonConfig, run};

/// What each wait allows at most.
const PATIENCE: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_millis(400);
/// Set in the process that is to be the daemon: its data directory.
const DATA: &str = "STANDIN_TEST_DATA";
/// The address that the daemon is to listen on.
const LISTEN: &str = "STANDIN_TEST_LISTEN";

fn main() {
    if let Ok(data) = std::env::var(DATA) {
        return daemon(&data);
    }
    let filter = std::env::args().nth(1).unwrap_or_default();
    for (name, test) in TESTS {
        if filter.starts_with('-') || name.contains(&filter) {
            test();
            println!("test {name} ... ok");
        }
    }
}

const TESTS: [(&str, fn()); 8] = [
    (
        "it_serves_a_cluster_from_its_first_view_to_a_takeover",
        serves,
    ),
    ("a_killed_one_comes_back_with_its_record", comes_back),
    ("a_frozen_one_deposes_nobody_when_it_wakes", frozen),
    ("a_signal_to_stop_stops_it_cleanly", stops),
    ("a_directory_in_use_is_refused", refuses_directory),
    ("bad_options_are_named", bad_options),
    ("garbage_closes_its_own_connection_only", garbage),
    (
        "of_what_came_together_with_what_it_refused_nothing_counts",
        refused_for_good,
    ),
];

fn daemon(data: &str) {
    env_logger::init();
    let outcome = run(DaemonConfig {
        rebuild: false,
        listen: std::env::var(LISTEN).unwrap(),
        data: data.into(),
        lease: LEASE,
        http: None,
        on_ready: Box::new(|on| println!("ready {}", on.address)),
    });
    if let Err(error) = outcome {
        println!("error {error}");
        std::process::exit(1);
    }
}

fn serves() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let (mut a, mut b) = (Peer::new(&service, "a", 1), Peer::new(&service, "b", 1));
    assert_eq!(a.ask::<_, LookupReply>(&Lookup).view, None);
    make_pair(&mut a, &mut b);
    let lookup: LookupReply = b.ask(&Lookup);
    assert_eq!(lookup.primary.as_deref(), Some("a:1"));

    // a falls silent; b goes on reporting until it is told of its view.
    let silent_since = Instant::now();
    let record = b.report_until(|record| record.view.0 == 3);
    assert_eq!(record.primary.name, b.identity.name);
    assert_eq!(record.reason, Reason::LeaseExpired);
    assert!(!record.active);
    assert!(
        silent_since.elapsed() >= LEASE / 2,
        "not before the lease was out"
    );
    let status: StatusReply = b.ask(&StatusRequest);
    assert!(
        status
            .unavailable
            .unwrap()
            .contains("b is to be its primary")
    );
    assert!(b.swap(&record, record.activate(&b.identity)).accepted);
    let status: StatusReply = b.ask(&StatusRequest);
    assert_eq!(status.unavailable, None);
    assert!(status.lease_remaining_ms.unwrap() > 0);
}

fn comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path());
    let (mut a, mut b) = (Peer::new(&service, "a", 1), Peer::new(&service, "b", 1));
    let record = make_pair(&mut a, &mut b);
    service.signal(Signal::SIGKILL);
    service.wait();
    let service = Service::start_on(dir.path(), &service.addr.to_string());
    let (mut a, mut b) = (Peer::new(&service, "a", 1), Peer::new(&service, "b", 1));
    assert_eq!(b.report(None).record, Some(record.clone()));
    assert!(a.report(Some(record.id())).granted, "at once");
    let until = Instant::now() + 3 * LEASE;
    while Instant::now() < until {
        b.report(None);
        assert!(a.report(Some(record.id())).granted, "no needless takeover");
    }
}

fn frozen() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let (mut a, mut b) = (Peer::new(&service, "a", 1), Peer::new(&service, "b", 1));
    let record = make_pair(&mut a, &mut b);
    service.freeze();
    let until = Instant::now() + 3 * LEASE;
    while Instant::now() < until {
        // Nobody reads it, so it waits in the socket's buffer.
        b.send_report(None);
        a.send_report(Some(record.id()));
        a.hears_nothing_for(LEASE / 4);
    }
    service.signal(Signal::SIGCONT);
    let until = Instant::now() + 2 * LEASE;
    while Instant::now() < until {
        assert!(a.report(Some(record.id())).granted);
        assert_eq!(b.report(None).record, Some(record.clone()));
    }
}

fn stops() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // As where `nohup` started the tests: what they start ignores it, too.
        if is_ignored(signal).unwrap() {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut service = Service::start(dir.path());
        let _peer = Peer::new(&service, "a", 1);
        service.signal(signal);
        assert!(service.wait().success(), "{signal}");
    }
}

fn refuses_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _service = Service::start(dir.path());
    let error = Service::spawn(dir.path(), "127.0.0.1:0").unwrap_err();
    assert!(error.contains("holds it; stop that process"), "{error}");
}

fn bad_options() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let other = tempfile::tempdir().unwrap();
    for (listen, words) in [
        (service.addr.to_string(), "choose another --listen"),
        ("nonsense".to_owned(), "cannot listen on nonsense"),
    ] {
        let error = Service::spawn(other.path(), &listen).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let config = DaemonConfig {
        rebuild: false,
        listen: "127.0.0.1:0".to_owned(),
        data: other.path().into(),
        lease: Duration::from_millis(5),
        http: None,
        on_ready: Box::new(|_| unreachable!("it must not start")),
    };
    let error = run(config).unwrap_err().to_string();
    assert!(error.contains("a lease of 5ms is not possible"), "{error}");
}

fn garbage() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let (mut a, mut b) = (Peer::new(&service, "a", 1), Peer::new(&service, "b", 1));
    let record = make_pair(&mut a, &mut b);

    let mut raw = TcpStream::connect(service.addr).unwrap();
    raw.set_read_timeout(Some(PATIENCE)).unwrap();
    raw.write_all(&[0xff; 4096]).unwrap();
    // Its hello may come first; then the end, by a reset since not all was read.
    let _ = raw.read_to_end(&mut Vec::new());

    // A message that is no business of a view service's.
    let mut stranger = Peer::new(&service, "c", 1);
    let inspect = standin_core::message::Inspect;
    let refusal: Refusal = stranger.ask(&inspect);
    assert_eq!(refusal, Refusal::Protocol);
    assert!(stranger.is_closed());

    // Another cluster's replica.
    let hello = Hello::new(Party::Replica, Some(ClusterId(12345)), None);
    let mut stranger = Peer::silent(&service, "c", 1);
    let refusal: Refusal = stranger.ask(&hello);
    assert!(matches!(refusal, Refusal::OtherCluster { .. }));

    // Another data directory under a known name.
    let mut stranger = Peer::new(&service, "a", 1);
    stranger.identity.store = StoreId(999);
    stranger.send_report(None);
    let refusal: Refusal = stranger.receive();
    assert!(matches!(refusal, Refusal::NameTaken { .. }));
    assert!(stranger.is_closed());

    assert!(
        a.report(Some(record.id())).granted,
        "the service is unaffected"
    );
}

fn refused_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path());
    let (mut a, mut b) = (Peer::new(&service, "a", 1), Peer::new(&service, "b", 1));
    make_pair(&mut a, &mut b);
    let mut stranger = Peer::new(&service, "a", 1);
    stranger.identity.store = StoreId(999);
    let mut together = stranger.next_report(None);
    stranger.identity.name = ReplicaName::new("z").unwrap();
    together.extend(stranger.next_report(None));
    stranger.stream.write_all(&together).unwrap();
    let refusal: Refusal = stranger.receive();
    assert!(matches!(refusal, Refusal::NameTaken { .. }));
    assert!(stranger.is_closed());
    let status: StatusReply = b.ask(&StatusRequest);
    let names: Vec<_> = (status.replicas.iter())
        .map(|replica| replica.peer.identity.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"], "the second report made no replica");
}

/// View 1 for a, its activation, b's Join: view 2.
fn make_pair(a: &mut Peer, b: &mut Peer) -> ViewRecord {
    let first = a.report(None).record.unwrap();
    assert_eq!(first.primary.name, a.identity.name);
    b.report(None);
    let active = first.activate(&a.identity);
    assert!(a.swap(&first, active.clone()).accepted);
    let holder = Holder {
        name: a.identity.name.clone(),
        token: a.identity.token(Durability::Os),
    };
    let joined = active.join(holder, (&b.identity, b.identity.token(Durability::Os)));
    assert!(a.swap(&active, joined.clone()).accepted);
    assert!(!a.swap(&active, joined.clone()).accepted, "only once");
    assert!(a.report(Some(joined.id())).granted);
    joined
}

/// A daemon in a process of its own, killed when this value goes.
#[derive(Debug)]
struct Service {
    child: Child,
    addr: SocketAddr,
}

impl Service {
    fn start(dir: &Path) -> Self {
        Self::start_on(dir, "127.0.0.1:0")
    }

    fn start_on(dir: &Path, listen: &str) -> Self {
        Self::spawn(dir, listen).unwrap()
    }

    fn spawn(dir: &Path, listen: &str) -> Result<Self, String> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(DATA, dir.join("data"))
            .env(LISTEN, listen)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        match line.trim().strip_prefix("ready ") {
            Some(addr) => Ok(Self {
                addr: addr.parse().unwrap(),
                child,
            }),
            None => {
                assert_eq!(child.wait().unwrap().code(), Some(1));
                Err(line)
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Stops it, and waits until it is.
    fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let until = Instant::now() + PATIENCE;
        let stat = format!("/proc/{}/stat", self.child.id());
        // The state stands behind the name, which is in parentheses.
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            assert!(Instant::now() < until, "the daemon does not freeze");
            std::thread::yield_now();
        }
    }

    fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A replica's connection, spoken by hand.
struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
    identity: Identity,
    number: u64,
}

impl Peer {
    fn new(service: &Service, name: &str, start: u64) -> Self {
        let mut peer = Self::silent(service, name, start);
        let hello: Hello = peer.ask(&Hello::new(Party::Replica, None, None));
        assert_eq!(hello.party, Party::ViewService);
        assert!(hello.cluster.is_some());
        peer
    }

    /// A connection on which nothing has been said.
    fn silent(service: &Service, name: &str, start: u64) -> Self {
        let stream = TcpStream::connect(service.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            input: Vec::new(),
            identity: Identity {
                name: ReplicaName::new(name).unwrap(),
                store: StoreId(u128::from(name.as_bytes()[0])),
                life: Life {
                    boot: BootId(7),
                    incarnation: Incarnation { start, nonce: 1 },
                },
                clean_lives: Vec::new(),
            },
            number: 0,
        }
    }

    fn send(&mut self, message: &impl Message) {
        let mut out = Vec::new();
        message.encode(&mut out);
        self.stream.write_all(&out).unwrap();
    }

    /// The next message of its kind; others are passed over.
    fn receive<M: Message>(&mut self) -> M {
        loop {
            if let Some((kind, payload)) = self.next_frame() {
                if kind == M::KIND {
                    let payload = payload.as_slice();
                    return M::decode(&Frame { kind, payload }).unwrap();
                }
                continue;
            }
            let mut bytes = [0; 4096];
            let count = self.read(&mut bytes).unwrap();
            assert!(count > 0, "closed while waiting for {:?}", M::KIND);
            self.input.extend_from_slice(&bytes[..count]);
        }
    }

    /// Listens for that long, and must not be told anything.
    fn hears_nothing_for(&mut self, duration: Duration) {
        self.stream.set_read_timeout(Some(duration)).unwrap();
        let heard = self.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(heard, Err(ErrorKind::WouldBlock));
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// A read with a time limit is not taken up again by the system after a signal.
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.stream.read(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn next_frame(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        let frame = Frame::decode(&self.input, FRAME_PAYLOAD_BYTES_MAX).unwrap()?;
        let (kind, payload, length) = (frame.kind, frame.payload.to_vec(), frame.len());
        self.input.drain(..length);
        Some((kind, payload))
    }

    fn ask<M: Message, R: Message>(&mut self, message: &M) -> R {
        self.send(message);
        self.receive()
    }

    fn send_report(&mut self, renew: Option<ViewId>) {
        let report = self.next_report(renew);
        self.stream.write_all(&report).unwrap();
    }

    fn next_report(&mut self, renew: Option<ViewId>) -> Vec<u8> {
        self.number += 1;
        let report = Report {
            number: self.number,
            identity: self.identity.clone(),
            address: format!("{}:1", self.identity.name),
            standing: Standing {
                view: ViewId::default(),
                role: RoleName::Spare,
                last: LogTip::default(),
                commit: Index::ZERO,
                applied: Index::ZERO,
                reply_digest: 0,
            },
            renew,
            replace: false,
            trouble: None,
            room: Room::Enough,
            lags: Vec::new(),
            versions: None,
        };
        let mut out = Vec::new();
        report.encode(&mut out);
        out
    }

    /// Reports, and waits for the answer to this very report.
    fn report(&mut self, renew: Option<ViewId>) -> ReportReply {
        self.send_report(renew);
        loop {
            let reply: ReportReply = self.receive();
            if reply.number == self.number {
                return reply;
            }
        }
    }

    fn report_until(&mut self, is_it: impl Fn(&ViewRecord) -> bool) -> ViewRecord {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(record) = self.report(None).record.filter(&is_it) {
                return record;
            }
            assert!(Instant::now() < until, "the record does not change");
        }
    }

    fn swap(&mut self, expected: &ViewRecord, proposed: ViewRecord) -> SwapReply {
        self.number += 1;
        let swap = Swap {
            number: self.number,
            identity: self.identity.clone(),
            expected: expected.clone(),
            proposed,
        };
        self.ask(&swap)
    }

    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).is_ok()
    }
}

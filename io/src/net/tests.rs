//! Tests over real loopback sockets.

mod bounds;
mod flow;
mod handshake;
mod names;
mod plain;
mod shares;

use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};
use std::sync::Once;
use std::time;

use standin_core::frame::{FrameKind, encode_frame};
use standin_core::identity::ClusterId;
use standin_core::message::{Hello, Message as _, Party};

use super::*;

/// How long a test waits for something before it fails.
const PATIENCE: Duration = Duration::from_secs(20);
const CLUSTER: ClusterId = ClusterId(7);

/// One event loop under test, and all that it has reported.
struct Node {
    net: Net,
    addr: SocketAddr,
    ready: Vec<(ConnId, Hello, bool)>,
    frames: Vec<(ConnId, FrameKind, Vec<u8>)>,
    /// Input that was reported and left where it is.
    inputs: Vec<ConnId>,
    closed: Vec<(ConnId, CloseReason)>,
    woken: usize,
    signals: Vec<i32>,
    /// Whether input is consumed as soon as it is reported.
    consumes: bool,
}

impl Node {
    fn new(party: Party) -> Self {
        Self::with(party, Some(CLUSTER), None, NetLimits::default())
    }

    fn with(
        party: Party,
        cluster: Option<ClusterId>,
        machine: Option<MachineId>,
        limits: NetLimits,
    ) -> Self {
        install_logger();
        let mut net = Net::new(NetConfig {
            party,
            cluster,
            machine,
            limits,
        })
        .unwrap();
        let addr = net.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            net,
            addr,
            ready: Vec::new(),
            frames: Vec::new(),
            inputs: Vec::new(),
            closed: Vec::new(),
            woken: 0,
            signals: Vec::new(),
            consumes: true,
        }
    }

    fn limited(limits: NetLimits) -> Self {
        Self::with(Party::Replica, Some(CLUSTER), None, limits)
    }

    /// One wake-up, at most a few milliseconds from now.
    fn turn(&mut self) {
        let mut events = Vec::new();
        let deadline = clock::boot().plus(Duration::from_millis(2));
        self.net.poll(Some(deadline), &mut events).unwrap();
        for event in events {
            match event {
                NetEvent::Ready {
                    conn,
                    hello,
                    peer_is_accepted,
                } => self.ready.push((conn, hello, peer_is_accepted)),
                NetEvent::Input { conn } if self.consumes => self.take_frames(conn),
                NetEvent::Input { conn } => self.inputs.push(conn),
                NetEvent::Closed { conn, reason } => self.closed.push((conn, reason)),
                NetEvent::Woken => self.woken += 1,
                NetEvent::Signal(number) => self.signals.push(number),
            }
        }
        self.net.flush();
    }

    fn take_frames(&mut self, conn: ConnId) {
        let mut bytes = 0;
        for frame in self.net.frames(conn) {
            bytes += frame.len();
            self.frames.push((conn, frame.kind, frame.payload.to_vec()));
        }
        assert!(bytes > 0, "input without a frame");
        self.net.consume(conn, bytes);
    }

    fn connect(&mut self, addr: SocketAddr) -> ConnId {
        let timeout = Duration::from_secs(10);
        self.net.connect(&addr.to_string(), clock::boot(), timeout)
    }

    fn send(&mut self, conn: ConnId, payload: &[u8]) -> bool {
        self.net.send(conn, |out| frame_into(out, payload))
    }

    fn is_closed(&self, conn: ConnId) -> bool {
        self.closed.iter().any(|(closed, _)| *closed == conn)
    }
}

fn frame_into(out: &mut Vec<u8>, payload: &[u8]) {
    encode_frame(out, FrameKind::Query, |out| out.extend_from_slice(payload));
}

fn frame_of(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame_into(&mut out, payload);
    out
}

fn hello_of(party: Party) -> Vec<u8> {
    let mut out = Vec::new();
    Hello::new(party, Some(CLUSTER), None).encode(&mut out);
    out
}

/// Turns the nodes until `done` says so.
#[track_caller]
fn turn_until<const N: usize>(
    mut nodes: [&mut Node; N],
    mut done: impl FnMut(&mut [&mut Node; N]) -> bool,
) {
    let start = time::Instant::now();
    while !done(&mut nodes) {
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        for node in &mut nodes {
            node.turn();
        }
    }
}

/// Two nodes, the first of which has connected to the second; the ids of the connection at each.
#[track_caller]
fn pair(from: &mut Node, to: &mut Node) -> (ConnId, ConnId) {
    let ready_before = to.ready.len();
    let near = from.connect(to.addr);
    turn_until([from, to], |[from, to]| {
        from.ready.iter().any(|(id, ..)| *id == near) && to.ready.len() > ready_before
    });
    (near, to.ready[ready_before].0)
}

/// A plain socket whose peer is under test.
fn raw(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Whether the other side has closed a plain socket. What it sent first is appended to `received`.
fn is_over(stream: &mut TcpStream, received: &mut Vec<u8>) -> bool {
    use std::io::Read as _;
    let mut bytes = [0; 4096];
    match stream.read(&mut bytes) {
        Ok(0) => true,
        Ok(count) => {
            received.extend_from_slice(&bytes[..count]);
            false
        }
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

thread_local! {
    /// What was logged in a test: others run beside it, and their connections may come from the same ports.
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOGGED.with_borrow_mut(|logged| logged.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

fn install_logger() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Recorder).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
}

/// The warnings that name an address.
fn warnings_about(addr: SocketAddr) -> Vec<String> {
    let name = format!("{addr} ");
    LOGGED.with_borrow(|logged| {
        let about = logged.iter().filter(|line| line.contains(&name));
        about.cloned().collect()
    })
}

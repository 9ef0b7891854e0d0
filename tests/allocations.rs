//! How often memory is allocated for a request by itself: never, as soon as everything has grown to its size.
//!
//! Primary and backup run on threads of this process, whose allocations are counted, and answer requests over real
//! sockets from real logs. Each round is many requests at once. What a wake-up takes for all that it brings (the bytes of the
//! batch, say) may be allocated; what is allocated for each request shows at once, since there are hundreds in each.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use standin::machines::kv::arguments;
use standin::replica::Listening;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
use standin_core::message::{
    CommandRequest, Hello, Message as _, OpenSession, Party, Replies, Reply, ReplyStatus, Seen,
};
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;

use support::{embedded, sure, tell};

#[global_allocator]
static COUNTED: dhat::Alloc = dhat::Alloc;

/// Requests of one round over Redis's protocol: as many as one connection may have under way.
const AT_ONCE: usize = 1_000;
/// Sessions of the native protocol, each with as many requests in flight as it may have.
const SESSIONS: usize = 50;
const IN_FLIGHT: u64 = 16;
/// Rounds until everything has its size.
const WARM_UP: usize = 200;
/// Rounds that count.
const ROUNDS: usize = 200;
/// Allocations for a request, at most: what is allocated for each wake-up, shared among those that it brings. One for
/// each request, at either replica, would be fifty times as many, and one for each session's requests twice.
const PER_REQUEST_MAX: f64 = 0.02;

/// Many requests, all sent at once, and all answered. It allocates nothing.
trait Client {
    fn round(&mut self);
}

/// Over Redis's protocol, on one connection.
struct Resp {
    stream: TcpStream,
    requests: Vec<u8>,
    replies: Vec<u8>,
}

impl Resp {
    fn connect(listening: Listening) -> Self {
        let stream = sure(TcpStream::connect(listening.resp.expect("it serves them")));
        sure(stream.set_nodelay(true));
        Self {
            stream,
            requests: b"*2\r\n$4\r\nINCR\r\n$7\r\ncounter\r\n".repeat(AT_ONCE),
            replies: vec![0; 64 << 10],
        }
    }
}

impl Client for Resp {
    fn round(&mut self) {
        sure(self.stream.write_all(&self.requests));
        let mut answered = 0;
        while answered < AT_ONCE {
            let count = sure(self.stream.read(&mut self.replies));
            let replies = &self.replies[..count];
            assert!(count > 0 && !replies.contains(&b'-'), "no error comes");
            answered += replies.iter().filter(|byte| **byte == b'\n').count();
        }
    }
}

/// Over the native protocol, in sessions on one connection.
struct Native {
    stream: TcpStream,
    sessions: Vec<u64>,
    sequence: u64,
    command: Vec<u8>,
    output: Vec<u8>,
    input: Vec<u8>,
    scratch: Vec<u8>,
}

impl Native {
    fn connect(listening: Listening) -> Self {
        let stream = sure(TcpStream::connect(listening.address));
        sure(stream.set_nodelay(true));
        let words = [&b"INCR"[..], b"counter"];
        let mut native = Self {
            stream,
            sessions: Vec::new(),
            sequence: 0,
            command: arguments::command(Version::Resp2, DatabaseId::default(), &words),
            output: Vec::new(),
            input: Vec::new(),
            scratch: vec![0; 64 << 10],
        };
        Hello::new(Party::Client, None, None).encode(&mut native.output);
        for id in 0..SESSIONS as u64 {
            let seen = Seen::default();
            OpenSession { id, seen }.encode(&mut native.output);
        }
        let mut sessions = Vec::new();
        native.exchange(SESSIONS, |reply| {
            let id = reply.bytes.try_into().expect("eight bytes");
            sessions.push(u64::from_le_bytes(id));
        });
        native.sessions = sessions;
        native
    }

    /// Sends what is to be sent, and waits for so many replies, all of which must say that it was done.
    fn exchange(&mut self, replies: usize, mut each: impl FnMut(&Reply<'_>)) {
        sure(self.stream.write_all(&self.output));
        self.output.clear();
        let mut left = replies;
        while left > 0 {
            let count = sure(self.stream.read(&mut self.scratch));
            assert!(count > 0, "the primary hung up");
            self.input.extend_from_slice(&self.scratch[..count]);
            let mut at = 0;
            while let Some(frame) = sure(Frame::decode(&self.input[at..], FRAME_PAYLOAD_BYTES_MAX))
            {
                at += frame.len();
                if matches!(frame.kind, FrameKind::Reply | FrameKind::Replies) {
                    for reply in sure(Replies::decode(&frame)).iter() {
                        assert_eq!(reply.status, ReplyStatus::Done);
                        each(&reply);
                        left -= 1;
                    }
                }
            }
            self.input.drain(..at);
        }
    }
}

impl Client for Native {
    fn round(&mut self) {
        for number in 1..=IN_FLIGHT {
            for session in &self.sessions {
                let request = CommandRequest {
                    id: 0,
                    seen: Seen::default(),
                    session: *session,
                    sequence: self.sequence + number,
                    acknowledged: self.sequence,
                    bytes: &self.command,
                };
                request.encode(&mut self.output);
            }
        }
        self.sequence += IN_FLIGHT;
        let requests = self.sessions.len() * usize::try_from(IN_FLIGHT).expect("small");
        self.exchange(requests, |_| {});
    }
}

fn blocks() -> u64 {
    dhat::HeapStats::get().total_blocks
}

/// Allocations of the whole process for each of `requests`, in the best of many rounds of so many: how many wake-ups a
/// round takes is chance, and what a request takes it takes in every round.
fn measure(what: &str, client: &mut dyn Client, requests: usize) -> f64 {
    (0..WARM_UP).for_each(|_| client.round());
    let mut best = u64::MAX;
    let begun = blocks();
    for _ in 0..ROUNDS {
        let before = blocks();
        client.round();
        best = best.min(blocks() - before);
    }
    let all = blocks() - begun;
    tell(format_args!(
        "{what}: {best} allocations in the best of {ROUNDS} rounds of {requests} requests, {all} in all"
    ));
    best as f64 / requests as f64
}

#[test]
fn no_request_takes_an_allocation_of_its_own() {
    embedded::beside_counted_pair(|listening| {
        let resp = measure("Redis's protocol", &mut Resp::connect(listening), AT_ONCE);
        let in_sessions = SESSIONS * usize::try_from(IN_FLIGHT).expect("small");
        let native = measure("sessions", &mut Native::connect(listening), in_sessions);
        assert!(
            resp <= PER_REQUEST_MAX,
            "{resp} for each over Redis's protocol"
        );
        assert!(native <= PER_REQUEST_MAX, "{native} for each in a session");
    });
}

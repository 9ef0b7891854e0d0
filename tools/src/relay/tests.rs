//! The relay's two sides, as threads, against an echo and clients of the test's own.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;

use standin_core::message::Replies;

use super::*;
use crate::load::{self, Expected, LoadConfig, Pace, Work};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// An echo that runs as long as the test's process does.
fn spawn_echo() -> SocketAddr {
    let mut net = new_net(Party::Replica).unwrap();
    let address = net.listen(any_port()).unwrap();
    thread::spawn(move || Echo { net }.run());
    address
}

/// A front that runs until its echo goes.
fn spawn_front(echo: SocketAddr, reply_bytes: usize) -> SocketAddr {
    let mut net = new_net(Party::Replica).unwrap();
    let address = net.listen(any_port()).unwrap();
    thread::spawn(move || Front::new(net, echo.to_string(), reply_bytes).run());
    address
}

/// Polls until `done` says so, handing it each event.
fn until(net: &mut Net, mut done: impl FnMut(&mut Net, NetEvent) -> bool) {
    let end = clock::boot().plus(PATIENCE);
    let mut events = Vec::new();
    loop {
        let now = net.poll(Some(end), &mut events).unwrap();
        for event in events.drain(..) {
            if done(net, event) {
                return;
            }
        }
        assert!(now.boot < end, "nothing came of it in time");
    }
}

#[test]
fn every_command_is_answered_in_order_with_a_reply_of_the_size_asked_for() {
    let address = spawn_front(spawn_echo(), 24);
    let config = LoadConfig {
        address: address.to_string(),
        connections: 7,
        pace: Pace::Closed(5),
        warm_up: Duration::from_millis(50),
        measured: Duration::from_millis(200),
        work: Work::Native(vec![1; 9].into()),
        heeds_signals: false,
    };
    let result = load::run(&config).unwrap();
    assert_eq!((result.errors, result.first_error), (0, None));
    assert!(result.requests > 0, "nothing was answered");

    let mut client = new_net(Party::Client).unwrap();
    let conn = client.connect(&address.to_string(), clock::boot(), PATIENCE);
    client.send(conn, |out| command(3, out));
    until(&mut client, |net, event| {
        let is_input = matches!(event, NetEvent::Input { .. });
        if is_input {
            let frame = net.frames(conn).next().unwrap();
            let reply = Reply::decode(&frame).unwrap();
            assert_eq!((reply.id, reply.bytes.len()), (3, 24));
            assert_eq!(reply.status, ReplyStatus::Done);
        }
        is_input
    });
}

#[test]
fn each_request_of_redis_protocol_is_answered_once_whatever_pieces_it_comes_in() {
    let mut net = new_net(Party::Replica).unwrap();
    let address = net.listen_plain(any_port()).unwrap();
    let echo = spawn_echo();
    thread::spawn(move || Front::new(net, echo.to_string(), 8).run());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let requests = b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nINCR\r\n$1\r\nk\r\nPING\r\n";
    let mut answers = [0; 3 * PLAIN_REPLY.len()];
    for piece in [1, 7, requests.len()] {
        for part in requests.chunks(piece) {
            stream.write_all(part).unwrap();
        }
        stream.read_exact(&mut answers).unwrap();
        assert_eq!(answers.as_slice(), PLAIN_REPLY.repeat(3));
    }
    // Nothing more comes: what is sent next is answered next.
    let config = LoadConfig {
        address: address.to_string(),
        connections: 3,
        pace: Pace::Closed(4),
        warm_up: Duration::from_millis(20),
        measured: Duration::from_millis(100),
        work: Work::Resp(requests.to_vec().into(), vec![Expected::Positive; 3]),
        heeds_signals: false,
    };
    let result = load::run(&config).unwrap();
    assert_eq!((result.errors, result.first_error), (0, None));
    assert!(result.requests > 0, "nothing was answered");
    stream.write_all(b"*1\r\n$-7\r\n").unwrap();
    assert_eq!(stream.read(&mut answers).unwrap(), 0, "it hangs up");

    // It waits for no more of who has said all that it will say.
    for end in ["", "*1\r\n$4\r\nPI"] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"PING\r\nPING\r\n").unwrap();
        stream.write_all(end.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        assert_eq!(answers, PLAIN_REPLY.repeat(2), "{end:?}");
    }
}

#[test]
fn nothing_is_answered_before_the_echo() {
    let mut echo = new_net(Party::Replica).unwrap();
    let echo_address = echo.listen(any_port()).unwrap();
    let mut net = new_net(Party::Replica).unwrap();
    let address = net.listen(any_port()).unwrap();
    let mut front = Front::new(net, echo_address.to_string(), 8);
    let mut client = new_net(Party::Client).unwrap();
    let conn = client.connect(&address.to_string(), clock::boot(), PATIENCE);
    client.send(conn, |out| {
        command(1, out);
        command(2, out);
    });
    // All three take turns on this thread, so that what was sent has arrived when it is looked for.
    let mut forwarded = None;
    let end = clock::boot().plus(PATIENCE);
    let mut events = Vec::new();
    while forwarded.is_none() {
        assert!(clock::boot() < end, "nothing was forwarded in time");
        client.poll(soon(), &mut events).unwrap();
        assert!(front.turn(soon(), &mut events).unwrap());
        front.net.flush();
        echo.poll(soon(), &mut events).unwrap();
        for event in events.drain(..) {
            if let NetEvent::Input { conn } = event {
                let frame = echo.frames(conn).next().unwrap();
                forwarded = Some((conn, Entries::decode(&frame).unwrap().round));
            }
        }
    }
    client.poll(soon(), &mut events).unwrap();
    assert_eq!(client.frames(conn).count(), 0, "answered before the echo");

    let (to_front, round) = forwarded.unwrap();
    let message = Entries {
        nonce: 0,
        view: ViewId::default(),
        round,
        commit: Index::ZERO,
        bytes: &[],
    };
    echo.send(to_front, |out| message.encode(out));
    let mut answers = Vec::new();
    while answers.len() < 2 {
        assert!(clock::boot() < end, "nothing was answered in time");
        echo.poll(soon(), &mut events).unwrap();
        assert!(front.turn(soon(), &mut events).unwrap());
        client.poll(soon(), &mut events).unwrap();
        let frames = client.frames(conn);
        let ids = |frame: Frame<'_>| {
            let replies = Replies::decode(&frame).unwrap();
            replies.iter().map(|reply| reply.id).collect::<Vec<_>>()
        };
        answers = frames.flat_map(ids).collect();
    }
    assert_eq!(answers, [1, 2]);
}

fn soon() -> Option<Instant> {
    Some(clock::boot().plus(Duration::from_millis(1)))
}

#[test]
fn a_frame_that_is_no_command_is_refused() {
    let address = spawn_front(spawn_echo(), 8);
    let mut client = new_net(Party::Client).unwrap();
    let conn = client.connect(&address.to_string(), clock::boot(), PATIENCE);
    client.send(conn, |out| standin_core::message::Lookup.encode(out));
    until(&mut client, |_, event| {
        if let NetEvent::Closed { reason, .. } = event {
            assert!(reason.to_string().contains("refused"), "{reason}");
            return true;
        }
        false
    });
}

fn command(id: u64, out: &mut Vec<u8>) {
    let request = CommandRequest {
        id,
        seen: Seen::default(),
        session: 1,
        sequence: id,
        acknowledged: 0,
        bytes: b"add",
    };
    request.encode(out);
}

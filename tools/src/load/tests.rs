//! The generator against a service of the test's own that answers as the test wants.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use standin_core::frame::FrameKind;
use standin_core::message::{CommandRequest, Party, Reply, ReplyStatus, Seen};
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};

use super::*;

/// A service with one session for each connection, as a thread that lives as long as the process.
///
/// `answer` is handed each request and appends the reply.
fn serve(answer: impl Fn(&CommandRequest<'_>, &mut Vec<u8>) + Send + 'static) -> String {
    let mut net = Net::new(NetConfig {
        party: Party::Replica,
        cluster: None,
        machine: None,
        limits: NetLimits::default(),
    })
    .unwrap();
    let address = net.listen(([127, 0, 0, 1], 0).into()).unwrap();
    thread::spawn(move || {
        let mut events = Vec::new();
        loop {
            net.poll(None, &mut events).unwrap();
            for event in events.drain(..) {
                if let NetEvent::Input { conn } = event {
                    let (mut out, mut bytes) = (Vec::new(), 0);
                    for frame in net.frames(conn) {
                        bytes += frame.len();
                        match frame.kind {
                            FrameKind::OpenSession => done(0, &7u64.to_le_bytes(), &mut out),
                            _ => answer(&CommandRequest::decode(&frame).unwrap(), &mut out),
                        }
                    }
                    net.consume(conn, bytes);
                    net.send(conn, |to| to.extend_from_slice(&out));
                }
            }
        }
    });
    address.to_string()
}

fn reply(id: u64, status: ReplyStatus, bytes: &[u8], out: &mut Vec<u8>) {
    let reply = Reply {
        id,
        status,
        seen: Seen::default(),
        is_solo: false,
        bytes,
    };
    reply.encode(out);
}

fn done(id: u64, bytes: &[u8], out: &mut Vec<u8>) {
    reply(id, ReplyStatus::Done, bytes, out);
}

fn config(address: String) -> LoadConfig {
    LoadConfig {
        address,
        connections: 3,
        pace: Pace::Closed(4),
        warm_up: Duration::from_millis(20),
        measured: Duration::from_millis(100),
        work: Work::Native(b"add".to_vec()),
        heeds_signals: false,
    }
}

#[test]
fn requests_are_numbered_acknowledged_and_within_the_depth() {
    let address = serve(|request, out| {
        assert_eq!((request.session, request.bytes), (7, b"add".as_slice()));
        let in_flight = request.sequence - request.acknowledged;
        let fits = request.id == request.sequence && (1..=4).contains(&in_flight);
        let status = if fits {
            ReplyStatus::Done
        } else {
            ReplyStatus::SequenceGap
        };
        reply(request.id, status, &[0; 8], out);
    });
    let result = run(&config(address)).unwrap();
    assert_eq!((result.errors, &result.first_error), (0, &None));
    assert!(result.requests > 0 && result.seconds >= 0.1, "{result:?}");
    let rate = result.requests as f64 / result.seconds;
    assert!((result.throughput - rate).abs() < 1.0, "{result:?}");
    assert!(result.p50_us <= result.p99_us && result.p99_us <= result.p999_us);
}

#[test]
fn a_refused_request_is_an_error_and_ends_its_connection() {
    let address = serve(|request, out| {
        // Only the request that follows the first replies fails, on each connection.
        let status = match request.sequence {
            5 => ReplyStatus::Overloaded,
            _ => ReplyStatus::Done,
        };
        reply(request.id, status, &[], out);
    });
    let error = run(&config(address)).unwrap_err().to_string();
    assert!(
        error.contains("request 5 was answered Overloaded"),
        "{error}"
    );
}

#[test]
fn replies_out_of_order_are_noticed() {
    // 2, 1, 4, 3, and so on.
    let address = serve(|request, out| done(((request.id - 1) ^ 1) + 1, &[], out));
    let error = run(&config(address)).unwrap_err().to_string();
    assert!(error.contains("reply 2 came where 1 should"), "{error}");
}

#[test]
fn what_cannot_be_measured_is_refused_and_nobody_there_is_said() {
    for (connections, pace) in [
        (0, Pace::Closed(1)),
        (1, Pace::Closed(0)),
        (1, Pace::Closed(DEPTH_MAX + 1)),
        (CONNECTIONS_MAX + 1, Pace::Closed(1)),
        (1, Pace::Open(0)),
        (1, Pace::Open(RATE_MAX + 1)),
    ] {
        let config = LoadConfig {
            connections,
            pace,
            ..config("127.0.0.1:1".to_owned())
        };
        assert!(matches!(run(&config), Err(LoadError::Range { .. })));
    }
    let error = run(&config("127.0.0.1:1".to_owned())).unwrap_err();
    assert!(
        matches!(
            error,
            LoadError::Open {
                opened: 0,
                wanted: 3,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn latencies_are_told_in_microseconds_and_only_while_counting() {
    let mut recorder = Recorder::new();
    recorder.record(Duration::from_secs(1));
    recorder.is_counting = true;
    for micros in 1..=1000 {
        recorder.record(Duration::from_micros(micros));
    }
    let result = recorder.result(Duration::from_secs(2));
    assert_eq!(result.requests, 1000);
    assert_eq!(
        (result.p50_us, result.p99_us, result.p999_us),
        (500, 990, 999)
    );
    assert!((result.throughput - 500.0).abs() < 1e-9);
}

/// A service that speaks Redis's protocol: it sends `answer` for each `PING` of every connection, as a thread for each.
fn serve_resp(answer: impl Fn(u64) -> Vec<u8> + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let mut bytes = [0; PING.len()];
                let mut number = 0;
                while stream.read_exact(&mut bytes).is_ok() {
                    assert_eq!(bytes, PING);
                    number += 1;
                    if stream.write_all(&answer(number)).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address.to_string()
}

const PING: [u8; 6] = *b"PING\r\n";

fn resp(address: String, expected: &[Expected]) -> LoadConfig {
    LoadConfig {
        work: Work::Resp(PING.to_vec(), expected.to_vec()),
        ..config(address)
    }
}

#[test]
fn requests_of_redis_protocol_are_counted_when_all_their_replies_have_come() {
    let address = serve_resp(|_| b"+PONG\r\n:1\r\n".to_vec());
    let expected = [Expected::Done, Expected::Positive];
    let result = run(&resp(address, &expected)).unwrap();
    assert_eq!((result.errors, &result.first_error), (0, &None));
    assert!(result.requests > 0 && result.seconds >= 0.1, "{result:?}");
}

#[test]
fn replies_of_redis_protocol_that_are_not_what_was_asked_for_are_errors() {
    for (answer, expected, words) in [
        (&b"-ERR no\r\n"[..], Expected::Done, "'-ERR no'"),
        (b":0\r\n", Expected::Positive, "':0'"),
        (b"+OK\r\n", Expected::Positive, "'+OK'"),
        (b"nonsense\r\n", Expected::Done, "cannot begin with"),
        (b":1\r\n:1\r\n", Expected::Done, "nobody had asked for"),
    ] {
        let address = serve_resp(move |_| answer.to_vec());
        let error = run(&resp(address, &[expected])).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn an_open_loop_counts_from_when_a_request_was_due() {
    let open = |address, per_second| LoadConfig {
        pace: Pace::Open(per_second),
        ..resp(address, &[Expected::Done])
    };
    let quick = serve_resp(|_| b":1\r\n".to_vec());
    let result = run(&open(quick, 1000)).unwrap();
    assert!(result.requests > 0, "{result:?}");
    // One that takes its time with each gets behind, and that is in the latencies.
    let slow = serve_resp(|_| {
        thread::sleep(Duration::from_millis(20));
        b":1\r\n".to_vec()
    });
    let result = run(&open(slow, 1000)).unwrap();
    assert!(result.max_us >= 40_000, "{result:?}");
    let native = LoadConfig {
        pace: Pace::Open(1000),
        ..config("127.0.0.1:1".to_owned())
    };
    assert!(matches!(run(&native), Err(LoadError::OpenNative)));
}

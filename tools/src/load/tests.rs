//! The generator against a service of the test's own that answers as the test wants.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use standin_core::frame::{Frame, FrameKind};
use standin_core::message::{
    CommandRequest, CommandRequests, Party, QueryRequests, Reply, ReplyStatus, Seen,
};
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};
use standin_io::signals::Signals;

use super::*;

/// A service with one session for each connection, as a thread that lives as long as the process.
///
/// `answer` is handed each request and appends the reply.
fn serve(answer: impl Fn(&CommandRequest<'_>, &mut Vec<u8>) + Send + 'static) -> String {
    serve_frames(move |frame, out| {
        let several = CommandRequests::decode(frame).unwrap();
        several.iter().for_each(|request| answer(&request, out));
    })
}

/// The same for requests of any kind.
fn serve_frames(answer: impl Fn(&Frame<'_>, &mut Vec<u8>) + Send + 'static) -> String {
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
                            _ => answer(&frame, &mut out),
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
        work: Work::Native(b"add".to_vec().into()),
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
        work: Work::Resp(PING.to_vec().into(), expected.to_vec()),
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
fn an_open_loop_asks_whatever_is_answered_and_over_redis_protocol_alone() {
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
    let http = LoadConfig {
        work: Work::Http(Vec::new().into(), REVISION),
        ..native
    };
    assert!(matches!(run(&http), Err(LoadError::OpenHttp)));
}

/// A service that answers each whole request of HTTP with `answer`, as a thread for each connection.
fn serve_http(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut bytes = [0; POST.len()];
                while stream.read_exact(&mut bytes).is_ok() {
                    assert_eq!(bytes, POST);
                    // Another one before its answer would be one too many in flight.
                    stream.set_nonblocking(true).unwrap();
                    let early = stream.peek(&mut [0]);
                    assert!(!matches!(early, Ok(1..)), "{early:?}");
                    stream.set_nonblocking(false).unwrap();
                    if stream.write_all(answer).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address.to_string()
}

const POST: [u8; 19] = *b"POST / HTTP/1.1\r\n\r\n";

#[test]
fn over_http_each_request_in_flight_has_a_connection_and_answers_are_checked() {
    let http = |address, connections| LoadConfig {
        connections,
        work: Work::Http(POST.to_vec().into(), REVISION),
        ..config(address)
    };
    let good = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"revision\":1}";
    let result = run(&http(serve_http(good), 3)).unwrap();
    assert_eq!((result.errors, &result.first_error), (0, &None));
    assert!(result.requests > 0, "{result:?}");
    let bad = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno";
    let error = run(&http(serve_http(bad), 3)).unwrap_err().to_string();
    assert!(error.contains("'500 no'"), "{error}");
    let many = run(&http("127.0.0.1:1".to_owned(), CONNECTIONS_MAX));
    assert!(
        matches!(many, Err(LoadError::TooMany { wanted: 40_000 })),
        "{many:?}"
    );
}

#[test]
fn more_connections_than_this_process_may_have_are_refused_in_words() {
    let error = secure_descriptors(u64::MAX / 2).unwrap_err().to_string();
    assert!(error.contains("ulimit -Hn"), "{error}");
    secure_descriptors(1).unwrap();
}

#[test]
fn native_reads_rest_on_what_was_asked_for_and_their_answers_are_checked() {
    for consistency in [Consistency::Confirmed, Consistency::Lease] {
        let address = serve_frames(move |frame, out| {
            for query in QueryRequests::decode(frame).unwrap().iter() {
                assert_eq!(query.bytes, b"get");
                assert_eq!(query.consistency, consistency);
                done(query.id, b"$5\r\nhello\r\n", out);
            }
        });
        let reads = |bytes| LoadConfig {
            work: Work::Query {
                request: b"get".to_vec().into(),
                consistency,
                expected: Expected::String(bytes),
            },
            ..config(address.clone())
        };
        let result = run(&reads(5)).unwrap();
        assert_eq!((result.errors, &result.first_error), (0, &None));
        assert!(result.requests > 0, "{result:?}");
        let error = run(&reads(4)).unwrap_err().to_string();
        assert!(error.contains("query 1 was answered '$5"), "{error}");
    }
}

#[test]
fn a_string_is_expected_with_its_length() {
    for (reply, fits) in [
        (&b"$5\r\nhello\r\n"[..], true),
        (b"$4\r\nhell\r\n", false),
        (b"$-1\r\n", false),
        (b"+hello\r\n", false),
        (b"", false),
    ] {
        assert_eq!(Expected::String(5).fits(reply), fits, "{reply:?}");
    }
}

#[test]
fn every_key_is_set_before_anything_is_measured() {
    let (seen, told) = std::sync::mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; KEY_BYTES + 2];
        while stream.read_exact(&mut bytes).is_ok() {
            seen.send(bytes).unwrap();
            stream.write_all(b"+OK\r\n").unwrap();
        }
    });
    let request = [&key(0)[..], b"\r\n"].concat();
    let request = Request::with_keys(request, 1300, KeyForm::Plain);
    let signals = Signals::block().unwrap();
    fill(&address, &request, Expected::Done, 1300, &signals).unwrap();
    for number in 0..1300 {
        assert_eq!(told.recv().unwrap()[..KEY_BYTES], key(number));
    }
    assert!(told.try_recv().is_err());
}

#[test]
fn idle_connections_are_greeted_once_and_missed_when_they_are_gone() {
    let signals = Signals::block().unwrap();
    let work = Work::Resp(PING.to_vec().into(), vec![Expected::Done]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let service = thread::spawn(move || {
        let hello = b"*1\r\n$4\r\nPING\r\n";
        let mut kept = Vec::new();
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = vec![0; hello.len()];
            stream.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, hello);
            stream.write_all(b"+PONG\r\n").unwrap();
            kept.push(stream);
        }
        goes.recv().unwrap();
        kept.pop();
        kept
    });
    let mut idle = Idle::open(&address, 3, &work, &signals).unwrap();
    idle.check().unwrap();
    go.send(()).unwrap();
    let _kept = service.join().unwrap();
    let error = idle.check().unwrap_err();
    assert!(
        matches!(
            error,
            LoadError::IdleLost {
                lost: 1,
                count: 3,
                ..
            }
        ),
        "{error}"
    );
    // More than may say hello at the same time.
    let native = serve(|_, _| {});
    let work = Work::Native(b"add".to_vec().into());
    let mut idle = Idle::open(&native, 300, &work, &signals).unwrap();
    idle.check().unwrap();
}

//! The generator against a service of the test's own that answers as the test wants.

use std::thread;

use standin_core::frame::FrameKind;

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
        depth: 4,
        warm_up: Duration::from_millis(20),
        measured: Duration::from_millis(100),
        command: b"add".to_vec(),
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
    for (connections, depth) in [(0, 1), (1, 0), (1, DEPTH_MAX + 1), (CONNECTIONS_MAX + 1, 1)] {
        let config = LoadConfig {
            connections,
            depth,
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

//! That nobody can take more than their share: of time, of memory, of places, of log lines.

use std::io::Write as _;

use standin_core::frame::{FRAME_HEADER_BYTES, FrameError};

use super::*;

fn quick(milliseconds: u64) -> NetLimits {
    NetLimits {
        handshake_timeout: Duration::from_millis(milliseconds),
        partial_frame_timeout: Duration::from_millis(milliseconds),
        ..NetLimits::default()
    }
}

/// A plain socket that has said hello to the node, and its id there.
pub(super) fn greeted(server: &mut Node) -> (TcpStream, ConnId) {
    let before = server.ready.len();
    let mut stream = raw(server.addr);
    stream.write_all(&hello_of(Party::Client)).unwrap();
    turn_until([server], |[server]| server.ready.len() > before);
    let id = server.ready[before].0;
    (stream, id)
}

#[test]
fn garbage_closes_the_connection_with_one_line() {
    let mut server = Node::new(Party::Replica);
    let mut stream = raw(server.addr);
    let addr = stream.local_addr().unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: somebody\r\n\r\n")
        .unwrap();
    turn_until([&mut server], |_| is_over(&mut stream, &mut Vec::new()));
    assert_eq!(server.net.connection_count(), 0);
    assert!(server.closed.is_empty(), "nobody knew of it");
    // The port may have been another test's before.
    let mut lines = warnings_about(addr);
    lines.retain(|line| line.contains("a frame of"));
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn a_flood_of_one_kind_leaves_the_other_kinds_their_lines() {
    let limits = NetLimits {
        handshaking_max: 4,
        ..NetLimits::default()
    };
    let mut server = Node::limited(limits);
    let silent: Vec<_> = (0..100).map(|_| raw(server.addr)).collect();
    let mut garbage = raw(server.addr);
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    turn_until([&mut server], |_| is_over(&mut garbage, &mut Vec::new()));
    assert_eq!(warnings_about(garbage.local_addr().unwrap()).len(), 1);
    let addrs = silent.iter().map(|stream| stream.local_addr().unwrap());
    let lines: usize = addrs.map(|addr| warnings_about(addr).len()).sum();
    // It may have taken over a second, but hardly ten.
    assert!((1..96).contains(&lines), "{lines}");
}

#[test]
fn a_bad_frame_after_good_ones_ends_the_connection_after_them() {
    let mut server = Node::new(Party::Replica);
    let (mut stream, id) = greeted(&mut server);
    let addr = stream.local_addr().unwrap();
    let mut bytes = frame_of(b"good");
    bytes.extend_from_slice(&frame_of(b"bad"));
    *bytes.last_mut().unwrap() ^= 1;
    stream.write_all(&bytes).unwrap();
    turn_until([&mut server], |[server]| server.is_closed(id));
    assert_eq!(server.frames.len(), 1);
    assert_eq!(server.frames[0].2, b"good");
    assert!(matches!(
        server.closed[..],
        [(_, CloseReason::BadFrame(FrameError::Checksum))]
    ));
    assert_eq!(warnings_about(addr).len(), 1);
}

#[test]
fn a_frame_that_claims_four_gibibytes_is_refused_by_its_header() {
    let mut server = Node::new(Party::Replica);
    let (mut stream, id) = greeted(&mut server);
    let mut header = frame_of(b"");
    header[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    stream.write_all(&header[..FRAME_HEADER_BYTES]).unwrap();
    turn_until([&mut server], |[server]| server.is_closed(id));
    assert!(matches!(
        server.closed[0].1,
        CloseReason::BadFrame(FrameError::Length {
            length: u32::MAX,
            ..
        })
    ));
}

#[test]
fn a_first_frame_longer_than_a_hello_is_refused_by_its_header() {
    let mut server = Node::new(Party::Replica);
    let mut stream = raw(server.addr);
    let addr = stream.local_addr().unwrap();
    stream
        .write_all(&frame_of(&[0; 2000])[..FRAME_HEADER_BYTES])
        .unwrap();
    turn_until([&mut server], |_| is_over(&mut stream, &mut Vec::new()));
    assert!(warnings_about(addr)[0].contains("2000 bytes"));
}

#[test]
fn a_second_hello_and_a_first_frame_that_is_none_are_out_of_place() {
    let mut server = Node::new(Party::Replica);
    let (mut stream, id) = greeted(&mut server);
    stream.write_all(&hello_of(Party::Client)).unwrap();
    turn_until([&mut server], |[server]| server.is_closed(id));
    assert!(matches!(server.closed[0].1, CloseReason::OutOfPlace));
    let mut stream = raw(server.addr);
    stream.write_all(&frame_of(b"no hello")).unwrap();
    turn_until([&mut server], |_| is_over(&mut stream, &mut Vec::new()));
}

#[test]
fn a_frame_that_begins_and_does_not_end_is_given_up() {
    let mut server = Node::limited(quick(60));
    let (mut stream, id) = greeted(&mut server);
    let frame = frame_of(b"half");
    // A whole one in front: it is not what is waited for.
    stream.write_all(&frame).unwrap();
    stream.write_all(&frame[..frame.len() - 1]).unwrap();
    turn_until([&mut server], |[server]| server.is_closed(id));
    assert!(matches!(
        server.closed[0].1,
        CloseReason::PartialFrameTimeout
    ));
    assert_eq!(server.frames.len(), 1);
}

#[test]
fn a_frame_that_trickles_is_given_up_all_the_same() {
    let mut server = Node::limited(quick(60));
    let (mut stream, id) = greeted(&mut server);
    let mut bytes = frame_of(&[0; 1 << 20]).into_iter();
    turn_until([&mut server], |[server]| {
        // Fails once the server has closed.
        let _ = stream.write_all(&[bytes.next().unwrap()]);
        server.is_closed(id)
    });
    assert!(matches!(
        server.closed[0].1,
        CloseReason::PartialFrameTimeout
    ));
}

#[test]
fn an_idle_connection_is_not_given_up() {
    let mut server = Node::limited(quick(200));
    let (mut stream, id) = greeted(&mut server);
    // Begins and ends a frame, so that its timer has run.
    let frame = frame_of(b"whole");
    stream.write_all(&frame[..5]).unwrap();
    server.turn();
    stream.write_all(&frame[5..]).unwrap();
    turn_until([&mut server], |[server]| server.frames.len() == 1);
    let start = clock::boot();
    turn_until([&mut server], |_| {
        clock::boot().since(start) > Duration::from_millis(500)
    });
    assert!(!server.is_closed(id));
    stream.write_all(&frame).unwrap();
    turn_until([&mut server], |[server]| server.frames.len() == 2);
}

#[test]
fn a_pause_of_ours_does_not_count_against_a_frame() {
    let mut server = Node::limited(quick(200));
    let (mut stream, id) = greeted(&mut server);
    let frame = frame_of(b"interrupted");
    stream.write_all(&frame[..5]).unwrap();
    server.turn();
    server.net.pause_input(id, true);
    stream.write_all(&frame[5..]).unwrap();
    let start = clock::boot();
    turn_until([&mut server], |_| {
        clock::boot().since(start) > Duration::from_millis(500)
    });
    assert!(!server.is_closed(id) && server.frames.is_empty());
    server.net.pause_input(id, false);
    turn_until([&mut server], |[server]| server.frames.len() == 1);
}

#[test]
fn silence_instead_of_a_hello_is_given_up() {
    let mut server = Node::limited(quick(30));
    let mut stream = raw(server.addr);
    stream.write_all(&hello_of(Party::Client)[..20]).unwrap();
    turn_until([&mut server], |[server]| server.net.connection_count() == 1);
    turn_until([&mut server], |_| is_over(&mut stream, &mut Vec::new()));
    assert_eq!(server.net.connection_count(), 0);
    assert!(server.closed.is_empty());
}

#[test]
fn silent_connections_do_not_keep_a_good_one_out() {
    let limits = NetLimits {
        handshaking_max: 32,
        ..NetLimits::default()
    };
    let mut server = Node::limited(limits);
    let (mut silent, mut good) = (Vec::new(), Vec::new());
    let addr = server.addr;
    let mut come = |count| {
        for number in 0..count {
            silent.push(raw(addr));
            if number % 20 == 0 {
                let mut stream = raw(addr);
                stream.write_all(&hello_of(Party::Client)).unwrap();
                good.push(stream);
            }
        }
    };
    // Some are there before the first is accepted, and some come in between.
    come(300);
    server.turn();
    server.turn();
    come(100);
    let good_ones = 20;
    turn_until([&mut server], |[server]| {
        server.ready.len() == good_ones && server.net.connection_count() == good_ones + 32
    });
    good[0].write_all(&frame_of(b"heard")).unwrap();
    turn_until([&mut server], |[server]| !server.frames.is_empty());
    // The newest of the silent ones are those that are left.
    let open: Vec<_> = silent
        .iter_mut()
        .map(|stream| !is_over(stream, &mut Vec::new()))
        .collect();
    assert_eq!(open.iter().filter(|open| **open).count(), 32);
    assert!(open[368..].iter().all(|open| *open));
}

#[test]
fn a_reader_that_is_too_slow_is_closed_and_its_memory_freed() {
    let limits = NetLimits {
        output_bytes_max: 8 << 20,
        ..NetLimits::default()
    };
    let mut server = Node::limited(limits);
    let (_stream, id) = greeted(&mut server);
    let mut sent = 0_usize;
    while server.send(id, &[0; 1 << 16]) {
        sent += 1;
        assert!(server.net.output_bytes(id) <= 8 << 20);
        assert!(sent < 10_000, "never too slow");
        server.turn();
    }
    assert_eq!(server.net.output_bytes(id), 0);
    server.turn();
    assert!(
        matches!(server.closed[..], [(_, CloseReason::OutputFull { bytes })] if bytes > 8 << 20)
    );
}

#[test]
fn a_client_that_does_not_read_its_answers_is_not_asked_for_more() {
    let limits = NetLimits {
        output_bytes_high: 1 << 10,
        ..NetLimits::default()
    };
    let mut server = Node::limited(limits);
    let mut client = Node::new(Party::Client);
    let (near, far) = pair(&mut client, &mut server);
    client.net.pause_input(near, true);
    // Fills the kernel's buffers, so that the rest stays here.
    for _ in 0..16 {
        server.send(far, &[0; 1 << 20]);
    }
    client.send(near, b"one more question");
    client.turn();
    for _ in 0..50 {
        server.turn();
    }
    assert!(server.net.output_bytes(far) > 1 << 10);
    assert!(server.frames.is_empty());
    client.net.pause_input(near, false);
    turn_until([&mut client, &mut server], |[client, server]| {
        server.frames.len() == 1 && client.frames.len() == 16
    });
}

#[test]
fn two_sides_that_send_more_than_fits_do_not_wait_for_each_other_for_ever() {
    let limits = NetLimits {
        output_bytes_high: 1 << 10,
        ..NetLimits::default()
    };
    let mut server = Node::limited(limits.clone());
    let mut client = Node::with(Party::Client, Some(CLUSTER), None, limits);
    let (near, far) = pair(&mut client, &mut server);
    for _ in 0..16 {
        server.send(far, &[0; 1 << 20]);
        client.send(near, &[0; 1 << 20]);
    }
    turn_until([&mut client, &mut server], |[client, server]| {
        server.frames.len() == 16 && client.frames.len() == 16
    });
}

#[test]
fn what_an_owner_leaves_unconsumed_is_bounded() {
    let (mut near, mut far) = (Node::new(Party::Replica), Node::new(Party::Replica));
    far.consumes = false;
    let (at_near, at_far) = pair(&mut near, &mut far);
    for _ in 0..200 {
        near.send(at_near, &[0; 100_000]);
    }
    for _ in 0..200 {
        near.turn();
        far.turn();
    }
    let buffered: usize = far.net.frames(at_far).map(|frame| frame.len()).sum();
    assert!(buffered <= 2 * READ_BYTES_PER_CONN, "{buffered}");
    far.consumes = true;
    turn_until([&mut near, &mut far], |[_, far]| far.frames.len() == 200);
}

#[test]
fn an_idle_connection_owns_no_buffers() {
    let (mut near, mut far) = (Node::new(Party::Client), Node::new(Party::Replica));
    let (at_near, at_far) = pair(&mut near, &mut far);
    near.send(at_near, &vec![1; 1 << 20]);
    turn_until([&mut near, &mut far], |[_, far]| far.frames.len() == 1);
    for (node, id) in [(&near, at_near), (&far, at_far)] {
        let conn = node.net.conns.get(id).unwrap();
        assert_eq!((conn.input.capacity(), conn.output.capacity()), (0, 0));
    }
    assert!(size_of::<Conn>() < 1024);
}

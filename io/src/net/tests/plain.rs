//! Connections of those who speak another protocol.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use super::*;

/// A loop that has accepted somebody who speaks no protocol of ours, and has heard of it.
fn plain(limits: NetLimits, first: &[u8]) -> (Node, TcpStream, ConnId) {
    let mut node = Node::limited(limits);
    node.consumes = false;
    let address = node.net.listen_plain("127.0.0.1:0".parse().unwrap());
    let mut stream = TcpStream::connect(address.unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(first).unwrap();
    turn_until([&mut node], |[node]| !node.inputs.is_empty());
    let conn = node.inputs[0];
    assert!(node.net.is_plain(conn) && node.ready.is_empty());
    (node, stream, conn)
}

/// Until so much of its input has arrived.
fn until_arrived(node: &mut Node, conn: ConnId, bytes: usize) {
    turn_until([node], |[node]| node.net.input(conn).len() >= bytes);
}

#[test]
fn all_that_arrives_is_input_and_what_is_sent_goes_out_as_it_is() {
    let (mut node, mut stream, conn) = plain(NetLimits::default(), b"PING\r\n");
    until_arrived(&mut node, conn, 6);
    assert_eq!(node.net.input(conn), b"PING\r\n");
    node.net.consume(conn, 6);
    assert!(
        node.net
            .send(conn, |out| out.extend_from_slice(b"+PONG\r\n"))
    );
    node.net.flush();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    node.inputs.clear();
    drop(stream);
    turn_until([&mut node], |[node]| !node.inputs.is_empty());
    assert_eq!(
        node.net.input(conn),
        b"",
        "it may only have stopped to speak"
    );
    node.net.close_when_sent(conn);
    turn_until([&mut node], |[node]| node.is_closed(conn));
}

#[test]
fn the_beginning_of_something_is_reported_again_only_with_more_of_it_and_grows_up_to_its_bound() {
    let limits = NetLimits {
        read_bytes_per_conn: 100,
        plain_input_bytes_max: 1000,
        ..NetLimits::default()
    };
    let (mut node, mut stream, conn) = plain(limits, b"beginning");
    until_arrived(&mut node, conn, 9);
    node.net.await_more(conn);
    node.inputs.clear();
    node.turn();
    node.turn();
    assert_eq!(node.inputs, [], "nothing more has come");
    stream.write_all(&[b'x'; 5000]).unwrap();
    turn_until([&mut node], |[node]| {
        if !node.inputs.is_empty() {
            node.inputs.clear();
            node.net.await_more(conn);
        }
        node.net.input(conn).len() >= 1000
    });
    node.turn();
    let arrived = node.net.input(conn).len();
    assert!((1000..1100).contains(&arrived), "{arrived} bytes");
    assert!(node.net.input(conn).starts_with(b"beginningxxx"));
}

#[test]
fn what_was_sent_leaves_before_the_connection_is_closed() {
    let (mut node, mut stream, conn) = plain(NetLimits::default(), b"QUIT\r\n");
    node.net.send(conn, |out| out.extend_from_slice(b"+OK\r\n"));
    node.net.close_when_sent(conn);
    turn_until([&mut node], |[node]| node.is_closed(conn));
    node.turn();
    let mut rest = Vec::new();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"+OK\r\n");
}

#[test]
fn many_that_are_closed_at_once_all_get_what_was_sent() {
    const CLIENTS: usize = 20;
    let limits = NetLimits {
        lingering_max: 4,
        ..NetLimits::default()
    };
    let (mut node, first, _) = plain(limits, b"QUIT\r\n");
    let address = first.peer_addr().unwrap();
    let mut streams = vec![first];
    for _ in 1..CLIENTS {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"QUIT\r\n").unwrap();
        streams.push(stream);
    }
    let mut conns = BTreeSet::new();
    turn_until([&mut node], |[node]| {
        conns.extend(node.inputs.drain(..));
        conns.len() == CLIENTS
    });
    for &conn in &conns {
        node.net.send(conn, |out| out.extend_from_slice(b"+OK\r\n"));
    }
    for &conn in &conns {
        node.net.close_when_sent(conn);
    }
    node.turn();
    for mut stream in streams {
        let mut reply = [0; 5];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+OK\r\n");
    }
}

#[test]
fn who_is_owed_an_answer_keeps_its_place() {
    let mut limits = NetLimits::default();
    limits.clients.connections_max = 1;
    let (mut node, stream, conn) = plain(limits, b"INCR a\r\nINCR a\r\n");
    node.net.consume(conn, node.net.input(conn).len());
    node.net.send(conn, |out| out.extend_from_slice(b":1\r\n"));
    node.net.owe(conn, true);
    node.turn();
    let address = stream.peer_addr().unwrap();
    for is_owed in [true, false] {
        node.net.owe(conn, is_owed);
        let mut other = TcpStream::connect(address).unwrap();
        other.set_nonblocking(true).unwrap();
        turn_until([&mut node], |[node]| {
            let is_sent_away = other.read(&mut [0]).is_ok_and(|count| count == 0);
            is_sent_away || node.is_closed(conn)
        });
        assert_eq!(node.is_closed(conn), !is_owed);
    }
}

#[test]
fn one_whose_input_is_over_hears_what_is_sent_to_it() {
    let (mut node, mut stream, conn) = plain(NetLimits::default(), b"PING\r\nhalf");
    until_arrived(&mut node, conn, 10);
    stream.shutdown(Shutdown::Write).unwrap();
    node.net.consume(conn, 6);
    assert!(node.net.await_more(conn), "it may go on");
    node.inputs.clear();
    turn_until([&mut node], |[node]| !node.inputs.is_empty());
    assert!(!node.net.await_more(conn), "nothing more comes");
    node.inputs.clear();
    node.turn();
    assert_eq!(node.inputs, [], "that is told once");
    node.net
        .send(conn, |out| out.extend_from_slice(b"+PONG\r\n"));
    node.net.close_when_sent(conn);
    let mut said = Vec::new();
    turn_until([&mut node], |[node]| node.is_closed(conn));
    node.turn();
    stream.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"+PONG\r\n");
}

#[test]
fn one_that_has_said_nothing_ends_at_once() {
    let mut node = Node::limited(NetLimits::default());
    let address = node.net.listen_plain("127.0.0.1:0".parse().unwrap());
    let stream = TcpStream::connect(address.unwrap()).unwrap();
    turn_until([&mut node], |[node]| node.net.connection_count() == 1);
    drop(stream);
    turn_until([&mut node], |[node]| node.net.connection_count() == 0);
    assert_eq!(node.inputs, []);
}

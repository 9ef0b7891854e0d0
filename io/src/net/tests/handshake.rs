//! Who gets in, and what those who do not are told.

use std::io::Write as _;

use standin_core::frame::Frame;
use standin_core::message::PROTOCOL_VERSION;

use super::*;

fn machine(version: u32) -> MachineId {
    MachineId::new("counter", version).unwrap()
}

#[test]
fn both_sides_learn_who_the_other_is() {
    let mut client = Node::with(Party::Client, None, None, NetLimits::default());
    let mut server = Node::new(Party::ViewService);
    let (near, far) = pair(&mut client, &mut server);
    let (_, hello, peer_is_accepted) = &client.ready[0];
    assert_eq!(
        (hello.party, *peer_is_accepted),
        (Party::ViewService, false)
    );
    assert_eq!(hello.cluster, Some(CLUSTER));
    let (_, hello, peer_is_accepted) = &server.ready[0];
    assert_eq!((hello.party, *peer_is_accepted), (Party::Client, true));
    assert_eq!(client.net.peer_addr(near), Some(server.addr));
    assert!(server.send(far, b"there"));
    assert!(client.send(near, b"and back"));
    turn_until([&mut client, &mut server], |[client, server]| {
        client.frames.len() == 1 && server.frames.len() == 1
    });
    assert_eq!(client.frames[0].2, b"there");
    assert_eq!(server.frames[0].2, b"and back");
}

#[test]
fn what_is_sent_before_the_handshake_is_done_arrives_after_it() {
    let mut client = Node::new(Party::Client);
    let mut server = Node::new(Party::Replica);
    let near = client.connect(server.addr);
    assert!(client.send(near, b"early"));
    turn_until([&mut client, &mut server], |[_, server]| {
        !server.frames.is_empty()
    });
    assert_eq!(server.ready.len(), 1);
    assert_eq!(server.frames[0].2, b"early");
}

#[test]
fn a_cluster_learnt_later_stands_in_later_hellos() {
    let mut client = Node::with(Party::Client, None, None, NetLimits::default());
    let mut server = Node::new(Party::ViewService);
    client.net.set_cluster(CLUSTER);
    pair(&mut client, &mut server);
    assert_eq!(server.ready[0].1.cluster, Some(CLUSTER));
}

#[track_caller]
fn assert_refused(mut near: Node, mut far: Node, expected: &Refusal) {
    let conn = near.connect(far.addr);
    turn_until([&mut near, &mut far], |[near, _]| near.is_closed(conn));
    let reason = &near.closed[0].1;
    assert!(
        matches!(reason, CloseReason::RefusedByPeer(refusal) if refusal == expected),
        "{reason:?}"
    );
    // The refused side closes in turn, which ends the other side's waiting for it.
    turn_until([&mut near, &mut far], |[_, far]| {
        far.net.connection_count() == 0
    });
    assert!(near.ready.is_empty() && far.ready.is_empty() && far.closed.is_empty());
    assert!(!near.send(conn, b"too late"));
}

#[test]
fn another_cluster_is_refused_and_told_why() {
    let limits = NetLimits::default;
    assert_refused(
        Node::with(Party::Replica, Some(ClusterId(8)), None, limits()),
        Node::with(Party::ViewService, Some(CLUSTER), None, limits()),
        &Refusal::OtherCluster { ours: CLUSTER },
    );
}

#[test]
fn another_machine_is_refused_and_told_why() {
    let limits = NetLimits::default;
    let abacus = MachineId::new("abacus", 1).unwrap();
    assert_refused(
        Node::with(Party::Replica, Some(CLUSTER), Some(abacus), limits()),
        Node::with(Party::Replica, Some(CLUSTER), Some(machine(1)), limits()),
        &Refusal::OtherMachine { ours: machine(1) },
    );
}

/// Sends bytes, expects a refusal and the end, and gives back the refusal.
#[track_caller]
fn refusal_after(bytes: &[u8]) -> Refusal {
    let mut server = Node::new(Party::Replica);
    let mut stream = raw(server.addr);
    stream.write_all(bytes).unwrap();
    let mut received = Vec::new();
    turn_until([&mut server], |_| is_over(&mut stream, &mut received));
    let frame = Frame::decode(&received, 1024).unwrap().unwrap();
    assert_eq!(frame.len(), received.len());
    assert!(server.ready.is_empty());
    Refusal::decode(&frame).unwrap()
}

#[test]
fn another_version_is_refused_and_told_ours() {
    let mut hello = Hello::new(Party::Replica, Some(CLUSTER), None);
    hello.version += 1;
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    // Sent along at once: closing without reading it must not destroy the refusal.
    for _ in 0..1000 {
        frame_into(&mut bytes, b"the first request");
    }
    let ours = PROTOCOL_VERSION;
    assert_eq!(refusal_after(&bytes), Refusal::Version { ours });
}

#[test]
fn a_hello_with_unknown_fields_is_taken_for_another_version() {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, FrameKind::Hello, |out| {
        out.extend_from_slice(b"STANDIN\0 but from the future");
    });
    let ours = PROTOCOL_VERSION;
    assert_eq!(refusal_after(&bytes), Refusal::Version { ours });
}

#[test]
fn an_owner_may_refuse_later_and_both_owners_hear_of_it_once() {
    let (mut near, mut far) = (Node::new(Party::Replica), Node::new(Party::ViewService));
    let (at_near, at_far) = pair(&mut near, &mut far);
    far.net.refuse(at_far, Refusal::TooManyReplicas);
    assert!(!far.send(at_far, b"too late"));
    far.net.refuse(at_far, Refusal::Protocol);
    far.net.close(at_far);
    turn_until([&mut near, &mut far], |[near, far]| {
        near.is_closed(at_near) && far.net.connection_count() == 0
    });
    assert!(matches!(
        near.closed[..],
        [(_, CloseReason::RefusedByPeer(Refusal::TooManyReplicas))]
    ));
    assert!(matches!(
        far.closed[..],
        [(_, CloseReason::RefusedHere(Refusal::TooManyReplicas))]
    ));
}

#[test]
fn one_that_was_refused_and_does_not_close_is_left() {
    let limits = NetLimits {
        linger_timeout: Duration::from_millis(50),
        ..NetLimits::default()
    };
    let mut server = Node::limited(limits);
    let mut stream = raw(server.addr);
    stream.write_all(&hello_of(Party::Client)).unwrap();
    turn_until([&mut server], |[server]| server.ready.len() == 1);
    let id = server.ready[0].0;
    server.net.refuse(id, Refusal::Protocol);
    turn_until([&mut server], |[server]| server.net.connection_count() == 0);
    assert_eq!(server.closed.len(), 1);
}

#[test]
fn one_that_was_refused_sees_the_end_without_having_to_close_first() {
    let limits = NetLimits {
        linger_timeout: Duration::from_secs(3600),
        ..NetLimits::default()
    };
    let mut server = Node::limited(limits);
    let mut stream = raw(server.addr);
    stream.write_all(&hello_of(Party::Client)).unwrap();
    turn_until([&mut server], |[server]| server.ready.len() == 1);
    server.net.refuse(server.ready[0].0, Refusal::Protocol);
    turn_until([&mut server], |_| is_over(&mut stream, &mut Vec::new()));
}

#[test]
fn a_refusal_is_read_although_writing_fails() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = Node::new(Party::Replica);
    let id = node.connect(listener.local_addr().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut hello = [0; 8];
    turn_until([&mut node], |_| stream.peek(&mut hello).is_ok());
    // Closing with the hello unread resets the connection.
    let mut refusal = Vec::new();
    Refusal::Busy.encode(&mut refusal);
    stream.write_all(&refusal).unwrap();
    drop(stream);
    for _ in 0..3 {
        node.send(id, b"too late");
        node.net.flush();
    }
    turn_until([&mut node], |[node]| node.is_closed(id));
    let reason = &node.closed[0].1;
    assert!(
        matches!(reason, CloseReason::RefusedByPeer(Refusal::Busy)),
        "{reason:?}"
    );
}

#[test]
fn failing_to_connect_is_reported_once() {
    let mut node = Node::new(Party::Client);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let refused = node.connect(addr);
    let now = clock::boot();
    let timeout = Duration::from_secs(1);
    let unresolved = node.net.connect("no address", now, timeout);
    turn_until([&mut node], |[node]| node.closed.len() == 2);
    assert!(node.is_closed(refused) && node.is_closed(unresolved));
    assert!(matches!(node.closed[0].1, CloseReason::Connect(_)));
    assert!(matches!(node.closed[1].1, CloseReason::Connect(_)));
    assert_eq!(node.net.connection_count(), 0);
}

#[test]
fn a_name_with_several_addresses_is_tried_until_one_answers() {
    let mut server = Node::new(Party::Replica);
    let mut client = Node::new(Party::Client);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = nobody.local_addr().unwrap();
    drop(nobody);
    let addrs = vec![dead, dead, server.addr];
    client.net.resolver.set(move |_| Ok(addrs.clone()));
    let timeout = Duration::from_secs(10);
    client.net.connect("name:1", clock::boot(), timeout);
    turn_until([&mut client, &mut server], |[client, _]| {
        client.ready.len() == 1
    });
}

#[test]
fn a_listener_that_never_says_hello_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let mut node = Node::new(Party::Client);
    let timeout = Duration::from_millis(50);
    node.net.connect(&addr, clock::boot(), timeout);
    turn_until([&mut node], |[node]| !node.closed.is_empty());
    assert!(matches!(node.closed[0].1, CloseReason::HandshakeTimeout));
}

#[test]
fn a_listening_address_can_be_taken_again_at_once() {
    let mut client = Node::new(Party::Client);
    let mut server = Node::new(Party::Replica);
    let (near, _) = pair(&mut client, &mut server);
    let addr = server.addr;
    drop(server);
    turn_until([&mut client], |[client]| client.is_closed(near));
    let mut again = Node::new(Party::Replica);
    assert_eq!(again.net.listen(addr).unwrap(), addr);
}

//! That each kind of connection keeps to its share of places and of memory, and who gives way.

use std::io::Write as _;

use standin_core::message::Refusal;

use super::*;

const PLACES: usize = 4;

/// A node with few places, and no patience with the engaged unless told otherwise.
fn few(change: impl FnOnce(&mut NetLimits)) -> Node {
    let mut limits = NetLimits::default();
    limits.clients.connections_max = PLACES;
    limits.replicas.connections_max = PLACES;
    change(&mut limits);
    Node::limited(limits)
}

/// A plain socket that has said hello to the node, and its id there.
fn guest(server: &mut Node, party: Party) -> (TcpStream, ConnId) {
    let before = server.ready.len();
    let mut stream = raw(server.addr);
    stream.write_all(&hello_of(party)).unwrap();
    turn_until([server], |[server]| server.ready.len() > before);
    (stream, server.ready[before].0)
}

fn guests(server: &mut Node, party: Party, count: usize) -> Vec<(TcpStream, ConnId)> {
    (0..count).map(|_| guest(server, party)).collect()
}

/// Has a guest say something, and waits until it is heard.
fn say(server: &mut Node, stream: &mut TcpStream) {
    let before = server.frames.len();
    stream.write_all(&frame_of(b"question")).unwrap();
    turn_until([server], |[server]| server.frames.len() > before);
}

/// Says hello in vain: the node is full, and says so.
#[track_caller]
fn is_turned_away(server: &mut Node, party: Party) {
    let mut stream = raw(server.addr);
    stream.write_all(&hello_of(party)).unwrap();
    let mut received = Vec::new();
    turn_until([server], |_| is_over(&mut stream, &mut received));
    let mut expected = Vec::new();
    Refusal::Busy.encode(&mut expected);
    assert_eq!(received, expected);
}

fn gave_way(server: &Node) -> Vec<ConnId> {
    let mut ids = Vec::new();
    for (id, reason) in &server.closed {
        assert!(matches!(reason, CloseReason::GaveWay), "{reason}");
        ids.push(*id);
    }
    ids
}

#[test]
fn the_client_that_was_silent_the_longest_gives_way_to_a_newcomer() {
    let mut server = few(|_| {});
    let mut old = guests(&mut server, Party::Client, PLACES);
    let ids: Vec<_> = old.iter().map(|(_, id)| *id).collect();
    // The first has spoken since, and was answered.
    say(&mut server, &mut old[0].0);
    assert!(server.send(ids[0], b"answer"));
    let newcomers = guests(&mut server, Party::Client, 3);
    assert_eq!(gave_way(&server), ids[1..4]);
    // Now the first is the oldest.
    guest(&mut server, Party::Client);
    assert_eq!(gave_way(&server), [ids[1], ids[2], ids[3], ids[0]]);
    assert_eq!(server.net.connection_count(), PLACES);
    assert!(newcomers.iter().all(|(_, id)| !server.is_closed(*id)));
    let peer = old[1].0.local_addr().unwrap();
    assert_eq!(warnings_about(peer).len(), 1);
}

#[test]
fn a_client_that_waits_for_an_answer_or_has_one_to_read_keeps_its_place() {
    let mut server = few(|_| {});
    let mut old = guests(&mut server, Party::Client, PLACES);
    for (stream, _) in &mut old {
        say(&mut server, stream);
    }
    is_turned_away(&mut server, Party::Client);
    // Answered, but more than the kernel takes: there is an answer to read.
    for _ in 0..8 {
        assert!(server.send(old[0].1, &[0; 2 << 20]));
    }
    server.turn();
    is_turned_away(&mut server, Party::Client);
    assert!(server.send(old[2].1, b"answer"));
    guest(&mut server, Party::Client);
    assert_eq!(gave_way(&server), [old[2].1]);
}

#[test]
fn nobody_keeps_a_place_by_waiting_for_ever() {
    let mut server = few(|limits| limits.engaged_silence_max = Duration::from_millis(1));
    for party in [Party::Client, Party::Replica] {
        let mut old = guests(&mut server, party, PLACES);
        for (stream, _) in &mut old {
            say(&mut server, stream);
        }
        server.closed.clear();
        let start = clock::boot();
        turn_until([&mut server], |_| {
            clock::boot().since(start) > Duration::from_millis(5)
        });
        guest(&mut server, party);
        assert_eq!(gave_way(&server), [old[0].1]);
    }
}

#[test]
fn clients_and_replicas_do_not_take_each_others_places() {
    let mut server = few(|_| {});
    let replicas = guests(&mut server, Party::Replica, PLACES);
    let clients = guests(&mut server, Party::Client, 3 * PLACES);
    assert_eq!(gave_way(&server).len(), 2 * PLACES);
    assert!(replicas.iter().all(|(_, id)| !server.is_closed(*id)));
    server.closed.clear();
    let _others = guests(&mut server, Party::Replica, 3 * PLACES);
    let gone = gave_way(&server);
    assert_eq!(gone.len(), 3 * PLACES);
    assert!(clients.iter().all(|(_, id)| !gone.contains(id)));
    assert_eq!(server.net.connection_count(), 2 * PLACES);
}

#[test]
fn a_replica_that_has_spoken_keeps_its_place_among_those_that_only_say_so() {
    let mut server = few(|_| {});
    let (mut stream, id) = guest(&mut server, Party::Replica);
    say(&mut server, &mut stream);
    let _others = guests(&mut server, Party::Replica, 5 * PLACES);
    assert!(!server.is_closed(id));
    assert_eq!(server.net.connection_count(), PLACES);
    say(&mut server, &mut stream);
    let mut spoken = vec![(stream, id)];
    for _ in 1..PLACES {
        let mut other = guest(&mut server, Party::Replica);
        say(&mut server, &mut other.0);
        spoken.push(other);
    }
    is_turned_away(&mut server, Party::Replica);
    assert!(spoken.iter().all(|(_, id)| !server.is_closed(*id)));
}

#[test]
fn connections_that_this_side_makes_take_no_place_and_never_give_way() {
    let mut server = few(|_| {});
    let mut other = Node::new(Party::ViewService);
    let (at_server, _) = pair(&mut server, &mut other);
    let _clients = guests(&mut server, Party::Client, 3 * PLACES);
    let _replicas = guests(&mut server, Party::Replica, 3 * PLACES);
    assert!(!server.is_closed(at_server));
    assert_eq!(server.net.connection_count(), 2 * PLACES + 1);
}

#[test]
fn refused_connections_linger_in_bounded_number() {
    let mut server = few(|limits| {
        limits.lingering_max = 8;
        limits.linger_timeout = Duration::from_secs(600);
    });
    let mut other = Vec::new();
    Hello::new(Party::Client, Some(ClusterId(1)), None).encode(&mut other);
    let mut strangers: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = raw(server.addr);
            stream.write_all(&other).unwrap();
            stream
        })
        .collect();
    for stream in &mut strangers[..32] {
        turn_until([&mut server], |_| is_over(stream, &mut Vec::new()));
    }
    assert_eq!(server.net.connection_count(), 8);
}

/// Begins a frame of `bytes` that lacks its last byte, and waits until the node has all the rest.
fn begin(server: &mut Node, party: Party, bytes: usize) -> (TcpStream, ConnId) {
    let (mut stream, id) = guest(server, party);
    let frame = frame_of(&vec![0; bytes]);
    let mut rest = &frame[..frame.len() - 1];
    turn_until([server], |[server]| {
        match stream.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        let has_all = |conn: &Conn| conn.input.len() == frame.len() - 1;
        server.is_closed(id) || server.net.conns.get(id).is_none_or(has_all)
    });
    (stream, id)
}

/// What all connections of the node hold, counted afresh.
fn held(server: &Node) -> (usize, usize) {
    let ids: Vec<_> = server.net.conns.ids().collect();
    let conns = ids.iter().filter_map(|&id| server.net.conns.get(id));
    conns.fold((0, 0), |(input, output), conn| {
        (input + conn.input.len(), output + conn.output.len())
    })
}

#[test]
fn frames_that_do_not_end_take_bounded_memory_and_the_oldest_go_first() {
    const BEGUN: usize = 100_000;
    let most = 10 * BEGUN;
    for party in [Party::Client, Party::Replica] {
        let mut server = few(|limits| {
            for share in [&mut limits.clients, &mut limits.replicas] {
                share.connections_max = 1000;
                share.input_bytes_max = most;
            }
        });
        let mut begun = Vec::new();
        for _ in 0..40 {
            begun.push(begin(&mut server, party, BEGUN));
            let input = held(&server).0;
            assert!(input <= most, "{input}");
        }
        let is_open: Vec<_> = begun.iter().map(|(_, id)| !server.is_closed(*id)).collect();
        let first = is_open.iter().position(|&is_open| is_open).unwrap();
        assert!((30..36).contains(&first), "{is_open:?}");
        assert!(is_open[first..].iter().all(|&is_open| is_open));
        let is_crowded = |(_, reason): &_| matches!(reason, CloseReason::InputCrowded);
        assert!(server.closed.iter().all(is_crowded));
        // Whoever is left, and whoever comes, is served.
        let before = server.frames.len();
        begun[39].0.write_all(&[0]).unwrap();
        turn_until([&mut server], |[server]| server.frames.len() > before);
        server.closed.clear();
        let (mut stream, _) = guest(&mut server, party);
        say(&mut server, &mut stream);
    }
}

#[test]
fn frames_that_are_not_consumed_take_bounded_memory() {
    let most = 1_000_000;
    let mut server = few(|limits| {
        limits.clients.connections_max = 1000;
        limits.clients.input_bytes_max = most;
    });
    server.consumes = false;
    let mut streams = Vec::new();
    for _ in 0..100 {
        let (mut stream, id) = guest(&mut server, Party::Client);
        stream.write_all(&frame_of(b"x").repeat(2000)).unwrap();
        // Ended or not, what it has said waits.
        if streams.len() % 4 != 0 {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
        streams.push(stream);
        server.turn();
        assert!(held(&server).0 <= most);
        // The oldest pay, also those whose connections have ended.
        let is_crowded = |(closed, reason): &(ConnId, CloseReason)| {
            *closed == id && matches!(reason, CloseReason::InputCrowded)
        };
        assert!(!server.closed.iter().any(is_crowded), "{id} is the newest");
    }
    assert!(server.closed.len() > 30, "{}", server.closed.len());
}

#[test]
fn answers_that_are_not_read_take_bounded_memory_and_the_slowest_reader_goes_first() {
    let most = 100 << 20;
    for party in [Party::Client, Party::Replica] {
        let mut server = few(|limits| {
            for share in [&mut limits.clients, &mut limits.replicas] {
                share.connections_max = 1000;
                share.output_bytes_max = most;
            }
        });
        let quiet = guest(&mut server, party);
        let readers = guests(&mut server, party, 12);
        let mut sent = 0;
        for round in 1..=16 {
            for (at, (_, id)) in readers.iter().enumerate() {
                // The first gets the most.
                let bytes = if at == 0 { 2 << 20 } else { 1 << 20 };
                sent += usize::from(server.send(*id, &vec![round; bytes]));
                let output = held(&server).1;
                assert!(output <= most, "{output}");
            }
        }
        assert!(sent > 100);
        server.turn();
        let is_crowded = |(_, reason): &_| matches!(reason, CloseReason::OutputCrowded);
        assert!(!server.closed.is_empty() && server.closed.iter().all(is_crowded));
        assert_eq!(server.closed[0].0, readers[0].1);
        assert!(!server.is_closed(quiet.1));
    }
}

#[test]
fn the_totals_are_those_of_the_buffers() {
    let mut server = few(|_| {});
    let mut old = guests(&mut server, Party::Client, 2);
    let mut client = Node::new(Party::Client);
    let (near, far) = pair(&mut client, &mut server);
    let totals = |server: &Node| {
        let limits = NetLimits::default().clients;
        let mut net_totals = server.net.clients.held();
        assert!(net_totals.input <= limits.input_bytes_max);
        net_totals.input += server.net.replicas.held().input;
        net_totals.output += server.net.replicas.held().output;
        (net_totals.input, net_totals.output)
    };
    for round in 0..50_usize {
        client.send(near, &vec![0; round * 1000]);
        server.send(far, &vec![0; round * 10_000]);
        old[0]
            .0
            .write_all(&frame_of(b"half")[..round % 16])
            .unwrap_or_default();
        server.consumes = round % 3 == 0;
        client.turn();
        server.turn();
        assert_eq!(totals(&server), held(&server), "round {round}");
    }
    server.net.refuse(far, Refusal::Protocol);
    server.net.close(old[1].1);
    assert_eq!(totals(&server).1, 0);
    client.net.close(near);
    drop(old);
    turn_until([&mut client, &mut server], |[_, server]| {
        server.net.connection_count() == 0
    });
    assert_eq!(totals(&server), (0, 0));
}

#[test]
fn clients_are_probed_less_often_than_replicas_and_plain_ones_as_seldom() {
    use nix::sys::socket::{getsockopt, sockopt};
    let limits = NetLimits::default();
    let [client_silence, peer_silence] =
        [limits.client_silence_timeout, limits.peer_silence_timeout];
    assert!(client_silence >= peer_silence * 10);
    let mut server = few(|_| {});
    server.consumes = false;
    let plain_addr = server.net.listen_plain("127.0.0.1:0".parse().unwrap());
    let mut plain = TcpStream::connect(plain_addr.unwrap()).unwrap();
    plain.write_all(b"PING\r\n").unwrap();
    let client = guest(&mut server, Party::Client);
    let replica = guest(&mut server, Party::Replica);
    turn_until([&mut server], |[server]| !server.inputs.is_empty());
    let first_probe = |conn: ConnId| {
        let stream = server.net.conns.get(conn).unwrap().stream.as_ref().unwrap();
        assert!(getsockopt(stream, sockopt::KeepAlive).unwrap());
        let first = getsockopt(stream, sockopt::TcpKeepIdle).unwrap();
        // Several probes may be lost before the connection fails.
        let until_it_fails = getsockopt(stream, sockopt::TcpUserTimeout).unwrap();
        assert!(until_it_fails >= 3 * 1000 * first, "{until_it_fails} ms");
        first
    };
    let quarter = |silence: Duration| u32::try_from(silence.as_secs() / 4).unwrap();
    assert_eq!(first_probe(client.1), quarter(client_silence));
    assert_eq!(first_probe(server.inputs[0]), quarter(client_silence));
    assert_eq!(first_probe(replica.1), quarter(peer_silence));
}

//! Real sockets; what is given out is answered by the test.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time;

use standin_core::message::Party;
use standin_io::clock;
use standin_io::net::{NetConfig, NetEvent, NetLimits};
use standin_kv::conversation::{Info, Node, Place, Role};

use super::*;

/// How long a test waits for something before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host that executes everything, or does not know who does.
struct Anywhere {
    is_lost: bool,
}

impl Host for Anywhere {
    fn password(&self) -> Option<&[u8]> {
        None
    }

    fn place(&self) -> Place<'_> {
        match self.is_lost {
            true => Place::Nowhere,
            false => Place::Here,
        }
    }

    fn is_in_touch(&self) -> bool {
        !self.is_lost
    }

    fn nodes(&self) -> Option<Vec<Node>> {
        None
    }

    fn view(&self) -> u64 {
        1
    }

    fn role(&self) -> Role {
        Role::Primary {
            index: 0,
            followers: Vec::new(),
        }
    }

    fn info(&self) -> Info {
        Info::default()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

struct Room {
    net: Net,
    front: Front,
    address: SocketAddr,
    host: Anywhere,
}

impl Room {
    fn new() -> Self {
        Self::with(NetLimits::default())
    }

    fn with(limits: NetLimits) -> Self {
        let mut net = Net::new(NetConfig {
            party: Party::Replica,
            cluster: None,
            machine: None,
            limits,
        })
        .unwrap();
        let address = net.listen_plain("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            net,
            front: Front::new(address, true),
            address,
            host: Anywhere { is_lost: false },
        }
    }

    /// A client that has said this, all of which has arrived.
    fn client(&mut self, words: &str) -> (TcpStream, ConnId) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        let local = stream.local_addr().unwrap();
        let conn = self.until(|net, conn| {
            net.peer_addr(conn) == Some(local) && net.input(conn).len() == words.len()
        });
        (stream, conn)
    }

    /// The connection that has input, and of which this holds.
    fn until(&mut self, holds: impl Fn(&Net, ConnId) -> bool) -> ConnId {
        let begun = time::Instant::now();
        let mut events = Vec::new();
        loop {
            assert!(begun.elapsed() < PATIENCE, "waited in vain");
            let soon = clock::boot().plus(Duration::from_millis(10));
            self.net.poll(Some(soon), &mut events).unwrap();
            for event in events.drain(..) {
                match event {
                    NetEvent::Input { conn } if holds(&self.net, conn) => return conn,
                    NetEvent::Closed { conn, .. } => {
                        self.front.closed(conn);
                    }
                    _ => {}
                }
            }
        }
    }

    fn take(&mut self, conns: &[ConnId]) -> usize {
        self.front
            .take(&mut self.net, conns, &self.host, clock::boot());
        self.front.tasks().len()
    }
}

#[test]
fn a_client_that_another_one_has_killed_says_nothing_any_more() {
    let mut room = Room::new();
    let half = "*1\r\n$4\r\nPI";
    let (mut victim, at) = room.client(half);
    assert_eq!(room.take(&[at]), 0);
    victim.write_all(b"NG\r\n").unwrap();
    room.until(|net, conn| conn == at && net.input(conn).len() > half.len());
    let (mut killer, by) = room.client("CLIENT KILL TYPE normal\r\n");
    assert_eq!(room.take(&[by, at]), 0);
    room.net.flush();
    let mut reply = [0; 4];
    killer.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b":1\r\n");
    assert_eq!(victim.read(&mut reply).unwrap_or(0), 0);
}

#[test]
fn whoever_is_not_served_is_not_counted_twice() {
    let mut room = Room::new();
    let count = REQUESTS_PER_WAKE_UP / REQUESTS_PER_CONN_MIN + 20;
    let words = "INCR a\r\n".repeat(2 * REQUESTS_PER_CONN_MIN);
    let (_streams, conns): (Vec<_>, Vec<_>) = (0..count).map(|_| room.client(&words)).unzip();
    for _ in 0..3 {
        let _ = room.take(&conns);
        assert!(room.front.ready.is_empty(), "{:?}", room.front.ready);
    }
}

#[test]
fn replies_at_length_are_not_made_all_at_once() {
    let mut room = Room::new();
    let (_stream, at) = room.client(&"COMMAND\r\n".repeat(500));
    assert_eq!(room.take(&[at]), 0);
    let made = room.net.output_bytes(at);
    assert!(made > 0 && made < 3 * REPLY_BYTES_PER_TAKE, "{made}");
    assert!(!room.net.input(at).is_empty());
}

#[test]
fn lists_of_clients_are_not_made_all_at_once_either() {
    let mut room = Room::new();
    let name = "x".repeat(1000);
    let others: Vec<_> = (0..200)
        .map(|_| room.client(&format!("CLIENT SETNAME {name}\r\n")))
        .collect();
    for (_, other) in &others {
        let _ = room.take(&[*other]);
    }
    let (_stream, at) = room.client(&"CLIENT LIST\r\n".repeat(500));
    assert_eq!(room.take(&[at]), 0);
    let made = room.net.output_bytes(at);
    assert!(made > 0 && made < 3 * REPLY_BYTES_PER_TAKE, "{made}");
    // However short the lists: they take their time.
    let (_stream, at) = room.client(&"CLIENT LIST ID 1\r\n".repeat(1000));
    assert_eq!(room.take(&[at]), 0);
    let most = REQUESTS_PER_WAKE_UP * CLIENTS_PER_REQUEST / others.len() + 1;
    let left = room.net.input(at).len() / "CLIENT LIST ID 1\r\n".len();
    assert!((1000 - most..1000).contains(&left), "{left}");
}

#[test]
fn whoever_has_said_all_it_will_say_is_answered_and_then_closed() {
    let mut room = Room::new();
    let (mut stream, at) = room.client("SET a 1\r\nPING\r\nGET a\r\nhalf");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(room.take(&[at]), 1);
    let id = room.front.tasks().next().unwrap().id;
    room.front.answer(&mut room.net, at, id, b"+OK\r\n");
    assert_eq!(room.take(&[]), 1, "the query that waited");
    let id = room.front.tasks().next().unwrap().id;
    assert_eq!(
        room.until(|net, conn| conn == at && !net.input(conn).is_empty()),
        at
    );
    assert_eq!(room.take(&[at]), 0);
    assert!(room.net.may_speak(at), "an answer is still to come");
    room.front.answer(&mut room.net, at, id, b"$1\r\n1\r\n");
    assert!(!room.net.may_speak(at));
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"+OK\r\n+PONG\r\n$1\r\n1\r\n");
}

#[test]
fn what_was_held_back_is_given_out_though_nothing_more_arrives() {
    let mut room = Room::new();
    let (mut stream, at) = room.client("SET a 1\r\nGET a\r\n");
    assert_eq!(room.take(&[at]), 1);
    let id = room.front.tasks().next().unwrap().id;
    room.front.answer(&mut room.net, at, id, b"+OK\r\n");
    assert!(room.front.deadline(clock::boot()).is_some());
    assert_eq!(room.take(&[]), 1);
    let task = room.front.tasks().next().unwrap();
    assert_eq!(task.kind, Kind::Query);
    let id = task.id;
    room.front.answer(&mut room.net, at, id, b"$1\r\n1\r\n");
    room.net.flush();
    let mut replies = [0; 12];
    stream.read_exact(&mut replies).unwrap();
    assert_eq!(&replies, b"+OK\r\n$1\r\n1\r\n");
}

#[test]
fn somebody_who_waits_is_answered_when_what_came_before_is() {
    let mut room = Room::new();
    let (mut stream, at) = room.client("SET a 1\r\nWAIT 1 0\r\n");
    assert_eq!(room.take(&[at]), 1);
    let now = clock::boot();
    // So many do not have it yet: it is under way.
    room.front.settle(&mut room.net, now, 5, true);
    assert_eq!(room.net.output_bytes(at), 0);
    let id = room.front.tasks().next().unwrap().id;
    room.front.answer(&mut room.net, at, id, b"+OK\r\n");
    room.front.settle(&mut room.net, now, 0, true);
    room.front.settle(&mut room.net, now, 1, true);
    room.net.flush();
    let mut replies = [0; 9];
    stream.read_exact(&mut replies).unwrap();
    assert_eq!(&replies, b"+OK\r\n:1\r\n");
}

#[test]
fn who_waits_and_has_hung_up_is_let_go() {
    let mut room = Room::new();
    let (mut stream, at) = room.client("PING\r\nWAIT 1 0\r\n");
    assert_eq!(room.take(&[at]), 0);
    stream.shutdown(Shutdown::Write).unwrap();
    let begun = time::Instant::now();
    let mut events = Vec::new();
    while room.front.has(at) {
        assert!(begun.elapsed() < PATIENCE, "waited in vain");
        let now = clock::boot();
        room.front.settle(&mut room.net, now, 0, true);
        let soon = now.plus(Duration::from_millis(10));
        room.net.poll(Some(soon), &mut events).unwrap();
        for event in events.drain(..) {
            if let NetEvent::Closed { conn, .. } = event {
                room.front.closed(conn);
            }
        }
    }
    assert!(!room.front.has_waits());
    room.net.poll(Some(clock::boot()), &mut events).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"+PONG\r\n", "what came before is said");
}

#[test]
fn a_request_waits_for_a_primary_but_not_for_ever() {
    let mut room = Room::new();
    room.host.is_lost = true;
    let (mut stream, at) = room.client("PING\r\nSET a 1\r\n");
    let (mut late, late_at) = room.client("GET a\r\n");
    let begun = clock::boot();
    assert_eq!(room.take(&[at, late_at]), 0);
    let until = room.front.deadline(begun).unwrap();
    assert!(until >= begun.plus(SEEKS_MAX), "{until:?}");
    // Nothing has changed.
    room.front.settle_seekers(&mut room.net, begun, false);
    assert!(room.front.ready.is_empty());
    assert_eq!(room.front.deadline(begun), Some(until));

    let (net, front) = (&mut room.net, &mut room.front);
    front.clients.get_mut(&at).unwrap().seeks_until = Some(until.plus(SEEKS_MAX));
    front.settle_seekers(net, until, false);
    assert_eq!(front.ready, [late_at], "its time is over");
    assert_eq!(room.take(&[]), 0);
    room.net.flush();
    let mut reply = [0; 34];
    late.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"-CLUSTERDOWN The cluster is down\r\n");

    room.host.is_lost = false;
    room.front.settle_seekers(&mut room.net, until, true);
    assert_eq!(room.take(&[]), 1, "SET");
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
    assert_eq!(room.front.deadline(until), None);
}

#[test]
fn who_has_more_to_come_keeps_its_place() {
    let mut limits = NetLimits::default();
    limits.clients.connections_max = 1;
    let mut room = Room::with(limits);
    let (_stream, at) = room.client("INCR a\r\nDEL a\r\n");
    assert_eq!(room.take(&[at]), 2);
    let mut events = Vec::new();
    // What is answered, and whether the client keeps its place then.
    for (answered, is_there) in [(None, true), (Some(0), true), (Some(1), false)] {
        if let Some(place) = answered {
            let id = room.front.tasks().nth(place).unwrap().id;
            room.front.answer(&mut room.net, at, id, b":1\r\n");
        }
        room.net.poll(Some(clock::boot()), &mut events).unwrap();
        assert_eq!(room.net.output_bytes(at), 0, "it has left");
        let mut other = TcpStream::connect(room.address).unwrap();
        other.set_nonblocking(true).unwrap();
        let begun = time::Instant::now();
        while room.net.may_speak(at) && other.read(&mut [0]).is_err() {
            assert!(begun.elapsed() < PATIENCE, "waited in vain");
            let soon = clock::boot().plus(Duration::from_millis(10));
            room.net.poll(Some(soon), &mut events).unwrap();
        }
        assert_eq!(room.net.may_speak(at), is_there);
    }
}

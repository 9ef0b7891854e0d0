//! How much of what clients have sent is taken in one wake-up.
//!
//! The rest stays where it is, and the loop comes round for it at once. Without a bound some
//! connections full of short frames would keep the loop from everybody else, the view service included,
//! for as long as those take: long enough to cost a primary its lease.

use standin_core::conn::ConnId;
use standin_core::message::Switchover;
use standin_io::net::{Net, READ_BYTES_PER_POLL};
use standin_replica::{FromClient, Request, client_frame};

/// Requests of clients after which nothing more is taken in one wake-up. Those with input share them evenly, and whoever had
/// none comes first in the next.
const REQUESTS_PER_WAKE_UP: usize = 4096;
/// Requests after which nothing more is taken of one connection when so many have input that an even share would be less: all
/// that a client with 16 requests in flight has sent makes one batch.
const REQUESTS_PER_CONN_MIN: usize = 16;
/// Bytes of clients after which nothing more is taken in one wake-up: about what one brings in.
const BYTES_PER_WAKE_UP: usize = READ_BYTES_PER_POLL;
/// Most frames taken of one replica, or of the view service, in one wake-up.
pub(super) const FRAMES_PER_PEER: usize = 64;
/// Bytes of one replica after which nothing more of it is taken in one wake-up: a follower that is behind says how
/// far it is as often as it has taken in so much, and looks after everything else.
pub(super) const BYTES_PER_PEER: usize = 256 << 10;

/// What is taken of the input of all clients.
#[derive(Debug, Default)]
pub(super) struct Intake<'a> {
    /// They become one batch.
    pub(super) requests: Vec<Request<'a>>,
    /// Who asks for this replica's state: each connection at most once, since that takes longer.
    pub(super) asked: Vec<ConnId>,
    /// Who asks this replica to hand over: each connection at most once.
    pub(super) switchovers: Vec<(ConnId, Switchover)>,
    pub(super) taken: Vec<Taken>,
}

/// How much was taken of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) conn: ConnId,
    pub(super) bytes: usize,
    /// Whether all of it was what a client may send.
    pub(super) is_good: bool,
}

impl<'a> Intake<'a> {
    /// Looks through the input of these connections, in this order. Room is made for so many requests as are expected.
    pub(super) fn of(net: &'a Net, conns: &[ConnId], expected: usize) -> Self {
        let share = REQUESTS_PER_WAKE_UP / conns.len().max(1);
        let share = share.max(REQUESTS_PER_CONN_MIN);
        let mut intake = Self {
            requests: Vec::with_capacity(expected),
            taken: Vec::with_capacity(conns.len()),
            ..Self::default()
        };
        let (mut requests, mut bytes) = (0, 0);
        for &conn in conns {
            if requests >= REQUESTS_PER_WAKE_UP || bytes >= BYTES_PER_WAKE_UP {
                break;
            }
            let (count, taken) = intake.take(net, conn, share);
            requests += count;
            bytes += taken.bytes;
            intake.taken.push(taken);
        }
        intake
    }

    /// Whether nothing was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.taken.is_empty()
    }

    /// Takes whole frames until they hold `share` requests, and says how many those are.
    fn take(&mut self, net: &'a Net, conn: ConnId, share: usize) -> (usize, Taken) {
        let mut taken = Taken {
            conn,
            bytes: 0,
            is_good: true,
        };
        let (mut count, mut has_asked) = (0, false);
        for frame in net.frames(conn) {
            if count >= share || !taken.is_good {
                break;
            }
            let before = self.requests.len();
            match client_frame(&frame) {
                Ok(FromClient::Inspect | FromClient::Switchover(_)) if has_asked => break,
                Ok(FromClient::Inspect) => {
                    has_asked = true;
                    self.asked.push(conn);
                }
                Ok(FromClient::Switchover(wanted)) => {
                    has_asked = true;
                    self.switchovers.push((conn, wanted));
                }
                Ok(FromClient::Request(body)) => self.requests.push(Request { conn, body }),
                Ok(several) => {
                    let bodies = several.requests();
                    self.requests
                        .extend(bodies.map(|body| Request { conn, body }));
                }
                Err(_) => taken.is_good = false,
            }
            count += (self.requests.len() - before).max(1);
            taken.bytes += frame.len();
        }
        (count, taken)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{SocketAddr, TcpStream};
    use std::thread::{self, JoinHandle};
    use std::time;

    use standin_core::message::{
        CloseSession, Consistency, Hello, HigherView, Inspect, Message as _, Party, QueryRequest,
        QueryRequests, Seen,
    };
    use standin_core::view::ViewId;
    use standin_io::net::{NetConfig, NetEvent, NetLimits};

    use super::*;

    /// How long a test waits for something before it fails.
    const PATIENCE: time::Duration = time::Duration::from_secs(60);

    /// A loop to which clients have sent `frames` each, all of which have arrived.
    struct Crowd {
        net: Net,
        /// In the order in which the loop reports their input.
        conns: Vec<ConnId>,
        _clients: Vec<JoinHandle<TcpStream>>,
    }

    impl Crowd {
        fn new(clients: usize, frames: &[u8], count: usize) -> Self {
            let mut net = Net::new(NetConfig {
                party: Party::Replica,
                cluster: None,
                machine: None,
                limits: NetLimits::default(),
            })
            .unwrap();
            let address = net.listen("127.0.0.1:0".parse().unwrap()).unwrap();
            let senders = (0..clients).map(|_| client(address, frames)).collect();
            let mut crowd = Self {
                net,
                conns: Vec::new(),
                _clients: senders,
            };
            let begun = time::Instant::now();
            while crowd.conns.len() < clients
                || crowd.conns.iter().any(|conn| crowd.left(*conn) < count)
            {
                assert!(begun.elapsed() < PATIENCE, "waited in vain");
                crowd.poll();
            }
            crowd
        }

        /// One wake-up. There is input all the time, or about to be, so it is over at once.
        fn poll(&mut self) {
            let mut events = Vec::new();
            self.net.poll(None, &mut events).unwrap();
            self.conns.clear();
            for event in events {
                match event {
                    NetEvent::Input { conn } => self.conns.push(conn),
                    NetEvent::Closed { reason, .. } => panic!("{reason}"),
                    _ => {}
                }
            }
        }

        fn left(&self, conn: ConnId) -> usize {
            self.net.frames(conn).count()
        }

        /// What a wake-up takes: all connections of which something is taken, and how many requests
        /// and questions there are.
        fn take(&mut self) -> (Vec<ConnId>, usize, usize) {
            let intake = Intake::of(&self.net, &self.conns, 0);
            let (requests, asked) = (intake.requests.len(), intake.asked.len());
            let taken = intake.taken;
            for taken in &taken {
                self.net.consume(taken.conn, taken.bytes);
            }
            let conns = taken.iter().map(|taken| taken.conn).collect();
            (conns, requests, asked)
        }
    }

    /// A client that has said hello, and what sends the rest meanwhile: it may not fit into the socket.
    fn client(address: SocketAddr, frames: &[u8]) -> JoinHandle<TcpStream> {
        let mut hello = Vec::new();
        Hello::new(Party::Client, None, None).encode(&mut hello);
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&hello).unwrap();
        let frames = frames.to_vec();
        thread::spawn(move || {
            stream.write_all(&frames).unwrap();
            stream
        })
    }

    fn frames(encode: impl Fn(&mut Vec<u8>), count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        (0..count).for_each(|_| encode(&mut bytes));
        bytes
    }

    fn request(out: &mut Vec<u8>) {
        let close = CloseSession {
            id: 1,
            seen: Seen::default(),
            session: 1,
        };
        close.encode(out);
    }

    fn inspect(out: &mut Vec<u8>) {
        Inspect.encode(out);
    }

    #[test]
    fn fifty_clients_with_sixteen_requests_each_are_served_in_one_wake_up() {
        let mut crowd = Crowd::new(50, &frames(request, 16), 16);
        let (conns, requests, _) = crowd.take();
        assert_eq!((conns.len(), requests), (50, 800));
        assert!(crowd.conns.iter().all(|conn| crowd.left(*conn) == 0));
    }

    #[test]
    fn clients_with_much_input_share_a_wake_up_evenly() {
        let mut crowd = Crowd::new(4, &frames(request, 3000), 3000);
        let (conns, requests, _) = crowd.take();
        assert_eq!((conns.len(), requests), (4, REQUESTS_PER_WAKE_UP));
        let left: Vec<_> = conns.iter().map(|conn| crowd.left(*conn)).collect();
        assert_eq!(left, [3000 - REQUESTS_PER_WAKE_UP / 4; 4]);
        // A single one has a whole wake-up to itself, and no more than that.
        let mut crowd = Crowd::new(1, &frames(request, 5000), 5000);
        assert_eq!(crowd.take().1, REQUESTS_PER_WAKE_UP);
    }

    #[test]
    fn several_requests_in_a_frame_count_as_so_many() {
        let several = |out: &mut Vec<u8>| {
            let first = QueryRequest {
                id: 1,
                seen: Seen::default(),
                consistency: Consistency::Stale,
                bytes: &[],
            };
            QueryRequests::encode(&first, 16, |_, out| out.push(7), out);
        };
        let mut crowd = Crowd::new(4, &frames(several, 300), 300);
        let (conns, requests, _) = crowd.take();
        assert_eq!((conns.len(), requests), (4, REQUESTS_PER_WAKE_UP));
        let left: Vec<_> = conns.iter().map(|conn| crowd.left(*conn)).collect();
        assert_eq!(left, [300 - REQUESTS_PER_WAKE_UP / 4 / 16; 4]);
    }

    #[test]
    fn whoever_was_not_served_comes_first_in_the_next_wake_up() {
        let served = REQUESTS_PER_WAKE_UP / REQUESTS_PER_CONN_MIN;
        let clients = served + 44;
        let count = 2 * REQUESTS_PER_CONN_MIN;
        let mut crowd = Crowd::new(clients, &frames(request, count), count);
        let (first, requests, _) = crowd.take();
        assert_eq!((first.len(), requests), (served, REQUESTS_PER_WAKE_UP));
        crowd.poll();
        let (second, ..) = crowd.take();
        assert_eq!(second.len(), served);
        assert!(second[..44].iter().all(|conn| !first.contains(conn)));
    }

    #[test]
    fn a_wake_up_ends_after_so_many_bytes() {
        // Each as long as what is read of a connection in one wake-up.
        let long = QueryRequest {
            id: 1,
            seen: Seen::default(),
            consistency: Consistency::Stale,
            bytes: &vec![0; 250 << 10],
        };
        let mut crowd = Crowd::new(40, &frames(|out| long.encode(out), 1), 1);
        let (conns, requests, _) = crowd.take();
        assert_eq!(conns.len(), requests);
        let bytes = requests * (250 << 10);
        let bounds = BYTES_PER_WAKE_UP..BYTES_PER_WAKE_UP + (300 << 10);
        assert!(bounds.contains(&bytes), "{bytes}");
    }

    #[test]
    fn one_question_for_the_state_is_answered_at_a_time() {
        let mut bytes = frames(request, 2);
        bytes.extend(frames(inspect, 1000));
        bytes.extend(frames(request, 1));
        let mut crowd = Crowd::new(3, &bytes, 1003);
        let (conns, requests, asked) = crowd.take();
        assert_eq!((conns.len(), requests, asked), (3, 6, 3));
        for round in 1..1000 {
            let left = crowd.conns.iter().map(|conn| crowd.left(*conn));
            assert!(left.eq([1001 - round; 3]), "round {round}");
            let (_, requests, asked) = crowd.take();
            let last = if round == 999 { 3 } else { 0 };
            assert_eq!((requests, asked), (last, 3), "round {round}");
        }
    }

    #[test]
    fn nothing_is_taken_after_what_no_client_may_send() {
        let mut bytes = frames(request, 2);
        let view = ViewId::default();
        HigherView { view }.encode(&mut bytes);
        bytes.extend(frames(request, 5));
        let crowd = Crowd::new(1, &bytes, 8);
        let intake = Intake::of(&crowd.net, &crowd.conns, 0);
        assert_eq!(intake.requests.len(), 2);
        assert!(!intake.taken[0].is_good);
    }
}

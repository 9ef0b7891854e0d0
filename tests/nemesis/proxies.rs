//! A network of proxies on loopback: each party is reached through one, which passes bytes on.
//!
//! It must know who connects. The view service has a proxy for each party, since those are told its
//! address one by one. A replica tells one address to everybody, so that there the first frame tells
//! clients from replicas, and the kernel whose socket it is tells replicas from each other.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use standin_core::frame::Frame;
use standin_core::message::{Hello, Message as _, Party as HelloParty};
use standin_core::time::Duration;
use standin_io::{clock, entropy};
use standin_tools::cluster::{POLL_PAUSE, Placement, VIEW_SERVICE};

use crate::links::{Connection, Links};
use crate::network::{Network, Trouble};
use crate::owner;
use crate::party::{CLIENTS, Direction, Party, REPLICAS};
use crate::support::sure;

/// Bytes that are passed on at once.
const CHUNK_BYTES: usize = 16 << 10;
/// How long it may take until the other side accepts: one that is frozen has its kernel accept.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// More than the first frame has.
const HELLO_BYTES: usize = 4096;
/// How long it is tried to find out who has connected: one just started may not be known yet.
const OWNER_PATIENCE: Duration = Duration::from_secs(2);
/// Where the processes listen: below the ports that the kernel gives to those who connect, one of
/// which could otherwise take a port while the process that owns it is dead.
const PORTS: std::ops::Range<u64> = 20_000..32_000;

/// What the threads share.
#[derive(Debug, Default)]
struct Shared {
    links: Links,
    /// Where the parties really listen.
    targets: Mutex<BTreeMap<Party, SocketAddr>>,
    /// The processes, by party. Who is none of them is a client.
    pids: Mutex<BTreeMap<Party, u32>>,
}

/// A proxy: whom it leads to, and who comes by it, if only one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Door {
    to: Party,
    from: Option<Party>,
}

/// All proxies.
#[derive(Debug)]
pub(crate) struct Proxies {
    shared: Arc<Shared>,
    addresses: BTreeMap<Door, SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxies {
    pub(crate) fn start() -> Self {
        let mut proxies = Self {
            shared: Arc::default(),
            addresses: BTreeMap::new(),
            threads: Vec::new(),
        };
        let to_replicas = REPLICAS.map(|to| Door { to, from: None });
        let to_view_service = REPLICAS
            .into_iter()
            .chain([CLIENTS])
            .map(door_to_view_service);
        for door in to_replicas.into_iter().chain(to_view_service) {
            let listener = sure(TcpListener::bind("127.0.0.1:0"));
            proxies.addresses.insert(door, sure(listener.local_addr()));
            let shared = Arc::clone(&proxies.shared);
            let thread = thread::spawn(move || accept(&listener, door, &shared));
            proxies.threads.push(thread);
        }
        proxies
    }

    fn address(&self, is_it: impl Fn(&Door) -> bool) -> Option<String> {
        let mut addresses = self.addresses.iter();
        let found = addresses.find(|(door, _)| is_it(door));
        found.map(|(_, address)| address.to_string())
    }
}

fn door_to_view_service(from: Party) -> Door {
    Door {
        to: VIEW_SERVICE,
        from: Some(from),
    }
}

impl Network for Proxies {
    fn placement(&self, name: &str) -> Placement {
        Placement {
            listen: Some(free_address()),
            advertise: self.address(|door| door.to == name && door.from.is_none()),
            view_service: self.address(|door| door.from == Some(name)),
            ..Placement::default()
        }
    }

    fn reached_at(&mut self, name: &'static str, address: &str) {
        let address = sure(address.parse());
        locked(&self.shared.targets).insert(name, address);
    }

    fn started(&mut self, name: &'static str, pid: u32) {
        locked(&self.shared.pids).insert(name, pid);
    }

    fn view_service(&self) -> String {
        self.addresses[&door_to_view_service(CLIENTS)].to_string()
    }

    fn can(&self, _trouble: Trouble) -> bool {
        true
    }

    fn afflict(&mut self, direction: Direction, trouble: Trouble) {
        self.shared.links.afflict(direction, trouble);
    }

    fn heal(&mut self, direction: Direction) {
        self.shared.links.heal(direction);
    }

    fn account(&self) -> String {
        self.shared.links.account()
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        self.shared.links.end();
        for address in self.addresses.values() {
            // Wakes the thread that accepts, which then sees that it is over.
            let _ = TcpStream::connect(address);
        }
        for thread in self.threads.drain(..) {
            // One that has panicked has said so itself.
            let _ = thread.join();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address that nobody listens at.
fn free_address() -> String {
    loop {
        let port = PORTS.start + entropy::u64() % (PORTS.end - PORTS.start);
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

fn accept(listener: &TcpListener, door: Door, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.links.is_over() {
            return;
        }
        // What fails here has been closed by the other side meanwhile.
        let Ok((dialer, address)) = accepted else {
            continue;
        };
        let shared = Arc::clone(shared);
        thread::spawn(move || carry(dialer, address, door, &shared));
    }
}

/// Passes bytes on in both directions until the connection ends.
fn carry(dialer: TcpStream, address: SocketAddr, door: Door, shared: &Arc<Shared>) {
    let to = door.to;
    let Some(target) = locked(&shared.targets).get(to).copied() else {
        return; // nobody has ever been there
    };
    let Ok(acceptor) = TcpStream::connect_timeout(&target, CONNECT_PATIENCE) else {
        return; // nobody is there
    };
    let from = door.from.or_else(|| who(&dialer, address, shared));
    let Some(from) = from else {
        return; // it has gone
    };
    for stream in [&dialer, &acceptor] {
        if stream.set_nodelay(true).is_err() {
            return;
        }
    }
    let direction = Direction { from, to };
    let connection = Arc::new(Connection::new(direction, dialer, acceptor));
    shared.links.add(&connection);
    let (one, other) = (Arc::clone(&connection), Arc::clone(shared));
    let back = thread::spawn(move || {
        pump(
            &one,
            direction.back(),
            [&one.acceptor, &one.dialer],
            &other.links,
        );
    });
    pump(
        &connection,
        direction,
        [&connection.dialer, &connection.acceptor],
        &shared.links,
    );
    let _ = back.join();
}

/// Finds out who has connected from this address.
fn who(dialer: &TcpStream, address: SocketAddr, shared: &Shared) -> Option<Party> {
    let end = clock::boot().plus(OWNER_PATIENCE);
    let is_time_over = || clock::boot() >= end || shared.links.is_over();
    let party = loop {
        match first_party(dialer) {
            Ok(Some(party)) => break party,
            Ok(None) if !is_time_over() => thread::sleep(POLL_PAUSE),
            _ => return None,
        }
    };
    if party != HelloParty::Replica {
        return Some(CLIENTS);
    }
    let socket = owner::socket(address, dialer.local_addr().ok()?)?;
    loop {
        let pids = locked(&shared.pids).clone();
        let mut pids = pids.into_iter();
        if let Some((party, _)) = pids.find(|(_, pid)| owner::has_socket(*pid, &socket)) {
            return Some(party);
        }
        if is_time_over() {
            return None;
        }
        thread::sleep(POLL_PAUSE);
    }
}

/// Looks at the first frame, which stays to be read: what its sender says that it is. `None` if it
/// is not all there yet.
fn first_party(dialer: &TcpStream) -> io::Result<Option<HelloParty>> {
    let mut bytes = [0; HELLO_BYTES];
    dialer.set_read_timeout(Some(OWNER_PATIENCE))?;
    let count = dialer.peek(&mut bytes)?;
    dialer.set_read_timeout(None)?;
    if count == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let frame = Frame::decode(&bytes[..count], HELLO_BYTES).map_err(io::Error::other)?;
    let Some(frame) = frame else { return Ok(None) };
    let hello = Hello::decode(&frame).map_err(io::Error::other)?;
    Ok(Some(hello.party))
}

/// Passes bytes on in one direction until there are no more.
fn pump(
    connection: &Connection,
    direction: Direction,
    [input, output]: [&TcpStream; 2],
    links: &Links,
) {
    let (mut input, mut output) = (input, output);
    let mut bytes = vec![0; CHUNK_BYTES];
    loop {
        let count = match input.read(&mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        if !links.let_through(connection, direction, count) {
            if count == 0 {
                return; // the other side is not told
            }
            continue; // and hears nothing more
        }
        if count == 0 {
            // Fails only if the other side has gone too.
            let _ = output.shutdown(Shutdown::Write);
            return;
        }
        if output.write_all(&bytes[..count]).is_err() {
            connection.end();
            return;
        }
    }
}

//! The blocking client: a [`ClientCore`] with sockets and a clock, for one thread.

use std::io;

use standin_core::conn::ConnId;
use standin_core::message::{
    Consistency, Lookup, LookupReply, Message as _, Party, Refusal, Reply, StatusReply,
};
use standin_core::time::{Duration, Instant};
use standin_io::net::{CloseReason, Net, NetConfig, NetEvent, NetLimits};
use standin_io::{clock, entropy};

use crate::address::ViewServices;
use crate::ask::{self, AskError};
use crate::core::{Action, Answer, CONNECT_PATIENCE, ClientCore, ConnectionId, CoreConfig, Event};
use crate::error::ClientError;
use crate::requests::{Request, Work};

/// How a client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// How long a request is tried before it ends in an error.
    pub timeout: Duration,
}

impl Default for ClientConfig {
    /// Five seconds: several lease terms.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
        }
    }
}

/// What is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    ViewService,
    Replica,
}

/// A connection under its two names.
#[derive(Clone, Copy, Debug)]
struct Link {
    connection: ConnectionId,
    conn: ConnId,
    side: Side,
}

/// A client of one cluster, with a session of its own. Blocks; one for each thread.
///
/// Nothing is connected to before the first request. The first command opens a session; commands are
/// executed in it exactly once, however often they must be sent.
#[derive(Debug)]
pub struct Client {
    core: ClientCore,
    net: Net,
    view_services: ViewServices,
    timeout: Duration,
    /// The connections that the core asked for and has not closed: at most one of each side.
    links: Vec<Link>,
    /// The number of the last request.
    id_last: u64,
    /// The outcome of the request that is waited for.
    outcome: Option<Result<Answer, ClientError>>,
    /// Used again for each poll.
    events: Vec<NetEvent>,
}

impl Client {
    /// A client of the cluster whose view service is at `addresses`: HOST:PORT, or several with
    /// commas between them, which are tried in turn.
    ///
    /// # Errors
    /// [`ClientError::Address`] if they are none, [`ClientError::Local`] if this process can have no
    /// more descriptors. Whether anybody is there shows with the first request.
    pub fn connect(addresses: &str, config: ClientConfig) -> Result<Self, ClientError> {
        let view_services = ViewServices::parse(addresses)?;
        Self::new(view_services, config)
    }

    /// Like [`Client::connect`], with addresses that were parsed before.
    ///
    /// # Errors
    /// [`ClientError::Local`] if this process can have no more descriptors.
    pub fn new(view_services: ViewServices, config: ClientConfig) -> Result<Self, ClientError> {
        let net = new_net().map_err(|source| ClientError::Local {
            doing: "make an event loop",
            source,
        })?;
        let core = ClientCore::new(CoreConfig {
            view_services: view_services.clone(),
            jitter_seed: entropy::u64(),
        });
        Ok(Self {
            core,
            net,
            view_services,
            timeout: config.timeout,
            links: Vec::new(),
            id_last: 0,
            outcome: None,
            events: Vec::new(),
        })
    }

    /// Executes a command of the machine once, and returns the machine's reply.
    ///
    /// # Errors
    /// [`ClientError`]; its variants tell whether the command may have been executed all the same.
    pub fn command(&mut self, bytes: &[u8]) -> Result<Answer, ClientError> {
        self.request(Work::Command(bytes.to_vec()))
    }

    /// Asks the machine something, and returns its reply.
    ///
    /// # Errors
    /// [`ClientError`], when nobody who may answer is reached in time.
    pub fn query(&mut self, bytes: &[u8], consistency: Consistency) -> Result<Answer, ClientError> {
        let bytes = bytes.to_vec();
        self.request(Work::Query { bytes, consistency })
    }

    /// Closes the session, if one is open, and all connections. Without it the session stays until
    /// it expires, which costs the replicas some memory and nothing else.
    ///
    /// # Errors
    /// [`ClientError`], when nobody who could close it is reached in time.
    pub fn close(mut self) -> Result<(), ClientError> {
        self.request(Work::CloseSession).map(|_| ())
    }

    /// The view service's account of all replicas, over a connection of its own.
    ///
    /// # Errors
    /// [`AskError`], when no view service answers in time.
    pub fn status(&self) -> Result<StatusReply, AskError> {
        ask::status(&self.view_services, self.timeout)
    }

    /// Changes how long each of the following requests is tried.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn request(&mut self, work: Work) -> Result<Answer, ClientError> {
        self.id_last += 1;
        self.outcome = None;
        let now = clock::boot();
        let request = Request {
            id: self.id_last,
            deadline: now.plus(self.timeout),
            work,
        };
        self.handle(now, Event::Submit(request));
        loop {
            if let Some(outcome) = self.outcome.take() {
                return outcome;
            }
            self.turn().map_err(|source| ClientError::Local {
                doing: "wait for an answer",
                source,
            })?;
        }
    }

    /// Waits once, and takes in what has happened.
    fn turn(&mut self) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        let now = self.net.poll(self.core.deadline(), &mut events)?.boot;
        for event in events.drain(..) {
            self.on_net_event(now, event);
        }
        self.events = events;
        if self.core.deadline().is_some_and(|deadline| deadline <= now) {
            self.handle(now, Event::Deadline);
        }
        Ok(())
    }

    fn handle(&mut self, now: Instant, event: Event<'_>) {
        self.core.handle(now, event);
        self.act(now);
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.core.next_action() {
            match action {
                Action::ConnectViewService { connection, nth } => {
                    let address = &self.view_services.as_slice()[nth];
                    let conn = self.net.connect(address, now, CONNECT_PATIENCE);
                    self.add_link(connection, conn, Side::ViewService);
                }
                Action::ConnectReplica {
                    connection,
                    address,
                } => {
                    let conn = self.net.connect(&address, now, CONNECT_PATIENCE);
                    self.add_link(connection, conn, Side::Replica);
                }
                Action::SendLookup { connection } => {
                    if let Some(link) = self.link_of(connection) {
                        self.net.send(link.conn, |out| Lookup.encode(out));
                    }
                }
                Action::Send { connection, bytes } => {
                    if let Some(link) = self.link_of(connection) {
                        self.net
                            .send(link.conn, |out| out.extend_from_slice(&bytes));
                    }
                }
                Action::CloseViewService { connection } | Action::CloseReplica { connection } => {
                    self.close_link(connection);
                }
                // A request that ended in a local error before may still end here as well.
                Action::Complete { id, result } => {
                    if id == self.id_last {
                        self.outcome = Some(result);
                    }
                }
            }
        }
    }

    fn add_link(&mut self, connection: ConnectionId, conn: ConnId, side: Side) {
        self.links.push(Link {
            connection,
            conn,
            side,
        });
    }

    fn link_of(&self, connection: ConnectionId) -> Option<Link> {
        let mut links = self.links.iter();
        links.find(|link| link.connection == connection).copied()
    }

    fn close_link(&mut self, connection: ConnectionId) {
        if let Some(link) = self.link_of(connection) {
            self.net.close(link.conn);
            self.links.retain(|link| link.connection != connection);
        }
    }

    fn on_net_event(&mut self, now: Instant, event: NetEvent) {
        match event {
            NetEvent::Ready { conn, hello, .. } => {
                let Some(link) = self.link_with(conn) else {
                    return;
                };
                let connection = link.connection;
                match link.side {
                    Side::ViewService if hello.party != Party::ViewService => {
                        self.close_link(connection);
                        let is = hello.party;
                        self.handle(now, Event::NoViewService { connection, is });
                    }
                    Side::ViewService => {
                        // From here on a replica of another cluster is told apart at its hello.
                        if let Some(cluster) = hello.cluster {
                            self.net.set_cluster(cluster);
                        }
                        self.handle(now, Event::ViewServiceConnected { connection });
                    }
                    Side::Replica => self.handle(now, Event::ReplicaConnected { connection }),
                }
            }
            NetEvent::Input { conn } => self.on_input(now, conn),
            NetEvent::Closed { conn, reason } => self.on_closed(now, conn, &reason),
            NetEvent::Woken | NetEvent::Signal(_) => {}
        }
    }

    fn link_with(&self, conn: ConnId) -> Option<Link> {
        self.links.iter().find(|link| link.conn == conn).copied()
    }

    fn on_closed(&mut self, now: Instant, conn: ConnId, reason: &CloseReason) {
        let Some(link) = self.link_with(conn) else {
            return;
        };
        log::debug!("a connection to a {:?} ended: {reason}", link.side);
        self.links.retain(|other| other.conn != conn);
        let refusal = refusal_of(reason);
        let connection = link.connection;
        let event = match link.side {
            Side::ViewService => Event::ViewServiceClosed {
                connection,
                refusal,
            },
            Side::Replica => Event::ReplicaClosed {
                connection,
                refusal,
            },
        };
        self.handle(now, event);
    }

    fn on_input(&mut self, now: Instant, conn: ConnId) {
        // The core may close the connection in between: then there is no link any more.
        while let Some(link) = self.link_with(conn) {
            let Some(frame) = self.net.frames(conn).next() else {
                return;
            };
            let connection = link.connection;
            let frame_bytes = frame.len();
            let is_understood = match link.side {
                Side::ViewService => LookupReply::decode(&frame).is_ok_and(|reply| {
                    self.core.handle(now, Event::Found { connection, reply });
                    true
                }),
                Side::Replica => Reply::decode(&frame).is_ok_and(|reply| {
                    self.core.handle(now, Event::Reply { connection, reply });
                    true
                }),
            };
            self.net.consume(conn, frame_bytes);
            if !is_understood {
                log::warn!("a {:?} sent a message that does not belong here", link.side);
                self.net.close(conn);
                return;
            }
            self.act(now);
        }
    }
}

/// A loop for the connections of one client.
///
/// # Errors
/// When this process can have no more descriptors.
pub(crate) fn new_net() -> io::Result<Net> {
    Net::new(NetConfig {
        party: Party::Client,
        cluster: None,
        machine: None,
        limits: NetLimits::default(),
    })
}

/// The reason that one side gave for closing a connection, if any.
pub(crate) fn refusal_of(reason: &CloseReason) -> Option<Refusal> {
    match reason {
        CloseReason::RefusedByPeer(refusal) | CloseReason::RefusedHere(refusal) => {
            Some(refusal.clone())
        }
        _ => None,
    }
}

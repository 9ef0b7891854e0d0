//! A [`ClientCore`] on somebody's event loop: it shares the loop with whatever else its owner does there.

use std::collections::VecDeque;

use standin_core::conn::ConnId;
use standin_core::message::{Lookup, LookupReply, Message as _, Party, Refusal, Replies};
use standin_core::time::Instant;
use standin_io::net::{CloseReason, Net, NetEvent};

use crate::address::ViewServices;
use crate::core::{Action, Answer, CONNECT_PATIENCE, ClientCore, ConnectionId, CoreConfig, Event};
use crate::error::ClientError;
use crate::requests::Request;

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

/// A client of one cluster, with a session of its own, whose connections are on an event loop that it is lent for each
/// call. The owner hands in what the loop reports ([`Driver::on_net_event`]) and the time ([`Driver::on_time`], at
/// [`Driver::deadline`] at the latest), and takes out how requests ended ([`Driver::next_outcome`]).
#[derive(Debug)]
pub struct Driver {
    core: ClientCore,
    view_services: ViewServices,
    /// The connections that the core asked for and has not closed: at most one of each side.
    links: Vec<Link>,
    /// How requests ended, for the owner to take.
    outcomes: VecDeque<(u64, Result<Answer, ClientError>)>,
}

impl Driver {
    /// A client that connects to nothing before its first request.
    #[must_use]
    pub fn new(config: CoreConfig) -> Self {
        Self {
            view_services: config.view_services.clone(),
            core: ClientCore::new(config),
            links: Vec::new(),
            outcomes: VecDeque::new(),
        }
    }

    /// Takes a request. It ends exactly once, with an outcome.
    pub fn submit(&mut self, net: &mut Net, now: Instant, request: Request) {
        self.handle(net, now, Event::Submit(request));
    }

    /// How another request ended: its number, and the answer or why there is none.
    pub fn next_outcome(&mut self) -> Option<(u64, Result<Answer, ClientError>)> {
        self.outcomes.pop_front()
    }

    /// Does what time asks for.
    pub fn on_time(&mut self, net: &mut Net, now: Instant) {
        if self.core.deadline().is_some_and(|deadline| deadline <= now) {
            self.handle(net, now, Event::Deadline);
        }
    }

    /// When [`Driver::on_time`] is to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.core.deadline()
    }

    /// The core, to look at.
    #[must_use]
    pub fn core(&self) -> &ClientCore {
        &self.core
    }

    /// Connections that are open or being opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.links.len()
    }

    /// Where the view service is.
    #[must_use]
    pub fn view_services(&self) -> &ViewServices {
        &self.view_services
    }

    fn handle(&mut self, net: &mut Net, now: Instant, event: Event<'_>) {
        self.core.handle(now, event);
        self.act(net, now);
    }

    fn act(&mut self, net: &mut Net, now: Instant) {
        while let Some(action) = self.core.next_action() {
            match action {
                Action::ConnectViewService { connection, nth } => {
                    let address = &self.view_services.as_slice()[nth];
                    let conn = net.connect(address, now, CONNECT_PATIENCE);
                    self.add_link(connection, conn, Side::ViewService);
                }
                Action::ConnectReplica {
                    connection,
                    address,
                } => {
                    let conn = net.connect(&address, now, CONNECT_PATIENCE);
                    self.add_link(connection, conn, Side::Replica);
                }
                Action::SendLookup { connection } => {
                    if let Some(link) = self.link_of(connection) {
                        net.send(link.conn, |out| Lookup.encode(out));
                    }
                }
                Action::Send { connection, bytes } => {
                    if let Some(link) = self.link_of(connection) {
                        net.send(link.conn, |out| out.extend_from_slice(&bytes));
                    }
                }
                Action::CloseViewService { connection } | Action::CloseReplica { connection } => {
                    self.close_link(net, connection);
                }
                Action::Complete { id, result } => self.outcomes.push_back((id, result)),
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

    fn close_link(&mut self, net: &mut Net, connection: ConnectionId) {
        if let Some(link) = self.link_of(connection) {
            net.close(link.conn);
            self.links.retain(|link| link.connection != connection);
        }
    }

    /// Takes in what the loop has reported. Says whether it was about a connection of this client.
    pub fn on_net_event(&mut self, net: &mut Net, now: Instant, event: &NetEvent) -> bool {
        let conn = match event {
            NetEvent::Ready { conn, .. }
            | NetEvent::Input { conn }
            | NetEvent::Closed { conn, .. } => *conn,
            NetEvent::Woken | NetEvent::Signal(_) => return false,
        };
        let Some(link) = self.link_with(conn) else {
            return false;
        };
        match event {
            NetEvent::Ready { hello, .. } => {
                let connection = link.connection;
                match link.side {
                    Side::ViewService if hello.party != Party::ViewService => {
                        self.close_link(net, connection);
                        let is = hello.party;
                        self.handle(net, now, Event::NoViewService { connection, is });
                    }
                    Side::ViewService => {
                        // From here on a replica of another cluster is told apart at its hello.
                        if let Some(cluster) = hello.cluster {
                            net.set_cluster(cluster);
                        }
                        self.handle(net, now, Event::ViewServiceConnected { connection });
                    }
                    Side::Replica => self.handle(net, now, Event::ReplicaConnected { connection }),
                }
            }
            NetEvent::Input { .. } => self.on_input(net, now, conn),
            NetEvent::Closed { reason, .. } => self.on_closed(net, now, conn, reason),
            NetEvent::Woken | NetEvent::Signal(_) => {}
        }
        true
    }

    fn link_with(&self, conn: ConnId) -> Option<Link> {
        self.links.iter().find(|link| link.conn == conn).copied()
    }

    fn on_closed(&mut self, net: &mut Net, now: Instant, conn: ConnId, reason: &CloseReason) {
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
        self.handle(net, now, event);
    }

    fn on_input(&mut self, net: &mut Net, now: Instant, conn: ConnId) {
        // The core may close the connection in between: then there is no link any more.
        while let Some(link) = self.link_with(conn) {
            let Some(frame) = net.frames(conn).next() else {
                return;
            };
            let connection = link.connection;
            let frame_bytes = frame.len();
            let is_understood = match link.side {
                Side::ViewService => LookupReply::decode(&frame).is_ok_and(|reply| {
                    self.core.handle(now, Event::Found { connection, reply });
                    true
                }),
                Side::Replica => Replies::decode(&frame).is_ok_and(|replies| {
                    let event = Event::Replies {
                        connection,
                        replies,
                    };
                    self.core.handle(now, event);
                    true
                }),
            };
            net.consume(conn, frame_bytes);
            if !is_understood {
                log::warn!("a {:?} sent a message that does not belong here", link.side);
                net.close(conn);
                return;
            }
            self.act(net, now);
        }
    }
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

//! The decision core of a client: which replica to ask, what to send again, and how a request ends.

mod event;
mod replies;

use std::collections::VecDeque;

use standin_core::entry::COMMAND_BYTES_MAX;
use standin_core::message::{LookupReply, Party, Refusal, Seen};
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant, earliest};
use standin_core::view::ViewId;

use crate::address::{ViewServices, check_address};
use crate::error::{ClientError, Trouble};
use crate::finder::Finder;
use crate::requests::{End, REQUESTS_MAX, Request, Requests, Work};

pub use event::{Action, Answer, ConnectionId, Event};

/// A replica that has not answered for this long may be frozen or cut off, which shows as no error:
/// from then on the view service is asked whether another one is primary.
pub const ATTEMPT_PATIENCE: Duration = Duration::from_millis(100);
/// How often the view service is asked while a replica does not answer.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(50);
/// A replica that is not connected after this long is given up.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// A replica that has not answered for this long is connected to anew: what is in between may have
/// lost the connection and tell nobody, and a new one may get through. Counted across requests, since
/// each of them may be given less time.
pub const SILENCE_PATIENCE: Duration = Duration::from_secs(2);
/// Most hints from replicas that are followed before the view service is asked again: two replicas
/// may each take the other for the primary.
pub const HINTS_MAX: u32 = 3;

/// What a client core must know at its start.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// Where the view service is.
    pub view_services: ViewServices,
    /// Random, so that no two clients wait in step. Decides nothing else.
    pub jitter_seed: u64,
    /// What becomes of a command for which the replicas have no room.
    pub without_room: WithoutRoom,
}

/// What becomes of a command for which the replicas have no room, and which was certainly not executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutRoom {
    /// It is sent again until its deadline has come.
    #[default]
    Wait,
    /// It ends with [`ClientError::NoRoom`] at once.
    Fail,
}

/// The connection to the replica that is taken for the primary.
#[derive(Debug)]
struct Link {
    connection: ConnectionId,
    address: String,
    /// The highest view in which this replica is known as primary: from the view service's word or a
    /// hint at first, later from its own answers.
    view: ViewId,
    is_ready: bool,
    /// When something was last heard of it, or when it was begun to be connected.
    heard: Instant,
    /// Since when it owes an answer and has given none, also if what it was asked has ended since.
    owed_since: Option<Instant>,
}

/// A client without its sockets. Handle one event, take actions until there is none, then read the
/// deadline and see that a [`Event::Deadline`] comes then, unless another event comes first.
#[derive(Debug)]
pub struct ClientCore {
    finder: Finder,
    link: Option<Link>,
    requests: Requests,
    /// Highest view and index that a reply named (rule R7): nothing lower is accepted.
    seen: Seen,
    /// Hints followed since the view service was last asked.
    hints: u32,
    /// The last replica that answered a request. It is tried while no view service answers.
    last_primary: Option<(String, ViewId)>,
    /// What stood in the way last, for the error that may come of it.
    trouble: Trouble,
    without_room: WithoutRoom,
    random: RandomStream,
    connection_last: ConnectionId,
    actions: VecDeque<Action>,
    wake: Option<Instant>,
}

impl ClientCore {
    /// A client that has not connected to anything and does so when it is first asked.
    #[must_use]
    pub fn new(config: CoreConfig) -> Self {
        Self {
            finder: Finder::new(config.view_services),
            link: None,
            requests: Requests::default(),
            seen: Seen::default(),
            hints: 0,
            last_primary: None,
            trouble: Trouble::default(),
            without_room: config.without_room,
            random: RandomStream::new(config.jitter_seed, 0),
            connection_last: ConnectionId(0),
            actions: VecDeque::new(),
            wake: None,
        }
    }

    /// Takes one event in. All actions must have been taken before.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        debug_assert!(
            self.actions.is_empty(),
            "actions are taken before the next event"
        );
        match event {
            Event::Submit(request) => self.on_submit(now, request),
            Event::ViewServiceConnected { connection } => {
                self.finder.connected(connection, &mut self.actions);
            }
            Event::ViewServiceClosed {
                connection,
                refusal,
            } => self.on_view_service_closed(now, connection, refusal),
            Event::NoViewService { connection, is } => self.on_no_view_service(now, connection, is),
            Event::Found { connection, reply } => self.on_found(now, connection, reply),
            Event::ReplicaConnected { connection } => self.on_replica_connected(now, connection),
            Event::ReplicaClosed {
                connection,
                refusal,
            } => self.on_replica_closed(now, connection, refusal),
            Event::Reply { connection, reply } => self.on_reply(now, connection, reply),
            Event::Replies {
                connection,
                replies,
            } => {
                for reply in replies.iter() {
                    self.on_reply(now, connection, reply);
                }
            }
            Event::Deadline => {}
        }
        self.drive(now);
    }

    /// The next thing to do, in order.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When an [`Event::Deadline`] is wanted; later than the last event's time.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.wake
    }

    /// The highest view and index that were seen.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// The session that new commands are sent in, if one is open.
    #[must_use]
    pub fn session(&self) -> Option<u64> {
        self.requests.session()
    }

    /// Why what is pending is not answered yet, as far as it is known.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match &self.link {
            Some(link) if link.owed_since.is_some() => Trouble::Silent {
                address: link.address.clone(),
            },
            _ => self.trouble.clone(),
        }
    }

    /// Number of requests without an outcome, at most [`REQUESTS_MAX`].
    #[must_use]
    pub fn pending(&self) -> usize {
        self.requests.len()
    }

    fn on_submit(&mut self, now: Instant, request: Request) {
        let length = match &request.work {
            Work::Command(bytes) | Work::Query { bytes, .. } => bytes.len(),
            Work::CloseSession => 0,
        };
        if length > COMMAND_BYTES_MAX {
            let reason = format!("it has {length} bytes, at most {COMMAND_BYTES_MAX} are allowed");
            self.complete(request.id, Err(ClientError::Refused { reason }));
        } else if let Err(request) = self.requests.submit(now, request) {
            let reason = format!("{REQUESTS_MAX} requests of this client wait already");
            self.complete(request.id, Err(ClientError::Refused { reason }));
        }
    }

    fn complete(&mut self, id: u64, result: Result<Answer, ClientError>) {
        self.actions.push_back(Action::Complete { id, result });
    }

    // The view service.

    fn on_view_service_closed(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        refusal: Option<Refusal>,
    ) {
        let address = self.finder.address().to_owned();
        if self.finder.closed(connection, now, &mut self.random) {
            self.view_service_failed(now, address, refusal);
        }
    }

    /// An address that is somebody else's will not become a view service's by itself.
    fn on_no_view_service(&mut self, now: Instant, connection: ConnectionId, is: Party) {
        let address = self.finder.address().to_owned();
        if !self.finder.closed(connection, now, &mut self.random) {
            return;
        }
        self.finder.put_off_later(now, &mut self.random);
        while !self.requests.is_empty() {
            let address = address.clone();
            self.fail(now, 0, Some(ClientError::OtherParty { address, is }));
        }
    }

    fn view_service_failed(&mut self, now: Instant, address: String, refusal: Option<Refusal>) {
        if self.requests.is_empty() {
            return;
        }
        if let Some(refusal) = refusal {
            self.refused(now, address, refusal);
            return;
        }
        if self.link.is_some() {
            return;
        }
        self.trouble = Trouble::ViewServiceUnreachable { address };
        if let Some((address, view)) = self.last_primary.take() {
            self.connect(now, address, view);
        }
    }

    fn on_found(&mut self, now: Instant, connection: ConnectionId, reply: LookupReply) {
        let view = reply.view.unwrap_or_default();
        if !self.finder.answered(connection) && !self.is_news(connection, view, &reply) {
            return;
        }
        self.hints = 0;
        if view < self.seen.view {
            self.trouble = Trouble::ViewServiceBehind {
                address: self.finder.address().to_owned(),
                seen: self.seen.view,
            };
            self.finder.hang_up(&mut self.actions);
            self.finder.turn();
            self.finder.put_off_later(now, &mut self.random);
            return;
        }
        let primary = reply
            .primary
            .filter(|address| check_address(address).is_ok());
        match (primary, &self.link) {
            (Some(address), None) => self.connect(now, address, view),
            (Some(address), Some(link)) if view > link.view && address != link.address => {
                self.abandon(|address| Trouble::Silent { address });
                self.connect(now, address, view);
            }
            (Some(_), Some(_)) => self.finder.put_off_until(now.plus(PROBE_INTERVAL)),
            (None, _) => {
                self.trouble = Trouble::NoPrimary {
                    address: self.finder.address().to_owned(),
                };
                self.finder.put_off_later(now, &mut self.random);
            }
        }
    }

    /// Whether what the view service says unasked tells of a primary that is not known yet. What it said
    /// while nobody listened may be out of date.
    fn is_news(&self, connection: ConnectionId, view: ViewId, reply: &LookupReply) -> bool {
        let is_new = self.link.as_ref().is_none_or(|link| view > link.view);
        self.finder.is_connected_by(connection)
            && reply.primary.is_some()
            && is_new
            && view >= self.seen.view
    }

    // The replica.

    fn connect(&mut self, now: Instant, address: String, view: ViewId) {
        let connection = self.new_connection();
        self.actions.push_back(Action::ConnectReplica {
            connection,
            address: address.clone(),
        });
        self.link = Some(Link {
            connection,
            address,
            view,
            is_ready: false,
            heard: now,
            owed_since: None,
        });
    }

    fn new_connection(&mut self) -> ConnectionId {
        self.connection_last.0 += 1;
        self.connection_last
    }

    fn on_replica_connected(&mut self, now: Instant, connection: ConnectionId) {
        if let Some(link) = &mut self.link
            && link.connection == connection
        {
            link.is_ready = true;
            link.heard = now;
        }
    }

    fn on_replica_closed(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        refusal: Option<Refusal>,
    ) {
        let Some(link) = self.link.take_if(|link| link.connection == connection) else {
            return;
        };
        self.requests.connection_lost();
        match refusal {
            Some(refusal) => self.refused(now, link.address, refusal),
            None => {
                self.trouble = Trouble::ConnectionLost {
                    address: link.address,
                };
                self.finder.put_off(now, &mut self.random);
            }
        }
    }

    /// Gives the connection to the replica up. What it may yet do with what was sent is unknown.
    fn abandon(&mut self, trouble: impl FnOnce(String) -> Trouble) {
        let Some(link) = self.link.take() else {
            return;
        };
        self.requests.connection_lost();
        self.actions.push_back(Action::CloseReplica {
            connection: link.connection,
        });
        self.trouble = trouble(link.address);
    }

    /// The other side does not want this connection. Most reasons will not go away by themselves.
    fn refused(&mut self, now: Instant, address: String, refusal: Refusal) {
        let error = |address: &String| match &refusal {
            Refusal::OtherCluster { ours } => Some(ClientError::OtherCluster {
                address: address.clone(),
                cluster: *ours,
            }),
            Refusal::Version { .. } | Refusal::OtherMachine { .. } | Refusal::Protocol => {
                Some(ClientError::Protocol {
                    address: address.clone(),
                    what: refusal.to_string(),
                })
            }
            // Busy goes away; the others are said to replicas only.
            _ => None,
        };
        self.trouble = Trouble::ConnectionRefused {
            address: address.clone(),
            refusal: refusal.clone(),
        };
        self.finder.put_off_later(now, &mut self.random);
        if error(&address).is_some() {
            while !self.requests.is_empty() {
                self.fail(now, 0, error(&address));
            }
        }
    }

    // Time.

    /// Ends a request without an answer: with `error` or, if it may have been executed or there is
    /// no error, by what is known.
    fn fail(&mut self, now: Instant, at: usize, error: Option<ClientError>) {
        let pending = self.requests.at(at);
        let waited = now.min(pending.request.deadline).since(pending.begun);
        let is_unknown = pending.is_possibly_executed();
        let trouble = self.trouble();
        let (end, error) = match (is_unknown, error) {
            (true, _) => (
                End::Unknown,
                ClientError::OutcomeUnknown { waited, trouble },
            ),
            (false, Some(error)) => (End::NotExecuted, error),
            (false, None) => {
                let error = match &trouble {
                    Trouble::NotPrimary { .. } | Trouble::RoleLost { .. } => {
                        ClientError::NotPrimary { waited, trouble }
                    }
                    _ => ClientError::Unavailable { waited, trouble },
                };
                (End::NotExecuted, error)
            }
        };
        let id = self.requests.finish(at, end).request.id;
        self.complete(id, Err(error));
    }

    /// Does what time and the new state of things ask for, and computes the next deadline.
    fn drive(&mut self, now: Instant) {
        while let Some(at) = self.requests.expired(now) {
            self.fail(now, at, None);
        }
        while self.requests.has_nothing_to_close() {
            let pending = self.requests.finish(0, End::Answered);
            let answer = Answer {
                bytes: Vec::new(),
                seen: self.seen,
                is_solo: false,
                attempts: pending.attempts,
            };
            self.complete(pending.request.id, Ok(answer));
        }
        self.wake = None;
        if self.requests.is_empty() {
            return;
        }
        let address = self.finder.address().to_owned();
        if self.finder.expire(now, &mut self.random, &mut self.actions) {
            self.view_service_failed(now, address, None);
        }
        self.drop_a_link_that_does_not_connect(now);
        self.drop_a_silent_link(now);
        self.send(now);
        let lookup_wanted = self.lookup_wanted();
        if lookup_wanted.is_some_and(|moment| moment <= now) {
            let connection_last = &mut self.connection_last;
            let new_connection = || {
                connection_last.0 += 1;
                *connection_last
            };
            self.finder.ask(now, new_connection, &mut self.actions);
        }
        let lookup = lookup_wanted.map(|moment| self.finder.wake(moment));
        let connect = self.link.as_ref().filter(|link| !link.is_ready);
        let connect = connect.map(|link| link.heard.plus(CONNECT_PATIENCE));
        let resend = self.requests.put_off_until(now);
        let silent = self.link.as_ref().and_then(|link| link.owed_since);
        let silent = silent.map(|since| since.plus(SILENCE_PATIENCE));
        self.wake = [self.requests.deadline(), lookup, connect, silent, resend]
            .into_iter()
            .fold(None, earliest);
        debug_assert!(self.wake > Some(now), "a client never spins");
    }

    fn drop_a_link_that_does_not_connect(&mut self, now: Instant) {
        let is_late = self
            .link
            .as_ref()
            .is_some_and(|link| !link.is_ready && link.heard.plus(CONNECT_PATIENCE) <= now);
        if is_late {
            self.abandon(|address| Trouble::ConnectionLost { address });
            self.finder.put_off(now, &mut self.random);
        }
    }

    fn drop_a_silent_link(&mut self, now: Instant) {
        let owed_since = self.link.as_ref().and_then(|link| link.owed_since);
        if owed_since.is_some_and(|since| since.plus(SILENCE_PATIENCE) <= now) {
            self.abandon(|address| Trouble::Silent { address });
            self.finder.put_off(now, &mut self.random);
        }
    }

    fn send(&mut self, now: Instant) {
        let Some(link) = self.link.as_mut().filter(|link| link.is_ready) else {
            return;
        };
        let mut bytes = Vec::new();
        self.requests.send(now, self.seen, &mut bytes);
        if self.requests.waiting_since().is_some() {
            link.owed_since.get_or_insert(now);
        }
        if !bytes.is_empty() {
            let connection = link.connection;
            self.actions.push_back(Action::Send { connection, bytes });
        }
    }

    /// From when on the view service is to be asked; `None`: not as things are.
    fn lookup_wanted(&self) -> Option<Instant> {
        match &self.link {
            None => Some(Instant::ZERO),
            Some(link) if link.is_ready => {
                let waiting_since = self.requests.waiting_since()?;
                Some(waiting_since.max(link.heard).plus(ATTEMPT_PATIENCE))
            }
            Some(link) => Some(link.heard.plus(ATTEMPT_PATIENCE)),
        }
    }
}

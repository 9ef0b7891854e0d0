//! The decision core of a client: which replica to ask, what to send again, and how a request ends.

use std::collections::VecDeque;

use standin_core::entry::COMMAND_BYTES_MAX;
use standin_core::message::{ADDRESS_BYTES_MAX, LookupReply, Refusal, Reply, ReplyStatus, Seen};
use standin_core::random::RandomStream;
use standin_core::time::{Duration, Instant, earliest};
use standin_core::view::ViewId;

use crate::address::{ViewServices, check_address};
use crate::error::{ClientError, Trouble};
use crate::finder::Finder;
use crate::requests::{Answered, Attempt, End, REQUESTS_MAX, Request, Requests, Work};

/// A replica that has not answered for this long may be frozen or cut off, which shows as no error:
/// from then on the view service is asked whether another one is primary.
pub const ATTEMPT_PATIENCE: Duration = Duration::from_millis(100);
/// How often the view service is asked while a replica does not answer.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(50);
/// A replica that is not connected after this long is given up.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
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
}

/// Names a connection that the core asked for. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What has happened. Events of connections that the core has closed are ignored.
#[derive(Debug)]
pub enum Event<'a> {
    /// The user asks for something.
    Submit(Request),
    /// A view service is connected, and hellos were exchanged.
    ViewServiceConnected {
        /// Which connection.
        connection: ConnectionId,
    },
    /// A view service cannot be connected to, or the connection is gone.
    ViewServiceClosed {
        /// Which connection.
        connection: ConnectionId,
        /// Why, if one side gave a reason.
        refusal: Option<Refusal>,
    },
    /// A view service answered a lookup.
    Found {
        /// On which connection.
        connection: ConnectionId,
        /// Its answer.
        reply: LookupReply,
    },
    /// A replica is connected, and hellos were exchanged.
    ReplicaConnected {
        /// Which connection.
        connection: ConnectionId,
    },
    /// A replica cannot be connected to, or the connection is gone.
    ReplicaClosed {
        /// Which connection.
        connection: ConnectionId,
        /// Why, if one side gave a reason.
        refusal: Option<Refusal>,
    },
    /// A replica answered.
    Reply {
        /// On which connection.
        connection: ConnectionId,
        /// Its answer.
        reply: Reply<'a>,
    },
    /// The moment that [`ClientCore::deadline`] named has come.
    Deadline,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Connect to the view service at the nth of the addresses.
    ConnectViewService {
        /// The new connection's name.
        connection: ConnectionId,
        /// Which address, from 0.
        nth: usize,
    },
    /// Ask the view service who is primary.
    SendLookup {
        /// On which connection.
        connection: ConnectionId,
    },
    /// Close a connection to a view service.
    CloseViewService {
        /// Which one.
        connection: ConnectionId,
    },
    /// Connect to a replica.
    ConnectReplica {
        /// The new connection's name.
        connection: ConnectionId,
        /// Its address.
        address: String,
    },
    /// Send these whole frames to the replica.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// The frames.
        bytes: Vec<u8>,
    },
    /// Close the connection to a replica.
    CloseReplica {
        /// Which one.
        connection: ConnectionId,
    },
    /// Tell the user how a request ended. Happens exactly once for each.
    Complete {
        /// The user's number for it.
        id: u64,
        /// How it ended.
        result: Result<Answer, ClientError>,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The machine's reply.
    pub bytes: Vec<u8>,
    /// The view in which, and the index as of which, it was answered.
    pub seen: Seen,
    /// One replica alone answered: there is no second copy at the moment.
    pub is_solo: bool,
    /// How many times the request was sent.
    pub attempts: u32,
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
            Event::Found { connection, reply } => self.on_found(now, connection, reply),
            Event::ReplicaConnected { connection } => self.on_replica_connected(now, connection),
            Event::ReplicaClosed {
                connection,
                refusal,
            } => self.on_replica_closed(now, connection, refusal),
            Event::Reply { connection, reply } => self.on_reply(now, connection, reply),
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
        if !self.finder.answered(connection) {
            return;
        }
        self.hints = 0;
        let view = reply.view.unwrap_or_default();
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

    fn on_reply(&mut self, now: Instant, connection: ConnectionId, reply: Reply<'_>) {
        match &mut self.link {
            Some(link) if link.connection == connection => link.heard = now,
            _ => return,
        }
        // A reply to what was given up since, or to an earlier sending, finds nothing here.
        let Some(answered) = self.requests.answered(reply.id) else {
            return;
        };
        let (Answered::Opening(attempt) | Answered::Request(_, attempt)) = answered;
        if self.is_older_than_seen(&reply, attempt) {
            if let (Answered::Request(at, _), true) = (&answered, may_have_executed(reply.status)) {
                self.requests.at(*at).outcome_lost();
            }
            self.abandon(|address| Trouble::OlderState { address });
            self.finder.put_off_later(now, &mut self.random);
            return;
        }
        self.note_seen(&reply);
        match answered {
            Answered::Opening(_) => self.on_session_reply(now, reply),
            Answered::Request(at, _) => self.on_request_reply(now, at, reply),
        }
    }

    /// Rule R7. The index is held against what was sent along with this very request: answers to
    /// requests that were in flight together may come in any order.
    fn is_older_than_seen(&self, reply: &Reply<'_>, attempt: Attempt) -> bool {
        let is_same_epoch = reply.seen.view.data_epoch == attempt.seen.view.data_epoch;
        let is_index_lower = is_same_epoch && reply.seen.index < attempt.seen.index;
        reply.seen.view < self.seen.view || (reply.status == ReplyStatus::Done && is_index_lower)
    }

    fn note_seen(&mut self, reply: &Reply<'_>) {
        let is_same_epoch = reply.seen.view.data_epoch == self.seen.view.data_epoch;
        if reply.status == ReplyStatus::Done {
            let index = if is_same_epoch {
                self.seen.index.max(reply.seen.index)
            } else {
                reply.seen.index
            };
            self.seen = Seen {
                view: reply.seen.view,
                index,
            };
            let link = self.link.as_mut().expect("the reply came on it");
            link.view = link.view.max(reply.seen.view);
            self.last_primary = Some((link.address.clone(), link.view));
            self.finder.succeeded();
            self.hints = 0;
        } else if is_same_epoch {
            // A refusal proves a view, but says nothing of how far the new view's log goes.
            self.seen.view = reply.seen.view;
        }
    }

    fn on_session_reply(&mut self, now: Instant, reply: Reply<'_>) {
        match reply.status {
            ReplyStatus::Done => match reply.bytes.try_into() {
                Ok(id) => self.requests.session_opened(u64::from_le_bytes(id)),
                Err(_) => {
                    self.abandon(|address| Trouble::ConnectionRefused {
                        address,
                        refusal: Refusal::Protocol,
                    });
                    self.finder.put_off_later(now, &mut self.random);
                }
            },
            ReplyStatus::NotPrimary => {
                self.follow(now, reply, |address| Trouble::NotPrimary { address })
            }
            ReplyStatus::OutcomeUnknown => {
                self.follow(now, reply, |address| Trouble::RoleLost { address })
            }
            ReplyStatus::Refused => {
                while let Some(at) = self.requests.first_without_number() {
                    let reason = words(reply.bytes);
                    self.fail(now, at, Some(ClientError::Refused { reason }));
                }
            }
            ReplyStatus::Overloaded
            | ReplyStatus::SessionUnknown
            | ReplyStatus::SequenceGap
            | ReplyStatus::SequenceAcknowledged => {
                self.trouble = Trouble::Overloaded {
                    address: self.link_address(),
                };
                self.requests.put_off_opening(now, &mut self.random);
            }
        }
    }

    fn on_request_reply(&mut self, now: Instant, at: usize, reply: Reply<'_>) {
        match reply.status {
            ReplyStatus::Done => self.answer(at, reply),
            ReplyStatus::NotPrimary => {
                self.follow(now, reply, |address| Trouble::NotPrimary { address })
            }
            ReplyStatus::OutcomeUnknown => {
                self.requests.at(at).outcome_lost();
                self.follow(now, reply, |address| Trouble::RoleLost { address });
            }
            ReplyStatus::SessionUnknown => self.on_session_unknown(now, at),
            ReplyStatus::SequenceGap => self.on_gap(now, at),
            ReplyStatus::SequenceAcknowledged => {
                self.trouble = Trouble::OutcomeForgotten {
                    address: self.link_address(),
                };
                self.requests.at(at).outcome_lost();
                self.fail(now, at, None);
            }
            ReplyStatus::Refused => {
                let reason = words(reply.bytes);
                self.fail(now, at, Some(ClientError::Refused { reason }));
            }
            ReplyStatus::Overloaded => {
                self.trouble = Trouble::Overloaded {
                    address: self.link_address(),
                };
                self.requests.at(at).put_off(now, &mut self.random);
            }
        }
    }

    fn answer(&mut self, at: usize, reply: Reply<'_>) {
        let pending = self.requests.finish(at, End::Answered);
        let answer = Answer {
            bytes: reply.bytes.to_vec(),
            seen: reply.seen,
            is_solo: reply.is_solo,
            attempts: pending.attempts,
        };
        self.complete(pending.request.id, Ok(answer));
    }

    /// Goes where a replica that does not serve points, or asks the view service.
    fn follow(&mut self, now: Instant, reply: Reply<'_>, trouble: impl FnOnce(String) -> Trouble) {
        let hint = str::from_utf8(reply.bytes).ok();
        let is_elsewhere = |hint: &&str| *hint != self.link_address();
        let hint = hint
            .filter(|hint| hint.len() <= ADDRESS_BYTES_MAX && check_address(hint).is_ok())
            .filter(is_elsewhere)
            .map(str::to_owned);
        self.abandon(trouble);
        match hint {
            Some(address) if self.hints < HINTS_MAX => {
                self.hints += 1;
                self.connect(now, address, reply.seen.view);
            }
            // The view service may name the very replica that has just declined: never at once.
            _ => self.finder.put_off_later(now, &mut self.random),
        }
    }

    /// The session is gone. If this very request can't have been executed in it, it is sent again in
    /// a new one; otherwise nobody knows any more.
    fn on_session_unknown(&mut self, now: Instant, at: usize) {
        self.trouble = Trouble::SessionExpired;
        if self.requests.at(at).is_possibly_executed() {
            self.fail(now, at, None);
        } else if self.requests.at(at).request.work == Work::CloseSession {
            self.requests.session_gone();
        } else {
            self.requests.renumber(at);
            self.requests.at(at).put_off(now, &mut self.random);
        }
    }

    fn on_gap(&mut self, now: Instant, at: usize) {
        if self.requests.is_behind_another(at) {
            // The one before it was put off, so this one arrived out of turn.
            self.requests.at(at).put_off(now, &mut self.random);
        } else if self.requests.at(at).is_possibly_executed() {
            self.trouble = Trouble::OutcomeForgotten {
                address: self.link_address(),
            };
            self.fail(now, at, None);
        } else if self.requests.is_in_current_session(at) {
            self.requests.renumber(at);
            let reason = "its sequence number is not the next in its session".to_owned();
            self.fail(now, at, Some(ClientError::Refused { reason }));
        } else {
            // Its session ended at a request before it whose outcome is unknown.
            self.requests.renumber(at);
            self.requests.at(at).put_off(now, &mut self.random);
        }
    }

    fn link_address(&self) -> String {
        let link = self.link.as_ref().expect("a reply came on it");
        link.address.clone()
    }

    // Time.

    /// Ends a request without an answer: with `error` or, if it may have been executed or there is
    /// no error, by what is known.
    fn fail(&mut self, now: Instant, at: usize, error: Option<ClientError>) {
        let pending = self.requests.at(at);
        let waited = now.min(pending.request.deadline).since(pending.begun);
        let is_unknown = pending.is_possibly_executed();
        let trouble = match &self.link {
            Some(link) if link.is_ready && pending.is_sent() => Trouble::Silent {
                address: link.address.clone(),
            },
            _ => self.trouble.clone(),
        };
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
        self.wake = [self.requests.deadline(), lookup, connect, resend]
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

    fn send(&mut self, now: Instant) {
        let Some(link) = self.link.as_ref().filter(|link| link.is_ready) else {
            return;
        };
        let mut bytes = Vec::new();
        self.requests.send(now, self.seen, &mut bytes);
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

/// Whether a reply with this status, if it is not to be believed, leaves open what happened.
fn may_have_executed(status: ReplyStatus) -> bool {
    match status {
        ReplyStatus::Done | ReplyStatus::OutcomeUnknown | ReplyStatus::SequenceAcknowledged => true,
        ReplyStatus::NotPrimary
        | ReplyStatus::SessionUnknown
        | ReplyStatus::SequenceGap
        | ReplyStatus::Refused
        | ReplyStatus::Overloaded => false,
    }
}

/// A refusal's words, as text that fits on a line.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    if text.is_empty() {
        "no reason was given".to_owned()
    } else {
        text
    }
}

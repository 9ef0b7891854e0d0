//! Feeds a core and writes down what it says, in a form that can be compared.

use standin_client::{
    Action, ClientCore, ClientError, ConnectionId, CoreConfig, Event, Request, Trouble,
    ViewServices, WithoutRoom, Work,
};
use standin_core::entry::Index;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
use standin_core::message::{
    CloseSession, CommandRequest, CommandRequests, Consistency, LookupReply, Message, OpenSession,
    QueryRequest, QueryRequests, Reply, ReplyStatus, Seen,
};
use standin_core::time::{Duration, Instant};
use standin_core::view::{DataEpoch, ViewId, ViewNumber};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn view(number: u64) -> ViewId {
    ViewId {
        data_epoch: DataEpoch(0),
        view: ViewNumber(number),
    }
}

pub(crate) fn seen(number: u64, index: u64) -> Seen {
    Seen {
        view: view(number),
        index: Index(index),
    }
}

/// A frame that was sent: its number on the wire, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) id: u64,
    pub(crate) seen: Seen,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Open,
    Close {
        session: u64,
    },
    Command {
        session: u64,
        sequence: u64,
        acknowledged: u64,
        bytes: Vec<u8>,
    },
    Query {
        bytes: Vec<u8>,
        consistency: Consistency,
    },
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Refused,
    NoRoom,
    Skipped,
    NotPrimary,
    Unavailable,
    OutcomeUnknown,
    OtherCluster,
    Protocol,
    AnswerLost,
}

/// An action, comparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    ConnectViewService(u64, usize),
    Lookup(u64),
    CloseViewService(u64),
    Connect(u64, String),
    Close(u64),
    Send(u64, Vec<Sent>),
    Answered(u64, Vec<u8>),
    Failed(u64, Ended),
}

pub(crate) struct Harness {
    pub(crate) core: ClientCore,
    pub(crate) now: Instant,
    /// The texts of all errors so far.
    pub(crate) errors: Vec<String>,
}

impl Harness {
    pub(crate) fn new(view_services: &str) -> Self {
        Self::with(view_services, WithoutRoom::Wait)
    }

    fn with(view_services: &str, without_room: WithoutRoom) -> Self {
        let view_services = ViewServices::parse(view_services).expect("good addresses");
        Self {
            core: ClientCore::new(CoreConfig {
                view_services,
                jitter_seed: 1,
                without_room,
            }),
            now: Instant::from_nanos(1_000_000_000),
            errors: Vec::new(),
        }
    }

    /// A client that is connected to `a:1`, primary of view 1, by connection 2 (and to the view
    /// service by connection 1), with session 10 and one answered command behind it.
    pub(crate) fn settled() -> Self {
        Self::settled_with(WithoutRoom::Wait)
    }

    pub(crate) fn settled_with(without_room: WithoutRoom) -> Self {
        let mut client = Self::with("vs:1", without_room);
        client.command(0, b"first");
        client.view_service_connected(1);
        client.found(1, 1, Some("a:1"));
        let sent = client.connected_and_sent(2);
        let sent = client.reply_and_sent(
            2,
            sent[0].id,
            ReplyStatus::Done,
            seen(1, 10),
            &10u64.to_le_bytes(),
        );
        let said = client.reply(2, sent[0].id, ReplyStatus::Done, seen(1, 11), b"one");
        assert_eq!(said, [Said::Answered(0, b"one".to_vec())]);
        client
    }

    pub(crate) fn handle(&mut self, event: Event<'_>) -> Vec<Said> {
        self.core.handle(self.now, event);
        let mut all = Vec::new();
        while let Some(action) = self.core.next_action() {
            let said = self.say(action);
            all.push(said);
        }
        if let Some(deadline) = self.core.deadline() {
            assert!(deadline > self.now, "the client would spin");
        }
        assert!(
            self.core.pending() == 0 || self.core.deadline().is_some(),
            "a request waits and nothing will wake the client"
        );
        all
    }

    fn say(&mut self, action: Action) -> Said {
        match action {
            Action::ConnectViewService { connection, nth } => {
                Said::ConnectViewService(connection.0, nth)
            }
            Action::SendLookup { connection } => Said::Lookup(connection.0),
            Action::CloseViewService { connection } => Said::CloseViewService(connection.0),
            Action::ConnectReplica {
                connection,
                address,
            } => Said::Connect(connection.0, address),
            Action::Send { connection, bytes } => Said::Send(connection.0, read_frames(&bytes)),
            Action::CloseReplica { connection } => Said::Close(connection.0),
            Action::Complete { id, result } => match result {
                Ok(answer) => Said::Answered(id, answer.bytes),
                Err(error) => {
                    self.errors.push(error.to_string());
                    Said::Failed(id, ended(&error))
                }
            },
        }
    }

    pub(crate) fn submit(&mut self, id: u64, work: Work) -> Vec<Said> {
        self.submit_until(id, work, self.now.plus(TIMEOUT))
    }

    pub(crate) fn submit_until(&mut self, id: u64, work: Work, deadline: Instant) -> Vec<Said> {
        self.handle(Event::Submit(Request { id, deadline, work }))
    }

    pub(crate) fn command(&mut self, id: u64, bytes: &[u8]) -> Vec<Said> {
        self.submit(id, Work::Command(bytes.to_vec()))
    }

    pub(crate) fn query(&mut self, id: u64, bytes: &[u8]) -> Vec<Said> {
        self.submit(id, query(bytes))
    }

    pub(crate) fn view_service_connected(&mut self, connection: u64) -> Vec<Said> {
        let connection = ConnectionId(connection);
        self.handle(Event::ViewServiceConnected { connection })
    }

    pub(crate) fn view_service_closed(&mut self, connection: u64) -> Vec<Said> {
        let connection = ConnectionId(connection);
        self.handle(Event::ViewServiceClosed {
            connection,
            refusal: None,
        })
    }

    pub(crate) fn found(
        &mut self,
        connection: u64,
        number: u64,
        primary: Option<&str>,
    ) -> Vec<Said> {
        let connection = ConnectionId(connection);
        let reply = LookupReply {
            view: Some(view(number)),
            primary: primary.map(str::to_owned),
            term_ms: 1000,
        };
        self.handle(Event::Found { connection, reply })
    }

    pub(crate) fn connected(&mut self, connection: u64) -> Vec<Said> {
        let connection = ConnectionId(connection);
        self.handle(Event::ReplicaConnected { connection })
    }

    pub(crate) fn connected_and_sent(&mut self, connection: u64) -> Vec<Sent> {
        let said = self.connected(connection);
        sent(&said)
    }

    pub(crate) fn closed(&mut self, connection: u64) -> Vec<Said> {
        let connection = ConnectionId(connection);
        self.handle(Event::ReplicaClosed {
            connection,
            refusal: None,
        })
    }

    pub(crate) fn reply(
        &mut self,
        connection: u64,
        id: u64,
        status: ReplyStatus,
        seen: Seen,
        bytes: &[u8],
    ) -> Vec<Said> {
        let connection = ConnectionId(connection);
        let is_solo = false;
        let reply = Reply {
            id,
            status,
            seen,
            is_solo,
            bytes,
        };
        self.handle(Event::Reply { connection, reply })
    }

    pub(crate) fn reply_and_sent(
        &mut self,
        connection: u64,
        id: u64,
        status: ReplyStatus,
        seen: Seen,
        bytes: &[u8],
    ) -> Vec<Sent> {
        let said = self.reply(connection, id, status, seen, bytes);
        sent(&said)
    }

    /// Goes on to the core's deadline.
    pub(crate) fn wait(&mut self) -> Vec<Said> {
        self.now = self.core.deadline().expect("something is waited for");
        self.handle(Event::Deadline)
    }

    /// Goes on by this much, through all deadlines on the way.
    pub(crate) fn wait_for(&mut self, duration: Duration) -> Vec<Said> {
        let end = self.now.plus(duration);
        let mut all = Vec::new();
        while let Some(deadline) = self.core.deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline;
            all.extend(self.handle(Event::Deadline));
        }
        self.now = end;
        all
    }
}

/// The frames of the only sending in a list of actions.
pub(crate) fn sent(said: &[Said]) -> Vec<Sent> {
    match said {
        [Said::Send(_, frames)] => frames.clone(),
        other => panic!("one sending was expected: {other:?}"),
    }
}

/// (session, sequence) of each command.
pub(crate) fn numbers(sent: &[Sent]) -> Vec<(u64, u64)> {
    let number = |sent: &Sent| match sent.what {
        What::Command {
            session, sequence, ..
        } => Some((session, sequence)),
        What::Open | What::Close { .. } | What::Query { .. } => None,
    };
    sent.iter().filter_map(number).collect()
}

pub(crate) fn read_frames(mut bytes: &[u8]) -> Vec<Sent> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX)
            .expect("good")
            .expect("whole");
        match frame.kind {
            FrameKind::Commands => {
                let several = CommandRequests::decode(&frame).expect("good");
                all.extend(several.iter().map(|command| sent_command(&command)));
            }
            FrameKind::Queries => {
                let several = QueryRequests::decode(&frame).expect("good");
                all.extend(several.iter().map(|query| sent_query(&query)));
            }
            _ => all.push(read_frame(&frame)),
        }
        bytes = &bytes[frame.len()..];
    }
    all
}

fn read_frame(frame: &Frame<'_>) -> Sent {
    match frame.kind {
        FrameKind::OpenSession => {
            let OpenSession { id, seen } = OpenSession::decode(frame).expect("good");
            Sent {
                id,
                seen,
                what: What::Open,
            }
        }
        FrameKind::CloseSession => {
            let CloseSession { id, seen, session } = CloseSession::decode(frame).expect("good");
            Sent {
                id,
                seen,
                what: What::Close { session },
            }
        }
        FrameKind::Command => sent_command(&CommandRequest::decode(frame).expect("good")),
        FrameKind::Query => sent_query(&QueryRequest::decode(frame).expect("good")),
        other => panic!("a client sends no {other:?} to a replica"),
    }
}

fn sent_command(command: &CommandRequest<'_>) -> Sent {
    Sent {
        id: command.id,
        seen: command.seen,
        what: What::Command {
            session: command.session,
            sequence: command.sequence,
            acknowledged: command.acknowledged,
            bytes: command.bytes.to_vec(),
        },
    }
}

fn sent_query(query: &QueryRequest<'_>) -> Sent {
    Sent {
        id: query.id,
        seen: query.seen,
        what: What::Query {
            bytes: query.bytes.to_vec(),
            consistency: query.consistency,
        },
    }
}

pub(crate) fn ended(error: &ClientError) -> Ended {
    match error {
        ClientError::Refused { .. } => Ended::Refused,
        ClientError::NoRoom { .. } => Ended::NoRoom,
        ClientError::Skipped { .. } => Ended::Skipped,
        ClientError::NotPrimary { .. } => Ended::NotPrimary,
        ClientError::Unavailable { .. } => Ended::Unavailable,
        ClientError::OutcomeUnknown { trouble, .. } => {
            assert_ne!(*trouble, Trouble::NothingTried);
            Ended::OutcomeUnknown
        }
        ClientError::OtherCluster { .. } => Ended::OtherCluster,
        ClientError::Protocol { .. } => Ended::Protocol,
        ClientError::AnswerLost { .. } => Ended::AnswerLost,
        other => panic!("the core does not make this error: {other}"),
    }
}

/// A confirmed read.
pub(crate) fn query(bytes: &[u8]) -> Work {
    Work::Query {
        bytes: bytes.to_vec(),
        consistency: Consistency::Confirmed,
    }
}

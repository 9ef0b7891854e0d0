//! A client stands whatever view services and replicas say to it, and tells its user once how each
//! request ended.
#![no_main]

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin_client::{
    Action, ClientCore, ConnectionId, Consistency, CoreConfig, Event, Request, ViewServices,
    WithoutRoom, Work,
};
use standin_core::entry::Index;
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
use standin_core::message::{
    CloseSession, CommandRequest, CommandRequests, LookupReply, Message, OpenSession, QueryRequest,
    QueryRequests, Refusal, Reply, ReplyStatus, Seen, requests_in,
};
use standin_core::time::{Duration, Instant};
use standin_fuzz::parties;

const EVENTS_MAX: usize = 200;

const STATUSES: [ReplyStatus; 9] = [
    ReplyStatus::Done,
    ReplyStatus::NotPrimary,
    ReplyStatus::OutcomeUnknown,
    ReplyStatus::SessionUnknown,
    ReplyStatus::SequenceGap,
    ReplyStatus::SequenceAcknowledged,
    ReplyStatus::Refused,
    ReplyStatus::Overloaded,
    ReplyStatus::AnswerLost,
];

/// A connection as whoever drives the core sees it: made once, ready once, and gone for good.
#[derive(Clone, Copy)]
struct Link {
    connection: ConnectionId,
    is_ready: bool,
    is_open: bool,
}

impl Link {
    const NONE: Self = Self {
        connection: ConnectionId(0),
        is_ready: false,
        is_open: false,
    };

    fn begun(connection: ConnectionId) -> Self {
        let (is_ready, is_open) = (false, true);
        Self {
            connection,
            is_ready,
            is_open,
        }
    }

    fn becomes_ready(&mut self) -> bool {
        let was_ready = std::mem::replace(&mut self.is_ready, true);
        self.is_open && !was_ready
    }

    fn can_speak(&self) -> bool {
        self.is_open && self.is_ready
    }

    fn ends(&mut self) -> bool {
        std::mem::replace(&mut self.is_open, false)
    }
}

struct World {
    core: ClientCore,
    now: Instant,
    submitted: u64,
    pending: BTreeSet<u64>,
    view_service: Link,
    replica: Link,
    /// The numbers that requests went out under.
    sent: Vec<u64>,
}

impl World {
    fn new() -> Self {
        let view_services = ViewServices::parse("h:1,h:2").expect("good addresses");
        let config = CoreConfig {
            view_services,
            jitter_seed: 1,
            without_room: WithoutRoom::Wait,
        };
        Self {
            core: ClientCore::new(config),
            now: Instant::from_nanos(1_000_000_000),
            submitted: 0,
            pending: BTreeSet::new(),
            view_service: Link::NONE,
            replica: Link::NONE,
            sent: Vec::new(),
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        self.core.handle(self.now, event);
        while let Some(action) = self.core.next_action() {
            match action {
                Action::ConnectViewService { connection, nth } => {
                    assert!(nth < 2, "view service {nth} of 2");
                    self.view_service = Link::begun(connection);
                }
                Action::ConnectReplica {
                    connection,
                    address,
                } => {
                    assert!(
                        standin_client::check_address(&address).is_ok(),
                        "{address:?}"
                    );
                    self.replica = Link::begun(connection);
                }
                Action::Send { bytes, .. } => self.note_sent(&bytes),
                Action::Complete { id, result } => {
                    assert!(self.pending.remove(&id), "request {id} ended twice");
                    if let Err(error) = result {
                        assert!(!error.to_string().is_empty());
                    }
                }
                Action::SendLookup { .. }
                | Action::CloseViewService { .. }
                | Action::CloseReplica { .. } => {}
            }
        }
        assert_eq!(self.core.pending(), self.pending.len());
        if let Some(at) = self.core.deadline() {
            assert!(at > self.now, "a deadline that has passed");
        }
    }

    fn note_sent(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX);
            let frame = frame.expect("a good frame").expect("a whole frame");
            let sound = "a client sends sound requests";
            let id = match frame.kind {
                FrameKind::Command => CommandRequest::decode(&frame).expect(sound).id,
                FrameKind::Commands => CommandRequests::decode(&frame).expect(sound).first_id(),
                FrameKind::Query => QueryRequest::decode(&frame).expect(sound).id,
                FrameKind::Queries => QueryRequests::decode(&frame).expect(sound).first_id(),
                FrameKind::OpenSession => OpenSession::decode(&frame).expect(sound).id,
                FrameKind::CloseSession => CloseSession::decode(&frame).expect(sound).id,
                kind => panic!("a client sends no {kind:?} to a replica"),
            };
            self.sent.extend(id..id + requests_in(&frame));
            bytes = &bytes[frame.len()..];
        }
    }
}

fn work(input: &mut Unstructured<'_>) -> Result<Work> {
    let consistency = [
        Consistency::Confirmed,
        Consistency::Lease,
        Consistency::Stale,
    ][input.choose_index(3)?];
    Ok(match input.arbitrary::<u8>()? % 8 {
        0 => Work::CloseSession,
        1 | 2 => Work::Query {
            bytes: vec![2],
            consistency,
        },
        _ => Work::Command(vec![1; 9]),
    })
}

fn refusal(input: &mut Unstructured<'_>) -> Result<Option<Refusal>> {
    Ok(match input.arbitrary::<u8>()? % 8 {
        0 => Some(Refusal::OtherCluster {
            ours: parties::CLUSTER,
        }),
        1 => Some(Refusal::Busy),
        2 => Some(Refusal::Protocol),
        _ => None,
    })
}

/// Bytes that a status may come with: a session's id, an address, anything.
fn words(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(match input.arbitrary::<u8>()? % 4 {
        0 => parties::number(input)?.to_le_bytes().to_vec(),
        1 => b"h:7".to_vec(),
        2 => Vec::new(),
        _ => input.arbitrary()?,
    })
}

fn reply(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let id = match world.sent.len() {
        0 => parties::number(input)?,
        sent => world.sent[sent - 1 - usize::from(input.arbitrary::<u8>()? % 8).min(sent - 1)],
    };
    let bytes = words(input)?;
    let reply = Reply {
        id,
        status: *input.choose(&STATUSES)?,
        seen: Seen {
            view: parties::view(input)?,
            index: Index(parties::number(input)?),
        },
        is_solo: input.arbitrary()?,
        bytes: &bytes,
    };
    let connection = world.replica.connection;
    world.handle(Event::Reply { connection, reply });
    Ok(())
}

fn found(input: &mut Unstructured<'_>, world: &World) -> Result<Event<'static>> {
    let primary = match input.arbitrary::<u8>()? % 8 {
        0 => None,
        1 => Some(String::from_utf8_lossy(&words(input)?).into_owned()),
        port => Some(format!("h:{port}")),
    };
    let reply = LookupReply {
        view: input
            .ratio(7, 8)?
            .then(|| parties::view(input))
            .transpose()?,
        primary,
        term_ms: input.arbitrary()?,
    };
    let connection = world.view_service.connection;
    Ok(Event::Found { connection, reply })
}

fn step(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let view_service = world.view_service.connection;
    let replica = world.replica.connection;
    let event = match input.arbitrary::<u8>()? % 16 {
        0..=2 => {
            let patience = Duration::from_millis(input.arbitrary::<u16>()?.into());
            let work = work(input)?;
            world.submitted += 1;
            world.pending.insert(world.submitted);
            Event::Submit(Request {
                id: world.submitted,
                deadline: world.now.plus(patience),
                work,
            })
        }
        3 if world.view_service.becomes_ready() => Event::ViewServiceConnected {
            connection: view_service,
        },
        4 if world.view_service.ends() => Event::ViewServiceClosed {
            connection: view_service,
            refusal: refusal(input)?,
        },
        5 | 6 if world.view_service.can_speak() => found(input, world)?,
        7 if world.replica.becomes_ready() => Event::ReplicaConnected {
            connection: replica,
        },
        8 if world.replica.ends() => Event::ReplicaClosed {
            connection: replica,
            refusal: refusal(input)?,
        },
        9..=12 if world.replica.can_speak() => return reply(input, world),
        13 | 14 => {
            if let Some(at) = world.core.deadline() {
                world.now = world.now.max(at);
            }
            Event::Deadline
        }
        _ => {
            let elapsed = Duration::from_millis(input.arbitrary::<u8>()?.into());
            world.now = world.now.plus(elapsed);
            Event::Deadline
        }
    };
    world.handle(event);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let mut world = World::new();
    for _ in 0..EVENTS_MAX {
        if input.is_empty() || step(&mut input, &mut world).is_err() {
            break;
        }
    }
    // Whatever was said, every request ends by its deadline.
    world.now = world.now.plus(Duration::from_secs(3600));
    world.handle(Event::Deadline);
    assert_eq!(world.pending.len(), 0, "{:?}", world.core);
});

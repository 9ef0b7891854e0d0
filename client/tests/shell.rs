//! The blocking client against real sockets, with made-up parties at the other end.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the other ends run on threads of their own"
)]

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, atomic};
use std::thread::JoinHandle;
use std::time::Instant;

use standin_client::{
    AskError, Client, ClientConfig, ClientError, Consistency, ViewServices, inspect, status,
};
use standin_core::entry::{Index, LogTip};
use standin_core::frame::{Frame, FrameKind};
use standin_core::identity::{ClusterId, Incarnation, ReplicaName};
use standin_core::message::{
    CloseSession, CommandRequest, InspectReply, LookupReply, Message as _, OpenSession, Party,
    QueryRequest, Reply, ReplyStatus, RoleName, Seen, Standing, StatusReply,
};
use standin_core::time::Duration;
use standin_core::view::{DataEpoch, ViewId, ViewNumber};
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};

const CLUSTER: ClusterId = ClusterId(77);
/// How long anything may take that should come about at all.
const PATIENCE: Duration = Duration::from_secs(60);
const SESSION: u64 = 5;

fn seen(index: u64) -> Seen {
    Seen {
        view: ViewId {
            data_epoch: DataEpoch(0),
            view: ViewNumber(1),
        },
        index: Index(index),
    }
}

/// What a made-up party does with a frame.
enum Turn {
    Answer(Vec<u8>),
    Ignore,
    HangUp,
}

/// A party that runs until it is dropped.
struct Someone {
    address: String,
    stop: Arc<atomic::AtomicBool>,
    waker: Arc<mio::Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Someone {
    fn start(
        party: Party,
        cluster: ClusterId,
        mut turn: impl FnMut(&Frame<'_>) -> Turn + Send + 'static,
    ) -> Self {
        let mut net = Net::new(NetConfig {
            party,
            cluster: Some(cluster),
            machine: None,
            limits: NetLimits::default(),
        })
        .expect("a loop");
        let any = "127.0.0.1:0".parse().expect("an address");
        let address = net.listen(any).expect("a free port").to_string();
        let (waker, stop) = (net.waker(), Arc::new(atomic::AtomicBool::new(false)));
        let is_stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut events = Vec::new();
            while !is_stopped.load(atomic::Ordering::SeqCst) {
                net.poll(None, &mut events).expect("the loop works");
                for event in &events {
                    if let NetEvent::Input { conn } = event {
                        while let Some(frame) = net.frames(*conn).next() {
                            let frame_bytes = frame.len();
                            let turn = turn(&frame);
                            net.consume(*conn, frame_bytes);
                            match turn {
                                Turn::Answer(bytes) => {
                                    net.send(*conn, |out| out.extend_from_slice(&bytes));
                                }
                                Turn::Ignore => {}
                                Turn::HangUp => net.close(*conn),
                            }
                        }
                    }
                }
            }
        });
        Self {
            address,
            stop,
            waker,
            thread: Some(thread),
        }
    }

    /// A view service that names `primary` and knows no replica.
    fn view_service(primary: String) -> Self {
        Self::start(Party::ViewService, CLUSTER, move |frame| {
            let mut out = Vec::new();
            match frame.kind {
                FrameKind::Lookup => LookupReply {
                    view: Some(seen(0).view),
                    primary: Some(primary.clone()),
                    term_ms: 1000,
                }
                .encode(&mut out),
                FrameKind::StatusRequest => StatusReply {
                    cluster: CLUSTER,
                    record: None,
                    term_ms: 1000,
                    lease_remaining_ms: None,
                    replicas: Vec::new(),
                    unavailable: Some("nobody is here".to_owned()),
                    trouble: None,
                }
                .encode(&mut out),
                other => panic!("a client sends no {other:?} to a view service"),
            }
            Turn::Answer(out)
        })
    }
}

impl Drop for Someone {
    fn drop(&mut self) {
        self.stop.store(true, atomic::Ordering::SeqCst);
        self.waker.wake().expect("the loop can be woken");
        let thread = self.thread.take().expect("only dropped once");
        assert!(thread.join().is_ok() || std::thread::panicking());
    }
}

fn answer(id: u64, bytes: &[u8]) -> Turn {
    let mut out = Vec::new();
    let reply = Reply {
        id,
        status: ReplyStatus::Done,
        seen: seen(9),
        is_solo: true,
        bytes,
    };
    reply.encode(&mut out);
    Turn::Answer(out)
}

/// A primary that echoes, and tells what it got; the first `hang_ups` commands it doesn't answer.
fn primary(mut hang_ups: u32) -> (Someone, Receiver<String>) {
    let (tell, told) = channel();
    let party = Someone::start(Party::Replica, CLUSTER, move |frame| match frame.kind {
        FrameKind::OpenSession => {
            let open = OpenSession::decode(frame).expect("good");
            tell.send("open".to_owned()).expect("heard");
            answer(open.id, &SESSION.to_le_bytes())
        }
        FrameKind::Command => {
            let command = CommandRequest::decode(frame).expect("good");
            let sequence = command.sequence;
            tell.send(format!("command {sequence} of {}", command.session))
                .expect("heard");
            if hang_ups > 0 {
                hang_ups -= 1;
                return Turn::HangUp;
            }
            answer(command.id, command.bytes)
        }
        FrameKind::Query => {
            let query = QueryRequest::decode(frame).expect("good");
            answer(query.id, query.bytes)
        }
        FrameKind::CloseSession => {
            let close = CloseSession::decode(frame).expect("good");
            tell.send(format!("close {}", close.session))
                .expect("heard");
            answer(close.id, b"")
        }
        FrameKind::Inspect => {
            let mut out = Vec::new();
            inspect_reply().encode(&mut out);
            Turn::Answer(out)
        }
        _ => Turn::Ignore,
    });
    (party, told)
}

fn inspect_reply() -> InspectReply {
    InspectReply {
        name: ReplicaName::new("a").expect("a name"),
        incarnation: Incarnation { start: 1, nonce: 2 },
        standing: Standing {
            view: seen(0).view,
            role: RoleName::Primary,
            last: LogTip::default(),
            commit: Index(9),
            applied: Index(9),
            reply_digest: 3,
        },
        state_digest: 4,
        sessions: 1,
    }
}

fn client(view_service: &str, timeout_ms: u64) -> Client {
    let timeout = Duration::from_millis(timeout_ms);
    Client::connect(view_service, ClientConfig { timeout }).expect("a client")
}

#[test]
fn commands_and_queries_go_to_the_primary_and_back() {
    let (replica, told) = primary(0);
    let view_service = Someone::view_service(replica.address.clone());
    let mut client = client(&view_service.address, 10_000);
    let done = client.command(b"one").expect("an answer");
    assert_eq!(done.bytes, b"one");
    assert!(done.is_solo);
    assert_eq!(done.seen, seen(9));
    let long = vec![7; 1 << 20];
    assert_eq!(client.command(&long).expect("an answer").bytes, long);
    let asked = client.query(b"two", Consistency::Confirmed);
    assert_eq!(asked.expect("an answer").bytes, b"two");
    client.close().expect("closed");
    drop(replica);
    let told: Vec<String> = told.iter().collect();
    assert_eq!(
        told,
        ["open", "command 1 of 5", "command 2 of 5", "close 5"]
    );
}

#[test]
fn a_command_is_repeated_under_its_number_after_the_connection_broke() {
    let (replica, told) = primary(2);
    let view_service = Someone::view_service(replica.address.clone());
    let mut client = client(&view_service.address, 10_000);
    let done = client.command(b"one").expect("an answer");
    assert_eq!(done.attempts, 3);
    drop((client, replica));
    let told: Vec<String> = told.iter().collect();
    let command = "command 1 of 5";
    assert_eq!(told, ["open", command, command, command]);
}

#[test]
fn silence_and_garbage_end_in_an_error_in_time() {
    // Accepts by its backlog and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent_address = silent.local_addr().expect("bound").to_string();
    let garbage = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let garbage_address = garbage.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for stream in garbage.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(&[0xff; 64]));
        }
    });
    for address in [silent_address, garbage_address] {
        let begun = Instant::now();
        let ended = client(&address, 700).command(b"c");
        assert!(
            matches!(ended, Err(ClientError::Unavailable { .. })),
            "{ended:?}"
        );
        let view_services = ViewServices::parse(&address).expect("an address");
        let asked = status(&view_services, Duration::from_millis(300));
        assert!(
            matches!(asked, Err(AskError::Unreachable { .. })),
            "{asked:?}"
        );
        let took = begun.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(8)).contains(&took),
            "{took:?}"
        );
        // And as a replica, behind a view service that knows no better.
        let view_service = Someone::view_service(address);
        let ended = client(&view_service.address, 700).command(b"c");
        assert!(
            matches!(ended, Err(ClientError::Unavailable { .. })),
            "{ended:?}"
        );
    }
}

#[test]
fn a_replica_of_another_cluster_is_told_apart() {
    let other = Someone::start(Party::Replica, ClusterId(1), |_| Turn::Ignore);
    let view_service = Someone::view_service(other.address.clone());
    let ended = client(&view_service.address, 10_000).command(b"c");
    assert!(
        matches!(ended, Err(ClientError::OtherCluster { .. })),
        "{ended:?}"
    );
}

#[test]
fn the_next_view_service_is_asked_if_one_is_not_there() {
    let (replica, _told) = primary(0);
    let view_service = Someone::view_service(replica.address.clone());
    let addresses = format!("127.0.0.1:1,{}", view_service.address);
    let mut client = client(&addresses, 10_000);
    assert!(client.query(b"q", Consistency::Confirmed).is_ok());
    let reply = client.status().expect("an answer");
    assert_eq!(reply.unavailable.as_deref(), Some("nobody is here"));
}

#[test]
fn a_replica_is_inspected() {
    let (replica, _told) = primary(0);
    let reply = inspect(&replica.address, Duration::from_secs(10)).expect("an answer");
    assert_eq!(reply, inspect_reply());
    // Somebody else is not asked, and one that answers something else is not understood; neither is
    // a reason to wait.
    let other = Someone::view_service(replica.address.clone());
    let asked = inspect(&other.address, PATIENCE);
    let text = asked.expect_err("it is no replica").to_string();
    assert!(text.contains("is a view service, not a replica"), "{text}");
    let asked = status(
        &ViewServices::parse(&replica.address).expect("one"),
        PATIENCE,
    );
    let text = asked.expect_err("it is no view service").to_string();
    assert!(text.contains("is a replica, not a view service"), "{text}");
    let wrong = Someone::start(Party::Replica, CLUSTER, |_| {
        let mut out = Vec::new();
        let view = seen(0).view;
        standin_core::message::HigherView { view }.encode(&mut out);
        Turn::Answer(out)
    });
    let asked = inspect(&wrong.address, PATIENCE);
    assert!(matches!(asked, Err(AskError::Protocol { .. })), "{asked:?}");
}

#[test]
fn a_client_does_not_learn_its_cluster_from_a_replica_given_as_view_service() {
    let (replica, _told) = primary(0);
    let stray = Someone::start(Party::Replica, ClusterId(1), |_| {
        panic!("it is asked nothing")
    });
    let view_service = Someone::view_service(replica.address.clone());
    let addresses = format!("{},{}", stray.address, view_service.address);
    let mut client = client(&addresses, 60_000);
    let ended = client.query(b"q", Consistency::Confirmed);
    let Err(ClientError::OtherParty { address, .. }) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(address, stray.address);
    // The next address is the right one.
    let answer = client.query(b"q", Consistency::Confirmed);
    assert!(answer.is_ok(), "{answer:?}");
}

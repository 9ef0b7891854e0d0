//! Messages to say in the wrong place.

use standin::machines::counter::encode_get;
use standin_core::address::Address;
use standin_core::entry::{Index, LogTip};
use standin_core::frame::FrameKind;
use standin_core::identity::{
    BootId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::message::{
    Ack, CloseSession, CommandRequest, CommandRequests, Consistency, Died, DiedReply,
    DirectRequest, Entries, Follow, Force, ForceOutcome, ForceReply, HigherView, HistoryReply,
    HistoryRequest, Inspect, InspectReply, Leave, Lookup, LookupReply, Message, OpenSession,
    QueryRequest, QueryRequests, Release, Reply, ReplyStatus, Report, ReportReply, Resume,
    RoleName, Room, Seen, Standing, StatusReply, StatusRequest, Swap, SwapReply, Switchover,
    SwitchoverReply, TokenDead, TokenDeadReply, encode_replies,
};
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, Member, ViewId, ViewNumber, ViewRecord};

use crate::arena::Arena;

pub(crate) fn frame_of(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

pub(crate) fn sample_identity(name: &str) -> Identity {
    Identity {
        name: ReplicaName::new(name).unwrap(),
        store: StoreId(random_u128(name)),
        life: Life {
            boot: BootId(1),
            incarnation: Incarnation { start: 1, nonce: 1 },
        },
        clean_lives: Vec::new(),
    }
}

pub(crate) fn random_u128(name: &str) -> u128 {
    name.bytes()
        .fold(0x5eed, |value, byte| value * 257 + u128::from(byte))
}

pub(crate) fn highest_view() -> ViewId {
    ViewId {
        data_epoch: DataEpoch(u32::MAX),
        view: ViewNumber(u64::MAX),
    }
}

pub(crate) fn sample_standing(view: ViewId) -> Standing {
    Standing {
        view,
        role: RoleName::Spare,
        last: LogTip::default(),
        commit: Index::ZERO,
        applied: Index::ZERO,
        reply_digest: 0,
    }
}

pub(crate) fn sample_report(identity: Identity) -> Report {
    Report {
        number: 1,
        identity,
        address: "127.0.0.1:9".to_owned(),
        standing: sample_standing(ViewId::default()),
        renew: None,
        replace: false,
        trouble: None,
        room: Room::Enough,
        lags: Vec::new(),
        versions: None,
    }
}

pub(crate) fn sample_follow(identity: Identity, view: ViewId) -> Follow {
    Follow {
        identity,
        view,
        last: LogTip::default(),
        view_starts: Vec::new(),
        resp: Some(Address::new("127.0.0.1:9").unwrap()),
        versions: standin_core::version::VersionRange::only(1),
    }
}

pub(crate) fn sample_ack(nonce: u64, view: ViewId) -> Ack {
    Ack {
        nonce,
        view,
        round: u64::MAX,
        durable: Index(u64::MAX),
        applied: Index(u64::MAX),
        reply_digest: u128::MAX,
        room: Room::Out,
    }
}

pub(crate) fn sample_command(bytes: &[u8]) -> CommandRequest<'_> {
    CommandRequest {
        id: 1,
        seen: Seen::default(),
        session: u64::MAX,
        sequence: u64::MAX,
        acknowledged: u64::MAX,
        bytes,
    }
}

/// The bytes of one of several requests.
fn write_one(_: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&encode_get());
}

pub(crate) fn sample_direct(bytes: &[u8]) -> DirectRequest<'_> {
    DirectRequest {
        id: 1,
        seen: Seen::default(),
        bytes,
    }
}

pub(crate) fn sample_query(bytes: &[u8], consistency: Consistency) -> QueryRequest<'_> {
    QueryRequest {
        id: 1,
        seen: Seen::default(),
        consistency,
        bytes,
    }
}

pub(crate) fn raw_frame(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

/// One well-formed message of every kind but the hello.
pub(crate) fn every_message(arena: &Arena) -> Vec<(FrameKind, Vec<u8>)> {
    let record = arena.cluster.status().unwrap().record.unwrap();
    let view = record.id();
    let identity = sample_identity("mallory");
    let (peers, replicas) = (Vec::new(), Vec::new());
    let higher = ViewRecord {
        view: ViewNumber(u64::MAX),
        ..record.clone()
    };
    let dead = TokenDead {
        store: identity.store,
        boot: identity.life.boot,
    };
    let history_reply = HistoryReply {
        views: Vec::new(),
        remark: None,
    };
    let member = Member::of(&identity);
    let died = Died {
        member: member.clone(),
    };
    let died_reply = DiedReply { member };
    let release = Release {
        identity: identity.clone(),
        view,
    };
    let swap = Swap {
        number: 1,
        identity: identity.clone(),
        expected: record.clone(),
        proposed: record.drop_backup(&identity),
    };
    let report_reply = ReportReply {
        number: 0,
        record: Some(higher.clone()),
        granted: true,
        wall: WallTime(u64::MAX),
        peers,
    };
    let swap_reply = SwapReply {
        number: 1,
        accepted: true,
        record: Some(higher),
        wall: WallTime(u64::MAX),
    };
    let status_reply = StatusReply {
        cluster: arena.id,
        record: None,
        term_ms: 1,
        lease_remaining_ms: None,
        replicas,
        unavailable: None,
        trouble: None,
    };
    let lookup_reply = LookupReply {
        view: None,
        primary: None,
        term_ms: 1,
    };
    let resume = Resume {
        view: highest_view(),
        nonce: 1,
        common: LogTip::default(),
        durability: Durability::Memory,
        silence_ms: 1,
        skips: Vec::new(),
        resp: Some(Address::new("127.0.0.1:9").unwrap()),
    };
    let inspect_reply = InspectReply {
        name: identity.name.clone(),
        incarnation: identity.life.incarnation,
        standing: sample_standing(view),
        state_digest: 1,
        sessions: 1,
    };
    let close = CloseSession {
        id: 1,
        seen: Seen::default(),
        session: u64::MAX,
    };
    let entries = Entries {
        nonce: 1,
        view: highest_view(),
        round: 1,
        commit: Index(u64::MAX),
        bytes: b"no entries",
    };
    let reply = Reply {
        id: 1,
        status: ReplyStatus::Done,
        seen: Seen::default(),
        is_solo: false,
        bytes: b"no reply",
    };
    let force = Force {
        primary: identity.name.clone(),
        accept_loss: false,
    };
    let force_reply = ForceReply {
        outcome: ForceOutcome::Refused {
            reason: "a serves".to_owned(),
        },
        record: None,
    };
    vec![
        (
            FrameKind::Report,
            frame_of(&sample_report(identity.clone())),
        ),
        (FrameKind::ReportReply, frame_of(&report_reply)),
        (FrameKind::Swap, frame_of(&swap)),
        (FrameKind::SwapReply, frame_of(&swap_reply)),
        (FrameKind::Release, frame_of(&release)),
        (FrameKind::TokenDead, frame_of(&dead)),
        (
            FrameKind::TokenDeadReply,
            frame_of(&TokenDeadReply { dead }),
        ),
        (FrameKind::Died, frame_of(&died)),
        (FrameKind::DiedReply, frame_of(&died_reply)),
        (FrameKind::HistoryRequest, frame_of(&HistoryRequest)),
        (FrameKind::HistoryReply, frame_of(&history_reply)),
        (FrameKind::Lookup, frame_of(&Lookup)),
        (FrameKind::LookupReply, frame_of(&lookup_reply)),
        (FrameKind::StatusRequest, frame_of(&StatusRequest)),
        (FrameKind::StatusReply, frame_of(&status_reply)),
        (FrameKind::Force, frame_of(&force)),
        (FrameKind::ForceReply, frame_of(&force_reply)),
        (FrameKind::Switchover, frame_of(&Switchover { to: None })),
        (
            FrameKind::SwitchoverReply,
            frame_of(&SwitchoverReply::NotPrimary),
        ),
        (FrameKind::Leave, frame_of(&Leave { nonce: u64::MAX })),
        (FrameKind::Follow, frame_of(&sample_follow(identity, view))),
        (FrameKind::Resume, frame_of(&resume)),
        (FrameKind::Entries, raw_frame(|out| entries.encode(out))),
        (
            FrameKind::Ack,
            raw_frame(|out| sample_ack(1, view).encode(out)),
        ),
        (
            FrameKind::HigherView,
            frame_of(&HigherView {
                view: highest_view(),
            }),
        ),
        (
            FrameKind::OpenSession,
            frame_of(&OpenSession {
                id: 1,
                seen: Seen::default(),
            }),
        ),
        (FrameKind::CloseSession, frame_of(&close)),
        (
            FrameKind::Command,
            raw_frame(|out| sample_command(b"x").encode(out)),
        ),
        (
            FrameKind::Commands,
            raw_frame(|out| {
                // None of its numbers may be beyond the largest.
                let first = CommandRequest {
                    sequence: 1,
                    ..sample_command(b"")
                };
                CommandRequests::encode(&first, 3, write_one, out);
            }),
        ),
        (
            FrameKind::Queries,
            raw_frame(|out| {
                let first = sample_query(b"", Consistency::Stale);
                QueryRequests::encode(&first, 3, write_one, out);
            }),
        ),
        (
            FrameKind::Replies,
            raw_frame(|out| {
                let next = Reply {
                    id: reply.id + 1,
                    ..reply
                };
                encode_replies([reply, next].into_iter(), out);
            }),
        ),
        (
            FrameKind::Query,
            raw_frame(|out| sample_query(&encode_get(), Consistency::Stale).encode(out)),
        ),
        (
            FrameKind::Direct,
            raw_frame(|out| sample_direct(b"x").encode(out)),
        ),
        (FrameKind::Reply, raw_frame(|out| reply.encode(out))),
        (FrameKind::Inspect, frame_of(&Inspect)),
        (FrameKind::InspectReply, frame_of(&inspect_reply)),
    ]
}

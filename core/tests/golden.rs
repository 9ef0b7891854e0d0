//! The formats held still: fixed contents must encode to the stored bytes, and the stored bytes decode
//! to those contents, for ever. What version 2 changed is in a directory of its own, and what stands
//! in that of version 1 is read as well.
//!
//! A format that is meant to change gets a new version and a directory of its own. To write the files
//! of a new version, run this once with `STANDIN_REGENERATE_GOLDEN=1` and look at the difference.
#![allow(clippy::disallowed_methods)] // decision code opens no file; its tests do
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

use standin_core::address::Address;
use standin_core::capture::SnapshotMark;
use standin_core::digest::{DigestChain, digest};
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, CloseSession as CloseSessionEntry, Command, Entry, EntryKind,
    Handover, Index, LogTip, TimerFired, Upgrade, ViewStart,
};
use standin_core::evidence::{
    Evidence, EvidenceError, KeptReply, REPLY_KEPT_BYTES_MAX, RecordedState,
};
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameError, FrameKind};
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId, Token,
};
use standin_core::machine::MachineId;
use standin_core::mark::{Fatal, FatalEntry};
use standin_core::message::*;
use standin_core::poison::{Poison, Skip};
use standin_core::segment::{SEGMENT_HEADER_BYTES, ScanEnd, SegmentHeader, scan};
use standin_core::snapshot::{
    SNAPSHOT_BLOCK_BYTES, SnapshotHeader, SnapshotPoint, SnapshotReader, encode_snapshot,
};
use standin_core::time::WallTime;
use standin_core::version::{VersionRange, VersionStanding};
use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewId, ViewNumber, ViewRecord};

/// What version 2 changed: refusals, messages and statuses of replies came to it, and limits to ViewStart.
const CHANGED_IN_2: [&str; 9] = [
    "frames/Switchover",
    "frames/SwitchoverReply",
    "frames/Leave",
    "frames/Died",
    "frames/DiedReply",
    "frames/Refusal",
    "frames/TokenDead",
    "frames/TokenDeadReply",
    "frames/Force",
];

/// What version 3 changed: skipped entries came to the record, to ViewStart and to Resume.
const CHANGED_IN_3: [&str; 17] = [
    "frames/Entries",
    "frames/ForceReply",
    "frames/HistoryRequest",
    "frames/HistoryReply",
    "frames/Poisoned",
    "frames/ReportReply",
    "frames/Resume",
    "frames/Swap",
    "frames/SwapReply",
    "handover",
    "frames/SnapshotOffer",
    "frames/SnapshotRead",
    "frames/SnapshotPiece",
    "frames/StateDigest",
    "frames/EntriesRead",
    "frames/EntriesPiece",
    "segment",
];

/// What version 4 changed: whether a log has room, and how far followers are behind, came to what replicas say; and a
/// lost view record can be made again.
const CHANGED_IN_4: [&str; 8] = [
    "frames/Ack",
    "frames/Fatal",
    "frames/Hello",
    "frames/Rebuild",
    "frames/Reply",
    "frames/Report",
    "frames/StatusReply",
    "frames/Witness",
];

/// What version 5 changed: commands that belong to no session; and where replicas answer Redis clients came to what
/// begins a stream.
const CHANGED_IN_5: [&str; 6] = [
    "direct",
    "frames/Direct",
    "frames/Follow",
    "frames/Hello",
    "frames/Resume",
    "segment",
];

/// What version 6 changed: replicas whose programs support different versions of the machine work together.
const CHANGED_IN_6: [&str; 11] = [
    "direct",
    "frames/Entries",
    "frames/Follow",
    "frames/Hello",
    "frames/Refusal",
    "frames/Report",
    "frames/SnapshotOffer",
    "frames/StatusReply",
    "handover",
    "segment",
    "upgrade",
];

fn path(name: &str) -> PathBuf {
    let version = if CHANGED_IN_6.contains(&name) {
        "v6"
    } else if CHANGED_IN_5.contains(&name) {
        "v5"
    } else if CHANGED_IN_4.contains(&name) {
        "v4"
    } else if CHANGED_IN_3.contains(&name) {
        "v3"
    } else if CHANGED_IN_2.contains(&name) {
        "v2"
    } else {
        "v1"
    };
    path_in(version).join(name)
}

fn path_in(version: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden")).join(version)
}

/// The stored bytes, after comparing them with what the fixed contents encode to now.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = path(name);
    if std::env::var("STANDIN_REGENERATE_GOLDEN").is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, now).unwrap();
    }
    let stored = std::fs::read(&path).unwrap();
    let differs = stored.iter().zip(now).position(|(one, other)| one != other);
    assert!(
        stored == now,
        "{name} is encoded otherwise than it was, from byte {differs:?}: {} bytes, were {}",
        now.len(),
        stored.len()
    );
    stored
}

/// The frames in some bytes.
fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let frame = Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX)
            .unwrap()
            .unwrap();
        bytes = &bytes[frame.len()..];
        frames.push(frame);
    }
    frames
}

/// Holds one kind of frame still, and notes that it was.
struct Frames(BTreeSet<u16>);

impl Frames {
    fn check<T: PartialEq + Debug>(
        &mut self,
        kind: FrameKind,
        values: &[T],
        encode: impl Fn(&T, &mut Vec<u8>),
        agrees: impl Fn(&Frame<'_>, &T) -> bool,
    ) {
        let mut now = Vec::new();
        for value in values {
            encode(value, &mut now);
        }
        let stored = golden(&format!("frames/{kind:?}"), &now);
        let frames = frames(&stored);
        assert_eq!(frames.len(), values.len(), "{kind:?}");
        for (frame, value) in frames.iter().zip(values) {
            assert_eq!(frame.kind, kind);
            assert!(
                agrees(frame, value),
                "{kind:?} decodes to other than {value:?}"
            );
        }
        self.0.insert(kind as u16);
    }

    fn messages<T: Message + PartialEq + Debug>(&mut self, values: &[T]) {
        let agrees = |frame: &Frame<'_>, value: &T| T::decode(frame).as_ref() == Ok(value);
        self.check(T::KIND, values, T::encode, agrees);
    }
}

fn name(text: &str) -> ReplicaName {
    ReplicaName::new(text).unwrap()
}

fn machine() -> MachineId {
    MachineId::new("counter", 1).unwrap()
}

fn view() -> ViewId {
    ViewId {
        data_epoch: DataEpoch(2),
        view: ViewNumber(300),
    }
}

fn seen() -> Seen {
    Seen {
        view: view(),
        index: Index(70_000),
    }
}

fn life(start: u64) -> Life {
    Life {
        boot: BootId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        incarnation: Incarnation {
            start,
            nonce: 0x1112_1314_1516_1718,
        },
    }
}

fn identity(text: &str) -> Identity {
    Identity {
        name: name(text),
        store: StoreId(0x2122_2324_2526_2728_292a_2b2c_2d2e_2f30),
        life: life(3),
        clean_lives: vec![life(1), life(2)],
    }
}

fn tip() -> LogTip {
    LogTip {
        index: Index(80_000),
        view: ViewNumber(299),
        chain: 0xdead_beef,
        time: WallTime(1_700_000_000_000_000_000),
    }
}

fn standing(role: RoleName) -> Standing {
    Standing {
        view: view(),
        role,
        last: tip(),
        commit: Index(79_999),
        applied: Index(79_998),
        reply_digest: 0x3132_3334_3536_3738_393a_3b3c_3d3e_3f40,
    }
}

fn peer(text: &str) -> Peer {
    Peer {
        identity: identity(text),
        address: "127.0.0.1:7101".to_owned(),
        unseen_ms: 130,
    }
}

const ROLES: [RoleName; 5] = [
    RoleName::Primary,
    RoleName::Candidate,
    RoleName::Backup,
    RoleName::Spare,
    RoleName::Quarantined,
];

const ROOMS: [Room; 3] = [Room::Enough, Room::Lacking, Room::Out];

fn lag(store: StoreId) -> Lag {
    Lag {
        store,
        unacknowledged_ms: 130,
        unapplied_ms: 70_000,
    }
}

const REASONS: [Reason; 10] = [
    Reason::Bootstrap,
    Reason::LeaseExpired,
    Reason::Released,
    Reason::PrimaryRestarted,
    Reason::NotActivated,
    Reason::Activated,
    Reason::Joined,
    Reason::Dropped,
    Reason::Forced,
    Reason::HandedOver,
];

/// Few records list any.
fn skips(reason: Reason) -> Vec<Skip> {
    let skip = |index| Skip {
        index: Index(index),
        view: ViewNumber(299),
    };
    match reason {
        Reason::LeaseExpired | Reason::Activated => vec![skip(70_001), skip(79_999)],
        _ => Vec::new(),
    }
}

fn record(reason: Reason) -> ViewRecord {
    let (a, b) = (identity("a"), identity("b-2"));
    let holder = |identity: &Identity, durability| Holder {
        name: identity.name.clone(),
        token: identity.token(durability),
    };
    let levels = [Durability::Memory, Durability::Os, Durability::Disk];
    ViewRecord {
        cluster: ClusterId(0x4142_4344_4546_4748_494a_4b4c_4d4e_4f50),
        data_epoch: view().data_epoch,
        view: view().view,
        primary: Member::of(&a),
        backup: (reason != Reason::Dropped).then(|| Member::of(&b)),
        holders: levels.map(|level| holder(&b, level)).to_vec(),
        active: reason != Reason::LeaseExpired,
        term_ms: 1000,
        reason,
        skips: skips(reason),
    }
}

fn hellos() -> Vec<Hello> {
    let cluster = record(Reason::Joined).cluster;
    vec![
        Hello::new(Party::Client, None, None),
        Hello::new(Party::Replica, Some(cluster), Some(machine())),
        Hello::new(Party::ViewService, Some(cluster), None),
    ]
}

fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::Version { ours: 1 },
        Refusal::OtherCluster {
            ours: record(Reason::Joined).cluster,
        },
        Refusal::OtherMachine { ours: machine() },
        Refusal::NameTaken {
            store: identity("a").store,
        },
        Refusal::TooManyReplicas,
        Refusal::Protocol,
        Refusal::Busy,
        Refusal::Superseded,
        Refusal::NamesTaken {
            names: vec![name("a"), name("b-2")],
        },
        Refusal::RepliesDiffer,
        Refusal::TokenDead,
        Refusal::MachineVersion { executing: 300 },
    ]
}

fn check_handshake(frames: &mut Frames) {
    frames.messages(&hellos());
    // Exhaustive, so that a new refusal does not go unheld.
    for refusal in refusals() {
        match refusal {
            Refusal::Version { .. }
            | Refusal::OtherCluster { .. }
            | Refusal::OtherMachine { .. }
            | Refusal::NameTaken { .. }
            | Refusal::TooManyReplicas
            | Refusal::Protocol
            | Refusal::Busy
            | Refusal::Superseded
            | Refusal::NamesTaken { .. }
            | Refusal::RepliesDiffer
            | Refusal::TokenDead
            | Refusal::MachineVersion { .. } => {}
        }
    }
    frames.messages(&refusals());
}

fn versions() -> VersionStanding {
    VersionStanding {
        executing: 2,
        supported: VersionRange {
            oldest: 2,
            newest: 3,
        },
    }
}

fn check_view_service(frames: &mut Frames) {
    frames.messages(&ROLES.map(|role| {
        Report {
            number: 7,
            identity: identity("a"),
            address: "[::1]:7101".to_owned(),
            standing: standing(role),
            renew: (role == RoleName::Primary).then(view),
            replace: role == RoleName::Spare,
            trouble: (role == RoleName::Quarantined).then(|| "its log is damaged".to_owned()),
            room: ROOMS[role as usize % ROOMS.len()],
            lags: (role == RoleName::Primary)
                .then(|| lag(identity("b-2").store))
                .into_iter()
                .collect(),
            versions: (role != RoleName::Quarantined).then(versions),
        }
    }));
    let mut replies = REASONS
        .map(|reason| ReportReply {
            number: 7,
            record: Some(record(reason)),
            granted: reason == Reason::Activated,
            wall: tip().time,
            peers: vec![peer("a"), peer("b-2")],
        })
        .to_vec();
    replies.push(ReportReply {
        number: 0,
        record: None,
        granted: false,
        wall: WallTime(0),
        peers: Vec::new(),
    });
    frames.messages(&replies);
    frames.messages(&[Swap {
        number: 8,
        identity: identity("a"),
        expected: record(Reason::LeaseExpired),
        proposed: record(Reason::Activated),
    }]);
    frames.messages(&[true, false].map(|accepted| SwapReply {
        number: 8,
        accepted,
        record: accepted.then(|| record(Reason::Activated)),
        wall: tip().time,
    }));
    frames.messages(&[Release {
        identity: identity("a"),
        view: view(),
    }]);
    let dead = TokenDead {
        store: identity("a").store,
        boot: life(5).boot,
    };
    frames.messages(&[dead]);
    frames.messages(&[TokenDeadReply { dead }]);
    let member = Member::of(&identity("a"));
    let died = Died {
        member: member.clone(),
    };
    frames.messages(&[died]);
    frames.messages(&[DiedReply { member }]);
    frames.messages(&[Poisoned {
        identity: identity("a"),
        poison: Poison {
            skip: skips(Reason::Activated)[1],
            life: life(3).incarnation,
            words: "it panicked: too many".to_owned(),
        },
    }]);
    frames.messages(&[Fatal {
        identity: identity("a"),
        fatal: FatalEntry {
            entry: skips(Reason::Activated)[1],
            since: 3,
            deaths: 2,
        },
    }]);
    let kept = Kept {
        record: record(Reason::Rebuilt),
        joins: vec![JoinAsked {
            name: name("c"),
            store: identity("a").store,
        }],
    };
    frames.messages(&[Some(kept), None].map(|kept| Witness {
        identity: identity("a"),
        adopted: view(),
        holds: kept.is_some().then(|| identity("a").token(Durability::Os)),
        kept,
        last: tip(),
    }));
    frames.messages(&[true, false].map(|is_forced| Rebuild {
        replicas: vec![name("a"), name("b-2")],
        primary: is_forced.then(|| name("a")),
        accept_loss: is_forced,
    }));
    frames.messages(&[HistoryRequest]);
    let past = |number: u64, began: Option<WallTime>| PastView {
        view: ViewId {
            view: ViewNumber(number),
            ..view()
        },
        began,
        primary: name("a"),
        backup: began.map(|_| name("b")),
        cause: Reason::Died,
        is_active: began.is_some(),
        gap_ms: began.map(|_| 17),
    };
    frames.messages(&[HistoryReply {
        views: vec![past(299, None), past(300, Some(tip().time))],
        remark: Some("earlier views are not known".to_owned()),
    }]);
    frames.messages(&[Lookup]);
    frames.messages(&[true, false].map(|is_known| LookupReply {
        view: is_known.then(view),
        primary: is_known.then(|| "127.0.0.1:7101".to_owned()),
        term_ms: 1000,
    }));
    frames.messages(&[StatusRequest]);
    frames.messages(&[true, false].map(|accept_loss| Force {
        primary: name("b"),
        accept_loss,
    }));
    let words = || "b goes on with what it has".to_owned();
    let outcomes = [
        ForceOutcome::Done { loss: words() },
        ForceOutcome::WouldLose { loss: words() },
        ForceOutcome::Refused { reason: words() },
    ];
    frames.messages(&outcomes.map(|outcome| ForceReply {
        record: matches!(outcome, ForceOutcome::Done { .. }).then(|| record(Reason::Forced)),
        outcome,
    }));
    frames.messages(&[true, false].map(|is_named| Switchover {
        to: is_named.then(|| name("b")),
    }));
    frames.messages(&[
        SwitchoverReply::Done {
            view: view(),
            primary: name("b-2"),
            backup: name("a"),
        },
        SwitchoverReply::NotPrimary,
        SwitchoverReply::Refused {
            reason: "there is no backup".to_owned(),
        },
        SwitchoverReply::Unknown {
            reason: "nobody has said".to_owned(),
        },
    ]);
    frames.messages(&[Leave { nonce: 0x1112 }]);
    frames.messages(&[true, false].map(|is_well| {
        StatusReply {
            cluster: record(Reason::Joined).cluster,
            record: is_well.then(|| record(Reason::Joined)),
            term_ms: 1000,
            lease_remaining_ms: is_well.then_some(812),
            replicas: ROLES
                .map(|role| ReplicaStatus {
                    peer: peer("c"),
                    standing: is_well.then(|| standing(role)),
                    is_alive: is_well,
                    trouble: (!is_well).then(|| "its disk is full".to_owned()),
                    room: is_well.then_some(ROOMS[role as usize % ROOMS.len()]),
                    behind_ms: is_well.then_some(300),
                    versions: is_well.then(versions),
                })
                .to_vec(),
            unavailable: (!is_well).then(|| "start b".to_owned()),
            trouble: (!is_well).then(|| "no room".to_owned()),
        }
    }));
}

fn check_stream(frames: &mut Frames) {
    let resps = [None, Some(Address::new("10.0.0.2:6379").unwrap())];
    frames.messages(&resps.clone().map(|resp| Follow {
        identity: identity("b-2"),
        view: view(),
        last: tip(),
        view_starts: vec![(ViewNumber(1), Index(1)), (ViewNumber(299), Index(71_000))],
        resp,
        versions: VersionRange {
            oldest: 3,
            newest: 300,
        },
    }));
    let levels = [Durability::Memory, Durability::Os, Durability::Disk];
    frames.messages(&levels.map(|durability| Resume {
        view: view(),
        nonce: u64::MAX,
        common: tip(),
        durability,
        silence_ms: 500,
        skips: skips(Reason::Activated),
        resp: resps[usize::from(durability == Durability::Disk)].clone(),
    }));
    frames.messages(&[HigherView { view: view() }]);
    let entries = [
        (Vec::new(), 0),
        (batch().bytes().to_vec(), 0x5152_5354_5556_5758),
    ];
    frames.check(
        FrameKind::Entries,
        &entries,
        |value, out| entries_message(&value.0, value.1).encode(out),
        |frame, value| Entries::decode(frame) == Ok(entries_message(&value.0, value.1)),
    );
    let acks = ROOMS.map(|room| Ack {
        nonce: 0x5152_5354_5556_5758,
        view: view(),
        round: 12,
        durable: Index(80_000),
        applied: Index(79_998),
        reply_digest: standing(RoleName::Backup).reply_digest,
        room,
    });
    frames.check(FrameKind::Ack, &acks, Ack::encode, |frame, ack| {
        Ack::decode(frame).as_ref() == Ok(ack)
    });
}

fn check_snapshots(frames: &mut Frames) {
    let mark = SnapshotMark {
        data_epoch: DataEpoch(2),
        tip: tip(),
        view_first: Index(71_000),
        reply_digest: standing(RoleName::Backup).reply_digest,
        machine_version: 300,
        failed_version: 302,
    };
    let (nonce, index) = (0x5152_5354_5556_5758, tip().index);
    frames.messages(&[SnapshotOffer {
        view: view(),
        nonce,
        mark,
        state_digest: u128::MAX - 2,
        state_bytes: 1 << 30,
    }]);
    frames.messages(&[SnapshotRead {
        nonce,
        index,
        offset: 0x6162_6364,
        length: SNAPSHOT_PIECE_BYTES_MAX,
    }]);
    let pieces = [b"".as_slice(), b"a piece"];
    let piece = |bytes| SnapshotPiece {
        nonce,
        index,
        offset: 0x6162_6364,
        bytes,
    };
    frames.check(
        FrameKind::SnapshotPiece,
        &pieces,
        |bytes, out| piece(bytes).encode(out),
        |frame, bytes| SnapshotPiece::decode(frame) == Ok(piece(bytes)),
    );
    frames.messages(&[StateDigest {
        nonce,
        view: view(),
        index,
        digest: u128::MAX - 2,
    }]);
}

fn check_repair(frames: &mut Frames) {
    frames.messages(&[EntriesRead { after: tip() }]);
    let pieces = [b"".as_slice(), b"entries"];
    let piece = |bytes| EntriesPiece {
        after: tip().index,
        bytes,
    };
    frames.check(
        FrameKind::EntriesPiece,
        &pieces,
        |bytes, out| piece(bytes).encode(out),
        |frame, bytes| EntriesPiece::decode(frame) == Ok(piece(bytes)),
    );
}

fn entries_message(bytes: &[u8], nonce: u64) -> Entries<'_> {
    Entries {
        nonce,
        view: view(),
        round: 12,
        commit: Index(79_999),
        bytes,
    }
}

fn check_clients(frames: &mut Frames) {
    frames.messages(&[OpenSession {
        id: 1,
        seen: seen(),
    }]);
    frames.messages(&[CloseSession {
        id: 2,
        seen: seen(),
        session: 4711,
    }]);
    let command = CommandRequest {
        id: 3,
        seen: seen(),
        session: 4711,
        sequence: 5,
        acknowledged: 4,
        bytes: b"add 1",
    };
    frames.check(
        FrameKind::Command,
        &[command],
        CommandRequest::encode,
        |frame, command| CommandRequest::decode(frame).as_ref() == Ok(command),
    );
    let direct = DirectRequest {
        id: 6,
        seen: seen(),
        bytes: b"add 1",
    };
    frames.check(
        FrameKind::Direct,
        &[direct],
        DirectRequest::encode,
        |frame, direct| DirectRequest::decode(frame).as_ref() == Ok(direct),
    );
    let levels = [
        Consistency::Confirmed,
        Consistency::Lease,
        Consistency::Stale,
    ];
    let queries = levels.map(|consistency| QueryRequest {
        id: 4,
        seen: seen(),
        consistency,
        bytes: b"get",
    });
    frames.check(
        FrameKind::Query,
        &queries,
        QueryRequest::encode,
        |frame, query| QueryRequest::decode(frame).as_ref() == Ok(query),
    );
    let statuses = [
        ReplyStatus::Done,
        ReplyStatus::NotPrimary,
        ReplyStatus::OutcomeUnknown,
        ReplyStatus::SessionUnknown,
        ReplyStatus::SequenceGap,
        ReplyStatus::SequenceAcknowledged,
        ReplyStatus::Refused,
        ReplyStatus::Overloaded,
        ReplyStatus::AnswerLost,
        ReplyStatus::Skipped,
        ReplyStatus::NoRoom,
    ];
    let replies = statuses.map(|status| Reply {
        id: 5,
        status,
        seen: seen(),
        is_solo: status == ReplyStatus::Done,
        bytes: b"42",
    });
    frames.check(FrameKind::Reply, &replies, Reply::encode, |frame, reply| {
        Reply::decode(frame).as_ref() == Ok(reply)
    });
    frames.messages(&[Inspect]);
    frames.messages(&[InspectReply {
        name: name("a"),
        incarnation: life(3).incarnation,
        standing: standing(RoleName::Backup),
        state_digest: u128::MAX - 1,
        sessions: 50,
    }]);
}

#[test]
fn what_version_1_said_otherwise_still_decodes() {
    let stored = |name: &str| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/v1/frames");
        std::fs::read(PathBuf::from(path).join(name)).unwrap()
    };
    for frame in frames(&stored("Hello")) {
        let hello = Hello::decode(&frame).unwrap();
        let refused = hello.check(None, None);
        assert_eq!(
            refused,
            Err(Refusal::Version {
                ours: PROTOCOL_VERSION
            }),
            "it is told why"
        );
    }
    assert!(
        frames(&stored("Reply"))
            .iter()
            .all(|frame| Reply::decode(frame).is_ok())
    );
}

#[test]
fn every_kind_of_frame_is_as_it_was() {
    let mut frames = Frames(BTreeSet::new());
    check_handshake(&mut frames);
    check_view_service(&mut frames);
    check_stream(&mut frames);
    check_snapshots(&mut frames);
    check_repair(&mut frames);
    check_clients(&mut frames);
    // All kinds that decode at all have been held.
    let known: BTreeSet<u16> = (0..=u16::MAX)
        .filter(|number| {
            let mut header = [0; 12];
            header[4..6].copy_from_slice(&number.to_le_bytes());
            Frame::decode(&header, 0).err() != Some(FrameError::Kind(*number))
        })
        .collect();
    assert_eq!(frames.0, known);
}

fn header() -> SegmentHeader {
    SegmentHeader {
        cluster: record(Reason::Joined).cluster,
        store: identity("a").store,
        machine: machine(),
        before: LogTip {
            view: ViewNumber(299),
            ..tip()
        },
    }
}

fn view_start(durability: Durability) -> ViewStart {
    ViewStart {
        data_epoch: DataEpoch(2),
        primary: name("a"),
        incarnation: life(3).incarnation,
        durability,
        session_timeout_ms: 3_600_000,
        sessions_max: 100_000,
        replies_bytes_max: 268_435_456,
        session_idle_min_ms: 10_000,
        skips: skips(Reason::Activated),
        machine_version: Some(3),
    }
}

const CLOSED: CloseSessionEntry = CloseSessionEntry { session: 80_002 };
const FIRED: TimerFired = TimerFired {
    id: 17,
    deadline: WallTime(1_700_000_001_000_000_000),
};
const COMMAND: Command<'_> = Command {
    session: 80_002,
    sequence: 1,
    acknowledged: 0,
    bytes: b"add 1",
};

/// Every kind of entry.
fn batch() -> Batch {
    let stamp = BatchStamp {
        view: ViewNumber(300),
        time: WallTime(1_700_000_001_500_000_000),
        seed: 0x6162_6364_6566_6768,
        commit: Index(79_999),
    };
    let mut builder = BatchBuilder::new(header().before, stamp);
    builder.push(EntryKind::ViewStart, |out| {
        encode_payload(&view_start(Durability::Os), out);
    });
    builder.push(EntryKind::OpenSession, |_| {});
    builder.push(EntryKind::Command, |out| COMMAND.encode(out));
    builder.push(EntryKind::Timer, |out| encode_payload(&FIRED, out));
    builder.push(EntryKind::CloseSession, |out| encode_payload(&CLOSED, out));
    builder.finish().unwrap()
}

#[test]
fn a_segment_with_every_kind_of_entry_is_as_it_was() {
    let mut now = header().encode();
    now.extend_from_slice(batch().bytes());
    // What is preallocated and not written yet.
    now.resize(now.len().next_multiple_of(512), 0);
    let stored = golden("segment", &now);
    assert_eq!(SegmentHeader::decode(&stored), Ok(header()));

    let mut kinds = Vec::new();
    let found = scan(&stored[SEGMENT_HEADER_BYTES..], header().before, |entry| {
        kinds.push(entry.header.kind);
        assert_eq!(entry.header.view, ViewNumber(300));
        assert_eq!(entry.header.time, WallTime(1_700_000_001_500_000_000));
        assert_eq!(entry.header.seed, 0x6162_6364_6566_6768);
        assert_eq!(entry.header.commit, Index(79_999));
        match entry.header.kind {
            EntryKind::ViewStart => {
                let start = ViewStart::decode(entry.payload);
                assert_eq!(start, Some(view_start(Durability::Os)));
            }
            EntryKind::OpenSession => assert!(entry.payload.is_empty()),
            EntryKind::Command => assert_eq!(Command::decode(entry.payload), Some(COMMAND)),
            EntryKind::Timer => assert_eq!(decode_payload(entry.payload), Some(FIRED)),
            EntryKind::CloseSession => assert_eq!(decode_payload(entry.payload), Some(CLOSED)),
            EntryKind::Handover | EntryKind::Direct | EntryKind::Upgrade => {
                panic!("it is in a file of its own")
            }
        }
    });
    assert_eq!(kinds.len(), 5);
    assert_eq!((found.tip, found.end), (batch().tip(), ScanEnd::Clean));
    assert_eq!(found.bytes, batch().bytes().len());
}

#[test]
fn a_handover_is_as_it_was() {
    let before = batch().tip();
    let stamp = BatchStamp {
        view: before.view,
        time: before.time,
        seed: 7,
        commit: before.index,
    };
    let handover = Handover { to: name("b-2") };
    let mut builder = BatchBuilder::new(before, stamp);
    builder.push(EntryKind::Handover, |out| encode_payload(&handover, out));
    let now = builder.finish().unwrap();
    let stored = golden("handover", now.bytes());
    let entry = Entry::decode(&stored).unwrap();
    assert_eq!(entry.header.kind, EntryKind::Handover);
    assert!(entry.has_sound_payload());
    assert_eq!(decode_payload(entry.payload), Some(handover));
}

#[test]
fn a_command_without_a_session_is_as_it_was() {
    let before = batch().tip();
    let stamp = BatchStamp {
        view: before.view,
        time: before.time,
        seed: 8,
        commit: before.index,
    };
    let mut builder = BatchBuilder::new(before, stamp);
    builder.push(EntryKind::Direct, |out| out.extend_from_slice(b"add 1"));
    let now = builder.finish().unwrap();
    let stored = golden("direct", now.bytes());
    let entry = Entry::decode(&stored).unwrap();
    assert_eq!(entry.header.kind, EntryKind::Direct);
    assert!(entry.has_sound_payload());
    assert_eq!(entry.payload, b"add 1");
}

#[test]
fn an_upgrade_is_as_it_was() {
    let before = batch().tip();
    let stamp = BatchStamp {
        view: before.view,
        time: before.time,
        seed: 9,
        commit: before.index,
    };
    let upgrade = Upgrade { version: 300 };
    let mut builder = BatchBuilder::new(before, stamp);
    builder.push(EntryKind::Upgrade, |out| encode_payload(&upgrade, out));
    let now = builder.finish().unwrap();
    let stored = golden("upgrade", now.bytes());
    let entry = Entry::decode(&stored).unwrap();
    assert_eq!(entry.header.kind, EntryKind::Upgrade);
    assert!(entry.has_sound_payload());
    assert_eq!(decode_payload(entry.payload), Some(upgrade));
    let start = entry.version_start().unwrap();
    assert_eq!((start.version, start.is_upgrade), (300, true));
}

/// The ViewStart of log format 1 had no limits but the first two, and is applied without others.
fn is_view_start_of_version_1(entry: &Entry<'_>) -> bool {
    let unlimited = ViewStart {
        replies_bytes_max: u64::MAX,
        session_idle_min_ms: 0,
        skips: Vec::new(),
        machine_version: None,
        ..view_start(Durability::Os)
    };
    entry.has_sound_payload() && ViewStart::decode(entry.payload) == Some(unlimited)
}

#[test]
fn what_version_1_wrote_is_still_read() {
    let read = |name: &str| std::fs::read(path_in("v1").join(name)).unwrap();
    let stored = read("segment");
    assert_eq!(SegmentHeader::decode(&stored), Ok(header()));
    let mut starts = 0;
    let found = scan(&stored[SEGMENT_HEADER_BYTES..], header().before, |entry| {
        if entry.header.kind == EntryKind::ViewStart {
            assert!(is_view_start_of_version_1(entry));
            starts += 1;
        }
    });
    assert_eq!((found.end, starts), (ScanEnd::Clean, 1));

    // Another protocol is refused, but in words that both sides understand.
    let stored = read("frames/Hello");
    for frame in frames(&stored) {
        let hello = Hello::decode(&frame).unwrap();
        assert_eq!(
            hello.check(None, None),
            Err(Refusal::Version {
                ours: PROTOCOL_VERSION
            })
        );
    }
    let stored = read("frames/Refusal");
    let old = frames(&stored);
    let old = old.iter().map(|frame| Refusal::decode(frame).unwrap());
    assert_eq!(old.collect::<Vec<_>>(), refusals()[..8]);
}

/// One version of the machine, which the header says.
#[test]
fn what_versions_3_and_5_wrote_is_still_read() {
    for version in ["v3", "v5"] {
        let stored = std::fs::read(path_in(version).join("segment")).unwrap();
        assert_eq!(SegmentHeader::decode(&stored), Ok(header()));
        let mut starts = Vec::new();
        let found = scan(&stored[SEGMENT_HEADER_BYTES..], header().before, |entry| {
            assert!(entry.has_sound_payload());
            assert_eq!(entry.version_start(), None);
            if entry.header.kind == EntryKind::ViewStart {
                starts.extend(ViewStart::decode(entry.payload));
            }
        });
        let without_version = ViewStart {
            machine_version: None,
            ..view_start(Durability::Os)
        };
        assert_eq!((found.end, starts), (ScanEnd::Clean, vec![without_version]));
    }
}

#[test]
fn what_version_2_wrote_is_still_read() {
    let stored = std::fs::read(path_in("v2").join("segment")).unwrap();
    assert_eq!(SegmentHeader::decode(&stored), Ok(header()));
    let mut starts = Vec::new();
    let found = scan(&stored[SEGMENT_HEADER_BYTES..], header().before, |entry| {
        assert!(entry.has_sound_payload());
        if entry.header.kind == EntryKind::ViewStart {
            starts.extend(ViewStart::decode(entry.payload));
        }
    });
    let without_skips = ViewStart {
        skips: Vec::new(),
        machine_version: None,
        ..view_start(Durability::Os)
    };
    assert_eq!((found.end, starts), (ScanEnd::Clean, vec![without_skips]));
}

#[test]
fn tokens_and_levels_are_as_they_were() {
    // Tokens name holders in the record: were their variants reordered, old records would name others.
    let a = identity("a");
    let tokens = [Durability::Memory, Durability::Os, Durability::Disk].map(|level| a.token(level));
    let mut now = Vec::new();
    encode_payload(&tokens.to_vec(), &mut now);
    let stored = golden("tokens", &now);
    assert_eq!(decode_payload::<Vec<Token>>(&stored), Some(tokens.to_vec()));
}

#[test]
fn evidence_is_as_it_was() {
    let reply = |chain: u128, status: ReplyStatus, length: u32, bytes: Option<Vec<u8>>| KeptReply {
        chain: DigestChain(chain),
        status: status as u8,
        length,
        bytes,
    };
    let long: Vec<u8> = (0..REPLY_KEPT_BYTES_MAX)
        .map(|at| u8::try_from(at % 256).unwrap())
        .collect();
    let state = |index: u64| RecordedState {
        index: Index(index),
        reply_digest: 0x4142_4344_4546_4748_494a_4b4c_4d4e_4f50,
        state_digest: 0x5152_5354_5556_5758_595a_5b5c_5d5e_5f60,
    };
    let evidence = Evidence {
        store: StoreId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        before: Index(79_999),
        chain: DigestChain(0x3132_3334_3536_3738_393a_3b3c_3d3e_3f40),
        replies: vec![
            reply(1, ReplyStatus::Done, 3, Some(b"yes".to_vec())),
            reply(2, ReplyStatus::Done, 70_000, Some(long)),
            reply(3, ReplyStatus::Done, 9, None),
            reply(4, ReplyStatus::SessionUnknown, 0, Some(Vec::new())),
        ],
        states: vec![state(70_000), state(80_000)],
    };
    let stored = golden("evidence", &evidence.encode());
    assert_eq!(Evidence::decode(&stored), Ok(evidence));
    let mut newer = stored;
    newer[8] = 2;
    assert_eq!(Evidence::decode(&newer), Err(EvidenceError::Version(2)));
}

fn point() -> SnapshotPoint {
    SnapshotPoint {
        cluster: record(Reason::Joined).cluster,
        machine: machine(),
        data_epoch: view().data_epoch,
        failed_version: 0,
        tip: tip(),
        view_first: Index(79_000),
        reply_digest: DigestChain(0x3132_3334_3536_3738_393a_3b3c_3d3e_3f40),
    }
}

#[test]
fn a_snapshot_is_as_it_was() {
    let state: Vec<u8> = (0..=255).collect();
    let stored = golden("snapshot", &encode_snapshot(point(), &state));
    let header = SnapshotHeader {
        point: point(),
        state_digest: digest(&state),
        state_bytes: 256,
    };
    let mut reader = SnapshotReader::new();
    let mut rest = &stored[..];
    let block = reader.next(&mut rest).unwrap().map(<[u8]>::to_vec);
    assert_eq!(block, Some(state));
    assert_eq!(reader.next(&mut rest), Ok(None));
    assert_eq!(reader.finish(), Ok(header));
    // One of several blocks is too long to be kept.
    let state: Vec<u8> = (0..=250)
        .cycle()
        .take(SNAPSHOT_BLOCK_BYTES * 5 / 2)
        .collect();
    let long = encode_snapshot(point(), &state);
    assert_eq!(long.len(), 655_584);
    assert_eq!(digest(&long), 0xa23c84cfd2a7bf9f678c5e506eb29e6);
}

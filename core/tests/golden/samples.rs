//! What the fixed contents are made of.

use super::*;

pub(crate) fn name(text: &str) -> ReplicaName {
    ReplicaName::new(text).unwrap()
}

pub(crate) fn machine() -> MachineId {
    MachineId::new("counter", 1).unwrap()
}

pub(crate) fn view() -> ViewId {
    ViewId {
        data_epoch: DataEpoch(2),
        view: ViewNumber(300),
    }
}

pub(crate) fn seen() -> Seen {
    Seen {
        view: view(),
        index: Index(70_000),
    }
}

pub(crate) fn life(start: u64) -> Life {
    Life {
        boot: BootId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        incarnation: Incarnation {
            start,
            nonce: 0x1112_1314_1516_1718,
        },
    }
}

pub(crate) fn identity(text: &str) -> Identity {
    Identity {
        name: name(text),
        store: StoreId(0x2122_2324_2526_2728_292a_2b2c_2d2e_2f30),
        life: life(3),
        clean_lives: vec![life(1), life(2)],
    }
}

pub(crate) fn tip() -> LogTip {
    LogTip {
        index: Index(80_000),
        view: ViewNumber(299),
        chain: 0xdead_beef,
        time: WallTime(1_700_000_000_000_000_000),
    }
}

pub(crate) fn standing(role: RoleName) -> Standing {
    Standing {
        view: view(),
        role,
        last: tip(),
        commit: Index(79_999),
        applied: Index(79_998),
        reply_digest: 0x3132_3334_3536_3738_393a_3b3c_3d3e_3f40,
    }
}

pub(crate) fn peer(text: &str) -> Peer {
    Peer {
        identity: identity(text),
        address: "127.0.0.1:7101".to_owned(),
        unseen_ms: 130,
    }
}

pub(crate) const ROLES: [RoleName; 5] = [
    RoleName::Primary,
    RoleName::Candidate,
    RoleName::Backup,
    RoleName::Spare,
    RoleName::Quarantined,
];

pub(crate) const ROOMS: [Room; 3] = [Room::Enough, Room::Lacking, Room::Out];

pub(crate) fn lag(store: StoreId) -> Lag {
    Lag {
        store,
        unacknowledged_ms: 130,
        unapplied_ms: 70_000,
    }
}

pub(crate) const REASONS: [Reason; 10] = [
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
pub(crate) fn skips(reason: Reason) -> Vec<Skip> {
    let skip = |index| Skip {
        index: Index(index),
        view: ViewNumber(299),
    };
    match reason {
        Reason::LeaseExpired | Reason::Activated => vec![skip(70_001), skip(79_999)],
        _ => Vec::new(),
    }
}

pub(crate) fn record(reason: Reason) -> ViewRecord {
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

pub(crate) fn refusals() -> Vec<Refusal> {
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

pub(crate) fn header() -> SegmentHeader {
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

pub(crate) fn view_start(durability: Durability) -> ViewStart {
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

pub(crate) const CLOSED: CloseSessionEntry = CloseSessionEntry { session: 80_002 };
pub(crate) const FIRED: TimerFired = TimerFired {
    id: 17,
    deadline: WallTime(1_700_000_001_000_000_000),
};
pub(crate) const COMMAND: Command<'_> = Command {
    session: 80_002,
    sequence: 1,
    acknowledged: 0,
    bytes: b"add 1",
};

/// Every kind of entry.
pub(crate) fn batch() -> Batch {
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

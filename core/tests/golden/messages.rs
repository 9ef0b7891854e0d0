//! Every kind of frame.

use super::samples::*;
use super::*;

fn hellos() -> Vec<Hello> {
    let cluster = record(Reason::Joined).cluster;
    vec![
        Hello::new(Party::Client, None, None),
        Hello::new(Party::Replica, Some(cluster), Some(machine())),
        Hello::new(Party::ViewService, Some(cluster), None),
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
    check_several(frames);
    frames.messages(&[Inspect]);
    frames.messages(&[InspectReply {
        name: name("a"),
        incarnation: life(3).incarnation,
        standing: standing(RoleName::Backup),
        state_digest: u128::MAX - 1,
        sessions: 50,
    }]);
}

fn check_several(frames: &mut Frames) {
    let bytes = [b"add 1".as_slice(), b"", b"add 23"];
    let commands = |first: u64| {
        (first..).zip(bytes).map(move |(id, bytes)| CommandRequest {
            id,
            seen: seen(),
            session: 4711,
            sequence: id + 10,
            acknowledged: 12,
            bytes,
        })
    };
    let firsts = [3_u64, 300];
    let write = |at: usize, out: &mut Vec<u8>| out.extend_from_slice(bytes[at]);
    frames.check(
        FrameKind::Commands,
        &firsts,
        |first, out| {
            let head = commands(*first).next().unwrap();
            CommandRequests::encode(&head, bytes.len(), write, out);
        },
        |frame, first| {
            CommandRequests::decode(frame).is_ok_and(|it| {
                it.iter().count() == bytes.len()
                    && it
                        .iter()
                        .zip(commands(*first))
                        .all(|(one, other)| one == other)
            })
        },
    );
    let queries = |consistency| {
        (4..).zip(bytes).map(move |(id, bytes)| QueryRequest {
            id,
            seen: seen(),
            consistency,
            bytes,
        })
    };
    let consistencies = [
        Consistency::Confirmed,
        Consistency::Lease,
        Consistency::Stale,
    ];
    frames.check(
        FrameKind::Queries,
        &consistencies,
        |consistency, out| {
            let head = queries(*consistency).next().unwrap();
            QueryRequests::encode(&head, bytes.len(), write, out);
        },
        |frame, consistency| {
            QueryRequests::decode(frame).is_ok_and(|it| {
                it.iter().count() == bytes.len()
                    && it
                        .iter()
                        .zip(queries(*consistency))
                        .all(|(one, other)| one == other)
            })
        },
    );
    let statuses = [
        ReplyStatus::Done,
        ReplyStatus::SequenceGap,
        ReplyStatus::NoRoom,
    ];
    let replies = |is_solo| {
        (5..)
            .zip(statuses)
            .zip(bytes)
            .map(move |((id, status), bytes)| Reply {
                id,
                status,
                seen: seen(),
                is_solo,
                bytes,
            })
    };
    frames.check(
        FrameKind::Replies,
        &[true, false],
        |is_solo, out| encode_replies(replies(*is_solo), out),
        |frame, is_solo| {
            Replies::decode(frame).is_ok_and(|it| {
                it.iter().count() == bytes.len()
                    && it
                        .iter()
                        .zip(replies(*is_solo))
                        .all(|(one, other)| one == other)
            })
        },
    );
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

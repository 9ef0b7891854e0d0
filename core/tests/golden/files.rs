//! What stands in files: entries, snapshots, evidence.

use super::samples::*;
use super::*;

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
            EntryKind::Handover | EntryKind::Direct | EntryKind::Upgrade | EntryKind::Run => {
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
fn a_run_of_commands_is_as_it_was() {
    let before = batch().tip();
    let stamp = BatchStamp {
        view: before.view,
        time: before.time,
        seed: 10,
        commit: before.index,
    };
    let next = Command {
        sequence: COMMAND.sequence + 1,
        acknowledged: COMMAND.acknowledged + 1,
        bytes: b"",
        ..COMMAND
    };
    let mut builder = BatchBuilder::new(before, stamp);
    builder.push(EntryKind::Run, |out| Run::encode(&[COMMAND, next], out));
    let now = builder.finish().unwrap();
    let stored = golden("run", now.bytes());
    let entry = Entry::decode(&stored).unwrap();
    assert_eq!(entry.header.kind, EntryKind::Run);
    assert!(entry.has_sound_payload());
    let first = Command {
        acknowledged: next.acknowledged,
        ..COMMAND
    };
    assert_eq!(entry.commands().collect::<Vec<_>>(), [first, next]);
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
fn what_version_6_wrote_is_still_read() {
    let stored = std::fs::read(path_in("v6").join("segment")).unwrap();
    assert_eq!(SegmentHeader::decode(&stored), Ok(header()));
    let entries = &stored[SEGMENT_HEADER_BYTES..];
    let found = scan(entries, header().before, |entry| {
        assert!(entry.has_sound_payload())
    });
    assert_eq!((found.end, found.tip), (ScanEnd::Clean, batch().tip()));
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

//! What must hold for any bytes: nothing panics, and nothing damaged passes for something else.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use proptest::collection::vec;
use proptest::prelude::*;
use standin_core::address::{ADDRESS_BYTES_MAX, Address};
use standin_core::capture::SnapshotMark;
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, Command, Entry, EntryKind, Index, LogTip,
};
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind, encode_frame};
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId, Token,
};
use standin_core::machine::MachineId;
use standin_core::mark::{Fatal, FatalEntry};
use standin_core::message::*;
use standin_core::poison::{Poison, SKIPS_MAX, Skip};
use standin_core::segment::{SEGMENT_HEADER_BYTES, ScanEnd, SegmentHeader, scan};
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewId, ViewNumber, ViewRecord};

fn decode(bytes: &[u8]) -> Option<Frame<'_>> {
    Frame::decode(bytes, FRAME_PAYLOAD_BYTES_MAX).ok().flatten()
}

/// Decodes a frame as every message there is, and says how many it can be read as.
fn decode_as_everything(frame: &Frame<'_>) -> usize {
    fn one<T: Message>(frame: &Frame<'_>) -> usize {
        usize::from(T::decode(frame).is_ok())
    }
    let control = one::<Hello>(frame)
        + one::<Refusal>(frame)
        + one::<Report>(frame)
        + one::<ReportReply>(frame)
        + one::<Swap>(frame)
        + one::<SwapReply>(frame)
        + one::<Release>(frame)
        + one::<TokenDead>(frame)
        + one::<TokenDeadReply>(frame)
        + one::<Lookup>(frame)
        + one::<LookupReply>(frame)
        + one::<StatusRequest>(frame)
        + one::<Force>(frame)
        + one::<ForceReply>(frame)
        + one::<Switchover>(frame)
        + one::<SwitchoverReply>(frame)
        + one::<Leave>(frame)
        + one::<StatusReply>(frame)
        + one::<Follow>(frame)
        + one::<Resume>(frame)
        + one::<HigherView>(frame)
        + one::<OpenSession>(frame)
        + one::<CloseSession>(frame)
        + one::<Inspect>(frame)
        + one::<InspectReply>(frame)
        + one::<SnapshotOffer>(frame)
        + one::<SnapshotRead>(frame)
        + one::<StateDigest>(frame)
        + one::<EntriesRead>(frame);
    // These look at the payload only: who calls them has looked at the kind.
    let _ = CommandRequest::decode(frame);
    let _ = DirectRequest::decode(frame);
    let _ = QueryRequest::decode(frame);
    let _ = Reply::decode(frame);
    let _ = Entries::decode(frame);
    let _ = Ack::decode(frame);
    let _ = SnapshotPiece::decode(frame);
    let _ = EntriesPiece::decode(frame);
    control
}

const KINDS: [FrameKind; 37] = [
    FrameKind::Hello,
    FrameKind::Refusal,
    FrameKind::Report,
    FrameKind::ReportReply,
    FrameKind::Swap,
    FrameKind::SwapReply,
    FrameKind::Release,
    FrameKind::TokenDead,
    FrameKind::TokenDeadReply,
    FrameKind::Lookup,
    FrameKind::LookupReply,
    FrameKind::StatusRequest,
    FrameKind::Force,
    FrameKind::ForceReply,
    FrameKind::Switchover,
    FrameKind::SwitchoverReply,
    FrameKind::Leave,
    FrameKind::StatusReply,
    FrameKind::Follow,
    FrameKind::Resume,
    FrameKind::Entries,
    FrameKind::Ack,
    FrameKind::HigherView,
    FrameKind::SnapshotOffer,
    FrameKind::SnapshotRead,
    FrameKind::SnapshotPiece,
    FrameKind::StateDigest,
    FrameKind::EntriesRead,
    FrameKind::EntriesPiece,
    FrameKind::OpenSession,
    FrameKind::CloseSession,
    FrameKind::Command,
    FrameKind::Query,
    FrameKind::Reply,
    FrameKind::Inspect,
    FrameKind::InspectReply,
    FrameKind::Direct,
];

prop_compose! {
    fn any_view()(data_epoch: u32, view: u64) -> ViewId {
        ViewId { data_epoch: DataEpoch(data_epoch), view: ViewNumber(view) }
    }
}

prop_compose! {
    fn any_seen()(view in any_view(), index: u64) -> Seen {
        Seen { view, index: Index(index) }
    }
}

prop_compose! {
    fn any_life()(boot: u128, start: u64, nonce: u64) -> Life {
        Life { boot: BootId(boot), incarnation: Incarnation { start, nonce } }
    }
}

prop_compose! {
    fn any_identity()(
        name in "[a-z0-9][a-z0-9_-]{0,31}",
        store: u128,
        life in any_life(),
        clean_lives in vec(any_life(), 0..8),
    ) -> Identity {
        let name = ReplicaName::new(name).unwrap();
        Identity { name, store: StoreId(store), life, clean_lives }
    }
}

prop_compose! {
    fn any_tip()(index: u64, view: u64, chain: u32, time: u64) -> LogTip {
        LogTip { index: Index(index), view: ViewNumber(view), chain, time: WallTime(time) }
    }
}

prop_compose! {
    fn any_address()(host in "[!-~]{1,40}", port in 1..=u16::MAX) -> Address {
        Address::new(format!("{host}:{port}")).unwrap()
    }
}

fn any_role() -> impl Strategy<Value = RoleName> {
    prop::sample::select(vec![
        RoleName::Primary,
        RoleName::Candidate,
        RoleName::Backup,
        RoleName::Spare,
        RoleName::Quarantined,
    ])
}

prop_compose! {
    fn any_standing()(
        view in any_view(),
        role in any_role(),
        last in any_tip(),
        numbers in any::<[u64; 2]>(),
        reply_digest: u128,
    ) -> Standing {
        let [commit, applied] = numbers.map(Index);
        Standing { view, role, last, commit, applied, reply_digest }
    }
}

prop_compose! {
    fn any_peer()(
        identity in any_identity(),
        address in "[ -~]{0,40}",
        unseen_ms: u64,
    ) -> Peer {
        Peer { identity, address, unseen_ms }
    }
}

fn any_token() -> impl Strategy<Value = Token> {
    (any::<u128>(), any_life(), 0..3).prop_map(|(store, life, level)| {
        let store = StoreId(store);
        match level {
            0 => Token::Memory {
                store,
                incarnation: life.incarnation,
            },
            1 => Token::Os {
                store,
                boot: life.boot,
            },
            _ => Token::Disk { store },
        }
    })
}

fn any_reason() -> impl Strategy<Value = Reason> {
    prop::sample::select(vec![
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
    ])
}

prop_compose! {
    fn any_skip()(index: u64, view: u64) -> Skip {
        Skip { index: Index(index), view: ViewNumber(view) }
    }
}

prop_compose! {
    fn any_record()(
        cluster: u128,
        view in any_view(),
        primary in any_identity(),
        backup in proptest::option::of(any_identity()),
        tokens in vec(any_token(), 1..3),
        active: bool,
        term_ms: u32,
        reason in any_reason(),
        skips in vec(any_skip(), 0..SKIPS_MAX),
    ) -> ViewRecord {
        let name = &primary.name;
        ViewRecord {
            cluster: ClusterId(cluster),
            data_epoch: view.data_epoch,
            view: view.view,
            primary: Member::of(&primary),
            backup: backup.as_ref().map(Member::of),
            holders: tokens.into_iter().map(|token| Holder { name: name.clone(), token }).collect(),
            active,
            term_ms,
            reason,
            skips,
        }
    }
}

fn any_machine() -> impl Strategy<Value = MachineId> {
    ("[!-~]{1,32}", any::<u32>())
        .prop_map(|(name, version)| MachineId::new(&name, version).unwrap())
}

fn any_refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        any::<u32>().prop_map(|ours| Refusal::Version { ours }),
        any::<u128>().prop_map(|ours| Refusal::OtherCluster {
            ours: ClusterId(ours)
        }),
        any_machine().prop_map(|ours| Refusal::OtherMachine { ours }),
        any::<u128>().prop_map(|store| Refusal::NameTaken {
            store: StoreId(store)
        }),
        Just(Refusal::TooManyReplicas),
        vec("[a-z][a-z0-9]{0,31}", 0..17).prop_map(|names| {
            let names = names
                .into_iter()
                .map(|name| ReplicaName::new(name).unwrap());
            Refusal::NamesTaken {
                names: names.collect(),
            }
        }),
        Just(Refusal::RepliesDiffer),
        Just(Refusal::Protocol),
        Just(Refusal::Busy),
        Just(Refusal::Superseded),
        Just(Refusal::TokenDead),
    ]
}

prop_compose! {
    /// A log's end that leaves room for entries after it.
    fn any_start()(
        index in 0..u64::MAX / 2,
        view in 0..u64::MAX / 2,
        chain: u32,
        time in 0..u64::MAX / 2,
    ) -> LogTip {
        LogTip { index: Index(index), view: ViewNumber(view), chain, time: WallTime(time) }
    }
}

prop_compose! {
    /// A batch and what it follows.
    fn any_batch()(
        before in any_start(),
        later in 0..1000_u64,
        seed: u64,
        commit: u64,
        begins_view: bool,
        payloads in vec(vec(any::<u8>(), 0..200), 1..8),
    ) -> (LogTip, Batch) {
        let stamp = BatchStamp {
            view: if begins_view { before.view.next() } else { before.view },
            time: WallTime(before.time.0 + later),
            seed,
            commit: Index(commit),
        };
        let mut builder = BatchBuilder::new(before, stamp);
        for (number, payload) in payloads.iter().enumerate() {
            let kind = match number {
                0 if begins_view => EntryKind::ViewStart,
                1 => EntryKind::Direct,
                _ => EntryKind::Command,
            };
            builder.push(kind, |out| out.extend_from_slice(payload));
        }
        (before, builder.finish().unwrap())
    }
}

proptest! {
    #[test]
    fn any_bytes_may_be_offered_to_any_decoder(bytes in vec(any::<u8>(), 0..600)) {
        if let Some(frame) = decode(&bytes) {
            decode_as_everything(&frame);
        }
        let _ = Frame::decode_again(&bytes);
        let _ = Entry::decode(&bytes);
        let _ = Batch::verify(bytes.clone(), LogTip::default());
        let _ = Command::decode(&bytes);
        let _ = SegmentHeader::decode(&bytes);
        scan(&bytes, LogTip::default(), |_| {});
    }

    #[test]
    fn any_payload_may_come_in_a_good_frame(
        kind in 0..KINDS.len(),
        payload in vec(any::<u8>(), 0..600),
    ) {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, KINDS[kind], |out| out.extend_from_slice(&payload));
        let frame = decode(&bytes).unwrap();
        prop_assert_eq!(frame.payload, &payload);
        // Small numbers are what postcard takes for variants and short lengths.
        prop_assert!(decode_as_everything(&frame) <= 1, "read as two messages");
    }

    #[test]
    fn payloads_of_small_numbers_get_further_and_no_worse(
        kind in 0..KINDS.len(),
        payload in vec(0..4_u8, 0..600),
    ) {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, KINDS[kind], |out| out.extend_from_slice(&payload));
        prop_assert!(decode_as_everything(&decode(&bytes).unwrap()) <= 1);
    }

    #[test]
    fn a_frame_reads_back_and_neither_its_beginnings_nor_its_damaged_forms_do(
        kind in 0..KINDS.len(),
        payload in vec(any::<u8>(), 0..100),
        after in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, KINDS[kind], |out| out.extend_from_slice(&payload));
        let length = bytes.len();
        bytes.extend_from_slice(&after);
        let frame = decode(&bytes).unwrap();
        prop_assert_eq!((frame.kind, frame.payload, frame.len()), (KINDS[kind], &*payload, length));
        for cut in 0..length {
            let is_waiting = matches!(Frame::decode(&bytes[..cut], FRAME_PAYLOAD_BYTES_MAX), Ok(None));
            prop_assert!(is_waiting, "cut at {}", cut);
        }
        for bit in 0..length * 8 {
            let mut damaged = bytes[..length].to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&damaged).is_none(), "bit {}", bit);
        }
    }

    #[test]
    fn a_batch_reads_back_and_neither_its_beginnings_nor_its_damaged_forms_do(
        (before, batch) in any_batch(),
    ) {
        let bytes = batch.bytes();
        prop_assert_eq!(&Batch::verify(bytes.to_vec(), before).unwrap(), &batch);
        let mut ends = vec![0];
        for entry in batch.entries() {
            ends.push(ends.last().unwrap() + usize::try_from(entry.header.length).unwrap());
        }
        for cut in 0..bytes.len() {
            match Batch::verify(bytes[..cut].to_vec(), before) {
                Ok(shorter) => {
                    prop_assert!(ends.contains(&cut));
                    prop_assert_eq!(shorter.bytes(), &bytes[..cut]);
                }
                Err(_) => prop_assert!(cut == 0 || !ends.contains(&cut)),
            }
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Batch::verify(damaged, before).is_err(), "bit {}", bit);
        }
    }

    #[test]
    fn a_scan_never_finds_other_entries_than_were_written(
        (before, batch) in any_batch(),
        bit in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        zeros in 0..100_usize,
    ) {
        let bytes = batch.bytes();
        let beginning = |found: &[u8]| bytes.starts_with(found);
        let mut damaged = bytes.to_vec();
        let bit = bit.index(bytes.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        damaged.resize(damaged.len() + zeros, 0);
        let found = scan(&damaged, before, |_| {});
        prop_assert!(beginning(&damaged[..found.bytes]));
        prop_assert!(found.bytes <= bit / 8);
        prop_assert_ne!(found.end, ScanEnd::Clean, "a changed entry is no clean end");

        let cut = cut.index(bytes.len());
        let mut torn = bytes[..cut].to_vec();
        torn.resize(bytes.len() + zeros, 0);
        let found = scan(&torn, before, |_| {});
        prop_assert!(beginning(&torn[..found.bytes]));
        prop_assert!(!matches!(found.end, ScanEnd::Gap(..) | ScanEnd::Damaged(_)), "cutting short is not damage");
    }

    #[test]
    fn a_segment_header_reads_back_and_its_beginnings_do_not(
        cluster: u128,
        store: u128,
        name in "[!-~]{1,32}",
        version: u32,
        before in any_start(),
    ) {
        let header = SegmentHeader {
            cluster: ClusterId(cluster),
            store: StoreId(store),
            machine: MachineId::new(&name, version).unwrap(),
            before,
        };
        let bytes = header.encode();
        prop_assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
        prop_assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for cut in 0..bytes.len() {
            prop_assert!(SegmentHeader::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn requests_and_replies_read_back(
        id: u64,
        seen in any_seen(),
        numbers in any::<[u64; 3]>(),
        choice in 0..3_usize,
        is_solo: bool,
        bytes in vec(any::<u8>(), 0..100),
    ) {
        let [session, sequence, acknowledged] = numbers;
        let mut out = Vec::new();
        let command = CommandRequest { id, seen, session, sequence, acknowledged, bytes: &bytes };
        command.encode(&mut out);
        prop_assert_eq!(CommandRequest::decode(&decode(&out).unwrap()), Ok(command));

        let direct = DirectRequest { id, seen, bytes: &bytes };
        out.clear();
        direct.encode(&mut out);
        prop_assert_eq!(DirectRequest::decode(&decode(&out).unwrap()), Ok(direct));

        let consistency =
            [Consistency::Confirmed, Consistency::Lease, Consistency::Stale][choice];
        let query = QueryRequest { id, seen, consistency, bytes: &bytes };
        out.clear();
        query.encode(&mut out);
        prop_assert_eq!(QueryRequest::decode(&decode(&out).unwrap()), Ok(query));

        let status =
            [ReplyStatus::Done, ReplyStatus::OutcomeUnknown, ReplyStatus::Overloaded][choice];
        let reply = Reply { id, status, seen, is_solo, bytes: &bytes };
        out.clear();
        reply.encode(&mut out);
        prop_assert_eq!(Reply::decode(&decode(&out).unwrap()), Ok(reply));
    }

    #[test]
    fn entries_and_acknowledgements_read_back(
        view in any_view(),
        numbers in any::<[u64; 4]>(),
        reply_digest: u128,
        room in prop::sample::select(vec![Room::Enough, Room::Lacking, Room::Out]),
        bytes in vec(any::<u8>(), 0..100),
    ) {
        let [nonce, round, one, other] = numbers;
        let mut out = Vec::new();
        let entries = Entries { nonce, view, round, commit: Index(one), bytes: &bytes };
        entries.encode(&mut out);
        prop_assert_eq!(Entries::decode(&decode(&out).unwrap()), Ok(entries));

        let ack = Ack {
            nonce,
            view,
            round,
            durable: Index(one),
            applied: Index(other),
            reply_digest,
            room,
        };
        out.clear();
        ack.encode(&mut out);
        prop_assert_eq!(Ack::decode(&decode(&out).unwrap()), Ok(ack));
    }

    #[test]
    fn messages_of_a_handshake_read_back_whole_or_not_at_all(
        party in prop::sample::select(vec![Party::Client, Party::Replica, Party::ViewService]),
        cluster in proptest::option::of(any::<u128>()),
        machine in proptest::option::of(any_machine()),
        refusal in any_refusal(),
    ) {
        check_whole(&Hello::new(party, cluster.map(ClusterId), machine))?;
        check_whole(&refusal)?;
    }

    #[test]
    fn what_replicas_tell_the_view_service_reads_back_whole_or_not_at_all(
        number: u64,
        identity in any_identity(),
        address in "[ -~]{0,60}",
        standing in any_standing(),
        renew in proptest::option::of(any_view()),
        replace: bool,
        records in (any_record(), any_record()),
    ) {
        let (expected, proposed) = records;
        let view = expected.id();
        let trouble = replace.then(|| address.clone());
        check_whole(&Swap { number, identity: identity.clone(), expected, proposed })?;
        check_whole(&Release { identity: identity.clone(), view })?;
        let dead = TokenDead { store: identity.store, boot: identity.life.boot };
        check_whole(&dead)?;
        check_whole(&TokenDeadReply { dead })?;
        let member = Member::of(&identity);
        check_whole(&Died { member: member.clone() })?;
        check_whole(&DiedReply { member })?;
        let lag = Lag { store: identity.store, unacknowledged_ms: number, unapplied_ms: 7 };
        let lags = vec![lag; usize::from(replace)];
        let room = if replace { Room::Lacking } else { Room::Enough };
        check_whole(&Report {
            number, identity, address, standing, renew, replace, trouble, room, lags,
        })?;
    }

    #[test]
    fn what_the_view_service_tells_reads_back_whole_or_not_at_all(
        number: u64,
        record in proptest::option::of(any_record()),
        granted: bool,
        wall: u64,
        peers in vec(any_peer(), 0..3),
        standing in proptest::option::of(any_standing()),
        words in proptest::option::of("\\PC{0,40}"),
        term_ms: u32,
    ) {
        let (wall, cluster) = (WallTime(wall), ClusterId(number.into()));
        let replicas = peers.iter().map(|peer| ReplicaStatus {
            peer: peer.clone(),
            standing,
            is_alive: granted,
            trouble: words.clone(),
            room: granted.then_some(Room::Out),
            behind_ms: granted.then_some(number),
        });
        let replicas = replicas.collect();
        check_whole(&LookupReply {
            view: record.as_ref().map(ViewRecord::id),
            primary: words.clone(),
            term_ms,
        })?;
        check_whole(&HistoryRequest)?;
        let views = peers.iter().zip(&record).map(|(peer, record)| PastView {
            view: record.id(),
            began: granted.then_some(wall),
            primary: peer.identity.name.clone(),
            backup: record.backup.as_ref().map(|backup| backup.name.clone()),
            cause: record.reason,
            is_active: granted,
            gap_ms: granted.then_some(number),
        });
        let views = views.collect();
        check_whole(&HistoryReply { views, remark: words.clone() })?;
        check_whole(&SwapReply { number, accepted: granted, record: record.clone(), wall })?;
        check_whole(&ReportReply { number, record: record.clone(), granted, wall, peers })?;
        check_whole(&StatusReply {
            cluster,
            record,
            term_ms,
            lease_remaining_ms: granted.then_some(number),
            replicas,
            unavailable: words.clone(),
            trouble: words,
        })?;
    }

    #[test]
    fn what_begins_a_stream_or_ends_it_reads_back_whole_or_not_at_all(
        nonce: u64,
        identity in any_identity(),
        view in any_view(),
        last in any_tip(),
        silence_ms: u32,
        durability in prop::sample::select(vec![
            Durability::Memory,
            Durability::Os,
            Durability::Disk,
        ]),
        view_starts in vec((any::<u64>(), any::<u64>()), 0..20),
        skips in vec(any_skip(), 0..20),
        words in ".{0,50}",
        resp in proptest::option::of(any_address()),
    ) {
        let view_starts = view_starts.into_iter();
        let view_starts = view_starts.map(|(view, at)| (ViewNumber(view), Index(at))).collect();
        if let Some(skip) = skips.first() {
            let life = identity.life.incarnation;
            let poison = Poison { skip: *skip, life, words };
            check_whole(&Poisoned { identity: identity.clone(), poison })?;
            let fatal = FatalEntry { entry: *skip, since: nonce, deaths: silence_ms };
            check_whole(&Fatal { identity: identity.clone(), fatal })?;
        }
        check_whole(&Witness { identity: identity.clone(), adopted: view, kept: None, holds: None, last })?;
        check_whole(&Follow { identity, view, last, view_starts, resp: resp.clone() })?;
        check_whole(&Resume { view, nonce, common: last, durability, silence_ms, skips, resp })?;
        check_whole(&HigherView { view })?;
    }

    #[test]
    fn a_stream_does_not_begin_with_an_address_that_is_none(
        identity in any_identity(),
        view in any_view(),
        last in any_tip(),
        text in prop_oneof![
            "\\PC{0,40}",
            "[ -~]{0,20}:[0-9]{0,6}",
            "[a-z]{1,9}[ \r\n\t][a-z]{0,9}:[1-9][0-9]{0,3}",
            any_address().prop_map(String::from),
            (ADDRESS_BYTES_MAX - 3..ADDRESS_BYTES_MAX + 3).prop_map(|host| format!("{}:1", "h".repeat(host))),
        ],
    ) {
        let without = |out: &mut Vec<u8>, is_follow: bool| {
            let (view_starts, skips) = (Vec::new(), Vec::new());
            let (identity, durability) = (identity.clone(), Durability::Os);
            if is_follow {
                encode_payload(&Follow { identity, view, last, view_starts, resp: None }, out);
            } else {
                let (nonce, silence_ms) = (1, 1);
                encode_payload(&Resume { view, nonce, common: last, durability, silence_ms, skips, resp: None }, out);
            }
            // In place of none: whatever text there is.
            assert_eq!(out.pop(), Some(0));
            encode_payload(&Some(&text), out);
        };
        let (mut follow, mut resume) = (Vec::new(), Vec::new());
        encode_frame(&mut follow, FrameKind::Follow, |out| without(out, true));
        encode_frame(&mut resume, FrameKind::Resume, |out| without(out, false));
        let follow = Follow::decode(&decode(&follow).unwrap()).map(|follow| follow.resp);
        let resume = Resume::decode(&decode(&resume).unwrap()).map(|resume| resume.resp);
        match Address::new(text.clone()) {
            Ok(address) => {
                prop_assert_eq!(follow, Ok(Some(address.clone())));
                prop_assert_eq!(resume, Ok(Some(address)));
            }
            Err(_) => prop_assert!(follow.is_err() && resume.is_err(), "{:?}", text),
        }
    }

    #[test]
    fn what_hands_a_snapshot_over_reads_back_whole_or_not_at_all(
        nonce: u64,
        view in any_view(),
        tip in any_tip(),
        view_first: u64,
        digests: (u128, u128),
        state_bytes: u64,
        length: u32,
    ) {
        let (reply_digest, state_digest) = digests;
        let mark = SnapshotMark {
            data_epoch: view.data_epoch,
            tip,
            view_first: Index(view_first),
            reply_digest,
        };
        let index = tip.index;
        let offer = SnapshotOffer { view, nonce, mark, state_digest, state_bytes };
        check_whole(&offer)?;
        if let Some(bytes) = offer.file_bytes() {
            prop_assert!(bytes > state_bytes && mark.is_sound());
        }
        check_whole(&SnapshotRead { nonce, index, offset: state_bytes, length })?;
        check_whole(&StateDigest { nonce, view, index, digest: state_digest })?;
        check_whole(&EntriesRead { after: tip })?;
    }

    #[test]
    fn the_small_requests_and_what_inspect_tells_read_back_whole_or_not_at_all(
        id: u64,
        seen in any_seen(),
        session: u64,
        identity in any_identity(),
        standing in any_standing(),
        state_digest: u128,
    ) {
        check_whole(&OpenSession { id, seen })?;
        check_whole(&CloseSession { id, seen, session })?;
        check_whole(&Lookup)?;
        check_whole(&StatusRequest)?;
        check_whole(&Inspect)?;
        let incarnation = identity.life.incarnation;
        let name = identity.name;
        check_whole(&InspectReply { name, incarnation, standing, state_digest, sessions: id })?;
    }

    #[test]
    fn frames_are_the_same_however_their_bytes_are_cut(
        payloads in vec((0..KINDS.len(), vec(any::<u8>(), 0..60)), 1..5),
        pieces in vec(1..40_usize, 1..5),
        after in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = Vec::new();
        for (kind, payload) in &payloads {
            encode_frame(&mut bytes, KINDS[*kind], |out| out.extend_from_slice(payload));
        }
        bytes.extend_from_slice(&after);
        let (mut arrived, mut taken, mut found) = (0, 0, Vec::new());
        for piece in pieces.iter().cycle() {
            arrived = bytes.len().min(arrived + piece);
            while let Some(frame) = decode(&bytes[taken..arrived]) {
                taken += frame.len();
                found.push((frame.kind, frame.payload.to_vec()));
            }
            if arrived == bytes.len() {
                break;
            }
        }
        let sent: Vec<_> =
            payloads.into_iter().map(|(kind, payload)| (KINDS[kind], payload)).collect();
        prop_assert!(found.starts_with(&sent), "{:?}", found);
        prop_assert_eq!(found.len(), sent.len(), "random bytes have no checksum that fits");
    }

    #[test]
    fn an_entry_that_still_stands_in_a_segment_is_found_or_reported_as_damage(
        (before, batch) in any_batch(),
        changes in vec((any::<prop::sample::Index>(), 1..=255_u8, 1..300_usize), 1..4),
        zeros in 0..100_usize,
    ) {
        let good = batch.bytes();
        let mut bytes = good.to_vec();
        bytes.resize(good.len() + zeros, 0);
        for (at, bits, blank) in changes {
            let at = at.index(bytes.len());
            if bits % 2 == 0 {
                bytes[at] ^= bits;
            } else {
                let end = bytes.len().min(at + blank);
                bytes[at..end].fill(0);
            }
        }
        let mut visited = Vec::new();
        let found = scan(&bytes, before, |entry| visited.push(entry.tip()));
        prop_assert!(good.starts_with(&bytes[..found.bytes]));
        let tips: Vec<LogTip> = batch.entries().map(|entry| entry.tip()).collect();
        prop_assert!(tips.starts_with(&visited), "an entry that was never written");
        let mut at = 0;
        for (number, entry) in batch.entries().enumerate() {
            let place = at..at + usize::try_from(entry.header.length).unwrap();
            at = place.end;
            if number >= visited.len() && bytes[place.clone()] == good[place] {
                let is_damage = matches!(found.end, ScanEnd::Damaged(_) | ScanEnd::Gap(..));
                prop_assert!(is_damage, "entry {} of {:?} is lost", number, found);
            }
        }
    }
}

/// Checks that a message reads back, and that no beginning of its payload does, nor more than it.
fn check_whole<T: Message + PartialEq + std::fmt::Debug>(message: &T) -> Result<(), TestCaseError> {
    let mut out = Vec::new();
    message.encode(&mut out);
    let frame = decode(&out).unwrap();
    prop_assert_eq!(&T::decode(&frame).unwrap(), message);
    for cut in 0..frame.payload.len() {
        let shorter = Frame {
            kind: frame.kind,
            payload: &frame.payload[..cut],
        };
        prop_assert!(T::decode(&shorter).is_err(), "cut at {}", cut);
    }
    let longer = [frame.payload, &[0]].concat();
    let longer = Frame {
        kind: frame.kind,
        payload: &longer,
    };
    prop_assert!(T::decode(&longer).is_err());
    Ok(())
}

//! Messages read back whole or not at all.

use proptest::collection::vec;
use proptest::prelude::*;
use standin_core::address::{ADDRESS_BYTES_MAX, Address};
use standin_core::capture::SnapshotMark;
use standin_core::entry::Index;
use standin_core::frame::{Frame, FrameKind, encode_frame};
use standin_core::identity::{ClusterId, Durability};
use standin_core::mark::{Fatal, FatalEntry};
use standin_core::message::*;
use standin_core::poison::Poison;
use standin_core::time::WallTime;
use standin_core::version::{VersionRange, VersionStanding};
use standin_core::view::{Member, ViewNumber, ViewRecord};

use crate::any::*;
use crate::decode;

proptest! {
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
        let supported = VersionRange { oldest: 1, newest: u32::MAX };
        let versions = replace.then_some(VersionStanding { executing: 300, supported });
        check_whole(&Report {
            number, identity, address, standing, renew, replace, trouble, room, lags, versions,
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
            versions: granted.then_some(VersionStanding {
                executing: term_ms,
                supported: VersionRange::only(term_ms),
            }),
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
        versions in any::<(u32, u32)>(),
    ) {
        let versions = VersionRange { oldest: versions.0, newest: versions.1 };
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
        check_whole(&Follow { identity, view, last, view_starts, resp: resp.clone(), versions })?;
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
            let mut behind = Vec::new();
            if is_follow {
                let versions = VersionRange::only(1);
                encode_payload(&versions, &mut behind);
                encode_payload(&Follow { identity, view, last, view_starts, resp: None, versions }, out);
            } else {
                let (nonce, silence_ms) = (1, 1);
                encode_payload(&Resume { view, nonce, common: last, durability, silence_ms, skips, resp: None }, out);
            }
            // In place of none: whatever text there is.
            out.truncate(out.len() - behind.len());
            assert_eq!(out.pop(), Some(0));
            encode_payload(&Some(&text), out);
            out.append(&mut behind);
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
        failed_version: u32,
    ) {
        let (reply_digest, state_digest) = digests;
        let mark = SnapshotMark {
            data_epoch: view.data_epoch,
            tip,
            view_first: Index(view_first),
            reply_digest,
            machine_version: length,
            failed_version,
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

//! Words of a replica, or of one who says so, that cannot be true.

use standin::machines::counter::encode_get;
use standin_core::entry::{Index, LogTip};
use standin_core::frame::{FrameKind, encode_frame};
use standin_core::identity::{CLEAN_LIVES_MAX, ClusterId, Identity, StoreId};
use standin_core::message::{
    ADDRESS_BYTES_MAX, Ack, Consistency, FOLLOW_VIEWS_MAX, Follow, HigherView, Party, QueryRequest,
    Refusal, Release, Report, ReportReply, Resume, Seen, Swap, SwapReply, encode_payload,
};
use standin_core::view::{ViewId, ViewNumber, ViewRecord};
use standin_tools::cluster::VIEW_SERVICE;
use standin_viewservice::TROUBLE_BYTES_MAX;

use crate::arena::Arena;
use crate::samples::{
    frame_of, highest_view, raw_frame, sample_ack, sample_follow, sample_identity, sample_query,
    sample_report,
};
use crate::{GROWTH_MAX, REPLICAS};

/// A replica, or who says so, can do much harm on purpose; but by what cannot be true it does none.
#[test]
fn impossible_words_of_a_replica_harm_nobody() {
    let arena = Arena::start();
    let primary = arena.primary();
    let identity = sample_identity("mallory");
    let replica = || arena.guest(&primary, Party::Replica);

    // Logs that cannot be.
    let starts = |list: &[(u64, u64)]| {
        let list = list
            .iter()
            .map(|(view, index)| (ViewNumber(*view), Index(*index)));
        list.collect::<Vec<_>>()
    };
    let last = LogTip {
        index: Index(u64::MAX),
        ..LogTip::default()
    };
    for view_starts in [
        starts(&[(1, 1), (u64::MAX, 0)]),
        starts(&[(1, 1), (1, 1), (1, 0)]),
        starts(&[(u64::MAX, u64::MAX), (0, 0)]),
        starts(&[(2, 0), (1, 1)]),
        starts(&[(1, 1), (3, u64::MAX), (2, 0)]),
        (0..FOLLOW_VIEWS_MAX as u64)
            .map(|n| (ViewNumber(n), Index(0)))
            .collect(),
    ] {
        let mut guest = replica();
        let follow = sample_follow(identity.clone(), arena.view);
        guest.say(&Follow {
            view_starts,
            last,
            ..follow
        });
        guest.say(&sample_follow(identity.clone(), arena.view));
        // Answered or closed: looked at, in any case.
        guest.hear();
    }
    // More than is allowed of anything.
    let mut long = identity.clone();
    long.clean_lives = vec![long.life; CLEAN_LIVES_MAX + 1];
    let too_many = vec![(ViewNumber(1), Index(1)); FOLLOW_VIEWS_MAX + 1];
    for follow in [
        sample_follow(long.clone(), arena.view),
        Follow {
            view_starts: too_many,
            ..sample_follow(identity.clone(), arena.view)
        },
        Follow {
            view_starts: vec![(ViewNumber(1), Index(1)); 900_000],
            ..sample_follow(identity.clone(), highest_view())
        },
    ] {
        let mut guest = replica();
        guest.say(&follow);
        let end = guest.is_closed("a follower with more than is allowed");
        assert_eq!(end.refusal(), Some(Refusal::Protocol));
    }

    // Addresses that are none, or longer than they may be.
    let none = Follow {
        resp: None,
        ..sample_follow(identity.clone(), arena.view)
    };
    for address in [
        "h:1\r\n-ERR".to_owned(),
        format!("{}:1", "h".repeat(ADDRESS_BYTES_MAX)),
        format!("{}:1", "h".repeat(1 << 20)),
    ] {
        let mut frame = Vec::new();
        encode_frame(&mut frame, FrameKind::Follow, |out| {
            encode_payload(&none, out);
            out.pop();
            encode_payload(&Some(address), out);
        });
        let mut guest = replica();
        guest.throw(&frame);
        let end = guest.is_closed("a follower at no possible address");
        assert_eq!(end.refusal(), Some(Refusal::Protocol));
    }

    // Acknowledgements of what was never sent.
    let mut guest = replica();
    guest.say(&sample_follow(identity.clone(), arena.view));
    let resume: Resume = guest.hear_message();
    guest.throw(&raw_frame(|out| {
        sample_ack(resume.nonce, arena.view).encode(out)
    }));
    guest.is_closed("an acknowledgement beyond the end of the log");

    // Acknowledgements without a stream, each with another history.
    let before = arena.log(&primary).lines().count();
    let mut guest = replica();
    let ack = Ack {
        applied: Index(1),
        ..sample_ack(1, arena.view)
    };
    let acks = raw_frame(|out| ack.encode(out)).repeat(5000);
    guest.throw(&acks);
    // An answer proves that all before was looked at.
    guest.say(&sample_follow(identity.clone(), ViewId::default()));
    assert_eq!(guest.hear_message::<HigherView>().view, arena.view);
    let after = arena.log(&primary).lines().count();
    assert!(
        after < before + 50,
        "{} lines for 5000 acknowledgements",
        after - before
    );

    // Views that nobody has.
    for name in REPLICAS {
        let mut guest = arena.guest(name, Party::Replica);
        let higher = frame_of(&HigherView {
            view: highest_view(),
        })
        .repeat(20_000);
        guest.throw(&higher);
        let mut client = arena.guest(name, Party::Client);
        let get = encode_get();
        let query = QueryRequest {
            seen: Seen {
                view: highest_view(),
                index: Index(u64::MAX),
            },
            ..sample_query(&get, Consistency::Confirmed)
        };
        let queries = raw_frame(|out| query.encode(out)).repeat(5000);
        client.throw(&queries);
        for _ in 0..5000 {
            let (kind, _) = client.hear().expect("a query is answered");
            assert_eq!(kind, FrameKind::Reply);
        }
        arena.witness.is_answered();
    }
    arena.ends_unharmed(GROWTH_MAX);
}

#[test]
fn impossible_words_to_the_view_service_change_nothing() {
    let arena = Arena::start();
    let primary = arena.primary();
    let a = arena.identity(&primary);
    let mallory = sample_identity("mallory");
    let record = arena.cluster.status().unwrap().record.unwrap();
    let mut offenders = 0;
    let mut refused = |report: Report, refusal: Option<Refusal>| {
        let mut guest = arena.guest(VIEW_SERVICE, Party::Replica);
        guest.say(&report);
        let end = guest.is_closed("an impossible report");
        match refusal {
            Some(refusal) => assert_eq!(end.refusal(), Some(refusal)),
            None => assert!(end.refusal().is_some()),
        }
        offenders += 1;
    };
    let base = sample_report(mallory.clone());
    let address = "x".repeat(ADDRESS_BYTES_MAX + 1);
    refused(
        Report {
            address,
            ..base.clone()
        },
        Some(Refusal::Protocol),
    );
    let mut long = mallory.clone();
    long.clean_lives = vec![long.life; 50_000];
    refused(sample_report(long), Some(Refusal::Protocol));
    let stolen_name = Identity {
        store: StoreId(1),
        ..a.clone()
    };
    refused(
        sample_report(stolen_name),
        Some(Refusal::NameTaken { store: a.store }),
    );
    let stolen_store = Identity {
        store: a.store,
        ..mallory.clone()
    };
    refused(sample_report(stolen_store), Some(Refusal::Protocol));
    let mut another = a.clone();
    another.life.incarnation.nonce ^= 1;
    refused(sample_report(another), Some(Refusal::Superseded));

    // Swaps that are no move, and a lease that is not the sender's to give back.
    let mut guest = arena.guest(VIEW_SERVICE, Party::Replica);
    for (identity, proposed) in [
        (mallory.clone(), record.drop_backup(&mallory)),
        (mallory.clone(), record.drop_backup(&a)),
        (
            a.clone(),
            ViewRecord {
                view: ViewNumber(u64::MAX),
                ..record.drop_backup(&a)
            },
        ),
        (
            a.clone(),
            ViewRecord {
                holders: vec![record.holders[0].clone(); 1000],
                ..record.clone()
            },
        ),
        (
            a.clone(),
            ViewRecord {
                cluster: ClusterId(1),
                ..record.drop_backup(&a)
            },
        ),
    ] {
        guest.say(&Swap {
            number: 5,
            identity,
            expected: record.clone(),
            proposed,
        });
        let reply: SwapReply = guest.hear_message();
        assert!(!reply.accepted);
        assert_eq!(reply.record.as_ref(), Some(&record));
    }
    guest.say(&Release {
        identity: mallory.clone(),
        view: record.id(),
    });
    guest.say(&Release {
        identity: a,
        view: highest_view(),
    });

    // As much as one may say of one's troubles is kept, and no more.
    let trouble = Some("woe ".repeat(100_000));
    guest.say(&Report { trouble, ..base });
    guest.hear_message::<ReportReply>();
    let status = arena.cluster.status().unwrap();
    let said = status
        .replicas
        .into_iter()
        .find_map(|replica| replica.trouble)
        .unwrap();
    assert!(said.len() <= TROUBLE_BYTES_MAX, "{} bytes", said.len());
    drop(guest);

    arena.complains(VIEW_SERVICE, offenders);
    arena.ends_unharmed(GROWTH_MAX);
}

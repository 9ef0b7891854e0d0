//! What a replica keeps of the record, and tells a view service that has lost it (`protocol.md` section 11).
#![allow(clippy::unwrap_used, reason = "tests")]

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::Token;
use standin_core::message::{Ack, Follow, JoinAsked, Kept, ReportReply, Room, Witness};
use standin_core::view::{Reason, ViewNumber};
use standin_replica::{Action, Event, Replica};

use crate::support::*;

const FOLLOWER: ConnId = ConnId(2);

/// A view service without a record answers.
fn ask(bench: &mut Bench) -> Vec<Witness> {
    let reply = ReportReply {
        number: bench.reports,
        record: None,
        granted: false,
        wall: bench.now.wall,
        peers: Vec::new(),
    };
    bench.event(Event::ReportReply(&reply));
    let told = bench.take(|action| matches!(action, Action::Witness(_)));
    let told = told.into_iter().map(|action| match action {
        Action::Witness(witness) => *witness,
        other => panic!("{other:?}"),
    });
    told.collect()
}

/// A lone primary that has asked to be joined by `b`. What it did for that, in order.
fn joining() -> (Bench, Vec<Action>) {
    let mut bench = Bench::primary();
    let last = bench.replica.standing().last;
    let follow = Follow {
        identity: identity("b", 1),
        view: view(1),
        last,
        view_starts: vec![(ViewNumber(1), Index(1))],
        resp: None,
        versions: standin_core::version::VersionRange::only(1),
    };
    bench.event(Event::Follow(FOLLOWER, &follow));
    let mut done = Vec::new();
    for _ in 0..10 {
        let sent = bench.take(|it| matches!(it, Action::Resume(..) | Action::Entries { .. }));
        for action in sent {
            let (nonce, round) = match action {
                Action::Resume(_, resume) => (resume.nonce, 0),
                Action::Entries { nonce, round, .. } => (nonce, round),
                other => panic!("{other:?}"),
            };
            let standing = bench.replica.standing();
            let ack = Ack {
                nonce,
                view: view(1),
                round,
                durable: standing.last.index,
                applied: standing.applied,
                reply_digest: standing.reply_digest,
                room: Room::Enough,
            };
            bench.event(Event::Ack(FOLLOWER, &ack));
        }
        done.extend(bench.take(|it| matches!(it, Action::Adopt(..) | Action::Swap(_))));
        if matches!(done.last(), Some(Action::Swap(_))) {
            return (bench, done);
        }
        bench.now.boot = bench
            .now
            .boot
            .plus(standin_core::time::Duration::from_millis(10));
        bench.event(Event::Deadline);
        bench.event(Event::Flush);
    }
    panic!("no Join is asked: {done:?}")
}

#[test]
fn a_join_is_kept_before_it_is_asked_and_told_to_who_has_lost_the_record() {
    let (mut bench, done) = joining();
    let [Action::Adopt(of, _, Some(kept)), Action::Swap(swap)] = done.as_slice() else {
        panic!("{done:?}")
    };
    assert_eq!((*of, swap.proposed.reason), (view(1), Reason::Joined));
    let b = JoinAsked {
        name: identity("b", 1).name,
        store: identity("b", 1).store,
    };
    assert_eq!(kept.joins, [b]);
    let [witness] = &ask(&mut bench)[..] else {
        panic!("one word of it")
    };
    assert_eq!(witness.adopted, view(1));
    let told = witness.kept.as_ref().unwrap();
    assert_eq!((&told.joins, &told.record), (&kept.joins, &swap.expected));
    assert!(told.record.active, "as it was read last");
    // The next life knows as much, but not what was read since.
    let mut config = config(
        identity("a", 2),
        view(1),
        standin_replica::Recovered::default(),
    );
    config.kept = Some((**kept).clone());
    config.holds = Some(Token::Disk {
        store: identity("a", 1).store,
    });
    let mut next = Bench::new(
        identity("a", 2),
        view(1),
        standin_replica::Recovered::default(),
    );
    next.replica = Replica::new(config, next.now);
    next.event(Event::ViewServiceUp);
    let [witness] = &ask(&mut next)[..] else {
        panic!("one word of it")
    };
    assert_eq!(witness.kept.as_ref(), Some(&**kept));
    assert_eq!(
        witness.holds,
        Some(Token::Disk {
            store: identity("a", 1).store
        })
    );
    // With a view of another it keeps nothing of that one.
    let record = swap
        .expected
        .depose(&identity("a", 2), Reason::PrimaryRestarted);
    next.tell(&record);
    assert!(
        ask(&mut next).is_empty(),
        "while a higher view is being adopted nothing is said"
    );
    let adopts = next.take(|action| matches!(action, Action::Adopt(..)));
    let [Action::Adopt(_, _, Some(kept))] = adopts.as_slice() else {
        panic!("{adopts:?}")
    };
    assert_eq!(**kept, Kept::of(&record));
}

#[test]
fn who_has_been_in_no_view_has_nothing_to_tell() {
    let mut bench = Bench::fresh("a");
    assert_eq!(ask(&mut bench), []);
}

//! What is told of a replica to probes and metrics.

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::{Identity, StoreId};
use standin_core::message::{Ack, Entries, Follow, Room, Seen};
use standin_core::time::Duration;
use standin_core::version::VersionRange;
use standin_core::view::ViewNumber;
use standin_replica::{Action, Event};

use crate::support::{Bench, identity, resume, view};

const PEER: ConnId = ConnId(1);

#[test]
fn what_the_primary_says_is_committed_counts_though_it_has_not_come_here() {
    let mut bench = Bench::follower();
    let account = |bench: &Bench| bench.replica.account(bench.now);
    assert!(!account(&bench).is_in_touch);
    assert_eq!(account(&bench).versions, None, "it has executed nothing");
    bench.event(Event::Dialled(PEER));
    bench.event(Event::Resume(PEER, &resume(view(1))));
    let entries = Entries {
        nonce: 1,
        view: view(1),
        round: 1,
        commit: Index(500),
        bytes: &[],
    };
    bench.event(Event::Entries(PEER, &entries));
    let account = account(&bench);
    assert!(account.is_following && account.is_in_touch && !account.is_serving);
    assert_eq!(
        (account.standing.commit, account.behind),
        (Index::ZERO, 500)
    );
}

/// Has a replica of this identity follow the primary; the name of the stream.
fn follow(bench: &mut Bench, identity: Identity) -> Option<u64> {
    let last = bench.replica.standing().last;
    let follow = Follow {
        identity,
        view: view(1),
        last,
        view_starts: vec![(ViewNumber(1), Index(1))],
        resp: None,
        versions: VersionRange::only(1),
    };
    bench.event(Event::Follow(PEER, &follow));
    let resumes = bench.take(|action| matches!(action, Action::Resume(..)));
    match resumes.last() {
        Some(Action::Resume(_, resume)) => Some(resume.nonce),
        _ => None,
    }
}

#[test]
fn who_has_parted_is_told_until_another_directory_follows_in_its_place() {
    let mut bench = Bench::primary();
    bench.command(1, Seen::default());
    bench.sync();
    let parted = |bench: &Bench| {
        let account = bench.replica.account(bench.now);
        let names: Vec<String> = account.parted.into_iter().collect();
        (names, account.trouble.is_some(), account.partings)
    };
    assert_eq!(parted(&bench), (vec![], false, 0));
    let nonce = follow(&mut bench, identity("b", 1)).expect("it is taken in");
    let standing = bench.replica.standing();
    let ack = Ack {
        nonce,
        view: view(1),
        round: 1,
        durable: standing.last.index,
        applied: standing.applied,
        reply_digest: standing.reply_digest ^ 1,
        room: Room::Enough,
    };
    bench.event(Event::Ack(PEER, &ack));
    assert_eq!(parted(&bench), (vec!["b".to_owned()], true, 1));
    assert_eq!(follow(&mut bench, identity("b", 2)), None, "it is kept out");
    assert_eq!(parted(&bench), (vec!["b".to_owned()], true, 1));
    let anew = Identity {
        store: StoreId(99),
        ..identity("b", 1)
    };
    assert!(follow(&mut bench, anew).is_some());
    assert_eq!(parted(&bench), (vec![], false, 1));
    // A report says no more than that.
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(200));
    bench.event(Event::Deadline);
    assert_eq!(bench.last_report().trouble, None);
}

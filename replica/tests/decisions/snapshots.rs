//! Snapshots: when they are taken, what is forgotten then, who is handed one, and what is compared.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use standin_core::conn::ConnId;
use standin_core::digest::DigestChain;
use standin_core::entry::{Index, LogTip};
use standin_core::evidence::Evidence;
use standin_core::identity::{ClusterId, Durability};
use standin_core::message::{
    Follow, Refusal, Resume, SNAPSHOT_PIECE_BYTES_MAX, Seen, SnapshotOffer, SnapshotRead,
    StateDigest,
};
use standin_core::state::Replicated;
use standin_core::time::Duration;
use standin_core::view::{DataEpoch, ViewId, ViewNumber, ViewRecord};
use standin_replica::{
    Action, Event, KeptSnapshot, Level, LogRoom, ReadFor, Recovered, SNAPSHOTS_PINNED_MAX,
    SharedImage,
};

use crate::support::{Bench, POISON, Tally, identity, view};

const FOLLOWER: ConnId = ConnId(60);
const OTHER: ConnId = ConnId(61);

/// A primary that has opened a session, with its snapshots under control of the test.
fn primary() -> Bench {
    let mut bench = Bench::primary();
    bench.open(1);
    bench.sync();
    bench.actions.clear();
    bench
}

/// Orders entries up to `index`.
fn order(bench: &mut Bench, through: u64) {
    while bench.replica.standing().last.index < Index(through) {
        let id = bench.replica.standing().last.index.0 - 1;
        bench.command(id, Seen::default());
        bench.sync();
        bench.event(Event::Deadline); // a wake-up of its own
    }
}

fn taken(bench: &mut Bench) -> Vec<(KeptSnapshot, SharedImage)> {
    let taken = bench.take(|action| matches!(action, Action::TakeSnapshot(..)));
    let kept = taken.into_iter().map(|action| match action {
        Action::TakeSnapshot(mark, image) => {
            let mut bytes = Vec::new();
            image.0.write(&mut bytes).unwrap();
            let kept = KeptSnapshot {
                mark,
                state_digest: image.0.digest(),
                state_bytes: bytes.len() as u64,
            };
            (kept, image)
        }
        other => panic!("{other:?}"),
    });
    kept.collect()
}

/// Lets the snapshots as of these entries be taken; what is forgotten at last.
fn snapshots(bench: &mut Bench, through: impl IntoIterator<Item = u64>) -> Option<Index> {
    let mut forgotten = None;
    for through in through {
        order(bench, through);
        for (kept, _) in taken(bench) {
            bench.event(Event::SnapshotTaken(kept));
        }
        for action in bench.take(|action| matches!(action, Action::Forget(_))) {
            if let Action::Forget(index) = action {
                forgotten = Some(index);
                let tip = LogTip {
                    index,
                    ..bench.replica.standing().last
                };
                bench.event(Event::Forgotten(tip));
            }
        }
    }
    forgotten
}

fn follow(bench: &mut Bench, conn: ConnId, name: &str, last: u64) {
    let standing = bench.replica.standing();
    let last = LogTip {
        index: Index(last),
        ..standing.last
    };
    let follow = Follow {
        identity: identity(name, 1),
        view: view(1),
        last,
        view_starts: vec![(standing.view.view, Index(1))],
        resp: None,
        versions: standin_core::version::VersionRange::only(1),
    };
    bench.event(Event::Follow(conn, &follow));
}

fn offered(bench: &mut Bench) -> SnapshotOffer {
    let mut offers = bench.take(|action| matches!(action, Action::Offer(..)));
    match offers.pop() {
        Some(Action::Offer(_, offer)) => *offer,
        other => panic!("{other:?}"),
    }
}

fn read(offer: &SnapshotOffer) -> SnapshotRead {
    SnapshotRead {
        nonce: offer.nonce,
        index: offer.mark.tip.index,
        offset: 0,
        length: 100,
    }
}

#[test]
fn a_snapshot_is_taken_at_the_same_entries_everywhere_and_one_at_a_time() {
    let mut bench = primary();
    order(&mut bench, 9);
    assert!(taken(&mut bench).is_empty());
    order(&mut bench, 10);
    let first = taken(&mut bench);
    assert_eq!(first.len(), 1);
    let mark = first[0].0.mark;
    assert_eq!(mark.tip, bench.replica.standing().last);
    assert_eq!(mark.view_first, Index(1));
    assert_eq!(mark.reply_digest, bench.replica.standing().reply_digest);
    assert_eq!(
        first[0].0.state_digest,
        bench.replica.state().state_digest()
    );
    order(&mut bench, 30);
    assert!(taken(&mut bench).is_empty(), "the first is being written");
    bench.event(Event::SnapshotTaken(first[0].0));
    order(&mut bench, 40);
    assert_eq!(taken(&mut bench)[0].0.mark.tip.index, Index(40));
}

#[test]
fn a_lot_of_log_brings_a_snapshot_before_its_entry() {
    let mut bench = primary();
    for id in 1..=3 {
        bench.command_of(id, Seen::default(), &[b'x'; 400 << 10]);
        bench.sync();
    }
    let taken = taken(&mut bench);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].0.mark.tip.index, Index(5));
}

#[test]
fn without_room_the_log_is_kept_and_people_are_told() {
    let mut bench = primary();
    order(&mut bench, 10);
    assert_eq!(taken(&mut bench).len(), 1);
    bench.event(Event::SnapshotFailed("cannot write a snapshot: no room"));
    let told = bench.take(|action| matches!(action, Action::Log(Level::Warn, _)));
    assert!(matches!(&told[..], [Action::Log(_, text)] if text.contains("no room")));
    assert_eq!(snapshots(&mut bench, [20]), None, "there is one only");
    assert_eq!(snapshots(&mut bench, [30]), Some(Index(20)));
}

#[test]
fn two_snapshots_are_kept_and_the_log_from_the_older_one() {
    let mut bench = primary();
    assert_eq!(snapshots(&mut bench, [10]), None);
    assert_eq!(snapshots(&mut bench, [20]), Some(Index(10)));
    assert_eq!(snapshots(&mut bench, [30]), Some(Index(20)));
    follow(&mut bench, FOLLOWER, "b", 19);
    let offer = offered(&mut bench);
    assert_eq!(offer.mark.tip.index, Index(30), "the newest");
    follow(&mut bench, OTHER, "c", 20);
    assert!(
        bench
            .take(|action| matches!(action, Action::Offer(..)))
            .is_empty()
    );
}

#[test]
fn the_log_is_kept_for_a_follower_that_is_behind_but_not_without_end() {
    let mut bench = primary();
    snapshots(&mut bench, [10, 20]);
    follow(&mut bench, FOLLOWER, "b", 15); // it acknowledges nothing
    for through in [30, 40, 50] {
        assert_eq!(snapshots(&mut bench, [through]), Some(Index(10)));
    }
    let most = 10 * SNAPSHOTS_PINNED_MAX as u64;
    assert_eq!(snapshots(&mut bench, [60, 70, most]), Some(Index(10)));
    bench.actions.clear();
    assert_eq!(snapshots(&mut bench, [most + 10]), Some(Index(20)));
    let closed = bench.take(|action| matches!(action, Action::CloseFollower(FOLLOWER)));
    assert_eq!(
        closed.len(),
        1,
        "it comes again and fetches a newer snapshot"
    );
}

#[test]
fn a_snapshot_is_kept_for_who_fetches_it_also_if_the_connection_breaks() {
    let mut bench = primary();
    snapshots(&mut bench, [10, 20, 30]);
    follow(&mut bench, FOLLOWER, "b", 1);
    let offer = offered(&mut bench);
    assert_eq!(offer.mark.tip.index, Index(30));
    assert_eq!(snapshots(&mut bench, [40, 50, 60]), Some(Index(30)));
    bench.event(Event::Closed(FOLLOWER));
    assert_eq!(snapshots(&mut bench, [70]), Some(Index(30)));
    follow(&mut bench, OTHER, "b", 1);
    assert_eq!(offered(&mut bench).mark.tip.index, Index(30), "it goes on");
    bench.event(Event::Closed(OTHER));
    order(&mut bench, 80);
    let (kept, _) = taken(&mut bench).pop().unwrap();
    bench.now.boot = bench.now.boot.plus(Duration::from_secs(11));
    bench.event(Event::SnapshotTaken(kept));
    let forgotten = bench.take(|action| matches!(action, Action::Forget(_)));
    assert_eq!(forgotten, [Action::Forget(Index(70))]);
}

#[test]
fn a_snapshot_that_a_follower_can_make_no_use_of_is_not_offered_for_ever() {
    let mut bench = primary();
    snapshots(&mut bench, [10, 20, 30]);
    let mut offers = Vec::new();
    for _ in 0..20 {
        follow(&mut bench, FOLLOWER, "b", 1);
        offers.push(offered(&mut bench).mark.tip.index);
        bench.event(Event::Closed(FOLLOWER));
        if offers.len() == 1 {
            snapshots(&mut bench, [40]);
        }
    }
    assert_eq!(offers[15], Index(30));
    assert_eq!(offers[16], Index(40));
}

/// It may have rotted where it is read from, and who serves need not take in anything more for a long time.
#[test]
fn if_the_newest_snapshot_is_of_no_use_the_one_before_is_offered_and_a_new_one_is_taken() {
    let mut bench = primary();
    snapshots(&mut bench, [10, 20, 30]);
    let mut offers = Vec::new();
    for _ in 0..20 {
        follow(&mut bench, FOLLOWER, "b", 1);
        offers.push(offered(&mut bench).mark.tip.index);
        bench.event(Event::Closed(FOLLOWER));
    }
    assert_eq!(offers[15], Index(30));
    assert_eq!(offers[16], Index(20));
    assert!(taken(&mut bench).is_empty(), "there is nothing new yet");
    order(&mut bench, 31);
    let taken: Vec<_> = taken(&mut bench)
        .iter()
        .map(|it| it.0.mark.tip.index)
        .collect();
    assert_eq!(taken, [Index(31)]);
}

/// It began with the newest, and its log was lost: the one before is still there, but the log does not go on from it.
#[test]
fn a_snapshot_from_which_the_log_does_not_go_on_is_not_offered_and_a_new_one_is_taken_at_once() {
    let mut bench = primary();
    snapshots(&mut bench, [10, 20]);
    order(&mut bench, 25);
    let newest = LogTip {
        index: Index(20),
        ..bench.replica.standing().last
    };
    bench.event(Event::Forgotten(newest));
    assert!(taken(&mut bench).is_empty());
    for _ in 0..16 {
        follow(&mut bench, FOLLOWER, "b", 1);
        assert_eq!(offered(&mut bench).mark.tip.index, Index(20));
        assert!(taken(&mut bench).is_empty(), "it may be the connection");
        bench.event(Event::Closed(FOLLOWER));
    }
    follow(&mut bench, FOLLOWER, "b", 1);
    assert_eq!(
        offered(&mut bench).mark.tip.index,
        Index(20),
        "the log goes on from none before"
    );
    let (anew, _) = taken(&mut bench).pop().unwrap();
    assert_eq!(anew.mark.tip.index, Index(25), "though no entry comes");
    bench.event(Event::SnapshotTaken(anew));
    bench.event(Event::Closed(FOLLOWER));
    let mut offers = Vec::new();
    for _ in 0..16 {
        follow(&mut bench, FOLLOWER, "b", 1);
        offers.push(offered(&mut bench).mark.tip.index);
        bench.event(Event::Closed(FOLLOWER));
    }
    assert_eq!(offers.last(), Some(&Index(25)));
}

#[test]
fn pieces_go_to_whom_the_snapshot_was_offered() {
    let mut bench = primary();
    snapshots(&mut bench, [10, 20, 30]);
    follow(&mut bench, FOLLOWER, "b", 1);
    let offer = offered(&mut bench);
    let good = read(&offer);
    let sent = |bench: &mut Bench, conn, read: SnapshotRead| {
        bench.event(Event::SnapshotRead(conn, &read));
        let sent = bench.take(|action| matches!(action, Action::ReadSnapshot(..)));
        let closed = bench.take(|action| matches!(action, Action::CloseFollower(_)));
        assert_eq!(sent.len() + closed.len(), 1);
        !sent.is_empty()
    };
    assert!(sent(&mut bench, FOLLOWER, good));
    assert!(!sent(&mut bench, OTHER, good));
    let other = SnapshotRead { nonce: 1, ..good };
    assert!(!sent(&mut bench, FOLLOWER, other));
    let other = SnapshotRead {
        index: Index(20),
        ..good
    };
    assert!(!sent(&mut bench, FOLLOWER, other));
    let length = SNAPSHOT_PIECE_BYTES_MAX + 1;
    assert!(!sent(&mut bench, FOLLOWER, SnapshotRead { length, ..good }));
    // Of one store only the newest connection counts.
    follow(&mut bench, OTHER, "b", 1);
    let again = read(&offered(&mut bench));
    assert!(sent(&mut bench, OTHER, again));
    assert!(!sent(&mut bench, FOLLOWER, good));
}

/// A follower with a stream, and the primary's snapshot as of entry 10.
fn streaming() -> (Bench, u64, KeptSnapshot) {
    let mut bench = primary();
    order(&mut bench, 10);
    let (kept, _) = taken(&mut bench).pop().unwrap();
    let last = bench.replica.standing().last.index.0;
    follow(&mut bench, FOLLOWER, "b", last);
    let resumes = bench.take(|action| matches!(action, Action::Resume(..)));
    let Some(Action::Resume(_, resume)) = resumes.last() else {
        panic!("{resumes:?}");
    };
    (bench, resume.nonce, kept)
}

fn refused(bench: &mut Bench) -> bool {
    let refusal = Action::RefuseFollower(FOLLOWER, Refusal::RepliesDiffer);
    !bench.take(|action| *action == refusal).is_empty()
}

/// What a follower tells of its state at the snapshot of entry 10, which is that of the primary or another.
fn digest_of(kept: &KeptSnapshot, nonce: u64, is_equal: bool) -> StateDigest {
    StateDigest {
        nonce,
        view: view(1),
        index: Index(10),
        digest: kept.state_digest ^ u128::from(!is_equal),
    }
}

#[test]
fn a_follower_with_another_state_is_refused_whoever_comes_first_to_the_snapshot() {
    for is_first in [false, true] {
        for is_equal in [false, true] {
            let (mut bench, nonce, kept) = streaming();
            let told = digest_of(&kept, nonce, is_equal);
            if is_first {
                bench.event(Event::StateDigest(FOLLOWER, &told));
                assert!(!refused(&mut bench), "nothing can be said yet");
            }
            bench.event(Event::SnapshotTaken(kept));
            if !is_first {
                bench.event(Event::StateDigest(FOLLOWER, &told));
            }
            assert_eq!(refused(&mut bench), !is_equal);
        }
    }
}

/// Section 12 wants each compared, whatever becomes of the connection and of the view meanwhile.
#[test]
fn what_a_store_told_of_its_state_is_kept_until_the_own_snapshot_is_there() {
    for is_equal in [false, true] {
        let (mut bench, nonce, kept) = streaming();
        let told = digest_of(&kept, nonce, is_equal);
        bench.event(Event::StateDigest(FOLLOWER, &told));
        bench.event(Event::Closed(FOLLOWER));
        bench.event(Event::SnapshotTaken(kept));
        let last = bench.replica.standing().last.index.0;
        follow(&mut bench, FOLLOWER, "b", last);
        assert_eq!(refused(&mut bench), !is_equal);
    }
}

/// What is kept of a follower's difference.
fn evidence(bench: &mut Bench) -> Vec<Evidence> {
    let kept = bench.take(|action| matches!(action, Action::KeepEvidence(_)));
    let evidence = kept.into_iter().map(|action| match action {
        Action::KeepEvidence(evidence) => *evidence,
        other => panic!("{other:?}"),
    });
    evidence.collect()
}

#[test]
fn when_a_state_differs_nothing_that_shows_it_goes_and_people_are_told_as_long_as_it_lasts() {
    let (mut bench, nonce, kept) = streaming();
    bench.event(Event::SnapshotTaken(kept));
    snapshots(&mut bench, [20, 30]);
    let (nonce, told) = (nonce, bench.replica.standing().last.index);
    order(&mut bench, 40);
    let (newest, _) = taken(&mut bench).pop().unwrap();
    let told = StateDigest {
        nonce,
        view: view(1),
        index: told.max(Index(40)),
        digest: newest.state_digest ^ 1,
    };
    bench.event(Event::SnapshotTaken(newest));
    assert_eq!(
        bench
            .take(|action| matches!(action, Action::Forget(_)))
            .len(),
        1
    );
    bench.event(Event::StateDigest(FOLLOWER, &told));
    assert!(refused(&mut bench));

    // The replies, with their chain, and what was recorded, also of snapshots that are gone.
    let kept = evidence(&mut bench);
    let [kept] = &kept[..] else {
        panic!("{kept:?}");
    };
    let standing = bench.replica.standing();
    assert_eq!((kept.before, kept.last()), (Index::ZERO, standing.applied));
    let last = kept.replies.last().expect("there are some");
    assert_eq!(last.chain, DigestChain(standing.reply_digest));
    let mut chain = DigestChain::default();
    for (index, reply) in (1..).zip(&kept.replies) {
        chain.add(index, reply.status, reply.whole().expect("they are short"));
        assert_eq!(reply.chain, chain, "entry {index}");
    }
    let recorded: Vec<u64> = kept.states.iter().map(|state| state.index.0).collect();
    assert_eq!(recorded, [10, 20, 30, 40]);

    // Nothing goes, however many snapshots are taken.
    assert_eq!(snapshots(&mut bench, (5..30).map(|tens| tens * 10)), None);
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(200));
    bench.event(Event::Deadline);
    let trouble = bench.last_report().trouble.expect("status shows it");
    for words in [
        "b has come to another state after entry 40",
        "`standin replay --diff /data/a DIR_OF_b`",
        "`standin replay /data/a --verify`",
    ] {
        assert!(trouble.contains(words), "{trouble}");
    }
    let is_it = |action: &Action| *action == Action::Log(Level::Error, trouble.clone());
    assert_eq!(bench.take(is_it).len(), 1);

    // Until there is no room for more log, which is worse.
    let room = |here, is_lacking| LogRoom {
        here,
        next: 0,
        is_lacking,
    };
    bench.event(Event::Room(room(0, true), Some("no room")));
    bench.event(Event::Room(room(1 << 30, false), None));
    assert!(snapshots(&mut bench, [300, 310]).is_some());
}

#[test]
fn a_follower_that_is_told_that_it_differs_keeps_what_it_remembers_once() {
    let mut bench = Bench::fresh("b");
    let a = identity("a", 1);
    bench.tell(&ViewRecord::bootstrap(ClusterId(1), &a, 1000).activate(&a));
    bench.adopted(1);
    bench.event(Event::Flush);
    bench.event(Event::DialRefused(&Refusal::RepliesDiffer));
    let kept = evidence(&mut bench);
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].last(), bench.replica.standing().applied);
    bench.event(Event::DialRefused(&Refusal::RepliesDiffer));
    assert_eq!(evidence(&mut bench), []);
    let trouble = bench.replica.trouble().expect("it has").to_owned();
    assert!(
        trouble.contains("`standin replay --diff /data/a DIR_OF_PRIMARY`"),
        "{trouble}"
    );
    bench.event(Event::DialRefused(&Refusal::Busy));
    assert_eq!(evidence(&mut bench), []);
}

#[test]
fn of_no_more_stores_than_a_cluster_has_is_kept_what_they_told() {
    let (mut bench, _, kept) = streaming();
    let last = bench.replica.standing().last.index.0;
    for (number, letter) in (0..).zip('c'..='z') {
        let conn = ConnId(100 + number);
        follow(&mut bench, conn, &letter.to_string(), last);
        let resumes = bench.take(|action| matches!(action, Action::Resume(..)));
        let Some(Action::Resume(_, resume)) = resumes.last() else {
            panic!("{resumes:?}");
        };
        let told = StateDigest {
            nonce: resume.nonce,
            view: view(1),
            index: Index(10),
            digest: 1,
        };
        bench.event(Event::StateDigest(conn, &told));
        bench.event(Event::Closed(conn));
    }
    bench.take(|_| true);
    bench.event(Event::SnapshotTaken(kept));
    let found = bench.take(|action| {
        matches!(action, Action::Log(Level::Error, text) if text.contains("state after entry 10"))
    });
    assert_eq!(found.len(), 16);
}

#[test]
fn what_is_told_outside_the_stream_or_of_an_entry_without_a_snapshot_says_nothing() {
    let (mut bench, nonce, kept) = streaming();
    bench.event(Event::SnapshotTaken(kept));
    let told = |nonce, view, index| StateDigest {
        nonce,
        view,
        index: Index(index),
        digest: 1,
    };
    bench.event(Event::StateDigest(FOLLOWER, &told(nonce + 1, view(1), 10)));
    bench.event(Event::StateDigest(FOLLOWER, &told(nonce, view(2), 10)));
    bench.event(Event::StateDigest(OTHER, &told(nonce, view(1), 10)));
    bench.event(Event::StateDigest(FOLLOWER, &told(nonce, view(1), 7)));
    assert!(!refused(&mut bench));
}

/// The state of the snapshot that a primary has just taken, and its offer in a view, as a follower has them at last.
fn fetched(primary: &mut Bench, view: ViewId) -> (Replicated<Tally>, SnapshotOffer) {
    let (kept, image) = taken(primary).pop().unwrap();
    let mut bytes = Vec::new();
    image.0.write(&mut bytes).unwrap();
    let mark = kept.mark;
    let restored = Replicated::<Tally>::restore(
        &mut bytes.as_slice(),
        mark.tip.index,
        DigestChain(mark.reply_digest),
        mark.machine_version,
    );
    let offer = SnapshotOffer {
        view,
        nonce: 5,
        mark,
        state_digest: kept.state_digest,
        state_bytes: kept.state_bytes,
    };
    (restored.unwrap(), offer)
}

/// Another replica's state goes on where the snapshot was taken, and what follows is asked for.
#[test]
fn a_replica_goes_on_from_a_snapshot_that_it_fetched() {
    let mut primary = primary();
    snapshots(&mut primary, [10, 20]);
    order(&mut primary, 30);
    let (restored, offer) = fetched(&mut primary, view(1));
    let mark = offer.mark;

    let mut bench = Bench::fresh("b");
    let record = primary.replica.record().unwrap().clone();
    bench.tell(&record);
    bench.adopted(1);
    bench.event(Event::Deadline);
    bench.event(Event::Dialled(FOLLOWER));
    bench.event(Event::Offer(FOLLOWER, &offer));
    bench.event(Event::FetchBegun(offer.file_bytes().unwrap()));
    bench.event(Event::Fetched(mark.tip.index, true));
    let install = Action::Install(Box::new(offer));
    assert_eq!(bench.take(|action| *action == install).len(), 1);
    bench.actions.clear();
    bench.replica.install(bench.now, restored, &offer);
    while bench.replica.next_action().is_some() {}
    bench.event(Event::Deadline);
    let standing = bench.replica.standing();
    assert_eq!(standing.last, mark.tip);
    assert_eq!(standing.applied, mark.tip.index);
    assert_eq!(standing.commit, mark.tip.index);
    assert_eq!(standing.reply_digest, mark.reply_digest);
    assert_eq!(bench.replica.state().state_digest(), offer.state_digest);
    bench.event(Event::Dialled(OTHER));
    let follows = bench.take(|action| matches!(action, Action::Follow(..)));
    let Some(Action::Follow(_, follow)) = follows.last() else {
        panic!("{follows:?}");
    };
    assert_eq!(follow.last, mark.tip);
    assert_eq!(follow.view_starts, [(mark.tip.view, mark.view_first)]);
    let resume = Resume {
        view: view(1),
        nonce: 6,
        common: mark.tip,
        durability: Durability::Os,
        silence_ms: 500,
        skips: Vec::new(),
        resp: None,
    };
    bench.event(Event::Resume(OTHER, &resume));
    assert_eq!(bench.replica.trouble(), None);
}

/// It had applied more in the data epoch that is over, and other entries have those indexes now: one of them makes
/// the machine fail, nobody has applied it, and so it is skipped.
#[test]
fn what_was_applied_in_an_earlier_data_epoch_keeps_nobody_from_skipping_an_entry() {
    let mut primary = primary();
    order(&mut primary, 10);
    let forced = |number: u32| ViewId {
        data_epoch: DataEpoch(number - 1),
        view: ViewNumber(u64::from(number)),
    };
    let (restored, offer) = fetched(&mut primary, forced(2));
    let recovered = Recovered {
        tip: LogTip {
            index: Index(30),
            view: ViewNumber(1),
            ..LogTip::default()
        },
        view_starts: vec![(ViewNumber(1), Index(1))],
        commit: Index(30),
        synced: Index(30),
        ..Recovered::default()
    };
    let a = identity("a", 1);
    let mut bench = Bench::new(a.clone(), view(1), recovered);
    let record = ViewRecord::bootstrap(ClusterId(1), &a, 1000).force(&identity("b", 1));
    bench.tell(&record.activate(&identity("b", 1)));
    bench.event(Event::Adopted(forced(2)));
    bench.event(Event::LogRead(ReadFor::Apply, Vec::new()));
    bench.replica.install(bench.now, restored, &offer);
    while bench.replica.next_action().is_some() {}
    bench.tell(&record.force(&a));
    bench.event(Event::Adopted(forced(3)));
    bench.accept_swap();
    bench.sync();
    bench.command_of(9, Seen::default(), POISON);
    bench.sync();
    let noted = bench.take(|action| matches!(action, Action::NotePoison(_)));
    assert_eq!(noted.len(), 1);
    bench.event(Event::PoisonNoted);
    let is_quarantined = |action: &Action| matches!(action, Action::Quarantine(_));
    assert!(bench.take(is_quarantined).is_empty());
    let trouble = bench.replica.trouble().unwrap_or_default();
    assert!(trouble.contains("it is skipped from now on"), "{trouble}");
}

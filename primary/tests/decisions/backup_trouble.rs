//! A backup that stalls, comes back, or sends what it should not, and a primary that was away.

use crate::support::{Bench, TERM, identity};
use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::{BootId, Durability, Identity, StoreId};
use standin_core::message::{Consistency, Follow};
use standin_core::time::Duration;
use standin_core::view::{Reason, ViewNumber, ViewRecord};
use standin_primary::{EXCLUDED_STORES_MAX, Event, Query, READS_BYTES_MAX, Waiter};

const B: ConnId = ConnId(1);
const JUST: Duration = Duration::from_millis(1);

#[test]
fn while_a_drop_may_have_landed_a_lone_copy_must_also_be_a_synced_copy() {
    let mut bench = Bench::paired(Durability::Os);
    bench.command();
    bench.pass(TERM / 2 + JUST); // b is silent: a Drop is decided on
    bench.sync_all();
    let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(drop.reason, Reason::Dropped);
    let index = bench.command(); // not on disk
    bench.ack_all(B); // b is back
    assert!(
        !bench.is_committed(index),
        "the Drop may have landed, and names this disk alone"
    );
    bench.sync_all();
    assert!(bench.is_committed(index));
}

#[test]
fn a_backup_that_comes_back_again_and_again_and_acknowledges_nothing_is_dropped() {
    let mut bench = Bench::paired(Durability::Os);
    bench.command();
    let b = identity("b", 1);
    for round in 0..20 {
        bench.pass(TERM / 4);
        let conn = ConnId(10 + round);
        bench.event(Event::Closed(ConnId(if round == 0 {
            1
        } else {
            9 + round
        })));
        bench.follow(conn, &b);
    }
    bench.sync_all();
    bench.pass(JUST);
    assert!(
        bench
            .asked
            .swaps
            .iter()
            .any(|(_, to)| to.reason == Reason::Dropped),
        "five terms without progress"
    );
}

#[test]
fn a_follow_with_a_view_that_begins_at_0_does_not_end_the_primary() {
    let mut bench = Bench::solo(Durability::Os);
    let follow = Follow {
        view_starts: vec![(ViewNumber(1), Index(1)), (ViewNumber(7), Index(0))],
        identity: identity("x", 1),
        view: bench.primary.record().id(),
        last: bench.primary.tip(),
        resp: None,
        versions: standin_core::version::VersionRange::only(1),
    };
    bench.event(Event::Follow(B, &follow));
    assert_eq!(bench.asked.closed, [B]);
}

#[test]
fn a_follower_of_the_primarys_own_name_is_turned_away() {
    let mut bench = Bench::solo(Durability::Os);
    let mut follower = bench.identity.clone();
    follower.store = StoreId(99);
    bench.follow(B, &follower);
    assert_eq!(bench.asked.closed, [B]);
    assert!(
        bench.asked.resumes.is_empty(),
        "its Join would be refused, and answers would wait for it again and again"
    );
}

#[test]
fn a_store_whose_replies_differed_is_not_streamed_to_again() {
    let mut bench = Bench::solo(Durability::Os);
    let b = bench.spare_in_sync("b", B);
    bench.event(Event::Diverged(b.store));
    bench.asked.resumes.clear();
    bench.follow(ConnId(2), &b);
    assert!(
        bench.asked.resumes.is_empty(),
        "it would be dropped for the same reason at once, 40 times a second"
    );
}

#[test]
fn after_so_many_stores_that_differed_no_follower_is_taken_in() {
    let mut bench = Bench::solo(Durability::Os);
    let mut identities: Vec<_> = (0..=EXCLUDED_STORES_MAX)
        .map(|number| {
            let mut identity = identity("x", 1);
            identity.store = StoreId(1000 + number as u128);
            identity
        })
        .collect();
    let honest = identities.pop().expect("one more than that");
    for (number, identity) in (0..).zip(&identities) {
        bench.follow(ConnId(100 + number), identity);
        assert_eq!(
            bench.asked.resumes.len(),
            1,
            "store {number} is streamed to"
        );
        bench.asked.resumes.clear();
        bench.event(Event::Diverged(identity.store));
    }
    assert!(!bench.primary.takes_followers());
    for identity in identities.iter().chain([&honest]) {
        bench.asked.refused.clear();
        bench.follow(ConnId(500), identity);
        assert_eq!(bench.asked.refused, [ConnId(500)]);
    }
    assert!(
        bench.asked.resumes.is_empty(),
        "one of them could become the backup"
    );
    let index = bench.command();
    bench.sync_all();
    assert!(bench.is_committed(index), "it goes on alone");
}

#[test]
fn waking_up_late_does_not_drop_a_backup_whose_acknowledgement_is_on_the_way() {
    let mut bench = Bench::paired(Durability::Os);
    bench.command();
    bench.now.boot = bench.now.boot.plus(TERM * 2); // paused; b's answer lies in the socket
    bench.ack_all(B);
    bench.event(Event::Deadline);
    let mut other = Bench::paired(Durability::Os);
    other.command();
    other.now.boot = other.now.boot.plus(TERM * 2);
    other.event(Event::Deadline); // the host hands this in first
    other.ack_all(B);
    assert!(bench.asked.swaps.is_empty());
    other.sync_all();
    assert!(
        other.asked.swaps.is_empty(),
        "dropped for this process's own absence"
    );
}

#[test]
fn of_one_store_the_older_connection_is_closed() {
    let mut bench = Bench::paired(Durability::Os);
    let b = identity("b", 1);
    bench.asked.closed.clear();
    bench.follow(B, &b);
    assert_eq!(bench.asked.closed, [], "the same connection asks again");
    bench.follow(ConnId(7), &b);
    assert_eq!(bench.asked.closed, [B]);
}

#[test]
fn reads_that_wait_are_bounded_by_their_bytes_too() {
    let mut bench = Bench::paired(Durability::Os);
    let query = Query {
        count: 1,
        waiter: Waiter {
            conn: ConnId(9),
            id: 1,
        },
        consistency: Consistency::Confirmed,
        bytes: vec![0; READS_BYTES_MAX / 4],
    };
    for _ in 0..4 {
        assert!(bench.primary.has_room());
        bench.event(Event::Reads(vec![query.clone()]));
    }
    assert!(!bench.primary.has_room());
    bench.event(Event::Flush);
    bench.ack_all(B);
    assert_eq!(bench.asked.answers.len(), 4);
    assert!(bench.primary.has_room());
}

/// The backup comes back as `identity` on connection 2, and no time passes: the Drop that is asked.
fn drop_asked_at_once(bench: &mut Bench, identity: &Identity) -> Option<ViewRecord> {
    bench.event(Event::Closed(B));
    bench.follow(ConnId(2), identity);
    bench.sync_all();
    let (_, proposed) = bench.asked.swaps.pop()?;
    assert_eq!(proposed.reason, Reason::Dropped);
    Some(proposed)
}

#[test]
fn a_backup_that_comes_back_under_another_token_is_dropped_at_once() {
    let before = identity("b", 1).life;
    let killed = identity("b", 2);
    let mut stopped = killed.clone();
    stopped.clean_lives.push(before);
    for restarted in [killed, stopped] {
        let mut bench = Bench::paired(Durability::Memory);
        let drop = drop_asked_at_once(&mut bench, &restarted);
        assert!(
            drop.is_some(),
            "nothing will be acknowledged under the old token again: {restarted:?}"
        );
    }
    let mut rebooted = identity("b", 2);
    rebooted.life.boot = BootId(8);
    let mut bench = Bench::paired(Durability::Os);
    assert!(drop_asked_at_once(&mut bench, &rebooted).is_some());
}

#[test]
fn a_backup_that_comes_back_under_its_token_is_not_dropped() {
    let restarted = identity("b", 2); // in the same boot
    let mut bench = Bench::paired(Durability::Os);
    assert_eq!(drop_asked_at_once(&mut bench, &restarted), None);
}

#[test]
fn a_backup_that_was_dropped_for_another_token_is_joined_under_it() {
    let restarted = identity("b", 2);
    let mut bench = Bench::paired(Durability::Memory);
    let drop = drop_asked_at_once(&mut bench, &restarted).expect("a Drop is asked");
    bench.record(&drop);
    bench.sync_all();
    bench.follow(ConnId(3), &restarted);
    bench.ack_all(ConnId(3));
    bench.pass(JUST);
    bench.ack_all(ConnId(3));
    let (_, join) = bench.asked.swaps.pop().expect("a Join is asked");
    assert_eq!(join.reason, Reason::Joined);
    assert_eq!(join.holders[1].token, restarted.token(Durability::Memory));
}

#[test]
fn a_backup_that_comes_back_with_less_than_it_acknowledged_is_dropped_at_once() {
    let mut bench = Bench::paired(Durability::Disk);
    let before = bench.primary.tip();
    bench.command();
    bench.ack_all(B);
    bench.event(Event::Closed(B));
    bench.follow_from(ConnId(2), &identity("b", 2), before);
    bench.sync_all();
    let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(
        drop.reason,
        Reason::Dropped,
        "the view service takes it for an old copy until it is joined anew"
    );
}

#[test]
fn a_backup_that_comes_back_with_less_than_it_was_joined_with_is_dropped_at_once() {
    let mut bench = Bench::solo(Durability::Disk);
    let before = bench.primary.tip();
    bench.command();
    bench.sync_all();
    let b = bench.spare_in_sync("b", B);
    bench.pass(JUST);
    bench.ack_all(B);
    let (_, join) = bench.asked.swaps.pop().expect("a Join is asked");
    bench.event(Event::Closed(B)); // before it has acknowledged anything in the new view
    bench.record(&join);
    let mut healthy = bench.primary.tip();
    healthy.index = Index(healthy.index.0 - 1); // all but the new view's first entry
    bench.follow_from(ConnId(2), &b, healthy);
    bench.sync_all();
    assert!(
        bench.asked.swaps.is_empty(),
        "it has all that it was joined with"
    );
    bench.follow_from(ConnId(3), &b, before);
    bench.sync_all();
    let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(drop.reason, Reason::Dropped);
}

#[test]
fn a_backup_that_comes_back_with_all_that_it_acknowledged_is_not_dropped() {
    let mut bench = Bench::paired(Durability::Disk);
    let acked = bench.primary.tip();
    bench.command(); // on its way to b, and lost
    bench.event(Event::Closed(B));
    bench.follow_from(ConnId(2), &identity("b", 2), acked);
    bench.sync_all();
    assert!(bench.asked.swaps.is_empty());
}

/// `b` and `c` were sent everything, and one entry is on its way to each; `acks` acknowledge it.
/// Whose Join is asked first.
fn joined_first(acks: &[ConnId]) -> Option<String> {
    let mut bench = Bench::candidate(Durability::Os);
    bench.activate();
    bench.hold_lease(Duration::from_secs(3600));
    bench.spare_in_sync("b", B);
    bench.spare_in_sync("c", ConnId(2));
    let index = bench.command();
    for conn in acks {
        bench.ack(*conn, index, 0);
    }
    bench.sync_all(); // now it serves
    bench.pass(JUST);
    for conn in acks {
        bench.ack_all(*conn);
    }
    let (_, join) = bench.asked.swaps.pop()?;
    assert_eq!(join.reason, Reason::Joined);
    join.backup.map(|member| member.name.to_string())
}

#[test]
fn of_two_spares_the_one_that_has_acknowledged_more_is_joined() {
    let c = ConnId(2);
    assert_eq!(
        joined_first(&[c]).as_deref(),
        Some("c"),
        "b's disk hangs: it takes all that is sent, and will not acknowledge it"
    );
    assert_eq!(joined_first(&[B]).as_deref(), Some("b"));
}

#[test]
fn of_two_spares_that_have_acknowledged_the_same_the_first_by_name_is_joined() {
    assert_eq!(joined_first(&[B, ConnId(2)]).as_deref(), Some("b"));
}

#[test]
fn a_follower_whose_replies_differed_is_told_so_each_time_it_asks() {
    let mut bench = Bench::paired(Durability::Os);
    let b = identity("b", 1);
    bench.event(Event::Diverged(b.store));
    assert_eq!(bench.asked.refused, [B]);
    bench.follow(ConnId(7), &b);
    assert_eq!(bench.asked.refused, [B, ConnId(7)]);
    assert_eq!(bench.asked.resumes, []);
}

/// It is found over another connection than the one over which it was to be joined; or it has none just then.
#[test]
fn a_join_of_a_store_that_differs_is_fenced_whichever_connection_it_has_now() {
    for is_back in [false, true] {
        let mut bench = Bench::solo(Durability::Os);
        let b = bench.spare_in_sync("b", B);
        bench.pass(JUST);
        bench.ack_all(B);
        let (_, join) = bench.asked.swaps.pop().expect("a Join is asked");
        assert_eq!(join.reason, Reason::Joined);
        bench.event(Event::Closed(B));
        if is_back {
            bench.follow(ConnId(7), &b);
        }
        bench.event(Event::Diverged(b.store));
        bench.sync_all();
        let (_, fence) = bench.asked.swaps.pop().expect("a Drop is asked");
        assert_eq!(fence.reason, Reason::Dropped);
        // Heard once more, it is neither dropped again nor taken in.
        bench.event(Event::Diverged(b.store));
        assert_eq!(bench.asked.swaps, []);
        bench.asked.refused.clear();
        bench.follow(ConnId(8), &b);
        assert_eq!(bench.asked.refused, [ConnId(8)]);
    }
}

/// Section 8: equal (index, view) and unequal chain is found by the follower, which then quarantines
/// itself. Where the logs disagree about the beginning of a view, two entries differ that it can compare.
#[test]
fn a_follower_whose_views_begin_elsewhere_is_shown_an_entry_that_it_has_otherwise() {
    let mut bench = Bench::solo(Durability::Os);
    let ours = bench.primary.tip();
    assert_eq!(bench.primary.view_starts()[..], [(ours.view, ours.index)]);
    let follow = Follow {
        identity: identity("b", 1),
        view: bench.primary.record().id(),
        last: LogTip {
            index: Index(9),
            ..ours
        },
        view_starts: vec![(ours.view, ours.index.next())],
        resp: None,
        versions: standin_core::version::VersionRange::only(1),
    };
    bench.event(Event::Follow(B, &follow));
    let resumes: Vec<_> = bench.asked.resumes.iter().collect();
    let [(conn, resume)] = resumes[..] else {
        panic!("{resumes:?}");
    };
    assert_eq!((*conn, resume.common), (B, ours));
}

#[test]
fn a_backup_that_is_proven_dead_is_dropped_without_waiting_for_its_silence() {
    let mut bench = Bench::paired(Durability::Os);
    let index = bench.command();
    bench.event(Event::BackupDied);
    bench.sync_all();
    let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(drop.reason, Reason::Dropped);
    assert!(
        !bench.is_committed(index),
        "R1: not before the record is read"
    );
    bench.event(Event::BackupDied);
    assert!(bench.asked.swaps.is_empty(), "it is on its way");
    bench.record(&drop);
    bench.sync_all();
    assert!(bench.is_committed(index));
    bench.event(Event::BackupDied);
    bench.pass(JUST);
    assert!(bench.asked.swaps.is_empty(), "there is no backup any more");
}

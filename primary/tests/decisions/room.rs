//! Logs without room: who is handed over to, dropped, not joined, and when input is refused (section 12).

use crate::support::{Bench, TERM, identity};
use standin_core::conn::ConnId;
use standin_core::identity::Durability;
use standin_core::message::Room;
use standin_core::time::Duration;
use standin_core::view::Reason;
use standin_primary::{Event, HandOverFailure};

const B: ConnId = ConnId(1);
const C: ConnId = ConnId(2);
const JUST: Duration = Duration::from_millis(1);

fn reasons(bench: &Bench) -> Vec<Reason> {
    let swaps = bench.asked.swaps.iter();
    swaps.map(|(_, proposed)| proposed.reason).collect()
}

#[test]
fn a_primary_without_room_is_to_hand_over_to_a_backup_that_has_some() {
    let mut bench = Bench::paired(Durability::Os);
    assert!(!bench.primary.should_hand_over());
    bench.event(Event::Room(Room::Lacking));
    assert!(bench.primary.should_hand_over());
    bench.event(Event::HandOver);
    assert!(!bench.primary.should_hand_over(), "it does");
    assert_eq!(bench.asked.failures, []);
}

#[test]
fn nothing_is_handed_over_to_who_is_no_backup_yet_or_is_none_any_more() {
    let mut bench = Bench::solo(Durability::Os);
    bench.event(Event::Room(Room::Lacking));
    assert!(!bench.primary.should_hand_over(), "nobody follows");
    let b = bench.spare_in_sync("b", B);
    assert_eq!(reasons(&bench), [], "it has not acknowledged everything");
    assert!(!bench.primary.should_hand_over(), "it is being joined");
    bench.ack_all(B);
    let (_, proposed) = bench.asked.swaps.pop().expect("a Join is asked");
    assert!(!bench.primary.should_hand_over(), "it may still be none");
    bench.record(&proposed);
    bench.follow(B, &b);
    assert!(
        !bench.primary.should_hand_over(),
        "it has not said whether it has room"
    );
    bench.ack_all(B);
    assert!(bench.primary.should_hand_over());
    // It is silent, and a Drop is under way.
    bench.pass(TERM);
    assert!(!bench.primary.should_hand_over());
    bench.sync_all();
    assert_eq!(reasons(&bench), [Reason::Dropped]);
    bench.ack_all(B);
    assert!(!bench.primary.should_hand_over());
}

#[test]
fn nothing_is_handed_over_to_a_backup_without_room() {
    let mut bench = Bench::paired(Durability::Os);
    bench.event(Event::Room(Room::Lacking));
    bench.ack_with_room(B, Room::Lacking);
    assert!(!bench.primary.should_hand_over());
    bench.event(Event::HandOver);
    assert_eq!(bench.asked.failures, [HandOverFailure::NoRoom]);
    bench.ack_with_room(B, Room::Enough);
    assert!(bench.primary.should_hand_over(), "as soon as it has some");
}

#[test]
fn a_backup_that_takes_nothing_more_is_dropped_by_a_primary_that_has_room() {
    let mut bench = Bench::paired(Durability::Os);
    bench.ack_with_room(B, Room::Lacking);
    bench.sync_all();
    assert_eq!(
        reasons(&bench),
        [],
        "it still takes entries, and nobody else would"
    );
    bench.ack_with_room(B, Room::Out);
    bench.sync_all();
    assert_eq!(reasons(&bench), [Reason::Dropped]);
}

#[test]
fn a_backup_without_room_gives_way_to_a_spare_that_has_some() {
    let mut bench = Bench::paired(Durability::Os);
    bench.spare_in_sync("c", C);
    bench.ack_with_room(C, Room::Lacking);
    bench.ack_with_room(B, Room::Lacking);
    bench.sync_all();
    assert_eq!(reasons(&bench), [], "neither has");
    bench.ack_with_room(C, Room::Enough);
    bench.pass(JUST);
    bench.sync_all();
    assert_eq!(reasons(&bench), [Reason::Dropped]);
}

/// What was asked for is so, and the backup, or whoever is to be it, follows in the new view.
fn grant(bench: &mut Bench, conn: ConnId, name: &str) -> Reason {
    bench.sync_all();
    let (_, proposed) = bench.asked.swaps.pop().expect("a change is asked for");
    bench.record(&proposed);
    bench.follow(conn, &identity(name, 1));
    bench.ack_with_room(conn, Room::Enough);
    proposed.reason
}

#[test]
fn a_backup_without_room_stays_until_the_spare_that_has_some_may_be_joined() {
    let mut bench = Bench::paired(Durability::Os);
    // B is dropped twice in a minute, so it has to wait for its next Join.
    bench.ack_with_room(B, Room::Out);
    assert_eq!(grant(&mut bench, B, "b"), Reason::Dropped);
    bench.pass(JUST);
    bench.ack_with_room(B, Room::Enough);
    assert_eq!(grant(&mut bench, B, "b"), Reason::Joined);
    bench.ack_with_room(B, Room::Out);
    assert_eq!(grant(&mut bench, B, "b"), Reason::Dropped);
    // Meanwhile C has become the backup, and lacks room.
    bench.spare_in_sync("c", C);
    bench.pass(JUST);
    bench.ack_with_room(C, Room::Enough);
    assert_eq!(grant(&mut bench, C, "c"), Reason::Joined);
    bench.follow(B, &identity("b", 1));
    bench.ack_with_room(B, Room::Enough);
    bench.ack_with_room(C, Room::Lacking);
    bench.sync_all();
    assert_eq!(reasons(&bench), []);
    let until_joined = |bench: &mut Bench| {
        for _ in 0..20 {
            bench.pass(Duration::from_millis(100));
            bench.ack_with_room(C, Room::Lacking);
            bench.ack_with_room(B, Room::Enough);
            bench.sync_all();
            if !reasons(bench).is_empty() {
                return;
            }
        }
    };
    until_joined(&mut bench);
    assert_eq!(reasons(&bench), [Reason::Dropped], "its wait is over");
}

#[test]
fn a_spare_without_room_is_not_joined() {
    let mut bench = Bench::solo(Durability::Os);
    bench.spare_in_sync("b", B);
    bench.ack_with_room(B, Room::Lacking);
    bench.asked.swaps.clear();
    for _ in 0..20 {
        bench.pass(Duration::from_millis(100));
        bench.ack_with_room(B, Room::Lacking);
    }
    assert_eq!(reasons(&bench), []);
    bench.ack_with_room(B, Room::Enough);
    bench.pass(JUST);
    bench.ack_with_room(B, Room::Enough);
    assert_eq!(reasons(&bench), [Reason::Joined]);
}

#[test]
fn input_is_refused_only_where_nobody_has_room() {
    let mut bench = Bench::paired(Durability::Os);
    bench.event(Event::Room(Room::Lacking));
    assert!(
        !bench.primary.is_out_of_room(),
        "what is left takes entries"
    );
    bench.ack_with_room(B, Room::Lacking);
    assert!(!bench.primary.is_out_of_room());
    bench.ack_with_room(B, Room::Out);
    assert!(bench.primary.is_out_of_room(), "the pair is kept");
    bench.sync_all();
    assert_eq!(reasons(&bench), []);
    bench.event(Event::Room(Room::Enough));
    assert!(!bench.primary.is_out_of_room());
    bench.sync_all();
    assert_eq!(reasons(&bench), [Reason::Dropped], "alone it has room");

    let mut bench = Bench::solo(Durability::Os);
    bench.event(Event::Room(Room::Out));
    assert!(bench.primary.is_out_of_room());
}

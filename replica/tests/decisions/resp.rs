//! Where replicas answer Redis clients: told once for each stream, known as long as it is true.

use standin_core::address::Address;
use standin_core::conn::ConnId;
use standin_core::entry::{ENTRY_HEADER_BYTES, Entry, Index};
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame};
use standin_core::identity::{ClusterId, Durability};
use standin_core::message::RoleName;
use standin_core::view::{Holder, ViewNumber, ViewRecord};
use standin_replica::{Action, Destination, Event, ReadFor, Side};

use crate::support::*;

/// Of a follower, at the primary.
const FOLLOWER: ConnId = ConnId(61);
/// Of a primary, at its follower.
const DIALLED: ConnId = ConnId(62);
const RESP_OF_A: &str = "10.0.0.1:6379";
const RESP_OF_B: &str = "[::2]:6380";

fn at(text: &str) -> Option<Address> {
    Some(Address::new(text).expect("an address"))
}

/// View 1: `a` is its active primary, alone.
fn record_of_a() -> ViewRecord {
    let a = identity("a", 1);
    ViewRecord::bootstrap(ClusterId(1), &a, 1000).activate(&a)
}

/// `a`, the serving primary of view 1, which answers Redis clients.
fn primary() -> Bench {
    let mut bench = Bench::primary();
    bench.replica.set_resp_address(at(RESP_OF_A));
    bench
}

/// `b`, which has adopted view 1.
fn follower(resp: Option<Address>) -> Bench {
    let mut bench = Bench::fresh("b");
    bench.replica.set_resp_address(resp);
    bench.tell(&record_of_a());
    bench.adopted(1);
    bench
}

/// The messages that `from` sends over `at_sender` come to `to`, byte by byte as they are on the wire; whether there
/// were any.
fn carry(
    from: &mut Bench,
    at_sender: ConnId,
    to: &mut Bench,
    (side, conn): (Side, ConnId),
) -> bool {
    let is_it = |action: &Action| action.destination() == Some(Destination::Conn(at_sender));
    let sent = from.take(is_it);
    for action in &sent {
        let mut bytes = Vec::new();
        action.encode(&mut bytes);
        let frame = Frame::decode(&bytes, FRAME_PAYLOAD_BYTES_MAX);
        let frame = frame.expect("a good frame").expect("a whole frame");
        to.frame(side, conn, &frame);
        to.event(Event::Flush);
    }
    !sent.is_empty()
}

/// The bytes of the log from an entry on.
fn log_from(bench: &Bench, from: Index) -> Vec<u8> {
    let mut bytes = Vec::new();
    for batch in &bench.appended {
        let mut rest = batch.bytes();
        while !rest.is_empty() {
            let entry = Entry::decode(rest).expect("a good entry");
            let (this, behind) = rest.split_at(ENTRY_HEADER_BYTES + entry.payload.len());
            if entry.header.index >= from {
                bytes.extend_from_slice(this);
            }
            rest = behind;
        }
    }
    bytes
}

/// What the loops of both would do: `primary` reads its log for its follower, and both say what they have to say.
fn run(primary: &mut Bench, at_primary: ConnId, follower: &mut Bench) {
    loop {
        let mut goes_on = carry(follower, DIALLED, primary, (Side::Follower, at_primary));
        goes_on |= carry(primary, at_primary, follower, (Side::Primary, DIALLED));
        let is_read = |action: &Action| matches!(action, Action::ReadLog(ReadFor::Follower(_), ..));
        for read in primary.take(is_read) {
            if let Action::ReadLog(read, from, _) = read {
                let bytes = log_from(primary, from);
                primary.event(Event::LogRead(read, bytes));
                goes_on = true;
            }
        }
        if !goes_on {
            return;
        }
    }
}

/// `follower` has reached the primary, and follows.
fn follow(primary: &mut Bench, at_primary: ConnId, follower: &mut Bench) {
    follower.event(Event::Flush);
    let dials = follower.take(|action| matches!(action, Action::Dial(_)));
    assert!(!dials.is_empty(), "it dials");
    follower.event(Event::Dialled(DIALLED));
    run(primary, at_primary, follower);
}

/// Each follower: its name, its address, and whether it is the backup.
fn listed(bench: &Bench) -> Vec<(String, Option<String>, bool)> {
    let followers = bench.replica.followers();
    let one = followers.map(|one| {
        let name = one.name.as_str().to_owned();
        (name, one.resp.map(str::to_owned), one.is_backup)
    });
    one.collect()
}

fn b_listed(resp: Option<&str>, is_backup: bool) -> Vec<(String, Option<String>, bool)> {
    vec![("b".to_owned(), resp.map(str::to_owned), is_backup)]
}

#[test]
fn a_primary_and_its_follower_tell_each_other() {
    let mut a = primary();
    assert_eq!(a.replica.primary_resp(), Some(RESP_OF_A), "itself");
    assert!(listed(&a).is_empty());
    let mut b = follower(at(RESP_OF_B));
    assert_eq!(b.replica.primary_resp(), None, "it has not followed yet");
    follow(&mut a, FOLLOWER, &mut b);
    assert_eq!(b.replica.primary_resp(), Some(RESP_OF_A));
    assert!(listed(&b).is_empty());
    assert_eq!(listed(&a), b_listed(Some(RESP_OF_B), false));
    let one = a.replica.followers().next().expect("b");
    assert_eq!(one.conn, FOLLOWER);
    let last = a.replica.standing().last.index;
    assert!(last > Index::ZERO);
    assert_eq!(one.acknowledged, last);
}

#[test]
fn who_answers_no_redis_clients_is_told_apart_from_who_does() {
    let mut a = Bench::primary();
    let mut b = follower(None);
    follow(&mut a, FOLLOWER, &mut b);
    assert_eq!(a.replica.primary_resp(), None);
    assert_eq!(b.replica.primary_resp(), None);
    assert_eq!(listed(&a), b_listed(None, false));
}

#[test]
fn a_follower_that_comes_back_elsewhere_is_listed_there() {
    let mut a = primary();
    let mut b = follower(at(RESP_OF_B));
    follow(&mut a, FOLLOWER, &mut b);
    // The old connection is still there: the newest stream of a store counts.
    let mut b = follower(at("b:7"));
    let again = ConnId(63);
    follow(&mut a, again, &mut b);
    assert_eq!(listed(&a), b_listed(Some("b:7"), false));
    assert_eq!(a.replica.followers().next().expect("b").conn, again);
    a.event(Event::Closed(again));
    assert!(listed(&a).is_empty());
}

#[test]
fn an_address_is_believed_as_long_as_its_life_of_the_primary_is_primary() {
    let mut a = primary();
    let mut b = follower(at(RESP_OF_B));
    follow(&mut a, FOLLOWER, &mut b);
    // Its own next view: it is the same life, and there all the time.
    let fenced = record_of_a().drop_backup(&identity("a", 1));
    b.tell(&fenced);
    assert_eq!(b.replica.primary_resp(), Some(RESP_OF_A));
    b.adopted(2);
    assert_eq!(b.replica.primary_resp(), Some(RESP_OF_A));
    // Its next life, which may listen elsewhere.
    let mut restarted = ViewRecord::bootstrap(ClusterId(1), &identity("a", 2), 1000);
    restarted.view = ViewNumber(3);
    b.tell(&restarted);
    b.adopted(3);
    assert_eq!(b.replica.primary_resp(), None);
}

#[test]
fn what_the_primary_of_a_lower_view_says_counts_for_nothing() {
    let mut a = primary();
    let mut b = follower(at(RESP_OF_B));
    b.event(Event::Flush);
    b.event(Event::Dialled(DIALLED));
    carry(&mut b, DIALLED, &mut a, (Side::Follower, FOLLOWER));
    // The Resume is on its way, and c is primary by now.
    let c = identity("c", 1);
    let mut record = ViewRecord::bootstrap(ClusterId(1), &c, 1000).activate(&c);
    record.view = ViewNumber(2);
    b.tell(&record);
    b.adopted(2);
    carry(&mut a, FOLLOWER, &mut b, (Side::Primary, DIALLED));
    assert_eq!(b.replica.primary_resp(), None);
}

#[test]
fn after_a_switchover_both_say_the_same_with_the_roles_exchanged() {
    let (id_a, id_b) = (identity("a", 1), identity("b", 1));
    let mut a = primary();
    let mut b = follower(at(RESP_OF_B));
    let own = Holder {
        name: id_a.name.clone(),
        token: id_a.token(Durability::Os),
    };
    let paired = record_of_a().join(own, (&id_b, id_b.token(Durability::Os)));
    for bench in [&mut a, &mut b] {
        bench.reports += 1;
        bench.tell(&paired);
        bench.adopted(2);
        bench.sync();
    }
    follow(&mut a, FOLLOWER, &mut b);
    assert_eq!(listed(&a), b_listed(Some(RESP_OF_B), true));
    assert_eq!(b.replica.primary_resp(), Some(RESP_OF_A));

    let handed = paired.hand_over().expect("there is a backup");
    for bench in [&mut a, &mut b] {
        bench.tell(&handed);
        bench.adopted(3);
    }
    assert!(listed(&a).is_empty(), "nobody follows it any more");
    assert_eq!(a.replica.primary_resp(), None, "b has not said it yet");
    assert_eq!(b.replica.primary_resp(), Some(RESP_OF_B));
    b.accept_swap();
    assert_eq!(b.replica.role_name(), RoleName::Primary);
    a.tell(&handed.activate(&id_b));
    follow(&mut b, FOLLOWER, &mut a);
    assert_eq!(a.replica.primary_resp(), Some(RESP_OF_B));
    let of_a = ("a".to_owned(), Some(RESP_OF_A.to_owned()), true);
    assert_eq!(listed(&b), [of_a]);
}

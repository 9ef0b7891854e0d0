//! The record as a compare-and-swap register.

use standin_core::identity::Durability;
use standin_core::view::{Reason, ViewRecord};
use standin_viewservice::{Action, Event};

use super::rig::{Rig, TERM, accepted, granted, holder, report_replies, stores, swap_replies};

fn join_of(rig: &Rig, name: &str) -> ViewRecord {
    let (a, b) = (rig.id("a"), rig.id(name));
    rig.record()
        .join(holder(&a, Durability::Os), (&b, b.token(Durability::Os)))
}

#[test]
fn the_answer_leaves_only_when_the_record_is_durable() {
    let mut rig = Rig::solo();
    rig.disk_is_slow = true;
    let joined = join_of(&rig, "b");
    let actions = rig.swap("a", joined.clone());
    let [Action::Store { state }] = actions.as_slice() else {
        panic!("{actions:?}");
    };
    assert_eq!(state.record, Some(joined.clone()));
    assert_eq!(rig.status().record.unwrap().view.0, 1, "not revealed");

    let actions = rig.stored();
    let [(conn, reply)] = swap_replies(&actions)[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(conn, rig.nodes["a"].conn);
    assert!(reply.accepted);
    assert_eq!(reply.record, Some(joined));
    assert_eq!(
        report_replies(&actions).len(),
        3,
        "and everybody hears of it"
    );
}

#[test]
fn of_two_swaps_from_one_record_only_the_first_is_accepted() {
    let mut rig = Rig::solo();
    rig.disk_is_slow = true;
    let expected = rig.record();
    let (joined, dropped) = (join_of(&rig, "b"), expected.drop_backup(&rig.id("a")));
    rig.swap_from("a", expected.clone(), joined.clone());
    // The same primary asks again on a new connection, having had no answer.
    rig.reconnect("a");
    assert_eq!(rig.swap_from("a", expected, dropped), [], "it waits");
    let actions = rig.stored();
    let answers: Vec<_> = (swap_replies(&actions).iter())
        .map(|(_, reply)| (reply.accepted, reply.record.clone()))
        .collect();
    assert_eq!(
        answers,
        [(true, Some(joined.clone())), (false, Some(joined))]
    );
}

/// R1: a Join given up must be fenced by a Drop, since it may still land.
#[test]
fn a_join_that_arrives_after_the_drop_that_fences_it_is_refused() {
    let mut rig = Rig::solo();
    let before = rig.record();
    let late_join = join_of(&rig, "b");
    let fence = before.drop_backup(&rig.id("a"));
    assert!(accepted(&rig.swap("a", fence.clone())));
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
    assert!(!accepted(&rig.swap_from("a", before, late_join)));
    assert_eq!(rig.record(), fence);
}

#[test]
fn a_swap_from_another_record_is_refused_with_the_present_one() {
    let mut rig = Rig::pair();
    let mut other = rig.record();
    other.reason = Reason::Dropped;
    let proposed = other.drop_backup(&rig.id("a"));
    let actions = rig.swap_from("a", other, proposed);
    assert_eq!(stores(&actions), 0);
    let [(_, reply)] = swap_replies(&actions)[..] else {
        panic!("{actions:?}");
    };
    assert!(!reply.accepted);
    assert_eq!(reply.record, Some(rig.record()));
}

#[test]
fn only_the_primary_may_ask_and_only_for_its_moves() {
    let mut rig = Rig::pair();
    let dropped_by_b = rig.record().drop_backup(&rig.id("b"));
    assert!(!accepted(&rig.swap("b", dropped_by_b)));
    let deposed = (rig.record()).depose(&rig.id("b"), Reason::LeaseExpired);
    assert!(!accepted(&rig.swap("a", deposed)));
    let unchanged = rig.record();
    assert!(!accepted(&rig.swap("a", unchanged)));
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
}

/// R6: the view service never judges who is in sync.
#[test]
fn the_primarys_word_is_taken_on_who_joins() {
    let mut rig = Rig::solo();
    rig.node("a").last = (1, 1000);
    rig.report("a");
    rig.kill("c");
    let joined = join_of(&rig, "c");
    assert!(accepted(&rig.swap("a", joined)));
}

#[test]
fn a_deposed_primarys_swap_is_refused() {
    let mut rig = Rig::pair();
    let (expected, a) = (rig.record(), rig.id("a"));
    rig.node("a").renews = false;
    rig.run(TERM);
    assert_eq!(rig.view().1, "b");
    let dropped = expected.drop_backup(&a);
    assert!(!accepted(&rig.swap_from("a", expected, dropped)));
    assert_eq!(rig.view().1, "b");
}

#[test]
fn a_dead_lifes_swap_that_comes_after_its_successor_is_refused() {
    let mut rig = Rig::solo();
    let (expected, dead) = (rig.record(), rig.id("a"));
    rig.disk_is_slow = true;
    rig.start("a", 2);
    rig.report("a");
    rig.node("a").identity = dead.clone();
    let dropped = expected.drop_backup(&dead);
    assert_eq!(rig.swap_from("a", expected, dropped), []);
    assert!(!accepted(&rig.stored()));
}

#[test]
fn a_dead_lifes_swap_that_comes_before_any_successor_counts() {
    let mut rig = Rig::pair_at(Durability::Memory);
    let (expected, dead) = (rig.record(), rig.id("a"));
    rig.kill("b");
    rig.start("a", 2);
    rig.report("a");
    assert_eq!(rig.record(), expected, "what was in memory is gone");
    // Before it asked to go on alone, its first life had synced its log.
    let alive = rig.id("a");
    rig.node("a").identity = dead.clone();
    assert!(accepted(&rig.swap("a", expected.drop_backup(&dead))));
    rig.node("a").identity = alive;
    rig.report("a");
    assert_eq!(rig.view(), (4, "a".to_owned(), false));
}

#[test]
fn a_swap_before_the_first_view_is_refused() {
    let mut rig = Rig::pair();
    let (expected, proposed) = (rig.record(), rig.record().drop_backup(&rig.id("a")));
    let nodes = std::mem::take(&mut rig.nodes);
    let mut rig = Rig::new();
    rig.nodes = nodes;
    assert!(!accepted(&rig.swap_from("a", expected, proposed)));
}

#[test]
fn a_second_swap_of_one_connection_that_would_wait_is_turned_away() {
    let mut rig = Rig::pair();
    rig.disk_is_slow = true;
    let expected = rig.record();
    let dropped = expected.drop_backup(&rig.id("a"));
    rig.swap_from("a", expected.clone(), dropped.clone());
    assert_eq!(rig.swap_from("a", expected.clone(), dropped.clone()), []);
    let actions = rig.swap_from("a", expected.clone(), dropped.clone());
    let [(_, reply)] = swap_replies(&actions)[..] else {
        panic!("{actions:?}");
    };
    assert!(!reply.accepted);
    assert_eq!(reply.record, Some(expected), "what is durable now");
    assert_eq!(swap_replies(&rig.stored()).len(), 2, "the two others");
}

#[test]
fn a_connection_that_closes_is_not_answered_and_its_swap_lands_all_the_same() {
    let mut rig = Rig::pair();
    rig.disk_is_slow = true;
    let expected = rig.record();
    let dropped = expected.drop_backup(&rig.id("a"));
    rig.swap_from("a", expected.clone(), dropped.clone());
    rig.swap_from("a", expected, dropped.clone());
    let conn = rig.nodes["a"].conn;
    assert_eq!(rig.handle(Event::Closed { conn }), []);
    let actions = rig.stored();
    assert_eq!(swap_replies(&actions), []);
    assert_eq!(rig.record(), dropped);
}

#[test]
fn a_primary_with_a_lapsed_lease_may_still_drop_while_nobody_took_over() {
    let mut rig = Rig::pair();
    rig.kill("b");
    rig.node("a").reports = false;
    rig.run(3 * TERM);
    let dropped = rig.record().drop_backup(&rig.id("a"));
    assert!(accepted(&rig.swap("a", dropped)));
    assert_eq!(rig.lease(), None, "that renews nothing");
}

#[test]
fn a_pair_changes_places_and_the_new_primary_gets_a_lease_of_its_own() {
    let mut rig = Rig::pair();
    rig.report("a");
    assert!(rig.lease().is_some());
    let handed = rig.record().hand_over().unwrap();
    let actions = rig.swap("a", handed.clone());
    assert!(accepted(&actions));
    assert_eq!(report_replies(&actions).len(), 3, "everybody hears of it");
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    assert_eq!(rig.lease(), None, "the old primary has none any more");
    let active = handed.activate(&rig.id("b"));
    assert!(accepted(&rig.swap("b", active.clone())), "at once");
    assert_eq!(rig.record(), active);
    assert_eq!(rig.lease(), Some(TERM));
    assert_eq!(active.holders.len(), 2);
}

#[test]
fn while_hand_over_is_on_its_way_to_the_disk_the_old_primary_gets_no_more_time() {
    let mut rig = Rig::pair();
    rig.disk_is_slow = true;
    let handed = rig.record().hand_over().unwrap();
    rig.swap("a", handed);
    let actions = rig.report_renewing("a", Some(rig.record().id()));
    assert!(!granted(&actions));
}

#[test]
fn nobody_is_handed_a_view_who_is_not_there() {
    let mut rig = Rig::pair();
    let handed = rig.record().hand_over().unwrap();
    rig.kill("b");
    assert!(!accepted(&rig.swap("a", handed.clone())), "b is dead");
    rig.start("b", 2);
    rig.report("b");
    assert!(
        !accepted(&rig.swap("a", handed)),
        "and this is another life"
    );
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
}

#[test]
fn hand_over_that_comes_after_its_fence_is_refused() {
    let mut rig = Rig::pair();
    let before = rig.record();
    let late = before.hand_over().unwrap();
    let fence = before.drop_backup(&rig.id("a"));
    assert!(accepted(&rig.swap("a", fence.clone())));
    assert!(!accepted(&rig.swap_from("a", before, late)));
    assert_eq!(rig.record(), fence);
}

#[test]
fn of_a_view_that_was_handed_over_and_never_activated_the_old_primary_may_be_the_next() {
    let mut rig = Rig::pair();
    let handed = rig.record().hand_over().unwrap();
    assert!(accepted(&rig.swap("a", handed)));
    rig.kill("b");
    rig.run(3 * TERM);
    assert_eq!(rig.view(), (4, "a".to_owned(), false));
    assert_eq!(rig.record().holders.len(), 2, "R2");
    assert_eq!(rig.record().backup, None);
}

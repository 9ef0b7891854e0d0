//! The lease: who is granted it, from when on it counts, and how it ends early.

use standin_core::view::{Reason, ViewId, ViewNumber};

use super::rig::{REPORT_EVERY, Rig, TERM, accepted, granted, holder, identity};
use standin_core::identity::Durability;

#[test]
fn only_the_very_life_that_is_primary_is_granted_and_only_for_its_view() {
    let mut rig = Rig::pair();
    let view = rig.record().id();
    assert!(granted(&rig.report_renewing("a", Some(view))));
    assert!(!granted(&rig.report_renewing("a", None)));
    assert!(!granted(&rig.report_renewing("b", Some(view))));
    let other = ViewId {
        view: ViewNumber(view.view.0 - 1),
        ..view
    };
    assert!(!granted(&rig.report_renewing("a", Some(other))));
}

/// R4: no incarnation resumes a view it held before a restart.
#[test]
fn a_restarted_primary_is_not_granted_its_old_view() {
    let mut rig = Rig::solo();
    let view = rig.record().id();
    rig.kill("a");
    rig.start("a", 2);
    assert!(!granted(&rig.report_renewing("a", Some(view))));
    assert_eq!(rig.view(), (2, "a".to_owned(), false), "it gets a new one");
}

#[test]
fn the_term_counts_from_when_the_renewal_was_processed() {
    let mut rig = Rig::pair();
    rig.node("a").renews = false;
    rig.node("b").reports = false;
    rig.run(REPORT_EVERY);
    let view = rig.record().id();
    assert!(granted(&rig.report_renewing("a", Some(view))));
    assert_eq!(rig.lease(), Some(TERM));
    rig.run(TERM - 1);
    assert_eq!(rig.lease(), Some(1));
    rig.run(1);
    assert_eq!(rig.lease(), None);
}

#[test]
fn an_inactive_view_has_no_lease_and_activation_counts_as_a_renewal() {
    let mut rig = Rig::new();
    rig.start("a", 1);
    rig.report("a");
    let view = rig.record().id();
    assert!(!granted(&rig.report_renewing("a", Some(view))));
    assert_eq!(rig.lease(), None);
    rig.disk_is_slow = true;
    let active = rig.record().activate(&rig.id("a"));
    rig.swap("a", active);
    rig.run(100);
    assert_eq!(rig.lease(), None, "not before it is durable");
    assert!(accepted(&rig.stored()));
    assert_eq!(rig.lease(), Some(TERM));
}

#[test]
fn join_and_drop_neither_end_nor_prolong_the_lease() {
    let mut rig = Rig::solo();
    let before = rig.lease().unwrap();
    assert!(before < TERM);
    let (a, b) = (rig.id("a"), rig.id("b"));
    let joined = (rig.record()).join(holder(&a, Durability::Os), (&b, b.token(Durability::Os)));
    assert!(accepted(&rig.swap("a", joined)));
    assert_eq!(rig.lease(), Some(before));
    let dropped = rig.record().drop_backup(&a);
    assert!(accepted(&rig.swap("a", dropped)));
    assert_eq!(rig.lease(), Some(before));
}

#[test]
fn a_lapsed_lease_is_granted_again_while_nobody_else_is_primary() {
    let mut rig = Rig::pair();
    rig.node("a").reports = false;
    rig.kill("b");
    rig.run(5 * TERM);
    assert_eq!(rig.lease(), None);
    assert_eq!(
        rig.view(),
        (2, "a".to_owned(), true),
        "no other holder lives"
    );
    assert!(granted(&rig.report("a")));
    assert_eq!(rig.lease(), Some(TERM));
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
}

#[test]
fn no_time_is_granted_once_a_successor_is_on_its_way_to_the_disk() {
    let mut rig = Rig::pair();
    rig.disk_is_slow = true;
    rig.node("a").reports = false;
    rig.run(TERM + 100);
    // The deposing record is being stored; a wakes up and asks for more.
    assert!(!granted(&rig.report("a")));
    rig.stored();
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    assert_eq!(rig.lease(), None);
}

#[test]
fn renewals_go_on_while_the_primarys_own_swap_is_stored() {
    let mut rig = Rig::pair();
    rig.disk_is_slow = true;
    let dropped = rig.record().drop_backup(&rig.id("a"));
    rig.swap("a", dropped);
    rig.node("b").reports = false;
    rig.run(3 * TERM);
    assert!(
        granted(&rig.report("a")),
        "the old view is still the record"
    );
    rig.stored();
    assert_eq!(rig.view(), (3, "a".to_owned(), true));
    assert_eq!(rig.lease(), Some(TERM));
}

#[test]
fn a_release_ends_the_lease_at_once_and_for_good() {
    let mut rig = Rig::pair();
    let view = rig.record().id();
    rig.release("a", view);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    assert_eq!(rig.record().reason, Reason::Released);
}

#[test]
fn a_release_by_others_or_of_other_views_is_ignored() {
    let mut rig = Rig::pair();
    let view = rig.record().id();
    rig.release("b", view);
    let old = ViewId {
        view: ViewNumber(1),
        ..view
    };
    rig.release("a", old);
    let genuine = rig.id("a");
    rig.node("a").identity = identity("a", 9);
    rig.release("a", view);
    rig.node("a").identity = genuine;
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
}

#[test]
fn whoever_released_is_granted_nothing_more_in_that_view() {
    let mut rig = Rig::solo();
    let view = rig.record().id();
    rig.release("a", view);
    assert!(!granted(&rig.report_renewing("a", Some(view))));
    rig.run(5 * TERM);
    assert_eq!(rig.view(), (1, "a".to_owned(), true), "no other holder");
    assert_eq!(rig.lease(), None);
}

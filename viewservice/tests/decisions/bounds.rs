//! Everything that others can make grow has a bound.

use standin_core::identity::CLEAN_LIVES_MAX;
use standin_core::message::{ADDRESS_BYTES_MAX, Refusal};
use standin_viewservice::{Action, Event, TROUBLE_BYTES_MAX, WAITING_MAX};

use super::rig::{Rig, refusals, stores, swap_replies};

#[test]
fn a_report_that_is_too_long_or_has_no_address_that_prints_is_refused() {
    let mut rig = Rig::pair();
    let good = rig.make_report("b", None);
    let mut address = good.clone();
    address.address = "x".repeat(ADDRESS_BYTES_MAX + 1);
    let mut unprintable = good.clone();
    unprintable.address = "h:1\x1b[2J".to_owned();
    let mut lives = good.clone();
    lives.identity.clean_lives = vec![good.identity.life; CLEAN_LIVES_MAX + 1];
    for report in [address, unprintable, lives] {
        let conn = rig.conn();
        let report = Box::new(report);
        let actions = rig.handle(Event::Report { conn, report });
        assert_eq!(refusals(&actions), [&Refusal::Protocol]);
    }
}

#[test]
fn a_remark_stays_on_its_line() {
    let mut rig = Rig::pair();
    rig.node("b").trouble = Some("first\nsecond\x1b[2J".to_owned());
    rig.report("b");
    let status = rig.status();
    let kept = status.replicas[1].trouble.as_deref();
    assert_eq!(kept, Some("first second [2J"));
}

#[test]
fn a_long_remark_is_cut_off_between_characters() {
    let mut rig = Rig::pair();
    rig.node("b").trouble = Some("ä".repeat(TROUBLE_BYTES_MAX));
    rig.report("b");
    let status = rig.status();
    let kept = status.replicas[1].trouble.as_ref().unwrap();
    assert_eq!(kept.len(), TROUBLE_BYTES_MAX);
}

#[test]
fn only_so_many_requests_wait_for_a_store() {
    let mut rig = Rig::pair();
    rig.disk_is_slow = true;
    let dropped = rig.record().drop_backup(&rig.id("a"));
    rig.swap("a", dropped.clone());
    let mut turned_away = 0;
    for _ in 0..WAITING_MAX + 3 {
        rig.reconnect("a");
        turned_away += swap_replies(&rig.swap("a", dropped.clone())).len();
    }
    assert_eq!(turned_away, 3);
    assert_eq!(swap_replies(&rig.stored()).len(), WAITING_MAX + 1);
}

#[test]
fn a_later_report_takes_the_place_of_one_that_waits() {
    let mut rig = Rig::pair();
    rig.disk_is_slow = true;
    let view = rig.record().id();
    rig.release("a", view);
    rig.start("d", 1);
    assert_eq!(rig.report("d"), []);
    rig.node("d").last = (2, 7);
    assert_eq!(rig.report("d"), []);
    assert_eq!(stores(&rig.stored()), 1, "d's name");
    let actions = rig.stored();
    let [Action::Send { .. }] = actions.as_slice() else {
        panic!("{actions:?}");
    };
    assert_eq!(rig.status().replicas[3].standing.unwrap().last.index.0, 7);
}

//! Who may come back alone (`protocol.md` section 7): the holders in the record, nobody else.

use standin_core::identity::{BootId, Durability, Identity, StoreId};
use standin_core::message::{Refusal, RoleName, TokenDead};
use standin_core::view::{DataEpoch, ViewId, ViewNumber};

use standin_viewservice::Event;

use super::rig::{Rig, TERM, accepted, refusals, stores};

/// Both die; `name` is started again, changed by `change`; whether it becomes primary.
fn comes_back(
    durability: Durability,
    name: &'static str,
    change: impl FnOnce(&mut super::rig::Node),
) -> (bool, String) {
    let mut rig = Rig::pair_at(durability);
    for name in ["a", "b"] {
        rig.node(name).last = (2, 50);
        rig.node(name).commit = 40;
        rig.report(name);
    }
    rig.kill("a");
    rig.kill("b");
    rig.run(TERM + 100);
    rig.start(name, 2);
    change(rig.node(name));
    rig.report(name);
    rig.run(3 * TERM);
    let (view, primary, _) = rig.view();
    let words = rig.unavailable();
    (view == 3 && primary == name, words)
}

#[test]
fn a_restarted_process_holds_what_is_in_the_page_cache_or_on_disk() {
    assert!(comes_back(Durability::Os, "a", |_| {}).0);
    assert!(comes_back(Durability::Os, "b", |_| {}).0);
    assert!(comes_back(Durability::Disk, "b", |_| {}).0);
    let (serves, words) = comes_back(Durability::Memory, "b", |_| {});
    assert!(!serves);
    assert!(words.contains("b was restarted"), "{words}");
    assert!(words.contains("start a ("), "{words}");
}

#[test]
fn a_rebooted_machine_holds_what_is_on_disk() {
    let reboot = |node: &mut super::rig::Node| node.identity.life.boot = BootId(8);
    assert!(comes_back(Durability::Disk, "b", reboot).0);
    let (serves, words) = comes_back(Durability::Os, "b", reboot);
    assert!(!serves);
    assert!(words.contains("the machine of b was rebooted"), "{words}");
    assert!(
        words.contains("standin recover --primary b --accept-loss"),
        "{words}"
    );
}

#[test]
fn a_clean_stop_keeps_what_was_held() {
    let clean = |node: &mut super::rig::Node| {
        let before = super::rig::identity("b", 1).life;
        node.identity.clean_lives.push(before);
        node.identity.life.boot = BootId(8);
    };
    assert!(comes_back(Durability::Os, "b", clean).0);
    assert!(comes_back(Durability::Memory, "b", clean).0);
}

#[test]
fn a_replaced_disk_holds_nothing() {
    let (serves, words) = comes_back(Durability::Disk, "b", |node| {
        node.identity.store = StoreId(999);
        node.last = (0, 0);
        node.commit = 0;
        node.replace = true;
    });
    assert!(!serves);
    assert!(
        words.contains("b runs on another data directory"),
        "{words}"
    );
}

#[test]
fn a_store_that_comes_back_with_less_than_it_had_holds_nothing() {
    let (serves, words) = comes_back(Durability::Disk, "b", |node| node.last = (2, 39));
    assert!(!serves);
    assert!(
        words.contains("data directory of b is an old copy"),
        "{words}"
    );
    let forgot_its_view = comes_back(Durability::Disk, "b", |node| {
        node.view = Some(ViewId {
            view: ViewNumber(1),
            ..ViewId::default()
        });
    });
    assert!(!forgot_its_view.0);
    // What it had beyond the commit was answered to nobody.
    assert!(comes_back(Durability::Disk, "b", |node| node.last = (2, 40)).0);
}

#[test]
fn a_replica_that_seeks_what_its_log_lacks_is_not_named_and_is_fit_again_when_it_has_it() {
    let mut rig = Rig::pair_at(Durability::Disk);
    for name in ["a", "b"] {
        rig.node(name).last = (2, 50);
        rig.node(name).commit = 40;
        rig.report(name);
    }
    rig.kill("a");
    rig.kill("b");
    rig.run(TERM + 100);
    // Its log is damaged after entry 7: it says so, and that it is out of service.
    rig.start("b", 2);
    let node = rig.node("b");
    node.role = RoleName::Quarantined;
    node.last = (1, 7);
    node.commit = 0;
    node.trouble = Some("the log is damaged, after entry 7".to_owned());
    rig.report("b");
    rig.run(3 * TERM);
    assert_eq!(rig.view().0, 2, "nobody is named");
    let words = rig.unavailable();
    assert!(
        words.contains("the log is damaged, after entry 7"),
        "{words}"
    );
    // It is whole again, in a life of its own.
    rig.start("b", 3);
    let node = rig.node("b");
    node.role = RoleName::Spare;
    node.last = (2, 50);
    node.commit = 40;
    node.trouble = None;
    rig.report("b");
    rig.run(TERM);
    let (view, primary, _) = rig.view();
    assert_eq!((view, primary), (3, "b".to_owned()));
}

#[test]
fn a_copy_of_a_role_holders_directory_is_recognised_after_a_restart_of_the_service() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.restart(TERM, 0);
    rig.start("b", 1);
    rig.node("b").identity.life.incarnation.nonce = 12345;
    rig.run(5 * TERM);
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
    let words = rig.unavailable();
    assert!(
        words.contains("data directory of b is an old copy"),
        "{words}"
    );
}

#[test]
fn a_spare_that_hears_of_commits_beyond_its_log_is_no_old_copy() {
    let mut rig = Rig::solo();
    rig.node("c").last = (1, 50);
    rig.node("c").commit = 100;
    rig.report("c");
    let (a, c) = (rig.id("a"), rig.id("c"));
    let joined = rig.record().join(
        super::rig::holder(&a, Durability::Os),
        (&c, c.token(Durability::Os)),
    );
    assert!(accepted(&rig.swap("a", joined)));
    rig.node("c").last = (2, 60);
    rig.node("c").commit = 60;
    rig.kill("a");
    rig.run(TERM);
    assert_eq!(rig.view(), (3, "c".to_owned(), false));
}

#[test]
fn a_copy_of_the_primarys_directory_proves_nothing() {
    let mut rig = Rig::pair();
    rig.restart(TERM, 0);
    rig.report("b");
    rig.start("a", 1);
    rig.node("a").identity.life.incarnation.nonce = 12345;
    rig.report("a");
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
}

#[test]
fn a_quarantined_holder_is_passed_over() {
    let (serves, words) = comes_back(Durability::Os, "b", |node| {
        node.role = RoleName::Quarantined;
        node.trouble = Some("its log diverges at entry 7".to_owned());
    });
    assert!(!serves);
    assert!(
        words.contains("b is out of service: its log diverges at entry 7"),
        "{words}"
    );
}

/// Section 7, third row: B dies, Drop, P dies: only P may come back.
#[test]
fn a_dropped_backup_may_not_come_back_alone() {
    let mut rig = Rig::pair();
    rig.kill("b");
    let dropped = rig.record().drop_backup(&rig.id("a"));
    assert!(accepted(&rig.swap("a", dropped)));
    rig.kill("a");
    rig.start("b", 2);
    rig.run(5 * TERM);
    assert_eq!(rig.view(), (3, "a".to_owned(), true));
    let words = rig.unavailable();
    assert!(words.contains("start a (if that can never"), "{words}");
    rig.start("a", 2);
    rig.report("a");
    assert_eq!(rig.view(), (4, "a".to_owned(), false));
}

/// Section 7, fifth row: P dies, B activates, B dies: only B may come back.
#[test]
fn a_deposed_primary_may_not_come_back_alone_once_its_successor_served() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.run(TERM);
    let active = rig.record().activate(&rig.id("b"));
    assert!(accepted(&rig.swap("b", active)));
    rig.kill("b");
    rig.start("a", 2);
    rig.run(5 * TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), true));
    rig.start("b", 2);
    rig.report("b");
    assert_eq!(rig.view(), (4, "b".to_owned(), false));
}

#[test]
fn a_new_data_epoch_begins_its_logs_anew() {
    let mut rig = Rig::pair();
    rig.node("c").last = (2, 50);
    rig.node("c").commit = 50;
    rig.report("c");
    let mut state = rig.service.state().clone();
    // As an operator's Force leaves it: c primary in a new data epoch, with a shorter log.
    let record = state.record.as_mut().unwrap();
    record.data_epoch = DataEpoch(1);
    record.view = ViewNumber(9);
    let mut rig = Rig::on(state, TERM, rig.now_ms);
    rig.start("b", 1);
    rig.node("b").last = (2, 50);
    rig.node("b").commit = 50;
    rig.node("b").view = Some(ViewId {
        data_epoch: DataEpoch(0),
        view: ViewNumber(2),
    });
    rig.report("b");
    rig.node("b").view = None;
    rig.node("b").last = (2, 3);
    rig.node("b").commit = 3;
    rig.run(2 * TERM);
    assert_eq!(rig.view(), (10, "b".to_owned(), false));
}

/// A pair at `disk` of which `b` dies and comes back as an older copy of its store: it has reported
/// once, from the view and the end of the log that the copy has.
fn pair_with_an_old_copy() -> Rig {
    let mut rig = Rig::pair_at(Durability::Disk);
    for name in ["a", "b"] {
        rig.node(name).last = (2, 50);
        rig.node(name).commit = 50;
        rig.report(name);
    }
    rig.kill("b");
    rig.start("b", 2);
    rig.node("b").last = (1, 30);
    rig.node("b").commit = 30;
    rig.node("b").view = Some(view_id(1));
    rig.report("b");
    rig.node("b").view = None; // it adopts what it was told
    rig
}

fn view_id(number: u64) -> ViewId {
    ViewId {
        view: ViewNumber(number),
        ..ViewId::default()
    }
}

/// `a` dies; whether `b` becomes primary.
fn takes_over(mut rig: Rig) -> bool {
    let (view, ..) = rig.view();
    rig.kill("a");
    rig.run(3 * TERM);
    rig.view() == (view + 1, "b".to_owned(), false)
}

/// `a` drops its backup.
fn drop_backup(rig: &mut Rig) {
    let dropped = rig.record().drop_backup(&rig.id("a"));
    assert!(accepted(&rig.swap("a", dropped)));
}

/// `a` makes `b`, in the life that `b` says, its backup.
fn join(rig: &mut Rig, b: &Identity) {
    let own = super::rig::holder(&rig.id("a"), Durability::Disk);
    let joined = rig.record().join(own, (b, b.token(Durability::Disk)));
    assert!(accepted(&rig.swap("a", joined)));
}

#[test]
fn an_old_copy_does_not_get_fit_by_later_reports() {
    let mut rig = pair_with_an_old_copy();
    rig.report("b"); // in the newest view
    rig.node("b").last = (2, 50); // as far as it was seen, but not as far as it had acknowledged
    rig.node("b").commit = 50;
    rig.run(TERM);
    assert!(!takes_over(rig));
}

#[test]
fn an_old_copy_does_not_get_fit_by_a_later_life() {
    let mut rig = pair_with_an_old_copy();
    rig.node("b").last = (2, 50);
    rig.report("b");
    rig.kill("b");
    rig.start("b", 3);
    rig.run(TERM);
    let words = rig.unavailable();
    assert!(!takes_over(rig), "{words}");
}

#[test]
fn an_old_copy_is_fit_again_once_the_primary_has_joined_it() {
    let mut rig = pair_with_an_old_copy();
    drop_backup(&mut rig);
    rig.report("b");
    rig.node("b").last = (3, 60);
    rig.report("b");
    let b = rig.id("b");
    join(&mut rig, &b);
    rig.run(TERM);
    assert!(takes_over(rig));
}

#[test]
fn a_report_from_before_the_join_that_comes_after_it_makes_nobody_unfit() {
    let mut rig = pair_with_an_old_copy();
    drop_backup(&mut rig);
    rig.report("b");
    let b = rig.id("b");
    join(&mut rig, &b);
    rig.node("b").view = Some(view_id(3)); // it left before b had caught up
    rig.report("b");
    rig.node("b").view = None;
    rig.node("b").last = (4, 60);
    rig.run(TERM);
    assert!(takes_over(rig));
}

#[test]
fn a_join_does_not_vouch_for_an_old_copy_that_came_back_after_it_was_asked() {
    let mut rig = pair_with_an_old_copy();
    drop_backup(&mut rig);
    rig.node("b").last = (3, 60);
    rig.node("b").commit = 60;
    rig.report("b");
    let b = rig.id("b");
    rig.kill("b");
    rig.start("b", 3);
    rig.node("b").last = (1, 30);
    rig.report("b");
    join(&mut rig, &b); // it was on its way
    rig.run(TERM);
    assert!(!takes_over(rig));
}

#[test]
fn a_join_vouches_for_a_later_life_that_has_lost_nothing_since() {
    let mut rig = pair_with_an_old_copy();
    drop_backup(&mut rig);
    rig.node("b").last = (3, 60);
    rig.node("b").commit = 60;
    rig.report("b");
    let b = rig.id("b");
    rig.kill("b");
    rig.start("b", 3);
    rig.report("b");
    join(&mut rig, &b); // it was on its way
    rig.run(TERM);
    assert!(takes_over(rig));
}

/// Section 12: a replica whose disk failed says so, and no later life passes for the holder it was.
#[test]
fn a_token_that_is_said_to_be_dead_stays_dead_across_a_restart_of_the_view_service() {
    let mut rig = Rig::pair_at(Durability::Os);
    assert!(rig.tell_dead("a"));
    assert!(rig.tell_dead("a"), "it may be said twice");
    rig.kill("a");
    rig.kill("b");
    rig.restart(TERM, 10);
    rig.start("a", 2);
    let refused = rig.report("a");
    assert_eq!(refusals(&refused), [&Refusal::TokenDead]);
    // It has noted that itself, so its next life counts as one of another boot.
    rig.start("a", 3);
    rig.node("a").identity.life.boot = BootId(8);
    rig.report("a");
    rig.run(3 * TERM);
    assert_eq!(rig.view().0, 2, "nobody takes over");
    let words = rig.unavailable();
    assert!(words.contains("start b (the disk of a failed"), "{words}");
    rig.start("b", 2);
    rig.run(3 * TERM);
    assert_eq!(rig.view().1, "b");
}

/// Section 7: what it has when it is turned away was seen, too. Nothing else was of this process.
#[test]
fn a_store_that_was_turned_away_and_comes_back_with_less_holds_nothing() {
    for (last, is_older) in [(50, false), (20, true)] {
        let mut rig = Rig::pair_at(Durability::Disk);
        for name in ["a", "b"] {
            rig.node(name).last = (2, 50);
            rig.node(name).commit = 40;
        }
        assert!(rig.tell_dead("b"));
        rig.kill("a");
        rig.kill("b");
        rig.restart(TERM, 10);
        rig.start("b", 2);
        let refused = rig.report("b");
        assert_eq!(refusals(&refused), [&Refusal::TokenDead]);
        rig.run(3 * TERM);
        assert_eq!(rig.view().0, 2, "it was turned away");
        // Its boot is another by now, and its count of starts is what it would be.
        rig.start("b", 3);
        let node = rig.node("b");
        node.identity.life.boot = BootId(8);
        (node.last, node.commit) = ((2, last), last.min(40));
        rig.report("b");
        rig.run(3 * TERM);
        assert_eq!(rig.view().1 == "b", !is_older, "{last}");
        let words = rig.unavailable();
        let is_told = words.contains("data directory of b is an old copy");
        assert_eq!(is_told, is_older, "{words}");
    }
}

#[test]
fn at_level_disk_a_failed_disk_takes_nothing_along_that_counts() {
    let mut rig = Rig::pair_at(Durability::Disk);
    assert!(rig.tell_dead("a"));
    rig.kill("a");
    rig.kill("b");
    rig.run(TERM + 100);
    rig.start("a", 2);
    rig.node("a").identity.life.boot = BootId(8);
    rig.report("a");
    rig.run(3 * TERM);
    assert_eq!(rig.view().1, "a");
}

#[test]
fn of_a_store_that_nobody_knows_nothing_is_kept() {
    let mut rig = Rig::pair_at(Durability::Os);
    rig.start("z", 1);
    rig.node("z").reports = false;
    rig.node("z").identity.store = StoreId(999);
    let dead = TokenDead {
        store: StoreId(999),
        boot: BootId(7),
    };
    let conn = rig.node("z").conn;
    let said = rig.handle(Event::TokenDead { conn, dead });
    assert_eq!(stores(&said), 0);
    assert_eq!(said.len(), 1, "but it is answered");
}

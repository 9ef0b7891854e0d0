//! Poisoned input (`protocol.md` section 12): whoever is primary next is told what to skip, and nobody else is
//! believed than the primary that failed.

use standin_core::entry::Index;
use standin_core::message::{Poisoned, RoleName};
use standin_core::poison::{Poison, SKIPS_MAX, Skip};
use standin_core::view::{Reason, ViewNumber};
use standin_viewservice::{Action, Event};

use super::rig::{Rig, TERM, accepted, stores};

fn skip(index: u64) -> Skip {
    Skip {
        index: Index(index),
        view: ViewNumber(2),
    }
}

/// The present life of a replica tells of the machine's failure in its own or an earlier one.
fn fail(rig: &mut Rig, name: &str, start: u64, index: u64) -> Vec<Action> {
    let (conn, identity) = (rig.nodes[name].conn, rig.id(name));
    let mut life = identity.life.incarnation;
    if life.start != start {
        life = super::rig::identity(name, start).life.incarnation;
    }
    let poison = Poison {
        skip: skip(index),
        life,
        words: "it panicked".to_owned(),
    };
    let poisoned = Box::new(Poisoned { identity, poison });
    rig.handle(Event::Poisoned { conn, poisoned })
}

/// It reports as one that does nothing any more.
fn retire(rig: &mut Rig, name: &'static str) {
    let node = rig.node(name);
    (node.role, node.renews) = (RoleName::Quarantined, false);
    rig.report(name);
}

fn activate(rig: &mut Rig, name: &str) {
    let active = rig.record().activate(&rig.id(name));
    assert!(accepted(&rig.swap(name, active)));
}

#[test]
fn a_primary_whose_machine_fails_gives_its_lease_back_and_the_next_skips_the_entry() {
    let mut rig = Rig::pair();
    let actions = fail(&mut rig, "a", 1, 9);
    assert_eq!(rig.view(), (3, "b".to_owned(), false), "at once");
    assert_eq!(rig.record().reason, Reason::Released);
    assert_eq!(rig.record().skips, [skip(9)]);
    assert_eq!(
        stores(&actions),
        2,
        "the entry was kept before anybody was named"
    );
    // It says so again, as it does until it reads of it.
    assert_eq!(stores(&fail(&mut rig, "a", 1, 9)), 0);

    // What comes after that view skips it, too: a replica that is named later may have an older log.
    activate(&mut rig, "b");
    rig.kill("b");
    rig.start("b", 2);
    rig.report("b");
    assert_eq!(rig.record().skips, [skip(9)]);
}

#[test]
fn only_the_life_that_served_last_is_believed() {
    let mut rig = Rig::pair();
    for (name, start) in [("b", 1), ("c", 1), ("a", 7)] {
        assert_eq!(stores(&fail(&mut rig, name, start, 9)), 0, "{name} {start}");
    }
    rig.kill("a");
    rig.run(TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    assert!(rig.record().skips.is_empty());

    // The candidate has not served, so the deposed one still is: whoever comes after the candidate is told.
    rig.start("a", 2);
    fail(&mut rig, "a", 1, 9);
    assert_eq!(rig.service.state().poison, Some(skip(9)));
    // But once the candidate serves it has applied the entry, or failed at it itself.
    activate(&mut rig, "b");
    assert_eq!(rig.service.state().poison, None);
    assert_eq!(stores(&fail(&mut rig, "a", 1, 9)), 0);
    rig.kill("b");
    rig.start("b", 2);
    rig.report("b");
    assert_eq!(rig.view(), (4, "b".to_owned(), false));
    assert!(rig.record().skips.is_empty(), "{:?}", rig.record().skips);
}

#[test]
fn a_lone_primary_that_failed_skips_the_entry_in_its_next_life_whatever_was_restarted() {
    let mut rig = Rig::solo();
    fail(&mut rig, "a", 1, 9);
    retire(&mut rig, "a");
    assert_eq!(rig.view(), (1, "a".to_owned(), true), "nobody else may");
    let why = rig.unavailable();
    assert!(why.contains("a is out of service"), "{why}");
    rig.restart(TERM, 10);
    rig.start("a", 2);
    rig.report("a");
    rig.run(3 * TERM);
    assert_eq!(rig.view(), (2, "a".to_owned(), false));
    assert_eq!(rig.record().skips, [skip(9)]);
}

#[test]
fn a_failure_that_is_told_by_the_next_life_comes_before_that_life_is_named() {
    let mut rig = Rig::solo();
    rig.disk_is_slow = true;
    rig.kill("a");
    rig.start("a", 2);
    fail(&mut rig, "a", 1, 9);
    rig.report("a");
    assert_eq!(rig.view(), (1, "a".to_owned(), true));
    rig.stored();
    rig.stored();
    assert_eq!(rig.view(), (2, "a".to_owned(), false));
    assert_eq!(rig.record().skips, [skip(9)]);
}

#[test]
fn a_record_lists_so_many_and_forgets_only_what_every_log_lists() {
    let mut rig = Rig::solo();
    for life in 1..=SKIPS_MAX as u64 + 1 {
        fail(&mut rig, "a", life, 100 + life);
        rig.kill("a");
        rig.start("a", life + 1);
        rig.report("a");
        let listed = life.min(SKIPS_MAX as u64);
        assert_eq!(rig.record().skips.len() as u64, listed);
        activate(&mut rig, "a");
        rig.run(10);
    }
    assert!(!rig.record().skips.contains(&skip(101 + SKIPS_MAX as u64)));

    // A primary that has applied what it skips has its ViewStart committed.
    let node = rig.node("a");
    (node.last, node.commit) = ((1, 1000), 1000);
    rig.report("a");
    let life = SKIPS_MAX as u64 + 2;
    fail(&mut rig, "a", life, 200);
    rig.kill("a");
    rig.start("a", life + 1);
    rig.report("a");
    assert!(rig.record().skips.contains(&skip(200)));
    assert!(!rig.record().skips.contains(&skip(101)));
    assert_eq!(rig.record().skips.len(), SKIPS_MAX);
}

//! Entries that kill the process that applies them (`protocol.md` section 12): skipped after two deaths, and only if
//! each one that has served since the entry was ordered is known not to have applied it.

use standin_core::entry::Index;
use standin_core::mark::{Fatal, FatalEntry};
use standin_core::poison::Skip;
use standin_core::view::ViewNumber;
use standin_viewservice::{Action, Event};

use super::rig::{Rig, TERM, accepted, stores};

/// An entry of the view in which `a` is primary of a pair.
fn entry(index: u64) -> Skip {
    Skip {
        index: Index(index),
        view: ViewNumber(2),
    }
}

/// The present life of a replica tells of deaths of those before it, from the life `since` on.
fn tell(rig: &mut Rig, name: &str, since: u64, deaths: u32, entry: Skip) -> Vec<Action> {
    let (conn, identity) = (rig.nodes[name].conn, rig.id(name));
    let fatal = FatalEntry {
        entry,
        since,
        deaths,
    };
    let fatal = Box::new(Fatal { identity, fatal });
    rig.handle(Event::Fatal { conn, fatal })
}

fn activate(rig: &mut Rig, name: &str) {
    let active = rig.record().activate(&rig.id(name));
    assert!(accepted(&rig.swap(name, active)));
}

/// A life serves, and dies.
fn serve_and_die(rig: &mut Rig, name: &'static str) {
    activate(rig, name);
    rig.kill(name);
}

/// `a` has ordered an entry and died at it, and so has `b`, which took over. Both are back.
fn both_died() -> Rig {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.run(2 * TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    serve_and_die(&mut rig, "b");
    rig.start("a", 2);
    rig.start("b", 2);
    rig
}

#[test]
fn an_entry_is_skipped_once_all_who_have_served_died_at_it() {
    let mut rig = both_died();
    assert_eq!(stores(&tell(&mut rig, "b", 1, 1, entry(9))), 0, "once");
    assert_eq!(stores(&tell(&mut rig, "a", 1, 1, entry(9))), 1, "twice");
    assert_eq!(rig.service.state().poison, Some(entry(9)));
    assert_eq!(
        stores(&tell(&mut rig, "a", 1, 1, entry(9))),
        0,
        "it is kept"
    );
    rig.report("b");
    assert_eq!(rig.view(), (4, "b".to_owned(), false));
    assert_eq!(rig.record().skips, [entry(9)]);
    assert_eq!(stores(&tell(&mut rig, "b", 1, 1, entry(9))), 0, "granted");
}

#[test]
fn deaths_of_one_replica_are_not_enough_while_it_is_not_known_what_the_other_did() {
    let mut rig = both_died();
    for start in 2..30 {
        assert_eq!(
            stores(&tell(
                &mut rig,
                "b",
                1,
                u32::try_from(start).unwrap() - 1,
                entry(9)
            )),
            0
        );
        rig.report("b");
        assert!(rig.record().skips.is_empty());
        // It is named, applies the entry, and dies again. That does not push out who ordered it.
        serve_and_die(&mut rig, "b");
        rig.start("b", start + 1);
    }
    tell(&mut rig, "a", 1, 1, entry(9));
    tell(&mut rig, "b", 1, 29, entry(9));
    rig.report("b");
    assert_eq!(rig.record().skips, [entry(9)]);
}

#[test]
fn one_that_has_served_and_did_not_die_at_it_may_have_answered_it() {
    let mut rig = both_died();
    // An earlier life of `a` may have applied it: what is said counts from its second life on.
    rig.kill("a");
    rig.start("a", 3);
    tell(&mut rig, "a", 2, 5, entry(9));
    tell(&mut rig, "b", 1, 5, entry(9));
    // It died at another entry.
    tell(&mut rig, "a", 1, 5, entry(8));
    tell(&mut rig, "b", 1, 5, entry(9));
    // An entry of the same index, of another view, is another entry.
    let other = Skip {
        view: ViewNumber(1),
        ..entry(9)
    };
    tell(&mut rig, "a", 1, 5, other);
    tell(&mut rig, "b", 1, 5, entry(9));
    assert_eq!(rig.service.state().poison, None);
    rig.report("b");
    assert!(rig.record().skips.is_empty());
}

#[test]
fn a_spare_s_word_adds_nothing_to_what_those_who_served_did_not_say() {
    let mut rig = both_died();
    rig.kill("c");
    rig.start("c", 2);
    tell(&mut rig, "c", 1, 7, entry(9));
    tell(&mut rig, "b", 1, 1, entry(9));
    assert_eq!(rig.service.state().poison, None);
    // Somebody who was not let in says nothing at all.
    let mut stranger = rig.id("a");
    stranger.store = standin_core::identity::StoreId(77);
    let fatal = FatalEntry {
        entry: entry(9),
        since: 1,
        deaths: 9,
    };
    let fatal = Box::new(Fatal {
        identity: stranger,
        fatal,
    });
    let conn = rig.nodes["a"].conn;
    rig.handle(Event::Fatal { conn, fatal });
    assert_eq!(rig.service.state().poison, None);
}

#[test]
fn a_life_that_serves_by_now_may_apply_it_still() {
    let mut rig = both_died();
    tell(&mut rig, "b", 1, 1, entry(9));
    rig.report("b");
    activate(&mut rig, "b");
    // What the present life says is true of those before it.
    tell(&mut rig, "b", 1, 1, entry(9));
    tell(&mut rig, "a", 1, 1, entry(9));
    assert_eq!(rig.service.state().poison, None);
    // Once it has died at it as well, the next one says so.
    rig.kill("b");
    rig.start("b", 3);
    tell(&mut rig, "b", 1, 2, entry(9));
    rig.report("b");
    assert_eq!(rig.record().skips, [entry(9)]);
}

#[test]
fn whoever_serves_since_has_found_out_for_itself() {
    let mut rig = both_died();
    tell(&mut rig, "b", 1, 1, entry(9));
    rig.report("b");
    assert_eq!(rig.view(), (4, "b".to_owned(), false));
    // The second word comes when it is named already, without the skip.
    tell(&mut rig, "a", 1, 1, entry(9));
    assert_eq!(rig.service.state().poison, Some(entry(9)));
    activate(&mut rig, "b");
    assert_eq!(rig.service.state().poison, None);
}

#[test]
fn a_lone_primary_that_died_twice_skips_the_entry_whatever_was_restarted() {
    let mut rig = Rig::solo();
    let fatal = Skip {
        index: Index(9),
        view: ViewNumber(1),
    };
    rig.kill("a");
    rig.start("a", 2);
    tell(&mut rig, "a", 1, 1, fatal);
    rig.report("a");
    assert!(rig.record().skips.is_empty());
    serve_and_die(&mut rig, "a");
    rig.restart(TERM, 10);
    rig.start("a", 3);
    tell(&mut rig, "a", 1, 2, fatal);
    rig.report("a");
    rig.run(3 * TERM);
    assert_eq!(rig.view(), (3, "a".to_owned(), false));
    assert_eq!(rig.record().skips, [fatal]);
}

#[test]
fn what_was_ordered_before_anybody_remembers_is_not_skipped() {
    let mut rig = Rig::solo();
    let fatal = Skip {
        index: Index(9),
        view: ViewNumber(0),
    };
    rig.kill("a");
    rig.start("a", 2);
    tell(&mut rig, "a", 1, 7, fatal);
    rig.report("a");
    assert!(rig.record().skips.is_empty());
}

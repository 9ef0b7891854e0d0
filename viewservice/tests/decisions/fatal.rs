//! Entries that kill the process that applies them (`protocol.md` section 12): skipped after two deaths, and only if
//! each one that has served since the entry was ordered is known not to have applied it.

use standin_core::entry::Index;
use standin_core::identity::Durability;
use standin_core::mark::{Fatal, FatalEntry};
use standin_core::poison::Skip;
use standin_core::view::ViewNumber;
use standin_viewservice::{Action, Event};

use super::rig::{Rig, TERM, accepted, holder, stores};

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
    assert!(
        rig.service.state().tenures.len() <= 16,
        "those of one replica are put together"
    );
    // Its present life serves, so it may have applied the entry, however many of its lives count as one.
    rig.report("b");
    activate(&mut rig, "b");
    tell(&mut rig, "b", 1, 29, entry(9));
    tell(&mut rig, "a", 1, 1, entry(9));
    assert_eq!(rig.service.state().poison, None);
    rig.kill("b");
    rig.start("b", 31);
    tell(&mut rig, "b", 1, 30, entry(9));
    rig.report("b");
    assert_eq!(rig.record().skips, [entry(9)]);
}

#[test]
fn lives_that_are_put_together_were_all_there_to_apply_it() {
    let mut rig = both_died();
    for start in 2..20 {
        tell(
            &mut rig,
            "b",
            1,
            u32::try_from(start).unwrap() - 1,
            entry(9),
        );
        rig.report("b");
        serve_and_die(&mut rig, "b");
        rig.start("b", start + 1);
    }
    // The last two that serve say nothing. Then `a` takes over, and dies at it.
    rig.report("b");
    serve_and_die(&mut rig, "b");
    rig.start("b", 21);
    rig.report("b");
    activate(&mut rig, "b");
    let (a, b) = (rig.id("a"), rig.id("b"));
    let level = Durability::Os;
    let joined = rig.record().join(holder(&b, level), (&a, a.token(level)));
    assert!(accepted(&rig.swap("b", joined)));
    rig.kill("b");
    rig.run(2 * TERM);
    let (_, primary, _) = rig.view();
    assert_eq!(primary, "a");
    serve_and_die(&mut rig, "a");
    rig.start("a", 3);
    tell(&mut rig, "a", 1, 2, entry(9));
    assert_eq!(rig.service.state().poison, None);
    rig.start("b", 22);
    tell(&mut rig, "b", 1, 20, entry(9));
    assert_eq!(rig.service.state().poison, Some(entry(9)));
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
}

#[test]
fn somebody_who_was_not_let_in_says_nothing_at_all() {
    let mut rig = Rig::solo();
    let entry = |index| Skip {
        view: ViewNumber(1),
        ..entry(index)
    };
    rig.kill("a");
    rig.start("a", 2);
    assert_eq!(stores(&tell(&mut rig, "a", 1, 1, entry(9))), 0, "once");
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
    // Whose name another data directory has by now says no more, and what it said no longer counts.
    tell(&mut rig, "b", 1, 9, entry(8));
    rig.kill("b");
    rig.node("b").identity.store = standin_core::identity::StoreId(78);
    rig.node("b").replace = true;
    rig.run(11 * TERM);
    rig.report("b");
    assert!(rig.status().replicas.iter().any(|one| {
        one.peer.identity.store == standin_core::identity::StoreId(78) && one.is_alive
    }));
    tell(&mut rig, "a", 1, 1, entry(8));
    assert_eq!(rig.service.state().poison, None);
}

#[test]
fn what_an_earlier_life_said_does_not_count_once_a_later_one_has_spoken() {
    let mut rig = both_died();
    tell(&mut rig, "b", 1, 1, entry(9));
    let (conn, earlier) = (rig.nodes["a"].conn, rig.id("a"));
    rig.kill("a");
    rig.start("a", 3);
    // An earlier one of `a` may have applied it.
    tell(&mut rig, "a", 2, 1, entry(9));
    // This was on its way meanwhile.
    let fatal = FatalEntry {
        entry: entry(9),
        since: 1,
        deaths: 1,
    };
    let fatal = Box::new(Fatal {
        identity: earlier,
        fatal,
    });
    rig.handle(Event::Fatal { conn, fatal });
    assert_eq!(rig.service.state().poison, None);
}

#[test]
fn what_is_told_while_something_is_stored_is_taken_in_after_it() {
    let mut rig = both_died();
    tell(&mut rig, "b", 1, 1, entry(9));
    rig.disk_is_slow = true;
    rig.start("d", 1);
    assert_eq!(stores(&rig.report("d")), 1, "a new name");
    assert_eq!(stores(&tell(&mut rig, "a", 1, 1, entry(9))), 0);
    rig.stored();
    rig.stored();
    assert_eq!(rig.service.state().poison, Some(entry(9)));
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

//! A replica's parent process has reaped it and says so: proof of a death, of exactly that life.

use standin_core::conn::ConnId;
use standin_core::identity::Durability;
use standin_core::message::{Died, DiedReply, LookupReply, UNSEEN_DEAD_MS};
use standin_core::view::{Member, Reason};
use standin_viewservice::{Action, Answer, Event, LOOKERS_MAX};

use super::rig::{Rig, TERM, accepted, holder, identity, report_replies, stores};

/// A parent says that a life has died; it is always answered.
fn tell(rig: &mut Rig, member: &Member) -> Vec<Action> {
    let conn = rig.conn();
    let died = Died {
        member: member.clone(),
    };
    let said = rig.handle(Event::Died { conn, died });
    let answer = Answer::Died(DiedReply {
        member: member.clone(),
    });
    assert!(said.contains(&Action::Send { conn, answer }), "{said:?}");
    said
}

/// The process of a replica dies, and its parent says so.
fn die(rig: &mut Rig, name: &'static str) -> Vec<Action> {
    let member = Member::of(&rig.id(name));
    rig.kill(name);
    tell(rig, &member)
}

#[test]
fn a_primary_that_is_proven_dead_is_deposed_at_once() {
    let mut rig = Rig::pair();
    assert!(rig.lease().is_some());
    let said = die(&mut rig, "a");
    assert_eq!(stores(&said), 1);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    assert_eq!(rig.record().reason, Reason::Died);
    assert!(rig.lease().is_none());
    // Told again, and again much later: nothing more comes of it.
    let member = Member::of(&rig.id("a"));
    assert_eq!(stores(&tell(&mut rig, &member)), 0);
    let active = rig.record().activate(&rig.id("b"));
    assert!(accepted(&rig.swap("b", active)));
    rig.run(TERM);
    assert_eq!(stores(&tell(&mut rig, &member)), 0);
    assert_eq!(rig.view(), (3, "b".to_owned(), true));
}

#[test]
fn the_death_of_an_earlier_life_says_nothing_of_the_present_one() {
    let mut rig = Rig::pair();
    let first = Member::of(&rig.id("a"));
    rig.kill("a");
    rig.start("a", 2);
    rig.report("a");
    let active = rig.record().activate(&rig.id("b"));
    assert!(accepted(&rig.swap("b", active)));
    rig.kill("b");
    rig.start("b", 2);
    rig.report("b");
    assert_eq!(rig.view(), (4, "b".to_owned(), false), "a second life of b");
    let active = rig.record().activate(&rig.id("b"));
    assert!(accepted(&rig.swap("b", active)));
    let before = rig.record();
    for member in [first, Member::of(&identity("b", 1))] {
        tell(&mut rig, &member);
        assert_eq!(rig.record(), before);
        assert!(rig.lease().is_some());
    }
    // The same count in another life: a copy of the directory.
    let mut copy = Member::of(&rig.id("b"));
    copy.incarnation.nonce += 1;
    tell(&mut rig, &copy);
    rig.run(TERM);
    assert_eq!(rig.record(), before);
}

#[test]
fn a_proof_counts_also_while_silence_does_not() {
    let mut rig = Rig::pair();
    let a = Member::of(&rig.id("a"));
    rig.kill("a");
    rig.restart(TERM, 0);
    // Nobody has reported to the new process yet, the dead primary never will.
    tell(&mut rig, &a);
    assert_eq!(rig.view(), (2, "a".to_owned(), true), "b is not known yet");
    rig.reconnect("b");
    rig.report("b");
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    assert_eq!(rig.record().reason, Reason::Died);
}

#[test]
fn a_candidate_that_dies_gives_way_at_once_and_the_dead_are_not_chosen() {
    let mut rig = Rig::pair();
    die(&mut rig, "a");
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    rig.start("a", 2);
    rig.report("a");
    die(&mut rig, "b");
    assert_eq!(rig.view(), (4, "a".to_owned(), false));
    assert_eq!(rig.record().reason, Reason::Died);
    // The proof may come before the connection's end: b counts as dead all the same.
    let mut rig = Rig::pair();
    let b = Member::of(&rig.id("b"));
    tell(&mut rig, &b);
    rig.node("b").reports = false;
    die(&mut rig, "a");
    assert_eq!(rig.view(), (2, "a".to_owned(), true), "nobody is left");
    let why = rig.unavailable();
    assert!(why.contains("a, the primary of view 2, has died"), "{why}");
    assert!(why.contains("start a or b"), "{why}");
    // A late report of a dead life revives nobody; a later life does.
    rig.report("b");
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
    rig.start("b", 2);
    rig.report("b");
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
}

#[test]
fn what_the_dead_had_asked_for_may_still_land_and_is_deposed_then() {
    let mut rig = Rig::solo();
    let (a, b) = (rig.id("a"), rig.id("b"));
    die(&mut rig, "a");
    assert_eq!(rig.view(), (1, "a".to_owned(), true), "the only holder");
    let own = holder(&a, Durability::Os);
    let joined = rig.record().join(own, (&b, b.token(Durability::Os)));
    assert!(accepted(&rig.swap("a", joined)));
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
}

#[test]
fn a_death_that_is_told_while_something_is_stored_is_not_forgotten() {
    let mut rig = Rig::pair();
    rig.disk_is_slow = true;
    let drop = rig.record().drop_backup(&rig.id("a"));
    rig.swap("a", drop);
    die(&mut rig, "a");
    rig.stored();
    assert_eq!(rig.view(), (3, "a".to_owned(), true), "the Drop has landed");
    rig.disk_is_slow = false;
    rig.start("a", 2);
    rig.report("a");
    assert_eq!(rig.view(), (4, "a".to_owned(), false));
}

#[test]
fn the_primary_hears_at_once_that_its_backup_has_died() {
    let mut rig = Rig::pair();
    let said = die(&mut rig, "b");
    assert_eq!(stores(&said), 0, "the primary has to ask for the Drop");
    let to_a = rig.nodes["a"].conn;
    let replies = report_replies(&said);
    let (_, news) = replies.iter().find(|(conn, _)| *conn == to_a).unwrap();
    let unseen = |name: &str| {
        let mut peers = news.peers.iter();
        let peer = peers.find(|peer| peer.identity.name.as_str() == name);
        peer.unwrap().unseen_ms
    };
    assert_eq!(unseen("b"), UNSEEN_DEAD_MS);
    assert!(unseen("a") < TERM && unseen("c") < TERM);
    // Said once; and of a spare's death nobody need hear at once.
    let b = Member::of(&rig.id("b"));
    assert!(report_replies(&tell(&mut rig, &b)).is_empty());
    assert!(report_replies(&die(&mut rig, "c")).is_empty());
}

fn news(said: &[Action]) -> Vec<(ConnId, &LookupReply)> {
    let replies = said.iter().filter_map(|action| match action {
        Action::Send {
            conn,
            answer: Answer::Lookup(reply),
        } => Some((*conn, reply)),
        _ => None,
    });
    replies.collect()
}

#[test]
fn whoever_asked_for_the_primary_hears_of_the_next() {
    let mut rig = Rig::pair();
    let (stays, leaves) = (rig.conn(), rig.conn());
    for conn in [stays, leaves] {
        rig.handle(Event::Lookup { conn });
    }
    rig.handle(Event::Closed { conn: leaves });
    let said = die(&mut rig, "a");
    assert!(news(&said).is_empty(), "nobody serves yet");
    // Who asks now is not sent to the dead one.
    let late = rig.conn();
    let said = rig.handle(Event::Lookup { conn: late });
    assert_eq!(news(&said)[0].1.primary, None);
    let active = rig.record().activate(&rig.id("b"));
    let said = rig.swap("b", active);
    let told = news(&said);
    let conns: Vec<ConnId> = told.iter().map(|(conn, _)| *conn).collect();
    assert_eq!(conns, [stays, late]);
    for (_, reply) in told {
        assert_eq!(reply.primary.as_deref(), Some("b:1"));
        assert_eq!(reply.view, Some(rig.record().id()));
    }
    // The same primary with another backup is no news to clients.
    let (b, c) = (rig.id("b"), rig.id("c"));
    let own = holder(&b, Durability::Os);
    let token = c.token(Durability::Os);
    let joined = rig.record().join(own, (&c, token));
    assert!(news(&rig.swap("b", joined)).is_empty());
}

#[test]
fn those_who_hear_of_it_are_bounded() {
    let mut rig = Rig::pair();
    let first = rig.conn();
    rig.handle(Event::Lookup { conn: first });
    for _ in 0..LOOKERS_MAX {
        let conn = rig.conn();
        rig.handle(Event::Lookup { conn });
    }
    die(&mut rig, "a");
    let active = rig.record().activate(&rig.id("b"));
    let said = rig.swap("b", active);
    let told = news(&said);
    assert_eq!(told.len(), LOOKERS_MAX);
    assert!(told.iter().all(|(conn, _)| *conn != first), "the oldest");
}

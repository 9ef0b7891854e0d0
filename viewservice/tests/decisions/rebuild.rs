//! A record that was lost is made again (`protocol.md` sections 7 and 11): who may go on, story by story, and
//! where nobody can know.

use standin_core::entry::{Index, LogTip};
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, ReplicaName, StoreId, Token,
};
use standin_core::message::{
    ForceOutcome, ForceReply, JoinAsked, Kept, Rebuild, RoleName, Witness,
};
use standin_core::time::Duration;
use standin_core::view::{DataEpoch, Reason, ViewId, ViewNumber, ViewRecord};
use standin_viewservice::{Action, Answer, Event, LeaseTerm, ViewService};

use crate::rig::{Rig, TERM, at, holder, identity, report_replies, stores};

/// The seed of the view service that waits, and what comes of it.
const SEED: u64 = 77;
const SKIPPED: u64 = 1_000_000_000 + SEED;

/// A replica that reports to a view service without a record.
#[derive(Clone, Debug)]
struct Told {
    identity: Identity,
    record: Option<ViewRecord>,
    /// The view that it has adopted, if it does not know the record.
    adopted: u64,
    /// The end of its log: view and index.
    last: (u64, u64),
    role: RoleName,
    /// It has asked for an Activate.
    has_asked: bool,
    /// For whom it has asked for a Join.
    joins: Vec<&'static str>,
}

fn told(name: &'static str, record: &ViewRecord, last: (u64, u64)) -> Told {
    Told {
        identity: identity(name, 1),
        record: Some(record.clone()),
        adopted: record.view.0,
        last,
        role: RoleName::Spare,
        has_asked: false,
        joins: Vec::new(),
    }
}

impl Told {
    fn restarted(mut self) -> Self {
        self.identity.life.incarnation.start += 1;
        self.identity.life.incarnation.nonce += 1;
        self
    }

    fn rebooted(self) -> Self {
        let mut told = self.restarted();
        told.identity.life.boot = BootId(8);
        told
    }

    fn on_other_store(mut self) -> Self {
        self.identity.store = StoreId(self.identity.store.0 + 1000);
        self.record = None;
        self.adopted = 0;
        self.last = (0, 0);
        self
    }

    fn quarantined(mut self) -> Self {
        self.role = RoleName::Quarantined;
        self
    }

    fn without_record(mut self) -> Self {
        self.record = None;
        self
    }

    fn asking(mut self) -> Self {
        self.has_asked = true;
        self
    }

    fn joining(mut self, names: &[&'static str]) -> Self {
        self.joins = names.to_vec();
        self
    }
}

/// `a` is primary of view 1, alone.
fn solo() -> ViewRecord {
    let a = identity("a", 1);
    ViewRecord::bootstrap(ClusterId(5), &a, 1500).activate(&a)
}

/// `a` is primary of view 2 and `b` its backup.
fn pair(durability: Durability) -> ViewRecord {
    let (a, b) = (identity("a", 1), identity("b", 1));
    solo().join(holder(&a, durability), (&b, b.token(durability)))
}

/// `a` was deposed, and `b` is the candidate of view 3.
fn inactive(durability: Durability) -> ViewRecord {
    pair(durability).depose(&identity("b", 1), Reason::LeaseExpired)
}

impl Rig {
    /// A view service that waits for its record to be made again, at a time at which nobody can hold a lease
    /// any more.
    fn rebuilding(replicas: &[Told]) -> Self {
        let mut rig = Self::new();
        let term = LeaseTerm::new(Duration::from_millis(TERM)).unwrap();
        rig.service = ViewService::rebuilding(term, at(0), SEED);
        rig.now_ms = 2000;
        for told in replicas {
            rig.hear(told);
        }
        rig
    }

    fn hear(&mut self, told: &Told) {
        let name = told.identity.name.as_str();
        let name = ["a", "b", "c", "d"]
            .into_iter()
            .find(|it| *it == name)
            .unwrap();
        self.start(name, 1);
        let adopted = ViewId {
            view: ViewNumber(told.adopted),
            data_epoch: (told.record.as_ref()).map_or(DataEpoch(0), |record| record.data_epoch),
        };
        let node = self.node(name);
        node.identity = told.identity.clone();
        node.view = Some(adopted);
        node.last = told.last;
        node.role = told.role;
        let actions = self.report(name);
        let [(_, reply)] = report_replies(&actions)[..] else {
            panic!("{actions:?}")
        };
        assert!(
            reply.record.is_none() && !reply.granted,
            "nothing is granted"
        );
        if told.adopted > 0 {
            self.testify(name, told, adopted);
        }
    }

    fn testify(&mut self, name: &str, told: &Told, adopted: ViewId) {
        let conn = self.node(name).conn;
        let joins = told.joins.iter().map(|name| JoinAsked {
            name: ReplicaName::new(*name).unwrap(),
            store: identity(name, 1).store,
        });
        let kept = told.record.clone().map(|record| Kept {
            record,
            joins: joins.collect(),
        });
        let witness = Box::new(Witness {
            identity: told.identity.clone(),
            adopted,
            kept,
            holds: told.has_asked.then_some(Token::Disk {
                store: told.identity.store,
            }),
            last: LogTip {
                view: ViewNumber(told.last.0),
                index: Index(told.last.1),
                ..LogTip::default()
            },
        });
        assert_eq!(self.handle(Event::Witness { conn, witness }), []);
    }

    fn rebuild(&mut self, names: &[&str], primary: Option<&str>, accept_loss: bool) -> ForceReply {
        let conn = self.conn();
        let name = |name: &&str| ReplicaName::new(*name).unwrap();
        let rebuild = Box::new(Rebuild {
            replicas: names.iter().map(name).collect(),
            primary: primary.as_ref().map(name),
            accept_loss,
        });
        let actions = self.handle(Event::Rebuild { conn, rebuild });
        let mut replies = actions.iter().filter_map(|action| match action {
            Action::Send {
                answer: Answer::Force(reply),
                ..
            } => Some(reply.clone()),
            _ => None,
        });
        replies.next().unwrap()
    }
}

fn reason(reply: &ForceReply) -> &str {
    match &reply.outcome {
        ForceOutcome::Refused { reason } => reason,
        other => panic!("{other:?}"),
    }
}

const ALL: [&str; 3] = ["a", "b", "c"];

/// What is to come of a story: who goes on, and who else may if that one dies first; or words that say why not.
type Outcome = Result<(&'static str, &'static [&'static str]), &'static str>;

fn check(story: &str, named: &[&str], replicas: &[Told], outcome: Outcome) {
    let mut rig = Rig::rebuilding(replicas);
    let reply = rig.rebuild(named, None, false);
    match outcome {
        Err(words) => {
            let reason = reason(&reply);
            assert!(reason.contains(words), "{story}: {reason}");
            assert_eq!(rig.service.state().record, None, "{story}");
            let why = rig.unavailable();
            assert!(why.contains("standin recover --rebuild"), "{story}: {why}");
        }
        Ok((primary, holders)) => {
            assert!(
                matches!(&reply.outcome, ForceOutcome::Done { loss } if loss.contains("nothing is lost")),
                "{story}: {reply:?}"
            );
            let record = rig.record();
            let names: Vec<&str> = record.holders.iter().map(|it| it.name.as_str()).collect();
            assert_eq!(
                (record.primary.name.as_str(), names.as_slice()),
                (primary, holders),
                "{story}"
            );
            assert!(!record.active && record.backup.is_none(), "{story}");
            assert!(record.is_holder(&rig.id(primary)), "{story}: {record:?}");
            let highest = replicas.iter().map(|told| told.adopted).max().unwrap();
            assert_eq!(record.view, ViewNumber(highest + SKIPPED), "{story}");
            assert_eq!(
                (record.cluster, record.reason),
                (ClusterId(5), Reason::Rebuilt)
            );
            assert_eq!(rig.service.state().cluster, ClusterId(5));
        }
    }
}

#[test]
fn whom_an_operator_forced_goes_on_and_must_be_named() {
    let paired = pair(Durability::Disk);
    let (a, b) = (told("a", &paired, (2, 31)), told("b", &paired, (2, 33)));
    let identity = identity("c", 1);
    let forced = paired.force(&identity);
    let alone: &[&str] = &["c"];
    // It was no holder, and nobody else has heard of its view.
    let mut c = told("c", &forced, (2, 20));
    let all = [a.clone(), b.clone(), c.clone()];
    check("forced, and not active", &ALL, &all, Ok(("c", alone)));
    c.record = Some(forced.activate(&identity));
    let all = [a.clone(), b.clone(), c.clone().rebooted()];
    check("forced, and served alone", &ALL, &all, Ok(("c", alone)));
    let without = [a.clone(), b.clone()];
    let missing = "c is not heard here";
    check("it is down", &ALL, &without, Err(missing));
    // What falls short: nobody is left who could know, so the words must not say too much.
    let mut rig = Rig::rebuilding(&[a, b, c.on_other_store()]);
    let reply = rig.rebuild(&ALL, None, false);
    let words = "unless an operator has forced a takeover";
    assert!(
        matches!(&reply.outcome, ForceOutcome::Done { loss } if loss.contains(words)),
        "{reply:?}"
    );
}

#[test]
fn the_stories_of_section_7_with_the_record_lost_as_well() {
    use Durability::{Disk, Memory, Os};
    let paired = pair(Os);
    let spare = told("c", &paired, (2, 30));
    let (a, b) = (told("a", &paired, (2, 31)), told("b", &paired, (2, 33)));
    let both: &[&str] = &["a", "b"];
    // Nobody has died but the view service.
    let all = [a.clone(), b.clone(), spare.clone()];
    check("a pair serves on", &ALL, &all, Ok(("b", both)));
    let equal = [told("a", &paired, (2, 33)), b.clone(), spare.clone()];
    check("equal logs: who was primary", &ALL, &equal, Ok(("a", both)));
    // Both die at once.
    let all = [a.clone().restarted(), b.clone().restarted(), spare.clone()];
    check("both die at once", &ALL, &all, Ok(("b", both)));
    let all = [a.clone().restarted(), b.clone(), spare.clone()];
    check("the primary dies", &ALL, &all, Ok(("b", both)));
    let all = [a.clone(), b.clone().rebooted(), spare.clone()];
    check("the backup loses power", &ALL, &all, Ok(("a", both)));
    // B dies, Drop, P dies: who was told of the Drop is alone.
    let dropped = paired.drop_backup(&identity("a", 1));
    let alone: &[&str] = &["a"];
    let all = [
        told("a", &dropped, (3, 40)).rebooted(),
        b.clone().restarted(),
        spare.clone(),
    ];
    check("B dies, Drop, P dies", &ALL, &all, Ok(("a", alone)));
    let all = [
        told("a", &dropped, (2, 31)).on_other_store(),
        told("b", &dropped, (2, 33)),
        spare.clone(),
    ];
    check(
        "the disk of the lone one is replaced",
        &ALL,
        &all,
        Err("a may have taken over from view 3"),
    );
    // P dies, B dies before Activate; or after.
    let candidate = inactive(Os);
    let lone_b: &[&str] = &["b"];
    let all = [
        a.clone().restarted(),
        told("b", &candidate, (2, 33)).restarted(),
        spare.clone(),
    ];
    check(
        "P dies, B dies before Activate",
        &ALL,
        &all,
        Ok(("b", lone_b)),
    );
    let active = candidate.activate(&identity("b", 1));
    let all = [
        told("a", &candidate, (2, 50)),
        told("b", &active, (3, 41)),
        spare.clone(),
    ];
    check("P dies, B activates", &ALL, &all, Ok(("b", lone_b)));
    // Its kept record does not say that it was activated; its log does, and that is all on its disk.
    let all = [
        told("a", &candidate, (2, 50)),
        told("b", &candidate, (3, 41)).rebooted(),
        spare.clone(),
    ];
    check(
        "P dies, B activates, B loses power",
        &ALL,
        &all,
        Ok(("b", lone_b)),
    );
    let all = [
        told("a", &candidate, (2, 50)),
        told("b", &candidate, (2, 33)).rebooted(),
        spare.clone(),
    ];
    check(
        "the candidate loses power before",
        &ALL,
        &all,
        Err("its page cache only"),
    );
    let asked = told("b", &candidate, (2, 33)).asking().rebooted();
    let all = [told("a", &candidate, (2, 50)), asked, spare.clone()];
    check("or after it has asked", &ALL, &all, Ok(("b", lone_b)));
    // Both lose power.
    let all = [a.clone().rebooted(), b.clone().rebooted(), spare.clone()];
    check(
        "both lose power at os",
        &ALL,
        &all,
        Err("the machine of a was rebooted"),
    );
    let paired = pair(Memory);
    let spare = told("c", &paired, (2, 30));
    let all = [
        told("a", &paired, (2, 31)).restarted(),
        told("b", &paired, (2, 33)).restarted(),
        spare.clone(),
    ];
    check(
        "both are restarted at memory",
        &ALL,
        &all,
        Err("b was restarted"),
    );
    let all = [
        told("a", &paired, (2, 31)).restarted(),
        told("b", &paired, (2, 33)),
        spare.clone(),
    ];
    check("one is restarted at memory", &ALL, &all, Ok(("b", both)));
    let paired = pair(Disk);
    let spare = told("c", &paired, (2, 30));
    let all = [
        told("a", &paired, (2, 31)).rebooted(),
        told("b", &paired, (2, 30)).rebooted(),
        spare.clone(),
    ];
    check("both lose power at disk", &ALL, &all, Ok(("a", both)));
    let spare = told("c", &pair(Os), (2, 30));
    // Damage, a replaced disk.
    let all = [a.clone(), b.clone().quarantined(), spare.clone()];
    check("one is out of service", &ALL, &all, Ok(("a", both)));
    let all = [
        a.clone().quarantined(),
        b.clone().quarantined(),
        spare.clone(),
    ];
    check("both are out of service", &ALL, &all, Err("out of service"));
    let all = [a, b.on_other_store(), spare];
    check(
        "a holder's disk is replaced",
        &ALL,
        &all,
        Err("b may have taken over from view 2"),
    );
}

#[test]
fn who_may_have_gone_on_unheard_must_be_heard() {
    let paired = pair(Durability::Os);
    let (a, b) = (told("a", &paired, (2, 31)), told("b", &paired, (2, 33)));
    let c = told("c", &paired, (2, 30));
    check(
        "a holder is missing",
        &ALL,
        &[a.clone(), c.clone()],
        Err("b is not heard here"),
    );
    check(
        "and was not even named",
        &["a", "c"],
        &[a.clone(), c.clone()],
        Err("b may have taken over"),
    );
    check(
        "a spare is missing",
        &ALL,
        &[a.clone(), b.clone()],
        Err("c is not heard here"),
    );
    let both: &[&str] = &["a", "b"];
    check(
        "a spare is gone for good",
        &["a", "b"],
        &[a.clone(), b.clone()],
        Ok(("b", both)),
    );
    let all = [a, b, c];
    check(
        "somebody was forgotten",
        &["a", "b"],
        &all,
        Err("c is heard here and not named"),
    );
    // A Join that a lone primary has asked for may have landed unread, and who joined may have taken over.
    let only: &[&str] = &["a"];
    let lone = told("a", &solo(), (1, 9));
    check(
        "a lone primary",
        &["a"],
        std::slice::from_ref(&lone),
        Ok(("a", only)),
    );
    let asked = lone.clone().joining(&["b"]);
    let b = told("b", &solo(), (1, 9));
    let missing = "b may have joined after view 1";
    check(
        "it has asked for a Join",
        &["a"],
        std::slice::from_ref(&asked),
        Err(missing),
    );
    let all = [asked.clone(), b.clone().on_other_store()];
    check(
        "of one whose disk is replaced",
        &["a", "b"],
        &all,
        Err(missing),
    );
    check(
        "of one that is heard",
        &["a", "b"],
        &[asked, b],
        Ok(("a", only)),
    );
    // The longest log need not be a holder's: what the primary answers alone goes on while others report.
    let all = [
        told("a", &solo(), (1, 9)),
        told("b", &solo(), (1, 12)),
        told("c", &solo(), (1, 12)),
    ];
    check("a spare reports later", &ALL, &all, Ok(("a", only)));
}

#[test]
fn what_is_known_must_be_known_by_its_name() {
    let paired = pair(Durability::Os);
    let (a, b) = (told("a", &paired, (2, 31)), told("b", &paired, (2, 33)));
    let later = told("c", &inactive(Durability::Os), (2, 30)).without_record();
    check(
        "a record was not kept",
        &ALL,
        &[a.clone(), b.clone(), later],
        Err("does not know any more"),
    );
    let mut other = told("c", &paired, (2, 30));
    other.record.as_mut().unwrap().cluster = ClusterId(6);
    check(
        "two clusters",
        &ALL,
        &[a.clone(), b.clone(), other],
        Err("stop those that are not of this one"),
    );
    let fresh = |name| told(name, &paired, (0, 0)).on_other_store();
    let new = [fresh("a"), fresh("b")];
    check(
        "nobody was in a view",
        &["a", "b"],
        &new,
        Err("no record to make again"),
    );
    let new = [a, b, fresh("c")];
    let both: &[&str] = &["a", "b"];
    check("a new replica knows nothing", &ALL, &new, Ok(("b", both)));
    // A copy of the primary's directory, which counts its starts anew.
    let mut copy = told("a", &paired, (2, 40));
    copy.identity.life.incarnation.nonce += 1;
    let b = told("b", &paired, (2, 33)).rebooted();
    check(
        "an old copy",
        &["a", "b"],
        &[copy, b],
        Err("is an old copy"),
    );
}

#[test]
fn until_it_is_made_again_nobody_is_named_whoever_asks() {
    let paired = pair(Durability::Os);
    let all = ALL.map(|name| told(name, &paired, (2, 31)));
    let mut rig = Rig::rebuilding(&all);
    rig.run(TERM * 10);
    assert_eq!(rig.service.state().record, None);
    let proposed = paired.drop_backup(&rig.id("a"));
    let swapped = rig.swap_from("a", paired, proposed);
    assert!(!crate::rig::accepted(&swapped));
    // A witness counts for the life and the view that it speaks of.
    rig.node("b").view = Some(ViewId {
        view: ViewNumber(3),
        ..ViewId::default()
    });
    rig.report("b");
    let reply = rig.rebuild(&ALL, None, false);
    assert!(reason(&reply).contains("b has not told yet"), "{reply:?}");
}

#[test]
fn a_lease_of_the_view_service_before_may_still_be_held() {
    let all = ALL.map(|name| told(name, &pair(Durability::Os), (2, 31)));
    let mut rig = Rig::rebuilding(&[]);
    rig.now_ms = 1400;
    all.iter().for_each(|told| rig.hear(told));
    let reply = rig.rebuild(&ALL, None, false);
    assert!(
        reason(&reply).contains("for 100 ms at most"),
        "its term was longer: {reply:?}"
    );
    rig.now_ms = 1500;
    assert!(matches!(
        rig.rebuild(&ALL, None, false).outcome,
        ForceOutcome::Done { .. }
    ));
    // Asked again: done already, and by another operator's view service it was not.
    let again = rig.rebuild(&ALL, None, false);
    assert!(
        matches!(again.outcome, ForceOutcome::Done { .. }),
        "{again:?}"
    );
    let state = rig.service.state();
    assert_eq!(state.term_max_ms, 1500, "the longest that was ever granted");
    assert_eq!(state.replicas.len(), 3);
    rig.restart(TERM, 10);
    let refused = rig.rebuild(&ALL, None, false);
    assert!(
        reason(&refused).contains("it has its record"),
        "{refused:?}"
    );
}

#[test]
fn after_it_was_made_again_everything_goes_on_as_after_a_takeover() {
    let all = ALL.map(|name| told(name, &pair(Durability::Os), (2, 31)));
    let mut rig = Rig::rebuilding(&all);
    rig.rebuild(&ALL, None, false);
    ALL.iter().for_each(|name| rig.node(name).view = None);
    rig.run(200);
    let active = rig.record().activate(&rig.id("a"));
    assert!(crate::rig::accepted(&rig.swap("a", active)));
    assert!(rig.lease().is_some());
    // And where the one that was named dies first, the other holder is.
    let mut rig = Rig::rebuilding(&all);
    rig.rebuild(&ALL, None, false);
    ALL.iter().for_each(|name| rig.node(name).view = None);
    rig.run(200);
    rig.kill("a");
    rig.run(TERM * 3);
    assert_eq!(rig.record().primary.name.as_str(), "b");
}

#[test]
fn where_it_cannot_be_known_an_operator_may_accept_the_loss() {
    let paired = pair(Durability::Os);
    let (a, c) = (told("a", &paired, (2, 31)), told("c", &paired, (2, 30)));
    let mut rig = Rig::rebuilding(&[a, c]);
    let would = rig.rebuild(&ALL, Some("a"), false);
    let ForceOutcome::WouldLose { loss } = &would.outcome else {
        panic!("{would:?}")
    };
    for words in [
        "b is not heard here",
        "up to entry 31 (view 2)",
        "cannot be known",
        "reached by clients",
    ] {
        assert!(loss.contains(words), "{words}: {loss}");
    }
    assert_eq!(rig.service.state().record, None);
    let refused = rig.rebuild(&ALL, Some("b"), true);
    assert!(
        reason(&refused).contains("b is not heard here"),
        "{refused:?}"
    );
    let done = rig.rebuild(&ALL, Some("a"), true);
    assert!(
        matches!(done.outcome, ForceOutcome::Done { .. }),
        "{done:?}"
    );
    let record = rig.record();
    assert_eq!(
        (record.data_epoch, record.view),
        (DataEpoch(100), ViewNumber(2 + SKIPPED))
    );
    assert_eq!(record.reason, Reason::Forced);
    let token = Token::Os {
        store: rig.id("a").store,
        boot: BootId(7),
    };
    assert_eq!(
        record.holders[0].token, token,
        "it holds by its boot until it has synced"
    );
}

#[test]
fn a_view_service_that_begins_anew_makes_no_record_again_and_says_who_knocks() {
    let mut rig = Rig::new();
    let cluster = ClusterId(5);
    rig.handle(Event::Stranger { cluster });
    let why = rig.unavailable();
    assert!(
        why.contains(&cluster.to_string()) && why.contains("--rebuild"),
        "{why}"
    );
    let reply = rig.rebuild(&ALL, None, false);
    assert!(
        reason(&reply).contains("not started with --rebuild"),
        "{reply:?}"
    );
}

/// What it stores to see whether there is room again must not be taken for a record.
#[test]
fn without_room_nothing_is_made_again_and_the_operator_is_told() {
    let all = ALL.map(|name| told(name, &pair(Durability::Os), (2, 31)));
    let mut rig = Rig::rebuilding(&all);
    rig.disk_is_full = true;
    let refused = rig.rebuild(&ALL, None, false);
    assert!(reason(&refused).contains("no room"), "{refused:?}");
    rig.disk_is_full = false;
    for _ in 0..10 {
        assert_eq!(stores(&rig.run(100)), 0);
    }
    let done = rig.rebuild(&ALL, None, false);
    assert!(
        matches!(done.outcome, ForceOutcome::Done { .. }),
        "{done:?}"
    );
}

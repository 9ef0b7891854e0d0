//! The protocol's rules R4, R5 and R7 as a replica keeps them, one test for each way to break them.

use std::collections::VecDeque;

use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::{BootId, ClusterId, Durability, Incarnation, Life};
use standin_core::message::{
    Ack, Consistency, Entries, Follow, HigherView, InspectReply, Peer, QueryRequest, Refusal,
    ReplyStatus, ReportReply, Resume, RoleName, Room, Seen, UNSEEN_DEAD_MS,
};
use standin_core::time::Duration;
use standin_core::view::{Holder, Reason, ViewId, ViewNumber, ViewRecord};
use standin_replica::{
    Action, Config, Event, Level, ReadFor, Recovered, Replica, Request, RequestBody,
};

use crate::support::*;

#[test]
fn r4_a_restarted_primary_does_not_resume_the_view_it_held() {
    let first_life = identity("a", 1);
    let record = ViewRecord::bootstrap(ClusterId(1), &first_life, 1000).activate(&first_life);
    let mut bench = Bench::new(identity("a", 2), view(1), Recovered::default());
    bench.tell(&record);
    assert_eq!(
        bench.replica.role_name(),
        RoleName::Spare,
        "the record names another life"
    );
    assert!(bench.swaps().is_empty());
    assert_eq!(bench.last_report().renew, None);
    bench.open(1);
    assert_eq!(bench.answers, [(1, ReplyStatus::NotPrimary, view(1))]);
    // With a view of its own it may begin.
    bench.tell(&record.depose(&identity("a", 2), Reason::PrimaryRestarted));
    bench.adopted(2);
    assert_eq!(bench.swaps()[0].proposed.view, ViewNumber(2));
}

#[test]
fn r4_a_restarted_candidate_does_not_go_on_where_its_last_life_was() {
    let record = ViewRecord::bootstrap(ClusterId(1), &identity("a", 1), 1000);
    let mut bench = Bench::new(identity("a", 2), view(1), Recovered::default());
    bench.tell(&record);
    assert_eq!(bench.replica.role_name(), RoleName::Spare);
    assert!(bench.swaps().is_empty());
}

#[test]
fn r4_an_active_view_is_not_taken_up_by_a_replica_that_did_not_activate_it() {
    let mut bench = Bench::fresh("a");
    let me = identity("a", 1);
    let record = ViewRecord::bootstrap(ClusterId(1), &me, 1000).activate(&me);
    bench.tell(&record);
    bench.adopted(1);
    assert_eq!(bench.replica.role_name(), RoleName::Spare);
    assert!(bench.swaps().is_empty());
}

#[test]
fn r5_a_view_is_adopted_durably_before_the_candidate_acts_by_it() {
    let mut bench = Bench::fresh("a");
    bench.tell(&ViewRecord::bootstrap(
        ClusterId(1),
        &identity("a", 1),
        1000,
    ));
    assert!(bench.swaps().is_empty(), "view 1 is not on disk yet");
    assert_eq!(bench.replica.standing().view, ViewId::default());
    bench.adopted(1);
    assert_eq!(bench.swaps().len(), 1);
}

#[test]
fn r5_a_follower_asks_to_follow_only_in_a_view_that_it_adopted_durably() {
    let mut bench = Bench::fresh("b");
    let a = identity("a", 1);
    bench.tell(&ViewRecord::bootstrap(ClusterId(1), &a, 1000).activate(&a));
    assert!(
        bench
            .take(|action| matches!(action, Action::Dial(_)))
            .is_empty()
    );
    bench.adopted(1);
    bench.event(Event::Flush);
    assert_eq!(
        bench.take(|action| matches!(action, Action::Dial(_))).len(),
        1
    );
}

#[test]
fn r5_a_higher_view_ends_the_old_role_before_it_is_durable() {
    let mut bench = Bench::primary();
    bench.open(1); // ordered, and not on disk, so not answered
    assert!(bench.answers.is_empty());
    let (a, b) = (identity("a", 1), identity("b", 1));
    let mut record = ViewRecord::bootstrap(ClusterId(1), &a, 1000).activate(&a);
    record.holders[0].token = b.token(Durability::Disk);
    bench.tell(&record.depose(&b, Reason::LeaseExpired));
    assert_eq!(bench.answers, [(1, ReplyStatus::OutcomeUnknown, view(1))]);
    bench.sync();
    bench.open(2);
    assert_eq!(
        bench.answers.len(),
        2,
        "nothing of the lower view is answered any more"
    );
    assert_eq!(bench.answers[1].1, ReplyStatus::NotPrimary);
    assert_eq!(
        bench.replica.standing().view,
        view(1),
        "not adopted before it is on disk"
    );
}

/// A primary that died may have asked for a Join of what this disk had acknowledged, and that may land though this process
/// is another by now. Only a higher view says that it cannot.
#[test]
fn a_disk_that_a_join_may_name_stays_so_for_the_next_life() {
    let (a, b) = (identity("a", 1), identity("b", 2));
    let disk = Some(b.token(Durability::Disk));
    let mut bench = Bench::of(Config {
        holds: disk,
        ..config(b, view(1), Recovered::default())
    });
    let adopts = |bench: &mut Bench| bench.take(|action| matches!(action, Action::Adopt(..)));
    let record = ViewRecord::bootstrap(ClusterId(1), &a, 1000).activate(&a);
    bench.tell(&record);
    assert_eq!(adopts(&mut bench), []);
    let c = identity("c", 1);
    let own = record.holders[0].clone();
    let next = record.join(own, (&c, c.token(Durability::Os)));
    bench.tell(&next);
    let adopted = adopts(&mut bench);
    let [Action::Adopt(of, holds, _)] = adopted.as_slice() else {
        panic!("{adopted:?}");
    };
    assert_eq!((*of, *holds), (next.id(), None));
}

#[test]
fn r7_a_lower_view_is_ignored_when_the_view_service_tells_it() {
    let mut bench = Bench::primary();
    let a = identity("a", 1);
    let mut bench_at_2 = Bench::new(a.clone(), view(2), Recovered::default());
    let record = ViewRecord::bootstrap(ClusterId(1), &a, 1000);
    bench_at_2.tell(&record);
    assert!(bench_at_2.swaps().is_empty());
    assert_eq!(bench_at_2.replica.standing().view, view(2));
    bench_at_2.actions.clear();
    bench_at_2.now.boot = bench_at_2.now.boot.plus(Duration::from_millis(200));
    bench_at_2.event(Event::Deadline);
    let trouble = bench_at_2
        .last_report()
        .trouble
        .expect("it says what is wrong");
    assert!(trouble.contains("lower than view 2"), "{trouble}");
    // The same record, told to the replica that holds it, changes nothing.
    bench.tell(&record.activate(&a));
    assert_eq!(bench.replica.role_name(), RoleName::Primary);
}

#[test]
fn r7_messages_of_a_lower_view_are_refused_with_the_own_view() {
    let mut bench = Bench::fresh("b");
    let a = identity("a", 1);
    let mut record = ViewRecord::bootstrap(ClusterId(1), &a, 1000).activate(&a);
    record.view = ViewNumber(5);
    bench.tell(&record);
    bench.adopted(5);
    bench.event(Event::Flush);
    let primary = ConnId(1);
    bench.event(Event::Dialled(primary));
    let resume = resume(view(4));
    let refused = Action::HigherView(primary, view(5));
    bench.event(Event::Resume(primary, &resume));
    assert!(bench.actions.contains(&refused), "{:?}", bench.actions);
    bench.event(Event::Resume(
        primary,
        &Resume {
            view: view(5),
            ..resume
        },
    ));
    bench.actions.clear();
    let entries = Entries {
        nonce: 1,
        view: view(4),
        round: 1,
        commit: Index::ZERO,
        bytes: &[],
    };
    bench.event(Event::Entries(primary, &entries));
    bench.event(Event::Flush);
    assert!(bench.actions.contains(&refused), "{:?}", bench.actions);
    let follow = Follow {
        identity: a,
        view: view(4),
        last: LogTip::default(),
        view_starts: Vec::new(),
        resp: None,
        versions: standin_core::version::VersionRange::only(1),
    };
    bench.actions.clear();
    bench.event(Event::Follow(ConnId(2), &follow));
    assert!(
        bench
            .actions
            .contains(&Action::HigherView(ConnId(2), view(5)))
    );
}

#[test]
fn r7_a_replica_that_is_refused_asks_for_the_record_at_once() {
    let mut bench = Bench::primary();
    bench.event(Event::HigherView(HigherView { view: view(2) }));
    assert_eq!(bench.last_report().renew, Some(view(1)));
}

#[test]
fn a_higher_view_that_is_named_again_and_again_makes_few_reports() {
    let mut bench = Bench::primary();
    bench.take(|action| matches!(action, Action::Report(_)));
    for _ in 0..100 {
        bench.event(Event::HigherView(HigherView { view: view(2) }));
    }
    let reports = bench.take(|action| matches!(action, Action::Report(_)));
    assert_eq!(reports.len(), 1);
}

#[test]
fn r7_a_client_that_has_seen_a_higher_view_is_not_served_by_a_lower_one() {
    let mut bench = Bench::primary();
    let seen = Seen {
        view: view(2),
        index: Index(1),
    };
    bench.command(1, seen);
    assert_eq!(bench.answers, [(1, ReplyStatus::NotPrimary, view(1))]);
}

#[test]
fn a_stopping_primary_gives_its_lease_back_and_answers_nothing_more() {
    let mut bench = Bench::primary();
    bench.open(1);
    bench.event(Event::Stop);
    assert_eq!(
        bench
            .take(|action| matches!(action, Action::Release(_)))
            .len(),
        1
    );
    bench.sync();
    assert_eq!(bench.answers, [(1, ReplyStatus::OutcomeUnknown, view(1))]);
}

#[test]
fn an_active_primary_does_not_begin_its_view_again_for_an_older_record_of_it() {
    let mut bench = Bench::primary();
    let last = bench.replica.standing().last.index;
    bench.tell(&ViewRecord::bootstrap(
        ClusterId(1),
        &identity("a", 1),
        1000,
    ));
    assert_eq!(bench.replica.role_name(), RoleName::Primary);
    assert_eq!(bench.replica.standing().last.index, last);
}

/// The primary of a pair whose backup `b` never says a word.
fn with_a_silent_backup() -> Bench {
    let mut bench = Bench::with_backup();
    bench.actions.clear();
    bench
}

/// Time passes, a fiftieth of a term at a time. The view service answers each report so many steps
/// later; `None`: never. How many Drops were asked.
fn drops_asked(bench: &mut Bench, steps: usize, answered_after: Option<usize>) -> usize {
    let record = bench.replica.record().expect("a record").clone();
    let mut drops = 0;
    let mut on_their_way = VecDeque::new();
    for step in 0..steps {
        bench.now.boot = bench.now.boot.plus(STEP);
        bench.event(Event::Deadline);
        bench.sync();
        for action in std::mem::take(&mut bench.actions) {
            match action {
                Action::Report(report) => on_their_way.push_back((step, report.number)),
                Action::Swap(swap) if swap.proposed.reason == Reason::Dropped => drops += 1,
                _ => {}
            }
        }
        let is_due = |sent: usize| answered_after.is_some_and(|later| step >= sent + later);
        while let Some((_, number)) = on_their_way.pop_front_if(|(sent, _)| is_due(*sent)) {
            bench.reports = number;
            bench.tell(&record);
        }
    }
    drops
}

const STEP: Duration = Duration::from_millis(20);

#[test]
fn a_primary_that_hears_nothing_from_the_view_service_drops_nobody() {
    for heard in 0..=10 {
        let mut bench = with_a_silent_backup();
        assert_eq!(drops_asked(&mut bench, heard, Some(0)), 0);
        assert_eq!(
            drops_asked(&mut bench, 50 - heard, None),
            0,
            "b is silent to it, and so is everybody since step {heard}"
        );
    }
}

#[test]
fn a_primary_that_hears_the_view_service_again_drops_its_silent_backup() {
    let mut bench = with_a_silent_backup();
    assert_eq!(drops_asked(&mut bench, 8, Some(0)), 0);
    assert_eq!(drops_asked(&mut bench, 20, None), 0);
    assert!(drops_asked(&mut bench, 20, Some(0)) > 0);
}

#[test]
fn a_view_service_that_answers_late_does_not_keep_a_silent_backup_from_being_dropped() {
    for answered_after in [1, 10, 15, 20, 22, 24] {
        let mut bench = with_a_silent_backup();
        let drops = drops_asked(&mut bench, 50, Some(answered_after));
        assert!(drops > 0, "answered after {answered_after} steps");
    }
}

#[test]
fn a_candidate_that_hears_nothing_from_the_view_service_does_not_activate_its_view() {
    let me = identity("a", 1);
    let mut bench = Bench::fresh("a");
    bench.tell(&ViewRecord::bootstrap(ClusterId(1), &me, 1000));
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(10));
    bench.event(Event::Deadline); // a report that is never answered
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(300));
    bench.adopted(1); // after a long time on the disk
    assert!(
        bench.swaps().is_empty(),
        "it would be the one holder, and know nothing of it"
    );
    bench.reports = bench.last_report().number;
    bench.tell(&ViewRecord::bootstrap(ClusterId(1), &me, 1000));
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(300));
    bench.event(Event::Deadline);
    assert_eq!(bench.swaps().len(), 1);
}

#[test]
fn a_quarantined_replica_answers_no_stale_reads() {
    let mut bench = Bench::fresh("a");
    let quarantine = Some("its log contradicts the primary's".to_owned());
    bench.replica = Replica::new(
        Config {
            quarantine,
            ..config(identity("a", 1), view(1), Recovered::default())
        },
        bench.now,
    );
    let query = QueryRequest {
        id: 1,
        seen: Seen::default(),
        consistency: Consistency::Stale,
        bytes: b"",
    };
    let body = RequestBody::Query(query);
    bench.event(Event::Requests(&[Request { conn: CLIENT, body }]));
    assert_eq!(bench.answers[0].1, ReplyStatus::Refused);
}

/// The record of a pair: `a` is primary of view 2 and `b` its backup.
fn pair() -> ViewRecord {
    let (a, b) = (identity("a", 1), identity("b", 1));
    let own = Holder {
        name: a.name.clone(),
        token: a.token(Durability::Os),
    };
    ViewRecord::bootstrap(ClusterId(1), &a, 1000)
        .activate(&a)
        .join(own, (&b, b.token(Durability::Os)))
}

/// The backup of a pair; entries flow to it.
fn backup() -> Bench {
    let mut bench = Bench::fresh("b");
    bench.tell(&pair());
    bench.adopted(2);
    bench.event(Event::Dialled(PRIMARY));
    bench.event(Event::Resume(PRIMARY, &resume(view(2))));
    bench.actions.clear();
    bench
}

const PRIMARY: ConnId = ConnId(1);

/// A life that the view service has not heard of.
const UNKNOWN: Life = Life {
    boot: BootId(0),
    incarnation: Incarnation { start: 0, nonce: 0 },
};

/// The view service, which knows only these replicas, tells the record.
fn tell_with(bench: &mut Bench, record: &ViewRecord, peers: Vec<Peer>) {
    let reply = ReportReply {
        number: bench.reports,
        record: Some(record.clone()),
        granted: false,
        wall: bench.now.wall,
        peers,
    };
    bench.event(Event::ReportReply(&reply));
}

fn peer(name: &str, address: &str, unseen: Duration) -> Peer {
    Peer {
        identity: identity(name, 1),
        address: address.to_owned(),
        unseen_ms: u64::try_from(unseen.as_millis()).expect("a short time"),
    }
}

fn hung_up(bench: &mut Bench) -> bool {
    !bench
        .take(|action| matches!(action, Action::Hang))
        .is_empty()
}

#[test]
fn a_restarted_view_service_that_does_not_know_the_primary_yet_ends_no_stream() {
    let mut bench = backup();
    bench.event(Event::ViewServiceDown);
    bench.event(Event::ViewServiceUp);
    for _ in 0..3 {
        let own = peer("b", "address of b", Duration::ZERO);
        // Who has not reported to it is told of by name alone.
        let mut unreported = peer("a", "", Duration::from_secs(1));
        unreported.identity.life = UNKNOWN;
        tell_with(&mut bench, &pair(), vec![unreported, own]);
        assert!(!hung_up(&mut bench), "the primary is where it was");
    }
    // The connection breaks all the same: it is dialled again where the primary was last.
    bench.event(Event::DialClosed);
    bench.now.boot = bench.now.boot.plus(Duration::from_secs(1));
    bench.event(Event::Deadline);
    let dials = bench.take(|action| matches!(action, Action::Dial(_)));
    assert_eq!(dials, [Action::Dial("address of a".to_owned())]);
}

#[test]
fn a_stream_ends_when_the_primary_is_elsewhere_or_another() {
    let mut bench = backup();
    let moved = peer("a", "elsewhere", Duration::ZERO);
    tell_with(&mut bench, &pair(), vec![moved]);
    assert!(hung_up(&mut bench), "another address");

    let mut bench = backup();
    let next = pair().depose(&identity("b", 1), Reason::LeaseExpired);
    tell_with(&mut bench, &next, Vec::new());
    assert!(hung_up(&mut bench), "another record");
}

/// The primary of a pair whose backup `b` follows.
fn with_a_following_backup() -> Bench {
    let mut bench = with_a_silent_backup();
    let standing = bench.replica.standing();
    let follow = Follow {
        identity: identity("b", 1),
        view: view(2),
        last: standing.last,
        view_starts: vec![
            (ViewNumber(1), Index(1)),
            (ViewNumber(2), standing.last.index),
        ],
        resp: None,
        versions: standin_core::version::VersionRange::only(1),
    };
    bench.event(Event::Follow(BACKUP, &follow));
    acknowledge_all(&mut bench);
    bench
}

const BACKUP: ConnId = ConnId(2);

/// `b` acknowledges whatever it was sent.
fn acknowledge_all(bench: &mut Bench) {
    let sent = bench.take(|action| matches!(action, Action::Resume(..) | Action::Entries { .. }));
    for action in sent {
        let (nonce, round) = match action {
            Action::Resume(_, resume) => (resume.nonce, 0),
            Action::Entries { nonce, round, .. } => (nonce, round),
            other => panic!("{other:?}"),
        };
        let ack = Ack {
            nonce,
            view: view(2),
            round,
            durable: bench.replica.standing().last.index,
            applied: bench.replica.standing().applied,
            reply_digest: bench.replica.state().reply_digest().0,
            room: Room::Enough,
        };
        bench.event(Event::Ack(BACKUP, &ack));
    }
}

/// Time passes, a fifth of a term at a time. A view service that is heard says how long it has not seen
/// `b`, which has been so for `unseen` when time begins to pass. How long until a Drop is asked.
fn dropped_after(bench: &mut Bench, unseen: Duration) -> Option<Duration> {
    let start = bench.now.boot;
    for step in 1..50 {
        let passed = Duration::from_millis(200) * step;
        bench.now.boot = start.plus(passed);
        bench.event(Event::Deadline);
        bench.reports = bench.last_report().number;
        acknowledge_all(bench);
        let b = peer("b", "address of b", unseen + passed);
        tell_with(bench, &pair(), vec![b]);
        bench.sync();
        let swaps = bench.swaps();
        if (swaps.iter()).any(|swap| swap.proposed.reason == Reason::Dropped) {
            return Some(passed);
        }
    }
    None
}

/// Section 6: a backup that the view service has not seen for five terms is replaced.
#[test]
fn a_backup_counts_as_unseen_only_while_the_view_service_is_heard() {
    let term = Duration::from_secs(1);
    let mut bench = with_a_following_backup();
    let after = dropped_after(&mut bench, Duration::ZERO).expect("a Drop");
    assert!((term * 5..term * 6).contains(&after), "{after:?}");

    // The view service is cut off from both for seven terms.
    let mut bench = with_a_following_backup();
    bench.event(Event::ViewServiceDown);
    for _ in 0..35 {
        bench.now.boot = bench.now.boot.plus(term / 5);
        bench.event(Event::Deadline);
        acknowledge_all(&mut bench);
    }
    bench.event(Event::ViewServiceUp);
    let after = dropped_after(&mut bench, term * 7).expect("a Drop");
    assert!((term * 5..term * 6).contains(&after), "{after:?}");
}

#[test]
fn a_quarantine_says_how_it_ends() {
    let recovered = Recovered {
        tip: LogTip {
            index: Index(1),
            ..LogTip::default()
        },
        commit: Index(1),
        ..Recovered::default()
    };
    let mut bench = Bench::new(identity("a", 1), view(1), recovered);
    bench.event(Event::Deadline);
    bench.event(Event::LogRead(ReadFor::Apply, b"no entry".to_vec()));
    assert_eq!(bench.replica.role_name(), RoleName::Quarantined);
    let kept = bench.take(|action| matches!(action, Action::Quarantine(_)));
    let [Action::Quarantine(words)] = &kept[..] else {
        panic!("{kept:?}");
    };
    assert!(
        words.ends_with("start with an empty --data and --replace"),
        "{words}"
    );
    assert_eq!(bench.replica.trouble(), Some(words.as_str()));
}

/// What it tells the view service a little later.
fn trouble_reported(bench: &mut Bench) -> Option<String> {
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(200));
    bench.event(Event::Deadline);
    bench.last_report().trouble
}

#[test]
fn a_follower_that_the_primary_turns_down_says_so_until_it_is_let_in() {
    let mut bench = Bench::follower();
    for _ in 0..3 {
        bench.event(Event::DialRefused(&Refusal::RepliesDiffer));
    }
    let told = bench.take(|action| matches!(action, Action::Log(Level::Warn, _)));
    assert_eq!(told.len(), 1, "people are told once: {told:?}");
    let trouble = trouble_reported(&mut bench).expect("status shows it");
    assert!(
        trouble.contains("replies to the same entries differed"),
        "{trouble}"
    );
    assert!(trouble.contains("--replace"), "{trouble}");
    bench.event(Event::Dialled(ConnId(9)));
    bench.event(Event::Resume(ConnId(9), &resume(view(1))));
    assert_eq!(trouble_reported(&mut bench), None);
}

#[test]
fn a_primary_that_takes_no_followers_any_more_says_so_in_every_view_of_its_own() {
    let mut bench = Bench::primary();
    for number in 0..16 {
        let conn = ConnId(100 + number);
        let mut other = identity("x", 1);
        other.store.0 = 1000 + u128::from(number);
        let follow = Follow {
            identity: other,
            view: view(1),
            last: LogTip::default(),
            view_starts: Vec::new(),
            resp: None,
            versions: standin_core::version::VersionRange::only(1),
        };
        bench.event(Event::Follow(conn, &follow));
        let resumes = bench.take(|action| matches!(action, Action::Resume(..)));
        let [Action::Resume(_, resume)] = &resumes[..] else {
            panic!("{resumes:?}");
        };
        let ack = Ack {
            nonce: resume.nonce,
            view: view(1),
            round: 0,
            durable: Index::ZERO,
            applied: Index(1),
            reply_digest: 4711,
            room: Room::Enough,
        };
        assert_eq!(bench.replica.trouble(), None);
        bench.event(Event::Ack(conn, &ack));
    }
    let trouble = trouble_reported(&mut bench).expect("status shows it");
    assert!(trouble.contains("takes no more followers"), "{trouble}");
    let record = bench.replica.record().expect("a record").clone();
    bench.tell(&record.drop_backup(&identity("a", 1)));
    bench.adopted(2);
    assert_eq!(bench.replica.trouble(), Some(trouble.as_str()));
}

fn inspect(bench: &mut Bench) -> InspectReply {
    bench.event(Event::Inspect(CLIENT));
    let told = bench.take(|action| matches!(action, Action::Inspected(..)));
    match &told[..] {
        [Action::Inspected(_, reply)] => (**reply).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_state_is_not_digested_for_everybody_who_asks_and_digest_and_index_belong_together() {
    let mut bench = Bench::primary();
    let first = inspect(&mut bench);
    bench.open(1);
    bench.sync();
    let standing = bench.replica.standing();
    assert!(standing.applied > first.standing.applied);
    let again = inspect(&mut bench);
    assert_eq!(again.standing.applied, first.standing.applied);
    assert_eq!(again.standing.reply_digest, first.standing.reply_digest);
    assert_eq!(
        (again.state_digest, again.sessions),
        (first.state_digest, 0)
    );
    assert_eq!(
        again.standing.commit, standing.commit,
        "which tells that there is more"
    );
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(100));
    let later = inspect(&mut bench);
    assert_eq!(later.standing, bench.replica.standing());
    assert_eq!(later.state_digest, bench.replica.state().state_digest());
    assert_eq!(later.sessions, 1);
    assert_ne!(later.state_digest, first.state_digest);
}

/// The record of a pair of a and b, where a is primary.
fn pair_record() -> ViewRecord {
    let (a, b) = (identity("a", 1), identity("b", 1));
    let own = Holder {
        name: a.name.clone(),
        token: a.token(Durability::Os),
    };
    let active = ViewRecord::bootstrap(ClusterId(1), &a, 1000).activate(&a);
    active.join(own, (&b, b.token(Durability::Os)))
}

#[test]
fn a_primary_drops_its_backup_when_exactly_that_life_is_said_to_have_died() {
    for (start, unseen_ms, drops) in [
        (1, UNSEEN_DEAD_MS, true),
        (2, UNSEEN_DEAD_MS, false),
        (1, 0, false),
    ] {
        let mut bench = Bench::primary();
        bench.tell(&pair_record());
        bench.adopted(2);
        bench.actions.clear();
        let reply = ReportReply {
            number: 0,
            record: Some(pair_record()),
            granted: false,
            wall: bench.now.wall,
            peers: vec![Peer {
                identity: identity("b", start),
                address: String::new(),
                unseen_ms,
            }],
        };
        bench.event(Event::ReportReply(&reply));
        bench.sync();
        let asked: Vec<Reason> = bench
            .swaps()
            .iter()
            .map(|swap| swap.proposed.reason)
            .collect();
        let expected: &[Reason] = if drops { &[Reason::Dropped] } else { &[] };
        assert_eq!(asked, expected, "life {start}, {unseen_ms}");
    }
}

#[test]
fn clients_wait_a_moment_for_a_primary_whose_view_has_just_become_active() {
    let mut bench = Bench::fresh("a");
    let record = ViewRecord::bootstrap(ClusterId(1), &identity("a", 1), 1000);
    bench.tell(&record);
    bench.adopted(1);
    assert!(bench.replica.has_room(), "a candidate sends them away");
    bench.accept_swap();
    assert!(
        !bench.replica.has_room(),
        "its first entry is not on disk yet"
    );
    let until = bench.replica.deadline().expect("it does not wait for ever");
    assert!(until <= bench.now.boot.plus(Duration::from_millis(100)));
    let mut late = Bench::fresh("a");
    late.tell(&record);
    late.adopted(1);
    late.accept_swap();
    late.now.boot = late.now.boot.plus(Duration::from_millis(100));
    late.event(Event::Deadline);
    assert!(
        late.replica.has_room(),
        "they are told that it does not serve"
    );
    late.open(1);
    assert_eq!(late.answers[0].1, ReplyStatus::NotPrimary);
    bench.sync();
    assert!(bench.replica.has_room());
    bench.open(1);
    bench.sync();
    assert_eq!(bench.answers[0].1, ReplyStatus::Done);
}

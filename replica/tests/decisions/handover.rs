//! A planned change of the primary as the whole replica decides it: what clients ask is held, whoever asked
//! hears what came of it, and a process that stops hands over first.

use std::sync::Arc;

use standin_core::conn::ConnId;
use standin_core::entry::{BatchBuilder, BatchStamp, EntryKind, Index, ViewStart};
use standin_core::identity::{Durability, ReplicaName};
use standin_core::message::{
    Ack, Consistency, Entries, Follow, Leave, QueryRequest, Release, ReplyStatus, Resume, RoleName,
    Room, Seen, Switchover, SwitchoverReply, encode_payload,
};
use standin_core::time::{Duration, WallTime};
use standin_core::view::{Holder, Reason, ViewRecord};
use standin_replica::{
    Action, Event, HELD_REQUESTS_MAX, LogRoom, ROOM_RESERVE_BYTES, Request, RequestBody,
};

use crate::support::*;

const OPERATOR: ConnId = ConnId(60);
const B: ConnId = ConnId(61);
const DIALLED: ConnId = ConnId(62);

/// A pair of `a`, the primary of view 2 and on the bench, and `b`, which has acknowledged everything.
struct Pair {
    bench: Bench,
    nonce: u64,
    round: u64,
}

impl Pair {
    fn new() -> Self {
        let bench = Bench::with_backup();
        let b = identity("b", 1);
        let follow = Follow {
            identity: b,
            view: view(2),
            last: bench.replica.standing().last,
            view_starts: Vec::new(),
            resp: None,
            versions: standin_core::version::VersionRange::only(1),
        };
        let mut pair = Self {
            bench,
            nonce: 0,
            round: 0,
        };
        // With no view in common everything is sent again from the start, which nobody looks at here.
        pair.bench.event(Event::Follow(B, &follow));
        let resumes = pair.take(|action| matches!(action, Action::Resume(..)));
        let [Action::Resume(_, resume)] = resumes.as_slice() else {
            panic!("{resumes:?}");
        };
        pair.nonce = resume.nonce;
        pair.ack(Index::ZERO, Index::ZERO, 0);
        pair.feed();
        pair.ack_all();
        pair.ack_all();
        pair.bench.actions.clear();
        assert_eq!(pair.bench.replica.role_name(), RoleName::Primary);
        pair
    }

    fn take(&mut self, wanted: impl Fn(&Action) -> bool) -> Vec<Action> {
        self.bench.take(wanted)
    }

    /// Reads what `a` wants to read of its log for `b`, and notes what was sent.
    fn feed(&mut self) {
        while let Some(Action::ReadLog(read, from, _)) = self
            .take(|action| matches!(action, Action::ReadLog(..)))
            .pop()
        {
            let sent = self.log_from(from);
            self.bench.event(Event::LogRead(read, sent));
        }
    }

    /// The bytes of `a`'s log from an entry on.
    fn log_from(&self, from: Index) -> Vec<u8> {
        let batches = self.bench.appended.iter();
        let rest = batches.filter(|batch| batch.first() >= from);
        rest.flat_map(|batch| batch.bytes().to_vec()).collect()
    }

    fn ack(&mut self, durable: Index, applied: Index, reply_digest: u128) {
        let sends = self.bench.actions.iter().filter_map(|action| match action {
            Action::Entries { round, .. } => Some(*round),
            _ => None,
        });
        self.round = sends.max().unwrap_or(0).max(self.round);
        let ack = Ack {
            nonce: self.nonce,
            view: view(2),
            round: self.round,
            durable,
            applied,
            reply_digest,
            room: Room::Enough,
        };
        self.bench.event(Event::Ack(B, &ack));
    }

    /// `b` has everything, and has applied what `a` has.
    fn ack_all(&mut self) {
        let standing = self.bench.replica.standing();
        self.ack(standing.last.index, standing.applied, standing.reply_digest);
    }

    fn ask(&mut self, to: Option<&str>) {
        let to = to.map(|name| ReplicaName::new(name).expect("a good name"));
        self.bench
            .event(Event::Switchover(OPERATOR, &Switchover { to }));
    }

    fn told(&mut self) -> Vec<SwitchoverReply> {
        let replies = self.take(|action| matches!(action, Action::Switched(..)));
        let reply = |action| match action {
            Action::Switched(OPERATOR, reply) => *reply,
            other => panic!("{other:?}"),
        };
        replies.into_iter().map(reply).collect()
    }

    /// `a` has asked to hand over; the record that it wants.
    fn handed_over(&mut self) -> ViewRecord {
        self.ack_all(); // it commits the entry
        self.ack_all(); // and b has applied it
        let swap = self.bench.swaps().pop().expect("Hand over is asked");
        assert_eq!(swap.proposed.reason, Reason::HandedOver);
        swap.proposed
    }

    fn command(&mut self, id: u64) {
        self.bench.command(id, Seen::default());
    }

    fn pass(&mut self, time: Duration) {
        self.bench.now.boot = self.bench.now.boot.plus(time);
        self.bench.event(Event::Deadline);
    }

    /// `a` follows `b` in view 3 and applies its first entry.
    fn follow_b(&mut self) {
        let dials = self.take(|action| matches!(action, Action::Dial(_)));
        assert_eq!(dials, [Action::Dial("address of b".to_owned())]);
        self.bench.event(Event::Dialled(DIALLED));
        let tip = self.bench.replica.standing().last;
        let resume = Resume {
            view: view(3),
            nonce: 9,
            common: tip,
            durability: Durability::Os,
            silence_ms: 500,
            skips: Vec::new(),
            resp: None,
        };
        self.bench.event(Event::Resume(DIALLED, &resume));
        let b = identity("b", 1);
        let start = ViewStart {
            data_epoch: view(3).data_epoch,
            primary: b.name.clone(),
            incarnation: b.life.incarnation,
            durability: Durability::Os,
            session_timeout_ms: 1000,
            sessions_max: 1000,
            replies_bytes_max: 1 << 20,
            session_idle_min_ms: 0,
            skips: Vec::new(),
            machine_version: Some(1),
        };
        let stamp = BatchStamp {
            view: view(3).view,
            time: WallTime(u64::MAX / 2),
            seed: 1,
            commit: tip.index,
        };
        let mut builder = BatchBuilder::new(tip, stamp);
        let at = builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
        let batch = Arc::new(builder.finish().expect("it has an entry"));
        for (round, commit, bytes) in [(1, tip.index, batch.bytes()), (2, at, &[][..])] {
            let entries = Entries {
                nonce: 9,
                view: view(3),
                round,
                commit,
                bytes,
            };
            self.bench.event(Event::Entries(DIALLED, &entries));
        }
    }
}

#[test]
fn what_clients_ask_meanwhile_is_held_and_then_told_where_to_go() {
    let mut pair = Pair::new();
    assert!(pair.bench.replica.has_room());
    pair.ask(None);
    assert!(
        !pair.bench.replica.has_room(),
        "nothing more is read of clients"
    );
    pair.command(7);
    let handed = pair.handed_over();
    pair.bench.tell(&handed);
    pair.bench.adopted(3);
    pair.command(8);
    assert!(pair.bench.answers.is_empty(), "nobody serves yet");
    assert_eq!(pair.bench.replica.held().0, 2);
    let active = handed.activate(&identity("b", 1));
    pair.bench.tell(&active);
    let not_primary = |id| (id, ReplyStatus::NotPrimary, view(3));
    assert_eq!(pair.bench.answers, [not_primary(7), not_primary(8)]);
    assert_eq!(pair.bench.replies, [b"address of b"; 2]);
    assert!(pair.bench.replica.has_room());
    assert!(pair.told().is_empty(), "b does not serve yet");
    pair.follow_b();
    let name = |name: &str| identity(name, 1).name;
    let done = SwitchoverReply::Done {
        view: view(3),
        primary: name("b"),
        backup: name("a"),
    };
    assert_eq!(pair.told(), [done]);
}

#[test]
fn if_nobody_activates_the_view_clients_are_not_held_for_ever() {
    let mut pair = Pair::new();
    pair.ask(None);
    let handed = pair.handed_over();
    pair.bench.tell(&handed);
    pair.bench.adopted(3);
    pair.command(7);
    assert!(pair.bench.answers.is_empty());
    pair.pass(Duration::from_millis(751));
    assert_eq!(pair.bench.answers, [(7, ReplyStatus::NotPrimary, view(3))]);
    pair.pass(Duration::from_secs(2));
    let told = pair.told();
    assert!(
        matches!(&told[..], [SwitchoverReply::Unknown { .. }]),
        "{told:?}"
    );
}

#[test]
fn what_was_held_is_ordered_if_the_primary_stays() {
    let mut pair = Pair::new();
    pair.ask(None);
    pair.bench.open(7);
    let before = pair.bench.replica.standing().last.index;
    pair.pass(Duration::from_millis(251));
    let told = pair.told();
    let [SwitchoverReply::Refused { reason }] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(reason.contains("did not catch up"), "{reason}");
    assert_eq!(
        pair.bench.replica.standing().last.index,
        before.next(),
        "the open"
    );
    assert!(pair.bench.replica.has_room());
    pair.ack_all();
    assert_eq!(pair.bench.answers, [(7, ReplyStatus::Done, view(2))]);
}

/// The wake-up in which it is taken may have sent its last message to the backup already.
#[test]
fn a_query_that_was_held_asks_for_its_round_as_it_is_taken() {
    let mut pair = Pair::new();
    pair.ask(None);
    let query = RequestBody::Query(QueryRequest {
        id: 7,
        seen: Seen::default(),
        consistency: Consistency::Confirmed,
        bytes: b"",
    });
    let conn = CLIENT;
    let request = Request { conn, body: query };
    pair.bench.event(Event::Requests(&[request]));
    assert_eq!(pair.bench.replica.held().0, 1);
    pair.pass(Duration::from_millis(251));
    assert_eq!(pair.bench.replica.held().0, 0);
    assert!(pair.bench.answers.is_empty(), "it is to be confirmed");
    pair.ack_all();
    assert_eq!(pair.bench.answers, [(7, ReplyStatus::Done, view(2))]);
}

#[test]
fn no_more_is_held_than_there_is_room_for() {
    let mut pair = Pair::new();
    pair.ask(None);
    for id in 0..=HELD_REQUESTS_MAX as u64 {
        pair.command(id);
    }
    assert_eq!(pair.bench.replica.held().0, HELD_REQUESTS_MAX);
    let turned_away = (HELD_REQUESTS_MAX as u64, ReplyStatus::Overloaded, view(2));
    assert_eq!(pair.bench.answers, [turned_away]);
}

#[test]
fn replies_that_differ_at_the_handover_entry_end_it() {
    let mut pair = Pair::new();
    pair.ask(None);
    pair.ack_all();
    let standing = pair.bench.replica.standing();
    pair.ack(standing.last.index, standing.applied, 1);
    let swaps = pair.bench.swaps();
    assert!(
        !swaps
            .iter()
            .any(|swap| swap.proposed.reason == Reason::HandedOver),
        "{swaps:?}"
    );
    let told = pair.told();
    assert!(
        matches!(&told[..], [SwitchoverReply::Refused { .. }]),
        "{told:?}"
    );
}

#[test]
fn the_lease_is_not_renewed_once_hand_over_is_asked() {
    let mut pair = Pair::new();
    pair.ask(None);
    pair.handed_over();
    assert_eq!(pair.bench.replica.lease_until(), None);
    pair.pass(Duration::from_millis(201));
    assert_eq!(pair.bench.last_report().renew, None);
}

#[test]
fn what_cannot_be_done_is_refused_in_words_that_name_who_can() {
    let refused = |pair: &mut Pair, to: Option<&str>, words: &str| {
        pair.ask(to);
        let told = pair.told();
        let [SwitchoverReply::Refused { reason }] = &told[..] else {
            panic!("{told:?}");
        };
        assert!(reason.contains(words), "{reason}");
    };
    let mut pair = Pair::new();
    refused(&mut pair, Some("z"), "no replica is named z");
    refused(
        &mut pair,
        Some("a"),
        "a is the primary already; only the backup can take over now, which is b",
    );
    pair.ask(Some("b"));
    assert!(pair.told().is_empty(), "it has begun");
    refused(&mut pair, None, "under way already");
    let mut pair = Pair::new();
    pair.bench.event(Event::ViewServiceDown);
    refused(&mut pair, None, "view service");
    let mut spare = Bench::fresh("a");
    spare.event(Event::Switchover(OPERATOR, &Switchover { to: None }));
    let told = spare.take(|action| matches!(action, Action::Switched(..)));
    let not_primary = Box::new(SwitchoverReply::NotPrimary);
    assert_eq!(told, [Action::Switched(OPERATOR, not_primary)]);
}

#[test]
fn a_primary_that_leaves_hands_over_and_then_says_as_the_backup_that_it_goes() {
    let mut pair = Pair::new();
    pair.bench.event(Event::Leave);
    assert!(!pair.bench.replica.has_left());
    let handed = pair.handed_over();
    pair.bench.tell(&handed);
    pair.bench.adopted(3);
    let active = handed.activate(&identity("b", 1));
    pair.bench.tell(&active);
    assert!(
        !pair.bench.replica.has_left(),
        "b waits for it from its first entry on"
    );
    pair.follow_b();
    let said = pair.take(|action| matches!(action, Action::Leave(..)));
    assert_eq!(said, [Action::Leave(DIALLED, Leave { nonce: 9 })]);
    assert!(
        !pair.bench.replica.has_left(),
        "b waits until it has dropped it"
    );
    let dropped = active.drop_backup(&identity("b", 1));
    pair.bench.tell(&dropped);
    pair.bench.adopted(4);
    assert!(pair.bench.replica.has_left());
    pair.bench.event(Event::Stop);
    assert!(
        pair.take(|action| matches!(action, Action::Release(_)))
            .is_empty()
    );
}

#[test]
fn a_primary_that_cannot_hand_over_in_time_gives_its_lease_back() {
    let mut pair = Pair::new();
    pair.bench.event(Event::Leave);
    pair.pass(Duration::from_millis(251));
    assert!(pair.bench.replica.has_left(), "b has not come to the entry");
    pair.bench.event(Event::Stop);
    let released = pair.take(|action| matches!(action, Action::Release(_)));
    let release = Release {
        identity: identity("a", 1),
        view: view(2),
    };
    assert_eq!(released, [Action::Release(Box::new(release))]);
}

#[test]
fn whoever_has_nobody_to_hand_over_to_leaves_at_once() {
    let mut alone = Bench::primary();
    alone.event(Event::Leave);
    assert!(alone.replica.has_left());
    let mut spare = Bench::fresh("a");
    spare.event(Event::Leave);
    assert!(spare.replica.has_left());
}

#[test]
fn whoever_leaves_waits_a_term_at_most() {
    let mut pair = Pair::new();
    pair.bench.event(Event::Leave);
    let handed = pair.handed_over();
    pair.bench.tell(&handed);
    pair.bench.adopted(3);
    pair.pass(Duration::from_millis(999));
    assert!(
        !pair.bench.replica.has_left(),
        "nobody has activated the view"
    );
    pair.pass(Duration::from_millis(1));
    assert!(pair.bench.replica.has_left());
}

#[test]
fn told_to_stop_in_the_midst_of_it_a_primary_answers_what_it_held() {
    let mut pair = Pair::new();
    pair.bench.event(Event::Leave);
    pair.command(7);
    assert!(pair.bench.answers.is_empty());
    pair.bench.event(Event::Stop);
    assert_eq!(pair.bench.answers, [(7, ReplyStatus::NotPrimary, view(2))]);
}

/// `b` on the bench, to which `a` has handed view 3 over.
#[test]
fn whoever_is_handed_a_view_holds_what_comes_before_it_serves() {
    let mut bench = Bench::fresh("b");
    let (a, b) = (identity("a", 1), identity("b", 1));
    let holder = |identity: &standin_core::identity::Identity| Holder {
        name: identity.name.clone(),
        token: identity.token(Durability::Os),
    };
    let pair = ViewRecord::bootstrap(standin_core::identity::ClusterId(1), &a, 1000)
        .activate(&a)
        .join(holder(&a), (&b, b.token(Durability::Os)));
    bench.tell(&pair);
    bench.adopted(2);
    bench.tell(&pair.hand_over().expect("there is a backup"));
    bench.adopted(3);
    assert_eq!(bench.replica.role_name(), RoleName::Candidate);
    bench.open(7);
    assert!(!bench.replica.has_room());
    bench.accept_swap();
    bench.open(8);
    assert!(bench.answers.is_empty(), "a does not follow yet");
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(751));
    bench.event(Event::Deadline);
    let turned_away = |id| (id, ReplyStatus::NotPrimary, view(3));
    assert_eq!(bench.answers, [turned_away(7), turned_away(8)]);
}

#[test]
fn a_primary_without_room_hands_over_by_itself_and_tries_again_after_a_while() {
    let mut pair = Pair::new();
    let room = |is_lacking| LogRoom {
        here: 2 * ROOM_RESERVE_BYTES,
        next: 0,
        is_lacking,
    };
    let before = pair.bench.replica.standing().last.index;
    pair.bench.event(Event::Room(room(true), Some("no room")));
    let handover = pair.bench.replica.standing().last.index;
    assert_eq!(handover, before.next(), "a Handover entry");
    // Nothing comes of it: `b` does not apply the entry in time.
    let record = pair.bench.replica.record().expect("a record").clone();
    let pass = |pair: &mut Pair, time: u64| {
        for report in pair.take(|action| matches!(action, Action::Report(_))) {
            let Action::Report(report) = report else {
                panic!("{report:?}");
            };
            pair.bench.reports = report.number;
            pair.bench.tell(&record);
        }
        pair.pass(Duration::from_millis(time));
    };
    pass(&mut pair, 251);
    assert!(pair.bench.replica.has_room(), "it takes input again");
    pair.ack_all();
    // It is tried again two terms after the first time.
    for _ in 0..8 {
        pass(&mut pair, 200);
        pair.ack_all();
        assert_eq!(pair.bench.replica.standing().last.index, handover);
    }
    pass(&mut pair, 200);
    assert_eq!(pair.bench.replica.standing().last.index, handover.next());
    pair.handed_over();
}

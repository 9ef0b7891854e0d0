//! After a forced takeover (`protocol.md` section 7): who is named goes on with its log, everybody else sets
//! theirs aside, and clients are told what may be lost.

use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::{ClusterId, Durability, Token};
use standin_core::message::{
    Consistency, Follow, Kept, QueryRequest, ReplyStatus, Resume, RoleName, Seen,
};
use standin_core::time::Duration;
use standin_core::view::{DataEpoch, ViewId, ViewNumber, ViewRecord};
use standin_replica::{Action, Event, Recovered, Request, RequestBody};

use crate::support::*;

const PRIMARY: ConnId = ConnId(9);

fn forced_view(number: u64) -> ViewId {
    ViewId {
        data_epoch: DataEpoch(1),
        view: ViewNumber(number),
    }
}

/// A log of three entries of view 1, all of them committed.
fn recovered() -> Recovered {
    Recovered {
        tip: LogTip {
            index: Index(3),
            view: ViewNumber(1),
            ..LogTip::default()
        },
        view_starts: vec![(ViewNumber(1), Index(1))],
        commit: Index(3),
        synced: Index(3),
        ..Recovered::default()
    }
}

/// View 1 of `b`, from which an operator has forced the view of `name`.
fn forced(name: &str) -> ViewRecord {
    let record = ViewRecord::bootstrap(ClusterId(1), &identity("b", 1), 1000);
    record.force(&identity(name, 1))
}

fn follows(bench: &mut Bench) -> Follow {
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(50));
    bench.event(Event::Deadline);
    bench.event(Event::Dialled(PRIMARY));
    let follows = bench.take(|action| matches!(action, Action::Follow(..)));
    match follows.into_iter().next() {
        Some(Action::Follow(PRIMARY, follow)) => *follow,
        other => panic!("{other:?}"),
    }
}

fn resume(bench: &mut Bench, common: LogTip) {
    let resume = Resume {
        view: forced_view(2),
        nonce: 5,
        common,
        durability: Durability::Os,
        silence_ms: 500,
        skips: Vec::new(),
        resp: None,
    };
    bench.event(Event::Resume(PRIMARY, &resume));
}

#[test]
fn a_log_of_an_earlier_data_epoch_is_set_aside_once_there_is_a_primary_to_follow() {
    let mut bench = Bench::new(identity("a", 1), view(1), recovered());
    bench.take(|_| true);
    let record = forced("b");
    bench.tell(&record);
    bench.event(Event::Adopted(forced_view(2)));
    let standing = bench.replica.standing();
    assert_eq!(
        standing.last.index,
        Index(3),
        "nobody has anything better yet"
    );
    assert_eq!(
        standing.commit,
        Index::ZERO,
        "nothing of it counts in this data epoch"
    );
    assert!(
        bench
            .take(|action| matches!(action, Action::Cut(_)))
            .is_empty()
    );
    bench.tell(&record.activate(&identity("b", 1)));
    let follow = follows(&mut bench);
    assert_eq!(
        (follow.last, follow.view_starts),
        (LogTip::default(), Vec::new())
    );
    resume(&mut bench, LogTip::default());
    let cuts = bench.take(|action| matches!(action, Action::Cut(_)));
    assert_eq!(cuts, [Action::Cut(Index::ZERO)]);
    bench.event(Event::Cut(LogTip::default()));
    let standing = bench.replica.standing();
    assert_eq!(
        (standing.role, standing.last),
        (RoleName::Spare, LogTip::default())
    );
    assert_eq!(bench.replica.state().applied(), Index::ZERO);
}

#[test]
fn a_primary_that_speaks_of_something_in_common_with_it_is_not_followed() {
    let mut bench = Bench::new(identity("a", 1), view(1), recovered());
    bench.tell(&forced("b").activate(&identity("b", 1)));
    bench.event(Event::Adopted(forced_view(2)));
    follows(&mut bench);
    bench.take(|_| true);
    resume(&mut bench, recovered().tip);
    assert_eq!(
        bench.take(|action| matches!(action, Action::Hang | Action::Cut(_))),
        [Action::Hang]
    );
}

#[test]
fn a_log_that_has_entries_of_the_data_epoch_is_kept() {
    let mut bench = Bench::new(
        identity("a", 1),
        forced_view(2),
        Recovered {
            data_epoch: DataEpoch(1),
            ..recovered()
        },
    );
    bench.tell(&forced("b").activate(&identity("b", 1)));
    assert_eq!(bench.replica.standing().commit, Index(3));
    assert_eq!(follows(&mut bench).last, recovered().tip);
}

#[test]
fn who_is_named_goes_on_with_its_log_under_a_token_that_its_disk_has_not_earned_yet() {
    let mut bench = Bench::new(identity("a", 1), view(1), recovered());
    bench.take(|_| true);
    let record = forced("a");
    bench.tell(&record);
    let token = identity("a", 1).token(Durability::Os);
    let adopts = bench.take(|action| matches!(action, Action::Adopt(..)));
    let kept = Some(Box::new(Kept::of(&record)));
    assert_eq!(adopts, [Action::Adopt(forced_view(2), Some(token), kept)]);
    bench.event(Event::Adopted(forced_view(2)));
    let standing = bench.replica.standing();
    assert_eq!(
        (standing.role, standing.last),
        (RoleName::Candidate, recovered().tip)
    );
    assert_eq!(standing.commit, Index(3));
    bench.accept_swap();
    // Only its disk counts from here on, and that is kept before anything else is done.
    let first = bench.take(|action| matches!(action, Action::Adopt(..) | Action::Append(_)));
    let store = identity("a", 1).store;
    assert_eq!(
        first[0],
        Action::Adopt(
            forced_view(2),
            Some(Token::Disk { store }),
            Some(Box::new(Kept::of(&record)))
        )
    );
    assert!(matches!(first[1], Action::Append(_)));
    bench.event(Event::Adopted(forced_view(2)));
    assert_eq!(bench.replica.role_name(), RoleName::Primary);
}

/// The serving primary of a forced view, whose log went on after entry 3 of view 1.
fn forced_primary() -> Bench {
    let mut bench = Bench::new(
        identity("a", 1),
        view(1),
        Recovered {
            commit: Index::ZERO,
            ..recovered()
        },
    );
    bench.tell(&forced("a"));
    bench.event(Event::Adopted(forced_view(2)));
    bench.accept_swap();
    bench
}

fn query(bench: &mut Bench, seen: Seen, consistency: Consistency) -> ReplyStatus {
    let request = QueryRequest {
        id: 1,
        seen,
        consistency,
        bytes: b"",
    };
    let body = RequestBody::Query(request);
    bench.answers.clear();
    bench.event(Event::Requests(&[Request { conn: CLIENT, body }]));
    bench.answers[0].1
}

#[test]
fn a_replica_that_does_not_serve_does_not_judge_what_was_lost() {
    let mut bench = forced_primary();
    assert_eq!(bench.replica.role_name(), RoleName::Primary);
    let seen = Seen {
        view: view(1),
        index: Index(2),
    };
    // Its ViewStart is not applied: the log before it cannot be read on this bench.
    for consistency in [Consistency::Confirmed, Consistency::Stale] {
        assert_eq!(
            query(&mut bench, seen, consistency),
            ReplyStatus::NotPrimary
        );
    }
    let fresh = Seen::default();
    assert_eq!(
        query(&mut bench, fresh, Consistency::Stale),
        ReplyStatus::Done
    );
}

#[test]
fn who_was_answered_what_is_not_in_the_log_is_told_so() {
    let mut bench = Bench::fresh("a");
    let record = ViewRecord::bootstrap(ClusterId(1), &identity("b", 1), 1000);
    bench.tell(&record.force(&identity("a", 1)));
    bench.event(Event::Adopted(forced_view(2)));
    bench.accept_swap();
    bench.sync();
    for (number, index, expected) in [
        (1, 1, ReplyStatus::AnswerLost),
        (1, 0, ReplyStatus::Done),
        (0, 0, ReplyStatus::Done),
        // The log has a first entry of view 2, and no more.
        (2, 1, ReplyStatus::Done),
        (2, 2, ReplyStatus::AnswerLost),
        (3, 1, ReplyStatus::AnswerLost),
    ] {
        let seen = Seen {
            view: view(number),
            index: Index(index),
        };
        let status = query(&mut bench, seen, Consistency::Stale);
        assert_eq!(status, expected, "{seen:?}");
    }
    let seen = Seen {
        view: forced_view(2),
        index: Index(1),
    };
    assert_eq!(
        query(&mut bench, seen, Consistency::Stale),
        ReplyStatus::Done
    );
}

/// What its report says of entries that a power loss took.
fn told_of_loss(bench: &mut Bench) -> Option<String> {
    bench.event(Event::ViewServiceDown);
    bench.event(Event::ViewServiceUp);
    let reports = bench.take(|action| matches!(action, Action::Report(_)));
    match reports.into_iter().next() {
        Some(Action::Report(report)) => report.trouble,
        other => panic!("{other:?}"),
    }
}

#[test]
fn entries_that_a_log_lost_are_not_missed_any_more_once_it_is_set_aside() {
    let recovered = Recovered {
        lost: Index(90),
        ..recovered()
    };
    let mut bench = Bench::new(identity("a", 1), view(1), recovered);
    let loss = told_of_loss(&mut bench).expect("something is lost");
    assert!(loss.contains("entries up to 90"), "{loss}");
    let record = forced("b");
    bench.tell(&record);
    bench.event(Event::Adopted(forced_view(2)));
    bench.tell(&record.activate(&identity("b", 1)));
    assert_eq!(told_of_loss(&mut bench), None, "the log is outdated");
    follows(&mut bench);
    resume(&mut bench, LogTip::default());
    bench.event(Event::Cut(LogTip::default()));
    assert_eq!(told_of_loss(&mut bench), None, "and set aside");
}

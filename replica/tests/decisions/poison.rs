//! A machine that fails at an entry (`protocol.md` section 12): in which order things happen then, and that
//! nothing is made of what is left of its state.

use standin_core::conn::ConnId;
use standin_core::entry::{BatchBuilder, BatchStamp, Command, EntryKind, Index, LogTip};
use standin_core::message::{Entries, ReplyStatus, Resume, RoleName, Seen, encode_payload};
use standin_core::poison::Skip;
use standin_core::time::WallTime;
use standin_core::view::{ViewNumber, ViewRecord};
use standin_replica::{Action, Event};

use crate::support::{Bench, POISON, identity, resume, view, view_start};

/// A lone primary whose machine has just failed, before that is noted. What came before the entry is answered.
fn failed() -> Bench {
    let mut bench = Bench::primary();
    bench.open(1);
    bench.sync();
    bench.answers.clear();
    bench.command(1, Seen::default());
    bench.command_of(2, Seen::default(), POISON);
    bench.command(3, Seen::default());
    bench.actions.clear();
    bench.sync();
    bench
}

const SKIP: Skip = Skip {
    index: Index(4),
    view: ViewNumber(1),
};

fn is_told(action: &Action) -> bool {
    matches!(action, Action::Poisoned(_))
}

#[test]
fn the_failure_is_noted_before_anybody_hears_of_it_and_before_the_role_ends() {
    let mut bench = failed();
    let noted = bench.take(|action| matches!(action, Action::NotePoison(_)));
    let [Action::NotePoison(poison)] = noted.as_slice() else {
        panic!("{noted:?}");
    };
    assert_eq!(poison.skip, SKIP);
    assert_eq!(poison.life, identity("a", 1).life.incarnation);
    assert!(poison.words.contains("poison"), "{}", poison.words);
    assert_eq!(bench.replica.role_name(), RoleName::Primary);
    assert!(!bench.actions.iter().any(is_told), "{:?}", bench.actions);
    // What was applied before it may be answered; of the entry and what comes after it nothing is.
    assert_eq!(bench.answers, [(1, ReplyStatus::Done, view(1))]);

    bench.answers.clear();
    bench.event(Event::PoisonNoted);
    assert_eq!(bench.replica.role_name(), RoleName::Quarantined);
    let statuses: Vec<_> = bench
        .answers
        .iter()
        .map(|(id, status, _)| (*id, *status))
        .collect();
    let unknown = ReplyStatus::OutcomeUnknown;
    assert_eq!(statuses, [(2, unknown), (3, unknown)]);
    let is_said = |action: &Action| is_told(action) || matches!(action, Action::Report(_));
    let said = bench.take(is_said);
    let [Action::Poisoned(poisoned), Action::Report(report)] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(poisoned.poison.skip, SKIP);
    assert_eq!(
        (report.standing.role, report.renew),
        (RoleName::Quarantined, None)
    );
    assert_eq!(report.standing.applied, Index(3));
    let trouble = report.trouble.as_deref().unwrap_or_default();
    assert!(trouble.contains("entry 4 (view 1)"), "{trouble}");
    assert!(trouble.contains("restart this replica"), "{trouble}");
    let is_kept = |action: &Action| matches!(action, Action::Quarantine(_));
    assert!(
        !bench.actions.iter().any(is_kept),
        "the next life is in service"
    );
}

#[test]
fn nobody_is_shown_what_is_left_of_the_state() {
    let mut bench = failed();
    for is_noted in [false, true] {
        if is_noted {
            bench.event(Event::PoisonNoted);
        }
        assert_eq!(bench.ask_stale(), ReplyStatus::NotPrimary);
        bench.event(Event::Inspect(ConnId(77)));
        let closed = bench.take(|action| *action == Action::CloseFollower(ConnId(77)));
        assert_eq!(closed.len(), 1);
        assert!(
            bench
                .take(|action| matches!(action, Action::Inspected(..)))
                .is_empty()
        );
        bench.event(Event::Deadline);
    }
}

#[test]
fn it_is_said_with_each_report_until_the_record_shows_the_skip() {
    let mut bench = failed();
    // How often it is told, and reported.
    let said = |bench: &mut Bench| {
        let told = bench.take(is_told).len();
        let is_report = |action: &Action| matches!(action, Action::Report(_));
        (told, bench.take(is_report).len())
    };
    let later = |bench: &mut Bench| {
        bench.reconnect();
        said(bench)
    };
    assert_eq!(later(&mut bench), (0, 1), "it is not noted yet");
    bench.event(Event::PoisonNoted);
    assert_eq!(said(&mut bench), (1, 1));
    assert_eq!(later(&mut bench), (1, 1));
    let a = identity("a", 2);
    let mut record = ViewRecord::bootstrap(standin_core::identity::ClusterId(1), &a, 1000);
    record.view = ViewNumber(2);
    record.skips = vec![SKIP];
    bench.tell(&record);
    bench.adopted(2);
    assert_eq!(later(&mut bench), (0, 1));
}

/// The log of a primary: a view, a session, and a command at which the machine fails.
fn log() -> standin_core::entry::Batch {
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(1),
        seed: 1,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(LogTip::default(), stamp);
    builder.push(EntryKind::ViewStart, |out| {
        encode_payload(&view_start(), out)
    });
    builder.push(EntryKind::OpenSession, |_| {});
    let command = Command {
        session: 2,
        sequence: 1,
        acknowledged: 0,
        bytes: POISON,
    };
    builder.push(EntryKind::Command, |out| command.encode(out));
    builder.finish().expect("three entries")
}

/// A follower that has been sent all of that log, applied by the primary, which skips so much.
fn follower(skips: Vec<Skip>) -> Bench {
    let mut bench = Bench::fresh("b");
    let a = identity("a", 1);
    let cluster = standin_core::identity::ClusterId(1);
    bench.tell(&ViewRecord::bootstrap(cluster, &a, 1000).activate(&a));
    bench.adopted(1);
    let primary = ConnId(1);
    bench.event(Event::Dialled(primary));
    let resume = Resume {
        skips,
        ..resume(view(1))
    };
    bench.event(Event::Resume(primary, &resume));
    let log = log();
    let entries = Entries {
        nonce: 1,
        view: view(1),
        round: 1,
        commit: Index(3),
        bytes: log.bytes(),
    };
    bench.event(Event::Entries(primary, &entries));
    bench
}

#[test]
fn a_follower_reads_what_is_skipped_before_it_applies_it() {
    let skip = Skip {
        index: Index(3),
        ..SKIP
    };
    let bench = follower(vec![skip]);
    assert_eq!(bench.replica.standing().applied, Index(3));
    assert!(!bench.replica.state().is_poisoned());
}

#[test]
fn a_follower_that_fails_where_the_primary_did_not_is_out_of_service_for_good() {
    let mut bench = follower(Vec::new());
    assert_eq!(bench.replica.standing().applied, Index(2));
    bench.event(Event::PoisonNoted);
    let why = bench.take(|action| matches!(action, Action::Quarantine(_)));
    let [Action::Quarantine(why)] = why.as_slice() else {
        panic!("{why:?}");
    };
    assert!(why.contains("another replica has applied it"), "{why}");
    assert!(bench.take(is_told).is_empty(), "nobody is to skip it");
}

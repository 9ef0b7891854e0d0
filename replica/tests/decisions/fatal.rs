//! An entry at which processes of a replica died (`protocol.md` section 12): when that is told, and when no more.
#![allow(
    clippy::disallowed_types,
    reason = "a mark is told from behind a shared reference"
)]

use std::sync::{Arc, Mutex};

use standin_core::entry::Index;
use standin_core::identity::ClusterId;
use standin_core::mark::{ApplyMark, FatalEntry};
use standin_core::message::{ReplyStatus, Seen};
use standin_core::poison::Skip;
use standin_core::view::{ViewNumber, ViewRecord};
use standin_replica::{Action, Recovered};

use crate::support::{Bench, POISON, config, identity, view};

const FATAL: FatalEntry = FatalEntry {
    entry: Skip {
        index: Index(9),
        view: ViewNumber(1),
    },
    since: 1,
    deaths: 1,
};

/// The third life of `a`, whose log is empty, after one that died at an entry.
fn bench(recovered: Recovered) -> Bench {
    let mut config = config(identity("a", 3), view(1), recovered);
    config.fatal = Some(FATAL);
    Bench::of(config)
}

fn is_told(action: &Action) -> bool {
    matches!(action, Action::Fatal(_))
}

/// What is told with the next report.
fn next(bench: &mut Bench) -> Vec<Action> {
    bench.reconnect();
    bench.take(|action| is_told(action) || matches!(action, Action::Report(_)))
}

#[test]
fn it_is_told_before_each_report_until_the_record_shows_the_skip() {
    let mut bench = bench(Recovered::default());
    let first = bench.take(|action| is_told(action) || matches!(action, Action::Report(_)));
    let [Action::Fatal(fatal), Action::Report(report)] = first.as_slice() else {
        panic!("{first:?}");
    };
    assert_eq!(fatal.fatal, FATAL);
    assert_eq!(fatal.identity, identity("a", 3));
    assert!(fatal.is_sound());
    let trouble = report.trouble.as_deref().unwrap_or_default();
    assert!(
        trouble.contains("died once while the machine applied entry 9 (view 1)"),
        "{trouble}"
    );
    assert!(trouble.contains("start those that are away"), "{trouble}");
    assert_eq!(next(&mut bench).len(), 2);

    let a = identity("a", 3);
    let mut record = ViewRecord::bootstrap(ClusterId(1), &a, 1000);
    record.view = ViewNumber(2);
    record.skips = vec![FATAL.entry];
    bench.tell(&record);
    bench.adopted(2);
    let told = next(&mut bench);
    let [Action::Report(report)] = told.as_slice() else {
        panic!("{told:?}");
    };
    let trouble = report.trouble.as_deref().unwrap_or_default();
    assert!(trouble.ends_with("it is skipped"), "{trouble}");
}

#[test]
fn it_is_told_no_more_once_anybody_is_known_to_have_applied_it() {
    let applied = Recovered {
        commit: Index(9),
        ..Recovered::default()
    };
    let mut bench = bench(applied);
    assert!(bench.take(is_told).is_empty());
    let report = bench.last_report();
    assert_eq!(report.trouble, None);
}

#[test]
fn a_log_that_skips_it_already_leaves_nothing_to_tell() {
    let skipped = Recovered {
        skips: vec![FATAL.entry],
        ..Recovered::default()
    };
    let mut bench = bench(skipped);
    assert!(bench.take(is_told).is_empty());
    assert_eq!(bench.last_report().trouble, None);
}

/// Notes what it is told.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<Option<Index>>>);

impl ApplyMark for Notes {
    fn begin(&self, entry: Skip) {
        self.0
            .lock()
            .expect("nobody panics with it")
            .push(Some(entry.index));
    }

    fn end(&self) {
        self.0.lock().expect("nobody panics with it").push(None);
    }
}

#[test]
fn what_the_machine_is_given_is_marked_and_nothing_else() {
    let mut bench = Bench::primary();
    let notes = Arc::new(Notes::default());
    let marked = || std::mem::take(&mut *notes.0.lock().unwrap());
    bench
        .replica
        .mark_with(Arc::clone(&notes) as Arc<dyn ApplyMark>);
    bench.open(1);
    bench.sync();
    assert_eq!(marked(), [], "a session is not the machine's");
    bench.command(1, Seen::default());
    bench.sync();
    assert_eq!(marked(), [Some(Index(3)), None]);
    bench.command(1, Seen::default());
    bench.sync();
    assert_eq!(marked(), [], "a repeat is not executed");
    assert_eq!(bench.ask_stale(), ReplyStatus::Done);
    assert_eq!(marked(), [], "a query is no entry");
    // A machine that fails has returned, in its way.
    bench.command_of(2, Seen::default(), POISON);
    bench.sync();
    assert_eq!(marked(), [Some(Index(4)), None]);
}

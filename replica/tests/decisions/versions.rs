//! A replica that lacks the version of the machine that is executed: where it stops, and what it says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use standin_core::conn::ConnId;
use standin_core::entry::{BatchBuilder, BatchStamp, EntryKind, Index, LogTip, Upgrade};
use standin_core::identity::Durability;
use standin_core::message::{Entries, Refusal, Resume, encode_payload};
use standin_core::time::{Duration, WallTime};
use standin_replica::{Action, Event, Level};

use crate::support::{Bench, view, view_start};

const PRIMARY: ConnId = ConnId(7);

/// What it tells the view service a little later.
fn trouble(bench: &mut Bench) -> Option<String> {
    bench.now.boot = bench.now.boot.plus(Duration::from_millis(200));
    bench.event(Event::Deadline);
    bench.last_report().trouble
}

fn is_quarantined(bench: &mut Bench) -> bool {
    let quarantines = bench.take(|action| matches!(action, Action::Quarantine(_)));
    !quarantines.is_empty()
}

fn resume(bench: &mut Bench) {
    bench.event(Event::Dialled(PRIMARY));
    let resume = Resume {
        view: view(1),
        nonce: 9,
        common: bench.replica.standing().last,
        durability: Durability::Os,
        silence_ms: 500,
        skips: Vec::new(),
        resp: None,
    };
    bench.event(Event::Resume(PRIMARY, &resume));
}

#[test]
fn it_says_once_which_program_it_needs_until_it_is_let_in() {
    let mut bench = Bench::follower();
    let refusal = Refusal::MachineVersion { executing: 2 };
    for _ in 0..3 {
        bench.event(Event::DialRefused(&refusal));
    }
    let words = "the primary does not let it follow: the primary's machine executes version 2, and this program \
                 supports version 1: start the replica with one that supports version 2, and it goes on";
    let told = bench.take(|action| matches!(action, Action::Log(..)));
    assert_eq!(told, [Action::Log(Level::Warn, words.to_owned())]);
    assert_eq!(trouble(&mut bench).as_deref(), Some(words));
    assert!(!is_quarantined(&mut bench));
    resume(&mut bench);
    assert_eq!(trouble(&mut bench), None);
}

#[test]
fn it_stops_before_the_entry_that_its_program_cannot_execute() {
    let mut bench = Bench::follower();
    resume(&mut bench);
    let stamp = BatchStamp {
        view: view(1).view,
        time: WallTime(1),
        seed: 1,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(LogTip::default(), stamp);
    builder.push(EntryKind::ViewStart, |out| {
        encode_payload(&view_start(), out);
    });
    builder.push(EntryKind::Direct, |out| out.push(1));
    let upgrade = Upgrade { version: 2 };
    builder.push(EntryKind::Upgrade, |out| encode_payload(&upgrade, out));
    builder.push(EntryKind::Direct, |out| out.push(1));
    let batch = builder.finish().unwrap();
    let entries = Entries {
        nonce: 9,
        view: view(1),
        round: 1,
        commit: Index(4),
        bytes: batch.bytes(),
    };
    bench.event(Event::Entries(PRIMARY, &entries));
    let standing = bench.replica.standing();
    assert_eq!(standing.last.index, Index(2));
    assert!(standing.applied <= Index(2));
    let said = trouble(&mut bench).unwrap();
    let words = "what comes at entry 3 (view 1) is executed by version 2 of the machine, and this program supports \
                 version 1";
    assert!(said.starts_with(words), "{said}");
    assert!(!is_quarantined(&mut bench));
}

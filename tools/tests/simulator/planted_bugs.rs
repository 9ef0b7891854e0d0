//! The simulator is tested too: bugs are planted in the decision cores, one rule of the protocol
//! broken in each, and every one must be found within so many seeds, by a property that it breaks.

#![allow(clippy::print_stdout, reason = "shows what found each bug")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use standin_core::planted::{Bug, Planted};
use standin_tools::simulate::{Failure, FaultKind, Ledger, Plan, run, run_planted};

/// A bug, the seeds from 1 on within which it must be found, and the properties that it may break:
/// a seed that fails for another reason proves nothing.
type Case = (Bug, u64, &'static [&'static str]);

const CASES: [Case; Bug::ALL.len()] = [
    (Bug::AnswersUngated, 100, &["S15", "S4"]),
    (Bug::JoinUngated, 200, &["S15", "S4"]),
    (Bug::DropUngated, 200, &["S15", "S4"]),
    (Bug::JoinUnfenced, 1000, &["S15", "S4"]),
    (Bug::SpareUnsynced, 100, &["S4", "S15"]),
    (Bug::NonHolderPromoted, 100, &["S14"]),
    (Bug::DeposedKept, 100, &["S4", "S15"]),
    (Bug::ViewResumed, 100, &["S1", "S2", "S3"]),
    (Bug::LowerViewAcknowledged, 100, &["S7"]),
    (Bug::ViewUnsynced, 100, &["S7"]),
    (Bug::ViewForgotten, 400, &["S7", "L1", "L2"]),
    (Bug::ReadsUnconfirmed, 4000, &["S12"]),
    (Bug::ServesEarly, 200, &["S13"]),
    (Bug::RestartedPromoted, 400, &["S14"]),
    (Bug::RestartedGates, 2000, &["S15"]),
    (Bug::CleanStopGates, 2000, &["S15"]),
    (Bug::RepeatExecuted, 400, &["S10", "S11"]),
    (Bug::CutTooFar, 100, &["S9"]),
    (Bug::AcknowledgedEarly, 200, &["S4"]),
    (Bug::LeaseFromReply, 20_000, &["C1"]),
    (Bug::LeaseTooLong, 2000, &["C1"]),
    (Bug::LeaseUnwatched, 4000, &["C2"]),
    (Bug::LooksBeforeInput, 8000, &["C2"]),
    (Bug::DeposesAtStart, 400, &["C1"]),
    (Bug::TimerEarly, 100, &["S16"]),
    (Bug::TimeFalls, 400, &["S16"]),
    (Bug::ActivateUnsynced, 200, &["S4"]),
    (Bug::DropUnsynced, 400, &["S4"]),
    (Bug::LoneCopyUnsynced, 200, &["S4"]),
    (Bug::DeafDrops, 8000, &["L1", "L3"]),
    (Bug::JoinUnleased, 400, &["S13"]),
    (Bug::OldCopyPromoted, 4000, &["S5", "S10"]),
    (Bug::AppliedEarly, 100, &["S8"]),
    (Bug::EpochForgotten, 400, &["S10", "S17", "S18"]),
    (Bug::SilentKept, 200, &["L3"]),
    (Bug::UnseenKept, 2000, &["L3"]),
    (Bug::OldSessionRefused, 200, &["L2"]),
    (Bug::DiskFailureUnnoted, 2000, &["S4", "S5", "S10", "S14"]),
    (Bug::DeadTokenForgotten, 4000, &["S4", "S5", "S10", "S14"]),
    (Bug::ForgottenUnderFollower, 2000, &["assertion"]),
    (
        Bug::ForgottenBeyondSnapshot,
        400,
        &["S18", "S4", "S9", "assertion"],
    ),
    (Bug::CutBelowSnapshot, 2000, &["S9", "assertion"]),
    (Bug::JoinedWhileFetching, 2000, &["S4", "S15"]),
    (Bug::RepliesUncompared, 400, &["L3", "S10"]),
    (Bug::StatesUncompared, 400, &["S10"]),
    (Bug::DeathUnproven, 400, &["C1"]),
    (Bug::DeathMistaken, 1000, &["C1"]),
    (Bug::HandOverUngated, 400, &["S15", "S4"]),
    (Bug::HandOverLeased, 2000, &["C1"]),
    (Bug::HandsOverUndrained, 400, &["S14"]),
    (Bug::SkipsUnread, 400, &["S10", "S18", "L1", "L2"]),
    (Bug::SkipUnlisted, 2000, &["S10", "S18", "L1", "L2"]),
    (Bug::SkipForgotten, 400, &["S10", "S18", "L1", "L2"]),
    (Bug::TimerUnskipped, 400, &["S10", "S18", "L1", "L2"]),
    (Bug::UnfitTaken, 20_000, &["S18", "L2"]),
    (Bug::DamagedPromoted, 2000, &["S18"]),
    (Bug::HolderSetAside, 2000, &["S18"]),
    (Bug::RoomlessJoined, 4000, &["room", "L2", "L4"]),
    (Bug::RoomlessHandedTo, 4000, &["room"]),
    (Bug::RoomUnnoticed, 400, &["L1", "L2"]),
    (Bug::RebuiltUnheard, 6000, &["S4", "S5", "S6"]),
    (Bug::RebuiltViewReused, 6000, &["S1"]),
    (Bug::RebuiltByLog, 2000, &["S4", "S5", "S6"]),
    (Bug::RebuiltDeadToken, 10000, &["S4", "S5", "S6"]),
    (Bug::RecordUnkept, 2000, &["L1"]),
    (Bug::OneDeathSkips, 2000, &["S18"]),
    (Bug::SuspectsIgnored, 20_000, &["S5", "S6", "S10", "S12"]),
    (Bug::SlowAdmitted, 2000, &["L5"]),
    (Bug::SlowKept, 2000, &["L3"]),
    (Bug::SpeakerUnheard, 2000, &["L5"]),
    (Bug::QuickDropped, 2000, &["L3"]),
    (Bug::RedirectOld, 200, &["RESP"]),
    (Bug::NewestExecuted, 400, &["S10", "S18"]),
    (Bug::ChainMisrecorded, 400, &["REPLAY"]),
    (Bug::RunMisanswered, 400, &["S12", "L2"]),
];

/// Names one bug, if the others need not be looked for.
const WANTED_VARIABLE: &str = "STANDIN_PLANTED_BUG";

/// What must go wrong in a run for a bug that seldom shows. Runs in which it does not are left out.
fn needs(bug: Bug) -> Option<FaultKind> {
    match bug {
        Bug::SuspectsIgnored => Some(FaultKind::Deadly),
        _ => None,
    }
}

/// The first seed that fails because of the bug: without it, the same seed passes.
fn find((bug, seeds, properties): Case) -> Option<Failure> {
    let fault = needs(bug);
    let may_show = |seed| fault.is_none_or(|fault| Plan::draw(seed).faults.contains(&fault));
    (1..=seeds).filter(|seed| may_show(*seed)).find_map(|seed| {
        let failure = run_planted::<Ledger>(seed, Planted::new(bug)).err()?;
        let is_of_bug = properties.contains(&failure.violation.property);
        (is_of_bug && run::<Ledger>(seed).is_ok()).then_some(failure)
    })
}

#[test]
fn every_planted_bug_is_found() {
    for (bug, (planted, ..)) in Bug::ALL.iter().zip(CASES) {
        assert_eq!(*bug, planted, "each bug has its case, in order");
    }
    let threads = 2;
    let wanted = std::env::var(WANTED_VARIABLE).ok();
    let is_wanted = |bug: Bug| {
        let mut wanted = wanted.iter();
        wanted.all(|wanted| *wanted == format!("{bug:?}"))
    };
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !is_wanted(case.0) {
                        continue;
                    }
                    let failure = find(case);
                    let mut found = found.lock().expect("nobody panics with it");
                    found.push((case.0, case.1, failure));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("nobody panicked with it");
    found.sort_by_key(|(bug, ..)| *bug);
    let mut missed = Vec::new();
    for (bug, seeds, failure) in found {
        match failure {
            Some(Failure {
                seed,
                violation,
                place,
                ..
            }) => {
                let is_panic = violation.property == "assertion";
                assert_eq!(place.is_some(), is_panic, "{bug:?}: where it panicked");
                println!("{bug:?}: seed {seed} of {seeds}, {violation}");
            }
            None => {
                println!("{bug:?}: not found in {seeds} seeds");
                missed.push(bug);
            }
        }
    }
    assert_eq!(missed, Vec::new(), "some planted bugs were not found");
}

/// What is seen of a cluster that does not come right is for people, and no dump of what is in memory.
#[test]
fn a_failure_to_come_right_is_told_in_words() {
    for (bug, property) in [
        (Bug::SkipForgotten, "L2"),
        (Bug::TimerUnskipped, "L1"),
        (Bug::SilentKept, "L3"),
    ] {
        let failed = |seed| run_planted::<Ledger>(seed, Planted::new(bug)).err();
        let mut failures = (1..=400).filter_map(failed);
        let failure = failures.find(|it| it.violation.property == property);
        let told = failure.expect("it is found").to_string();
        for dump in ["{", "Some(", "None", "ReplicaName", "[", "holders 0"] {
            assert!(!told.contains(dump), "{bug:?} has '{dump}': {told}");
        }
        assert!(told.contains("the view service says: view "), "{told}");
    }
}

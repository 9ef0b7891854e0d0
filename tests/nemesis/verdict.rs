//! What must hold of a history when all is over.

use standin_tools::history::{Call, Counter, CounterInput, Verdict, check};

use crate::support::counter_history::{History, Kind, Outcome};
use crate::support::scene::Scene;
use crate::support::sure;

/// A history as the checker of linearizability wants it. Nanoseconds, so that hardly any two moments
/// are one.
pub(crate) fn calls(history: &History) -> Vec<Call<CounterInput, u64>> {
    let mut calls = Vec::new();
    for operation in &history.operations {
        let client = u64::try_from(operation.client).expect("a number of a client");
        let called = operation.invoked.as_nanos();
        let input = match operation.kind {
            Kind::Add => CounterInput::Add(1),
            Kind::Get => CounterInput::Get,
        };
        calls.push(match operation.outcome {
            Outcome::Value(value, _) => {
                let value = u64::try_from(value).expect("a counter that only rises");
                Call::answered(client, called, operation.returned.as_nanos(), input, value)
            }
            Outcome::Unknown => Call::unknown(client, called, input),
            Outcome::NotExecuted(_) => continue,
        });
    }
    calls
}

/// Demands that one counter can have shown this. "Not decided" is no pass.
#[track_caller]
pub(crate) fn demand_linearizable(history: &History) {
    let verdict = check(&Counter, &calls(history));
    assert_eq!(verdict, Verdict::Linearizable, "{verdict}");
}

/// Waits until `standin status --json` has all replicas alive at the same applied index, and demands
/// the same digest of their replies.
#[track_caller]
pub(crate) fn demand_equal_digests(scene: &mut Scene, replicas: usize) {
    let level = scene.until("all replicas at one index in the status", |scene| {
        let ran = scene.cli(&["status", "--json"]);
        if ran.status != Some(0) {
            return None;
        }
        let status: serde_json::Value = sure(serde_json::from_str(&ran.stdout));
        let all = status["replicas"].as_array()?.clone();
        let is_level = |one: &serde_json::Value| {
            one["alive"] == true
                && one["applied_index"].is_u64()
                && one["applied_index"] == all[0]["applied_index"]
        };
        (all.len() == replicas && all.iter().all(is_level)).then_some(all)
    });
    for one in &level {
        assert!(one["digest"].is_string(), "{one}");
        assert_eq!(one["digest"], level[0]["digest"], "{level:#?}");
    }
}

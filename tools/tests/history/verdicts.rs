//! Small histories with a verdict that a person can tell.

use standin_tools::history::CounterInput::{Add, Get};
use standin_tools::history::{
    Call, Counter, Limits, RegisterInput, RegisterOutput, Registers, Verdict, check, check_within,
};

fn is_fine(calls: &[Call<standin_tools::history::CounterInput, u64>]) -> bool {
    check(&Counter, calls).is_linearizable()
}

#[test]
fn calls_that_overlap_may_stand_in_any_order_and_others_may_not() {
    let first = Call::answered(1, 0, 10, Add(1), 2);
    assert!(is_fine(&[first, Call::answered(2, 9, 20, Add(1), 1)]));
    // At one and the same moment counts as overlapping.
    assert!(is_fine(&[first, Call::answered(2, 10, 20, Add(1), 1)]));
    assert!(!is_fine(&[first, Call::answered(2, 11, 20, Add(1), 1)]));
}

#[test]
fn a_call_without_an_outcome_may_count_late_or_never_but_not_twice_or_early() {
    let unknown = Call::unknown(1, 5, Add(10));
    let read = |value| Call::answered(2, 7, 8, Get, value);
    assert!(is_fine(&[unknown, read(0)]));
    assert!(is_fine(&[unknown, read(10)]));
    assert!(is_fine(&[
        unknown,
        read(0),
        Call::answered(2, 900, 901, Get, 10)
    ]));
    assert!(!is_fine(&[unknown, read(20)]));
    assert!(!is_fine(&[
        unknown,
        read(10),
        Call::answered(2, 900, 901, Get, 0)
    ]));
    assert!(!is_fine(&[unknown, Call::answered(2, 1, 4, Get, 10)]));
}

#[test]
fn keys_are_apart() {
    let set = |key, at| {
        Call::answered(
            1,
            at,
            at + 1,
            RegisterInput::Set(key, Some('x')),
            RegisterOutput::Done,
        )
    };
    let get = |key, at, value| {
        Call::answered(
            1,
            at,
            at + 1,
            RegisterInput::Get(key),
            RegisterOutput::Value(value),
        )
    };
    let model = Registers::new();
    assert!(
        check(
            &model,
            &[set("a", 0), get("b", 2, None), get("a", 4, Some('x'))]
        )
        .is_linearizable()
    );
    let verdict = check(&model, &[set("a", 0), get("b", 2, None), get("a", 4, None)]);
    let Verdict::NotLinearizable(misfit) = verdict else {
        panic!("{verdict}");
    };
    assert_eq!(misfit.call, 2);
    assert_eq!(
        misfit.words,
        "nothing explains call 2 (client 1, 4..5: Get(\"a\") -> Value(None)); key \"a\"; before it \
         the state was one of [Some('x')]\n  0: client 1, 0..1: Set(\"a\", Some('x')) -> Done\n\
         > 2: client 1, 4..5: Get(\"a\") -> Value(None)"
    );
}

#[test]
fn what_takes_too_much_work_is_not_decided_and_no_pass() {
    // Which of these add up to the value is a hard question.
    let mut calls: Vec<_> = (0..40)
        .map(|n| Call::unknown(n, 0, Add(1000 + n * n)))
        .collect();
    calls.push(Call::answered(99, 1, 2, Get, 23_456));
    let few = Limits {
        steps_max: 1000,
        ..Limits::DEFAULT
    };
    let small = Limits {
        configurations_max: 100,
        ..Limits::DEFAULT
    };
    for limits in [few, small] {
        let verdict = check_within(&Counter, &calls, limits);
        assert!(matches!(verdict, Verdict::NotDecided(_)), "{verdict}");
        assert!(!verdict.is_linearizable());
    }
}

#[test]
fn a_key_that_is_wrong_is_found_beside_one_that_takes_too_much_work() {
    let mut calls = Vec::new();
    for n in 0..30 {
        let input = RegisterInput::CompareAndSet {
            key: 1,
            old: Some(n),
            new: Some(n + 1),
        };
        calls.push(Call::unknown(n, 0, input));
    }
    calls.push(Call::answered(
        50,
        1,
        2,
        RegisterInput::Set(1, Some(0)),
        RegisterOutput::Done,
    ));
    calls.push(Call::answered(
        50,
        3,
        4,
        RegisterInput::Get(1),
        RegisterOutput::Value(Some(30)),
    ));
    calls.push(Call::answered(
        50,
        5,
        6,
        RegisterInput::Get(2),
        RegisterOutput::Value(Some(1)),
    ));
    let limits = Limits {
        steps_max: 100,
        ..Limits::DEFAULT
    };
    let verdict = check_within(&Registers::<u8, u64>::new(), &calls, limits);
    assert!(matches!(verdict, Verdict::NotLinearizable(_)), "{verdict}");
    calls.pop();
    let verdict = check_within(&Registers::<u8, u64>::new(), &calls, limits);
    assert!(matches!(verdict, Verdict::NotDecided(_)), "{verdict}");
}

//! Two replicas of the counter that apply the same entries, whatever the commands hold.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use standin::entry::{
    Batch, BatchBuilder, BatchStamp, CloseSession, Command, EntryKind, Index, LogTip, ViewStart,
};
use standin::machine::StateMachine as _;
use standin::machines::counter::{Counter, decode_command, decode_reply, encode_add, encode_get};
use standin::state::Replicated;
use standin::view::{DataEpoch, ViewNumber};
use standin_core::capture::Captured;
use standin_core::identity::{Durability, Incarnation, ReplicaName};
use standin_core::message::{ReplyStatus, encode_payload};
use standin_core::session::SessionLimits;
use standin_core::time::{Duration, WallTime};

/// One entry to be ordered. Sessions are named by the order in which they were opened.
#[derive(Clone, Debug)]
enum Step {
    ViewStart(SessionLimits),
    Open,
    Close(usize),
    Command(usize, u64, u64, Vec<u8>),
}

fn any_step() -> impl Strategy<Value = Step> {
    let command = prop_oneof![
        3 => any::<i8>().prop_map(|n| encode_add(n.into()).to_vec()),
        1 => any::<i64>().prop_map(|n| encode_add(n).to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ];
    prop_oneof![
        1 => (0..5000_u64, 0..5_u32, 0..100_u64, 0..2000_u64).prop_map(
            |(timeout_ms, sessions_max, replies_bytes_max, idle_min_ms)| {
                Step::ViewStart(SessionLimits {
                    timeout: Duration::from_millis(timeout_ms),
                    sessions_max,
                    replies_bytes_max,
                    idle_min: Duration::from_millis(idle_min_ms),
                })
            }),
        2 => Just(Step::Open),
        1 => (0..6_usize).prop_map(Step::Close),
        12 => (0..6_usize, 0..20_u64, 0..20_u64, command)
            .prop_map(|(session, at, acknowledged, bytes)| {
                Step::Command(session, at, acknowledged, bytes)
            }),
    ]
}

fn view_start(limits: &SessionLimits) -> ViewStart {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    ViewStart {
        data_epoch: DataEpoch(0),
        primary: ReplicaName::new("a").unwrap(),
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: millis(limits.timeout),
        sessions_max: limits.sessions_max,
        replies_bytes_max: limits.replies_bytes_max,
        session_idle_min_ms: millis(limits.idle_min),
        skips: Vec::new(),
        machine_version: Some(1),
    }
}

/// The step as the entry that follows `before`, `later_ms` later.
fn entry(before: LogTip, later_ms: u64, step: &Step, sessions: &[u64]) -> Batch {
    let session = |number: usize| sessions.get(number).copied().unwrap_or(999_999);
    let mut payload = Vec::new();
    let kind = match step {
        Step::ViewStart(limits) => {
            encode_payload(&view_start(limits), &mut payload);
            EntryKind::ViewStart
        }
        Step::Open => EntryKind::OpenSession,
        Step::Close(number) => {
            let session = session(*number);
            encode_payload(&CloseSession { session }, &mut payload);
            EntryKind::CloseSession
        }
        Step::Command(number, sequence, acknowledged, bytes) => {
            let command = Command {
                session: session(*number),
                sequence: *sequence,
                acknowledged: *acknowledged,
                bytes,
            };
            command.encode(&mut payload);
            EntryKind::Command
        }
    };
    let begins_view = kind == EntryKind::ViewStart;
    let stamp = BatchStamp {
        view: ViewNumber(before.view.0 + u64::from(begins_view)),
        time: WallTime(before.time.0 + later_ms * 1_000_000),
        seed: 1,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(before, stamp);
    builder.push(kind, |out| out.extend_from_slice(&payload));
    builder.finish().unwrap()
}

fn value_of(state: &Replicated<Counter>) -> i64 {
    let mut reply = Vec::new();
    state.query(&encode_get(), &mut reply).unwrap();
    decode_reply(&reply).unwrap().unwrap()
}

fn restored(captured: &Captured<Counter>) -> Replicated<Counter> {
    let mut bytes = Vec::new();
    captured.write(&mut bytes).unwrap();
    let (applied, digest) = (captured.applied(), captured.reply_digest());
    Replicated::restore(&mut bytes.as_slice(), applied, digest, 1).unwrap()
}

proptest! {
    #[test]
    fn two_replicas_agree_and_each_request_takes_effect_once(
        steps in vec((0..2000_u64, any_step(), prop::bool::weighted(0.2)), 1..80),
    ) {
        let start = Step::ViewStart(SessionLimits::default());
        let steps = [(0, start, false), (0, Step::Open, false)].into_iter().chain(steps);
        let mut one = Replicated::<Counter>::default();
        let mut other = Replicated::<Counter>::default();
        let (mut tip, mut sessions, mut value) = (LogTip::default(), Vec::new(), 0_i64);
        let mut replies: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
        let mut taken: Vec<(Captured<Counter>, u128)> = Vec::new();
        for (later_ms, step, is_restored) in steps {
            if is_restored {
                let captured = other.capture();
                taken.push((captured, other.state_digest()));
                other = restored(&other.capture());
            }
            let batch = entry(tip, later_ms, &step, &sessions);
            let copy = Batch::verify(batch.bytes().to_vec(), tip).unwrap();
            tip = batch.tip();
            let (entry, same) = (batch.entries().next().unwrap(), copy.entries().next().unwrap());
            // One appends its reply behind another, as the answers of a batch stand.
            let (mut reply, mut behind) = (Vec::new(), b"before".to_vec());
            let status = one.apply(&entry, &mut reply).unwrap();
            prop_assert_eq!(other.apply(&same, &mut behind), Ok(status));
            prop_assert_eq!(&behind[6..], &reply);
            prop_assert_eq!(one.reply_digest(), other.reply_digest());
            prop_assert_eq!(one.state_digest(), other.state_digest());
            if entry.header.kind == EntryKind::OpenSession && status == ReplyStatus::Done {
                sessions.push(tip.index.0);
            }
            if entry.header.kind == EntryKind::Command && status == ReplyStatus::Done {
                let command = Command::decode(entry.payload).unwrap();
                let key = (command.session, command.sequence);
                if let Some(known) = replies.get(&key) {
                    prop_assert_eq!(known, &reply, "another reply than before");
                } else {
                    let sum = decode_command(command.bytes).and_then(|n| value.checked_add(n));
                    value = sum.unwrap_or(value);
                    prop_assert_eq!(decode_reply(&reply).unwrap().ok(), sum);
                    replies.insert(key, reply);
                }
            }
            prop_assert_eq!(value_of(&one), value);
        }
        for (captured, digest) in &taken {
            prop_assert_eq!(captured.digest(), *digest, "it changed after it was taken");
        }
    }

    #[test]
    fn any_bytes_may_be_a_query_or_a_state(bytes in vec(any::<u8>(), 0..20)) {
        let mut reply = Vec::new();
        Counter::default().query(&bytes, &mut reply);
        prop_assert!(decode_reply(&reply).is_some());
        let restored = Counter::restore(&mut bytes.as_slice());
        prop_assert_eq!(restored.is_ok(), bytes.len() == 8);
        if let Ok(counter) = restored {
            let mut again = Vec::new();
            Counter::write_capture(&counter.capture(), &mut again).unwrap();
            prop_assert_eq!(&again, &bytes);
            prop_assert_eq!(Counter::restore(&mut again.as_slice()).unwrap().capture(), counter.capture());
        }
    }
}

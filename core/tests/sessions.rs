//! Sessions as the state machine's host keeps them, entry by entry.
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, Command, EntryKind, Index, LogTip, ViewStart,
};
use standin_core::identity::{Durability, Incarnation, ReplicaName};
use standin_core::machine::{Context, StateMachine};
use standin_core::message::{ReplyStatus, encode_payload};
use standin_core::state::Replicated;
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};

#[derive(Debug, Default)]
struct Nothing;
impl StateMachine for Nothing {
    const NAME: &'static str = "nothing";
    const VERSION: u32 = 1;
    type Capture = ();
    fn apply(&mut self, _: &mut Context<'_>, _: &[u8], _: &mut Vec<u8>) {}
    fn query(&self, _: &[u8], _: &mut Vec<u8>) {}
    fn capture(&self) {}
    fn write_capture((): &(), _: &mut dyn std::io::Write) -> std::io::Result<()> {
        Ok(())
    }
    fn restore(_: &mut dyn std::io::Read) -> std::io::Result<Self> {
        Ok(Self)
    }
}

fn one(before: LogTip, view: u64, seconds: u64, kind: EntryKind, payload: &[u8]) -> Batch {
    let time = WallTime(seconds * 1_000_000_000);
    let stamp = BatchStamp {
        view: ViewNumber(view),
        time,
        seed: 0,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(before, stamp);
    builder.push(kind, |out| out.extend_from_slice(payload));
    builder.finish().expect("good")
}

#[test]
fn a_session_outlives_an_outage_that_is_longer_than_its_timeout() {
    let start = ViewStart {
        data_epoch: DataEpoch(0),
        primary: ReplicaName::new("a").expect("good"),
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: 10_000,
        sessions_max: 10,
        replies_bytes_max: 1000,
        session_idle_min_ms: 0,
        skips: Vec::new(),
        machine_version: Some(1),
    };
    let mut payload = Vec::new();
    encode_payload(&start, &mut payload);
    let mut command = Vec::new();
    Command {
        session: 2,
        sequence: 1,
        acknowledged: 0,
        bytes: b"",
    }
    .encode(&mut command);
    let first = one(LogTip::default(), 1, 1, EntryKind::ViewStart, &payload);
    let open = one(first.tip(), 1, 1, EntryKind::OpenSession, &[]);
    let second = one(open.tip(), 2, 100, EntryKind::ViewStart, &payload);
    let repeat = one(second.tip(), 2, 100, EntryKind::Command, &command);
    let mut state = Replicated::<Nothing>::default();
    let mut status = ReplyStatus::Done;
    for batch in [first, open, second, repeat] {
        for entry in batch.entries() {
            status = state.apply(&entry, &mut Vec::new()).expect("no fault");
        }
    }
    assert_eq!(
        status,
        ReplyStatus::Done,
        "section 9: ViewStart counts as activity for all"
    );
}

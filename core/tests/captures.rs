//! A state that is captured, written and read back goes on exactly like the one it was taken from.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods)] // decision code opens no file; its tests do

use std::io;

use standin_core::digest::{DigestChain, digest};
use standin_core::entry::{
    BatchBuilder, BatchStamp, Command, EntryKind, Index, LogTip, TimerFired, ViewStart,
};
use standin_core::identity::{Durability, Incarnation, ReplicaName};
use standin_core::machine::{Context, StateMachine};
use standin_core::message::{ReplyStatus, encode_payload};
use standin_core::state::Replicated;
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};

const SECOND: u64 = 1_000_000_000;

/// Says each command back, and sets a timer for it; what fires is written down.
#[derive(Default)]
struct Echo(Vec<u8>);

impl StateMachine for Echo {
    const NAME: &'static str = "echo";
    const VERSION: u32 = 1;
    type Capture = Vec<u8>;

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        let later = 1 + ctx.random() % 5;
        let deadline = WallTime(ctx.now().0 + later * SECOND);
        ctx.set_timer(command.len() as u64, deadline);
        reply.extend_from_slice(command);
    }
    fn timer(&mut self, ctx: &mut Context<'_>, id: u64) {
        self.0.extend_from_slice(&id.to_le_bytes());
        self.0.extend_from_slice(&ctx.index().0.to_le_bytes());
    }
    fn query(&self, _: &[u8], reply: &mut Vec<u8>) {
        reply.extend_from_slice(&self.0);
    }
    fn capture(&self) -> Vec<u8> {
        self.0.clone()
    }
    fn write_capture(capture: &Vec<u8>, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(capture)
    }
    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        Ok(Self(bytes))
    }
}

/// One log, and what it does to a state.
struct Story {
    tip: LogTip,
    states: Vec<Replicated<Echo>>,
}

impl Story {
    fn begin() -> Self {
        let mut story = Self {
            tip: LogTip::default(),
            states: vec![Replicated::default()],
        };
        let start = ViewStart {
            data_epoch: DataEpoch(0),
            primary: ReplicaName::new("a").unwrap(),
            incarnation: Incarnation { start: 1, nonce: 1 },
            durability: Durability::Os,
            session_timeout_ms: 60_000,
            sessions_max: 10,
            replies_bytes_max: 1000,
            session_idle_min_ms: 0,
            skips: Vec::new(),
            machine_version: Some(1),
        };
        let mut payload = Vec::new();
        encode_payload(&start, &mut payload);
        story.next(EntryKind::ViewStart, &payload);
        story
    }

    /// Applies the next entry to all states, which must agree about it.
    fn next(&mut self, kind: EntryKind, payload: &[u8]) -> (ReplyStatus, Vec<u8>) {
        let stamp = BatchStamp {
            view: ViewNumber(1),
            time: WallTime(self.tip.time.0 + SECOND / 2),
            seed: self.tip.index.0,
            commit: Index::ZERO,
        };
        let mut builder = BatchBuilder::new(self.tip, stamp);
        builder.push(kind, |out| out.extend_from_slice(payload));
        let batch = builder.finish().unwrap();
        self.tip = batch.tip();
        let entry = batch.entries().next().unwrap();
        let outcomes = self.states.iter_mut().map(|state| {
            let mut reply = Vec::new();
            (state.apply(&entry, &mut reply).unwrap(), reply)
        });
        let outcomes: Vec<_> = outcomes.collect();
        let states = self.states.iter();
        let ends: Vec<_> = states
            .map(|state| {
                (
                    state.state_digest(),
                    state.reply_digest(),
                    state.timer_next(),
                )
            })
            .collect();
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
        outcomes.into_iter().next().unwrap()
    }

    fn command(&mut self, session: u64, sequence: u64, bytes: &[u8]) -> (ReplyStatus, Vec<u8>) {
        let command = Command {
            session,
            sequence,
            acknowledged: sequence.saturating_sub(5),
            bytes,
        };
        let mut payload = Vec::new();
        command.encode(&mut payload);
        self.next(EntryKind::Command, &payload)
    }

    fn fire(&mut self) {
        let due = self.states[0].timers_due(self.tip.time, 10);
        for TimerFired { id, deadline } in due {
            let mut payload = Vec::new();
            encode_payload(&TimerFired { id, deadline }, &mut payload);
            self.next(EntryKind::Timer, &payload);
        }
    }

    /// From here on a state goes along that was written and read back.
    fn restore(&mut self) {
        let bytes = self.bytes();
        let captured = self.states[0].capture();
        assert_eq!(captured.digest(), digest(&bytes));
        let restored = Replicated::restore(
            &mut bytes.as_slice(),
            captured.applied(),
            captured.reply_digest(),
            captured.version(),
        );
        self.states.push(restored.unwrap());
        assert_eq!(self.states.last().unwrap().applied(), self.tip.index);
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.states[0].capture().write(&mut bytes).unwrap();
        bytes
    }

    /// Three sessions, replies short and long, timers that are set, fire and are pending.
    fn work(&mut self) {
        let opened: Vec<u64> = (0..3)
            .map(|_| {
                self.next(EntryKind::OpenSession, &[]);
                self.tip.index.0
            })
            .collect();
        for sequence in 1..=9_u8 {
            for (at, session) in (0..).zip(&opened) {
                let length = if at == 2 { 40 } else { 3 } + usize::from(sequence);
                let said = vec![at; length];
                let outcome = self.command(*session, sequence.into(), &said);
                assert_eq!(outcome, (ReplyStatus::Done, said));
                self.fire();
            }
            if sequence % 3 == 0 {
                self.restore();
            }
        }
        let repeat = self.command(opened[0], 9, b"anything");
        assert_eq!(
            repeat,
            (ReplyStatus::Done, vec![0; 12]),
            "its reply was kept"
        );
        let gone = self.command(opened[1], 4, b"anything").0;
        assert_eq!(gone, ReplyStatus::SequenceAcknowledged);
    }
}

#[test]
fn a_restored_state_goes_on_like_the_one_it_was_taken_from() {
    let mut story = Story::begin();
    story.restore();
    for _ in 0..4 {
        story.work(); // the fourth has more sessions than fit, and more replies
        story.restore();
    }
    assert!(story.states[0].session_count() <= 10);
}

#[test]
fn what_was_captured_stays_as_it_was() {
    let mut story = Story::begin();
    story.work();
    let captured = story.states[0].capture();
    let before = (story.bytes(), captured.digest());
    story.work();
    let mut after = Vec::new();
    captured.write(&mut after).unwrap();
    assert_eq!((after, captured.digest()), before);
    assert_ne!(story.bytes(), before.0);
}

/// Run once with `STANDIN_REGENERATE_GOLDEN=1` to write the file of a new version.
#[test]
fn the_bytes_are_as_they_were() {
    let mut story = Story::begin();
    story.work();
    let bytes = story.bytes();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/v1/state");
    if std::env::var("STANDIN_REGENERATE_GOLDEN").is_ok_and(|value| value == "1") {
        std::fs::write(path, &bytes).unwrap();
    }
    assert_eq!(bytes, std::fs::read(path).unwrap());
}

#[test]
fn bytes_that_are_no_state_are_refused() {
    let mut story = Story::begin();
    story.work();
    let bytes = story.bytes();
    let restore = |bytes: &[u8]| {
        Replicated::<Echo>::restore(&mut &*bytes, Index(9), DigestChain::default(), 1)
    };
    let machine = bytes.len() - story.states[0].machine().0.len();
    for end in 0..machine {
        assert!(restore(&bytes[..end]).is_err(), "cut off at {end}");
    }
    for at in 0..machine {
        for bit in [0, 7] {
            let mut other = bytes.clone();
            other[at] ^= 1 << bit;
            // It may be another state; then it is exactly that one.
            if let Ok(state) = restore(&other) {
                let mut again = Vec::new();
                state.capture().write(&mut again).unwrap();
                assert_eq!(again, other, "bit {bit} of byte {at}");
            }
        }
    }
}

/// A machine that leaves a part of its bytes unread has not understood them.
#[test]
fn bytes_behind_the_machine_are_refused() {
    #[derive(Default)]
    struct Nothing;
    impl StateMachine for Nothing {
        const NAME: &'static str = "nothing";
        const VERSION: u32 = 1;
        type Capture = ();
        fn apply(&mut self, _: &mut Context<'_>, _: &[u8], _: &mut Vec<u8>) {}
        fn query(&self, _: &[u8], _: &mut Vec<u8>) {}
        fn capture(&self) {}
        fn write_capture((): &(), _: &mut dyn io::Write) -> io::Result<()> {
            Ok(())
        }
        fn restore(_: &mut dyn io::Read) -> io::Result<Self> {
            Ok(Self)
        }
    }
    let mut bytes = Vec::new();
    let state = Replicated::<Nothing>::default();
    state.capture().write(&mut bytes).unwrap();
    let restore = |bytes: &[u8]| {
        Replicated::<Nothing>::restore(&mut &*bytes, Index::ZERO, DigestChain::default(), 1)
    };
    assert!(restore(&bytes).is_ok());
    bytes.push(0);
    assert!(restore(&bytes).is_err());
}

//! Entries that make the machine fail (`protocol.md` section 12): who fails, what is left of the state, and
//! what a skipped entry does.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use standin_core::entry::{
    BatchBuilder, BatchStamp, COMMAND_BYTES_MAX, Command, EntryKind, Index, LogTip,
    RUN_COMMANDS_MAX, Run, RunReplies, TimerFired, ViewStart,
};
use standin_core::identity::{Durability, Incarnation, ReplicaName};
use standin_core::machine::{Context, StateMachine, TIMERS_MAX};
use standin_core::mark::ApplyMark;
use standin_core::message::{ReplyStatus, encode_payload};
use standin_core::poison::{MachineFault, Skip};
use standin_core::session::KeptOutcome;
use standin_core::state::Replicated;
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};

/// Counts its commands, and fails at some.
#[derive(Clone, Default)]
struct Fragile(u64);

impl StateMachine for Fragile {
    const NAME: &'static str = "fragile";
    const VERSION: u32 = 1;
    type Capture = u64;

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        assert!(reply.is_empty(), "whatever else was replied is not shown");
        self.0 += 1;
        reply.extend_from_slice(&self.0.to_le_bytes());
        match command {
            b"panic" => std::panic::resume_unwind(Box::new("half done")),
            b"long" => reply.resize(COMMAND_BYTES_MAX + 1, 0),
            b"timers" => (0..=TIMERS_MAX as u64).for_each(|id| ctx.set_timer(id, WallTime(1))),
            b"late" => ctx.set_timer(7, WallTime(2)),
            b"draw" => reply.extend_from_slice(&ctx.random().to_le_bytes()),
            b"whose" => reply.push(u8::from(ctx.session().is_some())),
            _ => {}
        }
    }

    fn timer(&mut self, _ctx: &mut Context<'_>, _id: u64) {
        std::panic::resume_unwind(Box::new("the timer"));
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        reply.extend_from_slice(&self.0.to_le_bytes());
        match query {
            b"panic" => std::panic::resume_unwind(Box::new("what a question")),
            b"long" => reply.resize(COMMAND_BYTES_MAX + 1, 0),
            b"shorten" => reply.clear(),
            _ => {}
        }
    }

    fn capture(&self) -> u64 {
        self.0
    }

    fn write_capture(capture: &u64, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&capture.to_le_bytes())
    }

    fn restore(_: &mut dyn io::Read) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A state, and the log that led to it.
struct Story {
    tip: LogTip,
    state: Replicated<Fragile>,
}

/// The session that a story begins with.
const SESSION: u64 = 2;

impl Story {
    fn begin() -> Self {
        let mut story = Self {
            tip: LogTip::default(),
            state: Replicated::default(),
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
        story.next(EntryKind::ViewStart, &payload).0.unwrap();
        story.next(EntryKind::OpenSession, &[]).0.unwrap();
        story
    }

    fn next(
        &mut self,
        kind: EntryKind,
        payload: &[u8],
    ) -> (Result<ReplyStatus, MachineFault>, Vec<u8>) {
        let stamp = BatchStamp {
            view: ViewNumber(1),
            time: WallTime(self.tip.index.0),
            seed: 0,
            commit: Index::ZERO,
        };
        let mut builder = BatchBuilder::new(self.tip, stamp);
        builder.push(kind, |out| out.extend_from_slice(payload));
        let batch = builder.finish().unwrap();
        self.tip = batch.tip();
        let entry = batch.entries().next().unwrap();
        let mut reply = b"before".to_vec();
        let outcome = self.state.apply(&entry, &mut reply);
        assert!(reply.starts_with(b"before"), "other replies are left alone");
        (outcome, reply.split_off(6))
    }

    fn command(
        &mut self,
        sequence: u64,
        bytes: &[u8],
    ) -> (Result<ReplyStatus, MachineFault>, Vec<u8>) {
        let mut payload = Vec::new();
        let command = Command {
            session: SESSION,
            sequence,
            acknowledged: 0,
            bytes,
        };
        command.encode(&mut payload);
        self.next(EntryKind::Command, &payload)
    }

    /// A run of commands, the first of which has this number, and its replies.
    fn run(&mut self, sequence: u64, commands: &[&[u8]]) -> Vec<(ReplyStatus, Vec<u8>)> {
        let (outcome, reply) = self.next(EntryKind::Run, &run(sequence, commands));
        assert_eq!(outcome, Ok(ReplyStatus::Done));
        let replies = RunReplies::of(&reply);
        let replies: Vec<_> = replies.map(|it| (it.status, it.bytes.to_vec())).collect();
        assert_eq!(replies.len(), commands.len());
        replies
    }

    fn skip_next(&mut self) -> Skip {
        let skip = Skip {
            index: self.tip.index.next(),
            view: ViewNumber(1),
        };
        self.state.skip(skip);
        skip
    }
}

#[test]
fn a_run_is_admitted_executed_and_answered_command_by_command() {
    let mut story = Story::begin();
    assert_eq!(story.command(1, b"").0, Ok(ReplyStatus::Done));
    // The first is a repeat, and a gap follows in another run.
    let replies = story.run(1, &[b"", b"whose", b"draw", b"draw"]);
    let counts: Vec<u64> = replies.iter().map(|(_, reply)| count(reply)).collect();
    assert_eq!(counts, [1, 2, 3, 4]);
    assert_eq!(replies[1].1[8], 1, "it belongs to a session");
    assert_ne!(
        replies[2].1[8..],
        replies[3].1[8..],
        "one stream of random numbers"
    );
    assert!(
        replies
            .iter()
            .all(|(status, _)| *status == ReplyStatus::Done)
    );
    let gaps = story.run(6, &[b"", b""]);
    assert!(
        gaps.iter()
            .all(|reply| *reply == (ReplyStatus::SequenceGap, vec![]))
    );
    for (sequence, (_, reply)) in (1..).zip(&replies) {
        assert_eq!(
            story.state.kept_reply(SESSION, sequence),
            Ok(Some(KeptOutcome::Reply(reply)))
        );
    }
}

#[test]
fn a_run_leads_to_the_machine_that_its_commands_lead_to() {
    let mut together = Story::begin();
    let mut apart = Story::begin();
    let replies = together.run(1, &[b"", b"whose", b"late", b""]);
    for (at, bytes) in [b"".as_slice(), b"whose", b"late", b""]
        .into_iter()
        .enumerate()
    {
        let (outcome, reply) = apart.command(at as u64 + 1, bytes);
        assert_eq!(replies[at], (outcome.unwrap(), reply));
    }
    assert_eq!(together.state.machine().0, apart.state.machine().0);
    let timers = |story: &Story| story.state.timers_due(WallTime(100), 9);
    assert_eq!(timers(&together), timers(&apart));
    assert_eq!(timers(&together).len(), 1);
}

/// What a mark was told, a digit for each: 1 for a beginning, 2 for an end.
#[derive(Debug, Default)]
struct Told(AtomicU64);

impl Told {
    fn add(&self, digit: u64) {
        let told = self.0.load(Ordering::Relaxed);
        self.0.store(told * 10 + digit, Ordering::Relaxed);
    }
}

impl ApplyMark for Told {
    fn begin(&self, _: Skip) {
        self.add(1);
    }

    fn end(&self) {
        self.add(2);
    }
}

#[test]
fn an_entry_is_behind_the_machine_when_all_its_commands_are() {
    let mut story = Story::begin();
    let told = Arc::new(Told::default());
    story
        .state
        .mark_with(Arc::clone(&told) as Arc<dyn ApplyMark>);
    story.run(1, &[b"", b"", b""]);
    story.run(1, &[b"", b""]); // executed before
    story.command(4, b"").0.unwrap();
    assert_eq!(told.0.load(Ordering::Relaxed), 111_212);
}

#[test]
fn a_run_at_which_the_machine_fails_is_skipped_as_a_whole() {
    let mut story = Story::begin();
    let commands: [&[u8]; 3] = [b"", b"panic", b""];
    let (outcome, reply) = story.next(EntryKind::Run, &run(1, &commands));
    assert!(
        outcome.is_err() && reply.is_empty(),
        "nothing is left of the replies before"
    );
    assert!(story.state.is_poisoned());

    let mut story = Story::begin();
    assert_eq!(story.command(1, b"").0, Ok(ReplyStatus::Done));
    let skip = story.skip_next();
    let replies = story.run(1, &commands);
    assert_eq!(
        (replies[0].0, count(&replies[0].1)),
        (ReplyStatus::Done, 1),
        "executed before"
    );
    for sequence in [2, 3] {
        let skipped = (ReplyStatus::Skipped, skip.index.0.to_le_bytes().to_vec());
        assert_eq!(replies[sequence - 1], skipped);
        let kept = story.state.kept_reply(SESSION, sequence as u64);
        assert_eq!(kept, Ok(Some(KeptOutcome::Skipped(skip.index.0))));
    }
    assert_eq!(
        count(&story.command(4, b"").1),
        2,
        "the machine has seen none of them"
    );
}

#[test]
fn bytes_that_are_no_run_are_known() {
    let whole = run(1, &[b"a", b"", b"ccc"]);
    for length in 0..whole.len() {
        // Ends between two commands leave a shorter run.
        let is_whole = [29, 33].contains(&length);
        assert_eq!(
            Run::decode(&whole[..length]).is_some(),
            is_whole,
            "{length}"
        );
    }
    let commands: Vec<_> = Run::decode(&whole).unwrap().commands().collect();
    let told: Vec<_> = commands.iter().map(|it| (it.sequence, it.bytes)).collect();
    assert_eq!(told, [(1, b"a".as_slice()), (2, b""), (3, b"ccc")]);
    assert!(
        Run::decode(&run(u64::MAX, &[b"a"])).is_none(),
        "no number follows"
    );
    for (count, is_run) in [(RUN_COMMANDS_MAX, true), (RUN_COMMANDS_MAX + 1, false)] {
        let many = run(1, &vec![b"".as_slice(); count]);
        assert_eq!(Run::decode(&many).is_some(), is_run, "{count} commands");
    }
}

/// The payload of these commands, the first of which has this number.
fn run(sequence: u64, commands: &[&[u8]]) -> Vec<u8> {
    let commands: Vec<Command<'_>> = commands
        .iter()
        .enumerate()
        .map(|(at, bytes)| Command {
            session: SESSION,
            sequence: sequence.wrapping_add(at as u64),
            acknowledged: 0,
            bytes,
        })
        .collect();
    let mut payload = Vec::new();
    Run::encode(&commands, &mut payload);
    payload
}

fn count(reply: &[u8]) -> u64 {
    u64::from_le_bytes(reply[..8].try_into().unwrap())
}

#[test]
fn a_command_without_a_session_is_executed_each_time_and_skipped_like_any_other() {
    let mut story = Story::begin();
    for count in 1..=2_u64 {
        let (outcome, reply) = story.next(EntryKind::Direct, b"whose");
        assert_eq!(outcome, Ok(ReplyStatus::Done));
        assert_eq!((&reply[..8], reply[8]), (&count.to_le_bytes()[..], 0));
    }
    let skip = story.skip_next();
    let (outcome, reply) = story.next(EntryKind::Direct, b"panic");
    assert_eq!(outcome, Ok(ReplyStatus::Skipped));
    assert_eq!(reply, skip.index.0.to_le_bytes());
    let (outcome, reply) = story.next(EntryKind::Direct, b"panic");
    assert_eq!(outcome.unwrap_err().skip.index, skip.index.next());
    assert!(reply.is_empty());
    assert!(story.state.is_poisoned());
}

#[test]
fn whatever_the_machine_does_wrong_is_its_own_fault_and_names_the_entry() {
    for (command, words) in [
        (&b"panic"[..], "it panicked: half done"),
        (
            b"long",
            "it gave a reply of 1048577 bytes, and 1048576 are allowed",
        ),
        (b"timers", "it has set over 1048576 timers"),
    ] {
        let mut story = Story::begin();
        assert_eq!(story.command(1, b"").0, Ok(ReplyStatus::Done));
        let (outcome, reply) = story.command(2, command);
        let fault = outcome.unwrap_err();
        let skip = Skip {
            index: Index(4),
            view: ViewNumber(1),
        };
        assert_eq!((fault.skip, fault.words.as_str()), (skip, words));
        assert!(reply.is_empty());
        assert!(story.state.is_poisoned());
        assert_eq!(story.state.applied(), Index(3));
    }
}

#[test]
fn a_state_that_was_half_changed_is_never_used_again() {
    let mut story = Story::begin();
    story.command(1, b"panic").0.unwrap_err();
    let before = story.tip;
    for use_it in [
        (|story: &mut Story| drop(story.command(2, b""))) as fn(&mut Story),
        |story| drop(story.state.query(b"", &mut Vec::new())),
        |story| assert!(story.state.state_digest() > 0),
        |story| drop(story.state.capture()),
        |story| assert!(story.state.machine().0 < 100),
    ] {
        story.tip = before;
        let used = std::panic::AssertUnwindSafe(|| use_it(&mut story));
        std::panic::catch_unwind(used).expect_err("an assertion of ours, which ends the process");
    }
}

#[test]
fn an_assertion_of_our_own_is_not_taken_for_the_machines_fault() {
    let mut story = Story::begin();
    story.tip = LogTip::default();
    let out_of_order = std::panic::AssertUnwindSafe(|| story.command(1, b""));
    let ended = std::panic::catch_unwind(out_of_order);
    assert!(
        ended.is_err(),
        "it came through, and no fault was handed back"
    );
    assert!(!story.state.is_poisoned());
}

#[test]
fn a_skipped_command_is_not_shown_to_the_machine_and_all_else_goes_on() {
    let mut story = Story::begin();
    story.command(1, b"").0.unwrap();
    let skip = story.skip_next();
    let (outcome, reply) = story.command(2, b"panic");
    assert_eq!(outcome, Ok(ReplyStatus::Skipped));
    assert_eq!(reply, skip.index.0.to_le_bytes());
    let kept = story.state.kept_reply(SESSION, 2);
    assert_eq!(kept, Ok(Some(KeptOutcome::Skipped(skip.index.0))));
    let digest = story.state.reply_digest();

    let repeat = story.command(2, b"panic");
    assert_eq!(repeat, (outcome, reply), "a repeat is told the same");
    assert_ne!(story.state.reply_digest(), digest);
    let (outcome, reply) = story.command(3, b"");
    assert_eq!(outcome, Ok(ReplyStatus::Done), "the number was used up");
    assert_eq!(reply, 2u64.to_le_bytes(), "nothing of it took effect");
}

#[test]
fn the_chain_over_the_replies_tells_a_skip_from_what_the_machine_might_have_said() {
    let (mut skipped, mut executed) = (Story::begin(), Story::begin());
    skipped.skip_next();
    skipped.command(1, b"").0.unwrap();
    executed.command(1, b"").0.unwrap();
    assert_ne!(skipped.state.reply_digest(), executed.state.reply_digest());
    assert_ne!(skipped.state.state_digest(), executed.state.state_digest());
}

#[test]
fn a_skipped_timer_is_gone_and_the_machine_does_not_hear_of_it() {
    for is_skipped in [true, false] {
        let mut story = Story::begin();
        story.command(1, b"late").0.unwrap();
        if is_skipped {
            story.skip_next();
        }
        let fired = TimerFired {
            id: 7,
            deadline: WallTime(2),
        };
        let mut payload = Vec::new();
        encode_payload(&fired, &mut payload);
        let (outcome, _) = story.next(EntryKind::Timer, &payload);
        if is_skipped {
            assert_eq!(outcome, Ok(ReplyStatus::Skipped));
            assert_eq!(story.state.timer_next(), None);
        } else {
            assert_eq!(outcome.unwrap_err().words, "it panicked: the timer");
        }
    }
}

#[test]
fn an_entry_of_another_view_at_that_place_is_another_entry() {
    let mut story = Story::begin();
    let skip = Skip {
        index: story.tip.index.next(),
        view: ViewNumber(2),
    };
    story.state.skip(skip);
    assert_eq!(story.command(1, b"").0, Ok(ReplyStatus::Done));
}

#[test]
fn a_query_that_goes_wrong_costs_an_answer_and_nothing_else() {
    let mut story = Story::begin();
    story.command(1, b"").0.unwrap();
    for (query, words) in [
        (&b"panic"[..], "it panicked: what a question"),
        (
            b"long",
            "it gave a reply of 1048577 bytes, and 1048576 are allowed",
        ),
    ] {
        let mut reply = b"before".to_vec();
        let failed = story.state.query(query, &mut reply);
        assert_eq!(failed, Err(words.to_owned()));
        assert_eq!(reply, b"before");
    }
    let mut reply = b"before".to_vec();
    assert_eq!(story.state.query(b"shorten", &mut reply), Ok(()));
    assert_eq!(reply, b"before");
    assert_eq!(story.command(2, b"").0, Ok(ReplyStatus::Done));
}

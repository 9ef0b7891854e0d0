//! Two replicas that apply the same entries agree, whatever the commands hold, and each request takes
//! effect once.
#![no_main]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin::machines::counter::{Counter, decode_command, decode_reply, encode_add, encode_get};
use standin_core::digest::{DigestChain, digest};
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, CloseSession, Command, EntryKind, Index, LogTip, TimerFired,
    ViewStart,
};
use standin_core::identity::{Durability, Incarnation, ReplicaName};
use standin_core::machine::{Context, StateMachine};
use standin_core::message::{ReplyStatus, encode_payload};
use standin_core::state::Replicated;
use standin_core::time::{Duration, WallTime};
use standin_core::view::{DataEpoch, ViewNumber};

/// A machine that does all that a context offers, as the bytes of its commands say.
#[derive(Debug, Default)]
struct Clockwork(Vec<u8>);

impl StateMachine for Clockwork {
    const NAME: &'static str = "clockwork";
    const VERSION: u32 = 1;
    type Capture = Vec<u8>;

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        for pair in command.chunks(2) {
            let id = u64::from(pair[0] % 4);
            match pair.get(1) {
                Some(0) | None => ctx.cancel_timer(id),
                Some(delay) => {
                    let deadline = ctx.now().plus(Duration::from_millis((*delay).into()));
                    ctx.set_timer(id, deadline);
                }
            }
        }
        let reply_at = reply.len();
        for number in [
            ctx.random(),
            ctx.index().0,
            ctx.now().0,
            ctx.session().unwrap_or(0),
        ] {
            reply.extend_from_slice(&number.to_le_bytes());
        }
        self.0 = digest(&[&self.0, command, &reply[reply_at..]].concat())
            .to_le_bytes()
            .to_vec();
    }

    fn timer(&mut self, ctx: &mut Context<'_>, id: u64) {
        assert_eq!(ctx.session(), None);
        let random = ctx.random();
        self.0 = digest(&[&*self.0, &random.to_le_bytes()].concat())
            .to_le_bytes()
            .to_vec();
        if random % 2 == 0 {
            ctx.set_timer(id, ctx.now());
        }
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        reply.extend_from_slice(query);
        reply.extend_from_slice(&self.0);
    }

    fn capture(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn write_capture(capture: &Vec<u8>, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(capture)
    }

    fn restore(input: &mut dyn Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        Ok(Self(bytes))
    }
}

/// What must be true of the replies, kept apart from how sessions are kept.
#[derive(Default)]
struct Model {
    /// The reply of each request that was executed, by session and sequence number.
    replies: BTreeMap<(u64, u64), Vec<u8>>,
    value: i64,
}

impl Model {
    /// Takes in the outcome of a request; says whether it was executed just now.
    fn take(&mut self, command: &Command<'_>, status: ReplyStatus, reply: &[u8]) -> bool {
        let key = (command.session, command.sequence);
        let known = self.replies.get(&key);
        match status {
            ReplyStatus::Done if known.is_some() => {
                assert_eq!(
                    known.map(Vec::as_slice),
                    Some(reply),
                    "another reply to {key:?}"
                );
                false
            }
            ReplyStatus::Done => {
                let before = (command.session, command.sequence - 1);
                let is_next = command.sequence == 1 || self.replies.contains_key(&before);
                assert!(is_next, "{key:?} was executed out of turn");
                self.replies.insert(key, reply.to_vec());
                true
            }
            ReplyStatus::SequenceAcknowledged => {
                assert!(known.is_some(), "{key:?} was never executed");
                false
            }
            ReplyStatus::SessionUnknown | ReplyStatus::SequenceGap => {
                assert!(reply.is_empty());
                false
            }
            other => panic!("{other:?} is no outcome of applying"),
        }
    }

    fn count(&mut self, command: &[u8], reply: &[u8]) {
        let sum = decode_command(command).and_then(|n| self.value.checked_add(n));
        let reply = decode_reply(reply).expect("a counter's reply");
        assert_eq!(reply.ok(), sum);
        self.value = sum.unwrap_or(self.value);
    }
}

fn view_start(input: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    let start = ViewStart {
        data_epoch: DataEpoch(input.arbitrary()?),
        primary: ReplicaName::new("a").expect("a good name"),
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: match input.arbitrary::<bool>()? {
            true => input.arbitrary()?,
            false => input.arbitrary::<u16>()?.into(),
        },
        sessions_max: input.arbitrary::<u8>()?.into(),
        replies_bytes_max: input.arbitrary::<u8>()?.into(),
        session_idle_min_ms: input.arbitrary::<u16>()?.into(),
        skips: Vec::new(),
        machine_version: Some(1),
    };
    encode_payload(&start, out);
    Ok(())
}

fn session(input: &mut Unstructured<'_>, sessions: &[u64]) -> Result<u64> {
    match sessions {
        [] => input.arbitrary::<u8>().map(u64::from),
        some => input.choose(some).copied(),
    }
}

fn machine_command(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let n: i64 = input.arbitrary()?;
    Ok(match input.arbitrary::<u8>()? % 4 {
        0 => input.arbitrary()?,
        1 => encode_add(n).to_vec(),
        _ => encode_add(i64::from(n.to_le_bytes()[0])).to_vec(),
    })
}

fn command(input: &mut Unstructured<'_>, sessions: &[u64], out: &mut Vec<u8>) -> Result<()> {
    let bytes = machine_command(input)?;
    let command = Command {
        session: session(input, sessions)?,
        sequence: input.int_in_range(0..=20)?,
        acknowledged: input.int_in_range(0..=20)?,
        bytes: &bytes,
    };
    command.encode(out);
    Ok(())
}

/// One entry of any kind, with a payload that a primary could have given it.
fn payload(input: &mut Unstructured<'_>, sessions: &[u64]) -> Result<(EntryKind, Vec<u8>)> {
    let mut out = Vec::new();
    let kind = match input.arbitrary::<u8>()? % 8 {
        0 => EntryKind::OpenSession,
        1 => {
            let session = session(input, sessions)?;
            encode_payload(&CloseSession { session }, &mut out);
            EntryKind::CloseSession
        }
        2 => {
            let id = input.int_in_range(0..=3)?;
            let deadline = WallTime(input.arbitrary::<u8>()?.into());
            encode_payload(&TimerFired { id, deadline }, &mut out);
            EntryKind::Timer
        }
        3 => {
            out = machine_command(input)?;
            EntryKind::Direct
        }
        _ => {
            command(input, sessions, &mut out)?;
            EntryKind::Command
        }
    };
    Ok((kind, out))
}

/// A batch as a primary orders it: a view's first begins with its start, timers come when they are due.
fn batch<M: StateMachine>(
    input: &mut Unstructured<'_>,
    before: LogTip,
    sessions: &[u64],
    state: &Replicated<M>,
) -> Result<Batch> {
    let begins_view = before.view == ViewNumber(0) || input.ratio(1, 8)?;
    let elapsed: u64 = match input.arbitrary::<u8>()? {
        0 => input.arbitrary()?,
        elapsed => u64::from(elapsed) * 1_000_000,
    };
    let stamp = BatchStamp {
        view: match begins_view {
            true => before.view.next(),
            false => before.view,
        },
        time: WallTime(before.time.0.saturating_add(elapsed)),
        seed: input.arbitrary()?,
        commit: before.index,
    };
    let mut builder = BatchBuilder::new(before, stamp);
    if begins_view {
        let mut start = Vec::new();
        view_start(input, &mut start)?;
        builder.push(EntryKind::ViewStart, |out| out.extend_from_slice(&start));
    }
    for fired in state.timers_due(stamp.time, 3) {
        builder.push(EntryKind::Timer, |out| encode_payload(&fired, out));
    }
    for _ in 0..input.int_in_range(1..=4)? {
        let (kind, payload) = payload(input, sessions)?;
        builder.push(kind, |out| out.extend_from_slice(&payload));
    }
    Ok(builder.finish().expect("it has an entry"))
}

/// The state that is read back from what a copy of this one would be written as.
fn restored<M: StateMachine>(state: &Replicated<M>) -> Replicated<M> {
    let captured = state.capture();
    let mut bytes = Vec::new();
    captured.write(&mut bytes).expect("writing to memory");
    Replicated::restore(
        &mut bytes.as_slice(),
        captured.applied(),
        captured.reply_digest(),
        captured.version(),
    )
    .expect("what it wrote")
}

/// Applies to one copy at once and to another through the bytes, and through snapshots now and then, and compares.
fn run<M: StateMachine>(input: &mut Unstructured<'_>) -> Result<(Replicated<M>, Model)> {
    let mut one = Replicated::<M>::default();
    let mut other = Replicated::<M>::default();
    let mut model = Model::default();
    let mut sessions = Vec::new();
    let mut tip = LogTip::default();
    // Unlike the rest, the end of the input only ends the run: what was applied is compared.
    while !input.is_empty() && tip.index < Index(200) {
        let Ok(batch) = batch(input, tip, &sessions, &one) else {
            break;
        };
        let copy = Batch::verify(batch.bytes().to_vec(), tip).expect("a good batch");
        let mut together = Vec::new();
        for (entry, same) in batch.entries().zip(copy.entries()) {
            assert!(entry.has_sound_payload());
            let mut reply = Vec::new();
            let status = one.apply(&entry, &mut reply).expect("it does not panic");
            // The second copy appends its replies behind each other, as a batch's answers are.
            let reply_at = together.len();
            assert_eq!(other.apply(&same, &mut together), Ok(status));
            assert_eq!(&together[reply_at..], reply);
            if entry.header.kind == EntryKind::OpenSession {
                assert_eq!(reply, entry.header.index.0.to_le_bytes());
                sessions.push(entry.header.index.0);
            }
            if let (EntryKind::Command, Some(command)) =
                (entry.header.kind, Command::decode(entry.payload))
                && model.take(&command, status, &reply)
                && M::NAME == Counter::NAME
            {
                model.count(command.bytes, &reply);
            }
        }
        tip = batch.tip();
        if batch.entries().count() % 2 == 0 {
            other = restored(&other);
        }
        assert_eq!((one.applied(), other.applied()), (tip.index, tip.index));
        assert_eq!(one.reply_digest(), other.reply_digest());
        assert_eq!(one.state_digest(), other.state_digest());
        assert_eq!(one.timer_next(), other.timer_next());
        assert!(one.session_count() <= sessions.len());
    }
    Ok((one, model))
}

/// The machine's state as bytes is the same state again.
fn check_capture(state: &Replicated<Counter>, value: i64) {
    let mut answer = Vec::new();
    state
        .query(&encode_get(), &mut answer)
        .expect("it does not panic");
    assert_eq!(decode_reply(&answer), Some(Ok(value)));
    let restored =
        Counter::restore(&mut value.to_le_bytes().as_slice()).expect("a counter's state");
    let mut bytes = Vec::new();
    Counter::write_capture(&restored.capture(), &mut bytes).expect("writing to memory");
    let again = Counter::restore(&mut bytes.as_slice()).expect("what it wrote");
    assert_eq!((again.capture(), &again), (restored.capture(), &restored));
    let mut same = Vec::new();
    again.query(&encode_get(), &mut same);
    assert_eq!(same, answer);
}

fuzz_target!(|data: &[u8]| {
    let [machine, data @ ..] = data else {
        return;
    };
    let mut input = Unstructured::new(data);
    // Any bytes may come as a query or as a state, too.
    let mut reply = Vec::new();
    Counter::default().query(data, &mut reply);
    assert!(decode_reply(&reply).is_some());
    assert_eq!(Counter::restore(&mut &*data).is_ok(), data.len() == 8);
    if let Ok(state) =
        Replicated::<Counter>::restore(&mut &*data, Index(1), DigestChain::default(), 1)
    {
        // What is taken for a state is written as the same bytes again.
        let mut bytes = Vec::new();
        state
            .capture()
            .write(&mut bytes)
            .expect("writing to memory");
        assert_eq!(bytes, data);
    }
    if machine % 2 == 0 {
        if let Ok((state, model)) = run::<Counter>(&mut input) {
            check_capture(&state, model.value);
        }
    } else {
        let _ = run::<Clockwork>(&mut input);
    }
});

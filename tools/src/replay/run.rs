//! One replay among several that are compared: what each entry comes to in it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use standin_core::entry::{EntryKind, Index, RunReplies};
use standin_core::machine::{StateMachine, bytes_in_words, cut_words};
use standin_core::message::ReplyStatus;
use standin_core::poison::Skip;
use standin_core::state::Replicated;

use super::{ATTEMPTS_MAX, Replay, ReplayError};

/// Parts of a state that are told of, at most. Of a state with more, those that come first.
pub const PARTS_MAX: usize = 100_000;

/// What a run is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRequest {
    /// Whose log is replayed.
    pub dir: PathBuf,
    /// The entry of the snapshot that it begins with; 0: it begins with the first entry.
    pub from: Index,
    /// The first entry of which there is a point, if it is applied; else they begin with the next.
    pub after: Index,
    /// The last entry that is applied, of which there is a point, too.
    pub until: Index,
    /// There is a point after each so many entries from there on. At least 1.
    pub step: u64,
    /// The entries that it skips: all of them, whatever else its log says.
    pub skips: Vec<Skip>,
    /// The last point tells the parts of the state.
    pub tells_parts: bool,
}

/// What a run has come to after an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The entry.
    pub index: u64,
    /// The chain over all replies up to there, in hexadecimal digits.
    pub replies: String,
    /// The digest of the state, in hexadecimal digits.
    pub state: String,
    /// The entry's reply, or how the machine failed at it, in words.
    pub reply: String,
    /// The machine failed at it: there is no state, and no point behind it.
    pub is_fault: bool,
    /// The parts of the state, in words, if they were asked for.
    pub parts: Option<BTreeMap<String, String>>,
}

impl Point {
    /// Whether another run has come to the same.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.is_same_reply(other) && self.state == other.state
    }

    /// Whether all replies up to there are the same in another run.
    #[must_use]
    pub fn is_same_reply(&self, other: &Self) -> bool {
        self.replies == other.replies && self.is_fault == other.is_fault
    }
}

/// A digest in words, as points have it.
#[must_use]
pub fn digits(digest: u128) -> String {
    format!("{digest:032x}")
}

/// Replays, in this process.
///
/// # Errors
/// [`ReplayError`].
pub fn run<M: StateMachine>(request: &RunRequest) -> Result<Vec<Point>, ReplayError> {
    for _ in 1..ATTEMPTS_MAX {
        match run_once::<M>(request) {
            Err(error) if error.is_gone() => {}
            outcome => return outcome,
        }
    }
    run_once::<M>(request)
}

fn run_once<M: StateMachine>(request: &RunRequest) -> Result<Vec<Point>, ReplayError> {
    let mut replay = Replay::<M>::open_at(&request.dir, request.from, &request.skips)?;
    let mut points = Vec::new();
    while replay.state().applied() < request.until {
        let reply = match replay.advance() {
            Ok(Some(step)) if request.is_point(step.entry.header.index) => {
                reply_words::<M>(step.entry.header.kind, step.status, step.reply)
            }
            Ok(Some(_)) => continue,
            Ok(None) => {
                let last = replay.state().applied();
                let until = request.until;
                return Err(ReplayError::TooLate { until, last });
            }
            Err(ReplayError::Fault(fault)) => {
                points.push(Point {
                    index: fault.skip.index.0,
                    replies: digits(replay.state().reply_digest().0),
                    state: String::new(),
                    reply: format!("the machine fails: {}", fault.words),
                    is_fault: true,
                    parts: None,
                });
                return Ok(points);
            }
            Err(error) => return Err(error),
        };
        points.push(point(replay.state(), reply));
    }
    let machine = replay.state().machine();
    if let Some(last) = points.last_mut().filter(|_| request.tells_parts) {
        last.parts = Some(parts_of(machine));
    }
    Ok(points)
}

impl RunRequest {
    fn is_point(&self, index: Index) -> bool {
        let behind = index.0.checked_sub(self.after.0);
        behind.is_some_and(|behind| behind.is_multiple_of(self.step) || index == self.until)
    }
}

fn point<M: StateMachine>(state: &Replicated<M>, reply: String) -> Point {
    Point {
        index: state.applied().0,
        replies: digits(state.reply_digest().0),
        state: digits(state.state_digest()),
        reply,
        is_fault: false,
        parts: None,
    }
}

/// What a machine tells of its state.
pub(super) fn parts_of<M: StateMachine>(machine: &M) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    machine.state_words(&mut |name, words| {
        if parts.len() < PARTS_MAX {
            parts.insert(name.to_owned(), words.to_owned());
        }
    });
    parts
}

/// What an entry of this kind came to, in words.
pub(super) fn reply_words<M: StateMachine>(
    kind: EntryKind,
    status: ReplyStatus,
    reply: &[u8],
) -> String {
    match status {
        ReplyStatus::Done if kind == EntryKind::Run => {
            let replies = RunReplies::of(reply);
            let each = replies.map(|it| reply_words::<M>(EntryKind::Command, it.status, it.bytes));
            cut_words(each.collect::<Vec<_>>().join("; "))
        }
        ReplyStatus::Done if reply.is_empty() => "done, with an empty reply".to_owned(),
        ReplyStatus::Done => cut_words(M::reply_words(reply)),
        other => status_words(other, reply),
    }
}

/// An outcome that no machine has made.
pub(super) fn status_words(status: ReplyStatus, reply: &[u8]) -> String {
    match reply {
        [] => format!("{status:?}"),
        reply => format!("{status:?} {}", bytes_in_words(reply)),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use standin_core::entry::{BatchBuilder, BatchStamp, Command, Index, LogTip, Run};
    use standin_core::machine::Context;
    use standin_core::time::WallTime;
    use standin_core::view::ViewNumber;

    use super::*;

    /// Answers with what it was told.
    #[derive(Default)]
    struct Parrot;

    impl StateMachine for Parrot {
        const NAME: &'static str = "parrot";
        const VERSION: u32 = 1;
        type Capture = ();

        fn apply(&mut self, _: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
            reply.extend_from_slice(command);
        }

        fn query(&self, _: &[u8], _: &mut Vec<u8>) {}

        fn capture(&self) {}

        fn write_capture((): &(), _: &mut dyn io::Write) -> io::Result<()> {
            Ok(())
        }

        fn restore(_: &mut dyn io::Read) -> io::Result<Self> {
            Ok(Self)
        }
    }

    #[test]
    fn each_reply_to_a_run_is_told_by_itself() {
        let before = LogTip {
            view: ViewNumber(1),
            ..LogTip::default()
        };
        let stamp = BatchStamp {
            view: ViewNumber(1),
            time: WallTime(1),
            seed: 1,
            commit: Index::ZERO,
        };
        let mut builder = BatchBuilder::new(before, stamp);
        builder.push(EntryKind::OpenSession, |_| {});
        let command = |sequence, bytes| Command {
            session: 1,
            sequence,
            acknowledged: 0,
            bytes,
        };
        let commands = [
            command(1, b"one".as_slice()),
            command(2, b""),
            command(4, b"four"),
        ];
        builder.push(EntryKind::Run, |out| Run::encode(&commands[..2], out));
        builder.push(EntryKind::Run, |out| Run::encode(&commands[2..], out));
        let log = builder.finish().expect("three entries");
        let mut state = Replicated::<Parrot>::default();
        let words: Vec<String> = log
            .entries()
            .map(|entry| {
                let mut reply = Vec::new();
                let status = state.apply(&entry, &mut reply).expect("it does not fail");
                reply_words::<Parrot>(entry.header.kind, status, &reply)
            })
            .collect();
        assert_eq!(words[1], "\"one\"; done, with an empty reply");
        assert!(
            words[2].contains("SequenceGap") || words[2].contains("sequence"),
            "{}",
            words[2]
        );
    }
}

//! Two clients with one short script: a writer with a session, and a reader that keeps to the replica
//! that answered it last, whatever happens to the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use standin_core::conn::ConnId;
use standin_core::frame::FrameKind;
use standin_core::message::{
    CommandRequest, Consistency, Message as _, OpenSession, QueryRequest, Reply, ReplyStatus, Seen,
};

use super::links::Letter;
use super::node::whole;
use super::past::{Asked, Wish};

/// A call waits so many quarters of a term for an answer before it is made again.
const PATIENCE: u32 = 2;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Not made yet.
    Planned,
    /// Asked when so many quarters had gone by.
    Asked(u32),
    /// To be asked again once so many have.
    Again(u32),
    Answered,
}

/// One call of the script.
#[derive(Clone, Debug)]
struct Call {
    wish: Wish,
    /// Its number in the session.
    sequence: u64,
    progress: Progress,
    /// What had been answered when it was first asked.
    floor: Arc<[u8]>,
}

/// Both clients.
#[derive(Clone, Debug)]
pub(super) struct Client {
    calls: Vec<Call>,
    session: u64,
    /// What each of them has seen: the writer, the reader.
    seen: [Seen; 2],
    /// Whom each asks first.
    target: [usize; 2],
    /// Requests without an answer: the call, and what was asked.
    asked: BTreeMap<ConnId, (usize, usize, Asked)>,
}

fn who(wish: Wish) -> usize {
    usize::from(wish == Wish::Read)
}

impl Client {
    pub(super) fn new(script: &[Wish]) -> Self {
        let mut sequence = 0;
        let calls = script.iter().map(|wish| {
            sequence += u64::from(matches!(wish, Wish::Write(_)));
            Call {
                wish: *wish,
                sequence,
                progress: Progress::Planned,
                floor: Arc::from([]),
            }
        });
        Self {
            calls: calls.collect(),
            session: 0,
            seen: [Seen::default(); 2],
            target: [0; 2],
            asked: BTreeMap::new(),
        }
    }

    /// Whether everything was answered.
    pub(super) fn is_done(&self) -> bool {
        let mut calls = self.calls.iter();
        calls.all(|call| call.progress == Progress::Answered)
    }

    /// The call to be made now, if there is one. Who asks again asks whoever the view service names,
    /// so somebody must be `named`.
    pub(super) fn due(&self, elapsed: u32, is_named: bool) -> Option<usize> {
        let is_due = |call: &Call| match call.progress {
            Progress::Planned => true,
            Progress::Asked(at) => elapsed >= at + PATIENCE && is_named,
            Progress::Again(at) => elapsed >= at && is_named,
            Progress::Answered => false,
        };
        for (number, call) in self.calls.iter().enumerate() {
            if is_due(call) {
                return Some(number);
            }
            // The later ones wait for this one, but for those that were made in a hurry.
            let next = self.calls.get(number + 1);
            let is_hurried = next.is_some_and(|next| next.progress != Progress::Planned);
            if call.progress != Progress::Answered && !is_hurried {
                return None;
            }
        }
        None
    }

    /// The next call of the script, if an earlier one still waits for its answer.
    pub(super) fn hurried(&self) -> Option<usize> {
        let next = self
            .calls
            .iter()
            .position(|call| call.progress == Progress::Planned)?;
        let before = &self.calls[..next];
        // Nothing can be asked of a session before it is open.
        let is_open = before
            .iter()
            .all(|call| call.wish != Wish::Open || call.progress == Progress::Answered);
        let is_waiting = before
            .iter()
            .any(|call| call.progress != Progress::Answered);
        (is_open && is_waiting).then_some(next)
    }

    pub(super) fn wish(&self, number: usize) -> Wish {
        self.calls[number].wish
    }

    /// Whom a call is made to: at first whoever answered last, later whoever is `named`.
    pub(super) fn target(&self, number: usize, named: Option<usize>) -> usize {
        let call = &self.calls[number];
        match (call.progress, named) {
            (Progress::Planned, _) | (_, None) => self.target[who(call.wish)],
            (_, Some(named)) => named,
        }
    }

    /// Makes a call over a new connection; the request.
    pub(super) fn ask(
        &mut self,
        number: usize,
        (conn, target): (ConnId, usize),
        elapsed: u32,
        longest: &Arc<[u8]>,
    ) -> Vec<u8> {
        let acknowledged = self
            .calls
            .iter()
            .filter(|call| matches!(call.wish, Wish::Write(_)))
            .take_while(|call| call.progress == Progress::Answered)
            .count() as u64;
        let call = &mut self.calls[number];
        // A read must see all that was answered before this very request of it. A write takes effect
        // once, perhaps by an earlier request.
        if call.progress == Progress::Planned || call.wish == Wish::Read {
            call.floor = Arc::clone(longest);
        }
        call.progress = Progress::Asked(elapsed);
        let asked = Asked {
            wish: call.wish,
            floor: Arc::clone(&call.floor),
        };
        self.asked.insert(conn, (number, target, asked));
        let (id, seen) = (number as u64, self.seen[who(call.wish)]);
        let mut frame = Vec::new();
        match call.wish {
            Wish::Open => OpenSession { id, seen }.encode(&mut frame),
            Wish::Write(value) => CommandRequest {
                id,
                seen,
                session: self.session,
                sequence: call.sequence,
                acknowledged,
                bytes: &[value],
            }
            .encode(&mut frame),
            Wish::Read => QueryRequest {
                id,
                seen,
                consistency: Consistency::Confirmed,
                bytes: &[],
            }
            .encode(&mut frame),
        }
        frame
    }

    /// What was asked over a connection.
    pub(super) fn asked(&self, conn: ConnId) -> Option<&Asked> {
        self.asked.get(&conn).map(|(_, _, asked)| asked)
    }

    /// Something comes back over a connection, which is of no further use.
    pub(super) fn on_letter(&mut self, conn: ConnId, letter: &Letter, elapsed: u32) {
        let Some((number, target, asked)) = self.asked.remove(&conn) else {
            return;
        };
        let who = who(asked.wish);
        let is_answered = match letter {
            Letter::Ready => unreachable!("clients do not wait for a connection"),
            Letter::Closed => false,
            Letter::Frame(frame) => {
                let frame = whole(&frame.bytes);
                assert_eq!(
                    frame.kind,
                    FrameKind::Reply,
                    "nothing else is sent to clients"
                );
                let reply = Reply::decode(&frame).expect("our own replies are sound");
                // Rule R7: a client accepts nothing from a lower view than it has seen.
                let is_good =
                    reply.status == ReplyStatus::Done && reply.seen.view >= self.seen[who].view;
                if is_good {
                    self.seen[who] = self.seen[who].max(reply.seen);
                    self.target[who] = target;
                    if asked.wish == Wish::Open {
                        self.session = reply.seen.index.0;
                    }
                }
                is_good
            }
        };
        let call = &mut self.calls[number];
        if call.progress == Progress::Answered {
            return;
        }
        call.progress = if is_answered {
            Progress::Answered
        } else {
            Progress::Again(elapsed + 1)
        };
    }
}

//! What clients ask, and what they are answered.

use std::sync::Arc;

use standin_core::conn::ConnId;
use standin_core::entry::{COMMAND_BYTES_MAX, Command, Index};
use standin_core::machine::StateMachine;
use standin_core::message::{
    CommandRequest, Consistency, InspectReply, QueryRequest, ReplyStatus, Seen, Standing,
};
use standin_core::planted::Bug;
use standin_core::session::KeptOutcome;
use standin_core::time::{Duration, Instant, Now};
use standin_primary as primary;
use standin_primary::{Input, Query, Waiter};

use crate::answers::{AnswerHead, Request, RequestBody};
use crate::event::Action;
use crate::replica::{Replica, Role};
use crate::snapshots::SharedImage;

/// How long after the state was digested that is done again at the earliest. Clients wait meanwhile,
/// and anybody may ask.
const DIGEST_PAUSE: Duration = Duration::from_millis(50);
/// So much longer for each session: the more there are, the longer clients wait.
const DIGEST_PAUSE_PER_SESSION: Duration = Duration::from_micros(50);

/// Most who wait for a digest of the state that is being made. Others are not answered, and ask again.
const INSPECTORS_MAX: usize = 64;

/// The state at one moment, in a few numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inspected {
    at: Instant,
    applied: Index,
    reply_digest: u128,
    state_digest: u128,
    sessions: u64,
}

impl<M: StateMachine> Replica<M> {
    pub(crate) fn on_requests(&mut self, now: Now, requests: &[Request<'_>]) {
        if self.held.is_on() {
            return self.hold(requests);
        }
        let mut inputs: Vec<Input<'_>> = Vec::with_capacity(requests.len());
        let mut reads = Vec::new();
        let mut session = None;
        let mut admission = self.admission();
        // Looked at once: what one event brings may come on top, rather than be turned away in part.
        let has_queue_room = self.has_queue_room();
        for request in requests {
            let (id, seen) = request.body.id_and_seen();
            let waiter = Waiter {
                conn: request.conn,
                id,
            };
            if seen.view > self.adopted {
                // Rule R7: the client has heard a higher view than this replica has.
                self.on_higher_view(now, seen.view);
                self.answer_hint(waiter, ReplyStatus::NotPrimary);
                continue;
            }
            if seen.view.data_epoch < self.adopted.data_epoch && seen.index > Index::ZERO {
                if !self.is_serving() {
                    // Only a primary can tell what was lost.
                    self.answer_hint(waiter, ReplyStatus::NotPrimary);
                    continue;
                }
                if self.may_have_lost(seen) {
                    self.answer(waiter, ReplyStatus::AnswerLost, b"");
                    continue;
                }
            }
            match request.body {
                RequestBody::Query(query) => {
                    reads.extend(self.on_query(waiter, &query, 1, has_queue_room));
                }
                RequestBody::Queries(query, count) => {
                    reads.extend(self.on_query(waiter, &query, count, has_queue_room));
                }
                _ if !self.is_serving() => self.answer_hint(waiter, ReplyStatus::NotPrimary),
                RequestBody::Open(_) => {
                    let input = Input::Open(waiter);
                    if self.admits(&mut admission, waiter, &input) {
                        inputs.push(input);
                    }
                }
                // It is what the client wants it to be, and needs no entry to become so.
                RequestBody::Close(close) if self.is_session_unknown(close.session) => {
                    self.answer(waiter, ReplyStatus::Done, b"");
                }
                RequestBody::Close(close) => {
                    let input = Input::Close(waiter, close.session);
                    if self.admits(&mut admission, waiter, &input) {
                        inputs.push(input);
                    }
                }
                RequestBody::Command(request) if request.bytes.len() > COMMAND_BYTES_MAX => {
                    self.refuse_size(waiter, "command");
                }
                RequestBody::Direct(request) if request.bytes.len() > COMMAND_BYTES_MAX => {
                    self.refuse_size(waiter, "command");
                }
                RequestBody::Direct(request) => {
                    let input = Input::Direct(waiter, request.bytes);
                    if self.admits(&mut admission, waiter, &input) {
                        inputs.push(input);
                    }
                }
                RequestBody::Command(request) if self.is_refused(request.session) => {
                    self.answer(waiter, ReplyStatus::Refused, b"a bug was planted");
                }
                RequestBody::Command(request)
                    if !self.is_new(&request, &mut session)
                        && self.is_decided(waiter, &request) => {}
                RequestBody::Command(request) => {
                    let command = Command {
                        session: request.session,
                        sequence: request.sequence,
                        acknowledged: request.acknowledged,
                        bytes: request.bytes,
                    };
                    let input = Input::Command(waiter, command);
                    if self.admits(&mut admission, waiter, &input) {
                        inputs.push(input);
                    }
                }
            }
        }
        if !reads.is_empty() {
            self.tell_primary(now, primary::Event::Reads(reads));
        }
        if !inputs.is_empty() {
            self.tell_primary(now, primary::Event::Inputs(&inputs));
        }
    }

    /// Whether the log that goes on after a forced takeover may lack what a client was answered in an
    /// earlier data epoch. Its sessions may then be another's: an index is used again.
    ///
    /// If the log has entries of the view in which the client was answered, it agrees with that view's up
    /// to the last of them (S3). If it has none, it lacks at least that view's beginning; then it may still
    /// have what was answered right before it, and the client is told all the same.
    fn may_have_lost(&self, seen: Seen) -> bool {
        let starts = &self.log.view_starts;
        let Ok(at) = starts.binary_search_by_key(&seen.view.view, |(view, _)| *view) else {
            return true;
        };
        let next = starts.get(at + 1).map(|(_, first)| *first);
        let through = next.map_or(self.log.tip.index, |first| Index(first.0 - 1));
        seen.index > through
    }

    /// Whether no session has this id, for certain and for good. Asked of a serving primary, on behalf
    /// of a client that has seen no higher view than this replica (rule R7, checked before).
    ///
    /// A session's id is the index of the entry that opened it, which gives three cases:
    /// - Applied here, hence committed, hence at the same index in the log of every primary to come in
    ///   this data epoch (S5): if the session is not in the table it was never opened, or has ended,
    ///   and no later entry can open it. This stays true even if this replica was deposed and does
    ///   not know it yet. (A forced takeover may use an index again, in a higher data epoch.)
    /// - Ordered and not applied: it may be about to be opened. Not certain.
    /// - Beyond the log's end: nobody was told of such a session in a view up to this one, since a
    ///   serving primary has applied all that was answered in lower views, and all that it answered
    ///   itself. Who was told of it in a higher view has seen that view, and was sent away before.
    fn is_session_unknown(&self, session: u64) -> bool {
        session > self.log.tip.index.0 || self.state.is_session_gone(session)
    }

    /// Whether it is known that a command was not executed yet. `session` is the one that was looked up last, if it is open,
    /// with the number of its next request: many requests in a row are often of one session.
    fn is_new(&self, request: &CommandRequest<'_>, session: &mut Option<(u64, u64)>) -> bool {
        if session.is_none_or(|(id, _)| id != request.session) {
            let next = self.state.next_sequence(request.session);
            *session = next.map(|next| (request.session, next));
        }
        session.is_some_and(|(_, next)| request.sequence >= next)
    }

    /// Answers a command whose outcome is certain without an entry, if it is: strangers who make
    /// sessions up must not fill the log, and a repeat need not wait. Everything else is decided when
    /// it is applied (`protocol.md` section 9): a gap may be filled by what is ordered already, and a
    /// session in the table may be closed by it or expire.
    ///
    /// If the session is unknown, this sending of the command is never executed; whether an earlier
    /// one was, in a session that has ended since, the client judges as it would after an entry. A
    /// kept reply is the only one that this command can ever have (S11). It was committed, and
    /// before a Join that may have landed is asked, the spare has all that was (rule R1), so it may
    /// leave whoever is the backup by now. If the session is due to expire by logged time, the
    /// reply is as true as the error would be.
    fn is_decided(&mut self, waiter: Waiter, request: &CommandRequest<'_>) -> bool {
        let from = self.answers.bytes().len();
        let kept = self.state.kept_reply(request.session, request.sequence);
        let status = match kept {
            Err(_) if self.is_session_unknown(request.session) => ReplyStatus::SessionUnknown,
            Err(_) | Ok(None) => return false,
            Ok(Some(KeptOutcome::Reply(reply))) => {
                self.answers.bytes().extend_from_slice(reply);
                ReplyStatus::Done
            }
            Ok(Some(KeptOutcome::Skipped(index))) => {
                self.answers.bytes().extend_from_slice(&index.to_le_bytes());
                ReplyStatus::Skipped
            }
        };
        self.push_answer(waiter, status, None, from);
        true
    }

    /// Never, unless a test has planted that bug.
    fn is_refused(&self, session: u64) -> bool {
        let begun = self.log.view_starts.last();
        self.planted.has(Bug::OldSessionRefused) && begun.is_some_and(|(_, at)| session < at.0)
    }

    pub(crate) fn is_serving(&self) -> bool {
        matches!(&self.role, Role::Primary(primary) if primary.is_serving())
    }

    fn has_queue_room(&self) -> bool {
        let has_room = matches!(&self.role, Role::Primary(primary) if primary.has_queue_room());
        has_room && self.ready.has_room()
    }

    /// Answers a query, unless it is one that the primary must confirm first.
    fn on_query(
        &mut self,
        waiter: Waiter,
        request: &QueryRequest<'_>,
        count: usize,
        has_queue_room: bool,
    ) -> Option<Query> {
        if request.bytes.len() > COMMAND_BYTES_MAX {
            self.refuse_size(waiter, "query");
        } else if request.consistency == Consistency::Stale {
            self.answer_stale(waiter, request.bytes, count);
        } else if !self.is_serving() {
            self.answer_hint(waiter, ReplyStatus::NotPrimary);
        } else if !has_queue_room {
            self.answer(waiter, ReplyStatus::Overloaded, b"");
        } else {
            return Some(Query {
                waiter,
                consistency: request.consistency,
                count,
                bytes: request.bytes.to_vec(),
            });
        }
        None
    }

    /// Answers from the state as it is, whatever this replica is.
    fn answer_stale(&mut self, waiter: Waiter, query: &[u8], count: usize) {
        if self.state.is_poisoned() {
            return self.answer_hint(waiter, ReplyStatus::NotPrimary);
        }
        if matches!(self.role, Role::Quarantined) {
            let words = b"this replica is quarantined: its state may be wrong";
            return self.answer(waiter, ReplyStatus::Refused, words);
        }
        if self.is_log_outdated() {
            return self.answer_hint(waiter, ReplyStatus::NotPrimary);
        }
        self.answer_query(waiter, query, count, None);
    }

    pub(crate) fn answer_query(
        &mut self,
        waiter: Waiter,
        query: &[u8],
        count: usize,
        valid_until: Option<Instant>,
    ) {
        if self.is_answer_full() {
            return self.answer(waiter, ReplyStatus::Overloaded, b"");
        }
        if self.state.is_poisoned() {
            return self.answer_hint(waiter, ReplyStatus::NotPrimary);
        }
        let from = self.answers.bytes().len();
        match self.state.queries(query, count, self.answers.bytes()) {
            Ok(()) => self.push_answer(waiter, ReplyStatus::Done, valid_until, from),
            Err(words) => {
                let words = format!("the query made the machine fail: {words}");
                self.answer(waiter, ReplyStatus::Refused, words.as_bytes());
            }
        }
    }

    /// Whether requests are taken here: it serves, or holds them until it is clear who will.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        self.is_serving() || self.held.is_on()
    }

    /// Whether it serves with a backup, which has all that is answered.
    #[must_use]
    pub fn is_paired(&self) -> bool {
        self.is_serving() && !self.is_solo()
    }

    pub(crate) fn is_solo(&self) -> bool {
        matches!(&self.role, Role::Primary(primary) if primary.is_solo())
    }

    pub(crate) fn refuse_size(&mut self, waiter: Waiter, what: &str) {
        let words = format!("a {what} has at most {COMMAND_BYTES_MAX} bytes");
        self.answer(waiter, ReplyStatus::Refused, words.as_bytes());
    }

    /// Answers with the address of the primary, as far as it is known.
    pub(crate) fn answer_hint(&mut self, waiter: Waiter, status: ReplyStatus) {
        let hint = self.primary_address().unwrap_or_default();
        self.answer(waiter, status, hint.as_bytes());
    }

    pub(crate) fn answer(&mut self, waiter: Waiter, status: ReplyStatus, bytes: &[u8]) {
        let from = self.answers.bytes().len();
        self.answers.bytes().extend_from_slice(bytes);
        self.push_answer(waiter, status, None, from);
    }

    /// Adds an answer as of the present view and state, whose bytes were appended from `from` on.
    fn push_answer(
        &mut self,
        waiter: Waiter,
        status: ReplyStatus,
        valid_until: Option<Instant>,
        from: usize,
    ) {
        let head = AnswerHead {
            conn: waiter.conn,
            id: waiter.id,
            status,
            seen: Seen {
                view: self.adopted,
                index: self.state.applied(),
            },
            is_solo: self.is_solo(),
            valid_until,
        };
        self.answers.push(head, from);
    }

    /// Tells of the state as it was at one moment: now, or when its digest was last made. It is made beside the
    /// loop, and who asks meanwhile waits for it.
    pub(crate) fn on_inspect(&mut self, now: Instant, conn: ConnId) {
        if self.state.is_poisoned() {
            // There is nothing left to be told of.
            return self.actions.push_back(Action::CloseFollower(conn));
        }
        if let Some(known) = self.inspected.filter(|known| self.is_recent(known, now)) {
            return self.tell_inspected(conn, known);
        }
        if let Some((_, waiting)) = &mut self.inspecting {
            if waiting.len() < INSPECTORS_MAX && !waiting.contains(&conn) {
                waiting.push(conn);
            }
            return;
        }
        let image = self.state.capture();
        let inspecting = Inspected {
            at: now,
            applied: image.applied(),
            reply_digest: image.reply_digest().0,
            state_digest: 0, // not known yet
            sessions: image.session_count() as u64,
        };
        self.inspecting = Some((inspecting, vec![conn]));
        let image = SharedImage(Arc::new(image));
        self.actions.push_back(Action::Digest(image));
    }

    pub(crate) fn on_digested(&mut self, state_digest: u128) {
        let Some((inspecting, waiting)) = self.inspecting.take() else {
            return;
        };
        let known = Inspected {
            state_digest,
            ..inspecting
        };
        self.inspected = Some(known);
        for conn in waiting {
            self.tell_inspected(conn, known);
        }
    }

    fn tell_inspected(&mut self, conn: ConnId, known: Inspected) {
        let reply = InspectReply {
            name: self.config.identity.name.clone(),
            incarnation: self.config.identity.life.incarnation,
            standing: Standing {
                applied: known.applied,
                reply_digest: known.reply_digest,
                ..self.standing()
            },
            state_digest: known.state_digest,
            sessions: known.sessions,
        };
        self.actions
            .push_back(Action::Inspected(conn, Box::new(reply)));
    }

    /// Whether the state has not changed since, or may not be digested again yet. Only entries change it.
    fn is_recent(&self, snapshot: &Inspected, now: Instant) -> bool {
        let sessions = u32::try_from(self.state.session_count()).unwrap_or(u32::MAX);
        let pause = DIGEST_PAUSE + DIGEST_PAUSE_PER_SESSION * sessions;
        snapshot.applied == self.state.applied() || now < snapshot.at.plus(pause)
    }
}

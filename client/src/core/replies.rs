//! What a replica's reply means for the request it answers.

use standin_core::entry::Index;
use standin_core::message::{ADDRESS_BYTES_MAX, Refusal, Reply, ReplyStatus, Seen};
use standin_core::time::Instant;

use super::{Answer, ClientCore, ConnectionId, HINTS_MAX, WithoutRoom};
use crate::address::check_address;
use crate::error::{ClientError, Trouble};
use crate::requests::{Answered, Attempt, End, Work};

impl ClientCore {
    pub(super) fn on_reply(&mut self, now: Instant, connection: ConnectionId, reply: Reply<'_>) {
        match &mut self.link {
            Some(link) if link.connection == connection => {
                link.heard = now;
                link.owed_since = None;
            }
            _ => return,
        }
        // A reply to what was given up since, or to an earlier sending, finds nothing here.
        let Some(answered) = self.requests.answered(reply.id) else {
            return;
        };
        let (Answered::Opening(attempt) | Answered::Request(_, attempt)) = answered;
        if self.is_older_than_seen(&reply, attempt) {
            if let (Answered::Request(at, _), true) = (&answered, may_have_executed(reply.status)) {
                self.requests.at(*at).outcome_lost();
            }
            self.abandon(|address| Trouble::OlderState { address });
            self.finder.put_off_later(now, &mut self.random);
            return;
        }
        if reply.status == ReplyStatus::AnswerLost {
            return self.on_answer_lost(now, reply.seen);
        }
        self.note_seen(&reply);
        match answered {
            Answered::Opening(_) => self.on_session_reply(now, reply),
            Answered::Request(at, _) => self.on_request_reply(now, at, reply),
        }
    }

    /// Rule R7. The index is held against what was sent along with this very request: answers to
    /// requests that were in flight together may come in any order.
    fn is_older_than_seen(&self, reply: &Reply<'_>, attempt: Attempt) -> bool {
        let is_same_epoch = reply.seen.view.data_epoch == attempt.seen.view.data_epoch;
        let is_index_lower = is_same_epoch && reply.seen.index < attempt.seen.index;
        reply.seen.view < self.seen.view || (is_outcome(reply.status) && is_index_lower)
    }

    fn note_seen(&mut self, reply: &Reply<'_>) {
        let is_same_epoch = reply.seen.view.data_epoch == self.seen.view.data_epoch;
        if is_outcome(reply.status) {
            let index = if is_same_epoch {
                self.seen.index.max(reply.seen.index)
            } else {
                reply.seen.index
            };
            self.seen = Seen {
                view: reply.seen.view,
                index,
            };
            let link = self.link.as_mut().expect("the reply came on it");
            link.view = link.view.max(reply.seen.view);
            self.last_primary = Some((link.address.clone(), link.view));
            self.finder.succeeded();
            self.hints = 0;
        } else if is_same_epoch {
            // A refusal proves a view, but says nothing of how far the new view's log goes.
            self.seen.view = reply.seen.view;
        }
    }

    /// An operator forced a takeover, and the last answer that this client has may not be in the log that
    /// goes on. Every request ends, so that its sender hears of it; then the client goes on from what it was
    /// told now. Its session is given up: there, its number may be another client's.
    fn on_answer_lost(&mut self, now: Instant, goes_on_from: Seen) {
        let seen = std::mem::replace(&mut self.seen, goes_on_from);
        self.abandon(|address| Trouble::AnswerLost { address });
        while !self.requests.is_empty() {
            self.fail(now, 0, Some(ClientError::AnswerLost { seen }));
        }
        self.requests.session_gone();
    }

    fn on_session_reply(&mut self, now: Instant, reply: Reply<'_>) {
        match reply.status {
            ReplyStatus::Done => {
                let id = reply.bytes.try_into().map(u64::from_le_bytes);
                if !id.is_ok_and(|id| self.requests.session_opened(id)) {
                    self.abandon(|address| Trouble::ConnectionRefused {
                        address,
                        refusal: Refusal::Protocol,
                    });
                    self.finder.put_off_later(now, &mut self.random);
                }
            }
            ReplyStatus::NotPrimary => {
                self.follow(now, reply, |address| Trouble::NotPrimary { address })
            }
            ReplyStatus::OutcomeUnknown => {
                self.follow(now, reply, |address| Trouble::RoleLost { address })
            }
            ReplyStatus::Refused => {
                while let Some(at) = self.requests.first_without_number() {
                    let reason = words(reply.bytes);
                    self.fail(now, at, Some(ClientError::Refused { reason }));
                }
            }
            ReplyStatus::NoRoom if self.without_room == WithoutRoom::Fail => {
                while let Some(at) = self.requests.first_without_number() {
                    let words = words(reply.bytes);
                    self.fail(now, at, Some(ClientError::NoRoom { words }));
                }
            }
            ReplyStatus::NoRoom => {
                self.trouble = self.no_room(&reply);
                self.requests.put_off_opening(now, &mut self.random);
            }
            ReplyStatus::Overloaded
            | ReplyStatus::SessionUnknown
            | ReplyStatus::SequenceGap
            | ReplyStatus::SequenceAcknowledged
            | ReplyStatus::AnswerLost
            | ReplyStatus::Skipped => {
                self.trouble = Trouble::Overloaded {
                    address: self.link_address(),
                };
                self.requests.put_off_opening(now, &mut self.random);
            }
        }
    }

    fn on_request_reply(&mut self, now: Instant, at: usize, reply: Reply<'_>) {
        match reply.status {
            ReplyStatus::Done => self.answer(at, reply),
            ReplyStatus::NotPrimary => {
                self.follow(now, reply, |address| Trouble::NotPrimary { address })
            }
            ReplyStatus::OutcomeUnknown => {
                self.requests.at(at).outcome_lost();
                self.follow(now, reply, |address| Trouble::RoleLost { address });
            }
            ReplyStatus::SessionUnknown => self.on_session_unknown(now, at),
            ReplyStatus::SequenceGap => self.on_gap(now, at),
            ReplyStatus::SequenceAcknowledged => {
                self.trouble = Trouble::OutcomeForgotten {
                    address: self.link_address(),
                };
                self.requests.at(at).outcome_lost();
                self.fail(now, at, None);
            }
            ReplyStatus::Skipped => self.on_skipped(at, reply),
            ReplyStatus::Refused => {
                let reason = words(reply.bytes);
                self.fail(now, at, Some(ClientError::Refused { reason }));
            }
            // One that may have been executed before is asked for again: its reply may be kept.
            ReplyStatus::NoRoom
                if self.without_room == WithoutRoom::Fail
                    && !self.requests.at(at).is_possibly_executed() =>
            {
                let words = words(reply.bytes);
                self.fail(now, at, Some(ClientError::NoRoom { words }));
            }
            ReplyStatus::NoRoom => {
                self.trouble = self.no_room(&reply);
                self.requests.at(at).put_off(now, &mut self.random);
            }
            // An answer that is lost was looked at before.
            ReplyStatus::Overloaded | ReplyStatus::AnswerLost => {
                self.trouble = Trouble::Overloaded {
                    address: self.link_address(),
                };
                self.requests.at(at).put_off(now, &mut self.random);
            }
        }
    }

    fn no_room(&self, reply: &Reply<'_>) -> Trouble {
        Trouble::NoRoom {
            address: self.link_address(),
            words: words(reply.bytes),
        }
    }

    fn answer(&mut self, at: usize, reply: Reply<'_>) {
        let pending = self.requests.finish(at, End::Answered);
        let answer = Answer {
            bytes: reply.bytes.to_vec(),
            seen: reply.seen,
            is_solo: reply.is_solo,
            attempts: pending.attempts,
        };
        self.complete(pending.request.id, Ok(answer));
    }

    /// The command's number was used up by it, and that nothing came of it is as certain as an answer.
    fn on_skipped(&mut self, at: usize, reply: Reply<'_>) {
        let index = reply.bytes.try_into().map(u64::from_le_bytes);
        let entry = index.map_or(reply.seen.index, Index);
        let pending = self.requests.finish(at, End::Answered);
        self.complete(pending.request.id, Err(ClientError::Skipped { entry }));
    }

    /// Goes where a replica that does not serve points, or asks the view service.
    fn follow(&mut self, now: Instant, reply: Reply<'_>, trouble: impl FnOnce(String) -> Trouble) {
        let hint = str::from_utf8(reply.bytes).ok();
        let is_elsewhere = |hint: &&str| *hint != self.link_address();
        let hint = hint
            .filter(|hint| hint.len() <= ADDRESS_BYTES_MAX && check_address(hint).is_ok())
            .filter(is_elsewhere)
            .map(str::to_owned);
        self.abandon(trouble);
        match hint {
            Some(address) if self.hints < HINTS_MAX => {
                self.hints += 1;
                self.connect(now, address, reply.seen.view);
            }
            // The view service may name the very replica that has just declined: never at once.
            _ => self.finder.put_off_later(now, &mut self.random),
        }
    }

    /// The session is gone. If this very request can't have been executed in it, it is sent again in
    /// a new one; otherwise nobody knows any more.
    fn on_session_unknown(&mut self, now: Instant, at: usize) {
        self.trouble = Trouble::SessionExpired;
        if self.requests.at(at).is_possibly_executed() {
            self.fail(now, at, None);
        } else if self.requests.at(at).request.work == Work::CloseSession {
            self.requests.session_gone();
        } else {
            self.requests.renumber(at);
            self.requests.at(at).put_off(now, &mut self.random);
        }
    }

    fn on_gap(&mut self, now: Instant, at: usize) {
        if self.requests.is_behind_another(at) {
            // The one before it was put off, so this one arrived out of turn.
            self.requests.at(at).put_off(now, &mut self.random);
        } else if self.requests.at(at).is_possibly_executed() {
            self.trouble = Trouble::OutcomeForgotten {
                address: self.link_address(),
            };
            self.fail(now, at, None);
        } else if self.requests.is_in_current_session(at) {
            self.requests.renumber(at);
            let reason = "its sequence number is not the next in its session".to_owned();
            self.fail(now, at, Some(ClientError::Refused { reason }));
        } else {
            // Its session ended at a request before it whose outcome is unknown.
            self.requests.renumber(at);
            self.requests.at(at).put_off(now, &mut self.random);
        }
    }

    fn link_address(&self) -> String {
        let link = self.link.as_ref().expect("a reply came on it");
        link.address.clone()
    }
}

/// Whether a reply with this status tells what became of an entry, or what the state was.
fn is_outcome(status: ReplyStatus) -> bool {
    matches!(status, ReplyStatus::Done | ReplyStatus::Skipped)
}

/// Whether a reply with this status, if it is not to be believed, leaves open what happened.
fn may_have_executed(status: ReplyStatus) -> bool {
    match status {
        ReplyStatus::Done | ReplyStatus::OutcomeUnknown | ReplyStatus::SequenceAcknowledged => true,
        ReplyStatus::NotPrimary
        | ReplyStatus::SessionUnknown
        | ReplyStatus::SequenceGap
        | ReplyStatus::Refused
        | ReplyStatus::Overloaded
        | ReplyStatus::AnswerLost
        | ReplyStatus::NoRoom
        | ReplyStatus::Skipped => false,
    }
}

/// Most characters of a replica's words.
const WORDS_MAX: usize = 400;

/// A refusal's words, as text that fits on a line.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(WORDS_MAX)
        .collect();
    if text.is_empty() {
        "no reason was given".to_owned()
    } else {
        text
    }
}

//! The answers of a replica: what leaves, and what the checkers see of it.

use standin_core::conn::ConnId;
use standin_core::frame::Frame;
use standin_core::message::{Reply, ReplyStatus, encode_replies};
use standin_core::planted::Bug;
use standin_core::time::Now;
use standin_replica::RequestBody;

use super::Node;
use crate::simulate::fact::{Answered, Asked, Fact};
use crate::simulate::stage::Stage;
use crate::simulate::watched::Subject;

impl<M: Subject> Node<M> {
    pub(super) fn send_answers(&mut self, stage: &mut Stage<'_, M>, now: Now) {
        if self.answers.is_empty() {
            self.replica.take_answers(&mut self.answers);
        }
        if self.answers.is_empty() {
            return;
        }
        let answers = std::mem::take(&mut self.answers);
        if let Err(what) = self.bounds.look_at_answers(&answers) {
            stage
                .checks
                .fail("L5", format!("host {}: {what}", stage.host));
        }
        let standing = self.replica.standing();
        let has_lease = self.has_lease(now);
        let mut leaving: Vec<(ConnId, Reply<'_>)> = Vec::new();
        for (answer, reply) in answers.iter() {
            stage.stall();
            // The state was read before; only now does the clock say whether the lease still held.
            let read_at = match stage.read_clock_again().boot {
                _ if self.plan.planted.has(Bug::LooksBeforeInput) => now.boot,
                read_at => read_at,
            };
            let is_late = answer.valid_until.is_some_and(|until| read_at >= until);
            let reply = if is_late {
                Reply {
                    status: ReplyStatus::Overloaded,
                    bytes: &[],
                    ..reply
                }
            } else {
                reply
            };
            self.watch_refusals(stage, reply.status == ReplyStatus::NoRoom);
            if let Some((asked, query)) = self.asked.remove(&(answer.conn, answer.id)) {
                stage.saw(&Fact::Answered(Answered {
                    host: stage.host,
                    asked,
                    query: &query,
                    status: reply.status,
                    seen: reply.seen,
                    bytes: reply.bytes,
                    standing,
                    has_lease,
                }));
            }
            leaving.push((answer.conn, reply));
        }
        for run in leaving.chunk_by(|(one, _), (next, _)| one == next) {
            send_run(stage, run);
        }
    }
}

/// Sends answers to one client as the frames that a replica sends.
fn send_run<M: Subject>(stage: &mut Stage<'_, M>, run: &[(ConnId, Reply<'_>)]) {
    let mut bytes = Vec::new();
    encode_replies(run.iter().map(|(_, reply)| *reply), &mut bytes);
    let mut rest = bytes.as_slice();
    while let Some(frame) = Frame::decode_again(rest) {
        let (one, after) = rest.split_at(frame.len());
        stage.send(run[0].0, |out| out.extend_from_slice(one));
        rest = after;
    }
}

pub(super) fn asked_of(body: &RequestBody<'_>) -> (Asked, Vec<u8>) {
    match body {
        RequestBody::Open(_) => (Asked::Open, Vec::new()),
        RequestBody::Close(_) => (Asked::Close, Vec::new()),
        RequestBody::Command(command) => {
            let (session, sequence) = (command.session, command.sequence);
            (Asked::Command { session, sequence }, Vec::new())
        }
        RequestBody::Direct(_) => (Asked::Direct, Vec::new()),
        RequestBody::Query(query) | RequestBody::Queries(query, _) => {
            (Asked::Read(query.consistency), query.bytes.to_vec())
        }
    }
}

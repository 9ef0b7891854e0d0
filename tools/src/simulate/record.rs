//! The history of all calls, as the clients saw it.

use std::collections::BTreeMap;

use standin_core::entry::Index;
use standin_core::message::{Consistency, Seen};
use standin_core::view::DataEpoch;

use super::fact::{End, Fact};
use super::truth::is_given_up;
use super::watched::{Subject, split};
use crate::history::{Call, Limits, Outcome, Registers, Verdict, check_within};

/// Work that judging the history of one run may take.
const LIMITS: Limits = Limits {
    steps_max: 50_000_000,
    configurations_max: 100_000,
};

/// A call and how it ended.
#[derive(Clone, Debug)]
struct Recorded {
    client: u64,
    called: u64,
    input: Vec<u8>,
    asked: Option<Consistency>,
    end: Recall,
    /// From which state it was answered.
    seen: Option<Seen>,
}

#[derive(Clone, Debug)]
enum Recall {
    Open,
    Answered(u64, Vec<u8>),
    NotExecuted,
    Unknown,
    /// Answered, or said not to be executed, in what an operator has given up since.
    Lost,
}

/// Keeps the history. Its clock numbers the calls and returns.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    calls: BTreeMap<u64, Recorded>,
    clock: u64,
    /// The data epochs that operators have begun, and the last answered entry that each of them kept.
    kept: Vec<(DataEpoch, Index)>,
}

impl Recorder {
    /// An operator forces a takeover, and loses what was answered after `kept`.
    pub(crate) fn accept_loss(&mut self, data_epoch: DataEpoch, kept: Index) {
        self.kept.push((data_epoch, kept));
        let kept = &self.kept;
        for call in self.calls.values_mut() {
            let is_lost = match call.end {
                Recall::Answered(..) => call.seen.is_some_and(|seen| is_given_up(kept, &seen)),
                // So its session may have said, which has come back to an earlier state.
                Recall::NotExecuted => true,
                Recall::Open | Recall::Unknown | Recall::Lost => false,
            };
            if is_lost {
                call.end = Recall::Lost;
            }
        }
    }

    pub(crate) fn look(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Called {
                call,
                client,
                input,
                asked,
            } => {
                self.clock += 1;
                let recorded = Recorded {
                    client: *client as u64,
                    called: self.clock,
                    input: input.to_vec(),
                    asked: *asked,
                    end: Recall::Open,
                    seen: None,
                };
                self.calls.insert(*call, recorded);
            }
            Fact::Returned { call, end } => {
                self.clock += 1;
                if let Some(recorded) = self.calls.get_mut(call) {
                    recorded.end = match end {
                        End::Answered(_, seen) if is_given_up(&self.kept, seen) => Recall::Lost,
                        End::Answered(bytes, _) => Recall::Answered(self.clock, bytes.to_vec()),
                        End::NotExecuted => Recall::NotExecuted,
                        End::Unknown => Recall::Unknown,
                    };
                    if let End::Answered(_, seen) = end {
                        recorded.seen = Some(*seen);
                    }
                }
            }
            _ => {}
        }
    }

    /// Commands that were answered, and those that their clients were told were not executed.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (u64, bool)> + '_ {
        let commands = self.calls.iter().filter(|(_, call)| call.asked.is_none());
        commands.filter_map(|(number, call)| match call.end {
            Recall::Answered(..) => Some((*number, true)),
            Recall::NotExecuted => Some((*number, false)),
            Recall::Open | Recall::Unknown | Recall::Lost => None,
        })
    }

    /// How many calls were answered, and how many were not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let answered = self.calls.values();
        let answered = answered.filter(|call| matches!(call.end, Recall::Answered(..)));
        let answered = answered.count() as u64;
        (answered, self.calls.len() as u64 - answered)
    }

    /// Judges the history of those calls that are calls to registers, without a look at the log.
    pub(crate) fn judge<M: Subject>(&self, are_leases_sound: bool) -> Verdict {
        let mut calls = Vec::new();
        for call in self.calls.values() {
            let is_query = call.asked.is_some();
            let is_promised = match call.asked {
                None | Some(Consistency::Confirmed) => true,
                Some(Consistency::Lease) => are_leases_sound,
                Some(Consistency::Stale) => false,
            };
            let input = if is_query {
                Some(call.input.as_slice())
            } else {
                split(&call.input).map(|(_, bytes)| bytes)
            };
            let (Some(input), true) = (input, is_promised) else {
                continue;
            };
            let reply = match &call.end {
                Recall::Answered(_, bytes) => Some(bytes.as_slice()),
                Recall::NotExecuted => continue,
                // A read without an outcome says nothing.
                Recall::Open | Recall::Unknown | Recall::Lost if is_query => continue,
                Recall::Open | Recall::Unknown | Recall::Lost => None,
            };
            let Some((input, output)) = M::as_register(input, is_query, reply) else {
                continue;
            };
            let outcome = match (&call.end, output) {
                (Recall::Answered(at, _), Some(output)) => Outcome::Answered { at: *at, output },
                _ => Outcome::Unknown,
            };
            calls.push(Call {
                client: call.client,
                called: call.called,
                input,
                outcome,
            });
        }
        check_within(&Registers::<u64, u64>::new(), &calls, LIMITS)
    }
}

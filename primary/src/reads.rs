//! Confirmed reads: a read is answered only after proof that this was still the primary when it came
//! (`protocol.md` section 5).

use std::collections::VecDeque;

use standin_core::entry::Index;
use standin_core::message::Consistency;
use standin_core::planted::Bug;
use standin_core::time::Instant;

use crate::follower::Phase;
use crate::gate::Gate;
use crate::primary::{Action, Primary, Query};

#[derive(Clone, Debug)]
struct WaitingRead {
    query: Query,
    /// The backup must acknowledge a message of at least this round. `None`: no message that was
    /// sent after the read came has been assigned yet.
    round: Option<u64>,
    /// The commit index when the read came.
    at: Index,
}

/// Reads that wait to be confirmed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    waiting: VecDeque<WaitingRead>,
    /// Bytes of the queries in `waiting`.
    bytes: usize,
}

/// What confirms reads at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Confirmation {
    /// Nobody else can have become primary (solo, lease held).
    Solo,
    /// The gate's follower has acknowledged this round.
    Round {
        /// The highest round acknowledged.
        acked: u64,
        /// Whether the lease is held, which serves lease reads.
        lease_is_held: bool,
    },
    /// Nothing does.
    None,
}

impl Reads {
    pub(crate) fn count(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, query: Query, at: Index) {
        self.bytes += query.bytes.len();
        self.waiting.push_back(WaitingRead {
            query,
            round: None,
            at,
        });
    }

    /// Assigns `round`, the next one to be sent, to the reads that have none; says whether there
    /// were any, so that it must be sent.
    pub(crate) fn assign_round(&mut self, round: u64) -> bool {
        let mut is_needed = false;
        for read in self.waiting.iter_mut().rev() {
            if read.round.is_some() {
                break;
            }
            read.round = Some(round);
            is_needed |= read.query.consistency == Consistency::Confirmed;
        }
        is_needed
    }

    /// The gate changed: what other followers acknowledged proves nothing any more.
    pub(crate) fn forget_rounds(&mut self) {
        for read in &mut self.waiting {
            read.round = None;
        }
    }

    /// Takes the reads that may be answered from a state with `applied`.
    pub(crate) fn take_ready(
        &mut self,
        confirmation: Confirmation,
        applied: Index,
        ready: &mut Vec<Query>,
    ) {
        let is_ready = |read: &WaitingRead| {
            let is_confirmed = match confirmation {
                Confirmation::Solo => true,
                Confirmation::Round {
                    acked,
                    lease_is_held,
                } => {
                    (read.query.consistency == Consistency::Lease && lease_is_held)
                        || read.round.is_some_and(|round| round <= acked)
                }
                Confirmation::None => false,
            };
            is_confirmed && read.at <= applied
        };
        while self.waiting.front().is_some_and(is_ready) {
            let mut read = self.waiting.pop_front().expect("the front was looked at");
            self.bytes -= read.query.bytes.len();
            if let (Confirmation::Round { acked, .. }, Some(round)) = (confirmation, read.round)
                && round <= acked
            {
                // Nothing rests on the lease, which may have lapsed long ago in a pair that the view
                // service cannot reach.
                read.query.consistency = Consistency::Confirmed;
            }
            ready.push(read.query);
        }
    }

    /// Takes all: this is no primary any more.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Query> + '_ {
        self.bytes = 0;
        self.waiting.drain(..).map(|read| read.query)
    }
}

impl Primary {
    pub(crate) fn on_reads(&mut self, queries: Vec<Query>) {
        for query in queries {
            self.reads.push(query, self.commit);
        }
    }

    /// One round for all reads that came since the last message to the gate's follower.
    pub(crate) fn send_read_round(&mut self, now: Instant) {
        let Some(gate) = self.gate_follower() else {
            return;
        };
        let (conn, round, phase) = (gate.conn, gate.round_sent + 1, gate.phase);
        if self.reads.assign_round(round) && phase == Phase::Streaming {
            self.send_nothing(conn, now);
        }
    }

    pub(crate) fn confirm_reads(&mut self, now: Instant) {
        if !self.is_active() {
            return;
        }
        let lease_is_held = self.is_lease_held(now) || self.planted.has(Bug::LeaseUnwatched);
        let confirmation = match &self.gate {
            _ if self.is_alone_without_lease(now) => Confirmation::None,
            _ if self.planted.has(Bug::ReadsUnconfirmed) => Confirmation::Solo,
            Gate::Solo => Confirmation::Solo,
            Gate::Paired { .. } | Gate::Joining(_) => {
                let acked = self
                    .gate_follower()
                    .map_or(0, |follower| follower.round_acked);
                Confirmation::Round {
                    acked,
                    lease_is_held,
                }
            }
        };
        let mut ready = Vec::new();
        self.reads
            .take_ready(confirmation, self.applied, &mut ready);
        if !ready.is_empty() {
            self.actions.push_back(Action::Answer(ready));
        }
    }
}

#[cfg(test)]
mod tests {
    use standin_core::conn::ConnId;

    use super::*;
    use crate::primary::Waiter;

    fn taken(acked: u64, lease_is_held: bool) -> Vec<Consistency> {
        let mut reads = Reads::default();
        let waiter = Waiter {
            conn: ConnId(1),
            id: 1,
        };
        let query = Query {
            count: 1,
            waiter,
            consistency: Consistency::Lease,
            bytes: Vec::new(),
        };
        reads.push(query, Index::ZERO);
        reads.assign_round(1);
        let confirmation = Confirmation::Round {
            acked,
            lease_is_held,
        };
        let mut ready = Vec::new();
        reads.take_ready(confirmation, Index::ZERO, &mut ready);
        ready.into_iter().map(|query| query.consistency).collect()
    }

    #[test]
    fn a_lease_read_that_the_backup_has_confirmed_does_not_rest_on_the_lease() {
        assert_eq!(taken(0, false), []);
        assert_eq!(taken(0, true), [Consistency::Lease]);
        assert_eq!(taken(1, false), [Consistency::Confirmed]);
        assert_eq!(taken(1, true), [Consistency::Confirmed]);
    }
}

//! Reads that are confirmed, and wait for their turn to be done.
//!
//! What one event confirms may be more than its answers may be together, or take longer than a replica may be silent.
//! So reads are done in portions: clients come in turn, and what is left waits for the next event. A read is as good
//! then: whoever was confirmed to be primary after it came, and still is for all it knows, answers with what was
//! committed before anybody else could become primary (`protocol.md` section 5; the lease's own reads, and all of a
//! primary that is alone, are held against the lease as they are done).

use standin_core::conn::ConnId;
use standin_core::machine::StateMachine;
use standin_core::message::{Consistency, ReplyStatus};
use standin_core::planted::Bug;
use standin_core::time::Instant;
use standin_core::turns::Turns;
use standin_primary::{Query, READS_BYTES_MAX, READS_MAX};

use crate::pace::slice_of;
use crate::replica::Replica;

/// Reads of one client that are done before another one has its turn.
const READS_PER_TURN: usize = 16;
/// Bytes of answers after which another one has its turn.
const BYTES_PER_TURN: usize = 64 << 10;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadyReads {
    turns: Turns<ConnId, Query>,
    count: usize,
    bytes: usize,
    /// The time of the wake-up in which they took as long as they may.
    sated_at: Option<Instant>,
}

impl ReadyReads {
    pub(crate) fn push(&mut self, query: Query) {
        self.count += 1;
        self.bytes += query.bytes.len();
        self.turns.push(query.waiter.conn, query);
    }

    fn next_of(&mut self, conn: ConnId) -> Option<Query> {
        let query = self.turns.next_of(conn)?;
        self.count -= 1;
        self.bytes -= query.bytes.len();
        Some(query)
    }

    fn forget(&mut self, conn: ConnId) {
        for query in self.turns.take_all(conn) {
            self.count -= 1;
            self.bytes -= query.bytes.len();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are, and the bytes of their queries.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.count, self.bytes)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.count < READS_MAX && self.bytes < READS_BYTES_MAX
    }
}

impl<M: StateMachine> Replica<M> {
    /// Has a clock read while work is being done that may take long: what takes more than a fiftieth of a lease term is
    /// put off to the next event. Nothing but that depends on it. Without one, as in simulations, all takes no time.
    pub fn set_work_clock(&mut self, clock: fn() -> Instant) {
        self.work_clock = clock;
    }

    /// Does the reads whose turn it is; those of connections that are not `there` any more are dropped. Also done by
    /// [`Replica::take_answers`], which takes all for being there.
    pub fn answer_reads(&mut self, is_there: impl Fn(ConnId) -> bool) {
        if self.ready.is_empty() || self.ready.sated_at == Some(self.pace.since()) {
            return;
        }
        let until = (self.work_clock)().plus(slice_of(self.term()));
        while let Some(conn) = self.ready.turns.begin_turn() {
            if !is_there(conn) {
                self.ready.forget(conn);
                continue;
            }
            let is_over = self.take_turn(conn, until);
            self.ready.turns.end_turn(conn);
            if is_over {
                return;
            }
        }
    }

    /// Does some reads of a connection. Whether no more may be done for now.
    fn take_turn(&mut self, conn: ConnId, until: Instant) -> bool {
        let bytes_before = self.answers.bytes_count();
        for _ in 0..READS_PER_TURN {
            if self.is_answer_full() {
                return true;
            }
            let Some(query) = self.ready.next_of(conn) else {
                return false;
            };
            self.read(&query);
            if (self.work_clock)() >= until {
                self.ready.sated_at = Some(self.pace.since());
                return true;
            }
            if self.answers.bytes_count() - bytes_before >= BYTES_PER_TURN {
                return false;
            }
        }
        false
    }

    fn read(&mut self, query: &Query) {
        if !self.is_serving() {
            return self.answer_hint(query.waiter, ReplyStatus::NotPrimary);
        }
        let rests_on_lease = query.consistency == Consistency::Lease || self.is_solo();
        let valid_until = match self.dialog.lease.until(self.adopted) {
            _ if !rests_on_lease || self.planted.has(Bug::LeaseUnwatched) => None,
            None => return self.answer(query.waiter, ReplyStatus::Overloaded, b""),
            until => until,
        };
        self.answer_query(query.waiter, &query.bytes, query.count, valid_until);
    }
}

//! Requests that cannot be judged before a store in progress is done.

use std::collections::VecDeque;

use standin_core::conn::ConnId;
use standin_core::mark::Fatal;
use standin_core::message::{Force, Poisoned, REPLICAS_MAX, Report, Swap, TokenDead};

/// Most requests that wait for a store in progress. Beyond it a swap and a Force are turned away and
/// anything else is dropped; all are asked again.
pub const WAITING_MAX: usize = 2 * REPLICAS_MAX;

/// A request that waits.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// A report of a replica that the stored state does not know yet.
    Report(Box<Report>),
    /// A swap.
    Swap(Box<Swap>),
    /// An operator's Force.
    Force(Box<Force>),
    /// The word that a token is dead.
    TokenDead(TokenDead),
    /// The word that a machine has failed.
    Poisoned(Box<Poisoned>),
    /// The word that processes died at an entry.
    Fatal(Box<Fatal>),
}

/// Waiting requests, oldest first.
///
/// Invariant: at most one of each connection, and at most [`WAITING_MAX`].
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitingLine {
    line: VecDeque<(ConnId, Request)>,
}

impl WaitingLine {
    /// Takes in a request; returns it if it is one too many. A report replaces an earlier one.
    pub(crate) fn push(&mut self, conn: ConnId, request: Request) -> Option<Request> {
        let slot = self.line.iter().position(|(waiting, _)| *waiting == conn);
        match slot {
            None if self.line.len() < WAITING_MAX => {
                self.line.push_back((conn, request));
                None
            }
            Some(at) if self.line[at].1.is_report() && request.is_report() => {
                self.line[at].1 = request;
                None
            }
            Some(_) | None => Some(request),
        }
    }

    /// The oldest request.
    pub(crate) fn pop(&mut self) -> Option<(ConnId, Request)> {
        self.line.pop_front()
    }

    /// Drops what a connection waits for.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.line.retain(|(waiting, _)| *waiting != conn);
    }
}

impl Request {
    fn is_report(&self) -> bool {
        matches!(self, Self::Report(_))
    }
}

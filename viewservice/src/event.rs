//! What goes into the decision core and what comes out.

use standin_core::conn::ConnId;
use standin_core::message::{
    LookupReply, Refusal, Release, Report, ReportReply, StatusReply, Swap, SwapReply,
};

use crate::stored::StoredState;

/// What can happen to a view service.
///
/// The id of a connection that was opened later is greater: of a replica's connections, the core
/// takes the latest for the living one.
#[derive(Clone, Debug)]
pub enum Event {
    /// A replica reports.
    Report {
        /// The connection it came on.
        conn: ConnId,
        /// The message.
        report: Box<Report>,
    },
    /// A replica asks for a swap of the record.
    Swap {
        /// The connection it came on.
        conn: ConnId,
        /// The message.
        swap: Box<Swap>,
    },
    /// A primary gives its lease back.
    Release {
        /// The connection it came on.
        conn: ConnId,
        /// The message.
        release: Box<Release>,
    },
    /// Somebody asks who is primary.
    Lookup {
        /// The connection it came on.
        conn: ConnId,
    },
    /// Somebody asks how everybody is.
    StatusRequest {
        /// The connection it came on.
        conn: ConnId,
    },
    /// A connection is gone. Closed or broken, it proves nothing about the process behind it.
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// The state of the last [`Action::Store`] is durable.
    Stored,
    /// The deadline has come.
    Deadline,
}

/// A message to a replica or a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a report, or news of the record.
    Report(ReportReply),
    /// To a swap.
    Swap(SwapReply),
    /// To a lookup.
    Lookup(LookupReply),
    /// To a status request.
    Status(StatusReply),
}

/// What a view service wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this; drop it if the connection is gone.
    Send {
        /// The connection.
        conn: ConnId,
        /// The message.
        answer: Answer,
    },
    /// Make this durable in place of what was stored before, then hand in [`Event::Stored`].
    /// If that fails, stop the process: what is on disk is then unknown.
    Store {
        /// What is to be stored.
        state: StoredState,
    },
    /// Say why, then close the connection. [`Event::Closed`] may follow and need not.
    Refuse {
        /// The connection.
        conn: ConnId,
        /// Why.
        refusal: Refusal,
    },
}

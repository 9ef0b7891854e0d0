//! What goes into the decision core and what comes out.

use standin_core::conn::ConnId;
use standin_core::frame::{Frame, FrameKind};
use standin_core::identity::ClusterId;
use standin_core::mark::Fatal;
use standin_core::message::{
    DecodeError, Died, DiedReply, Force, ForceReply, HistoryReply, HistoryRequest, Lookup,
    LookupReply, Message as _, Poisoned, Rebuild, Refusal, Release, Report, ReportReply,
    StatusReply, StatusRequest, Swap, SwapReply, TokenDead, TokenDeadReply, Witness,
};

use crate::history::History;
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
    /// A replica's disk failed, and a token with it.
    TokenDead {
        /// The connection it came on.
        conn: ConnId,
        /// The message.
        dead: TokenDead,
    },
    /// A replica's process has died, says its parent, which has reaped it.
    Died {
        /// The connection it came on.
        conn: ConnId,
        /// The message.
        died: Died,
    },
    /// An entry made the machine of a replica fail.
    Poisoned {
        /// The connection it came on.
        conn: ConnId,
        /// The message.
        poisoned: Box<Poisoned>,
    },
    /// Processes of a replica died at an entry.
    Fatal {
        /// The connection it came on.
        conn: ConnId,
        /// The message.
        fatal: Box<Fatal>,
    },
    /// A replica tells what it knows of the record, which is not here.
    Witness {
        /// The connection it came on.
        conn: ConnId,
        /// The message.
        witness: Box<Witness>,
    },
    /// An operator wants the lost record to be made again.
    Rebuild {
        /// The connection it came on.
        conn: ConnId,
        /// The message.
        rebuild: Box<Rebuild>,
    },
    /// Somebody was turned away who belongs to another cluster.
    Stranger {
        /// That cluster.
        cluster: ClusterId,
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
    /// Somebody asks which views there were.
    HistoryRequest {
        /// The connection it came on.
        conn: ConnId,
    },
    /// An operator wants a replica to be primary, whatever is lost by it.
    Force {
        /// The connection it came on.
        conn: ConnId,
        /// The message.
        force: Box<Force>,
    },
    /// A connection is gone. Closed or broken, it proves nothing about the process behind it.
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// The state of the last [`Action::Store`] is durable.
    Stored,
    /// There was no room for it: what was stored before stands, whole.
    NotStored {
        /// What the disk said, in words.
        why: String,
    },
    /// The deadline has come.
    Deadline,
}

/// Why a frame is nothing for a view service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The payload is not what the kind says.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Nobody, or not this side, may send such a message to a view service.
    #[error("a {0:?} message is nothing for a view service, or not from this side")]
    Kind(FrameKind),
}

impl Event {
    /// The event that a frame is. Only replicas report and ask for swaps.
    ///
    /// # Errors
    /// [`InputError`] if that side may not send it; the connection is then of no further use.
    pub fn from_frame(
        conn: ConnId,
        is_replica: bool,
        frame: &Frame<'_>,
    ) -> Result<Self, InputError> {
        Ok(match frame.kind {
            kind @ (FrameKind::Report
            | FrameKind::Swap
            | FrameKind::Release
            | FrameKind::TokenDead
            | FrameKind::Died
            | FrameKind::Witness
            | FrameKind::Poisoned
            | FrameKind::Fatal)
                if !is_replica =>
            {
                return Err(InputError::Kind(kind));
            }
            FrameKind::Report => Self::Report {
                conn,
                report: Box::new(Report::decode(frame)?),
            },
            FrameKind::Swap => Self::Swap {
                conn,
                swap: Box::new(Swap::decode(frame)?),
            },
            FrameKind::Release => Self::Release {
                conn,
                release: Box::new(Release::decode(frame)?),
            },
            FrameKind::TokenDead => Self::TokenDead {
                conn,
                dead: TokenDead::decode(frame)?,
            },
            FrameKind::Died => Self::Died {
                conn,
                died: Died::decode(frame)?,
            },
            FrameKind::Poisoned => {
                let poisoned = Poisoned::decode(frame)?;
                if !poisoned.is_bounded() {
                    return Err(DecodeError { kind: frame.kind }.into());
                }
                let poisoned = Box::new(poisoned);
                Self::Poisoned { conn, poisoned }
            }
            FrameKind::Fatal => {
                let fatal = Fatal::decode(frame)?;
                if !fatal.is_sound() {
                    return Err(DecodeError { kind: frame.kind }.into());
                }
                let fatal = Box::new(fatal);
                Self::Fatal { conn, fatal }
            }
            FrameKind::Witness => Self::Witness {
                conn,
                witness: Box::new(Witness::decode(frame)?),
            },
            FrameKind::Lookup => {
                Lookup::decode(frame)?;
                Self::Lookup { conn }
            }
            FrameKind::StatusRequest => {
                StatusRequest::decode(frame)?;
                Self::StatusRequest { conn }
            }
            FrameKind::HistoryRequest => {
                HistoryRequest::decode(frame)?;
                Self::HistoryRequest { conn }
            }
            kind @ (FrameKind::Force | FrameKind::Rebuild) if is_replica => {
                return Err(InputError::Kind(kind));
            }
            FrameKind::Rebuild => {
                let rebuild = Rebuild::decode(frame)?;
                if !rebuild.is_bounded() {
                    return Err(DecodeError { kind: frame.kind }.into());
                }
                let rebuild = Box::new(rebuild);
                Self::Rebuild { conn, rebuild }
            }
            FrameKind::Force => Self::Force {
                conn,
                force: Box::new(Force::decode(frame)?),
            },
            kind => return Err(InputError::Kind(kind)),
        })
    }
}

/// A message to a replica or a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a report, or news of the record.
    Report(ReportReply),
    /// To a swap.
    Swap(SwapReply),
    /// To the word that a token is dead.
    TokenDead(TokenDeadReply),
    /// To the word that a process has died.
    Died(DiedReply),
    /// To a lookup, or news of another primary.
    Lookup(LookupReply),
    /// To a status request.
    Status(StatusReply),
    /// To somebody who looks back.
    History(HistoryReply),
    /// To an operator.
    Force(ForceReply),
}

impl Answer {
    /// Appends the message as a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Report(reply) => reply.encode(out),
            Self::Swap(reply) => reply.encode(out),
            Self::TokenDead(reply) => reply.encode(out),
            Self::Died(reply) => reply.encode(out),
            Self::Lookup(reply) => reply.encode(out),
            Self::Status(reply) => reply.encode(out),
            Self::History(reply) => reply.encode(out),
            Self::Force(reply) => reply.encode(out),
        }
    }
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
    /// If there is no room for it, hand in [`Event::NotStored`]. If it fails otherwise, stop the process: what is on disk
    /// is then unknown.
    Store {
        /// What is to be stored.
        state: StoredState,
    },
    /// Keep this for people, in place of what was kept before, once all that is to be sent has left. Nothing rests
    /// on it and nothing is handed in for it: if it fails, say so and go on.
    KeepHistory {
        /// What is to be kept.
        history: History,
    },
    /// Say why, then close the connection. [`Event::Closed`] may follow and need not.
    Refuse {
        /// The connection.
        conn: ConnId,
        /// Why.
        refusal: Refusal,
    },
}

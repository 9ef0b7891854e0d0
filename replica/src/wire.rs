//! Between frames and decisions: what a frame of each side means, and how an action becomes one.
//!
//! Every shell goes this way, so that what one of them runs is what the other tests.

use standin_core::conn::ConnId;
use standin_core::frame::{Frame, FrameKind};
use standin_core::machine::StateMachine;
use standin_core::message::{
    Ack, CloseSession, CommandRequest, CommandRequests, DecodeError, DirectRequest, Entries,
    EntriesPiece, EntriesRead, Follow, HigherView, Inspect, Leave, Message, OpenSession,
    QueryRequest, QueryRequests, ReportReply, Resume, SnapshotOffer, SnapshotPiece, SnapshotRead,
    StateDigest, SwapReply, Switchover,
};
use standin_core::time::Now;
use standin_primary::Payload;

use crate::answers::RequestBody;
use crate::event::{Action, Event};
use crate::replica::Replica;

/// Who is at the other end of a connection that is no client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The view service, which this replica has called.
    ViewService,
    /// The primary, which this replica has called.
    Primary,
    /// A replica that has called this one.
    Follower,
}

/// Where the message that an action sends is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To the view service.
    ViewService,
    /// Over this connection.
    Conn(ConnId),
}

/// What a client's frame is.
#[derive(Clone, Debug)]
pub enum FromClient<'a> {
    /// A request.
    Request(RequestBody<'a>),
    /// Several commands of a session.
    Commands(CommandRequests<'a>),
    /// Several queries.
    Queries(QueryRequests<'a>),
    /// It asks for this replica's state ([`Event::Inspect`]).
    Inspect,
    /// It asks this replica to hand over ([`Event::Switchover`]).
    Switchover(Switchover),
}

impl<'a> FromClient<'a> {
    /// Each request in it, as it would be by itself.
    pub fn requests(&self) -> impl Iterator<Item = RequestBody<'a>> + use<'a> {
        let (one, commands, queries) = match *self {
            Self::Request(body) => (Some(body), None, None),
            Self::Commands(commands) => (None, Some(commands), None),
            Self::Queries(queries) => (None, None, Some(queries)),
            Self::Inspect | Self::Switchover(_) => (None, None, None),
        };
        let commands = commands.into_iter().flat_map(|several| several.iter());
        let queries = queries.into_iter().flat_map(|several| several.iter());
        let several = (commands.map(RequestBody::Command)).chain(queries.map(RequestBody::Query));
        one.into_iter().chain(several)
    }
}

/// What a client's frame is.
///
/// # Errors
/// [`DecodeError`] if it is nothing that a client may send.
pub fn client_frame<'a>(frame: &Frame<'a>) -> Result<FromClient<'a>, DecodeError> {
    Ok(FromClient::Request(match frame.kind {
        FrameKind::OpenSession => RequestBody::Open(OpenSession::decode(frame)?),
        FrameKind::CloseSession => RequestBody::Close(CloseSession::decode(frame)?),
        FrameKind::Command => RequestBody::Command(CommandRequest::decode(frame)?),
        FrameKind::Direct => RequestBody::Direct(DirectRequest::decode(frame)?),
        FrameKind::Query => RequestBody::Query(QueryRequest::decode(frame)?),
        FrameKind::Commands => {
            return CommandRequests::decode(frame).map(FromClient::Commands);
        }
        FrameKind::Queries => return QueryRequests::decode(frame).map(FromClient::Queries),
        FrameKind::Inspect => {
            Inspect::decode(frame)?;
            return Ok(FromClient::Inspect);
        }
        FrameKind::Switchover => return Switchover::decode(frame).map(FromClient::Switchover),
        kind => return Err(DecodeError { kind }),
    }))
}

impl<M: StateMachine> Replica<M> {
    /// Takes in a frame that came from `side` on `conn`. All actions of the event before must have
    /// been taken.
    ///
    /// # Errors
    /// [`DecodeError`] if that side may not send it; the connection is then of no further use.
    pub fn handle_frame(
        &mut self,
        now: Now,
        side: Side,
        conn: ConnId,
        frame: &Frame<'_>,
    ) -> Result<(), DecodeError> {
        match (side, frame.kind) {
            (Side::ViewService, FrameKind::ReportReply) => {
                self.handle(now, Event::ReportReply(&ReportReply::decode(frame)?));
            }
            (Side::ViewService, FrameKind::SwapReply) => {
                self.handle(now, Event::SwapReply(&SwapReply::decode(frame)?));
            }
            (Side::Primary, FrameKind::Entries) => {
                self.handle(now, Event::Entries(conn, &Entries::decode(frame)?));
            }
            (Side::Primary, FrameKind::Resume) => {
                let resume = Resume::decode(frame)?;
                if !resume.is_bounded() {
                    return Err(DecodeError { kind: frame.kind });
                }
                self.handle(now, Event::Resume(conn, &resume));
            }
            (Side::Primary, FrameKind::SnapshotOffer) => {
                self.handle(now, Event::Offer(conn, &SnapshotOffer::decode(frame)?));
            }
            (Side::Primary, FrameKind::SnapshotPiece) => {
                self.handle(now, Event::Piece(conn, &SnapshotPiece::decode(frame)?));
            }
            (Side::Follower, FrameKind::SnapshotRead) => {
                self.handle(
                    now,
                    Event::SnapshotRead(conn, &SnapshotRead::decode(frame)?),
                );
            }
            (Side::Follower, FrameKind::StateDigest) => {
                self.handle(now, Event::StateDigest(conn, &StateDigest::decode(frame)?));
            }
            (Side::Follower, FrameKind::EntriesRead) => {
                self.handle(now, Event::EntriesRead(conn, &EntriesRead::decode(frame)?));
            }
            (Side::Follower, FrameKind::Ack) => {
                self.handle(now, Event::Ack(conn, &Ack::decode(frame)?));
            }
            (Side::Follower, FrameKind::Follow) => {
                let follow = Follow::decode(frame)?;
                if !follow.is_bounded() {
                    return Err(DecodeError { kind: frame.kind });
                }
                self.handle(now, Event::Follow(conn, &follow));
            }
            (Side::Follower, FrameKind::Leave) => {
                self.handle(now, Event::FollowerLeaves(conn, Leave::decode(frame)?));
            }
            (Side::Primary | Side::Follower, FrameKind::HigherView) => {
                self.handle(now, Event::HigherView(Message::decode(frame)?));
            }
            (_, kind) => return Err(DecodeError { kind }),
        }
        Ok(())
    }
}

impl Action {
    /// Where its message goes; `None`: it sends none.
    #[must_use]
    pub fn destination(&self) -> Option<Destination> {
        Some(match self {
            Self::Report(_)
            | Self::Swap(_)
            | Self::Release(_)
            | Self::Poisoned(_)
            | Self::Fatal(_)
            | Self::Witness(_) => Destination::ViewService,
            Self::Follow(conn, _)
            | Self::Ack(conn, _)
            | Self::Resume(conn, _)
            | Self::SnapshotRead(conn, _)
            | Self::StateDigest(conn, _)
            | Self::Offer(conn, _)
            | Self::EntriesPiece(conn, _, _)
            | Self::Entries { conn, .. }
            | Self::HigherView(conn, _)
            | Self::Leave(conn, _)
            | Self::Switched(conn, _)
            | Self::Inspected(conn, _) => Destination::Conn(*conn),
            _ => return None,
        })
    }

    /// Appends its message as a whole frame; nothing if it sends none.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Report(report) => report.encode(out),
            Self::Swap(swap) => swap.encode(out),
            Self::Release(release) => release.encode(out),
            Self::Poisoned(poisoned) => poisoned.encode(out),
            Self::Fatal(fatal) => fatal.encode(out),
            Self::Witness(witness) => witness.encode(out),
            Self::Follow(_, follow) => follow.encode(out),
            Self::Ack(_, ack) => ack.encode(out),
            Self::Resume(_, resume) => resume.encode(out),
            Self::SnapshotRead(_, read) => read.encode(out),
            Self::StateDigest(_, told) => told.encode(out),
            Self::Offer(_, offer) => offer.encode(out),
            Self::EntriesPiece(_, after, bytes) => {
                let after = *after;
                EntriesPiece { after, bytes }.encode(out);
            }
            Self::Entries {
                nonce,
                view,
                round,
                commit,
                payload,
                ..
            } => {
                let bytes = match payload {
                    Payload::Nothing => &[],
                    Payload::Batch(batch) => batch.bytes(),
                    Payload::Bytes(bytes) => bytes.as_slice(),
                };
                let entries = Entries {
                    nonce: *nonce,
                    view: *view,
                    round: *round,
                    commit: *commit,
                    bytes,
                };
                entries.encode(out);
            }
            Self::HigherView(_, view) => HigherView { view: *view }.encode(out),
            Self::Inspected(_, reply) => reply.encode(out),
            Self::Switched(_, reply) => reply.encode(out),
            Self::Leave(_, leave) => leave.encode(out),
            _ => {}
        }
    }
}

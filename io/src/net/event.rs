//! What a [`super::Net`] reports.

use std::io;

use standin_core::conn::ConnId;
use standin_core::frame::FrameError;
use standin_core::message::{Hello, Refusal};

/// Something that [`super::Net::poll`] reports.
#[derive(Debug)]
pub enum NetEvent {
    /// The handshake is done in both directions.
    Ready {
        /// The connection.
        conn: ConnId,
        /// What the other side said of itself. It has been checked.
        hello: Hello,
        /// The other side connected to this one, and not the other way round.
        peer_is_accepted: bool,
    },
    /// At least one whole frame is buffered, or at least one byte of a plain connection. Reported again by each poll until all whole frames are
    /// consumed, the connection's input is paused or more of it is awaited. Those come first whose frames have waited the
    /// longest since some were consumed: an owner who stops short goes on with the others.
    Input {
        /// The connection.
        conn: ConnId,
    },
    /// The connection is gone. Reported exactly once for each connection that was ready or that
    /// [`super::Net::connect`] returned, also if this side closed it. Whole frames that came before
    /// the end are reported as input first, and this only after they are consumed.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// The waker was used, once or more often.
    Woken,
    /// The process was sent this signal.
    Signal(i32),
}

/// Why a connection is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`super::Net::close`] was called.
    #[error("closed by this side")]
    Here,
    /// This side refused the other, by [`super::Net::refuse`] or because its hello did not fit.
    #[error("refused by this side, which told the other: {0}")]
    RefusedHere(Refusal),
    /// The other side refused this one.
    #[error("refused: {0}")]
    RefusedByPeer(Refusal),
    /// The other side closed it.
    #[error("closed by the other side")]
    Peer,
    /// The connection was never made, or not in time.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Failed(#[source] io::Error),
    /// Connected, but no hello came in time.
    #[error("no hello within the time allowed")]
    HandshakeTimeout,
    /// Too many connections had not said hello, and this was the oldest.
    #[error("no hello yet, and too many others wait to say theirs")]
    HandshakeCrowded,
    /// What came is no frame.
    #[error(transparent)]
    BadFrame(#[from] FrameError),
    /// The first frame was no hello, or a later one was.
    #[error("a hello was expected where there was none, or the other way round")]
    OutOfPlace,
    /// A frame began and did not become whole in time.
    #[error("a frame began and did not end within the time allowed")]
    PartialFrameTimeout,
    /// There were too many connections of its kind, and this one was silent the longest.
    #[error("silent the longest of its kind, and too many others want a place")]
    GaveWay,
    /// Connections of its kind had sent too much that was not whole, and this was among the first to
    /// begin, or too much that was not consumed, and this was among those with the most.
    #[error("too many bytes wait to become whole frames, and its own began among the first")]
    InputCrowded,
    /// Connections of its kind left too much unread, and this one the most.
    #[error("too many bytes are left unread, and it leaves more than others")]
    OutputCrowded,
    /// The other side reads too slowly.
    #[error("the other side leaves {bytes} bytes unread")]
    OutputFull {
        /// The unsent bytes.
        bytes: usize,
    },
}

//! What a client core is told, and what it wants done.

use standin_core::message::{LookupReply, Party, Refusal, Replies, Reply, Seen};

use crate::error::ClientError;
use crate::requests::Request;

/// Names a connection that the core asked for. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What has happened. Events of connections that the core has closed are ignored.
#[derive(Debug)]
pub enum Event<'a> {
    /// The user asks for something.
    Submit(Request),
    /// A view service is connected, and hellos were exchanged.
    ViewServiceConnected {
        /// Which connection.
        connection: ConnectionId,
    },
    /// A view service cannot be connected to, or the connection is gone.
    ViewServiceClosed {
        /// Which connection.
        connection: ConnectionId,
        /// Why, if one side gave a reason.
        refusal: Option<Refusal>,
    },
    /// What was connected to as a view service is something else; that connection is gone.
    NoViewService {
        /// Which connection.
        connection: ConnectionId,
        /// What it says it is.
        is: Party,
    },
    /// A view service answered a lookup.
    Found {
        /// On which connection.
        connection: ConnectionId,
        /// Its answer.
        reply: LookupReply,
    },
    /// A replica is connected, and hellos were exchanged.
    ReplicaConnected {
        /// Which connection.
        connection: ConnectionId,
    },
    /// A replica cannot be connected to, or the connection is gone.
    ReplicaClosed {
        /// Which connection.
        connection: ConnectionId,
        /// Why, if one side gave a reason.
        refusal: Option<Refusal>,
    },
    /// A replica answered.
    Reply {
        /// On which connection.
        connection: ConnectionId,
        /// Its answer.
        reply: Reply<'a>,
    },
    /// A replica answered several requests at once.
    Replies {
        /// On which connection.
        connection: ConnectionId,
        /// Its answers.
        replies: Replies<'a>,
    },
    /// The moment that [`crate::ClientCore::deadline`] named has come.
    Deadline,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Connect to the view service at the nth of the addresses.
    ConnectViewService {
        /// The new connection's name.
        connection: ConnectionId,
        /// Which address, from 0.
        nth: usize,
    },
    /// Ask the view service who is primary.
    SendLookup {
        /// On which connection.
        connection: ConnectionId,
    },
    /// Close a connection to a view service.
    CloseViewService {
        /// Which one.
        connection: ConnectionId,
    },
    /// Connect to a replica.
    ConnectReplica {
        /// The new connection's name.
        connection: ConnectionId,
        /// Its address.
        address: String,
    },
    /// Send these whole frames to the replica.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// The frames.
        bytes: Vec<u8>,
    },
    /// Close the connection to a replica.
    CloseReplica {
        /// Which one.
        connection: ConnectionId,
    },
    /// Tell the user how a request ended. Happens exactly once for each.
    Complete {
        /// The user's number for it.
        id: u64,
        /// How it ended.
        result: Result<Answer, ClientError>,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The machine's reply.
    pub bytes: Vec<u8>,
    /// The view in which, and the index as of which, it was answered.
    pub seen: Seen,
    /// One replica alone answered: there is no second copy at the moment.
    pub is_solo: bool,
    /// How many times the request was sent.
    pub attempts: u32,
}

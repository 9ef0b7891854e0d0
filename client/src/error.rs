//! How a request can end without an answer. Callers must act differently on each.

use standin_core::entry::Index;
use standin_core::identity::ClusterId;
use standin_core::message::{Party, Refusal, Seen};
use standin_core::time::Duration;
use standin_core::view::ViewId;

/// What stood in the way last.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The time was over before anyone was asked.
    #[default]
    #[error("the time was too short to ask anyone")]
    NothingTried,
    /// A view service did not answer, or could not be connected to.
    #[error("the view service at {address} does not answer")]
    ViewServiceUnreachable {
        /// Its address.
        address: String,
    },
    /// The view service answers, but knows no active primary.
    #[error("the view service at {address} knows of no primary at the moment")]
    NoPrimary {
        /// Its address.
        address: String,
    },
    /// A view service is behind what this client has seen.
    #[error("the view service at {address} is behind view {seen}, which was seen already")]
    ViewServiceBehind {
        /// Its address.
        address: String,
        /// The view that was seen.
        seen: ViewId,
    },
    /// The replica could not be connected to, or the connection broke.
    #[error("the connection to the replica at {address} failed")]
    ConnectionLost {
        /// Its address.
        address: String,
    },
    /// The replica is connected and says nothing.
    #[error("the replica at {address} does not answer")]
    Silent {
        /// Its address.
        address: String,
    },
    /// The replica says that it does not serve.
    #[error("the replica at {address} is not the primary")]
    NotPrimary {
        /// Its address.
        address: String,
    },
    /// The replica lost its role while it had the request.
    #[error("the replica at {address} lost its role before it knew the outcome")]
    RoleLost {
        /// Its address.
        address: String,
    },
    /// The replica answered from a view, or from an index, below what was seen (rule R7).
    #[error("the replica at {address} answered from a state older than one seen before")]
    OlderState {
        /// Its address.
        address: String,
    },
    /// Too much waits at the replica.
    #[error("the replica at {address} has too much to do")]
    Overloaded {
        /// Its address.
        address: String,
    },
    /// There is no room for more log at the primary, or at it and its backup.
    #[error("the replica at {address} says: {words}")]
    NoRoom {
        /// Its address.
        address: String,
        /// What it said: whose disks, and what to do.
        words: String,
    },
    /// The session was lost, and with it what is known of the request.
    #[error("the session expired before the outcome of the request was known")]
    SessionExpired,
    /// The request's number was passed over, and no more is known of it.
    #[error("the replica at {address} no longer knows what became of the request")]
    OutcomeForgotten {
        /// Its address.
        address: String,
    },
    /// An operator forced a takeover, and what this client was answered may not be in what goes on.
    #[error(
        "the replica at {address} goes on after a forced takeover, in which what this client was \
         answered may have been lost"
    )]
    AnswerLost {
        /// Its address.
        address: String,
    },
    /// The other side closed the connection for a reason.
    #[error("the other side at {address} refused the connection: {refusal}")]
    ConnectionRefused {
        /// Its address.
        address: String,
        /// Its reason.
        refusal: Refusal,
    },
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Definitely not executed: it breaks a limit. To send it again as it is has no use.
    #[error("the request was refused and not executed: {reason}")]
    Refused {
        /// Which limit, in words.
        reason: String,
    },
    /// Definitely not executed: there is no room for more log at the primary, or at it and its backup.
    #[error("nothing was executed, since there is no room: {words}")]
    NoRoom {
        /// What the replica said: whose disks, and what to do.
        words: String,
    },
    /// The command made the machine fail. Its entry was skipped on all replicas: nothing of it took effect, nor
    /// ever will. To send it again as it is has no use.
    #[error(
        "entry {entry} made the machine fail and was skipped: nothing of it took effect; do not send it again as it is"
    )]
    Skipped {
        /// The index of the command's entry in the log.
        entry: Index,
    },
    /// Definitely not executed: replicas were reached, none of them served.
    #[error(
        "no replica served as primary within {waited:?} ({trouble}): nothing was executed; \
         'standin status' says why, or allow more time"
    )]
    NotPrimary {
        /// How long it was tried.
        waited: Duration,
        /// What stood in the way last.
        trouble: Trouble,
    },
    /// Definitely not executed: nobody who could serve was reached in time.
    #[error(
        "no primary took the request within {waited:?} ({trouble}): nothing was executed; check \
         the address and 'standin status', or allow more time"
    )]
    Unavailable {
        /// How long it was tried.
        waited: Duration,
        /// What stood in the way last.
        trouble: Trouble,
    },
    /// Definitely not executed. An operator forced a takeover and accepted loss: answers that this client
    /// was given before may be taken back. Said once; later requests are executed, in a new session.
    #[error(
        "an operator forced a takeover, and what was answered up to entry {} (view {}) may be lost: \
         nothing was executed; read the state before going on", .seen.index, .seen.view
    )]
    AnswerLost {
        /// The last answer that may be lost.
        seen: Seen,
    },
    /// Possibly executed, now or later, once at most.
    #[error(
        "sent the request, but its outcome is unknown after {waited:?} ({trouble}): it may or may \
         not have been executed; read the state before repeating it"
    )]
    OutcomeUnknown {
        /// How long it was tried.
        waited: Duration,
        /// What stood in the way last.
        trouble: Trouble,
    },
    /// Definitely not executed: the other side belongs to another cluster.
    #[error(
        "connected to {address}, but it belongs to another cluster ({cluster}): nothing was \
         executed; check the addresses"
    )]
    OtherCluster {
        /// Whose address.
        address: String,
        /// The cluster there.
        cluster: ClusterId,
    },
    /// Definitely not executed: what is there is no view service.
    #[error(
        "asked {address} for the primary, but that is a {}, not a view service: nothing was executed; \
         check the address", .is.words()
    )]
    OtherParty {
        /// The address.
        address: String,
        /// What is there.
        is: Party,
    },
    /// Definitely not executed: the other side speaks something else.
    #[error(
        "spoke to {address}, but was not understood ({what}): nothing was executed; check that \
         the address and the versions on both sides are right"
    )]
    Protocol {
        /// Whose address.
        address: String,
        /// What is wrong.
        what: String,
    },
    /// The addresses cannot be used.
    #[error(transparent)]
    Address(#[from] crate::address::AddressError),
    /// This machine refused something: sockets, descriptors, memory. What became of a request that
    /// was sent is unknown.
    #[error("could not {doing}: {source}")]
    Local {
        /// What was attempted.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ClientError {
    /// Whether the request may have been executed all the same.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. } | Self::Local { .. })
    }
}

//! The role of a replica that follows: as the backup, whose acknowledgement answers wait for, or as a
//! spare that keeps close.
//!
//! The central type is [`Backup`]: it finds its place in the primary's log, cuts what the primary
//! never had, appends what it is sent, and acknowledges what is durable, in one adopted view and no
//! other. It is driven like every decision core: handle one event, take actions until there is none,
//! read the deadline. It never answers a client, opens no socket or file, reads no clock, draws no
//! random number, and knows no state machine. Taking over is not its business: when the record names
//! its replica, the host starts the primary's role.

mod backup;
mod fetch;
mod versions;

pub use backup::{Action, Backup, Config, Event};
pub use fetch::FETCH_WINDOW_PIECES_MAX;

//! The words that all parties of Standin share.
//!
//! Views and identities, entries and the log's format, wire messages and their framing, sessions,
//! and the state machine: bytes in, bytes out. The central types are [`view::ViewRecord`], the
//! register that says who is primary; [`entry::Batch`], what is logged and replicated; and
//! [`state::Replicated`], the state that every replica must agree on. Nothing in this crate opens a
//! file or a socket, reads a clock or draws a random number.

pub mod address;
mod bytes;
pub mod capture;
pub mod clock;
pub mod conn;
pub mod digest;
pub mod entry;
pub mod evidence;
pub mod frame;
pub mod gap;
pub mod identity;
pub mod lease;
pub mod machine;
pub mod mark;
pub mod message;
pub mod planted;
pub mod poison;
pub mod random;
pub mod segment;
pub mod session;
pub mod snapshot;
pub mod solo;
pub mod state;
pub mod subject;
pub mod time;
pub mod turns;
pub mod version;
pub mod view;

//! The Redis serialisation protocol (RESP), versions 2 and 3: bytes in, bytes out.
//!
//! [`writer::ReplyWriter`] is what a server writes replies with: it knows the version that the
//! client speaks, and puts what only version 3 has into the older one's words as Redis 7 does.
//! Nothing in this crate opens a socket, reads a clock or knows a command.

pub mod number;
mod version;
pub mod writer;

pub use version::Version;

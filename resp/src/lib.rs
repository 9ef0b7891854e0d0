//! The Redis serialisation protocol (RESP), versions 2 and 3: bytes in, bytes out.
//!
//! [`request::RequestParser`] takes requests from a connection's bytes, whatever pieces they arrive
//! in, and refuses bad ones in the words of Redis 7. [`writer::ReplyWriter`] is what a server writes
//! replies with: it knows the version that the client speaks, and puts what only version 3 has into
//! the older one's words as Redis does. [`reply::Reply`] is what a client reads. Nothing in this
//! crate opens a socket, reads a clock or knows a command.

mod inline;
pub mod number;
pub mod reply;
pub mod request;
mod version;
pub mod writer;

pub use version::Version;

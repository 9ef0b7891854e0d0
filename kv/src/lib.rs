//! A Redis-compatible database as a deterministic state machine.
//!
//! The central type is [`KeyValue`]: commands in the bytes of [`arguments`], replies in the very bytes that a
//! client gets. Everything stands in trees ([`tree`]) and in arrays of
//! buckets ([`directory`]) whose order is a function of what they hold and of
//! nothing else, so all replicas answer alike, also what they pick at random; and a capture of the whole
//! costs no more than a few counts. [`table`] says of each command who answers it. Nothing in here reads a
//! clock, opens a file or draws a random number: time and chance come with each entry.

pub mod arguments;
pub mod call;
mod capture;
mod commands;
pub mod conversation;
pub mod directory;
pub mod double;
pub mod extended;
mod garbage;
pub mod glob;
#[allow(clippy::len_without_is_empty, reason = "what is empty is removed")]
pub mod hash;
pub mod keyspace;
pub mod line;
#[allow(clippy::len_without_is_empty, reason = "what is empty is removed")]
pub mod list;
mod machine;
pub mod members;
mod prefetch;
#[allow(clippy::len_without_is_empty, reason = "what is empty is removed")]
pub mod set;
#[allow(clippy::len_without_is_empty, reason = "what is empty is removed")]
pub mod sorted;
mod state_words;
pub mod table;
pub mod text;
pub mod tree;
pub mod value;
mod words;

pub use machine::{KeyValue, Moment, look_up};

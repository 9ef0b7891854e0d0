//! The state machines that come with Standin.

pub mod counter;

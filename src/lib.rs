//! Keeps a deterministic service running when its machine dies: two full replicas and one tiny view
//! service.
//!
//! This is what an embedding user imports. A state machine implements [`machine::StateMachine`]; a
//! replica that hosts it is started with [`replica::run`]; [`cli::main`] is the whole command line.

pub use standin_client as client;
pub use standin_core::{digest, entry, machine, state, time, view};

pub mod cli;
pub mod machines;
pub mod replica;

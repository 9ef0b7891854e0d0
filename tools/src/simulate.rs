//! The simulator: whole clusters in one thread and in virtual time, from a seed.
//!
//! It runs the very cores that the real processes run (view service, replicas, clients), with the real
//! log, data directory and view-service state on simulated disks, and lets go wrong what can go wrong:
//! see [`FaultKind`]. A run has two phases (the method is that of TigerBeetle's VOPR and of
//! FoundationDB's simulator): first faults, while safety is checked at every step; then a core of the
//! cluster is healed, the rest stays broken for good, and it must come right again within limits.
//!
//! `docs/testing.md` tells how to read a trace and how to add a fault or a checker.

mod caller;
mod check;
mod clock;
mod command;
mod direct;
pub mod disk;
mod doom;
mod draw;
mod fact;
mod failed;
mod fault;
mod heal;
mod ledger;
mod marks;
mod mending;
mod mourning;
mod network;
mod node;
mod plan;
mod planned;
mod property;
mod queue;
mod rebuilding;
mod record;
mod reference;
mod run;
mod scene;
mod service;
mod stage;
mod trace;
mod truth;
mod watched;
mod world;

pub use check::Violation;
pub use command::{SimulateArgs, command};
pub use fault::{FaultCounts, FaultKind};
pub use ledger::Ledger;
pub use marks::{Mark, Marks};
pub use plan::Plan;
#[cfg(feature = "planted-bugs")]
pub use run::run_planted;
pub use run::{Failure, Outcome, Summary, run, run_many, run_traced, shrink};
pub use scene::Scene;
pub use watched::{RegisterCall, Subject};

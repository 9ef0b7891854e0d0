//! Keeps a deterministic service running when its machine dies: two full replicas and one tiny view
//! service.
//!
//! This is what an embedding user imports. A state machine implements [`Machine`] (or [`StateMachine`], in bytes) and is
//! tested by itself with [`Solo`]; [`cli::main_with`] makes a program of it that is replica, view service, client, demo,
//! simulator and replay in one; [`Replica`] runs one replica inside a program of your own; [`client::MachineClient`]
//! speaks to it.

pub use standin_client as client;
pub use standin_core::machine::{Context, Machine, StateMachine};
pub use standin_core::random::RandomStream;
pub use standin_core::solo::Solo;
pub use standin_core::time::{Duration, WallTime};
pub use standin_core::{digest, entry, identity, machine, state, time, view};
pub use standin_tools::simulate;

pub use embed::{BuildError, NoMachine, Replica, ReplicaBuilder};
pub use standin_core::identity::Durability;
pub use standin_io::stop::Stop;

pub mod cli;
mod embed;
mod front;
pub mod gateway;
mod http;
pub mod machines;
pub mod replica;
mod status;

/// Runs whole clusters with the machine `M` in virtual time, among faults drawn from each seed, and
/// checks that every rule holds: nothing answered is lost, nothing runs twice, and `M` is
/// deterministic. [`mod@simulate`] tells more.
///
/// ```
/// # use standin::simulate::Ledger as MyMachine;
/// standin::simulate::<MyMachine>(1..=20).assert_holds();
/// ```
#[must_use]
pub fn simulate<M: simulate::Subject>(seeds: std::ops::RangeInclusive<u64>) -> simulate::Summary {
    let count = seeds.end().saturating_sub(*seeds.start()).saturating_add(1);
    simulate::run_many::<M>(*seeds.start(), count, 1, &|_| {})
}

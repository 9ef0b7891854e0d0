//! Keeps a deterministic service running when its machine dies: two full replicas and one tiny view
//! service.
//!
//! This is what an embedding user imports. A state machine implements [`machine::StateMachine`]; a
//! replica that hosts it is started with [`replica::run`]; [`cli::main`] is the whole command line.

pub use standin_client as client;
pub use standin_core::{digest, entry, identity, machine, state, time, view};
pub use standin_tools::simulate;

pub mod cli;
mod front;
pub mod gateway;
pub mod machines;
pub mod replica;

/// Runs whole clusters with the machine `M` in virtual time, among faults drawn from each seed, and
/// checks that every rule holds: nothing answered is lost, nothing runs twice, and `M` is
/// deterministic. [`mod@simulate`] tells more.
///
/// ```
/// # use standin::simulate::Ledger as MyMachine;
/// let summary = standin::simulate::<MyMachine>(1..=20);
/// assert!(summary.failures.is_empty(), "{:?}", summary.failures);
/// ```
#[must_use]
pub fn simulate<M: simulate::Subject>(seeds: std::ops::RangeInclusive<u64>) -> simulate::Summary {
    let count = seeds.end().saturating_sub(*seeds.start()).saturating_add(1);
    simulate::run_many::<M>(*seeds.start(), count, 1, &|_| {})
}

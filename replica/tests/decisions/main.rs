//! The decisions of a replica, step by step: one event in, the actions compared.

mod account;
mod admission;
mod applying;
mod fatal;
mod forced;
mod handover;
mod lending;
mod poison;
mod resp;
mod room;
mod rules;
mod snapshots;
mod support;
mod version_snapshots;
mod versions;
mod witness;

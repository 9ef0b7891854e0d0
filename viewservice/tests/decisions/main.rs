//! Decision steps of the view service: one file per group, an event in, the actions compared.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bootstrap;
mod bounds;
mod death;
mod depose;
mod fatal;
mod fitness;
mod force;
mod history;
mod lease;
mod naming;
mod poison;
mod rebuild;
mod restart;
mod rig;
mod room;
mod status;
mod swap;

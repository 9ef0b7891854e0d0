//! Conversations: what a client is answered, against a real redis-server where that makes sense, and what a host
//! is told to do.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests, some of which run a real server"
)]

mod against_redis;
mod line;
#[path = "../../../resp/tests/redis/mod.rs"]
mod redis;
mod steps;
mod support;

//! What people type wrong: each misuse gets one clear line and the right exit status.
//!
//! Exit status 2: the command was misused. 1: it was done, and the answer is no. 3: the service could
//! not be reached in time. The logs are switched off here, so what stands on standard error is all
//! that a person is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lines;
mod process;
mod replace;
mod services;

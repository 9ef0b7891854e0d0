//! Strangers at every port: garbage, silence, floods and forgeries, against a running cluster that
//! must not mind.
//!
//! Each test has a cluster of its own: a view service, a primary, a backup and a spare. Meanwhile an
//! ordinary client adds without pause. In the end all processes live, none has panicked or grown, the
//! view is still the same, each offending connection has its one line in the log (or its part in the
//! line that counts those held back), and the count is right.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod arena;
mod floods;
mod forged;
mod malformed;
mod misplaced;
mod samples;
mod silence;
mod stranger;

use std::thread;
use std::time::{Duration, Instant};

use standin_tools::cluster::VIEW_SERVICE;

/// How long to wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long after a named timeout a connection may still be open.
const LATE_MAX: Duration = Duration::from_secs(10);
/// How much a process may grow that is sent garbage and small frames, in bytes.
const GROWTH_MAX: u64 = 64 << 20;
/// How much one may grow that is sent large requests: what waits to be applied (16 MiB), the newest
/// entries (32 MiB), and for each connection a frame or two on their way in and what is on its way
/// out.
const GROWTH_UNDER_LOAD_MAX: u64 = 160 << 20;

const REPLICAS: [&str; 3] = ["a", "b", "c"];
const ALL: [&str; 4] = [VIEW_SERVICE, "a", "b", "c"];

/// Looks again and again until there is something to see.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        pause();
    }
}

/// Lets a little time pass before a condition is looked at again.
fn pause() {
    thread::sleep(Duration::from_millis(5));
}

//! Real processes, broken in every way: one program, since each is linked with all of Standin, and since tests that
//! mostly wait for leases and takeovers may as well wait side by side. `cargo test --test processes rollout::` runs the
//! tests of one file.

#[path = "../support/mod.rs"]
mod support;

mod abort;
mod both_die;
mod disk_failure;
mod divergence;
mod embed;
mod freeze;
mod gateway;
mod http;
mod kv;
mod log;
mod misuse;
mod own;
mod parent;
mod poison;
mod repair;
mod replay;
mod replayed_answers;
mod resp;
mod rollout;
mod sessions;
mod slow_backup;
mod snapshot_files;
mod snapshots;
mod sweep;
mod switchover;
mod takeover;
mod viewservice_away;
mod viewservice_lost;

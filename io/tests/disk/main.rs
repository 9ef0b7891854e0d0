//! Logs, data directories and snapshots on real files.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

mod data_dir;
mod evidence;
mod install;
mod log;
mod log_base;
mod log_beginning;
mod log_damage;
mod log_repair;
mod log_thread;
mod mark;
mod properties;
#[path = "../sample/mod.rs"]
mod sample;
mod snapshots;

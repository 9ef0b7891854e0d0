//! What touches the machine: segment files, the log thread, framed connections and the boot clock.
//!
//! Everything that decides lives in the pure crates; this one only carries their decisions out.

pub mod clock;
pub mod data_dir;
mod desk;
pub mod entropy;
pub mod evidence;
pub mod http;
pub mod install;
pub mod log;
pub mod log_limit;
pub mod log_thread;
pub mod mark;
pub mod net;
pub mod questions;
pub mod signals;
pub mod snapshots;
pub mod stop;
pub mod storage;

//! Processes that must not outlive the one that started them.

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

/// The environment variable that asks a process to die with its parent; its value is the parent's
/// process id.
pub const PARENT_VARIABLE: &str = "STANDIN_DIE_WITH_PARENT";

/// If [`PARENT_VARIABLE`] is set, has the kernel kill this process when the thread that started it
/// ends; ends it at once (exit status 1) if that has happened already. To be called first thing.
pub fn die_with_parent_if_asked() {
    let Some(parent) = std::env::var_os(PARENT_VARIABLE) else {
        return;
    };
    let is_armed = prctl::set_pdeathsig(Signal::SIGKILL).is_ok();
    // The parent may have died before the kernel was asked: then this process has another one.
    let is_orphan = parent.to_str() != Some(getppid().to_string().as_str());
    if !is_armed || is_orphan {
        std::process::exit(1);
    }
}

//! Processes that must not outlive the one that started them.

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::output;

/// The environment variable that asks a process to die with its parent; its value is the parent's
/// process id.
pub const PARENT_VARIABLE: &str = "STANDIN_DIE_WITH_PARENT";

/// If [`PARENT_VARIABLE`] is set, has the kernel kill this process when the thread that started it
/// ends; ends it at once (exit status 1) if that has happened already. To be called first thing.
pub fn die_with_parent_if_asked() {
    let Some(named) = std::env::var_os(PARENT_VARIABLE) else {
        return;
    };
    if let Err(errno) = prctl::set_pdeathsig(Signal::SIGKILL) {
        end(&format!("the kernel does not watch it: {errno}"));
    }
    // The parent may have died before the kernel was asked: then this process has another one.
    let parent = getppid();
    if named.to_str() != Some(parent.to_string().as_str()) {
        let named = named.display();
        end(&format!(
            "'{named}' is not its process id, which is {parent}"
        ));
    }
}

fn end(why: &str) -> ! {
    output::error(format_args!(
        "cannot make this process end with the one that started it, as {PARENT_VARIABLE} asks: {why}; \
         unset {PARENT_VARIABLE}, which standin sets by itself where it is needed"
    ));
    std::process::exit(1);
}

//! Processes that must not outlive the one that started them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;
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

/// The arguments of `standin bound-exec`.
#[derive(Debug, Args)]
pub struct BoundExecArgs {
    /// The program, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Becomes another program, under the same process id; if [`PARENT_VARIABLE`] is set, one that ends with the thread that
/// started this. Returns the exit status if that cannot be done.
#[must_use]
pub fn bound_exec(args: &BoundExecArgs) -> u8 {
    die_with_parent_if_asked();
    let [program, arguments @ ..] = args.command.as_slice() else {
        unreachable!("the command line asks for a program");
    };
    let failed = Command::new(program)
        .args(arguments)
        .env_remove(PARENT_VARIABLE)
        .exec();
    output::error(format_args!(
        "cannot start {}: {failed}; check that it is installed",
        program.display()
    ));
    1
}

fn end(why: &str) -> ! {
    output::error(format_args!(
        "cannot make this process end with the one that started it, as {PARENT_VARIABLE} asks: {why}; \
         unset {PARENT_VARIABLE}, which standin sets by itself where it is needed"
    ));
    std::process::exit(1);
}

//! The one binary: arguments, wiring, exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    standin::cli::main()
}

//! A machine of one's own that is to change: the program before. `tariff_v2.rs` is the one after.
//!
//! ```text
//! tariff_v1 viewservice --listen 127.0.0.1:7000 --data vs
//! tariff_v1 replica --name a --listen 127.0.0.1:7101 --viewservice 127.0.0.1:7000 --data a --machine tariff
//! ```

#[path = "tariff/v1.rs"]
mod v1;

use std::process::ExitCode;

fn main() -> ExitCode {
    standin::cli::main_with::<v1::TariffV1>()
}

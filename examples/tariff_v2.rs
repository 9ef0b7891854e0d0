//! A new version of a machine of one's own, in a program that can execute the old one as well: start one replica after
//! the other with it, and when the last two that matter run it, the service goes over to the new version by itself.
//!
//! Once all replicas have gone over, the next program may do without the old version: `main_with::<TariffV2>`.

#[path = "tariff/v1.rs"]
mod v1;
#[path = "tariff/v2.rs"]
mod v2;

use std::process::ExitCode;

use standin::machine::Versions;

type Tariff = Versions<v1::TariffV1, v2::TariffV2>;

fn main() -> ExitCode {
    standin::cli::main_with::<Tariff>()
}

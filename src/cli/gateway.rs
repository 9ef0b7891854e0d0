//! `standin gateway`: Redis clients in, sessions out.

use clap::Args;
use standin_client::ViewServices;

use super::EXIT_NO;
use super::serve::{ended, listen_address, ready};
use crate::gateway::{self, GatewayConfig};

/// The arguments of `standin gateway`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  standin gateway --listen 127.0.0.1:6379 --viewservice 127.0.0.1:7000"
)]
pub(crate) struct GatewayArgs {
    /// Address on which Redis clients are served, HOST:PORT; port 0 means any
    #[arg(long, env = "STANDIN_LISTEN", value_name = "ADDR", value_parser = listen_address)]
    listen: String,
    /// Address of the view service; several are separated by commas
    #[arg(long, env = "STANDIN_VIEWSERVICE", value_name = "ADDR")]
    viewservice: ViewServices,
    /// Password that Redis clients have to give (AUTH); better in the environment than here
    #[arg(
        long,
        env = "STANDIN_RESP_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    resp_password: Option<String>,
}

/// Runs a gateway until it is told to stop.
pub(crate) fn run(args: GatewayArgs) -> u8 {
    let config = GatewayConfig {
        listen: args.listen,
        view_services: args.viewservice,
        password: args.resp_password.map(String::into_bytes),
    };
    let result = gateway::run(&config, |address| {
        ready(&format!("ready gateway {address}"));
    });
    ended(result.map_err(|error| (EXIT_NO, error.to_string())))
}

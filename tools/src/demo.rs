//! `standin demo`: a replicated counter, a database or a machine of one's own, under load, whose primary's plug is pulled,
//! and the audit.
//!
//! Everything runs as in earnest: a view service and three replicas as processes of their own, clients
//! that go through the network, and SIGKILL. [`run`] is the whole of it.

mod audit;
mod copies;
mod crowd;
mod error;
mod evidence;
mod machine;
mod report;
mod show;
mod steps;
mod story;
mod task;
mod waits;

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, value_parser};
use standin_core::identity::Durability;

pub(crate) use crowd::{Crowd, CrowdError};
pub use show::run;

/// The arguments of `standin demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  standin demo --plugs 5 --clients 16\n\n\
    Exit status: 0 nothing was lost, nothing ran twice and the replicas agree; 1 the audit says \
    otherwise; 2 misused; 3 the service could not be started, or did not come back in time.")]
pub struct DemoArgs {
    /// The state machine to run
    // The names that may be given are added by whoever knows them.
    #[arg(long, env = "STANDIN_MACHINE", default_value = "counter")]
    pub machine: String,
    /// How often to pull the primary's plug, 1 to 1000
    #[arg(long, env = "STANDIN_PLUGS", default_value_t = 3, value_name = "N",
        value_parser = value_parser!(u32).range(1..=1000))]
    pub plugs: u32,
    /// How many clients count without pause, 1 to 256
    #[arg(long, env = "STANDIN_CLIENTS", default_value_t = 4, value_name = "N",
        value_parser = value_parser!(u32).range(1..=256))]
    pub clients: u32,
    /// When a write counts as safe: in memory, in the page cache, or on the disk, of both replicas
    #[arg(long, env = "STANDIN_DURABILITY", default_value = "os", value_name = "LEVEL",
        value_parser = durability)]
    pub durability: Durability,
    /// Keep the data directories and logs in DIR, which must be empty or not exist
    #[arg(long, env = "STANDIN_KEEP", value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// End with the outcome as one line of JSON
    #[arg(long, env = "STANDIN_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

fn durability(text: &str) -> Result<Durability, &'static str> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: DemoArgs,
    }

    fn parse(line: &str) -> Result<DemoArgs, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.args)
    }

    #[test]
    fn lines_of_the_interface_are_understood() {
        let args = parse("demo").unwrap();
        assert_eq!((args.plugs, args.clients, args.json), (3, 4, false));
        assert_eq!(args.durability, Durability::Os);
        assert_eq!(args.machine, "counter");
        let args = parse("demo --machine kv").unwrap();
        assert_eq!(args.machine, "kv");
        let args = parse("demo --machine counter --plugs 20 --clients 16 --json --keep x").unwrap();
        assert_eq!((args.plugs, args.clients, args.json), (20, 16, true));
        assert_eq!(args.keep, Some(PathBuf::from("x")));
        for bad in ["--plugs 0", "--plugs 1001", "--clients 0", "--clients 257"] {
            assert!(parse(&format!("demo {bad}")).is_err(), "{bad}");
        }
    }
}

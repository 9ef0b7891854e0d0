//! `standin switchover`: the backup takes the primary's place as planned.

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;
use standin_client::ViewServices;
use standin_core::identity::ReplicaName;
use standin_core::message::{Switchover, SwitchoverReply};
use standin_core::time::Duration;
use standin_core::view::ViewId;

use super::{EXIT_NO, EXIT_UNREACHED, duration, output};

/// The arguments of `standin switchover`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  standin switchover --viewservice 127.0.0.1:7000\n\n\
    No request fails by it, and clients wait for some milliseconds. The old primary is the backup \
    afterwards.\n\n\
    Exit status: 0 the new primary serves; 1 it was refused, and the primary is who it was; 2 misused; 3 \
    nobody was reached in time, or what came of it is not known."
)]
pub(crate) struct SwitchoverArgs {
    /// Address of the view service; several are separated by commas
    #[arg(long, env = "STANDIN_VIEWSERVICE", value_name = "ADDR")]
    viewservice: ViewServices,
    /// Only if this is the backup
    #[arg(long, env = "STANDIN_TO", value_name = "NAME")]
    to: Option<ReplicaName>,
    /// How long to try
    #[arg(long, env = "STANDIN_TIMEOUT", default_value = "10s", value_parser = duration::parse)]
    timeout: Duration,
    /// Print JSON, on one line
    #[arg(long, env = "STANDIN_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

/// What `--json` prints. The fields are a promise; more may be added.
#[derive(Debug, Serialize)]
struct Account<'a> {
    view: ViewAccount<'a>,
}

#[derive(Debug, Serialize)]
struct ViewAccount<'a> {
    number: u64,
    primary: &'a str,
    backup: &'a str,
}

/// Asks the primary, and says what came of it.
pub(crate) fn run(args: &SwitchoverArgs) -> u8 {
    let wanted = Switchover {
        to: args.to.clone(),
    };
    let reply = match standin_client::switchover(&args.viewservice, &wanted, args.timeout) {
        Ok(reply) => reply,
        Err(error) => return super::not_told(&error),
    };
    match reply {
        SwitchoverReply::Done {
            view,
            primary,
            backup,
        } => tell(args.json, view, &primary, &backup),
        SwitchoverReply::Refused { reason } => {
            output::error(format_args!(
                "asked for a switchover, and the primary is who it was: {reason}"
            ));
            EXIT_NO
        }
        SwitchoverReply::Unknown { reason } => {
            output::error(format_args!(
                "asked for a switchover, and what came of it is not known: {reason}"
            ));
            EXIT_UNREACHED
        }
        SwitchoverReply::NotPrimary => {
            unreachable!("a primary is looked for until there is one or time is over")
        }
    }
}

fn tell(is_json: bool, view: ViewId, primary: &ReplicaName, backup: &ReplicaName) -> u8 {
    if !is_json {
        return output::line(format_args!(
            "{primary} is primary of view {view}, {backup} its backup"
        ));
    }
    let account = Account {
        view: ViewAccount {
            number: view.view.0,
            primary: primary.as_str(),
            backup: backup.as_str(),
        },
    };
    let line = serde_json::to_string(&account).expect("names and numbers become JSON");
    output::line(format_args!("{line}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: SwitchoverArgs,
    }

    fn parse(line: &str) -> Result<SwitchoverArgs, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.args)
    }

    #[test]
    fn the_line_of_the_interface_is_understood() {
        let args = parse("switchover --viewservice h:1,h:2").unwrap();
        assert!(args.to.is_none() && !args.json);
        let args = parse("switchover --viewservice h:1 --to b --json").unwrap();
        assert_eq!(args.to.map(|name| name.to_string()).as_deref(), Some("b"));
        assert!(args.json);
    }

    #[test]
    fn misuse_is_noticed() {
        for bad in [
            "switchover --to b",
            "switchover --viewservice h:1 --to B",
            "switchover --viewservice h:1 --timeout 0",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

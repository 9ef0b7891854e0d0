//! `standin recover`: the operator's Force, for when nobody may serve without loss.

use clap::Args;
use clap::builder::BoolishValueParser;
use standin_client::ViewServices;
use standin_core::identity::ReplicaName;
use standin_core::message::{Force, ForceOutcome};
use standin_core::time::Duration;

use super::{EXIT_NO, duration, output};

/// The arguments of `standin recover`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  standin recover --viewservice 127.0.0.1:7000 --primary b --accept-loss\n\n\
    It is granted only where nobody who has every answered entry can serve: 'standin status' says so, and \
    why. Without --accept-loss it prints what would be lost, and does nothing.\n\n\
    Exit status: 0 done; 1 nothing was done: refused, or loss was not accepted; 2 misused; 3 no view \
    service was reached in time."
)]
pub(crate) struct RecoverArgs {
    /// Address of the view service; several are separated by commas
    #[arg(long, env = "STANDIN_VIEWSERVICE", value_name = "ADDR")]
    viewservice: ViewServices,
    /// The replica that is to go on as primary, with what it has
    #[arg(long, env = "STANDIN_PRIMARY", value_name = "NAME")]
    primary: ReplicaName,
    /// Do it, and lose what that replica lacks
    #[arg(long, env = "STANDIN_ACCEPT_LOSS", value_parser = BoolishValueParser::new())]
    accept_loss: bool,
    /// How long to try
    #[arg(long, env = "STANDIN_TIMEOUT", default_value = "5s", value_parser = duration::parse)]
    timeout: Duration,
}

/// Asks the view service, and says what came of it.
pub(crate) fn run(args: RecoverArgs) -> u8 {
    let name = args.primary.clone();
    let force = Force {
        primary: args.primary,
        accept_loss: args.accept_loss,
    };
    let reply = match standin_client::force(&args.viewservice, &force, args.timeout) {
        Ok(reply) => reply,
        Err(error) => return super::not_told(&error),
    };
    match reply.outcome {
        ForceOutcome::Done { loss } => {
            let view = reply.record.map(|record| record.id());
            let view = view.map_or_else(String::new, |view| format!(" in view {view}"));
            output::line(format_args!(
                "{name} is to be primary{view}; 'standin status' shows when it serves\n{loss}"
            ))
        }
        ForceOutcome::WouldLose { loss } => {
            let _ = output::line(format_args!("{loss}"));
            output::error(format_args!(
                "asked to make {name} primary, and nothing was done: say --accept-loss to lose that"
            ));
            EXIT_NO
        }
        ForceOutcome::Refused { reason } => {
            output::error(format_args!(
                "asked to make {name} primary, and nothing was done: {reason}"
            ));
            EXIT_NO
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: RecoverArgs,
    }

    fn parse(line: &str) -> Result<RecoverArgs, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.args)
    }

    #[test]
    fn the_line_of_the_interface_is_understood() {
        let args = parse("recover --viewservice h:1,h:2 --primary b --accept-loss").unwrap();
        assert_eq!((args.primary.as_str(), args.accept_loss), ("b", true));
        assert!(
            !parse("recover --viewservice h:1 --primary b")
                .unwrap()
                .accept_loss
        );
    }

    #[test]
    fn misuse_is_noticed() {
        for bad in [
            "recover --viewservice h:1 --accept-loss",
            "recover --viewservice h:1 --primary B",
            "recover --viewservice h:1 --primary b --accept-loss=maybe b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

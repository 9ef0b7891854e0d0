//! `standin recover`: the operator's Force, for when nobody may serve without loss; and the rebuilding of a view
//! record that was lost.

use clap::Args;
use clap::builder::BoolishValueParser;
use standin_client::ViewServices;
use standin_core::identity::ReplicaName;
use standin_core::message::{Force, ForceOutcome, ForceReply, Rebuild};
use standin_core::time::Duration;

use super::{EXIT_NO, duration, output};

/// The arguments of `standin recover`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  standin recover --viewservice 127.0.0.1:7000 --primary b --accept-loss\n  \
    standin recover --viewservice 127.0.0.1:7000 --rebuild a,b,c\n\n\
    The first is granted only where nobody who has every answered entry can serve: 'standin status' says so, and \
    why. Without --accept-loss it prints what would be lost, and does nothing.\n\n\
    The second is for a view service that has lost its data directory and was started with --rebuild on an empty \
    one. Name every replica that the cluster has, and in any case whom you have named to the first: it may be the \
    only one that knows of it. It is done only if it is certain who has every answered entry, \
    and then nothing is lost. If it is refused for good, because a replica is lost as well, add --primary and \
    --accept-loss. Before either, make sure that the lost view service never runs again: two would name two \
    primaries.\n\n\
    Exit status: 0 done; 1 nothing was done: refused, or loss was not accepted; 2 misused; 3 no view \
    service was reached in time."
)]
pub(crate) struct RecoverArgs {
    /// Address of the view service; several are separated by commas
    #[arg(long, env = "STANDIN_VIEWSERVICE", value_name = "ADDR")]
    viewservice: ViewServices,
    /// The replica that is to go on as primary, with what it has
    #[arg(
        long,
        env = "STANDIN_PRIMARY",
        value_name = "NAME",
        required_unless_present = "rebuild"
    )]
    primary: Option<ReplicaName>,
    /// Make the lost view record again from what these replicas know: all that the cluster has
    #[arg(
        long,
        env = "STANDIN_REBUILD",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    rebuild: Vec<ReplicaName>,
    /// Do it, and lose what that replica lacks
    #[arg(long, env = "STANDIN_ACCEPT_LOSS", value_parser = BoolishValueParser::new())]
    accept_loss: bool,
    /// How long to try
    #[arg(long, env = "STANDIN_TIMEOUT", default_value = "5s", value_parser = duration::parse)]
    timeout: Duration,
}

/// Asks the view service, and says what came of it.
pub(crate) fn run(args: RecoverArgs) -> u8 {
    if !args.rebuild.is_empty() {
        return rebuild(args);
    }
    let name = args.primary.expect("it is asked for without --rebuild");
    let force = Force {
        primary: name.clone(),
        accept_loss: args.accept_loss,
    };
    let reply = match standin_client::force(&args.viewservice, &force, args.timeout) {
        Ok(reply) => reply,
        Err(error) => return super::not_told(&error),
    };
    let done = |view: String| {
        format!("{name} is to be primary{view}; 'standin status' shows when it serves")
    };
    tell(reply, &format!("to make {name} primary"), done)
}

fn rebuild(args: RecoverArgs) -> u8 {
    let wish = Rebuild {
        replicas: args.rebuild,
        primary: args.primary,
        accept_loss: args.accept_loss,
    };
    let reply = match standin_client::rebuild(&args.viewservice, &wish, args.timeout) {
        Ok(reply) => reply,
        Err(error) => return super::not_told(&error),
    };
    let done = |view: String| {
        format!("the view record is there again{view}; 'standin status' shows when somebody serves")
    };
    tell(reply, "to make the view record again", done)
}

/// Says what came of it: what was done first, then what is lost.
fn tell(reply: ForceReply, asked: &str, done: impl Fn(String) -> String) -> u8 {
    match reply.outcome {
        ForceOutcome::Done { loss } => {
            let view = reply.record.map(|record| record.id());
            let view = view.map_or_else(String::new, |view| format!(" in view {view}"));
            output::line(format_args!("{}\n{loss}", done(view)))
        }
        ForceOutcome::WouldLose { loss } => {
            let _ = output::line(format_args!("{loss}"));
            output::error(format_args!(
                "asked {asked}, and nothing was done: say --accept-loss to lose that"
            ));
            EXIT_NO
        }
        ForceOutcome::Refused { reason } => {
            output::error(format_args!(
                "asked {asked}, and nothing was done: {reason}"
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
        let primary = args.primary.as_ref().map(ReplicaName::as_str);
        assert_eq!((primary, args.accept_loss), (Some("b"), true));
        assert!(
            !parse("recover --viewservice h:1 --primary b")
                .unwrap()
                .accept_loss
        );
    }

    #[test]
    fn a_record_is_made_again_with_or_without_somebody_who_goes_on_in_any_case() {
        let names = |args: &RecoverArgs| {
            let names = args.rebuild.iter().map(ReplicaName::as_str);
            names.collect::<Vec<_>>().join(" ")
        };
        let args = parse("recover --viewservice h:1 --rebuild a,b,c").unwrap();
        assert_eq!((names(&args).as_str(), args.primary), ("a b c", None));
        let args =
            parse("recover --viewservice h:1 --rebuild a --primary a --accept-loss").unwrap();
        assert_eq!((names(&args).as_str(), args.accept_loss), ("a", true));
    }

    #[test]
    fn misuse_is_noticed() {
        for bad in [
            "recover --viewservice h:1 --accept-loss",
            "recover --viewservice h:1",
            "recover --viewservice h:1 --rebuild",
            "recover --viewservice h:1 --rebuild a,B",
            "recover --viewservice h:1 --primary B",
            "recover --viewservice h:1 --primary b --accept-loss=maybe b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

//! `standin client`: one command or query to the replicated service.

use clap::{Args, Subcommand};
use standin_client::{Client, ClientConfig, ClientError, ViewServices};
use standin_core::time::Duration;

use super::{EXIT_MISUSED, EXIT_NO, EXIT_UNREACHED, duration, output};
use crate::machines::counter::{CounterClient, CounterError};

/// How long the closing of the session may take, which nobody waits for the outcome of.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(250);

/// The arguments of `standin client`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 counter add 2\n\n\
    Exit status: 0 done; 1 refused; 2 misused; 3 not reached in time, where the message says \
    whether the command may have been executed all the same."
)]
pub(crate) struct ClientArgs {
    /// Address of the view service; several are separated by commas
    #[arg(long, env = "STANDIN_VIEWSERVICE", value_name = "ADDR")]
    viewservice: ViewServices,
    /// How long to try
    #[arg(long, env = "STANDIN_TIMEOUT", default_value = "5s", value_parser = duration::parse)]
    timeout: Duration,
    #[command(subcommand)]
    machine: Machine,
}

#[derive(Debug, Subcommand)]
enum Machine {
    /// Speak to a counter
    #[command(
        subcommand,
        after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 counter get"
    )]
    Counter(CounterVerb),
}

#[derive(Debug, Subcommand)]
enum CounterVerb {
    /// Add N, once, and print the new value
    #[command(
        after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 counter add -3"
    )]
    Add {
        /// What to add, from -9223372036854775808 to 9223372036854775807
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        n: i64,
    },
    /// Print the value
    #[command(after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 counter get")]
    Get,
}

/// Sends it, and prints the answer alone on a line.
pub(crate) fn run(args: ClientArgs) -> u8 {
    let config = ClientConfig {
        timeout: args.timeout,
    };
    let client = match Client::new(args.viewservice, config) {
        Ok(client) => client,
        Err(error) => return failed(&error.into()),
    };
    let mut counter = CounterClient::new(client);
    let Machine::Counter(verb) = args.machine;
    let result = match verb {
        CounterVerb::Add { n } => counter.add(n),
        CounterVerb::Get => counter.get(),
    };
    match result {
        Ok(value) => {
            let status = output::line(format_args!("{value}"));
            let mut client = counter.into_client();
            client.set_timeout(CLOSE_TIMEOUT);
            // A session that stays open expires by itself.
            let _ = client.close();
            status
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &CounterError) -> u8 {
    output::error(format_args!("{error}"));
    exit_status(error)
}

fn exit_status(error: &CounterError) -> u8 {
    match error {
        CounterError::Client(ClientError::Address(_)) => EXIT_MISUSED,
        CounterError::Client(
            ClientError::Refused { .. }
            | ClientError::Skipped { .. }
            | ClientError::AnswerLost { .. }
            | ClientError::OtherCluster { .. }
            | ClientError::OtherParty { .. }
            | ClientError::Protocol { .. },
        )
        | CounterError::Refused(_)
        | CounterError::OtherMachine => EXIT_NO,
        CounterError::Client(_) => EXIT_UNREACHED,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use standin_client::Trouble;
    use standin_core::entry::Index;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ClientArgs,
    }

    fn parse(line: &str) -> Result<ClientArgs, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.args)
    }

    #[test]
    fn lines_of_the_interface_are_understood() {
        let args = parse("client --viewservice h:1,h:2 --timeout 250ms counter add -3").unwrap();
        assert_eq!(args.timeout, Duration::from_millis(250));
        assert_eq!(args.viewservice.as_slice().len(), 2);
        assert!(matches!(
            args.machine,
            Machine::Counter(CounterVerb::Add { n: -3 })
        ));
        let args = parse("client --viewservice h:1 counter add").unwrap();
        assert_eq!(args.timeout, Duration::from_secs(5));
        assert!(matches!(
            args.machine,
            Machine::Counter(CounterVerb::Add { n: 1 })
        ));
        let args = parse("client --viewservice h:1 counter get").unwrap();
        assert!(matches!(args.machine, Machine::Counter(CounterVerb::Get)));
    }

    #[test]
    fn misuse_is_noticed() {
        for bad in [
            "client --viewservice nonsense counter get",
            "client --viewservice h:1 --timeout 5 counter get",
            "client --viewservice h:1 counter add one",
            "client --viewservice h:1 counter add 9223372036854775808",
            "client --viewservice h:1 counter",
            "client --viewservice h:1 counter get 1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_exit_status_tells_refused_from_not_reached() {
        let waited = Duration::from_secs(5);
        let trouble = Trouble::NothingTried;
        let unknown = ClientError::OutcomeUnknown {
            waited,
            trouble: trouble.clone(),
        };
        assert_eq!(exit_status(&unknown.into()), EXIT_UNREACHED);
        let unavailable = ClientError::Unavailable { waited, trouble };
        assert_eq!(exit_status(&unavailable.into()), EXIT_UNREACHED);
        let reason = String::new();
        assert_eq!(
            exit_status(&ClientError::Refused { reason }.into()),
            EXIT_NO
        );
        assert_eq!(exit_status(&CounterError::Refused(String::new())), EXIT_NO);
        let entry = Index(1234);
        assert_eq!(exit_status(&ClientError::Skipped { entry }.into()), EXIT_NO);
    }
}

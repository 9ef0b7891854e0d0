//! `standin client`: one command or query to the replicated service.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use clap::{Args, Subcommand};
use standin_client::{Client, ClientConfig, ClientError, Consistency, ViewServices};
use standin_core::machine::StateMachine;
use standin_core::time::Duration;

use super::{EXIT_MISUSED, EXIT_NO, EXIT_UNREACHED, duration, output};
use crate::machines::counter::{CounterClient, CounterError};
use crate::machines::kv::{KvClient, KvError};

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
    /// Speak to a key-value store
    #[command(
        subcommand,
        after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 kv get visits"
    )]
    Kv(KvVerb),
    /// Have this program's machine execute a command, once, and print the reply
    #[command(
        after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 command 'Add(5)'\n\n\
        The command is written as Rust would have it (RON), or as the machine says."
    )]
    Command {
        /// The command, in words
        #[arg(value_name = "WORDS", required = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Ask this program's machine, and print the answer
    #[command(after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 query Count")]
    Query {
        /// The query, in words
        #[arg(value_name = "WORDS", required = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
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

#[derive(Debug, Subcommand)]
enum KvVerb {
    /// Print the value of a key, as it is; if there is no such key, print nothing and exit with 1
    #[command(
        after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 kv get visits\n\n\
        Exit status: 0 the value is printed, and a line's end; 1 there is no such key, or it holds no string."
    )]
    Get {
        /// The key, which may be any bytes
        #[arg(value_name = "K")]
        key: OsString,
    },
    /// Put a value at a key, once, and print OK
    #[command(
        after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 kv set visits 41"
    )]
    Set {
        /// The key, which may be any bytes
        #[arg(value_name = "K")]
        key: OsString,
        /// The value, which may be any bytes; it may begin with a dash (behind -- also if it is -h or --help)
        #[arg(value_name = "V", allow_hyphen_values = true)]
        value: OsString,
    },
    /// Remove keys, once, and print how many of them there were
    #[command(
        after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 kv del visits visitors"
    )]
    Del {
        /// The keys; what begins with a dash is a key behind --
        #[arg(value_name = "K", required = true)]
        keys: Vec<OsString>,
    },
    /// Add N to the number at a key, once, and print the new one
    #[command(
        after_help = "Example:\n  standin client --viewservice 127.0.0.1:7000 kv incr visits -3"
    )]
    Incr {
        /// The key, which may be any bytes; one that is not there counts as 0
        #[arg(value_name = "K")]
        key: OsString,
        /// What to add, from -9223372036854775808 to 9223372036854775807
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        n: i64,
    },
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Counter(#[from] CounterError),
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error("there is no key '{}'", .0.display())]
    NoKey(OsString),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the machine refused: {0}")]
    Refused(String),
    #[error("the machine {machine} has no {what} '{words}': {why}")]
    Words {
        machine: &'static str,
        what: &'static str,
        words: String,
        why: String,
    },
}

/// Sends it, and prints the answer alone on a line.
pub(crate) fn run<M: StateMachine>(args: ClientArgs) -> u8 {
    let config = ClientConfig {
        timeout: args.timeout,
    };
    let mut client = match Client::new(args.viewservice, config) {
        Ok(client) => client,
        Err(error) => return failed(&error.into()),
    };
    let (answer, mut client) = match args.machine {
        Machine::Counter(verb) => {
            let mut counter = CounterClient::new(client);
            (ask_counter(&mut counter, verb), counter.into_client())
        }
        Machine::Kv(verb) => {
            let mut kv = KvClient::new(client);
            (ask_kv(&mut kv, verb), kv.into_client())
        }
        Machine::Command { words } => (command::<M>(&mut client, &words.join(" ")), client),
        Machine::Query { words } => (query::<M>(&mut client, &words.join(" ")), client),
    };
    match answer {
        Ok(mut line) => {
            line.push(b'\n');
            let status = output::written(output::write(&line));
            client.set_timeout(CLOSE_TIMEOUT);
            // A session that stays open expires by itself.
            let _ = client.close();
            status
        }
        Err(failure) => failed(&failure),
    }
}

fn ask_counter(counter: &mut CounterClient, verb: CounterVerb) -> Result<Vec<u8>, Failure> {
    let value = match verb {
        CounterVerb::Add { n } => counter.add(n),
        CounterVerb::Get => counter.get(),
    }?;
    Ok(value.to_string().into_bytes())
}

fn ask_kv(kv: &mut KvClient, verb: KvVerb) -> Result<Vec<u8>, Failure> {
    Ok(match verb {
        KvVerb::Get { key } => match kv.get(key.as_bytes())? {
            Some(value) => value,
            None => return Err(Failure::NoKey(key)),
        },
        KvVerb::Set { key, value } => {
            kv.set(key.as_bytes(), value.as_bytes())?;
            b"OK".to_vec()
        }
        KvVerb::Del { keys } => {
            let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
            kv.del(&keys)?.to_string().into_bytes()
        }
        KvVerb::Incr { key, n } => kv.incr(key.as_bytes(), n)?.to_string().into_bytes(),
    })
}

fn command<M: StateMachine>(client: &mut Client, words: &str) -> Result<Vec<u8>, Failure> {
    let bytes = M::parse_command(words).map_err(refused::<M>("command", words))?;
    told::<M>(&client.command(&bytes)?.bytes)
}

fn query<M: StateMachine>(client: &mut Client, words: &str) -> Result<Vec<u8>, Failure> {
    let bytes = M::parse_query(words).map_err(refused::<M>("query", words))?;
    told::<M>(&client.query(&bytes, Consistency::Confirmed)?.bytes)
}

fn told<M: StateMachine>(reply: &[u8]) -> Result<Vec<u8>, Failure> {
    match M::refusal_words(reply) {
        Some(words) => Err(Failure::Refused(words)),
        None => Ok(M::reply_words(reply).into_bytes()),
    }
}

fn refused<M: StateMachine>(what: &'static str, words: &str) -> impl FnOnce(String) -> Failure {
    let words = words.to_owned();
    move |why| Failure::Words {
        machine: M::NAME,
        what,
        words,
        why,
    }
}

fn failed(failure: &Failure) -> u8 {
    output::error(format_args!("{failure}"));
    exit_status(failure)
}

fn exit_status(failure: &Failure) -> u8 {
    match failure {
        Failure::Client(error)
        | Failure::Counter(CounterError::Client(error))
        | Failure::Kv(KvError::Client(error)) => status_of(error),
        Failure::Words { .. } => EXIT_MISUSED,
        _ => EXIT_NO,
    }
}

fn status_of(error: &ClientError) -> u8 {
    match error {
        ClientError::Address(_) => EXIT_MISUSED,
        ClientError::Refused { .. }
        | ClientError::Skipped { .. }
        | ClientError::AnswerLost { .. }
        | ClientError::OtherCluster { .. }
        | ClientError::OtherParty { .. }
        | ClientError::Protocol { .. } => EXIT_NO,
        _ => EXIT_UNREACHED,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use crate::machines::counter::{Counter, encode_get};
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

    fn kv_verb(line: &str) -> KvVerb {
        match parse(&format!("client --viewservice h:1 kv {line}")) {
            Ok(ClientArgs {
                machine: Machine::Kv(verb),
                ..
            }) => verb,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn keys_and_values_are_what_is_typed() {
        assert!(matches!(kv_verb("get k"), KvVerb::Get { key } if key == "k"));
        for value in ["v", "-3", "--value", ""] {
            let KvVerb::Set { key, value: taken } = kv_verb(&format!("set k {value}")) else {
                panic!("{value}");
            };
            assert_eq!((key, taken), ("k".into(), value.into()));
        }
        assert!(matches!(kv_verb("set -- -k -v"), KvVerb::Set { key, .. } if key == "-k"));
        assert!(matches!(kv_verb("del a b c"), KvVerb::Del { keys } if keys.len() == 3));
        assert!(matches!(kv_verb("incr k"), KvVerb::Incr { n: 1, .. }));
        assert!(matches!(kv_verb("incr k -3"), KvVerb::Incr { n: -3, .. }));
        let bytes = OsString::from_vec(vec![0xff, 0xfe]);
        let words = ["client", "--viewservice", "h:1", "kv", "get"].map(OsString::from);
        let line = Line::try_parse_from(words.iter().chain([&bytes])).unwrap();
        assert!(matches!(line.args.machine, Machine::Kv(KvVerb::Get { key }) if key == bytes));
    }

    #[test]
    fn a_refusal_is_no_reply() {
        let mut reply = Vec::new();
        Counter::default().query(b"nonsense", &mut reply);
        let refused = told::<Counter>(&reply).unwrap_err();
        assert_eq!(exit_status(&refused), EXIT_NO);
        assert!(
            refused.to_string().contains("the counter knows"),
            "{refused}"
        );
        reply.clear();
        Counter::default().query(&encode_get(), &mut reply);
        assert_eq!(told::<Counter>(&reply).unwrap(), b"0");
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
            "client --viewservice h:1 kv",
            "client --viewservice h:1 kv get",
            "client --viewservice h:1 kv get a b",
            "client --viewservice h:1 kv set a",
            "client --viewservice h:1 kv del",
            "client --viewservice h:1 kv incr a one",
            "client --viewservice h:1 kv hset a b c",
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
        assert_eq!(status_of(&unknown), EXIT_UNREACHED);
        assert_eq!(
            status_of(&ClientError::Unavailable { waited, trouble }),
            EXIT_UNREACHED
        );
        let reason = String::new();
        assert_eq!(status_of(&ClientError::Refused { reason }), EXIT_NO);
        let entry = Index(1234);
        assert_eq!(status_of(&ClientError::Skipped { entry }), EXIT_NO);
        for failure in [
            CounterError::Refused(String::new()).into(),
            KvError::Refused(String::new()).into(),
            KvError::OtherMachine.into(),
            Failure::NoKey("k".into()),
        ] {
            assert_eq!(exit_status(&failure), EXIT_NO);
        }
    }
}

//! A machine of one's own, run as replicas of its own: the same program as `standin`, but for the machine.
//!
//! It adds up, and it has a bug: there is a number at which it panics. So it also shows what becomes of such an
//! input.
//!
//! ```text
//! brittle viewservice --listen 127.0.0.1:7000 --data vs
//! brittle replica --name a --listen 127.0.0.1:7101 --viewservice 127.0.0.1:7000 --data a
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::io;
use std::process::ExitCode;

use standin::machine::{Context, StateMachine};
use standin::machines::counter::{Counter, decode_command, encode_add};
use standin::replica::{ReplicaConfig, ReplicaError};
use standin_core::identity::Durability;

/// It panics when this is added.
const UNLUCKY: i64 = 13;

/// A counter with a bug.
#[derive(Default)]
struct Brittle(Counter);

impl StateMachine for Brittle {
    const NAME: &'static str = "brittle";
    const VERSION: u32 = 1;
    type Capture = <Counter as StateMachine>::Capture;

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        // What is done before the panic must not be seen by anybody.
        self.0.apply(ctx, command, reply);
        assert!(
            decode_command(command) != Some(UNLUCKY),
            "{UNLUCKY} is unlucky"
        );
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        assert!(query != encode_add(UNLUCKY), "that is no question");
        self.0.query(query, reply);
    }

    fn capture(&self) -> Self::Capture {
        self.0.capture()
    }

    fn write_capture(capture: &Self::Capture, out: &mut dyn io::Write) -> io::Result<()> {
        Counter::write_capture(capture, out)
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        Counter::restore(input).map(Self)
    }
}

/// The value of a flag.
fn flag(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

fn replica() -> Result<(), String> {
    let needed = |name: &str| flag(name).ok_or_else(|| format!("{name} is missing"));
    let name = needed("--name")?;
    let config = ReplicaConfig::new(
        name.parse()
            .map_err(|error| format!("--name {name}: {error}"))?,
        needed("--listen")?,
        vec![needed("--viewservice")?],
        needed("--data")?.into(),
        match flag("--durability") {
            Some(level) => level.parse()?,
            None => Durability::default(),
        },
    );
    let run = standin::replica::run::<Brittle>(&config, |address| {
        println!("ready replica {name} {address}");
    });
    run.map_err(|error: ReplicaError| error.to_string())
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() != Some("replica") {
        return standin::cli::main();
    }
    standin_tools::cluster::die_with_parent_if_asked();
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    match replica() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The program as it is typed: its name, and the names of the machines that it has.

use std::path::Path;

use clap::CommandFactory as _;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use standin_core::machine::StateMachine;
use standin_tools::output;

use super::Cli;
use crate::machines;

/// What a program with a machine of its own is called: the name of its file.
pub(super) fn name() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The arguments of a program that brings `M`.
pub(super) fn command_line<M: StateMachine>() -> clap::Command {
    let is_own = machines::is_own::<M>();
    let mut line = Cli::command();
    if is_own {
        line = called(line, output::program()).name(output::program());
    }
    for verb in ["replica", "demo"] {
        line = line.mut_subcommand(verb, |verb| verb.mut_arg("machine", machine::<M>));
    }
    line.mut_subcommand("client", |client| {
        // The machines that come with Standin have verbs of their own.
        let hidden = match is_own {
            true => ["counter", "kv"],
            false => ["command", "query"],
        };
        let hide = |client: clap::Command, verb| client.mut_subcommand(verb, |it| it.hide(true));
        hidden.into_iter().fold(client, hide)
    })
}

/// `--machine`, with the names that may be given. A program's own machine need not be named.
fn machine<M: StateMachine>(argument: clap::Arg) -> clap::Arg {
    let names = PossibleValuesParser::new(machines::names::<M>());
    let argument = argument.value_parser(names.map(|name| name.to_owned()));
    match machines::is_own::<M>() {
        true => argument.required(false).default_value(M::NAME),
        false => argument,
    }
}

/// The same commands with examples for a program of that name, which brings a machine of its own.
fn called(command: clap::Command, program: &'static str) -> clap::Command {
    let command = match command.get_after_help() {
        Some(help) => {
            let help = help.to_string().replace("standin ", &format!("{program} "));
            let help = help.replace(" --machine counter", "");
            let help = help.replace("'counter get'", "WORDS");
            let help = help.replace("counter add 2", "command WORDS");
            let help = help.replace("command 'Add(5)'", "command WORDS");
            let help = help.replace("query Count", "query WORDS");
            command.after_help(help)
        }
        None => command,
    };
    command.mut_subcommands(|verb| called(verb, program))
}

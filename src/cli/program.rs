//! The program as it is typed: its name, and the names of the machines that it has.

use std::path::Path;

use clap::CommandFactory as _;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};
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
    if is_own {
        // Redis clients are served by the database alone.
        line = line.mut_subcommand("gateway", |verb| verb.hide(true));
        line = line.mut_subcommand("replay", |verb| {
            verb.mut_arg("query", |it| {
                it.help("Ask the machine then, in its own words")
            })
        });
        for flag in ["resp", "resp_advertise", "resp_reads", "resp_password"] {
            line = line.mut_subcommand("replica", |verb| verb.mut_arg(flag, |it| it.hide(true)));
        }
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
    // The machines that come with Standin are there in every program, but people who brought their own seek that.
    let is_shown = |name: &str| name == M::NAME || !machines::is_own::<M>();
    let names = machines::names::<M>().into_iter();
    let names = names.map(|name| PossibleValue::new(name).hide(!is_shown(name)));
    let names = PossibleValuesParser::new(names);
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

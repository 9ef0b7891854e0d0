//! Commands that are made of subcommands: which there are, how many arguments they take, what they are for.

use super::Taking;
use crate::call::{Outcome, Refusal};
use crate::commands::keys::unknown_subcommand;

/// A subcommand.
pub(crate) struct Subcommand {
    /// In lower case.
    name: &'static str,
    /// How many arguments, the command's name and its own among them; if negative, at least so many.
    arity: i8,
    /// Its arguments, for people.
    usage: &'static str,
    /// What it does, for people.
    help: &'static str,
}

/// A row of a command's table.
pub(crate) const fn row(
    name: &'static str,
    arity: i8,
    usage: &'static str,
    help: &'static str,
) -> Subcommand {
    Subcommand {
        name,
        arity,
        usage,
        help,
    }
}

/// The name of the subcommand that is asked for, in lower case.
pub(crate) fn find(
    command: &str,
    table: &'static [Subcommand],
    taking: &mut Taking<'_, '_>,
) -> Outcome<&'static str> {
    let asked = taking.at(1);
    if taking.is_word(1, "help") && taking.len() == 2 {
        help(command, table, taking);
        return Ok("help");
    }
    let found = table
        .iter()
        .find(|row| row.name.as_bytes().eq_ignore_ascii_case(asked));
    let Some(row) = found else {
        return Err(unknown_subcommand(&command.to_ascii_uppercase(), asked));
    };
    let arity = usize::from(row.arity.unsigned_abs());
    let fits = match row.arity < 0 {
        true => taking.len() >= arity,
        false => taking.len() == arity,
    };
    match fits {
        true => Ok(row.name),
        false => Err(Refusal::arity(&format!("{command}|{}", row.name))),
    }
}

fn help(command: &str, table: &[Subcommand], taking: &mut Taking<'_, '_>) {
    let reply = &mut taking.reply;
    reply.array(1 + table.len() * 2 + 2);
    let command = command.to_ascii_uppercase();
    reply.simple(format!(
        "{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    for row in table {
        let name = row.name.to_ascii_uppercase();
        reply.simple(format!("{name} {}", row.usage).trim_end());
        reply.simple(format!("    {}", row.help));
    }
    reply.simple("HELP");
    reply.simple("    Prints this help.");
}

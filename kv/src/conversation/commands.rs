//! COMMAND: what commands there are, for clients that find keys by it and for people.

use standin_resp::writer::ReplyWriter;

use super::cluster::keys;
use super::subcommands::{self, Subcommand, row};
use super::{Step, Taking};
use crate::call::{Outcome, Refusal};
use crate::glob;
use crate::table::{self, Handler, Spec};

const SUBCOMMANDS: &[Subcommand] = &[
    row(
        "count",
        2,
        "",
        "Return the total number of commands in this server.",
    ),
    row(
        "docs",
        -2,
        "[<command-name> ...]",
        "Return what there is to know of commands for people.",
    ),
    row(
        "getkeys",
        -4,
        "<full-command>",
        "Return the keys from a full command.",
    ),
    row(
        "info",
        -2,
        "[<command-name> ...]",
        "Return details about commands.",
    ),
    row(
        "list",
        -2,
        "[FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "Return a list of commands.",
    ),
];

pub(super) fn command(taking: &mut Taking<'_, '_>) -> Outcome<Step> {
    if taking.len() == 1 {
        every_detail(&mut taking.reply);
        return Ok(Step::Replied);
    }
    if !taking.is_word(1, "getkeys") {
        taking.check_names()?;
    }
    match subcommands::find("command", SUBCOMMANDS, taking)? {
        "count" => taking.reply.count(known().count()),
        "docs" => docs(taking),
        "getkeys" => get_keys(taking)?,
        "info" if taking.len() == 2 => every_detail(&mut taking.reply),
        "info" => {
            taking.reply.array(taking.len() - 2);
            for name in taking.request.iter().skip(2) {
                match find(name) {
                    Some(spec) => detail(spec, &mut taking.reply),
                    None => taking.reply.null(),
                }
            }
        }
        "list" => list(taking)?,
        // Its reply is written.
        _ => {}
    }
    Ok(Step::Replied)
}

/// The commands that there are to a client.
fn known() -> impl Iterator<Item = &'static Spec> {
    table::all().filter(|spec| !matches!(spec.handler, Handler::Missing))
}

fn find(name: &[u8]) -> Option<&'static Spec> {
    table::find(name).filter(|spec| !matches!(spec.handler, Handler::Missing))
}

fn words(text: &'static str) -> impl Iterator<Item = &'static str> + Clone {
    text.split(' ').filter(|word| !word.is_empty())
}

fn every_detail(reply: &mut ReplyWriter<'_>) {
    reply.array(known().count());
    known().for_each(|spec| detail(spec, reply));
}

/// The ten things that Redis 7 says of a command; nothing of tips, key specifications and subcommands.
fn detail(spec: &Spec, reply: &mut ReplyWriter<'_>) {
    reply.array(10);
    reply.bulk(spec.name);
    reply.integer(i64::from(spec.arity));
    reply.set(words(spec.flags).count());
    words(spec.flags).for_each(|flag| reply.simple(flag));
    for place in spec.keys {
        reply.integer(i64::from(place));
    }
    reply.set(words(spec.categories).count());
    words(spec.categories).for_each(|category| reply.simple(format!("@{category}")));
    reply.set(0);
    reply.set(0);
    reply.set(0);
}

/// In which group of the documents a command is.
fn group(spec: &Spec) -> &'static str {
    let has = |category| words(spec.categories).any(|it| it == category);
    let groups = [
        ("string", "string"),
        ("list", "list"),
        ("set", "set"),
        ("sortedset", "sorted-set"),
        ("hash", "hash"),
        ("keyspace", "generic"),
        ("transaction", "transactions"),
        ("connection", "connection"),
    ];
    let found = groups.iter().find(|(category, _)| has(*category));
    found.map_or("server", |(_, group)| group)
}

fn docs(taking: &mut Taking<'_, '_>) {
    let names = taking.request.iter().skip(2);
    let asked: Vec<&Spec> = match taking.len() {
        2 => known().collect(),
        _ => names.filter_map(find).collect(),
    };
    taking.reply.map(asked.len());
    for spec in asked {
        taking.reply.bulk(spec.name);
        taking.reply.map(1);
        taking.reply.bulk("group");
        taking.reply.bulk(group(spec));
    }
}

fn get_keys(taking: &mut Taking<'_, '_>) -> Outcome {
    let spec = find(taking.at(2)).ok_or(Refusal::of("ERR Invalid command specified"))?;
    let asked = taking.request.skipped(2);
    let has_keys = spec.keys[0] != 0 || spec.has_flag("movablekeys") || spec.name == "object";
    if !has_keys {
        return Err(Refusal::of("ERR The command has no key arguments"));
    }
    if !spec.takes(asked.len()) {
        return Err(Refusal::of(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let keys = keys(spec, &asked);
    if keys.is_empty() {
        return Err(Refusal::of("ERR Invalid arguments specified for command"));
    }
    taking.reply.array(keys.len());
    keys.iter().for_each(|key| taking.reply.bulk(key));
    Ok(())
}

fn list(taking: &mut Taking<'_, '_>) -> Outcome {
    let is_filter = taking.len() == 5 && taking.is_word(2, "filterby");
    let names: Vec<&str> = match () {
        () if taking.len() == 2 => known().map(|spec| spec.name).collect(),
        () if is_filter && taking.is_word(3, "module") => Vec::new(),
        () if is_filter && taking.is_word(3, "aclcat") => {
            let wanted = taking.at(4);
            let is_in = |spec: &&Spec| {
                words(spec.categories).any(|it| it.as_bytes().eq_ignore_ascii_case(wanted))
            };
            known().filter(is_in).map(|spec| spec.name).collect()
        }
        () if is_filter && taking.is_word(3, "pattern") => {
            // Names are in lower case, and so is the pattern taken.
            let pattern = taking.at(4).to_ascii_lowercase();
            let names = known().map(|spec| spec.name);
            names
                .filter(|name| glob::is_match(&pattern, name.as_bytes()))
                .collect()
        }
        () => return Err(Refusal::SYNTAX),
    };
    taking.reply.array(names.len());
    names.iter().for_each(|name| taking.reply.bulk(name));
    Ok(())
}

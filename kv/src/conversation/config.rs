//! CONFIG: settings that clients ask for. None can be changed by a client: replicas would come to differ.

use super::subcommands::{self, Subcommand, row};
use super::{Step, Taking};
use crate::arguments::ARGUMENT_BYTES_MAX;
use crate::call::{Outcome, Refusal};
use crate::glob;
use crate::keyspace::DATABASES;

const SUBCOMMANDS: &[Subcommand] = &[
    row(
        "get",
        -3,
        "<pattern> [<pattern> ...]",
        "Return parameters matching the glob-like <pattern> and their values.",
    ),
    row(
        "resetstat",
        2,
        "",
        "Do nothing: statistics are kept for the life of the process.",
    ),
    row("rewrite", 2, "", "Refuse: there is no file to write to."),
    row(
        "set",
        -4,
        "<directive> <value> [<directive> <value> ...]",
        "Refuse: nothing can be set by clients.",
    ),
];

/// What holds wherever this runs, in Redis's words.
fn settings() -> Vec<(&'static str, String)> {
    let text = |(name, value): (&'static str, &str)| (name, value.to_owned());
    let mut settings: Vec<(&str, String)> = [
        // Every change is in a log, and there are no points at which all is saved.
        ("save", ""),
        ("appendonly", "yes"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("timeout", "0"),
        ("notify-keyspace-events", ""),
        ("list-max-listpack-size", "-2"),
        ("list-max-ziplist-size", "-2"),
        ("hash-max-listpack-entries", "512"),
        ("hash-max-ziplist-entries", "512"),
        ("hash-max-listpack-value", "64"),
        ("hash-max-ziplist-value", "64"),
        ("set-max-intset-entries", "512"),
        ("zset-max-listpack-entries", "128"),
        ("zset-max-ziplist-entries", "128"),
        ("zset-max-listpack-value", "64"),
        ("zset-max-ziplist-value", "64"),
    ]
    .map(text)
    .to_vec();
    settings.push(("databases", DATABASES.to_string()));
    settings.push(("proto-max-bulk-len", ARGUMENT_BYTES_MAX.to_string()));
    settings
}

pub(super) fn config(taking: &mut Taking<'_, '_>) -> Outcome<Step> {
    taking.check_names()?;
    match subcommands::find("config", SUBCOMMANDS, taking)? {
        "get" => get(taking),
        "resetstat" => taking.reply.ok(),
        "rewrite" => {
            return Err(Refusal::of(
                "ERR The server is running without a config file",
            ));
        }
        "set" => return Err(refuse_set(taking)),
        // Its reply is written.
        _ => {}
    }
    Ok(Step::Replied)
}

fn all(taking: &Taking<'_, '_>) -> Vec<(&'static str, String)> {
    let mut all = settings();
    all.extend(taking.host.settings());
    all
}

fn get(taking: &mut Taking<'_, '_>) {
    let all = all(taking);
    let mut found: Vec<(Vec<u8>, &str)> = Vec::new();
    let mut is_found = vec![false; all.len()];
    for pattern in taking.request.iter().skip(2) {
        let is_exact = !pattern.iter().any(|byte| b"*?[\\".contains(byte));
        let folded = pattern.to_ascii_lowercase();
        for (at, (name, value)) in all.iter().enumerate() {
            if is_found[at] || !glob::is_match(&folded, name.as_bytes()) {
                continue;
            }
            is_found[at] = true;
            // A name comes back as it was asked for.
            let name = if is_exact { pattern } else { name.as_bytes() };
            found.push((name.to_vec(), value));
        }
    }
    taking.reply.map(found.len());
    for (name, value) in found {
        taking.reply.bulk(name);
        taking.reply.bulk(value);
    }
}

fn refuse_set(taking: &Taking<'_, '_>) -> Refusal {
    let all = all(taking);
    if taking.len() % 2 == 1 {
        return Refusal::SYNTAX;
    }
    let mut known = None;
    for name in taking.request.iter().skip(2).step_by(2) {
        let is_it = |(it, _): &(&str, String)| it.as_bytes().eq_ignore_ascii_case(name);
        if !all.iter().any(is_it) {
            let start = b"ERR Unknown option or number of arguments for CONFIG SET - '";
            return Refusal::quoting([start, name, b"'"].concat());
        }
        known.get_or_insert(name);
    }
    let start = b"ERR CONFIG SET failed (possibly related to argument '";
    let end = b"') - can't set immutable config";
    Refusal::quoting([start, known.unwrap_or_default(), end].concat())
}

//! Commands about keys, whatever stands under them.

use std::borrow::Cow;

use crate::call::{Outcome, Read, Refusal, Write, until_zero};
use crate::commands::connection::database;
use crate::commands::{Found, ScanOptions};
use crate::glob;
use crate::keyspace::{DatabaseId, Deadline, NEVER, Record};
use crate::table::{Handler, Spec, entry, read, write};

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    read("dbsize", 1, "readonly fast", [0, 0, 0], "keyspace read fast", Handler::Read(dbsize)),
    read("type", 2, "readonly fast", [1, 1, 1], "keyspace read fast", Handler::Read(type_of)),
    read("keys", 2, "readonly", [0, 0, 0], "keyspace read slow dangerous", Handler::Read(keys)),
    read("scan", -2, "readonly", [0, 0, 0], "keyspace read slow", Handler::Read(scan)),
    read("exists", -2, "readonly fast", [1, -1, 1], "keyspace read fast", Handler::Read(exists)),
    write("del", -2, "write", [1, -1, 1], "keyspace write slow", Handler::Write(del)),
    write("unlink", -2, "write fast", [1, -1, 1], "keyspace write fast", Handler::Write(del)),
    write("rename", 3, "write", [1, 2, 1], "keyspace write slow", Handler::Write(rename)),
    write("renamenx", 3, "write fast", [1, 2, 1], "keyspace write fast", Handler::Write(renamenx)),
    write("copy", -3, "write denyoom", [1, 2, 1], "keyspace write slow", Handler::Write(copy)),
    read("touch", -2, "readonly fast", [1, -1, 1], "keyspace read fast", Handler::Read(exists)),
    read("object", -2, "", [0, 0, 0], "slow", Handler::Read(object)),
    write("flushdb", -1, "write", [0, 0, 0], "keyspace write slow dangerous", Handler::Write(flushdb)),
    write("flushall", -1, "write", [0, 0, 0], "keyspace write slow dangerous", Handler::Write(flushall)),
    entry("randomkey", 1, "readonly", [0, 0, 0], "keyspace read slow", Handler::Read(randomkey)),
];

/// How often RANDOMKEY tries again when it comes upon a key that is gone.
const RANDOM_TRIES_MAX: usize = 100;

fn dbsize(call: &mut Read<'_>) -> Outcome {
    call.reply.count(call.keys.len(call.database));
    Ok(())
}

fn type_of(call: &mut Read<'_>) -> Outcome {
    let record = call.keys.get(call.database, call.args.key(1));
    let name = record.map_or("none", |record| record.value.kind().name());
    call.reply.simple(name);
    Ok(())
}

fn keys(call: &mut Read<'_>) -> Outcome {
    let pattern = call.args.at(1);
    let mark = call.reply.begin();
    let mut count = 0;
    for record in call.keys.iter(call.database) {
        let key = record.key().as_bytes();
        if pattern == b"*" || glob::is_match(pattern, key) {
            call.reply.bulk(key);
            count += 1;
            call.check_reply()?;
        }
    }
    call.reply.end_array(mark, count);
    Ok(())
}

fn scan(call: &mut Read<'_>) -> Outcome {
    let options = ScanOptions::parse(call, 1)?;
    let mut found = Found::default();
    let keys = call.keys;
    let next = keys.scan(
        call.database,
        options.cursor,
        options.count,
        |record, must| {
            let key = record.key().as_bytes();
            let is_wanted = options.matches(key) && options.is_of_type(record.value.kind());
            !is_wanted || found.add([Cow::Borrowed(key)], must)
        },
    );
    options.reply(call, next, &found)
}

fn exists(call: &mut Read<'_>) -> Outcome {
    let (keys, database, args) = (call.keys, call.database, call.args);
    let is_there = |place: &usize| keys.get(database, args.key(*place)).is_some();
    let count = (1..args.len()).filter(is_there).count();
    call.reply.count(count);
    Ok(())
}

fn del(call: &mut Write<'_>) -> Outcome {
    let mut count = 0;
    for place in 1..call.args.len() {
        count += usize::from(call.remove(call.args.key(place)));
    }
    call.reply.count(count);
    Ok(())
}

fn rename(call: &mut Write<'_>) -> Outcome {
    move_record(call, true)?;
    call.reply.ok();
    Ok(())
}

fn renamenx(call: &mut Write<'_>) -> Outcome {
    let is_moved = move_record(call, false)?;
    call.reply.integer(i64::from(is_moved));
    Ok(())
}

/// Moves a record to another key; whether it was moved.
fn move_record(call: &mut Write<'_>, replaces: bool) -> Outcome<bool> {
    let (from, to) = (call.args.key(1), call.args.key(2));
    if call.get(from).is_none() {
        return Err(Refusal::NO_KEY);
    }
    if from.bytes == to.bytes || (!replaces && call.get(to).is_some()) {
        return Ok(false);
    }
    let record = call.keys.remove(call.database, from);
    let record = record.expect("it was there a moment ago");
    let deadline = deadline_of(&record);
    call.remove(to);
    call.keys.put_new(call.database, to, record.value, deadline);
    Ok(true)
}

fn deadline_of(record: &Record) -> Deadline {
    match record.deadline() {
        NEVER => Deadline::Never,
        deadline => Deadline::At(deadline),
    }
}

fn copy(call: &mut Write<'_>) -> Outcome {
    let (mut to_database, mut replaces) = (call.database, false);
    let mut place = 3;
    while place < call.args.len() {
        if call.is_word(place, "replace") {
            replaces = true;
        } else if call.is_word(place, "db") && place + 1 < call.args.len() {
            place += 1;
            to_database = database(call.integer(place)?)?;
        } else {
            return Err(Refusal::SYNTAX);
        }
        place += 1;
    }
    let (from, to) = (call.args.key(1), call.args.key(2));
    if from.bytes == to.bytes && to_database == call.database {
        return Err(Refusal::of(
            "ERR source and destination objects are the same",
        ));
    }
    let Some(record) = call.get(from) else {
        call.reply.integer(0);
        return Ok(());
    };
    let (value, deadline) = (record.value.clone(), deadline_of(record));
    if call.keys.get(to_database, to).is_some() && !replaces {
        call.reply.integer(0);
        return Ok(());
    }
    call.keys.discard(to_database, to);
    call.keys.put_new(to_database, to, value, deadline);
    call.reply.integer(1);
    Ok(())
}

fn object(call: &mut Read<'_>) -> Outcome {
    check_object(call.args.at(1), call.args.len())?;
    match call.keys.get(call.database, call.args.key(2)) {
        Some(record) => call.reply.bulk(record.value.encoding()),
        None => call.reply.null(),
    }
    Ok(())
}

/// Refuses what is no subcommand of OBJECT, and one with too few or too many arguments: a transaction does so
/// before it queues it.
pub(crate) fn check_object(subcommand: &[u8], arguments: usize) -> Outcome {
    if !subcommand.eq_ignore_ascii_case(b"encoding") {
        return Err(unknown_subcommand("OBJECT", subcommand));
    }
    match arguments {
        3 => Ok(()),
        _ => Err(Refusal::arity("object|encoding")),
    }
}

/// The error for a subcommand that does not exist.
pub(crate) fn unknown_subcommand(command: &str, word: &[u8]) -> Refusal {
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(until_zero(&word[..word.len().min(128)]));
    text.extend_from_slice(format!("'. Try {command} HELP.").as_bytes());
    Refusal::quoting(text)
}

/// Refuses what is no way of flushing.
fn check_flush(call: &Write<'_>) -> Outcome {
    let is_word = call.is_word(1, "async") || call.is_word(1, "sync");
    match call.args.len() == 1 || (call.args.len() == 2 && is_word) {
        true => Ok(()),
        false => Err(Refusal::SYNTAX),
    }
}

fn flushdb(call: &mut Write<'_>) -> Outcome {
    check_flush(call)?;
    call.keys.flush(call.database);
    call.reply.ok();
    Ok(())
}

fn flushall(call: &mut Write<'_>) -> Outcome {
    check_flush(call)?;
    for database in DatabaseId::all() {
        call.keys.flush(database);
    }
    call.reply.ok();
    Ok(())
}

fn randomkey(call: &mut Read<'_>) -> Outcome {
    let count = call.keys.len(call.database);
    for _ in 0..RANDOM_TRIES_MAX {
        if count == 0 {
            break;
        }
        let place = call.random_below(count);
        if let Some(record) = call.keys.nth(call.database, place) {
            call.reply.bulk(record.key());
            return Ok(());
        }
    }
    // Most keys are gone: the first one that is not.
    match call.keys.iter(call.database).next() {
        Some(record) => call.reply.bulk(record.key()),
        None => call.reply.null(),
    }
    Ok(())
}

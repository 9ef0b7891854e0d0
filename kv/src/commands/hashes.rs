//! Commands of hashes.

use std::borrow::Cow;

use standin_resp::Version;
use standin_resp::number::{Decimal, parse_integer};

use crate::call::{Outcome, Read, Refusal, Write};
use crate::commands::picks::Wanted;
use crate::commands::{Found, ScanOptions};
use crate::extended::Extended;
use crate::hash::Hash;
use crate::table::{Handler, Spec, entry, read, write};
use crate::text::Text;
use crate::value::Value;

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    write("hset", -4, "write denyoom fast", [1, 1, 1], "write hash fast", Handler::Write(hset)),
    read("hget", 3, "readonly fast", [1, 1, 1], "read hash fast", Handler::Read(hget)),
    write("hmset", -4, "write denyoom fast", [1, 1, 1], "write hash fast", Handler::Write(hmset)),
    read("hmget", -3, "readonly fast", [1, 1, 1], "read hash fast", Handler::Read(hmget)),
    write("hsetnx", 4, "write denyoom fast", [1, 1, 1], "write hash fast", Handler::Write(hsetnx)),
    write("hdel", -3, "write fast", [1, 1, 1], "write hash fast", Handler::Write(hdel)),
    read("hlen", 2, "readonly fast", [1, 1, 1], "read hash fast", Handler::Read(hlen)),
    read("hstrlen", 3, "readonly fast", [1, 1, 1], "read hash fast", Handler::Read(hstrlen)),
    read("hkeys", 2, "readonly", [1, 1, 1], "read hash slow", Handler::Read(hkeys)),
    read("hvals", 2, "readonly", [1, 1, 1], "read hash slow", Handler::Read(hvals)),
    read("hgetall", 2, "readonly", [1, 1, 1], "read hash slow", Handler::Read(hgetall)),
    read("hexists", 3, "readonly fast", [1, 1, 1], "read hash fast", Handler::Read(hexists)),
    write("hincrby", 4, "write denyoom fast", [1, 1, 1], "write hash fast", Handler::Write(hincrby)),
    write("hincrbyfloat", 4, "write denyoom fast", [1, 1, 1], "write hash fast", Handler::Write(hincrbyfloat)),
    entry("hrandfield", -2, "readonly", [1, 1, 1], "read hash slow", Handler::Read(hrandfield)),
    read("hscan", -3, "readonly", [1, 1, 1], "read hash slow", Handler::Read(hscan)),
];

/// Most pairs that HRANDFIELD may be asked for: twice as many elements must be a number.
const PAIRS_MAX: u64 = i64::MAX as u64 / 2;

/// The hash that a reading command is about, if there is one.
fn hash_of<'k>(call: &Read<'k>) -> Outcome<Option<&'k Hash>> {
    let keys = call.keys;
    let record = keys.get(call.database, call.args.key(1));
    let hash = record.map(|record| record.value.as_hash().ok_or(Refusal::WRONG_TYPE));
    hash.transpose()
}

/// The value of a field of the hash that a writing command is about, if there is one.
fn value_of<'c>(call: &'c mut Write<'_>, field: &[u8]) -> Outcome<Option<&'c Text>> {
    let key = call.args.key(1);
    if call.keys.has_deadlines(call.database) {
        call.keys.remove_if_gone(call.database, key);
    }
    let Some(record) = call.get(key) else {
        return Ok(None);
    };
    let hash = record.value.as_hash().ok_or(Refusal::WRONG_TYPE)?;
    Ok(hash.get(field))
}

/// Changes the hash that a command is about, a new one if there is none.
fn change<T>(call: &mut Write<'_>, change: impl FnOnce(&mut Hash) -> T) -> Outcome<T> {
    let key = call.args.key(1);
    match call.get_mut(key) {
        None => {
            let mut hash = Hash::default();
            let done = change(&mut hash);
            call.put_new(key, Value::Hash(hash.into()));
            Ok(done)
        }
        Some(mut found) => {
            let hash = found.value_mut().as_hash_mut();
            let done = change(hash.ok_or(Refusal::WRONG_TYPE)?);
            found.mark_changed();
            Ok(done)
        }
    }
}

/// Sets all fields of HSET and HMSET; how many are new.
fn set_all(call: &mut Write<'_>) -> Outcome<usize> {
    let args = call.args;
    if args.len() % 2 == 1 {
        return Err(Refusal::arity(call.name()));
    }
    change(call, |hash| {
        let mut count = 0;
        for place in (2..args.len()).step_by(2) {
            count += usize::from(hash.set(args.at(place), args.at(place + 1)));
        }
        count
    })
}

fn hset(call: &mut Write<'_>) -> Outcome {
    let count = set_all(call)?;
    call.reply.count(count);
    Ok(())
}

fn hmset(call: &mut Write<'_>) -> Outcome {
    set_all(call)?;
    call.reply.ok();
    Ok(())
}

fn hsetnx(call: &mut Write<'_>) -> Outcome {
    let (field, value) = (call.args.at(2), call.args.at(3));
    let is_there = value_of(call, field)?.is_some();
    if !is_there {
        change(call, |hash| hash.set(field, value))?;
    }
    call.reply.integer(i64::from(!is_there));
    Ok(())
}

fn hget(call: &mut Read<'_>) -> Outcome {
    match hash_of(call)?.and_then(|hash| hash.get(call.args.at(2))) {
        Some(value) => call.reply.bulk(value),
        None => call.reply.null(),
    }
    Ok(())
}

fn hmget(call: &mut Read<'_>) -> Outcome {
    let hash = hash_of(call)?;
    call.reply.array(call.args.len() - 2);
    for field in call.args.from(2) {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => call.reply.bulk(value),
            None => call.reply.null(),
        }
        call.check_reply()?;
    }
    Ok(())
}

fn hdel(call: &mut Write<'_>) -> Outcome {
    let key = call.args.key(1);
    let fields = call.args.from(2);
    let mut count = 0;
    let mut is_empty = false;
    if let Some(mut found) = call.get_mut(key) {
        let hash = found.value().as_hash().ok_or(Refusal::WRONG_TYPE)?;
        // Looked for first: what is not there must not cost copies of what is shared.
        if fields.clone().any(|field| hash.get(field).is_some()) {
            let hash = found.value_mut().as_hash_mut().expect("it is one");
            count = fields.filter(|field| hash.remove(field)).count();
            is_empty = hash.is_empty();
            found.mark_changed();
        }
    }
    if is_empty {
        call.remove(key);
    }
    call.reply.count(count);
    Ok(())
}

fn hlen(call: &mut Read<'_>) -> Outcome {
    let length = hash_of(call)?.map_or(0, Hash::len);
    call.reply.count(length);
    Ok(())
}

fn hstrlen(call: &mut Read<'_>) -> Outcome {
    let value = hash_of(call)?.and_then(|hash| hash.get(call.args.at(2)));
    call.reply.count(value.map_or(0, Text::len));
    Ok(())
}

fn hexists(call: &mut Read<'_>) -> Outcome {
    let value = hash_of(call)?.and_then(|hash| hash.get(call.args.at(2)));
    call.reply.integer(i64::from(value.is_some()));
    Ok(())
}

fn hkeys(call: &mut Read<'_>) -> Outcome {
    let hash = hash_of(call)?;
    call.reply.array(hash.map_or(0, Hash::len));
    for (field, _) in hash.into_iter().flat_map(Hash::iter) {
        call.reply.bulk(field);
        call.check_reply()?;
    }
    Ok(())
}

fn hvals(call: &mut Read<'_>) -> Outcome {
    let hash = hash_of(call)?;
    call.reply.array(hash.map_or(0, Hash::len));
    for (_, value) in hash.into_iter().flat_map(Hash::iter) {
        call.reply.bulk(value);
        call.check_reply()?;
    }
    Ok(())
}

fn hgetall(call: &mut Read<'_>) -> Outcome {
    let hash = hash_of(call)?;
    call.reply.map(hash.map_or(0, Hash::len));
    for (field, value) in hash.into_iter().flat_map(Hash::iter) {
        call.reply.bulk(field);
        call.reply.bulk(value);
        call.check_reply()?;
    }
    Ok(())
}

fn hincrby(call: &mut Write<'_>) -> Outcome {
    let amount = call.integer(3)?;
    let field = call.args.at(2);
    let before = match value_of(call, field)? {
        Some(value) => parse_integer(value.as_bytes())
            .ok_or(Refusal::of("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = before
        .checked_add(amount)
        .ok_or(Refusal::of("ERR increment or decrement would overflow"))?;
    change(call, |hash| hash.set(field, Decimal::new(sum).as_bytes()))?;
    call.reply.integer(sum);
    Ok(())
}

fn hincrbyfloat(call: &mut Write<'_>) -> Outcome {
    let amount = Extended::parse(call.args.at(3)).ok_or(Refusal::NOT_FLOAT)?;
    if !amount.is_finite() {
        return Err(Refusal::of("ERR value is NaN or Infinity"));
    }
    let field = call.args.at(2);
    let before = match value_of(call, field)? {
        Some(value) => {
            Extended::parse(value.as_bytes()).ok_or(Refusal::of("ERR hash value is not a float"))?
        }
        None => Extended::from(0),
    };
    let sum = before.checked_add(amount);
    let sum = sum.ok_or(Refusal::of("ERR increment would produce NaN or Infinity"))?;
    let text = sum.to_text();
    change(call, |hash| hash.set(field, text.as_bytes()))?;
    call.reply.bulk(text);
    Ok(())
}

fn hrandfield(call: &mut Read<'_>) -> Outcome {
    if call.args.len() == 2 {
        let Some(hash) = hash_of(call)? else {
            call.reply.null();
            return Ok(());
        };
        let place = call.random_below(hash.len());
        let (field, _) = hash.nth(place).expect("it has so many");
        call.reply.bulk(field);
        return Ok(());
    }
    let wanted = Wanted::parse(call, 2)?;
    let has_values = match call.args.len() {
        3 => false,
        4 if call.is_word(3, "withvalues") => true,
        _ => return Err(Refusal::SYNTAX),
    };
    if has_values && wanted.count() as u64 > PAIRS_MAX {
        return Err(Refusal::of("ERR value is out of range"));
    }
    let Some(hash) = hash_of(call)? else {
        call.reply.array(0);
        return Ok(());
    };
    let places = wanted.places(call, hash.len())?;
    let is_nested = has_values && call.reply.version() == Version::Resp3;
    let is_flat = has_values && !is_nested;
    call.reply.array(places.len() * (1 + usize::from(is_flat)));
    for place in places {
        let (field, value) = hash.nth(place).expect("it has so many");
        if is_nested {
            call.reply.array(2);
        }
        call.reply.bulk(field);
        if has_values {
            call.reply.bulk(value);
        }
        call.check_reply()?;
    }
    Ok(())
}

fn hscan(call: &mut Read<'_>) -> Outcome {
    let options = ScanOptions::at(call, 2)?;
    let Some(hash) = hash_of(call)? else {
        return options.reply(call, 0, &Found::default());
    };
    let options = options.and_options(call, 3)?;
    let mut found = Found::default();
    let next = hash.scan(options.cursor, options.count, |field, value, must| {
        let pair = [field, value].map(|it| Cow::Borrowed(it.as_bytes()));
        !options.matches(field.as_bytes()) || found.add(pair, must)
    });
    options.reply(call, next, &found)
}

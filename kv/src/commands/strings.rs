//! Commands of strings.

use std::borrow::Cow;

use standin_resp::number::parse_integer;
use standin_resp::writer::ReplyWriter;

use crate::arguments::ARGUMENT_BYTES_MAX;
use crate::call::{Outcome, Read, Refusal, Write};
use crate::commands::expiry::{Clock, MILLIS, MILLIS_AT, SECONDS, SECONDS_AT, invalid_time};
use crate::extended::Extended;
use crate::keyspace::{Deadline, NEVER, Record};
use crate::members::Key;
use crate::table::{Handler, Spec, read, write};
use crate::text::Text;
use crate::value::Value;

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    read("get", 2, "readonly fast", [1, 1, 1], "read string fast", Handler::Read(get)),
    write("set", -3, "write denyoom", [1, 1, 1], "write string slow", Handler::Write(set)),
    write("setnx", 3, "write denyoom fast", [1, 1, 1], "write string fast", Handler::Write(setnx)),
    write("setex", 4, "write denyoom", [1, 1, 1], "write string slow", Handler::Write(setex)),
    write("psetex", 4, "write denyoom", [1, 1, 1], "write string slow", Handler::Write(psetex)),
    write("getset", 3, "write denyoom fast", [1, 1, 1], "write string fast", Handler::Write(getset)),
    write("getdel", 2, "write fast", [1, 1, 1], "write string fast", Handler::Write(getdel)),
    write("getex", -2, "write fast", [1, 1, 1], "write string fast", Handler::Write(getex)),
    read("mget", -2, "readonly fast", [1, -1, 1], "read string fast", Handler::Read(mget)),
    write("mset", -3, "write denyoom", [1, -1, 2], "write string slow", Handler::Write(mset)),
    write("msetnx", -3, "write denyoom", [1, -1, 2], "write string slow", Handler::Write(msetnx)),
    write("incr", 2, "write denyoom fast", [1, 1, 1], "write string fast", Handler::Write(incr)),
    write("decr", 2, "write denyoom fast", [1, 1, 1], "write string fast", Handler::Write(decr)),
    write("incrby", 3, "write denyoom fast", [1, 1, 1], "write string fast", Handler::Write(incrby)),
    write("decrby", 3, "write denyoom fast", [1, 1, 1], "write string fast", Handler::Write(decrby)),
    write("incrbyfloat", 3, "write denyoom fast", [1, 1, 1], "write string fast", Handler::Write(incrbyfloat)),
    write("append", 3, "write denyoom fast", [1, 1, 1], "write string fast", Handler::Write(append)),
    read("strlen", 2, "readonly fast", [1, 1, 1], "read string fast", Handler::Read(strlen)),
    write("setrange", 4, "write denyoom", [1, 1, 1], "write string slow", Handler::Write(setrange)),
    read("getrange", 4, "readonly", [1, 1, 1], "read string slow", Handler::Read(getrange)),
    read("substr", 4, "readonly", [1, 1, 1], "read string slow", Handler::Read(getrange)),
];

fn get(call: &mut Read<'_>) -> Outcome {
    match call.keys.get(call.database, call.args.key(1)) {
        None => call.reply.null(),
        Some(record) => match &record.value {
            Value::Integer(number) => call.reply.bulk_integer(*number),
            Value::Text(text) => call.reply.bulk(text),
            Value::List(_) | Value::Set(_) | Value::Sorted(_) | Value::Hash(_) => {
                return Err(Refusal::WRONG_TYPE);
            }
        },
    }
    Ok(())
}

/// What SET and GETEX may be told besides key and value.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    nx: bool,
    xx: bool,
    get: bool,
    keep: bool,
    persist: bool,
    /// The unit of a deadline, and the place of the argument that holds it.
    deadline: Option<(Clock, usize)>,
}

impl Options {
    fn parse(call: &Write<'_>, first: usize, is_set: bool) -> Outcome<Self> {
        let mut options = Self::default();
        let mut place = first;
        while place < call.args.len() {
            let clock = [
                ("ex", SECONDS),
                ("px", MILLIS),
                ("exat", SECONDS_AT),
                ("pxat", MILLIS_AT),
            ];
            let clock = clock.iter().find(|(word, _)| call.is_word(place, word));
            let it = &mut options;
            if is_set && !it.xx && call.is_word(place, "nx") {
                it.nx = true;
            } else if is_set && !it.nx && call.is_word(place, "xx") {
                it.xx = true;
            } else if is_set && call.is_word(place, "get") {
                it.get = true;
            } else if is_set && it.deadline.is_none() && call.is_word(place, "keepttl") {
                it.keep = true;
            } else if !is_set && it.deadline.is_none() && call.is_word(place, "persist") {
                it.persist = true;
            } else if let Some((_, clock)) = clock
                && !it.keep
                && !it.persist
                && it.deadline.is_none_or(|(before, _)| before == *clock)
                && place + 1 < call.args.len()
            {
                place += 1;
                it.deadline = Some((*clock, place));
            } else {
                return Err(Refusal::SYNTAX);
            }
            place += 1;
        }
        Ok(options)
    }

    /// The deadline asked for, in milliseconds since 1970.
    fn deadline(&self, call: &Write<'_>) -> Outcome<Option<u64>> {
        match self.deadline {
            Some((clock, place)) => deadline_at(call, clock, place).map(Some),
            None => Ok(None),
        }
    }
}

/// The deadline that the argument at `place` stands for, in milliseconds since 1970.
fn deadline_at(call: &Write<'_>, clock: Clock, place: usize) -> Outcome<u64> {
    let number = call.integer(place)?;
    let millis = clock
        .millis(number, call.keys.now())
        .filter(|_| number > 0)
        .and_then(|millis| u64::try_from(millis).ok());
    millis.ok_or_else(|| invalid_time(call.name()))
}

fn set(call: &mut Write<'_>) -> Outcome {
    let key = call.args.key(1);
    if call.args.len() == 3 {
        let value = Value::of_bytes(call.args.at(2));
        call.put(key, value, Deadline::Never);
        call.reply.ok();
        return Ok(());
    }
    let options = Options::parse(call, 3, true)?;
    let deadline = options.deadline(call)?;
    let before = call.keys.get(call.database, key);
    if options.get {
        reply_string(&mut call.reply, before)?;
    }
    let is_there = before.is_some();
    if (options.nx && is_there) || (options.xx && !is_there) {
        if !options.get {
            call.reply.null();
        }
        return Ok(());
    }
    let deadline = match deadline {
        Some(deadline) => Deadline::At(deadline),
        None if options.keep => Deadline::Keep,
        None => Deadline::Never,
    };
    let value = Value::of_bytes(call.args.at(2));
    call.put(key, value, deadline);
    if !options.get {
        call.reply.ok();
    }
    Ok(())
}

/// Writes the string of a record, or that there is none.
fn reply_string(reply: &mut ReplyWriter<'_>, record: Option<&Record>) -> Outcome {
    match record {
        None => reply.null(),
        Some(record) => {
            let bytes = record.value.string().ok_or(Refusal::WRONG_TYPE)?;
            reply.bulk(bytes.as_bytes());
        }
    }
    Ok(())
}

fn setnx(call: &mut Write<'_>) -> Outcome {
    let key = call.args.key(1);
    let is_there = call.get(key).is_some();
    if !is_there {
        call.put(key, Value::of_bytes(call.args.at(2)), Deadline::Never);
    }
    call.reply.integer(i64::from(!is_there));
    Ok(())
}

fn set_for(call: &mut Write<'_>, clock: Clock) -> Outcome {
    let deadline = deadline_at(call, clock, 2)?;
    let value = Value::of_bytes(call.args.at(3));
    call.put(call.args.key(1), value, Deadline::At(deadline));
    call.reply.ok();
    Ok(())
}

fn setex(call: &mut Write<'_>) -> Outcome {
    set_for(call, SECONDS)
}

fn psetex(call: &mut Write<'_>) -> Outcome {
    set_for(call, MILLIS)
}

fn getset(call: &mut Write<'_>) -> Outcome {
    let key = call.args.key(1);
    reply_string(&mut call.reply, call.keys.get(call.database, key))?;
    call.put(key, Value::of_bytes(call.args.at(2)), Deadline::Never);
    Ok(())
}

fn getdel(call: &mut Write<'_>) -> Outcome {
    let key = call.args.key(1);
    reply_string(&mut call.reply, call.keys.get(call.database, key))?;
    call.remove(key);
    Ok(())
}

fn getex(call: &mut Write<'_>) -> Outcome {
    let options = Options::parse(call, 2, false)?;
    let key = call.args.key(1);
    let Some(record) = call.keys.get(call.database, key) else {
        call.keys.remove_if_gone(call.database, key);
        call.reply.null();
        return Ok(());
    };
    let had_deadline = record.deadline() != NEVER;
    if record.value.string().is_none() {
        return Err(Refusal::WRONG_TYPE);
    }
    let deadline = options.deadline(call)?;
    reply_string(&mut call.reply, call.keys.get(call.database, key))?;
    match deadline {
        Some(deadline) if deadline <= call.keys.now() => {
            call.remove(key);
        }
        Some(deadline) => change_deadline(call, key, deadline),
        None if options.persist && had_deadline => change_deadline(call, key, NEVER),
        None => {}
    }
    Ok(())
}

fn change_deadline(call: &mut Write<'_>, key: Key<'_>, deadline: u64) {
    call.keys.set_deadline(call.database, key, deadline);
    call.get_mut(key).expect("it is there").mark_changed();
}

fn mget(call: &mut Read<'_>) -> Outcome {
    let (keys, database) = (call.keys, call.database);
    call.reply.array(call.args.len() - 1);
    for place in 1..call.args.len() {
        let record = keys.get(database, call.args.key(place));
        match record.and_then(|record| record.value.string()) {
            Some(bytes) => call.reply.bulk(bytes.as_bytes()),
            None => call.reply.null(),
        }
        call.check_reply()?;
    }
    Ok(())
}

fn mset(call: &mut Write<'_>) -> Outcome {
    check_pairs(call)?;
    set_all(call);
    call.reply.ok();
    Ok(())
}

fn msetnx(call: &mut Write<'_>) -> Outcome {
    check_pairs(call)?;
    let mut keys = (1..call.args.len()).step_by(2);
    let is_any_there = keys.any(|place| call.get(call.args.key(place)).is_some());
    if !is_any_there {
        set_all(call);
    }
    call.reply.integer(i64::from(!is_any_there));
    Ok(())
}

fn check_pairs(call: &Write<'_>) -> Outcome {
    match call.args.len() % 2 {
        1 => Ok(()),
        _ => Err(Refusal::arity(call.name())),
    }
}

fn set_all(call: &mut Write<'_>) {
    for place in (1..call.args.len()).step_by(2) {
        let value = Value::of_bytes(call.args.at(place + 1));
        call.put(call.args.key(place), value, Deadline::Never);
    }
}

fn add(call: &mut Write<'_>, amount: i64) -> Outcome {
    let key = call.args.key(1);
    let sum = match call.get_mut(key) {
        None => {
            call.put_new(key, Value::Integer(amount));
            amount
        }
        Some(found) => {
            let before = match found.value() {
                Value::Integer(number) => *number,
                Value::Text(text) => parse_integer(text.as_bytes()).ok_or(Refusal::NOT_INTEGER)?,
                Value::List(_) | Value::Set(_) | Value::Sorted(_) | Value::Hash(_) => {
                    return Err(Refusal::WRONG_TYPE);
                }
            };
            let sum = before
                .checked_add(amount)
                .ok_or(Refusal::of("ERR increment or decrement would overflow"))?;
            *found.change() = Value::Integer(sum);
            sum
        }
    };
    call.reply.integer(sum);
    Ok(())
}

fn incr(call: &mut Write<'_>) -> Outcome {
    add(call, 1)
}

fn decr(call: &mut Write<'_>) -> Outcome {
    add(call, -1)
}

fn incrby(call: &mut Write<'_>) -> Outcome {
    let amount = call.integer(2)?;
    add(call, amount)
}

fn decrby(call: &mut Write<'_>) -> Outcome {
    let amount = call.integer(2)?.checked_neg();
    add(
        call,
        amount.ok_or(Refusal::of("ERR decrement would overflow"))?,
    )
}

fn incrbyfloat(call: &mut Write<'_>) -> Outcome {
    let key = call.args.key(1);
    let before = match call.get(key).map(|record| &record.value) {
        None => Extended::from(0),
        Some(Value::Integer(number)) => Extended::from(*number),
        Some(Value::Text(text)) => Extended::parse(text.as_bytes()).ok_or(Refusal::NOT_FLOAT)?,
        Some(Value::List(_) | Value::Set(_) | Value::Sorted(_) | Value::Hash(_)) => {
            return Err(Refusal::WRONG_TYPE);
        }
    };
    let amount = Extended::parse(call.args.at(2)).ok_or(Refusal::NOT_FLOAT)?;
    let sum = before.checked_add(amount);
    let sum = sum.ok_or(Refusal::of("ERR increment would produce NaN or Infinity"))?;
    let text = sum.to_text();
    call.put(key, Value::Text(Text::new(text.as_bytes())), Deadline::Keep);
    call.reply.bulk(text);
    Ok(())
}

fn strlen(call: &mut Read<'_>) -> Outcome {
    let record = call.keys.get(call.database, call.args.key(1));
    let length = match record {
        None => 0,
        Some(record) => {
            let bytes = record.value.string().ok_or(Refusal::WRONG_TYPE)?;
            bytes.as_bytes().len()
        }
    };
    call.reply.count(length);
    Ok(())
}

/// Refuses a string that would become too long.
fn check_length(length: usize) -> Outcome {
    match length <= ARGUMENT_BYTES_MAX {
        true => Ok(()),
        false => Err(Refusal::TOO_LONG),
    }
}

/// The bytes of a string, to be changed in place.
fn grow(value: &mut Value) -> &mut Vec<u8> {
    if let Value::Integer(number) = value {
        *value = Value::Text(Text::grown(number.to_string().into_bytes()));
    }
    match value {
        Value::Text(text) => text.grow(),
        Value::Integer(_) | Value::List(_) | Value::Set(_) | Value::Sorted(_) | Value::Hash(_) => {
            unreachable!("it was a string")
        }
    }
}

fn append(call: &mut Write<'_>) -> Outcome {
    let (key, suffix) = (call.args.key(1), call.args.at(2));
    let length = match call.get_mut(key) {
        None => {
            call.put_new(key, Value::of_bytes(suffix));
            suffix.len()
        }
        Some(found) => {
            let bytes = found.value().string().ok_or(Refusal::WRONG_TYPE)?;
            let length = bytes.as_bytes().len() + suffix.len();
            check_length(length)?;
            grow(found.change()).extend_from_slice(suffix);
            length
        }
    };
    call.reply.count(length);
    Ok(())
}

fn setrange(call: &mut Write<'_>) -> Outcome {
    let offset = call.integer(2)?;
    let offset = usize::try_from(offset).map_err(|_| Refusal::of("ERR offset is out of range"))?;
    let (key, part) = (call.args.key(1), call.args.at(3));
    let end = offset.saturating_add(part.len());
    let length = match call.get_mut(key) {
        None if part.is_empty() => 0,
        None => {
            check_length(end)?;
            let mut bytes = vec![0; offset];
            bytes.extend_from_slice(part);
            call.put_new(key, Value::Text(Text::grown(bytes)));
            end
        }
        Some(found) => {
            let bytes = found.value().string().ok_or(Refusal::WRONG_TYPE)?;
            let before = bytes.as_bytes().len();
            if part.is_empty() {
                before
            } else {
                check_length(end)?;
                let bytes = grow(found.change());
                bytes.resize(before.max(end), 0);
                bytes[offset..end].copy_from_slice(part);
                bytes.len()
            }
        }
    };
    call.reply.count(length);
    Ok(())
}

fn getrange(call: &mut Read<'_>) -> Outcome {
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let part: Cow<'_, [u8]> = match call.keys.get(call.database, call.args.key(1)) {
        None => Cow::Borrowed(b""),
        Some(record) => {
            let bytes = record.value.string().ok_or(Refusal::WRONG_TYPE)?;
            let bytes = bytes.as_bytes();
            Cow::Owned(bytes[range(start, end, bytes.len())].to_vec())
        }
    };
    call.reply.bulk(&part);
    Ok(())
}

/// What Redis takes for a part of a string of this length, both ends included, counted from its end if negative.
fn range(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    let count = i64::try_from(length).expect("strings are bounded");
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_end = |at: i64| if at < 0 { (at + count).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(count - 1));
    if start > end {
        return 0..0;
    }
    let place = |at: i64| usize::try_from(at).expect("not negative");
    place(start)..place(end) + 1
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_cut_as_in_redis() {
        assert_eq!(range(0, -1, 5), 0..5);
        assert_eq!(range(1, 2, 5), 1..3);
        assert_eq!(range(-3, -1, 5), 2..5);
        assert_eq!(range(-1, -3, 5), 0..0);
        assert_eq!(range(3, 1, 5), 0..0);
        assert_eq!(range(-100, 1, 5), 0..2);
        assert_eq!(range(-100, -50, 5), 0..1);
        assert_eq!(range(7, 9, 5), 0..0);
        assert_eq!(range(0, 0, 0), 0..0);
        assert_eq!(range(i64::MIN, i64::MAX, 3), 0..3);
    }
}

//! Commands of sets, but for those that make one set of several: see `algebra.rs`.

use std::borrow::Cow;

use crate::call::{Outcome, REPLY_BYTES_MAX, Read, Refusal, Write};
use crate::commands::algebra::{
    sdiff, sdiffstore, sinter, sintercard, sinterstore, sunion, sunionstore,
};
use crate::commands::picks::Wanted;
use crate::commands::{Found, ScanOptions};
use crate::members::Key;
use crate::set::Set;
use crate::table::{Handler, Spec, entry, read, write};
use crate::value::{StringBytes, Value};

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    write("sadd", -3, "write denyoom fast", [1, 1, 1], "write set fast", Handler::Write(sadd)),
    write("srem", -3, "write fast", [1, 1, 1], "write set fast", Handler::Write(srem)),
    read("smembers", 2, "readonly", [1, 1, 1], "read set slow", Handler::Read(smembers)),
    read("sismember", 3, "readonly fast", [1, 1, 1], "read set fast", Handler::Read(sismember)),
    read("smismember", -3, "readonly fast", [1, 1, 1], "read set fast", Handler::Read(smismember)),
    read("scard", 2, "readonly fast", [1, 1, 1], "read set fast", Handler::Read(scard)),
    write("smove", 4, "write fast", [1, 2, 1], "write set fast", Handler::Write(smove)),
    write("spop", -2, "write fast", [1, 1, 1], "write set fast", Handler::Write(spop)),
    entry("srandmember", -2, "readonly", [1, 1, 1], "read set slow", Handler::Read(srandmember)),
    read("sinter", -2, "readonly", [1, -1, 1], "read set slow", Handler::Read(sinter)),
    write("sinterstore", -3, "write denyoom", [1, -1, 1], "write set slow", Handler::Write(sinterstore)),
    read("sintercard", -3, "readonly movablekeys", [0, 0, 0], "read set slow", Handler::Read(sintercard)),
    read("sunion", -2, "readonly", [1, -1, 1], "read set slow", Handler::Read(sunion)),
    write("sunionstore", -3, "write denyoom", [1, -1, 1], "write set slow", Handler::Write(sunionstore)),
    read("sdiff", -2, "readonly", [1, -1, 1], "read set slow", Handler::Read(sdiff)),
    write("sdiffstore", -3, "write denyoom", [1, -1, 1], "write set slow", Handler::Write(sdiffstore)),
    read("sscan", -3, "readonly", [1, 1, 1], "read set slow", Handler::Read(sscan)),
];

/// The set that a reading command is about, if there is one.
fn set_of<'k>(call: &Read<'k>) -> Outcome<Option<&'k Set>> {
    let keys = call.keys;
    let record = keys.get(call.database, call.args.key(1));
    let set = record.map(|record| record.value.as_set().ok_or(Refusal::WRONG_TYPE));
    set.transpose()
}

/// Puts members into the set of a key, a new one if there is none; how many are new.
fn add<'m>(
    call: &mut Write<'_>,
    key: Key<'_>,
    members: impl Iterator<Item = &'m [u8]> + Clone,
) -> Outcome<usize> {
    match call.get_mut(key) {
        None => {
            let mut set = Set::default();
            let count = members.filter(|member| set.insert(member)).count();
            call.put_new(key, Value::Set(set.into()));
            Ok(count)
        }
        Some(mut found) => {
            let set = found.value().as_set().ok_or(Refusal::WRONG_TYPE)?;
            // Looked for first: what is there already is no change, and must not cost copies of what is shared.
            if members.clone().all(|member| set.contains(member)) {
                return Ok(0);
            }
            let set = found.value_mut().as_set_mut().expect("it is one");
            let count = members.filter(|member| set.insert(member)).count();
            found.mark_changed();
            Ok(count)
        }
    }
}

/// Takes members out of the set of a key, and the key away with the last one; how many were there.
fn take<'m>(
    call: &mut Write<'_>,
    key: Key<'_>,
    members: impl Iterator<Item = &'m [u8]> + Clone,
) -> Outcome<usize> {
    let Some(mut found) = call.get_mut(key) else {
        return Ok(0);
    };
    let set = found.value().as_set().ok_or(Refusal::WRONG_TYPE)?;
    // As above.
    if !members.clone().any(|member| set.contains(member)) {
        return Ok(0);
    }
    let set = found.value_mut().as_set_mut().expect("it is one");
    let count = members.filter(|member| set.remove(member)).count();
    let is_empty = set.is_empty();
    found.mark_changed();
    if is_empty {
        call.remove(key);
    }
    Ok(count)
}

fn sadd(call: &mut Write<'_>) -> Outcome {
    let args = call.args;
    let count = add(call, args.key(1), args.from(2))?;
    call.reply.count(count);
    Ok(())
}

fn srem(call: &mut Write<'_>) -> Outcome {
    let args = call.args;
    let count = take(call, args.key(1), args.from(2))?;
    call.reply.count(count);
    Ok(())
}

fn smembers(call: &mut Read<'_>) -> Outcome {
    let set = set_of(call)?;
    call.reply.set(set.map_or(0, Set::len));
    for member in set.into_iter().flat_map(Set::iter) {
        call.reply.bulk(member.as_bytes());
        call.check_reply()?;
    }
    Ok(())
}

fn sismember(call: &mut Read<'_>) -> Outcome {
    let is_there = set_of(call)?.is_some_and(|set| set.contains(call.args.at(2)));
    call.reply.integer(i64::from(is_there));
    Ok(())
}

fn smismember(call: &mut Read<'_>) -> Outcome {
    let set = set_of(call)?;
    call.reply.array(call.args.len() - 2);
    for member in call.args.from(2) {
        let is_there = set.is_some_and(|set| set.contains(member));
        call.reply.integer(i64::from(is_there));
    }
    Ok(())
}

fn scard(call: &mut Read<'_>) -> Outcome {
    let count = set_of(call)?.map_or(0, Set::len);
    call.reply.count(count);
    Ok(())
}

fn smove(call: &mut Write<'_>) -> Outcome {
    let (from, to, member) = (call.args.key(1), call.args.key(2), call.args.at(3));
    if call.keys.has_deadlines(call.database) {
        call.keys.remove_if_gone(call.database, from);
        call.keys.remove_if_gone(call.database, to);
    }
    let Some(record) = call.get(from) else {
        call.reply.integer(0);
        return Ok(());
    };
    let set = record.value.as_set().ok_or(Refusal::WRONG_TYPE)?;
    let is_there = set.contains(member);
    if let Some(record) = call.get(to) {
        record.value.as_set().ok_or(Refusal::WRONG_TYPE)?;
    }
    if is_there && from.bytes != to.bytes {
        take(call, from, [member].into_iter())?;
        add(call, to, [member].into_iter())?;
    }
    call.reply.integer(i64::from(is_there));
    Ok(())
}

/// SPOP with a count moves what stays rather than what goes if that is so many times as much (Redis's
/// `SPOP_MOVE_STRATEGY_MUL`).
const KEEP_FACTOR: usize = 5;

fn spop(call: &mut Write<'_>) -> Outcome {
    let wanted = match call.args.len() {
        2 => None,
        3 => {
            let count = call.integer(2).ok();
            let count = count.and_then(|count| usize::try_from(count).ok());
            let refusal = Refusal::of("ERR value is out of range, must be positive");
            Some(Wanted::distinct(count.ok_or(refusal)?))
        }
        _ => return Err(Refusal::SYNTAX),
    };
    let key = call.args.key(1);
    let Some(found) = call.get_mut(key) else {
        match wanted {
            None => call.reply.null(),
            Some(_) => call.reply.set(0),
        }
        return Ok(());
    };
    let size = found.value().as_set().ok_or(Refusal::WRONG_TYPE)?.len();
    let places = wanted.unwrap_or(Wanted::distinct(1)).places(call, size)?;
    if wanted.is_some() {
        call.reply.set(places.len());
    }
    let record = call.keys.get(call.database, key);
    let set = record.and_then(|record| record.value.as_set());
    let set = set.expect("it was there a moment ago");
    for place in &places {
        let member = set.nth(*place).expect("it has so many");
        call.reply.bulk(member.as_bytes());
        // Before anything is changed.
        if call.reply.len_bytes() - call.reply_at > REPLY_BYTES_MAX {
            return Err(Refusal::REPLY_TOO_LONG);
        }
    }
    if places.len() == size {
        call.remove(key);
    } else if !places.is_empty() {
        let found = call.get_mut(key).expect("it was there a moment ago");
        let set = found.change().as_set_mut().expect("it is one");
        places.iter().rev().for_each(|place| set.remove_at(*place));
        // Then Redis puts what stays into a set of its own, which may be of integers again.
        if wanted.is_some() && (size - places.len()).saturating_mul(KEEP_FACTOR) <= places.len() {
            set.renew();
        }
    }
    Ok(())
}

fn srandmember(call: &mut Read<'_>) -> Outcome {
    let wanted = match call.args.len() {
        2 => None,
        3 => Some(Wanted::parse(call, 2)?),
        _ => return Err(Refusal::SYNTAX),
    };
    let Some(set) = set_of(call)? else {
        match wanted {
            None => call.reply.null(),
            Some(_) => call.reply.array(0),
        }
        return Ok(());
    };
    let places = (wanted.unwrap_or(Wanted::distinct(1))).places(call, set.len())?;
    if wanted.is_some() {
        call.reply.array(places.len());
    }
    for place in places {
        let member = set.nth(place).expect("it has so many");
        call.reply.bulk(member.as_bytes());
        call.check_reply()?;
    }
    Ok(())
}

fn sscan(call: &mut Read<'_>) -> Outcome {
    let options = ScanOptions::at(call, 2)?;
    let Some(set) = set_of(call)? else {
        return options.reply(call, 0, &Found::default());
    };
    let options = options.and_options(call, 3)?;
    let mut found = Found::default();
    let next = set.scan(options.cursor, options.count, |member, must| {
        if !options.matches(member.as_bytes()) {
            return true;
        }
        let member = match member {
            StringBytes::Text(text) => Cow::Borrowed(text),
            StringBytes::Integer(number) => Cow::Owned(number.as_bytes().to_vec()),
        };
        found.add([member], must)
    });
    options.reply(call, next, &found)
}

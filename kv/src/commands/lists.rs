//! Commands of lists.

use std::ops::Range;
use std::sync::Arc;

use standin_resp::writer::ReplyWriter;

use crate::call::{Call, Outcome, REPLY_BYTES_MAX, Read, Refusal, Write};
use crate::commands::bounds::{NOT_POSITIVE, at_least, place, places, with_magnitude};
use crate::keyspace::{Deadline, Record};
use crate::list::{End, List};
use crate::members::Key;
use crate::table::{Handler, Spec, read, write};
use crate::text::Text;
use crate::value::Value;

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    write("lpush", -3, "write denyoom fast", [1, 1, 1], "write list fast", Handler::Write(lpush)),
    write("rpush", -3, "write denyoom fast", [1, 1, 1], "write list fast", Handler::Write(rpush)),
    write("lpushx", -3, "write denyoom fast", [1, 1, 1], "write list fast", Handler::Write(lpushx)),
    write("rpushx", -3, "write denyoom fast", [1, 1, 1], "write list fast", Handler::Write(rpushx)),
    write("lpop", -2, "write fast", [1, 1, 1], "write list fast", Handler::Write(lpop)),
    write("rpop", -2, "write fast", [1, 1, 1], "write list fast", Handler::Write(rpop)),
    read("llen", 2, "readonly fast", [1, 1, 1], "read list fast", Handler::Read(llen)),
    read("lrange", 4, "readonly", [1, 1, 1], "read list slow", Handler::Read(lrange)),
    read("lindex", 3, "readonly", [1, 1, 1], "read list slow", Handler::Read(lindex)),
    write("lset", 4, "write denyoom", [1, 1, 1], "write list slow", Handler::Write(lset)),
    write("linsert", 5, "write denyoom", [1, 1, 1], "write list slow", Handler::Write(linsert)),
    write("lrem", 4, "write", [1, 1, 1], "write list slow", Handler::Write(lrem)),
    write("ltrim", 4, "write", [1, 1, 1], "write list slow", Handler::Write(ltrim)),
    read("lpos", -3, "readonly", [1, 1, 1], "read list slow", Handler::Read(lpos)),
    write("lmove", 5, "write denyoom", [1, 2, 1], "write list slow", Handler::Write(lmove)),
    write("rpoplpush", 3, "write denyoom", [1, 2, 1], "write list slow", Handler::Write(rpoplpush)),
    write("lmpop", -4, "write movablekeys", [0, 0, 0], "write list slow", Handler::Write(lmpop)),
];

/// The list of a record, if there is one.
fn list_of(record: Option<&Record>) -> Outcome<Option<&List>> {
    match record {
        None => Ok(None),
        Some(record) => record.value.as_list().map(Some).ok_or(Refusal::WRONG_TYPE),
    }
}

/// The list that a command changes, if there is one. What is gone is removed.
fn list_to_change<'c>(call: &'c mut Write<'_>, key: Key<'_>) -> Outcome<Option<&'c List>> {
    call.keys.remove_if_gone(call.database, key);
    list_of(call.keys.get(call.database, key))
}

/// Writes an array of so many elements.
fn write_elements<'e>(
    reply: &mut ReplyWriter<'_>,
    reply_at: usize,
    count: usize,
    elements: impl Iterator<Item = &'e Text>,
) -> Outcome {
    reply.array(count);
    for element in elements.take(count) {
        reply.bulk(element);
        if reply.len_bytes() - reply_at > REPLY_BYTES_MAX {
            return Err(Refusal::REPLY_TOO_LONG);
        }
    }
    Ok(())
}

/// Changes a list that is there; removes its key if nothing is left of it.
fn change<T>(call: &mut Write<'_>, key: Key<'_>, edit: impl FnOnce(&mut List) -> T) -> T {
    let found = call.get_mut(key).expect("it was there a moment ago");
    let list = found.change().as_list_mut().expect("it was a list");
    let result = edit(list);
    if list.is_empty() {
        call.remove(key);
    }
    result
}

/// Takes elements out of a list that is there.
fn remove_places(call: &mut Write<'_>, key: Key<'_>, range: Range<usize>) {
    let list = list_of(call.get(key)).ok().flatten();
    if list.is_some_and(|list| list.len() == range.len()) {
        call.remove(key);
    } else {
        change(call, key, |list| list.remove_range(range));
    }
}

fn push(call: &mut Write<'_>, end: End, makes_lists: bool) -> Outcome {
    let (key, args) = (call.args.key(1), call.args);
    let length = match call.get_mut(key) {
        None if !makes_lists => 0,
        None => {
            let mut list = List::default();
            args.from(2).for_each(|element| list.push(end, element));
            let length = list.len();
            call.put_new(key, Value::List(Arc::new(list)));
            length
        }
        Some(found) => {
            if found.value().as_list().is_none() {
                return Err(Refusal::WRONG_TYPE);
            }
            let list = found.change().as_list_mut().expect("it is a list");
            args.from(2).for_each(|element| list.push(end, element));
            list.len()
        }
    };
    call.reply.count(length);
    Ok(())
}

fn lpush(call: &mut Write<'_>) -> Outcome {
    push(call, End::Left, true)
}

fn rpush(call: &mut Write<'_>) -> Outcome {
    push(call, End::Right, true)
}

fn lpushx(call: &mut Write<'_>) -> Outcome {
    push(call, End::Left, false)
}

fn rpushx(call: &mut Write<'_>) -> Outcome {
    push(call, End::Right, false)
}

fn pop(call: &mut Write<'_>, end: End) -> Outcome {
    let count = match call.args.len() {
        2 => None,
        3 => Some(at_least(call, 2, 0, NOT_POSITIVE)?),
        _ => return Err(Refusal::arity(call.name())),
    };
    let key = call.args.key(1);
    call.keys.remove_if_gone(call.database, key);
    let Some(list) = list_of(call.keys.get(call.database, key))? else {
        match count {
            Some(_) => call.reply.null_array(),
            None => call.reply.null(),
        }
        return Ok(());
    };
    let range = list.places(end, count.unwrap_or(1));
    match count {
        Some(_) => {
            let elements = list.iter_end(end, range.len());
            write_elements(&mut call.reply, call.reply_at, range.len(), elements)?;
        }
        None => list.iter_end(end, 1).for_each(|it| call.reply.bulk(it)),
    }
    if !range.is_empty() {
        remove_places(call, key, range);
    }
    Ok(())
}

fn lpop(call: &mut Write<'_>) -> Outcome {
    pop(call, End::Left)
}

fn rpop(call: &mut Write<'_>) -> Outcome {
    pop(call, End::Right)
}

fn llen(call: &mut Read<'_>) -> Outcome {
    let list = list_of(call.keys.get(call.database, call.args.key(1)))?;
    call.reply.count(list.map_or(0, List::len));
    Ok(())
}

fn lrange(call: &mut Read<'_>) -> Outcome {
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let Some(list) = list_of(call.keys.get(call.database, call.args.key(1)))? else {
        call.reply.array(0);
        return Ok(());
    };
    let range = places(start, end, list.len());
    let elements = list.iter_from(range.start);
    write_elements(&mut call.reply, call.reply_at, range.len(), elements)
}

fn lindex(call: &mut Read<'_>) -> Outcome {
    let list = list_of(call.keys.get(call.database, call.args.key(1)))?;
    let element = match list {
        None => None,
        Some(list) => place(call.integer(2)?, list.len()).and_then(|place| list.get(place)),
    };
    match element {
        Some(element) => call.reply.bulk(element),
        None => call.reply.null(),
    }
    Ok(())
}

fn lset(call: &mut Write<'_>) -> Outcome {
    let (key, element) = (call.args.key(1), call.args.at(3));
    let length = list_to_change(call, key)?.ok_or(Refusal::NO_KEY)?.len();
    let place = place(call.integer(2)?, length).ok_or(Refusal::INDEX_RANGE)?;
    change(call, key, |list| list.set(place, element));
    call.reply.ok();
    Ok(())
}

fn linsert(call: &mut Write<'_>) -> Outcome {
    let is_after = call.is_word(2, "after");
    if !is_after && !call.is_word(2, "before") {
        return Err(Refusal::SYNTAX);
    }
    let (key, pivot, element) = (call.args.key(1), call.args.at(3), call.args.at(4));
    let Some(list) = list_to_change(call, key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let found = list.iter_from(0).position(|it| it.as_bytes() == pivot);
    match found {
        None => call.reply.integer(-1),
        Some(place) => {
            let length = change(call, key, |list| {
                list.insert(place + usize::from(is_after), element);
                list.len()
            });
            call.reply.count(length);
        }
    }
    Ok(())
}

fn lrem(call: &mut Write<'_>) -> Outcome {
    let (count, key, element) = (call.integer(2)?, call.args.key(1), call.args.at(3));
    let Some(list) = list_to_change(call, key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let (is_forward, last) = (count >= 0, list.len() - 1);
    let elements = match is_forward {
        true => list.iter_from(0),
        false => list.iter_back_from(last),
    };
    let most = match count {
        0 => usize::MAX,
        _ => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
    };
    let equal = elements
        .enumerate()
        .filter(|(_, it)| it.as_bytes() == element);
    let found: Vec<usize> = equal.map(|(at, _)| at).take(most).collect();
    if !found.is_empty() {
        change(call, key, |list| {
            // From behind, so that those that are still to go stay where they are.
            for at in found.iter().rev() {
                list.remove(if is_forward { *at } else { list.len() - 1 - at });
            }
        });
    }
    call.reply.count(found.len());
    Ok(())
}

fn ltrim(call: &mut Write<'_>) -> Outcome {
    let (start, end, key) = (call.integer(2)?, call.integer(3)?, call.args.key(1));
    if let Some(list) = list_to_change(call, key)? {
        let length = list.len();
        let kept = places(start, end, length);
        if kept.is_empty() {
            call.remove(key);
        } else {
            change(call, key, |list| {
                list.remove_range(kept.end..length);
                list.remove_range(0..kept.start);
            });
        }
    }
    call.reply.ok();
    Ok(())
}

/// What LPOS may be told besides key and element.
struct Wanted {
    /// Which of the elements that are equal comes first in the reply, from the end if negative; not 0.
    rank: i64,
    /// How many of them; 0 for all. Without it, one that is no array.
    count: Option<usize>,
    /// How many elements to look at; 0 for all.
    length: usize,
}

impl Wanted {
    fn parse(call: &Read<'_>) -> Outcome<Self> {
        let mut wanted = Self {
            rank: 1,
            count: None,
            length: 0,
        };
        let mut at = 3;
        while at < call.args.len() {
            if at + 1 == call.args.len() {
                return Err(Refusal::SYNTAX);
            } else if call.is_word(at, "rank") {
                wanted.rank = with_magnitude(call, at + 1)?;
                if wanted.rank == 0 {
                    return Err(Refusal::of(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    ));
                }
            } else if call.is_word(at, "count") {
                let count = at_least(call, at + 1, 0, "ERR COUNT can't be negative")?;
                wanted.count = Some(count);
            } else if call.is_word(at, "maxlen") {
                wanted.length = at_least(call, at + 1, 0, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(Refusal::SYNTAX);
            }
            at += 2;
        }
        Ok(wanted)
    }
}

fn lpos(call: &mut Read<'_>) -> Outcome {
    let wanted = Wanted::parse(call)?;
    let all = |count: usize| if count == 0 { usize::MAX } else { count };
    let keys = call.keys;
    let list = list_of(keys.get(call.database, call.args.key(1)))?;
    let length = list.map_or(0, List::len);
    let element = call.args.at(2);
    let elements = list.map(|list| match wanted.rank > 0 {
        true => list.iter_from(0),
        false => list.iter_back_from(length - 1),
    });
    let skipped = usize::try_from(wanted.rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let mut found = elements
        .into_iter()
        .flatten()
        .take(all(wanted.length))
        .enumerate()
        .filter(|(_, it)| it.as_bytes() == element)
        .map(|(at, _)| match wanted.rank > 0 {
            true => at,
            false => length - 1 - at,
        })
        .skip(skipped);
    let Some(count) = wanted.count else {
        match found.next() {
            Some(at) => call.reply.count(at),
            None => call.reply.null(),
        }
        return Ok(());
    };
    let mark = call.reply.begin();
    let mut written = 0;
    for at in found.take(all(count)) {
        call.reply.count(at);
        call.check_reply()?;
        written += 1;
    }
    call.reply.end_array(mark, written);
    Ok(())
}

/// The end that the argument at `place` names.
fn end_at<K>(call: &Call<'_, K>, place: usize) -> Outcome<End> {
    if call.is_word(place, "left") {
        return Ok(End::Left);
    }
    match call.is_word(place, "right") {
        true => Ok(End::Right),
        false => Err(Refusal::SYNTAX),
    }
}

fn lmove(call: &mut Write<'_>) -> Outcome {
    let (from, to) = (end_at(call, 3)?, end_at(call, 4)?);
    move_element(call, from, to)
}

fn rpoplpush(call: &mut Write<'_>) -> Outcome {
    move_element(call, End::Right, End::Left)
}

fn move_element(call: &mut Write<'_>, from_end: End, to_end: End) -> Outcome {
    let (from, to) = (call.args.key(1), call.args.key(2));
    let Some(list) = list_to_change(call, from)? else {
        call.reply.null();
        return Ok(());
    };
    let place = list.places(from_end, 1).start;
    let element = list.get(place).expect("no list is empty").clone();
    let is_there = list_to_change(call, to)?.is_some();
    call.reply.bulk(&element);
    if from.bytes == to.bytes {
        change(call, from, |list| {
            list.remove(place);
            list.push(to_end, element.as_bytes());
        });
        return Ok(());
    }
    change(call, from, |list| list.remove(place));
    if is_there {
        change(call, to, |list| list.push(to_end, element.as_bytes()));
    } else {
        let mut list = List::default();
        list.push(to_end, element.as_bytes());
        call.put(to, Value::List(Arc::new(list)), Deadline::Never);
    }
    Ok(())
}

/// What LMPOP and ZMPOP are told: the places of their keys, a word, and how many elements to take.
pub(crate) struct ManyKeys {
    pub(crate) keys: Range<usize>,
    /// Place of the word that says from which end.
    pub(crate) word: usize,
}

impl ManyKeys {
    /// Finds the keys, whose number is the first argument, and the word after them.
    pub(crate) fn parse<K>(call: &Call<'_, K>) -> Outcome<Self> {
        let count = at_least(call, 1, 1, "ERR numkeys should be greater than 0")?;
        let word = count.saturating_add(2);
        match word < call.args.len() {
            true => Ok(Self {
                keys: 2..word,
                word,
            }),
            false => Err(Refusal::SYNTAX),
        }
    }

    /// How many elements are to be taken: what comes after the word.
    pub(crate) fn count<K>(&self, call: &Call<'_, K>) -> Outcome<usize> {
        let option = self.word + 1;
        match call.args.len() - option {
            0 => Ok(1),
            rest if rest >= 2 && call.is_word(option, "count") => {
                let count = at_least(call, option + 1, 1, "ERR count should be greater than 0")?;
                match rest {
                    2 => Ok(count),
                    _ => Err(Refusal::SYNTAX),
                }
            }
            _ => Err(Refusal::SYNTAX),
        }
    }
}

fn lmpop(call: &mut Write<'_>) -> Outcome {
    let many = ManyKeys::parse(call)?;
    let end = end_at(call, many.word)?;
    let count = many.count(call)?;
    for at in many.keys {
        let key = call.args.key(at);
        call.keys.remove_if_gone(call.database, key);
        let Some(list) = list_of(call.keys.get(call.database, key))? else {
            continue;
        };
        let range = list.places(end, count);
        call.reply.array(2);
        call.reply.bulk(key.bytes);
        let elements = list.iter_end(end, range.len());
        write_elements(&mut call.reply, call.reply_at, range.len(), elements)?;
        remove_places(call, key, range);
        return Ok(());
    }
    call.reply.null_array();
    Ok(())
}

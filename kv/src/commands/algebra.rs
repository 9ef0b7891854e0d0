//! Commands that make one set of several: SINTER, SUNION, SDIFF and their like.

use standin_resp::number::parse_integer;

use crate::arguments::Arguments;
use crate::call::{Outcome, REPLY_BYTES_MAX, Read, Refusal, Write};
use crate::commands::picks::ELEMENT_BYTES_MIN;
use crate::keyspace::{DatabaseId, Deadline, Keyspace};
use crate::set::{INTEGERS_MAX, Set};
use crate::value::{StringBytes, Value};

/// The sets of the keys at these places; `None` where there is none, which counts as empty.
fn sets_of<'k>(
    keys: &'k Keyspace,
    database: DatabaseId,
    args: Arguments<'_>,
    places: std::ops::Range<usize>,
) -> Outcome<Vec<Option<&'k Set>>> {
    places
        .map(|place| {
            let record = keys.get(database, args.key(place));
            let set = record.map(|record| record.value.as_set().ok_or(Refusal::WRONG_TYPE));
            set.transpose()
        })
        .collect()
}

/// The sets of all keys from the first argument on.
fn sets_asked<'k>(call: &Read<'k>) -> Outcome<Vec<Option<&'k Set>>> {
    sets_of(call.keys, call.database, call.args, 1..call.args.len())
}

/// The sets of all keys from the second argument on.
fn sets_stored<'c>(call: &'c mut Write<'_>) -> Outcome<Vec<Option<&'c Set>>> {
    if call.keys.has_deadlines(call.database) {
        for place in 2..call.args.len() {
            call.keys
                .remove_if_gone(call.database, call.args.key(place));
        }
    }
    sets_of(call.keys, call.database, call.args, 2..call.args.len())
}

/// A set that grows to what a reply has room for, or without end.
struct Growing {
    set: Set,
    room_bytes: Option<usize>,
}

impl Growing {
    /// One that is to be stored.
    fn stored() -> Self {
        Self {
            set: Set::default(),
            room_bytes: None,
        }
    }

    /// One that is to be a reply.
    fn asked() -> Self {
        Self {
            set: Set::default(),
            room_bytes: Some(REPLY_BYTES_MAX),
        }
    }

    fn insert(&mut self, member: &StringBytes<'_>) -> Outcome {
        let member = member.as_bytes();
        let is_new = self.set.insert(member);
        if let Some(room) = &mut self.room_bytes
            && is_new
        {
            let rest = room.checked_sub(member.len() + ELEMENT_BYTES_MIN - 1);
            *room = rest.ok_or(Refusal::REPLY_TOO_LONG)?;
        }
        Ok(())
    }
}

/// What all of the sets have, in the order of the smallest.
fn intersection<'k>(sets: Vec<Option<&'k Set>>) -> impl Iterator<Item = StringBytes<'k>> {
    // One that is not there is empty, and nothing is in all of them.
    let sets: Option<Vec<&Set>> = sets.into_iter().collect();
    let mut sets = sets.unwrap_or_default();
    sets.sort_by_key(|set| set.len());
    let smallest = (!sets.is_empty()).then(|| sets.remove(0));
    let members = smallest.into_iter().flat_map(Set::iter);
    members.filter(move |member| sets.iter().all(|set| set.contains(member.as_bytes())))
}

/// What any of the sets has.
fn union(sets: &[Option<&Set>], mut to: Growing) -> Outcome<Set> {
    let mut sets: Vec<&Set> = sets.iter().flatten().copied().collect();
    let largest = (0..sets.len()).max_by_key(|place| sets[*place].len());
    // Of a large one a clone is the beginning: it costs nothing, and a table is what comes out in any case.
    if let Some(largest) = largest.filter(|place| sets[*place].len() > INTEGERS_MAX)
        && to.room_bytes.is_none()
    {
        to.set = sets.remove(largest).clone();
    }
    for member in sets.into_iter().flat_map(Set::iter) {
        to.insert(&member)?;
    }
    Ok(to.set)
}

/// What the first of the sets has, and none of the others.
fn difference(sets: &[Option<&Set>], mut to: Growing) -> Outcome<Set> {
    let Some((Some(first), others)) = sets.split_first() else {
        return Ok(to.set);
    };
    let others: Vec<&Set> = others.iter().flatten().copied().collect();
    for member in first.iter() {
        if !others.iter().any(|set| set.contains(member.as_bytes())) {
            to.insert(&member)?;
        }
    }
    // Where Redis takes the others' members out of a copy of the first, the encoding is that of the copy.
    if is_cut_from_copy(first, &others) {
        let is_word = |member: StringBytes<'_>| matches!(member, StringBytes::Text(text) if parse_integer(text).is_none());
        if first.len() > INTEGERS_MAX || first.iter().any(is_word) {
            to.set.enlarge();
        }
    }
    Ok(to.set)
}

/// Whether Redis would rather copy the first set and look at each member of the others than look at each
/// member of the first in all others.
fn is_cut_from_copy(first: &Set, others: &[&Set]) -> bool {
    let looked_up = first.len() * (1 + others.len()) / 2;
    let taken_out = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    looked_up > taken_out
}

/// Answers with the members of a set.
fn reply(call: &mut Read<'_>, set: &Set) -> Outcome {
    call.reply.set(set.len());
    for member in set.iter() {
        call.reply.bulk(member.as_bytes());
        call.check_reply()?;
    }
    Ok(())
}

/// Puts a set under the first key, or removes that if the set is empty; answers how many members it has.
fn store(call: &mut Write<'_>, set: Set) {
    let key = call.args.key(1);
    call.reply.count(set.len());
    if set.is_empty() {
        call.remove(key);
    } else {
        call.put(key, Value::Set(set.into()), Deadline::Never);
    }
}

pub(crate) fn sinter(call: &mut Read<'_>) -> Outcome {
    let members = intersection(sets_asked(call)?);
    let mark = call.reply.begin();
    let mut count = 0;
    for member in members {
        call.reply.bulk(member.as_bytes());
        call.check_reply()?;
        count += 1;
    }
    call.reply.end_set(mark, count);
    Ok(())
}

pub(crate) fn sinterstore(call: &mut Write<'_>) -> Outcome {
    let mut result = Growing::stored();
    for member in intersection(sets_stored(call)?) {
        result.insert(&member)?;
    }
    store(call, result.set);
    Ok(())
}

pub(crate) fn sintercard(call: &mut Read<'_>) -> Outcome {
    let count = call.integer(1).ok();
    let count = count.and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count > 0);
    let count = count.ok_or(Refusal::of("ERR numkeys should be greater than 0"))?;
    if count > call.args.len() - 2 {
        return Err(Refusal::of(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let mut limit = 0;
    let mut place = 2 + count;
    while place < call.args.len() {
        if !call.is_word(place, "limit") || place + 1 == call.args.len() {
            return Err(Refusal::SYNTAX);
        }
        let number = call.integer(place + 1).ok();
        let number = number.and_then(|number| usize::try_from(number).ok());
        limit = number.ok_or(Refusal::of("ERR LIMIT can't be negative"))?;
        place += 2;
    }
    let sets = sets_of(call.keys, call.database, call.args, 2..2 + count)?;
    let most = if limit == 0 { usize::MAX } else { limit };
    let common = intersection(sets).take(most).count();
    call.reply.count(common);
    Ok(())
}

pub(crate) fn sunion(call: &mut Read<'_>) -> Outcome {
    let set = union(&sets_asked(call)?, Growing::asked())?;
    reply(call, &set)
}

pub(crate) fn sunionstore(call: &mut Write<'_>) -> Outcome {
    let set = union(&sets_stored(call)?, Growing::stored())?;
    store(call, set);
    Ok(())
}

pub(crate) fn sdiff(call: &mut Read<'_>) -> Outcome {
    let set = difference(&sets_asked(call)?, Growing::asked())?;
    reply(call, &set)
}

pub(crate) fn sdiffstore(call: &mut Write<'_>) -> Outcome {
    let set = difference(&sets_stored(call)?, Growing::stored())?;
    store(call, set);
    Ok(())
}

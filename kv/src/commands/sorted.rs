//! Commands of sorted sets.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use standin_resp::Version;
use standin_resp::writer::ReplyWriter;

use crate::call::{Outcome, REPLY_BYTES_MAX, Read, Refusal, Write};
use crate::commands::bounds::{NOT_POSITIVE, at_least, with_magnitude};
use crate::commands::lists::ManyKeys;
use crate::commands::{Found, ScanOptions, sorted_many, sorted_range};
use crate::double;
use crate::keyspace::{Deadline, Record};
use crate::members::Key;
use crate::sorted::Sorted;
use crate::table::{Handler, Spec, entry, read, write};
use crate::text::Text;
use crate::value::Value;

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    write("zadd", -4, "write denyoom fast", [1, 1, 1], "write sortedset fast", Handler::Write(zadd)),
    write("zincrby", 4, "write denyoom fast", [1, 1, 1], "write sortedset fast", Handler::Write(zincrby)),
    write("zrem", -3, "write fast", [1, 1, 1], "write sortedset fast", Handler::Write(zrem)),
    read("zcard", 2, "readonly fast", [1, 1, 1], "read sortedset fast", Handler::Read(zcard)),
    read("zscore", 3, "readonly fast", [1, 1, 1], "read sortedset fast", Handler::Read(zscore)),
    read("zmscore", -3, "readonly fast", [1, 1, 1], "read sortedset fast", Handler::Read(zmscore)),
    read("zcount", 4, "readonly fast", [1, 1, 1], "read sortedset fast", Handler::Read(sorted_range::zcount)),
    read("zlexcount", 4, "readonly fast", [1, 1, 1], "read sortedset fast", Handler::Read(sorted_range::zlexcount)),
    read("zrank", 3, "readonly fast", [1, 1, 1], "read sortedset fast", Handler::Read(zrank)),
    read("zrevrank", 3, "readonly fast", [1, 1, 1], "read sortedset fast", Handler::Read(zrevrank)),
    read("zrange", -4, "readonly", [1, 1, 1], "read sortedset slow", Handler::Read(sorted_range::zrange)),
    read("zrevrange", -4, "readonly", [1, 1, 1], "read sortedset slow", Handler::Read(sorted_range::zrevrange)),
    read("zrangebyscore", -4, "readonly", [1, 1, 1], "read sortedset slow", Handler::Read(sorted_range::zrangebyscore)),
    read("zrevrangebyscore", -4, "readonly", [1, 1, 1], "read sortedset slow", Handler::Read(sorted_range::zrevrangebyscore)),
    read("zrangebylex", -4, "readonly", [1, 1, 1], "read sortedset slow", Handler::Read(sorted_range::zrangebylex)),
    read("zrevrangebylex", -4, "readonly", [1, 1, 1], "read sortedset slow", Handler::Read(sorted_range::zrevrangebylex)),
    write("zrangestore", -5, "write denyoom", [1, 2, 1], "write sortedset slow", Handler::Write(sorted_range::zrangestore)),
    write("zremrangebyrank", 4, "write", [1, 1, 1], "write sortedset slow", Handler::Write(sorted_range::zremrangebyrank)),
    write("zremrangebyscore", 4, "write", [1, 1, 1], "write sortedset slow", Handler::Write(sorted_range::zremrangebyscore)),
    write("zremrangebylex", 4, "write", [1, 1, 1], "write sortedset slow", Handler::Write(sorted_range::zremrangebylex)),
    write("zpopmin", -2, "write fast", [1, 1, 1], "write sortedset fast", Handler::Write(zpopmin)),
    write("zpopmax", -2, "write fast", [1, 1, 1], "write sortedset fast", Handler::Write(zpopmax)),
    write("zmpop", -4, "write movablekeys", [0, 0, 0], "write sortedset slow", Handler::Write(zmpop)),
    entry("zrandmember", -2, "readonly", [1, 1, 1], "read sortedset slow", Handler::Read(zrandmember)),
    read("zscan", -3, "readonly", [1, 1, 1], "read sortedset slow", Handler::Read(zscan)),
    read("zunion", -3, "readonly movablekeys", [0, 0, 0], "read sortedset slow", Handler::Read(sorted_many::zunion)),
    read("zinter", -3, "readonly movablekeys", [0, 0, 0], "read sortedset slow", Handler::Read(sorted_many::zinter)),
    read("zdiff", -3, "readonly movablekeys", [0, 0, 0], "read sortedset slow", Handler::Read(sorted_many::zdiff)),
    read("zintercard", -3, "readonly movablekeys", [0, 0, 0], "read sortedset slow", Handler::Read(sorted_many::zintercard)),
    write("zunionstore", -4, "write denyoom movablekeys", [1, 1, 1], "write sortedset slow", Handler::Write(sorted_many::zunionstore)),
    write("zinterstore", -4, "write denyoom movablekeys", [1, 1, 1], "write sortedset slow", Handler::Write(sorted_many::zinterstore)),
    write("zdiffstore", -4, "write denyoom movablekeys", [1, 1, 1], "write sortedset slow", Handler::Write(sorted_many::zdiffstore)),
];

/// The sorted set of a record, if there is one.
pub(super) fn sorted_of(record: Option<&Record>) -> Outcome<Option<&Sorted>> {
    match record {
        None => Ok(None),
        Some(record) => (record.value.as_sorted().map(Some)).ok_or(Refusal::WRONG_TYPE),
    }
}

/// Writes a score.
fn write_score(reply: &mut ReplyWriter<'_>, score: f64) {
    reply.double(score);
}

fn write_score_or_null(reply: &mut ReplyWriter<'_>, score: Option<f64>) {
    match score {
        Some(score) => write_score(reply, score),
        None => reply.null(),
    }
}

/// How members are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Without their scores.
    Members,
    /// Each followed by its score.
    Flat,
    /// Each with its score in an array of two.
    Pairs,
}

impl Shape {
    /// How scores are written where it is up to the version of the protocol.
    pub(super) fn of(version: Version, with_scores: bool) -> Self {
        match (with_scores, version) {
            (false, _) => Self::Members,
            (true, Version::Resp2) => Self::Flat,
            (true, Version::Resp3) => Self::Pairs,
        }
    }

    /// Writes the header of an array of so many members.
    fn begin(self, reply: &mut ReplyWriter<'_>, count: usize) {
        reply.array(match self {
            Self::Members | Self::Pairs => count,
            Self::Flat => count.saturating_mul(2),
        });
    }

    fn write(self, reply: &mut ReplyWriter<'_>, member: &Text, score: f64) {
        if self == Self::Pairs {
            reply.array(2);
        }
        reply.bulk(member);
        if self != Self::Members {
            write_score(reply, score);
        }
    }
}

/// Writes an array of so many members.
pub(super) fn write_members<'e>(
    reply: &mut ReplyWriter<'_>,
    reply_at: usize,
    shape: Shape,
    count: usize,
    members: impl Iterator<Item = (f64, &'e Text)>,
) -> Outcome {
    shape.begin(reply, count);
    for (score, member) in members.take(count) {
        shape.write(reply, member, score);
        if reply.len_bytes() - reply_at > REPLY_BYTES_MAX {
            return Err(Refusal::REPLY_TOO_LONG);
        }
    }
    Ok(())
}

/// Puts what came of a command under a key, whatever was there, and answers how many members it has.
pub(super) fn store(call: &mut Write<'_>, key: Key<'_>, sorted: Sorted) {
    call.reply.count(sorted.len());
    if sorted.is_empty() {
        call.remove(key);
    } else {
        call.put(key, Value::Sorted(Arc::new(sorted)), Deadline::Never);
    }
}

/// Takes the members of these ranks out of a sorted set that is there.
pub(super) fn remove_ranks(call: &mut Write<'_>, key: Key<'_>, ranks: Range<usize>) {
    let found = call.get_mut(key).expect("it was there a moment ago");
    if found.value().weight() == ranks.len() {
        call.remove(key);
    } else if !ranks.is_empty() {
        let sorted = found.change().as_sorted_mut();
        sorted.expect("it was sorted").remove_range(ranks);
    }
}

/// What ZADD is told besides key, scores and members.
#[derive(Clone, Copy, Debug, Default)]
struct Rules {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    ch: bool,
    incr: bool,
}

/// What came of an addition.
#[derive(Clone, Copy, Debug, Default)]
struct Added {
    added: usize,
    updated: usize,
    /// Score of the last one that the rules let through.
    score: Option<f64>,
}

impl Rules {
    /// Reads options from the third argument on; says where scores and members begin.
    fn parse(mut self, call: &Write<'_>) -> Outcome<(Self, usize)> {
        let mut at = 2;
        loop {
            let it = &mut self;
            let options = [
                ("nx", &mut it.nx),
                ("xx", &mut it.xx),
                ("ch", &mut it.ch),
                ("incr", &mut it.incr),
                ("gt", &mut it.gt),
                ("lt", &mut it.lt),
            ];
            let mut options = options.into_iter();
            match options.find(|(word, _)| call.is_word(at, word)) {
                Some((_, option)) => *option = true,
                None => break,
            }
            at += 1;
        }
        let rest = call.args.len() - at;
        if rest == 0 || rest % 2 == 1 {
            return Err(Refusal::SYNTAX);
        }
        if self.nx && self.xx {
            return Err(Refusal::of(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        if (self.nx && (self.gt || self.lt)) || (self.gt && self.lt) {
            return Err(Refusal::of(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.incr && rest > 2 {
            return Err(Refusal::of(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok((self, at))
    }

    /// Adds one member, or changes its score, or leaves it.
    fn apply(self, sorted: &mut Sorted, member: &[u8], score: f64, done: &mut Added) -> Outcome {
        let Some(before) = sorted.score(member) else {
            if !self.xx {
                sorted.set(member, score);
                done.added += 1;
                done.score = Some(score);
            }
            return Ok(());
        };
        if self.nx {
            return Ok(());
        }
        let score = if self.incr { before + score } else { score };
        if score.is_nan() {
            return Err(Refusal::of("ERR resulting score is not a number (NaN)"));
        }
        if (self.lt && score >= before) || (self.gt && score <= before) {
            return Ok(());
        }
        done.score = Some(score);
        if score != before {
            sorted.set(member, score);
            done.updated += 1;
        }
        Ok(())
    }
}

fn add(call: &mut Write<'_>, rules: Rules) -> Outcome {
    let (rules, first) = rules.parse(call)?;
    let (key, args) = (call.args.key(1), call.args);
    let scores: Option<Vec<f64>> = (args.from(first).step_by(2)).map(double::parse).collect();
    let scores = scores.ok_or(Refusal::NOT_FLOAT)?;
    let pairs = scores.iter().zip(args.from(first + 1).step_by(2));
    let mut done = Added::default();
    let mut apply = |sorted: &mut Sorted| {
        // Only one increment comes in a command: nothing has changed if it is refused.
        pairs
            .clone()
            .try_for_each(|(score, member)| rules.apply(sorted, member, *score, &mut done))
    };
    match call.get_mut(key) {
        None if rules.xx => {}
        None => {
            let mut sorted = Sorted::default();
            apply(&mut sorted)?;
            call.put_new(key, Value::Sorted(Arc::new(sorted)));
        }
        Some(mut found) => {
            if found.value().as_sorted().is_none() {
                return Err(Refusal::WRONG_TYPE);
            }
            let sorted = found.value_mut().as_sorted_mut();
            apply(sorted.expect("it is sorted"))?;
            if done.added + done.updated > 0 {
                found.mark_changed();
            }
        }
    }
    match (rules.incr, rules.ch) {
        (true, _) => write_score_or_null(&mut call.reply, done.score),
        (false, true) => call.reply.count(done.added + done.updated),
        (false, false) => call.reply.count(done.added),
    }
    Ok(())
}

fn zadd(call: &mut Write<'_>) -> Outcome {
    add(call, Rules::default())
}

fn zincrby(call: &mut Write<'_>) -> Outcome {
    add(
        call,
        Rules {
            incr: true,
            ..Rules::default()
        },
    )
}

fn zrem(call: &mut Write<'_>) -> Outcome {
    let (key, args) = (call.args.key(1), call.args);
    let mut count = 0;
    if let Some(mut found) = call.get_mut(key) {
        if found.value().as_sorted().is_none() {
            return Err(Refusal::WRONG_TYPE);
        }
        let sorted = found.value_mut().as_sorted_mut().expect("it is sorted");
        count = args.from(2).filter(|member| sorted.remove(member)).count();
        let is_empty = sorted.is_empty();
        if count > 0 {
            found.mark_changed();
        }
        if is_empty {
            call.remove(key);
        }
    }
    call.reply.count(count);
    Ok(())
}

fn zcard(call: &mut Read<'_>) -> Outcome {
    let sorted = sorted_of(call.keys.get(call.database, call.args.key(1)))?;
    call.reply.count(sorted.map_or(0, Sorted::len));
    Ok(())
}

fn zscore(call: &mut Read<'_>) -> Outcome {
    let sorted = sorted_of(call.keys.get(call.database, call.args.key(1)))?;
    let score = sorted.and_then(|sorted| sorted.score(call.args.at(2)));
    write_score_or_null(&mut call.reply, score);
    Ok(())
}

fn zmscore(call: &mut Read<'_>) -> Outcome {
    let sorted = sorted_of(call.keys.get(call.database, call.args.key(1)))?;
    let members = call.args.from(2);
    call.reply.array(members.len());
    for member in members {
        let score = sorted.and_then(|sorted| sorted.score(member));
        write_score_or_null(&mut call.reply, score);
        call.check_reply()?;
    }
    Ok(())
}

fn rank(call: &mut Read<'_>, is_reverse: bool) -> Outcome {
    let sorted = sorted_of(call.keys.get(call.database, call.args.key(1)))?;
    let rank = sorted.and_then(|sorted| {
        let rank = sorted.rank(call.args.at(2))?;
        Some(match is_reverse {
            true => sorted.len() - 1 - rank,
            false => rank,
        })
    });
    match rank {
        Some(rank) => call.reply.count(rank),
        None => call.reply.null(),
    }
    Ok(())
}

fn zrank(call: &mut Read<'_>) -> Outcome {
    rank(call, false)
}

fn zrevrank(call: &mut Read<'_>) -> Outcome {
    rank(call, true)
}

/// The end of a sorted set from which members are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Min,
    Max,
}

/// Takes up to `count` members from one end of a sorted set; whether there is one. Writes `key` too if it is
/// named.
fn pop_from(
    call: &mut Write<'_>,
    key: Key<'_>,
    edge: Edge,
    count: usize,
    shape: Shape,
    names_key: bool,
) -> Outcome<bool> {
    call.keys.remove_if_gone(call.database, key);
    let Some(sorted) = sorted_of(call.keys.get(call.database, key))? else {
        return Ok(false);
    };
    let count = count.min(sorted.len());
    if names_key {
        call.reply.array(2);
        call.reply.bulk(key.bytes);
    }
    let (ranks, members) = match edge {
        Edge::Min => (0..count, sorted.iter_from(0)),
        Edge::Max => (
            sorted.len() - count..sorted.len(),
            sorted.iter_back_from(sorted.len() - 1),
        ),
    };
    write_members(&mut call.reply, call.reply_at, shape, count, members)?;
    if count > 0 {
        remove_ranks(call, key, ranks);
    }
    Ok(true)
}

fn pop(call: &mut Write<'_>, edge: Edge) -> Outcome {
    let (count, has_count) = match call.args.len() {
        2 => (1, false),
        3 => (at_least(call, 2, 0, NOT_POSITIVE)?, true),
        _ => return Err(Refusal::SYNTAX),
    };
    let shape = match has_count {
        true => Shape::of(call.reply.version(), true),
        false => Shape::Flat,
    };
    if !pop_from(call, call.args.key(1), edge, count, shape, false)? {
        call.reply.array(0);
    }
    Ok(())
}

fn zpopmin(call: &mut Write<'_>) -> Outcome {
    pop(call, Edge::Min)
}

fn zpopmax(call: &mut Write<'_>) -> Outcome {
    pop(call, Edge::Max)
}

fn zmpop(call: &mut Write<'_>) -> Outcome {
    let many = ManyKeys::parse(call)?;
    let edge = if call.is_word(many.word, "min") {
        Edge::Min
    } else if call.is_word(many.word, "max") {
        Edge::Max
    } else {
        return Err(Refusal::SYNTAX);
    };
    let count = many.count(call)?;
    for at in many.keys {
        if pop_from(call, call.args.key(at), edge, count, Shape::Pairs, true)? {
            return Ok(());
        }
    }
    call.reply.null_array();
    Ok(())
}

fn zrandmember(call: &mut Read<'_>) -> Outcome {
    let (keys, key) = (call.keys, call.args.key(1));
    if call.args.len() == 2 {
        match sorted_of(keys.get(call.database, key))? {
            Some(sorted) => {
                let rank = call.random_below(sorted.len());
                let (_, member) = sorted.nth(rank).expect("below their number");
                call.reply.bulk(member);
            }
            None => call.reply.null(),
        }
        return Ok(());
    }
    let number = with_magnitude(call, 2)?;
    let with_scores = call.args.len() > 3;
    if with_scores && (call.args.len() > 4 || !call.is_word(3, "withscores")) {
        return Err(Refusal::SYNTAX);
    }
    if with_scores && number.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(Refusal::of("ERR value is out of range"));
    }
    let Some(sorted) = sorted_of(keys.get(call.database, key))? else {
        call.reply.array(0);
        return Ok(());
    };
    let shape = Shape::of(call.reply.version(), with_scores);
    let count = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    if number < 0 {
        return pick_with_repeats(call, sorted, shape, count);
    }
    let count = count.min(sorted.len());
    let ranks = pick(call, sorted.len(), count);
    let members = ranks.iter().filter_map(|rank| sorted.nth(*rank));
    write_members(&mut call.reply, call.reply_at, shape, count, members)
}

/// Writes so many members, each picked from all of them.
fn pick_with_repeats(call: &mut Read<'_>, sorted: &Sorted, shape: Shape, count: usize) -> Outcome {
    shape.begin(&mut call.reply, count);
    for _ in 0..count {
        let rank = call.random_below(sorted.len());
        let (score, member) = sorted.nth(rank).expect("below their number");
        shape.write(&mut call.reply, member, score);
        call.check_reply()?;
    }
    Ok(())
}

/// Picks `count` different numbers below `bound`, each such choice as likely as any other.
fn pick(call: &mut Read<'_>, bound: usize, count: usize) -> BTreeSet<usize> {
    let mut picked = BTreeSet::new();
    for last in bound - count..bound {
        // Robert Floyd's way: whoever comes a second time stands for the one that is new.
        let number = call.random_below(last + 1);
        if !picked.insert(number) {
            picked.insert(last);
        }
    }
    picked
}

fn zscan(call: &mut Read<'_>) -> Outcome {
    let options = ScanOptions::at(call, 2)?;
    let keys = call.keys;
    let Some(sorted) = sorted_of(keys.get(call.database, call.args.key(1)))? else {
        return options.reply(call, 0, &Found::default());
    };
    let options = options.and_options(call, 3)?;
    let mut found = Found::default();
    let next = sorted.scan(options.cursor, options.count, |member, score, must| {
        if !options.matches(member.as_bytes()) {
            return true;
        }
        let text = match sorted.is_small() {
            true => double::text_or_integer(score),
            false => double::text(score),
        };
        found.add([Cow::Borrowed(member.as_bytes()), Cow::Owned(text)], must)
    });
    options.reply(call, next, &found)
}

/// The sorted set that a command changes, if there is one. What is gone is removed.
pub(super) fn sorted_to_change<'c>(
    call: &'c mut Write<'_>,
    key: Key<'_>,
) -> Outcome<Option<&'c Sorted>> {
    call.keys.remove_if_gone(call.database, key);
    sorted_of(call.keys.get(call.database, key))
}

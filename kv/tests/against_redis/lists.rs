//! What is made up of lists.

use crate::both::Request;
use crate::chance::Chance;

/// What the test of this family says: some of it about keys in general.
pub(crate) fn mixed(chance: &mut Chance) -> Request {
    match chance.once_in(25) {
        true => crate::keys::request(chance),
        false => request(chance),
    }
}

/// An element: few, so that some are equal.
fn element(chance: &mut Chance) -> Vec<u8> {
    match chance.below(8) {
        0 => chance.string(),
        _ => format!("e{}", chance.below(6)).into_bytes(),
    }
}

fn elements(chance: &mut Chance, words: &mut Request) {
    let count = match chance.below(12) {
        0 => 60 + chance.below(200),
        _ => 1 + chance.below(5),
    };
    words.extend((0..count).map(|_| element(chance)));
}

/// Commands with all their options.
pub(crate) fn request(chance: &mut Chance) -> Request {
    let name = chance.of(&[
        "lpush",
        "lpush",
        "rpush",
        "rpush",
        "lpushx",
        "rpushx",
        "lpop",
        "rpop",
        "llen",
        "lrange",
        "lrange",
        "lindex",
        "lset",
        "linsert",
        "lrem",
        "ltrim",
        "lpos",
        "lpos",
        "lmove",
        "rpoplpush",
        "lmpop",
        "object",
        "set",
    ]);
    let mut words = vec![chance.cased(name)];
    if name != "lmpop" && name != "object" {
        words.push(chance.key());
    }
    match name {
        "lpush" | "rpush" | "lpushx" | "rpushx" => elements(chance, &mut words),
        "lpop" | "rpop" => {
            if chance.once_in(2) {
                words.push(chance.integer());
            }
        }
        "lrange" | "ltrim" => words.extend([chance.integer(), chance.integer()]),
        "lindex" => words.push(chance.integer()),
        "lset" => words.extend([chance.integer(), element(chance)]),
        "linsert" => {
            let side = chance.of(&["before", "after", "before", "after", "beside"]);
            words.extend([chance.cased(side), element(chance), element(chance)]);
        }
        "lrem" => words.extend([chance.integer(), element(chance)]),
        "lpos" => {
            words.push(element(chance));
            for _ in 0..chance.below(4) {
                let option = chance.of(&["rank", "count", "maxlen"]);
                words.push(chance.cased(option));
                let number = chance.integer();
                // Redis 7.0 takes its magnitude, which it has none; here it is refused, as in Redis 7.2.
                let is_least = number == b"-9223372036854775808";
                words.push(if is_least { b"-1".to_vec() } else { number });
            }
        }
        "lmove" => words.extend([chance.key(), side(chance), side(chance)]),
        "rpoplpush" => words.push(chance.key()),
        "lmpop" => many(
            chance,
            &mut words,
            &["left", "right", "left", "right", "up"],
        ),
        "object" => words.extend([chance.cased("encoding"), chance.key()]),
        _ => {
            // Most keys are to be lists.
            match chance.once_in(4) {
                true => words.push(chance.string()),
                false => words[0] = b"del".to_vec(),
            }
        }
    }
    if chance.once_in(60) {
        words.pop();
    }
    if chance.once_in(60) {
        words.push(chance.string());
    }
    words
}

fn side(chance: &mut Chance) -> Vec<u8> {
    let side = chance.of(&["left", "right", "left", "right", "left", "right", "up"]);
    chance.cased(side)
}

/// What LMPOP and ZMPOP take: a number of keys, the keys, a word, and perhaps a count.
pub(crate) fn many(chance: &mut Chance, words: &mut Request, ends: &[&str]) {
    let count = 1 + chance.below(3);
    words.push(match chance.below(12) {
        // Nothing near the largest integer: Redis 7.0 adds to it without a look.
        0 => chance.word(&["0", "-1", "x", "7", ""]),
        _ => count.to_string().into_bytes(),
    });
    words.extend((0..count).map(|_| chance.key()));
    let end = chance.of(ends);
    words.push(chance.cased(end));
    if chance.once_in(2) {
        words.push(chance.cased("count"));
        words.push(chance.integer());
    }
}

//! What is made up of sets.

use crate::both::Request;
use crate::chance::Chance;
use crate::hashes::{random, scan_options};
use crate::{keys, strings};

/// What the test of this family says: some of it about keys in general, and strings.
pub(crate) fn mixed(chance: &mut Chance) -> Request {
    if chance.once_in(12) {
        return keys::request(chance);
    }
    if chance.once_in(40) {
        return strings::request(chance);
    }
    request(chance)
}

/// Commands with all their options.
pub(crate) fn request(chance: &mut Chance) -> Request {
    match chance.below(5) {
        0 | 1 => reading(chance),
        _ => plain(chance),
    }
}

/// A member that this key may get: half of the keys have integers, but for accidents.
fn member(chance: &mut Chance, key: &[u8]) -> Vec<u8> {
    let is_for_integers = key.last().is_some_and(|last| *last < b'4');
    match chance.below(if is_for_integers { 400 } else { 12 }) {
        0 => chance.word(&["", "007", "+1", "-0", "9223372036854775808", " 1", "1 "]),
        1 => chance.string(),
        2..=4 if !is_for_integers => format!("word{}", chance.below(20)).into_bytes(),
        5 => chance.word(&[
            "9223372036854775807",
            "-9223372036854775808",
            "65536",
            "-32769",
        ]),
        _ => (chance.below(40) as i64 - 10).to_string().into_bytes(),
    }
}

/// A command whose reply has no order.
fn plain(chance: &mut Chance) -> Request {
    let name = chance.of(&[
        "sadd",
        "sadd",
        "sadd",
        "srem",
        "scard",
        "sismember",
        "smismember",
        "smove",
        "smove",
        "sinterstore",
        "sinterstore",
        "sunionstore",
        "sdiffstore",
        "sdiffstore",
        "sintercard",
    ]);
    let key = chance.key();
    let mut request: Request = vec![chance.cased(name), key.clone()];
    match name {
        "sadd" if chance.once_in(12) => {
            // About as many as a set of integers may have.
            let numbers = 0..509 + chance.below(6);
            request.extend(numbers.map(|it| it.to_string().into_bytes()));
        }
        "srem" if chance.once_in(5) => {
            let first = chance.below(500);
            request.extend((first..first + 300).map(|it| it.to_string().into_bytes()));
        }
        "sadd" | "srem" | "smismember" => {
            request.extend((0..=chance.below(6)).map(|_| member(chance, &key)));
        }
        "sismember" => request.push(member(chance, &key)),
        "smove" => request.extend([chance.key(), member(chance, &key)]),
        "sinterstore" | "sunionstore" | "sdiffstore" => {
            request.extend((0..=chance.below(3)).map(|_| chance.key()));
        }
        "sintercard" => intercard(chance, &mut request),
        _ => {}
    }
    if chance.once_in(60) {
        request.pop();
    }
    if chance.once_in(80) {
        request.push(member(chance, &key));
    }
    request
}

fn intercard(chance: &mut Chance, request: &mut Request) {
    let sets = 1 + chance.below(3);
    request[1] = match chance.below(12) {
        0 => chance.word(&["0", "-1", "x", "9", "9223372036854775807", ""]),
        _ => sets.to_string().into_bytes(),
    };
    request.extend((0..sets).map(|_| chance.key()));
    for _ in 0..[0, 1, 1, 2][chance.below(4)] {
        request.push(chance.cased("limit"));
        request.push(match chance.below(8) {
            0 => chance.word(&["-1", "x", "9223372036854775807"]),
            _ => chance.below(12).to_string().into_bytes(),
        });
    }
    if chance.once_in(12) {
        request.push(chance.word(&["limit", "nosuch"]));
    }
}

/// A command whose reply has the order of a set, or is picked at random.
fn reading(chance: &mut Chance) -> Request {
    let name = chance.of(&[
        "smembers",
        "sinter",
        "sunion",
        "sdiff",
        "srandmember",
        "srandmember",
        "spop",
        "spop",
        "sscan",
    ]);
    let mut request: Request = vec![chance.cased(name), chance.key()];
    match name {
        "srandmember" | "spop" => random(chance, &mut request, ""),
        "sscan" => scan_options(chance, &mut request),
        "smembers" => {}
        _ => request.extend((0..chance.below(4)).map(|_| chance.key())),
    }
    if chance.once_in(60) {
        request.pop();
    }
    request
}

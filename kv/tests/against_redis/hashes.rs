//! What is made up of hashes.

use crate::both::Request;
use crate::chance::Chance;
use crate::{keys, strings};

/// What the test of this family says: some of it about keys in general, and strings.
pub(crate) fn mixed(chance: &mut Chance) -> Request {
    if chance.once_in(10) {
        return keys::request(chance);
    }
    if chance.once_in(30) {
        return strings::request(chance);
    }
    request(chance)
}

/// Commands with all their options.
pub(crate) fn request(chance: &mut Chance) -> Request {
    match chance.once_in(3) {
        true => reading(chance),
        false => plain(chance),
    }
}

/// A field out of many, seldom a long one.
fn field(chance: &mut Chance) -> Vec<u8> {
    match chance.below(40) {
        0 => vec![b'f'; [63, 64, 64, 64, 65][chance.below(5)]],
        1 => chance.word(&["", "0", "-1", "b7", "b511", "b512"]),
        2 => chance.below(50).to_string().into_bytes(),
        _ => format!("f{}", chance.below(30)).into_bytes(),
    }
}

/// A value: most of them numbers, seldom a long one.
fn value(chance: &mut Chance) -> Vec<u8> {
    match chance.below(60) {
        0 => vec![b'v'; [63, 64, 64, 64, 65][chance.below(5)]],
        1 | 2 => chance.string(),
        3..=9 => strings::float(chance),
        10..=14 => chance.word(&[
            "9223372036854775807",
            "-9223372036854775808",
            "007",
            " 1",
            "",
            "inf",
        ]),
        15..=24 => format!("value{}", chance.below(9)).into_bytes(),
        _ => (chance.below(2000) as i64 - 1000).to_string().into_bytes(),
    }
}

/// A command whose reply has no order.
fn plain(chance: &mut Chance) -> Request {
    let name = chance.of(&[
        "hset",
        "hset",
        "hset",
        "hmset",
        "hsetnx",
        "hget",
        "hmget",
        "hdel",
        "hdel",
        "hlen",
        "hstrlen",
        "hexists",
        "hincrby",
        "hincrby",
        "hincrbyfloat",
        "hincrbyfloat",
    ]);
    let mut request: Request = vec![chance.cased(name), chance.key()];
    match name {
        "hset" | "hmset" if chance.once_in(12) => {
            // About as many as a small one may have.
            for number in 0..509 + chance.below(6) {
                request.extend([format!("b{number}").into_bytes(), value_short(chance)]);
            }
        }
        "hset" | "hmset" => {
            for _ in 0..=chance.below(4) {
                request.extend([field(chance), value(chance)]);
            }
            if chance.once_in(20) {
                request.push(field(chance));
            }
        }
        "hsetnx" => request.extend([field(chance), value(chance)]),
        "hdel" if chance.once_in(8) => {
            let first = chance.below(500);
            request.extend((first..first + 300).map(|it| format!("b{it}").into_bytes()));
            request.extend((0..30).map(|it| format!("f{it}").into_bytes()));
        }
        "hmget" | "hdel" => request.extend((0..=chance.below(5)).map(|_| field(chance))),
        "hget" | "hstrlen" | "hexists" => request.push(field(chance)),
        "hincrby" => request.extend([field(chance), chance.integer()]),
        "hincrbyfloat" => request.extend([field(chance), strings::float(chance)]),
        _ => {}
    }
    if chance.once_in(60) {
        request.pop();
    }
    if chance.once_in(80) {
        request.push(field(chance));
    }
    request
}

fn value_short(chance: &mut Chance) -> Vec<u8> {
    chance.below(100).to_string().into_bytes()
}

/// A command whose reply has the order of the hash.
fn reading(chance: &mut Chance) -> Request {
    let name = chance.of(&[
        "hkeys",
        "hvals",
        "hgetall",
        "hgetall",
        "hrandfield",
        "hscan",
    ]);
    let mut request: Request = vec![chance.cased(name), chance.key()];
    match name {
        "hscan" => scan_options(chance, &mut request),
        "hrandfield" => random(chance, &mut request, "withvalues"),
        _ if chance.once_in(40) => request.push(field(chance)),
        _ => {}
    }
    request
}

/// A cursor and options of HSCAN and its like.
pub(crate) fn scan_options(chance: &mut Chance, request: &mut Request) {
    request.push(chance.word(&["0", "0", "0", "0", "0", "0", "0", "x", ""]));
    for _ in 0..[0, 0, 1, 1, 2][chance.below(5)] {
        let option = chance.of(&["match", "count"]);
        request.push(chance.cased(option));
        request.push(match option {
            "match" => chance.word(&["*", "f*", "m1*", "b1*", "[^f]*", "-*", "1?", ""]),
            _ => chance.word(&["1", "7", "100", "10000", "3"]),
        });
    }
    if chance.once_in(10) {
        let wrong: &[&[&str]] = &[
            &["count", "0"],
            &["count", "x"],
            &["type", "hash"],
            &["match"],
            &["nosuch", "1"],
        ];
        let words = wrong[chance.below(wrong.len())];
        request.extend(words.iter().map(|word| word.as_bytes().to_vec()));
    }
}

/// How many to pick, at times no number, and at times with what belongs to each.
pub(crate) fn random(chance: &mut Chance, request: &mut Request, with: &str) {
    if chance.once_in(5) {
        return;
    }
    request.push(match chance.below(12) {
        0 => chance.word(&[
            "x",
            "",
            "1.5",
            "-9223372036854775808",
            "9223372036854775808",
            "9223372036854775807",
        ]),
        1 => chance.word(&["1000", "600", "0", "513"]),
        _ => (chance.below(40) as i64 - 15).to_string().into_bytes(),
    });
    if !with.is_empty() && chance.once_in(2) {
        request.push(chance.cased(with));
    }
    if chance.once_in(20) {
        request.push(chance.word(&["withvalues", "withscores", "x"]));
    }
}

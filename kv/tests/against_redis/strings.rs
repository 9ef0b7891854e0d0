//! What is made up of strings.

use crate::both::Request;
use crate::chance::Chance;
use crate::times;

/// What the test of this family says: some of it about keys in general.
pub(crate) fn mixed(chance: &mut Chance) -> Request {
    if chance.once_in(8) {
        return crate::keys::request(chance);
    }
    if chance.once_in(5) {
        return vec![chance.cased("ttl"), chance.key()];
    }
    request(chance)
}

pub(crate) fn request(chance: &mut Chance) -> Request {
    let name = chance.of(&[
        "get",
        "set",
        "set",
        "setnx",
        "setex",
        "psetex",
        "getset",
        "getdel",
        "getex",
        "mget",
        "mset",
        "msetnx",
        "incr",
        "decr",
        "incrby",
        "decrby",
        "append",
        "strlen",
        "setrange",
        "getrange",
        "substr",
        "object",
        "incrbyfloat",
    ]);
    let mut words = vec![chance.cased(name)];
    match name {
        "get" | "getdel" | "incr" | "decr" | "strlen" => words.push(chance.key()),
        "setnx" | "getset" | "append" => words.extend([chance.key(), chance.string()]),
        "set" => {
            words.extend([chance.key(), chance.string()]);
            options(
                chance,
                &mut words,
                &["nx", "xx", "get", "keepttl", "ex", "px", "exat", "pxat"],
            );
        }
        "getex" => {
            words.push(chance.key());
            options(chance, &mut words, &["persist", "ex", "px", "exat", "pxat"]);
        }
        "setex" => words.extend([chance.key(), times::seconds(chance), chance.string()]),
        "psetex" => words.extend([chance.key(), times::millis(chance), chance.string()]),
        "mget" => words.extend((0..=chance.below(4)).map(|_| chance.key())),
        "mset" | "msetnx" => {
            for _ in 0..=chance.below(3) {
                words.extend([chance.key(), chance.string()]);
            }
            if chance.once_in(10) {
                words.push(chance.key());
            }
        }
        "incrby" | "decrby" => words.extend([chance.key(), chance.integer()]),
        "incrbyfloat" => words.extend([chance.key(), float(chance)]),
        "setrange" => words.extend([chance.key(), offset(chance), chance.string()]),
        "getrange" | "substr" => words.extend([chance.key(), chance.integer(), chance.integer()]),
        _ => words.extend([chance.cased("encoding"), chance.key()]),
    }
    if chance.once_in(60) {
        words.pop();
    }
    if chance.once_in(60) {
        words.push(chance.string());
    }
    words
}

/// Some options, most of them sound.
fn options(chance: &mut Chance, words: &mut Request, known: &[&str]) {
    for _ in 0..[0, 0, 1, 1, 1, 2, 3][chance.below(7)] {
        let option = chance.of(known);
        words.push(chance.cased(option));
        match option {
            "ex" => words.push(times::seconds(chance)),
            "px" => words.push(times::millis(chance)),
            "exat" => words.push(times::at_seconds(chance)),
            "pxat" => words.push(times::at_millis(chance)),
            _ => {}
        }
    }
}

fn offset(chance: &mut Chance) -> Vec<u8> {
    match chance.below(12) {
        0 => chance.word(&["-1", "x", "", "9223372036854775807", "536870912"]),
        1 => chance.word(&["44", "100", "1000"]),
        _ => chance.below(12).to_string().into_bytes(),
    }
}

/// A float as an argument, at times one that is none.
pub(crate) fn float(chance: &mut Chance) -> Vec<u8> {
    match chance.below(10) {
        0 => chance.word(&[
            "", "x", " 1", "1 ", "nan", "1.5x", "--1", "1e", ".", "e5", "+",
        ]),
        1 => chance.word(&[
            "inf", "-inf", "+inf", "infinity", "1e4000", "-1e4000", "1e-320", "1e4932", "-1e4932",
        ]),
        2 => chance.word(&[
            "1e17",
            "1e18",
            "123456789012345678",
            "0.1e-10",
            "5.0e3",
            "1e-17",
        ]),
        3 => chance.word(&["+1.5", ".5", "5.", "00.5", "-0", "-0.0", "0", "1E2", "1e+2"]),
        4 => format!("{}e{}", chance.below(1000), chance.below(30) as i64 - 15).into_bytes(),
        5 => format!(
            "{}.{:09}",
            chance.below(100_000),
            chance.below(1_000_000_000)
        )
        .into_bytes(),
        6 => format!("-{}.{}", chance.below(10), chance.below(1_000_000_000)).into_bytes(),
        _ => format!("{}.{}", chance.below(10), chance.below(100)).into_bytes(),
    }
}

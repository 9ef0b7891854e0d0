//! What is made up of keys and their deadlines.

use crate::both::{Request, words};
use crate::chance::Chance;
use crate::times;

/// Commands on keys of all types.
pub(crate) fn request(chance: &mut Chance) -> Request {
    let name = chance.of(&[
        "set",
        "set",
        "incr",
        "append",
        "del",
        "unlink",
        "exists",
        "touch",
        "type",
        "rename",
        "renamenx",
        "copy",
        "copy",
        "object",
        "dbsize",
        "keys",
        "scan",
        "expire",
        "pexpire",
        "expireat",
        "pexpireat",
        "ttl",
        "pttl",
        "expiretime",
        "pexpiretime",
        "persist",
        "select",
        "flushdb",
        "flushall",
        "echo",
        "ping",
        "nosuch",
        "randomkey",
        "time",
    ]);
    let mut request: Request = vec![chance.cased(name)];
    match name {
        "set" | "append" => request.extend([chance.key(), chance.string()]),
        "incr" | "type" | "persist" => request.push(chance.key()),
        "del" | "unlink" | "exists" | "touch" => {
            request.extend((0..=chance.below(3)).map(|_| chance.key()));
        }
        "rename" | "renamenx" => request.extend([chance.key(), chance.key()]),
        "copy" => copy(chance, &mut request),
        "object" => {
            let word = match chance.once_in(10) {
                true => chance.word(&["nosuch", "encodin"]),
                false => chance.cased("encoding"),
            };
            request.extend([word, chance.key()]);
        }
        "keys" => {
            request.push(pattern(chance));
        }
        "scan" => scan(chance, &mut request),
        "expire" | "pexpire" | "expireat" | "pexpireat" => expire(chance, name, &mut request),
        "ttl" | "pttl" | "expiretime" | "pexpiretime" => request.push(chance.key()),
        "select" => {
            request.push(chance.word(&["0", "0", "0", "1", "15", "16", "-1", "x", "99999999999"]))
        }
        "flushdb" | "flushall" => {
            if !chance.once_in(3) {
                return words("DBSIZE");
            }
            if chance.once_in(2) {
                request.push(chance.word(&["async", "SYNC", "nosuch"]));
            }
        }
        "echo" => request.push(chance.string()),
        "ping" => request.extend((0..chance.below(3)).map(|_| chance.string())),
        "nosuch" => request.extend((0..chance.below(6)).map(|_| chance.string())),
        _ => {}
    }
    if chance.once_in(60) {
        request.pop();
        if request.is_empty() {
            request = words("DBSIZE");
        }
    }
    request
}

fn copy(chance: &mut Chance, request: &mut Request) {
    request.extend([chance.key(), chance.key()]);
    if chance.once_in(2) {
        request.push(chance.cased("replace"));
    }
    if chance.once_in(4) {
        request.push(chance.cased("db"));
        request.push(chance.word(&["0", "1", "15", "16", "-1", "x"]));
    }
    if chance.once_in(20) {
        request.push(chance.word(&["db", "nosuch"]));
    }
}

fn pattern(chance: &mut Chance) -> Vec<u8> {
    chance.word(&[
        "*",
        "key:*",
        "k?y:[1-3]",
        "key:[^2]",
        "*:?",
        "nosuch*",
        "key:\\1",
        "[k]*[0-9]",
        "",
    ])
}

fn scan(chance: &mut Chance, request: &mut Request) {
    request.push(b"0".to_vec());
    for _ in 0..chance.below(3) {
        let option = chance.of(&["match", "count", "type"]);
        request.push(chance.cased(option));
        request.push(match option {
            "match" => pattern(chance),
            "count" => chance.word(&["1", "2", "10", "1000", "0", "-1", "x"]),
            _ => chance.word(&["string", "STRING", "list", "hash", "nosuch"]),
        });
    }
    if chance.once_in(10) {
        request.push(chance.word(&["match", "nosuch"]));
    }
    if chance.once_in(10) {
        request[1] = chance.word(&["x", "", "-1", "1.5"]);
    }
}

fn expire(chance: &mut Chance, name: &str, request: &mut Request) {
    request.push(chance.key());
    let is_relative = !name.ends_with("at");
    request.push(match name {
        "expire" => times::seconds(chance),
        "pexpire" => times::millis(chance),
        "expireat" => times::at_seconds(chance),
        _ => times::at_millis(chance),
    });
    // Of two that are counted from now, by the same span, which is later is chance: GT and LT want others.
    let known: &[&str] = match is_relative && chance.soon.is_some() {
        true => &["nx", "xx", "nosuch"],
        false => &["nx", "xx", "gt", "lt", "nosuch"],
    };
    for _ in 0..[0, 0, 1, 1, 2][chance.below(5)] {
        let option = chance.of(known);
        request.push(chance.cased(option));
    }
}

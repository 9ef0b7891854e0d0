//! What is made up of sorted sets.

use crate::both::Request;
use crate::chance::Chance;

/// What the test of this family says: some of it about keys in general.
pub(crate) fn mixed(chance: &mut Chance) -> Request {
    match chance.once_in(25) {
        true => crate::keys::request(chance),
        false => request(chance),
    }
}

/// A member: few, so that many commands meet the same ones.
fn member(chance: &mut Chance) -> Vec<u8> {
    match chance.below(40) {
        0 => chance.string(),
        1 => vec![b'y'; [63, 64, 65][chance.below(3)]],
        // Those of sets of integers, too.
        2 | 3 => chance.below(9).to_string().into_bytes(),
        _ => format!("m{}", chance.below(20)).into_bytes(),
    }
}

fn score(chance: &mut Chance) -> Vec<u8> {
    match chance.below(12) {
        0 => chance.word(&[
            "inf",
            "-inf",
            "+inf",
            "Infinity",
            "0",
            "-0",
            "1e18",
            "1e17",
            "-1e18",
            "4.7e18",
            "1e300",
            "5e-324",
            "0x1p-3",
            "0x10",
            "123456789012345678",
        ]),
        1 => crate::strings::float(chance),
        2 => chance.word(&["", "x", "nan", " 1", "1 ", "1e400", "1e-400", "(1"]),
        3 | 4 => format!("{}.{}", chance.below(10), chance.below(1000)).into_bytes(),
        _ => (chance.below(12) as i64 - 6).to_string().into_bytes(),
    }
}

fn scored(chance: &mut Chance, words: &mut Request) {
    let (count, members) = match chance.below(25) {
        0 => (100, 1000),
        _ => (1 + chance.below(4), 0),
    };
    for _ in 0..count {
        words.push(match members {
            0 => score(chance),
            _ => chance.below(50).to_string().into_bytes(),
        });
        words.push(match members {
            0 => member(chance),
            _ => format!("m{}", chance.below(members)).into_bytes(),
        });
    }
}

/// One end of a range of scores.
fn score_limit(chance: &mut Chance) -> Vec<u8> {
    let mut limit = match chance.once_in(3) {
        true => b"(".to_vec(),
        false => Vec::new(),
    };
    limit.extend(match chance.below(5) {
        0 => chance.word(&[
            "inf", "-inf", "", " 1", "nan", "x", "1e999", "-1e999", "1\0x",
        ]),
        1 => score(chance),
        _ => (chance.below(14) as i64 - 7).to_string().into_bytes(),
    });
    limit
}

/// One end of a range of members.
fn member_limit(chance: &mut Chance) -> Vec<u8> {
    match chance.below(10) {
        0 | 1 => b"-".to_vec(),
        2 | 3 => b"+".to_vec(),
        4 => chance.word(&["", "x", "1", "+x", "-1", "[", "(", "+\0x"]),
        _ => {
            let mut limit = chance.word(&["[", "("]);
            limit.extend(member(chance));
            limit
        }
    }
}

fn limit(chance: &mut Chance, words: &mut Request) {
    words.push(chance.cased("limit"));
    words.push(chance.integer());
    if !chance.once_in(30) {
        words.push(chance.integer());
    }
}

/// Keys of which all scores are the same, for commands that are about members: with scores of all kinds
/// Redis promises nothing.
fn even_key(chance: &mut Chance) -> Vec<u8> {
    match chance.once_in(6) {
        true => plain_key(chance),
        false => format!("even:{}", 2 * chance.below(3)).into_bytes(),
    }
}

/// A plain set, which stands for a sorted one with scores of 1.
fn plain_key(chance: &mut Chance) -> Vec<u8> {
    format!("plain:{}", chance.below(2)).into_bytes()
}

/// Commands with all their options.
pub(crate) fn request(chance: &mut Chance) -> Request {
    let name = chance.of(&[
        "zadd",
        "zadd",
        "zadd",
        "zadd",
        "zadd even",
        "zadd even",
        "zincrby",
        "zrem",
        "zcard",
        "zscore",
        "zmscore",
        "zrank",
        "zrevrank",
        "zcount",
        "zlexcount",
        "zrange",
        "zrange",
        "zrange",
        "zrange",
        "zrangestore",
        "zrangestore",
        "zrevrange",
        "zrangebyscore",
        "zrevrangebyscore",
        "zrangebylex",
        "zrevrangebylex",
        "zremrangebyrank",
        "zremrangebyscore",
        "zremrangebylex",
        "zpopmin",
        "zpopmax",
        "zmpop",
        "zrandmember",
        "zunion",
        "zinter",
        "zdiff",
        "zintercard",
        "zunionstore",
        "zinterstore",
        "zdiffstore",
        "zscan",
        "sadd plain",
        "object",
        "set",
    ]);
    let mut words = vec![chance.cased(name)];
    match name {
        "zadd" => add(chance, &mut words),
        "zadd even" => add_even(chance, &mut words),
        "zincrby" => words.extend([chance.key(), score(chance), member(chance)]),
        "zrem" | "zmscore" => {
            words.push(chance.key());
            words.extend((0..=chance.below(3)).map(|_| member(chance)));
        }
        "zcard" => words.push(chance.key()),
        "zscore" | "zrank" | "zrevrank" => words.extend([chance.key(), member(chance)]),
        "zcount" | "zremrangebyscore" => {
            words.extend([chance.key(), score_limit(chance), score_limit(chance)]);
        }
        "zlexcount" | "zremrangebylex" => {
            words.extend([even_key(chance), member_limit(chance), member_limit(chance)]);
        }
        "zremrangebyrank" => words.extend([chance.key(), chance.integer(), chance.integer()]),
        "zrange" | "zrangestore" => range(chance, name == "zrangestore", &mut words),
        "zrevrange" => {
            words.extend([chance.key(), chance.integer(), chance.integer()]);
            with_scores(chance, &mut words);
        }
        "zrangebyscore" | "zrevrangebyscore" => {
            words.extend([chance.key(), score_limit(chance), score_limit(chance)]);
            with_scores(chance, &mut words);
            if chance.once_in(3) {
                limit(chance, &mut words);
            }
        }
        "zrangebylex" | "zrevrangebylex" => {
            words.extend([even_key(chance), member_limit(chance), member_limit(chance)]);
            if chance.once_in(3) {
                limit(chance, &mut words);
            }
            if chance.once_in(30) {
                with_scores(chance, &mut words);
            }
        }
        "zpopmin" | "zpopmax" => {
            words.push(chance.key());
            if chance.once_in(2) {
                words.push(chance.integer());
            }
        }
        "zmpop" => crate::lists::many(chance, &mut words, &["min", "max", "min", "max", "left"]),
        "zrandmember" => {
            words.push(chance.key());
            crate::hashes::random(chance, &mut words, "withscores");
        }
        "zscan" => {
            words.push(chance.key());
            crate::hashes::scan_options(chance, &mut words);
        }
        "sadd plain" => {
            words = vec![b"sadd".to_vec(), plain_key(chance)];
            // Some alone are integers, which a set keeps in another way.
            match chance.once_in(3) {
                true => words.extend((0..9).map(|_| member(chance))),
                false => words.push(chance.below(9).to_string().into_bytes()),
            }
            if chance.once_in(5) {
                words = vec![b"del".to_vec(), plain_key(chance)];
            }
        }
        "object" => words.extend([chance.cased("encoding"), chance.key()]),
        "set" => match chance.once_in(3) {
            true => words.extend([chance.key(), chance.string()]),
            false => words = vec![b"del".to_vec(), chance.key()],
        },
        _ => algebra(chance, name, &mut words),
    }
    if chance.once_in(60) {
        words.pop();
    }
    if chance.once_in(60) {
        words.push(chance.string());
    }
    words
}

fn add(chance: &mut Chance, words: &mut Request) {
    words.push(chance.key());
    for _ in 0..[0, 0, 1, 1, 1, 2][chance.below(6)] {
        let option = chance.of(&["nx", "xx", "gt", "lt", "ch", "incr"]);
        words.push(chance.cased(option));
    }
    scored(chance, words);
}

fn add_even(chance: &mut Chance, words: &mut Request) {
    *words = vec![b"zadd".to_vec(), even_key(chance)];
    let count = if chance.once_in(20) { 90 } else { 3 };
    for _ in 0..count {
        words.extend([
            b"0".to_vec(),
            format!("m{}", chance.below(150)).into_bytes(),
        ]);
    }
}

fn with_scores(chance: &mut Chance, words: &mut Request) {
    if chance.once_in(2) {
        words.push(chance.cased("withscores"));
    }
}

/// ZRANGE and ZRANGESTORE with all their options.
fn range(chance: &mut Chance, stores: bool, words: &mut Request) {
    let by = chance.of(&["", "", "byscore", "byscore", "bylex"]);
    let key = match by {
        "bylex" => even_key(chance),
        _ => chance.key(),
    };
    if stores {
        words.push(chance.key());
    }
    words.push(key);
    for _ in 0..2 {
        words.push(match by {
            "bylex" => member_limit(chance),
            "byscore" => score_limit(chance),
            _ => chance.integer(),
        });
    }
    if !by.is_empty() {
        words.push(chance.cased(by));
    }
    if chance.once_in(2) {
        words.push(chance.cased("rev"));
    }
    if chance.once_in(4) {
        limit(chance, words);
    }
    if chance.once_in(if stores || by == "bylex" { 20 } else { 2 }) {
        words.push(chance.cased("withscores"));
    }
}

/// What makes one of many.
fn algebra(chance: &mut Chance, name: &str, words: &mut Request) {
    if name.ends_with("store") {
        words.push(chance.key());
    }
    let count = 1 + chance.below(3);
    words.push(match chance.below(15) {
        0 => chance.word(&["0", "-1", "x", "9", "9223372036854775807"]),
        _ => count.to_string().into_bytes(),
    });
    for _ in 0..count {
        words.push(match chance.below(8) {
            0 | 1 => even_key(chance),
            2 | 3 => plain_key(chance),
            _ => chance.key(),
        });
    }
    for _ in 0..chance.below(3) {
        let option = chance.of(&["weights", "aggregate", "withscores", "limit"]);
        let is_known = match option {
            "limit" => name == "zintercard",
            "withscores" => matches!(name, "zunion" | "zinter" | "zdiff"),
            _ => name.starts_with("zunion") || (name.starts_with("zinter") && name != "zintercard"),
        };
        if !is_known && !chance.once_in(20) {
            continue;
        }
        words.push(chance.cased(option));
        match option {
            "weights" => words.extend((0..count).map(|_| score(chance))),
            "aggregate" => words.push(chance.word(&["sum", "MIN", "max", "Sum", "mean"])),
            "limit" => words.push(chance.integer()),
            _ => {}
        }
    }
}

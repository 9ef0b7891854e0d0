//! Commands of all families, and what is none of a family: whatever words as arguments of whatever command.

use standin_kv::table::{self, Handler, Way};

use crate::both::Request;
use crate::chance::Chance;
use crate::{hashes, keys, lists, sets, sorted, strings, times};

/// How many keys there are where all families are mixed.
pub(crate) const KEYS: usize = 14;

/// All keys that any family names.
pub(crate) fn all_keys() -> impl Iterator<Item = String> {
    let keys = (0..KEYS).map(|it| format!("key:{it}"));
    let even = [0, 2, 4].map(|it| format!("even:{it}"));
    keys.chain(even)
        .chain((0..2).map(|it| format!("plain:{it}")))
}

/// A command of any family, most of the time on the keys that this family has to itself.
pub(crate) fn request(chance: &mut Chance) -> Request {
    let (favoured, make): (_, fn(&mut Chance) -> Request) = match chance.below(28) {
        0..=5 => (0..3, strings::request),
        6..=9 => (3..5, lists::request),
        10..=13 => (5..7, hashes::request),
        14..=17 => (7..11, sets::request),
        18..=22 => (11..14, sorted::request),
        23..=25 => (0..KEYS, keys::request),
        _ => (0..KEYS, anything),
    };
    chance.favour(KEYS, favoured);
    make(chance)
}

/// Any command that the machine executes, with as many arguments as it takes or not, of all kinds.
pub(crate) fn anything(chance: &mut Chance) -> Request {
    let known: Vec<&str> = table::all()
        .filter(|spec| {
            let is_executed = matches!(spec.handler, Handler::Read(_) | Handler::Write(_));
            is_executed && spec.way != Way::Connection && !spec.name.contains("flush")
                // Among scores of all kinds they mean nothing.
                && !spec.name.contains("lex")
        })
        .map(|spec| spec.name)
        .collect();
    let name = chance.of(&known);
    let arity = table::find(name.as_bytes()).expect("it is one").arity;
    let least = usize::from(arity.unsigned_abs()) - 1;
    let count = match chance.below(4) {
        0 => chance.below(7),
        1 if least > 0 && chance.once_in(2) => least - 1,
        1 => least + 1,
        _ => least,
    };
    loop {
        let mut request = vec![chance.cased(name)];
        request.extend((0..count).map(|place| match place {
            0 if chance.once_in(2) => chance.key(),
            _ => argument(chance),
        }));
        if !times::is_soon(&request) {
            return request;
        }
    }
}

fn argument(chance: &mut Chance) -> Vec<u8> {
    match chance.below(8) {
        0..=2 => chance.key(),
        3 => chance.word(&[
            "nx",
            "xx",
            "get",
            "ex",
            "keepttl",
            "persist",
            "withscores",
            "withvalues",
            "limit",
            "count",
            "match",
            "left",
            "right",
            "min",
            "max",
            "rank",
            "weights",
            "aggregate",
            "replace",
            "encoding",
        ]),
        4 => times::seconds(chance),
        5 => (chance.below(12) as i64 - 3).to_string().into_bytes(),
        6 => chance.word(&[
            "", "x", "1.5", "-0", "(1", "[a", "+", "-", "*", "inf", "nan",
        ]),
        _ => chance.string(),
    }
}

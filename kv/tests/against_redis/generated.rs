//! That nothing is left out of what is made up: each command, and each option of it.

use std::collections::BTreeSet;

use standin_kv::table;

use crate::both::Request;
use crate::chance::Chance;
use crate::{connection, hashes, keys, lists, mixture, sets, sorted, strings};

/// Requests of each family that are looked through.
const REQUESTS: usize = 20_000;

/// Commands that pipelines say by themselves.
const SAID_BY_PIPELINES: [&str; 6] = ["multi", "exec", "discard", "watch", "unwatch", "quit"];

/// The words that each command knows besides its arguments.
const OPTIONS: &[(&str, &str)] = &[
    ("set", "nx xx get keepttl ex px exat pxat"),
    ("getex", "persist ex px exat pxat"),
    ("expire", "nx xx gt lt"),
    ("pexpire", "nx xx gt lt"),
    ("expireat", "nx xx gt lt"),
    ("pexpireat", "nx xx gt lt"),
    ("copy", "replace db"),
    ("object", "encoding"),
    ("flushdb", "async sync"),
    ("flushall", "async sync"),
    ("scan", "match count type"),
    ("hscan", "match count"),
    ("sscan", "match count"),
    ("zscan", "match count"),
    ("hrandfield", "withvalues"),
    ("linsert", "before after"),
    ("lmove", "left right"),
    ("lmpop", "left right count"),
    ("lpos", "rank count maxlen"),
    ("sintercard", "limit"),
    ("zadd", "nx xx gt lt ch incr"),
    ("zrange", "byscore bylex rev limit withscores"),
    ("zrangestore", "byscore bylex rev limit"),
    ("zrevrange", "withscores"),
    ("zrangebyscore", "withscores limit"),
    ("zrevrangebyscore", "withscores limit"),
    ("zrangebylex", "limit"),
    ("zrevrangebylex", "limit"),
    ("zmpop", "min max count"),
    ("zrandmember", "withscores"),
    ("zintercard", "limit"),
    ("zdiff", "withscores"),
    ("zunion", "weights aggregate sum min max withscores"),
    ("zinter", "weights aggregate sum min max withscores"),
    ("zunionstore", "weights aggregate sum min max"),
    ("zinterstore", "weights aggregate sum min max"),
    ("hello", "2 3 auth setname"),
    (
        "client",
        "id getname setname getredir no-evict reply unblock kill list trackinginfo",
    ),
    ("config", "get set resetstat"),
    ("command", "getkeys count list info docs"),
    ("cluster", "info"),
];

#[test]
fn every_command_and_every_option_is_made_up() {
    let families: [fn(&mut Chance) -> Request; 7] = [
        strings::request,
        keys::request,
        lists::request,
        hashes::request,
        sets::request,
        sorted::request,
        connection::request,
    ];
    let mut names = BTreeSet::new();
    let mut words = BTreeSet::new();
    for make in families {
        let mut chance = Chance::new(1);
        for _ in 0..REQUESTS {
            let request = make(&mut chance);
            let name = request[0].to_ascii_lowercase();
            for word in &request[1..] {
                words.insert((name.clone(), word.to_ascii_lowercase()));
            }
            names.insert(name);
        }
    }
    names.extend(SAID_BY_PIPELINES.map(|name| name.as_bytes().to_vec()));
    let commands = table::all().filter(|spec| !names.contains(spec.name.as_bytes()));
    let mut missing: Vec<String> = commands.map(|spec| spec.name.to_owned()).collect();
    for (name, options) in OPTIONS {
        assert!(
            table::find(name.as_bytes()).is_some(),
            "{name} is no command"
        );
        for option in options.split(' ') {
            let pair = (name.as_bytes().to_vec(), option.as_bytes().to_vec());
            if !words.contains(&pair) {
                missing.push(format!("{name} {option}"));
            }
        }
    }
    assert!(missing.is_empty(), "never made up: {}", missing.join(", "));
}

/// What stands under a key of another family is come upon often enough where all are mixed.
#[test]
fn a_mixture_has_all_commands_of_the_machine() {
    let mut chance = Chance::new(1);
    let names: BTreeSet<Vec<u8>> = (0..REQUESTS)
        .map(|_| mixture::request(&mut chance)[0].to_ascii_lowercase())
        .collect();
    let missing: Vec<&str> = table::all()
        .filter(|spec| spec.may_be_queued() && spec.name != "unwatch")
        .filter(|spec| !names.contains(spec.name.as_bytes()))
        .map(|spec| spec.name)
        .collect();
    assert!(missing.is_empty(), "never made up: {}", missing.join(", "));
}

//! Hashes and sets in the machine: what the comparison with Redis cannot see.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeSet;

use std::collections::BTreeMap;

use standin_kv::arguments;
use standin_resp::reply::Reply;
use support::Shop;

/// How often each is asked to pick.
const ROUNDS: usize = 4000;

/// Puts a hash of so many fields under a key, its fields in the order of `numbers`.
fn fill_hash(shop: &mut Shop, key: &str, numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        assert_eq!(
            shop.ask(&format!("HSET {key} f{number} {number}")),
            ":1\r\n"
        );
    }
}

fn fill_set(shop: &mut Shop, key: &str, numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        assert_eq!(shop.ask(&format!("SADD {key} {number}")), ":1\r\n");
    }
}

/// The elements of a reply as texts.
fn elements(reply: &str) -> Vec<String> {
    let (reply, _) = Reply::parse(reply.as_bytes()).unwrap().unwrap();
    let (Reply::Array(items) | Reply::Set(items)) = reply else {
        panic!("{reply:?} has no elements");
    };
    let text = |item: &Reply| String::from_utf8(item.text().unwrap().to_vec()).unwrap();
    items.iter().map(text).collect()
}

/// One of each form.
fn of_all_forms() -> Shop {
    let mut shop = Shop::default();
    fill_hash(&mut shop, "small", [5, 3, 9].into_iter());
    fill_hash(&mut shop, "large", 0..600);
    fill_hash(&mut shop, "shrunk", 0..513);
    for number in 1..513 {
        shop.ask(&format!("HDEL shrunk f{number}"));
    }
    fill_set(&mut shop, "integers", [7, 1, 500].into_iter());
    fill_set(&mut shop, "table", 0..700);
    shop.ask("SADD words one two 3 ''");
    shop.ask("SADD left 1 x");
    shop.ask("SREM left x");
    shop
}

#[test]
fn every_form_reads_back_and_goes_on() {
    let mut shop = of_all_forms();
    let bytes = shop.capture();
    let mut again = Shop::restore(&bytes).unwrap();
    assert!(again.capture() == bytes, "it reads back as it was written");
    again.adopt_time(&shop);
    for line in [
        "OBJECT ENCODING small",
        "OBJECT ENCODING large",
        "OBJECT ENCODING shrunk",
        "OBJECT ENCODING integers",
        "OBJECT ENCODING table",
        "OBJECT ENCODING left",
        "HGETALL small",
        "HGETALL large",
        "SMEMBERS integers",
        "SMEMBERS table",
        "HRANDFIELD large 7 WITHVALUES",
        "SPOP table 5",
        "SPOP words",
        "HSET small f1 x",
        "SUNIONSTORE table integers left words",
        "HINCRBYFLOAT large f8 0.5",
    ] {
        assert_eq!(shop.ask(line), again.ask(line), "{line}");
    }
    assert!(shop.capture() == again.capture());
    for length in (0..bytes.len()).step_by(331) {
        assert!(Shop::restore(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn equal_large_ones_are_equal_bytes_whatever_led_to_them() {
    let states = [false, true].map(|is_reverse| {
        let mut shop = Shop::default();
        let numbers: Vec<usize> = match is_reverse {
            false => (0..600).collect(),
            true => (0..600).rev().collect(),
        };
        fill_hash(&mut shop, "hash", numbers.iter().copied());
        fill_set(&mut shop, "set", numbers.iter().copied());
        shop.ask("HSET hash f0 0");
        shop.ask("SADD set more");
        shop.capture()
    });
    assert!(states[0] == states[1]);
}

#[test]
fn a_capture_stays_while_what_it_was_taken_of_changes() {
    let mut shop = of_all_forms();
    let bytes = shop.capture();
    let kept = shop.clone();
    for line in [
        "HSET small f3 changed more 1",
        "HDEL large f1 f2 f3",
        "HINCRBY shrunk f0 5",
        "SADD integers 2 3",
        "SPOP table 100",
        "SMOVE words table one",
        "SUNIONSTORE left table integers",
    ] {
        let reply = shop.ask(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    assert!(shop.capture() != bytes);
    assert!(kept.capture() == bytes);
}

#[test]
fn what_is_copied_is_changed_by_itself() {
    let mut shop = of_all_forms();
    for key in ["small", "large", "integers", "table"] {
        shop.ask(&format!("COPY {key} {key}2"));
    }
    shop.ask("HSET small2 f5 other");
    shop.ask("HDEL large2 f5");
    shop.ask("SREM integers2 7");
    shop.ask("SREM table2 7");
    assert_eq!(shop.ask("HGET small f5"), "$1\r\n5\r\n");
    assert_eq!(shop.ask("HGET large f5"), "$1\r\n5\r\n");
    assert_eq!(shop.ask("SMISMEMBER integers 7"), "*1\r\n:1\r\n");
    assert_eq!(shop.ask("SISMEMBER table 7"), ":1\r\n");
    assert_eq!(shop.ask("SCARD integers2"), ":2\r\n");
    assert_eq!(shop.ask("HLEN large2"), ":599\r\n");
}

#[test]
fn everyone_is_picked_about_equally_often() {
    let mut shop = Shop::default();
    fill_set(&mut shop, "integers", 0..10);
    fill_set(&mut shop, "table", 0..1000);
    shop.ask("SREM table 1000");
    for number in 10..1000 {
        shop.ask(&format!("SREM table {number}"));
    }
    fill_hash(&mut shop, "hash", 0..10);
    for (line, picks) in [
        ("SRANDMEMBER integers 1", 1),
        ("SRANDMEMBER integers 3", 3),
        ("SRANDMEMBER table 9", 9),
        ("SRANDMEMBER table -4", 4),
        ("HRANDFIELD hash 5", 5),
        ("HRANDFIELD hash -2", 2),
    ] {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for element in elements(&shop.ask(line)) {
                *counts.entry(element).or_default() += 1;
            }
        }
        let expected = ROUNDS * picks / 10;
        assert_eq!(counts.len(), 10, "{line}");
        for (element, count) in counts {
            // More than four times the standard deviation of any of them.
            assert!(
                count.abs_diff(expected) < 180,
                "{line}: {element} {count} times"
            );
        }
    }
}

#[test]
fn what_is_picked_for_good_is_gone_and_nothing_else() {
    let mut shop = Shop::default();
    fill_set(&mut shop, "table", 0..1000);
    let mut popped = elements(&shop.ask("SPOP table 400"));
    popped.extend(elements(&shop.ask("SPOP table 400")));
    popped.extend(elements(&shop.ask("SMEMBERS table")));
    popped.sort_by_key(|it| it.parse::<usize>().unwrap());
    assert!(popped.into_iter().eq((0..1000).map(|it| it.to_string())));
    assert_eq!(elements(&shop.ask("SPOP table 200")).len(), 200);
    assert_eq!(shop.ask("EXISTS table"), ":0\r\n");
}

#[test]
fn a_reply_that_would_be_too_long_is_refused_and_changes_nothing() {
    let mut shop = Shop::default();
    let long = "x".repeat(200_000);
    for number in 0..6 {
        shop.ask(&format!("SADD set {number}{long}"));
        shop.ask(&format!("HSET hash {number} {long}"));
    }
    let before = shop.capture();
    for line in [
        "SMEMBERS set",
        "SPOP set 6",
        "SPOP set 1000",
        "SPOP set 5999999999",
        "SRANDMEMBER set -7",
        "SRANDMEMBER set -9000000000000000000",
        "SUNION set set",
        "SDIFF set other",
        "SINTER set set",
        "HGETALL hash",
        "HVALS hash",
        "HMGET hash 0 1 2 3 4 5",
        "HRANDFIELD hash 6 WITHVALUES",
    ] {
        let reply = shop.ask(line);
        let reply: String = reply.chars().take(100).collect();
        assert!(
            reply.starts_with("-ERR the reply would be longer"),
            "{line}: {reply}"
        );
    }
    // All but the time and the index of the last entry.
    assert!(shop.capture()[25..] == before[25..]);
    assert_eq!(shop.ask("SINTERCARD 2 set set"), ":6\r\n");
    assert_eq!(shop.ask("SUNIONSTORE copy set"), ":6\r\n");
    assert_eq!(elements(&shop.ask("SPOP set 4")).len(), 4);
}

#[test]
fn a_step_of_a_walk_ends_where_it_has_room_for_no_more() {
    let mut shop = Shop::default();
    let long = "x".repeat(200_000);
    for number in 0..6 {
        shop.ask(&format!("SADD set {number}{long}"));
        shop.ask(&format!("HSET hash {number} {long}"));
        shop.ask(&format!("ZADD sorted {number} {number}{long}"));
        shop.ask(&format!("SET {number}{long} v"));
    }
    // One that has no room together with any other.
    let longest = "y".repeat(1_000_000);
    shop.ask(&format!("SADD set {longest}"));
    shop.ask(&format!("HSET hash longest {longest}"));
    for (walk, each, count) in [
        ("SSCAN set", 1, 7),
        ("HSCAN hash", 2, 7),
        ("ZSCAN sorted", 2, 6),
        ("SCAN", 1, 9),
    ] {
        let (mut cursor, mut found, mut steps) = ("0".to_owned(), BTreeSet::new(), 0);
        loop {
            let reply = shop.ask(&format!("{walk} {cursor} COUNT 100"));
            let after = reply.split("\r\n").nth(2);
            cursor = after.expect("it has a cursor").to_owned();
            let head = reply.find("\r\n*").expect("it has elements");
            for element in elements(&reply[head + 2..]).chunks(each) {
                assert!(found.insert(element[0].clone()), "{walk}: one came twice");
            }
            steps += 1;
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), count, "{walk}");
        assert!(steps >= 6, "{walk}: {steps} steps");
    }
}

#[test]
fn what_needs_randomness_is_no_query() {
    let mut shop = of_all_forms();
    for line in ["HRANDFIELD small", "SRANDMEMBER words", "SPOP words"] {
        let reply = shop.query(line);
        assert!(
            reply.contains("must be ordered, and was asked"),
            "{line}: {reply}"
        );
    }
    let reply = shop.query("HGETALL small");
    assert_eq!(reply, shop.ask("HGETALL small"));
}

#[test]
fn no_command_of_random_bytes_is_a_panic() {
    let mut shop = of_all_forms();
    let names = [
        "HSET",
        "HMSET",
        "HSETNX",
        "HGET",
        "HMGET",
        "HDEL",
        "HLEN",
        "HKEYS",
        "HVALS",
        "HGETALL",
        "HEXISTS",
        "HSTRLEN",
        "HINCRBY",
        "HINCRBYFLOAT",
        "HRANDFIELD",
        "HSCAN",
        "SADD",
        "SREM",
        "SMEMBERS",
        "SISMEMBER",
        "SMISMEMBER",
        "SCARD",
        "SPOP",
        "SRANDMEMBER",
        "SMOVE",
        "SINTER",
        "SINTERSTORE",
        "SINTERCARD",
        "SUNION",
        "SUNIONSTORE",
        "SDIFF",
        "SDIFFSTORE",
        "SSCAN",
    ];
    let words: [&[u8]; 14] = [
        b"small",
        b"large",
        b"integers",
        b"table",
        b"words",
        b"none",
        b"0",
        b"-1",
        b"3",
        b"",
        b"-9223372036854775808",
        b"9223372036854775807",
        b"\xff\0",
        b"COUNT",
    ];
    let mut state: usize = 1;
    let mut below = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % bound
    };
    for _ in 0..20_000 {
        let mut args: Vec<&[u8]> = vec![names[below(names.len())].as_bytes()];
        args.extend((0..below(6)).map(|_| words[below(words.len())]));
        let command = arguments::command(shop.version, shop.database, &args);
        assert!(!shop.apply(&command).is_empty());
    }
    let bytes = shop.capture();
    assert!(Shop::restore(&bytes).unwrap().capture() == bytes);
}

/// What WATCH tells of a key.
fn sight(shop: &Shop, key: &str) -> Vec<u8> {
    let command = arguments::command(shop.version, shop.database, &["WATCH", key]);
    let mut reply = Vec::new();
    shop.machine.answer(&command, &mut reply);
    assert_eq!(reply.len(), 9);
    reply
}

#[test]
fn who_watches_learns_of_changes_and_of_nothing_else() {
    let mut shop = of_all_forms();
    shop.ask("HSET other f 1");
    for (key, line, is_change) in [
        ("integers", "SADD integers 7", false),
        ("integers", "SADD integers 7 8", true),
        ("integers", "SREM integers 9", false),
        ("integers", "SREM integers 8", true),
        ("words", "SMOVE words words one", false),
        ("words", "SMOVE words table 3", true),
        ("table", "SMOVE integers table 7", false),
        ("table", "SPOP table 0", false),
        ("table", "SPOP table 2", true),
        ("small", "HDEL small none", false),
        ("small", "HDEL small f3", true),
        ("small", "HSETNX small f5 x", false),
        ("small", "HSETNX small new x", true),
        ("small", "HSET small new x", true),
        ("small", "HINCRBY small f5 0", true),
    ] {
        let before = sight(&shop, key);
        shop.ask(line);
        let is_same = before == sight(&shop, key);
        assert_eq!(!is_same, is_change, "{line}");
    }
}

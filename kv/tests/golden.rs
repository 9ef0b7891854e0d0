//! The formats held still: fixed commands must encode to the stored bytes, and a fixed state too, for ever.
//!
//! A format that is meant to change gets a new version and files of its own. To write the files of a new one, run
//! this once with `STANDIN_REGENERATE_GOLDEN=1` and look at the difference.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "files hold the formats still")]

mod support;

use std::path::Path;

use standin_kv::arguments::{self, Watch};
use standin_kv::keyspace::{DatabaseId, Sight};
use standin_resp::Version;
use support::Shop;

fn check(name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let path = folder.join(name);
    if std::env::var_os("STANDIN_REGENERATE_GOLDEN").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let stored = std::fs::read(&path).unwrap();
    assert!(stored == bytes, "{name} is written otherwise than before");
}

fn database(number: i64) -> DatabaseId {
    DatabaseId::new(number).unwrap()
}

fn a_transaction() -> Vec<u8> {
    let watch = |number, key: &str, is_present, index| Watch {
        database: database(number),
        key: key.as_bytes().to_vec(),
        sight: Sight { is_present, index },
    };
    let watches = [watch(0, "k", true, 258), watch(15, "none", false, 3)];
    let mut bytes = Vec::new();
    arguments::begin_transaction(&mut bytes, Version::Resp3, database(1), &watches);
    for words in [&["INCR", "k"] as &[&str], &["GET", "k"]] {
        arguments::begin_queued(&mut bytes, words.len());
        for word in words {
            arguments::put_argument(&mut bytes, word.as_bytes());
        }
    }
    bytes
}

#[test]
fn a_command_is_the_stored_bytes() {
    let long = "v".repeat(300);
    let bytes = arguments::command(Version::Resp2, database(2), &["SET", "k", long.as_str()]);
    check("command", &bytes);
}

#[test]
fn a_transaction_is_the_stored_bytes() {
    check("transaction", &a_transaction());
}

#[test]
fn a_state_of_strings_is_the_stored_bytes() {
    let mut shop = Shop::default();
    for line in [
        "SET text hello",
        "SET number -12",
        "SET float 1.5",
        "APPEND float 0",
        "SET long 0123456789012345678901234567890123456789",
        "PEXPIREAT text 1700000060000",
        "SET gone x",
        "DEL gone",
    ] {
        shop.ask(line);
    }
    shop.database = database(15);
    shop.ask("SET elsewhere 1 PXAT 1700000050000");
    let bytes = shop.capture();
    check("state-strings", &bytes);
    let again = Shop::restore(&bytes).unwrap();
    assert!(again.capture() == bytes);
}

#[test]
fn a_state_of_hashes_and_sets_is_the_stored_bytes() {
    let mut shop = Shop::default();
    for line in [
        "HSET small b 2 a 1 c 3",
        "HSET small a one",
        "HDEL small b",
        "SADD integers 3 -1 9223372036854775807",
        "SADD words one 2",
        "SADD left 1 x",
        "SREM left x",
    ] {
        shop.ask(line);
    }
    shop.ask(&format!("HSET large f {} g 1", "v".repeat(65)));
    let bytes = shop.capture();
    check("state-hashes-sets", &bytes);
    let again = Shop::restore(&bytes).unwrap();
    assert!(again.capture() == bytes);
}

#[test]
fn a_state_of_lists_and_sorted_sets_is_the_stored_bytes() {
    let mut shop = Shop::default();
    for line in [
        "RPUSH list a b",
        "LPUSH list 12",
        "ZADD small 1.5 b -inf a 0 zero",
        "ZADD large -0 0123456789012345678901234567890123456789012345678901234567890123456789",
        "ZADD large 1 x",
    ] {
        shop.ask(line);
    }
    let bytes = shop.capture();
    check("state-rows", &bytes);
    assert!(Shop::restore(&bytes).unwrap().capture() == bytes);
}

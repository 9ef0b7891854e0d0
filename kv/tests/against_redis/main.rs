//! The machine beside a real Redis 7: random commands to both, and every reply compared byte for byte.
//!
//! Each family of commands has a file with what it makes up, and is asked one request after the other, so that
//! what the next comparison may demand can be found out first. `pipelines` and `deadlines` mix all of it, on two
//! connections to each server. Where Redis's order is that of its hash tables, replies are compared without their
//! order, and where its clock shows, as near as the clocks are (`rule`); all else must be the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it starts a server and talks to it"
)]
#![allow(clippy::print_stderr, reason = "it says how much was compared")]

mod both;
mod chance;
mod connection;
#[path = "../conversation/support.rs"]
mod conversation;
mod deadlines;
mod generated;
mod hashes;
mod keys;
mod lines;
mod lists;
mod mixture;
mod pair;
mod pipelines;
#[path = "../../../resp/tests/redis/mod.rs"]
mod redis;
mod rule;
mod sets;
mod shown;
mod sorted;
mod strings;
#[path = "../support/mod.rs"]
mod support;
mod tally;
mod times;
mod transactions;

use std::sync::atomic::{AtomicU64, Ordering};

use both::{Both, Request, words};
use chance::Chance;
use redis::Redis;
use standin_resp::Version;

/// Sequences of each family, unless the environment's `KV_SEEDS` asks for more; and steps of each.
const SEEDS: u64 = 100;
const STEPS: usize = 400;

/// How many sequences.
fn seeds() -> u64 {
    match std::env::var("KV_SEEDS") {
        Ok(number) => number.parse().expect("KV_SEEDS is a number"),
        Err(_) => SEEDS,
    }
}

/// Requests that both were asked, by all tests of this process.
static COUNT: AtomicU64 = AtomicU64::new(0);

fn count(requests: usize) {
    COUNT.fetch_add(requests as u64, Ordering::Relaxed);
}

/// Says how much was compared so far: the last test to end tells of all.
fn tell_count(test: &str) {
    let count = COUNT.load(Ordering::Relaxed);
    eprintln!(
        "{test}: all is the same; {count} requests were compared so far, here and in other tests"
    );
}

/// Has a connection of Redis speak this version.
fn hello(version: Version) -> Request {
    words(match version {
        Version::Resp2 => "HELLO 2",
        Version::Resp3 => "HELLO 3",
    })
}

fn version_of(seed: u64) -> Version {
    match seed % 2 {
        0 => Version::Resp2,
        _ => Version::Resp3,
    }
}

/// Runs what a family makes up, in both versions of the protocol.
fn compare(family: &str, make: impl Fn(&mut Chance) -> Request) {
    let Some(redis) = Redis::start(family, &[]) else {
        return;
    };
    for seed in 1..=seeds() {
        let mut chance = Chance::new(seed);
        let title = format!("{family}, seed {seed}");
        let mut both = Both::new(&redis, version_of(seed), title);
        for _ in 0..STEPS {
            both.take(&make(&mut chance));
        }
    }
    tell_count(family);
}

#[test]
fn strings_answer_as_in_redis() {
    compare("strings", strings::mixed);
}

#[test]
fn keys_answer_as_in_redis() {
    compare("keys", keys::request);
}

#[test]
fn hashes_answer_as_in_redis() {
    compare("hashes", hashes::mixed);
}

#[test]
fn sets_answer_as_in_redis() {
    compare("sets", sets::mixed);
}

#[test]
fn lists_answer_as_in_redis() {
    compare("lists", lists::mixed);
}

#[test]
fn sorted_sets_answer_as_in_redis() {
    compare("sorted sets", sorted::mixed);
}

#[test]
fn what_chance_seldom_brings_is_answered_as_in_redis() {
    let Some(redis) = Redis::start("lines", &[]) else {
        return;
    };
    for version in [Version::Resp2, Version::Resp3] {
        lines::compare(&mut Both::new(&redis, version, "lines".to_owned()));
    }
}

#[test]
fn transactions_answer_as_in_redis() {
    transactions::compare_all();
}

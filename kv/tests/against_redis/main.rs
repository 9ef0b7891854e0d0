//! The machine beside a real Redis 7: random commands to both, and every reply compared byte for byte.
//!
//! Each family of commands has a file with what it makes up. Where Redis's order is that of its hash tables,
//! replies are compared without their order, and where its clock shows, within a second or two; all else must be
//! the same. Without `redis-server` on the path nothing is compared, and a line says so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it starts a server and talks to it"
)]
#![allow(clippy::print_stderr, reason = "it says why nothing was compared")]

mod both;
mod chance;
mod hashes;
mod keys;
mod lines;
mod lists;
mod redis;
mod sets;
mod sorted;
mod strings;
#[path = "../support/mod.rs"]
mod support;
mod transactions;
mod unordered;

use both::{Both, Step};
use chance::Chance;
use standin_resp::Version;

/// Sequences of each family, unless the environment's `KV_SEEDS` asks for more; and steps of each.
const SEEDS: u64 = 24;
const STEPS: usize = 400;

/// How many sequences.
fn seeds() -> u64 {
    match std::env::var("KV_SEEDS") {
        Ok(number) => number.parse().expect("KV_SEEDS is a number"),
        Err(_) => SEEDS,
    }
}

/// Runs what a family makes up, in both versions of the protocol.
fn compare(family: &str, make: impl Fn(&mut Chance) -> Step) {
    compare_by(family, |chance, both| both.take(&make(chance)));
}

/// Runs what a family makes up and compares by itself, in both versions of the protocol.
fn compare_by(family: &str, take: impl Fn(&mut Chance, &mut Both)) {
    let Some(redis) = redis::Server::start() else {
        eprintln!("{family}: not compared, since there is no redis-server on the path");
        return;
    };
    for seed in 1..=seeds() {
        let version = match seed % 2 {
            0 => Version::Resp2,
            _ => Version::Resp3,
        };
        let mut chance = Chance::new(seed);
        let mut both = Both::new(&redis, version, format!("{family}, seed {seed}"));
        for _ in 0..STEPS {
            take(&mut chance, &mut both);
        }
    }
}

#[test]
fn strings_answer_as_in_redis() {
    compare("strings", strings::step);
}

#[test]
fn keys_answer_as_in_redis() {
    compare("keys", keys::step);
}

#[test]
fn hashes_answer_as_in_redis() {
    compare_by("hashes", hashes::step);
}

#[test]
fn sets_answer_as_in_redis() {
    compare_by("sets", sets::step);
}

#[test]
fn what_chance_seldom_brings_is_answered_as_in_redis() {
    let Some(redis) = redis::Server::start() else {
        eprintln!("lines: not compared, since there is no redis-server on the path");
        return;
    };
    for version in [Version::Resp2, Version::Resp3] {
        lines::compare(&mut Both::new(&redis, version, "lines".to_owned()));
    }
}

#[test]
fn lists_answer_as_in_redis() {
    compare("lists", lists::step);
}

#[test]
fn sorted_sets_answer_as_in_redis() {
    compare("sorted sets", sorted::step);
}

#[test]
fn transactions_answer_as_in_redis() {
    transactions::compare_all();
}

//! Transactions of one client while others change the same keys.

use standin_core::machine::StateMachine as _;
use standin_kv::arguments::{self, Watch};
use standin_resp::Version;

use crate::both::{Both, Request, words};
use crate::chance::Chance;
use crate::redis::{Redis, Talk};
use crate::rule::Rule;
use crate::{hashes, hello, keys, seeds, sets, strings};

/// Transactions in each sequence.
const TRANSACTIONS: usize = 60;

pub(crate) fn compare_all() {
    let Some(redis) = Redis::start("transactions", &[]) else {
        return;
    };
    let mut aborted = 0;
    for seed in 1..=seeds() {
        let version = match seed % 2 {
            0 => Version::Resp2,
            _ => Version::Resp3,
        };
        let mut chance = Chance::new(1000 + seed);
        let title = format!("transactions, seed {seed}");
        let mut both = Both::new(&redis, version, title);
        let mut other = redis.talk();
        other.ask(&hello(version));
        for _ in 0..TRANSACTIONS {
            aborted += usize::from(transaction(&mut chance, &mut both, &mut other));
        }
    }
    let all = TRANSACTIONS * usize::try_from(seeds()).unwrap();
    assert!(
        (all / 10..all * 9 / 10).contains(&aborted),
        "{aborted} of {all} came to nothing"
    );
}

/// What others may do between WATCH and EXEC. All in the first database.
fn change(chance: &mut Chance) -> Request {
    loop {
        let made = match chance.below(6) {
            0 | 1 => strings::request(chance),
            2 => hashes::request(chance),
            3 => sets::request(chance),
            _ => keys::request(chance),
        };
        let is_other = ["select", "dbsize"]
            .iter()
            .any(|it| made[0].eq_ignore_ascii_case(it.as_bytes()));
        if Rule::of(&made) == Rule::Exact && !is_other {
            return made;
        }
    }
}

/// One transaction; whether it came to nothing.
fn transaction(chance: &mut Chance, both: &mut Both, other: &mut Talk) -> bool {
    let watched: Vec<Vec<u8>> = (0..chance.below(5)).map(|_| chance.key()).collect();
    let mut watches = Vec::new();
    if !watched.is_empty() {
        let request = [vec![b"WATCH".to_vec()], watched.clone()].concat();
        both.note(request.clone());
        other.ask(&request);
        let shop = &both.shop;
        let query = arguments::command(shop.version, shop.database, &request);
        let mut reply = Vec::new();
        shop.machine.query(&query, &mut reply);
        let sights = arguments::read_sights(&reply).unwrap();
        for (key, sight) in watched.into_iter().zip(sights) {
            let database = shop.database;
            watches.push(Watch {
                database,
                key,
                sight,
            });
        }
    }
    for _ in 0..chance.below(6) {
        both.take(&change(chance));
    }
    other.ask(&words("MULTI"));
    both.note(words("MULTI"));
    let mut queued = Vec::new();
    for _ in 0..chance.below(4) {
        let request = change(chance);
        // What Redis does not even queue is not the machine's to see.
        if other.ask(&request) == b"+QUEUED\r\n" {
            both.note(request.clone());
            queued.push(request);
        } else {
            other.ask(&words("DISCARD"));
            return false;
        }
    }
    let theirs = other.ask(&words("EXEC"));
    let shop = &mut both.shop;
    let mut command = Vec::new();
    arguments::begin_transaction(&mut command, shop.version, shop.database, &watches);
    for request in &queued {
        arguments::begin_queued(&mut command, request.len());
        for word in request {
            arguments::put_argument(&mut command, word);
        }
    }
    let ours = shop.apply(&command);
    both.check(&words("EXEC"), &ours, &theirs, ours == theirs);
    ours == b"*-1\r\n" || ours == b"_\r\n"
}

//! Deadlines that really pass. Redis's clock tells the machine what time it is; what is said in one go is said
//! before any deadline, or is not compared; then Redis's clock is waited for until it is past all of them.

use crate::both::{Request, words};
use crate::chance::Chance;
use crate::mixture;
use crate::pair::Pair;
use crate::redis::Redis;
use crate::rule::Rule;
use crate::times::Soon;
use crate::{hello, seeds, tell_count, version_of};

/// How long it is to the deadlines of a round, in milliseconds, if requests are done with long before.
const AFTER_MS: u64 = 60;
/// The same where some are told in seconds.
const AFTER_SECONDS_MS: u64 = 2_000;
/// One round in so many has deadlines in seconds.
const SECONDS_EVERY: usize = 12;
/// Databases that a round works in, and requests in each.
const DATABASES: usize = 16;
const REQUESTS: usize = 16;
/// Most rounds that may come to nothing, for each that counts, since Redis took too long.
const VOID_MAX: u64 = 20;

/// Whether a command may be said here: FLUSHALL would leave nothing to pass, what DBSIZE counts of keys that are
/// gone is whatever was come upon, and what is picked at random may be what makes the difference.
fn is_meant(request: &Request) -> bool {
    let name = request[0].to_ascii_lowercase();
    let is_other = [&b"flushall"[..], b"flushdb", b"dbsize", b"select"].contains(&name.as_slice());
    !is_other && Rule::of(request) != Rule::Picked
}

/// A command that sets or asks a deadline, or any other.
fn request(chance: &mut Chance) -> Request {
    loop {
        chance.favour(mixture::KEYS, 0..mixture::KEYS);
        let mut made = match chance.below(5) {
            0 | 1 => mixture::request(chance),
            2 => crate::strings::request(chance),
            _ => crate::keys::request(chance),
        };
        if matches!(Rule::of(&made), Rule::Walk(..)) {
            made.extend([b"COUNT".to_vec(), b"10000".to_vec()]);
        }
        if is_meant(&made) {
            return made;
        }
    }
}

fn round(chance: &mut Chance) -> Vec<Request> {
    let mut said = Vec::new();
    for _ in 0..DATABASES {
        said.push(words(&format!("SELECT {}", chance.below(16))));
        said.extend((0..REQUESTS).map(|_| request(chance)));
    }
    said
}

#[test]
fn what_is_left_when_deadlines_pass_is_as_in_redis() {
    let options = ["--enable-debug-command", "yes"];
    let Some(redis) = Redis::start("deadlines", &options) else {
        return;
    };
    let keys: Vec<String> = mixture::all_keys().collect();
    let (mut void, mut aborted) = (0, 0);
    for seed in 1..=seeds() {
        let mut chance = Chance::new(9_000 + seed);
        // Either may remove what nobody asks for, or not.
        let is_redis_active = u8::from(seed % 2 == 0);
        let active = format!("DEBUG SET-ACTIVE-EXPIRE {is_redis_active}");
        redis.talk().ask(&words(&active));
        let is_timer_late = seed % 3 == 0;
        let mut after_ms = match chance.once_in(SECONDS_EVERY) {
            true => AFTER_SECONDS_MS,
            false => AFTER_MS,
        };
        loop {
            let mut pair = Pair::new(&redis, format!("deadlines, seed {seed}"));
            pair.say(0, &[hello(version_of(seed))]);
            let now_ms = pair.redis_ms();
            chance.soon = Some(Soon { now_ms, after_ms });
            let before = round(&mut chance);
            let exchange = pair.exchange(0, &before);
            let watch = watch(&mut chance);
            let watched = pair.exchange(1, &watch);
            if watched.until_ms >= now_ms + after_ms / 2 {
                // No telling which came first. A machine that is slow is given more time.
                (void, after_ms) = (void + 1, 2 * after_ms);
                assert!(void <= VOID_MAX * seeds(), "Redis takes too long");
                continue;
            }
            pair.compare(0, &before, &exchange);
            pair.compare(1, &watch, &watched);
            pair.wait_past(watched.until_ms + after_ms);
            match is_timer_late {
                // Time passes by entries alone.
                true => drop(pair.say(0, &[words("TTL nosuch")])),
                false => pair.server.fire_timers(),
            }
            chance.soon = None;
            pair.say(1, &[words("MULTI"), words("PING"), words("EXEC")]);
            aborted += pair.tally.aborted;
            let after = round(&mut chance);
            pair.say(0, &after);
            pair.server.fire_timers();
            pair.compare_states(&keys);
            break;
        }
    }
    assert!(aborted > 0, "no watched key was gone");
    tell_count(&format!("deadlines ({void} rounds taken again)"));
}

fn watch(chance: &mut Chance) -> Vec<Request> {
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(words(&format!("SELECT {}", chance.below(16))));
        let mut watch = words("WATCH");
        watch.push(chance.key());
        said.push(watch);
    }
    said
}

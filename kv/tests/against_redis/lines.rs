//! What random commands come upon too seldom, step by step.

use crate::both::{Both, words};

/// Each line is asked of both, and answered alike.
const LINES: &[&str] = &[
    // An emptied collection takes its key with it.
    "SADD s a b",
    "SREM s a b c",
    "EXISTS s",
    "SADD s 1",
    "SMOVE s t 1",
    "EXISTS s",
    "SPOP t",
    "EXISTS t",
    "HSET h f 1",
    "HDEL h f",
    "EXISTS h",
    // What is stored has no deadline, and what is empty is not stored.
    "SADD one 1 2 3 x",
    "SADD two 2 3",
    "SET d v EX 1000",
    "SINTERSTORE d one two",
    "TTL d",
    "EXPIRE d 1000",
    "SUNIONSTORE d one two",
    "TTL d",
    "EXPIRE d 1000",
    "SDIFFSTORE d one two",
    "TTL d",
    "SINTERSTORE d one none",
    "EXISTS d",
    // The encoding of a difference tells which way it was reckoned.
    "SADD few x",
    "SDIFFSTORE d one few",
    "OBJECT ENCODING d",
    "SDIFFSTORE d one few few",
    "OBJECT ENCODING d",
    "SDIFFSTORE d one few few few",
    "OBJECT ENCODING d",
    "SDIFFSTORE d two few few few few",
    "OBJECT ENCODING d",
    "SREM one x",
    "OBJECT ENCODING one",
    "SUNIONSTORE d one two",
    "OBJECT ENCODING d",
    "SDIFF one few few few",
];

/// Asks all lines, then for as many fields as a small hash has, and one more.
pub(crate) fn compare(both: &mut Both) {
    for line in LINES {
        both.take(&words(line));
    }
    for number in 0..514 {
        both.take(&words(&format!("HSET limit f{number} v")));
        both.take(&words(&format!("SADD integers {number}")));
        if number > 508 {
            both.take(&words("OBJECT ENCODING limit"));
            both.take(&words("OBJECT ENCODING integers"));
        }
    }
}

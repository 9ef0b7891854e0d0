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
    // What is set anew has no deadline, whatever else it is told.
    "SET e 1 EX 1000",
    "SET e 2 XX",
    "TTL e",
    "SET e 3 GET EX 1000",
    "SET e 4 GET",
    "TTL e",
    "SET e 5 KEEPTTL EX 1000",
    "SET e 5 PXAT 2000000000000",
    "SET e 6 NX",
    "PEXPIRETIME e",
    "SET e 6 KEEPTTL",
    "PEXPIRETIME e",
    "SET e 7 NX GET",
    "PEXPIRETIME e",
    "GETEX e",
    "PEXPIRETIME e",
    "GETEX e PERSIST",
    "TTL e",
    // A deadline that has passed takes the key at once.
    "SET f 1",
    "GETEX f PXAT 1",
    "DBSIZE",
    "GET f",
    "SET f 1",
    "EXPIREAT f 1",
    "DBSIZE",
    "EXPIRETIME e",
    // When a deadline may be set at all.
    "SET g 1",
    "EXPIREAT g 2000000000 XX",
    "EXPIREAT g 2000000000 GT",
    "EXPIREAT g 2000000000 NX",
    "EXPIREAT g 2000000000 NX",
    "EXPIREAT g 2000000000 GT",
    "EXPIREAT g 2000000000 LT",
    "EXPIREAT g 2000000001 GT XX",
    "EXPIREAT g 2000000000 LT XX",
    "PEXPIREAT g 2000000000001 LT",
    "PEXPIREAT g 1999999999999 GT",
    "PEXPIREAT g 1999999999999 LT",
    "PEXPIRETIME g",
    "PERSIST g",
    "PEXPIREAT g 2000000000000 LT",
    "PEXPIRETIME g",
    "PEXPIREAT g 1 GT",
    "PEXPIREAT g 1 LT",
    "EXISTS g",
    "DBSIZE",
    // Plain sets among sorted ones.
    "SADD numbers 1 2 3",
    "ZADD sorted 2.5 2 -1 x",
    "ZUNION 2 numbers sorted WITHSCORES",
    "ZUNION 2 sorted numbers WEIGHTS 2 -3 WITHSCORES",
    "ZUNION 2 numbers sorted AGGREGATE MAX WITHSCORES",
    "ZINTER 2 numbers sorted AGGREGATE MIN WITHSCORES",
    "ZINTER 2 numbers one WITHSCORES",
    "ZINTERSTORE stored 2 numbers numbers WEIGHTS 0.5 inf",
    "ZRANGE stored 0 -1 WITHSCORES",
    "ZUNIONSTORE numbers 2 numbers sorted WEIGHTS 10 1",
    "ZRANGE numbers 0 -1 WITHSCORES",
    "ZDIFF 2 one sorted WITHSCORES",
    "ZDIFFSTORE stored 2 sorted one",
    "OBJECT ENCODING stored",
    "ZINTERCARD 2 one sorted LIMIT 1",
];

/// The same of a sorted set of more members than a small one has: one score of zero is negative.
const LARGE_LINES: &[&str] = &[
    "OBJECT ENCODING large",
    "ZADD large -0 negative",
    "ZSCORE large negative",
    "ZRANGESTORE to large 0 -1",
    "ZSCORE to negative",
    "ZRANGESTORE to large 0 3",
    "ZSCORE to negative",
    "ZRANGESTORE to large -inf +inf BYSCORE",
    "ZSCORE to negative",
    "ZRANGESTORE to large -inf 0 BYSCORE",
    "ZSCORE to negative",
    "ZRANGESTORE to large 0 -1 REV",
    "ZSCORE to negative",
    "ZUNIONSTORE to 1 large",
    "ZSCORE to negative",
    "ZUNIONSTORE to 2 large one WEIGHTS -1 1",
    "ZSCORE to negative",
    "ZDIFFSTORE to 2 large one",
    "ZSCORE to negative",
    "ZINTERSTORE to 2 large large AGGREGATE MIN",
    "ZSCORE to negative",
    "ZADD to -0 negative",
    "ZSCORE to negative",
    "ZINCRBY to 0 negative",
    "ZADD large 1e17 far",
    "ZSCORE large far",
    "ZADD small 1e17 far 0.1 near",
    "ZSCAN small 0",
    "ZRANGE small 0 -1 WITHSCORES",
];

/// Asks all lines, then for as many fields as a small hash has, and one more.
pub(crate) fn compare(both: &mut Both) {
    for line in LINES {
        both.take(&words(line));
    }
    for number in 0..200 {
        both.take(&words(&format!("ZADD large 0 m{number}")));
    }
    for line in LARGE_LINES {
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

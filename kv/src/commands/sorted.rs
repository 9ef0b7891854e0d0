//! Commands of sorted sets.

use crate::table::{Handler, Spec, entry, read, write};

const MISSING: Handler = Handler::Missing;

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    write("zadd", -4, "write denyoom fast", [1, 1, 1], "write sortedset fast", MISSING),
    write("zincrby", 4, "write denyoom fast", [1, 1, 1], "write sortedset fast", MISSING),
    write("zrem", -3, "write fast", [1, 1, 1], "write sortedset fast", MISSING),
    read("zcard", 2, "readonly fast", [1, 1, 1], "read sortedset fast", MISSING),
    read("zscore", 3, "readonly fast", [1, 1, 1], "read sortedset fast", MISSING),
    read("zmscore", -3, "readonly fast", [1, 1, 1], "read sortedset fast", MISSING),
    read("zcount", 4, "readonly fast", [1, 1, 1], "read sortedset fast", MISSING),
    read("zlexcount", 4, "readonly fast", [1, 1, 1], "read sortedset fast", MISSING),
    read("zrank", 3, "readonly fast", [1, 1, 1], "read sortedset fast", MISSING),
    read("zrevrank", 3, "readonly fast", [1, 1, 1], "read sortedset fast", MISSING),
    read("zrange", -4, "readonly", [1, 1, 1], "read sortedset slow", MISSING),
    read("zrevrange", -4, "readonly", [1, 1, 1], "read sortedset slow", MISSING),
    read("zrangebyscore", -4, "readonly", [1, 1, 1], "read sortedset slow", MISSING),
    read("zrevrangebyscore", -4, "readonly", [1, 1, 1], "read sortedset slow", MISSING),
    read("zrangebylex", -4, "readonly", [1, 1, 1], "read sortedset slow", MISSING),
    read("zrevrangebylex", -4, "readonly", [1, 1, 1], "read sortedset slow", MISSING),
    write("zrangestore", -5, "write denyoom", [1, 2, 1], "write sortedset slow", MISSING),
    write("zremrangebyrank", 4, "write", [1, 1, 1], "write sortedset slow", MISSING),
    write("zremrangebyscore", 4, "write", [1, 1, 1], "write sortedset slow", MISSING),
    write("zremrangebylex", 4, "write", [1, 1, 1], "write sortedset slow", MISSING),
    write("zpopmin", -2, "write fast", [1, 1, 1], "write sortedset fast", MISSING),
    write("zpopmax", -2, "write fast", [1, 1, 1], "write sortedset fast", MISSING),
    write("zmpop", -4, "write movablekeys", [0, 0, 0], "write sortedset slow", MISSING),
    entry("zrandmember", -2, "readonly", [1, 1, 1], "read sortedset slow", MISSING),
    read("zscan", -3, "readonly", [1, 1, 1], "read sortedset slow", MISSING),
    read("zunion", -3, "readonly movablekeys", [0, 0, 0], "read sortedset slow", MISSING),
    read("zinter", -3, "readonly movablekeys", [0, 0, 0], "read sortedset slow", MISSING),
    read("zdiff", -3, "readonly movablekeys", [0, 0, 0], "read sortedset slow", MISSING),
    read("zintercard", -3, "readonly movablekeys", [0, 0, 0], "read sortedset slow", MISSING),
    write("zunionstore", -4, "write denyoom movablekeys", [1, 1, 1], "write sortedset slow", MISSING),
    write("zinterstore", -4, "write denyoom movablekeys", [1, 1, 1], "write sortedset slow", MISSING),
    write("zdiffstore", -4, "write denyoom movablekeys", [1, 1, 1], "write sortedset slow", MISSING),
];

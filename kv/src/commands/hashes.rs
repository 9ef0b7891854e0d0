//! Commands of hashes.

use crate::table::{Handler, Spec, entry, read, write};

const MISSING: Handler = Handler::Missing;

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    write("hset", -4, "write denyoom fast", [1, 1, 1], "write hash fast", MISSING),
    read("hget", 3, "readonly fast", [1, 1, 1], "read hash fast", MISSING),
    write("hmset", -4, "write denyoom fast", [1, 1, 1], "write hash fast", MISSING),
    read("hmget", -3, "readonly fast", [1, 1, 1], "read hash fast", MISSING),
    write("hsetnx", 4, "write denyoom fast", [1, 1, 1], "write hash fast", MISSING),
    write("hdel", -3, "write fast", [1, 1, 1], "write hash fast", MISSING),
    read("hlen", 2, "readonly fast", [1, 1, 1], "read hash fast", MISSING),
    read("hstrlen", 3, "readonly fast", [1, 1, 1], "read hash fast", MISSING),
    read("hkeys", 2, "readonly", [1, 1, 1], "read hash slow", MISSING),
    read("hvals", 2, "readonly", [1, 1, 1], "read hash slow", MISSING),
    read("hgetall", 2, "readonly", [1, 1, 1], "read hash slow", MISSING),
    read("hexists", 3, "readonly fast", [1, 1, 1], "read hash fast", MISSING),
    write("hincrby", 4, "write denyoom fast", [1, 1, 1], "write hash fast", MISSING),
    write("hincrbyfloat", 4, "write denyoom fast", [1, 1, 1], "write hash fast", MISSING),
    entry("hrandfield", -2, "readonly", [1, 1, 1], "read hash slow", MISSING),
    read("hscan", -3, "readonly", [1, 1, 1], "read hash slow", MISSING),
];

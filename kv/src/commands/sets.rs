//! Commands of sets.

use crate::table::{Handler, Spec, entry, read, write};

const MISSING: Handler = Handler::Missing;

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    write("sadd", -3, "write denyoom fast", [1, 1, 1], "write set fast", MISSING),
    write("srem", -3, "write fast", [1, 1, 1], "write set fast", MISSING),
    read("smembers", 2, "readonly", [1, 1, 1], "read set slow", MISSING),
    read("sismember", 3, "readonly fast", [1, 1, 1], "read set fast", MISSING),
    read("smismember", -3, "readonly fast", [1, 1, 1], "read set fast", MISSING),
    read("scard", 2, "readonly fast", [1, 1, 1], "read set fast", MISSING),
    write("smove", 4, "write fast", [1, 2, 1], "write set fast", MISSING),
    write("spop", -2, "write fast", [1, 1, 1], "write set fast", MISSING),
    entry("srandmember", -2, "readonly", [1, 1, 1], "read set slow", MISSING),
    read("sinter", -2, "readonly", [1, -1, 1], "read set slow", MISSING),
    write("sinterstore", -3, "write denyoom", [1, -1, 1], "write set slow", MISSING),
    read("sintercard", -3, "readonly movablekeys", [0, 0, 0], "read set slow", MISSING),
    read("sunion", -2, "readonly", [1, -1, 1], "read set slow", MISSING),
    write("sunionstore", -3, "write denyoom", [1, -1, 1], "write set slow", MISSING),
    read("sdiff", -2, "readonly", [1, -1, 1], "read set slow", MISSING),
    write("sdiffstore", -3, "write denyoom", [1, -1, 1], "write set slow", MISSING),
    read("sscan", -3, "readonly", [1, 1, 1], "read set slow", MISSING),
];

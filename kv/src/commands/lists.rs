//! Commands of lists.

use crate::table::{Handler, Spec, read, write};

const MISSING: Handler = Handler::Missing;

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    write("lpush", -3, "write denyoom fast", [1, 1, 1], "write list fast", MISSING),
    write("rpush", -3, "write denyoom fast", [1, 1, 1], "write list fast", MISSING),
    write("lpushx", -3, "write denyoom fast", [1, 1, 1], "write list fast", MISSING),
    write("rpushx", -3, "write denyoom fast", [1, 1, 1], "write list fast", MISSING),
    write("lpop", -2, "write fast", [1, 1, 1], "write list fast", MISSING),
    write("rpop", -2, "write fast", [1, 1, 1], "write list fast", MISSING),
    read("llen", 2, "readonly fast", [1, 1, 1], "read list fast", MISSING),
    read("lrange", 4, "readonly", [1, 1, 1], "read list slow", MISSING),
    read("lindex", 3, "readonly", [1, 1, 1], "read list slow", MISSING),
    write("lset", 4, "write denyoom", [1, 1, 1], "write list slow", MISSING),
    write("linsert", 5, "write denyoom", [1, 1, 1], "write list slow", MISSING),
    write("lrem", 4, "write", [1, 1, 1], "write list slow", MISSING),
    write("ltrim", 4, "write", [1, 1, 1], "write list slow", MISSING),
    read("lpos", -3, "readonly", [1, 1, 1], "read list slow", MISSING),
    write("lmove", 5, "write denyoom", [1, 2, 1], "write list slow", MISSING),
    write("rpoplpush", 3, "write denyoom", [1, 2, 1], "write list slow", MISSING),
    write("lmpop", -4, "write movablekeys", [0, 0, 0], "write list slow", MISSING),
];

//! What is made up of connections and the server.

use crate::both::{Request, words};
use crate::chance::Chance;

/// What is said between transactions; each is answered by the same bytes, or by a map.
const LINES: &[&str] = &[
    "HELLO",
    "HELLO 2",
    "HELLO 3",
    "HELLO 2",
    "HELLO 3",
    "HELLO 4",
    "HELLO x",
    "HELLO 3 SETNAME ab",
    "HELLO 2 AUTH default x",
    "HELLO 3 AUTH nobody x",
    "HELLO 3 FOO",
    "AUTH x",
    "AUTH nobody x",
    "AUTH",
    "CLIENT",
    "CLIENT FOO",
    "CLIENT ID",
    "CLIENT GETNAME",
    "CLIENT SETNAME cd",
    "CLIENT SETNAME a b",
    "CLIENT SETNAME",
    "CLIENT GETREDIR",
    "CLIENT NO-EVICT on",
    "CLIENT NO-EVICT x",
    "CLIENT REPLY ON",
    "CLIENT REPLY x",
    "CLIENT UNBLOCK 4444",
    "CLIENT UNBLOCK x",
    "CLIENT KILL ID x",
    "CLIENT KILL ID 999999",
    "CLIENT KILL TYPE foo",
    "CLIENT LIST ID 999999",
    "CLIENT LIST FOO",
    "CLIENT TRACKINGINFO",
    "CONFIG",
    "CONFIG FOO",
    "CONFIG GET",
    "CONFIG GET save",
    "CONFIG GET databases maxmemory",
    "CONFIG GET nosuch",
    "CONFIG SET a",
    "CONFIG SET databases 17",
    "CONFIG RESETSTAT",
    "INFO foo",
    "INFO cluster",
    "ROLE",
    "ROLE x",
    "WAIT 0 0",
    "WAIT a 1",
    "WAIT 1 -1",
    "WAIT 1",
    "CLUSTER",
    "CLUSTER FOO",
    "CLUSTER INFO",
    "READONLY",
    "READWRITE",
    "ASKING",
    "READONLY x",
    "READWRITE x",
    "ASKING x",
    "COMMAND FOO",
    "COMMAND COUNT x",
    "COMMAND GETKEYS get a",
    "COMMAND GETKEYS mset a 1 b 2",
    "COMMAND GETKEYS foo a",
    "COMMAND LIST FOO",
    "COMMAND INFO nosuch",
    "COMMAND DOCS nosuch",
];

/// What is said seldom, since much goes with it.
pub(crate) const RESET: &str = "RESET";

/// A command that a transaction may not hold here.
pub(crate) fn request(chance: &mut Chance) -> Request {
    let line = match chance.once_in(12) {
        true => RESET,
        false => chance.of(LINES),
    };
    words(line)
}

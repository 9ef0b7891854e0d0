//! Commands about the connection, the server and transactions. Most of them never reach the machine; those with
//! a handler here may also stand in a transaction.

use crate::call::{Outcome, Read, Refusal};
use crate::keyspace::DatabaseId;
use crate::table::{Handler, Spec, connection, entry};

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    connection("ping", -1, "fast", [0, 0, 0], "fast connection", Handler::Read(ping)),
    connection("echo", 2, "loading stale fast", [0, 0, 0], "fast connection", Handler::Read(echo)),
    connection("hello", -1, "noscript loading stale fast no_auth allow_busy", [0, 0, 0], "fast connection", Handler::Connection),
    connection("auth", -2, "noscript loading stale fast no_auth allow_busy", [0, 0, 0], "fast connection", Handler::Connection),
    connection("select", 2, "loading stale fast", [0, 0, 0], "fast connection", Handler::Read(select)),
    connection("quit", -1, "noscript loading stale fast no_auth allow_busy", [0, 0, 0], "fast connection", Handler::Connection),
    connection("reset", 1, "noscript loading stale fast no_auth allow_busy", [0, 0, 0], "fast connection", Handler::Connection),
    connection("command", -1, "loading stale", [0, 0, 0], "slow connection", Handler::Connection),
    connection("config", -2, "", [0, 0, 0], "slow", Handler::Connection),
    connection("client", -2, "", [0, 0, 0], "slow", Handler::Connection),
    connection("info", -1, "loading stale", [0, 0, 0], "slow dangerous", Handler::Connection),
    entry("time", 1, "loading stale fast", [0, 0, 0], "fast", Handler::Read(time)),
    connection("role", 1, "noscript loading stale fast", [0, 0, 0], "admin fast dangerous", Handler::Connection),
    connection("wait", 3, "noscript", [0, 0, 0], "slow connection", Handler::Connection),
    connection("cluster", -2, "", [0, 0, 0], "slow", Handler::Connection),
    connection("multi", 1, "noscript loading stale fast allow_busy", [0, 0, 0], "fast transaction", Handler::Connection),
    connection("exec", 1, "noscript loading stale skip_slowlog", [0, 0, 0], "slow transaction", Handler::Connection),
    connection("discard", 1, "noscript loading stale fast allow_busy", [0, 0, 0], "fast transaction", Handler::Connection),
    connection("watch", -2, "noscript loading stale fast allow_busy", [1, -1, 1], "fast transaction", Handler::Look(watch)),
    connection("unwatch", 1, "noscript loading stale fast allow_busy", [0, 0, 0], "fast transaction", Handler::Read(unwatch)),
    connection("readonly", 1, "loading stale fast", [0, 0, 0], "fast connection", Handler::Connection),
    connection("readwrite", 1, "loading stale fast", [0, 0, 0], "fast connection", Handler::Connection),
    connection("asking", 1, "fast", [0, 0, 0], "fast connection", Handler::Connection),
];

fn ping(call: &mut Read<'_>) -> Outcome {
    match (call.args.len(), call.args.get(1)) {
        (1, _) => call.reply.simple("PONG"),
        (2, Some(words)) => call.reply.bulk(words),
        _ => return Err(Refusal::arity("ping")),
    }
    Ok(())
}

fn echo(call: &mut Read<'_>) -> Outcome {
    call.reply.bulk(call.args.at(1));
    Ok(())
}

fn select(call: &mut Read<'_>) -> Outcome {
    call.database = database(call.integer(1)?)?;
    call.reply.ok();
    Ok(())
}

/// The database of a number that a client has given.
pub(crate) fn database(number: i64) -> Outcome<DatabaseId> {
    if i32::try_from(number).is_err() {
        return Err(Refusal::of(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    DatabaseId::new(number).ok_or(Refusal::of("ERR DB index is out of range"))
}

/// In a transaction there is nothing left to forget: what was watched has been looked at.
fn unwatch(call: &mut Read<'_>) -> Outcome {
    call.reply.ok();
    Ok(())
}

fn time(call: &mut Read<'_>) -> Outcome {
    let micros = call.keys.time_ns() / 1000;
    call.reply.array(2);
    call.reply.bulk((micros / 1_000_000).to_string());
    call.reply.bulk((micros % 1_000_000).to_string());
    Ok(())
}

/// Not what a client is answered: what its connection has to remember of the keys, nine bytes for each
/// ([`crate::arguments::read_sights`]).
fn watch(call: &mut Read<'_>) -> Outcome {
    for place in 1..call.args.len() {
        let sight = call.keys.look(call.database, call.args.key(place));
        call.reply.raw(&[u8::from(sight.is_present)]);
        call.reply.raw(&sight.index.to_le_bytes());
    }
    Ok(())
}

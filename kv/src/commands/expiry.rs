//! Commands about deadlines.

use crate::call::{Outcome, Read, Refusal, Write, until_zero};
use crate::keyspace::NEVER;
use crate::table::{Handler, Spec, entry, read, write};

/// The rows of the table.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Spec] = &[
    write("expire", -3, "write fast", [1, 1, 1], "keyspace write fast", Handler::Write(expire)),
    write("pexpire", -3, "write fast", [1, 1, 1], "keyspace write fast", Handler::Write(pexpire)),
    write("expireat", -3, "write fast", [1, 1, 1], "keyspace write fast", Handler::Write(expireat)),
    write("pexpireat", -3, "write fast", [1, 1, 1], "keyspace write fast", Handler::Write(pexpireat)),
    entry("ttl", 2, "readonly fast", [1, 1, 1], "keyspace read fast", Handler::Read(ttl)),
    entry("pttl", 2, "readonly fast", [1, 1, 1], "keyspace read fast", Handler::Read(pttl)),
    read("expiretime", 2, "readonly fast", [1, 1, 1], "keyspace read fast", Handler::Read(expiretime)),
    read("pexpiretime", 2, "readonly fast", [1, 1, 1], "keyspace read fast", Handler::Read(pexpiretime)),
    write("persist", 2, "write fast", [1, 1, 1], "keyspace write fast", Handler::Write(persist)),
];

/// What a number that stands for a time is counted in, and from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) is_seconds: bool,
    /// Counted from now rather than from 1970.
    pub(crate) is_relative: bool,
}

pub(crate) const SECONDS: Clock = Clock {
    is_seconds: true,
    is_relative: true,
};
pub(crate) const MILLIS: Clock = Clock {
    is_seconds: false,
    is_relative: true,
};
pub(crate) const SECONDS_AT: Clock = Clock {
    is_seconds: true,
    is_relative: false,
};
pub(crate) const MILLIS_AT: Clock = Clock {
    is_seconds: false,
    is_relative: false,
};

impl Clock {
    /// The moment in milliseconds since 1970; `None` if it is out of range.
    pub(crate) fn millis(self, number: i64, now: u64) -> Option<i64> {
        let millis = match self.is_seconds {
            true => number.checked_mul(1000)?,
            false => number,
        };
        match self.is_relative {
            true => millis.checked_add(i64::try_from(now).ok()?),
            false => Some(millis),
        }
    }
}

/// The error for a time that cannot be.
pub(crate) fn invalid_time(name: &str) -> Refusal {
    Refusal::quoting(format!("ERR invalid expire time in '{name}' command").into())
}

/// When the deadline may be set at all, by what it was before.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(call: &Write<'_>) -> Outcome<Self> {
        let mut conditions = Self::default();
        for place in 3..call.args.len() {
            let conditions = &mut conditions;
            let known = [
                ("nx", &mut conditions.nx),
                ("xx", &mut conditions.xx),
                ("gt", &mut conditions.gt),
                ("lt", &mut conditions.lt),
            ];
            let mut found = known
                .into_iter()
                .filter(|(word, _)| call.is_word(place, word));
            let Some((_, is_set)) = found.next() else {
                let mut text = b"ERR Unsupported option ".to_vec();
                // Redis takes line ends off the end of an error, and makes spaces of others.
                text.extend_from_slice(until_zero(call.args.at(place)));
                while matches!(text.last(), Some(b'\r' | b'\n')) {
                    text.pop();
                }
                return Err(Refusal::quoting(text));
            };
            *is_set = true;
        }
        if conditions.nx && (conditions.xx || conditions.gt || conditions.lt) {
            return Err(Refusal::of(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.gt && conditions.lt {
            return Err(Refusal::of(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    fn allow(self, before: u64, deadline: i64) -> bool {
        // No deadline counts as one that never comes.
        let later = before != NEVER && deadline > i64::try_from(before).unwrap_or(i64::MAX);
        let earlier = before == NEVER || deadline < i64::try_from(before).unwrap_or(i64::MAX);
        !(self.nx && before != NEVER
            || self.xx && before == NEVER
            || self.gt && !later
            || self.lt && !earlier)
    }
}

fn expire_with(call: &mut Write<'_>, clock: Clock) -> Outcome {
    let conditions = Conditions::parse(call)?;
    let number = call.integer(2)?;
    let now = call.keys.now();
    let deadline = clock.millis(number, now);
    let deadline = deadline.ok_or_else(|| invalid_time(call.name()))?;
    let key = call.args.key(1);
    let before = call.get(key).map(|record| record.deadline());
    if !before.is_some_and(|before| conditions.allow(before, deadline)) {
        call.keys.remove_if_gone(call.database, key);
        call.reply.integer(0);
        return Ok(());
    }
    match u64::try_from(deadline).ok().filter(|at| *at > now) {
        Some(deadline) => {
            call.keys.set_deadline(call.database, key, deadline);
            call.get_mut(key).expect("it is there").mark_changed();
        }
        None => {
            call.remove(key);
        }
    }
    call.reply.integer(1);
    Ok(())
}

fn expire(call: &mut Write<'_>) -> Outcome {
    expire_with(call, SECONDS)
}

fn pexpire(call: &mut Write<'_>) -> Outcome {
    expire_with(call, MILLIS)
}

fn expireat(call: &mut Write<'_>) -> Outcome {
    expire_with(call, SECONDS_AT)
}

fn pexpireat(call: &mut Write<'_>) -> Outcome {
    expire_with(call, MILLIS_AT)
}

fn persist(call: &mut Write<'_>) -> Outcome {
    let key = call.args.key(1);
    let has_deadline = call.get(key).is_some_and(|it| it.deadline() != NEVER);
    if has_deadline {
        call.keys.set_deadline(call.database, key, NEVER);
        call.get_mut(key).expect("it is there").mark_changed();
    }
    call.reply.integer(i64::from(has_deadline));
    Ok(())
}

/// Answers -2 if the key is not there, -1 if it has no deadline, else what `of` makes of the deadline.
fn deadline(call: &mut Read<'_>, of: impl Fn(u64) -> u64) -> Outcome {
    let record = call.keys.get(call.database, call.args.key(1));
    let answer = match record.map(|record| record.deadline()) {
        None => -2,
        Some(NEVER) => -1,
        Some(deadline) => i64::try_from(of(deadline)).unwrap_or(i64::MAX),
    };
    call.reply.integer(answer);
    Ok(())
}

/// Whole seconds, to the nearest.
fn in_seconds(millis: u64) -> u64 {
    millis.saturating_add(500) / 1000
}

fn ttl(call: &mut Read<'_>) -> Outcome {
    let now = call.keys.now();
    deadline(call, |at| in_seconds(at.saturating_sub(now)))
}

fn pttl(call: &mut Read<'_>) -> Outcome {
    let now = call.keys.now();
    deadline(call, |at| at.saturating_sub(now))
}

fn expiretime(call: &mut Read<'_>) -> Outcome {
    deadline(call, in_seconds)
}

fn pexpiretime(call: &mut Read<'_>) -> Outcome {
    deadline(call, |at| at)
}

//! The machine: commands in, replies out, and nothing known of the world but what an entry holds.

use std::{io, iter};

use standin_core::machine::{Context, StateMachine};
use standin_core::time::WallTime;
use standin_resp::Version;
use standin_resp::writer::ReplyWriter;

use crate::arguments::{
    Arguments, Decoded, Head, Malformed, QueuedBytes, Ranges, TransactionBytes, decode,
};
use crate::call::{Call, REPLY_BYTES_MAX, Refusal};
use crate::capture::{invalid, read_u8, read_u64, write_u8, write_u64};
use crate::keyspace::{Keyspace, NEVER};
use crate::prefetch::Prefetch;
use crate::table::{Handler, Spec, Way, find, takes_or_refuse, unknown};
use crate::{state_words, words};

/// The one timer: it is set for the earliest deadline.
const TIMER: u64 = 0;
/// Nanoseconds in a millisecond.
const MILLI: u64 = 1_000_000;
/// First byte of a capture.
const CAPTURE_VERSION: u8 = 1;

/// Where an entry stands: all that the machine knows of the world besides randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Its logged time.
    pub now: WallTime,
    /// Its index.
    pub index: u64,
}

/// A Redis-compatible database.
#[derive(Clone, Debug, Default)]
pub struct KeyValue {
    keys: Keyspace,
    /// The deadline that the timer is set for, in milliseconds since 1970; [`NEVER`] if it is not set.
    ///
    /// Invariant: no key has an earlier one.
    armed: u64,
}

impl KeyValue {
    /// All that is stored.
    #[must_use]
    pub fn keys(&self) -> &Keyspace {
        &self.keys
    }

    /// Executes a command or a transaction; says when the timer is to fire if that has changed.
    pub fn execute(
        &mut self,
        moment: Moment,
        random: &mut dyn FnMut() -> u64,
        command: &[u8],
        reply: &mut Vec<u8>,
    ) -> Option<WallTime> {
        self.keys.begin(moment.now.0, moment.index);
        let done = decode(command).and_then(|decoded| match decoded {
            Decoded::Command(mut head, command) => {
                let mut ranges = Ranges::default();
                let args = command.arguments(&mut ranges)?;
                self.command(&mut head, args, random, reply);
                Ok(())
            }
            Decoded::Transaction(head, transaction) => {
                self.transaction(head, transaction, random, reply)
            }
        });
        if let Err(malformed) = done {
            refuse_malformed(reply, malformed);
        }
        self.arm()
    }

    /// The timer is due: removes keys that are gone; says when it is to fire next.
    pub fn fire(&mut self, moment: Moment) -> Option<WallTime> {
        self.keys.begin(moment.now.0, moment.index);
        self.keys.expire();
        self.armed = self.keys.next_deadline().unwrap_or(NEVER);
        self.alarm()
    }

    fn arm(&mut self) -> Option<WallTime> {
        let soonest = self.keys.soonest_set()?;
        if self.armed != NEVER && self.armed <= soonest {
            return None;
        }
        self.armed = soonest;
        self.alarm()
    }

    /// When the timer is to fire: a key is gone once its deadline has passed.
    fn alarm(&self) -> Option<WallTime> {
        let after = self.armed.saturating_add(1).saturating_mul(MILLI);
        (self.armed != NEVER).then_some(WallTime(after))
    }

    /// Executes one command, and writes its reply or its error.
    fn command(
        &mut self,
        head: &mut Head,
        args: Arguments<'_>,
        random: &mut dyn FnMut() -> u64,
        reply: &mut Vec<u8>,
    ) {
        let reply_at = reply.len();
        let outcome = look_up(args).and_then(|spec| {
            let writer = ReplyWriter::new(reply, head.version);
            match spec.handler {
                Handler::Write(handler) => {
                    let mut call = Call {
                        args,
                        keys: &mut self.keys,
                        reply: writer,
                        database: head.database,
                        reply_at,
                        name: spec.name,
                        random,
                    };
                    handler(&mut call)
                }
                Handler::Read(handler) => {
                    if self.keys.has_deadlines(head.database) {
                        for place in spec.key_places(args.len()) {
                            self.keys.remove_if_gone(head.database, args.key(place));
                        }
                    }
                    let mut call = Call {
                        args,
                        keys: &self.keys,
                        reply: writer,
                        database: head.database,
                        reply_at,
                        name: spec.name,
                        random,
                    };
                    let outcome = handler(&mut call);
                    head.database = call.database;
                    outcome
                }
                Handler::Missing | Handler::Connection | Handler::Look(_) => {
                    Err(not_for_the_machine(spec))
                }
            }
        });
        finish(reply, reply_at, head.version, outcome);
    }

    fn transaction(
        &mut self,
        mut head: Head,
        transaction: TransactionBytes<'_>,
        random: &mut dyn FnMut() -> u64,
        reply: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let reply_at = reply.len();
        let mut is_as_seen = true;
        let mut queued: QueuedBytes<'_> = transaction.watches(|database, key, sight| {
            let key = crate::members::Key::new(key);
            is_as_seen &= self.keys.is_as_seen(database, key, sight);
        })?;
        if !is_as_seen {
            ReplyWriter::new(reply, head.version).null_array();
            return Ok(());
        }
        ReplyWriter::new(reply, head.version).array(queued.count());
        let mut ranges = Ranges::default();
        let mut is_too_long = false;
        while let Some(args) = queued.next(&mut ranges) {
            self.command(&mut head, args, random, reply);
            // All are executed, whatever becomes of the reply.
            if reply.len() - reply_at > REPLY_BYTES_MAX {
                is_too_long = true;
                reply.truncate(reply_at);
            }
        }
        if is_too_long {
            finish(reply, reply_at, head.version, Err(Refusal::EXECUTED_UNTOLD));
        }
        Ok(())
    }

    /// Answers a command that changes nothing, or several: without watches, each of them as if it were alone.
    pub fn answer(&self, query: &[u8], reply: &mut Vec<u8>) {
        let mut ranges = Ranges::default();
        let answered = decode(query).and_then(|decoded| match decoded {
            Decoded::Command(head, command) => {
                self.look(head, command.arguments(&mut ranges)?, reply);
                Ok(())
            }
            Decoded::Transaction(head, transaction) => {
                let mut is_watched = false;
                let mut queued = transaction.watches(|_, _, _| is_watched = true)?;
                if is_watched {
                    return Err(Malformed::TRANSACTION_AS_QUERY);
                }
                self.prefetch(&mut iter::once(query));
                ReplyWriter::new(reply, head.version).array(queued.count());
                while let Some(args) = queued.next(&mut ranges) {
                    self.look(head, args, reply);
                }
                Ok(())
            }
        });
        if let Err(malformed) = answered {
            refuse_malformed(reply, malformed);
        }
    }

    fn look(&self, head: Head, args: Arguments<'_>, reply: &mut Vec<u8>) {
        let reply_at = reply.len();
        let outcome = look_up(args).and_then(|spec| match (spec.handler, spec.way) {
            (Handler::Look(handler), _)
            | (Handler::Read(handler), Way::Query | Way::Connection) => {
                let mut call = Call {
                    args,
                    keys: &self.keys,
                    reply: ReplyWriter::new(reply, head.version),
                    database: head.database,
                    reply_at,
                    name: spec.name,
                    random: &mut || unreachable!("no query draws random numbers"),
                };
                handler(&mut call)
            }
            (Handler::Read(_) | Handler::Write(_), _) => Err(Refusal::quoting(
                format!("ERR '{}' must be ordered, and was asked", spec.name).into(),
            )),
            (Handler::Missing | Handler::Connection, _) => Err(not_for_the_machine(spec)),
        });
        finish(reply, reply_at, head.version, outcome);
    }
}

/// The command of these arguments, whose number it takes.
///
/// # Errors
/// There is none, or it takes another number of them.
pub fn look_up(args: Arguments<'_>) -> Result<&'static Spec, Refusal> {
    find(args.at(0))
        .filter(|spec| !matches!(spec.handler, Handler::Missing))
        .ok_or_else(|| unknown(args.at(0), args.from(1)))
        .and_then(|spec| takes_or_refuse(spec, args.len()))
}

#[cold]
fn not_for_the_machine(spec: &Spec) -> Refusal {
    let text = format!(
        "ERR '{}' is answered by a connection, and by no machine",
        spec.name
    );
    Refusal::quoting(text.into())
}

#[cold]
fn refuse_malformed(reply: &mut Vec<u8>, malformed: Malformed) {
    reply.clear();
    let text = format!("ERR this is no command: {}", malformed.what());
    ReplyWriter::new(reply, Version::Resp2).error(text);
}

/// Puts an error in the place of what was written since `reply_at`, if there is one.
fn finish(reply: &mut Vec<u8>, reply_at: usize, version: Version, outcome: Result<(), Refusal>) {
    let outcome = outcome.and_then(|()| match reply.len() - reply_at <= REPLY_BYTES_MAX {
        true => Ok(()),
        false => Err(Refusal::REPLY_TOO_LONG),
    });
    if let Err(refusal) = outcome {
        reply.truncate(reply_at);
        ReplyWriter::new(reply, version).error(refusal.text());
    }
}

impl StateMachine for KeyValue {
    const NAME: &'static str = "kv";
    const VERSION: u32 = 1;

    type Capture = Self;

    /// It does if it takes little time and is answered shortly.
    fn shares_entry(command: &[u8]) -> bool {
        let Ok(Decoded::Command(_, command)) = decode(command) else {
            return false;
        };
        let mut ranges = Ranges::default();
        let Ok(args) = command.arguments(&mut ranges) else {
            return false;
        };
        find(args.at(0)).is_some_and(|spec| spec.joins(args.from(1)))
    }

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        let moment = moment_of(ctx);
        let alarm = self.execute(moment, &mut || ctx.random(), command, reply);
        if let Some(deadline) = alarm {
            ctx.set_timer(TIMER, deadline);
        }
    }

    fn prefetch(&self, commands: &mut dyn Iterator<Item = &[u8]>) {
        if self.keys.is_prefetched() {
            Prefetch::new(&self.keys).commands(commands);
        }
    }

    fn timer(&mut self, ctx: &mut Context<'_>, _: u64) {
        let alarm = self.fire(moment_of(ctx));
        if let Some(deadline) = alarm {
            ctx.set_timer(TIMER, deadline);
        }
    }

    fn query(&self, query: &[u8], reply: &mut Vec<u8>) {
        self.answer(query, reply);
    }

    fn capture(&self) -> Self {
        self.clone()
    }

    fn write_capture(capture: &Self, out: &mut dyn io::Write) -> io::Result<()> {
        write_u8(out, CAPTURE_VERSION)?;
        write_u64(out, capture.armed)?;
        capture.keys.write(out)
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        if read_u8(input)? != CAPTURE_VERSION {
            return Err(invalid("it is of a version that does not exist"));
        }
        let armed = read_u64(input)?;
        let keys = Keyspace::read(input)?;
        let next = keys.next_deadline();
        if next.is_some_and(|next| armed == NEVER || next < armed) {
            return Err(invalid(
                "the timer is set for later than the first deadline",
            ));
        }
        if input.read(&mut [0])? != 0 {
            return Err(invalid("something follows its end"));
        }
        Ok(Self { keys, armed })
    }

    fn command_words(command: &[u8]) -> String {
        words::of(command)
    }

    fn parse_query(words: &str) -> Result<Vec<u8>, String> {
        words::query(words)
    }

    fn state_words(&self, tell: &mut dyn FnMut(&str, &str)) {
        state_words::tell_all(&self.keys, tell);
    }

    fn reply_words(reply: &[u8]) -> String {
        words::of_reply(reply)
    }
}

fn moment_of(ctx: &Context<'_>) -> Moment {
    Moment {
        now: ctx.now(),
        index: ctx.index().0,
    }
}

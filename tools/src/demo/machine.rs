//! The machines that the demo can run: the bytes that their clients write and read, and what they are called.

use std::path::Path;

use standin_core::random::RandomStream;
use standin_kv::arguments::command;
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;
use standin_resp::number::parse_integer;
use standin_resp::reply::Reply;

use super::audit::Audit;
use super::evidence::{Record, audit_log};
use crate::replay::ReplayError;
use crate::simulate::Subject;

const OP_ADD: u8 = 1;
const OP_GET: u8 = 2;
const REPLY_VALUE: u8 = 0;

/// Where the database has its numbers.
const KEYS: [&str; 8] = [
    "apples", "pears", "plums", "cherries", "figs", "quinces", "medlars", "sloes",
];

/// A machine that the demo can run.
#[derive(Clone, Copy, Debug)]
pub(super) enum DemoMachine {
    Numbers(Numbers),
    Own(Own),
}

/// A machine that keeps numbers, to which clients add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    Counter,
    Kv,
}

/// A machine of a program's own, of which nothing is known but what it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    name: &'static str,
    pub(super) draw_command: fn(&mut RandomStream, Option<&[u8]>) -> Vec<u8>,
    pub(super) audit: fn(&Path, &[Record]) -> Result<Audit, ReplayError>,
}

impl DemoMachine {
    /// The machine of this name, in a program that brings `M`.
    pub(super) fn of<M: Subject>(name: &str) -> Self {
        match name {
            "counter" => Self::Numbers(Numbers::Counter),
            "kv" => Self::Numbers(Numbers::Kv),
            _ => Self::Own(Own {
                name: M::NAME,
                draw_command: M::draw_command,
                audit: audit_log::<M>,
            }),
        }
    }

    /// Its name, as `--machine` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Numbers(Numbers::Counter) => "counter",
            Self::Numbers(Numbers::Kv) => "kv",
            Self::Own(own) => own.name,
        }
    }

    /// What it is, for people.
    pub(super) fn noun(self) -> String {
        match self {
            Self::Numbers(Numbers::Counter) => "counter".to_owned(),
            Self::Numbers(Numbers::Kv) => "database".to_owned(),
            Self::Own(own) => format!("machine '{}'", own.name),
        }
    }

    /// What clients send, for people.
    pub(super) fn request(self) -> &'static str {
        match self {
            Self::Numbers(_) => "add",
            Self::Own(_) => "command",
        }
    }
}

impl Numbers {
    /// How many numbers it keeps that clients add to.
    pub(super) fn numbers(self) -> usize {
        match self {
            Self::Counter => 1,
            Self::Kv => KEYS.len(),
        }
    }

    /// The command that adds 1 to one of its numbers.
    pub(super) fn add_one(self, number: usize) -> Vec<u8> {
        match self {
            Self::Counter => {
                let mut command = vec![OP_ADD];
                command.extend_from_slice(&1_i64.to_le_bytes());
                command
            }
            Self::Kv => words(&["INCR", KEYS[number]]),
        }
    }

    /// What a number has become, by the reply to [`Numbers::add_one`]; `None` if the reply says something
    /// else, or the value is below zero, as no sum of ones is.
    pub(super) fn value(self, reply: &[u8]) -> Option<u64> {
        match self {
            Self::Counter => counter_value(reply),
            Self::Kv => match whole(reply)? {
                Reply::Integer(value) => u64::try_from(value).ok(),
                _ => None,
            },
        }
    }

    /// The query for all numbers.
    pub(super) fn get(self) -> Vec<u8> {
        match self {
            Self::Counter => vec![OP_GET],
            Self::Kv => {
                let mut query = vec!["MGET"];
                query.extend(KEYS);
                words(&query)
            }
        }
    }

    /// All numbers, by the reply to [`Numbers::get`].
    pub(super) fn values(self, reply: &[u8]) -> Option<Vec<u64>> {
        match self {
            Self::Counter => Some(vec![counter_value(reply)?]),
            Self::Kv => match whole(reply)? {
                Reply::Array(values) if values.len() == KEYS.len() => {
                    values.iter().map(number_at).collect()
                }
                _ => None,
            },
        }
    }
}

fn counter_value(reply: &[u8]) -> Option<u64> {
    let (&REPLY_VALUE, value) = reply.split_first()? else {
        return None;
    };
    let value = i64::from_le_bytes(value.try_into().ok()?);
    u64::try_from(value).ok()
}

fn words(words: &[&str]) -> Vec<u8> {
    command(Version::Resp2, DatabaseId::default(), words)
}

fn whole(reply: &[u8]) -> Option<Reply> {
    let (parsed, length) = Reply::parse(reply).ok()??;
    (length == reply.len()).then_some(parsed)
}

/// The number at a key; 0 if nobody has added to it.
fn number_at(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::NullBulk => Some(0),
        Reply::Bulk(text) => u64::try_from(parse_integer(text)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use standin_core::machine::StateMachine as _;
    use standin_core::time::WallTime;
    use standin_kv::KeyValue;
    use standin_kv::Moment;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_counter() {
        let counter = Numbers::Counter;
        assert_eq!(counter.add_one(0), [1, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(counter.get(), [2]);
        let value = |reply: &[u8]| {
            let value = counter.value(reply);
            assert_eq!(counter.values(reply), value.map(|value| vec![value]));
            value
        };
        assert_eq!(value(&[0, 2, 1, 0, 0, 0, 0, 0, 0]), Some(258));
        assert_eq!(value(&[0, 255, 255, 255, 255, 255, 255, 255, 255]), None);
        assert_eq!(value(b"\x01wrong"), None);
        assert_eq!(value(&[0, 1]), None);
        assert_eq!(value(&[]), None);
    }

    #[test]
    fn the_bytes_are_those_of_the_database() {
        let kv = Numbers::Kv;
        assert_eq!(DemoMachine::Numbers(kv).name(), KeyValue::NAME);
        let mut machine = KeyValue::default();
        let moment = Moment {
            now: WallTime(1),
            index: 1,
        };
        for number in [0, 7, 7] {
            let mut reply = Vec::new();
            let random = &mut || unreachable!("nothing here is left to chance");
            machine.execute(moment, random, &kv.add_one(number), &mut reply);
            let mut answer = Vec::new();
            machine.query(&kv.get(), &mut answer);
            let values = kv.values(&answer).unwrap();
            assert_eq!(kv.value(&reply), Some(values[number]));
        }
        let mut answer = Vec::new();
        machine.query(&kv.get(), &mut answer);
        assert_eq!(kv.values(&answer), Some(vec![1, 0, 0, 0, 0, 0, 0, 2]));
        for reply in [
            b"-ERR no\r\n".as_slice(),
            b":1",
            b":-1\r\n",
            b"",
            b":1\r\n:",
        ] {
            assert_eq!(kv.value(reply), None);
        }
        for reply in [b"*1\r\n$1\r\n1\r\n".as_slice(), b"*-1\r\n", b"$1\r\n1\r\n"] {
            assert_eq!(kv.values(reply), None);
        }
    }
}

//! What is asked of the services: the same of all, each in its own protocol.

use clap::ValueEnum;
use standin_kv::arguments;
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;

use crate::load::{Expected, Work};

/// The key that all clients use.
const KEY: &[u8] = b"key:000000000000";

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Request {
    /// `INCR` of one key: a write with a small reply
    #[default]
    Incr,
    /// `GET` of one key: a read
    Get,
    /// `SET` of one key to 16 bytes: a write
    Set,
}

/// How many replicas must have a write, as Redis is asked for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The primary alone.
    None,
    /// The command is followed by `WAIT 1 0`.
    One,
}

impl Request {
    fn words(self) -> Vec<&'static [u8]> {
        match self {
            Self::Incr => vec![b"INCR", KEY],
            Self::Get => vec![b"GET", KEY],
            Self::Set => vec![b"SET", KEY, b"0123456789abcdef"],
        }
    }

    /// Over Redis's protocol.
    pub(super) fn resp(self, wait: Wait) -> Work {
        let mut bytes = Vec::new();
        put(&mut bytes, &self.words());
        let mut expected = vec![Expected::Done];
        if wait == Wait::One {
            put(&mut bytes, &[b"WAIT", b"1", b"0"]);
            expected.push(Expected::Positive);
        }
        Work::Resp(bytes.into(), expected)
    }

    /// Over the native protocol, in a session: a command of the database.
    pub(super) fn native(self) -> Work {
        let database = DatabaseId::default();
        Work::Native(arguments::command(Version::Resp2, database, &self.words()).into())
    }
}

fn put(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

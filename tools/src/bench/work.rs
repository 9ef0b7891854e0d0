//! What is asked of the services: the same of all, each in its own protocol.

use clap::ValueEnum;
use standin_core::message::Consistency;
use standin_kv::arguments;
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;

use crate::load::{self, Expected, KeyForm, Work};

/// What values consist of.
const VALUE: &[u8] = b"0123456789abcdef";
/// What etcd's answer to a read has only if there is something to read.
const FOUND: &str = "\"kvs\":[";
/// Bytes of a value unless something else is asked for.
pub(super) const VALUE_BYTES: u32 = 16;
/// The longest.
pub(super) const VALUE_BYTES_MAX: u32 = 65_536;
/// Most keys: as many as fit their digits.
pub(super) const KEYS_MAX: u64 = 1_000_000_000_000;

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Request {
    /// `INCR` of a key: a write with a small reply
    #[default]
    Incr,
    /// `GET` of a key: a read
    Get,
    /// `SET` of a key: a write
    Set,
}

impl Request {
    /// As it is typed.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Incr => "incr",
            Self::Get => "get",
            Self::Set => "set",
        }
    }
}

/// How many replicas must have a write, as Redis is asked for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The primary alone.
    None,
    /// The command is followed by `WAIT 1 0`.
    One,
}

/// Whether a service keeps what it is told, so that a read finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// It is a database.
    Kept,
    /// It is the relay, which answers everything alike.
    None,
}

/// The load's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// Keys that requests are drawn from.
    pub(super) keys: u64,
    pub(super) value_bytes: u32,
}

impl Asked {
    pub(super) fn value(&self) -> Vec<u8> {
        let length = usize::try_from(self.value_bytes).expect("it was checked");
        VALUE.iter().copied().cycle().take(length).collect()
    }

    fn words(&self) -> Vec<Vec<u8>> {
        let key = load::key(0).to_vec();
        match self.request {
            Request::Incr => vec![b"INCR".to_vec(), key],
            Request::Get => vec![b"GET".to_vec(), key],
            Request::Set => vec![b"SET".to_vec(), key, self.value()],
        }
    }

    fn expected(&self, memory: Memory) -> Expected {
        match (self.request, memory) {
            (Request::Get, Memory::Kept) => Expected::String(self.value().len()),
            _ => Expected::Done,
        }
    }

    /// Over Redis's protocol.
    pub(super) fn resp(&self, wait: Wait, memory: Memory) -> Work {
        let mut bytes = Vec::new();
        put(&mut bytes, &self.words());
        let mut expected = vec![self.expected(memory)];
        if wait == Wait::One {
            put(
                &mut bytes,
                &[b"WAIT".to_vec(), b"1".to_vec(), b"0".to_vec()],
            );
            expected.push(Expected::Positive);
        }
        Work::Resp(self.keyed(bytes, KeyForm::Plain), expected)
    }

    /// Over the native protocol: a command of the database in a session, or a query.
    pub(super) fn native(&self, consistency: Consistency, memory: Memory) -> Work {
        let database = DatabaseId::default();
        let bytes = arguments::command(Version::Resp2, database, &self.words());
        let request = self.keyed(bytes, KeyForm::Plain);
        match self.request {
            Request::Incr | Request::Set => Work::Native(request),
            Request::Get => Work::Query {
                request,
                consistency,
                expected: self.expected(memory),
            },
        }
    }

    /// Over etcd's JSON gateway, which has no `INCR`: a put instead.
    pub(super) fn etcd(&self) -> Work {
        let (path, body, words) = match self.request {
            Request::Incr | Request::Set => {
                ("/v3/kv/put", put_body(0, &self.value()), load::REVISION)
            }
            Request::Get => {
                let body = format!("{{\"key\":\"{}\"}}", key_text(0));
                ("/v3/kv/range", body, FOUND)
            }
        };
        Work::Http(self.keyed(post(path, &body), KeyForm::Base64), words)
    }

    /// What all keys are to be before anything is measured; `None`: whatever they are.
    pub(super) fn first_value(&self) -> Option<Vec<u8>> {
        match self.request {
            Request::Get => Some(self.value()),
            Request::Set if self.keys > 1 => Some(self.value()),
            Request::Incr if self.keys > 1 => Some(b"0".to_vec()),
            Request::Set | Request::Incr => None,
        }
    }

    /// The request of Redis's protocol that makes a key so.
    pub(super) fn filling(&self, value: Vec<u8>) -> load::Request {
        let mut bytes = Vec::new();
        let key = load::key(0).to_vec();
        put(&mut bytes, &[b"SET".to_vec(), key, value]);
        self.keyed(bytes, KeyForm::Plain)
    }

    fn keyed(&self, bytes: Vec<u8>, form: KeyForm) -> load::Request {
        load::Request::with_keys(bytes, self.keys, form)
    }
}

/// What etcd's gateway is told to put a value at the key of this number.
pub(super) fn put_body(number: u64, value: &[u8]) -> String {
    let value = text(value);
    format!("{{\"key\":\"{}\",\"value\":\"{value}\"}}", key_text(number))
}

/// A request to etcd's gateway.
pub(super) fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn key_text(number: u64) -> String {
    text(&load::key(number))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(load::base64(bytes)).expect("base64 is text")
}

fn put(out: &mut Vec<u8>, words: &[Vec<u8>]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: Request, keys: u64) -> Asked {
        Asked {
            request,
            keys,
            value_bytes: 20,
        }
    }

    #[test]
    fn what_reads_find_and_what_is_drawn_is_there_before() {
        let value = b"0123456789abcdef0123".to_vec();
        for (request, keys, first) in [
            (Request::Incr, 1, None),
            (Request::Incr, 2, Some(b"0".to_vec())),
            (Request::Get, 1, Some(value.clone())),
            (Request::Set, 1, None),
            (Request::Set, 2, Some(value.clone())),
        ] {
            assert_eq!(
                asked(request, keys).first_value(),
                first,
                "{request:?} {keys}"
            );
        }
        let filling = asked(Request::Get, 1).filling(value);
        let bytes =
            b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$20\r\n0123456789abcdef0123\r\n";
        assert_eq!(filling, bytes.to_vec().into());
    }

    #[test]
    fn a_read_must_find_the_value_but_of_the_relay() {
        let asked = asked(Request::Get, 1);
        let expects = |work| match work {
            Work::Resp(_, expected) => expected[0],
            Work::Query { expected, .. } => expected,
            other => panic!("{other:?}"),
        };
        for (memory, expected) in [
            (Memory::Kept, Expected::String(20)),
            (Memory::None, Expected::Done),
        ] {
            assert_eq!(expects(asked.resp(Wait::None, memory)), expected);
            let native = asked.native(Consistency::Lease, memory);
            assert!(
                matches!(
                    native,
                    Work::Query {
                        consistency: Consistency::Lease,
                        ..
                    }
                ),
                "{native:?}"
            );
            assert_eq!(expects(native), expected);
        }
    }

    #[test]
    fn etcd_is_asked_to_put_where_others_count() {
        let value = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM=";
        let body = format!("{{\"key\":\"a2V5OjAwMDAwMDAwMDAwMA==\",\"value\":\"{value}\"}}");
        let put = Work::Http(post("/v3/kv/put", &body).into(), load::REVISION);
        assert_eq!(asked(Request::Incr, 1).etcd(), put);
        assert_eq!(asked(Request::Set, 1).etcd(), put);
        let range = post("/v3/kv/range", "{\"key\":\"a2V5OjAwMDAwMDAwMDAwMA==\"}");
        assert!(
            range.ends_with(b"Content-Length: 34\r\n\r\n{\"key\":\"a2V5OjAwMDAwMDAwMDAwMA==\"}")
        );
        assert_eq!(
            asked(Request::Get, 1).etcd(),
            Work::Http(range.into(), FOUND)
        );
    }
}

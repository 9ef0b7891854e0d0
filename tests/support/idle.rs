//! Connections that say nothing any more, and what they said before.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use standin::machines::kv::arguments;
use standin_core::message::{Consistency, Hello, Message as _, Party, QueryRequest, Seen};
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;

use super::resp::put;
use super::{PATIENCE, sure};

/// What is large, in bytes, arguments and requests at once.
const LARGE_BYTES: usize = 256 << 10;
const LARGE_ARGUMENTS: usize = 5_000;
const LARGE_PIPELINE: usize = 1_000;
/// The answer to a query of a key that is not there.
const NOTHING: &[u8] = b"$-1\r\n";

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Resp,
    Native,
}

/// What a connection has done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// Nothing but its hello, if there is one.
    Fresh,
    /// One query, and its answer.
    Asked,
    /// Queries and answers that were large, or many at once.
    AskedLarge,
}

/// All kinds of idle connections.
pub(crate) const KINDS: [(Protocol, Past); 6] = [
    (Protocol::Resp, Past::Fresh),
    (Protocol::Resp, Past::Asked),
    (Protocol::Resp, Past::AskedLarge),
    (Protocol::Native, Past::Fresh),
    (Protocol::Native, Past::Asked),
    (Protocol::Native, Past::AskedLarge),
];

/// A connection of this kind to a primary with the database, which has all its answers.
pub(crate) fn connect(address: &str, (protocol, past): (Protocol, Past)) -> TcpStream {
    let mut stream = sure(TcpStream::connect(address));
    sure(stream.set_read_timeout(Some(PATIENCE)));
    match protocol {
        Protocol::Resp => ask_resp(&mut stream, past),
        Protocol::Native => ask_native(&mut stream, past),
    }
    stream
}

/// Sends something, and reads so many bytes, whatever they are.
fn exchange(stream: &mut TcpStream, request: &[u8], reply_bytes: usize) {
    sure(stream.write_all(request));
    let mut input = [0; 16 << 10];
    let mut left = reply_bytes;
    while left > 0 {
        let most = left.min(input.len());
        let count = sure(stream.read(&mut input[..most]));
        assert!(count > 0, "it stays open");
        left -= count;
    }
}

/// `MGET` of so many keys, none of which is there.
fn many() -> Vec<&'static [u8]> {
    let mut words = vec![&b"MGET"[..]];
    words.resize(1 + LARGE_ARGUMENTS, b"nothing");
    words
}

fn ask_resp(stream: &mut TcpStream, past: Past) {
    let mut request = Vec::new();
    let get = [&b"GET"[..], b"nothing"];
    match past {
        Past::Fresh => {}
        Past::Asked => {
            put(&mut request, &get);
            exchange(stream, &request, NOTHING.len());
        }
        Past::AskedLarge => {
            let large = vec![b'x'; LARGE_BYTES];
            put(&mut request, &[&b"ECHO"[..], &large]);
            let head = format!("${LARGE_BYTES}\r\n");
            exchange(stream, &request, head.len() + LARGE_BYTES + 2);
            request.clear();
            put(&mut request, &many());
            let head = format!("*{LARGE_ARGUMENTS}\r\n");
            exchange(
                stream,
                &request,
                head.len() + LARGE_ARGUMENTS * NOTHING.len(),
            );
            request.clear();
            (0..LARGE_PIPELINE).for_each(|_| put(&mut request, &get));
            exchange(stream, &request, LARGE_PIPELINE * NOTHING.len());
        }
    }
}

fn ask_native(stream: &mut TcpStream, past: Past) {
    let mut request = Vec::new();
    Hello::new(Party::Client, None, None).encode(&mut request);
    let words = match past {
        Past::Fresh => None,
        Past::Asked => Some(vec![&b"GET"[..], b"nothing"]),
        Past::AskedLarge => Some(many()),
    };
    if let Some(words) = &words {
        let query = QueryRequest {
            id: 1,
            seen: Seen::default(),
            consistency: Consistency::Confirmed,
            bytes: &arguments::command(Version::Resp2, DatabaseId::default(), words),
        };
        query.encode(&mut request);
    }
    sure(stream.write_all(&request));
    // The other side's hello; then the answer, which ends with that of the last key.
    let mut input = [0; 64 << 10];
    loop {
        let count = sure(stream.read(&mut input));
        assert!(count > 0, "it stays open");
        if words.is_none() || input[..count].ends_with(NOTHING) {
            return;
        }
    }
}

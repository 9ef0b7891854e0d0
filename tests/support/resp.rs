//! A client that speaks RESP over one TCP connection.

use std::fmt::Display;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use standin_resp::reply::Reply;

use super::{PATIENCE, sure, uninterrupted};

/// A wait of no time at all would be one without end.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// A client on one connection. It never connects again: what it can't do on that fails the test.
#[derive(Debug)]
pub(crate) struct RespClient {
    stream: TcpStream,
    input: Vec<u8>,
    at: usize,
}

impl RespClient {
    #[track_caller]
    pub(crate) fn connect(address: &str) -> Self {
        let stream = sure(TcpStream::connect(address));
        sure(stream.set_nodelay(true));
        sure(stream.set_read_timeout(Some(PATIENCE)));
        Self {
            stream,
            input: Vec::new(),
            at: 0,
        }
    }

    /// A second handle, to write with while this one reads.
    #[track_caller]
    pub(crate) fn writer(&self) -> TcpStream {
        sure(self.stream.try_clone())
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        sure(self.stream.write_all(bytes));
    }

    /// Asks, and returns the answer, also if it is an error.
    #[track_caller]
    pub(crate) fn ask<T: AsRef<[u8]>>(&mut self, request: &[T]) -> Reply {
        let mut bytes = Vec::new();
        put(&mut bytes, request);
        self.send(&bytes);
        self.reply()
    }

    /// Asks, and returns the answer, which is no error.
    #[track_caller]
    pub(crate) fn call<T: AsRef<[u8]>>(&mut self, request: &[T]) -> Reply {
        let reply = self.ask(request);
        assert!(!reply.is_error(), "{reply:?}");
        reply
    }

    #[track_caller]
    pub(crate) fn integer<T: AsRef<[u8]>>(&mut self, request: &[T]) -> i64 {
        match self.call(request) {
            Reply::Integer(value) => value,
            other => panic!("no integer: {other:?}"),
        }
    }

    /// The next reply.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_or_end().expect("the connection stays open")
    }

    /// The next reply, or `None` if the connection ends where one would begin.
    #[track_caller]
    pub(crate) fn reply_or_end(&mut self) -> Option<Reply> {
        loop {
            if let Some((reply, length)) = sure(Reply::parse(&self.input[self.at..])) {
                self.at += length;
                return Some(reply);
            }
            self.input.drain(..self.at);
            self.at = 0;
            let mut piece = [0; 65_536];
            let length = sure(uninterrupted(|| self.stream.read(&mut piece)));
            if length == 0 {
                assert!(
                    self.input.is_empty(),
                    "it ends within a reply: {:?}",
                    self.input
                );
                return None;
            }
            self.input.extend_from_slice(&piece[..length]);
        }
    }
}

/// Appends a request.
pub(crate) fn put<T: AsRef<[u8]>>(out: &mut Vec<u8>, request: &[T]) {
    out.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
    for argument in request {
        let argument = argument.as_ref();
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes until nobody has read anything for this long, or until all is written; says how much was.
#[track_caller]
pub(crate) fn write_until_stuck(stream: &mut TcpStream, bytes: &[u8], patience: Duration) -> usize {
    let mut written = 0;
    let mut since = Instant::now();
    while written < bytes.len() && since.elapsed() < patience {
        // As long as signals come, a wait begins anew with each.
        let left = patience.saturating_sub(since.elapsed()).max(SHORTEST_WAIT);
        sure(stream.set_write_timeout(Some(left)));
        match stream.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(length) => {
                written += length;
                since = Instant::now();
            }
            Err(error) if is_end_of_wait(&error) => {}
            Err(error) => fail(error),
        }
    }
    sure(stream.set_write_timeout(None));
    written
}

fn is_end_of_wait(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

#[track_caller]
fn fail(error: impl Display) -> ! {
    panic!("{error}")
}

/// The words of a reply that has any: an error's, too.
#[track_caller]
pub(crate) fn text(reply: &Reply) -> String {
    let text = reply.text();
    let text = text.unwrap_or_else(|| panic!("no text: {reply:?}"));
    String::from_utf8_lossy(text).into_owned()
}

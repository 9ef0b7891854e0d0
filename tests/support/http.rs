//! Probes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::{PATIENCE, sure};

/// An answer: its status code, and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks for a target, such as `/livez`.
#[track_caller]
pub(crate) fn get(address: &str, target: &str) -> HttpAnswer {
    try_get(address, target).expect("a whole head")
}

/// The same; `None` if there were too many connections.
#[track_caller]
pub(crate) fn try_get(address: &str, target: &str) -> Option<HttpAnswer> {
    let mut stream = sure(TcpStream::connect(address));
    sure(stream.set_read_timeout(Some(PATIENCE)));
    let request = format!("GET {target} HTTP/1.1\r\nHost: standin\r\n\r\n");
    let mut answer = String::new();
    // One that is closed with a request unread breaks off.
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let length = format!("\r\nContent-Length: {}\r\n", body.len());
    assert!(head.contains(&length), "{head}");
    Some(HttpAnswer {
        status: status.expect("a status code"),
        body: body.to_owned(),
    })
}

/// The value of a metric, by its name and its labels as they are written.
#[track_caller]
pub(crate) fn metric(address: &str, name: &str) -> Option<f64> {
    let answer = get(address, "/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut lines = answer.body.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(sure(value.parse()))
}

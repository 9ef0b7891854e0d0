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
    let mut stream = sure(TcpStream::connect(address));
    sure(stream.set_read_timeout(Some(PATIENCE)));
    let request = format!("GET {target} HTTP/1.1\r\nHost: standin\r\n\r\n");
    sure(stream.write_all(request.as_bytes()));
    let mut answer = String::new();
    sure(stream.read_to_string(&mut answer));
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let length = format!("\r\nContent-Length: {}\r\n", body.len());
    assert!(head.contains(&length), "{head}");
    HttpAnswer {
        status: status.expect("a status code"),
        body: body.to_owned(),
    }
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

//! What is there before anything is measured: every key, set once.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use standin_io::signals::Signals;

use super::request::Source;
use super::stream::{Answers, Language};
use super::{Expected, LoadError, OPEN_TIMEOUT, Request};

/// Requests that are sent together, at most.
const TOGETHER_MAX: u64 = 512;
/// Bytes that are, at most, unless one has more.
const TOGETHER_BYTES_MAX: usize = 1 << 20;

/// Sends a request of Redis's protocol for each of the first `keys` keys, in order, and waits for all answers.
///
/// # Errors
/// [`LoadError`] if one is not answered as expected, or a signal asks this process to stop.
pub fn fill(
    address: &str,
    request: &Request,
    expected: Expected,
    keys: u64,
    signals: &Signals,
) -> Result<(), LoadError> {
    let failed = |reason: String| LoadError::Lost {
        address: address.to_owned(),
        reason,
    };
    let connect = || -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(OPEN_TIMEOUT))?;
        stream.set_write_timeout(Some(OPEN_TIMEOUT))?;
        Ok(stream)
    };
    let mut stream = connect().map_err(|error| failed(error.to_string()))?;
    let mut source = Source::new(request);
    let mut answers = Answers::default();
    let mut output = Vec::new();
    let mut begun = 0;
    while begun < keys {
        if signals.next()?.is_some() {
            return Err(LoadError::Interrupted);
        }
        output.clear();
        let first = begun;
        while begun < keys && begun - first < TOGETHER_MAX && output.len() < TOGETHER_BYTES_MAX {
            output.extend_from_slice(source.numbered(begun));
            begun += 1;
        }
        let language = Language::Resp(&[expected]);
        exchange(&mut stream, &output, &mut answers, language, begun - first).map_err(failed)?;
    }
    Ok(())
}

/// Sends requests, and waits until so many are answered.
pub(super) fn exchange(
    stream: &mut TcpStream,
    output: &[u8],
    answers: &mut Answers,
    language: Language<'_>,
    count: u64,
) -> Result<(), String> {
    let write = stream.write_all(output);
    write.map_err(|error| error.to_string())?;
    let mut scratch = [0; 16 << 10];
    for _ in 0..count {
        while !answers.next(language)? {
            match stream.read(&mut scratch) {
                Ok(0) => return Err("the service hung up".to_owned()),
                Ok(count) => answers.push(&scratch[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err("no answer came in time".to_owned());
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    Ok(())
}

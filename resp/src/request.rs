//! Requests: arrays of bulk strings, and lines as one types them.

use std::fmt;

use thiserror::Error;

use crate::inline::{self, Place};
use crate::number::parse_integer;
use crate::writer::ReplyWriter;

/// Most bytes of a line, be it a header or an inline request, before the byte that ends it.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Most arguments of one request. Redis 6 and older had the same limit; Redis 7 takes 2^31 - 1.
pub const ARGUMENTS_MAX: usize = 1 << 20;
/// Most bytes of one argument in Redis, unless it is configured otherwise: 512 MiB.
pub const BULK_BYTES_MAX: usize = 512 << 20;
/// Most arguments, and most bytes of one, before the client has said who it is.
const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 << 10;
/// How many arguments' places are kept room for between requests (8 bytes each), and where no other request has begun.
const PLACES_KEPT: usize = 4 << 10;
const PLACES_KEPT_IDLE: usize = 64;
/// The same for the bytes of an inline request's text.
const TEXT_BYTES_KEPT: usize = 4 << 10;
const TEXT_BYTES_KEPT_IDLE: usize = 256;

/// What a request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of one argument.
    pub bulk_bytes_max: usize,
    /// Most bytes of a whole request, headers included. The buffer that requests are read into
    /// must hold so many.
    pub request_bytes_max: u32,
    /// Whether the client has yet to say who it is: until then it may say little.
    pub is_unauthenticated: bool,
}

impl Default for Limits {
    /// Redis's own, and a request as long as can be.
    fn default() -> Limits {
        Limits {
            bulk_bytes_max: BULK_BYTES_MAX,
            request_bytes_max: u32::MAX,
            is_unauthenticated: false,
        }
    }
}

/// Why a connection's bytes can't be read on: it is told so, and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number of arguments is none, or there may not be so many.
    #[error("Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// The client has to say who it is before it sends so many arguments.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// The line that says how many arguments there are doesn't end.
    #[error("Protocol error: too big mbulk count string")]
    MultibulkLine,
    /// An argument begins otherwise than with its length.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// The length of an argument is none, or beyond the limit.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// The client has to say who it is before it sends so long an argument.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The line that says how long an argument is doesn't end.
    #[error("Protocol error: too big bulk count string")]
    BulkLine,
    /// An inline request doesn't end.
    #[error("Protocol error: too big inline request")]
    InlineLine,
    /// The quotes of an inline request don't fit.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The whole request is beyond the limit. Redis closes without a word where its buffer for
    /// requests ends (1 GiB); ours is smaller, so that one should learn why.
    #[error("Protocol error: too big request")]
    RequestBytes,
}

impl ProtocolError {
    /// Writes the reply that the client is owed before its connection is closed: Redis's words.
    pub fn write(self, reply: &mut ReplyWriter<'_>) {
        let mut text = format!("ERR {self}").into_bytes();
        if let ProtocolError::ExpectedBulk(byte) = self {
            // As it came: as a character it might take two bytes.
            text = b"ERR Protocol error: expected '$', got ''".to_vec();
            text.insert(text.len() - 1, byte);
        }
        reply.error(text);
    }
}

/// One request: arguments that borrow the bytes they came in.
///
/// It may have none, as an empty line does, or an array of length 0: then nothing is answered.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    bytes: &'a [u8],
    places: &'a [Place],
    consumed: usize,
}

impl<'a> Request<'a> {
    /// How many arguments there are, the command's name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many bytes of the input it took: the next request begins behind them.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// The argument at this place, the command's name being the first.
    #[must_use]
    pub fn argument(&self, at: usize) -> Option<&'a [u8]> {
        self.places.get(at).map(|place| resolve(self.bytes, *place))
    }

    /// The request without its first `count` arguments, for commands that hold another one.
    #[must_use]
    pub fn skipped(&self, count: usize) -> Request<'a> {
        Request {
            places: self.places.get(count..).unwrap_or_default(),
            ..*self
        }
    }

    /// The arguments, the command's name first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.places.iter().map(move |place| resolve(bytes, *place))
    }
}

fn resolve(bytes: &[u8], (at, len): Place) -> &[u8] {
    &bytes[at as usize..][..len as usize]
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for argument in self.iter() {
            list.entry(&format_args!("{}", argument.escape_ascii()));
        }
        list.finish()
    }
}

/// Takes requests from a connection's bytes, whatever pieces those arrive in.
///
/// The connection owns the buffer. It hands over what the buffer holds from where the current
/// request begins, and after a request takes [`Request::consumed`] bytes off. What was looked at is
/// not looked at again when more has come, and nothing is allocated for a request that has no more
/// arguments than one before it (up to a bound that is kept between requests, and a lower one while nothing is there).
///
/// ```
/// # use standin_resp::request::{Limits, RequestParser};
/// let limits = Limits::default();
/// let mut parser = RequestParser::new();
/// let mut buffer = b"PING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*1\r\n$".to_vec();
/// let mut requests = 0;
/// while let Some(request) = parser.parse(&buffer, &limits).expect("it is well formed") {
///     assert!(request.argument(0).is_some());
///     requests += 1;
///     let consumed = request.consumed();
///     buffer.drain(..consumed);
/// }
/// assert_eq!(requests, 2);
/// assert_eq!(buffer, b"*1\r\n$");
/// ```
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Where the current request's arguments are: in the input, or an inline request's in `text`.
    places: Vec<Place>,
    /// An inline request's words, quotes resolved.
    text: Vec<u8>,
    /// Where in the input the next part begins: a header, a line or an argument's bytes.
    at: usize,
    /// How far the line at `at` was searched for its end in vain.
    searched: usize,
    /// How many arguments are still to come; `None` before that is known.
    remaining: Option<usize>,
    /// How long the argument at `at` is; `None` where a header is to be read.
    bulk: Option<usize>,
    /// How many bytes, at least, were missing at the end of the last call.
    wanted: usize,
    /// The last call returned a request: the next one begins anew.
    is_done: bool,
}

impl RequestParser {
    /// A parser at the beginning of a connection.
    #[must_use]
    pub fn new() -> RequestParser {
        RequestParser::default()
    }

    /// How many bytes must come, at least, before the request can be whole; 0 after one was.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// The request that `input` begins with, or `None` as long as more bytes are needed.
    ///
    /// After `None`, the same bytes must stand at the front of the next call's input.
    ///
    /// # Errors
    ///
    /// With bytes that can't be a request, or one beyond `limits`. The connection is out of step:
    /// it gets the error's reply and is closed, and the parser must not be used on.
    ///
    /// # Panics
    ///
    /// When the input lacks bytes that an earlier call saw: the caller's bug.
    #[inline]
    pub fn parse<'a>(
        &'a mut self,
        input: &'a [u8],
        limits: &Limits,
    ) -> Result<Option<Request<'a>>, ProtocolError> {
        if self.is_done {
            self.begin();
        }
        assert!(
            self.at.max(self.searched) <= input.len(),
            "bytes up to {} were seen, and now there are {}",
            self.at.max(self.searched),
            input.len()
        );
        self.wanted = 0;
        let Some(first) = input.first() else {
            self.wanted = 1;
            // Nothing may come for long, and there may be thousands of such connections.
            self.places.shrink_to(PLACES_KEPT_IDLE);
            self.text.shrink_to(TEXT_BYTES_KEPT_IDLE);
            return Ok(None);
        };
        let is_inline = *first != b'*';
        let is_whole = match is_inline {
            true => self.inline(input, limits)?,
            false => self.multibulk(input, limits)?,
        };
        if !is_whole {
            return Ok(None);
        }
        self.is_done = true;
        Ok(Some(Request {
            bytes: if is_inline { &self.text } else { input },
            places: &self.places,
            consumed: self.at,
        }))
    }

    fn begin(&mut self) {
        self.places.clear();
        self.text.clear();
        self.places.shrink_to(PLACES_KEPT);
        self.text.shrink_to(TEXT_BYTES_KEPT);
        self.at = 0;
        self.searched = 0;
        self.remaining = None;
        self.bulk = None;
        self.is_done = false;
    }

    /// Goes on with an array of bulk strings; says whether it is whole.
    fn multibulk(&mut self, input: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let mut remaining = match self.remaining {
            Some(remaining) => remaining,
            None => match short_header(b'*', input) {
                Some((count @ 0..=9, len)) if len <= limits.request_bytes_max as usize => {
                    self.pass(len);
                    count
                }
                _ => {
                    let error = ProtocolError::MultibulkLine;
                    let Some(line) = self.header(input, limits, error)? else {
                        return Ok(false);
                    };
                    arguments(&line[1..], limits)?
                }
            },
        };
        while remaining > 0 {
            // For the case that the bytes end here.
            self.remaining = Some(remaining);
            let len = match self.bulk {
                Some(len) => len,
                None => {
                    let len = match short_header(b'$', &input[self.at..]) {
                        Some((len, header_len)) if len <= limits.bulk_bytes_max => {
                            self.pass(header_len);
                            len
                        }
                        _ => {
                            let error = ProtocolError::BulkLine;
                            let Some(line) = self.header(input, limits, error)? else {
                                return Ok(false);
                            };
                            bulk_len(line, limits)?
                        }
                    };
                    if self.at + len + 2 > limits.request_bytes_max as usize {
                        return Err(ProtocolError::RequestBytes);
                    }
                    len
                }
            };
            // The two bytes behind an argument aren't looked at, as in Redis.
            let end = self.at + len + 2;
            if input.len() < end {
                self.bulk = Some(len);
                self.wanted = end - input.len();
                return Ok(false);
            }
            self.places.push((narrow(self.at), narrow(len)));
            self.at = end;
            self.searched = end;
            self.bulk = None;
            remaining -= 1;
        }
        Ok(true)
    }

    fn pass(&mut self, len: usize) {
        self.at += len;
        self.searched = self.at;
    }

    /// Reads a header up to its carriage return and passes it and the byte behind, which is not
    /// looked at, as in Redis.
    #[inline]
    fn header<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
        error: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let from = self.at;
        let Some(end) = self.line_end(input, b'\r', 2, limits, error)? else {
            return Ok(None);
        };
        if input.len() < end + 2 {
            self.wanted = 1;
            return Ok(None);
        }
        self.pass(end + 2 - from);
        Ok(Some(&input[from..end]))
    }

    /// Goes on with a line; says whether it is whole.
    fn inline(&mut self, input: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let error = ProtocolError::InlineLine;
        let Some(end) = self.line_end(input, b'\n', 1, limits, error)? else {
            return Ok(false);
        };
        let line = &input[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split(line, &mut self.text, &mut self.places)
            .map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.at = end + 1;
        Ok(true)
    }

    /// Where the byte stands that ends the line at `self.at`. With that byte, the line's ending
    /// has `ending` bytes.
    ///
    /// The limit holds for where the byte stands, not for how much has arrived without it, so that
    /// the same bytes give the same result in whatever pieces they come.
    #[inline]
    fn line_end(
        &mut self,
        input: &[u8],
        byte: u8,
        ending: usize,
        limits: &Limits,
        error: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let line_max = self.at + LINE_BYTES_MAX;
        // The request's limit may come first.
        let (last, error) = match (limits.request_bytes_max as usize).checked_sub(ending) {
            Some(last) if last >= line_max => (line_max, error),
            last => (last.unwrap_or(0), ProtocolError::RequestBytes),
        };
        let found = input[self.searched..]
            .iter()
            .position(|found| *found == byte)
            .map(|at| self.searched + at);
        match found {
            Some(end) if end <= last => Ok(Some(end)),
            None if input.len() <= last => {
                self.searched = input.len();
                self.wanted = 1;
                Ok(None)
            }
            _ => Err(error),
        }
    }
}

/// The number of a header that has one or two digits, and how long the header is. Most have, and
/// need no search for their ends.
#[inline]
fn short_header(kind: u8, input: &[u8]) -> Option<(usize, usize)> {
    match input {
        [first, ones @ b'0'..=b'9', b'\r', _, ..] if *first == kind => {
            Some((usize::from(ones - b'0'), 4))
        }
        [first, tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', _, ..] if *first == kind => {
            Some((usize::from(tens - b'0') * 10 + usize::from(ones - b'0'), 5))
        }
        _ => None,
    }
}

/// Places are kept in 32 bits: requests are bounded by that.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).expect("a request has no more than 4 GiB")
}

/// How many arguments an array has. A negative number stands for none.
fn arguments(number: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let number = parse_integer(number).ok_or(ProtocolError::MultibulkLength)?;
    let count = usize::try_from(number).unwrap_or(0);
    if count > ARGUMENTS_MAX {
        return Err(ProtocolError::MultibulkLength);
    }
    if limits.is_unauthenticated && count > UNAUTHENTICATED_ARGUMENTS_MAX {
        return Err(ProtocolError::UnauthenticatedMultibulkLength);
    }
    Ok(count)
}

/// How long the argument is that a header announces.
fn bulk_len(line: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let number = match line {
        [b'$', number @ ..] => number,
        // An empty line, of which only the carriage return is there.
        line => {
            let got = line.first().copied().unwrap_or(b'\r');
            return Err(ProtocolError::ExpectedBulk(got));
        }
    };
    let len = parse_integer(number).and_then(|number| usize::try_from(number).ok());
    let len = len.filter(|len| *len <= limits.bulk_bytes_max);
    let len = len.ok_or(ProtocolError::BulkLength)?;
    if limits.is_unauthenticated && len > UNAUTHENTICATED_BULK_BYTES_MAX {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parser: &mut RequestParser, input: &[u8]) {
        let parsed = parser.parse(input, &Limits::default());
        assert!(parsed.expect("well formed").is_some());
    }

    #[test]
    fn what_a_long_request_needed_is_not_kept_for_ever() {
        let mut parser = RequestParser::new();
        let many = [&b"*100000\r\n"[..], &b"$1\r\nx\r\n".repeat(100_000)].concat();
        parse(&mut parser, &many);
        assert!(parser.places.capacity() >= 100_000);
        let long = [&vec![b'x'; LINE_BYTES_MAX], &b"\n"[..]].concat();
        parse(&mut parser, &long);
        assert!(parser.places.capacity() <= PLACES_KEPT * 2);
        parse(&mut parser, b"PING a\n");
        assert_eq!(parser.text, b"PINGa", "nothing of the request before");
        assert!(parser.text.capacity() <= TEXT_BYTES_KEPT * 2);
    }

    #[test]
    fn where_no_request_has_begun_little_room_is_kept() {
        let mut parser = RequestParser::new();
        let many = [&b"*1000\r\n"[..], &b"$1\r\nx\r\n".repeat(1_000)].concat();
        parse(&mut parser, &many);
        let long = [&vec![b'x'; 2_000], &b"\n"[..]].concat();
        parse(&mut parser, &long);
        assert!(parser.places.capacity() >= 1_000 && parser.text.capacity() >= 2_000);
        assert!(parser.parse(b"", &Limits::default()).unwrap().is_none());
        assert!(parser.places.capacity() <= PLACES_KEPT_IDLE * 2);
        assert!(parser.text.capacity() <= TEXT_BYTES_KEPT_IDLE * 2);
        parse(&mut parser, &many);
        parse(&mut parser, b"PING a\n");
        assert_eq!(parser.text, b"PINGa");
    }
}

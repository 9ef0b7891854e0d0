//! Replies, read: for clients, tests and measurements.

use thiserror::Error;

use crate::number::parse_integer;
use crate::writer::ReplyWriter;

/// How deep replies may be nested. Redis's own are less than ten deep.
pub const DEPTH_MAX: usize = 64;
/// Most bytes of a line: of a header, or of a reply that is a line (an error may quote much).
pub const REPLY_LINE_BYTES_MAX: usize = 1 << 20;
/// Most bytes of one string, as in Redis.
pub const REPLY_BULK_BYTES_MAX: usize = 512 << 20;
/// Most elements of one aggregate.
pub const REPLY_ELEMENTS_MAX: usize = 1 << 30;

/// How many elements room is made for before they are there.
const ROOM_MAX: usize = 256;

/// A reply of either version. What version 2 has no words for never comes in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+`: a word or two.
    Simple(Vec<u8>),
    /// `-`, or `!` with any bytes: the code, and what went wrong.
    Error(Vec<u8>),
    /// `:`.
    Integer(i64),
    /// `$`: any bytes.
    Bulk(Vec<u8>),
    /// `$-1`: version 2's "no such value".
    NullBulk,
    /// `*-1`: version 2's "no such list".
    NullArray,
    /// `_`: version 3's nothing.
    Null,
    /// `*`.
    Array(Vec<Reply>),
    /// `%`: keys and values, in the order they came in.
    Map(Vec<(Reply, Reply)>),
    /// `~`: in the order they came in, and repeated if they were.
    Set(Vec<Reply>),
    /// `>`: answers no request.
    Push(Vec<Reply>),
    /// `,`.
    Double(f64),
    /// `#`.
    Boolean(bool),
    /// `(`: the digits.
    BigNumber(Vec<u8>),
    /// `=`: text for people, and what format it is in.
    Verbatim {
        /// `txt` or `mkd`.
        format: [u8; 3],
        /// The text.
        text: Vec<u8>,
    },
}

/// Why bytes can't be replies: the connection is out of step and has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// No reply begins with this byte.
    #[error("a reply cannot begin with the byte {0:#04x}")]
    Kind(u8),
    /// A line that should be a number, or a single letter, is something else.
    #[error("the line of a reply that begins with {:?} is malformed", char::from(*.0))]
    Line(u8),
    /// A line doesn't end within [`REPLY_LINE_BYTES_MAX`], or a carriage return stands alone.
    #[error("a line of a reply does not end as it should, within {REPLY_LINE_BYTES_MAX} bytes")]
    LineEnd,
    /// A length beyond the limits, or below -1, or -1 where there must be something.
    #[error("a reply announces a length that cannot be")]
    Length,
    /// The bytes behind a string are not the line's end.
    #[error("a string of a reply is not followed by the end of a line")]
    BulkEnd,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("a reply is nested more than {DEPTH_MAX} deep")]
    Depth,
}

/// One reply's beginning, and what has to follow it.
enum Head<'a> {
    /// The whole reply.
    Whole(Reply),
    /// So many bytes and a line's end.
    Bulk { kind: u8, len: usize },
    /// So many replies.
    Aggregate { kind: u8, count: usize },
    /// Nothing more: a line that is the reply.
    Line { kind: u8, text: &'a [u8] },
}

/// Finds where whole replies end, without making anything of them.
///
/// Like a parser of requests it goes on where it stopped, so a long reply that comes in many pieces
/// is looked at once. A counter is all it remembers, however deep the reply.
#[derive(Debug, Default)]
pub struct ReplyScanner {
    /// What was looked at so far.
    at: usize,
    /// How many replies are open, beyond the first.
    pending: usize,
}

impl ReplyScanner {
    /// A scanner at the beginning of a reply.
    #[must_use]
    pub fn new() -> ReplyScanner {
        ReplyScanner::default()
    }

    /// How long the reply is that `input` begins with, or `None` as long as it isn't whole: then
    /// the next call's input must begin with the same bytes.
    ///
    /// # Errors
    ///
    /// With bytes that can't be a reply. Depth is not judged here, nor what a verbatim string holds.
    pub fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, ReplyError> {
        loop {
            let Some((head, after)) = head(input, self.at)? else {
                return Ok(None);
            };
            let mut follow = 0;
            let end = match head {
                Head::Whole(_) | Head::Line { .. } => after,
                Head::Bulk { len, .. } => {
                    let Some(end) = bulk_end(input, after, len)? else {
                        return Ok(None);
                    };
                    end
                }
                Head::Aggregate { kind, count } => {
                    follow = followers(kind, count);
                    after
                }
            };
            self.at = end;
            // Counts come from the other side: as many as a usize has would take for ever.
            self.pending = self.pending.checked_add(follow).ok_or(ReplyError::Length)?;
            if self.pending == 0 {
                self.at = 0;
                return Ok(Some(end));
            }
            self.pending -= 1;
        }
    }
}

impl Reply {
    /// The reply that `input` begins with, and how many bytes it took; `None` as long as it isn't
    /// whole. An attribute (`|`) in front is left out.
    ///
    /// It begins from the start each time: where long replies come in pieces, ask
    /// [`ReplyScanner`] first.
    ///
    /// # Errors
    ///
    /// With bytes that can't be a reply.
    pub fn parse(input: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
        parse_at(input, 0, 0)
    }

    /// Writes the reply as a server does; what the writer's version lacks is put into its words.
    pub fn write(&self, to: &mut ReplyWriter<'_>) {
        match self {
            Reply::Simple(text) => to.simple(text),
            Reply::Error(text) => to.error(text),
            Reply::Integer(value) => to.integer(*value),
            Reply::Bulk(bytes) => to.bulk(bytes),
            Reply::NullBulk => to.raw(b"$-1\r\n"),
            Reply::NullArray => to.raw(b"*-1\r\n"),
            Reply::Null => to.null(),
            Reply::Array(items) => {
                to.array(items.len());
                items.iter().for_each(|item| item.write(to));
            }
            Reply::Set(items) => {
                to.set(items.len());
                items.iter().for_each(|item| item.write(to));
            }
            Reply::Push(items) => {
                to.push(items.len());
                items.iter().for_each(|item| item.write(to));
            }
            Reply::Map(pairs) => {
                to.map(pairs.len());
                for (key, value) in pairs {
                    key.write(to);
                    value.write(to);
                }
            }
            Reply::Double(value) => to.double(*value),
            Reply::Boolean(value) => to.boolean(*value),
            Reply::BigNumber(digits) => to.big_number(&String::from_utf8_lossy(digits)),
            Reply::Verbatim { format, text } => to.verbatim(*format, text),
        }
    }

    /// Whether the server refused.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// Whether it is nothing, in any of the forms that has.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Reply::Null | Reply::NullBulk | Reply::NullArray)
    }

    /// The text of a line or a string, also that of an error.
    #[must_use]
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Reply::Simple(text)
            | Reply::Error(text)
            | Reply::Bulk(text)
            | Reply::BigNumber(text)
            | Reply::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }
}

fn parse_at(
    input: &[u8],
    mut at: usize,
    depth: usize,
) -> Result<Option<(Reply, usize)>, ReplyError> {
    if depth > DEPTH_MAX {
        return Err(ReplyError::Depth);
    }
    loop {
        let Some((head, after)) = head(input, at)? else {
            return Ok(None);
        };
        let (kind, count) = match head {
            Head::Whole(reply) => return Ok(Some((reply, after))),
            Head::Line { kind, text } => return Ok(Some((line(kind, text.to_vec()), after))),
            Head::Bulk { kind, len } => {
                let Some(end) = bulk_end(input, after, len)? else {
                    return Ok(None);
                };
                let bytes = input[after..after + len].to_vec();
                return Ok(Some((bulk(kind, bytes)?, end)));
            }
            Head::Aggregate { kind, count } => (kind, count),
        };
        let pairs = matches!(kind, b'%' | b'|');
        let count = if pairs { count * 2 } else { count };
        let Some((items, end)) = elements(input, after, count, depth)? else {
            return Ok(None);
        };
        if kind == b'|' {
            // The reply that it goes with follows.
            at = end;
            continue;
        }
        return Ok(Some((aggregate(kind, items), end)));
    }
}

fn elements(
    input: &[u8],
    mut at: usize,
    count: usize,
    depth: usize,
) -> Result<Option<(Vec<Reply>, usize)>, ReplyError> {
    // Room for no more than can be there (the shortest reply has 3 bytes), and not for much at
    // once: each level might announce as many.
    let room = count.min((input.len() - at) / 3).min(ROOM_MAX);
    let mut items = Vec::with_capacity(room);
    for _ in 0..count {
        let Some((item, end)) = parse_at(input, at, depth + 1)? else {
            return Ok(None);
        };
        items.push(item);
        at = end;
    }
    Ok(Some((items, at)))
}

fn aggregate(kind: u8, items: Vec<Reply>) -> Reply {
    match kind {
        b'~' => Reply::Set(items),
        b'>' => Reply::Push(items),
        b'%' => {
            let mut pairs = Vec::with_capacity(items.len() / 2);
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            Reply::Map(pairs)
        }
        _ => Reply::Array(items),
    }
}

fn line(kind: u8, text: Vec<u8>) -> Reply {
    match kind {
        b'-' => Reply::Error(text),
        b'(' => Reply::BigNumber(text),
        _ => Reply::Simple(text),
    }
}

fn bulk(kind: u8, bytes: Vec<u8>) -> Result<Reply, ReplyError> {
    match (kind, &bytes[..]) {
        (b'!', _) => Ok(Reply::Error(bytes)),
        (b'=', [a, b, c, b':', text @ ..]) => Ok(Reply::Verbatim {
            format: [*a, *b, *c],
            text: text.to_vec(),
        }),
        (b'=', _) => Err(ReplyError::Line(b'=')),
        _ => Ok(Reply::Bulk(bytes)),
    }
}

/// How many replies follow the header of an aggregate before the reply it belongs to is whole.
fn followers(kind: u8, count: usize) -> usize {
    match kind {
        b'%' => count * 2,
        // Its pairs, and the reply that it goes with.
        b'|' => count * 2 + 1,
        _ => count,
    }
}

/// Reads what stands at `at`: the reply's first line, and where it ends.
fn head(input: &[u8], at: usize) -> Result<Option<(Head<'_>, usize)>, ReplyError> {
    let Some((kind, rest)) = input[at..].split_first() else {
        return Ok(None);
    };
    let kind = *kind;
    if !b"+-:$*_%~>,#(=!|".contains(&kind) {
        return Err(ReplyError::Kind(kind));
    }
    let Some(text) = line_of(rest)? else {
        return Ok(None);
    };
    let after = at + 1 + text.len() + 2;
    let malformed = ReplyError::Line(kind);
    let head = match kind {
        b':' => Head::Whole(Reply::Integer(parse_integer(text).ok_or(malformed)?)),
        b'_' if text.is_empty() => Head::Whole(Reply::Null),
        b'#' if text == b"t" => Head::Whole(Reply::Boolean(true)),
        b'#' if text == b"f" => Head::Whole(Reply::Boolean(false)),
        b',' => Head::Whole(Reply::Double(double(text).ok_or(malformed)?)),
        b'_' | b'#' => return Err(malformed),
        b'(' if parse_digits(text).is_none() => return Err(malformed),
        b'+' | b'-' | b'(' => Head::Line { kind, text },
        _ => match (kind, parse_integer(text).ok_or(malformed)?) {
            (b'$', -1) => Head::Whole(Reply::NullBulk),
            (b'*', -1) => Head::Whole(Reply::NullArray),
            (_, number) => counted(kind, number)?,
        },
    };
    Ok(Some((head, after)))
}

fn counted<'a>(kind: u8, number: i64) -> Result<Head<'a>, ReplyError> {
    let number = usize::try_from(number).map_err(|_| ReplyError::Length)?;
    let is_bulk = matches!(kind, b'$' | b'=' | b'!');
    match is_bulk {
        true if number <= REPLY_BULK_BYTES_MAX => Ok(Head::Bulk { kind, len: number }),
        false if number <= REPLY_ELEMENTS_MAX => Ok(Head::Aggregate {
            kind,
            count: number,
        }),
        _ => Err(ReplyError::Length),
    }
}

/// The line that `rest` begins with, without its end.
fn line_of(rest: &[u8]) -> Result<Option<&[u8]>, ReplyError> {
    let within = &rest[..rest.len().min(REPLY_LINE_BYTES_MAX + 1)];
    let end = within.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    match end {
        None if rest.len() > REPLY_LINE_BYTES_MAX => Err(ReplyError::LineEnd),
        None => Ok(None),
        Some(end) => match (rest[end], rest.get(end + 1)) {
            (b'\r', None) => Ok(None),
            (b'\r', Some(b'\n')) => Ok(Some(&rest[..end])),
            _ => Err(ReplyError::LineEnd),
        },
    }
}

/// Where a string of `len` bytes at `at` ends, its line's end included; `None` if it isn't whole.
fn bulk_end(input: &[u8], at: usize, len: usize) -> Result<Option<usize>, ReplyError> {
    let ending = &input[input.len().min(at + len)..];
    match ending {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(at + len + 2)),
        _ => Err(ReplyError::BulkEnd),
    }
}

fn parse_digits(text: &[u8]) -> Option<()> {
    let digits = match text {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(())
}

/// Reads a double as Redis writes them. Rust would take `infinity` and `NaN` as well, and no space.
fn double(text: &[u8]) -> Option<f64> {
    let is_plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    match text {
        b"inf" => Some(f64::INFINITY),
        b"-inf" => Some(f64::NEG_INFINITY),
        b"nan" | b"-nan" => Some(f64::NAN),
        text if text.iter().all(is_plain) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Version;

    fn whole(input: &[u8]) -> Reply {
        let (reply, len) = Reply::parse(input).expect("well formed").expect("whole");
        assert_eq!(len, input.len());
        assert_eq!(ReplyScanner::new().scan(input), Ok(Some(len)));
        reply
    }

    fn text(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    #[test]
    fn each_kind_is_read() {
        let cases: [(&str, Reply); 22] = [
            ("+OK\r\n", Reply::Simple(text("OK"))),
            ("+\r\n", Reply::Simple(text(""))),
            ("-ERR no\r\n", Reply::Error(text("ERR no"))),
            ("!5\r\nE\r\nno\r\n", Reply::Error(text("E\r\nno"))),
            (":-5\r\n", Reply::Integer(-5)),
            ("$4\r\na\r\nb\r\n", Reply::Bulk(text("a\r\nb"))),
            ("$0\r\n\r\n", Reply::Bulk(text(""))),
            ("$-1\r\n", Reply::NullBulk),
            ("*-1\r\n", Reply::NullArray),
            ("_\r\n", Reply::Null),
            ("*0\r\n", Reply::Array(Vec::new())),
            (
                "*2\r\n:1\r\n*1\r\n_\r\n",
                Reply::Array(vec![Reply::Integer(1), Reply::Array(vec![Reply::Null])]),
            ),
            (
                "%1\r\n+a\r\n:1\r\n",
                Reply::Map(vec![(Reply::Simple(text("a")), Reply::Integer(1))]),
            ),
            ("~1\r\n:1\r\n", Reply::Set(vec![Reply::Integer(1)])),
            (">1\r\n:1\r\n", Reply::Push(vec![Reply::Integer(1)])),
            (",-1.5e+300\r\n", Reply::Double(-1.5e300)),
            (",inf\r\n", Reply::Double(f64::INFINITY)),
            ("#t\r\n", Reply::Boolean(true)),
            ("#f\r\n", Reply::Boolean(false)),
            ("(-123\r\n", Reply::BigNumber(text("-123"))),
            (
                "=6\r\ntxt:hi\r\n",
                Reply::Verbatim {
                    format: *b"txt",
                    text: text("hi"),
                },
            ),
            // An attribute goes with the reply behind it.
            ("|1\r\n+ttl\r\n:3\r\n:7\r\n", Reply::Integer(7)),
        ];
        for (input, expected) in cases {
            assert_eq!(whole(input.as_bytes()), expected, "{input:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_reply_is_refused_and_what_may_become_one_waits() {
        let cases: [(&str, ReplyError); 17] = [
            ("PONG\r\n", ReplyError::Kind(b'P')),
            ("\r\n", ReplyError::Kind(b'\r')),
            (":\r\n", ReplyError::Line(b':')),
            (":01\r\n", ReplyError::Line(b':')),
            (":1 \r\n", ReplyError::Line(b':')),
            ("$a\r\n", ReplyError::Line(b'$')),
            ("$?\r\n", ReplyError::Line(b'$')),
            ("$-2\r\n", ReplyError::Length),
            ("%-1\r\n", ReplyError::Length),
            ("$536870913\r\n", ReplyError::Length),
            ("*1073741825\r\n", ReplyError::Length),
            ("$2\r\nabc\r\n", ReplyError::BulkEnd),
            ("$2\r\nab\rc", ReplyError::BulkEnd),
            ("+a\rb\r\n", ReplyError::LineEnd),
            ("#x\r\n", ReplyError::Line(b'#')),
            ("_x\r\n", ReplyError::Line(b'_')),
            (",infinity\r\n", ReplyError::Line(b',')),
        ];
        for (input, error) in cases {
            assert_eq!(Reply::parse(input.as_bytes()), Err(error), "{input:?}");
            let scanned = ReplyScanner::new().scan(input.as_bytes());
            assert_eq!(scanned, Err(error), "{input:?}");
        }
        for input in [
            "",
            "+",
            "+OK",
            "+OK\r",
            "$3\r\nab",
            "$3\r\nabc\r",
            "*2\r\n:1\r\n",
            "*9\r\n",
        ] {
            assert_eq!(Reply::parse(input.as_bytes()), Ok(None), "{input:?}");
        }
    }

    #[test]
    fn depth_has_a_bound_and_counts_make_no_room_before_there_is_something() {
        let mut deep = b"*1\r\n".repeat(DEPTH_MAX);
        deep.extend_from_slice(b":1\r\n");
        assert!(Reply::parse(&deep).expect("allowed").is_some());
        deep.splice(0..0, *b"*1\r\n");
        assert_eq!(Reply::parse(&deep), Err(ReplyError::Depth));
        // A billion elements are announced, sixteen times over: refused by nobody, made for none.
        let wide = b"*1073741824\r\n".repeat(16);
        assert_eq!(Reply::parse(&wide), Ok(None));
        assert_eq!(ReplyScanner::new().scan(&wide), Ok(None));
        let line = [&b"+"[..], &vec![b'a'; REPLY_LINE_BYTES_MAX + 1]].concat();
        assert_eq!(Reply::parse(&line[..line.len() - 1]), Ok(None));
        assert_eq!(Reply::parse(&line), Err(ReplyError::LineEnd));
    }

    #[test]
    fn a_scanner_goes_on_where_it_stopped() {
        let input = b"*2\r\n%1\r\n+a\r\n$3\r\nabc\r\n|1\r\n+b\r\n:1\r\n_\r\n:9\r\n";
        let mut scanner = ReplyScanner::new();
        for end in 0..input.len() - 4 {
            assert_eq!(scanner.scan(&input[..end]), Ok(None), "{end}");
        }
        assert_eq!(scanner.scan(input), Ok(Some(input.len() - 4)));
        assert_eq!(scanner.scan(b":9\r\n"), Ok(Some(4)));
    }

    #[test]
    fn a_reply_is_written_as_it_was_read() {
        let input =
            b"*9\r\n+OK\r\n-ERR\r\n:1\r\n$1\r\na\r\n%1\r\n_\r\n#t\r\n~0\r\n>0\r\n,1.5\r\n(12\r\n";
        let mut out = Vec::new();
        whole(input).write(&mut ReplyWriter::new(&mut out, Version::Resp3));
        assert_eq!(out, input);
    }
}

//! Replies, written as Redis 7 writes them.

use crate::number::{Decimal, write_double};
use crate::version::Version;

/// Appends replies to a buffer, in the version that the client speaks.
///
/// Each method writes one whole reply, but for [`array`](ReplyWriter::array) and its like: they
/// write a header, and as many replies as they announce must follow. Nothing is checked about
/// that: a machine that miscounts breaks its connection's stream.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    out: &'a mut Vec<u8>,
    version: Version,
}

/// Where an aggregate begins whose number of elements is known only at its end.
#[derive(Debug)]
#[must_use = "the header is written when the aggregate ends"]
pub struct Mark {
    at: usize,
}

impl<'a> ReplyWriter<'a> {
    /// A writer that appends to `out`, whatever that holds already.
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>, version: Version) -> ReplyWriter<'a> {
        ReplyWriter { out, version }
    }

    /// The version that is written.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// How many bytes the buffer holds by now, those from before this writer included.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.out.len()
    }

    /// Takes back everything that was written since the buffer held `len_bytes` bytes: for a reply
    /// that turns out to be an error, or too long.
    pub fn truncate(&mut self, len_bytes: usize) {
        self.out.truncate(len_bytes);
    }

    /// `+text`. Line ends in the text become spaces: they would end the reply.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// `-text`, the text beginning with its code: `ERR ..`, `WRONGTYPE ..`.
    ///
    /// Line ends in the text, which may quote what the client sent, become spaces, as in Redis.
    /// Bytes that aren't UTF-8 are written as they are.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// `:value`.
    pub fn integer(&mut self, value: i64) {
        self.header(b':', Decimal::new(value));
    }

    /// `:count`, for lengths: a count beyond 63 bits cannot be, as nothing has so many elements.
    pub fn count(&mut self, count: usize) {
        self.header(b':', Decimal::of_usize(count));
    }

    /// `$length` and the bytes.
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.out.reserve(bytes.len() + 32);
        self.header(b'$', Decimal::of_usize(bytes.len()));
        self.out.extend_from_slice(bytes);
        self.end_line();
    }

    /// An integer as a bulk string, as a client is given a value that is one.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(Decimal::new(value).as_bytes());
    }

    /// "There is no such value": `_`, and in version 2 the bulk string of length -1.
    pub fn null(&mut self) {
        match self.version {
            Version::Resp2 => self.out.extend_from_slice(b"$-1\r\n"),
            Version::Resp3 => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// "There is no such list": `_`, and in version 2 the array of length -1.
    pub fn null_array(&mut self) {
        match self.version {
            Version::Resp2 => self.out.extend_from_slice(b"*-1\r\n"),
            Version::Resp3 => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// Announces an array; `count` replies follow.
    pub fn array(&mut self, count: usize) {
        self.header(b'*', Decimal::of_usize(count));
    }

    /// Announces a map; `pairs` times a key and a value follow. In version 2 an array of both.
    pub fn map(&mut self, pairs: usize) {
        let (kind, count) = self.map_header(pairs);
        self.header(kind, Decimal::of_usize(count));
    }

    /// Announces a set; `count` replies follow. In version 2 an array.
    pub fn set(&mut self, count: usize) {
        self.header(self.kind(b'~'), Decimal::of_usize(count));
    }

    /// Announces a push, which answers no request; `count` replies follow. In version 2 an array.
    pub fn push(&mut self, count: usize) {
        self.header(self.kind(b'>'), Decimal::of_usize(count));
    }

    /// A double (see [`write_double`]); in version 2 a bulk string.
    pub fn double(&mut self, value: f64) {
        if self.version == Version::Resp3 {
            self.out.push(b',');
            write_double(self.out, value);
            return self.end_line();
        }
        // The longest, such as -2.2250738585072014e-308, has 24 bytes.
        let mut text = Vec::with_capacity(24);
        write_double(&mut text, value);
        self.bulk(&text);
    }

    /// `#t` or `#f`; in version 2 the integers 1 and 0.
    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.version, value) {
            (Version::Resp2, false) => b":0\r\n",
            (Version::Resp2, true) => b":1\r\n",
            (Version::Resp3, false) => b"#f\r\n",
            (Version::Resp3, true) => b"#t\r\n",
        });
    }

    /// An integer of any size, as its digits; in version 2 a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        match self.version {
            Version::Resp2 => self.bulk(digits),
            Version::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text for people, whose `format` is `txt` or `mkd`; in version 2 a bulk string without it.
    pub fn verbatim(&mut self, format: [u8; 3], text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.version {
            Version::Resp2 => self.bulk(text),
            Version::Resp3 => {
                self.header(b'=', Decimal::of_usize(text.len() + 4));
                self.out.extend_from_slice(&format);
                self.out.push(b':');
                self.out.extend_from_slice(text);
                self.end_line();
            }
        }
    }

    /// Appends replies that are written already, in the same version.
    pub fn raw(&mut self, replies: &[u8]) {
        self.out.extend_from_slice(replies);
    }

    /// Begins an aggregate whose number of elements is not known yet: they follow, and then the
    /// mark is handed to [`end_array`](ReplyWriter::end_array) or its like. Marks may nest.
    pub fn begin(&self) -> Mark {
        Mark { at: self.out.len() }
    }

    /// Ends an array that began at `mark` and has `count` elements. Moves its bytes up once.
    pub fn end_array(&mut self, mark: Mark, count: usize) {
        self.insert_header(mark, b'*', count);
    }

    /// Ends a map that began at `mark` and has so many pairs.
    pub fn end_map(&mut self, mark: Mark, pairs: usize) {
        let (kind, count) = self.map_header(pairs);
        self.insert_header(mark, kind, count);
    }

    /// Ends a set that began at `mark` and has `count` elements.
    pub fn end_set(&mut self, mark: Mark, count: usize) {
        self.insert_header(mark, self.kind(b'~'), count);
    }

    fn insert_header(&mut self, mark: Mark, kind: u8, count: usize) {
        let body_len = self.out.len() - mark.at;
        self.header(kind, Decimal::of_usize(count));
        self.out[mark.at..].rotate_left(body_len);
    }

    fn map_header(&self, pairs: usize) -> (u8, usize) {
        match self.version {
            Version::Resp2 => (b'*', pairs * 2),
            Version::Resp3 => (b'%', pairs),
        }
    }

    /// An aggregate's first byte: version 2 knows arrays alone.
    fn kind(&self, kind: u8) -> u8 {
        match self.version {
            Version::Resp2 => b'*',
            Version::Resp3 => kind,
        }
    }

    fn header(&mut self, kind: u8, number: Decimal) {
        self.out.push(kind);
        self.out.extend_from_slice(number.as_bytes());
        self.end_line();
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        for byte in &mut self.out[start..] {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.end_line();
    }

    fn end_line(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, write: impl FnOnce(&mut ReplyWriter<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut ReplyWriter::new(&mut out, version));
        String::from_utf8(out).expect("the tests write text")
    }

    /// What both versions make of the same reply, version 2 first.
    fn both(write: impl Fn(&mut ReplyWriter<'_>)) -> (String, String) {
        (
            written(Version::Resp2, &write),
            written(Version::Resp3, &write),
        )
    }

    fn pair(resp2: &str, resp3: &str) -> (String, String) {
        (resp2.to_owned(), resp3.to_owned())
    }

    #[test]
    fn what_both_versions_have_is_written_alike() {
        let same = |text: &str| pair(text, text);
        assert_eq!(both(|w| w.simple("PONG")), same("+PONG\r\n"));
        assert_eq!(both(|w| w.ok()), same("+OK\r\n"));
        assert_eq!(both(|w| w.error("ERR no")), same("-ERR no\r\n"));
        assert_eq!(both(|w| w.integer(-7)), same(":-7\r\n"));
        assert_eq!(both(|w| w.count(0)), same(":0\r\n"));
        assert_eq!(both(|w| w.bulk("a\r\nb")), same("$4\r\na\r\nb\r\n"));
        assert_eq!(both(|w| w.bulk("")), same("$0\r\n\r\n"));
        assert_eq!(both(|w| w.bulk_integer(-10)), same("$3\r\n-10\r\n"));
        assert_eq!(both(|w| w.array(2)), same("*2\r\n"));
        assert_eq!(both(|w| w.raw(b":1\r\n:2\r\n")), same(":1\r\n:2\r\n"));
    }

    #[test]
    fn what_version_two_lacks_is_put_into_its_words() {
        assert_eq!(both(|w| w.null()), pair("$-1\r\n", "_\r\n"));
        assert_eq!(both(|w| w.null_array()), pair("*-1\r\n", "_\r\n"));
        assert_eq!(both(|w| w.map(3)), pair("*6\r\n", "%3\r\n"));
        assert_eq!(both(|w| w.set(3)), pair("*3\r\n", "~3\r\n"));
        assert_eq!(both(|w| w.push(3)), pair("*3\r\n", ">3\r\n"));
        assert_eq!(both(|w| w.double(0.5)), pair("$3\r\n0.5\r\n", ",0.5\r\n"));
        let least = pair("$4\r\n-inf\r\n", ",-inf\r\n");
        assert_eq!(both(|w| w.double(f64::NEG_INFINITY)), least);
        assert_eq!(both(|w| w.boolean(true)), pair(":1\r\n", "#t\r\n"));
        assert_eq!(both(|w| w.boolean(false)), pair(":0\r\n", "#f\r\n"));
        assert_eq!(
            both(|w| w.big_number("12")),
            pair("$2\r\n12\r\n", "(12\r\n")
        );
        let text = pair("$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
        assert_eq!(both(|w| w.verbatim(*b"txt", "hi")), text);
    }

    #[test]
    fn line_ends_in_a_line_become_spaces() {
        assert_eq!(
            both(|w| w.error("ERR unknown command 'a\r\nb'")),
            pair(
                "-ERR unknown command 'a  b'\r\n",
                "-ERR unknown command 'a  b'\r\n"
            )
        );
        assert_eq!(both(|w| w.simple("a\nb")), pair("+a b\r\n", "+a b\r\n"));
    }

    #[test]
    fn a_header_is_put_before_what_was_written_since() {
        let nested = both(|w| {
            w.integer(9);
            let outer = w.begin();
            let inner = w.begin();
            w.bulk("a");
            w.integer(1);
            w.end_map(inner, 1);
            let empty = w.begin();
            w.end_set(empty, 0);
            w.end_array(outer, 2);
        });
        assert_eq!(
            nested,
            pair(
                ":9\r\n*2\r\n*2\r\n$1\r\na\r\n:1\r\n*0\r\n",
                ":9\r\n*2\r\n%1\r\n$1\r\na\r\n:1\r\n~0\r\n"
            )
        );
    }

    #[test]
    fn a_reply_can_be_taken_back() {
        let kept = written(Version::Resp3, |w| {
            w.ok();
            let before = w.len_bytes();
            w.array(1_000);
            w.truncate(before);
            w.error("ERR too long");
        });
        assert_eq!(kept, "+OK\r\n-ERR too long\r\n");
    }
}

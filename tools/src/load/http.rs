//! Responses of HTTP 1.1, as etcd's JSON gateway sends them.

use std::borrow::Cow;

/// Most header fields of a response.
const FIELDS_MAX: usize = 32;
/// What every good answer of etcd's has in its header.
pub const REVISION: &str = "\"revision\":";

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply<'a> {
    /// Bytes of it, head and body.
    pub length: usize,
    /// The status code.
    pub status: u16,
    /// The body, without what divides it into chunks.
    pub body: Cow<'a, [u8]>,
}

impl<'a> HttpReply<'a> {
    /// The response that `bytes` begin with, if it is whole.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let parsed = head.parse(bytes).map_err(|error| error.to_string())?;
        let httparse::Status::Complete(begin) = parsed else {
            return Ok(None);
        };
        let field = |name: &str| {
            let mut fields = head.headers.iter();
            let found = fields.find(|field| field.name.eq_ignore_ascii_case(name));
            found.map(|field| field.value.trim_ascii())
        };
        let is_chunked =
            field("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"));
        let body = if is_chunked {
            chunks(&bytes[begin..])?
        } else {
            let length = field("Content-Length").ok_or("a response has no length")?;
            let length = str::from_utf8(length).ok().and_then(|it| it.parse().ok());
            let length: usize = length.ok_or("the length of a response is no number")?;
            let body = bytes[begin..].get(..length);
            body.map(|body| (length, Cow::Borrowed(body)))
        };
        Ok(body.map(|(length, body)| Self {
            length: begin + length,
            status: head.code.unwrap_or_default(),
            body,
        }))
    }

    /// That it has status 200 and these words in its body.
    ///
    /// # Errors
    /// What is not, in words.
    pub fn check(&self, words: &str) -> Result<(), String> {
        let mut places = self.body.windows(words.len());
        if self.status == 200 && places.any(|place| place == words.as_bytes()) {
            return Ok(());
        }
        let body = self.body.trim_ascii_end().escape_ascii();
        Err(format!("a request was answered '{} {body}'", self.status))
    }
}

/// How long a body is as it was sent, and what it comes to.
type Body<'a> = (usize, Cow<'a, [u8]>);

/// A body in chunks, if it is whole.
fn chunks(bytes: &[u8]) -> Result<Option<Body<'_>>, String> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let size = httparse::parse_chunk_size(&bytes[at..]);
        let size = size.map_err(|_| "a chunk of a response has no size")?;
        let httparse::Status::Complete((begin, size)) = size else {
            return Ok(None);
        };
        let size = usize::try_from(size).map_err(|_| "a chunk is too long")?;
        let begin = at + begin;
        let Some(end) = begin.checked_add(size) else {
            return Err("a chunk is too long".to_owned());
        };
        let Some(line) = bytes.get(end..).and_then(|rest| rest.get(..2)) else {
            return Ok(None);
        };
        if line != b"\r\n" {
            return Err("a chunk of a response does not end where it should".to_owned());
        }
        body.extend_from_slice(&bytes[begin..end]);
        at = end + 2;
        if size == 0 {
            return Ok(Some((at, body.into())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 28\r\n\r\n\
        {\"header\":{\"revision\":\"12\"}}";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        a\r\n{\"header\":\r\n12\r\n{\"revision\":\"12\"}}\r\n0\r\n\r\n";

    #[test]
    fn a_response_is_whole_at_its_last_byte_and_not_before() {
        for response in [PLAIN, CHUNKED] {
            for cut in 0..response.len() {
                assert_eq!(HttpReply::parse(&response[..cut]), Ok(None), "{cut}");
            }
            let more = [response, b"HTTP/1.1"].concat();
            let reply = HttpReply::parse(&more).unwrap().unwrap();
            assert_eq!((reply.length, reply.status), (response.len(), 200));
            assert_eq!(&*reply.body, br#"{"header":{"revision":"12"}}"#);
            assert_eq!(reply.check(REVISION), Ok(()));
        }
    }

    #[test]
    fn what_is_no_good_answer_is_told_in_words() {
        let refused = b"HTTP/1.1 503 Unavailable\r\nContent-Length: 12\r\n\r\n{\"code\":14}\n";
        let reply = HttpReply::parse(refused).unwrap().unwrap();
        assert!(
            reply
                .check(REVISION)
                .unwrap_err()
                .contains("'503 {\\\"code\\\":14}'")
        );
        let failed = b"HTTP/1.1 500 No\r\nContent-Length: 14\r\n\r\n{\"revision\":1}";
        let reply = HttpReply::parse(failed).unwrap().unwrap();
        assert!(reply.check(REVISION).unwrap_err().contains("'500 "));
        let strange = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let reply = HttpReply::parse(strange).unwrap().unwrap();
        assert!(reply.check(REVISION).unwrap_err().contains("'200 ok'"));
        for nonsense in [
            &b"SSH-2.0\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert!(HttpReply::parse(nonsense).is_err(), "{nonsense:?}");
        }
    }
}

//! What holds for any bytes, however they are cut into pieces.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::collection::vec;
use proptest::prelude::*;
use standin_resp::Version;
use standin_resp::number::{Decimal, parse_integer, write_double};
use standin_resp::reply::{Reply, ReplyError, ReplyScanner};
use standin_resp::request::{Limits, ProtocolError, RequestParser};
use standin_resp::writer::ReplyWriter;

type Arguments = Vec<Vec<u8>>;

/// What a connection's bytes come to.
#[derive(Debug, PartialEq)]
struct Outcome {
    requests: Vec<Arguments>,
    /// What was wrong, or how many bytes wait for more.
    end: Result<usize, ProtocolError>,
}

/// Reads as a connection does: bytes arrive, whole requests are taken off the front.
fn read(mut bytes: &[u8], limits: &Limits, mut pieces: impl Iterator<Item = usize>) -> Outcome {
    let mut parser = RequestParser::new();
    let mut buffer = Vec::new();
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let count = pieces.next().unwrap_or(bytes.len()).clamp(1, bytes.len());
        let (piece, rest) = bytes.split_at(count);
        bytes = rest;
        buffer.extend_from_slice(piece);
        let mut taken = 0;
        loop {
            match parser.parse(&buffer[taken..], limits) {
                Ok(Some(request)) => {
                    requests.push(request.iter().map(<[u8]>::to_vec).collect());
                    assert!(request.consumed() > 0);
                    taken += request.consumed();
                }
                Ok(None) => break,
                Err(error) => {
                    let end = Err(error);
                    return Outcome { requests, end };
                }
            }
        }
        assert!(parser.wanted() > 0, "it waits for something");
        buffer.drain(..taken);
    }
    let end = Ok(buffer.len());
    Outcome { requests, end }
}

fn encode(arguments: &Arguments, out: &mut Vec<u8>) {
    let mut writer = ReplyWriter::new(out, Version::Resp2);
    writer.array(arguments.len());
    arguments.iter().for_each(|argument| writer.bulk(argument));
}

/// Quotes any bytes so that a line can hold them.
fn quote(argument: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in argument {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0x20..=0x7e => out.push(*byte),
            byte => out.extend_from_slice(format!("\\x{byte:02X}").as_bytes()),
        }
    }
    out.push(b'"');
}

fn any_arguments() -> impl Strategy<Value = Arguments> {
    vec(vec(any::<u8>(), 0..40), 0..12)
}

/// Bytes that often are nearly requests.
fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => any_arguments().prop_map(|arguments| {
            let mut out = Vec::new();
            encode(&arguments, &mut out);
            out
        }),
        2 => (-3i64..20).prop_map(|count| format!("*{count}\r\n").into_bytes()),
        2 => (-3i64..90).prop_map(|len| format!("${len}\r\n").into_bytes()),
        3 => "[ -~\t\"'\\\\]{0,30}\r?\n".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..20),
        1 => Just(b"\r\n".to_vec()),
        1 => (0usize..200).prop_map(|count| vec![b'1'; count]),
    ];
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    (vec(part, 0..8), changes).prop_map(|(parts, changes)| {
        let mut bytes = parts.concat();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let bulk = prop_oneof![Just(512usize << 20), 0usize..40];
    let request = prop_oneof![Just(u32::MAX), 0u32..200];
    (bulk, request, any::<bool>()).prop_map(|(bulk_bytes_max, request_bytes_max, flag)| Limits {
        bulk_bytes_max,
        request_bytes_max,
        is_unauthenticated: flag,
    })
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let line = vec(0x20u8..0x7f, 0..12);
    let bytes = || vec(any::<u8>(), 0..20);
    let leaf = prop_oneof![
        line.clone().prop_map(Reply::Simple),
        line.prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        bytes().prop_map(Reply::Bulk),
        Just(Reply::Null),
        any::<bool>().prop_map(Reply::Boolean),
        proptest::num::f64::ANY
            .prop_filter("it equals itself", |value| !value.is_nan())
            .prop_map(Reply::Double),
        "-?[0-9]{1,40}".prop_map(|digits| Reply::BigNumber(digits.into_bytes())),
        bytes().prop_map(|text| Reply::Verbatim {
            format: *b"txt",
            text,
        }),
    ];
    leaf.prop_recursive(5, 40, 6, |item| {
        prop_oneof![
            vec(item.clone(), 0..6).prop_map(Reply::Array),
            vec(item.clone(), 0..6).prop_map(Reply::Set),
            vec(item.clone(), 0..6).prop_map(Reply::Push),
            vec((item.clone(), item), 0..6).prop_map(Reply::Map),
        ]
    })
}

/// What version 2 makes of a reply.
fn flattened(reply: &Reply) -> Reply {
    let all = |items: &[Reply]| Reply::Array(items.iter().map(flattened).collect());
    match reply {
        Reply::Null => Reply::NullBulk,
        Reply::Boolean(value) => Reply::Integer(i64::from(*value)),
        Reply::Double(value) => {
            let mut text = Vec::new();
            write_double(&mut text, *value);
            Reply::Bulk(text)
        }
        Reply::BigNumber(text) | Reply::Verbatim { text, .. } => Reply::Bulk(text.clone()),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => all(items),
        Reply::Map(pairs) => {
            let both = |(key, value): &(Reply, Reply)| [flattened(key), flattened(value)];
            Reply::Array(pairs.iter().flat_map(both).collect())
        }
        reply => reply.clone(),
    }
}

fn written(reply: &Reply, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    reply.write(&mut ReplyWriter::new(&mut out, version));
    out
}

/// Finds where a reply ends from bytes that come in pieces.
fn scan(bytes: &[u8], pieces: &[usize]) -> Result<Option<usize>, ReplyError> {
    let mut scanner = ReplyScanner::new();
    let mut there = 0;
    for piece in pieces.iter().cycle() {
        there = bytes.len().min(there + piece.max(&1));
        match scanner.scan(&bytes[..there]) {
            Ok(None) if there < bytes.len() => {}
            end => return end,
        }
    }
    Ok(None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn requests_come_out_as_they_went_in(
        requests in vec((any_arguments(), any::<bool>()), 0..6),
        pieces in vec(1usize..60, 1..8),
    ) {
        let mut bytes = Vec::new();
        for (arguments, is_inline) in &requests {
            if *is_inline {
                for argument in arguments {
                    quote(argument, &mut bytes);
                    bytes.push(b' ');
                }
                bytes.extend_from_slice(b"\r\n");
            } else {
                encode(arguments, &mut bytes);
            }
        }
        let expected = Outcome {
            requests: requests.into_iter().map(|(arguments, _)| arguments).collect(),
            end: Ok(0),
        };
        let pieces = pieces.into_iter().cycle();
        prop_assert_eq!(read(&bytes, &Limits::default(), pieces), expected);
    }

    #[test]
    fn any_bytes_are_read_alike_however_they_are_cut(
        bytes in nearly_requests(),
        limits in any_limits(),
        pieces in vec(1usize..60, 1..8),
    ) {
        let at_once = read(&bytes, &limits, std::iter::empty());
        let in_pieces = read(&bytes, &limits, pieces.into_iter().cycle());
        prop_assert_eq!(&at_once, &in_pieces);
        let one_by_one = read(&bytes, &limits, std::iter::repeat(1));
        prop_assert_eq!(at_once, one_by_one);
    }

    #[test]
    fn what_is_within_the_limits_is_not_beyond_larger_ones(
        bytes in nearly_requests(),
        limits in any_limits(),
    ) {
        let strict = read(&bytes, &limits, std::iter::empty());
        let lax = read(&bytes, &Limits::default(), std::iter::empty());
        prop_assert!(lax.requests.starts_with(&strict.requests));
        if strict.end.is_ok() {
            prop_assert_eq!(strict, lax);
        } else {
            let longest = lax.requests.iter().flatten().map(Vec::len).max();
            let fits = bytes.len() + 2 <= limits.request_bytes_max as usize
                && limits.bulk_bytes_max >= bytes.len()
                && longest.is_none_or(|len| len <= limits.bulk_bytes_max);
            // Where nothing was too long, the larger limits find the same fault.
            if fits && !limits.is_unauthenticated && lax.end.is_err() {
                prop_assert_eq!(strict.end, lax.end);
            }
        }
    }

    #[test]
    fn replies_come_out_as_they_went_in(reply in any_reply(), pieces in vec(1usize..40, 1..8)) {
        for (version, expected) in [
            (Version::Resp3, reply.clone()),
            (Version::Resp2, flattened(&reply)),
        ] {
            let bytes = written(&reply, version);
            prop_assert_eq!(Reply::parse(&bytes), Ok(Some((expected, bytes.len()))));
            prop_assert_eq!(scan(&bytes, &pieces), Ok(Some(bytes.len())));
            for end in 0..bytes.len() {
                prop_assert_eq!(Reply::parse(&bytes[..end]), Ok(None));
            }
        }
    }

    #[test]
    fn bytes_that_are_no_reply_are_judged_alike_by_parser_and_scanner(
        reply in any_reply(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        pieces in vec(1usize..40, 1..8),
    ) {
        let mut bytes = written(&reply, Version::Resp3);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let scanned = scan(&bytes, &pieces);
        prop_assert_eq!(scanned, ReplyScanner::new().scan(&bytes));
        match (Reply::parse(&bytes), scanned) {
            (Ok(parsed), scanned) => prop_assert_eq!(Ok(parsed.map(|(_, len)| len)), scanned),
            // What the scanner leaves to the parser.
            (Err(ReplyError::Depth | ReplyError::Line(b'=')), _) => {}
            (Err(error), scanned) => prop_assert_eq!(Err(error), scanned),
        }
    }

    #[test]
    fn integers_are_read_as_they_are_written(value in any::<i64>(), text in "-?[0-9]{0,21}") {
        let written = Decimal::new(value);
        let text_of_value = value.to_string();
        prop_assert_eq!(written.as_bytes(), text_of_value.as_bytes());
        prop_assert_eq!(parse_integer(written.as_bytes()), Some(value));
        // What is read is what std reads, in the one form that is written.
        let read = parse_integer(text.as_bytes());
        let expected = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn doubles_read_back_as_the_same_number(value in proptest::num::f64::ANY) {
        let mut text = Vec::new();
        write_double(&mut text, value);
        let text = String::from_utf8(text).unwrap();
        let back: f64 = text.parse().unwrap();
        if value.is_nan() {
            prop_assert!(back.is_nan());
        } else {
            prop_assert_eq!(back.to_bits(), value.to_bits(), "{}", text);
        }
        prop_assert!(text.len() <= 25, "{}", text);
    }
}

/// Lines of 64 KiB, to the byte, each ended by what ends it or not at all.
#[test]
fn a_line_may_have_64_kib() {
    let limits = Limits::default();
    let max = 64 << 10;
    let run = |bytes: &[u8]| {
        let at_once = read(bytes, &limits, std::iter::empty());
        let in_pieces = read(bytes, &limits, std::iter::repeat(1_000));
        assert_eq!(at_once, in_pieces);
        at_once.end
    };
    let line = |head: &[u8], fill: u8, len: usize, end: &[u8]| {
        [head, &vec![fill; len - 1], b"x", end].concat()
    };
    assert_eq!(run(&line(b"", b'a', max, b"\n")), Ok(0));
    assert_eq!(run(&line(b"", b'a', max - 1, b"\r\n")), Ok(0));
    assert_eq!(
        run(&line(b"", b'a', max, b"\r\n")),
        Err(ProtocolError::InlineLine)
    );
    assert_eq!(
        run(&line(b"", b'a', max + 1, b"\n")),
        Err(ProtocolError::InlineLine)
    );
    assert_eq!(run(&line(b"", b'a', max, b"")), Ok(max));
    let number = line(b"*", b'1', max - 1, b"\r\n");
    assert_eq!(run(&number), Err(ProtocolError::MultibulkLength));
    assert_eq!(
        run(&line(b"*", b'1', max, b"\r\n")),
        Err(ProtocolError::MultibulkLine)
    );
    let number = line(b"*1\r\n$", b'1', max - 1, b"\r\n");
    assert_eq!(run(&number), Err(ProtocolError::BulkLength));
    assert_eq!(
        run(&line(b"*1\r\n$", b'1', max, b"\r\n")),
        Err(ProtocolError::BulkLine)
    );
}

/// A request may be as long as its limit, and what it announces counts before it is there.
#[test]
fn a_request_may_be_as_long_as_its_limit() {
    let bytes = b"*2\r\n$4\r\nECHO\r\n$3\r\nabc\r\n";
    let limits = |request_bytes_max| Limits {
        request_bytes_max,
        ..Limits::default()
    };
    let len = u32::try_from(bytes.len()).unwrap();
    let end = |limits: &Limits, bytes: &[u8]| read(bytes, limits, std::iter::empty()).end;
    assert_eq!(end(&limits(len), bytes), Ok(0));
    let too_long = Err(ProtocolError::RequestBytes);
    assert_eq!(end(&limits(len - 1), bytes), too_long);
    assert_eq!(end(&limits(len - 1), &bytes[..18]), too_long, "announced");
    assert_eq!(end(&limits(len - 1), &bytes[..17]), Ok(17));
    assert_eq!(end(&limits(5), b"PING\n"), Ok(0));
    assert_eq!(end(&limits(4), b"PING\n"), too_long);
    assert_eq!(end(&limits(4), b"PING"), too_long);
    assert_eq!(end(&limits(0), b"P"), too_long);
}

/// The same parser reads on after requests of any size, and says what it waits for.
#[test]
fn a_parser_begins_anew_after_each_request() {
    let limits = Limits::default();
    let mut parser = RequestParser::new();
    let mut bytes = Vec::new();
    for count in [0, 3, 50_000, 1] {
        encode(&vec![b"abc".to_vec(); count], &mut bytes);
        let request = parser.parse(&bytes, &limits).unwrap().unwrap();
        assert_eq!(request.len(), count);
        assert_eq!(request.consumed(), bytes.len());
        assert_eq!(request.argument(count), None);
        assert!(request.iter().all(|argument| argument == b"abc"));
        bytes.clear();
    }
    assert!(parser.parse(b"", &limits).unwrap().is_none());
    assert_eq!(parser.wanted(), 1);
    assert!(parser.parse(b"*1\r\n$10\r\nab", &limits).unwrap().is_none());
    assert_eq!(parser.wanted(), 10);
    let request = parser
        .parse(b"*1\r\n$10\r\nabcdefghij\r\n", &limits)
        .unwrap();
    assert_eq!(format!("{:?}", request.unwrap()), "[abcdefghij]");
    assert_eq!(parser.wanted(), 0);
    let request = parser
        .parse(b"COMMAND GETKEYS get a\n", &limits)
        .unwrap()
        .unwrap();
    let held: Vec<&[u8]> = request.skipped(2).iter().collect();
    assert_eq!(held, [&b"get"[..], b"a"]);
    assert!(request.skipped(4).is_empty() && request.skipped(9).is_empty());
}

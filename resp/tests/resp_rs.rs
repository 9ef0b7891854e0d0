//! The same requests as the crate resp-rs reads, and where the two differ, why.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use resp_rs::resp2::{self, Frame};
use standin_resp::reply::Reply;
use standin_resp::request::{Limits, RequestParser};

/// The first request's arguments and length as ours reads it.
fn ours(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let mut parser = RequestParser::new();
    let request = parser.parse(bytes, &Limits::default()).ok()??;
    let arguments = request.iter().map(<[u8]>::to_vec).collect();
    Some((arguments, request.consumed()))
}

/// The same as resp-rs reads it: it knows no requests, so they are arrays of bulk strings.
fn theirs(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (frame, rest) = resp2::parse_frame(Bytes::copy_from_slice(bytes)).ok()?;
    let arguments = frame.as_array()?.iter().map(|item| match item {
        Frame::BulkString(Some(bytes)) => Some(bytes.to_vec()),
        _ => None,
    });
    Some((arguments.collect::<Option<_>>()?, bytes.len() - rest.len()))
}

fn convert(frame: Frame) -> Reply {
    match frame {
        Frame::SimpleString(text) => Reply::Simple(text.to_vec()),
        Frame::Error(text) => Reply::Error(text.to_vec()),
        Frame::Integer(value) => Reply::Integer(value),
        Frame::BulkString(Some(bytes)) => Reply::Bulk(bytes.to_vec()),
        Frame::BulkString(None) => Reply::NullBulk,
        Frame::Array(Some(items)) => Reply::Array(items.into_iter().map(convert).collect()),
        Frame::Array(None) => Reply::NullArray,
    }
}

/// Arrays, strings and numbers of version 2, now and then with a fault.
fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => (0usize..4).prop_map(|count| format!("*{count}\r\n").into_bytes()),
        8 => vec(any::<u8>(), 0..12).prop_map(|bytes| {
            [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
        }),
        2 => any::<i32>().prop_map(|value| format!(":{value}\r\n").into_bytes()),
        1 => "[+-][a-z]{0,5}\r\n".prop_map(String::into_bytes),
        1 => Just(b"$-1\r\n".to_vec()),
        1 => Just(b"*-1\r\n".to_vec()),
    ];
    vec(part, 1..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_resp_rs_takes_for_a_request_is_the_same_request(
        body in nearly_frames(),
        count in 0usize..4,
    ) {
        let bytes = [format!("*{count}\r\n").as_bytes(), &body].concat();
        let (ours, theirs) = (ours(&bytes), theirs(&bytes));
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn what_resp_rs_takes_for_a_reply_is_the_same_reply(bytes in nearly_frames()) {
        let theirs = resp2::parse_frame(Bytes::from(bytes.clone())).ok();
        let theirs = theirs.map(|(frame, rest)| (convert(frame), bytes.len() - rest.len()));
        prop_assert_eq!(Reply::parse(&bytes).ok().flatten(), theirs);
    }
}

/// Each of these is read by one of the two alone. Ours does what Redis 7 does with a request.
#[test]
fn where_the_two_differ_ours_does_as_redis_does() {
    let ours_alone: [(&[u8], &[&[u8]]); 5] = [
        // A line as one types it.
        (b"PING\r\n", &[b"PING"]),
        // An array of negative length is nothing at all.
        (b"*-5\r\n", &[]),
        // Redis passes two bytes behind an argument, and one behind a carriage return, unseen.
        (b"*1\r\n$4\r\nPINGxy", &[b"PING"]),
        (b"*1\rx$4\r\nPING\r\n", &[b"PING"]),
        (b"*1\r\n$4\rxPING\r\n", &[b"PING"]),
    ];
    for (bytes, arguments) in ours_alone {
        let expected: Vec<Vec<u8>> = arguments.iter().map(|word| word.to_vec()).collect();
        assert_eq!(
            ours(bytes),
            Some((expected, bytes.len())),
            "{}",
            bytes.escape_ascii()
        );
        assert_eq!(theirs(bytes), None, "{}", bytes.escape_ascii());
    }
    // Redis reads numbers in one form alone.
    for bytes in [&b"*01\r\n$4\r\nPING\r\n"[..], b"*1\r\n$04\r\nPING\r\n"] {
        assert_eq!(ours(bytes), None, "{}", bytes.escape_ascii());
        assert!(theirs(bytes).is_some(), "{}", bytes.escape_ascii());
    }
}

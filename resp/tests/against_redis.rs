//! Requests, good and bad, as a real redis-server takes them.
//!
//! For each input our parser says which requests it holds and what is wrong behind them. The server is
//! given the input, and, on another connection, those requests in their plain form: it must answer the
//! same, and then with our error's words.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "it runs a real server"
)]

mod redis;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use redis::Redis;
use standin_resp::Version;
use standin_resp::request::{Limits, ProtocolError, RequestParser};
use standin_resp::writer::ReplyWriter;

/// What our parser makes of some bytes: the requests in their plain form, and what was wrong.
fn ours(bytes: &[u8], limits: &Limits) -> (Vec<u8>, Option<ProtocolError>) {
    let mut parser = RequestParser::new();
    let (mut plain, mut at) = (Vec::new(), 0);
    loop {
        match parser.parse(&bytes[at..], limits) {
            Ok(None) => return (plain, None),
            Err(error) => return (plain, Some(error)),
            Ok(Some(request)) => {
                let mut writer = ReplyWriter::new(&mut plain, Version::Resp2);
                writer.array(request.len());
                request.iter().for_each(|argument| writer.bulk(argument));
                at += request.consumed();
            }
        }
    }
}

/// Holds that the server takes these bytes as our parser does.
fn compare(redis: &Redis, bytes: &[u8], limits: &Limits) {
    let (plain, error) = ours(bytes, limits);
    let mut expected = redis.says(&plain);
    let said = match error {
        None => redis.says(bytes),
        Some(error) => {
            error.write(&mut ReplyWriter::new(&mut expected, Version::Resp2));
            redis.says_and_closes(bytes)
        }
    };
    let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(
        show(&said),
        show(&expected),
        "{}",
        show(&bytes[..bytes.len().min(100)])
    );
}

/// One of each thing that can be wrong, and of what looks wrong and isn't.
fn cases() -> Vec<Vec<u8>> {
    let repeated =
        |head: &str, byte: u8, count: usize| [head.as_bytes(), &vec![byte; count]].concat();
    let mut cases: Vec<Vec<u8>> = [
        &b"*\r\n"[..],
        b"*a\r\n",
        b"*-\r\n",
        b"*-0\r\n",
        b"*01\r\n",
        b"*+1\r\n",
        b"*1 \r\n",
        b"*2147483648\r\n",
        b"*-9223372036854775809\r\n",
        b"*-1\r\nPING\r\n",
        b"*0\r\nPING\r\n",
        b"*1\r\n\r\n",
        b"*1\r\nxPING\r\n",
        b"*1\r\n*1\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n\xff\r\n",
        b"*1\r\n\n\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$-0\r\n",
        b"*1\r\n$+4\r\n",
        b"*1\r\n$ 4\r\n",
        b"*1\r\n$04\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$536870912\r\n",
        b"*1\r\n$9223372036854775808\r\n",
        b"*1\r\n$4\rXPINGYY",
        b"*1\rX$4\r\nPING\r\n",
        b"*1\n$4\nPING\n",
        b"*1\r\n$4\r\nPINGxyPING\r\n",
        b"*1\r\n$0\r\n\r\n",
        b"*3\r\n$3\r\nSET\r\n",
        b"*2\r\n$4\r\nECHO\r\n$2\r\nabXX*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$4\r\nECHO\r\n$6\r\na\r\n\0b\n\r\n",
        b"*1\r\n$4\r\nPING",
        b"*1\r\n$4\r\nPING\r",
        b"\"abc\r\n",
        b"'abc\r\n",
        b"\"abc\"d\r\n",
        b"'a'b\r\n",
        b"ECHO a\"b c\"\r\n",
        b"ECHO a\"b c\"d\r\n",
        b"echo \"\\x41\\n\\q\\x4\\xZZ\"\r\n",
        b"echo '\\'\\n\\x41'\r\n",
        b"echo \"\\\"\r\n",
        b"echo\x0ba\r\n",
        b"\x0becho\x0ca b\r\n",
        b"echo a\x0bb\r\n",
        b"echo \"a\"\x0bb\r\n",
        b"\r\n\r\nPING\r\n",
        b"\n",
        b"PING\n",
        b"PI\rNG\r\n",
        b"PING\r\r\n",
        b"ECHO \xff\r\n",
        b" *1\r\n",
        b"$4\r\nPING\r\n",
        b"\"\"\r\n",
        b"'' a\r\n",
        b"ping\tx\r\n",
        b"PING",
        b"",
        b"SET a \"b\r\nPING\r\n",
        b"  ECHO   'a b'  \r\n",
    ]
    .iter()
    .map(|bytes| bytes.to_vec())
    .collect();
    let max = 64 << 10;
    for count in [max - 1, max, max + 1, max + 5_000] {
        cases.push(repeated("", b'a', count));
        cases.push(repeated("*", b'1', count));
        cases.push(repeated("*1\r\n$", b'1', count));
        cases.push(repeated("*1\r\n", b'x', count));
    }
    cases
}

#[test]
fn bad_requests_are_refused_as_redis_refuses_them() {
    let Some(redis) = Redis::start("bad_requests_are_refused_as_redis_refuses_them", &[]) else {
        return;
    };
    for case in cases() {
        compare(&redis, &case, &Limits::default());
    }
    // One of each error was among them, but for what Redis has no words for or asks for a password.
    let seen = |error: ProtocolError| {
        let is_it = |case: &Vec<u8>| ours(case, &Limits::default()).1 == Some(error);
        assert!(cases().iter().any(is_it), "{error}");
    };
    seen(ProtocolError::MultibulkLength);
    seen(ProtocolError::MultibulkLine);
    seen(ProtocolError::ExpectedBulk(b'x'));
    seen(ProtocolError::BulkLength);
    seen(ProtocolError::BulkLine);
    seen(ProtocolError::InlineLine);
    seen(ProtocolError::UnbalancedQuotes);
}

#[test]
fn who_has_not_said_who_it_is_may_say_little() {
    let test = "who_has_not_said_who_it_is_may_say_little";
    let Some(redis) = Redis::start(test, &["--requirepass", "secret"]) else {
        return;
    };
    let limits = Limits {
        is_unauthenticated: true,
        ..Limits::default()
    };
    for bytes in [
        &b"*10\r\n"[..],
        b"*11\r\n",
        b"*1\r\n$16384\r\n",
        b"*1\r\n$16385\r\n",
        b"PING\r\n",
        b"*-1\r\n",
    ] {
        compare(&redis, bytes, &limits);
    }
    assert!(ours(b"*11\r\n", &limits).1.is_some());
    assert!(ours(b"*1\r\n$16385\r\n", &limits).1.is_some());
}

#[test]
fn an_argument_may_be_as_long_as_the_server_is_told() {
    let test = "an_argument_may_be_as_long_as_the_server_is_told";
    // The least that Redis accepts.
    let Some(redis) = Redis::start(test, &["--proto-max-bulk-len", "1048576"]) else {
        return;
    };
    let limits = Limits {
        bulk_bytes_max: 1 << 20,
        ..Limits::default()
    };
    compare(&redis, b"*1\r\n$1048577\r\n", &limits);
    let long = [
        &b"*2\r\n$4\r\nECHO\r\n$1048576\r\n"[..],
        &vec![b'v'; 1 << 20],
        b"\r\n",
    ]
    .concat();
    compare(&redis, &long, &limits);
}

/// Bytes that often are nearly requests, of commands that change nothing. No zero bytes in lines: there
/// Redis's search for the line's end stops, and it waits where we read on.
fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        3 => Just(b"ECHO".to_vec()),
        2 => Just(b"ping".to_vec()),
        4 => vec(1u8.., 0..10),
    ];
    let array = vec(word, 0..4).prop_map(|arguments| {
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, Version::Resp2);
        writer.array(arguments.len());
        arguments.iter().for_each(|argument| writer.bulk(argument));
        out
    });
    let part = prop_oneof![
        6 => array,
        1 => (-2i64..5).prop_map(|count| format!("*{count}\r\n").into_bytes()),
        1 => (-2i64..20).prop_map(|len| format!("${len}\r\n").into_bytes()),
        4 => "(ECHO |ping |)[ -~\t\x0b\"'\\\\]{0,12}\r?\n".prop_map(String::into_bytes),
        1 => vec(1u8.., 0..8),
    ];
    let change = proptest::option::of((any::<prop::sample::Index>(), 1u8..));
    (vec(part, 1..6), change).prop_map(|(parts, change)| {
        let mut bytes = parts.concat();
        if let (Some((at, byte)), false) = (change, bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

#[test]
fn whatever_is_said_is_taken_as_redis_takes_it() {
    let Some(redis) = Redis::start("whatever_is_said_is_taken_as_redis_takes_it", &[]) else {
        return;
    };
    let mut runner = TestRunner::new(ProptestConfig::with_cases(3_000));
    let outcome = runner.run(&nearly_requests(), |bytes| {
        compare(&redis, &bytes, &Limits::default());
        Ok(())
    });
    outcome.expect("the server says the same");
}

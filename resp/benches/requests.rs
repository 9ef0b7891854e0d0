//! Requests parsed and replies written, beside the crate resp-rs: `cargo bench -p standin-resp`.
//!
//! Each line: what was done, millions of requests (or replies) a second of ours and of resp-rs, and
//! the ratio. Both in turns, the best of several rounds: on a machine that others use, the rest is
//! their doing. It prints; it judges nothing.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it measures time and prints what it measured"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use resp_rs::resp2;
use standin_resp::Version;
use standin_resp::reply::ReplyScanner;
use standin_resp::request::{Limits, RequestParser};
use standin_resp::writer::ReplyWriter;

const ROUNDS: usize = 15;
/// How many bytes are gone through in a round, about.
const ROUND_BYTES: usize = 32 << 20;
/// As much as one read brings, about.
const BUFFER_BYTES: usize = 64 << 10;

/// The best rate of both, in millions of things a second.
fn compare(what: &str, things: usize, mut ours: impl FnMut(), mut theirs: impl FnMut()) {
    let mut best = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        ours();
        let middle = Instant::now();
        theirs();
        best[0] = best[0].min(middle - start);
        best[1] = best[1].min(middle.elapsed());
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
    let [ours, theirs] = best.map(|best| things as f64 / best.as_secs_f64() / 1e6);
    println!(
        "{what:<44} {ours:8.2} M/s  resp-rs {theirs:8.2} M/s  ratio {:5.2}",
        ours / theirs
    );
}

/// As many of one request as fit into a buffer.
fn requests(arguments: &[&[u8]]) -> (Vec<u8>, usize) {
    let mut one = Vec::new();
    let mut writer = ReplyWriter::new(&mut one, Version::Resp2);
    writer.array(arguments.len());
    arguments.iter().for_each(|argument| writer.bulk(argument));
    let count = (BUFFER_BYTES / one.len()).max(1);
    (one.repeat(count), count)
}

/// The bytes come in whole; every argument is looked at, as a server would.
fn parse_whole(what: &str, arguments: &[&[u8]]) {
    let (buffer, count) = requests(arguments);
    let repeats = ROUND_BYTES / buffer.len();
    let shared = Bytes::from(buffer.clone());
    let limits = Limits::default();
    let mut parser = RequestParser::new();
    let ours = || {
        for _ in 0..repeats {
            let mut at = 0;
            while let Some(request) = parser.parse(&buffer[at..], &limits).expect("well formed") {
                for argument in request.iter() {
                    black_box(argument);
                }
                at += request.consumed();
            }
            assert_eq!(at, buffer.len());
        }
    };
    let theirs = || {
        for _ in 0..repeats {
            let mut rest = shared.clone();
            while !rest.is_empty() {
                let (frame, after) = resp2::parse_frame(rest).expect("well formed");
                for argument in frame.as_array().expect("an array") {
                    black_box(argument.as_bytes().expect("a bulk string"));
                }
                rest = after;
            }
        }
    };
    compare(what, count * repeats, ours, theirs);
}

/// The bytes come in pieces of a size; the buffer is kept by either side's parser.
fn parse_pieces(what: &str, arguments: &[&[u8]], piece: usize) {
    let (stream, count) = requests(arguments);
    let repeats = ROUND_BYTES / 4 / stream.len();
    let limits = Limits::default();
    let ours = || {
        for _ in 0..repeats {
            let mut parser = RequestParser::new();
            let mut buffer: Vec<u8> = Vec::new();
            for piece in stream.chunks(piece) {
                buffer.extend_from_slice(piece);
                let mut at = 0;
                while let Some(request) = parser.parse(&buffer[at..], &limits).expect("well formed")
                {
                    black_box(request.argument(0));
                    at += request.consumed();
                }
                buffer.drain(..at);
            }
        }
    };
    let theirs = || {
        for _ in 0..repeats {
            let mut parser = resp2::Parser::new();
            for piece in stream.chunks(piece) {
                parser.feed(Bytes::copy_from_slice(piece));
                while let Some(frame) = parser.next_frame().expect("well formed") {
                    black_box(frame.as_array().map(|items| items[0].as_bytes()));
                }
            }
        }
    };
    compare(what, count * repeats, ours, theirs);
}

fn write_replies() {
    let count = 1_000;
    let repeats = 1_000;
    let value = Bytes::from_static(&[b'v'; 64]);
    let mut out = Vec::with_capacity(count * 100);
    let ours = || {
        for _ in 0..repeats {
            out.clear();
            let mut writer = ReplyWriter::new(&mut out, Version::Resp2);
            for number in 0..count / 2 {
                writer.integer(i64::try_from(number * 977).expect("small"));
                writer.bulk(&value);
            }
            black_box(&out);
        }
    };
    let theirs = || {
        for _ in 0..repeats {
            for number in 0..count / 2 {
                let number = i64::try_from(number * 977).expect("small");
                black_box(resp2::frame_to_bytes(&resp2::Frame::Integer(number)));
                let bulk = resp2::Frame::BulkString(Some(value.clone()));
                black_box(resp2::frame_to_bytes(&bulk));
            }
        }
    };
    compare(
        "write integers and strings of 64 bytes",
        count * repeats,
        ours,
        theirs,
    );
}

fn scan_replies() {
    let one = b":1234\r\n$64\r\nvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n+OK\r\n";
    let buffer = one.repeat(BUFFER_BYTES / one.len());
    let count = BUFFER_BYTES / one.len() * 3;
    let repeats = ROUND_BYTES / buffer.len();
    let shared = Bytes::from(buffer.clone());
    let mut scanner = ReplyScanner::new();
    let ours = || {
        for _ in 0..repeats {
            let mut at = 0;
            while let Some(len) = scanner.scan(&buffer[at..]).expect("well formed") {
                at += len;
            }
            assert_eq!(at, buffer.len());
        }
    };
    let theirs = || {
        for _ in 0..repeats {
            let mut rest = shared.clone();
            while !rest.is_empty() {
                let (frame, after) = resp2::parse_frame(rest).expect("well formed");
                black_box(frame);
                rest = after;
            }
        }
    };
    compare("find the ends of replies", count * repeats, ours, theirs);
}

fn main() {
    let value = [b'v'; 64];
    let long = vec![b'v'; 16 << 10];
    let many: Vec<&[u8]> = std::iter::repeat_n(&b"member:0001"[..], 1_000).collect();
    parse_whole("parse PING", &[b"PING"]);
    parse_whole("parse INCR key", &[b"INCR", b"key:000000000001"]);
    parse_whole(
        "parse SET key, 64 bytes",
        &[b"SET", b"key:000000000001", &value],
    );
    parse_whole(
        "parse SET key, 16 KiB",
        &[b"SET", b"key:000000000001", &long],
    );
    parse_whole("parse 1,000 arguments", &many);
    let set: [&[u8]; 3] = [b"SET", b"key:000000000001", &value];
    parse_pieces("parse SET in pieces of 1,448 bytes", &set, 1_448);
    parse_pieces("parse SET in pieces of 50 bytes", &set, 50);
    let set_long: [&[u8]; 3] = [b"SET", b"key:000000000001", &long];
    parse_pieces("parse SET of 16 KiB in 1,448 bytes", &set_long, 1_448);
    parse_pieces("parse 1,000 arguments in 1,448 bytes", &many, 1_448);
    write_replies();
    scan_replies();
}

//! Requests are the same however the bytes of a connection are cut into reads, and what is read as a
//! reply is written back to the same reply.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use standin_resp::Version;
use standin_resp::reply::{Reply, ReplyError, ReplyScanner};
use standin_resp::request::{Limits, ProtocolError, RequestParser};
use standin_resp::writer::ReplyWriter;

/// What came of a connection's bytes: requests, then an error or bytes that wait for more.
#[derive(Debug, PartialEq)]
struct Outcome {
    requests: Vec<Vec<Vec<u8>>>,
    end: Result<Vec<u8>, ProtocolError>,
}

/// Reads as a connection does: what arrived is added, then whole requests are taken from the front.
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
                    assert!(request.consumed() <= limits.request_bytes_max as usize);
                    requests.push(request.iter().map(<[u8]>::to_vec).collect());
                    taken += request.consumed();
                }
                Ok(None) => break,
                Err(error) => {
                    let end = Err(error);
                    return Outcome { requests, end };
                }
            }
        }
        assert!(parser.wanted() > 0);
        buffer.drain(..taken);
    }
    let end = Ok(buffer);
    Outcome { requests, end }
}

fn requests(bytes: &[u8], limits: &Limits, pieces: &[u8]) {
    let at_once = read(bytes, limits, std::iter::empty());
    let pieces = pieces.iter().cycle().map(|piece| usize::from(*piece));
    assert_eq!(at_once, read(bytes, limits, pieces));

    // Written in their plain form they are the same requests.
    let mut plain = Vec::new();
    let mut writer = ReplyWriter::new(&mut plain, Version::Resp2);
    for request in &at_once.requests {
        writer.array(request.len());
        request.iter().for_each(|argument| writer.bulk(argument));
    }
    let again = read(&plain, &Limits::default(), std::iter::empty());
    assert_eq!(again.requests, at_once.requests);
    assert_eq!(again.end, Ok(Vec::new()));
}

fn replies(bytes: &[u8], pieces: &[u8]) {
    let scanned = ReplyScanner::new().scan(bytes);
    let mut scanner = ReplyScanner::new();
    let mut there = 0;
    let mut pieces = pieces.iter().cycle();
    let in_pieces = loop {
        there = bytes
            .len()
            .min(there + usize::from(*pieces.next().unwrap_or(&1)).max(1));
        match scanner.scan(&bytes[..there]) {
            Ok(None) if there < bytes.len() => {}
            end => break end,
        }
    };
    assert_eq!(scanned, in_pieces);
    let reply = match Reply::parse(bytes) {
        Ok(Some((reply, len))) => {
            assert_eq!(scanned, Ok(Some(len)));
            reply
        }
        Ok(None) => return assert_eq!(scanned, Ok(None)),
        // What only the parser judges.
        Err(ReplyError::Depth | ReplyError::Line(b'=')) => return,
        Err(error) => return assert_eq!(scanned, Err(error)),
    };
    // What it is written as, it is read from again: in version 3 the same, in version 2 something.
    for version in [Version::Resp2, Version::Resp3] {
        let mut out = Vec::new();
        reply.write(&mut ReplyWriter::new(&mut out, version));
        let (again, len) = Reply::parse(&out).expect("written well").expect("whole");
        assert_eq!(len, out.len());
        let mut twice = Vec::new();
        again.write(&mut ReplyWriter::new(&mut twice, version));
        assert_eq!(out, twice);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let (Ok(kind), Ok(pieces)) = (input.arbitrary::<u8>(), input.arbitrary::<[u8; 8]>()) else {
        return;
    };
    let bytes = input.take_rest();
    let limits = Limits {
        bulk_bytes_max: if kind & 2 == 0 { 512 << 20 } else { 20 },
        request_bytes_max: if kind & 4 == 0 { u32::MAX } else { 100 },
        is_unauthenticated: kind & 8 != 0,
    };
    match kind & 1 {
        0 => requests(bytes, &limits, &pieces),
        _ => replies(bytes, &pieces),
    }
});

//! Frames are the same however the bytes of a connection are cut into reads.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use standin_core::frame::{
    FRAME_PAYLOAD_BYTES_MAX, Frame, FrameError, FrameKind, HELLO_PAYLOAD_BYTES_MAX, encode_frame,
};

/// What came of a connection's bytes: frames, then an error or bytes that wait for more.
#[derive(Debug, PartialEq)]
struct Outcome {
    frames: Vec<(FrameKind, Vec<u8>)>,
    end: Result<Vec<u8>, FrameError>,
}

/// Reads as a connection does: what arrived is judged, then whole frames are taken from the front.
fn read(mut bytes: &[u8], mut pieces: impl Iterator<Item = usize>) -> Outcome {
    let mut buffer = Vec::new();
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let count = pieces.next().unwrap_or(bytes.len()).clamp(1, bytes.len());
        let (piece, rest) = bytes.split_at(count);
        bytes = rest;
        buffer.extend_from_slice(piece);
        let (whole, error) = judge(&buffer, frames.is_empty());
        let mut taken = 0;
        while taken < whole {
            let frame = Frame::decode_again(&buffer[taken..whole]).expect("it was whole");
            frames.push((frame.kind, frame.payload.to_vec()));
            taken += frame.len();
        }
        assert_eq!(taken, whole);
        if let Some(error) = error {
            let end = Err(error);
            return Outcome { frames, end };
        }
        buffer.drain(..whole);
    }
    let end = Ok(buffer);
    Outcome { frames, end }
}

/// How many bytes at the front are whole frames, and what is wrong behind them.
fn judge(buffer: &[u8], mut is_first: bool) -> (usize, Option<FrameError>) {
    let mut whole = 0;
    loop {
        let max = match is_first {
            true => HELLO_PAYLOAD_BYTES_MAX,
            false => FRAME_PAYLOAD_BYTES_MAX,
        };
        match Frame::decode(&buffer[whole..], max) {
            Ok(Some(frame)) => whole += frame.len(),
            Ok(None) => return (whole, None),
            Err(error) => return (whole, Some(error)),
        }
        is_first = false;
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let (Ok(is_sealed), Ok(pieces)) = (input.arbitrary::<bool>(), input.arbitrary::<[u8; 8]>())
    else {
        return;
    };
    let mut bytes = input.take_rest().to_vec();
    if is_sealed {
        standin_fuzz::seal_frames(&mut bytes);
    }
    let at_once = read(&bytes, std::iter::empty());
    let in_pieces = read(
        &bytes,
        pieces.iter().cycle().map(|piece| usize::from(*piece)),
    );
    assert_eq!(at_once, in_pieces);

    let mut again = Vec::new();
    for (kind, payload) in &at_once.frames {
        encode_frame(&mut again, *kind, |out| out.extend_from_slice(payload));
    }
    assert!(bytes.starts_with(&again), "encoded otherwise than it came");
});

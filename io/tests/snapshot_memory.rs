//! A snapshot is never in memory as a whole: alone in its process, so that what the process takes is what
//! snapshots take.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

mod sample;

use std::fs;
use std::io::Read;

use sample::snapshots::{open, point, put_in_place};

/// The most memory that this process ever had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let word = line.unwrap().split_whitespace().nth(1).unwrap();
    word.parse().unwrap()
}

#[test]
fn a_long_state_is_written_sent_received_and_read_in_little_memory() {
    const STATE_BYTES: u64 = 192 << 20;
    let (from, to) = (sample::root(), sample::root());
    let snapshots = open(from.path());
    let before = peak();
    let piece = vec![0x5a; 100_000];
    snapshots
        .write(snapshots.ticket(), point(1, 9), |out| {
            let mut state = std::io::repeat(0x5a).take(STATE_BYTES);
            std::io::copy(&mut state, &mut { out }).map(|_| ())
        })
        .unwrap();
    let sent = snapshots.newest().unwrap().snapshot.unwrap();
    let mut receiving = open(to.path()).receive(sent.header()).unwrap();
    while !receiving.is_whole() {
        let piece = sent.read_at(receiving.at(), 1 << 20).unwrap();
        receiving.put(receiving.at(), &piece).unwrap();
    }
    let checked = receiving.check().unwrap();
    let received = put_in_place(&open(to.path()), checked).unwrap();
    let mut state = received.state().unwrap();
    let mut read = 0;
    let mut buffer = vec![0; piece.len()];
    loop {
        let count = state.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        assert!(buffer[..count] == piece[..count]);
        read += count as u64;
    }
    assert_eq!(read, STATE_BYTES);
    let grown = peak() - before;
    assert!(
        grown < 24 << 10,
        "{grown} KiB for {} KiB",
        STATE_BYTES >> 10
    );
}

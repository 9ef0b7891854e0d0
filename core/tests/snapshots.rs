//! The snapshot format: what is written reads back, however it is cut into pieces, and neither damage nor
//! a missing end passes for a snapshot.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::io::{Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use standin_core::digest::{DigestChain, digest};
use standin_core::entry::{Index, LogTip};
use standin_core::identity::ClusterId;
use standin_core::machine::MachineId;
use standin_core::snapshot::{
    SNAPSHOT_BLOCK_BYTES, SNAPSHOT_BLOCK_HEADER_BYTES, SNAPSHOT_HEADER_BYTES,
    SNAPSHOT_STATE_BYTES_MAX, SnapshotError, SnapshotFlaw, SnapshotHeader, SnapshotPoint,
    SnapshotReader, SnapshotWriter, StateReader, encode_snapshot,
};
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, ViewNumber};

fn point() -> SnapshotPoint {
    SnapshotPoint {
        cluster: ClusterId(1),
        machine: MachineId::new("counter", 1).unwrap(),
        failed_version: 2,
        data_epoch: DataEpoch(2),
        tip: LogTip {
            index: Index(70),
            view: ViewNumber(3),
            chain: 0xdead_beef,
            time: WallTime(9),
        },
        view_first: Index(60),
        reply_digest: DigestChain(5),
    }
}

/// Reads it in pieces of so many bytes.
fn read_in(bytes: &[u8], piece: usize) -> Result<(SnapshotHeader, Vec<u8>), SnapshotError> {
    let mut reader = SnapshotReader::new();
    let mut state = Vec::new();
    for mut piece in bytes.chunks(piece) {
        while let Some(block) = reader.next(&mut piece)? {
            state.extend_from_slice(block);
        }
        assert!(piece.is_empty(), "it asks for more only if it took all");
    }
    reader.finish().map(|header| (header, state))
}

fn read(bytes: &[u8]) -> Result<(SnapshotHeader, Vec<u8>), SnapshotError> {
    read_in(bytes, bytes.len().max(1))
}

/// As a machine reads it.
fn read_as_stream(bytes: &[u8]) -> Result<Vec<u8>, SnapshotError> {
    let mut state = Vec::new();
    let outcome = StateReader::new(bytes).and_then(|mut stream| stream.read_to_end(&mut state));
    match outcome {
        Ok(_) => Ok(state),
        Err(error) => Err(*error.get_ref().unwrap().downcast_ref().unwrap()),
    }
}

/// A state that is no repetition of anything short.
fn state_of(length: usize) -> Vec<u8> {
    let mix = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7];
    (0_u64..).map(mix).take(length).collect()
}

/// Beginnings and ends of all parts, and places around them.
fn edges(snapshot: &[u8]) -> Vec<usize> {
    let mut edges = vec![0, SNAPSHOT_HEADER_BYTES];
    while *edges.last().unwrap() < snapshot.len() - SNAPSHOT_BLOCK_HEADER_BYTES {
        let at = *edges.last().unwrap();
        let length = u32::from_le_bytes(snapshot[at..at + 4].try_into().unwrap());
        edges.push(at + SNAPSHOT_BLOCK_HEADER_BYTES);
        edges.push(at + SNAPSHOT_BLOCK_HEADER_BYTES + length as usize);
    }
    edges.push(snapshot.len());
    let around = |at: usize| at.saturating_sub(9)..=at + 9;
    edges.into_iter().flat_map(around).collect()
}

const LENGTHS: [usize; 7] = [
    0,
    1,
    700,
    SNAPSHOT_BLOCK_BYTES - 1,
    SNAPSHOT_BLOCK_BYTES,
    SNAPSHOT_BLOCK_BYTES + 1,
    2 * SNAPSHOT_BLOCK_BYTES + 77,
];

#[test]
fn states_of_all_lengths_read_back_however_they_are_cut() {
    for length in LENGTHS {
        let state = state_of(length);
        let snapshot = encode_snapshot(point(), &state);
        let header = SnapshotHeader {
            point: point(),
            state_digest: digest(&state),
            state_bytes: length as u64,
        };
        assert_eq!(header.file_bytes(), snapshot.len() as u64);
        for piece in [1, 7, 191, 192, 4096, snapshot.len()] {
            let found = read_in(&snapshot, piece);
            assert!(
                found == Ok((header.clone(), state.clone())),
                "{length} in {piece}"
            );
        }
        assert!(read_as_stream(&snapshot) == Ok(state.clone()), "{length}");
        assert_eq!(
            StateReader::new(&snapshot[..]).unwrap().finish().unwrap(),
            header
        );
        // A state that comes in other pieces is the same snapshot.
        for piece in [1, 1000, SNAPSHOT_BLOCK_BYTES] {
            let mut writer = SnapshotWriter::new(Vec::new()).unwrap();
            for piece in state.chunks(piece) {
                writer.write_all(piece).unwrap();
            }
            let (found, mut bytes) = writer.finish(point()).unwrap();
            assert_eq!(found, header);
            assert_eq!(bytes[..SNAPSHOT_HEADER_BYTES], [0; SNAPSHOT_HEADER_BYTES]);
            assert_eq!(read(&bytes).unwrap_err().flaw, SnapshotFlaw::Magic);
            bytes[..SNAPSHOT_HEADER_BYTES].copy_from_slice(&header.encode());
            assert!(bytes == snapshot);
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let state = state_of(700);
    let mut snapshot = encode_snapshot(point(), &state);
    for bit in 0..snapshot.len() * 8 {
        snapshot[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&snapshot).is_err(), "bit {bit}");
        assert!(read_as_stream(&snapshot).is_err(), "bit {bit}");
        snapshot[bit / 8] ^= 1 << (bit % 8);
    }
    for length in LENGTHS {
        let mut snapshot = encode_snapshot(point(), &state_of(length));
        for at in edges(&snapshot) {
            if at >= snapshot.len() {
                continue;
            }
            snapshot[at] ^= 0x10;
            let error = read(&snapshot).unwrap_err();
            assert!(error.at <= at as u64, "byte {at} of {length}: {error}");
            snapshot[at] ^= 0x10;
        }
    }
}

#[test]
fn every_missing_end_and_every_byte_too_much_is_noticed() {
    let snapshot = encode_snapshot(point(), &state_of(700));
    for end in 0..snapshot.len() {
        let at = end as u64;
        let flaw = SnapshotFlaw::Short;
        assert_eq!(read(&snapshot[..end]), Err(SnapshotError { at, flaw }));
        assert_eq!(
            read_as_stream(&snapshot[..end]),
            Err(SnapshotError { at, flaw })
        );
    }
    for length in LENGTHS {
        let mut snapshot = encode_snapshot(point(), &state_of(length));
        for end in edges(&snapshot) {
            if end < snapshot.len() {
                let error = read(&snapshot[..end]).unwrap_err();
                assert_eq!(error.flaw, SnapshotFlaw::Short, "{end} of {length}");
                // A file system may fill up with zeros what it lost.
                let mut padded = snapshot[..end].to_vec();
                padded.resize(snapshot.len(), 0);
                assert!(
                    padded == snapshot || read(&padded).is_err(),
                    "{end} of {length}"
                );
            }
        }
        let at = snapshot.len() as u64;
        snapshot.push(0);
        let flaw = SnapshotFlaw::Long;
        assert_eq!(read(&snapshot).unwrap_err(), SnapshotError { at, flaw });
        assert_eq!(read_as_stream(&snapshot), Err(SnapshotError { at, flaw }));
    }
}

#[test]
fn blocks_of_another_snapshot_or_in_another_order_do_not_fit() {
    let block = SNAPSHOT_BLOCK_HEADER_BYTES + SNAPSHOT_BLOCK_BYTES;
    let (first, second) = (SNAPSHOT_HEADER_BYTES, SNAPSHOT_HEADER_BYTES + block);
    let state = state_of(3 * SNAPSHOT_BLOCK_BYTES);
    let snapshot = encode_snapshot(point(), &state);
    let mut other_state = state.clone();
    other_state[0] ^= 1;
    let other = encode_snapshot(point(), &other_state);

    let mut swapped = snapshot.clone();
    swapped[first..second].copy_from_slice(&snapshot[second..second + block]);
    swapped[second..second + block].copy_from_slice(&snapshot[first..second]);
    let mut mixed = snapshot.clone();
    mixed[second..second + block].copy_from_slice(&other[second..second + block]);
    assert!(other_state[SNAPSHOT_BLOCK_BYTES..] == state[SNAPSHOT_BLOCK_BYTES..]);
    let mut dropped = snapshot.clone();
    dropped.drain(first..second);
    for (what, damaged) in [("swapped", swapped), ("mixed", mixed), ("dropped", dropped)] {
        let flaw = read(&damaged).unwrap_err().flaw;
        assert_eq!(flaw, SnapshotFlaw::BlockChecksum, "{what}");
    }
    // The header of one and the blocks of another.
    let mut wrong_header = other;
    wrong_header[..first].copy_from_slice(&snapshot[..first]);
    let error = read(&wrong_header).unwrap_err();
    assert_eq!(error.flaw, SnapshotFlaw::EndMark);
    // An end mark that fits both, and still the digest tells.
    let mut forged = SnapshotHeader::decode(&snapshot).unwrap();
    forged.state_digest ^= 1;
    let mut writer = SnapshotWriter::new(Vec::new()).unwrap();
    writer.write_all(&state).unwrap();
    let (_, mut bytes) = writer.finish(point()).unwrap();
    bytes[..first].copy_from_slice(&forged.encode());
    let end = bytes.len() - SNAPSHOT_BLOCK_HEADER_BYTES;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&bytes[first + 2 * block + 4..first + 2 * block + 8]);
    sum.update(&bytes[12..16]);
    bytes[end + 4..].copy_from_slice(&sum.finalize().to_le_bytes());
    assert_eq!(read(&bytes).unwrap_err().flaw, SnapshotFlaw::StateDigest);
}

/// A header with a change whose checksum is right.
fn sealed(change: impl FnOnce(&mut [u8])) -> Result<SnapshotHeader, SnapshotFlaw> {
    let mut bytes = encode_snapshot(point(), &[]);
    bytes.truncate(SNAPSHOT_HEADER_BYTES);
    change(&mut bytes);
    let checksum = crc32fast::hash(&bytes[16..]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    SnapshotHeader::decode(&bytes)
}

#[test]
fn a_header_that_cannot_be_is_refused_though_its_checksum_is_right() {
    assert!(sealed(|_| {}).is_ok());
    assert_eq!(sealed(|bytes| bytes[8] = 2), Err(SnapshotFlaw::Version(2)));
    let u64_at = |at: usize, value: u64| {
        move |bytes: &mut [u8]| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes())
    };
    for (at, value) in [
        (32, 0),
        (32, 59),       // before the view began
        (32, u64::MAX), // no entry can follow
        (40, 0),
        (64, 0),
        (64, 71),
        (104, SNAPSHOT_STATE_BYTES_MAX + 1),
        (104, u64::MAX),
        (116, 0),             // a name of no bytes, and a byte where its version's name was
        (116, 33),            // a name that is longer than its field
        (152, 1),             // a version that failed is newer than what is executed
        (152, 2 | (1 << 32)), // and behind it there is nothing
        (184, 1),
    ] {
        let found = sealed(u64_at(at, value));
        assert_eq!(found, Err(SnapshotFlaw::Field), "{value} at {at}");
    }
}

/// What is said about the length is believed only when the bytes have come: a header may say anything.
#[test]
fn a_header_that_promises_much_costs_nothing() {
    let mut header = SnapshotHeader::decode(&encode_snapshot(point(), &[])).unwrap();
    header.state_bytes = SNAPSHOT_STATE_BYTES_MAX;
    let bytes = header.encode();
    let mut reader = SnapshotReader::new();
    assert_eq!(reader.next(&mut &bytes[..]), Ok(None));
    assert_eq!(reader.header(), Some(&header));
    let error = reader.finish().unwrap_err();
    assert_eq!((error.at, error.flaw), (192, SnapshotFlaw::Short));
}

/// What [`SnapshotReader::good`] is for: after a pause, another reader goes on from there.
#[test]
fn what_is_good_is_where_a_new_reader_can_go_on() {
    let snapshot = encode_snapshot(point(), &state_of(2 * SNAPSHOT_BLOCK_BYTES + 77));
    for end in edges(&snapshot) {
        let mut rest = &snapshot[..end.min(snapshot.len())];
        let mut reader = SnapshotReader::new();
        while reader.next(&mut rest).unwrap().is_some() {
            let read = end.min(snapshot.len()) - rest.len();
            assert_eq!(reader.good(), read as u64);
        }
        let good = usize::try_from(reader.good()).unwrap();
        assert!(good <= end);
        let whole = [&snapshot[..good], &snapshot[good..]].concat();
        assert!(read(&whole).is_ok());
    }
}

fn any_point() -> impl Strategy<Value = SnapshotPoint> {
    let numbers = (1..u64::MAX, 1..=u64::MAX, any::<u64>());
    let ids = (any::<u128>(), "[!-~]{1,32}", any::<u32>());
    let rest = (any::<u32>(), any::<u32>(), any::<u128>(), any::<u64>());
    (numbers, ids, rest).prop_map(|((index, view, time), (cluster, name, version), rest)| {
        let (chain, data_epoch, replies, first) = rest;
        SnapshotPoint {
            cluster: ClusterId(cluster),
            machine: MachineId::new(&name, version).unwrap(),
            failed_version: version.checked_add(1 + data_epoch % 3).unwrap_or(0),
            data_epoch: DataEpoch(data_epoch),
            tip: LogTip {
                index: Index(index),
                view: ViewNumber(view),
                chain,
                time: WallTime(time),
            },
            view_first: Index(1 + first % index),
            reply_digest: DigestChain(replies),
        }
    })
}

proptest! {
    #[test]
    fn any_snapshot_reads_back(
        point in any_point(),
        state in vec(any::<u8>(), 0..2000),
        piece in 1..3000_usize,
        bit in any::<prop::sample::Index>(),
        end in any::<prop::sample::Index>(),
    ) {
        let mut snapshot = encode_snapshot(point.clone(), &state);
        let (header, found) = read_in(&snapshot, piece).unwrap();
        prop_assert_eq!((&header.point, &found), (&point, &state));
        prop_assert!(read_in(&snapshot[..end.index(snapshot.len())], piece).is_err());
        let bit = bit.index(snapshot.len() * 8);
        snapshot[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(read_in(&snapshot, piece).is_err());
    }

    #[test]
    fn any_bytes_may_be_offered_as_a_snapshot(bytes in vec(any::<u8>(), 0..600)) {
        prop_assert!(read(&bytes).is_err());
    }
}

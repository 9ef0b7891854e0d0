//! Reading a snapshot to which something happened: it is the one that was written or it is refused, and
//! the same however its bytes are cut into reads. What passes for a snapshot is one that could have been
//! written.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin_core::digest::DigestChain;
use standin_core::entry::Index;
use standin_core::identity::ClusterId;
use standin_core::machine::MachineId;
use standin_core::snapshot::{
    SNAPSHOT_BLOCK_BYTES, SNAPSHOT_HEADER_BYTES, SnapshotError, SnapshotHeader, SnapshotPoint,
    SnapshotReader, encode_snapshot,
};
use standin_core::view::DataEpoch;
use standin_fuzz::{Mishap, any_tip};

fn any_point(input: &mut Unstructured<'_>) -> Result<SnapshotPoint> {
    let mut tip = any_tip(input)?;
    tip.index.0 += 1;
    tip.view.0 += 1;
    let name = format!("m{}", input.arbitrary::<u8>()?);
    let version: u32 = input.arbitrary()?;
    let failed = version.checked_add(input.int_in_range(1..=3)?);
    Ok(SnapshotPoint {
        cluster: ClusterId(input.arbitrary()?),
        machine: MachineId::new(&name, version).expect("a good name"),
        failed_version: failed.filter(|it| it % 2 == 0).unwrap_or(0),
        data_epoch: DataEpoch(input.arbitrary()?),
        tip,
        view_first: Index(input.int_in_range(1..=tip.index.0)?),
        reply_digest: DigestChain(input.arbitrary()?),
    })
}

/// Reads it in pieces of these lengths, over and over.
fn read(
    bytes: &[u8],
    pieces: &[usize],
) -> std::result::Result<(SnapshotHeader, Vec<u8>), SnapshotError> {
    let mut reader = SnapshotReader::new();
    let mut state = Vec::new();
    let mut rest = bytes;
    for piece in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (mut piece, later) = rest.split_at((*piece).clamp(1, rest.len()));
        rest = later;
        while let Some(block) = reader.next(&mut piece)? {
            assert!(block.len() <= SNAPSHOT_BLOCK_BYTES);
            state.extend_from_slice(block);
        }
        assert!(piece.is_empty());
    }
    reader.finish().map(|header| (header, state))
}

fn check_same(bytes: &[u8], input: &mut Unstructured<'_>) -> Result<()> {
    let whole = read(bytes, &[bytes.len()]);
    let pieces = [
        input.int_in_range(1..=400)?,
        input.int_in_range(1..=100_000)?,
    ];
    assert!(
        read(bytes, &pieces) == whole,
        "read otherwise in {pieces:?}"
    );
    Ok(())
}

/// A good snapshot, then mishaps.
fn written(input: &mut Unstructured<'_>) -> Result<()> {
    let point = any_point(input)?;
    let blocks = input.int_in_range(0..=2)?;
    let length = blocks * SNAPSHOT_BLOCK_BYTES + input.int_in_range(0..=700)?;
    let pattern: [u8; 7] = input.arbitrary()?;
    let state: Vec<u8> = pattern.into_iter().cycle().take(length).collect();
    let good = encode_snapshot(point.clone(), &state);
    let (header, found) = read(&good, &[good.len()]).expect("it was just written");
    assert_eq!(header.file_bytes(), good.len() as u64);
    assert_eq!(header.point, point);
    assert!(found == state);
    let mut bytes = good.clone();
    for _ in 0..input.int_in_range(0..=3)? {
        // What happens counts from some place on, since it does not reach far.
        let from = input.int_in_range(0..=bytes.len())?;
        let mut rest = bytes.split_off(from);
        input.arbitrary::<Mishap>()?.strike(&mut rest);
        bytes.append(&mut rest);
    }
    assert_eq!(read(&bytes, &[bytes.len()]).is_ok(), bytes == good);
    check_same(&bytes, input)
}

/// Any bytes.
fn any_bytes(input: &mut Unstructured<'_>) -> Result<()> {
    let bytes = input.peek_bytes(input.len()).expect("that many are left");
    if let Ok((header, state)) = read(bytes, &[bytes.len()]) {
        assert!(encode_snapshot(header.point, &state) == bytes);
    }
    check_same(bytes, input)
}

/// A header of any bytes, with a checksum that fits, and any bytes behind it.
fn forged_header(input: &mut Unstructured<'_>) -> Result<()> {
    let mut bytes = b"STANSNAP\x01\0\0\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(input.bytes(input.len())?);
    if let Some(covered) = bytes.get(16..SNAPSHOT_HEADER_BYTES) {
        let checksum = crc32fast::hash(covered);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    }
    if let Ok(header) = SnapshotHeader::decode(&bytes) {
        assert!(bytes.starts_with(&header.encode()), "{header:?}");
        assert!(header.file_bytes() > header.state_bytes);
    }
    if let Ok((header, state)) = read(&bytes, &[bytes.len()]) {
        assert!(encode_snapshot(header.point, &state) == bytes);
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let [mode, data @ ..] = data else {
        return;
    };
    let mut input = Unstructured::new(data);
    // Input that is too short for what is drawn from it tests nothing.
    let _ = match mode % 3 {
        0 => written(&mut input),
        1 => any_bytes(&mut input),
        _ => forged_header(&mut input),
    };
});

//! Reading a segment to which something happened: nothing is found that was not written, nothing that
//! still stands there is taken for a torn write, and a torn write is not taken for damage.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin_core::entry::{Entry, Index, LogTip};
use standin_core::identity::{ClusterId, StoreId};
use standin_core::machine::MachineId;
use standin_core::segment::{ScanEnd, SegmentHeader, scan};
use standin_core::time::WallTime;
use standin_core::view::ViewNumber;
use standin_fuzz::{Mishap, any_batch, any_tip, places, seal_entries};

/// A good segment, then mishaps.
fn written(input: &mut Unstructured<'_>) -> Result<()> {
    let before = LogTip {
        index: Index(input.arbitrary::<u32>()?.into()),
        view: ViewNumber(input.arbitrary::<u8>()?.into()),
        chain: input.arbitrary()?,
        time: WallTime(input.arbitrary::<u32>()?.into()),
    };
    let mut good = Vec::new();
    let mut tip = before;
    for _ in 0..input.int_in_range(1..=3)? {
        let batch = any_batch(input, tip)?;
        good.extend_from_slice(batch.bytes());
        tip = batch.tip();
    }
    let places = places(&good, before);
    let mut bytes = good.clone();
    bytes.resize(good.len() + input.int_in_range(0..=300)?, 0);
    let mut is_cut = true;
    for _ in 0..input.int_in_range(0..=4)? {
        let mishap: Mishap = input.arbitrary()?;
        is_cut &= mishap.is_cut();
        mishap.strike(&mut bytes);
    }

    let mut seen = 0;
    let found = scan(&bytes, before, |entry| {
        assert_eq!(
            entry.tip(),
            places[seen].tip,
            "an entry that was never written"
        );
        seen += 1;
    });
    assert!(good.starts_with(&bytes[..found.bytes]));
    let end = places[..seen].last();
    assert_eq!(found.bytes, end.map_or(0, |place| place.bytes.end));
    assert_eq!(found.tip, end.map_or(before, |place| place.tip));
    let rest = &bytes[found.bytes..];
    assert_eq!(
        found.end == ScanEnd::Clean,
        rest.iter().all(|byte| *byte == 0)
    );
    let still_stands = places[seen..]
        .iter()
        .any(|place| bytes.get(place.bytes.clone()) == Some(&good[place.bytes.clone()]));
    let is_damaged = matches!(found.end, ScanEnd::Damaged(_) | ScanEnd::Gap(..));
    assert!(
        is_damaged || !still_stands,
        "an entry would be lost: {:?}",
        found.end
    );
    assert!(!(is_damaged && is_cut), "cut short, not damaged");
    check_end(rest, found.tip, found.end);
    Ok(())
}

/// The verdict, by the words of docs/format.md: what is called a gap or damage has a whole entry behind it.
fn check_end(rest: &[u8], tip: LogTip, end: ScanEnd) {
    let is_later = |entry: Entry<'_>| {
        let header = entry.header;
        header.index > tip.index && header.view >= tip.view && header.time >= tip.time
    };
    let follows = (1..rest.len()).any(|at| Entry::decode(&rest[at..]).is_ok_and(is_later));
    let is_damaged = follows || Entry::decode(rest).is_ok();
    let is_taken_for_it = matches!(end, ScanEnd::Damaged(_) | ScanEnd::Gap(..));
    // An entry that stands within another one, as in a client's command, is none.
    assert!(is_damaged || !is_taken_for_it, "{end:?}");
}

/// Any bytes, with checksums that fit.
fn forged(input: &mut Unstructured<'_>) -> Result<()> {
    let before = any_tip(input)?;
    let mut bytes = input.bytes(input.len())?.to_vec();
    seal_entries(&mut bytes, before.chain);
    let mut tip = before;
    let mut commit = Index::ZERO;
    let found = scan(&bytes, before, |entry| {
        assert_eq!(tip.check_next(entry), Ok(()));
        tip = entry.tip();
        commit = commit.max(entry.header.commit);
    });
    assert_eq!((found.tip, found.commit), (tip, commit));
    check_end(&bytes[found.bytes..], found.tip, found.end);
    Ok(())
}

/// A header, then mishaps.
fn header(input: &mut Unstructured<'_>) -> Result<()> {
    let name: String = format!("m{}", input.arbitrary::<u8>()?);
    let mut before = any_tip(input)?;
    before.index.0 /= 2;
    let header = SegmentHeader {
        cluster: ClusterId(input.arbitrary()?),
        store: StoreId(input.arbitrary()?),
        machine: MachineId::new(&name, input.arbitrary()?).expect("a good name"),
        before,
    };
    let good = header.encode();
    let mut bytes = good.clone();
    let mishap: Mishap = input.arbitrary()?;
    mishap.strike(&mut bytes);
    let decoded = SegmentHeader::decode(&bytes);
    if bytes == good {
        assert_eq!(decoded, Ok(header));
    } else {
        assert!(decoded.is_err(), "{decoded:?}");
    }
    bytes.extend_from_slice(input.bytes(input.len())?);
    if let Ok(header) = SegmentHeader::decode(&bytes) {
        assert!(bytes.starts_with(&header.encode()));
    }
    Ok(())
}

/// A header of any bytes, with a checksum that fits.
fn forged_header(input: &mut Unstructured<'_>) -> Result<()> {
    let mut bytes = b"STANDLOG\x01\0\0\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(input.bytes(input.len())?);
    if let Some(covered) = bytes.get(16..160) {
        let checksum = crc32fast::hash(covered);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    }
    if let Ok(header) = SegmentHeader::decode(&bytes) {
        assert!(bytes.starts_with(&header.encode()), "{header:?}");
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let [mode, data @ ..] = data else {
        return;
    };
    let mut input = Unstructured::new(data);
    // Input that is too short for what is drawn from it tests nothing.
    let _ = match mode % 4 {
        0 => written(&mut input),
        1 => forged(&mut input),
        2 => header(&mut input),
        _ => forged_header(&mut input),
    };
});

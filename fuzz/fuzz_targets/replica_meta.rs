//! A meta file of a data directory that decodes is one that a replica could have written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use standin_core::machine::MachineId;
use standin_io::data_dir::{META_FORMAT_VERSION, ReplicaMeta};

/// A file with this payload and a header that fits.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut covered = u32::try_from(payload.len())
        .expect("short")
        .to_le_bytes()
        .to_vec();
    covered.extend_from_slice(&[0; 4]);
    covered.extend_from_slice(payload);
    let mut bytes = b"STANMETA".to_vec();
    bytes.extend_from_slice(&META_FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&covered).to_le_bytes());
    bytes.extend_from_slice(&covered);
    bytes
}

fuzz_target!(|data: &[u8]| {
    let [is_sealed, data @ ..] = data else {
        return;
    };
    let bytes = if is_sealed % 2 == 0 {
        sealed(data)
    } else {
        data.to_vec()
    };
    let Ok(meta) = ReplicaMeta::decode(&bytes) else {
        return;
    };
    let again = meta.encode();
    // One of an earlier version lacks what has been appended since.
    let is_current = bytes[8..12] == again[8..12];
    assert!(
        !is_current || again.len() <= bytes.len(),
        "the encoding is not the shortest: {meta:?}"
    );
    assert_eq!(ReplicaMeta::decode(&again).as_ref(), Ok(&meta));
    let machine = MachineId::new(meta.machine.name(), meta.machine.version());
    assert_eq!(machine.as_ref(), Some(&meta.machine));
    for at in 0..bytes.len() {
        assert!(ReplicaMeta::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
});

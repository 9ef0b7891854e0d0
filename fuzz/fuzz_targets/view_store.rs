//! A state file of the view service that decodes is one that it could have written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use standin_viewservice::{STATE_FORMAT_VERSION, StoredState};

/// A file with this payload and a header that fits.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"STANDVSV".to_vec();
    bytes.extend_from_slice(&STATE_FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes);
    hasher.update(payload);
    bytes.extend_from_slice(&hasher.finalize().to_le_bytes());
    bytes.extend_from_slice(payload);
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
    let Ok(state) = StoredState::decode(&bytes) else {
        return;
    };
    let again = state.encode();
    // One of an earlier version lacks what has been appended since.
    let is_current = bytes[8..12] == again[8..12];
    assert!(
        !is_current || again.len() <= bytes.len(),
        "the encoding is not the shortest: {state:?}"
    );
    assert_eq!(StoredState::decode(&again).as_ref(), Ok(&state));
    for replica in &state.replicas {
        assert_eq!(state.store_of(&replica.name), Some(replica.store));
    }
    for at in 0..bytes.len() {
        assert!(StoredState::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
});

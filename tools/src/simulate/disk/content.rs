//! A file's bytes. Zeros at the end, as preallocation makes them, take no memory.

use super::SECTOR_BYTES;

/// The bytes of a file in one of its two places.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// The bytes from the file's beginning. Invariant: no longer than `length`.
    bytes: Vec<u8>,
    /// The file's length. Behind `bytes` there are only zeros.
    length: u64,
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Where the bytes end that are not only zeros for never having been written.
    pub(super) fn written(&self) -> u64 {
        offset(self.bytes.len())
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: u64) {
        let at = position(at);
        let end = at + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
        self.length = self.length.max(offset(end));
    }

    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.written() {
            self.bytes.truncate(position(length));
        }
        self.length = length;
    }

    /// Fills `buffer` from byte `at` on. Says whether the file is long enough.
    #[must_use]
    pub(super) fn read(&self, buffer: &mut [u8], at: u64) -> bool {
        if at + offset(buffer.len()) > self.length {
            return false;
        }
        let known = self.bytes.get(position(at)..).unwrap_or_default();
        let known = &known[..known.len().min(buffer.len())];
        buffer[..known.len()].copy_from_slice(known);
        buffer[known.len()..].fill(0);
        true
    }

    /// The file's first bytes, `bytes_max` at most.
    pub(super) fn beginning(&self, bytes_max: u64) -> Vec<u8> {
        let length = position(self.length.min(bytes_max));
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&self.bytes[..self.bytes.len().min(length)]);
        bytes.resize(length, 0);
        bytes
    }

    /// Takes over one sector of another content.
    pub(super) fn copy_sector(&mut self, from: &Self, sector: u64) {
        let at = sector * SECTOR_BYTES;
        let mut bytes = from.bytes.get(position(at)..).unwrap_or_default().to_vec();
        bytes.resize(position(SECTOR_BYTES), 0);
        self.write(&bytes, at);
    }

    /// Moves a sector to the place of another, as a write would have it that went astray: where it
    /// should have gone there are zeros.
    pub(super) fn misdirect(&mut self, from: u64, to: u64) {
        let mut bytes = vec![0; position(SECTOR_BYTES)];
        let is_there = self.read(&mut bytes, from * SECTOR_BYTES);
        assert!(is_there, "sector {from} of {}", self.length);
        self.write(&bytes, to * SECTOR_BYTES);
        bytes.fill(0);
        self.write(&bytes, from * SECTOR_BYTES);
    }

    /// Flips a bit. Says whether there is one.
    #[must_use]
    pub(super) fn flip_bit(&mut self, bit: u64) -> bool {
        let at = bit / 8;
        if at >= self.length {
            return false;
        }
        let mut byte = [0];
        let is_there = self.read(&mut byte, at);
        assert!(is_there, "byte {at} of {}", self.length);
        self.write(&[byte[0] ^ (1 << (bit % 8))], at);
        true
    }
}

/// An offset in a file as a place in memory.
pub(super) fn position(at: u64) -> usize {
    usize::try_from(at).expect("simulated files fit into memory")
}

/// A number of bytes in memory as an offset in a file.
pub(super) fn offset(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("memory is not that large")
}

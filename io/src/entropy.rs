//! Random numbers from the kernel, for identities and seeds.

use std::fs::File;
use std::io::Read;

/// A random number that nobody can foresee.
///
/// # Panics
/// If the kernel gives none: no identity could be made, and so nothing safe could be done.
#[must_use]
pub fn u64() -> u64 {
    u64::from_le_bytes(bytes())
}

/// A random number that nobody can foresee, wide enough for an identity.
///
/// # Panics
/// If the kernel gives none: no identity could be made, and so nothing safe could be done.
#[must_use]
pub fn u128() -> u128 {
    u128::from_le_bytes(bytes())
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .expect("the kernel must give random numbers: is /dev/urandom readable?");
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn numbers_differ() {
        let narrow: BTreeSet<u64> = (0..100).map(|_| super::u64()).collect();
        let wide: BTreeSet<u128> = (0..100).map(|_| super::u128()).collect();
        assert_eq!((narrow.len(), wide.len()), (100, 100));
    }
}

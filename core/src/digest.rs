//! Digests of state and of replies: xxh3, 128 bits. They find divergence, not an adversary: the
//! function is not cryptographic.

use std::io;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The digest of some bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// Digests bytes as they come, in pieces, without a copy of all of them.
#[derive(Clone, Default)]
pub struct Digester(Xxh3);

impl Digester {
    /// Takes in some bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes so far.
    #[must_use]
    pub fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

/// Digests what is written to it.
impl io::Write for Digester {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Digester").field(&self.finish()).finish()
    }
}

/// A running digest: each step takes in the one before it, so equal ends mean equal ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DigestChain(pub u128);

impl DigestChain {
    /// Takes in the outcome of the entry at `index`.
    pub fn add(&mut self, index: u64, status: u8, reply: &[u8]) {
        let mut head = [0; 25];
        head[..16].copy_from_slice(&self.0.to_le_bytes());
        head[16..24].copy_from_slice(&index.to_le_bytes());
        head[24] = status;
        // A short reply is digested in one piece, which is several times faster than streaming.
        let mut block = [0; 25 + 64];
        self.0 = match block.get_mut(25..25 + reply.len()) {
            Some(room) => {
                room.copy_from_slice(reply);
                block[..25].copy_from_slice(&head);
                xxh3_128(&block[..25 + reply.len()])
            }
            None => {
                let mut hasher = Xxh3::new();
                hasher.update(&head);
                hasher.update(reply);
                hasher.digest128()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_in_pieces_is_that_of_the_whole() {
        let whole: Vec<u8> = (0..2000_u32).flat_map(u32::to_le_bytes).collect();
        for piece in [1, 7, 300, 5000] {
            let mut digester = Digester::default();
            whole.chunks(piece).for_each(|piece| digester.bytes(piece));
            assert_eq!(digester.finish(), digest(&whole));
        }
    }

    #[test]
    fn a_chain_depends_on_every_step_and_on_nothing_else() {
        let chain = |replies: &[&[u8]]| {
            let mut chain = DigestChain::default();
            for (index, reply) in replies.iter().enumerate() {
                chain.add(index as u64, 0, reply);
            }
            chain
        };
        let long = [7; 100];
        assert_eq!(chain(&[b"a", &long]), chain(&[b"a", &long]));
        assert_ne!(chain(&[b"a", &long]), chain(&[b"b", &long]));
        assert_ne!(chain(&[b"a", b"b"]), chain(&[b"ab"]));
    }
}

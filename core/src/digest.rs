//! Digests of state and of replies: xxh3, 128 bits. They find divergence, not an adversary: the
//! function is not cryptographic.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The digest of some bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
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

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

/// What is digested before a reply: the digest so far, the index, the status.
const HEAD_BYTES: usize = 25;

/// A running digest: each step takes in the one before it, so equal ends mean equal ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DigestChain(pub u128);

impl DigestChain {
    /// Takes in the outcome of the entry at `index`.
    pub fn add(&mut self, index: u64, status: u8, reply: &[u8]) {
        let mut head = [0; HEAD_BYTES];
        head[..16].copy_from_slice(&self.0.to_le_bytes());
        head[16..24].copy_from_slice(&index.to_le_bytes());
        head[24] = status;
        // In one piece, which is several times faster than streaming: what is short, such as a number, and what is
        // the reply to a few commands.
        let whole = in_one_piece::<96>(&head, reply).or_else(|| in_one_piece::<384>(&head, reply));
        self.0 = whole.unwrap_or_else(|| {
            let mut hasher = Xxh3::new();
            hasher.update(&head);
            hasher.update(reply);
            hasher.digest128()
        });
    }
}

/// Digests head and reply, if they have room in so many bytes.
fn in_one_piece<const BYTES: usize>(head: &[u8; HEAD_BYTES], reply: &[u8]) -> Option<u128> {
    let mut block = [0; BYTES];
    let end = HEAD_BYTES + reply.len();
    block[..HEAD_BYTES].copy_from_slice(head);
    block.get_mut(HEAD_BYTES..end)?.copy_from_slice(reply);
    Some(xxh3_128(&block[..end]))
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
    #[test]
    fn a_reply_is_digested_alike_however_long_it_is() {
        for length in 0..500 {
            let reply: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut chain = DigestChain(7);
            chain.add(9, 2, &reply);
            let mut whole = [7_u128.to_le_bytes().as_slice(), &9_u64.to_le_bytes(), &[2]].concat();
            whole.extend_from_slice(&reply);
            assert_eq!(chain.0, digest(&whole), "{length} bytes");
        }
    }
}

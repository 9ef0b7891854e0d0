//! Random numbers that every replica draws alike: a counter-mode stream over a logged seed.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The random numbers of one entry: number `n` is a function of (seed, index, n) alone.
#[derive(Clone, Debug)]
pub struct RandomStream {
    seed: u64,
    index: u64,
    drawn: u64,
}

impl RandomStream {
    /// The stream of the entry at `index` in a batch with `seed`.
    #[must_use]
    pub fn new(seed: u64, index: u64) -> Self {
        Self {
            seed,
            index,
            drawn: 0,
        }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&self.index.to_le_bytes());
        block[8..].copy_from_slice(&self.drawn.to_le_bytes());
        self.drawn += 1;
        xxh3_64_with_seed(&block, self.seed)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_function_of_seed_and_index() {
        let draw = |seed, index| {
            let mut stream = RandomStream::new(seed, index);
            [stream.next_u64(), stream.next_u64()]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
        assert_ne!(draw(1, 2)[0], draw(1, 2)[1]);
        // Held still: these numbers are part of what a log means.
        assert_eq!(
            draw(1, 2),
            [9_752_112_051_253_567_183, 571_542_372_673_154_031]
        );
    }
}

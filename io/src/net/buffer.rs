//! Bytes on their way in or out, and a pool that lends the memory for them.

/// Capacity above which a buffer counts as big, in bytes.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// Most buffers that are not big that the pool keeps.
const SMALL_MAX: usize = 256;
/// Capacity above which a buffer's memory is given back to the allocator, in bytes.
const BIG_BYTES_MAX: usize = 1 << 20;
/// Most big buffers that the pool keeps: for the few connections on which much passes, as between replicas.
const BIG_MAX: usize = 8;

/// Memory of emptied buffers, so that an idle connection owns none and a busy one need not allocate.
#[derive(Debug, Default)]
pub(super) struct Pool {
    small: Vec<Vec<u8>>,
    big: Vec<Vec<u8>>,
}

impl Pool {
    /// Memory for about so many bytes.
    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let big = match bytes > SMALL_BYTES_MAX {
            true => self.big.pop(),
            false => None,
        };
        big.or_else(|| self.small.pop()).unwrap_or_default()
    }

    fn give(&mut self, mut bytes: Vec<u8>) {
        const BIG_BYTES_MIN: usize = SMALL_BYTES_MAX + 1;
        let (spare, most) = match bytes.capacity() {
            1..=SMALL_BYTES_MAX => (&mut self.small, SMALL_MAX),
            BIG_BYTES_MIN..=BIG_BYTES_MAX => (&mut self.big, BIG_MAX),
            _ => return,
        };
        if spare.len() < most {
            bytes.clear();
            spare.push(bytes);
        }
    }
}

/// A queue of bytes: appended at the back, consumed from the front. Owns no memory while empty.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Bytes before this are consumed. Invariant: `start <= bytes.len()`, equal only if both are 0.
    start: usize,
    /// What it held before it was emptied: it will hold as much again.
    held: usize,
}

impl Buffer {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The bytes, for appending to.
    pub(super) fn tail(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take(self.held);
        }
        // Moved forward only when no more bytes remain than were consumed, so that each byte is
        // moved a bounded number of times however slowly the queue drains.
        if self.start > 0 && self.start >= self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    /// Drops bytes from the front.
    pub(super) fn consume(&mut self, count: usize, pool: &mut Pool) {
        assert!(count <= self.len(), "{count} bytes of {}", self.len());
        self.start += count;
        if self.start == self.bytes.len() {
            self.clear(pool);
        }
    }

    /// Drops all bytes.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.start = 0;
        self.held = self.bytes.len();
        pool.give(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let (mut pool, mut buffer) = (Pool::default(), Buffer::default());
        let (mut written, mut read) = (0_u8, 0_u8);
        for round in 0..200 {
            for _ in 0..round % 7 {
                buffer.tail(&mut pool).push(written);
                written = written.wrapping_add(1);
            }
            let count = buffer.len() * (round % 3) / 2;
            for &byte in &buffer.as_slice()[..count.min(buffer.len())] {
                assert_eq!(byte, read);
                read = read.wrapping_add(1);
            }
            buffer.consume(count.min(buffer.len()), &mut pool);
        }
        assert_eq!(usize::from(written.wrapping_sub(read)), buffer.len());
    }

    #[test]
    fn an_emptied_buffer_owns_no_memory_and_its_memory_is_used_again() {
        let (mut pool, mut buffer) = (Pool::default(), Buffer::default());
        buffer.tail(&mut pool).extend_from_slice(&[1; 100]);
        let place = buffer.as_slice().as_ptr();
        buffer.consume(100, &mut pool);
        assert_eq!(buffer.capacity(), 0);
        buffer.tail(&mut pool).push(1);
        assert_eq!(buffer.as_slice().as_ptr(), place);
    }

    #[test]
    fn much_memory_goes_back_to_the_allocator() {
        let (mut pool, mut buffer) = (Pool::default(), Buffer::default());
        let much = BIG_BYTES_MAX + 1;
        buffer.tail(&mut pool).extend_from_slice(&vec![1; much]);
        buffer.consume(much, &mut pool);
        assert!(pool.small.is_empty() && pool.big.is_empty());
        let mut many: Vec<_> = (0..=SMALL_MAX).map(|_| Buffer::default()).collect();
        for (bytes, kept) in [(1, (SMALL_MAX, 0)), (SMALL_BYTES_MAX + 1, (0, BIG_MAX))] {
            for buffer in &mut many {
                buffer.tail(&mut pool).extend_from_slice(&vec![1; bytes]);
            }
            for buffer in &mut many {
                buffer.consume(bytes, &mut pool);
            }
            assert_eq!((pool.small.len(), pool.big.len()), kept);
        }
    }

    #[test]
    fn who_held_much_gets_big_memory_and_who_held_little_does_not() {
        let mut pool = Pool::default();
        let (mut much, mut little) = (Buffer::default(), Buffer::default());
        let big = SMALL_BYTES_MAX + 1;
        much.tail(&mut pool).extend_from_slice(&vec![1; big]);
        let place = much.as_slice().as_ptr();
        much.consume(big, &mut pool);
        little.tail(&mut pool).push(1);
        assert_ne!(little.as_slice().as_ptr(), place);
        much.tail(&mut pool).push(1);
        assert_eq!(much.as_slice().as_ptr(), place);
    }

    #[test]
    fn a_queue_that_never_empties_does_not_grow() {
        let (mut pool, mut buffer) = (Pool::default(), Buffer::default());
        buffer.tail(&mut pool).extend_from_slice(&[0; 10]);
        for _ in 0..10_000 {
            buffer.tail(&mut pool).extend_from_slice(&[0; 5]);
            buffer.consume(5, &mut pool);
        }
        assert!(buffer.bytes.capacity() < 100, "{buffer:?}");
    }
}

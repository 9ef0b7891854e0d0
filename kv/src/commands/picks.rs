//! Elements picked at random, as SRANDMEMBER, HRANDFIELD and SPOP pick them: by the entry's own randomness, so
//! that every replica picks the same.

use std::collections::BTreeSet;

use crate::call::{Call, Outcome, REPLY_BYTES_MAX, Refusal};

/// Fewest bytes of an element in a reply: those of an empty string.
pub(crate) const ELEMENT_BYTES_MIN: usize = 6;

/// How many elements are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    count: usize,
    /// Whether the same one may be picked again and again.
    repeats: bool,
}

impl Wanted {
    /// So many, none of them twice.
    pub(crate) fn distinct(count: usize) -> Self {
        Self {
            count,
            repeats: false,
        }
    }

    /// Reads the argument at `place`: so many if it is positive, and if it is negative also the same one twice.
    ///
    /// # Errors
    /// It is no integer, or the one that has no positive counterpart.
    pub(crate) fn parse<K>(call: &Call<'_, K>, place: usize) -> Outcome<Self> {
        let number = call.integer(place)?;
        if number == i64::MIN {
            return Err(Refusal::of(
                "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ));
        }
        Ok(Self {
            count: usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX),
            repeats: number < 0,
        })
    }

    /// How many.
    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// Picks places below `len`, each as likely as any other. Those of distinct ones are in order.
    ///
    /// # Errors
    /// No reply has room for so many elements.
    pub(crate) fn places<K>(self, call: &mut Call<'_, K>, len: usize) -> Outcome<Vec<usize>> {
        let count = match self.repeats {
            true => self.count,
            false => self.count.min(len),
        };
        if count > REPLY_BYTES_MAX / ELEMENT_BYTES_MIN {
            return Err(Refusal::REPLY_TOO_LONG);
        }
        if self.repeats {
            return Ok((0..count).map(|_| call.random_below(len)).collect());
        }
        if count == len {
            return Ok((0..len).collect());
        }
        // Floyd's way: one draw for each, and each choice of so many as likely as any other.
        let mut places = BTreeSet::new();
        for last in len - count..len {
            let place = call.random_below(last + 1);
            if !places.insert(place) {
                places.insert(last);
            }
        }
        Ok(places.into_iter().collect())
    }
}

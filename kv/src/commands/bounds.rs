//! Integers as arguments that have bounds, and ranges of places.

use std::ops::Range;

use crate::call::{Call, Outcome, Refusal};

/// What LPOP and its like say of a number of elements that is none.
pub(crate) const NOT_POSITIVE: &str = "ERR value is out of range, must be positive";

/// The argument at `place`, as a number that is `least` or more.
///
/// # Errors
/// It is none: then this text.
pub(crate) fn at_least<K>(
    call: &Call<'_, K>,
    place: usize,
    least: i64,
    text: &'static str,
) -> Outcome<usize> {
    let number = call.integer(place).ok().filter(|number| *number >= least);
    let number = number.ok_or(Refusal::of(text))?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

/// The argument at `place`, as an integer whose magnitude is one too.
///
/// # Errors
/// It is none.
pub(crate) fn with_magnitude<K>(call: &Call<'_, K>, place: usize) -> Outcome<i64> {
    let number = call.integer(place)?;
    match number == i64::MIN {
        false => Ok(number),
        true => Err(Refusal::quoting(
            format!(
                "ERR value is out of range, value must between {} and {}",
                -i64::MAX,
                i64::MAX
            )
            .into(),
        )),
    }
}

/// The places from `start` to `end`, both included, counted from the end if negative, that exist in `length`.
#[must_use]
pub(crate) fn places(start: i64, end: i64, length: usize) -> Range<usize> {
    let count = i64::try_from(length).expect("what is in memory is counted so");
    let from_end = |at: i64| if at < 0 { at + count } else { at };
    let (start, end) = (from_end(start).max(0), from_end(end).min(count - 1));
    if start > end {
        return 0..0;
    }
    let place = |at: i64| usize::try_from(at).expect("not negative");
    place(start)..place(end) + 1
}

/// The place that `index` means, counted from the end if negative, in `length`.
#[must_use]
pub(crate) fn place(index: i64, length: usize) -> Option<usize> {
    let place = match index < 0 {
        true => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
        false => usize::try_from(index).ok()?,
    };
    (place < length).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_either_end() {
        assert_eq!(places(0, -1, 5), 0..5);
        assert_eq!(places(-2, 100, 5), 3..5);
        assert_eq!(places(-100, 1, 5), 0..2);
        assert_eq!(places(-100, -6, 5), 0..0);
        assert_eq!(places(5, 9, 5), 0..0);
        assert_eq!(places(3, 2, 5), 0..0);
        assert_eq!(places(i64::MIN, i64::MAX, 3), 0..3);
        assert_eq!(place(-1, 3), Some(2));
        assert_eq!(place(-4, 3), None);
        assert_eq!(place(3, 3), None);
        assert_eq!(place(i64::MIN, 3), None);
    }
}

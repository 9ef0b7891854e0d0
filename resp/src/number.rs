//! Numbers as text, in the forms that Redis writes and reads.

/// Digits that are made at a time.
const GROUP: usize = 8;
/// Numbers below this have no more digits than that.
const GROUP_END: u64 = 100_000_000;
/// Room for all digits of a 64-bit integer, in whole groups; its first group is never full, so there is room for a sign.
const ROOM: usize = 3 * GROUP;

/// A 64-bit integer in decimal, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; ROOM],
    start: usize,
}

impl Decimal {
    /// The text of `value`: a minus sign where it is negative, and no leading zeros.
    #[inline]
    #[must_use]
    pub fn new(value: i64) -> Decimal {
        let mut decimal = Decimal::magnitude(value.unsigned_abs());
        if value < 0 {
            decimal.start -= 1;
            decimal.digits[decimal.start] = b'-';
        }
        decimal
    }

    /// The text of a length or count.
    #[inline]
    #[must_use]
    pub fn of_usize(value: usize) -> Decimal {
        Decimal::magnitude(value as u64)
    }

    #[inline]
    fn magnitude(mut rest: u64) -> Decimal {
        let mut digits = [0; ROOM];
        let mut start = ROOM;
        loop {
            let group = digits_of(rest % GROUP_END);
            rest /= GROUP_END;
            start -= GROUP;
            // In one piece: what reads it soon after need not wait until it has been put together in memory.
            let text = group | u64::from_le_bytes([b'0'; GROUP]);
            digits[start..start + GROUP].copy_from_slice(&text.to_le_bytes());
            if rest == 0 {
                let zeros = (group.trailing_zeros() / u8::BITS) as usize;
                start += zeros.min(GROUP - 1);
                return Decimal { digits, start };
            }
        }
    }

    /// The text itself.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// The eight digits of a number below [`GROUP_END`], the first one in the lowest byte: by halves, in several numbers side by
/// side in one. What divides them is exact for numbers so small, and their quotients stay within the bits that are kept.
#[inline]
fn digits_of(number: u64) -> u64 {
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 5243) >> 19) & 0x0000_007f_0000_007f;
    let pairs = hundreds | ((halves - hundreds * 100) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((pairs - tens * 10) << 8)
}

/// Reads a 64-bit integer as Redis does (`string2ll`): an optional minus sign and digits, and
/// nothing else. No plus sign, no space, no leading zero, no `-0`; `None` too when out of range.
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let (first, rest) = digits.split_first()?;
    if !(b'1'..=b'9').contains(first) || rest.len() > 18 {
        return None;
    }
    let mut magnitude = u64::from(first - b'0');
    for digit in rest {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Nineteen digits stay below 10^19, which a u64 holds.
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    match is_negative {
        true => 0i64.checked_sub_unsigned(magnitude),
        false => i64::try_from(magnitude).ok(),
    }
}

/// Significant digits that a double is written with: enough for each to read back as the same number.
const DIGITS: usize = 17;

/// Appends a double as C's `%.17g` has it, which is what Redis 7.0 writes: `0.10000000000000001` rather than the
/// `0.1` of Redis 7.2, whole numbers below 1e17 in full, an exponent of at least two digits from `1e+17` up and
/// from `1.0000000000000001e-05` down, `inf`, `-inf`, `nan` and `-0`.
///
/// Of 7.0's and 7.2's forms one had to be chosen, for scores go to clients as text and every replica must write the
/// same; all else here is as in 7.0, too. Both read back as the same number.
pub fn write_double(out: &mut Vec<u8>, value: f64) {
    /// Whole numbers below have no more than 17 digits.
    const WHOLE_END: f64 = 1e17;
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        });
    } else if value.abs() < WHOLE_END && value.trunc() == value {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within range")]
        out.extend_from_slice(Decimal::new(value as i64).as_bytes());
    } else {
        write_digits(out, value);
    }
}

/// Lays 17 digits out, but for the zeros that they end with.
fn write_digits(out: &mut Vec<u8>, value: f64) {
    use std::io::Write as _;
    // A digit, the point, 16 digits, `e`, a sign, 3 digits: 23 bytes at most.
    let mut text = [0u8; 32];
    let mut left = &mut text[..];
    write!(left, "{:.*e}", DIGITS - 1, value.abs()).expect("it fits");
    let unused = left.len();
    let text = &text[..text.len() - unused];
    let (mantissa, exponent) = text.split_at(DIGITS + 1);
    let exponent = parse_integer(&exponent[1..]).expect("an exponent is a number");
    let mut digits = [0; DIGITS];
    digits[0] = mantissa[0];
    digits[1..].copy_from_slice(&mantissa[2..]);
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0');
    let count = DIGITS - zeros.count();
    if value < 0.0 {
        out.push(b'-');
    }
    lay_out(out, &digits[..count], exponent);
}

/// `digits` stand for d.ddd times ten to the power `exponent`.
fn lay_out(out: &mut Vec<u8>, digits: &[u8], exponent: i64) {
    if !(-4..DIGITS as i64).contains(&exponent) {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.abs() < 10 {
            out.push(b'0');
        }
        out.extend_from_slice(Decimal::new(exponent.abs()).as_bytes());
    } else if let Ok(exponent) = usize::try_from(exponent) {
        let whole = digits.len().min(exponent + 1);
        out.extend_from_slice(&digits[..whole]);
        out.extend((whole..=exponent).map(|_| b'0'));
        if digits.len() > whole {
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    } else {
        out.extend_from_slice(b"0.");
        out.extend((exponent..-1).map(|_| b'0'));
        out.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        write_double(&mut out, value);
        String::from_utf8(out).expect("digits")
    }

    #[test]
    fn integers_are_written_in_full() {
        for value in [
            0,
            1,
            9,
            10,
            99,
            100,
            101,
            999,
            1_000,
            -1,
            -10,
            i64::MIN,
            i64::MAX,
        ] {
            assert_eq!(Decimal::new(value).as_bytes(), value.to_string().as_bytes());
        }
        // Each half of each group of digits, and where one ends and the next begins.
        let ends = (0..19).flat_map(|digits| [10_i64.pow(digits) - 1, 10_i64.pow(digits)]);
        let halves = [1, 10_000, 100_000_000, 1_000_000_000_000];
        let halves = halves.map(|place| (0..10_000).map(move |half| half * place + place / 7));
        for value in halves.into_iter().flatten().chain(ends) {
            for value in [value, -value] {
                assert_eq!(Decimal::new(value).as_bytes(), value.to_string().as_bytes());
            }
        }
        let largest = u64::MAX.to_string();
        assert_eq!(Decimal::of_usize(usize::MAX).as_bytes(), largest.as_bytes());
    }

    #[test]
    fn integers_are_read_in_one_form_alone() {
        for value in [0, 1, -1, 10, 907, i64::MIN, i64::MIN + 1, i64::MAX] {
            assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }
        let refused = [
            "",
            "-",
            "+1",
            "-0",
            "00",
            "01",
            "-01",
            " 1",
            "1 ",
            "1a",
            "1.0",
            "0x1",
            "9223372036854775808",
            "-9223372036854775809",
            "10000000000000000000",
            "99999999999999999999",
        ];
        for text in refused {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_written_as_by_c() {
        let expected = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.10000000000000001"),
            (-1.5, "-1.5"),
            (0.3, "0.29999999999999999"),
            (1e16, "10000000000000000"),
            (99_999_999_999_999_984.0, "99999999999999984"),
            (99_999_999_999_999_999.0, "1e+17"),
            (1e17, "1e+17"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (3e300, "3.0000000000000002e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (-0.000_123_456_789_012, "-0.000123456789012"),
            (1e23, "9.9999999999999992e+22"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            // In the middle between two of 17 digits: the even one.
            (562_949_953_421_312.0 + 0.125, "562949953421312.12"),
            (562_949_953_421_312.0 + 0.375, "562949953421312.38"),
        ];
        for (value, text) in expected {
            assert_eq!(double(value), text, "{value:e}");
        }
    }
}

//! Numbers as text, in the forms that Redis writes and reads.

/// Most bytes of a 64-bit integer in decimal: a sign and 19 digits.
pub const INTEGER_BYTES_MAX: usize = 20;

/// Two digits for each number from 0 to 99.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

/// A 64-bit integer in decimal, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; INTEGER_BYTES_MAX],
    start: usize,
}

impl Decimal {
    /// The text of `value`: a minus sign where it is negative, and no leading zeros.
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
    #[must_use]
    pub fn of_usize(value: usize) -> Decimal {
        Decimal::magnitude(value as u64)
    }

    // A u64 has up to 20 digits, so even without room for a sign all of them fit.
    fn magnitude(mut rest: u64) -> Decimal {
        let mut digits = [0; INTEGER_BYTES_MAX];
        let mut start = INTEGER_BYTES_MAX;
        while rest >= 10 {
            let pair = usize::try_from(rest % 100).expect("below 100") * 2;
            rest /= 100;
            start -= 2;
            digits[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
            if rest == 0 {
                // The last pair was 10 or more, so that it begins with no zero.
                return Decimal { digits, start };
            }
        }
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest).expect("one digit");
        Decimal { digits, start }
    }

    /// The text itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
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

/// Appends a double in the fewest digits that read back as the same number.
///
/// The layout is that of Redis 7.2 and later (`d2string`): whole numbers below 2^62 in full, `0.1`
/// rather than Redis 7.0's `0.10000000000000001`, an exponent from `1e+19` up and from `1e-7`
/// down, `inf`, `-inf`, `nan` and `-0`.
pub fn write_double(out: &mut Vec<u8>, value: f64) {
    /// Whole numbers up to here are written as integers: half the largest of 64 bits, as in Redis.
    const WHOLE_MAX: f64 = 4_611_686_018_427_387_904.0;
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
    } else if value.abs() <= WHOLE_MAX && value.trunc() == value {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within range")]
        out.extend_from_slice(Decimal::new(value as i64).as_bytes());
    } else {
        write_digits(out, value);
    }
}

/// Lays the shortest digits out: the value is 0.d1d2d3.. times a power of ten.
fn write_digits(out: &mut Vec<u8>, value: f64) {
    use std::io::Write as _;
    // Sign, 17 digits, point, `e`, sign, 3 digits: 24 bytes at most.
    let mut text = [0u8; 32];
    let mut left = &mut text[..];
    write!(left, "{:e}", value.abs()).expect("it fits");
    let unused = left.len();
    let text = &text[..text.len() - unused];
    let split = text
        .iter()
        .position(|byte| *byte == b'e')
        .expect("scientific notation has an exponent");
    let exponent = parse_integer(&text[split + 1..]).expect("an exponent is a number");
    let mut digits = [0u8; 17];
    let mut count = 0;
    for digit in text[..split].iter().filter(|byte| **byte != b'.') {
        digits[count] = *digit;
        count += 1;
    }
    if value < 0.0 {
        out.push(b'-');
    }
    lay_out(out, &digits[..count], exponent);
}

/// `digits` stand for d.ddd times ten to the power `exponent`.
fn lay_out(out: &mut Vec<u8>, digits: &[u8], exponent: i64) {
    let count = i64::try_from(digits.len()).expect("17 at most");
    // How many places the last digit stands before (or, negative, behind) the point.
    let shift = exponent + 1 - count;
    if shift >= 0 && exponent < count + 7 {
        out.extend_from_slice(digits);
        out.extend((0..shift).map(|_| b'0'));
    } else if shift < 0 && (shift > -7 || exponent.abs() < 4) {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.extend((0..-exponent - 1).map(|_| b'0'));
            out.extend_from_slice(digits);
        } else {
            let whole = usize::try_from(exponent + 1).expect("not negative");
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    } else {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        out.extend_from_slice(Decimal::new(exponent.abs()).as_bytes());
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
    fn doubles_have_the_layout_of_redis() {
        let expected = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e17, "100000000000000000"),
            (1e18, "1000000000000000000"),
            (1e19, "1e+19"),
            (1.5e300, "1.5e+300"),
            (1e21, "1e+21"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (0.000_001, "0.000001"),
            (0.000_000_1, "1e-7"),
            (0.000_012_345, "1.2345e-5"),
            (0.000_123_456_789_012, "1.23456789012e-4"),
            (1.234_567_89e-5, "1.23456789e-5"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (4.141_592_653_589_793, "4.141592653589793"),
            (9_007_199_254_740_993.0, "9007199254740992"),
        ];
        for (value, text) in expected {
            assert_eq!(double(value), text, "{value:e}");
        }
    }
}

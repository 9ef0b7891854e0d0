//! Doubles as Redis reads them: what C's `strtod` takes. They are written as `standin_resp` writes them.

use standin_resp::number::{Decimal, write_double};

/// Bits of a double's mantissa, the one that is not stored among them.
const MANTISSA_BITS: i32 = 53;
/// Exponent of the lowest bit that a double can have.
const LOWEST_BIT: i32 = -1074;
/// Exponent of the highest bit of the largest double.
const HIGHEST_BIT: i32 = 1023;
/// Half the largest integer of 64 bits.
const WHOLE_MAX: f64 = 4_611_686_018_427_387_904.0;

/// Reads a double that makes up the whole text: a score, a weight or an increment. `None` if it is none, is
/// no number, or too large, or so small that nothing of it remains.
#[must_use]
pub fn parse(text: &[u8]) -> Option<f64> {
    if text.first().is_none_or(is_space) {
        return None;
    }
    let it = leading(text);
    let is_sound = it.used == text.len() && !it.is_out_of_range && !it.value.is_nan();
    is_sound.then_some(it.value)
}

/// Reads one end of a range of scores, with which Redis is less strict: nothing at all is 0, space may stand
/// before it, what is too large is infinite, and a zero byte ends it.
#[must_use]
pub fn parse_limit(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|byte| *byte == 0);
    let text = &text[..end.unwrap_or(text.len())];
    let it = leading(text);
    (it.used == text.len() && !it.value.is_nan()).then_some(it.value)
}

/// The text of a double, as in replies.
#[must_use]
pub fn text(value: f64) -> Vec<u8> {
    let mut text = Vec::new();
    write_double(&mut text, value);
    text
}

/// The text of a double where Redis keeps whole numbers as integers: in small sorted sets. A walk hands out what is
/// kept there, so that 1e17 is `100000000000000000` in one, and `1e+17` in every other reply.
#[must_use]
pub(crate) fn text_or_integer(value: f64) -> Vec<u8> {
    if value.abs() <= WHOLE_MAX && value.trunc() == value {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within range")]
        return Decimal::new(value as i64).as_bytes().to_vec();
    }
    text(value)
}

/// What `strtod` makes of the beginning of a text.
struct Leading {
    value: f64,
    /// How many bytes belong to it; 0 if it does not begin with a number.
    used: usize,
    /// It is too large, or too small for any bit.
    is_out_of_range: bool,
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn leading(text: &[u8]) -> Leading {
    let mut at = text.iter().take_while(|byte| is_space(byte)).count();
    let is_negative = text.get(at) == Some(&b'-');
    at += usize::from(matches!(text.get(at), Some(b'-' | b'+')));
    let body = &text[at..];
    let number = match body {
        [b'0', b'x' | b'X', hex @ ..] => hexadecimal(hex).map(|mut it| {
            it.used += 2;
            it
        }),
        [b'i' | b'I' | b'n' | b'N', ..] => word(body),
        _ => None,
    };
    match number.or_else(|| decimal(body)) {
        Some(mut it) => {
            it.used += at;
            it.value = if is_negative { -it.value } else { it.value };
            it
        }
        None => Leading {
            value: 0.0,
            used: 0,
            is_out_of_range: false,
        },
    }
}

fn word(text: &[u8]) -> Option<Leading> {
    let begins = |word: &str| {
        text.get(..word.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
    };
    let (value, used) = if begins("infinity") {
        (f64::INFINITY, 8)
    } else if begins("inf") {
        (f64::INFINITY, 3)
    } else if begins("nan") {
        (f64::NAN, 3)
    } else {
        return None;
    };
    Some(Leading {
        value,
        used,
        is_out_of_range: false,
    })
}

fn count_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Bytes of an exponent at the beginning of `text`: its mark, a sign, and digits; 0 if it is none.
fn exponent_length(text: &[u8], mark: u8) -> usize {
    if text.first().map(u8::to_ascii_lowercase) != Some(mark) {
        return 0;
    }
    let sign = usize::from(matches!(text.get(1), Some(b'-' | b'+')));
    match count_digits(&text[1 + sign..]) {
        0 => 0,
        digits => 1 + sign + digits,
    }
}

fn decimal(text: &[u8]) -> Option<Leading> {
    let whole = count_digits(text);
    let mut mantissa = whole;
    if text.get(whole) == Some(&b'.') {
        let decimals = count_digits(&text[whole + 1..]);
        if whole + decimals > 0 {
            mantissa += 1 + decimals;
        }
    }
    if mantissa == 0 {
        return None;
    }
    let used = mantissa + exponent_length(&text[mantissa..], b'e');
    let number = std::str::from_utf8(&text[..used]).expect("digits are text");
    let value: f64 = number.parse().expect("it has the form of a number");
    let is_zero = text[..mantissa].iter().all(|it| matches!(it, b'0' | b'.'));
    Some(Leading {
        value,
        used,
        is_out_of_range: value.is_infinite() || (value == 0.0 && !is_zero),
    })
}

/// A hexadecimal number, what comes after its `0x`.
fn hexadecimal(text: &[u8]) -> Option<Leading> {
    let mut mantissa = 0_u64;
    let mut is_inexact = false; // a bit beyond those of `mantissa` is set
    let mut exponent = 0_i32;
    let (mut used, mut digits, mut is_fraction) = (0, 0, false);
    for byte in text {
        match char::from(*byte).to_digit(16) {
            Some(digit) => {
                digits += 1;
                if mantissa < 1 << 60 {
                    mantissa = mantissa << 4 | u64::from(digit);
                    exponent -= if is_fraction { 4 } else { 0 };
                } else {
                    is_inexact |= digit != 0;
                    exponent += if is_fraction { 0 } else { 4 };
                }
            }
            None if *byte == b'.' && !is_fraction => is_fraction = true,
            None => break,
        }
        used += 1;
    }
    if digits == 0 {
        return None;
    }
    let length = exponent_length(&text[used..], b'p');
    if length > 0 {
        let number = std::str::from_utf8(&text[used + 1..used + length]).expect("digits are text");
        // Beyond that it makes no difference: a command holds no more digits.
        let power = number.parse().unwrap_or(match number.starts_with('-') {
            true => -(1 << 28),
            false => 1 << 28,
        });
        exponent = exponent.saturating_add(power.clamp(-(1 << 28), 1 << 28));
        used += length;
    }
    let value = rounded(mantissa, is_inexact, exponent);
    Some(Leading {
        value,
        used,
        is_out_of_range: value.is_infinite() || (value == 0.0 && mantissa != 0),
    })
}

/// `mantissa` times two to the power of `exponent`, rounded to the nearest, and to even in the middle.
fn rounded(mantissa: u64, is_inexact: bool, exponent: i32) -> f64 {
    let bits = (u64::BITS - mantissa.leading_zeros()).cast_signed();
    let top = exponent.saturating_add(bits - 1);
    if mantissa == 0 {
        return 0.0;
    }
    if top > HIGHEST_BIT {
        return f64::INFINITY;
    }
    let lowest = (top - (MANTISSA_BITS - 1)).max(LOWEST_BIT);
    let shift = lowest.saturating_sub(exponent);
    let mut kept = match shift {
        ..=0 => mantissa << shift.unsigned_abs(),
        1..=64 => {
            let wide = u128::from(mantissa);
            let (kept, below) = (wide >> shift, wide & ((1 << shift) - 1));
            let half = 1_u128 << (shift - 1);
            let is_up = below > half || (below == half && (is_inexact || kept & 1 == 1));
            u64::try_from(kept).expect("fewer bits") + u64::from(is_up)
        }
        _ => return 0.0,
    };
    let mut lowest = lowest;
    if kept == 1 << MANTISSA_BITS {
        kept >>= 1;
        lowest += 1;
    }
    if kept < 1 << (MANTISSA_BITS - 1) {
        return f64::from_bits(kept); // below all others: `lowest` is the lowest bit
    }
    let biased = lowest + (MANTISSA_BITS - 1) + HIGHEST_BIT;
    if biased > 2 * HIGHEST_BIT {
        return f64::INFINITY;
    }
    let biased = u64::try_from(biased).expect("above all that are below the smallest normal one");
    f64::from_bits(biased << (MANTISSA_BITS - 1) | (kept & ((1 << (MANTISSA_BITS - 1)) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_scores_of_small_sets_are_integers() {
        assert_eq!(text_or_integer(1e17), b"100000000000000000");
        assert_eq!(text_or_integer(-0.0), b"0");
        assert_eq!(text_or_integer(0.5), b"0.5");
        assert_eq!(text_or_integer(1e19), b"1e+19");
    }

    #[test]
    fn doubles_are_read_as_by_c() {
        let cases = [
            ("1", Some(1.0)),
            ("+1.5e2", Some(150.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            (".", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1e", None),
            ("1e400", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("4e-320", Some(4e-320)),
            ("nan", None),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("InFiNiTy", Some(f64::INFINITY)),
            ("infi", None),
            ("0x1p3", Some(8.0)),
            ("-0x.8", Some(-0.5)),
            ("0x", None),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1075", None),
            ("0x1.8p-1075", Some(5e-324)),
            ("0x1p1024", None),
            ("0x1fffffffffffffp971", Some(f64::MAX)),
            ("0x1fffffffffffff8p967", None),
            ("0x20000000000001", Some(9_007_199_254_740_992.0)),
            ("0x200000000000010000000001", Some(9.903_520_314_283_044e27)),
            ("0x1p99999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn ends_of_ranges_are_read_less_strictly() {
        assert_eq!(parse_limit(b""), Some(0.0));
        assert_eq!(parse_limit(b" 1"), Some(1.0));
        assert_eq!(parse_limit(b"1 "), None);
        assert_eq!(parse_limit(b"1\0x"), Some(1.0));
        assert_eq!(parse_limit(b"-1e400"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_limit(b"nan"), None);
    }
}

//! Floats of 80 bits, as Redis's INCRBYFLOAT and HINCRBYFLOAT reckon with them on x86 (`long double`): so that
//! 0.1 and 0.2 make 0.3. All in integers: the same on every machine, whatever floats it has.

use std::cmp::Ordering;

/// Longest text that is read as a number, in bytes. The same as in Redis.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// Digits behind the point that are written, before zeros at the end go.
const DECIMALS: usize = 17;
/// Ten to the power of that.
const DECIMALS_SCALE: u128 = 100_000_000_000_000_000;
/// The largest power of two that the topmost bit of a number can stand for.
const TOP_MAX: i64 = 16_383;
/// And the smallest.
const TOP_MIN: i64 = -16_445;
/// Exponents in a text count no further than this: all of them are out of range long before.
const EXPONENT_MAX: i64 = 1 << 20;

/// A float with a mantissa of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    is_negative: bool,
    size: Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Zero,
    /// Mantissa, its topmost bit set, times two to this power.
    Finite(u64, i64),
    Infinite,
}

impl From<i64> for Extended {
    fn from(number: i64) -> Self {
        let (size, _) = round(&[], u128::from(number.unsigned_abs()), 0);
        Self {
            is_negative: number < 0,
            size,
        }
    }
}

impl Extended {
    /// Reads a number as C's `strtold` does, all of the text: decimal or hexadecimal, with a fraction and an
    /// exponent, or `inf`. `None` if it is none, or out of range.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (is_negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let is_word = |word: &[u8]| rest.eq_ignore_ascii_case(word);
        let size = if is_word(b"inf") || is_word(b"infinity") {
            Size::Infinite
        } else {
            let size = match rest {
                [b'0', b'x' | b'X', hex @ ..] => parse_digits(hex, 16, b'p')?,
                decimal => parse_digits(decimal, 10, b'e')?,
            };
            // As if it had been written out: what is too large, or too small for any bit, is no number.
            if size == Size::Infinite {
                return None;
            }
            size
        };
        Some(Self { is_negative, size })
    }

    /// Whether it is a number, and not infinite.
    #[must_use]
    pub fn is_finite(self) -> bool {
        self.size != Size::Infinite
    }

    /// The sum, rounded to the nearest, and to even in the middle; `None` if it is no number, or infinite.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let ((m1, e1), (m2, e2)) = match (self.size, other.size) {
            (Size::Infinite, _) | (_, Size::Infinite) => return None,
            (Size::Zero, _) => return Some(other),
            (_, Size::Zero) => return Some(self),
            (Size::Finite(m1, e1), Size::Finite(m2, e2)) => ((m1, e1), (m2, e2)),
        };
        let (large, small, is_negative) = match (e1, m1).cmp(&(e2, m2)) {
            Ordering::Less => ((m2, e2), (m1, e1), other.is_negative),
            Ordering::Equal | Ordering::Greater => ((m1, e1), (m2, e2), self.is_negative),
        };
        // Room of 63 bits below the larger one; what of the smaller one is lower still leaves one bit behind.
        let wide = u128::from(large.0) << 63;
        let narrow = u128::from(small.0) << 63;
        let narrow = match u32::try_from(large.1 - small.1) {
            Ok(shift @ 0..=126) => {
                let shifted = narrow >> shift;
                shifted | u128::from(shifted << shift != narrow)
            }
            _ => 1,
        };
        let sum = match self.is_negative == other.is_negative {
            true => wide + narrow,
            false => wide - narrow,
        };
        let (size, _) = round(&[], sum, large.1 - 63);
        let sum = Self {
            is_negative: is_negative && size != Size::Zero,
            size,
        };
        sum.is_finite().then_some(sum)
    }

    /// The text that Redis makes of it: seventeen decimals, less the zeros at the end; never an exponent.
    #[must_use]
    pub fn to_text(self) -> String {
        let digits = match self.size {
            Size::Infinite => return if self.is_negative { "-inf" } else { "inf" }.to_owned(),
            Size::Zero => return "0".to_owned(),
            Size::Finite(mantissa, exponent) if exponent >= 0 => {
                let mut number = Large::from(u128::from(mantissa));
                number.shift_left(usize::try_from(exponent).expect("not negative"));
                number.into_text() + &"0".repeat(DECIMALS)
            }
            Size::Finite(mantissa, exponent) => {
                // Below 2^121, so it fits; shifted by more than that nothing is left, not even half of one.
                let scaled = u128::from(mantissa) * DECIMALS_SCALE;
                match u32::try_from(-exponent).expect("negative, and bounded") {
                    shift @ 1..=126 => half_even(scaled, shift).to_string(),
                    _ => "0".to_owned(),
                }
            }
        };
        let digits = format!("{digits:0>width$}", width = DECIMALS + 1);
        let (whole, decimals) = digits.split_at(digits.len() - DECIMALS);
        let decimals = decimals.trim_end_matches('0');
        let sign = if self.is_negative { "-" } else { "" };
        match (whole, decimals) {
            ("0", "") => "0".to_owned(),
            (whole, "") => format!("{sign}{whole}"),
            (whole, decimals) => format!("{sign}{whole}.{decimals}"),
        }
    }
}

/// `number` divided by two to the power `shift` (1 to 126), rounded to the nearest, and to even in the middle.
fn half_even(number: u128, shift: u32) -> u128 {
    let quotient = number >> shift;
    let rest = number - (quotient << shift);
    let half = 1 << (shift - 1);
    quotient + u128::from(rest > half || (rest == half && quotient % 2 == 1))
}

/// The float nearest to `number` times two to the power `exponent`, and to even in the middle. Whether any of
/// `below`, which stands below all bits of `number`, is not zero decides as well.
///
/// Says too whether it is so small that nothing is left of it.
fn round(below: &[u32], number: u128, exponent: i64) -> (Size, bool) {
    if number == 0 {
        return (Size::Zero, false);
    }
    let bits = i64::from(128 - number.leading_zeros());
    let (mut mantissa, mut exponent) = match u32::try_from(bits - 64) {
        Ok(shift @ 1..) => {
            let quotient = number >> shift;
            let rest = number - (quotient << shift);
            let half = 1_u128 << (shift - 1);
            let is_more = below.iter().any(|word| *word != 0);
            let is_up = rest > half || (rest == half && (is_more || quotient % 2 == 1));
            (quotient + u128::from(is_up), exponent + i64::from(shift))
        }
        _ => {
            let shift = 64 - bits;
            (number << shift, exponent - shift)
        }
    };
    if mantissa >> 64 != 0 {
        mantissa >>= 1;
        exponent += 1;
    }
    let mantissa = u64::try_from(mantissa).expect("64 bits");
    match exponent + 63 {
        ..TOP_MIN => (Size::Zero, true),
        TOP_MIN..=TOP_MAX => (Size::Finite(mantissa, exponent), false),
        _ => (Size::Infinite, false),
    }
}

/// Digits with a point in them and an exponent after them, all of `text`. `None` too if it is out of range.
fn parse_digits(text: &[u8], base: u32, mark: u8) -> Option<Size> {
    let mark_at = (text.iter()).position(|byte| byte.eq_ignore_ascii_case(&mark));
    let (digits, exponent) = match mark_at {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let mut number = Large::default();
    let (mut count, mut behind_point, mut has_point) = (0, 0, false);
    for byte in digits {
        if *byte == b'.' && !has_point {
            has_point = true;
            continue;
        }
        let digit = char::from(*byte).to_digit(base)?;
        number.multiply_add(base, digit);
        count += 1;
        behind_point += i64::from(has_point);
    }
    if count == 0 {
        return None;
    }
    if number.is_zero() {
        return Some(Size::Zero);
    }
    let (size, is_lost) = match base {
        16 => number.rounded(exponent - 4 * behind_point),
        _ => scale(number, exponent - behind_point),
    };
    (!is_lost).then_some(size)
}

/// `number` times ten to this power.
fn scale(mut number: Large, power: i64) -> (Size, bool) {
    // Beyond these nothing is in range, whatever digits there are, and there is no end to the work.
    let limit = i64::try_from(TEXT_BYTES_MAX).expect("small") + 5000;
    if power > limit {
        return (Size::Infinite, false);
    }
    if power < -limit {
        return (Size::Zero, true);
    }
    if power >= 0 {
        for _ in 0..power {
            number.multiply_add(10, 0);
        }
        return number.rounded(0);
    }
    let mut divisor = Large::from(1);
    for _ in 0..-power {
        divisor.multiply_add(10, 0);
    }
    // Shifted so far that the quotient has more than 64 bits, but not more than 128.
    let shift = (divisor.bits() + 70).saturating_sub(number.bits());
    number.shift_left(shift);
    let surplus = number.bits().saturating_sub(divisor.bits());
    let mut quotient = 0_u128;
    if surplus > 120 {
        // Many digits, and few of them behind the point: dividing bit by bit would need more than 128.
        let over = surplus - 120;
        let mut wide = divisor.clone();
        wide.shift_left(over);
        let (quotient, rest) = divide(number, wide, 120);
        let exponent = i64::try_from(over).expect("bounded");
        return round(&rest.0, quotient, exponent);
    }
    let rest = {
        let (found, rest) = divide(number, divisor, surplus);
        quotient += found;
        rest
    };
    let exponent = -i64::try_from(shift).expect("bounded");
    round(&rest.0, quotient, exponent)
}

/// Quotient and rest; the quotient must have no more than `bits` + 1 bits.
fn divide(mut number: Large, divisor: Large, bits: usize) -> (u128, Large) {
    let mut quotient = 0_u128;
    for at in (0..=bits).rev() {
        let mut part = divisor.clone();
        part.shift_left(at);
        quotient <<= 1;
        if number.compare(&part) != Ordering::Less {
            number.subtract(&part);
            quotient |= 1;
        }
    }
    (quotient, number)
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut exponent = 0;
    for byte in digits {
        let digit = i64::from(char::from(*byte).to_digit(10)?);
        exponent = (exponent * 10 + digit).min(EXPONENT_MAX);
    }
    Some(if is_negative { -exponent } else { exponent })
}

/// A number of any size, in words of 32 bits, the lowest first; none at the end is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Large(Vec<u32>);

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn halves(number: u64) -> (u32, u32) {
    (number as u32, (number >> 32) as u32)
}

impl From<u128> for Large {
    fn from(mut number: u128) -> Self {
        let mut words = Vec::new();
        while number != 0 {
            words.push(u32::try_from(number & 0xffff_ffff).expect("32 bits"));
            number >>= 32;
        }
        Self(words)
    }
}

impl Large {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        match self.0.last() {
            None => 0,
            Some(last) => self.0.len() * 32 - last.leading_zeros() as usize,
        }
    }

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = summand;
        for word in &mut self.0 {
            (*word, carry) = halves(u64::from(*word) * u64::from(factor) + u64::from(carry));
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    fn shift_left(&mut self, bits: usize) {
        if self.is_zero() {
            return;
        }
        let factor = 1 << (bits % 32);
        self.multiply_add(factor, 0);
        self.0.splice(0..0, std::iter::repeat_n(0, bits / 32));
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Takes one away that is not larger.
    fn subtract(&mut self, other: &Self) {
        let mut is_borrowed = false;
        for (at, word) in self.0.iter_mut().enumerate() {
            let taken = other.0.get(at).copied().unwrap_or(0);
            let (less, under) = word.overflowing_sub(taken);
            let (less, under_again) = less.overflowing_sub(u32::from(is_borrowed));
            *word = less;
            is_borrowed = under || under_again;
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// The float nearest to this times two to the power `exponent`.
    fn rounded(&self, exponent: i64) -> (Size, bool) {
        // The topmost four words hold more than 64 bits, however few the first one has.
        let split = self.0.len().saturating_sub(4);
        let top = (self.0[split..].iter().rev()).fold(0, |top, word| top << 32 | u128::from(*word));
        let exponent = exponent + 32 * i64::try_from(split).expect("bounded");
        round(&self.0[..split], top, exponent)
    }

    fn into_text(mut self) -> String {
        const PART: u64 = 1_000_000_000;
        let mut parts = Vec::new();
        while !self.is_zero() {
            let mut rest = 0;
            for word in self.0.iter_mut().rev() {
                let number = rest << 32 | u64::from(*word);
                (*word, _) = halves(number / PART);
                rest = number % PART;
            }
            while self.0.last() == Some(&0) {
                self.0.pop();
            }
            parts.push(rest);
        }
        let mut text = parts.pop().unwrap_or(0).to_string();
        for part in parts.iter().rev() {
            text.push_str(&format!("{part:09}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: &str) -> Option<String> {
        Extended::parse(number.as_bytes()).map(Extended::to_text)
    }

    fn sum(a: &str, b: &str) -> String {
        let [a, b] = [a, b].map(|it| Extended::parse(it.as_bytes()).unwrap());
        a.checked_add(b)
            .map_or("none".to_owned(), Extended::to_text)
    }

    #[test]
    fn numbers_are_read_and_written_as_by_redis() {
        let expected = [
            ("0", "0"),
            ("-0.0", "0"),
            ("3.0e3", "3000"),
            ("5.", "5"),
            (".5", "0.5"),
            ("+1.5", "1.5"),
            ("0x10", "16"),
            ("0x1.8p1", "3"),
            ("1e17", "100000000000000000"),
            ("12345678901234567890", "12345678901234567890"),
            ("0.1", "0.1"),
            ("-0.00000000000000001", "-0.00000000000000001"),
            ("-0.000000000000000001", "0"),
            ("1e-4940", "0"),
            ("inf", "inf"),
            ("-Infinity", "-inf"),
        ];
        for (number, expected) in expected {
            assert_eq!(text(number).as_deref(), Some(expected), "{number}");
        }
        for wrong in [
            "", "-", ".", "e5", "1e", "1e+", "1x", " 1", "nan", "0x", "1e5000", "1e-5000",
        ] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sums_are_rounded_to_64_bits() {
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(sum("10.5", "0.1"), "10.6");
        assert_eq!(sum("5", "-5"), "0");
        assert_eq!(sum("1e18", "0.25"), "1000000000000000000.25");
        assert_eq!(sum("1e19", "0.25"), "10000000000000000000");
        assert_eq!(sum("18446744073709551615", "1"), "18446744073709551616");
        assert_eq!(sum("18446744073709551616", "1"), "18446744073709551616");
        assert_eq!(sum("18446744073709551616", "3"), "18446744073709551620");
        assert_eq!(sum("inf", "1"), "none");
        assert_eq!(sum("1e4932", "1e4932"), "none");
        // What is left of a difference is exact.
        assert_eq!(sum("1.00000000000000001", "-1"), "0.00000000000000001");
    }
}

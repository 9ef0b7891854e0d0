//! Durations as people write them: 250ms or 2s.

use standin_core::time::Duration;

/// Shortest duration that is taken.
const DURATION_MIN: Duration = Duration::from_millis(1);
/// Longest duration that is taken.
const DURATION_MAX: Duration = Duration::from_secs(3600);

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// It is not a whole number and a unit.
    #[error("a duration is a whole number of ms or s: write 250ms or 2s")]
    Malformed,
    /// It is shorter or longer than anything here can use.
    #[error("a duration lies between 1ms and 3600s")]
    OutOfRange,
}

/// Reads a duration from 1ms to 3600s.
///
/// # Errors
/// [`DurationError`] if it is not a whole number with `ms` or `s` behind it, or out of range.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let (number, unit_ms) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 1000),
        (None, None) => return Err(DurationError::Malformed),
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DurationError::Malformed);
    }
    // Only digits: what does not fit is too long, not malformed.
    let number: u64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
    let duration = Duration::from_millis(number.saturating_mul(unit_ms));
    if (DURATION_MIN..=DURATION_MAX).contains(&duration) {
        Ok(duration)
    } else {
        Err(DurationError::OutOfRange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_either_unit_are_taken() {
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("1ms"), Ok(DURATION_MIN));
        assert_eq!(parse("3600s"), Ok(DURATION_MAX));
        assert_eq!(parse("3600000ms"), Ok(DURATION_MAX));
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for bad in [
            "", "5", "s", "ms", "1.5s", "-1s", "+1s", " 1s", "1 s", "1m", "1S", "1us", "1h",
        ] {
            assert_eq!(parse(bad), Err(DurationError::Malformed), "{bad}");
        }
        for bad in [
            "0s",
            "0ms",
            "3601s",
            "3600001ms",
            "18446744073709551615s",
            "99999999999999999999s",
        ] {
            assert_eq!(parse(bad), Err(DurationError::OutOfRange), "{bad}");
        }
    }
}
